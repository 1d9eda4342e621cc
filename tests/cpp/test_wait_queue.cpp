// What all primitives share: waiting takes no memory, and any order of ends is allowed. Counts what
// is allocated, in the library and here, where the C library lets malloc be replaced.
#include "allocations.hpp"
#include "strands.hpp"

#include <aio/broadcast.hpp>
#include <aio/channel.hpp>
#include <aio/event.hpp>
#include <aio/mutex.hpp>
#include <aio/oneshot.hpp>
#include <aio/semaphore.hpp>
#include <aio/shared_mutex.hpp>
#include <aio/yield.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <random>

namespace {

using aio::context;
using aio::task;
using support::allocations;
using support::strands;

/// One of each primitive.
struct primitives {
    aio::event event;
    aio::auto_event signal;
    aio::mutex mutex;
    aio::shared_mutex table;
    aio::semaphore permits{2};
    aio::channel<int> queue{1};
    aio::channel<int> meeting{0};
    aio::broadcast<int> news{2};
};

TEST(wait_queue, waiting_takes_no_memory) {
    NEEDS_A_COUNTER;
    context ctx;
    primitives all;
    const auto one = [&]() -> task<> {
        for (int i = 0; i < 10; i++) {
            auto lock = co_await all.mutex.lock();
            auto writes = co_await all.table.lock();
            co_await aio::yield();
            lock->unlock();
            writes->unlock();
            auto permit = co_await all.permits.acquire(2);
            EXPECT_TRUE(co_await all.queue.send(i));
            EXPECT_TRUE(co_await all.meeting.send(i));
            permit->release();
            all.news.send(i);
            all.signal.set();
        }
        all.event.set();
    };
    const auto other = [&]() -> task<> {
        auto news = all.news.subscribe();
        for (int i = 0; i < 10; i++) {
            auto lock = co_await all.mutex.lock();
            auto reads = co_await all.table.lock_shared();
            co_await aio::yield();
            lock->unlock();
            reads->unlock();
            EXPECT_EQ(co_await all.queue.receive(), i);
            EXPECT_EQ(co_await all.meeting.receive(), i);
            auto permit = co_await all.permits.acquire(2);
            EXPECT_EQ(co_await news.receive(), i);
            EXPECT_TRUE(co_await all.signal.wait());
        }
        EXPECT_TRUE(co_await all.event.wait());
    };
    const auto round = [&] {
        strands group(ctx);
        all.event.reset();
        group.begin(one());
        group.begin(other());
        ctx.run().value();
        EXPECT_EQ(group.size(), 0u);
    };
    for (int i = 0; i < 3; i++)
        round();
    const long before = allocations;
    round();
    EXPECT_EQ(allocations - before, 0);
}

// Waits for anything, and says how that ended.
task<> waits(primitives &all, unsigned what, long &ends) {
    bool ok = false;
    switch (what % 9) {
    case 0:
        ok = (co_await all.event.wait()).has_value();
        break;
    case 1:
        ok = (co_await all.signal.wait()).has_value();
        break;
    case 2:
        if (auto lock = co_await all.mutex.lock())
            ok = co_await aio::yield();
        break;
    case 3:
        if (auto lock = co_await all.table.lock())
            ok = co_await aio::yield();
        break;
    case 4:
        if (auto lock = co_await all.table.lock_shared())
            ok = co_await aio::yield();
        break;
    case 5:
        if (auto permit = co_await all.permits.acquire(1 + what % 2))
            ok = co_await aio::yield();
        break;
    case 6:
        ok = (co_await all.queue.send(1)).has_value();
        ok = ok && (co_await all.meeting.send(1)).has_value();
        break;
    case 7:
        ok = (co_await all.meeting.receive()).has_value();
        ok = ok && (co_await all.queue.receive()).has_value();
        break;
    default: {
        auto news = all.news.subscribe();
        ok = (co_await news.receive()).has_value();
    }
    }
    ends += ok;
}

TEST(wait_queue, whatever_is_stopped_and_destroyed_first_nothing_is_lost) {
    const char *given = std::getenv("AIO_TEST_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 5u;
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    context ctx;
    long ends = 0;
    for (int round = 0; round < 300; round++) {
        auto all = std::make_unique<primitives>();
        std::optional<strands> groups[4];
        for (auto &each : groups)
            each.emplace(ctx);
        for (int step = 0; step < 60; step++) {
            auto &group = groups[random() % 4];
            switch (random() % 12) {
            case 0:
                all->event.set();
                break;
            case 1:
                all->event.reset();
                all->signal.set();
                break;
            case 2:
                all->news.send(step);
                break;
            case 3:
                static_cast<void>(ctx.run_once(0ms));
                break;
            case 4:
                if (random() % 4 == 0)
                    group->request_stop();
                break;
            case 5:
                if (random() % 4 == 0) {
                    group.reset();
                    group.emplace(ctx);
                }
                break;
            default:
                group->begin(waits(*all, static_cast<unsigned>(random()), ends));
            }
        }
        if (round % 3 == 0) {
            ctx.run().value(); // nobody holds a lock then
            all.reset();       // the primitives first: all waits end
            ctx.run().value();
            for (auto &each : groups)
                EXPECT_EQ(each->size(), 0u);
            continue;
        }
        if (round % 3 == 1)
            for (auto &each : groups)
                each->request_stop();
        if (round % 3 == 1)
            ctx.run().value();
        for (auto &each : groups) {
            EXPECT_TRUE(round % 3 != 1 || each->size() == 0u);
            each.reset();
        }
        EXPECT_FALSE(all->mutex.is_locked());
        EXPECT_FALSE(all->table.is_locked());
        EXPECT_EQ(all->table.readers(), 0u);
        EXPECT_EQ(all->permits.available(), 2u);
        EXPECT_EQ(all->news.receivers(), 0u);
    }
    EXPECT_GT(ends, 0);
}

} // namespace
