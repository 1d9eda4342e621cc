// For tests of what strands wait for: strands that are begun one by one, stopped and destroyed.
#pragma once

#include "support.hpp"

#include <string>
#include <vector>

namespace support {

/// What becomes of a strand's value: nothing. An exception ends the test program.
struct ignore {
    template <class... T> void set_value(T &&...) noexcept {}
    void set_exception() noexcept { std::terminate(); }
};

/// Strands that end together: started at once, destroyed with it.
class strands : public aio::detail::strand_group {
  public:
    explicit strands(aio::context &ctx) : strand_group(ctx.where()) {}
    ~strands() override { destroy_all(); }
    template <class Awaitable> void begin(Awaitable &&awaitable) {
        start(std::forward<Awaitable>(awaitable), ignored_);
    }

  private:
    ignore ignored_;
};

} // namespace support
