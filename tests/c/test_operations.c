/* Every operation of this version: success, each documented error, deadline, destroy in flight,
 * cancel, the bad arguments that all submit functions share, and success through a slot of the
 * table of direct descriptors. See operations.h for the table of operations. */
#include "name_server.h"
#include "operations.h"

#include <inttypes.h>

static bool takes_async(const struct row *row) {
    return !row->timer && !row->multishot && !row->pooled && !row->bundled && !row->service;
}

static uint32_t async_flag(const struct row *row, bool wanted) {
    return wanted && takes_async(row) ? AIO_SUBMIT_ASYNC : 0;
}

/* What every attempt must leave behind: nothing in flight, no descriptor more than before. */
struct attempt {
    struct env env;
    struct call call;
};

/* Open before the test's first attempt: a lookup that an earlier one has cancelled may still have
 * its socket at the next one's begin. */
static int descriptors_before = -1;

/* The library makes the system call itself, and valgrind sees it. */
static bool is_plain_call(const struct env *e) {
    return !has_ring(e->ctx) || is_test_of("getsockopt");
}

static void attempt_open_with(struct attempt *a, env_fn setup, uint32_t ctx_flags) {
    temp_dir();
    if (descriptors_before < 0)
        descriptors_before = open_descriptors();
    a->call = (struct call){0};
    env_open(&a->env, ctx_flags);
    if (is_test_of("openat2") || is_test_of("futex_waitv"))
        needs_known_calls(a->env.ctx);
    if (is_test_of("getaddrinfo") || is_test_of("getnameinfo"))
        needs_threads_beside_a_ring(a->env.ctx);
    if (setup)
        setup(&a->env);
}

static void attempt_open(struct attempt *a, env_fn setup) { attempt_open_with(a, setup, 0); }

/* A thread that has told of an end lets go of the context a moment later, and one whose lookup was
 * cancelled goes on opening and closing files: what was seen once is looked at no more. */
static void check_descriptors(void) {
    const uint64_t limit_ns = patience_end_ns();
    int open = open_descriptors();
    while (open != descriptors_before && now_ns() < limit_ns) {
        sleep_ms(1);
        open = open_descriptors();
    }
    CHECK_EQ(open, descriptors_before);
}

static void env_end(struct env *e) {
    env_close(e);
    check_descriptors();
}

static void attempt_close(struct attempt *a) {
    check_nothing_in_flight(a->env.ctx);
    end_ctx(a->env.ctx);
    env_end(&a->env);
}

/* A notification follows a result with MORE, and only such a one. */
static void check_notified(const struct call *call) {
    CHECK_EQ(call->calls, call->first_flags & AIO_CQE_MORE ? 2 : 1);
    if (call->calls == 2) {
        CHECK_EQ(call->flags, AIO_CQE_NOTIFY);
        CHECK_EQ(call->result, 0);
    }
}

static void check_once(const struct call *call, const struct row *row) {
    CHECK_EQ(call->finals, 1);
    if (row->notifies)
        check_notified(call);
    else if (!row->multishot)
        CHECK_EQ(call->calls, 1);
}

/* What the callback with the result said; MORE is check_once's affair. */
static int32_t result_of(const struct call *call, const struct row *row) {
    return row->notifies ? call->first : call->result;
}

static uint32_t flags_of(const struct call *call, const struct row *row) {
    return row->notifies ? call->first_flags & ~AIO_CQE_MORE : call->flags;
}

static void close_made(struct attempt *a, const struct row *row, int32_t result) {
    if (row->makes_descriptor && is_open(result))
        close(result);
    for (int i = 0; row->makes_pair && i < 2; i++)
        SYS(close(a->env.pair[i]));
}

/* A result that is a success: its value is checked, and what was made is closed. */
static void take_success(struct attempt *a, const struct row *row, int32_t result) {
    row->check(&a->env, result);
    close_made(a, row, result);
}

/* --- success --------------------------------------------------------------------------------- */

/* What has been taken is nothing that the probe says no to. */
static void check_promised(const struct env *e, const struct row *row) {
    char function[64];
    const int len = snprintf(function, sizeof function, "aio_submit_%s", row->name);
    aio_probe_result result = {.size = sizeof result};
    for (uint32_t opcode = 0; aio_probe_op(e->ctx, opcode, &result) == 0; opcode++) {
        const char *found = strstr(result.functions, function);
        if (found && (found[len] == ',' || found[len] == 0))
            CHECK_NE(result.status, AIO_PROBE_NO);
    }
}

static void attempt_success(const struct row *row, const aio_submit_options *options,
                            bool waits_first) {
    struct attempt a;
    const submit_fn submit = waits_first && row->submit_blocked ? row->submit_blocked : row->submit;
    attempt_open(&a, waits_first ? row->block : row->setup);
    a.env.start_ns = now_ns();
    const aio_op_id id = ID(submit(&a.env, options, on_call, &a.call));
    CHECK_EQ(a.call.calls, 0);
    check_promised(&a.env, row);
    if (waits_first) {
        check_blocked(a.env.ctx, &a.call);
        row->unblock(&a.env);
    }
    RUN_UNTIL(a.env.ctx, a.call.calls >= 1);
    if (row->notifies) {
        await_call(a.env.ctx, &a.call);
        check_once(&a.call, row);
        CHECK_EQ(a.call.first_flags, AIO_CQE_MORE);
        take_success(&a, row, a.call.first);
        attempt_close(&a);
        return;
    }
    CHECK_EQ(a.call.id, id);
    CHECK_EQ(a.call.flags & (AIO_CQE_DEADLINE | AIO_CQE_ABORTED), 0);
    CHECK_EQ(a.call.flags & AIO_CQE_MORE, row->multishot ? AIO_CQE_MORE : 0);
    CHECK_EQ(a.call.finals, !row->multishot);
    take_success(&a, row, a.call.result);
    if (row->multishot) {
        CHECK_EQ(aio_ctx_cancel(a.env.ctx, id), 0);
        CHECK_EQ(await_call(a.env.ctx, &a.call), -ECANCELED);
    }
    attempt_close(&a);
}

static void attempt_quiet(const struct row *row) {
    struct attempt a;
    attempt_open(&a, row->setup);
    const aio_op_id id = row->submit(&a.env, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL);
    if (row->notifies || row->brings)
        CHECK_EQ(id, -EINVAL); /* nobody would learn when the memory is free, or of what came */
    else
        CHECK_GT(id, 0);
    CHECK_EQ(aio_ctx_run(a.env.ctx), 0);
    CHECK_EQ(stats_of(a.env.ctx).callbacks, 0);
    attempt_close(&a);
}

static void attempt_record(const struct row *row) {
    struct attempt a;
    attempt_open(&a, row->setup);
    a.env.start_ns = now_ns();
    if (row->unreaped) {
        CHECK_EQ(row->submit(&a.env, NULL, AIO_CALLBACK_REAP, &a), -EINVAL);
        attempt_close(&a);
        return;
    }
    const aio_op_id id = ID(row->submit(&a.env, NULL, AIO_CALLBACK_REAP, &a));
    aio_completion record = {0};
    CHECK_EQ(aio_ctx_reap(a.env.ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
    CHECK_EQ(record.id, id);
    CHECK_EQ(record.user_data, (uintptr_t)&a);
    CHECK_EQ(record.lease != 0, row->pooled);
    if (row->pooled)
        CHECK_EQ(aio_buffer_pool_release(a.env.pool, record.lease), 0);
    take_success(&a, row, record.result);
    if (row->notifies) {
        CHECK_EQ(record.flags, AIO_CQE_MORE);
        CHECK_EQ(aio_ctx_reap(a.env.ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
        CHECK_EQ(record.id, id);
        CHECK_EQ(record.flags, AIO_CQE_NOTIFY);
        CHECK_EQ(record.result, 0);
        CHECK_EQ(record.extra, 0);
    }
    if (row->multishot) {
        CHECK_EQ(aio_ctx_cancel(a.env.ctx, id), 0);
        CHECK_EQ(aio_ctx_reap(a.env.ctx, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
        CHECK_EQ(record.result, -ECANCELED);
    }
    attempt_close(&a);
}

static void attempt_dump(const struct row *row) {
    struct attempt a;
    attempt_open(&a, row->block ? row->block : row->setup);
    const submit_fn submit = row->block && row->submit_blocked ? row->submit_blocked : row->submit;
    const aio_op_id id = ID(submit(&a.env, WITH(.correlation = 987654321), on_call, &a.call));
    char text[2048] = {0};
    if (row->block)
        run_for_ms(a.env.ctx, 20);
    CHECK_GT(aio_ctx_dump(a.env.ctx, text, sizeof text), 0);
    CHECK(strstr(text, row->shown ? row->shown : row->name) != NULL);
    check_age(text, id, row->block ? 10 : 0);
    CHECK(strstr(text, "987654321") || strstr(text, "3ade68b1"));
    aio_ctx_cancel(a.env.ctx, id);
    await_call(a.env.ctx, &a.call);
    if (a.call.result >= 0)
        close_made(&a, row, a.call.result);
    attempt_close(&a);
}

/* As it succeeds, and as it is cancelled. */
static void attempt_observed(const struct row *row, bool waits) {
    struct attempt a;
    const submit_fn submit = waits && row->submit_blocked ? row->submit_blocked : row->submit;
    attempt_open_with(&a, waits ? row->block : row->setup, AIO_CTX_HISTOGRAMS);
    a.env.start_ns = now_ns();
    struct observer *observer = observe(a.env.ctx);
    const aio_op_id id = ID(submit(&a.env, WITH(.correlation = 77), on_call, &a.call));
    if (!waits)
        RUN_UNTIL(a.env.ctx, a.call.calls >= 1);
    if (waits || row->multishot)
        CHECK_EQ(aio_ctx_cancel(a.env.ctx, id), 0);
    await_call(a.env.ctx, &a.call);
    check_observed(observer, a.env.ctx, &a.call, id, 77);
    if (!waits)
        take_success(&a, row, row->multishot ? a.call.first : result_of(&a.call, row));
    attempt_close(&a);
}

void operation_succeeds(const void *arg) {
    const struct row *row = arg;
    attempt_success(row, NULL, false);
    attempt_success(row, WITH(.timeout_ns = HOUR, .group = 3, .correlation = 4), false);
    if (row->unblock)
        attempt_success(row, NULL, true);
    if (takes_async(row)) {
        attempt_success(row, WITH(.flags = AIO_SUBMIT_ASYNC), false);
        if (row->unblock)
            attempt_success(row, WITH(.flags = AIO_SUBMIT_ASYNC), true);
    }
    if (!row->multishot && !row->makes_descriptor && !row->makes_pair && !row->pooled)
        attempt_quiet(row);
    attempt_record(row);
    attempt_dump(row);
    attempt_observed(row, false);
    if (row->block)
        attempt_observed(row, true);
}

/* --- errors ---------------------------------------------------------------------------------- */

void operation_fails(const void *arg) {
    const struct failure *failure = arg;
    struct attempt a;
    attempt_open(&a, NULL);
    if (failure->status == -EFAULT && is_plain_call(&a.env))
        beyond_valgrind("reports the memory that the system call refuses");
    const aio_op_id id = failure->submit(&a.env, NULL, on_call, &a.call);
    if (id > 0) { /* the kernel's answer comes through the callback, ours at once */
        await_call(a.env.ctx, &a.call);
        CHECK_EQ(a.call.first, failure->status);
        CHECK_EQ(a.call.first_flags & ~AIO_CQE_MORE, 0);
        check_notified(&a.call);
    } else {
        CHECK_EQ(id, failure->status);
        CHECK_EQ(aio_ctx_run(a.env.ctx), 0);
        CHECK_EQ(a.call.calls, 0);
    }
    attempt_close(&a);
}

/* --- deadline -------------------------------------------------------------------------------- */

void operation_meets_its_deadline(const void *arg) {
    const struct row *row = arg;
    struct attempt a;
    if (row->block) {
        for (int async = 0; async <= takes_async(row); async++) {
            const uint32_t flags = async_flag(row, async);
            attempt_open(&a, row->block);
            const uint64_t start = now_ns();
            const submit_fn submit = row->submit_blocked ? row->submit_blocked : row->submit;
            ID(submit(&a.env, WITH(.flags = flags, .timeout_ns = 5 * MS), on_call, &a.call));
            await_call(a.env.ctx, &a.call);
            CHECK_EQ(result_of(&a.call, row), -ETIMEDOUT);
            CHECK_EQ(flags_of(&a.call, row), AIO_CQE_DEADLINE);
            check_once(&a.call, row);
            CHECK_GE(a.call.at_ns - start, 5 * MS);
            attempt_close(&a);
        }
        return;
    }
    for (int i = 0; i < scaled(20); i++) { /* so short that it may or may not be faster */
        attempt_open(&a, row->setup);
        a.env.start_ns = now_ns();
        ID(row->submit(&a.env, WITH(.timeout_ns = i & 1 ? 1 : 20000), on_call, &a.call));
        await_call(a.env.ctx, &a.call);
        check_once(&a.call, row);
        if (flags_of(&a.call, row) & AIO_CQE_DEADLINE)
            CHECK_EQ(result_of(&a.call, row), -ETIMEDOUT);
        else
            take_success(&a, row, result_of(&a.call, row));
        attempt_close(&a);
    }
}

/* --- destroy --------------------------------------------------------------------------------- */

static void destroyed(struct attempt *a, const struct row *row) {
    CHECK_EQ(aio_ctx_destroy(a->env.ctx), 0);
    check_once(&a->call, row);
    if (flags_of(&a->call, row) & AIO_CQE_ABORTED) {
        CHECK_EQ(result_of(&a->call, row), -ECANCELED);
    } else {
        CHECK(row->block == NULL); /* what waits cannot have succeeded */
        take_success(a, row, result_of(&a->call, row));
    }
    env_end(&a->env);
}

void operation_in_flight_at_destroy(const void *arg) {
    const struct row *row = arg;
    const submit_fn submit = row->block && row->submit_blocked ? row->submit_blocked : row->submit;
    for (int phase = 0; phase < 6; phase++) { /* staged, handed over, waiting; plain and async */
        const uint32_t flags = async_flag(row, phase >= 3);
        struct attempt a;
        attempt_open(&a, row->block ? row->block : row->setup);
        a.env.start_ns = now_ns();
        ID(submit(&a.env, WITH(.flags = flags), on_call, &a.call));
        if (phase % 3 == 1)
            CHECK_GE(aio_ctx_flush(a.env.ctx), 0);
        if (phase % 3 == 2 && row->block)
            check_blocked(a.env.ctx, &a.call);
        destroyed(&a, row);
    }
}

/* --- cancel ---------------------------------------------------------------------------------- */

void operation_cancelled(const void *arg) {
    const struct row *row = arg;
    const submit_fn submit = row->block && row->submit_blocked ? row->submit_blocked : row->submit;
    for (int phase = 0; phase < 6; phase++) {
        const uint32_t flags = async_flag(row, phase >= 3);
        struct attempt a;
        attempt_open(&a, row->block ? row->block : row->setup);
        a.env.start_ns = now_ns();
        const aio_op_id id = ID(submit(&a.env, WITH(.flags = flags), on_call, &a.call));
        if (phase % 3 == 1)
            CHECK_GE(aio_ctx_flush(a.env.ctx), 0);
        if (phase % 3 == 2 && row->block)
            check_blocked(a.env.ctx, &a.call);
        const int32_t status = aio_ctx_cancel(a.env.ctx, id);
        CHECK_EQ(a.call.calls, 0);
        if (row->block)
            CHECK_EQ(status, 0);
        else
            CHECK(status == 0 || status == -EALREADY); /* complete, its callback is due */
        CHECK_EQ(aio_ctx_run(a.env.ctx), 0);
        check_once(&a.call, row);
        CHECK_EQ(flags_of(&a.call, row) & (AIO_CQE_ABORTED | AIO_CQE_DEADLINE), 0);
        if (row->block)
            CHECK_EQ(result_of(&a.call, row), -ECANCELED);
        else if (result_of(&a.call, row) != -ECANCELED)
            take_success(&a, row, result_of(&a.call, row));
        attempt_close(&a);
    }
}

/* --- bad arguments --------------------------------------------------------------------------- */

struct wrong_thread {
    const struct row *row;
    struct env *env;
};

static void *submit_on_the_wrong_thread(void *arg) {
    const struct wrong_thread *wrong = arg;
    CHECK_EQ(wrong->row->submit(wrong->env, NULL, on_call_never, NULL), AIO_EWRONGTHREAD);
    return NULL;
}

void operation_refuses_bad_arguments(const void *arg) {
    const struct row *row = arg;
    struct attempt a;
    struct {
        aio_submit_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger}, .later = 1};
    attempt_open(&a, row->setup);
    struct env *e = &a.env;
    aio_ctx *ctx = e->ctx;
    CHECK_GE(aio_ctx_flush(ctx), 0); /* adopted here */
    CHECK_EQ(row->submit(e, NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(row->submit(e, WITH(.flags = 1u << 31), on_call_never, NULL), -EINVAL);
    CHECK_EQ(row->submit(e, WITH(.flags = 1u << 16), on_call_never, NULL), -EINVAL);
    CHECK_EQ(row->submit(e, &(aio_submit_options){.size = 0}, on_call_never, NULL), -EINVAL);
    CHECK_EQ(row->submit(e, &(aio_submit_options){.size = sizeof(aio_submit_options) - 1},
                         on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(row->submit(e, &larger.options, on_call_never, NULL), -E2BIG);
    e->ctx = NULL;
    CHECK_EQ(row->submit(e, NULL, on_call_never, NULL), -EINVAL);
    e->ctx = ctx;
    struct wrong_thread wrong = {row, e};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, submit_on_the_wrong_thread, &wrong), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    if (row->timer)
        for (uint32_t flag = AIO_SUBMIT_LINK; flag <= AIO_SUBMIT_ASYNC; flag <<= 1)
            CHECK_EQ(row->submit(e, WITH(.flags = flag), on_call_never, NULL), -EINVAL);
    const uint32_t unserved[] = {AIO_SUBMIT_LINK,    AIO_SUBMIT_HARDLINK, AIO_SUBMIT_ASYNC,
                                 AIO_SUBMIT_INHERIT, AIO_SUBMIT_SIGPIPE,  AIO_SUBMIT_DIRECT};
    for (int i = 0; row->service && i < COUNT_OF(unserved); i++)
        CHECK_EQ(row->submit(e, WITH(.flags = unserved[i]), on_call_never, NULL), -EINVAL);
    const uint32_t unpooled[] = {AIO_SUBMIT_LINK, AIO_SUBMIT_HARDLINK, AIO_SUBMIT_ASYNC,
                                 AIO_SUBMIT_QUIET, AIO_SUBMIT_SIGPIPE};
    for (int i = 0; row->pooled && i < COUNT_OF(unpooled); i++)
        CHECK_EQ(row->submit(e, WITH(.flags = unpooled[i]), on_call_never, NULL), -EINVAL);
    for (int i = 0; row->bundled && i < 3; i++)
        CHECK_EQ(row->submit(e, WITH(.flags = unpooled[i]), on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    larger.later = 0; /* a later version's struct that asks for nothing new */
    const aio_op_id id = ID(row->submit(e, &larger.options, on_call, &a.call));
    RUN_UNTIL(ctx, a.call.calls >= 1);
    take_success(&a, row, a.call.first);
    if (row->notifies)
        await_call(ctx, &a.call);
    if (row->multishot) {
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        await_call(ctx, &a.call);
    }
    attempt_close(&a);
}

/* --- through a slot -------------------------------------------------------------------------- */

/* What has no descriptor that could be a slot, and refuses the flag. */
static const char *const slotless[] = {
    "nop",         "timer",       "timer_at",       "interval",    "openat",       "openat2",
    "statx",       "unlinkat",    "mkdirat",        "renameat",    "symlinkat",    "linkat",
    "getxattr",    "setxattr",    "madvise",        "socket",      "pipe",         "waitid",
    "epoll_ctl",   "futex_wait",  "futex_wake",     "futex_waitv", "files_update", "msg_ring",
    "msg_ring_fd", "msg_receive", "msg_receive_fd",
};

static bool has_slot(const struct row *row) {
    if (row->service)
        return false;
    for (int i = 0; i < COUNT_OF(slotless); i++)
        if (!strcmp(row->name, slotless[i]))
            return false;
    return true;
}

/* Where the row's submit function finds what AIO_SUBMIT_FIXED_FILE is about. */
static int *slot_argument(const struct row *row, struct env *e) {
    if (!strcmp(row->name, "splice") || !strcmp(row->name, "tee"))
        return &e->other; /* the end that is written to */
    return strcmp(row->name, "epoll_wait") ? &e->fd : &e->value;
}

#define SLOT 50 /* no number of a descriptor here */

/* Puts the operation's descriptor into a slot and submits it there. */
static aio_op_id submit_to_slot(struct attempt *a, const struct row *row, submit_fn submit,
                                const aio_submit_options *options) {
    int *fd = slot_argument(row, &a->env);
    const int kept = *fd;
    const aio_files_options table = {.size = sizeof table, .count = SLOT + 1};
    const int32_t registered = aio_files_register(a->env.ctx, &table);
    if (registered != -EBUSY) { /* the row has its own */
        CHECK_EQ(registered, 0);
        CHECK_EQ(aio_files_update(a->env.ctx, SLOT, fd, 1), 1);
    }
    *fd = SLOT;
    const aio_op_id id = submit(&a->env, options, on_call, &a->call);
    *fd = kept;
    if (id == -EOPNOTSUPP) /* a plain call would do it, but knows no slots */
        needs_ring_of(a->env.ctx, 6, 11);
    return ID(id);
}

static void attempt_through_slot(const struct row *row, uint32_t flags, bool waits_first) {
    struct attempt a;
    const submit_fn submit = waits_first && row->submit_blocked ? row->submit_blocked : row->submit;
    attempt_open(&a, waits_first ? row->block : row->setup);
    a.env.start_ns = now_ns();
    const aio_op_id id =
        submit_to_slot(&a, row, submit, WITH(.flags = AIO_SUBMIT_FIXED_FILE | flags));
    if (waits_first) {
        check_blocked(a.env.ctx, &a.call);
        row->unblock(&a.env);
    }
    RUN_UNTIL(a.env.ctx, a.call.calls >= 1);
    if (row->notifies)
        await_call(a.env.ctx, &a.call);
    CHECK_EQ(a.call.finals, !row->multishot);
    if (strcmp(row->name, "close")) {
        take_success(&a, row, result_of(&a.call, row));
    } else { /* the slot is empty, and nothing was done to the descriptor */
        CHECK_EQ(a.call.result, 0);
        CHECK(is_open(a.env.fd));
        CHECK_EQ(DO(a.env.ctx, a.call,
                    aio_submit_close(a.env.ctx, SLOT, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call,
                                     memset(&a.call, 0, sizeof a.call))),
                 -EBADF);
    }
    if (row->multishot) {
        CHECK_EQ(aio_ctx_cancel(a.env.ctx, id), 0);
        CHECK_EQ(await_call(a.env.ctx, &a.call), -ECANCELED);
    }
    attempt_close(&a);
}

/* The three ways to end what waits on a slot; the last closes it. */
static void attempt_ends_of_slot(const struct row *row) {
    const submit_fn submit = row->submit_blocked ? row->submit_blocked : row->submit;
    for (int way = 0; way < 3; way++) {
        struct attempt a;
        struct call closed = {0};
        attempt_open(&a, row->block);
        a.env.start_ns = now_ns();
        submit_to_slot(&a, row, submit, WITH(.flags = AIO_SUBMIT_FIXED_FILE));
        check_blocked(a.env.ctx, &a.call);
        if (way == 0) {
            char text[2048] = {0};
            CHECK_GT(aio_ctx_dump(a.env.ctx, text, sizeof text), 0);
            CHECK(strstr(text, " slot 50 ") != NULL);
            CHECK_EQ(aio_ctx_cancel_fd(a.env.ctx, SLOT, 0), 0);
            CHECK_EQ(aio_ctx_cancel_fd(a.env.ctx, SLOT, AIO_CANCEL_FIXED_FILE), 1);
        } else if (way == 1) {
            CHECK_EQ(aio_ctx_destroy(a.env.ctx), 0);
            CHECK_EQ(flags_of(&a.call, row), AIO_CQE_ABORTED);
        } else {
            ID(aio_submit_close(a.env.ctx, SLOT, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call,
                                &closed));
        }
        if (way != 1)
            await_call(a.env.ctx, &a.call);
        CHECK_EQ(result_of(&a.call, row), -ECANCELED);
        check_once(&a.call, row);
        CHECK(closed.calls == 0 || row->notifies); /* which it need not wait for */
        if (way == 2)
            CHECK_EQ(await_call(a.env.ctx, &closed), 0);
        if (way != 1)
            end_ctx(a.env.ctx);
        env_end(&a.env);
    }
}

static void needs_a_ring_that_takes_attributes_of_slots(void) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 13);
    end_ctx(ctx);
}

void operation_through_a_slot(const void *arg) {
    const struct row *row = arg;
    if (!has_slot(row)) {
        struct attempt a;
        attempt_open(&a, row->setup);
        CHECK_EQ(row->submit(&a.env, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call_never, NULL),
                 -EINVAL);
        attempt_close(&a);
        return;
    }
    if (!strcmp(row->name, "fgetxattr") || !strcmp(row->name, "fsetxattr"))
        needs_a_ring_that_takes_attributes_of_slots();
    attempt_through_slot(row, 0, false);
    if (takes_async(row))
        attempt_through_slot(row, AIO_SUBMIT_ASYNC, false);
    if (row->unblock) {
        attempt_through_slot(row, 0, true);
        if (takes_async(row))
            attempt_through_slot(row, AIO_SUBMIT_ASYNC, true);
    }
    if (row->block)
        attempt_ends_of_slot(row);
}

HARNESS_MAIN
