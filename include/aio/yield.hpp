// yield: lets others go on, for coroutines that compute long.
//
//     while (co_await aio::yield())           // until the strand is asked to stop
//         compute_a_little();
#pragma once

#include <aio/detail/home.hpp>

namespace aio {
namespace detail {

class yield_awaiter final : public queued_suspension {
  public:
    bool await_ready() const noexcept { return false; }
    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        // A stranger's coroutine has no context that would resume it.
        if (strand_access::home_of(strand_of(handle)) == nullptr)
            return false;
        if (!begin(handle, [](suspension &) noexcept {})) {
            goes_on_ = false;
            return false;
        }
        resume_later();
        return true;
    }
    bool await_resume() const noexcept { return goes_on_; }

  private:
    bool goes_on_ = true;
};

struct yields {
    yield_awaiter operator co_await() const noexcept { return {}; }
};

} // namespace detail

/// Goes on in a turn of the context soon, when what is ready now has had its own: true. At once,
/// with false, when the strand was asked to stop.
inline detail::yields yield() noexcept { return {}; }

} // namespace aio
