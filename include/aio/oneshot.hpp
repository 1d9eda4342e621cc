// oneshot<T>: one value, from whoever has it to one that waits for it.
//
//     aio::oneshot<reply> answer;
//     requests.push_back({question, &answer});
//     auto reply = co_await answer.receive();      // result<reply>
//
// Of one thread. It lies where it is made, and takes no memory.
#pragma once

#include <aio/detail/wait_queue.hpp>

#include <optional>

namespace aio {

/// See the top of this file.
template <class T> class oneshot {
    class receive_awaiter;

  public:
    oneshot() noexcept = default;
    oneshot(const oneshot &) = delete;
    oneshot &operator=(const oneshot &) = delete;

    /// Sends the value; false if there was one, or it was closed: nothing is sent then.
    template <class U = T> bool send(U &&value) {
        if (is_over_)
            return false;
        value_.emplace(std::forward<U>(value));
        is_over_ = true;
        if (!queue_.empty())
            queue_.grant_first();
        return true;
    }

    /// There will be no value: who waits is told errc::eof.
    void close() noexcept {
        if (std::exchange(is_over_, true))
            return;
        queue_.grant_all();
    }

    /// Whether a value waits to be received.
    bool has_value() const noexcept { return value_.has_value(); }

    /// Waits for the value, and takes it: result<T>. errc::eof when there will be none: it was
    /// closed, or another has received it. When the wait is cancelled the value stays.
    detail::description<receive_awaiter, oneshot *> receive() noexcept {
        return detail::description<receive_awaiter, oneshot *>(this);
    }

  private:
    std::optional<T> value_;
    bool is_over_ = false; // sent or closed
    detail::wait_queue<receive_awaiter> queue_;
};

template <class T>
class oneshot<T>::receive_awaiter final : public detail::waiter<receive_awaiter> {
  public:
    explicit receive_awaiter(oneshot *of) noexcept : from_(of) {}
    ~receive_awaiter() { this->forget(); }

    result<T> await_resume() {
        if (result<void> ended = this->ended(); !ended)
            return unexpected(ended.error());
        if (!from_->value_)
            return unexpected(errc::eof);
        result<T> value(std::in_place, std::move(*from_->value_));
        from_->value_.reset();
        // Others that wait have waited for nothing.
        from_->queue_.grant_all();
        return value;
    }

  private:
    friend detail::waiter<receive_awaiter>;
    bool enter() noexcept {
        if (from_->is_over_)
            return true;
        from_->queue_.push(*this);
        return false;
    }
    void left() noexcept {}
    void undo() noexcept {
        if (!from_->queue_.empty())
            from_->queue_.grant_first();
    }

    oneshot *from_;
};

} // namespace aio
