//! Operations that wait for a buffer of their pool. A refusal is held until it can be judged, which
//! is when every completion is taken in; what found no buffer is then paused, in order, and armed
//! again when buffers have come back, no more operations in a turn than there are buffers, so that
//! an empty pool costs nothing while it is empty. Who releases one on another thread wakes the
//! context only if it says that it waits (`lease_table.rs`).
//!
//! An idle deadline is about a silent peer, and does not count meanwhile: whom one would not hear
//! cannot be called silent. It begins anew when the operation is armed again.

use crate::engine::Engine;
use crate::engine::slots::{phase, state};

impl Engine {
    /// An operation found no buffer, or its file has refused it for a reason of its own (netlink
    /// sockets do). Which it was is seen when all completions are taken in: Linux 6.1 tells of some
    /// refusals before it tells of the receives that took the last buffers.
    pub(crate) fn hold_refused(&mut self, index: u32, group: u16) {
        let id = self.hold_for_buffer(index);
        let Some(pool) = self.pools.get(group) else { return };
        pool.refused.push(id);
        self.pools.add_hungry(group);
    }

    /// Every completion is taken in: pauses what found no buffer, ends what was refused otherwise.
    #[cold]
    fn judge_refused(&mut self) {
        for position in 0..self.pools.hungry.len() {
            let group = self.pools.hungry[position];
            let Some(pool) = self.pools.get(group) else { continue };
            if pool.refused.is_empty() {
                continue;
            }
            let (was_dry, refusal) = (pool.was_dry(), pool.refusal());
            for id in std::mem::take(&mut pool.refused) {
                let Some(index) = self.slots.find(id) else { continue };
                if self.slots.at(index).phase() != phase::HELD {
                    continue; // It was cancelled.
                }
                if was_dry {
                    // Also with buffers that have come back since: others may wait, and all would
                    // be refused but a few.
                    self.wait_for_buffer(id, group);
                } else {
                    self.make_ready(index, refusal.status(), 0);
                }
            }
        }
    }

    /// Arms an operation again, as soon as there is a buffer.
    pub(crate) fn start_again(&mut self, index: u32, group: u16) {
        if self.pools.has_free(group) {
            self.start(index);
        } else {
            self.pause(index, group);
        }
    }

    /// Keeps an operation until there are buffers.
    pub(crate) fn pause(&mut self, index: u32, group: u16) {
        let id = self.hold_for_buffer(index);
        self.pools.add_hungry(group);
        self.wait_for_buffer(id, group);
    }

    fn hold_for_buffer(&mut self, index: u32) -> u64 {
        let slot = self.slots.at_mut(index);
        slot.set_phase(phase::HELD);
        let id = slot.id();
        if slot.has(state::IDLE_DEADLINE) && slot.has(state::TIMED) {
            self.wheel.disarm(&mut self.slots, index);
        }
        self.local += 1;
        id
    }

    /// Stages an operation that was held so.
    fn arm_with_buffer(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.has(state::IDLE_DEADLINE) {
            let period_ns = self.cold.of(slot).period_ns;
            self.arm_after(index, period_ns);
        }
        self.start(index);
    }

    fn wait_for_buffer(&mut self, id: u64, group: u16) {
        let slots = &self.slots;
        let Some(pool) = self.pools.get(group) else { return };
        if pool.is_crowded() {
            pool.paused.retain(|&id| slots.find(id).is_some());
        }
        pool.pauses += 1;
        self.tally.dry_pools();
        pool.paused.push_back(id);
        self.look_for_buffers(group);
    }

    /// Takes back what was released; if that is nothing, asks to be told of the next release.
    fn look_for_buffers(&mut self, group: u16) {
        let Some(pool) = self.pools.get(group) else { return };
        pool.take_released();
        if pool.usable() == 0 && !pool.paused.is_empty() {
            pool.shared.leases.set_thirsty(true);
            pool.take_all_released();
        }
    }

    /// A thread has released a buffer of a thirsty pool.
    pub(crate) fn refill(&mut self, group: u16) {
        self.look_for_buffers(group);
    }

    /// Arms paused operations, as many as there are buffers.
    pub(crate) fn feed_pools(&mut self) {
        if self.is_all_taken_in() {
            self.judge_refused();
        }
        let mut position = 0;
        while let Some(&group) = self.pools.hungry.get(position) {
            self.look_for_buffers(group);
            let most = self.pools.pools[usize::from(group)].usable();
            if most != 0 {
                self.flush_area(group);
            }
            let mut armed = 0;
            while armed < most
                && let Some(id) = self.pools.pools[usize::from(group)].paused.pop_front()
            {
                let Some(index) = self.slots.find(id) else { continue };
                if self.slots.at(index).phase() == phase::HELD {
                    armed += 1;
                    self.arm_with_buffer(index);
                }
            }
            let pool = &self.pools.pools[usize::from(group)];
            if pool.paused.is_empty() {
                pool.shared.leases.set_thirsty(false);
            }
            if pool.paused.is_empty() && pool.refused.is_empty() {
                self.pools.hungry.swap_remove(position);
            } else {
                position += 1;
            }
        }
    }
}
