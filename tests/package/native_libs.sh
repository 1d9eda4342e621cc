#!/usr/bin/env bash
# native_libs.sh PREFIX: the system libraries that the package names for static linking are those
# that this rustc says a static library needs (libgcc_s and libc come from the compiler driver).
set -euo pipefail
prefix=$1
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

words() {
    tr ' ' '\n' | sed '/^$/d' | sort | paste --serial --delimiters=' '
}

touch "$work/empty.rs"
wanted=$(rustc --crate-type staticlib --print native-static-libs -o "$work/libempty.a" \
    "$work/empty.rs" 2>&1 | sed -n 's/.*native-static-libs: //p' | sed 's/-lgcc_s//; s/-lc$//' |
    words)
found=$(sed -n 's/^Libs.private: //p' "$(find "$prefix" -name aio_rs.pc)" | words)
if [[ -z $wanted || $found != "$wanted" ]]; then
    echo "the package says '$found', rustc '$wanted'" >&2
    exit 1
fi
