#!/usr/bin/env bash
# guide.sh gcc|clang DOCUMENT INCLUDE-FOLDER: each piece of code of the C++ guide compiles, and it
# names each header.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tests/header/compilers.sh
source "$here/../header/compilers.sh"
choose_compiler "$1"
document=$2 include=$3

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
awk -v folder="$work" -f "$here/guide.awk" "$document"
for unit in "$work"/*.cpp; do
    # What a snippet shows is often all that is done with it.
    "$cxx" -std=c++20 -Wall -Wextra -Werror -Wno-unused-variable -Wno-unused-but-set-variable \
        -fsyntax-only "-I$include" "-I$here" "$unit"
done

for header in "$include"/aio/*.hpp; do
    if ! grep --quiet --fixed-strings "\`${header##*/}\`" "$document"; then
        echo "$document does not name ${header##*/}" >&2
        exit 1
    fi
done
