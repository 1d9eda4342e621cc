//! Makes a C file and a Rust file out of mirror.rs and the header: for every item a function in C
//! that tells what the compiler makes of it, and a check in Rust that calls it.

/// System structs whose C name needs the keyword, and that the header only points to.
const SYSTEM_STRUCTS: [&str; 9] = [
    "addrinfo",
    "epoll_event",
    "futex_waitv",
    "io_uring_sqe",
    "iovec",
    "msghdr",
    "open_how",
    "sockaddr",
    "statx",
];

/// The modules of the C ABI, whose items the checks name without a path.
fn sections() -> String {
    let text = std::fs::read_to_string("../../src/ffi/mod.rs").expect("the ABI's modules");
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(|name| format!("use aio_rs::ffi::{name}::*;\n")).collect()
}

fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(format!("{out}/sections.rs"), sections()).expect("a writable OUT_DIR");
    println!("cargo:rerun-if-changed=../../src/ffi/mod.rs");
    println!("cargo:rerun-if-changed=mirror.rs");
    println!("cargo:rerun-if-changed=../../include/aio_rs.h");
    let mut test = ctest2::TestGenerator::new();
    test.include("../../include").header("aio_rs.h");
    test.flag("-std=c11").flag("-Wall").flag("-Wextra").flag("-Werror");
    test.type_name(|name, is_struct, _| {
        if is_struct || SYSTEM_STRUCTS.contains(&name) {
            format!("struct {name}")
        } else {
            name.to_string()
        }
    });
    test.generate("mirror.rs", "conformance.rs");
}
