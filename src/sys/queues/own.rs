//! Queues in memory of our own: what stands where the kernel stands uses these.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU32;
use crate::sys::entry::{Cqe, Sqe};
use crate::sys::errno::Errno;
use crate::sys::memory::Region;
use crate::sys::queues::{Memory, NARROW, Place, Queues, Shifts};
use linux_raw_sys::io_uring as abi;

/// The words that a ring's mapping begins with.
#[repr(C)]
struct Words {
    sq_tail: AtomicU32,
    sq_flags: AtomicU32,
    cq_head: AtomicU32,
    cq_tail: AtomicU32,
}

/// Sizes as io_uring_setup clamps them.
const SQ_ENTRIES_MAX: u32 = 32_768;
/// Where the entries begin in memory of our own.
const ENTRIES_AT: usize = 128;

impl Queues {
    /// Queues without a ring. Sizes are rounded and clamped as a ring's are.
    pub(crate) fn own(sq: u32, cq: u32, shifts: Shifts) -> Result<Queues, Errno> {
        let sq_entries = sq.clamp(1, SQ_ENTRIES_MAX).next_power_of_two();
        let cq_entries = cq.clamp(sq_entries, 2 * SQ_ENTRIES_MAX).next_power_of_two();
        let sqes_len = (sq_entries as usize) << shifts.sqe;
        let len = ENTRIES_AT + sqes_len + ((cq_entries as usize) << shifts.cqe);
        let region = Region::create(len.next_power_of_two().max(4096), false)?;
        let base = region.base::<u8>().as_ptr();
        // SAFETY: the region holds the words, then the entries of both queues; it is aligned to its
        // size, so that all of them are aligned.
        let (words, sqes, cqes) = unsafe {
            (&*base.cast::<Words>(), base.add(ENTRIES_AT), base.add(ENTRIES_AT + sqes_len))
        };
        Ok(Queues::over(Place {
            sqes,
            cqes,
            sq_entries,
            cq_entries,
            shifts,
            sq_tail: &raw const words.sq_tail,
            sq_flags: &raw const words.sq_flags,
            sq_head: None,
            cq_head: &raw const words.cq_head,
            cq_tail: &raw const words.cq_tail,
            memory: Memory::Own(region),
        }))
    }

    /// Takes the oldest staged entry; there is room for others when none is left.
    #[inline(always)]
    pub(crate) fn take_staged(&mut self) -> Option<Sqe> {
        if self.staged() == 0 {
            self.set_limit();
            return None;
        }
        let offset = ((self.sq_taken & self.sq_mask) as usize) << self.sqe_shift;
        // SAFETY: the masked offset is inside the memory of entries, and this entry was staged.
        let entry = unsafe { self.sqes.add(offset).cast::<Sqe>().read() };
        self.sq_taken = self.sq_taken.wrapping_add(1);
        Some(entry)
    }

    /// Adds a completion; false if there is no room.
    #[inline(always)]
    pub(crate) fn complete(&mut self, cqe: Cqe) -> bool {
        // SAFETY: in our memory, which only this thread uses.
        let tail = unsafe { (*self.cq_tail_shared).load(Ordering::Relaxed) };
        if tail.wrapping_sub(self.cq_head(self.cqe_shift)) == self.cq_entries {
            return false;
        }
        let offset = ((tail & self.cq_mask) as usize) << self.cqe_shift;
        // SAFETY: the masked offset is inside the memory of entries, and this one is free.
        unsafe {
            let entry = self.cqes.add(offset).cast::<u64>();
            entry.write(cqe.user_data);
            entry.add(1).write(u64::from(cqe.flags) << 32 | u64::from(cqe.result as u32));
            if self.cqe_shift != NARROW.cqe {
                entry.add(2).write(cqe.extra);
                entry.add(3).write(0);
            }
            (*self.cq_tail_shared).store(tail.wrapping_add(1), Ordering::Relaxed);
        }
        true
    }

    /// Says whether completions wait for room.
    pub(crate) fn set_overflown(&mut self, overflown: bool) {
        let flags = if overflown { abi::IORING_SQ_CQ_OVERFLOW } else { 0 };
        // SAFETY: in our memory.
        unsafe { (*self.sq_flags).store(flags, Ordering::Relaxed) };
    }
}
