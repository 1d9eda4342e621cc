/* What a context can ask of its ring: each facility's effect is observed, in /proc where the kernel
 * shows it, or in what operations do. Where the kernel has none, -EOPNOTSUPP is what is checked.
 * The tests choose their backends themselves. */
#include "harness.h"

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* As <linux/io_uring.h> has them; the header of an older system lacks the newest. */
enum { SETUP_IOPOLL = 1, SETUP_SQPOLL = 2, SETUP_ATTACH_WQ = 32, SETUP_HYBRID_IOPOLL = 1 << 17 };
enum { SETUP_DEFER_TASKRUN = 1 << 13 };
enum { OP_NOP = 0, OP_POLL = 6, OP_READ = 22, OP_RECV = 27, OP_SEND = 26, OP_PIPE = 62 };

static aio_info info_of(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return info;
}

static uint32_t facility_status(uint32_t facility) {
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe_facility(NULL, facility, &result), 0);
    return result.status;
}

static bool rings_are_had(void) {
    aio_probe_info info = {.size = sizeof info};
    CHECK_EQ(aio_probe(NULL, &info), 0);
    return info.backend == AIO_BACKEND_URING;
}

/* A context with a facility; where the probe says no, the refusal is checked and the test ends. */
static aio_ctx *make_with(uint32_t facility, aio_ctx_options options) {
    aio_ctx *ctx = NULL;
    options.size = sizeof options;
    const int32_t status = aio_ctx_create(&options, &ctx);
    if (status == 0)
        return ctx;
    if (options.backend == AIO_BACKEND_URING && !rings_are_had())
        SKIP("no io_uring here");
    CHECK_EQ(status, -EOPNOTSUPP);
    if (facility_status(facility) == AIO_PROBE_YES)
        FAIL("the probe says yes, the context %s", aio_strerror(status));
    SKIP("this kernel does not have it");
}

#define MAKE(facility_, ...) make_with(AIO_FACILITY_##facility_, (aio_ctx_options){__VA_ARGS__})

static void check_refused(int32_t status, aio_ctx_options options) {
    aio_ctx *ctx = NULL;
    options.size = sizeof options;
    const int descriptors = open_descriptors();
    CHECK_EQ(aio_ctx_create(&options, &ctx), status);
    CHECK(ctx == NULL);
    CHECK_EQ(open_descriptors(), descriptors);
}

#define REFUSED(status_, ...) check_refused((status_), (aio_ctx_options){__VA_ARGS__})

/* The newest of this process's rings. */
static int ring_descriptor(void) {
    int found = -1;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[300], link[64] = {0};
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, link, sizeof link - 1) > 0 && strstr(link, "[io_uring]"))
            found = atoi(entry->d_name) > found ? atoi(entry->d_name) : found;
    }
    closedir(folder);
    CHECK_GE(found, 0);
    return found;
}

/* What the kernel says of a ring in a line that begins with `key`; false if it says nothing. */
static bool ring_says(int fd, const char *key, char *value, size_t size) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':') {
            snprintf(value, size, "%s",
                     line + strlen(key) + 1 + strspn(line + strlen(key) + 1, "\t "));
            value[strcspn(value, "\n")] = 0;
            found = true;
        }
    fclose(file);
    return found;
}

/* The threads of this process whose name begins with `prefix`; `last` is one of them. */
static int threads_named(const char *prefix, int *last) {
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    CHECK(folder != NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[300], name[32] = {0};
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (read(fd, name, sizeof name - 1) > 0 && strncmp(name, prefix, strlen(prefix)) == 0) {
            count++;
            *last = atoi(entry->d_name);
        }
        close(fd);
    }
    closedir(folder);
    return count;
}

/* They begin and end beside what the context does. */
static int await_threads(const char *prefix, int count) {
    int last = 0;
    for (const uint64_t end = patience_end_ns(); threads_named(prefix, &last) != count;) {
        CHECK_LT(now_ns(), end);
        sleep_ms(1);
    }
    return last;
}

static cpu_set_t cpus_of(int thread) {
    cpu_set_t cpus;
    SYS(sched_getaffinity(thread, sizeof cpus, &cpus));
    return cpus;
}

/* One of the processors that this process may use; the last. */
static int some_cpu(void) {
    const cpu_set_t cpus = cpus_of(0);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, &cpus))
            return cpu;
    return 0;
}

static void check_echo(aio_ctx *ctx) {
    struct call recv = {0}, send = {0};
    char data[8] = {0};
    int pair[2];
    make_tcp_pair(pair);
    ID(aio_submit_recv(ctx, pair[1], data, 8, 0, NULL, on_call, &recv));
    CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, pair[0], "echo", 4, 0, NULL, on_call, &send)), 4);
    CHECK_EQ(await_call(ctx, &recv), 4);
    CHECK_MEM(data, "echo", 4);
    close(pair[0]);
    close(pair[1]);
}

static void note_run(void *arg) { ++*(int *)arg; }

struct poster {
    aio_ctx *ctx;
    int ran;
};

static void *post_soon(void *arg) {
    struct poster *poster = arg;
    sleep_ms(20);
    CHECK_EQ(aio_ctx_post(poster->ctx, note_run, &poster->ran), 0);
    return NULL;
}

/* The rest of a context works as ever: timers, posts from another thread, cancel. */
static void check_time_and_posts(aio_ctx *ctx) {
    struct call timer = {0};
    const uint64_t start = now_ns();
    CHECK_EQ(DO(ctx, timer, aio_submit_timer(ctx, 2 * MS, NULL, on_call, &timer)), 0);
    CHECK_GE(timer.at_ns - start, 2 * MS);
    struct poster poster = {.ctx = ctx};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, post_soon, &poster), 0);
    aio_ctx_hold(ctx);
    RUN_UNTIL(ctx, poster.ran == 1);
    aio_ctx_release(ctx);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* --- options --------------------------------------------------------------------------------- */

TEST(options_of_the_first_version_work) {
    struct {
        aio_ctx_options options;
        uint8_t rest[64];
    } room;
    memset(&room, 0xff, sizeof room); /* what comes after them is not looked at */
    memset(&room.options, 0, 128);
    room.options.size = 128;
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(&room.options, &ctx), 0);
    check_echo(ctx);
    end_ctx(ctx);
    const uint32_t sizes[] = {0, 127, 129, sizeof(aio_ctx_options) - 1};
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        room.options.size = sizes[i];
        CHECK_EQ(aio_ctx_create(&room.options, &ctx), -EINVAL);
    }
}

TEST(options_that_do_not_go_together_are_einval) {
    static const uint8_t nop[] = {OP_NOP};
    aio_ctx *plain = make_ctx();
    REFUSED(-EINVAL, .flags = AIO_CTX_LOG_REFUSALS << 1); /* the first that nothing has */
    REFUSED(-EINVAL, .flags = AIO_CTX_HYBRID_IOPOLL);
    REFUSED(-EINVAL, .flags = AIO_CTX_SQPOLL | AIO_CTX_IOPOLL);
    REFUSED(-EINVAL, .flags = AIO_CTX_IOPOLL | AIO_CTX_NO_IOWAIT);
    REFUSED(-EINVAL, .flags = AIO_CTX_IOPOLL | AIO_CTX_REGISTERED_WAIT);
    REFUSED(-EINVAL, .flags = AIO_CTX_IOPOLL, .min_wait_usec = 5);
    REFUSED(-EINVAL, .flags = AIO_CTX_NAPI_PREFER);
    REFUSED(-EINVAL, .sqpoll_cpu = 1);
    REFUSED(-EINVAL, .sqpoll_idle_ms = 1);
    REFUSED(-EINVAL, .sqpoll_share = plain);
    REFUSED(-EINVAL, .flags = AIO_CTX_SQPOLL, .sqpoll_share = plain);
    REFUSED(-EINVAL, .flags = AIO_CTX_SQPOLL, .cq_entries_max = 1024);
    REFUSED(-EINVAL, .sq_entries = 64, .sq_entries_max = 32);
    REFUSED(-EINVAL, .cq_entries = 64, .cq_entries_max = 32);
    REFUSED(-EINVAL, .min_wait_count = 2);
    REFUSED(-EINVAL, .clock_id = 3);
    REFUSED(-EINVAL, .worker_cpus = nop);
    REFUSED(-EINVAL, .worker_cpus = &(uint64_t){0}, .worker_cpus_size = 8);
    REFUSED(-EINVAL, .worker_cpus = nop, .worker_cpus_size = 129);
    REFUSED(-EINVAL, .worker_cpus_size = 8);
    REFUSED(-EINVAL, .allowed_ops = nop);
    REFUSED(-EINVAL, .allowed_ops_count = 1);
    REFUSED(-EINVAL, .reserved = {0, 0, 0, 0, 0, 0, 0, 1});
    end_ctx(plain);
}

static void check_all_refused(int32_t status, uint32_t backend) {
    const uint64_t cpus = 1;
    REFUSED(status, .backend = backend, .flags = AIO_CTX_SQPOLL);
    REFUSED(status, .backend = backend, .flags = AIO_CTX_IOPOLL);
    REFUSED(status, .backend = backend, .flags = AIO_CTX_IOPOLL | AIO_CTX_HYBRID_IOPOLL);
    REFUSED(status, .backend = backend, .flags = AIO_CTX_REGISTERED_WAIT);
    REFUSED(status, .backend = backend, .flags = AIO_CTX_NO_IOWAIT);
    REFUSED(status, .backend = backend, .napi_busy_poll_usec = 10);
    REFUSED(status, .backend = backend, .min_wait_usec = 10);
    REFUSED(status, .backend = backend, .clock_id = CLOCK_BOOTTIME);
    REFUSED(status, .backend = backend, .sq_entries_max = 1024);
    REFUSED(status, .backend = backend, .cq_entries_max = 4096);
    REFUSED(status, .backend = backend, .workers_bounded_max = 1);
    REFUSED(status, .backend = backend, .workers_unbounded_max = 1);
    REFUSED(status, .backend = backend, .worker_cpus = &cpus, .worker_cpus_size = sizeof cpus);
}

TEST(without_a_ring_nothing_else_will_do) {
    check_all_refused(-EOPNOTSUPP, AIO_BACKEND_EPOLL);
    setenv("AIO_RS_BACKEND", "epoll", 1);
    check_all_refused(-EOPNOTSUPP, AIO_BACKEND_AUTO);
}

TEST(auto_does_not_fall_back_behind_the_callers_back) {
    forbid_call(SYS_io_uring_setup, EPERM);
    unsetenv("AIO_RS_BACKEND");
    check_all_refused(-EOPNOTSUPP, AIO_BACKEND_AUTO);
    check_all_refused(-EPERM, AIO_BACKEND_URING); /* the kernel's own word */
    end_ctx(make_ctx());
}

TEST(the_default_clock_may_be_named) {
    aio_ctx *ctx =
        make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL, .clock_id = CLOCK_MONOTONIC));
    check_time_and_posts(ctx);
    end_ctx(ctx);
}

/* --- SQPOLL ---------------------------------------------------------------------------------- */

TEST(with_sqpoll_submitting_makes_no_system_calls) {
    aio_ctx *ctx = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL, .sqpoll_idle_ms = 2000);
    const aio_info info = info_of(ctx);
    CHECK(info.setup_flags & SETUP_SQPOLL);
    CHECK_EQ(info.setup_flags & SETUP_DEFER_TASKRUN, 0);
    struct call first = {0};
    CHECK_EQ(DO(ctx, first, aio_submit_nop(ctx, NULL, on_call, &first)), 0);
    int done = 0;
    await_threads("iou-sqp", 1);
    const uint64_t before = stats_of(ctx).system_calls;
    const int rounds = scaled(200);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < 16; i++)
            ID(aio_submit_nop(ctx, NULL, on_call_count, &done));
        const uint64_t end = patience_end_ns();
        while (done < 16 * (round + 1)) {
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            CHECK_LT(now_ns(), end);
            sched_yield();
        }
    }
    /* Some, if the thread has slept, for it had to be woken; without SQPOLL it is one a turn. */
    CHECK_LE(stats_of(ctx).system_calls - before, (uint64_t)rounds / 4);
    end_ctx(ctx);
    await_threads("iou-sqp", 0);
}

TEST(a_polling_thread_that_sleeps_is_woken) {
    aio_ctx *ctx = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL, .sqpoll_idle_ms = 1);
    for (int i = 0; i < scaled(30); i++) {
        struct call call = {0};
        sleep_ms(4);
        CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    }
    end_ctx(ctx);
}

TEST(everything_works_beside_a_polling_thread) {
    aio_ctx *ctx = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL, .sqpoll_idle_ms = 1, .sq_entries = 8);
    struct order order = {0};
    struct call calls[600] = {0};
    for (int i = 0; i < 600; i++) { /* many more than the queue has room for */
        calls[i] = (struct call){.order = &order, .tag = i};
        ID(aio_submit_nop(ctx, NULL, on_call, &calls[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 600);
    for (int i = 0; i < 600; i++)
        CHECK_EQ(order.tags[i], i);
    struct call chain[8] = {0}, recv = {0};
    for (int i = 0; i < 8; i++) /* as long as the queue */
        ID(aio_submit_nop(ctx, i < 7 ? WITH(.flags = AIO_SUBMIT_LINK) : NULL, on_call, &chain[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(chain[i].finals, 1);
    check_echo(ctx);
    check_time_and_posts(ctx);
    int pair[2];
    char byte;
    make_socket_pair(pair);
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &recv), -ECANCELED);
    recv = (struct call){0};
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &recv));
    check_blocked(ctx, &recv);
    end_ctx(ctx); /* with an operation in flight */
    CHECK_EQ(recv.result, -ECANCELED);
}

TEST(a_polling_thread_runs_where_it_is_told) {
    const int cpu = some_cpu();
    aio_ctx *ctx = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL, .sqpoll_cpu = (uint32_t)cpu + 1);
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    const cpu_set_t cpus = cpus_of(await_threads("iou-sqp", 1));
    CHECK_EQ(CPU_COUNT(&cpus), 1);
    CHECK(CPU_ISSET(cpu, &cpus));
    REFUSED(-EINVAL, .flags = AIO_CTX_SQPOLL, .sqpoll_cpu = 100000);
    end_ctx(ctx);
}

TEST(contexts_share_a_polling_thread) {
    aio_ctx *first = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL);
    aio_ctx *second = MAKE(SQPOLL_SHARE, .flags = AIO_CTX_SQPOLL, .sqpoll_share = first);
    aio_ctx *third = MAKE(SQPOLL, .flags = AIO_CTX_SQPOLL);
    CHECK(info_of(second).setup_flags & SETUP_ATTACH_WQ);
    struct call call = {0};
    CHECK_EQ(DO(first, call, aio_submit_nop(first, NULL, on_call, &call)), 0);
    check_echo(second);
    check_echo(third);
    await_threads("iou-sqp", 2);
    end_ctx(third);
    end_ctx(first);
    check_echo(second); /* the thread goes on for the other */
    await_threads("iou-sqp", 1);
    end_ctx(second);
}

/* --- IOPOLL ---------------------------------------------------------------------------------- */

TEST(iopoll_takes_direct_transfers_alone) {
    aio_ctx *ctx = MAKE(IOPOLL, .flags = AIO_CTX_IOPOLL);
    CHECK(info_of(ctx).setup_flags & SETUP_IOPOLL);
    static char page[4096] __attribute__((aligned(4096)));
    struct call nop = {0}, buffered = {0}, recv = {0}, direct = {0};
    CHECK_EQ(DO(ctx, nop, aio_submit_nop(ctx, NULL, on_call, &nop)), 0);
    memset(page, 7, sizeof page);
    const int file = temp_file("polled", page, sizeof page);
    SYS(fsync(file));
    CHECK_EQ(DO(ctx, buffered, aio_submit_read(ctx, file, page, 4096, 0, NULL, on_call, &buffered)),
             -EOPNOTSUPP);
    int pair[2];
    make_socket_pair(pair);
    CHECK_EQ(DO(ctx, recv, aio_submit_recv(ctx, pair[0], page, 1, 0, NULL, on_call, &recv)),
             -EINVAL);
    const int unbuffered = open(temp_path("polled"), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (unbuffered >= 0) { /* there may be no direct I/O; without poll queues it depends on
                             the kernel what becomes of it */
        memset(page, 0, sizeof page);
        const int32_t got = DO(
            ctx, direct, aio_submit_read(ctx, unbuffered, page, 4096, 0, NULL, on_call, &direct));
        CHECK(got == 4096 || got == -EOPNOTSUPP);
        CHECK_EQ(page[4095], got == 4096 ? 7 : 0);
    }
    end_ctx(ctx);
}

TEST(a_context_with_iopoll_sleeps_and_is_woken) {
    aio_ctx *ctx = MAKE(IOPOLL, .flags = AIO_CTX_IOPOLL);
    check_time_and_posts(ctx);
    struct timespec before, after; /* of this thread's processor time */
    SYS(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before));
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_run_once(ctx, 100 * (int64_t)MS), 0);
    SYS(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after));
    if (test_slow() == 1)
        CHECK_LT((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec,
                 50 * (int64_t)MS); /* it would have been busy all the time */
    aio_ctx_release(ctx);
    end_ctx(ctx);
}

/* Nothing tells a foreign loop of a completion that has to be polled for: it must not sleep. */
TEST(a_foreign_loop_does_not_sleep_while_a_device_is_polled) {
    static char page[4096] __attribute__((aligned(4096)));
    close(temp_file("polled", page, sizeof page));
    aio_ctx *ctx = MAKE(IOPOLL, .flags = AIO_CTX_IOPOLL);
    const int file = open(temp_path("polled"), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (file < 0)
        SKIP("no direct I/O in the temporary folder: %s", strerror(errno));
    CHECK_GE(aio_ctx_fd(ctx), 0);
    for (int round = 0; round < 20; round++) {
        struct call call = {0};
        int32_t work;
        ID(aio_submit_read(ctx, file, page, 4096, 0, NULL, on_call, &call));
        for (const uint64_t end = patience_end_ns(); (work = aio_ctx_flush(ctx)) == 1;) {
            CHECK_EQ(aio_ctx_next_timeout_ns(ctx), 0);
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            CHECK_LT(now_ns(), end);
        }
        CHECK_EQ(work, 0);
        CHECK_EQ(call.finals, 1);
    }
    end_ctx(ctx);
}

TEST(hybrid_iopoll_is_asked_for) {
    aio_ctx *ctx = MAKE(HYBRID_IOPOLL, .flags = AIO_CTX_IOPOLL | AIO_CTX_HYBRID_IOPOLL);
    CHECK(info_of(ctx).setup_flags & SETUP_HYBRID_IOPOLL);
    struct call nop = {0};
    CHECK_EQ(DO(ctx, nop, aio_submit_nop(ctx, NULL, on_call, &nop)), 0);
    end_ctx(ctx);
}

/* --- NAPI ------------------------------------------------------------------------------------ */

TEST(napi_is_what_was_asked_for) {
    aio_ctx *ctx = MAKE(NAPI, .napi_busy_poll_usec = 37, .flags = AIO_CTX_NAPI_PREFER);
    const int fd = ring_descriptor();
    char value[64];
    check_echo(ctx);
    if (!ring_says(fd, "NAPI", value, sizeof value))
        SKIP("this kernel does not show it");
    CHECK_STR(value, "enabled");
    CHECK(ring_says(fd, "napi_busy_poll_dt", value, sizeof value));
    CHECK(atoi(value) == 37000 || atoi(value) == 37); /* nanoseconds, first microseconds */
    CHECK(ring_says(fd, "napi_prefer_busy_poll", value, sizeof value));
    CHECK_STR(value, "true");
    end_ctx(ctx);
    ctx = make_ctx();
    CHECK(ring_says(ring_descriptor(), "NAPI", value, sizeof value));
    CHECK_STR(value, "disabled");
    end_ctx(ctx);
}

/* --- growing --------------------------------------------------------------------------------- */

TEST(queues_grow_before_they_overflow) {
    aio_ctx *ctx = MAKE(RESIZE, .sq_entries = 4, .cq_entries = 8, .sq_entries_max = 256,
                        .cq_entries_max = 4096);
    CHECK_EQ(info_of(ctx).sq_entries, 4);
    CHECK_EQ(info_of(ctx).cq_entries, 8);
    static struct call calls[1000];
    struct order order = {0};
    for (int i = 0; i < 1000; i++) {
        calls[i] = (struct call){.order = &order, .tag = i};
        ID(aio_submit_nop(ctx, NULL, on_call, &calls[i]));
    }
    const aio_info grown = info_of(ctx);
    CHECK_EQ(grown.sq_entries, 256);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(order.count, 1000);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(order.tags[i], i);
    CHECK_EQ(stats_of(ctx).overflows, 0);
    CHECK_GE(info_of(ctx).cq_entries, 1000);
    CHECK_LE(info_of(ctx).cq_entries, 4096);
    char value[32];
    CHECK(ring_says(ring_descriptor(), "SqMask", value, sizeof value));
    CHECK_EQ(strtol(value, NULL, 0), 255); /* the kernel's own idea of it */
    check_echo(ctx);
    check_time_and_posts(ctx);
    end_ctx(ctx);
}

TEST(a_ring_that_may_not_grow_stays_as_it_is) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    int done = 0;
    for (int i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &done));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(done, 100);
    CHECK_EQ(info_of(ctx).sq_entries, 4);
    CHECK_EQ(info_of(ctx).cq_entries, 8);
    end_ctx(ctx);
}

/* Operations in flight, of all kinds, while the queues move. */
TEST(what_is_in_flight_survives_growing) {
    enum { WAITING = 64 };
    aio_ctx *ctx = MAKE(RESIZE, .sq_entries = 2, .cq_entries = 4, .sq_entries_max = 64,
                        .cq_entries_max = 1024);
    struct call recvs[WAITING] = {0};
    int pairs[WAITING][2], done = 0;
    char bytes[WAITING] = {0};
    for (int i = 0; i < WAITING; i++) {
        make_socket_pair(pairs[i]);
        ID(aio_submit_recv(ctx, pairs[i][0], &bytes[i], 1, 0, NULL, on_call, &recvs[i]));
    }
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    for (int round = 1; round <= 40; round++) {
        for (int i = 0; i < round * 5; i++)
            ID(aio_submit_nop(ctx, NULL, on_call_count, &done));
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    }
    RUN_UNTIL(ctx, done == 5 * 40 * 41 / 2);
    CHECK_EQ(info_of(ctx).sq_entries, 64);
    for (int i = 0; i < WAITING; i++) {
        CHECK_EQ(recvs[i].calls, 0);
        write_all_or_fail(pairs[i][1], &(char){(char)i}, 1);
    }
    for (int i = 0; i < WAITING; i++) {
        CHECK_EQ(await_call(ctx, &recvs[i]), 1);
        CHECK_EQ(bytes[i], i);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    end_ctx(ctx);
}

/* --- waiting --------------------------------------------------------------------------------- */

TEST(registered_waits_are_as_long_as_others) {
    beyond_valgrind("has a library that waits in pieces");
    aio_ctx *ctx = MAKE(REGISTERED_WAIT, .flags = AIO_CTX_REGISTERED_WAIT);
    check_time_and_posts(ctx);
    check_echo(ctx);
    const uint64_t start = now_ns();
    aio_ctx_hold(ctx);
    CHECK_EQ(aio_ctx_run_once(ctx, 20 * (int64_t)MS), 0);
    CHECK_GE(now_ns() - start, 20 * MS);
    aio_ctx_release(ctx);
    end_ctx(ctx);
}

struct writer {
    int fds[2];
};

static void *write_twice(void *arg) {
    const struct writer *writer = arg;
    sleep_ms(20);
    write_all_or_fail(writer->fds[0], "1", 1);
    sleep_ms(20);
    write_all_or_fail(writer->fds[1], "2", 1);
    return NULL;
}

/* Two receives that end 20 ms apart: in how many turns they come. */
static int turns_of_two(aio_ctx *ctx) {
    struct call recvs[2] = {0};
    struct writer writer;
    int pairs[2][2], turns = 0;
    char bytes[2] = {0};
    pthread_t thread;
    for (int i = 0; i < 2; i++) {
        make_socket_pair(pairs[i]);
        writer.fds[i] = pairs[i][1];
        ID(aio_submit_recv(ctx, pairs[i][0], &bytes[i], 1, 0, NULL, on_call, &recvs[i]));
    }
    CHECK_EQ(pthread_create(&thread, NULL, write_twice, &writer), 0);
    while (recvs[0].finals + recvs[1].finals < 2) {
        CHECK_GT(aio_ctx_run_once(ctx, 20000 * (int64_t)MS), 0);
        turns++;
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(recvs[i].result, 1);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    return turns;
}

TEST(a_minimum_wait_gathers_completions) {
    beyond_valgrind("has a library that waits in pieces");
    aio_ctx *ctx = MAKE(MIN_WAIT, .min_wait_usec = 10000000, .min_wait_count = 2);
    CHECK_EQ(turns_of_two(ctx), 1);
    end_ctx(ctx);
    ctx = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_URING));
    CHECK_EQ(turns_of_two(ctx), 2);
    end_ctx(ctx);
}

TEST(a_minimum_wait_ends_with_what_there_is) {
    const int forms = facility_status(AIO_FACILITY_REGISTERED_WAIT) == AIO_PROBE_YES ? 2 : 1;
    beyond_valgrind("has a library that waits in pieces");
    for (int registered = 0; registered < forms; registered++) {
        aio_ctx *ctx = MAKE(MIN_WAIT, .min_wait_usec = 30000, .min_wait_count = 100,
                            .flags = registered ? AIO_CTX_REGISTERED_WAIT : 0);
        struct call call = {0};
        const uint64_t start = now_ns();
        CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
        CHECK_GE(now_ns() - start, 29 * MS);
        check_time_and_posts(ctx);
        end_ctx(ctx);
    }
}

/* --- workers --------------------------------------------------------------------------------- */

enum { SPLICES = 6 };

struct splices {
    int in[SPLICES][2], out[SPLICES][2];
    struct call calls[SPLICES];
};

/* Splices sleep in workers of their own until their pipes have something. */
static void begin_splices(aio_ctx *ctx, struct splices *splices) {
    memset(splices, 0, sizeof *splices);
    for (int i = 0; i < SPLICES; i++) {
        make_pipe(splices->in[i]);
        make_pipe(splices->out[i]);
        ID(aio_submit_splice(ctx, splices->in[i][0], -1, splices->out[i][1], -1, 5, 0, NULL,
                             on_call, &splices->calls[i]));
    }
    run_for_ms(ctx, 50 * test_slow());
}

static void end_splices(aio_ctx *ctx, struct splices *splices) {
    for (int i = 0; i < SPLICES; i++)
        write_all_or_fail(splices->in[i][1], "bytes", 5);
    for (int i = 0; i < SPLICES; i++) {
        CHECK_EQ(await_call(ctx, &splices->calls[i]), 5);
        for (int end = 0; end < 2; end++) {
            close(splices->in[i][end]);
            close(splices->out[i][end]);
        }
    }
}

TEST(workers_are_no_more_than_allowed) {
    struct splices splices;
    int thread = 0;
    aio_ctx *ctx = MAKE(WORKER_LIMITS, .workers_unbounded_max = 2);
    begin_splices(ctx, &splices);
    CHECK_GE(threads_named("iou-wrk", &thread), 1);
    CHECK_LE(threads_named("iou-wrk", &thread), 2);
    end_splices(ctx, &splices);
    end_ctx(ctx);
}

TEST(workers_are_many_where_nobody_limits_them) {
    struct splices splices;
    int thread = 0;
    aio_ctx *ctx = MAKE(WORKER_LIMITS, .backend = AIO_BACKEND_URING);
    begin_splices(ctx, &splices);
    for (const uint64_t end = patience_end_ns(); threads_named("iou-wrk", &thread) < SPLICES;) {
        CHECK_LT(now_ns(), end);
        run_for_ms(ctx, 5);
    }
    end_splices(ctx, &splices);
    end_ctx(ctx);
}

TEST(workers_run_where_they_are_told) {
    const int cpu = some_cpu();
    struct splices splices;
    cpu_set_t cpus;
    int thread = 0;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    aio_ctx *ctx = MAKE(WORKER_AFFINITY, .worker_cpus = &cpus, .worker_cpus_size = 128);
    memset(&cpus, 0xff, sizeof cpus); /* it was copied */
    begin_splices(ctx, &splices);
    CHECK_GE(threads_named("iou-wrk", &thread), 1);
    cpus = cpus_of(thread);
    CHECK_EQ(CPU_COUNT(&cpus), 1);
    CHECK(CPU_ISSET(cpu, &cpus));
    end_splices(ctx, &splices);
    end_ctx(ctx);
}

TEST(workers_cannot_run_where_there_is_no_processor) {
    const uint8_t cpus[128] = {[0] = 1, [127] = 0x80};
    REFUSED(-EINVAL, .worker_cpus = cpus, .worker_cpus_size = sizeof cpus);
}

/* --- restrictions ---------------------------------------------------------------------------- */

static void check_restricted(uint32_t backend) {
    const uint8_t allowed[] = {OP_NOP, OP_RECV, OP_SEND, 200};
    aio_ctx *ctx = NULL;
    const int32_t status = aio_ctx_create(CTX_WITH(.backend = backend, .allowed_ops = allowed,
                                                   .allowed_ops_count = COUNT_OF(allowed)),
                                          &ctx);
    if (status == -EOPNOTSUPP || status == -EPERM || status == -ENOSYS)
        SKIP("no ring here");
    CHECK_EQ(status, 0);
    int pair[2], fds[2];
    char byte;
    make_socket_pair(pair);
    struct call call = {0};
    const struct {
        uint8_t opcode, rest[63];
    } entry = {.opcode = OP_READ};
    for (int round = 0; round < 2; round++) { /* before and after it was adopted, plain and not */
        const aio_submit_options *options = round ? WITH(.timeout_ns = 1000 * MS) : NULL;
        CHECK_EQ(aio_submit_read(ctx, pair[0], &byte, 1, 0, options, on_call_never, NULL), -EACCES);
        CHECK_EQ(aio_submit_openat(ctx, AT_FDCWD, "/", 0, 0, options, on_call_never, NULL),
                 -EACCES);
        CHECK_EQ(aio_submit_poll(ctx, pair[0], POLLIN, options, on_call_never, NULL), -EACCES);
        CHECK_EQ(aio_submit_close(ctx, pair[0], options, on_call_never, NULL), -EACCES);
        CHECK_EQ(aio_submit_pipe(ctx, fds, 0, options, on_call_never, NULL), -EACCES);
        CHECK_EQ(aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, options, on_call_never, NULL),
                 -EACCES);
        CHECK_EQ(aio_submit_raw(ctx, (const struct io_uring_sqe *)(const void *)&entry, options,
                                on_call_never, NULL),
                 -EACCES);
        check_echo(ctx);
    }
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    aio_probe_result result = {.size = sizeof result};
    CHECK_EQ(aio_probe_op(ctx, OP_READ, &result), 0);
    CHECK_EQ(result.status, AIO_PROBE_NO);
    CHECK_EQ(result.reason, AIO_REASON_ASKED);
    CHECK_EQ(aio_probe_op(ctx, OP_RECV, &result), 0);
    CHECK_EQ(result.status, has_ring(ctx) ? AIO_PROBE_YES : AIO_PROBE_EMULATED);
    const aio_op_id id = ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0); /* the engine's own requests are its own business */
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    check_time_and_posts(ctx);
    CHECK_GE(aio_ctx_fd(ctx), 0); /* what is registered is the program's own doing */
    CHECK_EQ(aio_files_register(
                 ctx, &(aio_files_options){.size = sizeof(aio_files_options), .count = 4}),
             0);
    CHECK_EQ(aio_files_update(ctx, 0, pair, 1), 1);
    check_echo(ctx);
    end_ctx(ctx);
}

TEST(a_restricted_ring_does_what_was_declared) { check_restricted(AIO_BACKEND_URING); }
TEST(a_restricted_context_without_a_ring_does_so_too) { check_restricted(AIO_BACKEND_EPOLL); }

/* The kernel has been told as well: what would get past the engine is refused there. */
TEST(the_kernel_refuses_what_was_not_declared) {
    const uint8_t allowed[] = {OP_NOP};
    aio_ctx *ctx = MAKE(RESTRICTIONS, .backend = AIO_BACKEND_URING, .allowed_ops = allowed,
                        .allowed_ops_count = COUNT_OF(allowed));
    const int fd = ring_descriptor();
    struct call call = {0};
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    enum { REGISTER_PERSONALITY = 9, REGISTER_PROBE = 8 };
    CHECK_EQ(syscall(SYS_io_uring_register, fd, REGISTER_PERSONALITY, NULL, 0), -1);
    CHECK_EQ(errno, EACCES);
    end_ctx(ctx);
    ctx = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_URING));
    CHECK_EQ(DO(ctx, call, (call = (struct call){0}, aio_submit_nop(ctx, NULL, on_call, &call))),
             0);
    CHECK_GE(syscall(SYS_io_uring_register, ring_descriptor(), REGISTER_PERSONALITY, NULL, 0), 0);
    end_ctx(ctx);
}

/* --- NO_IOWAIT ------------------------------------------------------------------------------- */

TEST(a_context_that_does_not_count_as_io_wait_works) {
    aio_ctx *ctx = MAKE(NO_IOWAIT, .flags = AIO_CTX_NO_IOWAIT);
    check_echo(ctx);
    check_time_and_posts(ctx);
    end_ctx(ctx);
}

/* --- the clock ------------------------------------------------------------------------------- */

static uint64_t boottime_ns(void) {
    struct timespec time;
    SYS(clock_gettime(CLOCK_BOOTTIME, &time));
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void use_boottime(void *arg) {
    (void)arg;
    CHECK_GT(boottime_ns(), now_ns() + 3000 * 1000 * MS); /* the clocks are apart */
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(CTX_WITH(.clock_id = CLOCK_BOOTTIME), &ctx), 0);
    struct call timer = {0}, late = {0};
    const uint64_t start = now_ns();
    ID(aio_submit_timer_at(ctx, boottime_ns() + 3600 * 1000 * MS, NULL, on_call, &late));
    CHECK_EQ(
        DO(ctx, timer, aio_submit_timer_at(ctx, boottime_ns() + 20 * MS, NULL, on_call, &timer)),
        0);
    CHECK_GE(now_ns() - start, 20 * MS);
    CHECK_LT(now_ns() - start, 60000 * MS);
    CHECK_EQ(late.calls, 0);
    check_time_and_posts(ctx);
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
}

/* A machine cannot be suspended for a test: a time namespace sets the clocks apart. */
TEST(timers_are_measured_with_the_clock_that_was_chosen) {
    aio_ctx *ctx = MAKE(CLOCK, .clock_id = CLOCK_BOOTTIME);
    check_time_and_posts(ctx);
    end_ctx(ctx);
    enum { NEWTIME = 0x80 };
    if (unshare(NEWTIME) != 0)
        SKIP("no time namespaces here: %s", strerror(errno));
    const int offsets = SYS(open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
    write_all_or_fail(offsets, "boottime 3600 0\n", 16);
    close(offsets);
    CHECK_EQ(end_child(start_child(use_boottime, NULL)), 0);
}

HARNESS_MAIN
