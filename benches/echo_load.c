/* The load of the echo servers, a ring by hand, and one sample of a server under it.
 *
 * Every connection has one request in flight, and every byte that comes back is compared. Short
 * connections are made anew for each request, and closed by the client when it has its reply. */
#include "bare_ring.h"
#include "echo.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { QUIESCE_US = 2000 }; /* after its last reply a server has one more turn before it sleeps */
static const uint64_t SENT = UINT64_MAX, CONNECTED = UINT64_C(1) << 63;

struct client {
    int fd;
    uint32_t received;
    uint64_t started_ns;
    char *request, *reply;
};

struct generator {
    struct bare_ring ring;
    struct echo_load load;
    struct sockaddr_in address;
    struct client *clients;
    uint64_t started, completed, seed;
    double *latencies_ns; /* NULL: not measured */
};

static struct io_uring_sqe *load_sqe(struct generator *generator, uint8_t opcode, int fd) {
    struct io_uring_sqe *sqe = bare_ring_sqe(&generator->ring);
    if (!sqe)
        bench_die("the load's ring takes no entry");
    sqe->opcode = opcode;
    sqe->fd = fd;
    return sqe;
}

static void client_receive(struct generator *generator, size_t index) {
    struct client *client = &generator->clients[index];
    struct io_uring_sqe *sqe = load_sqe(generator, IORING_OP_RECV, client->fd);
    sqe->addr = (uintptr_t)(client->reply + client->received);
    sqe->len = (uint32_t)generator->load.size - client->received;
    sqe->user_data = index;
}

static void client_request(struct generator *generator, size_t index) {
    struct client *client = &generator->clients[index];
    for (size_t at = 0; at < generator->load.size; at += sizeof(uint64_t)) {
        uint64_t word = bench_random(&generator->seed);
        memcpy(client->request + at, &word, sizeof word);
    }
    if (generator->latencies_ns)
        client->started_ns = bench_clock_ns();
    struct io_uring_sqe *sqe = load_sqe(generator, IORING_OP_SEND, client->fd);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    sqe->addr = (uintptr_t)client->request;
    sqe->len = (uint32_t)generator->load.size;
    sqe->msg_flags = MSG_WAITALL | MSG_NOSIGNAL;
    sqe->user_data = SENT;
    client->received = 0;
    client_receive(generator, index);
}

static int load_socket(const struct echo_load *load) {
    int fd = socket(AF_INET, (load->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    return fd;
}

/* The next request of a client, on a connection of its own if these are short. */
static void client_start(struct generator *generator, size_t index) {
    generator->started++;
    if (!generator->load.is_short) {
        client_request(generator, index);
        return;
    }
    struct client *client = &generator->clients[index];
    client->fd = load_socket(&generator->load);
    struct io_uring_sqe *sqe = load_sqe(generator, IORING_OP_CONNECT, client->fd);
    sqe->addr = (uintptr_t)&generator->address;
    sqe->off = sizeof generator->address;
    sqe->user_data = CONNECTED | index;
}

static void client_replied(struct generator *generator, size_t index) {
    struct client *client = &generator->clients[index];
    if (generator->latencies_ns)
        generator->latencies_ns[generator->completed] =
            (double)(bench_clock_ns() - client->started_ns);
    if (memcmp(client->request, client->reply, generator->load.size) != 0)
        bench_die("a reply differs from its request");
    generator->completed++;
    if (generator->load.is_short)
        close(client->fd);
    if (generator->started < generator->load.requests)
        client_start(generator, index);
}

static void client_completion(struct generator *generator, const struct io_uring_cqe *cqe) {
    if (cqe->user_data == SENT)
        bench_die("send of the load: %d", cqe->res);
    size_t index = cqe->user_data & ~CONNECTED;
    if (cqe->user_data & CONNECTED) {
        bench_check(cqe->res, "connect of the load");
        client_request(generator, index);
        return;
    }
    if (cqe->res <= 0)
        bench_die("recv of the load: %d", cqe->res);
    struct client *client = &generator->clients[index];
    client->received += (uint32_t)cqe->res;
    if (client->received < generator->load.size)
        client_receive(generator, index);
    else
        client_replied(generator, index);
}

/* So many requests by the clients from `first` on, then nothing in flight. */
static void load_run(struct generator *generator, size_t first, uint64_t requests) {
    generator->started = generator->completed = 0;
    generator->load.requests = requests;
    for (size_t i = first; i < generator->load.connections && generator->started < requests; i++)
        client_start(generator, i);
    while (generator->completed < requests) {
        bench_check(bare_ring_enter(&generator->ring, 1), "enter");
        unsigned head = bare_ring_head(&generator->ring), tail = bare_ring_tail(&generator->ring);
        for (; head != tail; head++)
            client_completion(generator, bare_ring_cqe(&generator->ring, head));
        bare_ring_consume(&generator->ring, head);
    }
    if (generator->started != requests)
        bench_die("%" PRIu64 " requests in place of %" PRIu64, generator->started, requests);
    usleep(QUIESCE_US);
}

static void load_connect(struct generator *generator, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        struct client *client = &generator->clients[i];
        client->fd = load_socket(&generator->load);
        if (connect(client->fd, (const struct sockaddr *)&generator->address,
                    sizeof generator->address) < 0)
            bench_die("connect: %s", strerror(errno));
    }
}

static void load_create(struct generator *generator, const struct echo_load *load) {
    generator->load = *load;
    generator->seed = 1;
    bench_check(bare_ring_create(&generator->ring, ECHO_SQ_ENTRIES, ECHO_CQ_ENTRIES), "bare ring");
    generator->clients = calloc(load->connections, sizeof *generator->clients);
    char *memory = malloc(2 * load->connections * load->size);
    if (!generator->clients || !memory)
        bench_die("no memory");
    for (size_t i = 0; i < load->connections; i++) {
        generator->clients[i].request = memory + 2 * i * load->size;
        generator->clients[i].reply = generator->clients[i].request + load->size;
    }
}

/* Returns when the server has seen all of it. */
static void load_destroy(struct generator *generator) {
    if (!generator->load.is_short)
        for (size_t i = 0; i < generator->load.connections; i++) {
            int fd = generator->clients[i].fd;
            if (generator->load.is_udp && send(fd, NULL, 0, 0) < 0)
                bench_die("send: %s", strerror(errno));
            close(fd);
        }
    free(generator->clients[0].request);
    free(generator->clients);
    free(generator->latencies_ns);
    bare_ring_destroy(&generator->ring);
}

/* --- a sample --- */

struct started {
    const struct echo_server *server;
    const struct echo_load *load;
    struct echo_task task;
};

static void server_main(int channel, void *arg) {
    const struct started *started = arg;
    const struct echo_task *task = &started->task;
    (void)channel;
    bench_pin(started->load->server_cpu);
    if (!started->server->program) {
        started->server->serve(task);
        return;
    }
    const uint64_t numbers[] = {bench_inherit(task->listener), task->connections, task->size};
    bench_become(started->server->program, "echo", numbers, sizeof numbers / sizeof numbers[0]);
}

static int listen_on(const struct echo_load *load, struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    int fd = load_socket(load), on = 1;
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &length) < 0)
        bench_die("bind: %s", strerror(errno));
    if (!load->is_udp && (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
                          listen(fd, ECHO_CONNECTIONS_MAX) < 0))
        bench_die("listen: %s", strerror(errno));
    return fd;
}

/* CPU time or system calls per request, or the median of their times. */
static double measure_requests(struct generator *generator, const struct bench_child *child,
                               uint64_t warm_up) {
    const struct echo_load load = generator->load;
    if (!load.is_short)
        load_connect(generator, 0, load.connections);
    load_run(generator, 0, warm_up);
    if (load.figure == ECHO_LATENCY &&
        !(generator->latencies_ns = malloc(load.requests * sizeof *generator->latencies_ns)))
        bench_die("no memory");
    uint64_t before = bench_child_spent(child);
    load_run(generator, 0, load.requests);
    uint64_t after = bench_child_spent(child);
    if (load.figure != ECHO_LATENCY)
        return (double)(after - before) / (double)load.requests;
    return bench_median(generator->latencies_ns, load.requests);
}

/* Connections are accepted in order: a reply to the last one says that all are there. */
static double measure_memory(struct generator *generator, const struct bench_child *child,
                             bool has_buffers) {
    size_t few = generator->load.connections / 8, many = generator->load.connections;
    generator->load.connections = few;
    load_connect(generator, 0, few);
    load_run(generator, few - 1, 1);
    uint64_t before = bench_child_memory(child);
    generator->load.connections = many;
    load_connect(generator, few, many);
    load_run(generator, many - 1, 1);
    double each = (double)(bench_child_memory(child) - before) / (double)(many - few);
    return has_buffers ? each - (double)generator->load.size : each;
}

static uint64_t buffer_size(const struct echo_load *load) {
    if (load->figure == ECHO_MEMORY)
        return load->size;
    return load->size < ECHO_BUFFER_MIN ? ECHO_BUFFER_MIN : 2 * load->size;
}

double echo_sample(const struct echo_server *server, const struct echo_load *load) {
    struct generator generator = {
        .address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    uint64_t warm_up = load->connections + load->requests / 10;
    struct started started = {server, load, {.at_once = load->connections}};
    started.task.size = buffer_size(load);
    started.task.connections = load->is_short ? warm_up + load->requests : load->connections;
    started.task.listener = listen_on(load, &generator.address);
    struct bench_child child;
    bench_child_start(&child, server_main, &started, load->figure == ECHO_CALLS);
    close(started.task.listener);

    bench_pin(load->load_cpu);
    load_create(&generator, load);
    double figure = load->figure == ECHO_MEMORY
                        ? measure_memory(&generator, &child, server->has_buffers)
                        : measure_requests(&generator, &child, warm_up);
    load_destroy(&generator);
    bench_child_end(&child);
    return figure;
}
