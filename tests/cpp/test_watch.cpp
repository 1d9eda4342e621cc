#include "strands.hpp"

#include <aio/watch.hpp>

#include <cstdio>

namespace {

using aio::context;
using aio::task;

void make_file(const std::string &path) {
    const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    EXPECT_GE(fd, 0);
    ::close(fd);
}

TEST(watch, entries_of_a_directory_are_told_by_name) {
    context ctx;
    const support::temp_folder folder;
    const auto looks = [&]() -> task<> {
        auto changes = aio::watch(ctx, folder.path(""), IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO);
        const auto works = [&]() -> task<> {
            make_file(folder.path("first"));
            EXPECT_EQ(std::rename(folder.path("first").c_str(), folder.path("second").c_str()), 0);
            co_return;
        };
        support::strands other(ctx);
        const auto later = [&]() -> task<> {
            static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
            co_await works();
        };
        other.begin(later()); // the watch begins with the first next()
        const auto made = co_await changes.next();
        EXPECT_EQ(made.value().mask, static_cast<uint32_t>(IN_CREATE));
        EXPECT_EQ(made->name, "first");
        EXPECT_EQ(made->cookie, 0u);
        const auto from = co_await changes.next();
        const auto to = co_await changes.next();
        EXPECT_EQ(from.value().name, "first");
        EXPECT_EQ(to.value().name, "second");
        EXPECT_NE(from->cookie, 0u);
        EXPECT_EQ(from->cookie, to->cookie);
        co_await other.join();
    };
    ctx.run(looks());
}

TEST(watch, what_is_deleted_ends_it) {
    context ctx;
    const support::temp_folder folder;
    const std::string path = folder.path("file");
    make_file(path);
    const auto looks = [&]() -> task<> {
        auto changes = aio::watch(ctx, path, IN_DELETE_SELF);
        support::strands other(ctx);
        const auto later = [&]() -> task<> {
            static_cast<void>(co_await aio::sleep_for(ctx, 1ms));
            EXPECT_EQ(std::remove(path.c_str()), 0);
        };
        other.begin(later());
        EXPECT_EQ((co_await changes.next()).value().mask, static_cast<uint32_t>(IN_DELETE_SELF));
        EXPECT_NE((co_await changes.next()).value().mask & IN_IGNORED, 0u);
        EXPECT_EQ((co_await changes.next()).error(), aio::errc::eof);
        co_await other.join();
    };
    ctx.run(looks());
}

TEST(watch, what_is_not_there_is_an_error) {
    context ctx;
    const support::temp_folder folder;
    const auto looks = [&]() -> task<> {
        auto changes = aio::watch(ctx, folder.path("nothing"), IN_MODIFY);
        EXPECT_EQ((co_await changes.next()).error(), std::errc::no_such_file_or_directory);
    };
    ctx.run(looks());
}

} // namespace
