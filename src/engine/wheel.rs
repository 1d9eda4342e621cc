//! Time: a hierarchical wheel of deadlines. Hides how they are ordered. Eleven levels of 64 buckets
//! cover every 64-bit tick; arming and disarming are O(1) whatever is outstanding; an entry moves
//! down at most once per level. A tick is rounded up, so nothing fires early; equal ticks fire in
//! the order in which they were armed.
//!
//! A bucket holds plain entries in chunks, not links between slots. What a slot is armed with, its
//! stamp, is in a table of its own: an entry with another stamp is stale, and skipped when its turn
//! comes. So arming and disarming touch no other slot's memory, and a look at an entry does not
//! touch its slot's. When too many entries are stale they are swept out.
//!
//! The stamp of a timer that is nothing else follows from its id, so that it can be disarmed by id
//! without a look at its slot, which among a million is far away: the table is a sixteenth of them.

use crate::engine::slots::{Slots, state};
use crate::sys::memory;
use std::collections::{HashMap, VecDeque};

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const LEVELS: usize = 11;
const CHUNK: usize = 62;
/// The stamp of a slot that is not armed. Stamps from ids are even.
const DISARMED: u32 = 1;
/// How far ahead of what expires slots are brought into the cache.
const AHEAD: usize = 12;
/// A sweep is due when there are so many entries per armed one, and so many more.
const STALE_RATIO: u64 = 4;
const STALE_MIN: u64 = 4096;

#[derive(Clone, Copy)]
struct Entry {
    tick: u64,
    index: u32,
    stamp: u32,
}

/// An arming whose time begins when the clock is next read.
struct Fresh {
    after_ns: u64,
    index: u32,
    stamp: u32,
}

/// A piece of a bucket: `entries[start..end]`.
struct Chunk {
    /// The next chunk plus one.
    next: u32,
    start: u16,
    end: u16,
    entries: [Entry; CHUNK],
}

/// First and last chunk plus one.
#[derive(Clone, Copy, Default)]
struct Bucket {
    first: u32,
    last: u32,
}

/// For `arm`: the slot may be armed several times in one use.
pub(crate) const AGAIN: u64 = u64::MAX;

/// The stamp by which a slot is armed once in a use.
#[inline(always)]
fn stamp_of(uses: u64) -> Option<u32> {
    (uses >> 31 == 0).then_some((uses as u32) << 1)
}

/// What `armed_by` found.
pub(crate) struct Armed<'a> {
    stamp: &'a mut u32,
    armed: &'a mut u64,
}

impl Armed<'_> {
    /// The slot's state is left as it is: it says TIMED, and `is_armed` denies it.
    #[inline(always)]
    pub(crate) fn disarm(self) {
        *self.stamp = DISARMED;
        *self.armed -= 1;
    }
}

pub(crate) struct Wheel {
    /// A tick is `1 << shift` nanoseconds.
    shift: u32,
    /// All ticks up to this one have fired.
    elapsed: u64,
    /// Slots that are armed.
    armed: u64,
    /// Entries, stale ones included.
    entries: u64,
    occupied: [u64; LEVELS],
    /// Made when a level is first needed.
    levels: [Option<Box<[Bucket; BUCKETS]>>; LEVELS],
    /// Boxed, so that growing moves pointers and not a kilobyte each.
    #[allow(clippy::vec_box)]
    chunks: Vec<Box<Chunk>>,
    /// The first unused chunk plus one.
    unused: u32,
    /// Armed since the clock was last read.
    fresh: Vec<Fresh>,
    /// Slots whose tick has come, oldest first.
    expired: VecDeque<(u32, u32)>,
    /// By slot. Long enough for every slot that was ever armed.
    stamps: Vec<u32>,
    /// The last one that did not follow from an id.
    last_stamp: u32,
}

impl Wheel {
    /// A wheel whose tick is the largest power of two not above `resolution_ns`.
    pub(crate) fn new(resolution_ns: u64, now_ns: u64) -> Wheel {
        let shift = resolution_ns.max(1).ilog2();
        Wheel {
            shift,
            elapsed: now_ns >> shift,
            armed: 0,
            entries: 0,
            occupied: [0; LEVELS],
            levels: [const { None }; LEVELS],
            chunks: Vec::new(),
            unused: 0,
            fresh: Vec::new(),
            expired: VecDeque::new(),
            stamps: Vec::new(),
            last_stamp: DISARMED,
        }
    }

    pub(crate) fn tick_ns(&self) -> u64 {
        1 << self.shift
    }

    /// Nothing is armed.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.armed == 0
    }

    #[inline(always)]
    pub(crate) fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// Arms slot `index` to expire at `deadline_ns`. `uses`: of a timer that is nothing else, its
    /// slot's uses, by which it can be disarmed; else `AGAIN`.
    pub(crate) fn arm(&mut self, slots: &mut Slots, index: u32, uses: u64, deadline_ns: u64) {
        let stamp = self.begin_arming(slots, index, uses);
        self.place(index, stamp, deadline_ns);
        self.limit_stale();
    }

    /// Arms slot `index` to expire `after_ns` after the next `place_fresh`.
    pub(crate) fn arm_fresh(&mut self, slots: &mut Slots, index: u32, uses: u64, after_ns: u64) {
        let stamp = self.begin_arming(slots, index, uses);
        self.fresh.push(Fresh { after_ns, index, stamp });
    }

    fn begin_arming(&mut self, slots: &mut Slots, index: u32, uses: u64) -> u32 {
        slots.at_mut(index).state |= state::TIMED;
        if self.stamps.len() <= index as usize {
            self.stamps.resize(index as usize + 1, DISARMED);
        }
        let stamp = stamp_of(uses).unwrap_or_else(|| self.next_stamp());
        self.stamps[index as usize] = stamp;
        self.armed += 1;
        stamp
    }

    /// One that follows from no id. A stale entry is swept out long before its stamp comes again.
    #[inline(always)]
    fn next_stamp(&mut self) -> u32 {
        self.last_stamp = self.last_stamp.wrapping_add(2);
        if self.last_stamp == DISARMED {
            self.last_stamp += 2;
        }
        self.last_stamp
    }

    /// As `arm_fresh` for a timer that is nothing else, where the caller marks the slot. False, and
    /// nothing is done, if there is no room, or are no stamps for so many uses.
    #[inline(always)]
    pub(crate) fn arm_at_once(&mut self, index: u32, uses: u64, after_ns: u64) -> bool {
        stamp_of(uses).is_some_and(|stamp| self.arm_with(stamp, index, after_ns))
    }

    /// The same with `AGAIN`.
    #[inline(always)]
    pub(crate) fn arm_again_at_once(&mut self, index: u32, after_ns: u64) -> bool {
        let stamp = self.next_stamp();
        self.arm_with(stamp, index, after_ns)
    }

    #[inline(always)]
    fn arm_with(&mut self, stamp: u32, index: u32, after_ns: u64) -> bool {
        let Some(place) = self.stamps.get_mut(index as usize) else { return false };
        if self.fresh.len() == self.fresh.capacity() {
            return false;
        }
        self.fresh.push(Fresh { after_ns, index, stamp });
        *place = stamp;
        self.armed += 1;
        true
    }

    /// The stamp of a slot that was armed by this use of it, and is.
    #[inline(always)]
    pub(crate) fn armed_by(&mut self, index: u32, uses: u64) -> Option<Armed<'_>> {
        let stamp = self.stamps.get_mut(index as usize)?;
        (u64::from(*stamp) == uses << 1).then_some(Armed { stamp, armed: &mut self.armed })
    }

    pub(crate) fn is_armed(&self, index: u32) -> bool {
        self.stamps.get(index as usize).is_some_and(|&stamp| stamp != DISARMED)
    }

    /// Whether an entry is its slot's current deadline.
    #[inline(always)]
    fn is_current(&self, index: u32, stamp: u32) -> bool {
        self.stamps[index as usize] == stamp
    }

    #[inline(always)]
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Begins the time of everything that was armed fresh.
    #[inline(always)]
    pub(crate) fn place_fresh(&mut self, now_ns: u64) {
        let mut at = 0;
        while let Some(&Fresh { after_ns, index, stamp }) = self.fresh.get(at) {
            if self.is_current(index, stamp) {
                self.place(index, stamp, now_ns.saturating_add(after_ns));
            }
            at += 1;
        }
        self.fresh.clear();
        self.limit_stale();
    }

    #[inline(always)]
    fn place(&mut self, index: u32, stamp: u32, deadline_ns: u64) {
        let whole = deadline_ns >> self.shift;
        let rounds_up = whole << self.shift != deadline_ns;
        self.entries += 1;
        self.insert(Entry { tick: whole + u64::from(rounds_up), index, stamp });
    }

    /// Takes an armed slot out.
    #[inline(always)]
    pub(crate) fn disarm(&mut self, slots: &mut Slots, index: u32) {
        slots.at_mut(index).state &= !state::TIMED;
        self.stamps[index as usize] = DISARMED;
        self.armed -= 1;
    }

    /// Keeps the stale entries in bounds; called when entries were added.
    #[inline(always)]
    fn limit_stale(&mut self) {
        if self.entries > STALE_RATIO * self.armed + STALE_MIN {
            self.sweep();
        }
    }

    #[inline(always)]
    fn insert(&mut self, entry: Entry) {
        if entry.tick <= self.elapsed {
            self.expired.push_back((entry.index, entry.stamp));
            return;
        }
        // The highest group of bits in which the tick differs from now is its level. This does not
        // change until the bucket's turn comes.
        let level = (63 - (entry.tick ^ self.elapsed).leading_zeros()) / BITS;
        let bucket = (entry.tick >> (level * BITS)) as usize & (BUCKETS - 1);
        let level = level as usize;
        if let Some(buckets) = &self.levels[level]
            && let Some(last) = buckets[bucket].last.checked_sub(1)
            && let chunk = &mut *self.chunks[last as usize]
            && let Some(place) = chunk.entries.get_mut(chunk.end as usize)
        {
            *place = entry;
            chunk.end += 1;
            return;
        }
        self.extend(level, bucket, entry);
    }

    /// Begins a new chunk in a bucket.
    #[cold]
    #[inline(never)]
    fn extend(&mut self, level: usize, bucket: usize, entry: Entry) {
        if self.unused == 0 {
            let entries = [Entry { tick: 0, index: 0, stamp: 0 }; CHUNK];
            self.chunks.push(Box::new(Chunk { next: 0, start: 0, end: 0, entries }));
            self.unused = self.chunks.len() as u32;
        }
        let added = self.unused;
        let chunk = &mut self.chunks[added as usize - 1];
        self.unused = std::mem::take(&mut chunk.next);
        (chunk.start, chunk.end) = (0, 1);
        chunk.entries[0] = entry;
        // The one that is taken next was last written to long ago.
        if let Some(next) = self.unused.checked_sub(1) {
            memory::prefetch_all(&*self.chunks[next as usize]);
        }
        self.occupied[level] |= 1 << bucket;
        let buckets =
            self.levels[level].get_or_insert_with(|| Box::new([Bucket::default(); BUCKETS]));
        let last = std::mem::replace(&mut buckets[bucket].last, added);
        match last {
            0 => buckets[bucket].first = added,
            last => self.chunks[last as usize - 1].next = added,
        }
    }

    /// Returns a chunk to the unused ones; gives the one after it.
    fn recycle(&mut self, chunk: u32) -> u32 {
        let next = std::mem::replace(&mut self.chunks[chunk as usize - 1].next, self.unused);
        self.unused = chunk;
        next
    }

    /// The lowest level's first bucket and the tick at which its turn comes.
    fn next_bucket(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        let bucket = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * BITS;
        // At the highest level the groups above do not exist.
        let above = u64::MAX.checked_shl(shift + BITS).unwrap_or(0);
        Some((level, bucket, self.elapsed & above | (bucket as u64) << shift))
    }

    /// Empties a bucket; gives its first chunk.
    fn take_bucket(&mut self, level: usize, bucket: usize) -> u32 {
        self.occupied[level] &= !(1 << bucket);
        let bucket = self.levels[level].as_mut().map(|buckets| &mut buckets[bucket]);
        bucket.map(std::mem::take).unwrap_or_default().first
    }

    /// When to look again, in nanoseconds: at the latest when the next deadline passes. A distant
    /// deadline asks for a look at most once per level before.
    pub(crate) fn next_ns(&mut self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        if self.has_expired() {
            return Some(0);
        }
        loop {
            let (level, bucket, tick) = self.next_bucket()?;
            if self.drop_stale(level, bucket) {
                return Some(tick.saturating_mul(1 << self.shift));
            }
        }
    }

    /// How long each armed slot has, by slot.
    pub(crate) fn remaining_ns(&self, now_ns: u64) -> HashMap<u32, u64> {
        let left = |tick: u64| tick.saturating_mul(1 << self.shift).saturating_sub(now_ns);
        let buckets = self.levels.iter().flatten().flat_map(|level| level.iter());
        let chunks = buckets.flat_map(|bucket| {
            let at = |next: u32| Some(&*self.chunks[next.checked_sub(1)? as usize]);
            std::iter::successors(at(bucket.first), move |chunk| at(chunk.next))
        });
        let entries =
            chunks.flat_map(|chunk| &chunk.entries[chunk.start as usize..chunk.end as usize]);
        let placed = entries.map(|entry| (entry.index, entry.stamp, left(entry.tick)));
        let fresh = self.fresh.iter().map(|fresh| (fresh.index, fresh.stamp, fresh.after_ns));
        let expired = self.expired.iter().map(|&(index, stamp)| (index, stamp, 0));
        placed
            .chain(fresh)
            .chain(expired)
            .filter(|&(index, stamp, _)| self.is_current(index, stamp))
            .map(|(index, _, ns)| (index, ns))
            .collect()
    }

    /// Drops stale entries from a bucket's front; false if it is empty then.
    fn drop_stale(&mut self, level: usize, bucket: usize) -> bool {
        let Some(buckets) = &mut self.levels[level] else { return false };
        while buckets[bucket].first != 0 {
            let first = buckets[bucket].first;
            let chunk = &mut self.chunks[first as usize - 1];
            while chunk.start < chunk.end {
                let Entry { index, stamp, .. } = chunk.entries[chunk.start as usize];
                if self.stamps[index as usize] == stamp {
                    return true;
                }
                chunk.start += 1;
                self.entries -= 1;
            }
            let next = std::mem::replace(&mut chunk.next, self.unused);
            self.unused = first;
            buckets[bucket].first = next;
        }
        buckets[bucket].last = 0;
        self.occupied[level] &= !(1 << bucket);
        false
    }

    /// Moves what has passed at `now_ns` to the expired.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        let now = now_ns >> self.shift;
        debug_assert!(!self.has_fresh());
        while let Some((level, bucket, tick)) = self.next_bucket() {
            if tick > now {
                break;
            }
            self.elapsed = tick;
            let mut chunk = self.take_bucket(level, bucket);
            while chunk != 0 {
                let Chunk { start, end, .. } = *self.chunks[chunk as usize - 1];
                for at in start..end {
                    let entry = self.chunks[chunk as usize - 1].entries[at as usize];
                    self.insert(entry);
                }
                chunk = self.recycle(chunk);
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// The slot that expired first.
    #[inline(always)]
    pub(crate) fn peek_expired(&mut self) -> Option<u32> {
        while let Some(&(index, stamp)) = self.expired.front() {
            if self.is_current(index, stamp) {
                return Some(index);
            }
            self.expired.pop_front();
            self.entries -= 1;
        }
        None
    }

    /// Drops what `peek_expired` gave; it is not armed any more, and its state not changed.
    #[inline(always)]
    pub(crate) fn drop_expired(&mut self, slots: &Slots, index: u32) {
        self.expired.pop_front();
        if let Some(&(index, _)) = self.expired.get(AHEAD) {
            slots.prefetch(index);
        }
        self.entries -= 1;
        self.armed -= 1;
        self.stamps[index as usize] = DISARMED;
    }

    /// Takes the slot that expired first; it is not armed any more.
    pub(crate) fn pop_expired(&mut self, slots: &mut Slots) -> Option<u32> {
        let index = self.peek_expired()?;
        self.drop_expired(slots, index);
        slots.at_mut(index).state &= !state::TIMED;
        Some(index)
    }

    /// Rebuilds the buckets without the stale entries.
    #[cold]
    fn sweep(&mut self) {
        self.entries = self.expired.len() as u64;
        for level in 0..LEVELS {
            let mut occupied = self.occupied[level];
            while occupied != 0 {
                let bucket = occupied.trailing_zeros() as usize;
                occupied &= occupied - 1;
                let mut chunk = self.take_bucket(level, bucket);
                while chunk != 0 {
                    let Chunk { start, end, .. } = *self.chunks[chunk as usize - 1];
                    for at in start..end {
                        let entry = self.chunks[chunk as usize - 1].entries[at as usize];
                        if self.is_current(entry.index, entry.stamp) {
                            self.entries += 1;
                            self.insert(entry);
                        }
                    }
                    chunk = self.recycle(chunk);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
