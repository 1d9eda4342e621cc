//! Contexts: creating, running, stopping, cancelling, looking inside, destroying.

use crate::engine::handle::Handle;
use crate::engine::mailbox::Message;
use crate::engine::{Choice, ContextOptions, Log, Refusal};
use crate::ffi::{aio_ctx, aio_log_fn, aio_op_id, aio_post_fn, arguments, guard};
use crate::sys::errno::Errno;
use std::ffi::{c_char, c_int, c_void};

/// io_uring where it is allowed; `AIO_RS_BACKEND` in the environment (uring, epoll) decides first.
pub const AIO_BACKEND_AUTO: u32 = 0;
/// io_uring or nothing.
pub const AIO_BACKEND_URING: u32 = 1;
/// The fallback for where io_uring is forbidden. Not in this version: -EOPNOTSUPP.
pub const AIO_BACKEND_EPOLL: u32 = 2;

/// 128-byte submission entries, for aio_submit_raw with opcodes that need them. Linux 5.19.
pub const AIO_CTX_SQE128: u32 = 1;
/// 32-byte completion entries; the first extra word is `extra` of a record. Linux 5.19.
pub const AIO_CTX_CQE32: u32 = 2;

/// A log message's level: something failed.
pub const AIO_LOG_ERROR: i32 = 1;
/// A log message's level: something is not as asked for.
pub const AIO_LOG_WARN: i32 = 2;
/// A log message's level: a decision.
pub const AIO_LOG_INFO: i32 = 3;

/// Options of aio_ctx_create; NULL stands for all defaults, and so does a zero in any field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_ctx_options {
    /// sizeof(aio_ctx_options)
    pub size: u32,
    /// AIO_BACKEND_*
    pub backend: u32,
    /// AIO_CTX_*
    pub flags: u32,
    /// Submission queue entries, rounded up to a power of two; 0: 128. Locked memory pays for it.
    pub sq_entries: u32,
    /// Completion queue entries, likewise; 0: four times the submission queue.
    pub cq_entries: u32,
    /// Most operations in flight; one more is refused with -EAGAIN. 0: 16,777,215.
    pub max_ops: u32,
    /// How long destroy may take before it gives up with AIO_ESTUCK, in nanoseconds; 0: no limit.
    pub destroy_grace_ns: u64,
    /// How late a timer may fire on an idle loop, in nanoseconds; 0: 200,000.
    pub timer_resolution_ns: u64,
    /// Records that may wait for aio_ctx_reap before completions stay in the ring; 0: 65,536.
    pub reap_backlog_max: u32,
    /// 0
    pub reserved0: u32,
    /// Told of what went wrong, NULL: nobody.
    pub log: aio_log_fn,
    /// Passed to `log`.
    pub log_arg: *mut c_void,
    /// 0
    pub reserved: [u64; 8],
}

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
    pub sq_entries: u32,
    pub cq_entries: u32,
    /// Bytes of an entry: 64 or 128
    pub sqe_size: u32,
    /// Bytes of an entry: 16 or 32
    pub cqe_size: u32,
    /// Why a fallback was chosen: a status, 0 when io_uring is in use
    pub fallback_status: i32,
    /// The running kernel's, `major << 16 | minor`
    pub kernel_version: u32,
    /// How late a timer may fire: the tick in force
    pub timer_resolution_ns: u64,
    pub reserved: [u64; 4],
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
    /// io_uring_enter calls
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
}

/// A completion as aio_ctx_reap hands it out.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_completion {
    /// The pointer given to the submit call, as a number
    pub user_data: u64,
    /// The operation's id
    pub id: i64,
    pub result: i32,
    /// AIO_CQE_*
    pub flags: u32,
    /// Bytes transferred, or the first extra word of a 32-byte completion
    pub extra: u64,
    /// The pool buffer that carries the data; 0: none
    pub lease: i64,
}

/// Creates a context, owned by nobody until its first submit, run, flush or cancel.
///
/// `options`: NULL for the defaults. `ctx_out`: receives the context; destroy it with
/// aio_ctx_destroy.
/// Any thread.
/// Errors: -EINVAL and -E2BIG for bad options; -EOPNOTSUPP, a backend that is not there; -ENOMEM,
/// -EMFILE, -EPERM, -ENOSYS from io_uring_setup(2).
/// Kernel: 6.1 for the flags that make it fast, 5.19 at least.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_create(
    options: *const aio_ctx_options, ctx_out: *mut *mut aio_ctx,
) -> i32 {
    let create = || -> Result<(), Errno> {
        let out = arguments::output(ctx_out)?;
        // SAFETY: the caller's sized options, or NULL.
        let options = unsafe { context_options(options) }?;
        let handle = Handle::create(&options)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Box::into_raw(handle).cast()) };
        Ok(())
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(create)) {
        Ok(Ok(())) => 0,
        Ok(Err(errno)) => errno.status(),
        Err(_) => crate::ffi::status::AIO_EPANIC,
    }
}

/// # Safety
/// As `arguments::sized`.
unsafe fn context_options(options: *const aio_ctx_options) -> Result<ContextOptions, Errno> {
    let defaults = aio_ctx_options {
        size: 0,
        backend: AIO_BACKEND_AUTO,
        flags: 0,
        sq_entries: 0,
        cq_entries: 0,
        max_ops: 0,
        destroy_grace_ns: 0,
        timer_resolution_ns: 0,
        reap_backlog_max: 0,
        reserved0: 0,
        log: None,
        log_arg: std::ptr::null_mut(),
        reserved: [0; 8],
    };
    // SAFETY: passed on.
    let options = if options.is_null() { defaults } else { unsafe { arguments::sized(options) }? };
    let unknown = options.flags & !(AIO_CTX_SQE128 | AIO_CTX_CQE32) != 0
        || options.reserved0 != 0
        || options.reserved != [0; 8];
    if unknown {
        return Err(Errno::EINVAL);
    }
    let backend = match options.backend {
        AIO_BACKEND_AUTO => Choice::Auto,
        AIO_BACKEND_URING => Choice::Uring,
        AIO_BACKEND_EPOLL => Choice::Epoll,
        _ => return Err(Errno::EINVAL),
    };
    Ok(ContextOptions {
        backend,
        wide_submissions: options.flags & AIO_CTX_SQE128 != 0,
        wide_completions: options.flags & AIO_CTX_CQE32 != 0,
        sq_entries: options.sq_entries,
        cq_entries: options.cq_entries,
        max_ops: options.max_ops,
        destroy_grace_ns: options.destroy_grace_ns,
        timer_resolution_ns: options.timer_resolution_ns,
        reap_backlog_max: options.reap_backlog_max,
        log: options.log.map(|function| Log { function, arg: options.log_arg }),
    })
}

/// Ends every operation, runs every last callback, then frees the context; see the manual, line 13.
///
/// Context thread, or any thread if it was never used. Inside a callback of the context it is
/// accepted and done when the callback has returned.
/// Errors: AIO_EPENDING inside a callback; AIO_ESTUCK; AIO_EWRONGTHREAD; AIO_EORPHANED, which also
/// frees it; AIO_ECLOSED if it was destroyed before and a reference is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_destroy(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => { handle.destroy().map(|()| 0) })
}

/// Keeps the handle valid for other threads after destroy; their calls then give AIO_ECLOSED.
///
/// Any thread that holds a reference, or the creator. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_ref(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        handle.add_ref();
        Ok(0)
    })
}

/// Gives a reference of aio_ctx_ref back; `ctx` must not be used through it any more. NULL: nothing.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_unref(ctx: *mut aio_ctx) {
    if !ctx.is_null() {
        // SAFETY: the caller holds a reference, by contract.
        unsafe { Handle::unref(ctx.cast()) };
    }
}

/// Runs callbacks until aio_ctx_stop, or until nothing is in flight, posted or held.
///
/// Context thread, not inside a callback.
/// Errors: AIO_EDESTROYED, a callback destroyed the context; AIO_EREENTRANT; AIO_EWRONGTHREAD.
/// Surprise: also returns when the records for aio_ctx_reap have reached reap_backlog_max.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_run(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => { handle.run_with(crate::engine::run).map(|()| 0) })
}

/// Waits for something to deliver, delivers what is there, and returns the number of callbacks,
/// posted functions and records; 0 when the time was up, on a stop, or when there is nothing to
/// wait for.
///
/// `timeout_ns`: nanoseconds; 0: do not wait; negative: no limit, but an idle context returns.
/// Context thread, not inside a callback.
/// Errors: as aio_ctx_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_run_once(ctx: *mut aio_ctx, timeout_ns: i64) -> i32 {
    guard!(ctx, handle => {
        let delivered = handle.run_with(|handle| crate::engine::run_once(handle, timeout_ns))?;
        Ok(i32::try_from(delivered).unwrap_or(i32::MAX))
    })
}

/// Makes the current or the next run call return; a run call uses the request up.
///
/// Any thread, and signal handlers.
/// Errors: AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC, AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_stop(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        handle.check_any_thread()?;
        handle.mailbox.request_stop();
        Ok(0)
    })
}

/// Has `fn(arg)` called on the context's thread, by a run call; first in, first out.
///
/// Any thread. Wakes a sleeping context; no system call when it is awake. What was accepted runs,
/// at the latest in destroy.
/// Errors: -EINVAL, `fn` is NULL; AIO_ECLOSED, AIO_EORPHANED, AIO_EPANIC, AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_post(
    ctx: *mut aio_ctx, r#fn: aio_post_fn, arg: *mut c_void,
) -> i32 {
    guard!(ctx, handle => {
        let function = r#fn.ok_or(Errno::EINVAL)?;
        handle.send(Message::Run(function, arg)).map(|()| 0)
    })
}

/// Asks an operation to end; its callback comes later, with -ECANCELED or the result that was
/// faster.
///
/// Any thread. From another thread the request is posted, and 0 means no more than that.
/// Errors, on the context's thread: -ENOENT, no such operation is in flight; -EALREADY, it was asked
/// before, or has completed and its callback is due.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        match handle.enter_while_destroying() {
            Ok(engine) => engine.cancel(id as u64)?,
            Err(Refusal::WrongThread) => handle.send(Message::Cancel(id as u64))?,
            Err(refusal) => return Err(refusal),
        }
        Ok(0)
    })
}

/// Asks every operation on a descriptor number to end; returns how many were asked.
///
/// `flags`: 0. Context thread.
/// Errors: -EINVAL, a negative descriptor or unknown flags.
/// Surprise: it acts on the number in this context; operations through a dup of it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_fd(ctx: *mut aio_ctx, fd: c_int, flags: u32) -> i32 {
    guard!(ctx, handle => {
        if fd < 0 || flags != 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok(handle.enter_while_destroying()?.cancel_fd(fd))
    })
}

/// Asks every operation to end; returns how many were asked.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_all(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => { Ok(handle.enter_while_destroying()?.cancel_all()) })
}

/// Asks every operation that was submitted with this `group` to end; returns how many were asked.
///
/// Context thread. Takes time in proportion to what is in flight.
/// Errors: -EINVAL, group 0, which means none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_group(ctx: *mut aio_ctx, group: u64) -> i32 {
    guard!(ctx, handle => {
        if group == 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok(handle.enter_while_destroying()?.cancel_group(group))
    })
}

/// Cancels an operation and waits for it alone; its callback does not run, and its memory is the
/// caller's again. For owners of memory that is going away.
///
/// Context thread, also inside callbacks. What others complete meanwhile is delivered later.
/// Errors: -ENOENT, no such operation is in flight: it has completed, or its callback is running.
/// Surprise: waits as long as the kernel does; a disk transfer that is running cannot be stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_cancel_wait(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        handle.enter_while_destroying()?.cancel_wait(id as u64).map(|()| 0)
    })
}

/// Cancels an operation whose callback must never run; a descriptor that it still brings is closed.
///
/// Context thread, also inside callbacks.
/// Errors: -ENOENT; -EBUSY, it uses memory of the caller's: see aio_ctx_cancel_wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_detach(ctx: *mut aio_ctx, id: aio_op_id) -> i32 {
    guard!(ctx, handle => {
        handle.enter_while_destroying()?.detach(id as u64)?;
        Ok(0)
    })
}

/// Hands what is staged to the kernel. For a context inside somebody else's event loop, the last
/// call before that loop sleeps: 0, the descriptor of aio_ctx_fd will tell of everything; 1, there
/// is work now, call aio_ctx_run_once(ctx, 0) and do not sleep.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_flush(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        let has_work = handle.enter()?.flush(&handle.mailbox)?;
        Ok(i32::from(has_work))
    })
}

/// A descriptor for somebody else's event loop, level or edge triggered: readable when there is
/// something to run. It is the context's: do not read or close it.
///
/// Context thread.
/// Errors: -EMFILE and -ENFILE, no descriptor is left.
/// Surprise: it tells of nothing between a run call and the next aio_ctx_flush.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_fd(ctx: *mut aio_ctx) -> c_int {
    guard!(ctx, handle => { Ok(handle.enter()?.foreign_descriptor(&handle.mailbox)?) })
}

/// How long a foreign loop may sleep, in nanoseconds: 0, there is work now; -1, without limit.
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_next_timeout_ns(ctx: *const aio_ctx) -> i64 {
    guard!(ctx, handle => {
        let timeout_ns = handle.enter_while_destroying()?.next_timeout_ns();
        Ok(timeout_ns.map_or(-1, |ns| i64::try_from(ns).unwrap_or(i64::MAX)))
    })
}

/// Takes completions of operations that were submitted with AIO_CALLBACK_REAP; runs the callbacks
/// of others as aio_ctx_run_once does. Returns the number of records, 0 when the time was up.
///
/// `out`: `count` records of `record_size` bytes each, sizeof(aio_completion).
/// `timeout_ns`: as for aio_ctx_run_once.
/// Context thread, not inside a callback.
/// Errors: -EINVAL, `out` is NULL or `record_size` too small; AIO_EREENTRANT, AIO_EDESTROYED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_reap(
    ctx: *mut aio_ctx, out: *mut aio_completion, record_size: u32, count: u32, timeout_ns: i64,
) -> i32 {
    guard!(ctx, handle => {
        let size = record_size as usize;
        if count == 0 || size < size_of::<aio_completion>() || !size.is_multiple_of(8) {
            return Err(Errno::EINVAL.into());
        }
        let out = arguments::output(out)?;
        handle.run_with(|handle| crate::engine::wait_for_records(handle, timeout_ns))?;
        let engine = handle.enter()?;
        let mut written = 0;
        for record in engine.take_records(count as usize) {
            let record = aio_completion {
                user_data: record.user_data as u64,
                id: record.id as i64,
                result: record.result,
                flags: record.flags,
                extra: record.extra,
                lease: 0,
            };
            // SAFETY: `count` records of `size` bytes are the caller's.
            unsafe { out.byte_add(written as usize * size).write_unaligned(record) };
            written += 1;
        }
        Ok(written)
    })
}

/// Keeps aio_ctx_run from ending for lack of work.
///
/// Any thread; give it back with aio_ctx_release. NULL: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_hold(ctx: *mut aio_ctx) {
    let _: i32 = guard!(ctx, handle => {
        handle.mailbox.hold();
        Ok(0)
    });
}

/// Gives one aio_ctx_hold back.
///
/// Any thread. NULL, or a release too many: nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_release(ctx: *mut aio_ctx) {
    let _: i32 = guard!(ctx, handle => {
        handle.mailbox.release();
        Ok(0)
    });
}

/// The context whose callback is running on the calling thread, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn aio_ctx_current() -> *mut aio_ctx {
    Handle::current().cast_mut().cast()
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
///
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_bytes(ctx: *const aio_ctx) -> u64 {
    let bytes: i64 = guard!(ctx, handle => {
        let engine = handle.inspect()?;
        Ok(engine.map_or(0, |engine| engine.current().bytes() as i64))
    });
    bytes.max(0) as u64
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
        let granted = handle.granted;
        let info = aio_info {
            size: 0,
            backend: AIO_BACKEND_URING,
            setup_flags: granted.setup_flags,
            features: granted.features,
            sq_entries: granted.sq_entries,
            cq_entries: granted.cq_entries,
            sqe_size: granted.sqe_size,
            cqe_size: granted.cqe_size,
            fallback_status: 0,
            kernel_version: major << 16 | minor,
            timer_resolution_ns: handle.tick_ns,
            reserved: [0; 4],
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, info) }?;
        Ok(0)
    })
}

/// The context's counters: exact on its own thread between turns, as of its last turn elsewhere.
///
/// `out`: its `size` set by the caller; as much is written. Any thread.
/// Errors: -EINVAL, `out` is NULL or its size below 4; AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_stats(ctx: *const aio_ctx, out: *mut aio_stats) -> i32 {
    guard!(ctx, handle => {
        if handle.is_forked() {
            return Err(Refusal::Forked);
        }
        if let Ok(Some(engine)) = handle.inspect() {
            engine.publish(handle);
        }
        let tally = handle.stats.snapshot();
        let stats = aio_stats {
            size: 0,
            in_flight: tally.submitted.wrapping_sub(tally.completed) as u32,
            submitted: tally.submitted,
            completed: tally.completed,
            callbacks: tally.callbacks,
            turns: tally.turns,
            system_calls: tally.system_calls,
            overflows: tally.overflows,
            full_queues: tally.full_queues,
            posts: tally.posts,
            wakes: tally.wakes,
            cancels: tally.cancels,
            deadlines: tally.deadlines,
            rearms: tally.rearms,
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, stats) }?;
        Ok(0)
    })
}

/// Writes what is in flight as text: a line about the context, then one per operation with its id,
/// name, descriptor, age and state. Returns the length of the whole text, as snprintf does; what
/// does not fit is cut, and the text is always terminated when `len` is not 0.
///
/// `buf`: NULL is allowed with `len` 0. Context thread, also after AIO_ESTUCK.
/// Errors: -EINVAL; AIO_EWRONGTHREAD; AIO_ECLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_dump(ctx: *const aio_ctx, buf: *mut c_char, len: usize) -> i64 {
    guard!(ctx, handle => {
        arguments::buffer(buf, len)?;
        let text = match handle.inspect()? {
            Some(engine) => engine.dump(handle),
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

/// The pointer of aio_ctx_set_user_data; NULL at first.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_user_data(ctx: *const aio_ctx) -> *mut c_void {
    // SAFETY: a live handle or NULL.
    let handle = unsafe { ctx.cast::<Handle>().as_ref() };
    handle.map_or(std::ptr::null_mut(), Handle::user_data)
}

/// Keeps a pointer of the caller's with the context. NULL context: nothing.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_set_user_data(ctx: *mut aio_ctx, user_data: *mut c_void) {
    // SAFETY: a live handle or NULL.
    if let Some(handle) = unsafe { ctx.cast::<Handle>().as_ref() } {
        handle.set_user_data(user_data);
    }
}
