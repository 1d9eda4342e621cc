/* Small queues under operations that go on for long: both queues are walked over their ends in the
 * middle of turns, at every depth, in each form in which operations end. Each ends once, and
 * nothing is lost where the queues are full. */
#include "harness.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { SQ_ENTRIES = 8, CQ_ENTRIES = 16, DEPTH_MAX = 24 };
enum { POSTS = 200 }; /* a socket takes so many bytes one by one that nobody reads */

static aio_ctx *make_small(void) {
    return make_ctx_with(CTX_WITH(.sq_entries = SQ_ENTRIES, .cq_entries = CQ_ENTRIES));
}

/* Operations that follow each other, `depth` of them at a time. */
struct chains {
    aio_ctx *ctx;
    const aio_submit_options *options;
    int left, ended;
    int file, readable[2]; /* a file of one byte, and a pipe with one in it */
    char byte;
};

static struct chains open_chains(const aio_submit_options *options) {
    struct chains chains = {.ctx = make_small(), .options = options};
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

static void check_every_depth(const aio_submit_options *options) {
    struct chains chains = open_chains(options);
    for (int depth = 1; depth <= DEPTH_MAX; depth++) {
        const int count = depth + scaled(200);
        chains.left = count;
        chains.ended = 0;
        for (int i = 0; i < depth; i++)
            submit_next(&chains, on_end, &chains);
        CHECK_EQ(aio_ctx_run(chains.ctx), 0);
        CHECK_EQ(chains.ended, count);
        check_nothing_in_flight(chains.ctx);
    }
    close_chains(&chains);
}

TEST(callbacks_that_submit_go_over_the_ends) { check_every_depth(NULL); }

TEST(so_do_those_with_deadlines) {
    const aio_submit_options options = {.size = sizeof options, .timeout_ns = 60000 * MS};
    check_every_depth(&options);
}

TEST(so_do_records) {
    struct chains chains = open_chains(NULL);
    for (int depth = 1; depth <= DEPTH_MAX; depth++) {
        const int count = depth + scaled(200);
        chains.left = count;
        chains.ended = 0;
        for (int i = 0; i < depth; i++)
            submit_next(&chains, AIO_CALLBACK_REAP, &chains);
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
    struct beside beside = {.chains = open_chains(NULL)};
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

HARNESS_MAIN
