/* Section latency: which operations are taken down and how often, in agreement with the counters;
 * that a latency is one; quantiles; what is forgotten, and when nothing is. */
#include "pools.h"

#include <math.h>

enum { NOP = 0, ACCEPT = 13, READ = 22, RECV = 27 };

static aio_ctx *make_measured(void) { return make_ctx_with(CTX_WITH(.flags = AIO_CTX_HISTOGRAMS)); }

static aio_histogram histogram_of(aio_ctx *ctx, uint32_t opcode) {
    aio_histogram histogram = {.size = sizeof histogram};
    CHECK_EQ(aio_ctx_histogram(ctx, opcode, 0, NULL, 0, NULL, &histogram), 0);
    CHECK_EQ(histogram.size, sizeof histogram);
    CHECK_EQ(histogram.opcode, opcode);
    CHECK_LE(histogram.min_ns, histogram.mean_ns);
    CHECK_LE(histogram.mean_ns, histogram.max_ns);
    return histogram;
}

static uint32_t opcode_named(aio_ctx *ctx, const char *name) {
    for (uint32_t opcode = 0; opcode < 256; opcode++)
        if (!strcmp(histogram_of(ctx, opcode).name, name))
            return opcode;
    FAIL("no operation is named %s", name);
}

static uint64_t count_of(aio_ctx *ctx, uint32_t opcode) { return histogram_of(ctx, opcode).count; }

/* Every operation with one callback is taken down once, but for the cancelled. */
static void check_agrees(aio_ctx *ctx) {
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        aio_operation_stats row = {.size = sizeof row};
        CHECK_EQ(aio_ctx_operation_stats(ctx, opcode, &row), 0);
        CHECK_EQ(count_of(ctx, opcode), row.completed - row.cancelled);
    }
}

TEST(without_the_flag_there_is_none) {
    aio_ctx *ctx = make_ctx();
    aio_histogram histogram = {.size = sizeof histogram};
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, NULL, 0, NULL, &histogram), -EOPNOTSUPP);
    int calls = 0;
    ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, NULL, 0, NULL, &histogram), -EOPNOTSUPP);
    end_ctx(ctx);
}

TEST(a_new_context_has_taken_nothing_down) {
    aio_ctx *ctx = make_measured();
    const double half = 0.5;
    for (uint32_t opcode = 0; opcode < 256; opcode++) {
        aio_histogram histogram = {.size = sizeof histogram};
        uint64_t median = 7;
        CHECK_EQ(aio_ctx_histogram(ctx, opcode, 0, &half, 1, &median, &histogram), 0);
        CHECK_EQ(histogram.count, 0);
        CHECK_EQ(histogram.max_ns, 0);
        CHECK_EQ(median, 0);
    }
    CHECK_STR(histogram_of(ctx, READ).name, "read");
    end_ctx(ctx);
}

TEST(each_operation_is_taken_down_once) {
    aio_ctx *ctx = make_measured();
    int calls = 0;
    for (int i = 0; i < 300; i++)
        ID(aio_submit_nop(ctx, i % 2 ? WITH(.correlation = 1) : NULL, on_call_count, &calls));
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, NULL));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 300);
    CHECK_EQ(count_of(ctx, NOP), 302);
    /* What is refused was not submitted. */
    CHECK_EQ(aio_submit_read(ctx, 0, NULL, 1, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(count_of(ctx, READ), 0);
    check_agrees(ctx);
    aio_completion record;
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 0), 1);
    end_ctx(ctx);
}

TEST(a_latency_is_the_time_between_submit_and_callback) {
    aio_ctx *ctx = make_measured();
    int pair[2];
    make_socket_pair(pair);
    char byte;
    struct call call = {0};
    const uint64_t begun = now_ns();
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    const uint64_t submitted = now_ns();
    run_for_ms(ctx, 20);
    const uint64_t sent = now_ns();
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    const uint64_t longest = call.at_ns - begun, shortest = sent - submitted;
    const aio_histogram histogram = histogram_of(ctx, RECV);
    CHECK_EQ(histogram.count, 1);
    CHECK_EQ(histogram.deviation_ns, 0);
    /* To one part in 128. */
    CHECK_LE(histogram.min_ns, longest);
    CHECK_GE(histogram.min_ns, shortest - shortest / 128);
    CHECK_GE(histogram.max_ns, shortest);
    CHECK_LE(histogram.max_ns, longest + longest / 128);
    end_ctx(ctx);
}

TEST(an_operation_that_is_held_counts_from_its_submit) {
    aio_ctx *ctx = make_measured();
    int pair[2];
    make_socket_pair(pair);
    char byte;
    struct call first = {0}, held = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &first));
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &held));
    const uint64_t submitted = now_ns();
    run_for_ms(ctx, 10);
    const uint64_t sent = now_ns();
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(count_of(ctx, NOP), 1);
    CHECK_GE(histogram_of(ctx, NOP).max_ns, sent - submitted);
    check_agrees(ctx);
    end_ctx(ctx);
}

TEST(failures_and_deadlines_count_and_what_was_cancelled_does_not) {
    aio_ctx *ctx = make_measured();
    int pair[2];
    make_socket_pair(pair);
    char bytes[4];
    struct call calls[4] = {{0}}, next = {0};
    CHECK_EQ(DO(ctx, calls[0], aio_submit_recv(ctx, -1, bytes, 1, 0, NULL, on_call, &calls[0])),
             -EBADF);
    CHECK_EQ(count_of(ctx, RECV), 1);
    ID(aio_submit_recv(ctx, pair[0], bytes, 1, 0, WITH(.timeout_ns = 2 * MS), on_call, &calls[1]));
    CHECK_EQ(await_call(ctx, &calls[1]), -ETIMEDOUT);
    CHECK_EQ(count_of(ctx, RECV), 2);
    CHECK_GE(histogram_of(ctx, RECV).max_ns, 2 * MS);
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], bytes, 1, 0, NULL, on_call, &calls[2]));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &calls[2]), -ECANCELED);
    CHECK_EQ(count_of(ctx, RECV), 2);
    ID(aio_submit_recv(ctx, -1, bytes, 1, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call, &calls[3]));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(count_of(ctx, NOP), 0);
    CHECK_EQ(count_of(ctx, RECV), 3);
    check_agrees(ctx);
    end_ctx(ctx);
}

TEST(of_a_multishot_the_first_result_counts) {
    aio_ctx *ctx = make_measured();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &call));
    CHECK_EQ(count_of(ctx, ACCEPT), 0);
    uint64_t first = 0;
    for (int i = 1; i <= 3; i++) {
        tcp_connect_to(&addr);
        RUN_UNTIL(ctx, call.calls == i);
        CHECK_EQ(count_of(ctx, ACCEPT), 1);
        if (i == 1)
            first = histogram_of(ctx, ACCEPT).max_ns;
        sleep_ms(2);
    }
    CHECK_EQ(histogram_of(ctx, ACCEPT).max_ns, first);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(count_of(ctx, ACCEPT), 1);
    end_ctx(ctx);
}

TEST(receives_from_a_pool_are_taken_down_too) {
    aio_ctx *ctx = make_measured();
    aio_buffer_pool *pool = make_pool_of(ctx, 4, 64);
    struct flow flow = make_flow(ctx, pool);
    flow_receive(&flow);
    for (int i = 1; i <= 3; i++) {
        flow_send(&flow, "abc");
        RUN_UNTIL(ctx, flow.buffers == i);
    }
    check_flow(&flow, "abcabcabc");
    CHECK_EQ(count_of(ctx, RECV), 1);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

static int32_t wait_a_little(void *arg) {
    (void)arg;
    sleep_ms(3);
    return 11;
}

TEST(timers_and_services_have_numbers_of_their_own) {
    aio_ctx *ctx = make_measured();
    struct call timer = {0}, plain = {0}, ticks = {0}, work = {0};
    ID(aio_submit_timer(ctx, 5 * MS, WITH(.correlation = 1), on_call, &timer));
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &plain));
    ID(aio_submit_timer(ctx, HOUR, WITH(.timeout_ns = MS), on_call, &(struct call){0}));
    const aio_op_id every = ID(aio_submit_interval(ctx, MS, NULL, on_call, &ticks));
    aio_thread_pool *pool = NULL;
    CHECK_EQ(aio_thread_pool_create(NULL, &pool), 0);
    ID(aio_submit_work(ctx, pool, wait_a_little, NULL, NULL, on_call, &work));
    RUN_UNTIL(ctx, timer.finals && ticks.calls >= 3 && work.finals);
    CHECK_EQ(aio_ctx_cancel(ctx, every), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(work.result, 11);
    aio_histogram timers = histogram_of(ctx, opcode_named(ctx, "timer"));
    CHECK_EQ(timers.count, 3);
    CHECK_GE(timers.max_ns, 5 * MS);
    /* Surely later than all of them, however late they were. */
    ID(aio_submit_timer(ctx, 2 * timers.max_ns, NULL, on_call, &(struct call){0}));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const uint64_t most_before_ns = timers.max_ns;
    timers = histogram_of(ctx, opcode_named(ctx, "timer"));
    CHECK_EQ(timers.count, 4);
    CHECK_GE(timers.max_ns, 2 * most_before_ns);
    CHECK_LT(timers.min_ns, timers.max_ns);
    CHECK_GT(timers.deviation_ns, 0);
    CHECK_EQ(count_of(ctx, opcode_named(ctx, "interval")), 1);
    const aio_histogram works = histogram_of(ctx, opcode_named(ctx, "work"));
    CHECK_EQ(works.count, 1);
    CHECK_GE(works.max_ns, 3 * MS);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(quantiles_rise_from_the_least_to_the_most_in_any_order) {
    aio_ctx *ctx = make_measured();
    struct nops chain = {.ctx = ctx, .left = 1000};
    for (int i = 0; i < 8; i++)
        ID(aio_submit_nop(ctx, NULL, on_nop, &chain));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const double wanted[] = {1, 0.5, 0, 0.99, 0.999};
    uint64_t values[6] = {[5] = 99};
    aio_histogram histogram = {.size = sizeof histogram};
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, wanted, 5, values, &histogram), 0);
    CHECK_EQ(histogram.count, 1008);
    CHECK_EQ(values[0], histogram.max_ns);
    CHECK_EQ(values[2], histogram.min_ns);
    CHECK_LE(values[2], values[1]);
    CHECK_LE(values[1], values[3]);
    CHECK_LE(values[3], values[4]);
    CHECK_LE(values[4], values[0]);
    CHECK_EQ(values[5], 99);
    end_ctx(ctx);
}

TEST(a_reset_begins_anew_and_a_refused_one_forgets_nothing) {
    aio_ctx *ctx = make_measured();
    int calls = 0;
    struct call timer = {0};
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &timer));
    for (int i = 0; i < 5; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const uint32_t reset = AIO_HISTOGRAM_RESET;
    aio_histogram histogram = {.size = 3};
    uint64_t value = 5;
    const double wrong[] = {-0.1, 1.1, (double)NAN, (double)INFINITY};
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, NULL, 0, NULL, &histogram), -EINVAL);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, NULL, 0, NULL, NULL), -EINVAL);
    histogram.size = sizeof histogram;
    for (int i = 0; i < COUNT_OF(wrong); i++)
        CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, &wrong[i], 1, &value, &histogram), -EINVAL);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, NULL, 1, &value, &histogram), -EINVAL);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, wrong, 1, NULL, &histogram), -EINVAL);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset | 2, NULL, 0, NULL, &histogram), -EINVAL);
    CHECK_EQ(aio_ctx_histogram(ctx, 256, reset, NULL, 0, NULL, &histogram), -ENOENT);
    CHECK_EQ(aio_ctx_histogram(NULL, NOP, reset, NULL, 0, NULL, &histogram), -EINVAL);
    CHECK_EQ(value, 5);
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, reset, NULL, 0, NULL, &histogram), 0);
    CHECK_EQ(histogram.count, 5);
    CHECK_EQ(count_of(ctx, NOP), 0);
    CHECK_EQ(count_of(ctx, opcode_named(ctx, "timer")), 1);
    ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(count_of(ctx, NOP), 1);
    /* A smaller structure gets its part. */
    memset(&histogram, 0x5a, sizeof histogram);
    histogram.size = 16;
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, NULL, 0, NULL, &histogram), 0);
    CHECK_EQ(histogram.count, 1);
    CHECK_EQ(histogram.min_ns, 0x5a5a5a5a5a5a5a5a);
    end_ctx(ctx);
}

struct asked {
    aio_ctx *ctx;
    int32_t status;
};

static void *ask_elsewhere(void *arg) {
    struct asked *asked = arg;
    aio_histogram histogram = {.size = sizeof histogram};
    asked->status = aio_ctx_histogram(asked->ctx, NOP, 0, NULL, 0, NULL, &histogram);
    return NULL;
}

static void read_in_callback(struct call *call) {
    struct asked *asked = call->arg;
    CHECK_EQ(count_of(asked->ctx, NOP), 1);
    asked->status = 1;
}

TEST(it_is_read_on_the_threads_own_context_also_in_callbacks) {
    aio_ctx *ctx = make_measured();
    struct asked asked = {.ctx = ctx};
    struct call call = {.then = read_in_callback, .arg = &asked};
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    CHECK_EQ(asked.status, 1);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, ask_elsewhere, &asked), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(asked.status, AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_ref(ctx), 0);
    end_ctx(ctx);
    aio_histogram histogram = {.size = sizeof histogram};
    CHECK_EQ(aio_ctx_histogram(ctx, NOP, 0, NULL, 0, NULL, &histogram), AIO_ECLOSED);
    aio_ctx_unref(ctx);
}

HARNESS_MAIN
