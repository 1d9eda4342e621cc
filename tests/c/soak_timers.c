/* 100,000 timers outstanding: nothing fires early, every timer ends once, and what arming and
 * cancelling one costs among few and among many.
 *
 *   soak_timers [outstanding] [--require NS]
 *
 * The cost is of aio_submit_timer, aio_ctx_cancel and the cancelled timer's callback together. It
 * is printed, and only with --require compared with a figure. */
#include "harness.h"

#include <inttypes.h>

enum { BATCH = 64, MEASURED = 1000, FEWEST = 1000 };

static void on_cancelled(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    CHECK_EQ(result, -ECANCELED);
    ++*(uint64_t *)user_data;
}

struct batch {
    aio_ctx *ctx;
    aio_op_id victims[BATCH];
    uint64_t delays[BATCH];
    uint64_t cancelled;
    bool newest;
};

/* Each step arms a timer and cancels one: a random older one, or the one just armed, as a program
 * does whose operations end before their deadlines. Inside a turn, where programs do this. */
static void arm_and_cancel(void *arg) {
    struct batch *batch = arg;
    for (int i = 0; i < BATCH; i++) {
        const aio_op_id armed =
            aio_submit_timer(batch->ctx, batch->delays[i], NULL, on_cancelled, &batch->cancelled);
        aio_ctx_cancel(batch->ctx, batch->newest ? armed : batch->victims[i]);
        batch->victims[i] = armed;
    }
}

/* The number outstanding stays the same. */
static double arm_and_cancel_ns(int outstanding, uint64_t *random, bool newest) {
    static struct batch batch;
    batch = (struct batch){.ctx = make_ctx(), .newest = newest};
    aio_op_id *ids = calloc((size_t)outstanding, sizeof *ids);
    CHECK(ids != NULL);
    uint64_t expected = 0, best = UINT64_MAX;
    for (int i = 0; i < outstanding; i++)
        ids[i] = ID(aio_submit_timer(batch.ctx, HOUR + random_below(random, HOUR), NULL,
                                     on_cancelled, &batch.cancelled));
    CHECK_GE(aio_ctx_run_once(batch.ctx, 0), 0);
    static int places[BATCH];
    for (int round = 0; round < MEASURED; round++) {
        for (int i = 0; i < BATCH; i++) { /* dice and bookkeeping are not part of the figure */
            batch.delays[i] = HOUR + random_below(random, HOUR);
            if (newest)
                continue;
            places[i] = (int)random_below(random, (uint64_t)outstanding);
            batch.victims[i] = ids[places[i]];
            ids[places[i]] = 0;
            if (batch.victims[i] == 0) /* drawn before in this round */
                i--;
        }
        expected += BATCH;
        const uint64_t start = now_ns();
        CHECK_EQ(aio_ctx_post(batch.ctx, arm_and_cancel, &batch), 0);
        while (batch.cancelled < expected)
            CHECK_GE(aio_ctx_run_once(batch.ctx, 0), 0);
        const uint64_t end = now_ns();
        best = end - start < best ? end - start : best;
        for (int i = 0; i < BATCH && !newest; i++)
            ids[places[i]] = ID(batch.victims[i]);
        CHECK_EQ(aio_ctx_in_flight(batch.ctx), outstanding);
    }
    CHECK_EQ(aio_ctx_cancel_all(batch.ctx), outstanding);
    CHECK_EQ(aio_ctx_run(batch.ctx), 0);
    CHECK_EQ(batch.cancelled, expected + (uint64_t)outstanding);
    end_ctx(batch.ctx);
    free(ids);
    return (double)best / BATCH;
}

struct planned {
    uint64_t due_ns;
    uint64_t fired_ns;
    int calls;
};

static void on_planned(void *user_data, int32_t result, uint32_t flags) {
    struct planned *timer = user_data;
    CHECK_EQ(result, 0);
    CHECK_EQ(flags, 0);
    timer->fired_ns = now_ns();
    timer->calls++;
}

static void nothing_fires_early(int outstanding, uint64_t *random) {
    aio_ctx *ctx = make_ctx();
    struct planned *timers = calloc((size_t)outstanding, sizeof *timers);
    CHECK(timers != NULL);
    const uint64_t spread = 1500 * MS;
    for (int i = 0; i < outstanding; i++) {
        const uint64_t delay = random_below(random, spread);
        timers[i].due_ns = now_ns() + delay;
        ID(aio_submit_timer(ctx, delay, NULL, on_planned, &timers[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    uint64_t latest = 0, total = 0;
    for (int i = 0; i < outstanding; i++) {
        CHECK_EQ(timers[i].calls, 1);
        CHECK_GE(timers[i].fired_ns, timers[i].due_ns);
        const uint64_t late = timers[i].fired_ns - timers[i].due_ns;
        latest = late > latest ? late : latest;
        total += late;
    }
    printf("%d timers over %" PRIu64 " ms: none early, late by %" PRIu64 " us in the mean, %" PRIu64
           " us at most\n",
           outstanding, (uint64_t)(spread / MS), total / (uint64_t)outstanding / 1000,
           latest / 1000);
    end_ctx(ctx);
    free(timers);
}

int main(int argc, char **argv) {
    int outstanding = scaled(100000);
    double required = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--require") == 0 && i + 1 < argc)
            required = atof(argv[++i]);
        else
            outstanding = atoi(argv[i]);
    }
    harness_start("soak_timers", 120);
    uint64_t random = test_seed();
    nothing_fires_early(outstanding, &random);
    const int many = outstanding < FEWEST ? FEWEST : outstanding;
    const int sizes[] = {FEWEST, many / 10 < FEWEST ? FEWEST : many / 10, many};
    double worst = 0;
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        const double newest_ns = arm_and_cancel_ns(sizes[i], &random, true);
        const double random_ns = arm_and_cancel_ns(sizes[i], &random, false);
        printf("%7d outstanding: arm, cancel and callback %.1f ns; a random older one cancelled "
               "%.1f ns\n",
               sizes[i], newest_ns, random_ns);
        worst = newest_ns > worst ? newest_ns : worst;
    }
    if (required > 0 && worst > required)
        FAIL("%.1f ns is more than %.1f", worst, required);
    return 0;
}
