//! One inotify instance: what changes in files and directories. Hides how the kernel packs events.

use crate::sys::errno::Errno;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What can happen, and what the kernel tells unasked.
pub(crate) const ALL_EVENTS: u32 = libc::IN_ALL_EVENTS;
pub(crate) const IGNORED: u32 = libc::IN_IGNORED;
pub(crate) const OVERFLOW: u32 = libc::IN_Q_OVERFLOW;
pub(crate) const UNASKED: u32 = libc::IN_UNMOUNT | OVERFLOW;
/// What may be asked for beside events.
pub(crate) const FLAGS: u32 = libc::IN_ONLYDIR | libc::IN_DONT_FOLLOW | libc::IN_EXCL_UNLINK;

/// Bytes that are read at once; one event has less than 300.
const BATCH_BYTES: usize = 16 * 1024;

pub(crate) struct Inotify(OwnedFd);

pub(crate) struct Event {
    /// Which watch; -1: none in particular.
    pub watch: i32,
    pub mask: u32,
    pub cookie: u32,
    pub name: CString,
}

impl Inotify {
    /// Close-on-exec, and never sleeps.
    pub(crate) fn create() -> Result<Inotify, Errno> {
        // SAFETY: no pointers; the new descriptor is owned at once.
        unsafe {
            let fd = libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK);
            if fd < 0 { Err(Errno::last()) } else { Ok(Inotify(OwnedFd::from_raw_fd(fd))) }
        }
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Watches what the path leads to; its number, which is that of an earlier watch of the same,
    /// to which the mask is added.
    pub(crate) fn add(&self, path: &CStr, mask: u32) -> Result<i32, Errno> {
        let mask = mask | libc::IN_MASK_ADD;
        // SAFETY: a valid string.
        Errno::check(unsafe {
            let watch = libc::inotify_add_watch(self.raw(), path.as_ptr(), mask);
            if watch < 0 { Errno::last().status() } else { watch }
        })
    }

    /// One that the kernel has removed itself is nobody's.
    pub(crate) fn remove(&self, watch: i32) {
        // SAFETY: numbers alone.
        unsafe { libc::inotify_rm_watch(self.raw(), watch) };
    }

    /// The watches that there are; None: the kernel does not tell.
    pub(crate) fn living(&self) -> Option<BTreeSet<i32>> {
        let path = format!("/proc/thread-self/fdinfo/{}", self.raw());
        let text = std::fs::read_to_string(path).ok()?;
        let numbers = text.lines().filter_map(|line| line.strip_prefix("inotify wd:"));
        numbers.map(|rest| i32::from_str_radix(rest.split(' ').next()?, 16).ok()).collect()
    }

    /// Some of what has happened; nothing: that was all.
    pub(crate) fn read(&self) -> Result<Vec<Event>, Errno> {
        let mut buffer = [0u64; BATCH_BYTES / size_of::<u64>()];
        // SAFETY: as many valid bytes as are said.
        let count = unsafe { libc::read(self.raw(), buffer.as_mut_ptr().cast(), BATCH_BYTES) };
        let Ok(count) = usize::try_from(count) else {
            let errno = Errno::last();
            return if errno == Errno::EAGAIN { Ok(Vec::new()) } else { Err(errno) };
        };
        let start = buffer.as_ptr().cast::<u8>();
        let head_len = size_of::<libc::inotify_event>();
        let mut events = Vec::new();
        let mut at = 0;
        while at + head_len <= count {
            // SAFETY: the kernel has written whole events, heads with their names, padded with
            // zeroes, to `count` bytes of the buffer.
            let (head, name) = unsafe {
                let head = start.add(at).cast::<libc::inotify_event>().read_unaligned();
                let name = start.add(at + head_len);
                (head, std::slice::from_raw_parts(name, head.len as usize))
            };
            let len = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            events.push(Event {
                watch: head.wd,
                mask: head.mask,
                cookie: head.cookie,
                name: CString::new(&name[..len]).unwrap_or_default(),
            });
            at += head_len + head.len as usize;
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_which_watches_there_are() {
        let folder = std::env::temp_dir().join(format!("aio_rs-watches-{}", std::process::id()));
        let inotify = Inotify::create().unwrap();
        assert_eq!(inotify.living(), Some(BTreeSet::new()));
        let mut watches = BTreeSet::new();
        // Numbers of two digits are told from those of one.
        for number in 0..20 {
            let path = folder.join(number.to_string());
            std::fs::create_dir_all(&path).unwrap();
            let path = CString::new(path.to_str().unwrap()).unwrap();
            assert!(watches.insert(inotify.add(&path, ALL_EVENTS).unwrap()));
        }
        assert_eq!(inotify.living().as_ref(), Some(&watches));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(inotify.living(), Some(BTreeSet::new()));
    }
}
