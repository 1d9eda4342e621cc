//! Mappings: a ring's shared memory, and regions of the engine's own that are committed as they are
//! touched.

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

/// Private zeroed memory at an address that is a multiple of its size. Costs address space at once
/// and memory as it is touched.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    huge: bool,
}

/// What the kernel's huge pages are on most machines.
const HUGE: usize = 2 << 20;

impl Region {
    /// `len`: a power of two, a page at least. `huge`: worth huge pages, which commits it in such
    /// pieces.
    pub(crate) fn create(len: usize, huge: bool) -> Result<Region, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping of twice the size, of which an aligned half is kept.
        let (base, huge) = unsafe {
            let mapped = libc::mmap(std::ptr::null_mut(), 2 * len, protection, flags, -1, 0);
            if mapped == libc::MAP_FAILED {
                return Err(Errno::ENOMEM);
            }
            let head = mapped.align_offset(len);
            let base = mapped.byte_add(head);
            if head > 0 {
                libc::munmap(mapped, head);
            }
            libc::munmap(base.byte_add(len), len - head);
            let huge = huge && len >= HUGE && libc::madvise(base, len, libc::MADV_HUGEPAGE) == 0;
            (NonNull::new_unchecked(base.cast::<u8>()), huge)
        };
        Ok(Region { base, len, huge })
    }

    /// Whether the kernel was told that huge pages are wanted, and there is room for one.
    pub(crate) fn is_huge(&self) -> bool {
        self.huge
    }

    pub(crate) fn base<T>(&self) -> NonNull<T> {
        self.base.cast()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A forked child finds zeroes there: pages that are pinned would be copied in fork.
    pub(crate) fn wipe_on_fork(&self) {
        // SAFETY: our mapping; its contents stay. Kernels that refuse (before 4.14) copy.
        unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, libc::MADV_WIPEONFORK) };
    }
}

/// What the processor moves at a time, on all that are common.
const CACHE_LINE: usize = 64;

/// Asks for the cache line at an address that will be used soon. Waits for nothing, and an address
/// that is not mapped does no harm.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; nothing is read.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint; nothing is read.
    unsafe {
        std::arch::asm!(
            "prfm pstl1keep, [{}]",
            in(reg) address,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// The same for all that something occupies.
pub(crate) fn prefetch_all<T>(object: &T) {
    let first = std::ptr::from_ref(object).cast::<u8>();
    (0..size_of::<T>()).step_by(CACHE_LINE).for_each(|at| prefetch(first.wrapping_add(at)));
}

/// Bytes of a page.
pub(crate) fn page_size() -> usize {
    // SAFETY: no pointers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the part of the mapping that `create` kept; its owner is gone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
