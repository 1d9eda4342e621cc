/* Section threads: predicates that are polled until they hold. */
#include "harness.h"

#define HOW(...) (&(aio_poll_until_options){.size = sizeof(aio_poll_until_options), __VA_ARGS__})

struct question {
    struct call call;
    int asked;
    int holds_at;
    int32_t answer;
    pthread_t thread;
    aio_ctx *ctx;
    aio_op_id id;
    int32_t status;
    void (*act)(struct question *question);
};

static int32_t ask(void *arg) {
    struct question *question = arg;
    question->thread = pthread_self();
    const int asked = __atomic_add_fetch(&question->asked, 1, __ATOMIC_ACQ_REL);
    if (question->act)
        question->act(question);
    return question->holds_at && asked >= question->holds_at ? question->answer : 0;
}

static aio_op_id poll_with(aio_ctx *ctx, struct question *question,
                           const aio_poll_until_options *how, const aio_submit_options *options) {
    question->ctx = ctx;
    question->id =
        ID(aio_submit_poll_until(ctx, ask, question, how, options, on_call, &question->call));
    return question->id;
}

static int asked(struct question *question) {
    return __atomic_load_n(&question->asked, __ATOMIC_ACQUIRE);
}

static aio_thread_pool *make_pool(uint32_t kind) {
    aio_thread_pool *pool = NULL;
    const aio_thread_pool_options options = {.size = sizeof options, .kind = kind};
    CHECK_EQ(aio_thread_pool_create(&options, &pool), 0);
    return pool;
}

TEST(a_predicate_is_asked_until_it_holds) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    for (int on_pool = 0; on_pool < 2; on_pool++) {
        struct question positive = {.holds_at = 4, .answer = 9};
        struct question negative = {.holds_at = 1, .answer = -EIO};
        poll_with(ctx, &positive, HOW(.pool = on_pool ? pool : NULL), NULL);
        poll_with(ctx, &negative, HOW(.pool = on_pool ? pool : NULL), NULL);
        if (!on_pool)
            CHECK_EQ(positive.asked, 0); /* never inside the submit */
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(positive.call.result, 9);
        CHECK_EQ(positive.asked, 4);
        CHECK_EQ(negative.call.result, -EIO);
        CHECK_EQ(negative.asked, 1);
        CHECK_EQ(!!pthread_equal(positive.thread, pthread_self()), !on_pool);
        CHECK(pthread_equal(positive.call.thread, pthread_self()));
    }
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* 1, 2, 4, ... 32 milliseconds: the sixth question comes after 31 at the earliest. */
TEST(the_pauses_double) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    for (int on_pool = 0; on_pool < 2; on_pool++) {
        struct question question = {.holds_at = 6, .answer = 1};
        const uint64_t start = now_ns();
        poll_with(
            ctx, &question,
            HOW(.min_interval_ns = MS, .max_interval_ns = HOUR, .pool = on_pool ? pool : NULL),
            NULL);
        CHECK_EQ(await_call(ctx, &question.call), 1);
        CHECK_GE(now_ns() - start, 31 * MS);
    }
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(it_spins_when_told_to_and_only_then) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    const int count = scaled(1000);
    for (int on_pool = 0; on_pool < 2; on_pool++) {
        struct question spinning = {.holds_at = count, .answer = 1};
        struct question resting = {0};
        aio_thread_pool *where = on_pool ? pool : NULL;
        poll_with(ctx, &spinning, HOW(.min_interval_ns = HOUR, .spin_ns = HOUR, .pool = where),
                  NULL);
        poll_with(ctx, &resting, HOW(.min_interval_ns = HOUR, .pool = where), NULL);
        CHECK_EQ(await_call(ctx, &spinning.call), 1);
        CHECK_EQ(spinning.asked, count);
        while (!asked(&resting))
            CHECK_GE(aio_ctx_run_once(ctx, (int64_t)MS), 0);
        run_for_ms(ctx, 20);
        CHECK_EQ(asked(&resting), 1);
        CHECK_EQ(aio_ctx_cancel(ctx, resting.id), 0);
        CHECK_EQ(await_call(ctx, &resting.call), -ECANCELED);
    }
    /* The spinning has an end. */
    struct question both = {.holds_at = 1 << 30};
    poll_with(ctx, &both, HOW(.min_interval_ns = HOUR, .spin_ns = 100 * MS), NULL);
    run_for_ms(ctx, 150);
    const int before = both.asked;
    CHECK_GE(before, 2);
    run_for_ms(ctx, 20);
    CHECK_EQ(both.asked, before);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, both.id), 0);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_cancel_and_a_deadline_end_it_while_it_pauses) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    for (int on_pool = 0; on_pool < 2; on_pool++) {
        const aio_poll_until_options *how =
            HOW(.min_interval_ns = HOUR, .pool = on_pool ? pool : NULL);
        struct question late = {0}, cancelled = {0}, waited = {0}, aborted = {0};
        poll_with(ctx, &late, how, WITH(.timeout_ns = 5 * MS));
        CHECK_EQ(await_call(ctx, &late.call), -ETIMEDOUT);
        CHECK_EQ(late.call.flags, AIO_CQE_DEADLINE);
        poll_with(ctx, &cancelled, how, NULL);
        while (!asked(&cancelled))
            CHECK_GE(aio_ctx_run_once(ctx, (int64_t)MS), 0);
        CHECK_EQ(aio_ctx_cancel(ctx, cancelled.id), 0);
        CHECK_EQ(await_call(ctx, &cancelled.call), -ECANCELED);
        poll_with(ctx, &waited, how, NULL);
        CHECK_EQ(aio_ctx_cancel_wait(ctx, waited.id), 0);
        CHECK_EQ(waited.call.calls, 0);
        aio_ctx *second = make_ctx();
        poll_with(second, &aborted, how, NULL);
        end_ctx(second);
        CHECK_EQ(aborted.call.result, -ECANCELED);
        CHECK_EQ(aborted.call.flags, AIO_CQE_ABORTED);
    }
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

static void cancel_itself(struct question *question) {
    question->status = aio_ctx_cancel(question->ctx, question->id);
}

static void destroy_context(struct question *question) {
    question->status = aio_ctx_destroy(question->ctx);
}

static void run_context(struct question *question) {
    question->status = aio_ctx_run(question->ctx);
}

TEST(a_predicate_may_do_what_a_callback_may) {
    aio_ctx *ctx = make_ctx();
    struct question question = {.holds_at = 1, .answer = 5, .act = cancel_itself};
    poll_with(ctx, &question, NULL, NULL);
    CHECK_EQ(await_call(ctx, &question.call), -ECANCELED);
    CHECK_EQ(question.status, 0);
    CHECK_EQ(question.asked, 1);
    struct question runs = {.holds_at = 1, .answer = 5, .act = run_context};
    poll_with(ctx, &runs, NULL, NULL);
    CHECK_EQ(await_call(ctx, &runs.call), 5);
    CHECK_EQ(runs.status, AIO_EREENTRANT);
    struct question destroys = {.act = destroy_context};
    poll_with(ctx, &destroys, NULL, NULL);
    CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
    CHECK_EQ(destroys.status, AIO_EPENDING);
    CHECK_EQ(destroys.call.result, -ECANCELED);
    CHECK_EQ(destroys.call.flags, AIO_CQE_ABORTED);
}

TEST(other_work_goes_on_between_the_questions) {
    aio_ctx *ctx = make_ctx();
    struct question question = {0};
    struct call timer = {0}, nop = {0};
    poll_with(ctx, &question, HOW(.spin_ns = HOUR), NULL);
    ID(aio_submit_timer(ctx, 5 * MS, NULL, on_call, &timer));
    CHECK_EQ(await_call(ctx, &timer), 0);
    CHECK_EQ(DO(ctx, nop, aio_submit_nop(ctx, NULL, on_call, &nop)), 0);
    CHECK_GE(question.asked, 1);
    CHECK_EQ(aio_ctx_in_flight(ctx), 1); /* its timers are nobody's */
    CHECK_EQ(aio_ctx_cancel_all(ctx), 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(question.call.result, -ECANCELED);
    end_ctx(ctx);
}

static int32_t run_for_a_while(void *arg) {
    sleep_ms(20);
    return *(const int32_t *)arg;
}

struct waiting {
    aio_ctx *ctx;
    aio_op_id id;
};

static void wait_for_work(void *arg) {
    const struct waiting *waiting = arg;
    CHECK_EQ(aio_ctx_cancel_wait(waiting->ctx, waiting->id), 0);
}

/* Their pauses end, or their turns come, while nothing of the program may be called. */
TEST(what_is_to_be_asked_while_the_program_waits_is_asked_afterwards) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    const int32_t result = 1;
    struct question spinning[3], pausing[3];
    for (int i = 0; i < 3; i++) {
        spinning[i] = (struct question){.holds_at = 1000, .answer = 5};
        pausing[i] = (struct question){.holds_at = 10, .answer = 6};
        poll_with(ctx, &spinning[i], HOW(.spin_ns = HOUR), NULL);
        poll_with(ctx, &pausing[i], NULL, NULL);
    }
    for (int round = 0; round < 5; round++) {
        struct waiting waiting = {.ctx = ctx};
        waiting.id = ID(aio_submit_work(ctx, pool, run_for_a_while, (void *)&result, NULL,
                                        on_call_never, NULL));
        CHECK_EQ(aio_ctx_post(ctx, wait_for_work, &waiting), 0);
        for (int i = 0; i < 10; i++)
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(spinning[i].call.result, 5);
        CHECK_EQ(spinning[i].asked, 1000);
        CHECK_EQ(pausing[i].call.result, 6);
        CHECK_EQ(pausing[i].asked, 10);
    }
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* It was about to be asked when the program waited for another, and then ended it. */
TEST(what_has_ended_since_is_not_asked_any_more) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_BLOCKING);
    const int32_t result = 1;
    struct question *question = calloc(1, sizeof *question);
    poll_with(ctx, question, HOW(.spin_ns = HOUR), NULL);
    while (!question->asked) /* to ask is no delivery, which a run would wait for */
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    const aio_op_id id =
        ID(aio_submit_work(ctx, pool, run_for_a_while, (void *)&result, NULL, on_call_never, NULL));
    const int before = question->asked;
    CHECK_EQ(aio_ctx_cancel_wait(ctx, id), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, question->id), 0);
    CHECK_EQ(question->asked, before);
    free(question);
    struct question other = {.holds_at = 3, .answer = 4};
    poll_with(ctx, &other, NULL, NULL);
    CHECK_EQ(await_call(ctx, &other.call), 4);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(destroying_its_pool_ends_what_never_holds) {
    aio_ctx *ctx = make_ctx();
    const aio_thread_pool_options options = {.size = sizeof options, .threads_max = 2};
    struct question questions[3] = {0};
    aio_thread_pool *pool = NULL;
    CHECK_EQ(aio_thread_pool_create(&options, &pool), 0);
    for (int i = 0; i < 3; i++)
        poll_with(ctx, &questions[i], HOW(.pool = pool, .min_interval_ns = HOUR), NULL);
    while (!asked(&questions[0]) || !asked(&questions[1]))
        sleep_ms(1);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(questions[i].call.result, -ECANCELED);
        CHECK_EQ(questions[i].call.flags, AIO_CQE_ABORTED);
        CHECK_EQ(questions[i].asked, i < 2);
    }
    end_ctx(ctx);
}

TEST(what_makes_no_sense_is_refused) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = make_pool(AIO_THREAD_POOL_COMPUTE);
    struct question question = {0};
    const aio_poll_until_options bad[] = {
        {.min_interval_ns = 2, .max_interval_ns = 1},
        {.reserved0 = 1},
        {.reserved = {1}},
        {.pool = pool},
    };
    for (int i = 0; i < COUNT_OF(bad); i++) {
        aio_poll_until_options how = bad[i];
        how.size = sizeof how;
        CHECK_EQ(aio_submit_poll_until(ctx, ask, &question, &how, NULL, on_call_never, NULL),
                 -EINVAL);
    }
    CHECK_EQ(aio_submit_poll_until(ctx, NULL, NULL, NULL, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_poll_until(ctx, ask, &question, NULL, WITH(.flags = AIO_SUBMIT_KEEP_RESULT),
                                   on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(question.asked, 0);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
