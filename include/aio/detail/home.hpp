// Where strands run: a context, and the queue of suspensions that were ended by something other
// than an operation (resume_later). The queue asks for a turn when it gets its first entry, so that
// one asking serves all that a turn wakes, and entries can be taken out again. It asks by a timer
// that is due already: that costs no system call and no memory (20 ns; a post 150 and an
// allocation). Only a context that takes no more operations (max_ops) is asked by a post.
//
// A context that is being destroyed gives no more turns: what is queued then stays, and is
// destroyed with what it belongs to. Going on at once instead would be inside of code that does not
// expect it, such as the loop that wakes several.
#pragma once

#include <aio/detail/inbox.hpp>
#include <aio/suspension.hpp>

#include <atomic>
#include <utility>

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
    home(aio_ctx *ctx, bool is_owned) : ctx(ctx), is_owned(is_owned), note_(new note{this}) {
        aio_ctx_ref(ctx); // residents may still call it when it was destroyed, and are refused
    }
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
        if (note_->is_posted)
            note_->of = nullptr;
        else
            delete note_;
        aio_ctx_unref(ctx);
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

    /// What a post is given, which cannot be taken back: it may be called when the home is gone.
    struct note {
        home *of;
        bool is_posted = false;
        static void call(void *arg) noexcept {
            auto *self = static_cast<note *>(arg);
            self->is_posted = false;
            if (self->of != nullptr)
                self->of->drain();
            else
                delete self;
        }
    };

    void enqueue(queued_suspension &entry) noexcept {
        if (turn_ <= 0) {
            turn_ = aio_submit_timer_at(ctx, 0, nullptr, &home::turn, this);
            if (turn_ < 0 && !note_->is_posted) [[unlikely]]
                note_->is_posted = aio_ctx_post(ctx, &note::call, note_) == 0;
        }
        entry.queue_ = this;
        entry.next_ = nullptr;
        entry.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &entry;
        last_ = &entry;
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
    void drain() noexcept {
        barrier_ = last_;
        while (barrier_ != nullptr) {
            queued_suspension *entry = first_;
            remove(*entry);
            entry->resume();
        }
    }
    static void turn(void *user_data, int32_t, uint32_t) noexcept {
        auto *self = static_cast<home *>(user_data);
        self->turn_ = 0;
        self->drain();
    }

    std::atomic<inbox *> inbox_ = nullptr;
    resident *residents_ = nullptr;
    queued_suspension *first_ = nullptr;
    queued_suspension *last_ = nullptr;
    queued_suspension *barrier_ = nullptr; // the last one of the round that is being resumed
    aio_op_id turn_ = 0;                   // that was asked for
    note *const note_;
};

inline void queued_suspension::resume_later() noexcept {
    end();
    home *queue = strand_access::home_of(awaiting_strand());
    if (queue == nullptr) [[unlikely]]
        resume();
    else
        queue->enqueue(*this);
}

inline void queued_suspension::dequeue() noexcept {
    if (queue_ != nullptr)
        queue_->remove(*this);
}

} // namespace detail

using detail::queued_suspension;

} // namespace aio
