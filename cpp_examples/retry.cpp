// retry: asks a server that may not be there yet, or may be slow: each attempt has its time, pauses
// between them grow, and all of it together has a time as well.
//
//     retry ADDRESS:PORT TEXT             of an echo server
#include <aio/socket.hpp>
#include <aio/timeout.hpp>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

aio::task<aio::result<std::string>> ask(aio::context &ctx, aio::endpoint server, std::string text) {
    auto peer = co_await aio::socket::connect(ctx, server);
    if (!peer)
        co_return aio::unexpected(peer.error());
    std::string answer(text.size(), '\0');
    if (const auto sent = co_await peer->send_all(text); !sent)
        co_return aio::unexpected(sent.error());
    if (const auto got = co_await peer->recv_exact(answer); !got)
        co_return aio::unexpected(got.error());
    co_return answer;
}

aio::task<aio::result<std::string>> ask_again(aio::context &ctx, aio::endpoint server,
                                              std::string text) {
    int attempt = 0;
    auto once = [&]() -> aio::task<aio::result<std::string>> {
        auto answer = co_await aio::with_timeout(ask(ctx, server, text), 500ms);
        attempt++;
        if (!answer)
            std::cout << "attempt " << attempt << ": " << answer.error().message() << std::endl;
        co_return answer;
    };
    co_return co_await aio::retry(ctx, once, {.attempts = 100, .delay = 20ms, .delay_max = 1s});
}

int main(int argc, char **argv) try {
    if (argc != 3) {
        std::cerr << "usage: retry ADDRESS:PORT TEXT\n";
        return 2;
    }
    aio::context ctx;
    const auto server = aio::endpoint::parse(argv[1]).value();
    const auto answer = ctx.run(aio::with_timeout(ask_again(ctx, server, argv[2]), 10s));
    std::cout << (answer ? *answer : answer.error().message()) << '\n';
    return answer ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "retry: " << error.what() << '\n';
    return 1;
}
