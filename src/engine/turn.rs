//! What a turn is made of: hand over and wait, let time pass, say what is to be delivered next. A
//! turn delivers a bounded number of each kind, so that a flood of completions starves neither
//! timers nor posted functions. The loops that call user functions are in `run.rs`.

use crate::engine::backend::Handed;
use crate::engine::completion::{Current, Delivery, INNER, Plain, REAP, Record};
use crate::engine::counts::Counts;
use crate::engine::handle::Handle;
use crate::engine::mailbox::{Mailbox, Posted};
use crate::engine::stats::Stats;
use crate::engine::{Engine, Refusal};
use crate::sys::clock;
use crate::sys::function::Function;
use crate::sys::ring::Wait;

/// Deliveries of one kind per turn.
pub(super) const COMPLETIONS_MAX: u32 = 1024;
const EXPIRED_MAX: u32 = 1024;
const POSTS_MAX: u32 = 1024;
/// Turns between two looks at the coarse clock.
const CLOCK_TURNS: u64 = 8;
/// How long to wait for memory when there is nothing to deliver meanwhile.
const SHORTAGE_NS: u64 = 1_000_000;

/// What speaks against a plain turn (`run.rs`), or is to be done before it. Nothing does when a
/// turn has ended with nothing but operations in the usual ring, and since then only the plain
/// ways of submitting and completing were taken; whatever else enters the engine says `CAREFUL`
/// (`Handle::enter`).
pub(super) mod odd {
    pub(crate) const CAREFUL: u8 = 1;
    /// Deadlines were armed, whose time has yet to begin.
    pub(crate) const TIMED: u8 = 2;
    /// A send was made at once, whose callback comes in this turn (`prompt.rs`).
    pub(crate) const SENT: u8 = 4;
    /// The running plain turn's completions are in two pieces of the queue's memory, and its loop
    /// is in the first. Gone when the turn ends.
    pub(crate) const PIECES: u8 = 8;
}

/// What the current turn may still deliver.
#[derive(Default)]
pub(crate) struct Budget {
    pub stash: u32,
    pub ready: u32,
    pub expired: u32,
    pub posts: u32,
}

/// A user function to be called.
pub(super) enum Call {
    Callback(Plain),
    /// The same with a payload, which goes afterwards.
    Brought(Plain),
    Post(Posted),
    /// A record was written; nothing to call.
    Record,
    /// A function whose answer an external operation wants.
    Ask(Function, u64),
}

impl Engine {
    /// Operations are, or releases of registered buffers are certain to come.
    #[inline(always)]
    pub(crate) fn has_in_flight(&self) -> bool {
        self.in_flight() != 0 || self.registered.is_expected()
    }

    /// Nothing is in flight, posted or waiting to be delivered.
    pub(crate) fn is_idle(&self, mailbox: &Mailbox) -> bool {
        !self.has_in_flight() && self.inbox.is_empty() && !mailbox.has_mail()
    }

    /// A callback has asked for destruction, or the engine has failed in one.
    pub(super) fn is_ending(&self) -> bool {
        self.destroy_requested || self.mute
    }

    /// The reap backlog is full: completions stay where they are.
    pub(crate) fn is_clogged(&self) -> bool {
        self.records.len() >= self.records_max
    }

    /// Something can be delivered without waiting.
    fn has_work(&mut self) -> bool {
        !self.ready.is_empty()
            || !self.stash.is_empty()
            || !self.inbox.is_empty()
            || self.wheel.has_expired()
            || self.backend.ready() > 0
            || self.pools.can_resume()
    }

    /// What must not stay undone when the context goes to sleep.
    #[inline(always)]
    fn settle(&mut self) {
        self.fail_open_chain();
        if !self.closable.is_empty() {
            self.start_closes();
        }
        if !self.barriers.is_empty() {
            self.open_barriers();
        }
        if !self.pools.are_quiet() {
            self.feed_pools();
        }
    }

    /// One call into the backend. A shortage of memory is waited out, other errors are returned.
    pub(crate) fn enter_backend(&mut self, wait: Wait) -> Result<(), Refusal> {
        if self.backend.overflown() {
            self.tally.overflows();
        }
        match self.backend.enter(Some(wait)) {
            Ok(Handed::All) => Ok(()),
            Ok(Handed::Some) => {
                if self.backend.ready() == 0 && wait != Wait::Poll {
                    clock::sleep_ns(SHORTAGE_NS);
                }
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Nothing but operations in the backend: no work of the engine's own, no time to look at.
    #[inline(always)]
    fn is_quiet(&self) -> bool {
        self.has_no_work() && self.wheel.is_empty()
    }

    #[inline(always)]
    fn has_no_work(&self) -> bool {
        let busy = self.chains.is_open() as usize
            | self.closable.len()
            | self.barriers.len()
            | self.stash.len()
            | self.ready.len()
            | self.retries.len()
            | usize::from(self.foreign_fd.is_some())
            | usize::from(!self.inbox.is_empty())
            | usize::from(!self.pools.are_quiet());
        busy == 0
    }

    /// Something is done that no plain way does.
    #[inline(always)]
    pub(crate) fn leave_plain_turns(&mut self) {
        if self.odd & odd::SENT != 0 {
            self.keep_sent();
        }
        self.odd |= odd::CAREFUL;
    }

    /// Whether a plain turn will do, which sleeps until an operation completes and looks at nothing
    /// that the context does not use. If so, it is to follow: the sleep may have been announced.
    #[inline(always)]
    pub(super) fn prepare_plain_turn(&self, mailbox: &Mailbox) -> bool {
        self.odd == 0
            && self.slots.live() != 0
            && (mailbox.is_calm() || mailbox.prepare_sleep(false))
    }

    /// The same where deadlines were armed in the last turn, whose time begins now.
    #[cold]
    #[inline(never)]
    pub(super) fn prepare_timed_turn(&mut self, mailbox: &Mailbox) -> bool {
        if self.odd != odd::TIMED {
            return false;
        }
        self.place_timers();
        self.odd = 0;
        self.prepare_plain_turn(mailbox)
    }

    /// The same for a context that has nothing in flight, and is held to wait for mail.
    #[inline(always)]
    pub(super) fn prepare_held_turn(&self, mailbox: &Mailbox) -> bool {
        self.odd == 0 && self.slots.live() == 0 && mailbox.prepare_held_sleep()
    }

    /// Hands over and sleeps.
    #[inline(always)]
    pub(super) fn begin_plain_turn(&mut self, handle: &Handle) -> Result<(), Refusal> {
        debug_assert!(self.has_no_work() && self.pools.is_empty() && self.backend.is_usual());
        debug_assert!(self.is_covered());
        handle.stats.system_calls.add(1);
        let taken = self.backend.enter_plainly();
        handle.mailbox.awake();
        match taken {
            Some(taken) => self.look_at_coarse_clock(taken != 0, &handle.stats),
            None => {
                self.odd = odd::CAREFUL;
                self.enter_backend(Wait::Poll)?;
            }
        }
        match self.backend.offer_plainly(self.plain_max) {
            Some(true) => {}
            Some(false) => self.odd |= odd::PIECES,
            None => {
                // Some are left for later, or the kernel may have more of them.
                self.odd = odd::CAREFUL;
                let completions = self.backend.ready();
                self.backend.offer(completions.min(COMPLETIONS_MAX));
            }
        }
        Ok(())
    }

    /// What plain turns may deliver beside completions: mail.
    #[inline(always)]
    pub(super) fn set_plain_budget(&mut self) {
        self.budget = Budget { posts: POSTS_MAX, ..Budget::default() };
    }

    /// The end of a turn that began as a plain one, and perhaps stayed one.
    pub(super) fn end_begun_plain_turn(&mut self, handle: &Handle) {
        if self.odd & odd::CAREFUL != 0 {
            return self.end_turn(handle);
        }
        handle.counts.set_calls_beyond(self.calls_beyond);
        self.count_turn(handle);
    }

    /// Nothing is left of a plain turn.
    #[inline(always)]
    pub(super) fn is_plainly_exhausted(&self) -> bool {
        !self.has_left_plain_ways() && self.backend.is_exhausted()
    }

    /// Whether this is no plain turn any more, or the end of a send or a second piece is to come.
    #[inline(always)]
    pub(super) fn has_left_plain_ways(&self) -> bool {
        self.odd & (odd::CAREFUL | odd::SENT | odd::PIECES) != 0
    }

    /// Hands over, waits at most as `wait` says, and sets the turn's budget.
    #[inline(always)]
    pub(super) fn begin_turn(&mut self, handle: &Handle, mut wait: Wait) -> Result<(), Refusal> {
        if !self.is_quiet() {
            return self.begin_busy_turn(handle, wait);
        }
        let mailbox = &handle.mailbox;
        if wait != Wait::Poll && (self.backend.ready() > 0 || !self.may_sleep(mailbox, wait)) {
            wait = Wait::Poll;
        }
        let has_staged = self.backend.has_staged();
        self.note_period();
        let entered = self.enter_backend(wait);
        mailbox.awake();
        entered?;
        self.take_mail(mailbox);
        self.look_at_coarse_clock(has_staged, &handle.stats);
        let completions = self.backend.ready();
        self.backend.offer(completions.min(COMPLETIONS_MAX));
        self.budget.stash = 0;
        self.budget.ready = 0;
        self.budget.expired = 0;
        self.budget.posts = POSTS_MAX;
        Ok(())
    }

    /// Ages need no better: a context without timers that always has something to hand over looks
    /// at the clock in every eighth turn.
    #[inline(always)]
    fn look_at_coarse_clock(&mut self, has_staged: bool, stats: &Stats) {
        if !has_staged || stats.turns.get().is_multiple_of(CLOCK_TURNS) {
            self.now_ms = clock::coarse_ms();
        }
    }

    /// Tells the pools if every completion was taken in.
    #[inline(always)]
    fn note_period(&mut self) {
        if self.is_all_taken_in() {
            self.pools.begin_period();
        }
    }

    /// Whether no completion waits to be taken in.
    #[inline(always)]
    pub(super) fn is_all_taken_in(&mut self) -> bool {
        self.stash.is_empty() && self.backend.ready() == 0 && !self.backend.overflown()
    }

    /// Announces that the context goes to sleep; false if something speaks against it. With nothing
    /// in flight only a hold keeps it waiting, and the last one may have just been given back.
    #[inline(always)]
    fn may_sleep(&self, mailbox: &Mailbox, wait: Wait) -> bool {
        mailbox.prepare_sleep(false)
            && (self.has_in_flight() || wait != Wait::Forever || mailbox.is_held())
    }

    /// The turn of a context that has more to look after than its backend.
    #[inline(never)]
    fn begin_busy_turn(&mut self, handle: &Handle, wait: Wait) -> Result<(), Refusal> {
        let mailbox = &handle.mailbox;
        self.settle();
        self.place_timers();
        if let Some(event_fd) = mailbox.foreign() {
            event_fd.drain();
        }
        self.take_mail(mailbox);
        let mut wait = if self.has_work() { Wait::Poll } else { wait };
        if wait != Wait::Poll && !(self.wheel.is_empty() && self.retries.is_empty()) {
            wait = self.limit_wait(wait);
        }
        if wait != Wait::Poll && !self.may_sleep(mailbox, wait) {
            wait = Wait::Poll;
        }
        let in_backend = self.total() != self.local || self.backend.must_look();
        let has_staged = self.backend.has_staged();
        self.note_period();
        let entered = if wait != Wait::Poll || in_backend || has_staged {
            self.enter_backend(wait)
        } else {
            Ok(())
        };
        mailbox.awake();
        entered?;
        self.take_mail(mailbox);
        self.look_at_coarse_clock(has_staged, &handle.stats);
        if !self.wheel.is_empty() || !self.retries.is_empty() {
            let now_ns = self.look_at_clock();
            self.wheel.advance(now_ns);
            self.note_timed_turn();
            if !self.retries.is_empty() {
                self.retry_cancels(now_ns);
            }
        }
        // What was stashed is older than what is in the queue.
        let stashed = self.stash.len() as u32;
        let completions = self.backend.ready();
        self.backend.offer(if stashed == 0 { completions.min(COMPLETIONS_MAX) } else { 0 });
        self.budget.stash = stashed;
        self.budget.ready = self.ready.len() as u32;
        self.budget.expired = EXPIRED_MAX;
        self.budget.posts = POSTS_MAX;
        Ok(())
    }

    /// A budget for everything that is here already.
    pub(super) fn set_local_budget(&mut self) {
        self.budget.stash = self.stash.len() as u32;
        self.budget.ready = self.ready.len() as u32;
        self.budget.expired = 0;
        self.budget.posts = POSTS_MAX;
    }

    /// Shortens a wait to the next deadline or repetition.
    fn limit_wait(&mut self, wait: Wait) -> Wait {
        let now_ns = self.now_ns();
        let retry = self.retry_cancels(now_ns).unwrap_or(u64::MAX);
        let due_ns = self.wheel.next_ns().unwrap_or(u64::MAX).min(retry);
        if due_ns == u64::MAX {
            return wait;
        }
        match due_ns.saturating_sub(now_ns) {
            0 => Wait::Poll,
            ns => match wait {
                Wait::For(limit) => Wait::For(limit.min(ns)),
                _ => Wait::For(ns),
            },
        }
    }

    /// The next timer, once the backend's completions are delivered.
    #[inline(always)]
    pub(super) fn next_timer(&mut self, counts: &Counts) -> Option<Plain> {
        if self.budget.stash != 0 || !self.backend.is_exhausted() {
            return None;
        }
        self.next_plain_timer(counts)
    }

    /// Nothing is left for `next_call`: the common end of a turn.
    #[inline(always)]
    pub(super) fn is_exhausted(&self) -> bool {
        self.budget.stash == 0
            && self.backend.is_exhausted()
            && self.ready.is_empty()
            && self.inbox.is_empty()
            && !self.wheel.has_expired()
    }

    /// The next user function of this turn, where `next_plain` has none.
    #[cold]
    #[inline(never)]
    pub(super) fn next_call(&mut self) -> Option<Call> {
        self.odd |= odd::CAREFUL;
        loop {
            let cqe = if self.budget.stash != 0 {
                self.budget.stash -= 1;
                self.stash.pop_front()
            } else {
                self.backend.pop_offered()
            };
            let Some(cqe) = cqe else { return self.next_local_call() };
            if let Some(delivery) = self.complete(cqe)
                && let Some(call) = self.deliver(delivery)
            {
                return Some(call);
            }
        }
    }

    /// What does not come from the backend: made completions, timers, posted functions.
    fn next_local_call(&mut self) -> Option<Call> {
        while self.budget.ready != 0 {
            self.budget.ready -= 1;
            let Some(ready) = self.ready.pop_front() else { break };
            if let Some(delivery) = self.end_locally(ready)
                && let Some(call) = self.deliver(delivery)
            {
                return Some(call);
            }
        }
        while self.budget.expired != 0 {
            self.budget.expired -= 1;
            let Some(index) = self.wheel.pop_expired(&mut self.slots) else { break };
            if let Some(delivery) = self.expire(index, self.looked_ns)
                && let Some(call) = self.deliver(delivery)
            {
                return Some(call);
            }
        }
        self.next_mail_call()
    }

    /// A delivery as a call, or as a record for `reap`; None: it was a service's and calls nobody.
    pub(super) fn deliver(&mut self, delivery: Delivery) -> Option<Call> {
        match delivery.callback {
            REAP => return Some(self.deliver_record(delivery)),
            INNER => {
                self.deliver_inner(delivery);
                let id = self.take_asking()?;
                return self.ask(id);
            }
            _ => {}
        }
        let Delivery { callback, user_data, id, result, flags, moved, arrival, .. } = delivery;
        if let Some(arrival) = arrival {
            self.open_arrival(arrival);
        }
        self.current = Current { id, result };
        if let Some(bytes) = moved {
            self.moved = (id, bytes);
        }
        Some(Call::Callback(Plain { callback, user_data, result, flags }))
    }

    /// What an operation wants to know, if it still does, as a call.
    pub(super) fn ask(&mut self, id: u64) -> Option<Call> {
        let function = self.question(id)?;
        self.current = Current::NONE;
        Some(Call::Ask(function, id))
    }

    #[cold]
    #[inline(never)]
    fn deliver_record(&mut self, delivery: Delivery) -> Call {
        let Delivery { user_data, id, result, flags, moved, brings, .. } = delivery;
        let is_wide = self.backend.has_wide_completions();
        let plain = if is_wide { delivery.extra } else { result.max(0) as u64 };
        let extra = moved.unwrap_or(plain);
        let record = Record { user_data, id, result, flags, extra, brings };
        match delivery.arrival {
            Some(arrival) => self.push_leased(record, arrival),
            None => self.records.push_back(record),
        }
        self.stop_if_clogged();
        Call::Record
    }

    /// After a record: no more completions are taken in where it was the last that may wait.
    #[inline(always)]
    pub(super) fn stop_if_clogged(&mut self) {
        if self.is_clogged() {
            self.budget.stash = 0;
            self.backend.offer(0);
            self.odd |= odd::CAREFUL;
        }
    }

    /// The turn is over: what became possible by it is staged.
    pub(super) fn end_turn(&mut self, handle: &Handle) {
        self.current = Current::NONE;
        self.set_plain_budget();
        let mut is_quiet = self.is_quiet();
        if !is_quiet {
            self.settle();
            is_quiet = self.is_quiet();
        }
        let is_plain = self.has_no_work()
            && !self.is_careful()
            && self.pools.is_empty()
            && !self.is_clogged()
            && !self.is_ending()
            && self.backend.is_plain()
            && (is_quiet || self.cover_deadlines());
        self.odd = if is_plain { 0 } else { odd::CAREFUL };
        self.count_turn(handle);
        self.publish(handle);
    }

    /// All that the end of a plain turn is.
    #[inline(always)]
    pub(super) fn count_turn(&self, handle: &Handle) {
        debug_assert!(self.mute || self.slots.agree_with(&handle.counts.total()));
        handle.stats.turns.add(1);
    }

    /// Callbacks, posted functions and records.
    #[inline(always)]
    pub(super) fn callbacks(&self) -> u64 {
        self.slots.released().wrapping_add(self.calls_beyond)
    }

    /// Takes back the end of an operation that does not count.
    pub(super) fn unhide(&mut self) {
        self.slots.unhide();
        self.count_call();
    }

    /// One that is not the end of an operation.
    pub(super) fn count_call(&mut self) {
        self.calls_beyond = self.calls_beyond.wrapping_add(1);
    }

    /// Lets other threads see the counters as they are now. Those of operations they always see;
    /// the others do not change in a plain turn that delivers nothing else.
    pub(crate) fn publish(&mut self, handle: &Handle) {
        debug_assert!(self.mute || self.slots.agree_with(&handle.counts.total()));
        handle.counts.set_calls_beyond(self.calls_beyond);
        handle.stats.system_calls.add(self.backend.take_system_calls());
        handle.stats.full_queues.set(self.backend.full_queues());
        handle.stats.publish(&mut self.tally);
    }

    /// Hands staged operations over without waiting. True: there is work, do not sleep.
    pub(crate) fn flush(&mut self, mailbox: &Mailbox) -> Result<bool, Refusal> {
        self.settle();
        // Also collects what the kernel has deferred to this thread, which no descriptor tells of
        // again.
        let in_backend = self.total() != self.local || self.backend.must_look();
        if in_backend || self.backend.has_staged() {
            self.enter_backend(Wait::Poll)?;
        }
        self.place_timers();
        let late = self.wheel.next_ns().is_some_and(|due_ns| due_ns <= self.now_ns());
        if self.has_work() || self.backend.has_staged() || self.backend.has_more() || late {
            return Ok(true);
        }
        Ok(!mailbox.prepare_sleep(true))
    }

    /// How long a foreign loop may sleep; None: without limit.
    pub(crate) fn next_timeout_ns(&mut self) -> Option<u64> {
        self.place_timers();
        if self.has_work() || self.backend.has_more() {
            return Some(0);
        }
        let retry = self.retries.iter().map(|retry| retry.due_ns).min();
        let due_ns = self.wheel.next_ns().into_iter().chain(retry).min();
        let due = due_ns.map(|due_ns| due_ns.saturating_sub(self.now_ns()));
        due.into_iter().chain(self.backend.patience_ns()).min()
    }

    /// Moves waiting records out.
    pub(crate) fn take_records(&mut self, count: usize) -> impl Iterator<Item = Record> {
        let count = count.min(self.records.len());
        self.records.drain(..count)
    }

    /// Drops what nobody has reaped.
    pub(crate) fn drop_records(&mut self) {
        self.records.drain(..).for_each(|record| record.brings.close());
    }

    pub(crate) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }
}
