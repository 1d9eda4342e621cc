// graceful: a server that ends as an operator wants it to. SIGTERM or SIGINT: nobody is accepted
// any more, who is connected may finish for five seconds. A second signal: at once.
//
//     graceful [ADDRESS:PORT]             an echo server
//
// The connections are in a scope that is outside of what the first signal stops, and inside of what
// the second one does. Nothing is left behind in either case: a scope ends with all of its tasks.
#include <aio/combine.hpp>
#include <aio/scope.hpp>
#include <aio/signal_set.hpp>
#include <aio/socket.hpp>
#include <aio/time.hpp>

#include <array>
#include <iostream>

using namespace std::chrono_literals;

aio::task<> echo(aio::socket peer, int &finished) {
    std::array<char, 4096> room;
    for (;;) {
        const auto got = co_await peer.recv(room);
        if (!got || !co_await peer.send_all(std::span(room).first(*got)))
            co_return; // stopped, or the peer has gone
        if (*got == 0)
            break;
    }
    finished++;
}

aio::task<> accept_all(aio::context &ctx, aio::tcp_listener listener, aio::scope &connections,
                       int &finished) {
    do { // again where it ran out of descriptors, until some have ended
        auto incoming = listener.accept_multishot();
        while (auto connection = co_await incoming.next())
            connections.spawn(echo(aio::socket(ctx, std::move(*connection)), finished));
    } while (co_await aio::sleep_for(ctx, 100ms)); // false when it was stopped
} // the listening socket is closed here: the kernel refuses who comes now

aio::task<> serve(aio::context &ctx, aio::tcp_listener listener) {
    aio::signal_set signals(ctx, {SIGINT, SIGTERM});
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;

    int finished = 0;
    aio::scope connections(ctx);
    co_await aio::when_any(accept_all(ctx, std::move(listener), connections, finished),
                           signals.next());
    std::cout << "stopping, " << connections.size() << " connected" << std::endl;

    const auto how = co_await aio::when_any(connections.join_for(5s), signals.next());
    std::cout << (how.index() == 1 ? "told twice" : "drained") << ", " << finished << " finished\n";
}

int main(int argc, char **argv) try {
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    ctx.run(serve(ctx, aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "graceful: " << error.what() << '\n';
    return 1;
}
