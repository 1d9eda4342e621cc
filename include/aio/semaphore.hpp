// semaphore: a number of permits, for limits (so many at a time) and signals (so many things).
//
//     aio::semaphore downloads(4);
//     auto permit = co_await downloads.acquire();      // result<semaphore::permit>
//
// A permit goes back when it dies, so that no way out of a coroutine loses one; keep() is for
// signals, where release() makes them and acquire() uses them up.
//
// Of one thread. Fair: one that waits for many permits is not overtaken by those that want fewer. A
// wait ends with std::errc::operation_canceled when its strand is asked to stop, and with
// errc::closed when the semaphore is destroyed.
#pragma once

#include <aio/detail/wait_queue.hpp>

#include <cstddef>

namespace aio {

/// See the top of this file. It must outlive its permits, but for those that were kept.
class semaphore {
    class acquire_awaiter;

  public:
    /// Permits that go back when it dies. Movable.
    class [[nodiscard("aio: the permit goes back at once")]] permit {
      public:
        permit() noexcept = default;
        permit(permit &&other) noexcept
            : from_(std::exchange(other.from_, nullptr)), count_(other.count_) {}
        permit &operator=(permit &&other) noexcept {
            permit old(std::move(other));
            std::swap(from_, old.from_);
            std::swap(count_, old.count_);
            return *this;
        }
        ~permit() { release(); }

        explicit operator bool() const noexcept { return from_ != nullptr; }
        std::size_t count() const noexcept { return from_ == nullptr ? 0 : count_; }
        /// Gives them back before it dies.
        void release() noexcept {
            if (semaphore *from = std::exchange(from_, nullptr))
                from->release(count_);
        }
        /// Does not give them back: they are used up.
        void keep() noexcept { from_ = nullptr; }

      private:
        friend semaphore;
        permit(semaphore &from, std::size_t count) noexcept : from_(&from), count_(count) {}
        semaphore *from_ = nullptr;
        std::size_t count_ = 0;
    };

    explicit semaphore(std::size_t permits) noexcept : available_(permits) {}
    semaphore(const semaphore &) = delete;
    semaphore &operator=(const semaphore &) = delete;

    /// Waits for permits, and takes them all at once: result<permit>.
    detail::description<acquire_awaiter, semaphore *, std::size_t>
    acquire(std::size_t count = 1) noexcept;

    /// Takes them if they are there and nobody waits: `if (auto permit = s.try_acquire())`.
    permit try_acquire(std::size_t count = 1) noexcept {
        return take(count) ? permit(*this, count) : permit();
    }

    /// Adds permits, which may be more than there were at first.
    void release(std::size_t count = 1) noexcept {
        available_ += count;
        admit();
    }

    /// How many permits nobody has.
    std::size_t available() const noexcept { return available_; }

  private:
    bool take(std::size_t count) noexcept {
        if (!queue_.empty() || available_ < count)
            return false;
        available_ -= count;
        return true;
    }
    void admit() noexcept;

    std::size_t available_;
    detail::wait_queue<acquire_awaiter> queue_;
};

class semaphore::acquire_awaiter final : public detail::waiter<acquire_awaiter> {
  public:
    acquire_awaiter(semaphore *of, std::size_t count) noexcept : semaphore_(of), count_(count) {}
    ~acquire_awaiter() { forget(); }
    result<permit> await_resume() noexcept {
        return ended().transform([this] { return permit(*semaphore_, count_); });
    }

  private:
    friend waiter;
    friend semaphore;
    bool enter() noexcept {
        if (semaphore_->take(count_))
            return true;
        semaphore_->queue_.push(*this);
        return false;
    }
    // Those behind may want fewer.
    void left() noexcept { semaphore_->admit(); }
    void undo() noexcept { semaphore_->release(count_); }

    semaphore *semaphore_;
    std::size_t count_;
};

inline void semaphore::admit() noexcept {
    while (!queue_.empty() && queue_.first().count_ <= available_) {
        available_ -= queue_.first().count_;
        queue_.grant_first();
    }
}

inline detail::description<semaphore::acquire_awaiter, semaphore *, std::size_t>
semaphore::acquire(std::size_t count) noexcept {
    return detail::description<acquire_awaiter, semaphore *, std::size_t>(this, count);
}

} // namespace aio
