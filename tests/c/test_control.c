/* Section control: control data that is put together for sendmsg and taken apart after recvmsg:
 * segment sizes of UDP, times of arrival, descriptors. */
#include "harness.h"

#include <netinet/udp.h>
#include <sys/uio.h>
#include <time.h>

enum { SEGMENT = 1200, SEGMENTS = 10 };

static unsigned char data[SEGMENT * SEGMENTS], got[65536];
static char control[256];

static aio_op_id receive(aio_ctx *ctx, int fd, struct msghdr *header, struct iovec *iov,
                         struct call *call) {
    *iov = (struct iovec){got, sizeof got};
    *header = (struct msghdr){
        .msg_iov = iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    return ID(aio_submit_recvmsg(ctx, fd, header, 0, NULL, on_call, call));
}

/* As one message of many datagrams, the last one shorter by `missing`; without a context by a plain
 * call. */
static void send_segments(aio_ctx *ctx, int fd, struct sockaddr_in *to, size_t missing) {
    struct call call = {0};
    char out[64];
    size_t len = 0;
    CHECK_EQ(aio_control_put_segment_size(out, sizeof out, &len, SEGMENT), 0);
    CHECK_EQ(len, CMSG_SPACE(sizeof(uint16_t)));
    struct iovec iov = {data, sizeof data - missing};
    const struct msghdr header = {.msg_name = to,
                                  .msg_namelen = sizeof *to,
                                  .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = out,
                                  .msg_controllen = len};
    if (!ctx)
        call.result = (int32_t)sendmsg(fd, &header, 0);
    else
        DO(ctx, call, aio_submit_sendmsg(ctx, fd, &header, 0, NULL, on_call, &call));
    CHECK_EQ(call.result, (int64_t)(sizeof data - missing));
}

TEST(one_send_is_received_as_ten_datagrams) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in to, from;
    const int in = make_udp_socket(&to), out = make_udp_socket(&from);
    pattern_fill(data, sizeof data, 1);
    send_segments(ctx, out, &to, 100);
    for (int i = 0; i < SEGMENTS; i++) {
        struct msghdr header;
        struct iovec iov;
        struct call call = {0};
        receive(ctx, in, &header, &iov, &call);
        CHECK_EQ(await_call(ctx, &call), i == SEGMENTS - 1 ? SEGMENT - 100 : SEGMENT);
        CHECK_MEM(got, data + i * SEGMENT, (size_t)call.result);
        CHECK_EQ(aio_control_get_segment_size(header.msg_control, header.msg_controllen), -ENOENT);
    }
    CHECK(!is_readable(in, 0));
    end_ctx(ctx);
}

static int make_gathering_socket(struct sockaddr_in *addr) {
    const int fd = make_udp_socket(addr), on = 1;
    SYS(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on));
    return fd;
}

/* Whether the loopback device carries them together; on Linux 5.10 it does not. */
static bool datagrams_stay_together(void) {
    struct sockaddr_in to, from;
    const int in = make_gathering_socket(&to), out = make_udp_socket(&from);
    send_segments(NULL, out, &to, 100);
    const ssize_t len = recv(in, got, sizeof got, 0);
    close(in);
    close(out);
    CHECK(len == SEGMENT || len == (ssize_t)sizeof data - 100);
    return len != SEGMENT;
}

TEST(one_receive_brings_ten_datagrams) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in to, from;
    const int in = make_gathering_socket(&to), out = make_udp_socket(&from);
    const bool together = datagrams_stay_together();
    struct msghdr header;
    struct iovec iov;
    struct call call = {0};
    pattern_fill(data, sizeof data, 2);
    receive(ctx, in, &header, &iov, &call);
    send_segments(ctx, out, &to, 100);
    CHECK_EQ(await_call(ctx, &call), together ? (int64_t)sizeof data - 100 : SEGMENT);
    CHECK_MEM(got, data, (size_t)call.result);
    CHECK_EQ(aio_control_get_segment_size(header.msg_control, header.msg_controllen),
             together ? SEGMENT : -ENOENT);
    end_ctx(ctx);
}

TEST(a_zero_copy_send_can_be_cut_into_datagrams) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in to, from;
    const int in = make_udp_socket(&to), out = make_udp_socket(&from);
    struct call call = {0};
    size_t len = 0;
    CHECK_EQ(aio_control_put_segment_size(control, sizeof control, &len, SEGMENT), 0);
    struct iovec iov = {data, 3 * SEGMENT};
    const struct msghdr header = {.msg_name = &to,
                                  .msg_namelen = sizeof to,
                                  .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = len};
    ID(aio_submit_sendmsg_zc(ctx, out, &header, 0, 0, NULL, on_call, &call));
    await_call(ctx, &call);
    CHECK_EQ(call.first, 3 * SEGMENT);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(recv(in, got, sizeof got, 0), SEGMENT);
    end_ctx(ctx);
}

TEST(a_message_says_when_it_arrived) {
    aio_ctx *ctx = make_ctx();
    const int names[2] = {SO_TIMESTAMPNS, SO_TIMESTAMP}, on = 1;
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in to, from;
        const int in = make_udp_socket(&to), out = make_udp_socket(&from);
        struct msghdr header;
        struct iovec iov;
        struct call call = {0};
        struct timespec before, after;
        uint64_t time_ns = 0;
        SYS(setsockopt(in, SOL_SOCKET, names[i], &on, sizeof on));
        SYS(clock_gettime(CLOCK_REALTIME, &before));
        CHECK_EQ(sendto(out, "x", 1, 0, (struct sockaddr *)&to, sizeof to), 1);
        receive(ctx, in, &header, &iov, &call);
        CHECK_EQ(await_call(ctx, &call), 1);
        SYS(clock_gettime(CLOCK_REALTIME, &after));
        CHECK_EQ(aio_control_get_timestamp(header.msg_control, header.msg_controllen, &time_ns), 0);
        CHECK_GE(time_ns + 1000, (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
        CHECK_LE(time_ns, (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
    }
    end_ctx(ctx);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void send_descriptors(aio_ctx *ctx, int fd, const int *fds, uint32_t count) {
    struct call call = {0};
    char out[64];
    size_t len = 0;
    CHECK_EQ(aio_control_put_descriptors(out, sizeof out, &len, fds, count), 0);
    struct iovec iov = {data, 1};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = out, .msg_controllen = len};
    ID(aio_submit_sendmsg(ctx, fd, &header, 0, NULL, on_call, &call));
    memset(out, 0xff, sizeof out); /* copied */
    CHECK_EQ(await_call(ctx, &call), 1);
}

TEST(three_descriptors_are_passed) {
    aio_ctx *ctx = make_ctx();
    int pair[2], passed[3], arrived[3] = {-1, -1, -1};
    struct msghdr header;
    struct iovec iov;
    struct call call = {0};
    make_socket_pair(pair);
    for (int i = 0; i < 3; i++)
        passed[i] = temp_file(i == 0 ? "a" : i == 1 ? "b" : "c", &"abc"[i], 1);
    send_descriptors(ctx, pair[0], passed, 3);
    receive(ctx, pair[1], &header, &iov, &call);
    CHECK_EQ(await_call(ctx, &call), 1);
    const void *bytes = header.msg_control;
    const size_t len = header.msg_controllen;
    CHECK_EQ(aio_control_get_descriptors(bytes, len, NULL, 0), 3);
    CHECK_EQ(aio_control_get_descriptors(bytes, len, arrived, 1), 3);
    CHECK_EQ(arrived[1], -1);
    CHECK_EQ(aio_control_get_descriptors(bytes, len, arrived, 3), 3);
    for (int i = 0; i < 3; i++) {
        char letter = 0;
        CHECK_NE(arrived[i], passed[i]);
        CHECK_EQ(pread(arrived[i], &letter, 1, 0), 1);
        CHECK_EQ(letter, "abc"[i]);
        CHECK(is_cloexec(arrived[i]));
        SYS(close(arrived[i]));
    }
    end_ctx(ctx);
}

TEST(three_descriptors_that_arrive_for_nobody_are_closed) {
    aio_ctx *ctx = make_ctx();
    int pair[2], pipe_fds[2];
    make_socket_pair(pair);
    make_pipe(pipe_fds);
    const int passed[3] = {pipe_fds[1], pipe_fds[1], pipe_fds[1]};
    const int before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        struct msghdr header;
        struct iovec iov;
        struct call call = {0};
        send_descriptors(ctx, pair[0], passed, 3);
        const aio_op_id id = receive(ctx, pair[1], &header, &iov, &call);
        if (i & 1)
            CHECK_GE(aio_ctx_flush(ctx), 0); /* it has them already */
        CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        CHECK_EQ(call.calls, 0);
        if (is_readable(pair[1], 0)) { /* the cancel was faster */
            receive(ctx, pair[1], &header, &iov, &call);
            await_call(ctx, &call);
            int fds[3];
            CHECK_EQ(aio_control_get_descriptors(control, header.msg_controllen, fds, 3), 3);
            for (int k = 0; k < 3; k++)
                SYS(close(fds[k]));
        }
        CHECK_EQ(open_descriptors(), before);
    }
    SYS(close(pipe_fds[1])); /* the last of them: the reader sees the end */
    CHECK_EQ(read(pipe_fds[0], got, 1), 0);
    end_ctx(ctx);
}

/* --- arguments ------------------------------------------------------------------------------- */

TEST(control_data_is_as_the_macros_of_the_system_make_it) {
    union {
        struct cmsghdr align;
        char bytes[128];
    } mine = {0}, theirs = {0};
    const int fds[2] = {5, 6};
    const uint16_t size = 900;
    size_t len = 0;
    struct msghdr header = {.msg_control = theirs.bytes, .msg_controllen = sizeof theirs.bytes};
    struct cmsghdr *message = CMSG_FIRSTHDR(&header);
    *message = (struct cmsghdr){CMSG_LEN(sizeof fds), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(message), fds, sizeof fds);
    message = CMSG_NXTHDR(&header, message);
    *message = (struct cmsghdr){CMSG_LEN(sizeof size), SOL_UDP, UDP_SEGMENT};
    memcpy(CMSG_DATA(message), &size, sizeof size);
    CHECK_EQ(aio_control_put_descriptors(mine.bytes, sizeof mine.bytes, &len, fds, 2), 0);
    CHECK_EQ(len, CMSG_SPACE(sizeof fds));
    CHECK_EQ(aio_control_put_segment_size(mine.bytes, sizeof mine.bytes, &len, size), 0);
    CHECK_EQ(len, CMSG_SPACE(sizeof fds) + CMSG_SPACE(sizeof size));
    CHECK_MEM(mine.bytes, theirs.bytes, len);
}

TEST(bad_arguments_are_refused) {
    char small[23];
    size_t len = 0;
    uint64_t time_ns;
    int fds[254] = {0};
    CHECK_EQ(aio_control_put_segment_size(small, sizeof small, &len, 100), -ENOBUFS);
    CHECK_EQ(aio_control_put_segment_size(NULL, 0, &len, 100), -ENOBUFS);
    CHECK_EQ(len, 0);
    CHECK_EQ(aio_control_put_segment_size(NULL, 100, &len, 100), -EINVAL);
    CHECK_EQ(aio_control_put_segment_size(control, sizeof control, NULL, 100), -EINVAL);
    CHECK_EQ(aio_control_put_segment_size(control, sizeof control, &len, 0), -EINVAL);
    CHECK_EQ(aio_control_put_segment_size(control, sizeof control, &len, 65536), -EINVAL);
    CHECK_EQ(aio_control_put_descriptors(control, sizeof control, &len, NULL, 1), -EINVAL);
    CHECK_EQ(aio_control_put_descriptors(control, sizeof control, &len, fds, 0), -EINVAL);
    CHECK_EQ(aio_control_put_descriptors(control, sizeof control, &len, fds, 254), -EINVAL);
    CHECK_EQ(aio_control_put_descriptors(control, sizeof control, &len, fds, 253), -ENOBUFS);
    len = SIZE_MAX - 2;
    CHECK_EQ(aio_control_put_segment_size(control, sizeof control, &len, 100), -EINVAL);
    CHECK_EQ(aio_control_get_segment_size(NULL, 1), -EINVAL);
    CHECK_EQ(aio_control_get_segment_size(NULL, 0), -ENOENT);
    CHECK_EQ(aio_control_get_timestamp(control, 0, NULL), -EINVAL);
    CHECK_EQ(aio_control_get_timestamp(NULL, 1, &time_ns), -EINVAL);
    CHECK_EQ(aio_control_get_timestamp(NULL, 0, &time_ns), -ENOENT);
    CHECK_EQ(aio_control_get_descriptors(NULL, 0, NULL, 0), 0);
    CHECK_EQ(aio_control_get_descriptors(NULL, 1, fds, 1), -EINVAL);
    CHECK_EQ(aio_control_get_descriptors(control, 0, NULL, 1), -EINVAL);
}

HARNESS_MAIN
