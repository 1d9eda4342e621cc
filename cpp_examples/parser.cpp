// parser: a small store of keys and values that speaks RESP, the protocol of Redis: a parser that
// knows nothing of I/O, driven by a coroutine.
//
//     parser [ADDRESS:PORT]               PING, SET KEY VALUE, GET KEY; try it with redis-cli
//
// What arrives goes into an io_buffer, where it is in one piece: the parser is given all of it, and
// says how much of it a request was, or that there is not all of one yet. Requests that have come
// together are answered together.
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>

#include <charconv>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

using namespace std::chrono_literals;

using request = std::vector<std::string_view>;
using store = std::map<std::string, std::string, std::less<>>;

/// Takes requests off the front of a text: "*COUNT\r\n", then "$LENGTH\r\nBYTES\r\n" so often.
class parser {
  public:
    explicit parser(std::string_view text) : text_(text) {}

    /// The next request, or nothing if it is not all there, or is_broken().
    std::optional<request> next() {
        const std::size_t before = at_;
        request words;
        if (std::optional<std::size_t> count = number('*', 64)) {
            while (words.size() < *count) {
                const std::optional<std::string_view> word = bulk();
                if (!word)
                    break;
                words.push_back(*word);
            }
            if (words.size() == *count)
                return words;
        }
        at_ = before;
        return std::nullopt;
    }
    /// How long the requests were that it has given.
    std::size_t used() const { return at_; }
    /// What comes now is no RESP.
    bool is_broken() const { return is_broken_; }

  private:
    std::optional<std::size_t> number(char kind, std::size_t most) {
        const std::size_t end = text_.find("\r\n", at_);
        is_broken_ = at_ < text_.size() && text_[at_] != kind;
        if (is_broken_ || end == text_.npos)
            return std::nullopt;
        std::size_t value = 0;
        const char *const last = text_.data() + end;
        const auto read = std::from_chars(text_.data() + at_ + 1, last, value);
        is_broken_ = read.ec != std::errc() || read.ptr != last || value > most;
        at_ = end + 2;
        return is_broken_ ? std::nullopt : std::optional(value);
    }
    std::optional<std::string_view> bulk() {
        const std::optional<std::size_t> length = number('$', 1 << 20);
        if (!length || text_.size() - at_ < *length + 2)
            return std::nullopt;
        const std::string_view word = text_.substr(at_, *length);
        at_ += *length + 2;
        return word;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool is_broken_ = false;
};

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
        parser requests(input.text());
        while (const std::optional<request> words = requests.next()) {
            if (!output.append(execute(*words, values)))
                co_return; // more than a buffer may hold: it asks, and does not read
        }
        if (!co_await aio::flush(peer, output, 1min) || requests.is_broken())
            co_return;
        input.consume(requests.used());
    }
}

aio::task<> serve_all(aio::context &ctx, aio::tcp_listener listener) {
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;
    store values;
    aio::scope connections(ctx);
    auto incoming = listener.accept_multishot();
    while (auto connection = co_await incoming.next())
        connections.spawn(serve(aio::socket(ctx, std::move(*connection)), values));
    throw std::system_error(incoming.error(), "accept");
}

int main(int argc, char **argv) try {
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    ctx.run(serve_all(ctx, aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "parser: " << error.what() << '\n';
    return 1;
}
