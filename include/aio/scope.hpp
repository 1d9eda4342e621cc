// scope: tasks side by side, that cannot outlive it.
//
//     aio::task<> serve(aio::context &ctx, aio::file_ref listener) {
//         aio::scope connections(ctx, {.concurrency = 1000});
//         auto acceptor = aio::accept_multishot(ctx, listener);
//         while (auto connection = co_await acceptor.next())
//             connections.spawn(talk(ctx, std::move(*connection)));
//         co_await connections.join_for(5s);
//     }
//
// join() waits for all of them. An exception in one asks the others to stop, and comes out of
// join(), and of nothing else: a scope that dies without a join has lost it. An error that a task
// returns (result<void>) asks nobody to stop, and join() returns the first. A stop of the strand
// that joins is passed on. A scope that was asked to stop stays so: what is spawned later ends at
// the first thing that it waits for. A scope that dies with tasks in it destroys them: what they
// have in flight is ended as operation.hpp says, and nothing of them is left when its destructor
// returns.
#pragma once

#include <aio/detail/alarm.hpp>
#include <aio/detail/ring.hpp>

#include <functional>
#include <utility>

namespace aio {

struct scope_options {
    /// How many tasks run at a time; others begin when one has ended. 0: no limit.
    std::size_t concurrency = 0;
};

namespace detail {

/// The error in what an awaitable gave; none if that is no result.
template <class T> std::error_code error_of(const T &given) noexcept {
    if constexpr (is_result<T>)
        return given.error();
    else
        return {};
}

/// A task that ends with nothing, or an error, of anything that can be awaited: what waits for its
/// turn has to be of one type.
template <class Awaitable> task<result<void>> as_member(Awaitable awaitable) {
    using T = await_result_t<Awaitable>;
    if constexpr (is_result<std::remove_cvref_t<T>>) {
        auto ended = co_await std::move(awaitable);
        if (!ended)
            co_return unexpected(ended.error());
    } else {
        static_cast<void>(co_await std::move(awaitable));
    }
    co_return result<void>();
}

/// The same of a function that makes it, which is kept for as long as what it makes runs: so that a
/// lambda's captures live.
template <class F> task<result<void>> as_member_of(F make) {
    co_return co_await as_member(std::invoke(make));
}

} // namespace detail

class scope : private detail::strand_group {
  public:
    explicit scope(context &ctx, scope_options options = {}) noexcept
        : strand_group(ctx.where()), options_(options) {}
    ~scope() override;

    /// Runs a task, or anything that can be awaited, until it waits for the first time, and from
    /// then on beside the others. Where `concurrency` run already it begins later.
    template <awaitable Awaitable> void spawn(Awaitable &&awaitable) {
        if (is_to_wait())
            waiting_.push(detail::as_member<std::remove_cvref_t<Awaitable>>(
                std::forward<Awaitable>(awaitable)));
        else
            start(std::forward<Awaitable>(awaitable), sink_);
    }
    /// The same of what a function returns: `spawn([&, fd]() -> task<> {...})`. The function, and
    /// so what a lambda captures, lives as long as its task.
    template <class F>
        requires(!awaitable<F> && awaitable<std::invoke_result_t<F &>>)
    void spawn(F make) {
        if (is_to_wait())
            waiting_.push(detail::as_member_of(std::move(make)));
        else
            start_made(std::move(make), sink_);
    }

    /// Waits until there is room for one more: for those who make tasks faster than these end.
    /// False when the strand or the scope was asked to stop, also by an exception in a task, or the
    /// scope has died. First come, first served; the room is nobody's until something is spawned,
    /// and is offered to the next meanwhile.
    task<bool> admit();

    /// Waits for all tasks; throws the first exception, returns the first error.
    task<result<void>> join() {
        co_await strand_group::join();
#if AIO_DETAIL_EXCEPTIONS
        if (failure_)
            std::rethrow_exception(std::exchange(failure_, nullptr));
#endif
        if (error_)
            co_return unexpected(std::exchange(error_, {}));
        co_return result<void>();
    }

    /// The same; those that run after this time are asked to stop, and waited for. errc::deadline
    /// if there were any.
    template <class Rep, class Period>
    task<result<void>> join_for(std::chrono::duration<Rep, Period> patience) {
        if (size() == 0)
            co_return co_await join();
        detail::alarm alarm(where()->ctx, detail::to_ns(patience), &scope::time_is_up, this);
        auto joined = co_await join();
        if (alarm.has_fired())
            co_return unexpected(errc::deadline);
        co_return joined;
    }

    /// Asks all tasks to stop, also those that are spawned later, and does not begin those that
    /// wait for their turn.
    void request_stop() noexcept {
        waiting_.clear();
        strand_group::request_stop();
    }
    bool stop_requested() const noexcept { return strand_group::stop_requested(); }

    /// How many tasks run, and how many wait for their turn.
    std::size_t size() const noexcept { return strand_group::size(); }
    std::size_t waiting() const noexcept { return waiting_.size(); }

  private:
    /// What the tasks end with comes here.
    struct sink {
        scope &owner;
        void set_value() noexcept {}
        template <class T> void set_value(const T &given) noexcept {
            if (const std::error_code error = detail::error_of(given); error && !owner.error_)
                owner.error_ = error;
        }
        void set_exception() noexcept {
#if AIO_DETAIL_EXCEPTIONS
            if (!owner.failure_)
                owner.failure_ = std::current_exception();
#endif
            owner.request_stop();
        }
    };

    bool is_full() const noexcept {
        return options_.concurrency != 0 && size() >= options_.concurrency;
    }

    bool is_to_wait() const noexcept { return is_full() || !waiting_.empty(); }

    std::coroutine_handle<> finished() noexcept override {
        // Tasks that end at once are begun in a loop, not inside each other. They are not the end
        // of all: others may wait, and who joins would destroy the scope inside the loop.
        if (std::exchange(is_starting_, true))
            return std::noop_coroutine();
        while (!waiting_.empty() && !is_full())
            start_next();
        is_starting_ = false;
        admit_next();
        return strand_group::finished();
    }

    void start_next() noexcept {
#if AIO_DETAIL_EXCEPTIONS
        try {
            start(waiting_.pop(), sink_);
        } catch (...) {
            sink_.set_exception(); // no memory for its strand
        }
#else
        start(waiting_.pop(), sink_);
#endif
    }

    class admission;
    void admit_next() noexcept;
    static void time_is_up(void *arg) noexcept { static_cast<scope *>(arg)->request_stop(); }

    scope_options options_;
    sink sink_{*this};
    std::error_code error_;
#if AIO_DETAIL_EXCEPTIONS
    std::exception_ptr failure_;
#endif
    detail::ring<task<result<void>>> waiting_;
    admission *admissions_ = nullptr; // first in, first out
    admission *last_admission_ = nullptr;
    admission *told_ = nullptr; // of room, and has not looked yet
    bool is_starting_ = false;
};

/// Waits until it is told that there may be room. One is told at a time, and tells the next when it
/// has looked, or dies: so that room which nobody takes is not lost, and the order is kept.
class scope::admission final : public queued_suspension {
  public:
    /// `is_first`: it was told before, and somebody else had taken the room.
    admission(scope &to, bool is_first) noexcept : scope_(&to), is_first_(is_first) {}
    ~admission() {
        leave();
        if (has_looked())
            scope_->admit_next();
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        if (!begin(handle, [](suspension &self) noexcept {
                auto &mine = static_cast<admission &>(self);
                mine.leave();
                mine.scope_ = nullptr;
                mine.resume_later();
            })) {
            scope_ = nullptr;
            return false;
        }
        enlist();
        return true;
    }
    /// False: stopped, or there is no scope any more.
    bool await_resume() noexcept {
        has_looked();
        return scope_ != nullptr;
    }

  private:
    friend scope;
    void enlist() noexcept {
        previous_ = is_first_ ? nullptr : scope_->last_admission_;
        next_ = is_first_ ? scope_->admissions_ : nullptr;
        (previous_ != nullptr ? previous_->next_ : scope_->admissions_) = this;
        (next_ != nullptr ? next_->previous_ : scope_->last_admission_) = this;
        is_enlisted_ = true;
    }
    void leave() noexcept {
        if (!std::exchange(is_enlisted_, false))
            return;
        (previous_ != nullptr ? previous_->next_ : scope_->admissions_) = next_;
        (next_ != nullptr ? next_->previous_ : scope_->last_admission_) = previous_;
    }
    void tell() noexcept {
        leave();
        scope_->told_ = this;
        resume_later();
    }
    /// Whether it had been told, and has not said so yet.
    bool has_looked() noexcept {
        if (scope_ == nullptr || scope_->told_ != this)
            return false;
        scope_->told_ = nullptr;
        return true;
    }
    void lose() noexcept {
        leave();
        scope_ = nullptr;
        resume_later();
    }

    scope *scope_;
    admission *next_ = nullptr;
    admission *previous_ = nullptr;
    bool is_first_;
    bool is_enlisted_ = false;
};

inline scope::~scope() {
    waiting_.clear();
    destroy_all();
    if (told_ != nullptr)
        told_->scope_ = nullptr;
    while (admissions_ != nullptr)
        admissions_->lose();
}

inline task<bool> scope::admit() {
    bool is_first = false;
    while (is_full() || (!is_first && (admissions_ != nullptr || told_ != nullptr))) {
        if (!co_await admission(*this, is_first))
            co_return false;
        is_first = true;
    }
    admit_next();
    // What is spawned in a stopped scope ends at once: who goes on would never wait again.
    co_return !stop_requested();
}

inline void scope::admit_next() noexcept {
    if (admissions_ != nullptr && told_ == nullptr && waiting_.empty() && !is_full())
        admissions_->tell();
}

namespace detail {

/// A group of one strand that belongs to its context.
template <class Handler> class detached_group final : public strand_group, public home::resident {
  public:
    detached_group(home *home, Handler handler) : strand_group(home), handler_(std::move(handler)) {
        home->enlist(*this);
    }
    ~detached_group() override { destroy_all(); }

    void set_value() noexcept {}
    template <class T> void set_value(const T &given) noexcept {
        if (const std::error_code error = error_of(given))
            handler_(error);
    }
    void set_exception() noexcept {
#if AIO_DETAIL_EXCEPTIONS
        if constexpr (std::is_invocable_v<Handler &, std::exception_ptr>)
            handler_(std::current_exception());
        else
#endif
            std::terminate();
    }
    std::coroutine_handle<> finished() noexcept override {
        delete this;
        return std::noop_coroutine();
    }

  private:
    Handler handler_;
};

/// Of errors and exceptions that nobody asked for.
struct terminate_on_error {
#if AIO_DETAIL_EXCEPTIONS
    [[noreturn]] void operator()(std::exception_ptr error) const { std::rethrow_exception(error); }
#endif
    void operator()(std::error_code) const noexcept {}
};

} // namespace detail

/// Runs a task that nobody awaits. `on_error` is told of an error that it returns
/// (std::error_code) and of an exception (std::exception_ptr); without it the first is dropped and
/// the second ends the program. What still runs when the context is destroyed is destroyed with it.
template <awaitable Awaitable, class Handler = detail::terminate_on_error>
void detached(context &ctx, Awaitable &&awaitable, Handler on_error = {}) {
    auto *group = new detail::detached_group<Handler>(ctx.where(), std::move(on_error));
#if AIO_DETAIL_EXCEPTIONS
    try {
        group->start(std::forward<Awaitable>(awaitable), *group);
    } catch (...) {
        delete group; // no memory for its strand: nothing has begun
        throw;
    }
#else
    group->start(std::forward<Awaitable>(awaitable), *group);
#endif
}

} // namespace aio
