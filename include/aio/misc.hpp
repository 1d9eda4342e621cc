// Operations on nothing in particular: nop, raw entries, epoll sets, pipes, children, drivers.
//
// Each is the aio_submit_* function of its name, whose comment in aio_rs.h says what the kernel
// does, since when, and how it fails.
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <sys/epoll.h>
#include <sys/wait.h>

#include <span>

namespace aio {

/// Does nothing; gives nothing. A turn of the loop for those who compute long.
inline auto nop(context &ctx) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_nop>(ctx);
}

/// Submits an entry that the caller filled, which must live until the submit; gives its result.
inline auto raw(context &ctx, const io_uring_sqe &sqe) noexcept {
    return detail::submits<detail::gives_number, &aio_submit_raw>(ctx, &sqe);
}

/// Adds, changes or removes a descriptor of an epoll set.
inline auto epoll_ctl(context &ctx, int epfd, int op, int fd, epoll_event event) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_epoll_ctl>(
        ctx, epfd, op, fd, detail::by_address<epoll_event>{event});
}

/// Waits for events of an epoll set and takes them; gives how many.
inline auto epoll_wait(context &ctx, int epfd, std::span<epoll_event> events) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_epoll_wait>(
        ctx, epfd, events.data(), static_cast<int>(events.size()));
}

/// Waits for a child to change its state; `info` may be null.
inline auto waitid(context &ctx, int idtype, uint32_t id, siginfo_t *info, int options) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_waitid>(ctx, idtype, id, info,
                                                                      options);
}

/// Sends a driver's command; gives what the driver says.
inline auto uring_cmd(context &ctx, file_ref fd, uint32_t command, bytes data = {}) noexcept {
    return detail::submits<detail::gives_number, &aio_submit_uring_cmd>(ctx, fd, command,
                                                                        data.data(), data.size());
}

} // namespace aio
