#!/usr/bin/env bash
# must_not_compile.sh gcc|clang INCLUDE-FOLDER: in C++17 and later a function that can throw is no
# callback, and the compiler says why. The same program with `noexcept` compiles; in C++14, which
# has no such types, so does the first.
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/compilers.sh"
choose_compiler "$1"
include=$2

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
cat >"$work/unit.cpp" <<'C'
#include <aio_rs.h>
#ifndef PROMISE
#define PROMISE
#endif
static void callback(void *, int32_t, uint32_t) PROMISE {}
static void post(void *) PROMISE {}
int main()
{
    aio_ctx *ctx = nullptr;
#ifdef POST
    (void)callback;
    return aio_ctx_post(ctx, post, nullptr);
#else
    (void)post;
    return aio_submit_nop(ctx, nullptr, callback, nullptr) > 0;
#endif
}
C

compile() {
    "$cxx" -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only "$@" "$work/unit.cpp"
}

# refused STANDARD MACRO...
refused() {
    local standard=$1 message
    shift
    if message=$(compile -std="$standard" "$@" 2>&1); then
        echo "a throwing callback compiled as $standard $*" >&2
        exit 1
    fi
    if ! grep --quiet noexcept <<<"$message"; then
        echo "the message does not say why: $message" >&2
        exit 1
    fi
}

compile -std=c++14
for standard in c++17 c++20; do
    compile -std="$standard" -DPROMISE=noexcept
    refused "$standard"
    compile -std="$standard" -DPROMISE=noexcept -DPOST
    refused "$standard" -DPOST
done
