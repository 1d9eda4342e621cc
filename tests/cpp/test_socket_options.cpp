#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/socket.hpp>
#include <aio/socket_options.hpp>

namespace {

using aio::context;
using aio::endpoint;
using aio::task;

aio::socket tcp(context &ctx, int family = AF_INET) {
    return ctx.run(aio::socket::open(ctx, family, SOCK_STREAM))
        .transform([&](aio::descriptor made) { return aio::socket(ctx, std::move(made)); })
        .value();
}

template <class T>
void takes(aio::socket &on, const aio::socket_option<T> &option, const T &value) {
    EXPECT_TRUE(on.set(option, value)) << option.level << ' ' << option.name;
    EXPECT_EQ(on.get(option).value(), value) << option.level << ' ' << option.name;
}

TEST(socket_options, what_is_set_can_be_asked_for) {
    context ctx;
    aio::socket on = tcp(ctx);
    for (const auto &option :
         {aio::reuse_address, aio::reuse_port, aio::keep_alive, aio::broadcast_allowed,
          aio::no_delay, aio::cork, aio::quick_ack, aio::free_bind}) {
        takes(on, option, true);
        takes(on, option, false);
    }
    takes(on, aio::keep_alive_idle, 77s);
    takes(on, aio::keep_alive_interval, 11s);
    takes(on, aio::keep_alive_count, 4);
    takes(on, aio::user_timeout, 12'345ms);
    takes(on, aio::priority, 3);
    takes(on, aio::receive_low_water, 100);
    takes(on, aio::unsent_low_water, 16'384);
    takes(on, aio::time_to_live, 33);
    takes(on, aio::type_of_service, 0x10);
    takes(on, aio::fast_open_connect, true);
    takes<std::optional<std::chrono::seconds>>(on, aio::linger, 0s);
    takes<std::optional<std::chrono::seconds>>(on, aio::linger, 5s);
    takes<std::optional<std::chrono::seconds>>(on, aio::linger, std::nullopt);
    aio::socket six = tcp(ctx, AF_INET6);
    takes(six, aio::v6_only, true);
    takes(six, aio::hop_limit_v6, 44);
    takes(six, aio::traffic_class_v6, 0x20);
}

TEST(socket_options, the_kernel_has_its_own_mind_about_some) {
    context ctx;
    aio::socket on = tcp(ctx);
    on.set(aio::receive_buffer, 10'000).value();
    EXPECT_EQ(on.get(aio::receive_buffer), 20'000);
    on.set(aio::send_buffer, 10'000).value();
    EXPECT_EQ(on.get(aio::send_buffer), 20'000);
    on.set(aio::defer_accept, 10s).value();
    EXPECT_GE(on.get(aio::defer_accept).value(), 10s);
    EXPECT_EQ(on.set(aio::time_to_live, 1000).error(), std::errc::invalid_argument);
    EXPECT_EQ(on.get(aio::address_family), AF_INET);
    EXPECT_EQ(on.get(aio::socket_kind), SOCK_STREAM);
    EXPECT_EQ(on.get(aio::is_listening), false);
    EXPECT_EQ(on.set(aio::user_timeout, std::chrono::milliseconds::max()), aio::result<void>());
    EXPECT_EQ(on.get(aio::user_timeout), std::chrono::milliseconds(INT32_MAX));
}

TEST(socket_options, some_are_names) {
    context ctx;
    aio::socket on = tcp(ctx);
    takes<std::string>(on, aio::congestion_control, "reno");
    EXPECT_FALSE(on.set(aio::congestion_control, "no such thing"));
    EXPECT_FALSE(on.set(aio::congestion_control, std::string(1000, 'x')));
    EXPECT_EQ(on.get(aio::congestion_control), "reno");
    EXPECT_EQ(on.get(aio::bound_device), "");
    if (on.set(aio::bound_device, "lo")) { // not allowed to all
        EXPECT_EQ(on.get(aio::bound_device), "lo");
        on.set(aio::bound_device, "").value();
        EXPECT_EQ(on.get(aio::bound_device), "");
    }
}

TEST(socket_options, errors_and_peers_can_be_asked_for) {
    context ctx;
    auto [a, b] = aio::unix_socket::pair(ctx).value();
    EXPECT_EQ(a.get(aio::pending_error), std::error_code());
    const ucred peer = a.get(aio::peer_credentials).value();
    EXPECT_EQ(peer.pid, ::getpid());
    EXPECT_EQ(peer.uid, ::getuid());
    takes(b, aio::pass_credentials, true);
    EXPECT_FALSE(a.set(aio::no_delay, true));

    // What was sent to nobody comes back as an error.
    auto gone = aio::udp_socket::bind(ctx, endpoint::loopback_v4(0)).value();
    const endpoint at = gone.local_endpoint().value();
    ::close(gone.release().release());
    auto sender = aio::udp_socket::bind(ctx, endpoint::loopback_v4(0)).value();
    ASSERT_EQ(::connect(sender.native(), at.data(), at.size()), 0);
    ASSERT_EQ(::send(sender.native(), "x", 1, 0), 1);
    EXPECT_EQ(sender.get(aio::pending_error).value(), std::errc::connection_refused);
    EXPECT_EQ(sender.get(aio::pending_error).value(), std::error_code());
}

TEST(socket_options, they_are_operations_as_well) {
    context ctx;
    aio::socket on = tcp(ctx);
    const auto talk = [&]() -> task<> {
        EXPECT_TRUE(co_await aio::set_option(ctx, on, aio::no_delay, true));
        EXPECT_EQ(co_await aio::get_option(ctx, on, aio::no_delay), true);
        EXPECT_EQ(on.get(aio::no_delay), true);
        EXPECT_TRUE(co_await aio::set_option(ctx, on, aio::linger, 3s).timeout(10s));
        EXPECT_EQ((co_await aio::get_option(ctx, on, aio::linger)).value(), 3s);
        EXPECT_TRUE(co_await aio::set_option(ctx, on, aio::congestion_control, "reno"));
        EXPECT_EQ((co_await aio::get_option(ctx, on, aio::congestion_control)).value(), "reno");
        EXPECT_EQ((co_await aio::set_option(ctx, on, aio::time_to_live, 1000)).error(),
                  std::errc::invalid_argument);
    };
    ctx.run(talk());
}

TEST(socket_options, a_slot_has_no_calls_of_the_system) {
    context ctx;
    aio_files_options table{};
    table.size = sizeof table;
    table.count = 4;
    ASSERT_EQ(aio_files_register(ctx.native(), &table), 0);
    const auto talk = [&]() -> task<> {
        auto made = co_await aio::socket::open(ctx, AF_INET, SOCK_STREAM).direct();
        aio::socket on(ctx, std::move(made).value());
        // Its number is somebody else's: 0 to 3 are open here.
        EXPECT_EQ(on.set(aio::no_delay, true).error(), std::errc::bad_file_descriptor);
        EXPECT_EQ(on.get(aio::socket_kind).error(), std::errc::bad_file_descriptor);
        EXPECT_EQ(on.local_endpoint().error(), std::errc::bad_file_descriptor);
        const auto set = co_await aio::set_option(ctx, on, aio::keep_alive, true);
        if (set) {
            EXPECT_EQ(co_await aio::get_option(ctx, on, aio::keep_alive), true);
        } else { // the ring's form is of Linux 6.7
            EXPECT_EQ(set.error(), std::errc::operation_not_supported);
        }
    };
    ctx.run(talk());
}

TEST(socket_options, listeners_share_a_port) {
    context ctx;
    const aio::listen_options shared{.reuse_port = true};
    auto first = aio::tcp_listener::bind(ctx, endpoint::loopback_v4(0), shared).value();
    const endpoint at = first.local_endpoint().value();
    EXPECT_EQ(first.get(aio::reuse_port), true);
    EXPECT_EQ(first.get(aio::is_listening), true);
    auto second = aio::tcp_listener::bind(ctx, at, shared).value();
    EXPECT_EQ(aio::tcp_listener::bind(ctx, at).error(), std::errc::address_in_use);
    // With one of them gone the other takes all.
    const auto talk = [&]() -> task<> {
        (co_await first.close()).value();
        auto [accepted, connected] =
            co_await aio::when_all(second.accept(), aio::socket::connect(ctx, at));
        EXPECT_TRUE(accepted && connected);
    };
    ctx.run(talk());
    auto one = aio::udp_socket::bind(ctx, endpoint::loopback_v4(0), true).value();
    EXPECT_TRUE(aio::udp_socket::bind(ctx, one.local_endpoint().value(), true));
    EXPECT_FALSE(aio::udp_socket::bind(ctx, one.local_endpoint().value()));
}

TEST(socket_options, a_listener_is_prepared_before_it_is_bound) {
    context ctx;
    const auto prepare = [](aio::socket &s) { return s.set(aio::receive_buffer, 50'000); };
    auto six = aio::tcp_listener::bind(ctx, endpoint::any_v6(0), {.v6_only = true}, prepare);
    if (!six && six.error() == std::errc::address_family_not_supported)
        GTEST_SKIP() << "no IPv6";
    EXPECT_EQ(six->get(aio::receive_buffer), 100'000);
    EXPECT_EQ(six->get(aio::v6_only), true);
    // So the port of IPv4 is free, but for other programs: some of these ports are.
    bool is_free = false;
    for (int i = 0; i < 20 && !is_free; i++) {
        const uint16_t port = six->local_endpoint().value().port();
        is_free = aio::tcp_listener::bind(ctx, endpoint::any_v4(port)).has_value();
        six = aio::tcp_listener::bind(ctx, endpoint::any_v6(0), {.v6_only = true}, prepare);
        ASSERT_TRUE(six);
    }
    EXPECT_TRUE(is_free);
    EXPECT_EQ(aio::tcp_listener::bind(ctx, endpoint::any_v4(0), {},
                                      [](aio::socket &s) { return s.set(aio::time_to_live, 1000); })
                  .error(),
              std::errc::invalid_argument);
}

TEST(socket_options, durations_that_no_option_holds_are_refused_and_not_cut) {
    using form = aio::detail::option_form<std::chrono::seconds>;
    EXPECT_EQ(form::to(std::chrono::seconds::max()), INT32_MAX);
    EXPECT_EQ(form::to(std::chrono::seconds::min()), -1);
    EXPECT_EQ(form::to(std::chrono::seconds(int64_t{-1} << 32)), -1);
    EXPECT_EQ(form::to(7s), 7);
}

} // namespace
