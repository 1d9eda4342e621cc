/* Section ctx: creation and its options, run and run_once, what info, stats and dump tell, user
 * data, and what aio_ctx_current* say during a callback. */
#include "harness.h"

#include <inttypes.h>
#include <poll.h>

static bool is_power_of_two(uint32_t value) { return value && !(value & (value - 1)); }

static aio_info info_of(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return info;
}

TEST(null_options_are_the_defaults) {
    aio_ctx *ctx = make_ctx();
    const aio_info info = info_of(ctx);
    CHECK(info.backend == AIO_BACKEND_URING || info.backend == AIO_BACKEND_EPOLL);
    CHECK_GT(info.timer_resolution_ns, 0);
    CHECK_LE(info.timer_resolution_ns, 200000);
    CHECK_GE(info.kernel_version, 5u << 16);
    CHECK(is_power_of_two(info.sq_entries));
    CHECK_GE(info.cq_entries, info.sq_entries);
    CHECK_EQ(info.sqe_size, 64);
    CHECK_EQ(info.cqe_size, 16);
    if (info.backend == AIO_BACKEND_URING) {
        CHECK_NE(info.features, 0);
        CHECK_EQ(info.fallback_status, 0);
        CHECK_EQ(info.interrupt_signal, 0);
    } else {
        CHECK_EQ(info.setup_flags, 0);
        CHECK_EQ(info.features, 0);
        /* Chosen by AIO_RS_BACKEND, or for lack of a ring. */
        CHECK_EQ(info.fallback_status < 0, !getenv("AIO_RS_BACKEND"));
        CHECK_GE((int)info.interrupt_signal, SIGRTMIN);
    }
    end_ctx(ctx);
}

TEST(zeroed_options_are_the_defaults_too) {
    aio_ctx *plain = make_ctx(), *ctx = make_ctx_with(CTX_WITH(.flags = 0));
    const aio_info a = info_of(plain), b = info_of(ctx);
    CHECK_EQ(a.sq_entries, b.sq_entries);
    CHECK_EQ(a.cq_entries, b.cq_entries);
    CHECK_EQ(a.setup_flags, b.setup_flags);
    CHECK_EQ(a.timer_resolution_ns, b.timer_resolution_ns);
    end_ctx(plain);
    end_ctx(ctx);
}

TEST(the_queue_sizes_asked_for_are_granted) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 16));
    const aio_info info = info_of(ctx);
    CHECK_EQ(info.sq_entries, 4);
    CHECK_EQ(info.cq_entries, 16);
    end_ctx(ctx);
}

static void note_warning(void *arg, int32_t level, const char *message) {
    char *text = arg;
    if (level == AIO_LOG_WARN && strstr(message, "queue"))
        snprintf(text + strlen(text), 512 - strlen(text), "%s;", message);
}

TEST(queues_that_are_cut_are_told_by_the_log) {
    char text[512] = {0}, expected[512];
    const uint32_t asked = 1u << 20;
    aio_ctx *ctx = make_ctx_with(
        CTX_WITH(.sq_entries = asked, .cq_entries = asked, .log = note_warning, .log_arg = text));
    const aio_info info = info_of(ctx);
    CHECK_LE(info.sq_entries, 32768);
    CHECK_LE(info.cq_entries, 65536);
    snprintf(expected, sizeof expected,
             "the submission queue has %u entries, not 1048576 as asked;"
             "the completion queue has %u entries, not 1048576 as asked;",
             info.sq_entries, info.cq_entries);
    CHECK_STR(text, expected);
    end_ctx(ctx);
}

TEST(info_writes_no_more_than_it_knows_into_a_larger_struct) {
    aio_ctx *ctx = make_ctx();
    struct {
        aio_info info;
        uint64_t later;
    } out;
    memset(&out, 0x5a, sizeof out);
    out.info.size = sizeof out;
    CHECK_EQ(aio_ctx_info(ctx, &out.info), 0);
    CHECK_EQ(out.info.backend, info_of(ctx).backend);
    CHECK_EQ(out.info.cq_entries, info_of(ctx).cq_entries);
    CHECK_EQ(out.later, 0x5a5a5a5a5a5a5a5a);
    end_ctx(ctx);
}

TEST(stats_write_no_more_than_they_know_into_a_larger_struct) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    struct {
        aio_stats stats;
        uint64_t later;
    } out;
    memset(&out, 0x5a, sizeof out);
    out.stats.size = sizeof out;
    CHECK_EQ(aio_ctx_stats(ctx, &out.stats), 0);
    CHECK_EQ(out.stats.submitted, 1);
    CHECK_EQ(out.stats.rearms, 0);
    CHECK_EQ(out.later, 0x5a5a5a5a5a5a5a5a);
    end_ctx(ctx);
}

TEST(out_structs_are_written_up_to_their_size) {
    aio_ctx *ctx = make_ctx();
    aio_info info;
    aio_stats stats;
    memset(&info, 0x5a, sizeof info);
    memset(&stats, 0x5a, sizeof stats);
    info.size = 8;
    stats.size = 16;
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    CHECK_EQ(info.backend, info_of(ctx).backend);
    CHECK_EQ(info.setup_flags, 0x5a5a5a5a);
    CHECK_EQ(aio_ctx_stats(ctx, &stats), 0);
    CHECK_EQ(stats.submitted, 0);
    CHECK_EQ(stats.completed, 0x5a5a5a5a5a5a5a5a);
    end_ctx(ctx);
}

TEST(wide_queue_entries_work_for_every_kind_of_operation) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.flags = AIO_CTX_SQE128 | AIO_CTX_CQE32));
    const aio_info info = info_of(ctx);
    CHECK_EQ(info.sqe_size, 128);
    CHECK_EQ(info.cqe_size, 32);
    char data[64] = {0};
    const int fd = temp_file("wide", "0123456789", 10);
    for (int round = 0; round < 200; round++) { /* around the queues more than once */
        struct call nop = {0}, read = {0}, timer = {0};
        ID(aio_submit_nop(ctx, NULL, on_call, &nop));
        ID(aio_submit_read(ctx, fd, data, sizeof data, 3, NULL, on_call, &read));
        ID(aio_submit_timer(ctx, 1000, NULL, on_call, &timer));
        RUN_UNTIL(ctx, nop.finals && read.finals && timer.finals);
        CHECK_EQ(nop.result, 0);
        CHECK_EQ(timer.result, 0);
        CHECK_EQ(read.result, 7);
        CHECK_MEM(data, "3456789", 7);
    }
    close(fd);
    end_ctx(ctx);
}

TEST(the_environment_variable_does_not_touch_an_explicit_backend) {
    setenv("AIO_RS_BACKEND", "epoll", 1);
    aio_ctx *ctx = NULL;
    const int32_t status = aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx);
    if (status != 0)
        SKIP("no ring here: %s", aio_strerror(status));
    CHECK_EQ(info_of(ctx).backend, AIO_BACKEND_URING);
    end_ctx(ctx);
}

TEST(many_contexts_live_side_by_side_on_one_thread) {
    aio_ctx *ctxs[8];
    struct call calls[8];
    memset(calls, 0, sizeof calls);
    for (int i = 0; i < 8; i++)
        ctxs[i] = make_ctx();
    for (int i = 0; i < 8; i++)
        ID(aio_submit_timer(ctxs[i], (uint64_t)i * 100000, NULL, on_call, &calls[i]));
    for (int i = 7; i >= 0; i--) {
        CHECK_EQ(await_call(ctxs[i], &calls[i]), 0);
        CHECK(calls[i].ctx == ctxs[i]);
    }
    for (int i = 0; i < 8; i++)
        end_ctx(ctxs[i]);
}

TEST(creating_and_destroying_leaves_no_descriptor_behind) {
    end_ctx(make_ctx());
    const int before = open_descriptors();
    for (int i = 0; i < scaled(200); i++) {
        aio_ctx *ctx = make_ctx();
        if (i & 1)
            CHECK_GE(aio_ctx_fd(ctx), 0);
        end_ctx(ctx);
    }
    CHECK_EQ(open_descriptors(), before);
}

TEST(the_descriptors_of_a_context_are_close_on_exec) {
    enum { LOOKED_AT = 256 };
    bool before[LOOKED_AT]; /* what this process was started with is not of interest */
    for (int fd = 0; fd < LOOKED_AT; fd++)
        before[fd] = is_open(fd);
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    await_call(ctx, &call);
    CHECK(is_cloexec(SYS(aio_ctx_fd(ctx))));
    int seen = 0;
    for (int fd = 0; fd < LOOKED_AT; fd++) {
        if (before[fd] || !is_open(fd))
            continue;
        CHECK(is_cloexec(fd));
        seen++;
    }
    CHECK_GT(seen, 0);
    end_ctx(ctx);
}

/* --- run and run_once ------------------------------------------------------------------------ */

static void post_flag(void *arg) { *(bool *)arg = true; }

TEST(run_returns_at_once_when_nothing_is_in_flight) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

static void submit_next(struct call *call) {
    int *left = call->arg;
    if (--*left > 0) {
        call->finals = 0;
        ID(aio_submit_nop(call->ctx, NULL, on_call, call));
    }
}

TEST(run_goes_on_while_callbacks_submit_more) {
    aio_ctx *ctx = make_ctx();
    int left = 1000;
    struct call call = {.then = submit_next, .arg = &left};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(left, 0);
    CHECK_EQ(call.calls, 1000);
    end_ctx(ctx);
}

TEST(run_once_counts_callbacks_records_and_posted_functions) {
    aio_ctx *ctx = make_ctx();
    int calls = 0, counted = 0;
    for (int i = 0; i < 5; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    for (int i = 0; i < 2; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, NULL));
    bool posted = false;
    CHECK_EQ(aio_ctx_post(ctx, post_flag, &posted), 0);
    for (const uint64_t end = patience_end_ns(); counted < 8 && now_ns() < end;) {
        const int32_t count = aio_ctx_run_once(ctx, 1000 * (int64_t)MS);
        CHECK_GE(count, 0);
        counted += count;
    }
    CHECK_EQ(counted, 8);
    CHECK_EQ(calls, 5);
    CHECK(posted);
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    end_ctx(ctx);
}

TEST(run_once_with_zero_does_not_wait) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS, NULL, on_call, &call));
    for (int i = 0; i < 100; i++)
        CHECK_EQ(aio_ctx_run_once(ctx, 0), 0); /* the watchdog ends the test if one waits */
    CHECK_EQ(call.calls, 0);
    end_ctx(ctx);
    CHECK_EQ(call.finals, 1);
}

TEST(run_once_waits_no_less_than_its_timeout_when_nothing_happens) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS, NULL, on_call, &call));
    const uint64_t start = now_ns();
    CHECK_EQ(aio_ctx_run_once(ctx, 30 * (int64_t)MS), 0);
    CHECK_GE(now_ns() - start, 30 * MS);
    end_ctx(ctx);
}

TEST(run_once_without_a_limit_returns_when_there_is_nothing_to_wait_for) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_ctx_run_once(ctx, -1), 0);
    end_ctx(ctx);
}

TEST(run_once_without_a_limit_ends_with_a_completion) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_timer(ctx, 5 * MS, NULL, on_call, &call));
    while (call.finals == 0)
        CHECK_GE(aio_ctx_run_once(ctx, -1), 0);
    CHECK_EQ(call.result, 0);
    end_ctx(ctx);
}

/* A limit that the watchdog would not let a test wait for. */
enum { AN_HOUR_MS = 3600 * 1000 };

TEST(run_once_with_a_limit_returns_when_the_last_operation_has_ended_quietly) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    char byte = 0;
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    CHECK_EQ(aio_ctx_run_once(ctx, AN_HOUR_MS * (int64_t)MS), 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    make_socket_pair(pair);
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never,
                       NULL));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run_once(ctx, AN_HOUR_MS * (int64_t)MS), 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    CHECK_EQ(byte, 'x');
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

TEST(run_once_with_a_limit_returns_when_the_last_operation_was_detached) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < 3; i++) {
        aio_op_id id;
        if (i == 0)
            id = ID(aio_submit_timer(ctx, AN_HOUR_MS * MS, NULL, on_call_never, NULL));
        else
            id = ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call_never, NULL));
        if (i < 2)
            CHECK_EQ(aio_ctx_run_once(ctx, 0), 0); /* it has begun */
        CHECK_EQ(aio_ctx_detach(ctx, id), 0);
        if (aio_ctx_in_flight(ctx) != 0)
            CHECK_EQ(aio_ctx_run_once(ctx, AN_HOUR_MS * (int64_t)MS), 0);
        CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    }
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

/* Timers and posted work are not starved by operations that complete for ever. */
static void submit_again(struct call *call) {
    call->finals = 0;
    if (!*(bool *)call->arg)
        ID(aio_submit_nop(call->ctx, NULL, on_call, call));
}

static void set_flag(struct call *call) { *(bool *)call->arg = true; }

TEST(a_timer_fires_in_a_flood_of_completions) {
    aio_ctx *ctx = make_ctx();
    bool over = false;
    struct call flood[32];
    memset(flood, 0, sizeof flood);
    for (int i = 0; i < COUNT_OF(flood); i++) {
        flood[i] = (struct call){.then = submit_again, .arg = &over};
        ID(aio_submit_nop(ctx, NULL, on_call, &flood[i]));
    }
    struct call timer = {.then = set_flag, .arg = &over};
    ID(aio_submit_timer(ctx, 2 * MS, NULL, on_call, &timer));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(timer.finals, 1);
    CHECK_GT(flood[0].calls, 1);
    end_ctx(ctx);
}

TEST(posted_work_runs_in_a_flood_of_completions) {
    aio_ctx *ctx = make_ctx();
    bool over = false;
    struct call flood[32];
    memset(flood, 0, sizeof flood);
    for (int i = 0; i < COUNT_OF(flood); i++) {
        flood[i] = (struct call){.then = submit_again, .arg = &over};
        ID(aio_submit_nop(ctx, NULL, on_call, &flood[i]));
    }
    CHECK_GE(aio_ctx_run_once(ctx, 1000 * (int64_t)MS), 0);
    CHECK_EQ(aio_ctx_post(ctx, post_flag, &over), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(over);
    end_ctx(ctx);
}

/* --- limits ---------------------------------------------------------------------------------- */

TEST(max_ops_refuses_with_eagain_and_accepts_again_afterwards) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.max_ops = 3));
    int calls = 0;
    for (int i = 0; i < 3; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(aio_submit_timer(ctx, 1, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(aio_ctx_in_flight(ctx), 3);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 3);
    for (int i = 0; i < 3; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 6);
    end_ctx(ctx);
}

/* --- what a context tells about itself ------------------------------------------------------- */

TEST(in_flight_counts_what_has_not_ended) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    struct call timer = {0}, nop = {0};
    const aio_op_id id = ID(aio_submit_timer(ctx, 3600 * 1000 * MS, NULL, on_call, &timer));
    ID(aio_submit_nop(ctx, NULL, on_call, &nop));
    CHECK_EQ(aio_ctx_in_flight(ctx), 2);
    await_call(ctx, &nop);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    await_call(ctx, &timer);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    end_ctx(ctx);
}

TEST(stats_count_what_happened) {
    aio_ctx *ctx = make_ctx();
    aio_stats stats = stats_of(ctx);
    CHECK_EQ(stats.submitted, 0);
    CHECK_EQ(stats.completed, 0);
    CHECK_EQ(stats.callbacks, 0);
    int pair[2], calls = 0;
    make_socket_pair(pair);
    char byte = 0;
    bool posted = false;
    struct call idle = {0}, late = {0};
    for (int i = 0; i < 10; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &idle));
    ID(aio_submit_recv(ctx, pair[1], &byte, 1, 0, WITH(.timeout_ns = MS), on_call, &late));
    CHECK_EQ(aio_ctx_post(ctx, post_flag, &posted), 0);
    CHECK_EQ(await_call(ctx, &late), -ETIMEDOUT);
    RUN_UNTIL(ctx, posted && calls == 10);
    stats = stats_of(ctx);
    CHECK_EQ(stats.submitted, 12);
    CHECK_EQ(stats.in_flight, 1);
    CHECK_EQ(stats.completed, 11);
    CHECK_EQ(stats.callbacks, 12); /* the posted function is one */
    CHECK_EQ(stats.deadlines, 1);
    CHECK_EQ(stats.posts, 1);
    CHECK_GT(stats.turns, 0);
    CHECK_GT(stats.system_calls, 0);
    CHECK_EQ(stats.cancels, 1);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &idle), -ECANCELED);
    stats = stats_of(ctx);
    CHECK_EQ(stats.completed, 12);
    CHECK_EQ(stats.in_flight, 0);
    end_ctx(ctx);
}

static int lines_in(const char *text) {
    int count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

TEST(dump_has_a_header_line_and_a_line_per_operation) {
    aio_ctx *ctx = make_ctx();
    char text[4096];
    memset(text, 0, sizeof text);
    CHECK_EQ(aio_ctx_dump(ctx, text, sizeof text), strlen(text));
    CHECK_EQ(lines_in(text), 1);
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call recv = {0}, timer = {0};
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS, NULL, on_call, &timer));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_ctx_dump(ctx, text, sizeof text), strlen(text));
    CHECK_EQ(lines_in(text), 3);
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, id);
    CHECK(strstr(text, number) != NULL);
    CHECK(strstr(text, "recv") != NULL);
    CHECK(strstr(text, "timer") != NULL);
    snprintf(number, sizeof number, "%d", pair[0]);
    CHECK(strstr(strstr(text, "recv"), number) != NULL);
    end_ctx(ctx);
    CHECK_EQ(recv.finals, 1);
}

TEST(dump_shows_the_correlation_given_at_submit) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    char text[2048] = {0};
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS, WITH(.correlation = 7755331199), on_call, &call));
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    /* Decimal or hexadecimal is the library's choice. */
    CHECK(strstr(text, "7755331199") || strstr(text, "1ce40ce7f") || strstr(text, "1CE40CE7F"));
    end_ctx(ctx);
}

TEST(dump_truncates_like_snprintf) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS, NULL, on_call, &call));
    char whole[2048] = {0}, part[16];
    const int64_t len = aio_ctx_dump(ctx, NULL, 0);
    CHECK_GT(len, (int64_t)sizeof part);
    CHECK_LT(len, (int64_t)sizeof whole);
    memset(part, 'x', sizeof part);
    CHECK_GT(aio_ctx_dump(ctx, part, 8), 8);
    CHECK_EQ(part[7], 0);
    CHECK_EQ(part[8], 'x');
    CHECK_GT(aio_ctx_dump(ctx, whole, sizeof whole), 0);
    CHECK_MEM(part, whole, 7);
    end_ctx(ctx);
}

TEST(user_data_is_kept) {
    aio_ctx *ctx = make_ctx();
    int mine = 0;
    CHECK(aio_ctx_user_data(ctx) == NULL);
    aio_ctx_set_user_data(ctx, &mine);
    CHECK(aio_ctx_user_data(ctx) == &mine);
    aio_ctx_set_user_data(ctx, NULL);
    CHECK(aio_ctx_user_data(ctx) == NULL);
    end_ctx(ctx);
}

/* --- during a callback ----------------------------------------------------------------------- */

TEST(current_names_the_context_and_the_operation_of_the_callback) {
    aio_ctx *ctx = make_ctx();
    struct call first = {0}, second = {0};
    const aio_op_id a = ID(aio_submit_nop(ctx, NULL, on_call, &first));
    const aio_op_id b = ID(aio_submit_timer(ctx, MS, NULL, on_call, &second));
    CHECK(aio_ctx_current() == NULL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK(first.ctx == ctx && second.ctx == ctx);
    CHECK_EQ(first.id, a);
    CHECK_EQ(second.id, b);
    CHECK(aio_ctx_current() == NULL);
    CHECK_EQ(aio_ctx_current_op(ctx), -ENOENT);
    CHECK_EQ(aio_ctx_current_bytes(ctx), 0);
    end_ctx(ctx);
}

static void run_the_other(struct call *call) {
    aio_ctx *other = call->arg;
    struct call inner = {0};
    ID(aio_submit_nop(other, NULL, on_call, &inner));
    CHECK_EQ(aio_ctx_run(other), 0);
    CHECK_EQ(inner.finals, 1);
    CHECK(inner.ctx == other);
    CHECK(aio_ctx_current() == call->ctx);
    CHECK_EQ(aio_ctx_current_op(call->ctx), call->id);
}

TEST(another_context_can_be_run_inside_a_callback) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    struct call call = {.then = run_the_other, .arg = other};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
    end_ctx(other);
}

struct bytes_seen {
    uint64_t bytes;
};

static void note_bytes(struct call *call) {
    ((struct bytes_seen *)call->arg)->bytes = aio_ctx_current_bytes(call->ctx);
}

TEST(current_bytes_of_a_transfer_is_what_was_transferred) {
    aio_ctx *ctx = make_ctx();
    struct bytes_seen seen = {.bytes = 99};
    struct call call = {.then = note_bytes, .arg = &seen};
    char data[16] = {0};
    const int fd = temp_file("bytes", "hello", 5);
    ID(aio_submit_read(ctx, fd, data, sizeof data, 0, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 5);
    CHECK_EQ(seen.bytes, 5);
    close(fd);
    end_ctx(ctx);
}

HARNESS_MAIN
