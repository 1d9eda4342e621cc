/* What the peers in the benchmark of timers agree on; timers.c says what is measured. Each runs in
 * a process of its own, and stops on its channel before and after what is measured. */
#pragma once

#include "bench.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIMERS_PAIRS_PER_TURN = 64, TIMERS_WINDOW_US = 10 * 1000 };

/* Below `range`, which fits 32 bits, without the division that would be a tenth of the figure. */
static inline uint64_t timers_random_below(uint64_t *seed, uint64_t range) {
    return (bench_random(seed) >> 32) * range >> 32;
}

/* In microseconds from now: an hour or two, and within the window. */
static inline uint64_t timers_far_us(uint64_t *seed) {
    const uint64_t hour_us = UINT64_C(3600) * 1000000;
    return hour_us + timers_random_below(seed, hour_us);
}

static inline uint64_t timers_near_us(uint64_t *seed) {
    return timers_random_below(seed, TIMERS_WINDOW_US);
}

/* The places of the ids of random victims of a turn. They are asked for together: where a program
 * keeps its ids is its own affair, and no part of the figure. */
static inline void timers_draw(uint64_t *seed, uint64_t *ids, uint64_t outstanding,
                               uint64_t **victims) {
    for (int pair = 0; pair < TIMERS_PAIRS_PER_TURN; pair++) {
        victims[pair] = &ids[timers_random_below(seed, outstanding)];
        __builtin_prefetch(victims[pair]);
    }
}

/* `pairs` of cancelling a random one of the outstanding timers and arming another in its place, a
 * few in each turn of the loop; or, with none, all fall due while the thread sleeps, and fire. */
struct timers_task {
    uint64_t outstanding, pairs, seed;
};

typedef void timers_peer(int channel, const struct timers_task *task);

/* ns of CPU time per pair without an engine; what it is done with stays for the next sample. */
double timers_bare(const struct timers_task *task, uint64_t *seed);
void timers_bare_end(void);

/* Each is there when it was found. */
timers_peer timers_libuv, timers_libevent, timers_asio;

#ifdef __cplusplus
}
#endif
