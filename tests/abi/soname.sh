#!/usr/bin/env bash
# soname.sh LIBRARY: the name that programs remember is libaio_rs.so.0.
set -euo pipefail
soname=$(readelf --dynamic --wide "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
if [[ $soname != libaio_rs.so.0 ]]; then
    echo "the SONAME of $1 is '$soname'" >&2
    exit 1
fi
