// chat: whoever connects reads what all others say, line by line.
//
//     chat [ADDRESS:PORT]                 try it with several of: nc ADDRESS PORT
//
// A connection is two tasks side by side, one for each direction, and ends with the first of them.
// The room keeps the newest lines for those that are slow, and drops older ones: nobody holds up
// the others. A line is in memory once, however many read it.
#include <aio/broadcast.hpp>
#include <aio/combine.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>
#include <aio/time.hpp>

#include <iostream>
#include <memory>
#include <string>

using namespace std::chrono_literals;

using chat_room = aio::broadcast<std::shared_ptr<const std::string>>;

void say(chat_room &room, std::string line) {
    room.send(std::make_shared<const std::string>(std::move(line)));
}

aio::task<> hear(aio::socket &peer, chat_room &room, std::string name) {
    aio::io_buffer input(4096); // who sends a longer line is thrown out
    while (const auto line = co_await aio::read_until(peer, input, "\n")) {
        say(room, name + ": " + std::string(aio::as_text(*line)));
        input.consume(line->size());
    }
}

aio::task<> tell(aio::socket &peer, chat_room::receiver news) {
    while (const auto line = co_await news.receive()) {
        if (!co_await peer.send_all(**line).timeout(10s))
            co_return;
    }
}

aio::task<> attend(aio::socket peer, chat_room &room, std::string name) {
    say(room, name + " has come\n");
    co_await aio::when_any(hear(peer, room, name), tell(peer, room.subscribe()));
    say(room, name + " has left\n");
}

aio::task<> serve(aio::context &ctx, aio::tcp_listener listener) {
    std::cout << "listening on " << listener.local_endpoint().value().to_string() << std::endl;
    chat_room room(128);
    aio::scope guests(ctx);
    for (int number = 1;;) {
        auto incoming = listener.accept_multishot();
        while (auto connection = co_await incoming.next()) {
            aio::socket peer(ctx, std::move(*connection));
            guests.spawn(attend(std::move(peer), room, "guest " + std::to_string(number++)));
        }
        std::cout << "accept: " << incoming.error().message() << std::endl;
        (co_await aio::sleep_for(ctx, 100ms)).value(); // until some have left
    }
}

int main(int argc, char **argv) try {
    aio::context ctx;
    const auto address = aio::endpoint::parse(argc > 1 ? argv[1] : "127.0.0.1:0").value();
    ctx.run(serve(ctx, aio::tcp_listener::bind(ctx, address).value()));
} catch (const std::exception &error) {
    std::cerr << "chat: " << error.what() << '\n';
    return 1;
}
