// Senders of ours with the algorithms of another library (driver.hpp), and senders of its in tasks.
#include "allocations.hpp"
#include "driver.hpp"
#include "support.hpp"

#include <aio/event.hpp>
#include <aio/execution.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/scope.hpp>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace {

using aio::context;
using aio::inplace_stop_source;
using aio::inplace_stop_token;
using aio::never_stop_token;
using aio::task;
using aio::execution::as_awaitable;
using aio::execution::as_sender;
using driver::noting;
using driver::told;
using driver::words;

using scheduler = aio::execution::basic_scheduler<words>;

constexpr auto nothing = [] {};

template <class... T> void run_until_told(context &ctx, const told<T...> &end) {
    while (end.times == 0)
        ctx.run_once(100ms).value();
}

/// What a sender ends with on this thread's context.
template <class... T, class Sender> void sync_wait(context &ctx, told<T...> &end, Sender sender) {
    auto state = driver::connect(std::move(sender), noting(end, never_stop_token(), nothing));
    state.start();
    run_until_told(ctx, end);
    EXPECT_EQ(end.times, 1);
}

task<int> doubled(context &ctx, int number) {
    (co_await aio::nop(ctx)).value();
    co_return 2 * number;
}

// ---- P2300's concepts ----

template <class... S> using signatures = driver::completion_signatures<S...>;
template <class Awaitable>
using ends_of = typename decltype(as_sender<words>(
    std::declval<context &>(), std::declval<Awaitable>()))::completion_signatures;

using receives = decltype(aio::recv(std::declval<context &>(), 0, std::declval<char (&)[4]>()));
static_assert(
    std::is_same_v<ends_of<receives>,
                   signatures<driver::set_value_t(std::size_t),
                              driver::set_error_t(std::error_code), driver::set_stopped_t()>>);
static_assert(
    std::is_same_v<ends_of<task<>>,
                   signatures<driver::set_value_t(), driver::set_error_t(std::exception_ptr),
                              driver::set_stopped_t()>>);
static_assert(
    std::is_same_v<ends_of<task<aio::result<int>>>,
                   signatures<driver::set_value_t(int), driver::set_error_t(std::error_code),
                              driver::set_error_t(std::exception_ptr), driver::set_stopped_t()>>);
static_assert(aio::execution::scheduler<aio::execution::context_scheduler>);
static_assert(aio::execution::sender<decltype(as_sender(std::declval<context &>(),
                                                        std::declval<receives>()))>);
static_assert(driver::sender<decltype(std::declval<scheduler>().schedule())>);

// ---- ends ----

TEST(execution, an_operation_ends_with_its_value) {
    context ctx;
    auto [a, b] = support::socket_pair();
    support::write_text(a, "hello");
    std::array<char, 8> room{};
    told<std::string> end;
    sync_wait(ctx, end,
              driver::then(as_sender<words>(ctx, aio::recv(ctx, b, room)),
                           [&](std::size_t count) { return std::string(room.data(), count); }));
    EXPECT_EQ(std::get<0>(end.values.value()), "hello");
    EXPECT_EQ(end.thread, std::this_thread::get_id());
    ::close(a);
    ::close(b);
}

TEST(execution, errors_are_codes_and_cancellations_are_stops) {
    context ctx;
    std::array<char, 8> room{};
    told<std::size_t> failed;
    sync_wait(ctx, failed, as_sender<words>(ctx, aio::recv(ctx, -1, room)));
    EXPECT_EQ(failed.error, std::errc::bad_file_descriptor);

    told<> late;
    sync_wait(ctx, late, as_sender<words>(ctx, aio::sleep_for(ctx, 1h).timeout(1ms)));
    EXPECT_EQ(late.error, aio::errc::deadline);

    told<> cancelled;
    auto state = driver::connect(as_sender<words>(ctx, aio::sleep_for(ctx, 1h)),
                                 noting(cancelled, never_stop_token(), nothing));
    state.start();
    EXPECT_EQ(aio_ctx_cancel_all(ctx.native()), 1);
    run_until_told(ctx, cancelled);
    EXPECT_TRUE(cancelled.stopped);
}

TEST(execution, a_task_ends_with_its_value_or_its_exception) {
    context ctx;
    told<int> end;
    sync_wait(ctx, end, as_sender<words>(ctx, doubled(ctx, 21)));
    EXPECT_EQ(std::get<0>(end.values.value()), 42);

    const auto throws = [&]() -> task<int> {
        (co_await aio::nop(ctx)).value();
        throw std::runtime_error("no");
    };
    told<int> thrown;
    sync_wait(ctx, thrown, as_sender<words>(ctx, throws()));
    EXPECT_THROW(std::rethrow_exception(thrown.exception), std::runtime_error);

    const auto gives_at_once = [&]() -> task<> { co_return; };
    told<> at_once;
    sync_wait(ctx, at_once, as_sender<words>(ctx, gives_at_once()));
    EXPECT_TRUE(at_once.values);
}

TEST(execution, whatever_can_be_awaited_is_a_sender) {
    context ctx;
    auto ticks = aio::interval(ctx, 1ms);
    told<> tick;
    sync_wait(ctx, tick, driver::then(as_sender<words>(ctx, ticks.next()), [](auto &&...) {}));
    EXPECT_TRUE(tick.values);

    aio::event event;
    told<> set;
    auto state = driver::connect(as_sender<words>(ctx, event.wait()),
                                 noting(set, never_stop_token(), nothing));
    state.start();
    EXPECT_EQ(set.times, 0);
    event.set();
    run_until_told(ctx, set);
    EXPECT_TRUE(set.values);
}

TEST(execution, two_run_at_once_and_the_first_failure_stops_the_other) {
    context ctx;
    const auto both = [&](auto a, auto b) {
        return driver::when_both<inplace_stop_source, int, int>(
            as_sender<words>(ctx, std::move(a)), as_sender<words>(ctx, std::move(b)));
    };
    inplace_stop_source outer;
    const auto run = [&](auto sender) {
        auto end = std::make_unique<told<int, int>>();
        auto state = driver::connect(std::move(sender), noting(*end, outer.get_token(), nothing));
        state.start();
        run_until_told(ctx, *end);
        EXPECT_EQ(end->times, 1);
        return end;
    };
    EXPECT_EQ(run(both(doubled(ctx, 1), doubled(ctx, 2)))->values, std::tuple(2, 4));

    const auto fails = [&]() -> task<aio::result<int>> {
        co_return (co_await aio::sleep_for(ctx, 1ms)).and_then([]() -> aio::result<int> {
            return aio::unexpected(aio::errc::eof);
        });
    };
    const auto waits = [&]() -> task<aio::result<int>> {
        co_return (co_await aio::sleep_for(ctx, 1h)).transform([] { return 1; });
    };
    EXPECT_EQ(run(both(fails(), waits()))->error, aio::errc::eof);

    std::thread asks([&] {
        std::this_thread::sleep_for(1ms);
        outer.request_stop();
    });
    EXPECT_TRUE(run(both(waits(), waits()))->stopped);
    asks.join();
}

// ---- stops ----

/// Stops what never ends otherwise: before it starts, here, and on another thread.
template <class Make> void is_stopped_by_a_token(Make make) {
    context ctx;
    for (const int when : {0, 1, 2}) {
        inplace_stop_source source;
        told<> end;
        auto state = driver::connect(as_sender<words>(ctx, make(ctx)),
                                     noting(end, source.get_token(), nothing));
        if (when == 0)
            source.request_stop();
        state.start();
        std::thread asks;
        if (when == 1)
            source.request_stop();
        else if (when == 2)
            asks = std::thread([&] { source.request_stop(); });
        run_until_told(ctx, end);
        EXPECT_TRUE(end.stopped) << when;
        EXPECT_EQ(end.times, 1);
        if (asks.joinable())
            asks.join();
    }
    ctx.run().value();
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(execution, a_token_stops_an_operation) {
    is_stopped_by_a_token([](context &ctx) { return aio::sleep_for(ctx, 1h); });
}

TEST(execution, a_token_stops_a_task) {
    is_stopped_by_a_token([](context &ctx) {
        return [](context &c) -> task<> { (co_await aio::sleep_for(c, 1h)).value(); }(ctx);
    });
}

TEST(execution, a_token_of_its_own_and_that_of_the_receiver_both_stop_an_operation) {
    inplace_stop_source own;
    is_stopped_by_a_token(
        [&](context &ctx) { return aio::sleep_for(ctx, 1h).cancel_on(own.get_token()); });
    context ctx;
    told<> end;
    std::thread asks([&] { own.request_stop(); });
    sync_wait(ctx, end, as_sender<words>(ctx, aio::sleep_for(ctx, 1h).cancel_on(own.get_token())));
    EXPECT_TRUE(end.stopped);
    asks.join();
}

// ---- schedulers ----

TEST(execution, a_schedule_ends_on_the_context_wherever_it_starts) {
    context ctx;
    const scheduler here(ctx);
    EXPECT_EQ(here, scheduler(ctx));
    const driver::get_completion_scheduler_t<driver::set_value_t> where{};
    EXPECT_EQ(here.schedule().get_env().query(where), here);
    EXPECT_EQ(as_sender<words>(ctx, aio::nop(ctx)).get_env().query(where), here);

    told<> mine;
    sync_wait(ctx, mine, here.schedule());
    EXPECT_EQ(mine.thread, std::this_thread::get_id());

    told<int> from_elsewhere;
    auto state = driver::connect(
        driver::let_value(here.schedule(), [&] { return as_sender<words>(ctx, doubled(ctx, 4)); }),
        noting(from_elsewhere, never_stop_token(), nothing));
    std::thread starts([&] { state.start(); });
    run_until_told(ctx, from_elsewhere);
    starts.join();
    EXPECT_EQ(std::get<0>(from_elsewhere.values.value()), 8);
    EXPECT_EQ(from_elsewhere.thread, std::this_thread::get_id());
}

TEST(execution, a_schedule_inside_a_turn_is_another_turn) {
    context ctx;
    const scheduler here(ctx);
    told<> inner;
    auto state = driver::connect(here.schedule(), noting(inner, never_stop_token(), nothing));
    const auto starts = [&]() -> task<> {
        (co_await aio::nop(ctx)).value();
        state.start();
        EXPECT_EQ(inner.times, 0);
    };
    ctx.run(starts());
    run_until_told(ctx, inner);
    EXPECT_TRUE(inner.values);
}

TEST(execution, a_schedule_that_is_stopped_before_its_turn_is_stopped) {
    context ctx;
    inplace_stop_source source;
    told<> end;
    auto state =
        driver::connect(scheduler(ctx).schedule(), noting(end, source.get_token(), nothing));
    state.start();
    source.request_stop();
    run_until_told(ctx, end);
    EXPECT_TRUE(end.stopped);
}

TEST(execution, many_threads_schedule_and_each_end_is_told_once) {
    context ctx;
    const scheduler here(ctx);
    constexpr int threads_count = 4;
    const int rounds = 1000 / support::slow();
    std::atomic<int> ended = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < threads_count; i++) {
        threads.emplace_back([&] {
            for (int round = 0; round < rounds; round++) {
                told<> end;
                std::atomic<bool> is_over = false;
                auto state = driver::connect(here.schedule(), noting(end, never_stop_token(), [&] {
                                                 ended++;
                                                 is_over = true;
                                                 is_over.notify_one();
                                             }));
                state.start();
                is_over.wait(false);
            }
        });
    }
    while (ended < threads_count * rounds)
        ctx.run_once(10ms).value();
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(ended, threads_count * rounds);
}

TEST(execution, what_was_scheduled_ends_with_the_context) {
    told<> end;
    {
        context ctx;
        const scheduler here(ctx);
        std::optional<decltype(driver::connect(here.schedule(),
                                               noting(end, never_stop_token(), nothing)))>
            state;
        struct connects {
            const scheduler &here;
            told<> &end;
            operator typename decltype(state)::value_type() const {
                return driver::connect(here.schedule(), noting(end, never_stop_token(), nothing));
            }
        };
        state.emplace(connects{here, end});
        state->start();
        ctx = context();
        EXPECT_EQ(end.times, 1);
    }
}

// ---- destruction and memory ----

TEST(execution, what_is_destroyed_while_it_runs_tells_nobody_and_writes_nothing) {
    context ctx;
    auto [a, b] = support::socket_pair();
    int alive = 0;
    const auto receive = [&, b = b](support::counted) -> task<> {
        std::array<char, 8> room;
        static_cast<void>(co_await aio::recv(ctx, b, room));
    };
    told<> end;
    {
        auto room = std::make_unique<std::array<char, 8>>();
        const auto to = [&] { return noting(end, never_stop_token(), nothing); };
        const auto drop = [](auto &&...) {};
        auto operation = driver::connect(
            driver::then(as_sender<words>(ctx, aio::recv(ctx, b, *room)), drop), to());
        auto sleep = driver::connect(as_sender<words>(ctx, aio::sleep_for(ctx, 1h)), to());
        auto started =
            driver::connect(as_sender<words>(ctx, receive(support::counted(alive))), to());
        auto unstarted =
            driver::connect(as_sender<words>(ctx, receive(support::counted(alive))), to());
        auto from_here = driver::connect(scheduler(ctx).schedule(), to());
        auto from_elsewhere = driver::connect(scheduler(ctx).schedule(), to());
        operation.start();
        sleep.start();
        started.start();
        std::thread([&] { from_elsewhere.start(); }).join();
        const auto in_a_turn = [&]() -> task<> {
            (co_await aio::nop(ctx)).value();
            from_here.start();
        };
        ctx.run(in_a_turn());
        EXPECT_EQ(alive, 2);
        end.times = 0; // a schedule may have had its turn
        end.values.reset();
    }
    EXPECT_EQ(alive, 0);
    support::write_text(a, "late");
    ctx.run().value();
    EXPECT_EQ(end.times, 0);
    EXPECT_EQ(ctx.in_flight(), 0u);
    ::close(a);
    ::close(b);
}

TEST(execution, states_allocate_nothing) {
    NEEDS_A_COUNTER;
    context ctx;
    const scheduler here(ctx);
    inplace_stop_source source;
    const auto once = [&]() -> task<long> {
        (co_await aio::nop(ctx)).value(); // in a turn: outside, a schedule is a post
        const long before = support::allocations;
        told<> slept, turned;
        told<int> number;
        const auto token = source.get_token();
        auto a =
            driver::connect(as_sender<words>(ctx, aio::nop(ctx)), noting(slept, token, nothing));
        auto b = driver::connect(here.schedule(), noting(turned, token, nothing));
        auto c =
            driver::connect(as_sender<words>(ctx, doubled(ctx, 1)), noting(number, token, nothing));
        a.start();
        b.start();
        c.start();
        while (number.times == 0 || turned.times == 0 || slept.times == 0)
            (co_await aio::nop(ctx)).value();
        co_return support::allocations - before;
    };
    ctx.run(once());
    ctx.run(once());
    EXPECT_EQ(ctx.run(once()), 0);
}

// ---- senders in tasks ----

TEST(execution, a_task_awaits_a_sender) {
    context ctx;
    const auto asks = [&]() -> task<int> {
        const aio::result<int> number = co_await as_awaitable<words>(driver::then(
            driver::then(as_sender<words>(ctx, doubled(ctx, 3)), [](int n) { return n + 1; }),
            [](int n) { return n * 10; }));
        co_return number.value();
    };
    EXPECT_EQ(ctx.run(asks()), 70);
    const auto plain = [&]() -> task<int> {
        const auto number = co_await as_awaitable(as_sender(ctx, doubled(ctx, 3)));
        (co_await as_awaitable(aio::execution::context_scheduler(ctx).schedule())).value();
        co_return number.value();
    };
    EXPECT_EQ(ctx.run(plain()), 6);
}

using thread_sender = driver::thread_sender<inplace_stop_token>;

TEST(execution, a_task_goes_on_on_its_own_thread_wherever_the_sender_ends) {
    context ctx;
    const auto here = std::this_thread::get_id();
    const auto asks = [&]() -> task<int> {
        int sum = 0;
        for (int i = 0; i < 20; i++) {
            sum += (co_await as_awaitable<words>(thread_sender(i % 2 * 1ms))).value();
            EXPECT_EQ(std::this_thread::get_id(), here);
        }
        co_return sum;
    };
    EXPECT_EQ(ctx.run(asks()), 140);
}

/// Ends as it is told to, inside start().
template <class End, class... Ends> struct at_once {
    using sender_concept = driver::sender_t;
    using completion_signatures = driver::completion_signatures<Ends...>;
    End end;
    template <class R> struct state {
        using operation_state_concept = driver::operation_state_t;
        state(R next, End end) : next(std::move(next)), end(std::move(end)) {}
        state(state &&) = delete;
        void start() & noexcept { std::move(end)(std::move(next)); }
        R next;
        End end;
    };
    template <class R> state<R> connect(R next) && { return {std::move(next), std::move(end)}; }
};
template <class... Ends, class End> at_once<End, Ends...> ending(End end) { return {end}; }

TEST(execution, values_and_errors_of_senders_become_results) {
    using driver::set_error_t;
    using driver::set_value_t;
    context ctx;
    const auto asks = [&]() -> task<> {
        const aio::result<void> none = co_await as_awaitable<words>(
            ending<set_value_t()>([](auto to) { std::move(to).set_value(); }));
        EXPECT_TRUE(none);
        const aio::result<std::tuple<int, std::string>> two =
            co_await as_awaitable<words>(ending<set_value_t(int, std::string)>(
                [](auto to) { std::move(to).set_value(1, "two"); }));
        EXPECT_EQ(two.value(), std::tuple(1, "two"));
        const aio::result<int> code =
            co_await as_awaitable<words>(ending<set_value_t(int), set_error_t(std::errc)>(
                [](auto to) { std::move(to).set_error(std::errc::io_error); }));
        EXPECT_EQ(code.error(), std::errc::io_error);
        const aio::result<void> stopped = co_await as_awaitable<words>(
            ending<driver::set_stopped_t()>([](auto to) { std::move(to).set_stopped(); }));
        EXPECT_EQ(stopped.error(), std::errc::operation_canceled);
        int caught = 0;
        try {
            static_cast<void>(co_await as_awaitable<words>(
                ending<set_error_t(int)>([](auto to) { std::move(to).set_error(42); })));
        } catch (int number) {
            caught = number;
        }
        EXPECT_EQ(caught, 42);
    };
    ctx.run(asks());
}

TEST(execution, a_stop_of_the_strand_reaches_the_sender) {
    context ctx;
    for (const bool at_once : {false, true}) {
        std::optional<aio::result<void>> ours;
        std::optional<aio::result<int>> other;
        aio::scope work(ctx);
        const auto runs = []<class T>(auto sender, std::optional<aio::result<T>> &to) -> task<> {
            to = co_await as_awaitable<words>(std::move(sender));
        };
        work.spawn(runs(as_sender<words>(ctx, aio::sleep_for(ctx, 1h)), ours));
        work.spawn(runs(thread_sender(1h), other));
        if (!at_once)
            ctx.run_once(1ms).value();
        work.request_stop();
        while (!ours || !other)
            ctx.run_once(10ms).value();
        EXPECT_EQ(ours->error(), std::errc::operation_canceled);
        EXPECT_EQ(other->error(), std::errc::operation_canceled);
    }
}

TEST(execution, destroying_a_task_ends_the_sender_that_it_awaits) {
    context ctx;
    int alive = 0;
    const auto runs = [&](auto sender, support::counted) -> task<> {
        static_cast<void>(co_await as_awaitable<words>(std::move(sender)));
        ADD_FAILURE() << "it went on";
    };
    for (int round = 0; round < 20; round++) {
        aio::scope work(ctx);
        work.spawn(runs(as_sender<words>(ctx, aio::sleep_for(ctx, 1h)), support::counted(alive)));
        work.spawn(runs(thread_sender(1h), support::counted(alive)));
        work.spawn(runs(thread_sender(1ms), support::counted(alive))); // may have ended already
        EXPECT_EQ(alive, 3);
    }
    EXPECT_EQ(alive, 0);
    ctx.run().value();
    EXPECT_EQ(ctx.in_flight(), 0u);
}

} // namespace
