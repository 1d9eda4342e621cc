//! Space and memory: allocation, truncation, ranges written back, advice about what comes.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::plain;
use std::ffi::c_void;

/// Linux 6.9; before, a plain call at submit.
#[derive(Clone, Copy)]
pub(crate) struct Ftruncate {
    pub fd: i32,
    pub length: u64,
}

impl Operation for Ftruncate {
    const OPCODE: Opcode = Opcode::IORING_OP_FTRUNCATE;
    const FALLBACK: Fallback = Fallback::Brief(|sqe| plain::ftruncate(sqe.fd, sqe.off));

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = self.length;
    }
}

/// sync_file_range(2); the length has 32 bits, 0 to the end. Linux 5.2.
#[derive(Clone, Copy)]
pub(crate) struct SyncFileRange {
    pub fd: i32,
    pub offset: u64,
    pub len: u32,
    pub flags: u32,
}

impl Operation for SyncFileRange {
    const OPCODE: Opcode = Opcode::IORING_OP_SYNC_FILE_RANGE;
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        plain::sync_file_range(sqe.fd, sqe.off, sqe.len.into(), sqe.op_flags)
    });

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = self.offset;
        sqe.len = self.len;
        sqe.op_flags = self.flags;
    }
}

/// fallocate(2). Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct Fallocate {
    pub fd: i32,
    pub mode: i32,
    pub offset: u64,
    pub len: u64,
}

impl Operation for Fallocate {
    const OPCODE: Opcode = Opcode::IORING_OP_FALLOCATE;
    const FALLBACK: Fallback =
        Fallback::Brief(|sqe| plain::fallocate(sqe.fd, sqe.len as i32, sqe.off, sqe.addr));

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = self.offset;
        sqe.addr = self.len;
        sqe.len = self.mode as u32;
    }
}

/// Lengths of advice had 32 bits before Linux 6.11; longer ones go where newer kernels look.
fn split_length(len: u64) -> (u32, u64) {
    u32::try_from(len).map_or((0, len), |short| (short, 0))
}

/// An opcode of Linux 6.11 for a length that older kernels would take for 0.
fn advice_needs(opcode: Opcode, len: u64) -> Opcode {
    if len > u32::MAX.into() { Opcode::IORING_OP_LISTEN } else { opcode }
}

/// posix_fadvise(2). Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct Fadvise {
    pub fd: i32,
    pub offset: u64,
    pub len: u64,
    pub advice: i32,
}

impl Operation for Fadvise {
    const OPCODE: Opcode = Opcode::IORING_OP_FADVISE;
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        plain::fadvise(sqe.fd, sqe.off, u64::from(sqe.len) | sqe.addr, sqe.op_flags)
    });

    fn needs(&self) -> Opcode {
        advice_needs(Self::OPCODE, self.len)
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = self.offset;
        (sqe.len, sqe.addr) = split_length(self.len);
        sqe.op_flags = self.advice as u32;
    }
}

/// madvise(2). Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct Madvise {
    pub addr: *mut c_void,
    pub len: u64,
    pub advice: i32,
}

impl Operation for Madvise {
    const OPCODE: Opcode = Opcode::IORING_OP_MADVISE;
    const FALLBACK: Fallback =
        Fallback::Brief(|sqe| plain::madvise(sqe.addr, u64::from(sqe.len) | sqe.off, sqe.op_flags));

    fn needs(&self) -> Opcode {
        advice_needs(Self::OPCODE, self.len)
    }

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.addr = self.addr as u64;
        (sqe.len, sqe.off) = split_length(self.len);
        sqe.op_flags = self.advice as u32;
    }
}
