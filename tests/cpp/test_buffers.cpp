#include "support.hpp"

#include <aio/buffers.hpp>
#include <aio/net.hpp>

#include <string>
#include <vector>

namespace {

using aio::buffer_pool;
using aio::context;
using aio::task;

struct ignore {
    void set_value() noexcept {}
    void set_exception() noexcept { std::terminate(); }
} ignored;

TEST(buffers, a_stream_arrives_in_buffers_and_ends_with_eof) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto talk = [&, a = a, b = b]() -> task<> {
        buffer_pool pool(ctx, {.count = 4, .buffer_size = 64});
        std::string got;
        {
            auto incoming = aio::recv_multishot(ctx, b, pool);
            for (const char *word : {"one ", "two ", "three"}) {
                support::write_text(a, word);
                auto data = co_await incoming.next();
                got += aio::as_text(data.value());
            }
            ::close(a);
            while (auto data = co_await incoming.next())
                got += aio::as_text(*data);
            EXPECT_EQ(incoming.error(), aio::errc::eof);
        }
        EXPECT_EQ(got, "one two three");
        EXPECT_EQ(pool.info().value().leased, 0u);
    };
    ctx.run(talk());
    ::close(b);
}

TEST(buffers, one_receive_takes_one_buffer_when_there_is_data) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto talk = [&, a = a, b = b]() -> task<> {
        buffer_pool pool(ctx, {.count = 2, .buffer_size = 64});
        support::write_text(a, "text");
        aio::buffer data = (co_await aio::recv_pooled(ctx, b, pool)).value();
        EXPECT_EQ(aio::as_text(data), "text");
        EXPECT_EQ(pool.info().value().leased, 1u);
        data = aio::buffer();
        EXPECT_EQ(pool.info().value().leased, 0u);
        ::shutdown(a, SHUT_WR);
        EXPECT_TRUE((co_await aio::recv_pooled(ctx, b, pool)).value().empty());
    };
    ctx.run(talk());
    ::close(a);
    ::close(b);
}

TEST(buffers, an_abandoned_receive_gives_everything_back) {
    context ctx;
    auto [a, b] = support::socket_pair();
    buffer_pool pool(ctx, {.count = 4, .buffer_size = 64});
    const auto waits = [&, b = b]() -> task<> {
        auto incoming = aio::recv_multishot(ctx, b, pool);
        static_cast<void>(co_await incoming.next());
        static_cast<void>(co_await aio::sleep_for(ctx, 1h));
    };
    {
        aio::detail::strand_group group(ctx.where());
        group.start(waits(), ignored);
        for (int i = 0; i < 3; i++) {
            support::write_text(a, "text");
            static_cast<void>(ctx.run_once(10ms));
        }
    }
    ctx.run().value();
    EXPECT_EQ(pool.info().value().leased, 0u);
    EXPECT_EQ(pool.info().value().operations, 0u);
    ::close(a);
    ::close(b);
}

TEST(buffers, a_pool_may_end_before_the_receive_that_was_given_up_has) {
    context ctx;
    auto [a, b] = support::socket_pair();
    for (const bool runs_on : {true, false}) {
        {
            buffer_pool pool(ctx, {.count = 4, .buffer_size = 64});
            const auto waits = [&, b = b]() -> task<> {
                static_cast<void>(co_await aio::recv_multishot(ctx, b, pool).next());
            };
            aio::detail::strand_group group(ctx.where());
            group.start(waits(), ignored);
            ctx.run_once(0ms).value();
        }
        // Or the context ends it, which a sanitizer sees.
        if (runs_on) {
            ctx.run().value();
            EXPECT_EQ(ctx.in_flight(), 0u);
        }
    }
    ::close(a);
    ::close(b);
}

TEST(buffers, a_bundle_is_many_results_and_never_cut_to_one) {
    context ctx;
    auto [a, b] = support::socket_pair();
    buffer_pool pool(ctx, {.count = 8, .buffer_size = 16, .flags = AIO_BUFFER_POOL_BUNDLES});
    const auto talk = [&, a = a, b = b]() -> task<> {
        support::write_text(a, std::string(60, 'x'));
        std::size_t got = 0;
        auto incoming = aio::recv_multishot(ctx, b, pool);
        while (got < 60)
            got += (co_await incoming.next()).value().size();
        EXPECT_EQ(got, 60u);
        if ((pool.info().value().flags & AIO_BUFFER_POOL_BUNDLES) != 0) {
            EXPECT_EQ((co_await aio::recv_pooled(ctx, b, pool)).error(),
                      std::errc::invalid_argument);
        }
    };
    ctx.run(talk());
    ::close(a);
    ::close(b);
}

TEST(buffers, a_pool_for_sending_queues_and_sends) {
    context ctx;
    auto [a, b] = support::socket_pair();
    buffer_pool pool(ctx, {.count = 4, .buffer_size = 16, .flags = AIO_BUFFER_POOL_SEND});
    const auto talk = [&, a = a, b = b]() -> task<> {
        for (const char letter : {'a', 'b'}) {
            aio::buffer room = pool.take().value();
            std::fill(room.begin(), room.end(), std::byte(letter));
            pool.queue(std::move(room), 3).value();
        }
        EXPECT_EQ((co_await aio::send_bundle(ctx, a, pool)).value(), 6u);
        std::array<char, 8> text{};
        EXPECT_EQ((co_await aio::recv(ctx, b, text)).value(), 6u);
        EXPECT_EQ(std::string(text.data()), "aaabbb");
        EXPECT_EQ(pool.discard().value(), 0u);
    };
    ctx.run(talk());
    ::close(a);
    ::close(b);
}

} // namespace
