/* NOPs on liburing: the flags of the ring that measure best of those that this version knows, and a
 * registered ring descriptor. */
#include "bench.h"
#include "nop.h"

#include <liburing.h>

static void start(struct io_uring *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (!sqe)
        bench_die("liburing takes no entry");
    io_uring_prep_nop(sqe);
    io_uring_sqe_set_data(sqe, ring);
}

double nop_liburing(void *arg, const void *subject) {
    const struct nop_load *load = arg;
    struct io_uring_params params = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_CQSIZE,
        .cq_entries = NOP_CQ_ENTRIES,
    };
    struct io_uring ring;
    uint64_t unstarted = load->count, completed = 0, failed = 0;
    (void)subject;
    bench_check(io_uring_queue_init_params(NOP_SQ_ENTRIES, &ring, &params),
                "io_uring_queue_init_params");
    bench_check(io_uring_register_ring_fd(&ring), "io_uring_register_ring_fd");
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->depth && unstarted; i++, unstarted--)
        start(&ring);
    while (completed < load->count) {
        bench_check(io_uring_submit_and_wait(&ring, 1), "io_uring_submit_and_wait");
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            failed |= (uint32_t)cqe->res | (io_uring_cqe_get_data(cqe) != &ring);
            seen++;
            if (unstarted) {
                unstarted--;
                start(&ring);
            }
        }
        io_uring_cq_advance(&ring, seen);
        completed += seen;
    }
    uint64_t spent_ns = bench_thread_cpu_ns() - start_ns;
    if (completed != load->count || failed)
        bench_die("a NOP of liburing failed");
    io_uring_queue_exit(&ring);
    return (double)spent_ns / (double)load->count;
}
