/* A name server of the test's own, in a process of its own (a thread would stand still under
 * valgrind while a context waits in a ring): it answers every question in the same way, over UDP
 * and TCP, and can be told another way at any time. */
#pragma once
#include "harness.h"

enum answer {
    ANSWER_NOTHING,   /* never; what was asked meanwhile is answered when the server ends */
    ANSWER_ADDRESS,   /* an A or AAAA record, 192.0.2.1 or 2001:db8::1, for 60 seconds */
    ANSWER_NO_NAME,   /* NXDOMAIN, with the zone's word that it will be so for 60 seconds */
    ANSWER_NO_DATA,   /* no record, with the same word */
    ANSWER_FAILURE,   /* SERVFAIL */
    ANSWER_REFUSAL,   /* REFUSED */
    ANSWER_CUT,       /* over UDP nothing but "ask over TCP"; over TCP the address */
    ANSWER_ALIAS,     /* a CNAME to alias.example, and for that the address */
    ANSWER_FOREIGN,   /* answers to other questions, then the address */
    ANSWER_GARBAGE,   /* the address with bytes changed at random */
    ANSWER_SHORT,     /* the address without its last byte; over TCP with a length that is wrong */
    ANSWER_NO_OPTION, /* FORMERR to EDNS, the address without it */
};

struct name_server;
/* `host`: 127.x.y.z. `port` 0: any. */
struct name_server *name_server_start(const char *host, uint16_t port, enum answer answer);
void name_server_set(struct name_server *server, enum answer answer);
void name_server_seed(struct name_server *server, uint64_t seed); /* of what is random */
uint16_t name_server_port(const struct name_server *server);
unsigned name_server_questions(const struct name_server *server); /* so far, over either */
unsigned name_server_streams(const struct name_server *server);   /* those over TCP */
/* Runs the context until exactly so many have come. */
void await_questions(aio_ctx *ctx, const struct name_server *server, unsigned count);
void name_server_stop(struct name_server *server);

/* From now on the C library of this process asks this server alone, and the test's own hosts file:
 * in a mount namespace of its own. Skips the test where that is not allowed. `options`: of
 * resolv.conf. */
void ask_only(const char *host, const char *options, const char *hosts);

/* Calls of the C library are made by threads, which stand still under valgrind while a context
 * waits in a ring. */
void needs_threads_beside_a_ring(const aio_ctx *ctx);
