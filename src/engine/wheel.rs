//! Time: a hierarchical wheel over the slots themselves, so that a deadline allocates nothing.
//! Hides how deadlines are ordered. Eleven levels of 64 buckets cover every 64-bit tick; arming and
//! cancelling are O(1) whatever is outstanding; a bucket cascades at most once per level. A tick is
//! rounded up, so nothing fires early. Equal ticks fire in the order in which they were armed.

use crate::engine::slots::{Slots, state};

const BITS: u32 = 6;
const BUCKETS: usize = 1 << BITS;
const LEVELS: usize = 11;

pub(crate) struct Wheel {
    /// A tick is `1 << shift` nanoseconds.
    shift: u32,
    /// All ticks up to this one have fired.
    elapsed: u64,
    /// Armed and expired.
    count: u32,
    occupied: [u64; LEVELS],
    /// Index plus one of each bucket's newest slot.
    buckets: [[u32; BUCKETS]; LEVELS],
    /// The expired, oldest first: index plus one of both ends.
    expired_first: u32,
    expired_last: u32,
}

/// Where a tick is kept.
enum Place {
    Expired,
    Bucket(usize, usize),
}

impl Wheel {
    /// A wheel whose tick is the largest power of two not above `resolution_ns`.
    pub(crate) fn new(resolution_ns: u64, now_ns: u64) -> Wheel {
        let shift = resolution_ns.max(1).ilog2();
        Wheel {
            shift,
            elapsed: now_ns >> shift,
            count: 0,
            occupied: [0; LEVELS],
            buckets: [[0; BUCKETS]; LEVELS],
            expired_first: 0,
            expired_last: 0,
        }
    }

    pub(crate) fn tick_ns(&self) -> u64 {
        1 << self.shift
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.expired_first != 0
    }

    fn place(&self, tick: u64) -> Place {
        if tick <= self.elapsed {
            return Place::Expired;
        }
        // The highest group of bits in which the tick differs from now is its level. This does not
        // change until the bucket's turn comes, so removal finds the same place.
        let level = (63 - (tick ^ self.elapsed).leading_zeros()) / BITS;
        Place::Bucket(level as usize, (tick >> (level * BITS)) as usize & (BUCKETS - 1))
    }

    /// Arms slot `index` to expire at `deadline_ns`.
    pub(crate) fn arm(&mut self, slots: &mut Slots, index: u32, deadline_ns: u64) {
        let whole = deadline_ns >> self.shift;
        let rounds_up = whole << self.shift != deadline_ns;
        let slot = slots.at_mut(index);
        slot.tick = whole + u64::from(rounds_up);
        slot.state |= state::TIMED;
        self.count += 1;
        self.insert(slots, index);
    }

    fn insert(&mut self, slots: &mut Slots, index: u32) {
        match self.place(slots.at(index).tick) {
            Place::Expired => self.push_expired(slots, index),
            Place::Bucket(level, bucket) => {
                let head = std::mem::replace(&mut self.buckets[level][bucket], index + 1);
                self.occupied[level] |= 1 << bucket;
                if head != 0 {
                    slots.at_mut(head - 1).timer_prev = index + 1;
                }
                let slot = slots.at_mut(index);
                slot.timer_next = head;
                slot.timer_prev = 0;
            }
        }
    }

    fn push_expired(&mut self, slots: &mut Slots, index: u32) {
        let last = std::mem::replace(&mut self.expired_last, index + 1);
        match last {
            0 => self.expired_first = index + 1,
            last => slots.at_mut(last - 1).timer_next = index + 1,
        }
        let slot = slots.at_mut(index);
        slot.timer_prev = last;
        slot.timer_next = 0;
    }

    /// Takes an armed slot out.
    pub(crate) fn disarm(&mut self, slots: &mut Slots, index: u32) {
        let slot = slots.at_mut(index);
        let (next, prev, tick) = (slot.timer_next, slot.timer_prev, slot.tick);
        slot.state &= !state::TIMED;
        self.count -= 1;
        if next != 0 {
            slots.at_mut(next - 1).timer_prev = prev;
        }
        if prev != 0 {
            slots.at_mut(prev - 1).timer_next = next;
        }
        match self.place(tick) {
            Place::Expired => {
                if prev == 0 {
                    self.expired_first = next;
                }
                if next == 0 {
                    self.expired_last = prev;
                }
            }
            Place::Bucket(level, bucket) => {
                if prev == 0 {
                    self.buckets[level][bucket] = next;
                    if next == 0 {
                        self.occupied[level] &= !(1 << bucket);
                    }
                }
            }
        }
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

    /// When to look again, in nanoseconds: at the latest when the next deadline passes. A distant
    /// deadline asks for a look at most once per level before.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        if self.has_expired() {
            return Some(0);
        }
        let (_, _, tick) = self.next_bucket()?;
        Some(tick.saturating_mul(1 << self.shift))
    }

    /// Moves what has passed at `now_ns` to the list of the expired.
    pub(crate) fn advance(&mut self, slots: &mut Slots, now_ns: u64) {
        let now = now_ns >> self.shift;
        while let Some((level, bucket, tick)) = self.next_bucket() {
            if tick > now {
                break;
            }
            self.elapsed = tick;
            self.occupied[level] &= !(1 << bucket);
            let newest = std::mem::take(&mut self.buckets[level][bucket]);
            self.scatter(slots, newest);
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// Puts a bucket's slots where they belong now, the oldest first.
    fn scatter(&mut self, slots: &mut Slots, newest: u32) {
        let mut oldest = newest;
        loop {
            match slots.at(oldest - 1).timer_next {
                0 => break,
                next => oldest = next,
            }
        }
        let mut entry = oldest;
        while entry != 0 {
            let newer = slots.at(entry - 1).timer_prev;
            self.insert(slots, entry - 1);
            entry = newer;
        }
    }

    /// Takes the slot that expired first.
    pub(crate) fn pop_expired(&mut self, slots: &mut Slots) -> Option<u32> {
        let index = self.expired_first.checked_sub(1)?;
        self.disarm(slots, index);
        Some(index)
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
            Fixture { slots: Slots::new(SLOTS_MAX, 1), wheel: Wheel::new(1, now_ns) }
        }

        fn arm(&mut self, at: u64) -> u32 {
            let (id, slot) = self.slots.take().unwrap();
            slot.state = phase::WHEEL;
            let index = index_of(id);
            self.wheel.arm(&mut self.slots, index, at);
            index
        }

        fn fire(&mut self, now: u64) -> Vec<u32> {
            self.wheel.advance(&mut self.slots, now);
            std::iter::from_fn(|| self.wheel.pop_expired(&mut self.slots)).collect()
        }
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
