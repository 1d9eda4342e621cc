//! What happens when the ring's system calls fail: each test replaces them by ones that fail on
//! purpose. The replacement is process-wide for contexts created meanwhile, so the tests take
//! turns.

use aio_rs::ffi::cancel::aio_ctx_cancel;
use aio_rs::ffi::ctx::*;
use aio_rs::ffi::misc::{aio_submit_nop, aio_submit_raw};
use aio_rs::ffi::net::aio_submit_recv;
use aio_rs::ffi::probe::*;
use aio_rs::ffi::stats::{aio_ctx_info, aio_info};
use aio_rs::ffi::status::*;
use aio_rs::ffi::submit::*;
use aio_rs::ffi::time::aio_submit_timer;
use aio_rs::ffi::{aio_ctx, aio_op_id};
use aio_rs::testing::Calls;
use std::cell::Cell;
use std::ffi::c_void;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

const EINTR: i32 = -4;
const EAGAIN: i32 = -11;
const ENOMEM: i32 = -12;
const EBUSY: i32 = -16;
const EINVAL: i32 = -22;
const EOPNOTSUPP: i32 = -95;
const ECANCELED: i32 = -125;

static TURN: Mutex<()> = Mutex::new(());
/// Enter calls until `FAILURE` is returned instead; it is returned `FAILURES` times.
static COUNTDOWN: AtomicI32 = AtomicI32::new(i32::MAX);
static FAILURES: AtomicI32 = AtomicI32::new(0);
static FAILURE: AtomicI32 = AtomicI32::new(0);
/// What set-up returns this many times.
static SETUP_FAILURES: AtomicI32 = AtomicI32::new(0);
static SETUP_FAILURE: AtomicI32 = AtomicI32::new(0);
/// Most entries that one enter takes.
static TAKES_MAX: AtomicU32 = AtomicU32::new(u32::MAX);
thread_local! {
    /// Register calls, a bit each, that return `REGISTER_FAILURE`; of this thread alone.
    static REGISTER_FAILS: Cell<u64> = const { Cell::new(0) };
    static REGISTER_FAILURE: Cell<i32> = const { Cell::new(0) };
    /// Features that the kernel does not have.
    static MISSING_FEATURES: Cell<u32> = const { Cell::new(0) };
    /// Flags that any enter has had.
    static ENTER_FLAGS: Cell<u32> = const { Cell::new(0) };
}
const PANIC: i32 = i32::MIN;

static FAILING: Calls = Calls { setup: failing_setup, enter: failing_enter, register };

unsafe fn failing_setup(
    entries: u32, params: *mut linux_raw_sys::io_uring::io_uring_params,
) -> i32 {
    if SETUP_FAILURES.fetch_sub(1, Ordering::Relaxed) > 0 {
        return SETUP_FAILURE.load(Ordering::Relaxed);
    }
    // SAFETY: passed on; the structure is the caller's.
    unsafe {
        let result = (Calls::kernel().setup)(entries, params);
        (*params).features &= !MISSING_FEATURES.get();
        result
    }
}

unsafe fn failing_enter(
    fd: usize, to_submit: usize, min_complete: usize, flags: usize, arg: usize, size: usize,
) -> i32 {
    if COUNTDOWN.fetch_sub(1, Ordering::Relaxed) <= 0
        && FAILURES.fetch_sub(1, Ordering::Relaxed) > 0
    {
        match FAILURE.load(Ordering::Relaxed) {
            PANIC => panic!("an injected failure of the engine"),
            failure => return failure,
        }
    }
    ENTER_FLAGS.set(ENTER_FLAGS.get() | flags as u32);
    let taken = to_submit.min(TAKES_MAX.load(Ordering::Relaxed) as usize);
    // Like the kernel, which does not wait when it could not take everything.
    let min_complete = if taken < to_submit { 0 } else { min_complete };
    // SAFETY: passed on.
    unsafe { (Calls::kernel().enter)(fd, taken, min_complete, flags, arg, size) }
}

unsafe fn register(fd: i32, opcode: u32, arg: usize, count: u32) -> i32 {
    if REGISTER_FAILS.get() >> opcode & 1 != 0 {
        return REGISTER_FAILURE.get();
    }
    // SAFETY: passed on.
    unsafe { (Calls::kernel().register)(fd, opcode, arg, count) }
}

// SAFETY: numbers alone.
const ZERO_INFO: aio_info = unsafe { std::mem::zeroed() };

/// A context on failing calls, and the turn to use them.
struct Fixture {
    ctx: *mut aio_ctx,
    _turn: MutexGuard<'static, ()>,
}

impl Fixture {
    fn new(options: Option<aio_ctx_options>) -> Fixture {
        Fixture::after_setup_failures(0, 0, options).expect("a context")
    }

    /// A context whose creation meets `times` failures of io_uring_setup; its status on failure.
    fn after_setup_failures(
        times: i32, failure: i32, options: Option<aio_ctx_options>,
    ) -> Result<Fixture, i32> {
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Calls::install(Some(&FAILING));
        SETUP_FAILURE.store(failure, Ordering::Relaxed);
        SETUP_FAILURES.store(times, Ordering::Relaxed);
        let mut ctx = null_mut();
        let options = options.as_ref().map_or(null(), std::ptr::from_ref);
        // SAFETY: valid options and output.
        let status = unsafe { aio_ctx_create(options, &mut ctx) };
        let fixture = Fixture { ctx, _turn: turn };
        if status == 0 { Ok(fixture) } else { Err(status) }
    }

    fn info(&self) -> aio_info {
        let mut info = aio_info { size: size_of::<aio_info>() as u32, ..ZERO_INFO };
        // SAFETY: the context is alive, the output as large as it says.
        assert_eq!(unsafe { aio_ctx_info(self.ctx, &mut info) }, 0);
        info
    }

    fn fail_enter(&self, after: i32, times: i32, with: i32) {
        FAILURE.store(with, Ordering::Relaxed);
        FAILURES.store(times, Ordering::Relaxed);
        COUNTDOWN.store(after, Ordering::Relaxed);
    }

    fn nop(&self, outcome: &mut Outcome) -> aio_op_id {
        // SAFETY: the context is alive, the outcome outlives the operation.
        unsafe {
            aio_submit_nop(self.ctx, null(), Some(on_end), std::ptr::from_mut(outcome).cast())
        }
    }

    fn run(&self) -> i32 {
        // SAFETY: the context is alive.
        unsafe { aio_ctx_run(self.ctx) }
    }

    fn destroy(&self) -> i32 {
        // SAFETY: not used afterwards.
        unsafe { aio_ctx_destroy(self.ctx) }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        Calls::install(None);
        FAILURES.store(0, Ordering::Relaxed);
        SETUP_FAILURES.store(0, Ordering::Relaxed);
        COUNTDOWN.store(i32::MAX, Ordering::Relaxed);
        TAKES_MAX.store(u32::MAX, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Outcome {
    calls: u32,
    result: i32,
    flags: u32,
}

unsafe extern "C-unwind" fn on_end(user_data: *mut c_void, result: i32, flags: u32) {
    // SAFETY: every test passes an outcome that outlives its operation.
    let outcome = unsafe { &mut *user_data.cast::<Outcome>() };
    *outcome = Outcome { calls: outcome.calls + 1, result, flags };
}

fn defaults() -> aio_ctx_options {
    // SAFETY: zeroes are the defaults.
    let mut options: aio_ctx_options = unsafe { std::mem::zeroed() };
    options.size = size_of::<aio_ctx_options>() as u32;
    options
}

#[test]
fn a_busy_or_starved_kernel_loses_nothing() {
    for failure in [EAGAIN, EBUSY, ENOMEM, EINTR] {
        for after in 0..4 {
            let fixture =
                Fixture::new(Some(aio_ctx_options { sq_entries: 4, cq_entries: 8, ..defaults() }));
            fixture.fail_enter(after, 3, failure);
            let mut outcomes: Vec<Outcome> = (0..100).map(|_| Outcome::default()).collect();
            for outcome in &mut outcomes {
                assert!(fixture.nop(outcome) > 0);
            }
            assert_eq!(fixture.run(), 0);
            assert!(outcomes.iter().all(|outcome| outcome.calls == 1 && outcome.result == 0));
            assert_eq!(fixture.destroy(), 0);
        }
    }
}

#[test]
fn a_kernel_that_takes_one_entry_at_a_time_gets_all_of_them() {
    let fixture = Fixture::new(None);
    TAKES_MAX.store(1, Ordering::Relaxed);
    let mut outcomes: Vec<Outcome> = (0..300).map(|_| Outcome::default()).collect();
    for outcome in &mut outcomes {
        assert!(fixture.nop(outcome) > 0);
    }
    assert_eq!(fixture.run(), 0);
    assert!(outcomes.iter().all(|outcome| outcome.calls == 1));
    assert_eq!(fixture.destroy(), 0);
}

#[test]
fn a_full_queue_that_cannot_be_flushed_keeps_a_chain_together() {
    let fixture = Fixture::new(Some(aio_ctx_options { sq_entries: 4, ..defaults() }));
    fixture.fail_enter(0, 5, EAGAIN);
    let mut outcomes: Vec<Outcome> = (0..23).map(|_| Outcome::default()).collect();
    // SAFETY: zeroes are the defaults.
    let mut link: aio_submit_options = unsafe { std::mem::zeroed() };
    link.size = size_of::<aio_submit_options>() as u32;
    link.flags = AIO_SUBMIT_LINK;
    for (index, outcome) in outcomes.iter_mut().enumerate() {
        let options = if index % 4 < 3 && index < 20 { &raw const link } else { null() };
        // SAFETY: as `Fixture::nop`.
        let id = unsafe {
            aio_submit_nop(fixture.ctx, options, Some(on_end), std::ptr::from_mut(outcome).cast())
        };
        assert!(id > 0);
    }
    assert_eq!(fixture.run(), 0);
    for outcome in &outcomes {
        assert_eq!((outcome.calls, outcome.result), (1, 0));
    }
    assert_eq!(fixture.destroy(), 0);
}

#[test]
fn late_freed_memory_is_waited_for_at_creation() {
    let fixture = Fixture::after_setup_failures(3, ENOMEM, None).expect("a context");
    assert_eq!(fixture.run(), 0);
    assert_eq!(fixture.destroy(), 0);
}

#[test]
fn memory_that_never_comes_is_an_error_for_who_wants_a_ring() {
    let options = aio_ctx_options { sq_entries: 8, backend: AIO_BACKEND_URING, ..defaults() };
    let refused = Fixture::after_setup_failures(1_000, ENOMEM, Some(options));
    assert_eq!(refused.err(), Some(ENOMEM));
}

#[test]
fn without_memory_for_a_ring_the_epoll_backend_serves() {
    let fixture = Fixture::after_setup_failures(1_000, ENOMEM, None).expect("a context");
    assert_eq!(fixture.info().backend, AIO_BACKEND_EPOLL);
    assert_eq!(fixture.info().fallback_status, ENOMEM);
    let mut outcome = Outcome::default();
    assert!(fixture.nop(&mut outcome) > 0);
    assert_eq!(fixture.run(), 0);
    assert_eq!((outcome.calls, outcome.result), (1, 0));
    assert_eq!(fixture.destroy(), 0);
}

#[test]
fn a_refused_flag_is_dropped_and_the_ring_works() {
    let options = aio_ctx_options { backend: AIO_BACKEND_URING, ..defaults() };
    let fixture = Fixture::after_setup_failures(2, EINVAL, Some(options)).expect("a context");
    assert_eq!(fixture.info().backend, AIO_BACKEND_URING);
    let mut outcome = Outcome::default();
    assert!(fixture.nop(&mut outcome) > 0);
    assert_eq!(fixture.run(), 0);
    assert_eq!((outcome.calls, outcome.result), (1, 0));
    assert_eq!(fixture.destroy(), 0);
}

#[test]
fn a_failure_of_the_engine_poisons_the_context_and_destroy_still_drains() {
    let fixture = Fixture::new(None);
    let (ours, peer) = UnixStream::pair().expect("a socket pair");
    let mut received = Outcome::default();
    let mut byte = [0u8; 1];
    // SAFETY: buffer and outcome outlive the context.
    let id = unsafe {
        aio_submit_recv(
            fixture.ctx,
            ours.as_raw_fd(),
            byte.as_mut_ptr().cast(),
            1,
            0,
            null(),
            Some(on_end),
            (&raw mut received).cast(),
        )
    };
    assert!(id > 0);
    // SAFETY: the context is alive.
    assert_eq!(unsafe { aio_ctx_run_once(fixture.ctx, 0) }, 0);
    fixture.fail_enter(0, 1, PANIC);
    let mut outcome = Outcome::default();
    assert!(fixture.nop(&mut outcome) > 0);
    assert_eq!(fixture.run(), AIO_EPANIC);
    let mut late = Outcome::default();
    assert_eq!(fixture.nop(&mut late), i64::from(AIO_EPANIC));
    // SAFETY: the context is alive.
    unsafe {
        assert_eq!(aio_ctx_post(fixture.ctx, Some(never), null_mut()), AIO_EPANIC);
        assert_eq!(aio_ctx_cancel(fixture.ctx, id), AIO_EPANIC);
    }
    assert_eq!(fixture.destroy(), 0);
    assert_eq!(outcome.calls + late.calls + received.calls, 0, "no user function runs any more");
    drop(peer);
}

unsafe extern "C-unwind" fn never(_: *mut c_void) {
    unreachable!("a posted function ran on a poisoned context");
}

/// A NOP that the kernel completes with a result of the caller's choice.
fn inject(fixture: &Fixture, result: i32, outcome: &mut Outcome) -> aio_op_id {
    const IORING_NOP_INJECT_RESULT: u32 = 1;
    let mut entry = [0u8; 64];
    entry[24..28].copy_from_slice(&result.to_ne_bytes());
    entry[28..32].copy_from_slice(&IORING_NOP_INJECT_RESULT.to_ne_bytes());
    // SAFETY: 64 bytes of entry, copied; the outcome outlives the operation.
    unsafe {
        let user_data = std::ptr::from_mut(outcome).cast();
        aio_submit_raw(fixture.ctx, entry.as_ptr().cast(), null(), Some(on_end), user_data)
    }
}

#[test]
fn an_interruption_never_reaches_the_user() {
    let fixture = Fixture::new(None);
    for raw in [EINTR, -512, -513, -516] {
        let mut outcome = Outcome::default();
        assert!(inject(&fixture, raw, &mut outcome) > 0);
        assert_eq!(fixture.run(), 0);
        let Outcome { calls, result, flags } = outcome;
        assert_eq!((calls, result, flags), (1, ECANCELED, AIO_CQE_ABORTED), "for {raw}");
    }
    let mut outcome = Outcome::default();
    assert!(inject(&fixture, -5, &mut outcome) > 0);
    assert_eq!(fixture.run(), 0);
    assert_eq!((outcome.calls, outcome.result), (1, -5), "other errors are passed on");
    assert_eq!(fixture.destroy(), 0);
}

/// What an enter is told about waiting.
const EXT_ARG_REG: u32 = 64;
const NO_IOWAIT: u32 = 128;

/// Bits of io_uring's features.
const FEAT_MIN_TIMEOUT: u32 = 1 << 15;
const FEAT_NO_IOWAIT: u32 = 1 << 17;

fn probed(facility: u32) -> aio_probe_result {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    Calls::install(Some(&FAILING));
    // SAFETY: numbers alone.
    let mut result: aio_probe_result = unsafe { std::mem::zeroed() };
    result.size = size_of::<aio_probe_result>() as u32;
    // SAFETY: the output is as large as it says.
    assert_eq!(unsafe { aio_probe_facility(null(), facility, &mut result) }, 0);
    result
}

/// A context that has waited for a timer; the flags of its enter calls.
fn flags_of_a_wait(flags: u32) -> Result<u32, i32> {
    let options = aio_ctx_options { backend: AIO_BACKEND_URING, flags, ..defaults() };
    let fixture = Fixture::after_setup_failures(0, 0, Some(options))?;
    ENTER_FLAGS.set(0);
    let mut outcome = Outcome::default();
    let user_data = std::ptr::from_mut(&mut outcome).cast();
    // SAFETY: the context is alive, the outcome outlives the operation.
    let id = unsafe { aio_submit_timer(fixture.ctx, 1_000_000, null(), Some(on_end), user_data) };
    assert!(id > 0);
    assert_eq!(fixture.run(), 0);
    assert_eq!((outcome.calls, outcome.result), (1, 0));
    let seen = ENTER_FLAGS.get();
    assert_eq!(fixture.destroy(), 0);
    Ok(seen)
}

#[test]
fn waits_carry_what_the_options_ask_for() {
    let both = EXT_ARG_REG | NO_IOWAIT;
    assert_eq!(flags_of_a_wait(0).map(|flags| flags & both), Ok(0));
    for (option, facility, flag) in [
        (AIO_CTX_REGISTERED_WAIT, AIO_FACILITY_REGISTERED_WAIT, EXT_ARG_REG),
        (AIO_CTX_NO_IOWAIT, AIO_FACILITY_NO_IOWAIT, NO_IOWAIT),
    ] {
        let has = probed(facility).status == AIO_PROBE_YES;
        let expected = if has { Ok(flag) } else { Err(EOPNOTSUPP) };
        assert_eq!(flags_of_a_wait(option).map(|flags| flags & both), expected);
    }
}

#[test]
fn a_ring_that_cannot_be_resized_goes_on() {
    const RESIZE_RINGS: u32 = 33;
    if probed(AIO_FACILITY_RESIZE).status != AIO_PROBE_YES {
        return; // There is nothing to fail.
    }
    let options = aio_ctx_options {
        backend: AIO_BACKEND_URING,
        sq_entries: 4,
        sq_entries_max: 64,
        ..defaults()
    };
    let fixture = Fixture::new(Some(options));
    REGISTER_FAILURE.set(ENOMEM);
    REGISTER_FAILS.set(1 << RESIZE_RINGS);
    let mut outcomes: Vec<Outcome> = (0..100).map(|_| Outcome::default()).collect();
    for outcome in &mut outcomes {
        assert!(fixture.nop(outcome) > 0);
    }
    assert_eq!(fixture.run(), 0);
    REGISTER_FAILS.set(0);
    assert!(outcomes.iter().all(|outcome| outcome.calls == 1 && outcome.result == 0));
    assert_eq!(fixture.info().sq_entries, 4);
    assert_eq!(fixture.destroy(), 0);
}

/// Whether contexts are refused and the probe says that the kernel is the reason.
fn check_missing(facility: u32, options: aio_ctx_options) {
    for backend in [AIO_BACKEND_AUTO, AIO_BACKEND_URING] {
        let made =
            Fixture::after_setup_failures(0, 0, Some(aio_ctx_options { backend, ..options }));
        assert_eq!(made.err(), Some(EOPNOTSUPP), "facility {facility}");
    }
    let result = probed(facility);
    assert_eq!(result.status, AIO_PROBE_NO);
    assert_eq!(result.reason, AIO_REASON_KERNEL);
}

#[test]
fn a_kernel_that_lacks_a_facility_is_named_and_no_context_is_made() {
    let flags = |flags: u32| aio_ctx_options { flags, ..defaults() };
    let calls = [
        (27, AIO_FACILITY_NAPI, aio_ctx_options { napi_busy_poll_usec: 5, ..defaults() }),
        (29, AIO_FACILITY_CLOCK, aio_ctx_options { clock_id: 7, ..defaults() }),
        (33, AIO_FACILITY_RESIZE, aio_ctx_options { sq_entries_max: 512, ..defaults() }),
        (34, AIO_FACILITY_REGISTERED_WAIT, flags(AIO_CTX_REGISTERED_WAIT)),
    ];
    REGISTER_FAILURE.set(EINVAL);
    for (call, facility, options) in calls {
        REGISTER_FAILS.set(1 << call);
        check_missing(facility, options);
        REGISTER_FAILS.set(0);
    }
    let features = [
        (FEAT_NO_IOWAIT, AIO_FACILITY_NO_IOWAIT, flags(AIO_CTX_NO_IOWAIT)),
        (
            FEAT_MIN_TIMEOUT,
            AIO_FACILITY_MIN_WAIT,
            aio_ctx_options { min_wait_usec: 5, ..defaults() },
        ),
    ];
    for (feature, facility, options) in features {
        MISSING_FEATURES.set(feature);
        check_missing(facility, options);
        MISSING_FEATURES.set(0);
    }
}
