// channel<T>: a bounded queue between coroutines.
//
//     aio::channel<job> jobs(16);
//     job made{name, 1};                               // not in the co_await: see below
//     co_await jobs.send(std::move(made));             // result<void>; waits while it is full
//     jobs.close();                                    // no more
//     while (auto job = co_await jobs.receive())       // result<job>; errc::eof in the end
//         co_await work(*job);
//
// Any number of senders and receivers, of one thread (thread_channel is for several). First in,
// first out; who waits longest is served first. With capacity 0 a send waits until a receiver is
// there (a rendezvous). After close() what was sent is still received; sends give errc::closed,
// also those that wait.
//
// A wait ends with std::errc::operation_canceled when its strand is asked to stop: such a send has
// sent nothing, and such a receive has taken nothing. Waiting takes no memory, a value that is
// waiting to be sent lies in the sender's frame; what is kept takes memory of the frame pool.
//
// A receiver that gives up closes the channel as well, or senders wait for it for ever. With GCC 12
// an aggregate that is made inside the co_await expression (`send({name, 1})`, `send(job{...})`)
// is destroyed twice: see task.hpp.
#pragma once

#include <aio/detail/ring.hpp>
#include <aio/detail/wait_queue.hpp>

#include <cstddef>
#include <optional>

namespace aio {

/// See the top of this file.
template <class T> class channel {
    class send_awaiter;
    class receive_awaiter;

  public:
    using value_type = T;

    explicit channel(std::size_t capacity) noexcept : capacity_(capacity) {}
    channel(const channel &) = delete;
    channel &operator=(const channel &) = delete;

    /// Sends a value, when there is room: result<void>. A value that was not sent is gone.
    detail::description<send_awaiter, channel *, T> send(T value) noexcept {
        return detail::description<send_awaiter, channel *, T>(this, std::move(value));
    }
    /// Waits for a value, and takes it: result<T>; errc::eof when it is closed and empty.
    detail::description<receive_awaiter, channel *> receive() noexcept {
        return detail::description<receive_awaiter, channel *>(this);
    }

    /// Sends if that needs no wait. The value is moved from only if it was sent.
    bool try_send(T &&value) { return !is_closed_ && put(value); }
    bool try_send(const T &value) {
        T copy(value);
        return try_send(std::move(copy));
    }
    /// Takes a value if one is there that nobody has waited for.
    std::optional<T> try_receive() { return take(); }

    /// Nothing is sent any more.
    void close() noexcept {
        is_closed_ = true;
        senders_.close_all();
        receivers_.grant_all();
    }

    bool is_closed() const noexcept { return is_closed_; }
    /// How many values wait to be received, but for those in the frames of senders.
    std::size_t size() const noexcept { return values_.size(); }
    std::size_t capacity() const noexcept { return capacity_; }

  private:
    /// How many values nobody has been granted yet.
    std::size_t free_values() const noexcept { return values_.size() - granted_; }

    /// A receiver that waits gets it, or it is kept if there is room.
    bool put(T &value) {
        if (receivers_.empty() && free_values() >= capacity_)
            return false;
        values_.push(std::move(value));
        grant();
        return true;
    }

    /// Those that wait to receive are told of what is there; they take it when they go on.
    void grant() noexcept {
        while (!receivers_.empty() && free_values() > 0) {
            granted_++;
            receivers_.first().is_granted_ = true;
            receivers_.grant_first();
        }
    }

    /// The next value, from the queue or from the frame of a sender.
    std::optional<T> take() {
        if (free_values() > 0)
            return pop();
        if (senders_.empty())
            return std::nullopt;
        std::optional<T> value(std::move(senders_.first().value_));
        senders_.grant_first();
        return value;
    }

    std::optional<T> pop() {
        std::optional<T> value(values_.pop());
        while (!senders_.empty() && free_values() < capacity_) {
            values_.push(std::move(senders_.first().value_));
            senders_.grant_first();
        }
        return value;
    }

    std::size_t capacity_;
    std::size_t granted_ = 0; // receivers that were told of a value and have not taken it yet
    bool is_closed_ = false;
    detail::ring<T> values_;
    detail::wait_queue<send_awaiter> senders_;
    detail::wait_queue<receive_awaiter> receivers_;
};

template <class T> class channel<T>::send_awaiter final : public detail::waiter<send_awaiter> {
  public:
    send_awaiter(channel *to, T value) noexcept : to_(to), value_(std::move(value)) {}
    ~send_awaiter() { this->forget(); }
    result<void> await_resume() noexcept {
        if (is_refused_)
            return unexpected(errc::closed);
        return this->ended();
    }

  private:
    friend channel;
    friend detail::waiter<send_awaiter>;
    bool enter() {
        is_refused_ = to_->is_closed_;
        if (is_refused_ || to_->put(value_))
            return true;
        to_->senders_.push(*this);
        return false;
    }
    void left() noexcept {}
    void undo() noexcept {} // it was sent

    channel *to_;
    T value_;
    bool is_refused_ = false;
};

template <class T>
class channel<T>::receive_awaiter final : public detail::waiter<receive_awaiter> {
  public:
    explicit receive_awaiter(channel *of) noexcept : from_(of) {}
    ~receive_awaiter() { this->forget(); }

    result<T> await_resume() {
        if (result<void> ended = this->ended(); !ended)
            return unexpected(ended.error());
        if (is_granted_) {
            from_->granted_--;
            value_ = from_->pop();
        }
        if (!value_)
            return unexpected(errc::eof);
        return result<T>(std::in_place, std::move(*value_));
    }

  private:
    friend channel;
    friend detail::waiter<receive_awaiter>;
    bool enter() {
        value_ = from_->take();
        if (value_ || from_->is_closed_)
            return true;
        from_->receivers_.push(*this);
        return false;
    }
    void left() noexcept {}
    // What it was told of is for the next one.
    void undo() noexcept {
        from_->granted_--;
        from_->grant();
    }

    channel *from_;
    std::optional<T> value_;
    bool is_granted_ = false;
};

} // namespace aio
