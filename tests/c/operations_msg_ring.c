/* Rows of the section msg_ring. What waits for the other context's turn has it run by a thread. */
#include "operations.h"

#include <stdatomic.h>

#define SLOTS 4

static void register_table(aio_ctx *ctx, uint32_t count) {
    const aio_files_options table = {.size = sizeof table, .count = count};
    CHECK_EQ(aio_files_register(ctx, &table), 0);
}

/* --- numbers --------------------------------------------------------------------------------- */

static void with_receiver(struct env *e) {
    e->there = make_ctx();
    ID(aio_submit_msg_receive(e->there, NULL, on_call, &e->received));
}

SUBMIT(submit_msg_ring) { return aio_submit_msg_ring(e->ctx, e->there, 5, 77, o, cb, u); }

static void check_sent(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    RUN_UNTIL(e->there, e->received.calls == 1);
    CHECK_EQ(e->received.result, 5);
    CHECK_EQ(e->received.bytes, 77);
    CHECK_EQ(e->received.flags, AIO_CQE_MORE);
}

ROW(msg_ring, .setup = with_receiver, .check = check_sent);

FAILS(msg_ring, EINVAL_without_a_target, -EINVAL) { return submit_msg_ring(e, o, cb, u); }

FAILS(msg_ring, EINVAL_of_a_negative_result, -EINVAL) {
    with_receiver(e);
    return aio_submit_msg_ring(e->ctx, e->there, -1, 0, o, cb, u);
}

static void with_closed_peer(struct env *e) {
    e->there = make_ctx();
    CHECK_EQ(aio_ctx_ref(e->there), 0);
    end_ctx(e->there);
}

static aio_op_id and_forget_it(struct env *e, aio_op_id id) {
    aio_ctx_unref(e->there);
    e->there = NULL;
    return id;
}

FAILS(msg_ring, AIO_ECLOSED, AIO_ECLOSED) {
    with_closed_peer(e);
    return and_forget_it(e, submit_msg_ring(e, o, cb, u));
}

/* --- files ----------------------------------------------------------------------------------- */

static atomic_uint table_len;
static atomic_int ready;

/* Creates, runs and destroys the context that files are sent to. */
static void *run_peer(void *arg) {
    struct env *e = arg;
    aio_ctx *peer = make_ctx();
    if (table_len != 0) {
        register_table(peer, table_len);
        ID(aio_submit_msg_receive_fd(peer, NULL, on_call, &e->received));
    }
    CHECK_GE(aio_ctx_flush(peer), 0); /* adopted */
    e->there = peer;
    ready = 1;
    while (!__atomic_load_n(&e->helper_stops, __ATOMIC_ACQUIRE))
        CHECK_GE(aio_ctx_run_once(peer, MS), 0);
    e->there = NULL;
    end_ctx(peer);
    return NULL;
}

static void with_files(struct env *e, unsigned slots_there) {
    int fds[2];
    make_pipe(fds);
    env_keep_both(e, fds);
    needs_ring_of(e->ctx, 6, 0);
    register_table(e->ctx, SLOTS);
    CHECK_EQ(aio_files_update(e->ctx, 1, fds, 1), 1);
    table_len = slots_there;
    ready = 0;
    env_start_helper(e, run_peer);
    while (!ready)
        sleep_ms(1);
}

static void with_table_there(struct env *e) { with_files(e, SLOTS); }

SUBMIT(submit_msg_ring_fd) { return aio_submit_msg_ring_fd(e->ctx, e->there, 1, 3, o, cb, u); }

static void check_file_sent(struct env *e, int32_t result) {
    CHECK_EQ(result, 2);
    __atomic_store_n(&e->helper_stops, true, __ATOMIC_RELEASE);
    CHECK_EQ(pthread_join(e->helper, NULL), 0);
    e->has_helper = false;
    if (e->received.calls == 2) /* or the other context was gone before its turn */
        CHECK_EQ(e->received.first, 2);
}

ROW(msg_ring_fd, .shown = "msg_ring", .setup = with_table_there, .check = check_file_sent);

FAILS(msg_ring_fd, EINVAL_of_itself, -EINVAL) {
    register_table(e->ctx, SLOTS);
    return aio_submit_msg_ring_fd(e->ctx, e->ctx, 1, 0, o, cb, u);
}

FAILS(msg_ring_fd, EINVAL_of_a_slot_that_is_not_there, -EINVAL) {
    with_table_there(e);
    return aio_submit_msg_ring_fd(e->ctx, e->there, 1, SLOTS + 1, o, cb, u);
}

FAILS(msg_ring_fd, EINVAL_of_no_slot_anywhere, -EINVAL) {
    with_table_there(e);
    return aio_submit_msg_ring_fd(e->ctx, e->there, 1, UINT32_MAX, o, cb, u);
}

FAILS(msg_ring_fd, EBADF_of_an_empty_slot, -EBADF) {
    with_table_there(e);
    return aio_submit_msg_ring_fd(e->ctx, e->there, 2, 0, o, cb, u);
}

FAILS(msg_ring_fd, EBADF_of_no_slot, -EBADF) {
    with_table_there(e);
    return aio_submit_msg_ring_fd(e->ctx, e->there, SLOTS, 0, o, cb, u);
}

FAILS(msg_ring_fd, ENXIO, -ENXIO) {
    with_files(e, 0);
    return submit_msg_ring_fd(e, o, cb, u);
}

FAILS(msg_ring_fd, ENFILE_without_a_table, -ENFILE) {
    with_files(e, 0);
    return aio_submit_msg_ring_fd(e->ctx, e->there, 1, 0, o, cb, u);
}

FAILS(msg_ring_fd, ENFILE, -ENFILE) {
    struct call first = {0};
    with_files(e, 1);
    ID(aio_submit_msg_ring_fd(e->ctx, e->there, 1, 0, NULL, on_call, &first));
    CHECK_EQ(await_call(e->ctx, &first), 0);
    return aio_submit_msg_ring_fd(e->ctx, e->there, 1, 0, o, cb, u);
}

FAILS(msg_ring_fd, AIO_ECLOSED, AIO_ECLOSED) {
    with_closed_peer(e);
    return and_forget_it(e, submit_msg_ring_fd(e, o, cb, u));
}

/* --- receiving ------------------------------------------------------------------------------- */

static void with_sender(struct env *e) { e->there = make_ctx(); }

static void send_numbers(struct env *e) {
    struct call sent = {0};
    CHECK_EQ(DO(e->there, sent, aio_submit_msg_ring(e->there, e->ctx, 5, 77, NULL, on_call, &sent)),
             0);
}

static void with_sent_numbers(struct env *e) {
    with_sender(e);
    send_numbers(e);
}

SUBMIT(submit_msg_receive) { return aio_submit_msg_receive(e->ctx, o, cb, u); }

static void check_received(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_EQ(aio_ctx_in_flight(e->there), 0);
}

ROW(msg_receive, .setup = with_sent_numbers, .check = check_received, .block = with_sender,
    .unblock = send_numbers, .multishot = true, .timer = true);

FAILS(msg_receive, EBUSY, -EBUSY) {
    ID(submit_msg_receive(e, NULL, on_call, &e->received));
    const aio_op_id id = submit_msg_receive(e, o, cb, u);
    CHECK_EQ(aio_ctx_cancel_all(e->ctx), 1);
    return id;
}

FAILS(msg_receive, EINVAL_of_a_quiet_one, -EINVAL) {
    (void)o;
    return submit_msg_receive(e, WITH(.flags = AIO_SUBMIT_QUIET), cb, u);
}

static void with_sender_of_files(struct env *e) {
    int fds[2];
    needs_ring_of(e->ctx, 6, 0);
    with_sender(e);
    make_pipe(fds);
    env_keep_both(e, fds);
    register_table(e->ctx, SLOTS);
    register_table(e->there, SLOTS);
    CHECK_EQ(aio_files_update(e->there, 1, fds, 1), 1);
}

/* Without a ring the sender learns how it went when the receiver has had its turn. */
static void send_file(struct env *e) {
    ID(aio_submit_msg_ring_fd(e->there, e->ctx, 1, 3, NULL, on_call, &e->received));
    run_for_ms(e->there, 2);
}

static void with_sent_file(struct env *e) {
    with_sender_of_files(e);
    send_file(e);
}

SUBMIT(submit_msg_receive_fd) { return aio_submit_msg_receive_fd(e->ctx, o, cb, u); }

static void check_slot(struct env *e, int32_t result) {
    struct call closed = {0};
    CHECK_EQ(result, 2);
    RUN_UNTIL(e->there, e->received.calls == 1);
    CHECK_EQ(e->received.result, 2);
    CHECK_EQ(
        DO(e->ctx, closed,
           aio_submit_close(e->ctx, 2, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call, &closed)),
        0);
}

ROW(msg_receive_fd, .setup = with_sent_file, .check = check_slot, .block = with_sender_of_files,
    .unblock = send_file, .multishot = true, .timer = true);

FAILS(msg_receive_fd, ENXIO, -ENXIO) { return submit_msg_receive_fd(e, o, cb, u); }

FAILS(msg_receive_fd, EBUSY, -EBUSY) {
    register_table(e->ctx, SLOTS);
    ID(submit_msg_receive_fd(e, NULL, on_call, &e->received));
    const aio_op_id id = submit_msg_receive_fd(e, o, cb, u);
    CHECK_EQ(aio_ctx_cancel_all(e->ctx), 1);
    return id;
}

FAILS(msg_receive_fd, EINVAL_of_a_quiet_one, -EINVAL) {
    register_table(e->ctx, SLOTS);
    (void)o;
    return submit_msg_receive_fd(e, WITH(.flags = AIO_SUBMIT_QUIET), cb, u);
}
