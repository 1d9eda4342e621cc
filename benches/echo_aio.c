/* The echo server on the engine, the same for both backends: aio_submit_accept_multishot, then
 * aio_submit_recv and aio_submit_send in turn, each from the callback of the other; also with a
 * deadline on every receive. */
#include "echo.h"

#include <aio_rs.h>
#include <errno.h>
#include <stdlib.h>

/* Far away, as the deadlines of servers are: none expires here. */
static const aio_submit_options deadline = {
    .size = sizeof deadline,
    .timeout_ns = UINT64_C(30000000000),
};

struct connection {
    struct aio_server *server;
    struct connection *next; /* spare one */
    int fd;
    uint32_t received, sent;
    char buffer[];
};

struct aio_server {
    aio_ctx *ctx;
    const struct echo_task *task;
    const aio_submit_options *receive_options;
    uint64_t closed;
    aio_op_id acceptor;
    struct connection *spare; /* those of closed connections, as a server keeps them */
};

static void on_received(void *user_data, int32_t result, uint32_t flags);
static void on_sent(void *user_data, int32_t result, uint32_t flags);

static void aio_receive(struct connection *connection) {
    struct aio_server *server = connection->server;
    bench_check(aio_submit_recv(server->ctx, connection->fd, connection->buffer, server->task->size,
                                0, server->receive_options, on_received, connection),
                "aio_submit_recv");
}

static void aio_send(struct connection *connection) {
    struct aio_server *server = connection->server;
    bench_check(aio_submit_send(server->ctx, connection->fd, connection->buffer + connection->sent,
                                connection->received - connection->sent, 0, NULL, on_sent,
                                connection),
                "aio_submit_send");
}

static void on_closed(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    struct aio_server *server = connection->server;
    (void)flags;
    bench_check(result, "close");
    connection->next = server->spare;
    server->spare = connection;
    if (++server->closed == server->task->connections)
        bench_check(aio_ctx_cancel(server->ctx, server->acceptor), "aio_ctx_cancel");
}

static void on_received(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    struct aio_server *server = connection->server;
    (void)flags;
    bench_check(result, "recv");
    connection->received = (uint32_t)result;
    connection->sent = 0;
    if (result > 0)
        aio_send(connection);
    else
        bench_check(aio_submit_close(server->ctx, connection->fd, NULL, on_closed, connection),
                    "aio_submit_close");
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    (void)flags;
    bench_check(result, "send");
    connection->sent += (uint32_t)result;
    if (connection->sent < connection->received)
        aio_send(connection);
    else
        aio_receive(connection);
}

static void on_accepted(void *user_data, int32_t result, uint32_t flags) {
    struct aio_server *server = user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    bench_check(result, "accept");
    struct connection *connection = server->spare;
    if (connection)
        server->spare = connection->next;
    else if (!(connection = malloc(sizeof *connection + server->task->size)))
        bench_die("no memory");
    connection->server = server;
    connection->fd = result;
    aio_receive(connection);
}

static void aio_serve(const struct echo_task *task, uint32_t backend,
                      const aio_submit_options *receive_options) {
    struct aio_server server = {.task = task, .receive_options = receive_options};
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = ECHO_SQ_ENTRIES,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    server.acceptor =
        aio_submit_accept_multishot(server.ctx, task->listener, 0, NULL, on_accepted, &server);
    bench_check(server.acceptor, "aio_submit_accept_multishot");
    bench_check(aio_ctx_run(server.ctx), "aio_ctx_run");
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
    for (struct connection *next; server.spare; server.spare = next) {
        next = server.spare->next;
        free(server.spare);
    }
}

void echo_aio_uring(const struct echo_task *task) { aio_serve(task, AIO_BACKEND_URING, NULL); }

void echo_aio_epoll(const struct echo_task *task) { aio_serve(task, AIO_BACKEND_EPOLL, NULL); }

void echo_aio_uring_deadline(const struct echo_task *task) {
    aio_serve(task, AIO_BACKEND_URING, &deadline);
}

void echo_aio_epoll_deadline(const struct echo_task *task) {
    aio_serve(task, AIO_BACKEND_EPOLL, &deadline);
}
