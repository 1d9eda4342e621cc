//! Completions that need no more than their slot's release and a callback, or a record: what makes
//! plain turns fast. Each test is made before anything is changed; what fails one is left to
//! `completion.rs`.

use crate::engine::Engine;
use crate::engine::completion::{Brings, Current, Plain, REAP, Record};
use crate::engine::counts::Counts;
use crate::engine::slots::{index_of, state};
use crate::engine::turn::odd;
use crate::op::traits;
use crate::sys::entry::cqe_flags;

impl Engine {
    /// Whether there are completions for `next_plain` to look at.
    #[inline(always)]
    pub(crate) fn can_peek(&mut self) -> bool {
        self.backend.can_peek()
    }

    /// The same of the first piece.
    #[inline(always)]
    pub(crate) fn can_peek_on(&self) -> bool {
        !self.backend.is_at_stop()
    }

    /// The loop of a plain turn is left: what follows asks `can_peek`, which goes on to the second
    /// piece.
    #[inline(always)]
    pub(crate) fn join_pieces(&mut self) {
        self.odd &= !odd::PIECES;
    }

    /// The next completion, of which there is one (`can_peek`), if it needs no more than its slot's
    /// release and a callback.
    #[inline(always)]
    pub(crate) fn next_plain(&mut self, counts: &Counts) -> Option<Plain> {
        self.take_plain::<{ state::SPECIAL }>(counts)
    }

    /// The same where it may have a deadline.
    #[inline(always)]
    pub(crate) fn next_timed(&mut self, counts: &Counts) -> Option<Plain> {
        self.take_plain::<{ state::SPECIAL & !state::TIMED }>(counts)
    }

    /// The same of operations whose ends are records, which are written; false: the next one is
    /// another, or there is no room for records. Inside a run, not while destroying.
    #[inline(always)]
    pub(crate) fn record_plains(&mut self, counts: &Counts) -> bool {
        let has_any = self.record_plain(counts);
        if has_any {
            while self.can_peek() && self.record_plain(counts) {}
        }
        has_any
    }

    #[inline(always)]
    fn record_plain(&mut self, counts: &Counts) -> bool {
        const SPECIAL: u32 =
            state::SPECIAL & !(state::TIMED | state::RECORDS) | traits::GIVES_DESCRIPTOR;
        if self.is_clogged() || self.destroying || self.mute {
            return false;
        }
        let Some(Plain { user_data, result, flags, .. }) = self.take_plain::<SPECIAL>(counts)
        else {
            return false;
        };
        let id = std::mem::replace(&mut self.current, Current::NONE).id;
        let (extra, brings) = (result as u64, Brings::Nothing);
        self.records.push_back(Record { user_data, id, result, flags, extra, brings });
        self.stop_if_clogged();
        true
    }

    /// `SPECIAL`: what the slot's state must not have. Of those with records only the program's
    /// are taken.
    #[inline(always)]
    fn take_plain<const SPECIAL: u32>(&mut self, counts: &Counts) -> Option<Plain> {
        let cqe = self.backend.peek();
        let candidate = self.slots.candidate(cqe.user_data)?;
        let slot = candidate.slot(&self.slots);
        if !cqe.is_plain_end() || slot.has(SPECIAL) {
            return None;
        }
        if SPECIAL & state::RECORDS == 0 && slot.callback != REAP {
            return None;
        }
        if SPECIAL & state::TIMED == 0 && slot.has(state::TIMED) {
            self.wheel.disarm(&mut self.slots, index_of(cqe.user_data));
        }
        let slot = candidate.slot(&self.slots);
        let listed = slot.has(state::LISTED);
        self.backend.advance();
        let index = index_of(cqe.user_data);
        if listed && !self.descriptors.unlink_only(candidate.slot(&self.slots), index) {
            self.unlist(index);
        }
        let slot = candidate.slot(&self.slots);
        let (callback, user_data) = (slot.callback, slot.user_data);
        counts.ended(slot.opcode());
        self.slots.release_candidate(candidate);
        self.current = Current { id: cqe.user_data, result: cqe.result() };
        Some(Plain { callback, user_data, result: cqe.result(), flags: cqe.flags() })
    }

    /// The same for a result of a multishot that goes on, keeps nothing but its entry, and takes no
    /// buffers of a pool: an accept's, a poll's.
    #[inline(always)]
    pub(crate) fn next_repeated(&mut self) -> Option<Plain> {
        /// Of pools, and of zero-copy sends.
        const BRINGING: u32 = cqe_flags::BUFFER | cqe_flags::BUFFER_MORE | cqe_flags::NOTIFY;
        let cqe = self.backend.peek();
        let candidate = self.slots.candidate(cqe.user_data)?;
        let slot = candidate.slot(&self.slots);
        let is_odd = slot.has(state::SPECIAL & !(traits::MULTISHOT | state::COLD))
            || !slot.has(traits::REARMS)
            || !slot.has(state::COLD)
            || !cqe.goes_on()
            || cqe.flags() & BRINGING != 0
            || cqe.result() < 0;
        if is_odd {
            return None;
        }
        let cold = self.cold.of(slot);
        if cold.pool != 0 || cold.direct != 0 {
            return None;
        }
        cold.goes_on = true;
        let (callback, user_data) = (slot.callback, slot.user_data);
        self.backend.advance();
        self.current = Current { id: cqe.user_data, result: cqe.result() };
        self.count_call();
        let flags = cqe.flags() & cqe_flags::PUBLIC;
        Some(Plain { callback, user_data, result: cqe.result(), flags })
    }
}
