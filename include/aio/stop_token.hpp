// Stop tokens of P2300: inplace_stop_source, whose state lies in it and which therefore allocates
// nothing, its tokens and callbacks, and never_stop_token. They go where std::stop_token goes:
//
//     aio::inplace_stop_source source;
//     auto got = co_await aio::recv(ctx, fd, buffer).cancel_on(source.get_token());
//     ...
//     source.request_stop();                      // any thread
//
// A source outlives its tokens and callbacks. All of it may be used from any thread. A callback
// that is destroyed while another thread runs it waits for that; inside itself it may be destroyed.
#pragma once

#include <aio/detail/config.hpp>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

namespace aio {

class inplace_stop_token;
template <class F> class inplace_stop_callback;

/// Who asks to stop.
class inplace_stop_source {
  public:
    inplace_stop_source() noexcept = default;
    inplace_stop_source(const inplace_stop_source &) = delete;
    inplace_stop_source &operator=(const inplace_stop_source &) = delete;

    inplace_stop_token get_token() const noexcept;
    static constexpr bool stop_possible() noexcept { return true; }
    bool stop_requested() const noexcept { return is_requested_.load(std::memory_order_acquire); }

    /// Calls what is registered, on this thread; false if somebody has asked before.
    bool request_stop() noexcept {
        std::unique_lock lock(mutex_);
        // Pairs with stop_requested: who sees it sees what was written before the request.
        if (is_requested_.exchange(true, std::memory_order_acq_rel))
            return false;
        caller_ = std::this_thread::get_id();
        while (first_ != nullptr) {
            entry *const called = first_;
            called->unlink();
            bool is_gone = false;
            called->is_gone = &is_gone;
            called_ = called;
            lock.unlock();
            called->call(*called);
            lock.lock();
            called_ = nullptr;
            if (!is_gone) {
                called->is_gone = nullptr;
                called_ended_.notify_all();
            }
        }
        return true;
    }

  private:
    template <class F> friend class inplace_stop_callback;

    struct entry {
        explicit entry(void (*call)(entry &) noexcept) noexcept : call(call) {}
        void (*const call)(entry &) noexcept;
        entry *next = nullptr;
        entry **link = nullptr;  // what points to it, while it is registered
        bool *is_gone = nullptr; // to be told when it is destroyed inside its call

        void unlink() noexcept {
            *link = next;
            if (next != nullptr)
                next->link = link;
            link = nullptr;
        }
    };

    /// False if a stop was requested already.
    bool add(entry &one) const noexcept {
        const std::lock_guard lock(mutex_);
        if (is_requested_.load(std::memory_order_relaxed)) // under the lock
            return false;
        one.next = first_;
        one.link = &first_;
        if (first_ != nullptr)
            first_->link = &one.next;
        first_ = &one;
        return true;
    }

    void remove(entry &one) const noexcept {
        std::unique_lock lock(mutex_);
        if (one.link != nullptr)
            one.unlink();
        else if (called_ == &one && caller_ == std::this_thread::get_id())
            *one.is_gone = true;
        else
            called_ended_.wait(lock, [&] { return called_ != &one; });
    }

    mutable std::mutex mutex_;
    mutable std::condition_variable called_ended_;
    mutable entry *first_ = nullptr;
    entry *called_ = nullptr;
    std::thread::id caller_;
    std::atomic<bool> is_requested_ = false;
};

/// Tells of a stop, and lets callbacks be registered.
class inplace_stop_token {
  public:
    template <class F> using callback_type = inplace_stop_callback<F>;

    inplace_stop_token() noexcept = default;
    bool stop_requested() const noexcept { return source_ != nullptr && source_->stop_requested(); }
    bool stop_possible() const noexcept { return source_ != nullptr; }
    void swap(inplace_stop_token &other) noexcept { std::swap(source_, other.source_); }
    friend bool operator==(const inplace_stop_token &, const inplace_stop_token &) = default;

  private:
    friend inplace_stop_source;
    template <class F> friend class inplace_stop_callback;
    explicit inplace_stop_token(const inplace_stop_source *source) noexcept : source_(source) {}
    const inplace_stop_source *source_ = nullptr;
};

inline inplace_stop_token inplace_stop_source::get_token() const noexcept {
    return inplace_stop_token(this);
}

/// Calls `f` when a stop is requested: on the thread that requests it, or where it was requested
/// before, in the constructor.
template <class F> class inplace_stop_callback : private inplace_stop_source::entry {
    using entry = inplace_stop_source::entry;

  public:
    using callback_type = F;

    template <class G>
        requires std::is_constructible_v<F, G>
    explicit inplace_stop_callback(inplace_stop_token token,
                                   G &&f) noexcept(std::is_nothrow_constructible_v<F, G>)
        : entry([](entry &self) noexcept {
              std::forward<F>(static_cast<inplace_stop_callback &>(self).f_)();
          }),
          source_(token.source_), f_(std::forward<G>(f)) {
        if (source_ != nullptr && !source_->add(*this)) {
            source_ = nullptr;
            std::forward<F>(f_)();
        }
    }
    inplace_stop_callback(const inplace_stop_callback &) = delete;
    inplace_stop_callback &operator=(const inplace_stop_callback &) = delete;
    ~inplace_stop_callback() {
        if (source_ != nullptr)
            source_->remove(*this);
    }

  private:
    const inplace_stop_source *source_;
    F f_;
};

template <class F> inplace_stop_callback(inplace_stop_token, F) -> inplace_stop_callback<F>;

/// The token of who never asks to stop.
class never_stop_token {
    struct callback {
        template <class F> explicit callback(never_stop_token, F &&) noexcept {}
    };

  public:
    template <class> using callback_type = callback;
    static constexpr bool stop_requested() noexcept { return false; }
    static constexpr bool stop_possible() noexcept { return false; }
    friend constexpr bool operator==(never_stop_token, never_stop_token) noexcept { return true; }
};

} // namespace aio
