// Zero-copy sends: the network reads the buffer itself. They end when nothing reads it any more, so
// that it is yours again whenever they have ended; a peer that does not read can make that late.
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <sys/socket.h>

namespace aio {

/// Sends without copying; gives the count.
inline auto send_zc(context &ctx, file_ref fd, const bytes &data, int flags = 0,
                    uint32_t zc_flags = 0) noexcept {
    return detail::submits<detail::gives_sent, &aio_submit_send_zc>(ctx, fd, data.data(),
                                                                    data.size(), flags, zc_flags);
}

/// Sends a message, whose header must live until the submit, without copying its data.
inline auto sendmsg_zc(context &ctx, file_ref fd, const msghdr &message, int flags = 0,
                       uint32_t zc_flags = 0) noexcept {
    return detail::submits<detail::gives_sent, &aio_submit_sendmsg_zc>(ctx, fd, &message, flags,
                                                                       zc_flags);
}

} // namespace aio
