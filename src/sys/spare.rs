//! What is costly to make, and of which one is kept when it is done with, for the next who needs
//! one: on any thread, in a static. Builds that look for memory used too late keep nothing.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicPtr;
use std::ptr::NonNull;

/// Sanitizers and valgrind, whose builds have these assertions, must see that something is used
/// too late.
pub(crate) const KEEPS_SPARE: bool = cfg!(test) || !cfg!(debug_assertions);

/// At most one object, owned by nobody.
pub(crate) struct Spare<T>(AtomicPtr<T>);

impl<T> Spare<T> {
    pub(crate) const fn new() -> Spare<T> {
        Spare(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The one that was kept; the caller owns it.
    pub(crate) fn take(&self) -> Option<NonNull<T>> {
        // Acquire pairs with the release in `keep`: nobody uses it any more.
        NonNull::new(self.0.swap(std::ptr::null_mut(), Ordering::Acquire))
    }

    /// Keeps an object, of which the caller gives up the ownership; false: he still has it, because
    /// there is one.
    pub(crate) fn keep(&self, object: NonNull<T>) -> bool {
        let (object, null) = (object.as_ptr(), std::ptr::null_mut());
        KEEPS_SPARE
            && self.0.compare_exchange(null, object, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_kept_and_given_once() {
        let (mut first, mut second) = (1, 2);
        let (first, second) = (NonNull::from(&mut first), NonNull::from(&mut second));
        let spare = Spare::new();
        assert_eq!(spare.take(), None);
        assert!(spare.keep(first));
        assert!(!spare.keep(second));
        assert_eq!(spare.take(), Some(first));
        assert_eq!(spare.take(), None);
        assert!(spare.keep(second));
    }
}
