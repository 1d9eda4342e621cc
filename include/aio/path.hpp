// Paths: attributes, names, directories, links.
#pragma once

#include <aio/bytes.hpp>
#include <aio/operation.hpp>

#include <fcntl.h>
#include <sys/stat.h>

namespace aio {

/// Reads a file's attributes.
inline auto statx(context &ctx, int dirfd, path_ref path, int flags, uint32_t mask,
                  struct statx &out) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_statx>(ctx, dirfd, path.c_str(),
                                                                     flags, mask, &out);
}

/// Removes a name. `flags`: 0 or AT_REMOVEDIR.
inline auto unlinkat(context &ctx, int dirfd, path_ref path, int flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_unlinkat>(ctx, dirfd, path.c_str(),
                                                                        flags);
}

/// Makes a directory.
inline auto mkdirat(context &ctx, int dirfd, path_ref path, uint32_t mode = 0777) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_mkdirat>(ctx, dirfd, path.c_str(),
                                                                       mode);
}

/// Renames a file. `flags`: RENAME_NOREPLACE and so on.
inline auto renameat(context &ctx, int old_dirfd, path_ref old_path, int new_dirfd,
                     path_ref new_path, uint32_t flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_renameat>(
        ctx, old_dirfd, old_path.c_str(), new_dirfd, new_path.c_str(), flags);
}

/// Gives a file another name.
inline auto linkat(context &ctx, int old_dirfd, path_ref old_path, int new_dirfd, path_ref new_path,
                   int flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_linkat>(
        ctx, old_dirfd, old_path.c_str(), new_dirfd, new_path.c_str(), flags);
}

/// Makes a symbolic link.
inline auto symlinkat(context &ctx, path_ref target, int dirfd, path_ref path) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_symlinkat>(ctx, target.c_str(), dirfd,
                                                                         path.c_str());
}

/// Reads an extended attribute; gives the value's size.
inline auto getxattr(context &ctx, path_ref path, path_ref name, mutable_bytes value) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_getxattr>(
        ctx, path.c_str(), name.c_str(), value.data(), value.size());
}

/// Sets an extended attribute.
inline auto setxattr(context &ctx, path_ref path, path_ref name, bytes value,
                     int flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_setxattr>(
        ctx, path.c_str(), name.c_str(), value.data(), value.size(), flags);
}

/// Reads an extended attribute of a descriptor; gives the value's size.
inline auto fgetxattr(context &ctx, file_ref fd, path_ref name, mutable_bytes value) noexcept {
    return detail::submits<detail::gives_count, &aio_submit_fgetxattr>(ctx, fd, name.c_str(),
                                                                       value.data(), value.size());
}

/// Sets an extended attribute of a descriptor.
inline auto fsetxattr(context &ctx, file_ref fd, path_ref name, bytes value,
                      int flags = 0) noexcept {
    return detail::submits<detail::gives_nothing, &aio_submit_fsetxattr>(
        ctx, fd, name.c_str(), value.data(), value.size(), flags);
}

} // namespace aio
