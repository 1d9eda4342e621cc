//! Watching files and directories.

use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard, optional};
use crate::service::watches::{self, Change};
use crate::sys::errno::Errno;
use std::ffi::{c_char, c_void};

/// What has happened to a watched file or directory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_watch_event {
    pub size: u32,
    /// IN_* of inotify(7).
    pub mask: u32,
    /// The same for the two halves of a renaming; otherwise 0.
    pub cookie: u32,
    /// Of `name`, without its terminator.
    pub name_len: u32,
    /// The entry of a watched directory that it happened to, or empty. Valid until the callback
    /// returns.
    pub name: *const c_char,
}

/// Watches a file or a directory, not what is below that: a callback with AIO_CQE_MORE for each
/// event, until cancelled. The result is the event's mask, IN_* of inotify(7);
/// aio_ctx_current_event tells which entry it is about.
///
/// `path`: copied; relative to the process's directory.
/// `mask`: IN_ACCESS and the like, with IN_ONLYDIR, IN_DONT_FOLLOW and IN_EXCL_UNLINK; the last
/// counts for all watches of this context on the same file.
/// Unasked for come IN_Q_OVERFLOW (events were lost; all watches of the context are told, and must
/// look for themselves) and IN_UNMOUNT. When what is watched is deleted or unmounted the operation
/// ends with the result IN_IGNORED.
/// `extra` of a record: the event's cookie. Names are told in callbacks alone.
/// Context thread.
/// Errors: -EINVAL, `path` is NULL, no event or an unknown bit in `mask`; -ENAMETOOLONG; -ENOENT,
/// -EACCES, -ENOTDIR and others of a path; -ENOSPC, the user's limit of watches
/// (fs.inotify.max_user_watches); -EMFILE, of instances (a context needs one) or of descriptors.
/// -EOPNOTSUPP, the library was built without its feature `watches`. Not for AIO_SUBMIT_QUIET.
/// Surprise: the path is looked up inside the call, or when the barrier opens. A file that is
/// replaced by rename(2), as editors do, is another file: watch its directory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_watch(
    ctx: *mut aio_ctx, path: *const c_char, mask: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        optional!("watches");
        let done = done(callback, user_data)?;
        // SAFETY: the caller's string; sized options or NULL.
        let (path, options) = unsafe {
            (arguments::path(path)?, arguments::submit_options_or_default(options)?)
        };
        Ok(watches::submit(handle, path, mask, &options, done)? as aio_op_id)
    })
}

/// Tells of the event that the running callback of aio_submit_watch is about.
///
/// `out`: set its `size`.
/// Context thread, inside a callback.
/// Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, the callback is about no event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_event(
    ctx: *mut aio_ctx, out: *mut aio_watch_event,
) -> i32 {
    guard!(ctx, handle => {
        optional!("watches");
        arguments::output(out)?;
        let change = handle.enter_used()?.payload::<Change>().ok_or(Errno::ENOENT)?;
        let value = aio_watch_event {
            size: 0,
            mask: change.mask,
            cookie: change.cookie,
            name_len: change.name.count_bytes() as u32,
            name: change.name.as_ptr(),
        };
        // SAFETY: the caller's sized structure.
        unsafe { arguments::write_sized(out, value) }?;
        Ok(0)
    })
}
