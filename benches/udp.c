/* UDP ping-pong: what a server spends on a datagram that it sends back to where it came from.
 *
 * One socket serves many clients, each with one datagram in flight, by the load of echo_load.c,
 * which compares every byte. Nothing may be lost: there is room for all of them in the socket. More
 * receives than clients would all be woken by one datagram.
 *
 *   bare-calls             recvfrom(2) and sendto(2), blocking
 *   bare                   a ring by hand, a slot of RECVMSG and SENDMSG per client
 *   aio-uring, aio-epoll   aio_submit_recvmsg and aio_submit_sendmsg in as many slots: udp_aio.c
 *   libuv, asio            udp_<name>, where they were found at the build */
#include "udp.h"
#include "bare_ring.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* --- by hand --- */

struct slot {
    struct msghdr message;
    struct iovec data;
    struct sockaddr_in from;
    bool is_sending;
    char buffer[UDP_SIZE_MAX];
};

static struct slot slots[UDP_SLOTS];

void udp_bare_calls(const struct echo_task *task) {
    struct slot *slot = &slots[0];
    for (uint64_t ended = 0; ended < task->connections;) {
        socklen_t length = sizeof slot->from;
        ssize_t received = recvfrom(task->listener, slot->buffer, UDP_SIZE_MAX, 0,
                                    (struct sockaddr *)&slot->from, &length);
        if (received == 0)
            ended++;
        else if (received < 0 || sendto(task->listener, slot->buffer, (size_t)received, 0,
                                        (const struct sockaddr *)&slot->from, length) != received)
            bench_die("%s", strerror(errno));
    }
}

static void bare_submit(struct bare_ring *ring, uint64_t index, int fd, bool is_sending) {
    struct slot *slot = &slots[index];
    struct io_uring_sqe *sqe = bare_ring_sqe(ring);
    if (!sqe)
        bench_die("the bare ring takes no entry");
    slot->is_sending = is_sending;
    if (!is_sending) {
        slot->data = (struct iovec){slot->buffer, UDP_SIZE_MAX};
        slot->message = (struct msghdr){.msg_name = &slot->from,
                                        .msg_namelen = sizeof slot->from,
                                        .msg_iov = &slot->data,
                                        .msg_iovlen = 1};
    }
    sqe->opcode = is_sending ? IORING_OP_SENDMSG : IORING_OP_RECVMSG;
    sqe->fd = fd;
    sqe->addr = (uintptr_t)&slot->message;
    sqe->len = 1;
    sqe->user_data = index;
}

void udp_bare(const struct echo_task *task) {
    struct bare_ring ring;
    uint64_t ended = 0;
    bench_check(bare_ring_create(&ring, ECHO_SQ_ENTRIES, ECHO_CQ_ENTRIES), "bare ring");
    for (uint64_t i = 0; i < task->at_once; i++)
        bare_submit(&ring, i, task->listener, false);
    while (ended < task->connections) {
        bench_check(bare_ring_enter(&ring, 1), "enter");
        unsigned head = bare_ring_head(&ring), tail = bare_ring_tail(&ring);
        for (; head != tail; head++) {
            const struct io_uring_cqe *cqe = bare_ring_cqe(&ring, head);
            struct slot *slot = &slots[cqe->user_data];
            bench_check(cqe->res, "a completion");
            bool has_data = !slot->is_sending && cqe->res > 0;
            ended += !slot->is_sending && cqe->res == 0;
            if (has_data)
                slot->data.iov_len = (size_t)cqe->res;
            bare_submit(&ring, cqe->user_data, task->listener, has_data);
        }
        bare_ring_consume(&ring, head);
    }
}

static double sample(void *arg, const void *server) { return echo_sample(server, arg); }

#define SERVER(function) (&(const struct echo_server){function, NULL, true})

static const struct bench_engine engines[] = {
    {"bare-calls", sample, BENCH_LIMIT, SERVER(udp_bare_calls), NULL},
    {"bare", sample, BENCH_LIMIT, SERVER(udp_bare), NULL},
    {"aio-uring", sample, BENCH_ENGINE, SERVER(udp_aio_uring), NULL},
    {"aio-epoll", sample, BENCH_ENGINE, SERVER(udp_aio_epoll), NULL},
#ifdef BENCH_LIBUV
    {"libuv", sample, BENCH_PEER, SERVER(udp_libuv), NULL},
#endif
#ifdef BENCH_ASIO
    {"asio", sample, BENCH_PEER, SERVER(udp_asio), NULL},
#endif
};
enum { ENGINES = sizeof engines / sizeof engines[0] };

int main(int argc, char **argv) {
    uint64_t rounds = 31, requests = 20000;
    struct echo_load load = {.size = 64, .is_udp = true};
    const char *names = NULL, *sockets = "1,64", *json = NULL;
    const struct bench_flag flags[] = {
        {"engines", NULL, &names, "run these alone, separated by commas, see udp.c"},
        {"sockets", NULL, &sockets, "clients with a datagram in flight each, a list"},
        {"size", &load.size, NULL, "bytes of a datagram, a multiple of 8"},
        {"count", &requests, NULL, "datagrams of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(sockets, each);
    if (load.size < 8 || load.size > UDP_SIZE_MAX || load.size % 8)
        bench_die("--size is from 8 to %d in steps of 8", UDP_SIZE_MAX);
    struct bench_engine chosen[ENGINES];
    size_t count = bench_choose(engines, ENGINES, names, chosen);
    struct bench_report out;
    bench_report_open(&out, "UDP ping-pong", "ns of server CPU time per datagram", rounds, json);
    load.requests = requests;
    for (size_t i = 0; i < cases; i++) {
        struct bench_figure figures[ENGINES];
        char name[64];
        if (each[i] > UDP_SLOTS || requests < 5 * each[i])
            bench_die("at most %d sockets, and --count at least five times as large", UDP_SLOTS);
        load.connections = each[i];
        snprintf(name, sizeof name, "%" PRIu64 " sockets, one CPU", load.connections);
        bench_compare(chosen, count, rounds, &load, figures);
        bench_report_case(&out, name, chosen, figures, count);
    }
    return bench_report_close(&out);
}
