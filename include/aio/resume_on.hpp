// resume_on: goes on on another context's thread, and comes back.
//
//     aio::task<image> render(aio::context &other, scene s);
//     ...
//     image done = co_await aio::resume_on(other, render(other, std::move(s)));
//
// What is awaited runs on the other context's thread, from its first line to its last, as a strand
// of that context: operations that it submits are that context's, and what it wakes is there. The
// awaiting strand stays where it is and waits; it goes on on its own thread with the value, or the
// exception, of what has run. So a coroutine changes threads at a call of another, where one sees
// it, and never in its middle: no lock, guard or reference comes to lie on the wrong thread unseen.
// To come back for a moment, what runs there awaits resume_on(home, ...).
//
// There is no `co_await resume_on(other)` that moves the rest of the coroutine: the strand, its
// stop flag and the group that destroys it are this thread's. The rest would be stopped, ended and
// destroyed by two threads at once, and destroying it from here, which is allowed at any moment,
// would free a frame that another thread runs.
//
// A request to stop is passed on to the other thread, and is seen there soon. Destroying the
// awaiting coroutine destroys what runs on its own thread, and waits for that: the other context
// must be running, or go on to, and must not wait for this thread meanwhile. What has not begun
// there is not begun any more. The other context must outlive what runs on it.
//
// It costs a post in each direction, and a block of the frame pool.
#pragma once

#include <aio/context.hpp>

#include <atomic>
#include <concepts>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace aio {
namespace detail {

/// What runs on another thread for one that waits here. It lives until nobody refers to it: the
/// awaiter, and posts on their way, there and back.
class visit : public strand_group, public pooled_frame {
  public:
    visit(home *there, home *here) noexcept
        : strand_group(there), here_(here->ctx), there_(there->ctx) {
        aio_ctx_ref(there_);
        aio_ctx_ref(here_);
        aio_ctx_hold(here_);
    }
    ~visit() override {
        aio_ctx_release(here_);
        aio_ctx_unref(here_);
        aio_ctx_unref(there_);
    }

    // ---- here ----

    /// Begins it; an error if the other context takes nothing.
    int32_t depart(queued_suspension &waiting, void (*arrived)(queued_suspension &) noexcept) {
        waiting_ = &waiting;
        arrived_ = arrived;
        refs_.fetch_add(1, std::memory_order_relaxed);
        const int32_t status = aio_ctx_post(there_, &visit::begin, this);
        if (status != 0)
            refs_.fetch_sub(1, std::memory_order_relaxed);
        return status;
    }

    /// Passes a stop on. The answer is waited for, as it is the other thread that says it last.
    void pass_stop() noexcept {
        stops_ = true;
        refs_.fetch_add(1, std::memory_order_relaxed);
        if (aio_ctx_post(there_, &visit::stop, this) != 0) {
            stops_ = false;
            unref();
        }
    }

    /// The awaiter dies: before it has begun it never does; else what runs is destroyed there.
    void recall() noexcept {
        waiting_ = nullptr;
        if (has_ended_)
            return;
        stage before = stage::departed;
        // Pairs with begin().
        if (stage_.compare_exchange_strong(before, stage::recalled, std::memory_order_acq_rel)) {
            drop();
            return;
        }
        recollection done{*this};
        if (thread_ == std::this_thread::get_id() ||
            aio_ctx_post(there_, &recollection::run, &done) != 0) {
            destroy_all();
            return;
        }
        std::unique_lock lock(done.mutex);
        done.changed.wait(lock, [&] { return done.is_done; });
    }

    /// Gives a reference up. Any thread.
    void unref() noexcept {
        if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

  protected:
    // ---- there ----

    virtual void start_now() = 0;
    /// What has not begun is destroyed.
    virtual void drop() noexcept = 0;

    std::coroutine_handle<> finished() noexcept override {
        send_back(&visit::arrive);
        return std::noop_coroutine();
    }

  private:
    enum class stage : unsigned char { departed, begun, recalled };

    struct recollection {
        visit &of;
        std::mutex mutex{};
        std::condition_variable changed{};
        bool is_done = false;
        static void run(void *arg) noexcept {
            auto *self = static_cast<recollection *>(arg);
            self->of.destroy_all();
            // Told under the lock: who waits destroys it as soon as that is free.
            const std::lock_guard lock(self->mutex);
            self->is_done = true;
            self->changed.notify_one();
        }
    };

    static void begin(void *arg) noexcept {
        auto *self = static_cast<visit *>(arg);
        self->thread_ = std::this_thread::get_id();
        stage before = stage::departed;
        // Pairs with recall().
        if (self->stage_.compare_exchange_strong(before, stage::begun, std::memory_order_acq_rel))
            self->start_now();
        self->unref();
    }

    static void stop(void *arg) noexcept {
        auto *self = static_cast<visit *>(arg);
        self->request_stop();
        self->send_back(&visit::stopped);
        self->unref();
    }

    /// Has a function called on the thread that waits. A context that takes none is being
    /// destroyed: then nobody goes on.
    void send_back(aio_post_fn function) noexcept {
        refs_.fetch_add(1, std::memory_order_relaxed);
        if (aio_ctx_post(here_, function, this) != 0)
            unref();
    }

    // ---- here ----

    static void arrive(void *arg) noexcept {
        auto *self = static_cast<visit *>(arg);
        self->has_ended_ = true;
        self->go_on();
    }
    static void stopped(void *arg) noexcept {
        auto *self = static_cast<visit *>(arg);
        self->stops_ = false;
        self->go_on();
    }
    void go_on() noexcept {
        if (has_ended_ && !stops_ && waiting_ != nullptr)
            arrived_(*std::exchange(waiting_, nullptr));
        unref();
    }

    aio_ctx *const here_;
    aio_ctx *const there_;
    queued_suspension *waiting_ = nullptr;
    void (*arrived_)(queued_suspension &) noexcept = nullptr;
    bool stops_ = false;     // a stop is on its way, there or back
    bool has_ended_ = false; // and what it has given is here
    std::atomic<stage> stage_{stage::departed};
    std::atomic<unsigned> refs_{1};
    std::thread::id thread_; // the other one; written before stage_ says that it has begun
};

template <class Awaitable> class visit_of final : public visit {
  public:
    visit_of(home *there, home *here, Awaitable &&awaitable)
        : visit(there, here), awaitable_(std::move(awaitable)) {}
    ~visit_of() override { destroy_all(); }
    outcome<await_result_t<Awaitable>> given;

  private:
    void start_now() override {
        Awaitable awaitable(std::move(*awaitable_));
        awaitable_.reset();
        start(std::move(awaitable), given);
    }
    void drop() noexcept override { awaitable_.reset(); }

    std::optional<Awaitable> awaitable_;
};

template <class Awaitable> class resume_on_awaiter final : public queued_suspension {
    using visit_type = visit_of<Awaitable>;

  public:
    resume_on_awaiter(home *there, Awaitable &&awaitable)
        : there_(there), awaitable_(std::move(awaitable)) {}
    ~resume_on_awaiter() {
        if (visit_ != nullptr) {
            visit_->recall();
            visit_->unref();
        }
    }

    bool await_ready() const noexcept { return false; }

    template <strand_promise Promise> void await_suspend(std::coroutine_handle<Promise> handle) {
        home *const here = strand_access::home_of(strand_of(handle));
        if (here == nullptr)
            fail(make_error(-EINVAL), "aio::resume_on: nothing to come back to");
        visit_ = new visit_type(there_, here, std::move(awaitable_));
        const bool is_stopped = strand_of(handle)->stop_requested();
        begin_always(handle, [](suspension &self) noexcept {
            static_cast<resume_on_awaiter &>(self).visit_->pass_stop();
        });
        const int32_t status = visit_->depart(*this, [](queued_suspension &self) noexcept {
            static_cast<resume_on_awaiter &>(self).resume();
        });
        if (status != 0) {
            std::exchange(visit_, nullptr)->unref();
            fail(make_error(status), "aio::resume_on");
        }
        if (is_stopped)
            visit_->pass_stop();
    }

    await_result_t<Awaitable> await_resume() {
        struct last {
            visit_type *visit;
            ~last() { visit->unref(); }
        } last{std::exchange(visit_, nullptr)};
        return last.visit->given.take();
    }

  private:
    home *there_;
    Awaitable awaitable_;
    visit_type *visit_ = nullptr;
};

} // namespace detail

/// Runs a task, or what else can be awaited, on another context's thread, and gives what it gives:
/// see the top of this file. Throws std::system_error if the other context takes nothing more, and
/// in a coroutine of a strange type. Context thread, of the awaiting one's context.
template <awaitable Awaitable>
class [[nodiscard("aio: it runs only when it is awaited")]] resume_on {
    static_assert(std::is_same_v<Awaitable, std::remove_cvref_t<Awaitable>>,
                  "aio: resume_on is given the task itself: std::move(task), or f() directly");

  public:
    resume_on(context &other, Awaitable awaitable) noexcept
        : there_(other.where()), awaitable_(std::move(awaitable)) {}
    template <std::same_as<context> Context> explicit resume_on(Context &) noexcept {
        static_assert(detail::never<Context>,
                      "aio: resume_on takes what is to run on the other thread: "
                      "co_await resume_on(other, task)");
    }

    detail::resume_on_awaiter<Awaitable> operator co_await() && {
        return {there_, std::move(awaitable_)};
    }

  private:
    detail::home *there_;
    Awaitable awaitable_;
};

template <std::same_as<context> Context> resume_on(Context &) -> resume_on<task<>>;

} // namespace aio
