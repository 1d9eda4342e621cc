/* The operations of soak_random: how each is submitted, and what it can end with. */
#include "soak_random.h"

#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SUBMITS(name_) static aio_op_id name_(struct op *op, const aio_submit_options *options)
#define GIVES(name_) static bool name_(const struct op *op, int32_t result)
#define TAIL options, op->callback, op

GIVES(zero) {
    (void)op;
    return result == 0;
}

GIVES(descriptor) {
    (void)op;
    return result >= 0;
}

GIVES(file_name_result) {
    (void)op;
    return result == 0 || result == -ENOENT || result == -EEXIST || result == -ENOTDIR ||
           result == -EISDIR || result == -ENOTEMPTY || result == -EPERM;
}

GIVES(received) { /* what was sent into this pair, and no more than that */
    if (result == -EAGAIN)
        return true;
    if (result < 1 || result > BYTES)
        return false;
    for (int i = 0; i < BYTES; i++)
        if (op->bytes[i] != (i < result ? 'A' + op->pair : 0))
            return false;
    return true;
}

GIVES(sent) {
    (void)op;
    return result == -EAGAIN || (result >= 1 && result <= BYTES);
}

GIVES(whole_read) { return result == BYTES && pattern_holds(op->bytes, BYTES, op->offset); }

GIVES(whole_write) {
    (void)op;
    return result == BYTES;
}

GIVES(readable) {
    (void)op;
    return result == POLLIN;
}

GIVES(periods) {
    (void)op;
    return result >= 1;
}

SUBMITS(submit_nop) { return aio_submit_nop(w.ctx, TAIL); }

SUBMITS(submit_raw) {
    const struct io_uring_sqe entry = {.opcode = IORING_OP_NOP, .user_data = 1};
    return aio_submit_raw(w.ctx, &entry, TAIL);
}

SUBMITS(submit_timer) {
    const uint64_t after_ns = dice(4) ? dice(2 * MS) : 0;
    op->due_ns = now_ns() + after_ns;
    return aio_submit_timer(w.ctx, after_ns, TAIL);
}

SUBMITS(submit_timer_at) {
    op->due_ns = now_ns() + dice(2 * MS);
    return aio_submit_timer_at(w.ctx, op->due_ns, TAIL);
}

SUBMITS(submit_interval) { return aio_submit_interval(w.ctx, 200000 + dice(MS), TAIL); }

SUBMITS(submit_recv) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_recv(w.ctx, op->fd, op->bytes, 1 + dice(BYTES), dice(8) ? 0 : MSG_DONTWAIT,
                           TAIL);
}

SUBMITS(submit_recvmsg) {
    op->fd = w.pairs[op->pair][0];
    op->iov[0] = (struct iovec){op->bytes, BYTES / 2};
    op->iov[1] = (struct iovec){op->bytes + BYTES / 2, BYTES / 2};
    op->header = (struct msghdr){.msg_iov = op->iov, .msg_iovlen = 2};
    return aio_submit_recvmsg(w.ctx, op->fd, &op->header, 0, TAIL);
}

SUBMITS(submit_send) {
    op->fd = w.pairs[op->pair][1];
    memset(op->bytes, 'A' + op->pair, BYTES);
    return aio_submit_send(w.ctx, op->fd, op->bytes, 1 + dice(3), MSG_DONTWAIT, TAIL);
}

SUBMITS(submit_sendmsg) {
    op->fd = w.pairs[op->pair][1];
    memset(op->bytes, 'A' + op->pair, BYTES);
    struct iovec iov = {op->bytes, 1 + dice(3)}; /* copied */
    const struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    return aio_submit_sendmsg(w.ctx, op->fd, &header, MSG_DONTWAIT, TAIL);
}

SUBMITS(submit_poll) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_poll(w.ctx, op->fd, POLLIN, TAIL);
}

SUBMITS(submit_poll_multishot) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_poll_multishot(w.ctx, op->fd, POLLIN, TAIL);
}

SUBMITS(submit_read) {
    op->fd = w.file;
    op->offset = dice(FILE_BYTES - BYTES);
    return aio_submit_read(w.ctx, op->fd, op->bytes, BYTES, op->offset, TAIL);
}

SUBMITS(submit_readv) {
    op->fd = w.file;
    op->offset = dice(FILE_BYTES - BYTES);
    const struct iovec iov[2] = {{op->bytes, 5}, {op->bytes + 5, BYTES - 5}}; /* copied */
    return aio_submit_readv(w.ctx, op->fd, iov, 2, op->offset, 0, TAIL);
}

SUBMITS(submit_write) {
    op->fd = w.scratch;
    return aio_submit_write(w.ctx, op->fd, op->bytes, BYTES, dice(FILE_BYTES), TAIL);
}

SUBMITS(submit_writev) {
    op->fd = w.scratch;
    const struct iovec iov[2] = {{op->bytes, 5}, {op->bytes + 5, BYTES - 5}};
    return aio_submit_writev(w.ctx, op->fd, iov, 2, dice(FILE_BYTES), 0, TAIL);
}

SUBMITS(submit_fsync) {
    op->fd = w.scratch;
    return aio_submit_fsync(w.ctx, op->fd, AIO_FSYNC_DATASYNC, TAIL);
}

SUBMITS(submit_ftruncate) {
    op->fd = w.scratch;
    return aio_submit_ftruncate(w.ctx, op->fd, dice(FILE_BYTES), TAIL);
}

SUBMITS(submit_statx) {
    op->fd = w.file;
    return aio_submit_statx(w.ctx, w.file, "", AT_EMPTY_PATH, STATX_SIZE, &op->attributes, TAIL);
}

GIVES(the_size) { return result == 0 && op->attributes.stx_size == FILE_BYTES; }

static const char *some_name(void) { return w.names[dice(NAMES)]; }

SUBMITS(submit_openat) {
    return aio_submit_openat(w.ctx, AT_FDCWD, "/dev/null", O_RDONLY, 0, TAIL);
}

SUBMITS(submit_openat_missing) {
    return aio_submit_openat(w.ctx, AT_FDCWD, "/nowhere/at all", O_RDONLY, 0, TAIL);
}

GIVES(enoent) {
    (void)op;
    return result == -ENOENT;
}

SUBMITS(submit_mkdirat) { return aio_submit_mkdirat(w.ctx, AT_FDCWD, some_name(), 0700, TAIL); }

SUBMITS(submit_unlinkat) {
    return aio_submit_unlinkat(w.ctx, AT_FDCWD, some_name(), dice(2) ? AT_REMOVEDIR : 0, TAIL);
}

SUBMITS(submit_renameat) {
    return aio_submit_renameat(w.ctx, AT_FDCWD, some_name(), AT_FDCWD, some_name(), 0, TAIL);
}

SUBMITS(submit_symlinkat) {
    return aio_submit_symlinkat(w.ctx, "target", AT_FDCWD, some_name(), TAIL);
}

/* Relative to two descriptors that are no folders, so that it is in two lists and fails. */
SUBMITS(submit_linkat) {
    op->fd = w.pairs[op->pair][0];
    op->other_fd = w.pairs[dice(PAIRS)][0];
    return aio_submit_linkat(w.ctx, op->fd, "a", op->other_fd, "b", 0, TAIL);
}

GIVES(enotdir) {
    (void)op;
    return result == -ENOTDIR;
}

SUBMITS(submit_splice) { /* waits for a pipe into which nothing is ever written */
    op->fd = w.pipe_fds[0];
    op->other_fd = w.pairs[op->pair][1];
    return aio_submit_splice(w.ctx, op->fd, FROM_HERE, op->other_fd, FROM_HERE, 1, 0, TAIL);
}

GIVES(nothing) {
    (void)op, (void)result;
    return false;
}

/* A number of its own, so that nothing else in the round can be hit by what happens to it. */
static int own_number(int fd) {
    const int number = SYS(dup2(fd, w.next_number++));
    SYS(close(fd));
    return number;
}

int unix_socket(void) { return SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

static int own_socket(void) { return own_number(unix_socket()); }

/* The kernel chooses a name. */
void name_socket(int fd) {
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    SYS(bind(fd, (const struct sockaddr *)&any, sizeof any.sun_family));
}

SUBMITS(submit_socket) { return aio_submit_socket(w.ctx, AF_UNIX, SOCK_STREAM, 0, TAIL); }

SUBMITS(submit_bind) {
    const struct sockaddr_un any = {.sun_family = AF_UNIX};
    op->fd = own_socket();
    return aio_submit_bind(w.ctx, op->fd, (const struct sockaddr *)&any, sizeof any.sun_family,
                           TAIL);
}

SUBMITS(submit_listen) {
    op->fd = own_socket();
    name_socket(op->fd);
    return aio_submit_listen(w.ctx, op->fd, 4, TAIL);
}

SUBMITS(submit_connect) {
    op->fd = own_socket();
    const struct sockaddr *to = (const struct sockaddr *)&w.addr;
    return aio_submit_connect(w.ctx, op->fd, to, w.addr_len, TAIL);
}

SUBMITS(submit_shutdown) {
    op->fd = own_socket();
    return aio_submit_shutdown(w.ctx, op->fd, SHUT_RDWR, TAIL);
}

GIVES(shut_down) {
    (void)op;
    return result == 0 || result == -ENOTCONN;
}

SUBMITS(submit_accept) {
    op->fd = w.listener;
    return aio_submit_accept(w.ctx, op->fd, NULL, NULL, 0, TAIL);
}

SUBMITS(submit_accept_with_address) {
    op->fd = w.listener;
    op->peer_len = sizeof op->peer;
    return aio_submit_accept(w.ctx, op->fd, (struct sockaddr *)&op->peer, &op->peer_len, 0, TAIL);
}

SUBMITS(submit_accept_multishot) {
    op->fd = w.listener;
    return aio_submit_accept_multishot(w.ctx, op->fd, 0, TAIL);
}

SUBMITS(submit_close) { return aio_submit_close(w.ctx, op->fd, TAIL); }

/* --- space, names, pipes ---------------------------------------------------------------------- */

SUBMITS(submit_openat2) {
    const struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_RDONLY};
    return aio_submit_openat2(w.ctx, AT_FDCWD, "/dev/null", (const struct open_how *)&how,
                              sizeof how, TAIL);
}

SUBMITS(submit_fallocate) {
    op->fd = w.scratch;
    return aio_submit_fallocate(w.ctx, op->fd, FALLOC_FL_KEEP_SIZE, 0, 1 + dice(FILE_BYTES), TAIL);
}

SUBMITS(submit_sync_file_range) {
    op->fd = w.scratch;
    return aio_submit_sync_file_range(w.ctx, op->fd, 0, 0, SYNC_FILE_RANGE_WRITE, TAIL);
}

SUBMITS(submit_fadvise) {
    op->fd = w.file;
    return aio_submit_fadvise(w.ctx, op->fd, 0, 0, POSIX_FADV_WILLNEED, TAIL);
}

static char page[4096] __attribute__((aligned(4096)));

SUBMITS(submit_madvise) {
    return aio_submit_madvise(w.ctx, page, sizeof page, MADV_WILLNEED, TAIL);
}

SUBMITS(submit_fgetxattr) {
    op->fd = w.file;
    return aio_submit_fgetxattr(w.ctx, op->fd, ATTRIBUTE, op->bytes, BYTES, TAIL);
}

GIVES(the_attribute) {
    return result == -EOPNOTSUPP || (result == BYTES && pattern_holds(op->bytes, BYTES, 3));
}

SUBMITS(submit_setxattr) {
    return aio_submit_setxattr(w.ctx, temp_path("scratch"), ATTRIBUTE, op->bytes, BYTES, 0, TAIL);
}

GIVES(zero_or_unsupported) {
    (void)op;
    return result == 0 || result == -EOPNOTSUPP;
}

SUBMITS(submit_tee) { /* waits as splice does */
    op->fd = w.pipe_fds[0];
    op->other_fd = w.tee_fds[1];
    return aio_submit_tee(w.ctx, op->fd, op->other_fd, 1, 0, TAIL);
}

SUBMITS(submit_pipe) { return aio_submit_pipe(w.ctx, op->pair_made, 0, TAIL); }

/* --- whole transfers -------------------------------------------------------------------------- */

SUBMITS(submit_read_exact) {
    op->fd = w.file;
    op->offset = dice(FILE_BYTES - BYTES);
    return aio_submit_read_exact(w.ctx, op->fd, op->bytes, BYTES, op->offset, TAIL);
}

GIVES(exact_read) { return result == 0 && pattern_holds(op->bytes, BYTES, op->offset); }

SUBMITS(submit_write_all) {
    op->fd = w.scratch;
    return aio_submit_write_all(w.ctx, op->fd, op->bytes, BYTES, dice(FILE_BYTES), TAIL);
}

SUBMITS(submit_recv_exact) {
    op->fd = w.pairs[op->pair][0];
    op->offset = 1 + dice(BYTES);
    return aio_submit_recv_exact(w.ctx, op->fd, op->bytes, op->offset, 0, TAIL);
}

GIVES(exactly_received) {
    for (uint64_t i = 0; result == 0 && i < BYTES; i++)
        if (op->bytes[i] != (i < op->offset ? 'A' + op->pair : 0))
            return false;
    return result == 0;
}

SUBMITS(submit_send_all) {
    op->fd = w.pairs[op->pair][1];
    memset(op->bytes, 'A' + op->pair, BYTES);
    return aio_submit_send_all(w.ctx, op->fd, op->bytes, 1 + dice(3), 0, TAIL);
}

SUBMITS(submit_sendfile) {
    op->fd = w.scratch;
    op->other_fd = w.file;
    return aio_submit_sendfile(w.ctx, op->fd, op->other_fd, dice(FILE_BYTES), dice(FILE_BYTES),
                               TAIL);
}

/* --- epoll sets, futexes, children, options --------------------------------------------------- */

SUBMITS(submit_epoll_ctl) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)op->pair}; /* copied */
    op->fd = w.set;
    op->other_fd = w.pairs[op->pair][0];
    return aio_submit_epoll_ctl(w.ctx, op->fd, dice(2) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                                op->other_fd, &event, TAIL);
}

GIVES(changed) {
    (void)op;
    return result == 0 || result == -EEXIST || result == -ENOENT;
}

SUBMITS(submit_epoll_wait) {
    op->fd = dice(2) ? w.set : w.quiet_set;
    return aio_submit_epoll_wait(w.ctx, op->fd, op->events, COUNT_OF(op->events), TAIL);
}

GIVES(some_events) {
    if (op->fd == w.quiet_set || result < 1 || result > COUNT_OF(op->events))
        return false;
    for (int i = 0; i < result; i++)
        if (!(op->events[i].events & EPOLLIN) || op->events[i].data.u32 >= PAIRS)
            return false;
    return true;
}

#define FUTEX_FLAGS (2u | 128u) /* FUTEX2_SIZE_U32 | FUTEX2_PRIVATE */

static uint32_t words[2] = {5, 6};

SUBMITS(submit_futex_wait) {
    const uint64_t value = dice(8) ? 5 : 4;
    return aio_submit_futex_wait(w.ctx, words, value, 1 + dice(3), FUTEX_FLAGS, TAIL);
}

GIVES(zero_or_again) {
    (void)op;
    return result == 0 || result == -EAGAIN;
}

SUBMITS(submit_futex_wake) {
    return aio_submit_futex_wake(w.ctx, words + dice(2), dice(3), 1 + dice(3), FUTEX_FLAGS, TAIL);
}

GIVES(at_most_two) {
    (void)op;
    return result >= 0 && result <= 2;
}

SUBMITS(submit_futex_waitv) {
    struct futex_waitv waits[2] = {{0}, {0}}; /* copied */
    for (int i = 0; i < 2; i++) {
        waits[i].val = words[i];
        waits[i].uaddr = (uintptr_t)&words[i];
        waits[i].flags = FUTEX_FLAGS;
    }
    return aio_submit_futex_waitv(w.ctx, waits, 2, TAIL);
}

GIVES(an_index) {
    (void)op;
    return result == 0 || result == 1 || result == -EOPNOTSUPP; /* before Linux 5.16 */
}

SUBMITS(submit_waitid) { /* for what does not happen */
    return aio_submit_waitid(w.ctx, P_PID, (uint32_t)w.child, &op->info, WEXITED, TAIL);
}

SUBMITS(submit_setsockopt) {
    const int value = (int)dice(2); /* copied */
    op->fd = w.pairs[op->pair][0];
    return aio_submit_setsockopt(w.ctx, op->fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value,
                                 TAIL);
}

SUBMITS(submit_getsockopt) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_getsockopt(w.ctx, op->fd, SOL_SOCKET, SO_TYPE, &op->value, sizeof op->value,
                                 TAIL);
}

GIVES(the_type) { /* a ring's own form may know no unix sockets */
    return result == -EOPNOTSUPP || (result == 4 && op->value == SOCK_STREAM);
}

SUBMITS(submit_socket_inq) {
    op->fd = w.pairs[op->pair][0];
    return aio_submit_socket_inq(w.ctx, op->fd, TAIL);
}

GIVES(a_count) {
    (void)op;
    return result >= 0 || result == -EOPNOTSUPP;
}

/* --- slots of the table ---------------------------------------------------------------------- */

/* The same options and more, good until the next call. */
static const aio_submit_options *also(const aio_submit_options *options, uint32_t flags,
                                      uint32_t file_slot) {
    static aio_submit_options more;
    more = options ? *options : (aio_submit_options){.size = sizeof more};
    more.flags |= flags;
    more.file_slot = file_slot;
    return &more;
}

#define ON_SLOT also(options, AIO_SUBMIT_FIXED_FILE, 0), op->callback, op
#define INTO_SLOT also(options, AIO_SUBMIT_DIRECT, (uint32_t)op->value + 1), op->callback, op

/* One that is filled again and again. */
static void pick_slot(struct op *op) { op->value = FILLED_SLOTS + (int)dice(SLOTS - FILLED_SLOTS); }

GIVES(the_slot) { return result == op->value; }

GIVES(one) {
    (void)op;
    return result == 1;
}

SUBMITS(submit_recv_on_slot) {
    return aio_submit_recv(w.ctx, op->pair, op->bytes, 1 + dice(BYTES), 0, ON_SLOT);
}

SUBMITS(submit_poll_multishot_on_slot) {
    return aio_submit_poll_multishot(w.ctx, op->pair, POLLIN, ON_SLOT);
}

SUBMITS(submit_read_on_slot) {
    op->offset = dice(FILE_BYTES - BYTES);
    return aio_submit_read(w.ctx, FILE_SLOT, op->bytes, BYTES, op->offset, ON_SLOT);
}

SUBMITS(submit_socket_into_slot) {
    pick_slot(op);
    return aio_submit_socket(w.ctx, AF_UNIX, SOCK_STREAM, 0, INTO_SLOT);
}

SUBMITS(submit_openat_into_slot) {
    pick_slot(op);
    return aio_submit_openat(w.ctx, AT_FDCWD, temp_path("file"), O_RDONLY, 0, INTO_SLOT);
}

SUBMITS(submit_accept_into_slot) {
    pick_slot(op);
    op->fd = w.listener;
    return aio_submit_accept(w.ctx, w.listener, NULL, NULL, 0, INTO_SLOT);
}

SUBMITS(submit_files_update) {
    pick_slot(op);
    const int fd = dice(2) ? w.file : -1; /* copied */
    return aio_submit_files_update(w.ctx, (uint32_t)op->value, &fd, 1, TAIL);
}

const struct kind closing = {"close", CLOSES, submit_close, zero};
const struct kind receiving = {"recv", HAS_MEMORY, submit_recv, received};
const struct kind polling = {"poll", 0, submit_poll, readable};
const struct kind doing_nothing = {"nop", 0, submit_nop, zero};

/* --- registered memory, and sends that notify ------------------------------------------------ */

static uint32_t some_area(void) { return (uint32_t)dice(AREAS); }

SUBMITS(submit_read_fixed) {
    op->fd = w.file;
    op->offset = dice(FILE_BYTES - BYTES);
    return aio_submit_read_fixed(w.ctx, op->fd, op->bytes, BYTES, op->offset, some_area(), TAIL);
}

SUBMITS(submit_readv_fixed) {
    op->fd = w.file;
    op->offset = dice(FILE_BYTES - BYTES);
    const struct iovec iov[2] = {{op->bytes, 5}, {op->bytes + 5, BYTES - 5}};
    return aio_submit_readv_fixed(w.ctx, op->fd, iov, 2, op->offset, 0, some_area(), TAIL);
}

SUBMITS(submit_write_fixed) {
    op->fd = w.scratch;
    return aio_submit_write_fixed(w.ctx, op->fd, op->bytes, BYTES, dice(FILE_BYTES), some_area(),
                                  TAIL);
}

SUBMITS(submit_writev_fixed) {
    op->fd = w.scratch;
    const struct iovec iov[2] = {{op->bytes, 5}, {op->bytes + 5, BYTES - 5}};
    return aio_submit_writev_fixed(w.ctx, op->fd, iov, 2, dice(FILE_BYTES), 0, some_area(), TAIL);
}

SUBMITS(submit_send_zc) {
    op->fd = w.udp[0];
    return aio_submit_send_zc(w.ctx, op->fd, op->bytes, 1 + dice(BYTES), 0, 0, TAIL);
}

SUBMITS(submit_send_zc_registered) {
    (void)options;
    op->fd = w.udp[0];
    op->options.buf_index = 1 + some_area();
    return aio_submit_send_zc(w.ctx, op->fd, op->bytes, 1 + dice(BYTES), 0, 0, &op->options,
                              op->callback, op);
}

SUBMITS(submit_sendmsg_zc) {
    op->fd = w.udp[0];
    struct iovec iov[2] = {{op->bytes, 3}, {op->bytes + 3, 1 + dice(BYTES - 3)}};
    const struct msghdr header = {.msg_iov = iov, .msg_iovlen = 2};
    return aio_submit_sendmsg_zc(w.ctx, op->fd, &header, 0, 0, TAIL);
}

const struct kind kinds[] = {
    {"nop", 0, submit_nop, zero},
    {"raw", HAS_MEMORY, submit_raw, zero},
    {"timer", ALONE, submit_timer, zero},
    {"timer_at", ALONE, submit_timer_at, zero},
    {"interval", ALONE | REPEATS, submit_interval, periods},
    {"recv", HAS_MEMORY, submit_recv, received},
    {"recvmsg", HAS_MEMORY, submit_recvmsg, received},
    {"send", HAS_MEMORY, submit_send, sent},
    {"sendmsg", HAS_MEMORY, submit_sendmsg, sent},
    {"poll", 0, submit_poll, readable},
    {"poll_multishot", REPEATS, submit_poll_multishot, readable},
    {"read", HAS_MEMORY, submit_read, whole_read},
    {"readv", HAS_MEMORY, submit_readv, whole_read},
    {"write", HAS_MEMORY, submit_write, whole_write},
    {"writev", HAS_MEMORY, submit_writev, whole_write},
    {"fsync", WEAK, submit_fsync, zero},
    {"ftruncate", WEAK, submit_ftruncate, zero},
    {"statx", HAS_MEMORY | WEAK, submit_statx, the_size},
    {"openat", BRINGS, submit_openat, descriptor},
    {"openat, missing", BRINGS, submit_openat_missing, enoent},
    {"mkdirat", WEAK, submit_mkdirat, file_name_result},
    {"unlinkat", WEAK, submit_unlinkat, file_name_result},
    {"renameat", WEAK, submit_renameat, file_name_result},
    {"symlinkat", WEAK, submit_symlinkat, file_name_result},
    {"linkat", WEAK, submit_linkat, enotdir},
    {"splice", 0, submit_splice, nothing},
    {"socket", BRINGS, submit_socket, descriptor},
    {"bind", 0, submit_bind, zero},
    {"listen", 0, submit_listen, zero},
    {"connect", 0, submit_connect, zero},
    {"shutdown", 0, submit_shutdown, shut_down},
    {"accept", BRINGS, submit_accept, descriptor},
    {"accept, address", BRINGS | HAS_MEMORY, submit_accept_with_address, descriptor},
    {"accept_multishot", BRINGS | REPEATS, submit_accept_multishot, descriptor},
    {"openat2", BRINGS, submit_openat2, descriptor},
    {"fallocate", WEAK, submit_fallocate, zero},
    {"sync_file_range", WEAK, submit_sync_file_range, zero},
    {"fadvise", 0, submit_fadvise, zero},
    {"madvise", HAS_MEMORY | WEAK, submit_madvise, zero},
    {"fgetxattr", HAS_MEMORY | WEAK, submit_fgetxattr, the_attribute},
    {"setxattr", HAS_MEMORY | WEAK, submit_setxattr, zero_or_unsupported},
    {"tee", 0, submit_tee, nothing},
    {"pipe", PIPES, submit_pipe, zero},
    {"epoll_ctl", 0, submit_epoll_ctl, changed},
    {"epoll_wait", HAS_MEMORY, submit_epoll_wait, some_events},
    {"futex_wait", HAS_MEMORY | WEAK, submit_futex_wait, zero_or_again},
    {"futex_wake", HAS_MEMORY, submit_futex_wake, at_most_two},
    {"futex_waitv", HAS_MEMORY | WEAK, submit_futex_waitv, an_index},
    {"waitid", HAS_MEMORY, submit_waitid, nothing},
    {"setsockopt", 0, submit_setsockopt, zero_or_unsupported},
    {"getsockopt", HAS_MEMORY, submit_getsockopt, the_type},
    {"read_exact", HAS_MEMORY | STEPS | LAST, submit_read_exact, exact_read},
    {"write_all", HAS_MEMORY | STEPS | LAST, submit_write_all, zero},
    {"recv_exact", HAS_MEMORY | STEPS, submit_recv_exact, exactly_received},
    {"send_all", HAS_MEMORY | STEPS, submit_send_all, zero},
    {"sendfile", STEPS | LAST, submit_sendfile, zero},
    {"socket_inq", 0, submit_socket_inq, a_count},
    {"recv, slot", HAS_MEMORY, submit_recv_on_slot, received},
    {"poll_multishot, slot", REPEATS, submit_poll_multishot_on_slot, readable},
    {"read, slot", HAS_MEMORY, submit_read_on_slot, whole_read},
    {"socket, slot", 0, submit_socket_into_slot, the_slot},
    {"openat, slot", 0, submit_openat_into_slot, the_slot},
    {"accept, slot", 0, submit_accept_into_slot, the_slot},
    {"files_update", 0, submit_files_update, one},
    {"read_fixed", HAS_MEMORY, submit_read_fixed, whole_read},
    {"readv_fixed", HAS_MEMORY, submit_readv_fixed, whole_read},
    {"write_fixed", HAS_MEMORY, submit_write_fixed, whole_write},
    {"writev_fixed", HAS_MEMORY, submit_writev_fixed, whole_write},
    {"send_zc", HAS_MEMORY | NOTIFIES, submit_send_zc, sent},
    {"send_zc, registered", HAS_MEMORY | NOTIFIES, submit_send_zc_registered, sent},
    {"sendmsg_zc", HAS_MEMORY | NOTIFIES, submit_sendmsg_zc, sent},
};

const int kind_count = COUNT_OF(kinds);
