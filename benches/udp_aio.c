/* The server of datagrams on the engine, the same for both backends: each slot has a receive or a
 * send in flight, each from the callback of the other. */
#include "udp.h"

#include <aio_rs.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

struct udp_slot {
    struct msghdr message;
    struct iovec data;
    struct sockaddr_in from;
    char buffer[UDP_SIZE_MAX];
};

/* One in its process. */
static struct {
    aio_ctx *ctx;
    const struct echo_task *task;
    uint64_t ended;
    struct udp_slot slots[UDP_SLOTS];
} server;

static void on_datagram_sent(void *user_data, int32_t result, uint32_t flags);

static void on_datagram(void *user_data, int32_t result, uint32_t flags);

static void receive_datagram(struct udp_slot *slot) {
    slot->data = (struct iovec){slot->buffer, UDP_SIZE_MAX};
    slot->message = (struct msghdr){.msg_name = &slot->from,
                                    .msg_namelen = sizeof slot->from,
                                    .msg_iov = &slot->data,
                                    .msg_iovlen = 1};
    bench_check(aio_submit_recvmsg(server.ctx, server.task->listener, &slot->message, 0, NULL,
                                   on_datagram, slot),
                "aio_submit_recvmsg");
}

static void on_datagram(void *user_data, int32_t result, uint32_t flags) {
    struct udp_slot *slot = user_data;
    (void)flags;
    if (result == -ECANCELED)
        return;
    bench_check(result, "recvmsg");
    if (result > 0) {
        slot->data.iov_len = (size_t)result;
        bench_check(aio_submit_sendmsg(server.ctx, server.task->listener, &slot->message, 0, NULL,
                                       on_datagram_sent, slot),
                    "aio_submit_sendmsg");
    } else if (++server.ended == server.task->connections) {
        bench_check(aio_ctx_cancel_all(server.ctx), "aio_ctx_cancel_all");
    } else {
        receive_datagram(slot);
    }
}

static void on_datagram_sent(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    bench_check(result, "sendmsg");
    receive_datagram(user_data);
}

static void serve_datagrams(const struct echo_task *task, uint32_t backend) {
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = ECHO_SQ_ENTRIES,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    server.task = task;
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    for (uint64_t i = 0; i < task->at_once; i++)
        receive_datagram(&server.slots[i]);
    bench_check(aio_ctx_run(server.ctx), "aio_ctx_run");
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
}

void udp_aio_uring(const struct echo_task *task) { serve_datagrams(task, AIO_BACKEND_URING); }

void udp_aio_epoll(const struct echo_task *task) { serve_datagrams(task, AIO_BACKEND_EPOLL); }
