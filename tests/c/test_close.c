/* Section fs, the part on close: the operations that use a number end before it is closed, the peer
 * sees FIN, and the number is free for its next owner. */
#include "harness.h"

#include <poll.h>

TEST(closing_a_number_without_operations_closes_it) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_close(ctx, pair[0], NULL, on_call, &call)), 0);
    CHECK(!is_open(pair[0]));
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(closing_what_is_not_open_is_ebadf) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, negative = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_close(ctx, 9999, NULL, on_call, &call)), -EBADF);
    const aio_op_id id = aio_submit_close(ctx, -1, NULL, on_call, &negative);
    if (id > 0)
        CHECK_EQ(await_call(ctx, &negative), -EBADF);
    else
        CHECK(id == -EBADF || id == -EINVAL);
    end_ctx(ctx);
}

TEST(operations_end_before_the_close_does) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct order order = {0};
    char byte = 0;
    struct call recv = {.order = &order, .tag = 1}, poll = {.order = &order, .tag = 1},
                multi = {.order = &order, .tag = 1}, close_call = {.order = &order, .tag = 9};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &poll));
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &multi));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(recv.flags, 0); /* no chain broke and nothing was destroyed: not AIO_CQE_ABORTED */
    CHECK_EQ(poll.result, -ECANCELED);
    CHECK_EQ(multi.result, -ECANCELED);
    CHECK_EQ(close_call.result, 0);
    CHECK_EQ(order.count, 4);
    CHECK_EQ(order.tags[3], 9);
    CHECK(!is_open(pair[0]));
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(operations_that_were_not_handed_over_end_too) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char byte = 0;
    struct call recv = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(close_call.result, 0);
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(operations_on_workers_end_too) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    char byte = 0;
    struct call read = {0}, close_call = {0};
    ID(aio_submit_read(ctx, pipe_fds[0], &byte, 1, AIO_OFFSET_CURRENT,
                       WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &read));
    check_blocked(ctx, &read);
    ID(aio_submit_close(ctx, pipe_fds[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(read.result, -ECANCELED);
    CHECK_EQ(close_call.result, 0);
    struct pollfd other = {.fd = pipe_fds[1]}; /* POLLERR alone: the worker may be a little late */
    CHECK_EQ(poll(&other, 1, 5000), 1);
    CHECK_EQ(other.revents & POLLERR, POLLERR); /* no reader is left */
    end_ctx(ctx);
}

TEST(a_held_operation_on_the_number_ends_too) {
    aio_ctx *ctx = make_ctx();
    int pair[2], other[2];
    make_tcp_pair(pair);
    make_socket_pair(other);
    char bytes[2] = {0};
    struct call gate = {0}, held = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, other[0], &bytes[0], 1, 0, NULL, on_call, &gate));
    ID(aio_submit_recv(ctx, pair[0], &bytes[1], 1, 0, WITH(.flags = AIO_SUBMIT_BARRIER), on_call,
                       &held));
    check_blocked(ctx, &held);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(await_call(ctx, &close_call), 0);
    CHECK_EQ(held.result, -ECANCELED);
    CHECK_EQ(gate.calls, 0);
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(a_waiting_send_ends_with_the_close) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    fill_until_full(pair[0]);
    static char bytes[1 << 16];
    struct call send = {0}, close_call = {0};
    ID(aio_submit_send(ctx, pair[0], bytes, sizeof bytes, MSG_WAITALL, NULL, on_call, &send));
    check_blocked(ctx, &send);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(send.calls, 1);
    CHECK(send.result == -ECANCELED || send.result > 0);
    CHECK_EQ(close_call.result, 0);
    CHECK(peer_sees_fin(pair[1], 5000));
    end_ctx(ctx);
}

TEST(other_numbers_are_left_alone) {
    aio_ctx *ctx = make_ctx();
    int a[2], b[2];
    make_tcp_pair(a);
    make_tcp_pair(b);
    char bytes[2] = {0};
    struct call mine = {0}, other = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, a[0], &bytes[0], 1, 0, NULL, on_call, &mine));
    ID(aio_submit_recv(ctx, b[0], &bytes[1], 1, 0, NULL, on_call, &other));
    check_blocked(ctx, &mine);
    ID(aio_submit_close(ctx, a[0], NULL, on_call, &close_call));
    CHECK_EQ(await_call(ctx, &close_call), 0);
    check_blocked(ctx, &other);
    write_all_or_fail(b[1], "x", 1);
    CHECK_EQ(await_call(ctx, &other), 1);
    end_ctx(ctx);
}

TEST(a_duplicate_keeps_the_connection_and_its_operations) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    const int copy = SYS(dup(pair[0]));
    char byte = 0;
    struct call recv = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, copy, &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(await_call(ctx, &close_call), 0);
    check_blocked(ctx, &recv);
    CHECK(!is_readable(pair[1], 20)); /* no FIN: another descriptor refers to the socket */
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(await_call(ctx, &recv), 1);
    end_ctx(ctx);
}

TEST(a_closed_listener_accepts_no_more) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    struct call accept_call = {0}, close_call = {0};
    ID(aio_submit_accept_multishot(ctx, listener, 0, NULL, on_call, &accept_call));
    check_blocked(ctx, &accept_call);
    ID(aio_submit_close(ctx, listener, NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(accept_call.result, -ECANCELED);
    CHECK_EQ(close_call.result, 0);
    const int client = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK_EQ(connect(client, (struct sockaddr *)&addr, sizeof addr), -1);
    CHECK_EQ(errno, ECONNREFUSED);
    end_ctx(ctx);
}

TEST(a_second_close_while_the_first_is_pending_is_ebadf) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char byte = 0;
    struct call recv = {0}, first = {0}, second = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &first));
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &second));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(first.result, 0);
    CHECK_EQ(second.result, -EBADF);
    end_ctx(ctx);
}

TEST(an_operation_on_a_number_that_is_closing_is_ebadf) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char bytes[2] = {0};
    struct call recv = {0}, close_call = {0}, late = {0}, nothing = {0};
    ID(aio_submit_recv(ctx, pair[0], &bytes[0], 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    ID(aio_submit_recv(ctx, pair[0], &bytes[1], 1, 0, NULL, on_call, &late));
    ID(aio_submit_nop(ctx, NULL, on_call, &nothing));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.result, -ECANCELED);
    CHECK_EQ(late.result, -EBADF);
    CHECK_EQ(close_call.result, 0);
    CHECK_EQ(nothing.result, 0);
    end_ctx(ctx);
}

/* A close that is held is pending: were a second one let through, the first would later close what
 * has the number by then. */
TEST(a_second_close_is_ebadf_while_the_first_waits_behind_a_barrier) {
    aio_ctx *ctx = make_ctx();
    int pair[2], gate[2];
    make_tcp_pair(pair);
    make_socket_pair(gate);
    char byte = 0;
    struct call before = {0}, first = {0}, second = {0};
    ID(aio_submit_recv(ctx, gate[0], &byte, 1, 0, NULL, on_call, &before));
    ID(aio_submit_close(ctx, pair[0], WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &first));
    ID(aio_submit_close(ctx, pair[0], NULL, on_call, &second));
    CHECK_EQ(await_call(ctx, &second), -EBADF);
    check_blocked(ctx, &first);
    CHECK(is_open(pair[0]));
    write_all_or_fail(gate[1], "x", 1);
    CHECK_EQ(await_call(ctx, &first), 0);
    CHECK(!is_open(pair[0]));
    end_ctx(ctx);
}

struct reuse {
    int expected_fd;
    int other;
    struct call recv;
    char byte;
};

static void take_the_number(struct call *call) {
    struct reuse *reuse = call->arg;
    int pair[2];
    CHECK_EQ(call->result, 0);
    make_tcp_pair(pair);
    if (pair[0] != reuse->expected_fd) {
        SYS(dup2(pair[0], reuse->expected_fd));
        close(pair[0]);
        pair[0] = reuse->expected_fd;
    }
    reuse->other = pair[1];
    ID(aio_submit_recv(call->ctx, pair[0], &reuse->byte, 1, 0, NULL, on_call, &reuse->recv));
}

TEST(the_next_owner_of_the_number_is_a_stranger_to_the_old_operations) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < scaled(100); i++) {
        int pair[2];
        make_tcp_pair(pair);
        char byte = 0;
        struct reuse reuse = {.expected_fd = pair[0]};
        struct call recv = {0}, close_call = {.then = take_the_number, .arg = &reuse};
        ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
        CHECK_EQ(await_call(ctx, &close_call), 0);
        CHECK_EQ(recv.result, -ECANCELED);
        CHECK_EQ(send(pair[1], "old", 3, MSG_NOSIGNAL), 3); /* must reach nobody */
        write_all_or_fail(reuse.other, "n", 1);
        CHECK_EQ(await_call(ctx, &reuse.recv), 1);
        CHECK_EQ(reuse.byte, 'n');
        CHECK_EQ(byte, 0);
        close(reuse.expected_fd);
        close(reuse.other);
        close(pair[1]);
    }
    end_ctx(ctx);
}

TEST(both_descriptors_of_a_splice_count) {
    for (int side = 0; side < 2; side++) {
        aio_ctx *ctx = make_ctx();
        int from[2], to[2];
        make_pipe(from);
        make_pipe(to);
        struct call splice = {0}, close_call = {0};
        ID(aio_submit_splice(ctx, from[0], AIO_OFFSET_CURRENT, to[1], AIO_OFFSET_CURRENT, 10, 0,
                             NULL, on_call, &splice));
        check_blocked(ctx, &splice);
        ID(aio_submit_close(ctx, side ? to[1] : from[0], NULL, on_call, &close_call));
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(splice.result, -ECANCELED);
        CHECK_EQ(close_call.result, 0);
        end_ctx(ctx);
    }
}

TEST(five_hundred_connections_with_receives_close_and_every_peer_sees_fin) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 500 };
    static struct call recvs[COUNT], closes[COUNT];
    static char bytes[COUNT];
    static int pairs[COUNT][2];
    for (int i = 0; i < COUNT; i++) {
        make_tcp_pair(pairs[i]);
        ID(aio_submit_recv(ctx, pairs[i][0], &bytes[i], 1, 0, NULL, on_call, &recvs[i]));
    }
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_close(ctx, pairs[i][0], NULL, on_call, &closes[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(recvs[i].result, -ECANCELED);
        CHECK_EQ(closes[i].result, 0);
        CHECK(peer_sees_fin(pairs[i][1], 5000));
    }
    end_ctx(ctx);
}

static void close_own_number(struct call *call) {
    if (call->calls == 1)
        ID(aio_submit_close(call->ctx, *(int *)((void **)call->arg)[0], NULL, on_call,
                            ((void **)call->arg)[1]));
}

TEST(a_close_in_a_callback_of_an_operation_on_the_number) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call close_call = {0};
    void *args[] = {&pair[0], &close_call};
    struct call multi = {.then = close_own_number, .arg = args};
    ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, on_call, &multi));
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(multi.calls, 2);
    CHECK_EQ(multi.result, -ECANCELED);
    CHECK_EQ(close_call.result, 0);
    CHECK(!is_open(pair[0]));
    end_ctx(ctx);
}

TEST(a_close_that_waits_for_its_operations_can_be_cancelled_or_finishes) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    char byte = 0;
    struct call recv = {0}, close_call = {0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    const aio_op_id id = ID(aio_submit_close(ctx, pair[0], NULL, on_call, &close_call));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(recv.finals, 1);
    CHECK_EQ(close_call.calls, 1);
    /* The number is closed exactly when the callback says so. */
    CHECK(close_call.result == 0 || close_call.result == -ECANCELED);
    CHECK_EQ(is_open(pair[0]), close_call.result == -ECANCELED);
    end_ctx(ctx);
}

HARNESS_MAIN
