/* Section buffers: messages of recvmsg_multishot and what is passed with them, datagrams, and what
 * read_multishot reads of. */
#include "pools.h"

#include <sys/eventfd.h>
#include <sys/un.h>

#define ROOM(name_, control_)                                                                      \
    (&(struct msghdr){.msg_namelen = (name_), .msg_controllen = (control_)})

static void udp_flow(struct flow *flow, aio_ctx *ctx, aio_buffer_pool *pool,
                     struct sockaddr_in *from) {
    struct sockaddr_in to;
    *flow = (struct flow){.ctx = ctx, .pool = pool, .keeps = true};
    flow->fd = make_udp_socket(&to);
    flow->other = make_udp_socket(from);
    SYS(connect(flow->other, (struct sockaddr *)&to, sizeof to));
}

static aio_op_id receive_messages(struct flow *flow, const struct msghdr *room, int flags) {
    return ID(aio_submit_recvmsg_multishot(flow->ctx, flow->fd, flow->pool, room, flags, NULL,
                                           on_flow, flow));
}

static aio_message_view parsed(const aio_buffer_lease *lease, const struct msghdr *room) {
    aio_message_view view = {.size = sizeof view};
    CHECK_EQ(aio_message_parse(lease, room, &view), 0);
    return view;
}

TEST(a_message_says_who_sent_it) {
    aio_ctx *ctx = make_ctx();
    struct flow flow;
    struct sockaddr_in from;
    const char *texts[] = {"hello", "", "and", "", "bye"};
    const struct msghdr *room = ROOM(16, 0);
    udp_flow(&flow, ctx, make_pool_of(ctx, 8, 128), &from);
    receive_messages(&flow, room, 0);
    for (int i = 0; i < COUNT_OF(texts); i++)
        CHECK_EQ(SYS(send(flow.other, texts[i], strlen(texts[i]), 0)), strlen(texts[i]));
    RUN_UNTIL(ctx, flow.kept_count == COUNT_OF(texts)); /* those of no bytes do not end it */
    for (int i = 0; i < COUNT_OF(texts); i++) {
        const aio_message_view view = parsed(&flow.kept[i], room);
        CHECK_EQ(view.payload_len, strlen(texts[i]));
        CHECK_MEM(view.payload, texts[i], view.payload_len);
        CHECK_EQ(view.namelen, 16);
        CHECK_MEM(view.name, &from, 8);
        CHECK_EQ(view.controllen, 0);
        CHECK_EQ(view.flags, 0);
    }
    CHECK_EQ(flow.finals, 0);
    flow_release(&flow);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_message_too_long_for_its_buffer_says_so) {
    aio_ctx *ctx = make_ctx();
    struct flow flow;
    struct sockaddr_in from;
    const char *text = "0123456789abcdefghijklmnopqrstuvwxyz";
    udp_flow(&flow, ctx, make_pool_of(ctx, 8, 16 + 4 + 8), &from);
    for (int told = 0; told <= 1; told++) { /* MSG_TRUNC asks for nothing more here */
        const struct msghdr *room = ROOM(4, 0);
        flow.calls = flow.finals = 0;
        const aio_op_id id = receive_messages(&flow, room, told ? MSG_TRUNC : 0);
        CHECK_EQ(SYS(send(flow.other, text, strlen(text), 0)), strlen(text));
        RUN_UNTIL(ctx, flow.kept_count == 1);
        const aio_message_view view = parsed(&flow.kept[0], room);
        CHECK_EQ(flow.result, 28);
        CHECK_EQ(view.payload_len, 8);
        CHECK_MEM(view.payload, "01234567", 8);
        CHECK_EQ(view.flags, MSG_TRUNC);
        CHECK_EQ(view.namelen, 16); /* whole, of which 4 bytes are there */
        CHECK_MEM(view.name, &from, 4);
        flow_release(&flow);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        check_ends(ctx, &flow, -ECANCELED);
        CHECK_EQ(info_of(flow.pool).free, 8);
    }
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_message_that_is_none_is_not_taken_apart) {
    char data[64] = {0};
    aio_buffer_lease lease = {.size = sizeof lease, .len = 40, .data = data, .id = 1};
    aio_message_view view = {.size = sizeof view};
    CHECK_EQ(aio_message_parse(&lease, ROOM(16, 8), &view), 0);
    CHECK_EQ(view.payload_len, 0);
    CHECK_EQ(aio_message_parse(&lease, ROOM(16, 9), &view), -EINVAL);
    CHECK_EQ(aio_message_parse(&lease, ROOM(129, 0), &view), -EINVAL);
    CHECK_EQ(aio_message_parse(&lease, NULL, &view), -EINVAL);
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), NULL), -EINVAL);
    CHECK_EQ(aio_message_parse(NULL, ROOM(0, 0), &view), -EINVAL);
    view.size = 4;
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), &view), 0); /* what fits: its size alone */
    view.size = 3;
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), &view), -EINVAL);
    view.size = sizeof view;
    lease.data = NULL;
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), &view), -EINVAL);
    lease.data = data;
    lease.len = 15;
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), &view), -EINVAL);
    lease.size = 4;
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 0), &view), -EINVAL);
    const uint32_t more = 4096; /* control data that claims to be longer than its room */
    memcpy(data + 4, &more, sizeof more);
    lease = (aio_buffer_lease){.size = sizeof lease, .len = 64, .data = data, .id = 1};
    CHECK_EQ(aio_message_parse(&lease, ROOM(0, 16), &view), 0);
    CHECK_EQ(view.controllen, 16);
}

TEST(messages_of_a_stream_end_with_0) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 64));
    flow.keeps = true;
    receive_messages(&flow, ROOM(0, 0), 0);
    flow_send(&flow, "last");
    RUN_UNTIL(ctx, flow.kept_count == 1);
    CHECK_MEM(parsed(&flow.kept[0], ROOM(0, 0)).payload, "last", 4);
    close(flow.other);
    flow.other = -1;
    check_ends(ctx, &flow, 0);
    flow_release(&flow);
    CHECK_EQ(info_of(flow.pool).free, 4);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_datagram_of_no_bytes_ends_a_receive) {
    aio_ctx *ctx = make_ctx();
    struct flow flow;
    struct sockaddr_in from;
    udp_flow(&flow, ctx, make_pool_of(ctx, 4, 64), &from);
    flow_receive(&flow);
    CHECK_EQ(SYS(send(flow.other, "some", 4, 0)), 4);
    CHECK_EQ(SYS(send(flow.other, "", 0, 0)), 0);
    check_ends(ctx, &flow, 0);
    check_flow(&flow, "some");
    flow_release(&flow);
    CHECK_EQ(info_of(flow.pool).free, 4);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* What a slot of the table names cannot be asked what it is. */
TEST(messages_of_a_slot_end_where_others_end) {
    aio_ctx *ctx = make_ctx();
    struct flow flow;
    struct sockaddr_in from;
    aio_buffer_pool *pool = make_pool_of(ctx, 8, 128);
    const aio_files_options table = {.size = sizeof table, .count = 2};
    const aio_submit_options *on_slot = WITH(.flags = AIO_SUBMIT_FIXED_FILE);
    int slots[2];
    CHECK_EQ(aio_files_register(ctx, &table), 0);
    udp_flow(&flow, ctx, pool, &from);
    struct flow stream = make_flow(ctx, pool);
    slots[0] = flow.fd;
    slots[1] = stream.fd;
    CHECK_EQ(aio_files_update(ctx, 0, slots, 2), 2);
    ID(aio_submit_recvmsg_multishot(ctx, 0, pool, ROOM(16, 0), 0, on_slot, on_flow, &flow));
    ID(aio_submit_recvmsg_multishot(ctx, 1, pool, ROOM(16, 0), 0, on_slot, on_flow, &stream));
    for (int i = 1; i <= 2; i++) {
        CHECK_EQ(SYS(send(flow.other, "", 0, 0)), 0);
        RUN_UNTIL(ctx, flow.kept_count == 2 * i - 1);
        CHECK_EQ(SYS(send(flow.other, "some", 4, 0)), 4);
        RUN_UNTIL(ctx, flow.kept_count == 2 * i);
    }
    CHECK_EQ(flow.finals, 0);
    flow_send(&stream, "some");
    RUN_UNTIL(ctx, stream.buffers == 1);
    close(stream.other);
    stream.other = -1;
    check_ends(ctx, &stream, 0);
    flow_release(&flow);
    close_flow(&stream);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

/* --- descriptors that are passed ------------------------------------------------------------- */

static void send_descriptor(int to, int passed) {
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {"fd", 2};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof passed);
    memcpy(CMSG_DATA(item), &passed, sizeof passed);
    CHECK_EQ(SYS(sendmsg(to, &message, 0)), 2);
}

#define PASSED_ROOM ROOM(0, CMSG_SPACE(sizeof(int)))

TEST(a_descriptor_comes_with_its_buffer) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 128));
    int fds[2], got = -1;
    make_pipe(fds);
    flow.keeps = true;
    receive_messages(&flow, PASSED_ROOM, 0);
    send_descriptor(flow.other, fds[1]);
    RUN_UNTIL(ctx, flow.kept_count == 1);
    const aio_message_view view = parsed(&flow.kept[0], PASSED_ROOM);
    struct msghdr message = {.msg_control = view.control, .msg_controllen = view.controllen};
    const struct cmsghdr *item = CMSG_FIRSTHDR(&message);
    CHECK(item && item->cmsg_type == SCM_RIGHTS);
    memcpy(&got, CMSG_DATA(item), sizeof got);
    CHECK(is_cloexec(got));
    CHECK_EQ(SYS(write(got, "x", 1)), 1);
    CHECK(is_readable(fds[0], 20000));
    close(got);
    flow_release(&flow);
    close(fds[0]);
    close(fds[1]);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* The end of the pipe whose other end was passed along: nobody has that one any more. */
static void check_is_closed(int pipe_end) {
    char byte;
    CHECK(is_readable(pipe_end, 20000));
    CHECK_EQ(SYS(read(pipe_end, &byte, 1)), 0);
}

TEST(a_descriptor_in_a_buffer_that_nobody_takes_is_closed) {
    enum { UNTAKEN, CANCELLED, DETACHED, REAPED_BY_NOBODY, IN_FLIGHT_AT_DESTROY, WAYS };
    for (int way = 0; way < WAYS; way++) {
        aio_ctx *ctx = make_ctx();
        struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 128));
        int fds[2];
        make_pipe(fds);
        const bool reaps = way == REAPED_BY_NOBODY || way == IN_FLIGHT_AT_DESTROY;
        const aio_op_id id =
            ID(aio_submit_recvmsg_multishot(ctx, flow.fd, flow.pool, PASSED_ROOM, 0, NULL,
                                            reaps ? AIO_CALLBACK_REAP : on_flow_untaken, &flow));
        if (way != IN_FLIGHT_AT_DESTROY)
            run_for_ms(ctx, 2);
        send_descriptor(flow.other, fds[1]);
        close(fds[1]);
        if (way == IN_FLIGHT_AT_DESTROY)
            CHECK_GE(aio_ctx_flush(ctx), 0);
        if (way == CANCELLED) {
            CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
        } else if (way == DETACHED) {
            CHECK_EQ(aio_ctx_detach(ctx, id), 0);
        }
        if (way != IN_FLIGHT_AT_DESTROY)
            run_for_ms(ctx, 5);
        if (way == UNTAKEN)
            CHECK_EQ(flow.calls, 1);
        close_flow(&flow);
        end_ctx(ctx);
        CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
        check_is_closed(fds[0]);
        close(fds[0]);
    }
}

/* --- read_multishot -------------------------------------------------------------------------- */

static aio_op_id read_again(struct flow *flow) {
    return ID(aio_submit_read_multishot(flow->ctx, flow->fd, flow->pool, NULL, on_flow, flow));
}

TEST(a_pipe_is_read_until_its_end) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = {.ctx = ctx, .pool = make_pool_of(ctx, 2, 4)};
    int fds[2];
    make_pipe(fds);
    flow.fd = fds[0];
    flow.other = fds[1];
    flow_send(&flow, "0123456789");
    read_again(&flow);
    RUN_UNTIL(ctx, flow.len == 10);
    flow_send(&flow, "abcdef");
    RUN_UNTIL(ctx, flow.len == 16);
    check_flow(&flow, "0123456789abcdef");
    flow_send(&flow, "!");
    close(flow.other);
    flow.other = -1;
    check_ends(ctx, &flow, 0);
    check_flow(&flow, "0123456789abcdef!");
    CHECK_EQ(info_of(flow.pool).free, 2);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(an_event_counter_is_read_again_and_again) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = {.ctx = ctx, .pool = make_pool_of(ctx, 2, 8), .other = -1};
    flow.fd = SYS(eventfd(0, EFD_CLOEXEC));
    read_again(&flow);
    for (uint64_t value = 1; value <= 3; value++) {
        CHECK_EQ(SYS(write(flow.fd, &value, sizeof value)), 8);
        RUN_UNTIL(ctx, flow.len == 8 * value);
        CHECK_MEM(flow.data + flow.len - 8, &value, 8);
    }
    CHECK_EQ(flow.finals, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_terminal_is_read_line_by_line) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = {.ctx = ctx, .pool = make_pool_of(ctx, 4, 16)};
    flow.other = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (flow.other < 0 || grantpt(flow.other) || unlockpt(flow.other))
        SKIP("no terminals here");
    flow.fd = SYS(open(ptsname(flow.other), O_RDWR | O_NOCTTY | O_CLOEXEC));
    const aio_op_id id = read_again(&flow);
    flow_send(&flow, "one");
    run_for_ms(ctx, 5);
    CHECK_EQ(flow.calls, 0);
    flow_send(&flow, "\ntwo\n");
    RUN_UNTIL(ctx, flow.len == 8);
    check_flow(&flow, "one\ntwo\n");
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    check_ends(ctx, &flow, -ECANCELED);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_socket_is_read_too) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 16));
    read_again(&flow);
    flow_send(&flow, "socket");
    RUN_UNTIL(ctx, flow.len == 6);
    close(flow.other);
    flow.other = -1;
    check_ends(ctx, &flow, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

HARNESS_MAIN
