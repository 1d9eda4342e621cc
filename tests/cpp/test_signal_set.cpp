#include "strands.hpp"

#include <aio/signal_set.hpp>

namespace {

using aio::context;
using aio::task;
using support::strands;

TEST(signal_set, signals_are_told_with_who_has_sent_them) {
    context ctx;
    auto signals = aio::signal_set::create(ctx, {SIGUSR1, SIGUSR2}).value();
    const auto waits = [&]() -> task<> {
        for (const int number : {SIGUSR2, SIGUSR1}) {
            EXPECT_EQ(::kill(::getpid(), number), 0);
            const auto got = co_await signals.next();
            EXPECT_EQ(got.value().number, number);
            EXPECT_EQ(got->count, 1u);
            EXPECT_EQ(got->info.si_signo, number);
            EXPECT_EQ(got->info.si_pid, ::getpid());
        }
    };
    ctx.run(waits());
}

TEST(signal_set, what_comes_before_the_wait_is_kept) {
    context ctx;
    aio::signal_set signals(ctx, {SIGUSR1});
    EXPECT_EQ(::kill(::getpid(), SIGUSR1), 0);
    while (signals.pending() == 0)
        static_cast<void>(ctx.run_once());
    EXPECT_EQ(ctx.run(signals.next()).value().number, SIGUSR1);
    EXPECT_EQ(signals.pending(), 0u);
}

TEST(signal_set, a_stop_ends_the_wait_alone) {
    context ctx;
    aio::signal_set signals(ctx, {SIGUSR1});
    {
        strands group(ctx);
        const auto waits = [&]() -> task<> {
            EXPECT_TRUE(aio::is_cancelled((co_await signals.next()).error()));
        };
        group.begin(waits());
        group.request_stop();
        while (group.size() != 0)
            static_cast<void>(ctx.run_once());
    }
    EXPECT_EQ(::kill(::getpid(), SIGUSR1), 0);
    EXPECT_EQ(ctx.run(signals.next()).value().number, SIGUSR1);
}

TEST(signal_set, when_it_is_destroyed_the_signal_is_itself_again) {
    struct sigaction before{};
    struct sigaction during{};
    struct sigaction after{};
    EXPECT_EQ(::sigaction(SIGUSR1, nullptr, &before), 0);
    context ctx;
    {
        aio::signal_set signals(ctx, {SIGUSR1});
        auto moved = std::move(signals);
        EXPECT_EQ(::sigaction(SIGUSR1, nullptr, &during), 0);
    }
    ctx.run().value();
    EXPECT_EQ(::sigaction(SIGUSR1, nullptr, &after), 0);
    EXPECT_EQ(before.sa_handler, SIG_DFL);
    EXPECT_NE(during.sa_handler, SIG_DFL);
    EXPECT_EQ(after.sa_handler, SIG_DFL);
}

TEST(signal_set, one_that_cannot_be_waited_for_is_an_error) {
    context ctx;
    EXPECT_EQ(aio::signal_set::create(ctx, {SIGUSR1, SIGKILL}).error(),
              std::errc::invalid_argument);
}

} // namespace
