//! Deadlines in plain turns. A deadline hardly ever passes: most operations end long before
//! theirs. So a context whose deadlines keep being disarmed limits its waits no more, which costs
//! two looks at the clock and a timer of the kernel's in every turn, but hands one entry to the
//! ring that completes when the first deadline is due, the alarm, and leaves it there. While no
//! armed deadline is before it, turns are plain ones. When it rings, the turns after it are
//! careful ones, in which deadlines pass as ever.
//!
//! A context that has nothing but timers never has an alarm: its waits end by them.

use crate::engine::Engine;
use crate::engine::cancel::ALARM;
use crate::op::misc;
use crate::sys::clock::{Clock, Timespec, timespec};
use crate::sys::errno::Errno;

/// No alarm is set before so many waits were limited in vain.
const TURNS_BEFORE: u32 = 8;
/// Nor for what is due within this time: it would be no saving.
const AHEAD_MIN_NS: u64 = 1_000_000;
/// An alarm that is set for an earlier time leaves the one before it in the ring: so many at most.
const ALARMS_MAX: u32 = 4;

pub(super) struct Alarm {
    /// When it rings; the end of time without one.
    due_ns: u64,
    /// How many are in the ring.
    in_ring: u32,
    /// Turns whose wait was limited, and in which nothing was due.
    turns: u32,
    /// The ring has refused one.
    is_refused: bool,
    /// Of the newest; the kernel reads it when it takes the entry.
    time: Box<Timespec>,
}

impl Alarm {
    pub(super) fn new() -> Alarm {
        let time = Box::new(timespec(0));
        Alarm { due_ns: u64::MAX, in_ring: 0, turns: 0, is_refused: false, time }
    }
}

impl Engine {
    /// Whether a deadline this long from now is not before the alarm.
    #[inline(always)]
    pub(super) fn is_covered_after(&self, after_ns: u64) -> bool {
        self.looked_ns.saturating_add(after_ns) >= self.alarm.due_ns
    }

    /// Whether no placed deadline is before the alarm.
    pub(super) fn is_covered(&mut self) -> bool {
        self.wheel.next_ns().is_none_or(|due_ns| due_ns >= self.alarm.due_ns)
    }

    /// Sets the alarm if that is worth it; whether the deadlines need no limited wait.
    #[cold]
    #[inline(never)]
    pub(super) fn cover_deadlines(&mut self) -> bool {
        if self.alarm.turns < TURNS_BEFORE || self.alarm.is_refused {
            return false;
        }
        self.place_timers();
        self.is_covered() || self.set_alarm()
    }

    fn set_alarm(&mut self) -> bool {
        let due_ns = self.wheel.next_ns().unwrap_or(u64::MAX);
        let is_far = due_ns > self.now_ns().saturating_add(AHEAD_MIN_NS);
        let may_be_set = self.alarm.in_ring < ALARMS_MAX
            && self.clock == Clock::Monotonic
            && self.allowed.is_none()
            && self.backend.finds_room();
        if !is_far || !may_be_set {
            return false;
        }
        *self.alarm.time = timespec(due_ns);
        let entry = misc::alarm(&self.alarm.time, ALARM);
        self.backend.stage(&entry.into());
        self.alarm.in_ring += 1;
        self.alarm.due_ns = due_ns;
        true
    }

    /// It rings, or an earlier one does that was left in the ring.
    pub(super) fn alarm_rings(&mut self, result: i32) {
        self.alarm.in_ring -= 1;
        self.alarm.is_refused |= result != Errno::ETIME.status();
        if self.alarm.is_refused || self.now_ns() >= self.alarm.due_ns {
            self.alarm.due_ns = u64::MAX;
            self.alarm.turns = 0;
        }
    }

    /// A turn with a limited wait has looked at the clock.
    #[inline(always)]
    pub(super) fn note_timed_turn(&mut self) {
        if self.wheel.has_expired() {
            self.alarm.turns = 0;
        } else if self.backend.ready() != 0 {
            self.alarm.turns = self.alarm.turns.saturating_add(1);
        }
    }
}
