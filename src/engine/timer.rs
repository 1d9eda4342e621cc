//! Timers as operations: they live in the wheel and never reach the kernel. Also what happens when
//! a deadline of any operation has passed.

use crate::engine::Engine;
use crate::engine::cancel::Why;
use crate::engine::cold::Cold;
use crate::engine::completion::{Current, Delivery, Plain, Ready};
use crate::engine::registered::RELEASE;
use crate::engine::slots::{phase, state};
use crate::engine::submission::{Done, SubmitOptions, submit_flags};
use crate::op::{NO_DESCRIPTOR, service, traits};
use crate::sys::entry::cqe_flags;
use crate::sys::errno::Errno;
use crate::sys::refused::Fault;

/// When a timer fires.
#[derive(Clone, Copy)]
pub(crate) enum Fires {
    /// This long after the submit.
    After(u64),
    /// At this time of `CLOCK_MONOTONIC`.
    At(u64),
    /// Again and again.
    Every(u64),
}

/// What a timer cannot be combined with: it is not in the kernel's order of things.
const REFUSED: u32 = submit_flags::LINKS
    | submit_flags::BARRIER
    | submit_flags::ASYNC
    | submit_flags::FIXED_FILE
    | submit_flags::DIRECT
    | submit_flags::INHERIT
    | submit_flags::SIGPIPE
    | submit_flags::KEEP_RESULT
    // One of an interval would never pass, or pass before its first tick.
    | submit_flags::TIMEOUT_IDLE;

impl Engine {
    /// Submits a timer with all options at their defaults.
    #[inline(always)]
    pub(crate) fn submit_timer(&mut self, fires: Fires, done: Done) -> Result<u64, Errno> {
        if matches!(fires, Fires::Every(_)) || !self.barriers.is_empty() {
            return self.submit_timer_carefully(fires, &SubmitOptions::default(), done);
        }
        self.arm_timer(fires, &SubmitOptions::default(), done)
    }

    fn arm_timer(
        &mut self, fires: Fires, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        if self.chains.is_open() {
            return Err(Errno::invalid(Fault::ChainOpen));
        }
        let opcode = if let Fires::Every(_) = fires { service::INTERVAL } else { service::TIMER };
        let index = self.take_slot(opcode, NO_DESCRIPTOR, done, options)?;
        self.slots.at_mut(index).state |= phase::WHEEL;
        self.local += 1;
        match fires {
            Fires::After(ns) | Fires::Every(ns) => self.arm_after(index, ns),
            Fires::At(ns) => self.wheel.arm(&mut self.slots, index, ns),
        }
        Ok(self.slots.id(index))
    }

    /// Arms a deadline from now. Inside a turn the clock is read once, at the turn's end, for all
    /// that were armed in it: reading it here would cost more than the rest of the arming.
    #[inline(always)]
    pub(crate) fn arm_after(&mut self, index: u32, after_ns: u64) {
        if self.running {
            return self.wheel.arm_fresh(&mut self.slots, index, after_ns);
        }
        let deadline_ns = self.now_ns().saturating_add(after_ns);
        self.wheel.arm(&mut self.slots, index, deadline_ns);
    }

    /// Begins the time of what was armed in the last turn.
    #[inline(never)]
    pub(crate) fn place_timers(&mut self) {
        if self.wheel.has_fresh() {
            let now_ns = self.look_at_clock();
            self.wheel.place_fresh(now_ns);
        }
    }

    /// Submits a timer with options, or an interval.
    #[cold]
    pub(crate) fn submit_timer_carefully(
        &mut self, fires: Fires, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let period_ns = if let Fires::Every(ns) = fires { ns } else { 0 };
        if matches!(fires, Fires::Every(0)) {
            return Err(Errno::invalid(Fault::NoPeriod));
        }
        if options.flags & REFUSED != 0 || options.file_slot != 0 || options.ioprio != 0 {
            return Err(Errno::invalid(Fault::OfTimer));
        }
        let id = self.arm_timer(fires, options, done)?;
        let Some(index) = self.slots.find(id) else { return Ok(id) };
        let now_ns = self.now_ns();
        let expiry_ns = match options.timeout_ns {
            0 => u64::MAX,
            ns => now_ns.saturating_add(ns),
        };
        let due_ns = match fires {
            Fires::After(ns) | Fires::Every(ns) => now_ns.saturating_add(ns),
            Fires::At(ns) => ns,
        };
        let cold = Cold {
            period_ns,
            due_ns,
            expiry_ns,
            group: options.group,
            correlation: options.correlation,
            epoch: self.barriers.note(),
            ..Cold::new()
        };
        let key = self.cold.add(cold);
        let slot = self.slots.at_mut(index);
        slot.cold = key;
        slot.state |= state::COLD;
        if period_ns != 0 {
            slot.state |= traits::MULTISHOT;
            self.multishots += 1;
        }
        self.wheel.disarm(&mut self.slots, index);
        self.wheel.arm(&mut self.slots, index, due_ns.min(expiry_ns));
        Ok(id)
    }

    /// A slot's time has come: a timer fires, any other operation's deadline has passed.
    pub(crate) fn expire(&mut self, index: u32, now_ns: u64) -> Option<Delivery> {
        let slot = self.slots.at(index);
        if slot.phase() != phase::WHEEL {
            if self.request_end(index, Why::Expired).is_ok() {
                self.tally.deadlines();
            }
            return None;
        }
        if !slot.has(state::COLD) {
            return self.fire(index, 0);
        }
        let cold = self.cold.of(slot);
        if cold.expiry_ns <= now_ns && cold.expiry_ns < cold.due_ns {
            self.tally.deadlines();
            let _ = self.request_end(index, Why::Expired);
            return None;
        }
        if cold.period_ns == 0 {
            return self.fire(index, 0);
        }
        // Late ticks are counted, not made up for one by one.
        let ticks = now_ns.saturating_sub(cold.due_ns) / cold.period_ns + 1;
        cold.due_ns = cold.due_ns.saturating_add(ticks.saturating_mul(cold.period_ns));
        let next_ns = cold.due_ns.min(cold.expiry_ns);
        self.wheel.arm(&mut self.slots, index, next_ns);
        let ticks = i32::try_from(ticks).unwrap_or(i32::MAX);
        self.tell(index, ticks, cqe_flags::MORE, 0)
    }

    /// Cancels a timer that is nothing else; false if there is more to it.
    #[inline(always)]
    pub(crate) fn cancel_plain_timer(&mut self, index: u32) -> bool {
        if self.slots.at(index).facts() != phase::WHEEL | state::TIMED {
            return false;
        }
        self.wheel.disarm(&mut self.slots, index);
        let slot = self.slots.at_mut(index);
        slot.set_phase(phase::READY);
        slot.state |= state::CANCELLED;
        self.ready.push_back(Ready { index, result: Errno::ECANCELED.status(), flags: 0 });
        true
    }

    /// The callback of a timer that is nothing else, cancelled or expired, if that comes next.
    #[inline(always)]
    pub(crate) fn next_plain_timer(&mut self) -> Option<Plain> {
        let (index, result) = self.peek_timer()?;
        let slot = self.slots.at(index);
        let (callback, user_data) = (slot.callback, slot.user_data);
        if self.is_careful() {
            return None;
        }
        if result == 0 {
            self.budget.expired -= 1;
            self.wheel.pop_expired(&mut self.slots);
        } else {
            self.budget.ready -= 1;
            self.ready.pop_front();
        }
        self.counted.ended(service::TIMER);
        if result != 0 {
            self.counted.resulted(service::TIMER, result, false);
        }
        self.current = Current { id: self.slots.id(index), result };
        self.local -= 1;
        self.slots.release(index);
        Some(Plain { callback, user_data, result, flags: 0 })
    }

    /// The next in line if it is a plain timer, with its result.
    #[inline(always)]
    fn peek_timer(&mut self) -> Option<(u32, i32)> {
        if self.budget.ready != 0 {
            let ready = self.ready.front().filter(|ready| ready.index != RELEASE)?;
            let slot = self.slots.at(ready.index);
            let plain = slot.facts() == phase::READY | state::CANCELLED;
            return (plain && slot.opcode() == service::TIMER)
                .then_some((ready.index, ready.result));
        }
        if self.budget.expired == 0 {
            return None;
        }
        let index = self.wheel.peek_expired()?;
        let plain = self.slots.at(index).facts() == phase::WHEEL | state::TIMED;
        plain.then_some((index, 0))
    }

    fn fire(&mut self, index: u32, result: i32) -> Option<Delivery> {
        self.local -= 1;
        self.end(index, result, 0, 0)
    }
}
