//! Runs the checks that build.rs made. The right-hand side of each is the real item of the engine:
//! mirror.rs only lists the names and types.

#![allow(unknown_lints, deprecated, function_casts_as_integer, clippy::all)]
// Options that name a context have a pointer to an opaque type in them.
#![allow(improper_ctypes)]

use aio_rs::ffi::*;

include!(concat!(env!("OUT_DIR"), "/sections.rs"));
include!(concat!(env!("OUT_DIR"), "/conformance.rs"));
