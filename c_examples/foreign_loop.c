/*
 * foreign_loop: a context inside an event loop that is not the library's.
 *
 * The loop is a plain epoll loop with two descriptors in it, both level-triggered. One is foreign:
 * standard input, which brings a path per line. The other belongs to the context, which looks the
 * paths up, up to 64 at a time, and reports once a second. Three calls are all that the loop owes
 * the context, see run(). Try: find /usr/include | foreign_loop
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOKUPS_MAX = 64, LINE_BYTES_MAX = 4096 };
#define SECOND UINT64_C(1000000000)

/* The engine has its own copy of the path; this one is for the report. `st` is the engine's until
 * the callback. */
struct lookup {
    struct lookup *next_free;
    struct statx st;
    char path[LINE_BYTES_MAX];
};

static struct {
    aio_ctx *ctx;
    int epoll;
    struct lookup lookups[LOOKUPS_MAX], *free;
    unsigned in_flight;
    char input[4 * LINE_BYTES_MAX];
    size_t filled;
    bool watched, end_of_input;
    bool always_ready; /* a regular file: epoll does not take it, and it never blocks */
    uint64_t found, failed;
} loop;

static void die(const char *what, int64_t status) {
    fprintf(stderr, "foreign_loop: %s: %s\n", what, aio_strerror((int32_t)status));
    exit(1);
}

static void take_lines(void);

static void on_looked_up(void *user_data, int32_t result, uint32_t flags) {
    struct lookup *lookup = user_data;
    (void)flags;
    if (result == 0) {
        loop.found++;
        printf("%12" PRIu64 "  %s\n", (uint64_t)lookup->st.stx_size, lookup->path);
    } else {
        loop.failed++;
        fprintf(stderr, "foreign_loop: %s: %s\n", lookup->path, aio_strerror(result));
    }
    lookup->next_free = loop.free;
    loop.free = lookup;
    loop.in_flight--;
    take_lines();
}

static void on_second(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result;
    if (flags & AIO_CQE_MORE)
        fprintf(stderr, "foreign_loop: %" PRIu64 " found, %" PRIu64 " not, %u in flight\n",
                loop.found, loop.failed, loop.in_flight);
}

static void look_up(const char *path, size_t length) {
    struct lookup *lookup = loop.free;
    memcpy(lookup->path, path, length);
    lookup->path[length] = '\0';
    aio_op_id id = aio_submit_statx(loop.ctx, AT_FDCWD, lookup->path, AT_SYMLINK_NOFOLLOW,
                                    STATX_BASIC_STATS, &lookup->st, NULL, on_looked_up, lookup);
    if (id < 0)
        die(lookup->path, id);
    loop.free = lookup->next_free;
    loop.in_flight++;
}

/* Starts a lookup for each whole line, as long as there is room for one. */
static void take_lines(void) {
    size_t taken = 0;
    while (loop.free != NULL && taken < loop.filled) {
        char *start = loop.input + taken;
        char *end = memchr(start, '\n', loop.filled - taken);
        size_t length = end != NULL ? (size_t)(end - start) : loop.filled - taken;
        if (length >= LINE_BYTES_MAX)
            die("standard input", -ENAMETOOLONG);
        if (end == NULL && !loop.end_of_input)
            break;
        if (length > 0)
            look_up(start, length);
        taken += length + (end != NULL);
    }
    loop.filled -= taken;
    memmove(loop.input, loop.input + taken, loop.filled);
}

/* One read for one event: what it leaves, a level-triggered epoll reports again. */
static void read_input(void) {
    ssize_t length = read(STDIN_FILENO, loop.input + loop.filled, sizeof loop.input - loop.filled);
    if (length < 0 && errno != EAGAIN && errno != EINTR)
        die("standard input", -errno);
    if (length == 0)
        loop.end_of_input = true;
    if (length > 0)
        loop.filled += (size_t)length;
    take_lines();
}

/*
 * Input that there is no room for must leave the epoll set: level-triggered, it would be reported
 * again and again. (With no events asked for it would not be enough, a hang-up always counts.)
 */
static bool watch_input(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = STDIN_FILENO};
    bool wanted = !loop.end_of_input && loop.free != NULL && loop.filled < LINE_BYTES_MAX;

    if (wanted != loop.watched && !loop.always_ready) {
        int operation = wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
        if (epoll_ctl(loop.epoll, operation, STDIN_FILENO, &event) != 0) {
            if (errno != EPERM)
                die("epoll_ctl", -errno);
            loop.always_ready = true;
        }
        loop.watched = wanted;
    }
    return wanted;
}

/* Rounded up: rounded down, the last millisecond before a timer would be a busy loop. */
static int milliseconds(int64_t ns) {
    if (ns < 0)
        return -1;
    int64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void run(void) {
    struct epoll_event events[2];

    for (;;) {
        bool wanted = watch_input();
        if (loop.end_of_input && loop.filled == 0 && loop.in_flight == 0)
            return;

        /* First: hand over what was submitted. From here on a completion wakes the epoll. */
        int32_t work = aio_ctx_flush(loop.ctx);
        if (work < 0)
            die("aio_ctx_flush", work);

        /* Second: sleep no longer than the context's next timer. Negative: it has none. */
        int64_t ns = aio_ctx_next_timeout_ns(loop.ctx);
        if (work > 0 || (wanted && loop.always_ready))
            ns = 0;
        int count = epoll_wait(loop.epoll, events, 2, milliseconds(ns));
        if (count < 0 && errno != EINTR)
            die("epoll_wait", -errno);

        for (int i = 0; i < count; i++)
            if (events[i].data.fd == STDIN_FILENO)
                read_input();
        if (wanted && loop.always_ready)
            read_input();

        /* Third: callbacks. The descriptor of the context is the library's to read, not ours. */
        int32_t status = aio_ctx_run_once(loop.ctx, 0);
        if (status < 0)
            die("aio_ctx_run_once", status);
    }
}

int main(void) {
    struct epoll_event event = {.events = EPOLLIN};

    for (unsigned i = 0; i < LOOKUPS_MAX; i++) {
        loop.lookups[i].next_free = loop.free;
        loop.free = &loop.lookups[i];
    }
    int32_t status = aio_ctx_create(NULL, &loop.ctx);
    if (status < 0)
        die("aio_ctx_create", status);
    loop.epoll = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = aio_ctx_fd(loop.ctx);
    if (event.data.fd < 0)
        die("aio_ctx_fd", event.data.fd);
    if (loop.epoll < 0 || epoll_ctl(loop.epoll, EPOLL_CTL_ADD, event.data.fd, &event) != 0)
        die("epoll", -errno);
    aio_op_id id = aio_submit_interval(loop.ctx, SECOND, NULL, on_second, NULL);
    if (id < 0)
        die("aio_submit_interval", id);

    run();

    close(loop.epoll);
    aio_ctx_destroy(loop.ctx); /* ends the interval, too */
    fprintf(stderr, "foreign_loop: %" PRIu64 " found, %" PRIu64 " not\n", loop.found, loop.failed);
    return loop.failed == 0 ? 0 : 1;
}
