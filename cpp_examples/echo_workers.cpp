// echo_workers: the same on every processor: a worker per processor, each with a context and a
// listening socket of its own on one address, among which the kernel shares the connections.
//
//     echo_workers [ADDRESS:PORT [WORKERS]]
//
// What a worker has accepted stays on its thread, so that no two of them share anything. SIGINT or
// SIGTERM ends it: nobody is accepted any more, and who is connected has five seconds to finish.
#include <aio/scope.hpp>
#include <aio/signal_set.hpp>
#include <aio/socket.hpp>
#include <aio/worker_group.hpp>

#include <array>
#include <atomic>
#include <cstdlib>
#include <iostream>

using namespace std::chrono_literals;

aio::task<> echo(aio::socket peer) {
    std::array<char, 16 * 1024> room;
    for (;;) {
        const auto got = co_await peer.recv(room).timeout(1min);
        if (!got || *got == 0 || !co_await peer.send_all(std::span(room).first(*got)).timeout(1min))
            co_return;
    }
}

int main(int argc, char **argv) try {
    auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    aio::worker_group_options options;
    options.count = argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) : 0; // 0: all processors

    // Before there are threads: from now on a signal is a value, and no thread's end.
    aio::context ctx;
    aio::signal_set signals(ctx, {SIGINT, SIGTERM});

    std::atomic<uint64_t> served = 0;
    aio::worker_group workers(options);
    const auto port = workers.listen(address, [&](aio::context &mine, aio::descriptor connection) {
        served++;
        aio::detached(mine, echo(aio::socket(mine, std::move(connection))));
    });
    address.set_port(port.value());
    std::cout << "listening on " << address.to_string() << std::endl;

    ctx.run(signals.next()).value();
    workers.stop(5s);
    workers.join().value();
    std::cout << served << " connections, " << workers.size() << " workers\n";
} catch (const std::exception &error) {
    std::cerr << "echo_workers: " << error.what() << '\n';
    return 1;
}
