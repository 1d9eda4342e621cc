/* Rows of the section threads. */
#include "operations.h"

/* One thread, which `hold` occupies for another context's sake until the end of the attempt. */
static aio_thread_pool *pool;
static aio_ctx *other;
static int gate[2];
static struct call held;
static int32_t answer;

static int32_t read_gate(void *arg) {
    (void)arg;
    char byte;
    return (int32_t)read(gate[0], &byte, 1);
}

static void undo(struct env *e) {
    (void)e;
    if (other) {
        close(gate[1]);
        CHECK_EQ(await_call(other, &held), 0);
        end_ctx(other);
        close(gate[0]);
    }
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
}

static void make_pool(struct env *e) {
    other = NULL;
    answer = 0;
    CHECK_EQ(
        aio_thread_pool_create(
            &(aio_thread_pool_options){.size = sizeof(aio_thread_pool_options), .threads_max = 1},
            &pool),
        0);
    e->undo = undo;
}

static void make_busy_pool(struct env *e) {
    make_pool(e);
    SYS(pipe2(gate, O_CLOEXEC));
    held = (struct call){0};
    other = make_ctx();
    ID(aio_submit_work(other, pool, read_gate, NULL, NULL, on_call, &held));
}

static int32_t increment(void *arg) { return *(int32_t *)arg + 1; }

SUBMIT(submit_work) {
    e->value = 41;
    return aio_submit_work(e->ctx, pool, increment, &e->value, o, cb, u);
}

static void check_is_42(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 42);
}

ROW(work, .setup = make_pool, .check = check_is_42, .block = make_busy_pool, .service = true);

FAILS(work, EINVAL, -EINVAL) {
    return aio_submit_work(e->ctx, NULL, increment, &e->value, o, cb, u);
}

static int32_t tell(void *arg) { return *(int32_t *)arg; }

static void hold_answer(struct env *e) {
    (void)e;
    answer = 0;
}

static void give_answer(struct env *e) {
    (void)e;
    answer = 42;
}

SUBMIT(submit_poll_until) {
    answer = 42;
    return aio_submit_poll_until(e->ctx, tell, &answer, NULL, o, cb, u);
}

SUBMIT(submit_poll_until_told) {
    return aio_submit_poll_until(e->ctx, tell, &answer, NULL, o, cb, u);
}

ROW(poll_until, .setup = hold_answer, .check = check_is_42, .block = hold_answer,
    .submit_blocked = submit_poll_until_told, .unblock = give_answer, .service = true);

FAILS(poll_until, EINVAL, -EINVAL) {
    const aio_poll_until_options how = {
        .size = sizeof how, .min_interval_ns = 2 * MS, .max_interval_ns = MS};
    return aio_submit_poll_until(e->ctx, tell, &answer, &how, o, cb, u);
}
