/* What the echo servers and their load agree on; echo.c says what is measured. A server is a
 * function that serves on a listener until as many connections as its task says were closed. It
 * runs in a process of its own, echoes what arrives as it arrives, has one buffer per connection
 * and allocates nothing per request. TCP_NODELAY comes with the listener, from which Linux hands it
 * on to what is accepted. */
#pragma once

#include "bench.h"

enum {
    ECHO_CONNECTIONS_MAX = 9000, /* open at once: each side has as many descriptors */
    ECHO_DESCRIPTORS_MAX = ECHO_CONNECTIONS_MAX + 64,
    ECHO_SIZE_MAX = 64 * 1024,
    /* Of those who may have two sends of a connection in flight, or take a send for complete: a
     * part of the smallest socket buffer. */
    ECHO_WHOLE_SIZE_MAX = 4096,
    ECHO_SQ_ENTRIES = 1024,
    ECHO_CQ_ENTRIES = 4096,
    /* A buffer is larger than a message: who fills his buffer has to ask whether there is more. */
    ECHO_BUFFER_MIN = 4096,
};

#ifdef __cplusplus
extern "C" {
#endif

struct echo_task {
    int listener;
    uint64_t connections; /* in all; the server ends when so many were closed */
    uint64_t at_once;
    uint64_t size; /* of a connection's buffer */
};

/* Hand-written, over the raw system calls. */
void echo_bare_oneshot(const struct echo_task *task);
void echo_bare_coop(const struct echo_task *task);
void echo_bare_multishot(const struct echo_task *task);
void echo_bare_epoll(const struct echo_task *task);
/* On the engine, by backend. */
void echo_aio_uring(const struct echo_task *task);
void echo_aio_epoll(const struct echo_task *task);
/* The same with a deadline on each receive. */
void echo_aio_uring_deadline(const struct echo_task *task);
void echo_aio_epoll_deadline(const struct echo_task *task);
/* The same with completions taken in batches. */
void echo_aio_uring_reap(const struct echo_task *task);
void echo_aio_epoll_reap(const struct echo_task *task);
/* The same with multishot receives into a buffer pool. */
void echo_aio_uring_pool(const struct echo_task *task);
void echo_aio_epoll_pool(const struct echo_task *task);
/* The same in C++ coroutines, on the ring. */
void echo_coroutine(const struct echo_task *task);
/* Peers, each there when it was found; bench_echo knows which. */
void echo_liburing(const struct echo_task *task);
void echo_libuv(const struct echo_task *task);
void echo_libevent(const struct echo_task *task);
void echo_asio(const struct echo_task *task);

/* What one sample measures. */
enum echo_figure {
    ECHO_CPU,     /* ns of the server's CPU time per request */
    ECHO_CALLS,   /* its system calls per request */
    ECHO_LATENCY, /* ns of a request, the median: one connection on one CPU */
    ECHO_MEMORY,  /* bytes of the server's private memory per idle connection */
};

struct echo_server {
    void (*serve)(const struct echo_task *task);
    const char *program; /* in place of a function */
    bool has_buffers;    /* each connection has one, which is no part of ECHO_MEMORY */
};

struct echo_load {
    uint64_t connections; /* at once */
    uint64_t size;
    uint64_t requests;
    uint64_t server_cpu, load_cpu;
    bool is_short; /* each request has a connection of its own */
    bool is_udp;   /* sockets in place of connections; an empty datagram is the end of one */
    enum echo_figure figure;
};

/* One server under one load. Counts the replies and compares every byte. */
double echo_sample(const struct echo_server *server, const struct echo_load *load);

#ifdef __cplusplus
}
#endif
