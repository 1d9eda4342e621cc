/* What waits and what fails at once, whoever else waits there; and what a receive that waits for
 * all leaves behind. The same on both backends: these are what the differential test found. */
#include "harness.h"

#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/un.h>

#define HERE AIO_OFFSET_CURRENT
#define LINK WITH(.flags = AIO_SUBMIT_LINK)

/* --- at once --------------------------------------------------------------------------------- */

TEST(a_receive_that_is_no_call_of_the_file_fails_although_a_read_waits_there) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    const int files[] = {pipe_fds[0], SYS(eventfd(0, EFD_CLOEXEC))};
    for (int i = 0; i < COUNT_OF(files); i++) {
        uint64_t number = 0, other = 0;
        struct iovec iov = {&other, sizeof other};
        struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
        struct call read = {0}, recv = {0}, recvmsg = {0};
        ID(aio_submit_read(ctx, files[i], &number, 8, HERE, NULL, on_call, &read));
        check_blocked(ctx, &read);
        CHECK_EQ(DO(ctx, recv, aio_submit_recv(ctx, files[i], &other, 8, 0, NULL, on_call, &recv)),
                 -ENOTSOCK);
        CHECK_EQ(DO(ctx, recvmsg,
                    aio_submit_recvmsg(ctx, files[i], &header, 0, NULL, on_call, &recvmsg)),
                 -ENOTSOCK);
        CHECK_EQ(read.calls, 0);
        write_all_or_fail(i == 0 ? pipe_fds[1] : files[i], &(uint64_t){7}, 8);
        CHECK_EQ(await_call(ctx, &read), 8);
        CHECK_EQ(number, 7);
    }
    close(files[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    end_ctx(ctx);
}

TEST(a_send_that_is_no_call_of_the_file_fails_although_a_write_waits_there) {
    aio_ctx *ctx = make_ctx();
    const uint64_t most = UINT64_MAX - 1, one = 1;
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    write_all_or_fail(fd, &most, sizeof most);
    struct iovec iov = {(void *)&one, sizeof one};
    const struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    struct call write = {0}, send = {0}, sendmsg = {0};
    ID(aio_submit_write(ctx, fd, &one, sizeof one, HERE, NULL, on_call, &write));
    check_blocked(ctx, &write);
    CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, fd, &one, 8, 0, NULL, on_call, &send)), -ENOTSOCK);
    CHECK_EQ(DO(ctx, sendmsg, aio_submit_sendmsg(ctx, fd, &header, 0, NULL, on_call, &sendmsg)),
             -ENOTSOCK);
    CHECK_EQ(write.calls, 0);
    uint64_t sum;
    read_all_or_fail(fd, &sum, sizeof sum);
    CHECK_EQ(await_call(ctx, &write), 8);
    close(fd);
    end_ctx(ctx);
}

TEST(a_receive_at_a_listener_fails_although_an_accept_waits_there) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    char byte;
    struct call accept = {0}, recv = {0};
    ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &accept));
    check_blocked(ctx, &accept);
    CHECK_EQ(DO(ctx, recv, aio_submit_recv(ctx, listener, &byte, 1, 0, NULL, on_call, &recv)),
             -ENOTCONN);
    const int client = tcp_connect_to(&addr);
    const int server = await_call(ctx, &accept);
    CHECK_GE(server, 0);
    close(server);
    close(client);
    close(listener);
    end_ctx(ctx);
}

static void drain_a_quarter(int fd) {
    int queued, left;
    char bytes[4096];
    SYS(ioctl(fd, FIONREAD, &queued));
    for (left = queued; left > queued * 3 / 4;) {
        CHECK_GT(read(fd, bytes, sizeof bytes), 0);
        SYS(ioctl(fd, FIONREAD, &left));
    }
}

/* A socket reports room when there is plenty of it, and takes bytes before. */
TEST(a_send_is_tried_although_an_earlier_one_found_no_room) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    static char bytes[4096];
    make_socket_pair(pair);
    fill_until_full(pair[0]);
    struct call waits = {0}, send = {0};
    const aio_op_id id =
        ID(aio_submit_send(ctx, pair[0], bytes, sizeof bytes, 0, NULL, on_call, &waits));
    check_blocked(ctx, &waits);
    run_for_ms(ctx, 30);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &waits), -ECANCELED);
    drain_a_quarter(pair[1]);
    CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, pair[0], "x", 1, 0, NULL, on_call, &send)), 1);
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

TEST(a_send_that_waits_ends_with_epipe_when_its_own_socket_is_shut_down) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    fill_until_full(pair[0]);
    struct call send = {0}, shut = {0};
    ID(aio_submit_send(ctx, pair[0], "x", 1, 0, NULL, on_call, &send));
    check_blocked(ctx, &send);
    CHECK_EQ(DO(ctx, shut, aio_submit_shutdown(ctx, pair[0], SHUT_WR, NULL, on_call, &shut)), 0);
    CHECK_EQ(await_call(ctx, &send), -EPIPE);
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

TEST(a_send_that_waits_is_not_tried_by_a_shutdown_that_leaves_it_alone) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    fill_until_full(pair[0]);
    struct call send = {0};
    ID(aio_submit_send(ctx, pair[0], "x", 1, 0, NULL, on_call, &send));
    check_blocked(ctx, &send);
    drain_a_quarter(pair[1]);
    struct call shut = {0};
    CHECK_EQ(DO(ctx, shut, aio_submit_shutdown(ctx, pair[0], 7, NULL, on_call, &shut)), -EINVAL);
    check_blocked(ctx, &send);
    drain_until_empty(pair[1]);
    CHECK_EQ(await_call(ctx, &send), 1);
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

/* --- MSG_WAITALL ----------------------------------------------------------------------------- */

static void make_packet_pair(int fds[2]) {
    SYS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
}

TEST(the_flags_of_a_message_in_pieces_are_those_of_the_last) {
    aio_ctx *ctx = make_ctx();
    for (int is_short = 0; is_short < 2; is_short++) {
        int pair[2];
        char bytes[10] = {0};
        struct iovec iov = {bytes, sizeof bytes};
        struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
        struct call call = {0};
        make_packet_pair(pair);
        CHECK_EQ(send(pair[1], "four", 4, 0), 4);
        CHECK_EQ(send(pair[1], "and six and more", is_short ? 6 : 16, 0), is_short ? 6 : 16);
        CHECK_EQ(DO(ctx, call,
                    aio_submit_recvmsg(ctx, pair[0], &header, MSG_WAITALL, NULL, on_call, &call)),
                 10);
        CHECK_MEM(bytes, "fourand si", 10);
        CHECK_EQ(header.msg_flags & MSG_TRUNC, is_short ? 0 : MSG_TRUNC);
        close(pair[0]);
        close(pair[1]);
    }
    end_ctx(ctx);
}

/* The end of the stream, which comes last, has no name. */
TEST(the_name_of_a_message_in_pieces_is_that_of_the_last) {
    aio_ctx *ctx = make_ctx();
    for (int ends = 0; ends < 2; ends++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX}, from = {0};
        snprintf(address.sun_path, sizeof address.sun_path, "%s", temp_path(ends ? "ends" : "on"));
        const int listener = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int client = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SYS(bind(listener, (struct sockaddr *)&address, sizeof address));
        SYS(listen(listener, 1));
        SYS(connect(client, (struct sockaddr *)&address, sizeof address));
        const int server = SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        char bytes[10];
        struct iovec iov = {bytes, sizeof bytes};
        struct msghdr header = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof from};
        struct call call = {0};
        ID(aio_submit_recvmsg(ctx, client, &header, MSG_WAITALL, NULL, on_call, &call));
        write_all_or_fail(server, "four", 4);
        check_blocked(ctx, &call);
        if (ends)
            SYS(shutdown(server, SHUT_WR));
        else
            write_all_or_fail(server, "and six", 7);
        CHECK_EQ(await_call(ctx, &call), ends ? 4 : 10);
        CHECK_EQ(header.msg_namelen > 0, !ends);
        if (!ends)
            CHECK_STR(from.sun_path, address.sun_path);
        close(server);
        close(client);
        close(listener);
    }
    end_ctx(ctx);
}

TEST(the_name_of_a_message_in_pieces_stays_in_its_buffer) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned char from[128];
    snprintf(address.sun_path, sizeof address.sun_path, "%s", temp_path("longer than four bytes"));
    const int listener = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int client = SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(bind(listener, (struct sockaddr *)&address, sizeof address));
    SYS(listen(listener, 1));
    SYS(connect(client, (struct sockaddr *)&address, sizeof address));
    const int server = SYS(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    char bytes[10];
    struct iovec iov = {bytes, sizeof bytes};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = from, .msg_namelen = 4};
    struct call call = {0};
    memset(from, 0xEE, sizeof from);
    ID(aio_submit_recvmsg(ctx, client, &header, MSG_WAITALL, NULL, on_call, &call));
    write_all_or_fail(server, "four", 4);
    check_blocked(ctx, &call);
    write_all_or_fail(server, "and six", 7);
    CHECK_EQ(await_call(ctx, &call), 10);
    CHECK_MEM(from, &address, 4);
    for (int i = 4; i < COUNT_OF(from); i++)
        CHECK_EQ(from[i], 0xEE);
    CHECK_GT(header.msg_namelen, 4); /* what there would have been */
    CHECK(header.msg_name == from);
    close(server);
    close(client);
    close(listener);
    end_ctx(ctx);
}

/* With all the bytes that it asked for, and yet not with all that there was. */
TEST(a_receive_for_all_that_is_cut_breaks_its_chain) {
    aio_ctx *ctx = make_ctx();
    for (int way = 0; way < 6; way++) {
        int pair[2];
        char bytes[4];
        struct iovec iov = {bytes, sizeof bytes};
        struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
        struct call receive = {0}, next = {0};
        const bool message = way & 1, waits = way & 2, fits = way & 4;
        make_packet_pair(pair);
        if (!waits)
            CHECK_EQ(send(pair[1], "five+", fits ? 4 : 5, 0), fits ? 4 : 5);
        if (message)
            ID(aio_submit_recvmsg(ctx, pair[0], &header, MSG_WAITALL, LINK, on_call, &receive));
        else
            ID(aio_submit_recv(ctx, pair[0], bytes, 4, MSG_WAITALL, LINK, on_call, &receive));
        ID(aio_submit_nop(ctx, NULL, on_call, &next));
        if (waits) {
            check_blocked(ctx, &receive);
            CHECK_EQ(send(pair[1], "five+", 5, 0), 5);
        }
        CHECK_EQ(await_call(ctx, &receive), 4);
        CHECK_EQ(await_call(ctx, &next), fits ? 0 : -ECANCELED);
        CHECK_EQ(next.flags, fits ? 0 : AIO_CQE_ABORTED);
        close(pair[0]);
        close(pair[1]);
    }
    end_ctx(ctx);
}

/* --- replies, one at a time ------------------------------------------------------------------ */

/* Receives and replies in turn, with nothing else to do: the other end is read and written between
 * two callbacks. */
struct replies {
    aio_ctx *ctx;
    int pair[2], received, sent, rounds;
    aio_op_id reply;
    bool is_inside;
    void (*between)(struct replies *); /* right after the last reply was submitted */
    struct call other;
    char bytes[5];
    int32_t result;
};

static void on_message(void *user_data, int32_t result, uint32_t flags);

static void ask(struct replies *r) {
    write_all_or_fail(r->pair[1], &"abcdefghijklmnopqrstuvwxyz"[r->received % 20], sizeof r->bytes);
    ID(aio_submit_recv(r->ctx, r->pair[0], r->bytes, sizeof r->bytes, 0, NULL, on_message, r));
}

static void on_reply(void *user_data, int32_t result, uint32_t flags) {
    struct replies *r = user_data;
    char reply[sizeof r->bytes + 1];
    CHECK(!r->is_inside);
    CHECK_EQ(flags, 0);
    CHECK_EQ(aio_ctx_current_op(r->ctx), r->reply);
    CHECK_EQ(++r->sent, r->received);
    r->result = result;
    if (result < 0)
        return;
    CHECK_EQ(result, (int)sizeof r->bytes);
    CHECK_EQ(aio_ctx_current_bytes(r->ctx), sizeof r->bytes);
    CHECK_EQ(recv(r->pair[1], reply, sizeof reply, MSG_DONTWAIT), (int)sizeof r->bytes);
    CHECK_MEM(reply, r->bytes, sizeof r->bytes);
    if (r->sent < r->rounds)
        ask(r);
}

static void on_message(void *user_data, int32_t result, uint32_t flags) {
    struct replies *r = user_data;
    CHECK_EQ(result, (int)sizeof r->bytes);
    CHECK_EQ(flags, 0);
    r->is_inside = true;
    const bool is_last = ++r->received == r->rounds;
    r->reply =
        ID(aio_submit_send(r->ctx, r->pair[0], r->bytes, sizeof r->bytes, 0, NULL, on_reply, r));
    CHECK_EQ(aio_ctx_in_flight(r->ctx), 1);
    if (is_last && r->between)
        r->between(r);
    r->is_inside = false;
}

static struct replies run_replies(void (*between)(struct replies *)) {
    struct replies r = {.ctx = make_ctx(), .rounds = 50, .between = between};
    make_socket_pair(r.pair);
    ask(&r);
    CHECK_EQ(aio_ctx_run(r.ctx), 0);
    CHECK_EQ(r.received, r.rounds);
    CHECK_EQ(aio_ctx_in_flight(r.ctx), 0);
    return r;
}

TEST(replies_one_at_a_time_arrive_and_are_told_after_their_submit) {
    const struct replies r = run_replies(NULL);
    CHECK_EQ(r.sent, r.rounds);
    CHECK_EQ(stats_of(r.ctx).submitted, 2 * (uint64_t)r.rounds);
    CHECK_EQ(stats_of(r.ctx).completed, 2 * (uint64_t)r.rounds);
    end_ctx(r.ctx);
}

static void submit_timer(struct replies *r) {
    ID(aio_submit_timer(r->ctx, 0, NULL, on_call, &r->other));
}

TEST(a_reply_with_other_work_behind_it_is_told_once) {
    const struct replies r = run_replies(submit_timer);
    CHECK_EQ(r.sent, r.rounds);
    CHECK_EQ(r.other.calls, 1);
    end_ctx(r.ctx);
}

static void cancel_reply(struct replies *r) {
    const int32_t status = aio_ctx_cancel(r->ctx, r->reply);
    CHECK(status == 0 || status == -EALREADY);
}

TEST(a_reply_that_is_cancelled_is_told_once) {
    const struct replies r = run_replies(cancel_reply);
    CHECK_EQ(r.sent, r.rounds);
    CHECK(r.result == -ECANCELED || r.result == (int)sizeof r.bytes);
    end_ctx(r.ctx);
}

static void cancel_reply_and_wait(struct replies *r) {
    CHECK_EQ(aio_ctx_cancel_wait(r->ctx, r->reply), 0);
    CHECK_EQ(aio_ctx_cancel(r->ctx, r->reply), -ENOENT);
}

TEST(a_reply_that_is_cancelled_and_waited_for_is_not_told) {
    const struct replies r = run_replies(cancel_reply_and_wait);
    CHECK_EQ(r.sent, r.rounds - 1);
    end_ctx(r.ctx);
}

static void close_socket(struct replies *r) {
    ID(aio_submit_close(r->ctx, r->pair[0], NULL, on_call, &r->other));
}

TEST(a_close_behind_a_reply_closes) {
    const struct replies r = run_replies(close_socket);
    CHECK_EQ(r.sent, r.rounds);
    CHECK_EQ(r.other.result, 0);
    CHECK(peer_sees_fin(r.pair[1], 5000));
    end_ctx(r.ctx);
}

/* The other end has gone before the last reply. */
static void on_last_message(void *user_data, int32_t result, uint32_t flags) {
    struct replies *r = user_data;
    close(r->pair[1]);
    on_message(r, result, flags);
}

static void on_reply_before(void *user_data, int32_t result, uint32_t flags) {
    struct replies *r = user_data;
    on_reply(r, result, flags);
    write_all_or_fail(r->pair[1], "abcde", sizeof r->bytes);
    ID(aio_submit_recv(r->ctx, r->pair[0], r->bytes, sizeof r->bytes, 0, NULL, on_last_message, r));
}

static void on_message_before(void *user_data, int32_t result, uint32_t flags) {
    struct replies *r = user_data;
    CHECK_EQ(result, (int)sizeof r->bytes);
    CHECK_EQ(flags, 0);
    r->received++;
    r->reply = ID(aio_submit_send(r->ctx, r->pair[0], r->bytes, sizeof r->bytes, 0, NULL,
                                  on_reply_before, r));
}

TEST(a_reply_to_nobody_fails_without_a_signal) {
    struct replies r = run_replies(NULL);
    write_all_or_fail(r.pair[1], "abcde", sizeof r.bytes);
    ID(aio_submit_recv(r.ctx, r.pair[0], r.bytes, sizeof r.bytes, 0, NULL, on_message_before, &r));
    CHECK_EQ(aio_ctx_run(r.ctx), 0);
    CHECK_EQ(r.sent, r.rounds + 2);
    CHECK_EQ(r.result, -EPIPE);
    end_ctx(r.ctx);
}

static void destroy_context(struct replies *r) { CHECK_EQ(aio_ctx_destroy(r->ctx), AIO_EPENDING); }

TEST(a_reply_before_a_destroy_is_told) {
    struct replies r = {.ctx = make_ctx(), .rounds = 50, .between = destroy_context};
    make_socket_pair(r.pair);
    ask(&r);
    CHECK_EQ(aio_ctx_run(r.ctx), AIO_EDESTROYED);
    CHECK_EQ(r.sent, r.rounds);
}

HARNESS_MAIN
