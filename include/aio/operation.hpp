// operation: an aio_submit_* call that can be awaited.
//
// The free functions aio::<op>(ctx, ...) return one. It is a description: movable, nothing is
// submitted yet, options can be set on it:
//
//     auto got = co_await aio::recv(ctx, fd, buffer).timeout(30s).cancel_on(token);
//     if (!got) log(got.error());         // result<std::size_t>
//
// `co_await` makes the state of the operation in the awaiting coroutine's frame and submits; the
// callback resumes the coroutine. That allocates nothing. In a strand that was asked to stop
// nothing is submitted, and the result is std::errc::operation_canceled; while it waits, a request
// to stop cancels it.
//
// Destroying a coroutine with an operation in flight never leaves a late write behind: the
// operation is detached where it refers to no memory of the program (timers, polls, accepts,
// connects, closes, receives into a pool), and cancelled and waited for where it does
// (aio_ctx_cancel_wait). That wait is short for sockets, pipes and timers; a disk transfer that
// runs cannot be stopped, and is waited for. Receives into a buffer_pool never wait.
//
// A description that is kept for later, or given to when_all, holds what its arguments refer to by
// reference: buffers and paths must live until the operation has ended.
#pragma once

#include <aio/detail/call.hpp>
#include <aio/detail/gives.hpp>
#include <aio/detail/submit_options.hpp>
#include <aio/result.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

namespace aio {
namespace detail {

/// What the callback writes, in the awaiting frame. Nothing of it is set before it is needed, and
/// each store was counted (tools/bench --gate).
class operation_state {
  protected:
    explicit operation_state(aio_ctx *ctx) noexcept : ctx_(ctx) {}

    /// Only what was not awaited yet is moved: there is nothing to move but the context.
    operation_state(operation_state &&other) noexcept : ctx_(other.ctx_) {}

    ~operation_state() = default;

    bool is_in_flight() const noexcept { return awaiting_ != nullptr; }

    [[gnu::cold, gnu::noinline]] void abandon() noexcept { detail::abandon(ctx_, id_); }

    /// The callback of all operations.
    static void complete(void *user_data, int32_t result, uint32_t flags) noexcept {
        auto *self = static_cast<operation_state *>(user_data);
        self->result_ = result;
        self->flags_ = flags;
        resume(self->awaiting_);
    }

    /// That of zero-copy sends: the buffer is the sender's again at the notification, which comes
    /// after the result.
    static void complete_notified(void *user_data, int32_t result, uint32_t flags) noexcept {
        auto *self = static_cast<operation_state *>(user_data);
        if ((flags & AIO_CQE_NOTIFY) == 0) {
            self->result_ = result;
            self->flags_ = flags;
        } else if (result > 0) {
            self->flags_ |= AIO_CQE_NOTIFY; // it was copied after all
        }
        if ((flags & AIO_CQE_MORE) == 0)
            resume(self->awaiting_);
    }

    static void resume(void *frame) noexcept {
        detail::resume(std::coroutine_handle<>::from_address(frame));
    }

    /// For await_suspend: nothing was submitted, the coroutine goes on.
    bool refused(aio_op_id status) noexcept {
        result_ = static_cast<int32_t>(status);
        flags_ = 0;
        return false;
    }

    /// The end of await_resume, whichever way: the operation has landed. That is noted last, so
    /// that compilers see that nobody reads it where the operation dies next.
    class landing {
      public:
        explicit landing(operation_state &of) noexcept : of_(of) {}
        landing(const landing &) = delete;
        landing &operator=(const landing &) = delete;
        ~landing() { of_.awaiting_ = nullptr; }

      private:
        operation_state &of_;
    };

    aio_ctx *ctx_;
    aio_op_id id_;             // of what is in flight
    void *awaiting_ = nullptr; // the frame, from the submit until it is resumed
    int32_t result_;
    uint32_t flags_;
};

} // namespace detail

/// A submit call and its options: see the top of this file. It is its own awaiter: not to be moved
/// while it is awaited.
///
/// `Gives` says what its result is of, `Call` which function it calls with which arguments; the
/// others what was asked for in addition.
template <class Gives, class Call, class Options = detail::no_options,
          class Token = detail::no_token>
class [[nodiscard("aio: an operation runs only when it is awaited")]] operation final
    : private detail::operation_state {
    static constexpr bool has_options = !std::is_same_v<Options, detail::no_options>;
    using with_options = operation<Gives, Call, detail::set_options, Token>;

  public:
    using value_type = typename Gives::type;

    operation(aio_ctx *ctx, Call call) noexcept
        requires(!has_options)
        : operation_state(ctx), call_(std::move(call)) {}
    operation(operation &&) noexcept = default;
    // Here and not in the base: what the call owns lives until the engine needs it no more.
    ~operation() {
        if (this->is_in_flight()) [[unlikely]]
            this->abandon();
    }

    // ---- options ----

    /// Ends it with errc::deadline when it has not ended in so long a time from its submit.
    template <class Rep, class Period>
    with_options timeout(std::chrono::duration<Rep, Period> duration) && {
        const uint64_t ns = detail::to_ns(duration);
        return std::move(*this).changed([&](auto &o) { o.native.timeout_ns = ns == 0 ? 1 : ns; });
    }
    /// The same at a time. Of both, what comes first.
    template <class Duration>
    with_options deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> time) && {
        return std::move(*this).changed([&](auto &o) { o.deadline = detail::to_time(time); });
    }
    /// The next operation that is submitted starts when this one has succeeded. For members of
    /// `chain` and `when_all`: one that is awaited by itself has no next one in time.
    with_options link() && { return std::move(*this).flagged(AIO_SUBMIT_LINK); }
    /// The same, whatever its result.
    with_options hard_link() && { return std::move(*this).flagged(AIO_SUBMIT_HARDLINK); }
    /// Starts when all one-shot operations that were submitted before have completed.
    with_options barrier() && { return std::move(*this).flagged(AIO_SUBMIT_BARRIER); }
    /// On a kernel worker from the start.
    with_options async() && { return std::move(*this).flagged(AIO_SUBMIT_ASYNC); }
    /// The descriptor that is made survives exec.
    with_options inherit() && { return std::move(*this).flagged(AIO_SUBMIT_INHERIT); }
    /// What is made goes into the context's table, into a free slot.
    with_options direct() && { return std::move(*this).flagged(AIO_SUBMIT_DIRECT); }
    /// The same, into this slot.
    with_options direct(uint32_t slot) && {
        return std::move(*this).changed([&](auto &o) {
            o.native.flags |= AIO_SUBMIT_DIRECT;
            o.native.file_slot = slot + 1;
        });
    }
    /// What can only be waited for ends with its own result also when it was cancelled.
    with_options keep_result() && { return std::move(*this).flagged(AIO_SUBMIT_KEEP_RESULT); }
    /// What aio_ctx_cancel_group can name; not 0.
    with_options group(uint64_t group) && {
        return std::move(*this).changed([&](auto &o) { o.native.group = group; });
    }
    /// Whatever else aio_submit_options has: `.with([](aio_submit_options &o) { o.ioprio = 1; })`.
    template <class F>
        requires std::is_invocable_v<F &, aio_submit_options &>
    with_options with(F change) && {
        return std::move(*this).changed([&](auto &o) { change(o.native); });
    }
    /// Cancels it when a token of another thread or library is stopped: std::stop_token, or one
    /// with callback_type as P2300 has it. The strand's own stop needs no token.
    template <class Stop> operation<Gives, Call, Options, Stop> cancel_on(Stop token) && {
        return {std::move(*this), std::move(token)};
    }

    // ---- awaiting ----

    bool await_ready() const noexcept { return false; }

    template <class Promise>
    [[gnu::always_inline]] bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        awaiting_ = handle.address();
        const aio_op_id id = submit_to(where_to(handle), callback(), static_cast<base *>(this));
        if (id < 0) [[unlikely]]
            return refused(is_stopped(again(handle)) ? -ECANCELED : id);
        id_ = id;
        if constexpr (strand_promise<Promise>)
            strand_of(again(handle))->waits_for(id);
        watch_.begin(token_, ctx_, id);
        return true;
    }

    result<value_type> await_resume() noexcept {
        const landing down(*this);
        watch_.end();
        if (result_ < 0) [[unlikely]]
            return unexpected::from_status(result_, flags_);
        if constexpr (std::is_void_v<value_type>)
            return {};
        else
            return result<value_type>(
                std::in_place, Gives::from(detail::told{ctx_, result_, flags_, asked()}, call_));
    }

    // ---- for other ways to await ----

    /// Submits, as often as one likes.
    aio_op_id submit(aio_callback callback, void *user_data) const noexcept {
        return submit_to(ctx_, callback, user_data);
    }
    aio_ctx *native() const noexcept { return ctx_; }

  private:
    using base = detail::operation_state;
    template <class, class, class, class> friend class operation;

    template <class Before, class Change>
        requires(has_options)
    operation(Before &&before, const Change &change)
        : operation_state(std::move(before)), call_(std::move(before.call_)),
          options_(std::move(before.options_)), token_(std::move(before.token_)) {
        change(options_);
    }
    template <class Before>
    operation(Before &&before, Token token) noexcept
        : operation_state(std::move(before)), call_(std::move(before.call_)),
          options_(std::move(before.options_)), token_(std::move(token)) {}

    [[gnu::always_inline]] aio_op_id submit_to(aio_ctx *ctx, aio_callback callback,
                                               void *user_data) const noexcept {
        if (has_options || call_.is_on_slot()) [[unlikely]]
            return submit_with_options(ctx, callback, user_data);
        return call_(ctx, nullptr, callback, user_data);
    }
    // Not inlined: a frame of the stack for the options would be made by every resumption.
    [[gnu::noinline]] aio_op_id submit_with_options(aio_ctx *ctx, aio_callback callback,
                                                    void *user_data) const noexcept {
        aio_submit_options options = detail::set_options(options_).at_submit();
        options.flags |= call_.is_on_slot() ? AIO_SUBMIT_FIXED_FILE : 0;
        return call_(ctx, &options, callback, user_data);
    }

    /// The context, or null in a strand that was asked to stop.
    template <class Promise>
    aio_ctx *where_to(std::coroutine_handle<Promise> handle) const noexcept {
        if constexpr (strand_promise<Promise>)
            return strand_of(handle)->begins(ctx_);
        else
            return ctx_;
    }
    template <class Promise>
    static bool is_stopped(std::coroutine_handle<Promise> handle) noexcept {
        if constexpr (strand_promise<Promise>)
            return strand_of(handle)->stop_requested();
        else
            return false;
    }
    /// The handle after a call: GCC would keep it in a register that has to be saved for that.
    template <class Promise>
    std::coroutine_handle<Promise> again(std::coroutine_handle<Promise> handle) const noexcept {
#if AIO_DETAIL_FRAME_IS_KNOWN
        return handle;
#else
        return handle.from_address(awaiting_);
#endif
    }

    template <class Change> with_options changed(const Change &change) && {
        return with_options(std::move(*this), change);
    }
    with_options flagged(uint32_t flag) && {
        return std::move(*this).changed([flag](auto &o) { o.native.flags |= flag; });
    }
    uint32_t asked() const noexcept {
        if constexpr (has_options)
            return options_.native.flags;
        else
            return 0;
    }
    static constexpr aio_callback callback() noexcept {
        if constexpr (requires { Gives::is_notified; })
            return &operation_state::complete_notified;
        else
            return &operation_state::complete;
    }

    [[no_unique_address]] Call call_;
    [[no_unique_address]] Options options_;
    [[no_unique_address]] Token token_;
    [[no_unique_address]] detail::token_watch<Token> watch_;
};

namespace detail {

/// How the functions of operations make theirs:
/// `return detail::submits<detail::gives_count, &aio_submit_read>(ctx, fd, data, size, offset);`
template <class Gives, auto Function, class... Args>
operation<Gives, call<Function, Args...>> submits(context &ctx, Args... args) noexcept {
    return {ctx.native(), call<Function, Args...>(std::move(args)...)};
}

} // namespace detail
} // namespace aio
