/*
 * watch_tree: says what changes in a directory and everything below it, a line per event, until it
 * gets SIGINT or SIGTERM, or the directory is deleted. The kernel watches single directories: each
 * has an operation here, new ones get theirs when they appear, and the operation of one that is
 * deleted ends by itself. When events are lost the tree is walked again.
 *
 *     watch_tree DIRECTORY
 */
#define _XOPEN_SOURCE 700
#include <aio_rs.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define EVENTS                                                                                     \
    (IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |            \
     IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW)

struct folder {
    struct folder *next;
    aio_op_id watch;
    char path[];
};

static aio_ctx *ctx;
static struct folder *folders; /* the root is the last */

static void check(int64_t status, const char *what) {
    if (status < 0) {
        fprintf(stderr, "watch_tree: %s: %s\n", what, aio_strerror((int32_t)status));
        exit(1);
    }
}

static char *join(const char *folder, const char *name) {
    const size_t room = strlen(folder) + strlen(name) + 2;
    char *path = malloc(room);
    if (!path)
        check(-ENOMEM, "memory");
    snprintf(path, room, "%s/%s", folder, name);
    return path;
}

static void on_event(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT;

static bool is_watched(const char *path) {
    for (const struct folder *folder = folders; folder; folder = folder->next)
        if (!strcmp(folder->path, path))
            return true;
    return false;
}

/* Watches a directory and what is below it. It is watched before it is read, so that what appears
 * meanwhile is seen twice rather than never. */
static void add(const char *path, bool tells) {
    struct folder *folder = malloc(sizeof *folder + strlen(path) + 1);
    if (!folder)
        check(-ENOMEM, "memory");
    strcpy(folder->path, path);
    if (!is_watched(path)) {
        folder->watch = aio_submit_watch(ctx, path, EVENTS, NULL, on_event, folder);
        if (folder->watch < 0) { /* gone again, or none of ours */
            fprintf(stderr, "watch_tree: %s: %s\n", path, aio_strerror((int32_t)folder->watch));
            free(folder);
            return;
        }
        folder->next = folders;
        folders = folder;
    } else {
        free(folder);
    }
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat about;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char *below = join(path, entry->d_name);
        if (tells)
            printf("found %s\n", below);
        if (lstat(below, &about) == 0 && S_ISDIR(about.st_mode))
            add(below, tells);
        free(below);
    }
    if (dir)
        closedir(dir);
}

static void forget(struct folder *folder) {
    for (struct folder **link = &folders; *link; link = &(*link)->next)
        if (*link == folder) {
            *link = folder->next;
            break;
        }
    free(folder);
}

/* A directory that was moved away takes what is below it along. */
static void cancel_below(const char *path) {
    const size_t len = strlen(path);
    for (struct folder *folder = folders; folder; folder = folder->next)
        if (!strncmp(folder->path, path, len) && (!folder->path[len] || folder->path[len] == '/'))
            aio_ctx_cancel(ctx, folder->watch);
}

static const char *verb(uint32_t mask) {
    return mask & IN_CREATE        ? "created"
           : mask & IN_DELETE      ? "deleted"
           : mask & IN_CLOSE_WRITE ? "written"
           : mask & IN_ATTRIB      ? "changed"
           : mask & IN_MOVED_FROM  ? "moved from"
           : mask & IN_MOVED_TO    ? "moved to"
                                   : "unmounted";
}

static void on_event(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct folder *folder = user_data;
    aio_watch_event event = {.size = sizeof event};

    if (!(flags & AIO_CQE_MORE)) { /* IN_IGNORED, or cancelled */
        const bool was_root = !folder->next;
        forget(folder);
        if (was_root && result >= 0)
            aio_ctx_cancel_all(ctx);
        return;
    }
    check(aio_ctx_current_event(ctx, &event), "current_event");
    if (event.mask & IN_Q_OVERFLOW) {
        if (!folder->next) { /* all are told: one looks */
            printf("events were lost\n");
            add(folder->path, true);
        }
        return;
    }
    if (event.mask & IN_MOVE_SELF)
        return; /* its parent has told where it went */
    char *path = join(folder->path, event.name);
    printf("%s %s\n", verb(event.mask), event.name_len ? path : folder->path);
    if (event.mask & IN_ISDIR && event.mask & IN_MOVED_FROM)
        cancel_below(path);
    if (event.mask & IN_ISDIR && event.mask & (IN_CREATE | IN_MOVED_TO))
        add(path, true);
    free(path);
    fflush(stdout);
}

static void on_signal(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    (void)user_data;
    (void)result;
    if (flags & AIO_CQE_MORE)
        aio_ctx_cancel_all(ctx);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: watch_tree DIRECTORY\n");
        return 2;
    }
    check(aio_ctx_create(NULL, &ctx), "create");
    check(aio_submit_signal(ctx, SIGINT, NULL, on_signal, NULL), "signal");
    check(aio_submit_signal(ctx, SIGTERM, NULL, on_signal, NULL), "signal");
    add(argv[1], false);
    if (!folders)
        return 1;
    printf("watching %s\n", argv[1]);
    fflush(stdout);
    check(aio_ctx_run(ctx), "run");
    check(aio_ctx_destroy(ctx), "destroy");
    return 0;
}
