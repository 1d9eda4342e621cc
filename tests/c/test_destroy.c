/* Section ctx, the part on ends: destroy from everywhere, in a forked child, after the thread is
 * gone, with an operation that cannot be stopped; detach and cancel_wait for single operations. */
#include "harness.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* A bit of everything that waits, each with its own buffer and recorder. */
enum { MIX = 14 };

struct mix {
    int sockets[2], pipe_fds[2], full[2], listener;
    char bytes[MIX];
    struct sockaddr_in addr, peer;
    socklen_t peer_len;
    struct iovec iov;
    struct msghdr header;
    struct call calls[MIX];
    aio_op_id ids[MIX];
    int count;
};

#define MIX_ADD(mix_, submit_)                                                                     \
    do {                                                                                           \
        const aio_op_id id_ = ID(submit_);                                                         \
        (mix_)->ids[(mix_)->count++] = id_;                                                        \
    } while (0)
#define MIX_TAIL on_call, &mix->calls[mix->count]

static void mix_submit(aio_ctx *ctx, struct mix *mix) {
    memset(mix, 0, sizeof *mix);
    make_socket_pair(mix->sockets);
    make_pipe(mix->pipe_fds);
    make_pipe(mix->full);
    fill_until_full(mix->full[1]);
    mix->listener = make_tcp_listener(&mix->addr, 8);
    mix->peer_len = sizeof mix->peer;
    char *bytes = mix->bytes;
    mix->iov = (struct iovec){&bytes[12], 1};
    mix->header = (struct msghdr){.msg_iov = &mix->iov, .msg_iovlen = 1};
    const int in = mix->pipe_fds[0], socket = mix->sockets[0];
    const uint64_t here = AIO_OFFSET_CURRENT;
    const aio_submit_options *async = WITH(.flags = AIO_SUBMIT_ASYNC);
    MIX_ADD(mix, aio_submit_recv(ctx, socket, &bytes[0], 1, 0, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_read(ctx, in, &bytes[1], 1, here, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_read(ctx, in, &bytes[2], 1, here, async, MIX_TAIL));
    MIX_ADD(mix, aio_submit_write(ctx, mix->full[1], &bytes[3], 1, here, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_write(ctx, mix->full[1], &bytes[4], 1, here, async, MIX_TAIL));
    MIX_ADD(mix, aio_submit_accept(ctx, mix->listener, (struct sockaddr *)&mix->peer,
                                   &mix->peer_len, 0, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_accept_multishot(ctx, mix->listener, 0, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_poll(ctx, socket, POLLIN, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_poll_multishot(ctx, in, POLLIN, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_timer(ctx, HOUR, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_interval(ctx, HOUR, NULL, MIX_TAIL));
    MIX_ADD(mix, aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), MIX_TAIL));
    MIX_ADD(mix, aio_submit_recvmsg(ctx, socket, &mix->header, 0, NULL, MIX_TAIL));
    MIX_ADD(mix,
            aio_submit_recv(ctx, socket, &bytes[13], 1, 0, WITH(.timeout_ns = HOUR), MIX_TAIL));
    CHECK_EQ(mix->count, MIX);
}

/* After the end: one last callback each, and the buffers stay as they are when data comes now. */
static void mix_check_aborted(struct mix *mix) {
    for (int i = 0; i < MIX; i++) {
        CHECK_EQ(mix->calls[i].calls, 1);
        CHECK_EQ(mix->calls[i].result, -ECANCELED);
        CHECK_EQ(mix->calls[i].flags, AIO_CQE_ABORTED);
    }
    memset(mix->bytes, 'p', sizeof mix->bytes);
    write_all_or_fail(mix->sockets[1], "lllllll", 7);
    write_all_or_fail(mix->pipe_fds[1], "lllllll", 7);
    close(tcp_connect_to(&mix->addr));
    sleep_ms(5);
    for (int i = 0; i < MIX; i++)
        CHECK_EQ(mix->bytes[i], 'p');
    CHECK_EQ(mix->peer.sin_port, 0);
    CHECK_EQ(mix->peer_len, sizeof mix->peer);
    char seven[8] = {0};
    CHECK_EQ(read(mix->sockets[0], seven, sizeof seven), 7); /* and nothing was eaten */
    CHECK_EQ(read(mix->pipe_fds[0], seven, sizeof seven), 7);
}

TEST(destroy_ends_everything_in_flight_once) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    run_for_ms(ctx, 10);
    CHECK_EQ(aio_ctx_in_flight(ctx), MIX);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    mix_check_aborted(&mix);
}

TEST(destroy_ends_what_was_never_handed_over) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    mix_check_aborted(&mix);
}

TEST(destroy_ends_what_was_being_cancelled) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    run_for_ms(ctx, 5);
    CHECK_EQ(aio_ctx_cancel_all(ctx), MIX);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    for (int i = 0; i < MIX; i++) {
        CHECK_EQ(mix.calls[i].calls, 1);
        CHECK_EQ(mix.calls[i].result, -ECANCELED);
    }
}

TEST(destroy_leaves_the_descriptors_of_the_caller_open_and_none_of_its_own) {
    struct mix mix;
    aio_ctx *warm = make_ctx();
    end_ctx(warm);
    int before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        aio_ctx *ctx = make_ctx();
        mix_submit(ctx, &mix);
        run_for_ms(ctx, 2);
        CHECK_GE(aio_ctx_fd(ctx), 0);
        CHECK_EQ(aio_ctx_destroy(ctx), 0);
        before += 7; /* the mix's own */
        CHECK_EQ(open_descriptors(), before);
    }
}

TEST(destroy_ends_chains_and_a_pending_close) {
    aio_ctx *ctx = make_ctx();
    int a[2], b[2];
    make_socket_pair(a);
    make_socket_pair(b);
    char bytes[2] = {0};
    struct call head = {0}, member = {0}, recv = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, a[0], &bytes[0], 1, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call, &head));
    ID(aio_submit_nop(ctx, NULL, on_call, &member));
    ID(aio_submit_recv(ctx, b[0], &bytes[1], 1, 0, NULL, on_call, &recv));
    run_for_ms(ctx, 5);
    ID(aio_submit_close(ctx, b[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(head.calls, 1);
    CHECK_EQ(head.result, -ECANCELED);
    CHECK_EQ(member.calls, 1);
    CHECK_EQ(member.result, -ECANCELED);
    CHECK_EQ(member.flags, AIO_CQE_ABORTED);
    CHECK_EQ(recv.calls, 1);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(close_call.calls, 1);
    CHECK(close_call.result == 0 || close_call.result == -ECANCELED);
    CHECK_EQ(is_open(b[0]), close_call.result == -ECANCELED); /* closed exactly if it says so */
}

TEST(destroy_ends_an_open_chain) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &call));
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK(call.result == -ECANCELED || call.result == -EINVAL);
}

TEST(a_quiet_operation_in_flight_at_destroy_calls_back) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_timer(ctx, HOUR, WITH(.flags = AIO_SUBMIT_QUIET), on_call, &call));
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.result, -ECANCELED);
}

TEST(operations_for_the_batch_do_not_keep_destroy) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, AIO_CALLBACK_REAP, NULL));
    for (int i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, NULL));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
}

TEST(a_hold_does_not_keep_destroy) {
    aio_ctx *ctx = make_ctx();
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
}

static void post_never(void *arg) { FAIL("posted work that must not run: %p", arg); }

static void submit_and_post_late(struct call *call) {
    int32_t *statuses = call->arg;
    statuses[0] = (int32_t)aio_submit_nop(call->ctx, NULL, on_call_never, NULL);
    statuses[1] = (int32_t)aio_submit_timer(call->ctx, 0, NULL, on_call_never, NULL);
    statuses[2] = aio_ctx_post(call->ctx, post_never, NULL);
}

TEST(submit_and_post_are_refused_once_destroy_has_begun) {
    aio_ctx *ctx = make_ctx();
    int32_t statuses[3] = {1, 1, 1};
    struct call call = {.then = submit_and_post_late, .arg = statuses};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(statuses[0], -ECANCELED);
    CHECK_EQ(statuses[1], -ECANCELED);
    CHECK_EQ(statuses[2], AIO_ECLOSED);
}

static void count_post(void *arg) { ++*(int *)arg; }

TEST(posts_that_were_accepted_run_before_destroy_returns) {
    int ran = 0;
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 10; i++)
        CHECK_EQ(aio_ctx_post(ctx, count_post, &ran), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0); /* never adopted */
    CHECK_EQ(ran, 10);
    ctx = make_ctx();
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(aio_ctx_post(ctx, count_post, &ran), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(ran, 20);
}

static void *destroy_it(void *arg) {
    end_ctx(arg);
    return NULL;
}

TEST(a_context_that_was_never_used_is_destroyed_anywhere) {
    end_ctx(make_ctx());
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, destroy_it, make_ctx()), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* --- inside a callback ----------------------------------------------------------------------- */

static void destroy_here(struct call *call) { CHECK_EQ(aio_ctx_destroy(call->ctx), AIO_EPENDING); }

TEST(destroy_in_a_callback_is_pending_and_run_says_destroyed) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    struct call call = {.then = destroy_here};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(call.calls, 1);
    mix_check_aborted(&mix);
}

TEST(destroy_in_a_callback_ends_run_once_too) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    struct call call = {.then = destroy_here};
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &call));
    int32_t status = 0;
    for (const uint64_t end = patience_end_ns(); status >= 0 && now_ns() < end;)
        status = aio_ctx_run_once(ctx, 1000 * (int64_t)MS);
    CHECK_EQ(status, AIO_EDESTROYED);
    mix_check_aborted(&mix);
}

TEST(destroy_in_the_callback_of_a_multishot_ends_it) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call multi = {0}, call = {.then = destroy_here};
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &multi));
    ID(aio_submit_timer(ctx, MS, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(multi.calls, 1);
    CHECK_EQ(multi.flags, AIO_CQE_ABORTED);
}

static void destroy_own_interval(struct call *call) {
    if (call->calls == 2)
        CHECK_EQ(aio_ctx_destroy(call->ctx), AIO_EPENDING);
}

TEST(destroy_in_the_callback_of_an_interval_ends_the_interval) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = destroy_own_interval};
    ID(aio_submit_interval(ctx, MS, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(call.calls, 3);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
}

static void destroy_from_post(void *arg) { CHECK_EQ(aio_ctx_destroy(arg), AIO_EPENDING); }

TEST(destroy_in_posted_work_is_pending_too) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    CHECK_EQ(aio_ctx_post(ctx, destroy_from_post, ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    mix_check_aborted(&mix);
}

static void destroy_twice(struct call *call) {
    CHECK_EQ(aio_ctx_destroy(call->ctx), AIO_EPENDING);
    CHECK_LT(aio_ctx_destroy(call->ctx), 0);
    CHECK_EQ(aio_submit_nop(call->ctx, NULL, on_call_never, NULL), -ECANCELED);
}

TEST(a_second_destroy_in_the_same_callback_is_refused) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = destroy_twice};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
}

TEST(completions_behind_the_one_that_destroys_are_delivered) {
    aio_ctx *ctx = make_ctx();
    int calls = 0;
    struct call call = {.then = destroy_here};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    for (int i = 0; i < 50; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(calls, 50);
}

static void destroy_other(struct call *call) { CHECK_EQ(aio_ctx_destroy(call->arg), 0); }

TEST(a_callback_of_one_context_destroys_another) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    struct mix mix;
    mix_submit(other, &mix);
    CHECK_GE(aio_ctx_run_once(other, 0), 0);
    struct call call = {.then = destroy_other, .arg = other};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    mix_check_aborted(&mix);
    end_ctx(ctx);
}

/* --- threads --------------------------------------------------------------------------------- */

struct other_thread {
    aio_ctx *ctx;
    struct mix mix;
    int step_pipe[2], back_pipe[2];
    int32_t status;
};

static void *adopt_and_wait(void *arg) {
    struct other_thread *other = arg;
    char byte;
    mix_submit(other->ctx, &other->mix);
    CHECK_GE(aio_ctx_run_once(other->ctx, 0), 0);
    write_all_or_fail(other->back_pipe[1], "r", 1);
    read_all_or_fail(other->step_pipe[0], &byte, 1);
    if (byte == 'd')
        other->status = aio_ctx_destroy(other->ctx);
    return NULL;
}

TEST(destroy_on_another_thread_is_refused_while_the_owner_lives) {
    static struct other_thread other;
    char byte;
    make_pipe(other.step_pipe);
    make_pipe(other.back_pipe);
    other.ctx = make_ctx();
    other.status = 1;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, adopt_and_wait, &other), 0);
    read_all_or_fail(other.back_pipe[0], &byte, 1);
    CHECK_EQ(aio_ctx_destroy(other.ctx), AIO_EWRONGTHREAD);
    for (int i = 0; i < MIX; i++)
        CHECK_EQ(other.mix.calls[i].calls, 0);
    write_all_or_fail(other.step_pipe[1], "d", 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(other.status, 0);
    mix_check_aborted(&other.mix);
}

TEST(destroy_after_the_owner_is_gone_says_orphaned_and_calls_back_here) {
    static struct other_thread other;
    make_pipe(other.step_pipe);
    make_pipe(other.back_pipe);
    other.ctx = make_ctx();
    write_all_or_fail(other.step_pipe[1], "x", 1); /* exit without destroying */
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, adopt_and_wait, &other), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(other.ctx), AIO_EORPHANED);
    for (int i = 0; i < MIX; i++) {
        CHECK_EQ(other.mix.calls[i].calls, 1);
        CHECK_EQ(other.mix.calls[i].result, -ECANCELED);
        CHECK(pthread_equal(other.mix.calls[i].thread, pthread_self()));
    }
}

static void *run_it(void *arg) {
    CHECK_EQ(aio_ctx_run(arg), 0);
    return NULL;
}

TEST(an_orphan_without_operations_leaves_no_descriptor) {
    end_ctx(make_ctx());
    const int before = open_descriptors();
    for (int i = 0; i < 10; i++) {
        aio_ctx *ctx = make_ctx();
        pthread_t thread;
        CHECK_EQ(pthread_create(&thread, NULL, run_it, ctx), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    }
    CHECK_EQ(open_descriptors(), before);
}

/* --- fork ------------------------------------------------------------------------------------ */

struct forked {
    aio_ctx *ctx;
    bool ring;
    aio_op_id id;
    struct mix *mix;
};

static void child_calls(void *arg) {
    const struct forked *forked = arg;
    aio_ctx *ctx = forked->ctx;
    aio_completion record;
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), AIO_EFORKED);
    CHECK_EQ(aio_submit_timer(ctx, 1, NULL, on_call_never, NULL), AIO_EFORKED);
    CHECK_EQ(aio_ctx_run(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_run_once(ctx, 0), AIO_EFORKED);
    CHECK_EQ(aio_ctx_stop(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_post(ctx, post_never, NULL), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel(ctx, forked->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_fd(ctx, forked->mix->sockets[0], 0), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_all(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 1), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, forked->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_detach(ctx, forked->id), AIO_EFORKED);
    CHECK_EQ(aio_ctx_flush(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_fd(ctx), AIO_EFORKED);
    CHECK_EQ(aio_ctx_reap(ctx, &record, sizeof record, 1, 0), AIO_EFORKED);
}

static void child_questions(void *arg) {
    const struct forked *forked = arg;
    aio_info info = {.size = sizeof info};
    aio_stats stats = {.size = sizeof stats};
    char text[64];
    CHECK_EQ(aio_ctx_info(forked->ctx, &info), AIO_EFORKED);
    CHECK_EQ(aio_ctx_stats(forked->ctx, &stats), AIO_EFORKED);
    CHECK_EQ(aio_ctx_dump(forked->ctx, text, sizeof text), AIO_EFORKED);
    CHECK_EQ(aio_ctx_in_flight(forked->ctx), AIO_EFORKED);
}

static void child_destroys(void *arg) {
    const struct forked *forked = arg;
    CHECK_EQ(aio_ctx_destroy(forked->ctx), 0);
    for (int i = 0; i < MIX; i++)
        CHECK_EQ(forked->mix->calls[i].calls, 0);
    if (forked->ring && under_valgrind())
        return; /* it does not know of memory that fork leaves out, and stumbles over new rings */
    aio_ctx *own = make_ctx(); /* and a new one works in the child */
    struct call call = {0};
    ID(aio_submit_nop(own, NULL, on_call, &call));
    CHECK_EQ(await_call(own, &call), 0);
    end_ctx(own);
}

static void with_a_child(void (*body)(void *)) {
    aio_ctx *ctx = make_ctx();
    struct mix mix;
    mix_submit(ctx, &mix);
    run_for_ms(ctx, 5);
    struct forked forked = {.ctx = ctx, .ring = has_ring(ctx), .id = mix.ids[0], .mix = &mix};
    CHECK_EQ(end_child(start_child(body, &forked)), 0);
    /* The parent's operations are as they were. */
    run_for_ms(ctx, 5);
    CHECK_EQ(aio_ctx_in_flight(ctx), MIX);
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    mix_check_aborted(&mix);
}

TEST(a_forked_child_is_refused_every_call) { with_a_child(child_calls); }

TEST(a_forked_child_is_refused_every_question) { with_a_child(child_questions); }

TEST(destroy_in_a_forked_child_frees_the_copy_without_callbacks) { with_a_child(child_destroys); }

static void wait_for_the_end(void *arg) {
    char byte;
    close(((int *)arg)[1]);
    ssize_t ignored = read(((int *)arg)[0], &byte, 1);
    (void)ignored;
}

TEST(nothing_is_written_after_destroy_although_a_forked_child_lives) {
    for (int round = 0; round < scaled(30); round++) {
        aio_ctx *ctx = make_ctx();
        struct mix mix;
        int life[2];
        make_pipe(life);
        mix_submit(ctx, &mix);
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        const pid_t child = start_child(wait_for_the_end, life);
        CHECK_EQ(aio_ctx_destroy(ctx), 0);
        mix_check_aborted(&mix);
        close(life[1]);
        CHECK_EQ(end_child(child), 0);
        close(life[0]);
        const int fds[] = {mix.sockets[0], mix.sockets[1], mix.pipe_fds[0], mix.pipe_fds[1],
                           mix.full[0],    mix.full[1],    mix.listener};
        for (int i = 0; i < COUNT_OF(fds); i++)
            close(fds[i]);
    }
}

/* --- an operation that cannot be stopped ----------------------------------------------------- */

struct log {
    int errors;
    char text[4096];
};

static void note_log(void *arg, int32_t level, const char *message) {
    struct log *log = arg;
    if (level != AIO_LOG_ERROR)
        return;
    log->errors++;
    snprintf(log->text, sizeof log->text, "%s", message);
}

TEST(destroy_with_a_grace_gives_up_on_a_stuck_operation_and_names_it) {
    static aio_ctx *ctx; /* static: the context is leaked on purpose and must stay reachable */
    int fault;
    void *page = make_faulting_page(&fault);
    struct log log = {0};
    ctx = make_ctx_with(CTX_WITH(.destroy_grace_ns = 50 * MS, .log = note_log, .log_arg = &log));
    const int file = temp_file("stuck", "0123456789", 10);
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call free_call = {0};
    ID(aio_submit_read(ctx, file, page, 10, 0, WITH(.flags = AIO_SUBMIT_ASYNC), on_call_never,
                       NULL));
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &free_call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    if (!is_readable(fault, 5000))
        SKIP("the read does not fault here");
    const uint64_t start = now_ns();
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_ESTUCK);
    CHECK_GE(now_ns() - start, 50 * MS);
    CHECK_EQ(free_call.calls, 1);
    CHECK_EQ(free_call.result, -ECANCELED);
    char text[4096] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, "read") != NULL);
    CHECK(strstr(text, "recv") == NULL);
    CHECK_GE(log.errors, 1);
    CHECK(strstr(log.text, "read") != NULL);
    resolve_fault(fault, page); /* the read may end now; its callback must not run any more */
    sleep_ms(20);
}

TEST(destroy_without_a_grace_waits_for_a_slow_operation) {
    int fault;
    void *page = make_faulting_page(&fault);
    aio_ctx *ctx = make_ctx();
    const int file = temp_file("slow", "0123456789", 10);
    struct call call = {0};
    ID(aio_submit_read(ctx, file, page, 10, 0, WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    if (!is_readable(fault, 5000))
        SKIP("the read does not fault here");
    const pid_t helper = fork(); /* the descriptor is shared: the child resolves it for us */
    if (helper == 0) {
        sleep_ms(100);
        resolve_fault(fault, page);
        _exit(0);
    }
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK(call.result == 10 || call.result == -ECANCELED);
    CHECK_EQ(end_child(helper), 0);
    CHECK_EQ(munmap(page, 4096), 0);
}

/* --- detach ---------------------------------------------------------------------------------- */

TEST(a_detached_operation_never_calls_back_and_ends) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    aio_op_id ids[6];
    ids[0] = ID(aio_submit_timer(ctx, HOUR, NULL, on_call_never, NULL));
    ids[1] = ID(aio_submit_interval(ctx, HOUR, NULL, on_call_never, NULL));
    ids[2] = ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call_never, NULL));
    ids[3] = ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call_never, NULL));
    ids[4] = ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call_never, NULL));
    ids[5] = ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call_never, NULL));
    run_for_ms(ctx, 5);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(aio_ctx_detach(ctx, ids[i]), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_nothing_in_flight(ctx);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(aio_ctx_detach(ctx, ids[i]), -ENOENT);
    end_ctx(ctx);
    close(listener);
}

TEST(detach_refuses_what_uses_memory_of_the_callers) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    struct sockaddr_in addr, peer;
    socklen_t peer_len = sizeof peer;
    const int listener = make_tcp_listener(&addr, 8);
    char bytes[3] = {0};
    struct iovec iov = {&bytes[2], 1};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    struct call c[4];
    aio_op_id ids[4];
    memset(c, 0, sizeof c);
    ids[0] = ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &c[0]));
    ids[1] = ID(
        aio_submit_read(ctx, pipe_fds[0], &bytes[1], 1, AIO_OFFSET_CURRENT, NULL, on_call, &c[1]));
    ids[2] = ID(aio_submit_accept(ctx, listener, (struct sockaddr *)&peer, &peer_len, 0, NULL,
                                  on_call, &c[2]));
    ids[3] = ID(aio_submit_recvmsg(ctx, pair[0], &header, 0, NULL, on_call, &c[3]));
    run_for_ms(ctx, 5);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(aio_ctx_detach(ctx, ids[i]), -EBUSY);
    run_for_ms(ctx, 5);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(c[i].calls, 0); /* refused means untouched */
        CHECK_EQ(aio_ctx_cancel(ctx, ids[i]), 0);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(c[i].result, -ECANCELED);
    end_ctx(ctx);
    close(listener);
}

TEST(a_file_opened_for_a_detached_operation_is_closed_again) {
    aio_ctx *ctx = make_ctx();
    struct call warm = {0};
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    for (int i = 0; i < scaled(200); i++) {
        const aio_op_id id = ID(aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0,
                                                  i & 1 ? WITH(.flags = AIO_SUBMIT_ASYNC) : NULL,
                                                  on_call_never, NULL));
        if (i & 2)
            CHECK_GE(aio_ctx_flush(ctx), 0);
        CHECK_EQ(aio_ctx_detach(ctx, id), 0);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
}

/* --- cancel_wait ----------------------------------------------------------------------------- */

TEST(after_cancel_wait_the_memory_is_free_and_no_callback_runs) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    for (int i = 0; i < scaled(60); i++) {
        char *bytes = malloc(2);
        memset(bytes, 'm', 2);
        const aio_submit_options *options = i & 1 ? WITH(.flags = AIO_SUBMIT_ASYNC) : NULL;
        const aio_op_id a =
            ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call_never, NULL));
        const aio_op_id b = ID(aio_submit_read(ctx, pipe_fds[0], &bytes[1], 1, AIO_OFFSET_CURRENT,
                                               options, on_call_never, NULL));
        if (i & 2)
            CHECK_GE(aio_ctx_run_once(ctx, i & 4 ? (int64_t)MS : 0), 0);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, a), 0);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, b), 0);
        CHECK_EQ(aio_ctx_in_flight(ctx), 0);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, a), -ENOENT);
        write_all_or_fail(pair[1], "l", 1);
        write_all_or_fail(pipe_fds[1], "l", 1);
        CHECK_EQ(bytes[0], 'm');
        CHECK_EQ(bytes[1], 'm');
        CHECK_EQ(read(pair[0], bytes, 1), 1);
        CHECK_EQ(read(pipe_fds[0], bytes, 1), 1);
        free(bytes);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

TEST(cancel_wait_takes_back_what_never_reached_the_kernel) {
    aio_ctx *ctx = make_ctx();
    struct call other = {0};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &other));
    const aio_op_id timer = ID(aio_submit_timer(ctx, HOUR, NULL, on_call_never, NULL));
    const aio_op_id barrier =
        ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call_never, NULL));
    CHECK_EQ(aio_ctx_cancel_wait(ctx, timer), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, barrier), 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    CHECK_EQ(other.calls, 0);
    CHECK_EQ(aio_ctx_cancel_all(ctx), 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(other.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(cancel_wait_runs_no_other_callback_and_loses_none) {
    aio_ctx *ctx = make_ctx();
    int pair[2], nops = 0;
    make_socket_pair(pair);
    char byte = 0;
    for (int i = 0; i < 20; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &nops));
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    for (int i = 0; i < 20; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &nops));
    int ran = 0;
    CHECK_EQ(aio_ctx_post(ctx, count_post, &ran), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
    CHECK_EQ(nops, 0);
    CHECK_EQ(ran, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(nops, 40);
    CHECK_EQ(ran, 1);
    end_ctx(ctx);
}

TEST(cancel_wait_of_something_already_complete_swallows_its_callback) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    write_all_or_fail(pair[1], "x", 1);
    char byte = 0;
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    CHECK_GE(aio_ctx_flush(ctx), 0);
    sleep_ms(2);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
}

static void cancel_wait_here(struct call *call) {
    CHECK_EQ(aio_ctx_cancel_wait(call->ctx, *(aio_op_id *)call->arg), 0);
}

TEST(cancel_wait_is_allowed_in_a_callback) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct order order = {0};
    aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call_never, NULL));
    struct call first = {.then = cancel_wait_here, .arg = &id, .order = &order, .tag = 1};
    struct call second = {.order = &order, .tag = 2};
    ID(aio_submit_nop(ctx, NULL, on_call, &first));
    ID(aio_submit_nop(ctx, NULL, on_call, &second));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 2);
    CHECK_EQ(order.tags[0], 1);
    CHECK_EQ(second.result, 0);
    end_ctx(ctx);
}

TEST(connections_that_arrive_during_cancel_wait_are_closed) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    for (int i = 0; i < scaled(100); i++) {
        const aio_op_id id =
            ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call_never, NULL));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        const int client = tcp_connect_to(&addr);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        SYS(fcntl(listener, F_SETFL, O_NONBLOCK));
        const int rest = accept(listener, NULL, NULL);
        if (rest >= 0)
            close(rest);
        SYS(fcntl(listener, F_SETFL, 0));
        close(client);
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
    close(listener);
}

HARNESS_MAIN
