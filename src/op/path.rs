//! Names and what belongs to them: metadata, links, directories, extended attributes.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::copy_into;
use crate::sys::plain;
use std::ffi::{CStr, c_void};

/// Copies a path with its terminator to byte `at`; returns the copy's address.
pub(super) fn copy_path(copy: &mut [u64], at: usize, path: &CStr) -> u64 {
    let bytes = path.to_bytes_with_nul();
    copy_into(copy, at, bytes.as_ptr().cast(), bytes.len()) as u64
}

/// Bytes of a path with its terminator.
pub(super) fn path_size(path: &CStr) -> usize {
    path.to_bytes_with_nul().len()
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
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        plain::statx(sqe.fd, sqe.addr, sqe.op_flags as i32, sqe.len, sqe.off)
    });

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

#[derive(Clone, Copy)]
pub(crate) struct UnlinkAt<'a> {
    pub dirfd: i32,
    pub path: &'a CStr,
    pub flags: i32,
}

impl Operation for UnlinkAt<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_UNLINKAT;
    const FALLBACK: Fallback =
        Fallback::Brief(|sqe| plain::unlinkat(sqe.fd, sqe.addr, sqe.op_flags as i32));

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
    const FALLBACK: Fallback = Fallback::Brief(|sqe| plain::mkdirat(sqe.fd, sqe.addr, sqe.len));

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
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        let (from, to) = ((sqe.fd, sqe.addr), (sqe.len as i32, sqe.off));
        let call = if LINK { plain::linkat } else { plain::renameat };
        call(from, to, sqe.op_flags)
    });

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
    const FALLBACK: Fallback = Fallback::Brief(|sqe| plain::symlinkat(sqe.addr, sqe.fd, sqe.off));

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

/// An extended attribute of a path, or of a descriptor where `path` is None. The value is a data
/// buffer: read by the kernel to set, written to get.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub fd: i32,
    pub path: &'a CStr,
    pub name: &'a CStr,
    pub value: *mut c_void,
    pub size: u32,
    pub flags: i32,
}

impl Attribute<'_> {
    fn prepare_by_path(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.addr3 = copy_path(copy, path_size(self.name), self.path);
        self.prepare_by_descriptor(sqe, copy);
        sqe.fd = 0;
    }

    fn prepare_by_descriptor(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        sqe.fd = self.fd;
        sqe.addr = copy_path(copy, 0, self.name);
        sqe.off = self.value as u64;
        sqe.len = self.size;
        sqe.op_flags = self.flags as u32;
    }
}

/// setxattr and getxattr.
#[derive(Clone, Copy)]
pub(crate) struct PathAttribute<'a, const SET: bool>(pub Attribute<'a>);

impl<const SET: bool> Operation for PathAttribute<'_, SET> {
    const OPCODE: Opcode =
        if SET { Opcode::IORING_OP_SETXATTR } else { Opcode::IORING_OP_GETXATTR };
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        if SET {
            plain::setxattr(sqe.addr3, sqe.addr, sqe.off, sqe.len, sqe.op_flags)
        } else {
            plain::getxattr(sqe.addr3, sqe.addr, sqe.off, sqe.len)
        }
    });

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn copied(&self) -> usize {
        path_size(self.0.name) + path_size(self.0.path)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.0.prepare_by_path(sqe, copy);
    }
}

/// fsetxattr and fgetxattr.
#[derive(Clone, Copy)]
pub(crate) struct FileAttribute<'a, const SET: bool>(pub Attribute<'a>);

impl<const SET: bool> Operation for FileAttribute<'_, SET> {
    const OPCODE: Opcode =
        if SET { Opcode::IORING_OP_FSETXATTR } else { Opcode::IORING_OP_FGETXATTR };
    const FALLBACK: Fallback = Fallback::Brief(|sqe| {
        if SET {
            plain::fsetxattr(sqe.fd, sqe.addr, sqe.off, sqe.len, sqe.op_flags)
        } else {
            plain::fgetxattr(sqe.fd, sqe.addr, sqe.off, sqe.len)
        }
    });

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn descriptor(&self) -> i32 {
        self.0.fd
    }

    fn copied(&self) -> usize {
        path_size(self.0.name)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        self.0.prepare_by_descriptor(sqe, copy);
    }
}
