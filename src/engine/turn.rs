//! The loop: hand over and wait, let time pass, deliver. The only place that calls user functions,
//! with nothing of the engine borrowed: a callback may submit, cancel, post, stop and destroy
//! (contract, line 12). A turn delivers a bounded number of each kind, so that a flood of
//! completions starves neither timers nor posted functions.

use crate::engine::backend::Handed;
use crate::engine::completion::{Current, Delivery, Plain, REAP, Record};
use crate::engine::handle::Handle;
use crate::engine::mailbox::{Mailbox, Message};
use crate::engine::{Engine, Refusal};
use crate::sys::clock::{self, Clock};
use crate::sys::ring::Wait;
use std::ffi::c_void;

/// Deliveries of one kind per turn.
const COMPLETIONS_MAX: u32 = 1024;
const EXPIRED_MAX: u32 = 1024;
const POSTS_MAX: u32 = 1024;
/// Turns between two looks at the coarse clock.
const CLOCK_TURNS: u64 = 8;
/// How long to wait for memory when there is nothing to deliver meanwhile.
const SHORTAGE_NS: u64 = 1_000_000;

/// What the current turn may still deliver.
#[derive(Default)]
pub(crate) struct Budget {
    pub stash: u32,
    pub ready: u32,
    pub expired: u32,
    posts: u32,
    now_ns: u64,
}

/// A user function to be called.
enum Call {
    Callback(Plain),
    Post(unsafe extern "C-unwind" fn(*mut c_void), *mut c_void),
    /// A record was written; nothing to call.
    Record,
}

/// Aborts if a user function unwinds: an exception must not cross frames that do not know it.
struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        eprintln!("aio_rs: an exception or panic left a callback; aborting");
        std::process::abort();
    }
}

impl Engine {
    /// Operations are, or releases of registered buffers are certain to come.
    #[inline(always)]
    pub(crate) fn has_in_flight(&self) -> bool {
        self.slots.live() != 0 || self.registered.is_expected()
    }

    /// Nothing is in flight, posted or waiting to be delivered.
    pub(crate) fn is_idle(&self, mailbox: &Mailbox) -> bool {
        !self.has_in_flight() && self.inbox.is_empty() && !mailbox.has_mail()
    }

    /// A callback has asked for destruction, or the engine has failed in one.
    fn is_ending(&self) -> bool {
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
        if self.chains.is_open() {
            self.fail_open_chain();
        }
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
        let busy = self.chains.is_open() as usize
            | self.closable.len()
            | self.barriers.len()
            | self.stash.len()
            | self.ready.len()
            | self.retries.len()
            | usize::from(self.foreign_fd.is_some())
            | usize::from(!self.inbox.is_empty())
            | usize::from(!self.pools.are_quiet());
        busy == 0 && self.wheel.is_empty()
    }

    /// Hands over, waits at most as `wait` says, and sets the turn's budget.
    #[inline(always)]
    fn begin_turn(&mut self, mailbox: &Mailbox, mut wait: Wait) -> Result<(), Refusal> {
        if !self.is_quiet() {
            return self.begin_busy_turn(mailbox, wait);
        }
        if wait != Wait::Poll && (self.backend.ready() > 0 || !self.may_sleep(mailbox, wait)) {
            wait = Wait::Poll;
        }
        let has_staged = self.backend.has_staged();
        self.note_period();
        let entered = self.enter_backend(wait);
        mailbox.awake();
        entered?;
        self.take_mail(mailbox);
        self.look_at_coarse_clock(has_staged);
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
    fn look_at_coarse_clock(&mut self, has_staged: bool) {
        if !has_staged || self.tally.turns.is_multiple_of(CLOCK_TURNS) {
            self.now_ms = clock::coarse_ms();
        }
    }

    /// Tells the pools if every completion was taken in.
    #[inline(always)]
    fn note_period(&mut self) {
        if self.backend.ready() == 0 && !self.backend.overflown() {
            self.pools.begin_period();
        }
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
    fn begin_busy_turn(&mut self, mailbox: &Mailbox, wait: Wait) -> Result<(), Refusal> {
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
        let in_backend = self.slots.live() != self.local || self.backend.must_look();
        let has_staged = self.backend.has_staged();
        if self.stash.is_empty() {
            self.note_period();
        }
        let entered = if wait != Wait::Poll || in_backend || has_staged {
            self.enter_backend(wait)
        } else {
            Ok(())
        };
        mailbox.awake();
        entered?;
        self.take_mail(mailbox);
        self.look_at_coarse_clock(has_staged);
        if !self.wheel.is_empty() || !self.retries.is_empty() {
            self.budget.now_ns = self.now_ns();
            if self.clock == Clock::Monotonic {
                self.now_ms = (self.budget.now_ns / 1_000_000) as u32;
            }
            self.wheel.advance(self.budget.now_ns);
            if !self.retries.is_empty() {
                self.retry_cancels(self.budget.now_ns);
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
    fn set_local_budget(&mut self) {
        self.budget.stash = self.stash.len() as u32;
        self.budget.ready = self.ready.len() as u32;
        self.budget.expired = 0;
        self.budget.posts = POSTS_MAX;
    }

    #[inline(always)]
    fn take_mail(&mut self, mailbox: &Mailbox) {
        if self.inbox.is_empty() {
            self.inbox = mailbox.take();
        }
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
    fn next_timer(&mut self) -> Option<Plain> {
        if self.budget.stash != 0 || self.backend.peek().is_some() {
            return None;
        }
        self.next_plain_timer()
    }

    /// Nothing is left for `next_call`: the common end of a turn.
    #[inline(always)]
    fn is_exhausted(&self) -> bool {
        self.budget.stash == 0
            && self.backend.peek().is_none()
            && self.ready.is_empty()
            && self.inbox.is_empty()
            && !self.wheel.has_expired()
    }

    /// The next user function of this turn, where `next_plain` has none.
    #[cold]
    #[inline(never)]
    fn next_call(&mut self) -> Option<Call> {
        loop {
            if self.budget.stash == 0
                && let Some(plain) = self.next_pooled()
            {
                return Some(Call::Callback(plain));
            }
            let cqe = if self.budget.stash != 0 {
                self.budget.stash -= 1;
                self.stash.pop_front()
            } else {
                self.backend.pop_offered()
            };
            let Some(cqe) = cqe else { return self.next_local_call() };
            if let Some(delivery) = self.complete(cqe) {
                return Some(self.deliver(delivery));
            }
        }
    }

    /// What does not come from the backend: made completions, timers, posted functions.
    fn next_local_call(&mut self) -> Option<Call> {
        while self.budget.ready != 0 {
            self.budget.ready -= 1;
            let Some(ready) = self.ready.pop_front() else { break };
            if let Some(delivery) = self.end_locally(ready) {
                return Some(self.deliver(delivery));
            }
        }
        while self.budget.expired != 0 {
            self.budget.expired -= 1;
            let Some(index) = self.wheel.pop_expired(&mut self.slots) else { break };
            if let Some(delivery) = self.expire(index, self.budget.now_ns) {
                return Some(self.deliver(delivery));
            }
        }
        while self.budget.posts != 0 {
            self.budget.posts -= 1;
            let message = self.inbox.next()?;
            match message {
                Message::Run(function, arg) if !self.mute => {
                    self.tally.posts();
                    self.current = Current::NONE;
                    return Some(Call::Post(function, arg));
                }
                Message::Run(..) => {}
                Message::Cancel(id) => {
                    let _ = self.cancel(id);
                }
                Message::Refill(group) => self.refill(group),
                Message::Letter(_) | Message::Parcel(_) | Message::Answer(_) | Message::Kept(_) => {
                    if let Some(delivery) = self.take_message(message) {
                        return Some(self.deliver(delivery));
                    }
                }
                Message::LowWater(group) => {
                    if let Some((function, arg)) = self.low_water(group)
                        && !self.mute
                    {
                        self.current = Current::NONE;
                        return Some(Call::Post(function, arg));
                    }
                }
            }
        }
        None
    }

    /// A delivery as a call, or as a record for `reap`.
    fn deliver(&mut self, delivery: Delivery) -> Call {
        if delivery.callback == REAP {
            return self.deliver_record(delivery);
        }
        let Delivery { callback, user_data, id, result, flags, moved, arrival, .. } = delivery;
        if let Some(arrival) = arrival {
            self.open_arrival(arrival);
        }
        self.current = Current { id, result };
        if let Some(bytes) = moved {
            self.moved = (id, bytes);
        }
        Call::Callback(Plain { callback, user_data, result, flags })
    }

    #[cold]
    #[inline(never)]
    fn deliver_record(&mut self, delivery: Delivery) -> Call {
        let Delivery { user_data, id, result, flags, moved, brings, .. } = delivery;
        let is_wide = self.granted().cqe_size == 32;
        let plain = if is_wide { delivery.extra } else { result.max(0) as u64 };
        let extra = moved.unwrap_or(plain);
        let record = Record { user_data, id, result, flags, extra, brings };
        match delivery.arrival {
            Some(arrival) => self.push_leased(record, arrival),
            None => self.records.push_back(record),
        }
        if self.is_clogged() {
            self.budget.stash = 0;
            self.backend.offer(0);
        }
        Call::Record
    }

    /// The turn is over: what became possible by it is staged.
    fn end_turn(&mut self, handle: &Handle, delivered: u32) {
        self.current = Current::NONE;
        if !self.is_quiet() {
            self.settle();
        }
        self.tally.callbacks += u64::from(delivered);
        self.tally.turns += 1;
        self.publish(handle);
    }

    /// Lets other threads see the counters as they are now.
    #[inline(always)]
    pub(crate) fn publish(&mut self, handle: &Handle) {
        self.tally.submitted = self.slots.taken();
        self.tally.completed = self.slots.released();
        (self.tally.system_calls, self.tally.full_queues) = self.backend.counts();
        handle.stats.publish(&mut self.tally);
    }

    /// Hands staged operations over without waiting. True: there is work, do not sleep.
    pub(crate) fn flush(&mut self, mailbox: &Mailbox) -> Result<bool, Refusal> {
        self.settle();
        // Also collects what the kernel has deferred to this thread, which no descriptor tells of
        // again.
        let in_backend = self.slots.live() != self.local || self.backend.must_look();
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

/// The engine for a moment. Every function below, and those of `destroy.rs`, run on the thread that
/// may use it (`Handle::run_with`, `Handle::destroy`), and drop the borrow before a user function
/// runs.
#[allow(clippy::mut_from_ref)]
#[inline(always)]
pub(super) fn borrow(handle: &Handle) -> &mut Engine {
    // SAFETY: as said above.
    unsafe { handle.engine() }
}

/// One turn. Returns the number of callbacks and records.
pub(crate) fn turn(handle: &Handle, wait: Wait) -> Result<u32, Refusal> {
    borrow(handle).begin_turn(&handle.mailbox, wait)?;
    let mut delivered = 0;
    loop {
        if let Some(plain) = borrow(handle).next_plain() {
            perform(plain);
        } else if borrow(handle).is_exhausted() {
            break;
        } else if let Some(plain) = borrow(handle).next_timer() {
            perform(plain);
        } else if let Some(call) = borrow(handle).next_call() {
            perform_any(call);
            borrow(handle).close_arrival();
        } else {
            break;
        }
        delivered += 1;
    }
    borrow(handle).end_turn(handle, delivered);
    Ok(delivered)
}

/// Delivers what is there without entering the backend: for a context whose thread has ended.
pub(crate) fn deliver_local(handle: &Handle) {
    borrow(handle).set_local_budget();
    while let Some(call) = borrow(handle).next_call() {
        perform_any(call);
        borrow(handle).close_arrival();
    }
}

/// Calls the user's callback: the one place where this happens.
#[inline(always)]
fn perform(plain: Plain) {
    let guard = NoUnwind;
    // SAFETY: the caller of submit promised a function of this type; the engine holds no borrow.
    // `callback` is a function's address: the value for records was sorted out before.
    unsafe {
        let callback: unsafe extern "C-unwind" fn(*mut c_void, i32, u32) =
            std::mem::transmute(plain.callback);
        callback(plain.user_data as *mut c_void, plain.result, plain.flags);
    }
    std::mem::forget(guard);
}

/// Calls whatever is due.
fn perform_any(call: Call) {
    match call {
        Call::Callback(plain) => perform(plain),
        Call::Post(function, arg) => {
            let guard = NoUnwind;
            // SAFETY: the caller of post promised a function of this type; nothing is borrowed.
            unsafe { function(arg) };
            std::mem::forget(guard);
        }
        Call::Record => {}
    }
}

/// Turns until something was delivered or `timeout_ns` has passed (negative: no limit). Also ends
/// when there is nothing that could be waited for, and on a stop.
pub(crate) fn run_once(handle: &Handle, timeout_ns: i64) -> Result<u32, Refusal> {
    let limit_ns = u64::try_from(timeout_ns).ok();
    let mut until_ns = None;
    loop {
        let engine = borrow(handle);
        if handle.mailbox.consume_stop() || engine.is_clogged() {
            return Ok(0);
        }
        if limit_ns.is_none() && engine.is_idle(&handle.mailbox) && !handle.mailbox.is_held() {
            return Ok(0);
        }
        let wait = match limit_ns {
            None => Wait::Forever,
            Some(0) => Wait::Poll,
            Some(limit) => {
                let now_ns = clock::now_ns();
                let until_ns = *until_ns.get_or_insert(now_ns.saturating_add(limit));
                if until_ns <= now_ns { Wait::Poll } else { Wait::For(until_ns - now_ns) }
            }
        };
        let was_empty = borrow(handle).slots.live() == 0;
        let delivered = turn(handle, wait)?;
        let engine = borrow(handle);
        // The last one may have ended without a word: quietly, or detached.
        let is_emptied = !was_empty && engine.slots.live() == 0;
        if delivered != 0 || is_emptied || engine.is_ending() || wait == Wait::Poll {
            return Ok(delivered);
        }
    }
}

/// Turns until there are records, as `run_once` turns until there is a delivery.
pub(crate) fn wait_for_records(handle: &Handle, timeout_ns: i64) -> Result<(), Refusal> {
    let until_ns = u64::try_from(timeout_ns).ok().map(|ns| clock::now_ns().saturating_add(ns));
    loop {
        if borrow(handle).has_records() {
            return Ok(());
        }
        let left_ns = until_ns.map_or(-1, |until_ns| {
            i64::try_from(until_ns.saturating_sub(clock::now_ns())).unwrap_or(i64::MAX)
        });
        let delivered = run_once(handle, left_ns)?;
        let engine = borrow(handle);
        if delivered == 0 || left_ns == 0 || engine.is_ending() {
            return Ok(());
        }
    }
}

/// Turns until stopped, or nothing is in flight, posted or held.
pub(crate) fn run(handle: &Handle) -> Result<(), Refusal> {
    loop {
        let engine = borrow(handle);
        let idle = engine.is_idle(&handle.mailbox) && !handle.mailbox.is_held();
        if handle.mailbox.consume_stop() || idle || engine.is_clogged() || engine.is_ending() {
            return Ok(());
        }
        turn(handle, Wait::Forever)?;
    }
}
