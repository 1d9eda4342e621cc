/* The server of datagrams on libuv: uv_udp_recv_start once, and uv_udp_try_send, which always finds
 * room here. */
#include "udp.h"

#include <uv.h>

static char buffer[UDP_SIZE_MAX];
static uint64_t left;

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)handle, (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void on_datagram(uv_udp_t *socket, ssize_t received, const uv_buf_t *data,
                        const struct sockaddr *from, unsigned flags) {
    (void)flags;
    bench_check(received, "uv_udp_recv_start");
    if (!from)
        return; /* nothing more to read */
    if (received == 0) {
        if (--left == 0)
            uv_close((uv_handle_t *)socket, NULL);
        return;
    }
    const uv_buf_t reply = uv_buf_init(data->base, (unsigned)received);
    if (uv_udp_try_send(socket, &reply, 1, from) != received)
        bench_die("uv_udp_try_send");
}

void udp_libuv(const struct echo_task *task) {
    uv_loop_t loop;
    uv_udp_t socket;
    left = task->connections;
    bench_check(uv_loop_init(&loop), "uv_loop_init");
    bench_check(uv_udp_init(&loop, &socket), "uv_udp_init");
    bench_check(uv_udp_open(&socket, task->listener), "uv_udp_open");
    bench_check(uv_udp_recv_start(&socket, on_buffer, on_datagram), "uv_udp_recv_start");
    bench_check(uv_run(&loop, UV_RUN_DEFAULT), "uv_run");
}
