//! Space and memory: lengths, allocation, ranges written back, advice.

use crate::ffi::submit::{aio_submit_options, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id};
use crate::op::space;
use crate::sys::errno::Errno;
use std::ffi::{c_int, c_void};

/// The kernel reads offsets and lengths as signed numbers.
fn signed(values: &[u64]) -> Result<(), Errno> {
    let fits = values.iter().all(|&value| value <= i64::MAX as u64);
    if fits { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Sets a file's length; completes with 0.
///
/// `length`: bytes, at most INT64_MAX.
/// Context thread.
/// Errors: -EINVAL, too long; those of ftruncate(2).
/// Kernel: 6.9; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
/// with a barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_ftruncate(
    ctx: *mut aio_ctx, fd: c_int, length: u64, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                signed(&[length])?;
                Ok(space::Ftruncate { fd, length })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Allocates, frees or changes space of a file; completes with 0.
///
/// `mode`: FALLOC_FL_* or 0. `offset`, `len`: bytes, at most INT64_MAX.
/// Context thread.
/// Errors: -EINVAL, too large; those of fallocate(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_fallocate(
    ctx: *mut aio_ctx, fd: c_int, mode: c_int, offset: u64, len: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                signed(&[offset, len])?;
                Ok(space::Fallocate { fd, mode, offset, len })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Writes a range of a file's cached pages back; completes with 0.
///
/// `nbytes`: at most 4,294,967,295; 0: to the end. `flags`: SYNC_FILE_RANGE_*.
/// Context thread.
/// Errors: -EINVAL, `offset` or `nbytes` too large; those of sync_file_range(2).
/// Kernel: 5.2.
/// Surprise: neither metadata nor the device's cache is flushed; see the man page.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_sync_file_range(
    ctx: *mut aio_ctx, fd: c_int, offset: u64, nbytes: u64, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                signed(&[offset])?;
                let len = u32::try_from(nbytes).map_err(|_| Errno::EINVAL)?;
                Ok(space::SyncFileRange { fd, offset, len, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Says how a range of a file will be used; completes with 0.
///
/// `offset`, `len`: bytes, at most INT64_MAX; a `len` of 0: to the end. `advice`: POSIX_FADV_*.
/// Context thread.
/// Errors: -EINVAL, too large; those of posix_fadvise(2).
/// Kernel: 5.6; a `len` above 4,294,967,295: 6.11; a ring of an older one: a plain call inside the
/// submit, -EOPNOTSUPP in a chain or with a barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_fadvise(
    ctx: *mut aio_ctx, fd: c_int, offset: u64, len: u64, advice: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                signed(&[offset, len])?;
                Ok(space::Fadvise { fd, offset, len, advice })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Says how a range of memory will be used; completes with 0.
///
/// `addr`: a page's; the range must stay mapped until the last callback. `advice`: MADV_*.
/// Context thread.
/// Errors: those of madvise(2).
/// Kernel: as for aio_submit_fadvise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_madvise(
    ctx: *mut aio_ctx, addr: *mut c_void, len: usize, advice: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(space::Madvise { addr, len: len as u64, advice }),
            options,
            callback,
            user_data,
        )
    }
}
