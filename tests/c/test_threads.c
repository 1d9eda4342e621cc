/* Section threads: pools, work on their threads, and predicates. What a function may touch after
 * its operation's callback is asserted by marking the argument as gone there. */
#include "harness.h"

#include <sched.h>
#include <sys/wait.h>

#define POOL_WITH(...)                                                                             \
    make_pool(&(aio_thread_pool_options){.size = sizeof(aio_thread_pool_options), __VA_ARGS__})

static aio_thread_pool *make_pool(const aio_thread_pool_options *options) {
    aio_thread_pool *pool = NULL;
    CHECK_EQ(aio_thread_pool_create(options, &pool), 0);
    return pool;
}

static aio_thread_pool_status status_of(const aio_thread_pool *pool) {
    aio_thread_pool_status status = {.size = sizeof status};
    CHECK_EQ(aio_thread_pool_info(pool, &status), 0);
    return status;
}

/* A function that waits until it is let go. */
struct job {
    struct call call;
    pthread_t thread;
    int32_t result;
    int gate[2];
    bool runs, gone;
    void (*act)(struct job *job);
    void *arg;
};

static int32_t run_job(void *arg) {
    struct job *job = arg;
    CHECK(!job->gone);
    job->thread = pthread_self();
    __atomic_store_n(&job->runs, true, __ATOMIC_RELEASE);
    if (job->act)
        job->act(job);
    char byte;
    if (job->gate[0])
        CHECK_EQ(read(job->gate[0], &byte, 1), 0);
    CHECK(!job->gone);
    return job->result;
}

static void on_job(struct call *call) { ((struct job *)call->arg)->gone = true; }

static aio_op_id start_with(aio_ctx *ctx, aio_thread_pool *pool, struct job *job,
                            const aio_submit_options *options) {
    job->call.arg = job;
    job->call.then = on_job;
    return aio_submit_work(ctx, pool, run_job, job, options, on_call, &job->call);
}

static aio_op_id start(aio_ctx *ctx, aio_thread_pool *pool, struct job *job) {
    return ID(start_with(ctx, pool, job, NULL));
}

static void hold(struct job *job) { make_pipe(job->gate); }

static void let_go(struct job *job) { SYS(close(job->gate[1])); }

static void until_it_runs(struct job *job) {
    while (!__atomic_load_n(&job->runs, __ATOMIC_ACQUIRE))
        sleep_ms(1);
}

TEST(work_runs_on_another_thread_and_its_return_is_the_result) {
    aio_ctx *ctx = make_ctx();
    const uint32_t kinds[] = {AIO_THREAD_POOL_BLOCKING, AIO_THREAD_POOL_COMPUTE};
    for (int i = 0; i < 2; i++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kinds[i]);
        const int32_t results[] = {0, 42, -1, -EINTR, INT32_MAX};
        for (int r = 0; r < COUNT_OF(results); r++) {
            struct job job = {.result = results[r]};
            start(ctx, pool, &job);
            CHECK_EQ(job.call.calls, 0);
            CHECK_EQ(await_call(ctx, &job.call), results[r]);
            CHECK_EQ(job.call.flags, 0);
            CHECK(!pthread_equal(job.thread, pthread_self()));
            CHECK(pthread_equal(job.call.thread, pthread_self()));
            CHECK_EQ(job.call.bytes, results[r] < 0 ? 0 : (uint64_t)results[r]);
        }
        CHECK_EQ(status_of(pool).submitted, COUNT_OF(results));
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

TEST(a_full_pool_refuses_at_submit) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 1, .queue_max = 2);
        struct job jobs[4] = {0};
        hold(&jobs[0]);
        for (int i = 0; i < 3; i++)
            start(ctx, pool, &jobs[i]);
        until_it_runs(&jobs[0]);
        CHECK_EQ(start_with(ctx, pool, &jobs[3], NULL), -EAGAIN);
        CHECK_EQ(aio_ctx_in_flight(ctx), 3);
        const aio_thread_pool_status status = status_of(pool);
        CHECK_EQ(status.size, sizeof status);
        CHECK_EQ(status.kind, kind);
        CHECK_EQ(status.threads, 1);
        CHECK_EQ(status.threads_max, 1);
        CHECK_EQ(status.queued, 2);
        CHECK_EQ(status.running, 1);
        CHECK_EQ(status.queue_max, 2);
        CHECK_EQ(status.submitted, 3);
        let_go(&jobs[0]);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(jobs[2].call.finals, 1);
        CHECK_EQ(jobs[3].call.calls, 0);
        CHECK_EQ(DO(ctx, jobs[3].call, start_with(ctx, pool, &jobs[3], NULL)), 0);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

/* The line of an operation in a dump ends so. */
static void check_place(aio_ctx *ctx, aio_op_id id, const char *place) {
    char text[2048] = {0}, number[32], end[64];
    CHECK_GT(aio_ctx_dump(ctx, text, sizeof text), 0);
    snprintf(number, sizeof number, "id %lld work age", (long long)id);
    snprintf(end, sizeof end, " ms %s\n", place);
    const char *line = strstr(text, number);
    CHECK(line != NULL);
    CHECK(strstr(line, end) && strstr(line, end) < strchr(line, '\n'));
}

TEST(a_dump_says_what_waits_for_a_thread_and_what_has_one) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 1);
        struct job jobs[2] = {0};
        hold(&jobs[0]);
        const aio_op_id first = start(ctx, pool, &jobs[0]), second = start(ctx, pool, &jobs[1]);
        until_it_runs(&jobs[0]);
        check_place(ctx, first, "with a thread");
        check_place(ctx, second, "waiting for a thread");
        let_go(&jobs[0]);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

TEST(a_cancel_removes_what_has_not_begun_and_waits_for_what_runs) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 2);
        struct job plain = {.result = 7}, kept = {.result = 8}, queued = {0};
        hold(&plain);
        hold(&kept);
        const aio_op_id first = start(ctx, pool, &plain);
        const aio_op_id second =
            ID(start_with(ctx, pool, &kept, WITH(.flags = AIO_SUBMIT_KEEP_RESULT)));
        until_it_runs(&plain);
        until_it_runs(&kept);
        const aio_op_id third = start(ctx, pool, &queued);
        CHECK_EQ(aio_ctx_cancel(ctx, third), 0);
        CHECK_EQ(aio_ctx_cancel(ctx, third), -EALREADY);
        CHECK_EQ(await_call(ctx, &queued.call), -ECANCELED);
        CHECK(!queued.runs);
        CHECK_EQ(aio_ctx_cancel(ctx, first), 0);
        CHECK_EQ(aio_ctx_cancel(ctx, first), -EALREADY);
        CHECK_EQ(aio_ctx_cancel(ctx, second), 0);
        CHECK_EQ(aio_ctx_detach(ctx, first), -EBUSY);
        check_blocked(ctx, &plain.call);
        let_go(&plain);
        let_go(&kept);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(plain.call.result, -ECANCELED);
        CHECK_EQ(plain.call.flags, 0);
        CHECK_EQ(kept.call.result, 8);
        CHECK_EQ(aio_ctx_cancel(ctx, first), -ENOENT);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

TEST(a_deadline_waits_for_the_function_to_return) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = POOL_WITH(.threads_max = 1);
    struct job late = {0}, kept = {.result = 3};
    hold(&late);
    ID(start_with(ctx, pool, &late, WITH(.timeout_ns = MS)));
    until_it_runs(&late);
    run_for_ms(ctx, 20);
    CHECK_EQ(late.call.calls, 0);
    let_go(&late);
    CHECK_EQ(await_call(ctx, &late.call), -ETIMEDOUT);
    CHECK_EQ(late.call.flags, AIO_CQE_DEADLINE);
    hold(&kept);
    ID(start_with(ctx, pool, &kept, WITH(.timeout_ns = MS, .flags = AIO_SUBMIT_KEEP_RESULT)));
    until_it_runs(&kept);
    run_for_ms(ctx, 20);
    let_go(&kept);
    CHECK_EQ(await_call(ctx, &kept.call), 3);
    CHECK_EQ(kept.call.flags, AIO_CQE_DEADLINE);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

static void *let_go_soon(void *job) {
    sleep_ms(20);
    let_go(job);
    return NULL;
}

/* The function returns while the calling thread waits for it. */
static pthread_t letting_go(struct job *job) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, let_go_soon, job), 0);
    return thread;
}

TEST(destroying_the_context_waits_for_the_function) {
    aio_thread_pool *pool = POOL_WITH(.threads_max = 1);
    aio_ctx *ctx = make_ctx();
    struct job running = {.result = 1}, queued = {0};
    hold(&running);
    start(ctx, pool, &running);
    start(ctx, pool, &queued);
    until_it_runs(&running);
    const pthread_t thread = letting_go(&running);
    end_ctx(ctx);
    CHECK_EQ(running.call.result, -ECANCELED);
    CHECK_EQ(running.call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(queued.call.result, -ECANCELED);
    CHECK(!queued.runs);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
}

TEST(waiting_for_one_leaves_the_others) {
    aio_thread_pool *pool = POOL_WITH(.threads_max = 1);
    aio_ctx *ctx = make_ctx();
    struct job running = {0}, queued = {0}, last = {.result = 5};
    hold(&running);
    const aio_op_id first = start(ctx, pool, &running);
    until_it_runs(&running);
    const aio_op_id second = start(ctx, pool, &queued);
    start(ctx, pool, &last);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, second), 0);
    const pthread_t thread = letting_go(&running);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, first), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(running.call.calls + queued.call.calls, 0);
    CHECK_EQ(await_call(ctx, &last.call), 5);
    end_ctx(ctx);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
}

TEST(destroying_a_pool_cancels_what_waits_and_waits_for_what_runs) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 1);
        struct job running = {.result = 4}, queued = {0};
        hold(&running);
        start(ctx, pool, &running);
        const aio_op_id id = start(ctx, pool, &queued);
        until_it_runs(&running);
        const pthread_t thread = letting_go(&running);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(running.call.calls + queued.call.calls, 0);
        CHECK_EQ(aio_ctx_cancel(ctx, id), -EALREADY); /* its end is on the way */
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(running.call.result, 4);
        CHECK_EQ(queued.call.result, -ECANCELED);
        CHECK_EQ(queued.call.flags, AIO_CQE_ABORTED);
        CHECK(!queued.runs);
    }
    CHECK_EQ(aio_thread_pool_destroy(NULL), 0);
    end_ctx(ctx);
}

static void destroy_own_pool(struct job *job) { job->result = aio_thread_pool_destroy(job->arg); }

static void destroy_pool_of(struct call *call) {
    struct job *job = call->arg;
    CHECK_EQ(aio_thread_pool_destroy(job->arg), 0);
}

TEST(a_pool_can_be_destroyed_in_a_callback_but_not_by_its_own_work) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind);
        struct job job = {.act = destroy_own_pool, .arg = pool};
        job.call.arg = &job;
        job.call.then = destroy_pool_of;
        ID(aio_submit_work(ctx, pool, run_job, &job, NULL, on_call, &job.call));
        CHECK_EQ(await_call(ctx, &job.call), -EDEADLK);
    }
    end_ctx(ctx);
}

struct user {
    aio_thread_pool *pool;
    int done;
};

static int32_t add_one(void *arg) { return *(int32_t *)arg + 1; }

static void *use_pool(void *arg) {
    struct user *user = arg;
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < scaled(200); i++) {
        int32_t value = i;
        struct call call = {0};
        CHECK_EQ(
            DO(ctx, call, aio_submit_work(ctx, user->pool, add_one, &value, NULL, on_call, &call)),
            i + 1);
        user->done++;
    }
    end_ctx(ctx);
    return NULL;
}

TEST(a_pool_serves_several_contexts_and_outlives_them) {
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct user users[3] = {0};
        pthread_t threads[3];
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 2);
        for (int i = 0; i < 3; i++) {
            users[i].pool = pool;
            CHECK_EQ(pthread_create(&threads[i], NULL, use_pool, &users[i]), 0);
        }
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
            CHECK_EQ(users[i].done, scaled(200));
        }
        CHECK_EQ(status_of(pool).submitted, 3 * (uint64_t)scaled(200));
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
}

static void post_note(void *arg) { ++*(int *)arg; }

static void post_to_context(struct job *job) {
    static int notes;
    CHECK_EQ(aio_ctx_post(job->call.ctx, post_note, &notes), 0);
}

static void submit_next(struct call *call) {
    struct job *job = call->arg;
    if (call->calls < 5) {
        call->finals = 0;
        ID(aio_submit_work(call->ctx, job->arg, run_job, job, NULL, on_call, call));
    }
}

TEST(work_posts_and_callbacks_submit_more) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = POOL_WITH(.threads_max = 1);
    struct job job = {.act = post_to_context, .arg = pool};
    job.call.ctx = ctx;
    job.call.arg = &job;
    job.call.then = submit_next;
    ID(aio_submit_work(ctx, pool, run_job, &job, NULL, on_call, &job.call));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(job.call.calls, 5);
    CHECK_EQ(stats_of(ctx).posts, 5);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_barrier_waits_for_work_and_work_for_a_barrier) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = POOL_WITH(.threads_max = 1, .queue_max = 1);
    struct job first = {0}, behind = {.result = 2};
    struct call nop = {0};
    hold(&first);
    start(ctx, pool, &first);
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &nop));
    ID(start_with(ctx, pool, &behind, WITH(.flags = AIO_SUBMIT_BARRIER)));
    run_for_ms(ctx, 5);
    CHECK_EQ(nop.calls + behind.call.calls, 0);
    CHECK_EQ(status_of(pool).submitted, 1);
    let_go(&first);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(nop.finals, 1);
    CHECK_EQ(behind.call.result, 2);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_child_has_none_of_the_threads) {
    beyond_valgrind("misses in a child what the parent's threads own");
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 1);
        struct job running = {.result = 6}, queued = {.result = 7};
        hold(&running);
        start(ctx, pool, &running);
        start(ctx, pool, &queued);
        until_it_runs(&running);
        const pid_t child = fork();
        if (child == 0) {
            CHECK_EQ(aio_ctx_destroy(ctx), 0);
            CHECK_EQ(running.call.calls + queued.call.calls, 0);
            aio_ctx *own = make_ctx();
            struct job job = {0};
            CHECK_EQ(start_with(own, pool, &job, NULL), AIO_EFORKED);
            aio_thread_pool_status status = {.size = sizeof status};
            CHECK_EQ(aio_thread_pool_info(pool, &status), AIO_EFORKED);
            CHECK_EQ(aio_thread_pool_destroy(pool), 0);
            end_ctx(own);
            _exit(0);
        }
        CHECK_EQ(end_child(child), 0);
        let_go(&running);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(running.call.result, 6);
        CHECK_EQ(queued.call.result, 7);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

static void destroy_pool_in_a_child(struct job *job) {
    const pid_t child = fork();
    if (child == 0)
        _exit(aio_thread_pool_destroy(job->arg) == 0 ? 0 : 1);
    job->result = end_child(child);
}

/* A copy of its thread, which the pool in the child has not got. */
TEST(a_child_of_a_pools_own_function_is_not_its_thread) {
    beyond_valgrind("misses in a child what the parent's threads own");
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind);
        struct job job = {.act = destroy_pool_in_a_child, .arg = pool};
        ID(aio_submit_work(ctx, pool, run_job, &job, NULL, on_call, &job.call));
        CHECK_EQ(await_call(ctx, &job.call), 0);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

static void note_surroundings(struct job *job) {
    char name[16] = {0};
    sigset_t blocked;
    cpu_set_t cpus;
    pthread_attr_t attributes;
    size_t stack = 0;
    CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    CHECK_STR(name, "hasher");
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &blocked), 0);
    CHECK(sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
    CHECK_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    CHECK_EQ(CPU_COUNT(&cpus), 1);
    CHECK(CPU_ISSET(*(int *)job->arg, &cpus));
    CHECK_EQ(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_EQ(pthread_attr_getstacksize(&attributes, &stack), 0);
    pthread_attr_destroy(&attributes);
    CHECK_GE(stack, 4u << 20);
}

TEST(threads_are_as_the_options_say) {
    aio_ctx *ctx = make_ctx();
    cpu_set_t cpus;
    int cpu = 0;
    CHECK_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    while (!CPU_ISSET(cpu, &cpus))
        cpu++;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    for (uint32_t kind = 0; kind < 2; kind++) {
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .name = "hasher", .stack_size = 4u << 20,
                                          .cpus = &cpus, .cpus_size = sizeof cpus);
        struct job job = {.act = note_surroundings, .arg = &cpu, .result = 1};
        start(ctx, pool, &job);
        CHECK_EQ(await_call(ctx, &job.call), 1);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

TEST(bad_options_are_refused) {
    aio_thread_pool *pool = NULL;
    const aio_thread_pool_options bad[] = {
        {.kind = 2},
        {.threads_max = 1025},
        {.threads_max = 2, .threads_min = 3},
        {.kind = AIO_THREAD_POOL_COMPUTE, .threads_min = 1},
        {.kind = AIO_THREAD_POOL_COMPUTE, .idle_ns = 1},
        {.stack_size = 1},
        {.stack_size = 1ull << 40},
        {.name = "sixteen bytes...."},
        {.name = "\xff"},
        {.cpus_size = 8},
        {.reserved = {1}},
    };
    for (int i = 0; i < COUNT_OF(bad); i++) {
        aio_thread_pool_options options = bad[i];
        options.size = sizeof options;
        CHECK_EQ(aio_thread_pool_create(&options, &pool), -EINVAL);
    }
    CHECK_EQ(aio_thread_pool_create(&(aio_thread_pool_options){.size = 8}, &pool), -EINVAL);
    CHECK_EQ(aio_thread_pool_create(NULL, NULL), -EINVAL);
    CHECK_EQ(aio_thread_pool_info(NULL, NULL), -EINVAL);
    CHECK(pool == NULL);
    pool = make_pool(NULL);
    CHECK_EQ(aio_thread_pool_info(pool, NULL), -EINVAL);
    CHECK_EQ(status_of(pool).threads, 0);
    CHECK_EQ(status_of(pool).threads_max, 64);
    CHECK_EQ(status_of(pool).queue_max, 1024);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
}

TEST(idle_threads_end_but_for_the_least) {
    aio_ctx *ctx = make_ctx();
    aio_thread_pool *pool = POOL_WITH(.threads_max = 4, .threads_min = 1, .idle_ns = 10 * MS);
    struct job jobs[4] = {0};
    for (int i = 0; i < 4; i++) {
        hold(&jobs[i]);
        start(ctx, pool, &jobs[i]);
    }
    for (int i = 0; i < 4; i++)
        until_it_runs(&jobs[i]);
    CHECK_EQ(status_of(pool).threads, 4);
    for (int i = 0; i < 4; i++)
        let_go(&jobs[i]);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const uint64_t limit = patience_end_ns();
    while (status_of(pool).threads != 1)
        CHECK_LT(now_ns(), limit);
    CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* Random cancels of work of which half has begun. */
TEST(each_of_many_ends_once_whoever_is_faster) {
    enum { COUNT = 2000 };
    static struct job jobs[COUNT];
    static aio_op_id ids[COUNT];
    uint64_t random = test_seed();
    aio_ctx *ctx = make_ctx();
    for (uint32_t kind = 0; kind < 2; kind++) {
        const int count = scaled(COUNT);
        aio_thread_pool *pool = POOL_WITH(.kind = kind, .threads_max = 2, .queue_max = COUNT);
        memset(jobs, 0, sizeof jobs);
        int cancelled = 0;
        for (int i = 0; i < count; i++) {
            jobs[i].result = i;
            ids[i] = start(ctx, pool, &jobs[i]);
            if (random_below(&random, 8) == 0)
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            const aio_op_id victim = ids[random_below(&random, (uint64_t)i + 1)];
            const int32_t status = aio_ctx_cancel(ctx, victim);
            CHECK(status == 0 || status == -ENOENT || status == -EALREADY);
            cancelled += status == 0;
        }
        CHECK_EQ(aio_ctx_run(ctx), 0);
        int told = 0;
        for (int i = 0; i < count; i++) {
            CHECK_EQ(jobs[i].call.calls, 1);
            CHECK(jobs[i].call.result == i || jobs[i].call.result == -ECANCELED);
            CHECK(jobs[i].runs || jobs[i].call.result == -ECANCELED);
            told += jobs[i].call.result == -ECANCELED;
        }
        CHECK_EQ(told, cancelled);
        CHECK_EQ(aio_thread_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

static aio_ctx *orphan;

static void *leave_an_orphan(void *arg) {
    orphan = make_ctx();
    struct user *user = arg;
    static struct job running, queued;
    hold(&running);
    start(orphan, user->pool, &running);
    start(orphan, user->pool, &queued);
    until_it_runs(&running);
    return &running;
}

TEST(an_orphan_waits_for_the_function) {
    struct user user = {.pool = POOL_WITH(.threads_max = 1)};
    pthread_t thread;
    void *job = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, leave_an_orphan, &user), 0);
    CHECK_EQ(pthread_join(thread, &job), 0);
    struct job *running = job;
    thread = letting_go(running);
    CHECK_EQ(aio_ctx_destroy(orphan), AIO_EORPHANED);
    CHECK_EQ(running->call.result, -ECANCELED);
    CHECK_EQ(running->call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_thread_pool_destroy(user.pool), 0);
}

HARNESS_MAIN
