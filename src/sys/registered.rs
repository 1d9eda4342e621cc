//! Registered buffers: the calls on a ring, and what of them can be had without one: whether memory
//! could be mapped for good, and a look at vectors that nobody has checked.

use crate::sys::descriptor::kernel_version;
use crate::sys::errno::Errno;
use crate::sys::message::{iovec, msghdr};
use crate::sys::ring::Ring;
use linux_raw_sys::io_uring as abi;

/// A registered buffer; of length 0: none. Laid out as an iovec.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Area {
    pub addr: u64,
    pub len: u64,
}

const _: () = assert!(size_of::<Area>() == size_of::<iovec>());

impl Area {
    pub(crate) fn is_none(self) -> bool {
        self.len == 0
    }

    /// Whether `len` bytes at `addr` are inside.
    pub(crate) fn holds(self, addr: u64, len: u64) -> bool {
        let end = addr.checked_add(len);
        !self.is_none() && addr >= self.addr && end.is_some_and(|end| end <= self.addr + self.len)
    }
}

impl From<iovec> for Area {
    fn from(vector: iovec) -> Area {
        Area { addr: vector.iov_base as u64, len: vector.iov_len as u64 }
    }
}

impl Ring {
    /// Makes a table of buffers. A tag other than 0 is the user_data of a completion that comes
    /// when its buffer was replaced or given up and nothing uses it any more. Linux 5.19.
    pub(crate) fn register_areas(&mut self, areas: &[Area], tags: &[u64]) -> Result<(), Errno> {
        let reg = abi::io_uring_rsrc_register {
            nr: areas.len() as u32,
            flags: 0,
            resv2: 0,
            data: areas.as_ptr() as u64,
            tags: tags.as_ptr() as u64,
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_BUFFERS2 as u32;
        self.register(opcode, &raw const reg as usize, size_of_val(&reg) as u32).map(drop)
    }

    /// Replaces buffers from `first` on; returns how many.
    pub(crate) fn update_areas(
        &mut self, first: u32, areas: &[Area], tags: &[u64],
    ) -> Result<u32, Errno> {
        let update = abi::io_uring_rsrc_update2 {
            offset: first,
            resv: 0,
            data: areas.as_ptr() as u64,
            tags: tags.as_ptr() as u64,
            nr: areas.len() as u32,
            resv2: 0,
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_BUFFERS_UPDATE as u32;
        let size = size_of_val(&update) as u32;
        self.register(opcode, &raw const update as usize, size).map(|count| count as u32)
    }

    /// Before Linux 6.13 this waits for every operation that uses a buffer.
    pub(crate) fn unregister_areas(&mut self) -> Result<(), Errno> {
        let opcode = abi::io_uring_register_op::IORING_UNREGISTER_BUFFERS as u32;
        self.register(opcode, 0, 0).map(drop)
    }

    /// Shares the table of another ring of this thread. Linux 6.12.
    pub(crate) fn clone_areas(&mut self, source: &Ring) -> Result<(), Errno> {
        let clone = abi::io_uring_clone_buffers {
            src_fd: source.raw() as u32,
            flags: 0,
            src_off: 0,
            dst_off: 0,
            nr: 0,
            pad: [0; 3],
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_CLONE_BUFFERS as u32;
        self.register(opcode, &raw const clone as usize, 1).map(drop)
    }
}

/// Whether the kernel could map the memory for good: all of it is there and writable, as a ring
/// wants it.
pub(crate) fn can_be_mapped(area: Area) -> Result<(), Errno> {
    const PAGE: u64 = 4096;
    let first = area.addr & !(PAGE - 1);
    let Some(end) = area.addr.checked_add(area.len) else { return Err(Errno::EFAULT) };
    let len = (end - first).next_multiple_of(PAGE) as usize;
    let advice = libc::MADV_POPULATE_WRITE;
    // SAFETY: makes pages be there, and changes nothing in them.
    let populated = unsafe { libc::madvise(first as *mut libc::c_void, len, advice) };
    match Errno::last() {
        _ if populated == 0 => Ok(()),
        // The advice is of Linux 5.14.
        _ if kernel_version() < (5, 14) && is_writable(first, end) => Ok(()),
        Errno::EAGAIN => Err(Errno::ENOMEM),
        _ => Err(Errno::EFAULT),
    }
}

/// Whether the process has all of this memory, and may write to it; true where nobody can tell.
fn is_writable(mut from: u64, end: u64) -> bool {
    let Ok(map) = std::fs::read("/proc/self/maps") else { return true };
    for line in String::from_utf8_lossy(&map).lines() {
        let mut fields = line.split([' ', '-']);
        let mut number = || u64::from_str_radix(fields.next()?, 16).ok();
        let (Some(first), Some(behind)) = (number(), number()) else { return true };
        let rights = fields.next().unwrap_or_default();
        if from < behind && from < end {
            if from < first || !rights.starts_with("rw") {
                return false;
            }
            from = behind;
        }
    }
    from >= end
}

/// Copies `count` values from this process's own memory, which may not be there; where such a look
/// is forbidden, it has to be.
fn copy_in<T: Copy>(addr: u64, count: usize) -> Option<Vec<T>> {
    let mut values = Vec::<T>::with_capacity(count);
    let len = count * size_of::<T>();
    let local = iovec { iov_base: values.as_mut_ptr().cast(), iov_len: len };
    let remote = iovec { iov_base: addr as *mut libc::c_void, iov_len: len };
    // SAFETY: the kernel writes into the vector's own room and refuses to read what is not there.
    // The copy without it is of arguments that the caller answers for.
    unsafe {
        let copied = libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0);
        if copied != len as isize {
            if !matches!(Errno::last(), Errno::EPERM | Errno::ENOSYS) {
                return None;
            }
            std::ptr::copy_nonoverlapping(addr as *const T, values.as_mut_ptr(), count);
        }
        values.set_len(count);
    }
    Some(values)
}

/// Whether `inside` holds for the bytes of all of `count` vectors at `vectors`.
pub(crate) fn vectors_inside(vectors: u64, count: u64, inside: impl Fn(u64, u64) -> bool) -> bool {
    const VECTORS_MAX: u64 = 1024;
    if count == 0 || count > VECTORS_MAX {
        return true; // Nothing, or for the call to refuse.
    }
    let copied = copy_in::<iovec>(vectors, count as usize);
    copied.is_some_and(|vectors| vectors_are_inside(&vectors, inside))
}

/// The same for the vectors of the message header at `header`.
pub(crate) fn message_inside(header: u64, inside: impl Fn(u64, u64) -> bool) -> bool {
    copy_in::<msghdr>(header, 1).is_some_and(|headers| {
        vectors_inside(headers[0].msg_iov as u64, headers[0].msg_iovlen as u64, inside)
    })
}

/// Whether `inside` holds for the bytes of all of `vectors`. An empty one is nowhere.
pub(crate) fn vectors_are_inside(vectors: &[iovec], inside: impl Fn(u64, u64) -> bool) -> bool {
    let mut vectors = vectors.iter().map(|vector| (vector.iov_base as u64, vector.iov_len as u64));
    vectors.all(|(addr, len)| len != 0 && inside(addr, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    /// Whether the map says of `len` bytes from `addr` what Linux 5.14 and later say.
    fn is_writable_as_advised(addr: usize, len: usize) -> bool {
        let (addr, len) = (addr as u64, len as u64);
        let writable = is_writable(addr, addr + len);
        if kernel_version() >= (5, 14) {
            assert_eq!(can_be_mapped(Area { addr, len }).is_ok(), writable);
        }
        writable
    }

    #[test]
    fn memory_with_a_hole_or_a_lock_on_it_is_not_writable() {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: new memory of the test's own, which nobody else refers to.
        let block = unsafe { libc::mmap(std::ptr::null_mut(), 6 * PAGE, rights, flags, -1, 0) };
        assert_ne!(block, libc::MAP_FAILED);
        let start = block as usize;
        let page = |number: usize| (start + number * PAGE) as *mut libc::c_void;
        // SAFETY: pages of it, which nothing is in.
        unsafe {
            assert_eq!(libc::munmap(page(2), PAGE), 0);
            assert_eq!(libc::mprotect(page(4), PAGE, libc::PROT_READ), 0);
            assert_eq!(libc::madvise(page(1), PAGE, libc::MADV_DONTFORK), 0); // a line of its own
        }
        assert!(is_writable_as_advised(start, 2 * PAGE));
        assert!(is_writable_as_advised(start + 5, PAGE));
        assert!(!is_writable_as_advised(start, 2 * PAGE + 1));
        assert!(!is_writable_as_advised(start + 2 * PAGE, 1));
        assert!(is_writable_as_advised(start + 3 * PAGE, PAGE));
        assert!(!is_writable_as_advised(start + 3 * PAGE, PAGE + 1));
        assert!(!is_writable_as_advised(start + 4 * PAGE, 1));
        assert!(!is_writable_as_advised(PAGE, 1));
        // SAFETY: the rest of it.
        assert_eq!(unsafe { libc::munmap(block, 6 * PAGE) }, 0);
    }
}
