//! Gives cargo's own libaio_rs.so what CMake gives the installed one: the SONAME, so that a program
//! linked against either runs with the other, and `nodelete`, because contexts leave thread-exit
//! hooks behind that must not point into an unmapped library. Symbol versions come from the CMake
//! build alone: rustc passes a version script of its own, and the linker takes no second one.
//!
//! Both get the linker script by which src/sys/panics.rs comes into the place of what std does. The
//! names of std's functions have the compiler's version in them, so they are looked for in its
//! archive; where they are not found, std's own remain.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// How the names end; before that comes `_RNvCs` and the compiler's own number.
const BEGIN_UNWIND: &str = "_7___rustc17rust_begin_unwind";
const ALLOCATION_FAILED: &str = "_7___rustc26___rust_alloc_error_handler";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaio_rs.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");

    println!("cargo:rerun-if-env-changed=AIO_RS_LINKER_SCRIPT");
    let own = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("aio_rs.ld");
    let mut script = String::from("/* See src/sys/panics.rs. */\n");
    if let Some((begin_unwind, allocation_failed)) = names_in_std() {
        script += &format!("{begin_unwind} = __aio_rs_begin_unwind;\n");
        script += &format!("{allocation_failed} = __aio_rs_allocation_failed;\n");
        println!("cargo:rustc-cfg=aio_panics");
        println!("cargo:rustc-env=AIO_RS_STD_BEGIN_UNWIND={begin_unwind}");
        println!("cargo:rustc-env=AIO_RS_STD_ALLOCATION_FAILED={allocation_failed}");
    }
    fs::write(&own, &script).expect("the linker script in OUT_DIR");
    println!("cargo:rustc-cdylib-link-arg={}", own.display());
    // CMake links for itself.
    if let Some(path) = env::var_os("AIO_RS_LINKER_SCRIPT") {
        fs::write(path, &script).expect("the linker script of AIO_RS_LINKER_SCRIPT");
    }
}

fn names_in_std() -> Option<(String, String)> {
    let rustc = env::var_os("RUSTC")?;
    let target = env::var("TARGET").ok()?;
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", &target])
        .output()
        .ok()?;
    let folder = String::from_utf8(printed.stdout).ok()?;
    let archive = fs::read_dir(Path::new(folder.trim())).ok()?.flatten().map(|entry| entry.path());
    let is_std = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    };
    let bytes = fs::read(archive.into_iter().find(is_std)?).ok()?;
    Some((name(&bytes, BEGIN_UNWIND)?, name(&bytes, ALLOCATION_FAILED)?))
}

/// The name in `bytes` that ends so.
fn name(bytes: &[u8], end: &str) -> Option<String> {
    let at = bytes.windows(end.len()).position(|window| window == end.as_bytes())?;
    let number = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let start = at - number - 1;
    let name = bytes[start..at + end.len()].to_vec();
    String::from_utf8(name).ok().filter(|name| name.starts_with("_RNvCs"))
}
