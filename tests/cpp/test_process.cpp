#include "strands.hpp"

#include <aio/fs.hpp>
#include <aio/process.hpp>

#include <array>

namespace {

using aio::context;
using aio::process;
using aio::process_options;
using aio::stdio;
using aio::task;
using support::strands;

process_options shell(const std::string &script) {
    process_options options;
    options.arguments = {"sh", "-c", script};
    return options;
}

TEST(process, its_exit_status_and_its_signal_are_told) {
    context ctx;
    const auto runs = [&]() -> task<> {
        auto fails = process::spawn(ctx, shell("exit 3")).value();
        EXPECT_GT(fails.pid(), 0);
        EXPECT_FALSE(fails.exit());
        const auto ended = co_await fails.wait();
        EXPECT_EQ(ended.value().status, 3);
        EXPECT_EQ(ended->signal, 0);
        EXPECT_FALSE(ended->success());
        EXPECT_GT(ended->max_rss_kib, 0u);
        EXPECT_EQ((co_await fails.wait()).value().status, 3) << "as often as one likes";
        EXPECT_EQ(fails.exit().value().status, 3);
        EXPECT_EQ(fails.kill(SIGTERM).error(), std::errc::no_such_process);

        auto dies = process::spawn(ctx, shell("kill -9 $$")).value();
        const auto killed = co_await dies.wait();
        EXPECT_EQ(killed.value().signal, SIGKILL);
        EXPECT_EQ(killed->status, -1);
    };
    ctx.run(runs());
}

TEST(process, its_streams_are_pipes) {
    context ctx;
    const auto runs = [&]() -> task<> {
        process_options options = shell("cat; echo \"$NAME\" >&2; pwd");
        options.in = options.out = options.err = stdio::pipe();
        options.environment = std::vector<std::string>{"NAME=value", "PATH=/usr/bin:/bin"};
        options.directory = "/";
        auto child = process::spawn(ctx, options).value();
        EXPECT_TRUE(co_await aio::write_all(ctx, child.in, "text\n"));
        child.in.reset();
        const auto all_of = [&](aio::file_ref from) -> task<std::string> {
            std::string all;
            std::array<char, 64> some;
            while (true) {
                const auto count = co_await aio::read(ctx, from, some);
                if (!count || *count == 0)
                    co_return all;
                all.append(some.data(), *count);
            }
        };
        EXPECT_EQ(co_await all_of(child.out), "text\n/\n");
        EXPECT_EQ(co_await all_of(child.err), "value\n");
        EXPECT_TRUE((co_await child.wait()).value().success());
    };
    ctx.run(runs());
}

TEST(process, a_program_that_is_not_there_is_an_error_at_once) {
    context ctx;
    process_options options;
    options.arguments = {"/no/such/program"};
    EXPECT_EQ(process::spawn(ctx, options).error(), std::errc::no_such_file_or_directory);
}

TEST(process, a_stop_ends_it_and_waits_for_that) {
    context ctx;
    auto child = process::spawn(ctx, shell("exec sleep 1000")).value();
    strands group(ctx);
    const auto waits = [&]() -> task<> {
        EXPECT_TRUE(aio::is_cancelled((co_await child.wait()).error()));
        EXPECT_EQ(child.exit().value().signal, SIGTERM);
    };
    group.begin(waits());
    group.request_stop();
    ctx.run().value();
    EXPECT_EQ(group.size(), 0u);
}

TEST(process, it_can_be_asked_to_end_and_signalled) {
    context ctx;
    const auto runs = [&]() -> task<> {
        process_options options = shell("exec sleep 1000");
        options.cancel_signal = SIGINT;
        auto asked = process::spawn(ctx, options).value();
        asked.request_stop();
        EXPECT_EQ((co_await asked.wait()).value().signal, SIGINT);
        auto killed = process::spawn(ctx, options).value();
        EXPECT_TRUE(killed.kill(SIGUSR1));
        EXPECT_EQ((co_await killed.wait()).value().signal, SIGUSR1);
    };
    ctx.run(runs());
}

TEST(process, a_destroyed_object_ends_its_child) {
    context ctx;
    int pid = 0;
    {
        auto child = process::spawn(ctx, shell("exec sleep 1000")).value();
        auto moved = std::move(child);
        pid = moved.pid();
        EXPECT_EQ(::kill(pid, 0), 0);
    }
    ctx.run().value(); // until nothing is in flight
    for (int i = 0; ::kill(pid, 0) == 0 && i < 1000; i++)
        static_cast<void>(ctx.run(aio::sleep_for(ctx, 5ms)));
    EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(process, one_waits_at_a_time_and_a_destroyed_wait_is_forgotten) {
    context ctx;
    auto child = process::spawn(ctx, shell("exec sleep 1000")).value();
    const auto waits = [&](bool is_busy) -> task<> {
        const auto ended = co_await child.wait();
        if (is_busy)
            EXPECT_EQ(ended.error(), std::errc::device_or_resource_busy);
        else
            EXPECT_EQ(ended.value().signal, SIGTERM);
    };
    {
        strands doomed(ctx);
        doomed.begin(waits(false));
        doomed.begin(waits(true));
        EXPECT_EQ(doomed.size(), 1u);
    }
    strands group(ctx);
    group.begin(waits(false));
    child.request_stop();
    ctx.run().value();
    EXPECT_EQ(group.size(), 0u);
}

} // namespace
