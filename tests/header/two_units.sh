#!/usr/bin/env bash
# two_units.sh gcc|clang INCLUDE-FOLDER LIBRARY: a unit in C and one in C++ include the header, and
# link into one program: nothing is defined twice, and C++ asks for the names of C.
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/compilers.sh"
choose_compiler "$1"
include=$2 library=$3

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
cat >"$work/first.c" <<'C'
#include <aio_rs.h>
uint32_t version_in_c(void);
uint32_t version_in_c(void) { return aio_version(); }
C
cat >"$work/second.cpp" <<'C'
#include <aio_rs.h>
extern "C" uint32_t version_in_c(void);
int main() { return aio_version() == version_in_c() && aio_version() != 0 ? 0 : 1; }
C
flags=(-Wall -Wextra -Wpedantic -Werror "-I$include")
"$cc" -std=c11 "${flags[@]}" -c "$work/first.c" -o "$work/first.o"
"$cxx" -std=c++20 "${flags[@]}" "$work/second.cpp" "$work/first.o" "$library" \
    "-Wl,-rpath,$(dirname "$library")" -o "$work/program"
"$work/program"
