//! Operations without a family.

use crate::ffi::submit::{aio_submit_options, done, frequent, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::misc::{self, Nop};
use crate::sys::errno::Errno;
use crate::sys::message::{EPOLL_CTL_DEL, epoll_event};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

/// Stands for the file's own position where an offset is asked for.
pub const AIO_OFFSET_CURRENT: u64 = u64::MAX;

/// An io_uring submission entry, as <linux/io_uring.h> declares it.
pub struct io_uring_sqe {
    _private: (),
}

/// Does nothing; completes with 0.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_nop(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_nop: ctx, options, callback, user_data;
        => Ok(Nop)
    }
}

/// Submits an entry that the caller filled: any opcode that the running kernel has.
///
/// `sqe`: copied; 64 bytes, 128 in a context with AIO_CTX_SQE128. Its user_data is ignored. What it
/// points to belongs to the engine until the last callback.
/// Context thread.
/// Errors: -EINVAL, `sqe` is NULL or has IOSQE_IO_LINK, _HARDLINK, _DRAIN, _CQE_SKIP_SUCCESS or
/// _BUFFER_SELECT set: order is asked for in `options`, and buffers are taken from an
/// aio_buffer_pool; -EOPNOTSUPP, the kernel does not have the opcode.
/// Surprise: the callback's flags are AIO_CQE_* alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_raw(
    ctx: *mut aio_ctx, sqe: *const io_uring_sqe, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        let engine = handle.enter()?;
        if sqe.is_null() {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: an entry of the context's size.
        let entry = unsafe { arguments::entry(sqe.cast(), engine.granted().sqe_size) };
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(engine.submit_raw(entry, &options, done)? as aio_op_id)
    })
}

/// Adds, changes or removes a descriptor of an epoll set; completes with 0.
///
/// `event`: copied; may be NULL for EPOLL_CTL_DEL.
/// Context thread.
/// Errors: -EINVAL, `event` is NULL and not for EPOLL_CTL_DEL; those of epoll_ctl(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_epoll_ctl(
    ctx: *mut aio_ctx, epfd: c_int, op: c_int, fd: c_int, event: *const epoll_event,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let event = arguments::optional(event);
                if event.is_none() && op != EPOLL_CTL_DEL {
                    return Err(Errno::EINVAL);
                }
                Ok(misc::EpollCtl { epoll_fd: epfd, what: op, fd, event })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Waits for events of an epoll set and takes them; the result is how many, at least 1.
///
/// `events`: room for `maxevents` of them, at least 1; the engine's until the last callback.
/// Context thread.
/// Errors: -EINVAL, `events` is NULL or `maxevents` below 1; those of epoll_wait(2); -EOPNOTSUPP,
/// see Kernel.
/// Kernel: 6.15; a ring of an older one: -EOPNOTSUPP. There, poll the set's descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_epoll_wait(
    ctx: *mut aio_ctx, epfd: c_int, events: *mut epoll_event, maxevents: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let count = u32::try_from(maxevents).map_err(|_| Errno::EINVAL)?;
                if count == 0 {
                    return Err(Errno::EINVAL);
                }
                Ok(misc::EpollWait { epoll_fd: epfd, events: arguments::output(events)?, count })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Makes a pipe, close-on-exec unless AIO_SUBMIT_INHERIT; completes with 0.
///
/// `pipefd`: room for two descriptors, written before the callback: first the end that is read;
/// the engine's until the callback. `flags`: as for pipe2(2). AIO_SUBMIT_QUIET is -EINVAL.
/// Context thread.
/// Errors: -EINVAL, `pipefd` is NULL; those of pipe2(2).
/// Kernel: 6.16; a ring of an older one: a plain call inside the submit, -EOPNOTSUPP in a chain or
/// with a barrier.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_pipe(
    ctx: *mut aio_ctx, pipefd: *mut c_int, flags: c_int, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let pair = NonNull::new(pipefd).ok_or(Errno::EINVAL)?;
                Ok(misc::Pipe { pair, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Waits for a child to change its state; completes with 0.
///
/// `idtype`, `id`, `wait_options`: as for waitid(2). `info`: a siginfo_t, the engine's until the
/// last callback; may be NULL.
/// Context thread.
/// Errors: those of waitid(2); -EOPNOTSUPP, see Kernel.
/// Kernel: 6.7; a ring of an older one: -EOPNOTSUPP. There, poll a pidfd.
/// Surprise: without a ring it keeps a thread of the pool while it waits, whose own children
/// (__WNOTHREAD) are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_waitid(
    ctx: *mut aio_ctx, idtype: c_int, id: u32, info: *mut c_void, wait_options: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(misc::WaitId { id_type: idtype, id, info, options: wait_options }),
            options,
            callback,
            user_data,
        )
    }
}

/// Sends a driver's command to a file: NVMe passthrough, ublk, sockets.
///
/// `cmd`: copied; `cmd_len` bytes, at most 16, in a context with AIO_CTX_SQE128 at most 80; NULL
/// for none. What it points to belongs to the engine until the last callback. The result and its
/// meaning are the driver's; the second half of a 32-byte completion is `extra` of a record.
/// Context thread.
/// Errors: -EINVAL, `cmd` is NULL or `cmd_len` too large; -EOPNOTSUPP, the file takes no commands,
/// or there is no ring and it is not SOCKET_URING_OP_SIOCINQ or _SIOCOUTQ (-ENOTSOCK of other files
/// there); the driver's.
/// Kernel: 5.19; sockets: 6.7.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_uring_cmd(
    ctx: *mut aio_ctx, fd: c_int, cmd_op: u32, cmd: *const c_void, cmd_len: usize,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        let engine = handle.enter()?;
        let room = misc::command_room(engine.granted().sqe_size);
        if cmd_len > room {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's bytes.
        let bytes = unsafe { arguments::bytes(cmd, cmd_len) }?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        let entry = misc::command(fd, cmd_op, bytes);
        Ok(engine.submit_raw(entry, &options, done)? as aio_op_id)
    })
}
