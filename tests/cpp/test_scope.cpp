#include "support.hpp"

#include <aio/event.hpp>
#include <aio/misc.hpp>
#include <aio/scope.hpp>
#include <aio/timeout.hpp>

#include <optional>
#include <vector>

namespace {

using aio::context;
using aio::scope;
using aio::task;

TEST(scope, join_waits_for_all) {
    context ctx;
    int ended = 0;
    const auto sleeper = [&](std::chrono::milliseconds time) -> task<> {
        static_cast<void>(co_await aio::sleep_for(ctx, time));
        ended++;
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        for (int i = 0; i < 5; i++)
            children.spawn(sleeper(std::chrono::milliseconds(i)));
        children.spawn(aio::nop(ctx)); // operations too
        EXPECT_EQ(children.size(), 6u);
        (co_await children.join()).value();
        EXPECT_EQ(ended, 5);
        EXPECT_EQ(children.size(), 0u);
    };
    ctx.run(parent());
}

TEST(scope, a_lambda_lives_as_long_as_its_task) {
    context ctx;
    int sum = 0;
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        for (int i = 0; i < 3; i++) {
            const std::string text(100, static_cast<char>('a' + i));
            children.spawn([&ctx, &sum, text]() -> task<> {
                static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
                sum += text[99] - 'a' + 1;
            });
        }
        (co_await children.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(sum, 6);
}

TEST(scope, an_exception_stops_the_others_and_comes_out_of_join) {
    context ctx;
    int stopped = 0;
    const auto sleeper = [&]() -> task<> {
        stopped += aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error());
    };
    const auto failing = [&]() -> task<> {
        static_cast<void>(co_await aio::nop(ctx));
        throw std::runtime_error("one of them");
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        children.spawn(sleeper());
        children.spawn(failing());
        children.spawn(sleeper());
        static_cast<void>(co_await children.join());
    };
    EXPECT_THROW(ctx.run(parent()), std::runtime_error);
    EXPECT_EQ(stopped, 2);
}

TEST(scope, the_first_error_is_returned_by_join_and_stops_nobody) {
    context ctx;
    bool ended = false;
    const auto failing = [&]() -> task<aio::result<void>> {
        static_cast<void>(co_await aio::nop(ctx));
        co_return aio::unexpected(std::errc::broken_pipe);
    };
    const auto sleeper = [&]() -> task<> {
        ended = (co_await aio::sleep_for(ctx, 5ms)).has_value();
    };
    const auto parent = [&]() -> task<std::error_code> {
        scope children(ctx);
        children.spawn(sleeper());
        children.spawn(failing());
        co_return (co_await children.join()).error();
    };
    EXPECT_EQ(ctx.run(parent()), std::errc::broken_pipe);
    EXPECT_TRUE(ended);
}

TEST(scope, no_more_run_at_a_time_than_allowed) {
    context ctx;
    int running = 0;
    int most = 0;
    int ended = 0;
    const auto worker = [&]() -> task<> {
        most = std::max(most, ++running);
        static_cast<void>(co_await aio::nop(ctx));
        running--;
        ended++;
    };
    const auto at_once = [&]() -> task<> {
        ended++;
        co_return;
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 3});
        for (int i = 0; i < 20; i++)
            children.spawn(worker());
        EXPECT_EQ(children.size(), 3u);
        EXPECT_EQ(children.waiting(), 17u);
        for (int i = 0; i < 10000; i++)
            children.spawn(at_once()); // ended one inside another they would need a deep stack
        (co_await children.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(most, 3);
    EXPECT_EQ(ended, 10020);
}

TEST(scope, admission_holds_those_back_who_are_too_fast) {
    context ctx;
    int running = 0;
    const auto worker = [&]() -> task<> {
        EXPECT_LE(++running, 2);
        static_cast<void>(co_await aio::nop(ctx));
        running--;
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 2});
        for (int i = 0; i < 10; i++) {
            EXPECT_TRUE(co_await children.admit());
            children.spawn(worker());
            EXPECT_EQ(children.waiting(), 0u);
        }
        (co_await children.join()).value();
        children.spawn(aio::sleep_for(ctx, 1h));
        children.spawn(aio::sleep_for(ctx, 1h));
        (co_await aio::this_strand())->request_stop();
        EXPECT_FALSE(co_await children.admit());
    };
    ctx.run(parent());
}

TEST(scope, a_scope_that_was_stopped_admits_nobody) {
    context ctx;
    int begun = 0;
    const auto failing = [&]() -> task<> {
        static_cast<void>(co_await aio::nop(ctx));
        throw std::runtime_error("one has failed");
    };
    const auto worker = [&]() -> task<> {
        begun++;
        static_cast<void>(co_await aio::nop(ctx));
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 2});
        children.spawn(failing());
        // A source that is endless: only the failure ends it.
        while (begun < 100000 && co_await children.admit())
            children.spawn(worker());
        EXPECT_TRUE(children.stop_requested());
        bool has_thrown = false;
        try {
            static_cast<void>(co_await children.join());
        } catch (const std::runtime_error &) {
            has_thrown = true;
        }
        EXPECT_TRUE(has_thrown);

        scope asked(ctx, {.concurrency = 1});
        asked.spawn(aio::sleep_for(ctx, 1h));
        asked.request_stop();
        EXPECT_FALSE(co_await asked.admit()); // waited for room, and had it
        EXPECT_EQ(asked.size(), 0u);
        EXPECT_FALSE(co_await asked.admit());
    };
    ctx.run(parent());
    EXPECT_LT(begun, 10);
}

TEST(scope, a_scope_that_dies_destroys_what_runs_and_what_waits) {
    context ctx;
    int alive = 0;
    const auto sleeper = [&](support::counted) -> task<> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1h));
        ADD_FAILURE() << "it was resumed";
    };
    {
        scope children(ctx, {.concurrency = 2});
        for (int i = 0; i < 4; i++)
            children.spawn(sleeper(support::counted(alive)));
        EXPECT_EQ(alive, 4);
        static_cast<void>(ctx.run_once(0ms));
    }
    EXPECT_EQ(alive, 0);
    ctx.run().value();
}

TEST(scope, join_for_asks_those_that_are_late_to_stop) {
    context ctx;
    int stopped = 0;
    const auto sleeper = [&]() -> task<> {
        stopped += aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error());
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 2});
        for (int i = 0; i < 4; i++)
            children.spawn(sleeper());
        EXPECT_EQ((co_await children.join_for(2ms)).error(), aio::errc::deadline);
        scope quick(ctx);
        quick.spawn(aio::nop(ctx));
        EXPECT_TRUE(co_await quick.join_for(1h));
        EXPECT_TRUE(co_await quick.join_for(1h));
    };
    ctx.run(parent());
    EXPECT_EQ(stopped, 2);
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(scope, a_stop_of_who_joins_reaches_all_levels) {
    context ctx;
    int stopped = 0;
    const auto sleeper = [&]() -> task<> {
        stopped += aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error());
    };
    const auto middle = [&]() -> task<> {
        scope children(ctx);
        children.spawn(sleeper());
        children.spawn(sleeper());
        (co_await children.join()).value();
    };
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        children.spawn(middle());
        children.spawn(middle());
        children.spawn([&]() -> task<> {
            static_cast<void>(co_await aio::nop(ctx));
            ctx.stop(); // run() makes a stop of the task of it
        });
        (co_await children.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(stopped, 4);
}

TEST(scope, spawning_into_a_stopped_scope_ends_at_its_first_wait) {
    context ctx;
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        children.request_stop();
        EXPECT_TRUE(children.stop_requested());
        std::error_code why;
        children.spawn([&]() -> task<> { why = (co_await aio::nop(ctx)).error(); });
        (co_await children.join()).value();
        EXPECT_TRUE(aio::is_cancelled(why));
    };
    ctx.run(parent());
}

TEST(scope, detached_work_tells_its_errors) {
    context ctx;
    std::error_code error;
    std::string text;
    const auto failing = [&]() -> task<aio::result<void>> {
        static_cast<void>(co_await aio::nop(ctx));
        co_return aio::unexpected(std::errc::broken_pipe);
    };
    const auto throwing = [&]() -> task<> {
        static_cast<void>(co_await aio::nop(ctx));
        throw std::runtime_error("text");
    };
    struct handler {
        std::error_code &error;
        std::string &text;
        void operator()(std::error_code code) const { error = code; }
        void operator()(std::exception_ptr exception) const {
            try {
                std::rethrow_exception(exception);
            } catch (const std::exception &what) {
                text = what.what();
            }
        }
    };
    aio::detached(ctx, failing(), handler{error, text});
    aio::detached(ctx, throwing(), handler{error, text});
    ctx.run().value();
    EXPECT_EQ(error, std::errc::broken_pipe);
    EXPECT_EQ(text, "text");
}

TEST(scope, detached_work_dies_with_its_context) {
    int alive = 0;
    {
        context ctx;
        const auto waits_for_ever = [](support::counted) -> task<> {
            co_await std::suspend_always();
        };
        aio::detached(ctx, waits_for_ever(support::counted(alive)));
        aio::detached(ctx, waits_for_ever(support::counted(alive)));
        EXPECT_EQ(alive, 2);
    }
    EXPECT_EQ(alive, 0);
}

TEST(scope, who_joins_goes_on_when_those_that_waited_for_their_turn_have_ended_too) {
    context ctx;
    int ended = 0;
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 1});
        children.spawn([&]() -> task<> {
            static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
            ended++;
        });
        // These end at once when it is their turn, each before the next has begun.
        for (int i = 0; i < 5; i++)
            children.spawn([&]() -> task<> {
                ended++;
                co_return;
            });
        (co_await children.join()).value();
        EXPECT_EQ(ended, 6);
        EXPECT_EQ(children.waiting(), 0u);
    };
    ctx.run(parent());
    EXPECT_EQ(ended, 6);
}

TEST(scope, several_may_join_it) {
    context ctx;
    int joined = 0;
    const auto parent = [&]() -> task<> {
        scope children(ctx);
        scope joiners(ctx);
        children.spawn(aio::sleep_for(ctx, 1ms));
        for (int i = 0; i < 3; i++)
            joiners.spawn([&]() -> task<> {
                (co_await children.join()).value();
                joined++;
            });
        (co_await joiners.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(joined, 3);
}

TEST(scope, room_that_is_not_taken_is_offered_to_the_next) {
    context ctx;
    std::vector<char> admitted;
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 1});
        scope makers(ctx);
        children.spawn(aio::sleep_for(ctx, 1ms));
        const auto maker = [&](char name, bool spawns) -> task<> {
            EXPECT_TRUE(co_await children.admit());
            EXPECT_EQ(children.size(), 0u);
            admitted.push_back(name);
            if (spawns)
                children.spawn(aio::sleep_for(ctx, 1ms));
        };
        makers.spawn(maker('a', false));
        makers.spawn(maker('b', true));
        makers.spawn(maker('c', false));
        makers.spawn(maker('d', true));
        (co_await makers.join()).value();
        (co_await children.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(admitted, (std::vector<char>{'a', 'b', 'c', 'd'}));
}

TEST(scope, room_offered_to_one_that_is_destroyed_is_offered_to_the_next) {
    context ctx;
    bool admitted = false;
    const auto parent = [&]() -> task<> {
        scope children(ctx, {.concurrency = 1});
        aio::event over;
        children.spawn([&]() -> task<> { (co_await over.wait()).value(); });
        std::optional<scope> first(std::in_place, ctx);
        first->spawn([&]() -> task<> { static_cast<void>(co_await children.admit()); });
        scope second(ctx);
        second.spawn([&]() -> task<> { admitted = co_await children.admit(); });
        over.set();
        // The child ends in the next turn, and with it the first is told, but has not gone on.
        while (children.size() != 0)
            static_cast<void>(co_await aio::yield(ctx));
        first.reset();
        (co_await second.join()).value();
        (co_await children.join()).value();
    };
    ctx.run(parent());
    EXPECT_TRUE(admitted);
}

TEST(scope, who_waits_for_room_is_told_that_the_scope_has_died) {
    context ctx;
    int answers = 0;
    const auto parent = [&]() -> task<> {
        std::optional<scope> children(std::in_place, ctx, aio::scope_options{.concurrency = 1});
        children->spawn(aio::sleep_for(ctx, 1h));
        scope makers(ctx);
        for (int i = 0; i < 2; i++)
            makers.spawn([&]() -> task<> {
                EXPECT_FALSE(co_await children->admit());
                answers++;
            });
        children.reset();
        (co_await makers.join()).value();
    };
    ctx.run(parent());
    EXPECT_EQ(answers, 2);
}

TEST(scope, detached_work_that_owns_a_descriptor_closes_it_when_its_context_dies) {
    aio::event never;
    const auto fds = support::socket_pair();
    {
        context ctx;
        const auto owner = [](aio::event &never, aio::descriptor) -> task<> {
            static_cast<void>(co_await never.wait());
        };
        aio::detached(ctx, owner(never, aio::descriptor(ctx, fds[0])));
        ctx.run_once(0ms).value();
        EXPECT_TRUE(support::is_open(fds[0]));
    }
    EXPECT_FALSE(support::is_open(fds[0]));
    ::close(fds[1]);
}

TEST(scope, detached_work_that_is_woken_while_its_context_dies_is_destroyed) {
    aio::event never;
    int alive = 0;
    {
        context ctx;
        const auto waits = [](aio::event &never, support::counted) -> task<> {
            static_cast<void>(co_await aio::with_timeout(never.wait(), 1h));
        };
        aio::detached(ctx, waits(never, support::counted(alive)));
        ctx.run_once(0ms).value();
        EXPECT_EQ(alive, 1);
    }
    EXPECT_EQ(alive, 0);
}

} // namespace
