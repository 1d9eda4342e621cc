#!/usr/bin/env bash
# two_rust.sh PREFIX: the installed archive and another Rust static library link into one program,
# in both orders, and each works there; the other one unwinds a panic.
set -euo pipefail
prefix=$1
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

archive=$(find "$prefix" -name libaio_rs.a)
cat >"$work/other.rs" <<'RUST'
#[no_mangle]
pub extern "C" fn other_catches_a_panic() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    i32::from(std::panic::catch_unwind(|| panic!("of the other library")).is_err())
}
RUST
rustc --edition 2021 --crate-type staticlib -O -o "$work/libother.a" "$work/other.rs"
cat >"$work/main.c" <<'C'
#define main run_aio_rs
#include "program.c"
#undef main
int32_t other_catches_a_panic(void);
int main(void) { return other_catches_a_panic() == 1 ? run_aio_rs() : 9; }
C
for order in "$archive $work/libother.a" "$work/libother.a $archive"; do
    read -ra libraries <<<"$order"
    cc -I"$prefix/include" -I"$here" "$work/main.c" "${libraries[@]}" -lpthread -ldl -lm \
        -o "$work/program"
    "$work/program"
done
