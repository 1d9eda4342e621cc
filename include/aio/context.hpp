// context: one thread's engine, and what runs coroutines on it.
//
//     aio::context ctx;
//     int answer = ctx.run(compute(ctx));     // a task's value, or its exception again
//
// A context is made on any thread, and belongs to the first that uses it; stop, post and what else
// says so may be called from any thread. It may be moved while nothing uses it: operations and
// tasks refer to what is behind it.
#pragma once

#include <aio/detail/strand_group.hpp>
#include <aio/result.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

namespace aio {

namespace detail {

inline result<void> as_result(int32_t status) noexcept {
    if (status < 0) [[unlikely]]
        return unexpected::from_status(status);
    return {};
}

/// Ends an operation whose callback must not come any more. The engine knows which of them refer to
/// memory of ours, and have to be waited for.
inline void abandon(aio_ctx *ctx, aio_op_id id) noexcept {
    if (aio_ctx_detach(ctx, id) == -EBUSY)
        aio_ctx_cancel_wait(ctx, id);
}

/// A century, which is for ever.
inline constexpr uint64_t for_ever_ns = uint64_t{876'600} * 3600 * 1'000'000'000;

/// Nanoseconds for the C interface: never negative, never rounded down to less than asked, and
/// never more than for ever.
template <class Rep, class Period>
constexpr uint64_t to_ns(std::chrono::duration<Rep, Period> duration) noexcept {
    if (!(duration > duration.zero()))
        return 0;
    // Of most units one is a whole number of nanoseconds. Compared before it is multiplied: the
    // conversions of the standard library overflow.
    using unit = std::ratio_divide<Period, std::nano>;
    if constexpr (std::is_integral_v<Rep> && unit::den == 1) {
        const auto count = static_cast<uint64_t>(duration.count());
        return count > for_ever_ns / unit::num ? for_ever_ns : count * unit::num;
    } else {
        const long double ns = static_cast<long double>(duration.count()) * unit::num / unit::den;
        if (!(ns < static_cast<long double>(for_ever_ns)))
            return for_ever_ns;
        const auto whole = static_cast<uint64_t>(ns);
        return whole + (static_cast<long double>(whole) < ns ? 1 : 0);
    }
}

/// A time, as one that can be calculated with: long ago is 0, the boot, and for ever is max().
template <class Duration>
constexpr std::chrono::steady_clock::time_point
to_time(std::chrono::time_point<std::chrono::steady_clock, Duration> time) noexcept {
    using clock = std::chrono::steady_clock;
    const uint64_t ns = to_ns(time.time_since_epoch());
    if (ns == for_ever_ns)
        return clock::time_point::max();
    return clock::time_point(std::chrono::nanoseconds(ns));
}

/// How long it is until then; 0 if it has passed. For what to_time has made.
inline uint64_t ns_until(std::chrono::steady_clock::time_point time) noexcept {
    return to_ns(time - std::chrono::steady_clock::now());
}

/// The shorter of two timeouts, of which 0 is none.
constexpr uint64_t shorter_timeout(uint64_t one, uint64_t other) noexcept {
    return one == 0 || other == 0 ? one + other : std::min(one, other);
}

} // namespace detail

/// Options of a context; the meaning of each is that of the same field of aio_ctx_options.
struct context_options {
    uint32_t backend = AIO_BACKEND_AUTO;
    uint32_t flags = 0;
    uint32_t sq_entries = 0;
    uint32_t cq_entries = 0;
    uint32_t max_ops = 0;
    std::chrono::nanoseconds destroy_grace{0};
    std::chrono::nanoseconds timer_resolution{0};
    aio_log_fn log = nullptr;
    void *log_arg = nullptr;

    /// For fields that are not above: where it is not null it is used as it is, and they are not.
    const aio_ctx_options *native = nullptr;

    aio_ctx_options to_native() const noexcept {
        if (native != nullptr)
            return *native;
        aio_ctx_options options{};
        options.size = sizeof options;
        options.backend = backend;
        options.flags = flags;
        options.sq_entries = sq_entries;
        options.cq_entries = cq_entries;
        options.max_ops = max_ops;
        options.destroy_grace_ns = detail::to_ns(destroy_grace);
        options.timer_resolution_ns = detail::to_ns(timer_resolution);
        options.log = log;
        options.log_arg = log_arg;
        return options;
    }
};

class context {
  public:
    /// Throws std::system_error when there can be none; `create` returns the error instead.
    explicit context(const context_options &options = {}) : context(create(options).value()) {}

    static result<context> create(const context_options &options = {}) {
        aio_ctx *ctx = nullptr;
        const aio_ctx_options native = options.to_native();
        if (int32_t status = aio_ctx_create(&native, &ctx); status != 0)
            return unexpected::from_status(status);
        return context(ctx, true);
    }

    /// A context that belongs to somebody else, such as a worker's, and outlives this object and
    /// the strands that were begun with it.
    static context borrow(aio_ctx *ctx) { return context(ctx, false); }

    context(context &&) noexcept = default;
    context &operator=(context &&other) noexcept {
        std::swap(ctx_, other.ctx_);
        std::swap(home_, other.home_);
        return *this;
    }

    /// Ends everything that is in flight: each strand goes on with errc::aborted from what it
    /// awaits. Strands that wait for each other get no turn any more: what is detached is
    /// destroyed. On the context's thread, before that ends.
    ~context() {
        if (home_ && home_->is_owned)
            destroy();
    }

    /// Runs until stop(), or until nothing is in flight or posted. Context thread.
    result<void> run() { return detail::as_result(aio_ctx_run(native())); }

    /// Waits for something to do, `timeout` at most, and does it: how many callbacks that were.
    result<std::size_t> run_once() { return ran_once(-1); }
    template <class Rep, class Period>
    result<std::size_t> run_once(std::chrono::duration<Rep, Period> timeout) {
        return ran_once(static_cast<int64_t>(detail::to_ns(timeout)));
    }

    /// Runs until stop(), or until `tick`, which is called every `period`, returns false. A tick
    /// that returns nothing goes on for ever.
    template <class Rep, class Period, class Tick>
        requires std::is_invocable_v<Tick &>
    result<void> run(std::chrono::duration<Rep, Period> period, Tick tick);

    /// Runs a task until it is done: its value, or its exception again. A stop() meanwhile asks the
    /// task to stop, and it is still waited for. Throws std::system_error if the context cannot be
    /// run: on a wrong thread, or inside one of its callbacks.
    template <awaitable Awaitable> auto run(Awaitable &&awaitable) -> await_result_t<Awaitable>;

    /// Ends the current or next run. Any thread, and signal handlers.
    void stop() noexcept { aio_ctx_stop(native()); }

    /// Has `fn` called on the context's thread, in order. Any thread. What was accepted is called,
    /// at the latest when the context is destroyed. An exception out of it ends the program.
    template <class F>
        requires std::is_invocable_v<F &>
    result<void> post(F fn);

    /// Keeps run() from ending for lack of work, as long as the object lives. Any thread.
    class hold {
      public:
        explicit hold(context &ctx) noexcept : ctx_(ctx.native()) { aio_ctx_hold(ctx_); }
        hold(hold &&other) noexcept : ctx_(std::exchange(other.ctx_, nullptr)) {}
        hold &operator=(hold &&other) noexcept {
            std::swap(ctx_, other.ctx_);
            return *this;
        }
        ~hold() { aio_ctx_release(ctx_); }

      private:
        aio_ctx *ctx_;
    };

    result<aio_stats> stats() const noexcept {
        aio_stats stats{};
        stats.size = sizeof stats;
        return detail::as_result(aio_ctx_stats(native(), &stats)).transform([&] { return stats; });
    }
    result<aio_info> info() const noexcept {
        aio_info info{};
        info.size = sizeof info;
        return detail::as_result(aio_ctx_info(native(), &info)).transform([&] { return info; });
    }
    /// How many operations have not ended. Context thread.
    std::size_t in_flight() const noexcept {
        return static_cast<std::size_t>(std::max(aio_ctx_in_flight(native()), 0));
    }
    /// What is in flight, as text. Context thread.
    std::string dump() const {
        const int64_t length = aio_ctx_dump(native(), nullptr, 0);
        std::string text(static_cast<std::size_t>(std::max<int64_t>(length, 0)), '\0');
        if (!text.empty())
            aio_ctx_dump(native(), text.data(), text.size() + 1);
        return text;
    }

    /// The context of the C interface.
    aio_ctx *native() const noexcept { return ctx_; }

    /// For this layer: what strands refer to.
    detail::home *where() const noexcept { return home_.get(); }

  private:
    context(aio_ctx *ctx, bool is_owned)
        : ctx_(ctx), home_(std::make_unique<detail::home>(ctx, is_owned)) {}

    result<std::size_t> ran_once(int64_t timeout_ns) noexcept {
        const int32_t count = aio_ctx_run_once(native(), timeout_ns);
        if (count < 0) [[unlikely]]
            return unexpected::from_status(count);
        return static_cast<std::size_t>(count);
    }

    void destroy() noexcept {
        // Refused inside a callback until that returns, on a wrong thread, and when something is
        // stuck: then somebody may still refer to the home, which is left behind.
        const int32_t status = aio_ctx_destroy(home_->ctx);
        if (status != 0 && status != AIO_EORPHANED) [[unlikely]]
            static_cast<void>(home_.release());
    }

    aio_ctx *ctx_;
    std::unique_ptr<detail::home> home_;
};

template <awaitable Awaitable>
auto context::run(Awaitable &&awaitable) -> await_result_t<Awaitable> {
    using T = await_result_t<Awaitable>;
    struct root : detail::strand_group {
        using strand_group::strand_group;
        ~root() override { destroy_all(); }
        std::coroutine_handle<> finished() noexcept override {
            // Not needed where it has ended before the run, and then the next run's stop.
            if (is_running)
                aio_ctx_stop(where()->ctx);
            return std::noop_coroutine();
        }
        bool is_running = false;
    };
    // A wrong thread is told before anything of the task has run there.
    if (const int32_t status = aio_ctx_in_flight(native()); status < 0) [[unlikely]]
        detail::fail(make_error(status), "aio::context::run");
    detail::outcome<T> outcome;
    root root(where());
    const hold hold(*this); // what wakes the task may be no operation: a post, another thread
    root.start(std::forward<Awaitable>(awaitable), outcome);
    while (root.size() != 0) {
        root.is_running = true;
        const int32_t status = aio_ctx_run(native());
        root.is_running = false;
        if (status < 0) [[unlikely]]
            detail::fail(make_error(status), "aio::context::run");
        if (root.size() != 0)
            root.request_stop();
    }
    return outcome.take();
}

template <class Rep, class Period, class Tick>
    requires std::is_invocable_v<Tick &>
result<void> context::run(std::chrono::duration<Rep, Period> period, Tick tick) {
    struct ticker {
        aio_ctx *ctx;
        Tick &tick;
        static void call(void *arg, int32_t, uint32_t flags) noexcept {
            if ((flags & AIO_CQE_MORE) == 0)
                return;
            auto *self = static_cast<ticker *>(arg);
            if constexpr (std::is_void_v<std::invoke_result_t<Tick &>>)
                self->tick();
            else if (!self->tick())
                aio_ctx_stop(self->ctx);
        }
    } ticker{native(), tick};
    const aio_op_id id =
        aio_submit_interval(native(), detail::to_ns(period), nullptr, &ticker::call, &ticker);
    if (id < 0)
        return unexpected::from_status(static_cast<int32_t>(id));
    const int32_t status = aio_ctx_run(native());
    aio_ctx_cancel_wait(native(), id);
    return detail::as_result(status);
}

template <class F>
    requires std::is_invocable_v<F &>
result<void> context::post(F fn) {
    struct posted : detail::pooled_frame {
        explicit posted(F &&fn) : fn(std::move(fn)) {}
        F fn;
        static void call(void *arg) noexcept {
            std::unique_ptr<posted> self(static_cast<posted *>(arg));
            self->fn();
        }
    };
    auto node = std::make_unique<posted>(std::move(fn));
    const int32_t status = aio_ctx_post(native(), &posted::call, node.get());
    if (status == 0)
        static_cast<void>(node.release());
    return detail::as_result(status);
}

/// Runs a task on a context of its own until it is done: for programs and tests of one task that
/// needs no context, and with `context::run` for those that do.
template <awaitable Awaitable> auto sync_wait(Awaitable &&awaitable) -> await_result_t<Awaitable> {
    context ctx;
    return ctx.run(std::forward<Awaitable>(awaitable));
}

/// The same on a context that there is.
template <awaitable Awaitable>
auto sync_wait(context &ctx, Awaitable &&awaitable) -> await_result_t<Awaitable> {
    return ctx.run(std::forward<Awaitable>(awaitable));
}

/// Runs a task that needs a context: `aio::sync_wait([](aio::context &ctx) -> aio::task<> {...})`.
template <class F>
    requires(!awaitable<F> && awaitable<std::invoke_result_t<F &, context &>>)
auto sync_wait(F fn) -> await_result_t<std::invoke_result_t<F &, context &>> {
    context ctx;
    return ctx.run(fn(ctx));
}

} // namespace aio
