//! Writes what is generated from the sources of the C ABI, or with `--check` compares it with what
//! is there: `include/aio_rs.h`, `tests/conformance/mirror.rs` and `tests/abi/aio.syms`; and the
//! tables in `docs/kernel.md`, from the library's table of operations.
//! Called by `tools/regen` in the root of the tree.
//!
//! The mirror and the symbol list come from Rust's syntax trees and the header from cbindgen, so
//! that each is a check on the other: a C compiler compares the mirror with the header
//! (`tests/conformance`), and a name in only one of them is an error here.

mod abi;
mod header;
mod kernel;
mod layout;
/// The library's own: data alone, of which the library uses more than we do.
#[allow(dead_code)]
#[path = "../../../src/op/table.rs"]
mod table;

use std::path::Path;
use std::process::ExitCode;

/// Writes `text` to `path`, or tells whether the file has it already.
fn put(path: &str, text: &str, check: bool) -> bool {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    if old == text {
        return true;
    }
    if check {
        let line = old.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
        eprintln!("{path} is stale from line {}: run tools/regen", line + 1);
        if let Some(expected) = text.lines().nth(line) {
            eprintln!("  expected: {expected}");
        }
        return false;
    }
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
    println!("wrote {path}");
    true
}

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(_) => {
            eprintln!("usage: tools/regen [--check]");
            return ExitCode::from(2);
        }
    };
    let abi = abi::read(Path::new("src"));
    let header = header::write(Path::new("."), &abi);
    let missing = header::differences(&header, &abi);
    for line in &missing {
        eprintln!("{line}");
    }
    let mut fine = missing.is_empty();
    fine &= put("include/aio_rs.h", &header, check);
    fine &= put("tests/conformance/mirror.rs", &abi.mirror(), check);
    fine &= put("tests/abi/aio.syms", &abi.symbols(), check);
    let kernel = std::fs::read_to_string("docs/kernel.md").expect("docs/kernel.md");
    fine &= put("docs/kernel.md", &kernel::arrange(&kernel, &abi.symbols()), check);
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
