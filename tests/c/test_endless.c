/* A context that answers one message at a time, without end, so that its replies may be made inside
 * their submit: others have their turns all the same, and whatever a callback does before and after
 * a reply, each operation ends once. */
#include "harness.h"
#include <stdatomic.h>
#include <sys/eventfd.h>

#define LEN 5

/* --- who talks without end lets others have their turns -------------------------------------- */

struct endless {
    aio_ctx *ctx;
    int pair[2];
    char bytes[LEN];
    _Atomic uint64_t rounds;
    atomic_bool is_over;
    atomic_int posts;
};

static void on_endless_message(void *user_data, int32_t result, uint32_t flags);

static void on_endless_reply(void *user_data, int32_t result, uint32_t flags) {
    struct endless *e = user_data;
    char reply[LEN];
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    read_all_or_fail(e->pair[1], reply, LEN);
    atomic_fetch_add(&e->rounds, 1);
    if (atomic_load(&e->is_over))
        return;
    write_all_or_fail(e->pair[1], "hello", LEN);
    ID(aio_submit_recv(e->ctx, e->pair[0], e->bytes, LEN, 0, NULL, on_endless_message, e));
}

static void on_endless_message(void *user_data, int32_t result, uint32_t flags) {
    struct endless *e = user_data;
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    ID(aio_submit_send(e->ctx, e->pair[0], e->bytes, LEN, 0, NULL, on_endless_reply, e));
}

static void start_endless(struct endless *e) {
    e->ctx = make_ctx();
    make_socket_pair(e->pair);
    write_all_or_fail(e->pair[1], "hello", LEN);
    ID(aio_submit_recv(e->ctx, e->pair[0], e->bytes, LEN, 0, NULL, on_endless_message, e));
}

static void end_endless(struct endless *e) {
    atomic_store(&e->is_over, true);
    CHECK_EQ(aio_ctx_run(e->ctx), 0);
    check_nothing_in_flight(e->ctx);
    end_ctx(e->ctx);
}

static void stop_inside(struct call *call) { CHECK_EQ(aio_ctx_stop(call->arg), 0); }

TEST(timers_and_deadlines_come_beside_endless_replies) {
    struct endless e = {0};
    int idle[2];
    start_endless(&e);
    make_socket_pair(idle);
    for (int i = 0; i < 3; i++) {
        struct call timer = {0}, recv = {.then = stop_inside, .arg = e.ctx};
        char byte;
        const uint64_t from_ns = now_ns();
        ID(aio_submit_timer(e.ctx, 10 * MS, NULL, on_call, &timer));
        ID(aio_submit_recv(e.ctx, idle[0], &byte, 1, 0, WITH(.timeout_ns = 20 * MS), on_call,
                           &recv));
        CHECK_EQ(aio_ctx_run(e.ctx), 0);
        CHECK_EQ(timer.calls, 1);
        CHECK_EQ(timer.result, 0);
        CHECK_EQ(recv.calls, 1);
        CHECK_EQ(recv.result, -ETIMEDOUT);
        CHECK_GE(now_ns() - from_ns, 20 * MS);
        CHECK_LT(now_ns() - from_ns, 5000 * MS * test_slow());
    }
    end_endless(&e);
}

static void count_post(void *arg) { atomic_fetch_add(&((struct endless *)arg)->posts, 1); }

/* Posts, looks at the counters, and stops in the end; each is answered while the context talks. */
static void *disturb(void *arg) {
    struct endless *e = arg;
    uint64_t callbacks = 0;
    for (int i = 0; i < 20; i++) {
        const int posts = atomic_load(&e->posts);
        const uint64_t end_ns = patience_end_ns();
        CHECK_EQ(aio_ctx_post(e->ctx, count_post, e), 0);
        while (atomic_load(&e->posts) == posts) {
            CHECK_LT(now_ns(), end_ns);
            sleep_ms(1);
        }
        const aio_stats stats = stats_of(e->ctx);
        CHECK_GE(stats.callbacks, callbacks);
        CHECK_LE(stats.completed, stats.submitted);
        callbacks = stats.callbacks;
    }
    CHECK_EQ(aio_ctx_stop(e->ctx), 0);
    return NULL;
}

TEST(posts_and_stops_come_beside_endless_replies) {
    struct endless e = {0};
    pthread_t thread;
    start_endless(&e);
    CHECK_EQ(pthread_create(&thread, NULL, disturb, &e), 0);
    CHECK_EQ(aio_ctx_run(e.ctx), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&e.posts), 20);
    end_endless(&e);
}

/* --- anything at all after a reply ----------------------------------------------------------- */

enum { DEEDS_MAX = 4096 };

struct deeds {
    aio_ctx *ctx;
    int pair[2];
    char bytes[LEN];
    int round, replies;
    bool is_inside;
    aio_op_id id; /* of the reply */
    uint64_t random;
    int count, given_up, posted;
    struct call calls[DEEDS_MAX];
    aio_op_id ids[DEEDS_MAX];
    bool gone[DEEDS_MAX]; /* waited for: its callback must not come */
    int event, silent[2], extra;
    char byte;
};

static void on_posted(void *arg) { ((struct deeds *)arg)->posted--; }

static void on_dice_trace(void *arg, aio_ctx *ctx, const aio_trace_event *event) {
    (void)arg, (void)ctx, (void)event;
}

/* One thing that a callback may do. */
static void do_something(struct deeds *d) {
    aio_ctx *ctx = d->ctx;
    struct call *call = &d->calls[d->count];
    const int other = d->count ? (int)random_below(&d->random, (uint64_t)d->count) : 0;
    aio_op_id id = 0;
    switch (random_below(&d->random, 19)) {
    case 0:
        id = aio_submit_timer(ctx, 0, NULL, on_call, call);
        break;
    case 1:
        id = aio_submit_timer(ctx, MS / 4, NULL, on_call, call);
        break;
    case 2:
        id = aio_submit_nop(ctx, NULL, on_call, call);
        break;
    case 3:
        id = aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, call);
        break;
    case 4:
        id = aio_submit_nop(ctx, WITH(.timeout_ns = HOUR), on_call, call);
        break;
    case 5:
        id = aio_submit_recv(ctx, d->silent[0], &d->byte, 1, 0, WITH(.timeout_ns = MS / 2), on_call,
                             call);
        break;
    case 6:
        id = aio_submit_close(ctx, dup(d->event), NULL, on_call, call);
        break;
    case 7:
        if (d->extra >= 0)
            id = aio_submit_send(ctx, d->extra, "", 0, 0, NULL, on_call, call);
        break;
    case 8:
        if (d->extra >= 0)
            id = aio_submit_close(ctx, d->extra, NULL, on_call, call);
        d->extra = -1;
        break;
    case 9:
        if (d->extra < 0)
            d->extra = dup(d->pair[0]);
        break;
    case 10:
        d->posted += aio_ctx_post(ctx, on_posted, d) == 0;
        break;
    case 11:
        (void)aio_ctx_cancel(ctx, d->ids[other]);
        break;
    case 12:
        if (aio_ctx_cancel_wait(ctx, d->ids[other]) == 0) {
            d->gone[other] = true;
            d->given_up++;
        }
        break;
    case 13:
        CHECK_GE(aio_ctx_flush(ctx), 0);
        break;
    case 14:
        CHECK_EQ(aio_ctx_run(ctx), AIO_EREENTRANT);
        break;
    case 15:
        CHECK_EQ(aio_ctx_stop(ctx), 0);
        break;
    case 16:
        (void)aio_ctx_set_trace(ctx, random_below(&d->random, 2) ? on_dice_trace : NULL, NULL);
        break;
    case 17:
        CHECK_GT(aio_ctx_dump(ctx, NULL, 0), 0);
        break;
    default:
        (void)stats_of(ctx);
        break;
    }
    if (id != 0)
        d->ids[d->count++] = ID(id);
}

static void on_random_message(void *user_data, int32_t result, uint32_t flags);

static void on_random_reply(void *user_data, int32_t result, uint32_t flags) {
    struct deeds *d = user_data;
    CHECK(!d->is_inside);
    CHECK(result == LEN || result == -ECANCELED);
    CHECK_EQ(flags, 0);
    CHECK_EQ(aio_ctx_current_op(d->ctx), d->id);
    CHECK_EQ(++d->replies, d->round);
    for (uint64_t i = random_below(&d->random, 8); i < 2; i++)
        do_something(d);
    d->id = 0;
}

static void on_random_message(void *user_data, int32_t result, uint32_t flags) {
    struct deeds *d = user_data;
    CHECK_EQ(result, LEN);
    CHECK_EQ(flags, 0);
    d->is_inside = true;
    d->round++;
    for (uint64_t i = random_below(&d->random, 16); i < 1; i++)
        do_something(d);
    d->id = ID(aio_submit_send(d->ctx, d->pair[0], d->bytes, LEN, 0, NULL, on_random_reply, d));
    for (uint64_t i = random_below(&d->random, 8); i < 3; i++)
        do_something(d);
    d->is_inside = false;
}

TEST(whatever_follows_a_reply_each_operation_ends_once) {
    const int rounds = scaled(3000);
    static struct deeds deeds;
    struct deeds *d = &deeds;
    *d = (struct deeds){.random = test_seed(), .extra = -1};
    d->ctx = make_ctx();
    make_socket_pair(d->pair);
    make_socket_pair(d->silent);
    d->event = SYS(eventfd(0, EFD_CLOEXEC));
    for (int i = 0; i < rounds && d->count < DEEDS_MAX - 8; i++) {
        char reply[LEN];
        write_all_or_fail(d->pair[1], "hello", LEN);
        ID(aio_submit_recv(d->ctx, d->pair[0], d->bytes, LEN, 0, NULL, on_random_message, d));
        while (d->replies <= i) {
            if (random_below(&d->random, 4) == 0)
                CHECK_GE(aio_ctx_run_once(d->ctx, (int64_t)random_below(&d->random, 2)), 0);
            else
                CHECK_EQ(aio_ctx_run(d->ctx), 0);
        }
        while (recv(d->pair[1], reply, LEN, MSG_DONTWAIT) > 0)
            continue;
    }
    CHECK_EQ(aio_ctx_set_trace(d->ctx, NULL, NULL), 0);
    RUN_UNTIL(d->ctx, aio_ctx_in_flight(d->ctx) == 0 && d->posted == 0);
    for (int i = 0; i < d->count; i++)
        CHECK_EQ(d->calls[i].calls, !d->gone[i]);
    const aio_stats stats = stats_of(d->ctx);
    CHECK_EQ(stats.submitted, d->round * 2 + d->count);
    CHECK_EQ(stats.completed, stats.submitted);
    CHECK_EQ(stats.callbacks, stats.completed + stats.posts - d->given_up);
    end_ctx(d->ctx);
}

HARNESS_MAIN
