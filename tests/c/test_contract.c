/* The contract at the head of aio_rs.h, line by line: each test is named after the sentence that it
 * shows, with the number of its line. The corners of each subject are in the other programs. */
#include "harness.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unwind.h>

/* A receive that nobody has sent to yet. */
struct idle {
    int pair[2];
    char byte;
    struct call call;
    aio_op_id id;
};

static void idle_submit(aio_ctx *ctx, struct idle *idle, const aio_submit_options *options) {
    memset(idle, 0, sizeof *idle);
    make_socket_pair(idle->pair);
    idle->id =
        ID(aio_submit_recv(ctx, idle->pair[0], &idle->byte, 1, 0, options, on_call, &idle->call));
}

static void idle_feed(struct idle *idle) { write_all_or_fail(idle->pair[1], "x", 1); }

static void count_post(void *arg) { ++*(int *)arg; }

static void on_thread(void *(*fn)(void *), void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, fn, arg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* --- 1: one context, one thread -------------------------------------------------------------- */

static void *submit_elsewhere(void *arg) {
    CHECK_EQ(aio_submit_nop(arg, NULL, on_call_never, NULL), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_run(arg), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_flush(arg), AIO_EWRONGTHREAD);
    return NULL;
}

TEST(line_01_the_first_submit_adopts_the_context_for_its_thread) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    on_thread(submit_elsewhere, ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.finals, 1);
    end_ctx(ctx);
}

TEST(line_01_the_first_run_or_flush_adopts_it_too) {
    aio_ctx *run = make_ctx(), *flush = make_ctx();
    CHECK_EQ(aio_ctx_run(run), 0);
    CHECK_EQ(aio_ctx_flush(flush), 0);
    on_thread(submit_elsewhere, run);
    on_thread(submit_elsewhere, flush);
    end_ctx(run);
    end_ctx(flush);
}

static void *what_any_thread_may(void *arg) {
    struct idle *idle = ((void **)arg)[0];
    aio_ctx *ctx = ((void **)arg)[1];
    int *posted = ((void **)arg)[2];
    CHECK_EQ(aio_ctx_post(ctx, count_post, posted), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, idle->id), 0);
    CHECK_EQ(stats_of(ctx).submitted, 1);
    CHECK_EQ(aio_ctx_ref(ctx), 0);
    aio_ctx_unref(ctx);
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    return NULL;
}

TEST(line_01_any_thread_may_post_stop_cancel_read_stats_and_reference) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    int posted = 0;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    void *args[] = {&idle, ctx, &posted};
    on_thread(what_any_thread_may, args);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* stopped */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(posted, 1);
    CHECK_EQ(idle.call.result, -ECANCELED);
    end_ctx(ctx);
}

TEST(line_01_posts_before_adoption_wait_and_a_stop_before_the_run_counts) {
    aio_ctx *ctx = make_ctx();
    int posted = 0;
    CHECK_EQ(aio_ctx_post(ctx, count_post, &posted), 0);
    CHECK_EQ(aio_ctx_stop(ctx), 0);
    CHECK_EQ(posted, 0);
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* would not end but for the stop */
    aio_ctx_release(ctx);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* the stop was consumed */
    CHECK_EQ(posted, 1);
    end_ctx(ctx);
}

/* --- 2: submit returns an id or an error ------------------------------------------------------ */

TEST(line_02_a_positive_id_is_an_operation_that_completes) {
    aio_ctx *ctx = make_ctx();
    struct call calls[50];
    memset(calls, 0, sizeof calls);
    for (int i = 0; i < 50; i++)
        CHECK_GT(aio_submit_nop(ctx, NULL, on_call, &calls[i]), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(calls[i].finals, 1);
    end_ctx(ctx);
}

TEST(line_02_after_an_error_nothing_was_submitted) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.max_ops = 1));
    struct call call = {0};
    char byte = 0;
    CHECK_EQ(aio_submit_read(ctx, 0, NULL, 1, 0, NULL, on_call_never, NULL), -EINVAL);
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_submit_read(ctx, 0, &byte, 1, 0, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(stats_of(ctx).submitted, 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(stats_of(ctx).callbacks, 1);
    end_ctx(ctx);
}

/* --- 3: the callback -------------------------------------------------------------------------- */

TEST(line_03_no_callback_runs_inside_a_submit_call) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    int calls = 0;
    for (int i = 0; i < 200; i++) { /* far more than the queues hold: submits flush and drain */
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
        CHECK_EQ(calls, 0);
    }
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, NULL, on_call_count, &calls));
    CHECK_EQ(calls, 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 201);
    end_ctx(ctx);
}

TEST(line_03_more_any_number_of_times_and_then_once_without) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call call = {0}; /* on_call fails the test when something comes after the last */
    const aio_op_id id = ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &call));
    for (int i = 1; i <= 10; i++) {
        write_all_or_fail(pair[1], "x", 1);
        RUN_UNTIL(ctx, call.calls == i);
        CHECK_EQ(call.finals, 0);
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.finals, 1);
    write_all_or_fail(pair[1], "x", 1);
    run_for_ms(ctx, 10);
    CHECK_EQ(call.calls, 11);
    end_ctx(ctx);
}

TEST(line_03_one_last_callback_whatever_the_end) {
    aio_ctx *ctx = make_ctx();
    struct call success = {0}, failure = {0};
    struct idle cancelled, late, destroyed;
    char byte = 0;
    ID(aio_submit_nop(ctx, NULL, on_call, &success));
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, NULL, on_call, &failure));
    idle_submit(ctx, &cancelled, NULL);
    idle_submit(ctx, &late, WITH(.timeout_ns = MS));
    idle_submit(ctx, &destroyed, NULL);
    CHECK_EQ(aio_ctx_cancel(ctx, cancelled.id), 0);
    RUN_UNTIL(ctx, success.finals && failure.finals && cancelled.call.finals && late.call.finals);
    end_ctx(ctx);
    CHECK_EQ(success.result, 0);
    CHECK_EQ(failure.result, -EBADF);
    CHECK_EQ(cancelled.call.result, -ECANCELED);
    CHECK_EQ(late.call.result, -ETIMEDOUT);
    CHECK_EQ(destroyed.call.result, -ECANCELED);
    CHECK_EQ(success.calls + failure.calls + cancelled.call.calls + late.call.calls +
                 destroyed.call.calls,
             5);
}

TEST(line_03_quiet_is_silent_on_success_only) {
    aio_ctx *ctx = make_ctx();
    struct call failure = {0};
    char byte = 0;
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, WITH(.flags = AIO_SUBMIT_QUIET), on_call, &failure));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(failure.result, -EBADF);
    CHECK_EQ(stats_of(ctx).completed, 2); /* the engine learns of both ends */
    end_ctx(ctx);
}

/* --- 4: two kinds of memory ------------------------------------------------------------------- */

TEST(line_04_what_is_small_is_copied_during_the_submit_call) {
    aio_ctx *ctx = make_ctx();
    const int dir = SYS(open(temp_dir(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
    char name[] = "copied", text[] = "text";
    struct call open_call = {0}, write = {0};
    ID(aio_submit_openat(ctx, dir, name, O_CREAT | O_RDWR, 0600, NULL, on_call, &open_call));
    memset(name, 'X', sizeof name - 1);
    const int fd = await_call(ctx, &open_call);
    CHECK_GE(fd, 0);
    CHECK_EQ(faccessat(dir, "copied", F_OK, 0), 0);
    struct iovec iov = {text, 4};
    ID(aio_submit_writev(ctx, fd, &iov, 1, 0, 0, NULL, on_call, &write));
    memset(&iov, 0xff, sizeof iov);
    CHECK_EQ(await_call(ctx, &write), 4);
    struct aio_submit_options *options = WITH(.timeout_ns = HOUR);
    struct idle idle;
    idle_submit(ctx, &idle, options);
    memset(options, 0xff, sizeof *options); /* the options themselves, too */
    idle_feed(&idle);
    CHECK_EQ(await_call(ctx, &idle.call), 1);
    close(fd);
    close(dir);
    end_ctx(ctx);
}

TEST(line_04_outputs_belong_to_the_engine_until_the_last_callback_and_not_longer) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr, peer;
    socklen_t len = sizeof peer;
    memset(&peer, 0, sizeof peer);
    const int listener = make_tcp_listener(&addr, 8);
    struct call call = {0};
    const aio_op_id id = ID(
        aio_submit_accept(ctx, listener, (struct sockaddr *)&peer, &len, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    memset(&peer, 0x33, sizeof peer);
    len = 12345;
    const int client = tcp_connect_to(&addr);
    run_for_ms(ctx, 10);
    CHECK_EQ(len, 12345);
    CHECK_EQ(peer.sin_port, 0x3333);
    close(client);
    close(listener);
    end_ctx(ctx);
}

TEST(line_04_cancelling_does_not_shorten_it) {
    int fault;
    void *page = make_faulting_page(&fault);
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("slow", "0123456789", 10);
    struct call call = {0};
    const aio_op_id id =
        ID(aio_submit_read(ctx, fd, page, 10, 0, WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    if (!is_readable(fault, 5000))
        SKIP("the read does not fault here");
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    check_blocked(ctx, &call); /* the worker is in the middle of writing: no callback yet */
    resolve_fault(fault, page);
    await_call(ctx, &call);
    CHECK(call.result == 10 || call.result == -ECANCELED);
    end_ctx(ctx);
}

/* --- 5: ids are generations ------------------------------------------------------------------- */

TEST(line_05_a_stale_id_never_names_another_operation) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 2000 };
    static aio_op_id old[COUNT];
    for (int i = 0; i < COUNT; i++) { /* one at a time: the same slot again and again */
        struct call call = {0};
        old[i] = ID(aio_submit_nop(ctx, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 0);
        CHECK_EQ(old[i] == old[i ? i - 1 : COUNT - 1], false);
    }
    struct call timer = {0};
    const aio_op_id id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    for (int i = 0; i < COUNT; i++) {
        CHECK_NE(old[i], id);
        CHECK_EQ(aio_ctx_cancel(ctx, old[i]), -ENOENT);
        CHECK_EQ(aio_ctx_detach(ctx, old[i]), -ENOENT);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, old[i]), -ENOENT);
    }
    run_for_ms(ctx, 5);
    CHECK_EQ(timer.calls, 0);
    end_ctx(ctx);
}

TEST(line_05_an_id_of_another_context_is_unknown_here) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    struct call mine = {0}, theirs = {0};
    const aio_op_id own = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &mine));
    const aio_op_id foreign = ID(aio_submit_timer(other, HOUR, NULL, on_call, &theirs));
    CHECK_NE(own, foreign);
    CHECK_EQ(aio_ctx_cancel(ctx, foreign), -ENOENT);
    CHECK_EQ(aio_ctx_cancel(other, own), -ENOENT);
    run_for_ms(ctx, 2);
    run_for_ms(other, 2);
    CHECK_EQ(mine.calls + theirs.calls, 0);
    end_ctx(ctx);
    end_ctx(other);
}

TEST(line_05_generations_start_at_a_random_value) {
    aio_op_id first = 0;
    int different = 0;
    for (int i = 0; i < 8; i++) {
        aio_ctx *ctx = make_ctx();
        struct call call = {0};
        const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call, &call));
        different += i > 0 && id != first;
        first = i ? first : id;
        CHECK_EQ(await_call(ctx, &call), 0);
        end_ctx(ctx);
    }
    CHECK_GE(different, 6);
}

/* --- 6: nothing leaks when nobody waits ------------------------------------------------------- */

TEST(line_06_a_connection_for_a_cancelled_accept_is_closed) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    SYS(fcntl(listener, F_SETFL, O_NONBLOCK));
    const int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        const aio_op_id id =
            ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call_never, NULL));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        const int client = tcp_connect_to(&addr);
        CHECK_EQ(i & 1 ? aio_ctx_detach(ctx, id) : aio_ctx_cancel_wait(ctx, id), 0);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        const int rest = accept(listener, NULL, NULL);
        if (rest >= 0)
            close(rest); /* it was never taken from the backlog */
        else
            CHECK(peer_sees_fin(client, 5000));
        close(client);
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
}

union one_descriptor {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

TEST(line_06_a_descriptor_passed_to_a_receive_that_nobody_waits_for_is_closed) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    for (int i = 0; i < 50; i++) {
        char in_byte = 0, out_byte = 'd';
        union one_descriptor in_control, out_control;
        memset(&in_control, 0, sizeof in_control);
        memset(&out_control, 0, sizeof out_control);
        struct iovec in = {&in_byte, 1}, out = {&out_byte, 1};
        struct msghdr recv_header = {.msg_iov = &in,
                                     .msg_iovlen = 1,
                                     .msg_control = in_control.bytes,
                                     .msg_controllen = sizeof in_control.bytes};
        struct msghdr send_header = {.msg_iov = &out,
                                     .msg_iovlen = 1,
                                     .msg_control = out_control.bytes,
                                     .msg_controllen = sizeof out_control.bytes};
        struct cmsghdr *header = CMSG_FIRSTHDR(&send_header);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &pipe_fds[0], sizeof(int));
        if (i & 1) /* there before the receive, which then completes at once */
            CHECK_EQ(sendmsg(pair[1], &send_header, 0), 1);
        const aio_op_id id =
            ID(aio_submit_recvmsg(ctx, pair[0], &recv_header, 0, NULL, on_call_never, NULL));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        if (!(i & 1))
            CHECK_EQ(sendmsg(pair[1], &send_header, 0), 1);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        char rest;
        while (recv(pair[0], &rest, 1, MSG_DONTWAIT) > 0) /* drops the descriptor as well */
            continue;
        CHECK_EQ(open_descriptors(), before);
    }
    end_ctx(ctx);
}

/* --- 7: close is close ------------------------------------------------------------------------ */

TEST(line_07_close_lets_the_peer_see_fin) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char byte = 0;
    struct call recv = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(close_call.result, 0);
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(line_07_last_callbacks_run_before_the_number_is_closed) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct order order = {0};
    char bytes[8] = {0};
    struct call recvs[8], close_call = {.order = &order, .tag = 8};
    for (int i = 0; i < 8; i++) {
        recvs[i] = (struct call){.order = &order, .tag = i};
        ID(aio_submit_recv(ctx, pair[0], &bytes[i], 1, 0, NULL, on_call, &recvs[i]));
    }
    check_blocked(ctx, &recvs[0]);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 9);
    CHECK_EQ(order.tags[8], 8);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(recvs[i].result, -ECANCELED);
    end_ctx(ctx);
}

TEST(line_07_while_a_duplicate_lives_shutdown_gives_the_fin) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    const int copy = SYS(dup(pair[0]));
    struct call close_call = {0}, shut = {0};
    CHECK_EQ(DO(ctx, close_call, aio_submit_close(ctx, pair[0], NULL, on_call, &close_call)), 0);
    CHECK(!is_readable(pair[1], 20));
    CHECK_EQ(DO(ctx, shut, aio_submit_shutdown(ctx, copy, SHUT_WR, NULL, on_call, &shut)), 0);
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

/* --- 8: backpressure is not an error ---------------------------------------------------------- */

TEST(line_08_a_full_submission_queue_is_flushed_and_then_queued) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4));
    enum { COUNT = 1000 };
    static struct call calls[COUNT];
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_nop(ctx, NULL, on_call, &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(calls[i].calls, 1);
    CHECK_GT(stats_of(ctx).full_queues, 0);
    end_ctx(ctx);
}

TEST(line_08_a_full_completion_queue_is_drained_and_counted) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    enum { COUNT = 400 };
    static struct call calls[COUNT];
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &calls[i]));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    write_all_or_fail(pair[1], "x", 1); /* all of them complete at the same moment */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].calls, 1);
        CHECK_EQ(calls[i].result, POLLIN);
    }
    CHECK_GT(stats_of(ctx).overflows, 0);
    end_ctx(ctx);
}

TEST(line_08_only_max_ops_makes_a_submit_fail) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8, .max_ops = 100));
    int calls = 0;
    for (int i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls));
    CHECK_EQ(aio_submit_nop(ctx, NULL, on_call_never, NULL), -EAGAIN);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 100);
    end_ctx(ctx);
}

/* --- 9: deadlines ----------------------------------------------------------------------------- */

TEST(line_09_an_expired_deadline_is_etimedout_with_its_flag) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    const uint64_t start = now_ns();
    idle_submit(ctx, &idle, WITH(.timeout_ns = 10 * MS));
    CHECK_EQ(await_call(ctx, &idle.call), -ETIMEDOUT);
    CHECK_EQ(idle.call.flags, AIO_CQE_DEADLINE);
    CHECK_GE(idle.call.at_ns - start, 10 * MS);
    end_ctx(ctx);
}

TEST(line_09_what_had_succeeded_keeps_its_result) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 20; i++) {
        struct idle idle;
        idle_submit(ctx, &idle, WITH(.timeout_ns = MS));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        idle_feed(&idle);
        sleep_ms(3); /* complete, expired, and neither looked at yet */
        await_call(ctx, &idle.call);
        if (idle.call.result == 1) {
            CHECK_EQ(idle.call.flags & AIO_CQE_DEADLINE, 0);
            CHECK_EQ(idle.byte, 'x');
        } else { /* the cancel came first: then the byte is still there */
            CHECK_EQ(idle.call.result, -ETIMEDOUT);
            CHECK_EQ(idle.call.flags, AIO_CQE_DEADLINE);
            CHECK(is_readable(idle.pair[0], 0));
        }
        close(idle.pair[0]);
        close(idle.pair[1]);
    }
    end_ctx(ctx);
}

TEST(line_09_timers_never_fire_early) {
    aio_ctx *ctx = make_ctx();
    uint64_t random = test_seed();
    for (int i = 0; i < scaled(200); i++) {
        struct call call = {0};
        const uint64_t delay = random_below(&random, 3 * MS), start = now_ns();
        ID(aio_submit_timer(ctx, delay, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 0);
        CHECK_GE(call.at_ns - start, delay);
    }
    end_ctx(ctx);
}

/* --- 10: cancel ------------------------------------------------------------------------------- */

TEST(line_10_zero_is_asked_for_then_ealready_then_enoent) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    CHECK_EQ(aio_ctx_cancel(ctx, idle.id), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, idle.id), -EALREADY);
    CHECK_EQ(idle.call.calls, 0);
    CHECK_EQ(await_call(ctx, &idle.call), -ECANCELED);
    CHECK_EQ(aio_ctx_cancel(ctx, idle.id), -ENOENT);
    end_ctx(ctx);
}

static void *cancel_elsewhere(void *arg) {
    struct idle *idle = ((void **)arg)[0];
    CHECK_EQ(aio_ctx_cancel(((void **)arg)[1], idle->id), 0);
    CHECK_EQ(aio_ctx_cancel(((void **)arg)[1], idle->id), 0); /* posted; no outcome is known here */
    return NULL;
}

TEST(line_10_from_another_thread_the_request_is_posted) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    void *args[] = {&idle, ctx};
    on_thread(cancel_elsewhere, args);
    CHECK_EQ(idle.call.calls, 0);
    CHECK_EQ(await_call(ctx, &idle.call), -ECANCELED);
    CHECK(pthread_equal(idle.call.thread, pthread_self()));
    end_ctx(ctx);
}

/* --- 11: chains ------------------------------------------------------------------------------- */

TEST(line_11_a_chain_is_held_until_its_last_member) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("held", NULL, 0);
    struct call write = {0}, last = {0};
    ID(aio_submit_write(ctx, fd, "x", 1, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call, &write));
    struct stat st;
    SYS(fstat(fd, &st));
    CHECK_EQ(st.st_size, 0);
    ID(aio_submit_nop(ctx, NULL, on_call, &last));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(write.result, 1);
    CHECK_EQ(last.result, 0);
    close(fd);
    end_ctx(ctx);
}

TEST(line_11_open_or_too_long_chains_fail_whole) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4));
    struct call open = {0}, c[9];
    memset(c, 0, sizeof c);
    const aio_submit_options *link = WITH(.flags = AIO_SUBMIT_LINK);
    ID(aio_submit_nop(ctx, link, on_call, &open));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(open.result, -EINVAL);
    for (int i = 0; i < 9; i++)
        ID(aio_submit_nop(ctx, i < 8 ? link : NULL, on_call, &c[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 9; i++) {
        CHECK_EQ(c[i].calls, 1);
        CHECK_EQ(c[i].result, -EINVAL);
    }
    end_ctx(ctx);
}

TEST(line_11_cancelling_a_member_cancels_the_head_and_aborts_the_rest) {
    aio_ctx *ctx = make_ctx();
    struct idle head;
    struct call second = {0}, third = {0};
    idle_submit(ctx, &head, WITH(.flags = AIO_SUBMIT_LINK));
    const aio_op_id id = ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_LINK), on_call, &second));
    ID(aio_submit_nop(ctx, NULL, on_call, &third));
    check_blocked(ctx, &head.call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(head.call.result, -ECANCELED);
    CHECK_EQ(second.result, -ECANCELED);
    CHECK_EQ(third.result, -ECANCELED);
    CHECK_EQ(third.flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(line_11_a_barrier_starts_when_everything_before_it_has_completed) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    struct call held = {0}, later = {0};
    idle_submit(ctx, &idle, NULL);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &held));
    ID(aio_submit_nop(ctx, NULL, on_call, &later));
    CHECK_EQ(await_call(ctx, &later), 0);
    check_blocked(ctx, &held);
    idle_feed(&idle);
    CHECK_EQ(await_call(ctx, &held), 0);
    CHECK_EQ(idle.call.finals, 1);
    end_ctx(ctx);
}

/* --- 12: callbacks may do anything ------------------------------------------------------------ */

static void run_inside(struct call *call) {
    aio_completion record;
    CHECK_EQ(aio_ctx_run(call->ctx), AIO_EREENTRANT);
    CHECK_EQ(aio_ctx_run_once(call->ctx, 0), AIO_EREENTRANT);
    CHECK_EQ(aio_ctx_reap(call->ctx, &record, sizeof record, 1, 0), AIO_EREENTRANT);
}

TEST(line_12_running_a_context_inside_its_own_callback_is_refused) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = run_inside}, after = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.finals, 1);
    CHECK_EQ(after.finals, 1);
    end_ctx(ctx);
}

struct anything {
    struct call *timer, *submitted;
    aio_op_id timer_id;
    int posted;
};

static void do_anything(struct call *call) {
    struct anything *anything = call->arg;
    ID(aio_submit_nop(call->ctx, NULL, on_call, anything->submitted));
    CHECK_EQ(aio_ctx_cancel(call->ctx, anything->timer_id), 0);
    CHECK_EQ(aio_ctx_post(call->ctx, count_post, &anything->posted), 0);
    CHECK_EQ(aio_ctx_stop(call->ctx), 0);
    CHECK_EQ(anything->posted + anything->submitted->calls + anything->timer->calls, 0);
}

TEST(line_12_a_callback_submits_cancels_posts_and_stops) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0}, submitted = {0};
    struct anything anything = {.timer = &timer, .submitted = &submitted};
    struct call call = {.then = do_anything, .arg = &anything};
    anything.timer_id = ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0); /* stopped */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(submitted.result, 0);
    CHECK_EQ(timer.result, -ECANCELED);
    CHECK_EQ(anything.posted, 1);
    end_ctx(ctx);
}

static void destroy_inside(struct call *call) {
    CHECK_EQ(aio_ctx_destroy(call->ctx), AIO_EPENDING);
}

TEST(line_12_a_callback_destroys) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    struct call call = {.then = destroy_inside};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(idle.call.result, -ECANCELED);
}

/* --- 13: destroy is total --------------------------------------------------------------------- */

TEST(line_13_destroy_ends_everything_and_the_kernel_writes_no_more) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    int pipe_fds[2], posted = 0;
    make_pipe(pipe_fds);
    char byte = 'p';
    struct call worker = {0};
    idle_submit(ctx, &idle, NULL);
    ID(aio_submit_read(ctx, pipe_fds[0], &byte, 1, AIO_OFFSET_CURRENT,
                       WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &worker));
    run_for_ms(ctx, 5);
    CHECK_EQ(aio_ctx_post(ctx, count_post, &posted), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(posted, 1);
    CHECK_EQ(idle.call.result, -ECANCELED);
    CHECK_EQ(idle.call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(worker.result, -ECANCELED);
    CHECK_EQ(worker.flags, AIO_CQE_ABORTED);
    idle.byte = 'p';
    idle_feed(&idle);
    write_all_or_fail(pipe_fds[1], "x", 1);
    sleep_ms(10);
    CHECK_EQ(idle.byte, 'p');
    CHECK_EQ(byte, 'p');
}

static void submit_late(struct call *call) {
    int *posted = call->arg;
    CHECK_EQ(aio_submit_nop(call->ctx, NULL, on_call_never, NULL), -ECANCELED);
    CHECK_EQ(aio_ctx_post(call->ctx, count_post, posted), AIO_ECLOSED);
}

TEST(line_13_once_begun_submit_and_post_are_refused) {
    aio_ctx *ctx = make_ctx();
    int posted = 0;
    struct call call = {.then = submit_late, .arg = &posted};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(call.finals, 1);
    CHECK_EQ(posted, 0);
}

static void *adopt_and_leave(void *arg) {
    struct idle *idle = ((void **)arg)[0];
    idle_submit(((void **)arg)[1], idle, NULL);
    CHECK_GE(aio_ctx_run_once(((void **)arg)[1], 0), 0);
    return NULL;
}

TEST(line_13_after_the_thread_is_gone_destroy_says_orphaned) {
    aio_ctx *ctx = make_ctx();
    static struct idle idle;
    void *args[] = {&idle, ctx};
    on_thread(adopt_and_leave, args);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(idle.call.calls, 1);
    CHECK_EQ(idle.call.result, -ECANCELED);
    CHECK(pthread_equal(idle.call.thread, pthread_self()));
}

TEST(line_13_a_referenced_handle_outlives_destroy) {
    aio_ctx *ctx = make_ctx();
    int posted = 0;
    CHECK_EQ(aio_ctx_ref(ctx), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    CHECK_EQ(aio_ctx_post(ctx, count_post, &posted), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_stop(ctx), AIO_ECLOSED);
    aio_ctx_unref(ctx);
    CHECK_EQ(posted, 0);
}

/* --- 14: nothing unwinds across the boundary -------------------------------------------------- */

/* What a throwing callback does, in C: the unwinder is asked to find a handler further up. */
static void raise_exception(struct call *call) {
    (void)call;
    static struct _Unwind_Exception exception;
    memset(&exception, 0, sizeof exception);
    memcpy(&exception.exception_class, "AIOTEST", 8);
    _Unwind_RaiseException(&exception);
    _exit(42); /* no frame below wanted it: also not what the library should do */
}

struct thrower {
    int stderr_pipe[2];
    bool from_destroy;
};

static void throw_in_a_callback(void *arg) {
    const struct thrower *thrower = arg;
    SYS(dup2(thrower->stderr_pipe[1], STDERR_FILENO));
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = raise_exception};
    ID(aio_submit_timer(ctx, thrower->from_destroy ? HOUR : 0, NULL, on_call, &call));
    if (thrower->from_destroy)
        aio_ctx_destroy(ctx);
    else
        aio_ctx_run(ctx);
    _exit(43);
}

static void check_that_throwing_aborts(bool from_destroy) {
    struct thrower thrower = {.from_destroy = from_destroy};
    make_pipe(thrower.stderr_pipe);
    const pid_t child = start_child(throw_in_a_callback, &thrower);
    close(thrower.stderr_pipe[1]);
    CHECK_EQ(end_child(child), 128 + SIGABRT);
    char message[512] = {0};
    CHECK_GT(read(thrower.stderr_pipe[0], message, sizeof message - 1), 0);
}

TEST(line_14_an_exception_that_leaves_a_callback_aborts_with_a_message) {
    check_that_throwing_aborts(false);
}

TEST(line_14_an_exception_during_destroy_aborts_too) { check_that_throwing_aborts(true); }

static void *use_from_another_thread(void *arg) {
    aio_ctx *ctx = arg;
    static int posted;
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(aio_ctx_post(ctx, count_post, &posted), 0);
        CHECK_LE(stats_of(ctx).submitted, 2);
        CHECK_EQ(aio_ctx_cancel(ctx, 1), 0);
    }
    return NULL;
}

static void use_everything(struct call *call) {
    char text[2048];
    aio_info info = {.size = sizeof info};
    on_thread(use_from_another_thread, call->ctx); /* waits for ever if a lock is held here */
    CHECK_GT(aio_ctx_dump(call->ctx, text, sizeof text), 0);
    CHECK_EQ(aio_ctx_info(call->ctx, &info), 0);
    CHECK_GE(aio_ctx_in_flight(call->ctx), 1);
    CHECK_GE(aio_ctx_cancel_all(call->ctx), 1);
}

TEST(line_14_no_lock_or_half_made_state_is_held_across_a_callback) {
    aio_ctx *ctx = make_ctx();
    struct call timer = {0}, call = {.then = use_everything};
    ID(aio_submit_timer(ctx, HOUR, NULL, on_call, &timer));
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.finals, 1);
    CHECK_EQ(timer.result, -ECANCELED);
    end_ctx(ctx);
}

/* --- 15: fork --------------------------------------------------------------------------------- */

static void refused_in_the_child(void *arg) {
    CHECK_EQ(aio_submit_nop(arg, NULL, on_call_never, NULL), AIO_EFORKED);
    CHECK_EQ(aio_ctx_run(arg), AIO_EFORKED);
    CHECK_EQ(aio_ctx_post(arg, count_post, NULL), AIO_EFORKED);
}

TEST(line_15_the_childs_copy_refuses_every_call) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    CHECK_EQ(end_child(start_child(refused_in_the_child, ctx)), 0);
    idle_feed(&idle);
    CHECK_EQ(await_call(ctx, &idle.call), 1);
    end_ctx(ctx);
}

static void destroyed_in_the_child(void *arg) {
    struct idle *idle = ((void **)arg)[0];
    CHECK_EQ(aio_ctx_destroy(((void **)arg)[1]), 0);
    CHECK_EQ(idle->call.calls, 0);
}

TEST(line_15_the_childs_destroy_frees_the_copy_without_callbacks) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    void *args[] = {&idle, ctx};
    CHECK_EQ(end_child(start_child(destroyed_in_the_child, args)), 0);
    check_blocked(ctx, &idle.call);
    idle_feed(&idle);
    CHECK_EQ(await_call(ctx, &idle.call), 1);
    end_ctx(ctx);
}

/* --- 16: safe defaults ------------------------------------------------------------------------ */

TEST(line_16_descriptors_of_the_engine_are_close_on_exec_unless_inherited) {
    aio_ctx *ctx = make_ctx();
    for (int inherit = 0; inherit < 2; inherit++) {
        const aio_submit_options *options = inherit ? WITH(.flags = AIO_SUBMIT_INHERIT) : NULL;
        struct call file = {0}, sock = {0};
        const int a =
            DO(ctx, file,
               aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDWR, 0, options, on_call, &file));
        const int b =
            DO(ctx, sock, aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, options, on_call, &sock));
        CHECK_EQ(is_cloexec(a), !inherit);
        CHECK_EQ(is_cloexec(b), !inherit);
        close(a);
        close(b);
    }
    end_ctx(ctx);
}

static volatile sig_atomic_t pipe_signals;

static void on_sigpipe(int number) {
    (void)number;
    pipe_signals++;
}

TEST(line_16_sends_raise_no_sigpipe_unless_asked) {
    aio_ctx *ctx = make_ctx();
    const struct sigaction action = {.sa_handler = on_sigpipe};
    SYS(sigaction(SIGPIPE, &action, NULL));
    int pair[2];
    make_socket_pair(pair);
    close(pair[1]);
    struct call silent = {0}, loud = {0};
    CHECK_EQ(DO(ctx, silent, aio_submit_send(ctx, pair[0], "x", 1, 0, NULL, on_call, &silent)),
             -EPIPE);
    CHECK_EQ(pipe_signals, 0);
    CHECK_EQ(DO(ctx, loud,
                aio_submit_send(ctx, pair[0], "x", 1, 0, WITH(.flags = AIO_SUBMIT_SIGPIPE), on_call,
                                &loud)),
             -EPIPE);
    CHECK_EQ(pipe_signals, 1);
    end_ctx(ctx);
}

/* --- 17: one spelling per outcome ------------------------------------------------------------- */

TEST(line_17_you_cancelled_and_destroy_did_differ_by_aborted) {
    aio_ctx *ctx = make_ctx();
    struct idle mine, theirs;
    idle_submit(ctx, &mine, NULL);
    idle_submit(ctx, &theirs, NULL);
    CHECK_EQ(aio_ctx_cancel(ctx, mine.id), 0);
    CHECK_EQ(await_call(ctx, &mine.call), -ECANCELED);
    CHECK_EQ(mine.call.flags, 0);
    end_ctx(ctx);
    CHECK_EQ(theirs.call.result, -ECANCELED);
    CHECK_EQ(theirs.call.flags, AIO_CQE_ABORTED);
}

TEST(line_17_a_timeout_of_the_network_has_no_deadline_flag) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 0);
    CHECK_GE(listener, 0);
    int fillers[4]; /* the backlog is full: further connection requests are not answered */
    for (int i = 0; i < 4; i++) {
        fillers[i] = SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        connect(fillers[i], (struct sockaddr *)&addr, sizeof addr);
    }
    CHECK(is_readable(listener, 5000)); /* now it is */
    const int fd = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const unsigned timeout_ms = 100;
    SYS(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms));
    struct call call = {0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_connect(ctx, fd, (struct sockaddr *)&addr, sizeof addr, NULL, on_call,
                                   &call)),
             -ETIMEDOUT);
    CHECK_EQ(call.flags & AIO_CQE_DEADLINE, 0);
    end_ctx(ctx);
}

static void on_alarm(int number) { (void)number; }

TEST(line_17_eintr_never_reaches_the_user) {
    aio_ctx *ctx = make_ctx();
    const struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    SYS(sigaction(SIGVTALRM, &action, NULL));
    SYS(sigaction(SIGUSR1, &action, NULL));
    int pipe_fds[2];
    make_pipe(pipe_fds);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
    const struct itimerspec storm = {{0, 300000}, {0, 300000}};
    SYS(timer_settime(timer, 0, &storm, NULL));
    for (int i = 0; i < scaled(50); i++) {
        char bytes[2] = {0};
        struct call read = {0}, worker = {0}, pause = {0};
        const aio_op_id a = ID(aio_submit_read(ctx, pipe_fds[0], &bytes[0], 1, AIO_OFFSET_CURRENT,
                                               NULL, on_call, &read));
        const aio_op_id b = ID(aio_submit_read(ctx, pipe_fds[0], &bytes[1], 1, AIO_OFFSET_CURRENT,
                                               WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &worker));
        ID(aio_submit_timer(ctx, 2 * MS, NULL, on_call, &pause));
        CHECK_EQ(await_call(ctx, &pause), 0);
        CHECK_EQ(read.calls, 0);
        CHECK_EQ(aio_ctx_cancel(ctx, a), 0);
        /* Signals can keep a kernel below 6.15 from making a worker: it gives the operation up. */
        if (worker.calls)
            CHECK_EQ(worker.flags, AIO_CQE_ABORTED);
        else
            CHECK_EQ(aio_ctx_cancel(ctx, b), 0);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(read.result, -ECANCELED);
        CHECK_EQ(worker.result, -ECANCELED);
    }
    timer_delete(timer);
    end_ctx(ctx);
}

TEST(line_17_a_length_above_the_kernels_limit_is_clamped_and_not_cut) {
    aio_ctx *ctx = make_ctx();
    if (!has_ring(ctx))
        beyond_valgrind("looks at each of four billion bytes");
    const size_t len = (1ull << 32) + 4;
    char *map =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        SKIP("no address space: %s", strerror(errno));
    const int fd = temp_file("clamped", "0123456789", 10);
    const int null = SYS(open("/dev/null", O_WRONLY | O_CLOEXEC));
    struct call exact = {0}, over = {0}, write = {0};
    CHECK_EQ(DO(ctx, exact, aio_submit_read(ctx, fd, map, len - 4, 0, NULL, on_call, &exact)), 10);
    CHECK_EQ(DO(ctx, over, aio_submit_read(ctx, fd, map, len, 0, NULL, on_call, &over)), 10);
    CHECK_EQ(DO(ctx, write, aio_submit_write(ctx, null, map, len, 0, NULL, on_call, &write)),
             0x7ffff000);
    munmap(map, len);
    end_ctx(ctx);
}

TEST(line_17_the_end_of_the_stream_is_zero) {
    aio_ctx *ctx = make_ctx();
    struct idle idle;
    idle_submit(ctx, &idle, NULL);
    check_blocked(ctx, &idle.call);
    close(idle.pair[1]);
    CHECK_EQ(await_call(ctx, &idle.call), 0);
    CHECK_EQ(idle.call.flags & (AIO_CQE_ABORTED | AIO_CQE_DEADLINE), 0);
    end_ctx(ctx);
}

/* --- 18: bad arguments are errors, not crashes ------------------------------------------------ */

TEST(line_18_null_and_unknown_flags_are_einval) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_submit_nop(ctx, NULL, NULL, NULL), -EINVAL);
    CHECK_EQ(aio_submit_nop(NULL, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_nop(ctx, WITH(.flags = 1u << 31), on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_openat(ctx, AT_FDCWD, NULL, 0, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_create(NULL, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_run(NULL), -EINVAL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

TEST(line_18_a_small_struct_is_einval_and_a_larger_one_needs_a_zero_tail) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    struct {
        aio_submit_options options;
        uint64_t later[2];
    } larger = {.options = {.size = sizeof larger}};
    aio_submit_options small = {.size = sizeof small - 1};
    CHECK_EQ(aio_submit_nop(ctx, &small, on_call_never, NULL), -EINVAL);
    small.size = 0;
    CHECK_EQ(aio_submit_nop(ctx, &small, on_call_never, NULL), -EINVAL);
    ID(aio_submit_nop(ctx, &larger.options, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    larger.later[1] = 1;
    CHECK_EQ(aio_submit_nop(ctx, &larger.options, on_call_never, NULL), -E2BIG);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
