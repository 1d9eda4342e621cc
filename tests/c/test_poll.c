/* Section poll: readiness of a descriptor, once and as a multishot. */
#include "harness.h"

#include <poll.h>
#include <sys/eventfd.h>

TEST(poll_waits_until_the_descriptor_is_readable) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call call = {0};
    ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &call));
    check_blocked(ctx, &call);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &call), POLLIN);
    CHECK_EQ(call.flags & AIO_CQE_MORE, 0);
    CHECK(is_readable(pair[0], 0)); /* nothing was read away */
    end_ctx(ctx);
}

TEST(poll_gives_only_the_events_that_are_there) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call out = {0}, both = {0};
    CHECK_EQ(DO(ctx, out, aio_submit_poll(ctx, pair[0], POLLIN | POLLOUT, NULL, on_call, &out)),
             POLLOUT);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(DO(ctx, both, aio_submit_poll(ctx, pair[0], POLLIN | POLLOUT, NULL, on_call, &both)),
             POLLIN | POLLOUT);
    end_ctx(ctx);
}

TEST(poll_reports_a_hang_up_that_was_not_asked_for) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    struct call call = {0};
    ID(aio_submit_poll(ctx, pipe_fds[0], POLLIN, NULL, on_call, &call));
    check_blocked(ctx, &call);
    close(pipe_fds[1]);
    CHECK_EQ(await_call(ctx, &call) & POLLHUP, POLLHUP);
    end_ctx(ctx);
}

TEST(poll_for_writing_waits_while_the_pipe_is_full) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    fill_until_full(pipe_fds[1]);
    struct call call = {0};
    ID(aio_submit_poll(ctx, pipe_fds[1], POLLOUT, NULL, on_call, &call));
    check_blocked(ctx, &call);
    drain_until_empty(pipe_fds[0]);
    CHECK_EQ(await_call(ctx, &call), POLLOUT);
    end_ctx(ctx);
}

TEST(poll_of_a_closed_number_is_ebadf) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, multi = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_poll(ctx, 9999, POLLIN, NULL, on_call, &call)), -EBADF);
    CHECK_EQ(DO(ctx, multi, aio_submit_poll_multishot(ctx, 9999, POLLIN, NULL, on_call, &multi)),
             -EBADF);
    CHECK_EQ(multi.calls, 1);
    end_ctx(ctx);
}

TEST(poll_of_an_ordinary_file_is_ready_at_once) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("ready", "x", 1);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_poll(ctx, fd, POLLIN, NULL, on_call, &call)), POLLIN);
    close(fd);
    end_ctx(ctx);
}

TEST(a_multishot_poll_reports_every_event_with_more) {
    aio_ctx *ctx = make_ctx();
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    struct call call = {0};
    const aio_op_id id = ID(aio_submit_poll_multishot(ctx, fd, POLLIN, NULL, on_call, &call));
    check_blocked(ctx, &call);
    const int rounds = scaled(1000);
    for (int i = 1; i <= rounds; i++) {
        uint64_t value = 1;
        CHECK_EQ(write(fd, &value, sizeof value), (int64_t)sizeof value);
        RUN_UNTIL(ctx, call.calls >= i);
        CHECK_EQ(call.calls, i);
        CHECK_EQ(call.result, POLLIN);
        CHECK_EQ(call.flags & AIO_CQE_MORE, AIO_CQE_MORE);
        CHECK_EQ(read(fd, &value, sizeof value), (int64_t)sizeof value);
    }
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.calls, rounds + 1);
    close(fd);
    end_ctx(ctx);
}

TEST(a_multishot_poll_sees_what_was_ready_before) {
    aio_ctx *ctx = make_ctx();
    const int fd = SYS(eventfd(1, EFD_CLOEXEC));
    struct call call = {0};
    ID(aio_submit_poll_multishot(ctx, fd, POLLIN, NULL, on_call, &call));
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(call.result, POLLIN);
    CHECK_EQ(call.finals, 0);
    end_ctx(ctx);
    CHECK_EQ(call.finals, 1);
    close(fd);
}

TEST(a_multishot_poll_goes_on_after_a_full_completion_queue) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    enum { COUNT = 40 };
    struct call calls[COUNT];
    memset(calls, 0, sizeof calls);
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_poll_multishot(ctx, fd, POLLIN, NULL, on_call, &calls[i]));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    for (int round = 1; round <= 5; round++) {
        uint64_t value = 1;
        CHECK_EQ(write(fd, &value, sizeof value), (int64_t)sizeof value);
        for (int i = 0; i < COUNT; i++)
            RUN_UNTIL(ctx, calls[i].calls >= round);
        CHECK_EQ(read(fd, &value, sizeof value), (int64_t)sizeof value);
        run_for_ms(ctx, 2);
    }
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].finals, 0);
        CHECK_EQ(calls[i].result, POLLIN);
    }
    CHECK_EQ(aio_ctx_cancel_all(ctx), COUNT);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(calls[i].result, -ECANCELED);
    close(fd);
    end_ctx(ctx);
}

static void cancel_all_at_once(struct call *call) {
    call->then = NULL;
    CHECK_GE(aio_ctx_cancel_all(call->ctx), 0);
}

/* What the full completion queue kept back, the kernel's own end of a poll, comes after it. */
TEST(a_multishot_poll_that_is_cancelled_says_so_last) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    enum { COUNT = 40 };
    struct call calls[COUNT];
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    const uint64_t value = 1;
    for (int i = 0; i < COUNT; i++) {
        calls[i] = (struct call){.then = cancel_all_at_once};
        ID(aio_submit_poll_multishot(ctx, fd, POLLIN, NULL, on_call, &calls[i]));
    }
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(write(fd, &value, sizeof value), (int64_t)sizeof value);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].finals, 1);
        CHECK_EQ(calls[i].result, -ECANCELED);
    }
    close(fd);
    end_ctx(ctx);
}

TEST(many_polls_on_one_descriptor_all_see_the_event) {
    aio_ctx *ctx = make_ctx();
    int pair[2], calls = 0;
    make_socket_pair(pair);
    for (int i = 0; i < 50; i++)
        ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call_count, &calls));
    run_for_ms(ctx, 5);
    CHECK_EQ(calls, 0);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, 50);
    end_ctx(ctx);
}

HARNESS_MAIN
