//! The end of a context (contract, lines 13 to 15). Closing the ring is not enough: with a forked
//! child alive, or operations on kernel workers, the kernel would go on writing to the caller's
//! memory. So everything is asked to end, every last completion is awaited and its callback run,
//! and only then the ring is closed.

use crate::engine::cancel::Why;
use crate::engine::completion::INNER;
use crate::engine::handle::{Handle, life};
use crate::engine::run::{borrow, deliver_local, turn};
use crate::engine::slots::phase;
use crate::engine::{Engine, Refusal, log_level};
use crate::sys::clock;
use crate::sys::ring::Wait;

/// A ring that cannot be entered is tried again so often, so far apart, before destroy gives up.
const FAILURES_MAX: u32 = 100;
const FAILURE_NS: u64 = 10_000_000;
/// How often waiting operations are looked at; cancels are repeated by the engine.
const ROUND_NS: u64 = 50_000_000;
/// How often an orphan, which nothing can wake, is looked at while external operations end.
const ORPHAN_NS: u64 = 1_000_000;

/// Destroys an open, poisoned or new context on its own thread, outside of callbacks.
pub(crate) fn destroy(handle: &Handle) -> Result<(), Refusal> {
    let engine = borrow(handle);
    let started_ns = clock::now_ns();
    let grace_ns = engine.destroy_grace_ns;
    handle.set_life(life::DESTROYING);
    engine.begin_destroy();
    engine.inbox.append(handle.mailbox.close_to_posts());
    let mut failures = 0;
    loop {
        let engine = borrow(handle);
        if engine.total() == 0 {
            // Not before: what a chain still starts would find its buffers gone.
            engine.give_up_buffers();
        }
        if !engine.has_anything() {
            break;
        }
        // One that came before the end would keep the context from sleeping.
        handle.mailbox.consume_stop();
        let spent_ns = clock::now_ns() - started_ns;
        if grace_ns != 0 && spent_ns >= grace_ns {
            return give_up(handle);
        }
        let left_ns = if grace_ns == 0 { ROUND_NS } else { grace_ns - spent_ns };
        // Nothing sleeps for ever here: nothing but the end of an operation wakes us.
        match turn(handle, Wait::For(left_ns.min(ROUND_NS))) {
            Ok(_) => failures = 0,
            Err(_) if failures < FAILURES_MAX => {
                failures += 1;
                clock::sleep_ns(FAILURE_NS);
            }
            Err(_) => return give_up(handle),
        }
    }
    drop(handle.mailbox.close());
    let engine = borrow(handle);
    engine.backend.retire();
    engine.drop_records();
    engine.publish(handle);
    handle.finish();
    Ok(())
}

/// Leaves the context behind as it is: something is in flight that does not end.
fn give_up(handle: &Handle) -> Result<(), Refusal> {
    let engine = borrow(handle);
    engine.running = false;
    engine.report_stuck(handle);
    drop(handle.mailbox.close());
    handle.set_life(life::STUCK);
    Err(Refusal::Stuck)
}

/// Destroys a context whose thread has ended: the ring cannot be entered any more. The caller is on
/// any thread and, by contract, the only one that destroys. External operations still end as
/// always: within the grace period, if there is one.
pub(crate) fn destroy_orphan(handle: &Handle) {
    let engine = borrow(handle);
    let started_ns = clock::now_ns();
    let grace_ns = engine.destroy_grace_ns;
    engine.begin_orphan();
    engine.inbox.append(handle.mailbox.close_to_posts());
    loop {
        let engine = borrow(handle);
        let is_late = grace_ns != 0 && clock::now_ns() - started_ns >= grace_ns;
        engine.end_orphaned(is_late);
        if !engine.has_anything() {
            break;
        }
        if engine.has_nothing_local() {
            clock::sleep_ns(ORPHAN_NS);
        }
        deliver_local(handle);
    }
    drop(handle.mailbox.close());
    borrow(handle).drop_records();
    handle.finish();
}

impl Engine {
    /// Asks everything to end; from now on nothing is accepted.
    fn begin_destroy(&mut self) {
        self.destroying = true;
        self.running = true;
        self.fail_open_chain();
        // Services end what is theirs when their operations end; what they have left comes after.
        for of_services in [false, true] {
            for index in 0..self.slots.end() {
                let slot = self.slots.at(index);
                if slot.phase() != phase::FREE && (slot.callback == INNER) == of_services {
                    let _ = self.request_end(index, Why::Aborted);
                }
            }
        }
    }

    /// Something has not ended, or is not told yet.
    fn has_anything(&self) -> bool {
        self.total() != 0 || self.has_in_flight() || !self.inbox.is_empty()
    }

    /// There is nothing to deliver without waiting.
    fn has_nothing_local(&self) -> bool {
        self.ready.is_empty() && self.stash.is_empty() && self.inbox.is_empty()
    }

    fn begin_orphan(&mut self) {
        self.destroying = true;
        self.running = true;
        self.backend.orphan();
        // Results that were there before the thread ended still count.
        for _ in 0..self.backend.ready() {
            let Some(cqe) = self.backend.pop() else { break };
            self.stash.push_back(cqe);
        }
    }

    /// Ends what the kernel will never report; external operations are asked, and waited for no
    /// longer when it is late.
    fn end_orphaned(&mut self, is_late: bool) {
        if !self.stash.is_empty() {
            return;
        }
        self.give_up_releases();
        for index in 0..self.slots.end() {
            self.settle_timer(index);
            let slot = self.slots.at_mut(index);
            if slot.phase() == phase::NOTIFY {
                self.give_up_notification(index);
                continue;
            }
            if slot.phase() == phase::EXTERNAL && !is_late {
                let _ = self.request_end(index, Why::Aborted);
                continue;
            }
            if slot.callback == INNER {
                self.keep_for_kernel(index);
            }
            let slot = self.slots.at_mut(index);
            if !matches!(slot.phase(), phase::FREE | phase::READY) {
                slot.state |= crate::engine::slots::state::ABORTED;
                if slot.phase() == phase::HELD || slot.phase() == phase::WHEEL {
                    self.local -= 1;
                    self.slots.at_mut(index).set_phase(phase::BACKEND);
                }
                self.make_ended_ready(index);
            }
        }
    }

    /// Names what did not end.
    fn report_stuck(&mut self, handle: &Handle) {
        let text = self.dump(handle);
        self.log(log_level::ERROR, &format!("destroy: grace period over; leaked: {text}"));
    }
}
