//! Files. Paths, vectors and other small arguments are copied; data buffers belong to the engine
//! until the last callback.

use crate::ffi::misc::AIO_OFFSET_CURRENT;
use crate::ffi::submit::{aio_submit_options, frequent, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::fs;
use crate::sys::errno::Errno;
use crate::sys::message::{iovec, open_how};
use crate::sys::refused::Fault;
use std::ffi::{c_char, c_int, c_void};

/// For aio_submit_fsync: fdatasync(2).
pub const AIO_FSYNC_DATASYNC: u32 = 1;

/// Opens a file, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
///
/// `path`: copied, at most 4,095 bytes. `flags`, `mode`: as for openat(2).
/// Context thread.
/// Errors: -EINVAL, `path` is NULL; -ENAMETOOLONG; and those of openat(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_openat(
    ctx: *mut aio_ctx, dirfd: c_int, path: *const c_char, flags: c_int, mode: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(fs::OpenAt { dirfd, path: arguments::path(path)?, flags, mode }),
            options,
            callback,
            user_data,
        )
    }
}

/// Opens a file as `how` says, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the
/// descriptor.
///
/// `path`, `how`: copied. `size`: sizeof(struct open_how), at least 24, at most 4,096.
/// Context thread.
/// Errors: -EINVAL, `path` or `how` is NULL or `size` too small; -E2BIG, `size` too large, or a
/// field is set that the kernel does not know; -ENAMETOOLONG; those of openat2(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_openat2(
    ctx: *mut aio_ctx, dirfd: c_int, path: *const c_char, how: *const open_how, size: usize,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let how = arguments::extensible(how.cast(), size, size_of::<open_how>())?;
                Ok(fs::OpenAt2 { dirfd, path: arguments::path(path)?, how })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Closes a descriptor. Operations in flight on the number are cancelled first, their last
/// callbacks run, then it closes: the peer of a socket sees the end, unless another descriptor
/// refers to it.
///
/// Context thread.
/// Errors: -EBADF, not open, or a close of the number is under way; those of close(2).
/// Kernel: 5.6.
/// Surprise: as a member of a chain it does not wait for the cancelled operations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_close(
    ctx: *mut aio_ctx, fd: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_close: ctx, options, callback, user_data;
        fd: c_int => Ok(fs::Close { fd })
    }
}

/// Reads; the result is the count, 0 at the end.
///
/// `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
/// 0x7ffff000 is cut. `offset`: AIO_OFFSET_CURRENT is the file's own position.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; those of pread(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_read(
    ctx: *mut aio_ctx, fd: c_int, buf: *mut c_void, len: usize, offset: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_read: ctx, options, callback, user_data;
        fd: c_int, buf: *mut c_void, len: usize, offset: u64;
        of(buf, len) =>
        Ok(fs::Read { fd, buf, len, offset })
    }
}

/// Writes; the result is the count.
///
/// `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
/// 0x7ffff000 is cut. `offset`: AIO_OFFSET_CURRENT is the file's own position.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; those of pwrite(2).
/// Kernel: 5.6.
/// Surprise: to a socket or pipe without a reader it raises SIGPIPE, as write(2) does: send to
/// sockets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_write(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, offset: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_write: ctx, options, callback, user_data;
        fd: c_int, buf: *const c_void, len: usize, offset: u64;
        of(buf, len) =>
        Ok(fs::Write { fd, buf, len, offset })
    }
}

/// As aio_submit_read, into several buffers.
///
/// `iov`: an array of `iovcnt` vectors, at most 1,024, copied; the buffers are the engine's until
/// the last callback. `offset`: AIO_OFFSET_CURRENT is the file's own position. `flags`: RWF_*.
/// Context thread.
/// Errors: -EINVAL, a bad `iov` or `iovcnt`; those of preadv2(2).
/// Kernel: 5.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_readv(
    ctx: *mut aio_ctx, fd: c_int, iov: *const iovec, iovcnt: c_int, offset: u64, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let vectors = arguments::vectors(iov, arguments::count(iovcnt)?)?;
                Ok(fs::Readv { fd, vectors, offset, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// As aio_submit_write, from several buffers.
///
/// `iov`: an array of `iovcnt` vectors, at most 1,024, copied; the buffers are the engine's until
/// the last callback. `offset`: AIO_OFFSET_CURRENT is the file's own position. `flags`: RWF_*.
/// Context thread.
/// Errors: -EINVAL, a bad `iov` or `iovcnt`; those of pwritev2(2).
/// Kernel: 5.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_writev(
    ctx: *mut aio_ctx, fd: c_int, iov: *const iovec, iovcnt: c_int, offset: u64, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let vectors = arguments::vectors(iov, arguments::count(iovcnt)?)?;
                Ok(fs::Writev { fd, vectors, offset, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Flushes a file to its device; completes with 0.
///
/// `flags`: 0 or AIO_FSYNC_DATASYNC.
/// Context thread.
/// Errors: -EINVAL, other flags; those of fsync(2).
/// Kernel: 5.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_fsync(
    ctx: *mut aio_ctx, fd: c_int, flags: u32, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                if flags & !AIO_FSYNC_DATASYNC != 0 {
                    return Err(Errno::invalid(Fault::OperationFlag));
                }
                Ok(fs::Fsync { fd, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Moves data between two descriptors, one of which is a pipe; the result is the count.
///
/// `off_in`, `off_out`: AIO_OFFSET_CURRENT for a pipe and for a file's own position. `len`: longer
/// than 0x7ffff000 is cut. `flags`: SPLICE_F_*.
/// Context thread.
/// Errors: those of splice(2).
/// Kernel: 5.7.
/// Surprise: always runs on a kernel worker. From an idle socket it waits with the pipe locked, and
/// an operation on that pipe then stops the context's thread until the socket has data (6.18): poll
/// the socket first, or use SPLICE_F_NONBLOCK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_splice(
    ctx: *mut aio_ctx, fd_in: c_int, off_in: u64, fd_out: c_int, off_out: u64, len: usize,
    flags: u32, options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(fs::Splice { fd_in, off_in, fd_out, off_out, len, flags }),
            options,
            callback,
            user_data,
        )
    }
}

/// Copies data from one pipe to another without consuming it; the result is the count.
///
/// `len`: longer than 0x7ffff000 is cut. `flags`: SPLICE_F_*.
/// Context thread.
/// Errors: those of tee(2).
/// Kernel: 5.8.
/// Surprise: always runs on a kernel worker.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_tee(
    ctx: *mut aio_ctx, fd_in: c_int, fd_out: c_int, len: usize, flags: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(ctx, move || Ok(fs::Tee { fd_in, fd_out, len, flags }), options, callback, user_data)
    }
}

/// Reads until all of `len` has come; completes with 0 then, and with an error otherwise.
///
/// `buf`: the engine's until the last callback. `len`: bytes; no limit. `offset`: as for
/// aio_submit_read. How much has come, aio_ctx_current_bytes says in either case (a record:
/// `extra`). Deadline and cancellation are those of the whole.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL, or AIO_SUBMIT_LINK or _HARDLINK: in a chain it can only be the
/// last; AIO_EEOF, the end came before; those of read(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_read_exact(
    ctx: *mut aio_ctx, fd: c_int, buf: *mut c_void, len: usize, offset: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                arguments::buffer(buf, len)?;
                Ok(fs::Exact::<false> { fd, buf, len, offset })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Writes until all of `len` is written; completes with 0 then, and with an error otherwise.
///
/// `buf`, `len`, `offset`, the count: as for aio_submit_read_exact.
/// Context thread.
/// Errors: as for aio_submit_read_exact; AIO_EEOF, a write has written nothing; those of write(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_write_all(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, offset: u64,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                arguments::buffer(buf, len)?;
                Ok(fs::Exact::<true> { fd, buf: buf.cast_mut(), len, offset })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Sends a file, or part of it, without copying it to memory of the process; completes with 0 or an
/// error. How much has arrived, aio_ctx_current_bytes says in either case (a record: `extra`): less
/// than `count` with 0 where the file has ended before.
///
/// `offset`: where to begin in `in_fd`, AIO_OFFSET_CURRENT: at its position, which moves. `count`:
/// bytes; no limit. Deadline and cancellation are those of the whole. With AIO_SUBMIT_FIXED_FILE
/// `out_fd` is the slot; `in_fd` never is one (aio_files_install makes a descriptor of a slot).
/// Context thread.
/// Errors: -EINVAL, `offset` above INT64_MAX, or AIO_SUBMIT_LINK or _HARDLINK: in a chain it can
/// only be the last; -EMFILE and -ENFILE, at once: it goes through a pipe; those of splice(2).
/// Kernel: 5.7.
/// Surprise: what is in the page cache is sent, not copied: a later write to the file may change
/// what the peer gets. After an error the position of `in_fd` can be ahead of what has arrived.
/// Without a ring a slow peer keeps a thread of the pool (64 at most).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_sendfile(
    ctx: *mut aio_ctx, out_fd: c_int, in_fd: c_int, offset: u64, count: usize,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                if offset != AIO_OFFSET_CURRENT && offset > i64::MAX as u64 {
                    return Err(Errno::invalid(Fault::OffsetRange));
                }
                Ok(fs::SendFile { out_fd, in_fd, offset, count })
            },
            options,
            callback,
            user_data,
        )
    }
}
