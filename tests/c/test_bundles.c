/* Pools whose buffers are sent: the queue, its leases, and that no byte is lost or sent twice,
 * whatever ends a bundle. */
#include "pools.h"

#include <sys/ioctl.h>
#include <sys/uio.h>

static aio_buffer_pool *make_outgoing(aio_ctx *ctx, uint32_t count, uint32_t buffer_size) {
    return make_pool(ctx, POOL_WITH(.count = count, .buffer_size = buffer_size, .count_max = count,
                                    .flags = AIO_BUFFER_POOL_SEND));
}

/* Queues a buffer of `len` bytes of the pattern from `at` on; false if none is empty. */
static bool queue_pattern(aio_buffer_pool *pool, uint64_t at, size_t len) {
    aio_buffer_lease lease = {.size = sizeof lease};
    const int32_t status = aio_buffer_pool_take(pool, &lease);
    if (status == -ENOBUFS)
        return false;
    CHECK_EQ(status, 0);
    CHECK_LE(len, lease.len);
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)lease.data)[i] = (unsigned char)((at + i) * 167 + (at + i) / 251);
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, len), 0);
    return true;
}

/* Reads what is there without waiting; checks it against the pattern. Returns how much. */
static size_t read_pattern(int fd, uint64_t at, size_t most) {
    static unsigned char back[65536];
    const ssize_t got = recv(fd, back, most < sizeof back ? most : sizeof back, MSG_DONTWAIT);
    if (got < 0)
        CHECK_EQ(errno, EAGAIN);
    for (ssize_t i = 0; i < got; i++)
        if (back[i] != (unsigned char)((at + (size_t)i) * 167 + (at + (size_t)i) / 251))
            FAIL("byte %zu is not what was queued", (size_t)at + (size_t)i);
    return got > 0 ? (size_t)got : 0;
}

TEST(leases_are_taken_queued_sent_and_empty_again) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 3, 100);
    struct call call = {0};
    int fds[2];
    make_tcp_pair(fds);
    CHECK_EQ(info_of(pool).flags, AIO_BUFFER_POOL_SEND);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 3; i++)
            CHECK(queue_pattern(pool, (uint64_t)i * 70, 70));
        CHECK(!queue_pattern(pool, 0, 1));
        CHECK_EQ(info_of(pool).queued, 3);
        CHECK_EQ(info_of(pool).free, 0);
        call = (struct call){0};
        CHECK_EQ(DO(ctx, call, aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call)),
                 0);
        CHECK_EQ(call.bytes, 210);
        CHECK_EQ(call.calls, 1);
        CHECK_EQ(info_of(pool).free, 3);
        CHECK_EQ(info_of(pool).operations, 0);
        for (size_t len = 0; len < 210;)
            len += read_pattern(fds[1], len, 210);
    }
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    close(fds[0]);
    close(fds[1]);
    end_ctx(ctx);
}

TEST(what_is_no_lease_or_does_not_fit_is_not_queued) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 2, 100), *other = make_pool_of(ctx, 1, 100);
    aio_buffer_lease lease = {.size = sizeof lease}, small = {.size = sizeof small - 1};
    CHECK_EQ(aio_buffer_pool_take(NULL, &lease), -EINVAL);
    CHECK_EQ(aio_buffer_pool_take(pool, NULL), -EINVAL);
    CHECK_EQ(aio_buffer_pool_take(pool, &small), -EINVAL);
    CHECK_EQ(aio_buffer_pool_take(other, &lease), -EINVAL);
    CHECK_EQ(aio_buffer_pool_take(pool, &lease), 0);
    CHECK_EQ(lease.len, 100);
    CHECK_EQ(aio_buffer_pool_queue(NULL, lease.id, 1), -EINVAL);
    CHECK_EQ(aio_buffer_pool_queue(other, lease.id, 1), -EINVAL);
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, 0), -EINVAL);
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, 101), -EINVAL);
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id + 1, 1), -ENOENT);
    CHECK_EQ(info_of(pool).leased, 1);
    CHECK_EQ(aio_buffer_pool_release(pool, lease.id), 0); /* nothing to be sent after all */
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, 1), -ENOENT);
    CHECK_EQ(info_of(pool).free, 2);
    CHECK(queue_pattern(pool, 0, 100));
    CHECK_EQ(aio_buffer_pool_discard(NULL), -EINVAL);
    CHECK_EQ(aio_buffer_pool_discard(other), -EINVAL);
    CHECK_EQ(aio_buffer_pool_discard(pool), 1);
    CHECK_EQ(aio_buffer_pool_discard(pool), 0);
    CHECK_EQ(info_of(pool).free, 2);
    CHECK_EQ(aio_submit_recv_multishot(ctx, 0, pool, 0, NULL, on_call_never, NULL), -EINVAL);
    aio_buffer_pool *refused = NULL;
    CHECK_EQ(aio_buffer_pool_create(
                 ctx, POOL_WITH(.flags = AIO_BUFFER_POOL_SEND | AIO_BUFFER_POOL_BUNDLES), &refused),
             -EINVAL);
    CHECK_EQ(aio_buffer_pool_create(ctx, POOL_WITH(.flags = AIO_BUFFER_POOL_SEND, .low_water = 1),
                                    &refused),
             -EINVAL);
    CHECK_EQ(aio_buffer_pool_destroy(other), 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

static void *release_elsewhere(void *arg) {
    void **args = arg;
    CHECK_EQ(aio_buffer_pool_release(args[0], (int64_t)(intptr_t)args[1]), 0);
    return NULL;
}

TEST(an_unused_lease_comes_back_from_any_thread) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 1, 100);
    aio_buffer_lease lease = {.size = sizeof lease};
    pthread_t thread;
    CHECK_EQ(aio_buffer_pool_take(pool, &lease), 0);
    void *args[] = {pool, (void *)(intptr_t)lease.id};
    CHECK_EQ(pthread_create(&thread, NULL, release_elsewhere, args), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_buffer_pool_take(pool, &lease), 0);
    CHECK_EQ(aio_buffer_pool_release(pool, lease.id), 0);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    end_ctx(ctx);
}

TEST(more_buffers_than_one_call_takes_go_in_order) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 1000, 16);
    struct call call = {0};
    int fds[2];
    make_tcp_pair(fds);
    for (uint64_t i = 0; i < 1000; i++)
        CHECK(queue_pattern(pool, i * 16, 16));
    ID(aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call));
    uint64_t got = 0;
    RUN_UNTIL(ctx, (got += read_pattern(fds[1], got, 65536)) == 16000 && call.calls);
    CHECK_EQ(call.result, 0);
    CHECK_EQ(call.bytes, 16000);
    CHECK_EQ(info_of(pool).free, 1000);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    close(fds[0]);
    close(fds[1]);
    end_ctx(ctx);
}

TEST(what_is_queued_while_it_goes_on_is_sent_as_well) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 4, 1000);
    struct call call = {0};
    int fds[2];
    make_tcp_pair(fds);
    fill_until_full(fds[0]);
    CHECK(queue_pattern(pool, 0, 1000));
    ID(aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK(queue_pattern(pool, 1000, 1000));
    CHECK(queue_pattern(pool, 2000, 500));
    CHECK_EQ(aio_buffer_pool_discard(pool), -EBUSY);
    CHECK_EQ(aio_buffer_pool_destroy(pool), -EBUSY);
    drain_until_empty(fds[1]);
    RUN_UNTIL(ctx, call.calls == 1 || (drain_until_empty(fds[1]), false));
    CHECK_EQ(call.result, 0);
    CHECK_EQ(call.bytes, 2500);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    close(fds[0]);
    close(fds[1]);
    end_ctx(ctx);
}

TEST(a_failed_connection_leaves_its_queue_behind) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 3, 100);
    struct call call = {0};
    int fds[2], again[2];
    make_socket_pair(fds);
    make_socket_pair(again);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(queue_pattern(pool, i * 100, 100));
    close(fds[1]);
    CHECK_EQ(DO(ctx, call, aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call)),
             -EPIPE);
    CHECK_EQ(call.bytes, 0);
    CHECK_EQ(info_of(pool).queued, 3);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_send_bundle(ctx, again[0], pool, 0, NULL, on_call, &call)),
             0);
    CHECK_EQ(read_pattern(again[1], 0, 300), 300);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    close(fds[0]);
    close(again[0]);
    close(again[1]);
    end_ctx(ctx);
}

/* --- a stream that is cut anywhere ------------------------------------------------------------ */

struct stream {
    aio_ctx *ctx;
    aio_buffer_pool *pool;
    int fds[2];
    uint64_t state, queued, sent, got;
    struct call call;
    aio_op_id id;
    int cut; /* bundles that ended in the middle */
};

static void queue_some(struct stream *s, uint64_t most) {
    for (uint64_t count = random_below(&s->state, most) + 1; count > 0; count--) {
        const size_t len = (size_t)random_below(&s->state, 700) + 1;
        if (!queue_pattern(s->pool, s->queued, len))
            return;
        s->queued += len;
    }
}

static void read_some(struct stream *s) {
    s->got += read_pattern(s->fds[1], s->got, (size_t)random_below(&s->state, 3000) + 1);
}

/* The bundle has ended, in whatever way: its count is what is missing in the queue. */
static void note_end(struct stream *s) {
    s->sent += s->call.bytes;
    CHECK_EQ(s->call.calls, 1);
    if (s->call.result == 0)
        CHECK_EQ(s->sent, s->queued);
    else
        CHECK(s->call.result == -ECANCELED || s->call.result == -ETIMEDOUT);
    s->cut += s->call.result != 0 && s->call.bytes != 0;
    s->id = 0;
}

static void one_step(struct stream *s) {
    switch (random_below(&s->state, 6)) {
    case 0:
        queue_some(s, 12);
        break;
    case 1:
        if (s->id && random_below(&s->state, 2))
            CHECK_NE(aio_ctx_cancel(s->ctx, s->id), -ENOENT);
        break;
    case 2:
        if (!s->id && info_of(s->pool).queued != 0) {
            const uint64_t limit = random_below(&s->state, 3) ? 0 : random_below(&s->state, 50000);
            s->call = (struct call){0};
            s->id = ID(aio_submit_send_bundle(s->ctx, s->fds[0], s->pool, 0,
                                              WITH(.timeout_ns = limit), on_call, &s->call));
        }
        break;
    case 3:
        read_some(s);
        break;
    default:
        CHECK_GE(aio_ctx_run_once(s->ctx, 0), 0);
    }
    if (s->id && s->call.calls)
        note_end(s);
}

/* `receive_buffer`: TCP stops for long where a segment does not fit. */
static void cut_anywhere(void (*make)(int fds[2]), int receive_buffer) {
    struct stream s = {.ctx = make_ctx(), .state = test_seed()};
    const int smallest = 1;
    s.pool = make_outgoing(s.ctx, 20, 700);
    make(s.fds);
    SYS(setsockopt(s.fds[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest));
    SYS(setsockopt(s.fds[1], SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer));
    for (int i = 0; i < scaled(8000); i++)
        one_step(&s);
    if (s.id) {
        aio_ctx_cancel(s.ctx, s.id);
        await_call(s.ctx, &s.call);
        note_end(&s);
    }
    while (s.got < s.queued) { /* the rest, whole */
        if (!s.id && info_of(s.pool).queued != 0) {
            s.call = (struct call){0};
            s.id = ID(aio_submit_send_bundle(s.ctx, s.fds[0], s.pool, 0, NULL, on_call, &s.call));
        }
        CHECK_GE(aio_ctx_run_once(s.ctx, s.id ? (int64_t)MS / 10 : 0), 0);
        read_some(&s);
        if (s.id && s.call.calls)
            note_end(&s);
    }
    CHECK_EQ(s.got, s.queued);
    if (test_slow() == 1)
        CHECK_GT(s.cut, 0); /* else nothing was shown */
    CHECK_EQ(s.sent + s.call.bytes * (s.id != 0), s.queued);
    CHECK(!is_readable(s.fds[1], 5));
    if (s.id)
        await_call(s.ctx, &s.call);
    CHECK_EQ(info_of(s.pool).free, 20);
    CHECK_EQ(aio_buffer_pool_destroy(s.pool), 0);
    close(s.fds[0]);
    close(s.fds[1]);
    end_ctx(s.ctx);
}

TEST(no_byte_is_lost_or_sent_twice_over_tcp) { cut_anywhere(make_tcp_pair, 65536); }
TEST(no_byte_is_lost_or_sent_twice_over_a_unix_socket) { cut_anywhere(make_socket_pair, 1); }

TEST(destroying_the_context_ends_a_bundle_and_then_the_pool) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 4, 1000);
    aio_buffer_lease lease = {.size = sizeof lease};
    struct call call = {0};
    int fds[2];
    make_tcp_pair(fds);
    fill_until_full(fds[0]);
    CHECK(queue_pattern(pool, 0, 1000));
    CHECK_EQ(aio_buffer_pool_take(pool, &lease), 0);
    ID(aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    end_ctx(ctx);
    CHECK_EQ(call.result, -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    memset(lease.data, 1, lease.len); /* still the caller's */
    CHECK_EQ(aio_buffer_pool_queue(pool, lease.id, 1), AIO_ECLOSED);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    CHECK_EQ(aio_buffer_pool_release(pool, lease.id), 0);
    close(fds[0]);
    close(fds[1]);
}

TEST(the_last_of_a_chain_can_be_a_bundle) {
    aio_ctx *ctx = make_ctx();
    aio_buffer_pool *pool = make_outgoing(ctx, 4, 1000);
    struct call read = {0}, call = {0};
    int fds[2], pipes[2];
    char byte;
    make_tcp_pair(fds);
    make_pipe(pipes);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(queue_pattern(pool, i * 1000, 1000));
    ID(aio_submit_read(ctx, pipes[0], &byte, 1, AIO_OFFSET_CURRENT, WITH(.flags = AIO_SUBMIT_LINK),
                       on_call, &read));
    ID(aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call));
    check_blocked(ctx, &call);
    CHECK_EQ(read_pattern(fds[1], 0, 1), 0);
    CHECK(queue_pattern(pool, 3000, 1000));
    write_all_or_fail(pipes[1], "x", 1);
    CHECK_EQ(await_call(ctx, &call), 0);
    CHECK_EQ(call.bytes, 4000);
    for (size_t len = 0; len < 4000;)
        len += read_pattern(fds[1], len, 4000);
    /* And one that never began. */
    CHECK(queue_pattern(pool, 0, 10));
    read = call = (struct call){0};
    ID(aio_submit_read(ctx, -1, &byte, 1, AIO_OFFSET_CURRENT, WITH(.flags = AIO_SUBMIT_LINK),
                       on_call, &read));
    ID(aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call));
    CHECK_EQ(await_call(ctx, &call), -ECANCELED);
    CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    call = (struct call){0};
    CHECK_EQ(DO(ctx, call, aio_submit_send_bundle(ctx, fds[0], pool, 0, NULL, on_call, &call)), 0);
    CHECK_EQ(call.bytes, 10);
    CHECK_EQ(read_pattern(fds[1], 0, 20), 10);
    CHECK_EQ(aio_buffer_pool_destroy(pool), 0);
    for (int i = 0; i < 2; i++) {
        close(fds[i]);
        close(pipes[i]);
    }
    end_ctx(ctx);
}

HARNESS_MAIN
