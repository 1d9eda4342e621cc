/* Section buffers: leases. Who may release what and when, what stays readable for how long, and
 * buffers that come as records. */
#include "pools.h"

#include <poll.h>
#include <sys/wait.h>

/* A context, a pool of `count` buffers of 8 bytes, and as many leases as `text` fills. */
static struct flow lease(aio_ctx *ctx, uint32_t count, const char *text) {
    struct flow flow = make_flow(ctx, make_pool_of(ctx, count, 8));
    flow.keeps = true;
    const aio_op_id id = flow_receive(&flow);
    flow_send(&flow, text);
    RUN_UNTIL(ctx, flow.len == strlen(text));
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    check_ends(ctx, &flow, -ECANCELED);
    CHECK_EQ(info_of(flow.pool).leased, (uint32_t)flow.kept_count);
    return flow;
}

TEST(a_lease_is_released_once) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = lease(ctx, 4, "12345678abcdefgh");
    const int64_t id = flow.kept[0].id;
    CHECK_EQ(flow.kept_count, 2);
    CHECK_EQ(aio_buffer_pool_release(NULL, id), -EINVAL);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, id), 0);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, id), -ENOENT);
    CHECK_EQ(info_of(flow.pool).leased, 1);
    CHECK_EQ(info_of(flow.pool).free, 3);
    const int64_t none[] = {0, -1, INT64_MIN, INT64_MAX, 1, 0xffffff, id ^ 1ll << 40, id + 2};
    for (int i = 0; i < COUNT_OF(none); i++)
        CHECK_EQ(aio_buffer_pool_release(flow.pool, none[i]), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, flow.kept[1].id), 0);
    CHECK_EQ(info_of(flow.pool).free, 4);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(an_old_lease_never_names_a_newer_one) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 1, 8));
    int64_t old[50] = {0};
    flow.keeps = true;
    flow_receive(&flow);
    for (int i = 0; i < COUNT_OF(old); i++) {
        flow_send(&flow, "12345678");
        RUN_UNTIL(ctx, flow.kept_count == 1);
        old[i] = flow.kept[0].id;
        for (int j = 0; j < i; j++) {
            CHECK_NE(old[j], old[i]);
            CHECK_EQ(aio_buffer_pool_release(flow.pool, old[j]), -ENOENT);
            CHECK_EQ(aio_buffer_pool_find(flow.pool, old[j],
                                          &(aio_buffer_lease){.size = sizeof(aio_buffer_lease)}),
                     -ENOENT);
        }
        flow_release(&flow);
    }
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_lease_of_another_pool_is_not_released) {
    aio_ctx *one = make_ctx(), *other = make_ctx();
    struct flow a = lease(one, 4, "12345678"), b = lease(one, 4, "abcdefgh"),
                c = lease(other, 4, "ABCDEFGH");
    CHECK_EQ(aio_buffer_pool_release(a.pool, b.kept[0].id), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(a.pool, c.kept[0].id), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(c.pool, a.kept[0].id), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(c.pool, c.kept[0].id), 0); /* with another context at hand */
    CHECK_EQ(aio_buffer_pool_release(b.pool, b.kept[0].id), 0);
    CHECK_EQ(aio_buffer_pool_release(a.pool, a.kept[0].id), 0);
    struct flow *flows[] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(info_of(flows[i]->pool).free, 4);
        CHECK_EQ(aio_buffer_pool_destroy(flows[i]->pool), 0);
        close_flow(flows[i]);
    }
    end_ctx(one);
    end_ctx(other);
}

TEST(a_lease_is_found_until_it_is_released) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = lease(ctx, 4, "1234567");
    aio_buffer_lease found = {.size = sizeof found};
    const int64_t id = flow.kept[0].id;
    CHECK_EQ(aio_buffer_pool_find(flow.pool, id, &found), 0);
    CHECK(found.data == flow.kept[0].data);
    CHECK_EQ(found.len, 7);
    CHECK_EQ(found.id, id);
    CHECK_EQ(aio_buffer_pool_find(NULL, id, &found), -EINVAL);
    CHECK_EQ(aio_buffer_pool_find(flow.pool, id, NULL), -EINVAL);
    CHECK_EQ(aio_buffer_pool_find(flow.pool, 0, &found), -ENOENT);
    found.size--;
    CHECK_EQ(aio_buffer_pool_find(flow.pool, id, &found), -EINVAL);
    found.size++;
    flow_release(&flow);
    CHECK_EQ(aio_buffer_pool_find(flow.pool, id, &found), -ENOENT);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(leases_outlive_the_context_and_the_pool) {
    for (int order = 0; order < 3; order++) {
        aio_ctx *ctx = make_ctx();
        struct flow flow = lease(ctx, 4, "12345678abcdefgh");
        aio_buffer_lease found = {.size = sizeof found};
        if (order == 0)
            CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
        end_ctx(ctx);
        if (order == 1)
            CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
        close_flow(&flow);
        CHECK_MEM(flow.kept[0].data, "12345678", 8);
        CHECK_MEM(flow.kept[1].data, "abcdefgh", 8);
        CHECK_EQ(aio_buffer_pool_find(flow.pool, flow.kept[1].id, &found), 0);
        CHECK(found.data == flow.kept[1].data);
        CHECK_EQ(aio_buffer_pool_release(flow.pool, flow.kept[0].id), 0);
        CHECK_EQ(aio_buffer_pool_release(flow.pool, flow.kept[0].id), -ENOENT);
        if (order < 2)
            CHECK_EQ(aio_buffer_pool_destroy(flow.pool), -EINVAL); /* a second time */
        CHECK_MEM(flow.kept[1].data, "abcdefgh", 8);
        CHECK_EQ(aio_buffer_pool_release(flow.pool, flow.kept[1].id), 0);
        if (order == 2)
            CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    }
}

TEST(pools_of_a_destroyed_context_do_not_pile_up) {
    if (!memory_figures_are_ours())
        SKIP("another allocator's memory");
    int64_t before = 0;
    for (int round = 0; round < 40; round++) {
        aio_ctx *ctx = make_ctx();
        struct flow flow = make_flow(ctx, make_pool_of(ctx, 16, 65536));
        static char data[65536];
        ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL, on_flow_untaken, &flow));
        for (size_t i = 1; i <= 16; i++) {
            write_all_or_fail(flow.other, data, sizeof data);
            RUN_UNTIL(ctx, flow.len == i * sizeof data);
        }
        close_flow(&flow);
        end_ctx(ctx);
        CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
        if (round == 4)
            before = resident_kib();
    }
    CHECK_LT(resident_kib() - before, 2048);
}

TEST(a_forked_child_releases_nothing) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = lease(ctx, 4, "12345678");
    const pid_t child = SYS(fork());
    if (child == 0) {
        aio_buffer_lease taken = {.size = sizeof taken};
        bool right = aio_buffer_pool_release(flow.pool, flow.kept[0].id) == AIO_EFORKED;
        right &= aio_buffer_pool_grow(flow.pool, 1) == AIO_EFORKED;
        right &= aio_buffer_pool_destroy(flow.pool) == AIO_EFORKED;
        right &= aio_ctx_take_buffer(ctx, &taken) == AIO_EFORKED;
        right &= memcmp(flow.kept[0].data, "12345678", 8) == 0;
        right &= aio_ctx_destroy(ctx) == 0;
        right &= memcmp(flow.kept[0].data, "12345678", 8) == 0;
        _exit(right ? 0 : 1);
    }
    int status = 0;
    SYS(waitpid(child, &status, 0));
    CHECK_EQ(status, 0);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, flow.kept[0].id), 0);
    flow.kept_count = 0;
    flow.finals = 0;
    const aio_op_id id = flow_receive(&flow);
    for (int i = 0; i < 3; i++) { /* all buffers of the parent's go on being its own */
        flow_send(&flow, "ABCDEFGHIJKLMNOPQRSTUVWX");
        RUN_UNTIL(ctx, flow.kept_count == 3);
        CHECK_MEM(flow.data + 8 + (size_t)i * 24, "ABCDEFGHIJKLMNOPQRSTUVWX", 24);
        flow_release(&flow);
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    check_ends(ctx, &flow, -ECANCELED);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* --- threads --------------------------------------------------------------------------------- */

static void *destroy_elsewhere(void *arg) {
    struct flow *flow = arg;
    CHECK_EQ(aio_buffer_pool_destroy(flow->pool), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_buffer_pool_grow(flow->pool, 1), AIO_EWRONGTHREAD);
    CHECK_EQ(aio_buffer_pool_info(flow->pool, &(aio_pool_info){.size = sizeof(aio_pool_info)}),
             AIO_EWRONGTHREAD);
    CHECK_EQ(aio_ctx_take_buffer(flow->ctx, &(aio_buffer_lease){.size = sizeof(aio_buffer_lease)}),
             AIO_EWRONGTHREAD);
    return NULL;
}

static void *release_elsewhere(void *arg) {
    struct flow *flow = arg;
    flow_release(flow);
    return NULL;
}

static void run_elsewhere(void *(*body)(void *), void *arg) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, body, arg), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(another_thread_releases_and_does_no_more) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = lease(ctx, 4, "12345678abcdefgh");
    run_elsewhere(destroy_elsewhere, &flow);
    run_elsewhere(release_elsewhere, &flow);
    CHECK_EQ(info_of(flow.pool).leased, 0);
    CHECK_EQ(info_of(flow.pool).free, 4);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

/* Leaves a context behind, with a lease and a receive. */
static void *leave(void *arg) {
    struct flow *flow = arg;
    *flow = make_flow(make_ctx(), NULL);
    flow->pool = make_pool_of(flow->ctx, 4, 8);
    flow->keeps = true;
    flow_receive(flow);
    flow_send(flow, "12345678");
    RUN_UNTIL(flow->ctx, flow->len == 8);
    return NULL;
}

TEST(leases_outlive_the_thread_of_their_context) {
    static struct flow flow;
    run_elsewhere(leave, &flow);
    CHECK_EQ(aio_buffer_pool_grow(flow.pool, 1), AIO_EORPHANED);
    CHECK_EQ(aio_ctx_destroy(flow.ctx), AIO_EORPHANED);
    CHECK_EQ(flow.finals, 1);
    CHECK_EQ(flow.result, -ECANCELED);
    CHECK_MEM(flow.kept[0].data, "12345678", 8);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    CHECK_MEM(flow.kept[0].data, "12345678", 8);
    flow_release(&flow);
    close_flow(&flow);
}

/* --- records --------------------------------------------------------------------------------- */

static int32_t reap(aio_ctx *ctx, aio_completion *out, uint32_t count) {
    return aio_ctx_reap(ctx, out, sizeof *out, count, 20000 * (int64_t)MS);
}

TEST(a_record_has_its_lease) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 2, 8));
    aio_completion record;
    const aio_op_id id =
        ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL, AIO_CALLBACK_REAP, &flow));
    for (int round = 0; round < 5; round++) {
        aio_buffer_lease found = {.size = sizeof found};
        flow_send(&flow, "record");
        CHECK_EQ(reap(ctx, &record, 1), 1);
        CHECK_EQ(record.id, id);
        CHECK_EQ(record.result, 6);
        CHECK_EQ(record.extra, 6);
        CHECK_EQ(record.flags & (AIO_CQE_MORE | AIO_CQE_BUFFER), AIO_CQE_MORE | AIO_CQE_BUFFER);
        CHECK_EQ(aio_buffer_pool_find(flow.pool, record.lease, &found), 0);
        CHECK_EQ(found.len, 6);
        CHECK_MEM(found.data, "record", 6);
        CHECK_EQ(aio_buffer_pool_release(flow.pool, record.lease), 0);
    }
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(reap(ctx, &record, 1), 1);
    CHECK_EQ(record.result, -ECANCELED);
    CHECK_EQ(record.lease, 0);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

TEST(a_bundle_is_a_record_for_each_buffer) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool =
        make_pool(ctx, POOL_WITH(.count = 8, .buffer_size = 8, .flags = AIO_BUFFER_POOL_BUNDLES));
    struct flow flow = make_flow(ctx, pool);
    flow_send(&flow, "0123456789abcdefghij");
    ID(aio_submit_recv_pooled(ctx, flow.fd, pool, 0, NULL, AIO_CALLBACK_REAP, &flow));
    char data[20];
    uint32_t len = 0;
    bool over = false;
    while (!over) {
        aio_completion record;
        aio_buffer_lease found = {.size = sizeof found};
        CHECK_EQ(reap(ctx, &record, 1), 1);
        CHECK_EQ(aio_buffer_pool_find(pool, record.lease, &found), 0);
        CHECK_EQ(record.result, found.len);
        CHECK_LE(len + found.len, sizeof data);
        memcpy(data + len, found.data, found.len);
        len += found.len;
        over = !(record.flags & AIO_CQE_MORE);
        CHECK_EQ(aio_ctx_in_flight(ctx), 0);
        CHECK_EQ(aio_buffer_pool_release(pool, record.lease), 0);
    }
    CHECK_MEM(data, "0123456789abcdefghij", len);
    CHECK_GE(len, 8);
    CHECK_EQ(info_of(pool).free, 8);
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
}

TEST(records_that_nobody_reaps_give_their_buffers_back) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 8));
    aio_completion record;
    ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL, AIO_CALLBACK_REAP, &flow));
    flow_send(&flow, "12345678abcdefghABCDEFGH");
    CHECK_EQ(reap(ctx, &record, 1), 1);
    run_for_ms(ctx, 5);
    CHECK_EQ(info_of(flow.pool).leased, 3); /* one is ours, two wait */
    close_flow(&flow);
    end_ctx(ctx);
    aio_buffer_lease found = {.size = sizeof found};
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    CHECK_EQ(aio_buffer_pool_find(flow.pool, record.lease, &found), 0);
    CHECK_MEM(found.data, "12345678", 8);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, record.lease), 0);
}

TEST(a_pool_is_destroyed_while_records_wait) {
    aio_ctx *ctx = make_ctx();
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 4, 8));
    aio_completion record;
    aio_buffer_lease found = {.size = sizeof found};
    ID(aio_submit_recv_pooled(ctx, flow.fd, flow.pool, 0, NULL, AIO_CALLBACK_REAP, &flow));
    flow_send(&flow, "12345678");
    while (aio_ctx_in_flight(ctx) > 0)
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
    CHECK_EQ(reap(ctx, &record, 1), 1);
    CHECK_EQ(aio_buffer_pool_find(flow.pool, record.lease, &found), 0);
    CHECK_MEM(found.data, "12345678", 8);
    CHECK_EQ(aio_buffer_pool_release(flow.pool, record.lease), 0);
    close_flow(&flow);
    end_ctx(ctx);
}

TEST(a_full_backlog_of_records_waits) {
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.reap_backlog_max = 2));
    struct flow flow = make_flow(ctx, make_pool_of(ctx, 8, 4));
    flow_send(&flow, "0123456789abcdefghijklmnopqrstuv");
    ID(aio_submit_recv_multishot(ctx, flow.fd, flow.pool, 0, NULL, AIO_CALLBACK_REAP, &flow));
    for (uint32_t len = 0; len < 32;) {
        aio_completion record;
        aio_buffer_lease found = {.size = sizeof found};
        CHECK_EQ(reap(ctx, &record, 1), 1);
        CHECK_EQ(aio_buffer_pool_find(flow.pool, record.lease, &found), 0);
        CHECK_MEM(found.data, &"0123456789abcdefghijklmnopqrstuv"[len], found.len);
        len += found.len;
        CHECK_EQ(aio_buffer_pool_release(flow.pool, record.lease), 0);
    }
    close_flow(&flow);
    end_ctx(ctx);
    CHECK_EQ(aio_buffer_pool_destroy(flow.pool), 0);
}

HARNESS_MAIN
