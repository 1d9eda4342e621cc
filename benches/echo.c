/* TCP echo: what a server on the engine spends beside hand-written ones and the peers.
 *
 * Each sample starts a server process and loads it from the same CPU or from another. The figure is
 * the server's CPU time per request, of all its threads. It is read while the server
 * sleeps, before the first and after the last request, so that it is exact for this sample. System
 * calls per request are counted in a sample of their own, because the tracepoint makes each one
 * slower. --figure latency, memory and short measure other things with the same servers; see
 * echo_load.c.
 *
 *   bare-oneshot, bare-coop, bare-multishot, bare-epoll
 *                                              by hand over the raw system calls: echo_bare.c
 *   aio-uring, aio-epoll                       the engine on each of its backends: echo_aio.c
 *   ...-deadline                               the same with a deadline on every receive
 *   ...-reap                                   with completions taken in batches: echo_aio_reap.c
 *   ...-pool                                   with a buffer pool: echo_aio_pool.c
 *   aio-coroutine                              in C++ coroutines: echo_coroutine.cpp
 *   liburing, libuv, libevent, asio            echo_<name>, where they were found at the build
 *   tokio, monoio, compio, kimojio             programs of benches/peers, with --peers */
#include "echo.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static double sample(void *arg, const void *server) { return echo_sample(server, arg); }

#define SERVER(function) (&(const struct echo_server){function, NULL, true})
#define POOL(function) (&(const struct echo_server){function, NULL, false})
#define PROGRAM(name) (&(const struct echo_server){NULL, name, true}), .program = name

static const struct bench_engine engines[] = {
    {"bare-oneshot", sample, BENCH_LIMIT, SERVER(echo_bare_oneshot), NULL},
    {"bare-coop", sample, BENCH_LIMIT, SERVER(echo_bare_coop), NULL},
    {"bare-multishot", sample, BENCH_LIMIT, POOL(echo_bare_multishot), NULL},
    {"bare-epoll", sample, BENCH_ENGINE, SERVER(echo_bare_epoll), NULL},
    {"aio-uring", sample, BENCH_ENGINE, SERVER(echo_aio_uring), NULL},
    {"aio-epoll", sample, BENCH_ENGINE, SERVER(echo_aio_epoll), NULL},
    {"aio-uring-deadline", sample, BENCH_ENGINE, SERVER(echo_aio_uring_deadline), NULL},
    {"aio-epoll-deadline", sample, BENCH_ENGINE, SERVER(echo_aio_epoll_deadline), NULL},
    {"aio-uring-reap", sample, BENCH_ENGINE, SERVER(echo_aio_uring_reap), NULL},
    {"aio-epoll-reap", sample, BENCH_ENGINE, SERVER(echo_aio_epoll_reap), NULL},
    {"aio-uring-pool", sample, BENCH_ENGINE, POOL(echo_aio_uring_pool), NULL},
    {"aio-epoll-pool", sample, BENCH_ENGINE, POOL(echo_aio_epoll_pool), NULL},
    {"aio-coroutine", sample, BENCH_ENGINE, SERVER(echo_coroutine), NULL},
#ifdef BENCH_LIBURING
    {"liburing", sample, BENCH_ENGINE, SERVER(echo_liburing), NULL},
#endif
#ifdef BENCH_LIBUV
    {"libuv", sample, BENCH_PEER, SERVER(echo_libuv), NULL},
#endif
#ifdef BENCH_LIBEVENT
    {"libevent", sample, BENCH_PEER, SERVER(echo_libevent), NULL},
#endif
#ifdef BENCH_ASIO
    {"asio", sample, BENCH_PEER, SERVER(echo_asio), NULL},
#endif
    {"tokio", sample, BENCH_PEER, PROGRAM("peer-tokio")},
    {"monoio", sample, BENCH_PEER, PROGRAM("peer-monoio")},
    {"compio", sample, BENCH_PEER, PROGRAM("peer-compio")},
    {"kimojio", sample, BENCH_PEER, PROGRAM("peer-kimojio")},
};

static const struct {
    const char *name, *title, *unit;
} figures[] = {
    [ECHO_CPU] = {"cpu", "TCP echo", "ns of server CPU time per request"},
    [ECHO_CALLS] = {"calls", "TCP echo", "system calls per request"},
    [ECHO_LATENCY] = {"latency", "TCP echo, median time of a request", "ns"},
    [ECHO_MEMORY] = {"memory", "Idle TCP connections", "bytes beside the buffer, each"},
};
enum { FIGURES = sizeof figures / sizeof figures[0] };

static void report(struct bench_report *out, struct echo_load *load, uint64_t rounds,
                   const struct bench_engine *chosen, size_t count) {
    struct bench_figure measured[BENCH_ENGINES_MAX];
    char name[64];
    snprintf(name, sizeof name, "%" PRIu64 " connections, %s", load->connections,
             load->load_cpu == load->server_cpu ? "one CPU" : "two CPUs");
    bench_compare(chosen, count, rounds, load, measured);
    bench_report_case(out, name, chosen, measured, count);
    if (load->figure != ECHO_CPU)
        return;
    int counter = bench_count_system_calls(0);
    if (counter < 0)
        return;
    close(counter);
    struct echo_load counted = *load;
    counted.figure = ECHO_CALLS;
    for (size_t e = 0; e < count; e++)
        bench_report_exact(out, name, chosen[e].name, figures[ECHO_CALLS].unit,
                           chosen[e].sample(&counted, chosen[e].subject));
}

/* Servers that take a send for complete have no part in large messages. */
static size_t without_whole(struct bench_engine *chosen, size_t count) {
    size_t kept = 0;
    for (size_t e = 0; e < count; e++)
        if (!strstr(chosen[e].name, "multishot") && !strstr(chosen[e].name, "pool") &&
            strcmp(chosen[e].name, "bare-epoll") != 0)
            chosen[kept++] = chosen[e];
    if (!kept)
        bench_die("none of these takes messages above %d bytes", ECHO_WHOLE_SIZE_MAX);
    return kept;
}

/* One sample alone, for tools that count: the server's process is the child. */
static int run_alone(const struct bench_engine *engine, struct echo_load *load) {
    double figure = engine->sample(load, engine->subject);
    uint64_t warm_up = load->connections + load->requests / 10;
    printf("%s: %" PRIu64 " requests, %.3f %s\n", engine->name, load->requests + warm_up, figure,
           figures[load->figure].unit);
    return 0;
}

int main(int argc, char **argv) {
    uint64_t cpus = 0, requests = 100000, rounds = 31, is_short = 0, alone = 0;
    struct echo_load load = {.size = 64, .server_cpu = 0};
    const char *names = NULL, *connections = "1,64,512", *limits = NULL, *json = NULL,
               *figure = "cpu";
    const struct bench_flag flags[] = {
        {"engines", NULL, &names, "run these alone, separated by commas, see echo.c"},
        {"peers", NULL, &bench_peers, "the folder of the programs of benches/peers"},
        {"connections", NULL, &connections, "how many, a list"},
        {"cpus", &cpus, NULL,
         "1: both ends on one CPU, 2: on two; 0: both, but 1 connection on one"},
        {"size", &load.size, NULL, "bytes of a message, a multiple of 8"},
        {"short", &is_short, NULL, "1: a connection for each request"},
        {"figure", NULL, &figure, "cpu, calls, latency (a request's) or memory (while idle)"},
        {"count", &requests, NULL, "requests of one sample"},
        {"rounds", &rounds, NULL, "rounds of A B C C B A"},
        {"alone", &alone, NULL, "1: one sample of the one engine, for tools that count"},
        {"limit", NULL, &limits, "highest ratios, such as aio-epoll/libuv=1.0,aio-uring/libuv=0.9"},
        {"json", NULL, &json, "write the figures to this file"},
        {NULL, NULL, NULL, NULL},
    };
    bench_parse(argc, argv, flags);
    uint64_t each[BENCH_NUMBERS_MAX];
    size_t cases = bench_numbers(connections, each), which = 0;
    while (which < FIGURES && strcmp(figures[which].name, figure))
        which++;
    if (which == FIGURES)
        bench_die("--figure is cpu, calls, latency or memory");
    if (cpus > 2 || is_short > 1 || alone > 1 || load.size < 8 || load.size > ECHO_SIZE_MAX ||
        load.size % 8)
        bench_die("at most 2 CPUs, --size from 8 to %d in steps of 8", ECHO_SIZE_MAX);
    load.is_short = is_short;
    load.figure = (enum echo_figure)which;
    for (size_t i = 0; i < cases; i++)
        if (each[i] > ECHO_CONNECTIONS_MAX || requests < 5 * each[i])
            bench_die("at most %d connections, and --count at least five times as large",
                      ECHO_CONNECTIONS_MAX);
    struct bench_engine chosen[BENCH_ENGINES_MAX];
    size_t count = bench_choose(engines, sizeof engines / sizeof engines[0], names, chosen);
    if (load.size > ECHO_WHOLE_SIZE_MAX)
        count = without_whole(chosen, count);
    if (alone) {
        load.connections = each[0];
        load.requests = requests;
        return run_alone(&chosen[0], &load);
    }

    struct bench_report out;
    char title[128];
    snprintf(title, sizeof title, "%s of %" PRIu64 " bytes%s", figures[which].title, load.size,
             is_short ? ", a connection each" : "");
    bench_report_open(&out, title, figures[which].unit, rounds, json);
    out.has_no_ratios = load.figure == ECHO_MEMORY;
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
