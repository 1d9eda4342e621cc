/* Rows of the section fs. */
#include "operations.h"

#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define BAD_ADDRESS ((void *)(uintptr_t)8)
#define CUR AIO_OFFSET_CURRENT

static int make_file(struct env *e, char path[512], const char *name, int flags) {
    env_path(e, path, name);
    const int fd = env_keep(e, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    write_all_or_fail(fd, "hello", 5);
    if (flags == O_RDWR)
        return fd;
    return env_keep(e, SYS(open(path, flags | O_CLOEXEC)));
}

static void with_file(struct env *e) { e->fd = make_file(e, e->path, "file", O_RDWR); }

static void with_path(struct env *e) {
    make_file(e, e->path, "file", O_RDWR);
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

static void check_zero(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 0);
}

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
    e->fd = make_file(e, e->path, "file", O_WRONLY);
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
    e->fd = make_file(e, e->path, "file", O_RDONLY);
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

/* --- fsync, statx, ftruncate ----------------------------------------------------------------- */

SUBMIT(submit_fsync) { return aio_submit_fsync(e->ctx, e->fd, AIO_FSYNC_DATASYNC, o, cb, u); }

ROW(fsync, .setup = with_file, .check = check_zero);

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

SUBMIT(submit_statx) {
    return aio_submit_statx(e->ctx, AT_FDCWD, e->path, 0, STATX_BASIC_STATS, &e->statx, o, cb, u);
}

static void check_statx(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_EQ(e->statx.stx_size, 5);
}

ROW(statx, .setup = with_path, .check = check_statx);

FAILS(statx, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_statx(e, o, cb, u);
}

FAILS(statx, EBADF, -EBADF) {
    return aio_submit_statx(e->ctx, 9999, "relative", 0, STATX_SIZE, &e->statx, o, cb, u);
}

FAILS(statx, ENOTDIR, -ENOTDIR) {
    with_path(e);
    strcat(e->path, "/below");
    return submit_statx(e, o, cb, u);
}

FAILS(statx, ELOOP, -ELOOP) {
    env_path(e, e->path, "loop");
    SYS(symlink(e->path, e->path));
    return submit_statx(e, o, cb, u);
}

FAILS(statx, EINVAL_of_a_reserved_mask, -EINVAL) {
    with_path(e);
    return aio_submit_statx(e->ctx, AT_FDCWD, e->path, 0, 0x80000000u, &e->statx, o, cb, u);
}

FAILS(statx, ENAMETOOLONG, -ENAMETOOLONG) {
    memset(e->path, 'n', 300);
    return submit_statx(e, o, cb, u);
}

SUBMIT(submit_ftruncate) { return aio_submit_ftruncate(e->ctx, e->fd, 3, o, cb, u); }

static void check_truncated(struct env *e, int32_t result) {
    struct stat st;
    CHECK_EQ(result, 0);
    SYS(fstat(e->fd, &st));
    CHECK_EQ(st.st_size, 3);
}

ROW(ftruncate, .setup = with_file, .check = check_truncated);

FAILS(ftruncate, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_a_file_open_for_reading, -EINVAL) {
    e->fd = make_file(e, e->path, "file", O_RDONLY);
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_a_pipe, -EINVAL) {
    with_pipe_to_read(e);
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_the_length, -EINVAL) {
    with_file(e);
    return aio_submit_ftruncate(e->ctx, e->fd, 1ull << 63, o, cb, u);
}

/* --- names ----------------------------------------------------------------------------------- */

SUBMIT(submit_unlinkat) { return aio_submit_unlinkat(e->ctx, AT_FDCWD, e->path, 0, o, cb, u); }

static void check_unlinked(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_NE(access(e->path, F_OK), 0);
}

ROW(unlinkat, .setup = with_path, .check = check_unlinked);

static void with_folder(struct env *e) {
    env_path(e, e->path, "folder");
    SYS(mkdir(e->path, 0700));
}

static void with_full_folder(struct env *e) {
    with_folder(e);
    snprintf(e->path2, sizeof e->path2, "%.500s/file", e->path);
    close(SYS(open(e->path2, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
}

FAILS(unlinkat, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_unlinkat(e, o, cb, u);
}

FAILS(unlinkat, EISDIR, -EISDIR) {
    with_folder(e);
    return submit_unlinkat(e, o, cb, u);
}

FAILS(unlinkat, ENOTDIR, -ENOTDIR) {
    with_path(e);
    return aio_submit_unlinkat(e->ctx, AT_FDCWD, e->path, AT_REMOVEDIR, o, cb, u);
}

FAILS(unlinkat, ENOTEMPTY, -ENOTEMPTY) {
    with_full_folder(e);
    return aio_submit_unlinkat(e->ctx, AT_FDCWD, e->path, AT_REMOVEDIR, o, cb, u);
}

FAILS(unlinkat, EBADF, -EBADF) {
    return aio_submit_unlinkat(e->ctx, 9999, "relative", 0, o, cb, u);
}

FAILS(unlinkat, EINVAL_of_unknown_flags, -EINVAL) {
    with_path(e);
    return aio_submit_unlinkat(e->ctx, AT_FDCWD, e->path, AT_SYMLINK_FOLLOW, o, cb, u);
}

SUBMIT(submit_mkdirat) { return aio_submit_mkdirat(e->ctx, AT_FDCWD, e->path2, 0700, o, cb, u); }

static void check_made_folder(struct env *e, int32_t result) {
    struct stat st;
    CHECK_EQ(result, 0);
    SYS(stat(e->path2, &st));
    CHECK_EQ(st.st_mode, S_IFDIR | 0700);
}

ROW(mkdirat, .setup = with_path, .check = check_made_folder);

FAILS(mkdirat, EEXIST, -EEXIST) {
    with_path(e);
    return aio_submit_mkdirat(e->ctx, AT_FDCWD, e->path, 0700, o, cb, u);
}

FAILS(mkdirat, ENOENT, -ENOENT) {
    env_path(e, e->path2, "none/below");
    return submit_mkdirat(e, o, cb, u);
}

FAILS(mkdirat, ENOTDIR, -ENOTDIR) {
    with_path(e);
    strcat(e->path, "/below");
    return aio_submit_mkdirat(e->ctx, AT_FDCWD, e->path, 0700, o, cb, u);
}

FAILS(mkdirat, EBADF, -EBADF) {
    return aio_submit_mkdirat(e->ctx, 9999, "relative", 0700, o, cb, u);
}

SUBMIT(submit_renameat) {
    return aio_submit_renameat(e->ctx, AT_FDCWD, e->path, AT_FDCWD, e->path2, 0, o, cb, u);
}

static void check_renamed(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_NE(access(e->path, F_OK), 0);
    CHECK_EQ(access(e->path2, F_OK), 0);
}

ROW(renameat, .setup = with_path, .check = check_renamed);

FAILS(renameat, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    env_path(e, e->path2, "new");
    return submit_renameat(e, o, cb, u);
}

FAILS(renameat, EEXIST, -EEXIST) {
    with_path(e);
    SYS(symlink("x", e->path2));
    return aio_submit_renameat(e->ctx, AT_FDCWD, e->path, AT_FDCWD, e->path2, RENAME_NOREPLACE, o,
                               cb, u);
}

FAILS(renameat, EISDIR, -EISDIR) {
    with_path(e);
    SYS(mkdir(e->path2, 0700));
    return submit_renameat(e, o, cb, u);
}

FAILS(renameat, ENOTDIR, -ENOTDIR) {
    with_path(e);
    char file[512];
    memcpy(file, e->path, sizeof file);
    with_folder(e);
    return aio_submit_renameat(e->ctx, AT_FDCWD, e->path, AT_FDCWD, file, 0, o, cb, u);
}

FAILS(renameat, EINVAL_into_itself, -EINVAL) {
    with_folder(e);
    snprintf(e->path2, sizeof e->path2, "%.500s/below", e->path);
    return submit_renameat(e, o, cb, u);
}

FAILS(renameat, EXDEV, -EXDEV) {
    with_path(e);
    struct stat here, there;
    SYS(stat(temp_dir(), &here));
    if (stat("/dev/shm", &there) != 0 || here.st_dev == there.st_dev)
        SKIP("no second file system");
    snprintf(e->path2, sizeof e->path2, "/dev/shm/aio-test-%d", getpid());
    return submit_renameat(e, o, cb, u);
}

FAILS(renameat, EBADF, -EBADF) {
    with_path(e);
    return aio_submit_renameat(e->ctx, AT_FDCWD, e->path, 9999, "relative", 0, o, cb, u);
}

SUBMIT(submit_symlinkat) {
    return aio_submit_symlinkat(e->ctx, "the target", AT_FDCWD, e->path2, o, cb, u);
}

static void check_symlinked(struct env *e, int32_t result) {
    char target[32] = {0};
    CHECK_EQ(result, 0);
    CHECK_EQ(readlink(e->path2, target, sizeof target - 1), 10);
    CHECK_STR(target, "the target");
}

ROW(symlinkat, .setup = with_path, .check = check_symlinked);

FAILS(symlinkat, EEXIST, -EEXIST) {
    with_path(e);
    return aio_submit_symlinkat(e->ctx, "x", AT_FDCWD, e->path, o, cb, u);
}

FAILS(symlinkat, ENOENT_for_an_empty_target, -ENOENT) {
    env_path(e, e->path2, "new");
    return aio_submit_symlinkat(e->ctx, "", AT_FDCWD, e->path2, o, cb, u);
}

FAILS(symlinkat, ENOTDIR, -ENOTDIR) {
    with_path(e);
    strcat(e->path, "/below");
    return aio_submit_symlinkat(e->ctx, "x", AT_FDCWD, e->path, o, cb, u);
}

FAILS(symlinkat, EBADF, -EBADF) {
    return aio_submit_symlinkat(e->ctx, "x", 9999, "relative", o, cb, u);
}

SUBMIT(submit_linkat) {
    return aio_submit_linkat(e->ctx, AT_FDCWD, e->path, AT_FDCWD, e->path2, 0, o, cb, u);
}

static void check_linked(struct env *e, int32_t result) {
    struct stat a, b;
    CHECK_EQ(result, 0);
    SYS(stat(e->path, &a));
    SYS(stat(e->path2, &b));
    CHECK_EQ(a.st_ino, b.st_ino);
}

ROW(linkat, .setup = with_path, .check = check_linked);

FAILS(linkat, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    env_path(e, e->path2, "new");
    return submit_linkat(e, o, cb, u);
}

FAILS(linkat, EEXIST, -EEXIST) {
    with_path(e);
    SYS(symlink("x", e->path2));
    return submit_linkat(e, o, cb, u);
}

FAILS(linkat, EPERM_of_a_folder, -EPERM) {
    with_folder(e);
    env_path(e, e->path2, "new");
    return submit_linkat(e, o, cb, u);
}

FAILS(linkat, EINVAL_of_unknown_flags, -EINVAL) {
    with_path(e);
    return aio_submit_linkat(e->ctx, AT_FDCWD, e->path, AT_FDCWD, e->path2, AT_REMOVEDIR, o, cb, u);
}

FAILS(linkat, EBADF, -EBADF) {
    with_path(e);
    return aio_submit_linkat(e->ctx, 9999, "relative", AT_FDCWD, e->path2, 0, o, cb, u);
}

/* --- splice ---------------------------------------------------------------------------------- */

/* From a file into a pipe. */
static void with_file_and_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    e->other = env_keep(e, fds[1]);
    e->peer.sin_port = (in_port_t)env_keep(e, fds[0]);
    e->fd = make_file(e, e->path, "file", O_RDWR);
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
    e->fd = make_file(e, e->path, "file", O_RDWR);
    e->other = make_file(e, e->path2, "other", O_RDWR);
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
