//! The part of an operation that most operations do not have: copied arguments, the entry of one
//! that waits or is re-armed, its chain, its group. In a table beside the slots, named by a slot.

use crate::engine::arena::Block;
use crate::engine::bundles::Bundle;
use crate::engine::external::Hooked;
use crate::engine::msg_ring::Outgoing;
use crate::engine::slots::Slot;
use crate::op::NO_DESCRIPTOR;
use crate::op::steps::Steps;
use crate::sys::entry::WideSqe;
use crate::sys::message::Outputs;
use slab::Slab;

/// Not, or not any more, in a chain.
pub(crate) const NO_CHAIN: usize = usize::MAX;

pub(crate) struct Cold {
    /// The entry, for an operation that is held or re-armed.
    pub entry: WideSqe,
    pub copy: Option<Block>,
    pub outputs: Option<Outputs>,
    /// What follows the entry, for an operation of several.
    pub steps: Option<Steps>,
    /// The buffers of a pool that it sends.
    pub bundle: Option<Bundle>,
    /// A message to another context.
    pub outgoing: Option<Box<Outgoing>>,
    /// What ends it, for an operation that the backend does not.
    pub external: Option<Hooked>,
    /// The group of the pool that it takes its buffers from, plus one.
    pub pool: u32,
    /// The second descriptor of an operation between two, and its list links.
    pub second_fd: i32,
    pub second_next: u32,
    pub second_prev: u32,
    /// Where in the table of direct descriptors the result goes, as `op::files` counts; 0: nowhere.
    pub direct: u32,
    /// Chain key and the next member's slot index plus one.
    pub chain: usize,
    pub chain_next: u32,
    /// A multishot has completed with more to come since it was last armed.
    pub goes_on: bool,
    pub group: u64,
    pub correlation: u64,
    /// The length of an idle deadline, or the period of an interval.
    pub period_ns: u64,
    /// The end of a timer's own deadline, or the time of an interval's next tick.
    pub expiry_ns: u64,
    pub due_ns: u64,
    /// When it was submitted, in epochs of `barrier.rs`; 0: before the oldest barrier.
    pub epoch: u64,
}

impl Cold {
    pub(crate) fn new() -> Cold {
        Cold {
            entry: WideSqe::default(),
            copy: None,
            outputs: None,
            steps: None,
            bundle: None,
            outgoing: None,
            external: None,
            pool: 0,
            second_fd: NO_DESCRIPTOR,
            second_next: 0,
            second_prev: 0,
            direct: 0,
            chain: NO_CHAIN,
            chain_next: 0,
            goes_on: false,
            group: 0,
            correlation: 0,
            period_ns: 0,
            expiry_ns: u64::MAX,
            due_ns: 0,
            epoch: 0,
        }
    }
}

impl Cold {
    /// Of an operation of several steps: how much was transferred.
    pub(crate) fn moved(&self) -> Option<u64> {
        let steps = self.steps.as_ref().map(Steps::moved);
        steps.or(self.bundle.map(|bundle| bundle.moved))
    }
}

#[derive(Default)]
pub(crate) struct ColdTable(Slab<Cold>);

impl ColdTable {
    /// Adds a cold part; the key plus one is what the slot keeps.
    pub(crate) fn add(&mut self, cold: Cold) -> u32 {
        self.0.insert(cold) as u32 + 1
    }

    /// The cold part of a slot that has one.
    pub(crate) fn of(&mut self, slot: &Slot) -> &mut Cold {
        let key = slot.cold_key().expect("a slot marked cold has a key");
        &mut self.0[key]
    }

    pub(crate) fn get(&self, slot: &Slot) -> Option<&Cold> {
        self.0.get(slot.cold_key()?)
    }

    pub(crate) fn remove(&mut self, slot: &mut Slot) -> Option<Cold> {
        let key = slot.cold_key()?;
        slot.cold = 0;
        self.0.try_remove(key)
    }
}
