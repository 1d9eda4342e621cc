/* Section buffers: what happens while a pool is empty, to operations that wait for a buffer and to
 * those that bring the buffers back; and the ends of operations with data on the way. */
#include "pools.h"

#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/un.h>

/* A pool of one buffer, of which `holder` has it, and `waiter` waits for it with data there. */
struct dry {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    struct flow holder, waiter;
    aio_op_id id;
};

static void on_dry(struct dry *dry, const aio_submit_options *options) {
    dry->ctx = make_ctx();
    dry->pool = make_pool(dry->ctx, POOL_WITH(.count = 1, .count_max = 8, .buffer_size = 16));
    dry->holder = make_flow(dry->ctx, dry->pool);
    dry->holder.keeps = true;
    ID(aio_submit_recv_pooled(dry->ctx, dry->holder.fd, dry->pool, 0, NULL, on_flow, &dry->holder));
    flow_send(&dry->holder, "held");
    check_ends(dry->ctx, &dry->holder, 4);
    dry->waiter = make_flow(dry->ctx, dry->pool);
    flow_send(&dry->waiter, "waits");
    dry->id = ID(aio_submit_recv_multishot(dry->ctx, dry->waiter.fd, dry->pool, 0, options, on_flow,
                                           &dry->waiter));
    run_for_ms(dry->ctx, 5);
    CHECK_EQ(dry->waiter.calls, 0);
    CHECK_EQ(info_of(dry->pool).paused, 1);
    CHECK_EQ(info_of(dry->pool).pauses, 1);
}

/* The pool still works, and nothing of it is lost. */
static void end_dry(struct dry *dry) {
    flow_release(&dry->holder);
    CHECK_EQ(info_of(dry->pool).free, info_of(dry->pool).count);
    struct flow flow = make_flow(dry->ctx, dry->pool);
    const aio_op_id id = flow_receive(&flow);
    flow_send(&flow, "and on");
    RUN_UNTIL(dry->ctx, flow.len == 6);
    CHECK_EQ(aio_ctx_cancel(dry->ctx, id), 0);
    check_ends(dry->ctx, &flow, -ECANCELED);
    close_flow(&flow);
    close_flow(&dry->holder);
    close_flow(&dry->waiter);
    CHECK_EQ(aio_buffer_pool_destroy(dry->pool), 0);
    end_ctx(dry->ctx);
}

TEST(one_that_waits_goes_on_when_a_buffer_comes_back) {
    struct dry dry;
    on_dry(&dry, NULL);
    flow_release(&dry.holder);
    RUN_UNTIL(dry.ctx, dry.waiter.len == 5);
    check_flow(&dry.waiter, "waits");
    CHECK_EQ(dry.waiter.finals, 0);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    end_dry(&dry);
}

TEST(one_that_waits_goes_on_when_the_pool_grows) {
    struct dry dry;
    on_dry(&dry, NULL);
    CHECK_EQ(aio_buffer_pool_grow(dry.pool, 1), 0);
    RUN_UNTIL(dry.ctx, dry.waiter.len == 5);
    CHECK_EQ(info_of(dry.pool).paused, 0);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    end_dry(&dry);
}

TEST(one_that_waits_can_be_cancelled) {
    struct dry dry;
    on_dry(&dry, NULL);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), -EALREADY);
    CHECK_EQ(dry.waiter.calls, 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    CHECK_EQ(dry.waiter.flags, 0);
    CHECK_EQ(info_of(dry.pool).paused + info_of(dry.pool).operations, 0);
    end_dry(&dry);
}

TEST(one_that_waits_can_be_cancelled_and_waited_for) {
    struct dry dry;
    on_dry(&dry, NULL);
    CHECK_EQ(aio_ctx_cancel_wait(dry.ctx, dry.id), 0);
    CHECK_EQ(aio_ctx_in_flight(dry.ctx), 0);
    CHECK_EQ(dry.waiter.calls, 0);
    end_dry(&dry);
    CHECK_EQ(dry.waiter.calls, 0);
}

TEST(one_that_waits_can_be_detached) {
    struct dry dry;
    on_dry(&dry, NULL);
    CHECK_EQ(aio_ctx_detach(dry.ctx, dry.id), 0);
    end_dry(&dry);
    CHECK_EQ(dry.waiter.calls, 0);
}

TEST(a_deadline_runs_on_while_one_waits) {
    struct dry dry;
    on_dry(&dry, WITH(.timeout_ns = 500 * MS * test_slow()));
    check_ends(dry.ctx, &dry.waiter, -ETIMEDOUT);
    CHECK_EQ(dry.waiter.flags, AIO_CQE_DEADLINE);
    end_dry(&dry);
}

TEST(an_idle_deadline_does_not_count_while_one_waits) {
    struct dry dry;
    const uint64_t idle_ns = 60 * MS * test_slow();
    on_dry(&dry, WITH(.flags = AIO_SUBMIT_TIMEOUT_IDLE, .timeout_ns = idle_ns));
    run_for_ms(dry.ctx, 150 * test_slow());
    CHECK_EQ(dry.waiter.calls, 0);
    CHECK_EQ(info_of(dry.pool).paused, 1);
    const uint64_t released_ns = now_ns();
    flow_release(&dry.holder);
    RUN_UNTIL(dry.ctx, dry.waiter.len == 5);
    check_flow(&dry.waiter, "waits");
    check_ends(dry.ctx, &dry.waiter, -ETIMEDOUT);
    CHECK_EQ(dry.waiter.flags, AIO_CQE_DEADLINE);
    CHECK_GE(now_ns() - released_ns, idle_ns);
    end_dry(&dry);
}

TEST(a_close_ends_one_that_waits) {
    struct dry dry;
    struct call closed = {0};
    on_dry(&dry, NULL);
    CHECK_EQ(DO(dry.ctx, closed, aio_submit_close(dry.ctx, dry.waiter.fd, NULL, on_call, &closed)),
             0);
    CHECK_EQ(dry.waiter.finals, 1);
    CHECK_EQ(dry.waiter.result, -ECANCELED);
    char byte;
    CHECK_EQ(recv(dry.waiter.other, &byte, 1, 0), -1); /* with data unread: a reset */
    CHECK_EQ(errno, ECONNRESET);
    dry.waiter.fd = dry.waiter.other;
    dry.waiter.other = -1;
    end_dry(&dry);
}

TEST(destroy_ends_one_that_waits) {
    struct dry dry;
    on_dry(&dry, NULL);
    end_ctx(dry.ctx);
    CHECK_EQ(dry.waiter.finals, 1);
    CHECK_EQ(dry.waiter.result, -ECANCELED);
    CHECK_EQ(dry.waiter.flags, AIO_CQE_ABORTED);
    CHECK_EQ(aio_buffer_pool_destroy(dry.pool), 0);
    CHECK_MEM(dry.holder.kept[0].data, "held", 4);
    flow_release(&dry.holder);
    close_flow(&dry.holder);
    close_flow(&dry.waiter);
}

static void *release_later(void *arg) {
    struct dry *dry = arg;
    sleep_ms(50);
    flow_release(&dry->holder);
    return NULL;
}

TEST(a_release_on_another_thread_wakes_a_context_that_sleeps) {
    for (int round = 0; round < 3; round++) {
        struct dry dry;
        pthread_t thread;
        on_dry(&dry, NULL);
        CHECK_EQ(pthread_create(&thread, NULL, release_later, &dry), 0);
        const uint64_t start = now_ns();
        while (dry.waiter.len == 0)
            CHECK_GE(aio_ctx_run_once(dry.ctx, 20000 * (int64_t)MS), 0);
        CHECK_LT(now_ns() - start, 10000 * MS);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
        check_ends(dry.ctx, &dry.waiter, -ECANCELED);
        end_dry(&dry);
    }
}

TEST(a_release_on_another_thread_wakes_a_foreign_loop) {
    struct dry dry;
    pthread_t thread;
    on_dry(&dry, NULL);
    struct pollfd poller = {.fd = SYS(aio_ctx_fd(dry.ctx)), .events = POLLIN};
    CHECK_EQ(pthread_create(&thread, NULL, release_later, &dry), 0);
    while (dry.waiter.len == 0) {
        const int32_t work = aio_ctx_flush(dry.ctx);
        CHECK_GE(work, 0);
        const int64_t limit_ns = aio_ctx_next_timeout_ns(dry.ctx);
        const int limit_ms = limit_ns < 0 || limit_ns > 20000 * (int64_t)MS
                                 ? 20000
                                 : (int)(limit_ns / (int64_t)MS) + 1;
        if (!work)
            CHECK_EQ(SYS(poll(&poller, 1, limit_ms)), 1);
        CHECK_GE(aio_ctx_run_once(dry.ctx, 0), 0);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    end_dry(&dry);
}

TEST(those_who_wait_are_served_in_their_order) {
    struct dry dry;
    struct flow later[3];
    on_dry(&dry, NULL);
    for (int i = 0; i < 3; i++) {
        later[i] = make_flow(dry.ctx, dry.pool);
        flow_send(&later[i], "late");
        ID(aio_submit_recv_pooled(dry.ctx, later[i].fd, dry.pool, 0, NULL, on_flow, &later[i]));
        later[i].keeps = true;
    }
    dry.waiter.keeps = true;
    run_for_ms(dry.ctx, 5);
    flow_release(&dry.holder);
    RUN_UNTIL(dry.ctx, dry.waiter.len == 5);
    for (int i = 0; i < 3; i++) {
        run_for_ms(dry.ctx, 5);
        CHECK_EQ(later[i].calls, 0);
        flow_release(i ? &later[i - 1] : &dry.waiter);
        check_ends(dry.ctx, &later[i], 4);
    }
    flow_release(&later[2]);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    for (int i = 0; i < 3; i++)
        close_flow(&later[i]);
    end_dry(&dry);
}

TEST(a_barrier_waits_for_one_that_waits_for_a_buffer) {
    struct dry dry;
    struct call barrier = {0};
    struct flow single;
    on_dry(&dry, NULL);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    single = make_flow(dry.ctx, dry.pool);
    flow_send(&single, "first");
    ID(aio_submit_recv_pooled(dry.ctx, single.fd, dry.pool, 0, NULL, on_flow, &single));
    ID(aio_submit_nop(dry.ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &barrier));
    run_for_ms(dry.ctx, 5);
    CHECK_EQ(barrier.calls, 0);
    flow_release(&dry.holder);
    CHECK_EQ(await_call(dry.ctx, &barrier), 0);
    CHECK_EQ(single.finals, 1);
    check_flow(&single, "first");
    close_flow(&single);
    end_dry(&dry);
}

TEST(a_receive_behind_a_barrier_waits_for_its_buffer_too) {
    struct dry dry;
    struct call timer = {0};
    on_dry(&dry, NULL);
    ID(aio_submit_timer(dry.ctx, 5 * MS, NULL, on_call, &timer));
    struct flow flow = make_flow(dry.ctx, dry.pool);
    flow_send(&flow, "behind");
    const aio_op_id id = ID(aio_submit_recv_multishot(
        dry.ctx, flow.fd, dry.pool, 0, WITH(.flags = AIO_SUBMIT_BARRIER), on_flow, &flow));
    RUN_UNTIL(dry.ctx, timer.finals == 1);
    run_for_ms(dry.ctx, 5);
    CHECK_EQ(flow.calls, 0);
    CHECK_EQ(info_of(dry.pool).paused, 2);
    flow_release(&dry.holder);
    RUN_UNTIL(dry.ctx, flow.len == 6);
    CHECK_EQ(dry.waiter.len, 5);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, id), 0);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &flow, -ECANCELED);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    close_flow(&flow);
    end_dry(&dry);
}

TEST(pools_serve_every_kind_of_context) {
    const uint8_t allowed[] = {IORING_OP_RECV};
    const aio_ctx_options kinds[] = {
        {.flags = AIO_CTX_SQE128 | AIO_CTX_CQE32},
        {.flags = AIO_CTX_SQPOLL, .sqpoll_idle_ms = 5},
        {.flags = AIO_CTX_REGISTERED_WAIT},
        {.sq_entries = 2, .cq_entries = 2},
        {.sq_entries = 2, .cq_entries = 2, .sq_entries_max = 64, .cq_entries_max = 64},
        {.allowed_ops = allowed, .allowed_ops_count = 1},
    };
    for (int kind = 0; kind < COUNT_OF(kinds); kind++) {
        aio_ctx_options options = kinds[kind];
        aio_ctx *ctx = NULL;
        options.size = sizeof options;
        if (under_valgrind() && options.flags & AIO_CTX_REGISTERED_WAIT)
            continue; /* what stands between it and the kernel there has no such wait */
        if (aio_ctx_create(&options, &ctx) == -EOPNOTSUPP)
            continue; /* what the kernel lacks, or a ring has alone */
        CHECK(ctx != NULL);
        struct flow flows[8];
        aio_buffer_pool *pool = make_pool_of(ctx, 2, 4);
        for (int i = 0; i < 8; i++) {
            flows[i] = make_flow(ctx, pool);
            flow_receive(&flows[i]);
            flow_send(&flows[i], "0123456789abcdef");
        }
        for (int i = 0; i < 8; i++) {
            RUN_UNTIL(ctx, flows[i].len == 16);
            check_flow(&flows[i], "0123456789abcdef");
            CHECK_EQ(flows[i].finals, 0);
        }
        CHECK_EQ(info_of(pool).free, 2);
        end_ctx(ctx);
        for (int i = 0; i < 8; i++)
            close_flow(&flows[i]);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    }
}

/* --- running low ----------------------------------------------------------------------------- */

struct low {
    aio_buffer_pool *pool;
    int calls;
    uint32_t grows_by;
};

static void on_low(void *arg) {
    struct low *low = arg;
    low->calls++;
    if (low->grows_by)
        CHECK_EQ(aio_buffer_pool_grow(low->pool, low->grows_by), 0);
}

TEST(a_pool_that_runs_low_says_so_once_each_time) {
    aio_ctx *ctx = make_ctx();
    struct low low = {0};
    low.pool = make_pool(ctx, POOL_WITH(.count = 4, .buffer_size = 4, .low_water = 3,
                                        .on_low_water = on_low, .low_water_arg = &low));
    struct flow flow = make_flow(ctx, low.pool);
    flow.keeps = true;
    flow_receive(&flow);
    for (int round = 1; round <= 3; round++) {
        flow_send(&flow, "1234");
        run_for_ms(ctx, 5);
        CHECK_EQ(low.calls, round - 1); /* 3 are left */
        flow_send(&flow, "56789abc");
        run_for_ms(ctx, 5);
        CHECK_EQ(flow.kept_count, 3);
        CHECK_EQ(low.calls, round);
        CHECK_EQ(info_of(low.pool).low_waters, (uint64_t)round);
        flow_release(&flow);
    }
    low.grows_by = 4;
    flow_send(&flow, "123456789abcdef01234");
    RUN_UNTIL(ctx, flow.len == 3 * 12 + 20);
    CHECK_EQ(low.calls, 4);
    CHECK_EQ(info_of(low.pool).count, 8);
    flow_release(&flow);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(low.pool), 0);
}

static void destroy_low(struct flow *flow) {
    CHECK_EQ(aio_buffer_pool_destroy(flow->pool), 0);
    flow->pool = make_pool_of(flow->ctx, 4, 4); /* in its place */
}

TEST(a_pool_that_was_destroyed_does_not_say_that_it_runs_low) {
    aio_ctx *ctx = make_ctx();
    struct low low = {0};
    low.pool = make_pool(ctx, POOL_WITH(.count = 1, .buffer_size = 4, .low_water = 1,
                                        .on_low_water = on_low, .low_water_arg = &low));
    struct flow flow = make_flow(ctx, low.pool);
    flow.then = destroy_low;
    ID(aio_submit_recv_pooled(ctx, flow.fd, flow.pool, 0, NULL, on_flow, &flow));
    flow_send(&flow, "1234");
    check_ends(ctx, &flow, 4);
    run_for_ms(ctx, 5);
    CHECK_EQ(low.calls, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* --- ends with data on the way --------------------------------------------------------------- */

TEST(what_came_before_the_end_comes_first) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 2, 4));
    flow_send(&flow, "0123456789");
    close(flow.other);
    flow.other = -1;
    flow_receive(&flow);
    check_ends(ctx, &flow, 0);
    check_flow(&flow, "0123456789");
    CHECK_EQ(flow.flags, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

static void cancel_at_first_data(struct flow *flow) {
    if (flow->calls == 1)
        CHECK_EQ(aio_ctx_cancel(flow->ctx, *(const aio_op_id *)flow->arg), 0);
    if (flow->buffers == flow->calls)
        CHECK_EQ(flow->flags & ~AIO_CQE_SOCK_NONEMPTY, AIO_CQE_BUFFER | AIO_CQE_MORE);
}

/* With a queue of two completions the kernel ends the receive at its third buffer, with data. */
TEST(data_that_came_before_a_cancel_is_told_before_the_end) {
    aio_ctx *ctx = make_ctx_with(
        &(aio_ctx_options){.size = sizeof(aio_ctx_options), .sq_entries = 2, .cq_entries = 2});
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 8, 4));
    aio_op_id id;
    flow.then = cancel_at_first_data;
    flow.arg = &id;
    flow_send(&flow, "0123456789abcdefghij");
    id = flow_receive(&flow);
    check_ends(ctx, &flow, -ECANCELED);
    CHECK_EQ(flow.flags, 0);
    CHECK_EQ(flow.calls, flow.buffers + 1);
    CHECK_GE(flow.len, 4);
    CHECK(memcmp(flow.data, "0123456789abcdefghij", flow.len) == 0);
    CHECK_EQ(info_of(flow.pool).free, 8);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_socket_shut_down_here_has_ended) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_pool_of(ctx, 2, 64);
    for (int udp = 0; udp <= 1; udp++) {
        struct flow flow = {.ctx = ctx, .pool = pool, .other = -1};
        struct sockaddr_in addr, own;
        int fds[2] = {-1, -1};
        if (udp) {
            flow.fd = make_udp_socket(&own);
            flow.other = make_udp_socket(&addr);
            SYS(connect(flow.fd, (struct sockaddr *)&addr, sizeof addr)); /* else not connected */
        } else {
            make_tcp_pair(fds);
            flow.fd = fds[0];
            flow.other = fds[1];
        }
        flow_receive(&flow);
        run_for_ms(ctx, 5);
        SYS(shutdown(flow.fd, SHUT_RD));
        if (udp && has_ring(ctx)) { /* rings do not notice */
            const uint64_t before = cpu_us();
            run_for_ms(ctx, 100);
            CHECK_LT(cpu_us() - before, 20000 * test_slow());
            CHECK_EQ(flow.calls, 0);
            CHECK_EQ(aio_ctx_cancel_fd(ctx, flow.fd, 0), 1);
            check_ends(ctx, &flow, -ECANCELED);
        } else {
            check_ends(ctx, &flow, 0);
            CHECK_EQ(flow.calls, 1);
        }
        close_flow(&flow);
    }
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(an_idle_deadline_begins_anew_with_each_buffer) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 16));
    const uint64_t start = now_ns();
    ID(aio_submit_recv_multishot(
        ctx, flow.fd, flow.pool, 0,
        WITH(.flags = AIO_SUBMIT_TIMEOUT_IDLE, .timeout_ns = 1500 * MS * test_slow()), on_flow,
        &flow));
    for (size_t i = 1; i <= 3; i++) {
        run_for_ms(ctx, 600);
        flow_send(&flow, "tick");
        RUN_UNTIL(ctx, flow.len == 4 * i);
        CHECK_EQ(flow.finals, 0);
    }
    check_ends(ctx, &flow, -ETIMEDOUT);
    CHECK_EQ(flow.flags, AIO_CQE_DEADLINE);
    CHECK_GE(now_ns() - start, 3300 * MS);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

static void cancel_other_and_wait(struct flow *flow) {
    struct flow *other = flow->arg;
    if (other && other->arg) {
        const aio_op_id id = *(aio_op_id *)other->arg;
        other->arg = NULL;
        CHECK_EQ(aio_ctx_cancel_wait(flow->ctx, id), 0);
    }
}

TEST(buffers_on_the_way_keep_their_order_while_one_operation_is_waited_for) {
    for (uint32_t flags = 0; flags <= 3; flags++) {
        aio_ctx *ctx = make_ctx();
        aio_buffer_pool *pool =
            make_pool(ctx, POOL_WITH(.count = 16, .buffer_size = 8, .flags = flags));
        struct flow flows[3];
        aio_op_id ids[3];
        for (int i = 0; i < 3; i++)
            flows[i] = make_flow(ctx, pool);
        for (int i = 0; i < 3; i++) {
            ids[i] = flow_receive(&flows[i]);
            flow_send(&flows[i], "0123456789abcdefghijklmn");
        }
        flows[1].arg = &ids[1];
        flows[0].arg = &flows[1];
        flows[0].then = cancel_other_and_wait; /* the first buffer ends the second flow */
        RUN_UNTIL(ctx, flows[0].len == 24 && flows[2].len == 24);
        check_flow(&flows[0], "0123456789abcdefghijklmn");
        check_flow(&flows[2], "0123456789abcdefghijklmn");
        CHECK_EQ(flows[1].calls, 0);
        run_for_ms(ctx, 5);
        CHECK_EQ(info_of(pool).free, 16);
        CHECK_EQ(info_of(pool).operations, 2);
        for (int i = 0; i < 3; i++)
            close_flow(&flows[i]);
        end_ctx(ctx);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    }
}

static void destroy_ctx_inside(struct flow *flow) {
    if (flow->calls == 1)
        CHECK_EQ(aio_ctx_destroy(flow->ctx), AIO_EPENDING);
}

TEST(a_context_is_destroyed_with_a_buffer_at_hand) {
    for (int taken = 0; taken <= 1; taken++) {
        aio_ctx *ctx = make_ctx();
        struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 8));
        flow.then = destroy_ctx_inside;
        flow.keeps = true;
        flow_send(&flow, "0123456789abcdefghijklmn");
        ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL,
                                     taken ? on_flow : on_flow_untaken, &flow));
        CHECK_EQ(aio_ctx_run(ctx), AIO_EDESTROYED);
        CHECK_EQ(flow.finals, 1);
        CHECK_EQ(flow.result, -ECANCELED);
        CHECK_EQ(flow.flags, AIO_CQE_ABORTED);
        flow_release(&flow);
        CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
        close_flow(&flow);
    }
}

/* --- refusals of the file's own -------------------------------------------------------------- */

static int netlink_socket(uint32_t groups) {
    const struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = groups};
    const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        SKIP("no netlink sockets here: %s", strerror(errno));
    return fd;
}

TEST(a_socket_that_has_lost_messages_says_so) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = {.ctx = ctx, .pool = make_pool_of(ctx, 4, 4096)};
    const struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_groups = 1u << 30};
    const int small = 1;
    char message[2048] = {0};
    flow.fd = netlink_socket(1u << 30);
    flow.other = netlink_socket(0);
    SYS(setsockopt(flow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    for (int i = 0; i < 64; i++)
        if (sendto(flow.other, message, sizeof message, 0, (const struct sockaddr *)&to,
                   sizeof to) < 0 &&
            errno != ECONNREFUSED) /* the kernel itself does not listen, after all who do */
            SKIP("this user may not send to groups: %s", strerror(errno));
    flow_receive(&flow);
    check_ends(ctx, &flow, -ENOBUFS);
    CHECK_EQ(info_of(flow.pool).pauses, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

HARNESS_MAIN
