#!/usr/bin/env bash
# find_package.sh PREFIX TARGET [moved]: an outside CMake project finds the package, links TARGET,
# and its program runs. `moved`: after the installed tree was moved to another folder.
set -euo pipefail
prefix=$1 target=$2 moved=${3:-}
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

if [[ -n $moved ]]; then
    cp --archive "$prefix" "$work/elsewhere"
    prefix="$work/elsewhere"
fi
consumer=consumer
[[ $target == aio_rs::cpp ]] && consumer=consumer_cpp
cmake -S "$here/$consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DTARGET="$target"
cmake --build "$work/build"
grep --quiet "aio_rs_DIR:PATH=$prefix" "$work/build/CMakeCache.txt"
"$work/build/consumer"

needed=$(readelf --dynamic --wide "$work/build/consumer" | grep --count 'libaio_rs.so.0' || true)
[[ $target != aio_rs::static && $needed -eq 1 ]] || [[ $target == aio_rs::static && $needed -eq 0 ]]
