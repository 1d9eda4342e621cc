// NOPs awaited by C++ coroutines: `depth` tasks, each of which awaits one after another. Beside the
// engine's callbacks in nop.c it says what the C++ layer costs.
#include "bench.h"
#include "nop.h"

#include <aio/context.hpp>
#include <aio/misc.hpp>
#include <aio/scope.hpp>

namespace {

/// What nop.c's callbacks have in one place as well.
struct nops {
    aio::context ctx;
    uint64_t unstarted;
    uint64_t completed = 0;
    uint64_t failed = 0;
};

aio::task<> chain(nops &nops) {
    while (nops.unstarted != 0) {
        nops.unstarted--;
        const auto ended = co_await aio::nop(nops.ctx);
        nops.completed++;
        if (!ended)
            nops.failed++;
    }
}

} // namespace

double nop_coroutine(void *arg, const void *) {
    const auto &load = *static_cast<const nop_load *>(arg);
    nops nops{.ctx = aio::context({.backend = AIO_BACKEND_URING,
                                   .sq_entries = NOP_SQ_ENTRIES,
                                   .cq_entries = NOP_CQ_ENTRIES}),
              .unstarted = load.count};
    const uint64_t start_ns = bench_thread_cpu_ns();
    {
        aio::scope chains(nops.ctx);
        for (uint64_t i = 0; i < load.depth; i++)
            chains.spawn(chain(nops));
        nops.ctx.run().value();
    }
    const uint64_t spent_ns = bench_thread_cpu_ns() - start_ns;
    if (nops.completed != load.count || nops.failed != 0)
        bench_die("an awaited NOP failed");
    return static_cast<double>(spent_ns) / static_cast<double>(load.count);
}
