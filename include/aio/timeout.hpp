// One thing within a time, until somebody stops it, or again and again: with_timeout,
// with_deadline, with_stop, retry; and time_limit, which several things share.
//
//     auto page = co_await aio::with_timeout(fetch(ctx, url), 5s);
//     auto mail = co_await aio::retry(ctx, [&] { return deliver(ctx, text); }, {.attempts = 5});
//
//     const aio::time_limit limit = 30s;              // for the question and the answer together
//     co_await aio::write_all(stream, question, limit);
//     auto answer = co_await aio::read_until(stream, buffer, "\n", 1000, limit);
//
// For a single operation .timeout(5s) is cheaper. As all that combines, these are structured: what
// is inside is asked to stop, and waited for; a stop from outside is passed on.
#pragma once

#include <aio/detail/alarm.hpp>
#include <aio/operation.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

namespace aio {

/// When something of several steps must have ended: so long after this was made, at a time, or
/// never. Functions that take one end with errc::deadline then.
class time_limit {
  public:
    using clock = std::chrono::steady_clock;

    /// No limit.
    constexpr time_limit() noexcept = default;
    /// From now on.
    template <class Rep, class Period>
    time_limit(std::chrono::duration<Rep, Period> duration) noexcept
        : time_(from_now(detail::to_ns(duration))) {}
    template <class Duration>
    time_limit(std::chrono::time_point<clock, Duration> time) noexcept
        : time_(detail::to_time(time)) {}

    explicit operator bool() const noexcept { return time_ != clock::time_point::max(); }
    clock::time_point time() const noexcept { return time_; }
    bool has_passed() const noexcept { return *this && time_ <= clock::now(); }
    /// As aio_submit_options has it: 0 is no limit.
    uint64_t timeout_ns() const noexcept {
        return *this ? std::max<uint64_t>(1, detail::ns_until(time_)) : 0;
    }
    friend bool operator==(const time_limit &, const time_limit &) = default;

  private:
    static clock::time_point from_now(uint64_t ns) noexcept {
        if (ns == detail::for_ever_ns)
            return clock::time_point::max();
        return clock::now() + std::chrono::nanoseconds(ns);
    }

    clock::time_point time_ = clock::time_point::max();
};

namespace detail {

template <class T> struct timed {
    using type = result<T>;
};
template <class T> struct timed<result<T>> {
    using type = result<T>;
};
/// result<T> of what gives a T or a result<T>.
template <class Awaitable>
using timed_t = typename timed<std::remove_cvref_t<await_result_t<Awaitable>>>::type;

inline void stop_group(void *group) noexcept { static_cast<strand_group *>(group)->request_stop(); }

#if AIO_DETAIL_EXCEPTIONS
/// Whether the exception that is being handled says no more than that something was cancelled.
inline bool is_about_cancellation() noexcept {
    try {
        throw;
    } catch (const std::system_error &error) {
        return is_cancelled(error.code());
    } catch (...) {
        return false;
    }
}
#endif

} // namespace detail

/// Awaits it for so long. Then everything in it is asked to stop, and waited for; if it ends with a
/// cancellation then, or an exception about one, the result is errc::deadline. What it gives all
/// the same is kept, and so are other errors and exceptions: a task of nothing that was stopped,
/// and says so to nobody, has given something, and so has a when_all of results.
template <awaitable Awaitable, class Rep, class Period>
auto with_timeout(Awaitable awaitable, std::chrono::duration<Rep, Period> duration)
    -> task<detail::timed_t<Awaitable>> {
    using T = await_result_t<Awaitable>;
    detail::outcome<T> outcome;
    detail::strand_group group(detail::home_of(co_await this_strand()));
    group.start(std::move(awaitable), outcome);
    bool is_late = false;
    if (group.size() != 0) {
        aio_ctx *ctx = group.where() != nullptr ? group.where()->ctx : aio_ctx_current();
        detail::alarm alarm(ctx, detail::to_ns(duration), &detail::stop_group, &group);
        co_await group.join();
        is_late = alarm.has_fired();
    }
#if AIO_DETAIL_EXCEPTIONS
    try {
#endif
        if constexpr (std::is_void_v<T>) {
            outcome.take();
            co_return result<void>();
        } else if constexpr (detail::is_result<std::remove_cvref_t<T>>) {
            T ended = outcome.take();
            if (!ended && is_late && is_cancelled(ended.error()))
                co_return unexpected(errc::deadline);
            co_return ended;
        } else {
            co_return detail::timed_t<Awaitable>(std::in_place, outcome.take());
        }
#if AIO_DETAIL_EXCEPTIONS
    } catch (...) {
        if (!is_late || !detail::is_about_cancellation())
            throw;
    }
    co_return unexpected(errc::deadline);
#endif
}

/// The same until a time.
template <awaitable Awaitable, class Duration>
auto with_deadline(Awaitable awaitable,
                   std::chrono::time_point<std::chrono::steady_clock, Duration> time)
    -> task<detail::timed_t<Awaitable>> {
    return with_timeout(std::move(awaitable),
                        std::chrono::nanoseconds(detail::ns_until(detail::to_time(time))));
}

namespace detail {

template <class T>
concept has_timeout = requires(T step) { std::move(step).timeout(std::chrono::nanoseconds(1)); };

/// One step of something that has a limit: an operation with a timeout, which may have a shorter
/// one of its own.
template <has_timeout Operation> auto within(Operation step, time_limit limit) noexcept {
    return std::move(step).with([limit](aio_submit_options &options) {
        options.timeout_ns = shorter_timeout(options.timeout_ns, limit.timeout_ns());
    });
}

/// A step that is something else.
template <awaitable Awaitable>
    requires(!has_timeout<Awaitable> && is_result<std::remove_cvref_t<await_result_t<Awaitable>>>)
auto within(Awaitable step, time_limit limit) -> task<timed_t<Awaitable>> {
    if (!limit)
        co_return co_await std::move(step);
    co_return co_await with_deadline(std::move(step), limit.time());
}

} // namespace detail

namespace detail {

/// Has a function called on the context's thread when a token is stopped, by any thread: that
/// cancels a timer which never fires otherwise.
template <class Token> class token_alarm {
  public:
    token_alarm(const Token &token, aio_ctx *ctx, alarm::function call, void *arg) noexcept
        : alarm_(ctx, to_ns(std::chrono::hours::max()), call, arg) {
        watch_.begin(token, ctx, alarm_.id());
    }

  private:
    alarm alarm_;
    token_watch<Token> watch_;
};

} // namespace detail

/// Awaits it, and asks everything in it to stop when a token of another thread or library is
/// stopped: std::stop_token, or one with callback_type as P2300 has it.
template <awaitable Awaitable, class Token>
auto with_stop(Awaitable awaitable, Token token) -> task<await_result_t<Awaitable>> {
    detail::outcome<await_result_t<Awaitable>> outcome;
    detail::strand_group group(detail::home_of(co_await this_strand()));
    group.start(std::move(awaitable), outcome);
    if (group.size() != 0) {
        aio_ctx *ctx = group.where() != nullptr ? group.where()->ctx : aio_ctx_current();
        const detail::token_alarm<Token> alarm(token, ctx, &detail::stop_group, &group);
        co_await group.join();
    }
    co_return outcome.take();
}

/// How often retry tries, and how long it waits in between.
struct retry_options {
    unsigned attempts = 3;
    std::chrono::nanoseconds delay = std::chrono::milliseconds(100); ///< After the first failure.
    double factor = 2;                                               ///< Of each delay to the last.
    std::chrono::nanoseconds delay_max = std::chrono::seconds(10);
    /// Which errors are worth another attempt; null: all but cancellations.
    bool (*is_worth)(const std::error_code &) = nullptr;
};

/// Calls `make` and awaits what it returns, a result, until that is a success or the attempts are
/// used up: then the last error. An exception ends it at once.
template <class Make>
    requires(detail::is_result<std::remove_cvref_t<await_result_t<std::invoke_result_t<Make &>>>>)
auto retry(context &ctx, Make make, retry_options options = {})
    -> task<std::remove_cvref_t<await_result_t<std::invoke_result_t<Make &>>>> {
    std::chrono::duration<double, std::nano> delay = options.delay;
    for (unsigned attempt = 1;; attempt++) {
        auto ended = co_await std::invoke(make);
        if (ended || attempt >= options.attempts || is_cancelled(ended.error()) ||
            (options.is_worth != nullptr && !options.is_worth(ended.error())))
            co_return ended;
        const auto pause = std::min<decltype(delay)>(delay, options.delay_max);
        const auto slept = co_await detail::submits<detail::gives_nothing, &aio_submit_timer>(
            ctx, detail::to_ns(pause));
        if (!slept)
            co_return unexpected(slept.error());
        delay *= options.factor;
    }
}

} // namespace aio
