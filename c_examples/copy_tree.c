/*
 * copy_tree: copies a directory tree with hundreds of files in flight on one context.
 *
 * What can wait for a disk or is worth another core goes through the context: opening and reading
 * the source, writing and closing the copy. What the kernel does in memory, and would hand to one
 * of its worker threads if it came through a ring (statx, mkdirat, symlinkat, an open that creates,
 * a write of a page), and what has no ring operation at all (utimensat, fchmod, fchown, readlinkat,
 * getdents), is an ordinary call. README.md has the measurements behind this division.
 *
 * Kept: contents and holes, symbolic and hard links, permissions and extended attributes (ACLs are
 * among them), times, and owners when root copies. The copy is whole or it does not exist: at the
 * first failure, SIGINT or SIGTERM what was made so far is removed.
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <search.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_FLIGHT_DEFAULT = 200,
    IN_FLIGHT_MAX = 4096,
    BUFFER_BYTES = 64 * 1024, /* of each file in flight */
    SMALL_BYTES = 4096,       /* written with an ordinary call */
    WALK_ENTRIES_MAX = 512,   /* per turn of the loop, so that signals and progress get theirs */
};
#define PROGRESS_NS UINT64_C(100000000)

/* A directory stays open until the last entry in it is done: only then are its times final. */
struct directory {
    struct directory *parent;
    DIR *source;
    int copy_fd;
    unsigned pending; /* entries that are not done; the walk through it counts as one */
    struct stat st;
    char name[];
};

/* A regular file on its way. It has at most one operation in flight, which owns the buffer. */
struct file {
    struct file *next_free;
    struct directory *dir;
    char *buffer;
    int source_fd, copy_fd;
    uint64_t offset;
    uint32_t filled, written;
    struct stat st;
    char name[NAME_MAX + 1];
};

/* Where the first name of an inode with several names was copied to. */
struct first_link {
    dev_t dev;
    ino_t ino;
    char path[]; /* relative to the root of the copy */
};

/* One copy per process: its state is here instead of in an argument of every function. */
static struct {
    aio_ctx *ctx;
    const char *source_path, *copy_path;
    struct file *free_files;
    struct directory *walking; /* the innermost directory being read; its parents wait */
    int root_fd;               /* of the copy */
    struct stat root_st;
    void *links; /* a tsearch tree of first_link */
    aio_op_id signal_read, progress;
    struct signalfd_siginfo signal_info;
    uid_t uid;
    gid_t gid;
    bool try_clone, walk_resumes, failed;
    int exit_status;
    uint64_t files, directories, symlinks, hard_links, skipped, bytes, files_open;
} job = {.try_clone = true, .root_fd = -1};

static void walk(void *user_data, int32_t result, uint32_t flags);
static void read_next(struct file *file);
static void write_rest(struct file *file);

/* ---- failure ------------------------------------------------------------------------------- */

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    /* The progress line, if there is one, is under the cursor: write over it. */
    fputs(job.progress > 0 ? "\r\033[Kcopy_tree: " : "copy_tree: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* The path of an entry below the root, written to the end of the buffer; NULL: it does not fit. */
static const char *relative_path(const struct directory *dir, const char *name, char *buffer,
                                 size_t size) {
    char *start = buffer + size;
    for (char separator = '\0'; name != NULL; separator = '/') {
        size_t length = strlen(name);
        if (length + 1 > (size_t)(start - buffer))
            return NULL;
        *--start = separator;
        start -= length;
        memcpy(start, name, length);
        name = dir != NULL && dir->parent != NULL ? dir->name : NULL;
        dir = dir != NULL ? dir->parent : NULL;
    }
    return start;
}

/* A path that is too long for the system calls is named by its last part. */
static void say_entry(const struct directory *dir, const char *name, const char *what) {
    char buffer[PATH_MAX];
    const char *path = relative_path(dir, name, buffer, sizeof buffer);
    if (path != NULL)
        say("%s/%s: %s", job.source_path, path, what);
    else
        say(".../%s: %s", name, what);
}

/* Ends the copy: everything in flight is asked to stop, and every callback only cleans up. */
static void abandon_all(int exit_status) {
    if (job.failed)
        return;
    job.failed = true;
    job.exit_status = exit_status;
    aio_ctx_cancel_all(job.ctx);
}

/* `status` is -errno or a status of the library's own. Only the first failure is worth a line. */
static void fail(const struct directory *dir, const char *name, int64_t status) {
    if (!job.failed)
        say_entry(dir, name, aio_strerror((int32_t)status));
    abandon_all(1);
}

/* ---- what is kept beside the contents ------------------------------------------------------- */

/* A file system without attributes, or one that refuses this kind, is no reason to fail. */
static int copy_attributes(int from, int to, bool *any) {
    static char names[XATTR_LIST_MAX], value[XATTR_SIZE_MAX];
    ssize_t length = flistxattr(from, names, sizeof names);

    for (char *name = names; name < names + length; name += strlen(name) + 1) {
        ssize_t size = fgetxattr(from, name, value, sizeof value);
        if (size < 0)
            continue;
        if (fsetxattr(to, name, value, (size_t)size, 0) == 0)
            *any = true;
        else if (errno != ENOTSUP && errno != EPERM)
            return -errno;
    }
    return 0;
}

/*
 * Owner, attributes, permissions and times of an open file or directory, in the order in which
 * none undoes another: a change of owner clears set-id bits and capabilities, every change but the
 * last sets a time. What is right already is left alone: a system call saved is a file sooner done.
 */
static int keep_metadata(int from, int to, const struct stat *want) {
    struct stat is;
    mode_t mode = want->st_mode & 07777;
    bool changed = false;

    if (fstat(to, &is) != 0)
        return -errno;
    if (is.st_uid != want->st_uid || is.st_gid != want->st_gid) {
        if (job.uid == 0) {
            if (fchown(to, want->st_uid, want->st_gid) != 0)
                return -errno;
            changed = true;
        } else {
            /* The set-id bits were trust in an owner that the copy does not have. */
            mode &= ~(mode_t)(S_ISUID | S_ISGID);
        }
    }
    int status = copy_attributes(from, to, &changed);
    if (status != 0)
        return status;
    if ((changed || (is.st_mode & 07777) != mode) && fchmod(to, mode) != 0)
        return -errno;
    if (futimens(to, (const struct timespec[]){want->st_atim, want->st_mtim}) != 0)
        return -errno;
    return 0;
}

/* ---- hard links ----------------------------------------------------------------------------- */

static int compare_links(const void *left, const void *right) {
    const struct first_link *a = left, *b = right;
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    return a->ino == b->ino ? 0 : a->ino < b->ino ? -1 : 1;
}

/*
 * 1: the inode was seen before, and the entry is now a link to its copy. 0: this is the first of
 * its names; the caller makes the file at once, so that the next name finds it. Or -errno.
 */
static int link_or_remember(const struct directory *dir, const char *name, const struct stat *st) {
    char buffer[PATH_MAX];
    const char *path = relative_path(dir, name, buffer, sizeof buffer);
    if (path == NULL)
        return -ENAMETOOLONG;
    size_t length = strlen(path) + 1;
    struct first_link *link = malloc(sizeof *link + length);
    if (link == NULL)
        return -ENOMEM;
    link->dev = st->st_dev;
    link->ino = st->st_ino;
    memcpy(link->path, path, length);

    struct first_link **found = tsearch(link, &job.links, compare_links);
    if (found == NULL || *found != link) {
        free(link);
        if (found == NULL)
            return -ENOMEM;
        if (linkat(job.root_fd, (*found)->path, dir->copy_fd, name, 0) != 0)
            return -errno;
        job.hard_links++;
        return 1;
    }
    return 0;
}

/* ---- the end of an entry -------------------------------------------------------------------- */

static void ignore(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
}

/* Nothing is in flight and nothing is left to walk: what keeps the loop alive may go. */
static void all_done(void) {
    aio_ctx_cancel(job.ctx, job.signal_read);
    if (job.progress > 0)
        aio_ctx_cancel(job.ctx, job.progress);
}

static void entry_done(struct directory *dir) {
    while (dir != NULL && --dir->pending == 0) {
        struct directory *parent = dir->parent;
        if (!job.failed) {
            int status = keep_metadata(dirfd(dir->source), dir->copy_fd, &dir->st);
            if (status != 0)
                fail(parent, dir->name, status);
        }
        job.directories++;
        closedir(dir->source);
        close(dir->copy_fd);
        free(dir);
        if (parent == NULL)
            all_done();
        dir = parent;
    }
}

/* Gives the slot back, and with it the walk another file to start. */
static void release_file(struct file *file) {
    struct directory *dir = file->dir;
    file->next_free = job.free_files;
    job.free_files = file;
    job.files_open--;
    entry_done(dir);
    if (!job.walk_resumes)
        walk(NULL, 0, 0);
}

/* The copy's close is waited for: on some file systems it is what reports a failed write. */
static void on_copy_closed(void *user_data, int32_t result, uint32_t flags) {
    struct file *file = user_data;
    (void)flags;
    if (result < 0)
        fail(file->dir, file->name, result);
    else
        job.files++;
    release_file(file);
}

static void drop_file(struct file *file) {
    if (file->source_fd >= 0)
        close(file->source_fd);
    if (file->copy_fd >= 0)
        close(file->copy_fd);
    release_file(file);
}

/* Every step of a file ends here when it could not be taken. */
static void fail_file(struct file *file, int64_t status) {
    fail(file->dir, file->name, status);
    drop_file(file);
}

static void finish_file(struct file *file) {
    static const aio_submit_options quiet = {.size = sizeof quiet, .flags = AIO_SUBMIT_QUIET};
    int status = keep_metadata(file->source_fd, file->copy_fd, &file->st);
    if (status != 0) {
        fail_file(file, status);
        return;
    }
    /* Nobody waits for the source's close, and a failure of it would lose nothing. */
    if (aio_submit_close(job.ctx, file->source_fd, &quiet, ignore, NULL) > 0)
        file->source_fd = -1;
    aio_op_id id = aio_submit_close(job.ctx, file->copy_fd, NULL, on_copy_closed, file);
    if (id < 0)
        fail_file(file, id);
}

/* ---- contents ------------------------------------------------------------------------------- */

static bool is_sparse(const struct stat *st) { return st->st_blocks * INT64_C(512) < st->st_size; }

static void on_written(void *user_data, int32_t result, uint32_t flags) {
    struct file *file = user_data;
    (void)flags;
    if (result < 0 || job.failed) {
        fail_file(file, result);
        return;
    }
    if (result == 0) {
        fail_file(file, -EIO); /* a regular file that takes nothing would be tried for ever */
        return;
    }
    file->written += (uint32_t)result;
    file->offset += (uint32_t)result;
    job.bytes += (uint32_t)result;
    if (file->written < file->filled)
        write_rest(file);
    else if (file->filled < BUFFER_BYTES && file->offset == (uint64_t)file->st.st_size)
        finish_file(file); /* a short read that ended where fstat said the file ends */
    else
        read_next(file);
}

static void write_rest(struct file *file) {
    aio_op_id id =
        aio_submit_write(job.ctx, file->copy_fd, file->buffer + file->written,
                         file->filled - file->written, file->offset, NULL, on_written, file);
    if (id < 0)
        fail_file(file, id);
}

static void on_read(void *user_data, int32_t result, uint32_t flags) {
    struct file *file = user_data;
    (void)flags;
    if (result < 0 || job.failed) {
        fail_file(file, result);
        return;
    }
    if (result == 0) {
        finish_file(file);
        return;
    }
    file->filled = (uint32_t)result;
    file->written = 0;
    if (file->filled > SMALL_BYTES) {
        write_rest(file);
        return;
    }
    /* From a ring most file systems take a buffered write on a worker only: too far for a page. */
    ssize_t length = pwrite(file->copy_fd, file->buffer, file->filled, (off_t)file->offset);
    on_written(file, length < 0 ? -errno : (int32_t)length, 0);
}

static void read_next(struct file *file) {
    if (is_sparse(&file->st)) {
        off_t data = lseek(file->source_fd, (off_t)file->offset, SEEK_DATA);
        if (data >= 0) {
            file->offset = (uint64_t)data;
        } else if (errno == ENXIO) { /* only a hole is left */
            if (ftruncate(file->copy_fd, file->st.st_size) != 0)
                fail_file(file, -errno);
            else
                finish_file(file);
            return;
        }
    }
    /*
     * A short read from the page cache is over sooner than a kernel worker has been woken for it;
     * a long one is worth another core. One that has to wait for the disk goes to a worker anyway.
     */
    static const aio_submit_options on_worker = {.size = sizeof on_worker,
                                                 .flags = AIO_SUBMIT_ASYNC};
    bool is_long = file->st.st_size >= BUFFER_BYTES;
    aio_op_id id = aio_submit_read(job.ctx, file->source_fd, file->buffer, BUFFER_BYTES,
                                   file->offset, is_long ? &on_worker : NULL, on_read, file);
    if (id < 0)
        fail_file(file, id);
}

/* Where the file system can share the blocks of both files, there is nothing to copy. */
static bool clone_contents(struct file *file) {
    if (!job.try_clone || file->st.st_size == 0)
        return false;
    if (ioctl(file->copy_fd, FICLONE, file->source_fd) == 0) {
        job.bytes += (uint64_t)file->st.st_size;
        return true;
    }
    job.try_clone = false; /* it will not be otherwise for the next file */
    return false;
}

static void on_source_open(void *user_data, int32_t result, uint32_t flags) {
    struct file *file = user_data;
    (void)flags;
    file->source_fd = result;
    if (result < 0 || job.failed) {
        fail_file(file, result);
        return;
    }
    if (fstat(file->source_fd, &file->st) != 0) {
        fail_file(file, -errno);
        return;
    }
    if (!S_ISREG(file->st.st_mode)) {
        fail_file(file, -ESTALE); /* it was a regular file when the directory was read */
        return;
    }
    if (file->st.st_nlink > 1) {
        int linked = link_or_remember(file->dir, file->name, &file->st);
        if (linked < 0)
            fail_file(file, linked);
        else if (linked == 1)
            drop_file(file);
        if (linked != 0)
            return;
    }
    /* Nobody else may read it before it has its owner; set-id bits come after that, too. */
    bool own = file->st.st_uid == job.uid && file->st.st_gid == job.gid;
    mode_t mode = own ? (file->st.st_mode & 0777) | 0200 : 0600;
    file->copy_fd = openat(file->dir->copy_fd, file->name,
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file->copy_fd < 0)
        fail_file(file, -errno);
    else if (clone_contents(file))
        finish_file(file);
    else
        read_next(file);
}

/* ---- the walk ------------------------------------------------------------------------------- */

static int start_file(struct directory *dir, const char *name) {
    struct file *file = job.free_files;
    if (file->buffer == NULL && (file->buffer = calloc(1, BUFFER_BYTES)) == NULL)
        return -ENOMEM;
    file->dir = dir;
    file->source_fd = file->copy_fd = -1;
    file->offset = 0;
    strcpy(file->name, name);
    aio_op_id id = aio_submit_openat(job.ctx, dirfd(dir->source), name, O_RDONLY | O_NOFOLLOW, 0,
                                     NULL, on_source_open, file);
    if (id < 0)
        return (int)id;
    job.free_files = file->next_free;
    job.files_open++;
    dir->pending++;
    return 0;
}

static int copy_symlink(struct directory *dir, const char *name) {
    char target[PATH_MAX];
    struct stat st;
    ssize_t length = readlinkat(dirfd(dir->source), name, target, sizeof target - 1);

    if (length < 0 || fstatat(dirfd(dir->source), name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    target[length] = '\0';
    if (st.st_nlink > 1) {
        int linked = link_or_remember(dir, name, &st);
        if (linked != 0)
            return linked < 0 ? linked : 0;
    }
    if (symlinkat(target, dir->copy_fd, name) != 0)
        return -errno;
    if (job.uid == 0 &&
        fchownat(dir->copy_fd, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    if (utimensat(dir->copy_fd, name, (const struct timespec[]){st.st_atim, st.st_mtim},
                  AT_SYMLINK_NOFOLLOW) != 0)
        return -errno;
    job.symlinks++;
    return 0;
}

/* Takes over both descriptors and goes into the directory. */
static int enter_directory(struct directory *parent, const char *name, int source_fd, int copy_fd) {
    size_t length = strlen(name) + 1;
    struct directory *dir = malloc(sizeof *dir + length);
    int status = dir == NULL ? -ENOMEM : 0;

    if (status == 0 && fstat(source_fd, &dir->st) != 0)
        status = -errno;
    if (status == 0 && (dir->source = fdopendir(source_fd)) == NULL)
        status = -errno;
    if (status != 0) {
        free(dir);
        close(source_fd);
        close(copy_fd);
        return status;
    }
    dir->parent = parent;
    dir->copy_fd = copy_fd;
    dir->pending = 1;
    memcpy(dir->name, name, length);
    if (parent != NULL)
        parent->pending++;
    job.walking = dir;
    return 0;
}

static int start_directory(struct directory *dir, const char *name) {
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    struct stat st;
    int source_fd = openat(dirfd(dir->source), name, flags), copy_fd = -1;

    if (source_fd < 0)
        return -errno;
    int status = fstat(source_fd, &st) != 0 ? -errno : 0;
    if (status == 0 && st.st_dev == job.root_st.st_dev && st.st_ino == job.root_st.st_ino) {
        say_entry(dir, name, "is the copy itself"); /* going into it would have no end */
        abandon_all(1);
        status = -ECANCELED;
    }
    if (status == 0 && mkdirat(dir->copy_fd, name, 0700) != 0)
        status = -errno;
    if (status == 0 && (copy_fd = openat(dir->copy_fd, name, flags)) < 0)
        status = -errno;
    if (status != 0) {
        close(source_fd);
        return status;
    }
    return enter_directory(dir, name, source_fd, copy_fd);
}

static int start_entry(struct directory *dir, const struct dirent *entry) {
    unsigned char type = entry->d_type;
    if (type == DT_UNKNOWN) { /* some file systems do not keep it in the directory */
        struct stat st;
        if (fstatat(dirfd(dir->source), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            return -errno;
        type = IFTODT(st.st_mode);
    }
    switch (type) {
    case DT_REG:
        return start_file(dir, entry->d_name);
    case DT_DIR:
        return start_directory(dir, entry->d_name);
    case DT_LNK:
        return copy_symlink(dir, entry->d_name);
    default:
        say_entry(dir, entry->d_name,
                  type == DT_FIFO   ? "is a FIFO, not copied"
                  : type == DT_SOCK ? "is a socket, not copied"
                                    : "is a device, not copied");
        job.skipped++;
        return 0;
    }
}

/* Starts entries until every slot is in use or the tree has been read to its end. */
static void walk(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
    job.walk_resumes = false;
    for (int entries = 0; job.walking != NULL && (job.free_files != NULL || job.failed);) {
        struct directory *dir = job.walking;
        errno = 0;
        struct dirent *entry = job.failed ? NULL : readdir(dir->source);
        if (entry == NULL) {
            if (errno != 0)
                fail(dir, ".", -errno);
            job.walking = dir->parent;
            entry_done(dir);
            continue;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int status = start_entry(dir, entry);
        if (status != 0)
            fail(dir, entry->d_name, status);
        /* Links and directories take no slot: a tree of them alone would never leave this loop. */
        if (++entries == WALK_ENTRIES_MAX && !job.failed) {
            job.walk_resumes = aio_submit_nop(job.ctx, NULL, walk, NULL) > 0;
            if (job.walk_resumes)
                return;
        }
    }
}

/* ---- removal of a partial copy --------------------------------------------------------------- */

/* Directories may have their final permissions already: without the first call they stay. */
static int remove_tree(int at, const char *name) {
    fchmodat(at, name, 0700, 0);
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int status = 0;

    if (stream == NULL) {
        status = -errno;
        if (fd >= 0)
            close(fd);
        return status;
    }
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        int one = unlinkat(fd, entry->d_name, 0) == 0 ? 0 : -errno;
        if (one == -EISDIR || one == -EPERM)
            one = remove_tree(fd, entry->d_name);
        if (one != 0)
            status = one;
    }
    closedir(stream);
    if (status == 0 && unlinkat(at, name, AT_REMOVEDIR) != 0)
        status = -errno;
    return status;
}

/* ---- signals, progress, start ---------------------------------------------------------------- */

static void on_signal(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)flags;
    if (result != (int32_t)sizeof job.signal_info || job.failed)
        return; /* the copy has ended, one way or the other */
    say("%s", strsignal((int)job.signal_info.ssi_signo));
    abandon_all(128 + (int)job.signal_info.ssi_signo);
    walk(NULL, 0, 0);
}

static void show_progress(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result;
    if (flags & AIO_CQE_MORE)
        fprintf(stderr, "\r\033[K%" PRIu64 " files, %.1f MB, %" PRIu64 " in flight", job.files,
                (double)job.bytes / 1e6, job.files_open);
    else
        fputs("\r\033[K", stderr);
}

static void show_statistics(double seconds) {
    aio_stats stats = {.size = sizeof stats};
    aio_ctx_stats(job.ctx, &stats);
    fprintf(stderr,
            "files=%" PRIu64 " directories=%" PRIu64 " symlinks=%" PRIu64 " hard_links=%" PRIu64
            " skipped=%" PRIu64 " bytes=%" PRIu64 " seconds=%.3f operations=%" PRIu64
            " ring_calls=%" PRIu64 "\n",
            job.files, job.directories, job.symlinks, job.hard_links, job.skipped, job.bytes,
            seconds, stats.submitted, stats.system_calls);
}

static int die(const char *what, int64_t status) {
    say("%s: %s", what, aio_strerror((int32_t)status));
    return 1;
}

/* SIGINT and SIGTERM become something to read, so that they are handled between two callbacks. */
static int open_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

/* The root of the copy, with nothing inherited that would go on to everything below it. */
static int make_root(void) {
    if (mkdir(job.copy_path, 0700) != 0)
        return -errno;
    job.root_fd = open(job.copy_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (job.root_fd >= 0) {
        fremovexattr(job.root_fd, "system.posix_acl_default");
        fremovexattr(job.root_fd, "system.posix_acl_access");
    }
    /* The change of mode takes away a set-group-id bit that came from the parent. */
    if (job.root_fd >= 0 && fstat(job.root_fd, &job.root_st) == 0 && fchmod(job.root_fd, 0700) == 0)
        return 0;
    int status = -errno;
    rmdir(job.copy_path);
    return status;
}

static int copy(struct file *files, unsigned in_flight) {
    struct rlimit limit;

    /* Two descriptors a file, and as many again for the directories on the way down. */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        if (in_flight > limit.rlim_cur / 4)
            in_flight = (unsigned)(limit.rlim_cur / 4) + 1;
    }
    for (unsigned i = 0; i < in_flight; i++) {
        files[i].next_free = job.free_files;
        job.free_files = &files[i];
    }
    umask(0); /* permissions come from the source */
    job.uid = geteuid();
    job.gid = getegid();

    int source_fd = open(job.source_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source_fd < 0)
        return die(job.source_path, -errno);
    int signal_fd = open_signals();
    if (signal_fd < 0)
        return die("signalfd", -errno);
    int32_t status = aio_ctx_create(NULL, &job.ctx);
    if (status < 0)
        return die("aio_ctx_create", status);
    status = make_root();
    if (status != 0)
        return die(job.copy_path, status);

    job.signal_read = aio_submit_read(job.ctx, signal_fd, &job.signal_info, sizeof job.signal_info,
                                      AIO_OFFSET_CURRENT, NULL, on_signal, NULL);
    if (job.signal_read < 0)
        fail(NULL, ".", job.signal_read);
    if (isatty(STDERR_FILENO))
        job.progress = aio_submit_interval(job.ctx, PROGRESS_NS, NULL, show_progress, NULL);
    status = enter_directory(NULL, ".", source_fd, dup(job.root_fd));
    if (status != 0)
        fail(NULL, ".", status);
    walk(NULL, 0, 0);
    status = aio_ctx_run(job.ctx);
    if (status < 0) {
        job.failed = true;
        job.exit_status = die("aio_ctx_run", status);
    }
    close(signal_fd);
    close(job.root_fd);
    if (job.failed && (status = remove_tree(AT_FDCWD, job.copy_path)) != 0)
        die(job.copy_path, status);
    return job.exit_status;
}

static int usage(void) {
    fprintf(stderr,
            "usage: copy_tree [--in-flight N] [--stats] SRC DST\n"
            "Copies the directory SRC to DST, which must not exist.\n"
            "  --in-flight N  files under way at the same time, 1 to %d (%d)\n"
            "  --stats        a line of counters on stderr at the end\n",
            IN_FLIGHT_MAX, IN_FLIGHT_DEFAULT);
    return 2;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"in-flight", required_argument, NULL, 'n'}, {"stats", no_argument, NULL, 's'}, {0}};
    unsigned long in_flight = IN_FLIGHT_DEFAULT;
    bool statistics = false;

    for (int option; (option = getopt_long(argc, argv, "n:", options, NULL)) != -1;) {
        char *end = NULL;
        if (option == 's')
            statistics = true;
        else if (option != 'n' || (in_flight = strtoul(optarg, &end, 10)) < 1 || *end != '\0' ||
                 in_flight > IN_FLIGHT_MAX)
            return usage();
    }
    if (argc - optind != 2)
        return usage();
    job.source_path = argv[optind];
    job.copy_path = argv[optind + 1];

    struct file *files = calloc(in_flight, sizeof *files);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int exit_status = files == NULL ? die("memory", -ENOMEM) : copy(files, (unsigned)in_flight);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (statistics && exit_status == 0)
        show_statistics((double)(end.tv_sec - start.tv_sec) +
                        (double)(end.tv_nsec - start.tv_nsec) / 1e9);

    aio_ctx_destroy(job.ctx);
    tdestroy(job.links, free);
    for (unsigned long i = 0; files != NULL && i < in_flight; i++)
        free(files[i].buffer);
    free(files);
    return exit_status;
}
