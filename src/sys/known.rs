//! Facts about the machine that come out the same whoever looks: looked up once in a process, and
//! without a lock, which a forked child would find held by a thread that it has not got.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU64;

/// One more than the fact; 0: not yet known.
pub(crate) struct Known(AtomicU64);

impl Known {
    pub(crate) const fn new() -> Known {
        Known(AtomicU64::new(0))
    }

    /// `find` gives less than `u64::MAX`; of two threads here at once both may look.
    #[inline(always)]
    pub(crate) fn get(&self, find: impl FnOnce() -> u64) -> u64 {
        // Relaxed: nothing else belongs to it.
        match self.0.load(Ordering::Relaxed) {
            0 => {
                let found = find();
                self.0.store(found + 1, Ordering::Relaxed);
                found
            }
            known => known - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_up_once() {
        let known = Known::new();
        assert_eq!(known.get(|| 0), 0);
        assert_eq!(known.get(|| unreachable!("it is known")), 0);
    }
}
