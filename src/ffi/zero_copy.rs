//! Sends that leave the data where it is, and say when it is not needed any more.

use crate::ffi::submit::{aio_submit_options, frequent, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::zero_copy::{REPORT_USAGE, SendMsgZc, SendZc};
use crate::sys::errno::Errno;
use crate::sys::message::msghdr;
use std::ffi::{c_int, c_void};

/// For aio_submit_send_zc and aio_submit_sendmsg_zc: the notification says whether the data was
/// copied after all. Linux 6.2.
pub const AIO_SEND_ZC_REPORT_USAGE: u32 = 8;

const _: () = assert!(AIO_SEND_ZC_REPORT_USAGE == REPORT_USAGE as u32);

fn known(zc_flags: u32) -> Result<u16, Errno> {
    if zc_flags & !AIO_SEND_ZC_REPORT_USAGE != 0 { Err(Errno::EINVAL) } else { Ok(zc_flags as u16) }
}

/// Sends without copying: TCP and UDP read `buf` itself until the network has it, and a second
/// callback says when.
///
///   result    flags                      what it means                     `buf` is
///   a count   MORE                       sent; a notification follows      the engine's
///   an error  MORE                       failed; a notification follows    the engine's
///   an error  none, DEADLINE or ABORTED  failed or ended before it began   yours: the last
///   0 or 1    NOTIFY                     nothing reads `buf` any more      yours: the last
///
/// A result with MORE may have DEADLINE or ABORTED too. A NOTIFY of -ECANCELED with ABORTED comes
/// from the destruction of a context without its thread, and says that nobody knows. The
/// notification's result is 0; with AIO_SEND_ZC_REPORT_USAGE it is 1 where the data was copied
/// after all, as it is on loopback. Between the result and the notification the operation is in
/// flight, but cannot be cancelled (-EALREADY), and its deadline is over. Barriers,
/// aio_ctx_cancel_wait and aio_ctx_destroy wait for the notification; chains go on at the result,
/// and aio_submit_close need not wait: the notification may come after the close's own callback.
/// `buf`: `len` bytes, the engine's as the table says; `options->buf_index` may name the registered
/// buffer that it is in. `flags`: MSG_*; with MSG_WAITALL a short send goes on. `zc_flags`:
/// AIO_SEND_ZC_* or 0. Context thread. Errors: -EINVAL, `buf` is NULL, unknown `zc_flags`, or
/// AIO_SUBMIT_QUIET; -EOPNOTSUPP, not a socket that can (unix sockets cannot); -EFAULT, not inside
/// its registered buffer; -ENOMEM, more is locked than RLIMIT_MEMLOCK allows, unless the buffer is
/// registered; those of send(2). Kernel: 6.0. Without io_uring the data is copied, and both
/// callbacks come at once. Surprise: a peer that does not read holds the notification back for as
/// long as the socket lives. After close(2) the system gives up by itself; SO_LINGER of 0 before it
/// makes that at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_send_zc(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, flags: c_int, zc_flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_send_zc: ctx, options, callback, user_data;
        fd: c_int, buf: *const c_void, len: usize, flags: c_int, zc_flags: u32;
        of(buf, len) =>
        Ok(SendZc { fd, buf, len, flags, zc_flags: known(zc_flags)? })
    }
}

/// Sends a message without copying its data; callbacks as of aio_submit_send_zc.
///
/// `msg`: copied with its address (at most 128 bytes), vectors (1,024) and control data (64 KiB);
/// the data buffers are the engine's until the last callback. `options->buf_index` may name the
/// registered buffer that they are all in. `flags`: MSG_*. `zc_flags`: AIO_SEND_ZC_* or 0.
/// Context thread.
/// Errors: -EINVAL, `msg` is NULL or a part of it too large, or a registered buffer before Linux
/// 6.15; otherwise as of aio_submit_send_zc.
/// Kernel: 6.1. Without io_uring the data is copied, and both callbacks come at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_sendmsg_zc(
    ctx: *mut aio_ctx, fd: c_int, msg: *const msghdr, flags: c_int, zc_flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let message = arguments::message(msg)?;
                Ok(SendMsgZc { fd, message, flags, zc_flags: known(zc_flags)? })
            },
            options,
            callback,
            user_data,
        )
    }
}
