//! Contexts: creating, running, stopping, cancelling, looking inside, destroying.

use crate::engine::handle::Handle;
use crate::engine::mailbox::{Message, Posted};
use crate::ffi::{aio_ctx, aio_log_fn, aio_post_fn, arguments, guard, tuning};
use crate::sys::errno::Errno;
use std::ffi::{c_int, c_void};

/// io_uring where it is allowed, else epoll; `AIO_RS_BACKEND` in the environment (uring or
/// io_uring, epoll) decides first.
pub const AIO_BACKEND_AUTO: u32 = 0;
/// io_uring or nothing.
pub const AIO_BACKEND_URING: u32 = 1;
/// epoll and a pool of threads, also where io_uring is allowed.
pub const AIO_BACKEND_EPOLL: u32 = 2;

/// 128-byte submission entries, for aio_submit_raw with opcodes that need them. Linux 5.19.
pub const AIO_CTX_SQE128: u32 = 1;
/// 32-byte completion entries; the first extra word is `extra` of a record. Linux 5.19.
pub const AIO_CTX_CQE32: u32 = 2;
/// A kernel thread takes submissions (SQPOLL): submitting costs no system call, and that thread a
/// processor. Not where processors are shared; a context that waits is slower with it.
pub const AIO_CTX_SQPOLL: u32 = 4;
/// Completions are had by polling the device (IOPOLL): for direct reads and writes of devices with
/// poll queues. Nothing but nop, read, write, readv, writev and their registered forms can be
/// submitted (-EINVAL from the callback), what is no such transfer ends with -EOPNOTSUPP, nothing
/// in flight can be cancelled, and waiting for it keeps the processor busy.
pub const AIO_CTX_IOPOLL: u32 = 8;
/// With AIO_CTX_IOPOLL: sleeps for half of the usual time before it polls. Linux 6.13.
pub const AIO_CTX_HYBRID_IOPOLL: u32 = 16;
/// The argument of waits lies in memory that the kernel knows, so that a wait with a limit copies
/// nothing in. For contexts with timers; no use to others. Linux 6.13.
pub const AIO_CTX_REGISTERED_WAIT: u32 = 32;
/// Waiting counts as idle time, not as I/O wait. Not for storage, where I/O wait keeps the
/// processor's clock high. Linux 6.15.
pub const AIO_CTX_NO_IOWAIT: u32 = 64;
/// With napi_busy_poll_usec: the device's interrupts stay off while it is polled often enough.
pub const AIO_CTX_NAPI_PREFER: u32 = 128;
/// Latencies are kept, by opcode, for aio_ctx_histogram. Every submit and every completion looks at
/// the clock.
pub const AIO_CTX_HISTOGRAMS: u32 = 256;

/// `log` is told of each submit that is refused with -EINVAL, and of each chain that ends so, with
/// the reason (AIO_LOG_REFUSED), on the thread that makes the call; also of most other calls.
pub const AIO_CTX_LOG_REFUSALS: u32 = 512;

/// A log message's level: something failed.
pub const AIO_LOG_ERROR: i32 = 1;
/// A log message's level: something is not as asked for.
pub const AIO_LOG_WARN: i32 = 2;
/// A log message's level: a decision.
pub const AIO_LOG_INFO: i32 = 3;
/// A log message's level: why a call was refused; see AIO_CTX_LOG_REFUSALS.
pub const AIO_LOG_REFUSED: i32 = 4;

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
    /// Submission queue entries, rounded up to a power of two, at most 32,768: more is cut, and the
    /// log says so; 0: 128. Locked memory pays for it.
    pub sq_entries: u32,
    /// Completion queue entries, likewise, at most 65,536; 0: four times the submission queue.
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
    /// Told of what went wrong, NULL: nobody. It must not call into the context.
    pub log: aio_log_fn,
    /// Passed to `log`.
    pub log_arg: *mut c_void,
    /// With AIO_CTX_SQPOLL: the processor of the thread plus one; 0: any
    pub sqpoll_cpu: u32,
    /// With AIO_CTX_SQPOLL: milliseconds without work before the thread sleeps; 0: 1000
    pub sqpoll_idle_ms: u32,
    /// With AIO_CTX_SQPOLL: a context with SQPOLL whose thread is shared, alive during the call;
    /// NULL: none. The thread serves them in turns.
    pub sqpoll_share: *const aio_ctx,
    /// Microseconds for which a wait polls network devices before it sleeps; 0: does not. For a
    /// network card and a processor of one's own. Linux 6.9.
    pub napi_busy_poll_usec: u32,
    /// Completions that a wait is for, with min_wait_usec; 0: 16
    pub min_wait_count: u32,
    /// A wait goes on so many microseconds for min_wait_count completions before it makes do with
    /// one; 0: any ends it. Fewer turns under load; everything, posts included, may come so much
    /// later. Linux 6.12.
    pub min_wait_usec: u32,
    /// CLOCK_MONOTONIC or CLOCK_BOOTTIME, what timers and deadlines are measured with; 0: the
    /// first. The second goes on while the machine is suspended. Linux 6.12.
    pub clock_id: u32,
    /// The queues begin with sq_entries and cq_entries and grow up to these when a queue fills, the
    /// completion queue before it overflows; 0: they do not. For many contexts that are mostly
    /// idle. Not with AIO_CTX_SQPOLL. Linux 6.13.
    pub sq_entries_max: u32,
    pub cq_entries_max: u32,
    /// Most kernel workers of the context's thread for calls on files, and for all others; 0: the
    /// kernel's choice. They are the thread's: the last of its contexts to begin decides. Too few
    /// make calls that sleep wait for each other.
    pub workers_bounded_max: u32,
    pub workers_unbounded_max: u32,
    /// Where those workers run, as for sched_setaffinity(2), copied; NULL: anywhere. Processors
    /// that the thread's cpuset lacks are -EINVAL of the call that adopts the context.
    pub worker_cpus: *const c_void,
    /// The only opcodes (IORING_OP_*) that may be submitted, copied; NULL: all. Any other is
    /// -EACCES. Timers are no operations and stay allowed; what is made of several steps needs
    /// the opcodes of each. Submitting costs more.
    pub allowed_ops: *const u8,
    /// Bytes of worker_cpus, at most 128
    pub worker_cpus_size: u32,
    /// How many opcodes are allowed
    pub allowed_ops_count: u32,
    /// 0
    pub reserved: [u64; 8],
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

/// Creates a context, owned by nobody until its first submit, run or flush.
///
/// `options`: NULL for the defaults. `ctx_out`: receives the context; destroy it with
/// aio_ctx_destroy.
/// Any thread.
/// Errors: -EINVAL and -E2BIG for bad options, or for some that do not go together; -EINVAL also
/// where AIO_BACKEND_AUTO meets an AIO_RS_BACKEND that names no backend; -EOPNOTSUPP, the kernel
/// lacks something that they ask for, or there is no ring to ask it of: then nothing else will do,
/// also with AIO_BACKEND_AUTO; -EMFILE and -ENFILE, no descriptors; -ENOMEM. With AIO_BACKEND_URING
/// also what io_uring_setup(2) and io_uring_register(2) are refused with: -EPERM, -EACCES, -ENOSYS,
/// -ENOMEM. On epoll -ENOSPC, the user's fs.epoll.max_user_watches are used up.
/// Kernel: 6.1 for a ring, and 5.19 when one is asked for; any for epoll.
/// Surprise: memory for a ring may be late, because the kernel frees closed ones late: this waits
/// for it, 127 ms, and where this process has just closed rings 383 ms at most, before it makes a
/// smaller ring or does without.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_create(
    options: *const aio_ctx_options, ctx_out: *mut *mut aio_ctx,
) -> i32 {
    let create = || -> Result<(), Errno> {
        let out = arguments::output(ctx_out)?;
        // SAFETY: the caller's sized options, or NULL.
        let options = unsafe { tuning::context_options(options) }?;
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

/// Ends every operation, runs every last callback, then frees the context; see paragraph 13.
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

/// Gives a reference of aio_ctx_ref back; `ctx` must not be used through it any more. NULL:
/// nothing.
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
/// posted functions and records; 0 when the time was up, on a stop, when the last operation has
/// ended without a callback, or when there is nothing to wait for.
///
/// `timeout_ns`: nanoseconds; 0: do not wait; negative: no limit, but an idle context returns.
/// Context thread, not inside a callback.
/// Errors: as aio_ctx_run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_run_once(ctx: *mut aio_ctx, timeout_ns: i64) -> i32 {
    guard!(ctx, handle, quietly => {
        handle.run_with(|handle| {
            let delivered = crate::engine::run_once(handle, timeout_ns)?;
            Ok(delivered.min(i32::MAX as u32) as i32)
        })
    })
}

/// Makes the current or the next run call return; a run call uses the request up.
///
/// Any thread, and signal handlers.
/// Surprise: it does not wait for what was posted before. To stop after that, post a function that
/// calls aio_ctx_stop.
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
    guard!(ctx, handle, quietly => {
        let function = r#fn.ok_or(Errno::EINVAL)?;
        handle.send(Message::Run(Posted(function, arg))).map(|()| 0)
    })
}

/// Hands what is staged to the kernel. For a context inside somebody else's event loop, the last
/// call before that loop sleeps: 0, the descriptor of aio_ctx_fd will tell of everything but the
/// passing of time, for which there is aio_ctx_next_timeout_ns; 1, there is work now, call
/// aio_ctx_run_once(ctx, 0) and do not sleep.
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
    guard!(ctx, handle, quietly => {
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
                lease: record.brings.lease(),
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
