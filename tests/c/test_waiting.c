/* What a receive that waits for all leaves behind. The same on both backends: this is what the
 * differential test found. */
#include "harness.h"

#include <stddef.h>
#include <sys/uio.h>
#include <sys/un.h>

#define LINK WITH(.flags = AIO_SUBMIT_LINK)

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

HARNESS_MAIN
