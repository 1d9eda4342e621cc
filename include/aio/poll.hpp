// Readiness of descriptors, for what has no operation of its own.
#pragma once

#include <aio/multishot.hpp>

#include <poll.h>

namespace aio {

/// Waits until a descriptor is ready; gives the events that are there, as in poll(2).
inline auto poll(context &ctx, file_ref fd, uint32_t events) noexcept {
    return detail::submits<detail::gives_events, &aio_submit_poll>(ctx, fd, events);
}

/// The same again and again: each item is events.
inline auto poll_multishot(context &ctx, file_ref fd, uint32_t events) noexcept {
    return detail::repeats<detail::gives_events, &aio_submit_poll_multishot>(ctx, fd, events);
}

} // namespace aio
