#!/usr/bin/env bash
# compiles.sh gcc|clang STANDARD INCLUDE-FOLDER: the header compiles without a warning in a standard
# of C or C++, alone, twice, before and after glibc's <aio.h>, with and without _GNU_SOURCE.
set -euo pipefail
# shellcheck source=tests/header/compilers.sh
source "$(dirname "${BASH_SOURCE[0]}")/compilers.sh"
choose_compiler "$1"
standard=$2 include=$3

language=c compiler=$cc
[[ $standard == c++* ]] && language=c++ compiler=$cxx
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

# Uses a handle, a struct, a callback, a constant, a macro and a prototype, so that each is seen.
write_source() {
    local before=$1 after=$2
    cat >"$work/unit.c" <<-C
		$before
		#include <aio_rs.h>
		#include <aio_rs.h>
		$after

		int use_everything(aio_ctx *ctx, void *user_data);
		int use_everything(aio_ctx *ctx, void *user_data)
		{
		    static aio_submit_options options;
		    aio_callback callback = AIO_CALLBACK_REAP;
		    options.size = (uint32_t)sizeof options;
		    aio_op_id id = aio_submit_nop(ctx, &options, callback, user_data);
		    return id == AIO_EWRONGTHREAD || (options.flags & AIO_CQE_MORE) != 0;
		}
	C
}

compiled=0
for gnu in -D_GNU_SOURCE -U_GNU_SOURCE; do
    for order in alone before after; do
        before="" after=""
        [[ $order == before ]] && before="#include <aio.h>"
        [[ $order == after ]] && after="#include <aio.h>"
        write_source "$before" "$after"
        if ! "$compiler" -x "$language" -std="$standard" -Wall -Wextra -Wpedantic -Werror "$gnu" \
            -I"$include" -c "$work/unit.c" -o "$work/unit.o"; then
            echo "$compiler -std=$standard $gnu, <aio.h> $order" >&2
            exit 1
        fi
        compiled=$((compiled + 1))
    done
done
echo "$compiled variants"
