//! Futexes: words of memory that threads, also of other processes, wait on and wake. Linux 6.7; the
//! epoll backend does the same with futex(2).

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
/// `futex`: must stay until the last callback. `mask`: of bits that a wake must share; not 0.
/// `flags`: FUTEX2_SIZE_U32, and FUTEX2_PRIVATE.
/// Context thread.
/// Errors: -EINVAL, `futex` is NULL, other flags or an empty mask; -EAGAIN, the word has another value.
/// Kernel: 6.7; before, -EOPNOTSUPP on a ring.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_wait(
    ctx: *mut aio_ctx, futex: *mut u32, value: u64, mask: u64, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            || {
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
/// `count`: at most so many. `mask`, `flags`: as for aio_submit_futex_wait.
/// Context thread.
/// Errors: -EINVAL, `futex` is NULL, other flags or an empty mask; those of futex(2).
/// Kernel: 6.7; before, a plain call inside the submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_wake(
    ctx: *mut aio_ctx, futex: *mut u32, count: u64, mask: u64, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            || {
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
/// Errors: -EINVAL, `futexes` is NULL or `count` out of range, other flags; -EAGAIN, one of
/// the words has another value.
/// Kernel: 6.7; before, -EOPNOTSUPP on a ring.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_futex_waitv(
    ctx: *mut aio_ctx, futexes: *const futex_waitv, count: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            || {
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
