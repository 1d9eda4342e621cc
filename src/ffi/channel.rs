//! Channels: any thread sends records, an operation on one context receives them.

use crate::engine::record_queue::{Refused, Room};
use crate::engine::{REAP, Refusal};
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_channel, aio_ctx, aio_op_id, arguments, guard};
use crate::service::channel::{self, Channel};
use crate::sys::errno::Errno;
use std::ffi::c_void;
use std::sync::Arc;

/// Options of aio_channel_create; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_channel_options {
    /// sizeof(aio_channel_options)
    pub size: u32,
    /// Records that it holds, rounded up to a power of two; 0: 256. At most 1,048,576.
    pub capacity: u32,
    /// Bytes of a record; 0: 8, a pointer. At most 65,536.
    pub record_size: u32,
    /// 0
    pub reserved0: u32,
    /// 0
    pub reserved: [u64; 2],
}

const CAPACITY_DEFAULT: u32 = 256;
const CAPACITY_MAX: u32 = 1 << 20;
const RECORD_SIZE_DEFAULT: u32 = 8;
const RECORD_SIZE_MAX: u32 = 65_536;

/// Creates a channel: a bounded queue of records, copied in and out, from any number of threads to
/// one receiver at a time. To pass memory on instead of copying it, send pointers.
///
/// `options`: NULL for the defaults. `channel_out`: receives it; destroy it with
/// aio_channel_destroy.
/// Any thread.
/// Errors: -EINVAL and -E2BIG for bad options; -ENOMEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_create(
    options: *const aio_channel_options, channel_out: *mut *mut aio_channel,
) -> i32 {
    let create = || -> Result<(), Errno> {
        let out = arguments::output(channel_out)?;
        let (mut capacity, mut record_size) = (0, 0);
        if !options.is_null() {
            // SAFETY: the caller's sized options.
            let options = unsafe { arguments::sized(options) }?;
            if options.reserved0 != 0 || options.reserved != [0; 2] {
                return Err(Errno::EINVAL);
            }
            (capacity, record_size) = (options.capacity, options.record_size);
        }
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        let capacity = or(capacity, CAPACITY_DEFAULT);
        let record_size = or(record_size, RECORD_SIZE_DEFAULT);
        if capacity > CAPACITY_MAX || record_size > RECORD_SIZE_MAX {
            return Err(Errno::EINVAL);
        }
        let channel = Channel::create(capacity, record_size)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Arc::into_raw(Arc::new(channel)).cast_mut().cast()) };
        Ok(())
    };
    create().map_or_else(Errno::status, |()| 0)
}

/// Closes a channel, and gives the creator's reference back: who else uses it must hold one of
/// aio_channel_ref, as a receive in flight does. Records that nobody receives go with the last.
///
/// Any thread.
/// Errors: -EINVAL, `channel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_destroy(channel: *mut aio_channel) -> i32 {
    // SAFETY: NULL or a live channel, with the creator's reference.
    unsafe {
        let status = aio_channel_close(channel);
        aio_channel_unref(channel);
        status
    }
}

/// Keeps the handle valid until aio_channel_unref, also after aio_channel_destroy.
///
/// Any thread that holds a reference, or the creator. Returns 0.
/// Errors: -EINVAL, `channel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_ref(channel: *mut aio_channel) -> i32 {
    if channel.is_null() {
        return Errno::EINVAL.status();
    }
    // SAFETY: a live channel, made by Arc::into_raw.
    unsafe { Arc::increment_strong_count(channel.cast::<Channel>()) };
    0
}

/// Gives a reference of aio_channel_ref back; NULL: nothing.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_unref(channel: *mut aio_channel) {
    if !channel.is_null() {
        // SAFETY: the caller holds a reference, by contract.
        drop(unsafe { Arc::from_raw(channel.cast::<Channel>()) });
    }
}

/// Closes a channel, from either side: sends give AIO_ECLOSED from now on; what was sent before is
/// received, and then a receive ends with 0. Closing again changes nothing.
///
/// Any thread.
/// Errors: -EINVAL, `channel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_close(channel: *mut aio_channel) -> i32 {
    // SAFETY: NULL or a live channel.
    match unsafe { channel.cast::<Channel>().as_ref() } {
        None => Errno::EINVAL.status(),
        Some(channel) => {
            channel.close();
            0
        }
    }
}

/// Sends a record; first in, first out for each sender.
///
/// `record`: copied.
/// Any thread, and signal handlers: it takes no lock and no memory.
/// Errors: -EINVAL, a pointer is NULL; -EAGAIN, the channel is full; AIO_ECLOSED.
/// Surprise: a burst wakes the context that receives once; it makes no system call unless that
/// sleeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_send(channel: *mut aio_channel, record: *const c_void) -> i32 {
    // SAFETY: the ABI's pointers.
    unsafe { aio_channel_send_many(channel, record, 1) }.min(0)
}

/// Sends records that lie behind each other; returns how many the channel took, at least 1. Others
/// may send in between.
///
/// `records`: `count` of them, copied; at least 1.
/// Any thread, and signal handlers.
/// Errors: -EINVAL, a pointer is NULL or `count` is 0; -EAGAIN, the channel is full; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_send_many(
    channel: *mut aio_channel, records: *const c_void, count: u32,
) -> i32 {
    let send = || -> Result<i32, Refusal> {
        // SAFETY: NULL or a live channel.
        let channel = unsafe { channel.cast::<Channel>().as_ref() }.ok_or(Errno::EINVAL)?;
        if count == 0 {
            return Err(Errno::EINVAL.into());
        }
        let count = count.min(channel.queue().capacity() as u32) as usize;
        // SAFETY: the caller's records.
        let bytes = unsafe { arguments::bytes(records, count * channel.queue().record_size()) }?;
        match channel.send(bytes) {
            (0, Err(Refused::Full)) => Err(Errno::EAGAIN.into()),
            (0, Err(Refused::Closed)) => Err(Refusal::Closed),
            (sent, _) => Ok(sent as i32),
        }
    };
    send().unwrap_or_else(crate::ffi::status::of)
}

/// Receives without waiting and without a context; returns how many records it took, 0 if there
/// will be no more.
///
/// `records`: room for `count` of them, at least 1.
/// Any thread, one at a time.
/// Errors: -EINVAL, a pointer is NULL or `count` is 0; -EAGAIN, there is none now; -EBUSY, an
/// operation receives, or another thread does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_take(
    channel: *mut aio_channel, records: *mut c_void, count: u32,
) -> i32 {
    let take = || -> Result<i32, Errno> {
        // SAFETY: NULL or a live channel.
        let channel = unsafe { channel.cast::<Channel>().as_ref() }.ok_or(Errno::EINVAL)?;
        // SAFETY: the caller's memory.
        let room = unsafe { room(records, count) }?;
        match channel.take(&room)? {
            None => Ok(0),
            Some(0) => Err(Errno::EAGAIN),
            Some(count) => Ok(count as i32),
        }
    };
    take().unwrap_or_else(Errno::status)
}

/// How many records were sent and not received; roughly while others send or receive.
///
/// Any thread.
/// Errors: -EINVAL, `channel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_length(channel: *const aio_channel) -> i32 {
    // SAFETY: NULL or a live channel.
    let channel = unsafe { channel.cast::<Channel>().as_ref() };
    channel.map_or(Errno::EINVAL.status(), |channel| channel.queue().len() as i32)
}

/// How many records a channel holds.
///
/// Any thread.
/// Errors: -EINVAL, `channel` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_channel_capacity(channel: *const aio_channel) -> i32 {
    // SAFETY: NULL or a live channel.
    let channel = unsafe { channel.cast::<Channel>().as_ref() };
    channel.map_or(Errno::EINVAL.status(), |channel| channel.queue().capacity() as i32)
}

/// Receives records, as soon as there is one; the result is how many, 0 if there will be no more:
/// the channel was closed and everything sent before received. aio_ctx_current_bytes tells the
/// bytes.
///
/// `channel`: the operation holds a reference of its own. `records`: room for `count` of them, at
/// least 1; the engine's until the last callback.
/// Context thread; of any context, one operation at a time.
/// Errors: -EINVAL, a pointer is NULL or `count` is 0; -EBUSY, another receive is in flight.
/// Kernel: any.
/// Surprise: records stay in the channel until the callback is about to run: what is cancelled, or
/// meets its deadline, has taken none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_channel_receive(
    ctx: *mut aio_ctx, channel: *mut aio_channel, records: *mut c_void, count: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { receive(ctx, channel, records, count, false, options, callback, user_data) }
}

/// The same again and again: each callback, with AIO_CQE_MORE, finds records in the same memory,
/// where they stay until it returns. The last one comes when the operation was cancelled, or with 0
/// at the end.
///
/// As aio_submit_channel_receive; also -EINVAL, `callback` is AIO_CALLBACK_REAP: the records would
/// be written over before they are reaped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_channel_receive_multishot(
    ctx: *mut aio_ctx, channel: *mut aio_channel, records: *mut c_void, count: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe { receive(ctx, channel, records, count, true, options, callback, user_data) }
}

/// # Safety
/// NULL, or room for `count` records of the channel's.
unsafe fn room(records: *mut c_void, count: u32) -> Result<Room, Errno> {
    let records = arguments::output(records.cast::<u8>())?;
    let records = std::ptr::NonNull::new(records).ok_or(Errno::EINVAL)?;
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: passed on.
    Ok(unsafe { Room::new(records, count) })
}

/// # Safety
/// The ABI's pointers.
unsafe fn receive(
    ctx: *mut aio_ctx, channel: *mut aio_channel, records: *mut c_void, count: u32,
    multishot: bool, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle, "channel_receive" => {
        let done = done(callback, user_data)?;
        if multishot && done.callback == REAP {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: passed on; the memory is the engine's until the last callback.
        let (options, channel, room) = unsafe {
            (
                arguments::submit_options_or_default(options)?,
                arguments::counted::<Channel>(channel.cast())?,
                room(records, count)?,
            )
        };
        Ok(channel::receive(handle, channel, room, multishot, &options, done)? as aio_op_id)
    })
}
