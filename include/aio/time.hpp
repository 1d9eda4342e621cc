// Time: timers, intervals, sleeping. Never early; late by the timer resolution at most, on an idle
// loop.
#pragma once

#include <aio/multishot.hpp>

#include <chrono>

namespace aio {
namespace detail {

/// Ticks since the last one that was told of.
using gives_ticks = gives_count;

} // namespace detail

/// Waits.
template <class Rep, class Period>
auto sleep_for(context &ctx, std::chrono::duration<Rep, Period> duration) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_timer>(ctx, detail::to_ns(duration));
}

/// Waits until a time of the clock that contexts use; not at all if it has passed.
template <class Duration>
auto sleep_until(context &ctx,
                 std::chrono::time_point<std::chrono::steady_clock, Duration> time) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_timer_at>(
        ctx, detail::to_ns(time.time_since_epoch()));
}

/// Lets others have their turn: goes on after what is due now. No system call.
inline auto yield(context &ctx) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_timer_at>(ctx, uint64_t{0});
}

/// Ticks again and again, without drift: each item is the number of periods since the last one,
/// more than 1 when the context was late.
template <class Rep, class Period>
auto interval(context &ctx, std::chrono::duration<Rep, Period> period) {
    return detail::repeats<detail::gives_ticks, &aio_submit_interval>(ctx, detail::to_ns(period));
}

} // namespace aio
