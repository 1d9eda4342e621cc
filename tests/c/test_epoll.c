/* The epoll backend's descriptors: those of the host stay as they are; a number that was closed and
 * names another file brings neither stale readiness nor a lost wake-up; those that are always ready
 * are served fairly; and what a socket, a pipe and a file have to say is not cut short by what the
 * engine believes to know of them. */
#include "harness.h"

#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

#define HERE AIO_OFFSET_CURRENT

static aio_ctx *make_epoll(void) { return make_ctx_with(CTX_WITH(.backend = AIO_BACKEND_EPOLL)); }

/* --- things to read from --------------------------------------------------------------------- */

/* Each gives numbers of eight bytes, one per read. */
struct source {
    int rd, wr; /* the same of an eventfd */
};

struct kind {
    const char *name;
    struct source (*open)(void);
    bool is_socket;
    bool is_file; /* always ready, and there is nothing to feed it with */
};

static struct source open_tcp(void) {
    int fds[2];
    make_tcp_pair(fds);
    return (struct source){fds[0], fds[1]};
}

static struct source open_unix(void) {
    int fds[2];
    make_socket_pair(fds);
    return (struct source){fds[0], fds[1]};
}

static struct source open_seqpacket(void) {
    int fds[2];
    SYS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
    return (struct source){fds[0], fds[1]};
}

static struct source open_udp(void) {
    struct sockaddr_in a, b;
    const int rd = make_udp_socket(&a), wr = make_udp_socket(&b);
    SYS(connect(rd, (struct sockaddr *)&b, sizeof b));
    SYS(connect(wr, (struct sockaddr *)&a, sizeof a));
    return (struct source){rd, wr};
}

static struct source open_pipe(void) {
    int fds[2];
    make_pipe(fds);
    return (struct source){fds[0], fds[1]};
}

static struct source open_eventfd(void) {
    const int fd = SYS(eventfd(0, EFD_CLOEXEC));
    return (struct source){fd, fd};
}

static struct source open_terminal(void) {
    char name[64];
    struct termios raw;
    const int wr = SYS(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    SYS(grantpt(wr));
    SYS(unlockpt(wr));
    CHECK_EQ(ptsname_r(wr, name, sizeof name), 0);
    const int rd = SYS(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    SYS(tcgetattr(rd, &raw));
    cfmakeraw(&raw);
    SYS(tcsetattr(rd, TCSANOW, &raw));
    return (struct source){rd, wr};
}

static struct source open_file(void) {
    const uint64_t numbers[] = {7, 9};
    const int fd = temp_file("numbers", numbers, sizeof numbers);
    return (struct source){fd, SYS(dup(fd))};
}

static const struct kind kinds[] = {
    {"tcp", open_tcp, true, false},
    {"unix", open_unix, true, false},
    {"seqpacket", open_seqpacket, true, false},
    {"udp", open_udp, true, false},
    {"pipe", open_pipe, false, false},
    {"eventfd", open_eventfd, false, false},
    {"terminal", open_terminal, false, false},
    {"file", open_file, false, true},
};

static void feed(const struct source *source, uint64_t number) {
    write_all_or_fail(source->wr, &number, sizeof number);
}

static void close_source(const struct source *source) {
    SYS(close(source->rd));
    if (source->wr != source->rd)
        SYS(close(source->wr));
}

enum way { READ, RECV, POLL, WAYS };

/* One operation that waits for a number; a buffer that is larger than the number makes the engine
 * think about what is left. */
struct wait {
    struct call call;
    enum way way;
    int fd;
    aio_op_id id;
    uint64_t numbers[4];
};

static void wait_submit(aio_ctx *ctx, struct wait *wait, const struct kind *kind, int fd,
                        enum way way) {
    if (way == RECV && !kind->is_socket)
        way = READ;
    *wait = (struct wait){.fd = fd, .way = way};
    const size_t size = kind->is_file || way == READ ? 8 : sizeof wait->numbers;
    if (way == READ)
        wait->id = aio_submit_read(ctx, fd, wait->numbers, size, HERE, NULL, on_call, &wait->call);
    else if (way == RECV)
        wait->id = aio_submit_recv(ctx, fd, wait->numbers, size, 0, NULL, on_call, &wait->call);
    else
        wait->id = aio_submit_poll(ctx, fd, POLLIN, NULL, on_call, &wait->call);
    ID(wait->id);
}

static void wait_check(aio_ctx *ctx, struct wait *wait, uint64_t number) {
    await_call(ctx, &wait->call);
    if (wait->way == POLL) {
        CHECK_EQ(wait->call.result, POLLIN);
        CHECK_EQ(read(wait->fd, wait->numbers, sizeof wait->numbers[0]), 8);
    } else {
        CHECK_EQ(wait->call.result, 8);
    }
    CHECK_EQ(wait->numbers[0], number);
}

/* --- numbers that name another file ---------------------------------------------------------- */

enum copies { NO_COPY, A_DUPLICATE, A_CHILD };

static void hold_copies(void *arg) {
    char byte;
    close(((int *)arg)[1]);
    const ssize_t ignored = read(((int *)arg)[0], &byte, 1);
    (void)ignored;
}

/* Has `source` read from `number`, where another file was. */
static void move_to(struct source *source, int number) {
    const bool one = source->wr == source->rd;
    if (source->wr == number && !one) {
        source->wr = SYS(fcntl(number, F_DUPFD_CLOEXEC, number + 1));
        SYS(close(number));
    }
    if (source->rd == number)
        return;
    SYS(dup2(source->rd, number));
    SYS(close(source->rd));
    source->rd = number;
    if (one)
        source->wr = number;
}

struct cell {
    const struct kind *old, *new;
    enum copies copies;
    enum way way;
    bool before; /* what is to be read is there before the operation */
};

static void check_cell(aio_ctx *ctx, const struct cell *cell) {
    struct source old = cell->old->open(), new;
    struct wait wait;
    const int number = old.rd;
    int copy = -1, life[2];
    pid_t child = 0;
    /* The engine knows the number: somebody waited for it and was served. */
    wait_submit(ctx, &wait, cell->old, number, cell->way);
    if (!cell->old->is_file) {
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        feed(&old, 7);
    }
    wait_check(ctx, &wait, 7);
    make_pipe(life);
    if (cell->copies == A_DUPLICATE)
        copy = SYS(fcntl(number, F_DUPFD_CLOEXEC, number + 1));
    else if (cell->copies == A_CHILD)
        child = start_child(hold_copies, life);
    SYS(close(number));
    new = cell->new->open();
    move_to(&new, number);
    const bool before = cell->before || cell->new->is_file;
    if (before && !cell->new->is_file)
        feed(&new, 7);
    wait_submit(ctx, &wait, cell->new, number, cell->way);
    if (cell->copies != NO_COPY && old.wr != number && !cell->old->is_file)
        feed(&old, 5); /* for whoever has the old file, which is not this operation */
    if (!before) {
        run_for_ms(ctx, 2);
        if (wait.call.calls)
            FAIL("%s, then %s, way %d: %d before there was anything", cell->old->name,
                 cell->new->name, cell->way, wait.call.result);
        feed(&new, 7);
    }
    wait_check(ctx, &wait, 7);
    wait_submit(ctx, &wait, cell->new, number, cell->way); /* and from now on as ever */
    if (!cell->new->is_file) {
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        CHECK_EQ(wait.call.calls, 0);
        feed(&new, 9);
    }
    wait_check(ctx, &wait, 9);
    CHECK_EQ(aio_ctx_in_flight(ctx), 0);
    close(life[1]);
    if (child)
        CHECK_EQ(end_child(child), 0);
    close(life[0]);
    close_source(&new);
    if (old.wr != number)
        SYS(close(old.wr));
    if (copy >= 0)
        SYS(close(copy));
}

static void check_reuse(enum copies copies) {
    aio_ctx *ctx = make_epoll();
    temp_dir();
    const int before = open_descriptors();
    int done = 0;
    for (int old = 0; old < COUNT_OF(kinds); old++) {
        for (int new = 0; new < COUNT_OF(kinds); new ++) {
            for (int variant = (old + new) & 1; variant < 2 * WAYS; variant += 2) {
                if (done++ % (int)test_slow() != 0)
                    continue;
                check_cell(ctx, &(struct cell){&kinds[old], &kinds[new], copies,
                                               (enum way)(variant / 2), variant & 1});
                if (open_descriptors() != before)
                    FAIL("%s, then %s: descriptors are left", kinds[old].name, kinds[new].name);
            }
        }
    }
    end_ctx(ctx);
}

TEST(a_number_that_was_closed_and_is_another_file_is_served_as_that_file) { check_reuse(NO_COPY); }

TEST(a_number_of_another_file_is_not_mistaken_although_a_duplicate_of_the_old_lives) {
    check_reuse(A_DUPLICATE);
}

TEST(a_number_of_another_file_is_not_mistaken_although_a_child_holds_copies) {
    beyond_valgrind("blames a child for the memory of threads that it has not");
    check_reuse(A_CHILD);
}

/* Its registration is still there when the file comes back to the number. */
TEST(a_file_that_comes_back_to_its_number_is_served) {
    aio_ctx *ctx = make_epoll();
    for (int round = 0; round < scaled(30); round++) {
        struct source a = open_tcp(), b = open_tcp();
        struct wait wait;
        const int number = a.rd, copy = SYS(dup(a.rd));
        wait_submit(ctx, &wait, &kinds[0], number, RECV);
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        feed(&a, 1);
        wait_check(ctx, &wait, 1);
        SYS(dup2(b.rd, number));
        if (round & 1) { /* else nobody has looked at it meanwhile */
            wait_submit(ctx, &wait, &kinds[0], number, RECV);
            feed(&b, 2);
            wait_check(ctx, &wait, 2);
        }
        SYS(dup2(copy, number));
        wait_submit(ctx, &wait, &kinds[0], number, RECV);
        run_for_ms(ctx, 1);
        CHECK_EQ(wait.call.calls, 0);
        feed(&b, 3);
        if (round & 2)
            run_for_ms(ctx, 1);
        feed(&a, 4);
        wait_check(ctx, &wait, 4);
        SYS(close(copy));
        close_source(&a);
        close_source(&b);
    }
    end_ctx(ctx);
}

/* A socket that the context knows, and then another one under its number, with the old one alive
 * and what is to be received there already. */
static struct source replaced(aio_ctx *ctx, struct source *old, int *copy) {
    struct wait wait;
    *old = open_tcp();
    wait_submit(ctx, &wait, &kinds[0], old->rd, RECV);
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    feed(old, 1);
    wait_check(ctx, &wait, 1);
    const int number = old->rd;
    *copy = SYS(fcntl(number, F_DUPFD_CLOEXEC, number + 1));
    SYS(close(number));
    struct source new = open_tcp();
    move_to(&new, number);
    feed(&new, 7);
    return new;
}

/* Nothing else wakes the loop: the context must want to be called again by itself. */
TEST(a_number_of_another_file_is_found_out_inside_a_foreign_loop) {
    aio_ctx *ctx = make_epoll();
    struct pollfd sleep_on = {.fd = SYS(aio_ctx_fd(ctx)), .events = POLLIN};
    for (int round = 0; round < scaled(20); round++) {
        struct source old;
        struct wait wait;
        int copy;
        const struct source new = replaced(ctx, &old, &copy);
        wait_submit(ctx, &wait, &kinds[0], new.rd, RECV);
        while (!wait.call.finals) {
            if (aio_ctx_flush(ctx) == 0) {
                const int64_t ns = aio_ctx_next_timeout_ns(ctx);
                const int ms = ns < 0 ? -1 : (int)(ns / (int64_t)MS) + 1;
                CHECK(SYS(poll(&sleep_on, 1, ms < 0 ? 5000 : ms)) == 1 || ms >= 0);
            }
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
        wait_check(ctx, &wait, 7);
        close_source(&new);
        SYS(close(old.wr));
        SYS(close(copy));
    }
    end_ctx(ctx);
}

/* Against the manual, and as on a ring: the operation keeps to the file that it was submitted for,
 * as far as that can still be told, and never gets what is the other's. */
TEST(an_operation_in_flight_on_a_closed_number_gets_nothing_of_the_next_file) {
    for (int duplicate = 0; duplicate < 2; duplicate++) {
        aio_ctx *ctx = make_epoll();
        struct source old = open_tcp(), new;
        struct wait wait, next;
        const int number = old.rd, copy = SYS(dup(old.rd));
        if (!duplicate)
            SYS(close(copy));
        wait_submit(ctx, &wait, &kinds[0], number, RECV);
        check_blocked(ctx, &wait.call);
        SYS(close(number));
        new = open_tcp();
        move_to(&new, number);
        wait_submit(ctx, &next, &kinds[0], number, RECV);
        run_for_ms(ctx, 20);
        feed(&new, 6);
        wait_check(ctx, &next, 6);
        check_blocked(ctx, &wait.call);
        CHECK_EQ(wait.numbers[0], 0);
        CHECK_EQ(aio_ctx_cancel(ctx, wait.id), 0);
        CHECK_EQ(await_call(ctx, &wait.call), -ECANCELED);
        end_ctx(ctx);
        close_source(&new);
        close(old.wr);
        if (duplicate)
            SYS(close(copy));
    }
}

TEST(an_operation_on_a_number_that_was_closed_is_ebadf) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < COUNT_OF(kinds); i++) {
        for (int way = 0; way < WAYS; way++) {
            struct source source = kinds[i].open();
            struct wait wait;
            wait_submit(ctx, &wait, &kinds[i], source.rd, (enum way)way);
            if (!kinds[i].is_file) {
                CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
                feed(&source, 7);
            }
            wait_check(ctx, &wait, 7);
            close_source(&source);
            wait_submit(ctx, &wait, &kinds[i], source.rd, (enum way)way);
            CHECK_EQ(await_call(ctx, &wait.call), -EBADF);
        }
    }
    end_ctx(ctx);
}

/* The engine knows of numbers that it hands out itself. */
TEST(a_number_that_an_accept_brings_is_known_to_be_new) {
    aio_ctx *ctx = make_epoll();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    for (int round = 0; round < scaled(50); round++) {
        struct source old = open_tcp();
        struct wait wait;
        struct call accepted = {0};
        const int client = tcp_connect_to(&addr);
        wait_submit(ctx, &wait, &kinds[0], old.rd, RECV);
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        feed(&old, 1);
        wait_check(ctx, &wait, 1);
        const int copy = SYS(fcntl(old.rd, F_DUPFD_CLOEXEC, 100));
        SYS(close(old.rd));
        CHECK_EQ(DO(ctx, accepted,
                    aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &accepted)),
                 old.rd);
        const struct source new = {old.rd, client};
        wait_submit(ctx, &wait, &kinds[0], new.rd, RECV);
        feed(&old, 5);
        run_for_ms(ctx, 1);
        CHECK_EQ(wait.call.calls, 0);
        feed(&new, 8);
        wait_check(ctx, &wait, 8);
        close_source(&new);
        SYS(close(old.wr));
        SYS(close(copy));
    }
    end_ctx(ctx);
    close(listener);
}

/* --- fairness -------------------------------------------------------------------------------- */

enum { BUSY = 64, SERVED = 30000 };

struct busy {
    struct fair *fair;
    struct source source;
    struct call call;
    uint64_t number;
    int served;
};

struct fair {
    struct busy busy[BUSY];
    enum way way;
    int total, limit;
    bool over;
};

static struct fair fair;

static void busy_submit(aio_ctx *ctx, struct busy *busy) {
    if (fair.way == READ)
        ID(aio_submit_read(ctx, busy->source.rd, &busy->number, 8, HERE, NULL, on_call,
                           &busy->call));
    else
        ID(aio_submit_recv(ctx, busy->source.rd, &busy->number, 8, 0, NULL, on_call, &busy->call));
}

/* Ready again before it waits again. */
static void serve_busy(struct call *call) {
    struct busy *busy = call->arg;
    if (fair.over && call->result == -ECANCELED)
        return; /* a thread's call that destroy was too early for */
    CHECK_EQ(call->result, 8);
    busy->served++;
    fair.over |= ++fair.total >= fair.limit;
    if (fair.over)
        return;
    feed(&busy->source, 1);
    call->finals = 0;
    busy_submit(call->ctx, busy);
}

static void fair_begin(aio_ctx *ctx, struct source (*open)(void), enum way way) {
    memset(&fair, 0, sizeof fair);
    fair.way = way;
    fair.limit = scaled(SERVED);
    for (int i = 0; i < BUSY; i++) {
        struct busy *busy = &fair.busy[i];
        *busy = (struct busy){.source = open(), .call = {.then = serve_busy, .arg = busy}};
        feed(&busy->source, 1);
        busy_submit(ctx, busy);
    }
}

static void fair_end(aio_ctx *ctx) {
    int least = fair.limit, most = 0;
    end_ctx(ctx);
    for (int i = 0; i < BUSY; i++) {
        const int served = fair.busy[i].served;
        least = served < least ? served : least;
        most = served > most ? served : most;
        close_source(&fair.busy[i].source);
    }
    CHECK_GT(least, 0);
    CHECK_LE(most, 2 * least + 4);
}

static void tick_again(struct call *call) {
    call->finals = 0;
    if (!fair.over)
        ID(aio_submit_timer(call->ctx, 1, NULL, on_call, call));
}

/* A turn delivers no more than a thousand, and then looks at the time. */
static void check_fairness(struct source (*open)(void), enum way way) {
    aio_ctx *ctx = make_epoll();
    struct call timer = {.then = tick_again}, interval = {0};
    fair_begin(ctx, open, way);
    ID(aio_submit_timer(ctx, 1, NULL, on_call, &timer));
    ID(aio_submit_interval(ctx, MS, NULL, on_call, &interval));
    RUN_UNTIL(ctx, fair.over);
    CHECK_GE(timer.calls, fair.total / 4096);
    CHECK_GE(interval.calls, 1);
    fair_end(ctx);
}

TEST(tcp_sockets_that_are_always_ready_are_served_fairly_beside_a_timer) {
    check_fairness(open_tcp, RECV);
}

TEST(unix_sockets_that_are_always_ready_are_served_fairly_beside_a_timer) {
    check_fairness(open_unix, RECV);
}

TEST(pipes_that_are_always_ready_are_served_fairly_beside_a_timer) {
    check_fairness(open_pipe, READ);
}

static void note_total(struct call *call) { *(int *)call->arg = fair.total; }

/* A terminal, and a pipe before Linux 6.4, cannot be tried: a thread reads, at its leisure. */
static bool is_read_by_a_thread(const struct kind *kind, int fd) {
    char byte;
    return !kind->is_socket && preadv2(fd, &(struct iovec){&byte, 1}, 1, -1, RWF_NOWAIT) < 0 &&
           errno == EOPNOTSUPP;
}

/* Of each kind that can wait: its event must be looked for although there is always something else
 * to do. */
TEST(a_quiet_descriptor_is_not_forgotten_among_busy_ones) {
    for (int i = 0; i < COUNT_OF(kinds); i++) {
        if (kinds[i].is_file)
            continue;
        aio_ctx *ctx = make_epoll();
        const struct source quiet = kinds[i].open();
        const bool by_thread = is_read_by_a_thread(&kinds[i], quiet.rd);
        struct wait wait;
        int total = 0;
        wait_submit(ctx, &wait, &kinds[i], quiet.rd, i & 1 ? RECV : READ);
        wait.call.then = note_total;
        wait.call.arg = &total;
        fair_begin(ctx, open_unix, RECV);
        RUN_UNTIL(ctx, fair.total >= fair.limit / 4);
        CHECK_EQ(wait.call.calls, 0);
        const int fed_at = fair.total;
        feed(&quiet, 3);
        RUN_UNTIL(ctx, wait.call.finals || fair.over);
        wait_check(ctx, &wait, 3);
        if (!by_thread)
            CHECK_LT(total - fed_at, 8 * BUSY);
        RUN_UNTIL(ctx, fair.over);
        fair_end(ctx);
        close_source(&quiet);
    }
}

static void count_post(void *arg) { ++*(int *)arg; }

TEST(posts_and_calls_of_the_pool_are_delivered_among_busy_sockets) {
    aio_ctx *ctx = make_epoll();
    struct statx attributes;
    struct call look = {0};
    int posts = 0;
    fair_begin(ctx, open_unix, RECV);
    fair.limit = 1 << 30;
    ID(aio_submit_statx(ctx, AT_FDCWD, "/", 0, STATX_SIZE, &attributes, NULL, on_call, &look));
    CHECK_EQ(aio_ctx_post(ctx, count_post, &posts), 0);
    RUN_UNTIL(ctx, posts == 1 && look.finals);
    CHECK_EQ(look.result, 0);
    fair.over = true;
    fair_end(ctx);
}

/* It never idles, so that a look at what may be wrong must be taken in between. */
TEST(a_number_of_another_file_is_found_out_by_a_busy_context) {
    aio_ctx *ctx = make_epoll();
    struct source old[8], new[8];
    struct wait waits[8];
    int copies[8];
    for (int i = 0; i < 8; i++)
        new[i] = replaced(ctx, &old[i], &copies[i]);
    fair_begin(ctx, open_unix, RECV);
    fair.limit = 1 << 30;
    for (int i = 0; i < 8; i++) {
        wait_submit(ctx, &waits[i], &kinds[0], new[i].rd, RECV);
        wait_check(ctx, &waits[i], 7);
    }
    fair.over = true;
    fair_end(ctx);
    for (int i = 0; i < 8; i++) {
        close_source(&new[i]);
        SYS(close(old[i].wr));
        SYS(close(copies[i]));
    }
}

/* --- flags of the host's descriptors --------------------------------------------------------- */

static int flags_of(int fd) { return SYS(fcntl(fd, F_GETFL)); }

static void check_reads_leave_flags(aio_ctx *ctx, const struct kind *kind, bool nonblocking) {
    const struct source source = kind->open();
    struct termios before, after;
    if (nonblocking)
        SYS(fcntl(source.rd, F_SETFL, flags_of(source.rd) | O_NONBLOCK));
    const int rd_flags = flags_of(source.rd), wr_flags = flags_of(source.wr);
    const bool is_terminal = tcgetattr(source.rd, &before) == 0;
    for (int way = 0; way < WAYS; way++) {
        struct wait waiting, ready;
        if (!kind->is_file && !nonblocking) {
            wait_submit(ctx, &waiting, kind, source.rd, (enum way)way);
            run_for_ms(ctx, 2);
            CHECK_EQ(waiting.call.calls, 0);
            CHECK_EQ(flags_of(source.rd), rd_flags);
            feed(&source, 7);
            wait_check(ctx, &waiting, 7);
        }
        SYS(kind->is_file ? (int)lseek(source.rd, 0, SEEK_SET) : 0);
        if (!kind->is_file)
            feed(&source, 7);
        wait_submit(ctx, &ready, kind, source.rd, (enum way)way);
        wait_check(ctx, &ready, 7);
        CHECK_EQ(flags_of(source.rd), rd_flags);
    }
    CHECK_EQ(flags_of(source.wr), wr_flags);
    if (is_terminal) {
        SYS(tcgetattr(source.rd, &after));
        CHECK_EQ(after.c_iflag, before.c_iflag);
        CHECK_EQ(after.c_oflag, before.c_oflag);
        CHECK_EQ(after.c_cflag, before.c_cflag);
        CHECK_EQ(after.c_lflag, before.c_lflag);
        CHECK_MEM(after.c_cc, before.c_cc, sizeof before.c_cc);
    }
    close_source(&source);
}

TEST(reads_receives_and_polls_leave_the_flags_of_descriptors_alone) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < COUNT_OF(kinds); i++)
        for (int nonblocking = 0; nonblocking < 2; nonblocking++)
            check_reads_leave_flags(ctx, &kinds[i], nonblocking);
    end_ctx(ctx);
}

TEST(writes_and_sends_leave_the_flags_of_descriptors_alone) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < COUNT_OF(kinds); i++) {
        const struct source source = kinds[i].open();
        const int flags = flags_of(source.wr), far_flags = flags_of(source.rd);
        struct call write = {0}, poll = {0}, send = {0};
        uint64_t number = 7;
        CHECK_EQ(DO(ctx, write,
                    aio_submit_write(ctx, source.wr, &number, 8, HERE, NULL, on_call, &write)),
                 8);
        CHECK_EQ(DO(ctx, poll, aio_submit_poll(ctx, source.wr, POLLOUT, NULL, on_call, &poll)),
                 POLLOUT);
        if (kinds[i].is_socket)
            CHECK_EQ(
                DO(ctx, send, aio_submit_send(ctx, source.wr, &number, 8, 0, NULL, on_call, &send)),
                8);
        CHECK_EQ(flags_of(source.wr), flags);
        CHECK_EQ(flags_of(source.rd), far_flags);
        close_source(&source);
    }
    end_ctx(ctx);
}

/* The writer waits again and again; the host's descriptor blocks all the same. */
TEST(writes_to_a_full_pipe_wait_for_a_slow_reader_and_leave_it_blocking) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_pipe();
    const int flags = flags_of(source.wr);
    static unsigned char out[300000], in[sizeof out];
    pattern_fill(out, sizeof out, 5);
    size_t sent = 0, received = 0;
    while (sent < sizeof out) {
        struct call write = {0};
        ID(aio_submit_write(ctx, source.wr, out + sent, sizeof out - sent, HERE, NULL, on_call,
                            &write));
        for (const uint64_t end = patience_end_ns(); !write.finals && now_ns() < end;) {
            run_for_ms(ctx, 1);
            CHECK_EQ(flags_of(source.wr), flags);
            if (write.finals)
                break;
            const ssize_t count = read(source.rd, in + received, 5000);
            CHECK_GT(count, 0);
            received += (size_t)count;
        }
        CHECK_GT(write.result, 0);
        sent += (size_t)write.result;
    }
    read_all_or_fail(source.rd, in + received, sizeof in - received);
    CHECK(pattern_holds(in, sizeof in, 5));
    CHECK_EQ(flags_of(source.wr) & O_NONBLOCK, 0);
    close_source(&source);
    end_ctx(ctx);
}

TEST(accept_and_connect_set_o_nonblock_on_their_own_socket_and_no_other) {
    aio_ctx *ctx = make_epoll();
    struct sockaddr_in addr;
    const int listener = make_tcp_listener(&addr, 8);
    const int client = SYS(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int listener_flags = flags_of(listener), client_flags = flags_of(client);
    struct call accepted = {0}, connected = {0};
    ID(aio_submit_accept(ctx, listener, NULL, NULL, 0, NULL, on_call, &accepted));
    check_blocked(ctx, &accepted);
    ID(aio_submit_connect(ctx, client, (struct sockaddr *)&addr, sizeof addr, NULL, on_call,
                          &connected));
    const int server = await_call(ctx, &accepted);
    CHECK_EQ(await_call(ctx, &connected), 0);
    CHECK_EQ(flags_of(listener), listener_flags | O_NONBLOCK);
    CHECK_EQ(flags_of(client), client_flags | O_NONBLOCK);
    CHECK_EQ(flags_of(server) & O_NONBLOCK, 0); /* as accept4(2) leaves it without SOCK_NONBLOCK */
    struct call recv = {0};
    char bytes[4] = {0};
    ID(aio_submit_recv(ctx, client, bytes, 4, 0, NULL, on_call, &recv)); /* and it still waits */
    check_blocked(ctx, &recv);
    write_all_or_fail(server, "wait", 4);
    CHECK_EQ(await_call(ctx, &recv), 4);
    CHECK_EQ(flags_of(server) & O_NONBLOCK, 0);
    close(server);
    close(client);
    close(listener);
    end_ctx(ctx);
}

/* --- what a socket has to say ---------------------------------------------------------------- */

static int32_t receive(aio_ctx *ctx, int fd, void *data, size_t len, int flags) {
    struct call call = {0};
    return DO(ctx, call, aio_submit_recv(ctx, fd, data, len, flags, NULL, on_call, &call));
}

/* A receive that waits: first with nothing there, so that the socket is known to the engine. */
static void warm(aio_ctx *ctx, const struct source *source) {
    char bytes[8] = {0};
    struct call call = {0};
    ID(aio_submit_recv(ctx, source->rd, bytes, 8, 0, NULL, on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    write_all_or_fail(source->wr, "warm", 4);
    CHECK_EQ(await_call(ctx, &call), 4);
}

/* The end comes with the data, after them, or after a pause; a short receive must not hide it. */
TEST(the_end_of_a_stream_behind_its_last_bytes_is_seen) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < scaled(60); i++) {
        const struct source source = i & 1 ? open_tcp() : open_unix();
        char bytes[64] = {0};
        struct call call = {0};
        if (i & 2)
            warm(ctx, &source);
        if (i & 4) {
            ID(aio_submit_recv(ctx, source.rd, bytes, 64, 0, NULL, on_call, &call));
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        }
        write_all_or_fail(source.wr, "last", 4);
        if (i & 8) {
            SYS(shutdown(source.wr, SHUT_WR));
            sleep_ms(1);
        }
        if (i & 4)
            CHECK_EQ(await_call(ctx, &call), 4);
        else
            CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 4);
        if (!(i & 8)) {
            if (i & 16)
                run_for_ms(ctx, 1);
            SYS(shutdown(source.wr, SHUT_WR));
        }
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 0);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 0);
        close_source(&source);
    }
    end_ctx(ctx);
}

TEST(a_reset_behind_a_short_receive_is_seen) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < scaled(20); i++) {
        const struct source source = open_tcp();
        const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        char bytes[64] = {0};
        warm(ctx, &source);
        write_all_or_fail(source.wr, "data", 4);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 4);
        if (i & 1)
            run_for_ms(ctx, 1);
        SYS(setsockopt(source.wr, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
        SYS(close(source.wr));
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), -ECONNRESET);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 0);
        SYS(close(source.rd));
    }
    end_ctx(ctx);
}

TEST(waitall_gathers_pieces_and_ends_short_with_the_stream) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < 8; i++) {
        const struct source source = i & 1 ? open_tcp() : open_unix();
        char bytes[12] = {0};
        struct call call = {0};
        if (i & 2)
            warm(ctx, &source);
        ID(aio_submit_recv(ctx, source.rd, bytes, 12, MSG_WAITALL, NULL, on_call, &call));
        const char *pieces[] = {"abc", "def", "ghi"};
        for (int k = 0; k < 3; k++) {
            write_all_or_fail(source.wr, pieces[k], 3);
            run_for_ms(ctx, 2);
            CHECK_EQ(call.calls, 0);
        }
        if (i & 4)
            SYS(shutdown(source.wr, SHUT_WR));
        else
            write_all_or_fail(source.wr, "jklmno", 6);
        CHECK_EQ(await_call(ctx, &call), i & 4 ? 9 : 12);
        CHECK_MEM(bytes, "abcdefghijkl", i & 4 ? 9 : 12);
        if (!(i & 4))
            CHECK_EQ(receive(ctx, source.rd, bytes, 12, 0), 3); /* and took no more */
        close_source(&source);
    }
    end_ctx(ctx);
}

/* What it has gathered when it is cancelled must not be lost in silence. */
TEST(waitall_that_is_cancelled_gives_what_it_has) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_tcp();
    char bytes[12] = {0};
    struct call call = {0};
    const aio_op_id id =
        ID(aio_submit_recv(ctx, source.rd, bytes, 12, MSG_WAITALL, NULL, on_call, &call));
    write_all_or_fail(source.wr, "abc", 3);
    run_for_ms(ctx, 5);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    await_call(ctx, &call);
    if (call.result == 3) {
        CHECK_MEM(bytes, "abc", 3);
    } else { /* or it took nothing yet */
        CHECK_EQ(call.result, -ECANCELED);
        CHECK_EQ(receive(ctx, source.rd, bytes, 12, MSG_DONTWAIT), 3);
    }
    close_source(&source);
    end_ctx(ctx);
}

TEST(peeking_takes_nothing_and_tells_the_engine_nothing) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < 4; i++) {
        const struct source source = i & 1 ? open_tcp() : open_unix();
        char bytes[64] = {0};
        struct call peek = {0};
        if (i & 2)
            warm(ctx, &source);
        ID(aio_submit_recv(ctx, source.rd, bytes, 64, MSG_PEEK, NULL, on_call, &peek));
        run_for_ms(ctx, 2);
        CHECK_EQ(peek.calls, 0);
        write_all_or_fail(source.wr, "peek", 4);
        CHECK_EQ(await_call(ctx, &peek), 4); /* short, and yet there is something left */
        for (int k = 0; k < 3; k++)
            CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_PEEK), 4);
        CHECK_EQ(receive(ctx, source.rd, bytes, 2, 0), 2);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 2);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_DONTWAIT), -EAGAIN);
        close_source(&source);
    }
    end_ctx(ctx);
}

TEST(dontwait_is_answered_at_once_whatever_is_known) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < 4; i++) {
        const struct source source = i & 1 ? open_tcp() : open_unix();
        char bytes[64] = {0};
        if (i & 2)
            warm(ctx, &source);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_DONTWAIT), -EAGAIN);
        write_all_or_fail(source.wr, "data", 4);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_DONTWAIT), 4); /* no event was seen yet */
        struct call waiting = {0};
        char late[8] = {0};
        ID(aio_submit_recv(ctx, source.rd, late, 8, 0, NULL, on_call, &waiting));
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_DONTWAIT), -EAGAIN);
        write_all_or_fail(source.wr, "late", 4);
        CHECK_EQ(await_call(ctx, &waiting), 4);
        close_source(&source);
    }
    end_ctx(ctx);
}

/* A receive stops at the mark of an urgent byte: short, with more behind it. */
TEST(bytes_behind_an_urgent_one_are_received) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < scaled(16); i++) {
        const struct source source = open_tcp();
        char bytes[64] = {0}, urgent = 0;
        struct call first = {0};
        if (i & 1)
            warm(ctx, &source);
        if (i & 2) {
            ID(aio_submit_recv(ctx, source.rd, bytes, 64, 0, NULL, on_call, &first));
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            write_all_or_fail(source.wr, "first", 5);
            CHECK_EQ(await_call(ctx, &first), 5);
        }
        write_all_or_fail(source.wr, "before", 6);
        CHECK_EQ(send(source.wr, "!", 1, MSG_OOB), 1);
        write_all_or_fail(source.wr, "behind", 6);
        if (i & 4)
            sleep_ms(1);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 6);
        CHECK_MEM(bytes, "before", 6);
        CHECK_EQ(receive(ctx, source.rd, &urgent, 1, MSG_OOB), 1);
        CHECK_EQ(urgent, '!');
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 6);
        CHECK_MEM(bytes, "behind", 6);
        CHECK_EQ(receive(ctx, source.rd, &urgent, 1, MSG_OOB), -EINVAL);
        close_source(&source);
    }
    end_ctx(ctx);
}

TEST(a_poll_for_an_urgent_byte_sees_it) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_tcp();
    struct call poll = {0};
    warm(ctx, &source);
    ID(aio_submit_poll(ctx, source.rd, POLLPRI, NULL, on_call, &poll));
    write_all_or_fail(source.wr, "x", 1);
    check_blocked(ctx, &poll);
    CHECK_EQ(send(source.wr, "!", 1, MSG_OOB), 1);
    CHECK_EQ(await_call(ctx, &poll) & POLLPRI, POLLPRI);
    close_source(&source);
    end_ctx(ctx);
}

/* A datagram that does not fit is cut, and the next one is another; nothing is "short" here. */
TEST(datagrams_longer_than_the_buffer_are_cut_and_the_next_is_there) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < 4; i++) {
        const struct source source = i & 1 ? open_udp() : open_seqpacket();
        char bytes[64] = {0};
        if (i & 2)
            warm(ctx, &source);
        for (int k = 0; k < 5; k++)
            CHECK_EQ(send(source.wr, &"01234567890123456789"[k], 10 + (size_t)k, 0), 10 + k);
        for (int k = 0; k < 5; k++) {
            const size_t len = k & 1 ? 4 : 64;
            CHECK_EQ(receive(ctx, source.rd, bytes, len, 0), k & 1 ? 4 : 10 + k);
            CHECK_EQ(bytes[0], '0' + k);
        }
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, MSG_DONTWAIT), -EAGAIN);
        CHECK_EQ(send(source.wr, "tr", 2, 0), 2);
        CHECK_EQ(receive(ctx, source.rd, bytes, 1, MSG_TRUNC), 2); /* its real length */
        CHECK_EQ(send(source.wr, "", 0, 0), 0);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 0); /* empty, which is no end */
        CHECK_EQ(send(source.wr, "on", 2, 0), 2);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 2);
        close_source(&source);
    }
    end_ctx(ctx);
}

union one_descriptor {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_descriptor(int socket, int fd) {
    union one_descriptor control;
    char byte = 'd';
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    memset(&control, 0, sizeof control);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK_EQ(sendmsg(socket, &message, 0), 1);
}

/* A stream's receive stops behind bytes that carry a descriptor: short, with more left. */
TEST(messages_behind_one_with_a_descriptor_are_received) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < scaled(16); i++) {
        const struct source source = open_unix();
        const int before = open_descriptors();
        char bytes[64] = {0};
        union one_descriptor control;
        struct iovec iov = {bytes, sizeof bytes};
        struct call first = {0}, message = {0};
        struct msghdr header = {.msg_iov = &iov,
                                .msg_iovlen = 1,
                                .msg_control = control.bytes,
                                .msg_controllen = sizeof control.bytes};
        if (i & 1)
            warm(ctx, &source);
        if (i & 2) {
            ID(aio_submit_recv(ctx, source.rd, bytes, 64, 0, NULL, on_call, &first));
            CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
            write_all_or_fail(source.wr, "zero", 4);
            CHECK_EQ(await_call(ctx, &first), 4);
        }
        write_all_or_fail(source.wr, "one", 3);
        send_descriptor(source.wr, source.wr);
        write_all_or_fail(source.wr, "two", 3);
        if (i & 4) {
            CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 4); /* nobody asked: it is closed */
        } else {
            CHECK_EQ(DO(ctx, message,
                        aio_submit_recvmsg(ctx, source.rd, &header, 0, NULL, on_call, &message)),
                     4);
            CHECK_EQ(header.msg_controllen, CMSG_SPACE(sizeof(int)));
            int fd;
            memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof fd);
            CHECK(is_cloexec(fd));
            SYS(close(fd));
        }
        CHECK_MEM(bytes, "oned", 4);
        CHECK_EQ(receive(ctx, source.rd, bytes, 64, 0), 3);
        CHECK_MEM(bytes, "two", 3);
        CHECK_EQ(open_descriptors(), before);
        close_source(&source);
    }
    end_ctx(ctx);
}

/* The low-water mark makes a socket with few bytes unready, and a receive takes them all the same.
 */
TEST(a_low_water_mark_does_not_lose_the_last_bytes) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_tcp();
    const int mark = 10;
    char bytes[64] = {0};
    warm(ctx, &source);
    SYS(setsockopt(source.rd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
    struct call call = {0};
    ID(aio_submit_recv(ctx, source.rd, bytes, 64, 0, NULL, on_call, &call));
    CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
    write_all_or_fail(source.wr, "0123456789ab", 12);
    CHECK_EQ(await_call(ctx, &call), 12);
    close_source(&source);
    end_ctx(ctx);
}

static volatile sig_atomic_t sigpipes;

static void count_sigpipe(int number) {
    (void)number;
    sigpipes++;
}

/* --- what is no longer there ------------------------------------------------------------------ */

/* A number of which the engine knows that there is nothing to receive, and then another file's. */
static void make_stale(aio_ctx *ctx, int number_of_new, int *number) {
    const struct source old = open_tcp();
    warm(ctx, &old);
    run_for_ms(ctx, 20); /* the registration is proven */
    *number = old.rd;
    SYS(dup2(number_of_new, old.rd));
    SYS(close(old.wr));
}

TEST(a_read_of_a_number_that_is_now_the_other_end_of_a_pipe_is_ebadf) {
    aio_ctx *ctx = make_epoll();
    for (int i = 0; i < 6; i++) { /* found out by a check of those who wait, then by every wait */
        const struct source source = open_pipe();
        uint64_t number = 0;
        int stale;
        struct call read = {0}, recv = {0};
        make_stale(ctx, source.wr, &stale);
        if (i % 2)
            CHECK_EQ(
                DO(ctx, recv, aio_submit_recv(ctx, stale, &number, 8, 0, NULL, on_call, &recv)),
                -ENOTSOCK);
        CHECK_EQ(DO(ctx, read, aio_submit_read(ctx, stale, &number, 8, HERE, NULL, on_call, &read)),
                 -EBADF);
        SYS(close(stale));
        close_source(&source);
    }
    end_ctx(ctx);
}

/* The receive is about to be tried anew, because the number was found to be another file's. */
TEST(a_receive_of_a_number_that_is_now_another_socket_can_be_cancelled_when_that_is_found_out) {
    aio_ctx *ctx = make_epoll();
    int pair[2], stale;
    char byte;
    struct call recv = {0}, poll = {0};
    make_socket_pair(pair);
    make_stale(ctx, pair[0], &stale);
    const aio_op_id id = ID(aio_submit_recv(ctx, stale, &byte, 1, 0, NULL, on_call, &recv));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 0);
    ID(aio_submit_poll(ctx, stale, 0, NULL, on_call, &poll)); /* finds out */
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &recv), -ECANCELED);
    SYS(close(pair[1]));
    CHECK_EQ(await_call(ctx, &poll) & POLLHUP, POLLHUP);
    SYS(close(pair[0]));
    SYS(close(stale));
    end_ctx(ctx);
}

/* At once, not when those who wait are checked. */
TEST(a_poll_for_nothing_of_a_number_that_is_now_a_file_is_refused_by_the_next_turn) {
    aio_ctx *ctx = make_epoll();
    const int file = temp_file("file", "x", 1);
    int stale;
    struct call poll = {0};
    make_stale(ctx, file, &stale);
    ID(aio_submit_poll(ctx, stale, 0, NULL, on_call, &poll));
    CHECK_EQ(aio_ctx_run_once(ctx, 0), 1);
    CHECK_EQ(poll.result, -EINVAL);
    SYS(close(stale));
    SYS(close(file));
    end_ctx(ctx);
}

/* --- pipes that splice(2) has used ------------------------------------------------------------ */

static void splice_all(aio_ctx *ctx, int from, uint64_t at, int to, size_t len) {
    struct call call = {0};
    CHECK_EQ(
        DO(ctx, call, aio_submit_splice(ctx, from, at, to, HERE, len, 0, NULL, on_call, &call)),
        (int)len);
}

/* Neither end knows RWF_NOWAIT any more. Holds what was spliced. */
static struct source open_spliced_pipe(aio_ctx *ctx) {
    const struct source source = open_pipe();
    const int file = temp_file("spliced", "it was spliced", 14);
    char byte = 0;
    struct iovec iov = {&byte, 1};
    splice_all(ctx, file, 0, source.wr, 14);
    splice_all(ctx, source.rd, HERE, file, 7);
    CHECK_EQ(preadv2(source.rd, &iov, 1, -1, RWF_NOWAIT), -1);
    CHECK_EQ(errno, EOPNOTSUPP);
    CHECK_EQ(pwritev2(source.wr, &iov, 1, -1, RWF_NOWAIT), -1);
    CHECK_EQ(errno, EOPNOTSUPP);
    SYS(close(file));
    return source;
}

TEST(a_spliced_pipe_takes_what_fits_of_a_long_write) {
    aio_ctx *ctx = make_epoll();
    static char bytes[1 << 16];
    for (int vectored = 0; vectored < 2; vectored++) {
        const struct source source = open_spliced_pipe(ctx);
        const int flags = flags_of(source.wr);
        struct iovec iov[2] = {{bytes, 10}, {bytes + 10, sizeof bytes - 10}};
        struct call call = {0};
        if (vectored)
            ID(aio_submit_writev(ctx, source.wr, iov, 2, HERE, 0, NULL, on_call, &call));
        else
            ID(aio_submit_write(ctx, source.wr, bytes, sizeof bytes, HERE, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), sizeof bytes - 4096);
        CHECK_EQ(flags_of(source.wr), flags);
        close_source(&source);
    }
    end_ctx(ctx);
}

static int32_t read_at_once(aio_ctx *ctx, int fd, char *bytes, size_t len) {
    struct iovec iov = {bytes, len};
    struct call call = {0};
    return DO(ctx, call,
              aio_submit_readv(ctx, fd, &iov, 1, HERE, RWF_NOWAIT, NULL, on_call, &call));
}

TEST(a_spliced_pipe_is_read_with_rwf_nowait) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_spliced_pipe(ctx);
    char bytes[8];
    CHECK_EQ(read_at_once(ctx, source.rd, bytes, sizeof bytes), 7);
    CHECK_MEM(bytes, "spliced", 7);
    CHECK_EQ(read_at_once(ctx, source.rd, bytes, sizeof bytes), -EAGAIN);
    SYS(close(source.wr));
    CHECK_EQ(read_at_once(ctx, source.rd, bytes, sizeof bytes), 0);
    SYS(close(source.rd));
    const int folder = SYS(open(temp_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK_EQ(read_at_once(ctx, folder, bytes, sizeof bytes), -EOPNOTSUPP);
    SYS(close(folder));
    end_ctx(ctx);
}

TEST(a_write_to_a_spliced_pipe_that_nobody_reads_raises_sigpipe) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_spliced_pipe(ctx);
    struct call write = {0};
    sigpipes = 0;
    SYS(sigaction(SIGPIPE, &(struct sigaction){.sa_handler = count_sigpipe}, NULL));
    SYS(close(source.rd));
    CHECK_EQ(DO(ctx, write, aio_submit_write(ctx, source.wr, "x", 1, HERE, NULL, on_call, &write)),
             -EPIPE);
    CHECK_EQ(sigpipes, 1);
    SYS(close(source.wr));
    end_ctx(ctx);
}

/* Cancelled, it has taken nothing; left alone, it gets what comes. */
TEST(a_read_of_a_spliced_pipe_waits) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_spliced_pipe(ctx);
    char bytes[8];
    struct call read = {0}, given_up = {0};
    read_all_or_fail(source.rd, bytes, 7);
    const aio_op_id id =
        ID(aio_submit_read(ctx, source.rd, bytes, 8, HERE, NULL, on_call, &given_up));
    check_blocked(ctx, &given_up);
    CHECK_EQ(aio_ctx_cancel(ctx, id), 0);
    CHECK_EQ(await_call(ctx, &given_up), -ECANCELED);
    ID(aio_submit_read(ctx, source.rd, bytes, 8, HERE, NULL, on_call, &read));
    check_blocked(ctx, &read);
    write_all_or_fail(source.wr, "late", 4);
    CHECK_EQ(await_call(ctx, &read), 4);
    CHECK_MEM(bytes, "late", 4);
    close_source(&source);
    end_ctx(ctx);
}

/* --- files ----------------------------------------------------------------------------------- */

/* Whether the page cache has this byte of the file. */
static bool is_cached(int fd, off_t at) {
    char byte;
    struct iovec iov = {&byte, 1};
    return preadv2(fd, &iov, 1, at, RWF_NOWAIT) == 1;
}

/* Pages that somebody else just looks at stay: asked again then. */
static bool uncache(int fd, off_t last) {
    for (int tries = 0; tries < 100; tries++) {
        SYS(fsync(fd));
        CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        if (!is_cached(fd, last) && !is_cached(fd, 0))
            return true;
        sleep_ms(10);
    }
    return false;
}

TEST(a_read_of_a_file_that_is_half_cached_is_whole) {
    aio_ctx *ctx = make_epoll();
    enum { SIZE = 4 << 20, HALF = SIZE / 2 };
    unsigned char *out = malloc(SIZE), *in = malloc(SIZE);
    CHECK(out && in);
    pattern_fill(out, SIZE, 9);
    const int fd = temp_file("half", NULL, 0);
    write_all_or_fail(fd, out, SIZE);
    for (int side = 0; side < 2; side++) {
        if (!uncache(fd, SIZE - 1))
            SKIP("the page cache keeps everything of this file system");
        SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM)); /* no more than what is read */
        CHECK_EQ(pread(fd, in, HALF, side ? HALF : 0), HALF);
        memset(in, 0, SIZE);
        struct call call = {0};
        struct iovec iov[2] = {{in, HALF / 2}, {in + HALF / 2, SIZE - HALF / 2}};
        if (side)
            ID(aio_submit_readv(ctx, fd, iov, 2, 0, 0, NULL, on_call, &call));
        else
            ID(aio_submit_read(ctx, fd, in, SIZE, 0, NULL, on_call, &call));
        CHECK_EQ(await_call(ctx, &call), SIZE);
        CHECK(pattern_holds(in, SIZE, 9));
    }
    SYS(lseek(fd, 0, SEEK_SET));
    CHECK_EQ(posix_fadvise(fd, HALF, 0, POSIX_FADV_DONTNEED), 0);
    memset(in, 0, SIZE);
    struct call here = {0};
    CHECK_EQ(DO(ctx, here, aio_submit_read(ctx, fd, in, SIZE, HERE, NULL, on_call, &here)), SIZE);
    CHECK(pattern_holds(in, SIZE, 9));
    CHECK_EQ(lseek(fd, 0, SEEK_CUR), SIZE);
    free(out);
    free(in);
    close(fd);
    end_ctx(ctx);
}

TEST(reads_at_the_position_of_a_file_follow_each_other) {
    aio_ctx *ctx = make_epoll();
    uint64_t numbers[500];
    for (uint64_t i = 0; i < 500; i++)
        numbers[i] = i;
    const int fd = temp_file("sequence", numbers, sizeof numbers);
    static struct call calls[500];
    static uint64_t got[500];
    for (int i = 0; i < 500; i++) /* all at once: in the order of their submission */
        ID(aio_submit_read(ctx, fd, &got[i], 8, HERE, NULL, on_call, &calls[i]));
    CHECK_EQ(aio_ctx_run(ctx), 0);
    for (uint64_t i = 0; i < 500; i++) {
        CHECK_EQ(calls[i].result, 8);
        CHECK_EQ(got[i], i);
    }
    struct call end = {0};
    CHECK_EQ(DO(ctx, end, aio_submit_read(ctx, fd, got, 8, HERE, NULL, on_call, &end)), 0);
    close(fd);
    end_ctx(ctx);
}

/* --- what it costs --------------------------------------------------------------------------- */

/* A send, a receive, and a share of the wait: what a loop written by hand needs. */
TEST(a_request_over_tcp_takes_three_system_calls) {
    aio_ctx *ctx = make_epoll();
    const struct source source = open_tcp();
    const int rounds = scaled(2000);
    char bytes[64] = {0};
    warm(ctx, &source);
    const uint64_t before = stats_of(ctx).system_calls;
    for (int i = 0; i < rounds; i++) {
        struct call recv = {0}, send = {0};
        ID(aio_submit_recv(ctx, source.rd, bytes, 64, 0, NULL, on_call, &recv));
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        write_all_or_fail(source.wr, "request", 7);
        CHECK_EQ(await_call(ctx, &recv), 7);
        CHECK_EQ(DO(ctx, send, aio_submit_send(ctx, source.rd, bytes, 7, 0, NULL, on_call, &send)),
                 7);
        read_all_or_fail(source.wr, bytes, 7);
    }
    /* Two waits, because this loop looks once before there is anything. */
    const uint64_t calls = stats_of(ctx).system_calls - before;
    CHECK_LE(calls, (uint64_t)rounds * 5);
    CHECK_GE(calls, (uint64_t)rounds * 3);
    close_source(&source);
    end_ctx(ctx);
}

HARNESS_MAIN
