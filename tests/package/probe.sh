#!/usr/bin/env bash
# probe.sh PREFIX: the installed aio-probe runs without the shared library, has no debug information
# and prints a line for each of the 63 operations.
set -euo pipefail
prefix=$1
program=$(find "$prefix" -name aio-probe -type f)

needed=$(readelf --dynamic --wide "$program")
if grep 'NEEDED.*libaio_rs' <<<"$needed"; then
    exit 1
fi
lines=$("$program" --json | grep --count '"opcode": ')
[[ $lines -eq 63 ]] || { echo "$lines operations" >&2; exit 1; }
if readelf --sections --wide "$program" | grep '\.debug_info'; then
    exit 1
fi
