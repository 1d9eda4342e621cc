#include "strands.hpp"

#include <aio/thread_pool.hpp>

#include <atomic>
#include <memory>
#include <thread>

namespace {

using aio::context;
using aio::task;
using aio::thread_pool;
using support::strands;

TEST(thread_pool, a_function_runs_elsewhere_and_gives_its_value_here) {
    context ctx;
    thread_pool pool;
    const auto here = std::this_thread::get_id();
    const auto asks = [&]() -> task<> {
        const auto there =
            co_await aio::offload(ctx, pool, [] { return std::this_thread::get_id(); });
        EXPECT_NE(there.value(), here);
        EXPECT_EQ(std::this_thread::get_id(), here);
        EXPECT_TRUE(co_await aio::offload(ctx, pool, [] {}));
        auto gives = [number = std::make_unique<int>(5)]() mutable { return std::move(number); };
        auto owned = co_await aio::offload(ctx, pool, std::move(gives));
        EXPECT_EQ(*owned.value(), 5);
    };
    ctx.run(asks());
    EXPECT_EQ(pool.info().value().submitted, 3u);
}

TEST(thread_pool, an_exception_is_thrown_where_it_is_awaited) {
    context ctx;
    thread_pool pool;
    const auto asks = [&]() -> task<std::string> {
        try {
            static_cast<void>(
                co_await aio::offload(ctx, pool, []() -> int { throw std::runtime_error("no"); }));
        } catch (const std::runtime_error &error) {
            co_return error.what();
        }
        co_return "nothing";
    };
    EXPECT_EQ(ctx.run(asks()), "no");
}

TEST(thread_pool, a_result_is_given_as_it_is) {
    context ctx;
    thread_pool pool;
    const auto fails = []() -> aio::result<int> {
        return aio::unexpected(std::errc::permission_denied);
    };
    EXPECT_EQ(ctx.run(aio::offload(ctx, pool, fails)).error(), std::errc::permission_denied);
}

TEST(thread_pool, what_has_not_begun_is_not_called_when_it_is_stopped_or_late) {
    context ctx;
    thread_pool pool({.threads_max = 1});
    std::atomic<bool> is_busy = false;
    std::atomic<bool> is_over = false;
    int called = 0;
    strands blocking(ctx);
    strands group(ctx);
    const auto blocks = [&]() -> task<> {
        EXPECT_TRUE(co_await aio::offload(ctx, pool, [&] {
            is_busy = true;
            is_busy.notify_all();
            is_over.wait(false);
        }));
    };
    const auto waits = [&](bool has_deadline) -> task<> {
        auto work = aio::offload(ctx, pool, [&] { called++; });
        if (has_deadline)
            EXPECT_EQ((co_await std::move(work).timeout(1ms)).error(), aio::errc::deadline);
        else
            EXPECT_TRUE(aio::is_cancelled((co_await std::move(work)).error()));
    };
    blocking.begin(blocks());
    is_busy.wait(false);
    group.begin(waits(true));
    while (group.size() != 0)
        static_cast<void>(ctx.run_once());
    group.begin(waits(false));
    {
        strands doomed(ctx);
        doomed.begin(waits(false));
    }
    group.request_stop();
    is_over = true;
    is_over.notify_all();
    ctx.run().value();
    EXPECT_EQ(group.size(), 0u);
    EXPECT_EQ(called, 0);
}

TEST(thread_pool, a_destroyed_coroutine_waits_for_its_function) {
    context ctx;
    thread_pool pool;
    std::atomic<bool> has_begun = false;
    std::atomic<bool> has_ended = false;
    {
        strands doomed(ctx);
        const auto asks = [&]() -> task<> {
            std::string local(100, 'x');
            static_cast<void>(co_await aio::offload(ctx, pool, [&] {
                has_begun = true;
                has_begun.notify_all();
                std::this_thread::sleep_for(20ms);
                EXPECT_EQ(local, std::string(100, 'x'));
                has_ended = true;
            }));
        };
        doomed.begin(asks());
        has_begun.wait(false);
    }
    EXPECT_TRUE(has_ended);
}

TEST(thread_pool, a_result_can_be_kept_despite_a_stop) {
    context ctx;
    thread_pool pool;
    std::atomic<bool> has_begun = false;
    std::atomic<bool> may_end = false;
    for (const bool keeps : {true, false}) {
        has_begun = may_end = false;
        strands group(ctx);
        const auto asks = [&]() -> task<> {
            auto work = aio::offload(ctx, pool, [&] {
                has_begun = true;
                has_begun.notify_all();
                may_end.wait(false);
                return 7;
            });
            if (keeps)
                EXPECT_EQ(co_await std::move(work).keep_result(), 7);
            else
                EXPECT_TRUE(aio::is_cancelled((co_await std::move(work)).error()));
        };
        group.begin(asks());
        has_begun.wait(false);
        group.request_stop();
        may_end = true;
        may_end.notify_all();
        ctx.run().value();
        EXPECT_EQ(group.size(), 0u);
    }
}

TEST(thread_pool, a_pool_that_ends_ends_what_waits_in_it) {
    context ctx;
    auto pool = std::make_unique<thread_pool>(aio::thread_pool_options{.threads_max = 1});
    std::atomic<bool> has_begun = false;
    std::string log;
    strands group(ctx);
    const auto asks = [&](bool is_first) -> task<> {
        const auto ended = co_await aio::offload(ctx, *pool, [&] {
            if (is_first) {
                has_begun = true;
                has_begun.notify_all();
                // Until the pool has begun to end.
                std::this_thread::sleep_for(100ms * support::slow());
            }
        });
        log += ended ? 'a' : ended.error() == aio::errc::aborted ? 'b' : '?';
    };
    group.begin(asks(true));
    has_begun.wait(false);
    group.begin(asks(false));
    pool.reset();
    ctx.run().value();
    std::sort(log.begin(), log.end());
    EXPECT_EQ(log, "ab");
}

TEST(thread_pool, a_predicate_is_asked_until_it_holds) {
    context ctx;
    thread_pool pool;
    for (const thread_pool *where :
         {static_cast<const thread_pool *>(nullptr), static_cast<const thread_pool *>(&pool)}) {
        aio::poll_until_options how;
        how.max_interval = 1ms;
        how.pool = where;
        int asked = 0;
        EXPECT_TRUE(ctx.run(aio::poll_until(ctx, [&] { return ++asked == 5; }, how)));
        EXPECT_EQ(asked, 5);
        EXPECT_EQ(ctx.run(aio::poll_until(ctx, [&] { return ++asked < 8 ? 0 : asked; }, how)), 8);
        const auto never = [] { return false; };
        EXPECT_EQ(ctx.run(aio::poll_until(ctx, never, how).timeout(2ms)).error(),
                  aio::errc::deadline);
        const auto throws = []() -> bool { throw std::runtime_error("no"); };
        EXPECT_THROW(static_cast<void>(ctx.run(aio::poll_until(ctx, throws, how))),
                     std::runtime_error);
    }
}

} // namespace
