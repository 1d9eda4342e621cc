/* Section net: sockets of the families that a machine always has (TCP over 127.0.0.1 and ::1, UDP,
 * unix), with descriptors made by the engine and by plain system calls. */
#include "harness.h"

#include <poll.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct sockaddr_in loopback(void) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

TEST(a_tcp_conversation_with_nothing_but_the_engine) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr = loopback();
    struct call c[12];
    memset(c, 0, sizeof c);
    const int listener =
        DO(ctx, c[0], aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, NULL, on_call, &c[0]));
    CHECK_GE(listener, 0);
    CHECK_EQ(DO(ctx, c[1],
                aio_submit_bind(ctx, listener, (struct sockaddr *)&addr, sizeof addr, NULL, on_call,
                                &c[1])),
             0);
    CHECK_EQ(DO(ctx, c[2], aio_submit_listen(ctx, listener, 8, NULL, on_call, &c[2])), 0);
    socklen_t len = sizeof addr;
    SYS(getsockname(listener, (struct sockaddr *)&addr, &len));
    const int client =
        DO(ctx, c[3], aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, NULL, on_call, &c[3]));
    struct sockaddr_in peer;
    memset(&peer, 0, sizeof peer);
    socklen_t peer_len = sizeof peer;
    ID(aio_submit_accept(ctx, listener, (struct sockaddr *)&peer, &peer_len, 0, NULL, on_call,
                         &c[4]));
    CHECK_EQ(DO(ctx, c[5],
                aio_submit_connect(ctx, client, (struct sockaddr *)&addr, sizeof addr, NULL,
                                   on_call, &c[5])),
             0);
    const int server = await_call(ctx, &c[4]);
    CHECK_GE(server, 0);
    struct sockaddr_in mine;
    len = sizeof mine;
    SYS(getsockname(client, (struct sockaddr *)&mine, &len));
    CHECK_EQ(peer_len, sizeof peer);
    CHECK_EQ(peer.sin_port, mine.sin_port);
    CHECK_EQ(peer.sin_addr.s_addr, mine.sin_addr.s_addr);
    char data[16] = {0};
    ID(aio_submit_recv(ctx, server, data, sizeof data, 0, NULL, on_call, &c[6]));
    check_blocked(ctx, &c[6]);
    CHECK_EQ(DO(ctx, c[7], aio_submit_send(ctx, client, "question", 8, 0, NULL, on_call, &c[7])),
             8);
    CHECK_EQ(await_call(ctx, &c[6]), 8);
    CHECK_MEM(data, "question", 8);
    CHECK_EQ(DO(ctx, c[8], aio_submit_shutdown(ctx, client, SHUT_WR, NULL, on_call, &c[8])), 0);
    CHECK_EQ(
        DO(ctx, c[9], aio_submit_recv(ctx, server, data, sizeof data, 0, NULL, on_call, &c[9])), 0);
    CHECK_EQ(DO(ctx, c[10], aio_submit_close(ctx, server, NULL, on_call, &c[10])), 0);
    CHECK_EQ(DO(ctx, c[11], aio_submit_close(ctx, client, NULL, on_call, &c[11])), 0);
    close(listener);
    end_ctx(ctx);
}

TEST(tcp_over_ipv6) {
    aio_ctx *ctx = make_ctx();
    const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 addr = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0)
        SKIP("no ::1 here");
    SYS(listen(listener, 8));
    socklen_t len = sizeof addr;
    SYS(getsockname(listener, (struct sockaddr *)&addr, &len));
    struct call socket_call = {0}, accept_call = {0}, connect_call = {0};
    const int client =
        DO(ctx, socket_call,
           aio_submit_socket(ctx, AF_INET6, SOCK_STREAM, 0, NULL, on_call, &socket_call));
    struct sockaddr_storage peer;
    memset(&peer, 0, sizeof peer);
    socklen_t peer_len = sizeof peer;
    ID(aio_submit_accept(ctx, listener, (struct sockaddr *)&peer, &peer_len, 0, NULL, on_call,
                         &accept_call));
    CHECK_EQ(DO(ctx, connect_call,
                aio_submit_connect(ctx, client, (struct sockaddr *)&addr, sizeof addr, NULL,
                                   on_call, &connect_call)),
             0);
    const int server = await_call(ctx, &accept_call);
    CHECK_GE(server, 0);
    CHECK_EQ(peer_len, sizeof addr);
    CHECK_EQ(peer.ss_family, AF_INET6);
    close(server);
    close(client);
    close(listener);
    end_ctx(ctx);
}

TEST(unix_sockets_with_an_abstract_name) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const int name_len = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, "aio-test-%d-%llu",
                                  getpid(), (unsigned long long)now_ns());
    const socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + name_len);
    const int listener = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int client = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct call bound = {0}, listening = {0}, connected = {0}, accepted = {0};
    struct sockaddr_un copy = addr;
    ID(aio_submit_bind(ctx, listener, (struct sockaddr *)&copy, len, NULL, on_call, &bound));
    memset(&copy, 0xff, sizeof copy); /* the address was copied */
    CHECK_EQ(await_call(ctx, &bound), 0);
    CHECK_EQ(DO(ctx, listening, aio_submit_listen(ctx, listener, 1, NULL, on_call, &listening)), 0);
    copy = addr;
    ID(aio_submit_connect(ctx, client, (struct sockaddr *)&copy, len, NULL, on_call, &connected));
    memset(&copy, 0xff, sizeof copy);
    CHECK_EQ(await_call(ctx, &connected), 0);
    const int server = DO(
        ctx, accepted, aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &accepted));
    CHECK_GE(server, 0);
    close(server);
    close(client);
    close(listener);
    end_ctx(ctx);
}

TEST(created_and_accepted_sockets_are_close_on_exec_unless_inherited) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call c[4];
    memset(c, 0, sizeof c);
    const aio_submit_options *inherit = WITH(.flags = AIO_SUBMIT_INHERIT);
    const int clients[2] = {tcp_connect_to(&addr), tcp_connect_to(&addr)};
    int fds[4];
    fds[0] = DO(ctx, c[0], aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, NULL, on_call, &c[0]));
    fds[1] =
        DO(ctx, c[1], aio_submit_socket(ctx, AF_INET, SOCK_STREAM, 0, inherit, on_call, &c[1]));
    fds[2] = DO(ctx, c[2], aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &c[2]));
    fds[3] =
        DO(ctx, c[3], aio_submit_accept(ctx, listener, NULL, NULL, 0, inherit, on_call, &c[3]));
    for (int i = 0; i < 4; i++) {
        CHECK_GE(fds[i], 0);
        CHECK_EQ(is_cloexec(fds[i]), i % 2 == 0);
        close(fds[i]);
    }
    close(clients[0]);
    close(clients[1]);
    close(listener);
    end_ctx(ctx);
}

TEST(accept_flags_are_passed_on) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8), client = tcp_connect_to(&addr);
    struct call call = {0};
    const int fd =
        DO(ctx, call,
           aio_submit_accept(ctx, listener, NULL, NULL, SOCK_NONBLOCK, NULL, on_call, &call));
    CHECK_GE(fd, 0);
    CHECK(SYS(fcntl(fd, F_GETFL)) & O_NONBLOCK);
    close(fd);
    close(client);
    close(listener);
    end_ctx(ctx);
}

struct arrivals {
    int count;
    int fds[64];
};

static void note_arrival(struct call *call) {
    struct arrivals *arrivals = call->arg;
    if (call->result >= 0)
        arrivals->fds[arrivals->count++] = call->result;
}

TEST(accept_multishot_gives_every_connection_with_more) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct arrivals arrivals = {0};
    struct call call = {.then = note_arrival, .arg = &arrivals};
    const aio_op_id id = ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &call));
    int clients[40];
    for (int i = 0; i < 40; i++)
        clients[i] = tcp_connect_to(&addr);
    RUN_UNTIL(ctx, arrivals.count == 40);
    CHECK_EQ(call.finals, 0);
    CHECK_EQ(call.flags & AIO_CQE_MORE, AIO_CQE_MORE);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    for (int i = 0; i < 40; i++)
        CHECK(is_cloexec(arrivals.fds[i]));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.calls, 41);
    for (int i = 0; i < 40; i++) {
        close(arrivals.fds[i]);
        close(clients[i]);
    }
    close(listener);
    end_ctx(ctx);
}

/* The kernel ends a multishot whose completion does not fit; to the caller it is one operation. */
TEST(accept_multishot_goes_on_after_a_full_completion_queue) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct arrivals arrivals = {0};
    struct call call = {.then = note_arrival, .arg = &arrivals};
    int clients[60], nops = 0;
    const aio_op_id id = ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    for (int i = 0; i < 60; i++)
        clients[i] = tcp_connect_to(&addr);
    for (int i = 0; i < 40; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &nops));
    RUN_UNTIL(ctx, arrivals.count == 60 && nops == 40);
    CHECK_EQ(call.finals, 0);
    CHECK_EQ(call.calls, 60);
    const int late = tcp_connect_to(&addr);
    RUN_UNTIL(ctx, arrivals.count == 61); /* it is still armed */
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    for (int i = 0; i < 61; i++)
        close(arrivals.fds[i]);
    for (int i = 0; i < 60; i++)
        close(clients[i]);
    close(late);
    close(listener);
    end_ctx(ctx);
}

static void note_arrival_and_cancel(struct call *call) {
    note_arrival(call);
    if (call->calls == 1)
        CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), 0);
}

/* The one behind which the kernel has ended it because the completion queue was full, too. */
TEST(accept_multishot_that_is_cancelled_gives_every_connection_with_more) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct arrivals arrivals = {0};
    struct call call = {.then = note_arrival_and_cancel, .arg = &arrivals};
    int clients[60];
    ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &call));
    for (int i = 0; i < 60; i++)
        clients[i] = tcp_connect_to(&addr);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_GE(arrivals.count, 1);
    CHECK_EQ(call.calls, arrivals.count + 1);
    for (int i = 0; i < arrivals.count; i++)
        close(arrivals.fds[i]);
    for (int i = 0; i < 60; i++)
        close(clients[i]);
    close(listener);
    end_ctx(ctx);
}

TEST(accept_multishot_inherits_when_asked) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 64);
    struct arrivals arrivals = {0};
    struct call call = {.then = note_arrival, .arg = &arrivals};
    ID(aio_submit_accept_multishot(ctx, listener, SOCK_NONBLOCK, WITH(.flags = AIO_SUBMIT_INHERIT),
                                   on_call, &call));
    const int client = tcp_connect_to(&addr);
    RUN_UNTIL(ctx, arrivals.count == 1);
    CHECK(!is_cloexec(arrivals.fds[0]));
    CHECK(SYS(fcntl(arrivals.fds[0], F_GETFL)) & O_NONBLOCK);
    close(arrivals.fds[0]);
    close(client);
    end_ctx(ctx);
    close(listener);
}

TEST(connecting_to_a_closed_port_is_refused) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    close(make_tcp_listener(&addr, 1));
    const int fd = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct call call = {0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_connect(ctx, fd, (struct sockaddr *)&addr, sizeof addr, NULL, on_call,
                                   &call)),
             -ECONNREFUSED);
    close(fd);
    end_ctx(ctx);
}

TEST(a_send_larger_than_the_socket_buffer_waits_for_the_reader) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    const size_t len = 8 << 20;
    unsigned char *out = malloc(len), *in = calloc(1, len);
    CHECK(out && in);
    pattern_fill(out, len, 11);
    size_t sent = 0, received = 0;
    struct call send = {0}, recv = {0};
    bool sending = false, receiving = false;
    const uint64_t end = patience_end_ns();
    while (received < len) {
        if (!sending && sent < len) {
            send = (struct call){0};
            ID(aio_submit_send(ctx, pair[0], out + sent, len - sent, 0, NULL, on_call, &send));
            sending = true;
        }
        if (!receiving) {
            recv = (struct call){0};
            ID(aio_submit_recv(ctx, pair[1], in + received, len - received, 0, NULL, on_call,
                               &recv));
            receiving = true;
        }
        run_turn(ctx, end, "a send or receive", __FILE__, __LINE__);
        if (sending && send.finals) {
            CHECK_GT(send.result, 0);
            sent += (size_t)send.result;
            sending = false;
        }
        if (receiving && recv.finals) {
            CHECK_GT(recv.result, 0);
            received += (size_t)recv.result;
            receiving = false;
        }
    }
    CHECK(pattern_holds(in, len, 11));
    end_ctx(ctx);
    free(out);
    free(in);
}

TEST(recv_flags_are_passed_on) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call peek = {0}, all = {0}, now = {0};
    char data[8] = {0};
    write_all_or_fail(pair[1], "abcd", 4);
    CHECK_EQ(DO(ctx, peek, aio_submit_recv(ctx, pair[0], data, 2, MSG_PEEK, NULL, on_call, &peek)),
             2);
    CHECK_MEM(data, "ab", 2);
    ID(aio_submit_recv(ctx, pair[0], data, 8, MSG_WAITALL, NULL, on_call, &all));
    check_blocked(ctx, &all);
    write_all_or_fail(pair[1], "efgh", 4);
    CHECK_EQ(await_call(ctx, &all), 8);
    CHECK_MEM(data, "abcdefgh", 8);
    CHECK_EQ(
        DO(ctx, now, aio_submit_recv(ctx, pair[0], data, 8, MSG_DONTWAIT, NULL, on_call, &now)),
        -EAGAIN);
    end_ctx(ctx);
}

TEST(a_nonblocking_socket_still_waits_for_data) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    SYS(fcntl(pair[0], F_SETFL, O_NONBLOCK));
    struct call call = {0};
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    run_for_ms(ctx, 20);
    /* The kernel gives -EAGAIN on an O_NONBLOCK descriptor; what the engine makes of it must be
     * one of the two, never a hang or a wrong value. */
    if (call.finals) {
        CHECK_EQ(call.result, -EAGAIN);
    } else {
        write_all_or_fail(pair[1], "x", 1);
        CHECK_EQ(await_call(ctx, &call), 1);
    }
    end_ctx(ctx);
}

/* --- messages -------------------------------------------------------------------------------- */

TEST(sendmsg_gathers_and_recvmsg_scatters) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char one[] = "one", two[] = "twotwo", a[4] = {0}, b[16] = {0};
    struct iovec out[2] = {{one, 3}, {two, 6}}, in[2] = {{a, 4}, {b, 16}};
    struct msghdr send_header = {.msg_iov = out, .msg_iovlen = 2};
    struct msghdr recv_header = {.msg_iov = in, .msg_iovlen = 2};
    struct call send = {0}, recv = {0};
    ID(aio_submit_recvmsg(ctx, pair[1], &recv_header, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_sendmsg(ctx, pair[0], &send_header, 0, NULL, on_call, &send));
    memset(out, 0xff, sizeof out);
    memset(&send_header, 0xff, sizeof send_header); /* header and array were copied */
    CHECK_EQ(await_call(ctx, &send), 9);
    CHECK_EQ(await_call(ctx, &recv), 9);
    CHECK_MEM(a, "onet", 4);
    CHECK_MEM(b, "wotwo", 5);
    end_ctx(ctx);
}

TEST(datagrams_carry_the_address_of_their_sender) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in to, from, name;
    const int receiver = make_udp_socket(&to), sender = make_udp_socket(&from);
    char data[8] = {0}, text[] = "datagram longer";
    memset(&name, 0, sizeof name);
    struct iovec in = {data, sizeof data}, out = {text, 15};
    struct msghdr recv_header = {
        .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &in, .msg_iovlen = 1};
    struct sockaddr_in target = to;
    struct msghdr send_header = {
        .msg_name = &target, .msg_namelen = sizeof target, .msg_iov = &out, .msg_iovlen = 1};
    struct call recv = {0}, send = {0};
    ID(aio_submit_recvmsg(ctx, receiver, &recv_header, 0, NULL, on_call, &recv));
    ID(aio_submit_sendmsg(ctx, sender, &send_header, 0, NULL, on_call, &send));
    memset(&target, 0xff, sizeof target); /* the address was copied */
    CHECK_EQ(await_call(ctx, &send), 15);
    CHECK_EQ(await_call(ctx, &recv), 8);
    CHECK_MEM(data, "datagram", 8);
    CHECK_EQ(recv_header.msg_flags, MSG_TRUNC);
    CHECK_EQ(recv_header.msg_namelen, sizeof name);
    CHECK_EQ(name.sin_port, from.sin_port);
    CHECK_EQ(name.sin_addr.s_addr, from.sin_addr.s_addr);
    close(receiver);
    close(sender);
    end_ctx(ctx);
}

union one_descriptor {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void put_descriptor(struct msghdr *message, union one_descriptor *control, int fd) {
    memset(control, 0, sizeof *control);
    message->msg_control = control->bytes;
    message->msg_controllen = sizeof control->bytes;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
}

static int take_descriptor(struct msghdr *message) {
    int fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    CHECK(header != NULL);
    CHECK_EQ(header->cmsg_type, SCM_RIGHTS);
    CHECK_EQ(header->cmsg_len, CMSG_LEN(sizeof fd));
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

TEST(descriptors_travel_and_arrive_close_on_exec_unless_inherited) {
    for (int inherit = 0; inherit < 2; inherit++) {
        aio_ctx *ctx = make_ctx();
        int pair[2], pipe_fds[2];
        make_socket_pair(pair);
        make_pipe(pipe_fds);
        char byte = 'd', got = 0;
        union one_descriptor out_control, in_control;
        memset(&in_control, 0, sizeof in_control);
        struct iovec out = {&byte, 1}, in = {&got, 1};
        struct msghdr send_header = {.msg_iov = &out, .msg_iovlen = 1};
        struct msghdr recv_header = {.msg_iov = &in,
                                     .msg_iovlen = 1,
                                     .msg_control = in_control.bytes,
                                     .msg_controllen = sizeof in_control.bytes};
        put_descriptor(&send_header, &out_control, pipe_fds[1]);
        struct call send = {0}, recv = {0};
        ID(aio_submit_recvmsg(ctx, pair[1], &recv_header, 0,
                              inherit ? WITH(.flags = AIO_SUBMIT_INHERIT) : NULL, on_call, &recv));
        check_blocked(ctx, &recv);
        ID(aio_submit_sendmsg(ctx, pair[0], &send_header, 0, NULL, on_call, &send));
        CHECK_EQ(await_call(ctx, &send), 1);
        CHECK_EQ(await_call(ctx, &recv), 1);
        const int fd = take_descriptor(&recv_header);
        CHECK_EQ(is_cloexec(fd), !inherit);
        write_all_or_fail(fd, "through", 7);
        char text[8] = {0};
        CHECK_EQ(read(pipe_fds[0], text, sizeof text), 7);
        CHECK_STR(text, "through");
        close(fd);
        end_ctx(ctx);
    }
}

TEST(control_data_of_a_send_that_waits_was_copied) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    fill_until_full(pair[0]);
    char byte = 'c';
    union one_descriptor control;
    struct iovec out = {&byte, 1};
    struct msghdr header = {.msg_iov = &out, .msg_iovlen = 1};
    put_descriptor(&header, &control, pipe_fds[1]);
    struct call send = {0};
    ID(aio_submit_sendmsg(ctx, pair[0], &header, 0, NULL, on_call, &send));
    memset(&control, 0xff, sizeof control);
    memset(&header, 0xff, sizeof header);
    memset(&out, 0xff, sizeof out);
    check_blocked(ctx, &send);
    char drained[4096];
    union one_descriptor in_control;
    int fd = -1;
    const uint64_t end = patience_end_ns();
    while (fd < 0) { /* read away what filled the socket, up to the message with the descriptor */
        struct iovec in = {drained, sizeof drained};
        struct msghdr recv_header = {.msg_iov = &in,
                                     .msg_iovlen = 1,
                                     .msg_control = in_control.bytes,
                                     .msg_controllen = sizeof in_control.bytes};
        CHECK_LT(now_ns(), end);
        const ssize_t count = recvmsg(pair[1], &recv_header, MSG_DONTWAIT);
        if (count > 0 && recv_header.msg_controllen)
            fd = take_descriptor(&recv_header);
        if (count < 0)
            run_for_ms(ctx, 1);
    }
    CHECK_EQ(await_call(ctx, &send), 1);
    struct stat a, b;
    SYS(fstat(fd, &a));
    SYS(fstat(pipe_fds[1], &b));
    CHECK_EQ(a.st_ino, b.st_ino);
    close(fd);
    end_ctx(ctx);
}

/* --- ends and signals ------------------------------------------------------------------------ */

static volatile sig_atomic_t pipe_signals;

static void on_sigpipe(int number) {
    (void)number;
    pipe_signals++;
}

static void broken_pair(int pair[2]) {
    const struct sigaction action = {.sa_handler = on_sigpipe};
    SYS(sigaction(SIGPIPE, &action, NULL));
    make_socket_pair(pair);
    close(pair[1]);
}

TEST(sending_to_a_closed_peer_is_epipe_without_a_signal) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    broken_pair(pair);
    char text[] = "x";
    struct iovec out = {text, 1};
    const struct msghdr header = {.msg_iov = &out, .msg_iovlen = 1};
    struct call send = {0}, message = {0};
    CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, pair[0], text, 1, 0, NULL, on_call, &send)),
             -EPIPE);
    CHECK_EQ(
        DO(ctx, message, aio_submit_sendmsg(ctx, pair[0], &header, 0, NULL, on_call, &message)),
        -EPIPE);
    CHECK_EQ(pipe_signals, 0);
    end_ctx(ctx);
}

TEST(sending_to_a_closed_peer_raises_the_signal_when_asked) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    broken_pair(pair);
    char text[] = "x";
    struct iovec out = {text, 1};
    const struct msghdr header = {.msg_iov = &out, .msg_iovlen = 1};
    struct call send = {0}, message = {0};
    CHECK_EQ(DO(ctx, send,
                aio_submit_send(ctx, pair[0], text, 1, 0, WITH(.flags = AIO_SUBMIT_SIGPIPE),
                                on_call, &send)),
             -EPIPE);
    CHECK_EQ(pipe_signals, 1);
    CHECK_EQ(DO(ctx, message,
                aio_submit_sendmsg(ctx, pair[0], &header, 0, WITH(.flags = AIO_SUBMIT_SIGPIPE),
                                   on_call, &message)),
             -EPIPE);
    CHECK_EQ(pipe_signals, 2);
    end_ctx(ctx);
}

TEST(writing_to_a_closed_socket_is_epipe) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    broken_pair(pair);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call,
                aio_submit_write(ctx, pair[0], "x", 1, AIO_OFFSET_CURRENT, NULL, on_call, &call)),
             -EPIPE);
    end_ctx(ctx);
}

TEST(the_end_of_the_stream_is_zero) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call call = {0};
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    close(pair[1]);
    CHECK_EQ(await_call(ctx, &call), 0);
    end_ctx(ctx);
}

/* Without a ring the second was not tried when the first had found less than it had room for. */
TEST(the_end_of_the_stream_is_told_to_all_who_wait) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    char bufs[2][64];
    struct call calls[2] = {{0}, {0}};
    make_tcp_pair(fds);
    for (int i = 0; i < 2; i++)
        ID(aio_submit_recv(ctx, fds[0], bufs[i], sizeof bufs[i], 0, NULL, on_call, &calls[i]));
    run_for_ms(ctx, 20); /* nobody has doubts about the descriptor any more */
    write_all_or_fail(fds[1], "last", 4);
    SYS(shutdown(fds[1], SHUT_WR));
    CHECK_EQ(await_call(ctx, &calls[0]) + await_call(ctx, &calls[1]), 4);
    end_ctx(ctx);
}

TEST(a_reset_connection_is_econnreset) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call call = {0};
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    SYS(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
    close(pair[1]);
    CHECK_EQ(await_call(ctx, &call), -ECONNRESET);
    end_ctx(ctx);
}

TEST(shutdown_of_reading_ends_a_receive) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call recv = {0}, shut = {0};
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    CHECK_EQ(DO(ctx, shut, aio_submit_shutdown(ctx, pair[0], SHUT_RD, NULL, on_call, &shut)), 0);
    CHECK_EQ(await_call(ctx, &recv), 0);
    end_ctx(ctx);
}

/* --- many ------------------------------------------------------------------------------------ */

struct echo {
    aio_ctx *ctx;
    int fd;
    int left;
    char data[64];
    struct call recv, send;
};

static void echo_sent(struct call *call);

static void echo_received(struct call *call) {
    struct echo *echo = call->arg;
    CHECK_GT(call->result, 0);
    echo->send = (struct call){.then = echo_sent, .arg = echo};
    ID(aio_submit_send(echo->ctx, echo->fd, echo->data, (size_t)call->result, 0, NULL, on_call,
                       &echo->send));
}

static void echo_sent(struct call *call) {
    struct echo *echo = call->arg;
    CHECK_GT(call->result, 0);
    if (--echo->left == 0)
        return;
    echo->recv = (struct call){.then = echo_received, .arg = echo};
    ID(aio_submit_recv(echo->ctx, echo->fd, echo->data, sizeof echo->data, 0, NULL, on_call,
                       &echo->recv));
}

TEST(a_hundred_connections_echo_every_byte) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 100 };
    const int rounds = scaled(50);
    static struct echo echoes[COUNT];
    int clients[COUNT];
    for (int i = 0; i < COUNT; i++) {
        int pair[2];
        make_tcp_pair(pair);
        clients[i] = pair[0];
        echoes[i] = (struct echo){.ctx = ctx, .fd = pair[1], .left = rounds};
        echoes[i].recv = (struct call){.then = echo_received, .arg = &echoes[i]};
        ID(aio_submit_recv(ctx, pair[1], echoes[i].data, sizeof echoes[i].data, 0, NULL, on_call,
                           &echoes[i].recv));
    }
    for (int round = 0; round < rounds; round++) {
        char out[64], in[64];
        for (int i = 0; i < COUNT; i++) {
            pattern_fill(out, sizeof out, (uint64_t)(i * 1000 + round));
            write_all_or_fail(clients[i], out, sizeof out);
        }
        for (int i = 0; i < COUNT; i++) {
            RUN_UNTIL(ctx, echoes[i].left < rounds - round);
            read_all_or_fail(clients[i], in, sizeof in);
            CHECK(pattern_holds(in, sizeof in, (uint64_t)(i * 1000 + round)));
        }
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
