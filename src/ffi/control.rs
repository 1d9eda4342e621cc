//! Control data of messages: what sendmsg is to be told beside the data, and what recvmsg was.

use crate::ffi::arguments;
use crate::sys::control;
use crate::sys::errno::Errno;
use std::ffi::{c_int, c_void};

/// The most descriptors that one message carries (SCM_MAX_FD).
const DESCRIPTORS_MAX: u32 = 253;

/// Appends a control message.
///
/// # Safety
/// `buf` points to `capacity` bytes and `len` to a size, or they are NULL.
unsafe fn put(
    buf: *mut c_void, capacity: usize, len: *mut usize, kind: control::Kind, data: &[u8],
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe {
        let len = len.as_mut().ok_or(Errno::EINVAL)?;
        if capacity != 0 && buf.is_null() {
            return Err(Errno::EINVAL);
        }
        let buf = match capacity {
            0 => &mut [],
            _ => std::slice::from_raw_parts_mut(buf.cast::<u8>(), capacity),
        };
        control::put(buf, len, kind, data)
    }
}

fn status(outcome: Result<(), Errno>) -> i32 {
    outcome.map_or_else(Errno::status, |()| 0)
}

/// Appends to control data that a UDP message is to be cut into datagrams of `segment_size` bytes
/// each, the last may be shorter (UDP_SEGMENT): one call sends many.
///
/// `control`: `capacity` bytes, of any alignment, of which `*len` are used; `*len` grows, and is
/// msg_controllen in the end. A message takes CMSG_SPACE(sizeof(uint16_t)) bytes.
/// Any thread.
/// Errors: -EINVAL, NULL, or `segment_size` is 0 or above 65,535; -ENOBUFS, no room.
/// Kernel: 4.18. The result of the send is all bytes; a message has at most 128 datagrams (64
/// before Linux 6.9), and 65,507 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_control_put_segment_size(
    control: *mut c_void, capacity: usize, len: *mut usize, segment_size: u32,
) -> i32 {
    let Some(size) = u16::try_from(segment_size).ok().filter(|&size| size != 0) else {
        return Errno::EINVAL.status();
    };
    let kind = control::SEGMENT_SIZE_OUT;
    // SAFETY: the caller's buffer.
    status(unsafe { put(control, capacity, len, kind, &size.to_ne_bytes()) })
}

/// Appends descriptors that a message over a unix socket passes to its receiver (SCM_RIGHTS). They
/// stay yours.
///
/// `control`, `capacity`, `len`: as for aio_control_put_segment_size; CMSG_SPACE(count *
/// sizeof(int)) bytes. `fds`: `count` of them, 1 to 253. One such call per message.
/// Any thread.
/// Errors: -EINVAL, NULL, or a bad `count`; -ENOBUFS, no room.
/// Surprise: on a stream, descriptors without at least one byte of data are not sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_control_put_descriptors(
    control: *mut c_void, capacity: usize, len: *mut usize, fds: *const c_int, count: u32,
) -> i32 {
    if count == 0 || count > DESCRIPTORS_MAX {
        return Errno::EINVAL.status();
    }
    // SAFETY: the caller's arrays.
    unsafe {
        let put_all = || {
            let fds = arguments::array(fds, count as usize)?;
            let bytes: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
            put(control, capacity, len, control::DESCRIPTORS, &bytes)
        };
        status(put_all())
    }
}

/// # Safety
/// `buf` points to `len` bytes, or is NULL.
unsafe fn received<'a>(buf: *const c_void, len: usize) -> Result<&'a [u8], Errno> {
    // SAFETY: passed on.
    unsafe { arguments::bytes(buf, len) }
}

/// Into datagrams of which size the data of a received message is to be cut: the socket has UDP_GRO
/// set, and the kernel has put several into one message, the last may be shorter. The message is
/// one datagram if there is no such size.
///
/// `control`: msg_control, of `len` (msg_controllen) bytes as the receive left them.
/// Any thread.
/// Returns the size in bytes.
/// Errors: -ENOENT, there is none; -EINVAL, `control` is NULL and `len` is not 0.
/// Kernel: 5.0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_control_get_segment_size(control: *const c_void, len: usize) -> i32 {
    // SAFETY: the caller's buffer.
    let found = unsafe { received(control, len) }
        .and_then(|bytes| control::segment_size(bytes).ok_or(Errno::ENOENT));
    found.unwrap_or_else(Errno::status)
}

/// When a message was received: the socket has SO_TIMESTAMPNS, SO_TIMESTAMP or SO_TIMESTAMPING set;
/// the hardware's time where there is one.
///
/// `control`, `len`: as for aio_control_get_segment_size. `time_ns_out`: nanoseconds since 1970.
/// Any thread.
/// Errors: -ENOENT, there is none; -EINVAL, NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_control_get_timestamp(
    control: *const c_void, len: usize, time_ns_out: *mut u64,
) -> i32 {
    if time_ns_out.is_null() {
        return Errno::EINVAL.status();
    }
    // SAFETY: the caller's buffer, and a place for the result.
    unsafe {
        match received(control, len).map(control::timestamp) {
            Ok(Some(time_ns)) => {
                time_ns_out.write(time_ns);
                0
            }
            Ok(None) => Errno::ENOENT.status(),
            Err(errno) => errno.status(),
        }
    }
}

/// The descriptors that a message has passed; they are yours.
///
/// `control`, `len`: as for aio_control_get_segment_size. `fds_out`: room for `capacity`; NULL with
/// 0 asks for the number alone.
/// Any thread.
/// Returns how many there are, of which the first `capacity` are written.
/// Errors: -EINVAL, NULL.
/// Surprise: what does not fit is open all the same: ask again with more room, or close it there.
/// If msg_flags has MSG_CTRUNC the kernel had no room for all, and has closed the others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_control_get_descriptors(
    control: *const c_void, len: usize, fds_out: *mut c_int, capacity: u32,
) -> i32 {
    if fds_out.is_null() && capacity != 0 {
        return Errno::EINVAL.status();
    }
    // SAFETY: the caller's buffer, and room for `capacity` numbers.
    unsafe {
        let bytes = match received(control, len) {
            Ok(bytes) => bytes,
            Err(errno) => return errno.status(),
        };
        let mut count = 0;
        for fd in control::descriptors(bytes) {
            if count < capacity {
                fds_out.add(count as usize).write(fd);
            }
            count += 1;
        }
        count as i32
    }
}
