/* Reads on the engine, the same for both backends: aio_submit_read, and aio_submit_read_fixed with
 * the file and the buffers registered, which is also there with records taken in batches. */
#include "reads.h"

#include <aio_rs.h>

enum { BATCH = 256 };

static const aio_submit_options of_slot = {
    .size = sizeof of_slot,
    .flags = AIO_SUBMIT_FIXED_FILE,
};

static void on_read(void *user_data, int32_t result, uint32_t flags);
static void on_read_fixed(void *user_data, int32_t result, uint32_t flags);

static void start(struct reads_slot *slot) {
    if (reads_next(slot))
        bench_check(aio_submit_read(slot->run->engine, slot->run->fd, slot->buffer, READS_BLOCK,
                                    slot->offset, NULL, on_read, slot),
                    "aio_submit_read");
}

static void on_read(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    reads_done(user_data, result);
    start(user_data);
}

/* Of slot 0 into buffer 0, which is all of them. */
static void start_fixed(struct reads_slot *slot, aio_callback callback) {
    if (reads_next(slot))
        bench_check(aio_submit_read_fixed(slot->run->engine, 0, slot->buffer, READS_BLOCK,
                                          slot->offset, 0, &of_slot, callback, slot),
                    "aio_submit_read_fixed");
}

static void on_read_fixed(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    reads_done(user_data, result);
    start_fixed(user_data, on_read_fixed);
}

static void open_on(struct reads_run *run, uint32_t backend) {
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = READS_SQ_ENTRIES,
        .cq_entries = READS_CQ_ENTRIES,
    };
    aio_ctx *ctx;
    bench_check(aio_ctx_create(&options, &ctx), "aio_ctx_create");
    run->engine = ctx;
}

static void register_both(struct reads_run *run) {
    const aio_files_options files = {.size = sizeof files, .count = 1};
    const struct iovec memory = {run->buffers, run->depth * READS_BLOCK};
    const aio_buffers_options buffers = {.size = sizeof buffers, .count = 1, .iov = &memory};
    const int32_t fd = run->fd;
    bench_check(aio_files_register(run->engine, &files), "aio_files_register");
    bench_check(aio_files_update(run->engine, 0, &fd, 1), "aio_files_update");
    bench_check(aio_buffers_register(run->engine, &buffers), "aio_buffers_register");
}

static void uring_open(struct reads_run *run) { open_on(run, AIO_BACKEND_URING); }

static void epoll_open(struct reads_run *run) { open_on(run, AIO_BACKEND_EPOLL); }

static void uring_open_fixed(struct reads_run *run) {
    uring_open(run);
    register_both(run);
}

static void epoll_open_fixed(struct reads_run *run) {
    epoll_open(run);
    register_both(run);
}

static void run_callbacks(struct reads_run *run) {
    for (uint64_t i = 0; i < run->depth; i++)
        start(&run->slots[i]);
    bench_check(aio_ctx_run(run->engine), "aio_ctx_run");
}

static void run_fixed(struct reads_run *run) {
    for (uint64_t i = 0; i < run->depth; i++)
        start_fixed(&run->slots[i], on_read_fixed);
    bench_check(aio_ctx_run(run->engine), "aio_ctx_run");
}

static void run_reap(struct reads_run *run) {
    static aio_completion batch[BATCH];
    for (uint64_t i = 0; i < run->depth; i++)
        start_fixed(&run->slots[i], AIO_CALLBACK_REAP);
    while (run->completed < run->count) {
        int32_t taken = aio_ctx_reap(run->engine, batch, sizeof batch[0], BATCH, -1);
        bench_check(taken, "aio_ctx_reap");
        for (int32_t i = 0; i < taken; i++) {
            struct reads_slot *slot = (struct reads_slot *)(uintptr_t)batch[i].user_data;
            reads_done(slot, batch[i].result);
            start_fixed(slot, AIO_CALLBACK_REAP);
        }
    }
}

static void close_both(struct reads_run *run) {
    bench_check(aio_ctx_destroy(run->engine), "aio_ctx_destroy");
}

const struct reads_engine reads_aio_uring = {uring_open, run_callbacks, close_both, NULL};
const struct reads_engine reads_aio_epoll = {epoll_open, run_callbacks, close_both, NULL};
const struct reads_engine reads_aio_uring_fixed = {uring_open_fixed, run_fixed, close_both, NULL};
const struct reads_engine reads_aio_epoll_fixed = {epoll_open_fixed, run_fixed, close_both, NULL};
const struct reads_engine reads_aio_uring_reap = {uring_open_fixed, run_reap, close_both, NULL};
