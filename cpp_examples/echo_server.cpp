// echo_server: sends back what it receives, on any number of connections, on one thread.
//
//     echo_server [ADDRESS:PORT]          127.0.0.1 and any free port unless told otherwise
//
// A task per connection, all of them in a scope: none of them can outlive serve(). A peer that is
// silent for a minute is given up.
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/time.hpp>

#include <array>
#include <iostream>

using namespace std::chrono_literals;

aio::task<> echo(aio::socket peer) {
    std::array<char, 16 * 1024> room;
    for (;;) {
        const auto got = co_await peer.recv(room).timeout(1min);
        if (!got || *got == 0) // 0: the peer has sent its last byte
            co_return;
        if (!co_await peer.send_all(std::span(room).first(*got)).timeout(1min))
            co_return;
    } // the socket is closed where its owner, this task, ends
}

aio::task<> serve(aio::context &ctx, aio::tcp_listener listener) {
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;
    aio::scope connections(ctx);
    for (;;) {
        auto incoming = listener.accept_multishot();
        while (auto connection = co_await incoming.next())
            connections.spawn(echo(aio::socket(ctx, std::move(*connection))));
        // Out of descriptors, say: those that are connected go on, and others wait in the backlog.
        std::cout << "accept: " << incoming.error().message() << std::endl;
        (co_await aio::sleep_for(ctx, 100ms)).value();
    }
}

int main(int argc, char **argv) try {
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    ctx.run(serve(ctx, aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "echo_server: " << error.what() << '\n';
    return 1;
}
