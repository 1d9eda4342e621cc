//! The plain system calls that stand in for a ring's operations: numbers in, the kernel's answer
//! out (a value, or a negative error number). Addresses are those of a submission entry: memory of
//! the caller's or copies of the engine's, which both stay until the operation's last completion
//! (contract, line 4); that is what makes every call here safe. A bad address is -EFAULT.

use crate::sys::calls::call;
use crate::sys::errno::Errno;
use crate::sys::message::{MessageOut, iovec, msghdr};
use crate::sys::thread;

mod about;
use about::kind;
pub(crate) use about::*;

pub(crate) use libc::{IPPROTO_TCP, RWF_NOWAIT, SHUT_RDWR};

/// The longest transfer of one call.
const LENGTH_MAX: u64 = 0x7fff_f000;

/// Data or control data did not fit.
const CUT: i32 = libc::MSG_TRUNC | libc::MSG_CTRUNC;

/// The offset that means the file's own position.
pub(crate) const CURRENT: u64 = u64::MAX;

#[inline(always)]
fn plain(number: libc::c_long, args: [u64; 6]) -> i32 {
    // SAFETY: as said above.
    unsafe { call(number, args.map(|arg| arg as usize)) }
}

/// A descriptor number as the kernel reads it.
#[inline(always)]
fn number(fd: i32) -> u64 {
    fd as u64
}

#[inline(always)]
pub(crate) fn recv(fd: i32, addr: u64, len: u32, flags: i32) -> i32 {
    plain(libc::SYS_recvfrom, [number(fd), addr, len.into(), flags as u64, 0, 0])
}

#[inline(always)]
/// What is longer than 0x7ffff000 is cut by the kernel.
pub(crate) fn send(fd: i32, addr: u64, len: u64, flags: i32) -> i32 {
    plain(libc::SYS_sendto, [number(fd), addr, len, flags as u64, 0, 0])
}

pub(crate) fn recvmsg(fd: i32, header: u64, flags: i32) -> i32 {
    plain(libc::SYS_recvmsg, [number(fd), header, flags as u64, 0, 0, 0])
}

/// recv that says whether it has cut what there was.
pub(crate) fn recv_telling(fd: i32, to: (u64, u32), flags: i32, is_cut: &mut bool) -> i32 {
    let mut vector = iovec { iov_base: to.0 as *mut libc::c_void, iov_len: to.1 as usize };
    // SAFETY: zeroes are a valid header.
    let mut header = unsafe { std::mem::zeroed::<msghdr>() };
    (header.msg_iov, header.msg_iovlen) = (&raw mut vector, 1);
    let result = recvmsg(fd, &raw mut header as u64, flags);
    *is_cut = header.msg_flags & CUT != 0;
    result
}

pub(crate) fn sendmsg(fd: i32, header: u64, flags: i32) -> i32 {
    plain(libc::SYS_sendmsg, [number(fd), header, flags as u64, 0, 0, 0])
}

pub(crate) fn accept(fd: i32, addr: u64, addr_len: u64, flags: i32) -> i32 {
    plain(libc::SYS_accept4, [number(fd), addr, addr_len, flags as u64, 0, 0])
}

pub(crate) fn connect(fd: i32, addr: u64, len: u32) -> i32 {
    plain(libc::SYS_connect, [number(fd), addr, len.into(), 0, 0, 0])
}

pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> i32 {
    plain(libc::SYS_socket, [domain as u64, kind as u64, protocol as u64, 0, 0, 0])
}

pub(crate) fn bind(fd: i32, addr: u64, len: u32) -> i32 {
    plain(libc::SYS_bind, [number(fd), addr, len.into(), 0, 0, 0])
}

pub(crate) fn listen(fd: i32, backlog: i32) -> i32 {
    plain(libc::SYS_listen, [number(fd), backlog as u64, 0, 0, 0, 0])
}

pub(crate) fn shutdown(fd: i32, how: i32) -> i32 {
    plain(libc::SYS_shutdown, [number(fd), how as u64, 0, 0, 0, 0])
}

pub(crate) fn close(fd: i32) -> i32 {
    plain(libc::SYS_close, [number(fd), 0, 0, 0, 0, 0])
}

/// Another descriptor of `fd`'s file, the lowest that is free.
pub(crate) fn duplicate(fd: i32, close_on_exec: bool) -> i32 {
    let how = if close_on_exec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    plain(libc::SYS_fcntl, [number(fd), how as u64, 0, 0, 0, 0])
}

/// Makes `fd`, a new descriptor, close-on-exec.
pub(crate) fn set_close_on_exec(fd: i32) {
    let flag = libc::FD_CLOEXEC as u64;
    plain(libc::SYS_fcntl, [number(fd), libc::F_SETFD as u64, flag, 0, 0, 0]);
}

/// How many descriptors the process may have.
pub(crate) fn descriptors_max() -> u64 {
    // SAFETY: zeroes are a valid structure, and it is valid for the call.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur
    }
}

/// preadv2 and pwritev2 of `count` vectors at `vectors`.
#[inline(always)]
pub(crate) fn transfer<const WRITE: bool>(
    fd: i32, vectors: u64, count: u32, offset: u64, flags: i32,
) -> i32 {
    let call = if WRITE { libc::SYS_pwritev2 } else { libc::SYS_preadv2 };
    // The offset's upper half is a register of its own, which 64-bit kernels shift out.
    plain(call, [number(fd), vectors, count.into(), offset, 0, flags as u64])
}

/// The same with one buffer.
#[inline(always)]
pub(crate) fn transfer_one<const WRITE: bool>(
    fd: i32, addr: u64, len: u32, offset: u64, flags: i32,
) -> i32 {
    let vector = iovec { iov_base: addr as *mut libc::c_void, iov_len: len as usize };
    transfer::<WRITE>(fd, &raw const vector as u64, 1, offset, flags)
}

/// A transfer of a pipe that does not sleep, of `len` bytes at `addr`, or of as many vectors; for
/// pipes that do not understand RWF_NOWAIT: all before Linux 6.4, and those that splice(2) has
/// used. It goes through a description of its own, so that the caller's stays as it is. None: no
/// pipe, or none that can be opened.
#[cold]
pub(crate) fn transfer_on_pipe<const WRITE: bool>(
    fd: i32, addr: u64, len: u32, vectors: Option<u32>,
) -> Option<i32> {
    if kind(fd) != libc::S_IFIFO {
        return None;
    }
    let path = format!("/proc/thread-self/fd/{fd}\0");
    let mode = if WRITE { libc::O_WRONLY } else { libc::O_RDONLY };
    let flags = mode | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let own = openat(libc::AT_FDCWD, path.as_ptr() as u64, flags, 0);
    if own == -libc::ENXIO {
        // Nobody reads.
        thread::raise_sigpipe();
        return Some(-libc::EPIPE);
    }
    if own < 0 {
        return None;
    }
    let result = match vectors {
        Some(count) => transfer::<WRITE>(own, addr, count, CURRENT, 0),
        None => transfer_one::<WRITE>(own, addr, len, CURRENT, 0),
    };
    close(own);
    Some(result)
}

/// A transfer of a socket that does not sleep: of `len` bytes at `addr`, or of as many vectors.
pub(crate) fn transfer_on_socket<const WRITE: bool>(
    fd: i32, addr: u64, len: u32, vectors: Option<u32>,
) -> i32 {
    let flags = libc::MSG_DONTWAIT;
    let Some(count) = vectors else {
        return if WRITE { send(fd, addr, len.into(), flags) } else { recv(fd, addr, len, flags) };
    };
    // SAFETY: zeroes are a valid header.
    let mut header = unsafe { std::mem::zeroed::<msghdr>() };
    (header.msg_iov, header.msg_iovlen) = (addr as *mut iovec, count as usize);
    let header = &raw mut header as u64;
    if WRITE { sendmsg(fd, header, flags) } else { recvmsg(fd, header, flags) }
}

pub(crate) fn openat(dirfd: i32, path: u64, flags: i32, mode: u32) -> i32 {
    plain(libc::SYS_openat, [number(dirfd), path, flags as u64, mode.into(), 0, 0])
}

pub(crate) fn statx(dirfd: i32, path: u64, flags: i32, mask: u32, out: u64) -> i32 {
    plain(libc::SYS_statx, [number(dirfd), path, flags as u64, mask.into(), out, 0])
}

pub(crate) fn fsync(fd: i32, data_only: bool) -> i32 {
    let call = if data_only { libc::SYS_fdatasync } else { libc::SYS_fsync };
    plain(call, [number(fd), 0, 0, 0, 0, 0])
}

pub(crate) fn ftruncate(fd: i32, length: u64) -> i32 {
    plain(libc::SYS_ftruncate, [number(fd), length, 0, 0, 0, 0])
}

pub(crate) fn unlinkat(dirfd: i32, path: u64, flags: i32) -> i32 {
    plain(libc::SYS_unlinkat, [number(dirfd), path, flags as u64, 0, 0, 0])
}

pub(crate) fn mkdirat(dirfd: i32, path: u64, mode: u32) -> i32 {
    plain(libc::SYS_mkdirat, [number(dirfd), path, mode.into(), 0, 0, 0])
}

pub(crate) fn symlinkat(target: u64, dirfd: i32, path: u64) -> i32 {
    plain(libc::SYS_symlinkat, [target, number(dirfd), path, 0, 0, 0])
}

pub(crate) fn renameat(from: (i32, u64), to: (i32, u64), flags: u32) -> i32 {
    plain(libc::SYS_renameat2, [number(from.0), from.1, number(to.0), to.1, flags.into(), 0])
}

pub(crate) fn linkat(from: (i32, u64), to: (i32, u64), flags: u32) -> i32 {
    plain(libc::SYS_linkat, [number(from.0), from.1, number(to.0), to.1, flags.into(), 0])
}

pub(crate) fn openat2(dirfd: i32, path: u64, how: u64, size: u32) -> i32 {
    plain(libc::SYS_openat2, [number(dirfd), path, how, size.into(), 0, 0])
}

pub(crate) fn sync_file_range(fd: i32, offset: u64, len: u64, flags: u32) -> i32 {
    plain(libc::SYS_sync_file_range, [number(fd), offset, len, flags.into(), 0, 0])
}

pub(crate) fn fallocate(fd: i32, mode: i32, offset: u64, len: u64) -> i32 {
    plain(libc::SYS_fallocate, [number(fd), mode as u64, offset, len, 0, 0])
}

pub(crate) fn fadvise(fd: i32, offset: u64, len: u64, advice: u32) -> i32 {
    plain(libc::SYS_fadvise64, [number(fd), offset, len, advice.into(), 0, 0])
}

pub(crate) fn madvise(addr: u64, len: u64, advice: u32) -> i32 {
    plain(libc::SYS_madvise, [addr, len, advice.into(), 0, 0, 0])
}

pub(crate) fn setxattr(path: u64, name: u64, value: u64, size: u32, flags: u32) -> i32 {
    plain(libc::SYS_setxattr, [path, name, value, size.into(), flags.into(), 0])
}

pub(crate) fn getxattr(path: u64, name: u64, value: u64, size: u32) -> i32 {
    plain(libc::SYS_getxattr, [path, name, value, size.into(), 0, 0])
}

pub(crate) fn fsetxattr(fd: i32, name: u64, value: u64, size: u32, flags: u32) -> i32 {
    plain(libc::SYS_fsetxattr, [number(fd), name, value, size.into(), flags.into(), 0])
}

pub(crate) fn fgetxattr(fd: i32, name: u64, value: u64, size: u32) -> i32 {
    plain(libc::SYS_fgetxattr, [number(fd), name, value, size.into(), 0, 0])
}

pub(crate) fn tee(from: i32, to: i32, len: u32, flags: u32) -> i32 {
    plain(libc::SYS_tee, [number(from), number(to), len.into(), flags.into(), 0, 0])
}

pub(crate) fn epoll_ctl(epoll_fd: i32, what: i32, fd: i32, event: u64) -> i32 {
    plain(libc::SYS_epoll_ctl, [number(epoll_fd), what as u64, number(fd), event, 0, 0])
}

/// epoll_wait(2) that does not wait.
pub(crate) fn epoll_take(epoll_fd: i32, events: u64, count: u32) -> i32 {
    plain(libc::SYS_epoll_pwait, [number(epoll_fd), events, count.into(), 0, 0, 8])
}

pub(crate) fn pipe(pair: u64, flags: i32) -> i32 {
    plain(libc::SYS_pipe2, [pair, flags as u64, 0, 0, 0, 0])
}

pub(crate) fn waitid(id_type: i32, id: u32, info: u64, options: i32) -> i32 {
    plain(libc::SYS_waitid, [id_type as u64, id.into(), info, options as u64, 0, 0])
}

/// What futex(2) calls an operation, for flags of futex2; None: it has no words of that size.
fn futex_operation(operation: i32, flags: u32) -> Option<u64> {
    const SIZE_U32: u32 = 2;
    const PRIVATE: u32 = 128;
    let private = if flags & PRIVATE != 0 { libc::FUTEX_PRIVATE_FLAG } else { 0 };
    (flags & !PRIVATE == SIZE_U32).then_some((operation | private) as u64)
}

pub(crate) fn futex_wait(word: u64, value: u64, mask: u64, flags: u32) -> i32 {
    match futex_operation(libc::FUTEX_WAIT_BITSET, flags) {
        Some(operation) if value.max(mask) <= u64::from(u32::MAX) => {
            plain(libc::SYS_futex, [word, operation, value, 0, 0, mask])
        }
        _ => Errno::EINVAL.status(),
    }
}

pub(crate) fn futex_wake(word: u64, count: u64, mask: u64, flags: u32) -> i32 {
    match futex_operation(libc::FUTEX_WAKE_BITSET, flags) {
        // The old call wakes one where it is asked for none.
        Some(_) if count == 0 && mask != 0 && word.is_multiple_of(4) => 0,
        Some(operation) if mask <= u64::from(u32::MAX) => {
            plain(libc::SYS_futex, [word, operation, count, 0, 0, mask])
        }
        _ => Errno::EINVAL.status(),
    }
}

pub(crate) fn futex_waitv(futexes: u64, count: u32) -> i32 {
    let clock = libc::CLOCK_MONOTONIC as u64;
    match plain(libc::SYS_futex_waitv, [futexes, count.into(), 0, 0, clock, 0]) {
        // Before Linux 5.16.
        result if result == Errno::ENOSYS.status() => Errno::EOPNOTSUPP.status(),
        result => result,
    }
}

pub(crate) fn setsockopt(fd: i32, level: i32, name: i32, value: u64, len: u32) -> i32 {
    let args = [number(fd), level as u64, name as u64, value, len.into(), 0];
    plain(libc::SYS_setsockopt, args)
}

/// getsockopt(2); its value's length.
pub(crate) fn getsockopt(fd: i32, level: i32, name: i32, value: u64, mut len: u32) -> i32 {
    let args = [number(fd), level as u64, name as u64, value, &raw mut len as u64, 0];
    match plain(libc::SYS_getsockopt, args) {
        0 => len as i32,
        failed => failed,
    }
}

/// How many bytes wait in a socket. Other files know the same request, a ring's command does not.
pub(crate) fn socket_queue(fd: i32, outgoing: bool) -> i32 {
    let mut kind = 0i32;
    let refused = getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, &raw mut kind as u64, 4);
    if refused < 0 {
        return refused;
    }
    let mut count = 0i32;
    let request = if outgoing { libc::TIOCOUTQ } else { libc::FIONREAD };
    match plain(libc::SYS_ioctl, [number(fd), request, &raw mut count as u64, 0, 0, 0]) {
        0 => count,
        failed => failed,
    }
}

/// splice(2); `CURRENT` for the position of a descriptor.
pub(crate) fn splice(from: (i32, u64), to: (i32, u64), len: u32, flags: u32) -> i32 {
    let (from_at, to_at) = (from.1, to.1);
    let pointer = |at: &u64| if *at == CURRENT { 0 } else { std::ptr::from_ref(at) as u64 };
    let (from_at, to_at) = (pointer(&from_at), pointer(&to_at));
    plain(
        libc::SYS_splice,
        [number(from.0), from_at, number(to.0), to_at, len.into(), flags.into()],
    )
}

/// Waits until `fd` is ready for `events`, at most so many milliseconds.
fn wait_for(fd: i32, events: i16, milliseconds: i32) -> Result<bool, Errno> {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one valid entry.
    let ready = unsafe { libc::poll(&mut entry, 1, milliseconds) };
    if ready < 0 { Err(Errno::last()) } else { Ok(ready != 0) }
}

/// The same, unless the flags say not to wait, with a socket waited for before: splice(2) waits for
/// it with the pipe locked, and not at all where the engine has made it non-blocking.
pub(crate) fn splice_waiting(from: (i32, u64), to: (i32, u64), len: u32, flags: u32) -> i32 {
    const FOR_EVER: i32 = -1;
    const PAUSE_MS: i32 = 1;
    let waits = flags & libc::SPLICE_F_NONBLOCK == 0;
    let fills = from.1 == CURRENT && protocol(from.0).is_some() && kind(to.0) == libc::S_IFIFO;
    let mut ready = Ok(true);
    if waits && fills {
        ready = wait_for(from.0, libc::POLLIN, FOR_EVER);
    }
    loop {
        if let Err(errno) = ready {
            return errno.status();
        }
        let result = splice(from, to, len, flags);
        if result != -libc::EAGAIN || !waits {
            return result;
        }
        // Where both were ready and nothing moved, asking again at once would spin.
        ready = wait_for(-1, 0, PAUSE_MS)
            .and_then(|_| wait_for(from.0, libc::POLLIN, FOR_EVER))
            .and_then(|_| wait_for(to.0, libc::POLLOUT, FOR_EVER));
    }
}

/// The vectors at `vectors`. Only after the kernel has read them, so that they are known to be
/// there.
fn vectors_at<'a>(vectors: u64, count: u64) -> &'a [iovec] {
    if count == 0 {
        return &[];
    }
    // SAFETY: as said: an array of `count` vectors, unchanged until the last completion.
    unsafe { std::slice::from_raw_parts(vectors as *const iovec, count as usize) }
}

fn header_at<'a>(header: u64) -> &'a msghdr {
    // SAFETY: as for vectors.
    unsafe { &*(header as *const msghdr) }
}

/// What is left of `vectors` behind the first `done` bytes.
fn rest_of(vectors: &[iovec], mut done: usize) -> Vec<iovec> {
    let mut rest = Vec::with_capacity(vectors.len());
    for vector in vectors {
        let skipped = done.min(vector.iov_len);
        done -= skipped;
        if skipped < vector.iov_len {
            let iov_base = vector.iov_base.wrapping_byte_add(skipped);
            rest.push(iovec { iov_base, iov_len: vector.iov_len - skipped });
        }
    }
    rest
}

fn sum_of(vectors: &[iovec]) -> u64 {
    vectors.iter().map(|vector| vector.iov_len as u64).fold(0, u64::saturating_add)
}

/// How many bytes `count` vectors ask for, as far as one transfer goes.
pub(crate) fn vectors_len(vectors: u64, count: u32) -> u64 {
    sum_of(vectors_at(vectors, count.into())).min(LENGTH_MAX)
}

/// Whether a message says where it goes.
pub(crate) fn is_addressed(header: u64) -> bool {
    header_at(header).msg_namelen != 0
}

/// Whether a message has room for control data.
pub(crate) fn has_control(header: u64) -> bool {
    !header_at(header).msg_control.is_null()
}

/// Whether the message that was received at last was cut.
pub(crate) fn is_cut(header: u64) -> bool {
    header_at(header).msg_flags & CUT != 0
}

/// What a receive of nothing leaves in the header at `header`, which the kernel has read before.
pub(crate) fn end_message(header: u64, flags: i32) {
    // SAFETY: the engine's copy, or a raw entry's own header, which is the engine's to write to
    // until the last completion.
    let header = unsafe { &mut *(header as *mut msghdr) };
    header.msg_namelen = 0;
    header.msg_controllen = 0;
    header.msg_flags = flags & libc::MSG_CMSG_CLOEXEC;
}

/// Receives a message into a buffer of `len` bytes at `addr`, as a multishot recvmsg lays it out:
/// what `MessageOut` says, the name, control data, the payload. The header at `header` says how
/// much room the second and third get.
pub(crate) fn recvmsg_into(fd: i32, header: u64, (addr, len): (u64, u32), flags: i32) -> i32 {
    let wanted = header_at(header);
    let (name_len, control_len) = (wanted.msg_namelen, wanted.msg_controllen);
    let name_at = addr + size_of::<MessageOut>() as u64;
    let control_at = name_at + u64::from(name_len);
    let payload_at = control_at + control_len as u64;
    let Some(room) = (addr + u64::from(len)).checked_sub(payload_at) else {
        return Errno::EFAULT.status();
    };
    let mut payload = iovec { iov_base: payload_at as *mut libc::c_void, iov_len: room as usize };
    // SAFETY: zeroes are a valid header.
    let mut message = unsafe { std::mem::zeroed::<msghdr>() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut payload, 1);
    if name_len > 0 {
        (message.msg_name, message.msg_namelen) = (name_at as *mut libc::c_void, name_len);
    }
    if control_len > 0 {
        message.msg_control = control_at as *mut libc::c_void;
        message.msg_controllen = control_len;
    }
    let moved = recvmsg(fd, &raw mut message as u64, flags);
    if moved < 0 {
        return moved;
    }
    let head = MessageOut {
        name_len: message.msg_namelen,
        control_len: message.msg_controllen as u32,
        payload_len: moved as u32,
        flags: message.msg_flags as u32,
    };
    // SAFETY: the head is inside the buffer, which belongs to this receive.
    unsafe { (addr as *mut MessageOut).write_unaligned(head) };
    (payload_at - addr) as i32 + (moved as u64).min(room) as i32
}

/// What a message laid out like that begins with, in bytes.
pub(crate) fn message_head_len(header: u64) -> i32 {
    let wanted = header_at(header);
    (size_of::<MessageOut>() + wanted.msg_namelen as usize + wanted.msg_controllen) as i32
}

/// How many bytes the buffers of a message have.
pub(crate) fn message_len(header: u64) -> u64 {
    let header = header_at(header);
    sum_of(vectors_at(header.msg_iov as u64, header.msg_iovlen as u64))
}

/// `transfer` behind the first `done` bytes.
pub(crate) fn transfer_rest<const WRITE: bool>(
    fd: i32, vectors: u64, count: u32, done: u64, offset: u64, flags: i32,
) -> i32 {
    let rest = rest_of(vectors_at(vectors, count.into()), done as usize);
    transfer::<WRITE>(fd, rest.as_ptr() as u64, rest.len() as u32, offset, flags)
}

/// Carries on with the buffers of a message behind the first `done` bytes. A send's name and
/// control data belonged to the first call; a receive's flags, and whether there is a name, are
/// those of the last one. (The name itself is the same for all pieces of a stream.)
pub(crate) fn message_rest<const WRITE: bool>(fd: i32, header: u64, done: u64, flags: i32) -> i32 {
    let whole = header_at(header);
    let mut vectors =
        rest_of(vectors_at(whole.msg_iov as u64, whole.msg_iovlen as u64), done as usize);
    // SAFETY: zeroes are a valid header and a valid address.
    let (mut rest, mut name) =
        unsafe { (std::mem::zeroed::<msghdr>(), std::mem::zeroed::<libc::sockaddr_storage>()) };
    (rest.msg_iov, rest.msg_iovlen) = (vectors.as_mut_ptr(), vectors.len());
    if WRITE {
        return sendmsg(fd, &raw mut rest as u64, flags);
    }
    if !whole.msg_name.is_null() {
        rest.msg_name = (&raw mut name).cast();
        rest.msg_namelen = size_of_val(&name) as u32;
    }
    let result = recvmsg(fd, &raw mut rest as u64, flags);
    if result >= 0 {
        // SAFETY: as for `end_message`.
        let whole = unsafe { &mut *(header as *mut msghdr) };
        (whole.msg_namelen, whole.msg_flags) = (rest.msg_namelen, rest.msg_flags);
    }
    result
}

/// The I/O priority of the calling thread, 0 for none of its own; as ioprio_set(2) takes it.
pub(crate) fn set_priority(priority: u16) -> Result<(), Errno> {
    const WHO_PROCESS: u64 = 1;
    let set = plain(libc::SYS_ioprio_set, [WHO_PROCESS, 0, priority.into(), 0, 0, 0]);
    Errno::check(set).map(drop)
}
