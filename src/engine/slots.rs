//! Where operations in flight live: 64-byte slots in regions whose addresses never change, found by
//! index, named by generation. Hides how an id is made and when a slot may be used again. A slot is
//! freed only at its operation's last completion and retired when its generations are used up, so
//! that an old id can never name a newer operation (contract, line 5).

use crate::engine::counts::Row;
use crate::engine::descriptors::DIRECT;
use crate::op::{NO_DESCRIPTOR, traits};
use crate::sys::errno::Errno;
use crate::sys::memory::{self, Region};
use crate::sys::spare::Spare;
use std::num::NonZeroU32;
use std::ptr::NonNull;

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// The opcode is in the highest byte of a slot's state.
pub(crate) const OPCODE_SHIFT: u32 = 24;

const PAGE_BITS: u32 = 15;
const PAGE: usize = 1 << PAGE_BITS;
/// How many slots are made at once.
const BATCH: u32 = 64;
/// Which of them comes first. Slots and entries are as long, and where operations end in the order
/// in which they were submitted both advance in step. Then no slot shall have the lowest 12 bits of
/// its address from the entry before: processors look for earlier stores by these, and wait for
/// what they take for one (AMD's optimization guides on store-to-load forwarding).
const FIRST: u32 = BATCH / 2;

/// The last index is never given out: the engine's own submissions carry it.
pub(crate) const SLOTS_MAX: u32 = (1 << INDEX_BITS) - 1;

/// The slot index in an id.
#[inline(always)]
pub(crate) fn index_of(id: u64) -> u32 {
    (id & INDEX_MASK) as u32
}

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
    /// Has its result; the backend still reads its memory, and will notify (`zero_copy.rs`).
    pub(crate) const NOTIFY: u32 = 5;
    /// Neither the backend nor the engine ends it (`external.rs`).
    pub(crate) const EXTERNAL: u32 = 6;
    pub(crate) const MASK: u32 = 7;
}

/// Facts about an operation in flight; the bits above its phase. Bits 8 to 14 are `op::traits`.
pub(crate) mod state {
    use crate::op::traits;

    /// In the list of its descriptor.
    pub(crate) const LISTED: u32 = 1 << 3;
    /// Armed in the wheel.
    pub(crate) const TIMED: u32 = 1 << 4;
    /// Has a cold part.
    pub(crate) const COLD: u32 = 1 << 5;
    /// The caller wants records, and no calls (`AIO_CALLBACK_REAP`), or is a service.
    pub(crate) const RECORDS: u32 = 1 << 6;
    /// A failure for lack of a reader raises SIGPIPE.
    pub(crate) const SIGPIPE: u32 = 1 << 7;
    /// A cancel request for it will be repeated.
    pub(crate) const RETRIED: u32 = 1 << 12;
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
        | RECORDS
        | DISCARD
        | ENDED
        | QUIET
        | IDLE_DEADLINE
        | CHAINED
        | CLOSE_WAITS
        | BARRIER
        | SIGPIPE
        | traits::SPECIAL;
}

const _: () = assert!(traits::KEPT & (phase::MASK | state::SPECIAL & !traits::SPECIAL) == 0);
const _: () = assert!(traits::KEPT & (state::LISTED | state::RETRIED) == 0);
const _: () = assert!(size_of::<Slot>() == 64 && (PAGE as u32).is_multiple_of(BATCH));

/// One operation.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// The id of the operation in flight, or of the next one.
    id: u64,
    /// The callback; the next free slot when free.
    pub callback: usize,
    pub user_data: usize,
    pub state: u32,
    pub fd: i32,
    /// Neighbours in the list of the descriptor (`descriptors.rs`).
    pub fd_next: u32,
    pub fd_prev: u32,
    /// Key of the cold part, plus one. Without one, the group of the pool that it takes its buffers
    /// from, plus one.
    pub cold: u32,
    /// When it was submitted, in milliseconds of the engine's coarse clock.
    pub submitted_ms: u32,
    /// The same exactly, and whether a result has come, where that is observed (`observer.rs`).
    pub submitted_ns: u64,
    pub is_answered: bool,
}

impl Slot {
    #[inline(always)]
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

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
        (self.state >> OPCODE_SHIFT) as u8
    }

    /// The descriptor's number; -1 without one, and for a slot of the table.
    pub(crate) fn descriptor(&self) -> i32 {
        if self.fd < DIRECT { self.fd } else { NO_DESCRIPTOR }
    }

    pub(crate) fn cold_key(&self) -> Option<usize> {
        if self.has(state::COLD) {
            NonZeroU32::new(self.cold).map(|key| key.get() as usize - 1)
        } else {
            None
        }
    }
}

/// A slot that was looked up, good until the slots change.
#[derive(Clone, Copy)]
pub(crate) struct Candidate(NonNull<Slot>);

impl Candidate {
    /// A slot that was just taken.
    #[inline(always)]
    pub(crate) fn taken(slot: &mut Slot) -> Candidate {
        Candidate(NonNull::from(slot))
    }

    #[inline(always)]
    pub(crate) fn slot(&self, _: &Slots) -> &Slot {
        // SAFETY: pages are never freed while their `Slots` lives, whose borrow keeps writers away.
        unsafe { self.0.as_ref() }
    }
}

pub(crate) struct Slots {
    /// The first free slot, or null. Slots link through `callback`.
    free: *mut Slot,
    taken: u64,
    released: u64,
    /// The slots of the first page: all that most contexts need.
    first: NonNull<Slot>,
    pages: Vec<Page>,
    /// Slots that were ever put on the free list.
    created: u32,
    retired: u32,
    first_generation: u64,
    /// Most operations at a time.
    limit: u32,
}

/// A page of slots, two megabytes of which only what is used is committed. Slots are reached
/// through raw pointers only, never through a reference to the page, because the free list keeps
/// pointers.
struct Page(Region);

const PAGE_BYTES: usize = PAGE * size_of::<Slot>();

/// The first page of a context that is gone: making one, with its first page fault, is a fifth of
/// what a context costs.
static SPARE: Spare<u8> = Spare::new();
/// A page is kept if no more slots than these were used.
const SPARE_SLOTS: u32 = 1024;

/// The next first page is a new one, whose memory is where its thread runs.
pub(crate) fn drop_spare() {
    drop(Page::spare());
}

impl Page {
    /// The first page of a context that is gone.
    fn spare() -> Option<Page> {
        // SAFETY: `keep` put it there.
        SPARE.take().map(|base| Page(unsafe { Region::restore(base, PAGE_BYTES) }))
    }

    /// A context's first page.
    fn first() -> Result<Page, Errno> {
        if let Some(page) = Page::spare() {
            return Ok(page);
        }
        let region = Region::create(PAGE_BYTES, false)?;
        region.forbid_huge();
        Ok(Page(region))
    }

    /// A context with a second page has so many slots that huge pages save more than they waste.
    fn another() -> Result<Page, Errno> {
        Region::create(PAGE_BYTES, true).map(Page)
    }

    /// Keeps a first page of which so many slots were used, or frees it.
    fn keep(self, used: u32) {
        if used > SPARE_SLOTS {
            return;
        }
        let base = self.0.into_base();
        // SAFETY: the beginning of the page, which its context has done with.
        unsafe { base.write_bytes(0, used as usize * size_of::<Slot>()) };
        if !SPARE.keep(base) {
            // SAFETY: from `into_base`, a moment ago.
            drop(unsafe { Region::restore(base, PAGE_BYTES) });
        }
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> NonNull<Slot> {
        // SAFETY: the masked index is inside the page. Zeroes, as the page begins, are a free slot.
        unsafe { self.0.base::<Slot>().add(index as usize & (PAGE - 1)) }
    }
}

impl Slots {
    /// `random` decides where the generations begin.
    pub(crate) fn new(limit: u32, random: u64) -> Result<Slots, Errno> {
        let page = Page::first()?;
        Ok(Slots {
            free: std::ptr::null_mut(),
            taken: 0,
            released: 0,
            first: page.slot(0),
            pages: vec![page],
            created: 0,
            retired: 0,
            // Below half of the range, so that each slot has 2^38 uses at the least, and not 0,
            // so that an id is positive.
            first_generation: (random >> (64 - 38)).max(1),
            limit: limit.min(SLOTS_MAX),
        })
    }

    /// Operations in flight, without hidden ones.
    pub(crate) fn live(&self) -> u32 {
        (self.taken - self.released) as u32
    }

    /// From now on the operation that was taken last is not counted; `unhide` when it is released.
    pub(crate) fn hide(&mut self) {
        self.taken -= 1;
    }

    pub(crate) fn unhide(&mut self) {
        self.released -= 1;
    }

    /// Whether the counters by opcode have seen the same.
    pub(crate) fn agree_with(&self, total: &Row) -> bool {
        cfg!(aio_uncounted) || (total.submitted, total.completed) == (self.taken, self.released)
    }

    /// Operations that were ever taken, without hidden ones.
    pub(crate) fn submitted(&self) -> u64 {
        self.taken
    }

    /// Operations that ended.
    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    #[inline(always)]
    fn pointer(&self, index: u32) -> *mut Slot {
        if (index as usize) < PAGE {
            return self.first_slot(index).as_ptr();
        }
        self.pages[(index >> PAGE_BITS) as usize].slot(index).as_ptr()
    }

    /// The slot of an index if that is in the first page.
    #[inline(always)]
    fn first_slot(&self, index: u32) -> NonNull<Slot> {
        // SAFETY: the masked index is inside the page, which stays where it is.
        unsafe { self.first.add(index as usize & (PAGE - 1)) }
    }

    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> &Slot {
        // SAFETY: inside a page; `&self` keeps every writer away.
        unsafe { &*self.pointer(index) }
    }

    #[inline(always)]
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Slot {
        // SAFETY: inside a page; `&mut self` keeps every other reference away.
        unsafe { &mut *self.pointer(index) }
    }

    /// The slot that `id` names, if its operation is in flight.
    pub(crate) fn find(&self, id: u64) -> Option<u32> {
        let index = (id & INDEX_MASK) as u32;
        if index >= self.created {
            return None;
        }
        let slot = self.at(index);
        (slot.id == id && slot.phase() != phase::FREE).then_some((id & INDEX_MASK) as u32)
    }

    /// How many operations had the slot of `id` before it, if it is one of ours.
    #[inline(always)]
    pub(crate) fn uses(&self, id: u64) -> u64 {
        (id >> INDEX_BITS).wrapping_sub(self.first_generation)
    }

    /// Brings a slot into the cache without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(page) = self.pages.get((index >> PAGE_BITS) as usize) {
            memory::prefetch(page.slot(index).as_ptr());
        }
    }

    /// The slot of an index.
    #[inline(always)]
    pub(crate) fn candidate_at(&self, index: u32) -> Candidate {
        // SAFETY: a pointer into a page.
        Candidate(unsafe { NonNull::new_unchecked(self.pointer(index)) })
    }

    /// The slot that bears `id`, in flight or not.
    #[inline(always)]
    pub(crate) fn candidate(&mut self, id: u64) -> Option<Candidate> {
        let near = Candidate(self.first_slot(id as u32));
        if near.slot(self).id == id { Some(near) } else { self.far_candidate(id) }
    }

    #[cold]
    #[inline(never)]
    fn far_candidate(&mut self, id: u64) -> Option<Candidate> {
        let index = index_of(id);
        let far = Candidate(self.pages.get((index >> PAGE_BITS) as usize)?.slot(index));
        (far.slot(self).id == id).then_some(far)
    }

    #[inline(always)]
    pub(crate) fn id(&self, index: u32) -> u64 {
        self.at(index).id
    }

    /// Takes a free slot, which the caller fills, and its id.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<(u64, &mut Slot), Errno> {
        if self.free.is_null() {
            self.grow()?;
        }
        self.take_free().ok_or(Errno::EAGAIN)
    }

    /// The same without making more slots.
    #[inline(always)]
    pub(crate) fn take_free(&mut self) -> Option<(u64, &mut Slot)> {
        // SAFETY: the free list holds valid slots of our pages that nobody else refers to.
        let slot = unsafe { self.free.as_mut() }?;
        self.free = slot.callback as *mut Slot;
        self.taken += 1;
        Some((slot.id, slot))
    }

    /// The id that `take_free` would give.
    #[inline(always)]
    pub(crate) fn next_id(&self) -> Option<u64> {
        // SAFETY: as in `take_free`.
        unsafe { self.free.as_ref() }.map(|slot| slot.id)
    }

    /// Whether `take_free` has one.
    #[inline(always)]
    pub(crate) fn has_free(&self) -> bool {
        !self.free.is_null()
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
            self.pages.push(Page::another()?);
        }
        let (first, end) = (self.created, limit.min(self.created + BATCH));
        self.created = end;
        // In reverse: what is put last comes first. See `FIRST`.
        let order = (first..end).map(|index| first + (index - first + FIRST) % (end - first));
        for index in order.rev() {
            let (id, free) = (self.first_generation << INDEX_BITS | u64::from(index), self.free);
            let slot = self.at_mut(index);
            slot.id = id;
            slot.callback = free as usize;
            self.free = slot;
        }
        Ok(())
    }

    /// Frees a slot for its next generation, or retires it.
    pub(crate) fn release(&mut self, index: u32) {
        let slot = NonNull::from(self.at_mut(index));
        self.release_candidate(Candidate(slot));
    }

    /// The same for a slot that was looked up.
    #[inline(always)]
    pub(crate) fn release_candidate(&mut self, candidate: Candidate) {
        self.released += 1;
        let free = self.free;
        let mut pointer = candidate.0;
        // SAFETY: a candidate points into a page of ours; `&mut self` keeps other references away.
        let slot = unsafe { pointer.as_mut() };
        slot.state = phase::FREE;
        slot.callback = free as usize;
        slot.id = slot.id.wrapping_add(1 << INDEX_BITS);
        if (slot.id as i64) < 0 {
            seldom();
            self.retired += 1;
            return;
        }
        self.free = slot;
    }

    /// All slots in flight, by index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..self.created)
            .map(|index| (index, self.at(index)))
            .filter(|(_, slot)| slot.phase() != phase::FREE)
    }

    /// One above the highest index, for walks that change what they walk over.
    pub(crate) fn end(&self) -> u32 {
        self.created
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.pages.truncate(1);
        if let Some(first) = self.pages.pop() {
            first.keep(self.created);
        }
    }
}

/// Tells the compiler that a branch is hardly ever taken.
#[cold]
#[inline]
fn seldom() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(slots: &mut Slots) -> (u32, u64) {
        let (id, slot) = slots.take().unwrap();
        slot.state = phase::BACKEND;
        (index_of(id), id)
    }

    #[test]
    fn a_freed_slot_has_another_id() {
        let mut slots = Slots::new(SLOTS_MAX, 7 << 40).unwrap();
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
        let mut slots = Slots::new(1, u64::MAX).unwrap();
        let (index, _) = take(&mut slots);
        slots.at_mut(index).id = (i64::MAX as u64) & !INDEX_MASK;
        let id = slots.id(index);
        slots.release(index);
        assert_eq!(slots.find(id), None);
        let (next, _) = take(&mut slots);
        assert_ne!(next, index, "the limit counts usable slots, so a new one replaces it");
        assert!(slots.take().is_err());
    }

    #[test]
    fn the_limit_is_exact_over_pages() {
        let mut slots = Slots::new(300, 1).unwrap();
        let all: Vec<_> = (0..300).map(|_| take(&mut slots).0).collect();
        assert_eq!(slots.take().err(), Some(Errno::EAGAIN));
        slots.release(all[299]);
        assert_eq!(take(&mut slots).0, all[299]);
    }

    #[test]
    fn a_page_that_was_used_before_begins_as_zeroes() {
        for used in [1, BATCH, 3 * BATCH, SPARE_SLOTS + 1] {
            let mut slots = Slots::new(SLOTS_MAX, 1).unwrap();
            (0..used).for_each(|_| _ = take(&mut slots));
            drop(slots);
            let fresh = Slots::new(SLOTS_MAX, 1).unwrap();
            for index in 0..used {
                let slot = fresh.at(index);
                assert_eq!((slot.id, slot.state, slot.callback), (0, 0, 0));
            }
        }
    }

    #[test]
    fn foreign_ids_are_unknown() {
        let slots = Slots::new(10, 1).unwrap();
        for id in [0, 1, u64::MAX, 1 << 63, 0xff_ffff] {
            assert_eq!(slots.find(id), None);
        }
    }
}
