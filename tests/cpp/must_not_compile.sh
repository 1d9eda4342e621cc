#!/usr/bin/env bash
# must_not_compile.sh gcc|clang INCLUDE-FOLDER: what users do wrong does not compile, and the
# message says what to do instead. The same program without the mistake compiles.
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/../header/compilers.sh"
choose_compiler "$1"
family=$1 include=$2

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
cat >"$work/unit.cpp" <<'C'
#include <aio/combine.hpp>
#include <aio/execution.hpp>
#include <aio/misc.hpp>
#include <aio/net.hpp>
#include <aio/resume_on.hpp>
#include <aio/scope.hpp>
#include <aio/socket.hpp>
#include <aio/split.hpp>
#include <aio/task.hpp>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

aio::task<int> number();

inline void called(void *, std::int32_t, std::uint32_t) {} // and may throw
inline void called_safely(void *, std::int32_t, std::uint32_t) noexcept {}

aio::task<int> mistaken(aio::context &ctx, char (&room)[4], const std::string &text,
                        std::vector<std::string> &lines) {
#if defined(LVALUE)
    auto task = number();
    co_return co_await task;
#elif defined(SPAWNED_LVALUE)
    auto task = number();
    aio::scope work(ctx);
    work.spawn(task);
    co_return 1;
#elif defined(RUN_LVALUE)
    auto task = number();
    co_return ctx.run(task);
#elif defined(COMBINED_LVALUE)
    auto task = number();
    co_return std::get<0>(co_await aio::when_all(task));
#elif defined(FORGOTTEN_TASK)
    number();
    co_return 1;
#elif defined(FORGOTTEN_COMBINATION)
    aio::when_all(number(), number());
    co_return 1;
#elif defined(FORGOTTEN_SENDER)
    aio::execution::as_sender(ctx, number());
    co_return 1;
#elif defined(FORGOTTEN_AWAITED_SENDER)
    aio::execution::as_awaitable(aio::execution::as_sender(ctx, number()));
    co_return 1;
#elif defined(THROWING_CALLBACK)
    aio_submit_nop(ctx.native(), nullptr, &called, nullptr);
    co_return 1;
#elif defined(THROWING_LAMBDA)
    aio_submit_nop(ctx.native(), nullptr, [](void *, std::int32_t, std::uint32_t) {}, nullptr);
    co_return 1;
#elif defined(THROWING_POST)
    aio_ctx_post(ctx.native(), [](void *) {}, nullptr);
    co_return 1;
#elif defined(RESUMES_ELSEWHERE)
    co_await aio::resume_on(ctx);
    co_return 1;
#elif defined(FORGOTTEN_OPERATION)
    aio::recv(ctx, 0, room);
    co_return 1;
#elif defined(FORGOTTEN_NEXT)
    auto incoming = aio::accept_multishot(ctx, 0);
    incoming.next();
    co_return 1;
#elif defined(IGNORED_RESULT)
    co_await aio::recv(ctx, 0, room);
    co_return 1;
#elif defined(CONST_BUFFER)
    co_return (co_await aio::recv(ctx, 0, text)).has_value();
#elif defined(BUFFER_OF_STRINGS)
    co_return (co_await aio::recv(ctx, 0, lines)).has_value();
#elif defined(NO_RESULT)
    co_return (co_await aio::recv(ctx, 0, room)).and_then([](std::size_t) { return 1; });
#elif defined(SPLIT_LVALUE)
    aio::socket stream;
    auto [reader, writer] = aio::split(stream);
    co_return 1;
#elif defined(SPLIT_NO_STREAM)
    auto [reader, writer] = aio::split(std::string());
    co_return 1;
#elif defined(FORGOTTEN_TRANSFER)
    aio::socket stream;
    aio::write_all(stream, text);
    co_return 1;
#elif defined(STRANGE_OPTION)
    constexpr aio::socket_option<std::vector<int>> option{1, 2};
    co_return aio::socket().get(option).has_value();
#else
    auto task = number();
    static_cast<void>(text.size() + lines.size());
    static_cast<void>(co_await aio::when_all(number(), number()));
    auto sender = aio::execution::as_sender(ctx, number());
    static_cast<void>(co_await aio::execution::as_awaitable(std::move(sender)));
    static_cast<void>(co_await aio::resume_on(ctx, number()));
    aio_submit_nop(ctx.native(), nullptr, &called_safely, nullptr);
    co_return co_await std::move(task) + (co_await aio::recv(ctx, 0, room)).has_value();
#endif
}
C

compile() {
    "$cxx" -std=c++20 -Wall -Wextra -Werror -Wno-unused-parameter -I"$include" -fsyntax-only "$@" \
        "$work/unit.cpp"
}

# refused MACRO MESSAGE
refused() {
    local message
    if message=$(compile "-D$1" 2>&1); then
        echo "$1 compiled" >&2
        exit 1
    fi
    if ! grep --quiet --fixed-strings "$2" <<<"$message"; then
        echo "$1: the message does not say '$2': $message" >&2
        exit 1
    fi
}

compile
refused LVALUE "aio: a task is awaited once, and by value: co_await std::move(task)"
refused SPAWNED_LVALUE "aio: a task is awaited once, and by value"
refused RUN_LVALUE "aio: a task is awaited once, and by value"
refused COMBINED_LVALUE "aio: a task is moved"
refused FORGOTTEN_COMBINATION "aio: a task runs only when it is awaited"
refused FORGOTTEN_SENDER "aio: a sender runs only when it is connected and started"
refused FORGOTTEN_AWAITED_SENDER "aio: a sender runs only when it is awaited"
refused THROWING_CALLBACK "noexcept"
refused THROWING_LAMBDA "noexcept"
refused THROWING_POST "noexcept"
refused RESUMES_ELSEWHERE "aio: resume_on takes what is to run on the other thread"
refused FORGOTTEN_TASK "aio: a task runs only when it is awaited"
refused FORGOTTEN_OPERATION "aio: an operation runs only when it is awaited"
refused FORGOTTEN_NEXT "aio: the next result comes when this is awaited"
refused CONST_BUFFER "aio: a buffer that is written to must not be const"
refused BUFFER_OF_STRINGS "aio: a buffer must be of plain data"
refused NO_RESULT "aio: the function given to and_then or or_else must return an aio::result"
refused SPLIT_LVALUE "aio: the halves own the stream: aio::split(std::move(stream))"
refused SPLIT_NO_STREAM "aio: a stream has read_some(mutable_bytes) and write_some(bytes)"
refused FORGOTTEN_TRANSFER "aio: a task runs only when it is awaited"
refused STRANGE_OPTION "aio: a socket option is bool, int, a duration"
# GCC does not warn of what an await gives.
[[ $family == clang ]] && refused IGNORED_RESULT "nodiscard"
exit 0
