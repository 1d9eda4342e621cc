//! Futexes: words of memory that threads, also of other processes, wait on and wake.

use crate::ffi::submit::{aio_submit_options, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::futex;
use crate::sys::errno::Errno;
use crate::sys::message::futex_waitv;
use std::ffi::c_void;

/// Most words of aio_submit_futex_waitv.
const FUTEXES_MAX: u32 = 128;

/// Waits while a word has a value; completes with 0 when it was woken.
///
/// `futex`: must stay until the last callback. `mask`: a wake must share a bit of it; not 0.
/// `flags`: FUTEX2_SIZE_U32, with FUTEX2_PRIVATE where only this process waits and wakes.
/// Context thread.
/// Errors: -EINVAL, `futex` is NULL or not aligned, another flag, an empty mask, a value of more
/// than 32 bits; -EAGAIN, the word has another value; -EFAULT; -EOPNOTSUPP, see Kernel.
/// Kernel: 6.7; a ring of an older one: -EOPNOTSUPP.
/// Surprise: without a ring it keeps a thread of the pool (64 at most) while it waits. One that is
/// cancelled, or meets its deadline, does not break its chain on a ring (6.18): the next one runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_wait(
    ctx: *mut aio_ctx, futex: *mut u32, value: u64, mask: u64, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let word = arguments::output(futex)?;
                Ok(futex::FutexWait(futex::Futex { word, value, mask, flags }))
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Wakes those who wait on a word; the result is how many.
///
/// `futex`: must stay until the last callback. `count`: at most so many. `mask`: of those waiters
/// that share a bit of it; not 0. `flags`: as for aio_submit_futex_wait.
/// Context thread.
/// Errors: -EINVAL, `futex` is NULL or not aligned, another flag, an empty mask; -EFAULT.
/// Kernel: 6.7; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
/// with a barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_wake(
    ctx: *mut aio_ctx, futex: *mut u32, count: u64, mask: u64, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let word = arguments::output(futex)?;
                Ok(futex::FutexWake(futex::Futex { word, value: count, mask, flags }))
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Waits on several words; the result is the index of one that was woken.
///
/// `futexes`: copied; `count` of them, 1 to 128. The words must stay until the last callback.
/// Context thread.
/// Errors: -EINVAL, `futexes` is NULL or `count` out of range, another flag, a word that is not
/// aligned; -EAGAIN, one of the words has another value; -EFAULT; -EOPNOTSUPP, see Kernel.
/// Kernel: 6.7; a ring of an older one: -EOPNOTSUPP. Without a ring 5.16, and before -EOPNOTSUPP.
/// Surprise: as for aio_submit_futex_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_waitv(
    ctx: *mut aio_ctx, futexes: *const futex_waitv, count: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                if count == 0 || count > FUTEXES_MAX {
                    return Err(Errno::EINVAL);
                }
                Ok(futex::FutexWaitv { futexes: arguments::array(futexes, count as usize)? })
            },
            options,
            callback,
            user_data,
        )
    }
}
