/* Functions posted to a thread by another one: what each costs, of both threads' CPU time.
 *
 * The sender posts as fast as it can, on one CPU with the owner or on another. The owner sees that
 * they come in order, and none is lost. Between the two, the cost of waking is shared by as many
 * posts as come while the owner is awake: on one CPU by all of a time slice.
 *
 * A post to an owner that is awake takes no system call: this is counted, with the owner held in a
 * function of its own while the other thread posts. */
#include "posts.h"
#include "bench.h"

#include <aio_rs.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct workload {
    uint64_t count;
    uint64_t cpus;
};

static struct posts_run run;

void *posts_next(struct posts_run *of) { return (void *)(uintptr_t)++of->posted; }

void posts_one_seen(void *post) {
    if ((uintptr_t)post != ++run.seen)
        bench_die("post %" PRIuPTR " came as number %" PRIu64, (uintptr_t)post, run.seen);
}

/* --- on the engine --- */

static void open_on(struct posts_run *of, uint32_t backend) {
    const aio_ctx_options options = {.size = sizeof options, .backend = backend};
    aio_ctx *ctx;
    bench_check(aio_ctx_create(&options, &ctx), "aio_ctx_create");
    of->owner = ctx;
}

static void open_uring(struct posts_run *of) { open_on(of, AIO_BACKEND_URING); }

static void open_epoll(struct posts_run *of) { open_on(of, AIO_BACKEND_EPOLL); }

static void aio_post(struct posts_run *of, void *arg) {
    bench_check(aio_ctx_post(of->owner, posts_one_seen, arg), "aio_ctx_post");
}

static void aio_run(struct posts_run *of) {
    while (of->seen < of->count)
        bench_check(aio_ctx_run_once(of->owner, -1), "aio_ctx_run_once");
}

static void aio_close(struct posts_run *of) {
    bench_check(aio_ctx_destroy(of->owner), "aio_ctx_destroy");
}

static const struct posts_engine posts_uring = {open_uring, aio_post, aio_run, aio_close};
static const struct posts_engine posts_epoll = {open_epoll, aio_post, aio_run, aio_close};

/* --- a sample --- */

struct sender {
    const struct posts_engine *engine;
    const struct workload *load;
};

static void *send_all(void *arg) {
    const struct sender *sender = arg;
    bench_pin(sender->load->cpus == 1 ? 1 : 0);
    for (uint64_t i = 0; i < run.count; i++)
        sender->engine->post(&run, posts_next(&run));
    return NULL;
}

static uint64_t process_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static double sample(void *arg, const void *subject) {
    const struct workload *load = arg;
    struct sender sender = {subject, load};
    pthread_t thread;
    run = (struct posts_run){.count = load->count};
    sender.engine->open(&run);
    uint64_t start_ns = process_cpu_ns();
    bench_check(-pthread_create(&thread, NULL, send_all, &sender), "pthread_create");
    sender.engine->run(&run);
    bench_check(-pthread_join(thread, NULL), "pthread_join");
    uint64_t spent_ns = process_cpu_ns() - start_ns;
    sender.engine->close(&run);
    if (run.seen != load->count)
        bench_die("%" PRIu64 " of %" PRIu64 " posts were seen", run.seen, load->count);
    return (double)spent_ns / (double)load->count;
}

/* --- system calls --- */

static atomic_bool is_over;
static atomic_bool is_awake;

static void stay_awake(void *arg) {
    (void)arg;
    atomic_store(&is_awake, true);
    while (!atomic_load(&is_over))
        sched_yield();
}

/* Reading the counter is a call of its own, which a second reading shows. */
static void *count_calls(void *arg) {
    const struct sender *sender = arg;
    int counter = bench_count_system_calls(0);
    bench_check(counter, "system calls cannot be counted");
    while (!atomic_load(&is_awake))
        sched_yield();
    uint64_t first = bench_counter(counter);
    uint64_t reading = bench_counter(counter) - first;
    uint64_t before = bench_counter(counter);
    for (uint64_t i = 0; i < run.count; i++)
        sender->engine->post(&run, posts_next(&run));
    uint64_t calls = bench_counter(counter) - before - reading;
    atomic_store(&is_over, true);
    close(counter);
    return (void *)(uintptr_t)calls;
}

static double calls_when_awake(const struct posts_engine *engine, const struct workload *load) {
    struct sender sender = {engine, load};
    pthread_t thread;
    void *calls;
    run = (struct posts_run){.count = load->count};
    atomic_store(&is_over, false);
    atomic_store(&is_awake, false);
    engine->open(&run);
    bench_check(aio_ctx_post(run.owner, stay_awake, NULL), "aio_ctx_post");
    bench_check(-pthread_create(&thread, NULL, count_calls, &sender), "pthread_create");
    engine->run(&run);
    bench_check(-pthread_join(thread, &calls), "pthread_join");
    engine->close(&run);
    return (double)(uintptr_t)calls / (double)load->count;
}

static const struct bench_engine engines[] = {
    {"aio-uring", sample, BENCH_ENGINE, &posts_uring, NULL},
    {"aio-epoll", sample, BENCH_ENGINE, &posts_epoll, NULL},
#ifdef BENCH_ASIO
    {"asio", sample, BENCH_PEER, &posts_asio, NULL},
#endif
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

int main(int argc, char **argv) {
    struct workload load = {.count = 200000};
    uint64_t rounds = 31;
    const char *json = NULL;
    const struct bench_flag flags[] = {
        {"count", &load.count, NULL, "posts of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!load.count)
        bench_die("--count is at least 1");
    bench_pin(1);
    struct bench_figure figures[ENGINES];
    struct bench_report report;
    bench_report_open(&report, "Posts", "ns of CPU time, both threads", rounds, json);
    for (load.cpus = 1; load.cpus <= 2; load.cpus++) {
        bench_compare(engines, ENGINES, rounds, &load, figures);
        bench_report_case(&report, load.cpus == 1 ? "one CPU" : "two CPUs", engines, figures,
                          ENGINES);
    }
    int counter = bench_count_system_calls(0);
    if (counter >= 0) {
        close(counter);
        bench_report_exact(&report, "awake", "aio-uring", "system calls per post",
                           calls_when_awake(&posts_uring, &load));
        bench_report_exact(&report, "awake", "aio-epoll", "system calls per post",
                           calls_when_awake(&posts_epoll, &load));
    }
    return bench_report_close(&report);
}
