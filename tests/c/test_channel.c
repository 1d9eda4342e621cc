/* Section channel: bounded, in order, nothing twice and nothing lost, also around its close. */
#include "harness.h"

#include <sched.h>

static aio_channel *make_channel(uint32_t capacity, uint32_t record_size) {
    const aio_channel_options options = {
        .size = sizeof options, .capacity = capacity, .record_size = record_size};
    aio_channel *channel = NULL;
    CHECK_EQ(aio_channel_create(&options, &channel), 0);
    return channel;
}

static void send_numbers(aio_channel *channel, uint64_t first, int count) {
    for (int i = 0; i < count; i++) {
        const uint64_t number = first + (uint64_t)i;
        CHECK_EQ(aio_channel_send(channel, &number), 0);
    }
}

static pthread_t start_thread(void *(*body)(void *arg), void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

TEST(records_come_in_order_as_many_as_have_room) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(0, 0);
    uint64_t records[4] = {0};
    struct call call = {0};
    CHECK_EQ(aio_channel_capacity(channel), 256);
    send_numbers(channel, 10, 6);
    CHECK_EQ(aio_channel_length(channel), 6);
    ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(call.calls, 0); /* never inside the submit call */
    CHECK_EQ(aio_channel_length(channel), 6);
    CHECK_EQ(await_call(ctx, &call), 4);
    CHECK_EQ(call.bytes, 32);
    for (uint64_t i = 0; i < 4; i++)
        CHECK_EQ(records[i], 10 + i);
    call = (struct call){0};
    ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 2);
    CHECK_EQ(records[0], 14);
    CHECK_EQ(records[1], 15);
    CHECK_EQ(records[2], 12); /* as it was */
    call = (struct call){0};
    ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    check_blocked(ctx, &call);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_full_channel_says_so) {
    aio_channel *channel = make_channel(3, 8); /* four */
    uint64_t records[8] = {0};
    CHECK_EQ(aio_channel_capacity(channel), 4);
    for (uint64_t round = 0; round < 5; round++) {
        send_numbers(channel, 10 * round, 4);
        CHECK_EQ(aio_channel_send(channel, records), -EAGAIN);
        CHECK_EQ(aio_channel_send_many(channel, records, 2), -EAGAIN);
        CHECK_EQ(aio_channel_take(channel, records, 1), 1);
        CHECK_EQ(records[0], 10 * round);
        const uint64_t more[] = {77, 78};
        CHECK_EQ(aio_channel_send_many(channel, more, 2), 1); /* what fits */
        CHECK_EQ(aio_channel_take(channel, records, 8), 4);
        CHECK_EQ(records[0], 10 * round + 1);
        CHECK_EQ(records[3], 77);
        CHECK_EQ(aio_channel_take(channel, records, 8), -EAGAIN);
    }
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_channel_of_one_place_holds_one_record) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(1, 8);
    CHECK_EQ(aio_channel_capacity(channel), 1);
    for (uint64_t round = 1; round < 5; round++) {
        uint64_t record = 0;
        struct call call = {0};
        send_numbers(channel, round, 1);
        CHECK_EQ(aio_channel_length(channel), 1);
        CHECK_EQ(aio_channel_send(channel, &record), -EAGAIN);
        ID(aio_submit_channel_receive(ctx, channel, &record, 1, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), 1);
        CHECK_EQ(record, round);
        CHECK_EQ(aio_channel_take(channel, &record, 1), -EAGAIN);
    }
    send_numbers(channel, 9, 1);
    CHECK_EQ(aio_channel_close(channel), 0);
    uint64_t last = 0;
    CHECK_EQ(aio_channel_take(channel, &last, 1), 1);
    CHECK_EQ(last, 9);
    CHECK_EQ(aio_channel_take(channel, &last, 1), 0);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_large_channel_takes_memory_as_it_fills) {
    if (!memory_figures_are_ours())
        SKIP("the tool's memory is counted with ours");
    const int64_t before = resident_kib();
    aio_channel *channel = make_channel(1 << 12, 65536); /* 256 MiB */
    uint8_t *record = calloc(1, 65536);
    for (int i = 0; i < 100; i++) {
        record[65535] = (uint8_t)i;
        CHECK_EQ(aio_channel_send(channel, record), 0);
        CHECK_EQ(aio_channel_take(channel, record, 1), 1);
        CHECK_EQ(record[65535], i);
    }
    CHECK_LT(resident_kib() - before, 64 * 1024);
    free(record);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(records_may_have_any_size) {
    static const uint32_t sizes[] = {1, 3, 8, 24, 100, 65536};
    for (int i = 0; i < COUNT_OF(sizes); i++) {
        const uint32_t size = sizes[i];
        aio_channel *channel = make_channel(4, size);
        uint8_t *sent = malloc(5 * (size_t)size), *got = calloc(6, size);
        pattern_fill(sent, 5 * (size_t)size, 7);
        for (int round = 0; round < 3; round++) {
            CHECK_EQ(aio_channel_send_many(channel, sent, 5), 4);
            CHECK_EQ(aio_channel_take(channel, got, 6), 4);
            CHECK_MEM(got, sent, 4 * (size_t)size);
            CHECK_EQ(got[4 * (size_t)size], 0); /* nothing behind them */
        }
        free(sent);
        free(got);
        CHECK_EQ(aio_channel_destroy(channel), 0);
    }
}

static void *send_later(void *arg) {
    sleep_ms(20);
    send_numbers(arg, 5, 1);
    return NULL;
}

TEST(a_record_wakes_a_sleeping_context) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    for (int i = 0; i < 3; i++) {
        uint64_t record = 0;
        struct call call = {0};
        ID(aio_submit_channel_receive(ctx, channel, &record, 1, NULL, on_call, &call));
        const pthread_t thread = start_thread(send_later, channel);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(call.result, 1);
        CHECK_EQ(record, 5);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_burst_is_one_callback) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(128, 8);
    uint64_t records[128];
    struct call call = {0};
    const aio_op_id id =
        ID(aio_submit_channel_receive_multishot(ctx, channel, records, 128, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    send_numbers(channel, 0, 100);
    RUN_UNTIL(ctx, call.calls);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.result, 100);
    CHECK_EQ(call.flags, AIO_CQE_MORE);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

/* --- several threads ------------------------------------------------------------------------- */

#define SENDERS 3

struct sender {
    aio_channel *channel;
    uint64_t number;
    int count;
    bool closes;
    uint64_t full; /* how often it was */
    uint64_t sent;
};

static void *send_many_numbers(void *arg) {
    struct sender *sender = arg;
    for (int i = 0; i < sender->count; i++) {
        const uint64_t record = sender->number << 32 | (uint64_t)i;
        int32_t status;
        while ((status = aio_channel_send(sender->channel, &record)) == -EAGAIN) {
            sender->full++;
            sched_yield();
        }
        if (status == AIO_ECLOSED)
            return NULL;
        CHECK_EQ(status, 0);
        sender->sent++;
    }
    if (sender->closes)
        CHECK_EQ(aio_channel_close(sender->channel), 0);
    return NULL;
}

struct receiver {
    struct call call;
    uint64_t records[16];
    uint64_t next[SENDERS]; /* of each sender */
    uint64_t got;
    uint64_t close_at; /* the receiver closes when it has got so many; 0: never */
    aio_channel *channel;
};

static void take_records(struct call *call) {
    struct receiver *receiver = call->arg;
    for (int32_t i = 0; i < call->result; i++) {
        const uint64_t sender = receiver->records[i] >> 32;
        CHECK_LT(sender, SENDERS);
        CHECK_EQ(receiver->records[i] & 0xffffffff, receiver->next[sender]);
        receiver->next[sender]++;
        receiver->got++;
    }
    if (receiver->close_at && receiver->got >= receiver->close_at)
        CHECK_EQ(aio_channel_close(receiver->channel), 0);
}

static void start_senders(struct sender senders[SENDERS], pthread_t threads[SENDERS],
                          aio_channel *channel, int count) {
    for (uint64_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.channel = channel, .number = i, .count = count};
        threads[i] = start_thread(send_many_numbers, &senders[i]);
    }
}

TEST(several_threads_send_and_everything_comes_once_in_order) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(64, 8);
    struct receiver receiver = {.channel = channel};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    const int count = scaled(30000);
    receiver.call = (struct call){.then = take_records, .arg = &receiver};
    ID(aio_submit_channel_receive_multishot(ctx, channel, receiver.records, 16, NULL, on_call,
                                            &receiver.call));
    start_senders(senders, threads, channel, count);
    RUN_UNTIL(ctx, receiver.got == SENDERS * (uint64_t)count);
    for (int i = 0; i < SENDERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK_EQ(aio_channel_close(channel), 0);
    CHECK_EQ(await_call(ctx, &receiver.call), 0); /* the end, and nothing more */
    CHECK_EQ(receiver.got, SENDERS * (uint64_t)count);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

/* What was taken by a send is received, whatever was refused. */
TEST(the_receiver_closes_while_threads_send) {
    for (int round = 0; round < scaled(20); round++) {
        aio_ctx *ctx = make_ctx();
        aio_channel *channel = make_channel(8, 8);
        struct receiver receiver = {.channel = channel, .close_at = 100};
        struct sender senders[SENDERS];
        pthread_t threads[SENDERS];
        uint64_t sent = 0;
        receiver.call = (struct call){.then = take_records, .arg = &receiver};
        ID(aio_submit_channel_receive_multishot(ctx, channel, receiver.records, 16, NULL, on_call,
                                                &receiver.call));
        start_senders(senders, threads, channel, 1000000);
        CHECK_EQ(await_call(ctx, &receiver.call), 0);
        for (int i = 0; i < SENDERS; i++) {
            CHECK_EQ(pthread_join(threads[i], NULL), 0);
            sent += senders[i].sent;
        }
        CHECK_EQ(receiver.got, sent);
        end_ctx(ctx);
        CHECK_EQ(aio_channel_destroy(channel), 0);
    }
}

TEST(a_sender_closes_behind_its_last_record) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(8, 8);
    struct receiver receiver = {.channel = channel};
    struct sender sender = {.channel = channel, .count = 1000, .closes = true};
    receiver.call = (struct call){.then = take_records, .arg = &receiver};
    const pthread_t thread = start_thread(send_many_numbers, &sender);
    ID(aio_submit_channel_receive_multishot(ctx, channel, receiver.records, 16, NULL, on_call,
                                            &receiver.call));
    CHECK_EQ(await_call(ctx, &receiver.call), 0);
    CHECK_EQ(receiver.call.flags, 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(receiver.got, 1000);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

/* --- ends ------------------------------------------------------------------------------------ */

TEST(what_was_sent_before_a_close_is_received) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t records[4] = {0};
    struct call call = {0};
    send_numbers(channel, 1, 3);
    CHECK_EQ(aio_channel_close(channel), 0);
    CHECK_EQ(aio_channel_close(channel), 0);
    CHECK_EQ(aio_channel_send(channel, records), AIO_ECLOSED);
    CHECK_EQ(
        DO(ctx, call, aio_submit_channel_receive(ctx, channel, records, 2, NULL, on_call, &call)),
        2);
    CHECK_EQ(aio_channel_take(channel, records, 2), 1);
    CHECK_EQ(records[0], 3);
    CHECK_EQ(aio_channel_take(channel, records, 2), 0);
    for (int i = 0; i < 2; i++) {
        call = (struct call){0};
        CHECK_EQ(DO(ctx, call,
                    aio_submit_channel_receive(ctx, channel, records, 2, NULL, on_call, &call)),
                 0);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_receive_that_waits_is_ended_by_destroy) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t records[4];
    struct call call = {0};
    ID(aio_submit_channel_receive_multishot(ctx, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    send_numbers(channel, 9, 1);
    CHECK_EQ(aio_channel_ref(channel), 0);
    CHECK_EQ(aio_channel_destroy(channel), 0);
    CHECK_EQ(aio_channel_send(channel, records), AIO_ECLOSED);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.calls, 2);
    CHECK_EQ(call.first, 1);
    CHECK_EQ(records[0], 9);
    CHECK_EQ(call.result, 0);
    aio_channel_unref(channel);
    end_ctx(ctx);
}

TEST(a_receive_that_is_given_up_takes_nothing) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t records[4] = {0};
    struct call call = {0};
    const aio_op_id id =
        ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    send_numbers(channel, 3, 2);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_channel_take(channel, records, 4), -EBUSY); /* until its last callback */
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(records[0], 0);
    CHECK_EQ(aio_channel_take(channel, records, 4), 2);
    CHECK_EQ(records[0], 3);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(one_receives_at_a_time) {
    aio_ctx *ctx = make_ctx(), *other = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t records[4];
    struct call call = {0};
    ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(aio_submit_channel_receive(other, channel, records, 4, NULL, on_call_never, NULL),
             -EBUSY);
    CHECK_EQ(aio_channel_take(channel, records, 4), -EBUSY);
    CHECK_EQ(aio_ctx_detach(ctx, call.id), -ENOENT);
    send_numbers(channel, 1, 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    call = (struct call){0};
    const aio_op_id id =
        ID(aio_submit_channel_receive(other, channel, records, 4, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_detach(other, id), -EBUSY); /* it uses memory of the caller's */
    send_numbers(channel, 2, 1);
    CHECK_EQ(await_call(other, &call), 1);
    end_ctx(ctx);
    end_ctx(other);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(a_context_that_goes_leaves_the_records) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t records[4] = {0};
    struct call call = {0};
    ID(aio_submit_channel_receive(ctx, channel, records, 4, NULL, on_call, &call));
    send_numbers(channel, 6, 2);
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(aio_channel_take(channel, records, 4), 2);
    CHECK_EQ(records[1], 7);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

static void in_the_child(void *arg) {
    void **both = arg;
    uint64_t record = 8;
    CHECK_EQ(aio_channel_send(both[1], &record), 0);
    CHECK_EQ(aio_ctx_destroy(both[0]), 0);
    CHECK_EQ(aio_channel_destroy(both[1]), 0);
}

TEST(a_forked_child_has_a_copy) {
    aio_ctx *ctx = make_ctx();
    aio_channel *channel = make_channel(4, 8);
    uint64_t record = 0;
    struct call call = {0};
    ID(aio_submit_channel_receive(ctx, channel, &record, 1, NULL, on_call, &call));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    void *both[] = {ctx, channel};
    CHECK_EQ(end_child(start_child(in_the_child, both)), 0);
    check_blocked(ctx, &call);
    send_numbers(channel, 2, 1);
    CHECK_EQ(await_call(ctx, &call), 1);
    CHECK_EQ(record, 2);
    end_ctx(ctx);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

TEST(bad_arguments_are_refused) {
    aio_channel *channel = NULL;
    uint64_t record = 0;
    struct {
        aio_channel_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger}, .later = 1};
    const aio_channel_options good = {.size = sizeof good};
    aio_channel_options bad = good;
    CHECK_EQ(aio_channel_create(&good, NULL), -EINVAL);
    CHECK_EQ(aio_channel_create(&larger.options, &channel), -E2BIG);
    bad.size = sizeof bad - 1;
    CHECK_EQ(aio_channel_create(&bad, &channel), -EINVAL);
    bad = good;
    bad.capacity = (1 << 20) + 1;
    CHECK_EQ(aio_channel_create(&bad, &channel), -EINVAL);
    bad = good;
    bad.record_size = 65537;
    CHECK_EQ(aio_channel_create(&bad, &channel), -EINVAL);
    bad = good;
    bad.reserved0 = 1;
    CHECK_EQ(aio_channel_create(&bad, &channel), -EINVAL);
    CHECK(channel == NULL);
    CHECK_EQ(aio_channel_create(NULL, &channel), 0);
    CHECK_EQ(aio_channel_send(NULL, &record), -EINVAL);
    CHECK_EQ(aio_channel_send(channel, NULL), -EINVAL);
    CHECK_EQ(aio_channel_send_many(channel, &record, 0), -EINVAL);
    CHECK_EQ(aio_channel_take(NULL, &record, 1), -EINVAL);
    CHECK_EQ(aio_channel_take(channel, NULL, 1), -EINVAL);
    CHECK_EQ(aio_channel_take(channel, &record, 0), -EINVAL);
    CHECK_EQ(aio_channel_close(NULL), -EINVAL);
    CHECK_EQ(aio_channel_destroy(NULL), -EINVAL);
    CHECK_EQ(aio_channel_ref(NULL), -EINVAL);
    CHECK_EQ(aio_channel_length(NULL), -EINVAL);
    CHECK_EQ(aio_channel_capacity(NULL), -EINVAL);
    aio_channel_unref(NULL);
    CHECK_EQ(aio_channel_destroy(channel), 0);
}

HARNESS_MAIN
