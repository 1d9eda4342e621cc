#include "support.hpp"

#include <aio/misc.hpp>
#include <aio/msg_ring.hpp>
#include <aio/multishot.hpp>
#include <aio/net.hpp>
#include <aio/poll.hpp>

#include <poll.h>

#include <vector>

namespace {

using aio::context;
using aio::task;

struct ignore {
    void set_value() noexcept {}
    void set_exception() noexcept { std::terminate(); }
} ignored;

TEST(multishot, results_come_one_by_one) {
    context ctx;
    auto [listening, address] = support::listener();
    const auto accepting = [&, listening = listening, &address = address]() -> task<> {
        auto acceptor = aio::accept_multishot(ctx, listening);
        std::vector<int> clients;
        for (int i = 0; i < 3; i++) {
            clients.push_back(support::connected_to(address));
            auto connection = co_await acceptor.next();
            EXPECT_TRUE(connection.value());
        }
        for (int client : clients)
            ::close(client);
    };
    ctx.run(accepting());
    ctx.run().value();
    EXPECT_EQ(ctx.in_flight(), 0u);
    ::close(listening);
}

TEST(multishot, a_slow_consumer_is_felt_and_nothing_is_lost) {
    context ctx;
    auto [listening, address] = support::listener();
    constexpr int clients_count = 20;
    const auto slow = [&, listening = listening, &address = address]() -> task<> {
        auto acceptor = aio::accept_multishot(ctx, listening).max_pending(4);
        std::vector<int> clients;
        clients.push_back(support::connected_to(address));
        EXPECT_TRUE(co_await acceptor.next());
        for (int i = 1; i < clients_count; i++) {
            clients.push_back(support::connected_to(address));
            static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
        }
        // One more may have come with the request to pause.
        EXPECT_LE(acceptor.pending(), 8u);
        EXPECT_FALSE(acceptor.error());
        for (int i = 1; i < clients_count; i++)
            EXPECT_TRUE((co_await acceptor.next()).value());
        for (int client : clients)
            ::close(client);
    };
    ctx.run(slow());
    ::close(listening);
}

TEST(multishot, an_error_ends_it_and_is_told_again) {
    context ctx;
    const auto failing = [&]() -> task<> {
        auto acceptor = aio::accept_multishot(ctx, 9999);
        EXPECT_EQ((co_await acceptor.next()).error(), std::errc::bad_file_descriptor);
        EXPECT_EQ((co_await acceptor.next()).error(), std::errc::bad_file_descriptor);
        EXPECT_EQ(acceptor.error(), std::errc::bad_file_descriptor);
    };
    ctx.run(failing());
}

TEST(multishot, a_stop_of_the_strand_ends_the_wait_and_not_the_operation) {
    context ctx;
    auto ticks = aio::interval(ctx, 1h);
    std::error_code why;
    const auto waits = [&]() -> task<> { why = (co_await ticks.next()).error(); };
    aio::detail::strand_group group(ctx.where());
    group.start(waits(), ignored);
    EXPECT_EQ(ctx.in_flight(), 1u);
    group.request_stop();
    static_cast<void>(ctx.run_once(0ms));
    EXPECT_TRUE(aio::is_cancelled(why));
    EXPECT_FALSE(ticks.error());
    EXPECT_EQ(ctx.in_flight(), 1u);
}

TEST(multishot, request_stop_ends_the_operation) {
    context ctx;
    const auto stops = [&]() -> task<> {
        auto ticks = aio::interval(ctx, 1ms);
        EXPECT_GE((co_await ticks.next()).value(), 1u);
        ticks.request_stop();
        while (co_await ticks.next()) {
        }
        EXPECT_TRUE(aio::is_cancelled(ticks.error()));
    };
    ctx.run(stops());
    auto unused = aio::interval(ctx, 1ms);
    unused.request_stop();
    EXPECT_TRUE(aio::is_cancelled(ctx.run(unused.next()).error()));
}

TEST(multishot, deadlines_of_the_whole_and_of_silence) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto waits = [&, b = b]() -> task<> {
        auto whole = aio::poll_multishot(ctx, b, POLLIN).timeout(2ms);
        EXPECT_EQ((co_await whole.next()).error(), aio::errc::deadline);
        auto silence = aio::poll_multishot(ctx, b, POLLIN).idle_timeout(2ms);
        EXPECT_EQ((co_await silence.next()).error(), aio::errc::deadline);
    };
    ctx.run(waits());
    ::close(a);
    ::close(b);
}

TEST(multishot, it_moves_while_it_is_in_flight_and_ends_when_it_dies) {
    context ctx;
    {
        auto ticks = aio::interval(ctx, 1ms);
        EXPECT_TRUE(ctx.run(ticks.next()));
        auto moved = std::move(ticks);
        EXPECT_TRUE(ctx.run(moved.next()));
        EXPECT_EQ(ctx.in_flight(), 1u);
    }
    ctx.run().value();
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(multishot, messages_arrive_in_order) {
    context ctx;
    const auto talk = [&]() -> task<> {
        auto incoming = aio::msg_receive(ctx);
        for (int i = 0; i < 3; i++)
            (co_await aio::msg_ring(ctx, ctx.native(), i, 100u + i)).value();
        for (int i = 0; i < 3; i++) {
            const aio::message message = (co_await incoming.next()).value();
            EXPECT_EQ(message.number, i);
            EXPECT_EQ(message.data, 100u + i);
        }
    };
    ctx.run(talk());
}

/// Of an item that there is no memory for.
struct gives_too_much {
    static constexpr bool last_is_result = false;
    using type = std::size_t;
    template <class Call> static type from(const aio::detail::told &now, const Call &) {
        if (now.result > 0)
            throw std::bad_alloc();
        return 0;
    }
};

TEST(multishot, an_item_that_there_is_no_memory_for_is_the_end_and_says_so) {
    context ctx;
    auto ticks = aio::detail::repeats<gives_too_much, &aio_submit_interval>(ctx, uint64_t{100'000});
    const auto reader = [&]() -> task<> {
        EXPECT_EQ((co_await ticks.next()).error(), std::errc::not_enough_memory);
        EXPECT_EQ(ticks.error(), std::errc::not_enough_memory);
    };
    ctx.run(reader());
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(multishot, of_two_kinds_of_timeouts_the_last_one_said_counts) {
    context ctx;
    const auto reader = [&]() -> task<> {
        const auto began = std::chrono::steady_clock::now();
        auto total = aio::interval(ctx, 1ms).idle_timeout(1h).timeout(20ms);
        while (co_await total.next()) {
        }
        EXPECT_EQ(total.error(), aio::errc::deadline);
        EXPECT_LT(std::chrono::steady_clock::now() - began, 1h);
        const auto fds = support::socket_pair();
        auto idle = aio::poll_multishot(ctx, fds[0], POLLIN).timeout(1h).idle_timeout(5ms);
        EXPECT_EQ((co_await idle.next()).error(), aio::errc::deadline);
        ::close(fds[0]);
        ::close(fds[1]);
    };
    ctx.run(reader());
}

} // namespace
