#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/pull.hpp>
#include <aio/socket.hpp>

#include <vector>

namespace {

using aio::context;
using aio::io_buffer;
using aio::pull_reader;
using aio::pull_writer;
using aio::result;
using aio::task;
using aio::unexpected;
using aio::unix_socket;

/// A message of a made-up protocol: a length of 16 bits, a line, and a body.
struct message {
    std::string line;
    std::string body;
    friend bool operator==(const message &, const message &) = default;
};

result<message> parse(pull_reader &in) {
    const auto size = in.number<std::uint16_t>();
    if (!size)
        return unexpected(size.error());
    const auto line = in.take_until("\r\n", 64);
    if (!line)
        return unexpected(line.error());
    const auto body = in.take(*size);
    if (!body)
        return unexpected(body.error());
    const std::string_view text = aio::as_text(*line);
    return message{std::string(text.substr(0, text.size() - 2)), std::string(aio::as_text(*body))};
}

result<void> print(pull_writer &out, const message &said) {
    return out.number<std::uint16_t>(static_cast<std::uint16_t>(said.body.size()))
        .and_then([&] { return out.put(said.line); })
        .and_then([&] { return out.put("\r\n"); })
        .and_then([&] { return out.put(said.body); });
}

TEST(pull, a_parser_needs_no_stream) {
    const char text[] = {0, 2, 'h', 'i', '\r', '\n', 'a', 'b', 'X'};
    pull_reader in(text);
    EXPECT_EQ(parse(in).value(), (message{"hi", "ab"}));
    EXPECT_EQ(in.taken(), 8u);
    EXPECT_EQ(aio::as_text(in.rest()), "X");
    // Any part of it is too little, and it is known how much is missing at least.
    for (std::size_t size = 0; size < 8; size++) {
        pull_reader part(aio::bytes(text, size));
        EXPECT_EQ(parse(part).error(), std::errc::resource_unavailable_try_again);
        EXPECT_GE(part.needed(), 1u);
        EXPECT_LE(part.needed(), 8 - size);
    }
    pull_reader almost(aio::bytes(text, 6));
    EXPECT_FALSE(parse(almost));
    EXPECT_EQ(almost.needed(), 2u);
}

TEST(pull, numbers_are_read_and_written_in_either_order) {
    io_buffer buffer;
    pull_writer out(buffer);
    out.number<std::uint32_t>(0x01020304).value();
    out.number<std::uint32_t>(0x01020304, std::endian::little).value();
    out.number<std::int16_t>(-2).value();
    out.number<std::uint8_t>(255).value();
    out.number<std::uint64_t>(0xfedcba9876543210).value();
    out.number<std::int64_t>(INT64_MIN, std::endian::little).value();
    EXPECT_EQ(buffer.text().substr(0, 11), std::string_view("\1\2\3\4\4\3\2\1\xff\xfe\xff", 11));
    pull_reader in(std::as_const(buffer).data());
    EXPECT_EQ(in.number<std::uint32_t>(), 0x01020304u);
    EXPECT_EQ(in.number<std::uint32_t>(std::endian::little), 0x01020304u);
    EXPECT_EQ(in.number<std::int16_t>(), -2);
    EXPECT_EQ(in.number<std::uint8_t>(), 255);
    EXPECT_EQ(in.number<std::uint64_t>(), 0xfedcba9876543210u);
    EXPECT_EQ(in.number<std::int64_t>(std::endian::little), INT64_MIN);
    EXPECT_EQ(in.number<std::uint8_t>().error(), std::errc::resource_unavailable_try_again);
}

TEST(pull, messages_come_out_of_a_stream_byte_by_byte) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const std::vector<message> said{{"one", "body"}, {"", ""}, {"three", std::string(5000, 'b')}};
    const auto speak = [&, &a = a]() -> task<> {
        io_buffer all;
        pull_writer out(all);
        for (const message &each : said)
            print(out, each).value();
        for (const std::byte &each : std::as_const(all).data())
            EXPECT_EQ((co_await a.send(aio::bytes(&each, 1))).value(), 1u);
        (co_await a.shutdown()).value();
    };
    const auto hear = [&, &b = b]() -> task<> {
        io_buffer buffer;
        for (const message &each : said)
            EXPECT_EQ((co_await aio::pull(b, buffer, parse)).value(), each);
        EXPECT_EQ((co_await aio::pull(b, buffer, parse)).error(), aio::errc::eof);
        EXPECT_TRUE(buffer.empty());
    };
    ctx.run(aio::when_all(speak(), hear()));
}

TEST(pull, what_a_parser_commits_it_does_not_see_again) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    std::string seen;
    // Its memory is four bytes, what it adds up is not.
    const auto add_up = [&](pull_reader &in) -> result<std::size_t> {
        while (seen.size() < 1000) {
            const auto four = in.take(4);
            if (!four)
                return unexpected(four.error());
            seen += aio::as_text(*four);
            in.commit();
        }
        return seen.size();
    };
    const auto talk = [&, &a = a, &b = b]() -> task<> {
        std::string data;
        for (int i = 0; i < 1000; i++)
            data += static_cast<char>('a' + i % 26);
        io_buffer small(64);
        auto [sent, size] =
            co_await aio::when_all(aio::write_all(a, data + "rest"), aio::pull(b, small, add_up));
        EXPECT_EQ(sent.value(), 1004u);
        EXPECT_EQ(size.value(), 1000u);
        EXPECT_EQ(seen, data);
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(b, small, 4)).value()), "rest");
    };
    ctx.run(talk());
}

TEST(pull, the_end_of_a_stream_may_be_the_end_of_a_message) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto to_the_end = [](pull_reader &in) -> result<std::string> {
        if (!in.is_last())
            return in.more();
        const std::string all(aio::as_text(in.rest()));
        static_cast<void>(in.take(all.size()));
        return all;
    };
    const auto talk = [&, &a = a, &b = b]() -> task<> {
        (co_await a.send("all of")).value();
        (co_await a.send(" it")).value();
        (co_await a.close()).value();
        io_buffer buffer;
        EXPECT_EQ((co_await aio::pull(b, buffer, to_the_end)).value(), "all of it");
        EXPECT_TRUE(buffer.empty());
    };
    ctx.run(talk());
}

TEST(pull, errors_come_out_and_lose_nothing) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, &a = a, &b = b]() -> task<> {
        io_buffer buffer(100);
        // The parser's own: the line is too long.
        const std::string longer = std::string(2, '\0') + std::string(70, 'x');
        EXPECT_EQ((co_await a.send(longer)).value(), 72u);
        EXPECT_EQ((co_await aio::pull(b, buffer, parse)).error(), std::errc::message_size);
        EXPECT_EQ(buffer.size(), 72u);
        buffer.clear();
        // A deadline in the middle.
        EXPECT_EQ((co_await a.send("\1\1l\r\n")).value(), 5u);
        EXPECT_EQ((co_await aio::pull(b, buffer, parse)).error(), std::errc::no_buffer_space);
        EXPECT_EQ(buffer.size(), 5u);
        buffer.clear();
        EXPECT_EQ((co_await a.send(aio::bytes("\0\1l\r\n", 5))).value(), 5u);
        EXPECT_EQ((co_await aio::pull(b, buffer, parse, 5ms)).error(), aio::errc::deadline);
        EXPECT_EQ((co_await a.send("!")).value(), 1u);
        const message whole{"l", "!"};
        EXPECT_EQ((co_await aio::pull(b, buffer, parse, 60s)).value(), whole);
        // The end in the middle.
        (co_await a.send(aio::bytes("\0\1l", 3))).value();
        (co_await a.close()).value();
        EXPECT_EQ((co_await aio::pull(b, buffer, parse)).error(), aio::errc::eof);
        EXPECT_EQ(buffer.size(), 3u);
    };
    ctx.run(talk());
}

TEST(pull, a_writer_goes_on_where_the_buffer_was_full) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    std::size_t next = 0;
    const auto count_up = [&](pull_writer &out) -> result<std::size_t> {
        for (; next < 1000; next++) {
            const auto put = out.put("number ").and_then(
                [&] { return out.number<std::uint16_t>(static_cast<std::uint16_t>(next)); });
            if (!put)
                return unexpected(put.error());
            out.commit();
        }
        return next;
    };
    const auto hear = [&, &b = b]() -> task<> {
        io_buffer buffer;
        EXPECT_EQ(aio::as_text((co_await aio::read_exact(b, buffer, 5)).value()), "older");
        buffer.consume(5);
        for (std::uint16_t i = 0; i < 1000; i++) {
            const auto got = co_await aio::pull(b, buffer, [](pull_reader &in) {
                return in.take(7).and_then([&](aio::bytes) { return in.number<std::uint16_t>(); });
            });
            EXPECT_EQ(got.value(), i);
        }
        EXPECT_TRUE(buffer.empty());
    };
    const auto speak = [&, &a = a]() -> task<> {
        io_buffer small(64);
        small.append("older").value();
        EXPECT_EQ((co_await aio::push(a, small, count_up)).value(), 1000u);
        EXPECT_TRUE(small.empty());
    };
    ctx.run(aio::when_all(speak(), hear()));
}

TEST(pull, a_writer_that_fails_sends_nothing_of_the_step) {
    context ctx;
    auto [a, b] = unix_socket::pair(ctx).value();
    const auto talk = [&, &a = a]() -> task<> {
        io_buffer buffer(16);
        const auto fails = [](pull_writer &out) -> result<void> {
            out.put("done").value();
            out.commit();
            out.put("half").value();
            return unexpected(std::errc::invalid_argument);
        };
        EXPECT_EQ((co_await aio::push(a, buffer, fails)).error(), std::errc::invalid_argument);
        EXPECT_EQ(buffer.text(), "done");
        const auto too_large = [](pull_writer &out) { return out.put("more than sixteen"); };
        EXPECT_EQ((co_await aio::push(a, buffer, too_large)).error(), std::errc::no_buffer_space);
        EXPECT_TRUE(buffer.empty());
        const auto in_place = [](pull_writer &out) -> result<void> {
            const auto room = out.room(4);
            if (!room)
                return unexpected(room.error());
            std::memcpy(room->data(), "1234", 4);
            out.wrote(4);
            return {};
        };
        EXPECT_TRUE(co_await aio::push(a, buffer, in_place));
    };
    ctx.run(talk());
    char text[16];
    EXPECT_EQ(::read(b.native(), text, sizeof text), 8);
    EXPECT_EQ(std::string_view(text, 8), "done1234");
}

} // namespace
