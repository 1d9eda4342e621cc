/* Reads by hand: pread(2), and a ring, also with the file and the buffers registered. */
#include "bare_ring.h"
#include "reads.h"

#include <stdlib.h>
#include <sys/uio.h>

static bool is_fixed; /* in this process */

static void nothing(struct reads_run *run) { (void)run; }

static void pread_run(struct reads_run *run) {
    /* Through all buffers, as the others go: a single one would stay in the first-level cache. */
    for (uint64_t i = 0; reads_next(&run->slots[i]); i = (i + 1) % run->depth) {
        struct reads_slot *slot = &run->slots[i];
        ssize_t result = pread(run->fd, slot->buffer, READS_BLOCK, (off_t)slot->offset);
        reads_done(slot, result < 0 ? -errno : result);
    }
}

static void bare_open(struct reads_run *run) {
    struct bare_ring *ring = malloc(sizeof *ring);
    if (!ring)
        bench_die("no memory");
    bench_check(bare_ring_create(ring, READS_SQ_ENTRIES, READS_CQ_ENTRIES), "bare ring");
    run->engine = ring;
}

static void bare_open_fixed(struct reads_run *run) {
    const struct iovec memory = {run->buffers, run->depth * READS_BLOCK};
    bare_open(run);
    const struct bare_ring *ring = run->engine;
    if (syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES, &run->fd, 1) < 0 ||
        syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, &memory, 1) < 0)
        bench_die("the file and the buffers: %s", strerror(errno));
    is_fixed = true;
}

static void bare_start(struct reads_run *run, uint64_t index) {
    struct reads_slot *slot = &run->slots[index];
    if (!reads_next(slot))
        return;
    struct io_uring_sqe *sqe = bare_ring_sqe(run->engine);
    if (!sqe)
        bench_die("the bare ring takes no entry");
    sqe->off = slot->offset;
    sqe->addr = (uintptr_t)slot->buffer;
    sqe->len = READS_BLOCK;
    sqe->user_data = index;
    if (is_fixed) {
        /* Of file 0 into buffer 0, which is all of them. */
        sqe->opcode = IORING_OP_READ_FIXED;
        sqe->flags = IOSQE_FIXED_FILE;
    } else {
        sqe->opcode = IORING_OP_READ;
        sqe->fd = run->fd;
    }
}

static void bare_run(struct reads_run *run) {
    struct bare_ring *ring = run->engine;
    for (uint64_t i = 0; i < run->depth; i++)
        bare_start(run, i);
    while (run->completed < run->count) {
        bench_check(bare_ring_enter(ring, 1), "enter");
        unsigned head = bare_ring_head(ring), tail = bare_ring_tail(ring);
        for (; head != tail; head++) {
            const struct io_uring_cqe *cqe = bare_ring_cqe(ring, head);
            reads_done(&run->slots[cqe->user_data], cqe->res);
            bare_start(run, cqe->user_data);
        }
        bare_ring_consume(ring, head);
    }
}

static void bare_close(struct reads_run *run) {
    bare_ring_destroy(run->engine);
    free(run->engine);
}

const struct reads_engine reads_pread = {nothing, pread_run, nothing, NULL};
const struct reads_engine reads_bare = {bare_open, bare_run, bare_close, NULL};
const struct reads_engine reads_bare_fixed = {bare_open_fixed, bare_run, bare_close, NULL};
