/* Section ctx, the part on cancelling: by id, descriptor, group and all; at every phase of an
 * operation's life; and what becomes of things that arrive for somebody who no longer waits. */
#include "harness.h"

#include <poll.h>
#include <sys/uio.h>

/* --- by id ----------------------------------------------------------------------------------- */

TEST(a_blocked_operation_ends_with_ecanceled_once) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 'u';
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(call.calls, 0); /* asked for; the end comes from the loop */
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.flags, 0); /* you cancelled: not AIO_CQE_ABORTED, no AIO_CQE_DEADLINE */
    run_for_ms(ctx, 10);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(byte, 'u');
    write_all_or_fail(pair[1], "d", 1);
    sleep_ms(5);
    CHECK_EQ(byte, 'u');               /* the kernel no longer writes there */
    CHECK(is_readable(pair[0], 1000)); /* and ate nothing */
    end_ctx(ctx);
}

TEST(a_second_cancel_is_ealready) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call recv = {0}, timer = {0};
    const aio_op_id a = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    const aio_op_id b = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    check_blocked(ctx, &recv);
    CHECK_EQ(aio_ctx_cancel(ctx, a), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, a), -EALREADY);
    CHECK_EQ(aio_ctx_cancel(ctx, b), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, b), -EALREADY);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(timer.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(an_id_whose_operation_has_ended_is_enoent) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, other = {0};
    const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, id), -ENOENT);
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &other)); /* may take over the slot */
    CHECK_EQ(aio_ctx_cancel(ctx, id), -ENOENT);
    CHECK_EQ(await_call(ctx, &other), 0);
    end_ctx(ctx);
}

TEST(ids_of_other_contexts_and_invented_ones_are_enoent) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    struct call call = {0}, mine = {0};
    const aio_op_id foreign = ID(aio_submit_timer(other, HOUR, NULL, on_call, &call));
    const aio_op_id own = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &mine));
    CHECK_EQ(aio_ctx_cancel(ctx, foreign), -ENOENT);
    const aio_op_id invented[] = {
        0, -1, 1, INT64_MAX, INT64_MIN, own ^ (1ll << 24), own ^ 1, own | INT64_MIN};
    for (int i = 0; i < COUNT_OF(invented); i++) {
        const int32_t status = aio_ctx_cancel(ctx, invented[i]);
        CHECK(status == -ENOENT || (invented[i] <= 0 && status == -EINVAL));
    }
    run_for_ms(ctx, 5);
    CHECK_EQ(call.calls + mine.calls, 0);
    end_ctx(ctx);
    end_ctx(other);
}

TEST(an_operation_that_was_never_handed_over_is_cancelled_too) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call recv = {0}, poll = {0};
    const aio_op_id a = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    const aio_op_id b = ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &poll));
    CHECK_EQ(aio_ctx_cancel(ctx, a), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, b), 0);
    CHECK_EQ(recv.calls + poll.calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.calls, 1);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(poll.calls, 1);
    CHECK_EQ(poll.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(an_operation_that_had_succeeded_keeps_its_result) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < scaled(200); i++) {
        char byte = 0;
        struct call call = {0};
        const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        write_all_or_fail(pair[1], "r", 1);
        const int32_t status = aio_ctx_cancel(ctx, id); /* the byte may be there before it */
        CHECK(status == 0 || status == -EALREADY);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(call.calls, 1);
        if (call.result == 1) {
            CHECK_EQ(byte, 'r');
        } else {
            CHECK_EQ(call.result, -ECANCELED);
            CHECK_EQ(byte, 0);
            CHECK_EQ(read(pair[0], &byte, 1), 1); /* never lost */
        }
    }
    end_ctx(ctx);
}

TEST(a_write_that_waits_is_cancelled_and_its_memory_is_free) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    fill_until_full(pipe_fds[1]);
    struct call call = {0};
    char *text = malloc(5);
    memcpy(text, "late!", 5);
    const aio_op_id id =
        ID(aio_submit_write(ctx, pipe_fds[1], text, 5, AIO_OFFSET_CURRENT, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    free(text);
    char bytes[4096];
    while (is_readable(pipe_fds[0], 20)) { /* zeros filled it; the text must not be behind them */
        const ssize_t count = read(pipe_fds[0], bytes, sizeof bytes);
        for (ssize_t i = 0; i < count; i++)
            CHECK_EQ(bytes[i], 0);
    }
    end_ctx(ctx);
}

TEST(an_operation_on_a_worker_is_cancelled) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    for (int i = 0; i < scaled(50); i++) {
        char byte = 0;
        struct call call = {0};
        const aio_op_id id = ID(aio_submit_read(ctx, pipe_fds[0], &byte, 1, AIO_OFFSET_CURRENT,
                                                WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &call));
        run_for_ms(ctx, (unsigned)(i % 3)); /* not started, just started, surely running */
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        CHECK_EQ(await_call(ctx, &call), -ECANCELED); /* never -EINTR or -EALREADY */
        CHECK_EQ(call.calls, 1);
    }
    end_ctx(ctx);
}

static void cancel_other(struct call *call) {
    CHECK_EQ(aio_ctx_cancel(call->ctx, *(aio_op_id *)call->arg), 0);
}

TEST(a_callback_cancels_another_operation) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0};
    aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    struct call call = {.then = cancel_other, .arg = &id};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(timer.result, -ECANCELED);
    end_ctx(ctx);
}

static void cancel_self(struct call *call) {
    if (call->calls == 1)
        CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), 0);
}

TEST(a_multishot_is_cancelled_in_its_own_callback) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call call = {.then = cancel_self};
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &call));
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.result, -ECANCELED);
    end_ctx(ctx);
}

/* --- timers ---------------------------------------------------------------------------------- */

TEST(a_cancelled_timer_is_known_as_such_before_its_callback) {
    aio_ctx *ctx = make_ctx();
    struct call calls[3] = {{0}}, held = {0};
    aio_op_id ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &calls[i]));
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &held));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(aio_ctx_cancel(ctx, ids[i]), 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 4);
    char text[2048] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    int named = 0;
    for (const char *at = text; (at = strstr(at, "cancelled")) != NULL; at++)
        named++;
    CHECK_EQ(named, 3);
    CHECK_EQ(aio_ctx_cancel(ctx, ids[0]), -EALREADY);
    CHECK_EQ(aio_ctx_detach(ctx, ids[1]), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, ids[2]), 0);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls[0].calls, 1);
    CHECK_EQ(calls[0].result, -ECANCELED);
    CHECK_EQ(calls[0].id, ids[0]);
    CHECK_EQ(calls[1].calls, 0);
    CHECK_EQ(calls[2].calls, 0);
    CHECK_EQ(held.result, -ECANCELED);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(aio_ctx_cancel(ctx, ids[i]), -ENOENT);
    end_ctx(ctx);
}

TEST(destroy_tells_a_cancelled_timer_from_one_that_it_ends_itself) {
    aio_ctx *ctx = make_ctx();
    struct call cancelled = {0}, armed = {0};
    const aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &cancelled));
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &armed));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    end_ctx(ctx);
    CHECK_EQ(cancelled.result, -ECANCELED);
    CHECK_EQ(cancelled.flags, 0);
    CHECK_EQ(armed.result, -ECANCELED);
    CHECK_EQ(armed.flags, AIO_CQE_ABORTED);
}

static void *arm_and_cancel_one(void *arg) {
    struct call *call = arg;
    const aio_op_id id = ID(aio_submit_timer(call->ctx, HOUR, NULL, on_call, call));
    CHECK_EQ(aio_ctx_cancel(call->ctx, id), 0);
    return NULL;
}

TEST(an_orphans_cancelled_timer_calls_back_once) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.ctx = ctx};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, arm_and_cancel_one, &call), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.result, -ECANCELED);
}

enum { VARIOUS = 48 };

/* Timers of all kinds, and what is to become of each. */
struct various {
    aio_ctx *ctx;
    uint64_t random;
    struct timer {
        enum { ENDED, ARMED, CANCELLED, FORGOTTEN } state;
        aio_op_id id;
    } timers[VARIOUS];
    int calls;
};

static struct various various;

static void on_various(void *user_data, int32_t result, uint32_t flags) {
    struct timer *timer = user_data;
    various.calls++;
    CHECK_EQ(result, -ECANCELED);
    CHECK(timer->state == CANCELLED || timer->state == ARMED);
    CHECK_EQ(flags, timer->state == ARMED ? AIO_CQE_ABORTED : 0);
    CHECK_EQ(aio_ctx_current_op(aio_ctx_current()), timer->id);
    timer->state = ENDED;
}

static void arm_various(struct timer *timer) {
    const uint64_t after = HOUR + random_below(&various.random, HOUR);
    const aio_submit_options *options[] = {
        NULL, NULL, WITH(.group = 7), WITH(.flags = AIO_SUBMIT_QUIET), WITH(.timeout_ns = HOUR)};
    const aio_submit_options *with = options[random_below(&various.random, COUNT_OF(options))];
    switch (random_below(&various.random, 8)) {
    case 0:
        timer->id = ID(aio_submit_interval(various.ctx, after, with, on_various, timer));
        break;
    case 1:
        timer->id = ID(aio_submit_timer_at(various.ctx, now_ns() + after, with, on_various, timer));
        break;
    default:
        timer->id = ID(aio_submit_timer(various.ctx, after, with, on_various, timer));
    }
    timer->state = ARMED;
}

static void end_various(struct timer *timer) {
    const bool is_known = timer->state == ARMED || timer->state == CANCELLED;
    switch (random_below(&various.random, 8)) {
    case 0:
        CHECK_EQ(aio_ctx_detach(various.ctx, timer->id), is_known ? 0 : -ENOENT);
        timer->state = is_known ? FORGOTTEN : timer->state;
        break;
    case 1:
        CHECK_EQ(aio_ctx_cancel_wait(various.ctx, timer->id), is_known ? 0 : -ENOENT);
        timer->state = is_known ? ENDED : timer->state;
        break;
    default:
        CHECK_EQ(aio_ctx_cancel(various.ctx, timer->id), timer->state == ARMED       ? 0
                                                         : timer->state == CANCELLED ? -EALREADY
                                                                                     : -ENOENT);
        timer->state = timer->state == ARMED ? CANCELLED : timer->state;
    }
}

static void step_various(void *arg) {
    (void)arg;
    for (uint64_t i = random_below(&various.random, 20); i > 0; i--) {
        struct timer *timer = &various.timers[random_below(&various.random, VARIOUS)];
        if (timer->id != 0 && (timer->state != ENDED || random_below(&various.random, 4) == 0))
            end_various(timer);
        else if (timer->state == ENDED)
            arm_various(timer);
    }
    if (random_below(&various.random, 50) == 0) {
        int armed = 0;
        for (int i = 0; i < VARIOUS; i++)
            if (various.timers[i].state == ARMED) {
                various.timers[i].state = CANCELLED;
                armed++;
            }
        const int32_t asked = aio_ctx_cancel_all(various.ctx); /* perhaps a barrier too */
        CHECK_GE(asked, armed);
        CHECK_LE(asked, armed + 1);
    }
}

static void on_barrier(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    CHECK(result == 0 || result == -ECANCELED);
    ++*(int *)user_data;
}

TEST(cancelled_timers_end_once_however_they_were_armed_and_whatever_comes_between) {
    various = (struct various){.ctx = make_ctx(), .random = test_seed()};
    int barriers = 0, passed = 0;
    for (int step = 0; step < scaled(4000); step++) {
        if (random_below(&various.random, 2))
            CHECK_EQ(aio_ctx_post(various.ctx, step_various, NULL), 0);
        else
            step_various(NULL);
        if (random_below(&various.random, 100) == 0 && barriers == passed) {
            ID(aio_submit_nop(various.ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_barrier, &passed));
            barriers++;
        }
        CHECK_GE(aio_ctx_run_once(various.ctx, 0), 0);
        for (int i = 0; i < VARIOUS; i++)
            if (various.timers[i].state == FORGOTTEN && random_below(&various.random, 2) &&
                aio_ctx_cancel(various.ctx, various.timers[i].id) == -ENOENT)
                various.timers[i].state = ENDED;
    }
    CHECK_GT(various.calls, 0);
    end_ctx(various.ctx);
    for (int i = 0; i < VARIOUS; i++)
        CHECK(various.timers[i].state == ENDED || various.timers[i].state == FORGOTTEN);
    CHECK_EQ(passed, barriers);
}

/* --- by descriptor, and all ------------------------------------------------------------------ */

TEST(cancel_fd_ends_what_uses_the_number_and_says_how_many) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char bytes[3] = {0};
    struct call mine[3], other = {0}, timer = {0};
    memset(mine, 0, sizeof mine);
    ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &mine[0]));
    ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &mine[1]));
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &mine[2]));
    ID(aio_submit_recv(ctx, pair[1], &bytes[1], 1, 0, NULL, on_call, &other));
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    check_blocked(ctx, &mine[0]);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, pair[0], 0), 3);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, pair[0], 0), 0);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 9999, 0), 0);
    RUN_UNTIL(ctx, mine[0].finals && mine[1].finals && mine[2].finals);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(mine[i].result, -ECANCELED);
    run_for_ms(ctx, 5);
    CHECK_EQ(other.calls + timer.calls, 0);
    end_ctx(ctx);
}

TEST(cancel_fd_leaves_a_duplicate_alone) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    const int copy = SYS(dup(pair[0]));
    char a = 0, b = 0;
    struct call first = {0}, second = {0};
    ID(aio_submit_recv(ctx, pair[0], &a, 1, 0, NULL, on_call, &first));
    ID(aio_submit_recv(ctx, copy, &b, 1, 0, NULL, on_call, &second));
    check_blocked(ctx, &first);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, pair[0], 0), 1);
    CHECK_EQ(await_call(ctx, &first), -ECANCELED);
    check_blocked(ctx, &second);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &second), 1);
    end_ctx(ctx);
}

TEST(cancel_fd_finds_both_descriptors_of_a_splice) {
    for (int side = 0; side < 2; side++) {
        aio_ctx *ctx = make_ctx();
        int from[2], to[2];
        make_pipe(from);
        make_pipe(to);
        struct call call = {0};
        ID(aio_submit_splice(ctx, from[0], AIO_OFFSET_CURRENT, to[1], AIO_OFFSET_CURRENT, 10, 0,
                             NULL, on_call, &call));
        check_blocked(ctx, &call);
        CHECK_EQ(aio_ctx_cancel_fd(ctx, side ? to[1] : from[0], 0), 1);
        CHECK_EQ(await_call(ctx, &call), -ECANCELED);
        end_ctx(ctx);
    }
}

TEST(cancel_fd_finds_operations_that_were_not_handed_over) {
    aio_ctx *ctx = make_ctx();
    int pair[2], calls = 0;
    make_socket_pair(pair);
    for (int i = 0; i < 20; i++)
        ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_cancel_fd(ctx, pair[0], 0), 20);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 20);
    end_ctx(ctx);
}

TEST(cancel_all_ends_everything_and_says_how_much) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    char bytes[2] = {0};
    struct call c[5];
    memset(c, 0, sizeof c);
    ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &c[0]));
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &c[1]));
    ID(aio_submit_read(ctx, pipe_fds[0], &bytes[1], 1, AIO_OFFSET_CURRENT,
                       WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &c[2]));
    ID(aio_submit_interval(ctx, HOUR, NULL, on_call, &c[3]));
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &c[4]));
    check_blocked(ctx, &c[0]);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 5);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 0);
    CHECK_EQ(c[0].calls + c[1].calls + c[2].calls + c[3].calls + c[4].calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(c[i].calls, 1);
        CHECK_EQ(c[i].result, -ECANCELED);
    }
    struct call after = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &after)); /* what comes later is not meant */
    CHECK_EQ(await_call(ctx, &after), 0);
    end_ctx(ctx);
}

TEST(nine_thousand_receives_are_cancelled_once_each) {
    aio_ctx *ctx = make_ctx();
    int pair[2], calls = 0;
    make_socket_pair(pair);
    static char bytes[9000];
    const int count = scaled(9000);
    for (int i = 0; i < count; i++)
        ID(aio_submit_recv(ctx, pair[0], &bytes[i], 1, 0, NULL, on_call_count, &calls));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, pair[0], 0), count);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, count);
    end_ctx(ctx);
}

/* --- what arrives for nobody ----------------------------------------------------------------- */

TEST(a_connection_that_raced_with_the_cancel_is_delivered_or_closed) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    for (int i = 0; i < scaled(200); i++) {
        struct call call = {0};
        const aio_op_id id =
            ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &call));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        const int client = tcp_connect_to(&addr);
        const int32_t status = aio_ctx_cancel(ctx, id);
        CHECK(status == 0 || status == -EALREADY);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(call.calls, 1);
        if (call.result >= 0)
            close(call.result);
        else
            CHECK_EQ(call.result, -ECANCELED);
        close(client);
        if (call.result < 0) /* still in the backlog: the connection is not lost */
            close(SYS(accept(listener, NULL, NULL)));
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
    close(listener);
}

TEST(detached_accepts_leak_no_descriptor) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    for (int i = 0; i < scaled(200); i++) {
        const aio_op_id id =
            ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call_never, NULL));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        const int client = tcp_connect_to(&addr);
        CHECK_EQ(aio_ctx_detach(ctx, id), 0);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        /* Either it comes there, which may take a moment, or it is closed by the engine. */
        struct pollfd either[] = {{.fd = listener, .events = POLLIN},
                                  {.fd = client, .events = POLLIN}};
        CHECK_GE(poll(either, 2, 20000), 1);
        if (either[0].revents)
            close(SYS(accept(listener, NULL, NULL)));
        else
            CHECK(peer_sees_fin(client, 2000));
        close(client);
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
    close(listener);
}

HARNESS_MAIN
