/* The echo server on liburing: its own helpers for the entries, the flags of the ring that measure
 * best (of those that this version knows), a registered ring descriptor, io_uring_submit_and_wait
 * once per turn, and the completions of a turn by io_uring_for_each_cqe. */
#include "echo.h"

#include <liburing.h>
#include <stdlib.h>
#include <sys/socket.h>

enum liburing_kind { ACCEPTED, RECEIVED, SENT, KINDS };

struct liburing_connection {
    int fd;
    uint32_t received, sent;
    char buffer[];
};

static struct io_uring ring;

static struct io_uring_sqe *next_sqe(void) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (!sqe) {
        bench_check(io_uring_submit(&ring), "io_uring_submit");
        sqe = io_uring_get_sqe(&ring);
    }
    if (!sqe)
        bench_die("liburing takes no entry");
    return sqe;
}

/* Connections are allocated, so that their addresses leave room for the kind. */
static void tag(struct io_uring_sqe *sqe, const void *connection, enum liburing_kind kind) {
    io_uring_sqe_set_data64(sqe, (uintptr_t)connection | kind);
}

static void prepare_accept(int listener) {
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, NULL, ACCEPTED);
}

static void prepare_receive(struct liburing_connection *connection, size_t size) {
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_recv(sqe, connection->fd, connection->buffer, size, 0);
    tag(sqe, connection, RECEIVED);
}

static void prepare_send(struct liburing_connection *connection) {
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_send(sqe, connection->fd, connection->buffer + connection->sent,
                       connection->received - connection->sent, MSG_NOSIGNAL);
    tag(sqe, connection, SENT);
}

/* Returns the connections that it closed. */
static uint64_t completion(const struct echo_task *task, const struct io_uring_cqe *cqe) {
    uint64_t data = io_uring_cqe_get_data64(cqe);
    struct liburing_connection *connection =
        (struct liburing_connection *)(uintptr_t)(data & ~UINT64_C(3));
    bench_check(cqe->res, "a completion");
    switch ((enum liburing_kind)(data & 3)) {
    case ACCEPTED:
        if (!(cqe->flags & IORING_CQE_F_MORE))
            prepare_accept(task->listener);
        if (!(connection = malloc(sizeof *connection + task->size)))
            bench_die("no memory");
        connection->fd = cqe->res;
        prepare_receive(connection, task->size);
        return 0;
    case RECEIVED:
        connection->received = (uint32_t)cqe->res;
        connection->sent = 0;
        if (cqe->res > 0) {
            prepare_send(connection);
            return 0;
        }
        struct io_uring_sqe *sqe = next_sqe();
        io_uring_prep_close(sqe, connection->fd);
        io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
        free(connection);
        return 1;
    default:
        connection->sent += (uint32_t)cqe->res;
        if (connection->sent < connection->received)
            prepare_send(connection);
        else
            prepare_receive(connection, task->size);
        return 0;
    }
}

void echo_liburing(const struct echo_task *task) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_CQSIZE,
        .cq_entries = ECHO_CQ_ENTRIES,
    };
    bench_check(io_uring_queue_init_params(ECHO_SQ_ENTRIES, &ring, &params),
                "io_uring_queue_init_params");
    bench_check(io_uring_register_ring_fd(&ring), "io_uring_register_ring_fd");
    prepare_accept(task->listener);
    for (uint64_t closed = 0; closed < task->connections;) {
        bench_check(io_uring_submit_and_wait(&ring, 1), "io_uring_submit_and_wait");
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            closed += completion(task, cqe);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
    bench_check(io_uring_submit(&ring), "io_uring_submit"); /* the last close */
    io_uring_queue_exit(&ring);
}
