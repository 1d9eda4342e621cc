/* Messages received: what a buffer pool costs beside a receive into a buffer of one's own.
 *
 * One thread writes so many messages of 64 bytes into a stream socket pair with one call, and runs
 * the context until they were received, again and again; each completion is one message. `own`
 * receives into its own buffer and submits the next receive in the callback; `deadline` does so
 * with a deadline that is far away; `pool` is one multishot receive whose callback looks at the
 * result alone, so that the buffer goes back by itself; `lease` takes each buffer and releases it;
 * `bundle` is `pool` where one completion brings all that is there (AIO_BUFFER_POOL_BUNDLES).
 * With --way one of them runs alone, so that a tool can count its instructions: the slope over two
 * values of --count is the cost of one message, its share of the write and of the turn included. */
#include "bench.h"

#include <aio_rs.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 64, BATCH_MAX = 256, QUEUE = 512 };

struct receiver {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    const aio_submit_options *options;
    int ours, theirs;
    uint64_t received;
    char buffer[SIZE];
};

struct workload {
    uint64_t count, batch;
};

static const aio_submit_options deadline = {
    .size = sizeof deadline,
    .timeout_ns = UINT64_C(30000000000),
};

static void on_own(void *user_data, int32_t result, uint32_t flags) {
    struct receiver *receiver = user_data;
    (void)flags;
    if (result == -ECANCELED)
        return;
    if (result != SIZE)
        bench_die("a receive of %d", (int)result);
    receiver->received++;
    if (aio_submit_recv(receiver->ctx, receiver->ours, receiver->buffer, SIZE, 0, receiver->options,
                        on_own, receiver) < 0)
        bench_die("aio_submit_recv in the callback");
}

static void on_pool(void *user_data, int32_t result, uint32_t flags) {
    struct receiver *receiver = user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    if (result != SIZE)
        bench_die("a receive of %d", (int)result);
    receiver->received++;
}

static void on_bundle(void *user_data, int32_t result, uint32_t flags) {
    struct receiver *receiver = user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    if (result <= 0 || result % SIZE != 0)
        bench_die("a receive of %d", (int)result);
    receiver->received += (uint64_t)(result / SIZE);
}

static void on_lease(void *user_data, int32_t result, uint32_t flags) {
    struct receiver *receiver = user_data;
    on_pool(user_data, result, flags);
    if (result < 0)
        return;
    aio_buffer_lease lease = {.size = sizeof lease};
    if (aio_ctx_take_buffer(receiver->ctx, &lease) < 0 ||
        aio_buffer_pool_release(receiver->pool, lease.id) < 0)
        bench_die("a buffer was not taken, or not released");
}

struct way {
    aio_callback callback;
    const aio_submit_options *options;
    uint32_t pool_flags;
};

static double sample(void *arg, const void *subject) {
    static const char messages[BATCH_MAX * SIZE];
    const struct workload *load = arg;
    const struct way *way = subject;
    struct receiver receiver = {.options = way->options};
    int fds[2];
    const aio_ctx_options options = {
        .size = sizeof options,
        .backend = AIO_BACKEND_URING,
        .sq_entries = QUEUE,
        .cq_entries = QUEUE,
    };
    const aio_buffer_pool_options buffers = {
        .size = sizeof buffers,
        .count = QUEUE,
        .buffer_size = SIZE,
        .flags = way->pool_flags,
    };
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        bench_die("socketpair: %s", strerror(errno));
    receiver.ours = fds[0];
    receiver.theirs = fds[1];
    bench_check(aio_ctx_create(&options, &receiver.ctx), "aio_ctx_create");
    if (way->callback == on_own) {
        bench_check(aio_submit_recv(receiver.ctx, receiver.ours, receiver.buffer, SIZE, 0,
                                    way->options, on_own, &receiver),
                    "aio_submit_recv");
    } else {
        bench_check(aio_buffer_pool_create(receiver.ctx, &buffers, &receiver.pool),
                    "aio_buffer_pool_create");
        bench_check(aio_submit_recv_multishot(receiver.ctx, receiver.ours, receiver.pool, 0, NULL,
                                              way->callback, &receiver),
                    "aio_submit_recv_multishot");
    }
    const uint64_t start_ns = bench_thread_cpu_ns();
    while (receiver.received < load->count) {
        const uint64_t goal = receiver.received + load->batch;
        const ssize_t len = (ssize_t)(load->batch * SIZE);
        if (write(receiver.theirs, messages, (size_t)len) != len)
            bench_die("write: %s", strerror(errno));
        while (receiver.received < goal)
            bench_check(aio_ctx_run_once(receiver.ctx, -1), "aio_ctx_run_once");
    }
    const double ns = (double)(bench_thread_cpu_ns() - start_ns) / (double)receiver.received;
    bench_check(aio_ctx_destroy(receiver.ctx), "aio_ctx_destroy");
    if (receiver.pool)
        bench_check(aio_buffer_pool_destroy(receiver.pool), "aio_buffer_pool_destroy");
    close(fds[0]);
    close(fds[1]);
    return ns;
}

static const struct way own = {on_own, NULL, 0}, timed = {on_own, &deadline, 0},
                        pool = {on_pool, NULL, 0}, lease = {on_lease, NULL, 0},
                        bundle = {on_bundle, NULL, AIO_BUFFER_POOL_BUNDLES};

static const struct bench_engine ways[] = {
    {"own", sample, BENCH_LIMIT, &own, NULL},
    {"deadline", sample, BENCH_ENGINE, &timed, NULL},
    {"pool", sample, BENCH_ENGINE, &pool, NULL},
    {"lease", sample, BENCH_ENGINE, &lease, NULL},
    {"bundle", sample, BENCH_ENGINE, &bundle, NULL},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

int main(int argc, char **argv) {
    uint64_t count = 200000, batch = 32, rounds = 31, cpu = 1;
    const char *way = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"way", NULL, &way, "run this one alone: own, deadline, pool, lease or bundle"},
        {"batch", &batch, NULL, "messages of one write"},
        {"count", &count, NULL, "messages of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B B A"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!batch || batch > BATCH_MAX || !count || count % batch)
        bench_die("--batch is at most %d, and --count a multiple of it", BATCH_MAX);
    bench_pin(cpu);
    struct workload load = {.count = count, .batch = batch};
    if (way) {
        struct bench_engine chosen[WAYS];
        if (bench_choose(ways, WAYS, way, chosen) != 1)
            bench_die("--way is one of own, deadline, pool, lease and bundle");
        printf("%s: %" PRIu64 " received, %.1f ns each\n", way, count,
               chosen[0].sample(&load, chosen[0].subject));
        return 0;
    }
    struct bench_report report;
    struct bench_figure figures[WAYS];
    char name[32];
    snprintf(name, sizeof name, "batch %" PRIu64, batch);
    bench_report_open(&report, "messages", "ns of CPU time per message", rounds, json);
    bench_compare(ways, WAYS, rounds, &load, figures);
    bench_report_case(&report, name, ways, figures, WAYS);
    return bench_report_close(&report);
}
