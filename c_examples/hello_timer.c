/*
 * hello_timer: the smallest program that uses the library. A repeating timer says hello three
 * times, then cancels itself; a single timer says good-bye. There is no explicit stop: aio_ctx_run
 * returns when nothing is in flight any more.
 */
#include <aio_rs.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MILLISECOND UINT64_C(1000000)

struct greeter {
    aio_ctx *ctx;
    aio_op_id ticker;
    int count;
};

/* Called with AIO_CQE_MORE for each period, and exactly once without it, which is the end. */
static void on_tick(void *user_data, int32_t result, uint32_t flags) {
    struct greeter *greeter = user_data;

    if (!(flags & AIO_CQE_MORE)) {
        printf("ticker: ended with %s\n", aio_error_name(result));
        return;
    }
    /* A program that was held up gets one callback for several periods, not a burst of them. */
    greeter->count += (int)result;
    printf("ticker: hello %d\n", greeter->count);
    if (greeter->count >= 3)
        aio_ctx_cancel(greeter->ctx, greeter->ticker);
}

static void on_goodbye(void *user_data, int32_t result, uint32_t flags) {
    (void)flags;
    printf("timer: %s\n", result == 0 ? (const char *)user_data : aio_strerror(result));
}

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "hello_timer: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

int main(void) {
    struct greeter greeter = {0};
    static char farewell[] = "good-bye";

    /* NULL options: all defaults. The context belongs to the thread that first submits or runs. */
    check(aio_ctx_create(NULL, &greeter.ctx), "create");

    greeter.ticker = aio_submit_interval(greeter.ctx, 100 * MILLISECOND, NULL, on_tick, &greeter);
    check(greeter.ticker, "interval");
    check(aio_submit_timer(greeter.ctx, 500 * MILLISECOND, NULL, on_goodbye, farewell), "timer");

    check(aio_ctx_run(greeter.ctx), "run");
    check(aio_ctx_destroy(greeter.ctx), "destroy");
    return 0;
}
