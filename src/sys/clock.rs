//! Clocks, in nanoseconds: of `CLOCK_MONOTONIC` where nothing else is said.

use std::hash::{BuildHasher, RandomState};

/// Now. About 16 ns.
pub(crate) fn now_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// What a context's timers are measured with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Monotonic,
    /// Goes on while the machine is suspended.
    Boottime,
}

impl Clock {
    #[inline(always)]
    pub(crate) fn now_ns(self) -> u64 {
        read(self.id() as libc::clockid_t)
    }

    /// `CLOCK_*`.
    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        match self {
            Clock::Monotonic => libc::CLOCK_MONOTONIC as u32,
            Clock::Boottime => libc::CLOCK_BOOTTIME as u32,
        }
    }
}

/// Now in milliseconds that wrap, up to a scheduler tick (1 to 10 ms) in the past. About 4 ns: for
/// ages, never for deadlines.
pub(crate) fn coarse_ms() -> u32 {
    (read(libc::CLOCK_MONOTONIC_COARSE) / 1_000_000) as u32
}

/// A time as entries and calls of a ring point to it.
pub(crate) use linux_raw_sys::io_uring::__kernel_timespec as Timespec;

#[inline(always)]
pub(crate) fn timespec(ns: u64) -> Timespec {
    Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the clocks exist on every Linux, so it cannot fail.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps about this long; used only while the kernel is out of memory or frees rings late.
pub(crate) fn sleep_ns(ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(ns));
}

/// Random bits as hash tables use them: from the kernel once in a thread, and others each time.
pub(crate) fn distinct_bits() -> u64 {
    RandomState::new().hash_one(())
}

/// Random bits from the kernel, or from the clock and an address where getrandom is refused.
#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) fn random_bits() -> u64 {
    let mut bits = 0u64;
    let size = std::mem::size_of_val(&bits);
    // SAFETY: `bits` is valid for `size` bytes.
    let got = unsafe { libc::getrandom((&raw mut bits).cast(), size, libc::GRND_NONBLOCK) };
    if got == size as isize {
        return bits;
    }
    (now_ns() ^ (&raw const bits as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
