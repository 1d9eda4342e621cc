/* Section net: options of sockets and what waits in their queues: on sockets of every kind by the
 * plain call, and in chains by the ring's form. */
#include "harness.h"

#include <netinet/tcp.h>

static int32_t set(aio_ctx *ctx, int fd, int level, int name, int value) {
    struct call call = {0};
    ID(aio_submit_setsockopt(ctx, fd, level, name, &value, sizeof value, NULL, on_call, &call));
    value = ~value; /* copied during the call */
    CHECK_EQ(call.calls, 0);
    return await_call(ctx, &call);
}

static int32_t get(aio_ctx *ctx, int fd, int level, int name, int *value) {
    struct call call = {0};
    *value = -1;
    ID(aio_submit_getsockopt(ctx, fd, level, name, value, sizeof *value, NULL, on_call, &call));
    CHECK_EQ(call.calls, 0);
    return await_call(ctx, &call);
}

TEST(options_of_all_levels_and_kinds_of_socket_are_set_and_read) {
    aio_ctx *ctx = make_ctx();
    int tcp[2], pair[2], value;
    make_tcp_pair(tcp);
    make_socket_pair(pair);
    CHECK_EQ(set(ctx, tcp[0], SOL_SOCKET, SO_KEEPALIVE, 1), 0);
    CHECK_EQ(get(ctx, tcp[0], SOL_SOCKET, SO_KEEPALIVE, &value), sizeof value);
    CHECK_EQ(value, 1);
    CHECK_EQ(set(ctx, tcp[0], IPPROTO_TCP, TCP_KEEPIDLE, 77), 0);
    CHECK_EQ(get(ctx, tcp[0], IPPROTO_TCP, TCP_KEEPIDLE, &value), sizeof value);
    CHECK_EQ(value, 77);
    CHECK_EQ(set(ctx, pair[0], SOL_SOCKET, SO_PASSCRED, 1), 0);
    CHECK_EQ(get(ctx, pair[0], SOL_SOCKET, SO_PASSCRED, &value), sizeof value);
    CHECK_EQ(value, 1);
    CHECK_EQ(get(ctx, pair[0], SOL_SOCKET, SO_TYPE, &value), sizeof value);
    CHECK_EQ(value, SOCK_STREAM);
    end_ctx(ctx);
}

TEST(the_result_is_the_length_of_the_value) {
    aio_ctx *ctx = make_ctx();
    int tcp[2];
    struct call call = {0};
    struct tcp_info info;
    make_tcp_pair(tcp);
    CHECK_EQ(DO(ctx, call,
                aio_submit_getsockopt(ctx, tcp[0], IPPROTO_TCP, TCP_INFO, &info, 8, NULL, on_call,
                                      &call)),
             8);
    CHECK_EQ(info.tcpi_state, TCP_ESTABLISHED);
    end_ctx(ctx);
}

TEST(options_are_set_in_the_order_of_their_chain) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    int tcp[2], value = 1, back = 0;
    struct call first = {0}, second = {0};
    make_tcp_pair(tcp);
    ID(aio_submit_setsockopt(ctx, tcp[0], SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value,
                             WITH(.flags = AIO_SUBMIT_LINK), on_call, &first));
    value = 0; /* copied during the call */
    ID(aio_submit_getsockopt(ctx, tcp[0], SOL_SOCKET, SO_KEEPALIVE, &back, sizeof back, NULL,
                             on_call, &second));
    CHECK_EQ(await_call(ctx, &second), sizeof back);
    CHECK_EQ(first.result, 0);
    CHECK_EQ(back, 1);
    end_ctx(ctx);
}

TEST(the_queues_of_a_socket_are_counted) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    char data[100] = {0};
    struct call calls[4] = {{0}};
    make_socket_pair(pair);
    CHECK_EQ(DO(ctx, calls[0], aio_submit_socket_inq(ctx, pair[0], NULL, on_call, &calls[0])), 0);
    write_all_or_fail(pair[1], data, 100);
    CHECK_EQ(DO(ctx, calls[1], aio_submit_socket_inq(ctx, pair[0], NULL, on_call, &calls[1])), 100);
    CHECK_EQ(read(pair[0], data, 30), 30);
    CHECK_EQ(DO(ctx, calls[2], aio_submit_socket_inq(ctx, pair[0], NULL, on_call, &calls[2])), 70);
    CHECK_GT(DO(ctx, calls[3], aio_submit_socket_outq(ctx, pair[1], NULL, on_call, &calls[3])), 0);
    end_ctx(ctx);
}

TEST(what_the_peer_has_not_taken_is_counted) {
    aio_ctx *ctx = make_ctx();
    int tcp[2], plain = 0;
    struct call call = {0};
    make_tcp_pair(tcp);
    fill_until_full(tcp[0]);
    const int32_t waiting =
        DO(ctx, call, aio_submit_socket_outq(ctx, tcp[0], NULL, on_call, &call));
    socklen_t len = sizeof plain;
    SYS(getsockopt(tcp[0], SOL_SOCKET, SO_SNDBUF, &plain, &len));
    CHECK_GT(waiting, 0);
    CHECK_LE(waiting, plain);
    end_ctx(ctx);
}

TEST(an_option_of_a_number_that_is_being_closed_is_ebadf) {
    aio_ctx *ctx = make_ctx();
    int tcp[2], value;
    char byte;
    struct call recv = {0}, closed = {0};
    make_tcp_pair(tcp);
    ID(aio_submit_recv(ctx, tcp[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, tcp[0], NULL, on_call, &closed));
    CHECK_EQ(get(ctx, tcp[0], SOL_SOCKET, SO_TYPE, &value), -EBADF);
    CHECK_EQ(await_call(ctx, &closed), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    end_ctx(ctx);
}

HARNESS_MAIN
