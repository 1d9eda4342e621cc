//! Names and what belongs to them. Paths and names are copied; outputs and values belong to the
//! engine until the last callback.

use crate::ffi::submit::{aio_submit_options, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::path;
use crate::sys::errno::Errno;
use crate::sys::message::statx;
use std::ffi::{CStr, c_char, c_int, c_void};

/// Longest value of an extended attribute (XATTR_SIZE_MAX).
const VALUE_MAX: usize = 65_536;

/// Longest name of an extended attribute (XATTR_NAME_MAX).
const NAME_MAX: usize = 255;

/// # Safety
/// As `arguments::path`.
unsafe fn attribute_name<'a>(name: *const c_char) -> Result<&'a CStr, Errno> {
    // SAFETY: passed on.
    match unsafe { arguments::path(name) } {
        Ok(name) if name.is_empty() || name.count_bytes() > NAME_MAX => Err(Errno::ERANGE),
        Err(Errno::ENAMETOOLONG) => Err(Errno::ERANGE),
        checked => checked,
    }
}

/// The size of a value to set.
fn given_size(value: *const c_void, size: usize) -> Result<u32, Errno> {
    arguments::buffer(value, size)?;
    if size > VALUE_MAX { Err(Errno::E2BIG) } else { Ok(size as u32) }
}

/// The room for a value: what is more than a value can need is left alone.
fn room(value: *const c_void, size: usize) -> Result<u32, Errno> {
    arguments::buffer(value, size)?;
    Ok(size.min(VALUE_MAX) as u32)
}

/// Reads a file's attributes; completes with 0.
///
/// `path`: copied; may be empty with AT_EMPTY_PATH. `statx_out`: the engine's until the last
/// callback.
/// Context thread.
/// Errors: -EINVAL, `path` or `statx_out` is NULL, AIO_SUBMIT_FIXED_FILE (of what is in a slot the
/// attributes are its path's, or those of what aio_files_install gives); -ENAMETOOLONG; those of
/// statx(2).
/// Kernel: 5.6.
/// Surprise: always runs on a kernel worker: for a name in the cache the plain call is faster.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_statx(
    ctx: *mut aio_ctx, dirfd: c_int, path: *const c_char, flags: c_int, mask: u32,
    statx_out: *mut statx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (path, out) = (arguments::path(path)?, arguments::output(statx_out)?.cast());
                Ok(path::Statx { dirfd, path, flags, mask, out })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Removes a name; completes with 0.
///
/// `path`: copied. `flags`: 0 or AT_REMOVEDIR.
/// Context thread.
/// Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; those of unlinkat(2).
/// Kernel: 5.11.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_unlinkat(
    ctx: *mut aio_ctx, dirfd: c_int, path: *const c_char, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(path::UnlinkAt { dirfd, path: arguments::path(path)?, flags }),
            options,
            callback,
            user_data,
        )
    }
}

/// Makes a directory; completes with 0.
///
/// `path`: copied.
/// Context thread.
/// Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; those of mkdirat(2).
/// Kernel: 5.15.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_mkdirat(
    ctx: *mut aio_ctx, dirfd: c_int, path: *const c_char, mode: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(path::MkdirAt { dirfd, path: arguments::path(path)?, mode }),
            options,
            callback,
            user_data,
        )
    }
}

/// Renames a file; completes with 0.
///
/// `old_path`, `new_path`: copied. `flags`: RENAME_NOREPLACE and so on.
/// Context thread.
/// Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of renameat2(2).
/// Kernel: 5.11.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_renameat(
    ctx: *mut aio_ctx, old_dirfd: c_int, old_path: *const c_char, new_dirfd: c_int,
    new_path: *const c_char, flags: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (old_path, new_path) = (arguments::path(old_path)?, arguments::path(new_path)?);
                Ok(path::RenameAt { old_dirfd, old_path, new_dirfd, new_path, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Gives a file another name; completes with 0.
///
/// `old_path`, `new_path`: copied. `flags`: 0, AT_SYMLINK_FOLLOW or AT_EMPTY_PATH.
/// Context thread.
/// Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of linkat(2).
/// Kernel: 5.15.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_linkat(
    ctx: *mut aio_ctx, old_dirfd: c_int, old_path: *const c_char, new_dirfd: c_int,
    new_path: *const c_char, flags: c_int, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (old_path, new_path) = (arguments::path(old_path)?, arguments::path(new_path)?);
                Ok(path::LinkAt { old_dirfd, old_path, new_dirfd, new_path, flags: flags as u32 })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Makes a symbolic link; completes with 0.
///
/// `target`, `link_path`: copied.
/// Context thread.
/// Errors: -EINVAL, a path is NULL; -ENAMETOOLONG; those of symlinkat(2).
/// Kernel: 5.15.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_symlinkat(
    ctx: *mut aio_ctx, target: *const c_char, new_dirfd: c_int, link_path: *const c_char,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (target, link_path) = (arguments::path(target)?, arguments::path(link_path)?);
                Ok(path::SymlinkAt { target, dirfd: new_dirfd, link_path })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Reads an extended attribute of a path; the result is the value's size.
///
/// `path`, `name`: copied. `value`: `size` bytes, the engine's until the last callback; may be NULL
/// with a size of 0, which asks for the value's size alone.
/// Context thread.
/// Errors: -EINVAL, a NULL; -ENAMETOOLONG, the path's; -ERANGE, `name` empty or longer than 255;
/// those of getxattr(2), of which -ERANGE also says that `size` is too small.
/// Kernel: 5.19.
/// Surprise: follows a symbolic link at the end of `path`, as does aio_submit_setxattr.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_getxattr(
    ctx: *mut aio_ctx, path: *const c_char, name: *const c_char, value: *mut c_void, size: usize,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                Ok(path::PathAttribute::<false>(path::Attribute {
                    fd: 0,
                    path: arguments::path(path)?,
                    name: attribute_name(name)?,
                    size: room(value, size)?,
                    value,
                    flags: 0,
                }))
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Sets an extended attribute of a path; completes with 0.
///
/// `path`, `name`: copied. `value`: `size` bytes, the engine's until the last callback; may be NULL
/// with a size of 0. `flags`: XATTR_CREATE, XATTR_REPLACE or 0.
/// Context thread.
/// Errors: -EINVAL, a NULL; -E2BIG, `size` above 65,536; -ENAMETOOLONG, the path's; -ERANGE, `name`
/// empty or longer than 255; those of setxattr(2).
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_setxattr(
    ctx: *mut aio_ctx, path: *const c_char, name: *const c_char, value: *const c_void, size: usize,
    flags: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                Ok(path::PathAttribute::<true>(path::Attribute {
                    fd: 0,
                    path: arguments::path(path)?,
                    name: attribute_name(name)?,
                    size: given_size(value, size)?,
                    value: value.cast_mut(),
                    flags,
                }))
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Reads an extended attribute of a descriptor; the result is the value's size.
///
/// `name`: copied. `value`: as for aio_submit_getxattr.
/// Context thread.
/// Errors: -EINVAL, a NULL; -ERANGE, `name` empty or longer than 255, or `size` too small; those of
/// fgetxattr(2).
/// Kernel: 5.19; with AIO_SUBMIT_FIXED_FILE 6.13, before -EBADF.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_fgetxattr(
    ctx: *mut aio_ctx, fd: c_int, name: *const c_char, value: *mut c_void, size: usize,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                Ok(path::FileAttribute::<false>(path::Attribute {
                    fd,
                    path: c"",
                    name: attribute_name(name)?,
                    size: room(value, size)?,
                    value,
                    flags: 0,
                }))
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Sets an extended attribute of a descriptor; completes with 0.
///
/// `name`: copied. `value`, `flags`: as for aio_submit_setxattr.
/// Context thread.
/// Errors: -EINVAL, a NULL; -E2BIG, `size` above 65,536; -ERANGE, `name` empty or longer than 255;
/// those of fsetxattr(2).
/// Kernel: 5.19; with AIO_SUBMIT_FIXED_FILE 6.13, before -EBADF.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_fsetxattr(
    ctx: *mut aio_ctx, fd: c_int, name: *const c_char, value: *const c_void, size: usize,
    flags: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                Ok(path::FileAttribute::<true>(path::Attribute {
                    fd,
                    path: c"",
                    name: attribute_name(name)?,
                    size: given_size(value, size)?,
                    value: value.cast_mut(),
                    flags,
                }))
            },
            options,
            callback,
            user_data,
        )
    }
}
