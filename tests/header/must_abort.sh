#!/usr/bin/env bash
# must_abort.sh gcc|clang INCLUDE-FOLDER LIBRARY: an exception that leaves a callback (it was made
# one by a cast) ends the process with SIGABRT and a message; the engine's caller never sees it.
# Without the exception the same program ends well.
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/compilers.sh"
choose_compiler "$1"
include=$2 library=$3

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
cat >"$work/unit.cpp" <<'C'
#include <aio_rs.h>
#include <cstdio>
#include <stdexcept>

static bool is_thrown;

static void callback(void *called, int32_t, uint32_t)
{
    *static_cast<bool *>(called) = true;
    if (is_thrown)
        throw std::runtime_error("out of a callback");
}

int main(int argc, char **)
{
    is_thrown = argc > 1;
    aio_ctx *ctx = nullptr;
    int32_t status = aio_ctx_create(nullptr, &ctx);
    if (status != 0) {
        std::fprintf(stderr, "create: %s\n", aio_strerror(status));
        return 77;
    }
    bool called = false;
    try {
        aio_submit_nop(ctx, nullptr, reinterpret_cast<aio_callback>(callback), &called);
        status = aio_ctx_run(ctx);
    } catch (const std::exception &) {
        std::puts("the exception came through");
        return 3;
    }
    aio_ctx_destroy(ctx);
    return status == 0 && called ? 0 : 4;
}
C
"$cxx" -std=c++20 -Wall -Wextra -I"$include" "$work/unit.cpp" "$library" \
    "-Wl,-rpath,$(dirname "$library")" -o "$work/program"

status=0
"$work/program" || status=$?
if [[ $status -ne 0 ]]; then
    echo "without an exception the program ends with $status" >&2
    exit "$status"
fi

ulimit -c 0
status=0
"$work/program" throw >"$work/out" 2>"$work/err" || status=$?
cat "$work/out" "$work/err"
if [[ $status -ne $((128 + 6)) ]]; then
    echo "the program ended with $status, not with SIGABRT" >&2
    exit 1
fi
if ! grep --quiet --ignore-case --extended-regexp 'cannot (unwind|catch)|callback' "$work/err"; then
    echo "no message on stderr" >&2
    exit 1
fi
