//! Sends that leave the data where it is: two completions, the result and, when the kernel reads
//! the memory no more, a notification. Without a ring an ordinary send stands in, which copies, so
//! that both come at once.

use crate::op::net::{self, SendMsg};
use crate::op::{Fallback, Operation, Outcome, STARTED, clamp_length, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::{Message, flags};
use crate::sys::plain;
use std::ffi::c_void;

/// `ioprio` bits of such sends: the data is in a registered buffer; the notification says whether
/// it was copied.
const FIXED_BUFFER: u16 = 4;
pub(crate) const REPORT_USAGE: u16 = 8;

/// Whether an operation ends with a notification, once it has a result.
#[inline(always)]
pub(crate) fn notifies(opcode: u8) -> bool {
    opcode == Opcode::IORING_OP_SEND_ZC as u8 || opcode == Opcode::IORING_OP_SENDMSG_ZC as u8
}

/// Makes a prepared send take its data from registered buffer `index`.
pub(crate) fn use_buffer(sqe: &mut Sqe, index: u16) {
    sqe.ioprio |= FIXED_BUFFER;
    sqe.buf_index = index;
}

/// Whether it does.
#[inline(always)]
pub(crate) fn uses_buffer(sqe: &Sqe) -> bool {
    notifies(sqe.opcode) && sqe.ioprio & FIXED_BUFFER != 0
}

/// What is left of such an entry when the buffer has been looked up.
pub(crate) fn drop_buffer(sqe: &mut Sqe) {
    sqe.ioprio &= !FIXED_BUFFER;
    sqe.buf_index = 0;
}

/// What the notification of a send that was copied says, as the kernel does: the highest bit, if it
/// was asked.
pub(crate) fn copied_usage(sqe: &Sqe) -> i32 {
    if sqe.ioprio & REPORT_USAGE != 0 { i32::MIN } else { 0 }
}

/// Linux 6.0.
#[derive(Clone, Copy)]
pub(crate) struct SendZc {
    pub fd: i32,
    pub buf: *const c_void,
    pub len: usize,
    pub flags: i32,
    pub zc_flags: u16,
}

impl Operation for SendZc {
    const OPCODE: Opcode = Opcode::IORING_OP_SEND_ZC;
    const FALLBACK: Fallback = Fallback::Trying(attempt::<false>);

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::SENDS | traits::NOTIFIES
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = self.buf as u64;
        sqe.len = clamp_length(self.len);
        sqe.op_flags = (self.flags | flags::MSG_NOSIGNAL) as u32;
        sqe.ioprio = self.zc_flags;
    }
}

/// Copies as sendmsg does; the copy lives until the notification. Linux 6.1.
#[derive(Clone, Copy)]
pub(crate) struct SendMsgZc<'a> {
    pub fd: i32,
    pub message: Message<'a>,
    pub flags: i32,
    pub zc_flags: u16,
}

impl SendMsgZc<'_> {
    fn plain(&self) -> SendMsg<'_> {
        SendMsg { fd: self.fd, message: self.message, flags: self.flags }
    }
}

impl Operation for SendMsgZc<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_SENDMSG_ZC;
    const FALLBACK: Fallback = Fallback::Trying(attempt::<true>);

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::SENDS | traits::NOTIFIES
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.plain().copied()
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.plain().prepare(sqe, copy);
        sqe.ioprio = self.zc_flags;
    }
}

/// A send that copies, to sockets that a ring would send to: not to unix sockets.
fn attempt<const MESSAGE: bool>(sqe: &mut Sqe) -> Outcome {
    if sqe.pad & STARTED == 0 {
        sqe.pad |= STARTED;
        if plain::is_unix(sqe.fd) {
            return Outcome::Done(Errno::EOPNOTSUPP.status());
        }
    }
    net::attempt_transfer::<true, MESSAGE>(sqe)
}
