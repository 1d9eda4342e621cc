#include "strands.hpp"

#include <aio/latch.hpp>

namespace {

using aio::context;
using aio::task;
using support::strands;

TEST(latch, waits_until_all_have_counted_down) {
    context ctx;
    aio::latch done(3);
    std::string log;
    const auto waits = [&]() -> task<> {
        EXPECT_TRUE(co_await done.wait());
        log += "done";
    };
    const auto arrives = [&]() -> task<> {
        log += 'a';
        EXPECT_TRUE(co_await done.arrive_and_wait());
        log += 'b';
    };
    strands group(ctx);
    group.begin(waits());
    group.begin(arrives());
    group.begin(arrives());
    EXPECT_EQ(done.count(), 1u);
    EXPECT_FALSE(done.is_done());
    ctx.run().value();
    EXPECT_EQ(log, "aa");
    done.count_down(5);
    EXPECT_TRUE(done.is_done());
    ctx.run().value();
    EXPECT_EQ(log, "aadonebb");
}

TEST(latch, of_nothing_is_done) {
    context ctx;
    aio::latch none(0);
    EXPECT_TRUE(none.is_done());
    EXPECT_TRUE(ctx.run(none.wait()));
}

TEST(latch, a_stop_ends_the_wait) {
    context ctx;
    aio::latch done(1);
    bool ended = false;
    const auto waits = [&]() -> task<> {
        EXPECT_TRUE(aio::is_cancelled((co_await done.wait()).error()));
        ended = true;
    };
    strands group(ctx);
    group.begin(waits());
    group.request_stop();
    ctx.run().value();
    EXPECT_TRUE(ended);
}

} // namespace
