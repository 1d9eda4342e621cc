/* Section trace: the events of every kind of operation, each once and in order, whatever becomes of
 * it; turns and their numbers; what a trace callback may do, and what it is refused. */
#include "harness.h"

#include <signal.h>

enum { NOP = 0, POLL = 6, ACCEPT = 13, RECV = 27, EVENTS_MAX = 4096 };

/* What was traced. Each event is checked against those before it when it comes. */
struct trace {
    aio_ctx *ctx;
    aio_trace_event events[EVENTS_MAX];
    int count;
    bool in_turn;
    uint64_t submits, told; /* submits: all, and those that a turn has told of */
    uint64_t delivered;
    aio_op_id open[EVENTS_MAX]; /* submitted and not ended */
    int opened;
    void (*then)(struct trace *trace, const aio_trace_event *event);
    void *arg;
};

static void check_turn(struct trace *trace, const aio_trace_event *event) {
    const bool begins = event->kind == AIO_TRACE_TURN_BEGIN;
    CHECK_EQ(trace->in_turn, !begins);
    trace->in_turn = begins;
    CHECK_EQ(event->id, 0);
    CHECK_EQ(event->submitted, trace->submits - trace->told);
    trace->told = trace->submits;
    if (begins) {
        CHECK_EQ(event->delivered, 0);
        CHECK_EQ(event->waited_ns, 0);
        return;
    }
    trace->delivered += event->delivered;
    for (int i = trace->count; i-- > 0;)
        if (trace->events[i].kind == AIO_TRACE_TURN_BEGIN) {
            CHECK_LE(event->waited_ns, event->at_ns - trace->events[i].at_ns);
            return;
        }
    FAIL("a turn ends that has not begun");
}

static void check_operation(struct trace *trace, const aio_trace_event *event) {
    CHECK_GT(event->id, 0);
    CHECK_EQ(event->submitted, 0);
    CHECK_EQ(event->waited_ns, 0);
    if (event->kind == AIO_TRACE_SUBMIT) {
        CHECK_EQ(event->at_ns, event->submitted_ns);
        CHECK_EQ(event->result, 0);
        trace->submits++;
        trace->open[trace->opened++] = event->id;
        return;
    }
    CHECK_EQ(event->kind, AIO_TRACE_COMPLETE);
    CHECK_LE(event->submitted_ns, event->at_ns);
    int at = 0;
    while (at < trace->opened && trace->open[at] != event->id)
        at++;
    CHECK(event->submitted_ns == 0 || at < trace->opened);
    if (at < trace->opened && !(event->flags & AIO_CQE_MORE))
        trace->open[at] = trace->open[--trace->opened];
}

static void on_trace(void *arg, aio_ctx *ctx, const aio_trace_event *event) {
    struct trace *trace = arg;
    CHECK(ctx == trace->ctx);
    CHECK_EQ(event->size, sizeof *event);
    CHECK_LE(event->at_ns, now_ns());
    if (trace->count && event->kind != AIO_TRACE_SUBMIT)
        CHECK_LE(trace->events[trace->count - 1].at_ns, event->at_ns);
    if (event->kind == AIO_TRACE_TURN_BEGIN || event->kind == AIO_TRACE_TURN_END)
        check_turn(trace, event);
    else
        check_operation(trace, event);
    CHECK_LT(trace->count, EVENTS_MAX);
    trace->events[trace->count++] = *event;
    if (trace->then)
        trace->then(trace, event);
}

static struct trace *make_trace(aio_ctx *ctx) {
    struct trace *trace = calloc(1, sizeof *trace);
    CHECK(trace);
    trace->ctx = ctx;
    CHECK_EQ(aio_ctx_set_trace(ctx, on_trace, trace), 0);
    return trace;
}

static const aio_trace_event *find(const struct trace *trace, uint32_t kind, aio_op_id id) {
    for (int i = 0; i < trace->count; i++)
        if (trace->events[i].kind == kind && trace->events[i].id == id)
            return &trace->events[i];
    return NULL;
}

static int count_of(const struct trace *trace, uint32_t kind, aio_op_id id) {
    int count = 0;
    for (int i = 0; i < trace->count; i++)
        count += trace->events[i].kind == kind && trace->events[i].id == id;
    return count;
}

/* The operation was submitted, and ended once, so. */
static void check_traced(const struct trace *trace, aio_op_id id, int32_t result, uint32_t flags) {
    CHECK_EQ(count_of(trace, AIO_TRACE_SUBMIT, id), 1);
    CHECK_EQ(count_of(trace, AIO_TRACE_COMPLETE, id), 1);
    const aio_trace_event *end = find(trace, AIO_TRACE_COMPLETE, id);
    CHECK(find(trace, AIO_TRACE_SUBMIT, id) < end);
    CHECK_EQ(end->result, result);
    CHECK_EQ(end->flags, flags);
    CHECK_EQ(end->opcode, find(trace, AIO_TRACE_SUBMIT, id)->opcode);
}

/* Everything has ended, and what is traced and what is counted are the same. */
static void end_trace(struct trace *trace) {
    const aio_stats stats = stats_of(trace->ctx);
    CHECK_EQ(trace->submits, stats.submitted);
    CHECK_EQ(trace->opened, (int)stats.in_flight);
    CHECK_EQ(trace->delivered, stats.callbacks);
    CHECK_EQ(aio_ctx_ref(trace->ctx), 0);
    end_ctx(trace->ctx);
    CHECK_EQ(trace->opened, 0);
    CHECK(!trace->in_turn);
    CHECK_EQ(trace->delivered, stats_of(trace->ctx).callbacks);
    aio_ctx_unref(trace->ctx);
    free(trace);
}

TEST(an_operation_is_submitted_a_turn_begins_it_completes_and_the_turn_ends) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_nop(ctx, WITH(.correlation = 77), on_call, &call));
    CHECK_EQ(trace->count, 1);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(trace->count, 4);
    const aio_trace_event *events = trace->events;
    CHECK_EQ(events[0].kind, AIO_TRACE_SUBMIT);
    CHECK_EQ(events[0].id, id);
    CHECK_EQ(events[0].opcode, NOP);
    CHECK_EQ(events[0].fd, -1);
    CHECK_EQ(events[0].correlation, 77);
    CHECK(events[0].user_data == &call);
    CHECK_EQ(events[1].kind, AIO_TRACE_TURN_BEGIN);
    CHECK_EQ(events[1].submitted, 1);
    CHECK_EQ(events[2].kind, AIO_TRACE_COMPLETE);
    CHECK_EQ(events[2].id, id);
    CHECK_EQ(events[2].correlation, 77);
    CHECK(events[2].user_data == &call);
    CHECK_EQ(events[2].submitted_ns, events[0].at_ns);
    CHECK_LE(events[2].at_ns, call.at_ns);
    CHECK_EQ(events[3].kind, AIO_TRACE_TURN_END);
    CHECK_EQ(events[3].submitted, 0);
    CHECK_EQ(events[3].delivered, 1);
    end_trace(trace);
}

TEST(operations_without_options_and_those_of_callbacks_are_traced) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    struct nops chain = {.ctx = ctx, .left = 200};
    for (int i = 0; i < 5; i++)
        ID(aio_submit_nop(ctx, NULL, on_nop, &chain));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(trace->submits, 205);
    CHECK_EQ(trace->opened, 0);
    end_trace(trace);
}

TEST(failures_cancels_deadlines_and_broken_chains_say_what_their_callbacks_say) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    int pair[2];
    make_socket_pair(pair);
    char bytes[3];
    struct call bad = {0}, cancelled = {0}, late = {0}, first = {0}, next = {0};
    const aio_op_id bad_id = ID(aio_submit_recv(ctx, -1, bytes, 1, 0, NULL, on_call, &bad));
    const aio_op_id cancelled_id =
        ID(aio_submit_recv(ctx, pair[0], bytes, 1, 0, NULL, on_call, &cancelled));
    const aio_op_id late_id =
        ID(aio_submit_recv(ctx, pair[0], bytes, 1, 0, WITH(.timeout_ns = MS), on_call, &late));
    CHECK_EQ(find(trace, AIO_TRACE_SUBMIT, late_id)->fd, pair[0]);
    CHECK_EQ(aio_ctx_cancel(ctx, cancelled_id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, bad_id, -EBADF, 0);
    check_traced(trace, cancelled_id, -ECANCELED, 0);
    check_traced(trace, late_id, -ETIMEDOUT, AIO_CQE_DEADLINE);
    const aio_op_id first_id =
        ID(aio_submit_recv(ctx, -1, bytes, 1, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call, &first));
    const aio_op_id next_id = ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, first_id, -EBADF, 0);
    check_traced(trace, next_id, -ECANCELED, AIO_CQE_ABORTED);
    end_trace(trace);
}

TEST(what_has_no_callback_is_traced_too) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    int pair[2];
    make_socket_pair(pair);
    char byte;
    const aio_op_id quiet =
        ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    const aio_op_id record = ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, NULL));
    const aio_op_id left = ID(aio_submit_poll(ctx, pair[0], 1, NULL, on_call_never, NULL));
    CHECK_EQ(aio_ctx_detach(ctx, left), 0);
    const aio_op_id waited =
        ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    CHECK_EQ(aio_ctx_cancel_wait(ctx, waited), 0);
    check_traced(trace, waited, -ECANCELED, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, quiet, 0, 0);
    check_traced(trace, record, 0, 0);
    check_traced(trace, left, -ECANCELED, 0);
    aio_completion out;
    CHECK_EQ(aio_ctx_reap(ctx, &out, sizeof out, 1, 0), 1);
    CHECK_EQ(out.id, record);
    end_trace(trace);
}

static void post_nothing(void *arg) { ++*(int *)arg; }

TEST(posts_are_delivered_and_no_operations) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    int ran = 0;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(aio_ctx_post(ctx, post_nothing, &ran), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(ran, 3);
    CHECK_EQ(trace->submits, 0);
    CHECK_EQ(trace->delivered, 3);
    end_trace(trace);
}

TEST(timers_and_multishots_have_an_event_for_each_result) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call timer = {0}, gone = {0}, ticks = {0}, accepts = {0};
    const aio_op_id timer_id = ID(aio_submit_timer(ctx, MS, NULL, on_call, &timer));
    const aio_op_id gone_id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &gone));
    const aio_op_id every = ID(aio_submit_interval(ctx, MS, NULL, on_call, &ticks));
    const aio_op_id accept =
        ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &accepts));
    CHECK_EQ(aio_ctx_cancel(ctx, gone_id), 0);
    tcp_connect_to(&addr);
    tcp_connect_to(&addr);
    RUN_UNTIL(ctx, timer.finals && gone.finals && ticks.calls >= 2 && accepts.calls == 2);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 2);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, timer_id, 0, 0);
    check_traced(trace, gone_id, -ECANCELED, 0);
    CHECK_EQ(count_of(trace, AIO_TRACE_COMPLETE, every), ticks.calls);
    CHECK_EQ(count_of(trace, AIO_TRACE_COMPLETE, accept), 3);
    CHECK_EQ(find(trace, AIO_TRACE_COMPLETE, accept)->opcode, ACCEPT);
    CHECK(find(trace, AIO_TRACE_COMPLETE, accept)->flags & AIO_CQE_MORE);
    end_trace(trace);
}

static int32_t answer(void *arg) { return (int32_t)(intptr_t)arg; }

TEST(services_are_traced_without_what_they_do_inside) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    aio_thread_pool *pool = NULL;
    CHECK_EQ(aio_thread_pool_create(NULL, &pool), 0);
    struct call work = {0}, signal = {0}, held = {0};
    const aio_op_id work_id =
        ID(aio_submit_work(ctx, pool, answer, (void *)9, WITH(.correlation = 5), on_call, &work));
    /* Is made of polls. */
    const aio_op_id signal_id = ID(aio_submit_signal(ctx, SIGUSR2, NULL, on_call, &signal));
    const aio_op_id held_id = ID(aio_submit_work(
        ctx, pool, answer, (void *)8, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &held));
    CHECK_EQ(trace->submits, 3);
    RUN_UNTIL(ctx, work.finals && held.finals);
    CHECK_EQ(aio_ctx_cancel(ctx, signal_id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, work_id, 9, 0);
    check_traced(trace, held_id, 8, 0);
    check_traced(trace, signal_id, -ECANCELED, 0);
    CHECK_EQ(find(trace, AIO_TRACE_COMPLETE, work_id)->correlation, 5);
    aio_operation_stats row = {.size = sizeof row};
    const uint32_t opcode = find(trace, AIO_TRACE_SUBMIT, work_id)->opcode;
    CHECK_EQ(aio_ctx_operation_stats(ctx, opcode, &row), 0);
    CHECK_STR(row.name, "work");
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_trace(trace);
}

TEST(what_is_refused_is_no_event) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    CHECK_EQ(aio_submit_read(ctx, 0, NULL, 1, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_nop(ctx, WITH(.flags = 1u << 31), on_call_never, NULL), -EINVAL);
    /* Refused by a service that had begun. */
    CHECK_EQ(aio_submit_watch(ctx, temp_path("missing"), 1, NULL, on_call_never, NULL), -ENOENT);
    CHECK_EQ(trace->count, 0);
    end_trace(trace);
    aio_ctx *small = make_ctx_with(CTX_WITH(.max_ops = 2));
    trace = make_trace(small);
    struct call call = {0}, timer = {0};
    ID(aio_submit_nop(small, NULL, on_call, &call));
    ID(aio_submit_timer(small, 1, NULL, on_call, &timer));
    CHECK_EQ(aio_submit_nop(small, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(trace->count, 2);
    CHECK_EQ(aio_ctx_run(small), 0);
    end_trace(trace);
}

TEST(destroying_is_traced_to_the_end) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    int pair[2];
    make_socket_pair(pair);
    char byte;
    struct call recv = {0}, timer = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    run_for_ms(ctx, 2);
    const aio_op_id ids[] = {trace->events[0].id, trace->events[1].id};
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    for (int i = 0; i < 2; i++)
        check_traced(trace, ids[i], -ECANCELED, AIO_CQE_ABORTED);
    CHECK_EQ(trace->events[trace->count - 1].kind, AIO_TRACE_TURN_END);
    CHECK_EQ(recv.finals + timer.finals, 2);
    free(trace);
}

struct owner {
    aio_ctx *ctx;
    struct trace *trace;
    int fd;
    char byte;
    struct call call;
};

static void *own_and_leave(void *arg) {
    struct owner *owner = arg;
    owner->trace = make_trace(owner->ctx);
    ID(aio_submit_recv(owner->ctx, owner->fd, &owner->byte, 1, 0, NULL, on_call, &owner->call));
    run_for_ms(owner->ctx, 1);
    return NULL;
}

static void is_refused_here(struct trace *trace, const aio_trace_event *event) {
    (void)event;
    CHECK_EQ(aio_ctx_in_flight(trace->ctx), AIO_EREENTRANT);
}

TEST(an_orphans_completions_are_traced_where_it_is_destroyed) {
    int pair[2];
    make_socket_pair(pair);
    struct owner owner = {.ctx = make_ctx(), .fd = pair[0]};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, own_and_leave, &owner), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    owner.trace->then = is_refused_here;
    const aio_op_id id = owner.trace->events[0].id;
    CHECK_EQ(aio_ctx_destroy(owner.ctx), AIO_EORPHANED);
    check_traced(owner.trace, id, -ECANCELED, AIO_CQE_ABORTED);
    CHECK_EQ(owner.call.result, -ECANCELED);
    free(owner.trace);
}

struct other {
    aio_ctx *ctx;
    struct call call;
    bool has_posted;
    int posted, kinds;
};

/* Everything that needs the engine is refused, and changes nothing. */
static void check_refused(aio_ctx *ctx, aio_op_id id) {
    char text[16];
    aio_completion record;
    aio_histogram histogram = {.size = sizeof histogram};
    aio_buffer_pool *pool = NULL;
    const aio_files_options files = {.size = sizeof files, .count = 4};
    const int32_t refused = AIO_EREENTRANT;
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), refused);
    CHECK_EQ(aio_submit_nop(ctx, WITH(.correlation = 1), on_call_never, NULL), refused);
    CHECK_EQ(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, NULL), refused);
    CHECK_EQ(aio_submit_timer(ctx, 1, NULL, on_call_never, NULL), refused);
    CHECK_EQ(aio_submit_signal(ctx, SIGUSR1, NULL, on_call_never, NULL), refused);
    CHECK_EQ(aio_ctx_run(ctx), refused);
    CHECK_EQ(aio_ctx_run_once(ctx, 0), refused);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 0), refused);
    CHECK_EQ(aio_ctx_flush(ctx), refused);
    CHECK_EQ(aio_ctx_fd(ctx), refused);
    CHECK_EQ(aio_ctx_next_timeout_ns(ctx), refused);
    CHECK_EQ(aio_ctx_cancel(ctx, id), refused);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, 0, 0), refused);
    CHECK_EQ(aio_ctx_cancel_all(ctx), refused);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 1), refused);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), refused);
    CHECK_EQ(aio_ctx_detach(ctx, id), refused);
    CHECK_EQ(aio_ctx_dump(ctx, text, sizeof text), refused);
    CHECK_EQ(aio_ctx_in_flight(ctx), refused);
    CHECK_EQ(aio_ctx_current_op(ctx), refused);
    CHECK_EQ(aio_ctx_current_bytes(ctx), 0);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, NULL, 0, NULL, &histogram), refused);
    CHECK_EQ(aio_ctx_set_trace(ctx, NULL, NULL), refused);
    CHECK_EQ(aio_files_register(ctx, &files), refused);
    CHECK_EQ(aio_buffer_pool_create(
                 ctx,
                 &(aio_buffer_pool_options){
                     .size = sizeof(aio_buffer_pool_options), .count = 1, .buffer_size = 64},
                 &pool),
             refused);
    CHECK_EQ(aio_ctx_destroy(ctx), refused);
}

static void do_what_is_allowed(struct trace *trace, const aio_trace_event *event) {
    struct other *other = trace->arg;
    other->kinds |= 1 << event->kind;
    aio_stats stats = {.size = sizeof stats};
    aio_operation_stats row = {.size = sizeof row};
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_stats(trace->ctx, &stats), 0);
    CHECK_EQ(aio_ctx_operation_stats(trace->ctx, NOP, &row), 0);
    CHECK_EQ(aio_ctx_info(trace->ctx, &info), 0);
    CHECK_EQ(aio_ctx_ref(trace->ctx), 0);
    aio_ctx_unref(trace->ctx);
    aio_ctx_hold(trace->ctx);
    aio_ctx_release(trace->ctx);
    aio_ctx_set_user_data(trace->ctx, other);
    CHECK(aio_ctx_user_data(trace->ctx) == other);
    /* Once: what it posts is delivered in a turn, which is traced. */
    if (event->kind == AIO_TRACE_COMPLETE && !other->has_posted) {
        other->has_posted = true;
        CHECK_EQ(aio_ctx_post(trace->ctx, post_nothing, &other->posted), 0);
    }
    /* Another context may be used in any way. */
    struct call call = {0};
    CHECK_EQ(DO(other->ctx, call, aio_submit_nop(other->ctx, NULL, on_call, &call)), 0);
}

static void do_all(struct trace *trace, const aio_trace_event *event) {
    check_refused(trace->ctx, event->id ? event->id : 1);
    do_what_is_allowed(trace, event);
    check_refused(trace->ctx, event->id ? event->id : 1);
}

TEST(a_trace_callback_cannot_come_back_and_may_do_what_any_thread_may) {
    aio_ctx *ctx = make_ctx();
    struct other other = {.ctx = make_ctx()};
    struct trace *trace = make_trace(ctx);
    trace->then = do_all;
    trace->arg = &other;
    int pair[2];
    make_socket_pair(pair);
    char bytes[2];
    struct call calls[4] = {{0}};
    ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &calls[0]));
    ID(aio_submit_recv(ctx, pair[0], &bytes[1], 1, 0, WITH(.timeout_ns = HOUR), on_call,
                       &calls[1]));
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &calls[2]));
    ID(aio_submit_nop(ctx, NULL, on_call, &calls[3]));
    RUN_UNTIL(ctx, calls[2].finals && calls[3].finals && other.posted == 1);
    /* Afterwards all is as it was. */
    CHECK_EQ(aio_ctx_in_flight(ctx), 2);
    CHECK_EQ(calls[0].calls + calls[1].calls, 0);
    CHECK_EQ(other.kinds, 1 << AIO_TRACE_SUBMIT | 1 << AIO_TRACE_COMPLETE |
                              1 << AIO_TRACE_TURN_BEGIN | 1 << AIO_TRACE_TURN_END);
    end_trace(trace);
    CHECK_EQ(calls[0].flags, AIO_CQE_ABORTED);
    end_ctx(other.ctx);
}

TEST(a_stop_from_a_trace_callback_ends_the_run) {
    aio_ctx *ctx = make_ctx();
    struct trace *trace = make_trace(ctx);
    struct call timer = {0}, nop = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    ID(aio_submit_nop(ctx, NULL, on_call, &nop));
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    RUN_UNTIL(ctx, nop.finals);
    CHECK_EQ(timer.finals, 0);
    end_trace(trace);
}

static void trace_off(struct call *call) { CHECK_EQ(aio_ctx_set_trace(call->ctx, NULL, NULL), 0); }

static void trace_on(struct call *call) {
    struct trace *trace = call->arg;
    CHECK_EQ(aio_ctx_set_trace(call->ctx, on_trace, trace), 0);
}

TEST(tracing_begins_and_ends_whenever_it_is_asked_to) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte;
    struct trace *trace = make_trace(ctx);
    struct call off = {.then = trace_off}, untraced = {0};
    CHECK_EQ(DO(ctx, off, aio_submit_nop(ctx, NULL, on_call, &off)), 0);
    const int seen = trace->count;
    CHECK_EQ(seen, 3); /* the end of the turn is no event any more */
    CHECK_EQ(DO(ctx, untraced, aio_submit_nop(ctx, NULL, on_call, &untraced)), 0);
    CHECK_EQ(trace->count, seen);
    /* On again in the middle of a turn, with an operation in flight that was not traced. */
    struct call recv = {0}, on = {.then = trace_on, .arg = trace}, traced = {0};
    const aio_op_id early = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    CHECK_EQ(DO(ctx, on, aio_submit_nop(ctx, NULL, on_call, &on)), 0);
    CHECK_EQ(trace->count, seen);
    trace->in_turn = false;
    write_all_or_fail(pair[1], "x", 1);
    const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call, &traced));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_traced(trace, id, 0, 0);
    CHECK_EQ(count_of(trace, AIO_TRACE_SUBMIT, early), 0);
    CHECK_EQ(find(trace, AIO_TRACE_COMPLETE, early)->submitted_ns, 0);
    CHECK_EQ(find(trace, AIO_TRACE_COMPLETE, early)->result, 1);
    end_ctx(ctx);
    free(trace);
}

static void *trace_elsewhere(void *arg) {
    return aio_ctx_set_trace(arg, NULL, NULL) == AIO_EWRONGTHREAD ? arg : NULL;
}

TEST(it_is_set_on_the_contexts_thread) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_ctx_set_trace(NULL, on_trace, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_set_trace(ctx, NULL, NULL), 0); /* adopts it */
    pthread_t thread;
    void *answered = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, trace_elsewhere, ctx), 0);
    CHECK_EQ(pthread_join(thread, &answered), 0);
    CHECK(answered == ctx);
    end_ctx(ctx);
}

HARNESS_MAIN
