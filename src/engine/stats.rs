//! Counters. The engine tallies with plain integers and publishes them once per turn; any thread
//! reads what was published. Relaxed everywhere: each counter is exact as of a turn, a snapshot of
//! several may be torn between them.

use crate::sys::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($name:ident),* $(,)?) => {
        /// What the context's thread has counted.
        #[derive(Clone, Copy, Default)]
        pub(crate) struct Tally {
            $(pub $name: u64,)*
        }

        /// What it has published.
        #[derive(Default)]
        pub(crate) struct Stats {
            $($name: AtomicU64,)*
        }

        impl Stats {
            pub(crate) fn publish(&self, tally: &Tally) {
                $(self.$name.store(tally.$name, Ordering::Relaxed);)*
            }

            pub(crate) fn snapshot(&self) -> Tally {
                Tally { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters!(
    submitted,
    completed,
    callbacks,
    turns,
    system_calls,
    overflows,
    full_queues,
    posts,
    wakes,
    cancels,
    deadlines,
    rearms,
);
