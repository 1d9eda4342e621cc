#!/usr/bin/env bash
# add_subdirectory.sh SOURCE BUILD-FOLDER: a project that has the source tree inside it links the
# shared and the static library without installing anything. Built with the dev profile, which is
# quick and nowhere else tried.
set -euo pipefail
source=$1 build=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

cmake -S "$here/subdirectory" -B "$build" -DAIO_RS_SOURCE="$source" -DAIO_RS_CARGO_PROFILE=dev
cmake --build "$build"
"$build/with_aio_rs"
"$build/with_static"
