#include "support.hpp"

#include <aio/combine.hpp>
#include <aio/fs.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>

#include <string>

namespace {

using aio::context;
using aio::result;
using aio::task;
using support::after;

task<result<int>> fails(context &ctx, std::errc code) {
    static_cast<void>(co_await aio::nop(ctx));
    co_return aio::unexpected(code);
}

task<> throws(context &ctx) {
    static_cast<void>(co_await aio::nop(ctx));
    throw std::runtime_error("thrown");
}

TEST(combine, when_all_gives_a_tuple_of_all) {
    context ctx;
    const auto all = [&]() -> task<> {
        const auto nothing = [&]() -> task<> { co_return; };
        auto [a, b, c] =
            co_await aio::when_all(after(ctx, 2ms, 1), aio::sleep_for(ctx, 1ms), nothing());
        EXPECT_EQ(a, 1);
        EXPECT_TRUE(b);
        static_assert(std::is_same_v<decltype(c), std::monostate>);
        EXPECT_EQ(co_await aio::when_all(), std::tuple<>());
    };
    ctx.run(all());
}

TEST(combine, when_all_of_many_keeps_their_order) {
    context ctx;
    const auto all = [&]() -> task<> {
        std::vector<task<int>> tasks;
        for (int i = 0; i < 10; i++)
            tasks.push_back(after(ctx, std::chrono::milliseconds(10 - i), i));
        const auto values = co_await aio::when_all(std::move(tasks));
        for (int i = 0; i < 10; i++)
            EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
    };
    ctx.run(all());
}

TEST(combine, an_exception_in_one_of_all_stops_the_others_first) {
    context ctx;
    int stopped = 0;
    const auto sleeper = [&]() -> task<> {
        stopped += aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error());
    };
    const auto all = [&]() -> task<> { co_await aio::when_all(sleeper(), throws(ctx), sleeper()); };
    EXPECT_THROW(ctx.run(all()), std::runtime_error);
    EXPECT_EQ(stopped, 2);
}

TEST(combine, when_any_cancels_the_losers_and_awaits_them) {
    context ctx;
    int stopped = 0;
    const auto sleeper = [&]() -> task<> {
        stopped += aio::is_cancelled((co_await aio::sleep_for(ctx, 1h)).error());
        static_cast<void>(co_await aio::nop(ctx));
        stopped += 10;
    };
    const auto any = [&]() -> task<> {
        auto first = co_await aio::when_any(sleeper(), after(ctx, 1ms, 7), sleeper());
        EXPECT_EQ(first.index(), 1u);
        EXPECT_EQ(std::get<1>(first), 7);
        EXPECT_EQ(stopped, 22);
        std::vector<task<int>> tasks;
        for (int i = 0; i < 5; i++)
            tasks.push_back(after(ctx, i == 3 ? 1ms : 1000ms, i));
        const auto [which, value] = co_await aio::when_any(std::move(tasks));
        EXPECT_EQ(which, 3u);
        EXPECT_EQ(value, 3);
    };
    ctx.run(any());
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(combine, what_a_loser_brings_all_the_same_is_closed) {
    context ctx;
    auto [listening, address] = support::listener();
    const auto any = [&, listening = listening, &address = address]() -> task<> {
        const int client = support::connected_to(address);
        // Both may be done in the same turn: whoever loses, nothing stays open.
        auto first = co_await aio::when_any(aio::nop(ctx), aio::accept(ctx, listening));
        static_cast<void>(first);
        first = decltype(first)();
        ::close(client);
    };
    for (int i = 0; i < 20; i++) {
        ctx.run(any());
        ctx.run().value();
    }
    ::close(listening);
    EXPECT_EQ(ctx.in_flight(), 0u);
}

TEST(combine, a_race_is_won_by_the_first_success) {
    context ctx;
    const auto slow = [&](std::chrono::milliseconds time, int value) -> task<result<int>> {
        const auto slept = co_await aio::sleep_for(ctx, time);
        if (!slept)
            co_return aio::unexpected(slept.error());
        co_return value;
    };
    const auto races = [&]() -> task<> {
        EXPECT_EQ(
            co_await aio::race(fails(ctx, std::errc::broken_pipe), slow(1ms, 2), slow(1000ms, 3)),
            2);
        EXPECT_EQ((co_await aio::race(fails(ctx, std::errc::broken_pipe),
                                      fails(ctx, std::errc::connection_refused)))
                      .error(),
                  std::errc::connection_refused);
    };
    ctx.run(races());
    const auto throwing = [&]() -> task<result<int>> {
        co_await throws(ctx);
        co_return 0;
    };
    EXPECT_EQ(ctx.run(aio::race(throwing(), slow(1ms, 4))), 4);
    EXPECT_THROW(static_cast<void>(ctx.run(aio::race(throwing(), throwing()))), std::runtime_error);
}

TEST(combine, a_chain_is_done_in_order_and_broken_by_an_error) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("file"), O_CREAT | O_RDWR, 0600))
                .value();
        std::array<char, 8> text{};
        auto [written, flushed, read] =
            co_await aio::chain(aio::write(ctx, file, "chained", 0), aio::fsync(ctx, file),
                                aio::read(ctx, file, text, 0));
        EXPECT_EQ(written, 7u);
        EXPECT_TRUE(flushed);
        EXPECT_EQ(read, 7u);
        EXPECT_EQ(std::string(text.data()), "chained");
        auto [bad, rest] = co_await aio::chain(aio::write(ctx, 9999, "x", 0), aio::nop(ctx));
        EXPECT_EQ(bad.error(), std::errc::bad_file_descriptor);
        EXPECT_EQ(rest.error(), aio::errc::aborted);
    };
    ctx.run(all());
}

TEST(combine, a_refused_member_ends_its_chain_and_no_stranger_becomes_one) {
    context ctx;
    const auto wrong = [](aio_submit_options &options) { options.flags |= 1u << 30; };
    const auto broken = [&]() -> task<> {
        std::array<char, 8> room{};
        auto [bad, refused] =
            co_await aio::chain(aio::recv(ctx, 9999, room), aio::nop(ctx).with(wrong));
        EXPECT_EQ(bad.error(), std::errc::bad_file_descriptor);
        EXPECT_EQ(refused.error(), std::errc::invalid_argument);
    };
    const auto stranger = [&]() -> task<> { (co_await aio::nop(ctx)).value(); };
    ctx.run(aio::when_all(broken(), stranger()));

    const auto in_the_middle = [&]() -> task<> {
        auto [first, refused, last] =
            co_await aio::chain(aio::nop(ctx), aio::nop(ctx).with(wrong), aio::nop(ctx));
        EXPECT_TRUE(first);
        EXPECT_EQ(refused.error(), std::errc::invalid_argument);
        EXPECT_EQ(last.error(), aio::errc::aborted);
    };
    ctx.run(in_the_middle());
}

} // namespace
