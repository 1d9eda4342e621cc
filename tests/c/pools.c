/* See pools.h. */
#include "pools.h"

#include <sys/resource.h>

static struct flow *note(void *user_data, int32_t result, uint32_t flags) {
    struct flow *flow = user_data;
    CHECK_EQ(flow->finals, 0);
    flow->calls++;
    flow->finals += !(flags & AIO_CQE_MORE);
    flow->result = result;
    flow->flags = flags;
    flow->at_once = 0;
    CHECK_EQ((flags & AIO_CQE_BUFFER) != 0, result > 0);
    return flow;
}

void on_flow(void *user_data, int32_t result, uint32_t flags) {
    struct flow *flow = note(user_data, result, flags);
    aio_buffer_lease lease = {.size = sizeof lease};
    int32_t status, sum = 0;
    while ((status = aio_ctx_take_buffer(flow->ctx, &lease)) == 0) {
        CHECK_LE(flow->len + lease.len, sizeof flow->data);
        memcpy(flow->data + flow->len, lease.data, lease.len);
        flow->len += lease.len;
        sum += (int32_t)lease.len;
        flow->at_once++;
        flow->buffers++;
        if (flow->keeps) {
            CHECK_LT(flow->kept_count, COUNT_OF(flow->kept));
            flow->kept[flow->kept_count++] = lease;
        } else {
            CHECK_EQ(aio_buffer_pool_release(flow->pool, lease.id), 0);
        }
    }
    CHECK_EQ(status, -ENOENT);
    CHECK_EQ(sum, result > 0 ? result : 0);
    if (flow->then)
        flow->then(flow);
}

void on_flow_untaken(void *user_data, int32_t result, uint32_t flags) {
    struct flow *flow = note(user_data, result, flags);
    if (result > 0)
        flow->len += (size_t)result;
    if (flow->then)
        flow->then(flow);
}

aio_buffer_pool *make_pool(aio_ctx *ctx, const aio_buffer_pool_options *options) {
    aio_buffer_pool *pool = NULL;
    CHECK_EQ(aio_buffer_pool_create(ctx, options, &pool), 0);
    CHECK(pool != NULL);
    return pool;
}

aio_buffer_pool *make_pool_of(aio_ctx *ctx, uint32_t count, uint32_t buffer_size) {
    return make_pool(ctx, POOL_WITH(.count = count, .buffer_size = buffer_size));
}

struct flow make_flow(aio_ctx *ctx, aio_buffer_pool *pool) {
    int fds[2];
    make_socket_pair(fds);
    return (struct flow){.ctx = ctx, .pool = pool, .fd = fds[0], .other = fds[1]};
}

void close_flow(struct flow *flow) {
    close(flow->fd);
    if (flow->other >= 0)
        close(flow->other);
}

aio_op_id flow_receive(struct flow *flow) {
    return ID(aio_submit_recv_multishot(flow->ctx, flow->fd, flow->pool, 0, NULL, on_flow, flow));
}

void flow_send(const struct flow *flow, const char *text) {
    write_all_or_fail(flow->other, text, strlen(text));
}

void flow_release(struct flow *flow) {
    while (flow->kept_count)
        CHECK_EQ(aio_buffer_pool_release(flow->pool, flow->kept[--flow->kept_count].id), 0);
}

void check_flow(const struct flow *flow, const char *text) {
    CHECK_EQ(flow->len, strlen(text));
    CHECK_MEM(flow->data, text, flow->len);
}

void check_ends(aio_ctx *ctx, struct flow *flow, int32_t result) {
    RUN_UNTIL(ctx, flow->finals == 1);
    CHECK_EQ(flow->result, result);
}

aio_pool_info info_of(aio_buffer_pool *pool) {
    aio_pool_info info = {.size = sizeof info};
    CHECK_EQ(aio_buffer_pool_info(pool, &info), 0);
    return info;
}

uint64_t cpu_us(void) {
    struct rusage usage;
    SYS(getrusage(RUSAGE_THREAD, &usage));
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
