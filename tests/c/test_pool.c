/* The epoll backend's threads: calls that sleep in the kernel (a terminal, a named pipe without a
 * peer, a connection that nobody takes) end by cancel, deadline and destroy; there is a limit to
 * the threads, they idle without CPU and go; the signal that interrupts them is felt by nobody
 * else; and what fork leaves of them. */
#include "harness.h"

#include <dirent.h>
#include <linux/stat.h>
#include <poll.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

#define HERE AIO_OFFSET_CURRENT

static aio_ctx *make_epoll(void) { return make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL)); }

/* --- the threads of this process ------------------------------------------------------------- */

struct task {
    int count;         /* the pool's threads */
    uint64_t switches; /* how often they went to sleep, together */
};

static bool read_task(const char *id, const char *file, char *out, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%.16s/%s", id, file);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t len = read(fd, out, size - 1);
    close(fd);
    out[len > 0 ? len : 0] = 0;
    return len > 0;
}

static struct task pool_now(void) {
    struct task task = {0};
    char text[4096];
    DIR *dir = opendir("/proc/self/task");
    CHECK(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.' || !read_task(entry->d_name, "comm", text, sizeof text) ||
            strcmp(text, "aio_rs-pool\n") != 0 ||
            !read_task(entry->d_name, "status", text, sizeof text))
            continue;
        const char *line = strstr(text, "\nvoluntary_ctxt_switches:");
        CHECK(line != NULL);
        task.switches += strtoull(strchr(line, ':') + 1, NULL, 10);
        task.count++;
    }
    closedir(dir);
    return task;
}

/* Short turns: nothing is delivered when the pool has grown. */
static void run_until_threads(aio_ctx *ctx, int count) {
    for (const uint64_t end = patience_end_ns(); pool_now().count < count && now_ns() < end;)
        run_for_ms(ctx, 2);
    CHECK_GE(pool_now().count, count);
}

/* Who joins a thread is woken a moment before the kernel takes it off the list. */
static void check_threads_gone(void) {
    for (const uint64_t end = patience_end_ns(); pool_now().count > 0 && now_ns() < end;)
        sleep_ms(1);
    CHECK_EQ(pool_now().count, 0);
}

static uint64_t cpu_us(void) {
    struct rusage usage;
    SYS(getrusage(RUSAGE_SELF, &usage));
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* --- calls that wait, and all their ends ----------------------------------------------------- */

/* What one call needs; fresh for each end. */
struct scene {
    aio_ctx *ctx;
    int fd, other; /* what the call uses, and the far end */
    int fds[8];
    int fd_count;
    char path[256];
    struct sockaddr_un unix_addr;
    socklen_t unix_len;
    struct sockaddr_in addr;
    char data[64];
    int flags_before;
    struct termios terminal_before;
};

struct kind {
    void (*open)(struct scene *s);
    aio_op_id (*submit)(struct scene *s, const aio_submit_options *o, aio_callback cb, void *u);
    void (*unblock)(struct scene *s); /* lets it succeed */
    int32_t result;                   /* then; -1: a descriptor */
    void (*check)(struct scene *s);   /* what must be as it was, whatever the end */
};

static int keep(struct scene *s, int fd) {
    CHECK_GE(fd, 0);
    CHECK_LT(s->fd_count, COUNT_OF(s->fds));
    return s->fds[s->fd_count++] = fd;
}

static void scene_open(struct scene *s, const struct kind *kind) {
    memset(s, 0, sizeof *s);
    s->fd = s->other = -1;
    kind->open(s);
    s->ctx = make_epoll();
}

static void scene_close(struct scene *s) {
    for (int i = 0; i < s->fd_count; i++)
        SYS(close(s->fds[i]));
    if (s->path[0])
        SYS(unlink(s->path));
}

enum end { CANCELLED, DEADLINE, DESTROYED, WAITED_FOR, SUCCEEDED, ENDS };

static void check_end(const struct kind *kind, enum end end, bool started) {
    struct scene s;
    struct call call = {0};
    const aio_submit_options *options = end == DEADLINE ? WITH(.timeout_ns = 5 * MS) : NULL;
    const aio_callback callback = end == WAITED_FOR ? on_call_never : on_call;
    scene_open(&s, kind);
    const aio_op_id id = ID(kind->submit(&s, options, callback, &call));
    CHECK_EQ(call.calls, 0);
    if (started && end != DEADLINE)
        check_blocked(s.ctx, &call);
    switch (end) {
    case CANCELLED:
        CHECK_EQ(aio_ctx_cancel(s.ctx, id), 0);
        CHECK_EQ(await_call(s.ctx, &call), -ECANCELED);
        CHECK_EQ(call.flags, 0);
        break;
    case DEADLINE:
        CHECK_EQ(await_call(s.ctx, &call), -ETIMEDOUT);
        CHECK_EQ(call.flags, AIO_CQE_DEADLINE);
        break;
    case WAITED_FOR:
        CHECK_EQ(aio_ctx_cancel_wait(s.ctx, id), 0);
        CHECK_EQ(aio_ctx_in_flight(s.ctx), 0);
        break;
    case SUCCEEDED:
        kind->unblock(&s);
        await_call(s.ctx, &call);
        if (kind->result >= 0)
            CHECK_EQ(call.result, kind->result);
        else
            SYS(close(SYS(call.result)));
        break;
    default:
        break;
    }
    end_ctx(s.ctx);
    check_threads_gone();
    CHECK_EQ(call.calls, end != WAITED_FOR);
    if (end == DESTROYED) {
        CHECK_EQ(call.result, -ECANCELED);
        CHECK_EQ(call.flags, AIO_CQE_ABORTED);
    }
    if (kind->check)
        kind->check(&s);
    scene_close(&s);
}

static void check_all_ends(const struct kind *kind) {
    temp_dir();
    const int before = open_descriptors();
    for (int round = 0; round < scaled(6); round++) {
        for (enum end end = 0; end < ENDS; end++) {
            if (end == SUCCEEDED && !kind->unblock)
                continue;
            check_end(kind, end, round & 1);
            CHECK_EQ(open_descriptors(), before);
        }
    }
}

/* --- a terminal ------------------------------------------------------------------------------ */

static void open_terminal(struct scene *s) {
    char name[64];
    s->other = keep(s, SYS(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)));
    SYS(grantpt(s->other));
    SYS(unlockpt(s->other));
    CHECK_EQ(ptsname_r(s->other, name, sizeof name), 0);
    s->fd = keep(s, SYS(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)));
    s->flags_before = SYS(fcntl(s->fd, F_GETFL));
    SYS(tcgetattr(s->fd, &s->terminal_before));
}

static void check_terminal(struct scene *s) {
    struct termios now;
    CHECK_EQ(SYS(fcntl(s->fd, F_GETFL)), s->flags_before);
    CHECK_EQ(s->flags_before & O_NONBLOCK, 0);
    SYS(tcgetattr(s->fd, &now));
    CHECK_EQ(now.c_iflag, s->terminal_before.c_iflag);
    CHECK_EQ(now.c_oflag, s->terminal_before.c_oflag);
    CHECK_EQ(now.c_cflag, s->terminal_before.c_cflag);
    CHECK_EQ(now.c_lflag, s->terminal_before.c_lflag);
    CHECK_MEM(now.c_cc, s->terminal_before.c_cc, sizeof now.c_cc);
}

static aio_op_id submit_read(struct scene *s, const aio_submit_options *o, aio_callback cb,
                             void *u) {
    return aio_submit_read(s->ctx, s->fd, s->data, sizeof s->data, HERE, o, cb, u);
}

static void type_a_line(struct scene *s) { write_all_or_fail(s->other, "line\n", 5); }

TEST(a_read_of_a_terminal_that_waits_has_every_end) {
    const struct kind kind = {open_terminal, submit_read, type_a_line, 5, check_terminal};
    check_all_ends(&kind);
}

/* Its thread may have begun to sleep in read(2) when another took the line. */
TEST(two_reads_of_a_terminal_share_one_line) {
    for (int round = 0; round < scaled(20); round++) {
        struct scene s = {0};
        open_terminal(&s);
        s.ctx = make_epoll();
        char other[64] = {0};
        struct call first = {0}, second = {0};
        const aio_op_id a = ID(submit_read(&s, NULL, on_call, &first));
        const aio_op_id b =
            ID(aio_submit_read(s.ctx, s.fd, other, sizeof other, HERE, NULL, on_call, &second));
        run_for_ms(s.ctx, (unsigned)round % 3);
        type_a_line(&s);
        RUN_UNTIL(s.ctx, first.finals || second.finals);
        const bool took_first = first.finals;
        CHECK_EQ(took_first ? first.result : second.result, 5);
        CHECK_MEM(took_first ? s.data : other, "line\n", 5);
        struct call *left = took_first ? &second : &first;
        check_blocked(s.ctx, left);
        CHECK_EQ(aio_ctx_cancel(s.ctx, took_first ? b : a), 0);
        CHECK_EQ(await_call(s.ctx, left), -ECANCELED);
        end_ctx(s.ctx);
        check_terminal(&s);
        scene_close(&s);
    }
}

/* --- a named pipe without a peer ------------------------------------------------------------- */

static void open_fifo(struct scene *s) {
    static int number;
    snprintf(s->path, sizeof s->path, "%s/fifo-%d", temp_dir(), number++);
    SYS(mkfifo(s->path, 0600));
}

static aio_op_id submit_open(struct scene *s, const aio_submit_options *o, aio_callback cb,
                             void *u) {
    return aio_submit_openat(s->ctx, AT_FDCWD, s->path, O_RDONLY, 0, o, cb, u);
}

/* Open for both, so that the last reader does not go before the open has returned. */
static void open_far_end(struct scene *s) {
    s->other = keep(s, open(s->path, O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

TEST(the_opening_of_a_named_pipe_without_a_peer_has_every_end) {
    const struct kind kind = {open_fifo, submit_open, open_far_end, -1, NULL};
    check_all_ends(&kind);
}

TEST(a_named_pipe_opened_for_a_detached_operation_is_closed_again) {
    const int before = open_descriptors();
    for (int round = 0; round < scaled(40); round++) {
        struct scene s = {0};
        open_fifo(&s);
        s.ctx = make_epoll();
        const aio_op_id id = ID(submit_open(&s, NULL, on_call_never, NULL));
        run_for_ms(s.ctx, (unsigned)round % 3);
        if (round & 1)
            open_far_end(&s);
        CHECK_EQ(aio_ctx_detach(s.ctx, id), 0);
        CHECK_EQ(aio_ctx_run(s.ctx), 0);
        end_ctx(s.ctx);
        scene_close(&s);
    }
    CHECK_EQ(open_descriptors(), before);
}

/* --- a connection that nobody takes ---------------------------------------------------------- */

/* A listener whose backlog is full does not answer connection requests. */
static void open_full_tcp_listener(struct scene *s) {
    s->other = keep(s, make_tcp_listener(&s->addr, 0));
    for (int i = 0; i < 4; i++) {
        const int fd = keep(s, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        connect(fd, (struct sockaddr *)&s->addr, sizeof s->addr);
    }
    CHECK(is_readable(s->other, 5000)); /* the backlog is full */
    s->fd = keep(s, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    s->flags_before = SYS(fcntl(s->fd, F_GETFL));
}

static aio_op_id submit_tcp_connect(struct scene *s, const aio_submit_options *o, aio_callback cb,
                                    void *u) {
    return aio_submit_connect(s->ctx, s->fd, (struct sockaddr *)&s->addr, sizeof s->addr, o, cb, u);
}

static void check_only_nonblocking_was_added(struct scene *s) {
    const int flags = SYS(fcntl(s->fd, F_GETFL));
    CHECK_EQ(flags & ~O_NONBLOCK, s->flags_before);
}

TEST(a_tcp_connect_into_nowhere_has_every_end) {
    const struct kind kind = {open_full_tcp_listener, submit_tcp_connect, NULL, 0,
                              check_only_nonblocking_was_added};
    check_all_ends(&kind);
}

static void open_full_unix_listener(struct scene *s) {
    struct sockaddr *addr = (struct sockaddr *)&s->unix_addr;
    s->unix_addr.sun_family = AF_UNIX;
    s->other = keep(s, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    SYS(bind(s->other, addr, sizeof s->unix_addr.sun_family)); /* the kernel chooses a name */
    s->unix_len = sizeof s->unix_addr;
    SYS(getsockname(s->other, addr, &s->unix_len));
    SYS(listen(s->other, 0));
    SYS(connect(keep(s, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), addr, s->unix_len));
    s->fd = keep(s, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    s->flags_before = SYS(fcntl(s->fd, F_GETFL));
}

static aio_op_id submit_unix_connect(struct scene *s, const aio_submit_options *o, aio_callback cb,
                                     void *u) {
    return aio_submit_connect(s->ctx, s->fd, (struct sockaddr *)&s->unix_addr, s->unix_len, o, cb,
                              u);
}

static void take_the_filler(struct scene *s) {
    keep(s, accept4(s->other, NULL, NULL, SOCK_CLOEXEC));
}

static void check_same_flags(struct scene *s) {
    CHECK_EQ(SYS(fcntl(s->fd, F_GETFL)), s->flags_before);
}

TEST(a_unix_connect_to_a_full_listener_has_every_end) {
    const struct kind kind = {open_full_unix_listener, submit_unix_connect, take_the_filler, 0,
                              check_same_flags};
    check_all_ends(&kind);
}

/* --- a splice -------------------------------------------------------------------------------- */

static void open_pipe_and_socket(struct scene *s) {
    int fds[2];
    make_pipe(fds);
    s->fd = keep(s, fds[0]);
    s->other = keep(s, fds[1]);
    make_tcp_pair(fds);
    keep(s, fds[0]);
    keep(s, fds[1]);
    s->flags_before = SYS(fcntl(s->fd, F_GETFL));
}

static aio_op_id submit_splice(struct scene *s, const aio_submit_options *o, aio_callback cb,
                               void *u) {
    return aio_submit_splice(s->ctx, s->fd, HERE, s->fds[2], HERE, 32, 0, o, cb, u);
}

static void feed_other(struct scene *s) { write_all_or_fail(s->other, "hello", 5); }

static void check_pipe_and_socket(struct scene *s) {
    check_same_flags(s);
    CHECK_EQ(SYS(fcntl(s->fds[2], F_GETFL)) & O_NONBLOCK, 0);
    if (!is_readable(s->fds[3], 0)) { /* it moved nothing: what comes now is not taken either */
        write_all_or_fail(s->other, "after", 5);
        sleep_ms(2);
        CHECK(is_readable(s->fd, 0));
        CHECK(!is_readable(s->fds[3], 0));
    }
}

TEST(a_splice_from_a_pipe_into_a_socket_that_waits_has_every_end) {
    const struct kind kind = {open_pipe_and_socket, submit_splice, feed_other, 5,
                              check_pipe_and_socket};
    check_all_ends(&kind);
}

/* --- how many threads ------------------------------------------------------------------------ */

enum { FIFOS = 200, THREADS_MAX = 64 };

struct many {
    struct scene scenes[FIFOS];
    struct call opens[FIFOS];
};

static struct many many;

static void many_begin(aio_ctx *ctx) {
    memset(&many, 0, sizeof many);
    for (int i = 0; i < FIFOS; i++) {
        open_fifo(&many.scenes[i]);
        many.scenes[i].ctx = ctx;
        ID(submit_open(&many.scenes[i], NULL, on_call, &many.opens[i]));
    }
}

/* The rest waits for a thread, in order: also what would not sleep for long. What needs no thread
 * goes on. */
TEST(two_hundred_calls_that_sleep_share_the_threads_and_all_end) {
    aio_ctx *ctx = make_epoll();
    const int file = temp_file("cached", "cached", 6);
    struct statx attributes;
    struct call look = {0}, read = {0}, timer = {0};
    char data[8] = {0};
    many_begin(ctx);
    ID(aio_submit_statx(ctx, file, "", AT_EMPTY_PATH, STATX_SIZE, &attributes, NULL, on_call,
                        &look));
    run_until_threads(ctx, THREADS_MAX);
    run_for_ms(ctx, 30);
    CHECK_EQ(pool_now().count, THREADS_MAX);
    /* No more than is cached: Linux 5.10 does not know where the file ends without a thread. */
    CHECK_EQ(DO(ctx, read, aio_submit_read(ctx, file, data, 6, 0, NULL, on_call, &read)), 6);
    CHECK_EQ(DO(ctx, timer, aio_submit_timer(ctx, MS, NULL, on_call, &timer)), 0);
    CHECK_EQ(look.calls, 0); /* behind 200 that sleep, of which 64 have a thread */
    for (int i = 0; i < FIFOS; i++) {
        open_far_end(&many.scenes[i]);
        RUN_UNTIL(ctx, many.opens[i].finals); /* first come, first served */
        SYS(close(SYS(many.opens[i].result)));
        scene_close(&many.scenes[i]);
    }
    CHECK_EQ(await_call(ctx, &look), 0);
    CHECK_EQ(attributes.stx_size, 6);
    CHECK_LE(pool_now().count, THREADS_MAX);
    end_ctx(ctx);
    check_threads_gone();
    close(file);
}

TEST(two_hundred_calls_that_sleep_are_cancelled_started_or_not) {
    aio_ctx *ctx = make_epoll();
    struct statx attributes;
    struct call look = {0};
    many_begin(ctx);
    run_until_threads(ctx, THREADS_MAX);
    CHECK_EQ(aio_ctx_cancel_all(ctx), FIFOS);
    CHECK_EQ(
        DO(ctx, look,
           aio_submit_statx(ctx, AT_FDCWD, "/", 0, STATX_SIZE, &attributes, NULL, on_call, &look)),
        0);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < FIFOS; i++) {
        CHECK_EQ(many.opens[i].result, -ECANCELED);
        scene_close(&many.scenes[i]);
    }
    end_ctx(ctx);
}

TEST(two_hundred_calls_that_sleep_do_not_keep_destroy) {
    aio_ctx *ctx = make_epoll();
    many_begin(ctx);
    run_for_ms(ctx, 3); /* in the middle of the growth */
    end_ctx(ctx);
    check_threads_gone();
    for (int i = 0; i < FIFOS; i++) {
        CHECK_EQ(many.opens[i].calls, 1);
        CHECK_EQ(many.opens[i].result, -ECANCELED);
        CHECK_EQ(many.opens[i].flags, AIO_CQE_ABORTED);
        scene_close(&many.scenes[i]);
    }
}

/* Calls that do not sleep need no more threads than there are processors. */
TEST(a_thousand_short_calls_take_few_threads) {
    aio_ctx *ctx = make_epoll();
    enum { COUNT = 1000 };
    static struct call calls[COUNT];
    static struct statx attributes[COUNT];
    for (int i = 0; i < COUNT; i++)
        ID(aio_submit_statx(ctx, AT_FDCWD, "/", 0, STATX_BASIC_STATS, &attributes[i], NULL, on_call,
                            &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(calls[i].result, 0);
        CHECK_EQ(attributes[i].stx_ino, attributes[0].stx_ino);
    }
    CHECK_LE(pool_now().count, THREADS_MAX);
    end_ctx(ctx);
    check_threads_gone();
}

/* --- idle ------------------------------------------------------------------------------------ */

TEST(threads_idle_without_cpu_and_go) {
    aio_ctx *ctx = make_epoll();
    many_begin(ctx);
    run_until_threads(ctx, THREADS_MAX);
    CHECK_EQ(aio_ctx_cancel_all(ctx), FIFOS);
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const struct task before = pool_now();
    const uint64_t cpu_before = cpu_us();
    sleep_ms(1000);
    const struct task after = pool_now();
    if (after.count == before.count) /* else some have gone already, and their counts */
        CHECK_LE(after.switches - before.switches, 10 * before.count);
    CHECK_LT(cpu_us() - cpu_before, 100000 * test_slow());
    check_threads_gone(); /* with the context alive, and nobody running it */
    struct call look = {0};
    struct statx attributes;
    CHECK_EQ(
        DO(ctx, look,
           aio_submit_statx(ctx, AT_FDCWD, "/", 0, STATX_SIZE, &attributes, NULL, on_call, &look)),
        0); /* and there are new ones when they are needed */
    end_ctx(ctx);
    for (int i = 0; i < FIFOS; i++)
        scene_close(&many.scenes[i]);
}

/* With nothing to wait for: the page cache has it all. */
TEST(a_cached_read_that_is_asked_not_to_run_here_goes_to_the_pool_at_any_offset) {
    static const char bytes[8192];
    const int fd = temp_file("cached", bytes, sizeof bytes);
    const uint64_t offsets[] = {0, 4096, AIO_OFFSET_CURRENT};
    for (int i = 0; i < 2 * COUNT_OF(offsets); i++) {
        aio_ctx *ctx = make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL));
        char byte[2];
        struct iovec iov[2] = {{byte, 1}, {byte + 1, 1}};
        struct call here = {0}, elsewhere = {0};
        const uint64_t at = offsets[i / 2];
        CHECK_EQ(DO(ctx, here, aio_submit_read(ctx, fd, byte, 2, at, NULL, on_call, &here)), 2);
        CHECK_EQ(pool_now().count, 0);
        const aio_submit_options *const options = WITH(.flags = AIO_SUBMIT_ASYNC);
        if (i % 2)
            ID(aio_submit_readv(ctx, fd, iov, 2, at, 0, options, on_call, &elsewhere));
        else
            ID(aio_submit_read(ctx, fd, byte, 2, at, options, on_call, &elsewhere));
        CHECK_EQ(await_call(ctx, &elsewhere), 2);
        CHECK_EQ(pool_now().count, 1);
        end_ctx(ctx);
        check_threads_gone();
    }
    close(fd);
}

TEST(a_context_that_waits_for_sleeping_calls_sleeps_as_well) {
    aio_ctx *ctx = make_epoll();
    many_begin(ctx);
    run_until_threads(ctx, THREADS_MAX);
    /* Once all are in their calls, however long that takes, nobody stirs for a second. */
    const uint64_t end = patience_end_ns();
    for (bool still = false; !still;) {
        CHECK_LT(now_ns(), end);
        const struct task before = pool_now();
        const uint64_t cpu_before = cpu_us(), turns_before = stats_of(ctx).turns;
        const uint64_t calls_before = stats_of(ctx).system_calls;
        run_for_ms(ctx, 1000);
        const struct task after = pool_now();
        still = after.count == before.count && after.switches == before.switches &&
                cpu_us() - cpu_before < 100000 * test_slow() &&
                stats_of(ctx).turns - turns_before < 20 &&
                stats_of(ctx).system_calls - calls_before < 100;
    }
    end_ctx(ctx);
    for (int i = 0; i < FIFOS; i++)
        scene_close(&many.scenes[i]);
}

/* --- the signal ------------------------------------------------------------------------------ */

static int signal_of(const aio_ctx *ctx) {
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    return (int)info.interrupt_signal;
}

/* Opens and cancels: each is a signal or more. */
static void interrupt_often(int count) {
    aio_ctx *ctx = make_epoll();
    struct scene s = {0};
    open_fifo(&s);
    s.ctx = ctx;
    for (int i = 0; i < count; i++) {
        struct call call = {0};
        const aio_op_id id = ID(submit_open(&s, NULL, on_call, &call));
        run_for_ms(ctx, (unsigned)i % 3);
        CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
        CHECK_EQ(await_call(ctx, &call), -ECANCELED);
        CHECK_EQ(call.calls, 1);
    }
    end_ctx(ctx);
    scene_close(&s);
}

struct reader {
    int pipe_fds[2];
    ssize_t result;
    int error;
};

static void *read_and_note(void *arg) {
    struct reader *reader = arg;
    char byte;
    reader->result = read(reader->pipe_fds[0], &byte, 1);
    reader->error = reader->result < 0 ? errno : 0;
    return NULL;
}

TEST(other_threads_of_the_program_are_not_interrupted) {
    struct reader readers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){.result = -1};
        make_pipe(readers[i].pipe_fds);
        CHECK_EQ(pthread_create(&threads[i], NULL, read_and_note, &readers[i]), 0);
    }
    interrupt_often(scaled(150));
    for (int i = 0; i < 4; i++) {
        write_all_or_fail(readers[i].pipe_fds[1], "x", 1);
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(readers[i].error, 0);
        CHECK_EQ(readers[i].result, 1);
    }
}

static void on_signal(int number) { (void)number; }

static bool same_action(const struct sigaction *a, const struct sigaction *b) {
    return a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags;
}

TEST(one_signal_is_taken_and_nothing_else_of_the_programs) {
    static struct sigaction before[65];
    const struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    SYS(sigaction(SIGUSR1, &ours, NULL));
    SYS(sigaction(SIGRTMIN + 3, &ours, NULL));
    sigset_t mask_before, mask;
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask_before), 0);
    for (int number = 1; number < 65; number++)
        if (sigaction(number, NULL, &before[number]) != 0)
            before[number].sa_flags = -1; /* the C library's own */
    aio_ctx *ctx = make_epoll();
    const int taken = signal_of(ctx);
    CHECK_GE(taken, SIGRTMIN);
    CHECK_LE(taken, SIGRTMAX);
    interrupt_often(scaled(20));
    for (int number = 1; number < 65; number++) {
        struct sigaction now;
        if (before[number].sa_flags == -1)
            continue;
        SYS(sigaction(number, NULL, &now));
        CHECK_EQ(same_action(&now, &before[number]), number != taken);
        CHECK(number != taken || before[number].sa_handler == SIG_DFL);
    }
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    for (int number = 1; number < 65; number++)
        CHECK_EQ(sigismember(&mask, number), sigismember(&mask_before, number));
    end_ctx(ctx);
}

static void tell_the_signal(void *arg) {
    (void)arg;
    aio_ctx *ctx = make_epoll();
    const int taken = signal_of(ctx);
    end_ctx(ctx);
    _exit(taken);
}

TEST(a_signal_that_the_program_handles_is_left_to_it) {
    const int preferred = end_child(start_child(tell_the_signal, NULL));
    const struct sigaction ours = {.sa_handler = on_signal};
    SYS(sigaction(preferred, &ours, NULL));
    interrupt_often(scaled(20));
    aio_ctx *ctx = make_epoll();
    CHECK_NE(signal_of(ctx), preferred);
    CHECK_GE(signal_of(ctx), SIGRTMIN);
    end_ctx(ctx);
    struct sigaction now;
    SYS(sigaction(preferred, NULL, &now));
    CHECK(now.sa_handler == on_signal);
}

TEST(a_program_that_handles_every_signal_does_without_interruptions) {
    beyond_valgrind("keeps a signal to itself");
    const struct sigaction ours = {.sa_handler = on_signal};
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
        SYS(sigaction(number, &ours, NULL));
    aio_ctx *ctx = make_epoll();
    aio_info info = {.size = sizeof info};
    CHECK_EQ(aio_ctx_info(ctx, &info), 0);
    CHECK_EQ(info.interrupt_signal, 0);
    /* A call that sleeps goes on when it is cancelled, and is waited for. */
    SYS(mkfifo(temp_path("fifo"), 0600));
    struct call opened = {0};
    const aio_op_id id = ID(
        aio_submit_openat(ctx, AT_FDCWD, temp_path("fifo"), O_RDONLY, 0, NULL, on_call, &opened));
    run_for_ms(ctx, 20);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    run_for_ms(ctx, 20);
    CHECK_EQ(opened.finals, 0);
    const int peer = SYS(open(temp_path("fifo"), O_RDWR));
    CHECK_GE(await_call(ctx, &opened), 0);
    close(opened.result);
    close(peer);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        struct sigaction now;
        SYS(sigaction(number, NULL, &now));
        CHECK(now.sa_handler == on_signal);
    }
    end_ctx(ctx);
}

static volatile sig_atomic_t handled_elsewhere;
static pthread_t only_thread;

static void note_thread(int number) {
    (void)number;
    handled_elsewhere |= !pthread_equal(pthread_self(), only_thread);
}

TEST(signals_of_the_program_are_not_handled_on_threads_of_the_pool) {
    const struct sigaction ours = {.sa_handler = note_thread};
    SYS(sigaction(SIGUSR1, &ours, NULL));
    only_thread = pthread_self();
    aio_ctx *ctx = make_epoll();
    many_begin(ctx);
    run_until_threads(ctx, THREADS_MAX);
    for (int i = 0; i < 200; i++)
        SYS(kill(getpid(), SIGUSR1)); /* to any thread that lets it in */
    CHECK_EQ(handled_elsewhere, 0);
    end_ctx(ctx);
    for (int i = 0; i < FIFOS; i++)
        scene_close(&many.scenes[i]);
}

/* --- threads that end, and fork -------------------------------------------------------------- */

static struct scene orphaned;
static struct call orphan_call;

static void *leave_a_sleeping_call(void *arg) {
    (void)arg;
    ID(submit_open(&orphaned, NULL, on_call, &orphan_call));
    check_blocked(orphaned.ctx, &orphan_call);
    return NULL;
}

TEST(an_orphan_with_a_sleeping_call_leaves_no_thread) {
    open_fifo(&orphaned);
    orphaned.ctx = make_epoll();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, leave_a_sleeping_call, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(aio_ctx_destroy(orphaned.ctx), AIO_EORPHANED);
    CHECK_EQ(orphan_call.calls, 1);
    CHECK_EQ(orphan_call.result, -ECANCELED);
    check_threads_gone();
    scene_close(&orphaned);
}

static void use_in_the_child(void *arg) {
    aio_ctx *copy = arg;
    struct statx attributes;
    CHECK_EQ(pool_now().count, 0);
    CHECK_EQ(aio_submit_statx(copy, AT_FDCWD, "/", 0, STATX_SIZE, &attributes, NULL, on_call_never,
                              NULL),
             AIO_EFORKED);
    CHECK_EQ(aio_ctx_run(copy), AIO_EFORKED);
    CHECK_EQ(aio_ctx_cancel_all(copy), AIO_EFORKED);
    CHECK_EQ(aio_ctx_destroy(copy), 0);
    interrupt_often(3); /* a context and a pool of its own */
    aio_ctx *own = make_epoll();
    struct call look = {0};
    CHECK_EQ(
        DO(own, look,
           aio_submit_statx(own, AT_FDCWD, "/", 0, STATX_SIZE, &attributes, NULL, on_call, &look)),
        0);
    end_ctx(own);
    check_threads_gone();
}

TEST(a_child_forked_while_calls_sleep_has_no_part_in_them) {
    needs_forked_threads();
    aio_ctx *ctx = make_epoll();
    struct scene scenes[5];
    struct call calls[5];
    memset(scenes, 0, sizeof scenes);
    memset(calls, 0, sizeof calls);
    for (int i = 0; i < 5; i++) {
        open_fifo(&scenes[i]);
        scenes[i].ctx = ctx;
        ID(submit_open(&scenes[i], NULL, on_call, &calls[i]));
    }
    run_until_threads(ctx, 5);
    CHECK_EQ(end_child(start_child(use_in_the_child, ctx)), 0);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(calls[i].calls, 0);
        open_far_end(&scenes[i]);
        SYS(close(SYS(await_call(ctx, &calls[i]))));
        scene_close(&scenes[i]);
    }
    end_ctx(ctx);
}

/* At any moment of the pool's work: its lock may be held by a thread that the child has not. */
TEST(a_child_forked_while_the_pool_is_busy_frees_its_copy) {
    needs_forked_threads();
    aio_ctx *ctx = make_epoll();
    enum { COUNT = 100 };
    static struct call calls[COUNT];
    static struct statx attributes[COUNT];
    for (int round = 0; round < scaled(30); round++) {
        memset(calls, 0, sizeof calls);
        for (int i = 0; i < COUNT; i++)
            ID(aio_submit_statx(ctx, AT_FDCWD, "/", 0, STATX_SIZE, &attributes[i], NULL, on_call,
                                &calls[i]));
        CHECK_GE(aio_ctx_flush(ctx), 0);
        const pid_t child = start_child(use_in_the_child, ctx);
        CHECK_EQ(aio_ctx_run(ctx), 0);
        CHECK_EQ(end_child(child), 0);
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(calls[i].result, 0);
    }
    end_ctx(ctx);
}

HARNESS_MAIN
