/* What aio_ctx_create does where io_uring is refused: by filters for system calls, by the limit of
 * locked memory, for lack of descriptors. Each cell of the matrix ends in the fallback or in the
 * exact error, and each context that is made must work and leave nothing behind.
 *
 * The sysctl kernel.io_uring_disabled is in tests/kernels: it is the whole machine's. */
#include "harness.h"

#include <dirent.h>
#include <grp.h>
#include <linux/stat.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* --- what a context needs to show that it works ---------------------------------------------- */

/* Descriptors that are there before the limit of their number is lowered, and above it. */
struct kit {
    int pair[2];
    int file;
    int fds_before, threads_before;
};

enum { KIT_FIRST = 200, FDS_MAX = 4096 };

static int moved(int fd, int number) {
    SYS(dup3(fd, number, O_CLOEXEC));
    SYS(close(fd));
    return number;
}

/* Without a descriptor of its own, which may not be there to be had. */
static int open_numbers(void) {
    int count = 0;
    for (int fd = 0; fd < FDS_MAX; fd++)
        count += is_open(fd);
    return count;
}

/* Threads but for the kernel's: of a ring's idle workers it keeps some until their thread ends. */
static int threads_now(void) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    int threads = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = task->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!file)
            continue;
        threads += fgets(name, sizeof name, file) && strncmp(name, "iou-wrk-", 8) != 0;
        fclose(file);
    }
    closedir(tasks);
    return threads;
}

static struct kit kit_open(void) {
    struct kit kit;
    make_tcp_pair(kit.pair);
    kit.pair[0] = moved(kit.pair[0], KIT_FIRST);
    kit.pair[1] = moved(kit.pair[1], KIT_FIRST + 1);
    kit.file = moved(temp_file("denied", NULL, 0), KIT_FIRST + 2);
    kit.fds_before = open_numbers();
    kit.threads_before = threads_now();
    return kit;
}

/* A pool's threads end with their context; who joins one may be woken before it is gone. */
static void kit_check(const struct kit *kit) {
    CHECK_EQ(open_numbers(), kit->fds_before);
    for (const uint64_t end = patience_end_ns(); now_ns() < end; sleep_ms(1))
        if (threads_now() == kit->threads_before)
            break;
    CHECK_EQ(threads_now(), kit->threads_before);
}

struct posted {
    aio_ctx *ctx;
    int ran;
};

static void note_run(void *arg) { ((struct posted *)arg)->ran++; }

static void *post_soon(void *arg) {
    struct posted *posted = arg;
    sleep_ms(1);
    CHECK_EQ(aio_ctx_post(posted->ctx, note_run, posted), 0);
    return NULL;
}

static void check_echo(aio_ctx *ctx, const struct kit *kit) {
    struct call recv = {0}, send = {0}, back = {0};
    char question[8] = {0}, answer[8] = {0};
    ID(aio_submit_recv(ctx, kit->pair[1], question, 8, 0, NULL, on_call, &recv));
    CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, kit->pair[0], "echo", 4, 0, NULL, on_call, &send)),
             4);
    CHECK_EQ(await_call(ctx, &recv), 4);
    CHECK_MEM(question, "echo", 4);
    write_all_or_fail(kit->pair[1], question, 4);
    CHECK_EQ(DO(ctx, back, aio_submit_recv(ctx, kit->pair[0], answer, 8, 0, NULL, on_call, &back)),
             4);
    CHECK_MEM(answer, "echo", 4);
}

static void check_file(aio_ctx *ctx, const struct kit *kit) {
    struct call write = {0}, sync = {0}, read = {0}, look = {0};
    struct statx attributes = {0};
    char data[8] = {0};
    CHECK_EQ(DO(ctx, write, aio_submit_write(ctx, kit->file, "file", 4, 0, NULL, on_call, &write)),
             4);
    CHECK_EQ(
        DO(ctx, sync, aio_submit_fsync(ctx, kit->file, AIO_FSYNC_DATASYNC, NULL, on_call, &sync)),
        0);
    CHECK_EQ(DO(ctx, read, aio_submit_read(ctx, kit->file, data, 8, 0, NULL, on_call, &read)), 4);
    CHECK_MEM(data, "file", 4);
    CHECK_EQ(DO(ctx, look,
                aio_submit_statx(ctx, kit->file, "", AT_EMPTY_PATH, STATX_SIZE, &attributes, NULL,
                                 on_call, &look)),
             0);
    CHECK_EQ(attributes.stx_size, 4);
}

static void check_works(aio_ctx *ctx, const struct kit *kit) {
    struct call timer = {0};
    const uint64_t start = now_ns();
    CHECK_EQ(DO(ctx, timer, aio_submit_timer(ctx, 500000, NULL, on_call, &timer)), 0);
    CHECK_GE(timer.at_ns - start, 500000);
    check_echo(ctx, kit);
    check_file(ctx, kit);
    struct posted posted = {.ctx = ctx};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, post_soon, &posted), 0);
    RUN_UNTIL(ctx, posted.ran == 1);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

/* --- making them ----------------------------------------------------------------------------- */

struct log {
    int fallbacks, others;
    char text[256]; /* of the newest */
};

static void note_log(void *arg, int32_t level, const char *message) {
    struct log *log = arg;
    snprintf(log->text, sizeof log->text, "%s", message);
    if (level == AIO_LOG_WARN && strstr(message, "epoll"))
        log->fallbacks++;
    else
        log->others += level != AIO_LOG_INFO; /* an older ring is slower, and says so */
}

static aio_info info_of(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return info;
}

/* A context of the backend that was asked for, which says what it is, and why. */
static aio_ctx *make_of(uint32_t asked, uint32_t expected, int32_t fallback_status) {
    struct log log = {0};
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.backend = asked, .log = note_log, .log_arg = &log));
    const aio_info info = info_of(ctx);
    CHECK_EQ(info.backend, expected);
    CHECK_EQ(info.fallback_status, fallback_status);
    CHECK_EQ(log.fallbacks, fallback_status != 0);
    CHECK_EQ(log.others, 0);
    if (fallback_status == -EPERM) { /* with the reason that the probe knows */
        aio_probe_info probed = {.size = sizeof probed};
        CHECK_EQ(aio_probe(ctx, &probed), 0);
        CHECK(strstr(log.text, probed.text) && strstr(log.text, "EPERM"));
    }
    CHECK_EQ(info.interrupt_signal != 0, expected == AIO_BACKEND_EPOLL);
    if (expected == AIO_BACKEND_EPOLL) {
        CHECK_EQ(info.setup_flags, 0);
        CHECK_EQ(info.features, 0);
    }
    return ctx;
}

static void check_refused(uint32_t asked, int32_t status) {
    struct log log = {0};
    aio_ctx *ctx = NULL;
    CHECK_EQ(aio_ctx_create(CTX_WITH(.backend = asked, .log = note_log, .log_arg = &log), &ctx),
             status);
    CHECK(ctx == NULL);
    CHECK_EQ(log.fallbacks, 0);
    if (getenv("AIO_RS_BACKEND") && strcmp(getenv("AIO_RS_BACKEND"), "kqueue") == 0)
        CHECK_STR(log.text, "AIO_RS_BACKEND is \"kqueue\": it names a backend, uring or epoll");
}

static void exit_with_fallback(void *arg) {
    (void)arg;
    unsetenv("AIO_RS_BACKEND");
    aio_ctx *ctx = make_ctx();
    const int32_t status = info_of(ctx).fallback_status;
    end_ctx(ctx);
    _exit(-status);
}

/* Why there would be no ring here even if nothing were refused: an old kernel; 0 if there would. In
 * a child: it matters to a process whether it has had a ring. */
static int32_t fallback_at_ease(void) { return -end_child(start_child(exit_with_fallback, NULL)); }

static void needs_a_ring_at_ease(void) {
    const int32_t status = fallback_at_ease();
    if (status != 0)
        SKIP("no ring is tried here: %s", aio_strerror(status));
}

/* Every way to ask, where rings are refused with `status`. */
static void check_all_fall_back(int32_t status) {
    struct kit kit = kit_open();
    unsetenv("AIO_RS_BACKEND");
    for (int round = 0; round < 3; round++) {
        aio_ctx *fallen = make_of(AIO_BACKEND_AUTO, AIO_BACKEND_EPOLL, status);
        aio_ctx *wanted = make_of(AIO_BACKEND_EPOLL, AIO_BACKEND_EPOLL, 0);
        check_refused(AIO_BACKEND_URING, status);
        check_works(fallen, &kit);
        check_works(wanted, &kit);
        end_ctx(fallen);
        end_ctx(wanted);
        kit_check(&kit);
    }
    setenv("AIO_RS_BACKEND", "uring", 1); /* the environment decides as the option would */
    check_refused(AIO_BACKEND_AUTO, status);
    setenv("AIO_RS_BACKEND", "io_uring", 1); /* the probe's name for it */
    check_refused(AIO_BACKEND_AUTO, status);
    setenv("AIO_RS_BACKEND", "epoll", 1);
    aio_ctx *ctx = make_of(AIO_BACKEND_AUTO, AIO_BACKEND_EPOLL, 0);
    check_works(ctx, &kit);
    end_ctx(ctx);
    kit_check(&kit);
}

/* --- filters for system calls ---------------------------------------------------------------- */

TEST(setup_refused_with_eperm_falls_back) {
    forbid_call(SYS_io_uring_setup, EPERM);
    check_all_fall_back(-EPERM);
}

TEST(setup_refused_with_enosys_falls_back) {
    forbid_call(SYS_io_uring_setup, ENOSYS);
    check_all_fall_back(-ENOSYS);
}

TEST(setup_refused_with_eacces_falls_back) {
    forbid_call(SYS_io_uring_setup, EACCES);
    check_all_fall_back(-EACCES);
}

TEST(register_refused_alone_falls_back) {
    needs_a_ring_at_ease();
    forbid_call(SYS_io_uring_register, EPERM);
    check_all_fall_back(-EPERM);
}

TEST(all_three_calls_refused_as_by_a_container_fall_back) {
    const unsigned calls[] = {SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register};
    forbid_calls(calls, COUNT_OF(calls), EPERM);
    check_all_fall_back(-EPERM);
}

/* A profile of the time before a system call refuses it. */
TEST(a_profile_that_does_not_know_epoll_pwait2_either_is_served) {
    const unsigned calls[] = {SYS_io_uring_setup, SYS_epoll_pwait2};
    forbid_calls(calls, COUNT_OF(calls), EPERM);
    check_all_fall_back(-EPERM);
}

TEST(an_environment_that_names_no_backend_is_einval) {
    setenv("AIO_RS_BACKEND", "kqueue", 1);
    check_refused(AIO_BACKEND_AUTO, -EINVAL);
    struct kit kit = kit_open();
    aio_ctx *ctx = make_of(AIO_BACKEND_EPOLL, AIO_BACKEND_EPOLL, 0); /* it counts for AUTO alone */
    check_works(ctx, &kit);
    end_ctx(ctx);
    setenv("AIO_RS_BACKEND", "", 1);
    ctx = make_ctx();
    check_works(ctx, &kit);
    end_ctx(ctx);
    kit_check(&kit);
}

/* --- locked memory --------------------------------------------------------------------------- */

/* A user of its own for each test: locked memory is counted per user, and others run beside. */
static void become_somebody(rlim_t memlock) {
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    unsetenv("AIO_RS_BACKEND");
    if (geteuid() == 0) {
        const id_t somebody = 20000 + (id_t)getpid() % 40000;
        SYS(setgroups(0, NULL));
        SYS(setgid(somebody));
        SYS(setuid(somebody));
        SYS(prctl(PR_SET_DUMPABLE, 1)); /* else /proc/self belongs to root */
    }
    SYS(getrlimit(RLIMIT_MEMLOCK, &limit));
    if (limit.rlim_max < memlock)
        SKIP("this user may lock no more than %llu bytes", (unsigned long long)limit.rlim_max);
    SYS(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){memlock, memlock}));
}

/* One that asks for a ring, as far as memory goes; then one of each that does not mind. */
static bool check_one_of_many(aio_ctx **ctx, int32_t refusal) {
    aio_ctx *ring = NULL;
    const int32_t status = aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ring);
    if (status != 0)
        CHECK_EQ(status, refusal);
    if (status == 0)
        end_ctx(ring);
    struct log log = {0};
    *ctx = make_ctx_with(CTX_WITH(.log = note_log, .log_arg = &log));
    const aio_info info = info_of(*ctx);
    CHECK_EQ(info.fallback_status, info.backend == AIO_BACKEND_EPOLL ? refusal : 0);
    CHECK_EQ(log.fallbacks, info.backend == AIO_BACKEND_EPOLL);
    CHECK_EQ(log.others, 0);
    return info.backend == AIO_BACKEND_URING;
}

enum { CONTEXTS_MAX = 300 };

static void check_many_alive(rlim_t memlock, int count) {
    static aio_ctx *ctxs[CONTEXTS_MAX];
    const int32_t at_ease = fallback_at_ease();
    become_somebody(memlock);
    struct kit kit = kit_open();
    count = count > 30 ? scaled(count) : count;
    int rings = 0;
    for (int i = 0; i < count; i++)
        rings += check_one_of_many(&ctxs[i], at_ease ? at_ease : -ENOMEM);
    for (int i = 0; i < count; i++)
        check_works(ctxs[i], &kit);
    aio_ctx *other = make_of(AIO_BACKEND_EPOLL, AIO_BACKEND_EPOLL, 0);
    check_works(other, &kit);
    end_ctx(other);
    for (int i = 0; i < count; i++)
        end_ctx(ctxs[i]);
    printf("%d of %d have rings\n", rings, count);
    kit_check(&kit);
}

TEST(one_context_without_locked_memory) { check_many_alive(0, 1); }

TEST(thirty_contexts_without_locked_memory) { check_many_alive(0, 30); }

TEST(three_hundred_contexts_without_locked_memory) { check_many_alive(0, 300); }

TEST(one_context_with_64_kib_of_locked_memory) { check_many_alive(64 << 10, 1); }

TEST(thirty_contexts_with_64_kib_of_locked_memory) { check_many_alive(64 << 10, 30); }

TEST(three_hundred_contexts_with_64_kib_of_locked_memory) { check_many_alive(64 << 10, 300); }

TEST(one_context_with_8_mib_of_locked_memory) { check_many_alive(8 << 20, 1); }

TEST(thirty_contexts_with_8_mib_of_locked_memory) { check_many_alive(8 << 20, 30); }

TEST(three_hundred_contexts_with_8_mib_of_locked_memory) { check_many_alive(8 << 20, 300); }

/* Where there is surely no memory for a ring, both ways to ask say the same. */
TEST(without_locked_memory_all_fall_back_with_enomem) {
    needs_a_ring_at_ease();
    become_somebody(0);
    aio_ctx *ring = NULL;
    if (aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ring) == 0)
        SKIP("this kernel does not count rings, or this user may lock any memory");
    check_all_fall_back(-ENOMEM);
}

/* Until the kernel has freed what was closed, however long it takes. */
static void wait_for_a_ring(void) {
    aio_ctx *ring = NULL;
    for (const uint64_t end = patience_end_ns(); now_ns() < end && !ring;)
        if (aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ring) != 0)
            sleep_ms(10);
    CHECK(ring != NULL);
    end_ctx(ring);
}

enum { WAITED_AT_LEAST = 127 }; /* ms: what docs/kernel.md promises */

/* The kernel frees a closed ring's memory late: it is waited for, and each gets a ring. A kernel
 * that is busy enough takes longer than anybody waits; then at least it was waited for. */
TEST(three_thousand_contexts_in_a_row_each_get_a_ring) {
    become_somebody(8 << 20);
    struct kit kit = kit_open();
    aio_ctx *first = make_ctx();
    const bool ring_expected = has_ring(first);
    end_ctx(first);
    const int count = scaled(3000);
    int without = 0;
    for (int i = 0; i < count; i++) {
        const uint64_t start = now_ns();
        aio_ctx *ctx = make_ctx();
        const bool ring = has_ring(ctx);
        if (ring != ring_expected) {
            CHECK(ring_expected);
            CHECK_GE(now_ns() - start, WAITED_AT_LEAST * MS);
            without++;
        }
        if (i % 100 == 0)
            check_works(ctx, &kit);
        end_ctx(ctx);
        if (ring != ring_expected)
            wait_for_a_ring();
    }
    printf("%d of %d have no ring\n", ring_expected ? without : count, count);
    if (!ring_expected)
        SKIP("no rings here");
    kit_check(&kit);
}

/* --- descriptors ----------------------------------------------------------------------------- */

enum { FDS_LOWEST = 3, FDS_HIGHEST = 16 };

static void limit_descriptors(rlim_t count) {
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = count;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
}

/* Either a context that works, or -EMFILE; never another backend than at ease. */
static void check_few_descriptors(uint32_t asked, uint32_t expected, int32_t fallback_status) {
    for (int fd = 3; fd < KIT_FIRST; fd++)
        close(fd);
    struct kit kit = kit_open();
    struct rlimit before;
    SYS(getrlimit(RLIMIT_NOFILE, &before));
    for (rlim_t count = FDS_LOWEST; count <= FDS_HIGHEST; count++) {
        aio_ctx *ctx = NULL;
        limit_descriptors(count);
        const int32_t status = aio_ctx_create(CTX_WITH(.backend = asked), &ctx);
        if (status == 0) {
            CHECK_EQ(info_of(ctx).backend, expected);
            CHECK_EQ(info_of(ctx).fallback_status, fallback_status);
            check_works(ctx, &kit);
            const int foreign = aio_ctx_fd(ctx);
            CHECK(foreign >= 0 || foreign == -EMFILE);
            check_works(ctx, &kit);
            end_ctx(ctx);
        } else {
            CHECK_EQ(status, -EMFILE);
            CHECK(ctx == NULL);
            CHECK_LT(count, FDS_HIGHEST); /* 13 descriptors are plenty */
        }
        CHECK(status != 0 || count > FDS_LOWEST);
        SYS(setrlimit(RLIMIT_NOFILE, &before));
        kit_check(&kit);
    }
}

TEST(few_descriptors_are_enough_or_emfile) {
    unsetenv("AIO_RS_BACKEND");
    aio_ctx *ctx = make_ctx();
    const aio_info info = info_of(ctx);
    end_ctx(ctx);
    check_few_descriptors(AIO_BACKEND_AUTO, info.backend, info.fallback_status);
}

TEST(few_descriptors_are_enough_for_a_ring_or_emfile) {
    aio_ctx *ctx = NULL;
    const int32_t status = aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx);
    if (status != 0)
        SKIP("no ring here: %s", aio_strerror(status));
    end_ctx(ctx);
    check_few_descriptors(AIO_BACKEND_URING, AIO_BACKEND_URING, 0);
}

TEST(few_descriptors_are_enough_for_epoll_or_emfile) {
    check_few_descriptors(AIO_BACKEND_EPOLL, AIO_BACKEND_EPOLL, 0);
}

TEST(few_descriptors_are_enough_for_the_fallback_or_emfile) {
    unsetenv("AIO_RS_BACKEND");
    forbid_call(SYS_io_uring_setup, EPERM);
    check_few_descriptors(AIO_BACKEND_AUTO, AIO_BACKEND_EPOLL, -EPERM);
}

HARNESS_MAIN
