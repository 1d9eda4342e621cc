//! Operations without a family: nop, epoll sets, pipes, children, and the raw entry that a caller
//! filled for an opcode that this library has no function for.

use crate::op::{Fallback, NO_DESCRIPTOR, Operation, Outcome, files, traits, zero_copy};
use crate::sys::clock::Timespec;
use crate::sys::entry::{Opcode, Sqe, WideSqe, sqe_flags};
use crate::sys::message::{Outputs, P_PIDFD, copy_into, epoll_event, flags};
use crate::sys::plain;
use crate::sys::poller::events;
use std::ffi::c_void;
use std::ptr::NonNull;

#[derive(Clone, Copy)]
pub(crate) struct Nop;

impl Operation for Nop {
    const OPCODE: Opcode = Opcode::IORING_OP_NOP;
    const FALLBACK: Fallback = Fallback::Prompt(|_| 0);
    const HAS_DESCRIPTOR: bool = false;

    #[inline(always)]
    fn prepare(&self, _: &mut Sqe, _: &mut [u64]) {}
}

/// An entry of the engine's own that completes with -ETIME at a time of `CLOCK_MONOTONIC`. `at`
/// stays until the ring has taken it.
pub(crate) fn alarm(at: &Timespec, user_data: u64) -> Sqe {
    const ABSOLUTE: u32 = 1; // IORING_TIMEOUT_ABS
    Sqe {
        opcode: Opcode::IORING_OP_TIMEOUT as u8,
        fd: NO_DESCRIPTOR,
        addr: std::ptr::from_ref(at) as u64,
        len: 1,
        op_flags: ABSOLUTE,
        user_data,
        ..Sqe::default()
    }
}

/// epoll_ctl(2). Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct EpollCtl {
    pub epoll_fd: i32,
    pub what: i32,
    pub fd: i32,
    /// None where it is not read.
    pub event: Option<epoll_event>,
}

impl Operation for EpollCtl {
    const OPCODE: Opcode = Opcode::IORING_OP_EPOLL_CTL;
    const FALLBACK: Fallback =
        Fallback::Prompt(|sqe| plain::epoll_ctl(sqe.fd, sqe.len as i32, sqe.off as i32, sqe.addr));

    fn descriptor(&self) -> i32 {
        self.epoll_fd
    }

    fn second_descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.event.map_or(0, |event| size_of_val(&event))
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.epoll_fd;
        sqe.len = self.what as u32;
        sqe.off = self.fd as u32 as u64;
        if let Some(event) = self.event {
            let bytes: *const c_void = (&raw const event).cast();
            sqe.addr = copy_into(copy, 0, bytes, size_of::<epoll_event>()) as u64;
        }
    }
}

/// epoll_wait(2). Linux 6.15.
#[derive(Clone, Copy)]
pub(crate) struct EpollWait {
    pub epoll_fd: i32,
    pub events: *mut epoll_event,
    pub count: u32,
}

impl Operation for EpollWait {
    const OPCODE: Opcode = Opcode::IORING_OP_EPOLL_WAIT;
    const FALLBACK: Fallback =
        Fallback::Trying(|sqe| match plain::epoll_take(sqe.fd, sqe.addr, sqe.len) {
            0 => Outcome::Unready(events::IN),
            result => Outcome::Done(result),
        });

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        self.epoll_fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.epoll_fd;
        sqe.addr = self.events as u64;
        sqe.len = self.count;
    }
}

/// pipe2(2), into the engine's copy. Linux 6.16; before, a plain call at submit.
#[derive(Clone, Copy)]
pub(crate) struct Pipe {
    pub pair: NonNull<i32>,
    pub flags: i32,
}

impl Pipe {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags &= !(flags::O_CLOEXEC as u32);
    }
}

impl Operation for Pipe {
    const OPCODE: Opcode = Opcode::IORING_OP_PIPE;
    const FALLBACK: Fallback = Fallback::Prompt(|sqe| plain::pipe(sqe.addr, sqe.op_flags as i32));

    fn traits(&self) -> u32 {
        traits::OUTPUTS
    }

    fn copied(&self) -> usize {
        size_of::<[i32; 2]>()
    }

    fn outputs(&self) -> Option<Outputs> {
        Some(Outputs::Pair(self.pair))
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.addr = copy.as_mut_ptr() as u64;
        sqe.op_flags = (self.flags | flags::O_CLOEXEC) as u32;
    }
}

/// waitid(2). Linux 6.7.
#[derive(Clone, Copy)]
pub(crate) struct WaitId {
    pub id_type: i32,
    pub id: u32,
    pub info: *mut c_void,
    pub options: i32,
}

impl Operation for WaitId {
    const OPCODE: Opcode = Opcode::IORING_OP_WAITID;
    const FALLBACK: Fallback = Fallback::Sleeping(|sqe| {
        plain::waitid(sqe.len as i32, sqe.fd as u32, sqe.off, sqe.splice_fd_in)
    });

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        if self.id_type as u32 == P_PIDFD { self.id as i32 } else { NO_DESCRIPTOR }
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.id as i32;
        sqe.len = self.id_type as u32;
        sqe.off = self.info as u64;
        sqe.splice_fd_in = self.options;
    }
}

/// Bytes of a driver's command that entries of a size have room for.
pub(crate) fn command_room(sqe_size: u32) -> usize {
    if sqe_size == 128 { 80 } else { 16 }
}

/// A driver's command, at most `command_room` bytes, as an entry.
pub(crate) fn command(fd: i32, command: u32, bytes: &[u8]) -> WideSqe {
    let mut words = [0u64; 10];
    for (index, chunk) in bytes.chunks(size_of::<u64>()).enumerate() {
        let mut word = [0; size_of::<u64>()];
        word[..chunk.len()].copy_from_slice(chunk);
        words[index] = u64::from_ne_bytes(word);
    }
    let mut entry = WideSqe::from(Sqe {
        opcode: Opcode::IORING_OP_URING_CMD as u8,
        fd,
        off: command.into(),
        addr3: words[0],
        pad: words[1],
        ..Sqe::default()
    });
    entry.tail.copy_from_slice(&words[2..]);
    entry
}

/// A caller-filled entry.
#[derive(Clone, Copy)]
pub(crate) struct Raw(pub WideSqe);

impl Raw {
    /// Entry flags that are the engine's own business: order is asked for with submit options,
    /// every completion is reported to the engine, and buffers are taken from pools, which keep
    /// count.
    const FORBIDDEN: u8 = sqe_flags::IO_DRAIN
        | sqe_flags::IO_LINK
        | sqe_flags::IO_HARDLINK
        | sqe_flags::CQE_SKIP_SUCCESS
        | sqe_flags::BUFFER_SELECT;

    pub(crate) fn is_acceptable(&self) -> bool {
        self.0.sqe.flags & Self::FORBIDDEN == 0
    }

    pub(crate) fn traits(&self) -> u32 {
        let sqe = &self.0.sqe;
        let multishot = match sqe.opcode {
            code if code == Opcode::IORING_OP_POLL_ADD as u8 => sqe.len & 1 != 0,
            code if code == Opcode::IORING_OP_ACCEPT as u8 => sqe.ioprio & 1 != 0,
            code if code == Opcode::IORING_OP_RECV as u8 => sqe.ioprio & 2 != 0,
            code if code == Opcode::IORING_OP_RECVMSG as u8 => sqe.ioprio & 2 != 0,
            code if code == Opcode::IORING_OP_TIMEOUT as u8 => sqe.op_flags & (1 << 6) != 0,
            code => code == Opcode::IORING_OP_READ_MULTISHOT as u8,
        };
        let gives = [
            Opcode::IORING_OP_ACCEPT as u8,
            Opcode::IORING_OP_OPENAT as u8,
            Opcode::IORING_OP_OPENAT2 as u8,
            Opcode::IORING_OP_SOCKET as u8,
            Opcode::IORING_OP_FIXED_FD_INSTALL as u8,
        ];
        let descriptor = gives.contains(&sqe.opcode);
        traits::CALLER_MEMORY
            | if zero_copy::notifies(sqe.opcode) { traits::NOTIFIES } else { 0 }
            | if multishot { traits::MULTISHOT } else { 0 }
            | if descriptor { traits::GIVES_DESCRIPTOR } else { 0 }
    }

    /// The number under which the entry is listed: its `fd`, a slot's as well, unless the opcode
    /// uses the field for something else.
    pub(crate) fn descriptor(&self) -> i32 {
        let sqe = &self.0.sqe;
        let elsewhere = [
            Opcode::IORING_OP_NOP as u8,
            Opcode::IORING_OP_TIMEOUT as u8,
            Opcode::IORING_OP_TIMEOUT_REMOVE as u8,
            Opcode::IORING_OP_LINK_TIMEOUT as u8,
            Opcode::IORING_OP_POLL_REMOVE as u8,
            Opcode::IORING_OP_ASYNC_CANCEL as u8,
            Opcode::IORING_OP_FILES_UPDATE as u8,
            Opcode::IORING_OP_MADVISE as u8,
            Opcode::IORING_OP_PROVIDE_BUFFERS as u8,
            Opcode::IORING_OP_REMOVE_BUFFERS as u8,
            Opcode::IORING_OP_SOCKET as u8,
            Opcode::IORING_OP_WAITID as u8,
            Opcode::IORING_OP_FUTEX_WAIT as u8,
            Opcode::IORING_OP_FUTEX_WAKE as u8,
            Opcode::IORING_OP_FUTEX_WAITV as u8,
            Opcode::IORING_OP_GETXATTR as u8,
            Opcode::IORING_OP_SETXATTR as u8,
            Opcode::IORING_OP_PIPE as u8,
        ];
        if elsewhere.contains(&sqe.opcode) || files::closed_slot(sqe) != 0 {
            NO_DESCRIPTOR
        } else {
            sqe.fd
        }
    }
}
