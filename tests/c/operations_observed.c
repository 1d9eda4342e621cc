/* What is seen of an operation from outside, of whatever kind it is: its events, which say what its
 * callbacks say, its latency, and its line in a dump. */
#include "operations.h"

#include <inttypes.h>

enum { EVENTS_MAX = 64 };

struct observer {
    aio_trace_event events[EVENTS_MAX];
    int count;
    uint64_t latencies; /* that there were before */
};

static void on_event(void *arg, aio_ctx *ctx, const aio_trace_event *event) {
    struct observer *observer = arg;
    CHECK_EQ(aio_ctx_in_flight(ctx), AIO_EREENTRANT);
    if (!event->id)
        return;
    CHECK_LT(observer->count, EVENTS_MAX);
    observer->events[observer->count++] = *event;
}

static uint64_t latencies_of(aio_ctx *ctx) {
    uint64_t sum = 0;
    aio_histogram histogram = {.size = sizeof histogram};
    for (uint32_t opcode = 0; aio_ctx_histogram(ctx, opcode, 0, NULL, 0, NULL, &histogram) == 0;
         opcode++)
        sum += histogram.count;
    return sum;
}

struct observer *observe(aio_ctx *ctx) {
    struct observer *observer = calloc(1, sizeof *observer);
    CHECK(observer);
    observer->latencies = latencies_of(ctx);
    CHECK_EQ(aio_ctx_set_trace(ctx, on_event, observer), 0);
    return observer;
}

void check_observed(struct observer *observer, aio_ctx *ctx, const struct call *call, aio_op_id id,
                    uint64_t correlation) {
    CHECK_EQ(aio_ctx_set_trace(ctx, NULL, NULL), 0);
    int submits = 0, results = 0;
    const aio_trace_event *newest = NULL;
    for (int i = 0; i < observer->count; i++) {
        const aio_trace_event *event = &observer->events[i];
        if (event->id != id)
            continue;
        CHECK(event->user_data == call);
        CHECK_EQ(event->correlation, correlation);
        if (event->kind == AIO_TRACE_SUBMIT) {
            CHECK_EQ(submits++, 0);
            CHECK_EQ(results, 0);
            continue;
        }
        CHECK_EQ(event->kind, AIO_TRACE_COMPLETE);
        CHECK_GT(event->submitted_ns, 0);
        if (results++ == 0) {
            CHECK_EQ(event->result, call->first);
            CHECK_EQ(event->flags, call->first_flags);
        }
        newest = event;
    }
    CHECK_EQ(submits, 1);
    CHECK_EQ(results, call->calls);
    CHECK_EQ(newest->result, call->result);
    CHECK_EQ(newest->flags, call->flags);
    CHECK_EQ(latencies_of(ctx) - observer->latencies, call->first != -ECANCELED);
    free(observer);
}

void check_age(const char *dump, aio_op_id id, unsigned at_least_ms) {
    char number[32];
    unsigned age_ms;
    snprintf(number, sizeof number, "  id %" PRId64 " ", id);
    const char *line = strstr(dump, number);
    CHECK(line != NULL);
    const char *age = strstr(line, " age ");
    CHECK(age && age < strchr(line, '\n'));
    CHECK_EQ(sscanf(age, " age %u ms", &age_ms), 1);
    CHECK_GE(age_ms, at_least_ms);
    CHECK_LT(age_ms, 600 * 1000);
}
