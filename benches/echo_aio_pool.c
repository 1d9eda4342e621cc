/* The echo server on the engine with a buffer pool, the same for both backends:
 * aio_submit_recv_multishot, each buffer leased, sent back and released. As the hand-written
 * multishot server it may have two sends of a connection in flight when a request arrives in
 * pieces; see echo_bare.c. */
#include "echo.h"

#include <aio_rs.h>
#include <errno.h>
#include <stdlib.h>

enum { POOL_BUFFERS = 2 * ECHO_CONNECTIONS_MAX };

struct pool_server;

/* A buffer on its way back; there are as many as buffers. */
struct reply {
    struct pool_server *server;
    struct reply *next;
    int64_t lease;
    uint32_t len;
};

struct pool_server {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    uint64_t connections, closed;
    aio_op_id acceptor;
    struct reply *spare;
    struct reply replies[POOL_BUFFERS];
};

struct pool_connection {
    struct pool_server *server;
    int fd;
};

static void on_pool_sent(void *user_data, int32_t result, uint32_t flags) {
    struct reply *reply = user_data;
    struct pool_server *server = reply->server;
    (void)flags;
    bench_check(result, "send");
    if ((uint32_t)result != reply->len)
        bench_die("a short send");
    bench_check(aio_buffer_pool_release(server->pool, reply->lease), "aio_buffer_pool_release");
    reply->next = server->spare;
    server->spare = reply;
}

static void on_pool_closed(void *user_data, int32_t result, uint32_t flags) {
    struct pool_connection *connection = user_data;
    struct pool_server *server = connection->server;
    (void)flags;
    bench_check(result, "close");
    free(connection);
    if (++server->closed == server->connections)
        bench_check(aio_ctx_cancel(server->ctx, server->acceptor), "aio_ctx_cancel");
}

static void on_pool_received(void *user_data, int32_t result, uint32_t flags) {
    struct pool_connection *connection = user_data;
    struct pool_server *server = connection->server;
    bench_check(result, "recv");
    if (!(flags & AIO_CQE_MORE)) {
        bench_check(aio_submit_close(server->ctx, connection->fd, NULL, on_pool_closed, connection),
                    "aio_submit_close");
        return;
    }
    struct reply *reply = server->spare;
    if (!reply)
        bench_die("more buffers than there are");
    aio_buffer_lease lease = {.size = sizeof lease};
    bench_check(aio_ctx_take_buffer(server->ctx, &lease), "aio_ctx_take_buffer");
    server->spare = reply->next;
    reply->lease = lease.id;
    reply->len = lease.len;
    bench_check(aio_submit_send(server->ctx, connection->fd, lease.data, lease.len, 0, NULL,
                                on_pool_sent, reply),
                "aio_submit_send");
}

static void on_pool_accepted(void *user_data, int32_t result, uint32_t flags) {
    struct pool_server *server = user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    bench_check(result, "accept");
    struct pool_connection *connection = malloc(sizeof *connection);
    if (!connection)
        bench_die("no memory");
    *connection = (struct pool_connection){server, result};
    bench_check(aio_submit_recv_multishot(server->ctx, result, server->pool, 0, NULL,
                                          on_pool_received, connection),
                "aio_submit_recv_multishot");
}

static void pool_serve(int listener, uint64_t connections, uint32_t backend) {
    static struct pool_server server;
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = ECHO_SQ_ENTRIES,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    const aio_buffer_pool_options buffers = {
        .size = sizeof buffers,
        .count = POOL_BUFFERS,
        .buffer_size = ECHO_SIZE_MAX,
    };
    server.connections = connections;
    for (int i = 0; i < POOL_BUFFERS; i++) {
        server.replies[i] = (struct reply){.server = &server, .next = server.spare};
        server.spare = &server.replies[i];
    }
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    bench_check(aio_buffer_pool_create(server.ctx, &buffers, &server.pool),
                "aio_buffer_pool_create");
    server.acceptor =
        aio_submit_accept_multishot(server.ctx, listener, 0, NULL, on_pool_accepted, &server);
    bench_check(server.acceptor, "aio_submit_accept_multishot");
    bench_check(aio_ctx_run(server.ctx), "aio_ctx_run");
    bench_check(aio_buffer_pool_destroy(server.pool), "aio_buffer_pool_destroy");
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
}

void echo_aio_uring_pool(int listener, uint64_t connections) {
    pool_serve(listener, connections, AIO_BACKEND_URING);
}

void echo_aio_epoll_pool(int listener, uint64_t connections) {
    pool_serve(listener, connections, AIO_BACKEND_EPOLL);
}
