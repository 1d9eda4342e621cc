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
pub mod latency;
pub mod trace;
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
pub mod signals;
pub mod processes;
pub mod watches;
pub mod bundles;
pub mod interface_queue;
pub mod threads;
pub mod names;
pub mod resolver;
pub mod notifier;
pub mod channel;
pub mod workers;

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

/// Threads for work that would hold a context up.
pub struct aio_thread_pool {
    _private: (),
}

/// A count of signals that an operation waits for.
pub struct aio_notifier {
    _private: (),
}

/// A bounded queue of records, from any thread to an operation.
pub struct aio_channel {
    _private: (),
}

/// Threads with a context each.
pub struct aio_workers {
    _private: (),
}

/// Names an operation: positive. Negative: a status, and nothing was submitted.
pub type aio_op_id = i64;

/// Called with the operation's result; see the manual, paragraph 3.
pub type aio_callback = Option<unsafe extern "C-unwind" fn(*mut c_void, i32, u32)>;

/// A function posted to a context.
pub type aio_post_fn = Option<unsafe extern "C-unwind" fn(*mut c_void)>;

/// A function whose return is a result; see aio_submit_work and aio_submit_poll_until.
pub type aio_work_fn = Option<unsafe extern "C-unwind" fn(*mut c_void) -> i32>;

/// Receives the engine's few messages.
pub type aio_log_fn =
    Option<unsafe extern "C-unwind" fn(*mut c_void, i32, *const std::ffi::c_char)>;

/// A function of a worker: its context, and its number.
pub type aio_worker_fn = Option<unsafe extern "C-unwind" fn(*mut c_void, *mut aio_ctx, u32) -> i32>;

/// Takes a descriptor on a context's thread.
pub type aio_take_fn =
    Option<unsafe extern "C-unwind" fn(*mut c_void, *mut aio_ctx, std::ffi::c_int)>;

/// Told of what a context does; see aio_ctx_set_trace.
pub type aio_trace_fn =
    Option<unsafe extern "C-unwind" fn(*mut c_void, *mut aio_ctx, *const trace::aio_trace_event)>;

/// Runs a body that ends in `Result<value, Refusal>` with the handle behind a C pointer. NULL is
/// -EINVAL; a panic poisons the context and is AIO_EPANIC.
macro_rules! guard {
    ($ctx:expr, $handle:ident => $body:block) => {
        $crate::ffi::guard!(@ $ctx, $handle, $body, |refusal| {
            $crate::ffi::refused_in($handle, $crate::ffi::path_of(|| ()), refusal)
        })
    };
    // The log is not told: for what is called once per message, and has hardly an argument.
    ($ctx:expr, $handle:ident, quietly => $body:block) => {
        $crate::ffi::guard!(@ $ctx, $handle, $body, |refusal| { $crate::ffi::status::of(refusal) })
    };
    ($ctx:expr, $handle:ident, $name:expr => $body:block) => {
        $crate::ffi::guard!(@ $ctx, $handle, $body, |refusal| {
            $crate::ffi::refused($handle, $name, refusal)
        })
    };
    (@ $ctx:expr, $handle:ident, $body:block, |$refusal:ident| $refused:block) => {{
        let pointer = $ctx.cast::<$crate::engine::handle::Handle>();
        // SAFETY: NULL is sorted out; anything else is a live context by the ABI's contract.
        match unsafe { pointer.as_ref() } {
            None => $crate::sys::errno::Errno::EINVAL.status().into(),
            Some($handle) => {
                let body = || -> Result<_, $crate::engine::Refusal> { $body };
                match $crate::ffi::shielded($handle, body) {
                    Ok(Ok(value)) => value,
                    Ok(Err($refusal)) => $refused.into(),
                    Err(status) => status.into(),
                }
            }
        }
    }};
}
pub(crate) use guard;

/// Begins what belongs to an optional service: -EOPNOTSUPP in a library that was built without it.
/// The rest of the function, and all that it alone leads to, is then not in the library.
macro_rules! optional {
    ($feature:literal) => {
        if !cfg!(feature = $feature) {
            return Err($crate::sys::errno::Errno::EOPNOTSUPP.into());
        }
    };
}
pub(crate) use optional;

/// The one panic boundary: a panic in `body` poisons the context.
#[inline(always)]
fn shielded<T>(handle: &Handle, body: impl FnOnce() -> T) -> Result<T, i32> {
    let body = std::panic::AssertUnwindSafe(body);
    std::panic::catch_unwind(body).map_err(|_| poisoned(handle))
}

/// The path of the function that a closure was written in, and what is behind it.
#[inline(always)]
fn path_of<F>(_: F) -> &'static str {
    std::any::type_name::<F>()
}

/// As `refused`; the call is named by a path that `path_of` gives.
#[cold]
#[inline(never)]
fn refused_in(handle: &Handle, path: &'static str, refusal: Refusal) -> i32 {
    let name = path.rsplit("::").find(|part| !part.starts_with("{{")).unwrap_or(path);
    refused(handle, name, refusal)
}

/// The status of a refused call, of which the log may be told.
#[cold]
#[inline(never)]
fn refused(handle: &Handle, name: &str, refusal: Refusal) -> i32 {
    if let Refusal::Kernel(errno) = refusal {
        handle.log_refused_call(name, errno);
    }
    status::of(refusal)
}

/// Runs the body of a function that concerns no context.
fn alone(body: impl FnOnce() -> Result<i32, Refusal>) -> i32 {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(refusal)) => status::of(refusal),
        Err(_) => status::AIO_EPANIC,
    }
}

/// What becomes of a context whose engine has panicked.
#[cold]
fn poisoned(handle: &Handle) -> i32 {
    handle.poison();
    status::of(Refusal::Panicked)
}
