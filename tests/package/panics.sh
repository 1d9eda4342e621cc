#!/usr/bin/env bash
# panics.sh PREFIX: what the installed libraries, the shared and the static one, do where Rust
# panics: the context is poisoned, a line on stderr says why, and where no memory is left the
# program ends with one. Both lines are the library's own: std's would have brought its reader of
# debug information with it (src/sys/panics.rs), which is looked for too.
set -euo pipefail
prefix=$1
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

library=$(dirname "$(find "$prefix" -name libaio_rs.so)")
cc -I"$prefix/include" "$here/panics.c" -L"$library" -laio_rs -Wl,-rpath,"$library" \
    -o "$work/shared"
cc -I"$prefix/include" "$here/panics.c" "$library/libaio_rs.a" -lpthread -ldl -lm \
    -Wl,--gc-sections -o "$work/static"

for program in shared static; do
    status=0
    "$work/$program" memory 2>"$work/said" || status=$?
    grep --extended-regexp '^aio_rs: an allocation of [0-9]+ bytes failed; aborting$' "$work/said"
    ((status == 134))

    status=0
    "$work/$program" engine 2>"$work/said" || status=$?
    ((status != 77)) || exit 77
    grep '^aio_rs: panicked at ' "$work/said"
    grep '^no address space for the queues of a ring that was resized$' "$work/said"
    ((status == 0))
done

for file in "$library/libaio_rs.so.0" "$work/static"; do
    if grep --quiet --text RUST_BACKTRACE "$file"; then
        echo "$file prints backtraces" >&2
        exit 1
    fi
done
