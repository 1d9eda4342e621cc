// Strands that are run side by side and end together: what when_all, scope, with_timeout and
// context::run are made of.
//
// Each strand is a coroutine of its own that awaits one awaitable, puts what that gives into an
// outcome of the owner's, tells the group and is gone. A group that dies destroys what still runs:
// operations in flight are ended as operation.hpp says.
#pragma once

#include <aio/detail/home.hpp>
#include <aio/task.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <utility>

namespace aio {
namespace detail {

/// The awaiter of an awaitable, as co_await finds it.
template <class Awaitable> decltype(auto) get_awaiter(Awaitable &&awaitable) {
    if constexpr (requires { std::forward<Awaitable>(awaitable).operator co_await(); })
        return std::forward<Awaitable>(awaitable).operator co_await();
    else if constexpr (requires { operator co_await(std::forward<Awaitable>(awaitable)); })
        return operator co_await(std::forward<Awaitable>(awaitable));
    else
        return std::forward<Awaitable>(awaitable);
}

template <class Awaiter>
concept awaiter = requires(Awaiter &awaiter) {
    { awaiter.await_ready() } -> std::convertible_to<bool>;
    awaiter.await_resume();
};

} // namespace detail

/// What can be awaited: a task, an operation, anything with await_ready and the rest.
template <class T>
concept awaitable = requires(T &&value) {
    { detail::get_awaiter(std::forward<T>(value)) } -> detail::awaiter;
};

/// What `co_await` of it gives.
template <awaitable T>
using await_result_t = decltype(detail::get_awaiter(std::declval<T>()).await_resume());

namespace detail {

class strand_group;

/// Where a strand runs; null for none.
inline home *home_of(const strand *strand) noexcept { return strand_access::home_of(strand); }

/// The coroutine at the bottom of a strand.
struct bottom {
    class promise_type;
};

class bottom::promise_type : public strand, public pooled_frame {
  public:
    template <class Awaitable, class Sink>
    promise_type(strand_group &group, Awaitable &, Sink &sink) noexcept;
    ~promise_type();

    bottom get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }

    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<>
        await_suspend(std::coroutine_handle<promise_type> handle) const noexcept;
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { fail_(sink_); }
    strand *aio_strand() const noexcept { return const_cast<promise_type *>(this); }

  private:
    friend class strand_group;
    strand_group &group_;
    promise_type *next_ = nullptr;
    promise_type *previous_ = nullptr;
    void *sink_;
    void (*fail_)(void *sink) noexcept;
};

class strand_group {
  public:
    explicit strand_group(home *home) noexcept : home_(home) {}
    strand_group(const strand_group &) = delete;
    strand_group &operator=(const strand_group &) = delete;
    virtual ~strand_group();

    /// Runs an awaitable until it waits for the first time, and from then on beside others. What it
    /// gives goes to `sink`, which has set_value and set_exception and outlives the strand.
    template <class Awaitable, class Sink> void start(Awaitable &&awaitable, Sink &sink) {
        run(*this, std::forward<Awaitable>(awaitable), sink);
    }

    /// The same of what a function makes, which is kept for as long as that runs.
    template <class F, class Sink> void start_made(F make, Sink &sink) {
        run_made(*this, std::move(make), sink);
    }

    /// Asks all strands to stop, also those that are started later.
    void request_stop() noexcept {
        stop_requested_ = true;
        for (cursor_ = first_; cursor_ != nullptr;) {
            bottom::promise_type *asked = std::exchange(cursor_, cursor_->next_);
            asked->request_stop();
        }
    }

    bool stop_requested() const noexcept { return stop_requested_; }
    std::size_t size() const noexcept { return size_; }
    home *where() const noexcept { return home_; }

    class join_awaiter;
    /// Waits until no strand is left; any number may. Asking who waits to stop asks all strands to
    /// stop.
    join_awaiter join() noexcept;

  protected:
    /// A strand has ended, and is gone. Returns what goes on now: by default the first that joins,
    /// if it was the last strand; others that join go on later.
    virtual std::coroutine_handle<> finished() noexcept;

    /// Destroys what runs. For destructors of derived classes, whose members sinks may be.
    void destroy_all() noexcept {
        while (first_ != nullptr)
            std::coroutine_handle<bottom::promise_type>::from_promise(*first_).destroy();
    }

  private:
    friend class bottom::promise_type;

    template <class Awaitable, class Sink>
    static bottom run(strand_group &, Awaitable awaitable, Sink &sink) {
        if constexpr (std::is_void_v<await_result_t<Awaitable>>) {
            co_await std::move(awaitable);
            sink.set_value();
        } else {
            sink.set_value(co_await std::move(awaitable));
        }
    }
    template <class F, class Sink> static bottom run_made(strand_group &, F make, Sink &sink) {
        if constexpr (std::is_void_v<await_result_t<std::invoke_result_t<F &>>>) {
            co_await std::invoke(make);
            sink.set_value();
        } else {
            sink.set_value(co_await std::invoke(make));
        }
    }

    void link(bottom::promise_type &strand) noexcept {
        strand.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &strand;
        last_ = &strand;
        size_++;
        if (stop_requested_)
            strand.request_stop();
    }

    void unlink(bottom::promise_type &strand) noexcept {
        (strand.previous_ != nullptr ? strand.previous_->next_ : first_) = strand.next_;
        (strand.next_ != nullptr ? strand.next_->previous_ : last_) = strand.previous_;
        if (cursor_ == &strand)
            cursor_ = strand.next_;
        size_--;
    }

    home *home_;
    bottom::promise_type *first_ = nullptr;
    bottom::promise_type *last_ = nullptr;
    bottom::promise_type *cursor_ = nullptr;
    join_awaiter *joiners_ = nullptr; // first come, first
    std::size_t size_ = 0;
    bool stop_requested_ = false;
};

class strand_group::join_awaiter : public queued_suspension {
  public:
    explicit join_awaiter(strand_group &group) noexcept : group_(group) {}
    ~join_awaiter() {
        if (place_ != nullptr)
            leave();
    }

    bool await_ready() const noexcept { return group_.size_ == 0; }
    template <class Promise> void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        // A join ends when everything has ended, and not before; a stop makes that soon.
        if (strand *parent = strand_of(handle); parent != nullptr && parent->stop_requested())
            group_.request_stop();
        begin_always(handle, [](suspension &self) noexcept {
            static_cast<join_awaiter &>(self).group_.request_stop();
        });
        place_ = &group_.joiners_;
        while (*place_ != nullptr)
            place_ = &(*place_)->next_;
        *place_ = this;
    }
    void await_resume() const noexcept {}

  private:
    friend class strand_group;
    void leave() noexcept {
        *place_ = next_;
        if (next_ != nullptr)
            next_->place_ = place_;
        place_ = nullptr;
    }

    strand_group &group_;
    join_awaiter *next_ = nullptr;
    join_awaiter **place_ = nullptr; // where it is referred to, while it waits
};

inline strand_group::~strand_group() {
    destroy_all();
    while (joiners_ != nullptr)
        joiners_->leave();
}

inline strand_group::join_awaiter strand_group::join() noexcept { return join_awaiter(*this); }

inline std::coroutine_handle<> strand_group::finished() noexcept {
    if (size_ != 0 || joiners_ == nullptr)
        return std::noop_coroutine();
    join_awaiter *const first = joiners_;
    first->leave();
    while (joiners_ != nullptr) [[unlikely]] {
        join_awaiter *const other = joiners_;
        other->leave();
        other->resume_later();
    }
    return first->transfer();
}

template <class Awaitable, class Sink>
bottom::promise_type::promise_type(strand_group &group, Awaitable &, Sink &sink) noexcept
    : strand(group.where()), group_(group), sink_(std::addressof(sink)),
      fail_([](void *to) noexcept { static_cast<Sink *>(to)->set_exception(); }) {
    group.link(*this);
}

inline bottom::promise_type::~promise_type() { group_.unlink(*this); }

inline std::coroutine_handle<> bottom::promise_type::final_awaiter::await_suspend(
    std::coroutine_handle<promise_type> handle) const noexcept {
    strand_group &group = handle.promise().group_;
    handle.destroy();
    return group.finished();
}

} // namespace detail
} // namespace aio
