/* Section buffers: what a pool is made with, and what its receives bring. Waiting for buffers is in
 * test_pauses.c, keeping them in test_leases.c, messages and other files in test_messages.c. */
#include "pools.h"

#define MODES (AIO_BUFFER_POOL_INCREMENTAL | AIO_BUFFER_POOL_BUNDLES)

/* --- making pools ---------------------------------------------------------------------------- */

TEST(a_pool_without_options_has_256_buffers_of_a_page) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool(ctx, NULL);
    const aio_pool_info info = info_of(pool);
    CHECK_EQ(info.count, 256);
    CHECK_EQ(info.count_max, 1024);
    CHECK_EQ(info.buffer_size, 4096);
    CHECK_EQ(info.flags, 0);
    CHECK_EQ(info.free, 256);
    CHECK_EQ(info.leased + info.operations + info.paused + info.queued, 0);
    CHECK_EQ(info.pauses + info.low_waters, 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

static int32_t create(aio_ctx *ctx, const aio_buffer_pool_options *options) {
    aio_buffer_pool *pool = NULL;
    const int32_t status = aio_buffer_pool_create(ctx, options, &pool);
    if (status == 0)
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    else
        CHECK(pool == NULL);
    return status;
}

static void *create_elsewhere(void *ctx) {
    CHECK_EQ(create(ctx, NULL), AIO_EWRONGTHREAD);
    return NULL;
}

TEST(bad_options_make_no_pool) {
    aio_ctx *ctx = make_ctx();
    struct {
        aio_buffer_pool_options options;
        uint64_t later;
    } larger = {.options = {.size = sizeof larger}, .later = 1};
    CHECK_EQ(create(ctx, NULL), 0);
    CHECK_EQ(aio_buffer_pool_create(ctx, NULL, NULL), -EINVAL);
    CHECK_EQ(create(NULL, NULL), -EINVAL);
    CHECK_EQ(create(ctx, &(aio_buffer_pool_options){.size = 0}), -EINVAL);
    CHECK_EQ(create(ctx, &(aio_buffer_pool_options){.size = sizeof larger.options - 1}), -EINVAL);
    CHECK_EQ(create(ctx, &larger.options), -E2BIG);
    larger.later = 0;
    CHECK_EQ(create(ctx, &larger.options), 0);
    CHECK_EQ(create(ctx, POOL_WITH(.flags = 16)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.reserved = {0, 0, 0, 1})), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count = 5, .count_max = 4)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count = 32769)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count_max = 32769)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count_max = 0x80000001)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count = UINT32_MAX)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.buffer_size = 0x80000000)), -EINVAL);
    CHECK_EQ(create(ctx, POOL_WITH(.count = 32768, .buffer_size = 0x7fffffff)), -ENOMEM);
    CHECK_EQ(create(ctx, POOL_WITH(.count = 32768, .buffer_size = 1)), 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, create_elsewhere, ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_ctx(ctx);
}

TEST(a_pool_grows_up_to_its_limit) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool(ctx, POOL_WITH(.count = 2, .count_max = 7));
    CHECK_EQ(aio_buffer_pool_grow(pool, 0), -EINVAL);
    CHECK_EQ(aio_buffer_pool_grow(pool, 6), -ENOSPC);
    CHECK_EQ(aio_buffer_pool_grow(pool, UINT32_MAX), -ENOSPC);
    CHECK_EQ(info_of(pool).free, 2);
    CHECK_EQ(aio_buffer_pool_grow(pool, 4), 0);
    CHECK_EQ(aio_buffer_pool_grow(pool, 1), 0);
    CHECK_EQ(aio_buffer_pool_grow(pool, 1), -ENOSPC);
    CHECK_EQ(info_of(pool).free, 7);
    CHECK_EQ(info_of(pool).count, 7);
    CHECK_EQ(aio_buffer_pool_grow(NULL, 1), -EINVAL);
    CHECK_EQ(aio_buffer_pool_info(NULL, &(aio_pool_info){.size = sizeof(aio_pool_info)}), -EINVAL);
    CHECK_EQ(aio_buffer_pool_info(pool, NULL), -EINVAL);
    CHECK_EQ(aio_buffer_pool_info(pool, &(aio_pool_info){.size = 3}), -EINVAL);
    CHECK_EQ(aio_buffer_pool_destroy(NULL), -EINVAL);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_pool_in_use_is_not_destroyed) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool_of(ctx, 4, 16);
    struct flow flow = make_flow(ctx, pool);
    const aio_op_id id = flow_receive(&flow);
    CHECK_EQ(info_of(pool).operations, 1);
    CHECK_EQ(aio_buffer_pool_destroy(pool), -EBUSY);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), -EBUSY);
    check_ends(ctx, &flow, -ECANCELED);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    close_flow(&flow);
    end_ctx(ctx);
}

static void destroy_pool_inside(struct flow *flow) {
    aio_buffer_lease lease = {.size = sizeof lease};
    CHECK_EQ(aio_buffer_pool_destroy(flow->pool), -EBUSY);
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, &lease), 0);
    CHECK_EQ(aio_buffer_pool_destroy(flow->pool), 0);
    CHECK_MEM(lease.data, "bye", 3);
    CHECK_EQ(aio_buffer_pool_destroy(flow->pool), -EINVAL);
    CHECK_EQ(aio_buffer_pool_grow(flow->pool, 1), -EINVAL);
    CHECK_EQ(aio_submit_recv_pooled(flow->ctx, flow->fd, flow->pool, 0, NULL, on_flow, flow),
             -EINVAL);
    CHECK_EQ(aio_buffer_pool_release(flow->pool, lease.id), 0);
}

TEST(a_callback_destroys_the_pool_that_it_was_brought_a_buffer_of) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 16));
    flow.then = destroy_pool_inside;
    ID(aio_submit_recv_pooled(ctx, flow.fd, flow.pool, 0, NULL, on_flow_untaken, &flow));
    flow_send(&flow, "bye");
    check_ends(ctx, &flow, 3);
    close_flow(&flow);
    end_ctx(ctx);
}

TEST(pools_of_a_context_do_not_mix) {
    aio_ctx *ctx = make_ctx();
    struct flow flows[3];
    for (int i = 0; i < 3; i++)
        flows[i] = make_flow(ctx, make_pool_of(ctx, 4, 8u << i));
    for (int round = 0; round < 3; round++) { /* the middle one is made anew, in its place */
        for (int i = 0; i < 3; i++) {
            flows[i].calls = flows[i].finals = 0;
            flows[i].len = 0;
            const aio_op_id id = flow_receive(&flows[i]);
            flow_send(&flows[i], "0123456789abcdef");
            RUN_UNTIL(ctx, flows[i].len == 16);
            CHECK_EQ(flows[i].calls, 2 - (i > 0));
            check_flow(&flows[i], "0123456789abcdef");
            CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
            check_ends(ctx, &flows[i], -ECANCELED);
            CHECK_EQ(info_of(flows[i].pool).free, 4);
        }
        CHECK_EQ(aio_buffer_pool_destroy(flows[1].pool), 0);
        flows[1].pool = make_pool_of(ctx, 4, 16);
    }
    for (int i = 0; i < 3; i++)
        close_flow(&flows[i]);
    end_ctx(ctx);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(aio_buffer_pool_destroy(flows[i].pool), 0);
}

TEST(a_pool_belongs_to_its_context) {
    aio_ctx *one = make_ctx(), *other = make_ctx();
    struct flow flow = make_flow(one, make_pool_of(other, 4, 16));
    const struct msghdr room = {0};
    CHECK_EQ(aio_submit_recv_multishot(one, flow.fd, flow.pool, 0, NULL, on_flow, &flow), -EINVAL);
    CHECK_EQ(aio_submit_recv_pooled(one, flow.fd, flow.pool, 0, NULL, on_flow, &flow), -EINVAL);
    CHECK_EQ(aio_submit_recvmsg_multishot(one, flow.fd, flow.pool, &room, 0, NULL, on_flow, &flow),
             -EINVAL);
    CHECK_EQ(aio_submit_read_multishot(one, flow.fd, flow.pool, NULL, on_flow, &flow), -EINVAL);
    end_ctx(other);
    aio_pool_info info = {.size = sizeof info};
    CHECK_EQ(aio_buffer_pool_info(flow.pool, &info), AIO_ECLOSED);
    CHECK_EQ(aio_buffer_pool_grow(flow.pool, 1), AIO_ECLOSED);
    CHECK_EQ(aio_submit_recv_pooled(one, flow.fd, flow.pool, 0, NULL, on_flow, &flow), -EINVAL);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    close_flow(&flow);
    end_ctx(one);
}

/* --- receiving ------------------------------------------------------------------------------- */

static void share_four_buffers(aio_ctx *ctx, uint32_t flags) {
    enum { CONNECTIONS = 50 };
    static struct flow flows[CONNECTIONS];
    char data[CONNECTIONS][100];
    aio_buffer_pool *pool =
        make_pool(ctx, POOL_WITH(.count = 4, .buffer_size = 16, .flags = flags));
    for (int i = 0; i < CONNECTIONS; i++) {
        int fds[2];
        make_tcp_pair(fds);
        flows[i] = (struct flow){.ctx = ctx, .pool = pool, .fd = fds[0], .other = fds[1]};
        pattern_fill(data[i], 100, (uint64_t)i);
        flow_receive(&flows[i]);
    }
    for (int i = 0; i < CONNECTIONS; i++)
        write_all_or_fail(flows[i].other, data[i], 100);
    for (int i = 0; i < CONNECTIONS; i++) {
        RUN_UNTIL(ctx, flows[i].len == 100);
        CHECK_MEM(flows[i].data, data[i], 100);
        CHECK_GE(flows[i].buffers, 7);
    }
    const aio_pool_info info = info_of(pool);
    CHECK_GT(info.pauses, 0);
    CHECK_EQ(info.free, 4);
    CHECK_EQ(info.leased, 0);
    CHECK_EQ(info.operations, CONNECTIONS);
    for (int i = 0; i < CONNECTIONS; i++) {
        CHECK_EQ(flows[i].finals, 0); /* none was dropped */
        SYS(close(flows[i].other));
        flows[i].other = -1;
        check_ends(ctx, &flows[i], 0);
        close_flow(&flows[i]);
    }
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(fifty_connections_share_four_buffers_of_16_bytes) {
    aio_ctx *ctx = make_ctx();
    for (uint32_t flags = 0; flags <= MODES; flags++)
        share_four_buffers(ctx, flags);
    end_ctx(ctx);
}

/* Linux 6.1 took buffers of the second pool that it had not been offered. */
TEST(a_pool_after_another_gives_no_more_than_it_has) {
    aio_ctx *ctx = make_ctx();
    for (int round = 0; round < 3; round++) {
        struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 16));
        flow_receive(&flow);
        for (int i = 0; i < 3; i++) { /* the ring of buffers goes round */
            flow_send(&flow, "gone");
            RUN_UNTIL(ctx, flow.buffers == i + 1);
        }
        flow.keeps = true;
        for (int i = 3; i < 7; i++) {
            flow_send(&flow, "kept");
            RUN_UNTIL(ctx, flow.buffers == i + 1);
        }
        flow_send(&flow, "late");
        run_for_ms(ctx, 20);
        CHECK_EQ(flow.buffers, 7);
        CHECK_EQ(info_of(flow.pool).paused, 1);
        for (int i = 0; i < flow.kept_count; i++)
            CHECK_MEM(flow.kept[i].data, "kept", 4);
        flow.keeps = false;
        flow_release(&flow);
        RUN_UNTIL(ctx, flow.buffers == 8);
        CHECK_MEM(flow.data + 28, "late", 4);
        shutdown(flow.other, SHUT_WR);
        check_ends(ctx, &flow, 0);
        close_flow(&flow);
        CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    }
    end_ctx(ctx);
}

/* A second in which nothing happens costs less than a hundredth of it. */
static void check_idle(aio_ctx *ctx) {
    run_for_ms(ctx, 20); /* everything is armed */
    const uint64_t before = cpu_us(), calls = stats_of(ctx).system_calls;
    CHECK_EQ(aio_ctx_run_once(ctx, 1000 * (int64_t)MS), 0);
    if (test_slow() == 1)
        CHECK_LT(cpu_us() - before, 10000);
    CHECK_LT(stats_of(ctx).system_calls - calls, 300);
}

TEST(twenty_idle_sockets_stay_armed_on_eight_buffers) {
    aio_ctx *ctx = make_ctx();
    struct flow flows[20];
    aio_buffer_pool *pool = make_pool_of(ctx, 8, 16);
    for (int i = 0; i < 20; i++) {
        flows[i] = make_flow(ctx, pool);
        flow_receive(&flows[i]);
    }
    check_idle(ctx);
    CHECK_EQ(info_of(pool).operations, 20);
    CHECK_EQ(info_of(pool).paused, 0);
    CHECK_EQ(info_of(pool).pauses, 0);
    CHECK_EQ(info_of(pool).free, 8);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(flows[i].calls, 0);
        flow_send(&flows[i], "here");
    }
    for (int i = 0; i < 20; i++) {
        RUN_UNTIL(ctx, flows[i].len == 4);
        check_flow(&flows[i], "here");
        CHECK_EQ(flows[i].finals, 0);
        close_flow(&flows[i]);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(twenty_sockets_wait_for_buffers_without_using_the_processor) {
    aio_ctx *ctx = make_ctx();
    struct flow flows[20];
    aio_buffer_pool *pool = make_pool_of(ctx, 1, 16);
    for (int i = 0; i < 20; i++) {
        flows[i] = make_flow(ctx, pool);
        flows[i].keeps = true;
        flow_receive(&flows[i]);
        flow_send(&flows[i], "here");
    }
    check_idle(ctx);
    /* The one that got the buffer waits for data, or, on Linux 6.12, for a buffer as well. */
    CHECK_GE(info_of(pool).paused, 19);
    int served = 0;
    for (; served < 20; served++) {
        int found = 0;
        while (found < 20 && flows[found].kept_count == 0)
            found++;
        CHECK_LT(found, 20);
        check_flow(&flows[found], "here");
        flow_release(&flows[found]);
        flows[found].keeps = false;
        run_for_ms(ctx, 20);
    }
    for (int i = 0; i < 20; i++) {
        check_flow(&flows[i], "here");
        CHECK_EQ(flows[i].finals, 0);
        close_flow(&flows[i]);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(buffers_that_are_not_taken_go_back) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 2, 4));
    ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL, on_flow_untaken, &flow));
    flow_send(&flow, "0123456789abcdef0123456789abcdef");
    RUN_UNTIL(ctx, flow.len == 32);
    CHECK_EQ(info_of(flow.pool).free, 2);
    CHECK_EQ(info_of(flow.pool).leased, 0);
    aio_buffer_lease lease = {.size = sizeof lease};
    CHECK_EQ(aio_ctx_take_buffer(ctx, &lease), -ENOENT); /* outside of callbacks */
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

static void take_badly(struct flow *flow) {
    aio_buffer_lease lease = {.size = sizeof lease - 1};
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, &lease), -EINVAL);
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_take_buffer(NULL, &lease), -EINVAL);
    lease.size = sizeof lease;
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, &lease), 0);
    CHECK_EQ(lease.len, 4);
    CHECK_GT(lease.id, 0);
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, &lease), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(flow->pool, lease.id), 0);
}

TEST(a_buffer_is_taken_once) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 2, 16));
    flow.then = take_badly;
    ID(aio_submit_recv_pooled(ctx, flow.fd, flow.pool, 0, NULL, on_flow_untaken, &flow));
    flow_send(&flow, "once");
    check_ends(ctx, &flow, 4);
    CHECK_EQ(info_of(flow.pool).free, 2);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* Without a ring it was not looked for behind a receive that had found less than a buffer. */
TEST(the_end_of_a_stream_that_comes_with_its_last_bytes_is_told) {
    aio_ctx *ctx = make_ctx();
    int fds[2];
    make_tcp_pair(fds);
    struct flow flow = {
        .ctx = ctx, .pool = make_pool_of(ctx, 4, 64), .fd = fds[0], .other = fds[1]};
    flow_receive(&flow);
    run_for_ms(ctx, 20); /* nobody has doubts about the descriptor any more */
    flow_send(&flow, "last words");
    SYS(shutdown(flow.other, SHUT_WR));
    check_ends(ctx, &flow, 0);
    check_flow(&flow, "last words");
    close_flow(&flow);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    end_ctx(ctx);
}

TEST(a_peek_leaves_the_data) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 2, 16));
    ID(aio_submit_recv_pooled(ctx, flow.fd, flow.pool, MSG_PEEK, NULL, on_flow, &flow));
    flow_send(&flow, "look");
    check_ends(ctx, &flow, 4);
    char data[8];
    CHECK_EQ(SYS(read(flow.fd, data, sizeof data)), 4);
    CHECK_MEM(data, flow.data, 4);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* --- bundles, pieces, huge pages ------------------------------------------------------------- */

TEST(a_bundle_brings_several_buffers) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool =
        make_pool(ctx, POOL_WITH(.count = 8, .buffer_size = 16, .flags = AIO_BUFFER_POOL_BUNDLES));
    struct flow flow = make_flow(ctx, pool);
    const bool bundles = info_of(pool).flags & AIO_BUFFER_POOL_BUNDLES;
    flow_send(&flow, "0123456789abcdefghijklmnopqrstuvwxyz0123");
    flow_receive(&flow);
    RUN_UNTIL(ctx, flow.len == 40);
    check_flow(&flow, "0123456789abcdefghijklmnopqrstuvwxyz0123");
    CHECK_EQ(flow.buffers, 3);
    if (bundles)
        CHECK_LE(flow.calls, 3); /* how many at a time is the kernel's to say; on 6.12 it is one */
    else
        CHECK_EQ(flow.calls, 3);
    close_flow(&flow);
    needs_ring_of(ctx, 6, 10);
    CHECK_EQ(bundles, has_ring(ctx));
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(small_messages_share_an_incremental_buffer) {
    aio_ctx *ctx = make_ctx();
    needs_ring_of(ctx, 6, 12);
    aio_buffer_pool *pool = make_pool(
        ctx, POOL_WITH(.count = 2, .buffer_size = 16, .flags = AIO_BUFFER_POOL_INCREMENTAL));
    struct flow flow = make_flow(ctx, pool);
    const bool shares = info_of(pool).flags & AIO_BUFFER_POOL_INCREMENTAL;
    CHECK_EQ(shares, has_ring(ctx));
    flow.keeps = true;
    flow_receive(&flow);
    for (size_t i = 1; i <= 4; i++) {
        flow_send(&flow, "12345");
        if (!shares && i == 3)
            flow_release(&flow);
        RUN_UNTIL(ctx, flow.len == 5 * i || (i == 4 && flow.len == 20));
    }
    check_flow(&flow, "12345123451234512345");
    if (shares) { /* 5, 5, 5, 1 and, of the other buffer, 4 */
        const char *first = flow.kept[0].data;
        CHECK_EQ(flow.kept_count, 5);
        for (int i = 0; i < 4; i++)
            CHECK(flow.kept[i].data == first + 5 * i);
        CHECK_EQ(flow.kept[3].len, 1);
        CHECK((char *)flow.kept[4].data < first || (char *)flow.kept[4].data >= first + 16);
        CHECK_EQ(info_of(pool).free, 1);
        for (int i = 0; i < 3; i++) /* three of four pieces: the buffer is not free yet */
            CHECK_EQ(aio_buffer_pool_release(pool, flow.kept[i].id), 0);
        CHECK_EQ(info_of(pool).free, 1);
        CHECK_EQ(aio_buffer_pool_release(pool, flow.kept[3].id), 0);
        CHECK_EQ(info_of(pool).free, 2);
        CHECK_MEM(flow.kept[4].data, "2345", 4);
        flow.kept[0] = flow.kept[4];
        flow.kept_count = 1;
    }
    flow_release(&flow);
    CHECK_EQ(info_of(pool).free, 2);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

/* KiB in huge pages of the mapping that an address is in. */
static long huge_kib(const void *at) {
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false;
    long kib = -1;
    CHECK(maps != NULL);
    while (kib < 0 && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (uintptr_t)at >= from && (uintptr_t)at < to;
        else if (inside)
            (void)sscanf(line, "AnonHugePages: %ld kB", &kib);
    }
    fclose(maps);
    return kib;
}

TEST(a_huge_pool_lies_in_huge_pages) {
    char setting[64] = {0};
    const int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, setting, sizeof setting - 1) <= 0 || strstr(setting, "[never]"))
        SKIP("this kernel has no huge pages, or does not give any");
    beyond_valgrind("maps as it likes");
    close(fd);
    aio_ctx *ctx = make_ctx();
    for (int huge = 0; huge <= 1; huge++) {
        aio_buffer_pool *pool = make_pool(ctx, POOL_WITH(.count = 1024, .buffer_size = 4096,
                                                         .flags = huge ? AIO_BUFFER_POOL_HUGE : 0));
        CHECK_EQ(info_of(pool).flags, huge ? AIO_BUFFER_POOL_HUGE : 0);
        struct flow flow = make_flow(ctx, pool);
        flow.keeps = true;
        const aio_op_id id = flow_receive(&flow);
        flow_send(&flow, "touched");
        RUN_UNTIL(ctx, flow.len == 7);
        if (huge)
            CHECK_GE(huge_kib(flow.kept[0].data), 2048);
        flow_release(&flow);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        check_ends(ctx, &flow, -ECANCELED);
        close_flow(&flow);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    }
    aio_buffer_pool *small = make_pool(ctx, POOL_WITH(.count = 1, .flags = AIO_BUFFER_POOL_HUGE));
    CHECK_EQ(info_of(small).flags, 0);
    CHECK_EQ(aio_buffer_pool_destroy(small), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
