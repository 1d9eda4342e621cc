/* The echo server on libuv, as its documentation advises: uv_read_start once per connection, into
 * a buffer that the connection owns; the reply by uv_try_write, and by uv_write with a request that
 * the connection owns when the socket takes no more, with reading stopped until then. */
#include "echo.h"

#include <stdlib.h>
#include <uv.h>

struct connection {
    uv_tcp_t tcp;
    uv_write_t rest; /* of a reply that did not fit */
    char buffer[];
};

struct uv_server {
    uv_loop_t loop;
    uv_tcp_t listener;
    const struct echo_task *task;
    uint64_t closed;
};

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer);

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    struct connection *connection = (struct connection *)handle;
    const struct uv_server *server = handle->loop->data;
    (void)suggested;
    *buffer = uv_buf_init(connection->buffer, (unsigned)server->task->size);
}

static void on_closed(uv_handle_t *handle) {
    struct uv_server *server = handle->loop->data;
    free(handle);
    if (++server->closed == server->task->connections)
        uv_close((uv_handle_t *)&server->listener, NULL);
}

static void on_written(uv_write_t *request, int status) {
    bench_check(status, "uv_write");
    bench_check(uv_read_start(request->handle, on_buffer, on_read), "uv_read_start");
}

static void on_read(uv_stream_t *stream, ssize_t received, const uv_buf_t *buffer) {
    struct connection *connection = (struct connection *)stream;
    if (received == UV_EOF) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    bench_check(received, "uv_read_start");
    if (received == 0)
        return; /* libuv's EAGAIN */
    uv_buf_t reply = uv_buf_init(buffer->base, (unsigned)received);
    int written = uv_try_write(stream, &reply, 1);
    if (written == (int)received)
        return;
    if (written == UV_EAGAIN)
        written = 0;
    bench_check(written, "uv_try_write");
    uv_read_stop(stream);
    reply = uv_buf_init(buffer->base + written, (unsigned)(received - written));
    bench_check(uv_write(&connection->rest, stream, &reply, 1, on_written), "uv_write");
}

static void on_connection(uv_stream_t *listener, int status) {
    bench_check(status, "uv_listen");
    const struct uv_server *server = listener->loop->data;
    struct connection *connection = malloc(sizeof *connection + server->task->size);
    if (!connection)
        bench_die("no memory");
    bench_check(uv_tcp_init(listener->loop, &connection->tcp), "uv_tcp_init");
    bench_check(uv_accept(listener, (uv_stream_t *)&connection->tcp), "uv_accept");
    bench_check(uv_read_start((uv_stream_t *)&connection->tcp, on_buffer, on_read),
                "uv_read_start");
}

void echo_libuv(const struct echo_task *task) {
    static struct uv_server server;
    server.task = task;
    bench_check(uv_loop_init(&server.loop), "uv_loop_init");
    server.loop.data = &server;
    bench_check(uv_tcp_init(&server.loop, &server.listener), "uv_tcp_init");
    bench_check(uv_tcp_open(&server.listener, task->listener), "uv_tcp_open");
    bench_check(uv_listen((uv_stream_t *)&server.listener, ECHO_CONNECTIONS_MAX, on_connection),
                "uv_listen");
    bench_check(uv_run(&server.loop, UV_RUN_DEFAULT), "uv_run");
    bench_check(uv_loop_close(&server.loop), "uv_loop_close");
}
