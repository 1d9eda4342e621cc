//! The one place that decides whose locks and threads are used: the standard library's; shuttle's
//! when this crate's tests are built with `--cfg shuttle` to explore interleavings; a packaged
//! crate's, in the same clothes, in a build for ThreadSanitizer (`--cfg tsan`): it sees only what
//! is compiled for it, which the standard library's locks are not.

#[cfg(tsan)]
pub(crate) use instrumented::{Condvar, Mutex, MutexGuard, OnceLock};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{Builder, JoinHandle},
};
#[cfg(not(tsan))]
pub(crate) use std::sync::OnceLock;
#[cfg(not(any(tsan, all(test, shuttle))))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
};

#[cfg(tsan)]
mod instrumented {
    use std::cell::UnsafeCell;
    use std::sync::PoisonError;
    use std::time::Duration;

    pub(crate) type MutexGuard<'a, T> = parking_lot::MutexGuard<'a, T>;
    type Locked<T> = Result<T, PoisonError<T>>;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Mutex<T> {
            Mutex(parking_lot::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Locked<MutexGuard<'_, T>> {
            Ok(self.0.lock())
        }
    }

    #[derive(Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) const fn new() -> Condvar {
            Condvar(parking_lot::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(
            &self, mut guard: MutexGuard<'a, T>,
        ) -> Locked<MutexGuard<'a, T>> {
            self.0.wait(&mut guard);
            Ok(guard)
        }

        pub(crate) fn wait_timeout<'a, T>(
            &self, mut guard: MutexGuard<'a, T>, limit: Duration,
        ) -> Locked<(MutexGuard<'a, T>, parking_lot::WaitTimeoutResult)> {
            let result = self.0.wait_for(&mut guard, limit);
            Ok((guard, result))
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    pub(crate) struct OnceLock<T> {
        once: parking_lot::Once,
        value: UnsafeCell<Option<T>>,
    }

    // SAFETY: the value is written once, before any look at it.
    unsafe impl<T: Send> Send for OnceLock<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

    impl<T> OnceLock<T> {
        pub(crate) const fn new() -> OnceLock<T> {
            OnceLock { once: parking_lot::Once::new(), value: UnsafeCell::new(None) }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if !self.once.state().done() {
                return None;
            }
            // SAFETY: written before the state said so.
            unsafe { (*self.value.get()).as_ref() }
        }

        pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
            // SAFETY: nobody looks before it is done.
            self.once.call_once(|| unsafe { *self.value.get() = Some(make()) });
            self.get().expect("it was just made")
        }
    }
}
