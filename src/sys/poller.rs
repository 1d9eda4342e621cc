//! One epoll instance. Hides how a wait of nanoseconds is had on kernels without epoll_pwait2.
//! Only `engine/backend/epoll.rs` drives it; which descriptors are in it is that file's secret.

use crate::sys::calls::call;
use crate::sys::errno::Errno;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Bits of an event; those of poll(2) have the same values.
pub(crate) mod events {
    pub(crate) const IN: u32 = libc::EPOLLIN as u32;
    pub(crate) const OUT: u32 = libc::EPOLLOUT as u32;
    pub(crate) const PRI: u32 = libc::EPOLLPRI as u32;
    pub(crate) const ERR: u32 = libc::EPOLLERR as u32;
    pub(crate) const HUP: u32 = libc::EPOLLHUP as u32;
    pub(crate) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
    pub(crate) const NVAL: u32 = libc::POLLNVAL as u32;
    pub(crate) const ET: u32 = libc::EPOLLET as u32;
}

/// Events taken in one call.
pub(crate) const BATCH: usize = 256;

/// The kernel's structure; packed on x86-64.
pub(crate) type Event = libc::epoll_event;

pub(crate) struct Poller {
    fd: OwnedFd,
    /// Linux 5.11 has epoll_pwait2; a filter may refuse it all the same.
    precise: bool,
}

/// How long a wait may take, in nanoseconds; None: without limit.
pub(crate) type Limit = Option<u64>;

impl Poller {
    pub(crate) fn create() -> Result<Poller, Errno> {
        // SAFETY: no pointers; the new descriptor is owned at once.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(Errno::last());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Poller { fd: unsafe { OwnedFd::from_raw_fd(fd) }, precise: true })
    }

    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    fn control(&self, what: i32, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        let mut event = Event { events, u64: data };
        let event = &raw mut event as usize;
        // SAFETY: `event` is valid for the call.
        let result = unsafe {
            call(
                libc::SYS_epoll_ctl,
                [self.raw() as usize, what as usize, fd as usize, event, 0, 0],
            )
        };
        Errno::check(result).map(drop)
    }

    /// Watches `fd`, edge-triggered; what is ready now is an edge.
    pub(crate) fn add(&self, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        self.control(libc::EPOLL_CTL_ADD, fd, events | events::ET, data)
    }

    /// Watches `fd` anew, which it watches already; what is ready now is an edge again.
    pub(crate) fn renew(&self, fd: i32, events: u32, data: u64) -> Result<(), Errno> {
        self.control(libc::EPOLL_CTL_MOD, fd, events | events::ET, data)
    }

    pub(crate) fn remove(&self, fd: i32) {
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    /// Waits for events; returns how many there are, 0 when the time is up.
    pub(crate) fn wait(&mut self, out: &mut [Event; BATCH], limit: Limit) -> Result<usize, Errno> {
        let milliseconds = match limit {
            Some(0) => 0,
            None => -1,
            Some(ns) if self.precise => match self.wait_precisely(out, ns) {
                // Not there, or not allowed.
                Err(errno) if errno != Errno::EINTR => {
                    self.precise = false;
                    return self.wait(out, limit);
                }
                waited => return waited,
            },
            Some(ns) => return self.wait_in_two(out, ns),
        };
        self.wait_coarsely(out, milliseconds)
    }

    fn wait_coarsely(&self, out: &mut [Event; BATCH], milliseconds: i32) -> Result<usize, Errno> {
        let out = out.as_mut_ptr() as usize;
        let args = [self.raw() as usize, out, BATCH, milliseconds as usize, 0, 8];
        // SAFETY: `out` has room for BATCH events.
        Errno::check(unsafe { call(libc::SYS_epoll_pwait, args) }).map(|count| count as usize)
    }

    fn wait_precisely(&self, out: &mut [Event; BATCH], ns: u64) -> Result<usize, Errno> {
        let time = timespec(ns);
        let out = out.as_mut_ptr() as usize;
        let args = [self.raw() as usize, out, BATCH, &raw const time as usize, 0, 8];
        // SAFETY: `out` has room for BATCH events; the time lives on this frame.
        Errno::check(unsafe { call(libc::SYS_epoll_pwait2, args) }).map(|count| count as usize)
    }

    /// Waits for the instance to have events, then takes them.
    fn wait_in_two(&self, out: &mut [Event; BATCH], ns: u64) -> Result<usize, Errno> {
        let mut own = libc::pollfd { fd: self.raw(), events: libc::POLLIN, revents: 0 };
        let time = timespec(ns);
        // SAFETY: one valid entry; the time lives on this frame.
        if unsafe { libc::ppoll(&mut own, 1, &time, std::ptr::null()) } < 0 {
            return Err(Errno::last());
        }
        self.wait_coarsely(out, 0)
    }
}

fn timespec(ns: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    }
}

/// Whether `fd` tells of changes; false for files that are always ready. Asks an instance made for
/// it.
pub(crate) fn can_be_watched(fd: i32) -> bool {
    let refused = Poller::create().map(|poller| poller.add(fd, events::IN, 0));
    !matches!(refused, Ok(Err(Errno::EPERM)))
}

/// Waits until there is something to read from `fd`, at most so long; whether there is.
pub(crate) fn wait_readable(fd: i32, limit: Limit) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let time = limit.map(timespec);
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one valid entry; the time, if any, lives on this frame.
    unsafe { libc::ppoll(&mut entry, 1, time, std::ptr::null()) > 0 }
}

/// Which of `events`, errors and hang-ups `fd` has now.
pub(crate) fn poll_now(fd: i32, events: u32) -> Result<u32, Errno> {
    let mut entry = libc::pollfd { fd, events: events as i16, revents: 0 };
    // SAFETY: one valid entry; does not wait.
    if unsafe { libc::poll(&mut entry, 1, 0) } < 0 {
        return Err(Errno::last());
    }
    Ok(u32::from(entry.revents as u16))
}
