#!/usr/bin/env bash
# build.sh EXAMPLES BUILD-FOLDER PREFIX: builds a copy of the examples, outside of the source tree,
# as an outside project does that finds the package below PREFIX.
set -euo pipefail
examples=$1 build=$2 prefix=$3

rm -rf "$build.source"
mkdir -p "$build"
cp --archive "$examples" "$build.source"
cmake -S "$build.source" -B "$build" -DCMAKE_PREFIX_PATH="$prefix"
cmake --build "$build" --parallel 2
grep --quiet "aio_rs_DIR:PATH=$prefix" "$build/CMakeCache.txt"
