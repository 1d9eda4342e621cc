#include "support.hpp"

#include <aio/net.hpp>
#include <aio/stop_token.hpp>
#include <aio/timeout.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace {

using aio::inplace_stop_callback;
using aio::inplace_stop_source;
using aio::inplace_stop_token;
using aio::task;

TEST(stop_token, callbacks_are_called_once_by_who_asks_first) {
    inplace_stop_source source;
    const inplace_stop_token token = source.get_token();
    int calls = 0;
    const inplace_stop_callback first(token, [&] { calls += 1; });
    const inplace_stop_callback second(token, [&] { calls += 10; });
    EXPECT_TRUE(token.stop_possible());
    EXPECT_FALSE(token.stop_requested());
    EXPECT_TRUE(source.request_stop());
    EXPECT_EQ(calls, 11);
    EXPECT_FALSE(source.request_stop());
    EXPECT_EQ(calls, 11);
    EXPECT_TRUE(token.stop_requested());
}

TEST(stop_token, a_callback_made_after_the_request_is_called_at_once) {
    inplace_stop_source source;
    source.request_stop();
    int calls = 0;
    const inplace_stop_callback late(source.get_token(), [&] { calls++; });
    EXPECT_EQ(calls, 1);
}

TEST(stop_token, a_callback_that_is_gone_is_not_called) {
    inplace_stop_source source;
    int calls = 0;
    const auto counts = [&] { calls++; };
    inplace_stop_callback kept(source.get_token(), counts);
    std::optional<inplace_stop_callback<decltype(counts)>> gone;
    gone.emplace(source.get_token(), counts);
    inplace_stop_callback newest(source.get_token(), counts);
    gone.reset();
    source.request_stop();
    EXPECT_EQ(calls, 2);
}

TEST(stop_token, a_callback_may_destroy_itself_and_others) {
    inplace_stop_source source;
    int calls = 0;
    struct erases {
        std::unique_ptr<inplace_stop_callback<erases>> &self, &other;
        int &calls;
        void operator()() const {
            int &counts = calls; // this dies here
            other.reset();
            self.reset();
            counts++;
        }
    };
    std::unique_ptr<inplace_stop_callback<erases>> a, b;
    a = std::make_unique<inplace_stop_callback<erases>>(source.get_token(), erases{a, b, calls});
    b = std::make_unique<inplace_stop_callback<erases>>(source.get_token(), erases{b, a, calls});
    EXPECT_TRUE(source.request_stop());
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(a, nullptr);
    EXPECT_EQ(b, nullptr);
}

TEST(stop_token, destroying_a_callback_waits_while_another_thread_runs_it) {
    inplace_stop_source source;
    std::atomic<bool> is_running = false, goes_on = false, has_ended = false;
    const auto waits = [&] {
        is_running = true;
        is_running.notify_all();
        goes_on.wait(false);
        has_ended = true;
    };
    std::optional<inplace_stop_callback<decltype(waits)>> callback;
    callback.emplace(source.get_token(), waits);
    std::thread asks([&] { source.request_stop(); });
    is_running.wait(false);
    std::thread releases([&] {
        goes_on = true;
        goes_on.notify_all();
    });
    callback.reset();
    EXPECT_TRUE(has_ended);
    asks.join();
    releases.join();
}

TEST(stop_token, callbacks_come_and_go_while_another_thread_asks) {
    for (int round = 0; round < 100 / support::slow(); round++) {
        inplace_stop_source source;
        std::atomic<int> calls = 0;
        std::thread asks([&] { source.request_stop(); });
        int told = 0;
        while (!source.stop_requested()) {
            const inplace_stop_callback one(source.get_token(), [&] { calls++; });
            told++;
        }
        asks.join();
        EXPECT_LE(calls, told);
        const inplace_stop_callback late(source.get_token(), [&] { calls = -1; });
        EXPECT_EQ(calls, -1);
    }
}

TEST(stop_token, a_token_of_no_source_never_stops) {
    const inplace_stop_token none;
    EXPECT_FALSE(none.stop_possible());
    EXPECT_FALSE(none.stop_requested());
    EXPECT_NE(none, inplace_stop_source().get_token());
    const inplace_stop_callback callback(none, [] { FAIL(); });
    static_assert(!aio::never_stop_token::stop_possible());
    const aio::never_stop_token::callback_type<int> nothing(aio::never_stop_token(), 1);
    static_cast<void>(nothing);
}

TEST(stop_token, cancels_an_operation_from_another_thread) {
    aio::context ctx;
    const auto [mine, other] = support::socket_pair();
    inplace_stop_source source;
    std::thread asks;
    const auto waits = [&, fd = mine]() -> task<std::error_code> {
        std::array<char, 8> room;
        asks = std::thread([&] { source.request_stop(); });
        co_return (co_await aio::recv(ctx, fd, room).cancel_on(source.get_token())).error();
    };
    EXPECT_EQ(ctx.run(waits()), std::errc::operation_canceled);
    asks.join();
    ::close(mine);
    ::close(other);
}

TEST(stop_token, stops_a_whole_task) {
    aio::context ctx;
    inplace_stop_source source;
    const auto inner = [&]() -> task<std::error_code> {
        source.request_stop();
        co_return (co_await aio::sleep_for(ctx, 1h)).error();
    };
    EXPECT_EQ(ctx.run(aio::with_stop(inner(), source.get_token())), std::errc::operation_canceled);
}

} // namespace
