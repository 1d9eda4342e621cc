//! Buffer pools, the receives that take their buffers from one, and the leases by which a caller
//! keeps what has arrived.

use crate::engine::Refusal;
use crate::engine::buffer_pool::PoolOptions;
use crate::engine::handle::Handle;
use crate::engine::lease_table::Piece;
use crate::engine::leases::{Interface, Shared};
use crate::ffi::probe::{AIO_REASON_NONE, reason_number};
use crate::ffi::submit::{aio_submit_options, submit};
use crate::ffi::{
    aio_buffer_pool, aio_callback, aio_ctx, aio_op_id, aio_post_fn, arguments, guard,
};
use crate::op::buffers::{PoolRead, PoolReadAgain, PoolRecv, PoolRecvMsg};
use crate::sys::errno::Errno;
use crate::sys::message::flags::{MSG_PEEK, MSG_TRUNC, MSG_WAITALL};
use crate::sys::message::{MessageOut, message_out, msghdr};
use crate::sys::poller::can_be_watched;
use crate::sys::refused::Fault;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// A pool's option: a buffer is used up piece by piece, so that small messages share one. For
/// streams: a datagram is cut to what is left of a buffer. Linux 6.12; without it, and on epoll,
/// each completion takes a whole buffer.
pub const AIO_BUFFER_POOL_INCREMENTAL: u32 = 1;
/// A pool's option: a completion may bring several buffers at once (a bundle). Linux 6.10; without
/// it, and on epoll, each brings one.
pub const AIO_BUFFER_POOL_BUNDLES: u32 = 2;
/// A pool's option: asks for huge pages, which are committed in pieces of 2 MiB. Granted if the
/// kernel has them and the pool is as large.
pub const AIO_BUFFER_POOL_HUGE: u32 = 4;

/// A pool's option: its buffers are not received into, but filled by you and sent: see
/// aio_buffer_pool_take, aio_buffer_pool_queue and aio_submit_send_bundle. Not with the two options
/// above it, nor with `low_water`.
pub const AIO_BUFFER_POOL_SEND: u32 = 8;
/// What aio_buffer_pool_info alone says: a network card fills the pool, see
/// aio_buffer_pool_create_zero_copy.
pub const AIO_BUFFER_POOL_ZERO_COPY: u32 = 16;

/// Options of aio_buffer_pool_create; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_buffer_pool_options {
    /// sizeof(aio_buffer_pool_options)
    pub size: u32,
    /// Buffers at first; 0: 256.
    pub count: u32,
    /// Bytes of a buffer; 0: 4096.
    pub buffer_size: u32,
    /// AIO_BUFFER_POOL_*
    pub flags: u32,
    /// How many aio_buffer_pool_grow may make of them, at most 32,768; 0: four times `count`. Costs
    /// 16 bytes of locked memory each.
    pub count_max: u32,
    /// `on_low_water` is called when fewer are free; 0: never.
    pub low_water: u32,
    /// Called on the context's thread, like a posted function, once for each time that the pool
    /// runs low; it may grow the pool. NULL: nobody.
    pub on_low_water: aio_post_fn,
    /// Passed to `on_low_water`.
    pub low_water_arg: *mut c_void,
    /// 0
    pub reserved: [u64; 4],
}

/// What a pool is, and how it is doing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_pool_info {
    /// sizeof(aio_pool_info)
    pub size: u32,
    /// What was granted of AIO_BUFFER_POOL_*.
    pub flags: u32,
    /// Buffers, and how many there may be.
    pub count: u32,
    pub count_max: u32,
    /// Bytes of each.
    pub buffer_size: u32,
    /// Ready for a receive, or empty.
    pub free: u32,
    /// Leases that were not released.
    pub leased: u32,
    /// Operations in flight that take buffers here.
    pub operations: u32,
    /// Those of them that wait for a buffer now.
    pub paused: u32,
    /// With AIO_BUFFER_POOL_SEND: buffers that wait to be sent.
    pub queued: u32,
    /// How often an operation had to wait for a buffer.
    pub pauses: u64,
    /// How often the pool ran low.
    pub low_waters: u64,
    /// Why a pool of aio_buffer_pool_create_zero_copy has no interface queue: AIO_REASON_*.
    /// _KERNEL; _PERMISSION, it takes CAP_NET_ADMIN; _MEMLOCK, _LIMIT; _HARDWARE, with -EOPNOTSUPP:
    /// the card or its driver cannot; with -EINVAL: it does not split headers from data; with
    /// -EEXIST or -EBUSY: the queue is taken. Or why the context has no ring. Other pools:
    /// AIO_REASON_NONE.
    pub zero_copy_reason: u32,
    /// What the kernel said to it; 0: nothing.
    pub zero_copy_error: i32,
}

/// A buffer, or a piece of one, that is the caller's until it is released.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_buffer_lease {
    /// sizeof(aio_buffer_lease)
    pub size: u32,
    /// Bytes at `data`.
    pub len: u32,
    pub data: *mut c_void,
    /// For aio_buffer_pool_release: positive.
    pub id: i64,
}

/// A message of aio_submit_recvmsg_multishot, taken apart; all pointers are into its buffer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_message_view {
    /// sizeof(aio_message_view)
    pub size: u32,
    /// MSG_TRUNC, MSG_CTRUNC and the like; 0: nothing is to be said
    pub flags: u32,
    /// The sender's address, cut to the room that it was given.
    pub name: *mut c_void,
    /// Its whole length.
    pub namelen: u32,
    /// Bytes at `payload`.
    pub payload_len: u32,
    pub payload: *mut c_void,
    /// Control messages: a msg_control for CMSG_FIRSTHDR, eight bytes aligned if the room for the
    /// name is a multiple of eight.
    pub control: *mut c_void,
    pub controllen: size_t,
}

#[allow(non_camel_case_types)]
type size_t = usize;

const COUNT_DEFAULT: u32 = 256;
const BUFFER_SIZE_DEFAULT: u32 = 4096;
const COUNT_MAX: u32 = 32_768;

/// # Safety
/// As `arguments::sized`, or NULL.
pub(super) unsafe fn pool_options(
    options: *const aio_buffer_pool_options,
) -> Result<PoolOptions, Errno> {
    let defaults = aio_buffer_pool_options {
        size: 0,
        count: 0,
        buffer_size: 0,
        flags: 0,
        count_max: 0,
        low_water: 0,
        on_low_water: None,
        low_water_arg: std::ptr::null_mut(),
        reserved: [0; 4],
    };
    // SAFETY: passed on.
    let options = if options.is_null() { defaults } else { unsafe { arguments::sized(options) }? };
    const OF_RECEIVES: u32 = AIO_BUFFER_POOL_INCREMENTAL | AIO_BUFFER_POOL_BUNDLES;
    const KNOWN: u32 = OF_RECEIVES | AIO_BUFFER_POOL_HUGE | AIO_BUFFER_POOL_SEND;
    let sends = options.flags & AIO_BUFFER_POOL_SEND != 0;
    let is_odd = sends && (options.flags & OF_RECEIVES != 0 || options.low_water != 0);
    if options.flags & !KNOWN != 0 || options.reserved != [0; 4] || is_odd {
        return Err(Errno::EINVAL);
    }
    let or = |value: u32, default: u32| if value == 0 { default } else { value };
    let count = or(options.count, COUNT_DEFAULT);
    Ok(PoolOptions {
        count,
        buffer_size: or(options.buffer_size, BUFFER_SIZE_DEFAULT),
        count_max: or(options.count_max, count.saturating_mul(4).min(COUNT_MAX)),
        low_water: options.low_water,
        on_low_water: options.on_low_water.map(|function| (function, options.low_water_arg)),
        incremental: options.flags & AIO_BUFFER_POOL_INCREMENTAL != 0,
        bundles: options.flags & AIO_BUFFER_POOL_BUNDLES != 0,
        huge: options.flags & AIO_BUFFER_POOL_HUGE != 0,
        sends,
    })
}

/// # Safety
/// `pool` is NULL or a pool that was not destroyed, or of which there are leases.
pub(super) unsafe fn shared<'a>(pool: *const aio_buffer_pool) -> Result<&'a Shared, Errno> {
    // SAFETY: the caller's promise.
    unsafe { pool.cast::<Shared>().as_ref() }.ok_or(Errno::EINVAL)
}

/// The context of a pool, or NULL.
///
/// # Safety
/// As for `shared`.
pub(super) unsafe fn context(pool: *const aio_buffer_pool) -> *const Handle {
    // SAFETY: passed on.
    unsafe { shared(pool) }.map_or(std::ptr::null(), |pool| std::ptr::from_ref(pool.handle()))
}

/// Makes a pool of buffers for the receives of a context.
///
/// `options`: NULL for the defaults. `pool_out`: receives the pool; destroy it with
/// aio_buffer_pool_destroy. Memory is committed as it is used.
/// Context thread.
/// Errors: -EINVAL and -E2BIG for bad options, such as `count` above `count_max`, or either above
/// 32,768; -ENOMEM, also for locked memory; -ENOSPC, a context has 65,536 pools.
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_create(
    ctx: *mut aio_ctx, options: *const aio_buffer_pool_options, pool_out: *mut *mut aio_buffer_pool,
) -> i32 {
    guard!(ctx, handle => {
        let out = arguments::output(pool_out)?;
        // SAFETY: the caller's sized options, or NULL.
        let options = unsafe { pool_options(options) }?;
        let pool = handle.enter()?.create_pool(handle, options)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Arc::into_raw(pool).cast_mut().cast()) };
        Ok(0)
    })
}

/// Ends a pool. Leases stay readable until they are released: only aio_buffer_pool_find and
/// aio_buffer_pool_release may then be called with it, and not after the last.
///
/// Context thread; any thread once the context was destroyed.
/// Errors: -EINVAL, `pool` is NULL; -EBUSY, operations in flight take buffers here, or a callback
/// runs that one was brought to: cancel them and await their last callbacks; AIO_EWRONGTHREAD,
/// AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_destroy(pool: *mut aio_buffer_pool) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        match handle.enter_while_destroying() {
            Ok(engine) => engine.remove_pool(pool)?,
            Err(Refusal::Closed | Refusal::Orphaned | Refusal::Panicked) => {}
            Err(refusal) => return Err(refusal),
        }
        if !pool.give_up() {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the reference that `aio_buffer_pool_create` handed out, given up once.
        unsafe { Shared::forget(pool) };
        Ok(0)
    })
}

/// Adds `count` buffers to a pool; what waits for one goes on.
///
/// Context thread.
/// Errors: -EINVAL, `count` is 0; -ENOSPC, there would be more than `count_max`; -ENOMEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_grow(pool: *mut aio_buffer_pool, count: u32) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        handle.enter()?.grow_pool(pool, count)?;
        Ok(0)
    })
}

/// Tells what a pool is, and how it is doing.
///
/// `out`: its `size` bytes at most are written.
/// Context thread.
/// Errors: -EINVAL, a pointer is NULL or `size` too small; AIO_ECLOSED, the context is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_info(
    pool: *mut aio_buffer_pool, out: *mut aio_pool_info,
) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        let info = handle.enter_while_destroying()?.pool_info(pool)?;
        let granted = |is: bool, flag: u32| if is { flag } else { 0 };
        let value = aio_pool_info {
            size: 0,
            flags: granted(info.incremental, AIO_BUFFER_POOL_INCREMENTAL)
                | granted(info.bundles, AIO_BUFFER_POOL_BUNDLES)
                | granted(info.huge, AIO_BUFFER_POOL_HUGE)
                | granted(info.sends, AIO_BUFFER_POOL_SEND)
                | granted(info.zero_copy, AIO_BUFFER_POOL_ZERO_COPY),
            count: info.count,
            count_max: info.count_max,
            buffer_size: info.buffer_size,
            free: info.free,
            leased: info.leased,
            operations: info.operations,
            paused: info.paused,
            queued: info.queued,
            pauses: info.pauses,
            low_waters: info.low_waters,
            zero_copy_reason: info.unserved.map_or(AIO_REASON_NONE, |it| reason_number(it.reason)),
            zero_copy_error: info.unserved.and_then(|it| it.errno).map_or(0, Errno::status),
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, value) }?;
        Ok(0)
    })
}

/// Takes the buffer that the running callback was brought, to keep it beyond the callback; what is
/// not taken is given back when the callback returns. Of a bundle, the next one.
///
/// `out`: set its `size`.
/// Context thread, inside a callback with AIO_CQE_BUFFER.
/// Errors: -EINVAL, `out` is NULL or its `size` too small; -ENOENT, there is none, or no more;
/// -ENOMEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_take_buffer(ctx: *mut aio_ctx, out: *mut aio_buffer_lease) -> i32 {
    guard!(ctx, handle, quietly => {
        // SAFETY: the caller's structure, or NULL.
        unsafe { check_lease(out) }?;
        let taken = handle.enter_used()?.take_piece()?;
        let (id, piece) = taken.ok_or(Errno::ENOENT)?;
        // SAFETY: checked above.
        unsafe { write_lease(out, id, piece) };
        Ok(0)
    })
}

/// Where the data of a lease is: for leases that aio_ctx_reap has handed out.
///
/// `out`: set its `size`.
/// Any thread.
/// Errors: -EINVAL, a pointer is NULL or `size` too small; -ENOENT, it is no lease of this pool's,
/// or was released.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_find(
    pool: *mut aio_buffer_pool, lease: i64, out: *mut aio_buffer_lease,
) -> i32 {
    let find = || -> Result<(), Errno> {
        // SAFETY: the ABI's pointers.
        unsafe {
            check_lease(out)?;
            write_lease(out, lease, shared(pool)?.leases.find(lease)?);
        }
        Ok(())
    };
    find().map_or_else(Errno::status, |()| 0)
}

/// Gives a buffer back to its pool.
///
/// Any thread, also when the context is gone.
/// Errors: -EINVAL, `pool` is NULL; -ENOENT, it is no lease of this pool's, or was released before;
/// AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_release(pool: *mut aio_buffer_pool, lease: i64) -> i32 {
    // SAFETY: the ABI's pointer.
    let handle = unsafe { context(pool) };
    guard!(handle, handle, quietly => {
        // SAFETY: not NULL, or the handle would be.
        let pool = unsafe { shared(pool) }?;
        if handle.is_forked() {
            return Err(Refusal::Forked);
        }
        let index = pool.leases.end(lease)?;
        let is_back = handle.enter_open().is_some_and(|engine| engine.take_back(pool, index));
        // SAFETY: the lease that has just ended.
        unsafe { if is_back { Shared::forget(pool) } else { Shared::give_back(pool, index) } }
        Ok(0)
    })
}

/// # Safety
/// `out` is NULL or begins with its size.
pub(super) unsafe fn check_lease(out: *const aio_buffer_lease) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    let size = unsafe { out.cast::<u32>().as_ref() }.copied().ok_or(Errno::EINVAL)?;
    if (size as usize) < size_of::<aio_buffer_lease>() { Err(Errno::EINVAL) } else { Ok(()) }
}

/// # Safety
/// `out` has passed `check_lease`.
pub(super) unsafe fn write_lease(out: *mut aio_buffer_lease, id: i64, piece: Piece) {
    let size = size_of::<aio_buffer_lease>() as u32;
    let data = piece.data.as_ptr().cast();
    // SAFETY: the caller's promise.
    unsafe { out.write_unaligned(aio_buffer_lease { size, len: piece.len, data, id }) };
}

/// An ordinary pool of this context's, for a receive with `flags`, of which those are refused by
/// which an operation would hold a buffer while it waits, be told of more than is in it, or never
/// come to an end.
///
/// # Safety
/// As for `shared`; `ctx` is NULL or a context.
unsafe fn own<'a>(
    ctx: *mut aio_ctx, pool: *mut aio_buffer_pool, flags: c_int, refused: c_int,
) -> Result<&'a Shared, Errno> {
    // SAFETY: passed on.
    let pool = unsafe { own_any(ctx, pool, flags, refused) }?;
    if pool.interface == Interface::Unasked { Ok(pool) } else { Err(Errno::invalid(Fault::Pool)) }
}

/// The same, also of aio_buffer_pool_create_zero_copy.
///
/// # Safety
/// As for `own`.
pub(super) unsafe fn own_any<'a>(
    ctx: *mut aio_ctx, pool: *mut aio_buffer_pool, flags: c_int, refused: c_int,
) -> Result<&'a Shared, Errno> {
    // SAFETY: passed on.
    let (handle, pool) = unsafe { (ctx.cast::<Handle>().as_ref(), shared(pool)?) };
    let handle = handle.ok_or(Errno::EINVAL)?;
    let is_other = !std::ptr::eq(handle, pool.handle());
    if is_other || pool.is_closed() || pool.sends || flags & refused != 0 {
        return Err(Errno::invalid(Fault::Pool));
    }
    Ok(pool)
}

/// Receives whenever data comes, each time into a buffer of the pool, with AIO_CQE_MORE and
/// AIO_CQE_BUFFER; take it with aio_ctx_take_buffer. The last result is 0 at the end of the stream,
/// or an error.
///
/// `pool`: one of this context's. While it is empty the operation waits, and goes on by itself; its
/// deadline runs on, but one with AIO_SUBMIT_TIMEOUT_IDLE does not count meanwhile, and begins anew
/// when there is a buffer.
/// Context thread.
/// Errors: -EINVAL, no such pool, MSG_WAITALL, MSG_TRUNC or MSG_PEEK, and AIO_SUBMIT_ASYNC, _QUIET,
/// _LINK or _HARDLINK: a buffer would be held while the operation waits, or nobody be told of it;
/// those of recv(2).
/// Kernel: 6.0 with a buffer ring; on epoll emulated.
/// Surprise: a datagram of no bytes ends it, with 0; aio_submit_recvmsg_multishot takes those. A
/// datagram socket that is shut down here ends it on epoll alone: cancel it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recv_multishot(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let pool = own(ctx, pool, flags, MSG_WAITALL | MSG_TRUNC | MSG_PEEK)?;
                Ok(PoolRecv::<true> { fd, group: pool.group, bundles: pool.bundles, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Receives once, into a buffer of the pool that is taken when there is data and not before.
///
/// As aio_submit_recv_multishot, with one callback; MSG_PEEK is allowed.
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recv_pooled(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let pool = own(ctx, pool, flags, MSG_WAITALL | MSG_TRUNC)?;
                Ok(PoolRecv::<false> { fd, group: pool.group, bundles: pool.bundles, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Receives messages whenever they come, each into a buffer of the pool; aio_message_parse takes
/// one apart. The result counts all that is in the buffer; at the end of a stream it is 0.
///
/// `msg`: only msg_namelen and msg_controllen are read, during the call: how much room a buffer
/// gives to the name and to control data. At most 128 bytes and 64 KiB. A buffer holds 16 bytes,
/// these two rooms, then the payload; more is cut (MSG_TRUNC in the view's flags). A message that
/// UDP_GRO has put together has up to 65,535 bytes.
/// Context thread.
/// Errors: as for aio_submit_recv_multishot, but MSG_TRUNC is allowed; -EINVAL, the pool is to be
/// AIO_BUFFER_POOL_INCREMENTAL; -EFAULT, its buffers are too small for what comes before the
/// payload. Descriptors that come with a buffer which nobody takes are closed.
/// Kernel: 6.0 with a buffer ring; on epoll emulated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recvmsg_multishot(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, msg: *const msghdr, flags: c_int,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit(
            ctx,
            move || {
                let (name_len, control_len) = arguments::capacities(msg)?;
                let pool = own(ctx, pool, flags, MSG_WAITALL | MSG_PEEK)?;
                if pool.incremental {
                    return Err(Errno::EINVAL);
                }
                Ok(PoolRecvMsg { fd, group: pool.group, name_len, control_len, flags })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// Reads whenever there is data, each time into a buffer of the pool: of a pipe, a terminal, an
/// event counter, anything that can be polled. The last result is 0 at the end, or an error.
///
/// Context thread.
/// Errors: -EBADFD, a file that cannot be polled, such as a regular one; else as for
/// aio_submit_recv_multishot.
/// Kernel: 6.7; before, a read that is started again by the engine. On epoll emulated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_read_multishot(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        let read = || own(ctx, pool, 0, 0).map(|pool| PoolRead { fd, group: pool.group });
        let handle = ctx.cast::<Handle>().as_ref();
        if handle.is_none_or(|handle| handle.granted.has_multishot_reads) {
            return submit(ctx, read, options, callback, user_data);
        }
        // A file that is always ready would be read to its end, again and again.
        let check = |read: PoolRead| if can_be_watched(fd) { Ok(read) } else { Err(Errno::EBADFD) };
        let again = || read().and_then(check).map(PoolReadAgain);
        submit(ctx, again, options, callback, user_data)
    }
}

/// Takes a message of aio_submit_recvmsg_multishot apart.
///
/// `lease`: its buffer. `msg`: the room for name and control data, as at the submit. `out`: set its
/// `size`.
/// Any thread.
/// Errors: -EINVAL, a pointer is NULL, a `size` too small, or the buffer too short for such a
/// message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_message_parse(
    lease: *const aio_buffer_lease, msg: *const msghdr, out: *mut aio_message_view,
) -> i32 {
    let parse = || -> Result<(), Errno> {
        // SAFETY: the ABI's pointers; the buffer is the caller's, `len` bytes long.
        unsafe {
            let lease = arguments::sized(lease)?;
            let (name_len, control_len) = arguments::capacities(msg)?;
            let data = NonNull::new(lease.data.cast::<u8>()).ok_or(Errno::EINVAL)?;
            let control_at = size_of::<MessageOut>() + name_len as usize;
            let payload_at = control_at + control_len;
            let room = (lease.len as usize).checked_sub(payload_at).ok_or(Errno::EINVAL)?;
            let head = message_out(data);
            let at = |offset: usize| data.add(offset).as_ptr().cast::<c_void>();
            let view = aio_message_view {
                size: 0,
                flags: head.flags,
                name: at(size_of::<MessageOut>()),
                namelen: head.name_len,
                payload_len: room as u32,
                payload: at(payload_at),
                control: at(control_at),
                controllen: (head.control_len as usize).min(control_len),
            };
            arguments::write_sized(out, view)
        }
    };
    parse().map_or_else(Errno::status, |()| 0)
}
