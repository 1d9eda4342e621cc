/* Queues that are far too small: 10,000 submits into a submission queue of 4 before the first run,
 * and 4,096 completions at one moment in a completion queue of 8. All are delivered, each once.
 *
 *   soak_queue [rounds] */
#include "harness.h"

#include <poll.h>

enum { SUBMITS = 10000, COMPLETIONS = 4096 };

static void fill_the_submission_queue(int round) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4));
    static struct call calls[SUBMITS];
    static char bytes[SUBMITS];
    const int count = scaled(SUBMITS);
    memset(calls, 0, sizeof calls);
    memset(bytes, 0, sizeof bytes);
    const int fd = temp_file("queue", "0123456789", 10);
    for (int i = 0; i < count; i++) { /* some complete in the kernel, some in the engine */
        if ((i + round) % 3 == 0)
            ID(aio_submit_read(ctx, fd, &bytes[i], 1, (uint64_t)i % 10, NULL, on_call, &calls[i]));
        else if ((i + round) % 3 == 1)
            ID(aio_submit_nop(ctx, NULL, on_call, &calls[i]));
        else
            ID(aio_submit_timer(ctx, (uint64_t)i, NULL, on_call, &calls[i]));
    }
    for (int i = 0; i < count; i++)
        CHECK_EQ(calls[i].calls, 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), count);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(calls[i].calls, 1);
        CHECK_EQ(calls[i].result, (i + round) % 3 == 0);
        if ((i + round) % 3 == 0)
            CHECK_EQ(bytes[i], '0' + i % 10);
    }
    check_nothing_in_flight(ctx);
    close(fd);
    end_ctx(ctx);
}

static void overflow_the_completion_queue(void) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 4, .cq_entries = 8));
    static struct call calls[COMPLETIONS];
    const int count = scaled(COMPLETIONS);
    memset(calls, 0, sizeof calls);
    int pair[2];
    make_socket_pair(pair);
    for (int i = 0; i < count; i++)
        ID(aio_submit_poll(ctx, pair[0], POLLIN, NULL, on_call, &calls[i]));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    for (int i = 0; i < count; i++)
        CHECK_EQ(calls[i].calls, 0);
    write_all_or_fail(pair[1], "x", 1);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(calls[i].calls, 1);
        CHECK_EQ(calls[i].result, POLLIN);
    }
    check_nothing_in_flight(ctx);
    close(pair[0]);
    close(pair[1]);
    end_ctx(ctx);
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : scaled(5);
    harness_start("soak_queue", 60 + (unsigned)rounds);
    for (int round = 0; round < rounds; round++) {
        fill_the_submission_queue(round);
        overflow_the_completion_queue();
    }
    printf("%d rounds: %d submits into a queue of 4, %d completions out of a queue of 8: all "
           "delivered, once\n",
           rounds, scaled(SUBMITS), scaled(COMPLETIONS));
    return 0;
}
