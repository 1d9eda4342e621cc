/* Rows of the section buffers: receives that take a buffer of a pool when data is there. What the
 * buffers bring is in test_buffers.c. */
#include "operations.h"

static void with_pool(struct env *e) {
    CHECK_EQ(aio_buffer_pool_create(e->ctx, NULL, &e->pool), 0);
}

static void with_pair(struct env *e) {
    int fds[2];
    with_pool(e);
    make_tcp_pair(fds);
    env_keep_both(e, fds);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

static void with_fed_pair(struct env *e) {
    with_pair(e);
    feed(e);
}

static void with_file(struct env *e) {
    with_pool(e);
    e->fd = env_file(e, e->path, "file", O_RDWR);
}

static void with_listener(struct env *e) {
    with_pool(e);
    e->fd = env_keep(e, make_tcp_listener(&e->addr, 8));
}

/* A reset by the peer that nobody has read of. */
static void with_reset(struct env *e) {
    with_pair(e);
    const struct linger now = {.l_onoff = 1};
    SYS(setsockopt(e->other, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    SYS(close(e->other));
    CHECK(is_readable(e->fd, 20000));
}

static void check_five(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 5);
}

/* --- recv_multishot -------------------------------------------------------------------------- */

SUBMIT(submit_recv_multishot) {
    return aio_submit_recv_multishot(e->ctx, e->fd, e->pool, 0, o, cb, u);
}

ROW(recv_multishot, .shown = "recv", .setup = with_fed_pair, .check = check_five,
    .block = with_pair, .unblock = feed, .multishot = true, .pooled = true);

FAILS(recv_multishot, EBADF, -EBADF) {
    with_pool(e);
    e->fd = 9999;
    return submit_recv_multishot(e, o, cb, u);
}

FAILS(recv_multishot, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recv_multishot(e, o, cb, u);
}

FAILS(recv_multishot, ENOTCONN, -ENOTCONN) {
    with_listener(e);
    return submit_recv_multishot(e, o, cb, u);
}

FAILS(recv_multishot, ECONNRESET, -ECONNRESET) {
    with_reset(e);
    return submit_recv_multishot(e, o, cb, u);
}

FAILS(recv_multishot, EAGAIN_of_MSG_DONTWAIT, -EAGAIN) {
    with_pair(e);
    return aio_submit_recv_multishot(e->ctx, e->fd, e->pool, MSG_DONTWAIT, o, cb, u);
}

FAILS(recv_multishot, EINVAL_without_a_pool, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_multishot(e->ctx, e->fd, NULL, 0, o, cb, u);
}

FAILS(recv_multishot, EINVAL_of_MSG_WAITALL, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_multishot(e->ctx, e->fd, e->pool, MSG_WAITALL, o, cb, u);
}

FAILS(recv_multishot, EINVAL_of_MSG_TRUNC, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_multishot(e->ctx, e->fd, e->pool, MSG_TRUNC, o, cb, u);
}

FAILS(recv_multishot, EINVAL_of_MSG_PEEK, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_multishot(e->ctx, e->fd, e->pool, MSG_PEEK, o, cb, u);
}

/* --- recv_pooled ----------------------------------------------------------------------------- */

SUBMIT(submit_recv_pooled) { return aio_submit_recv_pooled(e->ctx, e->fd, e->pool, 0, o, cb, u); }

ROW(recv_pooled, .shown = "recv", .setup = with_fed_pair, .check = check_five, .block = with_pair,
    .unblock = feed, .pooled = true);

FAILS(recv_pooled, EBADF, -EBADF) {
    with_pool(e);
    e->fd = 9999;
    return submit_recv_pooled(e, o, cb, u);
}

FAILS(recv_pooled, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recv_pooled(e, o, cb, u);
}

FAILS(recv_pooled, ENOTCONN, -ENOTCONN) {
    with_listener(e);
    return submit_recv_pooled(e, o, cb, u);
}

FAILS(recv_pooled, ECONNRESET, -ECONNRESET) {
    with_reset(e);
    return submit_recv_pooled(e, o, cb, u);
}

FAILS(recv_pooled, EAGAIN_of_MSG_DONTWAIT, -EAGAIN) {
    with_pair(e);
    return aio_submit_recv_pooled(e->ctx, e->fd, e->pool, MSG_DONTWAIT, o, cb, u);
}

FAILS(recv_pooled, EINVAL_without_a_pool, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_pooled(e->ctx, e->fd, NULL, 0, o, cb, u);
}

FAILS(recv_pooled, EINVAL_of_MSG_WAITALL, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_pooled(e->ctx, e->fd, e->pool, MSG_WAITALL, o, cb, u);
}

FAILS(recv_pooled, EINVAL_of_MSG_TRUNC, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_pooled(e->ctx, e->fd, e->pool, MSG_TRUNC, o, cb, u);
}

/* --- recvmsg_multishot ----------------------------------------------------------------------- */

/* 16 bytes of head, the rooms for name and control data, and the payload: 16 + 16 + 32 + 5. */
static void check_message(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 69);
}

SUBMIT(submit_recvmsg_multishot) {
    e->header.msg_namelen = 16;
    e->header.msg_controllen = 32;
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, &e->header, 0, o, cb, u);
}

ROW(recvmsg_multishot, .shown = "recvmsg", .setup = with_fed_pair, .check = check_message,
    .block = with_pair, .unblock = feed, .multishot = true, .pooled = true);

FAILS(recvmsg_multishot, EBADF, -EBADF) {
    with_pool(e);
    e->fd = 9999;
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, ENOTCONN, -ENOTCONN) {
    with_listener(e);
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, ECONNRESET, -ECONNRESET) {
    with_reset(e);
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, EFAULT_of_small_buffers, -EFAULT) {
    const aio_buffer_pool_options small = {.size = sizeof small, .buffer_size = 63};
    int fds[2];
    CHECK_EQ(aio_buffer_pool_create(e->ctx, &small, &e->pool), 0);
    make_tcp_pair(fds);
    env_keep_both(e, fds);
    feed(e);
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_without_a_message, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, NULL, 0, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_of_a_long_name, -EINVAL) {
    with_fed_pair(e);
    e->header.msg_namelen = 129;
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, &e->header, 0, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_of_long_control, -EINVAL) {
    with_fed_pair(e);
    e->header.msg_controllen = 65537;
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, &e->header, 0, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_of_an_incremental_pool, -EINVAL) {
    const aio_buffer_pool_options pieces = {.size = sizeof pieces,
                                            .flags = AIO_BUFFER_POOL_INCREMENTAL};
    int fds[2];
    CHECK_EQ(aio_buffer_pool_create(e->ctx, &pieces, &e->pool), 0);
    make_tcp_pair(fds);
    env_keep_both(e, fds);
    return submit_recvmsg_multishot(e, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_of_MSG_WAITALL, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, &e->header, MSG_WAITALL, o, cb, u);
}

FAILS(recvmsg_multishot, EINVAL_of_MSG_PEEK, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recvmsg_multishot(e->ctx, e->fd, e->pool, &e->header, MSG_PEEK, o, cb, u);
}

/* --- read_multishot -------------------------------------------------------------------------- */

static void with_pipe(struct env *e) {
    int fds[2];
    with_pool(e);
    make_pipe(fds);
    env_keep_both(e, fds);
}

static void with_fed_pipe(struct env *e) {
    with_pipe(e);
    feed(e);
}

SUBMIT(submit_read_multishot) {
    return aio_submit_read_multishot(e->ctx, e->fd, e->pool, o, cb, u);
}

ROW(read_multishot, .shown = "read" /* all of it before Linux 6.7 */, .setup = with_fed_pipe,
    .check = check_five, .block = with_pipe, .unblock = feed, .multishot = true, .pooled = true);

FAILS(read_multishot, EBADF, -EBADF) {
    with_pool(e);
    e->fd = 9999;
    return submit_read_multishot(e, o, cb, u);
}

FAILS(read_multishot, EBADF_of_a_descriptor_for_writing, -EBADF) {
    with_pipe(e);
    return aio_submit_read_multishot(e->ctx, e->other, e->pool, o, cb, u);
}

FAILS(read_multishot, EBADFD_of_a_file, -EBADFD) {
    with_file(e);
    return submit_read_multishot(e, o, cb, u);
}

FAILS(read_multishot, EBADFD_of_a_folder, -EBADFD) {
    with_pool(e);
    e->fd = env_keep(e, SYS(open(temp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    return submit_read_multishot(e, o, cb, u);
}

FAILS(read_multishot, EINVAL_without_a_pool, -EINVAL) {
    with_fed_pipe(e);
    return aio_submit_read_multishot(e->ctx, e->fd, NULL, o, cb, u);
}

/* --- recv_zc --------------------------------------------------------------------------------- */

/* From Linux 7.1 on a queue of no card; before, and on epoll, the pool that stands in for it. */
static void with_card_pool(struct env *e) {
    const aio_interface_queue none = {.size = sizeof none, .flags = AIO_INTERFACE_NONE};
    CHECK_EQ(aio_buffer_pool_create_zero_copy(e->ctx, &none, NULL, &e->pool), 0);
}

static void with_card_pair(struct env *e) {
    int fds[2];
    with_card_pool(e);
    make_tcp_pair(fds);
    env_keep_both(e, fds);
}

static void with_fed_card_pair(struct env *e) {
    with_card_pair(e);
    feed(e);
}

SUBMIT(submit_recv_zc) { return aio_submit_recv_zc(e->ctx, e->fd, e->pool, o, cb, u); }

ROW(recv_zc, .shown = "recv", .setup = with_fed_card_pair, .check = check_five,
    .block = with_card_pair, .unblock = feed, .multishot = true, .pooled = true);

FAILS(recv_zc, EBADF, -EBADF) {
    with_card_pool(e);
    e->fd = 9999;
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, ENOTSOCK, -ENOTSOCK) {
    with_card_pool(e);
    e->fd = env_file(e, e->path, "file", O_RDWR);
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, ENOTCONN, -ENOTCONN) {
    with_card_pool(e);
    e->fd = env_keep(e, make_tcp_listener(&e->addr, 8));
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, ECONNRESET, -ECONNRESET) {
    with_card_pair(e);
    const struct linger now = {.l_onoff = 1};
    SYS(setsockopt(e->other, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    SYS(close(e->other));
    CHECK(is_readable(e->fd, 20000));
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, EPROTONOSUPPORT_of_a_unix_socket, -EPROTONOSUPPORT) {
    int fds[2];
    with_card_pool(e);
    make_socket_pair(fds);
    env_keep_both(e, fds);
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, EINVAL_of_an_ordinary_pool, -EINVAL) {
    with_fed_pair(e);
    return submit_recv_zc(e, o, cb, u);
}

FAILS(recv_zc, EINVAL_without_a_pool, -EINVAL) {
    with_fed_card_pair(e);
    return aio_submit_recv_zc(e->ctx, e->fd, NULL, o, cb, u);
}
