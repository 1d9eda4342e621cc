// Messages between contexts. `target` must be valid during the submit.
#pragma once

#include <aio/multishot.hpp>

namespace aio {

/// What another context has sent.
struct message {
    int32_t number;
    uint64_t data;
};

namespace detail {

struct gives_message {
    static constexpr bool last_is_result = false;
    using type = message;
    template <class Call> static message from(const told &now, const Call &) noexcept {
        return {now.result, aio_ctx_current_bytes(now.ctx)};
    }
};

struct gives_slot {
    static constexpr bool last_is_result = false;
    using type = descriptor;
    template <class Call> static descriptor from(const told &now, const Call &) noexcept {
        return {now.ctx, file_ref::slot(now.result)};
    }
};

} // namespace detail

/// Sends two numbers to another context, or to this one.
inline auto msg_ring(context &ctx, aio_ctx *target, int32_t number, uint64_t data) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_msg_ring>(ctx, target, number, data);
}

/// Puts a slot's file into another context's table: `target_slot` - 1, or 0 for a free one. Gives
/// the slot that it has there.
inline auto msg_ring_fd(context &ctx, aio_ctx *target, uint32_t slot,
                        uint32_t target_slot = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_msg_ring_fd>(ctx, target, slot,
                                                                         target_slot);
}

/// Receives what others send with msg_ring: each item is a message.
inline auto msg_receive(context &ctx) noexcept {
    return detail::repeats<detail::gives_message, &aio_submit_msg_receive>(ctx);
}

/// Receives what others send with msg_ring_fd: each item owns a slot.
inline auto msg_receive_fd(context &ctx) noexcept {
    return detail::repeats<detail::gives_slot, &aio_submit_msg_receive_fd>(ctx);
}

} // namespace aio
