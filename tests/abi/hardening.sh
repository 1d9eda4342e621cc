#!/usr/bin/env bash
# hardening.sh LIBRARY: full RELRO (a RELRO segment, everything bound at load), no executable stack,
# no segment both writable and executable, no relocation in the code, nothing sought in odd folders.
set -euo pipefail
library=$1
status=0

complain() {
    echo "$1: $library" >&2
    status=1
}

segments=$(readelf --program-headers --wide "$library")
dynamic=$(readelf --dynamic --wide "$library")
grep --quiet 'GNU_RELRO' <<<"$segments" || complain "no RELRO segment"
grep --quiet --extended-regexp '\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW' <<<"$dynamic" ||
    complain "symbols are bound lazily"
grep --quiet --extended-regexp 'GNU_STACK .* RW +0' <<<"$segments" ||
    complain "the stack is executable, or its flags are missing"
! grep --quiet --extended-regexp 'LOAD .* RWE ' <<<"$segments" ||
    complain "a segment is writable and executable"
! grep --quiet 'TEXTREL' <<<"$dynamic" || complain "relocations in the code"
! grep --quiet --extended-regexp 'RPATH|RUNPATH' <<<"$dynamic" || complain "a run path"
exit "$status"
