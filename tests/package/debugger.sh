#!/usr/bin/env bash
# debugger.sh PREFIX: gdb shows the source line of a function of the installed library, which itself
# has no debug information: it finds the installed debug file.
set -euo pipefail
prefix=$1
command -v gdb >/dev/null || { echo "no gdb"; exit 77; }

library=$(find "$prefix" -name 'libaio_rs.so.*' -type f ! -name '*.debug')
said=$(gdb --batch --nx --ex 'info line aio_version' "$library" 2>&1)
if [[ $said != *.rs* ]]; then
    echo "gdb says: $said" >&2
    exit 1
fi
