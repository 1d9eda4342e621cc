// NOPs awaited by C++ coroutines: `depth` tasks, each of which awaits one after another. Beside the
// engine's callbacks in nop.c it says what the C++ layer costs.
#include "bench.h"
#include "nop.h"

#include <aio/context.hpp>
#include <aio/misc.hpp>
#include <aio/scope.hpp>

namespace {

struct progress {
    uint64_t unstarted;
    uint64_t completed = 0;
    uint64_t failed = 0;
};

aio::task<> chain(aio::context &ctx, progress &progress) {
    while (progress.unstarted != 0) {
        progress.unstarted--;
        const auto ended = co_await aio::nop(ctx);
        progress.completed++;
        if (!ended)
            progress.failed++;
    }
}

} // namespace

double nop_coroutine(void *arg, const void *) {
    const auto &load = *static_cast<const nop_load *>(arg);
    aio::context ctx(
        {.backend = AIO_BACKEND_URING, .sq_entries = NOP_SQ_ENTRIES, .cq_entries = NOP_CQ_ENTRIES});
    progress progress{load.count};
    const uint64_t start_ns = bench_thread_cpu_ns();
    {
        aio::scope chains(ctx);
        for (uint64_t i = 0; i < load.depth; i++)
            chains.spawn(chain(ctx, progress));
        ctx.run().value();
    }
    const uint64_t spent_ns = bench_thread_cpu_ns() - start_ns;
    if (progress.completed != load.count || progress.failed != 0)
        bench_die("an awaited NOP failed");
    return static_cast<double>(spent_ns) / static_cast<double>(load.count);
}
