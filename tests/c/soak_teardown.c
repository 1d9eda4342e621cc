/* Teardown with mixed operations in flight, a child forked after the ring was made still alive, and
 * some operations on kernel workers: after destroy has returned nothing may be written into the
 * buffers, no descriptor may be left, and memory must not grow.
 *
 *   soak_teardown [rounds] [--unprivileged]
 *
 * --unprivileged: as nobody, with the usual 8 MiB of locked memory; needs root to change to it. */
#include "harness.h"

#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/uio.h>

enum { OPS = 20, BUFFER = 64, POISON = 0xa5, UNTOUCHED = 0x11 };

/* Two of these take turns, so that the buffers of a round are looked at again a round later. */
struct round {
    unsigned char buffers[OPS][BUFFER];
    struct sockaddr_in peer;
    socklen_t peer_len;
    struct iovec iov;
    struct msghdr header;
    struct call calls[OPS];
    int count;
    bool used;
};

struct sources {
    int sockets[2], pipe_fds[2], full[2], worker_pipe[2], listener, file;
    struct sockaddr_in addr;
};

static void open_sources(struct sources *s, int file) {
    make_socket_pair(s->sockets);
    make_pipe(s->pipe_fds);
    make_pipe(s->full);
    make_pipe(s->worker_pipe);
    SYS(fcntl(s->full[1], F_SETPIPE_SZ, 4096));
    fill_until_full(s->full[1]);
    s->listener = make_tcp_listener(&s->addr, 16);
    s->file = file;
}

static void close_sources(const struct sources *s) {
    const int *pairs[] = {s->sockets, s->pipe_fds, s->full, s->worker_pipe};
    for (int i = 0; i < COUNT_OF(pairs); i++)
        for (int n = 0; n < 2; n++)
            SYS(close(pairs[i][n]));
    SYS(close(s->listener));
}

static void submit_one(aio_ctx *ctx, struct round *r, const struct sources *s, int kind) {
    unsigned char *buf = r->buffers[r->count];
    struct call *call = &r->calls[r->count++];
    const uint64_t here = AIO_OFFSET_CURRENT, hour = 3600 * 1000 * MS;
    const aio_submit_options *async = WITH(.flags = AIO_SUBMIT_ASYNC);
    const aio_submit_options *deadline = WITH(.timeout_ns = 20000);
    const aio_submit_options *link = WITH(.flags = AIO_SUBMIT_LINK);
    const int socket = s->sockets[0], in = s->pipe_fds[0];
    switch (kind) {
    case 0:
        ID(aio_submit_recv(ctx, socket, buf, BUFFER, 0, NULL, on_call, call));
        break;
    case 1:
        ID(aio_submit_read(ctx, in, buf, BUFFER, here, NULL, on_call, call));
        break;
    case 2:
        ID(aio_submit_read(ctx, s->worker_pipe[0], buf, BUFFER, here, async, on_call, call));
        break;
    case 3:
        ID(aio_submit_write(ctx, s->full[1], buf, BUFFER, here, NULL, on_call, call));
        break;
    case 4:
        ID(aio_submit_write(ctx, s->full[1], buf, BUFFER, here, async, on_call, call));
        break;
    case 5:
        r->peer_len = sizeof r->peer;
        ID(aio_submit_accept(ctx, s->listener, (struct sockaddr *)&r->peer, &r->peer_len, 0, NULL,
                             on_call, call));
        break;
    case 6:
        ID(aio_submit_accept_multishot(ctx, s->listener, 0, NULL, on_call, call));
        break;
    case 7:
        ID(aio_submit_poll(ctx, in, POLLIN, NULL, on_call, call));
        break;
    case 8:
        ID(aio_submit_poll_multishot(ctx, socket, POLLIN, NULL, on_call, call));
        break;
    case 9:
        ID(aio_submit_timer(ctx, hour, NULL, on_call, call));
        break;
    case 10:
        ID(aio_submit_interval(ctx, hour, NULL, on_call, call));
        break;
    case 11:
        r->iov = (struct iovec){buf, BUFFER};
        r->header = (struct msghdr){.msg_iov = &r->iov, .msg_iovlen = 1};
        ID(aio_submit_recvmsg(ctx, socket, &r->header, 0, NULL, on_call, call));
        break;
    case 12:
        ID(aio_submit_recv(ctx, socket, buf, BUFFER, 0, deadline, on_call, call));
        break;
    case 13:
        ID(aio_submit_recv(ctx, socket, buf, BUFFER, 0, link, on_call, call));
        ID(aio_submit_read(ctx, in, r->buffers[r->count], BUFFER, here, NULL, on_call,
                           &r->calls[r->count]));
        r->count++;
        break;
    case 14:
        ID(aio_submit_read(ctx, s->file, buf, BUFFER, 0, NULL, on_call, call));
        break;
    case 15:
        ID(aio_submit_read(ctx, s->file, buf, BUFFER, 0, async, on_call, call));
        break;
    default:
        ID(aio_submit_nop(ctx, WITH(.flags = AIO_SUBMIT_BARRIER), on_call, call));
        break;
    }
}

static int wrong_bytes(const struct round *r) {
    int count = 0;
    const unsigned char *bytes = &r->buffers[0][0];
    for (size_t i = 0; i < sizeof r->buffers; i++)
        count += bytes[i] != POISON;
    const unsigned char *peer = (const unsigned char *)&r->peer;
    for (size_t i = 0; i < sizeof r->peer; i++)
        count += peer[i] != POISON;
    return count + (r->peer_len != POISON);
}

static void poison(struct round *r) {
    memset(r->buffers, POISON, sizeof r->buffers);
    memset(&r->peer, POISON, sizeof r->peer);
    r->peer_len = POISON;
}

static void wait_for_the_end(void *arg) {
    const int *life = arg;
    char byte;
    close(life[1]);
    ssize_t ignored = read(life[0], &byte, 1);
    (void)ignored;
}

static int one_round(struct round *r, uint64_t *random, int file) {
    struct sources s;
    int life[2], wrong = 0;
    wrong += r->used ? wrong_bytes(r) : 0; /* still as they were two rounds ago? */
    memset(r, 0, sizeof *r);
    memset(r->buffers, UNTOUCHED, sizeof r->buffers);
    open_sources(&s, file);
    make_pipe(life);
    aio_ctx *ctx = make_ctx();
    const int operations = 4 + (int)random_below(random, OPS - 6);
    const int fork_after = (int)random_below(random, (uint64_t)operations);
    pid_t child = 0;
    for (int i = 0; i < operations && r->count < OPS - 1; i++) {
        submit_one(ctx, r, &s, (int)random_below(random, 17));
        if (i == fork_after)
            child = start_child(wait_for_the_end, life);
    }
    if (child == 0)
        child = start_child(wait_for_the_end, life);
    switch (random_below(random, 4)) {
    case 0:
        break; /* never handed over */
    case 1:
        CHECK_GE(aio_ctx_flush(ctx), 0);
        break;
    case 2:
        CHECK_GE(aio_ctx_run_once(ctx, 0), 0);
        break;
    default:
        CHECK_GE(aio_ctx_run_once(ctx, 100000), 0);
        break;
    }
    CHECK_EQ(aio_ctx_destroy(ctx), 0);
    for (int i = 0; i < r->count; i++)
        CHECK_EQ(r->calls[i].finals, 1);
    poison(r);
    r->used = true;
    /* Now comes what the operations were waiting for. */
    char late[BUFFER];
    memset(late, 'L', sizeof late);
    write_all_or_fail(s.sockets[1], late, sizeof late);
    write_all_or_fail(s.pipe_fds[1], late, sizeof late);
    write_all_or_fail(s.worker_pipe[1], late, sizeof late);
    const int client = tcp_connect_to(&s.addr);
    char page[4096];
    CHECK_GT(read(s.full[0], page, sizeof page), 0);
    sched_yield();
    wrong += wrong_bytes(r);
    SYS(close(life[1]));
    CHECK_EQ(end_child(child), 0);
    wrong += wrong_bytes(r);
    SYS(close(life[0]));
    SYS(close(client));
    close_sources(&s);
    return wrong;
}

static void become_nobody(void) {
    const struct rlimit memlock = {8 << 20, 8 << 20};
    SYS(setrlimit(RLIMIT_MEMLOCK, &memlock));
    if (geteuid() != 0)
        return; /* unprivileged already */
    SYS(setgroups(0, NULL));
    SYS(setgid(65534));
    SYS(setuid(65534));
    SYS(prctl(PR_SET_DUMPABLE, 1)); /* else /proc/self belongs to root */
}

int main(int argc, char **argv) {
    int rounds = scaled(2000);
    bool unprivileged = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--unprivileged") == 0)
            unprivileged = true;
        else
            rounds = atoi(argv[i]);
    }
    harness_start("soak_teardown", 60 + (unsigned)rounds / 10);
    if (unprivileged)
        become_nobody();
    uint64_t random = test_seed();
    char contents[BUFFER];
    memset(contents, 'F', sizeof contents);
    const int file = temp_file("file", contents, sizeof contents);
    static struct round sets[2];
    int64_t late_writes = 0, resident = 0;
    int descriptors = 0;
    const int warm_up = rounds / 5 < 200 ? rounds / 5 : 200;
    for (int i = 0; i < rounds; i++) {
        if (i == warm_up) {
            resident = resident_kib();
            descriptors = open_descriptors();
        }
        late_writes += one_round(&sets[i & 1], &random, file);
    }
    const int64_t grown = resident_kib() - resident;
    const int leaked = open_descriptors() - descriptors;
    printf("%s: %d rounds: %" PRId64 " bytes written late, %d descriptors leaked, "
           "memory grew by %" PRId64 " KiB to %" PRId64 " KiB\n",
           unprivileged ? "nobody" : "this user", rounds, late_writes, leaked, grown,
           resident + grown);
    CHECK_EQ(late_writes, 0);
    CHECK_EQ(leaked, 0);
    if (memory_figures_are_ours())
        CHECK_LE(grown, 512);
    return 0;
}
