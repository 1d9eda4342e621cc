#include "support.hpp"

#include <aio/fs.hpp>
#include <aio/pipe.hpp>

namespace {

using aio::context;
using aio::task;

TEST(pipe, what_is_written_at_one_end_is_read_at_the_other) {
    context ctx;
    const auto talk = [&]() -> task<> {
        auto ends = (co_await aio::pipe::open(ctx)).value();
        EXPECT_EQ((co_await aio::write(ctx, ends.writer, "text")).value(), 4u);
        std::array<char, 8> text{};
        EXPECT_EQ((co_await aio::read(ctx, ends.reader, text)).value(), 4u);
        ends.writer.reset();
        EXPECT_EQ((co_await aio::read(ctx, ends.reader, text)).value(), 0u);
    };
    ctx.run(talk());
}

} // namespace
