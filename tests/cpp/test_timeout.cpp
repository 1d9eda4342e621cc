#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/misc.hpp>
#include <aio/timeout.hpp>

#include <string>
#include <thread>
#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace {

using aio::context;
using aio::result;
using aio::task;
using support::after;

TEST(timeout, with_timeout_cancels_what_is_inside_and_waits_for_it) {
    context ctx;
    bool cleaned = false;
    const auto inner = [&]() -> task<int> {
        const auto slept = co_await aio::sleep_for(ctx, 1h);
        EXPECT_TRUE(aio::is_cancelled(slept.error()));
        cleaned = true;
        slept.value(); // throws
        co_return 1;
    };
    const auto outer = [&]() -> task<> {
        const result<int> late = co_await aio::with_timeout(inner(), 2ms);
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(late.error(), aio::errc::deadline);
        EXPECT_EQ(co_await aio::with_timeout(after(ctx, 1ms, 5), 10s), 5);
        EXPECT_TRUE(
            co_await aio::with_deadline(aio::nop(ctx), std::chrono::steady_clock::now() + 10s));
        EXPECT_EQ((co_await aio::with_timeout(aio::sleep_for(ctx, 1h), 1ms)).error(),
                  aio::errc::deadline);
        EXPECT_FALSE(co_await aio::stop_requested());
    };
    ctx.run(outer());
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(timeout, what_comes_in_spite_of_the_timeout_is_kept) {
    context ctx;
    const auto stubborn = [&]() -> task<int> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1h));
        co_return 6;
    };
    const auto failing = [&]() -> task<int> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1h));
        throw std::logic_error("not about the time");
        co_return 0;
    };
    EXPECT_EQ(ctx.run(aio::with_timeout(stubborn(), 1ms)), 6);
    EXPECT_THROW(static_cast<void>(ctx.run(aio::with_timeout(failing(), 1ms))), std::logic_error);
}

TEST(timeout, a_stop_from_outside_is_no_deadline) {
    context ctx;
    const auto outer = [&]() -> task<> {
        auto first = co_await aio::when_any(
            aio::with_timeout(aio::with_timeout(aio::sleep_for(ctx, 1h), 1h), 1h),
            aio::sleep_for(ctx, 1ms));
        EXPECT_EQ(first.index(), 1u);
        const auto middle = [&]() -> task<std::error_code> {
            const auto inner =
                co_await aio::with_timeout(aio::with_timeout(aio::sleep_for(ctx, 1h), 1h), 1ms);
            co_return inner.error();
        };
        EXPECT_EQ(co_await middle(), aio::errc::deadline);
    };
    ctx.run(outer());
}

#if defined(__cpp_lib_jthread)
TEST(timeout, a_stop_token_of_another_thread_stops_all_that_is_inside) {
    context ctx;
    std::stop_source source;
    const auto inner = [&]() -> task<int> {
        const auto both = co_await aio::when_all(aio::sleep_for(ctx, 1h), aio::sleep_for(ctx, 1h));
        EXPECT_TRUE(aio::is_cancelled(std::get<1>(both).error()));
        co_return 5;
    };
    const auto at_once = []() -> task<int> { co_return 6; };
    std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        source.request_stop();
    });
    EXPECT_EQ(ctx.run(aio::with_stop(inner(), source.get_token())), 5);
    other.join();
    EXPECT_EQ(ctx.run(aio::with_stop(inner(), source.get_token())), 5); // was stopped before
    EXPECT_EQ(ctx.run(aio::with_stop(at_once(), std::stop_token())), 6);
    EXPECT_EQ(ctx.in_flight(), 0u);
}
#endif

TEST(timeout, a_time_limit_is_a_duration_a_time_or_none) {
    using clock = aio::time_limit::clock;
    const aio::time_limit none;
    EXPECT_FALSE(none);
    EXPECT_FALSE(none.has_passed());
    EXPECT_EQ(none.timeout_ns(), 0u);
    const aio::time_limit passed = 0s;
    EXPECT_TRUE(passed.has_passed());
    EXPECT_EQ(passed.timeout_ns(), 1u);
    const clock::time_point before = clock::now();
    const aio::time_limit hour = 1h;
    EXPECT_TRUE(hour);
    EXPECT_FALSE(hour.has_passed());
    EXPECT_GE(hour.time(), before + 1h);
    EXPECT_LE(hour.time(), clock::now() + 1h);
    EXPECT_LE(hour.timeout_ns(), 3'600'000'000'000u);
    EXPECT_EQ(aio::time_limit(hour.time()), hour);
    EXPECT_FALSE(aio::time_limit(std::chrono::hours::max()).has_passed());
}

TEST(timeout, retry_tries_again_until_it_succeeds_or_gives_up) {
    context ctx;
    int calls = 0;
    const auto third = [&]() -> task<result<int>> {
        if (++calls < 3)
            co_return aio::unexpected(std::errc::connection_refused);
        co_return calls;
    };
    const aio::retry_options quick{.attempts = 5, .delay = 1ms};
    EXPECT_EQ(ctx.run(aio::retry(ctx, third, quick)), 3);
    calls = -100;
    EXPECT_EQ(ctx.run(aio::retry(ctx, third, quick)).error(), std::errc::connection_refused);
    EXPECT_EQ(calls, -95);
    const aio::retry_options choosy{.delay = 1ms, .is_worth = [](const std::error_code &error) {
                                        return error != std::errc::connection_refused;
                                    }};
    calls = -100;
    EXPECT_FALSE(ctx.run(aio::retry(ctx, third, choosy)));
    EXPECT_EQ(calls, -99);
    const aio::retry_options patient{.attempts = 100, .delay = 1h};
    EXPECT_EQ(ctx.run(aio::with_timeout(aio::retry(ctx, third, patient), 2ms)).error(),
              aio::errc::deadline);
}

TEST(timeout, limits_are_calculated_without_an_overflow) {
    using namespace std::chrono;
    using in_hours = time_point<steady_clock, hours>;
    EXPECT_FALSE(aio::time_limit(in_hours::max()));
    EXPECT_FALSE(aio::time_limit(steady_clock::time_point::max()));
    EXPECT_FALSE(aio::time_limit(days::max()));
    EXPECT_FALSE(aio::time_limit(duration<double>(1e300)));
    EXPECT_FALSE(aio::time_limit(nanoseconds::max()).has_passed());
    EXPECT_TRUE(aio::time_limit(in_hours::min()).has_passed());
    EXPECT_TRUE(aio::time_limit(nanoseconds::min()).has_passed());
    EXPECT_EQ(aio::time_limit(steady_clock::time_point::min()).timeout_ns(), 1u);
}

TEST(timeout, a_deadline_of_long_ago_has_passed) {
    context ctx;
    const auto sleeper = [&]() -> task<> { (co_await aio::sleep_for(ctx, 1h)).value(); };
    const auto long_ago = std::chrono::steady_clock::time_point::min();
    EXPECT_EQ(ctx.run(aio::with_deadline(sleeper(), long_ago)).error(), aio::errc::deadline);
}

} // namespace
