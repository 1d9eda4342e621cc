/*
 * worker_echo: the echo of echo_server on every processor. Each worker has a context, a listening
 * socket of its own on the common address (SO_REUSEPORT) and the connections that the kernel gives
 * it, so that nothing is shared and nothing locked: all state is the worker's.
 *
 * SIGINT or SIGTERM stops it: nobody is accepted any more, what has arrived is still echoed, and
 * connections that have not ended when the drain is over are cut.
 */
#define _GNU_SOURCE
#include <aio_rs.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 16 * 1024, WORKERS_MAX = 1024 };
#define SECOND INT64_C(1000000000)

/* A buffer and at most one operation. */
struct connection {
    struct worker *worker;
    struct connection *next, *previous;
    int fd;
    uint32_t received, sent;
    bool closing;
    char buffer[BUFFER_BYTES];
};

/* On lines of its own, so that two processors never write to one. */
struct worker {
    _Alignas(128) aio_ctx *ctx;
    struct connection *open;
    uint64_t connections, echoes, failures;
    bool stopping;
};

static struct worker workers[WORKERS_MAX];

static void receive(struct connection *c);

static void on_closed(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct connection *c = user_data;
    (void)result, (void)flags;

    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        c->worker->open = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    free(c);
}

static void close_connection(struct connection *c) {
    c->closing = true;
    if (aio_submit_close(c->worker->ctx, c->fd, NULL, on_closed, c) < 0) {
        close(c->fd); /* the context is being destroyed, or there is no memory */
        on_closed(c, 0, 0);
    }
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct connection *c = user_data;
    (void)flags;

    c->worker->echoes++;
    if (result == 0)
        receive(c);
    else
        close_connection(c);
}

static void on_received(void *user_data, int32_t result, uint32_t flags) AIO_NOEXCEPT {
    struct connection *c = user_data;
    (void)flags;

    if (result > 0 && aio_submit_send_all(c->worker->ctx, c->fd, c->buffer, (size_t)result, 0, NULL,
                                          on_sent, c) > 0)
        return;
    close_connection(c); /* 0: the peer has sent its last byte, and has all of them back */
}

static void receive(struct connection *c) {
    if (aio_submit_recv(c->worker->ctx, c->fd, c->buffer, sizeof c->buffer, 0, NULL, on_received,
                        c) < 0)
        close_connection(c);
}

/* What has arrived is still received, and then the end of the stream. */
static void end_input(const struct connection *c) {
    if (!c->closing)
        shutdown(c->fd, SHUT_RD);
}

/* On the thread of the worker that has accepted it. */
static void on_connection(void *arg, aio_ctx *ctx, int fd) AIO_NOEXCEPT {
    struct worker *worker = aio_ctx_user_data(ctx);
    struct connection *c = malloc(sizeof *c);
    const int on = 1;
    (void)arg;

    if (c == NULL) {
        close(fd);
        worker->failures++;
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->worker = worker;
    c->fd = fd;
    c->closing = false;
    c->previous = NULL;
    c->next = worker->open;
    if (c->next != NULL)
        c->next->previous = c;
    worker->open = c;
    worker->connections++;
    receive(c);
    if (worker->stopping) /* it was accepted while the accept was being cancelled */
        end_input(c);
}

static int32_t on_start(void *arg, aio_ctx *ctx, uint32_t index) AIO_NOEXCEPT {
    (void)arg;
    workers[index].ctx = ctx;
    aio_ctx_set_user_data(ctx, &workers[index]);
    return 0;
}

static int32_t on_stop(void *arg, aio_ctx *ctx, uint32_t index) AIO_NOEXCEPT {
    (void)arg, (void)ctx;
    workers[index].stopping = true;
    for (const struct connection *c = workers[index].open; c != NULL; c = c->next)
        end_input(c);
    return 0;
}

/* ---- start ----------------------------------------------------------------------------------- */

static int die(const char *what, const char *why) {
    fprintf(stderr, "worker_echo: %s: %s\n", what, why);
    return 1;
}

static int serve(const char *host, const char *port, uint32_t count, int64_t drain_ns, bool quiet) {
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    const aio_workers_options options = {
        .size = sizeof options, .count = count, .on_start = on_start, .on_stop = on_stop};
    struct addrinfo *list = NULL;
    aio_workers *all = NULL;
    sigset_t signals;
    int number;

    /* Before there are threads: none of them has a signal to handle but this one. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0)
        return die(host, gai_strerror(failure));
    int32_t status = aio_workers_create(&options, &all);
    if (status < 0) {
        freeaddrinfo(list);
        return die("aio_workers_create", aio_strerror(status));
    }
    const int32_t bound =
        aio_workers_listen(all, list->ai_addr, list->ai_addrlen, 0, on_connection, NULL);
    freeaddrinfo(list);
    if (bound < 0) {
        aio_workers_destroy(all);
        return die("aio_workers_listen", aio_strerror(bound));
    }
    const int32_t workers_now = aio_workers_count(all);
    printf("listening on %s:%" PRId32 "\n", host, bound);
    fflush(stdout); /* whoever started us reads the port from a pipe */

    sigwait(&signals, &number);
    aio_workers_stop(all, drain_ns);
    status = aio_workers_destroy(all); /* waits for them */
    for (int32_t i = 0; i < workers_now && !quiet; i++)
        printf("worker %" PRId32 ": connections=%" PRIu64 " echoes=%" PRIu64 " failures=%" PRIu64
               "\n",
               i, workers[i].connections, workers[i].echoes, workers[i].failures);
    return status < 0 ? die("aio_workers_destroy", aio_strerror(status)) : 0;
}

static int usage(void) {
    fputs("usage: worker_echo [--port N] [--host A] [--workers N] [--drain SECONDS] [--quiet]\n"
          "  --port N         0: any free port (0)\n"
          "  --host A         address to listen on (127.0.0.1)\n"
          "  --workers N      how many, 0: one per processor (0)\n"
          "  --drain SECONDS  longest wait for connections when it is stopped (5)\n"
          "  --quiet          print nothing but the first line\n",
          stderr);
    return 2;
}

/* A whole number up to `most`; false: it is none. */
static bool number_of(const char *text, unsigned long most, unsigned long *value) {
    char *end = NULL;
    *value = strtoul(text, &end, 10);
    return end != text && *end == '\0' && *value <= most;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},    {"host", required_argument, NULL, 'h'},
        {"workers", required_argument, NULL, 'w'}, {"drain", required_argument, NULL, 'd'},
        {"quiet", no_argument, NULL, 'q'},         {0}};
    const char *host = "127.0.0.1", *port = "0";
    unsigned long count = 0, drain = 5, ignored;
    bool quiet = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'h')
            host = optarg;
        else if (option == 'p' && number_of(optarg, 65535, &ignored))
            port = optarg;
        else if (option == 'q')
            quiet = true;
        else if (!(option == 'w' && number_of(optarg, WORKERS_MAX, &count)) &&
                 !(option == 'd' && number_of(optarg, 1000000, &drain)))
            return usage();
    }
    if (optind != argc)
        return usage();
    return serve(host, port, (uint32_t)count, (int64_t)drain * SECOND, quiet);
}
