// What an outside project in C++ might begin with. The standard is the target's wish, and so is
// what lets tasks that end at once be awaited in a loop where nothing is optimised.
#include <aio/context.hpp>
#include <aio/misc.hpp>
#include <aio/task.hpp>

#include <cstdio>

static aio::task<int> one() { co_return 1; }

static aio::task<int> count(int many) {
    int sum = 0;
    for (int i = 0; i < many; i++)
        sum += co_await one();
    co_return sum;
}

int main() {
    auto ctx = aio::context::create();
    if (!ctx) {
        std::fprintf(stderr, "%s\n", ctx.error().message().c_str());
        return 77;
    }
    if (ctx->run(count(1000000)) != 1000000)
        return 1;
    return ctx->run(aio::nop(*ctx)) ? 0 : 1;
}
