//! Asking operations to end: by id, descriptor, group, all, by deadline and by destroy. What the
//! engine holds ends at once (its callback still runs later); what the kernel has is asked for, by
//! id, and asked again while the kernel says that it cannot be found or is running.

use crate::engine::completion::INNER;
use crate::engine::mailbox::Mailbox;
use crate::engine::msg_ring;
use crate::engine::slots::{phase, state};
use crate::engine::{Engine, Refusal};
use crate::op::{self, traits};
use crate::sys::entry::{Cqe, Opcode, Sqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::ring::Wait;

/// Who wants the end of an operation; decides what its callback is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Cancelled,
    Expired,
    Aborted,
}

/// A cancel request that the kernel could not carry out, to be repeated.
pub(crate) struct Retry {
    pub id: u64,
    pub due_ns: u64,
    pub attempts: u32,
}

/// The user_data of an entry of the engine's own: negative as a number, so never an id.
pub(crate) const INTERNAL: u64 = 1 << 63;
/// The engine's own poll of its wake-up descriptor.
pub(crate) const WAKE: u64 = INTERNAL | 0xff_ffff;
/// Work of the engine's own on the table of direct descriptors: no id has generation 0.
pub(crate) const RELEASE: u64 = INTERNAL | 1;
pub(crate) const INSTALL: u64 = INTERNAL | 2;
/// The end of the time for which no deadline has to be looked at (`alarm.rs`).
pub(crate) const ALARM: u64 = INTERNAL | 3;

const RETRY_FIRST_NS: u64 = 100_000;
const RETRY_DOUBLINGS_MAX: u32 = 9;

impl Engine {
    /// Cancels by id, on the context's thread.
    pub(crate) fn cancel(&mut self, id: u64) -> Result<(), Errno> {
        if self.cancel_timer(id) {
            return Ok(());
        }
        let index = self.slots.find(id).ok_or(Errno::ENOENT)?;
        if self.slots.at(index).has(state::DISCARD) {
            return Err(Errno::ENOENT); // Nobody waits for it any more.
        }
        self.request_end(index, Why::Cancelled)
    }

    /// Asks every operation that `wanted` picks to end; returns how many were asked.
    fn cancel_where(&mut self, wanted: impl Fn(&mut Engine, u32) -> bool) -> i32 {
        let mut asked = 0;
        for index in 0..self.slots.end() {
            if self.slots.at(index).phase() != phase::FREE
                && wanted(self, index)
                && self.request_end(index, Why::Cancelled).is_ok()
            {
                asked += 1;
            }
        }
        asked
    }

    pub(crate) fn cancel_all(&mut self) -> i32 {
        self.cancel_where(|engine, index| engine.slots.at(index).callback != INNER)
    }

    pub(crate) fn cancel_group(&mut self, group: u64) -> i32 {
        self.cancel_where(|engine, index| {
            let slot = engine.slots.at(index);
            engine.cold.get(slot).is_some_and(|cold| cold.group == group)
        })
    }

    pub(crate) fn cancel_fd(&mut self, fd: i32, is_slot: bool) -> i32 {
        let fd = self.descriptors.number(fd, is_slot);
        let listed = self.descriptors.listed(&mut self.slots, &mut self.cold, fd);
        let mut asked = 0;
        for index in listed {
            asked += i32::from(self.request_end(index, Why::Cancelled).is_ok());
        }
        asked
    }

    /// Cancels; the callback never runs, and what arrives is released (contract, line 6).
    pub(crate) fn detach(&mut self, id: u64) -> Result<(), Errno> {
        let index = self.slots.find(id).ok_or(Errno::ENOENT)?;
        let slot = self.slots.at_mut(index);
        if slot.has(state::DISCARD) {
            return Err(Errno::ENOENT);
        }
        if slot.has(traits::CALLER_MEMORY) {
            return Err(Errno::EBUSY);
        }
        slot.state |= state::DISCARD;
        // A close goes on: the descriptor would stay open with nobody knowing.
        if !slot.has(traits::CLOSES) {
            let _ = self.request_end(index, Why::Cancelled);
        }
        Ok(())
    }

    /// Asks one operation to end. An error, and nothing is done, if it was asked before, has its
    /// last completion waiting, or waits for no more than a notification.
    pub(crate) fn request_end(&mut self, index: u32, why: Why) -> Result<(), Errno> {
        self.settle_timer(index);
        let slot = self.slots.at_mut(index);
        // A close that was detached goes on: nobody else would close the descriptor.
        let is_left_alone = slot.has(state::DISCARD) && slot.has(traits::CLOSES);
        let has_result = matches!(slot.phase(), phase::READY | phase::NOTIFY);
        if is_left_alone || slot.has(state::ENDED) || has_result {
            return Err(Errno::EALREADY);
        }
        slot.state |= match why {
            Why::Cancelled => state::CANCELLED,
            Why::Expired => state::EXPIRED,
            Why::Aborted => state::ABORTED,
        };
        if slot.has(state::CHAINED) {
            self.end_member(index);
            return Ok(());
        }
        match slot.phase() {
            phase::BACKEND if op::service::is_receive(slot.opcode()) => {
                self.make_ended_ready(index)
            }
            phase::BACKEND => self.cancel_in_backend(index),
            phase::EXTERNAL => return self.end_external(index),
            phase::HELD => {
                if let Some(result) = self.withdraw(index) {
                    self.make_ready(index, result, 0);
                    return Ok(());
                }
                let slot = self.slots.at_mut(index);
                if slot.has(state::BARRIER) {
                    self.barriers.cancel(index);
                }
                slot.state &= !(state::BARRIER | state::CLOSE_WAITS);
                if slot.has(traits::CLOSES) {
                    self.unmark_closing(index);
                }
                self.make_ended_ready(index);
            }
            _ => self.make_ended_ready(index),
        }
        Ok(())
    }

    /// Hands a cancel request for what the backend has over, behind everything staged before.
    pub(crate) fn cancel_in_backend(&mut self, index: u32) {
        let id = self.slots.id(index);
        self.ask_backend(id);
    }

    fn ask_backend(&mut self, id: u64) {
        self.tally.cancels();
        let sqe = Sqe {
            opcode: Opcode::IORING_OP_ASYNC_CANCEL as u8,
            fd: -1,
            addr: id,
            user_data: INTERNAL | id,
            ..Sqe::default()
        };
        self.backend.stage(&sqe.into());
    }

    /// The kernel's answer to a cancel request. ENOENT: its target has ended, or was between two
    /// states. EALREADY: a worker is running it. While the target lives, ask again.
    pub(crate) fn cancel_answered(&mut self, id: u64, result: i32) {
        if result >= 0 {
            return;
        }
        let Some(index) = self.slots.find(id) else { return };
        let slot = self.slots.at_mut(index);
        // One repetition at a time, however many answers there are.
        if slot.phase() == phase::BACKEND && !slot.has(state::RETRIED) {
            slot.state |= state::RETRIED;
            let due_ns = self.now_ns() + RETRY_FIRST_NS;
            self.retries.push_back(Retry { id, due_ns, attempts: 0 });
        }
    }

    /// Repeats what is due; returns when the next is.
    pub(crate) fn retry_cancels(&mut self, now_ns: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        for _ in 0..self.retries.len() {
            let Some(mut retry) = self.retries.pop_front() else { break };
            let Some(index) = self.slots.find(retry.id) else { continue };
            if self.slots.at(index).phase() != phase::BACKEND {
                continue;
            }
            if retry.due_ns <= now_ns {
                retry.attempts += 1;
                let doublings = retry.attempts.min(RETRY_DOUBLINGS_MAX);
                retry.due_ns = now_ns + (RETRY_FIRST_NS << doublings);
                self.ask_backend(retry.id);
            }
            next = Some(next.map_or(retry.due_ns, |at| at.min(retry.due_ns)));
            self.retries.push_back(retry);
        }
        next
    }

    /// Cancels one operation and waits for it alone. Its callback does not run; completions of
    /// others are kept in their order for later.
    pub(crate) fn cancel_wait(&mut self, mailbox: &Mailbox, id: u64) -> Result<(), Refusal> {
        let index = self.slots.find(id).ok_or(Errno::ENOENT)?;
        let slot = self.slots.at_mut(index);
        if slot.has(state::DISCARD) {
            return Err(Errno::ENOENT.into());
        }
        let _ = self.request_end(index, Why::Cancelled);
        self.slots.at_mut(index).state |= state::DISCARD;
        if self.slots.at(index).phase() == phase::HELD {
            // It is in the open chain, which stays open, without it, to fail what depends on it.
            self.member_ended(index);
            self.make_ended_ready(index);
        }
        self.discard_stashed(id);
        self.discard_ready(index, id);
        while self.slots.find(id).is_some() {
            self.wait_stashing(mailbox, id)?;
        }
        Ok(())
    }

    /// Drops a waiting last completion of the engine's own making.
    fn discard_ready(&mut self, index: u32, id: u64) {
        if self.slots.find(id).is_none() || self.slots.at(index).phase() != phase::READY {
            return;
        }
        if let Some(position) = self.ready.iter().position(|ready| ready.index == index)
            && let Some(ready) = self.ready.remove(position)
        {
            let delivery = self.end_locally(ready);
            debug_assert!(delivery.is_none());
        }
    }

    /// Completions of `id` that were stashed earlier are its first, and nobody's now.
    fn discard_stashed(&mut self, id: u64) {
        let stashed = std::mem::take(&mut self.stash);
        for cqe in stashed {
            if cqe.user_data == id && msg_ring::received(&cqe).is_none() {
                let delivery = self.complete(cqe);
                debug_assert!(delivery.is_none());
            } else {
                self.stash.push_back(cqe);
            }
        }
    }

    /// One round of waiting in the backend, stashing what belongs to others.
    fn wait_stashing(&mut self, mailbox: &Mailbox, id: u64) -> Result<(), Refusal> {
        // What is in the queue already comes first.
        self.take_to_stash(id);
        self.take_ends(mailbox, id);
        if self.slots.find(id).is_none() {
            return Ok(());
        }
        let wait = match self.retry_cancels(self.now_ns()) {
            _ if !mailbox.prepare_wait() => Wait::Poll,
            Some(due_ns) => Wait::For(due_ns.saturating_sub(self.now_ns())),
            None => Wait::Forever,
        };
        let entered = self.enter_backend(wait);
        mailbox.awake();
        entered?;
        self.take_to_stash(id);
        Ok(())
    }

    /// A chain goes on when a member has completed, not when its callback has run; and buffers are
    /// used in the order of completions.
    fn note_stashed(&mut self, cqe: &mut Cqe) {
        if msg_ring::received(cqe).is_some() {
            return;
        }
        let Some(index) = self.slots.find(cqe.user_data) else { return };
        let has_result = cqe.flags & cqe_flags::MORE == 0 || self.notifies(index);
        if self.slots.at(index).has(state::CHAINED) && has_result {
            self.member_ended(index);
        }
        self.note_buffers(index, cqe);
    }

    /// Takes what is in the queue; completions of `id` and the engine's own are dealt with at once.
    pub(crate) fn take_to_stash(&mut self, id: u64) {
        // What the turn was offered goes to the stash with the rest.
        self.backend.offer(0);
        while self.backend.ready() > 0 {
            let Some(mut cqe) = self.backend.pop() else { break };
            // The engine's own completions may be what the wait depends on.
            let is_message = msg_ring::received(&cqe).is_some();
            if !is_message && (cqe.user_data == id || cqe.user_data & INTERNAL != 0) {
                let delivery = self.complete(cqe);
                debug_assert!(delivery.is_none());
            } else if !is_message && self.is_inner(cqe.user_data) {
                self.complete_inner(cqe);
            } else {
                self.note_stashed(&mut cqe);
                self.stash.push_back(cqe);
            }
        }
        self.backend.offer(0);
        self.budget.stash = self.stash.len() as u32;
    }
}
