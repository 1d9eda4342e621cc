// The call of a submit function, kept until it is made: the function and its arguments but for the
// last three, which are the same everywhere.
#pragma once

#include <aio/descriptor.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

namespace aio::detail {

/// An argument that the C function takes the address of, kept by value until the submit.
template <class T> struct by_address {
    T value;
};

/// An argument that is always the same, which is not kept.
template <auto Value> struct always {};

/// A submit function and its arguments but for the last three. A file_ref among them stands for its
/// number, and asks for AIO_SUBMIT_FIXED_FILE if it is a slot's.
template <auto Function, class... Args> class call {
  public:
    explicit call(Args... args) noexcept : args_(std::move(args)...) {}

    aio_op_id operator()(aio_ctx *ctx, const aio_submit_options *options, aio_callback callback,
                         void *user_data) const noexcept {
        return std::apply(
            [&](const auto &...args) {
                return Function(ctx, plain(args)..., options, callback, user_data);
            },
            args_);
    }

    constexpr bool is_on_slot() const noexcept {
        if constexpr ((std::is_same_v<Args, file_ref> || ...))
            return std::get<file_ref>(args_).is_slot();
        else
            return false;
    }

    /// The argument of a type.
    template <class T> const T &argument() const noexcept { return std::get<T>(args_); }

  private:
    template <class T> static const T &plain(const T &value) noexcept { return value; }
    static int plain(const file_ref &file) noexcept { return file.number(); }
    template <auto Value> static auto plain(const always<Value> &) noexcept { return Value; }
    template <class T> static const T *plain(const by_address<T> &kept) noexcept {
        return &kept.value;
    }

    [[no_unique_address]] std::tuple<Args...> args_;
};

} // namespace aio::detail
