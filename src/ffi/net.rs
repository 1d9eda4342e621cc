//! Sockets. Sends never raise SIGPIPE, new sockets are close-on-exec; options opt out.

use crate::engine::Done;
use crate::engine::handle::Handle;
use crate::ffi::submit::{aio_submit_options, enter_plainly, frequent, submit};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments};
use crate::op::net;
use crate::sys::errno::Errno;
use crate::sys::message::{msghdr, sockaddr, socklen_t};
use crate::sys::refused::Fault;
use std::ffi::{c_int, c_void};

/// Makes a socket, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
///
/// Arguments as for socket(2).
/// Context thread.
/// Errors: those of socket(2).
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_socket(
    ctx: *mut aio_ctx, domain: c_int, r#type: c_int, protocol: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(net::Socket { domain, kind: r#type, protocol }),
            options,
            callback,
            user_data,
        )
    }
}

/// Binds a socket to an address; completes with 0.
///
/// `addr`: copied, at most 128 bytes.
/// Context thread.
/// Errors: -EINVAL, `addr` is NULL or `addrlen` is 0 or too large; those of bind(2).
/// Kernel: 6.11; before, a plain call inside the submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_bind(
    ctx: *mut aio_ctx, fd: c_int, addr: *const sockaddr, addrlen: socklen_t,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(net::Bind { fd, address: arguments::address(addr, addrlen)? }),
            options,
            callback,
            user_data,
        )
    }
}

/// Makes a socket accept connections; completes with 0.
///
/// Context thread.
/// Errors: those of listen(2).
/// Kernel: 6.11; before, a plain call inside the submit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_listen(
    ctx: *mut aio_ctx, fd: c_int, backlog: c_int, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit(ctx, move || Ok(net::Listen { fd, backlog }), options, callback, user_data) }
}

/// Accepts a connection, close-on-exec unless AIO_SUBMIT_INHERIT; the result is the descriptor.
///
/// `addr`, `addrlen`: outputs, the engine's until the last callback; both NULL if unwanted.
/// `flags`: SOCK_NONBLOCK or 0.
/// Context thread.
/// Errors: -EINVAL, one of `addr` and `addrlen` is NULL; those of accept4(2).
/// Kernel: 5.5.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_accept(
    ctx: *mut aio_ctx, fd: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_accept: ctx, options, callback, user_data;
        fd: c_int, addr: *mut sockaddr, addrlen: *mut socklen_t, flags: c_int =>
        if addr.is_null() != addrlen.is_null() {
            return Err(Errno::invalid(Fault::Pair));
        }
        Ok(net::Accept { fd, addr: addr.cast(), addr_len: addrlen, flags })
    }
}

/// Accepts again and again, a callback with AIO_CQE_MORE for each connection, until cancelled or an
/// error ends it. Connections are close-on-exec.
///
/// `flags`: SOCK_NONBLOCK or 0.
/// Context thread.
/// Errors: those of accept4(2), as the last callback: after -EMFILE submit it again when there is
/// room.
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_accept_multishot(
    ctx: *mut aio_ctx, fd: c_int, flags: c_int, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(ctx, move || Ok(net::AcceptMultishot { fd, flags }), options, callback, user_data)
    }
}

/// Connects a socket; completes with 0.
///
/// `addr`: copied, at most 128 bytes.
/// Context thread.
/// Errors: -EINVAL, `addr` is NULL or `addrlen` is 0 or too large; those of connect(2).
/// Kernel: 5.5.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_connect(
    ctx: *mut aio_ctx, fd: c_int, addr: *const sockaddr, addrlen: socklen_t,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(net::Connect { fd, address: arguments::address(addr, addrlen)? }),
            options,
            callback,
            user_data,
        )
    }
}

/// Sends; the result is the count, which may be short unless `flags` has MSG_WAITALL.
///
/// `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
/// 0x7ffff000 is cut. `flags`: MSG_*.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; those of send(2).
/// Kernel: 5.6; a reply of a context that has nothing else to do may be made by a plain call inside
/// the submit: only the callback comes later.
/// Surprise: on a unix datagram socket one that had to wait for the peer's queue ends with 0, and
/// an empty message is delivered (rings of 6.18): use MSG_DONTWAIT, or aio_submit_write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_send(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers; passed on.
    unsafe {
        if flags == 0 // Others may ask for more than one call.
            && options.is_null()
            && !buf.is_null()
            && enter_plainly(ctx, callback, user_data)
                .is_some_and(|(_, engine, _)| engine.has_nothing_else())
        {
            send_alone(ctx, fd, buf, len, callback, user_data)
        } else {
            send_beside(ctx, fd, buf, len, flags, options, callback, user_data)
        }
    }
}

/// A send where there is nothing else to do: at once, if it may be.
///
/// # Safety
/// As of aio_submit_send, which has found nothing amiss.
#[inline(never)]
unsafe extern "C" fn send_alone(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    let address = callback.map_or(0, |callback| callback as usize);
    let done = Done { callback: address, user_data: user_data as usize };
    // SAFETY: a live context, on its thread, and nothing of it is borrowed.
    let (handle, engine) = unsafe {
        let handle = &*ctx.cast::<Handle>();
        (handle, handle.engine())
    };
    if let Some(id) = engine.send_at_once(&net::Send { fd, buf, len, flags: 0 }, done, handle) {
        return id;
    }
    // SAFETY: passed on.
    unsafe { send_beside(ctx, fd, buf, len, 0, std::ptr::null(), callback, user_data) }
}

/// A send as any other operation.
///
/// # Safety
/// As of aio_submit_send, whose arguments it has, so that it can be jumped to.
#[inline(never)]
unsafe extern "C" fn send_beside(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        send_beside: ctx, options, callback, user_data;
        fd: c_int, buf: *const c_void, len: usize, flags: c_int;
        of(buf, len) =>
        Ok(net::Send { fd, buf, len, flags })
    }
}

/// Receives; the result is the count, 0 at the end of a stream.
///
/// `buf`: `len` bytes, the engine's until the last callback; NULL only with `len` 0. Longer than
/// 0x7ffff000 is cut. `flags`: MSG_*.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; those of recv(2).
/// Kernel: 5.6.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recv(
    ctx: *mut aio_ctx, fd: c_int, buf: *mut c_void, len: usize, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_recv: ctx, options, callback, user_data;
        fd: c_int, buf: *mut c_void, len: usize, flags: c_int;
        of(buf, len) =>
        Ok(net::Recv { fd, buf, len, flags })
    }
}

/// Sends a message; the result is the count.
///
/// `msg`: copied with its address (at most 128 bytes), vectors (1,024) and control data (64 KiB);
/// the data buffers are the engine's until the last callback. `flags`: MSG_*.
/// Context thread.
/// Errors: -EINVAL, `msg` is NULL or a part of it too large; those of sendmsg(2).
/// Kernel: 5.3.
/// Surprise: as for aio_submit_send.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_sendmsg(
    ctx: *mut aio_ctx, fd: c_int, msg: *const msghdr, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || Ok(net::SendMsg { fd, message: arguments::message(msg)?, flags }),
            options,
            callback,
            user_data,
        )
    }
}

/// Receives a message; the result is the count.
///
/// `msg`: its vectors are copied (at most 1,024); the header, address, control and data buffers are
/// the engine's until the last callback, before which msg_namelen, msg_controllen and msg_flags are
/// set.
/// `flags`: MSG_*.
/// Context thread.
/// Errors: -EINVAL, `msg` is NULL or a part of it too large; those of recvmsg(2).
/// Kernel: 5.3.
/// Descriptors that arrive are close-on-exec unless AIO_SUBMIT_INHERIT.
/// Surprise: descriptors that arrive for an operation of aio_ctx_cancel_wait are closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recvmsg(
    ctx: *mut aio_ctx, fd: c_int, msg: *mut msghdr, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (message, out) = arguments::message_out(msg)?;
                Ok(net::RecvMsg { fd, message, out, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Shuts a socket down, wholly or one way; completes with 0. The peer sees it even if another
/// descriptor refers to the socket.
///
/// `how`: SHUT_RD, SHUT_WR, SHUT_RDWR.
/// Context thread.
/// Errors: those of shutdown(2).
/// Kernel: 5.11.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_shutdown(
    ctx: *mut aio_ctx, fd: c_int, how: c_int, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { submit(ctx, move || Ok(net::Shutdown { fd, how }), options, callback, user_data) }
}

/// Receives until all of `len` has come; completes with 0 then, and with an error otherwise.
///
/// For streams. `buf`: the engine's until the last callback. `len`: bytes; no limit. `flags`: 0 or
/// MSG_WAITALL. How much has come, aio_ctx_current_bytes says in either case (a record: `extra`).
/// Deadline and cancellation are those of the whole.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL, another flag, AIO_SUBMIT_HARDLINK, or AIO_SUBMIT_LINK with a
/// `len` above 0x7ffff000; AIO_EEOF, the stream has ended before; those of recv(2).
/// Kernel: 5.6; with AIO_SUBMIT_LINK 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recv_exact(
    ctx: *mut aio_ctx, fd: c_int, buf: *mut c_void, len: usize, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                arguments::buffer(buf, len)?;
                if flags & !net::Exact::<false>::FLAGS != 0 {
                    return Err(Errno::invalid(Fault::OperationFlag));
                }
                Ok(net::Exact::<false> { fd, buf, len, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Sends until all of `len` is sent; completes with 0 then, and with an error otherwise. Another
/// send of the same stream in flight mixes its bytes with these ("Order" in the manual).
///
/// For streams. `buf`, `len`, the count: as for aio_submit_recv_exact. `flags`: MSG_MORE,
/// MSG_DONTROUTE, MSG_NOSIGNAL, MSG_WAITALL.
/// Context thread.
/// Errors: as for aio_submit_recv_exact; those of send(2).
/// Kernel: 5.6; with AIO_SUBMIT_LINK 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_send_all(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                arguments::buffer(buf, len)?;
                if flags & !net::Exact::<true>::FLAGS != 0 {
                    return Err(Errno::invalid(Fault::OperationFlag));
                }
                Ok(net::Exact::<true> { fd, buf: buf.cast_mut(), len, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}
