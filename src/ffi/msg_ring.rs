//! Messages from one context to another.

use crate::engine::handle::Handle;
use crate::engine::msg_ring::{Content, Kind, Letter};
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::files;
use crate::sys::errno::Errno;
use std::ffi::c_void;

/// # Safety
/// The pointers are as the ABI wants them.
unsafe fn send(
    ctx: *mut aio_ctx, target: *mut aio_ctx, make: impl Fn() -> Result<Content, Errno>,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle, "msg_ring" => {
        let done = done(callback, user_data)?;
        let content = make()?;
        // SAFETY: NULL or a context whose handle is valid.
        let target = unsafe { target.cast::<Handle>().as_ref() }.ok_or(Errno::EINVAL)?;
        let engine = handle.enter()?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(engine.send_message(handle, target, content, &options, done)? as aio_op_id)
    })
}

/// # Safety
/// The pointers are as the ABI wants them.
unsafe fn receive(
    ctx: *mut aio_ctx, kind: Kind, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle, "msg_receive" => {
        let done = done(callback, user_data)?;
        let engine = handle.enter()?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(engine.submit_receive(kind, &options, done)? as aio_op_id)
    })
}

/// Sends two numbers to another context, or to this one; completes with 0 when the target has them.
///
/// `target`: any context, also of another thread, whose handle is valid (alive, or kept by
/// aio_ctx_ref) during the call. `result`, 0 or more, and `data`, any value, are what its
/// aio_submit_msg_receive is told. Messages of one context to another arrive in order, but for
/// those that chains and barriers hold back.
/// Context thread of `ctx`.
/// Errors: -EINVAL, `target` is NULL or `result` negative; AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC,
/// of the target; in the callback: AIO_ECLOSED, the target was destroyed meanwhile; -ENOMEM.
/// Kernel: 6.3, by MSG_RING, when both are rings and the target was adopted; else through the
/// target's mailbox.
/// Surprise: 0 does not say that anybody has received it: what comes while nobody receives waits,
/// and is dropped when the target is destroyed. As any operation it is on its way when the context
/// runs or flushes, not before; aio_ctx_post wakes the target at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_msg_ring(
    ctx: *mut aio_ctx, target: *mut aio_ctx, result: i32, data: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    let make = || {
        if result < 0 { Err(Errno::EINVAL) } else { Ok(Letter { result, data }.into()) }
    };
    // SAFETY: the ABI's pointers.
    unsafe { send(ctx, target, make, options, callback, user_data) }
}

/// Puts the file of a slot into the table of another context; completes with the slot that it has
/// there. The slot of this context keeps its own: to hand a connection over, close it afterwards.
///
/// `target`: as of aio_submit_msg_ring, but not `ctx`. `slot`: of this context's table.
/// `target_slot`: of the target's, plus one, whatever is in it; 0: a free one. The target's
/// aio_submit_msg_receive_fd is told of it.
/// Context thread of `ctx`.
/// Errors: as of aio_submit_msg_ring; -EINVAL, the target is `ctx`, or has no such slot; -EBADF,
/// the slot is empty, or not in the table; of the target: -ENFILE, no slot is free, or there is no
/// table; -ENXIO, the same for a `target_slot`; -EBUSY, a close of that slot waits; -EMFILE,
/// without io_uring.
/// Kernel: 6.0 when both are rings; else a ring that sends needs 6.8 (before: -EOPNOTSUPP).
/// Surprise: no order between files and numbers: wait for the callback of one before sending the
/// other. Cancelling takes back what the target has not got yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_msg_ring_fd(
    ctx: *mut aio_ctx, target: *mut aio_ctx, slot: u32, target_slot: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    let make = || {
        let file_index = if target_slot == 0 { files::ALLOCATE } else { target_slot };
        if target_slot > files::SLOTS_MAX {
            return Err(Errno::EINVAL);
        }
        Ok(Content::File { slot, file_index })
    };
    // SAFETY: the ABI's pointers.
    unsafe { send(ctx, target, make, options, callback, user_data) }
}

/// Receives what other contexts send with aio_submit_msg_ring: for each message a callback with
/// AIO_CQE_MORE and its `result`; aio_ctx_current_bytes (`extra` of a record) is its `data`.
///
/// What comes while nobody receives waits, in order, for the next receive. While one is in flight
/// aio_ctx_run goes on.
/// Context thread.
/// Errors: -EBUSY, there is one; -EINVAL, inside a chain, and flags other than
/// AIO_SUBMIT_TIMEOUT_IDLE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_msg_receive(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { receive(ctx, Kind::Numbers, options, callback, user_data) }
}

/// Receives what other contexts send with aio_submit_msg_ring_fd: for each file a callback with
/// AIO_CQE_MORE and the slot of this context's table that it was put into, which is yours to close.
///
/// Otherwise as aio_submit_msg_receive.
/// Context thread.
/// Errors: also -ENXIO, there is no table.
/// Surprise: a file that was sent has another descriptor as long as the sender's slot is open: the
/// peer of a socket sees the end when both are closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_msg_receive_fd(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { receive(ctx, Kind::File, options, callback, user_data) }
}
