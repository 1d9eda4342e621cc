/* Timers of libevent: an event each, made in memory of the program's own (event_assign),
 * evtimer_del and evtimer_add, on a heap, with the coarse clock that is its default. */
#include "timers.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t fired;

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what, (void)arg;
    fired++;
}

static void start(struct event *timer, uint64_t after_us) {
    const struct timeval after = {(time_t)(after_us / 1000000), (suseconds_t)(after_us % 1000000)};
    bench_check(evtimer_add(timer, &after), "evtimer_add");
}

static void pairs(struct event_base *base, struct event *timers, uint64_t outstanding,
                  uint64_t count, uint64_t *seed) {
    for (uint64_t pair = 0; pair < count; pair++) {
        struct event *victim = &timers[timers_random_below(seed, outstanding)];
        bench_check(evtimer_del(victim), "evtimer_del");
        start(victim, timers_far_us(seed));
        if (pair % TIMERS_PAIRS_PER_TURN == 0)
            bench_check(event_base_loop(base, EVLOOP_NONBLOCK), "event_base_loop");
    }
}

void timers_libevent(int channel, const struct timers_task *task) {
    struct event_config *config = event_config_new();
    uint64_t seed = task->seed;
    struct event *timers = malloc(task->outstanding * sizeof *timers);
    if (!timers || !config || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) < 0)
        bench_die("no memory");
    struct event_base *base = event_base_new_with_config(config);
    if (!base)
        bench_die("event_base_new_with_config");
    for (uint64_t i = 0; i < task->outstanding; i++) {
        bench_check(evtimer_assign(&timers[i], base, on_timer, NULL), "evtimer_assign");
        start(&timers[i], task->pairs ? timers_far_us(&seed) : timers_near_us(&seed));
    }
    if (task->pairs)
        pairs(base, timers, task->outstanding, task->pairs / 10, &seed);
    else
        usleep(2 * TIMERS_WINDOW_US);
    bench_child_stop(channel);
    if (task->pairs)
        pairs(base, timers, task->outstanding, task->pairs, &seed);
    else
        bench_check(event_base_dispatch(base), "event_base_dispatch");
    bench_child_stop(channel);
    if (fired != (task->pairs ? 0 : task->outstanding))
        bench_die("libevent: wrong number of timers fired");
}
