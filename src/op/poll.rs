//! Readiness. Also how the engine watches its own wake-up descriptor.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::flags::EPOLLET;
use crate::sys::poller::events::RDHUP;

/// `IORING_POLL_ADD_MULTI` in `len`.
const MULTI: u32 = 1;

#[derive(Clone, Copy)]
pub(crate) struct Poll<const MULTISHOT: bool> {
    pub fd: i32,
    pub events: u32,
}

impl<const MULTISHOT: bool> Operation for Poll<MULTISHOT> {
    const OPCODE: Opcode = Opcode::IORING_OP_POLL_ADD;
    const FALLBACK: Fallback = Fallback::Readiness;

    fn traits(&self) -> u32 {
        if MULTISHOT { traits::MULTISHOT | traits::REARMS } else { 0 }
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.len = if MULTISHOT { MULTI } else { 0 };
        // The kernel reads the halves of this word swapped on big-endian machines.
        sqe.op_flags =
            if cfg!(target_endian = "big") { self.events.rotate_left(16) } else { self.events };
    }
}

/// What an entry polls for; None: an entry that only a ring understands.
pub(crate) fn wanted(sqe: &Sqe) -> Option<u32> {
    let events =
        if cfg!(target_endian = "big") { sqe.op_flags.rotate_left(16) } else { sqe.op_flags };
    // A peer's half-close is reported whether asked for or not, like errors and hang-ups.
    (sqe.len & !MULTI == 0).then_some(events & u32::from(u16::MAX) | RDHUP)
}

pub(crate) fn is_multishot(sqe: &Sqe) -> bool {
    sqe.len & MULTI != 0
}

/// A multishot poll that fires once per signal: an event counter polled edge-triggered needs no
/// read between signals.
pub(crate) fn wake_poll(sqe: &mut Sqe, event_fd: i32) {
    let poll = Poll::<true> { fd: event_fd, events: 1 | EPOLLET };
    sqe.opcode = Opcode::IORING_OP_POLL_ADD as u8;
    poll.prepare(sqe, &mut []);
}
