#!/usr/bin/env bash
# compiles.sh LIBRARY INCLUDE-FOLDER TESTS: clang compiles all headers, with and without exceptions
# and in C++23, and every test program, with this standard library (libstdc++ or libc++).
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/../header/compilers.sh"
choose_compiler clang
library=$1 include=$2 tests=$3

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
flags=(-std=c++20 "-stdlib=$library" -Wall -Wextra -Wpedantic -Werror "-I$include" "-I$tests")

if ! echo '#include <coroutine>' | "$cxx" "${flags[@]}" -fsyntax-only -x c++ - 2>/dev/null; then
    echo "$cxx has no $library"
    exit 77
fi

cd "$include"
printf '#include <%s>\n' aio/*.hpp >"$work/all.cpp"
"$cxx" "${flags[@]}" -fsyntax-only -fno-exceptions -fno-rtti "$work/all.cpp"
# A later standard has std::expected, and its results convert.
"$cxx" "${flags[@]}" -fsyntax-only -std=c++23 "$work/all.cpp"
# What the tests include is read once for all of them.
echo '#include <gtest/gtest.h>' >>"$work/all.cpp"
"$cxx" "${flags[@]}" -x c++-header "$work/all.cpp" -o "$work/all.pch"
for test in "$tests"/test_*.cpp "$tests"/no_exceptions.cpp; do
    "$cxx" "${flags[@]}" -include-pch "$work/all.pch" -fsyntax-only "$test"
done
