/* Watching files and directories: what is told, who is told, and how it ends. */
#include "harness.h"

#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>

static struct {
    int count;
    struct change {
        uint32_t mask, cookie;
        char name[64];
    } list[64];
} changes;

static void note_change(struct call *call) {
    aio_watch_event event = {.size = sizeof event};
    if (!(call->flags & AIO_CQE_MORE))
        return;
    CHECK_EQ(aio_ctx_current_event(call->ctx, NULL), -EINVAL);
    CHECK_EQ(aio_ctx_current_event(call->ctx, &event), 0);
    CHECK_EQ(event.mask, call->result);
    CHECK_EQ(event.cookie, call->bytes);
    CHECK_EQ(event.name_len, strlen(event.name));
    CHECK_LT(changes.count, COUNT_OF(changes.list));
    struct change *change = &changes.list[changes.count++];
    change->mask = event.mask;
    change->cookie = event.cookie;
    snprintf(change->name, sizeof change->name, "%s", event.name);
}

static aio_op_id watch(aio_ctx *ctx, const char *path, uint32_t mask, struct call *call) {
    return ID(aio_submit_watch(ctx, path, mask, NULL, on_call, call));
}

static void end_watch(aio_ctx *ctx, aio_op_id id, struct call *call) {
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, call), -ECANCELED);
}

static void make_folder(char path[512], const char *name) {
    snprintf(path, 512, "%s", temp_path(name));
    SYS(mkdir(path, 0700));
}

static const char *inside(const char *folder, const char *name) {
    static char paths[4][640];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%.511s/%s", folder, name);
    return path;
}

static void touch(const char *path) {
    SYS(close(SYS(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600))));
}

/* --- what is told ---------------------------------------------------------------------------- */

static void check_change(int at, uint32_t mask, const char *name) {
    CHECK_EQ(changes.list[at].mask, mask);
    CHECK_STR(changes.list[at].name, name);
}

TEST(changes_of_a_directory_are_told_with_their_names) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    struct call call = {.then = note_change};
    const aio_op_id id =
        watch(ctx, folder, IN_CREATE | IN_CLOSE_WRITE | IN_MOVE | IN_DELETE, &call);
    touch(inside(folder, "a"));
    SYS(rename(inside(folder, "a"), inside(folder, "b, with a longer name")));
    SYS(unlink(inside(folder, "b, with a longer name")));
    SYS(mkdir(inside(folder, "c"), 0700));
    CHECK_EQ(call.calls, 0);
    RUN_UNTIL(ctx, call.calls == 6);
    check_change(0, IN_CREATE, "a");
    check_change(1, IN_CLOSE_WRITE, "a");
    check_change(2, IN_MOVED_FROM, "a");
    check_change(3, IN_MOVED_TO, "b, with a longer name");
    check_change(4, IN_DELETE, "b, with a longer name");
    check_change(5, IN_CREATE | IN_ISDIR, "c");
    CHECK_NE(changes.list[2].cookie, 0);
    CHECK_EQ(changes.list[2].cookie, changes.list[3].cookie);
    CHECK_EQ(changes.list[0].cookie, 0);
    end_watch(ctx, id, &call);
    end_ctx(ctx);
}

TEST(a_file_is_watched_until_it_is_deleted) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_change};
    const char *path = temp_path("file");
    touch(path);
    watch(ctx, path, IN_MODIFY | IN_DELETE_SELF, &call);
    SYS(truncate(path, 10));
    SYS(unlink(path));
    CHECK_EQ(await_call(ctx, &call), IN_IGNORED);
    CHECK_EQ(call.flags, 0);
    CHECK_EQ(call.calls, 3);
    check_change(0, IN_MODIFY, "");
    check_change(1, IN_DELETE_SELF, "");
    check_nothing_in_flight(ctx);
    end_ctx(ctx);
}

TEST(a_deleted_directory_ends_its_watch_unasked) {
    aio_ctx *ctx = make_ctx();
    struct call call = {0}, next = {0};
    char folder[512];
    make_folder(folder, "folder");
    const aio_op_id id = watch(ctx, folder, IN_CREATE, &call);
    SYS(rmdir(folder));
    CHECK_EQ(await_call(ctx, &call), IN_IGNORED);
    CHECK_EQ(call.calls, 1);
    CHECK_EQ(aio_ctx_cancel(ctx, id), -ENOENT);
    SYS(mkdir(folder, 0700)); /* another one */
    const aio_op_id later = watch(ctx, folder, IN_CREATE, &next);
    touch(inside(folder, "a"));
    RUN_UNTIL(ctx, next.calls == 1);
    end_watch(ctx, later, &next);
    end_ctx(ctx);
}

TEST(an_unmounted_file_system_ends_its_watches) {
    char folder[512];
    make_folder(folder, "mount");
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, "") < 0 ||
        mount("none", folder, "tmpfs", 0, "") < 0)
        SKIP("nothing can be mounted here: %s", strerror(errno));
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = note_change};
    watch(ctx, folder, IN_CREATE, &call);
    SYS(umount(folder));
    CHECK_EQ(await_call(ctx, &call), IN_IGNORED);
    CHECK_EQ(changes.count, 1);
    check_change(0, IN_UNMOUNT | IN_ISDIR, "");
    end_ctx(ctx);
}

static int queue_limit(void) {
    FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    int limit = 0;
    if (!file || fscanf(file, "%d", &limit) != 1)
        SKIP("the limit of queued events is not told");
    fclose(file);
    return limit;
}

static void count_overflows(struct call *call) {
    if (call->result == IN_Q_OVERFLOW)
        ++*(int *)call->arg;
}

TEST(events_that_were_lost_are_told_to_all) {
    aio_ctx *ctx = make_ctx();
    int overflows[2] = {0};
    struct call calls[2] = {{.then = count_overflows, .arg = &overflows[0]},
                            {.then = count_overflows, .arg = &overflows[1]}};
    char folder[512], quiet[512];
    make_folder(folder, "folder");
    make_folder(quiet, "quiet");
    const int a = SYS(open(inside(folder, "a"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const int b = SYS(open(inside(folder, "b"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const aio_op_id ids[2] = {watch(ctx, folder, IN_MODIFY, &calls[0]),
                              watch(ctx, quiet, IN_CREATE, &calls[1])};
    const int limit = queue_limit();
    for (int i = 0; i <= limit / 2; i++) { /* two alike in a row would be one */
        write_all_or_fail(a, "x", 1);
        write_all_or_fail(b, "x", 1);
    }
    RUN_UNTIL(ctx, overflows[0] == 1 && overflows[1] == 1);
    CHECK_EQ(calls[0].calls, limit + 1);
    CHECK_EQ(calls[1].calls, 1);
    write_all_or_fail(a, "x", 1); /* it goes on */
    RUN_UNTIL(ctx, calls[0].calls == limit + 2);
    for (int i = 0; i < 2; i++)
        end_watch(ctx, ids[i], &calls[i]);
    SYS(close(a));
    SYS(close(b));
    end_ctx(ctx);
}

TEST(what_is_deleted_while_events_are_lost_ends_its_watch) {
    aio_ctx *ctx = make_ctx();
    struct call noisy = {0}, gone = {0}, left = {0};
    char folder[512], other[512];
    make_folder(folder, "folder");
    make_folder(other, "other");
    const int a = SYS(open(inside(folder, "a"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const int b = SYS(open(inside(folder, "b"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    const aio_op_id id = watch(ctx, folder, IN_MODIFY, &noisy);
    watch(ctx, other, IN_CREATE, &gone);
    const aio_op_id last = watch(ctx, temp_dir(), IN_MOVE, &left);
    const int limit = queue_limit();
    for (int i = 0; i <= limit / 2; i++) {
        write_all_or_fail(a, "x", 1);
        write_all_or_fail(b, "x", 1);
    }
    SYS(rmdir(other)); /* the kernel has no room to say so */
    CHECK_EQ(await_call(ctx, &gone), IN_IGNORED);
    CHECK_EQ(gone.calls, 2);
    CHECK_EQ(gone.first, IN_Q_OVERFLOW);
    end_watch(ctx, id, &noisy);
    end_watch(ctx, last, &left);
    SYS(close(a));
    SYS(close(b));
    end_ctx(ctx);
}

TEST(a_record_has_mask_and_cookie) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    touch(inside(folder, "a"));
    aio_completion records[2] = {0};
    ID(aio_submit_watch(ctx, folder, IN_MOVE, NULL, AIO_CALLBACK_REAP, ctx));
    SYS(rename(inside(folder, "a"), inside(folder, "b")));
    for (int got = 0; got < 2;)
        got += SYS(aio_ctx_reap(ctx, records + got, sizeof records[0], 2 - (uint32_t)got,
                                20000 * (int64_t)MS));
    CHECK_EQ(records[0].result, IN_MOVED_FROM);
    CHECK_EQ(records[1].result, IN_MOVED_TO);
    CHECK_NE(records[0].extra, 0);
    CHECK_EQ(records[0].extra, records[1].extra);
    end_ctx(ctx);
}

static void ask_in_a_callback(struct call *call) {
    aio_watch_event event = {.size = sizeof event};
    CHECK_EQ(aio_ctx_current_event(call->ctx, &event), -ENOENT);
}

TEST(there_is_nothing_to_tell_in_other_callbacks) {
    aio_ctx *ctx = make_ctx();
    struct call call = {.then = ask_in_a_callback};
    CHECK_EQ(DO(ctx, call, aio_submit_nop(ctx, NULL, on_call, &call)), 0);
    end_ctx(ctx);
}

/* --- who is told ----------------------------------------------------------------------------- */

TEST(watches_of_the_same_directory_are_told_what_each_asked_for) {
    aio_ctx *ctx = make_ctx();
    struct call made = {0}, gone = {0}, late = {0};
    char folder[512];
    make_folder(folder, "folder");
    const aio_op_id first = watch(ctx, folder, IN_CREATE, &made);
    const aio_op_id second = watch(ctx, folder, IN_DELETE, &gone);
    touch(inside(folder, "a"));
    SYS(unlink(inside(folder, "a")));
    const aio_op_id third = watch(ctx, folder, IN_CREATE | IN_DELETE, &late);
    RUN_UNTIL(ctx, made.calls == 1 && gone.calls == 1);
    run_for_ms(ctx, 5);
    CHECK_EQ(late.calls, 0); /* that was before its time */
    CHECK_EQ(made.result, IN_CREATE);
    CHECK_EQ(gone.result, IN_DELETE);
    end_watch(ctx, first, &made);
    touch(inside(folder, "b"));
    SYS(unlink(inside(folder, "b")));
    RUN_UNTIL(ctx, gone.calls == 2 && late.calls == 2);
    CHECK_EQ(made.calls, 2); /* its event and its end */
    end_watch(ctx, second, &gone);
    end_watch(ctx, third, &late);
    end_ctx(ctx);
}

TEST(all_watches_of_a_context_share_a_descriptor) {
    aio_ctx *ctx = make_ctx();
    CHECK_GE(aio_ctx_flush(ctx), 0);
    enum { FOLDERS = 300 }; /* more than the instances that a user may have */
    static struct call calls[FOLDERS];
    static char folders[FOLDERS][512];
    const int before = open_descriptors();
    for (int i = 0; i < FOLDERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "folder%d", i);
        make_folder(folders[i], name);
        watch(ctx, folders[i], IN_CREATE, &calls[i]);
    }
    if (!under_thread_sanitizer())
        CHECK_EQ(open_descriptors(), before + 1);
    for (int i = 0; i < FOLDERS; i += 2)
        touch(inside(folders[i], "a"));
    for (int i = 0; i < FOLDERS; i += 2)
        RUN_UNTIL(ctx, calls[i].calls == 1);
    CHECK_EQ(aio_ctx_cancel_all(ctx), FOLDERS);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < FOLDERS; i++) {
        CHECK_EQ(calls[i].result, -ECANCELED);
        CHECK_EQ(calls[i].calls, i % 2 ? 1 : 2);
    }
    run_for_ms(ctx, 5);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

static void watch_again(struct call *call) {
    struct call *next = call->arg;
    if (call->calls == 1) {
        CHECK_EQ(aio_ctx_cancel(call->ctx, call->id), 0);
        watch(call->ctx, next->arg, IN_CREATE, next);
    }
}

TEST(a_callback_may_end_its_watch_and_begin_another) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    struct call second = {.arg = folder};
    struct call first = {.then = watch_again, .arg = &second};
    watch(ctx, folder, IN_CREATE, &first);
    touch(inside(folder, "a"));
    CHECK_EQ(await_call(ctx, &first), -ECANCELED);
    touch(inside(folder, "b"));
    RUN_UNTIL(ctx, second.calls == 1);
    CHECK_EQ(first.calls, 2);
    end_ctx(ctx);
    CHECK_EQ(second.result, -ECANCELED);
}

TEST(a_watch_behind_a_barrier_begins_when_that_opens) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    struct call timer = {0}, call = {0}, missing = {0};
    ID(aio_submit_timer(ctx, 20 * MS, NULL, on_call, &timer));
    const aio_op_id id = ID(aio_submit_watch(ctx, folder, IN_CREATE,
                                             WITH(.flags = AIO_SUBMIT_BARRIER), on_call, &call));
    ID(aio_submit_watch(ctx, "/nowhere", IN_CREATE, WITH(.flags = AIO_SUBMIT_BARRIER), on_call,
                        &missing));
    touch(inside(folder, "early"));
    CHECK_EQ(await_call(ctx, &missing), -ENOENT);
    CHECK_EQ(timer.calls, 1);
    CHECK_EQ(call.calls, 0);
    touch(inside(folder, "late"));
    RUN_UNTIL(ctx, call.calls == 1);
    end_watch(ctx, id, &call);
    end_ctx(ctx);
}

TEST(a_detached_watch_is_never_told) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    CHECK_GE(aio_ctx_flush(ctx), 0);
    const int before = open_descriptors();
    const aio_op_id id = ID(aio_submit_watch(ctx, folder, IN_CREATE, NULL, on_call_never, NULL));
    touch(inside(folder, "a"));
    CHECK_EQ(aio_ctx_detach(ctx, id), 0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    run_for_ms(ctx, 5);
    CHECK_EQ(open_descriptors(), before);
    end_ctx(ctx);
}

/* --- other processes and threads ------------------------------------------------------------- */

static void destroy_the_copy(void *arg) {
    CHECK_EQ(aio_ctx_destroy(arg), 0);
    _exit(5);
}

TEST(a_forked_child_takes_no_events) {
    aio_ctx *ctx = make_ctx();
    char folder[512];
    make_folder(folder, "folder");
    struct call call = {0};
    const aio_op_id id = watch(ctx, folder, IN_CREATE, &call);
    touch(inside(folder, "a"));
    CHECK_EQ(end_child(start_child(destroy_the_copy, ctx)), 5);
    RUN_UNTIL(ctx, call.calls == 1);
    end_watch(ctx, id, &call);
    end_ctx(ctx);
}

static void *watch_and_leave(void *arg) {
    static struct call call;
    aio_ctx **ctx = arg;
    *ctx = make_ctx();
    watch(*ctx, temp_dir(), IN_CREATE, &call);
    return &call;
}

TEST(an_orphans_watch_ends_where_it_is_destroyed) {
    aio_ctx *ctx;
    pthread_t thread;
    void *call;
    temp_dir();
    const int before = open_descriptors();
    CHECK_EQ(pthread_create(&thread, NULL, watch_and_leave, &ctx), 0);
    CHECK_EQ(pthread_join(thread, &call), 0);
    CHECK_EQ(aio_ctx_destroy(ctx), AIO_EORPHANED);
    CHECK_EQ(((struct call *)call)->result, -ECANCELED);
    CHECK_EQ(open_descriptors(), before);
}

HARNESS_MAIN
