/* Rows of the section registered. Buffer 0 is none, 1 and 2 are the env's memory. */
#include "operations.h"

#define CUR AIO_OFFSET_CURRENT

static void register_memory(struct env *e) {
    e->areas[1] = (struct iovec){e->data, sizeof e->data};
    e->areas[2] = (struct iovec){e->text, 5};
    const aio_buffers_options options = {.size = sizeof options, .count = 3, .iov = e->areas};
    CHECK_EQ(aio_buffers_register(e->ctx, &options), 0);
}

static void with_file(struct env *e) {
    register_memory(e);
    e->fd = env_file(e, e->path, "file", O_RDWR);
}

static void with_pipe_to_read(struct env *e) {
    int fds[2];
    register_memory(e);
    make_pipe(fds);
    env_keep_both(e, fds);
}

static void with_pipe_to_write(struct env *e) {
    int fds[2];
    register_memory(e);
    make_pipe(fds);
    e->fd = env_keep(e, fds[1]);
    e->other = env_keep(e, fds[0]);
    fill_until_full(e->fd);
}

static void feed(struct env *e) { write_all_or_fail(e->other, "hello", 5); }

static void drain(struct env *e) { drain_until_empty(e->other); }

static void check_read(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_MEM(e->data, "hello", 5);
}

static void check_written(struct env *e, int32_t result) {
    char back[8] = {0};
    CHECK_EQ(result, 5);
    if (e->path[0]) {
        CHECK_EQ(pread(e->fd, back, 8, 0), 5);
        CHECK_MEM(back, "HELLO", 5);
    }
}

/* --- one buffer ------------------------------------------------------------------------------ */

SUBMIT(submit_read_fixed) {
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, sizeof e->data, 0, 1, o, cb, u);
}

SUBMIT(submit_read_fixed_of_a_pipe) {
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, sizeof e->data, CUR, 1, o, cb, u);
}

ROW(read_fixed, .setup = with_file, .check = check_read, .block = with_pipe_to_read,
    .submit_blocked = submit_read_fixed_of_a_pipe, .unblock = feed);

FAILS(read_fixed, EBADF, -EBADF) {
    register_memory(e);
    e->fd = 9999;
    return submit_read_fixed(e, o, cb, u);
}

FAILS(read_fixed, EINVAL_of_the_buffer, -EINVAL) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, NULL, 5, 0, 1, o, cb, u);
}

FAILS(read_fixed, EFAULT_in_front_of_the_buffer, -EFAULT) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, e->data - 1, 2, 0, 1, o, cb, u);
}

FAILS(read_fixed, EFAULT_behind_the_buffer, -EFAULT) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, e->text, 6, 0, 2, o, cb, u);
}

FAILS(read_fixed, EFAULT_of_an_empty_place, -EFAULT) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, 5, 0, 0, o, cb, u);
}

FAILS(read_fixed, EFAULT_of_a_number_outside_of_the_table, -EFAULT) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, 5, 0, 3, o, cb, u);
}

FAILS(read_fixed, EFAULT_of_a_number_of_no_table, -EFAULT) {
    with_file(e);
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, 5, 0, 0x10001, o, cb, u);
}

FAILS(read_fixed, EFAULT_without_a_table, -EFAULT) {
    e->fd = env_file(e, e->path, "file", O_RDWR);
    return aio_submit_read_fixed(e->ctx, e->fd, e->data, 5, 0, 0, o, cb, u);
}

SUBMIT(submit_write_fixed) {
    memcpy(e->text, "HELLO", 5);
    return aio_submit_write_fixed(e->ctx, e->fd, e->text, 5, 0, 2, o, cb, u);
}

SUBMIT(submit_write_fixed_to_a_pipe) {
    memcpy(e->text, "HELLO", 5);
    return aio_submit_write_fixed(e->ctx, e->fd, e->text, 5, CUR, 2, o, cb, u);
}

ROW(write_fixed, .setup = with_file, .check = check_written, .block = with_pipe_to_write,
    .submit_blocked = submit_write_fixed_to_a_pipe, .unblock = drain);

FAILS(write_fixed, EBADF_of_a_file_open_for_reading, -EBADF) {
    register_memory(e);
    e->fd = env_file(e, e->path, "file", O_RDONLY);
    return submit_write_fixed(e, o, cb, u);
}

FAILS(write_fixed, EINVAL_of_the_buffer, -EINVAL) {
    with_file(e);
    return aio_submit_write_fixed(e->ctx, e->fd, NULL, 5, 0, 1, o, cb, u);
}

FAILS(write_fixed, EFAULT_behind_the_buffer, -EFAULT) {
    with_file(e);
    return aio_submit_write_fixed(e->ctx, e->fd, e->text + 1, 5, 0, 2, o, cb, u);
}

/* --- several --------------------------------------------------------------------------------- */

static const struct iovec *pieces(struct env *e, char *from, size_t first, size_t second) {
    e->iov[0] = (struct iovec){from, first};
    e->iov[1] = (struct iovec){from + first, second};
    return e->iov;
}

SUBMIT(submit_readv_fixed) {
    return aio_submit_readv_fixed(e->ctx, e->fd, pieces(e, e->data, 2, 30), 2, 0, 0, 1, o, cb, u);
}

SUBMIT(submit_readv_fixed_of_a_pipe) {
    return aio_submit_readv_fixed(e->ctx, e->fd, pieces(e, e->data, 2, 30), 2, CUR, 0, 1, o, cb, u);
}

ROW(readv_fixed, .shown = "readv" /* all of it before Linux 6.15 */, .setup = with_file,
    .check = check_read, .block = with_pipe_to_read, .submit_blocked = submit_readv_fixed_of_a_pipe,
    .unblock = feed);

FAILS(readv_fixed, EBADF, -EBADF) {
    register_memory(e);
    e->fd = 9999;
    return submit_readv_fixed(e, o, cb, u);
}

FAILS(readv_fixed, EINVAL_of_the_vectors, -EINVAL) {
    with_file(e);
    return aio_submit_readv_fixed(e->ctx, e->fd, NULL, 2, 0, 0, 1, o, cb, u);
}

FAILS(readv_fixed, EINVAL_of_the_vector_count, -EINVAL) {
    with_file(e);
    return aio_submit_readv_fixed(e->ctx, e->fd, e->iov, 1025, 0, 0, 1, o, cb, u);
}

FAILS(readv_fixed, EFAULT_of_a_vector_outside, -EFAULT) {
    with_file(e);
    return aio_submit_readv_fixed(e->ctx, e->fd, pieces(e, e->data, 2, 63), 2, 0, 0, 1, o, cb, u);
}

FAILS(readv_fixed, EFAULT_of_an_empty_vector, -EFAULT) {
    with_file(e);
    return aio_submit_readv_fixed(e->ctx, e->fd, pieces(e, e->data, 0, 5), 2, 0, 0, 1, o, cb, u);
}

FAILS(readv_fixed, EFAULT_of_an_empty_place, -EFAULT) {
    with_file(e);
    return aio_submit_readv_fixed(e->ctx, e->fd, pieces(e, e->data, 1, 1), 2, 0, 0, 0, o, cb, u);
}

SUBMIT(submit_writev_fixed) {
    memcpy(e->text, "HELLO", 5);
    return aio_submit_writev_fixed(e->ctx, e->fd, pieces(e, e->text, 2, 3), 2, 0, 0, 2, o, cb, u);
}

SUBMIT(submit_writev_fixed_to_a_pipe) {
    memcpy(e->text, "HELLO", 5);
    return aio_submit_writev_fixed(e->ctx, e->fd, pieces(e, e->text, 2, 3), 2, CUR, 0, 2, o, cb, u);
}

ROW(writev_fixed, .shown = "writev", .setup = with_file, .check = check_written,
    .block = with_pipe_to_write, .submit_blocked = submit_writev_fixed_to_a_pipe, .unblock = drain);

FAILS(writev_fixed, EBADF_of_a_file_open_for_reading, -EBADF) {
    register_memory(e);
    e->fd = env_file(e, e->path, "file", O_RDONLY);
    return submit_writev_fixed(e, o, cb, u);
}

FAILS(writev_fixed, EINVAL_of_the_vectors, -EINVAL) {
    with_file(e);
    return aio_submit_writev_fixed(e->ctx, e->fd, NULL, 2, 0, 0, 1, o, cb, u);
}

FAILS(writev_fixed, EFAULT_of_a_vector_outside, -EFAULT) {
    with_file(e);
    return aio_submit_writev_fixed(e->ctx, e->fd, pieces(e, e->text, 3, 3), 2, 0, 0, 2, o, cb, u);
}
