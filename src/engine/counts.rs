//! Counters by opcode, which any thread may read at any time. Hides how few words are changed for
//! an operation: one when it is submitted, one when it ends. What is in flight, what was completed
//! and a new maximum follow from the two.
//!
//! Each word is exact for the context's thread; what another one reads of several may be torn by
//! what happened meanwhile.

use crate::engine::stats::Counter;
use crate::sys::atomic::read_own;
use crate::sys::errno::Errno;
use std::ptr::NonNull;

/// Opcodes of the kernel, and above them those of `op::service`.
pub(crate) const OPCODES: usize = 256;

type Column = [Counter; OPCODES];

fn column() -> Column {
    std::array::from_fn(|_| Counter::default())
}

/// What each operation changes, together.
#[derive(Default)]
#[repr(C)]
struct Pair {
    submitted: Counter,
    /// What `submitted` may rise to before more are in flight than ever: the operations that have
    /// ended, plus `most`.
    roof: Counter,
}

pub(crate) struct Counts {
    pairs: [Pair; OPCODES],
    /// The most that were in flight at a time.
    most: Column,
    failed: Column,
    cancelled: Column,
    timed_out: Column,
    /// Callbacks, posted functions and records that are not the end of an operation, less the ends
    /// that nobody was told of.
    calls_beyond: Counter,
    /// The most callbacks that another thread has been told of.
    told: Counter,
}

/// The counters of an opcode.
#[derive(Clone, Copy, Default)]
pub(crate) struct Row {
    pub in_flight: u64,
    pub most: u64,
    pub submitted: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub timed_out: u64,
}

impl Counts {
    pub(crate) fn new() -> Counts {
        Counts {
            pairs: std::array::from_fn(|_| Pair::default()),
            most: column(),
            failed: column(),
            cancelled: column(),
            timed_out: column(),
            calls_beyond: Counter::default(),
            told: Counter::default(),
        }
    }

    pub(crate) fn set_calls_beyond(&self, count: u64) {
        self.calls_beyond.set(count);
    }

    /// All callbacks, posted functions and records, where `total` was read before. On other threads
    /// than the context's (`is_own`) what is read is never ahead, because an end that nobody is
    /// told of is counted in `calls_beyond` first; and it never goes back.
    pub(crate) fn callbacks(&self, total: &Row, is_own: bool) -> u64 {
        let callbacks = total.completed.wrapping_add(self.calls_beyond.get());
        if is_own { callbacks } else { self.told.raise((callbacks as i64).max(0) as u64) }
    }

    /// One more in flight is more than ever: only `submitted` counts it. Asked on the context's
    /// thread alone.
    #[inline(always)]
    pub(crate) fn is_at_most(&self, opcode: u8) -> bool {
        let at = usize::from(opcode);
        // SAFETY: the context's thread alone writes it, and is here.
        let roof = unsafe { read_own(self.pairs[at].roof.number()) };
        !cfg!(aio_uncounted) && self.pairs[at].submitted.get() == roof
    }

    /// Counts a submitted operation that is not more in flight than ever.
    #[inline(always)]
    pub(crate) fn submitted_plainly(&self, opcode: u8) {
        if !cfg!(aio_uncounted) {
            self.pairs[usize::from(opcode)].submitted.add(1);
        }
    }

    /// Counts a submitted operation.
    pub(crate) fn submitted(&self, opcode: u8) {
        if self.is_at_most(opcode) {
            let at = usize::from(opcode);
            self.most[at].add(1);
            self.pairs[at].roof.add(1);
        }
        self.submitted_plainly(opcode);
    }

    /// The operation that was counted last was never submitted. `was_most`: what `is_at_most` said
    /// before it.
    fn forget(&self, opcode: u8, was_most: bool) {
        let at = usize::from(opcode);
        if cfg!(aio_uncounted) {
            return;
        }
        self.pairs[at].submitted.add(1u64.wrapping_neg());
        if was_most {
            self.most[at].add(1u64.wrapping_neg());
            self.pairs[at].roof.add(1u64.wrapping_neg());
        }
    }

    /// Counts the end of an operation, whatever its result is.
    #[inline(always)]
    pub(crate) fn ended(&self, opcode: u8) {
        if !cfg!(aio_uncounted) {
            self.pairs[usize::from(opcode)].roof.add(1);
        }
    }

    /// The same, of which perhaps nobody is told: `calls_beyond` knows already.
    fn ended_carefully(&self, opcode: u8, calls_beyond: u64) {
        self.calls_beyond.set(calls_beyond);
        if !cfg!(aio_uncounted) {
            self.pairs[usize::from(opcode)].roof.add_after(1);
        }
    }

    /// Counts a result that may be a failure. `by_deadline`: the engine's deadline has passed.
    pub(crate) fn resulted(&self, opcode: u8, result: i32, by_deadline: bool) {
        let at = usize::from(opcode);
        let column = match result {
            0.. => return,
            _ if by_deadline => &self.timed_out,
            _ if result == Errno::ECANCELED.status() => &self.cancelled,
            _ => &self.failed,
        };
        if !cfg!(aio_uncounted) {
            column[at].add(1);
        }
    }

    pub(crate) fn row(&self, opcode: u8) -> Row {
        let at = usize::from(opcode);
        let (roof, most) = (self.pairs[at].roof.get_before(), self.most[at].get());
        let submitted = self.pairs[at].submitted.get();
        // Read by another thread, the words may be of different moments.
        let completed = roof.saturating_sub(most).min(submitted);
        Row {
            in_flight: submitted - completed,
            most,
            submitted,
            completed,
            failed: self.failed[at].get(),
            cancelled: self.cancelled[at].get(),
            timed_out: self.timed_out[at].get(),
        }
    }

    /// All opcodes together; `most` is meaningless.
    pub(crate) fn total(&self) -> Row {
        (0..=u8::MAX).map(|opcode| self.row(opcode)).fold(Row::default(), |sum, row| Row {
            in_flight: sum.in_flight + row.in_flight,
            most: 0,
            submitted: sum.submitted + row.submitted,
            completed: sum.completed + row.completed,
            failed: sum.failed + row.failed,
            cancelled: sum.cancelled + row.cancelled,
            timed_out: sum.timed_out + row.timed_out,
        })
    }
}

/// The counters of the handle that an engine is in, from when that was adopted: then it is where it
/// stays, and before that there are no operations.
pub(crate) struct Counted(Option<NonNull<Counts>>);

impl Counted {
    pub(crate) const NOWHERE: Counted = Counted(None);

    /// # Safety
    /// `counts` outlives this and stays where it is.
    pub(crate) unsafe fn new(counts: &Counts) -> Counted {
        Counted(Some(NonNull::from(counts)))
    }

    #[inline(always)]
    fn counts(&self) -> Option<&Counts> {
        // SAFETY: the promise of `new`; all its fields are atomic.
        self.0.map(|counts| unsafe { counts.as_ref() })
    }

    pub(crate) fn is_at_most(&self, opcode: u8) -> bool {
        self.counts().is_some_and(|counts| counts.is_at_most(opcode))
    }

    pub(crate) fn submitted(&self, opcode: u8) {
        if let Some(counts) = self.counts() {
            counts.submitted(opcode);
        }
    }

    pub(crate) fn forget(&self, opcode: u8, was_most: bool) {
        if let Some(counts) = self.counts() {
            counts.forget(opcode, was_most);
        }
    }

    pub(crate) fn ended_carefully(&self, opcode: u8, calls_beyond: u64) {
        if let Some(counts) = self.counts() {
            counts.ended_carefully(opcode, calls_beyond);
        }
    }

    pub(crate) fn resulted(&self, opcode: u8, result: i32, by_deadline: bool) {
        if let Some(counts) = self.counts() {
            counts.resulted(opcode, result, by_deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_in_flight_is_exact() {
        let counts = Counts::new();
        for _ in 0..3 {
            assert!(counts.is_at_most(7));
            counts.submitted(7);
        }
        counts.ended(7);
        assert!(!counts.is_at_most(7));
        counts.submitted(7);
        assert!(counts.is_at_most(7));
        let row = counts.row(7);
        assert_eq!((row.in_flight, row.most, row.submitted, row.completed), (3, 3, 4, 1));
        counts.submitted(7);
        counts.forget(7, true);
        let row = counts.row(7);
        assert_eq!((row.in_flight, row.most, row.submitted, row.completed), (3, 3, 4, 1));
        assert_eq!(counts.row(8).submitted, 0);
    }

    #[test]
    fn results_are_sorted() {
        let counts = Counts::new();
        let (cancelled, late) = (Errno::ECANCELED.status(), Errno::ETIMEDOUT.status());
        for (result, by_deadline) in [(0, false), (cancelled, false), (late, true), (late, false)] {
            counts.resulted(255, result, by_deadline);
        }
        let total = counts.total();
        assert_eq!((total.cancelled, total.timed_out, total.failed), (1, 1, 1));
    }
}
