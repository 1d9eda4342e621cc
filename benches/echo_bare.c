/* The hand-written echo servers: the limit of what a ring, or epoll, can do here.
 *
 *   oneshot    accept multishot, then receive and send in turn, one buffer per connection
 *   coop       the same on a ring with COOP_TASKRUN in place of DEFER_TASKRUN, whose waits take no
 *              more than some 20 of those that have become ready
 *   multishot  accept and receive multishot into a ring of provided buffers
 *   epoll      edge-triggered, recv and send
 *
 * The multishot one may have two sends of a connection in flight when a request arrives in pieces,
 * which is in order only while a send never has to wait: its messages, and those of the epoll
 * server, are therefore limited to a part of the smallest socket buffer. */
#include "bare_ring.h"
#include "echo.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { BUFFERS_MAX = 32768, BUFFER_GROUP = 1 }; /* of the multishot server */

struct connection {
    uint32_t received, sent;
    char *buffer;
};

enum bare_kind { ACCEPTED, RECEIVED, SENT };

static uint64_t bare_tag(enum bare_kind kind, unsigned buffer, int fd) {
    return (uint64_t)kind << 56 | (uint64_t)buffer << 32 | (uint32_t)fd;
}

struct bare_server {
    struct bare_ring ring;
    const struct echo_task *task;
    uint64_t closed;
    struct connection *connections; /* by descriptor */
    /* The multishot server alone: */
    struct io_uring_buf_ring *buffer_ring;
    unsigned buffer_count;
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
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_ACCEPT, server->task->listener);
    sqe->ioprio = IORING_ACCEPT_MULTISHOT;
    sqe->accept_flags = SOCK_CLOEXEC;
    sqe->user_data = bare_tag(ACCEPTED, 0, server->task->listener);
}

static void bare_send(struct bare_server *server, int fd, unsigned buffer, const char *data,
                      size_t size) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_SEND, fd);
    sqe->addr = (uintptr_t)data;
    sqe->len = (uint32_t)size;
    sqe->msg_flags = MSG_NOSIGNAL;
    sqe->user_data = bare_tag(SENT, buffer, fd);
}

/* Nobody waits for the end of it. */
static void bare_close(struct bare_server *server, int fd) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_CLOSE, fd);
    sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
    server->closed++;
}

static void bare_receive(struct bare_server *server, int fd) {
    struct io_uring_sqe *sqe = bare_sqe(server, IORING_OP_RECV, fd);
    sqe->addr = (uintptr_t)server->connections[fd].buffer;
    sqe->len = (uint32_t)server->task->size;
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
        if (!connection->buffer && !(connection->buffer = malloc(server->task->size)))
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
    return server->buffers + buffer * server->task->size;
}

static void pool_give(struct bare_server *server, unsigned buffer) {
    struct io_uring_buf *entry =
        &server->buffer_ring->bufs[server->buffer_tail++ & (server->buffer_count - 1)];
    entry->addr = (uintptr_t)pool_buffer(server, buffer);
    entry->len = (uint32_t)server->task->size;
    entry->bid = (uint16_t)buffer;
    /* Release: the kernel must see the entry before the tail that covers it. */
    atomic_store_explicit((_Atomic uint16_t *)&server->buffer_ring->tail, server->buffer_tail,
                          memory_order_release);
}

static void pool_create(struct bare_server *server) {
    server->buffer_count = 64;
    while (server->buffer_count < 2 * server->task->at_once && server->buffer_count < BUFFERS_MAX)
        server->buffer_count *= 2;
    size_t ring_size = server->buffer_count * sizeof(struct io_uring_buf);
    server->buffer_ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    server->buffers = malloc(server->buffer_count * server->task->size);
    if (server->buffer_ring == MAP_FAILED || !server->buffers)
        bench_die("no memory");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)server->buffer_ring,
        .ring_entries = server->buffer_count,
        .bgid = BUFFER_GROUP,
    };
    if (syscall(__NR_io_uring_register, server->ring.fd, IORING_REGISTER_PBUF_RING, &registration,
                1) < 0)
        bench_die("buffer ring: %s", strerror(errno));
    for (unsigned buffer = 0; buffer < server->buffer_count; buffer++)
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
            close(fd);
            server->closed++;
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

static void bare_serve(const struct echo_task *task, bool multishot, unsigned task_work) {
    static struct bare_server server;
    server.task = task;
    server.connections = calloc(ECHO_DESCRIPTORS_MAX, sizeof *server.connections);
    if (!server.connections)
        bench_die("no memory");
    bench_check(
        bare_ring_create_with(&server.ring, ECHO_SQ_ENTRIES, ECHO_CQ_ENTRIES, task_work, NULL),
        "bare ring");
    if (multishot)
        pool_create(&server);
    bare_accept(&server);
    while (server.closed < task->connections) {
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
    bench_check(bare_ring_enter(&server.ring, 0), "enter"); /* the last close */
}

void echo_bare_oneshot(const struct echo_task *task) {
    bare_serve(task, false, IORING_SETUP_DEFER_TASKRUN);
}

void echo_bare_coop(const struct echo_task *task) {
    bare_serve(task, false, IORING_SETUP_COOP_TASKRUN);
}

void echo_bare_multishot(const struct echo_task *task) {
    bare_serve(task, true, IORING_SETUP_DEFER_TASKRUN);
}

/* --- epoll --- */

/* Edge-triggered, and what is less than the buffer was all there was: a request is one recv, one
 * send and its share of an epoll_wait. The kernel takes these messages at once, see above. */
static void epoll_echo(struct connection *connection, int fd, uint64_t size, uint64_t *closed) {
    ssize_t received;
    do {
        received = recv(fd, connection->buffer, size, MSG_DONTWAIT);
        if (received < 0 && errno == EAGAIN)
            return;
        bench_check(received < 0 ? -errno : 0, "recv");
        if (received == 0) {
            close(fd);
            ++*closed;
        } else if (send(fd, connection->buffer, (size_t)received, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                   received) {
            bench_die("a send was not taken whole");
        }
    } while (received == (ssize_t)size);
}

void echo_bare_epoll(const struct echo_task *task) {
    static struct epoll_event events[ECHO_SQ_ENTRIES];
    struct connection *table = calloc(ECHO_DESCRIPTORS_MAX, sizeof *table);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = task->listener};
    if (!table || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, task->listener, &event) < 0)
        bench_die("epoll: %s", strerror(errno));
    for (uint64_t closed = 0; closed < task->connections;) {
        int ready = epoll_wait(epoll, events, ECHO_SQ_ENTRIES, -1);
        bench_check(ready < 0 && errno != EINTR ? -errno : 0, "epoll_wait");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd != task->listener) {
                epoll_echo(&table[fd], fd, task->size, &closed);
                continue;
            }
            fd = accept4(task->listener, NULL, NULL, SOCK_CLOEXEC);
            bench_check(fd < 0 ? -errno : 0, "accept4");
            if (!table[fd].buffer && !(table[fd].buffer = malloc(task->size)))
                bench_die("no memory");
            event = (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.fd = fd};
            bench_check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0, "epoll_ctl");
        }
    }
}
