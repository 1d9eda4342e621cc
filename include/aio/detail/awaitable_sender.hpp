// Awaitables as senders of P2300: how one is connected to a receiver, started, stopped and told of.
//
// `V` is the vocabulary: whose set_value_t, get_stop_token_t and so on are spoken (execution.hpp).
#pragma once

#include <aio/detail/alarm.hpp>
#include <aio/detail/stand_in.hpp>
#include <aio/stop_token.hpp>
#include <aio/timeout.hpp>

#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace aio::detail {

struct no_environment {};

/// The environment of a receiver or sender.
template <class T> decltype(auto) environment_of(const T &of) noexcept {
    if constexpr (requires { of.get_env(); })
        return of.get_env();
    else
        return no_environment();
}

/// The stop token of a receiver; one that never stops if it has none.
template <class V, class Receiver> auto stop_token_of(const Receiver &receiver) noexcept {
    if constexpr (requires { environment_of(receiver).query(typename V::get_stop_token_t()); })
        return environment_of(receiver).query(typename V::get_stop_token_t());
    else
        return never_stop_token();
}

template <class Token>
concept stoppable = !requires { requires !Token::stop_possible(); };

/// Whether anything of awaiting it may throw.
template <class Awaitable>
inline constexpr bool may_throw = [] {
    using awaiter = decltype(get_awaiter(std::declval<Awaitable>()));
    using handle = std::coroutine_handle<stand_in::promise_type>;
    return AIO_DETAIL_EXCEPTIONS && !(noexcept(std::declval<awaiter &>().await_ready()) &&
                                      noexcept(std::declval<awaiter &>().await_suspend(handle())) &&
                                      noexcept(std::declval<awaiter &>().await_resume()));
}();

/// An operation, which can watch a token itself.
template <class T> inline constexpr bool takes_token = false;
template <class Gives, class Call, class Options>
inline constexpr bool takes_token<operation<Gives, Call, Options, no_token>> = true;

/// What is awaited, on behalf of a receiver. Not movable. On the context's thread, from the start
/// to the end; destroyed in between, it ends what is awaited.
template <class V, class Awaitable, class Receiver, bool WatchesToken>
class awaitable_state final : stand_in {
    using token_type = decltype(stop_token_of<V>(std::declval<const Receiver &>()));
    using awaiter_type = decltype(get_awaiter(std::declval<Awaitable>()));
    using given_type = await_result_t<Awaitable>;

  public:
    using operation_state_concept = typename V::operation_state_t;

    awaitable_state(home *home, Awaitable &&awaitable, Receiver &&receiver)
        : stand_in(home, &awaitable_state::resumed), ctx_(home->ctx),
          receiver_(std::move(receiver)), awaitable_(std::move(awaitable)),
          awaiter_(get_awaiter(std::move(awaitable_))) {}

    void start() & noexcept {
        if constexpr (stoppable<token_type>) {
            const token_type token = stop_token_of<V>(receiver_);
            if (token.stop_requested())
                own_strand().request_stop();
            else if constexpr (WatchesToken) {
                if (token.stop_possible())
                    watch_.emplace(token, ctx_, &awaitable_state::stop, this);
            }
        }
#if AIO_DETAIL_EXCEPTIONS
        try {
#endif
            if (await_now(awaiter_, handle()))
                end();
#if AIO_DETAIL_EXCEPTIONS
        } catch (...) {
            fail();
        }
#endif
    }

  private:
    static void stop(void *of) noexcept {
        static_cast<awaitable_state *>(of)->own_strand().request_stop();
    }
    struct no_stop {
        void reset() const noexcept {}
    };

    static void resumed(void *frame) noexcept {
        static_cast<awaitable_state *>(stand_in::of(frame))->end();
    }

    /// Tells the receiver, who may destroy this.
    void end() noexcept {
        watch_.reset();
#if AIO_DETAIL_EXCEPTIONS
        try {
#endif
            if constexpr (std::is_void_v<given_type>) {
                awaiter_.await_resume();
                tell();
            } else {
                tell(awaiter_.await_resume());
            }
#if AIO_DETAIL_EXCEPTIONS
        } catch (...) {
            fail();
        }
#endif
    }

    void tell() noexcept { std::move(receiver_).set_value(); }
    template <class T> void tell(T &&given) noexcept {
        if constexpr (!is_result<std::remove_cvref_t<T>>)
            std::move(receiver_).set_value(std::forward<T>(given));
        else if (given)
            give(std::forward<T>(given));
        else if (is_cancelled(given.error()))
            std::move(receiver_).set_stopped();
        else
            std::move(receiver_).set_error(given.error());
    }
    template <class T> void give(T &&given) noexcept {
        if constexpr (std::is_void_v<typename std::remove_cvref_t<T>::value_type>)
            std::move(receiver_).set_value();
        else
            std::move(receiver_).set_value(*std::forward<T>(given));
    }

#if AIO_DETAIL_EXCEPTIONS
    void fail() noexcept {
        watch_.reset();
        if constexpr (may_throw<Awaitable>) {
            std::exception_ptr why = std::current_exception();
            if (is_about_cancellation())
                std::move(receiver_).set_stopped();
            else
                std::move(receiver_).set_error(std::move(why));
        }
    }
#endif

    aio_ctx *ctx_;
    Receiver receiver_;
    Awaitable awaitable_;
    awaiter_type awaiter_;
    std::conditional_t<WatchesToken, std::optional<token_alarm<token_type>>, no_stop> watch_;
};

/// What awaiting something may end with, in the words of `V`.
template <class V, class T> struct value_end {
    using type = typename V::set_value_t(T);
};
template <class V> struct value_end<V, void> {
    using type = typename V::set_value_t();
};
template <class V, class T, bool Throws> struct ends {
    using type = typename V::template completion_signatures<typename value_end<V, T>::type,
                                                            typename V::set_stopped_t()>;
};
template <class V, class T> struct ends<V, T, true> {
    using type =
        typename V::template completion_signatures<typename value_end<V, T>::type,
                                                   typename V::set_error_t(std::exception_ptr),
                                                   typename V::set_stopped_t()>;
};
template <class V, class T> struct ends<V, result<T>, false> {
    using type =
        typename V::template completion_signatures<typename value_end<V, T>::type,
                                                   typename V::set_error_t(std::error_code),
                                                   typename V::set_stopped_t()>;
};
template <class V, class T> struct ends<V, result<T>, true> {
    using type = typename V::template completion_signatures<
        typename value_end<V, T>::type, typename V::set_error_t(std::error_code),
        typename V::set_error_t(std::exception_ptr), typename V::set_stopped_t()>;
};

} // namespace aio::detail
