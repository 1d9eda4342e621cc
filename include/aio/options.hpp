// Options of sockets, and what is queued in them.
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <sys/socket.h>

namespace aio {

/// Sets a socket option to a value, which must live until the submit.
inline auto setsockopt(context &ctx, file_ref fd, int level, int name, bytes value) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_setsockopt>(
        ctx, fd, level, name, value.data(), static_cast<socklen_t>(value.size()));
}

/// Reads a socket option; gives the length of its value.
inline auto getsockopt(context &ctx, file_ref fd, int level, int name,
                       mutable_bytes value) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_getsockopt>(
        ctx, fd, level, name, value.data(), static_cast<socklen_t>(value.size()));
}

/// Asks how many bytes wait to be received.
inline auto socket_inq(context &ctx, file_ref fd) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_socket_inq>(ctx, fd);
}

/// Asks how many bytes the peer has not taken.
inline auto socket_outq(context &ctx, file_ref fd) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_socket_outq>(ctx, fd);
}

} // namespace aio
