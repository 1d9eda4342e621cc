// echo_client: talks to an echo server on several connections at once, and waits for nothing longer
// than it was told to.
//
//     echo_client ADDRESS:PORT [CONNECTIONS [ROUNDS]]
//
// A single operation has a deadline of its own (.timeout), which costs nothing until it expires; a
// task of several operations is given one from outside (with_timeout). Both give errc::deadline.
#include <aio/combine.hpp>
#include <aio/socket.hpp>
#include <aio/timeout.hpp>

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

using namespace std::chrono_literals;

aio::task<aio::result<int>> talk(aio::context &ctx, aio::endpoint server, int number, int rounds) {
    auto peer = co_await aio::with_timeout(aio::socket::connect(ctx, server), 5s);
    if (!peer)
        co_return aio::unexpected(peer.error());
    for (int round = 0; round < rounds; round++) {
        const std::string asked =
            "round " + std::to_string(round) + " of " + std::to_string(number);
        std::string answer(asked.size(), '\0');
        if (const auto sent = co_await peer->send_all(asked).timeout(3s); !sent)
            co_return aio::unexpected(sent.error());
        if (const auto got = co_await peer->recv_exact(answer).timeout(3s); !got)
            co_return aio::unexpected(got.error());
        if (answer != asked)
            co_return aio::unexpected(std::errc::bad_message);
    }
    co_return rounds;
}

int main(int argc, char **argv) try {
    const auto server = aio::endpoint::parse(argc > 1 ? argv[1] : "").value();
    const int connections = argc > 2 ? std::atoi(argv[2]) : 1;
    const int rounds = argc > 3 ? std::atoi(argv[3]) : 1;

    aio::context ctx;
    std::vector<aio::task<aio::result<int>>> talks;
    for (int number = 0; number < connections; number++)
        talks.push_back(talk(ctx, server, number, rounds));

    int right = 0;
    int failures = 0;
    for (const auto &ended : ctx.run(aio::when_all(std::move(talks)))) {
        right += ended.value_or(0);
        if (!ended && failures++ == 0)
            std::cerr << "echo_client: " << ended.error().message() << '\n';
    }
    std::cout << right << " answers, " << failures << " failures\n";
    return failures == 0 ? 0 : 1;
} catch (const std::exception &error) {
    std::cerr << "echo_client: " << error.what() << '\n';
    return 1;
}
