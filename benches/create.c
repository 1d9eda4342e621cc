/* Creating and destroying a context beside a bare ring with queues of the same sizes. What the
 * engine has besides the queues (slots, a mailbox with its eventfd, probes of the kernel that are
 * made once) is in its figure, and so is adoption, which is when the ring is enabled. The kernel
 * takes rings apart later, on threads of its own, which nobody here pays for. Before each sample
 * one operation is done on a ring that is then thrown away, so that both are known to work. */
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>

enum { SQ_ENTRIES = 128, CQ_ENTRIES = 512 }; /* the defaults of a context */

struct workload {
    uint64_t count;
};

static void bare_once(bool use) {
    struct bare_ring ring;
    bench_check(bare_ring_create(&ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    if (use) {
        bare_ring_sqe(&ring)->opcode = IORING_OP_NOP;
        bench_check(bare_ring_enter(&ring, 1), "enter");
        if (bare_ring_tail(&ring) != bare_ring_head(&ring) + 1)
            bench_die("not one completion");
    }
    bare_ring_destroy(&ring);
}

static void on_nop(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    bench_check(result, "nop");
    ++*(uint64_t *)user_data;
}

static void aio_once(uint32_t backend, bool use) {
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
    };
    aio_ctx *ctx;
    uint64_t completed = 0;
    bench_check(aio_ctx_create(&options, &ctx), "aio_ctx_create");
    bench_check(aio_ctx_flush(ctx), "aio_ctx_flush");
    if (use) {
        bench_check(aio_submit_nop(ctx, NULL, on_nop, &completed), "aio_submit_nop");
        bench_check(aio_ctx_run(ctx), "aio_ctx_run");
        if (completed != 1)
            bench_die("%" PRIu64 " completions of one", completed);
    }
    bench_check(aio_ctx_destroy(ctx), "aio_ctx_destroy");
}

static double bare_sample(void *arg, const void *subject) {
    const struct workload *load = arg;
    (void)subject;
    bare_once(true);
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->count; i++)
        bare_once(false);
    return (double)(bench_thread_cpu_ns() - start_ns) / (double)load->count;
}

static double aio_sample(void *arg, const void *backend) {
    const struct workload *load = arg;
    aio_once(*(const uint32_t *)backend, true);
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->count; i++)
        aio_once(*(const uint32_t *)backend, false);
    return (double)(bench_thread_cpu_ns() - start_ns) / (double)load->count;
}

int main(int argc, char **argv) {
    static const uint32_t uring = AIO_BACKEND_URING, epoll = AIO_BACKEND_EPOLL;
    static const struct bench_engine engines[] = {
        {"bare", bare_sample, BENCH_LIMIT, NULL, NULL},
        {"aio-uring", aio_sample, BENCH_ENGINE, &uring, NULL},
        {"aio-epoll", aio_sample, BENCH_ENGINE, &epoll, NULL},
    };
    enum { ENGINES = sizeof engines / sizeof engines[0] };
    struct workload load = {.count = 200};
    uint64_t rounds = 31, cpu = 1;
    const char *names = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names,
         "run these alone, separated by commas: bare, aio-uring, aio-epoll"},
        {"count", &load.count, NULL, "contexts of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!load.count)
        bench_die("--count is at least 1");
    bench_pin(cpu);
    struct bench_engine chosen[ENGINES];
    size_t count = bench_choose(engines, ENGINES, names, chosen);
    struct bench_figure figures[ENGINES];
    struct bench_report report;
    bench_report_open(&report, "Create and destroy a context", "ns of CPU time", rounds, json);
    bench_compare(chosen, count, rounds, &load, figures);
    bench_report_case(&report, "sizes 128 and 512", chosen, figures, count);
    return bench_report_close(&report);
}
