// Descriptors: who owns them (descriptor), and how operations are told of them (file_ref).
//
// Both know a slot of the context's table (aio_files_register) from a descriptor of the process, so
// that an operation on a slot needs no option: what AIO_SUBMIT_DIRECT made is used like any other.
#pragma once

#include <aio/context.hpp>

#include <unistd.h>

#include <string>
#include <utility>

namespace aio {

class descriptor;

/// A descriptor, or a slot, that somebody else owns, as an argument of operations.
class file_ref {
  public:
    constexpr file_ref(int number) noexcept : number_(number) {}
    file_ref(const descriptor &owner) noexcept;
    static constexpr file_ref slot(int number) noexcept {
        file_ref ref(number);
        ref.is_slot_ = true;
        return ref;
    }

    constexpr int number() const noexcept { return number_; }
    constexpr bool is_slot() const noexcept { return is_slot_; }

  private:
    int number_;
    bool is_slot_ = false;
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
    descriptor(aio_ctx *ctx, file_ref file) noexcept
        : ctx_(ctx), number_(file.number()), is_slot_(file.is_slot()) {}
    descriptor(descriptor &&other) noexcept
        : ctx_(other.ctx_), number_(other.release()), is_slot_(other.is_slot_) {}
    descriptor &operator=(descriptor &&other) noexcept {
        if (this != &other) {
            reset();
            ctx_ = other.ctx_;
            is_slot_ = other.is_slot_;
            number_ = other.release();
        }
        return *this;
    }
    ~descriptor() { reset(); }

    /// The descriptor's number, or the slot's; -1 if there is none.
    int number() const noexcept { return number_; }
    bool is_slot() const noexcept { return is_slot_; }
    explicit operator bool() const noexcept { return number_ >= 0; }

    /// Gives it up: the caller closes it.
    int release() noexcept { return std::exchange(number_, -1); }

    /// Closes it.
    void reset() noexcept {
        if (number_ >= 0)
            close_now();
    }

  private:
    [[gnu::noinline]] void close_now() noexcept {
        aio_submit_options options{};
        options.size = sizeof options;
        options.flags = is_slot_ ? AIO_SUBMIT_FIXED_FILE : 0;
        const int number = release();
        const aio_op_id id = aio_submit_close(
            ctx_, number, &options, [](void *, int32_t, uint32_t) noexcept {}, nullptr);
        // Another thread, or a context that is being destroyed. Its slots go with it.
        if (id < 0 && !is_slot_)
            ::close(number);
    }

    aio_ctx *ctx_ = nullptr;
    int number_ = -1;
    bool is_slot_ = false;
};

inline file_ref::file_ref(const descriptor &owner) noexcept
    : number_(owner.number()), is_slot_(owner.is_slot()) {}

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
