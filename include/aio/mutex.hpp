// mutex: one coroutine at a time, across what it awaits.
//
//     auto lock = co_await mutex.lock();      // result<mutex::guard>
//     if (!lock) co_return lock.error();      // the strand was asked to stop
//     co_await aio::write_all(ctx, file, record);
//
// For coroutines of one thread: between two awaits they need no mutex, and other threads are not
// held back. Fair: who waits longest is next, and nobody overtakes. A wait that is cancelled or
// destroyed leaves the queue; a lock that was given to one that is destroyed before it goes on is
// given to the next.
#pragma once

#include <aio/detail/wait_queue.hpp>

namespace aio {

/// See the top of this file. It must outlive its guards; waits that it does not outlive end with
/// errc::closed.
class mutex {
    class lock_awaiter;
    void unlock() noexcept {
        if (queue_.empty())
            is_locked_ = false;
        else
            queue_.grant_first();
    }

  public:
    /// Unlocks when it dies, or before by unlock(). Movable.
    using guard = detail::held<mutex, &mutex::unlock>;

    mutex() noexcept = default;
    mutex(const mutex &) = delete;
    mutex &operator=(const mutex &) = delete;

    /// Waits until it can be locked, and locks it: result<guard>.
    detail::description<lock_awaiter, mutex *> lock() noexcept;
    /// Locks it if it is free: `if (auto lock = mutex.try_lock())`.
    guard try_lock() noexcept { return std::exchange(is_locked_, true) ? guard() : guard(*this); }
    bool is_locked() const noexcept { return is_locked_; }

  private:
    bool is_locked_ = false;
    detail::wait_queue<lock_awaiter> queue_;
};

class mutex::lock_awaiter final : public detail::waiter<lock_awaiter> {
  public:
    explicit lock_awaiter(mutex *of) noexcept : mutex_(of) {}
    ~lock_awaiter() { forget(); }
    result<guard> await_resume() noexcept {
        return ended().transform([this] { return guard(*mutex_); });
    }

  private:
    friend waiter;
    bool enter() noexcept {
        if (!std::exchange(mutex_->is_locked_, true))
            return true;
        mutex_->queue_.push(*this);
        return false;
    }
    void left() noexcept {}
    void undo() noexcept { mutex_->unlock(); }

    mutex *mutex_;
};

inline detail::description<mutex::lock_awaiter, mutex *> mutex::lock() noexcept {
    return detail::description<lock_awaiter, mutex *>(this);
}

} // namespace aio
