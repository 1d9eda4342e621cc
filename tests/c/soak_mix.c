/* Random calls of nearly everything in random order, from outside and from inside callbacks:
 * chains, barriers, deadlines, closes of numbers in use, detach, cancel_wait, destroy in the
 * middle. Each operation ends as the contract says, nothing is written into memory that was given
 * back, and no descriptor is left.
 *
 *   soak_mix [rounds]
 *
 * AIO_TEST_VERBOSE=1 prints a round's seed, and what is done and what comes of it. */
#include "harness.h"

#include <inttypes.h>
#include <poll.h>

enum { PAIRS = 12, OPS = 400, STEPS = 500, GIVEN_BACK = 0x7e };

#define LINKS (AIO_SUBMIT_LINK | AIO_SUBMIT_HARDLINK)

enum kind { NOP, TIMER, INTERVAL, RECV, POLL, MULTI, CLOSE, KINDS };

/* Nothing is submitted on a number once its close was: the number may be somebody else's before the
 * callback tells. A close in a chain does not wait for others, so there must be none. */
enum pair_state { OPEN, CLOSING, CLOSED };

struct op {
    aio_op_id id;
    enum kind kind;
    int pair, fd;
    unsigned char byte;
    int calls, finals;
    bool quiet, discarded; /* detached or waited for: no callback from then on */
};

struct world {
    aio_ctx *ctx;
    uint64_t random;
    struct op ops[OPS];
    int count;
    int fds[PAIRS][2];
    enum pair_state state[PAIRS];
    int depth; /* inside how many callbacks */
    int posted, ran;
    bool destroyed;
    bool maybe_chained; /* the newest submit asked for a successor */
};

static struct world w;
static bool verbose;

/* printf, when somebody looks into a failure. */
#define TRACE(...)                                                                                 \
    do {                                                                                           \
        if (verbose)                                                                               \
            printf(__VA_ARGS__);                                                                   \
    } while (0)

static const char *const names[KINDS] = {"nop",  "timer", "interval", "recv",
                                         "poll", "multi", "close"};

static uint64_t dice(uint64_t bound) { return random_below(&w.random, bound); }

static void step(void);

/* What an operation may end with; anything else is a code that must not reach the user. */
static void check_result(const struct op *op, int32_t result, uint32_t flags) {
    switch (result) {
    case -ETIMEDOUT:
        CHECK_EQ(flags & AIO_CQE_DEADLINE, AIO_CQE_DEADLINE);
        return;
    case -ECANCELED:
    case -EINVAL: /* a chain that was left open or too long */
        return;
    default:
        break;
    }
    switch (op->kind) {
    case NOP:
    case TIMER:
    case CLOSE:
        CHECK_EQ(result, 0);
        break;
    case INTERVAL:
        CHECK_GE(result, 1);
        CHECK_EQ(flags, AIO_CQE_MORE);
        break;
    case RECV:
        CHECK_EQ(result, 1);
        CHECK_EQ(op->byte, 'A' + op->pair); /* from this socket, not from the number's next owner */
        break;
    default:
        CHECK_EQ(result, POLLIN);
        break;
    }
}

static void on_op(void *user_data, int32_t result, uint32_t flags) {
    struct op *op = user_data;
    CHECK(!op->discarded);
    CHECK_EQ(op->finals, 0);
    CHECK_EQ(aio_ctx_current_op(w.ctx), op->id);
    TRACE("%*s%d %s of %d (fd %d): %d, flags %#x\n", w.depth, "", (int)(op - w.ops),
          names[op->kind], op->pair, op->fd, result, flags);
    check_result(op, result, flags);
    op->calls++;
    if (!(flags & AIO_CQE_MORE)) {
        op->finals++;
        op->byte = GIVEN_BACK;
        if (op->kind == CLOSE)
            w.state[op->pair] = result == 0 ? CLOSED : OPEN;
    }
    if (w.depth == 0 && !w.destroyed && dice(6) == 0) {
        w.depth++;
        step();
        w.depth--;
    }
}

static void on_post(void *arg) {
    (void)arg;
    w.ran++;
}

static bool is_used(int pair) {
    for (int i = 0; i < w.count; i++)
        if (w.ops[i].pair == pair && w.ops[i].kind >= RECV && !w.ops[i].finals &&
            !w.ops[i].discarded)
            return true;
    return false;
}

static void submit(void) {
    if (w.count == OPS)
        return;
    struct op *op = &w.ops[w.count];
    *op = (struct op){.pair = (int)dice(PAIRS), .kind = (enum kind)dice(KINDS)};
    if (op->kind == CLOSE && dice(4) != 0)
        op->kind = RECV;
    if (w.state[op->pair] != OPEN && op->kind >= RECV)
        op->kind = NOP;
    aio_submit_options o = {.size = sizeof o, .group = dice(4)};
    if (op->kind == CLOSE && (w.maybe_chained || dice(5) == 0)) {
        o.flags |= w.maybe_chained || dice(2) ? AIO_SUBMIT_LINK : AIO_SUBMIT_HARDLINK;
        if (is_used(op->pair))
            op->kind = NOP;
    }
    const bool timer = op->kind == TIMER || op->kind == INTERVAL;
    const bool multi = op->kind == INTERVAL || op->kind == MULTI;
    if (!timer && !multi && op->kind != CLOSE && dice(5) == 0)
        o.flags |= dice(3) ? AIO_SUBMIT_LINK : AIO_SUBMIT_HARDLINK;
    if (!timer && dice(12) == 0)
        o.flags |= AIO_SUBMIT_BARRIER;
    if (!timer && !multi && dice(25) == 0)
        o.flags |= AIO_SUBMIT_ASYNC;
    if (op->kind != CLOSE && dice(10) == 0)
        o.flags |= AIO_SUBMIT_QUIET;
    if (dice(6) == 0)
        o.timeout_ns = 1 + dice(MS);
    op->quiet = o.flags & AIO_SUBMIT_QUIET;
    const int fd = op->fd = w.fds[op->pair][0];
    aio_ctx *ctx = w.ctx;
    switch (op->kind) {
    case NOP:
        op->id = aio_submit_nop(ctx, &o, on_op, op);
        break;
    case TIMER:
        op->id = aio_submit_timer(ctx, dice(MS / 2), &o, on_op, op);
        break;
    case INTERVAL:
        op->id = aio_submit_interval(ctx, 1 + dice(MS), &o, on_op, op);
        break;
    case RECV:
        op->id = aio_submit_recv(ctx, fd, &op->byte, 1, 0, &o, on_op, op);
        break;
    case POLL:
        op->id = aio_submit_poll(ctx, fd, POLLIN, &o, on_op, op);
        break;
    case MULTI:
        op->id = aio_submit_poll_multishot(ctx, fd, POLLIN, &o, on_op, op);
        break;
    default:
        op->id = aio_submit_close(ctx, fd, &o, on_op, op);
        break;
    }
    TRACE("%*ssubmit %d %s of %d (fd %d), flags %#x, timeout %d: %s\n", w.depth, "", w.count,
          names[op->kind], op->pair, fd, o.flags, (int)o.timeout_ns, op->id > 0 ? "ok" : "refused");
    if (op->id == -EINVAL)
        return; /* timers, multishots and barriers have no place in an open chain */
    ID(op->id);
    const bool linked = o.flags & LINKS;
    if (op->kind == CLOSE)
        w.state[op->pair] = CLOSING;
    w.maybe_chained = linked;
    w.count++;
}

static struct op *any_op(void) { return w.count ? &w.ops[dice((uint64_t)w.count)] : NULL; }

static void cancel_something(void) {
    struct op *op = any_op();
    if (!op)
        return;
    const bool over = op->finals || op->discarded;
    const uint64_t how = dice(20);
    if (how < 12) {
        const int32_t status = aio_ctx_cancel(w.ctx, op->id);
        TRACE("%*scancel %d: %d\n", w.depth, "", (int)(op - w.ops), status);
        CHECK(status == 0 || status == -EALREADY || status == -ENOENT);
        CHECK(!over || status == -ENOENT); /* never somebody else's */
    } else if (how < 14) {
        TRACE("%*scancel_fd %d\n", w.depth, "", w.fds[op->pair][0]);
        CHECK_GE(aio_ctx_cancel_fd(w.ctx, w.fds[op->pair][0], 0), 0);
    } else if (how < 15) {
        CHECK_GE(aio_ctx_cancel_group(w.ctx, 1 + dice(3)), 0);
    } else if (how < 17 && op->kind != CLOSE && op->kind != RECV) {
        const int32_t status = aio_ctx_detach(w.ctx, op->id);
        TRACE("%*sdetach %d: %d\n", w.depth, "", (int)(op - w.ops), status);
        CHECK(status == 0 || status == -ENOENT);
        CHECK(!over || status == -ENOENT);
        op->discarded |= status == 0;
    } else if (op->kind != CLOSE) {
        TRACE("%*scancel_wait %d\n", w.depth, "", (int)(op - w.ops));
        const int32_t status = aio_ctx_cancel_wait(w.ctx, op->id);
        CHECK(status == 0 || status == -ENOENT);
        CHECK(!over || status == -ENOENT);
        if (status == 0) {
            op->discarded = true;
            op->byte = GIVEN_BACK; /* the memory is ours again at once */
        }
    }
}

static void feed_or_reopen(void) {
    const int pair = (int)dice(PAIRS);
    if (w.state[pair] == CLOSED) {
        SYS(close(w.fds[pair][1]));
        make_socket_pair(w.fds[pair]);
        w.state[pair] = OPEN;
        TRACE("%*sreopen %d as fd %d, peer %d\n", w.depth, "", pair, w.fds[pair][0],
              w.fds[pair][1]);
    } else if (send(w.fds[pair][1], &"ABCDEFGHIJKL"[pair], 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        CHECK(errno == EPIPE || errno == EAGAIN || errno == ECONNRESET);
    }
}

static void run_a_little(void) {
    if (w.depth)
        return; /* not inside a callback */
    const uint64_t how = dice(4);
    TRACE("%s\n", how ? "run_once" : "flush");
    if (how == 0)
        CHECK_GE(aio_ctx_flush(w.ctx), 0);
    else
        CHECK_GE(aio_ctx_run_once(w.ctx, how == 1 ? 50000 : 0), 0);
}

static void step(void) {
    const uint64_t pick = dice(100);
    if (pick < 45) {
        submit();
    } else if (pick < 60) {
        cancel_something();
    } else if (pick < 80) {
        feed_or_reopen();
    } else if (pick < 97) {
        run_a_little();
    } else {
        CHECK_EQ(aio_ctx_post(w.ctx, on_post, NULL), 0);
        w.posted++;
    }
}

static void destroy_from_post(void *arg) {
    (void)arg;
    w.destroyed = true;
    CHECK_EQ(aio_ctx_destroy(w.ctx), AIO_EPENDING);
}

/* The three ends: run out of work, destroy, destroy from inside. */
static void finish(void) {
    const uint64_t how = dice(3);
    if (how == 0) {
        CHECK_GE(aio_ctx_cancel_all(w.ctx), 0);
        w.depth = 1; /* callbacks only look from now on */
        /* Short turns: the last to end may be one that does so in silence. */
        const uint64_t end = patience_end_ns();
        while (aio_ctx_in_flight(w.ctx) > 0) {
            const uint64_t soon = now_ns() + 20 * MS;
            run_turn(w.ctx, soon < end ? soon : end, "everything to end", __FILE__, __LINE__);
        }
        CHECK_EQ(aio_ctx_run(w.ctx), 0);
        check_nothing_in_flight(w.ctx);
        end_ctx(w.ctx);
    } else if (how == 1) {
        w.destroyed = true;
        end_ctx(w.ctx);
    } else {
        CHECK_EQ(aio_ctx_post(w.ctx, destroy_from_post, NULL), 0);
        int32_t status = 0;
        for (const uint64_t end = patience_end_ns(); status >= 0 && now_ns() < end;)
            status = aio_ctx_run_once(w.ctx, 1000 * (int64_t)MS);
        CHECK_EQ(status, AIO_EDESTROYED);
    }
}

static uint64_t one_round(void) {
    const uint64_t seed = w.random;
    const int before = open_descriptors();
    memset(&w, 0, sizeof w);
    w.random = seed;
    for (int i = 0; i < PAIRS; i++)
        make_socket_pair(w.fds[i]);
    w.ctx = make_ctx_with(dice(2) ? CTX_WITH(.sq_entries = 8, .cq_entries = 16) : NULL);
    for (int i = 0; i < STEPS; i++)
        step();
    finish();
    CHECK_EQ(w.ran, w.posted);
    for (int i = 0; i < PAIRS; i++) { /* whatever comes now must reach nobody */
        (void)!send(w.fds[i][1], "lllll", 5, MSG_NOSIGNAL | MSG_DONTWAIT);
        SYS(close(w.fds[i][1]));
        if (w.state[i] != CLOSED)
            SYS(close(w.fds[i][0]));
    }
    for (int i = 0; i < w.count; i++) {
        const struct op *op = &w.ops[i];
        CHECK(op->finals == 1 || op->discarded || op->quiet);
        CHECK(op->finals == 0 || op->byte == GIVEN_BACK);
        if (op->discarded && op->kind == RECV)
            CHECK_EQ(op->byte, GIVEN_BACK);
    }
    CHECK_EQ(open_descriptors(), before);
    return (uint64_t)w.count;
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : scaled(200);
    harness_start("soak_mix", 60 + (unsigned)rounds / 5);
    uint64_t operations = 0, random = test_seed();
    verbose = getenv("AIO_TEST_VERBOSE") != NULL;
    for (int i = 0; i < rounds; i++) {
        w.random = random; /* a failed round is repeated by AIO_TEST_SEED and 1 round */
        const uint64_t seed = random;
        random_next(&random);
        TRACE("round %d: AIO_TEST_SEED=%" PRIu64 "\n", i, seed);
        operations += one_round();
    }
    printf("%d rounds, %" PRIu64 " operations: each ended once, no byte written late\n", rounds,
           operations);
    return 0;
}
