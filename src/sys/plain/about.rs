//! What a descriptor is, and what its file can do: asked of the kernel, a call each.

use super::{number, plain};
use crate::sys::errno::Errno;

/// Sets O_NONBLOCK for good.
pub(crate) fn set_nonblocking(fd: i32) -> Result<(), Errno> {
    let flags = file_flags(fd)?;
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(());
    }
    let flags = (flags | libc::O_NONBLOCK) as u64;
    let set = plain(libc::SYS_fcntl, [number(fd), libc::F_SETFL as u64, flags, 0, 0, 0]);
    Errno::check(set).map(drop)
}

/// Whether operations can use `fd`: it is open, and not only as a place in the file system.
pub(crate) fn is_open(fd: i32) -> bool {
    file_flags(fd).is_ok_and(|flags| flags & libc::O_PATH == 0)
}

/// Whether `fd` is open for writing, or for reading.
pub(crate) fn is_open_for(fd: i32, writes: bool) -> bool {
    let wrong = if writes { libc::O_RDONLY } else { libc::O_WRONLY };
    file_flags(fd).is_ok_and(|flags| flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != wrong)
}

/// Whether reads of `fd` go past the page cache.
#[inline(always)]
pub(crate) fn is_direct(fd: i32) -> bool {
    file_flags(fd).is_ok_and(|flags| flags & libc::O_DIRECT != 0)
}

#[inline(always)]
fn file_flags(fd: i32) -> Result<i32, Errno> {
    let got = plain(libc::SYS_fcntl, [number(fd), libc::F_GETFL as u64, 0, 0, 0, 0]);
    Errno::check(got)
}

/// Whether the path at `path` leads to a FIFO.
pub(crate) fn names_fifo(dirfd: i32, path: u64) -> bool {
    // SAFETY: zeroes are a valid structure, and it is valid for the call.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstatat(dirfd, path as *const libc::c_char, &mut stat, 0) == 0
            && stat.st_mode & libc::S_IFMT == libc::S_IFIFO
    }
}

/// Whether RWF_NOWAIT may say "end of file" before the end: Linux 5.9 and 5.10 do, for pages that
/// are being read ahead (preadv2(2), BUGS).
#[inline(always)]
pub(crate) fn ends_are_doubtful() -> bool {
    crate::sys::descriptor::kernel_version() < (5, 11)
}

/// Whether a short transfer of `fd` is to be continued: of regular files and block devices.
pub(crate) fn is_storage(fd: i32) -> bool {
    matches!(kind(fd), libc::S_IFREG | libc::S_IFBLK)
}

/// What kind of file `fd` is: `S_IFREG` and the like; 0: none.
pub(super) fn kind(fd: i32) -> libc::mode_t {
    // SAFETY: zeroes are a valid structure, and it is valid for the call.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &mut stat) == 0 { stat.st_mode & libc::S_IFMT } else { 0 }
    }
}

fn socket_option(fd: i32, name: i32) -> Option<i32> {
    let mut value = 0i32;
    let mut len = size_of_val(&value) as u32;
    let args = [
        number(fd),
        libc::SOL_SOCKET as u64,
        name as u64,
        &raw mut value as u64,
        &raw mut len as u64,
        0,
    ];
    (plain(libc::SYS_getsockopt, args) == 0).then_some(value)
}

/// The protocol of a socket; None for anything else.
pub(crate) fn protocol(fd: i32) -> Option<i32> {
    socket_option(fd, libc::SO_PROTOCOL)
}

/// Whether a short transfer of a socket with MSG_WAITALL is to be continued.
pub(crate) fn waits_for_all(fd: i32) -> bool {
    matches!(socket_option(fd, libc::SO_TYPE), Some(libc::SOCK_STREAM | libc::SOCK_SEQPACKET))
}

/// Whether `fd` is a socket without messages.
pub(crate) fn is_stream(fd: i32) -> bool {
    socket_option(fd, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
}

/// Whether `fd` is a socket that connections come to.
pub(crate) fn is_listening(fd: i32) -> bool {
    socket_option(fd, libc::SO_ACCEPTCONN) == Some(1)
}

/// Whether `fd` is a socket, and none that connections come to.
pub(crate) fn is_unlistening_socket(fd: i32) -> bool {
    socket_option(fd, libc::SO_ACCEPTCONN) == Some(0)
}

/// Whether `fd` is a unix socket.
pub(crate) fn is_unix(fd: i32) -> bool {
    socket_option(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX)
}
