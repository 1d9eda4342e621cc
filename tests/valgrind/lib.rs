//! The library for the C tests under valgrind, which (3.19) lets no other thread run while one is
//! in io_uring_enter: a context that sleeps there would never be woken. Here each wait is cut into
//! slices, with a sleep between them in which valgrind's lock is free. Nothing else differs.

use engine::testing::Calls;
use std::time::{Duration, Instant};

/// Keeps the C ABI in the archive.
pub use engine::ffi;

const GETEVENTS: usize = 1;
const EXT_ARG: usize = 1 << 3;
const ABS_TIMER: usize = 1 << 5;
const ETIME: i32 = 62;
const SLICE: Duration = Duration::from_millis(1);

/// `struct io_uring_getevents_arg` and `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Argument {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_us: u32,
    time: u64,
}
#[repr(C)]
#[derive(Clone, Copy)]
struct Time {
    s: i64,
    ns: i64,
}

unsafe fn enter(
    fd: usize, to_submit: usize, min_complete: usize, flags: usize, arg: usize, arg_size: usize,
) -> i32 {
    let kernel = Calls::kernel();
    if flags & GETEVENTS == 0 || min_complete == 0 {
        // SAFETY: passed on.
        return unsafe { (kernel.enter)(fd, to_submit, min_complete, flags, arg, arg_size) };
    }
    assert!(flags & ABS_TIMER == 0, "the engine waits for relative times");
    let mut argument = Argument::default();
    if flags & EXT_ARG != 0 {
        // SAFETY: with this flag the argument is that structure.
        argument = unsafe { *(arg as *const Argument) };
    }
    let limit = (argument.time != 0).then(|| {
        // SAFETY: a time that is not NULL is a timespec.
        let time = unsafe { *(argument.time as *const Time) };
        Duration::new(time.s as u64, time.ns as u32)
    });
    let start = Instant::now();
    let mut submitted = 0;
    if to_submit > 0 {
        // SAFETY: as the caller's, but without a wait.
        submitted = unsafe { (kernel.enter)(fd, to_submit, 0, flags, arg, arg_size) };
        if submitted < 0 {
            return submitted;
        }
    }
    let waited = loop {
        let left = limit.map_or(SLICE, |limit| limit.saturating_sub(start.elapsed()).min(SLICE));
        let slice = Time { s: 0, ns: left.subsec_nanos().into() };
        argument.time = &raw const slice as u64;
        let (arg, size) = (&raw const argument as usize, size_of::<Argument>());
        // SAFETY: the argument and its time live until the call returns.
        let status = unsafe { (kernel.enter)(fd, 0, min_complete, flags | EXT_ARG, arg, size) };
        if status != -ETIME || limit.is_some_and(|limit| start.elapsed() >= limit) {
            break status;
        }
        std::thread::sleep(Duration::from_micros(100));
    };
    if submitted > 0 { submitted } else { waited }
}

extern "C" fn install() {
    let kernel = Calls::kernel();
    let calls = Calls { setup: kernel.setup, enter, register: kernel.register };
    Calls::install(Some(Box::leak(Box::new(calls))));
}

// SAFETY: functions of this section run when the library is loaded, with arguments that this one
// ignores.
#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;
