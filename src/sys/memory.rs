//! Mappings: a ring's shared memory, and regions of the engine's own that are committed as they are
//! touched. And what can be said about memory to compiler and processor.

use crate::sys::errno::Errno;
use linux_raw_sys::io_uring::{IORING_OFF_SQ_RING, IORING_OFF_SQES};
use std::ptr::NonNull;

/// What a ring shares with the kernel: its queues and its submission entries. Not inherited by a
/// forked child: the child's copy of a context must not reach the parent's queues, and must not
/// keep the ring alive.
pub(crate) struct RingMemory {
    pub(crate) queues: Mapping,
    pub(crate) entries: Mapping,
}

/// Bytes of a page, or fewer.
const SMALLEST_PAGE: usize = 4096;

pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl RingMemory {
    pub(crate) fn map(fd: i32, queues_len: usize, entries_len: usize) -> Result<Self, Errno> {
        let queues = Mapping::of_ring(fd, queues_len, IORING_OFF_SQ_RING.into())?;
        let entries = match Mapping::of_ring(fd, entries_len, IORING_OFF_SQES.into()) {
            Ok(entries) => entries,
            Err(errno) => {
                // SAFETY: mapped a moment ago, and nobody knows of it.
                unsafe { libc::munmap(queues.base.as_ptr().cast(), queues.len) };
                return Err(errno);
            }
        };
        let memory = RingMemory { queues, entries };
        memory.for_ranges(|base, len| {
            // SAFETY: a range of our mappings, whose contents stay.
            unsafe { libc::madvise(base.cast(), len, libc::MADV_DONTFORK) };
        });
        Ok(memory)
    }

    /// Both, as one range where they lie side by side, which is where the kernel puts them: a
    /// system call then does for both.
    fn for_ranges(&self, call: impl Fn(*mut u8, usize)) {
        let (mut low, mut high) = (&self.queues, &self.entries);
        if high.base < low.base {
            (low, high) = (high, low);
        }
        let apart = high.base.addr().get() - low.base.addr().get();
        // Nothing lies in less than a page.
        if apart - low.len < SMALLEST_PAGE {
            call(low.base.as_ptr(), apart + high.len);
        } else {
            call(low.base.as_ptr(), low.len);
            call(high.base.as_ptr(), high.len);
        }
    }

    /// Forgets the mappings without unmapping: in a forked child the addresses are not ours.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for RingMemory {
    fn drop(&mut self) {
        self.for_ranges(|base, len| {
            // SAFETY: a range of our mappings; the ring that points into them is gone with them.
            unsafe { libc::munmap(base.cast(), len) };
        });
    }
}

impl Mapping {
    fn of_ring(fd: i32, len: usize, offset: u64) -> Result<Mapping, Errno> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice, checked below.
        let base = unsafe {
            let base =
                libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, offset as libc::off_t);
            if base == libc::MAP_FAILED {
                return Err(Errno::last());
            }
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

    /// Huge pages are not wanted, whatever the machine's default is: one that is touched would be
    /// cleared and committed as a whole.
    pub(crate) fn forbid_huge(&self) {
        // SAFETY: our mapping; a hint.
        unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, libc::MADV_NOHUGEPAGE) };
    }

    /// Gives up the ownership; the memory stays until it is `restore`d.
    pub(crate) fn into_base(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).base
    }

    /// # Safety
    /// `base` is from `into_base` of a region of this length without huge pages, once.
    pub(crate) unsafe fn restore(base: NonNull<u8>, len: usize) -> Region {
        Region { base, len, huge: false }
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

/// A structure in a box, made there field by field: what is large is not moved to it. A field that
/// is not named does not compile.
macro_rules! boxed {
    ($type:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let _all_are_named = |made: $type| {
            let $type { $($field: _),* } = made;
        };
        let mut memory = Box::<$type>::new_uninit();
        let made = memory.as_mut_ptr();
        // SAFETY: memory for one, each of whose fields is written.
        unsafe {
            $((&raw mut (*made).$field).write($value);)*
            memory.assume_init()
        }
    }};
}

pub(crate) use boxed;

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn ranges(queues: (usize, usize), entries: (usize, usize)) -> Vec<(usize, usize)> {
        let mapping = |(address, len)| Mapping {
            base: NonNull::new(std::ptr::without_provenance_mut(address)).unwrap(),
            len,
        };
        let memory = RingMemory { queues: mapping(queues), entries: mapping(entries) };
        let calls = RefCell::new(Vec::new());
        memory.for_ranges(|base, len| calls.borrow_mut().push((base.addr(), len)));
        memory.forget();
        calls.into_inner()
    }

    #[test]
    fn mappings_side_by_side_are_one_range() {
        let (low, high) = ((0x10_0000, 8256), (0x10_3000, 8192));
        assert_eq!(ranges(low, high), [(0x10_0000, 0x5000)]);
        assert_eq!(ranges(high, low), [(0x10_0000, 0x5000)]);
        let far = (0x10_4000, 8192);
        assert_eq!(ranges(far, low), [low, far]);
        assert_eq!(ranges((0x10_0000, 0x3000), far), [(0x10_0000, 0x3000), far]);
    }
}
