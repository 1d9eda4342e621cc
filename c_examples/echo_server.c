/*
 * echo_server: sends back what it receives, on any number of connections, on one thread.
 *
 * A connection is one buffer and at most one operation: a receive with a deadline, then a send with
 * the same deadline until everything is sent, then the next receive. SIGINT or SIGTERM stops it
 * gracefully: nobody is accepted any more, what has arrived is still echoed, then the peers see the
 * end of the stream. A second signal does not wait for slow peers.
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
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_BYTES = 16 * 1024, BACKLOG = 4096 };
#define SECOND UINT64_C(1000000000)
#define ACCEPT_PAUSE_NS (SECOND / 10)

struct connection {
    struct connection *next, *previous; /* of all that are open; `next` also of the free ones */
    int fd;
    uint32_t received, sent;
    bool closing;
    char buffer[BUFFER_BYTES];
};

/* One server per process: its state is here instead of in an argument of every function. */
static struct {
    aio_ctx *ctx;
    int listener, signal_fd;
    aio_op_id accept, accept_pause, signal_read;
    struct signalfd_siginfo signal_info;
    aio_submit_options deadline;
    struct connection *open, *free;
    bool quiet, stopping, accept_hindered;
    uint64_t connections, open_now, open_most, echoes, bytes;
    uint64_t deadlines, resets, accept_failures;
} server = {.listener = -1, .signal_fd = -1, .deadline = {.size = sizeof(aio_submit_options)}};

static void on_received(void *user_data, int32_t result, uint32_t flags);
static void send_rest(struct connection *c);
static void accept_more(void);

static void ignore(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)result, (void)flags;
}

static void log_line(const char *what, int64_t status) {
    if (!server.quiet)
        fprintf(stderr, "echo_server: %s: %s\n", what, aio_strerror((int32_t)status));
}

/* ---- a connection ---------------------------------------------------------------------------- */

/* After a stop nothing but the wait for a second signal keeps the loop from running out of work. */
static void end_if_drained(void) {
    if (server.stopping && server.open == NULL && server.signal_read > 0) {
        aio_ctx_cancel(server.ctx, server.signal_read);
        server.signal_read = 0;
    }
}

static void on_closed(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;
    (void)result, (void)flags;

    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        server.open = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->next = server.free;
    server.free = c;
    server.open_now--;
    /* The descriptor that this one gave back is what accept was waiting for. */
    if (server.accept_hindered)
        accept_more();
    end_if_drained();
}

static void close_connection(struct connection *c, int32_t reason, uint32_t flags) {
    c->closing = true;
    if (flags & AIO_CQE_DEADLINE)
        server.deadlines++;
    else if (reason < 0 && reason != -ECANCELED)
        server.resets++;
    aio_op_id id = aio_submit_close(server.ctx, c->fd, NULL, on_closed, c);
    if (id < 0) { /* no memory for an operation: close(2) needs none */
        close(c->fd);
        on_closed(c, 0, 0);
    }
}

static void receive(struct connection *c) {
    aio_op_id id = aio_submit_recv(server.ctx, c->fd, c->buffer, sizeof c->buffer, 0,
                                   &server.deadline, on_received, c);
    if (id < 0)
        close_connection(c, (int32_t)id, 0);
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;

    if (result < 0) {
        close_connection(c, result, flags);
        return;
    }
    c->sent += (uint32_t)result;
    server.bytes += (uint32_t)result;
    if (c->sent < c->received) { /* the socket's buffer took only a part */
        send_rest(c);
        return;
    }
    server.echoes++;
    receive(c);
}

static void send_rest(struct connection *c) {
    aio_op_id id = aio_submit_send(server.ctx, c->fd, c->buffer + c->sent, c->received - c->sent, 0,
                                   &server.deadline, on_sent, c);
    if (id < 0)
        close_connection(c, (int32_t)id, 0);
}

static void on_received(void *user_data, int32_t result, uint32_t flags) {
    struct connection *c = user_data;

    if (result <= 0) { /* 0: the peer has sent its last byte, and has all of them back */
        close_connection(c, result, flags);
        return;
    }
    c->received = (uint32_t)result;
    c->sent = 0;
    send_rest(c);
}

/*
 * Lets the receive return what has arrived, and then 0: the end of the stream, as if the peer had
 * said it. From there the connection ends in the same way as every other. An ordinary call, because
 * it never waits; out of a ring one of the kernel's workers would have to be woken for it.
 */
static void end_input(struct connection *c) {
    if (!c->closing)
        shutdown(c->fd, SHUT_RD);
}

static void open_connection(int fd) {
    struct connection *c = server.free;

    if (c != NULL)
        server.free = c->next;
    else
        c = malloc(sizeof *c);
    if (c == NULL) {
        close(fd);
        server.accept_failures++;
        return;
    }
    c->fd = fd;
    c->closing = false;
    c->previous = NULL;
    c->next = server.open;
    if (c->next != NULL)
        c->next->previous = c;
    server.open = c;
    server.connections++;
    if (++server.open_now > server.open_most)
        server.open_most = server.open_now;
    receive(c);
    if (server.stopping) /* it was accepted while the accept was being cancelled */
        end_input(c);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void on_pause_over(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)flags;
    server.accept_pause = 0;
    if (result == 0 && server.accept_hindered)
        accept_more();
}

/*
 * Too many descriptors or too little memory ends the multishot accept, and a connection that waits
 * in the backlog would end a new one at once. So the next attempt is made when one of our own
 * connections has closed, or after a pause, because the shortage may be of somebody else's making.
 */
static void pause_accept(int64_t status) {
    if (server.accept_failures++ == 0) /* once: the statistics count the others */
        log_line("accept pauses", status);
    if (server.accept_pause == 0)
        server.accept_pause =
            aio_submit_timer(server.ctx, ACCEPT_PAUSE_NS, NULL, on_pause_over, NULL);
    server.accept_hindered = true;
}

static void on_accepted(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data;
    if (result >= 0)
        open_connection(result);
    if (flags & AIO_CQE_MORE)
        return;
    server.accept = 0;
    if (server.stopping)
        return;
    if (result >= 0 || result == -ECONNABORTED) /* gone before it was accepted: not our trouble */
        accept_more();
    else
        pause_accept(result);
}

static void accept_more(void) {
    server.accept_hindered = false;
    if (server.stopping || server.accept != 0)
        return;
    aio_op_id id =
        aio_submit_accept_multishot(server.ctx, server.listener, 0, NULL, on_accepted, NULL);
    if (id > 0)
        server.accept = id;
    else
        pause_accept(id);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void on_signal(void *user_data, int32_t result, uint32_t flags);

static void await_signal(void) {
    server.signal_read =
        aio_submit_read(server.ctx, server.signal_fd, &server.signal_info,
                        sizeof server.signal_info, AIO_OFFSET_CURRENT, NULL, on_signal, NULL);
}

/* Closing the listener also ends the accept that is armed on it. */
static void drain(void) {
    static const aio_submit_options quiet = {.size = sizeof quiet, .flags = AIO_SUBMIT_QUIET};
    server.stopping = true;
    if (aio_submit_close(server.ctx, server.listener, &quiet, ignore, NULL) > 0)
        server.listener = -1;
    if (server.accept_pause > 0)
        aio_ctx_cancel(server.ctx, server.accept_pause);
    for (struct connection *c = server.open; c != NULL; c = c->next)
        end_input(c);
}

static void on_signal(void *user_data, int32_t result, uint32_t flags) {
    (void)user_data, (void)flags;
    server.signal_read = 0;
    if (result != (int32_t)sizeof server.signal_info)
        return;
    if (!server.quiet)
        fprintf(stderr, "echo_server: %s, %s\n", strsignal((int)server.signal_info.ssi_signo),
                server.stopping ? "not waiting any longer" : "draining");
    if (server.stopping) {
        aio_ctx_stop(server.ctx); /* destroy cancels what is left */
        return;
    }
    drain();
    await_signal();
    end_if_drained();
}

static void print_statistics(void) {
    aio_stats stats = {.size = sizeof stats};

    printf("connections=%" PRIu64 " at_once=%" PRIu64 " echoes=%" PRIu64 " bytes=%" PRIu64
           " deadlines=%" PRIu64 " resets=%" PRIu64 " accept_failures=%" PRIu64 "\n",
           server.connections, server.open_most, server.echoes, server.bytes, server.deadlines,
           server.resets, server.accept_failures);
    if (aio_ctx_stats(server.ctx, &stats) == 0)
        printf("aio: submitted=%" PRIu64 " completed=%" PRIu64 " callbacks=%" PRIu64
               " turns=%" PRIu64 " system_calls=%" PRIu64 " overflows=%" PRIu64
               " full_queues=%" PRIu64 " cancels=%" PRIu64 " deadlines=%" PRIu64 " rearms=%" PRIu64
               "\n",
               stats.submitted, stats.completed, stats.callbacks, stats.turns, stats.system_calls,
               stats.overflows, stats.full_queues, stats.cancels, stats.deadlines, stats.rearms);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int die(const char *what, const char *why) {
    fprintf(stderr, "echo_server: %s: %s\n", what, why);
    return 1;
}

/* Set-up happens once: ordinary calls. Accepted sockets inherit TCP_NODELAY. */
static int open_listener(const char *host, const char *port) {
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char name[NI_MAXHOST], service[NI_MAXSERV];
    const int on = 1;

    int failure = getaddrinfo(host, port, &hints, &list);
    if (failure != 0)
        return die(host, gai_strerror(failure));
    int fd = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, list->ai_protocol);
    bool ready = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
                 bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &length) == 0;
    freeaddrinfo(list);
    server.listener = fd;
    if (!ready)
        return die(host, strerror(errno));
    failure = getnameinfo((struct sockaddr *)&address, length, name, sizeof name, service,
                          sizeof service, NI_NUMERICHOST | NI_NUMERICSERV);
    if (failure != 0)
        return die(host, gai_strerror(failure));
    printf(address.ss_family == AF_INET6 ? "listening on [%s]:%s\n" : "listening on %s:%s\n", name,
           service);
    fflush(stdout); /* whoever started us reads the port from a pipe */
    return 0;
}

static int usage(void) {
    fputs("usage: echo_server [--port N] [--host A] [--deadline SECONDS] [--quiet]\n"
          "  --port N            0: any free port (0)\n"
          "  --host A            address to listen on (127.0.0.1)\n"
          "  --deadline SECONDS  longest wait for a receive or a send, 0: none (30)\n"
          "  --quiet             print nothing but the first line\n",
          stderr);
    return 2;
}

static int serve(const char *host, const char *port) {
    struct rlimit limit;
    sigset_t signals;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* a connection is a descriptor */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    /* The signals are blocked before the port is known, so that none ends us without a drain. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    server.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (server.signal_fd < 0)
        return die("signalfd", strerror(errno));
    int32_t status = aio_ctx_create(NULL, &server.ctx);
    if (status < 0)
        return die("aio_ctx_create", aio_strerror(status));
    if (open_listener(host, port) != 0)
        return 1;
    await_signal();
    if (server.signal_read < 0)
        return die("signalfd", aio_strerror((int32_t)server.signal_read));
    accept_more();
    status = aio_ctx_run(server.ctx);
    if (status < 0)
        return die("aio_ctx_run", aio_strerror(status));
    if (!server.quiet)
        print_statistics();
    return 0;
}

/* getaddrinfo would take any number, and keep its last 16 bits. */
static bool is_port(const char *text) {
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    return end != text && *end == '\0' && number <= 65535;
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"port", required_argument, NULL, 'p'},
                                            {"host", required_argument, NULL, 'h'},
                                            {"deadline", required_argument, NULL, 'd'},
                                            {"quiet", no_argument, NULL, 'q'},
                                            {0}};
    const char *host = "127.0.0.1", *port = "0";
    double deadline = 30;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = NULL;
        if (option == 'h')
            host = optarg;
        else if (option == 'p' && is_port(optarg))
            port = optarg;
        else if (option == 'q')
            server.quiet = true;
        else if (option != 'd' || (deadline = strtod(optarg, &end)) < 0 || end == optarg ||
                 *end != '\0' || !(deadline <= 1e9))
            return usage();
    }
    if (optind != argc)
        return usage();
    server.deadline.timeout_ns = (uint64_t)(deadline * (double)SECOND);

    int exit_status = serve(host, port);

    /* Connections that are still open, after a second signal, get their last callbacks in here. */
    server.stopping = true;
    if (server.ctx != NULL)
        aio_ctx_destroy(server.ctx);
    for (struct connection *c = server.open, *next; c != NULL; c = next) {
        next = c->next;
        if (!c->closing)
            close(c->fd);
        free(c);
    }
    for (struct connection *c = server.free, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    if (server.listener >= 0)
        close(server.listener);
    if (server.signal_fd >= 0)
        close(server.signal_fd);
    return exit_status;
}
