#!/usr/bin/env bash
# archive_symbols.sh ARCHIVE LIST: the global symbols of the static library are exactly those of the
# list, beside the weak DW.ref.* of exception handling.
set -euo pipefail
archive=$1 list=$2
found=$(nm --extern-only --defined-only "$archive" |
    awk 'NF == 3 && !($2 ~ /[VvWw]/ && $3 ~ /^DW\.ref\./) { print $3 }' | LC_ALL=C sort)
diff --unified=0 --label expected --label found <(LC_ALL=C sort "$list") <(echo "$found")
