#!/usr/bin/env bash
# lto.sh ARCHIVE LIBRARY: fat link-time optimisation was really on. Cargo can leave it out without a
# word (it does for a package that is also an rlib). With it everything but the compiler's builtins
# is one object; without it, or with the thin kind, there are those of std and of other crates.
# LIBRARY must have its symbol table (or be the debug file); `-` leaves it or the archive out.
set -euo pipefail
archive=$1 library=$2
status=0

# The crates of a list of objects (`<crate>.<hash>-cgu.0`, in archives with more before it), without
# the compiler's builtins, which are never optimised together with the rest.
crates() {
    sed -n 's/^\([A-Za-z0-9_]*\)[-.].*cgu\.[0-9]*.*$/\1/p' |
        grep --invert-match '^compiler_builtins$'
}

expect_one() {
    if [[ $2 != aio_rs ]]; then
        echo "no fat LTO in $1: it has objects of" >&2
        sort <<<"$2" | uniq --count >&2
        status=1
    fi
}

[[ $archive == - ]] || expect_one "$archive" "$(ar t "$archive" | crates || true)"
[[ $library == - ]] ||
    expect_one "$library" "$(readelf --symbols --wide "$library" |
        awk '$4 == "FILE" { print $NF }' | crates || true)"
exit "$status"
