/* Rows of the section files. What they do to the table is shown in test_files.c. */
#include "operations.h"

#define SLOT 3

static void with_table(struct env *e) {
    const aio_files_options options = {.size = sizeof options, .count = 8};
    e->fd = env_file(e, e->path, "file", O_RDWR);
    CHECK_EQ(aio_files_register(e->ctx, &options), 0);
}

/* --- files_update ---------------------------------------------------------------------------- */

static void check_one(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, 1);
}

static aio_op_id update(struct env *e, uint32_t first, int fd, const aio_submit_options *o,
                        aio_callback cb, void *u) {
    return aio_submit_files_update(e->ctx, first, &fd, 1, o, cb, u);
}

SUBMIT(submit_files_update) { return update(e, SLOT, e->fd, o, cb, u); }

ROW(files_update, .setup = with_table, .check = check_one);

FAILS(files_update, EBADF, -EBADF) {
    with_table(e);
    return update(e, SLOT, 9999, o, cb, u);
}

FAILS(files_update, EINVAL_of_a_number_below_minus_one, -EINVAL) {
    with_table(e);
    return update(e, SLOT, -2, o, cb, u);
}

FAILS(files_update, EINVAL_behind_the_table, -EINVAL) {
    with_table(e);
    return update(e, 8, e->fd, o, cb, u);
}

FAILS(files_update, EINVAL_of_nothing, -EINVAL) {
    with_table(e);
    return aio_submit_files_update(e->ctx, 0, &e->fd, 0, o, cb, u);
}

FAILS(files_update, EINVAL_of_too_many, -EINVAL) {
    with_table(e);
    return aio_submit_files_update(e->ctx, 0, &e->fd, 16385, o, cb, u);
}

FAILS(files_update, EINVAL_of_NULL, -EINVAL) {
    with_table(e);
    return aio_submit_files_update(e->ctx, 0, NULL, 1, o, cb, u);
}

FAILS(files_update, ENXIO, -ENXIO) { return update(e, 0, 0, o, cb, u); }

/* --- files_install --------------------------------------------------------------------------- */

static void with_filled_slot(struct env *e) {
    needs_ring_of(e->ctx, 6, 8);
    with_table(e);
    CHECK_EQ(aio_files_update(e->ctx, SLOT, &e->fd, 1), 1);
}

SUBMIT(submit_files_install) { return aio_submit_files_install(e->ctx, SLOT, o, cb, u); }

static void check_installed(struct env *e, int32_t result) {
    struct stat a, b;
    CHECK_GE(result, 0);
    CHECK_NE(result, e->fd);
    SYS(fstat(result, &a));
    SYS(fstat(e->fd, &b));
    CHECK_EQ(a.st_ino, b.st_ino);
    CHECK(is_cloexec(result));
}

ROW(files_install, .shown = "fixed_fd_install", .setup = with_filled_slot, .check = check_installed,
    .makes_descriptor = true);

FAILS(files_install, EBADF, -EBADF) {
    with_filled_slot(e);
    return aio_submit_files_install(e->ctx, SLOT + 1, o, cb, u);
}

FAILS(files_install, EBADF_behind_the_table, -EBADF) {
    with_filled_slot(e);
    return aio_submit_files_install(e->ctx, 8, o, cb, u);
}

FAILS(files_install, EBADF_without_a_table, -EBADF) {
    needs_ring_of(e->ctx, 6, 8);
    return aio_submit_files_install(e->ctx, 0, o, cb, u);
}

FAILS(files_install, EMFILE, -EMFILE) {
    with_filled_slot(e);
    env_no_descriptor_left(e);
    return submit_files_install(e, o, cb, u);
}
