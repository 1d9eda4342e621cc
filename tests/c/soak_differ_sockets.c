/* The family of soak_differ's operations on sockets. */
#include "soak_differ_kinds.h"

#include <sys/un.h>

/* --- choosing --------------------------------------------------------------------------------- */

CHOOSES(choose_socket) {
    op->word = (uint32_t)ONE_OF(AF_UNIX, AF_UNIX, AF_INET, 999);
    op->flags = some_flags(op, 77, ONE_OF(SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET)) |
                ONE_OF(0, 0, SOCK_NONBLOCK, SOCK_CLOEXEC);
    op->count = ONE_OF(0, 0, 0, 999);
    op->place = free_place(FRESH, ARRIVED);
    return true;
}

/* 0 and 1: names in the tree; 2: the loopback network; 3: a family without
 * addresses; 4: half an address; 5: an unknown family. */
CHOOSES(choose_bind) {
    op->slot = some_slot(IS_FRESH);
    op->word = (uint32_t)dice(6);
    return true;
}

static socklen_t bind_address(const struct op *op, int world, struct sockaddr_storage *out) {
    struct sockaddr_un *local = (struct sockaddr_un *)out;
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    memset(out, 0, sizeof *out);
    if (op->word < 2) {
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%s/%c", root_path(world),
                 (int)('s' + op->word));
        return sizeof *local;
    }
    in->sin_family = op->word == 3 ? AF_UNSPEC : op->word == 5 ? 99 : AF_INET;
    in->sin_addr.s_addr = htonl(op->word == 3 ? INADDR_ANY : INADDR_LOOPBACK);
    return op->word == 4 ? 5 : sizeof *in;
}

CHOOSES(choose_listen) {
    op->slot = some_slot(IS_FRESH | IS_LISTENER);
    op->count = op->slot == TCP_LISTENER ? 8 + (int)dice(3) : (int)dice(4);
    return true;
}

CHOOSES(choose_accept) {
    op->slot = some_slot(IS_LISTENER | IS_LISTENER | IS_FRESH);
    op->flags = some_flags(op, 1, ONE_OF(0, 0, SOCK_NONBLOCK));
    op->name_len = (socklen_t)ONE_OF(0, 0, 4, 128); /* 0: not wanted */
    op->memory = dice(24) || !op->name_len ? GOOD : UNMAPPED;
    if (is_ready(number_of(0, op->slot), POLLIN)) /* it would be dropped under its client's hands */
        op->memory = GOOD;
    op->place = free_place(ARRIVED, SLOTS);
    return true;
}

/* A ring's waits for ever at a unix listener that was shut down: no wake-up follows. */
CHOOSES(choose_accept_multishot) {
    choose_accept(op);
    op->place = -1;
    op->name_len = 0;
    op->memory = GOOD;
    return !slots[op->slot].shut;
}

/* To something of its sort, mostly; `word` 1: to nowhere, 2: to no family. */
CHOOSES(choose_connect) {
    op->slot = some_slot(IS_FRESH);
    op->count = socket_type(number_of(0, op->slot));
    const bool inet = is_inet(op->slot), datagrams = op->count == SOCK_DGRAM;
    op->other = datagrams ? (inet ? UDP_OPEN : DGRAM_OPEN) : inet ? TCP_LISTENER : UNIX_LISTENER;
    if (dice(12) == 0)
        op->other = ONE_OF(UDP_OPEN, DGRAM_OPEN, UNIX_LISTENER, TCP_LISTENER, STREAMS, TCPS, UDPS);
    op->word = !is_open_slot(op->other) ? 1 : dice(8) ? 0 : 1 + (uint32_t)dice(2);
    if (is_ending(op->slot))
        return false;
    if (op->word == 2 && (!datagrams || slots[op->slot].peer >= 0))
        return false;
    if (slots[op->slot].is & (IS_DGRAM | IS_STREAM | IS_LISTENER)) /* pairs stay pairs */
        return false;
    if (in_chain && inet && !datagrams) /* a failure leaves it in an unspecified state */
        return false;
    const struct slot *to = &slots[op->other];
    /* At a full queue a ring waits for its own socket: a connected one until it can be written to,
     * one that listens for ever. */
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    if (to->pending > to->backlog &&
        (is_listening(number_of(0, op->slot)) ||
         getpeername(number_of(0, op->slot), (struct sockaddr *)&peer, &len) == 0))
        return false;
    return !(op->word == 0 && to->is & IS_LISTENER && to->pending > (inet ? 3 : to->backlog + 1));
}

static socklen_t connect_address(const struct op *op, int world, struct sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    if (op->word == 1) {
        struct sockaddr_un *local = (struct sockaddr_un *)out;
        local->sun_family = AF_UNIX;
        strcpy(local->sun_path, "/nowhere/at all");
        return sizeof *local;
    }
    const socklen_t len = op->word == 2 ? 0 : address_of_slot(world, op->other, out);
    return len ? len : sizeof out->ss_family; /* AF_UNSPEC */
}

CHOOSES(choose_recv) {
    op->slot = some_slot(IS_STREAM | IS_DGRAM | IS_ARRIVED | IS_FRESH);
    op->len = some_len();
    op->memory = some_memory();
    op->flags = ONE_OF(0, 0, 0, 0, MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, MSG_WAITALL);
    if (op->slot == DGRAM_OPEN && op->flags == MSG_PEEK) /* it wakes who polls to send there */
        op->flags = 0;
    if (op->flags == MSG_WAITALL)
        op->memory = GOOD;
    return true;
}

CHOOSES(choose_send) {
    op->slot = some_slot(IS_STREAM | IS_DGRAM | IS_ARRIVED | IS_FRESH);
    op->len = some_len();
    op->memory = some_memory();
    op->flags = ONE_OF(0, 0, 0, 0, MSG_DONTWAIT, MSG_WAITALL, MSG_NOSIGNAL);
    const int fd = number_of(0, op->slot);
    if (socket_domain(fd) == AF_UNIX && socket_type(fd) == SOCK_DGRAM)
        op->flags |= MSG_DONTWAIT; /* one that waited loses its bytes on a ring (Linux 6.18) */
    return !is_inet(op->slot) || fits(op, slots[op->slot].peer);
}

CHOOSES(choose_recvmsg) {
    if (!choose_recv(op))
        return false;
    op->count = (int)dice(4);
    op->name_len = (socklen_t)ONE_OF(0, 0, 4, 128);
    op->control_len = (socklen_t)ONE_OF(0, 0, CMSG_SPACE(4), CMSG_SPACE(8));
    return true;
}

CHOOSES(choose_sendmsg) {
    if (!choose_send(op))
        return false;
    op->count = dice(40) ? (int)dice(4) : 1024;
    op->passed = dice(4) || is_inet(op->slot) ? 0 : 1 + (int)dice(2);
    for (int i = 0; i < op->passed; i++) { /* what is passed is open until it is received */
        op->pass[i] = some_slot(IS_FILE | IS_EVENT);
        if (!(slots[op->pass[i]].is & (IS_FILE | IS_EVENT)))
            op->pass[i] = ONE_OF(BAD, NULL_DEVICE);
    }
    if (dice(6) == 0) {
        op->other = is_inet(op->slot) ? UDP_OPEN : DGRAM_OPEN;
        op->flags |= MSG_DONTWAIT; /* whether it would wait is not seen on this socket */
        return !is_inet(op->slot) || slots[op->slot].is & IS_STREAM || fits(op, op->other);
    }
    return true;
}

CHOOSES(choose_shutdown) {
    op->slot = some_slot(dice(3) ? IS_ARRIVED | IS_FRESH | IS_STREAM : IS_SOCKET);
    op->flags = ONE_OF(SHUT_RD, SHUT_WR, SHUT_RDWR, 7);
    if (is_ending(op->slot))
        return false;
    /* With O_NONBLOCK, what waits on a ring ends with -EAGAIN, or as without, by the operation. */
    return !(fcntl(number_of(0, op->slot), F_GETFL) & O_NONBLOCK);
}

/* --- submitting ------------------------------------------------------------------------------- */

SUBMITS(submit_socket) { return aio_submit_socket(CTX, (int)op->word, op->flags, op->count, TAIL); }

SUBMITS(submit_bind) {
    struct sockaddr_storage address;
    const socklen_t len = bind_address(op, side->world, &address);
    return aio_submit_bind(CTX, FD, (struct sockaddr *)&address, len, TAIL);
}

SUBMITS(submit_listen) { return aio_submit_listen(CTX, FD, op->count, TAIL); }

SUBMITS(submit_accept) {
    side->address_len = op->name_len;
    struct sockaddr *out = op->memory == GOOD ? (struct sockaddr *)&side->address : MEMORY;
    if (op->name_len == 0)
        return aio_submit_accept(CTX, FD, NULL, NULL, op->flags, TAIL);
    if (op->memory != GOOD && op->number % 2) /* both, or the address alone */
        return aio_submit_accept(CTX, FD, out, (socklen_t *)out, op->flags, TAIL);
    return aio_submit_accept(CTX, FD, out, &side->address_len, op->flags, TAIL);
}

SUBMITS(submit_accept_multishot) { return aio_submit_accept_multishot(CTX, FD, op->flags, TAIL); }

SUBMITS(submit_connect) {
    struct sockaddr_storage address;
    const socklen_t len = connect_address(op, side->world, &address);
    return aio_submit_connect(CTX, FD, (struct sockaddr *)&address, len, TAIL);
}

SUBMITS(submit_recv) { return aio_submit_recv(CTX, FD, MEMORY, op->len, op->flags, TAIL); }

SUBMITS(submit_send) { return aio_submit_send(CTX, FD, MEMORY, op->len, op->flags, TAIL); }

SUBMITS(submit_recvmsg) {
    struct iovec vectors[1025];
    vectors_of(op, side, vectors);
    side->header = (struct msghdr){.msg_iov = vectors, .msg_iovlen = (size_t)op->count};
    side->header.msg_name = op->name_len ? &side->address : NULL;
    side->header.msg_namelen = op->name_len;
    side->header.msg_control = op->control_len ? side->control : NULL;
    side->header.msg_controllen = op->control_len;
    const aio_op_id id = aio_submit_recvmsg(CTX, FD, &side->header, op->flags, TAIL);
    memset(vectors, 0x77, sizeof vectors); /* they were copied */
    return id;
}

SUBMITS(submit_sendmsg) {
    struct iovec vectors[1025];
    struct sockaddr_storage to;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = vectors, .msg_iovlen = (size_t)op->count};
    vectors_of(op, side, vectors);
    if (op->passed) {
        const size_t bytes = (size_t)op->passed * sizeof(int);
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        *part = (struct cmsghdr){CMSG_LEN(bytes), SOL_SOCKET, SCM_RIGHTS};
        for (int i = 0; i < op->passed; i++)
            ((int *)CMSG_DATA(part))[i] = number_of(side->world, op->pass[i]);
    }
    if (op->other >= 0) {
        header.msg_name = &to;
        header.msg_namelen = address_of_slot(side->world, op->other, &to);
    }
    const aio_op_id id = aio_submit_sendmsg(CTX, FD, &header, op->flags, TAIL);
    memset(vectors, 0x77, sizeof vectors); /* they were copied, and so was the rest */
    memset(control, 0x77, sizeof control);
    memset(&to, 0x77, sizeof to);
    return id;
}

SUBMITS(submit_shutdown) { return aio_submit_shutdown(CTX, FD, op->flags, TAIL); }

/* --- from outside ----------------------------------------------------------------------------- */

ACTS(act_connect) {
    struct sockaddr_storage address;
    const socklen_t len = connect_address(op, side->world, &address);
    const int fd = FD, old = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, old | O_NONBLOCK);
    int64_t result = outcome(connect(fd, (struct sockaddr *)&address, len));
    if (result == -EINPROGRESS) { /* the second call takes the result */
        struct pollfd item = {.fd = fd, .events = POLLOUT};
        SYS(poll(&item, 1, 10000));
        result = outcome(connect(fd, (struct sockaddr *)&address, len));
    }
    fcntl(fd, F_SETFL, old);
    return result;
}

ACTS(act_shutdown) { return outcome(shutdown(FD, op->flags)); }

static const struct kind kinds[] = {
    {"socket", BRINGS, 4, choose_socket, submit_socket, NULL},
    {"bind", NAMES_FILES | ALTERS, 3, choose_bind, submit_bind, NULL},
    {"listen", ALTERS, 2, choose_listen, submit_listen, NULL},
    {"accept", ACCEPTS | BRINGS, 10, choose_accept, submit_accept, NULL},
    {"accept_multishot", ACCEPTS | BRINGS | REPEATS, 2, choose_accept_multishot,
     submit_accept_multishot, NULL},
    {"connect", CONNECTS, 12, choose_connect, submit_connect, NULL},
    {"recv", READS | FILLS | ON_SOCKETS, 16, choose_recv, submit_recv, NULL},
    {"send", WRITES | ON_SOCKETS, 16, choose_send, submit_send, NULL},
    {"recvmsg", READS | FILLS | ON_SOCKETS | VECTORS, 10, choose_recvmsg, submit_recvmsg, NULL},
    {"sendmsg", WRITES | ON_SOCKETS | VECTORS, 10, choose_sendmsg, submit_sendmsg, NULL},
    {"shutdown", SHUTS, 3, choose_shutdown, submit_shutdown, NULL},
    {"plain connect", PLAIN | CONNECTS, 8, choose_connect, NULL, act_connect},
    {"plain shutdown", PLAIN | SHUTS, 2, choose_shutdown, NULL, act_shutdown},
};

const struct family socket_family = {kinds, COUNT_OF(kinds)};
