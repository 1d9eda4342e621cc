#!/usr/bin/env bash
# debug_file.sh LIBRARY: the library itself has no debug information; the file that its debug link
# names is beside it, fits it (checksum and build id) and has the line tables of our sources.
set -euo pipefail
library=$1
debug="$library.debug"

fail() {
    echo "$1" >&2
    exit 1
}

build_id() {
    readelf --notes --wide "$1" | sed -n 's/.*Build ID: //p'
}

# The last word of the section that names the file; gdb compares it: a wrong one is a lost file.
checksum() {
    readelf --hex-dump=.gnu_debuglink "$1" |
        awk '/0x/ { for (i = 2; i < NF; i++) word = $i } END { print word }'
}

! readelf --sections --wide "$library" | grep --quiet '\.debug_' ||
    fail "debug sections in $library"
link=$(readelf --string-dump=.gnu_debuglink "$library" | sed -n 's/^ *\[ *0\] *//p')
[[ $link == "$(basename "$debug")" ]] || fail "the debug link is '$link'"
[[ -n $(build_id "$library") ]] || fail "$library has no build id"
[[ $(build_id "$library") == "$(build_id "$debug")" ]] || fail "$debug is of another build"

wanted=$(checksum "$library")
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
objcopy --remove-section=.gnu_debuglink "$library" "$fresh"
objcopy --add-gnu-debuglink="$debug" "$fresh"
found=$(checksum "$fresh")
[[ $wanted == "$found" ]] || fail "the checksum of $debug is $found, the link says $wanted"

# A public function can be traced to its line.
address=$(nm --dynamic --defined-only "$library" | awk '/ T aio_version@/ { print $1 }')
line=$(addr2line --exe="$debug" "0x$address")
[[ $line == */src/ffi/*.rs:[0-9]* ]] || fail "aio_version is at '$line'"
echo "aio_version is at ${line##*/src/}"
