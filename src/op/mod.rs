//! What an operation is: one struct per operation, a file per family. `prepare` writes it into a
//! submission entry; its fallback, beside it, does the same with plain system calls where there is
//! no ring. A fallback starts from the entry alone, so that an entry is the one form in which an
//! operation waits, is re-armed or moves between backends. Knows nothing of slots or contexts.

pub(crate) mod any;
pub(crate) mod files;
pub(crate) mod buffers;
pub(crate) mod bundles;
pub(crate) mod fs;
pub(crate) mod futex;
pub(crate) mod misc;
pub(crate) mod msg_ring;
pub(crate) mod net;
pub(crate) mod options;
pub(crate) mod path;
pub(crate) mod poll;
pub(crate) mod registered;
#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) mod service;
pub(crate) mod space;
pub(crate) mod steps;
pub(crate) mod table;
pub(crate) mod zero_copy;

use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::{Outputs, flags};
use crate::sys::plain;
use crate::sys::poller::events;

/// What the engine must know of an operation beside its entry. Bits of a slot's state, so that one
/// store keeps them.
pub(crate) mod traits {
    /// Completes many times.
    pub(crate) const MULTISHOT: u32 = 1 << 8;
    /// A result of 0 or more is a new descriptor.
    pub(crate) const GIVES_DESCRIPTOR: u32 = 1 << 9;
    /// The kernel may use memory of the caller's until the last completion.
    pub(crate) const CALLER_MEMORY: u32 = 1 << 10;
    /// The kernel writes to the engine's copy what the caller is to get.
    pub(crate) const OUTPUTS: u32 = 1 << 11;
    /// Ends a descriptor number.
    pub(crate) const CLOSES: u32 = 1 << 13;
    /// May be ended by the kernel without an error and is then started again.
    pub(crate) const REARMS: u32 = 1 << 14;
    /// Sends to a peer that may be gone. Of interest at submit alone, so not kept.
    pub(crate) const SENDS: u32 = 1;
    /// Ends with a notification after its result. Not kept either: the opcode tells.
    pub(crate) const NOTIFIES: u32 = 2;
    /// Those that make a completion more than a callback and a result.
    pub(crate) const SPECIAL: u32 = MULTISHOT | OUTPUTS;
    /// What a slot keeps.
    pub(crate) const KEPT: u32 = 0x6f00;
}

/// The number of "no descriptor"; `AT_FDCWD` is negative as well.
pub(crate) const NO_DESCRIPTOR: i32 = -1;

/// The longest transfer that the kernel does in one call.
pub(crate) const LENGTH_MAX: usize = 0x7fff_f000;

/// What an attempt to carry an operation out at once came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Its result.
    Done(i32),
    /// There is nothing to be done before the descriptor is ready for these events.
    Unready(u32),
    /// The call has no form that does not sleep: a thread of the pool makes it, once the descriptor
    /// is ready for these events, if it can be watched at all; 0: at once.
    Sleeps(u32),
}

/// How an operation is carried out without a ring.
#[derive(Clone, Copy)]
pub(crate) enum Fallback {
    /// A call that does not sleep.
    Prompt(fn(&Sqe) -> i32),
    /// A call that may sleep: for a thread of the pool.
    Sleeping(fn(&Sqe) -> i32),
    /// The same where it sleeps for the disk at most, so that the plain call will do where there is
    /// no thread, or a ring's kernel lacks the opcode.
    Brief(fn(&Sqe) -> i32),
    /// A call that says when it would have to sleep.
    Trying(fn(&mut Sqe) -> Outcome),
    /// The same, with a form that sleeps where it cannot say.
    Either { attempt: fn(&mut Sqe) -> Outcome, sleep: fn(&Sqe) -> i32 },
    /// Readiness itself.
    Readiness,
}

/// What a fallback has done so far is in the entry's last word, which rings do not use: bytes
/// transferred, and that the first step was taken.
const STARTED: u64 = 1 << 32;

/// Says that what an operation looks at before its first step is known to be as it should.
pub(crate) fn mark_started(sqe: &mut Sqe) {
    sqe.pad |= STARTED;
}

/// Whether an open waits for nobody: not one of a FIFO.
pub(crate) fn is_brief_open(sqe: &Sqe) -> bool {
    let opens = sqe.opcode == Opcode::IORING_OP_OPENAT as u8
        || sqe.opcode == Opcode::IORING_OP_OPENAT2 as u8;
    opens && !plain::names_fifo(sqe.fd, sqe.addr)
}

/// Bytes transferred by earlier attempts.
pub(crate) fn done(sqe: &Sqe) -> u64 {
    sqe.pad & (STARTED - 1)
}

/// The result of a transfer that ends with `result` after earlier attempts.
pub(crate) fn total(sqe: &Sqe, result: i32) -> i32 {
    match done(sqe) as i32 {
        0 => result,
        done => done + result.max(0),
    }
}

pub(crate) trait Operation {
    const OPCODE: Opcode;

    /// How it is done without a ring.
    const FALLBACK: Fallback;

    /// Whether it is submitted so often that a deadline and a slot of the table have a quick way.
    const IS_FREQUENT: bool = false;

    /// The opcode by which a kernel is known that takes these arguments; longer ones, or a command
    /// of a shared opcode, may have come later than the opcode itself.
    #[inline(always)]
    fn needs(&self) -> Opcode {
        Self::OPCODE
    }

    /// Bits of [`traits`].
    fn traits(&self) -> u32 {
        0
    }

    /// Whether it is about a descriptor, so that without one it is not plain.
    const HAS_DESCRIPTOR: bool = true;

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

    /// Where what the kernel writes to the copy goes at completion.
    fn outputs(&self) -> Option<Outputs> {
        None
    }

    /// What follows the first entry, where it is not the whole operation.
    #[inline(always)]
    fn steps(&self) -> Option<steps::Steps> {
        None
    }

    /// Whether a plain call does it as well and never sleeps, so that it is made at once where
    /// nothing speaks against it.
    fn is_prompt(&self) -> bool {
        false
    }

    /// The group of the pool that its buffers come from, plus one; 0: none.
    #[inline(always)]
    fn pool(&self) -> u32 {
        0
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
        code if code == Opcode::IORING_OP_OPENAT2 as u8 => fs::OpenAt2::inherit(sqe),
        code if code == Opcode::IORING_OP_SOCKET as u8 => net::Socket::inherit(sqe),
        code if code == Opcode::IORING_OP_ACCEPT as u8 => net::Accept::inherit(sqe),
        code if code == Opcode::IORING_OP_RECVMSG as u8 => net::RecvMsg::inherit(sqe),
        code if code == Opcode::IORING_OP_PIPE as u8 => misc::Pipe::inherit(sqe),
        code if code == Opcode::IORING_OP_FIXED_FD_INSTALL as u8 => {
            files::FilesInstall::inherit(sqe);
        }
        _ => return false,
    }
    true
}

/// Whether the descriptor that an entry makes is known to be close-on-exec.
pub(crate) fn closes_on_exec(sqe: &Sqe) -> bool {
    let flag = match sqe.opcode {
        code if code == Opcode::IORING_OP_OPENAT as u8 => sqe.op_flags as i32 & flags::O_CLOEXEC,
        code if code == Opcode::IORING_OP_PIPE as u8 => sqe.op_flags as i32 & flags::O_CLOEXEC,
        code if code == Opcode::IORING_OP_SOCKET as u8 => sqe.off as i32 & flags::SOCK_CLOEXEC,
        code if code == Opcode::IORING_OP_ACCEPT as u8 => sqe.op_flags as i32 & flags::SOCK_CLOEXEC,
        _ => 0,
    };
    flag != 0
}

/// How `opcode` is carried out without a ring; None: not at all.
pub(crate) fn fallback(opcode: u8) -> Option<Fallback> {
    FALLBACKS.get(usize::from(opcode)).copied().flatten()
}

/// By opcode.
static FALLBACKS: [Option<Fallback>; table::OPERATIONS.len()] = {
    let mut table = [None; table::OPERATIONS.len()];
    macro_rules! enter {
        ($($operation:ty),* $(,)?) => {
            $(table[<$operation>::OPCODE as usize] = Some(<$operation>::FALLBACK);)*
        };
    }
    enter!(
        misc::Nop,
        misc::EpollCtl,
        misc::EpollWait,
        misc::Pipe,
        misc::WaitId,
        futex::FutexWait,
        futex::FutexWake,
        futex::FutexWaitv,
        options::SocketOption<true>,
        poll::Poll<false>,
        fs::OpenAt,
        fs::OpenAt2,
        fs::Close,
        fs::Read,
        buffers::PoolRead,
        fs::Write,
        fs::Readv,
        fs::Writev,
        fs::Fsync,
        path::Statx,
        space::Ftruncate,
        path::UnlinkAt,
        path::MkdirAt,
        path::RenameAt,
        path::LinkAt,
        path::SymlinkAt,
        fs::Splice,
        fs::Tee,
        space::SyncFileRange,
        space::Fallocate,
        space::Fadvise,
        space::Madvise,
        path::PathAttribute<true>,
        path::PathAttribute<false>,
        path::FileAttribute<true>,
        path::FileAttribute<false>,
        net::Socket,
        net::Bind,
        net::Listen,
        net::Accept,
        net::Connect,
        net::Send,
        net::Recv,
        net::SendMsg,
        net::RecvMsg,
        net::Shutdown,
        zero_copy::SendZc,
        zero_copy::SendMsgZc,
        registered::Fixed<false>,
        registered::Fixed<true>,
        registered::VectoredFixed<false>,
        registered::VectoredFixed<true>,
    );
    table
};

/// Refuses what a ring refuses before it begins, and what an entry asks for beside its operation
/// and only a ring knows: addresses of sends.
pub(crate) fn check_plain(sqe: &Sqe) -> Result<(), Errno> {
    const ACCEPT: u8 = Opcode::IORING_OP_ACCEPT as u8;
    const SEND: u8 = Opcode::IORING_OP_SEND as u8;
    const SEND_ZC: u8 = Opcode::IORING_OP_SEND_ZC as u8;
    const FSYNC: u8 = Opcode::IORING_OP_FSYNC as u8;
    const SPLICE: u8 = Opcode::IORING_OP_SPLICE as u8;
    const TEE: u8 = Opcode::IORING_OP_TEE as u8;
    /// SPLICE_F_*.
    const SPLICE_KNOWN: u32 = 0xf;
    const MADE: i32 = flags::SOCK_CLOEXEC | flags::SOCK_NONBLOCK;
    match sqe.opcode {
        ACCEPT if sqe.op_flags as i32 & !MADE != 0 => Err(Errno::EINVAL),
        SPLICE | TEE if sqe.op_flags & !SPLICE_KNOWN != 0 && !files::reads_from_slot(sqe) => {
            Err(Errno::EINVAL)
        }
        FSYNC if sqe.op_flags & !fs::DATA_ONLY != 0 => Err(Errno::EINVAL),
        SEND | SEND_ZC if sqe.off != 0 || sqe.splice_fd_in != 0 => Err(Errno::EOPNOTSUPP),
        _ if sqe.personality != 0 => Err(Errno::EINVAL),
        _ if sqe.buf_index != 0 && !names_buffers(sqe) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Whether `buf_index` says where the memory is.
fn names_buffers(sqe: &Sqe) -> bool {
    buffers::selects(sqe) || registered::names_buffer(sqe)
}

/// Which readiness an operation on a descriptor waits for: `events::IN` or `OUT`.
#[inline(always)]
pub(crate) fn side(opcode: u8) -> u32 {
    const OUT: u64 = 1 << Opcode::IORING_OP_WRITE as u8
        | 1 << Opcode::IORING_OP_WRITEV as u8
        | 1 << Opcode::IORING_OP_SEND as u8
        | 1 << Opcode::IORING_OP_SENDMSG as u8
        | 1 << Opcode::IORING_OP_SEND_ZC as u8
        | 1 << Opcode::IORING_OP_SENDMSG_ZC as u8
        | 1 << Opcode::IORING_OP_CONNECT as u8;
    if opcode < 64 && OUT >> opcode & 1 != 0 { events::OUT } else { events::IN }
}

/// A read or write that may be of a file.
#[inline(always)]
pub(crate) fn is_file_transfer(opcode: u8) -> bool {
    const SET: u64 = 1 << Opcode::IORING_OP_READ as u8
        | 1 << Opcode::IORING_OP_WRITE as u8
        | 1 << Opcode::IORING_OP_READV as u8
        | 1 << Opcode::IORING_OP_WRITEV as u8;
    opcode < 64 && SET >> opcode & 1 != 0
}

/// Whether an operation can only fail on its descriptor, and so must not wait behind others that
/// make sense there: a send or receive on what is no socket, or listens; a read or write of what
/// is not open for it.
#[cold]
pub(crate) fn is_misplaced(sqe: &Sqe) -> bool {
    if net::is_transfer(sqe.opcode) {
        !plain::is_unlistening_socket(sqe.fd)
    } else {
        is_file_transfer(sqe.opcode) && !plain::is_open_for(sqe.fd, is_write(sqe.opcode))
    }
}

/// Whether a transfer is of a file on a disk.
pub(crate) fn is_storage_transfer(sqe: &Sqe) -> bool {
    is_file_transfer(sqe.opcode) && plain::is_storage(sqe.fd)
}

/// What a receive or accept gets where nothing can come any more; a message header says so.
pub(crate) fn result_at_end(sqe: &Sqe) -> i32 {
    if sqe.opcode == Opcode::IORING_OP_RECVMSG as u8 && done(sqe) == 0 {
        plain::end_message(sqe.addr, sqe.op_flags as i32);
    }
    if sqe.opcode == Opcode::IORING_OP_ACCEPT as u8 {
        Errno::EINVAL.status()
    } else {
        total(sqe, 0)
    }
}

/// A write as write(2) does it.
pub(crate) fn is_write(opcode: u8) -> bool {
    opcode == Opcode::IORING_OP_WRITE as u8 || opcode == Opcode::IORING_OP_WRITEV as u8
}

/// Whether an operation waits when there is nothing to be done, and for plain readiness; else, or
/// with arguments that the call may refuse or that ask for nothing, it must be tried whatever is
/// known.
#[inline(always)]
pub(crate) fn may_wait(sqe: &Sqe) -> bool {
    const READ: u8 = Opcode::IORING_OP_READ as u8;
    const WRITE: u8 = Opcode::IORING_OP_WRITE as u8;
    const READV: u8 = Opcode::IORING_OP_READV as u8;
    const WRITEV: u8 = Opcode::IORING_OP_WRITEV as u8;
    const SEND: u8 = Opcode::IORING_OP_SEND as u8;
    const RECV: u8 = Opcode::IORING_OP_RECV as u8;
    const SENDMSG: u8 = Opcode::IORING_OP_SENDMSG as u8;
    const RECVMSG: u8 = Opcode::IORING_OP_RECVMSG as u8;
    const SEND_ZC: u8 = Opcode::IORING_OP_SEND_ZC as u8;
    const SENDMSG_ZC: u8 = Opcode::IORING_OP_SENDMSG_ZC as u8;
    const ACCEPT: u8 = Opcode::IORING_OP_ACCEPT as u8;
    let usual = match sqe.opcode {
        READV | WRITEV => return false,
        READ | WRITE | RECV | SEND | SEND_ZC if sqe.len == 0 => return false,
        // Streams have no offsets, and some say so.
        READ | WRITE if sqe.off != 0 && sqe.off != plain::CURRENT => return false,
        READ | WRITE => 0,
        SEND | SENDMSG | SEND_ZC | SENDMSG_ZC => flags::MSG_NOSIGNAL | flags::MSG_WAITALL,
        RECV | RECVMSG => flags::MSG_CMSG_CLOEXEC | flags::MSG_WAITALL | flags::MSG_PEEK,
        // The socket may not be one that listens.
        ACCEPT => return false,
        _ => !0,
    };
    sqe.op_flags as i32 & !usual == 0
}

/// Whether `result` breaks a soft chain behind the operation, as rings decide it.
pub(crate) fn breaks_chain(sqe: &Sqe, result: i32) -> bool {
    const READ: u8 = Opcode::IORING_OP_READ as u8;
    const WRITE: u8 = Opcode::IORING_OP_WRITE as u8;
    const READV: u8 = Opcode::IORING_OP_READV as u8;
    const WRITEV: u8 = Opcode::IORING_OP_WRITEV as u8;
    const SPLICE: u8 = Opcode::IORING_OP_SPLICE as u8;
    const TEE: u8 = Opcode::IORING_OP_TEE as u8;
    // Their failures are not marked as such (Linux 6.0 and later).
    const UNMARKED: u64 = 1 << Opcode::IORING_OP_FSYNC as u8
        | 1 << Opcode::IORING_OP_SYNC_FILE_RANGE as u8
        | 1 << Opcode::IORING_OP_FALLOCATE as u8
        | 1 << Opcode::IORING_OP_FTRUNCATE as u8
        | 1 << Opcode::IORING_OP_MADVISE as u8
        | 1 << Opcode::IORING_OP_STATX as u8
        | 1 << Opcode::IORING_OP_UNLINKAT as u8
        | 1 << Opcode::IORING_OP_MKDIRAT as u8
        | 1 << Opcode::IORING_OP_RENAMEAT as u8
        | 1 << Opcode::IORING_OP_LINKAT as u8
        | 1 << Opcode::IORING_OP_SYMLINKAT as u8
        | 1 << Opcode::IORING_OP_GETXATTR as u8
        | 1 << Opcode::IORING_OP_SETXATTR as u8
        | 1 << Opcode::IORING_OP_FGETXATTR as u8
        | 1 << Opcode::IORING_OP_FSETXATTR as u8
        | 1 << Opcode::IORING_OP_SHUTDOWN as u8;
    // Those of them that need a file, and have failed when they get none.
    const NEED_FILE: u64 = 1 << Opcode::IORING_OP_FSYNC as u8
        | 1 << Opcode::IORING_OP_SYNC_FILE_RANGE as u8
        | 1 << Opcode::IORING_OP_FALLOCATE as u8
        | 1 << Opcode::IORING_OP_FTRUNCATE as u8
        | 1 << Opcode::IORING_OP_FGETXATTR as u8
        | 1 << Opcode::IORING_OP_FSETXATTR as u8
        | 1 << Opcode::IORING_OP_SHUTDOWN as u8;
    if result < 0 {
        let among = |set: u64| sqe.opcode < 64 && set >> sqe.opcode & 1 != 0;
        return match Errno(-result) {
            _ if !among(UNMARKED) => true,
            // Cancelled before it began.
            Errno::ECANCELED => true,
            Errno::EBADF => among(NEED_FILE) && !plain::is_open(sqe.fd),
            Errno::ENOTSOCK => true,
            _ => false,
        };
    }
    let moved = result as u64;
    match sqe.opcode {
        READ | WRITE | SPLICE | TEE => moved != u64::from(sqe.len),
        READV | WRITEV => moved != plain::vectors_len(sqe.addr, sqe.len),
        _ => net::falls_short(sqe, moved),
    }
}

/// The name in dumps.
pub(crate) fn name(opcode: u8) -> &'static str {
    let row = table::OPERATIONS.get(usize::from(opcode));
    row.map(|row| row.name).or_else(|| service::name(opcode)).unwrap_or("raw")
}

#[cfg(test)]
mod tests {
    use super::table::{FACILITIES, OPERATIONS, Without};
    use super::*;

    /// Submit functions that no opcode stands behind: the engine does what they ask for, or the
    /// caller says which opcode.
    const WITHOUT_OPCODE: [&str; 16] = [
        "aio_submit_raw",
        "aio_submit_timer",
        "aio_submit_timer_at",
        "aio_submit_interval",
        "aio_submit_work",
        "aio_submit_poll_until",
        "aio_submit_getaddrinfo",
        "aio_submit_getnameinfo",
        "aio_submit_resolve",
        "aio_submit_signal",
        "aio_submit_spawn",
        "aio_submit_watch",
        "aio_submit_notifier_wait",
        "aio_submit_notifier_wait_multishot",
        "aio_submit_channel_receive",
        "aio_submit_channel_receive_multishot",
    ];

    const EXPORTED: &str = include_str!("../../tests/abi/aio.syms");

    #[test]
    fn every_opcode_has_its_row() {
        assert_eq!(name(Opcode::IORING_OP_LISTEN as u8), "listen");
        assert_eq!(name(Opcode::IORING_OP_SPLICE as u8), "splice");
        assert_eq!(name(Opcode::IORING_OP_LINKAT as u8), "linkat");
        assert_eq!(name(Opcode::IORING_OP_PIPE as u8), "pipe");
        assert_eq!(name(service::TIMER), "timer");
        assert_eq!(name(200), "raw");
    }

    #[test]
    fn rows_say_what_the_fallbacks_do() {
        for (opcode, row) in (0u8..).zip(&OPERATIONS) {
            let without = match fallback(opcode) {
                None if opcode == Opcode::IORING_OP_ASYNC_CANCEL as u8 => Without::Engine,
                None if files::is_of_table(opcode) => Without::Engine,
                None if opcode == buffers::AreaRecv::OPCODE as u8 => Without::Pooled,
                None if opcode == msg_ring::OPCODE => Without::Engine,
                None => Without::Nothing,
                Some(Fallback::Prompt(_)) => Without::Prompt,
                Some(Fallback::Brief(_)) => Without::Brief,
                Some(Fallback::Sleeping(_)) => Without::Sleeping,
                Some(Fallback::Trying(_)) => Without::Trying,
                Some(Fallback::Either { .. }) => Without::Either,
                Some(Fallback::Readiness) => Without::Readiness,
            };
            assert_eq!(row.without, without, "{} without a ring", row.name);
        }
    }

    #[test]
    fn every_submit_function_is_in_a_row() {
        for function in EXPORTED.lines().filter(|name| name.starts_with("aio_submit_")) {
            let has_row = OPERATIONS.iter().any(|row| row.functions.contains(&function));
            let has_none = WITHOUT_OPCODE.contains(&function);
            assert!(has_row != has_none, "{function}: src/op/table.rs does not know it");
        }
    }

    #[test]
    fn facilities_stand_in_the_order_of_their_numbers() {
        for (number, row) in FACILITIES.iter().enumerate() {
            assert_eq!(row.facility as usize, number, "{}", row.name);
            assert!(row.functions.is_empty() != row.option.is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn a_row_is_typed_or_superseded_and_not_both() {
        for row in &OPERATIONS {
            assert!(row.is_superseded() == row.functions.is_empty(), "{}", row.name);
        }
    }
}
