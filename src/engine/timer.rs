//! Timers as operations: they live in the wheel and never reach the kernel. Also what happens when
//! a deadline of any operation has passed.

use crate::engine::Engine;
use crate::engine::cancel::Why;
use crate::engine::cold::Cold;
use crate::engine::completion::{Current, Delivery, INNER, Plain, Ready};
use crate::engine::counts::Counts;
use crate::engine::registered::RELEASE;
use crate::engine::slots::{OPCODE_SHIFT, Slot, index_of, phase, state};
use crate::engine::submission::{Done, SubmitOptions, submit_flags};
use crate::engine::wheel::AGAIN;
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

/// The state of a timer that is nothing else.
const PLAIN: u32 = (service::TIMER as u32) << OPCODE_SHIFT | phase::WHEEL | state::TIMED;

impl Engine {
    /// Submits a timer that is nothing else, where nothing needs to be called or made, as
    /// `submit_at_once` does. None: nothing was done.
    #[inline(always)]
    pub(crate) fn submit_timer_at_once(
        &mut self, after_ns: u64, done: Done, counts: &Counts,
    ) -> Option<i64> {
        debug_assert!(done.callback > INNER);
        if !self.running || self.holds_timers || counts.is_at_most(service::TIMER) {
            return None;
        }
        let id = self.slots.next_id()?;
        if !self.wheel.arm_at_once(index_of(id), self.slots.uses(id), after_ns) {
            return None;
        }
        let (_, slot) = self.slots.take_free()?;
        slot.callback = done.callback;
        slot.user_data = done.user_data;
        slot.fd = NO_DESCRIPTOR;
        slot.submitted_ms = self.now_ms;
        slot.state = PLAIN;
        self.leave_plain_turns();
        counts.submitted_plainly(service::TIMER);
        self.local += 1;
        Some(id as i64)
    }

    /// Cancels a timer that is nothing else; false, and nothing is done, if it is none, or there is
    /// no room. Its slot is not looked at, and goes on saying that it is armed
    /// (`settle_timer`): it is asked for, so that it is near when the callback's turn comes.
    #[inline(always)]
    pub(crate) fn cancel_timer_at_once(&mut self, id: u64) -> bool {
        let index = index_of(id);
        let Some(armed) = self.wheel.armed_by(index, self.slots.uses(id)) else { return false };
        if self.ready.len() == self.ready.capacity() {
            return false;
        }
        self.ready.push_back(Ready { index, result: Errno::ECANCELED.status(), flags: 0 });
        self.slots.prefetch(index);
        armed.disarm();
        self.leave_plain_turns();
        true
    }

    /// The same with room made for it.
    pub(crate) fn cancel_timer(&mut self, id: u64) -> bool {
        self.ready.reserve(1);
        self.cancel_timer_at_once(id)
    }

    /// Lets a slot know that its timer was cancelled. To be called before one is looked at that may
    /// be in the ready queue.
    #[inline(always)]
    pub(crate) fn settle_timer(&mut self, index: u32) {
        self.slots.at_mut(index).state = self.settled(index).state;
    }

    /// The slot as it is when that is settled.
    pub(crate) fn settled(&self, index: u32) -> Slot {
        let mut slot = *self.slots.at(index);
        if slot.phase() == phase::WHEEL && slot.has(state::TIMED) && !self.wheel.is_armed(index) {
            slot.state = slot.state & !state::TIMED | state::CANCELLED;
            slot.set_phase(phase::READY);
        }
        slot
    }

    /// Submits a timer with all options at their defaults.
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
        let slot = self.slots.at_mut(index);
        slot.state |= phase::WHEEL;
        let (id, is_plain) = (slot.id(), slot.state | state::TIMED == PLAIN);
        let uses = if is_plain { self.slots.uses(id) } else { AGAIN };
        self.local += 1;
        match fires {
            Fires::After(ns) | Fires::Every(ns) => self.arm_in(index, uses, ns),
            Fires::At(ns) => self.wheel.arm(&mut self.slots, index, uses, ns),
        }
        Ok(id)
    }

    /// Arms a deadline from now. Inside a turn the clock is read once, at the turn's end, for all
    /// that were armed in it: reading it here would cost more than the rest of the arming.
    #[inline(always)]
    pub(crate) fn arm_after(&mut self, index: u32, after_ns: u64) {
        self.arm_in(index, AGAIN, after_ns);
    }

    fn arm_in(&mut self, index: u32, uses: u64, after_ns: u64) {
        if self.running {
            return self.wheel.arm_fresh(&mut self.slots, index, uses, after_ns);
        }
        let deadline_ns = self.now_ns().saturating_add(after_ns);
        self.wheel.arm(&mut self.slots, index, uses, deadline_ns);
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
        self.wheel.arm(&mut self.slots, index, AGAIN, due_ns.min(expiry_ns));
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
        self.wheel.arm(&mut self.slots, index, AGAIN, next_ns);
        let ticks = i32::try_from(ticks).unwrap_or(i32::MAX);
        self.tell(index, ticks, cqe_flags::MORE, 0)
    }

    /// The callback of a timer that is nothing else, cancelled or expired, if that comes next.
    #[inline(always)]
    pub(crate) fn next_plain_timer(&mut self, counts: &Counts) -> Option<Plain> {
        let is_cancelled = self.budget.ready != 0;
        let index = if is_cancelled {
            self.ready.front().map(|ready| ready.index).filter(|&index| index != RELEASE)?
        } else if self.budget.expired != 0 {
            self.wheel.peek_expired()?
        } else {
            return None;
        };
        let candidate = self.slots.candidate_at(index);
        let slot = candidate.slot(&self.slots);
        if slot.state != PLAIN || self.holds_timers {
            return None;
        }
        let (id, callback, user_data) = (slot.id(), slot.callback, slot.user_data);
        let mut result = 0;
        if is_cancelled {
            self.budget.ready -= 1;
            self.ready.pop_front();
            result = Errno::ECANCELED.status();
            counts.resulted(service::TIMER, result, false);
        } else {
            self.budget.expired -= 1;
            self.wheel.drop_expired(&self.slots, index);
        }
        counts.ended(service::TIMER);
        self.current = Current { id, result };
        self.local -= 1;
        self.slots.release_candidate(candidate);
        Some(Plain { callback, user_data, result, flags: 0 })
    }

    fn fire(&mut self, index: u32, result: i32) -> Option<Delivery> {
        self.local -= 1;
        self.end(index, result, 0, 0)
    }
}
