#include "support.hpp"

#include <aio/context.hpp>
#include <aio/misc.hpp>
#include <aio/task.hpp>

#include <csignal>
#include <cstdio>
#include <memory>
#include <memory_resource>
#include <string>
#include <vector>

namespace {

using aio::context;
using aio::task;

task<int> number(int value) { co_return value; }

task<int> failing() {
    throw std::runtime_error("from the task");
    co_return 0;
}

task<> without_a_variable(context &ctx) {
    if (co_await aio::nop(ctx))
        std::fputs("right", stderr);
}

// GCC 12 compiles that one wrongly: then it is said, and no other memory is touched.
TEST(task, a_frame_that_the_compiler_makes_wrongly_is_noticed) {
    const auto run = [] {
        context ctx;
        ctx.run(without_a_variable(ctx));
        std::_Exit(0);
    };
    const auto is_right_or_aborted = [](int status) {
        return WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGABRT;
    };
    EXPECT_EXIT(run(), is_right_or_aborted, "^right$|declare one");
}

TEST(task, nothing_runs_before_it_is_awaited) {
    context ctx;
    bool ran = false;
    const auto body = [&]() -> task<> {
        ran = true;
        co_return;
    };
    auto lazy = body();
    EXPECT_FALSE(ran);
    EXPECT_TRUE(lazy.valid());
    ctx.run(std::move(lazy));
    EXPECT_TRUE(ran);
    EXPECT_FALSE(lazy.valid());
}

TEST(task, a_task_that_is_never_awaited_frees_its_arguments) {
    int alive = 0;
    {
        const auto body = [](support::counted) -> task<> { co_return; };
        auto lazy = body(support::counted(alive));
        EXPECT_EQ(alive, 1);
    }
    EXPECT_EQ(alive, 0);
}

TEST(task, values_references_and_move_only_types_come_back) {
    context ctx;
    int target = 5;
    const auto reference = [&]() -> task<int &> { co_return target; };
    const auto owner = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    const auto all = [&]() -> task<int> {
        int &back = co_await reference();
        back = 6;
        auto owned = co_await owner();
        co_return co_await number(1) + *owned;
    };
    EXPECT_EQ(ctx.run(all()), 8);
    EXPECT_EQ(target, 6);
}

TEST(task, an_exception_goes_to_who_awaits) {
    context ctx;
    const auto catching = []() -> task<std::string> {
        try {
            co_await failing();
        } catch (const std::runtime_error &error) {
            co_return error.what();
        }
        co_return "nothing";
    };
    EXPECT_EQ(ctx.run(catching()), "from the task");
    EXPECT_THROW(ctx.run(failing()), std::runtime_error);
}

TEST(task, an_exception_after_an_operation_goes_to_who_awaits) {
    context ctx;
    const auto late = [&]() -> task<> {
        (co_await aio::nop(ctx)).value();
        throw std::logic_error("late");
    };
    const auto outer = [&]() -> task<bool> {
        try {
            co_await late();
        } catch (const std::logic_error &) {
            co_return true;
        }
        co_return false;
    };
    EXPECT_TRUE(ctx.run(outer()));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int many = 1000; // GCC makes a call of a transfer then
#else
constexpr int many = 1000000;
#endif

TEST(task, a_million_tasks_in_a_row_need_no_stack) {
    context ctx;
    const auto loop = []() -> task<long> {
        long sum = 0;
        for (int i = 0; i < many; i++)
            sum += co_await number(1);
        co_return sum;
    };
    EXPECT_EQ(ctx.run(loop()), many);
}

task<int> depth(context &ctx, int levels) {
    if (levels == 0) {
        static_cast<void>(co_await aio::nop(ctx));
        co_return 0;
    }
    co_return 1 + co_await depth(ctx, levels - 1);
}

TEST(task, deep_chains_return_through_all_levels) {
    context ctx;
    EXPECT_EQ(ctx.run(depth(ctx, 1000)), 1000);
}

TEST(task, destroying_a_chain_destroys_all_of_it) {
    context ctx;
    int alive = 0;
    const auto inner = [&](support::counted) -> task<> {
        static_cast<void>(co_await aio::sleep_for(ctx, 1h));
    };
    const auto outer = [&](support::counted) -> task<> { co_await inner(support::counted(alive)); };
    struct sink {
        void set_value() noexcept {}
        void set_exception() noexcept {}
    } sink;
    {
        aio::detail::strand_group group(ctx.where());
        group.start(outer(support::counted(alive)), sink);
        EXPECT_GT(alive, 0);
        EXPECT_EQ(ctx.in_flight(), 1u);
    }
    EXPECT_EQ(alive, 0);
    ctx.run().value(); // ends: the timer is gone
}

struct counting_resource : std::pmr::memory_resource {
    std::size_t taken = 0;
    std::size_t given = 0;
    void *do_allocate(std::size_t size, std::size_t alignment) override {
        taken += size;
        return std::pmr::new_delete_resource()->allocate(size, alignment);
    }
    void do_deallocate(void *memory, std::size_t size, std::size_t alignment) override {
        given += size;
        std::pmr::new_delete_resource()->deallocate(memory, size, alignment);
    }
    bool do_is_equal(const memory_resource &other) const noexcept override {
        return this == &other;
    }
};

task<int> from_allocator(std::allocator_arg_t, std::pmr::polymorphic_allocator<>, context &ctx) {
    static_cast<void>(co_await aio::nop(ctx));
    co_return 3;
}

struct service {
    int value = 4;
    task<int> method(std::allocator_arg_t, std::pmr::polymorphic_allocator<>) { co_return value; }
};

TEST(task, a_frame_comes_from_the_allocator_that_is_passed) {
    context ctx;
    counting_resource memory;
    EXPECT_EQ(ctx.run(from_allocator(std::allocator_arg, &memory, ctx)), 3);
    EXPECT_GT(memory.taken, 0u);
    EXPECT_EQ(memory.taken, memory.given);
    const std::size_t before = memory.taken;
    service object;
    EXPECT_EQ(ctx.run(object.method(std::allocator_arg, &memory)), 4);
    EXPECT_GT(memory.taken, before);
    EXPECT_EQ(memory.taken, memory.given);
}

/// A stranger's coroutine type.
struct fire {
    struct promise_type {
        fire get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

TEST(task, a_strangers_coroutine_can_await_tasks_and_operations) {
    context ctx;
    int got = 0;
    const auto stranger = [&]() -> fire {
        got += co_await depth(ctx, 3);
        got += (co_await aio::nop(ctx)).has_value() ? 10 : 0;
    };
    stranger();
    ctx.run().value();
    EXPECT_EQ(got, 13);
}

TEST(task, assignment_destroys_what_was_there) {
    int alive = 0;
    const auto body = [](support::counted) -> task<> { co_return; };
    auto first = body(support::counted(alive));
    first = body(support::counted(alive));
    EXPECT_EQ(alive, 1);
}

TEST(task, an_exception_of_a_destructor_behind_co_return_replaces_the_value) {
    struct throws_at_the_end {
        ~throws_at_the_end() noexcept(false) { throw std::runtime_error("late"); }
    };
    context ctx;
    int alive = 0;
    const auto late = [&]() -> task<support::counted> {
        const throws_at_the_end last;
        co_return support::counted(alive);
    };
    EXPECT_THROW(static_cast<void>(ctx.run(late())), std::runtime_error);
    EXPECT_EQ(alive, 0);
}

} // namespace
