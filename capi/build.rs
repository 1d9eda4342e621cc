//! Gives cargo's own libaio_rs.so what CMake gives the installed one: the SONAME, so that a program
//! linked against either runs with the other, and `nodelete`, because contexts leave thread-exit
//! hooks behind that must not point into an unmapped library. Symbol versions come from the CMake
//! build alone: rustc passes a version script of its own, and the linker takes no second one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaio_rs.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
