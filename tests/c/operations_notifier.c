/* Rows of notifiers and channels. */
#include "operations.h"

/* --- notifiers ------------------------------------------------------------------------------- */

static void silent(struct env *e) { CHECK_EQ(aio_notifier_create(&e->notifier), 0); }

static void signal_it(struct env *e) { CHECK_EQ(aio_notifier_signal(e->notifier), 0); }

static void signalled(struct env *e) {
    silent(e);
    signal_it(e);
    signal_it(e);
}

/* Two at once, or the one that ended the waiting. */
static void check_signals(struct env *e, int32_t result) {
    CHECK_GE(result, 1);
    CHECK_LE(result, 2);
    CHECK_EQ(aio_notifier_signal(e->notifier), 0);
}

SUBMIT(submit_notifier_wait) { return aio_submit_notifier_wait(e->ctx, e->notifier, o, cb, u); }

ROW(notifier_wait, .setup = signalled, .check = check_signals, .block = silent,
    .unblock = signal_it, .service = true, .brings = true);

FAILS(notifier_wait, EINVAL, -EINVAL) { return submit_notifier_wait(e, o, cb, u); }

FAILS(notifier_wait, ECLOSED, AIO_ECLOSED) {
    silent(e);
    const aio_op_id id = submit_notifier_wait(e, o, cb, u);
    CHECK_EQ(aio_notifier_destroy(e->notifier), 0);
    e->notifier = NULL;
    return id;
}

SUBMIT(submit_notifier_wait_multishot) {
    return aio_submit_notifier_wait_multishot(e->ctx, e->notifier, o, cb, u);
}

/* Cancelled next, which must find nothing more to tell. */
static void check_signals_of_several(struct env *e, int32_t result) {
    (void)e;
    CHECK_GE(result, 1);
    CHECK_LE(result, 2);
}

ROW(notifier_wait_multishot, .shown = "notifier_wait", .setup = signalled,
    .check = check_signals_of_several, .block = silent, .unblock = signal_it, .multishot = true,
    .service = true, .brings = true);

FAILS(notifier_wait_multishot, EINVAL, -EINVAL) {
    return submit_notifier_wait_multishot(e, o, cb, u);
}

/* --- channels -------------------------------------------------------------------------------- */

static void empty(struct env *e) { CHECK_EQ(aio_channel_create(NULL, &e->channel), 0); }

static void send_one(struct env *e) {
    const uint64_t record = 4711;
    CHECK_EQ(aio_channel_send(e->channel, &record), 0);
}

static void filled(struct env *e) {
    empty(e);
    send_one(e);
}

static void check_record(struct env *e, int32_t result) {
    CHECK_EQ(result, 1);
    CHECK_EQ(e->records[0], 4711);
}

SUBMIT(submit_channel_receive) {
    return aio_submit_channel_receive(e->ctx, e->channel, e->records, 4, o, cb, u);
}

ROW(channel_receive, .setup = filled, .check = check_record, .block = empty, .unblock = send_one,
    .service = true, .brings = true);

FAILS(channel_receive, EINVAL, -EINVAL) { return submit_channel_receive(e, o, cb, u); }

FAILS(channel_receive, EINVAL_of_no_room, -EINVAL) {
    empty(e);
    return aio_submit_channel_receive(e->ctx, e->channel, NULL, 4, o, cb, u);
}

FAILS(channel_receive, EINVAL_of_room_for_none, -EINVAL) {
    empty(e);
    return aio_submit_channel_receive(e->ctx, e->channel, e->records, 0, o, cb, u);
}

SUBMIT(submit_channel_receive_multishot) {
    return aio_submit_channel_receive_multishot(e->ctx, e->channel, e->records, 4, o, cb, u);
}

ROW(channel_receive_multishot, .shown = "channel_receive", .setup = filled, .check = check_record,
    .block = empty, .unblock = send_one, .multishot = true, .service = true, .brings = true,
    .unreaped = true);

FAILS(channel_receive_multishot, EINVAL, -EINVAL) {
    return submit_channel_receive_multishot(e, o, cb, u);
}
