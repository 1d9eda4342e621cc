//! Options of sockets and what waits in their queues. Rings know them as commands; alone they are
//! plain calls, because the rings' forms are choosy.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::copy_into;
use crate::sys::plain;
use std::ffi::c_void;

/// What `cmd_op` of a socket command may be.
mod socket_command {
    pub(super) const INQ: u32 = 0;
    pub(super) const OUTQ: u32 = 1;
    pub(super) const GET_OPTION: u32 = 2;
    pub(super) const SET_OPTION: u32 = 3;
}

/// An opcode as old as they are.
const OF_SOCKET_COMMANDS: Opcode = Opcode::IORING_OP_FUTEX_WAIT;

/// setsockopt(2) and getsockopt(2): the plain call where nothing speaks against it, because rings
/// refuse most levels to get and unix sockets altogether (6.7 to 6.18). In a chain, their form.
#[derive(Clone, Copy)]
pub(crate) struct SocketOption<const SET: bool> {
    pub fd: i32,
    pub level: i32,
    pub name: i32,
    pub value: *mut c_void,
    pub len: u32,
}

impl<const SET: bool> Operation for SocketOption<SET> {
    const OPCODE: Opcode = Opcode::IORING_OP_URING_CMD;
    const FALLBACK: Fallback = Fallback::Prompt(command_socket);

    fn needs(&self) -> Opcode {
        OF_SOCKET_COMMANDS
    }

    fn traits(&self) -> u32 {
        if SET { 0 } else { traits::CALLER_MEMORY }
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        if SET { self.len as usize } else { 0 }
    }

    fn is_prompt(&self) -> bool {
        true
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        let command = if SET { socket_command::SET_OPTION } else { socket_command::GET_OPTION };
        sqe.fd = self.fd;
        sqe.off = command.into();
        sqe.addr = u64::from(self.level as u32) | u64::from(self.name as u32) << 32;
        sqe.addr3 = self.value as u64;
        if SET && self.len > 0 {
            sqe.addr3 = copy_into(copy, 0, self.value, self.len as usize) as u64;
        }
        sqe.splice_fd_in = self.len as i32;
    }
}

/// SIOCINQ and SIOCOUTQ: how much waits to be read, or to be taken by the peer. Linux 6.7.
#[derive(Clone, Copy)]
pub(crate) struct SocketQueue {
    pub fd: i32,
    pub outgoing: bool,
}

impl Operation for SocketQueue {
    const OPCODE: Opcode = Opcode::IORING_OP_URING_CMD;
    const FALLBACK: Fallback = Fallback::Prompt(command_socket);

    fn needs(&self) -> Opcode {
        OF_SOCKET_COMMANDS
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn is_prompt(&self) -> bool {
        true
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        let command = if self.outgoing { socket_command::OUTQ } else { socket_command::INQ };
        sqe.fd = self.fd;
        sqe.off = command.into();
    }
}

/// A command to a file; without a ring only sockets know some.
fn command_socket(sqe: &Sqe) -> i32 {
    let (level, name) = (sqe.addr as u32 as i32, (sqe.addr >> 32) as i32);
    let (value, len) = (sqe.addr3, sqe.splice_fd_in as u32);
    match sqe.off as u32 {
        socket_command::INQ => plain::socket_queue(sqe.fd, false),
        socket_command::OUTQ => plain::socket_queue(sqe.fd, true),
        socket_command::GET_OPTION => plain::getsockopt(sqe.fd, level, name, value, len),
        socket_command::SET_OPTION => plain::setsockopt(sqe.fd, level, name, value, len),
        _ => Errno::EOPNOTSUPP.status(),
    }
}
