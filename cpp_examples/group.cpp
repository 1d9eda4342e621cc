// group: tasks that belong together, and how they are stopped: by one that fails, by a time that is
// up, by somebody who has what was wanted. No task is told so by an argument: a request to stop
// finds what each of them waits for, and ends that.
//
//     group
#include <aio/combine.hpp>
#include <aio/context.hpp>
#include <aio/scope.hpp>
#include <aio/time.hpp>
#include <aio/timeout.hpp>

#include <iostream>
#include <stdexcept>
#include <string>

using namespace std::chrono_literals;

/// Works for ten seconds, in steps, and tidies up when it has to end before.
aio::task<> work(aio::context &ctx, std::string name) {
    for (int step = 0; step < 1000; step++) {
        if (const auto slept = co_await aio::sleep_for(ctx, 10ms); !slept) {
            std::cout << name << ": " << (aio::is_cancelled(slept.error()) ? "stopped" : "failed")
                      << '\n';
            co_return;
        }
    }
    std::cout << name << ": done\n";
}

aio::task<> fail(aio::context &ctx) {
    (co_await aio::sleep_for(ctx, 30ms)).value();
    throw std::runtime_error("the pump is broken");
}

/// One that throws stops the others, and join() waits for them before it throws the exception.
aio::task<> one_fails(aio::context &ctx) {
    aio::scope group(ctx);
    group.spawn(work(ctx, "first"));
    group.spawn(fail(ctx));
    try {
        (co_await group.join()).value();
    } catch (const std::runtime_error &error) {
        std::cout << error.what() << ", " << group.size() << " left\n";
    }
}

/// Who is not ready in time is asked to stop.
aio::task<> time_is_up(aio::context &ctx) {
    aio::scope group(ctx);
    group.spawn(work(ctx, "second"));
    const auto joined = co_await group.join_for(30ms);
    std::cout << joined.error().message() << '\n';

    // The same of a single task.
    const auto ended = co_await aio::with_timeout(
        [](aio::context &ctx) -> aio::task<int> {
            (co_await aio::sleep_for(ctx, 10s)).value(); // throws when it is stopped
            co_return 1;
        }(ctx),
        30ms);
    std::cout << ended.error().message() << '\n';
}

/// The first that ends is enough.
aio::task<> one_is_enough(aio::context &ctx) {
    const auto first = co_await aio::when_any(work(ctx, "third"), aio::sleep_for(ctx, 30ms));
    std::cout << "number " << first.index() << " was first\n";
}

int main() {
    aio::context ctx;
    ctx.run(one_fails(ctx));
    ctx.run(time_is_up(ctx));
    ctx.run(one_is_enough(ctx));
}
