/* Section zero_copy: results and notifications. Over loopback, where the data is copied at its end
 * and the notification follows at once; and over a slow link between two network namespaces, where
 * the memory is in use until the peer has it. */
#include "harness.h"

#include <linux/io_uring.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { LEN = 256 * 1024 };

static unsigned char data[LEN], back[LEN];

static aio_op_id send_zc(aio_ctx *ctx, int fd, size_t len, const aio_submit_options *options,
                         struct call *call) {
    call->ctx = ctx;
    return call->id =
               ID(aio_submit_send_zc(ctx, fd, data, len, MSG_WAITALL, 0, options, on_call, call));
}

/* --- on both backends ------------------------------------------------------------------------ */

static void *drain_in_a_thread(void *arg) {
    read_all_or_fail(*(int *)arg, back, LEN);
    return NULL;
}

TEST(all_of_a_long_send_is_sent_and_then_the_memory_is_free) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call call = {0};
    pthread_t thread;
    make_tcp_pair(pair);
    pattern_fill(data, LEN, 1);
    CHECK_EQ(pthread_create(&thread, NULL, drain_in_a_thread, &pair[1]), 0);
    send_zc(ctx, pair[0], LEN, NULL, &call);
    await_call(ctx, &call);
    CHECK_EQ(call.first, LEN);
    CHECK_EQ(call.first_flags, AIO_CQE_MORE);
    CHECK_EQ(call.result, 0);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(pattern_holds(back, LEN, 1));
    end_ctx(ctx);
}

static void note_bytes(struct call *call) { /* aio_ctx_current_bytes of both */
    uint64_t *bytes = call->arg;
    bytes[call->calls - 1] = aio_ctx_current_bytes(call->ctx);
}

TEST(the_notification_says_whether_the_data_was_copied) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 2);
    int pair[2];
    uint64_t bytes[2] = {99, 99};
    struct call call = {.then = note_bytes, .arg = bytes};
    make_tcp_pair(pair);
    ID(aio_submit_send_zc(ctx, pair[0], data, 1000, 0, AIO_SEND_ZC_REPORT_USAGE, NULL, on_call,
                          &call));
    CHECK_EQ(await_call(ctx, &call), 1); /* here it is */
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    CHECK_EQ(call.first, 1000);
    CHECK_EQ(bytes[0], 1000);
    CHECK_EQ(bytes[1], 0);
    end_ctx(ctx);
}

TEST(a_message_goes_from_vectors_to_an_address) {
    aio_ctx *ctx = make_ctx();
    struct sockaddr_in addr, from;
    const int in = make_udp_socket(&addr), out = make_udp_socket(&from);
    struct call call = {0};
    struct iovec iov[2] = {{data, 1000}, {data + 5000, 500}};
    struct msghdr header = {
        .msg_name = &addr, .msg_namelen = sizeof addr, .msg_iov = iov, .msg_iovlen = 2};
    pattern_fill(data, 6000, 3);
    ID(aio_submit_sendmsg_zc(ctx, out, &header, 0, 0, NULL, on_call, &call));
    memset(iov, 0, sizeof iov); /* copied */
    memset(&header, 0, sizeof header);
    memset(&addr, 0, sizeof addr);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.first, 1500);
    CHECK_EQ(recv(in, back, LEN, 0), 1500);
    CHECK_MEM(back, data, 1000);
    CHECK_MEM(back + 1000, data + 5000, 500);
    end_ctx(ctx);
}

TEST(the_data_can_be_in_a_registered_buffer) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call calls[2] = {{0}};
    const struct iovec area = {data, LEN};
    const aio_buffers_options table = {.size = sizeof table, .count = 1, .iov = &area};
    make_tcp_pair(pair);
    pattern_fill(data, LEN, 5);
    CHECK_EQ(aio_buffers_register(ctx, &table), 0);
    const aio_submit_options *options = WITH(.buf_index = 1);
    ID(aio_submit_send_zc(ctx, pair[0], data + 100, 1000, 0, 0, options, on_call, &calls[0]));
    CHECK_EQ(await_call(ctx, &calls[0]), 0);
    CHECK_EQ(calls[0].first, 1000);
    read_all_or_fail(pair[1], back, 1000);
    CHECK_MEM(back, data + 100, 1000);
    needs_ring_of(ctx, 6, 15);
    struct iovec iov[2] = {{data, 10}, {data + LEN - 10, 10}};
    const struct msghdr header = {.msg_iov = iov, .msg_iovlen = 2};
    ID(aio_submit_sendmsg_zc(ctx, pair[0], &header, 0, 0, options, on_call, &calls[1]));
    CHECK_EQ(await_call(ctx, &calls[1]), 0);
    CHECK_EQ(calls[1].first, 20);
    read_all_or_fail(pair[1], back, 20);
    CHECK_MEM(back + 10, data + LEN - 10, 10);
    end_ctx(ctx);
}

TEST(a_quiet_one_is_refused_also_as_a_raw_entry) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    CHECK_EQ(aio_submit_send_zc(ctx, pair[0], data, 1, 0, 0, WITH(.flags = AIO_SUBMIT_QUIET),
                                on_call_never, NULL),
             -EINVAL);
    const struct io_uring_sqe entry = {
        .opcode = IORING_OP_SEND_ZC, .fd = pair[0], .addr = (uintptr_t)data, .len = 1};
    CHECK_EQ(aio_submit_raw(ctx, &entry, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL),
             -EINVAL);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_raw(ctx, &entry, NULL, on_call, &call)), 0);
    CHECK_EQ(call.first, 1);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    end_ctx(ctx);
}

/* What can be done to it while it has its result and not its notification. */
static void cancel_after_the_result(struct call *call) {
    if (call->calls > 1)
        return;
    CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), -EALREADY);
    CHECK_EQ(aio_ctx_detach(call->ctx, call->id), -EBUSY);
    CHECK_EQ(aio_ctx_cancel_all(call->ctx), 0);
    CHECK_EQ(aio_ctx_cancel_group(call->ctx, 7), 0);
    CHECK_EQ(aio_ctx_cancel_fd(call->ctx, *(int *)call->arg, 0), 0);
    CHECK_EQ(aio_ctx_in_flight(call->ctx), 1);
}

TEST(between_result_and_notification_it_cannot_be_cancelled) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    struct call call = {.then = cancel_after_the_result, .arg = &pair[0]};
    send_zc(ctx, pair[0], 1000, WITH(.group = 7, .timeout_ns = HOUR), &call);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.first, 1000);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    CHECK_EQ(stats_of(ctx).cancels, 0);
    end_ctx(ctx);
}

static void cancel_wait_after_the_result(struct call *call) {
    CHECK_EQ(call->calls, 1);
    CHECK_EQ(aio_ctx_cancel_wait(call->ctx, call->id), 0);
    CHECK_EQ(aio_ctx_in_flight(call->ctx), 0);
}

TEST(cancel_wait_after_the_result_waits_for_the_notification_and_takes_it) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call call = {.then = cancel_wait_after_the_result};
    make_tcp_pair(pair);
    send_zc(ctx, pair[0], 1000, NULL, &call);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.flags, AIO_CQE_MORE);
    end_ctx(ctx);
}

static void destroy_after_the_result(struct call *call) {
    if (call->calls == 1)
        CHECK_EQ(aio_ctx_destroy(call->ctx), AIO_EPENDING);
}

TEST(destroy_after_the_result_delivers_the_notification) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call call = {.then = destroy_after_the_result};
    make_tcp_pair(pair);
    send_zc(ctx, pair[0], 1000, NULL, &call);
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    CHECK_EQ(call.result, 0);
}

TEST(a_barrier_waits_for_the_notification) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct order order = {0};
    struct call call = {.order = &order, .tag = 1}, behind = {.order = &order, .tag = 2};
    make_tcp_pair(pair);
    send_zc(ctx, pair[0], 1000, NULL, &call);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &behind));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 3);
    CHECK_EQ(order.tags[0], 1);
    CHECK_EQ(order.tags[1], 1);
    CHECK_EQ(order.tags[2], 2);
    end_ctx(ctx);
}

TEST(a_chain_goes_on_at_the_result_and_breaks_at_a_failure) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_tcp_pair(pair);
    for (int fails = 0; fails < 2; fails++) {
        struct call calls[3] = {{0}};
        if (fails)
            SYS(shutdown(pair[0], SHUT_WR));
        send_zc(ctx, pair[0], 1000, WITH(.flags = AIO_SUBMIT_LINK), &calls[0]);
        ID(aio_submit_recv(ctx, pair[1], back, 1000, MSG_WAITALL, WITH(.flags = AIO_SUBMIT_LINK),
                           on_call, &calls[1]));
        ID(aio_submit_nop(ctx, NULL, on_call, &calls[2]));
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(calls[0].first, fails ? -EPIPE : 1000);
        CHECK_EQ(calls[1].result, fails ? -ECANCELED : 1000);
        CHECK_EQ(calls[2].result, fails ? -ECANCELED : 0);
        CHECK_EQ(calls[2].flags, fails ? AIO_CQE_ABORTED : 0);
    }
    end_ctx(ctx);
}

static volatile sig_atomic_t pipe_signals;

static void on_sigpipe(int number) {
    (void)number;
    pipe_signals = pipe_signals + 1;
}

TEST(a_broken_one_raises_sigpipe_where_it_was_asked_to) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call calls[2] = {{0}};
    make_tcp_pair(pair);
    SYS(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = on_sigpipe}, NULL));
    SYS(shutdown(pair[0], SHUT_WR));
    send_zc(ctx, pair[0], 10, NULL, &calls[0]);
    await_call(ctx, &calls[0]);
    CHECK_EQ(calls[0].first, -EPIPE);
    CHECK_EQ(pipe_signals, 0);
    send_zc(ctx, pair[0], 10, WITH(.flags = AIO_SUBMIT_SIGPIPE), &calls[1]);
    await_call(ctx, &calls[1]);
    CHECK_EQ(calls[1].first, -EPIPE);
    CHECK_EQ(pipe_signals, 1);
    end_ctx(ctx);
}

TEST(a_send_of_nothing_notifies_too) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    struct call call = {0};
    make_tcp_pair(pair);
    send_zc(ctx, pair[0], 0, NULL, &call);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.first, 0);
    CHECK_EQ(call.first_flags, AIO_CQE_MORE);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    end_ctx(ctx);
}

/* --- over a slow link ------------------------------------------------------------------------ */

/* The far end: a process in a network namespace of its own that receives all there is, and says
 * how much that was and whether it was data of seed 9. */
struct far {
    int say[2], hear[2]; /* what the child says, and hears */
    int fd;              /* the near end of the connection */
};

struct verdict {
    int64_t bytes;
    bool holds;
};

static void must(const char *command) {
    if (system(command) != 0)
        SKIP("not possible here: %s", command);
}

static void tell(int fd, char word) { CHECK_EQ(write(fd, &word, 1), 1); }

static void hear(int fd) {
    char word;
    CHECK_EQ(read(fd, &word, 1), 1);
}

static void far_end(void *arg) {
    struct far *far = arg;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(7777)};
    SYS(unshare(CLONE_NEWNET));
    tell(far->say[1], 'n');
    hear(far->hear[0]); /* the link is there */
    CHECK_EQ(system("ip addr add 10.99.0.2/24 dev far0 && ip link set far0 up"), 0);
    const int listener = SYS(socket(AF_INET, SOCK_STREAM, 0));
    SYS(bind(listener, (struct sockaddr *)&addr, sizeof addr));
    SYS(listen(listener, 1));
    tell(far->say[1], 'l');
    const int fd = SYS(accept(listener, NULL, NULL));
    struct verdict verdict = {0, true};
    static unsigned char got[2 * LEN];
    for (;;) {
        const ssize_t count = read(fd, got + verdict.bytes, sizeof got - (size_t)verdict.bytes);
        if (count <= 0)
            break;
        verdict.bytes += count;
    }
    verdict.holds = pattern_holds(got, (size_t)verdict.bytes, 9);
    CHECK_EQ(write(far->say[1], &verdict, sizeof verdict), sizeof verdict);
}

/* A megabyte takes a second. */
static struct far slow_link(void) {
    struct far far;
    char command[128];
    if (geteuid() != 0)
        SKIP("only root can make network namespaces");
    if (system("ip -V >/dev/null 2>&1 && tc -V >/dev/null 2>&1") != 0)
        SKIP("ip and tc of iproute2 are missing");
    if (unshare(CLONE_NEWNET) != 0)
        SKIP("network namespaces cannot be made: %s", strerror(errno));
    make_pipe(far.say);
    make_pipe(far.hear);
    const pid_t pid = start_child(far_end, &far);
    hear(far.say[0]);
    snprintf(command, sizeof command,
             "ip link add near0 type veth peer name far0 netns %d 2>/dev/null", (int)pid);
    must(command);
    must("ip addr add 10.99.0.1/24 dev near0 && ip link set near0 up");
    must("tc qdisc add dev near0 root tbf rate 8mbit burst 16kb limit 10mb 2>/dev/null");
    tell(far.hear[1], 'g');
    hear(far.say[0]);
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(0x0a630002)};
    const int large = 4 * LEN;
    far.fd = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(setsockopt(far.fd, SOL_SOCKET, SO_SNDBUF, &large, sizeof large));
    SYS(connect(far.fd, (struct sockaddr *)&addr, sizeof addr));
    pattern_fill(data, LEN, 9);
    return far;
}

static struct verdict verdict_of(const struct far *far) {
    struct verdict verdict;
    read_all_or_fail(far->say[0], &verdict, sizeof verdict);
    return verdict;
}

static int unacknowledged(int fd) {
    int count = 0;
    SYS(ioctl(fd, SIOCOUTQ, &count));
    return count;
}

static void needs_slow_path(const aio_ctx *ctx) {
    needs_ring(ctx, "without a ring the data is copied and nothing is waited for");
}

/* The memory is the sender's again: it makes use of it at once. */
static void use_memory_at_the_notification(struct call *call) {
    if (call->flags & AIO_CQE_NOTIFY) {
        CHECK_EQ(unacknowledged(*(int *)call->arg), 0);
        memset(data, 0xee, LEN);
    }
}

TEST(the_memory_is_free_when_the_peer_has_the_data_and_not_before) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {.then = use_memory_at_the_notification, .arg = &far.fd};
    send_zc(ctx, far.fd, LEN, WITH(.timeout_ns = 40 * MS), &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(call.first, LEN);
    CHECK_EQ(call.calls, 1);
    CHECK_GT(unacknowledged(far.fd), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, call.id), -EALREADY);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1);
    char text[512] = {0};
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    CHECK(strstr(text, "its memory still in use") != NULL);
    await_call(ctx, &call);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY); /* its deadline was for the result */
    CHECK_EQ(call.result, 0);
    CHECK_EQ(stats_of(ctx).cancels, 0);
    SYS(shutdown(far.fd, SHUT_WR));
    const struct verdict verdict = verdict_of(&far);
    CHECK_EQ(verdict.bytes, LEN);
    CHECK(verdict.holds);
    end_ctx(ctx);
}

TEST(what_is_written_to_the_memory_before_the_notification_is_what_arrives) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {0};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(call.calls, 1);
    memset(data, 0xee, LEN); /* forbidden: it shows that nobody has copied */
    await_call(ctx, &call);
    SYS(shutdown(far.fd, SHUT_WR));
    const struct verdict verdict = verdict_of(&far);
    CHECK_EQ(verdict.bytes, LEN);
    CHECK(!verdict.holds);
    end_ctx(ctx);
}

TEST(a_close_does_not_wait_for_the_notification) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct order order = {0};
    struct call call = {.order = &order, .tag = 1}, close = {.order = &order, .tag = 2};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(DO(ctx, close, aio_submit_close(ctx, far.fd, NULL, on_call, &close)), 0);
    CHECK_EQ(call.calls, 1);
    CHECK(!is_open(far.fd));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(order.tags[1], 2);
    CHECK_EQ(order.tags[2], 1);
    const struct verdict verdict = verdict_of(&far); /* all, and then the end */
    CHECK_EQ(verdict.bytes, LEN);
    CHECK(verdict.holds);
    end_ctx(ctx);
}

TEST(destroy_waits_for_the_notification) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {.then = use_memory_at_the_notification, .arg = &far.fd};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_GT(unacknowledged(far.fd), 0);
    end_ctx(ctx);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    SYS(shutdown(far.fd, SHUT_WR));
    CHECK(verdict_of(&far).holds);
}

TEST(destroy_gives_up_at_the_end_of_its_grace) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.destroy_grace_ns = 20 * MS));
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {0};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_ESTUCK);
    CHECK_EQ(call.calls, 1);
    _exit(0); /* the memory must not be used again, and what leaks is meant to */
}

TEST(a_cancelled_wait_waits_for_the_notification) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {0};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, call.id), 0);
    CHECK_EQ(unacknowledged(far.fd), 0);
    CHECK_EQ(call.calls, 1);
    memset(data, 0xee, LEN);
    SYS(shutdown(far.fd, SHUT_WR));
    CHECK(verdict_of(&far).holds);
    end_ctx(ctx);
}

TEST(a_connection_cut_short_gives_the_memory_back) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct call call = {0};
    send_zc(ctx, far.fd, LEN, NULL, &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    const struct linger cut = {.l_onoff = 1, .l_linger = 0};
    SYS(setsockopt(far.fd, SOL_SOCKET, SO_LINGER, &cut, sizeof cut));
    SYS(close(far.fd));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY);
    CHECK_LT(verdict_of(&far).bytes, LEN);
    end_ctx(ctx);
}

struct leaving {
    struct far *far;
    struct call *call;
    aio_ctx *ctx;
};

static void *send_and_leave(void *arg) {
    struct leaving *leaving = arg;
    leaving->ctx = make_ctx();
    send_zc(leaving->ctx, leaving->far->fd, LEN, NULL, leaving->call);
    RUN_UNTIL(leaving->ctx, leaving->call->calls >= 1);
    return NULL;
}

TEST(the_notification_of_an_orphan_says_that_it_is_none) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    end_ctx(ctx);
    struct far far = slow_link();
    struct call call = {0};
    struct leaving leaving = {&far, &call, NULL};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, send_and_leave, &leaving), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(leaving.ctx), AIO_EORPHANED);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.first, LEN);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_NOTIFY | AIO_CQE_ABORTED);
}

TEST(a_registered_buffer_is_released_after_the_notification) {
    aio_ctx *ctx = make_ctx();
    needs_slow_path(ctx);
    struct far far = slow_link();
    struct order order = {0};
    struct call call = {.order = &order, .tag = 1}, release = {.order = &order, .tag = 2};
    const struct iovec area = {data, LEN};
    const uint64_t tag = (uintptr_t)&release;
    const aio_buffers_options table = {
        .size = sizeof table, .count = 1, .iov = &area, .tags = &tag, .on_release = on_call};
    CHECK_EQ(aio_buffers_register(ctx, &table), 0);
    send_zc(ctx, far.fd, LEN, WITH(.buf_index = 1), &call);
    RUN_UNTIL(ctx, call.calls >= 1);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 3);
    CHECK_EQ(order.tags[1], 1);
    CHECK_EQ(order.tags[2], 2);
    memset(data, 0xee, LEN);
    SYS(shutdown(far.fd, SHUT_WR));
    CHECK(verdict_of(&far).holds);
    end_ctx(ctx);
}

HARNESS_MAIN
