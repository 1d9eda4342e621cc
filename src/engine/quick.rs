//! The submit of what is submitted often with the two options that are asked for often, a slot of
//! the table and a deadline: the plain submit (`submission.rs`), and what they add to it. As there,
//! every condition is tested before anything is changed; what does not meet them is submitted
//! carefully.

use crate::engine::Engine;
use crate::engine::completion::INNER;
use crate::engine::counts::Counts;
use crate::engine::descriptors::DIRECT;
use crate::engine::slots::{index_of, state};
use crate::engine::submission::{Done, fill_plain, list_plainly, stage_plain};
use crate::engine::turn::odd;
use crate::op::Operation;
use crate::op::any::AnyOperation;
use crate::sys::entry::sqe_flags;

/// Options that are no others.
#[derive(Clone, Copy)]
pub(crate) struct Quick {
    /// The descriptor is a slot of the table.
    pub is_slot: bool,
    /// Nanoseconds to the deadline; 0: none.
    pub timeout_ns: u64,
}

impl Engine {
    /// None: nothing was done.
    #[inline(always)]
    pub(crate) fn submit_quickly<O: Operation>(
        &mut self, op: &O, quick: Quick, done: Done, counts: &Counts,
    ) -> Option<i64> {
        let facts = op.facts();
        debug_assert!(done.callback > INNER && facts.is_plain());
        let fd = facts.fd;
        if !self.backend.has_room() || counts.is_at_most(O::OPCODE as u8) {
            return None;
        }
        let is_timed = quick.timeout_ns != 0;
        if is_timed && !self.may_time(quick.timeout_ns) {
            return None;
        }
        let head = if quick.is_slot {
            self.descriptors.plain_direct_head(fd)?
        } else {
            self.descriptors.plain_head(fd)?
        };
        let id = self.slots.next_id()?;
        if is_timed && !self.wheel.arm_again_at_once(index_of(id), quick.timeout_ns) {
            return None;
        }
        let (_, slot) = self.slots.take_free()?;
        counts.submitted_plainly(O::OPCODE as u8);
        fill_plain(slot, &facts, done, self.now_ms);
        if quick.is_slot {
            slot.fd = fd | DIRECT;
        }
        if is_timed {
            slot.state |= state::TIMED;
            self.odd |= odd::TIMED;
        }
        let first = list_plainly(slot, id, head);
        if first != 0 {
            self.slots.at_mut(first - 1).fd_prev = index_of(id) + 1;
        }
        let sqe = stage_plain(&mut self.backend, op, id);
        if quick.is_slot {
            sqe.flags |= sqe_flags::FIXED_FILE;
        }
        Some(id as i64)
    }

    /// Whether such a deadline leaves the turns as they are. Only inside a turn, at whose end its
    /// time begins.
    #[inline(always)]
    fn may_time(&self, after_ns: u64) -> bool {
        self.running && (self.odd & odd::CAREFUL != 0 || self.is_covered_after(after_ns))
    }
}
