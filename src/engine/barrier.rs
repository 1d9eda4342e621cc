//! Barriers: an operation that waits for all one-shot operations before it. Each barrier begins an
//! epoch. While barriers wait, every submission takes the careful path and notes its epoch in its
//! cold part; what was submitted while none waited belongs to the oldest. So the common path pays
//! nothing.

use crate::engine::Engine;
use crate::engine::slots::{phase, state};
use crate::op::traits;
use std::collections::VecDeque;

struct Barrier {
    /// The operations of this epoch that it still waits for.
    waiting: u32,
    /// The held operation, plus one; 0 when it was cancelled.
    held: u32,
}

#[derive(Default)]
pub(crate) struct Barriers {
    /// The epoch of what is submitted now.
    epoch: u64,
    /// Oldest first; their epochs are consecutive and end before the current one.
    queue: VecDeque<Barrier>,
}

impl Barriers {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What a submission notes: its epoch while barriers wait, else 0.
    pub(crate) fn note(&self) -> u64 {
        if self.queue.is_empty() { 0 } else { self.epoch }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts slot `index` behind the `one_shots` operations in flight; false if it need not wait.
    /// The slot belongs to the new epoch.
    pub(crate) fn raise(&mut self, index: u32, one_shots: u32) -> bool {
        if one_shots == 0 {
            return false;
        }
        let older: u32 = self.queue.iter().map(|barrier| barrier.waiting).sum();
        self.queue.push_back(Barrier { waiting: one_shots - older, held: index + 1 });
        self.epoch += 1;
        true
    }

    /// A one-shot operation of `epoch` has ended.
    pub(crate) fn ended(&mut self, epoch: u64) {
        let first = self.epoch - self.queue.len() as u64;
        let position = epoch.saturating_sub(first) as usize;
        if let Some(barrier) = self.queue.get_mut(position) {
            barrier.waiting -= 1;
        }
    }

    /// The next held operation that may start; None inside: it was cancelled.
    pub(crate) fn pop_open(&mut self) -> Option<Option<u32>> {
        if self.queue.front()?.waiting != 0 {
            return None;
        }
        self.queue.pop_front().map(|barrier| barrier.held.checked_sub(1))
    }

    /// Forgets the held operation at `index`; its barrier stays for the order of the others.
    pub(crate) fn cancel(&mut self, index: u32) {
        if let Some(barrier) = self.queue.iter_mut().find(|barrier| barrier.held == index + 1) {
            barrier.held = 0;
        }
    }
}

impl Engine {
    /// Holds an operation until all one-shot operations before it have completed.
    pub(crate) fn hold_behind_barrier(&mut self, index: u32) {
        let itself = u32::from(!self.slots.at(index).has(traits::MULTISHOT));
        let one_shots = self.slots.live() - self.multishots - itself;
        if !self.barriers.raise(index, one_shots) {
            return self.release_barrier(index);
        }
        self.decide_path();
        let slot = self.slots.at_mut(index);
        slot.state |= state::BARRIER;
        slot.set_phase(phase::HELD);
        self.local += 1;
        self.cold.of(self.slots.at(index)).epoch = self.barriers.epoch();
    }

    /// Starts what a barrier held.
    pub(crate) fn release_barrier(&mut self, index: u32) {
        let slot = self.slots.at_mut(index);
        slot.state &= !state::BARRIER;
        if slot.has(state::CHAINED) {
            return self.start_chain_of(index);
        }
        if slot.has(traits::CLOSES) {
            if slot.phase() == phase::HELD {
                slot.set_phase(phase::BACKEND);
                self.local -= 1;
            }
            return self.begin_close(index);
        }
        if self.is_external(index) {
            return self.start_external_late(index);
        }
        self.start(index);
    }
}
