//! An operation whose type does not matter: what the engine must know of it, read off it once, and
//! its entry when there is a place for it. What is not worth code for each operation takes one of
//! these; the plain submit alone is made for each type.

use crate::op::steps::Steps;
use crate::op::{NO_DESCRIPTOR, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::Outputs;

/// The newest opcode that every ring of Linux 6.1 has.
const NEWEST_OF_FLOOR: u8 = Opcode::IORING_OP_SENDMSG_ZC as u8;

/// What `Operation` says of one.
pub(crate) struct Facts {
    pub opcode: u8,
    pub needs: u8,
    pub traits: u32,
    pub fd: i32,
    pub second_fd: i32,
    pub copied: usize,
    pub outputs: Option<Outputs>,
    pub steps: Option<Steps>,
    pub prompt: bool,
    pub pool: u32,
}

impl Facts {
    /// Whether the operation needs no more than its entry.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.copied == 0
            && self.needs <= NEWEST_OF_FLOOR
            && self.traits & traits::REARMS == 0
            && self.second_fd == NO_DESCRIPTOR
            && self.pool == 0
            && !self.prompt
            && self.steps.is_none()
    }
}

pub(crate) trait AnyOperation {
    fn facts(&self) -> Facts;

    /// Writes the entry, zeroed, and fills `copy`; see `Operation::prepare`.
    fn write(&self, sqe: &mut Sqe, copy: &mut [u64]);
}

impl<O: Operation> AnyOperation for O {
    #[inline(always)]
    fn facts(&self) -> Facts {
        Facts {
            opcode: O::OPCODE as u8,
            needs: self.needs() as u8,
            traits: self.traits(),
            fd: self.descriptor(),
            second_fd: self.second_descriptor(),
            copied: self.copied(),
            outputs: self.outputs(),
            steps: self.steps(),
            prompt: self.is_prompt(),
            pool: self.pool(),
        }
    }

    #[inline(always)]
    fn write(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.opcode = O::OPCODE as u8;
        self.prepare(sqe, copy);
    }
}
