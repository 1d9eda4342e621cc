#include "strands.hpp"

#include <aio/thread_channel.hpp>

#include <memory>
#include <thread>

namespace {

using aio::context;
using aio::task;
using aio::thread_channel;
using support::strands;

TEST(thread_channel, all_that_threads_send_is_received_in_each_ones_order) {
    context ctx;
    thread_channel<int> numbers(16);
    std::vector<std::thread> threads;
    for (int from = 0; from < 3; from++)
        threads.emplace_back([numbers, from] {
            for (int i = 0; i < 200; i++)
                while (!numbers.send(from * 1000 + i))
                    std::this_thread::yield();
        });
    const auto receives = [&]() -> task<> {
        int last[3] = {-1, -1, -1};
        for (int i = 0; i < 600; i++) {
            const int number = (co_await numbers.receive(ctx)).value();
            EXPECT_EQ(number % 1000, last[number / 1000] + 1);
            last[number / 1000]++;
        }
        EXPECT_EQ(numbers.size(), 0u);
    };
    ctx.run(receives());
    for (std::thread &thread : threads)
        thread.join();
}

TEST(thread_channel, values_that_are_not_plain_data_are_moved) {
    context ctx;
    thread_channel<std::unique_ptr<std::string>> texts(4);
    std::thread sender([texts] {
        for (const char *text : {"one", "two", "three"})
            EXPECT_TRUE(texts.send(std::make_unique<std::string>(text)));
        texts.close();
    });
    std::string log;
    const auto receives = [&]() -> task<> {
        auto values = texts.values(ctx);
        while (auto text = co_await values.next())
            log += **text + " ";
        EXPECT_EQ(values.error(), aio::errc::eof);
        EXPECT_EQ((co_await texts.receive(ctx)).error(), aio::errc::eof);
    };
    ctx.run(receives());
    sender.join();
    EXPECT_EQ(log, "one two three ");
}

TEST(thread_channel, what_was_not_sent_is_still_there) {
    thread_channel<std::unique_ptr<int>> numbers(2);
    EXPECT_TRUE(numbers.send(std::make_unique<int>(1)));
    while (numbers.size() < numbers.capacity())
        EXPECT_TRUE(numbers.send(std::make_unique<int>(2)));
    auto more = std::make_unique<int>(3);
    EXPECT_EQ(numbers.send(std::move(more)).error(), std::errc::resource_unavailable_try_again);
    EXPECT_NE(more, nullptr);
    numbers.close();
    EXPECT_EQ(numbers.send(std::move(more)).error(), aio::errc::closed);
    EXPECT_NE(more, nullptr);
}

TEST(thread_channel, what_nobody_received_dies_with_it) {
    int alive = 0;
    {
        thread_channel<support::counted> things(8);
        EXPECT_TRUE(things.send(support::counted(alive)));
        EXPECT_TRUE(things.send(support::counted(alive)));
        EXPECT_EQ(alive, 2);
    }
    EXPECT_EQ(alive, 0);
}

TEST(thread_channel, a_stopped_late_or_destroyed_receive_has_taken_nothing) {
    context ctx;
    thread_channel<std::string> texts;
    EXPECT_EQ(ctx.run(texts.receive(ctx).timeout(1ms)).error(), aio::errc::deadline);
    const auto receives = [&]() -> task<> {
        EXPECT_TRUE(aio::is_cancelled((co_await texts.receive(ctx)).error()));
    };
    {
        strands stopped(ctx);
        stopped.begin(receives());
        stopped.request_stop();
        ctx.run().value();
        EXPECT_EQ(stopped.size(), 0u);
    }
    {
        strands doomed(ctx);
        doomed.begin(receives());
        EXPECT_TRUE(texts.send("kept"));
    }
    EXPECT_EQ(ctx.run(texts.receive(ctx)), "kept");
}

} // namespace
