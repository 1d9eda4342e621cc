// What an outside project in C++ might begin with. The standard is the target's wish.
#include <aio/context.hpp>
#include <aio/misc.hpp>

#include <cstdio>

int main() {
    auto ctx = aio::context::create();
    if (!ctx) {
        std::fprintf(stderr, "%s\n", ctx.error().message().c_str());
        return 77;
    }
    return ctx->run(aio::nop(*ctx)) ? 0 : 1;
}
