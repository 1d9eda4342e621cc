// thread_pool and offload: functions that block or compute long run on other threads, and give
// their values, or throw, where they were awaited.
//
//     aio::thread_pool pool;
//     auto hash = co_await aio::offload(ctx, pool, [&] { return sha256(data); }).timeout(1s);
//     use(hash.value());                      // result<digest>; sha256's exception is thrown above
//
// A function that has begun cannot be stopped: a cancel, a deadline and the destruction of the
// awaiting coroutine wait for it, and so it may refer to the coroutine's frame. One that has not
// begun is not called then.
//
// With GCC 12, which copies closures inside co_await expressions bit by bit, a lambda that captures
// by value what has a destructor is made before: `auto fn = [data = std::move(data)] {...};`.
#pragma once

#include <aio/detail/adapted.hpp>

#include <memory>

namespace aio {

/// Options of a pool; the meaning of each is that of the same field of aio_thread_pool_options.
struct thread_pool_options {
    uint32_t kind = AIO_THREAD_POOL_BLOCKING;
    uint32_t threads_max = 0;
    uint32_t threads_min = 0;
    uint32_t queue_max = 0;
    std::chrono::nanoseconds idle{0};
    uint64_t stack_size = 0;
    const char *name = nullptr;

    /// For fields that are not above: where it is not null it is used as it is, and they are not.
    const aio_thread_pool_options *native = nullptr;

    aio_thread_pool_options to_native() const noexcept {
        if (native != nullptr)
            return *native;
        aio_thread_pool_options options{};
        options.size = sizeof options;
        options.kind = kind;
        options.threads_max = threads_max;
        options.threads_min = threads_min;
        options.queue_max = queue_max;
        options.idle_ns = detail::to_ns(idle);
        options.stack_size = stack_size;
        options.name = name;
        return options;
    }
};

/// Threads for offload and poll_until, of any number of contexts. Any thread makes and destroys it,
/// but not one of its own.
class thread_pool {
  public:
    static result<thread_pool> create(const thread_pool_options &options = {}) {
        aio_thread_pool *made = nullptr;
        const aio_thread_pool_options native = options.to_native();
        if (int32_t status = aio_thread_pool_create(&native, &made); status != 0)
            return unexpected::from_status(status);
        return thread_pool(made);
    }
    /// Throws std::system_error when there can be none.
    explicit thread_pool(const thread_pool_options &options = {})
        : thread_pool(create(options).value()) {}

    thread_pool(thread_pool &&other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
    thread_pool &operator=(thread_pool &&other) noexcept {
        std::swap(pool_, other.pool_);
        return *this;
    }
    /// Waits for functions that run; those that have not begun end with errc::aborted.
    ~thread_pool() { aio_thread_pool_destroy(pool_); }

    result<aio_thread_pool_status> info() const noexcept {
        aio_thread_pool_status status{};
        status.size = sizeof status;
        return detail::as_result(aio_thread_pool_info(pool_, &status)).transform([&] {
            return status;
        });
    }
    aio_thread_pool *native() const noexcept { return pool_; }

  private:
    explicit thread_pool(aio_thread_pool *made) noexcept : pool_(made) {}

    aio_thread_pool *pool_;
};

namespace detail {

/// What a function that runs elsewhere gives here: result<R>; of one that gives a result itself,
/// that.
template <class R> struct offloaded {
    using type = result<R>;
};
template <class R> struct offloaded<result<R>> {
    using type = result<R>;
};

/// A function for another thread, and what became of it. In memory of its own, as operations may be
/// moved before they are awaited.
template <class F> class work : public pooled_frame {
    using R = std::invoke_result_t<F &>;
    static_assert(!std::is_reference_v<R>,
                  "aio: a function that is offloaded returns a value, not a reference");

  public:
    template <class Fn> explicit work(Fn &&fn) : fn_(std::forward<Fn>(fn)) {}

    /// Calls it once.
    static int32_t run(void *arg) noexcept {
        auto *self = static_cast<work *>(arg);
        self->guarded([self] {
            if constexpr (std::is_void_v<R>) {
                self->fn_();
                self->outcome_.set_value();
            } else {
                self->outcome_.set_value(self->fn_());
            }
        });
        return 0;
    }

    /// Calls it; 0 means that it is to be called again. An exception ends that.
    static int32_t ask(void *arg) noexcept {
        auto *self = static_cast<work *>(arg);
        int32_t answer = 0;
        if (!self->guarded([&] { answer = static_cast<int32_t>(self->fn_()); }))
            return 1;
        return answer;
    }

    /// What it has given; its exception is thrown here.
    typename offloaded<R>::type take() {
        using type = typename offloaded<R>::type;
        if constexpr (std::is_void_v<R>)
            return outcome_.take(), type();
        else
            return type(outcome_.take());
    }
    void rethrow() {
        if (outcome_.is_set())
            outcome_.take();
    }

  private:
    template <class Call> bool guarded(const Call &call) noexcept {
#if AIO_DETAIL_EXCEPTIONS
        try {
            call();
            return true;
        } catch (...) {
            outcome_.set_exception();
            return false;
        }
#else
        call();
        return true;
#endif
    }

    F fn_;
    outcome<R> outcome_;
};

/// Makes the result of offload.
template <class F> struct takes_outcome {
    std::unique_ptr<work<F>> kept;
    auto operator()(result<int32_t> ended) {
        using type = decltype(kept->take());
        return ended ? kept->take() : type(unexpected(ended.error()));
    }
};

/// Makes the result of poll_until: of a bool nothing, of a number that number.
template <class F> struct takes_answer {
    using type = std::conditional_t<std::is_same_v<std::invoke_result_t<F &>, bool>, result<void>,
                                    result<int32_t>>;
    std::unique_ptr<work<F>> kept;
    type operator()(result<int32_t> ended) {
        if (ended)
            kept->rethrow();
        if constexpr (std::is_void_v<typename type::value_type>)
            return ended.transform([](int32_t) {});
        else
            return ended;
    }
};

} // namespace detail

/// Calls `fn` on a thread of the pool: result<what it returns>. Its exception is thrown here. What
/// it returned is gone when the wait was cancelled meanwhile, unless `.keep_result()`.
template <class Fn>
    requires std::is_invocable_v<std::decay_t<Fn> &>
auto offload(context &ctx, const thread_pool &pool, Fn &&fn) {
    using F = std::decay_t<Fn>;
    auto kept = std::make_unique<detail::work<F>>(std::forward<Fn>(fn));
    auto operation = detail::submits<detail::gives_number, &aio_submit_work>(
        ctx, pool.native(), &detail::work<F>::run, static_cast<void *>(kept.get()));
    return detail::adapted(std::move(operation), detail::takes_outcome<F>{std::move(kept)});
}

/// How often poll_until asks; the meaning of each is that of the same field of
/// aio_poll_until_options.
struct poll_until_options {
    std::chrono::nanoseconds min_interval{0};
    std::chrono::nanoseconds max_interval{0};
    std::chrono::nanoseconds spin{0};
    /// A thread of it asks; null: the context's does.
    const thread_pool *pool = nullptr;
};

namespace detail {

/// Given options by value, which the submit copies.
inline aio_op_id submit_poll_until(aio_ctx *ctx, aio_work_fn ready, void *arg,
                                   const aio_poll_until_options *how,
                                   const aio_submit_options *options, aio_callback callback,
                                   void *user_data) noexcept {
    return aio_submit_poll_until(ctx, ready, arg, how, options, callback, user_data);
}

} // namespace detail

/// Calls `fn` again and again, until it returns true: result<void>; or a number that is not 0:
/// result<int32_t>. For what can only be asked. Its exception ends it, and is thrown here.
template <class Fn>
    requires std::is_convertible_v<std::invoke_result_t<std::decay_t<Fn> &>, int32_t>
auto poll_until(context &ctx, Fn &&fn, const poll_until_options &how = {}) {
    aio_poll_until_options native{};
    native.size = sizeof native;
    native.min_interval_ns = detail::to_ns(how.min_interval);
    native.max_interval_ns = detail::to_ns(how.max_interval);
    native.spin_ns = detail::to_ns(how.spin);
    native.pool = how.pool == nullptr ? nullptr : how.pool->native();
    using F = std::decay_t<Fn>;
    auto kept = std::make_unique<detail::work<F>>(std::forward<Fn>(fn));
    auto operation = detail::submits<detail::gives_number, &detail::submit_poll_until>(
        ctx, &detail::work<F>::ask, static_cast<void *>(kept.get()),
        detail::by_address<aio_poll_until_options>{native});
    return detail::adapted(std::move(operation), detail::takes_answer<F>{std::move(kept)});
}

} // namespace aio
