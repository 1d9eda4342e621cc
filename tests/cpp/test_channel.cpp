#include "strands.hpp"

#include <aio/channel.hpp>
#include <aio/yield.hpp>

#include <memory>
#include <random>

namespace {

using aio::channel;
using aio::context;
using aio::task;
using support::strands;

task<> sends(channel<int> &to, int value, std::string &log) {
    const auto sent = co_await to.send(value);
    log += sent                                ? "s" + std::to_string(value)
           : aio::is_cancelled(sent.error())   ? "s-"
           : sent.error() == aio::errc::closed ? "s!"
                                               : "s?";
}

task<> receives(channel<int> &from, std::string &log) {
    const auto value = co_await from.receive();
    log += value                                ? "r" + std::to_string(*value)
           : aio::is_cancelled(value.error())   ? "r-"
           : value.error() == aio::errc::eof    ? "r."
           : value.error() == aio::errc::closed ? "r!"
                                                : "r?";
}

TEST(channel, sends_wait_for_room_and_values_keep_their_order) {
    context ctx;
    channel<int> values(2);
    std::string log;
    strands group(ctx);
    for (int i = 1; i <= 4; i++)
        group.begin(sends(values, i, log));
    EXPECT_EQ(log, "s1s2");
    EXPECT_EQ(values.size(), 2u);
    for (int i = 0; i < 4; i++)
        group.begin(receives(values, log));
    EXPECT_EQ(log, "s1s2r1r2r3r4");
    ctx.run().value();
    EXPECT_EQ(log, "s1s2r1r2r3r4s3s4");
    EXPECT_EQ(values.size(), 0u);
}

TEST(channel, receivers_wait_and_are_served_in_order) {
    context ctx;
    channel<int> values(2);
    std::string log;
    strands group(ctx);
    group.begin(receives(values, log));
    group.begin(receives(values, log));
    group.begin(sends(values, 1, log));
    group.begin(sends(values, 2, log));
    EXPECT_EQ(log, "s1s2");
    EXPECT_FALSE(values.try_receive()) << "both are for those that wait";
    ctx.run().value();
    EXPECT_EQ(log, "s1s2r1r2");
}

TEST(channel, capacity_0_is_a_rendezvous) {
    context ctx;
    channel<int> values(0);
    std::string log;
    strands group(ctx);
    EXPECT_FALSE(values.try_send(9));
    group.begin(sends(values, 1, log));
    group.begin(sends(values, 2, log));
    EXPECT_EQ(log, "");
    group.begin(receives(values, log));
    EXPECT_EQ(log, "r1");
    ctx.run().value();
    EXPECT_EQ(log, "r1s1");
    EXPECT_EQ(values.try_receive(), 2);
    ctx.run().value();
    EXPECT_EQ(log, "r1s1s2");
    group.begin(receives(values, log));
    EXPECT_TRUE(values.try_send(3));
    EXPECT_FALSE(values.try_send(4)) << "the one that waits has its value";
    ctx.run().value();
    EXPECT_EQ(log, "r1s1s2r3");
}

TEST(channel, closing_lets_what_was_sent_be_received) {
    context ctx;
    channel<int> values(1);
    std::string log;
    strands group(ctx);
    group.begin(sends(values, 1, log));
    group.begin(sends(values, 2, log));
    values.close();
    EXPECT_TRUE(values.is_closed());
    ctx.run().value();
    EXPECT_EQ(log, "s1s!");
    group.begin(sends(values, 3, log));
    EXPECT_FALSE(values.try_send(3));
    group.begin(receives(values, log));
    group.begin(receives(values, log));
    EXPECT_EQ(log, "s1s!s!r1r.");
}

TEST(channel, closing_ends_the_waits_of_receivers) {
    context ctx;
    channel<int> values(1);
    std::string log;
    strands group(ctx);
    group.begin(receives(values, log));
    group.begin(receives(values, log));
    EXPECT_TRUE(values.try_send(1));
    values.close();
    ctx.run().value();
    EXPECT_EQ(log, "r1r.");
}

TEST(channel, stopped_sends_and_receives_have_done_nothing) {
    context ctx;
    channel<int> values(1);
    std::string log;
    strands stopped(ctx);
    stopped.begin(receives(values, log));
    stopped.request_stop();
    EXPECT_TRUE(values.try_send(1));
    ctx.run().value();
    EXPECT_EQ(log, "r-");
    strands also(ctx);
    also.begin(sends(values, 2, log));
    also.request_stop();
    also.begin(receives(values, log));
    ctx.run().value();
    EXPECT_EQ(log, "r-r-s-");
    EXPECT_EQ(values.try_receive(), 1);
    EXPECT_FALSE(values.try_receive());
}

TEST(channel, a_value_of_a_receiver_that_is_destroyed_goes_to_the_next) {
    context ctx;
    channel<int> values(1);
    std::string log;
    strands group(ctx);
    {
        strands doomed(ctx);
        doomed.begin(receives(values, log));
        group.begin(receives(values, log));
        EXPECT_TRUE(values.try_send(1));
    }
    ctx.run().value();
    EXPECT_EQ(log, "r1");
    {
        strands doomed(ctx);
        doomed.begin(receives(values, log));
        EXPECT_TRUE(values.try_send(2));
        EXPECT_FALSE(values.try_receive());
    }
    EXPECT_EQ(values.try_receive(), 2);
}

TEST(channel, destroyed_senders_take_their_values_along) {
    context ctx;
    channel<support::counted> values(1);
    int alive = 0;
    const auto sends = [&]() -> task<> {
        static_cast<void>(co_await values.send(support::counted(alive)));
    };
    strands group(ctx);
    {
        strands doomed(ctx);
        doomed.begin(sends());
        doomed.begin(sends());
        EXPECT_EQ(alive, 2);
    }
    EXPECT_EQ(alive, 1);
    EXPECT_TRUE(values.try_receive());
    EXPECT_EQ(alive, 0);
}

TEST(channel, waits_end_when_it_dies_and_what_is_kept_dies_too) {
    context ctx;
    std::string log;
    strands group(ctx);
    {
        channel<int> values(1);
        group.begin(sends(values, 1, log));
        group.begin(sends(values, 2, log));
        channel<int> others(0);
        group.begin(receives(others, log));
    }
    ctx.run().value();
    EXPECT_EQ(log, "s1r!s!");
}

TEST(channel, a_value_that_was_not_sent_is_still_there) {
    channel<std::unique_ptr<int>> values(1);
    EXPECT_TRUE(values.try_send(std::make_unique<int>(1)));
    auto second = std::make_unique<int>(2);
    EXPECT_FALSE(values.try_send(std::move(second)));
    EXPECT_NE(second, nullptr);
}

TEST(channel, all_that_was_sent_is_received_once) {
    const char *given = std::getenv("AIO_TEST_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 3u;
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::mt19937 random(seed);
    for (const std::size_t capacity : {0, 1, 7}) {
        context ctx;
        channel<int> values(capacity);
        long sent = 0;
        long received = 0;
        int senders = 5;
        const auto sends = [&](int from) -> task<> {
            for (int i = 0; i < 200; i++) {
                if (random() % 4 == 0)
                    co_await aio::yield();
                EXPECT_TRUE(co_await values.send(from + i));
                sent += from + i;
                EXPECT_LE(values.size(), capacity + 3) << "but for those that were granted";
            }
            if (--senders == 0)
                values.close();
        };
        const auto receives = [&]() -> task<> {
            int last[5] = {-1, -1, -1, -1, -1};
            while (auto value = co_await values.receive()) {
                received += *value;
                EXPECT_GT(*value % 1000, last[*value / 1000]);
                last[*value / 1000] = *value % 1000;
                if (random() % 4 == 0)
                    co_await aio::yield();
            }
        };
        strands group(ctx);
        for (int i = 0; i < 3; i++)
            group.begin(receives());
        for (int i = 0; i < 5; i++)
            group.begin(sends(i * 1000));
        ctx.run().value();
        EXPECT_EQ(group.size(), 0u);
        EXPECT_EQ(sent, received);
        EXPECT_GT(sent, 0);
    }
}

} // namespace
