/* What an operation of soak_differ uses, and whether it may be added to what is in flight: what the
 * contract leaves open must not be asked for. */
#include "soak_differ.h"

static uint64_t bits_around(int slot) {
    uint64_t bits = slot >= 0 ? BIT(slot) : 0;
    if (slot >= 0 && slots[slot].peer >= 0)
        bits |= BIT(slots[slot].peer);
    for (int i = 0; slot >= 0 && i < slots[slot].pending; i++)
        if (slots[slot].clients[i] >= 0)
            bits |= BIT(slots[slot].clients[i]);
    for (int i = 0; slot >= 0 && i < OPS; i++) /* and who waits to connect to it */
        if (ops[i].kind && is_live(&ops[i]) && has(&ops[i], CONNECTS) && ops[i].other == slot)
            bits |= BIT(ops[i].slot);
    return bits;
}

static uint64_t bits_of(int first, int end) { return BIT(end) - BIT(first); }

/* Files are told apart by their inodes, numbered as they are met: the same in each run. */
static uint64_t file_bit(int slot) {
    static ino_t met[256];
    static int count;
    struct stat st;
    if (!(slots[slot].is & IS_FILE) || fstat(number_of(0, slot), &st) != 0)
        return 0;
    for (int i = 0; i < count; i++)
        if (met[i] == st.st_ino)
            return 1ull << i % 61;
    if (count == COUNT_OF(met))
        count = 0;
    met[count++] = st.st_ino;
    return 1ull << (count - 1) % 61;
}

void make_claim(struct op *op) {
    struct claim *claim = &op->claim;
    const uint64_t own = op->slot >= 0 ? BIT(op->slot) : 0;
    uint64_t whole = op->place >= 0 ? BIT(op->place) : 0;
    *claim = (struct claim){0};
    claim->touches = bits_around(op->slot) | bits_around(op->other) | whole;
    if (op->slot == DGRAM_OPEN) /* what is taken out there makes room where it came from */
        claim->touches |= bits_of(DGRAMS, SEQUENCES) | bits_of(FRESH, ARRIVED);
    for (int i = 0; i < op->passed; i++)
        claim->touches |= BIT(op->pass[i]);
    if (has(op, READS | ACCEPTS | CONNECTS))
        claim->reads |= own;
    if (has(op, WRITES | CONNECTS | SPLICES))
        claim->writes |= own;
    if (has(op, SPLICES))
        claim->reads |= BIT(op->other);
    if (has(op, CONNECTS))
        claim->writes |= BIT(op->other);
    if (has(op, POLLS))
        claim->looks |= own;
    if (has(op, ALTERS | CLOSES | RENEWS))
        whole |= own;
    if (has(op, RENEWS) && op->slot >= PIPES && op->slot < UDP_OPEN)
        whole |= BIT(op->slot ^ 1), claim->touches |= bits_around(op->slot ^ 1);
    const unsigned is = op->slot >= 0 ? slots[op->slot].is : 0;
    const unsigned from = has(op, SPLICES) ? slots[op->other].is : has(op, READS) ? is : 0;
    claim->drains = from & (IS_PIPE | IS_STREAM | IS_DGRAM | IS_ARRIVED | IS_FRESH);
    claim->changes = has(op, NAMES_FILES) || (is & IS_FILE && has(op, WRITES | SPLICES | ALTERS));
    claim->reads |= whole;
    claim->writes |= whole;
    claim->looks |= whole;
    if (has(op, NAMES_FILES) || (has(op, RENEWS) && op->slot < PIPES))
        claim->files = ~0ull;
    else if (op->slot >= 0)
        claim->files = file_bit(op->slot) | (op->other >= 0 ? file_bit(op->other) : 0);
}

/* What was spliced from a file is the file's pages until it is read: a race with what changes
 * them. */
static bool is_pages_race(const struct claim *a, const struct claim *b) {
    return (a->changes && b->drains) || (a->drains && b->changes);
}

static bool collides(const struct claim *a, const struct claim *b) {
    return (a->reads & (b->reads | b->looks)) || (a->writes & (b->writes | b->looks)) ||
           (a->looks & (b->reads | b->writes)) || (a->files & b->files);
}

/* A close may end what waits on its number, unless that has consequences of its
 * own. */
static bool ends_others(const struct op *op, const struct op *other) {
    return has(op, CLOSES) && !has(op, PLAIN) && !other->chain && !op->chain &&
           !has(other, CLOSES | SPLICES) && !((op->claim.files & other->claim.files)) &&
           !(other->options.flags & AIO_SUBMIT_BARRIER);
}

/* Its end can bring about another's start. */
bool has_consequences(const struct op *op) {
    return op->chain || has(op, SPLICES) || op->options.flags & AIO_SUBMIT_BARRIER;
}

/* A write that waits where the peer sends no more does so on a worker of the ring's: at a
 * descriptor with O_NONBLOCK it may end with -EAGAIN there, and a cancel may find room that poll(2)
 * does not tell of. */
bool is_doubtful(const struct op *op) {
    const int fd = number_of(0, op->slot);
    const bool may_wait = !(has(op, ON_SOCKETS) && op->flags & MSG_DONTWAIT);
    const bool writes = (has(op, WRITES) && may_wait) || (has(op, POLLS) && op->word & POLLOUT);
    /* When there is room again in a queue of many, a ring tries, or tells who polls, and epoll
     * tells of it if the socket itself has plenty. */
    if (writes && slots[op->slot].peer == DGRAM_OPEN && !is_inet(op->slot) &&
        (op->chain || op->options.flags & AIO_SUBMIT_BARRIER || would_wait(op, 0)))
        return true;
    return has(op, WRITES) && would_wait(op, 0) &&
           (fcntl(fd, F_GETFL) & O_NONBLOCK || is_ready(fd, POLLRDHUP));
}

static bool makes_doubtful(const struct op *op, const struct op *writer) {
    return has(op, SHUTS) && op->flags == SHUT_WR && has(writer, WRITES) &&
           slots[op->slot].peer == writer->slot;
}

/* A writer that waits is told of its own shutdown by nobody but the engine that does it, and of its
 * peer's, for reading, by nobody: neither epoll nor poll(2) shows it (but of a stream's, for both).
 * At its own, for reading, a ring tries it again, and there may be room that neither shows. */
static bool shuts_unseen(const struct op *op, int writer) {
    const bool datagrams = socket_type(number_of(0, op->slot)) == SOCK_DGRAM;
    return (op->slot == writer && (has(op, PLAIN) || op->flags == SHUT_RD)) ||
           (slots[writer].peer == op->slot && (op->flags == SHUT_RD || datagrams));
}

/* Whether the one shuts down what the other may wait for then, without being told. */
static bool is_shut_under(const struct op *shut, const struct op *waiting) {
    if (!has(shut, SHUTS))
        return false;
    return makes_doubtful(shut, waiting) ||
           (has(waiting, WRITES) && shuts_unseen(shut, waiting->slot)) ||
           (has(waiting, CONNECTS) && waiting->other == shut->slot) ||
           /* see choose_accept_multishot */
           (has(waiting, ACCEPTS) && has(waiting, REPEATS) && waiting->slot == shut->slot);
}

/* Whether it can be added to what is in flight, and to what this step has
 * touched so far. */
bool is_free(const struct op *op, const struct claim *batch) {
    for (int i = 0; i < OPS; i++) {
        const struct op *other = &ops[i];
        if (!other->kind || !is_live(other) || other == op)
            continue;
        if (op->chain && other->chain == op->chain) {
            /* By then the number may be the other world's; or a queue be shorter. */
            if ((has(other, CLOSES) || has(op, CONNECTS)) &&
                op->claim.touches & other->claim.touches)
                return false;
            if (makes_doubtful(other, op))
                return false;
            continue;
        }
        if (is_shut_under(op, other) || is_shut_under(other, op))
            return false;
        if ((op->chain || (other->chain && would_wait(op, 0))) &&
            op->claim.touches & other->claim.touches)
            return false; /* between two of its members it would be a race */
        if (has_consequences(other) && is_pages_race(&op->claim, &other->claim))
            return false;
        if ((op->place >= 0 && other->claim.touches & BIT(op->place)) ||
            (other->place >= 0 && op->claim.touches & BIT(other->place)))
            return false; /* what is closed now will be open */
        if ((other->chain || other->options.flags & AIO_SUBMIT_BARRIER) &&
            has(op, CLOSES | RENEWS | ALTERS) && op->claim.touches & other->claim.touches)
            return false; /* it may not have started, and means what is there now */
        if (collides(&op->claim, &other->claim) && !ends_others(op, other))
            return false;
    }
    return !(op->claim.touches & batch->touches) && !(op->claim.files & batch->files) &&
           !is_pages_race(&op->claim, batch);
}

void widen(struct claim *batch, const struct claim *claim) {
    batch->touches |= claim->touches;
    batch->files |= claim->files;
    batch->changes |= claim->changes;
    batch->drains |= claim->drains;
}
