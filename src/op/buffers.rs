//! Receives that take a buffer of a pool when there is data, and not before. The entry names the
//! pool by its group; the engine knows what is in it.

use crate::op::{Fallback, Operation, Outcome, fallback, fs, net, traits};
use crate::sys::entry::{GROUP_FIRST, Opcode, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::{flags, msghdr, write_capacities};
use crate::sys::plain;
use crate::sys::poller::{events, poll_now};

/// Bits of a receive's `ioprio`.
const RECV_MULTISHOT: u16 = 1 << 1;
pub(super) const BUNDLE: u16 = 1 << 4;

/// A receive into a buffer of a pool, again and again or once.
#[derive(Clone, Copy)]
pub(crate) struct PoolRecv<const MULTISHOT: bool> {
    pub fd: i32,
    pub group: u16,
    pub bundles: bool,
    pub flags: i32,
}

fn pool_traits(multishot: bool) -> u32 {
    if multishot { traits::MULTISHOT | traits::REARMS } else { 0 }
}

impl<const MULTISHOT: bool> Operation for PoolRecv<MULTISHOT> {
    const OPCODE: Opcode = Opcode::IORING_OP_RECV;
    const FALLBACK: Fallback = net::Recv::FALLBACK;

    fn traits(&self) -> u32 {
        pool_traits(MULTISHOT)
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn pool(&self) -> u32 {
        u32::from(self.group) + 1
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.op_flags = self.flags as u32;
        sqe.ioprio = if MULTISHOT { RECV_MULTISHOT } else { 0 };
        if self.bundles {
            sqe.ioprio |= BUNDLE;
        }
        select(sqe, self.group);
    }
}

/// A recvmsg into buffers of a pool, again and again: a `struct io_uring_recvmsg_out`, the name,
/// the control data, the payload.
#[derive(Clone, Copy)]
pub(crate) struct PoolRecvMsg {
    pub fd: i32,
    pub group: u16,
    pub name_len: u32,
    pub control_len: usize,
    pub flags: i32,
}

impl Operation for PoolRecvMsg {
    const OPCODE: Opcode = Opcode::IORING_OP_RECVMSG;
    const FALLBACK: Fallback = net::RecvMsg::FALLBACK;

    fn traits(&self) -> u32 {
        pool_traits(true)
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        size_of::<msghdr>()
    }

    fn pool(&self) -> u32 {
        u32::from(self.group) + 1
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        write_capacities(copy, self.name_len, self.control_len);
        sqe.fd = self.fd;
        sqe.addr = copy.as_ptr() as u64;
        sqe.len = 1;
        sqe.op_flags = (self.flags | flags::MSG_CMSG_CLOEXEC) as u32;
        sqe.ioprio = RECV_MULTISHOT;
        select(sqe, self.group);
    }
}

/// Reads of a pipe, a terminal, anything that can be polled, again and again. Linux 6.7.
#[derive(Clone, Copy)]
pub(crate) struct PoolRead {
    pub fd: i32,
    pub group: u16,
}

impl Operation for PoolRead {
    const OPCODE: Opcode = Opcode::IORING_OP_READ_MULTISHOT;
    const FALLBACK: Fallback = fs::Read::FALLBACK;

    fn traits(&self) -> u32 {
        pool_traits(true)
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn pool(&self) -> u32 {
        u32::from(self.group) + 1
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = plain::CURRENT;
        select(sqe, self.group);
    }
}

/// The same on older kernels: one read, which the engine starts again.
#[derive(Clone, Copy)]
pub(crate) struct PoolReadAgain(pub PoolRead);

impl Operation for PoolReadAgain {
    const OPCODE: Opcode = Opcode::IORING_OP_READ;
    const FALLBACK: Fallback = PoolRead::FALLBACK;

    fn traits(&self) -> u32 {
        self.0.traits()
    }

    fn descriptor(&self) -> i32 {
        self.0.fd
    }

    fn pool(&self) -> u32 {
        self.0.pool()
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.0.prepare(sqe, copy);
    }
}

/// A receive into the area of an interface queue, again and again.
#[derive(Clone, Copy)]
pub(crate) struct AreaRecv {
    pub fd: i32,
    pub group: u16,
    /// The number of the interface queue.
    pub queue: u32,
}

impl Operation for AreaRecv {
    const OPCODE: Opcode = Opcode::IORING_OP_RECV_ZC;
    /// What stands in for it where there is no interface queue.
    const FALLBACK: Fallback = PoolRecv::<true>::FALLBACK;

    fn traits(&self) -> u32 {
        pool_traits(true)
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn pool(&self) -> u32 {
        u32::from(self.group) + 1
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.ioprio = RECV_MULTISHOT;
        sqe.splice_fd_in = self.queue as i32;
    }
}

/// Whether what comes to `fd` can come to an interface queue: the kernel says so of TCP sockets
/// alone. What is no socket is for the receive to refuse.
pub(crate) fn is_for_area(fd: i32) -> bool {
    const TCP: i32 = 6;
    plain::protocol(fd).is_none_or(|protocol| protocol == TCP)
}

pub(super) fn select(sqe: &mut Sqe, group: u16) {
    sqe.flags |= sqe_flags::BUFFER_SELECT;
    sqe.buf_index = GROUP_FIRST + group;
}

/// Whether an entry takes its buffer from a pool.
#[inline(always)]
pub(crate) fn selects(sqe: &Sqe) -> bool {
    sqe.flags & sqe_flags::BUFFER_SELECT != 0
}

/// Whether such an entry goes on after a result.
pub(crate) fn is_multishot(sqe: &Sqe) -> bool {
    selects(sqe)
        && (sqe.opcode == Opcode::IORING_OP_READ_MULTISHOT as u8
            || sqe.ioprio & RECV_MULTISHOT != 0)
}

/// Whether `rebuild` makes this entry.
pub(crate) fn is_usual(sqe: &Sqe) -> bool {
    sqe.opcode == Opcode::IORING_OP_RECV as u8
        && sqe.op_flags == 0
        && sqe.flags & !sqe_flags::FIXED_FILE == sqe_flags::BUFFER_SELECT
        && is_multishot(sqe)
}

/// The entry of the usual multishot receive, which need not be kept.
pub(crate) fn rebuild((fd, is_slot): (i32, bool), group: u16, bundles: bool) -> Sqe {
    let op = PoolRecv::<true> { fd, group, bundles, flags: 0 };
    let mut sqe = Sqe { opcode: Opcode::IORING_OP_RECV as u8, ..Sqe::default() };
    op.prepare(&mut sqe, &mut []);
    sqe.flags |= if is_slot { sqe_flags::FIXED_FILE } else { 0 };
    sqe
}

/// Whether a message of no bytes is the last: the end of a stream, or of what was shut down.
pub(crate) fn is_last_message(fd: i32) -> bool {
    plain::is_stream(fd)
        || poll_now(fd, events::RDHUP).is_ok_and(|ready| ready & events::RDHUP != 0)
}

/// Whether a receive has brought a message of no bytes.
pub(crate) fn is_empty_message(sqe: &Sqe, result: i32) -> bool {
    sqe.opcode == Opcode::IORING_OP_RECVMSG as u8 && result == plain::message_head_len(sqe.addr)
}

/// Whether a receive of `result` bytes into `len` has left nothing behind in a TCP socket.
pub(crate) fn drains(sqe: &Sqe, result: i32, len: u32) -> bool {
    net::drains(&Sqe { len, ..*sqe }, result)
}

/// Carries such an operation out once, into the `len` bytes at `addr`, without sleeping. `pad` is
/// the entry's.
pub(crate) fn attempt(sqe: &Sqe, addr: u64, len: u32) -> Outcome {
    match sqe.opcode {
        code if code == Opcode::IORING_OP_RECVMSG as u8 => attempt_message(sqe, addr, len),
        code if code == Opcode::IORING_OP_RECV as u8 => {
            let single = Sqe { flags: 0, ioprio: 0, addr, len, buf_index: 0, pad: 0, ..*sqe };
            attempt_single(single)
        }
        _ => attempt_read(Sqe {
            opcode: Opcode::IORING_OP_READ as u8,
            flags: 0,
            addr,
            len,
            off: plain::CURRENT,
            buf_index: 0,
            pad: 0,
            ..*sqe
        }),
    }
}

fn attempt_single(mut single: Sqe) -> Outcome {
    match fallback(single.opcode) {
        Some(Fallback::Trying(attempt) | Fallback::Either { attempt, .. }) => attempt(&mut single),
        _ => Outcome::Done(Errno::EOPNOTSUPP.status()),
    }
}

fn attempt_read(single: Sqe) -> Outcome {
    match attempt_single(single) {
        // A terminal has no call that does not sleep, but says when it is ready.
        Outcome::Sleeps(_) => match poll_now(single.fd, events::IN) {
            Ok(0) => Outcome::Unready(events::IN),
            _ => Outcome::Done(plain::transfer_one::<false>(
                single.fd,
                single.addr,
                single.len,
                plain::CURRENT,
                0,
            )),
        },
        outcome => outcome,
    }
}

fn attempt_message(sqe: &Sqe, addr: u64, len: u32) -> Outcome {
    let asked = sqe.op_flags as i32;
    let result = plain::recvmsg_into(sqe.fd, sqe.addr, (addr, len), asked | flags::MSG_DONTWAIT);
    match Errno::check(result) {
        Err(Errno::EAGAIN) if asked & flags::MSG_DONTWAIT == 0 => Outcome::Unready(events::IN),
        _ => Outcome::Done(result),
    }
}
