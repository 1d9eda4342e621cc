// How coroutines queue for a primitive (mutex, event, channel and the like): circles of the
// awaiters themselves, so that waiting takes no memory and leaving takes no search.
//
// An awaiter is in one of two circles of its primitive's queue: those that wait, and those whose
// wait has been granted and that have not gone on yet. Whatever is destroyed first is defined: an
// awaiter leaves its circle, and gives back what it was granted; a queue ends all waits with
// errc::closed. All of it is of one thread, and strands of several contexts on it may meet.
#pragma once

#include <aio/detail/home.hpp>
#include <aio/result.hpp>

#include <tuple>
#include <utility>

namespace aio::detail {

/// A place in a circle; alone, or between its neighbours.
class link {
  public:
    link() noexcept = default;
    link(const link &) = delete;
    link &operator=(const link &) = delete;
    ~link() { unlink(); }

    bool is_alone() const noexcept { return next_ == this; }
    link &next() const noexcept { return *next_; }

    /// Leaves its circle.
    void unlink() noexcept {
        previous_->next_ = next_;
        next_->previous_ = previous_;
        next_ = previous_ = this;
    }
    /// Alone until now, comes to be the last one before another.
    void insert_before(link &other) noexcept {
        next_ = &other;
        previous_ = other.previous_;
        previous_->next_ = this;
        other.previous_ = this;
    }
    /// Alone until now, takes another's place.
    void replace(link &other) noexcept {
        if (other.is_alone())
            return;
        insert_before(other);
        other.unlink();
    }

  private:
    link *next_ = this;
    link *previous_ = this;
};

template <class Waiter> class wait_queue;

/// An awaiter that queues. `Derived` has
///  - bool enter(): takes what it wants and returns true, or puts itself into a queue;
///  - void left() noexcept: it has left the queue without a grant;
///  - void undo() noexcept: it was granted what it wants, and dies without having gone on;
/// and a destructor that calls forget().
template <class Derived> class waiter : public queued_suspension, private link {
  public:
    bool await_ready() const noexcept { return false; }

    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) {
        if (!begin(handle, &waiter::stopped)) [[unlikely]] {
            phase_ = phase::cancelled;
            return false;
        }
        phase_ = phase::waits;
        if (!self().enter())
            return true;
        end();
        phase_ = phase::done;
        return false;
    }

  protected:
    waiter() noexcept = default;

    /// What await_resume says first: whether it got what it has waited for.
    result<void> ended() noexcept {
        unlink();
        if (phase_ == phase::cancelled) [[unlikely]]
            return unexpected(std::errc::operation_canceled);
        if (phase_ == phase::closed) [[unlikely]]
            return unexpected(errc::closed);
        phase_ = phase::done;
        return {};
    }

    /// For the destructor of Derived.
    void forget() noexcept {
        unlink();
        if (phase_ == phase::waits)
            self().left();
        else if (phase_ == phase::granted)
            self().undo();
    }

  private:
    friend class wait_queue<Derived>;
    enum class phase : unsigned char { idle, waits, granted, done, cancelled, closed };

    Derived &self() noexcept { return static_cast<Derived &>(*this); }

    static void stopped(suspension &from) noexcept {
        auto &me = static_cast<waiter &>(from);
        me.unlink();
        me.phase_ = phase::cancelled;
        me.self().left();
        me.resume_later();
    }

    phase phase_ = phase::idle;
};

/// Those that queue, first come, first served.
template <class Waiter> class wait_queue {
  public:
    wait_queue() noexcept = default;
    ~wait_queue() {
        while (!granted_.is_alone()) {
            waiter_base &orphan = base(at(granted_.next()));
            orphan.unlink();
            orphan.phase_ = waiter_base::phase::closed;
        }
        close_all();
    }

    bool empty() const noexcept { return waiting_.is_alone(); }
    Waiter &first() noexcept { return at(waiting_.next()); }

    void push(Waiter &waiter) noexcept { base(waiter).insert_before(waiting_); }

    /// The first one has what it waits for; it goes on in a turn soon.
    void grant_first() noexcept {
        waiter_base &granted = base(first());
        granted.unlink();
        granted.insert_before(granted_);
        granted.phase_ = waiter_base::phase::granted;
        granted.resume_later();
    }

    /// All that wait now have what they wait for, of which there is enough for all: nothing is
    /// given back, and the primitive may be gone before they go on.
    void grant_all() noexcept { end_all(waiter_base::phase::done); }

    /// Ends all waits with errc::closed.
    void close_all() noexcept { end_all(waiter_base::phase::closed); }

  private:
    using waiter_base = waiter<Waiter>;

    static waiter_base &base(Waiter &waiter) noexcept { return waiter; }
    static Waiter &at(link &place) noexcept {
        return static_cast<Waiter &>(static_cast<waiter_base &>(place));
    }

    void end_all(typename waiter_base::phase phase) noexcept {
        // A stranger's coroutine goes on inside this, and may wait again or destroy the primitive.
        link all;
        all.replace(waiting_);
        while (!all.is_alone()) {
            waiter_base &ended = base(at(all.next()));
            ended.unlink();
            ended.phase_ = phase;
            ended.resume_later();
        }
    }

    link waiting_;
    link granted_;
};

/// What functions that wait return: movable until it is awaited, once. The awaiter is made in the
/// awaiting frame, from these arguments.
template <class Awaiter, class... Args>
class [[nodiscard("aio: nothing happens before this is awaited")]] description {
  public:
    explicit description(Args... args) : args_(std::move(args)...) {}

    Awaiter operator co_await() && {
        return std::apply([](Args &...args) { return Awaiter(std::move(args)...); }, args_);
    }

  private:
    std::tuple<Args...> args_;
};

/// What locks give: ends the lock when it dies. It must not outlive what it has locked.
template <class Owner, auto Unlock> class [[nodiscard("aio: the lock ends with its guard")]] held {
  public:
    held() noexcept = default;
    /// Of something that is locked already.
    explicit held(Owner &owner) noexcept : owner_(&owner) {}
    held(held &&other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    held &operator=(held &&other) noexcept {
        held old(std::move(other));
        std::swap(owner_, old.owner_);
        return *this;
    }
    ~held() { unlock(); }

    /// Whether it holds a lock.
    explicit operator bool() const noexcept { return owner_ != nullptr; }
    /// Ends the lock before the guard dies.
    void unlock() noexcept {
        if (Owner *owner = std::exchange(owner_, nullptr))
            (owner->*Unlock)();
    }

  private:
    Owner *owner_ = nullptr;
};

} // namespace aio::detail
