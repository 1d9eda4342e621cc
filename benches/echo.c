/* TCP echo: what a server on the engine spends beside hand-written ones and one on libuv.
 *
 * Each sample starts a server process and loads it from the same CPU or from another: every
 * connection has one request in flight, and every byte that comes back is compared. The figure is
 * the server's CPU time per request, of all its threads. It is read from schedstat while the server
 * sleeps, before the first and after the last request, so that it is exact for this sample. System
 * calls per request are counted in a sample of their own, because the tracepoint makes each one
 * slower.
 *
 *   bare-oneshot, bare-multishot, bare-epoll   by hand over the raw system calls: echo_bare.c
 *   aio-uring, aio-epoll                       the engine on each of its backends: echo_aio.c
 *   aio-uring-pool, aio-epoll-pool             the same with a buffer pool: echo_aio_pool.c
 *   libuv                                      echo_libuv.c, if libuv was there at the build */
#include "echo.h"
#include "bare_ring.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { QUIESCE_US = 2000 }; /* after its last reply a server has one more turn before it sleeps */

struct workload {
    uint64_t connections;
    uint64_t size;
    uint64_t requests;
    uint64_t server_cpu, load_cpu;
    bool count_system_calls;
};

struct client {
    int fd;
    uint32_t received;
    char *request, *reply;
};

struct generator {
    struct bare_ring ring;
    const struct workload *load;
    struct client *clients;
    uint64_t started, completed, seed;
};

static void client_receive(struct generator *generator, size_t index) {
    struct client *client = &generator->clients[index];
    struct io_uring_sqe *sqe = bare_ring_sqe(&generator->ring);
    if (!sqe)
        bench_die("the load's ring takes no entry");
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = client->fd;
    sqe->addr = (uintptr_t)(client->reply + client->received);
    sqe->len = (uint32_t)generator->load->size - client->received;
    sqe->user_data = index;
}

static void client_request(struct generator *generator, size_t index) {
    struct client *client = &generator->clients[index];
    for (size_t at = 0; at < generator->load->size; at += sizeof(uint64_t)) {
        uint64_t word = bench_random(&generator->seed);
        memcpy(client->request + at, &word, sizeof word);
    }
    struct io_uring_sqe *sqe = bare_ring_sqe(&generator->ring);
    if (!sqe)
        bench_die("the load's ring takes no entry");
    sqe->opcode = IORING_OP_SEND;
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->fd = client->fd;
    sqe->addr = (uintptr_t)client->request;
    sqe->len = (uint32_t)generator->load->size;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->user_data = UINT64_MAX;
    client->received = 0;
    client_receive(generator, index);
    generator->started++;
}

static void client_completion(struct generator *generator, const struct io_uring_cqe *cqe) {
    const struct workload *load = generator->load;
    if (cqe->res <= 0)
        bench_die("%s of the load: %d", cqe->user_data == UINT64_MAX ? "send" : "recv", cqe->res);
    struct client *client = &generator->clients[cqe->user_data];
    client->received += (uint32_t)cqe->res;
    if (client->received < load->size) {
        client_receive(generator, cqe->user_data);
        return;
    }
    if (memcmp(client->request, client->reply, load->size) != 0)
        bench_die("a reply differs from its request");
    generator->completed++;
    if (generator->started < load->requests)
        client_request(generator, cqe->user_data);
}

/* Every request of the sample, then nothing in flight. */
static void load_run(struct generator *generator) {
    generator->started = generator->completed = 0;
    for (size_t i = 0; i < generator->load->connections; i++)
        client_request(generator, i);
    while (generator->completed < generator->started) {
        bench_check(bare_ring_enter(&generator->ring, 1), "enter");
        unsigned head = bare_ring_head(&generator->ring), tail = bare_ring_tail(&generator->ring);
        for (; head != tail; head++)
            client_completion(generator, bare_ring_cqe(&generator->ring, head));
        bare_ring_consume(&generator->ring, head);
    }
    if (generator->completed != generator->load->requests)
        bench_die("%" PRIu64 " replies to %" PRIu64 " requests", generator->completed,
                  generator->load->requests);
    usleep(QUIESCE_US);
}

static int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        bench_die("connect: %s", strerror(errno));
    return fd;
}

/* --- a sample --- */

struct server {
    void (*serve)(int listener, uint64_t connections);
    int listener;
    const struct workload *load;
};

static void server_main(int channel, void *arg) {
    const struct server *server = arg;
    (void)channel;
    bench_pin(server->load->server_cpu);
    server->serve(server->listener, server->load->connections);
}

static int listen_on(struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        listen(fd, ECHO_CONNECTIONS_MAX) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        bench_die("listen: %s", strerror(errno));
    return fd;
}

/* One server under one load: its CPU time in ns, or its system calls, per request. */
static double echo_sample(void (*serve)(int, uint64_t), const struct workload *load) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server server = {serve, listen_on(&address), load};
    struct bench_child child;
    bench_child_start(&child, server_main, &server, load->count_system_calls);
    close(server.listener);

    bench_pin(load->load_cpu);
    struct generator generator = {.load = load, .seed = 1};
    bench_check(bare_ring_create(&generator.ring, ECHO_SQ_ENTRIES, ECHO_CQ_ENTRIES), "bare ring");
    generator.clients = calloc(load->connections, sizeof *generator.clients);
    char *memory = malloc(2 * load->connections * load->size);
    if (!generator.clients || !memory)
        bench_die("no memory");
    for (size_t i = 0; i < load->connections; i++) {
        struct client *client = &generator.clients[i];
        client->fd = connect_to(&address);
        client->request = memory + 2 * i * load->size;
        client->reply = client->request + load->size;
    }
    struct workload warm = *load;
    warm.requests = load->connections + load->requests / 10;
    generator.load = &warm;
    load_run(&generator);

    generator.load = load;
    uint64_t before = bench_child_spent(&child);
    load_run(&generator);
    uint64_t after = bench_child_spent(&child);

    for (size_t i = 0; i < load->connections; i++)
        close(generator.clients[i].fd);
    bench_child_end(&child);
    bare_ring_destroy(&generator.ring);
    free(memory);
    free(generator.clients);
    return (double)(after - before) / (double)generator.completed;
}

static double sample_bare_oneshot(void *arg) { return echo_sample(echo_bare_oneshot, arg); }

static double sample_bare_multishot(void *arg) { return echo_sample(echo_bare_multishot, arg); }

static double sample_bare_epoll(void *arg) { return echo_sample(echo_bare_epoll, arg); }

static double sample_aio_uring(void *arg) { return echo_sample(echo_aio_uring, arg); }

static double sample_aio_epoll(void *arg) { return echo_sample(echo_aio_epoll, arg); }

static double sample_uring_pool(void *arg) { return echo_sample(echo_aio_uring_pool, arg); }

static double sample_epoll_pool(void *arg) { return echo_sample(echo_aio_epoll_pool, arg); }

#ifdef BENCH_LIBUV
static double sample_libuv(void *arg) { return echo_sample(echo_libuv, arg); }
#endif

static const struct bench_engine engines[] = {
    {"bare-oneshot", sample_bare_oneshot, BENCH_LIMIT},
    {"bare-multishot", sample_bare_multishot, BENCH_LIMIT},
    {"bare-epoll", sample_bare_epoll, BENCH_ENGINE},
    {"aio-uring", sample_aio_uring, BENCH_ENGINE},
    {"aio-epoll", sample_aio_epoll, BENCH_ENGINE},
    {"aio-uring-pool", sample_uring_pool, BENCH_ENGINE},
    {"aio-epoll-pool", sample_epoll_pool, BENCH_ENGINE},
#ifdef BENCH_LIBUV
    {"libuv", sample_libuv, BENCH_PEER},
#endif
};

static void report(struct bench_report *out, struct workload *load, uint64_t rounds,
                   const struct bench_engine *chosen, size_t count) {
    struct bench_figure figures[BENCH_ENGINES_MAX];
    char name[64];
    snprintf(name, sizeof name, "%" PRIu64 " connections, %s", load->connections,
             load->load_cpu == load->server_cpu ? "one CPU" : "two CPUs");
    load->count_system_calls = false;
    bench_compare(chosen, count, rounds, load, figures);
    bench_report_case(out, name, chosen, figures, count);
    int counter = bench_count_system_calls(0);
    if (counter < 0)
        return;
    close(counter);
    load->count_system_calls = true;
    for (size_t e = 0; e < count; e++)
        bench_report_exact(out, name, chosen[e].name, "system calls per request",
                           chosen[e].sample(load));
}

int main(int argc, char **argv) {
    uint64_t cpus = 0, requests = 100000, rounds = 31;
    struct workload load = {.size = 64, .server_cpu = 0};
    const char *names = NULL, *connections = "1,64,512", *limits = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names,
         "run these alone, separated by commas: bare-oneshot, bare-multishot, bare-epoll, "
         "aio-uring, aio-epoll, aio-uring-pool, aio-epoll-pool, libuv"},
        {"connections", NULL, &connections, "how many, a list"},
        {"cpus", &cpus, NULL,
         "1: both ends on one CPU, 2: on two; 0: both, but 1 connection on one"},
        {"size", &load.size, NULL, "bytes of a message, a multiple of 8"},
        {"count", &requests, NULL, "requests of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"limit", NULL, &limits, "highest ratios, such as aio-epoll/libuv=1.0,aio-uring/libuv=0.9"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
#ifndef BENCH_LIBUV
    fputs("libuv was not found when this was built (libuv1-dev): it has no row\n", stderr);
#endif
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(connections, each);
    if (cpus > 2 || load.size < 8 || load.size > ECHO_SIZE_MAX || load.size % 8)
        bench_die("at most 2 CPUs, --size from 8 to %d in steps of 8", ECHO_SIZE_MAX);
    for (size_t i = 0; i < cases; i++)
        if (each[i] > ECHO_CONNECTIONS_MAX || requests < 5 * each[i])
            bench_die("at most %d connections, and --count at least five times as large",
                      ECHO_CONNECTIONS_MAX);
    struct bench_engine chosen[BENCH_ENGINES_MAX];
    size_t count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);

    struct bench_report out;
    char title[128];
#ifdef BENCH_LIBUV
    snprintf(title, sizeof title, "TCP echo of %" PRIu64 " bytes (libuv %s)", load.size,
             echo_libuv_version());
#else
    snprintf(title, sizeof title, "TCP echo of %" PRIu64 " bytes", load.size);
#endif
    bench_report_open(&out, title, "ns of server CPU time per request", rounds, json);
    bench_report_limits(&out, limits, chosen, count);
    for (size_t i = 0; i < cases; i++) {
        load.connections = each[i];
        /* A single connection over two CPUs measures how long a halted CPU takes to wake. */
        for (load.load_cpu = 0; load.load_cpu < 2; load.load_cpu++) {
            load.requests = requests / (load.connections == 1 ? 5 : 1);
            if (cpus ? cpus == load.load_cpu + 1 : load.connections > 1 || load.load_cpu == 0)
                report(&out, &load, rounds, chosen, count);
        }
    }
    return bench_report_close(&out);
}
