// The context's table of direct descriptors: making it, filling it, getting descriptors out of it.
// `file_ref::slot(n)` names a slot to operations; what `.direct()` made is a descriptor that knows
// it.
#pragma once

#include <aio/operation.hpp>

#include <span>

namespace aio {

/// Puts descriptors, which must live until the submit, into slots; gives how many.
inline auto files_update(context &ctx, uint32_t first, std::span<const int32_t> fds) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_files_update>(
        ctx, first, fds.data(), static_cast<uint32_t>(fds.size()));
}

/// Makes an ordinary descriptor of a slot's file; gives it.
inline auto files_install(context &ctx, uint32_t slot) noexcept {
    return detail::submits<detail::gives_descriptor, &aio_submit_files_install>(ctx, slot);
}

} // namespace aio
