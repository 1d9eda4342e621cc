// A program that is compiled with -fno-exceptions -fno-rtti: tasks, operations, results, a stop.
#include <aio/context.hpp>
#include <aio/operations.hpp>
#include <aio/socket.hpp>
#include <aio/stream.hpp>

#include <cstdio>

namespace {

using namespace std::chrono_literals;

aio::task<int> count_to(aio::context &ctx, int end) {
    int count = 0;
    auto ticks = aio::interval(ctx, 1ms);
    while (count < end) {
        const auto tick = co_await ticks.next();
        if (!tick)
            break;
        count++;
    }
    co_return count;
}

aio::task<aio::result<int>> all(aio::context &ctx) {
    const int count = co_await count_to(ctx, 3);
    const auto late = co_await aio::sleep_for(ctx, 1h).timeout(1ms);
    if (late.error() != aio::errc::deadline)
        co_return aio::unexpected(late.error());
    auto [ours, theirs] = aio::unix_socket::pair(ctx).value();
    if (const auto sent = co_await aio::write_all(ours, "line\n", 10s); !sent)
        co_return aio::unexpected(sent.error());
    aio::io_buffer buffer;
    const auto line = co_await aio::read_until(theirs, buffer, "\n", 100, 10s);
    if (!line || aio::as_text(*line) != "line\n")
        co_return -1;
    co_return count;
}

} // namespace

int main() {
    auto ctx = aio::context::create();
    if (!ctx) {
        std::fprintf(stderr, "%s\n", ctx.error().message().c_str());
        return 77;
    }
    const auto result = ctx->run(all(*ctx));
    return result == 3 ? 0 : 1;
}
