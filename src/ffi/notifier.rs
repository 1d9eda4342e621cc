//! Notifiers: any thread signals, an operation waits.

use crate::ffi::status::AIO_ECLOSED;
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_notifier, aio_op_id, arguments, guard};
use crate::service::notifier::{self, Notifier};
use crate::sys::errno::Errno;
use std::ffi::c_void;
use std::sync::Arc;

/// Creates a notifier: a count of signals that an operation on any context waits for.
///
/// `notifier_out`: receives it; destroy it with aio_notifier_destroy.
/// Any thread.
/// Errors: -EINVAL, `notifier_out` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_notifier_create(notifier_out: *mut *mut aio_notifier) -> i32 {
    let Ok(out) = arguments::output(notifier_out) else { return Errno::EINVAL.status() };
    // SAFETY: `out` is not NULL, and the caller's.
    unsafe { out.write(Arc::into_raw(Arc::new(Notifier::new())).cast_mut().cast()) };
    0
}

/// Ends a notifier: what waits is told of the signals that were sent, and then AIO_ECLOSED.
///
/// Gives the creator's reference back: who else uses it must hold one of aio_notifier_ref; their
/// calls then give AIO_ECLOSED.
/// Any thread.
/// Errors: -EINVAL, `notifier` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_notifier_destroy(notifier: *mut aio_notifier) -> i32 {
    // SAFETY: NULL or a live notifier.
    let Some(live) = (unsafe { notifier.cast::<Notifier>().as_ref() }) else {
        return Errno::EINVAL.status();
    };
    live.close();
    // SAFETY: the creator's reference.
    unsafe { aio_notifier_unref(notifier) };
    0
}

/// Keeps the handle valid until aio_notifier_unref, also after aio_notifier_destroy.
///
/// Any thread that holds a reference, or the creator. Returns 0.
/// Errors: -EINVAL, `notifier` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_notifier_ref(notifier: *mut aio_notifier) -> i32 {
    if notifier.is_null() {
        return Errno::EINVAL.status();
    }
    // SAFETY: a live notifier, made by Arc::into_raw.
    unsafe { Arc::increment_strong_count(notifier.cast::<Notifier>()) };
    0
}

/// Gives a reference of aio_notifier_ref back; NULL: nothing.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_notifier_unref(notifier: *mut aio_notifier) {
    if !notifier.is_null() {
        // SAFETY: the caller holds a reference, by contract.
        drop(unsafe { Arc::from_raw(notifier.cast::<Notifier>()) });
    }
}

/// Signals: what waits, or the next that will, is told. Signals of which nobody was told yet are
/// counted and told together. What the caller has written before is seen by who is told.
///
/// Any thread, and signal handlers: it takes no lock and no memory.
/// Errors: -EINVAL, `notifier` is NULL; AIO_ECLOSED.
/// Surprise: a burst wakes the context that waits once; it makes no system call unless that sleeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_notifier_signal(notifier: *mut aio_notifier) -> i32 {
    // SAFETY: NULL or a live notifier.
    match unsafe { notifier.cast::<Notifier>().as_ref() } {
        None => Errno::EINVAL.status(),
        Some(notifier) => {
            if notifier.signal() {
                0
            } else {
                AIO_ECLOSED
            }
        }
    }
}

/// Waits for a signal; the result is how many were sent since somebody was last told of them, at
/// least 1. Signals from before the wait count.
///
/// `notifier`: the operation holds a reference of its own.
/// Context thread; of any context, one operation at a time.
/// Errors: -EINVAL, `notifier` is NULL; -EBUSY, another operation waits for it. In the callback:
/// AIO_ECLOSED, it was destroyed, and everything sent before was told.
/// Kernel: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_notifier_wait(
    ctx: *mut aio_ctx, notifier: *mut aio_notifier, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { wait(ctx, notifier, false, options, callback, user_data) }
}

/// The same again and again: each callback, with AIO_CQE_MORE, tells of the signals since the one
/// before. The last one comes when the operation was cancelled, or the notifier destroyed.
///
/// As aio_submit_notifier_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_notifier_wait_multishot(
    ctx: *mut aio_ctx, notifier: *mut aio_notifier, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { wait(ctx, notifier, true, options, callback, user_data) }
}

/// # Safety
/// The ABI's pointers.
unsafe fn wait(
    ctx: *mut aio_ctx, notifier: *mut aio_notifier, multishot: bool,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle, "notifier_wait" => {
        let done = done(callback, user_data)?;
        // SAFETY: passed on.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        // SAFETY: NULL or a live notifier.
        let notifier = unsafe { arguments::counted::<Notifier>(notifier.cast()) }?;
        Ok(notifier::wait(handle, notifier, multishot, &options, done)? as aio_op_id)
    })
}
