/* What the tests of buffer pools share: a pool of so many buffers, and an operation that takes
 * buffers of it, with everything that it was brought. */
#pragma once
#include "harness.h"

#define POOL_WITH(...) (&(aio_buffer_pool_options){sizeof(aio_buffer_pool_options), __VA_ARGS__})

/* What has come of one receive; on_flow takes every buffer. */
struct flow {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    int fd, other; /* what is received from, and its far end */
    int calls, finals, buffers;
    int32_t result; /* of the newest callback */
    uint32_t flags;
    int at_once; /* buffers of the newest callback */
    char data[8192];
    size_t len;
    bool keeps; /* buffers are kept, not released */
    aio_buffer_lease kept[64];
    int kept_count;
    void (*then)(struct flow *flow);
    void *arg;
};
void on_flow(void *user_data, int32_t result, uint32_t flags);
/* Counts, and leaves the buffers where they are. */
void on_flow_untaken(void *user_data, int32_t result, uint32_t flags);

aio_buffer_pool *make_pool(aio_ctx *ctx, const aio_buffer_pool_options *options);
aio_buffer_pool *make_pool_of(aio_ctx *ctx, uint32_t count, uint32_t buffer_size);
/* A stream pair and its flow. */
struct flow make_flow(aio_ctx *ctx, aio_buffer_pool *pool);
void close_flow(struct flow *flow);
aio_op_id flow_receive(struct flow *flow); /* recv_multishot */
void flow_send(const struct flow *flow, const char *text);
void flow_release(struct flow *flow); /* what is kept */
void check_flow(const struct flow *flow, const char *text);
void check_ends(aio_ctx *ctx, struct flow *flow, int32_t result);
aio_pool_info info_of(aio_buffer_pool *pool);
uint64_t cpu_us(void); /* of this thread */
