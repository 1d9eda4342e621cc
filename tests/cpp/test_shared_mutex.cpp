#include "strands.hpp"

#include <aio/event.hpp>
#include <aio/shared_mutex.hpp>

#include <random>

namespace {

using aio::context;
using aio::task;
using support::strands;

// A capital writes, a small letter reads; each holds the lock until the event.
task<> holds(aio::shared_mutex &mutex, aio::event &until, std::string &log, char name) {
    if (name <= 'Z') {
        auto lock = co_await mutex.lock();
        log += lock ? name : '-';
        if (lock)
            static_cast<void>(co_await until.wait());
    } else {
        auto lock = co_await mutex.lock_shared();
        log += lock ? name : '-';
        if (lock)
            static_cast<void>(co_await until.wait());
    }
}

TEST(shared_mutex, readers_read_together_and_a_writer_waits_for_them) {
    context ctx;
    aio::shared_mutex mutex;
    aio::event read;
    aio::event written;
    std::string log;
    strands group(ctx);
    group.begin(holds(mutex, read, log, 'a'));
    group.begin(holds(mutex, read, log, 'b'));
    group.begin(holds(mutex, written, log, 'C'));
    group.begin(holds(mutex, read, log, 'd'));
    group.begin(holds(mutex, read, log, 'e'));
    EXPECT_EQ(log, "ab") << "a reader behind a writer waits for it";
    EXPECT_EQ(mutex.readers(), 2u);
    read.set();
    ctx.run().value();
    EXPECT_EQ(log, "abC");
    EXPECT_TRUE(mutex.is_locked());
    written.set();
    ctx.run().value();
    EXPECT_EQ(log, "abCde");
    EXPECT_EQ(mutex.readers(), 0u);
    EXPECT_FALSE(mutex.is_locked());
}

TEST(shared_mutex, readers_behind_a_writer_go_on_when_it_is_stopped_or_destroyed) {
    for (const bool is_stopped : {true, false}) {
        context ctx;
        aio::shared_mutex mutex;
        aio::event read;
        std::string log;
        strands group(ctx);
        group.begin(holds(mutex, read, log, 'a'));
        {
            strands writer(ctx);
            writer.begin(holds(mutex, read, log, 'B'));
            group.begin(holds(mutex, read, log, 'c'));
            if (is_stopped) {
                writer.request_stop();
                ctx.run().value();
            }
        }
        ctx.run().value();
        EXPECT_EQ(log, is_stopped ? "ac-" : "ac");
        read.set();
        ctx.run().value();
        EXPECT_EQ(mutex.readers(), 0u);
    }
}

TEST(shared_mutex, it_can_be_tried) {
    aio::shared_mutex mutex;
    auto first = mutex.try_lock_shared();
    auto second = mutex.try_lock_shared();
    EXPECT_TRUE(first && second);
    EXPECT_FALSE(mutex.try_lock());
    first.unlock();
    second.unlock();
    auto writer = mutex.try_lock();
    EXPECT_TRUE(writer);
    EXPECT_FALSE(mutex.try_lock_shared());
}

TEST(shared_mutex, a_granted_lock_of_one_that_is_destroyed_is_given_back) {
    context ctx;
    aio::shared_mutex mutex;
    aio::event until;
    std::string log;
    for (const char name : {'A', 'b'}) {
        strands doomed(ctx);
        auto lock = mutex.try_lock();
        EXPECT_TRUE(lock);
        doomed.begin(holds(mutex, until, log, name));
        lock.unlock();
        EXPECT_EQ(mutex.is_locked(), name == 'A');
        EXPECT_EQ(mutex.readers(), name == 'A' ? 0u : 1u);
    }
    EXPECT_FALSE(mutex.is_locked());
    EXPECT_EQ(mutex.readers(), 0u);
    EXPECT_EQ(log, "");
}

TEST(shared_mutex, writers_are_alone_whatever_happens) {
    const char *given = std::getenv("AIO_TEST_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 7u;
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    context ctx;
    aio::shared_mutex mutex;
    int readers = 0;
    int writers = 0;
    int done = 0;
    const auto uses = [&](bool writes) -> task<> {
        int &mine = writes ? writers : readers;
        const auto pause = std::chrono::microseconds(random() % 300);
        if (writes) {
            auto lock = co_await mutex.lock();
            if (!lock)
                co_return;
            mine++;
            EXPECT_TRUE(writers == 1 && readers == 0);
            static_cast<void>(co_await aio::sleep_for(ctx, pause));
            mine--;
        } else {
            auto lock = co_await mutex.lock_shared();
            if (!lock)
                co_return;
            mine++;
            EXPECT_EQ(writers, 0);
            static_cast<void>(co_await aio::sleep_for(ctx, pause));
            mine--;
        }
        done++;
    };
    strands group(ctx);
    strands stopped(ctx);
    for (int i = 0; i < 200; i++)
        (i % 5 == 0 ? stopped : group).begin(uses(random() % 3 == 0));
    stopped.request_stop();
    ctx.run().value();
    EXPECT_GE(done, 160);
    EXPECT_EQ(mutex.readers(), 0u);
    EXPECT_FALSE(mutex.is_locked());
}

} // namespace
