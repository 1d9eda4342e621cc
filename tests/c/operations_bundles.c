/* The row of sends of a pool's buffers. */
#include "operations.h"

#define BUFFERS 4

static void make_outgoing(struct env *e) {
    const aio_buffer_pool_options options = {
        .size = sizeof options, .count = BUFFERS, .buffer_size = 64, .flags = AIO_BUFFER_POOL_SEND};
    CHECK_EQ(aio_buffer_pool_create(e->ctx, &options, &e->pool), 0);
}

static void queue_text(struct env *e, const char *text) {
    aio_buffer_lease lease = {.size = sizeof lease};
    CHECK_EQ(aio_buffer_pool_take(e->pool, &lease), 0);
    memcpy(lease.data, text, strlen(text));
    CHECK_EQ(aio_buffer_pool_queue(e->pool, lease.id, strlen(text)), 0);
}

static void with_queue(struct env *e) {
    int fds[2];
    make_tcp_pair(fds);
    env_keep_both(e, fds);
    make_outgoing(e);
    queue_text(e, "hel");
    queue_text(e, "lo, ");
    queue_text(e, "world");
}

static void with_full_socket(struct env *e) {
    with_queue(e);
    fill_until_full(e->fd);
}

static void read_everything(struct env *e) { drain_until_empty(e->other); }

SUBMIT(submit_send_bundle) {
    return aio_submit_send_bundle(e->ctx, e->fd, e->pool, MSG_NOSIGNAL, o, cb, u);
}

static void check_bundle(struct env *e, int32_t result) {
    char back[64] = {0};
    aio_pool_info info = {.size = sizeof info};
    CHECK_EQ(result, 0);
    if (aio_buffer_pool_info(e->pool, &info) == 0) { /* unless the context is gone */
        CHECK_EQ(info.queued, 0);
        CHECK_EQ(info.free, BUFFERS);
    }
    size_t len = 0;
    while (len < 12 || is_readable(e->other, 0)) {
        const ssize_t got = read(e->other, back, sizeof back);
        CHECK_GT(got, 0);
        len += (size_t)got;
    }
    if (len == 12)
        CHECK_MEM(back, "hello, world", 12);
}

ROW(send_bundle, .shown = "send", .setup = with_queue, .check = check_bundle,
    .block = with_full_socket, .unblock = read_everything, .bundled = true);

FAILS(send_bundle, EBADF, -EBADF) {
    with_queue(e);
    e->fd = 9999;
    return submit_send_bundle(e, o, cb, u);
}

FAILS(send_bundle, ENOTSOCK, -ENOTSOCK) {
    with_queue(e);
    e->fd = env_file(e, e->path, "file", O_RDWR);
    return submit_send_bundle(e, o, cb, u);
}

FAILS(send_bundle, EPIPE, -EPIPE) {
    with_queue(e);
    SYS(shutdown(e->fd, SHUT_WR));
    return submit_send_bundle(e, o, cb, u);
}

FAILS(send_bundle, ENOBUFS, -ENOBUFS) {
    make_outgoing(e);
    return submit_send_bundle(e, o, cb, u);
}

FAILS(send_bundle, EBUSY, -EBUSY) {
    struct call first = {0};
    with_full_socket(e);
    ID(submit_send_bundle(e, NULL, on_call, &first));
    const aio_op_id id = submit_send_bundle(e, o, cb, u);
    CHECK_EQ(aio_ctx_cancel_all(e->ctx), 1);
    CHECK_EQ(await_call(e->ctx, &first), -ECANCELED);
    return id;
}

FAILS(send_bundle, EINVAL_without_a_pool, -EINVAL) { return submit_send_bundle(e, o, cb, u); }

FAILS(send_bundle, EINVAL_of_a_pool_for_receives, -EINVAL) {
    CHECK_EQ(aio_buffer_pool_create(e->ctx, NULL, &e->pool), 0);
    return submit_send_bundle(e, o, cb, u);
}

FAILS(send_bundle, EINVAL_in_front_of_a_link, -EINVAL) {
    with_queue(e);
    (void)o;
    return submit_send_bundle(e, WITH(.flags = AIO_SUBMIT_LINK), cb, u);
}
