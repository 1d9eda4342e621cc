#include "allocations.hpp"
#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/split.hpp>
#include <aio/timeout.hpp>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <new>
#include <thread>

namespace {

using aio::context;
using aio::task;
using support::allocations;

/// How many allocations a task makes when it is run again and again: the fewest of some runs, for
/// the engine's table of deadlines has its size when it has met some thousands, and still takes a
/// piece more now and then, as the times fall.
template <class Make> long allocations_of(context &ctx, Make make) {
    for (int i = 0; i < 10; i++)
        ctx.run(make());
    long fewest = LONG_MAX;
    for (int i = 0; i < 5; i++) {
        const long before = allocations;
        ctx.run(make());
        fewest = std::min<long>(fewest, allocations - before);
    }
    return fewest;
}

TEST(frame_pool, allocations_are_counted) {
    NEEDS_A_COUNTER;
    const long before = allocations;
    delete new std::string(1000, 'x');
    EXPECT_GE(allocations - before, 2);
}

TEST(frame_pool, awaited_operations_and_tasks_allocate_nothing) {
    NEEDS_A_COUNTER;
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto child = [&]() -> task<bool> { co_return (co_await aio::nop(ctx)).has_value(); };
    const auto all = [&, a = a, b = b]() -> task<> {
        std::array<char, 8> text{};
        for (int i = 0; i < 1000; i++) {
            static_cast<void>(co_await aio::nop(ctx));
            static_cast<void>(co_await child());
            static_cast<void>(co_await aio::send(ctx, a, "x"));
            static_cast<void>(co_await aio::recv(ctx, b, text).timeout(10s));
        }
    };
    EXPECT_EQ(allocations_of(ctx, all), 0);
    ::close(a);
    ::close(b);
}

TEST(frame_pool, transfers_of_streams_allocate_nothing) {
    NEEDS_A_COUNTER;
    context ctx;
    auto [one, other] = aio::unix_socket::pair(ctx).value();
    auto [reader, writer] = aio::split(std::move(one));
    aio::io_buffer buffer;
    const auto all = [&, &reader = reader, &writer = writer, &other = other]() -> task<> {
        const std::array<aio::bytes, 2> parts{"head ", "body\n"};
        for (int i = 0; i < 100; i++) {
            static_cast<void>(co_await aio::write_all(writer, parts, 1h));
            static_cast<void>(co_await aio::read_until(other, buffer, "\n"));
            static_cast<void>(co_await aio::flush(other, buffer));
            static_cast<void>(co_await aio::read_exact(reader, buffer, 10, 1h));
            buffer.clear();
        }
    };
    EXPECT_EQ(allocations_of(ctx, all), 0);
}

TEST(frame_pool, what_combines_tasks_takes_its_frames_from_the_pool) {
    NEEDS_A_COUNTER;
    context ctx;
    const auto child = [&](int value) -> task<int> {
        static_cast<void>(co_await aio::nop(ctx));
        co_return value;
    };
    const auto all = [&]() -> task<> {
        for (int i = 0; i < 100; i++) {
            static_cast<void>(co_await aio::when_all(child(1), child(2)));
            static_cast<void>(co_await aio::when_any(child(1), aio::sleep_for(ctx, 1h)));
            static_cast<void>(co_await aio::with_timeout(child(1), 1h));
            aio::scope children(ctx, {.concurrency = 4});
            for (int k = 0; k < 8; k++)
                children.spawn([&, k]() -> task<> { static_cast<void>(co_await child(k)); });
            static_cast<void>(co_await children.join());
            auto ticks = aio::interval(ctx, 1h);
            static_cast<void>(co_await aio::with_timeout(ticks.next(), 1ns));
        }
    };
    EXPECT_EQ(allocations_of(ctx, all), 0);
}

TEST(frame_pool, frames_may_end_on_another_thread) {
    const auto body = [](std::string text) -> task<std::string> { co_return text; };
    for (int i = 0; i < 100; i++) {
        auto made_here = body("text");
        std::thread([&made_here] {
            auto ended_there = std::move(made_here);
            EXPECT_EQ(aio::sync_wait(std::move(ended_there)), "text");
        }).join();
    }
}

TEST(frame_pool, it_is_bounded_and_can_be_emptied) {
    using aio::detail::frame_pool;
    std::vector<void *> blocks;
    for (int i = 0; i < 40000; i++)
        blocks.push_back(frame_pool::allocate(100));
    for (void *block : blocks)
        frame_pool::deallocate(block, 100);
    void *large = frame_pool::allocate(1 << 20);
    frame_pool::deallocate(large, 1 << 20);
    frame_pool::trim();
    void *again = frame_pool::allocate(100);
    EXPECT_NE(again, nullptr);
    frame_pool::deallocate(again, 100);
}

} // namespace
