#!/usr/bin/env bash
# readme.sh README PREFIX: the programs of the README, built against the installed package with the
# README's own lines for CMake and for the compiler alone, run and print what they should.
set -euo pipefail
readme=$1 prefix=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

for language in c cpp cmake; do
    mkdir "$work/$language"
    awk -v language="$language" -v folder="$work/$language" -f "$here/blocks.awk" "$readme"
done

# with_cmake SUFFIX LANGUAGE NTH: the program with this block of CMake.
with_cmake() {
    local project=$work/project.$1 block
    block=$(printf '%s\n' "$work"/cmake/* | sed -n "$3p")
    mkdir "$project"
    cp "$work/$1"/*."$1" "$project/program.$1"
    {
        echo "cmake_minimum_required(VERSION 3.22)"
        echo "project(readme LANGUAGES $2)"
        echo "add_executable(program program.$1)"
        cat "$block"
    } >"$project/CMakeLists.txt"
    cmake -S "$project" -B "$project/build" -DCMAKE_PREFIX_PATH="$prefix"
    cmake --build "$project/build"
    "$project/build/program" | tee "$work/said.$1"
}

# alone SUFFIX COMPILER...: the program with pkg-config.
alone() {
    local flags folder
    folder=$(dirname "$(find "$prefix" -name aio_rs.pc)")
    # Words of pkg-config are options, to be split.
    read -ra flags <<<"$(PKG_CONFIG_LIBDIR=$folder pkg-config --cflags --libs aio_rs)"
    "${@:2}" -Wall -Wextra "$work/project.$1/program.$1" "${flags[@]}" -o "$work/program.$1"
    LD_LIBRARY_PATH=$(dirname "$folder") "$work/program.$1" | cmp - "$work/said.$1"
}

with_cmake c C 1
with_cmake cpp CXX 2
[[ $(cat "$work/said.c") == "100 ms later: "* ]]
[[ $(cat "$work/said.cpp") == "after 100 ms, the deadline has passed" ]]

command -v pkg-config >/dev/null || { echo "no pkg-config"; exit 77; }
alone c cc
alone cpp c++ -std=c++20
