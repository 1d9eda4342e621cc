// What an operation may be asked for in addition: options, and a stop token of somebody else's. An
// operation that is asked for nothing carries nothing.
#pragma once

#include <aio/context.hpp>

#include <chrono>
#include <optional>
#include <type_traits>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace aio::detail {

/// An operation without options costs nothing for them.
struct no_options {};

struct set_options {
    aio_submit_options native{};
    std::optional<std::chrono::steady_clock::time_point> deadline; // of to_time

    set_options() noexcept { native.size = sizeof native; }
    set_options(no_options) noexcept : set_options() {}

    /// What the submit call is given.
    aio_submit_options at_submit() const noexcept {
        aio_submit_options options = native;
        if (deadline) {
            // A deadline that has passed is still one: the shortest there is.
            const uint64_t left = std::max<uint64_t>(ns_until(*deadline), 1);
            options.timeout_ns = shorter_timeout(native.timeout_ns, left);
        }
        return options;
    }
};

struct no_token {};

/// The callback object of a stop token: std's, or the token's own as P2300 has it.
template <class Token, class F> struct stop_callback_of;
template <class Token, class F>
    requires requires { typename Token::template callback_type<F>; }
struct stop_callback_of<Token, F> {
    using type = typename Token::template callback_type<F>;
};
#if defined(__cpp_lib_jthread)
template <class F> struct stop_callback_of<std::stop_token, F> {
    using type = std::stop_callback<F>;
};
#endif

/// The callback of a token, while the operation is in flight. It stays behind when that is moved.
template <class Token> class token_watch {
  public:
    token_watch() noexcept = default;
    token_watch(token_watch &&) noexcept {}

    void begin(const Token &token, aio_ctx *ctx, aio_op_id id) noexcept {
        callback_.emplace(token, canceller{ctx, id});
    }
    void end() noexcept { callback_.reset(); }

  private:
    struct canceller {
        aio_ctx *ctx;
        aio_op_id id;
        // From any thread; an operation that has ended is not there any more.
        void operator()() const noexcept { aio_ctx_cancel(ctx, id); }
    };
    std::optional<typename stop_callback_of<Token, canceller>::type> callback_;
};
template <> class token_watch<no_token> {
  public:
    void begin(no_token, aio_ctx *, aio_op_id) const noexcept {}
    void end() const noexcept {}
};

} // namespace aio::detail
