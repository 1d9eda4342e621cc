//! Descriptors that the engine itself owns.

use crate::sys::calls::call;
use crate::sys::errno::Errno;
use crate::sys::known::Known;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An event counter, close-on-exec and non-blocking.
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn create() -> Result<EventFd, Errno> {
        // SAFETY: no pointers; the new descriptor is owned at once.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(EventFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Wakes whoever waits for it. A full counter (2^64 - 2 unread signals) is a wake-up as well.
    /// Not by write(3), which is a cancellation point: a post must not end its thread, and what
    /// makes it one are two exclusive accesses and 50 instructions.
    pub(crate) fn signal(&self) {
        let one = 1u64;
        let args = [self.raw() as usize, (&raw const one).addr(), 8, 0, 0, 0];
        // SAFETY: eight valid bytes.
        unsafe { call(libc::SYS_write, args) };
    }

    pub(crate) fn drain(&self) {
        drain(self.raw());
    }
}

/// A pipe that bytes are moved through, close-on-exec.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: u64,
}

impl Pipe {
    /// Four times the usual size, where that is allowed: each filling and emptying is two trips to
    /// a worker.
    const CAPACITY: i32 = 256 * 1024;

    pub(crate) fn create() -> Result<Pipe, Errno> {
        let mut pair = [0; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(Errno::last());
        }
        // SAFETY: just made, owned by nobody else.
        let [read, write] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: numbers alone. Users have a limit for all their pipes.
        let capacity = unsafe {
            libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, Self::CAPACITY);
            libc::fcntl(write.as_raw_fd(), libc::F_GETPIPE_SZ)
        };
        let capacity = u64::try_from(capacity).map_err(|_| Errno::last())?;
        Ok(Pipe { read, write, capacity })
    }

    pub(crate) fn read_end(&self) -> i32 {
        self.read.as_raw_fd()
    }

    pub(crate) fn write_end(&self) -> i32 {
        self.write.as_raw_fd()
    }

    /// Bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }
}

/// A descriptor that travels between threads, closed where nobody takes it.
pub(crate) struct Parcelled(OwnedFd);

impl Parcelled {
    /// `fd` is new, and nobody else closes it.
    pub(crate) fn adopt(fd: i32) -> Parcelled {
        // SAFETY: the caller's promise.
        Parcelled(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Takes what has been signalled to an event counter.
pub(crate) fn drain(fd: i32) {
    let mut count = 0u64;
    // SAFETY: eight valid bytes.
    unsafe { libc::read(fd, (&raw mut count).cast(), 8) };
}

/// Closes a descriptor that arrived for nobody.
pub(crate) fn close(fd: i32) {
    // SAFETY: the kernel gave this number to an operation whose owner will never learn it.
    unsafe { libc::close(fd) };
}

/// The running kernel's version, major and minor; zeroes if uname says something unreadable.
#[inline]
pub(crate) fn kernel_version() -> (u32, u32) {
    static VERSION: Known<1> = Known::new();
    let [version] = VERSION.get().unwrap_or_else(|| {
        let version = [read_kernel_version()];
        VERSION.set(version);
        version
    });
    ((version >> 32) as u32, version as u32)
}

#[cold]
fn read_kernel_version() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || u64::from(parts.next().unwrap_or(0u16));
    next() << 32 | next()
}
