/* The echo server on the engine with completions taken in batches: AIO_CALLBACK_REAP, and a loop of
 * the program's own over aio_ctx_reap. What a completion is for is in its user_data: a connection,
 * with the kind in the lowest bits. */
#include "echo.h"

#include <aio_rs.h>
#include <stdlib.h>

enum { BATCH = 256 };
enum kind { ACCEPTED, RECEIVED, SENT, CLOSED, KINDS };

struct reap_connection {
    int fd;
    uint32_t received, sent;
    char buffer[];
};

struct reap_server {
    aio_ctx *ctx;
    const struct echo_task *task;
    uint64_t closed;
};

/* Connections are allocated, so that their addresses are multiples of KINDS. */
static void *reap_tag(const struct reap_connection *connection, enum kind kind) {
    return (void *)((uintptr_t)connection | kind);
}

static void reap_receive(struct reap_server *server, struct reap_connection *connection) {
    bench_check(aio_submit_recv(server->ctx, connection->fd, connection->buffer, server->task->size,
                                0, NULL, AIO_CALLBACK_REAP, reap_tag(connection, RECEIVED)),
                "aio_submit_recv");
}

static void reap_send(struct reap_server *server, struct reap_connection *connection) {
    bench_check(aio_submit_send(server->ctx, connection->fd, connection->buffer + connection->sent,
                                connection->received - connection->sent, 0, NULL, AIO_CALLBACK_REAP,
                                reap_tag(connection, SENT)),
                "aio_submit_send");
}

static void reap_accepted(struct reap_server *server, int32_t result) {
    bench_check(result, "accept");
    struct reap_connection *connection = malloc(sizeof *connection + server->task->size);
    if (!connection)
        bench_die("no memory");
    connection->fd = result;
    reap_receive(server, connection);
}

static void reap_received(struct reap_server *server, struct reap_connection *connection,
                          int32_t result) {
    bench_check(result, "recv");
    connection->received = (uint32_t)result;
    connection->sent = 0;
    if (result > 0)
        reap_send(server, connection);
    else
        bench_check(aio_submit_close(server->ctx, connection->fd, NULL, AIO_CALLBACK_REAP,
                                     reap_tag(connection, CLOSED)),
                    "aio_submit_close");
}

static void reap_sent(struct reap_server *server, struct reap_connection *connection,
                      int32_t result) {
    bench_check(result, "send");
    connection->sent += (uint32_t)result;
    if (connection->sent < connection->received)
        reap_send(server, connection);
    else
        reap_receive(server, connection);
}

static void reap_completion(struct reap_server *server, const aio_completion *completion) {
    struct reap_connection *connection =
        (struct reap_connection *)(uintptr_t)(completion->user_data & ~(uint64_t)(KINDS - 1));
    switch ((enum kind)(completion->user_data & (KINDS - 1))) {
    case ACCEPTED:
        reap_accepted(server, completion->result);
        break;
    case RECEIVED:
        reap_received(server, connection, completion->result);
        break;
    case SENT:
        reap_sent(server, connection, completion->result);
        break;
    default:
        bench_check(completion->result, "close");
        free(connection);
        server->closed++;
    }
}

static void reap_serve(const struct echo_task *task, uint32_t backend) {
    static aio_completion batch[BATCH];
    struct reap_server server = {.task = task};
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = ECHO_SQ_ENTRIES,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    bench_check(aio_submit_accept_multishot(server.ctx, task->listener, 0, NULL, AIO_CALLBACK_REAP,
                                            reap_tag(NULL, ACCEPTED)),
                "aio_submit_accept_multishot");
    while (server.closed < task->connections) {
        int32_t taken = aio_ctx_reap(server.ctx, batch, sizeof batch[0], BATCH, -1);
        bench_check(taken, "aio_ctx_reap");
        for (int32_t i = 0; i < taken; i++)
            reap_completion(&server, &batch[i]);
    }
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
}

void echo_aio_uring_reap(const struct echo_task *task) { reap_serve(task, AIO_BACKEND_URING); }

void echo_aio_epoll_reap(const struct echo_task *task) { reap_serve(task, AIO_BACKEND_EPOLL); }
