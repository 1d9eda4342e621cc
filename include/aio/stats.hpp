// stats: what a context does and how long it takes: counters by operation, latencies, and a trace.
//
//     for (const aio_operation_stats &each : aio::operation_stats(ctx))
//         std::printf("%s: %lu, %lu failed\n", each.name, each.completed, each.failed);
//
// context has stats(), info(), dump() and in_flight().
#pragma once

#include <aio/context.hpp>

#include <array>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

namespace aio {

/// The counters of the operations of one opcode (IORING_OP_*, or a number of the engine's): any
/// thread.
inline result<aio_operation_stats> operation_stats(const context &ctx, uint32_t opcode) noexcept {
    aio_operation_stats stats{};
    stats.size = sizeof stats;
    return detail::as_result(aio_ctx_operation_stats(ctx.native(), opcode, &stats)).transform([&] {
        return stats;
    });
}

/// Those of all operations that were ever submitted: any thread.
inline std::vector<aio_operation_stats> operation_stats(const context &ctx) {
    std::vector<aio_operation_stats> all;
    for (uint32_t opcode = 0;; opcode++) {
        const result<aio_operation_stats> one = operation_stats(ctx, opcode);
        if (!one)
            return all;
        if (one->submitted != 0)
            all.push_back(*one);
    }
}

/// How long operations of one opcode took.
struct latencies {
    aio_histogram summary;
    /// One for each quantile that was asked for, in that order.
    std::vector<std::chrono::nanoseconds> values;
};

/// The latencies of an opcode, in a context whose flags have AIO_CTX_HISTOGRAMS; `quantiles` are
/// from 0 to 1. `flags`: AIO_HISTOGRAM_RESET forgets what is read. Context thread.
inline result<latencies> histogram(context &ctx, uint32_t opcode, std::span<const double> quantiles,
                                   uint32_t flags = 0) {
    latencies found{};
    found.summary.size = sizeof found.summary;
    std::vector<uint64_t> values(quantiles.size());
    const int32_t status =
        aio_ctx_histogram(ctx.native(), opcode, flags, quantiles.data(),
                          static_cast<uint32_t>(quantiles.size()), values.data(), &found.summary);
    if (status != 0)
        return unexpected::from_status(status);
    for (const uint64_t value : values)
        found.values.emplace_back(static_cast<std::chrono::nanoseconds::rep>(value));
    return found;
}
inline result<latencies> histogram(context &ctx, uint32_t opcode,
                                   std::initializer_list<double> quantiles, uint32_t flags = 0) {
    return histogram(ctx, opcode, std::span<const double>(quantiles.begin(), quantiles.size()),
                     flags);
}

/// Has a function called with every event of a context while it lives: see aio_ctx_set_trace for
/// what it may do, which is little. A context has one trace; a later one takes its place. Context
/// thread, and it must not outlive the context.
template <class F>
    requires std::is_invocable_v<F &, const aio_trace_event &>
class [[nodiscard("aio: the trace ends when this dies")]] trace {
  public:
    trace(context &ctx, F fn) : ctx_(ctx.native()), fn_(std::move(fn)) {
        if (const int32_t status = aio_ctx_set_trace(ctx_, &trace::call, this); status != 0)
            detail::fail(make_error(status), "aio::trace");
    }
    trace(const trace &) = delete;
    trace &operator=(const trace &) = delete;
    ~trace() { aio_ctx_set_trace(ctx_, nullptr, nullptr); }

  private:
    static void call(void *arg, aio_ctx *, const aio_trace_event *event) noexcept {
        static_cast<trace *>(arg)->fn_(*event);
    }

    aio_ctx *ctx_;
    F fn_;
};

} // namespace aio
