#include "support.hpp"

#include <aio/files.hpp>
#include <aio/fs.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/socket.hpp>

#include <memory>
#include <thread>

namespace {

using aio::context;
using aio::descriptor;
using aio::task;

TEST(descriptor, it_closes_when_it_dies_and_moves_before) {
    context ctx;
    auto [a, b] = support::socket_pair();
    {
        descriptor first(ctx, a);
        EXPECT_TRUE(first);
        descriptor second = std::move(first);
        EXPECT_FALSE(first);
        EXPECT_EQ(second.number(), a);
        first = std::move(second);
        EXPECT_EQ(first.number(), a);
        first = descriptor(ctx, b); // closes a
        ctx.run().value();
        EXPECT_FALSE(support::is_open(a));
        EXPECT_TRUE(support::is_open(b));
        EXPECT_EQ(first.release(), b);
    }
    EXPECT_TRUE(support::is_open(b));
    ::close(b);
}

TEST(descriptor, what_is_in_flight_ends_before_it_closes) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto both = [&, a = a, b = b]() -> task<> {
        aio::detail::strand_group group(ctx.where());
        aio::detail::outcome<aio::result<std::size_t>> got;
        std::array<char, 8> text{};
        auto owned = std::make_unique<descriptor>(ctx, b);
        group.start(aio::recv(ctx, *owned, text), got);
        owned.reset();
        co_await group.join();
        EXPECT_TRUE(aio::is_cancelled(got.take().error()));
        EXPECT_EQ((co_await aio::recv(ctx, a, text)).value(), 0u);
    };
    ctx.run(both());
    ::close(a);
}

TEST(descriptor, it_closes_also_on_another_thread) {
    context ctx;
    auto [a, b] = support::socket_pair();
    ctx.run().value();
    std::thread([&, a = a] { descriptor(ctx, a).reset(); }).join();
    EXPECT_FALSE(support::is_open(a));
    ::close(b);
}

TEST(descriptor, a_close_that_is_awaited_tells_how_it_went) {
    context ctx;
    auto [a, b] = support::socket_pair();
    EXPECT_TRUE(ctx.run(aio::close(ctx, descriptor(ctx, a))));
    EXPECT_FALSE(support::is_open(a));
    EXPECT_EQ(ctx.run(aio::close(ctx, a)).error(), std::errc::bad_file_descriptor);
    ::close(b);
}

TEST(descriptor, a_close_that_is_never_begun_closes_all_the_same) {
    context ctx;
    auto [a, b] = support::socket_pair();
    static_cast<void>(aio::close(ctx, descriptor(ctx, a)));
    ctx.run().value();
    EXPECT_FALSE(support::is_open(a));
    aio::socket connection(ctx, descriptor(ctx, b));
    const auto stopped = [&]() -> task<std::error_code> {
        (co_await aio::this_strand())->request_stop();
        const auto closed = co_await connection.close();
        co_return closed.error();
    };
    EXPECT_EQ(ctx.run(stopped()), std::errc::operation_canceled);
    ctx.run().value();
    EXPECT_FALSE(support::is_open(b));
}

TEST(descriptor, slots_are_used_as_descriptors_are) {
    context ctx;
    aio_files_options table{};
    table.size = sizeof table;
    table.count = 8;
    ASSERT_EQ(aio_files_register(ctx.native(), &table), 0);
    const auto through_slots = [&]() -> task<> {
        support::temp_folder folder;
        auto file =
            (co_await aio::openat(ctx, AT_FDCWD, folder.path("text"), O_CREAT | O_RDWR, 0600)
                 .direct())
                .value();
        EXPECT_TRUE(file.is_slot());
        EXPECT_EQ((co_await aio::write(ctx, file, "slots", 0)).value(), 5u);
        std::array<char, 8> text{};
        EXPECT_EQ((co_await aio::read(ctx, file, text, 0).timeout(10s)).value(), 5u);
        EXPECT_EQ(std::string(text.data()), "slots");
        const int slot = file.number();
        (co_await aio::close(ctx, std::move(file))).value();
        EXPECT_EQ((co_await aio::read(ctx, aio::file_ref::slot(slot), text, 0)).error(),
                  std::errc::bad_file_descriptor);
    };
    ctx.run(through_slots());
}

TEST(descriptor, paths_come_from_strings_literals_and_paths) {
    EXPECT_STREQ(aio::path_ref("literal").c_str(), "literal");
    EXPECT_STREQ(aio::path_ref(std::string("text")).c_str(), "text");
    struct path_like {
        const char *c_str() const { return "like"; }
    };
    EXPECT_STREQ(aio::path_ref(path_like()).c_str(), "like");
}

} // namespace
