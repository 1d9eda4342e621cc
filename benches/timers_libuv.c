/* Timers of libuv: a handle each, uv_timer_stop and uv_timer_start. libuv counts milliseconds. */
#include "timers.h"

#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

static uint64_t fired;

static void on_timer(uv_timer_t *timer) {
    (void)timer;
    fired++;
}

static void start(uv_timer_t *timer, uint64_t after_us) {
    bench_check(uv_timer_start(timer, on_timer, (after_us + 999) / 1000, 0), "uv_timer_start");
}

static void pairs(uv_loop_t *loop, uv_timer_t *timers, uint64_t outstanding, uint64_t count,
                  uint64_t *seed) {
    for (uint64_t pair = 0; pair < count; pair++) {
        uv_timer_t *victim = &timers[timers_random_below(seed, outstanding)];
        bench_check(uv_timer_stop(victim), "uv_timer_stop");
        start(victim, timers_far_us(seed));
        if (pair % TIMERS_PAIRS_PER_TURN == 0)
            uv_run(loop, UV_RUN_NOWAIT);
    }
}

void timers_libuv(int channel, const struct timers_task *task) {
    uv_loop_t loop;
    uint64_t seed = task->seed;
    uv_timer_t *timers = malloc(task->outstanding * sizeof *timers);
    if (!timers)
        bench_die("no memory");
    bench_check(uv_loop_init(&loop), "uv_loop_init");
    for (uint64_t i = 0; i < task->outstanding; i++) {
        bench_check(uv_timer_init(&loop, &timers[i]), "uv_timer_init");
        start(&timers[i], task->pairs ? timers_far_us(&seed) : timers_near_us(&seed));
    }
    if (task->pairs)
        pairs(&loop, timers, task->outstanding, task->pairs / 10, &seed);
    else
        usleep(2 * TIMERS_WINDOW_US);
    bench_child_stop(channel);
    if (task->pairs)
        pairs(&loop, timers, task->outstanding, task->pairs, &seed);
    else
        uv_run(&loop, UV_RUN_DEFAULT);
    bench_child_stop(channel);
    if (fired != (task->pairs ? 0 : task->outstanding))
        bench_die("libuv: wrong number of timers fired");
}
