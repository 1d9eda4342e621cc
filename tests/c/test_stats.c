/* Section stats: the counters by opcode, exact in every scenario here; their sums are those of the
 * context; names are the probe's; and what another thread sees of them. */
#include "pools.h"

#include <inttypes.h>
#include <stdatomic.h>

enum { NOP = 0, POLL = 6, ACCEPT = 13, READ = 22, SEND = 26, RECV = 27 };

static aio_operation_stats row_of(const aio_ctx *ctx, uint32_t opcode) {
    aio_operation_stats row = {.size = sizeof row};
    CHECK_EQ(aio_ctx_operation_stats(ctx, opcode, &row), 0);
    CHECK_EQ(row.size, sizeof row);
    CHECK_EQ(row.opcode, opcode);
    return row;
}

/* The engine's own have numbers that only their names are known for. */
static aio_operation_stats row_named(const aio_ctx *ctx, const char *name) {
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        const aio_operation_stats row = row_of(ctx, opcode);
        if (!strcmp(row.name, name))
            return row;
    }
    FAIL("no operation is named %s", name);
}

static void check_row(const aio_operation_stats *row, uint64_t submitted, uint64_t completed,
                      uint64_t failed, uint64_t cancelled, uint64_t timed_out, uint32_t most) {
    CHECK_EQ(row->submitted, submitted);
    CHECK_EQ(row->completed, completed);
    CHECK_EQ(row->in_flight, submitted - completed);
    CHECK_EQ(row->failed, failed);
    CHECK_EQ(row->cancelled, cancelled);
    CHECK_EQ(row->timed_out, timed_out);
    CHECK_EQ(row->in_flight_max, most);
}

static void check_sums(aio_ctx *ctx) {
    aio_operation_stats row = {.size = sizeof row}, sum = {0};
    uint32_t opcode = 0;
    for (; aio_ctx_operation_stats(ctx, opcode, &row) == 0; opcode++) {
        sum.in_flight += row.in_flight;
        sum.submitted += row.submitted;
        sum.completed += row.completed;
        sum.failed += row.failed;
        sum.cancelled += row.cancelled;
        sum.timed_out += row.timed_out;
        CHECK_LE(row.in_flight, row.in_flight_max);
    }
    CHECK_EQ(opcode, 256);
    CHECK_EQ(aio_ctx_operation_stats(ctx, opcode, &row), -ENOENT);
    const aio_stats stats = stats_of(ctx);
    CHECK_EQ(sum.in_flight, stats.in_flight);
    CHECK_EQ(sum.submitted, stats.submitted);
    CHECK_EQ(sum.completed, stats.completed);
    CHECK_EQ(sum.failed, stats.failed);
    CHECK_EQ(sum.cancelled, stats.cancelled);
    CHECK_EQ(sum.timed_out, stats.timed_out);
}

TEST(a_new_context_has_counted_nothing) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        const aio_operation_stats row = row_of(ctx, opcode);
        check_row(&row, 0, 0, 0, 0, 0, 0);
    }
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(names_are_those_of_the_probe) {
    aio_ctx *ctx = make_ctx();
    aio_probe_info info = {.size = sizeof info};
    CHECK_EQ(aio_probe(ctx, &info), 0);
    for (uint32_t opcode = 0; opcode < info.operations; opcode++) {
        aio_probe_result result = {.size = sizeof result};
        CHECK_EQ(aio_probe_op(ctx, opcode, &result), 0);
        CHECK_STR(row_of(ctx, opcode).name, result.name);
    }
    CHECK_STR(row_of(ctx, info.operations).name, "raw");
    CHECK_GE(row_named(ctx, "timer").opcode, info.operations);
    CHECK_GE(row_named(ctx, "interval").opcode, info.operations);
    end_ctx(ctx);
}

TEST(a_smaller_struct_gets_its_part) {
    aio_ctx *ctx = make_ctx();
    aio_operation_stats row;
    memset(&row, 0x5a, sizeof row);
    row.size = 16;
    CHECK_EQ(aio_ctx_operation_stats(ctx, NOP, &row), 0);
    CHECK_EQ(row.size, 16);
    CHECK_EQ(row.in_flight_max, 0);
    CHECK_EQ(row.submitted, 0x5a5a5a5a5a5a5a5a);
    row.size = 3;
    CHECK_EQ(aio_ctx_operation_stats(ctx, NOP, &row), -EINVAL);
    CHECK_EQ(aio_ctx_operation_stats(ctx, NOP, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_operation_stats(NULL, NOP, &row), -EINVAL);
    end_ctx(ctx);
}

struct chain {
    aio_ctx *ctx;
    int left;
    int seen;
};

static void on_link(void *user_data, int32_t result, uint32_t flags) {
    struct chain *chain = user_data;
    CHECK_EQ(result, 0);
    CHECK_EQ(flags, 0);
    /* Inside the callback its operation has ended. */
    chain->seen = (int)row_of(chain->ctx, NOP).in_flight;
    if (chain->left-- > 0)
        ID(aio_submit_nop(chain->ctx, NULL, on_link, chain));
}

TEST(the_most_in_flight_is_exact_also_while_callbacks_submit) {
    aio_ctx *ctx = make_ctx();
    struct chain chain = {.ctx = ctx, .left = 1000};
    for (int i = 0; i < 7; i++)
        ID(aio_submit_nop(ctx, NULL, on_link, &chain));
    aio_operation_stats row = row_of(ctx, NOP);
    check_row(&row, 7, 0, 0, 0, 0, 7);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(chain.seen, 0);
    row = row_of(ctx, NOP);
    check_row(&row, 1007, 1007, 0, 0, 0, 7);
    int calls = 0;
    for (int i = 0; i < 300; i++)
        ID(aio_submit_nop(ctx, i % 2 ? WITH(.correlation = 1) : NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    row = row_of(ctx, NOP);
    check_row(&row, 1307, 1307, 0, 0, 0, 300);
    CHECK_EQ(stats_of(ctx).callbacks, 1307);
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(ends_are_counted_by_their_kind) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char bytes[3];
    struct call calls[3] = {{0}}, bad = {0};
    const aio_op_id first =
        ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &calls[0]));
    ID(aio_submit_recv(ctx, pair[0], &bytes[1], 1, 0, WITH(.timeout_ns = MS), on_call, &calls[1]));
    CHECK_EQ(await_call(ctx, &calls[1]), -ETIMEDOUT);
    CHECK_EQ(aio_ctx_cancel(ctx, first), 0);
    CHECK_EQ(await_call(ctx, &calls[0]), -ECANCELED);
    CHECK_EQ(DO(ctx, bad, aio_submit_recv(ctx, -1, bytes, 1, 0, NULL, on_call, &bad)), -EBADF);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(
        DO(ctx, calls[2], aio_submit_recv(ctx, pair[0], &bytes[2], 1, 0, NULL, on_call, &calls[2])),
        1);
    aio_operation_stats row = row_of(ctx, RECV);
    check_row(&row, 4, 4, 1, 1, 1, 2);
    CHECK_STR(row.name, "recv");
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(what_is_refused_was_not_submitted) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.max_ops = 1));
    struct call call = {0};
    CHECK_EQ(aio_submit_read(ctx, 0, NULL, 1, 0, NULL, on_call_never, NULL), -EINVAL);
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(await_call(ctx, &call), 0);
    aio_operation_stats row = row_of(ctx, NOP);
    check_row(&row, 1, 1, 0, 0, 0, 1);
    row = row_of(ctx, READ);
    check_row(&row, 0, 0, 0, 0, 0, 0);
    end_ctx(ctx);
}

TEST(a_multishot_is_one_operation_however_many_callbacks_it_has) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &call));
    for (int i = 1; i <= 3; i++) {
        tcp_connect_to(&addr);
        RUN_UNTIL(ctx, call.calls == i);
    }
    aio_operation_stats row = row_of(ctx, ACCEPT);
    check_row(&row, 1, 0, 0, 0, 0, 1);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    row = row_of(ctx, ACCEPT);
    check_row(&row, 1, 1, 0, 1, 0, 1);
    CHECK_EQ(stats_of(ctx).callbacks, 4);
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(timers_are_counted_as_the_engines_own) {
    aio_ctx *ctx = make_ctx();
    struct call calls[3] = {{0}};
    ID(aio_submit_timer(ctx, 1, NULL, on_call, &calls[0]));
    const aio_op_id plain = ID(aio_submit_timer(ctx, 1000 * 1000 * MS, NULL, on_call, &calls[1]));
    ID(aio_submit_timer(ctx, 1000 * 1000 * MS, WITH(.timeout_ns = 1), on_call, &calls[2]));
    CHECK_EQ(aio_ctx_cancel(ctx, plain), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls[0].result, 0);
    CHECK_EQ(calls[1].result, -ECANCELED);
    CHECK_EQ(calls[2].result, -ETIMEDOUT);
    aio_operation_stats row = row_named(ctx, "timer");
    check_row(&row, 3, 3, 0, 1, 1, 3);
    struct call ticks = {0};
    const aio_op_id every = ID(aio_submit_interval(ctx, MS, NULL, on_call, &ticks));
    RUN_UNTIL(ctx, ticks.calls >= 2);
    CHECK_EQ(aio_ctx_cancel(ctx, every), 0);
    CHECK_EQ(await_call(ctx, &ticks), -ECANCELED);
    row = row_named(ctx, "interval");
    check_row(&row, 1, 1, 0, 1, 0, 1);
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(quiet_detached_and_aborted_operations_are_counted_too) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte;
    struct call poll = {0};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    const aio_op_id id = ID(aio_submit_poll(ctx, pair[0], 1, NULL, on_call, &poll));
    CHECK_EQ(aio_ctx_detach(ctx, id), 0);
    const aio_op_id recv =
        ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    CHECK_EQ(aio_ctx_cancel_wait(ctx, recv), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(poll.calls, 0);
    aio_operation_stats row = row_of(ctx, NOP);
    check_row(&row, 1, 1, 0, 0, 0, 1);
    row = row_of(ctx, POLL);
    check_row(&row, 1, 1, 0, 1, 0, 1);
    row = row_of(ctx, RECV);
    check_row(&row, 1, 1, 0, 1, 0, 1);
    CHECK_EQ(stats_of(ctx).callbacks, 0);
    check_sums(ctx);
    /* What destroy aborts, seen through a handle that outlives the context. */
    struct call aborted = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &aborted));
    CHECK_EQ(aio_ctx_ref(ctx), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(aborted.result, -ECANCELED);
    row = row_of(ctx, RECV);
    check_row(&row, 2, 2, 0, 2, 0, 1);
    CHECK_EQ(stats_of(ctx).callbacks, 1);
    aio_ctx_unref(ctx);
}

TEST(chains_and_operations_of_several_steps_count_as_what_they_begin_with) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char bytes[8];
    struct call call = {0}, next = {0};
    ID(aio_submit_recv_exact(ctx, pair[0], bytes, 8, 0, NULL, on_call, &call));
    for (int i = 0; i < 4; i++) {
        write_all_or_fail(pair[1], "ab", 2);
        run_for_ms(ctx, 1);
    }
    CHECK_EQ(await_call(ctx, &call), 0);
    aio_operation_stats row = row_of(ctx, RECV);
    check_row(&row, 1, 1, 0, 0, 0, 1);
    struct call bad = {0};
    ID(aio_submit_read(ctx, -1, bytes, 1, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call, &bad));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(bad.result, -EBADF);
    CHECK_EQ(next.result, -ECANCELED);
    row = row_of(ctx, READ);
    check_row(&row, 1, 1, 1, 0, 0, 1);
    row = row_of(ctx, NOP);
    check_row(&row, 1, 1, 0, 1, 0, 1);
    check_sums(ctx);
    end_ctx(ctx);
}

TEST(an_operation_that_waits_for_a_buffer_met_a_dry_pool) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool_of(ctx, 1, 64);
    struct flow flow = make_flow(ctx, pool);
    flow.keeps = true;
    flow_receive(&flow);
    CHECK_EQ(stats_of(ctx).dry_pools, 0);
    flow_send(&flow, "one");
    RUN_UNTIL(ctx, flow.buffers == 1);
    flow_send(&flow, "two");
    run_for_ms(ctx, 5);
    CHECK_EQ(stats_of(ctx).dry_pools, info_of(pool).pauses);
    CHECK_GT(stats_of(ctx).dry_pools, 0);
    flow_release(&flow);
    RUN_UNTIL(ctx, flow.buffers == 2);
    flow_release(&flow);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(a_dump_says_what_is_left_in_each_pool_and_who_waits) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool_of(ctx, 2, 64);
    struct flow flow = make_flow(ctx, pool);
    flow.keeps = true;
    flow_receive(&flow);
    char text[4096] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, ": 2 buffers of 64 bytes, 2 free, 0 leased, 0 of 1 operations waiting"));
    for (int i = 1; i <= 2; i++) {
        flow_send(&flow, "x");
        RUN_UNTIL(ctx, flow.buffers == i);
    }
    flow_send(&flow, "y");
    while (info_of(pool).paused != 1) /* no callback tells of it */
        run_for_ms(ctx, 1);
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, ": 2 buffers of 64 bytes, 0 free, 2 leased, 1 of 1 operations waiting"));
    CHECK(strstr(text, "waiting for a buffer"));
    flow_release(&flow);
    RUN_UNTIL(ctx, flow.buffers == 3);
    flow_release(&flow);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

/* The line of an operation; `text` is a dump. */
static const char *line_of(char *text, aio_op_id id) {
    static char line[512];
    char number[32];
    snprintf(number, sizeof number, "  id %" PRId64 " ", id);
    const char *begin = strstr(text, number);
    CHECK(begin != NULL);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(begin, "\n"), begin);
    return line;
}

TEST(a_dump_says_what_is_staged_what_is_handed_over_and_what_waits_in_a_chain) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    make_socket_pair(fds);
    char bytes[2], text[4096] = {0}, behind[64];
    struct call calls[3] = {0};
    const aio_op_id head = ID(aio_submit_recv(ctx, fds[0], bytes, 1, 0,
                                              WITH(.flags = AIO_SUBMIT_LINK), on_call, &calls[0]));
    const aio_op_id next = ID(aio_submit_send(ctx, fds[0], "a", 1, 0, NULL, on_call, &calls[1]));
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(line_of(text, head), " staged, not handed over"));
    CHECK_GE(aio_ctx_flush(ctx), 0);
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(line_of(text, head), " in the backend"));
    snprintf(behind, sizeof behind, " in a chain behind %" PRId64, head);
    CHECK(strstr(line_of(text, next), behind));
    const aio_op_id later =
        ID(aio_submit_recv(ctx, fds[1], bytes + 1, 1, 0, NULL, on_call, &calls[2]));
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(line_of(text, later), " staged, not handed over"));
    SYS(send(fds[1], "b", 1, 0));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(await_call(ctx, &calls[i]), 1);
    end_ctx(ctx);
}

TEST(a_dump_has_deadlines_and_kinds_and_begins_with_the_oldest) {
    aio_ctx *ctx = make_ctx();
    int fds[2], pipes[4];
    make_socket_pair(fds);
    make_pipe(pipes);
    make_pipe(pipes + 2);
    char text[4096] = {0}, byte, ends[64];
    struct call calls[4] = {0};
    const aio_op_id recv = ID(aio_submit_recv(
        ctx, fds[0], &byte, 1, 0, WITH(.timeout_ns = 1000000 * MS), on_call, &calls[0]));
    run_for_ms(ctx, 30);
    const aio_op_id poll = ID(aio_submit_poll_multishot(ctx, fds[1], 1, NULL, on_call, &calls[1]));
    const aio_op_id timer = ID(aio_submit_timer(ctx, 500000 * MS, NULL, on_call, &calls[2]));
    CHECK_EQ(aio_ctx_cancel(ctx, timer), 0); /* its slot is the timer's again, which comes last */
    CHECK_EQ(await_call(ctx, &calls[2]), -ECANCELED);
    const aio_op_id again = ID(aio_submit_timer(ctx, 500000 * MS, NULL, on_call, &calls[3]));
    run_for_ms(ctx, 5);
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    long deadline_ms = 0, due_ms = 0;
    const char *deadline = strstr(line_of(text, recv), ", deadline in ");
    CHECK(deadline && sscanf(deadline, ", deadline in %ld ms", &deadline_ms) == 1);
    CHECK(deadline_ms > 400000 && deadline_ms <= 1000000);
    const char *due = strstr(line_of(text, again), ", due in ");
    CHECK(due && sscanf(due, ", due in %ld ms", &due_ms) == 1);
    CHECK(due_ms > 1000 && due_ms <= 500000);
    CHECK(strstr(line_of(text, poll), " multishot fd "));
    CHECK(!strstr(line_of(text, poll), "deadline"));
    CHECK(!strstr(line_of(text, recv), " multishot"));
    snprintf(ends, sizeof ends, "  id %" PRId64, poll);
    const char *second = strstr(text, ends);
    snprintf(ends, sizeof ends, "  id %" PRId64, recv);
    CHECK(strstr(text, ends) < second);
    struct call splice = {0};
    const aio_op_id id = ID(aio_submit_splice(ctx, pipes[0], AIO_OFFSET_CURRENT, pipes[3],
                                              AIO_OFFSET_CURRENT, 1, 0, NULL, on_call, &splice));
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    snprintf(ends, sizeof ends, " fd %d and %d age ", pipes[3], pipes[0]);
    CHECK(strstr(line_of(text, id), ends));
    write_all_or_fail(pipes[1], "x", 1);
    CHECK_EQ(await_call(ctx, &splice), 1);
    end_ctx(ctx);
}

TEST(a_dump_says_how_much_a_pool_has_to_send) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool(ctx, POOL_WITH(.count = 3, .count_max = 3, .buffer_size = 64,
                                                     .flags = AIO_BUFFER_POOL_SEND));
    aio_buffer_lease lease = {.size = sizeof lease};
    char text[4096] = {0};
    CHECK_EQ(aio_buffer_pool_take(pool, &lease), 0);
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, 8), 0);
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, ": 3 buffers of 64 bytes, 2 free, 0 leased, 1 queued to be sent"));
    CHECK_EQ(aio_buffer_pool_discard(pool), 1);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

struct watcher {
    aio_ctx *ctx;
    atomic_bool is_over;
    atomic_int looks;
};

/* What another thread reads only ever grows, and never says that more has ended than begun. */
static void *watch(void *arg) {
    struct watcher *watcher = arg;
    aio_operation_stats before = {0};
    while (!atomic_load(&watcher->is_over)) {
        const aio_operation_stats row = row_of(watcher->ctx, NOP);
        CHECK_GE(row.submitted, before.submitted);
        CHECK_LE(row.completed, row.submitted);
        CHECK_LE(row.in_flight_max, 8);
        CHECK_LE(stats_of(watcher->ctx).completed, (uint64_t)1 << 40);
        before = row;
        atomic_fetch_add(&watcher->looks, 1);
        sleep_ms(1);
    }
    return NULL;
}

TEST(another_thread_looks_while_the_context_runs) {
    aio_ctx *ctx = make_ctx();
    struct watcher watcher = {.ctx = ctx};
    struct chain chain = {.ctx = ctx};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, watch, &watcher), 0);
    uint64_t submitted = 0;
    while (atomic_load(&watcher.looks) < 20) {
        chain.left = 100;
        for (int i = 0; i < 8; i++)
            ID(aio_submit_nop(ctx, NULL, on_link, &chain));
        CHECK_EQ(aio_ctx_run(ctx), 0);
        submitted += 108;
    }
    atomic_store(&watcher.is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    const aio_operation_stats row = row_of(ctx, NOP);
    check_row(&row, submitted, submitted, 0, 0, 0, 8);
    CHECK_EQ(stats_of(ctx).callbacks, submitted);
    end_ctx(ctx);
}

static _Atomic uint64_t heard;

static void on_heard(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
    atomic_fetch_add(&heard, 1);
}

static void *watch_callbacks(void *arg) {
    struct watcher *watcher = arg;
    uint64_t before = 0;
    while (!atomic_load(&watcher->is_over)) {
        const uint64_t callbacks = stats_of(watcher->ctx).callbacks;
        CHECK_GE(callbacks, before);
        /* A callback counts shortly before it runs. */
        CHECK_LE(callbacks, atomic_load(&heard) + 1);
        before = callbacks;
        atomic_fetch_add(&watcher->looks, 1);
    }
    return NULL;
}

/* Most operations end without a word; each counter of theirs changes while the other looks. */
TEST(another_thread_sees_no_callback_that_did_not_come) {
    aio_ctx *ctx = make_ctx();
    struct watcher watcher = {.ctx = ctx};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, watch_callbacks, &watcher), 0);
    for (int i = 0; atomic_load(&watcher.looks) < scaled(2000) || i < scaled(500); i++) {
        for (int k = 0; k < 50; k++)
            ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
        ID(aio_submit_nop(ctx, NULL, on_heard, NULL));
        ID(aio_submit_nop(ctx, WITH(.group = 7), on_heard, NULL));
        CHECK_EQ(aio_ctx_run(ctx), 0);
    }
    atomic_store(&watcher.is_over, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(stats_of(ctx).callbacks, atomic_load(&heard));
    end_ctx(ctx);
}

HARNESS_MAIN
