/* What the kernel and a context offer beside the plainest way, and what it is worth: NOPs as in
 * nop.c, by hand on rings, and on the engine where the option is one of contexts.
 *
 *   bare             a ring by hand
 *   bare-skip        all but the last of a turn's NOPs tell nothing of their success
 *                    (IOSQE_CQE_SKIP_SUCCESS): what ignoring results could save at most
 *   bare-huge        the ring's memory is of one page of 2 MB (IORING_SETUP_NO_MMAP)
 *   bare-limit       each wait has a limit, which the kernel copies in; nothing ever waits for it
 *   bare-registered  the same whose limit lies where the kernel knows it (Linux 6.13)
 *   aio              a context
 *   aio-limit        one with a timer far away, so that its waits have a limit
 *   aio-registered   the same whose waits are registered (AIO_CTX_REGISTERED_WAIT) */
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>
#include <stdlib.h>

enum { SQ_ENTRIES = 256, CQ_ENTRIES = 512, HUGE_BYTES = 2 * 1024 * 1024 };

struct workload {
    uint64_t depth, count;
};

static double cost(const struct workload *load, uint64_t start_ns, uint64_t completed,
                   uint32_t results) {
    const uint64_t spent_ns = bench_thread_cpu_ns() - start_ns;
    if (completed != load->count || results)
        bench_die("%" PRIu64 " of %" PRIu64 " completed, results %#" PRIx32, completed, load->count,
                  results);
    return (double)spent_ns / (double)load->count;
}

/* --- by hand --- */

/* What the headers of Linux 6.1 do not have: include/uapi/linux/io_uring.h of 6.13. */
enum { REGISTER_MEM_REGION = 34, MEM_REGION_REG_WAIT_ARG = 1, MEM_REGION_TYPE_USER = 1 };
enum { ENTER_EXT_ARG_REG = 1 << 6, REG_WAIT_TS = 1 };
struct region {
    uint64_t user_addr, size;
    uint32_t flags, id;
    uint64_t mmap_offset, reserved[4];
};
struct region_registration {
    uint64_t region, flags, reserved[2];
};
struct registered_wait {
    int64_t seconds, nanoseconds;
    uint32_t min_wait_usec, flags;
    uint64_t sigmask;
    uint32_t sigmask_size, padding[7];
};

enum limit { NO_LIMIT, COPIED_LIMIT, REGISTERED_LIMIT };

struct by_hand {
    bool skips, is_huge;
    enum limit limit;
};

static void *huge_page(void) {
    void *memory = aligned_alloc(HUGE_BYTES, HUGE_BYTES);
    if (!memory || madvise(memory, HUGE_BYTES, MADV_HUGEPAGE) != 0)
        bench_die("no memory for a huge page: %s", strerror(errno));
    memset(memory, 0, HUGE_BYTES);
    return memory;
}

/* Lets the kernel know a page with one wait of half a minute, and enables the ring. */
static void register_wait(struct bare_ring *ring) {
    static struct registered_wait page[BARE_PAGE / sizeof(struct registered_wait)]
        __attribute__((aligned(BARE_PAGE)));
    page[0] = (struct registered_wait){.seconds = 30, .flags = REG_WAIT_TS};
    const struct region region = {
        .user_addr = (uint64_t)page,
        .size = sizeof page,
        .flags = MEM_REGION_TYPE_USER,
    };
    const struct region_registration registration = {
        .region = (uint64_t)&region,
        .flags = MEM_REGION_REG_WAIT_ARG,
    };
    const int fd = ring->fd;
    if (syscall(__NR_io_uring_register, fd, REGISTER_MEM_REGION, &registration, 1) < 0 ||
        syscall(__NR_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        bench_die("a registered wait: %s", strerror(errno));
}

static int enter(struct bare_ring *ring, enum limit limit) {
    static const struct __kernel_timespec half_a_minute = {.tv_sec = 30};
    const struct io_uring_getevents_arg copied = {.ts = (uint64_t)&half_a_minute};
    const uint32_t flags = IORING_ENTER_EXT_ARG;
    switch (limit) {
    case COPIED_LIMIT:
        return bare_ring_enter_with(ring, 1, flags, &copied, sizeof copied);
    case REGISTERED_LIMIT: /* at the page's begin */
        return bare_ring_enter_with(ring, 1, flags | ENTER_EXT_ARG_REG, NULL,
                                    sizeof(struct registered_wait));
    default:
        return bare_ring_enter(ring, 1);
    }
}

/* A turn's NOPs have one completion in the end where the others skip theirs. */
static double by_hand_sample(void *arg, const void *subject) {
    const struct workload *load = arg;
    const struct by_hand *how = subject;
    char *memory = how->is_huge ? huge_page() : NULL;
    const bool is_registered = how->limit == REGISTERED_LIMIT;
    struct bare_ring ring;
    bench_check(bare_ring_create_with(&ring, SQ_ENTRIES, CQ_ENTRIES,
                                      IORING_SETUP_DEFER_TASKRUN |
                                          (is_registered ? IORING_SETUP_R_DISABLED : 0),
                                      memory),
                "bare ring");
    if (is_registered)
        register_wait(&ring);
    uint64_t completed = 0;
    uint32_t results = 0;
    const uint64_t start_ns = bench_thread_cpu_ns();
    while (completed < load->count) {
        for (uint64_t i = 1; i <= load->depth; i++) {
            struct io_uring_sqe *sqe = bare_ring_sqe(&ring);
            if (!sqe)
                bench_die("the bare ring takes no entry");
            sqe->opcode = IORING_OP_NOP;
            sqe->flags = how->skips && i < load->depth ? IOSQE_CQE_SKIP_SUCCESS : 0;
            sqe->user_data = i;
        }
        bench_check(enter(&ring, how->limit), "enter");
        unsigned head = bare_ring_head(&ring), tail = bare_ring_tail(&ring);
        if (tail - head != (how->skips ? 1 : load->depth))
            bench_die("%u completions in a turn", tail - head);
        for (; head != tail; head++) {
            const struct io_uring_cqe *cqe = bare_ring_cqe(&ring, head);
            completed += how->skips ? cqe->user_data : 1;
            results |= (uint32_t)cqe->res;
        }
        bare_ring_consume(&ring, head);
    }
    const double ns = cost(load, start_ns, completed, results);
    bare_ring_destroy(&ring);
    free(memory);
    return ns;
}

/* --- the engine --- */

struct context {
    uint32_t flags;
    bool has_limit;
};

struct progress {
    aio_ctx *ctx;
    aio_op_id timer;
    uint64_t unstarted, completed;
    uint32_t results;
};

static void on_timer(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    (void)flags;
    if (result != -ECANCELED)
        bench_die("the timer ended with %d", (int)result);
}

static void on_nop(void *user_data, int32_t result, uint32_t flags) {
    struct progress *progress = user_data;
    (void)flags;
    progress->completed++;
    progress->results |= (uint32_t)result;
    if (progress->unstarted) {
        progress->unstarted--;
        if (aio_submit_nop(progress->ctx, NULL, on_nop, progress) < 0)
            bench_die("aio_submit_nop in the callback");
    } else if (progress->timer > 0) {
        bench_check(aio_ctx_cancel(progress->ctx, progress->timer), "aio_ctx_cancel");
        progress->timer = 0;
    }
}

static double context_sample(void *arg, const void *subject) {
    const struct workload *load = arg;
    const struct context *how = subject;
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = AIO_BACKEND_URING,
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
        .flags = how->flags,
    };
    struct progress progress = {.unstarted = load->count};
    bench_check(aio_ctx_create(&options, &progress.ctx), "aio_ctx_create");
    if (how->has_limit) {
        const uint64_t hour_ns = UINT64_C(3600000000000);
        progress.timer = aio_submit_timer(progress.ctx, hour_ns, NULL, on_timer, NULL);
        bench_check(progress.timer, "aio_submit_timer");
    }
    const uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t i = 0; i < load->depth; i++) {
        progress.unstarted--;
        bench_check(aio_submit_nop(progress.ctx, NULL, on_nop, &progress), "aio_submit_nop");
    }
    bench_check(aio_ctx_run(progress.ctx), "aio_ctx_run");
    const double ns = cost(load, start_ns, progress.completed, progress.results);
    bench_check(aio_ctx_destroy(progress.ctx), "aio_ctx_destroy");
    return ns;
}

/* --- cases --- */

static const struct by_hand plainly = {0}, skipping = {.skips = true}, huge = {.is_huge = true},
                            copying = {.limit = COPIED_LIMIT},
                            registering = {.limit = REGISTERED_LIMIT};
static const struct context plain = {0}, limited = {.has_limit = true},
                            registered = {AIO_CTX_REGISTERED_WAIT, true};

static const struct bench_engine skip[] = {
    {"bare", by_hand_sample, BENCH_LIMIT, &plainly, NULL},
    {"bare-skip", by_hand_sample, BENCH_ENGINE, &skipping, NULL},
};
static const struct bench_engine huge_pages[] = {
    {"bare", by_hand_sample, BENCH_LIMIT, &plainly, NULL},
    {"bare-huge", by_hand_sample, BENCH_ENGINE, &huge, NULL},
};
static const struct bench_engine waits[] = {
    {"bare", by_hand_sample, BENCH_LIMIT, &plainly, NULL},
    {"bare-limit", by_hand_sample, BENCH_ENGINE, &copying, NULL},
    {"bare-registered", by_hand_sample, BENCH_ENGINE, &registering, NULL},
    {"aio", context_sample, BENCH_ENGINE, &plain, NULL},
    {"aio-limit", context_sample, BENCH_ENGINE, &limited, NULL},
    {"aio-registered", context_sample, BENCH_ENGINE, &registered, NULL},
};

static const struct {
    const char *name;
    const struct bench_engine *engines;
    size_t engine_count;
    uint64_t depth;
} cases[] = {
    {"skip, depth 32", skip, sizeof skip / sizeof skip[0], 32},
    {"huge page, depth 256", huge_pages, sizeof huge_pages / sizeof huge_pages[0], 256},
    {"limited waits, depth 1", waits, sizeof waits / sizeof waits[0], 1},
};

int main(int argc, char **argv) {
    uint64_t count = 256000, rounds = 31, cpu = 1;
    const char *json = NULL;
    const struct bench_flag flags[] = {
        {"count", &count, NULL, "operations of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!count || count % SQ_ENTRIES)
        bench_die("--count is a multiple of %d", SQ_ENTRIES);
    bench_pin(cpu);
    struct bench_report report;
    bench_report_open(&report, "Options of rings", "ns of CPU time per NOP", rounds, json);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench_figure figures[BENCH_ENGINES_MAX];
        struct workload load = {.depth = cases[i].depth, .count = count};
        bench_compare(cases[i].engines, cases[i].engine_count, rounds, &load, figures);
        bench_report_case(&report, cases[i].name, cases[i].engines, figures, cases[i].engine_count);
    }
    return bench_report_close(&report);
}
