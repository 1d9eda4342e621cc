// signal_set: signals of the process, as values to await.
//
//     auto signals = aio::signal_set::create(ctx, {SIGINT, SIGTERM}).value();
//     auto got = co_await signals.next();          // result<delivered_signal>
//     if (got && got->number == SIGTERM) ...
//
// From its creation on, a signal of the set does not do what it does by default; when the set is
// destroyed it does again. Deliveries that nobody has awaited yet are kept. Several sets, of one
// context or of many, are each told of a signal. What cannot be waited for (SIGKILL, SIGSEGV) is
// std::errc::invalid_argument: see aio_submit_signal.
#pragma once

#include <aio/channel.hpp>
#include <aio/context.hpp>

#include <csignal>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <vector>

namespace aio {

/// A signal that came.
struct delivered_signal {
    int number;
    /// How many deliveries this stands for: more than 1 when the context was late.
    std::size_t count;
    /// Of the newest: who has sent it and the like; all zero if only the number is known.
    siginfo_t info;
};

/// See the top of this file. Movable. Context thread.
class signal_set {
  public:
    static result<signal_set> create(context &ctx, std::span<const int> numbers) {
        auto made = std::make_unique<state>(ctx.native(), numbers.size());
        for (const int number : numbers) {
            if (const int32_t status = made->add(number); status != 0)
                return unexpected::from_status(status);
        }
        return signal_set(std::move(made));
    }
    static result<signal_set> create(context &ctx, std::initializer_list<int> numbers) {
        return create(ctx, std::span<const int>(numbers.begin(), numbers.size()));
    }
    /// Throws std::system_error when it cannot be.
    signal_set(context &ctx, std::initializer_list<int> numbers)
        : signal_set(create(ctx, numbers).value()) {}

    /// The next delivery: result<delivered_signal>. errc::eof when the context is destroyed.
    auto next() noexcept { return state_->arrived.receive(); }
    /// How many deliveries wait to be taken.
    std::size_t pending() const noexcept { return state_->arrived.size(); }

  private:
    struct state : detail::pooled_frame {
        struct entry {
            state *of;
            int number;
            aio_op_id id;
        };

        state(aio_ctx *ctx, std::size_t count) : ctx(ctx) { entries.reserve(count); }
        ~state() {
            for (const entry &each : entries) {
                if (each.id > 0)
                    detail::abandon(ctx, each.id);
            }
        }

        int32_t add(int number) {
            entry &made = entries.emplace_back(entry{this, number, 0});
            made.id = aio_submit_signal(ctx, number, nullptr, &state::deliver, &made);
            return made.id < 0 ? static_cast<int32_t>(made.id) : 0;
        }

        static void deliver(void *user_data, int32_t result, uint32_t flags) noexcept {
            auto *from = static_cast<entry *>(user_data);
            state *self = from->of;
            if ((flags & AIO_CQE_MORE) == 0) {
                from->id = 0;
                self->arrived.close();
            } else if (result > 0) {
                delivered_signal signal{from->number, static_cast<std::size_t>(result), {}};
                aio_ctx_current_signal(self->ctx, &signal.info);
                self->arrived.try_send(std::move(signal));
            }
        }

        aio_ctx *ctx;
        std::vector<entry> entries; // reserved: operations know their addresses
        channel<delivered_signal> arrived{std::numeric_limits<std::size_t>::max()};
    };

    explicit signal_set(std::unique_ptr<state> made) noexcept : state_(std::move(made)) {}

    std::unique_ptr<state> state_;
};

} // namespace aio
