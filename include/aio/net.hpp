// Sockets: connect, accept, send, receive. socket.hpp has types for them.
#pragma once

#include <aio/bytes.hpp>
#include <aio/multishot.hpp>

#include <sys/socket.h>
#include <sys/uio.h>

#include <span>

namespace aio {

/// Makes a socket, close-on-exec; gives its descriptor. (`socket` is a type.)
inline auto make_socket(context &ctx, int domain, int type, int protocol = 0) noexcept {
    return detail::submits<detail::gives_descriptor, &aio_submit_socket>(ctx, domain, type,
                                                                         protocol);
}

/// Binds a socket to an address, which must live until the submit.
inline auto bind(context &ctx, file_ref fd, const sockaddr *address, socklen_t size) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_bind>(ctx, fd, address, size);
}

/// Makes a socket accept connections.
inline auto listen(context &ctx, file_ref fd, int backlog = SOMAXCONN) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_listen>(ctx, fd, backlog);
}

/// Accepts a connection; gives its descriptor. `address`, `size`: the peer's, if wanted.
inline auto accept(context &ctx, file_ref fd, int flags = 0, sockaddr *address = nullptr,
                   socklen_t *size = nullptr) noexcept {
    return detail::submits<detail::gives_descriptor, &aio_submit_accept>(ctx, fd, address, size,
                                                                         flags);
}

/// Accepts again and again: each item is a descriptor.
inline auto accept_multishot(context &ctx, file_ref fd, int flags = 0) noexcept {
    return detail::repeats<detail::gives_descriptor, &aio_submit_accept_multishot>(ctx, fd, flags);
}

/// Connects a socket to an address, which must live until the submit.
inline auto connect(context &ctx, file_ref fd, const sockaddr *address, socklen_t size) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_connect>(ctx, fd, address, size);
}

/// Sends; gives the count, which may be short.
inline auto send(context &ctx, file_ref fd, const bytes &data, int flags) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_send>(ctx, fd, data.data(), data.size(),
                                                                  flags);
}
inline auto send(context &ctx, file_ref fd, const bytes &data) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_send>(ctx, fd, data.data(), data.size(),
                                                                  detail::always<0>());
}

/// Receives; gives the count, 0 at the end of a stream.
inline auto recv(context &ctx, file_ref fd, const mutable_bytes &buffer, int flags) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_recv>(ctx, fd, buffer.data(),
                                                                  buffer.size(), flags);
}
inline auto recv(context &ctx, file_ref fd, const mutable_bytes &buffer) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_recv>(
        ctx, fd, buffer.data(), buffer.size(), detail::always<0>());
}

/// Sends a message, whose header must live until the submit; gives the count.
inline auto sendmsg(context &ctx, file_ref fd, const msghdr &message, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_sendmsg>(ctx, fd, &message, flags);
}

namespace detail {

inline aio_op_id submit_sendv(aio_ctx *ctx, int fd, const iovec *parts, std::size_t count,
                              int flags, const aio_submit_options *options, aio_callback callback,
                              void *user_data) noexcept {
    msghdr message{};
    message.msg_iov = const_cast<iovec *>(parts);
    message.msg_iovlen = count;
    return aio_submit_sendmsg(ctx, fd, &message, flags, options, callback, user_data);
}

} // namespace detail

/// Sends several pieces as one, of an array that must live until the submit; gives the count.
inline auto sendv(context &ctx, file_ref fd, std::span<const iovec> parts, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &detail::submit_sendv>(ctx, fd, parts.data(),
                                                                       parts.size(), flags);
}

/// Receives a message; gives the count.
inline auto recvmsg(context &ctx, file_ref fd, msghdr &message, int flags = 0) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_recvmsg>(ctx, fd, &message, flags);
}

/// Shuts a socket down, wholly or one way.
inline auto shutdown(context &ctx, file_ref fd, int how) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_shutdown>(ctx, fd, how);
}

/// Receives until the buffer is full; errc::eof if the stream ends before.
inline auto recv_exact(context &ctx, file_ref fd, const mutable_bytes &buffer,
                       int flags = 0) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_recv_exact>(ctx, fd, buffer.data(),
                                                                           buffer.size(), flags);
}

/// Sends all of it.
inline auto send_all(context &ctx, file_ref fd, const bytes &data, int flags = 0) noexcept {
    return detail::submits<detail::gives_transfer, &aio_submit_send_all>(ctx, fd, data.data(),
                                                                         data.size(), flags);
}

} // namespace aio
