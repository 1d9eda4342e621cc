//! aio_rs: a completion-based asynchronous I/O engine for Linux, used through a C ABI.
//!
//! The layers, each importing only from those before it: `sys` (what the kernel is), `op` (what an
//! operation is), `engine` (what a context is), `service` (what is built from contexts and
//! operations) and `ffi` (the C ABI). The contract is in `include/aio_rs.h`, the decisions are in
//! `docs/design.md`.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("aio_rs needs 64-bit Linux");

mod engine;
mod op;
mod service;
mod sys;

pub mod ffi;

/// For this crate's own tests: the ring's system calls, replaceable.
#[doc(hidden)]
pub mod testing {
    pub use crate::sys::calls::Calls;
}
