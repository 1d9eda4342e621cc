// Files: open, read, write, flush, move.
//
// `offset` is AIO_OFFSET_CURRENT for the position of the file itself.
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <fcntl.h>
#include <sys/uio.h>

#include <span>

namespace aio {

/// Opens a file, close-on-exec; gives its descriptor.
inline auto openat(context &ctx, int dirfd, path_ref path, int flags, uint32_t mode = 0) noexcept {
    return detail::submits<detail::gives_descriptor, &aio_submit_openat>(ctx, dirfd, path.c_str(),
                                                                         flags, mode);
}

/// Opens a file as `how`, which must live until the submit, says; `size`: sizeof(open_how).
inline auto openat2(context &ctx, int dirfd, path_ref path, const open_how &how,
                    std::size_t size) noexcept {
    return detail::submits<detail::gives_descriptor, &aio_submit_openat2>(ctx, dirfd, path.c_str(),
                                                                          &how, size);
}

/// Closes a descriptor of the program's own: what is in flight on it ends first.
inline auto close(context &ctx, file_ref fd) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_close>(ctx, fd);
}

/// Closes what is owned, which is given up at once. A close that nobody awaits goes on by itself.
inline auto close(context &ctx, descriptor &&owned) noexcept {
    const file_ref file(owned);
    static_cast<void>(owned.release());
    return close(ctx, file);
}

/// Reads; gives the count, 0 at the end.
inline auto read(context &ctx, file_ref fd, const mutable_bytes &buffer,
                 uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_read>(ctx, fd, buffer.data(),
                                                                  buffer.size(), offset);
}

/// Writes; gives the count.
inline auto write(context &ctx, file_ref fd, const bytes &data,
                  uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_write>(ctx, fd, data.data(),
                                                                   data.size(), offset);
}

/// Reads into several buffers. `flags`: RWF_*.
inline auto readv(context &ctx, file_ref fd, std::span<const iovec> buffers,
                  uint64_t offset = AIO_OFFSET_CURRENT, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_readv>(
        ctx, fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags);
}

/// Writes from several buffers. `flags`: RWF_*.
inline auto writev(context &ctx, file_ref fd, std::span<const iovec> buffers,
                   uint64_t offset = AIO_OFFSET_CURRENT, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_writev>(
        ctx, fd, buffers.data(), static_cast<int>(buffers.size()), offset, flags);
}

/// Reads until the buffer is full; errc::eof if the end comes before.
inline auto read_exact(context &ctx, file_ref fd, const mutable_bytes &buffer,
                       uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_read_exact>(ctx, fd, buffer.data(),
                                                                           buffer.size(), offset);
}

/// Writes all of it.
inline auto write_all(context &ctx, file_ref fd, const bytes &data,
                      uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_write_all>(ctx, fd, data.data(),
                                                                          data.size(), offset);
}

/// Flushes a file to its device. `flags`: 0 or AIO_FSYNC_DATASYNC.
inline auto fsync(context &ctx, file_ref fd, uint32_t flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_fsync>(ctx, fd, flags);
}

/// Moves data between two descriptors, one of which is a pipe; gives the count.
inline auto splice(context &ctx, int fd_in, uint64_t offset_in, file_ref fd_out,
                   uint64_t offset_out, std::size_t size, uint32_t flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_splice>(ctx, fd_in, offset_in, fd_out,
                                                                    offset_out, size, flags);
}

/// Copies data from one pipe to another without consuming it; gives the count.
inline auto tee(context &ctx, int fd_in, file_ref fd_out, std::size_t size,
                uint32_t flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_tee>(ctx, fd_in, fd_out, size, flags);
}

/// Sends a file or part of it; gives how much has arrived.
inline auto sendfile(context &ctx, file_ref out, int in, uint64_t offset,
                     std::size_t count) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_sendfile>(ctx, out, in, offset,
                                                                         count);
}

} // namespace aio
