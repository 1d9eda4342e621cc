// An operation whose result is made into something else when the coroutine goes on, such as a value
// that another thread has left, or its exception again.
#pragma once

#include <aio/operation.hpp>

#include <utility>

namespace aio::detail {

/// An operation and `Then`, which makes what `co_await` gives of the operation's result, and may
/// own what the operation refers to: it dies after it.
template <class Operation, class Then>
class [[nodiscard("aio: an operation runs only when it is awaited")]] adapted {
  public:
    adapted(Operation operation, Then then)
        : then_(std::move(then)), operation_(std::move(operation)) {}

    // ---- options: as those of operation ----

    template <class Rep, class Period>
    auto timeout(std::chrono::duration<Rep, Period> duration) && {
        return again(std::move(operation_).timeout(duration));
    }
    template <class Duration>
    auto deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> time) && {
        return again(std::move(operation_).deadline(time));
    }
    template <class Stop> auto cancel_on(Stop token) && {
        return again(std::move(operation_).cancel_on(std::move(token)));
    }
    auto keep_result() && { return again(std::move(operation_).keep_result()); }
    auto group(uint64_t group) && { return again(std::move(operation_).group(group)); }
    template <class F> auto with(F change) && {
        return again(std::move(operation_).with(std::move(change)));
    }

    // ---- awaiting ----

    bool await_ready() const noexcept { return false; }
    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        return operation_.await_suspend(handle);
    }
    auto await_resume() { return then_(operation_.await_resume()); }

  private:
    template <class Other> adapted<Other, Then> again(Other &&operation) {
        return {std::move(operation), std::move(then_)};
    }

    Then then_;
    Operation operation_;
};

template <class Operation, class Then> adapted(Operation, Then) -> adapted<Operation, Then>;

} // namespace aio::detail
