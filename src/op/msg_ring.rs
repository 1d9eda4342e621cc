//! Messages from one ring to another: two numbers, or a file of the sender's table of direct
//! descriptors. The receiving ring gets a completion that no operation of its own stands for;
//! `engine/msg_ring.rs` knows such a one when it sees it.

use crate::sys::entry::{Opcode, Sqe, cqe_flags};

pub(crate) const OPCODE: u8 = Opcode::IORING_OP_MSG_RING as u8;

/// IORING_MSG_SEND_FD
const SEND_FD: u64 = 1;
/// IORING_MSG_RING_FLAGS_PASS: the completion's flags are the sender's too. Linux 6.3.
const FLAGS_PASS: u32 = 2;

/// Two numbers for the ring behind `ring_fd`.
pub(crate) fn numbers(ring_fd: i32, result: i32, data: u64) -> Sqe {
    Sqe {
        opcode: OPCODE,
        fd: ring_fd,
        off: data,
        len: result as u32,
        op_flags: FLAGS_PASS,
        splice_fd_in: (cqe_flags::MESSAGE | cqe_flags::MORE) as i32,
        ..Sqe::default()
    }
}

/// The file in `slot` for slot `file_index - 1` of the ring behind `ring_fd`, or for a free one.
/// Linux 6.0.
pub(crate) fn file(ring_fd: i32, slot: u32, file_index: u32, user_data: u64) -> Sqe {
    Sqe {
        opcode: OPCODE,
        fd: ring_fd,
        off: user_data,
        addr: SEND_FD,
        addr3: slot.into(),
        splice_fd_in: file_index as i32,
        ..Sqe::default()
    }
}

/// Whether an entry sends the file of a slot.
pub(crate) fn sends_slot(sqe: &Sqe) -> bool {
    sqe.opcode == OPCODE && sqe.addr == SEND_FD
}
