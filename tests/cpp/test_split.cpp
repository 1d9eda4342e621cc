#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/split.hpp>

#include <optional>

namespace {

using aio::context;
using aio::io_buffer;
using aio::task;
using aio::unix_socket;

using reader_half = aio::reader_half<unix_socket>;
using writer_half = aio::writer_half<unix_socket>;

static_assert(aio::read_stream<reader_half> && !aio::write_stream<reader_half>);
static_assert(aio::gather_stream<writer_half> && !aio::read_stream<writer_half>);

task<> echo(reader_half reader, writer_half writer) {
    io_buffer buffer;
    while (co_await aio::read_more(reader, buffer))
        EXPECT_TRUE(co_await aio::flush(writer, buffer));
}

task<> send_much(writer_half writer, std::size_t size) {
    const std::string data(size, 's');
    EXPECT_EQ((co_await aio::write_all(writer, data, 60s)).value(), size);
}

task<std::size_t> count(reader_half reader) {
    io_buffer buffer;
    std::size_t all = 0;
    while (const auto got = co_await aio::read_more(reader, buffer)) {
        all += got.count();
        buffer.clear();
    }
    co_return all;
}

TEST(split, two_coroutines_use_one_socket) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, a = &a, b = &b]() -> task<> {
        auto [reader, writer] = aio::split(std::move(*a));
        auto [their_reader, their_writer] = aio::split(std::move(*b));
        const std::size_t size = 3 << 20;
        // The writer half goes when all is sent: the echo sees the end, and ends as well.
        auto [sent, echoed, counted] = co_await aio::when_all(
            send_much(std::move(writer), size),
            echo(std::move(their_reader), std::move(their_writer)), count(std::move(reader)));
        EXPECT_EQ(counted, size);
    };
    ctx.run(talk());
}

TEST(split, a_connection_of_tcp_is_split_as_well) {
    context ctx;
    auto listener = aio::tcp_listener::bind(ctx, aio::endpoint::loopback_v4(0)).value();
    const aio::endpoint at = listener.local_endpoint().value();
    const auto talk = [&]() -> task<> {
        auto [server, client] =
            co_await aio::when_all(listener.accept(), aio::socket::connect(ctx, at));
        auto [server_reader, server_writer] = aio::split(std::move(*server));
        auto [reader, writer] = aio::split(std::move(*client));
        const auto serve = [&, &from = server_reader, &to = server_writer]() -> task<> {
            io_buffer buffer;
            while (const auto line = co_await aio::read_until(from, buffer, "\n")) {
                EXPECT_TRUE(co_await aio::write_all(to, *line, 60s));
                buffer.consume(line->size());
            }
            EXPECT_TRUE(co_await to.shutdown());
        };
        const auto ask = [&, &to = writer]() -> task<> {
            const std::array<aio::bytes, 3> lines{"one\ntw", "o\nthree", "\n"};
            EXPECT_EQ((co_await aio::write_all(to, lines, 60s)).value(), 14u);
            EXPECT_TRUE(co_await to.shutdown());
        };
        io_buffer buffer;
        auto [served, asked, answer] = co_await aio::when_all(
            serve(), ask(), aio::read_exact(reader, buffer, 14, aio::time_limit(60s)));
        EXPECT_EQ(aio::as_text(answer.value()), "one\ntwo\nthree\n");
        EXPECT_EQ((co_await aio::read_more(reader, buffer)).error(), aio::errc::eof);
    };
    ctx.run(talk());
}

TEST(split, either_half_may_go_first) {
    context ctx;
    const auto talk = [&]() -> task<> {
        io_buffer buffer;
        {
            auto [a, b] = unix_socket::pair(ctx).value();
            auto [reader, writer] = aio::split(std::move(a));
            const int fd = reader.stream().native();
            reader = reader_half(nullptr);
            EXPECT_FALSE(reader);
            EXPECT_EQ((co_await aio::write_all(writer, "alone")).value(), 5u);
            EXPECT_EQ((co_await aio::read_exact(b, buffer, 5)).value().size(), 5u);
            EXPECT_TRUE(support::is_open(fd));
            writer = writer_half(nullptr);
            EXPECT_EQ((co_await aio::read_more(b, buffer)).error(), aio::errc::eof);
            EXPECT_FALSE(support::is_open(fd));
        }
        buffer.clear();
        auto [a, b] = unix_socket::pair(ctx).value();
        auto [reader, writer] = aio::split(std::move(a));
        {
            const writer_half gone = std::move(writer);
        }
        EXPECT_EQ((co_await aio::read_more(b, buffer)).error(), aio::errc::eof);
        EXPECT_EQ((co_await aio::write_all(b, "still")).value(), 5u);
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(reader, buffer, 5)).value()), "still");
    };
    ctx.run(talk());
}

TEST(split, a_half_that_is_destroyed_in_the_middle_leaves_the_other_alone) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, a = &a, b = &b]() -> task<> {
        auto [reader, writer] = aio::split(std::move(*a));
        std::optional<aio::scope> readers(std::in_place, ctx);
        readers->spawn(count(std::move(reader)));
        (co_await aio::sleep_for(ctx, 1ms)).value();
        // Its receive is in flight.
        readers.reset();
        EXPECT_EQ((co_await aio::write_all(writer, "goes on")).value(), 7u);
        EXPECT_TRUE(co_await writer.shutdown());
        io_buffer buffer;
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(*b, buffer, 7)).value()), "goes on");
        EXPECT_EQ((co_await aio::read_more(*b, buffer)).error(), aio::errc::eof);
    };
    ctx.run(talk());
}

TEST(split, a_forgotten_writer_does_not_tell_the_peer) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, a = &a, b = &b]() -> task<> {
        auto [reader, writer] = aio::split(std::move(*a));
        writer.forget();
        EXPECT_FALSE(writer);
        io_buffer buffer;
        EXPECT_EQ((co_await aio::read_more(*b, buffer, 1, 10ms)).error(), aio::errc::deadline);
        EXPECT_TRUE(reader);
    };
    ctx.run(talk());
}

TEST(split, halves_are_put_together_again) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, a = &a, b = &b]() -> task<> {
        auto [reader, writer] = aio::split(std::move(*a));
        auto [other_reader, other_writer] = aio::split(std::move(*b));
        EXPECT_EQ(aio::unite(std::move(reader), std::move(other_writer)).error(),
                  std::errc::invalid_argument);
        auto whole = aio::unite(std::move(reader), std::move(writer)).value();
        EXPECT_FALSE(reader || writer); // NOLINT: what is left is defined
        EXPECT_EQ((co_await whole.send("whole")).value(), 5u);
        io_buffer buffer;
        EXPECT_EQ((co_await aio::read_exact(other_reader, buffer, 5)).value().size(), 5u);
        EXPECT_EQ((co_await aio::read_more(other_reader, buffer, 1, 5ms)).error(),
                  aio::errc::deadline);
    };
    ctx.run(talk());
}

} // namespace
