#include "strands.hpp"

#include <aio/event.hpp>

namespace {

using aio::context;
using aio::task;
using support::strands;

template <class Event> task<> waits(Event &event, std::string &log, char name) {
    const aio::result<void> ended = co_await event.wait();
    log += name;
    if (!ended)
        log += aio::is_cancelled(ended.error()) ? '-' : '!';
}

TEST(event, set_lets_all_through_and_later_ones_too) {
    context ctx;
    aio::event door;
    std::string log;
    strands group(ctx);
    group.begin(waits(door, log, 'a'));
    group.begin(waits(door, log, 'b'));
    EXPECT_FALSE(door.is_set());
    door.set();
    EXPECT_EQ(log, "");
    ctx.run().value();
    EXPECT_EQ(log, "ab");
    group.begin(waits(door, log, 'c'));
    EXPECT_EQ(log, "abc");
    door.reset();
    group.begin(waits(door, log, 'd'));
    ctx.run().value();
    EXPECT_EQ(log, "abc");
    EXPECT_EQ(group.size(), 1u);
}

TEST(event, one_that_was_let_through_goes_on_although_it_is_reset) {
    context ctx;
    aio::event door;
    std::string log;
    strands group(ctx);
    group.begin(waits(door, log, 'a'));
    door.set();
    door.reset();
    ctx.run().value();
    EXPECT_EQ(log, "a");
}

TEST(event, a_stop_ends_the_wait_and_waits_that_follow) {
    context ctx;
    aio::event door;
    aio::auto_event gate(true);
    std::string log;
    const auto both = [&]() -> task<> {
        co_await waits(door, log, 'a');
        co_await waits(gate, log, 'b');
    };
    strands group(ctx);
    group.begin(both());
    group.request_stop();
    EXPECT_EQ(log, "");
    ctx.run().value();
    EXPECT_EQ(log, "a-b-");
    EXPECT_TRUE(gate.is_set()) << "a stopped strand takes no signal";
}

TEST(event, waits_end_when_the_event_dies) {
    context ctx;
    std::string log;
    strands group(ctx);
    {
        aio::event door;
        aio::auto_event gate;
        group.begin(waits(door, log, 'a'));
        group.begin(waits(gate, log, 'b'));
        group.begin(waits(gate, log, 'c'));
        gate.set();
    }
    ctx.run().value();
    EXPECT_EQ(log, "b!c!a!");
}

TEST(event, destroyed_waiters_are_forgotten_while_they_wait_and_when_they_were_let_through) {
    context ctx;
    aio::event door;
    std::string log;
    for (const bool is_set : {false, true}) {
        strands group(ctx);
        group.begin(waits(door, log, 'a'));
        group.begin(waits(door, log, 'b'));
        if (is_set)
            door.set();
    }
    ctx.run().value();
    EXPECT_EQ(log, "");
}

TEST(event, an_auto_event_lets_one_through_for_each_set) {
    context ctx;
    aio::auto_event gate;
    std::string log;
    strands group(ctx);
    for (const char name : {'a', 'b', 'c'})
        group.begin(waits(gate, log, name));
    gate.set();
    ctx.run().value();
    EXPECT_EQ(log, "a");
    gate.set();
    gate.set();
    gate.set();
    EXPECT_TRUE(gate.is_set());
    gate.set();
    ctx.run().value();
    EXPECT_EQ(log, "abc");
    group.begin(waits(gate, log, 'd'));
    EXPECT_EQ(log, "abcd");
    EXPECT_FALSE(gate.is_set());
    gate.set();
    gate.reset();
    group.begin(waits(gate, log, 'e'));
    ctx.run().value();
    EXPECT_EQ(log, "abcd");
}

TEST(event, a_signal_of_one_that_is_destroyed_goes_to_the_next) {
    context ctx;
    aio::auto_event gate;
    std::string log;
    strands group(ctx);
    {
        strands doomed(ctx);
        doomed.begin(waits(gate, log, 'a'));
        group.begin(waits(gate, log, 'b'));
        gate.set();
    }
    ctx.run().value();
    EXPECT_EQ(log, "b");
    {
        strands doomed(ctx);
        doomed.begin(waits(gate, log, 'c'));
        gate.set();
    }
    EXPECT_TRUE(gate.is_set());
}

TEST(event, a_wait_can_be_kept_and_given_to_others_before_it_is_awaited) {
    context ctx;
    aio::event door(true);
    auto wait = door.wait();
    auto moved = std::move(wait);
    EXPECT_TRUE(ctx.run(std::move(moved)));
}

TEST(event, strands_of_two_contexts_on_one_thread_meet) {
    context first;
    context second;
    aio::event door;
    std::string log;
    strands one(first);
    strands two(second);
    one.begin(waits(door, log, 'a'));
    two.begin(waits(door, log, 'b'));
    door.set();
    second.run().value();
    EXPECT_EQ(log, "b");
    first.run().value();
    EXPECT_EQ(log, "ba");
}

} // namespace
