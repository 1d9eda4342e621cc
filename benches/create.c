/* Creating and destroying a context beside a bare ring with queues of the same sizes. What the
 * engine has besides the queues (slots, a mailbox with its eventfd, questions to the kernel) is in
 * its figure, and so is adoption, which is when the ring is enabled.
 *
 * The kernel takes rings apart later, on threads of its own and in interrupts that whoever runs is
 * charged for: each context is timed alone, the figure is the median of a sample, and before each
 * sample there is a pause for what the last one has left. Many in a row, without an end to that
 * work in sight, are the second case. Before each sample one operation is done on a ring that is
 * then thrown away, so that both are known to work. */
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { SQ_ENTRIES = 128, CQ_ENTRIES = 512 }; /* the defaults of a context */

/* For what the kernel does of itself. */
enum { PAUSE_US = 5000 };

struct workload {
    uint64_t count;
    double *each; /* nanoseconds of CPU time, by context of a sample */
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
    /* The context's thread is whoever asks first. */
    if (aio_ctx_next_timeout_ns(ctx) != -1)
        bench_die("a context without timers waits for one");
    if (use) {
        bench_check(aio_submit_nop(ctx, NULL, on_nop, &completed), "aio_submit_nop");
        bench_check(aio_ctx_run(ctx), "aio_ctx_run");
        if (completed != 1)
            bench_die("%" PRIu64 " completions of one", completed);
    }
    bench_check(aio_ctx_destroy(ctx), "aio_ctx_destroy");
}

static void once(const uint32_t *backend, bool use) {
    if (backend)
        aio_once(*backend, use);
    else
        bare_once(use);
}

/* Of the backend; NULL: of bare rings. */
static double sample(void *arg, const void *backend) {
    const struct workload *load = arg;
    usleep(PAUSE_US);
    once(backend, true);
    for (uint64_t i = 0; i < load->count; i++) {
        uint64_t start_ns = bench_thread_cpu_ns();
        once(backend, false);
        load->each[i] = (double)(bench_thread_cpu_ns() - start_ns);
    }
    return bench_median(load->each, load->count);
}

int main(int argc, char **argv) {
    static const uint32_t uring = AIO_BACKEND_URING, epoll = AIO_BACKEND_EPOLL;
    static const struct bench_engine engines[] = {
        {"bare", sample, BENCH_LIMIT, NULL, NULL},
        {"aio-uring", sample, BENCH_ENGINE, &uring, NULL},
        {"aio-epoll", sample, BENCH_ENGINE, &epoll, NULL},
    };
    enum { ENGINES = sizeof engines / sizeof engines[0] };
    struct workload load = {0};
    uint64_t count = 0, rounds = 31, cpu = 1;
    const char *names = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names,
         "run these alone, separated by commas: bare, aio-uring, aio-epoll"},
        {"count", &count, NULL, "contexts of one sample; 0: 50 and 1000"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    bench_pin(cpu);
    struct bench_engine chosen[ENGINES];
    size_t engine_count = bench_choose(engines, ENGINES, names, chosen);
    struct bench_figure figures[ENGINES];
    struct bench_report report;
    bench_report_open(&report, "Create and destroy a context, queues of 128 and 512",
                      "ns of CPU time", rounds, json);
    const uint64_t counts[] = {50, 1000};
    for (size_t i = 0; i < (count ? 1 : sizeof counts / sizeof *counts); i++) {
        char label[64];
        load.count = count ? count : counts[i];
        load.each = calloc(load.count, sizeof *load.each);
        if (!load.each)
            bench_die("no memory");
        snprintf(label, sizeof label, "%" PRIu64 " in a row", load.count);
        bench_compare(chosen, engine_count, rounds, &load, figures);
        bench_report_case(&report, label, chosen, figures, engine_count);
        free(load.each);
    }
    return bench_report_close(&report);
}
