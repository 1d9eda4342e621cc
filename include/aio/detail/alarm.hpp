// A timer that calls a function, in the frame of who is to be told: the deadlines of with_timeout,
// scope::join_for and the like. It costs no strand; it goes away with the frame.
#pragma once

#include <aio/context.hpp>

namespace aio::detail {

class alarm {
  public:
    using function = void (*)(void *) noexcept;

    /// After `after`, `call(arg)`; at once in a turn where the context takes no timer any more.
    alarm(aio_ctx *ctx, uint64_t after_ns, function call, void *arg) noexcept
        : ctx_(ctx), call_(call), arg_(arg) {
        id_ = aio_submit_timer(ctx, after_ns, nullptr, &alarm::fire, this);
        if (id_ < 0) {
            has_fired_ = true;
            call(arg);
        }
    }
    alarm(const alarm &) = delete;
    alarm &operator=(const alarm &) = delete;
    ~alarm() {
        if (id_ > 0)
            aio_ctx_cancel_wait(ctx_, id_); // a timer's does not wait
    }

    bool has_fired() const noexcept { return has_fired_; }

    /// Cancelling it, which any thread may, calls the function too, on the context's.
    aio_op_id id() const noexcept { return id_; }

  private:
    static void fire(void *user_data, int32_t result, uint32_t) noexcept {
        auto *self = static_cast<alarm *>(user_data);
        self->id_ = 0;
        if (result == 0)
            self->has_fired_ = true;
        self->call_(self->arg_);
    }

    aio_ctx *ctx_;
    function call_;
    void *arg_;
    aio_op_id id_ = 0;
    bool has_fired_ = false;
};

} // namespace aio::detail
