/*
 * worker: what other threads may do with a context. A worker thread computes, posts each result to
 * the main thread's context, cancels an operation that the context has in flight, and stops the
 * context when it has posted everything. Meanwhile the main thread sleeps in aio_ctx_run, which a
 * hold keeps from ending for lack of work.
 */
#define _POSIX_C_SOURCE 200809L
#include <aio_rs.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { RESULTS = 5 };

struct program {
    aio_ctx *ctx;
    aio_op_id reminder;
    uint64_t results[RESULTS];
};

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "worker: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

/* Runs on the context's thread, in the order of the posts. */
static void on_result(void *arg) AIO_NOEXCEPT {
    printf("main: a result: %" PRIu64 "\n", *(const uint64_t *)arg);
}

/* Stop overtakes what was posted before it; a stop that is itself posted does not. */
static void on_last(void *arg) AIO_NOEXCEPT { check(aio_ctx_stop(arg), "stop"); }

static void on_reminder(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    (void)user_data;
    (void)flags;
    printf("main: the reminder ended with %s\n", aio_error_name(result));
}

static void *work(void *arg) {
    struct program *program = arg;

    for (unsigned i = 0; i < RESULTS; i++) {
        uint64_t sum = 0;
        for (uint64_t n = 1; n <= (i + 1) * UINT64_C(1000000); n++)
            sum += n;
        program->results[i] = sum;
        check(aio_ctx_post(program->ctx, on_result, &program->results[i]), "post");
    }
    /* From another thread a cancel is a request: the callback tells what became of it. */
    check(aio_ctx_cancel(program->ctx, program->reminder), "cancel");
    check(aio_ctx_post(program->ctx, on_last, program->ctx), "post");
    return NULL;
}

int main(void) {
    static struct program program;
    pthread_t thread;

    check(aio_ctx_create(NULL, &program.ctx), "create");
    program.reminder =
        aio_submit_timer(program.ctx, UINT64_C(3600000000000), NULL, on_reminder, NULL);
    check(program.reminder, "timer");

    aio_ctx_hold(program.ctx);
    if (pthread_create(&thread, NULL, work, &program) != 0) {
        fprintf(stderr, "worker: no thread\n");
        return 1;
    }
    check(aio_ctx_run(program.ctx), "run");
    pthread_join(thread, NULL); /* before destroy: nobody else uses the handle any more */
    aio_ctx_release(program.ctx);
    check(aio_ctx_destroy(program.ctx), "destroy");
    return 0;
}
