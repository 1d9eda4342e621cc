/* Messages between contexts: order, adoption, every pairing of backends, files that change hands,
 * and ends of either side in the middle. Each test makes both backends itself. */
#include "harness.h"

#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>

#define SLOTS 8

/* A context that sends and one that receives. */
struct pair {
    aio_ctx *from, *to;
};

static aio_ctx *ctx_on(uint32_t backend) {
    aio_ctx *ctx = NULL;
    const int32_t status = aio_ctx_create(CTX_WITH(.backend = backend), &ctx);
    if (status != 0 && backend == AIO_BACKEND_EPOLL)
        FAIL("no context on epoll: %s", aio_strerror(status));
    return status == 0 ? ctx : NULL;
}

static bool has_rings(void) {
    aio_ctx *ctx = ctx_on(AIO_BACKEND_URING);
    if (!ctx)
        return false;
    end_ctx(ctx);
    return true;
}

/* Runs a test with every pairing that this kernel has. */
static void in_every_pairing(void (*body)(struct pair pair)) {
    static const uint32_t backends[] = {AIO_BACKEND_URING, AIO_BACKEND_EPOLL};
    const int first = has_rings() ? 0 : 1;
    for (int from = first; from < 2; from++)
        for (int to = first; to < 2; to++)
            body((struct pair){ctx_on(backends[from]), ctx_on(backends[to])});
}

static void register_table(aio_ctx *ctx) {
    const aio_files_options table = {.size = sizeof table, .count = SLOTS};
    CHECK_EQ(aio_files_register(ctx, &table), 0);
}

static aio_op_id send_data(struct pair pair, uint64_t data, struct call *call) {
    return ID(aio_submit_msg_ring(pair.from, pair.to, 3, data, NULL, on_call, call));
}

static void end_pair(struct pair pair) {
    end_ctx(pair.from);
    end_ctx(pair.to);
}

/* --- numbers --------------------------------------------------------------------------------- */

struct inbox {
    int count;
    uint64_t data[64];
    aio_ctx *ctx;
};

static void on_message(void *user_data, int32_t result, uint32_t flags) {
    struct inbox *inbox = user_data;
    if (!(flags & AIO_CQE_MORE))
        return;
    CHECK_EQ(result, 3);
    CHECK_LT(inbox->count, COUNT_OF(inbox->data));
    inbox->data[inbox->count++] = aio_ctx_current_bytes(inbox->ctx);
}

static void check_order(const struct inbox *inbox, int count) {
    CHECK_EQ(inbox->count, count);
    for (int i = 0; i < count; i++)
        CHECK_EQ(inbox->data[i], UINT64_MAX - (unsigned)i);
}

static void before_and_after_adoption(struct pair pair) {
    struct inbox inbox = {.ctx = pair.to};
    struct call calls[40] = {0};
    for (int i = 0; i < 10; i++)
        send_data(pair, UINT64_MAX - (unsigned)i, &calls[i]);
    RUN_UNTIL(pair.from, calls[9].calls == 1);
    for (int i = 10; i < 20; i++) /* submitted before, handed over after */
        send_data(pair, UINT64_MAX - (unsigned)i, &calls[i]);
    CHECK_GE(aio_ctx_flush(pair.to), 0);
    for (int i = 20; i < 30; i++) /* while nobody receives */
        send_data(pair, UINT64_MAX - (unsigned)i, &calls[i]);
    RUN_UNTIL(pair.from, calls[29].calls == 1);
    run_for_ms(pair.to, 1);
    ID(aio_submit_msg_receive(pair.to, NULL, on_message, &inbox));
    for (int i = 30; i < 40; i++)
        send_data(pair, UINT64_MAX - (unsigned)i, &calls[i]);
    RUN_UNTIL(pair.from, calls[39].calls == 1);
    RUN_UNTIL(pair.to, inbox.count == 40);
    check_order(&inbox, 40);
    for (int i = 0; i < 40; i++) {
        CHECK_EQ(calls[i].result, 0);
        CHECK_EQ(calls[i].finals, 1);
    }
    end_pair(pair);
}

TEST(messages_keep_their_order_across_adoption_and_without_a_receive) {
    in_every_pairing(before_and_after_adoption);
}

static void to_itself(struct pair pair) {
    struct inbox inbox = {.ctx = pair.from};
    struct call calls[5] = {0};
    end_ctx(pair.to);
    pair.to = pair.from;
    ID(aio_submit_msg_receive(pair.from, NULL, on_message, &inbox));
    for (int i = 0; i < 5; i++)
        send_data(pair, UINT64_MAX - (unsigned)i, &calls[i]);
    CHECK_EQ(inbox.count, 0);
    RUN_UNTIL(pair.from, inbox.count == 5 && calls[4].calls == 1);
    check_order(&inbox, 5);
    end_ctx(pair.from);
}

TEST(a_context_can_send_to_itself) { in_every_pairing(to_itself); }

/* The data of a message may be any number: the id of what the receiver waits for, or what the
 * engine itself gives its wake-ups. */
static void of_any_number(struct pair pair) {
    struct inbox inbox = {.ctx = pair.to};
    struct call poll_call = {0}, nop_call = {0}, calls[5] = {0};
    int ends[2];
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    ID(aio_submit_msg_receive(pair.to, NULL, on_message, &inbox));
    const aio_op_id poll =
        ID(aio_submit_poll_multishot(pair.to, ends[0], POLLIN, NULL, on_call, &poll_call));
    run_for_ms(pair.to, 1);
    const aio_op_id nop = ID(aio_submit_nop(pair.to, NULL, on_call, &nop_call));
    RUN_UNTIL(pair.to, nop_call.calls == 1);
    const uint64_t data[] = {(uint64_t)poll, (uint64_t)nop, 0x8000000000ffffff, UINT64_MAX, 0};
    for (int i = 0; i < 5; i++)
        send_data(pair, data[i], &calls[i]);
    RUN_UNTIL(pair.from, calls[4].calls == 1);
    RUN_UNTIL(pair.to, inbox.count == 5);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(inbox.data[i], data[i]);
    CHECK_EQ(poll_call.calls, 0);
    CHECK_EQ(nop_call.calls, 1);
    end_pair(pair);
    close(ends[0]);
    close(ends[1]);
}

TEST(the_data_of_a_message_is_nobody_s_id) { in_every_pairing(of_any_number); }

static void in_records(struct pair pair) {
    struct call sent = {0};
    aio_completion record = {0};
    const aio_op_id id = ID(aio_submit_msg_receive(pair.to, NULL, AIO_CALLBACK_REAP, &record));
    send_data(pair, 0x8000000000000001u, &sent);
    CHECK_EQ(await_call(pair.from, &sent), 0);
    CHECK_EQ(aio_ctx_reap(pair.to, &record, sizeof record, 1, 20000 * (int64_t)MS), 1);
    CHECK_EQ(record.id, id);
    CHECK_EQ(record.result, 3);
    CHECK_EQ(record.flags, AIO_CQE_MORE);
    CHECK_EQ(record.extra, 0x8000000000000001u);
    end_pair(pair);
}

TEST(a_record_has_both_numbers) { in_every_pairing(in_records); }

static void at_its_turn(struct pair pair) {
    struct inbox inbox = {.ctx = pair.to};
    struct call read = {0}, sent = {0};
    int fds[2];
    char byte;
    make_pipe(fds);
    ID(aio_submit_msg_receive(pair.to, NULL, on_message, &inbox));
    for (int fails = 0; fails < 2; fails++) {
        read = sent = (struct call){0};
        ID(aio_submit_read(pair.from, fails ? -1 : fds[0], &byte, 1, AIO_OFFSET_CURRENT,
                           WITH(.flags = AIO_SUBMIT_LINK), on_call, &read));
        send_data(pair, UINT64_MAX, &sent);
        if (!fails) {
            check_blocked(pair.from, &sent);
            run_for_ms(pair.to, 1);
            CHECK_EQ(inbox.count, 0);
            write_all_or_fail(fds[1], "x", 1);
        }
        CHECK_EQ(await_call(pair.from, &sent), fails ? -ECANCELED : 0);
        CHECK_EQ(read.result, fails ? -EBADF : 1);
        if (!fails)
            RUN_UNTIL(pair.to, inbox.count == 1);
    }
    run_for_ms(pair.to, 1);
    check_order(&inbox, 1);
    close(fds[0]);
    close(fds[1]);
    end_pair(pair);
}

TEST(a_message_in_a_chain_is_sent_at_its_turn_or_not_at_all) { in_every_pairing(at_its_turn); }

static void behind_a_barrier(struct pair pair) {
    struct inbox inbox = {.ctx = pair.to};
    struct call read = {0}, sent = {0};
    int fds[2];
    char byte;
    make_pipe(fds);
    ID(aio_submit_msg_receive(pair.to, NULL, on_message, &inbox));
    ID(aio_submit_read(pair.from, fds[0], &byte, 1, AIO_OFFSET_CURRENT, NULL, on_call, &read));
    ID(aio_submit_msg_ring(pair.from, pair.to, 3, UINT64_MAX, WITH(.flags = AIO_SUBMIT_BARRIER),
                           on_call, &sent));
    check_blocked(pair.from, &sent);
    run_for_ms(pair.to, 1);
    CHECK_EQ(inbox.count, 0);
    write_all_or_fail(fds[1], "x", 1);
    CHECK_EQ(await_call(pair.from, &sent), 0);
    RUN_UNTIL(pair.to, inbox.count == 1);
    close(fds[0]);
    close(fds[1]);
    end_pair(pair);
}

TEST(a_message_with_a_barrier_waits_for_what_was_before) { in_every_pairing(behind_a_barrier); }

static void cancel_in_it(struct call *call) {
    if (call->flags & AIO_CQE_MORE)
        CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), 0);
}

static void one_by_one(struct pair pair) {
    struct call sent[3] = {0};
    for (int i = 0; i < 3; i++)
        send_data(pair, (unsigned)i, &sent[i]);
    RUN_UNTIL(pair.from, sent[2].calls == 1);
    for (int i = 0; i < 3; i++) { /* what is not received waits for the next receive */
        struct call received = {.then = cancel_in_it};
        CHECK_EQ(DO(pair.to, received, aio_submit_msg_receive(pair.to, NULL, on_call, &received)),
                 -ECANCELED);
        CHECK_EQ(received.calls, 2);
        CHECK_EQ(received.first, 3);
    }
    struct call late = {0};
    CHECK_EQ(DO(pair.to, late,
                aio_submit_msg_receive(pair.to, WITH(.timeout_ns = 2 * MS), on_call, &late)),
             -ETIMEDOUT);
    CHECK_EQ(late.calls, 1);
    end_pair(pair);
}

TEST(a_receive_that_ends_leaves_the_rest_to_the_next) { in_every_pairing(one_by_one); }

static void with_others(struct pair pair) {
    struct inbox inbox = {.ctx = pair.to};
    struct call sent[4] = {0}, waits = {0};
    int fds[2];
    char byte;
    make_pipe(fds);
    ID(aio_submit_msg_receive(pair.to, NULL, on_message, &inbox));
    for (int i = 0; i < 4; i++) {
        send_data(pair, UINT64_MAX - (unsigned)i, &sent[i]);
        CHECK_EQ(await_call(pair.from, &sent[i]), 0);
        const aio_op_id id = ID(
            aio_submit_read(pair.to, fds[0], &byte, 1, AIO_OFFSET_CURRENT, NULL, on_call, &waits));
        CHECK_EQ(aio_ctx_cancel_wait(pair.to, id), 0);
    }
    CHECK_EQ(waits.calls, 0);
    RUN_UNTIL(pair.to, inbox.count == 4);
    check_order(&inbox, 4);
    close(fds[0]);
    close(fds[1]);
    end_pair(pair);
}

TEST(waiting_for_one_operation_keeps_messages_in_order) { in_every_pairing(with_others); }

/* Whether rings send to rings directly. */
static bool has_messages(aio_ctx *ctx) {
    aio_probe_info info = {.size = sizeof info};
    CHECK_EQ(aio_probe(ctx, &info), 0);
    return info.kernel_version >= (6u << 16 | 3);
}

/* --- between threads ------------------------------------------------------------------------- */

/* Sends back what it gets, until that is 0. */
struct echo {
    aio_ctx *_Atomic ctx;
    uint32_t backend;
    aio_ctx *to;
    int sends;
    bool foreign;
    uint64_t wakes; /* at the end: by its mailbox */
};

static void on_echo(void *user_data, int32_t result, uint32_t flags) {
    struct echo *echo = user_data;
    if (!(flags & AIO_CQE_MORE))
        return;
    const uint64_t data = aio_ctx_current_bytes(echo->ctx);
    ID(aio_submit_msg_ring(echo->ctx, echo->to, result, data, NULL, on_call_count, &echo->sends));
    if (data == 0)
        CHECK_EQ(aio_ctx_cancel(echo->ctx, aio_ctx_current_op(echo->ctx)), 0);
}

static void *echo_thread(void *arg) {
    struct echo *echo = arg;
    aio_ctx *ctx = ctx_on(echo->backend);
    const aio_op_id id = ID(aio_submit_msg_receive(ctx, NULL, on_echo, echo));
    echo->ctx = ctx;
    if (echo->foreign) { /* inside somebody else's loop */
        struct pollfd poll_fd = {.fd = aio_ctx_fd(ctx), .events = POLLIN};
        while (aio_ctx_in_flight(ctx) != 0) {
            if (aio_ctx_flush(ctx) == 0)
                SYS(poll(&poll_fd, 1, -1));
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, id), -ENOENT);
    echo->wakes = stats_of(ctx).wakes;
    end_ctx(ctx);
    return NULL;
}

static void ping_pong(struct pair pair, bool foreign) {
    const uint32_t backend = has_ring(pair.to) ? AIO_BACKEND_URING : AIO_BACKEND_EPOLL;
    struct echo echo = {.backend = backend, .to = pair.from, .foreign = foreign};
    struct call received = {0}, sent = {0};
    uint64_t state = test_seed();
    pthread_t thread;
    end_ctx(pair.to);
    ID(aio_submit_msg_receive(pair.from, NULL, on_call, &received));
    CHECK_EQ(pthread_create(&thread, NULL, echo_thread, &echo), 0);
    while (!(pair.to = echo.ctx))
        sleep_ms(1);
    const int rounds = scaled(500);
    for (int i = 1; i <= rounds; i++) {
        const uint64_t data = i == rounds ? 0 : random_next(&state) | 1;
        sent = (struct call){0};
        send_data(pair, data, &sent);
        RUN_UNTIL(pair.from, received.calls == i && sent.calls == 1);
        CHECK_EQ(received.bytes, data);
        CHECK_EQ(received.result, 3);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(echo.sends, rounds);
    if (has_ring(pair.from) && backend == AIO_BACKEND_URING && has_messages(pair.from))
        CHECK_EQ(echo.wakes, 0); /* from ring to ring */
    end_ctx(pair.from);
}

static void with_a_thread(struct pair pair) { ping_pong(pair, false); }
static void with_a_foreign_loop(struct pair pair) { ping_pong(pair, true); }

TEST(a_sleeping_context_is_woken_by_each_message) { in_every_pairing(with_a_thread); }
TEST(a_context_in_a_foreign_loop_is_woken) { in_every_pairing(with_a_foreign_loop); }

/* --- files ----------------------------------------------------------------------------------- */

static bool can_send_files(struct pair pair) {
    const bool by_mail = has_ring(pair.from) && !has_ring(pair.to);
    if (by_mail) {
        aio_probe_info info = {.size = sizeof info};
        CHECK_EQ(aio_probe(pair.from, &info), 0);
        return info.kernel_version >= (6u << 16 | 8);
    }
    return true;
}

/* Runs both contexts of this thread in turns. */
#define RUN_BOTH_UNTIL(pair_, cond_)                                                               \
    do {                                                                                           \
        const uint64_t end_ = patience_end_ns();                                                   \
        while (!(cond_)) {                                                                         \
            CHECK_GE(aio_ctx_run_once((pair_).from, 0), 0);                                        \
            CHECK_GE(aio_ctx_run_once((pair_).to, (int64_t)MS), 0);                                \
            CHECK_LT(now_ns(), end_);                                                              \
        }                                                                                          \
    } while (0)

static void put(aio_ctx *ctx, uint32_t slot, int fd) {
    CHECK_EQ(aio_files_update(ctx, slot, &fd, 1), 1);
}

static int32_t close_slot(aio_ctx *ctx, int slot) {
    struct call call = {0};
    return DO(ctx, call,
              aio_submit_close(ctx, slot, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call, &call));
}

static void hand_over(struct pair pair) {
    int fds[2];
    char text[8] = {0};
    struct call sent = {0}, received = {0}, read = {0};
    if (!can_send_files(pair)) {
        end_pair(pair);
        return;
    }
    register_table(pair.from);
    register_table(pair.to);
    make_tcp_pair(fds);
    put(pair.from, 2, fds[0]);
    close(fds[0]);
    ID(aio_submit_msg_receive_fd(pair.to, NULL, on_call, &received));
    ID(aio_submit_msg_ring_fd(pair.from, pair.to, 2, 0, NULL, on_call, &sent));
    RUN_BOTH_UNTIL(pair, sent.finals && received.calls);
    CHECK_EQ(sent.result, received.result);
    CHECK_EQ(received.flags, AIO_CQE_MORE);
    CHECK_EQ(close_slot(pair.from, 2), 0);
    CHECK(!peer_sees_fin(fds[1], 5));
    write_all_or_fail(fds[1], "hello", 5);
    CHECK_EQ(DO(pair.to, read,
                aio_submit_recv(pair.to, received.result, text, sizeof text, 0,
                                WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call, &read)),
             5);
    CHECK_MEM(text, "hello", 5);
    CHECK_EQ(close_slot(pair.to, received.result), 0);
    CHECK(peer_sees_fin(fds[1], 10000));
    close(fds[1]);
    end_pair(pair);
}

TEST(a_connection_changes_hands_and_its_end_is_seen) {
    const int before = open_descriptors();
    in_every_pairing(hand_over);
    CHECK_EQ(open_descriptors(), before);
}

static void into_chosen_slots(struct pair pair) {
    int fds[2];
    struct call sent[3] = {0};
    if (!can_send_files(pair)) {
        end_pair(pair);
        return;
    }
    make_pipe(fds);
    register_table(pair.from);
    register_table(pair.to);
    put(pair.from, 1, fds[0]);
    /* Nobody receives yet; the second time there is something in the slot. */
    for (int i = 0; i < 3; i++) {
        ID(aio_submit_msg_ring_fd(pair.from, pair.to, 1, i == 2 ? SLOTS : 4, NULL, on_call,
                                  &sent[i]));
        RUN_BOTH_UNTIL(pair, sent[i].finals);
        CHECK_EQ(sent[i].result, i == 2 ? SLOTS - 1 : 3);
    }
    struct order order = {0};
    struct call received = {.order = &order};
    ID(aio_submit_msg_receive_fd(pair.to, NULL, on_call, &received));
    RUN_UNTIL(pair.to, received.calls == 3);
    CHECK_EQ(received.first, 3);
    CHECK_EQ(received.result, SLOTS - 1);
    CHECK_EQ(received.sum, 3 + 3 + SLOTS - 1);
    CHECK_EQ(aio_ctx_cancel_all(pair.to), 1);
    CHECK_EQ(await_call(pair.to, &received), -ECANCELED);
    close(fds[0]);
    close(fds[1]);
    end_pair(pair);
}

TEST(a_file_goes_into_the_slot_that_the_sender_names) { in_every_pairing(into_chosen_slots); }

static void never_received(struct pair pair) {
    int fds[2];
    struct call sent = {0};
    if (!can_send_files(pair)) {
        end_pair(pair);
        return;
    }
    make_tcp_pair(fds);
    register_table(pair.from);
    register_table(pair.to);
    put(pair.from, 1, fds[0]);
    close(fds[0]);
    ID(aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &sent));
    RUN_BOTH_UNTIL(pair, sent.finals);
    CHECK_GE(sent.result, 0);
    end_ctx(pair.from);
    CHECK(!peer_sees_fin(fds[1], 5));
    end_ctx(pair.to);
    CHECK(peer_sees_fin(fds[1], 10000));
    close(fds[1]);
}

TEST(a_file_that_nobody_received_is_closed_with_its_context) { in_every_pairing(never_received); }

static aio_ctx *not_yet_run(void) {
    aio_ctx *ctx = ctx_on(AIO_BACKEND_EPOLL);
    register_table(ctx);
    return ctx;
}

/* The sender's thread is the receiver's, which does not get its turn. */
TEST(a_file_that_has_not_arrived_can_be_taken_back) {
    for (int way = 0; way < 3; way++) {
        struct pair pair = {not_yet_run(), not_yet_run()};
        struct call sent = {0}, received = {0}, closed = {0};
        int fds[2];
        make_tcp_pair(fds);
        put(pair.from, 1, fds[0]);
        close(fds[0]);
        ID(aio_submit_msg_receive_fd(pair.to, NULL, on_call, &received));
        const aio_op_id id =
            ID(aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &sent));
        check_blocked(pair.from, &sent);
        if (way == 0) {
            CHECK_EQ(aio_ctx_cancel(pair.from, id), 0);
            CHECK_EQ(await_call(pair.from, &sent), -ECANCELED);
            CHECK_EQ(close_slot(pair.from, 1), 0);
        } else if (way == 1) {
            ID(aio_submit_close(pair.from, 1, WITH(.flags = AIO_SUBMIT_FIXED_FILE), on_call,
                                &closed));
            CHECK_EQ(await_call(pair.from, &closed), 0);
            CHECK_EQ(sent.result, -ECANCELED);
        }
        if (way == 2) {
            end_ctx(pair.from);
            CHECK_EQ(sent.result, -ECANCELED);
            CHECK_EQ(sent.flags, AIO_CQE_ABORTED);
        }
        CHECK(peer_sees_fin(fds[1], 10000));
        run_for_ms(pair.to, 2);
        CHECK_EQ(received.calls, 0);
        if (way != 2)
            end_ctx(pair.from);
        end_ctx(pair.to);
        close(fds[1]);
    }
}

TEST(cancelling_a_file_that_has_arrived_comes_too_late) {
    struct pair pair = {not_yet_run(), not_yet_run()};
    struct call sent = {0}, received = {0};
    int fds[2];
    make_pipe(fds);
    put(pair.from, 1, fds[0]);
    ID(aio_submit_msg_receive_fd(pair.to, NULL, on_call, &received));
    const aio_op_id id = ID(aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &sent));
    check_blocked(pair.from, &sent);
    RUN_UNTIL(pair.to, received.calls == 1);
    CHECK_EQ(aio_ctx_cancel(pair.from, id), 0);
    CHECK_EQ(await_call(pair.from, &sent), received.result);
    close(fds[0]);
    close(fds[1]);
    end_pair(pair);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void receiver_gone(struct pair pair) {
    struct call numbers = {0}, file = {0};
    const int before = open_descriptors();
    int fds[2];
    if (!can_send_files(pair)) {
        end_pair(pair);
        return;
    }
    make_pipe(fds);
    register_table(pair.from);
    register_table(pair.to);
    put(pair.from, 1, fds[0]);
    CHECK_EQ(aio_ctx_ref(pair.to), 0);
    /* Submitted before, handed over, or answered, after. */
    ID(aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &file));
    if (!has_ring(pair.to) || !has_ring(pair.from))
        check_blocked(pair.from, &file);
    end_ctx(pair.to);
    await_call(pair.from, &file);
    if (!has_ring(pair.from))
        CHECK_EQ(file.result, AIO_ECLOSED);
    CHECK_LT(file.result, 0);
    CHECK_EQ(aio_submit_msg_ring(pair.from, pair.to, 0, 0, NULL, on_call, &numbers), AIO_ECLOSED);
    CHECK_EQ(aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &numbers),
             AIO_ECLOSED);
    aio_ctx_unref(pair.to);
    end_ctx(pair.from);
    close(fds[0]);
    close(fds[1]);
    CHECK_LE(open_descriptors(), before);
}

TEST(a_context_that_is_gone_takes_no_message) { in_every_pairing(receiver_gone); }

/* A context that comes and goes while it is sent to. */
struct victim {
    uint32_t backend;
    aio_ctx *_Atomic ctx;
    struct call numbers, files;
};

static void *live_and_die(void *arg) {
    struct victim *victim = arg;
    aio_ctx *ctx = ctx_on(victim->backend);
    CHECK_EQ(aio_ctx_ref(ctx), 0); /* for the sender */
    register_table(ctx);
    ID(aio_submit_msg_receive(ctx, NULL, on_call, &victim->numbers));
    ID(aio_submit_msg_receive_fd(ctx, NULL, on_call, &victim->files));
    victim->ctx = ctx;
    for (int i = 0; i < 5; i++)
        CHECK_GE(aio_ctx_run_once(ctx, (int64_t)MS / 5), 0);
    end_ctx(ctx);
    return NULL;
}

static void check_end(const struct call *call) {
    CHECK_EQ(call->finals, 1);
    CHECK_EQ(call->calls, 1);
    if (call->result < 0 && call->result != -ENFILE)
        CHECK(call->result == AIO_ECLOSED || call->result == -EBADFD || call->result == -ENXIO);
}

static void in_the_middle(struct pair pair) {
    struct victim victim = {.backend = has_ring(pair.to) ? AIO_BACKEND_URING : AIO_BACKEND_EPOLL};
    static struct call numbers[4096], files[4096];
    const bool sends_files = can_send_files(pair);
    int fds[2], count = 0;
    pthread_t thread;
    end_ctx(pair.to);
    make_pipe(fds);
    register_table(pair.from);
    put(pair.from, 1, fds[0]);
    CHECK_EQ(pthread_create(&thread, NULL, live_and_die, &victim), 0);
    while (!(pair.to = victim.ctx))
        sleep_ms(1);
    for (; count < COUNT_OF(numbers); count++) {
        numbers[count] = files[count] = (struct call){0};
        const aio_op_id id =
            aio_submit_msg_ring(pair.from, pair.to, 1, 2, NULL, on_call, &numbers[count]);
        if (id == AIO_ECLOSED)
            break;
        CHECK_GT(id, 0);
        files[count].finals = -1;
        if (sends_files &&
            aio_submit_msg_ring_fd(pair.from, pair.to, 1, 0, NULL, on_call, &files[count]) > 0)
            files[count].finals = 0;
        CHECK_GE(aio_ctx_run_once(pair.from, count % 3 ? 0 : (int64_t)MS / 10), 0);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_run(pair.from), 0);
    aio_ctx_unref(pair.to);
    int sent = 0;
    for (int i = 0; i < count; i++) {
        check_end(&numbers[i]);
        if (files[i].finals != -1)
            check_end(&files[i]);
        sent += numbers[i].result == 0;
    }
    CHECK_LE(victim.numbers.calls - 1, sent);
    close(fds[0]);
    close(fds[1]);
    end_ctx(pair.from);
}

TEST(a_context_may_end_while_it_is_sent_to) {
    const int before = open_descriptors();
    for (int i = 0; i < scaled(5); i++)
        in_every_pairing(in_the_middle);
    CHECK_EQ(open_descriptors(), before);
}

HARNESS_MAIN
