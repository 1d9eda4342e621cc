// multishot: an operation with many results, as an async range.
//
//     auto acceptor = aio::accept_multishot(ctx, listener);
//     while (auto connection = co_await acceptor.next())
//         connections.spawn(serve(ctx, std::move(*connection)));
//     if (acceptor.error() != aio::errc::eof) ...           // why it has ended
//
// An error has ended it: to go on, begin another. (A server out of descriptors pauses first.)
//
// Nothing is submitted before the first next(). What arrives while nobody awaits is kept, up to
// max_pending results (64 unless you say otherwise): then the operation is ended, and begun again
// when what is kept has been taken. So a slow consumer is felt by who sends, as it should be.
//
// Movable, at any time. Destroying it ends the operation, and gives back what nobody took:
// descriptors are closed, buffers released. Its state is one block of the frame pool.
#pragma once

#include <aio/detail/ring.hpp>
#include <aio/operation.hpp>

#include <memory>
#include <utility>

namespace aio {

/// An operation with many results: see the top of this file. As for operation, `Gives` says what
/// each result is of, and `Call` which function is called.
template <class Gives, class Call> class [[nodiscard]] multishot {
    struct state;

  public:
    using value_type = typename Gives::type;

    multishot(aio_ctx *ctx, Call call) : state_(new state(ctx, std::move(call))) {}

    // ---- options: before the first next() ----

    /// Ends it with errc::deadline so long after the first next(). Instead of idle_timeout().
    template <class Rep, class Period>
    multishot timeout(std::chrono::duration<Rep, Period> duration) && {
        state_->timeout_ns = std::max<uint64_t>(detail::to_ns(duration), 1);
        state_->options.native.flags &= ~AIO_SUBMIT_TIMEOUT_IDLE;
        state_->options.native.timeout_ns = 0;
        return std::move(*this);
    }
    /// Ends it with errc::deadline when nothing has come for so long. Instead of timeout().
    template <class Rep, class Period>
    multishot idle_timeout(std::chrono::duration<Rep, Period> duration) && {
        state_->options.native.flags |= AIO_SUBMIT_TIMEOUT_IDLE;
        state_->options.native.timeout_ns = std::max<uint64_t>(detail::to_ns(duration), 1);
        state_->timeout_ns = 0;
        return std::move(*this);
    }
    /// How many results are kept for who is slow; at least 1.
    multishot max_pending(std::size_t count) && {
        state_->pending_max = std::max<std::size_t>(count, 1);
        return std::move(*this);
    }
    /// What it makes goes into free slots of the context's table.
    multishot direct() && {
        state_->options.native.flags |= AIO_SUBMIT_DIRECT;
        return std::move(*this);
    }
    /// The descriptors that it makes survive exec.
    multishot inherit() && {
        state_->options.native.flags |= AIO_SUBMIT_INHERIT;
        return std::move(*this);
    }
    /// Whatever else aio_submit_options has.
    template <class F>
        requires std::is_invocable_v<F &, aio_submit_options &>
    multishot with(F change) && {
        change(state_->options.native);
        return std::move(*this);
    }

    // ---- use ----

    class next_awaiter;
    /// What next() gives: movable, and awaited once.
    class [[nodiscard("aio: the next result comes when this is awaited")]] next_result {
      public:
        next_awaiter operator co_await() const noexcept { return next_awaiter(*from_); }

      private:
        friend multishot;
        explicit next_result(typename multishot::state &from) noexcept : from_(&from) {}
        typename multishot::state *from_;
    };
    /// The next result; or why there is none: errc::eof at the end, an error, or
    /// std::errc::operation_canceled when the strand was asked to stop, which ends this wait alone.
    /// One at a time.
    next_result next() noexcept { return next_result(*state_); }

    /// Ends the operation; what has arrived can still be taken. Context thread.
    void request_stop() noexcept {
        state_->stops = true;
        if (state_->id > 0)
            aio_ctx_cancel(state_->ctx, state_->id);
        else if (!state_->ended)
            state_->end(make_error(-ECANCELED));
    }

    /// Why it has ended; no error while it has not.
    std::error_code error() const noexcept { return state_->ended; }
    /// How many results wait to be taken.
    std::size_t pending() const noexcept { return state_->pending.size(); }

  private:
    std::unique_ptr<state> state_;
};

template <class Gives, class Call> struct multishot<Gives, Call>::state : detail::pooled_frame {
    state(aio_ctx *ctx, Call &&call) : ctx(ctx), call(std::move(call)) {}
    state(const state &) = delete;
    state &operator=(const state &) = delete;
    ~state() {
        if (id > 0)
            detail::abandon(ctx, id);
        if (waiter != nullptr)
            waiter->abandon();
    }

    /// Begins, or goes on after a pause.
    void begin() noexcept {
        if (timeout_ns != 0 && !options.deadline)
            options.deadline =
                std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout_ns);
        aio_submit_options given = options.at_submit();
        given.flags |= call.is_on_slot() ? AIO_SUBMIT_FIXED_FILE : 0;
        id = call(ctx, &given, &state::deliver, this);
        if (id < 0)
            end(make_error(static_cast<int32_t>(id)));
    }

    void end(std::error_code why) noexcept {
        id = 0;
        ended = why;
    }

    static void deliver(void *user_data, int32_t result, uint32_t flags) noexcept {
        auto *self = static_cast<state *>(user_data);
        const bool is_last = (flags & AIO_CQE_MORE) == 0;
        if (result >= 0 && (!is_last || (flags & AIO_CQE_BUFFER) != 0 || Gives::last_is_result))
            self->try_take({self->ctx, result, flags, self->options.native.flags});
        if (is_last)
            self->last(result, flags);
        else if (self->has_lost)
            aio_ctx_cancel(self->ctx, self->id);
        else if (self->pending.size() >= self->pending_max && !self->pauses)
            self->pauses = aio_ctx_cancel(self->ctx, self->id) == 0;
        if (self->waiter != nullptr && (!self->pending.empty() || self->ended))
            std::exchange(self->waiter, nullptr)->arrived();
        else if (self->waiter != nullptr && self->id == 0)
            self->begin_for_waiter();
    }

    /// What there is no memory for is given back, and is the end, which says so.
    void try_take(const detail::told &now) noexcept {
#if AIO_DETAIL_EXCEPTIONS
        try {
            take(now);
        } catch (...) {
            has_lost = true;
        }
#else
        take(now);
#endif
    }

    void take(const detail::told &now) {
        if constexpr (requires { Gives::each(now, call, [](value_type &&) {}); })
            Gives::each(now, call, [this](value_type &&value) { pending.push(std::move(value)); });
        else
            pending.push(Gives::from(now, call));
    }

    void last(int32_t result, uint32_t flags) noexcept {
        const std::error_code why = has_lost     ? make_error(-ENOMEM)
                                    : result < 0 ? make_error(result, flags)
                                                 : std::error_code(errc::eof);
        id = 0;
        // What we have ended ourselves goes on when there is room.
        if (std::exchange(pauses, false) && !stops && why == make_error(-ECANCELED))
            return;
        ended = why;
    }

    /// The last thing that a callback does.
    void begin_for_waiter() noexcept {
        begin();
        if (ended)
            std::exchange(waiter, nullptr)->arrived();
    }

    aio_ctx *ctx;
    aio_op_id id = 0;
    next_awaiter *waiter = nullptr;
    bool pauses = false; // it was cancelled because too much is pending
    bool stops = false;  // by request_stop
    bool has_lost = false;
    std::error_code ended;
    std::size_t pending_max = 64;
    uint64_t timeout_ns = 0;
    detail::ring<value_type> pending;
    detail::set_options options;
    Call call;
};

template <class Gives, class Call>
class multishot<Gives, Call>::next_awaiter final : public queued_suspension {
  public:
    explicit next_awaiter(state &from) noexcept : from_(&from) {}
    ~next_awaiter() {
        if (from_ != nullptr && from_->waiter == this)
            from_->waiter = nullptr;
    }

    bool await_ready() const noexcept { return !from_->pending.empty(); }

    template <class Promise> bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        if (from_->ended)
            return false;
        if (!this->begin(handle, [](suspension &self) noexcept {
                static_cast<next_awaiter &>(self).abandon();
            })) {
            from_ = nullptr;
            return false;
        }
        if (from_->id == 0)
            from_->begin();
        if (from_->ended) {
            this->end();
            return false;
        }
        from_->waiter = this;
        return true;
    }

    result<value_type> await_resume() noexcept {
        if (from_ == nullptr)
            return unexpected(std::errc::operation_canceled);
        if (from_->pending.empty())
            return unexpected(from_->ended);
        return result<value_type>(std::in_place, from_->pending.pop());
    }

  private:
    friend struct multishot::state;

    void arrived() noexcept { this->resume(); }
    /// The wait ends, without a result.
    void abandon() noexcept {
        if (from_->waiter == this)
            from_->waiter = nullptr;
        from_ = nullptr;
        this->resume_later();
    }

    state *from_; // null when there is nothing to take
};

namespace detail {

/// As submits, for operations with many results.
template <class Gives, auto Function, class... Args>
multishot<Gives, call<Function, Args...>> repeats(context &ctx, Args... args) {
    return {ctx.native(), call<Function, Args...>(std::move(args)...)};
}

} // namespace detail
} // namespace aio
