//! The one place that decides whose atomics are used: the standard library's, or loom's when the
//! crate is built with `--cfg loom` to explore interleavings. Those in `fixed` are always the
//! standard library's: for statics, and for memory that is shared with the kernel or a child. What
//! loom must be told besides is here as well; for everybody else it is nothing.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

pub(crate) use std::sync::atomic::Ordering;

pub(crate) mod fixed {
    pub(crate) use std::sync::atomic::{
        AtomicI32, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize,
    };
}

/// Between two sequentially consistent accesses whose order matters. loom takes them for acquires
/// and releases, and needs a fence to see that order.
#[inline(always)]
pub(crate) fn total_order() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// A relaxed store. loom lets an exchange that came before one be the last in the end, because it
/// does not know that nothing comes between an exchange and what it has replaced; so it gets an
/// exchange here as well.
#[inline(always)]
pub(crate) fn put(to: &AtomicU32, value: u32) {
    #[cfg(loom)]
    to.swap(value, Ordering::AcqRel);
    #[cfg(not(loom))]
    to.store(value, Ordering::Relaxed);
}

/// Reads a number that the calling thread alone writes, as a plain one: an operand of other
/// instructions, where an atomic load is an instruction of its own.
///
/// # Safety
/// No other thread writes it.
#[inline(always)]
pub(crate) unsafe fn read_own(number: &AtomicU64) -> u64 {
    #[cfg(loom)]
    return number.load(Ordering::Relaxed);
    #[cfg(not(loom))]
    // SAFETY: what nobody writes meanwhile may be read plainly, also while others read it.
    unsafe {
        number.as_ptr().read()
    }
}

/// Memory that its users take turns at. loom checks that they do.
#[cfg(loom)]
pub(crate) struct Turns(loom::cell::UnsafeCell<()>);
#[cfg(not(loom))]
pub(crate) struct Turns;

impl Turns {
    pub(crate) fn new() -> Turns {
        #[cfg(loom)]
        return Turns(loom::cell::UnsafeCell::new(()));
        #[cfg(not(loom))]
        Turns
    }

    /// Reads or writes the memory.
    #[inline(always)]
    pub(crate) fn take<T>(&self, body: impl FnOnce() -> T) -> T {
        #[cfg(loom)]
        return self.0.with_mut(|_| body());
        #[cfg(not(loom))]
        body()
    }
}
