// Where strands run: a context, and the queue of suspensions that were ended by something other
// than an operation (resume_later). The queue asks for a turn when it gets its first entry, so that
// one asking serves all that a turn wakes, and entries can be taken out again. It asks by a timer
// that is due already: that costs no system call and no memory (20 ns; a post 150 and an
// allocation).
#pragma once

#include <aio/detail/inbox.hpp>
#include <aio/suspension.hpp>

#include <atomic>

namespace aio {
namespace detail {

/// A suspension that can be in a home's queue. It takes itself out when it is destroyed.
class queued_suspension : public suspension {
  protected:
    queued_suspension() noexcept = default;
    ~queued_suspension() { dequeue(); }

    /// Ends the wait; the coroutine goes on in a turn of its context soon. A strand without a home
    /// goes on at once. Once only; may be called again for another wait.
    void resume_later() noexcept;
    bool is_queued() const noexcept { return queue_ != nullptr; }

  private:
    friend class home;
    void dequeue() noexcept;

    home *queue_ = nullptr;
    queued_suspension *next_ = nullptr;
    queued_suspension *previous_ = nullptr;
};

class home {
  public:
    home(aio_ctx *ctx, bool is_owned) noexcept : ctx(ctx), is_owned(is_owned) {}
    home(const home &) = delete;
    home &operator=(const home &) = delete;

    /// What belongs to the context, and is deleted with it if it is not before: when its operations
    /// have ended, and its thread is still there.
    class resident {
      public:
        resident(const resident &) = delete;
        resident &operator=(const resident &) = delete;

      protected:
        resident() noexcept = default;
        virtual ~resident() {
            if (home_ == nullptr)
                return;
            (previous_ != nullptr ? previous_->next_ : home_->residents_) = next_;
            if (next_ != nullptr)
                next_->previous_ = previous_;
        }

      private:
        friend home;
        home *home_ = nullptr;
        resident *next_ = nullptr;
        resident *previous_ = nullptr;
    };

    ~home() {
        while (residents_ != nullptr)
            delete residents_;
        if (turn_ > 0 && !is_owned)
            aio_ctx_cancel_wait(ctx, turn_);
        if (inbox *mine = inbox_.load(std::memory_order_relaxed)) // nobody uses the home any more
            mine->unref();
    }

    void enlist(resident &one) noexcept {
        one.home_ = this;
        one.next_ = residents_;
        if (residents_ != nullptr)
            residents_->previous_ = &one;
        residents_ = &one;
    }

    /// What other threads write to; made when it is used for the first time. Any thread.
    inbox &box() {
        inbox *found = inbox_.load(std::memory_order_acquire);
        if (found != nullptr)
            return *found;
        auto *made = new inbox(ctx);
        // Pairs with the load of who finds it.
        if (inbox_.compare_exchange_strong(found, made, std::memory_order_acq_rel))
            return *made;
        made->unref();
        return *found;
    }

    aio_ctx *const ctx;
    const bool is_owned;

  private:
    friend class queued_suspension;

    bool enqueue(queued_suspension &entry) noexcept {
        if (turn_ <= 0) {
            // Refused when the context is being destroyed: resumed at once then.
            turn_ = aio_submit_timer_at(ctx, 0, nullptr, &home::drain, this);
            if (turn_ < 0) [[unlikely]]
                return false;
        }
        entry.queue_ = this;
        entry.next_ = nullptr;
        entry.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &entry;
        last_ = &entry;
        return true;
    }

    void remove(queued_suspension &entry) noexcept {
        (entry.previous_ != nullptr ? entry.previous_->next_ : first_) = entry.next_;
        (entry.next_ != nullptr ? entry.next_->previous_ : last_) = entry.previous_;
        if (barrier_ == &entry)
            barrier_ = entry.previous_;
        entry.queue_ = nullptr;
    }

    /// Resumes what is there now; what is queued meanwhile gets a turn of its own, so that
    /// operations have theirs in between.
    static void drain(void *user_data, int32_t, uint32_t) noexcept {
        auto *self = static_cast<home *>(user_data);
        self->turn_ = 0;
        self->barrier_ = self->last_;
        while (self->barrier_ != nullptr) {
            queued_suspension *entry = self->first_;
            self->remove(*entry);
            entry->resume();
        }
    }

    std::atomic<inbox *> inbox_ = nullptr;
    resident *residents_ = nullptr;
    queued_suspension *first_ = nullptr;
    queued_suspension *last_ = nullptr;
    queued_suspension *barrier_ = nullptr; // the last one of the round that is being resumed
    aio_op_id turn_ = 0;                   // that was asked for
};

inline void queued_suspension::resume_later() noexcept {
    end();
    home *queue = strand_access::home_of(awaiting_strand());
    if (queue == nullptr || !queue->enqueue(*this)) [[unlikely]]
        resume();
}

inline void queued_suspension::dequeue() noexcept {
    if (queue_ != nullptr)
        queue_->remove(*this);
}

} // namespace detail

using detail::queued_suspension;

} // namespace aio
