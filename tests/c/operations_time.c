/* Rows of the section time. */
#include "operations.h"

static void check_fired(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_GE(now_ns() - e->start_ns, 2 * MS);
}

SUBMIT(submit_timer) { return aio_submit_timer(e->ctx, 2 * MS, o, cb, u); }

SUBMIT(submit_timer_far) { return aio_submit_timer(e->ctx, HOUR, o, cb, u); }

static void nothing(struct env *e) { (void)e; }

ROW(timer, .check = check_fired, .block = nothing, .submit_blocked = submit_timer_far,
    .timer = true);

SUBMIT(submit_timer_at) { return aio_submit_timer_at(e->ctx, now_ns() + 2 * MS, o, cb, u); }

SUBMIT(submit_timer_at_far) { return aio_submit_timer_at(e->ctx, now_ns() + HOUR, o, cb, u); }

ROW(timer_at, .shown = "timer", .check = check_fired, .block = nothing,
    .submit_blocked = submit_timer_at_far, .timer = true);

static void check_periods(struct env *e, int32_t result) {
    CHECK_GE(result, 1);
    CHECK_GE(now_ns() - e->start_ns, (uint64_t)result * 2 * MS);
}

SUBMIT(submit_interval) { return aio_submit_interval(e->ctx, 2 * MS, o, cb, u); }

SUBMIT(submit_interval_far) { return aio_submit_interval(e->ctx, HOUR, o, cb, u); }

ROW(interval, .check = check_periods, .block = nothing, .submit_blocked = submit_interval_far,
    .multishot = true, .timer = true);

FAILS(interval, EINVAL, -EINVAL) { return aio_submit_interval(e->ctx, 0, o, cb, u); }
