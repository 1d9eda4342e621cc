// hello: the smallest program. Two tasks wait side by side, and what they give comes back to main.
//
//     hello
#include <aio/combine.hpp>
#include <aio/context.hpp>
#include <aio/time.hpp>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

aio::task<std::string> greet(aio::context &ctx, std::string whom, std::chrono::milliseconds after) {
    (co_await aio::sleep_for(ctx, after)).value();
    co_return "hello, " + whom;
}

aio::task<int> greet_both(aio::context &ctx) {
    auto [world, moon] =
        co_await aio::when_all(greet(ctx, "world", 50ms), greet(ctx, "moon", 20ms));
    std::cout << world << '\n' << moon << '\n';
    co_return 2;
}

int main() {
    aio::context ctx;
    const int greeted = ctx.run(greet_both(ctx)); // its exception would come out here
    std::cout << greeted << " greeted\n";
}
