// What a program that breaks its promises is told, where assertions are on.
#undef NDEBUG
#include "support.hpp"

#include <aio/file.hpp>
#include <aio/misc.hpp>
#include <aio/socket.hpp>
#include <aio/task.hpp>

#include <gtest/gtest.h>

#include <utility>

namespace {

using namespace aio;

task<int> seven() { co_return 7; }

task<> await_twice() {
    task<int> once = seven();
    static_cast<void>(co_await std::move(once));
    static_cast<void>(co_await std::move(once));
}

task<> await_what_was_moved() {
    task<int> from = seven();
    const task<int> to = std::move(from);
    static_cast<void>(co_await std::move(from));
}

void run(task<> (*mistake)()) {
    context ctx;
    ctx.run(mistake());
}

TEST(mistakes, the_value_of_an_error_is_told) {
    const result<int> error = unexpected(errc::eof);
    EXPECT_DEATH(static_cast<void>(*error), "aio: the value of a result that is an error");
    const result<std::pair<int, int>> other = unexpected(errc::eof);
    EXPECT_DEATH(static_cast<void>(other->first), "aio: the value of a result that is an error");
}

TEST(mistakes, a_task_that_is_awaited_twice_is_told) {
    EXPECT_DEATH(run(await_twice), "aio: a task is awaited a second time");
}

TEST(mistakes, a_task_that_was_moved_from_is_told) {
    EXPECT_DEATH(run(await_what_was_moved), "aio: a task was moved from, and is awaited");
}

TEST(mistakes, a_socket_and_a_file_without_a_context_are_told) {
    EXPECT_DEATH(static_cast<void>(aio::socket().shutdown()),
                 "aio: a socket that was made without");
    EXPECT_DEATH(static_cast<void>(file().sync()), "aio: a file that was made without");
}

} // namespace
