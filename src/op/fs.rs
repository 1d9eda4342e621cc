//! Files: open, close, read, write, their vector forms, space, advice, sync, splice. Offsets of all
//! ones mean the file's own position.

use crate::op::path::{copy_path, path_size};
use crate::op::steps::Steps;
use crate::op::{Fallback, Operation, Outcome, STARTED, clamp_length, done, total, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::errno::Errno;
use crate::sys::message::{self, copy_into, flags, iovec, vector_bytes};
use crate::sys::plain::{self, RWF_NOWAIT};
use crate::sys::poller::events;
use std::ffi::{CStr, c_void};

#[derive(Clone, Copy)]
pub(crate) struct OpenAt<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub flags: i32,
    pub mode: u32,
}

impl OpenAt<'_> {
    pub(crate) fn inherit(sqe: &mut Sqe) {
        sqe.op_flags &= !(flags::O_CLOEXEC as u32);
    }
}

impl Operation for OpenAt<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_OPENAT;
    const FALLBACK: Fallback =
        Fallback::Sleeping(|sqe| plain::openat(sqe.fd, sqe.addr, sqe.op_flags as i32, sqe.len));

    fn traits(&self) -> u32 {
        traits::GIVES_DESCRIPTOR
    }

    fn descriptor(&self) -> i32 {
        self.dirfd
    }

    fn copied(&self) -> usize {
        path_size(self.path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.dirfd;
        sqe.addr = copy_path(copy, 0, self.path);
        sqe.len = self.mode;
        sqe.op_flags = (self.flags | flags::O_CLOEXEC | flags::O_LARGEFILE) as u32;
    }
}

/// openat2, with everything in the caller's `open_how`. Linux 5.6.
#[derive(Clone, Copy)]
pub(crate) struct OpenAt2<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub how: &'a [u8],
}

impl OpenAt2<'_> {
    /// Where the flags are in the copy of `open_how`.
    pub(crate) fn inherit(sqe: &mut Sqe) {
        message::mask_word(sqe.off, !(flags::O_CLOEXEC as u64));
    }
}

impl Operation for OpenAt2<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_OPENAT2;
    const FALLBACK: Fallback =
        Fallback::Sleeping(|sqe| plain::openat2(sqe.fd, sqe.addr, sqe.off, sqe.len));

    fn traits(&self) -> u32 {
        traits::GIVES_DESCRIPTOR
    }

    fn descriptor(&self) -> i32 {
        self.dirfd
    }

    fn copied(&self) -> usize {
        self.how.len() + path_size(self.path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.dirfd;
        sqe.off = copy_into(copy, 0, self.how.as_ptr().cast(), self.how.len()) as u64;
        sqe.addr = copy_path(copy, self.how.len(), self.path);
        sqe.len = self.how.len() as u32;
        // Large files are the kernel's own default here, which O_PATH must not be given.
        copy[0] |= flags::O_CLOEXEC as u64;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Close {
    pub fd: i32,
}

impl Operation for Close {
    const OPCODE: Opcode = Opcode::IORING_OP_CLOSE;
    const FALLBACK: Fallback = Fallback::Prompt(|sqe| plain::close(sqe.fd));

    fn traits(&self) -> u32 {
        traits::CLOSES
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
    }
}

/// RWF_DSYNC, RWF_SYNC and RWF_APPEND.
const RWF_STORAGE: u32 = 0x16;
/// RWF_* as of Linux 6.14.
const RWF_KNOWN: u32 = 0xff;

/// Reads and writes without a ring: RWF_NOWAIT serves what is in the page cache, and streams that
/// are ready; a thread of the pool does what has to wait for a disk.
pub(super) const fn transfer<const WRITE: bool, const VECTORED: bool>() -> Fallback {
    Fallback::Either {
        attempt: attempt_transfer::<WRITE, VECTORED>,
        sleep: |sqe| total(sqe, step::<WRITE, VECTORED>(sqe, 0)),
    }
}

/// The rest of a transfer, or as much of it as one call does.
#[inline(always)]
fn step<const WRITE: bool, const VECTORED: bool>(sqe: &Sqe, more_flags: i32) -> i32 {
    let flags = sqe.op_flags as i32 | more_flags;
    let done = done(sqe);
    let offset = if sqe.off == plain::CURRENT { sqe.off } else { sqe.off.wrapping_add(done) };
    if !VECTORED {
        let len = sqe.len - done as u32;
        return plain::transfer_one::<WRITE>(sqe.fd, sqe.addr + done, len, offset, flags);
    }
    if done == 0 {
        return plain::transfer::<WRITE>(sqe.fd, sqe.addr, sqe.len, offset, flags);
    }
    plain::transfer_rest::<WRITE>(sqe.fd, sqe.addr, sqe.len, done, offset, flags)
}

/// A read or write of one buffer at an offset, in the common case: its result where the page cache
/// served all of it or nothing is left to do; None: there is more to it, and what was done is noted
/// in the entry.
#[inline(always)]
pub(crate) fn quick(sqe: &mut Sqe) -> Option<i32> {
    let writes = sqe.opcode == Opcode::IORING_OP_WRITE as u8;
    let result = if writes {
        plain::transfer_one::<true>(sqe.fd, sqe.addr, sqe.len, sqe.off, RWF_NOWAIT)
    } else {
        plain::transfer_one::<false>(sqe.fd, sqe.addr, sqe.len, sqe.off, RWF_NOWAIT)
    };
    if result == sqe.len as i32 || (result == 0 && !plain::ends_are_doubtful()) {
        return Some(result);
    }
    if result > 0 {
        sqe.pad = STARTED + result as u64;
    }
    None
}

/// Whether `quick` may be asked.
#[inline(always)]
pub(crate) fn is_quick(sqe: &Sqe) -> bool {
    (sqe.opcode == Opcode::IORING_OP_READ as u8 || sqe.opcode == Opcode::IORING_OP_WRITE as u8)
        && sqe.op_flags == 0
        && sqe.ioprio == 0
        && sqe.off != plain::CURRENT
}

fn attempt_transfer<const WRITE: bool, const VECTORED: bool>(sqe: &mut Sqe) -> Outcome {
    let events = if WRITE { events::OUT } else { events::IN };
    let may_wait = sqe.op_flags as i32 & RWF_NOWAIT == 0;
    // Also for a transfer of nothing, which the call itself does not look at.
    if sqe.op_flags & !RWF_KNOWN != 0 {
        return Outcome::Done(Errno::EOPNOTSUPP.status());
    }
    // Direct I/O waits for the device whatever the flag says.
    if sqe.pad == 0 && may_wait && plain::is_direct(sqe.fd) {
        return Outcome::Sleeps(events);
    }
    sqe.pad |= STARTED;
    loop {
        let result = step::<WRITE, VECTORED>(sqe, RWF_NOWAIT);
        match Errno::check(result) {
            Ok(moved) => {
                let wanted =
                    if VECTORED { plain::vectors_len(sqe.addr, sqe.len) } else { sqe.len.into() };
                let all = done(sqe) + moved as u64;
                // Nothing is a message to a socket, which a plain write of nothing never gets to.
                if WRITE && wanted == 0 && plain::protocol(sqe.fd).is_some() {
                    return transfer_otherwise::<WRITE, VECTORED>(sqe, events);
                }
                // A file goes on behind what was cached; anything else has given what it had.
                if !WRITE
                    && moved == 0
                    && all != wanted
                    && plain::ends_are_doubtful()
                    && plain::is_storage(sqe.fd)
                {
                    return Outcome::Unready(events);
                }
                if all == wanted || moved == 0 || !plain::is_storage(sqe.fd) {
                    return Outcome::Done(all as i32);
                }
                sqe.pad += moved as u64;
            }
            Err(Errno::EINTR) => {}
            // A stream has no offsets; a socket wants to be told none.
            Err(Errno::ESPIPE)
                if sqe.off == 0
                    || (sqe.off != plain::CURRENT && plain::protocol(sqe.fd).is_none()) =>
            {
                sqe.off = plain::CURRENT;
            }
            Err(Errno::EAGAIN) if may_wait => return Outcome::Unready(events),
            // Flags for storage, which rings do not mind elsewhere.
            Err(Errno::EOPNOTSUPP)
                if sqe.op_flags & RWF_STORAGE != 0 && !plain::is_storage(sqe.fd) =>
            {
                sqe.op_flags &= !RWF_STORAGE;
            }
            // No such flag for this file. Sockets have one of their own; Linux 6.4 has it for all.
            Err(Errno::EOPNOTSUPP) => return transfer_otherwise::<WRITE, VECTORED>(sqe, events),
            Err(_) => return Outcome::Done(total(sqe, result)),
        }
    }
}

/// A transfer that does not sleep, by other means than RWF_NOWAIT.
#[cold]
fn transfer_otherwise<const WRITE: bool, const VECTORED: bool>(sqe: &Sqe, events: u32) -> Outcome {
    let may_wait = sqe.op_flags as i32 & RWF_NOWAIT == 0;
    let vectors = if VECTORED { Some(sqe.len) } else { None };
    let mut result = plain::transfer_on_socket::<WRITE>(sqe.fd, sqe.addr, sqe.len, vectors);
    if result == Errno::ENOTSOCK.status() {
        result = plain::transfer_on_pipe::<WRITE>(sqe.fd, sqe.addr, sqe.len, vectors)
            .unwrap_or(Errno::EOPNOTSUPP.status());
    }
    match Errno::check(result) {
        Err(Errno::EAGAIN) if may_wait => Outcome::Unready(events),
        Err(Errno::EOPNOTSUPP) if may_wait => Outcome::Sleeps(events),
        _ => Outcome::Done(result),
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub offset: u64,
}

impl Operation for Read {
    const OPCODE: Opcode = Opcode::IORING_OP_READ;
    const FALLBACK: Fallback = transfer::<false, false>();
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
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Write {
    pub fd: i32,
    pub buf: *const c_void,
    pub len: usize,
    pub offset: u64,
}

impl Operation for Write {
    const OPCODE: Opcode = Opcode::IORING_OP_WRITE;
    const FALLBACK: Fallback = transfer::<true, false>();
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
    }
}

/// read and write until all is moved.
#[derive(Clone, Copy)]
pub(crate) struct Exact<const WRITE: bool> {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub offset: u64,
}

impl<const WRITE: bool> Operation for Exact<WRITE> {
    const OPCODE: Opcode = if WRITE { Write::OPCODE } else { Read::OPCODE };
    const FALLBACK: Fallback = transfer::<WRITE, false>();

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn steps(&self) -> Option<Steps> {
        Some(Steps::whole(if WRITE { "write_all" } else { "read_exact" }, self.len, false))
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        Read { fd: self.fd, buf: self.buf, len: self.len, offset: self.offset }.prepare(sqe, copy);
    }
}

/// readv and writev: `preadv2` and `pwritev2` by another opcode.
#[derive(Clone, Copy)]
pub(crate) struct Vectored<'a, const WRITE: bool> {
    pub fd: i32,
    pub vectors: &'a [iovec],
    pub offset: u64,
    pub flags: i32,
}

pub(crate) type Readv<'a> = Vectored<'a, false>;
pub(crate) type Writev<'a> = Vectored<'a, true>;

impl<const WRITE: bool> Operation for Vectored<'_, WRITE> {
    const OPCODE: Opcode = if WRITE { Opcode::IORING_OP_WRITEV } else { Opcode::IORING_OP_READV };
    const FALLBACK: Fallback = transfer::<WRITE, true>();

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn copied(&self) -> usize {
        vector_bytes(self.vectors).1
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        let (bytes, len) = vector_bytes(self.vectors);
        sqe.fd = self.fd;
        sqe.addr = copy_into(copy, 0, bytes, len) as u64;
        sqe.len = self.vectors.len() as u32;
        sqe.off = self.offset;
        sqe.op_flags = self.flags as u32;
    }
}

/// What the kernel calls IORING_FSYNC_DATASYNC.
pub(super) const DATA_ONLY: u32 = 1;

fn sync(sqe: &Sqe) -> i32 {
    plain::fsync(sqe.fd, sqe.op_flags & DATA_ONLY != 0)
}

#[derive(Clone, Copy)]
pub(crate) struct Fsync {
    pub fd: i32,
    pub flags: u32,
}

impl Operation for Fsync {
    const OPCODE: Opcode = Opcode::IORING_OP_FSYNC;
    const FALLBACK: Fallback = Fallback::Brief(sync);

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.op_flags = self.flags;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Splice {
    pub fd_in: i32,
    pub off_in: u64,
    pub fd_out: i32,
    pub off_out: u64,
    pub len: usize,
    pub flags: u32,
}

impl Operation for Splice {
    const OPCODE: Opcode = Opcode::IORING_OP_SPLICE;
    const FALLBACK: Fallback = Fallback::Sleeping(|sqe| {
        let (from, to) = ((sqe.splice_fd_in, sqe.addr), (sqe.fd, sqe.off));
        plain::splice_waiting(from, to, sqe.len, sqe.op_flags)
    });

    fn descriptor(&self) -> i32 {
        self.fd_out
    }

    fn second_descriptor(&self) -> i32 {
        self.fd_in
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd_out;
        sqe.off = self.off_out;
        sqe.addr = self.off_in;
        sqe.len = clamp_length(self.len);
        sqe.op_flags = self.flags;
        sqe.splice_fd_in = self.fd_in;
    }
}

/// tee(2): from pipe to pipe without consuming. Linux 5.8.
#[derive(Clone, Copy)]
pub(crate) struct Tee {
    pub fd_in: i32,
    pub fd_out: i32,
    pub len: usize,
    pub flags: u32,
}

impl Operation for Tee {
    const OPCODE: Opcode = Opcode::IORING_OP_TEE;
    const FALLBACK: Fallback =
        Fallback::Sleeping(|sqe| plain::tee(sqe.splice_fd_in, sqe.fd, sqe.len, sqe.op_flags));

    fn descriptor(&self) -> i32 {
        self.fd_out
    }

    fn second_descriptor(&self) -> i32 {
        self.fd_in
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd_out;
        sqe.len = clamp_length(self.len);
        sqe.op_flags = self.flags;
        sqe.splice_fd_in = self.fd_in;
    }
}

/// sendfile(2) as splices through a pipe of the engine's. Linux 5.7.
#[derive(Clone, Copy)]
pub(crate) struct SendFile {
    pub out_fd: i32,
    pub in_fd: i32,
    pub offset: u64,
    pub count: usize,
}

impl Operation for SendFile {
    const OPCODE: Opcode = Splice::OPCODE;
    const FALLBACK: Fallback = Splice::FALLBACK;

    fn traits(&self) -> u32 {
        traits::SENDS
    }

    fn descriptor(&self) -> i32 {
        self.out_fd
    }

    fn second_descriptor(&self) -> i32 {
        self.in_fd
    }

    fn steps(&self) -> Option<Steps> {
        Some(Steps::sendfile(self.out_fd, self.in_fd, self.offset, self.count))
    }

    /// Made when there is a pipe.
    fn prepare(&self, _: &mut Sqe, _: &mut [u64]) {}
}
