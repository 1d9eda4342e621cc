/* The arguments of soak_differ's operations: how they are chosen, mostly sensible ones, where their
 * memory is, how they are described; and whether an operation would wait, so that what can be
 * expected to end is waited for. */
#include "soak_differ_kinds.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

bool in_chain;

/* --- choosing --------------------------------------------------------------------------------- */

/* Mostly one that is open and meant for this, at times any. */
int some_slot(unsigned is) {
    int slot = (int)dice(SLOTS);
    if (dice(16) == 0)
        return slot;
    for (int i = 0; i < 100 && !((slots[slot].is & is) && is_open_slot(slot)); i++)
        slot = (int)dice(SLOTS);
    return slot;
}

/* A closed one that no operation in flight will fill; -1: none. */
int free_place(int first, int end) {
    for (int slot = first; slot < end; slot++) {
        bool taken = is_open_slot(slot);
        for (int i = 0; i < OPS; i++)
            taken |= ops[i].kind && ops[i].place == slot;
        if (!taken)
            return slot;
    }
    return -1;
}

size_t some_len(void) {
    switch (dice(16)) {
    case 0:
        return 0;
    case 1:
    case 2:
        return 4000 + dice(5000);
    case 3:
        return DATA_BYTES - dice(2) * dice(30000);
    default:
        return 1 + dice(dice(2) ? 16 : 700);
    }
}

uint64_t some_offset(int slot) {
    const bool has_offsets = slots[slot].is & IS_FILE;
    switch (dice(has_offsets ? 12 : 40)) {
    case 0:
        return (uint64_t)-2;
    case 1:
        return 1ull << 63;
    case 2:
        return dice(100000);
    case 3:
    case 4:
    case 5:
        return dice(12000);
    case 6:
        return 0;
    default:
        return HERE;
    }
}

enum memory some_memory(void) {
    static const enum memory sorts[] = {HALF, UNMAPPED, NOTHING};
    return dice(24) ? GOOD : sorts[dice(COUNT_OF(sorts))];
}

/* The queues of TCP sockets are kept short: how much they take is not always
 * the same. And a datagram that comes through the network layer must be the
 * only one, to be seen arriving. */
bool fits(struct op *op, int to) {
    int queued = 0;
    if (op->memory == HALF) /* how much of it is taken depends on what was sent before */
        op->memory = GOOD;
    if (op->len > 4096)
        op->len = slots[op->slot].is & IS_DGRAM && dice(4) == 0 ? DATA_BYTES : 1 + op->len % 2000;
    if (to < 0 || !is_open_slot(to))
        return op->len < 256 || slots[op->slot].orphan;
    if (ioctl(slots[to].fd[0], FIONREAD, &queued) != 0)
        return false; /* it listens */
    if (socket_domain(slots[to].fd[0]) == AF_INET && (slots[to].is & IS_DGRAM))
        return !is_ready(slots[to].fd[0], POLLIN);
    return queued < 8000;
}

/* Flags of which `bad` ones are refused: by a ring when it takes the operation, before anything
 * else is looked at, so that a chain fails whole; by a call perhaps after another error. */
int some_flags(struct op *op, int bad, int good) {
    if (in_chain || dice(8))
        return good;
    op->name = op->other_name = 0;
    op->offset = op->other_offset = HERE;
    if (op->len == 0)
        op->len = 1;
    return bad;
}

void *memory_of(const struct op *op, const struct side *side) {
    if (op->memory == NOTHING)
        return NULL;
    return side->data + (op->memory == GOOD   ? 0
                         : op->memory == HALF ? DATA_BYTES - op->len / 2
                                              : DATA_BYTES);
}

/* The buffer in as many parts, the last one a little longer. Gives iovcnt. */
int vectors_of(const struct op *op, const struct side *side, struct iovec vectors[1025]) {
    char *memory = MEMORY;
    for (int i = 0; i < op->count && i < 1025; i++) {
        const size_t part = op->len / (size_t)op->count, rest = op->len % (size_t)op->count;
        vectors[i].iov_base = memory ? memory + part * (size_t)i : NULL;
        vectors[i].iov_len = part + (i == op->count - 1 ? rest : 0);
    }
    return op->count;
}

int64_t outcome(int64_t result) { return result < 0 ? -errno : result; }

void describe(struct op *op) {
    const struct kind *kind = op->kind;
    char *text = op->description;
    const size_t size = sizeof op->description;
    int len = snprintf(text, size, "%s slot %d", kind->name, op->slot);
#define ADD(...)                                                                                   \
    (len += len < (int)size ? snprintf(text + len, size - (size_t)len, __VA_ARGS__) : 0)
    if (op->other >= 0)
        ADD(", other %d", op->other);
    if (kind->traits & NAMES_FILES)
        ADD(", name \"%.20s\", other \"%.20s\"", NAME, OTHER_NAME);
    ADD(", len %zu, offset %lld, %lld, word %#x, flags %#x, memory %d, count %d", op->len,
        (long long)op->offset, (long long)op->other_offset, op->word, (unsigned)op->flags,
        op->memory, op->count);
    if (op->name_len || op->control_len || op->passed)
        ADD(", name_len %u, control_len %u, passes %d", op->name_len, op->control_len, op->passed);
    if (op->place >= 0)
        ADD(", to slot %d", op->place);
    if (op->options.size)
        ADD("; options %#x, timeout %llu, group %llu", op->options.flags,
            (unsigned long long)op->options.timeout_ns, (unsigned long long)op->options.group);
    if (op->chain)
        ADD("; chain %d", op->chain);
    if (op->reaped)
        ADD("; reaped");
#undef ADD
}

size_t total_len(const struct op *op) {
    return op->kind->traits & VECTORS && op->count <= 0 ? 0 : op->len;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Not with a flag that is refused, or says not to, nor at an offset, which sockets have not. */
static bool asks_to_wait(const struct op *op, mode_t type) {
    if (op->kind->traits & ON_SOCKETS)
        return !(op->flags & MSG_DONTWAIT);
    if (op->flags & (RWF_NOWAIT | BAD_RWF) || ((int64_t)op->offset < 0 && op->offset != HERE))
        return false;
    return type != S_IFSOCK || op->offset == 0 || op->offset == HERE;
}

static bool waits_to_read(const struct op *op, int fd, mode_t type) {
    const bool message = op->kind->traits & ON_SOCKETS;
    if (!asks_to_wait(op, type) || (!message && total_len(op) == 0))
        return false;
    if (type == S_IFSOCK)
        return !is_listening(fd) && !is_ready(fd, POLLIN);
    const bool readable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
    return !message && readable && !is_ready(fd, POLLIN);
}

static bool waits_to_write(const struct op *op, int fd, mode_t type) {
    const bool message = op->kind->traits & ON_SOCKETS;
    if (!asks_to_wait(op, type))
        return false;
    if (type == S_IFSOCK) /* nothing is a message, but to a stream */
        return !is_listening(fd) && !(total_len(op) == 0 && socket_type(fd) == SOCK_STREAM) &&
               !is_ready(fd, POLLOUT);
    const bool writable = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    return !message && total_len(op) && writable && !is_ready(fd, POLLOUT);
}

static bool waits_to_splice(const struct op *op, int world) {
    const struct slot *to = &slots[op->slot], *from = &slots[op->other];
    const int in = number_of(world, op->other), out = number_of(world, op->slot);
    const bool combines =
        from->is & IS_PIPE && (to->is & (IS_FILE | IS_PIPE | IS_SOCKET) || op->slot == NULL_DEVICE);
    if (!combines || op->len == 0 || op->flags & (SPLICE_F_NONBLOCK | 0x100) ||
        from->fd[world] < 0 || to->fd[world] < 0)
        return false;
    const int reads = fcntl(in, F_GETFL), writes = fcntl(out, F_GETFL);
    const bool bad_modes = (reads & O_ACCMODE) == O_WRONLY || (writes & O_ACCMODE) == O_RDONLY ||
                           (to->is & IS_FILE && writes & O_APPEND);
    const bool bad_offsets = (!(from->is & IS_FILE) && op->other_offset != HERE) ||
                             (!(to->is & IS_FILE) && op->offset != HERE);
    const bool same_pipe = from->is & to->is & IS_PIPE && (op->slot ^ op->other) == 1;
    return !bad_modes && !bad_offsets && !same_pipe && !is_ready(in, POLLIN);
}

/* A listener's queue is full: seen on no descriptor, and asked before all other questions. */
static bool waits_to_connect(const struct op *op, int world) {
    const struct slot *to = &slots[op->other];
    const int fd = number_of(world, op->slot);
    return op->other == UNIX_LISTENER && op->word == 0 && is_open_slot(op->other) &&
           to->pending > to->backlog && is_listening(to->fd[world]) &&
           socket_domain(fd) == AF_UNIX && socket_type(fd) == SOCK_STREAM &&
           !(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* Others are always ready, or never. */
static bool is_watchable(int fd, mode_t type) {
    return !(fcntl(fd, F_GETFL) & O_PATH) && (type == S_IFIFO || type == S_IFSOCK || type == 0);
}

/* As would_wait, and not just as far as poll(2) tells: a unix socket has room before it says so,
 * and a pipe takes what fits behind its last bytes. */
bool surely_waits(const struct op *op) {
    const int fd = number_of(0, op->slot);
    int queued = 0, most = 0;
    socklen_t len = sizeof most;
    if (!would_wait(op, 0) || (op->kind->traits & WRITES && slots[op->slot].is & IS_PIPE))
        return false;
    if (!(op->kind->traits & WRITES) || socket_domain(fd) != AF_UNIX)
        return true;
    return !slots[op->slot].mute && ioctl(fd, SIOCOUTQ, &queued) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, &len) == 0 && queued >= most;
}

/* Whether the operation, if it were started now, would stay: nothing else may
 * make it wait. */
bool would_wait(const struct op *op, int world) {
    const unsigned traits = op->kind->traits;
    const int fd = number_of(world, op->slot);
    struct stat st;
    if (traits & SPLICES)
        return waits_to_splice(op, world);
    if (traits & TIMES)
        return traits & REPEATS ? op->side[world].calls > 0 : op->offset >= HOUR;
    if (!(traits & (READS | WRITES | POLLS | ACCEPTS | CONNECTS)) || fstat(fd, &st) != 0)
        return false;
    const mode_t type = st.st_mode & S_IFMT;
    if (traits & POLLS) /* a multishot waits again and again */
        return is_watchable(fd, type) && ((traits & REPEATS && op->side[world].calls) ||
                                          !is_ready(fd, (short)(op->word | POLLRDHUP)));
    if (traits & ACCEPTS)
        return !(op->flags & ~SOCK_NONBLOCK) && is_listening(fd) && !is_ready(fd, POLLIN);
    if (traits & CONNECTS)
        return waits_to_connect(op, world);
    if (type == S_IFREG || type == S_IFDIR || type == S_IFCHR || type == S_IFLNK)
        return false;
    return traits & READS ? waits_to_read(op, fd, type) : waits_to_write(op, fd, type);
}
