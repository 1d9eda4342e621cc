/* Rows of names and what belongs to them. */
#include "operations.h"

#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/xattr.h>

static void with_path(struct env *e) {
    e->fd = env_file(e, e->path, "file", O_RDWR);
    env_path(e, e->path2, "new");
}

/* --- statx ----------------------------------------------------------------------------------- */

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

/* --- extended attributes --------------------------------------------------------------------- */

#define NAME "user.aio"

static void with_attribute(struct env *e) {
    with_path(e);
    SYS(setxattr(e->path, NAME, "hello", 5, 0));
}

static void check_value(struct env *e, int32_t result) {
    CHECK_EQ(result, 5);
    CHECK_MEM(e->data, "hello", 5);
}

static void check_set(struct env *e, int32_t result) {
    char value[16];
    CHECK_EQ(result, 0);
    CHECK_EQ(getxattr(e->path, NAME, value, sizeof value), 5);
    CHECK_MEM(value, "VALUE", 5);
}

static aio_op_id get(struct env *e, const char *path, const char *name, void *value, size_t size,
                     const aio_submit_options *o, aio_callback cb, void *u) {
    return aio_submit_getxattr(e->ctx, path, name, value, size, o, cb, u);
}

static aio_op_id set(struct env *e, const char *name, size_t size, int flags,
                     const aio_submit_options *o, aio_callback cb, void *u) {
    static char value[65537] = "VALUE";
    return aio_submit_setxattr(e->ctx, e->path, name, value, size, flags, o, cb, u);
}

SUBMIT(submit_getxattr) { return get(e, e->path, NAME, e->data, sizeof e->data, o, cb, u); }

ROW(getxattr, .setup = with_attribute, .check = check_value);

FAILS(getxattr, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_getxattr(e, o, cb, u);
}

FAILS(getxattr, ENODATA, -ENODATA) {
    with_path(e);
    return submit_getxattr(e, o, cb, u);
}

FAILS(getxattr, ERANGE_of_the_size, -ERANGE) {
    with_attribute(e);
    return get(e, e->path, NAME, e->data, 4, o, cb, u);
}

FAILS(getxattr, ERANGE_of_an_empty_name, -ERANGE) {
    with_attribute(e);
    return get(e, e->path, "", e->data, sizeof e->data, o, cb, u);
}

FAILS(getxattr, ERANGE_of_a_long_name, -ERANGE) {
    with_attribute(e);
    memset(e->path2, 'n', 256);
    e->path2[256] = '\0';
    return get(e, e->path, e->path2, e->data, sizeof e->data, o, cb, u);
}

FAILS(getxattr, EOPNOTSUPP_of_an_unknown_namespace, -EOPNOTSUPP) {
    with_attribute(e);
    return get(e, e->path, "nobody.aio", e->data, sizeof e->data, o, cb, u);
}

FAILS(getxattr, EFAULT, -EFAULT) {
    with_attribute(e);
    return get(e, e->path, NAME, BAD_ADDRESS, 5, o, cb, u);
}

FAILS(getxattr, EINVAL_without_a_value, -EINVAL) {
    with_attribute(e);
    return get(e, e->path, NAME, NULL, 5, o, cb, u);
}

FAILS(getxattr, EINVAL_without_a_path, -EINVAL) { return get(e, NULL, NAME, e->data, 5, o, cb, u); }

FAILS(getxattr, ENAMETOOLONG, -ENAMETOOLONG) {
    memset(e->path, 'n', 300);
    return submit_getxattr(e, o, cb, u);
}

SUBMIT(submit_setxattr) { return set(e, NAME, 5, 0, o, cb, u); }

ROW(setxattr, .setup = with_path, .check = check_set);

FAILS(setxattr, ENOENT, -ENOENT) {
    env_path(e, e->path, "none");
    return submit_setxattr(e, o, cb, u);
}

FAILS(setxattr, EEXIST, -EEXIST) {
    with_attribute(e);
    return set(e, NAME, 5, XATTR_CREATE, o, cb, u);
}

FAILS(setxattr, ENODATA, -ENODATA) {
    with_path(e);
    return set(e, NAME, 5, XATTR_REPLACE, o, cb, u);
}

FAILS(setxattr, EINVAL_of_unknown_flags, -EINVAL) {
    with_path(e);
    return set(e, NAME, 5, 4, o, cb, u);
}

FAILS(setxattr, E2BIG, -E2BIG) {
    with_path(e);
    return set(e, NAME, 65537, 0, o, cb, u);
}

FAILS(setxattr, ERANGE_of_an_empty_name, -ERANGE) {
    with_path(e);
    return set(e, "", 5, 0, o, cb, u);
}

FAILS(setxattr, EOPNOTSUPP_of_an_unknown_namespace, -EOPNOTSUPP) {
    with_path(e);
    return set(e, "nobody.aio", 5, 0, o, cb, u);
}

FAILS(setxattr, EPERM_of_a_fifo, -EPERM) { /* a user's attribute of no file and no folder */
    env_path(e, e->path, "fifo");
    SYS(mkfifo(e->path, 0600));
    return submit_setxattr(e, o, cb, u);
}

SUBMIT(submit_fgetxattr) {
    return aio_submit_fgetxattr(e->ctx, e->fd, NAME, e->data, sizeof e->data, o, cb, u);
}

ROW(fgetxattr, .setup = with_attribute, .check = check_value);

FAILS(fgetxattr, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_fgetxattr(e, o, cb, u);
}

FAILS(fgetxattr, ENODATA, -ENODATA) {
    with_path(e);
    return submit_fgetxattr(e, o, cb, u);
}

FAILS(fgetxattr, ERANGE, -ERANGE) {
    with_attribute(e);
    return aio_submit_fgetxattr(e->ctx, e->fd, NAME, e->data, 4, o, cb, u);
}

SUBMIT(submit_fsetxattr) {
    memcpy(e->text, "VALUE", 5);
    return aio_submit_fsetxattr(e->ctx, e->fd, NAME, e->text, 5, 0, o, cb, u);
}

ROW(fsetxattr, .setup = with_path, .check = check_set);

FAILS(fsetxattr, EBADF, -EBADF) {
    e->fd = 9999;
    return submit_fsetxattr(e, o, cb, u);
}

FAILS(fsetxattr, EEXIST, -EEXIST) {
    with_attribute(e);
    return aio_submit_fsetxattr(e->ctx, e->fd, NAME, e->text, 5, XATTR_CREATE, o, cb, u);
}

FAILS(fsetxattr, E2BIG, -E2BIG) {
    with_path(e);
    return aio_submit_fsetxattr(e->ctx, e->fd, NAME, e->text, 65537, 0, o, cb, u);
}
