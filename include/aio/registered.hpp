// Registered buffers: transfers into memory that the kernel has mapped once (aio_buffers_register).
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <sys/uio.h>

#include <span>

namespace aio {

/// Reads into memory inside a registered buffer; gives the count.
inline auto read_fixed(context &ctx, file_ref fd, const mutable_bytes &buffer, uint64_t offset,
                       uint32_t buffer_index) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_read_fixed>(
        ctx, fd, buffer.data(), buffer.size(), offset, buffer_index);
}

/// Writes from memory inside a registered buffer; gives the count.
inline auto write_fixed(context &ctx, file_ref fd, const bytes &data, uint64_t offset,
                        uint32_t buffer_index) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_write_fixed>(
        ctx, fd, data.data(), data.size(), offset, buffer_index);
}

/// The same with several vectors, all inside one registered buffer.
inline auto readv_fixed(context &ctx, file_ref fd, std::span<const iovec> buffers, uint64_t offset,
                        uint32_t buffer_index, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_readv_fixed>(
        ctx, fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags, buffer_index);
}

/// The same with several vectors, all inside one registered buffer.
inline auto writev_fixed(context &ctx, file_ref fd, std::span<const iovec> buffers, uint64_t offset,
                         uint32_t buffer_index, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_writev_fixed>(
        ctx, fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags, buffer_index);
}

} // namespace aio
