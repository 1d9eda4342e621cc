/* TCP echo: what a server on the engine spends beside two hand-written ones.
 *
 * Each sample starts a server process and loads it from the same CPU or from another: every
 * connection has one request in flight, and every byte that comes back is compared. The figure is
 * the server's CPU time per request. It is read from schedstat while the server sleeps, before the
 * first and after the last request, so that it is exact for this sample. System calls per request
 * are counted in a sample of their own, because the tracepoint makes each one slower.
 *
 *   bare-oneshot    accept multishot, then receive and send in turn, one buffer per connection
 *   bare-multishot  accept and receive multishot into a ring of provided buffers
 *   aio             aio_submit_accept_multishot, aio_submit_recv and aio_submit_send, callbacks
 *
 * The servers echo what arrives as it arrives. The multishot one may have two sends of a
 * connection in flight when a request arrives in pieces, which is in order only while a send never
 * has to wait: messages are therefore limited to a part of the smallest socket buffer. */
#include "bare_ring.h"
#include "bench.h"

#include <aio_rs.h>
#include <arpa/inet.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum {
    CONNECTIONS_MAX = 4096,
    SIZE_MAX_BYTES = 4096,
    SQ_ENTRIES = 1024,
    CQ_ENTRIES = 4096,
    BUFFERS = 2 * CONNECTIONS_MAX, /* of the multishot server */
    BUFFER_GROUP = 1,
    QUIESCE_US = 2000, /* after its last reply the server has one more turn before it sleeps */
};

struct workload {
    uint64_t connections;
    uint64_t size;
    uint64_t requests;
    uint64_t server_cpu, load_cpu;
    bool count_system_calls;
};

/* A server serves `connections` connections on `listener` until all have been closed. */
typedef void (*server_main)(int listener, const struct workload *load);

struct connection {
    void *server;
    int fd;
    uint32_t received, sent;
    char *buffer;
};

/* --- the two hand-written servers --- */

enum bare_kind { ACCEPTED, RECEIVED, SENT };

static uint64_t bare_tag(enum bare_kind kind, unsigned buffer, int fd) {
    return (uint64_t)kind << 56 | (uint64_t)buffer << 32 | (uint32_t)fd;
}

struct bare_server {
    struct bare_ring ring;
    const struct workload *load;
    int listener;
    uint64_t closed;
    struct connection *connections; /* by descriptor */
    /* The multishot server alone: */
    struct io_uring_buf_ring *buffer_ring;
    uint16_t buffer_tail;
    char *buffers;
};

static struct io_uring_sqe *bare_sqe(struct bare_server *server, uint8_t opcode, int fd) {
    struct io_uring_sqe *sqe = bare_ring_sqe(&server->ring);
    if (!sqe)
        bench_die("the bare ring takes no entry");
    sqe->opcode = opcode;
    sqe->fd = fd;
    return sqe;
}

static void bare_accept(struct bare_server *server) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_ACCEPT, server->listener);
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
    sqe->user_data = bare_tag(ACCEPTED, 0, server->listener);
}

static void bare_send(struct bare_server *server, int fd, unsigned buffer, const char *data,
                      size_t size) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_SEND, fd);
    sqe->addr = (uintptr_t)data;
    sqe->len = (uint32_t)size;
    sqe->msg_flags = MSG_NOSIGNAL;
    sqe->user_data = bare_tag(SENT, buffer, fd);
}

static void bare_close(struct bare_server *server, int fd) {
    close(fd);
    server->closed++;
}

static void bare_receive(struct bare_server *server, int fd) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_RECV, fd);
    sqe->addr = (uintptr_t)server->connections[fd].buffer;
    sqe->len = SIZE_MAX_BYTES;
    sqe->user_data = bare_tag(RECEIVED, 0, fd);
}

static void oneshot_completion(struct bare_server *server, const struct io_uring_cqe *cqe) {
    int fd = (int)(uint32_t)cqe->user_data;
    struct connection *connection;
    switch ((enum bare_kind)(cqe->user_data >> 56)) {
    case ACCEPTED:
        bench_check(cqe->res, "accept");
        if (!(cqe->flags & IORING_CQE_F_MORE))
            bare_accept(server);
        connection = &server->connections[cqe->res];
        if (!connection->buffer && !(connection->buffer = malloc(SIZE_MAX_BYTES)))
            bench_die("no memory");
        bare_receive(server, cqe->res);
        break;
    case RECEIVED:
        bench_check(cqe->res, "recv");
        connection = &server->connections[fd];
        connection->received = (uint32_t)cqe->res;
        connection->sent = 0;
        if (cqe->res == 0)
            bare_close(server, fd);
        else
            bare_send(server, fd, 0, connection->buffer, connection->received);
        break;
    case SENT:
        bench_check(cqe->res, "send");
        connection = &server->connections[fd];
        connection->sent += (uint32_t)cqe->res;
        if (connection->sent < connection->received)
            bare_send(server, fd, 0, connection->buffer + connection->sent,
                      connection->received - connection->sent);
        else
            bare_receive(server, fd);
        break;
    }
}

static char *pool_buffer(struct bare_server *server, unsigned buffer) {
    return server->buffers + (size_t)buffer * SIZE_MAX_BYTES;
}

static void pool_give(struct bare_server *server, unsigned buffer) {
    struct io_uring_buf *entry = &server->buffer_ring->bufs[server->buffer_tail++ & (BUFFERS - 1)];
    entry->addr = (uintptr_t)pool_buffer(server, buffer);
    entry->len = SIZE_MAX_BYTES;
    entry->bid = (uint16_t)buffer;
    /* Release: the kernel must see the entry before the tail that covers it. */
    atomic_store_explicit((_Atomic uint16_t *)&server->buffer_ring->tail, server->buffer_tail,
                          memory_order_release);
}

static void pool_create(struct bare_server *server) {
    size_t ring_size = BUFFERS * sizeof(struct io_uring_buf);
    server->buffer_ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    server->buffers = malloc((size_t)BUFFERS * SIZE_MAX_BYTES);
    if (server->buffer_ring == MAP_FAILED || !server->buffers)
        bench_die("no memory");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)server->buffer_ring,
        .ring_entries = BUFFERS,
        .bgid = BUFFER_GROUP,
    };
    if (syscall(__NR_io_uring_register, server->ring.fd, IORING_REGISTER_PBUF_RING, &registration,
                1) < 0)
        bench_die("buffer ring: %s", strerror(errno));
    for (unsigned buffer = 0; buffer < BUFFERS; buffer++)
        pool_give(server, buffer);
}

static void multishot_receive(struct bare_server *server, int fd) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_RECV, fd);
    sqe->ioprio = IORING_RECV_MULTISHOT;
    sqe->flags = IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = bare_tag(RECEIVED, 0, fd);
}

static void multishot_completion(struct bare_server *server, const struct io_uring_cqe *cqe) {
    int fd = (int)(uint32_t)cqe->user_data;
    unsigned buffer = (cqe->user_data >> 32) & 0xffff;
    switch ((enum bare_kind)(cqe->user_data >> 56)) {
    case ACCEPTED:
        bench_check(cqe->res, "accept");
        if (!(cqe->flags & IORING_CQE_F_MORE))
            bare_accept(server);
        multishot_receive(server, cqe->res);
        break;
    case RECEIVED:
        bench_check(cqe->res, "recv");
        if (cqe->res == 0) {
            bare_close(server, fd);
            break;
        }
        if (!(cqe->flags & IORING_CQE_F_MORE))
            multishot_receive(server, fd);
        buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        server->connections[fd].received += (uint32_t)cqe->res;
        bare_send(server, fd, buffer, pool_buffer(server, buffer), (size_t)cqe->res);
        break;
    case SENT:
        bench_check(cqe->res, "send");
        server->connections[fd].sent += (uint32_t)cqe->res;
        /* A short send shows as a reply that never comes; the sizes exclude it. */
        pool_give(server, buffer);
        break;
    }
}

static void bare_serve(int listener, const struct workload *load, bool multishot) {
    static struct bare_server server;
    server.load = load;
    server.listener = listener;
    server.connections = calloc(CONNECTIONS_MAX + 64, sizeof *server.connections);
    if (!server.connections)
        bench_die("no memory");
    bench_check(bare_ring_create(&server.ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
    if (multishot)
        pool_create(&server);
    bare_accept(&server);
    while (server.closed < load->connections) {
        bench_check(bare_ring_enter(&server.ring, 1), "enter");
        unsigned head = bare_ring_head(&server.ring), tail = bare_ring_tail(&server.ring);
        for (; head != tail; head++) {
            if (multishot)
                multishot_completion(&server, bare_ring_cqe(&server.ring, head));
            else
                oneshot_completion(&server, bare_ring_cqe(&server.ring, head));
        }
        bare_ring_consume(&server.ring, head);
    }
}

static void bare_oneshot_main(int listener, const struct workload *load) {
    bare_serve(listener, load, false);
}

static void bare_multishot_main(int listener, const struct workload *load) {
    bare_serve(listener, load, true);
}

/* --- the server on the engine --- */

struct aio_server {
    aio_ctx *ctx;
    uint64_t connections, closed;
    aio_op_id acceptor;
};

static void on_received(void *user_data, int32_t result, uint32_t flags);
static void on_sent(void *user_data, int32_t result, uint32_t flags);

static void aio_receive(struct connection *connection) {
    struct aio_server *server = connection->server;
    bench_check(aio_submit_recv(server->ctx, connection->fd, connection->buffer, SIZE_MAX_BYTES, 0,
                                NULL, on_received, connection),
                "aio_submit_recv");
}

static void aio_send(struct connection *connection) {
    struct aio_server *server = connection->server;
    bench_check(aio_submit_send(server->ctx, connection->fd, connection->buffer + connection->sent,
                                connection->received - connection->sent, 0, NULL, on_sent,
                                connection),
                "aio_submit_send");
}

static void on_closed(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    struct aio_server *server = connection->server;
    (void)flags;
    bench_check(result, "close");
    free(connection->buffer);
    free(connection);
    if (++server->closed == server->connections)
        bench_check(aio_ctx_cancel(server->ctx, server->acceptor), "aio_ctx_cancel");
}

static void on_received(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    struct aio_server *server = connection->server;
    (void)flags;
    bench_check(result, "recv");
    connection->received = (uint32_t)result;
    connection->sent = 0;
    if (result > 0)
        aio_send(connection);
    else
        bench_check(aio_submit_close(server->ctx, connection->fd, NULL, on_closed, connection),
                    "aio_submit_close");
}

static void on_sent(void *user_data, int32_t result, uint32_t flags) {
    struct connection *connection = user_data;
    (void)flags;
    bench_check(result, "send");
    connection->sent += (uint32_t)result;
    if (connection->sent < connection->received)
        aio_send(connection);
    else
        aio_receive(connection);
}

static void on_accepted(void *user_data, int32_t result, uint32_t flags) {
    struct aio_server *server = user_data;
    if (result == -ECANCELED && !(flags & AIO_CQE_MORE))
        return;
    bench_check(result, "accept");
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection || !(connection->buffer = malloc(SIZE_MAX_BYTES)))
        bench_die("no memory");
    connection->server = server;
    connection->fd = result;
    aio_receive(connection);
}

static void aio_main(int listener, const struct workload *load) {
    struct aio_server server = {.connections = load->connections};
    aio_ctx_options options = {
        .size = sizeof options,
        .backend = AIO_BACKEND_URING,
        .sq_entries = SQ_ENTRIES,
        .cq_entries = CQ_ENTRIES,
    };
    bench_check(aio_ctx_create(&options, &server.ctx), "aio_ctx_create");
    server.acceptor =
        aio_submit_accept_multishot(server.ctx, listener, 0, NULL, on_accepted, &server);
    bench_check(server.acceptor, "aio_submit_accept_multishot");
    bench_check(aio_ctx_run(server.ctx), "aio_ctx_run");
    bench_check(aio_ctx_destroy(server.ctx), "aio_ctx_destroy");
}

/* --- the load --- */

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
    usleep(QUIESCE_US);
}

static int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        bench_die("connect: %s", strerror(errno));
    return fd;
}

static pid_t server_start(server_main serve, int listener, const struct workload *load) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        bench_die("fork: %s", strerror(errno));
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    bench_pin(load->server_cpu);
    serve(listener, load);
    _exit(0);
}

/* One server under one load: its CPU time in ns, or its system calls, per request. */
static double echo_sample(server_main serve, const struct workload *load) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, CONNECTIONS_MAX) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        bench_die("listen: %s", strerror(errno));
    pid_t pid = server_start(serve, listener, load);
    close(listener);

    bench_pin(load->load_cpu);
    struct generator generator = {.load = load, .seed = 1};
    bench_check(bare_ring_create(&generator.ring, SQ_ENTRIES, CQ_ENTRIES), "bare ring");
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
    warm.requests = load->requests / 10;
    generator.load = &warm;
    load_run(&generator);

    generator.load = load;
    int counter = load->count_system_calls ? bench_count_system_calls(pid) : -1;
    uint64_t before = counter < 0 ? bench_process_cpu_ns(pid) : bench_counter(counter);
    load_run(&generator);
    uint64_t after = counter < 0 ? bench_process_cpu_ns(pid) : bench_counter(counter);

    if (counter >= 0)
        close(counter);
    for (size_t i = 0; i < load->connections; i++)
        close(generator.clients[i].fd);
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("the server ended with %#x", status);
    bare_ring_destroy(&generator.ring);
    free(memory);
    free(generator.clients);
    return (double)(after - before) / (double)generator.completed;
}

static double bare_oneshot_sample(void *arg) { return echo_sample(bare_oneshot_main, arg); }

static double bare_multishot_sample(void *arg) { return echo_sample(bare_multishot_main, arg); }

static double aio_sample(void *arg) { return echo_sample(aio_main, arg); }

static const struct bench_engine engines[] = {
    {"bare-oneshot", bare_oneshot_sample},
    {"bare-multishot", bare_multishot_sample},
    {"aio", aio_sample},
};
enum { ENGINES = sizeof engines / sizeof engines[0], REFERENCES = 2 };

static void report(struct bench_report *out, struct workload *load, uint64_t rounds, size_t first,
                   size_t count) {
    struct bench_figure figures[ENGINES];
    char name[64];
    size_t references = count == ENGINES ? REFERENCES : 1;
    snprintf(name, sizeof name, "%" PRIu64 " connections, %s", load->connections,
             load->load_cpu == load->server_cpu ? "one CPU" : "two CPUs");
    load->count_system_calls = false;
    bench_compare(engines + first, count, references, rounds, load, figures);
    bench_report_case(out, name, engines + first, figures, count);
    int counter = bench_count_system_calls(0);
    if (counter < 0)
        return;
    close(counter);
    load->count_system_calls = true;
    for (size_t e = first; e < first + count; e++)
        bench_report_exact(out, name, engines[e].name, "system calls per request",
                           engines[e].sample(load));
}

int main(int argc, char **argv) {
    uint64_t connections = 0, cpus = 0, requests = 100000, rounds = 31;
    struct workload load = {.size = 64, .server_cpu = 0};
    const char *engine = NULL, *json = NULL;
    const struct bench_flag flags[] = {
        {"engine", NULL, &engine, "run this one alone: bare-oneshot, bare-multishot or aio"},
        {"connections", &connections, NULL, "0: 1, 64 and 512"},
        {"cpus", &cpus, NULL,
         "1: both ends on one CPU, 2: on two; 0: both, but 1 connection on one"},
        {"size", &load.size, NULL, "bytes of a message, a multiple of 8"},
        {"count", &requests, NULL, "requests of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    if (connections > CONNECTIONS_MAX || cpus > 2 || load.size < 8 || load.size > SIZE_MAX_BYTES ||
        load.size % 8)
        bench_die("at most %d connections and 2 CPUs, --size from 8 to %d in steps of 8",
                  CONNECTIONS_MAX, SIZE_MAX_BYTES);
    size_t first = 0, count = ENGINES;
    if (engine) {
        while (first < ENGINES && strcmp(engines[first].name, engine))
            first++;
        if (first == ENGINES)
            bench_die("--engine is bare-oneshot, bare-multishot or aio");
        count = 1;
    }

    struct bench_report out;
    bench_report_open(&out, "TCP echo", "ns of server CPU time per request", rounds, json);
    const uint64_t all[] = {1, 64, 512};
    for (size_t i = 0; i < (connections ? 1 : sizeof all / sizeof all[0]); i++) {
        load.connections = connections ? connections : all[i];
        /* A single connection over two CPUs measures how long a halted CPU takes to wake. */
        for (load.load_cpu = 0; load.load_cpu < 2; load.load_cpu++) {
            load.requests = requests / (load.connections == 1 ? 5 : 1);
            if (cpus ? cpus == load.load_cpu + 1 : load.connections > 1 || load.load_cpu == 0)
                report(&out, &load, rounds, first, count);
        }
    }
    bench_report_close(&out);
    return 0;
}
