// watch: what happens to a file, or in a directory.
//
//     auto changes = aio::watch(ctx, "/etc/app", IN_CLOSE_WRITE | IN_MOVED_TO);
//     while (auto change = co_await changes.next())        // result<watch_event>
//         if (change->name == "app.conf") reload();
//
// A directory's entries are told of, not what is below them. A file that is replaced by a renaming,
// as editors do, is another file: watch its directory. When what is watched is deleted or unmounted
// an event with IN_IGNORED comes, and then errc::eof. After IN_Q_OVERFLOW events were lost: look.
#pragma once

#include <aio/multishot.hpp>

#include <sys/inotify.h>

#include <string>

namespace aio {

/// What has happened.
struct watch_event {
    /// IN_* of inotify(7).
    uint32_t mask;
    /// The same for the two halves of a renaming; otherwise 0.
    uint32_t cookie;
    /// The entry of the watched directory that it happened to; else empty.
    std::string name;
};

namespace detail {

struct gives_watch_event {
    static constexpr bool last_is_result = true;
    using type = watch_event;
    template <class Call> static watch_event from(const told &now, const Call &) {
        aio_watch_event native{};
        native.size = sizeof native;
        if (aio_ctx_current_event(now.ctx, &native) != 0)
            return {static_cast<uint32_t>(now.result), 0, {}};
        return {native.mask, native.cookie, std::string(native.name, native.name_len)};
    }
};

inline aio_op_id submit_watch(aio_ctx *ctx, const std::string *path, uint32_t mask,
                              const aio_submit_options *options, aio_callback callback,
                              void *user_data) noexcept {
    return aio_submit_watch(ctx, path->c_str(), mask, options, callback, user_data);
}

} // namespace detail

/// Watches a file or directory from the first next() on: each item is a watch_event. `mask`:
/// IN_MODIFY and the like, with IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK.
inline auto watch(context &ctx, std::string path, uint32_t mask) {
    return detail::repeats<detail::gives_watch_event, &detail::submit_watch>(
        ctx, detail::by_address<std::string>{std::move(path)}, mask);
}

} // namespace aio
