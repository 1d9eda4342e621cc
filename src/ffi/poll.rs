//! Readiness of descriptors.

use crate::ffi::submit::{aio_submit_options, frequent, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id};
use crate::op::poll::Poll;
use std::ffi::{c_int, c_void};

/// Waits until a descriptor is ready; the result is the events that are there, as in poll(2).
///
/// `events`: POLLIN, POLLOUT and so on; POLLERR and POLLHUP are always waited for.
/// Context thread.
/// Errors: -EBADF.
/// Surprise: a regular file is always ready.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_poll(
    ctx: *mut aio_ctx, fd: c_int, events: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_poll: ctx, options, callback, user_data;
        fd: c_int, events: u32 =>
        Ok(Poll::<false> { fd, events })
    }
}

/// The same again and again, with AIO_CQE_MORE, until cancelled.
///
/// `events`: with EPOLLET a callback for each change, else for each wake-up of the descriptor. On
/// epoll also callbacks that report no change: never one too few, now and then one too many.
/// A file that is always ready, such as a regular one, has one callback, its last.
/// Context thread.
/// Errors: -EBADF.
/// Kernel: 5.13.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_poll_multishot(
    ctx: *mut aio_ctx, fd: c_int, events: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit(ctx, move || Ok(Poll::<true> { fd, events }), options, callback, user_data) }
}
