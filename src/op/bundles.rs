//! Sends of the buffers that a pool's owner has filled: as many as are queued, in one operation.
//! Where the ring takes them from the pool itself the entry names the pool (Linux 6.10); elsewhere
//! it is a message of their vectors.

use crate::op::buffers::{BUNDLE, select};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::{Message, flags, iovec};

/// What such an operation is, in whatever form.
pub(crate) const OPCODE: u8 = Opcode::IORING_OP_SEND as u8;

/// Vectors of one message at the most: its copy is made for so many.
pub(crate) const VECTORS_MAX: usize = 64;

/// The entry of what a ring takes from the pool.
pub(crate) fn selected(fd: i32, group: u16, msg_flags: i32) -> Sqe {
    let op_flags = (msg_flags | flags::MSG_NOSIGNAL) as u32;
    let mut sqe = Sqe { opcode: OPCODE, fd, op_flags, ioprio: BUNDLE, ..Sqe::default() };
    select(&mut sqe, group);
    sqe
}

/// The entry of a message whose copy `gather` fills.
pub(crate) fn gathered(fd: i32, msg_flags: i32, copy: &[u64]) -> Sqe {
    Sqe {
        opcode: Opcode::IORING_OP_SENDMSG as u8,
        fd,
        addr: copy.as_ptr() as u64,
        len: 1,
        op_flags: (msg_flags | flags::MSG_NOSIGNAL) as u32,
        ..Sqe::default()
    }
}

fn message(vectors: &[iovec]) -> Message<'_> {
    let null = std::ptr::null_mut();
    Message { name: null, name_len: 0, vectors, control: null, control_len: 0 }
}

/// Bytes of the copy that `gather` fills.
pub(crate) fn copied() -> usize {
    message(&[]).copied() + VECTORS_MAX * size_of::<iovec>()
}

/// Makes `copy` the message of `vectors`.
pub(crate) fn gather(copy: &mut [u64], vectors: &[iovec]) {
    message(vectors).write(copy, std::ptr::null_mut(), std::ptr::null_mut());
}
