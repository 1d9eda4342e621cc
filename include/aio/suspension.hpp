// How coroutines wait, and how a request to stop reaches what they wait for.
//
// A strand is a chain of coroutines of which each awaits the next; only the last one waits for
// something. when_all, scope, with_timeout, context::run and the like begin a strand for each thing
// that they run; a task that is awaited belongs to the strand of who awaits it. So a request to
// stop needs no list of operations and no argument passed on: it marks the strand and ends the one
// thing that the strand waits for. That costs an awaited operation two stores, and no memory: the
// strand is told the operation's context and id, which need not be taken back, for an id names its
// operation for ever.
//
//     scope ── strand ── task ── task ── suspension (recv in flight)
//        └──── strand ── task ── suspension (with_timeout) ── strand ── task ── suspension (timer)
//
// Strands are of one thread, as contexts are. What another thread asks for comes through a
// std::stop_token (`cancel_on`, `with_stop`) or a post.
//
// An awaitable of your own keeps a class derived from suspension in the awaiting frame:
//
//     class gate::waiter : public aio::suspension {
//       public:
//         explicit waiter(gate &g) : gate_(g) {}
//         bool await_ready() const noexcept { return gate_.is_open(); }
//         template <class P> bool await_suspend(std::coroutine_handle<P> h) noexcept {
//             if (!begin(h, [](suspension &s) noexcept { static_cast<waiter &>(s).leave(); }))
//                 return false;       // asked to stop: goes on at once
//             gate_.enlist(*this);
//             return true;
//         }
//         result<void> await_resume() noexcept;
//     };
//
// Whoever ends the wait calls resume() (last, for the waiter may be gone when it returns) or, from
// inside other code that goes on, resume_later().
#pragma once

#include <aio/detail/config.hpp>

#include <concepts>
#include <coroutine>
#include <cstdint>

namespace aio {

class context;
class strand;
class suspension;

namespace detail {

class home;
struct strand_access;

} // namespace detail

/// A chain of coroutines that runs on one context, and may be asked to stop.
class strand {
  public:
    explicit strand(detail::home *home) noexcept : home_(home) {}
    strand(const strand &) = delete;
    strand &operator=(const strand &) = delete;

    /// Whether the strand was asked to stop; what it awaits from then on ends at once.
    bool stop_requested() const noexcept { return goes_on_ == 0; }

    /// Asks it to stop: what it waits for is told, and ends with std::errc::operation_canceled.
    /// Nothing is resumed inside this call.
    void request_stop() noexcept;

    /// For awaitables that submit an operation of `ctx` themselves: where to. That is nowhere once
    /// the strand was asked to stop; submit functions refuse a null context, so that who awaits
    /// needs not ask. If they do not refuse, waits_for is to follow.
    aio_ctx *begins(aio_ctx *ctx) noexcept {
        const auto bits = reinterpret_cast<uintptr_t>(ctx) & goes_on_;
        return operation_ctx_ = reinterpret_cast<aio_ctx *>(bits);
    }
    /// The strand waits for this operation of that context now.
    void waits_for(aio_op_id id) noexcept { operation_ = id; }

  private:
    friend class suspension;
    friend struct detail::strand_access;

    aio_ctx *operation_ctx_ = nullptr;
    aio_op_id operation_ = 0; // the newest, which may have ended
    suspension *waiting_ = nullptr;
    void (*stop_)(suspension &) noexcept = nullptr;
    detail::home *home_;
    uintptr_t goes_on_ = ~uintptr_t{0}; // no bit, once it was asked to stop
};

/// A promise that knows its strand, which is never null: those of task and of what runs tasks.
template <class Promise>
concept strand_promise = requires(const Promise &promise) {
    { promise.aio_strand() } -> std::same_as<strand *>;
};

/// The strand of a coroutine; null if its promise is a stranger's, and then nothing stops it.
template <class Promise>
constexpr strand *strand_of(std::coroutine_handle<Promise> handle) noexcept {
    if constexpr (strand_promise<Promise>)
        return handle.promise().aio_strand();
    else
        return nullptr;
}

namespace detail {

/// The same function, of which the compiler does not know any more which one it is. Clang calls
/// resume functions by a convention of its own (fastcc, which passes a pointer as all others do)
/// and takes a call by another one, where it sees both ends, for one that never happens.
template <class Function> Function *unseen(Function *function) noexcept {
#if defined(__clang__)
    __asm__("" : "+r"(function));
#endif
    return function;
}

/// Resumes as a callback does, where nothing can be thrown: a jump, no call. That the first word of
/// a frame is its resume function is the ABI of GCC and Clang.
inline void resume(std::coroutine_handle<> handle) noexcept {
    using resume_function = void(void *) noexcept;
    resume_function *const function = *static_cast<resume_function **>(handle.address());
    unseen(function)(handle.address());
}

} // namespace detail

/// Something that a coroutine waits for, in the coroutine's frame. Not movable: it is known by its
/// address. Destroying it while it waits is allowed; a derived class takes itself out of its lists.
class suspension {
  public:
    suspension(const suspension &) = delete;
    suspension &operator=(const suspension &) = delete;

  protected:
    using stop_function = void (*)(suspension &) noexcept;

    suspension() noexcept = default;
    ~suspension() { end(); }

    /// Begins to wait; false if the strand was asked to stop, then there is nothing to wait for.
    /// `stop` is called at most once, on the strand's thread, when it is asked to stop meanwhile:
    /// it must see to it that the wait ends soon, and not resume the coroutine itself.
    template <class Promise>
    bool begin(std::coroutine_handle<Promise> handle, stop_function stop) noexcept {
        strand *const mine = strand_of(handle);
        if (mine != nullptr && mine->stop_requested()) [[unlikely]]
            return false;
        begin_always(handle, stop);
        return true;
    }

    /// The same for a wait that ends by itself also in a strand that was asked to stop.
    template <class Promise>
    void begin_always(std::coroutine_handle<Promise> handle, stop_function stop) noexcept {
        handle_ = handle;
        strand_ = strand_of(handle);
        if (strand_ != nullptr) {
            strand_->stop_ = stop;
            strand_->waiting_ = this;
        }
    }

    /// Ends the wait without resuming: for await_suspend that returns false in the end.
    void end() noexcept {
        if (strand_ != nullptr && strand_->waiting_ == this)
            strand_->waiting_ = nullptr;
    }

    /// Ends the wait and resumes the coroutine, in which this object may die.
    void resume() noexcept {
        if (strand_ != nullptr)
            strand_->waiting_ = nullptr;
        detail::resume(handle_);
    }

    /// The same as a value, for await_suspend and final awaiters that transfer to it.
    std::coroutine_handle<> transfer() noexcept {
        if (strand_ != nullptr)
            strand_->waiting_ = nullptr;
        return handle_;
    }

    strand *awaiting_strand() const noexcept { return strand_; }

  private:
    friend class strand;

    std::coroutine_handle<> handle_;
    strand *strand_ = nullptr;
};

inline void strand::request_stop() noexcept {
    if (stop_requested())
        return;
    goes_on_ = 0;
    if (waiting_ != nullptr)
        stop_(*waiting_);
    else if (operation_ > 0)
        aio_ctx_cancel(operation_ctx_, operation_);
}

namespace detail {

/// For this layer alone: where a strand runs.
struct strand_access {
    static home *home_of(const strand *strand) noexcept {
        return strand == nullptr ? nullptr : strand->home_;
    }
};

struct this_strand_awaiter {
    strand *strand_ = nullptr;
    bool await_ready() const noexcept { return false; }
    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        strand_ = strand_of(handle);
        return false;
    }
    strand *await_resume() const noexcept { return strand_; }
};

struct stop_requested_awaiter : this_strand_awaiter {
    bool await_resume() const noexcept { return strand_ != nullptr && strand_->stop_requested(); }
};

} // namespace detail

/// `co_await aio::this_strand()`: the strand that runs; nullptr in a stranger's coroutine. Does not
/// suspend.
inline detail::this_strand_awaiter this_strand() noexcept { return {}; }

/// `if (co_await aio::stop_requested())`: whether the running strand was asked to stop. Does not
/// suspend: for loops that compute.
inline detail::stop_requested_awaiter stop_requested() noexcept { return {}; }

} // namespace aio
