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
#include <aio/net.hpp>
#include <aio/socket.hpp>
#include <aio/split.hpp>
#include <aio/task.hpp>
#include <string>
#include <vector>

aio::task<int> number();

aio::task<int> mistaken(aio::context &ctx, char (&room)[4], const std::string &text,
                        std::vector<std::string> &lines) {
#if defined(LVALUE)
    auto task = number();
    co_return co_await task;
#elif defined(FORGOTTEN_TASK)
    number();
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
