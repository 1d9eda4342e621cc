/* Rows of the section zero_copy. */
#include "operations.h"

#include <netinet/tcp.h>

static void with_pair(struct env *e) {
    int fds[2];
    make_tcp_pair(fds);
    env_keep_both(e, fds);
}

/* A connection that its listener has no room for: sends wait until it has been made. */
static void with_unmade_connection(struct env *e) {
    const int listener = env_keep(e, make_tcp_listener(&e->addr, 0));
    env_keep(e, tcp_connect_to(&e->addr));
    CHECK(is_readable(listener, 5000)); /* its backlog is full */
    e->value = listener;
    e->fd = env_keep(e, SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
    CHECK_EQ(connect(e->fd, (const struct sockaddr *)&e->addr, sizeof e->addr), -1);
    CHECK_EQ(errno, EINPROGRESS);
    SYS(fcntl(e->fd, F_SETFL, 0));
}

/* It is tried again after a second. */
static void make_connection(struct env *e) {
    e->other = env_keep(e, SYS(accept4(e->value, NULL, NULL, SOCK_CLOEXEC)));
}

static void with_udp(struct env *e) {
    e->other = env_keep(e, make_udp_socket(&e->peer));
    e->fd = env_keep(e, make_udp_socket(&e->addr));
}

static void with_file(struct env *e) { e->fd = env_file(e, e->path, "file", O_RDWR); }

static void with_unix_pair(struct env *e) {
    int fds[2];
    make_socket_pair(fds);
    env_keep_both(e, fds);
}

static void with_shut_down(struct env *e) {
    with_pair(e);
    SYS(shutdown(e->fd, SHUT_WR));
}

static void check_arrived(struct env *e, int32_t result) {
    char back[8] = {0};
    CHECK_EQ(result, 5);
    if (is_readable(e->other, 0)) { /* one that had to wait has another end */
        CHECK_GT(recv(e->other, back, 5, 0), 0);
        CHECK(memcmp(back, "hello", 5) == 0 || back[0] == 0);
    }
}

static void register_text(struct env *e, size_t len) {
    e->areas[1] = (struct iovec){e->text, len};
    const aio_buffers_options options = {.size = sizeof options, .count = 2, .iov = e->areas};
    CHECK_EQ(aio_buffers_register(e->ctx, &options), 0);
}

/* --- send_zc --------------------------------------------------------------------------------- */

SUBMIT(submit_send_zc) {
    memcpy(e->text, "hello", 5);
    return aio_submit_send_zc(e->ctx, e->fd, e->text, 5, 0, 0, o, cb, u);
}

ROW(send_zc, .setup = with_pair, .check = check_arrived, .block = with_unmade_connection,
    .unblock = make_connection, .notifies = true);

FAILS(send_zc, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_send_zc(e, o, cb, u);
}

FAILS(send_zc, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_send_zc(e, o, cb, u);
}

FAILS(send_zc, EPIPE, -EPIPE) {
    with_shut_down(e);
    return submit_send_zc(e, o, cb, u);
}

FAILS(send_zc, EDESTADDRREQ, -EDESTADDRREQ) {
    with_udp(e);
    return submit_send_zc(e, o, cb, u);
}

FAILS(send_zc, EOPNOTSUPP_of_a_unix_socket, -EOPNOTSUPP) {
    with_unix_pair(e);
    return submit_send_zc(e, o, cb, u);
}

FAILS(send_zc, EFAULT, -EFAULT) {
    with_pair(e);
    return aio_submit_send_zc(e->ctx, e->fd, BAD_ADDRESS, 5, 0, 0, o, cb, u);
}

FAILS(send_zc, EAGAIN, -EAGAIN) {
    with_unmade_connection(e);
    return aio_submit_send_zc(e->ctx, e->fd, e->text, 5, MSG_DONTWAIT, 0, o, cb, u);
}

FAILS(send_zc, EINVAL_of_the_buffer, -EINVAL) {
    with_pair(e);
    return aio_submit_send_zc(e->ctx, e->fd, NULL, 5, 0, 0, o, cb, u);
}

FAILS(send_zc, EINVAL_of_the_flags, -EINVAL) {
    with_pair(e);
    return aio_submit_send_zc(e->ctx, e->fd, e->text, 5, 0, 4, o, cb, u);
}

FAILS(send_zc, EFAULT_outside_of_its_registered_buffer, -EFAULT) {
    with_pair(e);
    register_text(e, 4);
    (void)o;
    return submit_send_zc(e, WITH(.buf_index = 2), cb, u);
}

FAILS(send_zc, EFAULT_without_a_registered_buffer, -EFAULT) {
    with_pair(e);
    (void)o;
    return submit_send_zc(e, WITH(.buf_index = 1), cb, u);
}

/* --- sendmsg_zc ------------------------------------------------------------------------------ */

SUBMIT(submit_sendmsg_zc) {
    memcpy(e->text, "hello", 5);
    e->iov[0] = (struct iovec){e->text, 2};
    e->iov[1] = (struct iovec){e->text + 2, 3};
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 2};
    const aio_op_id id = aio_submit_sendmsg_zc(e->ctx, e->fd, &e->header, 0, 0, o, cb, u);
    memset(e->iov, 0xff, sizeof e->iov); /* copied */
    memset(&e->header, 0xff, sizeof e->header);
    return id;
}

ROW(sendmsg_zc, .setup = with_pair, .check = check_arrived, .block = with_unmade_connection,
    .unblock = make_connection, .notifies = true);

FAILS(sendmsg_zc, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_sendmsg_zc(e, o, cb, u);
}

FAILS(sendmsg_zc, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_sendmsg_zc(e, o, cb, u);
}

FAILS(sendmsg_zc, EPIPE, -EPIPE) {
    with_shut_down(e);
    return submit_sendmsg_zc(e, o, cb, u);
}

FAILS(sendmsg_zc, EDESTADDRREQ, -EDESTADDRREQ) {
    with_udp(e);
    return submit_sendmsg_zc(e, o, cb, u);
}

FAILS(sendmsg_zc, EOPNOTSUPP_of_a_unix_socket, -EOPNOTSUPP) {
    with_unix_pair(e);
    return submit_sendmsg_zc(e, o, cb, u);
}

FAILS(sendmsg_zc, EINVAL_of_the_message, -EINVAL) {
    with_pair(e);
    return aio_submit_sendmsg_zc(e->ctx, e->fd, NULL, 0, 0, o, cb, u);
}

FAILS(sendmsg_zc, EINVAL_of_the_vector_count, -EINVAL) {
    with_pair(e);
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 1025};
    return aio_submit_sendmsg_zc(e->ctx, e->fd, &e->header, 0, 0, o, cb, u);
}

FAILS(sendmsg_zc, EINVAL_of_the_flags, -EINVAL) {
    with_pair(e);
    return aio_submit_sendmsg_zc(e->ctx, e->fd, &e->header, 0, 1, o, cb, u);
}

FAILS(sendmsg_zc, EFAULT_outside_of_its_registered_buffer, -EFAULT) {
    needs_ring_of(e->ctx, 6, 15);
    with_pair(e);
    register_text(e, 4);
    (void)o;
    return submit_sendmsg_zc(e, WITH(.buf_index = 2), cb, u);
}
