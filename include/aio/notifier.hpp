// notifier: signals from any thread, or from a signal handler, to a coroutine.
//
//     aio::notifier work;
//     ...                                             // on any thread
//     work.signal();
//     ...                                             // on a context's thread
//     while (auto count = co_await work.wait(ctx))    // result<std::size_t>: how many signals
//         take_what_is_there();
//
// A signal takes no lock and no memory, and makes a system call only if the context sleeps. Signals
// of which nobody was told yet are counted and told together; what was written before a signal is
// seen by who is told. To send values as well, thread_channel.
#pragma once

#include <aio/multishot.hpp>

namespace aio {

/// See the top of this file. Copies refer to the same one, so that each thread can have its own;
/// the last that dies ends it.
class notifier {
  public:
    static result<notifier> create() {
        aio_notifier *made = nullptr;
        if (int32_t status = aio_notifier_create(&made); status != 0)
            return unexpected::from_status(status);
        return notifier(made);
    }
    /// Throws std::system_error when there can be none.
    notifier() : notifier(create().value()) {}
    notifier(const notifier &other) noexcept : notifier_(other.notifier_) {
        aio_notifier_ref(notifier_);
    }
    notifier(notifier &&other) noexcept : notifier_(std::exchange(other.notifier_, nullptr)) {}
    notifier &operator=(notifier other) noexcept {
        std::swap(notifier_, other.notifier_);
        return *this;
    }
    ~notifier() { aio_notifier_unref(notifier_); }

    /// Tells the one that waits, or the next that will. Any thread, and signal handlers.
    /// errc::closed after close().
    result<void> signal() const noexcept {
        return detail::as_result(aio_notifier_signal(notifier_));
    }

    /// Waits for signals; gives how many were sent since somebody was last told, at least 1.
    /// Context thread, of any context; one wait at a time, else std::errc::device_or_resource_busy,
    /// also where one was destroyed and its context has had no turn since.
    auto wait(context &ctx) const noexcept {
        return detail::submits<detail::gives_count, &aio_submit_notifier_wait>(ctx, notifier_);
    }
    /// The same again and again: each item is a count.
    auto signals(context &ctx) const {
        return detail::repeats<detail::gives_count, &aio_submit_notifier_wait_multishot>(ctx,
                                                                                         notifier_);
    }

    aio_notifier *native() const noexcept { return notifier_; }

  private:
    explicit notifier(aio_notifier *made) noexcept : notifier_(made) {}

    aio_notifier *notifier_;
};

} // namespace aio
