/* Timers of the engine with 1,000 to 1,000,000 outstanding: what it costs to arm one and cancel a
 * random other one, to arm, and to fire.
 *
 * The outstanding timers are due in one to two hours, so that none fires while another is
 * cancelled. In the part on firing all are due within 10 ms, the thread sleeps until the last one
 * is, and the time of the loop is divided by their number. A last, unmeasured part arms as many
 * over half a second, runs the loop live, and compares each with the clock: none may be early.
 *
 *   bare                    no engine, only what the memory of so many costs (timers_bare.c)
 *   aio, aio-epoll          the engine on each of its backends
 *   libuv, libevent, asio   timers_<name>, where they were found at the build
 *   tokio                   a program of benches/peers, with --peers */
#include "timers.h"

#include <aio_rs.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { LIVE_US = 500 * 1000 };

struct workload {
    aio_ctx *ctx;
    uint64_t outstanding, pairs, seed;
    uint64_t fired, cancelled, early;
    uint64_t arm_ns, fire_ns; /* of the last arm_and_fire */
    uint32_t backend;
    uint64_t *ids;
    uint64_t *due_ns;
};

static struct workload *current; /* for on_due, whose user_data is the time */

static void count_end(struct workload *work, int32_t result) {
    if (result == 0)
        work->fired++;
    else if (result == -ECANCELED)
        work->cancelled++;
    else
        bench_die("a timer ended with %" PRId32, result);
}

static void on_timer(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    count_end(user_data, result);
}

static void on_due(void *user_data, int32_t result, uint32_t flags) {
    const uint64_t *due_ns = user_data;
    (void)flags;
    count_end(current, result);
    current->early += bench_clock_ns() < *due_ns;
}

static aio_op_id arm(struct workload *work, uint64_t after_us) {
    aio_op_id id = aio_submit_timer(work->ctx, after_us * 1000, NULL, on_timer, work);
    bench_check(id, "aio_submit_timer");
    return id;
}

static void start(struct workload *work) {
    aio_ctx_options options = {.size = sizeof options, .backend = work->backend};
    bench_check(aio_ctx_create(&options, &work->ctx), "aio_ctx_create");
    work->fired = work->cancelled = work->early = 0;
}

static void finish(struct workload *work, uint64_t fired, uint64_t cancelled) {
    if (work->fired != fired || work->cancelled != cancelled || work->early)
        bench_die("%" PRIu64 " fired, %" PRIu64 " cancelled, %" PRIu64 " early; expected %" PRIu64
                  ", %" PRIu64 ", 0",
                  work->fired, work->cancelled, work->early, fired, cancelled);
    bench_check(aio_ctx_destroy(work->ctx), "aio_ctx_destroy");
}

/* A few pairs, on the context's thread and inside a turn, where programs do this. */
static void cancel_and_arm(void *arg) {
    struct workload *work = arg;
    uint64_t *victims[TIMERS_PAIRS_PER_TURN];
    timers_draw(&work->seed, work->ids, work->outstanding, victims);
    for (int pair = 0; pair < TIMERS_PAIRS_PER_TURN; pair++) {
        bench_check(aio_ctx_cancel(work->ctx, (aio_op_id)*victims[pair]), "aio_ctx_cancel");
        *victims[pair] = (uint64_t)arm(work, timers_far_us(&work->seed));
    }
}

/* As many contexts as backends live through all samples of pairs. */
struct armed {
    uint32_t backend;
    aio_ctx *ctx;
    uint64_t *ids;
    uint64_t cancelled;
};

static void armed_begin(struct armed *armed, struct workload *work) {
    work->backend = armed->backend;
    start(work);
    armed->ctx = work->ctx;
    armed->cancelled = 0;
    armed->ids = work->ids = malloc(work->outstanding * sizeof *work->ids);
    if (!armed->ids)
        bench_die("no memory");
    for (uint64_t i = 0; i < work->outstanding; i++)
        work->ids[i] = (uint64_t)arm(work, timers_far_us(&work->seed));
}

static void armed_end(struct armed *armed, struct workload *work) {
    work->ctx = armed->ctx;
    work->fired = 0;
    work->cancelled = armed->cancelled;
    bench_check(aio_ctx_cancel_all(work->ctx), "aio_ctx_cancel_all");
    bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
    finish(work, 0, armed->cancelled + work->outstanding);
    free(armed->ids);
}

static double sample_bare(void *arg, const void *unused) {
    struct workload *work = arg;
    (void)unused;
    return timers_bare(&(const struct timers_task){work->outstanding, work->pairs, 1}, &work->seed);
}

static double sample_pairs(void *arg, const void *subject) {
    struct workload *work = arg;
    struct armed *armed = (struct armed *)subject;
    if (!armed->ctx)
        armed_begin(armed, work);
    work->ctx = armed->ctx;
    work->ids = armed->ids;
    work->cancelled = armed->cancelled;
    uint64_t expected = work->cancelled + work->pairs;
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t pair = 0; pair < work->pairs; pair += TIMERS_PAIRS_PER_TURN) {
        bench_check(aio_ctx_post(work->ctx, cancel_and_arm, work), "aio_ctx_post");
        bench_check(aio_ctx_run_once(work->ctx, 0), "aio_ctx_run_once");
    }
    while (work->cancelled < expected)
        bench_check(aio_ctx_run_once(work->ctx, 0), "aio_ctx_run_once");
    armed->cancelled = work->cancelled;
    return (double)(bench_thread_cpu_ns() - start_ns) / (double)work->pairs;
}

/* In a new context each time, whose memory grows with the timers; few timers are repeated, so that
 * the sample is long enough for the clock. */
static void arm_and_fire(struct workload *work) {
    uint64_t repeats = work->outstanding < 10000 ? 20 : work->outstanding < 100000 ? 10 : 1;
    work->arm_ns = work->fire_ns = 0;
    for (uint64_t repeat = 0; repeat < repeats; repeat++) {
        start(work);
        uint64_t start_ns = bench_thread_cpu_ns();
        for (uint64_t i = 0; i < work->outstanding; i++)
            arm(work, timers_near_us(&work->seed));
        work->arm_ns += (bench_thread_cpu_ns() - start_ns) / repeats;
        usleep(2 * TIMERS_WINDOW_US);
        start_ns = bench_thread_cpu_ns();
        bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
        work->fire_ns += (bench_thread_cpu_ns() - start_ns) / repeats;
        finish(work, work->outstanding, 0);
    }
}

static double sample_arm(void *arg, const void *armed) {
    struct workload *work = arg;
    work->backend = ((const struct armed *)armed)->backend;
    arm_and_fire(work);
    return (double)work->arm_ns / (double)work->outstanding;
}

static double sample_fire(void *arg, const void *armed) {
    struct workload *work = arg;
    work->backend = ((const struct armed *)armed)->backend;
    arm_and_fire(work);
    return (double)work->fire_ns / (double)work->outstanding;
}

/* --- peers --- */

struct peer {
    timers_peer *run;
    const char *program;
    const struct timers_task *task;
};

static void peer_main(int channel, void *arg) {
    const struct peer *peer = arg;
    const uint64_t numbers[] = {bench_inherit(channel), peer->task->outstanding, peer->task->pairs};
    if (peer->run)
        peer->run(channel, peer->task);
    else
        bench_become(peer->program, peer->task->pairs ? "pairs" : "fire", numbers,
                     peer->task->pairs ? 3 : 2);
}

static double peer_sample(const struct peer *subject, const struct timers_task *task) {
    struct peer peer = *subject;
    peer.task = task;
    return (double)bench_child_cost(peer_main, &peer, false) /
           (double)(task->pairs ? task->pairs : task->outstanding);
}

static double peer_pairs(void *arg, const void *peer) {
    const struct workload *work = arg;
    const struct timers_task task = {work->outstanding, work->pairs, 1};
    return peer_sample(peer, &task);
}

static double peer_fire(void *arg, const void *peer) {
    const struct workload *work = arg;
    const struct timers_task task = {work->outstanding, 0, 1};
    return peer_sample(peer, &task);
}

#define PEER(function) (&(const struct peer){function, NULL, NULL})
#define PROGRAM(name) (&(const struct peer){NULL, name, NULL}), .program = name

static struct armed uring = {.backend = AIO_BACKEND_URING}, epoll = {.backend = AIO_BACKEND_EPOLL};

/* The samples of a figure in the order of the table: aio's, and those of peers. */
static const struct bench_engine engines[] = {
    {"bare", NULL, BENCH_LIMIT, NULL, NULL},
    {"aio", NULL, BENCH_ENGINE, &uring, NULL},
    {"aio-epoll", NULL, BENCH_ENGINE, &epoll, NULL},
#ifdef BENCH_LIBUV
    {"libuv", NULL, BENCH_PEER, PEER(timers_libuv), NULL},
#endif
#ifdef BENCH_LIBEVENT
    {"libevent", NULL, BENCH_PEER, PEER(timers_libevent), NULL},
#endif
#ifdef BENCH_ASIO
    {"asio", NULL, BENCH_PEER, PEER(timers_asio), NULL},
#endif
    {"tokio", NULL, BENCH_PEER, PROGRAM("peer-tokio")},
};

static void check_early(struct workload *work) {
    start(work);
    current = work;
    for (uint64_t i = 0; i < work->outstanding; i++) {
        uint64_t after_ns = timers_random_below(&work->seed, LIVE_US) * 1000;
        work->due_ns[i] = bench_clock_ns() + after_ns;
        bench_check(aio_submit_timer(work->ctx, after_ns, NULL, on_due, &work->due_ns[i]),
                    "aio_submit_timer");
    }
    bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
    finish(work, work->outstanding, 0);
}

typedef double (*sampler)(void *, const void *);

/* A figure of those that have one; `samples` is by role. */
static void report(struct bench_report *out, const char *what, struct workload *work,
                   uint64_t rounds, const struct bench_engine *chosen, size_t count,
                   const sampler *samples) {
    struct bench_figure figures[BENCH_ENGINES_MAX];
    struct bench_engine measured[BENCH_ENGINES_MAX];
    size_t measured_count = 0;
    char name[64];
    snprintf(name, sizeof name, "%" PRIu64 " outstanding, %s", work->outstanding, what);
    for (size_t i = 0; i < count; i++)
        if (samples[chosen[i].role]) {
            measured[measured_count] = chosen[i];
            measured[measured_count++].sample = samples[chosen[i].role];
        }
    if (!measured_count)
        return;
    bench_compare(measured, measured_count, rounds, work, figures);
    bench_report_case(out, name, measured, figures, measured_count);
}

static void report_all(struct bench_report *out, struct workload *work, uint64_t rounds,
                       const struct bench_engine *chosen, size_t count) {
    static const sampler pairs[] = {
        [BENCH_ENGINE] = sample_pairs, [BENCH_LIMIT] = sample_bare, [BENCH_PEER] = peer_pairs};
    static const sampler arms[] = {[BENCH_ENGINE] = sample_arm, [BENCH_PEER] = NULL};
    static const sampler fires[] = {[BENCH_ENGINE] = sample_fire, [BENCH_PEER] = peer_fire};
    report(out, "arm+cancel", work, rounds, chosen, count, pairs);
    timers_bare_end();
    struct armed *both[] = {&uring, &epoll};
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++)
        if (both[i]->ctx) {
            armed_end(both[i], work);
            both[i]->ctx = NULL;
        }
    report(out, "arm", work, rounds, chosen, count, arms);
    report(out, "fire", work, rounds, chosen, count, fires);
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        work->backend = both[i]->backend;
        check_early(work);
    }
}

int main(int argc, char **argv) {
    uint64_t rounds = 5, cpu = 1;
    const char *names = NULL, *outstanding = "1000,10000,100000,1000000", *json = NULL;
    struct workload work = {.pairs = 200000, .seed = 1};
    const struct bench_flag flags[] = {
        {"engines", NULL, &names, "run these alone, separated by commas, see timers.c"},
        {"peers", NULL, &bench_peers, "the folder of the programs of benches/peers"},
        {"outstanding", NULL, &outstanding, "timers, a list"},
        {"count", &work.pairs, NULL, "pairs of arm and cancel in one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"seed", &work.seed, NULL, "of the victims and times"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!work.pairs)
        bench_die("--count is at least 1");
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(outstanding, each);
    struct bench_engine chosen[BENCH_ENGINES_MAX];
    size_t count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);
    bench_pin(cpu);
    struct bench_report out;
    bench_report_open(&out, "Timers", "ns of CPU time per timer", rounds, json);
    out.has_no_ratios = true;
    for (size_t i = 0; i < cases; i++) {
        work.outstanding = each[i];
        work.due_ns = malloc(work.outstanding * sizeof *work.due_ns);
        if (!work.due_ns)
            bench_die("no memory");
        report_all(&out, &work, rounds, chosen, count);
        free(work.due_ns);
    }
    return bench_report_close(&out);
}
