// Where strands run: a context, and the queue of suspensions that were ended by something other
// than an operation (resume_later). The queue posts itself to the context when it gets its first
// entry, so that one post serves all that a turn wakes, and entries can be taken out again.
#pragma once

#include <aio/suspension.hpp>

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

    aio_ctx *const ctx;
    const bool is_owned;

  private:
    friend class queued_suspension;

    bool enqueue(queued_suspension &entry) noexcept {
        if (!is_posted_) {
            // Refused when the context is being destroyed, or is another's: resumed at once then.
            if (aio_ctx_post(ctx, &home::drain, this) != 0) [[unlikely]]
                return false;
            is_posted_ = true;
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

    /// Resumes what is there now; what is queued meanwhile gets a post of its own, so that
    /// operations have their turn in between.
    static void drain(void *arg) noexcept {
        auto *self = static_cast<home *>(arg);
        self->is_posted_ = false;
        self->barrier_ = self->last_;
        while (self->barrier_ != nullptr) {
            queued_suspension *entry = self->first_;
            self->remove(*entry);
            entry->resume();
        }
    }

    queued_suspension *first_ = nullptr;
    queued_suspension *last_ = nullptr;
    queued_suspension *barrier_ = nullptr; // the last one of the round that is being resumed
    bool is_posted_ = false;
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
