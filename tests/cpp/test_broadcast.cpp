#include "strands.hpp"

#include <aio/broadcast.hpp>

#include <memory>

namespace {

using aio::broadcast;
using aio::context;
using aio::task;
using support::strands;

using texts = broadcast<std::string>;

task<> listens(texts::receiver from, std::string &log) {
    while (auto text = co_await from.receive())
        log += *text;
    log += ".";
}

TEST(broadcast, each_receiver_gets_each_message) {
    context ctx;
    texts news(4);
    std::string first;
    std::string second;
    strands group(ctx);
    EXPECT_EQ(news.send("nobody hears this"), 0u);
    group.begin(listens(news.subscribe(), first));
    EXPECT_EQ(news.send("a"), 1u);
    group.begin(listens(news.subscribe(), second));
    EXPECT_EQ(news.send("b"), 2u);
    ctx.run().value();
    EXPECT_EQ(first, "ab");
    EXPECT_EQ(second, "b");
    news.send("c");
    news.close();
    EXPECT_EQ(news.send("d"), 0u);
    ctx.run().value();
    EXPECT_EQ(first, "abc.");
    EXPECT_EQ(second, "bc.");
    EXPECT_EQ(news.receivers(), 0u);
}

TEST(broadcast, a_slow_receiver_goes_on_with_the_oldest_and_knows_what_it_has_missed) {
    broadcast<int> numbers(4);
    auto receiver = numbers.subscribe();
    for (int i = 1; i <= 4; i++)
        numbers.send(i);
    EXPECT_EQ(receiver.pending(), 4u);
    EXPECT_EQ(receiver.missed(), 0u);
    numbers.send(5);
    numbers.send(6);
    EXPECT_EQ(receiver.pending(), 4u);
    EXPECT_EQ(receiver.missed(), 2u);
    for (int i = 3; i <= 6; i++)
        EXPECT_EQ(receiver.try_receive(), i);
    EXPECT_FALSE(receiver.try_receive());
    EXPECT_EQ(receiver.missed(), 2u);
    for (int i = 0; i < 11; i++)
        numbers.send(i);
    EXPECT_EQ(receiver.try_receive(), 7);
    EXPECT_EQ(receiver.missed(), 9u);
}

TEST(broadcast, a_stop_ends_the_wait_and_loses_nothing) {
    context ctx;
    texts news(4);
    auto receiver = news.subscribe();
    bool ended = false;
    const auto waits = [&]() -> task<> {
        EXPECT_TRUE(aio::is_cancelled((co_await receiver.receive()).error()));
        ended = true;
    };
    strands group(ctx);
    group.begin(waits());
    group.request_stop();
    news.send("a");
    ctx.run().value();
    EXPECT_TRUE(ended);
    EXPECT_EQ(receiver.try_receive(), "a");
}

TEST(broadcast, receivers_end_when_it_dies) {
    context ctx;
    std::string log;
    auto news = std::make_unique<texts>(4);
    auto idle = news->subscribe();
    strands group(ctx);
    group.begin(listens(news->subscribe(), log));
    news->send("a");
    ctx.run().value();
    news.reset();
    ctx.run().value();
    EXPECT_EQ(log, "a.");
    EXPECT_EQ(idle.missed(), 1u);
    EXPECT_EQ(ctx.run(idle.receive()).error(), aio::errc::eof);
}

TEST(broadcast, destroyed_receivers_and_waits_are_forgotten) {
    context ctx;
    texts news(4);
    std::string log;
    for (const bool is_sent : {false, true}) {
        strands doomed(ctx);
        doomed.begin(listens(news.subscribe(), log));
        if (is_sent)
            news.send("a");
    }
    EXPECT_EQ(news.receivers(), 0u);
    ctx.run().value();
    EXPECT_EQ(log, "");
}

TEST(broadcast, receivers_move) {
    broadcast<int> numbers(4);
    auto one = numbers.subscribe();
    numbers.send(1);
    auto two = std::move(one);
    EXPECT_EQ(numbers.receivers(), 1u);
    EXPECT_EQ(two.try_receive(), 1);
    one = numbers.subscribe();
    EXPECT_EQ(numbers.receivers(), 2u);
    numbers.send(2);
    two = std::move(one);
    EXPECT_EQ(numbers.receivers(), 1u);
    EXPECT_EQ(two.try_receive(), 2);
}

TEST(broadcast, a_message_whose_copy_throws_is_not_lost) {
    struct text {
        explicit text(int number) : number(number) {}
        text(text &&) noexcept = default;
        text &operator=(text &&) noexcept = default;
        text(const text &other) : number(other.number) {
            if (other.number-- > 1)
                throw std::runtime_error("a copy");
        }
        mutable int number;
    };
    aio::broadcast<text> room(4);
    auto news = room.subscribe();
    room.send(text(2));
    EXPECT_THROW(static_cast<void>(news.try_receive()), std::runtime_error);
    EXPECT_EQ(news.pending(), 1u);
    EXPECT_EQ(news.try_receive()->number, 1);
    EXPECT_EQ(news.pending(), 0u);
}

} // namespace
