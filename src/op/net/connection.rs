//! Making sockets, and connecting them: what comes before the first byte.

use crate::op::{Fallback, Operation, Outcome, STARTED, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::{copy_into, flags};
use crate::sys::plain;
use crate::sys::poller::events;
use std::ffi::c_void;

/// `accept_flags` bit in `ioprio` that makes an accept multishot.
const ACCEPT_MULTISHOT: u16 = 1;

#[derive(Clone, Copy)]
pub(crate) struct Socket {
    pub domain: i32,
    pub kind: i32,
    pub protocol: i32,
}

impl Socket {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.off &= !(flags::SOCK_CLOEXEC as u64);
    }
}

impl Operation for Socket {
    const OPCODE: Opcode = Opcode::IORING_OP_SOCKET;
    const FALLBACK: Fallback =
        Fallback::Prompt(|sqe| plain::socket(sqe.fd, sqe.off as i32, sqe.len as i32));

    fn traits(&self) -> u32 {
        traits::GIVES_DESCRIPTOR
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.domain;
        sqe.off = (self.kind | flags::SOCK_CLOEXEC) as u32 as u64;
        sqe.len = self.protocol as u32;
    }
}

/// A socket address, its bytes at `addr`.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub addr: *const c_void,
    pub len: u32,
}

/// Linux 6.11; before, a plain call at submit.
#[derive(Clone, Copy)]
pub(crate) struct Bind {
    pub fd: i32,
    pub address: Address,
}

impl Operation for Bind {
    const OPCODE: Opcode = Opcode::IORING_OP_BIND;
    const FALLBACK: Fallback =
        Fallback::Prompt(|sqe| plain::bind(sqe.fd, sqe.addr, sqe.off as u32));

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.address.len as usize
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        prepare_address(self.fd, self.address, sqe, copy);
    }
}

/// Linux 6.11; before, a plain call at submit.
#[derive(Clone, Copy)]
pub(crate) struct Listen {
    pub fd: i32,
    pub backlog: i32,
}

impl Operation for Listen {
    const OPCODE: Opcode = Opcode::IORING_OP_LISTEN;
    const FALLBACK: Fallback = Fallback::Prompt(|sqe| plain::listen(sqe.fd, sqe.len as i32));

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.len = self.backlog as u32;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Accept {
    pub fd: i32,
    pub addr: *mut c_void,
    pub addr_len: *mut u32,
    pub flags: i32,
}

impl Accept {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags &= !(flags::SOCK_CLOEXEC as u32);
    }
}

impl Operation for Accept {
    const OPCODE: Opcode = Opcode::IORING_OP_ACCEPT;
    const FALLBACK: Fallback = Fallback::Trying(attempt_accept);

    fn traits(&self) -> u32 {
        let memory = if self.addr.is_null() { 0 } else { traits::CALLER_MEMORY };
        traits::GIVES_DESCRIPTOR | memory
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = self.addr as u64;
        sqe.off = self.addr_len as u64;
        sqe.op_flags = (self.flags | flags::SOCK_CLOEXEC) as u32;
    }
}

/// Linux 5.19.
#[derive(Clone, Copy)]
pub(crate) struct AcceptMultishot {
    pub fd: i32,
    pub flags: i32,
}

impl Operation for AcceptMultishot {
    const OPCODE: Opcode = Opcode::IORING_OP_ACCEPT;
    const FALLBACK: Fallback = Fallback::Trying(attempt_accept);

    fn traits(&self) -> u32 {
        traits::GIVES_DESCRIPTOR | traits::MULTISHOT | traits::REARMS
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.ioprio = ACCEPT_MULTISHOT;
        sqe.op_flags = (self.flags | flags::SOCK_CLOEXEC) as u32;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Connect {
    pub fd: i32,
    pub address: Address,
}

impl Operation for Connect {
    const OPCODE: Opcode = Opcode::IORING_OP_CONNECT;
    const FALLBACK: Fallback = Fallback::Either {
        attempt: attempt_connect,
        sleep: |sqe| plain::connect(sqe.fd, sqe.addr, sqe.off as u32),
    };

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.address.len as usize
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        prepare_address(self.fd, self.address, sqe, copy);
    }
}

/// Makes a listening socket non-blocking, for good: there is no other way to accept without
/// sleeping when somebody else was faster.
fn attempt_accept(sqe: &mut Sqe) -> Outcome {
    if sqe.pad & STARTED == 0 {
        sqe.pad |= STARTED;
        if plain::is_listening(sqe.fd)
            && let Err(errno) = plain::set_nonblocking(sqe.fd)
        {
            return Outcome::Done(errno.status());
        }
    }
    let result = plain::accept(sqe.fd, sqe.addr, sqe.off, sqe.op_flags as i32);
    match Errno::check(result) {
        Err(Errno::EAGAIN) => Outcome::Unready(events::IN),
        _ => Outcome::Done(result),
    }
}

/// Whether an accept is to go on.
pub(crate) fn is_multishot_accept(sqe: &Sqe) -> bool {
    sqe.opcode == Opcode::IORING_OP_ACCEPT as u8 && sqe.ioprio & ACCEPT_MULTISHOT != 0
}

/// Makes a socket non-blocking, for good. A unix socket stays as it is: a non-blocking connect to a
/// full listener would fail, not wait.
fn attempt_connect(sqe: &mut Sqe) -> Outcome {
    if sqe.pad & STARTED == 0 {
        if plain::is_unix(sqe.fd) {
            return Outcome::Sleeps(0);
        }
        if plain::protocol(sqe.fd).is_some()
            && let Err(errno) = plain::set_nonblocking(sqe.fd)
        {
            return Outcome::Done(errno.status());
        }
    }
    let result = plain::connect(sqe.fd, sqe.addr, sqe.off as u32);
    let again = sqe.pad & STARTED != 0;
    match Errno::check(result) {
        Err(Errno::EINPROGRESS) => {
            sqe.pad |= STARTED;
            Outcome::Unready(events::OUT)
        }
        Err(Errno::EALREADY) if again => Outcome::Unready(events::OUT),
        Err(Errno::EISCONN) if again => Outcome::Done(0),
        _ => Outcome::Done(result),
    }
}

/// bind and connect have the same entry: the address in `addr`, its length in `off`.
fn prepare_address(fd: i32, address: Address, sqe: &mut Sqe, copy: &mut [u64]) {
    sqe.fd = fd;
    sqe.addr = copy_into(copy, 0, address.addr, address.len as usize) as u64;
    sqe.off = address.len.into();
}
