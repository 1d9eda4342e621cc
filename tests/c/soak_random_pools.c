/* The operations of soak_random that take their buffers from a pool: what a buffer brings, and who
 * takes it, keeps it or lets it be. */
#include "soak_random.h"

enum { KEPT = 8 };

static int64_t kept[KEPT]; /* leases of this round's pool; 0: none */

void open_pool(void) {
    const aio_buffer_pool_options options = {.size = sizeof options,
                                             .count = 1 + (uint32_t)dice(6),
                                             .buffer_size = 1 + (uint32_t)dice(BYTES),
                                             .flags = (uint32_t)dice(4)};
    CHECK_EQ(aio_buffer_pool_create(w.ctx, &options, &w.pool), 0);
}

static void release(int64_t lease) { CHECK_EQ(aio_buffer_pool_release(w.pool, lease), 0); }

/* Some other lease goes back instead of this one. */
static void keep(int64_t lease) {
    int64_t *place = &kept[dice(KEPT)];
    if (*place)
        release(*place);
    *place = lease;
    if (dice(2) == 0) {
        release(*place);
        *place = 0;
    }
}

void close_pool(void) {
    CHECK_EQ(aio_buffer_pool_destroy(w.pool), 0);
    for (int i = 0; i < KEPT; i++)
        if (kept[i])
            release(kept[i]);
    memset(kept, 0, sizeof kept);
}

/* What was sent into this pair. */
static void check_lease(const struct op *op, const aio_buffer_lease *lease) {
    for (uint32_t i = 0; i < lease->len; i++)
        CHECK_EQ(((const char *)lease->data)[i], 'A' + op->pair);
    keep(lease->id);
}

void take_record(const struct op *op, int64_t id) {
    aio_buffer_lease lease = {.size = sizeof lease};
    CHECK_EQ(aio_buffer_pool_find(w.pool, id, &lease), 0);
    check_lease(op, &lease);
}

bool pool_received(const struct op *op, int32_t result) {
    aio_buffer_lease lease = {.size = sizeof lease};
    uint32_t sum = 0;
    if (result < 1 || op->callback == AIO_CALLBACK_REAP || dice(3) == 0)
        return result > 0;
    while (aio_ctx_take_buffer(w.ctx, &lease) == 0) {
        sum += lease.len;
        check_lease(op, &lease);
    }
    return sum == (uint32_t)result;
}

aio_op_id submit_recv_multishot(struct op *op, const aio_submit_options *options) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_recv_multishot(w.ctx, op->fd, w.pool, 0, options, op->callback, op);
}

aio_op_id submit_recv_pooled(struct op *op, const aio_submit_options *options) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_recv_pooled(w.ctx, op->fd, w.pool, 0, options, op->callback, op);
}

aio_op_id submit_read_multishot(struct op *op, const aio_submit_options *options) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_read_multishot(w.ctx, op->fd, w.pool, options, op->callback, op);
}

aio_op_id submit_recv_multishot_on_slot(struct op *op, const aio_submit_options *options) {
    aio_submit_options on_slot = {.size = sizeof on_slot};
    if (options)
        on_slot = *options;
    on_slot.flags |= AIO_SUBMIT_FIXED_FILE;
    return aio_submit_recv_multishot(w.ctx, op->pair, w.pool, 0, &on_slot, op->callback, op);
}
