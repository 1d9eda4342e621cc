/* Rows of the section watches. */
#include "operations.h"

#include <sys/inotify.h>

static void make_folder(struct env *e) {
    env_path(e, e->path, "folder");
    SYS(mkdir(e->path, 0700));
}

static void change(struct env *e) {
    char name[600];
    snprintf(name, sizeof name, "%s/file", e->path);
    SYS(close(SYS(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600))));
}

SUBMIT(submit_watch_to_come) { return aio_submit_watch(e->ctx, e->path, IN_CREATE, o, cb, u); }

SUBMIT(submit_watch) {
    const aio_op_id id = submit_watch_to_come(e, o, cb, u);
    if (id > 0)
        change(e);
    return id;
}

static void check_created(struct env *e, int32_t result) {
    (void)e;
    CHECK_EQ(result, IN_CREATE);
}

ROW(watch, .setup = make_folder, .check = check_created, .block = make_folder,
    .submit_blocked = submit_watch_to_come, .unblock = change, .multishot = true, .service = true,
    .brings = true);

FAILS(watch, EINVAL_without_a_path, -EINVAL) {
    return aio_submit_watch(e->ctx, NULL, IN_CREATE, o, cb, u);
}

FAILS(watch, EINVAL_without_an_event, -EINVAL) {
    return aio_submit_watch(e->ctx, "/", IN_ONLYDIR, o, cb, u);
}

FAILS(watch, EINVAL_of_a_flag_that_means_nothing_here, -EINVAL) {
    return aio_submit_watch(e->ctx, "/", IN_CREATE | IN_ONESHOT, o, cb, u);
}

FAILS(watch, EINVAL_of_a_quiet_one, -EINVAL) {
    (void)o;
    return aio_submit_watch(e->ctx, "/", IN_CREATE, WITH(.flags = AIO_SUBMIT_QUIET), cb, u);
}

FAILS(watch, ENAMETOOLONG, -ENAMETOOLONG) {
    char path[5000];
    memset(path, '/', sizeof path - 1);
    path[sizeof path - 1] = 0;
    return aio_submit_watch(e->ctx, path, IN_CREATE, o, cb, u);
}

FAILS(watch, ENOENT, -ENOENT) { return aio_submit_watch(e->ctx, "/nowhere", IN_CREATE, o, cb, u); }

FAILS(watch, ENOTDIR, -ENOTDIR) {
    return aio_submit_watch(e->ctx, "/dev/null", IN_CREATE | IN_ONLYDIR, o, cb, u);
}

FAILS(watch, EMFILE, -EMFILE) {
    env_no_descriptor_left(e);
    return aio_submit_watch(e->ctx, "/", IN_CREATE, o, cb, u);
}
