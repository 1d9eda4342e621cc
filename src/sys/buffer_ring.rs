//! A ring of provided buffers as the kernel reads it: the engine puts free buffers in at the tail,
//! a receive takes the one at the head. Hides the layout, in which the tail lies in the first
//! entry's spare word, and the memory order of that word. `BufferQueue` is the other end, for the
//! epoll backend, which stands where the kernel stands.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU16;
use crate::sys::errno::Errno;
use crate::sys::memory::Region;
use linux_raw_sys::io_uring as abi;
use std::mem::offset_of;
use std::ptr::NonNull;

/// As many as the kernel takes in one ring.
pub(crate) const ENTRIES_MAX: u32 = 32_768;

#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    id: u16,
    /// The ring's tail in the first entry.
    tail: AtomicU16,
}

const _: () = {
    assert!(size_of::<Entry>() == size_of::<abi::io_uring_buf>());
    assert!(offset_of!(Entry, len) == offset_of!(abi::io_uring_buf, len));
    assert!(offset_of!(Entry, id) == offset_of!(abi::io_uring_buf, bid));
    assert!(offset_of!(Entry, tail) == offset_of!(abi::io_uring_buf, resv));
};

/// A buffer that is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Offer {
    pub addr: u64,
    pub len: u32,
    pub id: u16,
}

pub(crate) struct BufferRing {
    memory: Region,
    entries: u32,
    tail: u16,
}

impl BufferRing {
    /// `entries`: a power of two, [`ENTRIES_MAX`] at the most.
    pub(crate) fn create(entries: u32) -> Result<BufferRing, Errno> {
        debug_assert!(entries.is_power_of_two() && entries <= ENTRIES_MAX);
        let len = (entries as usize * size_of::<Entry>()).max(4096);
        Ok(BufferRing { memory: Region::create(len, false)?, entries, tail: 0 })
    }

    pub(crate) fn entries(&self) -> u32 {
        self.entries
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.base::<Entry>().as_ptr() as u64
    }

    fn entry(&self, position: u16) -> NonNull<Entry> {
        let index = u32::from(position) & (self.entries - 1);
        // SAFETY: the masked index is inside the region, which is zeroed, so that every entry is
        // one.
        unsafe { self.memory.base::<Entry>().add(index as usize) }
    }

    /// Offers a buffer, behind those that were offered before. The caller never offers more than
    /// there are entries.
    pub(crate) fn push(&mut self, offer: Offer) {
        let entry = self.entry(self.tail).as_ptr();
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: an entry of ours, behind the tail that the kernel has seen: it does not look at
        // it yet. The first one's last word is the tail, and is not written here.
        unsafe {
            (&raw mut (*entry).addr).write(offer.addr);
            (&raw mut (*entry).len).write(offer.len);
            (&raw mut (*entry).id).write(offer.id);
        }
        // SAFETY: as above. Release pairs with the kernel's acquire of the tail: the entry is
        // written before it.
        unsafe { (*self.entry(0).as_ptr()).tail.store(self.tail, Ordering::Release) };
    }

    /// Where the next offer goes.
    pub(crate) fn tail(&self) -> u16 {
        self.tail
    }

    /// Takes back what was offered from `head` on; the caller knows that nobody reads now.
    pub(crate) fn rewind(&mut self, head: u16) {
        self.tail = head;
        // SAFETY: as in `push`. Release: nothing is written before it, but what follows may be.
        unsafe { (*self.entry(0).as_ptr()).tail.store(head, Ordering::Release) };
    }

    /// The other end.
    pub(crate) fn queue(&self) -> BufferQueue {
        BufferQueue { entries: self.entry(0), mask: (self.entries - 1) as u16, head: 0 }
    }
}

/// The consumer's end of a `BufferRing`, which outlives it.
pub(crate) struct BufferQueue {
    entries: NonNull<Entry>,
    mask: u16,
    head: u16,
}

impl BufferQueue {
    /// The buffer whose turn it is; `advance` takes it.
    pub(crate) fn first(&self) -> Option<Offer> {
        // SAFETY: the ring's memory, which this thread alone uses; the masked index is inside.
        unsafe {
            if self.entries.as_ref().tail.load(Ordering::Relaxed) == self.head {
                return None;
            }
            let entry = self.entries.add(usize::from(self.head & self.mask)).as_ref();
            Some(Offer { addr: entry.addr, len: entry.len, id: entry.id })
        }
    }

    pub(crate) fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_in_the_order_of_their_offers_also_around_the_end() {
        let mut ring = BufferRing::create(4).unwrap();
        let mut queue = ring.queue();
        assert_eq!(queue.first(), None);
        for round in 0..70_000_u32 {
            let offer = Offer { addr: u64::from(round) << 20, len: round, id: round as u16 };
            ring.push(offer);
            assert_eq!(queue.first(), Some(offer));
            queue.advance();
            assert_eq!(queue.first(), None);
        }
    }
}
