/* The echo server on the engine with a buffer pool, the same for both backends:
 * aio_submit_recv_multishot, each buffer leased, sent back and released. As the hand-written
 * multishot server it may have two sends of a connection in flight when a request arrives in
 * pieces; see echo_bare.c. */
#include "echo.h"

#include <aio_rs.h>
#include <errno.h>
#include <stdlib.h>

enum { POOL_BUFFERS_MAX = 32768 };

/* A buffer on its way back; there are as many as buffers. */
struct reply {
    struct reply *next;
    int64_t lease;
    uint32_t len;
};

/* One in its process. A connection is its descriptor, and has no memory of its own. */
static struct {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    const struct echo_task *task;
    uint64_t closed;
    aio_op_id acceptor;
    struct reply *spare;
} server;

static void on_pool_sent(void *user_data, int32_t result, uint32_t flags) {
    struct reply *reply = user_data;
    (void)flags;
    bench_check(result, "send");
    if ((uint32_t)result != reply->len)
        bench_die("a short send");
    bench_check(aio_buffer_pool_release(server.pool, reply->lease), "aio_buffer_pool_release");
    reply->next = server.spare;
    server.spare = reply;
}

static void on_pool_closed(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    (void)flags;
    bench_check(result, "close");
    if (++server.closed == server.task->connections)
        bench_check(aio_ctx_cancel(server.ctx, server.acceptor), "aio_ctx_cancel");
}

static void on_pool_received(void *user_data, int32_t result, uint32_t flags) {
    int fd = (int)(intptr_t)user_data;
    bench_check(result, "recv");
    if (!(flags & AIO_CQE_MORE)) {
        bench_check(aio_submit_close(server.ctx, fd, NULL, on_pool_closed, NULL),
                    "aio_submit_close");
        return;
    }
    struct reply *reply = server.spare;
    if (!reply)
        bench_die("more buffers than there are");
    aio_buffer_lease lease = {.size = sizeof lease};
    bench_check(aio_ctx_take_buffer(server.ctx, &lease), "aio_ctx_take_buffer");
    server.spare = reply->next;
    reply->lease = lease.id;
    reply->len = lease.len;
    bench_check(
        aio_submit_send(server.ctx, fd, lease.data, lease.len, 0, NULL, on_pool_sent, reply),
        "aio_submit_send");
}

static void on_pool_accepted(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    bench_check(result, "accept");
    bench_check(aio_submit_recv_multishot(server.ctx, result, server.pool, 0, NULL,
                                          on_pool_received, (void *)(intptr_t)result),
                "aio_submit_recv_multishot");
}

static void pool_serve(const struct echo_task *task, uint32_t backend) {
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = ECHO_SQ_ENTRIES,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    aio_buffer_pool_options buffers = {
        .size = sizeof buffers,
        .count = 64,
        .buffer_size = (uint32_t)task->size,
    };
    while (buffers.count < 2 * task->at_once && buffers.count < POOL_BUFFERS_MAX)
        buffers.count *= 2;
    struct reply *replies = calloc(buffers.count, sizeof *replies);
    if (!replies)
        bench_die("no memory");
    server.task = task;
    for (uint32_t i = 0; i < buffers.count; i++) {
        replies[i].next = server.spare;
        server.spare = &replies[i];
    }
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    bench_check(aio_buffer_pool_create(server.ctx, &buffers, &server.pool),
                "aio_buffer_pool_create");
    server.acceptor =
        aio_submit_accept_multishot(server.ctx, task->listener, 0, NULL, on_pool_accepted, NULL);
    bench_check(server.acceptor, "aio_submit_accept_multishot");
    bench_check(aio_ctx_run(server.ctx), "aio_ctx_run");
    bench_check(aio_buffer_pool_destroy(server.pool), "aio_buffer_pool_destroy");
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
    free(replies);
}

void echo_aio_uring_pool(const struct echo_task *task) { pool_serve(task, AIO_BACKEND_URING); }

void echo_aio_epoll_pool(const struct echo_task *task) { pool_serve(task, AIO_BACKEND_EPOLL); }
