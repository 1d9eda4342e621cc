/* Rows of the section fs. */
#include "operations.h"

#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define CUR AIO_OFFSET_CURRENT

static void with_file(struct env *e) { e->fd = env_file(e, e->path, "file", O_RDWR); }

static void with_path(struct env *e) {
    env_file(e, e->path, "file", O_RDWR);
    env_path(e, e->path2, "new");
}

static void with_pipe_to_read(struct env *e) {
    int fds[2];
    make_pipe(fds);
    env_keep_both(e, fds);
}

static void with_pipe_to_write(struct env *e) {
    int fds[2];
    make_pipe(fds);
    e->fd = env_keep(e, fds[1]);
    e->other = env_keep(e, fds[0]);
    fill_until_full(e->fd);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

static void drain(struct env *e) { drain_until_empty(e->other); }

/* --- openat ---------------------------------------------------------------------------------- */

SUBMIT(submit_openat) {
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path, O_RDONLY, 0, o, cb, u);
}

static void check_opened(struct env *e, int32_t result) {
    struct stat a, b;
    CHECK_GE(result, 0);
    SYS(fstat(result, &a));
    SYS(stat(e->path, &b));
    CHECK_EQ(a.st_ino, b.st_ino);
    CHECK(is_cloexec(result));
}

/* A named pipe that nobody writes to. The kernel's inline attempt would open it without waiting, as
 * O_NONBLOCK does: only on a worker does this wait. */
SUBMIT(submit_openat_of_a_fifo) {
    aio_submit_options options = {.size = sizeof options};
    if (o)
        options = *o;
    options.flags |= AIO_SUBMIT_ASYNC;
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path, O_RDONLY, 0, &options, cb, u);
}

static void with_fifo(struct env *e) {
    env_path(e, e->path, "fifo");
    SYS(mkfifo(e->path, 0600));
}

static void open_other_end(struct env *e) {
    e->other = env_keep(e, SYS(open(e->path, O_WRONLY | O_CLOEXEC)));
}

ROW(openat, .setup = with_path, .check = check_opened, .block = with_fifo,
    .submit_blocked = submit_openat_of_a_fifo, .unblock = open_other_end, .makes_descriptor = true);

FAILS(openat, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_openat(e, o, cb, u);
}

FAILS(openat, ENOENT_for_an_empty_path, -ENOENT) { return submit_openat(e, o, cb, u); }

FAILS(openat, EEXIST, -EEXIST) {
    with_path(e);
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path, O_CREAT | O_EXCL | O_WRONLY, 0600, o, cb,
                             u);
}

FAILS(openat, EISDIR, -EISDIR) {
    return aio_submit_openat(e->ctx, AT_FDCWD, temp_dir(), O_WRONLY, 0, o, cb, u);
}

FAILS(openat, ENOTDIR, -ENOTDIR) {
    with_path(e);
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path, O_RDONLY | O_DIRECTORY, 0, o, cb, u);
}

FAILS(openat, ELOOP, -ELOOP) {
    with_path(e);
    SYS(symlink(e->path, e->path2));
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path2, O_RDONLY | O_NOFOLLOW, 0, o, cb, u);
}

FAILS(openat, ENAMETOOLONG, -ENAMETOOLONG) {
    memset(e->path, 'n', 300);
    return submit_openat(e, o, cb, u);
}

FAILS(openat, ENXIO, -ENXIO) {
    with_fifo(e);
    return aio_submit_openat(e->ctx, AT_FDCWD, e->path, O_WRONLY | O_NONBLOCK, 0, o, cb, u);
}

FAILS(openat, EBADF, -EBADF) {
    return aio_submit_openat(e->ctx, 9999, "relative", O_RDONLY, 0, o, cb, u);
}

FAILS(openat, EMFILE, -EMFILE) {
    with_path(e);
    env_no_descriptor_left(e);
    return submit_openat(e, o, cb, u);
}

/* --- openat2 --------------------------------------------------------------------------------- */

static aio_op_id open2(struct env *e, int dirfd, const char *path, struct open_how how,
                       const aio_submit_options *o, aio_callback cb, void *u) {
    return aio_submit_openat2(e->ctx, dirfd, path, &how, sizeof how, o, cb, u);
}

SUBMIT(submit_openat2) {
    const struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_MAGICLINKS};
    return open2(e, AT_FDCWD, e->path, how, o, cb, u);
}

SUBMIT(submit_openat2_of_a_fifo) {
    aio_submit_options options = {.size = sizeof options};
    if (o)
        options = *o;
    options.flags |= AIO_SUBMIT_ASYNC;
    return submit_openat2(e, &options, cb, u);
}

ROW(openat2, .setup = with_path, .check = check_opened, .block = with_fifo,
    .submit_blocked = submit_openat2_of_a_fifo, .unblock = open_other_end,
    .makes_descriptor = true);

FAILS(openat2, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_openat2(e, o, cb, u);
}

FAILS(openat2, EEXIST, -EEXIST) {
    with_path(e);
    const struct open_how how = {.flags = O_CREAT | O_EXCL | O_WRONLY, .mode = 0600};
    return open2(e, AT_FDCWD, e->path, how, o, cb, u);
}

FAILS(openat2, EISDIR, -EISDIR) {
    return open2(e, AT_FDCWD, temp_dir(), (struct open_how){.flags = O_WRONLY}, o, cb, u);
}

FAILS(openat2, ELOOP_of_a_link, -ELOOP) {
    with_path(e);
    SYS(symlink(e->path, e->path2));
    const struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
    return open2(e, AT_FDCWD, e->path2, how, o, cb, u);
}

FAILS(openat2, EXDEV_beneath, -EXDEV) {
    const int folder = env_keep(e, SYS(open(temp_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC)));
    const struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    return open2(e, folder, "..", how, o, cb, u);
}

FAILS(openat2, EXDEV_of_another_mount, -EXDEV) {
    const struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_XDEV};
    const int root = env_keep(e, SYS(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)));
    return open2(e, root, "proc/self", how, o, cb, u);
}

FAILS(openat2, EINVAL_of_unknown_flags, -EINVAL) {
    with_path(e);
    return open2(e, AT_FDCWD, e->path, (struct open_how){.flags = 1ull << 40}, o, cb, u);
}

FAILS(openat2, EINVAL_of_a_mode_without_creation, -EINVAL) {
    with_path(e);
    return open2(e, AT_FDCWD, e->path, (struct open_how){.mode = 0600}, o, cb, u);
}

FAILS(openat2, EINVAL_of_unknown_resolve_flags, -EINVAL) {
    with_path(e);
    return open2(e, AT_FDCWD, e->path, (struct open_how){.resolve = 1ull << 40}, o, cb, u);
}

FAILS(openat2, EINVAL_of_the_size, -EINVAL) {
    with_path(e);
    const struct open_how how = {0};
    return aio_submit_openat2(e->ctx, AT_FDCWD, e->path, &how, sizeof how - 1, o, cb, u);
}

FAILS(openat2, EINVAL_without_how, -EINVAL) {
    with_path(e);
    return aio_submit_openat2(e->ctx, AT_FDCWD, e->path, NULL, 24, o, cb, u);
}

FAILS(openat2, E2BIG_of_what_the_kernel_does_not_know, -E2BIG) {
    const struct {
        struct open_how how;
        uint64_t later;
    } larger = {.later = 1};
    with_path(e);
    return aio_submit_openat2(e->ctx, AT_FDCWD, e->path, &larger.how, sizeof larger, o, cb, u);
}

FAILS(openat2, E2BIG_of_the_size, -E2BIG) {
    with_path(e);
    const struct open_how how = {0};
    return aio_submit_openat2(e->ctx, AT_FDCWD, e->path, &how, 4097, o, cb, u);
}

FAILS(openat2, ENAMETOOLONG, -ENAMETOOLONG) {
    memset(e->path, 'n', 300);
    return submit_openat2(e, o, cb, u);
}

FAILS(openat2, EBADF, -EBADF) { return open2(e, 9999, "relative", (struct open_how){0}, o, cb, u); }

FAILS(openat2, EMFILE, -EMFILE) {
    with_path(e);
    env_no_descriptor_left(e);
    return submit_openat2(e, o, cb, u);
}

/* --- close ----------------------------------------------------------------------------------- */

SUBMIT(submit_close) { return aio_submit_close(e->ctx, e->fd, o, cb, u); }

static void check_closed(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK(!is_open(e->fd));
}

ROW(close, .setup = with_file, .check = check_closed);

FAILS(close, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_close(e, o, cb, u);
}

/* --- read and readv -------------------------------------------------------------------------- */

static void check_hello(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_MEM(e->data, "hello", 5);
}

SUBMIT(submit_read) { return aio_submit_read(e->ctx, e->fd, e->data, sizeof e->data, 0, o, cb, u); }

ROW(read, .setup = with_file, .check = check_hello, .block = with_pipe_to_read, .unblock = feed);

FAILS(read, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_read(e, o, cb, u);
}

FAILS(read, EBADF_below_zero, -EBADF) {
    e->fd = -1;
    return submit_read(e, o, cb, u);
}

FAILS(read, EBADF_of_a_file_open_for_writing, -EBADF) {
    e->fd = env_file(e, e->path, "file", O_WRONLY);
    return submit_read(e, o, cb, u);
}

FAILS(read, EISDIR, -EISDIR) {
    e->fd = env_keep(e, SYS(open(temp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
    return submit_read(e, o, cb, u);
}

FAILS(read, EFAULT, -EFAULT) {
    with_file(e);
    return aio_submit_read(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(read, EINVAL_of_a_negative_offset, -EINVAL) {
    with_file(e);
    return aio_submit_read(e->ctx, e->fd, e->data, 5, (uint64_t)INT64_MIN, o, cb, u);
}

SUBMIT(submit_readv) {
    e->iov[0] = (struct iovec){e->data, 2};
    e->iov[1] = (struct iovec){e->data + 2, 40};
    return aio_submit_readv(e->ctx, e->fd, e->iov, 2, 0, 0, o, cb, u);
}

ROW(readv, .setup = with_file, .check = check_hello, .block = with_pipe_to_read, .unblock = feed);

FAILS(readv, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_readv(e, o, cb, u);
}

FAILS(readv, EFAULT, -EFAULT) {
    with_file(e);
    e->iov[0] = (struct iovec){BAD_ADDRESS, 5};
    return aio_submit_readv(e->ctx, e->fd, e->iov, 1, 0, 0, o, cb, u);
}

FAILS(readv, EINVAL_of_the_count, -EINVAL) {
    with_file(e);
    return aio_submit_readv(e->ctx, e->fd, e->iov, 1025, 0, 0, o, cb, u);
}

FAILS(readv, EOPNOTSUPP_of_unknown_flags, -EOPNOTSUPP) {
    with_file(e);
    e->iov[0] = (struct iovec){e->data, 5};
    return aio_submit_readv(e->ctx, e->fd, e->iov, 1, 0, 1 << 29, o, cb, u);
}

/* --- write and writev ------------------------------------------------------------------------ */

static void ignore_signals(void) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static void check_written(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    if (e->path[0]) {
        char back[8] = {0};
        CHECK_EQ(pread(e->fd, back, 5, 0), 5);
        CHECK_MEM(back, "WRITE", 5);
    }
}

SUBMIT(submit_write) {
    memcpy(e->text, "WRITE", 5);
    return aio_submit_write(e->ctx, e->fd, e->text, 5, 0, o, cb, u);
}

ROW(write, .setup = with_file, .check = check_written, .block = with_pipe_to_write,
    .unblock = drain);

FAILS(write, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_write(e, o, cb, u);
}

FAILS(write, EBADF_of_a_file_open_for_reading, -EBADF) {
    e->fd = env_file(e, e->path, "file", O_RDONLY);
    return submit_write(e, o, cb, u);
}

FAILS(write, EFAULT, -EFAULT) {
    with_file(e);
    return aio_submit_write(e->ctx, e->fd, BAD_ADDRESS, 5, 0, o, cb, u);
}

FAILS(write, EPIPE, -EPIPE) {
    ignore_signals();
    int fds[2];
    make_pipe(fds);
    close(fds[0]);
    e->fd = env_keep(e, fds[1]);
    return submit_write(e, o, cb, u);
}

FAILS(write, ENOSPC, -ENOSPC) {
    e->fd = env_keep(e, SYS(open("/dev/full", O_WRONLY | O_CLOEXEC)));
    return submit_write(e, o, cb, u);
}

FAILS(write, EFBIG, -EFBIG) {
    ignore_signals();
    with_file(e);
    struct rlimit limit = {4096, RLIM_INFINITY};
    SYS(setrlimit(RLIMIT_FSIZE, &limit));
    memcpy(e->text, "WRITE", 5);
    return aio_submit_write(e->ctx, e->fd, e->text, 5, 8192, o, cb, u);
}

SUBMIT(submit_writev) {
    memcpy(e->text, "WRITE", 5);
    e->iov[0] = (struct iovec){e->text, 2};
    e->iov[1] = (struct iovec){e->text + 2, 3};
    return aio_submit_writev(e->ctx, e->fd, e->iov, 2, 0, 0, o, cb, u);
}

ROW(writev, .setup = with_file, .check = check_written, .block = with_pipe_to_write,
    .unblock = drain);

FAILS(writev, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_writev(e, o, cb, u);
}

FAILS(writev, EFAULT, -EFAULT) {
    with_file(e);
    e->iov[0] = (struct iovec){BAD_ADDRESS, 5};
    return aio_submit_writev(e->ctx, e->fd, e->iov, 1, 0, 0, o, cb, u);
}

FAILS(writev, EPIPE, -EPIPE) {
    ignore_signals();
    int fds[2];
    make_pipe(fds);
    close(fds[0]);
    e->fd = env_keep(e, fds[1]);
    return submit_writev(e, o, cb, u);
}

FAILS(writev, EINVAL_of_the_count, -EINVAL) {
    with_file(e);
    return aio_submit_writev(e->ctx, e->fd, e->iov, -1, 0, 0, o, cb, u);
}

/* --- fsync ----------------------------------------------------------------------------------- */

SUBMIT(submit_fsync) { return aio_submit_fsync(e->ctx, e->fd, AIO_FSYNC_DATASYNC, o, cb, u); }

ROW(fsync, .setup = with_file, .check = check_is_zero);

FAILS(fsync, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_fsync(e, o, cb, u);
}

FAILS(fsync, EINVAL_of_a_pipe, -EINVAL) {
    with_pipe_to_read(e);
    return submit_fsync(e, o, cb, u);
}

FAILS(fsync, EINVAL_of_unknown_flags, -EINVAL) {
    with_file(e);
    return aio_submit_fsync(e->ctx, e->fd, 2, o, cb, u);
}

/* --- splice ---------------------------------------------------------------------------------- */

/* From a file into a pipe. */
static void with_file_and_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    e->other = env_keep(e, fds[1]);
    e->peer.sin_port = (in_port_t)env_keep(e, fds[0]);
    e->fd = env_file(e, e->path, "file", O_RDWR);
}

static void check_spliced(struct env *e, int32_t result) {
    char back[8] = {0};
    CHECK_EQ(result, 5);
    CHECK_EQ(read(e->peer.sin_port, back, sizeof back), 5);
    CHECK_MEM(back, "hello", 5);
}

/* From an empty pipe into another; `iov` has the far end of the empty one. */
static void with_two_pipes(struct env *e) {
    int from[2], to[2];
    make_pipe(from);
    make_pipe(to);
    e->fd = env_keep(e, from[0]);
    e->iov[0].iov_len = (size_t)env_keep(e, from[1]);
    e->other = env_keep(e, to[1]);
    e->peer.sin_port = (in_port_t)env_keep(e, to[0]);
}

static void feed_first_pipe(struct env *e) {
    write_all_or_fail((int)e->iov[0].iov_len, "hello", 5);
}

SUBMIT(submit_splice) {
    return aio_submit_splice(e->ctx, e->fd, 0, e->other, CUR, 32, 0, o, cb, u);
}

SUBMIT(submit_splice_of_pipes) {
    return aio_submit_splice(e->ctx, e->fd, CUR, e->other, CUR, 32, 0, o, cb, u);
}

ROW(splice, .setup = with_file_and_pipe, .check = check_spliced, .block = with_two_pipes,
    .submit_blocked = submit_splice_of_pipes, .unblock = feed_first_pipe);

FAILS(splice, EBADF_in, -EBADF) {
    with_file_and_pipe(e);
    e->fd = 9999;
    return submit_splice(e, o, cb, u);
}

FAILS(splice, EBADF_out, -EBADF) {
    with_file_and_pipe(e);
    e->other = 9999;
    return submit_splice(e, o, cb, u);
}

FAILS(splice, EINVAL_without_a_pipe, -EINVAL) {
    e->fd = env_file(e, e->path, "file", O_RDWR);
    e->other = env_file(e, e->path2, "other", O_RDWR);
    return aio_submit_splice(e->ctx, e->fd, 0, e->other, 0, 32, 0, o, cb, u);
}

FAILS(splice, ESPIPE, -ESPIPE) {
    with_two_pipes(e);
    return aio_submit_splice(e->ctx, e->fd, 3, e->other, CUR, 32, 0, o, cb, u);
}

FAILS(splice, EAGAIN, -EAGAIN) {
    with_two_pipes(e);
    return aio_submit_splice(e->ctx, e->fd, CUR, e->other, CUR, 32, SPLICE_F_NONBLOCK, o, cb, u);
}

/* --- tee ------------------------------------------------------------------------------------- */

/* From a pipe with "hello" in it into an empty one. */
static void with_full_and_empty_pipe(struct env *e) {
    with_two_pipes(e);
    feed_first_pipe(e);
}

SUBMIT(submit_tee) { return aio_submit_tee(e->ctx, e->fd, e->other, 32, 0, o, cb, u); }

static void check_teed(struct env *e, int32_t result) {
    char back[8] = {0};
    check_spliced(e, result);
    CHECK_EQ(read(e->fd, back, sizeof back), 5); /* it is still there */
    CHECK_MEM(back, "hello", 5);
}

ROW(tee, .setup = with_full_and_empty_pipe, .check = check_teed, .block = with_two_pipes,
    .unblock = feed_first_pipe);

FAILS(tee, EBADF_in, -EBADF) {
    with_two_pipes(e);
    e->fd = 9999;
    return submit_tee(e, o, cb, u);
}

FAILS(tee, EBADF_out, -EBADF) {
    with_two_pipes(e);
    e->other = 9999;
    return submit_tee(e, o, cb, u);
}

FAILS(tee, EINVAL_of_a_file, -EINVAL) {
    with_file_and_pipe(e);
    return submit_tee(e, o, cb, u);
}

FAILS(tee, EINVAL_of_one_pipe, -EINVAL) {
    with_two_pipes(e);
    e->other = (int)e->iov[0].iov_len;
    return submit_tee(e, o, cb, u);
}

FAILS(tee, EINVAL_of_unknown_flags, -EINVAL) {
    with_full_and_empty_pipe(e);
    return aio_submit_tee(e->ctx, e->fd, e->other, 32, 1 << 20, o, cb, u);
}

FAILS(tee, EAGAIN, -EAGAIN) {
    with_two_pipes(e);
    return aio_submit_tee(e->ctx, e->fd, e->other, 32, SPLICE_F_NONBLOCK, o, cb, u);
}
