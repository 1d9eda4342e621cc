//! Operations without a family: nop, and the raw entry that a caller filled for an opcode that this
//! library has no function for.

use crate::op::{Fallback, NO_DESCRIPTOR, Operation, traits};
use crate::sys::entry::{Opcode, Sqe, WideSqe, sqe_flags};

#[derive(Clone, Copy)]
pub(crate) struct Nop;

impl Operation for Nop {
    const OPCODE: Opcode = Opcode::IORING_OP_NOP;
    const FALLBACK: Fallback = Fallback::Prompt(|_| 0);

    #[inline(always)]
    fn prepare(&self, _: &mut Sqe, _: &mut [u64]) {}
}

/// A caller-filled entry.
#[derive(Clone, Copy)]
pub(crate) struct Raw(pub WideSqe);

impl Raw {
    /// Entry flags that are the engine's own business: order is asked for with submit options, and
    /// every completion is reported to the engine.
    const FORBIDDEN: u8 = sqe_flags::IO_DRAIN
        | sqe_flags::IO_LINK
        | sqe_flags::IO_HARDLINK
        | sqe_flags::CQE_SKIP_SUCCESS;

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
        // A direct result (file_index) is a table slot, not a descriptor.
        let descriptor = gives.contains(&sqe.opcode) && sqe.splice_fd_in == 0;
        traits::CALLER_MEMORY
            | if multishot { traits::MULTISHOT } else { 0 }
            | if descriptor { traits::GIVES_DESCRIPTOR } else { 0 }
    }

    /// The number under which the entry is listed: its `fd`, unless that is a table slot or the
    /// opcode uses the field for something else.
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
        ];
        if sqe.flags & sqe_flags::FIXED_FILE != 0 || elsewhere.contains(&sqe.opcode) {
            NO_DESCRIPTOR
        } else {
            sqe.fd
        }
    }
}
