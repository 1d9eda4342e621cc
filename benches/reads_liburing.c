/* Reads on liburing, with the file and the buffers registered. */
#include "reads.h"

#include <liburing.h>
#include <stdlib.h>

static void ring_open(struct reads_run *run) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_CQSIZE,
        .cq_entries = READS_CQ_ENTRIES,
    };
    struct io_uring *ring = malloc(sizeof *ring);
    const struct iovec memory = {run->buffers, run->depth * READS_BLOCK};
    if (!ring)
        bench_die("no memory");
    bench_check(io_uring_queue_init_params(READS_SQ_ENTRIES, ring, &params),
                "io_uring_queue_init_params");
    bench_check(io_uring_register_ring_fd(ring), "io_uring_register_ring_fd");
    bench_check(io_uring_register_files(ring, &run->fd, 1), "io_uring_register_files");
    bench_check(io_uring_register_buffers(ring, &memory, 1), "io_uring_register_buffers");
    run->engine = ring;
}

static void ring_start(struct io_uring *ring, struct reads_slot *slot) {
    if (!reads_next(slot))
        return;
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe)
        bench_die("liburing takes no entry");
    io_uring_prep_read_fixed(sqe, 0, slot->buffer, READS_BLOCK, slot->offset, 0);
    io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, slot);
}

static void ring_run(struct reads_run *run) {
    struct io_uring *ring = run->engine;
    for (uint64_t i = 0; i < run->depth; i++)
        ring_start(ring, &run->slots[i]);
    while (run->completed < run->count) {
        bench_check(io_uring_submit_and_wait(ring, 1), "io_uring_submit_and_wait");
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(ring, head, cqe) {
            struct reads_slot *slot = io_uring_cqe_get_data(cqe);
            reads_done(slot, cqe->res);
            ring_start(ring, slot);
            seen++;
        }
        io_uring_cq_advance(ring, seen);
    }
}

static void ring_close(struct reads_run *run) {
    io_uring_queue_exit(run->engine);
    free(run->engine);
}

const struct reads_engine reads_liburing = {ring_open, ring_run, ring_close, NULL};
