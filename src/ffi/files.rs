//! The context's table of direct descriptors.

use crate::ffi::submit::{aio_submit_options, done, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::files::{self, FilesInstall, FilesUpdate};
use crate::sys::errno::Errno;
use std::ffi::{c_int, c_void};

/// For aio_files_install: the descriptor survives exec.
pub const AIO_FILES_INHERIT: u32 = 1;

/// A table of direct descriptors.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_files_options {
    /// sizeof(aio_files_options)
    pub size: u32,
    /// Slots, at most 1,048,576 and RLIMIT_NOFILE.
    pub count: u32,
    /// The first slot that AIO_SUBMIT_DIRECT with `file_slot` 0 may fill.
    pub alloc_first: u32,
    /// How many those are; 0: all from `alloc_first` on.
    pub alloc_count: u32,
    /// 0
    pub reserved: [u64; 2],
}

/// Makes the context's table of direct descriptors, all of its slots empty.
///
/// What is in it does not count against the process's limit of descriptors, and is known to
/// this context alone: it holds as many connections as its table has slots. They are filled by
/// operations with AIO_SUBMIT_DIRECT and by aio_files_update, used with AIO_SUBMIT_FIXED_FILE, and
/// emptied by aio_submit_close with that flag, which cancels and waits as for any descriptor. An
/// operation keeps the file it began with, whatever becomes of its slot. What is left is closed
/// when the context is destroyed.
/// `options`: `count` at least 1.
/// Context thread.
/// Errors: -EINVAL, the range is not inside the table; -EBUSY, there is a table; -EMFILE, more
/// slots than allowed; -ENOMEM.
/// Kernel: 5.19; a range that is not the whole table: 6.0, before it -EINVAL. Without io_uring each
/// filled slot is a descriptor of the process, and counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_files_register(
    ctx: *mut aio_ctx, options: *const aio_files_options,
) -> i32 {
    guard!(ctx, handle => {
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::sized(options) }?;
        let aio_files_options { count, alloc_first: first, alloc_count, .. } = options;
        if options.reserved != [0; 2] || count == 0 || first >= count {
            return Err(Errno::EINVAL.into());
        }
        let end = match alloc_count {
            0 => count,
            own => first.checked_add(own).filter(|end| *end <= count).ok_or(Errno::EINVAL)?,
        };
        if count > files::SLOTS_MAX {
            return Err(Errno::EMFILE.into());
        }
        handle.enter()?.register_files(count, first..end)?;
        Ok(0)
    })
}

/// Empties the table and gives it up.
///
/// Context thread.
/// Errors: -ENXIO, there is none; -EBUSY, operations in flight use it; -EAGAIN, the kernel is short
/// of memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_files_unregister(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        handle.enter()?.unregister_files()?;
        Ok(0)
    })
}

/// Puts descriptors into slots at once; returns how many slots were dealt with.
///
/// `first`: the first slot. `fds`: `count` descriptors; -1 empties a slot. A descriptor stays
/// yours: the slot has its file, not its number. Fewer than `count`: the one behind them is bad,
/// and its slot empty.
/// Context thread. What was submitted before is handed over first.
/// Errors: -EINVAL, `fds` is NULL, `count` 0, a number below -1, or a slot not in the table;
/// -ENXIO, there is no table; -EBADF, the first descriptor is bad; -EBUSY, a close of one of the
/// slots waits; -EAGAIN, the kernel is short of memory; -EMFILE, without io_uring.
/// Surprise: operations that wait on a slot go on with the file they began with, and keep it open;
/// aio_submit_close ends them. Whole transfers and sendfile look at their slot for each piece.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_files_update(
    ctx: *mut aio_ctx, first: u32, fds: *const i32, count: u32,
) -> i32 {
    guard!(ctx, handle => {
        if count == 0 {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's array.
        let fds = unsafe { arguments::array(fds, count as usize) }?;
        Ok(handle.enter()?.update_files(first, fds)? as i32)
    })
}

/// Makes an ordinary descriptor of a slot's file, close-on-exec, at once; returns it. It is yours;
/// the slot keeps its own.
///
/// `flags`: 0 or AIO_FILES_INHERIT.
/// Context thread. What was submitted before is handed over first.
/// Errors: -EINVAL, unknown flags; -ENXIO, there is no table; -EBADF, the slot is empty or not in
/// it; -EMFILE; -EOPNOTSUPP, the kernel cannot.
/// Kernel: 6.8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_files_install(ctx: *mut aio_ctx, slot: u32, flags: u32) -> i32 {
    guard!(ctx, handle => {
        if flags & !AIO_FILES_INHERIT != 0 {
            return Err(Errno::EINVAL.into());
        }
        handle.enter()?.install_file(slot, flags != 0)
    })
}

/// Puts descriptors into slots; completes with how many slots were dealt with.
///
/// As aio_files_update, but in the order of a chain. `fds`: copied; at most 16,384.
/// Context thread.
/// Errors, at once: as of aio_files_update, and -EINVAL for a `count` above 16,384; in the
/// callback: -EBADF, the first descriptor is bad.
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_files_update(
    ctx: *mut aio_ctx, first: u32, fds: *const i32, count: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        if count == 0 || count > files::UPDATES_MAX {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's array.
        let fds = unsafe { arguments::array(fds, count as usize) }?;
        let engine = handle.enter()?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        engine.check_update(first, fds)?;
        Ok(engine.submit_carefully(&FilesUpdate { first, fds }, &options, done)? as aio_op_id)
    })
}

/// Makes an ordinary descriptor of a slot's file, close-on-exec unless AIO_SUBMIT_INHERIT;
/// completes with it. It is yours; the slot keeps its own.
///
/// Context thread.
/// Errors: -EBADF, the slot is empty or not in the table; -EMFILE.
/// Kernel: 6.8; before, -EOPNOTSUPP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_files_install(
    ctx: *mut aio_ctx, slot: u32, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(ctx, move || Ok(FilesInstall { slot: slot as c_int }), options, callback, user_data)
    }
}
