#include "strands.hpp"

#include <aio/yield.hpp>

namespace {

using aio::context;
using aio::task;
using support::strands;

TEST(yield, those_that_yield_take_turns) {
    context ctx;
    std::string log;
    const auto computes = [&](char name) -> task<> {
        for (int i = 0; i < 3; i++) {
            log += name;
            EXPECT_TRUE(co_await aio::yield());
        }
    };
    strands group(ctx);
    group.begin(computes('a'));
    group.begin(computes('b'));
    ctx.run().value();
    EXPECT_EQ(log, "ababab");
}

TEST(yield, operations_go_on_meanwhile) {
    context ctx;
    bool is_over = false;
    const auto computes = [&]() -> task<> {
        while (!is_over)
            co_await aio::yield();
    };
    const auto sleeps = [&]() -> task<> {
        EXPECT_TRUE(co_await aio::sleep_for(ctx, 1ms));
        is_over = true;
    };
    strands group(ctx);
    group.begin(computes());
    group.begin(sleeps());
    ctx.run().value();
    EXPECT_EQ(group.size(), 0u);
}

TEST(yield, ends_a_loop_whose_strand_was_asked_to_stop) {
    context ctx;
    int rounds = 0;
    const auto computes = [&]() -> task<> {
        while (co_await aio::yield())
            rounds++;
        EXPECT_FALSE(co_await aio::yield());
    };
    strands group(ctx);
    group.begin(computes());
    EXPECT_TRUE(ctx.run_once(0ms));
    group.request_stop();
    const int until = rounds;
    ctx.run().value();
    EXPECT_LE(rounds, until + 1);
    EXPECT_EQ(group.size(), 0u);
}

TEST(yield, a_destroyed_one_is_forgotten) {
    context ctx;
    {
        strands group(ctx);
        const auto yields = []() -> task<> {
            co_await aio::yield();
            ADD_FAILURE() << "it was resumed";
        };
        group.begin(yields());
    }
    ctx.run().value();
}

} // namespace
