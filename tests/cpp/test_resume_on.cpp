#include "strands.hpp"

#include <aio/event.hpp>
#include <aio/resume_on.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

namespace {

using aio::context;
using aio::task;
using support::strands;

/// A context that a thread of its own runs until it dies.
class elsewhere {
  public:
    elsewhere() {
        thread_ = std::thread([this] {
            context mine;
            ctx_ = &mine;
            ctx_.notify_all();
            const context::hold hold(mine);
            mine.run().value();
        });
        ctx_.wait(nullptr);
    }
    ~elsewhere() {
        // The thread may be done with the context before the call is.
        aio_ctx *const native = ctx().native();
        aio_ctx_ref(native);
        aio_ctx_stop(native);
        thread_.join();
        aio_ctx_unref(native);
    }
    context &ctx() { return *ctx_; }
    std::thread::id id() const { return thread_.get_id(); }

  private:
    std::atomic<context *> ctx_ = nullptr;
    std::thread thread_;
};

TEST(resume_on, runs_on_the_other_thread_and_comes_back_with_the_value) {
    context ctx;
    elsewhere other;
    const auto here = std::this_thread::get_id();
    const auto there = [&](std::unique_ptr<int> number) -> task<std::unique_ptr<int>> {
        EXPECT_EQ(std::this_thread::get_id(), other.id());
        EXPECT_TRUE(co_await aio::sleep_for(other.ctx(), 1ms));
        EXPECT_EQ(std::this_thread::get_id(), other.id());
        ++*number;
        co_return number;
    };
    const auto asks = [&]() -> task<int> {
        auto number = std::make_unique<int>(41);
        auto given = co_await aio::resume_on(other.ctx(), there(std::move(number)));
        EXPECT_EQ(std::this_thread::get_id(), here);
        EXPECT_TRUE(co_await aio::sleep_for(ctx, 1ms));
        co_return *given;
    };
    EXPECT_EQ(ctx.run(asks()), 42);
}

TEST(resume_on, an_exception_comes_back_too) {
    context ctx;
    elsewhere other;
    const auto there = []() -> task<int> {
        throw std::runtime_error("from there");
        co_return 0;
    };
    const auto asks = [&]() -> task<std::string> {
        try {
            co_await aio::resume_on(other.ctx(), there());
        } catch (const std::runtime_error &error) {
            co_return error.what();
        }
        co_return "nothing";
    };
    EXPECT_EQ(ctx.run(asks()), "from there");
}

TEST(resume_on, what_runs_there_comes_back_for_a_moment) {
    context ctx;
    elsewhere other;
    std::string log;
    const auto here = std::this_thread::get_id();
    const auto note = [&](char what) -> task<> {
        EXPECT_EQ(std::this_thread::get_id(), here);
        log += what;
        co_return;
    };
    const auto there = [&]() -> task<> {
        for (const char what : {'a', 'b', 'c'})
            co_await aio::resume_on(ctx, note(what));
    };
    ctx.run(aio::resume_on(other.ctx(), there()));
    EXPECT_EQ(log, "abc");
}

TEST(resume_on, a_stop_is_passed_on) {
    context ctx;
    elsewhere other;
    std::atomic<bool> has_begun = false;
    bool was_stopped = false;
    const auto there = [&]() -> task<bool> {
        has_begun = true;
        has_begun.notify_all();
        const auto slept = co_await aio::sleep_for(other.ctx(), 1h);
        co_return aio::is_cancelled(slept.error());
    };
    const auto asks = [&]() -> task<> {
        was_stopped = co_await aio::resume_on(other.ctx(), there());
        // And what begins in a strand that was asked to stop is asked at once.
        EXPECT_TRUE(co_await aio::resume_on(other.ctx(), there()));
    };
    strands group(ctx);
    group.begin(asks());
    has_begun.wait(false);
    group.request_stop();
    ctx.run().value();
    EXPECT_TRUE(was_stopped);
    EXPECT_EQ(group.size(), 0u);
}

TEST(resume_on, a_destroyed_coroutine_destroys_what_runs_there_on_its_thread) {
    context ctx;
    elsewhere other;
    std::atomic<bool> has_begun = false;
    std::thread::id died_on;
    struct tells {
        std::thread::id *where;
        ~tells() { *where = std::this_thread::get_id(); }
    };
    {
        strands doomed(ctx);
        const auto there = [&]() -> task<> {
            const tells last(&died_on);
            has_begun = true;
            has_begun.notify_all();
            static_cast<void>(co_await aio::sleep_for(other.ctx(), 1h));
            ADD_FAILURE() << "it went on";
        };
        const auto asks = [&]() -> task<> { co_await aio::resume_on(other.ctx(), there()); };
        doomed.begin(asks());
        has_begun.wait(false);
    }
    EXPECT_EQ(died_on, other.id());
    ctx.run().value();
}

TEST(resume_on, what_has_not_begun_never_does_when_who_awaits_is_destroyed) {
    context ctx;
    context other; // nobody runs it yet
    const auto there = [&]() -> task<> {
        ADD_FAILURE() << "it has begun";
        co_return;
    };
    {
        strands doomed(ctx);
        const auto asks = [&]() -> task<> { co_await aio::resume_on(other, there()); };
        doomed.begin(asks());
    }
    other.run().value();
    ctx.run().value();
}

TEST(resume_on, two_contexts_of_one_thread_do_the_same) {
    context ctx;
    context other;
    std::string log;
    const auto there = [&]() -> task<> {
        log += "a";
        EXPECT_TRUE(co_await aio::sleep_for(other, 1ms));
        log += "b";
    };
    const auto asks = [&]() -> task<> {
        co_await aio::resume_on(other, there());
        log += "c";
    };
    {
        strands group(ctx);
        group.begin(asks());
        other.run().value();
        ctx.run().value();
        EXPECT_EQ(log, "abc");
        group.begin(asks());
        static_cast<void>(other.run_once(0ms));
        EXPECT_EQ(log, "abca");
    }
    other.run().value();
    EXPECT_EQ(log, "abca") << "destroyed on this thread, without a wait";
}

TEST(resume_on, it_can_be_stopped_and_destroyed_at_any_time) {
    const char *given = std::getenv("AIO_TEST_SEED");
    const unsigned seed = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 11u;
    SCOPED_TRACE("AIO_TEST_SEED=" + std::to_string(seed));
    std::srand(seed);
    context ctx;
    elsewhere other;
    std::atomic<int> alive = 0;
    struct lives {
        std::atomic<int> &count;
        explicit lives(std::atomic<int> &in) : count(in) { count++; }
        ~lives() { count--; }
    };
    const auto there = [&](int us) -> task<> {
        const lives mark(alive);
        static_cast<void>(co_await aio::sleep_for(other.ctx(), std::chrono::microseconds(us)));
    };
    const auto asks = [&](int us) -> task<> { co_await aio::resume_on(other.ctx(), there(us)); };
    for (int round = 0; round < 300; round++) {
        strands group(ctx);
        for (int i = 0; i < 3; i++)
            group.begin(asks(std::rand() % 300));
        if (round % 3 == 0)
            static_cast<void>(ctx.run_once(std::chrono::microseconds(std::rand() % 300)));
        if (round % 2 == 0)
            group.request_stop();
        if (round % 3 != 1)
            static_cast<void>(ctx.run_once(std::chrono::microseconds(std::rand() % 300)));
    }
    ctx.run().value();
    EXPECT_EQ(alive, 0);
}

} // namespace
