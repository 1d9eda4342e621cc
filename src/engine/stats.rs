//! Counters. The engine tallies with plain integers and publishes them once per turn; any thread
//! reads what was published. Relaxed everywhere: each counter is exact as of a turn, a snapshot of
//! several may be torn between them.

use crate::sys::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    (each turn: $($often:ident),*; now and then: $($rarely:ident),*;) => {
        /// What the context's thread has counted.
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Tally {
            $(pub $often: u64,)*
            $(pub $rarely: u64,)*
            /// Set by whoever counts something that is counted now and then.
            pub changed: bool,
        }

        /// What it has published.
        #[derive(Default)]
        pub(crate) struct Stats {
            $($often: AtomicU64,)*
            $($rarely: AtomicU64,)*
        }

        impl Stats {
            #[inline(always)]
            pub(crate) fn publish(&self, tally: &mut Tally) {
                $(self.$often.store(tally.$often, Ordering::Relaxed);)*
                if tally.changed {
                    tally.changed = false;
                    $(self.$rarely.store(tally.$rarely, Ordering::Relaxed);)*
                }
            }

            pub(crate) fn snapshot(&self) -> Tally {
                Tally {
                    $($often: self.$often.load(Ordering::Relaxed),)*
                    $($rarely: self.$rarely.load(Ordering::Relaxed),)*
                    changed: false,
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

counters! {
    each turn: submitted, completed, callbacks, turns, system_calls, full_queues;
    now and then: overflows, posts, wakes, cancels, deadlines, rearms;
}
