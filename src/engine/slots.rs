//! Where operations in flight live: 64-byte slots in pages whose addresses never change, found by
//! index, named by generation. Hides how an id is made and when a slot may be used again. A slot is
//! freed only at its operation's last completion and retired when its generations are used up, so
//! that an old id can never name a newer operation (contract, line 5).

use crate::op::traits;
use crate::sys::errno::Errno;
use std::num::NonZeroU32;

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const PAGE_BITS: u32 = 8;
const PAGE: usize = 1 << PAGE_BITS;

/// The last index is never given out: the engine's own submissions carry it.
pub(crate) const SLOTS_MAX: u32 = (1 << INDEX_BITS) - 1;

/// Where an operation is. The low bits of a slot's state.
pub(crate) mod phase {
    pub(crate) const FREE: u32 = 0;
    /// Staged or in the backend.
    pub(crate) const BACKEND: u32 = 1;
    /// A timer in the wheel.
    pub(crate) const WHEEL: u32 = 2;
    /// Waits for the engine: an open chain, a barrier, other operations on its descriptor.
    pub(crate) const HELD: u32 = 3;
    /// Its last completion waits in the engine's own queue.
    pub(crate) const READY: u32 = 4;
    pub(crate) const MASK: u32 = 7;
}

/// Facts about an operation in flight; the bits above its phase. Bits 8 to 14 are `op::traits`.
pub(crate) mod state {
    use crate::op::traits;

    /// In the list of its descriptor.
    pub(crate) const LISTED: u32 = 1 << 3;
    /// In the wheel or in the list of the expired.
    pub(crate) const TIMED: u32 = 1 << 4;
    /// Has a cold part.
    pub(crate) const COLD: u32 = 1 << 5;
    /// A timer that fires again and again.
    pub(crate) const INTERVAL: u32 = 1 << 6;
    /// Its completions are disposed of: nobody waits (detach, cancel_wait).
    pub(crate) const DISCARD: u32 = 1 << 15;
    /// Cancelled by the caller.
    pub(crate) const CANCELLED: u32 = 1 << 16;
    /// Its deadline has passed.
    pub(crate) const EXPIRED: u32 = 1 << 17;
    /// Cancelled by destroy or by another member of its chain.
    pub(crate) const ABORTED: u32 = 1 << 18;
    /// The caller is told of failures only.
    pub(crate) const QUIET: u32 = 1 << 19;
    /// The deadline starts anew at each completion.
    pub(crate) const IDLE_DEADLINE: u32 = 1 << 20;
    /// A member of a chain.
    pub(crate) const CHAINED: u32 = 1 << 21;
    /// A close that waits for the other operations on its descriptor.
    pub(crate) const CLOSE_WAITS: u32 = 1 << 22;
    /// Held by a barrier.
    pub(crate) const BARRIER: u32 = 1 << 23;

    /// Why an operation was asked to end; the first reason counts.
    pub(crate) const ENDED: u32 = CANCELLED | EXPIRED | ABORTED;
    /// What makes a completion more than a slot, a callback and a result.
    pub(crate) const SPECIAL: u32 = TIMED
        | COLD
        | INTERVAL
        | DISCARD
        | ENDED
        | QUIET
        | IDLE_DEADLINE
        | CHAINED
        | CLOSE_WAITS
        | BARRIER
        | traits::HEADER_OUT
        | traits::MULTISHOT;
}

const _: () = assert!(traits::MULTISHOT > state::INTERVAL && traits::REARMS < state::DISCARD);
const _: () = assert!(size_of::<Slot>() == 64);

/// One operation. `tag` is `generation << 24 | epoch << 8 | opcode`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    tag: u64,
    pub callback: usize,
    pub user_data: usize,
    pub state: u32,
    pub fd: i32,
    /// Neighbours in the list of the descriptor (`descriptors.rs`); the next free slot when free.
    pub fd_next: u32,
    pub fd_prev: u32,
    /// Neighbours in a list of the wheel (`wheel.rs`).
    pub timer_next: u32,
    pub timer_prev: u32,
    /// The wheel's tick at which the deadline has passed.
    pub tick: u64,
    /// Key of the cold part, plus one.
    pub cold: u32,
    /// When it was submitted, in milliseconds of the engine's coarse clock.
    pub submitted_ms: u32,
}

impl Slot {
    const EMPTY: Slot = Slot {
        tag: 0,
        callback: 0,
        user_data: 0,
        state: phase::FREE,
        fd: -1,
        fd_next: 0,
        fd_prev: 0,
        timer_next: 0,
        timer_prev: 0,
        tick: 0,
        cold: 0,
        submitted_ms: 0,
    };

    #[inline(always)]
    pub(crate) fn phase(&self) -> u32 {
        self.state & phase::MASK
    }

    #[inline(always)]
    pub(crate) fn set_phase(&mut self, phase: u32) {
        self.state = self.state & !phase::MASK | phase;
    }

    #[inline(always)]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.state & bits != 0
    }

    pub(crate) fn opcode(&self) -> u8 {
        self.tag as u8
    }

    pub(crate) fn epoch(&self) -> u16 {
        (self.tag >> 8) as u16
    }

    pub(crate) fn set_epoch(&mut self, epoch: u16) {
        self.tag = self.tag & !0xff_ff00 | u64::from(epoch) << 8;
    }

    pub(crate) fn cold_key(&self) -> Option<usize> {
        NonZeroU32::new(self.cold).map(|key| key.get() as usize - 1)
    }
}

pub(crate) struct Slots {
    pages: Vec<Box<[Slot; PAGE]>>,
    /// Index plus one of the first free slot.
    free: u32,
    /// Slots that were ever put on the free list.
    created: u32,
    taken: u64,
    released: u64,
    retired: u32,
    first_generation: u64,
    /// Most operations at a time.
    limit: u32,
}

impl Slots {
    /// `random` decides where the generations begin.
    pub(crate) fn new(limit: u32, random: u64) -> Slots {
        Slots {
            pages: Vec::new(),
            free: 0,
            created: 0,
            taken: 0,
            released: 0,
            retired: 0,
            // Below half of the range, so that each slot has 2^38 uses at the least, and not 0,
            // so that an id is positive.
            first_generation: (random >> (64 - 38)).max(1),
            limit: limit.min(SLOTS_MAX),
        }
    }

    /// Operations in flight.
    pub(crate) fn live(&self) -> u32 {
        (self.taken - self.released) as u32
    }

    /// Operations that ever were.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Operations that ended.
    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> &Slot {
        &self.pages[(index >> PAGE_BITS) as usize][index as usize & (PAGE - 1)]
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.pages[(index >> PAGE_BITS) as usize][index as usize & (PAGE - 1)]
    }

    /// The slot that `id` names, if its operation is in flight.
    #[inline(always)]
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        let index = (id & INDEX_MASK) as u32;
        let page = self.pages.get((index >> PAGE_BITS) as usize)?;
        let slot = &page[index as usize & (PAGE - 1)];
        ((slot.tag ^ id) >> INDEX_BITS == 0 && slot.phase() != phase::FREE).then_some(index)
    }

    #[inline(always)]
    pub(crate) fn id(&self, index: u32) -> u64 {
        self.at(index).tag & !INDEX_MASK | u64::from(index)
    }

    /// Takes a free slot. The caller fills it.
    #[inline(always)]
    pub(crate) fn take(&mut self, opcode: u8, epoch: u16) -> Result<(u32, u64, &mut Slot), Errno> {
        if self.free == 0 {
            self.grow()?;
        }
        let index = self.free - 1;
        self.taken += 1;
        let page = &mut self.pages[(index >> PAGE_BITS) as usize];
        let slot = &mut page[index as usize & (PAGE - 1)];
        self.free = slot.fd_next;
        let generation = slot.tag & !INDEX_MASK;
        slot.tag = generation | u64::from(epoch) << 8 | u64::from(opcode);
        Ok((index, generation | u64::from(index), slot))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), Errno> {
        let limit = self.limit.saturating_add(self.retired).min(SLOTS_MAX);
        if self.created >= limit {
            return Err(Errno::EAGAIN);
        }
        if self.created as usize == self.pages.len() * PAGE {
            self.pages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            let mut page = Vec::new();
            page.try_reserve_exact(PAGE).map_err(|_| Errno::ENOMEM)?;
            page.resize(PAGE, Slot::EMPTY);
            self.pages.push(page.into_boxed_slice().try_into().map_err(|_| Errno::ENOMEM)?);
        }
        let (first, end) = (self.created, limit.min((self.pages.len() * PAGE) as u32));
        self.created = end;
        // In reverse, so that the lowest index comes first.
        for index in (first..end).rev() {
            let (tag, free) = (self.first_generation << INDEX_BITS, self.free);
            let slot = self.at_mut(index);
            slot.tag = tag;
            slot.fd_next = free;
            self.free = index + 1;
        }
        Ok(())
    }

    /// Frees a slot for its next generation, or retires it.
    #[inline(always)]
    pub(crate) fn release(&mut self, index: u32) {
        self.released += 1;
        let free = self.free;
        let slot = self.at_mut(index);
        slot.state = phase::FREE;
        let next = (slot.tag & !INDEX_MASK).wrapping_add(1 << INDEX_BITS);
        slot.tag = next;
        if (next as i64) < 0 {
            self.retired += 1;
            return;
        }
        slot.fd_next = free;
        self.free = index + 1;
    }

    /// All slots in flight, by index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.pages
            .iter()
            .flat_map(|page| page.iter())
            .enumerate()
            .filter(|(_, slot)| slot.phase() != phase::FREE)
            .map(|(index, slot)| (index as u32, slot))
    }

    /// One above the highest index, for walks that change what they walk over.
    pub(crate) fn end(&self) -> u32 {
        self.created
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &mut Slots) -> (u32, u64) {
        let (index, id, slot) = slots.take(0, 0).unwrap();
        slot.state = phase::BACKEND;
        (index, id)
    }

    #[test]
    fn a_freed_slot_has_another_id() {
        let mut slots = Slots::new(SLOTS_MAX, 7 << 40);
        let (index, old) = take(&mut slots);
        slots.release(index);
        let (again, new) = take(&mut slots);
        assert_eq!(index, again);
        assert_ne!(old, new);
        assert_eq!(slots.find(old), None);
        assert_eq!(slots.find(new), Some(index));
        assert!((new as i64) > 0);
    }

    #[test]
    fn a_slot_is_retired_when_its_generations_are_used_up() {
        let mut slots = Slots::new(1, u64::MAX);
        let (index, _) = take(&mut slots);
        slots.at_mut(index).tag = (i64::MAX as u64) & !INDEX_MASK;
        let id = slots.id(index);
        slots.release(index);
        assert_eq!(slots.find(id), None);
        let (next, _) = take(&mut slots);
        assert_ne!(next, index, "the limit counts usable slots, so a new one replaces it");
        assert!(slots.take(0, 0).is_err());
    }

    #[test]
    fn the_limit_is_exact_over_pages() {
        let mut slots = Slots::new(300, 1);
        let all: Vec<_> = (0..300).map(|_| take(&mut slots).0).collect();
        assert_eq!(slots.take(0, 0).err(), Some(Errno::EAGAIN));
        slots.release(all[299]);
        assert_eq!(take(&mut slots).0, all[299]);
    }

    #[test]
    fn foreign_ids_are_unknown() {
        let slots = Slots::new(10, 1);
        for id in [0, 1, u64::MAX, 1 << 63, 0xff_ffff] {
            assert_eq!(slots.find(id), None);
        }
    }
}
