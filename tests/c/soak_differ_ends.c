/* How operations of soak_differ end: their results as text, who must end before a step is over, and
 * what is known of the worlds afterwards. */
#include "soak_differ.h"

#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>

enum { HISTORY = 40 };

/* The socket had more to read: a hint that newer kernels' rings give for nothing, and that a plain
 * call would cost a second call. */
#define HINTS AIO_CQE_SOCK_NONEMPTY

struct run run;

static bool signal_may_be_lost;
static int64_t deliveries;
static uint64_t taken; /* slots where something has read in this step */
static char history[HISTORY][1400];
static int history_count;

static void show(const struct op *op, const char *which) {
    printf("%s %" PRId64 ": %s\n", which, op->number, op->description);
    for (int w = 0; w < WORLDS; w++)
        printf("  %-6s %s%s\n", worlds[w].backend, op->side[w].text,
               op->side[w].state == LIVE ? " (in flight)" : "");
}

/* What led there, what is in flight or of this step, and what differs. */
_Noreturn void report(const struct op *op, const char *why) {
    for (int i = history_count < HISTORY ? 0 : history_count - HISTORY; i < history_count; i++)
        printf("%s\n", history[i % HISTORY]);
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && &ops[i] != op)
            show(&ops[i], "beside it");
    if (op)
        show(op, "operation");
    FAIL("step %" PRId64 ", AIO_TEST_SEED=%" PRIu64 ": %s", run.step, run.seed, why);
}

/* --- results ---------------------------------------------------------------------------------- */

void tell(struct side *side, const char *format, ...) {
    const size_t used = strlen(side->text);
    va_list args;
    va_start(args, format);
    vsnprintf(side->text + used, sizeof side->text - used, format, args);
    va_end(args);
}

static void tell_descriptor(struct side *side, int fd) {
    char text[400];
    const bool is_alone = has(side->op, NAMES_FILES) && !side->op->chain;
    print_descriptor(text, sizeof text, side->world, fd, is_alone, side->op->chain);
    tell(side, " %s", text);
}

static void tell_message(struct side *side, const struct op *op) {
    const struct msghdr *header = &side->header;
    char text[200] = "";
    if (op->name_len)
        print_address(text, sizeof text, side->world,
                      op->chain ? -1 : socket_type(number_of(side->world, op->slot)),
                      &side->address,
                      header->msg_namelen < op->name_len ? header->msg_namelen : op->name_len);
    tell(side, " from %s, name_len %u, control_len %zu, flags %#x", text, header->msg_namelen,
         header->msg_controllen, (unsigned)header->msg_flags);
    for (struct cmsghdr *part = op->control_len ? CMSG_FIRSTHDR(header) : NULL; part;
         part = CMSG_NXTHDR((struct msghdr *)header, part)) {
        tell(side, " [%d %d]", part->cmsg_level, part->cmsg_type);
        const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && part->cmsg_type == SCM_RIGHTS; i++) {
            const int fd = ((int *)CMSG_DATA(part))[i];
            tell_descriptor(side, fd);
            SYS(close(fd));
        }
    }
}

static void tell_attributes(struct side *side) {
    const struct statx *found = &side->attributes;
    tell(side, " statx: mask %#x, mode %o, size %llu, links %u, owner %u:%u, blksize %u",
         found->stx_mask, found->stx_mode, (unsigned long long)found->stx_size, found->stx_nlink,
         found->stx_uid, found->stx_gid, found->stx_blksize);
    tell(side, ", attributes %#llx of %#llx, device %u:%u, of %u:%u",
         (unsigned long long)found->stx_attributes, (unsigned long long)found->stx_attributes_mask,
         found->stx_rdev_major, found->stx_rdev_minor, found->stx_dev_major, found->stx_dev_minor);
}

/* A new descriptor goes to its slot, or is closed. */
static void take_descriptor(struct side *side, int fd) {
    struct op *op = side->op;
    struct stat st;
    const int on = 1;
    tell_descriptor(side, fd);
    SYS(fstat(fd, &st));
    const bool fits = !has(op, NAMES_FILES) || S_ISREG(st.st_mode);
    if (op->place < 0 || !fits || fcntl(fd, F_GETFL) & O_PATH) {
        SYS(close(fd));
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    slots[op->place].fd[side->world] = fd;
}

static void tell_result(struct side *side, int32_t result) {
    struct op *op = side->op;
    char text[200];
    if (has(op, BRINGS) && result >= 0) {
        tell(side, "descriptor");
        side->arrived += has(op, REPEATS);
        take_descriptor(side, result);
        if (op->name_len) {
            const socklen_t len =
                side->address_len < op->name_len ? side->address_len : op->name_len;
            print_address(text, sizeof text, side->world, op->chain ? -1 : SOCK_STREAM,
                          &side->address, len);
            tell(side, " from %s, %u", text, side->address_len);
        }
        return;
    }
    if (has(op, POLLS) && result > 0 && op->waited) {
        tell(side, "ready"); /* a ring tells what the wake-up was for, a call all that is there */
        return;
    }
    tell(side, "%d%s%s", result, result < 0 ? " " : "", result < 0 ? aio_error_name(result) : "");
    if (result >= 0 && strcmp(op->kind->name, "recvmsg") == 0)
        tell_message(side, op);
    if (result >= 0 && strcmp(op->kind->name, "statx") == 0)
        tell_attributes(side);
}

static void deliver(struct side *side, int32_t result, uint32_t flags, uint64_t bytes) {
    struct op *op = side->op;
    const bool more = flags & AIO_CQE_MORE;
    if (side->state != LIVE)
        report(op, "a callback after the last one");
    if (bytes != (result > 0 ? (uint64_t)result : 0))
        report(op, "other bytes than the result");
    side->calls++;
    if (!more) {
        side->state = ENDED;
        worlds[side->world].live--;
        if (side->world == 0)
            op->result = result;
    }
    if (more && has(op, TIMES | POLLS)) { /* how often is a matter of time */
        side->seen |= result;
        if (side->calls > 100000)
            report(op, "does not stop");
        return;
    }
    deliveries++;
    tell_result(side, result);
    if (flags & ~HINTS)
        tell(side, " flags %#x; ", flags & ~HINTS);
}

void on_op(void *user_data, int32_t result, uint32_t flags) {
    struct side *side = user_data;
    deliver(side, result, flags, aio_ctx_current_bytes(worlds[side->world].ctx));
}

static void turn(int w, int64_t timeout_ns) {
    aio_completion records[16];
    run.world = w;
    CHECK_GE(aio_ctx_run_once(worlds[w].ctx, timeout_ns), 0);
    int32_t count;
    do {
        count = aio_ctx_reap(worlds[w].ctx, records, sizeof records[0], 16, 0);
        CHECK_GE(count, 0);
        for (int i = 0; i < count; i++)
            deliver((struct side *)(uintptr_t)records[i].user_data, records[i].result,
                    records[i].flags, records[i].extra);
    } while (count == 16);
}

void on_sigpipe(int number) {
    (void)number;
    worlds[run.world].signals = 1;
}

/* --- what is in flight ------------------------------------------------------------------------ */

/* A member of a chain waits for those before it, a barrier for all one-shot
 * operations. */
bool is_held(const struct op *op, int w) {
    for (int i = 0; i < OPS; i++) {
        const struct op *before = &ops[i];
        if (!before->kind || before->side[w].state != LIVE || before->number >= op->number ||
            is_quiet(before))
            continue;
        if (op->chain && before->chain == op->chain)
            return true;
        if (op->options.flags & AIO_SUBMIT_BARRIER && !has(before, REPEATS))
            return true;
    }
    return false;
}

/* It may stay in flight until a later step. Once it can end it must, even if by
 * now a worker has taken what made it ready. */
static bool may_stay(struct op *op, int w) {
    if (is_quiet(op))
        return true; /* its end is seen in the number of those in flight */
    if (op->due)
        return false;
    if (is_held(op, w) || would_wait(op, w))
        return true;
    op->due = !has(op, REPEATS) && !(has(op, ON_SOCKETS) && op->flags & MSG_WAITALL);
    return false;
}

/* Something that must still happen, or NULL; and where. */
static const char *find_unsettled(struct op **which, int *lagging) {
    int live[WORLDS] = {0};
    *which = NULL;
    for (int i = 0; i < OPS; i++) {
        struct op *op = &ops[i];
        if (!op->kind || !is_live(op))
            continue;
        *which = op;
        for (*lagging = 0; *lagging < WORLDS; ++*lagging) {
            if (op->side[*lagging].state != LIVE)
                continue;
            live[*lagging] += !is_quiet(op);
            if (!may_stay(op, *lagging))
                return "does not end";
        }
        *lagging = op->side[0].state != LIVE;
        if (op->side[0].state != op->side[1].state && !is_quiet(op))
            return "has ended in one world";
        const bool polls = has(op, POLLS);
        if (polls ? op->side[0].seen != op->side[1].seen
                  : strcmp(op->side[0].text, op->side[1].text) != 0) {
            *lagging = polls ? (op->side[0].seen & ~op->side[1].seen) != 0
                             : strlen(op->side[0].text) > strlen(op->side[1].text);
            return "has results that differ";
        }
    }
    *which = NULL;
    for (*lagging = 0; *lagging < WORLDS; ++*lagging) {
        static char text[2200];
        if (aio_ctx_in_flight(worlds[*lagging].ctx) != live[*lagging]) {
            const int len = snprintf(text, sizeof text, "not %d in flight: ", live[*lagging]);
            aio_ctx_dump(worlds[*lagging].ctx, text + len, sizeof text - (size_t)len);
            return text;
        }
        const char *missing = find_missing(*lagging, run.stirred);
        if (missing)
            return missing;
    }
    return NULL;
}

static void run_until_settled(void) {
    const uint64_t limit = patience_end_ns();
    struct op *op = NULL;
    int lagging = 0;
    for (;;) {
        const int64_t before = deliveries;
        for (int w = 0; w < WORLDS; w++)
            turn(w, 0);
        if (deliveries != before)
            continue;
        const char *why = find_unsettled(&op, &lagging);
        if (!why)
            return;
        if (now_ns() > limit) {
            char text[2400];
            snprintf(text, sizeof text, "%s (%s)", why, worlds[lagging].backend);
            report(op, text);
        }
        turn(lagging, MS / 2);
    }
}

/* --- the end of operations -------------------------------------------------------------------- */

static void compare_memory(const struct op *op) {
    const unsigned char *memory[WORLDS];
    for (int w = 0; w < WORLDS; w++)
        memory[w] = memory_of(op, &op->side[w]);
    const size_t len = op->memory == GOOD ? op->len : op->memory == HALF ? op->len / 2 : 0;
    if (len && memcmp(memory[0], memory[1], len) != 0)
        report(op, "has brought other bytes");
    for (int w = 0; w < WORLDS && op->memory == GOOD && len < DATA_BYTES; w++)
        if (memory[w][len] != 0xEE)
            report(op, "wrote behind its buffer");
}

static bool takes_from(const struct op *op, int slot) {
    return has(op, READS | ACCEPTS) ? op->slot == slot : has(op, SPLICES) && op->other == slot;
}

/* What waits for something to read at this slot must get it. False if nothing waits, or has waited
 * until this step. */
static bool must_read(int slot) {
    bool found = taken & BIT(slot);
    for (int i = 0; i < OPS && !(taken & BIT(slot)); i++) {
        struct op *op = &ops[i];
        if (!op->kind || !is_live(op) || is_held(op, 0) || !takes_from(op, slot))
            continue;
        found = true;
        if (!has(op, REPEATS) && !(has(op, ON_SOCKETS) && op->flags & MSG_WAITALL))
            op->due = true;
    }
    return found;
}

static void must_connect(int listener) {
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && is_live(&ops[i]) && has(&ops[i], CONNECTS) && ops[i].other == listener &&
            !is_held(&ops[i], 0))
            ops[i].due = true;
}

static void note_sent(const struct op *op, int to) {
    const int type = socket_type(number_of(0, op->slot));
    short events = POLLIN;
    const int where = to >= 0 && type == SOCK_DGRAM ? to : shows_arrival(op->slot, &events);
    if (where < 0 || (op->result == 0 && type != SOCK_DGRAM && type != SOCK_SEQPACKET))
        return;
    if (where == op->slot && op->chain) /* the next member may have taken the error */
        return;
    if (!must_read(where) && is_inet(op->slot) && is_inet(where))
        slots[where].expected |= events;
}

static void note_connected(const struct op *op) {
    if (op->word == 2) { /* to no family */
        slots[op->slot].peer = -1;
        slots[op->slot].orphan = false;
        return;
    }
    was_connected(op->slot, op->other, op->count == SOCK_DGRAM);
    if (slots[op->other].pending > 0 && !must_read(op->other) && is_inet(op->other))
        slots[op->other].expected |= POLLIN;
}

/* The state of a stream socket after a failed connect is unspecified: connect(2). */
static void drop(int slot) {
    for (int w = 0; w < WORLDS; w++)
        SYS(close(slots[slot].fd[w]));
    forget_slot(slot);
}

/* What is known of the worlds afterwards. */
static void learn(struct op *op) {
    const int32_t result = op->result;
    /* A ring's worker, which runs the next member after one of its own, gets it. */
    signal_may_be_lost |= op->chain && has(op, WRITES) && result == -EPIPE;
    const bool asked_to_end = result == -ECANCELED || result == -ETIMEDOUT || result == -EINVAL;
    if (has(op, CLOSES) && is_open_slot(op->slot) && !asked_to_end && result != -EBADF) {
        if (slots[op->slot].ghost[0] < 0) /* else it still listens */
            must_connect(op->slot);
        forget_slot(op->slot);
    }
    if (has(op, SPLICES) ? result > 0 : has(op, WRITES) && result >= 0)
        note_sent(op, has(op, WRITES) ? op->other : -1);
    if (has(op, CONNECTS) && result == 0)
        note_connected(op);
    if (has(op, CONNECTS) && result == -ECONNREFUSED && is_inet(op->slot))
        drop(op->slot);
    if (has(op, ACCEPTS) && !has(op, REPEATS) && (result >= 0 || result == -EFAULT)) {
        was_accepted(op->slot, result >= 0 ? op->place : -1);
        must_connect(op->slot);
    }
    if (strcmp(op->kind->name, "listen") == 0 && result == 0) {
        slots[op->slot].backlog = op->count;
        must_connect(op->slot);
    }
    if (has(op, SHUTS) && (result == 0 || result == -ENOTCONN)) /* it is shut all the same */
        was_shut(op->slot, op->flags);
}

static void learn_accepted(struct op *op) {
    for (; op->side[0].arrived > 0; op->side[0].arrived--) {
        was_accepted(op->slot, -1);
        must_connect(op->slot);
    }
}

void note(const char *format, ...) {
    char *line = history[history_count++ % HISTORY];
    const int len = snprintf(line, sizeof history[0], "%" PRId64 ": ", run.step);
    va_list args;
    va_start(args, format);
    vsnprintf(line + len, sizeof history[0] - (size_t)len, format, args);
    va_end(args);
}

void compare(struct op *op) {
    if (strcmp(op->side[0].text, op->side[1].text) != 0)
        report(op, "other results");
    if (has(op, FILLS) && op->side[0].state != GIVEN_UP)
        compare_memory(op);
    run.compared++;
    run.ended_well += op->result >= 0;
}

static struct op *oldest_ended(unsigned traits) {
    struct op *oldest = NULL;
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && (!is_live(&ops[i]) || is_quiet(&ops[i])) && has(&ops[i], traits) &&
            (!oldest || ops[i].number < oldest->number))
            oldest = &ops[i];
    return oldest;
}

static void retire_one(struct op *op) {
    const bool given_up = op->side[0].state == GIVEN_UP;
    compare(op);
    if (op->side[0].state == LIVE) /* succeeded in silence: it has done something */
        op->result = has(op, WRITES) && total_len(op);
    learn_accepted(op);
    if (!given_up)
        learn(op);
    note("%" PRId64 " %s -> %s%s", op->number, op->description, op->side[0].text,
         given_up ? "given up" : "");
    op->kind = NULL;
    for (int w = 0; w < WORLDS; w++)
        worlds[w].live -= op->side[w].state == LIVE;
}

/* Compares what has ended. */
static void retire(void) {
    struct op *op;
    taken = 0;
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && ops[i].slot >= 0 && has(&ops[i], READS | ACCEPTS) &&
            (!is_live(&ops[i]) || is_quiet(&ops[i])))
            taken |= BIT(ops[i].slot);
    /* What is accepted was connected before, and what is closed was sent to. */
    while ((op = oldest_ended(CONNECTS)))
        retire_one(op);
    while ((op = oldest_ended(WRITES | SPLICES)))
        retire_one(op);
    while ((op = oldest_ended(~0u)))
        retire_one(op);
    for (int i = 0; i < OPS; i++) {
        if (!ops[i].kind)
            continue;
        learn_accepted(&ops[i]);
        ops[i].waited = true;
        ops[i].side[0].text[0] = ops[i].side[1].text[0] = 0;
    }
}

static bool is_anything_expected(void) {
    for (int i = 0; i < OPS; i++)
        if (ops[i].kind && ops[i].due)
            return true;
    for (int s = 0; s < SLOTS; s++)
        if (slots[s].expected)
            return true;
    return false;
}

void settle(void) {
    do {
        run_until_settled();
        for (int s = 0; s < SLOTS; s++)
            slots[s].expected = 0;
        retire();
    } while (is_anything_expected());
    if (worlds[0].signals != worlds[1].signals && !signal_may_be_lost)
        report(NULL,
               worlds[0].signals ? "SIGPIPE in the first world" : "SIGPIPE in the second world");
    worlds[0].signals = worlds[1].signals = 0;
    signal_may_be_lost = false;
}
