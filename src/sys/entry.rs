//! The two records of a ring: the submission entry, flat so that it can be read and written without
//! unions, and the completion entry. Layouts are checked against the kernel's headers below.
//! Anybody above may fill an `Sqe`; only `ring.rs` puts one into shared memory.

use linux_raw_sys::io_uring as abi;
use std::mem::{offset_of, size_of};

/// A submission queue entry. `ext` fields of the 128-byte form are in [`WideSqe`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Sqe {
    pub opcode: u8,
    pub flags: u8,
    pub ioprio: u16,
    pub fd: i32,
    pub off: u64,
    pub addr: u64,
    pub len: u32,
    pub op_flags: u32,
    pub user_data: u64,
    pub buf_index: u16,
    pub personality: u16,
    pub splice_fd_in: i32,
    pub addr3: u64,
    pub pad: u64,
}

/// What `buf_index` and a ring call the first group of buffers. Linux 6.1 goes on in a new ring of
/// buffers where the one before it ended that had its name, if that is below 64: it takes what was
/// never offered.
pub(crate) const GROUP_FIRST: u16 = 64;

/// An entry with the second half that rings with 128-byte entries have; zero elsewhere.
#[derive(Clone, Copy, Default)]
pub(crate) struct WideSqe {
    pub sqe: Sqe,
    pub tail: [u64; 8],
}

impl From<Sqe> for WideSqe {
    fn from(sqe: Sqe) -> Self {
        Self { sqe, tail: [0; 8] }
    }
}

/// A completion as the engine sees it. `extra` is the first word of a 32-byte entry's second half.
#[derive(Clone, Copy)]
pub(crate) struct Cqe {
    pub user_data: u64,
    pub result: i32,
    pub flags: u32,
    pub extra: u64,
}

/// A completion that was only looked at: its result and flags as they lie there, in one word.
#[derive(Clone, Copy)]
pub(crate) struct Peeked {
    pub user_data: u64,
    pub word: u64,
}

impl Peeked {
    #[inline(always)]
    pub(crate) fn result(self) -> i32 {
        self.word as u32 as i32
    }

    #[inline(always)]
    pub(crate) fn flags(self) -> u32 {
        (self.word >> 32) as u32
    }

    /// More completions to come; and no message, whose `user_data` is its sender's.
    #[inline(always)]
    pub(crate) fn goes_on(self) -> bool {
        self.flags() & (cqe_flags::MORE | cqe_flags::MESSAGE) == cqe_flags::MORE
    }

    /// No negative result, nor more completions to come; and no flags but those that are passed on,
    /// so that they need not be sorted.
    #[inline(always)]
    pub(crate) fn is_plain_end(self) -> bool {
        const PLAIN_FLAGS: u32 = cqe_flags::PUBLIC & !cqe_flags::MORE;
        self.word & !((PLAIN_FLAGS as u64) << 32 | i32::MAX as u64) == 0
    }
}

const _: () = {
    assert!(size_of::<Sqe>() == 64 && size_of::<abi::io_uring_sqe>() == 64);
    assert!(offset_of!(Sqe, user_data) == offset_of!(abi::io_uring_sqe, user_data));
    assert!(offset_of!(Sqe, len) == offset_of!(abi::io_uring_sqe, len));
    assert!(offset_of!(Sqe, personality) == offset_of!(abi::io_uring_sqe, personality));
    assert!(offset_of!(Sqe, fd) == offset_of!(abi::io_uring_sqe, fd));
    assert!(offset_of!(abi::io_uring_cqe, res) == 8 && offset_of!(abi::io_uring_cqe, flags) == 12);
};

/// Bits of `Sqe::flags`.
pub(crate) mod sqe_flags {
    pub(crate) const FIXED_FILE: u8 = 1 << 0;
    pub(crate) const IO_DRAIN: u8 = 1 << 1;
    pub(crate) const IO_LINK: u8 = 1 << 2;
    pub(crate) const IO_HARDLINK: u8 = 1 << 3;
    pub(crate) const ASYNC: u8 = 1 << 4;
    pub(crate) const BUFFER_SELECT: u8 = 1 << 5;
    pub(crate) const CQE_SKIP_SUCCESS: u8 = 1 << 6;
}

/// Bits of a completion's flags that the engine interprets.
pub(crate) mod cqe_flags {
    pub(crate) const BUFFER: u32 = super::abi::IORING_CQE_F_BUFFER;
    pub(crate) const MORE: u32 = super::abi::IORING_CQE_F_MORE;
    pub(crate) const NOTIFY: u32 = super::abi::IORING_CQE_F_NOTIF;
    pub(crate) const BUFFER_MORE: u32 = super::abi::IORING_CQE_F_BUF_MORE;
    /// The engine's own: its buffers are accounted for, and `extra` is where in the first one the
    /// data begins.
    pub(crate) const NOTED: u32 = 1 << 14;
    /// The engine's own: a message of another context, whose `user_data` is the sender's. It comes
    /// with MORE, so that nobody takes it for an operation's last completion.
    pub(crate) const MESSAGE: u32 = 1 << 13;
    /// The number of the first buffer is above.
    pub(crate) const BUFFER_SHIFT: u32 = super::abi::IORING_CQE_BUFFER_SHIFT;
    /// The bits that are passed on: BUFFER, MORE, SOCK_NONEMPTY, NOTIFICATION, BUFFER_MORE.
    pub(crate) const PUBLIC: u32 = 0x1f;
}

pub(crate) use abi::io_uring_op as Opcode;
