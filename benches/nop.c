/* NOP at several depths: what the engine costs beside a bare ring, with nothing else in the way.
 *
 * `depth` chains run at once: the completion of an operation starts the next one, in the loop of
 * the bare ring and in the callback of the engine. Both rings have the same sizes and flags. With
 * --engine one engine runs alone, so that a tool can count its instructions exactly: the slope
 * over two values of --count is the cost of one operation. With --snapshots another thread reads
 * the context's counters meanwhile; with --histograms and --trace it is observed in these ways.
 *
 *   bare            a hand-written ring
 *   aio, aio-epoll  the engine on each of its backends
 *   aio-reap        with completions taken in batches
 *   aio-coroutine   awaited in C++: nop_coroutine.cpp
 *   liburing        nop_liburing.c, where it was found at the build
 *   compio, kimojio programs of benches/peers, with --peers: processes of their own */
#include "nop.h"
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { SQ_ENTRIES = NOP_SQ_ENTRIES, CQ_ENTRIES = NOP_CQ_ENTRIES, DEPTH_MAX = SQ_ENTRIES };
enum { BATCH = 256 };

/* What a run of either engine counts. */
struct progress {
    aio_ctx *ctx;
    uint64_t unstarted;
    uint64_t completed;
    uint64_t failed; /* the results, which are all 0, or-ed together */
};

static double cost(const struct nop_load *load, const struct progress *progress,
                   uint64_t start_ns) {
    uint64_t spent_ns = bench_thread_cpu_ns() - start_ns;
    if (progress->completed != load->count || progress->failed)
        bench_die("%" PRIu64 " of %" PRIu64 " completed, results %#" PRIx64, progress->completed,
                  load->count, progress->failed);
    return (double)spent_ns / (double)load->count;
}

static void bare_start(struct bare_ring *ring, struct progress *progress) {
    struct io_uring_sqe *sqe = bare_ring_sqe(ring);
    if (!sqe)
        bench_die("the bare ring takes no entry");
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = progress->unstarted;
    progress->unstarted--;
}

static double bare_sample(void *arg, const void *subject) {
    (void)subject;
    const struct nop_load *load = arg;
    struct progress progress = {.unstarted = load->count};
    struct bare_ring ring;
    bench_check(bare_ring_create(&ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->depth && progress.unstarted; i++)
        bare_start(&ring, &progress);
    while (progress.completed < load->count) {
        bench_check(bare_ring_enter(&ring, 1), "enter");
        unsigned head = bare_ring_head(&ring), tail = bare_ring_tail(&ring);
        for (; head != tail; head++) {
            const struct io_uring_cqe *cqe = bare_ring_cqe(&ring, head);
            progress.completed++;
            progress.failed |= (uint32_t)cqe->res;
            if (progress.unstarted)
                bare_start(&ring, &progress);
        }
        bare_ring_consume(&ring, head);
    }
    double ns = cost(load, &progress, start_ns);
    bare_ring_destroy(&ring);
    return ns;
}

static void on_nop(void *user_data, int32_t result, uint32_t flags) {
    struct progress *progress = user_data;
    (void)flags;
    progress->completed++;
    progress->failed |= (uint32_t)result;
    if (progress->unstarted) {
        progress->unstarted--;
        if (aio_submit_nop(progress->ctx, NULL, on_nop, progress) < 0)
            bench_die("aio_submit_nop in the callback");
    }
}

/* Whoever exports the counters. */
struct watcher {
    pthread_t thread;
    aio_ctx *ctx;
    uint64_t interval_ns;
    uint64_t snapshots;
    atomic_bool is_over;
};

static void *watch(void *arg) {
    struct watcher *watcher = arg;
    /* On any CPU: the context's is pinned. */
    cpu_set_t cpus;
    memset(&cpus, 0xff, sizeof cpus);
    bench_check(-pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus), "setaffinity");
    do {
        aio_stats stats = {.size = sizeof stats};
        aio_operation_stats row = {.size = sizeof row};
        bench_check(aio_ctx_stats(watcher->ctx, &stats), "aio_ctx_stats");
        bench_check(aio_ctx_operation_stats(watcher->ctx, 0, &row), "aio_ctx_operation_stats");
        watcher->snapshots++;
        nanosleep(&(struct timespec){.tv_nsec = (long)watcher->interval_ns}, NULL);
    } while (!atomic_load(&watcher->is_over));
    return NULL;
}

static void watcher_start(struct watcher *watcher, const struct nop_load *load) {
    if (load->snapshots) {
        watcher->interval_ns = 1000000000 / load->snapshots;
        bench_check(-pthread_create(&watcher->thread, NULL, watch, watcher), "pthread_create");
    }
}

static void watcher_end(struct watcher *watcher, const struct nop_load *load) {
    if (load->snapshots) {
        atomic_store(&watcher->is_over, true);
        bench_check(-pthread_join(watcher->thread, NULL), "pthread_join");
        if (!watcher->snapshots)
            bench_die("no snapshot was taken");
    }
}

static void on_event(void *arg, aio_ctx *ctx, const aio_trace_event *event) {
    (void)ctx;
    *(uint64_t *)arg += event->kind == AIO_TRACE_COMPLETE;
}

/* What was observed is what has happened. */
static void check_observed(aio_ctx *ctx, const struct nop_load *load, uint64_t traced) {
    aio_histogram histogram = {.size = sizeof histogram};
    if (load->histograms)
        bench_check(aio_ctx_histogram(ctx, 0, 0, NULL, 0, NULL, &histogram), "aio_ctx_histogram");
    if ((load->histograms && histogram.count != load->count) ||
        (load->trace && traced != load->count))
        bench_die("%" PRIu64 " latencies, %" PRIu64 " events of %" PRIu64 " operations",
                  histogram.count, traced, load->count);
}

static aio_ctx *create_context(uint32_t backend, const struct nop_load *load) {
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = backend,
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
        .flags = load->histograms ? AIO_CTX_HISTOGRAMS : 0,
    };
    aio_ctx *ctx;
    bench_check(aio_ctx_create(&options, &ctx), "aio_ctx_create");
    return ctx;
}

static double aio_sample(void *arg, const void *backend) {
    const struct nop_load *load = arg;
    struct progress progress = {.unstarted = load->count};
    progress.ctx = create_context(*(const uint32_t *)backend, load);
    uint64_t traced = 0;
    if (load->trace)
        bench_check(aio_ctx_set_trace(progress.ctx, on_event, &traced), "aio_ctx_set_trace");
    struct watcher watcher = {.ctx = progress.ctx};
    watcher_start(&watcher, load);
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->depth && progress.unstarted; i++) {
        progress.unstarted--;
        bench_check(aio_submit_nop(progress.ctx, NULL, on_nop, &progress), "aio_submit_nop");
    }
    bench_check(aio_ctx_run(progress.ctx), "aio_ctx_run");
    double ns = cost(load, &progress, start_ns);
    watcher_end(&watcher, load);
    check_observed(progress.ctx, load, traced);
    bench_check(aio_ctx_destroy(progress.ctx), "aio_ctx_destroy");
    return ns;
}

static void reap_start(struct progress *progress) {
    progress->unstarted--;
    bench_check(aio_submit_nop(progress->ctx, NULL, AIO_CALLBACK_REAP, progress), "aio_submit_nop");
}

static double reap_sample(void *arg, const void *backend) {
    static aio_completion batch[BATCH];
    const struct nop_load *load = arg;
    struct progress progress = {.unstarted = load->count};
    progress.ctx = create_context(*(const uint32_t *)backend, load);
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->depth && progress.unstarted; i++)
        reap_start(&progress);
    while (progress.completed < load->count) {
        int32_t taken = aio_ctx_reap(progress.ctx, batch, sizeof batch[0], BATCH, -1);
        bench_check(taken, "aio_ctx_reap");
        for (int32_t i = 0; i < taken; i++) {
            progress.completed++;
            progress.failed |= (uint32_t)batch[i].result;
            if (progress.unstarted)
                reap_start(&progress);
        }
    }
    double ns = cost(load, &progress, start_ns);
    bench_check(aio_ctx_destroy(progress.ctx), "aio_ctx_destroy");
    return ns;
}

/* --- programs --- */

struct program {
    const char *name;
    const struct nop_load *load;
};

static void program_main(int channel, void *arg) {
    const struct program *program = arg;
    const uint64_t numbers[] = {bench_inherit(channel), program->load->depth, program->load->count};
    bench_become(program->name, "nop", numbers, sizeof numbers / sizeof numbers[0]);
}

static double program_sample(void *arg, const void *name) {
    struct program program = {name, arg};
    return (double)bench_child_cost(program_main, &program, false) / (double)program.load->count;
}

static const uint32_t uring = AIO_BACKEND_URING, epoll = AIO_BACKEND_EPOLL;

static const struct bench_engine engines[] = {
    {"bare", bare_sample, BENCH_LIMIT, NULL, NULL},
    {"aio", aio_sample, BENCH_ENGINE, &uring, NULL},
    {"aio-reap", reap_sample, BENCH_ENGINE, &uring, NULL},
    {"aio-epoll", aio_sample, BENCH_ENGINE, &epoll, NULL},
    {"aio-coroutine", nop_coroutine, BENCH_ENGINE, NULL, NULL},
#ifdef BENCH_LIBURING
    {"liburing", nop_liburing, BENCH_ENGINE, NULL, NULL},
#endif
    {"compio", program_sample, BENCH_PEER, "peer-compio", "peer-compio"},
    {"kimojio", program_sample, BENCH_PEER, "peer-kimojio", "peer-kimojio"},
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

static int run_alone(const char *name, struct nop_load *load) {
    struct bench_engine engine;
    if (bench_choose(engines, ENGINES, name, &engine) != 1)
        bench_die("--engine is one");
    double ns = engine.sample(load, engine.subject);
    printf("%s depth %" PRIu64 ": %" PRIu64 " completed, %.1f ns per operation\n", name,
           load->depth, load->count, ns);
    return 0;
}

int main(int argc, char **argv) {
    uint64_t depth = 0, count = 200000, rounds = 31, cpu = 1, snapshots = 0;
    uint64_t histograms = 0, trace = 0;
    const char *engine = NULL, *names = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engine", NULL, &engine, "run this one alone, for tools that count"},
        {"engines", NULL, &names, "run these, separated by commas, see nop.c"},
        {"peers", NULL, &bench_peers, "the folder of the programs of benches/peers"},
        {"depth", &depth, NULL, "operations in flight; 0: 1, 32 and 256"},
        {"count", &count, NULL, "operations of one sample"},
        {"snapshots", &snapshots, NULL, "of the engine's counters per second, at most 1000000"},
        {"histograms", &histograms, NULL, "1: the engine keeps latencies"},
        {"trace", &trace, NULL, "1: the engine's events are counted by a trace callback"},
        {"rounds", &rounds, NULL, "rounds of A B B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (depth > DEPTH_MAX || !count)
        bench_die("--depth is at most %d, --count at least 1", DEPTH_MAX);
    if (snapshots > 1000000)
        bench_die("--snapshots is at most 1000000");
    bench_pin(cpu);
    struct nop_load load = {.depth = depth ? depth : 1,
                            .count = count,
                            .snapshots = snapshots,
                            .histograms = histograms,
                            .trace = trace};
    if (engine)
        return run_alone(engine, &load);

    struct bench_engine chosen[ENGINES];
    size_t chosen_count = bench_choose(engines, ENGINES, names, chosen);
    struct bench_report report;
    bench_report_open(&report, "NOP", "ns of CPU time per operation", rounds, json);
    const uint64_t depths[] = {1, 32, 256};
    for (size_t i = 0; i < (depth ? 1 : sizeof depths / sizeof depths[0]); i++) {
        struct bench_figure figures[ENGINES];
        char name[32];
        if (!depth)
            load.depth = depths[i];
        snprintf(name, sizeof name, "depth %" PRIu64, load.depth);
        bench_compare(chosen, chosen_count, rounds, &load, figures);
        bench_report_case(&report, name, chosen, figures, chosen_count);
    }
    return bench_report_close(&report);
}
