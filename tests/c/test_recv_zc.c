/* Section interface_queue: zero-copy receives. No card here has queues for them, so what a card
 * itself does is shown by simulation alone (src/sys/interface_queue.rs); all else is shown with a
 * queue of no card, where the kernel copies (Linux 7.1), and everywhere with the pool that stands
 * in for it: each test that is not about the difference runs with whichever is had. */
#include "pools.h"

#include <linux/capability.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define QUEUE(...) (&(aio_interface_queue){sizeof(aio_interface_queue), __VA_ARGS__})
#define NO_CARD QUEUE(.flags = AIO_INTERFACE_NONE)
#define PAGE 4096u

static aio_ctx *make_wide_ctx(void) { return make_ctx_with(CTX_WITH(.flags = AIO_CTX_CQE32)); }

static int32_t create(aio_ctx *ctx, const aio_interface_queue *queue,
                      const aio_buffer_pool_options *options, aio_buffer_pool **pool) {
    return aio_buffer_pool_create_zero_copy(ctx, queue, options, pool);
}

static aio_buffer_pool *make_card_pool(aio_ctx *ctx, const aio_interface_queue *queue,
                                       uint32_t count) {
    aio_buffer_pool *pool = NULL;
    CHECK_EQ(create(ctx, queue, POOL_WITH(.count = count, .buffer_size = PAGE), &pool), 0);
    CHECK(pool != NULL);
    CHECK_EQ(info_of(pool).count, count);
    CHECK_EQ(info_of(pool).free, count);
    return pool;
}

static struct flow make_tcp_flow(aio_ctx *ctx, aio_buffer_pool *pool) {
    int fds[2];
    make_tcp_pair(fds);
    return (struct flow){.ctx = ctx, .pool = pool, .fd = fds[0], .other = fds[1]};
}

static aio_op_id receive(struct flow *flow, const aio_submit_options *options) {
    return ID(aio_submit_recv_zc(flow->ctx, flow->fd, flow->pool, options, on_flow, flow));
}

static void send_and_await(struct flow *flow, const char *text) {
    const size_t len = flow->len + strlen(text);
    flow_send(flow, text);
    RUN_UNTIL(flow->ctx, flow->len == len);
}

static void end_receive(struct flow *flow, aio_op_id id) {
    CHECK_EQ(aio_ctx_cancel(flow->ctx, id), 0);
    check_ends(flow->ctx, flow, -ECANCELED);
}

static aio_probe_info probe(const aio_ctx *ctx) {
    aio_probe_info info = {.size = sizeof info};
    CHECK_EQ(aio_probe(ctx, &info), 0);
    return info;
}

static bool is_since(const aio_ctx *ctx, uint32_t major, uint32_t minor) {
    return probe(ctx).kernel_version >= (major << 16 | minor);
}

/* Whether this process may have interface queues. */
static bool is_admin(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    SYS(syscall(SYS_capget, &head, sets));
    return sets[CAP_TO_INDEX(CAP_NET_ADMIN)].effective & CAP_TO_MASK(CAP_NET_ADMIN);
}

/* --- what is had, and why not ---------------------------------------------------------------- */

TEST(a_queue_without_a_card_is_had_from_linux_7_1_on) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 8);
    const aio_pool_info info = info_of(pool);
    if (has_ring(ctx) && is_since(ctx, 7, 1) && is_admin()) {
        CHECK_EQ(info.flags, AIO_BUFFER_POOL_ZERO_COPY);
        CHECK_EQ(info.zero_copy_reason, AIO_REASON_NONE);
        CHECK_EQ(info.zero_copy_error, 0);
    } else {
        CHECK_EQ(info.flags, 0);
        if (!has_ring(ctx))
            CHECK_EQ(info.zero_copy_reason, probe(ctx).reason);
        else if (!is_since(ctx, 6, 15) || is_admin())
            CHECK_EQ(info.zero_copy_reason, AIO_REASON_KERNEL);
        else
            CHECK_EQ(info.zero_copy_reason, AIO_REASON_PERMISSION);
    }
    CHECK_EQ(info.buffer_size, PAGE);
    CHECK_EQ(info.count_max, 8);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* What info and the probe say of an interface that cannot do it; `lo` is one everywhere. */
static void check_refused(aio_ctx *ctx, const aio_pool_info *info) {
    aio_probe_result facility = {.size = sizeof facility};
    CHECK_EQ(aio_probe_facility(ctx, AIO_FACILITY_ZERO_COPY_RECV, &facility), 0);
    CHECK_EQ(info->flags, 0);
    CHECK(strstr(facility.functions, "aio_submit_recv_zc") != NULL);
    if (!has_ring(ctx)) {
        CHECK_EQ(info->zero_copy_reason, probe(ctx).reason);
        CHECK_EQ(info->zero_copy_error, probe(ctx).error);
    } else if (!is_since(ctx, 6, 15)) {
        CHECK_EQ(info->zero_copy_reason, AIO_REASON_KERNEL);
        CHECK_EQ(info->zero_copy_error, 0);
    } else if (!is_admin()) {
        CHECK_EQ(info->zero_copy_reason, AIO_REASON_PERMISSION);
        CHECK_EQ(info->zero_copy_error, -EPERM);
    } else {
        CHECK_EQ(info->zero_copy_reason, AIO_REASON_HARDWARE);
        CHECK_EQ(info->zero_copy_error, -EOPNOTSUPP);
    }
    if (facility.status == AIO_PROBE_YES) /* another interface here can */
        return;
    CHECK_EQ(facility.status, AIO_PROBE_EMULATED);
    CHECK_EQ(facility.reason, info->zero_copy_reason);
}

TEST(an_interface_that_cannot_is_refused_and_an_ordinary_pool_serves) {
    aio_ctx *ctx = make_wide_ctx();
    const uint32_t lo = if_nametoindex("lo");
    const aio_interface_queue *const ways[] = {QUEUE(.name = "lo", .queue = 1),
                                               QUEUE(.index = lo, .queue = 1),
                                               QUEUE(.index = lo, .queue = 1000)};
    for (int i = 0; i < COUNT_OF(ways); i++) {
        aio_buffer_pool *pool = make_card_pool(ctx, ways[i], 4);
        const aio_pool_info info = info_of(pool);
        check_refused(ctx, &info);
        struct flow flow = make_tcp_flow(ctx, pool);
        const aio_op_id id = receive(&flow, NULL);
        send_and_await(&flow, "all the same");
        check_flow(&flow, "all the same");
        end_receive(&flow, id);
        close_flow(&flow);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    }
    end_ctx(ctx);
}

TEST(who_requires_the_queue_gets_no_other_pool) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = NULL;
    const aio_interface_queue *lo =
        QUEUE(.flags = AIO_INTERFACE_REQUIRED, .name = "lo", .queue = 1);
    const bool asked = has_ring(ctx) && is_since(ctx, 6, 15);
    CHECK_EQ(create(ctx, lo, NULL, &pool), asked && !is_admin() ? -EPERM : -EOPNOTSUPP);
    CHECK(pool == NULL);
    const aio_interface_queue *none = QUEUE(.flags = AIO_INTERFACE_REQUIRED | AIO_INTERFACE_NONE);
    const int32_t status = create(ctx, none, NULL, &pool);
    if (has_ring(ctx) && is_since(ctx, 7, 1) && is_admin()) {
        CHECK_EQ(status, 0);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    } else {
        CHECK_EQ(status, asked && !is_admin() ? -EPERM : -EOPNOTSUPP);
    }
    end_ctx(ctx);
}

static void without_the_privilege(void *arg) {
    (void)arg;
    SYS(setresuid(65534, 65534, 65534));
    aio_ctx *ctx = make_wide_ctx();
    CHECK(!is_admin());
    aio_buffer_pool *pool = make_card_pool(ctx, QUEUE(.name = "lo", .queue = 1), 4);
    const aio_pool_info info = info_of(pool);
    check_refused(ctx, &info);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(without_the_privilege_there_is_no_queue_and_that_is_said) {
    if (getuid() != 0)
        SKIP("not root: there is no privilege to give up");
    CHECK_EQ(end_child(start_child(without_the_privilege, NULL)), 0);
}

/* --- arguments ------------------------------------------------------------------------------- */

TEST(bad_arguments_are_errors) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = NULL;
    const struct {
        const aio_interface_queue *queue;
        const aio_buffer_pool_options *options;
        int32_t status;
    } bad[] = {
        {NULL, NULL, -EINVAL},
        {&(aio_interface_queue){.size = 8, .flags = AIO_INTERFACE_NONE}, NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .reserved0 = 1), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .reserved = {0, 0, 0, 1}), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE | 4), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .name = "lo"), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .index = 1), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .queue = 1), NULL, -EINVAL},
        {QUEUE(.flags = AIO_INTERFACE_NONE, .refill_entries = 32769), NULL, -EINVAL},
        {QUEUE(.flags = 0), NULL, -EINVAL},
        {QUEUE(.queue = 1), NULL, -EINVAL},
        {QUEUE(.name = "lo"), NULL, -EINVAL},
        {QUEUE(.name = "lo", .index = 1, .queue = 1), NULL, -EINVAL},
        {QUEUE(.name = "no such one", .queue = 1), NULL, -ENODEV},
        {QUEUE(.name = "", .queue = 1), NULL, -ENODEV},
        {QUEUE(.index = INT32_MAX, .queue = 1), NULL, -ENODEV},
        {NO_CARD, POOL_WITH(.flags = AIO_BUFFER_POOL_BUNDLES), -EINVAL},
        {NO_CARD, POOL_WITH(.flags = AIO_BUFFER_POOL_INCREMENTAL), -EINVAL},
        {NO_CARD, POOL_WITH(.flags = AIO_BUFFER_POOL_ZERO_COPY), -EINVAL},
        {NO_CARD, POOL_WITH(.count = 4, .count_max = 5), -EINVAL},
        {NO_CARD, POOL_WITH(.count = 4, .count_max = 3), -EINVAL},
        {NO_CARD, POOL_WITH(.count = 32769), -EINVAL},
        {NO_CARD, POOL_WITH(.count = 2, .buffer_size = 1u << 31), -EINVAL},
        {NO_CARD, POOL_WITH(.count = 32768, .buffer_size = 1u << 17), -EINVAL},
        {NO_CARD, &(aio_buffer_pool_options){.size = 4}, -EINVAL},
    };
    for (int i = 0; i < COUNT_OF(bad); i++) {
        const int32_t status = create(ctx, bad[i].queue, bad[i].options, &pool);
        if (status != bad[i].status)
            FAIL("case %d: %d, not %d", i, status, bad[i].status);
    }
    struct {
        aio_interface_queue queue;
        uint64_t later;
    } larger = {.queue = {.size = sizeof larger, .flags = AIO_INTERFACE_NONE}, .later = 1};
    CHECK_EQ(create(ctx, &larger.queue, NULL, &pool), -E2BIG);
    CHECK_EQ(create(ctx, NO_CARD, NULL, NULL), -EINVAL);
    CHECK_EQ(create(NULL, NO_CARD, NULL, &pool), -EINVAL);
    CHECK(pool == NULL);
    larger.later = 0;
    CHECK_EQ(create(ctx, &larger.queue, POOL_WITH(.count = 4, .count_max = 4), &pool), 0);
    CHECK_EQ(aio_buffer_pool_grow(pool, 1), -ENOSPC);
    CHECK_EQ(aio_buffer_pool_grow(pool, 0), -EINVAL);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_context_with_short_completions_has_no_room_for_places) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = NULL;
    CHECK_EQ(create(ctx, NO_CARD, NULL, &pool), -EMSGSIZE);
    CHECK_EQ(create(ctx, QUEUE(.name = "lo", .queue = 1), NULL, &pool), -EMSGSIZE);
    CHECK(pool == NULL);
    end_ctx(ctx);
}

TEST(a_context_that_is_polled_has_no_such_receives) {
    aio_ctx *ctx = NULL;
    aio_buffer_pool *pool = NULL;
    const uint32_t flags = AIO_CTX_CQE32 | AIO_CTX_SQPOLL;
    const int32_t status = aio_ctx_create(CTX_WITH(.flags = flags), &ctx);
    if (status == -EOPNOTSUPP) { /* no ring, or none with a polling thread */
        CHECK(ctx == NULL);
        return;
    }
    CHECK_EQ(status, 0);
    CHECK_EQ(create(ctx, NO_CARD, NULL, &pool), -EOPNOTSUPP);
    end_ctx(ctx);
}

TEST(each_receive_has_its_kind_of_pool) {
    aio_ctx *ctx = make_wide_ctx(), *other = make_wide_ctx();
    aio_buffer_pool *ordinary = make_pool(ctx, NULL), *card = make_card_pool(ctx, NO_CARD, 4),
                    *others = make_card_pool(other, NO_CARD, 4);
    struct flow flow = make_tcp_flow(ctx, card);
    const struct msghdr head = {.msg_namelen = 16};
    CHECK_EQ(aio_submit_recv_zc(ctx, flow.fd, ordinary, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_recv_zc(ctx, flow.fd, others, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_recv_zc(ctx, flow.fd, NULL, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_recv_multishot(ctx, flow.fd, card, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_recv_pooled(ctx, flow.fd, card, 0, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_submit_recvmsg_multishot(ctx, flow.fd, card, &head, 0, NULL, on_call_never, NULL),
             -EINVAL);
    CHECK_EQ(aio_submit_read_multishot(ctx, flow.fd, card, NULL, on_call_never, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    close_flow(&flow);
    aio_buffer_pool *const pools[] = {ordinary, card, others};
    for (int i = 0; i < COUNT_OF(pools); i++)
        CHECK_EQ(aio_buffer_pool_destroy(pools[i]), 0);
    end_ctx(ctx);
    end_ctx(other);
}

TEST(allowed_ops_must_name_what_stands_in_for_it_too) {
    const uint8_t ops[] = {IORING_OP_RECV, 58};
    for (uint32_t count = 1; count <= 2; count++) {
        const aio_ctx_options options = {.size = sizeof options,
                                         .flags = AIO_CTX_CQE32,
                                         .allowed_ops = ops + 2 - count,
                                         .allowed_ops_count = count};
        aio_ctx *ctx = make_ctx_with(&options);
        aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 1);
        struct flow flow = make_tcp_flow(ctx, pool);
        if (count == 1 && info_of(pool).flags == 0) {
            CHECK_EQ(aio_submit_recv_zc(ctx, flow.fd, pool, NULL, on_flow, &flow), -EACCES);
        } else {
            const aio_op_id id = receive(&flow, NULL);
            for (int i = 0; i < 5; i++) /* each takes what the one before has given back */
                send_and_await(&flow, "allowed");
            end_receive(&flow, id);
        }
        close_flow(&flow);
        CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
        end_ctx(ctx);
    }
}

/* --- data ------------------------------------------------------------------------------------ */

/* A stream with a pattern in it, received with leases that are kept for a random while. */
struct stream {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    int fds[2];
    uint64_t seed, state;
    size_t len, sent, received;
    int kept_most, kept_count, finals;
    struct {
        aio_buffer_lease lease;
        size_t at;
    } kept[64];
};

static bool is_as_sent(const struct stream *stream, const void *data, size_t len, size_t at) {
    unsigned char expected[65536];
    CHECK_LE(at % PAGE + len, sizeof expected);
    const size_t first = at / PAGE * PAGE;
    for (size_t page = 0; page < at % PAGE + len; page += PAGE)
        pattern_fill(expected + page, PAGE, stream->seed + (first + page) / PAGE);
    return memcmp(data, expected + at % PAGE, len) == 0;
}

static void release_one(struct stream *stream) {
    const int which = (int)random_below(&stream->state, (uint64_t)stream->kept_count);
    const aio_buffer_lease lease = stream->kept[which].lease;
    CHECK(is_as_sent(stream, lease.data, lease.len, stream->kept[which].at));
    CHECK_EQ(aio_buffer_pool_release(stream->pool, lease.id), 0);
    CHECK_EQ(aio_buffer_pool_release(stream->pool, lease.id), -ENOENT);
    stream->kept[which] = stream->kept[--stream->kept_count];
}

static void on_stream(void *user_data, int32_t result, uint32_t flags) {
    struct stream *stream = user_data;
    stream->finals += !(flags & AIO_CQE_MORE);
    if (result <= 0) {
        CHECK_EQ(result, 0); /* the end of the stream */
        return;
    }
    CHECK_EQ(flags & (AIO_CQE_MORE | AIO_CQE_BUFFER), AIO_CQE_MORE | AIO_CQE_BUFFER);
    aio_buffer_lease lease = {.size = sizeof lease};
    if (random_below(&stream->state, 4) == 0) { /* left where it is: it goes back */
        stream->received += (size_t)result;
        return;
    }
    CHECK_EQ(aio_ctx_take_buffer(stream->ctx, &lease), 0);
    CHECK_EQ(lease.len, result);
    CHECK(is_as_sent(stream, lease.data, lease.len, stream->received));
    stream->kept[stream->kept_count].lease = lease;
    stream->kept[stream->kept_count++].at = stream->received;
    stream->received += lease.len;
    while (stream->kept_count &&
           (stream->kept_count >= stream->kept_most || random_below(&stream->state, 3) == 0))
        release_one(stream);
}

static void *send_stream(void *arg) {
    struct stream *stream = arg;
    unsigned char page[PAGE];
    for (size_t at = 0; at < stream->len; at += PAGE) {
        pattern_fill(page, PAGE, stream->seed + at / PAGE);
        write_all_or_fail(stream->fds[1], page, PAGE);
    }
    SYS(shutdown(stream->fds[1], SHUT_WR));
    return NULL;
}

/* `count` streams of `pages` each, all at once, through one pool. */
static void run_streams(aio_ctx *ctx, aio_buffer_pool *pool, int count, int pages, int kept_most) {
    static struct stream streams[16];
    pthread_t threads[16];
    int finals = 0;
    const uint64_t seed = test_seed();
    for (int i = 0; i < count; i++) {
        streams[i] = (struct stream){.ctx = ctx,
                                     .pool = pool,
                                     .seed = seed + (uint64_t)i * 1000003,
                                     .state = seed + (uint64_t)i,
                                     .len = (size_t)pages * PAGE,
                                     .kept_most = kept_most};
        make_tcp_pair(streams[i].fds);
        ID(aio_submit_recv_zc(ctx, streams[i].fds[0], pool, NULL, on_stream, &streams[i]));
        CHECK_EQ(pthread_create(&threads[i], NULL, send_stream, &streams[i]), 0);
    }
    while (finals < count) {
        CHECK_GE(aio_ctx_run_once(ctx, 20000 * (int64_t)MS * test_slow()), 1);
        finals = 0;
        for (int i = 0; i < count; i++)
            finals += streams[i].finals;
        for (int i = 0; i < count; i++) /* who has all it was sent gives the rest to the others */
            while (streams[i].finals && streams[i].kept_count)
                release_one(&streams[i]);
    }
    for (int i = 0; i < count; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(streams[i].received, streams[i].len);
        CHECK_EQ(streams[i].finals, 1);
        while (streams[i].kept_count)
            release_one(&streams[i]);
        close(streams[i].fds[0]);
        close(streams[i].fds[1]);
    }
    CHECK_EQ(info_of(pool).leased, 0);
    CHECK_EQ(info_of(pool).free, info_of(pool).count);
}

TEST(what_is_sent_arrives_in_order_and_stays_until_it_is_released) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 128);
    run_streams(ctx, pool, 4, scaled(400), 20);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_pool_that_is_far_too_small_pauses_and_loses_nothing) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 4);
    run_streams(ctx, pool, 3, scaled(100), 1);
    CHECK_GT(info_of(pool).pauses, 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_refill_ring_that_is_far_too_small_loses_nothing) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool =
        make_card_pool(ctx, QUEUE(.flags = AIO_INTERFACE_NONE, .refill_entries = 1), 32);
    run_streams(ctx, pool, 2, scaled(200), 12);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(a_full_completion_queue_loses_nothing) {
    aio_ctx *ctx =
        make_ctx_with(CTX_WITH(.flags = AIO_CTX_CQE32, .sq_entries = 4, .cq_entries = 4));
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 128);
    run_streams(ctx, pool, 3, scaled(200), 12);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(memory_need_not_be_whole_pages) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = NULL;
    CHECK_EQ(create(ctx, NO_CARD, POOL_WITH(.count = 3, .buffer_size = 3000), &pool), 0);
    const aio_pool_info info = info_of(pool);
    const bool is_card = info.flags & AIO_BUFFER_POOL_ZERO_COPY;
    CHECK_EQ(info.buffer_size, is_card ? PAGE : 3000);
    CHECK_EQ(info.count, 3);
    struct flow flow = make_tcp_flow(ctx, pool);
    const aio_op_id id = receive(&flow, NULL);
    for (int i = 0; i < 10; i++)
        send_and_await(&flow, "some words");
    CHECK_EQ(flow.len, 100);
    end_receive(&flow, id);
    close_flow(&flow);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* --- pauses ---------------------------------------------------------------------------------- */

/* A pool of one buffer, of which `holder` has it, and `waiter` waits for it with data there. */
struct dry {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    struct flow holder, waiter;
    aio_op_id id;
};

static void on_dry(struct dry *dry, const aio_submit_options *options) {
    dry->ctx = make_wide_ctx();
    dry->pool = make_card_pool(dry->ctx, NO_CARD, 1);
    dry->holder = make_tcp_flow(dry->ctx, dry->pool);
    dry->waiter = make_tcp_flow(dry->ctx, dry->pool);
    dry->holder.keeps = true;
    const aio_op_id id = receive(&dry->holder, NULL);
    dry->id = receive(&dry->waiter, options);
    send_and_await(&dry->holder, "held");
    end_receive(&dry->holder, id);
    flow_send(&dry->waiter, "waits");
    run_for_ms(dry->ctx, 20);
    CHECK_EQ(dry->waiter.calls, 0);
    CHECK_EQ(info_of(dry->pool).paused, 1);
    CHECK_EQ(info_of(dry->pool).free, 0);
}

/* The pool still works, and nothing of it is lost. */
static void end_dry(struct dry *dry) {
    CHECK_MEM(dry->holder.kept[0].data, "held", 4);
    flow_release(&dry->holder);
    struct flow flow = make_tcp_flow(dry->ctx, dry->pool);
    const aio_op_id id = receive(&flow, NULL);
    for (int i = 0; i < 3; i++)
        send_and_await(&flow, "and on");
    end_receive(&flow, id);
    CHECK_EQ(info_of(dry->pool).free, 1);
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
    end_receive(&dry.waiter, dry.id);
    dry.holder.kept[0].data = (void *)(uintptr_t)"held";
    end_dry(&dry);
}

static void *release_elsewhere(void *arg) {
    struct dry *dry = arg;
    sleep_ms(30);
    flow_release(&dry->holder);
    return NULL;
}

TEST(a_release_by_another_thread_wakes_the_context_that_waits) {
    struct dry dry;
    pthread_t thread;
    on_dry(&dry, NULL);
    CHECK_EQ(pthread_create(&thread, NULL, release_elsewhere, &dry), 0);
    RUN_UNTIL(dry.ctx, dry.waiter.len == 5);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end_receive(&dry.waiter, dry.id);
    dry.holder.kept[0].data = (void *)(uintptr_t)"held";
    end_dry(&dry);
}

TEST(one_that_waits_costs_nothing) {
    struct dry dry;
    on_dry(&dry, NULL);
    const uint64_t calls = stats_of(dry.ctx).system_calls, pauses = info_of(dry.pool).pauses;
    run_for_ms(dry.ctx, 100);
    CHECK_LE(stats_of(dry.ctx).system_calls - calls, 20);
    CHECK_EQ(info_of(dry.pool).pauses, pauses);
    CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
    check_ends(dry.ctx, &dry.waiter, -ECANCELED);
    end_dry(&dry);
}

TEST(one_that_waits_can_be_cancelled_waited_for_and_detached) {
    for (int way = 0; way < 3; way++) {
        struct dry dry;
        on_dry(&dry, NULL);
        if (way == 0) {
            CHECK_EQ(aio_ctx_cancel(dry.ctx, dry.id), 0);
            check_ends(dry.ctx, &dry.waiter, -ECANCELED);
        } else if (way == 1) {
            CHECK_EQ(aio_ctx_cancel_wait(dry.ctx, dry.id), 0);
        } else {
            CHECK_EQ(aio_ctx_detach(dry.ctx, dry.id), 0);
        }
        end_dry(&dry);
        CHECK_EQ(dry.waiter.calls, way == 0);
    }
}

TEST(a_deadline_runs_on_while_one_waits) {
    struct dry dry;
    on_dry(&dry, WITH(.timeout_ns = 500 * MS * test_slow()));
    check_ends(dry.ctx, &dry.waiter, -ETIMEDOUT);
    CHECK_EQ(dry.waiter.flags, AIO_CQE_DEADLINE);
    end_dry(&dry);
}

TEST(destroy_ends_one_that_waits_and_leaves_what_is_held) {
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

static void on_low_water(void *arg) { ++*(int *)arg; }

TEST(low_water_is_told) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = NULL;
    int told = 0;
    CHECK_EQ(create(ctx, NO_CARD,
                    POOL_WITH(.count = 4, .buffer_size = PAGE, .low_water = 2,
                              .on_low_water = on_low_water, .low_water_arg = &told),
                    &pool),
             0);
    struct flow flow = make_tcp_flow(ctx, pool);
    flow.keeps = true;
    const aio_op_id id = receive(&flow, NULL);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 3; i++)
            send_and_await(&flow, "low");
        RUN_UNTIL(ctx, told == round);
        CHECK_EQ(info_of(pool).free, 1);
        CHECK_EQ(info_of(pool).low_waters, (uint64_t)round);
        flow_release(&flow);
        CHECK_EQ(info_of(pool).free, 4);
    }
    end_receive(&flow, id);
    close_flow(&flow);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

/* --- ends ------------------------------------------------------------------------------------ */

TEST(a_pool_in_use_is_not_destroyed) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 4);
    struct flow flow = make_tcp_flow(ctx, pool);
    flow.keeps = true;
    const aio_op_id id = receive(&flow, NULL);
    CHECK_EQ(info_of(pool).operations, 1);
    CHECK_EQ(aio_buffer_pool_destroy(pool), -EBUSY);
    send_and_await(&flow, "kept");
    end_receive(&flow, id);
    CHECK_EQ(info_of(pool).operations, 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    CHECK_EQ(aio_submit_recv_zc(ctx, flow.fd, pool, NULL, on_call_never, NULL), -EINVAL);
    CHECK_MEM(flow.kept[0].data, "kept", 4);
    /* The queue of the next one is another, also while there are leases of this one. */
    aio_buffer_pool *next = make_card_pool(ctx, NO_CARD, 4);
    struct flow after = make_tcp_flow(ctx, next);
    const aio_op_id later = receive(&after, NULL);
    for (int i = 0; i < 8; i++)
        send_and_await(&after, "more");
    CHECK_MEM(flow.kept[0].data, "kept", 4);
    flow_release(&flow);
    end_receive(&after, later);
    close_flow(&flow);
    close_flow(&after);
    CHECK_EQ(aio_buffer_pool_destroy(next), 0);
    end_ctx(ctx);
}

TEST(the_queue_goes_with_the_last_of_context_pool_and_leases) {
    const int before = open_descriptors();
    for (int order = 0; order < 2; order++) {
        aio_ctx *ctx = make_wide_ctx();
        aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 4);
        /* The descriptor that a handle is woken by, and that of the ring with its queue. */
        const int kept = info_of(pool).flags & AIO_BUFFER_POOL_ZERO_COPY ? 2 : 1;
        struct flow flow = make_tcp_flow(ctx, pool);
        flow.keeps = true;
        receive(&flow, NULL);
        send_and_await(&flow, "one");
        send_and_await(&flow, "two");
        end_ctx(ctx);
        CHECK_EQ(flow.finals, 1);
        close_flow(&flow);
        CHECK_EQ(open_descriptors(), before + kept);
        if (order == 0)
            CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
        CHECK_MEM(flow.kept[0].data, "one", 3);
        CHECK_MEM(flow.kept[1].data, "two", 3);
        aio_buffer_lease found = {.size = sizeof found};
        CHECK_EQ(aio_buffer_pool_find(pool, flow.kept[1].id, &found), 0);
        CHECK(found.data == flow.kept[1].data);
        CHECK_EQ(open_descriptors(), before + kept);
        flow_release(&flow);
        if (order == 1)
            CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
        CHECK_EQ(open_descriptors(), before);
    }
}

static void touch_in_a_child(void *arg) {
    struct flow *flow = arg;
    CHECK_EQ(aio_buffer_pool_release(flow->pool, flow->kept[0].id), AIO_EFORKED);
    CHECK_EQ(aio_submit_recv_zc(flow->ctx, flow->fd, flow->pool, NULL, on_call_never, NULL),
             AIO_EFORKED);
    CHECK_EQ(aio_ctx_destroy(flow->ctx), 0); /* frees the copy */
}

TEST(a_forked_child_changes_nothing) {
    aio_ctx *ctx = make_wide_ctx();
    if (has_ring(ctx))
        beyond_valgrind("stumbles over new mappings where fork left old ones out");
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 2);
    struct flow flow = make_tcp_flow(ctx, pool);
    flow.keeps = true;
    const aio_op_id id = receive(&flow, NULL);
    send_and_await(&flow, "before");
    CHECK_EQ(end_child(start_child(touch_in_a_child, &flow)), 0);
    CHECK_MEM(flow.kept[0].data, "before", 6);
    send_and_await(&flow, "behind");
    CHECK_MEM(flow.kept[1].data, "behind", 6);
    flow_release(&flow);
    send_and_await(&flow, "again");
    flow_release(&flow);
    end_receive(&flow, id);
    close_flow(&flow);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(what_is_no_tcp_socket_is_refused_with_a_card_and_without) {
    aio_ctx *ctx = make_wide_ctx();
    aio_buffer_pool *pool = make_card_pool(ctx, NO_CARD, 2);
    struct sockaddr_in addr;
    int pair[2];
    make_socket_pair(pair);
    const int others[] = {pair[0], make_udp_socket(&addr)};
    for (int i = 0; i < COUNT_OF(others); i++) {
        struct call call = {0};
        const aio_op_id id = aio_submit_recv_zc(ctx, others[i], pool, NULL, on_call, &call);
        CHECK_EQ(id > 0 ? await_call(ctx, &call) : id, -EPROTONOSUPPORT);
        CHECK_EQ(info_of(pool).operations, 0);
    }
    CHECK_EQ(info_of(pool).free, 2);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

HARNESS_MAIN
