//! Looking inside: what was granted, counters, what is in flight, the operation whose callback
//! runs.

use crate::engine::Refusal;
use crate::ffi::ctx::{AIO_BACKEND_EPOLL, AIO_BACKEND_URING};
use crate::ffi::{aio_ctx, aio_op_id, arguments, guard};
use crate::op;
use crate::sys::errno::Errno;
use std::ffi::c_char;

/// What a context was granted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_info {
    /// sizeof(aio_info)
    pub size: u32,
    /// AIO_BACKEND_*, the one in use
    pub backend: u32,
    /// IORING_SETUP_* granted
    pub setup_flags: u32,
    /// IORING_FEAT_* of the kernel
    pub features: u32,
    /// On the context's thread as they are now, elsewhere as they were at first, like the next
    pub sq_entries: u32,
    pub cq_entries: u32,
    /// Bytes of an entry: 64 or 128
    pub sqe_size: u32,
    /// Bytes of an entry: 16 or 32
    pub cqe_size: u32,
    /// Why AIO_BACKEND_AUTO does without io_uring: a status; 0: it does not, or was not asked to
    pub fallback_status: i32,
    /// The running kernel's, `major << 16 | minor`
    pub kernel_version: u32,
    /// How late a timer may fire: the tick in force
    pub timer_resolution_ns: u64,
    /// The signal by which the epoll backend interrupts its pool's threads; 0: none
    pub interrupt_signal: u32,
    /// 0
    pub reserved0: u32,
    pub reserved: [u64; 3],
}

/// Counters since the context was created, as of its last turn.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_stats {
    /// sizeof(aio_stats)
    pub size: u32,
    /// Operations that have not ended
    pub in_flight: u32,
    /// Ids given out
    pub submitted: u64,
    /// Operations that have ended
    pub completed: u64,
    /// Callbacks, posted functions and records
    pub callbacks: u64,
    /// Turns of the loop
    pub turns: u64,
    /// System calls of the context's thread: io_uring_enter; on epoll all that it makes
    pub system_calls: u64,
    /// Turns that found the completion queue overflown
    pub overflows: u64,
    /// Submits that met a full submission queue
    pub full_queues: u64,
    /// Posted functions run
    pub posts: u64,
    /// Times that another thread ended the context's sleep
    pub wakes: u64,
    /// Cancel requests handed to the kernel
    pub cancels: u64,
    /// Deadlines that passed
    pub deadlines: u64,
    /// Multishot operations started again by the engine
    pub rearms: u64,
    /// Operations that have ended with an error, but not as the next two
    pub failed: u64,
    /// Operations that have ended with -ECANCELED
    pub cancelled: u64,
    /// Operations that have ended because their deadline had passed (AIO_CQE_DEADLINE)
    pub timed_out: u64,
    /// Times that an operation had to wait for a pool's next free buffer
    pub dry_pools: u64,
}

/// Counters of the operations of one opcode since the context was created.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_operation_stats {
    /// sizeof(aio_operation_stats)
    pub size: u32,
    /// The number that was asked for
    pub opcode: u32,
    /// Operations that have not ended
    pub in_flight: u32,
    /// Most that have not ended at a time
    pub in_flight_max: u32,
    /// Ids given out
    pub submitted: u64,
    /// Operations that have ended, in whatever way
    pub completed: u64,
    /// Of these: with an error, but not as the next two
    pub failed: u64,
    /// With -ECANCELED
    pub cancelled: u64,
    /// Because their deadline had passed (AIO_CQE_DEADLINE)
    pub timed_out: u64,
    /// As in aio_ctx_dump and aio_probe_result
    pub name: [c_char; 32],
}

/// The operation whose callback is running; -ENOENT outside of callbacks and in posted functions.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_op(ctx: *const aio_ctx) -> aio_op_id {
    guard!(ctx, handle => {
        match handle.inspect()? {
            Some(engine) if engine.current().id != 0 => Ok(engine.current().id as aio_op_id),
            _ => Err(Errno::ENOENT.into()),
        }
    })
}

/// How many bytes the operation whose callback is running has transferred; 0 outside of callbacks.
/// Of a message of another context: its `data`. Of operations that move no bytes: the result, if it
/// is positive (the descriptor of an open, the slot of one with AIO_SUBMIT_DIRECT).
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_bytes(ctx: *const aio_ctx) -> u64 {
    // Wide enough for a status beside every count.
    let bytes: i128 = guard!(ctx, handle => {
        let engine = handle.inspect()?;
        Ok(engine.map_or(0, |engine| engine.current_bytes().into()))
    });
    u64::try_from(bytes).unwrap_or(0)
}

/// What the context was granted.
///
/// `out`: its `size` set by the caller; as much is written. Any thread.
/// Errors: -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_info(ctx: *const aio_ctx, out: *mut aio_info) -> i32 {
    guard!(ctx, handle => {
        if handle.is_forked() {
            return Err(Refusal::Forked);
        }
        let (major, minor) = crate::sys::descriptor::kernel_version();
        // Its queues may have grown since.
        let granted = match handle.inspect() {
            Ok(Some(engine)) => engine.granted(),
            _ => handle.granted,
        };
        let info = aio_info {
            size: 0,
            backend: if granted.emulated { AIO_BACKEND_EPOLL } else { AIO_BACKEND_URING },
            setup_flags: granted.setup_flags,
            features: granted.features,
            sq_entries: granted.sq_entries,
            cq_entries: granted.cq_entries,
            sqe_size: granted.sqe_size,
            cqe_size: granted.cqe_size,
            fallback_status: granted.fallback.map_or(0, Errno::status),
            kernel_version: major << 16 | minor,
            timer_resolution_ns: handle.tick_ns,
            interrupt_signal: granted.interrupt_signal,
            reserved0: 0,
            reserved: [0; 3],
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, info) }?;
        Ok(0)
    })
}

/// The context's counters: exact on its own thread. Elsewhere those of operations are as they are
/// now, though one of them may be a little older than the next; the others are as of the last turn.
///
/// `out`: its `size` set by the caller; as much is written. Any thread.
/// Errors: -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_stats(ctx: *const aio_ctx, out: *mut aio_stats) -> i32 {
    guard!(ctx, handle => {
        if handle.is_forked() {
            return Err(Refusal::Forked);
        }
        let is_own = match handle.inspect() {
            Ok(Some(engine)) => {
                engine.publish(handle);
                true
            }
            _ => false,
        };
        let tally = handle.stats.snapshot();
        let total = handle.counts.total();
        let stats = aio_stats {
            size: 0,
            in_flight: total.in_flight as u32,
            submitted: total.submitted,
            completed: total.completed,
            callbacks: handle.counts.callbacks(&total, is_own),
            turns: tally.turns,
            system_calls: tally.system_calls,
            overflows: tally.overflows,
            full_queues: tally.full_queues,
            posts: tally.posts,
            wakes: tally.wakes,
            cancels: tally.cancels,
            deadlines: tally.deadlines,
            rearms: tally.rearms,
            failed: total.failed,
            cancelled: total.cancelled,
            timed_out: total.timed_out,
            dry_pools: tally.dry_pools,
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, stats) }?;
        Ok(0)
    })
}

/// The counters of one opcode: exact on the context's thread; on others as they are now, though one
/// of them may be a little older than the next.
///
/// `opcode`: IORING_OP_*, as for aio_probe_op, or a number above the kernel's for what the engine
/// does itself (timers, messages, services); those are known by their names. An operation counts
/// under the opcode that it began with: a sendfile is a splice. To see all, count up from 0 until
/// -ENOENT and pass over those with nothing submitted. `out`: its `size` set by the caller; as much
/// is written.
/// Any thread.
/// Errors: -ENOENT, `opcode` is above 255; -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_operation_stats(
    ctx: *const aio_ctx, opcode: u32, out: *mut aio_operation_stats,
) -> i32 {
    guard!(ctx, handle => {
        if handle.is_forked() {
            return Err(Refusal::Forked);
        }
        let number = u8::try_from(opcode).map_err(|_| Errno::ENOENT)?;
        let row = handle.counts.row(number);
        let stats = aio_operation_stats {
            size: 0,
            opcode,
            in_flight: row.in_flight as u32,
            in_flight_max: row.most as u32,
            submitted: row.submitted,
            completed: row.completed,
            failed: row.failed,
            cancelled: row.cancelled,
            timed_out: row.timed_out,
            name: arguments::text(op::name(number)),
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, stats) }?;
        Ok(0)
    })
}

/// Writes what is in flight as text: a line about the context, then one per operation, the oldest
/// first, with its id, name, descriptors, age, state and the time to its deadline, then one per
/// buffer pool with what is left in it. Returns the length of the whole text, as snprintf does;
/// what does not fit is cut, and the text is always terminated when `len` is not 0. An age counts
/// from the context's last look at the clock before the submit, at most eight turns earlier.
/// "staged, not handed over" waits for a run or a flush. Of a context that hangs, post a function
/// that dumps: if it does not run, a callback has not returned.
///
/// `buf`: NULL is allowed with `len` 0. Context thread, also after AIO_ESTUCK.
/// Errors: -EINVAL; AIO_EWRONGTHREAD; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_dump(ctx: *const aio_ctx, buf: *mut c_char, len: usize) -> i64 {
    guard!(ctx, handle => {
        arguments::buffer(buf, len)?;
        let text = match handle.inspect()? {
            Some(engine) => {
                engine.leave_plain_turns();
                engine.dump(handle)
            }
            None => String::from("context: new, nothing in flight\n"),
        };
        if len > 0 {
            let cut = text.len().min(len - 1);
            // SAFETY: `buf` has room for `len` bytes.
            unsafe {
                std::ptr::copy_nonoverlapping(text.as_ptr(), buf.cast::<u8>(), cut);
                buf.add(cut).write(0);
            }
        }
        Ok(text.len() as i64)
    })
}

/// How many operations have not ended.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_in_flight(ctx: *const aio_ctx) -> i32 {
    guard!(ctx, handle => {
        Ok(handle.inspect()?.map_or(0, |engine| engine.in_flight() as i32))
    })
}
