/* Rows of the section net. */
#include "operations.h"

#include <netinet/tcp.h>
#include <sys/un.h>

#define ADDR(e_) ((const struct sockaddr *)&(e_)->addr)

static int keep_socket(struct env *e, int domain, int type) {
    return env_keep(e, SYS(socket(domain, type | SOCK_CLOEXEC, 0)));
}

static void loopback(struct env *e) {
    e->addr =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void with_unbound(struct env *e) {
    e->fd = keep_socket(e, AF_INET, SOCK_STREAM);
    loopback(e);
}

static void with_file(struct env *e) {
    env_path(e, e->path, "file");
    e->fd = env_keep(e, SYS(open(e->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
    loopback(e);
}

static void with_listener(struct env *e) { e->fd = env_keep(e, make_tcp_listener(&e->addr, 8)); }

static void connect_other(struct env *e) { e->other = env_keep(e, tcp_connect_to(&e->addr)); }

static void with_pending_connection(struct env *e) {
    with_listener(e);
    connect_other(e);
}

static void with_pair(struct env *e) {
    int fds[2];
    make_tcp_pair(fds);
    env_keep_both(e, fds);
}

static void with_full_pair(struct env *e) {
    int fds[2];
    make_socket_pair(fds); /* unix: no sending window that grows behind our back */
    env_keep_both(e, fds);
    fill_until_full(e->fd);
}

static void with_fed_pair(struct env *e) {
    with_pair(e);
    write_all_or_fail(e->other, "hello", 5);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

static void drain(struct env *e) { drain_until_empty(e->other); }

static void with_closed_peer(struct env *e) {
    int fds[2];
    make_socket_pair(fds);
    close(fds[1]);
    e->fd = env_keep(e, fds[0]);
}

static void with_udp(struct env *e) { e->fd = env_keep(e, make_udp_socket(&e->addr)); }

/* --- socket, bind, listen -------------------------------------------------------------------- */

SUBMIT(submit_socket) {
    return aio_submit_socket(e->ctx, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, o, cb, u);
}

static void check_socket(struct env *e, int32_t result) {
    int type = 0;
    socklen_t len = sizeof type;
    (void)e;
    CHECK_GE(result, 0);
    SYS(getsockopt(result, SOL_SOCKET, SO_TYPE, &type, &len));
    CHECK_EQ(type, SOCK_STREAM);
    CHECK(SYS(fcntl(result, F_GETFL)) & O_NONBLOCK);
    CHECK(is_cloexec(result));
}

ROW(socket, .check = check_socket, .makes_descriptor = true);

FAILS(socket, EAFNOSUPPORT, -EAFNOSUPPORT) {
    return aio_submit_socket(e->ctx, 9999, SOCK_STREAM, 0, o, cb, u);
}

FAILS(socket, EPROTONOSUPPORT, -EPROTONOSUPPORT) {
    return aio_submit_socket(e->ctx, AF_INET, SOCK_STREAM, IPPROTO_UDP, o, cb, u);
}

FAILS(socket, EINVAL, -EINVAL) { return aio_submit_socket(e->ctx, AF_INET, 0x70, 0, o, cb, u); }

FAILS(socket, EMFILE, -EMFILE) {
    env_no_descriptor_left(e);
    return submit_socket(e, o, cb, u);
}

SUBMIT(submit_bind) { return aio_submit_bind(e->ctx, e->fd, ADDR(e), sizeof e->addr, o, cb, u); }

static void check_bound(struct env *e, int32_t result) {
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    CHECK_EQ(result, 0);
    SYS(getsockname(e->fd, (struct sockaddr *)&addr, &len));
    CHECK_EQ(addr.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    CHECK_NE(addr.sin_port, 0);
}

ROW(bind, .setup = with_unbound, .check = check_bound);

FAILS(bind, EBADF, -EBADF) {
    loopback(e);
    e->fd = 9999;
    return submit_bind(e, o, cb, u);
}

FAILS(bind, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_bind(e, o, cb, u);
}

FAILS(bind, EADDRINUSE, -EADDRINUSE) {
    with_listener(e);
    e->fd = keep_socket(e, AF_INET, SOCK_STREAM);
    return submit_bind(e, o, cb, u);
}

FAILS(bind, EADDRNOTAVAIL, -EADDRNOTAVAIL) {
    with_unbound(e);
    e->addr.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1: for documentation only */
    return submit_bind(e, o, cb, u);
}

FAILS(bind, EINVAL_of_a_bound_socket, -EINVAL) {
    with_listener(e);
    return submit_bind(e, o, cb, u);
}

FAILS(bind, EAFNOSUPPORT, -EAFNOSUPPORT) {
    with_unbound(e);
    e->addr.sin_family = AF_UNIX;
    return submit_bind(e, o, cb, u);
}

static void with_bound(struct env *e) {
    with_unbound(e);
    SYS(bind(e->fd, ADDR(e), sizeof e->addr));
    socklen_t len = sizeof e->addr;
    SYS(getsockname(e->fd, (struct sockaddr *)&e->addr, &len));
}

SUBMIT(submit_listen) { return aio_submit_listen(e->ctx, e->fd, 4, o, cb, u); }

static void check_listening(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    close(tcp_connect_to(&e->addr));
}

ROW(listen, .setup = with_bound, .check = check_listening);

FAILS(listen, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_listen(e, o, cb, u);
}

FAILS(listen, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_listen(e, o, cb, u);
}

FAILS(listen, EOPNOTSUPP, -EOPNOTSUPP) {
    with_udp(e);
    return submit_listen(e, o, cb, u);
}

FAILS(listen, EINVAL_of_a_connected_socket, -EINVAL) {
    with_pair(e);
    return submit_listen(e, o, cb, u);
}

/* --- accept ---------------------------------------------------------------------------------- */

SUBMIT(submit_accept) {
    return aio_submit_accept(e->ctx, e->fd, (struct sockaddr *)&e->peer, &e->peer_len, 0, o, cb, u);
}

static void check_accepted(struct env *e, int32_t result) {
    struct sockaddr_in mine;
    socklen_t len = sizeof mine;
    CHECK_GE(result, 0);
    SYS(getsockname(e->other, (struct sockaddr *)&mine, &len));
    CHECK_EQ(e->peer_len, sizeof e->peer);
    CHECK_EQ(e->peer.sin_port, mine.sin_port);
    CHECK(is_cloexec(result));
}

ROW(accept, .setup = with_pending_connection, .check = check_accepted, .block = with_listener,
    .unblock = connect_other, .makes_descriptor = true);

FAILS(accept, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_accept(e, o, cb, u);
}

FAILS(accept, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_accept(e, o, cb, u);
}

FAILS(accept, EINVAL_of_a_socket_that_does_not_listen, -EINVAL) {
    with_bound(e);
    return submit_accept(e, o, cb, u);
}

FAILS(accept, EINVAL_of_unknown_flags, -EINVAL) {
    with_pending_connection(e);
    return aio_submit_accept(e->ctx, e->fd, NULL, NULL, 1 << 20, o, cb, u);
}

FAILS(accept, EOPNOTSUPP, -EOPNOTSUPP) {
    with_udp(e);
    return submit_accept(e, o, cb, u);
}

FAILS(accept, EMFILE, -EMFILE) {
    with_pending_connection(e);
    env_no_descriptor_left(e);
    return submit_accept(e, o, cb, u);
}

SUBMIT(submit_accept_multishot) {
    return aio_submit_accept_multishot(e->ctx, e->fd, SOCK_NONBLOCK, o, cb, u);
}

static void check_accepted_nonblocking(struct env *e, int32_t result) {
    (void)e;
    CHECK_GE(result, 0);
    CHECK(SYS(fcntl(result, F_GETFL)) & O_NONBLOCK);
    CHECK(is_cloexec(result));
}

ROW(accept_multishot, .shown = "accept", .setup = with_pending_connection,
    .check = check_accepted_nonblocking, .block = with_listener, .unblock = connect_other,
    .multishot = true, .makes_descriptor = true);

FAILS(accept_multishot, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_accept_multishot(e, o, cb, u);
}

FAILS(accept_multishot, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_accept_multishot(e, o, cb, u);
}

FAILS(accept_multishot, EINVAL_of_a_socket_that_does_not_listen, -EINVAL) {
    with_bound(e);
    return submit_accept_multishot(e, o, cb, u);
}

FAILS(accept_multishot, EMFILE, -EMFILE) {
    with_pending_connection(e);
    env_no_descriptor_left(e);
    return submit_accept_multishot(e, o, cb, u);
}

/* --- connect --------------------------------------------------------------------------------- */

static void with_listener_elsewhere(struct env *e) {
    e->other = env_keep(e, make_tcp_listener(&e->addr, 8));
    e->fd = keep_socket(e, AF_INET, SOCK_STREAM);
}

/* A listener whose backlog is full does not answer connection requests. */
static void with_full_backlog(struct env *e) {
    e->other = env_keep(e, make_tcp_listener(&e->addr, 0));
    for (int i = 0; i < 4; i++) {
        const int fd = keep_socket(e, AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
        connect(fd, ADDR(e), sizeof e->addr);
    }
    CHECK(is_readable(e->other, 5000)); /* now it is full */
    e->fd = keep_socket(e, AF_INET, SOCK_STREAM);
}

SUBMIT(submit_connect) {
    return aio_submit_connect(e->ctx, e->fd, ADDR(e), sizeof e->addr, o, cb, u);
}

static void check_connected(struct env *e, int32_t result) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    CHECK_EQ(result, 0);
    SYS(getpeername(e->fd, (struct sockaddr *)&peer, &len));
    CHECK_EQ(peer.sin_port, e->addr.sin_port);
}

ROW(connect, .setup = with_listener_elsewhere, .check = check_connected,
    .block = with_full_backlog);

FAILS(connect, EBADF, -EBADF) {
    loopback(e);
    e->fd = 9999;
    return submit_connect(e, o, cb, u);
}

FAILS(connect, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_connect(e, o, cb, u);
}

FAILS(connect, ECONNREFUSED, -ECONNREFUSED) {
    close(make_tcp_listener(&e->addr, 1));
    e->fd = keep_socket(e, AF_INET, SOCK_STREAM);
    return submit_connect(e, o, cb, u);
}

FAILS(connect, EISCONN, -EISCONN) {
    with_listener_elsewhere(e);
    SYS(connect(e->fd, ADDR(e), sizeof e->addr));
    return submit_connect(e, o, cb, u);
}

FAILS(connect, EAFNOSUPPORT, -EAFNOSUPPORT) {
    with_listener_elsewhere(e);
    e->addr.sin_family = AF_UNIX;
    return submit_connect(e, o, cb, u);
}

FAILS(connect, ENOENT, -ENOENT) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "/nowhere/at/all"};
    e->fd = keep_socket(e, AF_UNIX, SOCK_STREAM);
    return aio_submit_connect(e->ctx, e->fd, (struct sockaddr *)&addr, sizeof addr, o, cb, u);
}

/* --- send and sendmsg ------------------------------------------------------------------------ */

static void check_sent(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    (void)e;
}

static void check_arrived(struct env *e, int32_t result) {
    char back[8] = {0};
    check_sent(e, result);
    if (is_readable(e->other, 0)) { /* a pair that was full is not looked into */
        CHECK_GT(recv(e->other, back, 5, 0), 0);
        CHECK(memcmp(back, "hello", 5) == 0 || back[0] == 0);
    }
}

SUBMIT(submit_send) {
    memcpy(e->text, "hello", 5);
    return aio_submit_send(e->ctx, e->fd, e->text, 5, 0, o, cb, u);
}

ROW(send, .setup = with_pair, .check = check_arrived, .block = with_full_pair, .unblock = drain);

FAILS(send, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_send(e, o, cb, u);
}

FAILS(send, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_send(e, o, cb, u);
}

FAILS(send, EPIPE, -EPIPE) {
    with_closed_peer(e); /* SIGPIPE has its default action: a signal would end the test */
    return submit_send(e, o, cb, u);
}

FAILS(send, EPIPE_of_a_socket_without_a_peer, -EPIPE) {
    with_unbound(e);
    return submit_send(e, o, cb, u);
}

FAILS(send, EDESTADDRREQ, -EDESTADDRREQ) {
    with_udp(e);
    return submit_send(e, o, cb, u);
}

FAILS(send, EMSGSIZE, -EMSGSIZE) {
    static char large[70000];
    with_udp(e);
    SYS(connect(e->fd, ADDR(e), sizeof e->addr));
    return aio_submit_send(e->ctx, e->fd, large, sizeof large, 0, o, cb, u);
}

FAILS(send, EFAULT, -EFAULT) {
    with_pair(e);
    return aio_submit_send(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(send, EAGAIN, -EAGAIN) {
    with_full_pair(e);
    return aio_submit_send(e->ctx, e->fd, e->text, 5, MSG_DONTWAIT, o, cb, u);
}

SUBMIT(submit_sendmsg) {
    memcpy(e->text, "hello", 5);
    e->iov[0] = (struct iovec){e->text, 2};
    e->iov[1] = (struct iovec){e->text + 2, 3};
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 2};
    return aio_submit_sendmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

ROW(sendmsg, .setup = with_pair, .check = check_arrived, .block = with_full_pair, .unblock = drain);

FAILS(sendmsg, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_sendmsg(e, o, cb, u);
}

FAILS(sendmsg, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_sendmsg(e, o, cb, u);
}

FAILS(sendmsg, EPIPE, -EPIPE) {
    with_closed_peer(e);
    return submit_sendmsg(e, o, cb, u);
}

FAILS(sendmsg, EDESTADDRREQ, -EDESTADDRREQ) {
    with_udp(e);
    return submit_sendmsg(e, o, cb, u);
}

FAILS(sendmsg, EBADF_of_a_descriptor_in_the_control_data, -EBADF) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    const int bad = 9999;
    int fds[2];
    make_socket_pair(fds);
    env_keep_both(e, fds);
    memset(&control, 0, sizeof control);
    e->iov[0] = (struct iovec){e->text, 1};
    e->header = (struct msghdr){.msg_iov = e->iov,
                                .msg_iovlen = 1,
                                .msg_control = control.bytes,
                                .msg_controllen = sizeof control.bytes};
    struct cmsghdr *header = CMSG_FIRSTHDR(&e->header);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof bad);
    memcpy(CMSG_DATA(header), &bad, sizeof bad);
    return aio_submit_sendmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

FAILS(sendmsg, EINVAL_of_the_vector_count, -EINVAL) {
    with_pair(e);
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 5000};
    return aio_submit_sendmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

FAILS(sendmsg, EFAULT, -EFAULT) {
    with_pair(e);
    e->iov[0] = (struct iovec){BAD_ADDRESS, 5};
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 1};
    return aio_submit_sendmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

/* --- recv and recvmsg ------------------------------------------------------------------------ */

static void check_hello(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_MEM(e->data, "hello", 5);
}

SUBMIT(submit_recv) { return aio_submit_recv(e->ctx, e->fd, e->data, sizeof e->data, 0, o, cb, u); }

ROW(recv, .setup = with_fed_pair, .check = check_hello, .block = with_pair, .unblock = feed);

FAILS(recv, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_recv(e, o, cb, u);
}

FAILS(recv, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recv(e, o, cb, u);
}

FAILS(recv, ENOTCONN, -ENOTCONN) {
    with_unbound(e);
    return submit_recv(e, o, cb, u);
}

FAILS(recv, EFAULT, -EFAULT) {
    with_fed_pair(e);
    return aio_submit_recv(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(recv, EAGAIN, -EAGAIN) {
    with_pair(e);
    return aio_submit_recv(e->ctx, e->fd, e->data, 5, MSG_DONTWAIT, o, cb, u);
}

FAILS(recv, ECONNRESET, -ECONNRESET) {
    with_pair(e);
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    SYS(setsockopt(e->other, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    SYS(close(e->other));
    return submit_recv(e, o, cb, u);
}

FAILS(recv, ECONNREFUSED, -ECONNREFUSED) {
    close(make_udp_socket(&e->addr)); /* nobody is there any more */
    struct sockaddr_in mine;
    e->fd = env_keep(e, make_udp_socket(&mine));
    SYS(connect(e->fd, ADDR(e), sizeof e->addr));
    CHECK_EQ(send(e->fd, "x", 1, 0), 1);
    return submit_recv(e, o, cb, u);
}

SUBMIT(submit_recvmsg) {
    e->iov[0] = (struct iovec){e->data, 2};
    e->iov[1] = (struct iovec){e->data + 2, 40};
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 2};
    return aio_submit_recvmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

ROW(recvmsg, .setup = with_fed_pair, .check = check_hello, .block = with_pair, .unblock = feed);

FAILS(recvmsg, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_recvmsg(e, o, cb, u);
}

FAILS(recvmsg, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_recvmsg(e, o, cb, u);
}

FAILS(recvmsg, ENOTCONN, -ENOTCONN) {
    with_unbound(e);
    return submit_recvmsg(e, o, cb, u);
}

FAILS(recvmsg, EINVAL_of_the_vector_count, -EINVAL) {
    with_pair(e);
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 1025};
    return aio_submit_recvmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

FAILS(recvmsg, EFAULT, -EFAULT) {
    with_fed_pair(e);
    e->iov[0] = (struct iovec){BAD_ADDRESS, 5};
    e->header = (struct msghdr){.msg_iov = e->iov, .msg_iovlen = 1};
    return aio_submit_recvmsg(e->ctx, e->fd, &e->header, 0, o, cb, u);
}

/* --- shutdown -------------------------------------------------------------------------------- */

SUBMIT(submit_shutdown) { return aio_submit_shutdown(e->ctx, e->fd, SHUT_WR, o, cb, u); }

static void check_shut(struct env *e, int32_t result) {
    check_is_zero(e, result);
    CHECK(peer_sees_fin(e->other, 5000));
}

ROW(shutdown, .setup = with_pair, .check = check_shut);

FAILS(shutdown, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_shutdown(e, o, cb, u);
}

FAILS(shutdown, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_shutdown(e, o, cb, u);
}

FAILS(shutdown, ENOTCONN, -ENOTCONN) {
    with_unbound(e);
    return submit_shutdown(e, o, cb, u);
}

FAILS(shutdown, EINVAL, -EINVAL) {
    with_pair(e);
    return aio_submit_shutdown(e->ctx, e->fd, 9, o, cb, u);
}

/* --- options and queues ---------------------------------------------------------------------- */

/* With AIO_SUBMIT_ASYNC, which rows use, it is the ring's form; test_options has the plain one. */
static void with_fed_tcp(struct env *e) {
    needs_ring_of(e->ctx, 6, 7);
    with_fed_pair(e);
    CHECK(is_readable(e->fd, 5000));
}

SUBMIT(submit_setsockopt) {
    e->value = 1;
    return aio_submit_setsockopt(e->ctx, e->fd, SOL_SOCKET, SO_KEEPALIVE, &e->value,
                                 sizeof e->value, o, cb, u);
}

static void check_set(struct env *e, int32_t result) {
    socklen_t len = sizeof e->value;
    CHECK_EQ(result, 0);
    e->value = 0;
    SYS(getsockopt(e->fd, SOL_SOCKET, SO_KEEPALIVE, &e->value, &len));
    CHECK_EQ(e->value, 1);
}

ROW(setsockopt, .shown = "uring_cmd", .setup = with_fed_tcp, .check = check_set);

FAILS(setsockopt, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_setsockopt(e, o, cb, u);
}

FAILS(setsockopt, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_setsockopt(e, o, cb, u);
}

FAILS(setsockopt, ENOPROTOOPT, -ENOPROTOOPT) {
    with_pair(e);
    return aio_submit_setsockopt(e->ctx, e->fd, SOL_SOCKET, 9999, &e->value, 4, o, cb, u);
}

FAILS(setsockopt, EINVAL_of_the_length, -EINVAL) {
    with_pair(e);
    return aio_submit_setsockopt(e->ctx, e->fd, SOL_SOCKET, SO_KEEPALIVE, &e->value, 1, o, cb, u);
}

FAILS(setsockopt, EINVAL_without_a_value, -EINVAL) {
    with_pair(e);
    return aio_submit_setsockopt(e->ctx, e->fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4, o, cb, u);
}

FAILS(setsockopt, EINVAL_of_a_long_value, -EINVAL) {
    with_pair(e);
    return aio_submit_setsockopt(e->ctx, e->fd, SOL_SOCKET, SO_KEEPALIVE, &e->value, 65537, o, cb,
                                 u);
}

SUBMIT(submit_getsockopt) {
    return aio_submit_getsockopt(e->ctx, e->fd, SOL_SOCKET, SO_TYPE, &e->value, sizeof e->value, o,
                                 cb, u);
}

static void check_type(struct env *e, int32_t result) {
    CHECK_EQ(result, sizeof e->value);
    CHECK_EQ(e->value, SOCK_STREAM);
}

ROW(getsockopt, .shown = "uring_cmd", .setup = with_fed_tcp, .check = check_type);

FAILS(getsockopt, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_getsockopt(e, o, cb, u);
}

FAILS(getsockopt, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_getsockopt(e, o, cb, u);
}

FAILS(getsockopt, ENOPROTOOPT, -ENOPROTOOPT) {
    with_pair(e);
    return aio_submit_getsockopt(e->ctx, e->fd, SOL_SOCKET, 9999, &e->value, 4, o, cb, u);
}

FAILS(getsockopt, EFAULT, -EFAULT) {
    with_pair(e);
    return aio_submit_getsockopt(e->ctx, e->fd, SOL_SOCKET, SO_TYPE, BAD_ADDRESS, 4, o, cb, u);
}

FAILS(getsockopt, EINVAL_without_a_value, -EINVAL) {
    with_pair(e);
    return aio_submit_getsockopt(e->ctx, e->fd, SOL_SOCKET, SO_TYPE, NULL, 4, o, cb, u);
}

static void check_five(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 5);
}

SUBMIT(submit_socket_inq) { return aio_submit_socket_inq(e->ctx, e->fd, o, cb, u); }

ROW(socket_inq, .shown = "uring_cmd", .setup = with_fed_tcp, .check = check_five);

FAILS(socket_inq, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_socket_inq(e, o, cb, u);
}

FAILS(socket_inq, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_socket_inq(e, o, cb, u);
}

FAILS(socket_inq, EINVAL_of_a_listener, -EINVAL) {
    with_listener(e);
    return submit_socket_inq(e, o, cb, u);
}

/* Nothing of what the loopback carries is left to be taken. */
static void with_tcp(struct env *e) {
    needs_ring_of(e->ctx, 6, 7);
    with_pair(e);
}

SUBMIT(submit_socket_outq) { return aio_submit_socket_outq(e->ctx, e->fd, o, cb, u); }

ROW(socket_outq, .shown = "uring_cmd", .setup = with_tcp, .check = check_is_zero);

FAILS(socket_outq, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_socket_outq(e, o, cb, u);
}

FAILS(socket_outq, ENOTSOCK, -ENOTSOCK) {
    with_file(e);
    return submit_socket_outq(e, o, cb, u);
}

FAILS(socket_outq, EINVAL_of_a_listener, -EINVAL) {
    with_listener(e);
    return submit_socket_outq(e, o, cb, u);
}
