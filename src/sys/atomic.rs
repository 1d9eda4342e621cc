//! The one place that decides whose atomics are used: the standard library's, or, in what is
//! modelled, loom's when the crate's tests are built with `--cfg loom` to explore interleavings of
//! the mailbox, bells and queues of records (`engine/interleavings.rs`).

pub(crate) use std::sync::atomic::{
    AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// For files that loom looks into.
pub(crate) mod modelled {
    #[cfg(all(test, loom))]
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
    #[cfg(not(all(test, loom)))]
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

    pub(crate) use std::sync::atomic::Ordering;

    /// Between two sequentially consistent accesses whose order matters. loom takes them for
    /// acquires and releases, and needs a fence to see that order; nobody else does.
    #[inline(always)]
    pub(crate) fn total_order() {
        #[cfg(all(test, loom))]
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    /// A relaxed store. loom lets an exchange that came before one be the last in the end, because
    /// it does not know that nothing comes between an exchange and what it has replaced; so it gets
    /// an exchange here as well.
    #[inline(always)]
    pub(crate) fn put(to: &AtomicU32, value: u32) {
        #[cfg(all(test, loom))]
        to.swap(value, Ordering::AcqRel);
        #[cfg(not(all(test, loom)))]
        to.store(value, Ordering::Relaxed);
    }

    /// Memory that its users take turns at. loom checks that they do.
    #[cfg(all(test, loom))]
    pub(crate) struct Turns(loom::cell::UnsafeCell<()>);
    #[cfg(not(all(test, loom)))]
    pub(crate) struct Turns;

    impl Turns {
        pub(crate) fn new() -> Turns {
            #[cfg(all(test, loom))]
            return Turns(loom::cell::UnsafeCell::new(()));
            #[cfg(not(all(test, loom)))]
            Turns
        }

        /// Reads or writes the memory.
        #[inline(always)]
        pub(crate) fn take<T>(&self, body: impl FnOnce() -> T) -> T {
            #[cfg(all(test, loom))]
            return self.0.with_mut(|_| body());
            #[cfg(not(all(test, loom)))]
            body()
        }
    }
}
