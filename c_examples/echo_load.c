/*
 * echo_load: puts an echo server under load and checks every byte that comes back.
 *
 * Each connection has one request under way: its send and its receive are in flight together, so
 * that a message larger than the sockets' buffers does not stop both sides. No two requests in a
 * row carry the same bytes; what an earlier request left in a buffer cannot pass for an answer.
 * The exit status is 0 only when no byte was wrong and no connection was lost.
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)
#define STALL_NS (10 * SECOND) /* a connection on which nothing moves for so long is lost */
#define PATTERN_STARTS 4093    /* a prime: requests of all connections start at all places */
#define BYTES_MAX (64 << 20)

struct connection {
    int fd;
    uint32_t sent, received;
    bool sending, dead;
    uint64_t started_ns;
    size_t start; /* of this request's bytes in the pattern */
    char *buffer;
};

static struct {
    aio_ctx *ctx;
    struct connection *all;
    unsigned connections, connecting, connected, open;
    uint32_t bytes;
    double seconds;
    char *pattern;
    bool running;
    uint64_t started_ns, ended_ns;
    uint64_t requests, wrong, lost;
} load = {.connections = 1, .bytes = 64, .seconds = 5};

static const aio_submit_options stall = {.size = sizeof stall, .timeout_ns = STALL_NS};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* ---- latencies ------------------------------------------------------------------------------- */

/* 64 buckets for each power of two: a percentile is at most 1.6 % above the true one. */
enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS };
static uint64_t histogram[(64 - STEP_BITS + 1) * STEPS];

static void record_latency(uint64_t ns) {
    unsigned shift = 0;
    while (ns >> shift >= 2 * STEPS)
        shift++;
    histogram[shift * STEPS + (ns >> shift)]++;
}

/* The upper edge of the bucket that holds the request of this rank, in microseconds. */
static double percentile_us(double fraction) {
    uint64_t rank = (uint64_t)(fraction * (double)load.requests), seen = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (seen > rank) {
            unsigned shift = i < 2 * STEPS ? 0 : (unsigned)(i / STEPS) - 1;
            return (double)((i - shift * STEPS + 1) << shift) / 1e3;
        }
    }
    return 0;
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void on_closed(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
    load.open--;
}

/* The close cancels the other operation of this connection, if it has one in flight. */
static void close_connection(struct connection *c) {
    if (c->dead)
        return;
    c->dead = true;
    if (aio_submit_close(load.ctx, c->fd, NULL, on_closed, c) < 0)
        load.open--;
}

static void lose(struct connection *c, const char *what, int64_t status) {
    if (c->dead)
        return;           /* the other operation of a connection that is being closed */
    if (load.lost++ < 10) /* the first few say what is wrong, ten thousand say no more */
        fprintf(stderr, "echo_load: connection %td: %s: %s\n", c - load.all, what,
                status == 0 ? "closed by the peer" : aio_strerror((int32_t)status));
    close_connection(c);
}

static void start_request(struct connection *c);
static void send_rest(struct connection *c);
static void receive_rest(struct connection *c);

static void end_request(struct connection *c) {
    uint64_t now = now_ns();
    record_latency(now - c->started_ns);
    load.requests++;
    load.ended_ns = now;
    if (load.running)
        start_request(c);
    else
        close_connection(c);
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;
    (void)flags;
    c->sending = false;
    if (result < 0 || c->dead) {
        lose(c, "send", result);
        return;
    }
    c->sent += (uint32_t)result;
    if (c->sent < load.bytes)
        send_rest(c);
    else if (c->received == load.bytes)
        end_request(c);
}

static void on_received(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;
    (void)flags;
    if (result <= 0 || c->dead) {
        lose(c, "receive", result);
        return;
    }
    const char *expected = load.pattern + c->start;
    if (memcmp(c->buffer + c->received, expected + c->received, (size_t)result) != 0) {
        uint32_t at = c->received;
        while (c->buffer[at] == expected[at])
            at++;
        if (load.wrong++ == 0)
            fprintf(stderr, "echo_load: connection %td: wrong byte at %" PRIu32 "\n", c - load.all,
                    at);
        close_connection(c);
        return;
    }
    c->received += (uint32_t)result;
    if (c->received < load.bytes)
        receive_rest(c);
    else if (!c->sending)
        end_request(c);
}

static void send_rest(struct connection *c) {
    aio_op_id id = aio_submit_send(load.ctx, c->fd, load.pattern + c->start + c->sent,
                                   load.bytes - c->sent, 0, &stall, on_sent, c);
    c->sending = id > 0;
    if (id < 0)
        lose(c, "send", id);
}

static void receive_rest(struct connection *c) {
    aio_op_id id = aio_submit_recv(load.ctx, c->fd, c->buffer + c->received,
                                   load.bytes - c->received, 0, &stall, on_received, c);
    if (id < 0)
        lose(c, "receive", id);
}

static void start_request(struct connection *c) {
    c->start = (c->start + 1021) % PATTERN_STARTS;
    c->sent = c->received = 0;
    c->started_ns = now_ns();
    send_rest(c);
    if (!c->dead)
        receive_rest(c);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void on_time_over(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
    load.running = false; /* each connection ends the request that it is in, and closes */
}

/* The clock starts when the last connection is there: set-up is not part of the figures. */
static void start_all(void) {
    if (load.connected == 0)
        return;
    load.running = true;
    load.started_ns = load.ended_ns = now_ns();
    if (aio_submit_timer(load.ctx, (uint64_t)(load.seconds * (double)SECOND), NULL, on_time_over,
                         NULL) < 0)
        load.running = false;
    for (unsigned i = 0; i < load.connections; i++)
        if (!load.all[i].dead)
            start_request(&load.all[i]);
}

static void on_connected(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;
    (void)flags;
    if (c->dead)
        return; /* the set-up has failed */
    load.connecting--;
    if (result == 0)
        load.connected++;
    else
        lose(c, "connect", result);
    if (load.connecting == 0)
        start_all();
}

static int die(const char *what, const char *why) {
    fprintf(stderr, "echo_load: %s: %s\n", what, why);
    return 1;
}

static int connect_all(const struct addrinfo *address) {
    const int on = 1;

    for (unsigned i = 0; i < load.connections; i++) {
        struct connection *c = &load.all[i];
        c->start = i * 7 % PATTERN_STARTS;
        c->buffer = calloc(1, load.bytes);
        c->fd =
            socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol);
        if (c->buffer == NULL || c->fd < 0)
            return die("socket", strerror(errno));
        load.open++;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        aio_op_id id = aio_submit_connect(load.ctx, c->fd, address->ai_addr, address->ai_addrlen,
                                          &stall, on_connected, c);
        if (id < 0)
            return die("connect", aio_strerror((int32_t)id));
        load.connecting++;
    }
    return 0;
}

static int report(void) {
    double seconds = (double)(load.ended_ns - load.started_ns) / 1e9;
    double rate = seconds > 0 ? (double)load.requests / seconds : 0;
    double p50 = percentile_us(0.5), p99 = percentile_us(0.99), p999 = percentile_us(0.999);
    bool passed = load.wrong == 0 && load.lost == 0 && load.requests > 0;

    printf("%u connections, %" PRIu32 " bytes, %.2f s: %" PRIu64 " requests, %.0f req/s\n"
           "latency p50 %.0f us, p99 %.0f us, p99.9 %.0f us\n"
           "wrong answers %" PRIu64 ", lost connections %" PRIu64 ": %s\n",
           load.connections, load.bytes, seconds, load.requests, rate, p50, p99, p999, load.wrong,
           load.lost, passed ? "passed" : "FAILED");
    printf("result connections=%u size=%" PRIu32 " seconds=%.3f requests=%" PRIu64
           " req_per_s=%.1f p50_us=%.1f p99_us=%.1f p999_us=%.1f wrong=%" PRIu64 " lost=%" PRIu64
           " ok=%d\n",
           load.connections, load.bytes, seconds, load.requests, rate, p50, p99, p999, load.wrong,
           load.lost, passed);
    return passed ? 0 : 1;
}

static int run(const char *host, const char *port) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* a connection is a descriptor */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0)
        return die(host, gai_strerror(failure));
    load.all = calloc(load.connections, sizeof *load.all);
    load.pattern = malloc(PATTERN_STARTS + (size_t)load.bytes);
    int32_t status = aio_ctx_create(NULL, &load.ctx);
    if (load.all == NULL || load.pattern == NULL || status < 0) {
        freeaddrinfo(list);
        return die("set-up", status < 0 ? aio_strerror(status) : strerror(ENOMEM));
    }
    uint64_t random = now_ns() | 1;
    for (size_t i = 0; i < PATTERN_STARTS + (size_t)load.bytes; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        load.pattern[i] = (char)(random >> 56);
    }
    failure = connect_all(list);
    freeaddrinfo(list);
    if (failure != 0)
        return failure;
    status = aio_ctx_run(load.ctx);
    if (status < 0)
        return die("aio_ctx_run", aio_strerror(status));
    return report();
}

static int usage(void) {
    fprintf(stderr,
            "usage: echo_load [--host A] --port N [--connections N] [--size BYTES] [--seconds S]\n"
            "  --host A         (127.0.0.1)\n"
            "  --connections N  each with one request under way (1)\n"
            "  --size BYTES     of a request, 1 to %d (64)\n"
            "  --seconds S      then each ends the request that it is in (5)\n",
            BYTES_MAX);
    return 2;
}

/* getaddrinfo would take any number, and keep its last 16 bits. */
static bool is_port(const char *text) {
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    return end != text && *end == '\0' && number <= 65535;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"host", required_argument, NULL, 'h'},        {"port", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'}, {"size", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'},     {0}};
    const char *host = "127.0.0.1", *port = NULL;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        double number = 0;
        if (option == 'c' || option == 'b' || option == 's') {
            number = strtod(optarg, &end);
            if (end == optarg || *end != '\0')
                return usage();
        }
        if (option == 'h')
            host = optarg;
        else if (option == 'p' && is_port(optarg))
            port = optarg;
        else if (option == 'c' && number >= 1 && number <= 1e6)
            load.connections = (unsigned)number;
        else if (option == 'b' && number >= 1 && number <= BYTES_MAX)
            load.bytes = (uint32_t)number;
        else if (option == 's' && number > 0 && number <= 1e6)
            load.seconds = number;
        else
            return usage();
    }
    if (optind != argc || port == NULL)
        return usage();

    int exit_status = run(host, port);

    /* After a failed set-up connects may be in flight: destroy ends them, then memory may go. */
    for (unsigned i = 0; load.all != NULL && i < load.connections; i++)
        load.all[i].dead = true;
    if (load.ctx != NULL)
        aio_ctx_destroy(load.ctx);
    for (unsigned i = 0; load.all != NULL && i < load.connections; i++)
        free(load.all[i].buffer);
    free(load.all);
    free(load.pattern);
    return exit_status;
}
