/* Section futex: who is woken by whom: by masks and counts, between the engine and plain futex(2),
 * between processes, and when others were cancelled. */
#include "harness.h"

#include <dirent.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define SIZE_U32 2u
#define PRIVATE 128u
#define FLAGS (SIZE_U32 | PRIVATE)
#define ALL_BITS 0xffffffffull

static aio_ctx *make_futex_ctx(void) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 7);
    return ctx;
}

static long plain_wake(uint32_t *word, int operation, int count) {
    return syscall(SYS_futex, word, operation, count, NULL, NULL, 0);
}

/* Wakes with the plain call until somebody was there: a wait starts when it starts. */
static void plain_wake_one(uint32_t *word, int operation) {
    const uint64_t limit = patience_end_ns();
    while (plain_wake(word, operation, 1) == 0)
        CHECK_LT(now_ns(), limit);
}

static int32_t wake(aio_ctx *ctx, uint32_t *word, uint64_t count, uint64_t mask) {
    struct call call = {0};
    ID(aio_submit_futex_wake(ctx, word, count, mask, FLAGS, NULL, on_call, &call));
    return await_call(ctx, &call);
}

/* How many threads of this process sleep in futex(2) on the word. */
static int sleepers(const uint32_t *word) {
    char text[128], wanted[64];
    int count = 0;
    snprintf(wanted, sizeof wanted, "%ld 0x%" PRIxPTR " ", (long)SYS_futex, (uintptr_t)word);
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (const struct dirent *task; (task = readdir(tasks));) {
        snprintf(text, sizeof text, "/proc/self/task/%.32s/syscall", task->d_name);
        const int fd = open(text, O_RDONLY | O_CLOEXEC);
        const ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        text[got > 0 ? got : 0] = '\0';
        count += strncmp(text, wanted, strlen(wanted)) == 0;
        if (fd >= 0)
            close(fd);
    }
    closedir(tasks);
    return count;
}

/* Waits until so many operations sleep on the word: on a ring they do once they are handed over. */
static void await_sleepers(aio_ctx *ctx, const uint32_t *word, int count) {
    const uint64_t limit = patience_end_ns();
    do {
        run_for_ms(ctx, 1);
        CHECK_LT(now_ns(), limit);
    } while (!has_ring(ctx) && sleepers(word) != count);
}

/* `count` waits on a word, which all sleep when this returns. */
static void start_waits(aio_ctx *ctx, uint32_t *word, int count, const uint64_t *masks,
                        struct call *calls) {
    for (int i = 0; i < count; i++) {
        calls[i] = (struct call){0};
        ID(aio_submit_futex_wait(ctx, word, *word, masks ? masks[i] : ALL_BITS, FLAGS, NULL,
                                 on_call, &calls[i]));
    }
    await_sleepers(ctx, word, count);
    for (int i = 0; i < count; i++)
        CHECK_EQ(calls[i].calls, 0);
}

TEST(a_wake_is_counted_and_takes_those_whose_mask_it_shares) {
    aio_ctx *ctx = make_futex_ctx();
    uint32_t word = 7;
    struct call calls[3];
    const uint64_t masks[] = {1, 2, 6};
    start_waits(ctx, &word, 3, masks, calls);
    CHECK_EQ(wake(ctx, &word, 10, 8), 0);
    CHECK_EQ(wake(ctx, &word, 10, 1), 1);
    CHECK_EQ(await_call(ctx, &calls[0]), 0);
    CHECK_EQ(wake(ctx, &word, 10, 4), 1);
    CHECK_EQ(await_call(ctx, &calls[2]), 0);
    CHECK_EQ(calls[1].calls, 0);
    CHECK_EQ(wake(ctx, &word, 10, ALL_BITS), 1);
    CHECK_EQ(await_call(ctx, &calls[1]), 0);
    end_ctx(ctx);
}

TEST(a_wake_of_none_wakes_nobody_and_one_of_very_many_wakes_all) {
    aio_ctx *ctx = make_futex_ctx();
    uint32_t word = 7;
    struct call calls[5];
    start_waits(ctx, &word, 5, NULL, calls);
    CHECK_EQ(wake(ctx, &word, 0, ALL_BITS), 0);
    CHECK_EQ(wake(ctx, &word, 2, ALL_BITS), 2);
    CHECK_EQ(wake(ctx, &word, UINT32_MAX, ALL_BITS), 3);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(await_call(ctx, &calls[i]), 0);
    end_ctx(ctx);
}

TEST(a_wake_is_not_lost_on_one_that_was_cancelled) {
    aio_ctx *ctx = make_futex_ctx();
    uint32_t word = 7;
    struct call calls[2] = {{0}, {0}};
    const aio_op_id first =
        ID(aio_submit_futex_wait(ctx, &word, 7, ALL_BITS, FLAGS, NULL, on_call, &calls[0]));
    ID(aio_submit_futex_wait(ctx, &word, 7, ALL_BITS, FLAGS, NULL, on_call, &calls[1]));
    await_sleepers(ctx, &word, 2);
    CHECK_EQ(aio_ctx_cancel(ctx, first), 0);
    CHECK_EQ(await_call(ctx, &calls[0]), -ECANCELED);
    CHECK_EQ(wake(ctx, &word, 1, ALL_BITS), 1);
    CHECK_EQ(await_call(ctx, &calls[1]), 0);
    end_ctx(ctx);
}

TEST(a_word_that_has_changed_is_not_waited_on) {
    aio_ctx *ctx = make_futex_ctx();
    uint32_t word = 7;
    struct call call = {0};
    ID(aio_submit_futex_wait(ctx, &word, 7, ALL_BITS, FLAGS, NULL, on_call, &call));
    word = 8; /* nothing was handed over yet */
    CHECK_EQ(await_call(ctx, &call), -EAGAIN);
    end_ctx(ctx);
}

TEST(waitv_says_which_word_was_woken) {
    aio_ctx *ctx = make_futex_ctx();
    needs_known_calls(ctx);
    needs_linux(5, 16);
    uint32_t words[3] = {5, 6, 7};
    for (int woken = 0; woken < 3; woken++) {
        struct futex_waitv waits[3] = {{0}};
        struct call call = {0};
        for (int i = 0; i < 3; i++) {
            waits[i].val = words[i];
            waits[i].uaddr = (uintptr_t)&words[i];
            waits[i].flags = FLAGS;
        }
        ID(aio_submit_futex_waitv(ctx, waits, 3, NULL, on_call, &call));
        memset(waits, 0xff, sizeof waits); /* copied during the call */
        check_blocked(ctx, &call);
        plain_wake_one(&words[woken], FUTEX_WAKE_PRIVATE);
        CHECK_EQ(await_call(ctx, &call), woken);
    }
    end_ctx(ctx);
}

/* --- with others ----------------------------------------------------------------------------- */

static void *wait_plainly(void *arg) {
    uint32_t *word = arg;
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

TEST(a_thread_that_waits_plainly_is_woken) {
    aio_ctx *ctx = make_futex_ctx();
    static uint32_t word;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, wait_plainly, &word), 0);
    sleep_ms(20);
    __atomic_store_n(&word, 1, __ATOMIC_RELEASE);
    CHECK_LE(wake(ctx, &word, 10, ALL_BITS), 1); /* 0: it has not slept yet, and will not */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_ctx(ctx);
}

static void wake_from_the_child(void *arg) {
    while (plain_wake(arg, FUTEX_WAKE, 1) == 0)
        sleep_ms(1);
}

TEST(a_word_in_shared_memory_is_woken_by_another_process) {
    aio_ctx *ctx = make_futex_ctx();
    if (!has_ring(ctx))
        beyond_valgrind("blames a child for the memory of threads that it has not");
    uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    struct call call = {0};
    ID(aio_submit_futex_wait(ctx, word, 0, ALL_BITS, SIZE_U32, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_flush(ctx), 0);
    const pid_t child = start_child(wake_from_the_child, word);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(end_child(child), 0);
    SYS(munmap(word, 4096));
    end_ctx(ctx);
}

HARNESS_MAIN
