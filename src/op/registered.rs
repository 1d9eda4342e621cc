//! Transfers whose memory is in a registered buffer, which the kernel has mapped once and for all.
//! Without a ring the driver looks the buffer up and makes the ordinary transfer of it: nothing
//! below needs a fallback of its own.

use crate::op::fs::Vectored;
use crate::op::{Fallback, Operation, clamp_length, fs, traits, zero_copy};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::registered;
use std::ffi::c_void;

/// As many buffers as a table of the kernel's may have.
pub(crate) const BUFFERS_MAX: u32 = 1 << 14;
/// The longest buffer.
pub(crate) const LENGTH_MAX: u64 = 1 << 30;

/// A buffer's number as entries have it; one that is no buffer's in any table stays so.
pub(crate) fn number(index: u32) -> u16 {
    index.min(u16::MAX.into()) as u16
}

/// read_fixed and write_fixed.
#[derive(Clone, Copy)]
pub(crate) struct Fixed<const WRITE: bool> {
    pub fd: i32,
    pub buf: *const c_void,
    pub len: usize,
    pub offset: u64,
    pub index: u32,
}

impl<const WRITE: bool> Operation for Fixed<WRITE> {
    const OPCODE: Opcode =
        if WRITE { Opcode::IORING_OP_WRITE_FIXED } else { Opcode::IORING_OP_READ_FIXED };
    const FALLBACK: Fallback = fs::transfer::<WRITE, false>();
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
        sqe.off = self.offset;
        sqe.buf_index = number(self.index);
    }
}

/// readv_fixed and writev_fixed: vectors inside one registered buffer. Linux 6.15.
#[derive(Clone, Copy)]
pub(crate) struct VectoredFixed<'a, const WRITE: bool> {
    pub vectored: Vectored<'a, WRITE>,
    pub index: u32,
}

impl<const WRITE: bool> Operation for VectoredFixed<'_, WRITE> {
    const OPCODE: Opcode =
        if WRITE { Opcode::IORING_OP_WRITEV_FIXED } else { Opcode::IORING_OP_READV_FIXED };
    const FALLBACK: Fallback = fs::transfer::<WRITE, true>();

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        self.vectored.fd
    }

    fn copied(&self) -> usize {
        self.vectored.copied()
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.vectored.prepare(sqe, copy);
        sqe.buf_index = number(self.index);
    }
}

/// The opcode of the ordinary transfer, for one of a registered buffer.
fn plain_opcode(opcode: u8) -> Option<Opcode> {
    const READ: u8 = Opcode::IORING_OP_READ_FIXED as u8;
    const WRITE: u8 = Opcode::IORING_OP_WRITE_FIXED as u8;
    const READV: u8 = Opcode::IORING_OP_READV_FIXED as u8;
    const WRITEV: u8 = Opcode::IORING_OP_WRITEV_FIXED as u8;
    match opcode {
        READ => Some(Opcode::IORING_OP_READ),
        WRITE => Some(Opcode::IORING_OP_WRITE),
        READV => Some(Opcode::IORING_OP_READV),
        WRITEV => Some(Opcode::IORING_OP_WRITEV),
        _ => None,
    }
}

/// Whether an entry names a registered buffer.
#[inline(always)]
pub(crate) fn names_buffer(sqe: &Sqe) -> bool {
    const TRANSFERS: u64 = 1 << Opcode::IORING_OP_READ_FIXED as u8
        | 1 << Opcode::IORING_OP_WRITE_FIXED as u8
        | 1 << Opcode::IORING_OP_READV_FIXED as u8
        | 1 << Opcode::IORING_OP_WRITEV_FIXED as u8;
    (sqe.opcode < 64 && TRANSFERS >> sqe.opcode & 1 != 0) || zero_copy::uses_buffer(sqe)
}

/// Makes the ordinary transfer of an entry whose buffer has been looked up.
pub(crate) fn make_plain(sqe: &mut Sqe) {
    match plain_opcode(sqe.opcode) {
        Some(opcode) => {
            sqe.opcode = opcode as u8;
            sqe.buf_index = 0;
        }
        None => zero_copy::drop_buffer(sqe),
    }
}

/// Whether `inside` holds for every piece of memory that an entry transfers.
pub(crate) fn all_inside(sqe: &Sqe, inside: impl Fn(u64, u64) -> bool) -> bool {
    const READV: u8 = Opcode::IORING_OP_READV_FIXED as u8;
    const WRITEV: u8 = Opcode::IORING_OP_WRITEV_FIXED as u8;
    const SENDMSG: u8 = Opcode::IORING_OP_SENDMSG_ZC as u8;
    match sqe.opcode {
        READV | WRITEV => registered::vectors_inside(sqe.addr, sqe.len.into(), inside),
        SENDMSG => registered::message_inside(sqe.addr, inside),
        _ => inside(sqe.addr, sqe.len.into()),
    }
}
