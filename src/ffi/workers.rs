//! Workers: threads with a context each, one per processor as a rule.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::mailbox::{Message, Posted};
use crate::ffi::ctx::aio_ctx_options;
use crate::ffi::status::{self, AIO_EFORKED, AIO_EPANIC};
use crate::ffi::{
    aio_ctx, aio_post_fn, aio_take_fn, aio_worker_fn, aio_workers, arguments, tuning,
};
use crate::service::workers::{Failure, Function, Plan, Taker, Workers};
use crate::sys::errno::Errno;
use crate::sys::message::{sockaddr, socklen_t};
use crate::sys::{clock, thread};
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// An option of workers: their threads run on any processor.
pub const AIO_WORKERS_UNPINNED: u32 = 1;

/// In place of a worker's number: each in turn that has not ended.
pub const AIO_WORKERS_ANY: u32 = 4_294_967_295;

/// Options of aio_workers_create; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_workers_options {
    /// sizeof(aio_workers_options)
    pub size: u32,
    /// AIO_WORKERS_*
    pub flags: u32,
    /// Workers, at most 1,024; 0: one for each of the processors.
    pub count: u32,
    /// Entries of `cpus`.
    pub cpu_count: u32,
    /// Processors, as numbers: worker i is kept on cpus[i % cpu_count]. NULL: those that the caller
    /// may run on. Copied.
    pub cpus: *const u32,
    /// Of each context; NULL for the defaults. Copied.
    pub ctx: *const aio_ctx_options,
    /// Called on each worker's thread with its context, before aio_workers_create returns, several
    /// at a time; a negative value is why the workers cannot begin. NULL: nothing.
    pub on_start: aio_worker_fn,
    /// Called on each worker's thread when it is to stop, before it waits for what is in flight;
    /// what it returns means nothing. Also when aio_workers_create fails, on those whose `on_start`
    /// had succeeded. NULL: nothing.
    pub on_stop: aio_worker_fn,
    /// Called on a worker's thread with a descriptor of aio_workers_send_fd. NULL: none is taken.
    pub on_fd: aio_take_fn,
    /// Passed to all three.
    pub arg: *mut c_void,
    /// 0
    pub reserved: [u64; 4],
}

const COUNT_MAX: u32 = 1024;
const BACKLOG_DEFAULT: i32 = 4096;

/// What the caller hands to other threads on purpose.
#[derive(Clone, Copy)]
struct Shipped<T: Copy>(T);

// SAFETY: as said above; that is what the functions and their argument are for.
unsafe impl<T: Copy> Send for Shipped<T> {}
// SAFETY: as above.
unsafe impl<T: Copy> Sync for Shipped<T> {}

impl<T: Copy> Shipped<T> {
    fn get(&self) -> T {
        self.0
    }
}

fn context(handle: &Handle) -> *mut aio_ctx {
    std::ptr::from_ref(handle).cast_mut().cast()
}

fn worker_function(function: aio_worker_fn, arg: *mut c_void) -> Option<Function<i32>> {
    let shipped = Shipped((function?, arg));
    Some(Box::new(move |handle, index| {
        let (function, arg) = shipped.get();
        // SAFETY: the caller promised a function of this type.
        unsafe { function(arg, context(handle), index) }
    }))
}

fn taker(function: aio_take_fn, arg: *mut c_void) -> Option<Taker> {
    let shipped = Shipped((function?, arg));
    Some(Box::new(move |handle, fd| {
        let (function, arg) = shipped.get();
        // SAFETY: as above.
        unsafe { function(arg, context(handle), fd) }
    }))
}

/// # Safety
/// As `arguments::sized`, or NULL; the arrays are as long as they are said to be.
unsafe fn plan(options: *const aio_workers_options) -> Result<Plan, Errno> {
    let mut plan = Plan {
        count: 0,
        cpus: Vec::new(),
        create: Box::new(|| Err(Errno::EINVAL)),
        on_start: None,
        on_stop: None,
        on_descriptor: None,
    };
    let (mut flags, mut ctx_options) = (0, std::ptr::null());
    if !options.is_null() {
        // SAFETY: the caller's sized options.
        let options = unsafe { arguments::sized(options) }?;
        let is_odd = options.cpus.is_null() != (options.cpu_count == 0);
        if options.flags & !AIO_WORKERS_UNPINNED != 0
            || options.count > COUNT_MAX
            || options.cpu_count > COUNT_MAX
            || is_odd
            || options.reserved != [0; 4]
        {
            return Err(Errno::EINVAL);
        }
        if !options.cpus.is_null() {
            // SAFETY: the caller's array.
            plan.cpus =
                unsafe { arguments::array(options.cpus, options.cpu_count as usize) }?.to_vec();
        }
        (flags, ctx_options) = (options.flags, options.ctx);
        plan.count = options.count;
        plan.on_start = worker_function(options.on_start, options.arg);
        plan.on_stop =
            worker_function(options.on_stop, options.arg).map(|function| -> Function<()> {
                Box::new(move |handle, index| {
                    function(handle, index);
                })
            });
        plan.on_descriptor = taker(options.on_fd, options.arg);
    }
    if plan.cpus.is_empty() {
        plan.cpus = thread::allowed_cpus();
    }
    if plan.count == 0 {
        plan.count = (plan.cpus.len() as u32).min(COUNT_MAX);
    }
    if flags & AIO_WORKERS_UNPINNED != 0 {
        plan.cpus.clear();
    }
    // SAFETY: the caller's sized options, or NULL.
    let ctx_options = Shipped(unsafe { tuning::context_options(ctx_options) }?);
    plan.create = Box::new(move || Handle::create(&ctx_options.get()));
    Ok(plan)
}

fn status_of(failure: Failure) -> i32 {
    match failure {
        Failure::Refused(refusal) => status::of(refusal),
        Failure::Said(status) => status,
    }
}

/// Runs a body with the workers behind a C pointer; NULL is -EINVAL.
///
/// # Safety
/// NULL, or workers that were not destroyed.
unsafe fn with(
    workers: *const aio_workers, body: impl FnOnce(&Workers) -> Result<i32, Refusal>,
) -> i32 {
    // SAFETY: passed on.
    let Some(workers) = (unsafe { workers.cast::<Workers>().as_ref() }) else {
        return Errno::EINVAL.status();
    };
    if workers.are_forked() {
        return AIO_EFORKED;
    }
    match catch_unwind(AssertUnwindSafe(|| body(workers))) {
        Ok(outcome) => outcome.unwrap_or_else(status::of),
        Err(_) => AIO_EPANIC,
    }
}

fn index_of(index: u32) -> Option<u32> {
    (index != AIO_WORKERS_ANY).then_some(index)
}

/// Starts threads with a context each, which run until aio_workers_stop, also while nothing is in
/// flight. Returns when all have started, or none has: what had started is ended again.
///
/// `options`: NULL for the defaults, a worker per processor. `workers_out`: receives them; destroy
/// them with aio_workers_destroy.
/// A worker's thread is kept on its processor and creates its context there, so that its rings,
/// slots and pools lie in that processor's memory; it holds back all signals.
/// Any thread.
/// Errors: -EINVAL and -E2BIG for bad options; -EINVAL, a processor that the process may not use;
/// -EAGAIN, no thread; those of aio_ctx_create; what `on_start` said.
/// Surprise: the contexts belong to the workers, which run and destroy them. aio_ctx_stop does
/// nothing to one, and completions for aio_ctx_reap, which nobody calls there, end it (-ENOBUFS).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_create(
    options: *const aio_workers_options, workers_out: *mut *mut aio_workers,
) -> i32 {
    let create = || -> Result<(), Failure> {
        let out = arguments::output(workers_out)?;
        // SAFETY: the caller's options, or NULL.
        let workers = Workers::create(unsafe { plan(options) }?)?;
        // SAFETY: `out` is not NULL, and the caller's.
        unsafe { out.write(Box::into_raw(Box::new(workers)).cast()) };
        Ok(())
    };
    match catch_unwind(AssertUnwindSafe(create)) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => status_of(failure),
        Err(_) => AIO_EPANIC,
    }
}

/// Asks all workers to stop, and does not wait for it. Each accepts no more connections of
/// aio_workers_listen, calls `on_stop`, runs until nothing is in flight, posted or held, but no
/// longer than `drain_ns`, and destroys its context, which cancels what is left.
///
/// `drain_ns`: nanoseconds; 0: cancel at once; negative: no limit. Of several calls the earliest
/// end counts.
/// Any thread, workers included.
/// Errors: -EINVAL, `workers` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_stop(workers: *mut aio_workers, drain_ns: i64) -> i32 {
    // SAFETY: the ABI's pointer.
    unsafe {
        with(workers, |workers| {
            let until_ns = match u64::try_from(drain_ns) {
                Ok(ns) => clock::now_ns().saturating_add(ns),
                Err(_) => u64::MAX,
            };
            workers.stop(until_ns);
            Ok(0)
        })
    }
}

/// Waits until all workers have ended, which somebody must have asked them to.
///
/// Any thread but theirs.
/// Errors: -EINVAL, `workers` is NULL; -EDEADLK, the caller is one of them; the first failure of a
/// worker, such as AIO_ESTUCK of its context's destruction.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_join(workers: *mut aio_workers) -> i32 {
    let mut failure = 0;
    // SAFETY: the ABI's pointer.
    let status = unsafe {
        with(workers, |workers| {
            if workers.include_caller() {
                return Err(Errno::EDEADLK.into());
            }
            failure = workers.join().map_or_else(status_of, |()| 0);
            Ok(0)
        })
    };
    if status == 0 { failure } else { status }
}

/// Stops workers that nobody has asked to stop (without a drain), waits for them as
/// aio_workers_join does, and frees them. Their contexts' pointers are good for nothing then.
///
/// Any thread but theirs, and none uses them any more. In a forked child, where their threads are
/// not: lets go of the copies of their contexts.
/// Errors: as aio_workers_join; all but -EINVAL and -EDEADLK have freed them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_destroy(workers: *mut aio_workers) -> i32 {
    // SAFETY: the ABI's pointer, which nobody uses any more.
    unsafe {
        let refusal = with(workers, |workers| {
            if workers.include_caller() {
                return Err(Errno::EDEADLK.into());
            }
            if !workers.is_stopping() {
                workers.stop(0);
            }
            Ok(0)
        });
        if refusal == AIO_EFORKED {
            (*workers.cast::<Workers>()).abandon_copies();
            return 0;
        }
        if refusal != 0 {
            return refusal;
        }
        let status = aio_workers_join(workers);
        drop(Box::from_raw(workers.cast::<Workers>()));
        status
    }
}

/// How many workers there are.
///
/// Any thread.
/// Errors: -EINVAL, `workers` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_count(workers: *const aio_workers) -> i32 {
    // SAFETY: the ABI's pointer.
    unsafe { with(workers, |workers| Ok(workers.count() as i32)) }
}

/// The context of a worker, for what any thread may do with it; NULL, there is no such worker.
/// Valid until aio_workers_destroy; aio_ctx_ref keeps it longer.
///
/// Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_ctx(workers: *const aio_workers, index: u32) -> *mut aio_ctx {
    // SAFETY: the ABI's pointer.
    let workers = unsafe { workers.cast::<Workers>().as_ref() };
    workers.and_then(|workers| workers.context(index)).map_or(std::ptr::null_mut(), context)
}

/// Has `fn(arg)` called on a worker's thread, as aio_ctx_post does.
///
/// `index`: of the worker, or AIO_WORKERS_ANY.
/// Any thread, workers included.
/// Errors: -EINVAL, a pointer is NULL or there is no such worker; those of aio_ctx_post,
/// as AIO_ECLOSED for a worker that has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_post(
    workers: *mut aio_workers, index: u32, r#fn: aio_post_fn, arg: *mut c_void,
) -> i32 {
    // SAFETY: the ABI's pointer.
    unsafe {
        with(workers, |workers| {
            let function = r#fn.ok_or(Errno::EINVAL)?;
            workers.send(index_of(index), Message::Run(Posted(function, arg))).map(|()| 0)
        })
    }
}

/// Hands a descriptor over to a worker, whose `on_fd` gets it; from then on it is that function's
/// to close. For connections that one thread accepts and others serve. What is a slot of a table
/// goes from one context to another by aio_submit_msg_ring_fd.
///
/// `index`: of the worker, or AIO_WORKERS_ANY. `fd`: stays the caller's on failure.
/// Any thread, workers included.
/// Errors: -EINVAL, `workers` is NULL, there is no such worker, or the workers have no `on_fd`;
/// -EBADF, `fd` is negative; those of aio_ctx_post.
/// Surprise: a worker that ends while it is on its way calls `on_fd` in the destruction of its
/// context, where submitting gives -ECANCELED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_send_fd(
    workers: *mut aio_workers, index: u32, fd: c_int,
) -> i32 {
    // SAFETY: the ABI's pointer.
    unsafe { with(workers, |workers| workers.send_descriptor(index_of(index), fd).map(|()| 0)) }
}

/// Accepts TCP connections on every worker, each with a socket of its own on the same address
/// (SO_REUSEPORT), over which the kernel spreads them. Returns the port.
///
/// `addr`: IPv4 or IPv6; port 0: any free one. `backlog`: of each socket; 0: 4096.
/// `on_connection`: called on a worker's thread with its context and the connection, which is the
/// function's to close; when the worker stops it accepts no more.
/// Any thread, workers included; when it returns, connections are taken.
/// Errors: -EINVAL, a pointer is NULL, or another kind of address; those of socket(2), bind(2) and
/// listen(2): nothing is accepted then; AIO_ECLOSED, the workers are stopping, or have ended.
/// Surprise: connections that were waiting to be accepted by a worker that stops are reset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_workers_listen(
    workers: *mut aio_workers, addr: *const sockaddr, addrlen: socklen_t, backlog: c_int,
    on_connection: aio_take_fn, arg: *mut c_void,
) -> i32 {
    // SAFETY: the ABI's pointers.
    unsafe {
        with(workers, |workers| {
            let taker = taker(on_connection, arg).ok_or(Errno::EINVAL)?;
            arguments::address(addr, addrlen)?;
            let address = arguments::bytes(addr.cast(), addrlen as usize)?;
            let backlog = if backlog == 0 { BACKLOG_DEFAULT } else { backlog };
            Ok(workers.listen(address, backlog, taker)?.into())
        })
    }
}
