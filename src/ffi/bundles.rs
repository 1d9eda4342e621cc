//! Pools whose buffers are filled and sent: a queue of outgoing data, sent by one operation after
//! the other.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::leases::Shared;
use crate::ffi::buffers::{aio_buffer_lease, check_lease, context, shared, write_lease};
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_buffer_pool, aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::sys::errno::Errno;
use std::ffi::c_int;

/// Takes an empty buffer of a pool with AIO_BUFFER_POOL_SEND, to be filled: a lease, which
/// aio_buffer_pool_queue ends, or aio_buffer_pool_release when nothing is to be sent.
///
/// `out`: set its `size`.
/// Context thread.
/// Errors: -EINVAL, a pointer is NULL, `size` too small, or the pool is for receives; -ENOBUFS, no
/// buffer is empty: one will be when a bundle has ended; -ENOMEM; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_take(
    pool: *mut aio_buffer_pool, out: *mut aio_buffer_lease,
) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: the caller's structure, or NULL; the pool is not NULL, or the handle would be.
        let pool = unsafe {
            check_lease(out)?;
            shared(pool)?
        };
        let (id, piece) = handle.enter()?.take_empty(pool)?;
        // SAFETY: checked above.
        unsafe { write_lease(out, id, piece) };
        Ok(0)
    })
}

/// Queues the first `len` bytes of a leased buffer to be sent, behind what is queued; the lease
/// ends, and the buffer is the engine's until it was sent.
///
/// `len`: at least 1.
/// Context thread.
/// Errors: -EINVAL, `len` is 0 or more than the buffer has, or the pool is for receives; -ENOENT,
/// it is no lease of this pool's; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_queue(
    pool: *mut aio_buffer_pool, lease: i64, len: usize,
) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        handle.enter()?.queue_filled(pool, lease, len)?;
        // SAFETY: the lease that has just ended.
        unsafe { Shared::forget(pool) };
        Ok(0)
    })
}

/// Gives what is queued back unsent, for instance when its connection has failed; returns how many
/// buffers.
///
/// Context thread.
/// Errors: -EINVAL, `pool` is NULL or for receives; -EBUSY, a bundle is in flight; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_discard(pool: *mut aio_buffer_pool) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        Ok(handle.enter()?.discard_queued(pool)? as i32)
    })
}

/// Sends what is queued in a pool, in order, and what is queued while it goes on: completes with 0
/// when all of it was sent, else with an error. aio_ctx_current_bytes has the count in both cases.
///
/// `pool`: one of this context's with AIO_BUFFER_POOL_SEND. Buffers become empty as they are sent;
/// what was not sent, also of a buffer that was sent in part, stays queued, for the next bundle or
/// aio_buffer_pool_discard: no byte is lost or sent twice.
/// Context thread.
/// Errors: -EINVAL, no such pool, and AIO_SUBMIT_ASYNC, _LINK or _HARDLINK; -EBUSY, a bundle of
/// this pool is in flight: the order of two would be nobody's; -ENOBUFS, nothing is queued; those
/// of send(2).
/// Kernel: 6.10, by bundles; before, and on epoll, as messages of up to 64 buffers.
/// Surprise: for streams. Elsewhere buffers that are sent together are one message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_send_bundle(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut std::ffi::c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        // SAFETY: the ABI's pointer.
        let pool = unsafe { shared(pool) }?;
        let engine = handle.enter()?;
        if !std::ptr::eq(std::ptr::from_ref::<Handle>(handle), pool.handle()) || pool.is_closed() {
            return Err(Refusal::Kernel(Errno::EINVAL));
        }
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(engine.submit_bundle(pool, fd, flags, &options, done)? as aio_op_id)
    })
}
