/* A model of buffer pools: the context's thread receives, keeps, releases, grows, cancels and
 * destroys; two others release what they were handed, twice at times, and try leases of other
 * pools. Every byte must come once and in order, every kept buffer stay as it came until it is
 * released, and each lease end exactly once.
 *
 *   soak_buffers [rounds] */
#include "pools.h"

#include <inttypes.h>

enum { POOLS = 3, FLOWS = 6, HANDED = 256, RELEASERS = 2 };

/* A lease that a releaser was handed, with what must be in it. */
struct handed {
    aio_buffer_pool *pool;
    aio_buffer_lease lease;
    uint64_t sum;
};

/* A queue between one thread and one other. */
struct releaser {
    pthread_t thread;
    uint64_t random;
    aio_buffer_pool *foreign; /* has no leases, lives longer than all */
    struct handed ring[HANDED];
    unsigned head, tail; /* atomic: taken by the releaser, put in by the context's thread */
    bool over;           /* atomic */
    int64_t released;
};

struct stream {
    struct flow flow;
    int pool;
    aio_op_id id;       /* 0: no receive */
    uint64_t sent, got; /* bytes, each of which is its number's */
    bool is_single;
};

static struct {
    aio_ctx *ctx;
    uint64_t random;
    aio_buffer_pool *pools[POOLS];
    uint32_t counts[POOLS], limits[POOLS], flags[POOLS];
    int64_t leased[POOLS]; /* of the pool as it is now: issued */
    struct stream streams[FLOWS];
    struct handed kept[256];
    int kept_count;
    struct releaser releasers[RELEASERS];
    int64_t leases, doubles, foreigns, grown, pauses, cancels, contexts;
} w;

static uint64_t dice(uint64_t bound) { return random_below(&w.random, bound); }

static unsigned char byte_of(uint64_t number) { return (unsigned char)(number * 167 >> 3); }

static uint64_t sum_of(const aio_buffer_lease *lease) {
    uint64_t sum = lease->len;
    for (uint32_t i = 0; i < lease->len; i++)
        sum = sum * 31 + ((const unsigned char *)lease->data)[i];
    return sum;
}

/* Ends a lease, as whoever has it: once. */
static void end_lease(const struct handed *handed, uint64_t *random, aio_buffer_pool *foreign,
                      bool may_be_last) {
    CHECK_EQ(sum_of(&handed->lease), handed->sum);
    if (foreign && random_below(random, 8) == 0)
        CHECK_EQ(aio_buffer_pool_release(foreign, handed->lease.id), -ENOENT);
    CHECK_EQ(aio_buffer_pool_release(handed->pool, handed->lease.id), 0);
    /* With the pool destroyed and no other lease of it the address is nobody's any more. */
    if (!may_be_last && random_below(random, 8) == 0)
        CHECK_EQ(aio_buffer_pool_release(handed->pool, handed->lease.id), -ENOENT);
}

static void *release_handed(void *arg) {
    struct releaser *r = arg;
    for (;;) {
        const unsigned tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
        if (r->head == tail) {
            if (__atomic_load_n(&r->over, __ATOMIC_ACQUIRE) &&
                tail == __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE))
                return NULL;
            usleep(50);
            continue;
        }
        end_lease(&r->ring[r->head % HANDED], &r->random, r->foreign, true);
        r->released++;
        __atomic_store_n(&r->head, r->head + 1, __ATOMIC_RELEASE);
    }
}

static bool hand_over(struct releaser *r, const struct handed *handed) {
    if (r->tail - __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) == HANDED)
        return false;
    r->ring[r->tail % HANDED] = *handed;
    __atomic_store_n(&r->tail, r->tail + 1, __ATOMIC_RELEASE);
    return true;
}

static void release_here(const struct handed *handed) {
    bool is_live = false;
    for (int i = 0; i < POOLS; i++)
        is_live |= handed->pool == w.pools[i];
    end_lease(handed, &w.random, w.releasers[0].foreign, !is_live);
}

/* One buffer of a stream's: its bytes are the next ones. */
static void take(struct stream *stream, const aio_buffer_lease *lease) {
    const unsigned char *data = lease->data;
    for (uint32_t i = 0; i < lease->len; i++)
        CHECK_EQ(data[i], byte_of(stream->got + i));
    stream->got += lease->len;
    CHECK_LE(stream->got, stream->sent);
    const struct handed handed = {w.pools[stream->pool], *lease, sum_of(lease)};
    w.leases++;
    const uint64_t what = dice(4);
    if (what < 2 && hand_over(&w.releasers[what], &handed))
        return;
    if (what == 2 && w.kept_count < COUNT_OF(w.kept))
        w.kept[w.kept_count++] = handed;
    else
        release_here(&handed);
}

static void on_data(void *user_data, int32_t result, uint32_t flags) {
    struct stream *stream = user_data;
    int32_t sum = 0;
    CHECK(stream->id != 0);
    CHECK_EQ((flags & AIO_CQE_BUFFER) != 0, result > 0);
    if (result <= 0)
        CHECK_EQ(result, -ECANCELED);
    aio_buffer_lease lease = {.size = sizeof lease};
    while (result > 0 && aio_ctx_take_buffer(w.ctx, &lease) == 0) {
        sum += (int32_t)lease.len;
        take(stream, &lease);
    }
    CHECK_EQ(sum, result > 0 ? result : 0);
    if (!(flags & AIO_CQE_MORE))
        stream->id = 0;
    else
        CHECK(!stream->is_single);
}

static void begin(struct stream *stream) {
    if (stream->id)
        return;
    stream->is_single = dice(3) == 0;
    const aio_submit_options *options = dice(4) ? NULL : WITH(.group = 1 + dice(3));
    aio_buffer_pool *pool = w.pools[stream->pool];
    stream->id =
        stream->is_single
            ? ID(aio_submit_recv_pooled(w.ctx, stream->flow.fd, pool, 0, options, on_data, stream))
            : ID(aio_submit_recv_multishot(w.ctx, stream->flow.fd, pool, 0, options, on_data,
                                           stream));
}

static void feed(struct stream *stream) {
    unsigned char data[300];
    const uint64_t len = 1 + dice(sizeof data);
    if (stream->sent - stream->got > 20000)
        return;
    for (uint64_t i = 0; i < len; i++)
        data[i] = byte_of(stream->sent + i);
    write_all_or_fail(stream->flow.other, data, len);
    stream->sent += len;
}

static void cancel(struct stream *stream) {
    if (!stream->id)
        return;
    w.cancels++;
    const int32_t status = aio_ctx_cancel(w.ctx, stream->id);
    CHECK(status == 0 || status == -EALREADY);
}

static void grow(int i) {
    const uint32_t count = (uint32_t)dice(3);
    const bool fits = count && w.counts[i] + count <= w.limits[i];
    const int32_t status = aio_buffer_pool_grow(w.pools[i], count);
    CHECK_EQ(status, fits ? 0 : count ? -ENOSPC : -EINVAL);
    if (fits) {
        w.counts[i] += count;
        w.grown += count;
    }
}

static void create_pool(int i) {
    w.counts[i] = 1 + (uint32_t)dice(6);
    w.limits[i] = w.counts[i] + (uint32_t)dice(8);
    w.flags[i] = (uint32_t)dice(4);
    w.pools[i] =
        make_pool(w.ctx, POOL_WITH(.count = w.counts[i], .count_max = w.limits[i],
                                   .buffer_size = 1 + (uint32_t)dice(200), .flags = w.flags[i]));
}

/* A pool that nobody receives into is made anew; its leases live on. */
static void replace_pool(int i) {
    aio_pool_info info = info_of(w.pools[i]);
    CHECK_EQ(info.count, w.counts[i]);
    CHECK_LE(info.free, info.count);
    CHECK_LE(info.paused, info.operations);
    CHECK_EQ(aio_buffer_pool_destroy(w.pools[i]), info.operations ? -EBUSY : 0);
    if (info.operations == 0) {
        w.pauses += (int64_t)info.pauses;
        create_pool(i);
    }
}

static void release_some(void) {
    for (uint64_t n = dice(4); n && w.kept_count; n--) {
        const int at = (int)dice((uint64_t)w.kept_count);
        const struct handed handed = w.kept[at];
        w.kept[at] = w.kept[--w.kept_count];
        release_here(&handed);
    }
}

static void act(void) {
    struct stream *stream = &w.streams[dice(FLOWS)];
    switch (dice(12)) {
    case 0:
    case 1:
    case 2:
        feed(stream);
        break;
    case 3:
    case 4:
        begin(stream);
        break;
    case 5:
        cancel(stream);
        break;
    case 6:
    case 7:
        release_some();
        break;
    case 8:
        grow((int)dice(POOLS));
        break;
    case 9:
        replace_pool((int)dice(POOLS));
        break;
    case 10:
        if (stream->id && dice(4) == 0) {
            const int32_t status = aio_ctx_cancel_wait(w.ctx, stream->id);
            CHECK_EQ(status, 0);
            stream->id = 0;
            /* What had come for it is nobody's: the rest begins we do not know where. */
            close_flow(&stream->flow);
            stream->flow = make_flow(w.ctx, NULL);
            stream->sent = stream->got = 0;
        }
        break;
    default:
        CHECK_GE(aio_ctx_run_once(w.ctx, 0), 0);
    }
}

static bool is_done(void) {
    for (int i = 0; i < FLOWS; i++)
        if (w.streams[i].got != w.streams[i].sent)
            return false;
    return true;
}

/* Everything that was sent comes, as long as buffers come back. */
static void drain(void) {
    const uint64_t limit = patience_end_ns();
    while (!is_done()) {
        for (int i = 0; i < FLOWS; i++)
            begin(&w.streams[i]);
        release_some();
        CHECK_GE(aio_ctx_run_once(w.ctx, (int64_t)MS), 0);
        CHECK_LT(now_ns(), limit);
        usleep(50); /* under valgrind no other thread runs while one waits in a ring */
    }
}

/* With every operation ended and every lease released all buffers are free. */
static void check_whole(void) {
    for (int i = 0; i < FLOWS; i++)
        cancel(&w.streams[i]);
    CHECK_EQ(aio_ctx_run(w.ctx), 0);
    while (w.kept_count)
        release_here(&w.kept[--w.kept_count]);
    for (int i = 0; i < RELEASERS; i++)
        while (__atomic_load_n(&w.releasers[i].head, __ATOMIC_ACQUIRE) != w.releasers[i].tail)
            usleep(50);
    for (int i = 0; i < POOLS; i++) {
        const aio_pool_info info = info_of(w.pools[i]);
        CHECK_EQ(info.operations + info.paused + info.leased, 0);
        CHECK_EQ(info.count, w.counts[i]);
        CHECK_EQ(info.free, info.count);
        w.pauses += (int64_t)info.pauses;
    }
}

static void open_round(void) {
    w.ctx = make_ctx();
    w.contexts++;
    for (int i = 0; i < POOLS; i++)
        create_pool(i);
    for (int i = 0; i < FLOWS; i++) {
        w.streams[i] = (struct stream){.flow = make_flow(w.ctx, NULL), .pool = (int)dice(POOLS)};
    }
}

static void close_round(void) {
    if (dice(2)) {
        drain();
        check_whole();
    }
    end_ctx(w.ctx);
    aio_buffer_pool *gone[POOLS];
    for (int i = 0; i < POOLS; i++) {
        gone[i] = w.pools[i];
        w.pools[i] = NULL;
    }
    if (dice(2))
        for (; w.kept_count; w.kept_count--) {
            const struct handed *handed = &w.kept[w.kept_count - 1];
            end_lease(handed, &w.random, w.releasers[0].foreign, true);
        }
    for (int i = 0; i < POOLS; i++)
        CHECK_EQ(aio_buffer_pool_destroy(gone[i]), 0);
    for (int i = 0; i < FLOWS; i++) {
        CHECK_EQ(w.streams[i].id, 0);
        close_flow(&w.streams[i].flow);
    }
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : scaled(60);
    harness_start("soak_buffers", 60 + (unsigned)rounds);
    w.random = test_seed();
    aio_ctx *other = make_ctx();
    aio_buffer_pool *foreign = make_pool_of(other, 4, 16);
    for (int i = 0; i < RELEASERS; i++) {
        w.releasers[i].random = random_next(&w.random);
        w.releasers[i].foreign = foreign;
        CHECK_EQ(pthread_create(&w.releasers[i].thread, NULL, release_handed, &w.releasers[i]), 0);
    }
    for (int round = 0; round < rounds; round++) {
        open_round();
        for (int i = 0; i < 2000; i++)
            act();
        close_round();
    }
    while (w.kept_count)
        end_lease(&w.kept[--w.kept_count], &w.random, foreign, true);
    int64_t elsewhere = 0;
    for (int i = 0; i < RELEASERS; i++) {
        __atomic_store_n(&w.releasers[i].over, true, __ATOMIC_RELEASE);
        CHECK_EQ(pthread_join(w.releasers[i].thread, NULL), 0);
        elsewhere += w.releasers[i].released;
    }
    CHECK_GT(elsewhere, 0);
    CHECK_GT(w.pauses, 0);
    CHECK_EQ(aio_buffer_pool_destroy(foreign), 0);
    end_ctx(other);
    printf("%d rounds: %" PRId64 " leases, %" PRId64 " released elsewhere, %" PRId64
           " pauses, %" PRId64 " cancels, %" PRId64 " buffers grown\n",
           rounds, w.leases, elsewhere, w.pauses, w.cancels, w.grown);
    return 0;
}
