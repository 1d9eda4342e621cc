/* Cancels that race with everything: before the operation is handed over, while it waits, while its
 * data arrives, after it has completed, in a callback, and from another thread at any of these.
 * Each operation gets exactly one last callback with a result that it can have, no byte is lost,
 * and bystanders are never hit.
 *
 *   soak_cancel_race [operations] */
#include "harness.h"

#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/ioctl.h>

enum { BATCH = 64, KINDS = 8 };

struct racer {
    struct call call;
    aio_op_id id;
    int kind;
    int pair[2];
    char byte;
    bool fed;
};

/* Cancels what it is told to, at its own pace. */
struct canceller {
    aio_ctx *ctx;
    sem_t go, done;
    aio_op_id ids[BATCH];
    int count;
    bool over;
    uint64_t random;
};

static uint64_t outcomes[3]; /* succeeded, cancelled, timed out */

static void *cancel_loop(void *arg) {
    struct canceller *canceller = arg;
    for (;;) {
        while (sem_wait(&canceller->go) != 0)
            continue;
        if (canceller->over)
            return NULL;
        for (int i = 0; i < canceller->count; i++) {
            CHECK_EQ(aio_ctx_cancel(canceller->ctx, canceller->ids[i]), 0);
            if (random_below(&canceller->random, 8) == 0)
                sched_yield();
        }
        sem_post(&canceller->done);
    }
}

static aio_op_id *cancel_next; /* what the callback of the newest cancels, or NULL */

static void cancel_in_callback(struct call *call) {
    if (cancel_next && *cancel_next) {
        const int32_t status = aio_ctx_cancel(call->ctx, *cancel_next);
        CHECK(status == 0 || status == -EALREADY || status == -ENOENT);
        cancel_next = NULL;
    }
}

static void submit(aio_ctx *ctx, struct racer *r, uint64_t *random) {
    const uint64_t pick = random_below(random, 100);
    r->kind = pick < 3 ? 7 : (int)(pick % 7);
    r->byte = 0;
    r->fed = false;
    r->call = (struct call){.then = cancel_in_callback};
    const aio_submit_options *plain = WITH(.group = 1);
    switch (r->kind) {
    case 0:
        r->id = ID(aio_submit_nop(ctx, NULL, on_call, &r->call));
        break;
    case 1:
        r->id = ID(aio_submit_timer(ctx, random_below(random, 50000), NULL, on_call, &r->call));
        break;
    case 2:
        r->id = ID(aio_submit_poll(ctx, r->pair[0], POLLIN, plain, on_call, &r->call));
        break;
    case 3:
        r->id = ID(aio_submit_recv(ctx, r->pair[0], &r->byte, 1, 0,
                                   WITH(.timeout_ns = 1 + random_below(random, 200000)), on_call,
                                   &r->call));
        break;
    case 4:
        r->id = ID(aio_submit_poll_multishot(ctx, r->pair[0], POLLIN, NULL, on_call, &r->call));
        break;
    case 7:
        r->id = ID(aio_submit_recv(ctx, r->pair[0], &r->byte, 1, 0, WITH(.flags = AIO_SUBMIT_ASYNC),
                                   on_call, &r->call));
        break;
    default:
        r->id = ID(aio_submit_recv(ctx, r->pair[0], &r->byte, 1, 0, plain, on_call, &r->call));
        break;
    }
}

static void feed_some(struct racer *racers, uint64_t *random) {
    for (int i = 0; i < BATCH; i++) {
        if (racers[i].fed || random_below(random, 3) != 0)
            continue;
        CHECK_EQ(send(racers[i].pair[1], "d", 1, 0), 1);
        racers[i].fed = true;
    }
}

/* After the last callback: a result that this operation can have, and the byte is where it says. */
static void check_racer(struct racer *r) {
    const struct call *call = &r->call;
    CHECK_EQ(call->finals, 1);
    CHECK_EQ(call->flags & AIO_CQE_ABORTED, 0);
    bool took = false;
    if (call->result == -ECANCELED) {
        outcomes[1]++;
    } else if (call->result == -ETIMEDOUT) {
        CHECK_EQ(r->kind, 3);
        CHECK_EQ(call->flags, AIO_CQE_DEADLINE);
        outcomes[2]++;
    } else {
        outcomes[0]++;
        if (r->kind <= 1) {
            CHECK_EQ(call->result, 0);
        } else if (r->kind == 2) {
            CHECK_EQ(call->result, POLLIN);
        } else {
            CHECK_EQ(r->kind == 4, false); /* a multishot ends by cancel alone */
            CHECK_EQ(call->result, 1);
            CHECK_EQ(r->byte, 'd');
            took = true;
        }
    }
    int available = 0;
    SYS(ioctl(r->pair[0], FIONREAD, &available));
    CHECK_EQ(available, r->fed && !took); /* never lost, never taken twice */
    char byte;
    if (available)
        CHECK_EQ(recv(r->pair[0], &byte, 1, 0), 1);
    if (!took)
        CHECK_EQ(r->byte, 0);
}

static int unfinished(const struct racer *racers) {
    int count = 0;
    for (int i = 0; i < BATCH; i++)
        count += racers[i].call.finals == 0;
    return count;
}

static void run_batch(aio_ctx *ctx, struct racer *racers, struct canceller *canceller,
                      uint64_t *random) {
    const bool elsewhere = random_below(random, 2) == 0;
    const int phase = (int)random_below(random, 6);
    for (int i = 0; i < BATCH; i++)
        submit(ctx, &racers[i], random);
    if (elsewhere) {
        for (int i = 0; i < BATCH; i++)
            canceller->ids[i] = racers[i].id;
        canceller->count = BATCH;
        sem_post(&canceller->go); /* from now on it may hit at any moment */
    }
    if (phase == 1 || phase == 3)
        CHECK_GE(aio_ctx_flush(ctx), 0);
    if (phase == 2 || phase == 3)
        feed_some(racers, random);
    if (phase >= 4)
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    if (phase == 5)
        feed_some(racers, random);
    if (!elsewhere) {
        if (random_below(random, 8) == 0) {
            cancel_next = &racers[random_below(random, BATCH)].id; /* in some callback */
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            cancel_next = NULL;
        }
        for (int i = 0; i < BATCH; i++) {
            const int32_t status = aio_ctx_cancel(ctx, racers[i].id);
            CHECK(status == 0 || status == -EALREADY || status == -ENOENT);
            CHECK_EQ(status == -ENOENT, racers[i].call.finals == 1);
            if (random_below(random, 16) == 0)
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
    }
    RUN_UNTIL(ctx, unfinished(racers) == 0);
    if (elsewhere)
        while (sem_wait(&canceller->done) != 0)
            continue;
    for (int i = 0; i < BATCH; i++)
        check_racer(&racers[i]);
}

int main(int argc, char **argv) {
    const int64_t total = argc > 1 ? atoll(argv[1]) : scaled(50000);
    harness_start("soak_cancel_race", 60 + (unsigned)(total / 2000));
    uint64_t random = test_seed();
    static struct racer racers[BATCH];
    static struct canceller canceller;
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < BATCH; i++)
        make_socket_pair(racers[i].pair);
    struct call bystander_timer = {0}, bystander_recv = {0};
    int pair[2];
    char byte = 0;
    make_socket_pair(pair);
    ID(aio_submit_timer(ctx, 3600 * 1000 * MS * 24, NULL, on_call, &bystander_timer));
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, NULL, on_call, &bystander_recv));
    canceller.ctx = ctx;
    canceller.random = random_next(&random);
    SYS(sem_init(&canceller.go, 0, 0));
    SYS(sem_init(&canceller.done, 0, 0));
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, cancel_loop, &canceller), 0);
    int64_t done = 0;
    for (; done < total; done += BATCH)
        run_batch(ctx, racers, &canceller, &random);
    canceller.over = true;
    sem_post(&canceller.go);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    RUN_UNTIL(ctx, aio_ctx_in_flight(ctx) == 2);
    CHECK_EQ(bystander_timer.calls + bystander_recv.calls, 0);
    write_all_or_fail(pair[1], "b", 1);
    CHECK_EQ(await_call(ctx, &bystander_recv), 1);
    end_ctx(ctx);
    printf("%" PRId64 " operations, one last callback each: %" PRIu64 " succeeded, %" PRIu64
           " cancelled, %" PRIu64 " timed out\n",
           done, outcomes[0], outcomes[1], outcomes[2]);
    CHECK_GT(outcomes[0], 0);
    CHECK_GT(outcomes[1], 0);
    return 0;
}
