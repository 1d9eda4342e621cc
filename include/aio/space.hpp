// Space and caching of files.
#pragma once

#include <aio/operation.hpp>

#include <fcntl.h>
#include <sys/mman.h>

namespace aio {

/// Sets a file's length.
inline auto ftruncate(context &ctx, file_ref fd, uint64_t length) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_ftruncate>(ctx, fd, length);
}

/// Allocates, frees or changes space of a file.
inline auto fallocate(context &ctx, file_ref fd, int mode, uint64_t offset,
                      uint64_t size) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_fallocate>(ctx, fd, mode, offset,
                                                                         size);
}

/// Writes a range of cached pages back.
inline auto sync_file_range(context &ctx, file_ref fd, uint64_t offset, uint64_t size,
                            uint32_t flags) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_sync_file_range>(ctx, fd, offset,
                                                                               size, flags);
}

/// Says how a range of a file will be used.
inline auto fadvise(context &ctx, file_ref fd, uint64_t offset, uint64_t size,
                    int advice) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_fadvise>(ctx, fd, offset, size,
                                                                       advice);
}

/// Says how a range of memory, which stays mapped until then, will be used.
inline auto madvise(context &ctx, void *address, std::size_t size, int advice) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_madvise>(ctx, address, size, advice);
}

} // namespace aio
