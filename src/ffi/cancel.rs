//! Asking operations to end.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::mailbox::Message;
use crate::ffi::{aio_ctx, aio_op_id, guard};
use crate::sys::errno::Errno;
use std::ffi::c_int;

/// Asks an operation to end; its callback comes later, with -ECANCELED or the result that was
/// faster.
///
/// Any thread. From another thread the request is posted, and 0 means no more than that.
/// Errors, on the context's thread: -ENOENT, no such operation is in flight; -EALREADY, it was
/// asked before, or has completed and its callback is due.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    // SAFETY: NULL or a live context.
    if let Some(handle) = unsafe { ctx.cast::<Handle>().as_ref() }
        && let Some(engine) = handle.enter_open()
        && engine.cancel_timer_at_once(id as u64)
    {
        return 0;
    }
    // SAFETY: passed on.
    unsafe { cancel(ctx, id) }
}

/// The same for what is no timer, or from another thread.
///
/// # Safety
/// As `aio_ctx_cancel`.
#[inline(never)]
unsafe extern "C" fn cancel(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        match handle.enter_used() {
            Ok(engine) => engine.cancel(id as u64)?,
            Err(Refusal::WrongThread) => handle.send(Message::Cancel(id as u64))?,
            Err(refusal) => return Err(refusal),
        }
        Ok(0)
    })
}

/// For aio_ctx_cancel_fd: `fd` is a slot of the context's table.
pub const AIO_CANCEL_FIXED_FILE: u32 = 1;

/// Asks every operation on a descriptor number to end; returns how many were asked.
///
/// `flags`: 0 or AIO_CANCEL_FIXED_FILE. Context thread.
/// Errors: -EINVAL, a negative descriptor or unknown flags.
/// Surprise: it acts on the number in this context; operations through a dup of it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_fd(ctx: *mut aio_ctx, fd: c_int, flags: u32) -> i32 {
    guard!(ctx, handle => {
        if fd < 0 || flags & !AIO_CANCEL_FIXED_FILE != 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok(handle.enter_while_destroying()?.cancel_fd(fd, flags != 0))
    })
}

/// Asks every operation to end; returns how many were asked.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_all(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => { Ok(handle.enter_while_destroying()?.cancel_all()) })
}

/// Asks every operation that was submitted with this `group` to end; returns how many were asked.
///
/// Context thread. Takes time in proportion to what is in flight.
/// Errors: -EINVAL, group 0, which means none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_group(ctx: *mut aio_ctx, group: u64) -> i32 {
    guard!(ctx, handle => {
        if group == 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok(handle.enter_while_destroying()?.cancel_group(group))
    })
}

/// Cancels an operation and waits for it alone; its callback does not run, and its memory is the
/// caller's again. For owners of memory that is going away.
///
/// Context thread, also inside callbacks. What others complete meanwhile is delivered later.
/// Errors: -ENOENT, no such operation is in flight: it has completed, or its callback is running.
/// Surprise: waits as long as the kernel does; a disk transfer that is running cannot be stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_wait(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        handle.enter_while_destroying()?.cancel_wait(&handle.mailbox, id as u64).map(|()| 0)
    })
}

/// Cancels an operation whose callback must never run; a descriptor that it still brings is closed.
///
/// Context thread, also inside callbacks.
/// Errors: -ENOENT; -EBUSY, it uses memory of the caller's: see aio_ctx_cancel_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_detach(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        handle.enter_while_destroying()?.detach(id as u64)?;
        Ok(0)
    })
}
