// Our senders with stdexec's algorithms, where its header is: Debian has no package of it.
#include "support.hpp"

#include <aio/execution.hpp>
#include <aio/misc.hpp>

#if __has_include(<stdexec/execution.hpp>)
#include <stdexec/execution.hpp>

#include <optional>
#include <thread>
#include <tuple>

namespace {

using aio::context;
using aio::execution::as_awaitable;
using aio::execution::as_sender;

struct words {
    using sender_t = stdexec::sender_t;
    using receiver_t = stdexec::receiver_t;
    using operation_state_t = stdexec::operation_state_t;
    using scheduler_t = stdexec::scheduler_t;
    using set_value_t = stdexec::set_value_t;
    using set_error_t = stdexec::set_error_t;
    using set_stopped_t = stdexec::set_stopped_t;
    using get_stop_token_t = stdexec::get_stop_token_t;
    template <class T> using get_completion_scheduler_t = stdexec::get_completion_scheduler_t<T>;
    template <class... S> using completion_signatures = stdexec::completion_signatures<S...>;
    template <class S, class Env>
    using completion_signatures_of = stdexec::completion_signatures_of_t<S, Env>;
    template <class S, class R> static auto connect(S &&sender, R &&receiver) {
        return stdexec::connect(std::forward<S>(sender), std::forward<R>(receiver));
    }
};

using scheduler = aio::execution::basic_scheduler<words>;

TEST(stdexec, its_algorithms_take_our_senders) {
    static_assert(stdexec::scheduler<scheduler>);
    context ctx;
    std::optional<std::tuple<int>> given;
    std::thread asks([&, hold = context::hold(ctx)] {
        given = stdexec::sync_wait(stdexec::schedule(scheduler(ctx)) | stdexec::let_value([&] {
                                       return as_sender<words>(ctx, aio::nop(ctx));
                                   }) |
                                   stdexec::then([](auto &&...) { return 42; }));
        ctx.stop();
    });
    ctx.run().value();
    asks.join();
    EXPECT_EQ(given, std::tuple(42));
}

TEST(stdexec, a_task_awaits_its_senders) {
    context ctx;
    const auto asks = [&]() -> aio::task<int> {
        auto both =
            stdexec::when_all(stdexec::just(1), as_sender<words>(ctx, aio::nop(ctx)) |
                                                    stdexec::then([](auto &&...) { return 2; }));
        const auto [one, two] = (co_await as_awaitable<words>(std::move(both))).value();
        co_return 10 * one + two;
    };
    EXPECT_EQ(ctx.run(asks()), 12);
}

} // namespace

#else

TEST(stdexec, its_algorithms_take_our_senders) { GTEST_SKIP() << "stdexec is not here"; }

#endif
