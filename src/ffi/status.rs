//! Status codes: one table of our own, the kernel's as they are; and the version.

use crate::engine::Refusal;
use crate::engine::msg_ring::GONE;
use crate::op::steps::END_OF_FILE;
use crate::sys::{errno, names};
use std::ffi::{CStr, c_char};

/// Not the context's thread.
pub const AIO_EWRONGTHREAD: i32 = -5001;
/// The context is running: not inside one of its own callbacks.
pub const AIO_EREENTRANT: i32 = -5002;
/// Accepted; done when the callback has returned.
pub const AIO_EPENDING: i32 = -5003;
/// The context was destroyed by one of its callbacks.
pub const AIO_EDESTROYED: i32 = -5004;
/// Operations did not end within destroy_grace_ns; their buffers must never be freed.
pub const AIO_ESTUCK: i32 = -5005;
/// The context's thread has ended without destroying it.
pub const AIO_EORPHANED: i32 = -5006;
/// The engine has failed; only destroy works.
pub const AIO_EPANIC: i32 = -5007;
/// A forked child's copy.
pub const AIO_EFORKED: i32 = -5008;
/// What it was for is closed or destroyed, or is being destroyed: a context, workers, a pool, a
/// channel, a notifier.
pub const AIO_ECLOSED: i32 = -5009;
/// A file or stream ended before the whole was transferred.
pub const AIO_EEOF: i32 = -5010;
/// There is no such name.
pub const AIO_ENONAME: i32 = -5020;
/// The name servers cannot be asked or have failed: another time they may tell.
pub const AIO_ENAMEAGAIN: i32 = -5021;
/// The name servers refuse, or have failed for good.
pub const AIO_ENAMEFAIL: i32 = -5022;
/// There is no such service.
pub const AIO_ENOSERVICE: i32 = -5023;

const _: () = assert!(AIO_EEOF == END_OF_FILE && AIO_ECLOSED == GONE);
const _: () = assert!(AIO_ENONAME == names::NO_NAME && AIO_ENAMEAGAIN == names::NAME_AGAIN);
const _: () = assert!(AIO_ENAMEFAIL == names::NAME_FAILED && AIO_ENOSERVICE == names::NO_SERVICE);

/// Value, name, text.
const OWN: [(i32, &CStr, &CStr); 14] = [
    (AIO_EWRONGTHREAD, c"AIO_EWRONGTHREAD", c"the context belongs to another thread"),
    (AIO_EREENTRANT, c"AIO_EREENTRANT", c"the context is running already"),
    (AIO_EPENDING, c"AIO_EPENDING", c"the context is destroyed when the callback has returned"),
    (AIO_EDESTROYED, c"AIO_EDESTROYED", c"the context was destroyed by a callback"),
    (AIO_ESTUCK, c"AIO_ESTUCK", c"operations did not end within the grace period"),
    (AIO_EORPHANED, c"AIO_EORPHANED", c"the context's thread has ended"),
    (AIO_EPANIC, c"AIO_EPANIC", c"the engine has failed"),
    (AIO_EFORKED, c"AIO_EFORKED", c"the context is a forked copy"),
    (AIO_ECLOSED, c"AIO_ECLOSED", c"it is closed already"),
    (AIO_EEOF, c"AIO_EEOF", c"the end came before the whole was transferred"),
    (AIO_ENONAME, c"AIO_ENONAME", c"there is no such name"),
    (AIO_ENAMEAGAIN, c"AIO_ENAMEAGAIN", c"the name servers cannot tell now"),
    (AIO_ENAMEFAIL, c"AIO_ENAMEFAIL", c"the name servers refuse or have failed"),
    (AIO_ENOSERVICE, c"AIO_ENOSERVICE", c"there is no such service"),
];

pub(super) fn of(refusal: Refusal) -> i32 {
    match refusal {
        Refusal::WrongThread => AIO_EWRONGTHREAD,
        Refusal::Reentrant => AIO_EREENTRANT,
        Refusal::Pending => AIO_EPENDING,
        Refusal::Destroyed => AIO_EDESTROYED,
        Refusal::Stuck => AIO_ESTUCK,
        Refusal::Orphaned => AIO_EORPHANED,
        Refusal::Panicked => AIO_EPANIC,
        Refusal::Forked => AIO_EFORKED,
        Refusal::Closed => AIO_ECLOSED,
        Refusal::Kernel(errno) => errno.status(),
    }
}

/// The version of the library that is running: `major << 16 | minor << 8 | patch`.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn aio_version() -> u32 {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | part(env!("CARGO_PKG_VERSION_PATCH"))
}

/// The same as text, `"0.1.0"`; valid for ever.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn aio_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// What a status means, in a few words; never NULL, valid for ever.
///
/// `status`: what a function returned or a callback was given; 0 and more is success.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn aio_strerror(status: i32) -> *const c_char {
    let own = OWN.iter().find(|entry| entry.0 == status).map(|entry| entry.2);
    let text = match status {
        0.. => Some(c"success"),
        _ => own.or_else(|| errno::text(status.wrapping_neg())),
    };
    text.unwrap_or(c"unknown status").as_ptr()
}

/// The name of a status, `"ENOENT"` or `"AIO_ESTUCK"`; `"OK"` for 0 and more. Never NULL, valid for
/// ever.
///
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn aio_error_name(status: i32) -> *const c_char {
    let own = OWN.iter().find(|entry| entry.0 == status).map(|entry| entry.1);
    let name = match status {
        0.. => Some(c"OK"),
        _ => own.or_else(|| errno::name(status.wrapping_neg())),
    };
    name.unwrap_or(c"UNKNOWN").as_ptr()
}
