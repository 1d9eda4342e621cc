#include "strands.hpp"

#include <aio/semaphore.hpp>

namespace {

using aio::context;
using aio::task;
using support::strands;

TEST(semaphore, so_many_at_a_time) {
    context ctx;
    aio::semaphore limit(3);
    int running = 0;
    int most = 0;
    const auto works = [&]() -> task<> {
        auto permit = co_await limit.acquire();
        EXPECT_TRUE(permit);
        most = std::max(most, ++running);
        static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
        running--;
    };
    strands group(ctx);
    for (int i = 0; i < 10; i++)
        group.begin(works());
    ctx.run().value();
    EXPECT_EQ(most, 3);
    EXPECT_EQ(running, 0);
    EXPECT_EQ(limit.available(), 3u);
}

task<> takes(aio::semaphore &from, std::size_t count, std::string &log, char name) {
    auto permit = co_await from.acquire(count);
    log += name;
    if (!permit)
        log += aio::is_cancelled(permit.error()) ? '-' : '!';
    else
        permit->keep();
}

TEST(semaphore, one_that_wants_many_is_not_overtaken) {
    context ctx;
    aio::semaphore things(0);
    std::string log;
    strands group(ctx);
    group.begin(takes(things, 3, log, 'a'));
    group.begin(takes(things, 1, log, 'b'));
    things.release(2);
    ctx.run().value();
    EXPECT_EQ(log, "");
    EXPECT_FALSE(things.try_acquire()) << "others wait";
    things.release(1);
    ctx.run().value();
    EXPECT_EQ(log, "a");
    things.release(2);
    ctx.run().value();
    EXPECT_EQ(log, "ab");
    EXPECT_EQ(things.available(), 1u);
}

TEST(semaphore, those_behind_one_that_leaves_go_on) {
    for (const bool is_stopped : {true, false}) {
        context ctx;
        aio::semaphore things(2);
        std::string log;
        strands group(ctx);
        {
            strands large(ctx);
            large.begin(takes(things, 5, log, 'a'));
            group.begin(takes(things, 2, log, 'b'));
            if (is_stopped) {
                large.request_stop();
                ctx.run().value();
            }
        }
        ctx.run().value();
        EXPECT_EQ(log, is_stopped ? "ba-" : "b");
        EXPECT_EQ(things.available(), 0u);
    }
}

TEST(semaphore, permits_of_one_that_is_destroyed_go_back) {
    context ctx;
    aio::semaphore things(0);
    std::string log;
    {
        strands doomed(ctx);
        doomed.begin(takes(things, 2, log, 'a'));
        things.release(2);
        EXPECT_EQ(things.available(), 0u);
    }
    EXPECT_EQ(things.available(), 2u);
    EXPECT_EQ(log, "");
}

TEST(semaphore, permits_are_held_moved_and_given_back) {
    aio::semaphore things(4);
    auto two = things.try_acquire(2);
    EXPECT_TRUE(two);
    EXPECT_EQ(two.count(), 2u);
    EXPECT_FALSE(things.try_acquire(3));
    auto moved = std::move(two);
    EXPECT_EQ(moved.count(), 2u);
    moved = things.try_acquire(1);
    EXPECT_EQ(things.available(), 3u);
    moved.release();
    EXPECT_EQ(things.available(), 4u);
}

TEST(semaphore, waits_end_when_it_dies) {
    context ctx;
    std::string log;
    strands group(ctx);
    {
        aio::semaphore things(0);
        group.begin(takes(things, 1, log, 'a'));
    }
    ctx.run().value();
    EXPECT_EQ(log, "a!");
}

} // namespace
