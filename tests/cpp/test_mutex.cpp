#include "strands.hpp"

#include <aio/mutex.hpp>

#include <utility>

namespace {

using aio::context;
using aio::task;
using support::strands;

task<> holds(context &ctx, aio::mutex &mutex, std::string &log, char name) {
    auto lock = co_await mutex.lock();
    if (!lock) {
        log += aio::is_cancelled(lock.error()) ? '-' : '!';
        co_return;
    }
    log += name;
    static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
    log += name;
}

TEST(mutex, one_at_a_time_in_the_order_of_arrival) {
    context ctx;
    aio::mutex mutex;
    std::string log;
    strands group(ctx);
    for (const char name : {'a', 'b', 'c'})
        group.begin(holds(ctx, mutex, log, name));
    EXPECT_EQ(log, "a");
    ctx.run().value();
    EXPECT_EQ(log, "aabbcc");
    EXPECT_FALSE(mutex.is_locked());
}

TEST(mutex, nobody_overtakes_one_that_was_given_the_lock) {
    context ctx;
    aio::mutex mutex;
    std::string log;
    auto lock = mutex.try_lock();
    EXPECT_TRUE(lock);
    EXPECT_FALSE(mutex.try_lock());
    strands group(ctx);
    group.begin(holds(ctx, mutex, log, 'a'));
    lock.unlock();
    EXPECT_FALSE(lock);
    EXPECT_TRUE(mutex.is_locked());
    EXPECT_FALSE(mutex.try_lock());
    group.begin(holds(ctx, mutex, log, 'b'));
    ctx.run().value();
    EXPECT_EQ(log, "aabb");
}

TEST(mutex, a_stopped_wait_leaves_the_queue) {
    context ctx;
    aio::mutex mutex;
    std::string log;
    auto lock = mutex.try_lock();
    strands stopped(ctx);
    strands group(ctx);
    stopped.begin(holds(ctx, mutex, log, 'a'));
    group.begin(holds(ctx, mutex, log, 'b'));
    stopped.request_stop();
    lock.unlock();
    ctx.run().value();
    EXPECT_EQ(log, "-bb");
    EXPECT_FALSE(mutex.is_locked());
}

TEST(mutex, a_lock_of_one_that_is_destroyed_goes_to_the_next) {
    context ctx;
    aio::mutex mutex;
    std::string log;
    strands group(ctx);
    {
        strands doomed(ctx);
        auto lock = mutex.try_lock();
        doomed.begin(holds(ctx, mutex, log, 'a'));
        doomed.begin(holds(ctx, mutex, log, 'b'));
        group.begin(holds(ctx, mutex, log, 'c'));
        lock.unlock();
    }
    ctx.run().value();
    EXPECT_EQ(log, "cc");
    EXPECT_FALSE(mutex.is_locked());
}

TEST(mutex, a_destroyed_holder_unlocks) {
    context ctx;
    aio::mutex mutex;
    std::string log;
    {
        strands doomed(ctx);
        doomed.begin(holds(ctx, mutex, log, 'a'));
        EXPECT_TRUE(mutex.is_locked());
    }
    EXPECT_FALSE(mutex.is_locked());
}

TEST(mutex, guards_move) {
    aio::mutex one;
    aio::mutex two;
    auto lock = one.try_lock();
    auto moved = std::move(lock);
    EXPECT_FALSE(lock); // NOLINT: what a moved guard is, is what is asked
    EXPECT_TRUE(moved);
    moved = two.try_lock();
    EXPECT_FALSE(one.is_locked());
    EXPECT_TRUE(two.is_locked());
}

TEST(mutex, waits_end_when_it_dies) {
    context ctx;
    std::string log;
    strands group(ctx);
    {
        aio::mutex mutex;
        auto lock = mutex.try_lock();
        group.begin(holds(ctx, mutex, log, 'a'));
        group.begin(holds(ctx, mutex, log, 'b'));
        lock.unlock();
    }
    ctx.run().value();
    EXPECT_EQ(log, "!!");
}

} // namespace
