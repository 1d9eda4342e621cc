//! From a completion to what the caller is told. The plain case frees a slot and hands back a
//! callback; the careful one knows multishots, deadlines, chains, barriers, outputs and the results
//! that nobody wants. Results are spelled as the contract's line 17 says.

use crate::engine::Engine;
use crate::engine::buffer_pool::Arrival;
use crate::engine::cancel::{ALARM, INSTALL, INTERNAL, WAKE};
use crate::engine::descriptors::{DIRECT, Left, target};
use crate::engine::external::Hooked;
use crate::engine::leases::{self, Shared};
use crate::engine::msg_ring;
use crate::engine::registered::{self, RELEASE};
use crate::engine::slots::{Slot, phase, state};
use crate::op::{self, traits};
use crate::sys::descriptor;
use crate::sys::entry::{Cqe, Opcode, Sqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::poller::can_be_watched;
use crate::sys::thread;

/// `AIO_CQE_DEADLINE` and `AIO_CQE_ABORTED`.
pub(crate) const DEADLINE: u32 = 1 << 16;
pub(crate) const ABORTED: u32 = 1 << 17;
const MORE: u32 = cqe_flags::MORE;

/// The callback address that stands for "a record, please" (`AIO_CALLBACK_REAP`).
pub(crate) const REAP: usize = 1;
/// The callback address of what belongs to an external operation (`external.rs`), whose id is its
/// user data. No function has a lower one.
pub(crate) const INNER: usize = 2;
/// The callback address of what was never submitted.
pub(crate) const NOBODY: usize = 0;

/// One call of a user function, or one record.
#[derive(Clone, Copy)]
pub(crate) struct Delivery {
    pub callback: usize,
    pub user_data: usize,
    pub id: u64,
    pub result: i32,
    pub flags: u32,
    pub extra: u64,
    /// Of an operation of several steps: how much was transferred, whatever the result is.
    pub moved: Option<u64>,
    pub brings: Brings,
    pub arrival: Option<Arrival>,
}

/// What comes with a result: the engine's until the caller is told of it.
#[derive(Clone, Copy)]
pub(crate) enum Brings {
    Nothing,
    /// Descriptors.
    One(i32),
    Two([i32; 2]),
    /// A piece of a pool's buffer.
    Lease {
        pool: *const Shared,
        id: i64,
        /// As in an `Arrival`.
        control_at: u32,
    },
}

impl Brings {
    /// The lease's id, or 0.
    pub(crate) fn lease(self) -> i64 {
        if let Brings::Lease { id, .. } = self { id } else { 0 }
    }

    pub(crate) fn close(self) {
        match self {
            Brings::Nothing => {}
            Brings::One(fd) => descriptor::close(fd),
            Brings::Two(pair) => pair.into_iter().for_each(descriptor::close),
            Brings::Lease { pool, id, control_at } => leases::release(pool, id, control_at),
        }
    }
}

/// The same without what only a record needs.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    pub callback: usize,
    pub user_data: usize,
    pub result: i32,
    pub flags: u32,
}

/// The operation whose callback is running.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub id: u64,
    pub result: i32,
}

impl Current {
    pub(crate) const NONE: Current = Current { id: 0, result: 0 };

    /// How much was transferred, by an operation of one step.
    pub(crate) fn bytes(&self) -> u64 {
        self.result.max(0) as u64
    }
}

/// A last completion that the engine made.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub index: u32,
    pub result: i32,
    pub flags: u32,
}

/// What `reap` hands out.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub user_data: usize,
    pub id: u64,
    pub result: i32,
    pub flags: u32,
    pub extra: u64,
    pub brings: Brings,
}

impl Engine {
    /// Takes a completion of any kind in. None: there is nobody to tell.
    pub(crate) fn complete(&mut self, mut cqe: Cqe) -> Option<Delivery> {
        if let Some((kind, letter)) = msg_ring::received(&cqe) {
            return self.receive(kind, letter);
        }
        match self.slots.find(cqe.user_data) {
            Some(index) => {
                if let Some(group) = self.group(index) {
                    self.note_buffers(index, &mut cqe);
                    return self.complete_pooled(index, group, cqe);
                }
                self.complete_carefully(index, cqe)
            }
            None => {
                self.complete_internal(cqe);
                None
            }
        }
    }

    /// A completion of one of the engine's own entries.
    fn complete_internal(&mut self, cqe: Cqe) {
        if cqe.user_data == WAKE {
            self.tally.wakes();
            if cqe.flags & MORE == 0 && !self.destroying {
                self.watch_wake();
            }
        } else if let Some(key) = registered::key_of(cqe.user_data) {
            self.released(key);
        } else if cqe.user_data == INSTALL {
            self.installed = Some(cqe.result);
        } else if cqe.user_data == ALARM {
            self.alarm_rings(cqe.result);
        } else if cqe.user_data & INTERNAL != 0 {
            self.cancel_answered(cqe.user_data & !INTERNAL, cqe.result);
        }
    }

    /// Polls the wake-up descriptor, so that a message ends the backend's wait.
    pub(crate) fn watch_wake(&mut self) {
        if self.backend.wakes_itself() {
            return;
        }
        let mut sqe = Sqe { user_data: WAKE, ..Sqe::default() };
        op::poll::wake_poll(&mut sqe, self.wake_fd);
        self.backend.stage(&sqe.into());
    }

    fn complete_carefully(&mut self, index: u32, cqe: Cqe) -> Option<Delivery> {
        if cqe.flags & (MORE | cqe_flags::NOTIFY) != 0 && self.notifies(index) {
            return self.complete_zero_copy(index, cqe);
        }
        let slot = self.slots.at(index);
        if let Some(cold) = self.cold.get(slot) {
            if cold.steps.is_some() {
                return self.complete_step(index, cqe);
            }
            if cold.bundle.is_some() {
                return self.complete_bundle(index, cqe);
            }
            if cold.outgoing.is_some() {
                return self.complete_message(index, cqe);
            }
        }
        let mut flags = cqe.flags & cqe_flags::PUBLIC;
        // The kernel ends a multishot without an error when it had to leave the fast path: to the
        // caller it is one operation. But a file that knows no changes is always ready.
        if slot.has(traits::REARMS) {
            let polls = slot.opcode() == Opcode::IORING_OP_POLL_ADD as u8;
            let is_over = slot.has(state::ENDED | state::DISCARD) || cqe.result < 0;
            let cold = self.cold.of(slot);
            if flags & MORE != 0 {
                cold.goes_on = true;
            } else if !is_over && (cold.goes_on || !polls || knows_changes(slot.fd)) {
                cold.goes_on = false;
                self.tally.rearms();
                self.start(index);
                flags |= MORE;
            } else if cqe.result >= 0 && slot.has(state::ENDED) && !slot.has(state::DISCARD) {
                // Its last callback says how it has ended.
                self.make_ended_ready(index);
                flags |= MORE;
            }
        }
        if flags & MORE == 0 {
            let (result, extra_flags) = self.spell(index, cqe.result);
            return self.end(index, result, flags | extra_flags, cqe.extra);
        }
        self.restart_idle_deadline(index);
        self.tell(index, cqe.result, flags, cqe.extra)
    }

    pub(crate) fn restart_idle_deadline(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.has(state::IDLE_DEADLINE) && slot.has(state::TIMED) {
            let period_ns = self.cold.of(slot).period_ns;
            self.wheel.disarm(&mut self.slots, index);
            self.arm_after(index, period_ns);
        }
    }

    /// The same for a receive into a pool's buffers, which are noted.
    fn complete_pooled(&mut self, index: u32, group: u16, cqe: Cqe) -> Option<Delivery> {
        let arrival = self.arrival(index, &cqe);
        let mut flags = cqe.flags & cqe_flags::PUBLIC;
        let mut result = cqe.result;
        let slot = self.slots.at(index);
        let is_over = slot.has(state::ENDED | state::DISCARD);
        if flags & MORE == 0 {
            if result < 0 && !is_over && self.outlasts(index, group, result) {
                arrival.into_iter().for_each(|arrival| self.drop_arrival(arrival));
                return None;
            }
            if let Some(is_named) = arrival.and_then(|arrival| self.empty_message(arrival)) {
                let (fd, is_slot) = target(self.slots.at(index).fd);
                // Nobody can ask what is in a slot, but the end of a stream comes from nobody.
                let is_last = if is_slot { !is_named } else { op::buffers::is_last_message(fd) };
                result = if is_last { 0 } else { result };
            }
            let slot = self.slots.at(index);
            if slot.has(traits::MULTISHOT) && result > 0 && !slot.has(state::DISCARD) {
                if is_over {
                    // Its last callback says how it has ended.
                    self.make_ended_ready(index);
                } else {
                    self.tally.rearms();
                    self.start_again(index, group);
                }
                flags |= MORE;
            }
        }
        // No data, no buffer.
        let arrival = if result > 0 {
            arrival
        } else {
            flags &= !(cqe_flags::BUFFER | cqe_flags::BUFFER_MORE);
            arrival.into_iter().for_each(|arrival| self.drop_arrival(arrival));
            None
        };
        let delivery = if flags & MORE == 0 {
            if result < 0 && is_over && self.is_want(group, result) {
                result = Errno::ECANCELED.status();
            }
            let (result, extra_flags) = self.spell(index, result);
            self.end(index, result, flags | extra_flags, 0)
        } else {
            self.restart_idle_deadline(index);
            self.tell(index, result, flags, 0)
        };
        match delivery {
            Some(delivery) => Some(Delivery { arrival, ..delivery }),
            None => {
                arrival.into_iter().for_each(|arrival| self.drop_arrival(arrival));
                None
            }
        }
    }

    /// What a last result is called, given who asked for the end: contract, line 17.
    pub(crate) fn spell(&self, index: u32, result: i32) -> (i32, u32) {
        let interrupted = Errno::is_interruption(result);
        if !interrupted && result != Errno::ECANCELED.status() {
            return (result, 0);
        }
        let slot = self.slots.at(index);
        if slot.has(state::ENDED) {
            return ended(slot.state);
        }
        // Nobody asked: another member of its chain has failed, a worker was interrupted, or the
        // kernel could not make one (below 6.15 three signals at the wrong time are enough).
        (Errno::ECANCELED.status(), ABORTED)
    }

    /// Ends an operation: frees all it holds and says whom to tell.
    pub(crate) fn end(
        &mut self, index: u32, result: i32, flags: u32, extra: u64,
    ) -> Option<Delivery> {
        let slot = self.slots.at(index);
        if slot.has(state::CHAINED) {
            self.member_ended(index);
        }
        let slot = self.slots.at(index);
        if slot.has(traits::OUTPUTS) && result >= 0 {
            self.write_outputs(index);
        }
        self.raise_sigpipe(index, result);
        self.count_result(index, result, flags);
        let delivery = self.tell(index, result, flags, extra);
        self.free(index);
        delivery
    }

    /// Once per operation: a notification follows a result.
    pub(crate) fn count_result(&self, index: u32, result: i32, flags: u32) {
        let slot = self.slots.at(index);
        if result < 0 && slot.callback != INNER && flags & cqe_flags::NOTIFY == 0 {
            self.counted.resulted(slot.opcode(), result, flags & DEADLINE != 0);
        }
    }

    /// The ring's sends never raise it: the option asks for what send(2) does.
    pub(crate) fn raise_sigpipe(&self, index: u32, result: i32) {
        if result == Errno::EPIPE.status() && self.slots.at(index).has(state::SIGPIPE) {
            thread::raise_sigpipe();
        }
    }

    /// Copies outputs from the engine's copy to the caller's.
    fn write_outputs(&mut self, index: u32) {
        let slot = self.slots.at(index);
        let discarded = self.is_unwanted(slot);
        let cold = self.cold.of(slot);
        if cold.direct != 0 {
            return self.write_direct_pair(index, discarded);
        }
        if let (Some(outputs), Some(copy)) = (cold.outputs, cold.copy.as_deref()) {
            if discarded {
                outputs.discard(copy);
            } else {
                outputs.write_back(copy);
            }
        }
    }

    /// The delivery of a result, or None after releasing what nobody waits for.
    pub(crate) fn tell(
        &mut self, index: u32, result: i32, flags: u32, extra: u64,
    ) -> Option<Delivery> {
        let result = self.direct_result(index, result);
        self.observe_result(index, result, flags);
        let slot = self.slots.at(index);
        if self.is_unwanted(slot) {
            if slot.has(traits::GIVES_DESCRIPTOR) && result >= 0 {
                if self.is_direct(slot) {
                    self.release_direct(index, result);
                } else {
                    descriptor::close(result);
                }
            }
            return None;
        }
        if slot.has(state::QUIET) && result >= 0 {
            return None;
        }
        let id = self.slots.id(index);
        let (callback, user_data) = (slot.callback, slot.user_data);
        let brings = if result >= 0 { self.brought(slot, result) } else { Brings::Nothing };
        let moved = self.cold.get(slot).and_then(|cold| cold.moved());
        let arrival = None;
        Some(Delivery { callback, user_data, id, result, flags, extra, moved, brings, arrival })
    }

    /// Nobody waits for it; nobody reaps while the context is being destroyed, and nobody is called
    /// after a panic.
    fn is_unwanted(&self, slot: &Slot) -> bool {
        let nobody = self.mute || (self.destroying && slot.callback == REAP);
        slot.has(state::DISCARD) || (nobody && slot.callback != INNER)
    }

    /// Slots of the table are not among it: they go with the table.
    fn brought(&self, slot: &Slot, result: i32) -> Brings {
        if self.is_direct(slot) {
            return Brings::Nothing;
        }
        if slot.has(traits::GIVES_DESCRIPTOR) {
            return Brings::One(result);
        }
        let outputs = if slot.has(traits::OUTPUTS) { self.cold.get(slot) } else { None };
        outputs
            .and_then(|cold| cold.outputs?.pair(cold.copy.as_deref()?))
            .map_or(Brings::Nothing, Brings::Two)
    }

    pub(crate) fn free(&mut self, index: u32) {
        let slot = self.slots.at(index);
        let (id, is_inner, owner) = (slot.id(), slot.callback == INNER, slot.user_data as u64);
        let (opcode, is_nobodys) = (slot.opcode(), slot.callback == NOBODY);
        if slot.has(state::TIMED) {
            self.wheel.disarm(&mut self.slots, index);
        }
        if self.slots.at(index).has(state::LISTED) {
            self.unlist(index);
        }
        let slot = self.slots.at_mut(index);
        if let Some(cold) = self.cold.get(slot)
            && cold.second_fd >= 0
        {
            let fd = cold.second_fd;
            let left = self.descriptors.unlink_second(&mut self.slots, &mut self.cold, index, fd);
            self.note_left(left, fd);
        }
        if let Some(group) = self.group(index) {
            self.pools.remove_user(group);
        }
        let slot = self.slots.at_mut(index);
        let multishot = slot.has(traits::MULTISHOT);
        let mut epoch = 0;
        if let Some(cold) = self.cold.remove(slot) {
            epoch = cold.epoch;
            if let Some(bundle) = cold.bundle {
                self.pools.end_bundle(bundle.group);
            }
            if let Some(copy) = cold.copy {
                self.arena.give_back(copy);
            }
            cold.external.into_iter().for_each(Hooked::let_go);
        }
        self.slots.at_mut(index).cold = 0;
        self.slots.release(index);
        self.calls_beyond = self.calls_beyond.wrapping_sub(1);
        if is_inner {
            self.inner_ended(owner, id);
            return;
        }
        if !is_nobodys {
            self.counted.ended_carefully(opcode, self.calls_beyond);
        }
        if multishot {
            self.multishots -= 1;
        } else if !self.barriers.is_empty() {
            self.barriers.ended(epoch);
        }
    }

    #[inline(never)]
    pub(crate) fn unlist(&mut self, index: u32) {
        let fd = self.slots.at(index).fd;
        let left = self.descriptors.unlink(&mut self.slots, &mut self.cold, index);
        self.note_left(left, fd);
    }

    fn note_left(&mut self, left: Left, fd: i32) {
        if left == Left::CloseCanStart {
            self.closable.push(fd);
        }
    }

    /// Queues a last completion of the engine's own making.
    #[cold]
    pub(crate) fn make_ready(&mut self, index: u32, result: i32, flags: u32) {
        let slot = self.slots.at_mut(index);
        if slot.phase() == phase::BACKEND {
            self.local += 1;
        }
        slot.set_phase(phase::READY);
        if slot.has(state::TIMED) {
            self.wheel.disarm(&mut self.slots, index);
        }
        self.ready.push_back(Ready { index, result, flags });
    }

    /// The same for an operation that was asked to end.
    pub(crate) fn make_ended_ready(&mut self, index: u32) {
        let (result, flags) = ended(self.slots.at(index).state);
        self.make_ready(index, result, flags);
    }

    /// Ends an operation with a completion from the ready queue.
    pub(crate) fn end_locally(&mut self, ready: Ready) -> Option<Delivery> {
        if ready.index == RELEASE {
            return self.end_release(ready);
        }
        self.settle_timer(ready.index);
        self.local -= 1;
        self.end(ready.index, ready.result, ready.flags, 0)
    }

    /// Starts what barriers held for too long; called when completions have been taken in.
    pub(crate) fn open_barriers(&mut self) {
        while let Some(held) = self.barriers.pop_open() {
            if let Some(index) = held {
                self.release_barrier(index);
            }
        }
        self.decide_path();
    }
}

/// Whether a poll of `fd` that the kernel has ended is worth another; of a direct descriptor nobody
/// can tell.
fn knows_changes(fd: i32) -> bool {
    fd < DIRECT && can_be_watched(fd)
}

/// How the end of an operation that was asked to end is spelled.
pub(crate) fn ended(bits: u32) -> (i32, u32) {
    if bits & state::EXPIRED != 0 {
        (Errno::ETIMEDOUT.status(), DEADLINE)
    } else if bits & state::CANCELLED != 0 {
        (Errno::ECANCELED.status(), 0)
    } else {
        (Errno::ECANCELED.status(), ABORTED)
    }
}
