//! The one file that turns the caller's pointers into references, and C structures into the
//! engine's. Each check here is a documented `-EINVAL`, `-E2BIG` or `-ENAMETOOLONG`.

use crate::engine::{Quick, SubmitOptions, submit_flags};
use crate::ffi::submit::aio_submit_options;
use crate::op::net::Address;
use crate::sys::entry::{Sqe, WideSqe};
use crate::sys::errno::Errno;
use crate::sys::facility::{self, Cpus};
use crate::sys::message::{Message, Outputs, iovec, msghdr, sockaddr};
use crate::sys::refused::Fault;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// Longest path, with its terminator.
const PATH_MAX: usize = 4096;
/// Larger structures are garbage, and their tails are not read.
const SIZE_MAX: usize = 4096;
const VECTORS_MAX: usize = 1024;
/// `sizeof(struct sockaddr_storage)`.
const ADDRESS_MAX: u32 = 128;
const CONTROL_MAX: usize = 64 * 1024;

/// Reads a structure that begins with its own size and has not grown since its first version; what
/// is longer must be zero, or it asks for something this version does not know.
///
/// # Safety
/// `pointer` is NULL or points to as many bytes as its first word says. `T` is plain integers and
/// pointers, so that any bytes are a value.
pub(super) unsafe fn sized<T: Copy>(pointer: *const T) -> Result<T, Errno> {
    // SAFETY: passed on.
    unsafe { sized_since(pointer, size_of::<T>()) }
}

/// The same for a structure whose first version had `first` bytes: what a caller of that time does
/// not know of is zero.
///
/// # Safety
/// As `sized`; zeroes are a value of every field.
pub(super) unsafe fn sized_since<T: Copy>(pointer: *const T, first: usize) -> Result<T, Errno> {
    // SAFETY: the caller's promise; the size word comes first.
    unsafe {
        let size = pointer.cast::<u32>().as_ref().ok_or(Errno::invalid(Fault::NoPointer))?;
        let (size, known) = (*size as usize, size_of::<T>());
        // No version had a size in between.
        if size != first && size < known {
            return Err(Errno::invalid(if size == 0 { Fault::NoSize } else { Fault::WrongSize }));
        }
        if size > SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        let from = pointer.cast::<u8>();
        if size > known {
            let tail = std::slice::from_raw_parts(from.add(known), size - known);
            if tail.iter().any(|&byte| byte != 0) {
                return Err(Errno::E2BIG);
            }
        }
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        std::ptr::copy_nonoverlapping(from, value.as_mut_ptr().cast::<u8>(), size.min(known));
        Ok(value.assume_init())
    }
}

/// Writes as much of `value` as the caller's structure has room for. `value` begins with its size
/// word, which becomes the number of bytes written.
///
/// # Safety
/// `out` is NULL or points to as many writable bytes as its first word says; `T` begins with a u32.
pub(super) unsafe fn write_sized<T: Copy>(out: *mut T, value: T) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe {
        let size = out.cast::<u32>().as_ref().ok_or(Errno::invalid(Fault::NoPointer))?;
        let size = *size as usize;
        if size < size_of::<u32>() {
            return Err(Errno::invalid(Fault::NoSize));
        }
        let count = size.min(size_of::<T>());
        let from = (&raw const value).cast::<u8>();
        std::ptr::copy_nonoverlapping(from, out.cast::<u8>(), count);
        out.cast::<u32>().write(count as u32);
    }
    Ok(())
}

/// A terminated string, cut where there is no room.
pub(super) fn text<const N: usize>(from: &str) -> [c_char; N] {
    let mut out = [0; N];
    for (to, byte) in out[..N - 1].iter_mut().zip(from.bytes()) {
        *to = byte as c_char;
    }
    out
}

/// # Safety
/// As `sized`.
pub(super) unsafe fn submit_options(
    options: *const aio_submit_options,
) -> Result<SubmitOptions, Errno> {
    // SAFETY: passed on.
    let options = unsafe { sized(options) }?;
    if options.flags & !submit_flags::ALL != 0 {
        return Err(Errno::invalid(Fault::UnknownFlag));
    }
    if options.reserved0 != 0 || options.reserved != [0; 2] {
        return Err(Errno::invalid(Fault::Reserved));
    }
    Ok(SubmitOptions {
        flags: options.flags,
        timeout_ns: options.timeout_ns,
        group: options.group,
        file_slot: options.file_slot,
        ioprio: u16::try_from(options.ioprio).map_err(|_| Errno::invalid(Fault::PriorityRange))?,
        buf_index: options.buf_index,
        correlation: options.correlation,
    })
}

/// Options that are defaults but for those of `Quick`.
///
/// # Safety
/// As `sized`.
#[inline(always)]
pub(super) unsafe fn quick_options(options: *const aio_submit_options) -> Option<Quick> {
    // SAFETY: the size comes first, and what has it is all there.
    let options = unsafe {
        let is_known = options.cast::<u32>().read() as usize == size_of::<aio_submit_options>();
        is_known.then(|| options.read_unaligned())?
    };
    let fixed_file = submit_flags::FIXED_FILE;
    let others = u64::from(
        options.flags & !fixed_file
            | options.file_slot
            | options.buf_index
            | options.ioprio
            | options.reserved0,
    ) | options.group
        | options.correlation
        | options.reserved[0]
        | options.reserved[1];
    let is_slot = options.flags & fixed_file != 0;
    (others == 0).then_some(Quick { is_slot, timeout_ns: options.timeout_ns })
}

/// # Safety
/// As `sized`; NULL stands for the defaults.
pub(super) unsafe fn submit_options_or_default(
    options: *const aio_submit_options,
) -> Result<SubmitOptions, Errno> {
    if options.is_null() {
        return Ok(SubmitOptions::default());
    }
    // SAFETY: passed on.
    unsafe { submit_options(options) }
}

/// Another reference to what a handle of the caller's points to.
///
/// # Safety
/// `pointer` is NULL, or came from `Arc::into_raw` and has not been given up.
pub(super) unsafe fn counted<T>(pointer: *const T) -> Result<Arc<T>, Errno> {
    if pointer.is_null() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise.
    unsafe {
        Arc::increment_strong_count(pointer);
        Ok(Arc::from_raw(pointer))
    }
}

/// A submission entry of `size` bytes, 64 or 128.
///
/// # Safety
/// `sqe` points to as many bytes.
pub(super) unsafe fn entry(sqe: *const Sqe, size: u32) -> WideSqe {
    // SAFETY: the caller's entry.
    unsafe {
        let mut entry = WideSqe::from(sqe.read_unaligned());
        if size == 128 {
            entry.tail = sqe.add(1).cast::<[u64; 8]>().read_unaligned();
        }
        entry
    }
}

/// # Safety
/// `path` is NULL or a string that stays as it is during the call.
pub(super) unsafe fn path<'a>(path: *const c_char) -> Result<&'a CStr, Errno> {
    if path.is_null() {
        return Err(Errno::invalid(Fault::NoPointer));
    }
    // SAFETY: not NULL; the caller's string.
    let path = unsafe { CStr::from_ptr(path) };
    if path.to_bytes_with_nul().len() > PATH_MAX { Err(Errno::ENAMETOOLONG) } else { Ok(path) }
}

/// The bytes of a kernel structure that grows from version to version and whose size the caller
/// says: `least` of them at least.
///
/// # Safety
/// `pointer` is NULL or points to `size` bytes that stay as they are during the call.
pub(super) unsafe fn extensible<'a>(
    pointer: *const u8, size: usize, least: usize,
) -> Result<&'a [u8], Errno> {
    if pointer.is_null() || size < least {
        return Err(Errno::EINVAL);
    }
    if size > SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, size) })
}

/// # Safety
/// `pointer` is NULL or points to `count` values that stay as they are during the call.
pub(super) unsafe fn array<'a, T>(pointer: *const T, count: usize) -> Result<&'a [T], Errno> {
    if pointer.is_null() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// # Safety
/// `vectors` points to `count` vectors, or is NULL.
pub(super) unsafe fn vectors<'a>(
    vectors: *const iovec, count: usize,
) -> Result<&'a [iovec], Errno> {
    if count > VECTORS_MAX || (vectors.is_null() && count > 0) {
        return Err(Errno::invalid(Fault::Vectors));
    }
    if count == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, the caller's array.
    Ok(unsafe { std::slice::from_raw_parts(vectors, count) })
}

/// # Safety
/// `pointer` is NULL or a valid value.
pub(super) unsafe fn optional<T: Copy>(pointer: *const T) -> Option<T> {
    // SAFETY: not NULL; C aligns what it likes.
    if pointer.is_null() { None } else { Some(unsafe { pointer.read_unaligned() }) }
}

/// # Safety
/// `pointer` points to `len` bytes that stay as they are during the call, or is NULL.
pub(super) unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> Result<&'a [u8], Errno> {
    buffer(pointer, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), len) })
}

/// A set of processors, as for sched_setaffinity(2).
///
/// # Safety
/// `from` is NULL or points to `size` bytes that stay as they are during the call.
pub(super) unsafe fn cpus(from: *const c_void, size: u32) -> Result<Option<Cpus>, Errno> {
    let size = size as usize;
    if from.is_null() {
        return if size == 0 { Ok(None) } else { Err(Errno::EINVAL) };
    }
    if size == 0 || size > size_of::<Cpus>() {
        return Err(Errno::EINVAL);
    }
    let mut cpus = Cpus::default();
    // SAFETY: the caller's bytes.
    let bytes = unsafe { bytes(from, size) }?;
    for (at, &byte) in bytes.iter().enumerate() {
        cpus[at / 8] |= u64::from(byte) << (at % 8 * 8);
    }
    let is_empty = cpus == Cpus::default();
    if is_empty || !facility::exist(&cpus) { Err(Errno::EINVAL) } else { Ok(Some(cpus)) }
}

/// A negative C count is an error.
pub(super) fn count(count: i32) -> Result<usize, Errno> {
    usize::try_from(count).map_err(|_| Errno::invalid(Fault::Negative))
}

pub(super) fn address(addr: *const sockaddr, len: u32) -> Result<Address, Errno> {
    if addr.is_null() || len == 0 || len > ADDRESS_MAX {
        return Err(Errno::invalid(Fault::Address));
    }
    Ok(Address { addr: addr.cast(), len })
}

/// A transfer's buffer: NULL is allowed only for nothing.
pub(super) fn buffer<T>(buf: *const T, len: usize) -> Result<(), Errno> {
    if buf.is_null() && len != 0 { Err(Errno::invalid(Fault::Buffer)) } else { Ok(()) }
}

/// A place that the engine writes to.
pub(super) fn output<T>(out: *mut T) -> Result<*mut T, Errno> {
    if out.is_null() { Err(Errno::invalid(Fault::NoPointer)) } else { Ok(out) }
}

/// The parts of a message header that is sent.
///
/// # Safety
/// `header` is NULL or a header whose parts are valid.
pub(super) unsafe fn message<'a>(header: *const msghdr) -> Result<Message<'a>, Errno> {
    // SAFETY: the caller's header.
    unsafe {
        let header = header.as_ref().ok_or(Errno::invalid(Fault::NoPointer))?;
        let bad_name = header.msg_namelen > ADDRESS_MAX
            || (header.msg_name.is_null() && header.msg_namelen != 0);
        let bad_control = header.msg_controllen > CONTROL_MAX
            || (header.msg_control.is_null() && header.msg_controllen != 0);
        if bad_name || bad_control {
            return Err(Errno::invalid(Fault::Header));
        }
        Ok(Message {
            name: header.msg_name,
            name_len: header.msg_namelen,
            vectors: vectors(header.msg_iov, header.msg_iovlen)?,
            control: header.msg_control,
            control_len: header.msg_controllen,
        })
    }
}

/// How much room a header gives to the name and to control data.
///
/// # Safety
/// `header` is NULL or a header.
pub(super) unsafe fn capacities(header: *const msghdr) -> Result<(u32, usize), Errno> {
    // SAFETY: the caller's header.
    let header = unsafe { header.as_ref() }.ok_or(Errno::invalid(Fault::NoPointer))?;
    if header.msg_namelen > ADDRESS_MAX || header.msg_controllen > CONTROL_MAX {
        return Err(Errno::invalid(Fault::Header));
    }
    Ok((header.msg_namelen, header.msg_controllen))
}

/// The same for a header that is received into, and where its outputs go.
///
/// # Safety
/// As `message`; the header stays valid until the last callback.
pub(super) unsafe fn message_out<'a>(header: *mut msghdr) -> Result<(Message<'a>, Outputs), Errno> {
    let out = NonNull::new(header).ok_or(Errno::invalid(Fault::NoPointer))?;
    // SAFETY: passed on.
    Ok((unsafe { message(header) }?, Outputs::Header(out)))
}
