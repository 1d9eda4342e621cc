#include "strands.hpp"

#include <aio/resume_on.hpp>
#include <aio/worker_group.hpp>

#include <atomic>
#include <set>
#include <thread>

namespace {

using aio::context;
using aio::task;
using aio::worker_group;
using aio::worker_group_options;

worker_group_options two() {
    worker_group_options options;
    options.count = 2;
    options.flags = AIO_WORKERS_UNPINNED;
    return options;
}

TEST(worker_group, each_worker_has_a_thread_and_a_context) {
    auto options = two();
    std::mutex mutex;
    std::set<std::thread::id> threads;
    std::atomic<int> stopped = 0;
    options.on_start = [&](context &ctx, uint32_t index) -> aio::result<void> {
        EXPECT_LT(index, 2u);
        EXPECT_NE(ctx.native(), nullptr);
        const std::lock_guard lock(mutex);
        threads.insert(std::this_thread::get_id());
        return {};
    };
    options.on_stop = [&](context &, uint32_t) { stopped++; };
    {
        worker_group workers(options);
        EXPECT_EQ(workers.size(), 2u);
        EXPECT_NE(workers.context_of(0).native(), workers.context_of(1).native());
    }
    EXPECT_EQ(threads.size(), 2u);
    EXPECT_EQ(stopped, 2);
}

TEST(worker_group, it_does_not_begin_if_a_worker_cannot) {
    auto options = two();
    options.on_start = [](context &, uint32_t index) -> aio::result<void> {
        if (index == 1)
            return aio::unexpected(std::errc::permission_denied);
        return {};
    };
    EXPECT_EQ(worker_group::create(options).error(), std::errc::permission_denied);
}

TEST(worker_group, functions_and_tasks_run_on_the_workers) {
    context ctx;
    worker_group workers(two());
    std::atomic<int> called = 0;
    for (int i = 0; i < 10; i++) {
        EXPECT_TRUE(workers.post(AIO_WORKERS_ANY, [&] { called++; }));
        EXPECT_TRUE(workers.post(1, [&](context &on) {
            EXPECT_EQ(on.native(), workers.context_of(1).native());
            called++;
        }));
    }
    const auto there = [](context &on) -> task<std::thread::id> {
        EXPECT_TRUE(co_await aio::sleep_for(on, 1ms));
        co_return std::this_thread::get_id();
    };
    const auto asks = [&]() -> task<> {
        const auto first =
            co_await aio::resume_on(workers.context_of(0), there(workers.context_of(0)));
        const auto second =
            co_await aio::resume_on(workers.context_of(1), there(workers.context_of(1)));
        EXPECT_NE(first, second);
        EXPECT_NE(first, std::this_thread::get_id());
    };
    ctx.run(asks());
    workers.stop(1h);
    EXPECT_TRUE(workers.join());
    EXPECT_EQ(called, 20);
    EXPECT_EQ(workers.post(0, [] {}).error(), aio::errc::closed);
}

TEST(worker_group, connections_are_accepted_on_the_workers) {
    worker_group workers(two());
    std::atomic<int> accepted = 0;
    const auto port = workers.listen(aio::endpoint::loopback_v4(0),
                                     [&](context &ctx, aio::descriptor connection) {
                                         EXPECT_EQ(ctx.native(), aio_ctx_current());
                                         EXPECT_EQ(::write(connection.number(), "x", 1), 1);
                                         accepted++;
                                     });
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port.value());
    for (int i = 0; i < 4; i++) {
        const int fd = support::connected_to(address);
        char byte = 0;
        EXPECT_EQ(::read(fd, &byte, 1), 1);
        EXPECT_EQ(byte, 'x');
        EXPECT_EQ(::read(fd, &byte, 1), 0) << "the descriptor was closed";
        ::close(fd);
    }
    EXPECT_EQ(accepted, 4);
}

TEST(worker_group, descriptors_are_handed_over) {
    auto options = two();
    std::atomic<int> taken = -1;
    options.on_descriptor = [&](context &, aio::descriptor file) {
        taken = file.release();
        taken.notify_all();
    };
    worker_group workers(options);
    context ctx;
    const auto pair = support::socket_pair();
    EXPECT_TRUE(workers.send(0, aio::descriptor(ctx, pair[0])));
    taken.wait(-1);
    EXPECT_EQ(taken, pair[0]);
    EXPECT_TRUE(support::is_open(pair[0]));
    ::close(pair[0]);
    ::close(pair[1]);
}

} // namespace
