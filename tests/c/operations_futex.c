/* Rows of futexes. */
#include "operations.h"

#include <linux/futex.h>
#include <sys/syscall.h>

/* Of futex2; Debian 12's headers do not have the names. */
#define SIZE_U32 2u
#define PRIVATE 128u
#define FLAGS (SIZE_U32 | PRIVATE)
#define ALL_BITS 0xffffffffull

static void needs_futexes(struct env *e) { needs_ring_of(e->ctx, 6, 7); }

static long wake(uint32_t *word) {
    return syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Nobody wakes. */
static void with_words(struct env *e) {
    needs_futexes(e);
    e->words[0] = e->words[1] = 5;
}

/* Wakes one who waits on the second word, whenever that is. */
static void *wake_one(void *arg) {
    struct env *e = arg;
    while (!__atomic_load_n(&e->helper_stops, __ATOMIC_ACQUIRE) && wake(&e->words[1]) == 0)
        sleep_ms(1);
    return NULL;
}

static void with_a_waker(struct env *e) {
    with_words(e);
    env_start_helper(e, wake_one);
}

static void wake_the_waiter(struct env *e) {
    const uint64_t limit = patience_end_ns();
    while (wake(&e->words[1]) == 0)
        CHECK_LT(now_ns(), limit);
}

SUBMIT(submit_futex_wait) {
    return aio_submit_futex_wait(e->ctx, &e->words[1], 5, ALL_BITS, FLAGS, o, cb, u);
}

ROW(futex_wait, .setup = with_a_waker, .check = check_is_zero, .block = with_words,
    .unblock = wake_the_waiter);

FAILS(futex_wait, EAGAIN, -EAGAIN) {
    with_words(e);
    e->words[1] = 6;
    return submit_futex_wait(e, o, cb, u);
}

FAILS(futex_wait, EINVAL_of_the_size, -EINVAL) {
    with_words(e);
    return aio_submit_futex_wait(e->ctx, e->words, 5, ALL_BITS, 1 | PRIVATE, o, cb, u);
}

FAILS(futex_wait, EINVAL_of_unknown_flags, -EINVAL) {
    with_words(e);
    return aio_submit_futex_wait(e->ctx, e->words, 5, ALL_BITS, FLAGS | 64, o, cb, u);
}

FAILS(futex_wait, EINVAL_of_an_empty_mask, -EINVAL) {
    with_words(e);
    return aio_submit_futex_wait(e->ctx, e->words, 5, 0, FLAGS, o, cb, u);
}

FAILS(futex_wait, EINVAL_of_a_long_value, -EINVAL) {
    with_words(e);
    return aio_submit_futex_wait(e->ctx, e->words, 1ull << 32, ALL_BITS, FLAGS, o, cb, u);
}

FAILS(futex_wait, EINVAL_of_the_alignment, -EINVAL) {
    with_words(e);
    uint32_t *word = (uint32_t *)(void *)((char *)e->words + 1);
    return aio_submit_futex_wait(e->ctx, word, 5, ALL_BITS, FLAGS, o, cb, u);
}

FAILS(futex_wait, EINVAL_without_a_word, -EINVAL) {
    needs_futexes(e);
    return aio_submit_futex_wait(e->ctx, NULL, 5, ALL_BITS, FLAGS, o, cb, u);
}

FAILS(futex_wait, EFAULT, -EFAULT) {
    needs_futexes(e);
    return aio_submit_futex_wait(e->ctx, BAD_ADDRESS, 5, ALL_BITS, FLAGS, o, cb, u);
}

/* --- wake ------------------------------------------------------------------------------------ */

SUBMIT(submit_futex_wake) {
    return aio_submit_futex_wake(e->ctx, e->words, 1, ALL_BITS, FLAGS, o, cb, u);
}

ROW(futex_wake, .check = check_is_zero); /* nobody waits; test_futex has those who do */

FAILS(futex_wake, EINVAL_of_the_size, -EINVAL) {
    return aio_submit_futex_wake(e->ctx, e->words, 1, ALL_BITS, 0 | PRIVATE, o, cb, u);
}

FAILS(futex_wake, EINVAL_of_an_empty_mask, -EINVAL) {
    return aio_submit_futex_wake(e->ctx, e->words, 1, 0, FLAGS, o, cb, u);
}

FAILS(futex_wake, EINVAL_without_a_word, -EINVAL) {
    return aio_submit_futex_wake(e->ctx, NULL, 1, ALL_BITS, FLAGS, o, cb, u);
}

FAILS(futex_wake, EFAULT_of_a_shared_word, -EFAULT) { /* a private one is not looked at */
    return aio_submit_futex_wake(e->ctx, BAD_ADDRESS, 1, ALL_BITS, SIZE_U32, o, cb, u);
}

/* --- waitv ----------------------------------------------------------------------------------- */

static void needs_waitv(struct env *e) {
    needs_futexes(e);
    needs_linux(5, 16);
}

static void fill_waits(struct env *e) {
    for (int i = 0; i < 2; i++) {
        e->words[i] = 5;
        e->waits[i] = (struct futex_waitv){
            .val = 5, .uaddr = (uintptr_t)&e->words[i], .flags = FLAGS, .__reserved = 0};
    }
}

static void with_waits(struct env *e) {
    needs_waitv(e);
    fill_waits(e);
}

static void with_waits_and_a_waker(struct env *e) {
    with_waits(e);
    env_start_helper(e, wake_one);
}

SUBMIT(submit_futex_waitv) { return aio_submit_futex_waitv(e->ctx, e->waits, 2, o, cb, u); }

static void check_second(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 1);
}

ROW(futex_waitv, .setup = with_waits_and_a_waker, .check = check_second, .block = with_waits,
    .unblock = wake_the_waiter);

FAILS(futex_waitv, EAGAIN, -EAGAIN) {
    with_waits(e);
    e->words[0] = 6;
    return submit_futex_waitv(e, o, cb, u);
}

FAILS(futex_waitv, EINVAL_of_no_words, -EINVAL) {
    with_waits(e);
    return aio_submit_futex_waitv(e->ctx, e->waits, 0, o, cb, u);
}

FAILS(futex_waitv, EINVAL_of_the_count, -EINVAL) {
    with_waits(e);
    return aio_submit_futex_waitv(e->ctx, e->waits, 129, o, cb, u);
}

FAILS(futex_waitv, EINVAL_without_words, -EINVAL) {
    needs_waitv(e);
    return aio_submit_futex_waitv(e->ctx, NULL, 2, o, cb, u);
}

FAILS(futex_waitv, EINVAL_of_unknown_flags, -EINVAL) {
    with_waits(e);
    e->waits[1].flags |= 64;
    return submit_futex_waitv(e, o, cb, u);
}

FAILS(futex_waitv, EFAULT, -EFAULT) {
    with_waits(e);
    e->waits[1].uaddr = (uintptr_t)BAD_ADDRESS;
    return submit_futex_waitv(e, o, cb, u);
}
