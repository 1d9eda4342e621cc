//! Time: a hierarchical wheel of deadlines. Hides how they are ordered. Eleven levels of 64 buckets
//! cover every 64-bit tick; arming and disarming are O(1) whatever is outstanding; an entry moves
//! down at most once per level. A tick is rounded up, so nothing fires early; equal ticks fire in
//! the order in which they were armed.
//!
//! A bucket holds plain entries in chunks, not links between slots. A count per slot, in a table of
//! its own, goes up when the slot is armed and when it is disarmed: an entry with another count is
//! stale, and skipped when its turn comes. So arming and disarming touch no other slot's memory,
//! and a look at an entry does not touch its slot's. When too many entries are stale they are swept
//! out.

use crate::engine::slots::{Slots, state};
use std::collections::{HashMap, VecDeque};

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const LEVELS: usize = 11;
const CHUNK: usize = 62;
/// A sweep is due when there are so many entries per armed one, and so many more.
const STALE_RATIO: u64 = 4;
const STALE_MIN: u64 = 4096;

#[derive(Clone, Copy)]
struct Entry {
    tick: u64,
    index: u32,
    /// Which arming of the slot this is.
    arming: u32,
}

/// An arming whose time begins when the clock is next read.
struct Fresh {
    after_ns: u64,
    index: u32,
    arming: u32,
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
    /// By slot: how often it was armed and disarmed.
    armings: Vec<u32>,
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
            armings: Vec::new(),
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

    /// Arms slot `index` to expire at `deadline_ns`.
    pub(crate) fn arm(&mut self, slots: &mut Slots, index: u32, deadline_ns: u64) {
        let arming = self.begin_arming(slots, index);
        self.place(index, arming, deadline_ns);
    }

    /// Arms slot `index` to expire `after_ns` after the next `place_fresh`.
    #[inline(always)]
    pub(crate) fn arm_fresh(&mut self, slots: &mut Slots, index: u32, after_ns: u64) {
        let arming = self.begin_arming(slots, index);
        self.fresh.push(Fresh { after_ns, index, arming });
    }

    /// Whether `arm_fresh_again` may be called.
    #[inline(always)]
    pub(crate) fn has_place(&self, index: u32) -> bool {
        (index as usize) < self.armings.len() && self.fresh.len() < self.fresh.capacity()
    }

    /// As `arm_fresh` without taking memory, where the caller marks the slot.
    #[inline(always)]
    pub(crate) fn arm_fresh_again(&mut self, index: u32, after_ns: u64) {
        let arming = self.count_arming(index);
        self.fresh.push(Fresh { after_ns, index, arming });
    }

    #[inline(always)]
    fn begin_arming(&mut self, slots: &mut Slots, index: u32) -> u32 {
        slots.at_mut(index).state |= state::TIMED;
        if self.armings.len() <= index as usize {
            self.armings.resize(index as usize + 1, 0);
        }
        self.count_arming(index)
    }

    #[inline(always)]
    fn count_arming(&mut self, index: u32) -> u32 {
        self.armed += 1;
        let arming = &mut self.armings[index as usize];
        *arming = arming.wrapping_add(1);
        *arming
    }

    /// Whether an entry is its slot's current deadline.
    #[inline(always)]
    fn is_current(&self, index: u32, arming: u32) -> bool {
        self.armings[index as usize] == arming
    }

    #[inline(always)]
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Begins the time of everything that was armed fresh.
    pub(crate) fn place_fresh(&mut self, now_ns: u64) {
        let mut fresh = std::mem::take(&mut self.fresh);
        for Fresh { after_ns, index, arming } in fresh.drain(..) {
            if self.is_current(index, arming) {
                self.place(index, arming, now_ns.saturating_add(after_ns));
            }
        }
        self.fresh = fresh;
    }

    fn place(&mut self, index: u32, arming: u32, deadline_ns: u64) {
        let whole = deadline_ns >> self.shift;
        let rounds_up = whole << self.shift != deadline_ns;
        self.entries += 1;
        self.insert(Entry { tick: whole + u64::from(rounds_up), index, arming });
    }

    /// Takes an armed slot out.
    #[inline(always)]
    pub(crate) fn disarm(&mut self, slots: &mut Slots, index: u32) {
        slots.at_mut(index).state &= !state::TIMED;
        let arming = &mut self.armings[index as usize];
        *arming = arming.wrapping_add(1);
        self.armed -= 1;
        if self.entries > STALE_RATIO * self.armed + STALE_MIN {
            self.sweep();
        }
    }

    fn insert(&mut self, entry: Entry) {
        if entry.tick <= self.elapsed {
            self.expired.push_back((entry.index, entry.arming));
            return;
        }
        // The highest group of bits in which the tick differs from now is its level. This does not
        // change until the bucket's turn comes.
        let level = (63 - (entry.tick ^ self.elapsed).leading_zeros()) / BITS;
        let bucket = (entry.tick >> (level * BITS)) as usize & (BUCKETS - 1);
        let level = level as usize;
        self.occupied[level] |= 1 << bucket;
        let buckets =
            self.levels[level].get_or_insert_with(|| Box::new([Bucket::default(); BUCKETS]));
        let last = buckets[bucket].last;
        if last != 0 {
            let chunk = &mut self.chunks[last as usize - 1];
            if (chunk.end as usize) < CHUNK {
                chunk.entries[chunk.end as usize] = entry;
                chunk.end += 1;
                return;
            }
        }
        self.extend(level, bucket, entry);
    }

    /// Begins a new chunk in a bucket.
    #[cold]
    fn extend(&mut self, level: usize, bucket: usize, entry: Entry) {
        if self.unused == 0 {
            let entries = [Entry { tick: 0, index: 0, arming: 0 }; CHUNK];
            self.chunks.push(Box::new(Chunk { next: 0, start: 0, end: 0, entries }));
            self.unused = self.chunks.len() as u32;
        }
        let added = self.unused;
        let chunk = &mut self.chunks[added as usize - 1];
        self.unused = std::mem::take(&mut chunk.next);
        (chunk.start, chunk.end) = (0, 1);
        chunk.entries[0] = entry;
        let Some(buckets) = &mut self.levels[level] else { return };
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
        let placed = entries.map(|entry| (entry.index, entry.arming, left(entry.tick)));
        let fresh = self.fresh.iter().map(|fresh| (fresh.index, fresh.arming, fresh.after_ns));
        let expired = self.expired.iter().map(|&(index, arming)| (index, arming, 0));
        placed
            .chain(fresh)
            .chain(expired)
            .filter(|&(index, arming, _)| self.is_current(index, arming))
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
                let Entry { index, arming, .. } = chunk.entries[chunk.start as usize];
                if self.armings[index as usize] == arming {
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
        while let Some(&(index, arming)) = self.expired.front() {
            if self.is_current(index, arming) {
                return Some(index);
            }
            self.expired.pop_front();
            self.entries -= 1;
        }
        None
    }

    /// Takes the slot that expired first; it is not armed any more.
    #[inline(always)]
    pub(crate) fn pop_expired(&mut self, slots: &mut Slots) -> Option<u32> {
        let index = self.peek_expired()?;
        self.expired.pop_front();
        self.entries -= 1;
        self.armed -= 1;
        let arming = &mut self.armings[index as usize];
        *arming = arming.wrapping_add(1);
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
                        if self.is_current(entry.index, entry.arming) {
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
mod tests {
    use super::*;
    use crate::engine::slots::{SLOTS_MAX, index_of, phase};

    struct Fixture {
        slots: Slots,
        wheel: Wheel,
    }

    impl Fixture {
        fn new(now_ns: u64) -> Fixture {
            Fixture { slots: Slots::new(SLOTS_MAX, 1).unwrap(), wheel: Wheel::new(1, now_ns) }
        }

        fn arm(&mut self, at: u64) -> u32 {
            let (id, slot) = self.slots.take().unwrap();
            slot.state = phase::WHEEL;
            let index = index_of(id);
            self.wheel.arm(&mut self.slots, index, at);
            index
        }

        fn fire(&mut self, now: u64) -> Vec<u32> {
            self.wheel.advance(now);
            std::iter::from_fn(|| self.wheel.pop_expired(&mut self.slots)).collect()
        }
    }

    #[test]
    fn a_fresh_deadline_counts_from_the_next_look_at_the_clock() {
        let mut f = Fixture::new(5);
        let mut armed = Vec::new();
        for after in [100, 50, 100] {
            let (id, slot) = f.slots.take().unwrap();
            slot.state = phase::WHEEL;
            armed.push(index_of(id));
            f.wheel.arm_fresh(&mut f.slots, index_of(id), after);
        }
        f.wheel.disarm(&mut f.slots, armed[2]);
        f.wheel.place_fresh(1_000);
        assert!(f.fire(1_049).is_empty());
        assert_eq!(f.fire(1_050), [armed[1]]);
        assert_eq!(f.fire(1_100), [armed[0]]);
        assert!(f.wheel.is_empty());
    }

    #[test]
    fn cancelled_deadlines_are_swept_out() {
        let mut f = Fixture::new(1);
        let kept = f.arm(1 << 40);
        for round in 0..100_000u64 {
            let index = f.arm((1 << 30) + round);
            f.wheel.disarm(&mut f.slots, index);
            f.slots.release(index);
        }
        assert!(f.wheel.entries <= 3 + STALE_MIN + 1, "{} entries", f.wheel.entries);
        assert!(f.wheel.chunks.len() <= 200, "{} chunks", f.wheel.chunks.len());
        assert_eq!(f.fire(1 << 40), [kept]);
    }

    #[test]
    fn equal_deadlines_fire_in_the_order_of_arming() {
        let mut f = Fixture::new(5);
        let at = 1_000_000;
        let armed: Vec<u32> = (0..100).map(|_| f.arm(at)).collect();
        assert!(f.fire(at - 1).is_empty());
        assert_eq!(f.fire(at), armed);
        assert!(f.wheel.is_empty());
    }

    #[test]
    fn a_deadline_of_the_end_of_time_can_be_armed_and_disarmed() {
        let mut f = Fixture::new(123);
        let index = f.arm(u64::MAX);
        assert!(f.wheel.next_ns().is_some());
        assert!(f.fire(u64::MAX - 1).is_empty());
        f.wheel.disarm(&mut f.slots, index);
        assert!(f.wheel.is_empty());
        assert_eq!(f.wheel.next_ns(), None);
    }

    /// Against a sorted list: random arms, disarms and steps of the clock.
    #[test]
    fn the_wheel_agrees_with_a_sorted_list() {
        let seed = std::env::var("AIO_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let mut random = seed.unwrap_or_else(crate::sys::clock::random_bits) | 1;
        println!("AIO_TEST_SEED={random}");
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut now = next() >> 20;
        let mut f = Fixture::new(now);
        let mut model: Vec<(u64, u32)> = Vec::new();
        for _ in 0..100_000 {
            match next() % 4 {
                0 | 1 => {
                    let at = now + (next() >> (20 + next() % 44));
                    let index = f.arm(at);
                    model.push((at, index));
                }
                2 if !model.is_empty() => {
                    let (_, index) = model.swap_remove(next() as usize % model.len());
                    f.wheel.disarm(&mut f.slots, index);
                    f.slots.release(index);
                }
                _ => {
                    let earliest = model.iter().map(|entry| entry.0).min();
                    if let Some(earliest) = earliest {
                        assert!(f.wheel.next_ns().unwrap() <= earliest.max(now));
                    }
                    now += next() >> (30 + next() % 34);
                    let mut fired = f.fire(now);
                    let mut expected: Vec<u32> =
                        model.extract_if(.., |entry| entry.0 <= now).map(|entry| entry.1).collect();
                    fired.sort_unstable();
                    expected.sort_unstable();
                    assert_eq!(fired, expected);
                    fired.iter().for_each(|&index| f.slots.release(index));
                }
            }
        }
    }
}
