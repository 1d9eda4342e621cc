/* Section misc: nop and raw (a caller-filled submission entry), and what the submit options that
 * are not particular to one operation do: quiet, async, group (correlation is in test_ctx). */
#include "harness.h"

#include <linux/io_uring.h>
#include <poll.h>

TEST(a_nop_completes_with_zero) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.result = -1};
    const aio_op_id id = ID(aio_submit_nop(ctx, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(call.flags, 0);
    CHECK_EQ(call.id, id);
    end_ctx(ctx);
}

TEST(a_hundred_thousand_nops_complete_once_each) {
    aio_ctx *ctx = make_ctx();
    const int total = scaled(100000);
    int *calls = calloc((size_t)total, sizeof *calls);
    CHECK(calls != NULL);
    for (int i = 0; i < total; i++)
        ID(aio_submit_nop(ctx, NULL, on_call_count, &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < total; i++)
        CHECK_EQ(calls[i], 1);
    check_nothing_in_flight(ctx);
    free(calls);
    end_ctx(ctx);
}

TEST(ids_of_operations_in_flight_are_all_different) {
    aio_ctx *ctx = make_ctx();
    enum { COUNT = 500 };
    aio_op_id ids[COUNT];
    int calls = 0;
    for (int i = 0; i < COUNT; i++) {
        ids[i] = ID(aio_submit_timer(ctx, MS, NULL, on_call_count, &calls));
        for (int n = 0; n < i; n++)
            CHECK_NE(ids[n], ids[i]);
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls, COUNT);
    end_ctx(ctx);
}

/* --- quiet ----------------------------------------------------------------------------------- */

TEST(a_quiet_operation_that_succeeds_does_not_call_back) {
    aio_ctx *ctx = make_ctx();
    for (int i = 0; i < 100; i++)
        ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    CHECK_EQ(aio_ctx_in_flight(ctx), 100);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const aio_stats stats = stats_of(ctx);
    CHECK_EQ(stats.completed, 100);
    CHECK_EQ(stats.callbacks, 0);
    CHECK_EQ(stats.in_flight, 0);
    end_ctx(ctx);
}

TEST(a_quiet_operation_that_fails_calls_back) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    char byte = 0;
    ID(aio_submit_read(ctx, 9999, &byte, 1, 0, WITH(.flags = AIO_SUBMIT_QUIET), on_call, &call));
    CHECK_EQ(await_call(ctx, &call), -EBADF);
    end_ctx(ctx);
}

TEST(a_quiet_write_is_really_written) {
    aio_ctx *ctx = make_ctx();
    const int fd = temp_file("quiet", NULL, 0);
    ID(aio_submit_write(ctx, fd, "quiet", 5, 0, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never,
                        NULL));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    char data[8] = {0};
    CHECK_EQ(pread(fd, data, sizeof data, 0), 5);
    CHECK_MEM(data, "quiet", 5);
    close(fd);
    end_ctx(ctx);
}

TEST(a_quiet_operation_that_is_cancelled_calls_back) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const aio_op_id id = ID(
        aio_submit_timer(ctx, 3600 * 1000 * MS, WITH(.flags = AIO_SUBMIT_QUIET), on_call, &call));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    end_ctx(ctx);
}

/* Its number would reach nobody: refused, or closed by the engine, but never left open. */
TEST(a_quiet_operation_leaves_no_descriptor_that_nobody_knows) {
    aio_ctx *ctx = make_ctx();
    struct call warm = {0};
    ID(aio_submit_nop(ctx, NULL, on_call, &warm));
    await_call(ctx, &warm);
    const int before = open_descriptors();
    const aio_submit_options *quiet = WITH(.flags = AIO_SUBMIT_QUIET);
    const aio_op_id ids[] = {
        aio_submit_openat(ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, quiet, on_call_never, NULL),
        aio_submit_socket(ctx, AF_UNIX, SOCK_STREAM, 0, quiet, on_call_never, NULL),
    };
    for (int i = 0; i < COUNT_OF(ids); i++)
        CHECK(ids[i] > 0 || ids[i] == -EINVAL);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

TEST(a_quiet_timer_ends_the_run_in_silence) {
    aio_ctx *ctx = make_ctx();
    const uint64_t start = now_ns();
    ID(aio_submit_timer(ctx, 5 * MS, WITH(.flags = AIO_SUBMIT_QUIET), on_call_never, NULL));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_GE(now_ns() - start, 5 * MS);
    CHECK_EQ(stats_of(ctx).completed, 1);
    end_ctx(ctx);
}

/* --- async ----------------------------------------------------------------------------------- */

/* A read of an empty pipe is polled; forced onto a kernel worker it occupies a thread, which
 * /proc/self/task shows. Without a ring it is polled all the same: only what has no other way to
 * wait, as the opening of a named pipe, occupies a thread, and does so without being told. */
static int threads_now(void) {
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    char line[256];
    int threads = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &threads) == 1)
            break;
    fclose(file);
    return threads;
}

TEST(async_puts_the_operation_on_a_worker) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2];
    make_pipe(pipe_fds);
    char byte = 0;
    struct call plain = {0}, forced = {0};
    ID(aio_submit_read(ctx, pipe_fds[0], &byte, 1, AIO_OFFSET_CURRENT, NULL, on_call, &plain));
    check_blocked(ctx, &plain);
    const int threads_before = threads_now();
    char other = 0;
    int other_pipe[2];
    make_pipe(other_pipe);
    ID(aio_submit_read(ctx, other_pipe[0], &other, 1, AIO_OFFSET_CURRENT,
                       WITH(.flags = AIO_SUBMIT_ASYNC), on_call, &forced));
    check_blocked(ctx, &forced);
    if (has_ring(ctx))
        CHECK_GT(threads_now(), threads_before);
    else
        CHECK_EQ(threads_now(), threads_before);
    write_all_or_fail(other_pipe[1], "a", 1);
    CHECK_EQ(await_call(ctx, &forced), 1);
    CHECK_EQ(other, 'a');
    write_all_or_fail(pipe_fds[1], "p", 1);
    CHECK_EQ(await_call(ctx, &plain), 1);
    CHECK_EQ(byte, 'p');
    end_ctx(ctx);
}

TEST(async_nop_and_file_operations_give_the_usual_results) {
    aio_ctx *ctx = make_ctx();
    const aio_submit_options *async = WITH(.flags = AIO_SUBMIT_ASYNC);
    const int fd = temp_file("async", NULL, 0);
    struct call nop = {0}, write = {0}, sync = {0}, read = {0};
    char data[8] = {0};
    ID(aio_submit_nop(ctx, async, on_call, &nop));
    ID(aio_submit_write(ctx, fd, "async", 5, 0, async, on_call, &write));
    CHECK_EQ(await_call(ctx, &nop), 0);
    CHECK_EQ(await_call(ctx, &write), 5);
    ID(aio_submit_fsync(ctx, fd, 0, async, on_call, &sync));
    ID(aio_submit_read(ctx, fd, data, sizeof data, 0, async, on_call, &read));
    CHECK_EQ(await_call(ctx, &sync), 0);
    CHECK_EQ(await_call(ctx, &read), 5);
    CHECK_MEM(data, "async", 5);
    close(fd);
    end_ctx(ctx);
}

/* --- raw ------------------------------------------------------------------------------------- */

TEST(a_raw_nop_completes_and_its_user_data_is_not_the_users) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.result = -1};
    const struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .user_data = 0xdeadbeef};
    const aio_op_id id = ID(aio_submit_raw(ctx, &sqe, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.id, id);
    end_ctx(ctx);
}

TEST(a_raw_entry_is_copied_during_the_call) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    char data[16] = {0};
    const int fd = temp_file("raw", "raw bytes", 9);
    struct io_uring_sqe sqe = {.opcode = IORING_OP_READ, .fd = fd, .len = sizeof data, .off = 4};
    sqe.addr = (uint64_t)(uintptr_t)data;
    ID(aio_submit_raw(ctx, &sqe, NULL, on_call, &call));
    memset(&sqe, 0xff, sizeof sqe);
    CHECK_EQ(await_call(ctx, &call), 5);
    CHECK_MEM(data, "bytes", 5);
    close(fd);
    end_ctx(ctx);
}

TEST(a_raw_opcode_that_the_kernel_does_not_have_is_eopnotsupp) {
    aio_ctx *ctx = make_ctx();
    struct call after = {0};
    const struct io_uring_sqe sqe = {.opcode = 255};
    CHECK_EQ(aio_submit_raw(ctx, &sqe, NULL, on_call_never, NULL), -EOPNOTSUPP);
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(await_call(ctx, &after), 0);
    end_ctx(ctx);
}

TEST(a_raw_entry_that_fails_in_preparation_does_not_stop_the_batch) {
    aio_ctx *ctx = make_ctx();
    struct call before = {0}, bad = {0}, after = {0};
    const struct io_uring_sqe sqe = {.opcode = IORING_OP_FSYNC, .fsync_flags = 77};
    ID(aio_submit_nop(ctx, NULL, on_call, &before));
    ID(aio_submit_raw(ctx, &sqe, NULL, on_call, &bad));
    ID(aio_submit_nop(ctx, NULL, on_call, &after));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(before.result, 0);
    CHECK_EQ(bad.result, -EINVAL);
    CHECK_EQ(after.result, 0);
    end_ctx(ctx);
}

TEST(raw_entries_do_not_bring_order_of_their_own) {
    aio_ctx *ctx = make_ctx();
    const uint8_t refused[] = {IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN,
                               IOSQE_CQE_SKIP_SUCCESS};
    for (int i = 0; i < COUNT_OF(refused); i++) {
        const struct io_uring_sqe sqe = {.opcode = IORING_OP_NOP, .flags = refused[i]};
        CHECK_EQ(aio_submit_raw(ctx, &sqe, NULL, on_call_never, NULL), -EINVAL);
    }
    struct call head = {0}, next = {0};
    const struct io_uring_sqe fails = {.opcode = IORING_OP_FSYNC, .fd = 9999};
    ID(aio_submit_raw(ctx, &fails, WITH(.flags = AIO_SUBMIT_LINK), on_call, &head));
    ID(aio_submit_nop(ctx, NULL, on_call, &next));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(head.result, -EBADF);
    CHECK_EQ(next.result, -ECANCELED); /* order asked for in the options holds */
    end_ctx(ctx);
}

TEST(a_raw_multishot_calls_back_with_more) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    struct call call = {0};
    struct io_uring_sqe sqe = {.opcode = IORING_OP_POLL_ADD, .fd = pair[0]};
    sqe.len = IORING_POLL_ADD_MULTI;
    sqe.poll32_events = POLLIN;
    const aio_op_id id = ID(aio_submit_raw(ctx, &sqe, NULL, on_call, &call));
    for (int i = 1; i <= 3; i++) {
        write_all_or_fail(pair[1], "x", 1);
        RUN_UNTIL(ctx, call.calls == i);
        CHECK_EQ(call.flags & AIO_CQE_MORE, AIO_CQE_MORE);
        CHECK_EQ(call.result & POLLIN, POLLIN);
        char byte;
        read_all_or_fail(pair[0], &byte, 1);
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.calls, 4);
    end_ctx(ctx);
}

TEST(a_raw_operation_has_a_deadline_like_any_other) {
    aio_ctx *ctx = make_ctx();
    int pair[2];
    make_socket_pair(pair);
    char byte = 0;
    struct call call = {0};
    struct io_uring_sqe sqe = {.opcode = IORING_OP_RECV, .fd = pair[0], .len = 1};
    sqe.addr = (uint64_t)(uintptr_t)&byte;
    ID(aio_submit_raw(ctx, &sqe, WITH(.timeout_ns = 2 * MS), on_call, &call));
    CHECK_EQ(await_call(ctx, &call), -ETIMEDOUT);
    CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
    end_ctx(ctx);
}

/* --- group ----------------------------------------------------------------------------------- */

TEST(cancel_group_ends_its_members_and_no_others) {
    aio_ctx *ctx = make_ctx();
    struct call first[3], second[2], none = {0};
    memset(first, 0, sizeof first);
    memset(second, 0, sizeof second);
    const uint64_t hour = 3600 * 1000 * MS;
    for (int i = 0; i < 3; i++)
        ID(aio_submit_timer(ctx, hour, WITH(.group = 7), on_call, &first[i]));
    for (int i = 0; i < 2; i++)
        ID(aio_submit_timer(ctx, hour, WITH(.group = UINT64_MAX), on_call, &second[i]));
    ID(aio_submit_timer(ctx, hour, NULL, on_call, &none));
    CHECK_EQ(aio_ctx_cancel_group(ctx, 7), 3);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 8), 0);
    RUN_UNTIL(ctx, first[0].finals && first[1].finals && first[2].finals);
    run_for_ms(ctx, 5);
    CHECK_EQ(aio_ctx_in_flight(ctx), 3);
    CHECK_EQ(aio_ctx_cancel_group(ctx, 7), 0);
    CHECK_EQ(aio_ctx_cancel_group(ctx, UINT64_MAX), 2);
    RUN_UNTIL(ctx, second[0].finals && second[1].finals);
    CHECK_EQ(none.calls, 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(first[i].result, -ECANCELED);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(second[i].result, -ECANCELED);
    end_ctx(ctx);
}

HARNESS_MAIN
