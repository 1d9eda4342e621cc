// broadcast<T>: each receiver gets each message that is sent while it is subscribed.
//
//     aio::broadcast<std::string> room(64);
//     auto news = room.subscribe();
//     while (auto text = co_await news.receive())      // result<std::string>; errc::eof in the end
//         co_await write_all(ctx, socket, *text);
//
// A send never waits: the newest `capacity` messages are kept, and a receiver that is further
// behind goes on with the oldest that is left; missed() tells how many it has lost. So one slow
// receiver holds nobody back. Each receiver is given a copy: of what is large, send a
// std::shared_ptr<const T>.
//
// Of one thread. Memory is taken when it is made, none by sending and waiting.
#pragma once

#include <aio/detail/wait_queue.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace aio {

/// See the top of this file.
template <class T> class broadcast {
    class receive_awaiter;

  public:
    class receiver;
    using value_type = T;

    /// Keeps the newest `capacity` messages, at least one.
    explicit broadcast(std::size_t capacity) : kept_(std::max<std::size_t>(capacity, 1)) {}
    broadcast(const broadcast &) = delete;
    broadcast &operator=(const broadcast &) = delete;
    /// Receivers get errc::eof; what they have not received is gone.
    ~broadcast() {
        while (!receivers_.is_alone())
            static_cast<receiver &>(receivers_.next()).lose();
    }

    /// A receiver of what is sent from now on.
    receiver subscribe() noexcept { return receiver(*this); }

    /// Sends to all that are subscribed; tells how many those are.
    std::size_t send(T message) {
        if (is_closed_)
            return 0;
        kept_[sent_ % kept_.size()].emplace(std::move(message));
        sent_++;
        queue_.grant_all();
        return count_;
    }

    /// Nothing is sent any more: receivers get what they have not received yet, then errc::eof.
    void close() noexcept {
        is_closed_ = true;
        queue_.grant_all();
    }

    bool is_closed() const noexcept { return is_closed_; }
    /// How many receivers there are.
    std::size_t receivers() const noexcept { return count_; }
    std::size_t capacity() const noexcept { return kept_.size(); }

  private:
    std::vector<std::optional<T>> kept_; // message n is at n modulo its size
    uint64_t sent_ = 0;
    std::size_t count_ = 0;
    bool is_closed_ = false;
    detail::link receivers_;
    detail::wait_queue<receive_awaiter> queue_;
};

/// One that gets each message. Movable while nobody awaits it.
template <class T> class broadcast<T>::receiver : private detail::link {
  public:
    receiver(receiver &&other) noexcept
        : from_(std::exchange(other.from_, nullptr)), next_(other.next_), missed_(other.missed_) {
        replace(other);
    }
    receiver &operator=(receiver &&other) noexcept {
        if (this != &other) {
            leave();
            from_ = std::exchange(other.from_, nullptr);
            next_ = other.next_;
            missed_ = other.missed_;
            replace(other);
        }
        return *this;
    }
    ~receiver() { leave(); }

    /// The next message: result<T>; errc::eof when there will be none. One at a time.
    detail::description<receive_awaiter, receiver *> receive() noexcept {
        return detail::description<receive_awaiter, receiver *>(this);
    }
    /// The next message if there is one.
    std::optional<T> try_receive() {
        if (pending() == 0)
            return std::nullopt;
        return take();
    }

    /// How many messages it can receive without waiting.
    std::size_t pending() const noexcept {
        if (from_ == nullptr)
            return 0;
        return static_cast<std::size_t>(
            std::min<uint64_t>(from_->sent_ - next_, from_->kept_.size()));
    }
    /// How many messages it has lost until now, because it was slow.
    uint64_t missed() const noexcept { return missed_ + overtaken(); }

  private:
    friend broadcast;
    explicit receiver(broadcast &from) noexcept : from_(&from), next_(from.sent_) {
        insert_before(from.receivers_);
        from.count_++;
    }

    uint64_t overtaken() const noexcept {
        return from_ == nullptr ? 0 : from_->sent_ - next_ - pending();
    }
    T take() {
        const uint64_t lost = overtaken();
        missed_ += lost;
        next_ += lost;
        T copy(*from_->kept_[next_ % from_->kept_.size()]);
        next_++; // a copy that has thrown has taken nothing
        return copy;
    }
    void leave() noexcept {
        if (from_ == nullptr)
            return;
        from_->count_--;
        unlink();
        from_ = nullptr;
    }
    /// The broadcast is gone.
    void lose() noexcept {
        missed_ += overtaken() + pending();
        unlink();
        from_ = nullptr;
    }

    broadcast *from_;
    uint64_t next_; // the number of the message that it gets next
    uint64_t missed_ = 0;
};

template <class T>
class broadcast<T>::receive_awaiter final : public detail::waiter<receive_awaiter> {
  public:
    explicit receive_awaiter(receiver *of) noexcept : receiver_(of) {}
    ~receive_awaiter() { this->forget(); }

    result<T> await_resume() {
        if (result<void> ended = this->ended(); !ended)
            return ended.error() == errc::closed ? unexpected(errc::eof)
                                                 : unexpected(ended.error());
        if (receiver_->pending() == 0)
            return unexpected(errc::eof);
        return result<T>(std::in_place, receiver_->take());
    }

  private:
    friend detail::waiter<receive_awaiter>;
    bool enter() noexcept {
        broadcast *from = receiver_->from_;
        if (from == nullptr || from->is_closed_ || receiver_->pending() > 0)
            return true;
        from->queue_.push(*this);
        return false;
    }
    void left() noexcept {}
    void undo() noexcept {}

    receiver *receiver_;
};

} // namespace aio
