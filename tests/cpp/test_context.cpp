#include "support.hpp"

#include <aio/misc.hpp>

#include <cmath>
#include <thread>

namespace {

using aio::context;
using aio::task;

TEST(context, it_says_what_it_is) {
    context ctx;
    const aio_info info = ctx.info().value();
    EXPECT_TRUE(info.backend == AIO_BACKEND_URING || info.backend == AIO_BACKEND_EPOLL);
    EXPECT_EQ(ctx.in_flight(), 0u);
    EXPECT_EQ(ctx.stats().value().submitted, 0u);
    EXPECT_FALSE(ctx.dump().empty());
}

TEST(context, create_returns_the_error_that_the_constructor_throws) {
    const aio::context_options wrong{.flags = 1u << 31};
    EXPECT_EQ(context::create(wrong).error(), std::errc::invalid_argument);
    EXPECT_THROW(context{wrong}, std::system_error);
}

TEST(context, run_until_a_task_is_done_returns_its_value_or_throws_its_exception) {
    context ctx;
    const auto value = [&]() -> task<std::string> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
        co_return "done";
    };
    const auto failing = [&]() -> task<> {
        static_cast<void>(co_await aio::nop(ctx));
        throw std::runtime_error("lost");
    };
    EXPECT_EQ(ctx.run(value()), "done");
    EXPECT_THROW(ctx.run(failing()), std::runtime_error);
    EXPECT_EQ(ctx.run(value()), "done");
}

TEST(context, run_awaits_operations_too) {
    context ctx;
    EXPECT_TRUE(ctx.run(aio::nop(ctx)).has_value());
    EXPECT_EQ(ctx.run(aio::sleep_for(ctx, 1h).timeout(1ms)).error(), aio::errc::deadline);
}

TEST(context, a_task_that_is_done_at_once_leaves_no_stop_behind) {
    context ctx;
    const auto at_once = []() -> task<int> { co_return 1; };
    EXPECT_EQ(ctx.run(at_once()), 1);
    bool ticked = false;
    const auto later = [&]() -> task<> {
        ticked = (co_await aio::sleep_for(ctx, 1ms)).has_value();
    };
    ctx.run(later());
    EXPECT_TRUE(ticked);
    EXPECT_EQ(ctx.run(at_once()), 1);
    ASSERT_TRUE(ctx.post([&] { ticked = false; }));
    ctx.run().value();
    EXPECT_FALSE(ticked);
}

TEST(context, a_stop_asks_the_running_task_to_stop_and_waits_for_it) {
    context ctx;
    const auto sleeper = [&]() -> task<std::error_code> {
        const auto slept = co_await aio::sleep_for(ctx, 1h);
        EXPECT_TRUE(co_await aio::stop_requested());
        co_return slept.error();
    };
    std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        ctx.stop();
    });
    EXPECT_TRUE(aio::is_cancelled(ctx.run(sleeper())));
    other.join();
}

TEST(context, a_strand_that_was_asked_to_stop_submits_nothing_more) {
    context ctx;
    const auto stopping = [&]() -> task<bool> {
        (co_await aio::this_strand())->request_stop();
        const auto before = ctx.stats().value().submitted;
        const auto ended = co_await aio::nop(ctx);
        EXPECT_TRUE(aio::is_cancelled(ended.error()));
        co_return ctx.stats().value().submitted == before;
    };
    EXPECT_TRUE(ctx.run(stopping()));
}

TEST(context, posts_run_in_order_on_the_contexts_thread) {
    context ctx;
    std::string order;
    std::thread other([&] {
        for (char c : std::string("abc"))
            ASSERT_TRUE(ctx.post([&order, c] { order += c; }));
        ASSERT_TRUE(ctx.post([&ctx] { ctx.stop(); }));
    });
    const context::hold hold(ctx);
    ctx.run().value();
    other.join();
    EXPECT_EQ(order, "abc");
}

TEST(context, what_is_posted_and_not_run_is_called_by_the_destructor) {
    int alive = 0;
    int calls = 0;
    {
        context ctx;
        ASSERT_TRUE(ctx.post([&calls, kept = support::counted(alive)] { calls++; }));
        EXPECT_EQ(alive, 1);
    }
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(calls, 1);
}

TEST(context, a_tick_is_called_until_it_says_no) {
    context ctx;
    int ticks = 0;
    ctx.run(1ms, [&] { return ++ticks < 3; }).value();
    EXPECT_EQ(ticks, 3);
    ctx.run(1ms,
            [&] {
                if (++ticks == 5)
                    ctx.stop();
            })
        .value();
    EXPECT_EQ(ticks, 5);
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(context, run_once_waits_no_longer_than_it_is_told) {
    context ctx;
    EXPECT_EQ(ctx.run_once(0ms).value(), 0u);
    int calls = 0;
    ASSERT_TRUE(ctx.post([&] { calls++; }));
    EXPECT_EQ(ctx.run_once().value(), 1u);
    EXPECT_EQ(calls, 1);
}

TEST(context, running_inside_a_callback_is_refused) {
    context ctx;
    std::error_code inner;
    std::error_code thrown;
    ASSERT_TRUE(ctx.post([&] {
        inner = ctx.run().error();
        try {
            static_cast<void>(ctx.run(aio::nop(ctx)));
        } catch (const std::system_error &error) {
            thrown = error.code();
        }
    }));
    ctx.run().value();
    EXPECT_EQ(inner, aio::errc::reentrant);
    EXPECT_EQ(thrown, aio::errc::reentrant);
}

TEST(context, another_thread_cannot_run_it) {
    context ctx;
    ctx.run().value();
    std::thread([&] { EXPECT_EQ(ctx.run().error(), aio::errc::wrong_thread); }).join();
}

TEST(context, nothing_of_a_task_runs_on_a_wrong_thread) {
    context ctx;
    ctx.run().value();
    bool has_begun = false;
    const auto begins = [&]() -> task<> {
        has_begun = true;
        co_return;
    };
    std::thread([&] { EXPECT_THROW(ctx.run(begins()), std::system_error); }).join();
    EXPECT_FALSE(has_begun);
    ctx.run(begins());
    EXPECT_TRUE(has_begun);
}

TEST(context, strands_in_flight_end_when_it_is_destroyed) {
    std::error_code why;
    struct sink {
        void set_value() noexcept {}
        void set_exception() noexcept {}
    } sink;
    auto ctx = std::make_unique<context>();
    aio::detail::strand_group group(ctx->where());
    const auto sleeper = [&]() -> task<> { why = (co_await aio::sleep_for(*ctx, 1h)).error(); };
    group.start(sleeper(), sink);
    EXPECT_EQ(group.size(), 1u);
    ctx.reset();
    EXPECT_EQ(group.size(), 0u);
    EXPECT_EQ(why, aio::errc::aborted);
}

TEST(context, sync_wait_makes_a_context_where_there_is_none) {
    const auto pure = []() -> task<int> { co_return 4; };
    EXPECT_EQ(aio::sync_wait(pure()), 4);
    EXPECT_EQ(aio::sync_wait([](context &ctx) -> task<int> {
                  static_cast<void>(co_await aio::nop(ctx));
                  co_return 5;
              }),
              5);
    context ctx;
    EXPECT_TRUE(aio::sync_wait(ctx, aio::nop(ctx)));
}

TEST(context, a_borrowed_context_is_left_alone) {
    context owner;
    {
        context borrowed = context::borrow(owner.native());
        EXPECT_TRUE(borrowed.run(aio::nop(borrowed)));
    }
    EXPECT_TRUE(owner.run(aio::nop(owner)));
}

TEST(context, durations_of_any_unit_and_size_become_nanoseconds) {
    using namespace std::chrono;
    using aio::detail::to_ns;
    constexpr uint64_t for_ever = aio::detail::for_ever_ns;
    EXPECT_EQ(to_ns(3s), 3'000'000'000u);
    EXPECT_EQ(to_ns(duration<unsigned char>(3)), 3'000'000'000u);
    EXPECT_EQ(to_ns(duration<int64_t, std::pico>(1)), 1u); // never less than asked
    EXPECT_EQ(to_ns(duration<int64_t, std::pico>(2001)), 3u);
    EXPECT_EQ(to_ns(duration<double>(1.5)), 1'500'000'000u);
    EXPECT_EQ(to_ns(duration<int64_t, std::ratio<1, 44'100>>(44'100LL * 86'400 * 365)),
              365ULL * 86'400 * 1'000'000'000);
    EXPECT_EQ(to_ns(nanoseconds::min()), 0u);
    EXPECT_EQ(to_ns(hours::min()), 0u);
    EXPECT_EQ(to_ns(duration<double>(std::nan(""))), 0u);
    EXPECT_EQ(to_ns(nanoseconds::max()), for_ever);
    EXPECT_EQ(to_ns(minutes::max()), for_ever);
    EXPECT_EQ(to_ns(days::max()), for_ever);
    EXPECT_EQ(to_ns(years::max()), for_ever);
    EXPECT_EQ(to_ns(duration<double>(INFINITY)), for_ever);
}

} // namespace
