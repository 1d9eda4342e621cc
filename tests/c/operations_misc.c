/* Rows of the sections misc and poll. */
#include "operations.h"

#include <poll.h>

static void check_zero(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 0);
}

SUBMIT(submit_nop) { return aio_submit_nop(e->ctx, o, cb, u); }

ROW(nop, .check = check_zero);

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
