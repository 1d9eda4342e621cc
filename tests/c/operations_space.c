/* Rows of space and memory. */
#include "operations.h"

#include <linux/falloc.h>
#include <sys/mman.h>

static void with_file(struct env *e) { e->fd = env_file(e, e->path, "file", O_RDWR); }

static void with_pipe(struct env *e) {
    int fds[2];
    make_pipe(fds);
    env_keep_both(e, fds);
}

static off_t size_of(int fd) {
    struct stat st;
    SYS(fstat(fd, &st));
    return st.st_size;
}

/* --- ftruncate ------------------------------------------------------------------------------- */

SUBMIT(submit_ftruncate) { return aio_submit_ftruncate(e->ctx, e->fd, 3, o, cb, u); }

static void check_truncated(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_EQ(size_of(e->fd), 3);
}

ROW(ftruncate, .setup = with_file, .check = check_truncated);

FAILS(ftruncate, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_a_file_open_for_reading, -EINVAL) {
    e->fd = env_file(e, e->path, "file", O_RDONLY);
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_a_pipe, -EINVAL) {
    with_pipe(e);
    return submit_ftruncate(e, o, cb, u);
}

FAILS(ftruncate, EINVAL_of_the_length, -EINVAL) {
    with_file(e);
    return aio_submit_ftruncate(e->ctx, e->fd, 1ull << 63, o, cb, u);
}

/* --- fallocate ------------------------------------------------------------------------------- */

static aio_op_id allocate(struct env *e, int mode, uint64_t offset, uint64_t len,
                          const aio_submit_options *o, aio_callback cb, void *u) {
    return aio_submit_fallocate(e->ctx, e->fd, mode, offset, len, o, cb, u);
}

SUBMIT(submit_fallocate) { return allocate(e, 0, 4096, 4096, o, cb, u); }

static void check_allocated(struct env *e, int32_t result) {
    CHECK_EQ(result, 0);
    CHECK_EQ(size_of(e->fd), 8192);
}

ROW(fallocate, .setup = with_file, .check = check_allocated);

FAILS(fallocate, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_fallocate(e, o, cb, u);
}

FAILS(fallocate, EBADF_of_a_file_open_for_reading, -EBADF) {
    e->fd = env_file(e, e->path, "file", O_RDONLY);
    return submit_fallocate(e, o, cb, u);
}

FAILS(fallocate, EINVAL_of_no_length, -EINVAL) {
    with_file(e);
    return allocate(e, 0, 0, 0, o, cb, u);
}

FAILS(fallocate, EINVAL_of_the_offset, -EINVAL) {
    with_file(e);
    return allocate(e, 0, 1ull << 63, 5, o, cb, u);
}

FAILS(fallocate, EINVAL_of_the_length, -EINVAL) {
    with_file(e);
    return allocate(e, 0, 0, 1ull << 63, o, cb, u);
}

FAILS(fallocate, EFBIG, -EFBIG) {
    with_file(e);
    return allocate(e, 0, INT64_MAX, 5, o, cb, u);
}

FAILS(fallocate, ESPIPE, -ESPIPE) {
    with_pipe(e);
    e->fd = e->other;
    return submit_fallocate(e, o, cb, u);
}

FAILS(fallocate, ENODEV, -ENODEV) {
    e->fd = env_keep(e, SYS(open("/dev/null", O_RDWR | O_CLOEXEC)));
    return submit_fallocate(e, o, cb, u);
}

FAILS(fallocate, EOPNOTSUPP_of_a_hole_that_changes_the_size, -EOPNOTSUPP) {
    with_file(e);
    return allocate(e, FALLOC_FL_PUNCH_HOLE, 0, 4096, o, cb, u);
}

/* --- sync_file_range ------------------------------------------------------------------------- */

static aio_op_id sync_range(struct env *e, uint64_t offset, uint64_t nbytes, uint32_t flags,
                            const aio_submit_options *o, aio_callback cb, void *u) {
    return aio_submit_sync_file_range(e->ctx, e->fd, offset, nbytes, flags, o, cb, u);
}

SUBMIT(submit_sync_file_range) {
    return sync_range(e, 0, 0, SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER, o, cb, u);
}

ROW(sync_file_range, .setup = with_file, .check = check_is_zero);

FAILS(sync_file_range, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_sync_file_range(e, o, cb, u);
}

FAILS(sync_file_range, ESPIPE, -ESPIPE) {
    with_pipe(e);
    return submit_sync_file_range(e, o, cb, u);
}

FAILS(sync_file_range, EINVAL_of_unknown_flags, -EINVAL) {
    with_file(e);
    return sync_range(e, 0, 0, 64, o, cb, u);
}

FAILS(sync_file_range, EINVAL_of_the_length, -EINVAL) {
    with_file(e);
    return sync_range(e, 0, 1ull << 32, 0, o, cb, u);
}

FAILS(sync_file_range, EINVAL_of_the_offset, -EINVAL) {
    with_file(e);
    return sync_range(e, 1ull << 63, 0, 0, o, cb, u);
}

/* --- advice ---------------------------------------------------------------------------------- */

SUBMIT(submit_fadvise) {
    return aio_submit_fadvise(e->ctx, e->fd, 0, 0, POSIX_FADV_SEQUENTIAL, o, cb, u);
}

ROW(fadvise, .setup = with_file, .check = check_is_zero);

FAILS(fadvise, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_fadvise(e, o, cb, u);
}

FAILS(fadvise, ESPIPE, -ESPIPE) {
    with_pipe(e);
    return submit_fadvise(e, o, cb, u);
}

FAILS(fadvise, EINVAL_of_the_advice, -EINVAL) {
    with_file(e);
    return aio_submit_fadvise(e->ctx, e->fd, 0, 0, 77, o, cb, u);
}

FAILS(fadvise, EINVAL_of_the_length, -EINVAL) {
    with_file(e);
    return aio_submit_fadvise(e->ctx, e->fd, 0, 1ull << 63, POSIX_FADV_NORMAL, o, cb, u);
}

/* A page of sevens, which MADV_DONTNEED makes one of zeroes. */
static char page[4096] __attribute__((aligned(4096)));

static void with_page(struct env *e) {
    (void)e;
    memset(page, 7, sizeof page);
}

SUBMIT(submit_madvise) {
    return aio_submit_madvise(e->ctx, page, sizeof page, MADV_DONTNEED, o, cb, u);
}

static void check_forgotten(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 0);
    for (size_t i = 0; i < sizeof page; i++)
        CHECK_EQ(page[i], 0);
}

ROW(madvise, .setup = with_page, .check = check_forgotten);

FAILS(madvise, EINVAL_of_the_address, -EINVAL) {
    return aio_submit_madvise(e->ctx, page + 1, 4096, MADV_NORMAL, o, cb, u);
}

FAILS(madvise, EINVAL_of_the_advice, -EINVAL) {
    return aio_submit_madvise(e->ctx, page, 4096, 7777, o, cb, u);
}

FAILS(madvise, ENOMEM_of_what_is_not_mapped, -ENOMEM) {
    void *lowest = (void *)(uintptr_t)4096; /* where the kernel lets nothing be mapped */
    return aio_submit_madvise(e->ctx, lowest, 4096, MADV_WILLNEED, o, cb, u);
}
