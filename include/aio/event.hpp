// event, auto_event: something happens, and who waits for it goes on.
//
//     aio::event ready;
//     ...                                    // in one strand
//     if (co_await ready.wait()) ...
//     ...                                    // in another
//     ready.set();
//
// An event stays set, and lets everybody through, until reset(). An auto_event lets one through
// for each set(): who goes through resets it.
//
// Of one thread; from others there is notifier. Waiting takes no memory. A wait ends with
// std::errc::operation_canceled when its strand is asked to stop, and with errc::closed when the
// event is destroyed.
#pragma once

#include <aio/detail/wait_queue.hpp>

namespace aio {

/// Something that has happened or not: see the top of this file.
class event {
    class wait_awaiter;

  public:
    explicit event(bool is_set = false) noexcept : is_set_(is_set) {}
    event(const event &) = delete;
    event &operator=(const event &) = delete;

    bool is_set() const noexcept { return is_set_; }
    /// All that wait go on, and those that come later do not wait.
    void set() noexcept {
        is_set_ = true;
        queue_.grant_all();
    }
    /// Who comes from now on waits.
    void reset() noexcept { is_set_ = false; }

    /// Waits until it is set: result<void>.
    detail::description<wait_awaiter, event *> wait() noexcept;

  private:
    bool is_set_;
    detail::wait_queue<wait_awaiter> queue_;
};

class event::wait_awaiter final : public detail::waiter<wait_awaiter> {
  public:
    explicit wait_awaiter(event *of) noexcept : event_(of) {}
    ~wait_awaiter() { forget(); }
    result<void> await_resume() noexcept { return ended(); }

  private:
    friend waiter;
    bool enter() noexcept {
        if (!event_->is_set_)
            event_->queue_.push(*this);
        return event_->is_set_;
    }
    void left() noexcept {}
    void undo() noexcept {}

    event *event_;
};

inline detail::description<event::wait_awaiter, event *> event::wait() noexcept {
    return detail::description<wait_awaiter, event *>(this);
}

/// A signal for one: set() lets the first that waits go on, or the next that comes. Signals are not
/// counted (semaphore counts). One that was let through and destroyed before it went on leaves the
/// signal to the next.
class auto_event {
    class wait_awaiter;

  public:
    explicit auto_event(bool is_set = false) noexcept : is_set_(is_set) {}
    auto_event(const auto_event &) = delete;
    auto_event &operator=(const auto_event &) = delete;

    /// Whether the next that comes does not wait.
    bool is_set() const noexcept { return is_set_; }
    /// Lets one go on.
    void set() noexcept {
        if (queue_.empty())
            is_set_ = true;
        else
            queue_.grant_first();
    }
    /// Forgets a signal that nobody has waited for.
    void reset() noexcept { is_set_ = false; }

    /// Waits for a signal, and takes it: result<void>.
    detail::description<wait_awaiter, auto_event *> wait() noexcept;

  private:
    bool is_set_;
    detail::wait_queue<wait_awaiter> queue_;
};

class auto_event::wait_awaiter final : public detail::waiter<wait_awaiter> {
  public:
    explicit wait_awaiter(auto_event *of) noexcept : event_(of) {}
    ~wait_awaiter() { forget(); }
    result<void> await_resume() noexcept { return ended(); }

  private:
    friend waiter;
    bool enter() noexcept {
        if (std::exchange(event_->is_set_, false))
            return true;
        event_->queue_.push(*this);
        return false;
    }
    void left() noexcept {}
    void undo() noexcept { event_->set(); }

    auto_event *event_;
};

inline detail::description<auto_event::wait_awaiter, auto_event *> auto_event::wait() noexcept {
    return detail::description<wait_awaiter, auto_event *>(this);
}

} // namespace aio
