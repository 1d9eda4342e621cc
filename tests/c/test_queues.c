/* Small queues under operations that go on for long: both queues are walked over their ends in the
 * middle of turns, at every depth, in each form in which operations end. Each ends once, and
 * nothing is lost where the queues are full. */
#include "harness.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { SQ_ENTRIES = 8, CQ_ENTRIES = 16, DEPTH_MAX = 24 };
enum { POSTS = 200 }; /* a socket takes so many bytes one by one that nobody reads */

/* NULL: no such entries here. */
static aio_ctx *make_small(uint32_t flags) {
    const aio_ctx_options options = {
        .size = sizeof options, .flags = flags, .sq_entries = SQ_ENTRIES, .cq_entries = CQ_ENTRIES};
    aio_ctx *ctx = NULL;
    const int32_t status = aio_ctx_create(&options, &ctx);
    if (status == -EOPNOTSUPP && flags != 0)
        return NULL;
    CHECK_EQ(status, 0);
    return ctx;
}

/* Operations that follow each other, `depth` of them at a time. */
struct chains {
    aio_ctx *ctx;
    const aio_submit_options *options;
    int left, ended;
    int file, readable[2]; /* a file of one byte, and a pipe with one in it */
    char byte;
};

static struct chains open_chains(aio_ctx *ctx, const aio_submit_options *options) {
    struct chains chains = {.ctx = ctx, .options = options};
    chains.file = temp_file("queues", "x", 1);
    CHECK_EQ(pipe2(chains.readable, O_CLOEXEC), 0);
    write_all_or_fail(chains.readable[1], "x", 1);
    return chains;
}

static void close_chains(const struct chains *chains) {
    close(chains->file);
    close(chains->readable[0]);
    close(chains->readable[1]);
    end_ctx(chains->ctx);
}

/* Of three kinds, so that some are on descriptors and some are not. */
static void submit_next(struct chains *chains, aio_callback callback, void *user_data) {
    const int kind = chains->left-- % 3;
    if (kind == 0)
        ID(aio_submit_nop(chains->ctx, chains->options, callback, user_data));
    else if (kind == 1)
        ID(aio_submit_read(chains->ctx, chains->file, &chains->byte, 1, 0, chains->options,
                           callback, user_data));
    else
        ID(aio_submit_poll(chains->ctx, chains->readable[0], POLLIN, chains->options, callback,
                           user_data));
}

static void on_end(void *user_data, int32_t result, uint32_t flags) {
    struct chains *chains = user_data;
    CHECK_GE(result, 0);
    CHECK_EQ(flags & AIO_CQE_MORE, 0);
    chains->ended++;
    if (chains->left)
        submit_next(chains, on_end, chains);
}

/* The first ones; how many there will be. */
static int begin(struct chains *chains, int depth, aio_callback callback) {
    const int count = depth + scaled(200);
    chains->left = count;
    chains->ended = 0;
    for (int i = 0; i < depth; i++)
        submit_next(chains, callback, chains);
    return count;
}

static void check_every_depth(aio_ctx *ctx, const aio_submit_options *options) {
    struct chains chains = open_chains(ctx, options);
    for (int depth = 1; depth <= DEPTH_MAX; depth++) {
        const int count = begin(&chains, depth, on_end);
        CHECK_EQ(aio_ctx_run(chains.ctx), 0);
        CHECK_EQ(chains.ended, count);
        check_nothing_in_flight(chains.ctx);
    }
    close_chains(&chains);
}

TEST(callbacks_that_submit_go_over_the_ends) { check_every_depth(make_small(0), NULL); }

TEST(so_they_do_where_entries_are_wider) {
    const uint32_t wide[] = {AIO_CTX_SQE128, AIO_CTX_CQE32, AIO_CTX_SQE128 | AIO_CTX_CQE32};
    for (int i = 0; i < COUNT_OF(wide); i++) {
        aio_ctx *ctx = make_small(wide[i]);
        if (ctx)
            check_every_depth(ctx, NULL);
    }
}

TEST(so_do_those_with_deadlines) {
    const aio_submit_options options = {.size = sizeof options, .timeout_ns = 60000 * MS};
    check_every_depth(make_small(0), &options);
}

TEST(so_do_records) {
    struct chains chains = open_chains(make_small(0), NULL);
    for (int depth = 1; depth <= DEPTH_MAX; depth++) {
        const int count = begin(&chains, depth, AIO_CALLBACK_REAP);
        while (chains.ended < count) {
            aio_completion records[5];
            const int taken = aio_ctx_reap(chains.ctx, records, sizeof records[0], 5, -1);
            CHECK_GT(taken, 0);
            for (int i = 0; i < taken; i++) {
                CHECK_GE(records[i].result, 0);
                CHECK_EQ(records[i].user_data, (uint64_t)(uintptr_t)&chains);
                chains.ended++;
                if (chains.left)
                    submit_next(&chains, AIO_CALLBACK_REAP, &chains);
            }
        }
        check_nothing_in_flight(chains.ctx);
    }
    close_chains(&chains);
}

/* A multishot's results, another thread's posts, and what follows them. */
struct beside {
    struct chains chains;
    int pair[2];
    int polled, posted; /* bytes, functions */
    aio_op_id poll;
};

static void on_readable(void *user_data, int32_t result, uint32_t flags) {
    struct beside *beside = user_data;
    char bytes[64];
    ssize_t len;
    if (!(flags & AIO_CQE_MORE)) {
        CHECK_EQ(result, -ECANCELED);
        return;
    }
    CHECK_EQ(result & POLLIN, POLLIN);
    /* One event may tell of several. */
    while ((len = recv(beside->pair[0], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        beside->polled += (int)len;
}

static void on_posted(void *arg) {
    struct beside *beside = arg;
    beside->posted++;
    write_all_or_fail(beside->pair[1], "x", 1);
}

static void *post_all(void *arg) {
    struct beside *beside = arg;
    for (int i = 0; i < scaled(POSTS); i++)
        CHECK_EQ(aio_ctx_post(beside->chains.ctx, on_posted, beside), 0);
    return NULL;
}

TEST(what_comes_beside_them_does_too) {
    struct beside beside = {.chains = open_chains(make_small(0), NULL)};
    aio_ctx *ctx = beside.chains.ctx;
    pthread_t thread;
    make_socket_pair(beside.pair);
    beside.poll =
        ID(aio_submit_poll_multishot(ctx, beside.pair[0], POLLIN, NULL, on_readable, &beside));
    beside.chains.left = scaled(3000);
    for (int i = 0; i < 5; i++)
        submit_next(&beside.chains, on_end, &beside.chains);
    CHECK_EQ(pthread_create(&thread, NULL, post_all, &beside), 0);
    RUN_UNTIL(ctx, beside.chains.left == 0 && beside.posted == scaled(POSTS) &&
                       beside.polled == scaled(POSTS));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_cancel(ctx, beside.poll), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    CHECK_EQ(beside.chains.ended, scaled(3000));
    check_nothing_in_flight(ctx);
    close(beside.pair[0]);
    close(beside.pair[1]);
    close_chains(&beside.chains);
}

/* A batch of four callbacks, of which one replies. */
struct batch {
    aio_ctx *ctx;
    int pair[2];
    int called, replies; /* callbacks; and the one that replies, from 0 */
    int at_once, too_early;
};

static bool peer_has_one(const struct batch *batch) {
    char byte;
    return recv(batch->pair[1], &byte, 1, MSG_DONTWAIT) == 1;
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    (void)flags;
    CHECK_EQ(result, 1);
}

static void reply(struct batch *batch) {
    ID(aio_submit_send(batch->ctx, batch->pair[0], "x", 1, 0, NULL, on_sent, batch));
}

static void on_lone(void *user_data, int32_t result, uint32_t flags) {
    (void)result;
    (void)flags;
    reply(user_data);
}

static void on_one_of_four(void *user_data, int32_t result, uint32_t flags) {
    struct batch *batch = user_data;
    const int number = batch->called++;
    CHECK_EQ(result, 0);
    CHECK_EQ(flags, 0);
    if (number != batch->replies)
        return;
    while (peer_has_one(batch)) {
    }
    reply(batch);
    if (peer_has_one(batch)) {
        batch->at_once += number == 3;
        batch->too_early += number != 3;
    }
}

/* Also where the batch lies on both sides of the end: test_prompt.c has the rest. */
TEST(only_the_last_of_a_batch_is_answered_at_once) {
    struct batch batch = {.ctx = make_small(0)};
    make_socket_pair(batch.pair);
    for (int round = 0; round < scaled(400); round++) {
        batch.replies = round % 4;
        batch.called = 0;
        ID(aio_submit_nop(batch.ctx, NULL, on_lone, &batch));
        CHECK_GE(aio_ctx_run_once(batch.ctx, 20000 * (int64_t)MS), 1);
        for (int i = 0; i < 4; i++)
            ID(aio_submit_nop(batch.ctx, NULL, on_one_of_four, &batch));
        CHECK_GE(aio_ctx_run_once(batch.ctx, 20000 * (int64_t)MS), 1);
        CHECK_EQ(aio_ctx_run(batch.ctx), 0);
        CHECK_EQ(batch.called, 4);
        while (peer_has_one(&batch)) {
        }
        for (int i = 0; i < round % 3; i++) { /* so that the ends are met everywhere */
            struct call call = {0};
            CHECK_EQ(DO(batch.ctx, call, aio_submit_nop(batch.ctx, NULL, on_call, &call)), 0);
        }
    }
    CHECK_EQ(batch.too_early, 0);
    if (has_ring(batch.ctx))
        CHECK_GT(batch.at_once, 0);
    close(batch.pair[0]);
    close(batch.pair[1]);
    end_ctx(batch.ctx);
}

HARNESS_MAIN
