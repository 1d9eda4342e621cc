// latch: waits until so many things have been done. As std::latch, for coroutines of one thread.
//
//     aio::latch done(3);
//     ...                                     // three times: done.count_down();
//     co_await done.wait();                   // result<void>
#pragma once

#include <aio/event.hpp>

#include <algorithm>
#include <cstddef>

namespace aio {

/// See the top of this file. Waits end as those of event do.
class latch {
  public:
    explicit latch(std::size_t count) noexcept : count_(count), event_(count == 0) {}

    /// So many more are done; more than there are left is all of them.
    void count_down(std::size_t by = 1) noexcept {
        count_ -= std::min(by, count_);
        if (count_ == 0 && !event_.is_set())
            event_.set();
    }
    bool is_done() const noexcept { return count_ == 0; }
    /// How many are left.
    std::size_t count() const noexcept { return count_; }

    /// Waits until none is left: result<void>.
    auto wait() noexcept { return event_.wait(); }
    /// One is done, and waits for the others.
    auto arrive_and_wait(std::size_t by = 1) noexcept {
        count_down(by);
        return wait();
    }

  private:
    std::size_t count_;
    event event_;
};

} // namespace aio
