/* Section time: timers, absolute timers, intervals, and the deadline that every operation may have.
 * Lateness is never asserted; earliness always is. */
#include "harness.h"

#include <poll.h>
#include <sys/eventfd.h>

TEST(a_timer_fires_with_zero_and_not_early) {
    aio_ctx *ctx = make_ctx();
    const uint64_t delays[] = {0, 1, 999, 1000, 199999, 200000, 200001, MS, 7 * MS, 50 * MS};
    for (int i = 0; i < COUNT_OF(delays); i++) {
        struct call call = {.result = -1};
        const uint64_t start = now_ns();
        ID(aio_submit_timer(ctx, delays[i], NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 0);
        CHECK_EQ(call.flags, 0);
        CHECK_GE(call.at_ns - start, delays[i]);
    }
    end_ctx(ctx);
}

struct planned {
    struct call call;
    uint64_t due_ns;
};

TEST(thousands_of_random_timers_fire_once_and_never_early) {
    aio_ctx *ctx = make_ctx();
    uint64_t random = test_seed();
    enum { COUNT = 5000 };
    static struct planned timers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        /* Over many orders of magnitude, so that every level of a wheel is used. */
        const uint64_t bound = 1000ull << random_below(&random, 20);
        const uint64_t delay = random_below(&random, bound);
        timers[i].due_ns = now_ns() + delay;
        ID(aio_submit_timer(ctx, delay, NULL, on_call, &timers[i].call));
        if (i % 64 == 0)
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(timers[i].call.calls, 1);
        CHECK_EQ(timers[i].call.result, 0);
        CHECK_GE(timers[i].call.at_ns, timers[i].due_ns);
    }
    end_ctx(ctx);
}

/* Each counts from its own submit, between which any time may pass. */
TEST(timers_well_apart_fire_in_the_order_of_their_times) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    struct call calls[8];
    uint64_t earliest[8], latest[8];
    for (int i = 0; i < 8; i++) { /* submitted in another order than they are due */
        const int rank = (i * 5) % 8;
        const uint64_t after_ns = (uint64_t)(10 + rank * 5) * MS;
        calls[i] = (struct call){.order = &order, .tag = rank};
        earliest[rank] = now_ns() + after_ns;
        ID(aio_submit_timer(ctx, after_ns, NULL, on_call, &calls[i]));
        latest[rank] = now_ns() + after_ns;
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 8);
    for (int i = 1; i < 8; i++)
        CHECK_LT(earliest[order.tags[i - 1]], latest[order.tags[i]] + MS);
    end_ctx(ctx);
}

TEST(a_timer_of_the_largest_value_never_fires) {
    aio_ctx *ctx = make_ctx();
    struct call after = {0}, at = {0}, period = {0}, soon = {0};
    ID(aio_submit_timer(ctx, UINT64_MAX, NULL, on_call, &after));
    ID(aio_submit_timer_at(ctx, UINT64_MAX, NULL, on_call, &at));
    ID(aio_submit_interval(ctx, UINT64_MAX, NULL, on_call, &period));
    ID(aio_submit_timer(ctx, 20 * MS, NULL, on_call, &soon));
    CHECK_EQ(await_call(ctx, &soon), 0);
    CHECK_EQ(after.calls + at.calls + period.calls, 0);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 3);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(after.result, -ECANCELED);
    CHECK_EQ(at.result, -ECANCELED);
    CHECK_EQ(period.result, -ECANCELED);
    end_ctx(ctx);
}

static void stall_then_submit(struct call *call) {
    struct planned *next = call->arg;
    sleep_ms(30); /* whatever time the engine remembers is now stale */
    next->due_ns = now_ns() + 10 * MS;
    ID(aio_submit_timer(call->ctx, 10 * MS, NULL, on_call, &next->call));
}

TEST(a_timer_set_after_a_slow_callback_is_not_early) {
    aio_ctx *ctx = make_ctx();
    struct planned next = {0};
    struct call first = {.then = stall_then_submit, .arg = &next};
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &first));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(next.call.finals, 1);
    CHECK_GE(next.call.at_ns, next.due_ns);
    end_ctx(ctx);
}

TEST(a_timer_set_after_an_idle_pause_is_not_early) {
    aio_ctx *ctx = make_ctx();
    struct call warm = {0}, call = {0};
    ID(aio_submit_timer(ctx, 0, NULL, on_call, &warm));
    CHECK_EQ(await_call(ctx, &warm), 0);
    sleep_ms(40);
    const uint64_t start = now_ns();
    ID(aio_submit_timer(ctx, 15 * MS, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_GE(call.at_ns - start, 15 * MS);
    end_ctx(ctx);
}

TEST(timers_that_came_due_during_a_pause_all_fire) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 300 };
    static int fired;
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_timer(ctx, (uint64_t)i * 100000, NULL, on_call_count, &fired));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    sleep_ms(60);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(fired, COUNT);
    end_ctx(ctx);
}

static void chain_timer(struct call *call) {
    int *left = call->arg;
    if (--*left > 0) {
        call->finals = 0;
        ID(aio_submit_timer(call->ctx, 0, NULL, on_call, call));
    }
}

TEST(a_timer_of_zero_set_in_its_own_callback_does_not_stop_other_work) {
    aio_ctx *ctx = make_ctx();
    int left = 2000, nops = 0;
    struct call timer = {.then = chain_timer, .arg = &left};
    ID(aio_submit_timer(ctx, 0, NULL, on_call, &timer));
    for (int i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &nops));
    RUN_UNTIL(ctx, nops == 100);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(left, 0);
    end_ctx(ctx);
}

TEST(a_coarser_resolution_is_granted_and_still_not_early) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.timer_resolution_ns = 10 * MS));
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    CHECK_GT(info.timer_resolution_ns, 200000);
    CHECK_LE(info.timer_resolution_ns, 10 * MS);
    for (uint64_t delay = MS / 2; delay < 30 * MS; delay += 4 * MS) {
        struct call call = {0};
        const uint64_t start = now_ns();
        ID(aio_submit_timer(ctx, delay, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 0);
        CHECK_GE(call.at_ns - start, delay);
    }
    end_ctx(ctx);
}

TEST(timer_at_is_the_monotonic_clock) {
    aio_ctx *ctx = make_ctx();
    struct call future = {0}, past = {0}, zero = {0};
    const uint64_t at = now_ns() + 20 * MS;
    ID(aio_submit_timer_at(ctx, at, NULL, on_call, &future));
    ID(aio_submit_timer_at(ctx, at - 3000 * MS, NULL, on_call, &past));
    ID(aio_submit_timer_at(ctx, 0, NULL, on_call, &zero));
    RUN_UNTIL(ctx, past.finals && zero.finals);
    CHECK_EQ(past.result, 0);
    CHECK_EQ(zero.result, 0);
    CHECK_EQ(await_call(ctx, &future), 0);
    CHECK_GE(future.at_ns, at);
    end_ctx(ctx);
}

/* --- intervals ------------------------------------------------------------------------------- */

TEST(an_interval_calls_back_for_each_period_with_more) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const uint64_t start = now_ns();
    const aio_op_id id = ID(aio_submit_interval(ctx, 3 * MS, NULL, on_call, &call));
    for (int i = 1; i <= 6; i++) {
        RUN_UNTIL(ctx, call.calls >= i);
        CHECK_EQ(call.calls, i);
        CHECK_GE(call.result, 1);
        CHECK_EQ(call.flags, AIO_CQE_MORE);
        CHECK_GE(call.at_ns - start, (uint64_t)call.sum * 3 * MS); /* no period counted early */
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.calls, 7);
    end_ctx(ctx);
}

static void sleep_once(struct call *call) {
    if (call->calls == 1)
        sleep_ms(40);
}

TEST(an_interval_counts_the_periods_that_a_slow_callback_missed) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = sleep_once};
    const uint64_t start = now_ns();
    ID(aio_submit_interval(ctx, 2 * MS, NULL, on_call, &call));
    RUN_UNTIL(ctx, call.calls >= 2);
    CHECK_GE(call.result, 19); /* in one callback, not in twenty */
    CHECK_GE(call.at_ns - start, (uint64_t)call.sum * 2 * MS);
    end_ctx(ctx);
}

static void cancel_own(struct call *call) {
    if (call->calls == 3)
        CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), 0);
}

TEST(an_interval_is_cancelled_in_its_own_callback) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = cancel_own};
    ID(aio_submit_interval(ctx, MS, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.calls, 4);
    CHECK_EQ(call.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(an_interval_of_zero_is_refused) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_submit_interval(ctx, 0, NULL, on_call_never, NULL), -EINVAL);
    end_ctx(ctx);
}

/* --- deadlines ------------------------------------------------------------------------------- */

TEST(a_deadline_ends_an_operation_that_waits_and_not_early) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    const uint64_t timeouts[] = {1, 200000, 5 * MS, 30 * MS};
    for (int i = 0; i < COUNT_OF(timeouts); i++) {
        struct call call = {0};
        char byte = 0;
        const uint64_t start = now_ns();
        ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, WITH(.timeout_ns = timeouts[i]), on_call,
                           &call));
        CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
        CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
        CHECK_EQ(call.calls, 1);
        CHECK_GE(call.at_ns - start, timeouts[i]);
    }
    end_ctx(ctx);
}

TEST(a_deadline_that_is_not_reached_leaves_no_trace) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < 200; i++) {
        struct call call = {0};
        char byte = 0;
        ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, WITH(.timeout_ns = HOUR), on_call, &call));
        write_all_or_fail(pair[1], "x", 1);
        CHECK_EQ(await_call(ctx, &call), 1);
        CHECK_EQ(call.flags & AIO_CQE_DEADLINE, 0);
    }
    CHECK_EQ(stats_of(ctx).deadlines, 0);
    CHECK_EQ(aio_ctx_next_timeout_ns(ctx), -1);
    end_ctx(ctx);
}

TEST(the_largest_deadline_is_no_deadline) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call call = {0};
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, WITH(.timeout_ns = UINT64_MAX), on_call, &call));
    check_blocked(ctx, &call);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    end_ctx(ctx);
}

static void stall_then_recv(struct call *call) {
    static char byte;
    struct planned *next = ((void **)call->arg)[0];
    const int fd = *((int **)call->arg)[1];
    sleep_ms(30);
    next->due_ns = now_ns() + 10 * MS;
    ID(aio_submit_recv(call->ctx, fd, &byte, 1, 0, WITH(.timeout_ns = 10 * MS), on_call,
                       &next->call));
}

TEST(a_deadline_set_after_a_slow_callback_is_not_early) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct planned next = {0};
    void *args[] = {&next, &pair[0]};
    struct call first = {.then = stall_then_recv, .arg = args};
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &first));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(next.call.result, -ETIMEDOUT);
    CHECK_GE(next.call.at_ns, next.due_ns);
    end_ctx(ctx);
}

TEST(a_timer_with_a_deadline_before_it_times_out) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const uint64_t start = now_ns();
    ID(aio_submit_timer(ctx, HOUR, WITH(.timeout_ns = 3 * MS), on_call, &call));
    CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    CHECK_GE(call.at_ns - start, 3 * MS);
    end_ctx(ctx);
}

TEST(a_multishot_ends_at_its_deadline_although_events_come) {
    aio_ctx *ctx = make_ctx();
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    struct call call = {0}, tick = {0};
    const uint64_t start = now_ns(), timeout = 80 * MS * test_slow();
    ID(aio_submit_poll_multishot(ctx, fd, POLLIN, WITH(.timeout_ns = timeout), on_call, &call));
    ID(aio_submit_interval(ctx, 5 * MS, NULL, on_call, &tick));
    int ticks = 0;
    while (!call.finals) {
        RUN_UNTIL(ctx, tick.calls > ticks || call.finals);
        ticks = tick.calls;
        uint64_t value = 1;
        if (!call.finals)
            CHECK_EQ(write(fd, &value, sizeof value), (int64_t)sizeof value);
    }
    CHECK_EQ(call.result, -ETIMEDOUT);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    CHECK_GE(call.at_ns - start, timeout);
    CHECK_GT(call.calls, 1);
    end_ctx(ctx);
    close(fd);
}

/* Events every tenth of the idle time keep the operation alive past it; then silence ends it. On a
 * machine that stood still for half of the idle time a round proves nothing: the next one takes
 * twice as long. */
TEST(timeout_idle_counts_from_the_newest_event) {
    aio_ctx *ctx = make_ctx();
    const uint64_t end = patience_end_ns();
    for (uint64_t idle = 200 * MS * test_slow();; idle *= 2) {
        CHECK_LT(now_ns(), end);
        const int fd = SYS(eventfd(0, EFD_CLOEXEC));
        struct call call = {0};
        ID(aio_submit_poll_multishot(ctx, fd, POLLIN,
                                     WITH(.flags = AIO_SUBMIT_TIMEOUT_IDLE, .timeout_ns = idle),
                                     on_call, &call));
        bool stalled = false;
        for (int i = 1; i <= 15 && !stalled; i++) {
            const uint64_t start = now_ns();
            struct call pause = {0};
            ID(aio_submit_timer(ctx, idle / 10, NULL, on_call, &pause));
            CHECK_EQ(await_call(ctx, &pause), 0);
            uint64_t value = 1;
            CHECK_EQ(write(fd, &value, sizeof value), (int64_t)sizeof value);
            RUN_UNTIL(ctx, call.calls >= i || call.finals);
            CHECK_EQ(read(fd, &value, sizeof value), (int64_t)sizeof value);
            stalled = now_ns() - start > idle / 2;
        }
        if (!stalled) {
            CHECK_EQ(call.calls, 15);
            CHECK_EQ(call.finals, 0);
            const uint64_t newest = call.at_ns;
            CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
            CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
            /* The event was seen by the engine a little before the callback noted the time. */
            CHECK_GE(call.at_ns - newest, idle - idle / 4);
            break;
        }
        await_call(ctx, &call);
        close(fd);
    }
    end_ctx(ctx);
}

TEST(many_deadlines_among_traffic_each_expire_or_not) {
    aio_ctx *ctx = make_ctx();
    uint64_t random = test_seed();
    enum { COUNT = 200 };
    static struct planned calls[COUNT];
    static char bytes[COUNT];
    int pairs[COUNT][2], expired = 0, received = 0;
    for (int i = 0; i < COUNT; i++)
        make_socket_pair(pairs[i]);
    for (int round = 0; round < scaled(20); round++) {
        for (int i = 0; i < COUNT; i++) {
            const uint64_t timeout = 1 + random_below(&random, 4 * MS);
            calls[i] = (struct planned){.due_ns = now_ns() + timeout};
            ID(aio_submit_recv(ctx, pairs[i][0], &bytes[i], 1, 0, WITH(.timeout_ns = timeout),
                               on_call, &calls[i].call));
        }
        for (int i = 0; i < COUNT; i++) {
            if (random_next(&random) & 1)
                write_all_or_fail(pairs[i][1], "x", 1);
            if (i % 16 == 0)
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
        CHECK_EQ(aio_ctx_run(ctx), 0);
        for (int i = 0; i < COUNT; i++) {
            const struct call *call = &calls[i].call;
            CHECK_EQ(call->calls, 1);
            if (call->result == 1) {
                CHECK_EQ(call->flags & AIO_CQE_DEADLINE, 0);
                received++;
            } else {
                CHECK_EQ(call->result, -ETIMEDOUT);
                CHECK_EQ(call->flags, AIO_CQE_DEADLINE);
                CHECK_GE(call->at_ns, calls[i].due_ns);
                char late;
                while (recv(pairs[i][0], &late, 1, MSG_DONTWAIT) > 0)
                    continue;
                expired++;
            }
        }
    }
    CHECK_GT(expired, 0);
    CHECK_GT(received, 0);
    end_ctx(ctx);
}

/* Messages from one end of a pair to the other and one receive at a time, inside one run, until
 * there were `rounds`; then one more receive, which waits in vain. */
struct exchange {
    aio_ctx *ctx;
    int pair[2], rounds, halved, received, sent;
    uint64_t until_ns, timeout_ns, last_timeout_ns, due_ns, ended_ns;
    int32_t result;
    uint32_t flags;
    char byte;
};

static void on_exchange_sent(void *user_data, int32_t result, uint32_t flags) {
    struct exchange *x = user_data;
    CHECK_EQ(result, 1);
    CHECK_EQ(flags, 0);
    x->sent++;
}

static void on_exchange(void *user_data, int32_t result, uint32_t flags) {
    struct exchange *x = user_data;
    if (result != 1) {
        x->result = result;
        x->flags = flags;
        x->ended_ns = now_ns();
        return;
    }
    const bool is_last = ++x->received > x->rounds && now_ns() >= x->until_ns;
    if (x->halved && x->received % x->halved == 0)
        x->timeout_ns /= 2;
    const uint64_t timeout_ns = is_last ? x->last_timeout_ns : x->timeout_ns;
    x->due_ns = now_ns() + timeout_ns;
    ID(aio_submit_recv(x->ctx, x->pair[0], &x->byte, 1, 0, WITH(.timeout_ns = timeout_ns),
                       on_exchange, x));
    if (!is_last)
        ID(aio_submit_send(x->ctx, x->pair[1], "x", 1, 0, NULL, on_exchange_sent, x));
}

static void run_exchange(struct exchange *x) {
    make_socket_pair(x->pair);
    ID(aio_submit_recv(x->ctx, x->pair[0], &x->byte, 1, 0, NULL, on_exchange, x));
    write_all_or_fail(x->pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run(x->ctx), 0);
    CHECK_GT(x->received, x->rounds);
    CHECK_EQ(x->received, x->sent + 1);
    CHECK_EQ(x->result, -ETIMEDOUT);
    CHECK_EQ(x->flags, AIO_CQE_DEADLINE);
    CHECK_GE(x->ended_ns, x->due_ns);
    CHECK_EQ(stats_of(x->ctx).deadlines, 1);
}

static void check_exchange(struct exchange exchange) {
    exchange.ctx = make_ctx();
    run_exchange(&exchange);
    end_ctx(exchange.ctx);
}

TEST(a_deadline_passes_after_many_that_were_later_and_did_not) {
    check_exchange((struct exchange){.rounds = 200, .timeout_ns = HOUR, .last_timeout_ns = 5 * MS});
}

TEST(a_deadline_passes_after_many_that_were_earlier_each_time) {
    check_exchange((struct exchange){
        .rounds = 150, .timeout_ns = HOUR, .halved = 12, .last_timeout_ns = 5 * MS});
}

/* None of them passes: the message is sent in the same turn. */
TEST(deadlines_that_would_have_passed_by_now_disturb_nobody) {
    const uint64_t timeout_ns = 50 * MS * test_slow();
    check_exchange((struct exchange){.rounds = 200,
                                     .until_ns = now_ns() + 3 * timeout_ns,
                                     .timeout_ns = timeout_ns,
                                     .last_timeout_ns = timeout_ns});
}

TEST(a_timer_fires_among_operations_whose_deadlines_do_not_pass) {
    struct exchange exchange = {.ctx = make_ctx(),
                                .rounds = 200,
                                .until_ns = now_ns() + 40 * MS,
                                .timeout_ns = HOUR,
                                .last_timeout_ns = 5 * MS};
    struct call timer = {.result = -1};
    const uint64_t start = now_ns();
    ID(aio_submit_timer(exchange.ctx, 20 * MS, NULL, on_call, &timer));
    run_exchange(&exchange);
    CHECK_EQ(timer.result, 0);
    CHECK_GE(timer.at_ns - start, 20 * MS);
    CHECK_LE(timer.at_ns, exchange.ended_ns);
    end_ctx(exchange.ctx);
}

HARNESS_MAIN
