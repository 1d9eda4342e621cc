/* What the echo servers and their load agree on; echo.c says what is measured. A server is a
 * function that serves on a listener until as many connections as the load has were closed. It runs
 * in a process of its own, echoes what arrives as it arrives, has one buffer per connection and
 * allocates nothing per request. TCP_NODELAY comes with the listener, from which Linux hands it on
 * to what is accepted. */
#pragma once

#include "bench.h"

enum {
    ECHO_CONNECTIONS_MAX = 4096,
    ECHO_SIZE_MAX = 4096, /* bytes of a message, and of a server's buffer */
    ECHO_SQ_ENTRIES = 1024,
    ECHO_CQ_ENTRIES = 4096,
};

/* Hand-written, over the raw system calls. */
void echo_bare_oneshot(int listener, uint64_t connections);
void echo_bare_multishot(int listener, uint64_t connections);
void echo_bare_epoll(int listener, uint64_t connections);
/* On the engine, by backend. */
void echo_aio_uring(int listener, uint64_t connections);
void echo_aio_epoll(int listener, uint64_t connections);
/* The same with multishot receives into a buffer pool. */
void echo_aio_uring_pool(int listener, uint64_t connections);
void echo_aio_epoll_pool(int listener, uint64_t connections);
/* Not there when libuv was not found. */
void echo_libuv(int listener, uint64_t connections);
const char *echo_libuv_version(void);
