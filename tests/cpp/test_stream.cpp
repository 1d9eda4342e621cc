#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/file.hpp>
#include <aio/pipe.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>

#include <cstdlib>
#include <random>

namespace {

using aio::context;
using aio::io_buffer;
using aio::task;
using aio::unix_socket;

/// A stream that is no descriptor: reads give what was prepared, piece by piece; tasks, as those of
/// a TLS stream would be.
struct pieces {
    std::vector<std::string> to_read;
    std::string written;
    std::size_t takes = 3; // at a time

    task<aio::result<std::size_t>> read_some(aio::mutable_bytes room) {
        if (to_read.empty())
            co_return std::size_t{0};
        std::string piece = to_read.front();
        to_read.erase(to_read.begin());
        if (piece == "error")
            co_return aio::unexpected(std::errc::connection_reset);
        const std::size_t count = std::min(piece.size(), room.size());
        std::memcpy(room.data(), piece.data(), count);
        if (count < piece.size())
            to_read.insert(to_read.begin(), piece.substr(count));
        co_return count;
    }
    task<aio::result<std::size_t>> write_some(aio::bytes data) {
        const std::size_t count = std::min(data.size(), takes);
        written += aio::as_text(data).substr(0, count);
        co_return count;
    }
};

static_assert(aio::read_stream<aio::socket> && aio::gather_stream<aio::socket>);
static_assert(aio::read_stream<aio::file> && aio::gather_stream<aio::file>);
static_assert(aio::read_stream<pieces> && aio::write_stream<pieces>);
static_assert(!aio::gather_stream<pieces> && !aio::read_stream<context>);

TEST(stream, lines_come_out_however_they_came_in) {
    context ctx;
    pieces in{{"fir", "st\r", "\nsecond\r\n\r", "\nta", "il"}, {}};
    const auto talk = [&]() -> task<> {
        io_buffer buffer;
        for (const char *expected : {"first\r\n", "second\r\n", "\r\n"}) {
            const aio::bytes line = (co_await aio::read_until(in, buffer, "\r\n")).value();
            EXPECT_EQ(aio::as_text(line), expected);
            buffer.consume(line.size());
        }
        const auto last = co_await aio::read_until(in, buffer, "\r\n");
        EXPECT_EQ(last.error(), aio::errc::eof);
        EXPECT_EQ(buffer.text(), "tail");
    };
    ctx.run(talk());
}

TEST(stream, a_line_is_no_longer_than_allowed) {
    context ctx;
    const auto talk = [&]() -> task<> {
        io_buffer buffer;
        pieces in{{"12345", "6789\n"}, {}};
        // With its delimiter it has 10 bytes.
        EXPECT_EQ((co_await aio::read_until(in, buffer, "\n", 9)).error(), std::errc::message_size);
        EXPECT_EQ(buffer.text(), "123456789\n");
        EXPECT_EQ((co_await aio::read_until(in, buffer, "\n", 10)).value().size(), 10u);
        io_buffer small(8);
        pieces again{{"12345", "6789\n"}, {}};
        EXPECT_EQ((co_await aio::read_until(again, small, "\n")).error(), std::errc::message_size);
        EXPECT_EQ(small.text(), "12345678");
        EXPECT_EQ((co_await aio::read_exact(again, small, 9)).error(), std::errc::no_buffer_space);
    };
    ctx.run(talk());
}

TEST(stream, what_was_read_before_an_error_is_there) {
    context ctx;
    const auto talk = [&]() -> task<> {
        pieces in{{"abc", "error", "def"}, {}};
        std::array<char, 6> room{};
        const aio::transfer first = co_await aio::read_exact(in, room);
        EXPECT_FALSE(first);
        EXPECT_EQ(first.error(), std::errc::connection_reset);
        EXPECT_EQ(first.count(), 3u);
        const auto rest = co_await aio::read_exact(in, aio::mutable_bytes(room.data() + 3, 3));
        EXPECT_EQ(rest.value(), 3u);
        EXPECT_EQ(std::string_view(room.data(), 6), "abcdef");

        pieces more{{"abc", "error", "def"}, {}};
        io_buffer buffer;
        EXPECT_EQ((co_await aio::read_exact(more, buffer, 6)).error(), std::errc::connection_reset);
        EXPECT_EQ(buffer.text(), "abc");
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(more, buffer, 6)).value()), "abcdef");
        EXPECT_EQ((co_await aio::read_exact(more, buffer, 7)).error(), aio::errc::eof);
        EXPECT_EQ((co_await aio::read_more(more, buffer)).error(), aio::errc::eof);
    };
    ctx.run(talk());
}

/// A transfer to a peer that takes nothing ends at its limit, and knows how far it has come.
task<> write_into_silence(aio::socket &ours, aio::socket &theirs, std::size_t size) {
    const std::string data(size, 'd');
    const aio::transfer put = co_await aio::write_all(ours, data, 100ms);
    EXPECT_EQ(put.error(), aio::errc::deadline);
    EXPECT_GT(put.count(), 0u);
    EXPECT_LT(put.count(), size);
    (co_await ours.shutdown()).value();
    io_buffer buffer;
    while (co_await aio::read_more(theirs, buffer))
        ;
    EXPECT_EQ(buffer.size(), put.count());
}

TEST(stream, a_limit_is_of_the_whole_transfer) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto trickle = [&]() -> task<> {
        while (co_await a.send("x"))
            if (!co_await aio::sleep_for(ctx, 1ms))
                break;
    };
    const auto talk = [&]() -> task<> {
        aio::scope other(ctx);
        other.spawn(trickle);
        std::string room(1 << 20, '\0');
        const aio::transfer got = co_await aio::read_exact(b, room, 100ms);
        EXPECT_EQ(got.error(), aio::errc::deadline);
        EXPECT_EQ(got.error(), std::errc::timed_out);
        EXPECT_GT(got.count(), 0u);
        EXPECT_EQ(room.substr(0, got.count()), std::string(got.count(), 'x'));
        io_buffer buffer;
        const aio::time_limit limit = 100ms;
        EXPECT_EQ((co_await aio::read_until(b, buffer, "\n", 1 << 20, limit)).error(),
                  aio::errc::deadline);
        EXPECT_FALSE(buffer.empty());
        EXPECT_TRUE(limit.has_passed());
        // Nothing is tried any more, not even where there is something.
        EXPECT_EQ((co_await aio::read_more(b, buffer, 1, limit)).error(), aio::errc::deadline);
        EXPECT_EQ((co_await aio::write_all(b, "y", limit)).count(), 0u);
        other.request_stop();
        EXPECT_TRUE(co_await other.join());
        co_await write_into_silence(b, a, 8 << 20);
    };
    ctx.run(talk());
}

TEST(stream, a_limit_holds_for_streams_made_of_tasks) {
    context ctx;
    struct slow {
        context &ctx;
        task<aio::result<std::size_t>> read_some(aio::mutable_bytes room) {
            if (const auto slept = co_await aio::sleep_for(ctx, 5ms); !slept)
                co_return aio::unexpected(slept.error());
            room.data()[0] = std::byte{'s'};
            co_return std::size_t{1};
        }
    } stream{ctx};
    std::array<char, 4> four{};
    std::array<char, 100'000> many{};
    EXPECT_EQ(ctx.run(aio::read_exact(stream, four, 1h)).value(), 4u);
    EXPECT_EQ(ctx.run(aio::read_exact(stream, many, 1ms)).error(), aio::errc::deadline);
}

TEST(stream, a_stop_ends_a_transfer_and_keeps_what_came) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&]() -> task<> {
        io_buffer buffer;
        (co_await a.send("half")).value();
        const auto late = co_await aio::with_timeout(aio::read_until(b, buffer, "\n"), 100ms);
        EXPECT_EQ(late.error(), aio::errc::deadline);
        EXPECT_EQ(buffer.text(), "half");
        (co_await a.send(" line\n")).value();
        EXPECT_EQ(aio::as_text((co_await aio::read_until(b, buffer, "\n")).value()), "half line\n");
    };
    ctx.run(talk());
}

unsigned seed_of_test() {
    const char *given = std::getenv("AIO_TEST_SEED");
    return given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                            : std::random_device()();
}

/// Deadlines and stops at any time: every line arrives whole, and in order.
TEST(stream, nothing_is_lost_however_often_reads_and_writes_are_cut_short) {
    const unsigned seed = seed_of_test();
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    a.set(aio::send_buffer, 4608).value();
    std::string lines;
    for (int i = 0; i < 300; i++)
        lines += std::string(random() % 2000, static_cast<char>('a' + i % 26)) + "\r\n";
    const auto moment = [&] { return std::chrono::microseconds(random() % 300); };
    const auto speak = [&, &a = a]() -> task<> {
        for (std::size_t sent = 0; sent < lines.size();) {
            const aio::bytes part(lines.data() + sent,
                                  std::min<std::size_t>(lines.size() - sent, random() % 3000));
            const aio::transfer put = co_await aio::write_all(a, part, moment());
            EXPECT_TRUE(put || put.error() == aio::errc::deadline) << put.error();
            sent += put.count();
            if (random() % 8 == 0)
                (co_await aio::sleep_for(ctx, moment())).value();
        }
        (co_await a.shutdown()).value();
    };
    int cut = 0;
    const auto hear = [&, &b = b]() -> task<std::string> {
        std::string heard;
        io_buffer buffer(3000);
        for (std::error_code error; error != aio::errc::eof;) {
            const bool stops = random() % 2 == 0;
            const auto line =
                stops ? co_await aio::with_timeout(aio::read_until(b, buffer, "\r\n"), moment())
                      : co_await aio::read_until(b, buffer, "\r\n", SIZE_MAX, moment());
            if (line) {
                heard += aio::as_text(*line);
                buffer.consume(line->size());
            } else {
                error = line.error();
                cut += error == aio::errc::deadline ? 1 : 0;
                EXPECT_TRUE(error == aio::errc::eof || error == aio::errc::deadline) << error;
            }
        }
        EXPECT_TRUE(buffer.empty());
        co_return heard;
    };
    auto [spoken, heard] = ctx.run(aio::when_all(speak(), hear()));
    EXPECT_TRUE(heard == lines);
    EXPECT_GT(cut, 0);
}

TEST(stream, several_pieces_are_written_as_one) {
    context ctx;
    const auto talk = [&]() -> task<> {
        std::vector<std::string> texts;
        std::vector<aio::bytes> parts;
        std::string all;
        for (int i = 0; i < 50; i++)
            texts.push_back(
                std::string(static_cast<std::size_t>(i % 7), static_cast<char>('a' + i % 26)));
        for (const std::string &text : texts) {
            parts.emplace_back(text);
            all += text;
        }
        pieces out;
        EXPECT_EQ((co_await aio::write_all(out, parts)).value(), all.size());
        EXPECT_EQ(out.written, all);

        auto [a, b] = unix_socket::pair(ctx).value();
        EXPECT_EQ((co_await aio::write_all(a, parts)).value(), all.size());
        io_buffer buffer;
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(b, buffer, all.size())).value()), all);

        // More than the socket takes at a time: it is cut in the middle of pieces.
        const std::string big(700'000, 'b');
        const std::array<aio::bytes, 3> large{big, all, big};
        auto [put, got] = co_await aio::when_all(
            aio::write_all(a, large), aio::read_more(b, buffer, 2 * big.size() + all.size()));
        EXPECT_EQ(put.value(), 2 * big.size() + all.size());
        EXPECT_EQ(buffer.text(), all + big + all + big);

        const aio::transfer late =
            co_await aio::write_all(a, std::span<const aio::bytes>(large), aio::time_limit(0s));
        EXPECT_EQ(late.error(), aio::errc::deadline);
        const std::array<aio::bytes, 2> nothing{};
        EXPECT_EQ((co_await aio::write_all(a, nothing)).value(), 0u);
    };
    ctx.run(talk());
}

TEST(stream, an_error_of_writing_says_how_far_it_came) {
    context ctx;
    const auto talk = [&]() -> task<> {
        pieces closed;
        closed.takes = 0;
        EXPECT_EQ((co_await aio::write_all(closed, "text")).error(), aio::errc::eof);
        auto [a, b] = unix_socket::pair(ctx).value();
        (co_await b.close()).value();
        const std::array<aio::bytes, 2> parts{"one", "two"};
        const aio::transfer put = co_await aio::write_all(a, parts);
        EXPECT_EQ(put.error(), std::errc::broken_pipe);
        EXPECT_EQ(put.as_result().error(), std::errc::broken_pipe);
        io_buffer buffer;
        buffer.append("unsent").value();
        EXPECT_FALSE(co_await aio::flush(a, buffer));
        EXPECT_EQ(buffer.text(), "unsent");
    };
    ctx.run(talk());
}

TEST(stream, what_is_flushed_leaves_the_buffer) {
    context ctx;
    const auto talk = [&]() -> task<> {
        io_buffer buffer;
        buffer.append("buffered").value();
        pieces out;
        EXPECT_EQ((co_await aio::flush(out, buffer)).value(), 8u);
        EXPECT_TRUE(buffer.empty());
        EXPECT_EQ(out.written, "buffered");
        auto [a, b] = unix_socket::pair(ctx).value();
        buffer.append(std::string(8 << 20, 'f')).value();
        const aio::transfer put = co_await aio::flush(a, buffer, 20ms);
        EXPECT_EQ(put.error(), aio::errc::deadline);
        EXPECT_EQ(buffer.size() + put.count(), std::size_t{8 << 20});
    };
    ctx.run(talk());
}

TEST(stream, pipes_and_files_are_streams_too) {
    context ctx;
    support::temp_folder folder;
    const auto talk = [&]() -> task<> {
        auto ends = (co_await aio::pipe::open(ctx)).value();
        aio::file reader(ctx, std::move(ends.reader));
        aio::file writer(ctx, std::move(ends.writer));
        const std::array<aio::bytes, 2> parts{"of a ", "pipe\n"};
        EXPECT_EQ((co_await aio::write_all(writer, parts)).value(), 10u);
        io_buffer buffer;
        EXPECT_EQ((co_await aio::read_until(reader, buffer, "\n")).value().size(), 10u);
        buffer.clear();
        EXPECT_EQ((co_await aio::read_more(reader, buffer, 1, 5ms)).error(), aio::errc::deadline);
        (co_await writer.close()).value();
        EXPECT_EQ((co_await aio::read_more(reader, buffer)).error(), aio::errc::eof);

        const std::string path = folder.path("file");
        auto file = (co_await aio::file::open(ctx, path, O_RDWR | O_CREAT, 0600)).value();
        EXPECT_EQ((co_await aio::write_all(file, "first\nsecond\n")).value(), 13u);
        EXPECT_EQ((co_await aio::write_all(file, parts)).value(), 10u);
        auto again = (co_await aio::file::open(ctx, path, O_RDONLY)).value();
        EXPECT_EQ(aio::as_text((co_await aio::read_until(again, buffer, "\n")).value()), "first\n");
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(again, buffer, 23)).value()),
                  "first\nsecond\nof a pipe\n");
        EXPECT_EQ((co_await aio::read_more(again, buffer)).error(), aio::errc::eof);
    };
    ctx.run(talk());
}

} // namespace
