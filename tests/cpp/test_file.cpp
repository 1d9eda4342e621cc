#include "support.hpp"

#include <aio/file.hpp>

namespace {

using aio::context;
using aio::task;

TEST(file, it_is_written_read_and_measured) {
    context ctx;
    support::temp_folder folder;
    const auto all = [&]() -> task<> {
        auto file =
            (co_await aio::file::open(ctx, folder.path("file"), O_CREAT | O_RDWR, 0600)).value();
        EXPECT_EQ((co_await file.write_all("0123456789")).value(), 10u);
        EXPECT_EQ((co_await file.write("ab", 4)).value(), 2u);
        std::array<char, 10> text{};
        EXPECT_EQ((co_await file.read_exact(text, 0)).value(), 10u);
        EXPECT_EQ(std::string(text.data(), 10), "0123ab6789");
        EXPECT_EQ((co_await file.read(text)).value(), 0u); // behind what was written
        EXPECT_EQ((co_await file.size()).value(), 10u);
        (co_await file.allocate(0, 4096)).value();
        (co_await file.truncate(3)).value();
        EXPECT_EQ((co_await file.size()).value(), 3u);
        (co_await file.sync_data()).value();
        (co_await file.sync()).value();
        const int number = file.native();
        EXPECT_TRUE(co_await file.close());
        EXPECT_FALSE(file);
        EXPECT_FALSE(support::is_open(number));
        EXPECT_EQ((co_await aio::file::open(ctx, folder.path("none"), O_RDONLY)).error(),
                  std::errc::no_such_file_or_directory);
    };
    ctx.run(all());
}

} // namespace
