// NOP awaited by coroutines, beside the same with callbacks: what the C++ layer costs.
//
// `depth` chains run at once, as in nop.c: a callback that submits the next operation, or a task
// that awaits them one after another. One form runs at a time, so that a tool can count its
// instructions exactly: the slope over two values of --count is the cost of one operation.
#include <aio/context.hpp>
#include <aio/misc.hpp>
#include <aio/scope.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <time.h>

namespace {

/// What a run of either form counts.
struct progress {
    aio_ctx *ctx;
    uint64_t unstarted;
    uint64_t completed = 0;
    uint64_t failed = 0;
};

[[noreturn]] void die(const char *what) {
    std::fprintf(stderr, "coroutines: %s\n", what);
    std::exit(1);
}

uint64_t cpu_ns() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void on_nop(void *user_data, int32_t result, uint32_t) noexcept {
    auto *progress = static_cast<struct progress *>(user_data);
    progress->completed++;
    progress->failed |= static_cast<uint32_t>(result);
    if (progress->unstarted != 0) {
        progress->unstarted--;
        if (aio_submit_nop(progress->ctx, nullptr, on_nop, progress) < 0)
            die("aio_submit_nop in the callback");
    }
}

void with_callbacks(aio::context &ctx, progress &progress, uint64_t depth) {
    for (uint64_t i = 0; i < depth && progress.unstarted != 0; i++) {
        progress.unstarted--;
        if (aio_submit_nop(ctx.native(), nullptr, on_nop, &progress) < 0)
            die("aio_submit_nop");
    }
    ctx.run().value();
}

aio::task<> chain(aio::context &ctx, progress &progress) {
    while (progress.unstarted != 0) {
        progress.unstarted--;
        const auto ended = co_await aio::nop(ctx);
        progress.completed++;
        progress.failed |= !ended;
    }
}

void with_coroutines(aio::context &ctx, progress &progress, uint64_t depth) {
    aio::scope chains(ctx);
    for (uint64_t i = 0; i < depth; i++)
        chains.spawn(chain(ctx, progress));
    ctx.run().value();
}

} // namespace

int main(int argc, char **argv) {
    uint64_t depth = 32;
    uint64_t count = 200'000;
    std::string_view form = "coroutine";
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view flag = argv[i];
        if (flag == "--depth")
            depth = std::strtoull(argv[i + 1], nullptr, 10);
        else if (flag == "--count")
            count = std::strtoull(argv[i + 1], nullptr, 10);
        else if (flag == "--form")
            form = argv[i + 1];
        else
            die("usage: --form callback|coroutine --depth N --count N");
    }
    if (form != "callback" && form != "coroutine")
        die("--form is callback or coroutine");
    aio::context ctx({.backend = AIO_BACKEND_URING, .sq_entries = 256, .cq_entries = 512});
    progress progress{ctx.native(), count};
    const uint64_t start = cpu_ns();
    form == "callback" ? with_callbacks(ctx, progress, depth)
                       : with_coroutines(ctx, progress, depth);
    const uint64_t spent = cpu_ns() - start;
    if (progress.completed != count || progress.failed != 0)
        die("operations are missing, or failed");
    std::printf("%s depth %llu: %.1f ns per operation\n", form.data(),
                static_cast<unsigned long long>(depth),
                static_cast<double>(spent) / static_cast<double>(count));
}
