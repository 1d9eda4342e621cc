/* Section misc: sets of epoll, children, pipes and commands: what a row of operations_misc.c does
 * not show. */
#include "harness.h"

#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- epoll sets ------------------------------------------------------------------------------ */

static int32_t change(aio_ctx *ctx, int set, int op, int fd, uint32_t events, uint64_t data) {
    struct epoll_event event = {.events = events, .data.u64 = data};
    struct call call = {0};
    ID(aio_submit_epoll_ctl(ctx, set, op, fd, &event, NULL, on_call, &call));
    memset(&event, 0xff, sizeof event); /* copied during the call */
    return await_call(ctx, &call);
}

TEST(epoll_ctl_adds_changes_and_removes) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    struct epoll_event event;
    struct call removed = {0};
    make_pipe(pipe_fds);
    const int set = SYS(epoll_create1(EPOLL_CLOEXEC));
    CHECK_EQ(change(ctx, set, EPOLL_CTL_ADD, pipe_fds[1], EPOLLIN, 1), 0);
    CHECK_EQ(epoll_wait(set, &event, 1, 0), 0);
    CHECK_EQ(change(ctx, set, EPOLL_CTL_MOD, pipe_fds[1], EPOLLOUT, 1ull << 63), 0);
    CHECK_EQ(epoll_wait(set, &event, 1, 0), 1);
    CHECK_EQ(event.events, EPOLLOUT);
    CHECK_EQ(event.data.u64, 1ull << 63);
    CHECK_EQ(DO(ctx, removed,
                aio_submit_epoll_ctl(ctx, set, EPOLL_CTL_DEL, pipe_fds[1], NULL, NULL, on_call,
                                     &removed)),
             0);
    CHECK_EQ(epoll_wait(set, &event, 1, 0), 0);
    close(set);
    end_ctx(ctx);
}

static int32_t take(aio_ctx *ctx, int set, struct epoll_event *events, int room) {
    struct call call = {0};
    ID(aio_submit_epoll_wait(ctx, set, events, room, NULL, on_call, &call));
    return await_call(ctx, &call);
}

TEST(epoll_wait_takes_several_events_and_no_more_than_there_is_room_for) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 15);
    const int set = SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event events[8] = {{0}};
    uint64_t seen = 0;
    for (int i = 0; i < 3; i++) { /* reported once each */
        int pipe_fds[2];
        make_pipe(pipe_fds);
        events[0] = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.u64 = 1ull << i};
        SYS(epoll_ctl(set, EPOLL_CTL_ADD, pipe_fds[0], events));
        write_all_or_fail(pipe_fds[1], "x", 1);
    }
    CHECK_EQ(take(ctx, set, events, 2), 2);
    seen |= events[0].data.u64 | events[1].data.u64;
    CHECK_EQ(take(ctx, set, events, 8), 1);
    seen |= events[0].data.u64;
    CHECK_EQ(seen, 7);
    struct call none = {0};
    ID(aio_submit_epoll_wait(ctx, set, events, 8, WITH(.timeout_ns = 10 * MS), on_call, &none));
    CHECK_EQ(await_call(ctx, &none), -ETIMEDOUT);
    close(set);
    end_ctx(ctx);
}

TEST(epoll_wait_sees_again_and_again_what_becomes_ready) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 15);
    const int set = SYS(epoll_create1(EPOLL_CLOEXEC));
    int pipe_fds[2];
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 5};
    make_pipe(pipe_fds);
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, pipe_fds[0], &event));
    for (int i = 0; i < scaled(200); i++) {
        struct call call = {0};
        char byte;
        event = (struct epoll_event){0};
        ID(aio_submit_epoll_wait(ctx, set, &event, 1, NULL, on_call, &call));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        CHECK_EQ(call.calls, 0);
        write_all_or_fail(pipe_fds[1], "x", 1);
        CHECK_EQ(await_call(ctx, &call), 1);
        CHECK_EQ(event.data.u64, 5);
        if (i % 3 == 0) /* level-triggered: still there */
            CHECK_EQ(take(ctx, set, &event, 1), 1);
        CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
    }
    close(set);
    end_ctx(ctx);
}

TEST(closing_a_set_ends_its_wait) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 15);
    const int set = SYS(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event;
    struct order order = {0};
    struct call wait = {.order = &order, .tag = 1}, closed = {.order = &order, .tag = 2};
    ID(aio_submit_epoll_wait(ctx, set, &event, 1, NULL, on_call, &wait));
    check_blocked(ctx, &wait);
    ID(aio_submit_close(ctx, set, NULL, on_call, &closed));
    CHECK_EQ(await_call(ctx, &closed), 0);
    CHECK_EQ(wait.result, -ECANCELED);
    CHECK_EQ(order.tags[0], 1);
    CHECK(!is_open(set));
    end_ctx(ctx);
}

/* --- children -------------------------------------------------------------------------------- */

static void exit_with_seven(void *arg) {
    (void)arg;
    _exit(7);
}

static void live_on(void *arg) {
    (void)arg;
    for (;;)
        pause();
}

static int32_t wait_for(aio_ctx *ctx, pid_t child, siginfo_t *info, int options) {
    struct call call = {0};
    memset(info, 0xff, sizeof *info);
    ID(aio_submit_waitid(ctx, P_PID, (uint32_t)child, info, options, NULL, on_call, &call));
    return await_call(ctx, &call);
}

TEST(waitid_says_how_a_child_ended_and_leaves_it_when_asked) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    siginfo_t info;
    const pid_t child = start_child(exit_with_seven, NULL);
    for (int leaves = 1; leaves >= 0; leaves--) {
        CHECK_EQ(wait_for(ctx, child, &info, leaves ? WEXITED | WNOWAIT : WEXITED), 0);
        CHECK_EQ(info.si_pid, child);
        CHECK_EQ(info.si_signo, SIGCHLD);
        CHECK_EQ(info.si_code, CLD_EXITED);
        CHECK_EQ(info.si_status, 7);
        CHECK_EQ(info.si_uid, getuid());
    }
    CHECK_EQ(wait_for(ctx, child, &info, WEXITED), -ECHILD);
    end_ctx(ctx);
}

TEST(waitid_sees_a_child_stop_and_go_on) {
    aio_ctx *ctx = make_ctx();
    if (!has_ring(ctx))
        beyond_valgrind("wants a place for what waitid may keep to itself");
    needs_ring_of(ctx, 6, 7);
    siginfo_t info;
    const pid_t child = start_child(live_on, NULL);
    CHECK_EQ(wait_for(ctx, child, &info, WEXITED | WNOHANG), 0);
    CHECK_EQ(info.si_pid, 0); /* nothing has happened */
    SYS(kill(child, SIGSTOP));
    CHECK_EQ(wait_for(ctx, child, &info, WSTOPPED), 0);
    CHECK_EQ(info.si_code, CLD_STOPPED);
    SYS(kill(child, SIGCONT));
    CHECK_EQ(wait_for(ctx, child, &info, WCONTINUED), 0);
    CHECK_EQ(info.si_code, CLD_CONTINUED);
    SYS(kill(child, SIGKILL));
    struct call blind = {0};
    CHECK_EQ(
        DO(ctx, blind,
           aio_submit_waitid(ctx, P_PID, (uint32_t)child, NULL, WEXITED, NULL, on_call, &blind)),
        0);
    end_ctx(ctx);
}

TEST(a_cancelled_waitid_leaves_the_child_to_be_waited_for) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    siginfo_t info;
    struct call call = {0};
    const pid_t child = start_child(live_on, NULL);
    const aio_op_id id =
        ID(aio_submit_waitid(ctx, P_PID, (uint32_t)child, &info, WEXITED, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    SYS(kill(child, SIGTERM));
    CHECK_EQ(wait_for(ctx, child, &info, WEXITED), 0);
    CHECK_EQ(info.si_status, SIGTERM);
    end_ctx(ctx);
}

TEST(closing_a_pidfd_ends_the_wait_for_its_child) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    siginfo_t info;
    struct call wait = {0}, closed = {0};
    const pid_t child = start_child(live_on, NULL);
    beyond_valgrind("opens no descriptors of processes");
    const int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    CHECK_GE(pidfd, 0);
    ID(aio_submit_waitid(ctx, 3 /* P_PIDFD */, (uint32_t)pidfd, &info, WEXITED, NULL, on_call,
                         &wait));
    check_blocked(ctx, &wait);
    ID(aio_submit_close(ctx, pidfd, NULL, on_call, &closed));
    CHECK_EQ(await_call(ctx, &closed), 0);
    CHECK_EQ(wait.result, -ECANCELED);
    SYS(kill(child, SIGKILL));
    SYS(waitpid(child, NULL, 0));
    end_ctx(ctx);
}

/* --- pipes ----------------------------------------------------------------------------------- */

TEST(a_pipe_is_close_on_exec_unless_inherited) {
    aio_ctx *ctx = make_ctx();
    for (int inherit = 0; inherit < 2; inherit++) {
        int pair[2] = {-1, -1};
        struct call call = {0};
        ID(aio_submit_pipe(ctx, pair, 0, inherit ? WITH(.flags = AIO_SUBMIT_INHERIT) : NULL,
                           on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 0);
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(is_cloexec(pair[i]), !inherit);
            close(pair[i]);
        }
    }
    end_ctx(ctx);
}

TEST(a_pipe_that_nobody_waits_for_is_closed) {
    enum { DETACHED, WAITED_FOR, CANCELLED, WAYS };
    for (int i = 0; i < WAYS * 2 * scaled(20); i++) {
        aio_ctx *ctx = make_ctx();
        const int before = open_descriptors();
        int pair[2] = {-7, -7};
        struct call call = {0};
        const int way = i % WAYS;
        const aio_op_id id = ID(aio_submit_pipe(ctx, pair, 0, NULL, on_call, &call));
        if (i / WAYS % 2)
            CHECK_GE(aio_ctx_flush(ctx), 0);
        if (way == DETACHED)
            CHECK_EQ(aio_ctx_detach(ctx, id), 0);
        else if (way == WAITED_FOR)
            CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        else
            aio_ctx_cancel(ctx, id);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(call.calls, way == CANCELLED);
        if (call.calls && call.result == 0) {
            close(pair[0]);
            close(pair[1]);
        } else {
            CHECK_EQ(pair[0], -7);
            CHECK_EQ(pair[1], -7);
        }
        CHECK_EQ(open_descriptors(), before);
        end_ctx(ctx);
    }
}

TEST(a_pipe_whose_record_nobody_takes_is_closed_by_destroy) {
    for (int in_flight = 0; in_flight < 2; in_flight++) {
        const int before = open_descriptors();
        aio_ctx *ctx = make_ctx();
        int pair[2];
        ID(aio_submit_pipe(ctx, pair, 0, NULL, AIO_CALLBACK_REAP, NULL));
        if (!in_flight)
            CHECK_GE(aio_ctx_run_once(ctx, 1000 * (int64_t)MS), 0);
        end_ctx(ctx);
        CHECK_EQ(open_descriptors(), before);
    }
}

/* --- commands -------------------------------------------------------------------------------- */

#define INQ 0u  /* SOCKET_URING_OP_SIOCINQ */
#define OUTQ 1u /* SOCKET_URING_OP_SIOCOUTQ */

static int32_t command(aio_ctx *ctx, int fd, uint32_t cmd) {
    struct call call = {0};
    ID(aio_submit_uring_cmd(ctx, fd, cmd, NULL, 0, NULL, on_call, &call));
    return await_call(ctx, &call);
}

TEST(sockets_are_asked_for_their_queues_by_command) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    int fds[2];
    char data[100];
    make_tcp_pair(fds);
    CHECK_EQ(command(ctx, fds[0], INQ), 0);
    write_all_or_fail(fds[1], "hello", 5);
    CHECK(is_readable(fds[0], 5000));
    CHECK_EQ(command(ctx, fds[0], INQ), 5);
    CHECK_EQ(read(fds[0], data, 2), 2);
    CHECK_EQ(command(ctx, fds[0], INQ), 3);
    CHECK_EQ(command(ctx, fds[1], OUTQ), 0);
    end_ctx(ctx);
}

TEST(a_file_that_takes_no_commands_says_so) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 5, 19);
    const int fd = temp_file("file", "hello", 5);
    CHECK_EQ(command(ctx, fd, INQ), has_ring(ctx) ? -EOPNOTSUPP : -ENOTSOCK);
    CHECK_EQ(command(ctx, fd, 77), -EOPNOTSUPP);
    end_ctx(ctx);
}

TEST(a_context_with_wide_entries_takes_longer_commands) {
    for (int wide = 0; wide < 2; wide++) {
        aio_ctx *ctx = make_ctx_with(CTX_WITH(.flags = wide ? AIO_CTX_SQE128 : 0));
        char bytes[81] = {0};
        struct call call = {0};
        const int fd = temp_file("file", NULL, 0);
        const size_t most = wide ? 80 : 16;
        CHECK_EQ(aio_submit_uring_cmd(ctx, fd, 77, bytes, most + 1, NULL, on_call, &call), -EINVAL);
        ID(aio_submit_uring_cmd(ctx, fd, 77, bytes, most, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), -EOPNOTSUPP);
        close(fd);
        end_ctx(ctx);
    }
}

HARNESS_MAIN
