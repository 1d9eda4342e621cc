#include "strands.hpp"

#include <aio/oneshot.hpp>

#include <memory>

namespace {

using aio::context;
using aio::task;
using support::strands;

task<> receives(aio::oneshot<std::unique_ptr<int>> &from, std::string &log) {
    auto value = co_await from.receive();
    log += value                                ? std::to_string(**value)
           : value.error() == aio::errc::eof    ? "eof"
           : aio::is_cancelled(value.error())   ? "-"
           : value.error() == aio::errc::closed ? "!"
                                                : "?";
}

TEST(oneshot, the_value_comes_whoever_was_first) {
    context ctx;
    for (const bool is_sent_first : {true, false}) {
        aio::oneshot<std::unique_ptr<int>> answer;
        std::string log;
        strands group(ctx);
        if (!is_sent_first)
            group.begin(receives(answer, log));
        EXPECT_TRUE(answer.send(std::make_unique<int>(42)));
        if (is_sent_first)
            group.begin(receives(answer, log));
        ctx.run().value();
        EXPECT_EQ(log, "42");
        EXPECT_FALSE(answer.send(nullptr)) << "there is one value";
        EXPECT_FALSE(answer.has_value());
        group.begin(receives(answer, log));
        EXPECT_EQ(log, "42eof");
    }
}

TEST(oneshot, closing_ends_the_wait) {
    context ctx;
    aio::oneshot<std::unique_ptr<int>> answer;
    std::string log;
    strands group(ctx);
    group.begin(receives(answer, log));
    answer.close();
    EXPECT_FALSE(answer.send(std::make_unique<int>(1)));
    ctx.run().value();
    EXPECT_EQ(log, "eof");
}

TEST(oneshot, closing_after_the_value_changes_nothing) {
    context ctx;
    aio::oneshot<int> answer;
    EXPECT_TRUE(answer.send(7));
    answer.close();
    EXPECT_EQ(ctx.run(answer.receive()), 7);
}

TEST(oneshot, a_stopped_or_destroyed_wait_leaves_the_value) {
    for (const bool is_stopped : {true, false}) {
        context ctx;
        aio::oneshot<std::unique_ptr<int>> answer;
        std::string log;
        {
            strands group(ctx);
            group.begin(receives(answer, log));
            if (is_stopped)
                group.request_stop();
            EXPECT_TRUE(answer.send(std::make_unique<int>(5)));
            if (is_stopped)
                ctx.run().value();
        }
        EXPECT_EQ(log, is_stopped ? "-" : "");
        EXPECT_TRUE(answer.has_value());
        strands group(ctx);
        group.begin(receives(answer, log));
        EXPECT_EQ(log, is_stopped ? "-5" : "5");
    }
}

TEST(oneshot, the_wait_ends_when_it_dies) {
    context ctx;
    std::string log;
    strands group(ctx);
    {
        aio::oneshot<std::unique_ptr<int>> answer;
        group.begin(receives(answer, log));
    }
    ctx.run().value();
    EXPECT_EQ(log, "!");
}

} // namespace
