/* Sending a file over TCP: what a server spends on each MiB. The receiver, on the other CPU, takes
 * all and compares it with the file; the figure is the CPU time of the process that sends, read
 * while it sleeps.
 *
 *   bare-calls             sendfile(2), blocking
 *   bare                   a ring by hand: splices into a pipe and out of it, in turn
 *   aio-uring, aio-epoll   aio_submit_sendfile on each of the engine's backends
 *   libuv                  uv_fs_sendfile on its pool of threads, where it was found at the build
 */
#include "sendfile.h"
#include "bare_ring.h"

#include <aio_rs.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { MIB = 1 << 20, PIPE_BYTES = 64 * 1024 };

struct workload {
    int file;
    const char *contents;
    uint64_t bytes, count, cpus;
    void (*send_file)(int out, int file, uint64_t bytes, uint64_t count);
    int ends[2];
};

/* --- engines: each sends the file so many times --- */

static void send_by_calls(int out, int file, uint64_t bytes, uint64_t count) {
    for (; count; count--)
        for (off_t at = 0; (uint64_t)at < bytes;)
            if (sendfile(out, file, &at, bytes - (uint64_t)at) <= 0)
                bench_die("sendfile: %s", strerror(errno));
}

/* Returns the result. */
static int32_t splice_once(struct bare_ring *ring, int from, uint64_t offset, int to,
                           uint32_t len) {
    struct io_uring_sqe *sqe = bare_ring_sqe(ring);
    sqe->opcode = IORING_OP_SPLICE;
    sqe->splice_fd_in = from;
    sqe->splice_off_in = offset;
    sqe->fd = to;
    sqe->off = UINT64_MAX;
    sqe->len = len;
    unsigned head = bare_ring_head(ring);
    while (bare_ring_tail(ring) == head)
        bench_check(bare_ring_enter(ring, 1), "enter");
    int32_t result = bare_ring_cqe(ring, head)->res;
    bare_ring_consume(ring, head + 1);
    bench_check(result, "splice");
    return result;
}

static void send_by_splices(int out, int file, uint64_t bytes, uint64_t count) {
    struct bare_ring ring;
    int pipe_ends[2];
    bench_check(bare_ring_create(&ring, 8, 16), "bare ring");
    if (pipe(pipe_ends) < 0)
        bench_die("pipe: %s", strerror(errno));
    for (; count; count--)
        for (uint64_t at = 0; at < bytes;) {
            int32_t left = splice_once(&ring, file, at, pipe_ends[1], PIPE_BYTES);
            at += (uint64_t)left;
            while (left)
                left -= splice_once(&ring, pipe_ends[0], UINT64_MAX, out, (uint32_t)left);
        }
    bare_ring_destroy(&ring);
}

struct transfers {
    aio_ctx *ctx;
    int out, file;
    uint64_t bytes, left;
};

static void next_transfer(struct transfers *transfers);

static void on_transferred(void *user_data, int32_t result, uint32_t flags) {
    struct transfers *transfers = user_data;
    (void)flags;
    bench_check(result, "sendfile");
    if (aio_ctx_current_bytes(transfers->ctx) != transfers->bytes)
        bench_die("aio_submit_sendfile sent less than the file");
    next_transfer(transfers);
}

static void next_transfer(struct transfers *transfers) {
    if (transfers->left && transfers->left--)
        bench_check(aio_submit_sendfile(transfers->ctx, transfers->out, transfers->file, 0,
                                        transfers->bytes, NULL, on_transferred, transfers),
                    "aio_submit_sendfile");
}

static void send_on(uint32_t backend, int out, int file, uint64_t bytes, uint64_t count) {
    const aio_ctx_options options = {.size = sizeof options, .backend = backend};
    struct transfers transfers = {.out = out, .file = file, .bytes = bytes, .left = count};
    bench_check(aio_ctx_create(&options, &transfers.ctx), "aio_ctx_create");
    next_transfer(&transfers);
    bench_check(aio_ctx_run(transfers.ctx), "aio_ctx_run");
    bench_check(aio_ctx_destroy(transfers.ctx), "aio_ctx_destroy");
}

static void send_on_uring(int out, int file, uint64_t bytes, uint64_t count) {
    send_on(AIO_BACKEND_URING, out, file, bytes, count);
}

static void send_on_epoll(int out, int file, uint64_t bytes, uint64_t count) {
    send_on(AIO_BACKEND_EPOLL, out, file, bytes, count);
}

/* --- a sample --- */

static void sender_main(int channel, void *arg) {
    const struct workload *work = arg;
    bench_pin(0);
    close(work->ends[1]);
    work->send_file(work->ends[0], work->file, work->bytes, 1);
    bench_child_stop(channel);
    work->send_file(work->ends[0], work->file, work->bytes, work->count);
    bench_child_stop(channel);
}

static void receive_all(const struct workload *work, uint64_t count) {
    static char chunk[256 * 1024];
    for (; count; count--)
        for (uint64_t at = 0; at < work->bytes;) {
            uint64_t most = work->bytes - at < sizeof chunk ? work->bytes - at : sizeof chunk;
            ssize_t received = recv(work->ends[1], chunk, most, 0);
            if (received <= 0 || memcmp(chunk, work->contents + at, (size_t)received) != 0)
                bench_die("what was received differs from the file");
            at += (uint64_t)received;
        }
}

/* Two ends of a TCP connection. */
static void connect_ends(int ends[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (const struct sockaddr *)&address, length) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        connect(ends[0], (const struct sockaddr *)&address, length) < 0 ||
        (ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
        bench_die("a connection: %s", strerror(errno));
    close(listener);
}

struct sender {
    void (*send_file)(int out, int file, uint64_t bytes, uint64_t count);
};

static double sample(void *arg, const void *subject) {
    struct workload *work = arg;
    struct bench_child child;
    work->send_file = ((const struct sender *)subject)->send_file;
    connect_ends(work->ends);
    bench_child_start(&child, sender_main, work, false);
    close(work->ends[0]);
    receive_all(work, 1);
    bench_child_await(&child);
    uint64_t before = bench_child_spent(&child);
    bench_child_go_on(&child);
    receive_all(work, work->count);
    bench_child_await(&child);
    uint64_t after = bench_child_spent(&child);
    bench_child_go_on(&child);
    bench_child_end(&child);
    close(work->ends[1]);
    return (double)(after - before) * MIB / (double)(work->count * work->bytes);
}

#define SENDER(function) (&(const struct sender){function})

static const struct bench_engine engines[] = {
    {"bare-calls", sample, BENCH_LIMIT, SENDER(send_by_calls), NULL},
    {"bare", sample, BENCH_LIMIT, SENDER(send_by_splices), NULL},
    {"aio-uring", sample, BENCH_ENGINE, SENDER(send_on_uring), NULL},
    {"aio-epoll", sample, BENCH_ENGINE, SENDER(send_on_epoll), NULL},
#ifdef BENCH_LIBUV
    {"libuv", sample, BENCH_PEER, SENDER(sendfile_libuv), NULL},
#endif
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

/* In memory, so that no disk is measured. */
static void make_contents(struct workload *work) {
    uint64_t seed = 1, *words = malloc(work->bytes);
    work->file = memfd_create("sendfile", MFD_CLOEXEC);
    if (!words || work->file < 0)
        bench_die("no memory");
    for (uint64_t i = 0; i < work->bytes / sizeof *words; i++)
        words[i] = bench_random(&seed);
    for (uint64_t at = 0; at < work->bytes; at += MIB)
        if (pwrite(work->file, (char *)words + at, MIB, (off_t)at) != MIB)
            bench_die("pwrite: %s", strerror(errno));
    work->contents = (const char *)words;
}

int main(int argc, char **argv) {
    uint64_t rounds = 31, mib = 4;
    struct workload work = {.count = 10};
    const char *names = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names, "run these alone, separated by commas, see sendfile.c"},
        {"mib", &mib, NULL, "size of the file"},
        {"count", &work.count, NULL, "transfers of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (!mib || mib > 1024 || !work.count)
        bench_die("--mib is from 1 to 1024, --count at least 1");
    struct bench_engine chosen[ENGINES];
    size_t count = bench_choose(engines, ENGINES, names, chosen);
    work.bytes = mib * MIB;
    make_contents(&work);
    bench_pin(1);
    struct bench_figure figures[ENGINES];
    struct bench_report out;
    char name[64];
    snprintf(name, sizeof name, "%" PRIu64 " MiB, two CPUs", mib);
    bench_report_open(&out, "sendfile", "ns of the sender's CPU time per MiB", rounds, json);
    bench_compare(chosen, count, rounds, &work, figures);
    bench_report_case(&out, name, chosen, figures, count);
    return bench_report_close(&out);
}
