#include "strands.hpp"

#include <aio/misc.hpp>
#include <aio/stats.hpp>

#include <linux/io_uring.h>

#include <algorithm>

namespace {

using aio::context;
using aio::task;

task<> nops(context &ctx, int count) {
    for (int i = 0; i < count; i++)
        EXPECT_TRUE(co_await aio::nop(ctx));
}

TEST(stats, operations_are_counted_by_opcode) {
    context ctx;
    ctx.run(nops(ctx, 5));
    const auto nop = aio::operation_stats(ctx, IORING_OP_NOP);
    EXPECT_EQ(nop.value().submitted, 5u);
    EXPECT_EQ(nop->completed, 5u);
    EXPECT_STREQ(nop->name, "nop");
    const auto all = aio::operation_stats(ctx);
    EXPECT_TRUE(std::any_of(all.begin(), all.end(),
                            [](const auto &each) { return each.opcode == IORING_OP_NOP; }));
    EXPECT_TRUE(
        std::all_of(all.begin(), all.end(), [](const auto &each) { return each.submitted > 0; }));
    EXPECT_FALSE(aio::operation_stats(ctx, 256));
}

TEST(stats, latencies_are_kept_where_they_were_asked_for) {
    aio::context_options options;
    options.flags = AIO_CTX_HISTOGRAMS;
    context ctx(options);
    ctx.run(nops(ctx, 20));
    const auto found = aio::histogram(ctx, IORING_OP_NOP, {0.5, 0.99, 1.0}, AIO_HISTOGRAM_RESET);
    EXPECT_EQ(found.value().summary.count, 20u);
    EXPECT_EQ(found->values.size(), 3u);
    EXPECT_LE(found->values[0], found->values[1]);
    EXPECT_LE(found->values[1], found->values[2]);
    EXPECT_GT(found->values[2], 0ns);
    EXPECT_EQ(aio::histogram(ctx, IORING_OP_NOP, {}).value().summary.count, 0u);
    context without;
    EXPECT_EQ(aio::histogram(without, IORING_OP_NOP, {0.5}).error(),
              std::errc::operation_not_supported);
}

TEST(stats, a_trace_sees_every_event_while_it_lives) {
    context ctx;
    int submits = 0;
    int completions = 0;
    int turns = 0;
    {
        const aio::trace events(ctx, [&](const aio_trace_event &event) {
            submits += event.kind == AIO_TRACE_SUBMIT && event.opcode == IORING_OP_NOP;
            completions += event.kind == AIO_TRACE_COMPLETE && event.opcode == IORING_OP_NOP;
            turns += event.kind == AIO_TRACE_TURN_BEGIN;
        });
        ctx.run(nops(ctx, 3));
    }
    EXPECT_EQ(submits, 3);
    EXPECT_EQ(completions, 3);
    EXPECT_GT(turns, 0);
    ctx.run(nops(ctx, 3));
    EXPECT_EQ(submits, 3);
}

} // namespace
