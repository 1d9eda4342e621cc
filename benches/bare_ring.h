/* A hand-written io_uring over the raw system calls: the limit that the engine is compared with.
 *
 * It uses the flags that measure best (one issuer, no index array, and completions deferred to the
 * wait, or, where many wait at once, only to the next system call) and a registered ring
 * descriptor, keeps its own copies of the queue positions, and stores the completion head once per
 * batch. It checks only what a correct program needs: there is no dispatch, no identity of
 * operations, no cancellation. One thread creates and uses a ring. Needs Linux 6.6. */
#pragma once

#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the headers of Linux 6.1 do not have. */
#ifndef IORING_SETUP_NO_MMAP
#define IORING_SETUP_NO_MMAP (1U << 14)
#define user_addr resv2 /* the fields' name until then */
#endif
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif

enum { BARE_PAGE = 4096 };

struct bare_ring {
    unsigned sq_tail;      /* our position; the kernel learns it in bare_ring_enter */
    unsigned sq_submitted; /* how far the kernel has taken entries */
    unsigned sq_entries;
    unsigned cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
    _Atomic unsigned *sq_tail_shared;
    _Atomic unsigned *cq_head_shared;
    _Atomic unsigned *cq_tail_shared;
    unsigned registered; /* the index of the ring descriptor in the task's table */
    int fd;
    void *rings;
    size_t rings_size;
    bool is_placed; /* in the program's own memory */
};

/* Unmaps and closes; nothing may be in flight. */
static inline void bare_ring_destroy(struct bare_ring *ring) {
    struct io_uring_rsrc_update slot = {.offset = ring->registered};
    syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_RING_FDS, &slot, 1);
    if (!ring->is_placed) {
        munmap(ring->sqes, ring->sq_entries * sizeof(struct io_uring_sqe));
        munmap(ring->rings, ring->rings_size);
    }
    close(ring->fd);
}

/* Both sizes are powers of two. `taskrun` says when the kernel takes completions in: the flag
 * IORING_SETUP_DEFER_TASKRUN or IORING_SETUP_COOP_TASKRUN. `memory`: where the entries and, behind
 * them from a page's begin, both queues are to be; NULL: where the kernel likes. Returns 0 or
 * -errno. */
static inline int bare_ring_create_with(struct bare_ring *ring, unsigned sq_entries,
                                        unsigned cq_entries, unsigned taskrun, char *memory) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | taskrun |
                 IORING_SETUP_NO_SQARRAY | IORING_SETUP_CQSIZE,
        .cq_entries = cq_entries,
    };
    memset(ring, 0, sizeof *ring);
    const size_t sqes_size = sq_entries * sizeof(struct io_uring_sqe);
    if (memory) {
        ring->is_placed = true;
        ring->rings = memory + (sqes_size + BARE_PAGE - 1) / BARE_PAGE * BARE_PAGE;
        params.flags |= IORING_SETUP_NO_MMAP;
        params.sq_off.user_addr = (uint64_t)memory;
        params.cq_off.user_addr = (uint64_t)ring->rings;
    }
    ring->fd = (int)syscall(__NR_io_uring_setup, sq_entries, &params);
    if (ring->fd < 0)
        return -errno;
    ring->sq_entries = params.sq_entries;
    ring->cq_mask = params.cq_entries - 1;
    ring->rings_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    void *sqes = memory;
    if (!memory) {
        const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
        ring->rings = mmap(NULL, ring->rings_size, prot, flags, ring->fd, IORING_OFF_SQ_RING);
        sqes = mmap(NULL, sqes_size, prot, flags, ring->fd, IORING_OFF_SQES);
    }
    struct io_uring_rsrc_update slot = {.offset = UINT32_MAX, .data = (uint64_t)ring->fd};
    /* The process ends after a failure here, so what was mapped is left to it. */
    if (ring->rings == MAP_FAILED || sqes == MAP_FAILED ||
        syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_RING_FDS, &slot, 1) != 1)
        return -errno;
    char *base = ring->rings;
    ring->sqes = sqes;
    ring->cqes = (struct io_uring_cqe *)(void *)(base + params.cq_off.cqes);
    ring->sq_tail_shared = (_Atomic unsigned *)(void *)(base + params.sq_off.tail);
    ring->cq_head_shared = (_Atomic unsigned *)(void *)(base + params.cq_off.head);
    ring->cq_tail_shared = (_Atomic unsigned *)(void *)(base + params.cq_off.tail);
    ring->registered = slot.offset;
    return 0;
}

/* The same as measures best but for messages from ring to ring, and many sockets. */
static inline int bare_ring_create(struct bare_ring *ring, unsigned sq_entries,
                                   unsigned cq_entries) {
    return bare_ring_create_with(ring, sq_entries, cq_entries, IORING_SETUP_DEFER_TASKRUN, NULL);
}

/* Hands over what was staged, waits for `wait` completions, returns 0 or -errno. `flags` and `arg`
 * say more about the wait. */
static inline int bare_ring_enter_with(struct bare_ring *ring, unsigned wait, unsigned flags,
                                       const void *arg, size_t arg_size) {
    /* Release: the kernel, which reads the tail with acquire, must see the entries before it. */
    atomic_store_explicit(ring->sq_tail_shared, ring->sq_tail, memory_order_release);
    flags |= IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING;
    long taken = syscall(__NR_io_uring_enter, ring->registered, ring->sq_tail - ring->sq_submitted,
                         wait, flags, arg, arg_size);
    if (taken < 0)
        return errno == EINTR ? 0 : -errno;
    ring->sq_submitted += (unsigned)taken;
    return 0;
}

static inline int bare_ring_enter(struct bare_ring *ring, unsigned wait) {
    return bare_ring_enter_with(ring, wait, 0, NULL, 0);
}

/* The next entry, zeroed. A full queue is handed over first; NULL when that fails. */
static inline struct io_uring_sqe *bare_ring_sqe(struct bare_ring *ring) {
    if (ring->sq_tail - ring->sq_submitted == ring->sq_entries &&
        (bare_ring_enter(ring, 0) < 0 || ring->sq_tail - ring->sq_submitted == ring->sq_entries))
        return NULL;
    struct io_uring_sqe *sqe = &ring->sqes[ring->sq_tail++ & (ring->sq_entries - 1)];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

/* The completions are at positions bare_ring_head up to bare_ring_tail; bare_ring_consume gives
 * their places back. */
static inline unsigned bare_ring_head(const struct bare_ring *ring) {
    return atomic_load_explicit(ring->cq_head_shared, memory_order_relaxed);
}

static inline unsigned bare_ring_tail(const struct bare_ring *ring) {
    /* Acquire: pairs with the kernel's release of the tail after it wrote the completions. */
    return atomic_load_explicit(ring->cq_tail_shared, memory_order_acquire);
}

static inline const struct io_uring_cqe *bare_ring_cqe(const struct bare_ring *ring,
                                                       unsigned position) {
    return &ring->cqes[position & ring->cq_mask];
}

static inline void bare_ring_consume(struct bare_ring *ring, unsigned head) {
    /* Release: the kernel must not write a place before we have read it. */
    atomic_store_explicit(ring->cq_head_shared, head, memory_order_release);
}
