#!/usr/bin/env bash
# cargo_alone.sh SOURCE TARGET-FOLDER PREFIX: `cargo build --release` without any CMake gives
# libaio_rs.so and libaio_rs.a; the first shows the listed symbols, has the SONAME, hardening and
# fat LTO, and takes the place of the installed one in a program that was linked with either.
set -euo pipefail
source=$1 folder=$2 prefix=$3
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
abi="$here/../abi"
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

(cd "$source" && cargo build --release --locked --quiet --target-dir "$folder")
library="$folder/release/libaio_rs.so" archive="$folder/release/libaio_rs.a"

"$abi/symbols.sh" "$library" - "$abi/aio.syms"
"$abi/soname.sh" "$library"
"$abi/hardening.sh" "$library"
"$abi/lto.sh" "$archive" "$library"

# Programs remember the SONAME; cargo makes no link of that name.
mkdir "$work/cargo"
ln --symbolic "$library" "$work/cargo/libaio_rs.so.0"
installed=$(dirname "$(find "$prefix" -name libaio_rs.so)")

cc -I"$prefix/include" "$here/program.c" "$library" -o "$work/with_cargo"
cc -I"$prefix/include" "$here/program.c" -L"$installed" -laio_rs -o "$work/with_installed"
cc -I"$prefix/include" "$here/program.c" "$archive" -lpthread -ldl -lm -o "$work/with_archive"
"$work/with_archive"
for program in with_cargo with_installed; do
    for path in "$work/cargo" "$installed"; do
        LD_LIBRARY_PATH=$path "$work/$program"
    done
done
