//! Thread pools, work on their threads, and predicates that are polled until they hold.

use crate::engine::Refusal;
use crate::engine::crew::Limits;
use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{
    aio_callback, aio_ctx, aio_op_id, aio_thread_pool, aio_work_fn, alone, arguments, guard,
    optional,
};
use crate::service::poll_until::{self, Pace};
use crate::service::threads::{self, ThreadPool};
use crate::sys::errno::Errno;
use crate::sys::function::Function;
use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

/// A pool's kind: for functions that sleep. A thread is started when work waits and none is free;
/// one that idles for `idle_ns` ends.
pub const AIO_THREAD_POOL_BLOCKING: u32 = 0;
/// A pool's kind: for functions that compute. As many threads as processors, from the beginning.
pub const AIO_THREAD_POOL_COMPUTE: u32 = 1;

/// Options of aio_thread_pool_create; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_thread_pool_options {
    /// sizeof(aio_thread_pool_options)
    pub size: u32,
    /// AIO_THREAD_POOL_*
    pub kind: u32,
    /// Threads at most, 1024 at most; 0: 64, or as many as the process may use processors if the
    /// pool computes.
    pub threads_max: u32,
    /// So many threads do not end when they idle, once they were needed. 0 if the pool computes,
    /// whose threads all stay.
    pub threads_min: u32,
    /// Work that may wait while all threads are busy; 0: 1024. The pool has `threads_max` more.
    pub queue_max: u32,
    /// Bytes of `cpus`, at most 128
    pub cpus_size: u32,
    /// A thread that finds nothing to do for so long ends; 0: two seconds. 0 if the pool computes.
    pub idle_ns: u64,
    /// Bytes of a thread's stack, from 16 KiB to 1 GiB; 0: 1 MiB.
    pub stack_size: u64,
    /// The threads' name, 15 bytes at most, copied; NULL: aio_rs-work.
    pub name: *const c_char,
    /// Where the threads run, as for sched_setaffinity(2), copied; NULL: where the thread runs that
    /// starts them. A set that the process may not use has no effect.
    pub cpus: *const c_void,
    /// 0
    pub reserved: [u64; 4],
}

/// What a thread pool is doing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_thread_pool_status {
    /// sizeof(aio_thread_pool_status)
    pub size: u32,
    /// AIO_THREAD_POOL_*
    pub kind: u32,
    /// Threads that there are, and how many there may be.
    pub threads: u32,
    pub threads_max: u32,
    /// Work that waits, and that runs.
    pub queued: u32,
    pub running: u32,
    /// Work that may wait while all threads are busy.
    pub queue_max: u32,
    /// 0
    pub reserved0: u32,
    /// Work that ever found room, also what was refused because no thread could be had for it.
    pub submitted: u64,
}

/// How often aio_submit_poll_until asks; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_poll_until_options {
    /// sizeof(aio_poll_until_options)
    pub size: u32,
    /// 0
    pub reserved0: u32,
    /// Nanoseconds after the first question; each later pause is twice as long. 0: 50,000. On the
    /// context, pauses are rounded up to timer_resolution_ns.
    pub min_interval_ns: u64,
    /// The longest pause; 0: 10,000,000, or `min_interval_ns` if that is longer.
    pub max_interval_ns: u64,
    /// For so long after it begins, it is asked without a pause: the thread that asks is busy
    /// then. On the context, once per turn, which does not sleep. 0: never.
    pub spin_ns: u64,
    /// A pool of the blocking kind, one of whose threads asks and has nothing else to do until the
    /// end; NULL: the context's thread does, between its other work.
    pub pool: *mut aio_thread_pool,
    /// 0
    pub reserved: [u64; 4],
}

const THREADS_DEFAULT: usize = 64;
const THREADS_LIMIT: u32 = 1024;
const QUEUE_DEFAULT: u32 = 1024;
const IDLE_DEFAULT_NS: u64 = 2_000_000_000;
const STACK_DEFAULT: u64 = 1 << 20;
const STACK_LEAST: u64 = 16 << 10;
const STACK_MOST: u64 = 1 << 30;
const NAME_MAX: usize = 15;
const INTERVAL_MIN_DEFAULT_NS: u64 = 50_000;
const INTERVAL_MAX_DEFAULT_NS: u64 = 10_000_000;

/// # Safety
/// `name` is NULL or a string.
unsafe fn name(name: *const c_char) -> Result<String, Errno> {
    if name.is_null() {
        return Ok("aio_rs-work".into());
    }
    // SAFETY: not NULL; the caller's string.
    let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| Errno::EINVAL)?;
    if name.len() > NAME_MAX { Err(Errno::EINVAL) } else { Ok(name.into()) }
}

/// # Safety
/// As `arguments::sized`, or NULL.
unsafe fn pool_options(options: *const aio_thread_pool_options) -> Result<(Limits, bool), Errno> {
    let defaults = aio_thread_pool_options {
        size: 0,
        kind: 0,
        threads_max: 0,
        threads_min: 0,
        queue_max: 0,
        cpus_size: 0,
        idle_ns: 0,
        stack_size: 0,
        name: std::ptr::null(),
        cpus: std::ptr::null(),
        reserved: [0; 4],
    };
    // SAFETY: passed on.
    let options = if options.is_null() { defaults } else { unsafe { arguments::sized(options) }? };
    let computes = options.kind == AIO_THREAD_POOL_COMPUTE;
    let stack = if options.stack_size == 0 { STACK_DEFAULT } else { options.stack_size };
    let is_wrong = options.kind > AIO_THREAD_POOL_COMPUTE
        || options.threads_max > THREADS_LIMIT
        || !(STACK_LEAST..=STACK_MOST).contains(&stack)
        || (computes && (options.threads_min != 0 || options.idle_ns != 0))
        || options.reserved != [0; 4];
    if is_wrong {
        return Err(Errno::EINVAL);
    }
    let threads_max = match options.threads_max {
        0 if computes => std::thread::available_parallelism().map_or(1, usize::from),
        0 => THREADS_DEFAULT.max(options.threads_min as usize),
        count => count as usize,
    };
    if options.threads_min as usize > threads_max {
        return Err(Errno::EINVAL);
    }
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    // SAFETY: the caller's string and bytes.
    let (name, cpus) =
        unsafe { (name(options.name)?, arguments::cpus(options.cpus, options.cpus_size)?) };
    let limits = Limits {
        name,
        threads_min: options.threads_min as usize,
        threads_max,
        threads_eager: threads_max,
        queue_max: or(options.queue_max.into(), QUEUE_DEFAULT.into()) as usize,
        idle: Duration::from_nanos(or(options.idle_ns, IDLE_DEFAULT_NS)),
        stack_bytes: stack as usize,
        cpus: cpus.map(Box::new),
    };
    Ok((limits, computes))
}

/// The pool behind a C pointer, of which the caller keeps its share.
///
/// # Safety
/// `pool` is NULL or a pool that was not destroyed.
unsafe fn shared(pool: *const aio_thread_pool) -> Result<ManuallyDrop<Arc<ThreadPool>>, Errno> {
    optional!("thread_pools");
    if pool.is_null() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: made by Arc::into_raw; the count is left as it is.
    Ok(ManuallyDrop::new(unsafe { Arc::from_raw(pool.cast::<ThreadPool>()) }))
}

/// Makes a pool of threads for aio_submit_work.
///
/// `options`: NULL for the defaults. `pool_out`: receives the pool; destroy it with
/// aio_thread_pool_destroy. Its threads act for the file system as the calling thread does now, and
/// block all signals. Any thread.
/// Errors: -EINVAL and -E2BIG for bad options; -EAGAIN, a computing pool cannot have its threads;
/// -ENOMEM; -EOPNOTSUPP, the library was built without its feature `thread_pools`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_thread_pool_create(
    options: *const aio_thread_pool_options, pool_out: *mut *mut aio_thread_pool,
) -> i32 {
    alone(|| {
        optional!("thread_pools");
        let out = arguments::output(pool_out)?;
        // SAFETY: the caller's sized options, or NULL.
        let (limits, computes) = unsafe { pool_options(options) }?;
        let pool = ThreadPool::create(limits, computes)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Arc::into_raw(pool).cast_mut().cast()) };
        Ok(0)
    })
}

/// Ends a pool: what has not begun ends with -ECANCELED and AIO_CQE_ABORTED, and so does a
/// predicate of aio_submit_poll_until that does not hold yet; a function that runs is waited for,
/// and the threads are joined. The operations' callbacks come on their contexts, also later.
///
/// Any thread, also inside a callback; no other thread may use the pool any more. In a forked child
/// nothing is touched, and 0 returned. NULL: nothing.
/// Errors: -EDEADLK on a thread of the pool, which would wait for itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_thread_pool_destroy(pool: *mut aio_thread_pool) -> i32 {
    alone(|| {
        // SAFETY: the caller's pool, or NULL.
        let Ok(pool) = (unsafe { shared(pool) }) else { return Ok(0) };
        match pool.destroy() {
            // Nobody here knows who held which lock in the parent.
            Err(Refusal::Forked) => return Ok(0),
            outcome => outcome?,
        }
        drop(ManuallyDrop::into_inner(pool));
        Ok(0)
    })
}

/// Tells what a pool is doing. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_thread_pool_info(
    pool: *const aio_thread_pool, status_out: *mut aio_thread_pool_status,
) -> i32 {
    alone(|| {
        // SAFETY: the caller's pool, or NULL.
        let pool = unsafe { shared(pool) }?;
        let (head, limits) = (pool.head()?, pool.limits());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let status = aio_thread_pool_status {
            size: 0,
            kind: u32::from(pool.computes()),
            threads: count(head.threads),
            threads_max: count(limits.threads_max),
            queued: count(head.queued),
            running: count(head.running),
            queue_max: count(limits.queue_max),
            reserved0: 0,
            submitted: head.submitted,
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(status_out, status) }?;
        Ok(0)
    })
}

/// Runs a function on a thread of a pool; what it returns is the result.
///
/// `arg` is the function's until the callback. A cancel removes what has not begun; a function
/// that runs is waited for, and its result is then -ECANCELED (-ETIMEDOUT for a deadline), or with
/// AIO_SUBMIT_KEEP_RESULT what it returned. Nothing may unwind out of it. It may post to contexts
/// and cancel, but has no context of its own. Context thread.
/// Errors: -EAGAIN, the pool is full (aio_thread_pool_info tells how many wait and run), or can
/// have no thread; -EINVAL, links; AIO_EFORKED, the pool's threads are the parent's. -ECANCELED
/// from a function that was not asked to end has AIO_CQE_ABORTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_work(
    ctx: *mut aio_ctx, pool: *mut aio_thread_pool, work: aio_work_fn, arg: *mut c_void,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        // SAFETY: the caller's pool, or NULL; its options, or NULL; its function, with `arg`.
        let (pool, options, function) = unsafe {
            let function = Function::new(work.ok_or(Errno::EINVAL)?, arg);
            (shared(pool)?, arguments::submit_options_or_default(options)?, function)
        };
        Ok(threads::submit_work(handle, &pool, function, &options, done)? as aio_op_id)
    })
}

/// Calls a function again and again until it does not return 0: then that is the result.
///
/// `ready` with `arg`: 0, not yet; it should return at once. `how`: how often and where; NULL: on
/// the context's thread, where it may do what a callback may, from 50 microseconds to 10
/// milliseconds apart. After a cancel it is not called any more, but for a call that runs on a
/// pool's thread, which is waited for. Context thread.
/// Errors: -EINVAL, intervals that make no sense, a pool that computes, links; -EAGAIN, the pool is
/// full; AIO_EFORKED as for aio_submit_work.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_poll_until(
    ctx: *mut aio_ctx, ready: aio_work_fn, arg: *mut c_void, how: *const aio_poll_until_options,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        // SAFETY: the caller's structures, or NULL; its function, with `arg`.
        let (function, (pace, pool), options) = unsafe {
            let function = Function::new(ready.ok_or(Errno::EINVAL)?, arg);
            (function, pace(how)?, arguments::submit_options_or_default(options)?)
        };
        // SAFETY: the caller's pool, or NULL.
        let pool = if pool.is_null() { None } else { Some(unsafe { shared(pool) }?) };
        let id = poll_until::submit(handle, function, pace, pool.as_deref(), &options, done)?;
        Ok(id as aio_op_id)
    })
}

/// # Safety
/// As `arguments::sized`, or NULL.
unsafe fn pace(how: *const aio_poll_until_options) -> Result<(Pace, *mut aio_thread_pool), Errno> {
    let defaults = aio_poll_until_options {
        size: 0,
        reserved0: 0,
        min_interval_ns: 0,
        max_interval_ns: 0,
        spin_ns: 0,
        pool: std::ptr::null_mut(),
        reserved: [0; 4],
    };
    // SAFETY: passed on.
    let how = if how.is_null() { defaults } else { unsafe { arguments::sized(how) }? };
    if how.reserved0 != 0 || how.reserved != [0; 4] {
        return Err(Errno::EINVAL);
    }
    let (min_ns, max_ns) = match (how.min_interval_ns, how.max_interval_ns) {
        (0, 0) => (INTERVAL_MIN_DEFAULT_NS, INTERVAL_MAX_DEFAULT_NS),
        (0, most) => (INTERVAL_MIN_DEFAULT_NS.min(most), most),
        (least, 0) => (least, INTERVAL_MAX_DEFAULT_NS.max(least)),
        both => both,
    };
    if min_ns > max_ns {
        return Err(Errno::EINVAL);
    }
    Ok((Pace { min_ns, max_ns, spin_ns: how.spin_ns }, how.pool))
}
