//! Sockets. What the engine makes is close-on-exec, and sends never raise SIGPIPE, unless the
//! caller opts out (contract, line 16).

use crate::op::steps::Steps;
use crate::op::zero_copy::{self, REPORT_USAGE};
use crate::op::{Fallback, Operation, Outcome, STARTED, clamp_length, done, total, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::{Message, NAME_MAX, Outputs, copy_into, flags};
use crate::sys::plain;
use crate::sys::poller::events;
use std::ffi::c_void;

mod connection;
pub(crate) use connection::*;

/// `ioprio` bit of a transfer that asks to wait for readiness first, which is no more than a hint.
const POLL_FIRST: u16 = 1;

/// Bit of the entry's last word: what a receive with MSG_WAITALL brought at last was cut.
const CUT: u64 = STARTED << 1;

/// Sends and receives. With MSG_WAITALL a short transfer of a stream goes on.
pub(super) fn attempt_transfer<const WRITE: bool, const MESSAGE: bool>(sqe: &mut Sqe) -> Outcome {
    let known = POLL_FIRST | if zero_copy::notifies(sqe.opcode) { REPORT_USAGE } else { 0 };
    if sqe.ioprio & !known != 0 {
        return Outcome::Done(Errno::EINVAL.status()); // Multishot and bundles need a ring.
    }
    let asked = sqe.op_flags as i32;
    let all = asked & flags::MSG_WAITALL != 0;
    let mut flags = asked | flags::MSG_DONTWAIT;
    if WRITE {
        flags |= flags::MSG_NOSIGNAL;
    }
    loop {
        let mut is_cut = false;
        let done = done(sqe);
        let result = match (MESSAGE, WRITE) {
            (true, _) if done != 0 => plain::message_rest::<WRITE>(sqe.fd, sqe.addr, done, flags),
            (true, true) => plain::sendmsg(sqe.fd, sqe.addr, flags),
            (true, false) => plain::recvmsg(sqe.fd, sqe.addr, flags),
            (false, true) => plain::send(sqe.fd, sqe.addr + done, u64::from(sqe.len) - done, flags),
            (false, false) if all => {
                let rest = (sqe.addr + done, sqe.len - done as u32);
                plain::recv_telling(sqe.fd, rest, flags, &mut is_cut)
            }
            (false, false) => plain::recv(sqe.fd, sqe.addr, sqe.len, flags),
        };
        match Errno::check(result) {
            Ok(moved) => {
                let goes_on = all
                    && asked & flags::MSG_PEEK == 0
                    && !(MESSAGE && !WRITE && plain::has_control(sqe.addr))
                    && moved > 0
                    && done + (moved as u64) < capacity::<MESSAGE>(sqe)
                    && plain::waits_for_all(sqe.fd);
                if !goes_on {
                    if all && (is_cut || (MESSAGE && !WRITE && plain::is_cut(sqe.addr))) {
                        sqe.pad |= CUT;
                    }
                    return Outcome::Done(total(sqe, moved));
                }
                sqe.pad += moved as u64;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if asked & flags::MSG_DONTWAIT == 0 => {
                // A unix datagram socket does not know whether another's queue has room.
                if WRITE && MESSAGE && plain::is_addressed(sqe.addr) && plain::is_unix(sqe.fd) {
                    return Outcome::Sleeps(0);
                }
                return Outcome::Unready(match WRITE {
                    true => events::OUT,
                    false if asked & flags::MSG_ERRQUEUE != 0 => events::ERR,
                    false if asked & flags::MSG_OOB != 0 => events::PRI,
                    false => events::IN,
                });
            }
            Err(_) => return Outcome::Done(total(sqe, result)),
        }
    }
}

/// The whole of a send or receive in the common case, where one call decides: its result, -EAGAIN
/// to wait. None: it is another operation, or not so simple.
#[inline(always)]
pub(crate) fn quick(sqe: &Sqe) -> Option<i32> {
    let simple = sqe.op_flags as i32 & !flags::MSG_NOSIGNAL == 0
        && sqe.ioprio == 0
        && sqe.off == 0
        && sqe.splice_fd_in == 0;
    let sends = sqe.opcode == Opcode::IORING_OP_SEND as u8;
    if !simple || sqe.pad != 0 || !(sends || sqe.opcode == Opcode::IORING_OP_RECV as u8) {
        return None;
    }
    let result = if sends {
        plain::send(sqe.fd, sqe.addr, sqe.len.into(), flags::MSG_DONTWAIT | flags::MSG_NOSIGNAL)
    } else {
        plain::recv(sqe.fd, sqe.addr, sqe.len, flags::MSG_DONTWAIT)
    };
    (result != Errno::EINTR.status()).then_some(result)
}

/// Whether `quick` may have an answer.
#[inline(always)]
pub(crate) fn is_quick(sqe: &Sqe) -> bool {
    sqe.opcode == Opcode::IORING_OP_SEND as u8 || sqe.opcode == Opcode::IORING_OP_RECV as u8
}

/// A shutdown after which nothing can be sent.
pub(crate) fn ends_sending(sqe: &Sqe) -> bool {
    sqe.opcode == Opcode::IORING_OP_SHUTDOWN as u8 && sqe.len as i32 != flags::SHUT_RD
}

/// A send or receive.
#[inline(always)]
pub(crate) fn is_transfer(opcode: u8) -> bool {
    const SET: u64 = 1 << Opcode::IORING_OP_SEND as u8
        | 1 << Opcode::IORING_OP_RECV as u8
        | 1 << Opcode::IORING_OP_SENDMSG as u8
        | 1 << Opcode::IORING_OP_RECVMSG as u8;
    opcode < 64 && SET >> opcode & 1 != 0
}

fn capacity<const MESSAGE: bool>(sqe: &Sqe) -> u64 {
    if MESSAGE { plain::message_len(sqe.addr) } else { sqe.len.into() }
}

/// Whether a receive that brought `result` bytes has left nothing behind in a TCP socket.
pub(crate) fn drains(sqe: &Sqe, result: i32) -> bool {
    const SPECIAL: i32 =
        flags::MSG_PEEK | flags::MSG_WAITALL | flags::MSG_OOB | flags::MSG_ERRQUEUE;
    sqe.opcode == Opcode::IORING_OP_RECV as u8
        && result > 0
        && (result as u32) < sqe.len
        && sqe.op_flags as i32 & SPECIAL == 0
}

/// Whether a transfer of `moved` bytes is less than its MSG_WAITALL wanted, or is cut.
pub(crate) fn falls_short(sqe: &Sqe, moved: u64) -> bool {
    const SEND: u8 = Opcode::IORING_OP_SEND as u8;
    const RECV: u8 = Opcode::IORING_OP_RECV as u8;
    const SENDMSG: u8 = Opcode::IORING_OP_SENDMSG as u8;
    const RECVMSG: u8 = Opcode::IORING_OP_RECVMSG as u8;
    const SEND_ZC: u8 = Opcode::IORING_OP_SEND_ZC as u8;
    const SENDMSG_ZC: u8 = Opcode::IORING_OP_SENDMSG_ZC as u8;
    let wanted = match sqe.opcode {
        RECV | RECVMSG if sqe.pad & CUT != 0 => return true,
        SEND | RECV | SEND_ZC => capacity::<false>(sqe),
        // With control data, rings do not wait for all.
        RECVMSG if plain::has_control(sqe.addr) => return false,
        SENDMSG | RECVMSG | SENDMSG_ZC => capacity::<true>(sqe),
        _ => return false,
    };
    sqe.op_flags as i32 & flags::MSG_WAITALL != 0 && moved < wanted
}

#[derive(Clone, Copy)]
pub(crate) struct Send {
    pub fd: i32,
    pub buf: *const c_void,
    pub len: usize,
    pub flags: i32,
}

impl Operation for Send {
    const OPCODE: Opcode = Opcode::IORING_OP_SEND;
    const FALLBACK: Fallback = Fallback::Trying(attempt_transfer::<true, false>);
    const IS_FREQUENT: bool = true;

    #[inline(always)]
    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::SENDS
    }

    #[inline(always)]
    fn descriptor(&self) -> i32 {
        self.fd
    }

    #[inline(always)]
    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = self.buf as u64;
        sqe.len = clamp_length(self.len);
        sqe.op_flags = (self.flags | flags::MSG_NOSIGNAL) as u32;
    }
}

impl Send {
    /// Sends now what can be sent without waiting; its result, as the ring would say it. None:
    /// nothing was sent, and the ring may say something else. It can wait, is not interrupted, and
    /// meets no filter for system calls.
    pub(crate) fn attempt(&self) -> Option<i32> {
        let how = self.flags | flags::MSG_NOSIGNAL | flags::MSG_DONTWAIT;
        let result = plain::send(self.fd, self.buf as u64, self.len as u64, how);
        let is_odd = result < 0
            && match Errno(-result) {
                Errno::EAGAIN | Errno::EPERM | Errno::ENOSYS => true,
                _ => Errno::is_interruption(result),
            };
        (!is_odd).then_some(result)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Recv {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub flags: i32,
}

impl Operation for Recv {
    const OPCODE: Opcode = Opcode::IORING_OP_RECV;
    const FALLBACK: Fallback = Fallback::Trying(attempt_transfer::<false, false>);
    const IS_FREQUENT: bool = true;

    #[inline(always)]
    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    #[inline(always)]
    fn descriptor(&self) -> i32 {
        self.fd
    }

    #[inline(always)]
    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = self.buf as u64;
        sqe.len = clamp_length(self.len);
        sqe.op_flags = self.flags as u32;
    }
}

/// send and recv until all is moved. The kernel goes on by itself as far as it can.
#[derive(Clone, Copy)]
pub(crate) struct Exact<const SEND: bool> {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub flags: i32,
}

impl<const SEND: bool> Exact<SEND> {
    /// What leaves the meaning of the whole as it is.
    pub(crate) const FLAGS: i32 = if SEND {
        flags::MSG_WAITALL | flags::MSG_NOSIGNAL | flags::MSG_MORE | flags::MSG_DONTROUTE
    } else {
        flags::MSG_WAITALL
    };
}

impl<const SEND: bool> Operation for Exact<SEND> {
    const OPCODE: Opcode = if SEND { Send::OPCODE } else { Recv::OPCODE };
    const FALLBACK: Fallback = if SEND { Send::FALLBACK } else { Recv::FALLBACK };

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | if SEND { traits::SENDS } else { 0 }
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn steps(&self) -> Option<Steps> {
        Some(Steps::whole(if SEND { "send_all" } else { "recv_exact" }, self.len, true))
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = self.buf as u64;
        if self.len == 0 {
            // To receive nothing would wait for something, and to send nothing is a message.
            sqe.opcode = Opcode::IORING_OP_READ as u8;
            return;
        }
        sqe.len = clamp_length(self.len);
        let more_flags = if SEND { flags::MSG_NOSIGNAL } else { 0 };
        sqe.op_flags = (self.flags | flags::MSG_WAITALL | more_flags) as u32;
    }
}

/// Copies header, vectors, name and control data: the kernel reads control data again when it
/// retries, so the copy lives until the last completion.
#[derive(Clone, Copy)]
pub(crate) struct SendMsg<'a> {
    pub fd: i32,
    pub message: Message<'a>,
    pub flags: i32,
}

impl Operation for SendMsg<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_SENDMSG;
    const FALLBACK: Fallback = Fallback::Either {
        attempt: attempt_transfer::<true, true>,
        sleep: |sqe| plain::sendmsg(sqe.fd, sqe.addr, sqe.op_flags as i32 | flags::MSG_NOSIGNAL),
    };

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::SENDS
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        let message = &self.message;
        message.copied() + message.control_len + message.name_len as usize
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        let message = &self.message;
        // Control data before the name: its headers want eight-byte alignment.
        let control_at = message.copied();
        let name_at = control_at + message.control_len;
        let mut control = std::ptr::null_mut();
        let mut name = std::ptr::null_mut();
        if message.control_len > 0 {
            control = copy_into(copy, control_at, message.control, message.control_len);
        }
        if message.name_len > 0 {
            name = copy_into(copy, name_at, message.name, message.name_len as usize);
        }
        message.write(copy, name, control);
        sqe.fd = self.fd;
        sqe.addr = copy.as_ptr() as u64;
        sqe.len = 1;
        sqe.op_flags = (self.flags | flags::MSG_NOSIGNAL) as u32;
    }
}

/// Copies header and vectors; name and control buffers are the caller's, and the header's outputs
/// are written back to the caller's header at completion.
#[derive(Clone, Copy)]
pub(crate) struct RecvMsg<'a> {
    pub fd: i32,
    pub message: Message<'a>,
    pub out: Outputs,
    pub flags: i32,
}

impl RecvMsg<'_> {
    /// With MSG_WAITALL a ring writes the name once per piece, and takes the length of the first
    /// for the room that there is (Linux 6.18): the name goes to the copy, with room for any.
    fn name_room(&self) -> usize {
        let many = self.flags & flags::MSG_WAITALL != 0 && !self.message.name.is_null();
        if many { NAME_MAX } else { 0 }
    }

    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags &= !(flags::MSG_CMSG_CLOEXEC as u32);
    }
}

impl Operation for RecvMsg<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_RECVMSG;
    const FALLBACK: Fallback = Fallback::Trying(attempt_transfer::<false, true>);

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::OUTPUTS
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.message.copied() + self.name_room()
    }

    fn outputs(&self) -> Option<Outputs> {
        Some(self.out)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        let mut name = self.message.name;
        if self.name_room() != 0 {
            let nothing = [0u8; NAME_MAX];
            name = copy_into(copy, self.message.copied(), nothing.as_ptr().cast(), NAME_MAX);
        }
        self.message.write(copy, name, self.message.control);
        sqe.fd = self.fd;
        sqe.addr = copy.as_ptr() as u64;
        sqe.len = 1;
        sqe.op_flags = (self.flags | flags::MSG_CMSG_CLOEXEC) as u32;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Shutdown {
    pub fd: i32,
    pub how: i32,
}

impl Shutdown {
    /// Of both directions.
    pub(crate) fn both(fd: i32) -> Shutdown {
        Shutdown { fd, how: plain::SHUT_RDWR }
    }
}

impl Operation for Shutdown {
    const OPCODE: Opcode = Opcode::IORING_OP_SHUTDOWN;
    const FALLBACK: Fallback = Fallback::Prompt(|sqe| plain::shutdown(sqe.fd, sqe.len as i32));

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.len = self.how as u32;
    }
}
