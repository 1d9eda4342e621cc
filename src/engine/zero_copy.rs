//! Zero-copy sends: a result first, with more to come, and when the kernel reads the memory no more
//! a notification, which is the last callback. Between the two an operation is in `phase::NOTIFY`:
//! nothing can be asked of it any more, it counts as in flight, and its descriptor is free.

use crate::engine::Engine;
use crate::engine::completion::{ABORTED, Delivery};
use crate::engine::slots::{phase, state};
use crate::op::{NO_DESCRIPTOR, zero_copy};
use crate::sys::entry::{Cqe, cqe_flags};
use crate::sys::errno::Errno;

const MORE: u32 = cqe_flags::MORE;
const NOTIFY: u32 = cqe_flags::NOTIFY;

impl Engine {
    /// Whether the operation ends with a notification.
    pub(crate) fn notifies(&self, index: u32) -> bool {
        zero_copy::notifies(self.slots.at(index).opcode())
    }

    /// One of the two completions.
    pub(crate) fn complete_zero_copy(&mut self, index: u32, cqe: Cqe) -> Option<Delivery> {
        if cqe.flags & NOTIFY != 0 {
            // The kernel says in the highest bit that it had to copy, where it was asked to say.
            let is_copied = cqe.result < 0;
            let delivery = self.end(index, i32::from(is_copied), NOTIFY, 0)?;
            return Some(Delivery { moved: Some(0), ..delivery });
        }
        let (result, extra_flags) = self.spell(index, cqe.result);
        let slot = self.slots.at(index);
        // What follows in a chain follows the result.
        if slot.has(state::CHAINED) {
            self.member_ended(index);
        }
        // The deadline was for the result.
        if self.slots.at(index).has(state::TIMED) {
            self.wheel.disarm(&mut self.slots, index);
        }
        // The kernel holds the data, not the descriptor: a close need not wait for a slow peer.
        if self.slots.at(index).has(state::LISTED) {
            self.unlist(index);
            self.slots.at_mut(index).state &= !state::LISTED;
        }
        self.raise_sigpipe(index, result);
        self.count_result(index, result, extra_flags);
        let slot = self.slots.at_mut(index);
        slot.fd = NO_DESCRIPTOR;
        slot.set_phase(phase::NOTIFY);
        self.tell(index, result, MORE | extra_flags, cqe.extra)
    }

    /// The notification of a context whose thread has ended: it will never come.
    pub(crate) fn give_up_notification(&mut self, index: u32) {
        self.slots.at_mut(index).set_phase(phase::BACKEND);
        self.make_ready(index, Errno::ECANCELED.status(), NOTIFY | ABORTED);
    }
}
