// file: a file that owns its descriptor and has its operations as members.
//
//     auto log = co_await aio::file::open(ctx, "log", O_WRONLY | O_CREAT | O_APPEND, 0644);
//     co_await log->write_all("line\n");
//
// It may be an end of a pipe as well: `aio::file reader(ctx, std::move(ends->reader))`.
#pragma once

#include <aio/fs.hpp>
#include <aio/path.hpp>
#include <aio/space.hpp>
#include <aio/task.hpp>

#include <string>
#include <utility>

namespace aio {

class file {
  public:
    file() noexcept = default;
    file(context &ctx, descriptor owned) noexcept : ctx_(&ctx), owned_(std::move(owned)) {}

    /// Opens a file, close-on-exec. The path is copied.
    static task<result<file>> open(context &ctx, std::string path, int flags, uint32_t mode = 0) {
        auto made = co_await openat(ctx, AT_FDCWD, path, flags, mode);
        if (!made)
            co_return unexpected(made.error());
        co_return file(ctx, std::move(*made));
    }

    auto read(const mutable_bytes &room, uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
        return aio::read(get_context(), owned_, room, offset);
    }
    auto write(const bytes &data, uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
        return aio::write(get_context(), owned_, data, offset);
    }
    auto read_exact(const mutable_bytes &room, uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
        return aio::read_exact(get_context(), owned_, room, offset);
    }
    auto write_all(const bytes &data, uint64_t offset = AIO_OFFSET_CURRENT) noexcept {
        return aio::write_all(get_context(), owned_, data, offset);
    }
    /// At its position, or as a pipe and a terminal have none: what read_exact, write_all and the
    /// others of stream.hpp are made of.
    auto read_some(mutable_bytes room) noexcept { return aio::read(get_context(), owned_, room); }
    auto write_some(bytes data) noexcept { return aio::write(get_context(), owned_, data); }
    auto writev_some(std::span<const iovec> parts) noexcept {
        return aio::writev(get_context(), owned_, parts);
    }
    /// Flushes data and metadata to the device.
    auto sync() noexcept { return aio::fsync(get_context(), owned_); }
    /// Flushes what is needed to read the data again.
    auto sync_data() noexcept { return aio::fsync(get_context(), owned_, AIO_FSYNC_DATASYNC); }
    auto truncate(uint64_t length) noexcept {
        return aio::ftruncate(get_context(), owned_, length);
    }
    auto allocate(uint64_t offset, uint64_t size, int mode = 0) noexcept {
        return aio::fallocate(get_context(), owned_, mode, offset, size);
    }
    /// The file's attributes, into `out`.
    auto stat(struct statx &out, uint32_t mask = STATX_BASIC_STATS) noexcept {
        return aio::statx(get_context(), owned_.number(), "", AT_EMPTY_PATH, mask, out);
    }
    /// Its length.
    task<result<uint64_t>> size() {
        struct statx about{};
        const auto done = co_await stat(about, STATX_SIZE);
        if (!done)
            co_return unexpected(done.error());
        co_return uint64_t{about.stx_size};
    }
    /// Closes, and tells how that went. Without it the destructor closes.
    auto close() noexcept { return aio::close(get_context(), std::move(owned_)); }

    context &get_context() const noexcept {
        AIO_DETAIL_EXPECTS(ctx_ != nullptr, "aio: a file that was made without a context");
        return *ctx_;
    }
    operator file_ref() const noexcept { return owned_; }
    int native() const noexcept { return owned_.number(); }
    explicit operator bool() const noexcept { return static_cast<bool>(owned_); }
    descriptor release() noexcept { return std::move(owned_); }

  private:
    context *ctx_ = nullptr;
    descriptor owned_;
};

} // namespace aio
