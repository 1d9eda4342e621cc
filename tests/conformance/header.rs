//! Runs the checks that build.rs made. The right-hand side of each is the real item of the engine:
//! mirror.rs only lists the names and types.

#![allow(unknown_lints, deprecated, function_casts_as_integer, clippy::all)]

// A module that is missing here shows: the checks name what is in it.
use aio_rs::ffi::{ctx::*, fs::*, misc::*, net::*, poll::*, status::*, submit::*, time::*, *};

include!(concat!(env!("OUT_DIR"), "/conformance.rs"));
