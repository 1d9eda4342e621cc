// result<T>: a value or a std::error_code, with the interface of std::expected.
//
// Not std::expected itself, also where the library has that: a program's units may be compiled in
// different standards and must agree on the type, and value() here throws std::system_error, which
// says what happened. Without exceptions value() of an error prints it and aborts. A result
// converts to std::expected where there is one.
//
// value() and * of a temporary give the value itself, not a reference into what is about to die:
// `for (const aio::endpoint &each : (co_await aio::resolve(...)).value())` is fine.
#pragma once

#include <aio/error.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <version>

#if defined(__cpp_lib_expected)
#include <expected>
#endif

namespace aio {

/// An error on its way into a result: `return aio::unexpected(error);`
class unexpected {
  public:
    explicit unexpected(std::error_code error) noexcept : error_(error) {}
    explicit unexpected(errc code) noexcept : error_(code) {}
    explicit unexpected(std::errc code) noexcept : error_(static_cast<int>(code), category()) {}
    /// From a negative status of the C interface.
    static unexpected from_status(int32_t status, uint32_t flags = 0) noexcept {
        return unexpected(make_error(status, flags));
    }
    const std::error_code &error() const noexcept { return error_; }
    friend bool operator==(const unexpected &, const unexpected &) = default;

  private:
    std::error_code error_;
};

template <class T> class result;

namespace detail {

template <class T> inline constexpr bool is_result = false;
template <class T> inline constexpr bool is_result<result<T>> = true;

/// What and_then and or_else call must give a result.
template <class R> constexpr void expect_result() {
    static_assert(is_result<std::remove_cvref_t<R>>,
                  "aio: the function given to and_then or or_else must return an aio::result");
}

/// The result of transform: of what the function returns, or of nothing.
template <class F, class... Args> auto transformed(F &&f, Args &&...args) {
    using R = std::remove_cv_t<std::invoke_result_t<F, Args...>>;
    if constexpr (std::is_void_v<R>) {
        std::invoke(std::forward<F>(f), std::forward<Args>(args)...);
        return result<R>();
    } else {
        return result<R>(std::in_place,
                         std::invoke(std::forward<F>(f), std::forward<Args>(args)...));
    }
}

} // namespace detail

/// A value of type T, or why there is none.
template <class T> class [[nodiscard]] result {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>, "aio: a result is of an object");
    static constexpr bool is_trivial = std::is_trivially_copyable_v<T>;

  public:
    using value_type = T;
    using error_type = std::error_code;
    using unexpected_type = unexpected;
    template <class U> using rebind = result<U>;

    result() noexcept(std::is_nothrow_default_constructible_v<T>)
        requires std::is_default_constructible_v<T>
        : value_(), has_value_(true) {}
    result(unexpected error) noexcept : error_(error.error()), has_value_(false) {}
    template <class U = T>
        requires(std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, result> &&
                 !std::is_same_v<std::remove_cvref_t<U>, unexpected> &&
                 !std::is_same_v<std::remove_cvref_t<U>, std::in_place_t>)
    explicit(!std::is_convertible_v<U, T>) result(U &&value)
        : value_(std::forward<U>(value)), has_value_(true) {}
    template <class... Args>
        requires std::is_constructible_v<T, Args...>
    explicit result(std::in_place_t, Args &&...args)
        : value_(std::forward<Args>(args)...), has_value_(true) {}

    result(const result &)
        requires is_trivial
    = default;
    result(result &&)
        requires is_trivial
    = default;
    result &operator=(const result &)
        requires is_trivial
    = default;
    result &operator=(result &&)
        requires is_trivial
    = default;
    ~result()
        requires std::is_trivially_destructible_v<T>
    = default;

    result(const result &other)
        requires(!is_trivial && std::is_copy_constructible_v<T>)
        : has_value_(other.has_value_) {
        take(other);
    }
    result(result &&other) noexcept(std::is_nothrow_move_constructible_v<T>)
        requires(!is_trivial)
        : has_value_(other.has_value_) {
        take(std::move(other));
    }
    result &operator=(const result &other)
        requires(!is_trivial && std::is_copy_constructible_v<T>)
    {
        return *this = result(other);
    }
    result &operator=(result &&other) noexcept(std::is_nothrow_move_constructible_v<T>)
        requires(!is_trivial)
    {
        if (this != &other) {
            reset();
            has_value_ = false;
            std::construct_at(std::addressof(error_));
            if (other.has_value_) {
                std::construct_at(std::addressof(value_), std::move(other.value_));
                has_value_ = true;
            } else {
                error_ = other.error_;
            }
        }
        return *this;
    }
    ~result()
        requires(!std::is_trivially_destructible_v<T>)
    {
        reset();
    }

    bool has_value() const noexcept { return has_value_; }
    explicit operator bool() const noexcept { return has_value_; }

    /// The value; throws std::system_error if there is none.
    T &value() & { return check(), value_; }
    const T &value() const & { return check(), value_; }
    T value() && { return check(), std::move(value_); }

    /// The value, which there must be.
    T &operator*() & noexcept { return expect(), value_; }
    const T &operator*() const & noexcept { return expect(), value_; }
    T operator*() && noexcept(std::is_nothrow_move_constructible_v<T>) {
        return expect(), std::move(value_);
    }
    T *operator->() noexcept { return expect(), std::addressof(value_); }
    const T *operator->() const noexcept { return expect(), std::addressof(value_); }

    /// Why there is no value; no error where there is one.
    std::error_code error() const noexcept { return has_value_ ? std::error_code() : error_; }

    template <class U> T value_or(U &&other) const & {
        return has_value_ ? value_ : static_cast<T>(std::forward<U>(other));
    }
    template <class U> T value_or(U &&other) && {
        return has_value_ ? std::move(value_) : static_cast<T>(std::forward<U>(other));
    }

    template <class... Args> T &emplace(Args &&...args) {
        return *(*this = result(std::in_place, std::forward<Args>(args)...));
    }
    void swap(result &other) noexcept(std::is_nothrow_move_constructible_v<T>) {
        std::swap(*this, other);
    }

    /// f(value), which returns a result; or the error.
    template <class F> auto and_then(F &&f) & { return then(*this, std::forward<F>(f)); }
    template <class F> auto and_then(F &&f) const & { return then(*this, std::forward<F>(f)); }
    template <class F> auto and_then(F &&f) && {
        return then(std::move(*this), std::forward<F>(f));
    }

    /// A result of f(value); or the error.
    template <class F> auto transform(F &&f) & { return map(*this, std::forward<F>(f)); }
    template <class F> auto transform(F &&f) const & { return map(*this, std::forward<F>(f)); }
    template <class F> auto transform(F &&f) && {
        return map(std::move(*this), std::forward<F>(f));
    }

    /// The value; or f(error), which returns a result of the same type.
    template <class F> result or_else(F &&f) const & {
        detail::expect_result<std::invoke_result_t<F, std::error_code>>();
        return has_value_ ? *this : std::invoke(std::forward<F>(f), error_);
    }
    template <class F> result or_else(F &&f) && {
        detail::expect_result<std::invoke_result_t<F, std::error_code>>();
        return has_value_ ? std::move(*this) : std::invoke(std::forward<F>(f), error_);
    }

    /// The value; or another error, f(error).
    template <class F> result transform_error(F &&f) && {
        return has_value_ ? std::move(*this)
                          : result(unexpected(std::invoke(std::forward<F>(f), error_)));
    }
    template <class F> result transform_error(F &&f) const & {
        return result(*this).transform_error(std::forward<F>(f));
    }

    friend bool operator==(const result &a, const result &b)
        requires requires(const T &x) { x == x; }
    {
        return a.has_value_ == b.has_value_ &&
               (a.has_value_ ? a.value_ == b.value_ : a.error_ == b.error_);
    }
    // Deduced, as what converts to a result must not be tried: whether a T equals a U would depend
    // on itself, as soon as an iterator of results is compared.
    template <std::same_as<T> V, class U>
        requires(!detail::is_result<U> && requires(const V &x, const U &y) { x == y; })
    friend bool operator==(const result<V> &a, const U &b) {
        return a.has_value_ && a.value_ == b;
    }
    friend bool operator==(const result &a, const unexpected &b) {
        return !a.has_value_ && a.error_ == b.error();
    }

#if defined(__cpp_lib_expected)
    operator std::expected<T, std::error_code>() && {
        if (has_value_)
            return std::move(value_);
        return std::unexpected(error_);
    }
#endif

  private:
    void expect() const noexcept {
        AIO_DETAIL_EXPECTS(has_value_, "aio: the value of a result that is an error");
    }
    void check() const {
        if (!has_value_) [[unlikely]]
            no_value();
    }
    // Given this object, which a coroutine has in its frame: a code of its own would be made on the
    // stack, for which every resumption would make room.
    [[noreturn, gnu::cold, gnu::noinline]] void no_value() const {
        detail::fail(error_, "result has no value");
    }
    void reset() noexcept {
        if (has_value_)
            std::destroy_at(std::addressof(value_));
    }
    template <class Other> void take(Other &&other) {
        if (has_value_)
            std::construct_at(std::addressof(value_), std::forward<Other>(other).value_);
        else
            std::construct_at(std::addressof(error_), other.error_);
    }
    template <class Self, class F> static auto then(Self &&self, F &&f) {
        using R = std::remove_cvref_t<
            std::invoke_result_t<F, decltype((std::forward<Self>(self).value_))>>;
        detail::expect_result<R>();
        if (self.has_value_)
            return R(std::invoke(std::forward<F>(f), std::forward<Self>(self).value_));
        return R(unexpected(self.error_));
    }
    template <class Self, class F> static auto map(Self &&self, F &&f) {
        using R =
            decltype(detail::transformed(std::forward<F>(f), std::forward<Self>(self).value_));
        if (self.has_value_)
            return detail::transformed(std::forward<F>(f), std::forward<Self>(self).value_);
        return R(unexpected(self.error_));
    }

    union {
        T value_;
        std::error_code error_;
    };
    bool has_value_;
};

/// Success, or why not.
template <> class [[nodiscard]] result<void> {
  public:
    using value_type = void;
    using error_type = std::error_code;
    using unexpected_type = unexpected;
    template <class U> using rebind = result<U>;

    result() noexcept : has_value_(true) {}
    explicit result(std::in_place_t) noexcept : result() {}
    result(unexpected error) noexcept : error_(error.error()), has_value_(false) {}

    bool has_value() const noexcept { return has_value_; }
    explicit operator bool() const noexcept { return has_value_; }
    /// Throws std::system_error of an error.
    void value() const {
        if (!has_value_) [[unlikely]]
            failed();
    }
    void operator*() const noexcept {}
    std::error_code error() const noexcept { return has_value_ ? std::error_code() : error_; }
    void emplace() noexcept { *this = result(); }

    template <class F> auto and_then(F &&f) const {
        using R = std::remove_cvref_t<std::invoke_result_t<F>>;
        detail::expect_result<R>();
        return has_value_ ? R(std::invoke(std::forward<F>(f))) : R(unexpected(error_));
    }
    template <class F> auto transform(F &&f) const {
        using R = decltype(detail::transformed(std::forward<F>(f)));
        return has_value_ ? detail::transformed(std::forward<F>(f)) : R(unexpected(error_));
    }
    template <class F> result or_else(F &&f) const {
        detail::expect_result<std::invoke_result_t<F, std::error_code>>();
        return has_value_ ? *this : std::invoke(std::forward<F>(f), error_);
    }
    template <class F> result transform_error(F &&f) const {
        return has_value_ ? *this : result(unexpected(std::invoke(std::forward<F>(f), error_)));
    }

    friend bool operator==(const result &a, const result &b) {
        return a.has_value_ == b.has_value_ && (a.has_value_ || a.error_ == b.error_);
    }
    friend bool operator==(const result &a, const unexpected &b) {
        return !a.has_value_ && a.error_ == b.error();
    }

#if defined(__cpp_lib_expected)
    operator std::expected<void, std::error_code>() const {
        if (has_value_)
            return {};
        return std::unexpected(error_);
    }
#endif

  private:
    [[noreturn, gnu::cold, gnu::noinline]] void failed() const {
        detail::fail(error_, "operation failed");
    }

    // A default error_code would be a call into the library for each success.
    union {
        char none_;
        std::error_code error_;
    };
    bool has_value_;
};

} // namespace aio
