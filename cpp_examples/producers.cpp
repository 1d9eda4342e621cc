// producers: threads that make something, and a coroutine that takes it.
//
//     producers [THREADS [NUMBERS]]
//
// Sending to a thread_channel takes no lock and never waits: a thread that is faster than the
// consumer is told that the channel is full, and decides itself what to do. What a thread made
// before it sent is seen by who receives.
#include <aio/context.hpp>
#include <aio/thread_channel.hpp>

#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

struct made {
    int thread;
    uint64_t number;
};

void produce(aio::thread_channel<made> to, int thread, uint64_t count) {
    for (uint64_t number = 1; number <= count; number++) {
        while (!to.send(made{thread, number})) // full: let the consumer go on
            std::this_thread::yield();
    }
} // a copy of the channel ends here; with the last of them it is closed

aio::task<std::vector<uint64_t>> consume(aio::context &ctx, aio::thread_channel<made> from,
                                         int threads) {
    std::vector<uint64_t> last(static_cast<std::size_t>(threads));
    auto values = from.values(ctx);
    while (auto one = co_await values.next()) {
        uint64_t &before = last[static_cast<std::size_t>(one->thread)];
        if (one->number != before + 1)
            throw std::runtime_error("out of order");
        before = one->number;
    }
    co_return last;
}

int main(int argc, char **argv) try {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
    const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10'000;

    aio::context ctx;
    aio::thread_channel<made> channel(1024);
    std::vector<std::thread> producing;
    for (int thread = 0; thread < threads; thread++)
        producing.emplace_back(produce, channel, thread, count);
    // Who waits for the producers is a thread as well: this one is the consumer's.
    std::thread closing([&] {
        for (std::thread &each : producing)
            each.join();
        channel.close();
    });
    const std::vector<uint64_t> last = ctx.run(consume(ctx, channel, threads));
    closing.join();

    uint64_t sum = 0;
    for (const uint64_t each : last)
        sum += each;
    std::cout << sum << " received of " << threads << " threads\n";
} catch (const std::exception &error) {
    std::cerr << "producers: " << error.what() << '\n';
    return 1;
}
