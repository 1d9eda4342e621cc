//! What a panic and a failed allocation do in the C libraries. The standard library prints a
//! backtrace if asked to, and brings a reader of debug information for that, a quarter of a library
//! that has to be loaded everywhere. A library that uses std may have no panic handler of its own,
//! so the linker puts one there: std's functions are made weak here, and capi/build.rs has their
//! names and a linker script that says whom they are to be. Where a linker does not read it, std's
//! own remain. A panic is told in a line and unwinds as ever, to the boundary that catches it.

use std::io::Write;
use std::panic::resume_unwind;

/// In the place of std's `rust_begin_unwind`, with which every panic begins.
fn begin_unwind(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = writeln!(std::io::stderr(), "aio_rs: {info}");
    // A second panic, out of a destructor, has nowhere to go.
    if std::thread::panicking() {
        std::process::abort();
    }
    resume_unwind(Box::new(()))
}

/// In the place of std's `__rust_alloc_error_handler`.
fn allocation_failed(size: usize, _align: usize) -> ! {
    let _ = writeln!(std::io::stderr(), "aio_rs: an allocation of {size} bytes failed; aborting");
    std::process::abort()
}

std::arch::global_asm!(
    concat!(".weak ", env!("AIO_RS_STD_BEGIN_UNWIND")),
    concat!(".weak ", env!("AIO_RS_STD_ALLOCATION_FAILED")),
    ".globl __aio_rs_begin_unwind",
    ".hidden __aio_rs_begin_unwind",
    ".set __aio_rs_begin_unwind, {begin_unwind}",
    ".globl __aio_rs_allocation_failed",
    ".hidden __aio_rs_allocation_failed",
    ".set __aio_rs_allocation_failed, {allocation_failed}",
    begin_unwind = sym begin_unwind,
    allocation_failed = sym allocation_failed,
);
