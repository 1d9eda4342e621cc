#!/usr/bin/env bash
# pkg_config.sh PREFIX shared|static: a program is built with the flags of pkg-config and runs.
# `static`: with --static and the compiler's -static, so that it needs no library at all.
set -euo pipefail
prefix=$1 kind=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
command -v pkg-config >/dev/null || { echo "no pkg-config"; exit 77; }

folder=$(dirname "$(find "$prefix" -name aio_rs.pc)")
export PKG_CONFIG_LIBDIR=$folder
pkg-config --exact-version="$(pkg-config --modversion aio_rs)" aio_rs
options=() link=()
if [[ $kind == static ]]; then
    options=(--static) link=(-static)
fi
# Words of pkg-config are options, to be split.
read -ra flags <<<"$(pkg-config "${options[@]}" --cflags --libs aio_rs)"
cc -Wall -Wextra "$here/program.c" "${link[@]}" "${flags[@]}" -o "$work/program"

libdir=$(pkg-config --variable=libdir aio_rs)
dynamic=$(readelf --dynamic --wide "$work/program")
if [[ $kind == static ]]; then
    if grep NEEDED <<<"$dynamic"; then
        echo "the program is not static" >&2
        exit 1
    fi
    "$work/program"
else
    grep --quiet 'NEEDED.*libaio_rs.so.0' <<<"$dynamic"
    LD_LIBRARY_PATH=$libdir "$work/program"
fi
