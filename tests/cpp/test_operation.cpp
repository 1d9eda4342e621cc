#include "support.hpp"

#include <aio/buffers.hpp>
#include <aio/fs.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/zero_copy.hpp>

#include <atomic>
#include <memory>
#include <thread>
#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

namespace {

using aio::context;
using aio::task;

struct ignore {
    void set_value() noexcept {}
    template <class T> void set_value(T &&) noexcept {}
    void set_exception() noexcept { std::terminate(); }
} ignored;

TEST(operation, bytes_go_through_and_the_count_comes_back) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto talk = [&, a = a, b = b]() -> task<> {
        EXPECT_EQ((co_await aio::send(ctx, a, "hello")).value(), 5u);
        std::array<char, 16> text{};
        EXPECT_EQ((co_await aio::recv(ctx, b, text)).value(), 5u);
        EXPECT_EQ(std::string(text.data()), "hello");
        EXPECT_EQ((co_await aio::close(ctx, a)), aio::result<void>());
        EXPECT_EQ((co_await aio::recv(ctx, b, text)).value(), 0u);
        (co_await aio::close(ctx, b)).value();
    };
    ctx.run(talk());
}

TEST(operation, an_error_of_the_submit_and_one_of_the_kernel_look_the_same) {
    context ctx;
    const auto both = [&]() -> task<> {
        std::array<char, 4> text{};
        EXPECT_EQ((co_await aio::recv(ctx, 9999, text)).error(), std::errc::bad_file_descriptor);
        EXPECT_EQ((co_await aio::recv(ctx, 0, aio::mutable_bytes(nullptr, 4))).error(),
                  std::errc::invalid_argument);
    };
    ctx.run(both());
}

TEST(operation, a_timeout_ends_it_with_the_deadline) {
    context ctx;
    auto [a, b] = support::socket_pair();
    std::array<char, 4> text{};
    EXPECT_EQ(ctx.run(aio::recv(ctx, a, text).timeout(2ms)).error(), aio::errc::deadline);
    EXPECT_EQ(
        ctx.run(aio::recv(ctx, a, text).deadline(std::chrono::steady_clock::now() + 2ms)).error(),
        aio::errc::deadline);
    // One that has passed is one all the same.
    EXPECT_EQ(
        ctx.run(aio::recv(ctx, a, text).deadline(std::chrono::steady_clock::now() - 1h)).error(),
        aio::errc::deadline);
    ::close(a);
    ::close(b);
}

TEST(operation, a_description_can_be_kept_moved_and_awaited_again) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto again = [&, a = a, b = b]() -> task<> {
        std::array<char, 1> letter{};
        auto reading = aio::recv(ctx, b, letter).timeout(10s);
        auto moved = std::move(reading);
        for (const char *text : {"x", "y"}) {
            (co_await aio::send(ctx, a, std::string_view(text))).value();
            EXPECT_EQ((co_await moved).value(), 1u);
            EXPECT_EQ(letter[0], text[0]);
        }
    };
    ctx.run(again());
    ::close(a);
    ::close(b);
}

#if defined(__cpp_lib_jthread)
TEST(operation, a_stop_token_of_another_thread_cancels_it) {
    context ctx;
    std::stop_source source;
    std::thread other([&] {
        std::this_thread::sleep_for(5ms);
        source.request_stop();
    });
    EXPECT_TRUE(
        aio::is_cancelled(ctx.run(aio::sleep_for(ctx, 1h).cancel_on(source.get_token())).error()));
    other.join();
    // One that was stopped before cancels at once, and one that is not stopped does nothing.
    EXPECT_TRUE(aio::is_cancelled(
        ctx.run(aio::sleep_for(ctx, 1h).timeout(1h).cancel_on(source.get_token())).error()));
    EXPECT_TRUE(ctx.run(aio::nop(ctx).cancel_on(std::stop_token())));
    EXPECT_TRUE(ctx.run(aio::nop(ctx).cancel_on(std::stop_source().get_token())));
}
#endif

TEST(operation, what_makes_a_descriptor_gives_its_owner) {
    context ctx;
    auto [listening, address] = support::listener();
    const int client = support::connected_to(address);
    int number = -1;
    {
        auto accepted = ctx.run(aio::accept(ctx, listening));
        number = accepted.value().number();
        EXPECT_TRUE(support::is_open(number));
    }
    ctx.run().value();
    EXPECT_FALSE(support::is_open(number));
    ::close(client);
    ::close(listening);
}

TEST(operation, a_destroyed_frame_is_never_written_to) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto reader = [&, b = b]() -> task<> {
        std::array<char, 64> in_the_frame{};
        static_cast<void>(co_await aio::recv(ctx, b, in_the_frame));
        ADD_FAILURE() << "it was resumed";
    };
    for (int i = 0; i < 100; i++) {
        aio::detail::strand_group group(ctx.where());
        group.start(reader(), ignored);
        EXPECT_EQ(ctx.in_flight(), 1u);
        if (i % 2 != 0)
            static_cast<void>(ctx.run_once(0ms));
    }
    EXPECT_EQ(ctx.in_flight(), 0u);
    support::write_text(a, "late");
    std::array<char, 8> text{};
    EXPECT_EQ(ctx.run(aio::recv(ctx, b, text)).value(), 4u);
    ::close(a);
    ::close(b);
}

/// A buffer that its operation owns; looks what is in flight when it dies.
struct owned_buffer {
    owned_buffer(context &ctx, std::size_t &in_flight)
        : ctx(ctx), in_flight(in_flight), room(std::make_unique<std::array<char, 64>>()) {}
    owned_buffer(owned_buffer &&) noexcept = default;
    ~owned_buffer() {
        if (room)
            in_flight = ctx.in_flight();
    }
    context &ctx;
    std::size_t &in_flight;
    std::unique_ptr<std::array<char, 64>> room;
};

aio_op_id submit_owned(aio_ctx *ctx, int fd, const owned_buffer *to,
                       const aio_submit_options *options, aio_callback callback,
                       void *user_data) noexcept {
    return aio_submit_recv(ctx, fd, to->room->data(), to->room->size(), 0, options, callback,
                           user_data);
}

TEST(operation, what_its_call_owns_moves_with_it_and_dies_when_nothing_is_in_flight) {
    context ctx;
    auto [a, b] = support::socket_pair();
    std::size_t in_flight = 99;
    const auto receive = [&, b = b]() {
        using owned = aio::detail::by_address<owned_buffer>;
        return aio::detail::submits<aio::detail::gives_count, &submit_owned>(
            ctx, aio::file_ref(b), owned{owned_buffer(ctx, in_flight)});
    };
    const auto reader = [&]() -> task<> {
        static_cast<void>(co_await receive());
        ADD_FAILURE() << "it was resumed";
    };
    {
        aio::detail::strand_group group(ctx.where());
        group.start(reader(), ignored);
        EXPECT_EQ(in_flight, 99u);
        EXPECT_EQ(ctx.in_flight(), 1u);
    }
    EXPECT_EQ(in_flight, 0u);
    support::write_text(a, "for the next");
    auto moved = receive();
    EXPECT_EQ(ctx.run(std::move(moved)).value(), 12u);
    ::close(a);
    ::close(b);
}

TEST(operation, a_destroyed_accept_closes_what_comes) {
    context ctx;
    auto [listening, address] = support::listener();
    const auto acceptor = [&, listening = listening]() -> task<> {
        static_cast<void>(co_await aio::accept(ctx, listening));
    };
    {
        aio::detail::strand_group group(ctx.where());
        group.start(acceptor(), ignored);
        static_cast<void>(ctx.run_once(0ms));
    }
    const int client = support::connected_to(address);
    static_cast<void>(ctx.run_once(1ms));
    // Either it waits to be accepted still, or it was accepted and closed.
    auto next = ctx.run(aio::accept(ctx, listening).timeout(10ms));
    if (!next) {
        EXPECT_EQ(next.error(), aio::errc::deadline);
    }
    ::close(client);
    ::close(listening);
}

TEST(operation, a_request_to_stop_ends_what_the_strand_waits_for) {
    context ctx;
    std::error_code why;
    const auto sleeper = [&]() -> task<> { why = (co_await aio::sleep_for(ctx, 1h)).error(); };
    aio::detail::strand_group group(ctx.where());
    group.start(sleeper(), ignored);
    group.request_stop();
    EXPECT_FALSE(why); // nothing is resumed inside the request
    ctx.run().value();
    EXPECT_EQ(why, std::errc::operation_canceled);
    EXPECT_EQ(group.size(), 0u);
}

TEST(operation, a_stopped_strand_submits_nothing_whatever_was_asked_for) {
    context ctx;
    auto [a, b] = support::socket_pair();
    int ended = 0;
    const auto goes_on = [&, a = a]() -> task<> {
        std::array<char, 4> text{};
        const auto first = co_await aio::sleep_for(ctx, 1h);
        const auto plain = co_await aio::recv(ctx, a, text);
        const auto with_options = co_await aio::recv(ctx, a, text).timeout(1h);
        const auto on_slot = co_await aio::recv(ctx, aio::file_ref::slot(7), text);
        for (const auto &error :
             {first.error(), plain.error(), with_options.error(), on_slot.error()})
            ended += error == std::errc::operation_canceled;
        EXPECT_EQ(ctx.in_flight(), 0u);
    };
    aio::detail::strand_group group(ctx.where());
    group.start(goes_on(), ignored);
    group.request_stop();
    ctx.run().value();
    EXPECT_EQ(ended, 4);
    ::close(a);
    ::close(b);
}

TEST(operation, a_zero_copy_send_ends_when_nothing_reads_the_buffer) {
    context ctx;
    auto [listening, address] = support::listener();
    const int client = support::connected_to(address);
    auto server = ctx.run(aio::accept(ctx, listening)).value();
    const auto talk = [&]() -> task<> {
        std::array<char, 8> text{};
        const auto sent = co_await aio::send_zc(ctx, client, "zero");
        if (sent.error() == std::errc::operation_not_supported)
            co_return;
        EXPECT_EQ(sent.value(), 4u);
        EXPECT_EQ((co_await aio::recv(ctx, server, text)).value(), 4u);
    };
    ctx.run(talk());
    EXPECT_EQ(ctx.in_flight(), 0u);
    ::close(client);
    ::close(listening);
}

TEST(operation, whole_transfers_tell_how_much_they_moved) {
    context ctx;
    auto [a, b] = support::socket_pair();
    const auto talk = [&, a = a, b = b]() -> task<> {
        EXPECT_EQ((co_await aio::send_all(ctx, a, std::string(1000, 'x'))).value(), 1000u);
        std::string text(1000, '\0');
        EXPECT_EQ((co_await aio::recv_exact(ctx, b, text)).value(), 1000u);
        EXPECT_EQ(text, std::string(1000, 'x'));
        ::shutdown(a, SHUT_WR);
        EXPECT_EQ((co_await aio::recv_exact(ctx, b, text)).error(), aio::errc::eof);
    };
    ctx.run(talk());
    ::close(a);
    ::close(b);
}

TEST(operation, of_a_timeout_and_a_deadline_the_first_counts) {
    context ctx;
    using clock = std::chrono::steady_clock;
    const auto began = clock::now();
    const auto asks = [&]() -> task<> {
        EXPECT_EQ(
            (co_await aio::sleep_for(ctx, 1h).deadline(clock::now() + 1h).timeout(1ms)).error(),
            aio::errc::deadline);
        EXPECT_EQ(
            (co_await aio::sleep_for(ctx, 1h).timeout(1h).deadline(clock::now() + 1ms)).error(),
            aio::errc::deadline);
        EXPECT_EQ((co_await aio::sleep_for(ctx, 1h).deadline(clock::time_point::min())).error(),
                  aio::errc::deadline);
    };
    ctx.run(asks());
    EXPECT_LT(clock::now() - began, 1h);
}

} // namespace
