/* The same random operations on two backends: each world has its own context, folder, sockets and
 * pipes, and every step is done to both. Results, flags, bytes, outputs, new descriptors, and at
 * times everything that is left in files, queues and folders, must be the same.
 *
 * What the contract leaves open must not be asked for. So each step begins with nothing in flight
 * but what surely waits: at most one operation waits for the same thing, what is submitted together
 * touches different things, and a step is over when what can end has ended on both sides.
 *
 *   soak_differ [operations [backend backend]]      uring and epoll */
#include "soak_differ.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/utsname.h>

enum { EPISODE = 2000, WAITING_MAX = 20 };

struct op ops[OPS];

static uint64_t random_state;
static int32_t chain_count;

uint64_t dice(uint64_t bound) { return random_below(&random_state, bound); }

/* --- submitting ------------------------------------------------------------------------------- */

static struct op *free_op(void) {
    for (int i = 0; i < OPS; i++)
        if (!ops[i].kind)
            return &ops[i];
    FAIL("more than %d operations in flight", OPS);
}

static void choose_flags(struct op *op, bool waits) {
    const bool can_wait = has(op, READS | WRITES | ACCEPTS | POLLS | CONNECTS);
    aio_submit_options *options = &op->options;
    /* On a worker only what is then seen to end: see note_sent. Not what raises
     * SIGPIPE. */
    const bool seen = !waits || (has(op, READS) && op->slot >= PIPES && op->slot < UDP_OPEN &&
                                 slots[op->slot].peer >= 0);
    const bool fits = op->len <= 4096 && !(has(op, ON_SOCKETS) && op->flags & MSG_WAITALL) &&
                      (!has(op, WRITES) || has(op, ON_SOCKETS) || slots[op->slot].is & IS_FILE);
    if (dice(8) == 0 && !has(op, TIMES | REPEATS) && (!can_wait || (!op->chain && seen && fits)))
        options->flags |= AIO_SUBMIT_ASYNC;
    if (dice(has(op, BRINGS) || op->control_len ? 4 : 150) == 0)
        options->flags |= AIO_SUBMIT_INHERIT;
    if (dice(has(op, WRITES) && has(op, ON_SOCKETS) ? 6 : 150) == 0)
        options->flags |= AIO_SUBMIT_SIGPIPE;
    if (op->chain)
        return;
    const bool waits_for_all = has(op, ON_SOCKETS) && op->flags & MSG_WAITALL;
    if (dice(12) == 0 && !waits && !waits_for_all && !op->control_len &&
        !has(op, BRINGS | REPEATS | TIMES))
        options->flags |= AIO_SUBMIT_QUIET;
    else if (dice(16) == 0 && !has(op, REPEATS | TIMES | SHUTS))
        options->flags |= AIO_SUBMIT_BARRIER;
}

static void choose_options(struct op *op) {
    const bool waits = would_wait(op, 0);
    aio_submit_options *options = &op->options;
    *options = (aio_submit_options){.size = sizeof *options};
    op->reaped = dice(8) == 0;
    if (dice(2)) {
        options->size = 0; /* none at all */
        return;
    }
    choose_flags(op, waits);
    if (!op->chain && dice(8) == 0)
        options->group = 1 + dice(2);
    if (op->chain || is_quiet(op) || dice(4))
        return;
    options->timeout_ns = surely_waits(op) && dice(3) ? MS / 10 + dice(MS) : 2 * HOUR;
    op->due = options->timeout_ns < HOUR;
    if (has(op, REPEATS) && !has(op, TIMES) && dice(2))
        options->flags |= AIO_SUBMIT_TIMEOUT_IDLE;
}

static void prepare_side(struct op *op, int w) {
    struct side *side = &op->side[w];
    unsigned char *const data = side->data;
    *side = (struct side){.op = op, .world = w, .data = data};
    const size_t len = op->len + 64 < DATA_BYTES ? op->len + 64 : DATA_BYTES;
    unsigned char *from = op->memory == HALF ? data + DATA_BYTES - len : data;
    if (has(op, FILLS))
        memset(from, 0xEE, len);
    else
        pattern_fill(from, len, (uint64_t)op->number);
    if (!has(op, FILLS) && op->slot >= EVENTS && op->slot < UNIX_LISTENER)
        memcpy(from, &(uint64_t){1}, sizeof(uint64_t)); /* which it takes when poll says so */
}

/* A chosen operation to both worlds. False if it was refused by both. */
static bool submit(struct op *op) {
    op->number = ++run.submitted;
    run.stirred |= op->claim.touches;
    describe(op);
    for (int w = 0; w < WORLDS; w++) {
        struct side *side = &op->side[w];
        prepare_side(op, w);
        run.world = w;
        if (has(op, PLAIN)) {
            const int64_t result = op->kind->act(op, side);
            tell(side, "%" PRId64, result);
            side->state = ENDED;
            op->result = (int32_t)result;
            continue;
        }
        side->state = LIVE;
        worlds[w].live++;
        side->id = op->kind->submit(op, side, op->reaped ? AIO_CALLBACK_REAP : on_op);
        if (side->id < 0) {
            tell(side, "refused, %" PRId64, side->id);
            side->state = ENDED;
            worlds[w].live--;
            op->result = -EINVAL;
        }
    }
    if (op->side[0].state != op->side[1].state)
        report(op, "refused in one world");
    return is_live(op);
}

static const struct family *const families[] = {&other_family, &file_family, &socket_family};

static const struct kind *some_kind(void) {
    int64_t total = 0;
    for (int f = 0; f < COUNT_OF(families); f++)
        for (int i = 0; i < families[f]->count; i++)
            total += families[f]->kinds[i].weight;
    int64_t at = (int64_t)dice((uint64_t)total);
    for (int f = 0; f < COUNT_OF(families); f++)
        for (int i = 0; i < families[f]->count; i++)
            if ((at -= families[f]->kinds[i].weight) < 0)
                return &families[f]->kinds[i];
    FAIL("no kind of operation has this weight");
}

static struct op *begin_op(const struct kind *kind, int32_t chain) {
    struct op *op = free_op();
    unsigned char *const data[] = {op->side[0].data, op->side[1].data};
    *op = (struct op){.kind = kind, .slot = -1, .other = -1, .place = -1, .chain = chain};
    op->side[0].data = data[0], op->side[1].data = data[1];
    return op;
}

/* Chooses one that is free to go; NULL after some tries. */
static struct op *choose(const struct claim *batch, bool plain, int32_t chain) {
    for (int tries = 0; tries < 12; tries++) {
        const struct kind *kind = some_kind();
        if (plain != !!(kind->traits & PLAIN) || (chain && kind->traits & (TIMES | REPEATS)))
            continue;
        struct op *op = begin_op(kind, chain);
        in_chain = chain;
        if (kind->choose(op) && !is_doubtful(op)) {
            make_claim(op);
            if (is_free(op, batch)) {
                if (!plain)
                    choose_options(op);
                return op;
            }
        }
        op->kind = NULL;
    }
    return NULL;
}

static void end_chain(int32_t chain) { submit(begin_op(&other_family.kinds[0], chain)); /* nop */ }

/* Members may use the same things: they come one after the other. An open one
 * fails. */
static void submit_chain(struct claim *batch, bool open) {
    const int32_t chain = ++chain_count;
    const int len = dice(20) ? 2 + (int)dice(4) : CHAIN_MAX;
    const uint32_t link = dice(3) ? AIO_SUBMIT_LINK : AIO_SUBMIT_HARDLINK;
    struct claim own = {0};
    for (int i = 0; i < len; i++) {
        struct op *op = choose(batch, false, chain);
        if (!op)
            continue;
        op->options.size = sizeof op->options;
        op->options.flags |= dice(4) ? link : AIO_SUBMIT_LINK;
        if (i == 0 && dice(16) == 0)
            op->options.flags |= AIO_SUBMIT_BARRIER;
        widen(&own, &op->claim);
        submit(op);
        op->due = open;
    }
    widen(batch, &own);
    if (!open)
        end_chain(chain);
}

static void submit_single(struct claim *batch) {
    struct op *op = choose(batch, false, 0);
    if (!op)
        return;
    widen(batch, &op->claim);
    if (submit(op) && has(op, CLOSES)) /* what waits on the number ends */
        for (int i = 0; i < OPS; i++)
            if (ops[i].kind && is_live(&ops[i]) && !is_held(op, 0) &&
                (ops[i].slot == op->slot || ops[i].other == op->slot))
                ops[i].due |= !has(&ops[i], SHUTS | CONNECTS) || ops[i].slot == op->slot;
}

/* --- cancelling ------------------------------------------------------------------------------- */

static bool is_hard(int32_t chain) {
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && ops[i].chain == chain && is_live(&ops[i]) &&
            ops[i].options.flags & AIO_SUBMIT_HARDLINK)
            return true;
    return false;
}

static void end_chain_of(struct op *op) {
    op->due = true;
    for (int i = 0; i < OPS && op->chain && !is_hard(op->chain); i++)
        if (ops[i].kind && ops[i].chain == op->chain && is_live(&ops[i]))
            ops[i].due = true;
}

static struct op *some_live(void) {
    struct op *found = NULL;
    int count = 0;
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && is_live(&ops[i]) && dice((uint64_t)++count) == 0)
            found = &ops[i];
    return found;
}

static void give_up(struct op *op, int32_t (*how)(aio_ctx *, aio_op_id)) {
    int32_t status[WORLDS];
    for (int w = 0; w < WORLDS; w++) {
        run.world = w;
        status[w] = how(worlds[w].ctx, op->side[w].id);
        if (status[w] == 0 && how != aio_ctx_cancel) {
            op->side[w].state = GIVEN_UP;
            worlds[w].live--;
        }
    }
    note("%s of %" PRId64 ": %d",
         how == aio_ctx_cancel   ? "cancel"
         : how == aio_ctx_detach ? "detach"
                                 : "cancel_wait",
         op->number, status[0]);
    if (status[0] != status[1])
        report(op, "the cancel calls have other results");
    if (how == aio_ctx_cancel)
        end_chain_of(op);
}

/* Whether a cancel by descriptor, or by group, means this one too. */
static bool is_meant(const struct op *op, const struct op *like, bool by_fd) {
    if (!op->kind || !is_live(op))
        return false;
    if (!by_fd)
        return op->options.group == like->options.group;
    if (has(op, CLOSES)) /* it ends the number, and is not on it */
        return false;
    return op->slot == like->slot || (has(op, SPLICES) && op->other == like->slot);
}

static void cancel_many(struct op *like, bool by_fd) {
    int32_t count[WORLDS];
    for (int i = 0; i < OPS; i++)
        if (is_meant(&ops[i], like, by_fd) && ops[i].chain && is_hard(ops[i].chain))
            return;
    for (int w = 0; w < WORLDS; w++) {
        run.world = w;
        count[w] = by_fd ? aio_ctx_cancel_fd(worlds[w].ctx, number_of(w, like->slot), 0)
                         : aio_ctx_cancel_group(worlds[w].ctx, like->options.group);
    }
    note("cancel by %s of %" PRId64 ": %d", by_fd ? "descriptor" : "group", like->number, count[0]);
    if (count[0] != count[1])
        report(like, by_fd ? "cancel_fd has other results" : "cancel_group has other results");
    if (count[0] == 0) /* those that have not begun were submitted with another number */
        return;
    for (int i = 0; i < OPS; i++)
        if (is_meant(&ops[i], like, by_fd))
            end_chain_of(&ops[i]);
}

static void cancel_something(void) {
    struct op *op = some_live();
    if (!op)
        return;
    run.stirred |= op->claim.touches;
    const uint64_t how = dice(10);
    if (op->chain && is_hard(op->chain) && is_held(op, 0))
        return;
    if (how < 5)
        give_up(op, aio_ctx_cancel);
    else if (how < 6 && !op->chain)
        give_up(op, aio_ctx_cancel_wait);
    else if (how < 7 && !op->chain && !has(op, CLOSES)) /* a close that is detached goes on */
        give_up(op, aio_ctx_detach);
    else if (how < 9 && is_open_slot(op->slot))
        cancel_many(op, true);
    else if (op->options.group)
        cancel_many(op, false);
    if (how < 5 && dice(4) == 0)
        give_up(op, aio_ctx_cancel); /* again */
}

/* --- steps ------------------------------------------------------------------------------------ */

/* What is in flight; `crowd` is touched by what has consequences. */
static int count_live(struct claim *crowd) {
    int count = 0;
    for (int i = 0; i < OPS; i++) {
        if (!ops[i].kind || !is_live(&ops[i]))
            continue;
        count++;
        if (has_consequences(&ops[i]))
            widen(crowd, &ops[i].claim);
    }
    return count;
}

/* One that touches what has consequences is alone. */
static void submit_several(const struct claim *crowd) {
    struct claim batch = {0};
    bool first_is_in = false;
    for (uint64_t i = 1 + dice(6); i > 0; i--) {
        const bool open = dice(100) == 0;
        if (!open && dice(7))
            submit_single(&batch);
        else
            submit_chain(&batch, open);
        if (open) /* the next one would be a member */
            return;
        if (!first_is_in && batch.touches & crowd->touches)
            return;
        batch.touches |= crowd->touches;
        first_is_in = true;
    }
}

static void do_step(void) {
    struct claim none = {0}, crowd = {0};
    const int live = count_live(&crowd);
    run.step++;
    run.stirred = 0;
    for (int i = 0; i < OPS; i++)
        run.stirred |= ops[i].kind ? ops[i].claim.touches : 0;
    if (dice(12) == 0 || live > WAITING_MAX) {
        cancel_something();
    } else if (dice(3) == 0) {
        struct op *op = choose(&none, true, 0);
        if (op)
            submit(op);
    } else {
        submit_several(&crowd);
    }
    settle();
}

static void compare_all(void) {
    const char *what = compare_worlds();
    if (what)
        report(NULL, what);
}

/* A hard link runs the next member when the one before was cancelled, unless that was, too: which
 * comes first in destroy is a race. */
static void end_hard_chains(void) {
    for (int i = 0; i < OPS; i++) {
        struct op *op = &ops[i];
        if (!op->kind || !is_live(op) || !op->chain || !is_hard(op->chain) || is_held(op, 0))
            continue;
        give_up(op, aio_ctx_cancel);
        settle();
        i = -1;
    }
}

/* Destroys both contexts with what is in flight. */
static void destroy_contexts(void) {
    struct claim none = {0};
    end_hard_chains();
    if (dice(2))
        submit_chain(&none, true);
    for (int w = 0; w < WORLDS; w++) {
        run.world = w;
        CHECK_EQ(aio_ctx_destroy(worlds[w].ctx), 0);
        for (int i = 0; i < OPS; i++) {
            struct op *op = &ops[i];
            if (op->kind && op->side[w].state == LIVE && !op->reaped && !is_quiet(op))
                report(op, "was not called back by destroy");
        }
    }
    for (int i = 0; i < OPS; i++) {
        struct op *op = &ops[i];
        if (op->kind)
            compare(op);
        op->kind = NULL;
    }
}

static void run_episode(int number, const uint32_t backends[WORLDS], int64_t operations) {
    const int descriptors = open_descriptors();
    begin_worlds(number);
    const uint32_t entries = dice(4) ? 0 : 8;
    for (int w = 0; w < WORLDS; w++) {
        worlds[w].ctx = make_ctx_with(CTX_WITH(.backend = backends[w], .sq_entries = entries));
        worlds[w].live = worlds[w].signals = 0;
    }
    const int64_t end = run.submitted + (operations < EPISODE ? operations : EPISODE);
    for (int i = 0; run.submitted < end; i++) {
        do_step();
        if (i % 200 == 0)
            compare_all();
    }
    compare_all();
    destroy_contexts();
    const char *what = drain_worlds();
    if (what)
        report(NULL, what);
    compare_all();
    end_worlds();
    CHECK_EQ(open_descriptors(), descriptors);
}

static uint32_t backend_named(const char *name) {
    if (strcmp(name, "uring") == 0)
        return AIO_BACKEND_URING;
    if (strcmp(name, "epoll") == 0)
        return AIO_BACKEND_EPOLL;
    FAIL("no backend is called %s", name);
}

/* What a ring answers in the corners that the contract leaves alone changes from kernel to kernel;
 * the kinds leave out what is odd on this one. */
static void needs_this_kernel(void) {
    struct utsname system;
    int major = 0, minor = 0;
    SYS(uname(&system));
    sscanf(system.release, "%d.%d", &major, &minor);
    if (major != 6 || minor != 18)
        SKIP("the answers of rings are known for Linux 6.18");
    if (under_valgrind())
        SKIP("valgrind takes the bad addresses for mistakes of the test");
}

static void needs_ring_here(void) {
    aio_ctx *ctx;
    if (aio_ctx_create(CTX_WITH(.backend = AIO_BACKEND_URING), &ctx) != 0)
        SKIP("no ring to compare with");
    end_ctx(ctx);
}

static void give_memory(void) {
    const size_t each = DATA_BYTES + GUARD_BYTES;
    unsigned char *all = mmap(NULL, each * OPS * WORLDS, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(all != MAP_FAILED);
    for (int i = 0; i < OPS * WORLDS; i++) {
        ops[i / WORLDS].side[i % WORLDS].data = all + each * (size_t)i;
        SYS(mprotect(all + each * (size_t)i + DATA_BYTES, GUARD_BYTES, PROT_NONE));
    }
}

int main(int argc, char **argv) {
    uint32_t backends[WORLDS] = {AIO_BACKEND_URING, AIO_BACKEND_EPOLL};
    harness_start("soak_differ", 24 * 3600);
    worlds[0].backend = "uring";
    worlds[1].backend = "epoll";
    for (int w = 0; w < WORLDS && argc > 3; w++) {
        worlds[w].backend = argv[2 + w];
        backends[w] = backend_named(argv[2 + w]);
    }
    needs_this_kernel();
    needs_ring_here();
    const int64_t operations = argc > 1 ? atoll(argv[1]) : scaled(6000);
    const struct sigaction action = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
    SYS(sigaction(SIGPIPE, &action, NULL));
    random_state = run.seed = test_seed();
    give_memory();
    temp_dir();
    for (int i = 0; run.submitted < operations; i++)
        run_episode(i, backends, operations - run.submitted);
    printf("%" PRId64 " operations in %" PRId64 " steps on %s and %s: the same; %" PRId64
           " succeeded\n",
           run.compared, run.step, worlds[0].backend, worlds[1].backend, run.ended_well);
    return 0;
}
