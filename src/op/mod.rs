//! What an operation is: one struct per operation, a file per family. `prepare` writes it into a
//! submission entry; `attempt`, beside it, does the same with plain system calls where the ring
//! cannot. A fallback starts from the entry alone, so that an entry is the one form in which an
//! operation waits, is re-armed or moves between backends. Knows nothing of slots or contexts.

pub(crate) mod fs;
pub(crate) mod misc;
pub(crate) mod net;
pub(crate) mod poll;

use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::HeaderOut;

/// What the engine must know of an operation beside its entry. Bits of a slot's state, so that one
/// store keeps them.
pub(crate) mod traits {
    /// Completes many times.
    pub(crate) const MULTISHOT: u32 = 1 << 8;
    /// A result of 0 or more is a new descriptor.
    pub(crate) const GIVES_DESCRIPTOR: u32 = 1 << 9;
    /// The kernel may use memory of the caller's until the last completion.
    pub(crate) const CALLER_MEMORY: u32 = 1 << 10;
    /// The engine's copy begins with a message header that the kernel writes to.
    pub(crate) const HEADER_OUT: u32 = 1 << 11;
    /// Ends a descriptor number.
    pub(crate) const CLOSES: u32 = 1 << 13;
    /// May be ended by the kernel without an error and is then started again.
    pub(crate) const REARMS: u32 = 1 << 14;
    /// Sends to a peer that may be gone. Of interest at submit alone, so not kept.
    pub(crate) const SENDS: u32 = 1;
    /// Those that make a completion more than a callback and a result.
    pub(crate) const SPECIAL: u32 = MULTISHOT | HEADER_OUT;
    /// What a slot keeps.
    pub(crate) const KEPT: u32 = 0x6f00;
}

/// The number of "no descriptor"; `AT_FDCWD` is negative as well.
pub(crate) const NO_DESCRIPTOR: i32 = -1;

/// The longest transfer that the kernel does in one call.
pub(crate) const LENGTH_MAX: usize = 0x7fff_f000;

pub(crate) trait Operation {
    const OPCODE: Opcode;

    /// Bits of [`traits`].
    fn traits(&self) -> u32 {
        0
    }

    /// The descriptor number under which the operation is listed; negative: none.
    fn descriptor(&self) -> i32 {
        NO_DESCRIPTOR
    }

    /// A second one, for operations between two descriptors.
    fn second_descriptor(&self) -> i32 {
        NO_DESCRIPTOR
    }

    /// How many bytes of small arguments `prepare` copies.
    fn copied(&self) -> usize {
        0
    }

    /// Where the outputs of a message header go at completion.
    fn header_out(&self) -> Option<HeaderOut> {
        None
    }

    /// Writes the entry, zeroed and with its opcode set, and fills `copy`, whose address is stable
    /// until the last completion and which is at least `copied` bytes long.
    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]);
}

/// The lengths of entries are 32 bits wide; longer ones are cut as read(2) cuts them.
pub(crate) fn clamp_length(len: usize) -> u32 {
    len.min(LENGTH_MAX) as u32
}

/// Whether the entry's `ioprio` is an I/O priority.
pub(crate) fn has_priority(opcode: u8) -> bool {
    let transfers = [
        Opcode::IORING_OP_READ as u8,
        Opcode::IORING_OP_WRITE as u8,
        Opcode::IORING_OP_READV as u8,
        Opcode::IORING_OP_WRITEV as u8,
    ];
    transfers.contains(&opcode)
}

/// Takes close-on-exec off a prepared entry; false if the operation makes no descriptor.
pub(crate) fn inherit(sqe: &mut Sqe) -> bool {
    match sqe.opcode {
        code if code == Opcode::IORING_OP_OPENAT as u8 => fs::OpenAt::inherit(sqe),
        code if code == Opcode::IORING_OP_SOCKET as u8 => net::Socket::inherit(sqe),
        code if code == Opcode::IORING_OP_ACCEPT as u8 => net::Accept::inherit(sqe),
        code if code == Opcode::IORING_OP_RECVMSG as u8 => net::RecvMsg::inherit(sqe),
        _ => return false,
    }
    true
}

/// What does with a plain system call what a kernel without the opcode cannot do on the ring; None
/// where the ring of Linux 6.1, the oldest that is used, has the opcode.
pub(crate) fn fallback(opcode: u8) -> Option<fn(&Sqe) -> i32> {
    Some(match opcode {
        code if code == Opcode::IORING_OP_FTRUNCATE as u8 => fs::Ftruncate::attempt,
        code if code == Opcode::IORING_OP_BIND as u8 => net::Bind::attempt,
        code if code == Opcode::IORING_OP_LISTEN as u8 => net::Listen::attempt,
        _ => return None,
    })
}

/// The name in dumps.
pub(crate) fn name(opcode: u8) -> &'static str {
    NAMES.get(usize::from(opcode)).copied().unwrap_or(match opcode {
        TIMER => "timer",
        INTERVAL => "interval",
        _ => "raw",
    })
}

/// Operations of the engine itself, outside the kernel's numbers.
pub(crate) const TIMER: u8 = 254;
pub(crate) const INTERVAL: u8 = 255;

/// By opcode, as of Linux 6.16.
const NAMES: [&str; 63] = [
    "nop",
    "readv",
    "writev",
    "fsync",
    "read_fixed",
    "write_fixed",
    "poll",
    "poll_remove",
    "sync_file_range",
    "sendmsg",
    "recvmsg",
    "timeout",
    "timeout_remove",
    "accept",
    "async_cancel",
    "link_timeout",
    "connect",
    "fallocate",
    "openat",
    "close",
    "files_update",
    "statx",
    "read",
    "write",
    "fadvise",
    "madvise",
    "send",
    "recv",
    "openat2",
    "epoll_ctl",
    "splice",
    "provide_buffers",
    "remove_buffers",
    "tee",
    "shutdown",
    "renameat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "linkat",
    "msg_ring",
    "fsetxattr",
    "setxattr",
    "fgetxattr",
    "getxattr",
    "socket",
    "uring_cmd",
    "send_zc",
    "sendmsg_zc",
    "read_multishot",
    "waitid",
    "futex_wait",
    "futex_wake",
    "futex_waitv",
    "fixed_fd_install",
    "ftruncate",
    "bind",
    "listen",
    "recv_zc",
    "epoll_wait",
    "readv_fixed",
    "writev_fixed",
    "pipe",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_has_its_name() {
        assert_eq!(name(Opcode::IORING_OP_LISTEN as u8), "listen");
        assert_eq!(name(Opcode::IORING_OP_SPLICE as u8), "splice");
        assert_eq!(name(Opcode::IORING_OP_LINKAT as u8), "linkat");
        assert_eq!(name(TIMER), "timer");
        assert_eq!(name(200), "raw");
    }
}
