/* Section ctx, the part on batches: AIO_CALLBACK_REAP and aio_ctx_reap. */
#include "harness.h"

#include <poll.h>

static void *tag(uint64_t value) { return (void *)(uintptr_t)value; }

static int32_t reap(aio_ctx *ctx, aio_completion *out, uint32_t count, int64_t timeout_ns) {
    return aio_ctx_reap(ctx, out, sizeof *out, count, timeout_ns);
}

TEST(a_record_says_whose_it_is_and_what_came) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("record", "12345", 5);
    char data[8] = {0};
    const aio_op_id id =
        ID(aio_submit_read(ctx, fd, data, sizeof data, 0, NULL, AIO_CALLBACK_REAP, tag(77)));
    aio_completion record;
    memset(&record, 0xff, sizeof record);
    CHECK_EQ(reap(ctx, &record, 1, 5000 * (int64_t)MS), 1);
    CHECK_EQ(record.user_data, 77);
    CHECK_EQ(record.id, id);
    CHECK_EQ(record.result, 5);
    CHECK_EQ(record.flags, 0);
    CHECK_EQ(record.lease, 0);
    CHECK_MEM(data, "12345", 5);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    close(fd);
    end_ctx(ctx);
}

TEST(an_error_is_a_record_like_any_other) {
    aio_ctx *ctx = make_ctx();
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, NULL, AIO_CALLBACK_REAP, tag(1)));
    aio_completion record = {0};
    CHECK_EQ(reap(ctx, &record, 1, 5000 * (int64_t)MS), 1);
    CHECK_EQ(record.result, -EBADF);
    end_ctx(ctx);
}

TEST(reap_gives_no_more_than_asked_for_and_keeps_the_rest) {
    aio_ctx *ctx = make_ctx();
    for (uint64_t i = 0; i < 10; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(i)));
    bool seen[10] = {false};
    int total = 0;
    for (const uint64_t end = patience_end_ns(); total < 10 && now_ns() < end;) {
        aio_completion records[4];
        memset(records, 0xff, sizeof records);
        const int32_t count = reap(ctx, records, 3, 1000 * (int64_t)MS);
        CHECK_GE(count, 0);
        CHECK_LE(count, 3);
        CHECK_EQ(records[3].user_data, UINT64_MAX);
        for (int i = 0; i < count; i++) {
            CHECK_LT(records[i].user_data, 10);
            CHECK(!seen[records[i].user_data]);
            seen[records[i].user_data] = true;
        }
        total += count;
    }
    CHECK_EQ(total, 10);
    aio_completion record;
    CHECK_EQ(reap(ctx, &record, 1, 0), 0);
    end_ctx(ctx);
}

TEST(reap_is_zero_at_its_timeout_and_not_early) {
    aio_ctx *ctx = make_ctx();
    aio_completion record;
    ID(aio_submit_timer(ctx, HOUR, NULL, AIO_CALLBACK_REAP, NULL));
    CHECK_EQ(reap(ctx, &record, 1, 0), 0);
    const uint64_t start = now_ns();
    CHECK_EQ(reap(ctx, &record, 1, 20 * (int64_t)MS), 0);
    CHECK_GE(now_ns() - start, 20 * MS);
    end_ctx(ctx);
}

TEST(reap_without_a_limit_waits_for_a_record) {
    aio_ctx *ctx = make_ctx();
    aio_completion record = {0};
    ID(aio_submit_timer(ctx, 10 * MS, NULL, AIO_CALLBACK_REAP, tag(5)));
    CHECK_EQ(reap(ctx, &record, 1, -1), 1);
    CHECK_EQ(record.user_data, 5);
    CHECK_EQ(record.result, 0);
    end_ctx(ctx);
}

TEST(records_of_another_size_are_laid_out_with_that_size) {
    aio_ctx *ctx = make_ctx();
    struct {
        aio_completion record;
        uint64_t later[2];
    } records[3];
    memset(records, 0, sizeof records);
    for (uint64_t i = 1; i <= 3; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(i)));
    CHECK_GE(aio_ctx_run_once(ctx, 1000 * (int64_t)MS), 1);
    int total = 0;
    while (total < 3) {
        const int32_t count = aio_ctx_reap(ctx, &records[total].record, sizeof records[0],
                                           (uint32_t)(3 - total), 1000 * (int64_t)MS);
        CHECK_GT(count, 0);
        total += count;
    }
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        sum += records[i].record.user_data;
        CHECK_EQ(records[i].record.result, 0);
        CHECK_GT(records[i].record.id, 0);
        CHECK_EQ(records[i].later[0] | records[i].later[1], 0);
    }
    CHECK_EQ(sum, 6);
    end_ctx(ctx);
}

TEST(callbacks_run_during_a_reap_and_are_not_records) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &call));
    ID(aio_submit_timer(ctx, 5 * MS, NULL, AIO_CALLBACK_REAP, tag(9)));
    aio_completion record = {0};
    int32_t count = 0;
    for (const uint64_t end = patience_end_ns(); count == 0 && now_ns() < end;)
        count = reap(ctx, &record, 1, 1000 * (int64_t)MS);
    CHECK_EQ(count, 1);
    CHECK_EQ(record.user_data, 9);
    CHECK_EQ(call.finals, 1);
    end_ctx(ctx);
}

TEST(records_that_run_collected_wait_for_reap) {
    aio_ctx *ctx = make_ctx();
    for (uint64_t i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(i)));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    aio_completion records[128];
    CHECK_EQ(reap(ctx, records, 128, 0), 100);
    for (uint64_t i = 0; i < 100; i++)
        CHECK_EQ(records[i].user_data, i);
    end_ctx(ctx);
}

TEST(a_multishot_gives_a_record_for_each_event) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    const aio_op_id id =
        ID(aio_submit_poll_multishot(ctx, pair[0], POLLIN, NULL, AIO_CALLBACK_REAP, tag(3)));
    aio_completion record = {0};
    for (int i = 0; i < 5; i++) {
        write_all_or_fail(pair[1], "x", 1);
        CHECK_EQ(reap(ctx, &record, 1, 5000 * (int64_t)MS), 1);
        CHECK_EQ(record.id, id);
        CHECK_EQ(record.result & POLLIN, POLLIN);
        CHECK_EQ(record.flags & AIO_CQE_MORE, AIO_CQE_MORE);
        char byte;
        read_all_or_fail(pair[0], &byte, 1);
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(reap(ctx, &record, 1, 5000 * (int64_t)MS), 1);
    CHECK_EQ(record.result, -ECANCELED);
    CHECK_EQ(record.flags & AIO_CQE_MORE, 0);
    end_ctx(ctx);
}

TEST(a_deadline_shows_in_the_record) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    ID(aio_submit_recv(ctx, pair[0], &byte, 1, 0, WITH(.timeout_ns = 2 * MS), AIO_CALLBACK_REAP,
                       NULL));
    aio_completion record = {0};
    CHECK_EQ(reap(ctx, &record, 1, 5000 * (int64_t)MS), 1);
    CHECK_EQ(record.result, -ETIMEDOUT);
    CHECK_EQ(record.flags, AIO_CQE_DEADLINE);
    end_ctx(ctx);
}

TEST(a_quiet_operation_leaves_no_record) {
    aio_ctx *ctx = make_ctx();
    ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), AIO_CALLBACK_REAP, tag(1)));
    ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(2)));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    aio_completion records[2];
    CHECK_EQ(reap(ctx, records, 2, 0), 1);
    CHECK_EQ(records[0].user_data, 2);
    end_ctx(ctx);
}

TEST(a_small_backlog_delays_completions_and_loses_none) {
    aio_ctx *ctx =
        make_ctx_with(CTX_WITH(.sq_entries = 8, .cq_entries = 16, .reap_backlog_max = 4));
    enum { COUNT = 500 };
    static bool seen[COUNT];
    for (uint64_t i = 0; i < COUNT; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(i)));
    int total = 0;
    for (const uint64_t end = patience_end_ns(); total < COUNT && now_ns() < end;) {
        aio_completion records[3];
        const int32_t count = reap(ctx, records, 3, 1000 * (int64_t)MS);
        CHECK_GE(count, 0);
        for (int i = 0; i < count; i++) {
            CHECK_LT(records[i].user_data, COUNT);
            CHECK(!seen[records[i].user_data]);
            seen[records[i].user_data] = true;
        }
        total += count;
    }
    CHECK_EQ(total, COUNT);
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
}

static void submit_for_the_batch(void *arg) {
    ID(aio_submit_nop(arg, NULL, AIO_CALLBACK_REAP, tag(4)));
}

static void *post_later(void *arg) {
    sleep_ms(20);
    CHECK_EQ(aio_ctx_post(arg, submit_for_the_batch, arg), 0);
    return NULL;
}

TEST(posted_work_wakes_a_reap_and_may_feed_it) {
    aio_ctx *ctx = make_ctx();
    ID(aio_submit_timer(ctx, HOUR, NULL, AIO_CALLBACK_REAP, NULL));
    aio_completion record = {0};
    CHECK_EQ(reap(ctx, &record, 1, 0), 0); /* adopted, asleep from now on */
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, post_later, ctx), 0);
    int32_t count = 0;
    for (const uint64_t end = patience_end_ns(); count == 0 && now_ns() < end;)
        count = reap(ctx, &record, 1, (int64_t)(HOUR));
    CHECK_EQ(count, 1);
    CHECK_EQ(record.user_data, 4);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_ctx(ctx);
}

TEST(run_returns_when_the_backlog_is_full) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.reap_backlog_max = 4));
    enum { COUNT = 30 };
    bool seen[COUNT] = {false};
    for (uint64_t i = 0; i < COUNT; i++)
        ID(aio_submit_nop(ctx, NULL, AIO_CALLBACK_REAP, tag(i)));
    int total = 0, runs = 0;
    while (total < COUNT) {
        aio_completion records[COUNT];
        CHECK_LT(runs++, COUNT + 1);
        CHECK_EQ(aio_ctx_run(ctx), 0); /* would wait for ever otherwise */
        const int32_t count = reap(ctx, records, COUNT, 0);
        CHECK_GE(count, 1);
        for (int i = 0; i < count; i++) {
            CHECK_LT(records[i].user_data, COUNT);
            CHECK(!seen[records[i].user_data]);
            seen[records[i].user_data] = true;
        }
        total += count;
    }
    CHECK_EQ(total, COUNT);
    end_ctx(ctx);
}

TEST(descriptors_in_records_that_nobody_reaped_are_closed_by_destroy) {
    end_ctx(make_ctx());
    const int before = open_descriptors();
    for (int ran = 0; ran < 2; ran++) {
        aio_ctx *ctx = make_ctx();
        for (int i = 0; i < 10; i++)
            ID(aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, NULL, AIO_CALLBACK_REAP,
                                 NULL));
        if (ran)
            CHECK_EQ(aio_ctx_run(ctx), 0);
        end_ctx(ctx);
        CHECK_EQ(open_descriptors(), before);
    }
}

HARNESS_MAIN
