//! Mappings of a ring's shared memory.

use crate::sys::errno::Errno;
use std::ptr::NonNull;

/// A shared mapping of a ring descriptor, not inherited by a forked child: the child's copy of a
/// context must not reach the parent's queues, and must not keep the ring alive.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(crate) fn of_ring(fd: i32, len: usize, offset: u64) -> Result<Mapping, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice, checked below.
        let base = unsafe {
            let base =
                libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, offset as libc::off_t);
            if base == libc::MAP_FAILED {
                return Err(Errno::last());
            }
            libc::madvise(base, len, libc::MADV_DONTFORK);
            NonNull::new_unchecked(base.cast::<u8>())
        };
        Ok(Mapping { base, len })
    }

    /// The address `offset` bytes in. Panics outside the mapping: offsets come from the kernel.
    pub(crate) fn at<T>(&self, offset: u32) -> *mut T {
        let offset = offset as usize;
        assert!(offset + size_of::<T>() <= self.len && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: inside the mapping, by the assertion.
        unsafe { self.base.as_ptr().add(offset).cast() }
    }

    /// Forgets the mapping without unmapping: in a forked child the address is not ours.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `of_ring`; the ring that points into it is gone with it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
