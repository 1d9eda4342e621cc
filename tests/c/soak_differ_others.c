/* The family of soak_differ's operations on anything, or nothing: polls, closes, timers; and what
 * the test itself does to both worlds, from outside. */
#include "soak_differ_kinds.h"

#include <poll.h>

/* --- choosing --------------------------------------------------------------------------------- */

CHOOSES(choose_nothing) {
    (void)op;
    return true;
}

CHOOSES(choose_poll) {
    op->slot = some_slot(IS_ANY);
    op->word = (uint32_t)ONE_OF(POLLIN, POLLIN, POLLIN, POLLOUT, POLLIN | POLLRDHUP, 0, POLLPRI);
    return true;
}

CHOOSES(choose_close) {
    op->slot = some_slot(IS_FILE | IS_SOCKET | IS_EVENT | IS_PIPE);
    return op->slot != ROOT;
}

CHOOSES(choose_timer) {
    op->offset = dice(3) ? dice(MS) : HOUR;
    return true;
}

CHOOSES(choose_pair) {
    op->slot = some_slot(IS_PIPE | IS_STREAM | IS_DGRAM | IS_EVENT | IS_ARRIVED);
    op->len = slots[op->slot].is & IS_EVENT ? 8 : some_len();
    return !is_inet(op->slot) || fits(op, slots[op->slot].peer);
}

CHOOSES(choose_take) {
    op->slot = some_slot(IS_PIPE | IS_STREAM | IS_DGRAM | IS_EVENT | IS_ARRIVED);
    op->len = slots[op->slot].is & IS_EVENT ? 8 : dice(2) ? DATA_BYTES : 1 + dice(2000);
    return true;
}

CHOOSES(choose_renew) {
    op->slot = SUBFOLDER + (int)dice(SLOTS - SUBFOLDER);
    for (int i = 0; i < 8 && is_open_slot(op->slot); i++)
        op->slot = SUBFOLDER + (int)dice(SLOTS - SUBFOLDER);
    op->name = (int)dice(5);
    op->word = (uint32_t)dice(210);
    op->flags = ONE_OF(O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND) |
                ONE_OF(0, O_CREAT, O_CREAT, O_TRUNC);
    if (op->slot >= FRESH)
        op->flags = dice(4) ? 0 : O_NONBLOCK;
    return true;
}

CHOOSES(choose_nonblocking) {
    op->slot = SUBFOLDER + (int)dice(SLOTS - SUBFOLDER);
    op->flags = (int)dice(2);
    return is_open_slot(op->slot) && !slots[op->slot].shut; /* see choose_shutdown */
}

CHOOSES(choose_any_slot) {
    op->slot = SUBFOLDER + (int)dice(SLOTS - SUBFOLDER);
    op->flags = (int)dice(2);
    op->offset = dice(9000);
    return is_open_slot(op->slot);
}

/* --- submitting ------------------------------------------------------------------------------- */

SUBMITS(submit_nop) { return aio_submit_nop(CTX, TAIL); }

SUBMITS(submit_poll) { return aio_submit_poll(CTX, FD, op->word, TAIL); }

SUBMITS(submit_poll_multishot) { return aio_submit_poll_multishot(CTX, FD, op->word, TAIL); }

SUBMITS(submit_close) { return aio_submit_close(CTX, FD, TAIL); }

SUBMITS(submit_timer) { return aio_submit_timer(CTX, op->offset, TAIL); }

SUBMITS(submit_timer_at) { return aio_submit_timer_at(CTX, now_ns() + op->offset - 1, TAIL); }

SUBMITS(submit_interval) { return aio_submit_interval(CTX, MS / 4, TAIL); }

/* --- from outside ----------------------------------------------------------------------------- */

/* Not more at a time than a pipe takes whole; nothing here may wait. */
ACTS(act_send) {
    const uint64_t one = 1;
    if (slots[op->slot].is & IS_EVENT)
        return outcome(is_ready(FD, POLLOUT) ? write(FD, &one, sizeof one) : 0);
    if (!(slots[op->slot].is & IS_PIPE))
        return outcome(send(FD, side->data, op->len, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (op->len > 4096)
        op->len = 4096;
    return is_ready(FD, POLLOUT) ? outcome(write(FD, side->data, op->len)) : -EAGAIN;
}

ACTS(act_take) {
    if (!is_ready(FD, POLLIN) || is_listening(FD))
        return -EAGAIN;
    return outcome(take(FD, side->data, op->len));
}

ACTS(act_close) { return outcome(close(FD)); }

ACTS(act_renew) { return renew_slot(op, side->world); }

ACTS(act_seek) { return outcome(lseek(FD, (off_t)op->offset, SEEK_SET)); }

ACTS(act_nonblocking) { return outcome(fcntl(FD, F_SETFL, op->flags ? O_NONBLOCK : 0)); }

/* A second descriptor of the same thing, which stays when the slot is closed;
 * or it goes. */
ACTS(act_ghost) {
    int *ghost = &slots[op->slot].ghost[side->world];
    if (*ghost >= 0)
        SYS(close(*ghost));
    *ghost = *ghost >= 0 ? -1 : SYS(fcntl(FD, F_DUPFD_CLOEXEC, 0));
    return 0;
}

static const struct kind kinds[] = {
    {"nop", IDLES, 4, choose_nothing, submit_nop, NULL},
    {"poll", POLLS, 8, choose_poll, submit_poll, NULL},
    {"poll_multishot", POLLS | REPEATS, 3, choose_poll, submit_poll_multishot, NULL},
    {"close", CLOSES, 4, choose_close, submit_close, NULL},
    {"timer", TIMES, 2, choose_timer, submit_timer, NULL},
    {"timer_at", TIMES, 1, choose_timer, submit_timer_at, NULL},
    {"interval", TIMES | REPEATS, 1, choose_nothing, submit_interval, NULL},
    {"plain send", PLAIN | WRITES, 26, choose_pair, NULL, act_send},
    {"plain read", PLAIN | READS | FILLS, 18, choose_take, NULL, act_take},
    {"plain close", PLAIN | CLOSES, 3, choose_close, NULL, act_close},
    {"plain renewal", PLAIN | RENEWS, 24, choose_renew, NULL, act_renew},
    {"plain lseek", PLAIN | ALTERS, 3, choose_any_slot, NULL, act_seek},
    {"plain O_NONBLOCK", PLAIN | ALTERS, 2, choose_nonblocking, NULL, act_nonblocking},
    {"plain dup", PLAIN | ALTERS, 2, choose_any_slot, NULL, act_ghost},
};

const struct family other_family = {kinds, COUNT_OF(kinds)};
