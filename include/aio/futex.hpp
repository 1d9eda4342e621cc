// Futexes: words that threads, processes and operations wait on.
#pragma once

#include <aio/operation.hpp>

#include <linux/futex.h>

#include <span>

namespace aio {

/// Waits while the word has a value. `flags`: FUTEX2_SIZE_U32 and the like.
inline auto futex_wait(context &ctx, uint32_t &word, uint64_t value, uint32_t flags,
                       uint64_t mask = UINT32_MAX) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_futex_wait>(ctx, &word, value, mask,
                                                                          flags);
}

/// Wakes at most `count` of those who wait on the word; gives how many.
inline auto futex_wake(context &ctx, uint32_t &word, uint64_t count, uint32_t flags,
                       uint64_t mask = UINT32_MAX) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_futex_wake>(ctx, &word, count, mask,
                                                                        flags);
}

/// Waits on several words; gives the index of one that was woken.
inline auto futex_waitv(context &ctx, std::span<const futex_waitv> words) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_futex_waitv>(
        ctx, words.data(), static_cast<uint32_t>(words.size()));
}

} // namespace aio
