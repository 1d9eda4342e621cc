// shared_mutex: many that read, or one that writes.
//
//     auto lock = co_await table_lock.lock_shared();   // result<shared_mutex::shared_guard>
//     auto lock = co_await table_lock.lock();          // result<shared_mutex::guard>
//
// Fair: in the order of arrival. Readers that follow each other read together; one that comes after
// a waiting writer waits for it, so that writers get their turn. Otherwise as mutex.
#pragma once

#include <aio/detail/wait_queue.hpp>

#include <cstddef>

namespace aio {

/// See the top of this file.
class shared_mutex {
    class awaiter;
    class lock_awaiter;
    class shared_awaiter;

    void unlock() noexcept {
        is_written_ = false;
        admit();
    }
    void unlock_shared() noexcept {
        readers_--;
        admit();
    }

  public:
    /// A writer's lock; ends when it dies, or before by unlock(). Movable.
    using guard = detail::held<shared_mutex, &shared_mutex::unlock>;
    /// A reader's lock, the same.
    using shared_guard = detail::held<shared_mutex, &shared_mutex::unlock_shared>;

    shared_mutex() noexcept = default;
    shared_mutex(const shared_mutex &) = delete;
    shared_mutex &operator=(const shared_mutex &) = delete;

    /// Waits until nobody reads or writes, and locks it for one: result<guard>.
    detail::description<lock_awaiter, shared_mutex *> lock() noexcept;
    /// Waits until nobody writes or has waited longer to write, and locks it for reading:
    /// result<shared_guard>.
    detail::description<shared_awaiter, shared_mutex *> lock_shared() noexcept;

    /// The same without waiting: a guard that holds nothing if it cannot be locked now.
    guard try_lock() noexcept { return take(false) ? guard(*this) : guard(); }
    shared_guard try_lock_shared() noexcept {
        return take(true) ? shared_guard(*this) : shared_guard();
    }

    bool is_locked() const noexcept { return is_written_; }
    std::size_t readers() const noexcept { return readers_; }

  private:
    bool fits(bool is_shared) const noexcept {
        return !is_written_ && (is_shared || readers_ == 0);
    }
    void mark(bool is_shared) noexcept {
        if (is_shared)
            readers_++;
        else
            is_written_ = true;
    }
    bool take(bool is_shared) noexcept {
        if (!queue_.empty() || !fits(is_shared))
            return false;
        mark(is_shared);
        return true;
    }
    void admit() noexcept;

    std::size_t readers_ = 0;
    bool is_written_ = false;
    detail::wait_queue<awaiter> queue_;
};

class shared_mutex::awaiter : public detail::waiter<awaiter> {
  protected:
    awaiter(shared_mutex *of, bool is_shared) noexcept : mutex_(of), is_shared_(is_shared) {}
    ~awaiter() { forget(); }
    shared_mutex &owner() const noexcept { return *mutex_; }

  private:
    friend waiter;
    friend shared_mutex;
    bool enter() noexcept {
        if (mutex_->take(is_shared_))
            return true;
        mutex_->queue_.push(*this);
        return false;
    }
    // Readers may have waited behind this one alone.
    void left() noexcept { mutex_->admit(); }
    void undo() noexcept { is_shared_ ? mutex_->unlock_shared() : mutex_->unlock(); }

    shared_mutex *mutex_;
    bool is_shared_;
};

class shared_mutex::lock_awaiter final : public awaiter {
  public:
    explicit lock_awaiter(shared_mutex *of) noexcept : awaiter(of, false) {}
    result<guard> await_resume() noexcept {
        return ended().transform([this] { return guard(owner()); });
    }
};

class shared_mutex::shared_awaiter final : public awaiter {
  public:
    explicit shared_awaiter(shared_mutex *of) noexcept : awaiter(of, true) {}
    result<shared_guard> await_resume() noexcept {
        return ended().transform([this] { return shared_guard(owner()); });
    }
};

inline void shared_mutex::admit() noexcept {
    while (!queue_.empty() && fits(queue_.first().is_shared_)) {
        mark(queue_.first().is_shared_);
        queue_.grant_first();
    }
}

inline detail::description<shared_mutex::lock_awaiter, shared_mutex *>
shared_mutex::lock() noexcept {
    return detail::description<lock_awaiter, shared_mutex *>(this);
}

inline detail::description<shared_mutex::shared_awaiter, shared_mutex *>
shared_mutex::lock_shared() noexcept {
    return detail::description<shared_awaiter, shared_mutex *>(this);
}

} // namespace aio
