/* Timers of the engine with 1,000 to 1,000,000 outstanding: what it costs to arm one and cancel a
 * random other one, to arm, and to fire.
 *
 * The outstanding timers are due in one to two hours, so that none fires while another is
 * cancelled. In the part on firing all are due within 10 ms, the thread sleeps until the last one
 * is, and the time of the loop is divided by their number. A last, unmeasured part arms as many
 * over half a second, runs the loop live, and compares each with the clock: none may be early. */
#include "bench.h"

#include <aio_rs.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAIRS_PER_TURN = 64, WINDOW_US = 10 * 1000, LIVE_US = 500 * 1000 };
static const uint64_t HOUR_US = 3600u * UINT64_C(1000000);

/* Below `range`, which fits 32 bits, without the division that would be a tenth of the figure. */
static uint64_t random_below(uint64_t *seed, uint64_t range) {
    return (bench_random(seed) >> 32) * range >> 32;
}

struct workload {
    aio_ctx *ctx;
    uint64_t outstanding, pairs, seed;
    uint64_t fired, cancelled, early;
    uint64_t arm_ns, fire_ns; /* of the last arm_and_fire */
    aio_op_id *ids;
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

static aio_op_id arm(struct workload *work, uint64_t least_us, uint64_t range_us) {
    uint64_t after_ns = (least_us + random_below(&work->seed, range_us)) * 1000;
    aio_op_id id = aio_submit_timer(work->ctx, after_ns, NULL, on_timer, work);
    bench_check(id, "aio_submit_timer");
    return id;
}

static void start(struct workload *work) {
    aio_ctx_options options = {.size = sizeof options, .backend = AIO_BACKEND_URING};
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
    for (int pair = 0; pair < PAIRS_PER_TURN; pair++) {
        uint64_t victim = random_below(&work->seed, work->outstanding);
        bench_check(aio_ctx_cancel(work->ctx, work->ids[victim]), "aio_ctx_cancel");
        work->ids[victim] = arm(work, HOUR_US, HOUR_US);
    }
}

/* The outstanding timers are armed once and live through all samples. */
static double sample_pairs(void *arg, const void *subject) {
    (void)subject;
    struct workload *work = arg;
    uint64_t expected = work->cancelled + work->pairs;
    uint64_t start_ns = bench_thread_cpu_ns();
    for (uint64_t pair = 0; pair < work->pairs; pair += PAIRS_PER_TURN) {
        bench_check(aio_ctx_post(work->ctx, cancel_and_arm, work), "aio_ctx_post");
        bench_check(aio_ctx_run_once(work->ctx, 0), "aio_ctx_run_once");
    }
    while (work->cancelled < expected)
        bench_check(aio_ctx_run_once(work->ctx, 0), "aio_ctx_run_once");
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
            arm(work, 0, WINDOW_US);
        work->arm_ns += (bench_thread_cpu_ns() - start_ns) / repeats;
        usleep(2 * WINDOW_US);
        start_ns = bench_thread_cpu_ns();
        bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
        work->fire_ns += (bench_thread_cpu_ns() - start_ns) / repeats;
        finish(work, work->outstanding, 0);
    }
}

static double sample_arm(void *arg, const void *subject) {
    (void)subject;
    struct workload *work = arg;
    arm_and_fire(work);
    return (double)work->arm_ns / (double)work->outstanding;
}

static double sample_fire(void *arg, const void *subject) {
    (void)subject;
    struct workload *work = arg;
    arm_and_fire(work);
    return (double)work->fire_ns / (double)work->outstanding;
}

static void check_early(struct workload *work) {
    start(work);
    current = work;
    for (uint64_t i = 0; i < work->outstanding; i++) {
        uint64_t after_ns = random_below(&work->seed, LIVE_US) * 1000;
        work->due_ns[i] = bench_clock_ns() + after_ns;
        bench_check(aio_submit_timer(work->ctx, after_ns, NULL, on_due, &work->due_ns[i]),
                    "aio_submit_timer");
    }
    bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
    finish(work, work->outstanding, 0);
}

static void report(struct bench_report *out, struct workload *work, uint64_t rounds) {
    const struct bench_engine pairs = {"aio arm+cancel", sample_pairs, BENCH_ENGINE, NULL, NULL};
    const struct bench_engine arms = {"aio arm", sample_arm, BENCH_ENGINE, NULL, NULL};
    const struct bench_engine fires = {"aio fire", sample_fire, BENCH_ENGINE, NULL, NULL};
    struct bench_figure figure;
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64 " outstanding", work->outstanding);

    start(work);
    for (uint64_t i = 0; i < work->outstanding; i++)
        work->ids[i] = arm(work, HOUR_US, HOUR_US);
    bench_compare(&pairs, 1, rounds, work, &figure);
    bench_report_case(out, name, &pairs, &figure, 1);
    uint64_t cancelled = work->cancelled;
    bench_check(aio_ctx_cancel_all(work->ctx), "aio_ctx_cancel_all");
    bench_check(aio_ctx_run(work->ctx), "aio_ctx_run");
    finish(work, 0, cancelled + work->outstanding);

    bench_compare(&arms, 1, rounds, work, &figure);
    bench_report_case(out, name, &arms, &figure, 1);
    bench_compare(&fires, 1, rounds, work, &figure);
    bench_report_case(out, name, &fires, &figure, 1);
    check_early(work);
}

int main(int argc, char **argv) {
    uint64_t outstanding = 0, rounds = 5, cpu = 1;
    const char *json = NULL;
    struct workload work = {.pairs = 200000, .seed = 1};
    const struct bench_flag flags[] = {
        {"outstanding", &outstanding, NULL, "timers; 0: 1,000 to 1,000,000 in steps of ten"},
        {"count", &work.pairs, NULL, "pairs of arm and cancel in one sample"},
        {"rounds", &rounds, NULL, "rounds of two samples"},
        {"seed", &work.seed, NULL, "of the victims and times"},
        {"cpu", &cpu, NULL, "where to run"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!work.pairs)
        bench_die("--count is at least 1");
    bench_pin(cpu);
    struct bench_report out;
    bench_report_open(&out, "Timers", "ns of CPU time per timer", rounds, json);
    uint64_t most = outstanding ? outstanding : 1000000;
    work.ids = malloc(most * sizeof *work.ids);
    work.due_ns = malloc(most * sizeof *work.due_ns);
    if (!work.ids || !work.due_ns)
        bench_die("no memory");
    for (work.outstanding = outstanding ? outstanding : 1000; work.outstanding <= most;
         work.outstanding *= 10)
        report(&out, &work, rounds);
    free(work.ids);
    free(work.due_ns);
    return bench_report_close(&out);
}
