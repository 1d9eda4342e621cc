//! Sends that are made at once. A context that has one thing to do at a time, a reply to the
//! message that has just come, pays for two turns: one that hands the send over, and one that
//! waits. Where the running callback is the last of its turn, nothing is staged, and it was like
//! that a turn or two ago, the send is made by send(2) inside the submit, and its callback comes
//! when the running one has returned: as many system calls, and a turn less. One of them a turn,
//! so that who sends without end lets others have their turns.
//!
//! A batch of completions is left to the ring, which sends all replies in one call.

use crate::engine::Engine;
use crate::engine::completion::{Current, Plain};
use crate::engine::counts::Counts;
use crate::engine::handle::Handle;
use crate::engine::slots::{Candidate, Slots, index_of};
use crate::engine::submission::{Done, fill_plain};
use crate::engine::turn::odd;
use crate::op::Operation;
use crate::op::any::AnyOperation;
use crate::op::net::Send;

/// A send that was made, and whose callback has yet to come.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    slot: Candidate,
    result: i32,
}

impl Sent {
    /// What stands there before there is one.
    pub(super) fn none(slots: &Slots) -> Sent {
        Sent { slot: slots.candidate_at(0), result: 0 }
    }
}

/// So many turns ago the context had one thing to do as well: one where the send was made at once,
/// two where it was not.
const LONE_TURNS_MAX: u64 = 2;

impl Engine {
    /// Whether the running callback is the last of a turn, in which nothing was submitted.
    #[inline(always)]
    pub(crate) fn has_nothing_else(&self) -> bool {
        self.odd == 0
            && self.running
            && self.backend.is_exhausted()
            && !self.backend.has_staged_plainly()
    }

    /// Makes a send, if `has_nothing_else` and it was like that in one of the last turns. None:
    /// nothing was done.
    pub(crate) fn send_at_once(&mut self, send: &Send, done: Done, handle: &Handle) -> Option<i64> {
        let turn = handle.stats.turns.get();
        let before = turn.wrapping_sub(std::mem::replace(&mut self.lone_turn, turn));
        if before == 0 || before > LONE_TURNS_MAX {
            return None;
        }
        // A close of the number may wait.
        self.descriptors.plain_head(send.fd)?;
        // Always so where `allowed_ops` leaves sends out: none was ever submitted.
        if handle.counts.is_at_most(Send::OPCODE as u8) {
            return None;
        }
        if !self.slots.has_free() {
            return None;
        }
        handle.stats.system_calls.add(1);
        let result = send.attempt()?;
        let (id, slot) = self.slots.take_free()?;
        fill_plain(slot, &send.facts(), done, self.now_ms);
        handle.counts.submitted_plainly(Send::OPCODE as u8);
        self.sent = Sent { slot: Candidate::taken(slot), result };
        self.odd |= odd::SENT;
        if result < 0 {
            self.keep_sent(); // A failure is for the careful way.
        }
        Some(id as i64)
    }

    /// Something else is done before the callback of a send that was made at once: it is told in
    /// the next turn, as all that is ready. Listed meanwhile, because a close waits until it is.
    #[cold]
    #[inline(never)]
    pub(super) fn keep_sent(&mut self) {
        self.odd = self.odd & !odd::SENT | odd::CAREFUL;
        let index = index_of(self.sent.slot.slot(&self.slots).id());
        let is_listed = self.list(index);
        debug_assert!(is_listed, "no close of its number waits: that would have been told first");
        self.make_ready(index, self.sent.result, 0);
    }

    /// The callback of the send that was made at once in this turn.
    #[inline(always)]
    pub(super) fn next_sent(&mut self, counts: &Counts) -> Option<Plain> {
        if self.odd & odd::SENT == 0 {
            return None;
        }
        self.odd &= !odd::SENT;
        let Sent { slot: candidate, result } = self.sent;
        let slot = candidate.slot(&self.slots);
        let (id, callback, user_data) = (slot.id(), slot.callback, slot.user_data);
        counts.ended(Send::OPCODE as u8);
        self.slots.release_candidate(candidate);
        self.current = Current { id, result };
        Some(Plain { callback, user_data, result, flags: 0 })
    }
}
