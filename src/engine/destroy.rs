//! The end of a context (contract, lines 13 to 15). Closing the ring is not enough: with a forked
//! child alive, or operations on kernel workers, the kernel would go on writing to the caller's
//! memory. So everything is asked to end, every last completion is awaited and its callback run,
//! and only then the ring is closed.

use crate::engine::cancel::Why;
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

/// Destroys an open, poisoned or new context on its own thread, outside of callbacks.
pub(crate) fn destroy(handle: &Handle) -> Result<(), Refusal> {
    let engine = borrow(handle);
    let started_ns = clock::now_ns();
    let grace_ns = engine.destroy_grace_ns;
    handle.set_life(life::DESTROYING);
    engine.begin_destroy();
    engine.inbox.append(handle.mailbox.close());
    let mut failures = 0;
    loop {
        let engine = borrow(handle);
        if engine.slots.live() == 0 {
            // Not before: what a chain still starts would find its buffers gone.
            engine.give_up_buffers();
        }
        if !engine.has_in_flight() && engine.inbox.is_empty() {
            break;
        }
        let spent_ns = clock::now_ns() - started_ns;
        if grace_ns != 0 && spent_ns >= grace_ns {
            return give_up(handle);
        }
        let left_ns = if grace_ns == 0 { ROUND_NS } else { grace_ns - spent_ns };
        // Nothing sleeps for ever here: the mailbox is closed, so that nobody would wake us.
        match turn(handle, Wait::For(left_ns.min(ROUND_NS))) {
            Ok(_) => failures = 0,
            Err(_) if failures < FAILURES_MAX => {
                failures += 1;
                clock::sleep_ns(FAILURE_NS);
            }
            Err(_) => return give_up(handle),
        }
    }
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
    handle.set_life(life::STUCK);
    Err(Refusal::Stuck)
}

/// Destroys a context whose thread has ended: the ring cannot be entered any more. The caller is on
/// any thread and, by contract, the only one that destroys.
pub(crate) fn destroy_orphan(handle: &Handle) {
    let engine = borrow(handle);
    engine.begin_orphan();
    engine.inbox.append(handle.mailbox.close());
    loop {
        let engine = borrow(handle);
        engine.end_orphaned();
        if !engine.has_in_flight() && engine.inbox.is_empty() {
            break;
        }
        deliver_local(handle);
    }
    borrow(handle).drop_records();
    handle.finish();
}

impl Engine {
    /// Asks everything to end; from now on nothing is accepted.
    fn begin_destroy(&mut self) {
        self.destroying = true;
        self.running = true;
        self.fail_open_chain();
        for index in 0..self.slots.end() {
            if self.slots.at(index).phase() != phase::FREE {
                let _ = self.request_end(index, Why::Aborted);
            }
        }
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

    /// Ends what the kernel will never report.
    fn end_orphaned(&mut self) {
        if !self.stash.is_empty() {
            return;
        }
        self.give_up_releases();
        for index in 0..self.slots.end() {
            let slot = self.slots.at_mut(index);
            if slot.phase() == phase::NOTIFY {
                self.give_up_notification(index);
                continue;
            }
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
