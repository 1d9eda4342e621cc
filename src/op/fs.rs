//! Files and the name space: open, close, read, write, their vector forms, sync, metadata, names,
//! splice. Offsets of all ones mean the file's own position.

use crate::op::{Operation, clamp_length, traits};
use crate::sys::descriptor;
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::{copy_into, flags, iovec, vector_bytes};
use std::ffi::{CStr, c_void};

/// Copies a path with its terminator to byte `at`; returns the copy's address.
fn copy_path(copy: &mut [u64], at: usize, path: &CStr) -> u64 {
    let bytes = path.to_bytes_with_nul();
    copy_into(copy, at, bytes.as_ptr().cast(), bytes.len()) as u64
}

/// Bytes of a path with its terminator.
fn path_size(path: &CStr) -> usize {
    path.to_bytes_with_nul().len()
}

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

#[derive(Clone, Copy)]
pub(crate) struct Close {
    pub fd: i32,
}

impl Operation for Close {
    const OPCODE: Opcode = Opcode::IORING_OP_CLOSE;

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

#[derive(Clone, Copy)]
pub(crate) struct Read {
    pub fd: i32,
    pub buf: *mut c_void,
    pub len: usize,
    pub offset: u64,
}

impl Operation for Read {
    const OPCODE: Opcode = Opcode::IORING_OP_READ;

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

#[derive(Clone, Copy)]
pub(crate) struct Fsync {
    pub fd: i32,
    pub flags: u32,
}

impl Operation for Fsync {
    const OPCODE: Opcode = Opcode::IORING_OP_FSYNC;

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.op_flags = self.flags;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Statx<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub flags: i32,
    pub mask: u32,
    pub out: *mut c_void,
}

impl Operation for Statx<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_STATX;

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
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
        sqe.len = self.mask;
        sqe.off = self.out as u64;
        sqe.op_flags = self.flags as u32;
    }
}

/// Linux 6.9; before, a plain call at submit.
#[derive(Clone, Copy)]
pub(crate) struct Ftruncate {
    pub fd: i32,
    pub length: u64,
}

impl Ftruncate {
    pub(crate) fn attempt(sqe: &Sqe) -> i32 {
        descriptor::ftruncate(sqe.fd, sqe.off)
    }
}

impl Operation for Ftruncate {
    const OPCODE: Opcode = Opcode::IORING_OP_FTRUNCATE;

    fn descriptor(&self) -> i32 {
        self.fd
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.off = self.length;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct UnlinkAt<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub flags: i32,
}

impl Operation for UnlinkAt<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_UNLINKAT;

    fn descriptor(&self) -> i32 {
        self.dirfd
    }

    fn copied(&self) -> usize {
        path_size(self.path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.dirfd;
        sqe.addr = copy_path(copy, 0, self.path);
        sqe.op_flags = self.flags as u32;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct MkdirAt<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub mode: u32,
}

impl Operation for MkdirAt<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_MKDIRAT;

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
    }
}

/// renameat2 and linkat: two directories, two paths, flags.
#[derive(Clone, Copy)]
pub(crate) struct TwoPaths<'a, const LINK: bool> {
    pub old_dirfd: i32,
    pub old_path: &'a CStr,
    pub new_dirfd: i32,
    pub new_path: &'a CStr,
    pub flags: u32,
}

pub(crate) type RenameAt<'a> = TwoPaths<'a, false>;
pub(crate) type LinkAt<'a> = TwoPaths<'a, true>;

impl<const LINK: bool> Operation for TwoPaths<'_, LINK> {
    const OPCODE: Opcode = if LINK { Opcode::IORING_OP_LINKAT } else { Opcode::IORING_OP_RENAMEAT };

    fn descriptor(&self) -> i32 {
        self.old_dirfd
    }

    fn second_descriptor(&self) -> i32 {
        self.new_dirfd
    }

    fn copied(&self) -> usize {
        path_size(self.old_path) + path_size(self.new_path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.old_dirfd;
        sqe.addr = copy_path(copy, 0, self.old_path);
        sqe.off = copy_path(copy, path_size(self.old_path), self.new_path);
        sqe.len = self.new_dirfd as u32;
        sqe.op_flags = self.flags;
    }
}

#[derive(Clone, Copy)]
pub(crate) struct SymlinkAt<'a> {
    pub target: &'a CStr,
    pub dirfd: i32,
    pub link_path: &'a CStr,
}

impl Operation for SymlinkAt<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_SYMLINKAT;

    fn descriptor(&self) -> i32 {
        self.dirfd
    }

    fn copied(&self) -> usize {
        path_size(self.target) + path_size(self.link_path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.dirfd;
        sqe.addr = copy_path(copy, 0, self.target);
        sqe.off = copy_path(copy, path_size(self.target), self.link_path);
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
