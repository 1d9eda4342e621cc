//! What comes between two steps of an operation (`op::steps`): nothing, unless it was asked to end
//! meanwhile. The pipes that sendfile goes through are kept here, and only those that are empty for
//! certain: bytes left in one would reach the peer of another transfer.

use crate::engine::Engine;
use crate::engine::completion::{Delivery, ended};
use crate::engine::slots::state;
use crate::engine::submission::Prepared;
use crate::op::steps::Step;
use crate::sys::descriptor::Pipe;
use crate::sys::entry::{Cqe, sqe_flags};
use crate::sys::errno::Errno;

/// Pipes that are kept for later: each is two descriptors.
const PIPES_MAX: usize = 4;

impl Engine {
    /// Makes the entry of an operation's first step.
    pub(crate) fn begin_steps(&mut self, prepared: &mut Prepared) -> Result<(), Errno> {
        let Some(steps) = &mut prepared.steps else { return Ok(()) };
        let kept = &mut self.pipes;
        steps.begin(&mut prepared.entry.sqe, || kept.pop().map_or_else(Pipe::create, Ok))
    }

    /// A step has ended: starts the next one, or ends the operation.
    pub(crate) fn complete_step(&mut self, index: u32, cqe: Cqe) -> Option<Delivery> {
        let cold = self.cold.of(self.slots.at(index));
        let steps = cold.steps.as_mut().expect("the caller has looked");
        let (result, flags) = match steps.next(&mut cold.entry.sqe, cqe.result) {
            Step::End(result) => self.spell(index, result),
            // Whoever asked for the end met one that was complete, or cut it short.
            Step::Again if self.slots.at(index).has(state::ENDED | state::DISCARD) => {
                ended(self.slots.at(index).state)
            }
            Step::Again => {
                self.leave_chain(index);
                self.start(index);
                return None;
            }
        };
        self.keep_pipe(index, result);
        self.end(index, result, flags, 0)
    }

    /// To the kernel, what follows the first step is not part of the chain any more.
    pub(crate) fn leave_chain(&mut self, index: u32) {
        if !self.slots.at(index).has(state::CHAINED) {
            return;
        }
        self.member_ended(index);
        let slot = self.slots.at_mut(index);
        slot.state &= !state::CHAINED;
        let links = sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK;
        self.cold.of(slot).entry.sqe.flags &= !links;
    }

    fn keep_pipe(&mut self, index: u32, result: i32) {
        let steps = self.cold.of(self.slots.at(index)).steps.as_mut();
        if let Some(pipe) = steps.and_then(|steps| steps.take_clean_pipe(result))
            && self.pipes.len() < PIPES_MAX
        {
            self.pipes.push(pipe);
        }
    }
}
