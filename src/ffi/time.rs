//! Timers. They never fire early, and on an idle loop late by at most timer_resolution_ns and the
//! kernel's timer slack.

use crate::engine::Fires;
use crate::ffi::submit::{aio_submit_options, done, enter_plainly};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use std::ffi::c_void;

/// Fires once, with 0.
///
/// `after_ns`: nanoseconds from now. Context thread.
/// Errors: -EINVAL, options that make no sense for a timer: links, barrier, async.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_timer(
    ctx: *mut aio_ctx, after_ns: u64, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    if options.is_null()
        // SAFETY: the ABI's pointers.
        && let Some((handle, engine, done)) = unsafe { enter_plainly(ctx, callback, user_data) }
        && let Some(id) = engine.submit_timer_at_once(after_ns, done, &handle.counts)
    {
        return id;
    }
    // SAFETY: the ABI's pointers.
    unsafe { submit_timer(ctx, Fires::After(after_ns), options, callback, user_data) }
}

/// Fires once, with 0, at a time of CLOCK_MONOTONIC; at once if that has passed.
///
/// `at_ns`: nanoseconds of that clock. Context thread.
/// Errors: as aio_submit_timer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_timer_at(
    ctx: *mut aio_ctx, at_ns: u64, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit_timer(ctx, Fires::At(at_ns), options, callback, user_data) }
}

/// Fires again and again, with AIO_CQE_MORE, until cancelled. The result is the number of periods
/// since the last callback: 1, or more when the context was late.
///
/// `period_ns`: nanoseconds, not 0. The ticks do not drift. Context thread.
/// Errors: -EINVAL, period 0; otherwise as aio_submit_timer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_interval(
    ctx: *mut aio_ctx, period_ns: u64, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit_timer(ctx, Fires::Every(period_ns), options, callback, user_data) }
}

/// # Safety
/// As `submit::submit`.
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Not C's: that ABI does not unwind, and is jumped to.
unsafe extern "C" fn submit_timer(
    ctx: *mut aio_ctx, fires: Fires, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    let name = if let Fires::Every(_) = fires { "interval" } else { "timer" };
    guard!(ctx, handle, name => {
        let done = done(callback, user_data)?;
        let engine = handle.enter()?;
        let id = if options.is_null() {
            engine.submit_timer(fires, done)
        } else {
            // SAFETY: passed on.
            let options = unsafe { arguments::submit_options(options) }?;
            engine.submit_timer_carefully(fires, &options, done)
        };
        Ok(id? as aio_op_id)
    })
}
