//! Operations without a family.

use crate::ffi::submit::{aio_submit_options, done, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::misc::Nop;
use crate::sys::errno::Errno;
use std::ffi::c_void;

/// Stands for the file's own position where an offset is asked for.
pub const AIO_OFFSET_CURRENT: u64 = u64::MAX;

/// An io_uring submission entry, as <linux/io_uring.h> declares it.
pub struct io_uring_sqe {
    _private: (),
}

/// Does nothing; completes with 0.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_nop(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit(ctx, || Ok(Nop), options, callback, user_data) }
}

/// Submits an entry that the caller filled: any opcode that the running kernel has.
///
/// `sqe`: copied; 64 bytes, 128 in a context with AIO_CTX_SQE128. Its user_data is ignored. What it
/// points to belongs to the engine until the last callback.
/// Context thread.
/// Errors: -EINVAL, `sqe` is NULL or has IOSQE_IO_LINK, _HARDLINK, _DRAIN or _CQE_SKIP_SUCCESS set:
/// order is asked for in `options`; -EOPNOTSUPP, the kernel does not have the opcode.
/// Surprise: the callback's flags are AIO_CQE_* alone; a provided buffer's id does not get through.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_raw(
    ctx: *mut aio_ctx, sqe: *const io_uring_sqe, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        let engine = handle.enter()?;
        if sqe.is_null() {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: an entry of the context's size.
        let entry = unsafe { arguments::entry(sqe.cast(), engine.granted().sqe_size) };
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(engine.submit_raw(entry, &options, done)? as aio_op_id)
    })
}
