/* What the servers of datagrams have in common; udp.c says what is measured. They serve a task of
 * echo.h: the listener is a bound socket, and an empty datagram is the end of a client. */
#pragma once

#include "echo.h"

/* Datagrams that a server can have in hand. */
enum { UDP_SLOTS = 64, UDP_SIZE_MAX = 4096 };

#ifdef __cplusplus
extern "C" {
#endif

void udp_bare(const struct echo_task *task);
void udp_bare_calls(const struct echo_task *task);
void udp_aio_uring(const struct echo_task *task);
void udp_aio_epoll(const struct echo_task *task);
/* Each is there when it was found. */
void udp_libuv(const struct echo_task *task);
void udp_asio(const struct echo_task *task);

#ifdef __cplusplus
}
#endif
