// parser: a small store of keys and values that speaks RESP, the protocol of Redis: a parser that
// knows nothing of I/O, driven by a coroutine.
//
//     parser [ADDRESS:PORT]               PING, SET KEY VALUE, GET KEY; try it with redis-cli
//
// What arrives goes into an io_buffer, where it is in one piece. The parser takes from it by a
// pull_reader, and where that has not all of a request yet returns the error that says so; it is
// called again when more has come. Requests that have come together are answered together.
#include <aio/pull.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>
#include <aio/time.hpp>

#include <charconv>
#include <iostream>
#include <map>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using request = std::vector<std::string_view>;
using store = std::map<std::string, std::string, std::less<>>;

/// A kind and a number: "*3\r\n".
aio::result<std::size_t> parse_number(aio::pull_reader &in, std::string_view kind,
                                      std::size_t most) {
    const auto first = in.peek(1);
    if (first && aio::as_text(*first) != kind)
        return aio::unexpected(std::errc::protocol_error);
    const auto line = in.take_until("\r\n", 16);
    if (!line)
        return aio::unexpected(line.error());
    const std::string_view digits = aio::as_text(*line).substr(1, line->size() - 3);
    const char *const end = digits.data() + digits.size();
    std::size_t value = 0;
    const auto read = std::from_chars(digits.data(), end, value);
    if (read.ec != std::errc() || read.ptr != end || value > most)
        return aio::unexpected(std::errc::protocol_error);
    return value;
}

/// A request: "*COUNT\r\n", and "$LENGTH\r\nBYTES\r\n" for each of its words.
aio::result<request> parse(aio::pull_reader &in) {
    const auto count = parse_number(in, "*", 64);
    if (!count)
        return aio::unexpected(count.error());
    request words;
    while (words.size() < *count) {
        const auto length = parse_number(in, "$", 1 << 20);
        if (!length)
            return aio::unexpected(length.error());
        const auto word = in.take(*length + 2);
        if (!word)
            return aio::unexpected(word.error());
        words.push_back(aio::as_text(*word).substr(0, *length));
    }
    return words;
}

std::string execute(const request &words, store &values) {
    if (words.size() == 1 && words[0] == "PING")
        return "+PONG\r\n";
    if (words.size() == 3 && words[0] == "SET") {
        values[std::string(words[1])] = words[2];
        return "+OK\r\n";
    }
    if (words.size() == 2 && words[0] == "GET") {
        const auto found = values.find(words[1]);
        if (found == values.end())
            return "$-1\r\n";
        return '$' + std::to_string(found->second.size()) + "\r\n" + found->second + "\r\n";
    }
    return "-ERR unknown command\r\n";
}

aio::task<> serve(aio::socket peer, store &values) {
    aio::io_buffer input(4 << 20);
    aio::io_buffer output;
    while (co_await aio::read_more(peer, input)) {
        aio::pull_reader in(input.data());
        auto words = parse(in);
        for (; words; words = parse(in)) {
            in.commit();
            if (!output.append(execute(*words, values)))
                co_return; // more than a buffer may hold: it asks, and does not read
        }
        if (!co_await aio::flush(peer, output, 1min) ||
            words.error() != std::errc::resource_unavailable_try_again)
            co_return;
        input.consume(in.committed());
    }
}

aio::task<> serve_all(aio::context &ctx, aio::tcp_listener listener) {
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;
    store values;
    aio::scope connections(ctx);
    for (;;) {
        auto incoming = listener.accept_multishot();
        while (auto connection = co_await incoming.next())
            connections.spawn(serve(aio::socket(ctx, std::move(*connection)), values));
        std::cout << "accept: " << incoming.error().message() << std::endl;
        (co_await aio::sleep_for(ctx, 100ms)).value(); // until some have ended
    }
}

int main(int argc, char **argv) try {
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    ctx.run(serve_all(ctx, aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "parser: " << error.what() << '\n';
    return 1;
}
