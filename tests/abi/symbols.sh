#!/usr/bin/env bash
# symbols.sh LIBRARY VERSION LIST: the symbols that leave the library are exactly those of the list,
# each with that version. VERSION is `-` for cargo's own library, which has no versions.
set -euo pipefail
library=$1 version=$2 list=$3

suffix="@@$version"
[[ $version == - ]] && suffix=""
expected=$(sed "s/\$/$suffix/" "$list" | LC_ALL=C sort)
# The version node itself is an absolute symbol: left out.
found=$(nm --dynamic --defined-only "$library" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort)

if [[ -z $found ]]; then
    echo "no symbol leaves $library" >&2
    exit 1
fi
diff --unified=0 --label expected --label found <(echo "$expected") <(echo "$found")
echo "$(wc -l <<<"$found") symbols, as listed"
