/* Rows of the whole transfers and sendfile: their result is 0 or an error. */
#include "operations.h"

#define CUR AIO_OFFSET_CURRENT

static void with_file(struct env *e) { e->fd = env_file(e, e->path, "file", O_RDWR); }

static void with_empty_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    env_keep_both(e, fds);
}

static void with_full_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    e->fd = env_keep(e, fds[1]);
    e->other = env_keep(e, fds[0]);
    fill_until_full(e->fd);
}

static void with_pair(struct env *e) {
    int fds[2];
    make_tcp_pair(fds);
    env_keep_both(e, fds);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

static void drain(struct env *e) { drain_until_empty(e->other); }

static void with_fed_pair(struct env *e) {
    with_pair(e);
    feed(e);
}

static void with_full_pair(struct env *e) {
    int fds[2];
    make_socket_pair(fds);
    env_keep_both(e, fds);
    fill_until_full(e->fd);
}

static void with_closed_peer(struct env *e) {
    int fds[2];
    make_socket_pair(fds);
    close(fds[1]);
    e->fd = env_keep(e, fds[0]);
}

static void with_reset_peer(struct env *e) {
    with_pair(e);
    const struct linger now = {.l_onoff = 1};
    SYS(setsockopt(e->other, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(e->other);
    CHECK(is_readable(e->fd, 5000));
}

static void check_hello(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_MEM(e->data, "hello", 5);
}

/* --- read_exact and write_all ----------------------------------------------------------------- */

SUBMIT(submit_read_exact) { return aio_submit_read_exact(e->ctx, e->fd, e->data, 5, 0, o, cb, u); }

ROW(read_exact, .setup = with_file, .check = check_hello, .block = with_empty_pipe,
    .unblock = feed);

FAILS(read_exact, EEOF, AIO_EEOF) {
    with_file(e);
    return aio_submit_read_exact(e->ctx, e->fd, e->data, 6, 0, o, cb, u);
}

FAILS(read_exact, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_read_exact(e, o, cb, u);
}

FAILS(read_exact, EISDIR, -EISDIR) {
    e->fd = env_keep(e, SYS(open(temp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    return submit_read_exact(e, o, cb, u);
}

FAILS(read_exact, EFAULT, -EFAULT) {
    with_file(e);
    return aio_submit_read_exact(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(read_exact, EINVAL_without_a_buffer, -EINVAL) {
    with_file(e);
    return aio_submit_read_exact(e->ctx, e->fd, NULL, 5, 0, o, cb, u);
}

FAILS(read_exact, EINVAL_before_others_in_a_chain, -EINVAL) {
    (void)o;
    with_file(e);
    return submit_read_exact(e, WITH(.flags = AIO_SUBMIT_LINK), cb, u);
}

SUBMIT(submit_write_all) {
    memcpy(e->text, "WRITE", 5);
    return aio_submit_write_all(e->ctx, e->fd, e->text, 5, 0, o, cb, u);
}

static void check_written(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    if (e->path[0]) {
        char back[8] = {0};
        CHECK_EQ(pread(e->fd, back, 5, 0), 5);
        CHECK_MEM(back, "WRITE", 5);
    }
}

ROW(write_all, .setup = with_file, .check = check_written, .block = with_full_pipe,
    .unblock = drain);

FAILS(write_all, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_write_all(e, o, cb, u);
}

FAILS(write_all, EFAULT, -EFAULT) {
    with_file(e);
    return aio_submit_write_all(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(write_all, EPIPE, -EPIPE) {
    signal(SIGPIPE, SIG_IGN);
    int fds[2];
    make_pipe(fds);
    close(fds[0]);
    e->fd = env_keep(e, fds[1]);
    return submit_write_all(e, o, cb, u);
}

FAILS(write_all, ENOSPC, -ENOSPC) {
    e->fd = env_keep(e, SYS(open("/dev/full", O_WRONLY | O_CLOEXEC)));
    return submit_write_all(e, o, cb, u);
}

FAILS(write_all, EINVAL_before_others_in_a_chain, -EINVAL) {
    (void)o;
    with_file(e);
    return submit_write_all(e, WITH(.flags = AIO_SUBMIT_HARDLINK), cb, u);
}

/* --- recv_exact and send_all ------------------------------------------------------------------ */

SUBMIT(submit_recv_exact) { return aio_submit_recv_exact(e->ctx, e->fd, e->data, 5, 0, o, cb, u); }

ROW(recv_exact, .setup = with_fed_pair, .check = check_hello, .block = with_pair, .unblock = feed);

FAILS(recv_exact, EEOF, AIO_EEOF) {
    with_closed_peer(e);
    return submit_recv_exact(e, o, cb, u);
}

FAILS(recv_exact, EEOF_after_some, AIO_EEOF) {
    with_fed_pair(e);
    SYS(shutdown(e->other, SHUT_WR));
    return aio_submit_recv_exact(e->ctx, e->fd, e->data, 6, 0, o, cb, u);
}

FAILS(recv_exact, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_recv_exact(e, o, cb, u);
}

FAILS(recv_exact, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recv_exact(e, o, cb, u);
}

FAILS(recv_exact, ECONNRESET, -ECONNRESET) {
    with_reset_peer(e);
    return submit_recv_exact(e, o, cb, u);
}

FAILS(recv_exact, EFAULT, -EFAULT) {
    with_fed_pair(e);
    return aio_submit_recv_exact(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(recv_exact, EINVAL_of_flags, -EINVAL) {
    with_fed_pair(e);
    return aio_submit_recv_exact(e->ctx, e->fd, e->data, 5, MSG_PEEK, o, cb, u);
}

FAILS(recv_exact, EINVAL_of_a_hard_link, -EINVAL) {
    (void)o;
    with_fed_pair(e);
    return submit_recv_exact(e, WITH(.flags = AIO_SUBMIT_HARDLINK), cb, u);
}

SUBMIT(submit_send_all) {
    memcpy(e->text, "hello", 5);
    return aio_submit_send_all(e->ctx, e->fd, e->text, 5, 0, o, cb, u);
}

static void check_sent(struct env *e, int32_t result) {
    char back[8];
    CHECK_EQ(result, 0);
    if (!is_readable(e->other, 0))
        CHECK(is_readable(e->other, 5000));
    CHECK_GE(read(e->other, back, sizeof back), 5);
    CHECK_MEM(back, "hello", 5);
}

ROW(send_all, .setup = with_pair, .check = check_sent, .block = with_full_pair, .unblock = drain);

FAILS(send_all, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_send_all(e, o, cb, u);
}

FAILS(send_all, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_send_all(e, o, cb, u);
}

FAILS(send_all, EPIPE, -EPIPE) {
    with_closed_peer(e);
    return submit_send_all(e, o, cb, u);
}

FAILS(send_all, ENOTCONN, -ENOTCONN) {
    e->fd = env_keep(e, SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
    return submit_send_all(e, o, cb, u);
}

FAILS(send_all, EINVAL_of_flags, -EINVAL) {
    with_pair(e);
    return aio_submit_send_all(e->ctx, e->fd, e->text, 5, MSG_DONTWAIT, o, cb, u);
}

FAILS(send_all, EINVAL_of_a_hard_link, -EINVAL) {
    (void)o;
    with_pair(e);
    return submit_send_all(e, WITH(.flags = AIO_SUBMIT_HARDLINK), cb, u);
}

/* --- sendfile -------------------------------------------------------------------------------- */

/* From a file of five bytes to a socket; more is asked for. `value` is where it comes from. */
static void with_file_and_pair(struct env *e) {
    with_pair(e);
    e->value = env_file(e, e->path, "file", O_RDWR);
}

/* From a pipe into which nothing was written yet to a socket. */
static void with_pipe_and_pair(struct env *e) {
    int fds[2];
    with_pair(e);
    make_pipe(fds);
    e->value = env_keep(e, fds[0]);
    e->pair[1] = env_keep(e, fds[1]);
}

static void feed_pipe(struct env *e) { write_all_or_fail(e->pair[1], "hello", 5); }

SUBMIT(submit_sendfile) { return aio_submit_sendfile(e->ctx, e->fd, e->value, 0, 64, o, cb, u); }

SUBMIT(submit_sendfile_of_a_pipe) {
    return aio_submit_sendfile(e->ctx, e->fd, e->value, CUR, 5, o, cb, u);
}

ROW(sendfile, .setup = with_file_and_pair, .check = check_sent, .block = with_pipe_and_pair,
    .submit_blocked = submit_sendfile_of_a_pipe, .unblock = feed_pipe);

FAILS(sendfile, EBADF_in, -EBADF) {
    with_pair(e);
    e->value = 9999;
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EBADF_out, -EBADF) {
    with_file_and_pair(e);
    e->fd = 9999;
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EBADF_of_a_file_open_for_writing, -EBADF) {
    with_pair(e);
    e->value = env_file(e, e->path, "file", O_WRONLY);
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EINVAL_of_a_folder, -EINVAL) {
    with_pair(e);
    e->value = env_keep(e, SYS(open(temp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EINVAL_of_the_offset, -EINVAL) {
    with_file_and_pair(e);
    return aio_submit_sendfile(e->ctx, e->fd, e->value, 1ull << 63, 5, o, cb, u);
}

FAILS(sendfile, ESPIPE, -ESPIPE) {
    with_pipe_and_pair(e);
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EPIPE, -EPIPE) {
    with_closed_peer(e);
    e->value = env_file(e, e->path, "file", O_RDWR);
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EMFILE, -EMFILE) {
    with_file_and_pair(e);
    env_no_descriptor_left(e);
    return submit_sendfile(e, o, cb, u);
}

FAILS(sendfile, EINVAL_before_others_in_a_chain, -EINVAL) {
    (void)o;
    with_file_and_pair(e);
    return submit_sendfile(e, WITH(.flags = AIO_SUBMIT_LINK), cb, u);
}
