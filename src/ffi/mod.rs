//! The C ABI: signatures, checks, one call down. No decisions. A file per section of the header;
//! `arguments` is the one that turns pointers into references, `shielded` the one panic boundary;
//! `tuning` reads a context's options.

// The names are C's, in C's spelling.
#![allow(non_camel_case_types)]
// What makes a call safe is C's to keep, and said once, in the manual that opens the header.
#![allow(clippy::missing_safety_doc, clippy::too_many_arguments)]

mod arguments;
mod tuning;

// The header's sections, in this order.
pub mod status;
pub mod ctx;
pub mod submit;
pub mod cancel;
pub mod stats;
pub mod probe;
pub mod misc;
pub mod msg_ring;
pub mod futex;
pub mod time;
pub mod poll;
pub mod fs;
pub mod space;
pub mod path;
pub mod net;
pub mod options;
pub mod control;
pub mod zero_copy;
pub mod registered;
pub mod files;
pub mod buffers;
pub mod bundles;
pub mod interface_queue;

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use std::ffi::c_void;

/// A context: one thread's ring, and the handle through which other threads reach it.
pub struct aio_ctx {
    _private: (),
}

/// A pool of buffers that receives take when data is there.
pub struct aio_buffer_pool {
    _private: (),
}

/// Names an operation: positive. Negative: a status, and nothing was submitted.
pub type aio_op_id = i64;

/// Called with the operation's result; see the manual, paragraph 3.
pub type aio_callback = Option<unsafe extern "C-unwind" fn(*mut c_void, i32, u32)>;

/// A function posted to a context.
pub type aio_post_fn = Option<unsafe extern "C-unwind" fn(*mut c_void)>;

/// Receives the engine's few messages.
pub type aio_log_fn =
    Option<unsafe extern "C-unwind" fn(*mut c_void, i32, *const std::ffi::c_char)>;

/// Runs a body that ends in `Result<value, Refusal>` with the handle behind a C pointer. NULL is
/// -EINVAL; a panic poisons the context and is AIO_EPANIC.
macro_rules! guard {
    ($ctx:expr, $handle:ident => $body:block) => {{
        let pointer = $ctx.cast::<$crate::engine::handle::Handle>();
        // SAFETY: NULL is sorted out; anything else is a live context by the ABI's contract.
        match unsafe { pointer.as_ref() } {
            None => $crate::sys::errno::Errno::EINVAL.status().into(),
            Some($handle) => {
                let body = || -> Result<_, $crate::engine::Refusal> { $body };
                match $crate::ffi::shielded($handle, body) {
                    Ok(Ok(value)) => value,
                    Ok(Err(refusal)) => $crate::ffi::status::of(refusal).into(),
                    Err(status) => status.into(),
                }
            }
        }
    }};
}
pub(crate) use guard;

/// The one panic boundary: a panic in `body` poisons the context.
#[inline(always)]
fn shielded<T>(handle: &Handle, body: impl FnOnce() -> T) -> Result<T, i32> {
    let body = std::panic::AssertUnwindSafe(body);
    std::panic::catch_unwind(body).map_err(|_| poisoned(handle))
}

/// What becomes of a context whose engine has panicked.
#[cold]
fn poisoned(handle: &Handle) -> i32 {
    handle.poison();
    status::of(Refusal::Panicked)
}
