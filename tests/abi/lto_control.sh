#!/usr/bin/env bash
# lto_control.sh: lto.sh says no to what it should. Builds a small crate named aio_rs without
# LTO, with thin LTO, and in the way in which cargo silently leaves it out, and then with fat LTO.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT

write_crate() {
    mkdir --parents "$work/src"
    cat >"$work/Cargo.toml" <<-TOML
		[package]
		name = "aio_rs"
		version = "0.0.0"
		edition = "2021"
		[lib]
		crate-type = [$1]
		[profile.release]
		lto = $2
		codegen-units = 1
	TOML
    cat >"$work/src/lib.rs" <<-RUST
		#[no_mangle]
		pub extern "C" fn aio_text(n: u64) -> usize {
		    format!("{n:?}").len()
		}
	RUST
}

# judge EXPECTED CRATE-TYPES LTO
judge() {
    write_crate "$2" "$3"
    cargo build --quiet --offline --release --manifest-path "$work/Cargo.toml" \
        --target-dir "$work/target"
    local verdict=yes part
    for part in archive library; do
        local archive=- library=-
        [[ $part == archive ]] && archive="$work/target/release/libaio_rs.a"
        [[ $part == library ]] && library="$work/target/release/libaio_rs.so"
        verdict=yes
        "$here/lto.sh" "$archive" "$library" 2>/dev/null || verdict=no
        if [[ $verdict != "$1" ]]; then
            echo "[$2] with lto = $3: the check of the $part says '$verdict'" >&2
            exit 1
        fi
    done
}

judge no '"cdylib", "staticlib"' false
judge no '"cdylib", "staticlib"' '"thin"'
judge no '"cdylib", "staticlib", "rlib"' '"fat"'
judge yes '"cdylib", "staticlib"' '"fat"'
