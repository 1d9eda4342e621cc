//! The table of direct descriptors: which operations take a slot of it, which fill one, and those
//! that work on the table itself.
//!
//! Where a result goes is counted from 1, as in the entry: 0 stands for an ordinary descriptor, all
//! ones for the first free slot.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::copy_into;
use crate::sys::plain;

/// The first free slot.
pub(crate) const ALLOCATE: u32 = u32::MAX;
/// Most slots of a table.
pub(crate) const SLOTS_MAX: u32 = 1 << 20;
/// Most slots that one operation updates: its copy has the size of the largest other one.
pub(crate) const UPDATES_MAX: u32 = 16_384;

/// SPLICE_F_FD_IN_FIXED: the descriptor read from is a slot.
const SPLICE_FROM_SLOT: u32 = 1 << 31;
/// IORING_FIXED_FD_NO_CLOEXEC
const INSTALL_INHERITED: u32 = 1;

/// Whether the entry's `fd` may be a slot: where the ring itself looks the file up. A close has a
/// field of its own for it. Opcodes of newer kernels may do what they like.
pub(crate) fn takes_slot(opcode: u8) -> bool {
    const SET: u64 = 1 << Opcode::IORING_OP_READV as u8
        | 1 << Opcode::IORING_OP_WRITEV as u8
        | 1 << Opcode::IORING_OP_FSYNC as u8
        | 1 << Opcode::IORING_OP_READ_FIXED as u8
        | 1 << Opcode::IORING_OP_WRITE_FIXED as u8
        | 1 << Opcode::IORING_OP_POLL_ADD as u8
        | 1 << Opcode::IORING_OP_SYNC_FILE_RANGE as u8
        | 1 << Opcode::IORING_OP_SENDMSG as u8
        | 1 << Opcode::IORING_OP_RECVMSG as u8
        | 1 << Opcode::IORING_OP_ACCEPT as u8
        | 1 << Opcode::IORING_OP_CONNECT as u8
        | 1 << Opcode::IORING_OP_FALLOCATE as u8
        | 1 << Opcode::IORING_OP_CLOSE as u8
        | 1 << Opcode::IORING_OP_READ as u8
        | 1 << Opcode::IORING_OP_WRITE as u8
        | 1 << Opcode::IORING_OP_FADVISE as u8
        | 1 << Opcode::IORING_OP_SEND as u8
        | 1 << Opcode::IORING_OP_RECV as u8
        | 1 << Opcode::IORING_OP_SPLICE as u8
        | 1 << Opcode::IORING_OP_TEE as u8
        | 1 << Opcode::IORING_OP_SHUTDOWN as u8
        | 1 << Opcode::IORING_OP_FSETXATTR as u8
        | 1 << Opcode::IORING_OP_FGETXATTR as u8
        | 1 << Opcode::IORING_OP_URING_CMD as u8
        | 1 << Opcode::IORING_OP_SEND_ZC as u8
        | 1 << Opcode::IORING_OP_SENDMSG_ZC as u8
        | 1 << Opcode::IORING_OP_READ_MULTISHOT as u8
        | 1 << Opcode::IORING_OP_FIXED_FD_INSTALL as u8
        | 1 << Opcode::IORING_OP_FTRUNCATE as u8
        | 1 << Opcode::IORING_OP_BIND as u8
        | 1 << Opcode::IORING_OP_LISTEN as u8
        | 1 << Opcode::IORING_OP_RECV_ZC as u8
        | 1 << Opcode::IORING_OP_EPOLL_WAIT as u8
        | 1 << Opcode::IORING_OP_READV_FIXED as u8
        | 1 << Opcode::IORING_OP_WRITEV_FIXED as u8;
    opcode >= Opcode::IORING_OP_LAST as u8 || SET >> opcode & 1 != 0
}

/// How many slots an operation of `opcode` can fill.
pub(crate) fn slots_filled(opcode: u8) -> u32 {
    const FILLS_ONE: u64 = 1 << Opcode::IORING_OP_ACCEPT as u8
        | 1 << Opcode::IORING_OP_OPENAT as u8
        | 1 << Opcode::IORING_OP_OPENAT2 as u8
        | 1 << Opcode::IORING_OP_SOCKET as u8;
    match opcode {
        code if code == Opcode::IORING_OP_PIPE as u8 => 2,
        code if code < 64 && FILLS_ONE >> code & 1 != 0 => 1,
        _ => 0,
    }
}

/// Whether what an operation of `opcode` makes is a socket.
pub(crate) fn makes_socket(opcode: u8) -> bool {
    opcode == Opcode::IORING_OP_ACCEPT as u8 || opcode == Opcode::IORING_OP_SOCKET as u8
}

/// Where in the table the result of an entry goes; 0: nowhere.
pub(crate) fn file_index(sqe: &Sqe) -> u32 {
    if slots_filled(sqe.opcode) == 0 { 0 } else { sqe.splice_fd_in as u32 }
}

/// The slot plus one that a close is of; 0: it is of an ordinary descriptor.
pub(crate) fn closed_slot(sqe: &Sqe) -> u32 {
    if sqe.opcode == Opcode::IORING_OP_CLOSE as u8 { sqe.splice_fd_in as u32 } else { 0 }
}

/// An entry that closes slot `file_index - 1`.
pub(crate) fn close(file_index: u32) -> Sqe {
    let opcode = Opcode::IORING_OP_CLOSE as u8;
    Sqe { opcode, splice_fd_in: file_index as i32, ..Sqe::default() }
}

/// An entry that puts the descriptor at `addr` into a free slot, whose number it writes there.
/// Linux 6.0.
pub(crate) fn allocate(addr: u64) -> Sqe {
    let opcode = Opcode::IORING_OP_FILES_UPDATE as u8;
    Sqe { opcode, addr, len: 1, off: ALLOCATE.into(), ..Sqe::default() }
}

/// Whether an operation between two descriptors reads from a slot.
pub(crate) fn reads_from_slot(sqe: &Sqe) -> bool {
    let moves =
        sqe.opcode == Opcode::IORING_OP_SPLICE as u8 || sqe.opcode == Opcode::IORING_OP_TEE as u8;
    moves && sqe.op_flags & SPLICE_FROM_SLOT != 0
}

/// The entry with the descriptor that stands for the slot it reads from.
pub(crate) fn read_from(sqe: &mut Sqe, fd: i32) {
    sqe.op_flags &= !SPLICE_FROM_SLOT;
    sqe.splice_fd_in = fd;
}

/// Not in the table of fallbacks: who has the table of descriptors does it.
const OF_THE_TABLE: Fallback = Fallback::Prompt(|_| Errno::EOPNOTSUPP.status());

/// Whether an operation works on the table itself.
pub(crate) fn is_of_table(opcode: u8) -> bool {
    opcode == Opcode::IORING_OP_FILES_UPDATE as u8
        || opcode == Opcode::IORING_OP_FIXED_FD_INSTALL as u8
}

/// An install without a ring, of the descriptor that stands for the slot.
pub(crate) fn install(sqe: &Sqe) -> i32 {
    plain::duplicate(sqe.fd, sqe.op_flags & INSTALL_INHERITED == 0)
}

/// Puts descriptors into slots, or empties them. Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct FilesUpdate<'a> {
    pub first: u32,
    pub fds: &'a [i32],
}

impl Operation for FilesUpdate<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_FILES_UPDATE;
    const FALLBACK: Fallback = OF_THE_TABLE;

    fn copied(&self) -> usize {
        size_of_val(self.fds)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.addr = copy_into(copy, 0, self.fds.as_ptr().cast(), self.copied()) as u64;
        sqe.len = self.fds.len() as u32;
        sqe.off = self.first.into();
    }
}

/// Makes an ordinary descriptor of a slot's file. Linux 6.8.
#[derive(Clone, Copy)]
pub(crate) struct FilesInstall {
    pub slot: i32,
}

impl FilesInstall {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags |= INSTALL_INHERITED;
    }
}

impl Operation for FilesInstall {
    const OPCODE: Opcode = Opcode::IORING_OP_FIXED_FD_INSTALL;
    const FALLBACK: Fallback = OF_THE_TABLE;

    fn traits(&self) -> u32 {
        traits::GIVES_DESCRIPTOR
    }

    fn descriptor(&self) -> i32 {
        self.slot
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.slot;
        sqe.flags = sqe_flags::FIXED_FILE;
    }
}
