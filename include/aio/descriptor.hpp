// Descriptors: who owns them (descriptor), and how operations are told of them (file_ref).
//
// Both know a slot of the context's table (aio_files_register) from a descriptor of the process, so
// that an operation on a slot needs no option: what AIO_SUBMIT_DIRECT made is used like any other.
#pragma once

#include <aio/context.hpp>

#include <unistd.h>

#include <climits>
#include <string>
#include <utility>

namespace aio {

class descriptor;

/// A descriptor, or a slot, that somebody else owns, as an argument of operations.
class file_ref {
  public:
    constexpr file_ref(int number) noexcept : number_(number) {}
    file_ref(const descriptor &owner) noexcept;
    static constexpr file_ref slot(int number) noexcept { return number + first_slot; }

    constexpr int number() const noexcept { return is_slot() ? number_ - first_slot : number_; }
    constexpr bool is_slot() const noexcept { return number_ < first_slot / 2; }

  private:
    // One word, for operations keep it: slots are numbered from where no descriptor is.
    static constexpr int first_slot = INT_MIN;

    int number_;
};

/// Owns a descriptor or slot of a context: what operations that make one give.
///
/// Its destructor closes as aio_submit_close does: what is in flight on the number ends first with
/// std::errc::operation_canceled, and nobody waits for it. To learn how the close went, await
/// `aio::close(ctx, std::move(it))`.
class [[nodiscard]] descriptor {
  public:
    descriptor() noexcept = default;
    descriptor(context &ctx, file_ref file) noexcept : descriptor(ctx.native(), file) {}
    descriptor(aio_ctx *ctx, file_ref file) noexcept : ctx_(ctx), file_(file) {}
    descriptor(descriptor &&other) noexcept
        : ctx_(other.ctx_), file_(std::exchange(other.file_, none)) {}
    descriptor &operator=(descriptor &&other) noexcept {
        if (this != &other) {
            reset();
            ctx_ = other.ctx_;
            file_ = std::exchange(other.file_, none);
        }
        return *this;
    }
    ~descriptor() { reset(); }

    /// The descriptor's number, or the slot's; -1 if there is none.
    int number() const noexcept { return file_.number(); }
    bool is_slot() const noexcept { return file_.is_slot(); }
    explicit operator bool() const noexcept { return number() >= 0; }

    /// Gives it up: the caller closes it.
    int release() noexcept { return std::exchange(file_, none).number(); }

    /// Closes it.
    void reset() noexcept {
        if (*this)
            close_now();
    }

  private:
    [[gnu::noinline]] void close_now() noexcept {
        const bool is_slot = this->is_slot();
        const int number = release();
        aio_submit_options options{};
        options.size = sizeof options;
        options.flags = is_slot ? AIO_SUBMIT_FIXED_FILE : 0;
        const aio_op_id id = aio_submit_close(
            ctx_, number, &options, [](void *, int32_t, uint32_t) noexcept {}, nullptr);
        // Another thread, or a context that is being destroyed. Its slots go with it.
        if (id < 0 && !is_slot)
            ::close(number);
    }

    friend file_ref;
    static constexpr file_ref none{-1};

    aio_ctx *ctx_ = nullptr;
    file_ref file_ = none;
};

inline file_ref::file_ref(const descriptor &owner) noexcept : file_ref(owner.file_) {}

namespace detail {

/// What a close owns until the engine has it: one that is not awaited, or not begun because its
/// strand was asked to stop, closes all the same.
struct closing {
    mutable descriptor file;
};

// Not inlined: its options would be room on the stack that every resumption of who closes makes.
[[gnu::noinline]] inline aio_op_id submit_closing(aio_ctx *ctx, const closing *owned,
                                                  const aio_submit_options *asked,
                                                  aio_callback callback, void *user_data) noexcept {
    aio_submit_options options{};
    options.size = sizeof options;
    if (asked != nullptr)
        options = *asked;
    if (owned->file.is_slot())
        options.flags |= AIO_SUBMIT_FIXED_FILE;
    const aio_op_id id = aio_submit_close(ctx, owned->file.number(), &options, callback, user_data);
    if (id >= 0)
        static_cast<void>(owned->file.release());
    return id;
}

} // namespace detail

/// A path as an argument of operations: a string, a literal or a std::filesystem::path, which must
/// live until the operation was awaited or started.
class path_ref {
  public:
    path_ref(const char *path) noexcept : path_(path) {}
    template <class Path>
        requires requires(const Path &path) {
            { path.c_str() } -> std::convertible_to<const char *>;
        }
    path_ref(const Path &path) noexcept : path_(path.c_str()) {}
    const char *c_str() const noexcept { return path_; }

  private:
    const char *path_;
};

} // namespace aio
