/* Closes of very many connections, each with a receive armed, in one context: what a close costs,
 * beside the plain close(2) of as many connections, and that every peer sees FIN. Both ends are in
 * processes of their own, because the number of descriptors of a process is limited.
 *
 *   soak_close [connections] [--require NS]
 *
 * The figure is taken with the default queues and with large ones: the kernel finds what is to be
 * cancelled in a hash table whose size follows the completion queue's. --require is compared with
 * the latter. */
#include "harness.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>

/* Several ports: among many connections to one the kernel's search for a free port is slow. */
enum { LISTENERS = 8 };

struct side {
    struct sockaddr_in addrs[LISTENERS];
    int connections;
    int to_peer[2], from_peer[2];
};

/* The peers: connect all, say so, and when all are closed count those that see the end of their
 * stream. They do not watch meanwhile: a wake-up for each FIN would be most of the figure. */
static void peer_side(void *arg) {
    const struct side *side = arg;
    const int count = side->connections;
    struct pollfd *fds = calloc((size_t)count, sizeof *fds);
    CHECK(fds != NULL);
    close(side->to_peer[1]);
    close(side->from_peer[0]);
    for (int i = 0; i < count; i++)
        fds[i] =
            (struct pollfd){.fd = tcp_connect_to(&side->addrs[i % LISTENERS]), .events = POLLIN};
    write_all_or_fail(side->from_peer[1], "c", 1);
    char closed;
    read_all_or_fail(side->to_peer[0], &closed, 1);
    int ended = 0;
    while (ended < count) {
        const int ready = SYS(poll(fds, (nfds_t)count, 30000 * (int)test_slow()));
        if (ready == 0)
            break;
        for (int i = 0; i < count; i++) {
            char byte;
            if (fds[i].fd < 0 || !fds[i].revents)
                continue;
            CHECK_EQ(read(fds[i].fd, &byte, 1), 0); /* FIN, not data and not a reset */
            close(fds[i].fd);
            fds[i].fd = -1;
            ended++;
        }
    }
    write_all_or_fail(side->from_peer[1], &ended, sizeof ended);
    free(fds);
}

/* With the engine, receives armed; or by close(2) alone. Every peer must see FIN. */
static double close_all_ns(int count, bool plainly, uint32_t cq_entries) {
    struct side side = {.connections = count};
    int listeners[LISTENERS];
    for (int i = 0; i < LISTENERS; i++)
        listeners[i] = make_tcp_listener(&side.addrs[i], 4096);
    make_pipe(side.to_peer);
    make_pipe(side.from_peer);
    const pid_t child = start_child(peer_side, &side);
    close(side.from_peer[1]);
    close(side.to_peer[0]);
    int *fds = calloc((size_t)count, sizeof *fds);
    char *bytes = calloc((size_t)count, 1);
    struct call *recvs = calloc((size_t)count, sizeof *recvs);
    struct call *closes = calloc((size_t)count, sizeof *closes);
    CHECK(fds && bytes && recvs && closes);
    aio_ctx *ctx = make_ctx_with(CTX_WITH(.cq_entries = cq_entries));
    for (int i = 0; i < count; i++) {
        fds[i] = SYS(accept4(listeners[i % LISTENERS], NULL, NULL, SOCK_CLOEXEC));
        if (!plainly)
            ID(aio_submit_recv(ctx, fds[i], &bytes[i], 1, 0, NULL, on_call, &recvs[i]));
    }
    char byte;
    read_all_or_fail(side.from_peer[0], &byte, 1);
    run_for_ms(ctx, 20);
    CHECK_EQ(aio_ctx_in_flight(ctx), plainly ? 0 : count);
    const uint64_t start = now_ns();
    for (int i = 0; i < count; i++) {
        if (plainly)
            SYS(close(fds[i]));
        else
            ID(aio_submit_close(ctx, fds[i], NULL, on_call, &closes[i]));
    }
    CHECK_EQ(aio_ctx_run(ctx), 0);
    const uint64_t elapsed = now_ns() - start;
    for (int i = 0; i < count && !plainly; i++) {
        CHECK_EQ(recvs[i].calls, 1);
        CHECK_EQ(recvs[i].result, -ECANCELED);
        CHECK_EQ(closes[i].calls, 1);
        CHECK_EQ(closes[i].result, 0);
        CHECK(!is_open(fds[i]));
    }
    write_all_or_fail(side.to_peer[1], "c", 1);
    int saw_fin = 0;
    read_all_or_fail(side.from_peer[0], &saw_fin, sizeof saw_fin);
    CHECK_EQ(saw_fin, count);
    CHECK_EQ(end_child(child), 0);
    end_ctx(ctx);
    for (int i = 0; i < LISTENERS; i++)
        close(listeners[i]);
    close(side.to_peer[1]);
    close(side.from_peer[0]);
    free(fds);
    free(bytes);
    free(recvs);
    free(closes);
    return (double)elapsed / count;
}

int main(int argc, char **argv) {
    int connections = scaled(2000);
    double required = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--require") == 0 && i + 1 < argc)
            required = atof(argv[++i]);
        else
            connections = atoi(argv[i]);
    }
    harness_start("soak_close", 120);
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    SYS(setrlimit(RLIMIT_NOFILE, &limit));
    if ((rlim_t)connections + 64 > limit.rlim_cur)
        SKIP("%d connections need more than %llu descriptors", connections,
             (unsigned long long)limit.rlim_cur);
    const double plain_ns = close_all_ns(connections, true, 0);
    const double small_ns = close_all_ns(connections, false, 0);
    const double ns = close_all_ns(connections, false, 16384);
    printf("%d connections with receives armed, every peer saw FIN: %.2f us per close, with the "
           "default queues %.2f us, plain close(2) %.2f us\n",
           connections, ns / 1000, small_ns / 1000, plain_ns / 1000);
    if (required > 0 && ns > required)
        FAIL("%.1f ns is more than %.1f", ns, required);
    return 0;
}
