/* The family of soak_differ's operations on files and names, and the reads and writes of anything.
 */
#include "soak_differ_kinds.h"

#include <linux/stat.h>

/* --- choosing --------------------------------------------------------------------------------- */

/* A call looks at offset and flags first, a ring at what the descriptor is open for. */
static bool is_bad_mode(const struct op *op) {
    const int flags = fcntl(number_of(0, op->slot), F_GETFL);
    const int wrong = op->kind->traits & READS ? O_WRONLY : O_RDONLY;
    return flags < 0 || flags & O_PATH || (flags & O_ACCMODE) == wrong;
}

static void choose_transfer(struct op *op) {
    op->slot = some_slot(IS_FILE | IS_PIPE | IS_STREAM | IS_DGRAM | IS_EVENT | IS_ARRIVED);
    op->len = slots[op->slot].is & IS_EVENT ? 8 : some_len();
    op->offset = some_offset(op->slot);
    op->memory = some_memory();
    if ((int64_t)op->offset < 0 && (in_chain || is_bad_mode(op)))
        op->offset = HERE;
    if (op->memory == HALF && slots[op->slot].is & IS_FILE && op->offset == HERE)
        op->memory = UNMAPPED; /* on a ring the position stays where it was */
}

CHOOSES(choose_read) {
    choose_transfer(op);
    return true;
}

CHOOSES(choose_write) {
    choose_transfer(op);
    if (slots[op->slot].is & IS_EVENT)
        op->memory = GOOD;
    /* A failing write wakes a poll of the other end, and a ring's poll believes the wake-up. */
    if (slots[op->slot].is & IS_PIPE && op->memory != NOTHING)
        op->memory = GOOD;
    return !is_inet(op->slot) || fits(op, slots[op->slot].peer);
}

static void choose_vectors(struct op *op) {
    op->count = dice(40) ? (int)dice(4) : ONE_OF(-1, 1024, 1025);
    if (slots[op->slot].is & IS_EVENT)
        op->count = 1; /* nothing at all is a question of its own there */
    op->flags =
        is_bad_mode(op)
            ? 0
            : some_flags(op, BAD_RWF, dice(10) ? 0 : ONE_OF(RWF_NOWAIT, RWF_DSYNC, RWF_APPEND));
    /* Whether the file knows the flag is asked before the offset is looked at on a ring, and by a
     * call that moves something. */
    if (op->flags == RWF_NOWAIT && slots[op->slot].is & IS_FILE)
        op->flags = 0; /* whether the cache has it, and no lock is held, is a matter of chance */
    if (op->flags == RWF_NOWAIT && (total_len(op) == 0 || (int64_t)op->offset < -1))
        op->flags = 0;
}

CHOOSES(choose_readv) {
    choose_read(op);
    choose_vectors(op);
    return true;
}

CHOOSES(choose_writev) {
    if (!choose_write(op))
        return false;
    choose_vectors(op);
    if (slots[op->slot].is & IS_PIPE)
        op->memory = GOOD; /* as for write, where NULL is refused */
    if (total_len(op) == 0 && slots[op->slot].is & IS_SOCKET)
        return false;            /* a ring sends an empty message, writev(2) does nothing */
    if (op->flags == RWF_NOWAIT) /* may need space, and then says so */
        op->flags = 0;
    return true;
}

CHOOSES(choose_fsync) {
    op->slot = some_slot(IS_FILE);
    op->word = (uint32_t)some_flags(op, 8, ONE_OF(0, AIO_FSYNC_DATASYNC));
    return true;
}

CHOOSES(choose_ftruncate) {
    op->slot = some_slot(IS_FILE);
    op->offset = dice(20) ? dice(dice(3) ? 20000 : 100000) : 1ull << 63;
    return true;
}

static int some_name(void) {
    int name;
    do
        name = (int)dice(NAMES);
    while (in_chain && name == NO_NAME);
    return name;
}

static void choose_name(struct op *op) {
    op->slot = dice(12) ? ROOT : some_slot(IS_FOLDER);
    op->name = some_name();
    op->other = dice(12) ? ROOT : some_slot(IS_FOLDER);
    op->other_name = some_name();
}

CHOOSES(choose_openat) {
    struct stat st;
    choose_name(op);
    op->other = -1;
    /* A FIFO can be written to while the member before has it open: until its descriptor was seen.
     */
    op->flags = ONE_OF(O_RDONLY, in_chain ? O_RDWR : O_WRONLY, O_RDWR, O_RDWR) |
                ONE_OF(0, 0, O_CREAT, O_CREAT, O_CREAT | O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY,
                       O_NOFOLLOW, O_PATH, O_NONBLOCK, O_CLOEXEC);
    op->word = (uint32_t)ONE_OF(0644, 0600, 0700);
    /* One that would wait for the other end is another test's. */
    const char *name = name_text(op->name);
    if (in_chain || (fstatat(number_of(0, op->slot), name, &st, 0) == 0 && S_ISFIFO(st.st_mode)))
        op->flags |= O_NONBLOCK;
    op->place = free_place(FILES, PIPES);
    return true;
}

CHOOSES(choose_statx) {
    choose_name(op);
    op->other = -1;
    op->flags = some_flags(op, 1, ONE_OF(0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH));
    op->word = (uint32_t)ONE_OF(STATX_BASIC_STATS, STATX_SIZE, 0, 0xfff);
    if (op->flags == 0)
        op->word = (uint32_t)some_flags(op, (int)STATX__RESERVED, (int)op->word);
    if (op->flags == AT_EMPTY_PATH) {
        op->name = NO_NAME;
        op->slot = some_slot(IS_ANY);
    }
    op->memory = dice(24) ? GOOD : UNMAPPED;
    return true;
}

CHOOSES(choose_unlinkat) {
    choose_name(op);
    op->other = -1;
    op->flags = some_flags(op, 1, ONE_OF(0, 0, AT_REMOVEDIR));
    return true;
}

CHOOSES(choose_mkdirat) {
    choose_name(op);
    op->other = -1;
    op->word = (uint32_t)ONE_OF(0755, 0700);
    return true;
}

/* A ring looks at both names before it looks for either. */
static void choose_names(struct op *op) {
    do
        choose_name(op);
    while (op->other_name == NO_NAME);
}

CHOOSES(choose_renameat) {
    choose_names(op);
    op->flags = some_flags(op, 64, ONE_OF(0, 0, 0, 1 /* RENAME_NOREPLACE */, 2 /* _EXCHANGE */));
    return true;
}

CHOOSES(choose_linkat) {
    choose_names(op);
    op->flags = some_flags(op, 1, ONE_OF(0, 0, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH));
    return true;
}

CHOOSES(choose_symlinkat) {
    choose_name(op);
    op->slot = op->other;
    op->other = -1;
    return true;
}

CHOOSES(choose_splice) {
    const unsigned from = (unsigned)ONE_OF(IS_FILE, IS_PIPE, IS_STREAM, IS_PIPE, IS_PIPE);
    op->other = some_slot(from);
    op->slot =
        some_slot((unsigned)(from == IS_PIPE ? ONE_OF(IS_FILE, IS_PIPE, IS_STREAM) : IS_PIPE));
    op->len = dice(12) ? 1 + dice(dice(2) ? 100 : 8000) : 0;
    op->other_offset = slots[op->other].is & IS_FILE && dice(2) ? dice(12000) : HERE;
    op->offset = slots[op->slot].is & IS_FILE && dice(2) ? dice(12000) : HERE;
    if (!is_open_slot(op->slot) || !is_open_slot(op->other) || op->slot == PATH_ONLY ||
        op->other == PATH_ONLY) /* which a call of no length accepts */
        op->len += op->len == 0;
    if (dice(20) == 0 && slots[op->slot].is & slots[op->other].is & IS_PIPE && op->slot % 2 &&
        op->other % 2 == 0 && is_open_slot(op->slot) && is_open_slot(op->other))
        op->offset = 5;
    op->flags = some_flags(op, 0x100, ONE_OF(0, 0, SPLICE_F_MOVE, SPLICE_F_NONBLOCK));
    const int ends[2] = {op->slot, op->other};
    for (int i = 0; i < 2; i++) {
        const int fd = number_of(0, ends[i]), status = fcntl(fd, F_GETFL);
        if (slots[ends[i]].is & (IS_FRESH | IS_ARRIVED) || is_inet(ends[i]))
            return false;
        if (in_chain || (status >= 0 && status & O_NONBLOCK) || slots[op->other].is & IS_SOCKET)
            op->flags |= SPLICE_F_NONBLOCK; /* waiting for a socket, it holds the pipe's lock */
    }
    const bool heeds_flag = op->other >= STREAMS && op->other < DGRAMS;
    if (slots[op->other].is & IS_SOCKET && !heeds_flag &&
        (in_chain || !is_ready(number_of(0, op->other), POLLIN)))
        return false;
    /* Where it waits, it waits for its input alone. The flag is the pipe's affair: it does not keep
     * from waiting for a socket that takes no more. */
    const bool to_socket = slots[op->slot].is & IS_SOCKET;
    if (in_chain && to_socket)
        return false;
    return is_ready(number_of(0, op->slot), POLLOUT) ||
           (op->flags & SPLICE_F_NONBLOCK && !to_socket);
}

/* --- submitting ------------------------------------------------------------------------------- */

SUBMITS(submit_read) { return aio_submit_read(CTX, FD, MEMORY, op->len, op->offset, TAIL); }

SUBMITS(submit_write) { return aio_submit_write(CTX, FD, MEMORY, op->len, op->offset, TAIL); }

SUBMITS(submit_readv) {
    static struct iovec vectors[1025];
    const int count = vectors_of(op, side, vectors);
    return aio_submit_readv(CTX, FD, vectors, count, op->offset, op->flags, TAIL);
}

SUBMITS(submit_writev) {
    static struct iovec vectors[1025];
    const int count = vectors_of(op, side, vectors);
    return aio_submit_writev(CTX, FD, vectors, count, op->offset, op->flags, TAIL);
}

SUBMITS(submit_fsync) { return aio_submit_fsync(CTX, FD, op->word, TAIL); }

SUBMITS(submit_ftruncate) { return aio_submit_ftruncate(CTX, FD, op->offset, TAIL); }

SUBMITS(submit_openat) { return aio_submit_openat(CTX, FD, NAME, op->flags, op->word, TAIL); }

SUBMITS(submit_statx) {
    struct statx *out = op->memory == GOOD ? &side->attributes : MEMORY;
    return aio_submit_statx(CTX, FD, NAME, op->flags, op->word, out, TAIL);
}

SUBMITS(submit_unlinkat) { return aio_submit_unlinkat(CTX, FD, NAME, op->flags, TAIL); }

SUBMITS(submit_mkdirat) { return aio_submit_mkdirat(CTX, FD, NAME, op->word, TAIL); }

SUBMITS(submit_renameat) {
    return aio_submit_renameat(CTX, FD, NAME, OTHER, OTHER_NAME, (uint32_t)op->flags, TAIL);
}

SUBMITS(submit_linkat) {
    return aio_submit_linkat(CTX, FD, NAME, OTHER, OTHER_NAME, op->flags, TAIL);
}

SUBMITS(submit_symlinkat) { return aio_submit_symlinkat(CTX, NAME, FD, OTHER_NAME, TAIL); }

SUBMITS(submit_splice) {
    return aio_submit_splice(CTX, OTHER, op->other_offset, FD, op->offset, op->len,
                             (uint32_t)op->flags, TAIL);
}

static const struct kind kinds[] = {
    {"read", READS | FILLS, 14, choose_read, submit_read, NULL},
    {"write", WRITES, 14, choose_write, submit_write, NULL},
    {"readv", READS | FILLS | VECTORS, 8, choose_readv, submit_readv, NULL},
    {"writev", WRITES | VECTORS, 8, choose_writev, submit_writev, NULL},
    {"fsync", ALTERS, 1, choose_fsync, submit_fsync, NULL},
    {"ftruncate", ALTERS, 3, choose_ftruncate, submit_ftruncate, NULL},
    {"openat", NAMES_FILES | BRINGS, 9, choose_openat, submit_openat, NULL},
    {"statx", NAMES_FILES, 6, choose_statx, submit_statx, NULL},
    {"unlinkat", NAMES_FILES, 4, choose_unlinkat, submit_unlinkat, NULL},
    {"mkdirat", NAMES_FILES, 3, choose_mkdirat, submit_mkdirat, NULL},
    {"renameat", NAMES_FILES, 4, choose_renameat, submit_renameat, NULL},
    {"linkat", NAMES_FILES, 3, choose_linkat, submit_linkat, NULL},
    {"symlinkat", NAMES_FILES, 3, choose_symlinkat, submit_symlinkat, NULL},
    {"splice", SPLICES, 8, choose_splice, submit_splice, NULL},
};

const struct family file_family = {kinds, COUNT_OF(kinds)};
