//! Sockets. What the engine makes is close-on-exec, and sends never raise SIGPIPE, unless the
//! caller opts out (contract, line 16).

use crate::op::{Operation, clamp_length, traits};
use crate::sys::descriptor;
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::{HeaderOut, Message, copy_into, flags};
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

impl Bind {
    pub(crate) fn attempt(sqe: &Sqe) -> i32 {
        descriptor::bind(sqe.fd, sqe.addr, sqe.off as u32)
    }
}

impl Operation for Bind {
    const OPCODE: Opcode = Opcode::IORING_OP_BIND;

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

impl Listen {
    pub(crate) fn attempt(sqe: &Sqe) -> i32 {
        descriptor::listen(sqe.fd, sqe.len as i32)
    }
}

impl Operation for Listen {
    const OPCODE: Opcode = Opcode::IORING_OP_LISTEN;

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

/// bind and connect have the same entry: the address in `addr`, its length in `off`.
fn prepare_address(fd: i32, address: Address, sqe: &mut Sqe, copy: &mut [u64]) {
    sqe.fd = fd;
    sqe.addr = copy_into(copy, 0, address.addr, address.len as usize) as u64;
    sqe.off = address.len.into();
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

#[derive(Clone, Copy)]
pub(crate) struct Recv {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub flags: i32,
}

impl Operation for Recv {
    const OPCODE: Opcode = Opcode::IORING_OP_RECV;

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
    pub out: HeaderOut,
    pub flags: i32,
}

impl RecvMsg<'_> {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags &= !(flags::MSG_CMSG_CLOEXEC as u32);
    }
}

impl Operation for RecvMsg<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_RECVMSG;

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY | traits::HEADER_OUT
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        self.message.copied()
    }

    fn header_out(&self) -> Option<HeaderOut> {
        Some(self.out)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.message.write(copy, self.message.name, self.message.control);
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

impl Operation for Shutdown {
    const OPCODE: Opcode = Opcode::IORING_OP_SHUTDOWN;

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.len = self.how as u32;
    }
}
