// worker_group: threads with a context each, kept on their processors.
//
//     aio::worker_group workers({.count = 4});
//     auto port = workers.listen(aio::endpoint::any_v6(8080),
//                                [](aio::context &ctx, aio::descriptor connection) { ... });
//     co_await aio::resume_on(workers.context_of(2), some_task());
//
// A worker runs until the group is stopped or destroyed. Functions given to the group are called on
// the workers' threads, several at a time; an exception out of one ends the program.
#pragma once

#include <aio/context.hpp>
#include <aio/descriptor.hpp>
#include <aio/endpoint.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace aio {

/// Options of a group; the meaning of each is that of the same field of aio_workers_options.
struct worker_group_options {
    uint32_t count = 0;
    std::vector<uint32_t> cpus{};
    uint32_t flags = 0;
    /// Of each context.
    context_options contexts{};
    /// Called before the group begins; an error is why it cannot.
    std::function<result<void>(context &, uint32_t index)> on_start{};
    /// Called when a worker is to stop, before it waits for what is in flight.
    std::function<void(context &, uint32_t index)> on_stop{};
    /// Called with what send() hands over.
    std::function<void(context &, descriptor)> on_descriptor{};
};

/// See the top of this file. Any thread but the workers' makes, joins and destroys it; any thread
/// does what else it does.
class worker_group {
  public:
    static result<worker_group> create(worker_group_options options = {}) {
        auto made = std::make_unique<state>(std::move(options));
        if (const int32_t status = made->begin(); status != 0)
            return unexpected::from_status(status);
        return worker_group(std::move(made));
    }
    /// Throws std::system_error when there can be none.
    explicit worker_group(worker_group_options options = {})
        : worker_group(create(std::move(options)).value()) {}

    worker_group(worker_group &&) noexcept = default;
    worker_group &operator=(worker_group &&) noexcept = default;
    /// Stops it, without a drain if nobody has asked it to stop, and waits for the workers.
    ~worker_group() = default;

    uint32_t size() const noexcept { return static_cast<uint32_t>(aio_workers_count(native())); }
    /// A worker's context, for resume_on, post and the like; it lives as long as the group. Its
    /// stop() does nothing.
    context &context_of(uint32_t index) noexcept { return *state_->contexts[index]; }

    /// Has `fn`, with or without the worker's context as argument, called on a worker's thread;
    /// AIO_WORKERS_ANY: each in turn.
    template <class F>
        requires(std::is_invocable_v<F &> || std::is_invocable_v<F &, context &>)
    result<void> post(uint32_t index, F fn);

    /// Hands a descriptor over to a worker's on_descriptor.
    result<void> send(uint32_t index, descriptor file) {
        const int32_t status = aio_workers_send_fd(native(), index, file.number());
        if (status == 0)
            file.release();
        return detail::as_result(status);
    }

    /// Accepts connections on all workers, each with a socket of its own on the address; gives the
    /// port. The function is called on the worker that has accepted.
    result<uint16_t> listen(const endpoint &address,
                            std::function<void(context &, descriptor)> on_connection,
                            int backlog = 0);

    /// Asks all to stop: they accept no more, and run until nothing is in flight, but not longer
    /// than `drain`.
    template <class Rep, class Period>
    void stop(std::chrono::duration<Rep, Period> drain) noexcept {
        aio_workers_stop(native(), static_cast<int64_t>(detail::to_ns(drain)));
    }
    void stop() noexcept { aio_workers_stop(native(), 0); }
    /// Waits until all have ended, which somebody asks them to.
    result<void> join() noexcept { return detail::as_result(aio_workers_join(native())); }

    aio_workers *native() const noexcept { return state_->workers; }

  private:
    struct state;

    /// A function of listen.
    struct taker {
        state *of;
        std::function<void(context &, descriptor)> fn;
        static void take(void *arg, aio_ctx *ctx, int fd) noexcept {
            auto *self = static_cast<taker *>(arg);
            self->fn(self->of->of(ctx), descriptor(ctx, file_ref(fd)));
        }
    };

    struct state {
        explicit state(worker_group_options &&given)
            : options(std::move(given)), descriptors{this, options.on_descriptor} {}
        ~state() {
            std::vector<aio_ctx *> kept;
            for (const std::unique_ptr<context> &each : contexts) {
                if (each)
                    kept.push_back(each->native());
            }
            if (workers != nullptr)
                aio_workers_destroy(workers);
            // What outlived its context, as frames that wait for no operation, still refers to it.
            contexts.clear();
            for (aio_ctx *each : kept)
                aio_ctx_unref(each);
        }

        int32_t begin() {
            const aio_ctx_options each = options.contexts.to_native();
            aio_workers_options native{};
            native.size = sizeof native;
            native.flags = options.flags;
            native.count = options.count;
            native.cpus = options.cpus.empty() ? nullptr : options.cpus.data();
            native.cpu_count = static_cast<uint32_t>(options.cpus.size());
            native.ctx = &each;
            native.on_start = &state::started;
            native.on_stop = &state::stops;
            native.on_fd = options.on_descriptor ? &state::received : nullptr;
            native.arg = this;
            return aio_workers_create(&native, &workers);
        }

        static int32_t started(void *arg, aio_ctx *ctx, uint32_t index) noexcept {
            auto *self = static_cast<state *>(arg);
            auto mine = std::make_unique<context>(context::borrow(ctx));
            context &given = *mine;
            aio_ctx_ref(ctx);
            {
                const std::lock_guard lock(self->mutex);
                if (self->contexts.size() <= index)
                    self->contexts.resize(index + 1);
                self->contexts[index] = std::move(mine);
            }
            if (!self->options.on_start)
                return 0;
            const result<void> begun = self->options.on_start(given, index);
            return begun ? 0 : -begun.error().value();
        }
        static void received(void *arg, aio_ctx *ctx, int fd) noexcept {
            taker::take(&static_cast<state *>(arg)->descriptors, ctx, fd);
        }
        static int32_t stops(void *arg, aio_ctx *, uint32_t index) noexcept {
            auto *self = static_cast<state *>(arg);
            if (!self->options.on_stop)
                return 0;
            // Others may be starting still, when one of them could not.
            context *mine = nullptr;
            {
                const std::lock_guard lock(self->mutex);
                mine = self->contexts[index].get();
            }
            self->options.on_stop(*mine, index);
            return 0;
        }

        /// When all have started: the contexts are the same from then on.
        context &of(aio_ctx *ctx) noexcept {
            std::size_t at = 0;
            while (contexts[at]->native() != ctx)
                at++;
            return *contexts[at];
        }

        worker_group_options options;
        taker descriptors;
        aio_workers *workers = nullptr;
        std::mutex mutex; // of what follows, while workers start, and of who listens
        std::vector<std::unique_ptr<context>> contexts;
        std::vector<std::unique_ptr<taker>> takers;
    };

    explicit worker_group(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}

    std::unique_ptr<state> state_;
};

template <class F>
    requires(std::is_invocable_v<F &> || std::is_invocable_v<F &, context &>)
result<void> worker_group::post(uint32_t index, F fn) {
    struct posted : detail::pooled_frame {
        posted(state *of, F &&fn) : of(of), fn(std::move(fn)) {}
        state *of;
        F fn;
        static void call(void *arg) noexcept {
            std::unique_ptr<posted> self(static_cast<posted *>(arg));
            if constexpr (std::is_invocable_v<F &, context &>)
                self->fn(self->of->of(aio_ctx_current()));
            else
                self->fn();
        }
    };
    auto node = std::make_unique<posted>(state_.get(), std::move(fn));
    const int32_t status = aio_workers_post(native(), index, &posted::call, node.get());
    if (status == 0)
        static_cast<void>(node.release());
    return detail::as_result(status);
}

inline result<uint16_t>
worker_group::listen(const endpoint &address,
                     std::function<void(context &, descriptor)> on_connection, int backlog) {
    auto made = std::make_unique<taker>(taker{state_.get(), std::move(on_connection)});
    taker *arg = made.get();
    {
        const std::lock_guard lock(state_->mutex);
        state_->takers.push_back(std::move(made)); // kept: they are called until the workers end
    }
    const int32_t port =
        aio_workers_listen(native(), address.data(), address.size(), backlog, &taker::take, arg);
    if (port < 0)
        return unexpected::from_status(port);
    return static_cast<uint16_t>(port);
}

} // namespace aio
