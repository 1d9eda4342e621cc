// What other threads give a context to do, without memory: entries that lie in who waits, and can
// be taken out again, which what is posted cannot. One post tells the context of all that comes
// until it looks.
#pragma once

#include <aio/detail/config.hpp>

#include <atomic>
#include <cstddef>
#include <mutex>

namespace aio::detail {

/// Lives until nobody refers to it: its context's home, and the post on its way.
class inbox {
  public:
    /// Not movable. Destroying it while it is queued is allowed on the context's thread.
    class entry {
      public:
        entry(const entry &) = delete;
        entry &operator=(const entry &) = delete;

      protected:
        using arrived_function = void (*)(entry &) noexcept;
        explicit entry(arrived_function arrived) noexcept : arrived_(arrived) {}
        ~entry() {
            if (inbox_ != nullptr)
                inbox_->remove(*this);
        }

      private:
        friend inbox;
        const arrived_function arrived_; // called on the context's thread, once for each push
        inbox *inbox_ = nullptr;
        entry *next_ = nullptr;
        entry *previous_ = nullptr;
    };

    explicit inbox(aio_ctx *ctx) noexcept : ctx_(ctx) {}
    inbox(const inbox &) = delete;
    inbox &operator=(const inbox &) = delete;

    /// Has the entry called on the context's thread; an error if the context takes nothing more.
    /// Any thread.
    int32_t push(entry &one) noexcept {
        const std::lock_guard lock(mutex_);
        if (!is_posted_) {
            refs_.fetch_add(1, std::memory_order_relaxed);
            // Nothing runs inside it.
            const int32_t status = aio_ctx_post(ctx_, &inbox::open, this);
            if (status != 0) {
                refs_.fetch_sub(1, std::memory_order_relaxed); // the home's is left
                return status;
            }
            is_posted_ = true;
        }
        one.inbox_ = this;
        one.next_ = nullptr;
        one.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &one;
        last_ = &one;
        size_++;
        return 0;
    }

    /// Gives a reference up. Any thread.
    void unref() noexcept {
        // The last one sees what the others have done.
        if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete this;
    }

  private:
    ~inbox() = default;

    void unlink(entry &one) noexcept {
        (one.previous_ != nullptr ? one.previous_->next_ : first_) = one.next_;
        (one.next_ != nullptr ? one.next_->previous_ : last_) = one.previous_;
        one.inbox_ = nullptr;
        size_--;
    }
    void remove(entry &one) noexcept {
        const std::lock_guard lock(mutex_);
        unlink(one);
    }

    /// Calls what is there now; what comes meanwhile has its own post.
    static void open(void *arg) noexcept {
        auto *self = static_cast<inbox *>(arg);
        std::unique_lock lock(self->mutex_);
        self->is_posted_ = false;
        for (std::size_t left = self->size_; left != 0 && self->first_ != nullptr; left--) {
            entry &one = *self->first_;
            self->unlink(one);
            lock.unlock();
            one.arrived_(one);
            lock.lock();
        }
        lock.unlock();
        self->unref();
    }

    aio_ctx *const ctx_;
    std::mutex mutex_;
    entry *first_ = nullptr;
    entry *last_ = nullptr;
    std::size_t size_ = 0;
    bool is_posted_ = false;
    std::atomic<unsigned> refs_ = 1;
};

} // namespace aio::detail
