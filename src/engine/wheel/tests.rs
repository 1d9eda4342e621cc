//! The wheel alone: what fires when, what is swept out, and by which ids timers are found.

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
        self.wheel.arm(&mut self.slots, index, AGAIN, at);
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
        f.wheel.arm_fresh(&mut f.slots, index_of(id), AGAIN, after);
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

#[test]
fn a_timer_is_found_by_its_id_and_by_no_other() {
    let mut f = Fixture::new(5);
    let armed = f.arm_in_use(1_000, Way::ByUse);
    let uses = f.slots.uses(armed.id);
    for other in [uses + 1, uses.wrapping_sub(1), uses + (1 << 31), uses + (1 << 32), AGAIN] {
        assert!(f.wheel.armed_by(armed.index, other).is_none(), "{other:#x}");
    }
    assert!(f.wheel.armed_by(armed.index + 1, uses).is_none());
    assert!(f.wheel.armed_by(armed.index, uses).is_some());
    f.wheel.armed_by(armed.index, uses).unwrap().disarm();
    assert!(f.wheel.armed_by(armed.index, uses).is_none() && !f.wheel.is_armed(armed.index));
    assert_eq!(f.wheel.remaining_ns(0).len(), 0);
    assert!(f.fire(2_000).is_empty());
}

#[test]
fn a_slot_that_was_used_too_often_is_armed_but_not_found_by_its_id() {
    let mut f = Fixture::new(5);
    let armed = f.arm_in_use(1_000, Way::Again);
    assert!(f.wheel.is_armed(armed.index));
    assert!(!f.is_armed_by(armed));
    f.wheel.disarm(&mut f.slots, armed.index);
    f.wheel.arm(&mut f.slots, armed.index, 1 << 31, 2_000);
    assert!(f.wheel.armed_by(armed.index, 1 << 31).is_none());
    assert!(!f.wheel.arm_at_once(armed.index, 1 << 31, 2_000));
    assert_eq!(f.fire(2_000), [armed.index]);
}

#[derive(Clone, Copy)]
struct Timer {
    id: u64,
    index: u32,
    at: u64,
    way: Way,
}

/// The ways in which a slot is armed.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Again,
    ByUse,
    /// Its time begins at the next look at the clock.
    Fresh,
    AtOnce,
}

impl Fixture {
    /// The newest look at the clock was at 0 for those that count from the next.
    fn arm_in_use(&mut self, at: u64, way: Way) -> Timer {
        let (id, slot) = self.slots.take().unwrap();
        slot.state = phase::WHEEL | state::TIMED;
        let (index, uses) = (index_of(id), self.slots.uses(id));
        match way {
            Way::Again => self.wheel.arm(&mut self.slots, index, AGAIN, at),
            Way::ByUse => self.wheel.arm(&mut self.slots, index, uses, at),
            Way::Fresh => self.wheel.arm_fresh(&mut self.slots, index, uses, at),
            Way::AtOnce => {
                if !self.wheel.arm_at_once(index, uses, at) {
                    self.wheel.arm_fresh(&mut self.slots, index, uses, at);
                }
            }
        }
        Timer { id, index, at, way }
    }

    fn is_armed_by(&mut self, armed: Timer) -> bool {
        self.wheel.armed_by(armed.index, self.slots.uses(armed.id)).is_some()
    }

    fn disarm(&mut self, armed: Timer) {
        assert!(self.wheel.is_armed(armed.index));
        match self.wheel.armed_by(armed.index, self.slots.uses(armed.id)) {
            Some(found) => {
                assert!(armed.way != Way::Again);
                found.disarm();
            }
            None => {
                assert!(armed.way == Way::Again);
                self.wheel.disarm(&mut self.slots, armed.index);
            }
        }
        assert!(!self.wheel.is_armed(armed.index));
        self.slots.release(armed.index);
    }
}

/// Against a list: random arms in every way, disarms by id, ids of ended ones, and steps of the
/// clock.
#[test]
fn the_wheel_agrees_with_a_list() {
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
    let mut model: Vec<Timer> = Vec::new();
    let mut ended: Vec<Timer> = Vec::new();
    for _ in 0..100_000 {
        match next() % 5 {
            0 | 1 => {
                let after = next() >> (20 + next() % 44);
                let armed = match next() % 4 {
                    0 => f.arm_in_use(now + after, Way::Again),
                    1 => f.arm_in_use(now + after, Way::ByUse),
                    2 => f.arm_in_use(after, Way::Fresh),
                    _ => f.arm_in_use(after, Way::AtOnce),
                };
                let is_late = matches!(armed.way, Way::Fresh | Way::AtOnce);
                model.push(Timer { at: if is_late { armed.at + now } else { armed.at }, ..armed });
            }
            2 if !model.is_empty() => {
                let armed = model.swap_remove(next() as usize % model.len());
                f.disarm(armed);
                ended.push(armed);
            }
            3 if !ended.is_empty() => {
                let old = ended[next() as usize % ended.len()];
                assert!(!f.is_armed_by(old));
            }
            _ => {
                f.wheel.place_fresh(now);
                assert!(f.wheel.entries <= STALE_RATIO * f.wheel.armed + STALE_MIN);
                assert_eq!(f.wheel.remaining_ns(now).len(), model.len());
                let earliest = model.iter().map(|armed| armed.at).min();
                if let Some(earliest) = earliest {
                    assert!(f.wheel.next_ns().unwrap() <= earliest.max(now));
                }
                now += next() >> (30 + next() % 34);
                let mut fired = f.fire(now);
                let due: Vec<Timer> = model.extract_if(.., |armed| armed.at <= now).collect();
                let mut expected: Vec<u32> = due.iter().map(|armed| armed.index).collect();
                fired.sort_unstable();
                expected.sort_unstable();
                assert_eq!(fired, expected);
                fired.iter().for_each(|&index| f.slots.release(index));
                ended.extend(due);
                ended.truncate(1_000);
            }
        }
    }
}
