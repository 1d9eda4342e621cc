// Timers of Boost.Asio: a steady_timer each, on a heap; expires_after cancels what was armed.
#include "timers.h"

#include <boost/asio.hpp>
#include <deque>
#include <unistd.h>

namespace asio = boost::asio;

namespace {

std::uint64_t fired, cancelled;

void start(asio::steady_timer &timer, std::uint64_t after_us) {
    timer.expires_after(std::chrono::microseconds(after_us));
    timer.async_wait([](boost::system::error_code error) {
        if (error == asio::error::operation_aborted)
            cancelled++;
        else
            fired++;
    });
}

void pairs(asio::io_context &context, std::deque<asio::steady_timer> &timers, std::uint64_t count,
           std::uint64_t *seed) {
    for (std::uint64_t pair = 0; pair < count; pair++) {
        start(timers[timers_random_below(seed, timers.size())], timers_far_us(seed));
        if (pair % TIMERS_PAIRS_PER_TURN == 0)
            context.poll();
    }
    context.poll();
}

} // namespace

void timers_asio(int channel, const timers_task *task) {
    asio::io_context context(1);
    std::uint64_t seed = task->seed;
    std::deque<asio::steady_timer> timers;
    for (std::uint64_t i = 0; i < task->outstanding; i++) {
        timers.emplace_back(context);
        start(timers.back(), task->pairs ? timers_far_us(&seed) : timers_near_us(&seed));
    }
    if (task->pairs)
        pairs(context, timers, task->pairs / 10, &seed);
    else
        usleep(2 * TIMERS_WINDOW_US);
    bench_child_stop(channel);
    if (task->pairs)
        pairs(context, timers, task->pairs, &seed);
    else
        context.run();
    bench_child_stop(channel);
    if (fired != (task->pairs ? 0 : task->outstanding) ||
        cancelled != task->pairs + task->pairs / 10)
        bench_die("asio: wrong numbers of timers fired or were cancelled");
    _exit(0); // without the minutes that a million destructors on a heap take
}
