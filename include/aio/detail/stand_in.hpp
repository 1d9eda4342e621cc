// What awaits without being a coroutine: two words that stand where GCC and Clang have the head of
// a coroutine's frame, and a promise behind them, which knows its strand. So whatever can be
// awaited can be waited for by an object, without memory, and is ended by that object's destructor
// as it is by a coroutine's.
#pragma once

#include <aio/suspension.hpp>

#include <coroutine>
#include <cstddef>
#include <type_traits>

namespace aio::detail {

/// The frame of no coroutine. `resumed` is called when what it awaits has ended.
class stand_in {
  public:
    struct promise_type : strand {
        using strand::strand;
        strand *aio_strand() const noexcept { return const_cast<promise_type *>(this); }
    };

  protected:
    using resumed_function = void (*)(void *frame) noexcept;

    stand_in(home *home, resumed_function resumed) noexcept
        : frame_{unseen(resumed), unseen(resumed), promise_type(home)} {}
    stand_in(const stand_in &) = delete;
    stand_in &operator=(const stand_in &) = delete;
    ~stand_in() = default;

    std::coroutine_handle<promise_type> handle() noexcept {
        return std::coroutine_handle<promise_type>::from_address(&frame_);
    }
    strand &own_strand() noexcept { return frame_.promise; }
    /// What `resumed` was called for.
    static stand_in *of(void *frame) noexcept {
        return reinterpret_cast<stand_in *>(frame); // its first member
    }

  private:
    struct frame {
        resumed_function resume;
        resumed_function destroy; // nobody calls it
        promise_type promise;
    };
    static_assert(offsetof(frame, promise) == 2 * sizeof(void *) && alignof(frame) <= 16,
                  "where compilers look for the promise");

    frame frame_;
};

/// Begins to await, as co_await does; true if it has ended already. Else the frame may be resumed,
/// and its owner gone, when this returns.
template <class Awaiter, class Promise>
bool await_now(Awaiter &awaiter, std::coroutine_handle<Promise> handle) {
    if (awaiter.await_ready())
        return true;
    using returned = decltype(awaiter.await_suspend(handle));
    if constexpr (std::is_void_v<returned>) {
        awaiter.await_suspend(handle);
        return false;
    } else if constexpr (std::is_same_v<returned, bool>) {
        return !awaiter.await_suspend(handle);
    } else {
        resume(awaiter.await_suspend(handle));
        return false;
    }
}

} // namespace aio::detail
