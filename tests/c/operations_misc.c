/* Rows of the sections misc and poll. */
#include "operations.h"

#include <poll.h>
#include <sys/wait.h>

SUBMIT(submit_nop) { return aio_submit_nop(e->ctx, o, cb, u); }

ROW(nop, .check = check_is_zero);

/* --- raw: a READ, of a file or of an empty pipe ----------------------------------------------- */

static void raw_file(struct env *e) {
    env_path(e, e->path, "raw");
    e->fd = env_keep(e, open(e->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    write_all_or_fail(e->fd, "hello", 5);
}

static void raw_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    env_keep_both(e, fds);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

SUBMIT(submit_raw) {
    e->sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = e->fd, .len = sizeof e->data};
    e->sqe.addr = (uintptr_t)e->data;
    return aio_submit_raw(e->ctx, &e->sqe, o, cb, u);
}

static void check_hello(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_MEM(e->data, "hello", 5);
}

ROW(raw, .shown = "read", .setup = raw_file, .check = check_hello, .block = raw_pipe,
    .unblock = feed);

FAILS(raw, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_raw(e, o, cb, u);
}

FAILS(raw, EINVAL, -EINVAL) {
    raw_file(e);
    e->sqe = (struct io_uring_sqe){.opcode = IORING_OP_FSYNC, .fd = e->fd, .fsync_flags = 77};
    return aio_submit_raw(e->ctx, &e->sqe, o, cb, u);
}

FAILS(raw, EINVAL_of_a_buffer_to_be_selected, -EINVAL) {
    e->sqe = (struct io_uring_sqe){.opcode = IORING_OP_RECV, .flags = IOSQE_BUFFER_SELECT};
    return aio_submit_raw(e->ctx, &e->sqe, o, cb, u);
}

FAILS(raw, EOPNOTSUPP, -EOPNOTSUPP) {
    e->sqe = (struct io_uring_sqe){.opcode = 254};
    return aio_submit_raw(e->ctx, &e->sqe, o, cb, u);
}

/* --- poll ------------------------------------------------------------------------------------ */

static void pair_idle(struct env *e) {
    int fds[2];
    make_socket_pair(fds);
    env_keep_both(e, fds);
}

static void pair_ready(struct env *e) {
    pair_idle(e);
    feed(e);
}

static void check_readable(struct env *e, int32_t result) {
    CHECK_EQ(result, POLLIN);
    CHECK(is_readable(e->fd, 0));
}

SUBMIT(submit_poll) { return aio_submit_poll(e->ctx, e->fd, POLLIN, o, cb, u); }

ROW(poll, .setup = pair_ready, .check = check_readable, .block = pair_idle, .unblock = feed);

FAILS(poll, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_poll(e, o, cb, u);
}

FAILS(poll, EBADF_below_zero, -EBADF) {
    e->fd = -1;
    return submit_poll(e, o, cb, u);
}

SUBMIT(submit_poll_multishot) { return aio_submit_poll_multishot(e->ctx, e->fd, POLLIN, o, cb, u); }

ROW(poll_multishot, .shown = "poll", .setup = pair_ready, .check = check_readable,
    .block = pair_idle, .unblock = feed, .multishot = true);

FAILS(poll_multishot, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_poll_multishot(e, o, cb, u);
}

/* --- epoll sets ------------------------------------------------------------------------------ */

/* A set, and a pipe that is not in it. */
static void with_set(struct env *e) {
    raw_pipe(e);
    e->value = env_keep(e, SYS(epoll_create1(EPOLL_CLOEXEC)));
    e->events[0] = (struct epoll_event){.events = EPOLLIN, .data.u64 = 77};
}

static void add(struct env *e, int fd) { SYS(epoll_ctl(e->value, EPOLL_CTL_ADD, fd, e->events)); }

static aio_op_id change(struct env *e, int op, int fd, const aio_submit_options *o, aio_callback cb,
                        void *u) {
    return aio_submit_epoll_ctl(e->ctx, e->value, op, fd, e->events, o, cb, u);
}

SUBMIT(submit_epoll_ctl) { return change(e, EPOLL_CTL_ADD, e->fd, o, cb, u); }

static void check_added(struct env *e, int32_t result) {
    struct epoll_event event;
    CHECK_EQ(result, 0);
    feed(e);
    CHECK_EQ(epoll_wait(e->value, &event, 1, 0), 1);
    CHECK_EQ(event.data.u64, 77);
}

ROW(epoll_ctl, .setup = with_set, .check = check_added);

FAILS(epoll_ctl, EBADF_of_the_set, -EBADF) {
    with_set(e);
    e->value = 9999;
    return submit_epoll_ctl(e, o, cb, u);
}

FAILS(epoll_ctl, EBADF_of_the_descriptor, -EBADF) {
    with_set(e);
    return change(e, EPOLL_CTL_ADD, 9999, o, cb, u);
}

FAILS(epoll_ctl, EEXIST, -EEXIST) {
    with_set(e);
    add(e, e->fd);
    return submit_epoll_ctl(e, o, cb, u);
}

FAILS(epoll_ctl, ENOENT, -ENOENT) {
    with_set(e);
    return change(e, EPOLL_CTL_MOD, e->fd, o, cb, u);
}

FAILS(epoll_ctl, EPERM_of_a_file, -EPERM) {
    with_set(e);
    return change(e, EPOLL_CTL_ADD, env_file(e, e->path, "file", O_RDWR), o, cb, u);
}

FAILS(epoll_ctl, EINVAL_of_itself, -EINVAL) {
    with_set(e);
    return change(e, EPOLL_CTL_ADD, e->value, o, cb, u);
}

FAILS(epoll_ctl, EINVAL_of_no_set, -EINVAL) {
    with_set(e);
    e->value = e->other;
    return submit_epoll_ctl(e, o, cb, u);
}

FAILS(epoll_ctl, EINVAL_of_the_change, -EINVAL) {
    with_set(e);
    return change(e, 99, e->fd, o, cb, u);
}

FAILS(epoll_ctl, EINVAL_without_an_event, -EINVAL) {
    with_set(e);
    return aio_submit_epoll_ctl(e->ctx, e->value, EPOLL_CTL_ADD, e->fd, NULL, o, cb, u);
}

FAILS(epoll_ctl, ELOOP, -ELOOP) {
    with_set(e);
    const int set = env_keep(e, SYS(epoll_create1(EPOLL_CLOEXEC)));
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, e->value, e->events));
    return change(e, EPOLL_CTL_ADD, set, o, cb, u);
}

static void needs_epoll_wait(struct env *e) { needs_ring_of(e->ctx, 6, 15); }

static void with_quiet_set(struct env *e) {
    needs_epoll_wait(e);
    with_set(e);
    add(e, e->fd);
}

static void with_ready_set(struct env *e) {
    with_quiet_set(e);
    feed(e);
}

SUBMIT(submit_epoll_wait) {
    return aio_submit_epoll_wait(e->ctx, e->value, e->events, COUNT_OF(e->events), o, cb, u);
}

static void check_event(struct env *e, int32_t result) {
    CHECK_EQ(result, 1);
    CHECK_EQ(e->events[0].data.u64, 77);
    CHECK_EQ(e->events[0].events, EPOLLIN);
}

ROW(epoll_wait, .setup = with_ready_set, .check = check_event, .block = with_quiet_set,
    .unblock = feed);

FAILS(epoll_wait, EBADF, -EBADF) {
    needs_epoll_wait(e);
    e->value = 9999;
    return submit_epoll_wait(e, o, cb, u);
}

FAILS(epoll_wait, EINVAL_of_no_set, -EINVAL) {
    needs_epoll_wait(e);
    raw_pipe(e);
    e->value = e->fd;
    return submit_epoll_wait(e, o, cb, u);
}

FAILS(epoll_wait, EINVAL_of_no_room, -EINVAL) {
    with_ready_set(e);
    return aio_submit_epoll_wait(e->ctx, e->value, e->events, 0, o, cb, u);
}

FAILS(epoll_wait, EINVAL_of_the_room, -EINVAL) {
    with_ready_set(e);
    if (!has_ring(e->ctx))
        beyond_valgrind("looks at the room that the system call refuses");
    return aio_submit_epoll_wait(e->ctx, e->value, e->events, INT32_MAX, o, cb, u);
}

FAILS(epoll_wait, EINVAL_without_events, -EINVAL) {
    with_ready_set(e);
    return aio_submit_epoll_wait(e->ctx, e->value, NULL, 1, o, cb, u);
}

FAILS(epoll_wait, EFAULT, -EFAULT) {
    with_ready_set(e);
    return aio_submit_epoll_wait(e->ctx, e->value, BAD_ADDRESS, 1, o, cb, u);
}

/* --- pipe ------------------------------------------------------------------------------------ */

SUBMIT(submit_pipe) { return aio_submit_pipe(e->ctx, e->pair, O_NONBLOCK, o, cb, u); }

static void check_piped(struct env *e, int32_t result) {
    char back[8];
    CHECK_EQ(result, 0);
    write_all_or_fail(e->pair[1], "hello", 5);
    CHECK_EQ(read(e->pair[0], back, sizeof back), 5);
    CHECK_MEM(back, "hello", 5);
    for (int i = 0; i < 2; i++) {
        CHECK(is_cloexec(e->pair[i]));
        CHECK(SYS(fcntl(e->pair[i], F_GETFL)) & O_NONBLOCK);
    }
}

ROW(pipe, .check = check_piped, .makes_pair = true);

FAILS(pipe, EINVAL_of_unknown_flags, -EINVAL) {
    return aio_submit_pipe(e->ctx, e->pair, O_APPEND, o, cb, u);
}

FAILS(pipe, EINVAL_without_a_pair, -EINVAL) { return aio_submit_pipe(e->ctx, NULL, 0, o, cb, u); }

FAILS(pipe, EINVAL_of_a_quiet_one, -EINVAL) {
    (void)o;
    return submit_pipe(e, WITH(.flags = AIO_SUBMIT_QUIET), cb, u);
}

FAILS(pipe, EMFILE, -EMFILE) {
    env_no_descriptor_left(e);
    return submit_pipe(e, o, cb, u);
}

/* --- waitid ---------------------------------------------------------------------------------- */

static void live_on(void *arg) {
    (void)arg;
    for (;;)
        pause();
}

static void with_living_child(struct env *e) {
    needs_ring_of(e->ctx, 6, 7);
    e->child = start_child(live_on, NULL);
}

static void end_it(struct env *e) { SYS(kill(e->child, SIGTERM)); }

static void with_dead_child(struct env *e) {
    with_living_child(e);
    end_it(e);
    SYS(waitid(P_PID, (id_t)e->child, &e->info, WEXITED | WNOWAIT));
    memset(&e->info, 0, sizeof e->info);
}

static aio_op_id wait_for(struct env *e, int type, int options, const aio_submit_options *o,
                          aio_callback cb, void *u) {
    return aio_submit_waitid(e->ctx, type, (uint32_t)e->child, &e->info, options, o, cb, u);
}

SUBMIT(submit_waitid) { return wait_for(e, P_PID, WEXITED, o, cb, u); }

static void check_reaped(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_EQ(e->info.si_pid, e->child);
    CHECK_EQ(e->info.si_signo, SIGCHLD);
    CHECK_EQ(e->info.si_code, CLD_KILLED);
    CHECK_EQ(e->info.si_status, SIGTERM);
    CHECK_EQ(waitid(P_PID, (id_t)e->child, &e->info, WEXITED | WNOHANG), -1);
    CHECK_EQ(errno, ECHILD);
    e->child = 0;
}

ROW(waitid, .setup = with_dead_child, .check = check_reaped, .block = with_living_child,
    .unblock = end_it);

FAILS(waitid, ECHILD, -ECHILD) {
    needs_ring_of(e->ctx, 6, 7);
    return aio_submit_waitid(e->ctx, P_PID, (uint32_t)getpid(), &e->info, WEXITED, o, cb, u);
}

FAILS(waitid, EINVAL_of_no_options, -EINVAL) {
    with_living_child(e);
    return wait_for(e, P_PID, 0, o, cb, u);
}

FAILS(waitid, EINVAL_of_the_type, -EINVAL) {
    with_living_child(e);
    return wait_for(e, 77, WEXITED, o, cb, u);
}

/* --- commands: what waits in a socket --------------------------------------------------------- */

#define SIOCINQ_OF_A_SOCKET 0u /* SOCKET_URING_OP_SIOCINQ */

static void tcp_fed(struct env *e) {
    int fds[2];
    needs_ring_of(e->ctx, 6, 7);
    make_tcp_pair(fds);
    env_keep_both(e, fds);
    feed(e);
    CHECK(is_readable(e->fd, 5000));
}

SUBMIT(submit_uring_cmd) {
    return aio_submit_uring_cmd(e->ctx, e->fd, SIOCINQ_OF_A_SOCKET, NULL, 0, o, cb, u);
}

static void check_five(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 5);
}

ROW(uring_cmd, .setup = tcp_fed, .check = check_five);

FAILS(uring_cmd, EBADF, -EBADF) {
    needs_ring_of(e->ctx, 6, 7);
    e->fd = 9999;
    return submit_uring_cmd(e, o, cb, u);
}

FAILS(uring_cmd, EOPNOTSUPP_of_an_unknown_command, -EOPNOTSUPP) {
    tcp_fed(e);
    return aio_submit_uring_cmd(e->ctx, e->fd, 9999, NULL, 0, o, cb, u);
}

FAILS(uring_cmd, EINVAL_of_the_length, -EINVAL) {
    tcp_fed(e);
    return aio_submit_uring_cmd(e->ctx, e->fd, SIOCINQ_OF_A_SOCKET, e->text, 17, o, cb, u);
}

FAILS(uring_cmd, EINVAL_without_bytes, -EINVAL) {
    tcp_fed(e);
    return aio_submit_uring_cmd(e->ctx, e->fd, SIOCINQ_OF_A_SOCKET, NULL, 5, o, cb, u);
}
