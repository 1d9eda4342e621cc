#include "strands.hpp"

#include <aio/connect.hpp>

#include <fstream>
#include <vector>

namespace {

using aio::connect_options;
using aio::context;
using aio::endpoint;
using aio::task;
using aio::tcp_listener;

/// An address where nobody listens: that of a socket which is bound and no more.
class refusing {
  public:
    explicit refusing(const endpoint &at) : fd_(::socket(at.family(), SOCK_STREAM, 0)) {
        if (::bind(fd_, at.data(), at.size()) != 0)
            throw std::runtime_error("bind");
        socklen_t size = endpoint::capacity();
        ::getsockname(fd_, at_.data(), &size);
        at_.resize(size);
    }
    ~refusing() { ::close(fd_); }
    const endpoint &at() const { return at_; }

  private:
    int fd_;
    endpoint at_;
};

/// A listener that has no room for more connections, so that attempts get no answer at all.
class black_hole {
  public:
    black_hole(context &ctx, const endpoint &at)
        : listener_(tcp_listener::bind(ctx, at, {.backlog = 0, .v6_only = true}).value()),
          at_(listener_.local_endpoint().value()) {
        for (int i = 0; i < 3; i++) {
            const int fd = ::socket(at.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            ::connect(fd, at_.data(), at_.size());
            fillers_.push_back(fd);
        }
    }
    ~black_hole() {
        for (const int fd : fillers_)
            ::close(fd);
    }
    const endpoint &at() const { return at_; }

  private:
    tcp_listener listener_;
    endpoint at_;
    std::vector<int> fillers_;
};

bool has_v6() {
    const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const endpoint at = endpoint::loopback_v6(0);
    const bool has = fd >= 0 && ::bind(fd, at.data(), at.size()) == 0;
    ::close(fd);
    return has;
}

#define NEEDS_V6                                                                                   \
    if (!has_v6())                                                                                 \
    GTEST_SKIP() << "no IPv6"

tcp_listener listening(context &ctx, const endpoint &at) {
    return tcp_listener::bind(ctx, at, {.v6_only = true}).value();
}

bool has_a_connection(const tcp_listener &listener) {
    ::fcntl(listener.native(), F_SETFL, O_NONBLOCK);
    const int fd = ::accept(listener.native(), nullptr, nullptr);
    if (fd >= 0)
        ::close(fd);
    return fd >= 0;
}

/// What is in flight when sockets that were given up are closed.
std::size_t left(context &ctx) {
    for (int i = 0; i < 1000 && ctx.in_flight() != 0; i++)
        ctx.run_once(1ms).value();
    return ctx.in_flight();
}

/// Options of a test that must not wait for the next attempt.
connect_options patient() {
    connect_options options;
    options.attempt_delay = 1h;
    return options;
}
connect_options hasty() {
    connect_options options;
    options.attempt_delay = 10ms;
    return options;
}

TEST(connect, the_first_address_wins_where_it_answers) {
    context ctx;
    auto first = listening(ctx, endpoint::loopback_v4(0));
    auto second = listening(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{first.local_endpoint().value(), second.local_endpoint().value()};
    auto made = ctx.run(aio::connect(ctx, to, patient()));
    EXPECT_EQ(made.value().peer_endpoint(), to[0]);
    EXPECT_TRUE(has_a_connection(first));
    EXPECT_FALSE(has_a_connection(second));
}

TEST(connect, a_silent_address_is_overtaken_and_cancelled) {
    context ctx;
    const black_hole silent(ctx, endpoint::loopback_v4(0));
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{silent.at(), silent.at(), answers.local_endpoint().value()};
    const auto before = std::chrono::steady_clock::now();
    auto made = ctx.run(aio::connect(ctx, to, hasty()));
    EXPECT_EQ(made.value().peer_endpoint(), to[2]);
    EXPECT_GE(std::chrono::steady_clock::now() - before, 20ms);
    EXPECT_EQ(left(ctx), 0u);
}

TEST(connect, a_silent_family_is_overtaken_by_the_other) {
    NEEDS_V6;
    context ctx;
    const black_hole silent(ctx, endpoint::loopback_v6(0));
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{silent.at(), silent.at(), answers.local_endpoint().value()};
    auto made = ctx.run(aio::connect(ctx, to, hasty()));
    EXPECT_EQ(made.value().peer_endpoint(), to[2]);
    EXPECT_EQ(left(ctx), 0u);
}

TEST(connect, after_a_refusal_the_next_does_not_wait) {
    context ctx;
    const refusing nobody(endpoint::loopback_v4(0));
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{nobody.at(), nobody.at(), answers.local_endpoint().value()};
    EXPECT_EQ(ctx.run(aio::connect(ctx, to, patient())).value().peer_endpoint(), to[2]);
}

TEST(connect, the_error_is_that_of_the_first_address) {
    context ctx;
    const refusing nobody(endpoint::loopback_v4(0));
    const endpoint invalid = endpoint::unix_path("/no/such/socket").value();
    EXPECT_EQ(ctx.run(aio::connect(ctx, {nobody.at(), invalid}, patient())).error(),
              std::errc::connection_refused);
    EXPECT_EQ(ctx.run(aio::connect(ctx, {invalid, nobody.at()}, patient())).error(),
              std::errc::no_such_file_or_directory);
    EXPECT_EQ(ctx.run(aio::connect(ctx, std::vector<endpoint>())).error(),
              std::errc::address_not_available);
}

std::vector<int> tried;

TEST(connect, families_take_turns) {
    NEEDS_V6;
    context ctx;
    const refusing four(endpoint::loopback_v4(0));
    const refusing six(endpoint::loopback_v6(0));
    connect_options options = patient();
    options.prepare = [](aio::socket &socket) -> aio::result<void> {
        tried.push_back(socket.get(aio::address_family).value());
        return socket.set(aio::no_delay, true);
    };
    const std::vector<endpoint> to{six.at(), six.at(), six.at(), four.at(), four.at()};
    tried.clear();
    EXPECT_FALSE(ctx.run(aio::connect(ctx, to, options)));
    EXPECT_EQ(tried, (std::vector{AF_INET6, AF_INET, AF_INET6, AF_INET, AF_INET6}));
    tried.clear();
    options.family = AF_INET;
    EXPECT_FALSE(ctx.run(aio::connect(ctx, to, options)));
    EXPECT_EQ(tried, (std::vector{AF_INET, AF_INET}));
}

TEST(connect, a_socket_that_cannot_be_prepared_is_not_used) {
    context ctx;
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    connect_options options = patient();
    options.prepare = [](aio::socket &socket) { return socket.set(aio::time_to_live, 1000); };
    EXPECT_EQ(ctx.run(aio::connect(ctx, {answers.local_endpoint().value()}, options)).error(),
              std::errc::invalid_argument);
    EXPECT_FALSE(has_a_connection(answers));
}

TEST(connect, the_limit_is_of_all_of_it) {
    context ctx;
    const black_hole silent(ctx, endpoint::loopback_v4(0));
    connect_options options = hasty();
    options.limit = 25ms;
    EXPECT_EQ(ctx.run(aio::connect(ctx, {silent.at(), silent.at()}, options)).error(),
              aio::errc::deadline);
    EXPECT_EQ(left(ctx), 0u);
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    options.limit = 0s;
    EXPECT_EQ(ctx.run(aio::connect(ctx, {answers.local_endpoint().value()}, options)).error(),
              aio::errc::deadline);
}

TEST(connect, a_stop_ends_it_and_leaves_nothing) {
    context ctx;
    const black_hole silent(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{silent.at(), silent.at(), silent.at()};
    auto late = aio::with_timeout(aio::connect(ctx, to, hasty()), 15ms);
    EXPECT_EQ(ctx.run(std::move(late)).error(), aio::errc::deadline);
    EXPECT_EQ(left(ctx), 0u);
}

TEST(connect, it_may_be_destroyed_in_the_middle) {
    context ctx;
    const black_hole silent(ctx, endpoint::loopback_v4(0));
    const std::vector<endpoint> to{silent.at(), silent.at(), silent.at()};
    {
        support::strands doomed(ctx);
        doomed.begin(aio::connect(ctx, to, hasty()));
        doomed.begin(aio::connect(ctx, "localhost", std::to_string(silent.at().port())));
        ctx.run(aio::sleep_for(ctx, 15ms)).value();
    }
    EXPECT_EQ(left(ctx), 0u);
}

TEST(connect, names_are_found_as_the_c_library_does) {
    context ctx;
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const endpoint at = answers.local_endpoint().value();
    const std::string port = std::to_string(at.port());
    EXPECT_EQ(ctx.run(aio::connect(ctx, "localhost", port)).value().peer_endpoint(), at);
    EXPECT_EQ(ctx.run(aio::connect(ctx, "127.0.0.1", port, hasty())).value().peer_endpoint(), at);
    EXPECT_FALSE(ctx.run(aio::connect(ctx, "127.0.0.1", "no such service")));
    const auto in_a_coroutine = [&]() -> task<bool> {
        const auto made = co_await aio::connect(ctx, "localhost", port, {.limit = 60s});
        co_return made.has_value();
    };
    EXPECT_TRUE(ctx.run(in_a_coroutine()));
}

TEST(connect, names_are_found_by_a_dns_client) {
    context ctx;
    support::temp_folder folder;
    const std::string hosts = folder.path("hosts");
    std::ofstream(hosts) << "127.0.0.1 both only4\n::1 both\n";
    aio::dns_resolver_options asks;
    asks.hosts_path = hosts.c_str();
    asks.conf_path = "";
    const aio::dns_resolver resolver(asks);
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const endpoint at = answers.local_endpoint().value();
    const auto to = [&](const char *name, connect_options options) {
        return ctx.run(aio::connect(ctx, resolver, name, at.port(), options));
    };
    EXPECT_EQ(to("only4", patient()).value().peer_endpoint(), at);
    EXPECT_EQ(to("both", patient()).value().peer_endpoint(), at);
    connect_options six = patient();
    six.family = AF_INET6;
    EXPECT_FALSE(to("both", six));
    EXPECT_FALSE(to("only4", six));
    if (has_v6()) {
        const endpoint at6 = endpoint::loopback_v6(at.port());
        if (const auto answers6 = tcp_listener::bind(ctx, at6, {.v6_only = true})) {
            EXPECT_EQ(to("both", patient()).value().peer_endpoint(), at6);
        }
    }
}

/// A lookup of the test's own, that takes a time.
task<aio::result<std::vector<endpoint>>> finds(context &ctx, std::chrono::nanoseconds after,
                                               std::vector<endpoint> found) {
    if (const auto slept = co_await aio::sleep_for(ctx, after); !slept)
        co_return aio::unexpected(slept.error());
    if (found.empty())
        co_return aio::unexpected(aio::errc::no_name);
    co_return found;
}

TEST(connect, a_slow_lookup_of_one_family_does_not_hold_the_other_back) {
    context ctx;
    auto answers = listening(ctx, endpoint::loopback_v4(0));
    const endpoint at = answers.local_endpoint().value();
    connect_options options = patient();
    options.resolution_delay = 10ms;
    const auto before = std::chrono::steady_clock::now();
    auto made = ctx.run(aio::connect(ctx, finds(ctx, 1h, {at}), finds(ctx, 0ns, {at}), options));
    EXPECT_EQ(made.value().peer_endpoint(), at);
    EXPECT_GE(std::chrono::steady_clock::now() - before, 10ms);
    EXPECT_EQ(left(ctx), 0u);
    // A preferred lookup that has failed is not waited for.
    options.resolution_delay = 1h;
    made = ctx.run(aio::connect(ctx, finds(ctx, 1ms, {}), finds(ctx, 0ns, {at}), options));
    EXPECT_EQ(made.value().peer_endpoint(), at);
}

TEST(connect, what_the_preferred_lookup_finds_in_time_comes_first) {
    context ctx;
    auto preferred = listening(ctx, endpoint::loopback_v4(0));
    auto other = listening(ctx, endpoint::loopback_v4(0));
    const endpoint first = preferred.local_endpoint().value();
    const endpoint second = other.local_endpoint().value();
    connect_options options = patient();
    options.resolution_delay = 1h;
    auto made =
        ctx.run(aio::connect(ctx, finds(ctx, 5ms, {first}), finds(ctx, 0ns, {second}), options));
    EXPECT_EQ(made.value().peer_endpoint(), first);
    made = ctx.run(aio::connect(ctx, finds(ctx, 0ns, {first}), finds(ctx, 1h, {second}), options));
    EXPECT_EQ(made.value().peer_endpoint(), first);
    EXPECT_EQ(left(ctx), 0u);
}

TEST(connect, where_nothing_is_found_the_error_is_the_lookups) {
    context ctx;
    EXPECT_EQ(ctx.run(aio::connect(ctx, finds(ctx, 1ms, {}), finds(ctx, 0ns, {}))).error(),
              aio::errc::no_name);
    const refusing nobody(endpoint::loopback_v4(0));
    EXPECT_EQ(
        ctx.run(aio::connect(ctx, finds(ctx, 1ms, {}), finds(ctx, 0ns, {nobody.at()}))).error(),
        std::errc::connection_refused);
}

#if AIO_DETAIL_EXCEPTIONS
TEST(connect, an_exception_of_a_lookup_comes_out) {
    context ctx;
    const auto throws = [&]() -> task<aio::result<std::vector<endpoint>>> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
        throw std::runtime_error("lookup");
    };
    EXPECT_THROW(static_cast<void>(ctx.run(aio::connect(ctx, throws(), finds(ctx, 1h, {})))),
                 std::runtime_error);
    EXPECT_EQ(left(ctx), 0u);
}
#endif

} // namespace
