#!/usr/bin/env bash
# glibc_names.sh LIBRARY: none of the names of glibc's own asynchronous I/O leaves the library: one
# that is defined here would replace glibc's in the whole program.
set -euo pipefail
library=$1

names=(aio_init)
for name in aio_read aio_write aio_error aio_return aio_cancel aio_suspend aio_fsync lio_listio; do
    names+=("$name" "${name}64")
done
found=$(nm --dynamic --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }')
status=0
for name in "${names[@]}"; do
    if grep --quiet --line-regexp "$name" <<<"$found"; then
        echo "$name is a name of glibc's" >&2
        status=1
    fi
done
exit "$status"
