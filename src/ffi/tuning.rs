//! A context's options: what they mean together, and which of them exclude each other. Each refusal
//! here is a documented `-EINVAL` of aio_ctx_create.

use crate::engine::backend::tuned::{Sqpoll, Tuning};
use crate::engine::handle::Handle;
use crate::engine::{Choice, ContextOptions, Log};
use crate::ffi::arguments;
use crate::ffi::ctx::{
    AIO_BACKEND_AUTO, AIO_BACKEND_EPOLL, AIO_BACKEND_URING, AIO_CTX_CQE32, AIO_CTX_HISTOGRAMS,
    AIO_CTX_HYBRID_IOPOLL, AIO_CTX_IOPOLL, AIO_CTX_LOG_REFUSALS, AIO_CTX_NAPI_PREFER,
    AIO_CTX_NO_IOWAIT, AIO_CTX_REGISTERED_WAIT, AIO_CTX_SQE128, AIO_CTX_SQPOLL, aio_ctx_options,
};
use crate::sys::clock::Clock;
use crate::sys::errno::Errno;
use crate::sys::facility::Opcodes;

/// Bytes of the structure's first version.
const FIRST_SIZE: usize = 128;
const FLAGS: u32 = AIO_CTX_SQE128
    | AIO_CTX_CQE32
    | AIO_CTX_SQPOLL
    | AIO_CTX_IOPOLL
    | AIO_CTX_HYBRID_IOPOLL
    | AIO_CTX_REGISTERED_WAIT
    | AIO_CTX_NO_IOWAIT
    | AIO_CTX_NAPI_PREFER
    | AIO_CTX_HISTOGRAMS
    | AIO_CTX_LOG_REFUSALS;
const SQPOLL_IDLE_DEFAULT_MS: u32 = 1000;
const MIN_WAIT_COUNT_DEFAULT: u32 = 16;

/// # Safety
/// As `arguments::sized`; NULL stands for the defaults.
pub(super) unsafe fn context_options(
    options: *const aio_ctx_options,
) -> Result<ContextOptions, Errno> {
    let defaults = size_of::<aio_ctx_options>() as u32;
    let options = if options.is_null() {
        // SAFETY: a structure of that size, zero but for saying so.
        unsafe {
            let mut words = [0u64; size_of::<aio_ctx_options>() / 8];
            words[0] = defaults.into();
            arguments::sized_since(words.as_ptr().cast(), FIRST_SIZE)
        }?
    } else {
        // SAFETY: passed on; zeroes are a value of every field.
        unsafe { arguments::sized_since(options, FIRST_SIZE) }?
    };
    if options.flags & !FLAGS != 0 || options.reserved0 != 0 || options.reserved != [0; 8] {
        return Err(Errno::EINVAL);
    }
    let backend = match options.backend {
        AIO_BACKEND_AUTO => Choice::Auto,
        AIO_BACKEND_URING => Choice::Uring,
        AIO_BACKEND_EPOLL => Choice::Epoll,
        _ => return Err(Errno::EINVAL),
    };
    // SAFETY: the caller's options.
    let tuning = unsafe { tuning(&options) }?;
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
        histograms: options.flags & AIO_CTX_HISTOGRAMS != 0,
        logs_refusals: options.flags & AIO_CTX_LOG_REFUSALS != 0,
        log: options.log.map(|function| Log { function, arg: options.log_arg }),
        tuning,
    })
}

/// # Safety
/// The arrays and the context that the options name are the caller's, and valid.
unsafe fn tuning(options: &aio_ctx_options) -> Result<Tuning, Errno> {
    let has = |flag: u32| options.flags & flag != 0;
    // SAFETY: passed on.
    let (sqpoll, worker_cpus, allowed) = unsafe {
        let cpus = arguments::cpus(options.worker_cpus, options.worker_cpus_size)?;
        (sqpoll(options)?, cpus, allowed(options)?)
    };
    let clock = match options.clock_id {
        0 => None,
        id if id == Clock::Monotonic.id() => None,
        id if id == Clock::Boottime.id() => Some(Clock::Boottime),
        _ => return Err(Errno::EINVAL),
    };
    let min_wait_count = match options.min_wait_count {
        0 => MIN_WAIT_COUNT_DEFAULT,
        count => count,
    };
    let tuning = Tuning {
        sqpoll,
        iopoll: has(AIO_CTX_IOPOLL),
        hybrid_iopoll: has(AIO_CTX_HYBRID_IOPOLL),
        napi_usec: options.napi_busy_poll_usec,
        napi_prefer: has(AIO_CTX_NAPI_PREFER),
        sq_entries_max: options.sq_entries_max,
        cq_entries_max: options.cq_entries_max,
        registered_wait: has(AIO_CTX_REGISTERED_WAIT),
        min_wait_usec: options.min_wait_usec,
        min_wait_count,
        workers: [options.workers_bounded_max, options.workers_unbounded_max],
        worker_cpus,
        no_iowait: has(AIO_CTX_NO_IOWAIT),
        clock,
        allowed,
    };
    if fits_together(options, &tuning) { Ok(tuning) } else { Err(Errno::EINVAL) }
}

fn fits_together(options: &aio_ctx_options, tuning: &Tuning) -> bool {
    let grows = tuning.sq_entries_max != 0 || tuning.cq_entries_max != 0;
    let waits_specially = tuning.registered_wait || tuning.no_iowait || tuning.min_wait_usec != 0;
    let shrinks = |most: u32, first: u32| most != 0 && most < first;
    let is_wrong = (tuning.hybrid_iopoll && !tuning.iopoll)
        // Polling is no waiting, and the thread would do it.
        || (tuning.iopoll && (waits_specially || tuning.sqpoll.is_some()))
        || (tuning.napi_prefer && tuning.napi_usec == 0)
        || (options.min_wait_count != 0 && tuning.min_wait_usec == 0)
        // The kernel resizes rings that nobody else looks into.
        || (grows && tuning.sqpoll.is_some())
        || shrinks(tuning.sq_entries_max, options.sq_entries)
        || shrinks(tuning.cq_entries_max, options.cq_entries);
    !is_wrong
}

/// # Safety
/// The context to share with is alive, if there is one.
unsafe fn sqpoll(options: &aio_ctx_options) -> Result<Option<Sqpoll>, Errno> {
    let shared = options.sqpoll_share;
    if options.flags & AIO_CTX_SQPOLL == 0 {
        let asks = options.sqpoll_cpu != 0 || options.sqpoll_idle_ms != 0 || !shared.is_null();
        return if asks { Err(Errno::EINVAL) } else { Ok(None) };
    }
    // SAFETY: NULL or a live context.
    let shared_fd = match unsafe { shared.cast::<Handle>().as_ref() } {
        None => None,
        Some(other) if other.check_any_thread().is_err() => return Err(Errno::EINVAL),
        Some(other) => Some(other.granted.polled_ring().ok_or(Errno::EINVAL)?),
    };
    let idle_ms = match options.sqpoll_idle_ms {
        0 => SQPOLL_IDLE_DEFAULT_MS,
        ms => ms,
    };
    Ok(Some(Sqpoll { cpu: options.sqpoll_cpu.checked_sub(1), idle_ms, shared_fd }))
}

/// # Safety
/// `allowed_ops` is NULL or as long as it is said to be.
unsafe fn allowed(options: &aio_ctx_options) -> Result<Option<Opcodes>, Errno> {
    let count = options.allowed_ops_count as usize;
    if options.allowed_ops.is_null() {
        return if count == 0 { Ok(None) } else { Err(Errno::EINVAL) };
    }
    if count == 0 || count > 256 {
        return Err(Errno::EINVAL);
    }
    let mut allowed = Opcodes::default();
    // SAFETY: the caller's bytes.
    for &opcode in unsafe { arguments::array(options.allowed_ops, count) }? {
        allowed[usize::from(opcode >> 6)] |= 1 << (opcode & 63);
    }
    Ok(Some(allowed))
}
