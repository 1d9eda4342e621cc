#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/socket.hpp>

namespace {

using aio::context;
using aio::endpoint;
using aio::task;

TEST(socket, a_listener_and_a_client_talk) {
    context ctx;
    auto listener = aio::tcp_listener::bind(ctx, endpoint::loopback_v4(0)).value();
    const endpoint at = listener.local_endpoint().value();
    EXPECT_NE(at.port(), 0);
    const auto talk = [&]() -> task<> {
        auto [server, client] =
            co_await aio::when_all(listener.accept(), aio::socket::connect(ctx, at));
        EXPECT_EQ(client->peer_endpoint().value(), at);
        EXPECT_EQ(server->peer_endpoint(), client->local_endpoint());
        client->set(aio::no_delay, true).value();
        EXPECT_EQ(client->get(aio::no_delay), true);
        EXPECT_EQ((co_await client->send_all("request").timeout(10s)).value(), 7u);
        std::array<char, 7> text{};
        EXPECT_EQ((co_await server->recv_exact(text)).value(), 7u);
        (co_await client->shutdown()).value();
        EXPECT_EQ((co_await server->recv(text)).value(), 0u);
        EXPECT_TRUE(co_await server->close());
        EXPECT_FALSE(*server);
    };
    ctx.run(talk());
}

TEST(socket, connections_come_one_after_another) {
    context ctx;
    auto listener = aio::tcp_listener::bind(ctx, endpoint::loopback_v4(0)).value();
    const endpoint at = listener.local_endpoint().value();
    const auto talk = [&]() -> task<> {
        auto incoming = listener.accept_multishot();
        for (int i = 0; i < 3; i++) {
            auto client = (co_await aio::socket::connect(ctx, at)).value();
            aio::socket server(ctx, (co_await incoming.next()).value());
            EXPECT_EQ(server.peer_endpoint(), client.local_endpoint());
        }
    };
    ctx.run(talk());
}

TEST(socket, errors_are_results) {
    context ctx;
    auto first = aio::tcp_listener::bind(ctx, endpoint::loopback_v4(0)).value();
    const endpoint at = first.local_endpoint().value();
    EXPECT_EQ(aio::tcp_listener::bind(ctx, at).error(), std::errc::address_in_use);
    auto shared = aio::tcp_listener::bind(ctx, endpoint::loopback_v4(0), {.reuse_port = true});
    EXPECT_TRUE(
        aio::tcp_listener::bind(ctx, shared->local_endpoint().value(), {.reuse_port = true}));
    first = aio::tcp_listener(aio::socket());
    ctx.run().value();
    EXPECT_EQ(ctx.run(aio::socket::connect(ctx, at)).error(), std::errc::connection_refused);
}

TEST(socket, datagrams_tell_where_they_come_from) {
    context ctx;
    auto one = aio::udp_socket::bind(ctx, endpoint::loopback_v4(0)).value();
    auto two = aio::udp_socket::bind(ctx, endpoint::loopback_v4(0)).value();
    const auto talk = [&]() -> task<> {
        EXPECT_EQ(co_await one.send_to("datagram", two.local_endpoint().value()), 8u);
        std::array<char, 16> text{};
        const aio::datagram got = (co_await two.recv_from(text)).value();
        EXPECT_EQ(got.size, 8u);
        EXPECT_EQ(got.from, one.local_endpoint().value());
    };
    ctx.run(talk());
}

TEST(socket, unix_sockets_come_in_pairs_and_by_name) {
    context ctx;
    support::temp_folder folder;
    const auto talk = [&]() -> task<> {
        auto [a, b] = aio::unix_socket::pair(ctx).value();
        EXPECT_EQ((co_await a.send("x")).value(), 1u);
        std::array<char, 4> text{};
        EXPECT_EQ((co_await b.recv(text)).value(), 1u);
        const endpoint at = endpoint::unix_path(folder.path("socket")).value();
        auto listener = aio::tcp_listener::bind(ctx, at).value();
        auto [server, client] =
            co_await aio::when_all(listener.accept(), aio::socket::connect(ctx, at));
        EXPECT_TRUE(server && client);
        EXPECT_EQ(client->peer_endpoint().value(), at);
    };
    ctx.run(talk());
}

} // namespace
