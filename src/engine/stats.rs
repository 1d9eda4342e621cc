//! Counters of the context; those of its operations are in `counts.rs`. What is counted in every
//! turn is added, or set, where any thread reads it; the rest is tallied with plain integers and
//! published when a turn ends that was not a plain one. Relaxed everywhere: each counter is exact
//! as of a turn, a snapshot of several may be torn between them.

use crate::sys::atomic::{AtomicU64, Ordering};

/// The context's thread alone changes it, so that no exclusive access is needed.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline(always)]
    pub(crate) fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The same, seen after everything that was counted before: pairs with `get_before`.
    pub(crate) fn add_after(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Release);
    }

    /// Its value; what was counted before an `add_after` is seen after this.
    pub(crate) fn get_before(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Any thread: the highest value that was ever given.
    pub(crate) fn raise(&self, value: u64) -> u64 {
        self.0.fetch_max(value, Ordering::Relaxed).max(value)
    }

    pub(crate) fn number(&self) -> &AtomicU64 {
        &self.0
    }
}

macro_rules! counters {
    (each turn: $($often:ident),*; now and then: $($rarely:ident),*;) => {
        /// What any thread may read.
        #[derive(Default)]
        pub(crate) struct Stats {
            $(pub $often: Counter,)*
            $($rarely: Counter,)*
        }

        /// Their values.
        pub(crate) struct Snapshot {
            $(pub $often: u64,)*
            $(pub $rarely: u64,)*
        }

        /// What is counted now and then.
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Tally {
            $($rarely: u64,)*
            changed: bool,
        }

        impl Stats {
            pub(crate) fn publish(&self, tally: &mut Tally) {
                if tally.changed {
                    tally.changed = false;
                    $(self.$rarely.set(tally.$rarely);)*
                }
            }

            pub(crate) fn snapshot(&self) -> Snapshot {
                Snapshot {
                    $($often: self.$often.get(),)*
                    $($rarely: self.$rarely.get(),)*
                }
            }
        }

        impl Tally {
            $(
                pub(crate) fn $rarely(&mut self) {
                    self.$rarely += 1;
                    self.changed = true;
                }
            )*
        }
    };
}

impl Stats {
    /// Publishes what a plain turn tallies; the rest follows when another turn ends.
    #[inline(always)]
    pub(crate) fn publish_mail(&self, tally: &Tally) {
        self.posts.set(tally.posts);
        self.wakes.set(tally.wakes);
    }
}

counters! {
    each turn: turns, system_calls, full_queues;
    now and then: overflows, posts, wakes, cancels, deadlines, rearms, dry_pools;
}
