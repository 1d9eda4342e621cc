//! Options of sockets, and what waits in their queues.

use crate::ffi::submit::{aio_submit_options, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::options::{SocketOption, SocketQueue};
use crate::sys::errno::Errno;
use crate::sys::message::socklen_t;
use std::ffi::{c_int, c_void};

/// Longest value that is copied.
const OPTION_MAX: socklen_t = 65_536;

/// Sets a socket option; completes with 0.
///
/// `optval`: copied; `optlen` bytes, at most 65,536; may be NULL with 0. What it points to belongs
/// to the engine until the last callback.
/// Context thread.
/// Errors: -EINVAL, `optval` is NULL or `optlen` too large; those of setsockopt(2).
/// Kernel: any: a plain call inside the submit, before what is submitted and not yet handed over;
/// only the callback comes later. In a chain, behind a barrier, with AIO_SUBMIT_ASYNC or
/// AIO_SUBMIT_FIXED_FILE the ring's form: 6.7 (before, -EOPNOTSUPP), which on many kernels refuses
/// unix sockets with -EOPNOTSUPP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_setsockopt(
    ctx: *mut aio_ctx, fd: c_int, level: c_int, optname: c_int, optval: *const c_void,
    optlen: socklen_t, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                arguments::buffer(optval, optlen as usize)?;
                if optlen > OPTION_MAX {
                    return Err(Errno::EINVAL);
                }
                let value = optval.cast_mut();
                Ok(SocketOption::<true> { fd, level, name: optname, value, len: optlen })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Reads a socket option; the result is the length of its value.
///
/// `optval`: `optlen` bytes, the engine's until the last callback.
/// Context thread.
/// Errors: -EINVAL, `optval` is NULL; those of getsockopt(2).
/// Kernel: as for aio_submit_setsockopt; the ring's form knows the level SOL_SOCKET alone, and says
/// -EOPNOTSUPP to others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_getsockopt(
    ctx: *mut aio_ctx, fd: c_int, level: c_int, optname: c_int, optval: *mut c_void,
    optlen: socklen_t, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let value = arguments::output(optval)?;
                Ok(SocketOption::<false> { fd, level, name: optname, value, len: optlen })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Asks how many bytes of a socket wait to be received; the result is the number.
///
/// Context thread.
/// Errors: -EBADF; -ENOTSOCK; those of the ioctl SIOCINQ, such as -EINVAL of a listening socket.
/// Kernel: as for aio_submit_setsockopt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_socket_inq(
    ctx: *mut aio_ctx, fd: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(ctx, move || Ok(SocketQueue { fd, outgoing: false }), options, callback, user_data)
    }
}

/// Asks how many bytes of a socket its peer has not taken; the result is the number.
///
/// Context thread.
/// Errors: as for aio_submit_socket_inq.
/// Kernel: as for aio_submit_setsockopt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_socket_outq(
    ctx: *mut aio_ctx, fd: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(ctx, move || Ok(SocketQueue { fd, outgoing: true }), options, callback, user_data)
    }
}
