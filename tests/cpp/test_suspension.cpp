#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/detail/strand_group.hpp>
#include <aio/event.hpp>
#include <aio/misc.hpp>
#include <aio/scope.hpp>
#include <aio/suspension.hpp>

#include <string>
#include <vector>

namespace {

using aio::context;
using aio::task;

struct ignore {
    void set_value() noexcept {}
    void set_exception() noexcept { std::terminate(); }
} ignored;

/// The least that an awaitable of one's own needs: a gate for one waiter.
class gate {
  public:
    class waiter : public aio::queued_suspension {
      public:
        explicit waiter(gate &of) noexcept : gate_(&of) {}
        ~waiter() { leave(); }
        bool await_ready() const noexcept { return gate_->open_; }
        template <class P> bool await_suspend(std::coroutine_handle<P> handle) noexcept {
            if (!begin(handle, [](suspension &self) noexcept {
                    static_cast<waiter &>(self).leave();
                    static_cast<waiter &>(self).resume_later();
                }))
                return false;
            gate_->waiter_ = this;
            return true;
        }
        bool await_resume() noexcept { return gate_->open_; }

      private:
        friend gate;
        void leave() noexcept {
            if (gate_->waiter_ == this)
                gate_->waiter_ = nullptr;
        }
        gate *gate_;
    };

    waiter wait() noexcept { return waiter(*this); }
    void open() noexcept {
        open_ = true;
        if (waiter_ != nullptr)
            std::exchange(waiter_, nullptr)->resume_later();
    }
    bool is_awaited() const noexcept { return waiter_ != nullptr; }

  private:
    bool open_ = false;
    waiter *waiter_ = nullptr;
};

TEST(suspension, an_awaitable_of_ones_own_waits_and_goes_on_later) {
    context ctx;
    gate door;
    std::string order;
    const auto waits = [&]() -> task<> {
        EXPECT_TRUE(co_await door.wait());
        order += "through";
    };
    aio::detail::strand_group group(ctx.where());
    group.start(waits(), ignored);
    EXPECT_TRUE(door.is_awaited());
    door.open();
    order += "open ";
    ctx.run().value();
    EXPECT_EQ(order, "open through");
    EXPECT_EQ(group.size(), 0u);
}

TEST(suspension, a_stop_ends_the_wait) {
    context ctx;
    gate door;
    int ended = 0;
    const auto waits = [&]() -> task<> {
        EXPECT_FALSE(co_await door.wait());
        EXPECT_FALSE(co_await door.wait()); // at once: the strand was asked to stop
        ended++;
    };
    aio::detail::strand_group group(ctx.where());
    group.start(waits(), ignored);
    group.request_stop();
    EXPECT_EQ(ended, 0);
    ctx.run().value();
    EXPECT_EQ(ended, 1);
}

TEST(suspension, a_destroyed_waiter_is_forgotten_while_it_waits_and_while_it_is_queued) {
    context ctx;
    gate door;
    const auto waits = [&]() -> task<> {
        co_await door.wait();
        ADD_FAILURE() << "it was resumed";
    };
    for (const bool is_queued : {false, true}) {
        aio::detail::strand_group group(ctx.where());
        group.start(waits(), ignored);
        EXPECT_TRUE(door.is_awaited());
        if (is_queued)
            door.open();
    }
    EXPECT_FALSE(door.is_awaited());
    ctx.run().value();
}

TEST(suspension, those_that_wake_each_other_leave_turns_to_operations) {
    context ctx;
    bool is_over = false;
    long rounds = 0;
    const auto spins = [&]() -> task<> {
        while (!is_over) {
            gate door;
            const auto opens = [](gate &to) -> task<> {
                to.open();
                co_return;
            };
            aio::detail::strand_group helper(ctx.where());
            const auto waits = [&]() -> task<> { co_await door.wait(); };
            helper.start(waits(), ignored);
            helper.start(opens(door), ignored);
            co_await helper.join();
            rounds++;
        }
    };
    aio::detail::strand_group group(ctx.where());
    group.start(spins(), ignored);
    const auto ends = [&]() -> task<> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
        is_over = true;
    };
    group.start(ends(), ignored);
    ctx.run().value();
    EXPECT_GT(rounds, 0);
    EXPECT_EQ(group.size(), 0u);
}

TEST(suspension, the_running_strand_can_be_asked_for) {
    context ctx;
    const auto inner = []() -> task<aio::strand *> { co_return co_await aio::this_strand(); };
    const auto outer = [&]() -> task<> {
        aio::strand *mine = co_await aio::this_strand();
        EXPECT_NE(mine, nullptr);
        EXPECT_EQ(co_await inner(), mine);
        EXPECT_FALSE(co_await aio::stop_requested());
    };
    ctx.run(outer());
}

TEST(suspension, joining_waits_for_all_and_passes_a_stop_on) {
    context ctx;
    int ended = 0;
    const auto sleeper = [&]() -> task<> {
        EXPECT_TRUE(aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error()));
        ended++;
    };
    const auto parent = [&]() -> task<> {
        aio::detail::strand_group children(ctx.where());
        for (int i = 0; i < 3; i++)
            children.start(sleeper(), ignored);
        co_await children.join();
        EXPECT_EQ(ended, 3);
        ended = 10;
    };
    aio::detail::strand_group group(ctx.where());
    group.start(parent(), ignored);
    group.request_stop();
    ctx.run().value();
    EXPECT_EQ(ended, 10);
}

TEST(suspension, who_is_woken_goes_on_later_also_when_the_context_takes_no_more_operations) {
    context ctx({.max_ops = 2});
    aio::event event;
    int ended = 0;
    bool is_inside = false;
    const auto waits = [&]() -> task<> {
        (co_await event.wait()).value();
        EXPECT_FALSE(is_inside);
        ended++;
    };
    const auto sets = [&]() -> task<> {
        is_inside = true;
        event.set();
        is_inside = false;
        EXPECT_EQ(ended, 0);
        co_return;
    };
    const auto sleeps = [&]() -> task<> { static_cast<void>(co_await aio::sleep_for(ctx, 5ms)); };
    ctx.run(aio::when_all(waits(), waits(), sleeps(), sleeps(), sets()));
    EXPECT_EQ(ended, 2);
}

TEST(suspension, a_borrowed_context_forgets_the_post_of_a_home_that_is_gone) {
    context owner({.max_ops = 1});
    const auto sleeper = [&]() -> task<> {
        {
            context borrowed = context::borrow(owner.native());
            aio::event event;
            aio::scope waiters(borrowed);
            waiters.spawn(event.wait());
            waiters.spawn(aio::sleep_for(borrowed, 1h));
            event.set();
        }
        static_cast<void>(co_await aio::sleep_for(owner, 1ms));
    };
    owner.run(sleeper());
}

} // namespace
