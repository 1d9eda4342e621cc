#include "strands.hpp"

#include <aio/notifier.hpp>

#include <thread>

namespace {

using aio::context;
using aio::task;
using support::strands;

TEST(notifier, signals_of_other_threads_are_counted) {
    context ctx;
    aio::notifier bell;
    const auto waits = [&]() -> task<> {
        std::size_t count = 0;
        while (count < 30)
            count += (co_await bell.wait(ctx)).value();
        EXPECT_EQ(count, 30u);
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++)
        threads.emplace_back([bell] {
            for (int j = 0; j < 10; j++)
                EXPECT_TRUE(bell.signal());
        });
    ctx.run(waits());
    for (std::thread &thread : threads)
        thread.join();
}

TEST(notifier, signals_come_as_a_range) {
    context ctx;
    aio::notifier bell;
    std::thread ringer([bell] {
        for (int i = 0; i < 10; i++)
            EXPECT_TRUE(bell.signal());
    });
    const auto waits = [&]() -> task<> {
        auto signals = bell.signals(ctx);
        std::size_t count = 0;
        while (count < 10)
            count += (co_await signals.next()).value();
        EXPECT_EQ(count, 10u);
    };
    ctx.run(waits());
    ringer.join();
}

TEST(notifier, signals_from_before_the_wait_count) {
    context ctx;
    aio::notifier bell;
    EXPECT_TRUE(bell.signal());
    EXPECT_TRUE(bell.signal());
    EXPECT_EQ(ctx.run(bell.wait(ctx)), 2u);
    EXPECT_EQ(ctx.run(bell.wait(ctx).timeout(1ms)).error(), aio::errc::deadline);
}

TEST(notifier, one_waits_at_a_time) {
    context ctx;
    aio::notifier bell;
    strands group(ctx);
    const auto waits = [&](bool is_first) -> task<> {
        const auto got = co_await bell.wait(ctx);
        if (is_first)
            EXPECT_TRUE(aio::is_cancelled(got.error()));
        else
            EXPECT_EQ(got.error(), std::errc::device_or_resource_busy);
    };
    group.begin(waits(true));
    group.begin(waits(false));
    EXPECT_EQ(group.size(), 1u);
    group.request_stop();
    ctx.run().value();
    EXPECT_EQ(group.size(), 0u);
}

TEST(notifier, copies_are_the_same_one_and_a_destroyed_wait_takes_no_signal) {
    context ctx;
    aio::notifier bell;
    {
        strands doomed(ctx);
        const auto waits = [&]() -> task<> { static_cast<void>(co_await bell.wait(ctx)); };
        doomed.begin(waits());
    }
    EXPECT_EQ(ctx.run(bell.wait(ctx)).error(), std::errc::device_or_resource_busy);
    ctx.run().value();
    aio::notifier copy(bell);
    aio::notifier moved(std::move(copy));
    EXPECT_TRUE(moved.signal());
    EXPECT_EQ(ctx.run(bell.wait(ctx)), 1u);
    moved = aio::notifier();
    EXPECT_TRUE(bell.signal());
    EXPECT_EQ(ctx.run(moved.wait(ctx).timeout(1ms)).error(), aio::errc::deadline);
}

} // namespace
