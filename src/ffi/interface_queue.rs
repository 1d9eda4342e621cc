//! Zero-copy receives: pools whose buffers a network card fills, and the receive that takes them.

use crate::engine::leases::{Interface, Shared};
use crate::ffi::buffers::{aio_buffer_pool_options, own_any, pool_options};
use crate::ffi::submit::{AIO_SUBMIT_FIXED_FILE, aio_submit_options, submit};
use crate::ffi::{aio_buffer_pool, aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::buffers::{AreaRecv, PoolRecv, is_for_area};
use crate::sys::errno::Errno;
use crate::sys::interface_queue::{REFILLS_MAX, Request, check_interface, interface_named};
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// A flag of aio_interface_queue: there is no interface, and the kernel copies what comes for any
/// socket. To try programs on machines without such a card; Linux 7.1.
pub const AIO_INTERFACE_NONE: u32 = 1;
/// A flag of aio_interface_queue: without the queue there shall be no pool either.
pub const AIO_INTERFACE_REQUIRED: u32 = 2;

/// A receive queue of a network card.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_interface_queue {
    /// sizeof(aio_interface_queue)
    pub size: u32,
    /// AIO_INTERFACE_*
    pub flags: u32,
    /// The interface, such as "eth0"; NULL: `index` says.
    pub name: *const c_char,
    /// The interface's number, as if_nametoindex(3) has it; 0: `name` says.
    pub index: u32,
    /// The number of the receive queue plus one, as ethtool(8) counts.
    pub queue: u32,
    /// How many pieces may be on their way back to the kernel, at most 32,768; 0: two per page of
    /// the pool. Others wait.
    pub refill_entries: u32,
    /// 0
    pub reserved0: u32,
    /// 0
    pub reserved: [u64; 4],
}

/// # Safety
/// As `arguments::sized`; `name` is NULL or a string.
unsafe fn request(queue: *const aio_interface_queue) -> Result<(Request, bool), Errno> {
    // SAFETY: passed on.
    let queue = unsafe { arguments::sized(queue) }?;
    const KNOWN: u32 = AIO_INTERFACE_NONE | AIO_INTERFACE_REQUIRED;
    let is_none = queue.flags & AIO_INTERFACE_NONE != 0;
    // One of the two names, or neither.
    let names = u32::from(!queue.name.is_null()) + u32::from(queue.index != 0);
    if queue.flags & !KNOWN != 0
        || queue.reserved0 != 0
        || queue.reserved != [0; 4]
        || queue.refill_entries > REFILLS_MAX
        || names != u32::from(!is_none)
        || (queue.queue == 0) != is_none
    {
        return Err(Errno::EINVAL);
    }
    let interface = if is_none {
        None
    } else if queue.name.is_null() {
        check_interface(queue.index)?;
        Some(queue.index)
    } else {
        // SAFETY: the caller's string.
        Some(interface_named(unsafe { arguments::path(queue.name) }?)?)
    };
    let number = queue.queue.saturating_sub(1);
    let request = Request { interface, queue: number, refills: queue.refill_entries };
    Ok((request, queue.flags & AIO_INTERFACE_REQUIRED != 0))
}

/// Makes a pool for aio_submit_recv_zc alone, whose memory a receive queue of a network card fills:
/// what comes for its sockets is not copied. The card must split headers from data, and send to
/// this queue the connections that are received from here, and no others:
///
///   ethtool -G eth0 tcp-data-split on
///   ethtool -X eth0 equal 3                            all else goes to queues 0 to 2
///   ethtool -N eth0 flow-type tcp4 dst-port 9000 action 3
///
/// What comes another way is copied into the pool. Where the queue cannot be had, the pool is an
/// ordinary one, and aio_buffer_pool_info says why: `zero_copy_reason` and `zero_copy_error`.
///
/// `queue`: the card's. `options`: NULL for the defaults; `count` times `buffer_size` is the memory
/// in bytes, below 4 GiB, rounded up to pages; the kernel divides it as it likes, and a buffer may
/// carry several receives. Take more than the card keeps at hand (ethtool -g). `count_max` is 0 or
/// `count`: such a pool does not grow; AIO_BUFFER_POOL_INCREMENTAL and _BUNDLES are not for it.
/// `pool_out`: as for aio_buffer_pool_create.
/// The memory is locked. The kernel gives a queue up, and unlocks it, when the context has been
/// destroyed, the pool too, and its last lease was released.
/// Context thread.
/// Errors: -EMSGSIZE, the context was made without AIO_CTX_CQE32: a completion has no room to say
/// where the data is; -EOPNOTSUPP, it was made with AIO_CTX_SQPOLL or AIO_CTX_IOPOLL; -ENODEV, no
/// such interface; -ERANGE, it has no such queue; else as aio_buffer_pool_create. With
/// AIO_INTERFACE_REQUIRED also what the kernel refuses the queue with (see aio_pool_info), and
/// -EOPNOTSUPP where it has none or there is no ring.
/// Kernel: 6.15; before 6.19 what is copied comes back only as the card asks for more. Without it,
/// and on epoll, an ordinary pool.
/// Surprise: not shown on the machines that this is tested on is the card, for they have none;
/// all else is, on Linux 7.1 with AIO_INTERFACE_NONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffer_pool_create_zero_copy(
    ctx: *mut aio_ctx, queue: *const aio_interface_queue, options: *const aio_buffer_pool_options,
    pool_out: *mut *mut aio_buffer_pool,
) -> i32 {
    guard!(ctx, handle => {
        let out = arguments::output(pool_out)?;
        // SAFETY: the caller's sized structures, or NULL.
        let ((request, required), given) = unsafe { (request(queue)?, pool_options(options)?) };
        // SAFETY: NULL, or read before.
        let asked = unsafe { arguments::optional(options) };
        let count_max = asked.map_or(0, |options| options.count_max);
        if given.incremental || given.bundles || (count_max != 0 && count_max != given.count) {
            return Err(Errno::EINVAL.into());
        }
        let mut options = given;
        options.count_max = options.count;
        let engine = handle.enter()?;
        let pool = engine.create_interface_pool(handle, options, &request, required)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Arc::into_raw(pool).cast_mut().cast()) };
        Ok(0)
    })
}

/// Receives whenever data comes, each time a piece of the pool's memory, with AIO_CQE_MORE and
/// AIO_CQE_BUFFER; take it with aio_ctx_take_buffer. The last result is 0 at the end of the stream,
/// or an error.
///
/// `pool`: one of aio_buffer_pool_create_zero_copy. Where that has no interface queue, this is
/// aio_submit_recv_multishot (and needs the opcode `recv` in a context with allowed_ops). While the
/// pool is empty the operation waits, and goes on by itself; its deadline as for
/// aio_submit_recv_multishot.
/// Context thread.
/// Errors: -EINVAL, no such pool, and AIO_SUBMIT_ASYNC, _QUIET, _LINK or _HARDLINK, as for
/// aio_submit_recv_multishot; -EPROTONOSUPPORT, not a TCP socket: at once, or through the callback;
/// -ENOMEM through the callback, the pool is empty although nobody holds a piece of it: the card
/// has all of it; those of recv(2).
/// Kernel: 6.15.
/// Surprise: the socket may be used for sending, but not be received from in another way, once its
/// packets come to the queue: the kernel answers that with -EFAULT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_recv_zc(
    ctx: *mut aio_ctx, fd: c_int, pool: *mut aio_buffer_pool, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        let found = || -> Result<&Shared, Errno> {
            let pool = own_any(ctx, pool, 0, 0)?;
            if pool.interface == Interface::Unasked { Err(Errno::EINVAL) } else { Ok(pool) }
        };
        if let Ok(Shared { interface: Interface::Queue(queue), group, .. }) = found() {
            let receive = || Ok(AreaRecv { fd, group: *group, queue: *queue });
            return submit(ctx, receive, options, callback, user_data);
        }
        let receive = || {
            let pool = found()?;
            let is_slot = arguments::submit_options_or_default(options)
                .is_ok_and(|options| options.flags & AIO_SUBMIT_FIXED_FILE != 0);
            if !is_slot && !is_for_area(fd) {
                return Err(Errno::EPROTONOSUPPORT);
            }
            Ok(PoolRecv::<true> { fd, group: pool.group, bundles: false, flags: 0 })
        };
        submit(ctx, receive, options, callback, user_data)
    }
}
