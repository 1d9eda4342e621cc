/* Section registered: what the table of registered buffers does beyond its rows: when a buffer is
 * released, what becomes of operations when it changes, and clones. */
#include "harness.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { LEN = 4096, MANY = 16384, READV_FIXED = 60 /* newer than the headers */ };

/* Releases, in their order; the tag is where they are counted. */
struct releases {
    int count;
    uint64_t tags[8];
    int32_t result;
    uint32_t flags;
    aio_op_id op;
    struct order *order;
};

static struct releases releases;
static unsigned char memory[4][LEN];

static void on_release(void *tag, int32_t result, uint32_t flags) {
    CHECK_LT(releases.count, COUNT_OF(releases.tags));
    releases.tags[releases.count++] = (uintptr_t)tag;
    releases.result = result;
    releases.flags = flags;
    releases.op = aio_ctx_current_op(aio_ctx_current());
    if (releases.order)
        order_note(releases.order, (int)(uintptr_t)tag);
}

static int32_t register_some(aio_ctx *ctx, int count, const uint64_t *tags) {
    struct iovec iov[COUNT_OF(memory)];
    for (int i = 0; i < count; i++)
        iov[i] = (struct iovec){memory[i], LEN};
    const aio_buffers_options options = {.size = sizeof options,
                                         .count = (uint32_t)count,
                                         .iov = iov,
                                         .tags = tags,
                                         .on_release = tags ? on_release : NULL};
    return aio_buffers_register(ctx, &options);
}

/* A read that waits, of a pipe into buffer 0; its other end. */
static int read_waiting(aio_ctx *ctx, struct call *call, const aio_submit_options *options) {
    int fds[2];
    make_pipe(fds);
    call->id = ID(aio_submit_read_fixed(ctx, fds[0], memory[0], LEN, AIO_OFFSET_CURRENT, 0, options,
                                        on_call, call));
    check_blocked(ctx, call);
    return fds[1];
}

TEST(data_goes_through_registered_buffers_of_files_pipes_and_sockets) {
    aio_ctx *ctx = make_ctx();
    int pipe_fds[2], pair[2];
    struct call calls[6] = {{0}};
    CHECK_EQ(register_some(ctx, 2, NULL), 0);
    make_pipe(pipe_fds);
    make_socket_pair(pair);
    const int file = temp_file("data", NULL, 0);
    pattern_fill(memory[0], LEN, 7);
    const int ends[3][2] = {{file, file}, {pipe_fds[1], pipe_fds[0]}, {pair[0], pair[1]}};
    for (int i = 0; i < 3; i++) {
        const uint64_t offset = i ? AIO_OFFSET_CURRENT : 0;
        memset(memory[1], 0, LEN);
        CHECK_EQ(DO(ctx, calls[2 * i],
                    aio_submit_write_fixed(ctx, ends[i][0], memory[0] + 96, 1000, offset, 0, NULL,
                                           on_call, &calls[2 * i])),
                 1000);
        CHECK_EQ(DO(ctx, calls[2 * i + 1],
                    aio_submit_read_fixed(ctx, ends[i][1], memory[1] + 10, 2000, offset, 1, NULL,
                                          on_call, &calls[2 * i + 1])),
                 1000);
        CHECK_MEM(memory[1] + 10, memory[0] + 96, 1000);
        CHECK_EQ(memory[1][9] | memory[1][1010], 0);
    }
    end_ctx(ctx);
}

TEST(a_chain_goes_through_registered_buffers) {
    aio_ctx *ctx = make_ctx();
    const int from = temp_file("from", "twelve bytes", 12), to = temp_file("to", NULL, 0);
    struct call calls[3] = {{0}};
    char back[16] = {0};
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    ID(aio_submit_read_fixed(ctx, from, memory[0], 12, 0, 0, WITH(.flags = AIO_SUBMIT_LINK),
                             on_call, &calls[0]));
    ID(aio_submit_write_fixed(ctx, to, memory[0], 12, 0, 0, WITH(.flags = AIO_SUBMIT_LINK), on_call,
                              &calls[1]));
    ID(aio_submit_read_fixed(ctx, from, memory[0] + LEN - 1, 1, 5, 0, NULL, on_call, &calls[2]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(calls[0].result, 12);
    CHECK_EQ(calls[1].result, 12);
    CHECK_EQ(calls[2].result, 1);
    CHECK_EQ(pread(to, back, sizeof back, 0), 12);
    CHECK_STR(back, "twelve bytes");
    end_ctx(ctx);
}

/* Linux 6.12 looks at it when the chain is submitted, which then fails whole. */
TEST(a_member_outside_of_its_buffer_breaks_its_chain) {
    aio_ctx *ctx = make_ctx();
    const int from = temp_file("from", "twelve bytes", 12);
    struct call calls[3] = {{0}};
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    for (int i = 0; i < 3; i++)
        ID(aio_submit_read_fixed(ctx, from, memory[0] + (i == 1 ? LEN : 0), 5, 0, 0,
                                 i < 2 ? WITH(.flags = AIO_SUBMIT_LINK) : NULL, on_call,
                                 &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const bool whole = is_ring_before(ctx, 6, 13) && calls[0].result < 0;
    CHECK_EQ(calls[0].result, whole ? -ECANCELED : 5);
    CHECK_EQ(calls[0].flags, whole ? AIO_CQE_ABORTED : 0);
    CHECK_EQ(calls[1].result, -EFAULT);
    CHECK_EQ(calls[2].result, -ECANCELED);
    CHECK_EQ(calls[2].flags, AIO_CQE_ABORTED);
    end_ctx(ctx);
}

TEST(a_raw_entry_names_a_registered_buffer) {
    aio_ctx *ctx = make_ctx();
    const int file = temp_file("raw", "hello", 5);
    struct call calls[2] = {{0}};
    CHECK_EQ(register_some(ctx, 2, NULL), 0);
    struct io_uring_sqe entry = {.opcode = IORING_OP_READ_FIXED,
                                 .fd = file,
                                 .addr = (uintptr_t)memory[1],
                                 .len = 5,
                                 .buf_index = 1};
    CHECK_EQ(DO(ctx, calls[0], aio_submit_raw(ctx, &entry, NULL, on_call, &calls[0])), 5);
    CHECK_MEM(memory[1], "hello", 5);
    entry.addr = (uintptr_t)memory[2];
    CHECK_EQ(DO(ctx, calls[1], aio_submit_raw(ctx, &entry, NULL, on_call, &calls[1])), -EFAULT);
    end_ctx(ctx);
}

TEST(vectors_of_a_raw_entry_that_are_not_there_are_a_fault) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 15);
    const int file = temp_file("raw", "hello", 5);
    struct call calls[2] = {{0}};
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    const struct iovec iov[2] = {{memory[0], 2}, {memory[0] + 8, 3}};
    struct io_uring_sqe entry = {.opcode = READV_FIXED, .fd = file, .len = 2};
    entry.addr = (uintptr_t)iov;
    CHECK_EQ(DO(ctx, calls[0], aio_submit_raw(ctx, &entry, NULL, on_call, &calls[0])), 5);
    CHECK_MEM(memory[0] + 8, "llo", 3);
    entry.addr = 8;
    CHECK_EQ(DO(ctx, calls[1], aio_submit_raw(ctx, &entry, NULL, on_call, &calls[1])), -EFAULT);
    end_ctx(ctx);
}

/* --- releases -------------------------------------------------------------------------------- */

TEST(an_idle_buffer_is_released_when_it_is_replaced) {
    aio_ctx *ctx = make_ctx();
    const uint64_t tags[2] = {11, 0}, next = 12;
    CHECK_EQ(register_some(ctx, 2, tags), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 0);
    const struct iovec iov = {memory[2], LEN};
    CHECK_EQ(aio_buffers_update(ctx, 0, &iov, &next, 1), 1);
    CHECK_EQ(releases.count, 0); /* never inside a call */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(releases.tags[0], 11);
    CHECK_EQ(releases.result, 0);
    CHECK_EQ(releases.flags, 0);
    CHECK_EQ(releases.op, -ENOENT);
    CHECK_EQ(aio_buffers_update(ctx, 1, &iov, NULL, 1), 1); /* without a tag: nobody is told */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 2);
    CHECK_EQ(releases.tags[1], 12);
    end_ctx(ctx);
    CHECK_EQ(releases.count, 2);
}

TEST(a_replaced_buffer_is_released_when_its_operation_has_ended) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    struct call call = {.order = &order, .tag = 1}, other = {0};
    const uint64_t tags[1] = {2};
    const int file = temp_file("other", "other", 5);
    releases.order = &order;
    CHECK_EQ(register_some(ctx, 1, tags), 0);
    const int end = read_waiting(ctx, &call, NULL);
    const struct iovec iov = {memory[1], LEN};
    CHECK_EQ(aio_buffers_update(ctx, 0, &iov, NULL, 1), 1);
    run_for_ms(ctx, 20);
    CHECK_EQ(releases.count, 0);
    /* What comes now uses the new one. */
    CHECK_EQ(DO(ctx, other,
                aio_submit_read_fixed(ctx, file, memory[1], LEN, 0, 0, NULL, on_call, &other)),
             5);
    CHECK_EQ(releases.count, 0);
    write_all_or_fail(end, "hello", 5);
    CHECK_EQ(aio_ctx_run(ctx), 0); /* waits for what is promised */
    CHECK_EQ(call.result, 5);
    CHECK_MEM(memory[0], "hello", 5);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(order.tags[0], 1);
    CHECK_EQ(order.tags[1], 2);
    end_ctx(ctx);
}

TEST(a_table_that_is_given_up_is_released_when_its_operations_have_ended) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, again = {0};
    const uint64_t tags[2] = {21, 22};
    CHECK_EQ(register_some(ctx, 2, tags), 0);
    const int end = read_waiting(ctx, &call, NULL);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    run_for_ms(ctx, 20);
    CHECK_EQ(call.calls, 0);
    CHECK_LE(releases.count, 1); /* the idle one, where the kernel tells them apart */
    CHECK_EQ(aio_buffers_unregister(ctx), -ENXIO);
    write_all_or_fail(end, "hello", 5);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(call.result, 5);
    CHECK_MEM(memory[0], "hello", 5);
    CHECK_EQ(releases.count, 2);
    CHECK_EQ(releases.tags[0] + releases.tags[1], 43);
    /* And there can be another. */
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    const int file = temp_file("again", "again", 5);
    CHECK_EQ(DO(ctx, again,
                aio_submit_read_fixed(ctx, file, memory[0], LEN, 0, 0, NULL, on_call, &again)),
             5);
    end_ctx(ctx);
}

TEST(a_new_table_waits_for_the_operations_of_the_old_one_before_linux_6_13_alone) {
    aio_ctx *ctx = make_ctx();
    const bool waits = is_ring_before(ctx, 6, 13);
    struct call call = {0};
    const uint64_t old[1] = {1}, new[1] = {2};
    CHECK_EQ(register_some(ctx, 1, old), 0);
    const int end = read_waiting(ctx, &call, NULL);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(register_some(ctx, 1, new), waits ? -EBUSY : 0);
    CHECK_EQ(releases.count, 0);
    write_all_or_fail(end, "hello", 5);
    CHECK_EQ(await_call(ctx, &call), 5);
    RUN_UNTIL(ctx, releases.count == 1);
    CHECK_EQ(releases.tags[0], 1);
    if (waits)
        CHECK_EQ(register_some(ctx, 1, new), 0);
    end_ctx(ctx);
    CHECK_EQ(releases.count, 2);
    CHECK_EQ(releases.tags[1], 2);
}

TEST(what_was_submitted_before_an_update_uses_the_buffer_as_it_was) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const int file = temp_file("before", "before", 6);
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    ID(aio_submit_read_fixed(ctx, file, memory[0], LEN, 0, 0, NULL, on_call, &call));
    const struct iovec iov = {memory[1], LEN};
    CHECK_EQ(aio_buffers_update(ctx, 0, &iov, NULL, 1), 1);
    CHECK_EQ(await_call(ctx, &call), 6);
    CHECK_MEM(memory[0], "before", 6);
    end_ctx(ctx);
}

TEST(destroy_delivers_every_release) {
    aio_ctx *ctx = make_ctx();
    struct order order = {0};
    struct call call = {.order = &order, .tag = 1};
    const uint64_t tags[3] = {7, 8, 9};
    CHECK_EQ(register_some(ctx, 3, tags), 0);
    read_waiting(ctx, &call, NULL);
    const struct iovec iov = {memory[3], LEN};
    const uint64_t next = 10;
    CHECK_EQ(aio_buffers_update(ctx, 0, &iov, &next, 1), 1); /* in use: promised */
    releases.order = &order;
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    CHECK_EQ(releases.count, 4);
    CHECK_EQ(releases.tags[0] + releases.tags[1] + releases.tags[2] + releases.tags[3], 34);
    CHECK_EQ(releases.result, 0);
    int read_at = -1, released_at = -1;
    for (int i = 0; i < order.count; i++) {
        if (order.tags[i] == 1)
            read_at = i;
        if (order.tags[i] == 7)
            released_at = i;
    }
    CHECK_LT(read_at, released_at); /* not before the operation that used it */
}

static void *leave_a_table(void *arg) {
    const uint64_t tags[1] = {5};
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(register_some(ctx, 1, tags), 0);
    *(aio_ctx **)arg = ctx;
    return NULL;
}

TEST(the_release_of_an_orphan_says_that_it_is_none) {
    aio_ctx *ctx = NULL;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, leave_a_table, &ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(releases.tags[0], 5);
    CHECK_EQ(releases.result, -ECANCELED);
    CHECK_EQ(releases.flags, AIO_CQE_ABORTED);
}

TEST(releases_can_be_records) {
    aio_ctx *ctx = make_ctx();
    const uint64_t tags[2] = {UINT64_MAX, 3};
    const struct iovec iov[2] = {{memory[0], LEN}, {memory[1], LEN}};
    const aio_buffers_options options = {.size = sizeof options,
                                         .count = 2,
                                         .iov = iov,
                                         .tags = tags,
                                         .on_release = AIO_CALLBACK_REAP};
    aio_completion records[3];
    CHECK_EQ(aio_buffers_register(ctx, &options), 0);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    for (int count = 0; count < 2;) { /* Linux 6.1 takes a second */
        const int32_t more = aio_ctx_reap(ctx, records + count, sizeof records[0],
                                          (uint32_t)(3 - count), 20000 * (int64_t)MS);
        CHECK_GT(more, 0);
        count += more;
    }
    CHECK_EQ(records[0].user_data + records[1].user_data, tags[0] + tags[1]);
    for (int i = 0; i < 2; i++) {
        CHECK(records[i].user_data == tags[0] || records[i].user_data == tags[1]);
        CHECK_EQ(records[i].id, 0);
        CHECK_EQ(records[i].result, 0);
        CHECK_EQ(records[i].flags, 0);
    }
    end_ctx(ctx);
}

TEST(a_release_comes_after_cancel_wait_has_ended_its_operation) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0};
    const uint64_t tags[1] = {4};
    CHECK_EQ(register_some(ctx, 1, tags), 0);
    read_waiting(ctx, &call, NULL);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(aio_ctx_cancel_wait(ctx, call.id), 0);
    CHECK_EQ(releases.count, 0); /* nor inside that call */
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(call.calls, 0);
    end_ctx(ctx);
}

static aio_ctx *registers_again;

static void on_release_register(void *tag, int32_t result, uint32_t flags) {
    on_release(tag, result, flags);
    const uint64_t next = (uintptr_t)tag + 1;
    if (next < 5)
        CHECK_EQ(register_some(registers_again, 1, &next), 0);
}

TEST(a_release_may_register_the_next_table) {
    aio_ctx *ctx = registers_again = make_ctx();
    const struct iovec iov = {memory[0], LEN};
    const uint64_t tag = 4;
    const aio_buffers_options options = {.size = sizeof options,
                                         .count = 1,
                                         .iov = &iov,
                                         .tags = &tag,
                                         .on_release = on_release_register};
    CHECK_EQ(aio_buffers_register(ctx, &options), 0);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 1);
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    end_ctx(ctx);
}

static int many_count;
static unsigned char many_seen[MANY + 1];

static void on_many(void *tag, int32_t result, uint32_t flags) {
    CHECK_EQ(result, 0);
    CHECK_EQ(flags, 0);
    CHECK_EQ(many_seen[(uintptr_t)tag]++, 0);
    many_count++;
}

TEST(sixteen_thousand_releases_overflow_the_queue_and_all_come_once) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 8));
    struct iovec *iov = calloc(MANY, sizeof *iov);
    uint64_t *tags = calloc(MANY, sizeof *tags);
    CHECK(iov && tags);
    for (int i = 0; i < MANY; i++) {
        iov[i] = (struct iovec){memory[0], 1};
        tags[i] = (uint64_t)i + 1;
    }
    aio_buffers_options options = {
        .size = sizeof options, .count = MANY, .iov = iov, .tags = tags, .on_release = on_many};
    const int32_t status = aio_buffers_register(ctx, &options);
    if (status == -ENOMEM)
        SKIP("the limit of locked memory is too low here");
    CHECK_EQ(status, 0);
    CHECK_EQ(aio_buffers_update(ctx, 0, iov, NULL, MANY / 2), MANY / 2);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    free(iov);
    free(tags);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(many_count, MANY);
    end_ctx(ctx);
}

/* --- clones ---------------------------------------------------------------------------------- */

static void needs_clones(aio_ctx *ctx) { needs_ring_of(ctx, 6, 13); }

TEST(a_clone_has_the_buffers_of_its_source_and_a_life_of_its_own) {
    aio_ctx *source = make_ctx(), *ctx = make_ctx();
    needs_clones(ctx);
    struct call call = {0}, again = {0};
    const uint64_t tags[2] = {1, 2};
    const int file = temp_file("clone", "clone", 5);
    CHECK_EQ(register_some(source, 2, tags), 0);
    CHECK_EQ(aio_buffers_clone(ctx, source), 0);
    int fds[2];
    make_pipe(fds);
    ID(aio_submit_read_fixed(ctx, fds[0], memory[1], LEN, AIO_OFFSET_CURRENT, 1, NULL, on_call,
                             &call));
    check_blocked(ctx, &call);
    /* The source's tags are the source's own affair. */
    CHECK_EQ(aio_buffers_unregister(source), 0);
    CHECK_EQ(aio_ctx_run(source), 0);
    CHECK_EQ(releases.count, 2);
    end_ctx(source);
    write_all_or_fail(fds[1], "hello", 5);
    CHECK_EQ(await_call(ctx, &call), 5);
    CHECK_MEM(memory[1], "hello", 5);
    CHECK_EQ(
        DO(ctx, again, aio_submit_read_fixed(ctx, file, memory[0], 5, 0, 0, NULL, on_call, &again)),
        5);
    const uint64_t next = 3;
    const struct iovec iov = {memory[2], LEN};
    CHECK_EQ(aio_buffers_update(ctx, 0, &iov, &next, 1), 1);
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(releases.count, 3);
    CHECK_EQ(releases.tags[2], 3);
    end_ctx(ctx);
}

static void *clone_elsewhere(void *arg) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(aio_buffers_clone(ctx, arg), AIO_EWRONGTHREAD);
    end_ctx(ctx);
    return NULL;
}

TEST(clones_are_refused_where_they_make_no_sense) {
    aio_ctx *source = make_ctx(), *ctx = make_ctx();
    needs_clones(ctx);
    pthread_t thread;
    CHECK_EQ(aio_buffers_clone(ctx, source), -ENXIO);
    CHECK_EQ(aio_buffers_clone(ctx, NULL), -EINVAL);
    CHECK_EQ(aio_buffers_clone(NULL, source), -EINVAL);
    CHECK_EQ(register_some(source, 1, NULL), 0);
    CHECK_EQ(aio_buffers_clone(source, source), -EINVAL);
    CHECK_EQ(aio_buffers_clone(ctx, source), 0);
    CHECK_EQ(aio_buffers_clone(ctx, source), -EBUSY);
    CHECK_EQ(pthread_create(&thread, NULL, clone_elsewhere, source), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_ctx(ctx);
    end_ctx(source);
}

TEST(a_ring_and_its_stand_in_share_no_buffers) {
    aio_ctx *source = make_ctx(), *epoll = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL));
    CHECK_EQ(register_some(source, 1, NULL), 0);
    CHECK_EQ(aio_buffers_clone(epoll, source), has_ring(source) ? -EOPNOTSUPP : 0);
    end_ctx(epoll);
    end_ctx(source);
}

/* --- refusals -------------------------------------------------------------------------------- */

static int32_t register_one(aio_ctx *ctx, void *base, size_t len) {
    const struct iovec iov = {base, len};
    const aio_buffers_options options = {.size = sizeof options, .count = 1, .iov = &iov};
    return aio_buffers_register(ctx, &options);
}

TEST(memory_that_cannot_be_registered_is_refused) {
    aio_ctx *ctx = make_ctx();
    char *gone = mmap(NULL, 3 * LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED);
    SYS(munmap(gone + LEN, LEN));
    SYS(mprotect(gone + 2 * LEN, LEN, PROT_READ));
    CHECK_EQ(register_one(ctx, gone, LEN + 1), -EFAULT);
    CHECK_EQ(register_one(ctx, gone + LEN, 1), -EFAULT);
    CHECK_EQ(register_one(ctx, gone + 2 * LEN, 1), -EFAULT);
    CHECK_EQ(register_one(ctx, NULL, 1), -EFAULT);
    CHECK_EQ(register_one(ctx, gone, 0), -EFAULT);
    CHECK_EQ(register_one(ctx, gone, (1ul << 30) + 1), -EFAULT);
    CHECK_EQ(register_one(ctx, (void *)(UINTPTR_MAX - 10), 100), -EFAULT);
    CHECK_EQ(register_one(ctx, gone, LEN), 0);
    const struct iovec iov[3] = {{memory[0], 1}, {gone + LEN, 1}, {memory[1], 1}};
    CHECK_EQ(aio_buffers_unregister(ctx), 0);
    aio_buffers_options options = {.size = sizeof options, .count = 3}; /* nothing in it yet */
    int32_t status;
    while ((status = aio_buffers_register(ctx, &options)) == -EBUSY)
        run_for_ms(ctx, 5); /* before Linux 6.13 */
    CHECK_EQ(status, 0);
    CHECK_EQ(aio_buffers_update(ctx, 0, iov, NULL, 3), 1);
    CHECK_EQ(aio_buffers_update(ctx, 1, iov + 1, NULL, 1), -EFAULT);
    struct call calls[2] = {{0}};
    const int file = temp_file("partly", "12345", 5);
    for (uint32_t i = 0; i < 2; i++)
        CHECK_EQ(DO(ctx, calls[i],
                    aio_submit_read_fixed(ctx, file, memory[0], 1, 0, i, NULL, on_call, &calls[i])),
                 i ? -EFAULT : 1);
    end_ctx(ctx);
}

static void *use_elsewhere(void *arg) {
    const struct iovec iov = {memory[0], LEN};
    CHECK_EQ(register_some(arg, 1, NULL), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_buffers_update(arg, 0, &iov, NULL, 1), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_buffers_unregister(arg), AIO_EWRONGTHREAD);
    return NULL;
}

TEST(bad_arguments_are_refused) {
    aio_ctx *ctx = make_ctx();
    const struct iovec iov[2] = {{memory[0], LEN}, {NULL, 0}};
    const uint64_t tags[2] = {1, 1};
    pthread_t thread;
    aio_buffers_options options = {.size = sizeof options, .count = 1, .iov = iov};
    CHECK_EQ(aio_buffers_update(ctx, 0, iov, NULL, 1), -ENXIO);
    CHECK_EQ(aio_buffers_unregister(ctx), -ENXIO);
    CHECK_EQ(aio_buffers_register(NULL, &options), -EINVAL);
    CHECK_EQ(aio_buffers_register(ctx, NULL), -EINVAL);
    options.size--;
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.size++;
    options.count = 0;
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.count = MANY + 1;
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.count = 2;
    options.reserved[3] = 1;
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.reserved[3] = 0;
    options.tags = tags; /* nobody to tell */
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.on_release = on_release; /* of nothing */
    CHECK_EQ(aio_buffers_register(ctx, &options), -EINVAL);
    options.tags = NULL;
    CHECK_EQ(aio_buffers_register(ctx, &options), 0);
    CHECK_EQ(aio_buffers_register(ctx, &options), -EBUSY);
    CHECK_EQ(aio_buffers_update(ctx, 0, iov, NULL, 0), -EINVAL);
    CHECK_EQ(aio_buffers_update(ctx, 1, iov, NULL, 2), -EINVAL);
    CHECK_EQ(aio_buffers_update(ctx, UINT32_MAX, iov, NULL, 1), -EINVAL);
    CHECK_EQ(aio_buffers_update(ctx, 0, iov, tags, 2), -EINVAL);
    CHECK_EQ(pthread_create(&thread, NULL, use_elsewhere, ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_buffers_update(ctx, 0, NULL, NULL, 2), 2); /* empties */
    struct call call = {0};
    const int file = temp_file("empty", "12345", 5);
    CHECK_EQ(
        DO(ctx, call, aio_submit_read_fixed(ctx, file, memory[0], 1, 0, 0, NULL, on_call, &call)),
        -EFAULT);
    end_ctx(ctx);
    CHECK_EQ(releases.count, 0);
}

TEST(only_zero_copy_sends_take_the_buffer_option) {
    aio_ctx *ctx = make_ctx();
    CHECK_EQ(register_some(ctx, 1, NULL), 0);
    CHECK_EQ(aio_submit_nop(ctx, WITH(.buf_index = 1), on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_read_fixed(ctx, 0, memory[0], 1, 0, 0, WITH(.buf_index = 1), on_call_never,
                                   NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_send(ctx, 0, memory[0], 1, 0, WITH(.buf_index = 1), on_call_never, NULL),
             -EINVAL);
    end_ctx(ctx);
}

TEST(more_than_may_be_locked_is_refused_to_the_unprivileged) {
    const rlim_t limit = 2 << 20;
    const size_t len = 4 << 20;
    void *block = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(block != MAP_FAILED);
    const char *folder = temp_dir();
    if (geteuid() == 0) {
        SYS(chown(folder, 54321, (gid_t)-1)); /* who is to remove it */
        /* Nobody else's: locked memory counts per user. */
        SYS(setresuid(54321, 54321, 54321));
    }
    SYS(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){limit, limit}));
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.sq_entries = 8));
    const int32_t status = register_one(ctx, block, len);
    CHECK_EQ(status, has_ring(ctx) ? -ENOMEM : 0);
    if (status == 0)
        CHECK_EQ(aio_buffers_unregister(ctx), 0);
    CHECK_EQ(register_one(ctx, block, 65536), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
