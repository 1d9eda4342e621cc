//! Chains: operations that the kernel runs one after the other. A chain is held until its unlinked
//! last member and handed over whole; the kernel then cancels the rest of a soft chain when a
//! member fails. Cancelling a member that has not started is done by cancelling the running head,
//! again for each new head, until the member's own turn has come (contract, line 11).

use crate::engine::Engine;
use crate::engine::cancel::Why;
use crate::engine::cold::NO_CHAIN;
use crate::engine::slots::{phase, state};
use crate::op::traits;
use crate::sys::errno::Errno;
use slab::Slab;

/// Why an open chain must fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoiled {
    No,
    /// A member was cancelled or has expired before the chain was complete.
    Cancelled,
    /// A member's descriptor is being closed.
    BadDescriptor,
}

pub(crate) struct Chain {
    /// Slot index plus one of the first member that has not completed.
    first: u32,
    last: u32,
    before_last: u32,
    len: u32,
    barrier: bool,
    spoiled: Spoiled,
    /// A member that had not started was cancelled: heads are cancelled until its turn.
    broken: bool,
}

#[derive(Default)]
pub(crate) struct Chains {
    chains: Slab<Chain>,
    /// The key of the chain that is being put together, plus one.
    open: usize,
}

impl Chains {
    #[inline(always)]
    pub(crate) fn is_open(&self) -> bool {
        self.open != 0
    }

    /// Makes slot `index` the last member of the open chain, opening one if there is none.
    pub(crate) fn join(&mut self, index: u32, barrier: bool) -> usize {
        if self.open == 0 {
            let chain = Chain {
                first: index + 1,
                last: 0,
                before_last: 0,
                len: 0,
                barrier,
                spoiled: Spoiled::No,
                broken: false,
            };
            self.open = self.chains.insert(chain) + 1;
        }
        let chain = &mut self.chains[self.open - 1];
        if chain.first == 0 {
            chain.first = index + 1; // All members so far were taken out again.
        }
        chain.before_last = std::mem::replace(&mut chain.last, index + 1);
        chain.len += 1;
        self.open - 1
    }

    pub(crate) fn before_last(&self, key: usize) -> Option<u32> {
        self.chains[key].before_last.checked_sub(1)
    }

    /// The first member that has not completed.
    pub(crate) fn head(&self, key: usize) -> Option<u32> {
        self.chains.get(key)?.first.checked_sub(1)
    }

    pub(crate) fn spoil(&mut self, key: usize, why: Spoiled) {
        let chain = &mut self.chains[key];
        if chain.spoiled == Spoiled::No {
            chain.spoiled = why;
        }
    }
}

/// The open chain, while the engine submits something that is not of it.
pub(crate) struct Aside(usize);

impl Engine {
    /// Lets what is submitted now stand alone, until `take_chain_up`.
    pub(crate) fn put_chain_aside(&mut self) -> Aside {
        let aside = Aside(std::mem::take(&mut self.chains.open));
        self.decide_path();
        aside
    }

    pub(crate) fn take_chain_up(&mut self, aside: Aside) {
        self.chains.open = aside.0;
        self.decide_path();
    }

    /// Ends a chain that is still open at the end of its turn: it fails whole.
    #[inline(always)]
    pub(crate) fn fail_open_chain(&mut self) {
        if self.chains.is_open() {
            self.fail_this_chain();
        }
    }

    #[cold]
    fn fail_this_chain(&mut self) {
        if let Some(key) = self.chains.open.checked_sub(1) {
            self.chains.open = 0;
            self.decide_path();
            if self.chains.chains[key].first == 0 {
                self.chains.chains.remove(key);
                return;
            }
            self.log_refusal("a chain", "it was open at the end of its turn: all of it ends so");
            self.fail_chain(key, Errno::EINVAL);
        }
    }

    /// The unlinked last member is there.
    pub(crate) fn close_chain(&mut self, key: usize) {
        self.chains.open = 0;
        self.decide_path();
        let chain = &self.chains.chains[key];
        let (first, len, barrier) = (chain.first - 1, chain.len, chain.barrier);
        match chain.spoiled {
            Spoiled::No if len > self.backend.granted().sq_entries => {
                self.log_refusal("a chain", "it is longer than sq_entries: all of it ends so");
                self.fail_chain(key, Errno::EINVAL);
            }
            Spoiled::No if barrier => self.hold_chain(key, first, len),
            Spoiled::No => self.start_chain_of(first),
            Spoiled::Cancelled => self.fail_chain(key, Errno::ECANCELED),
            Spoiled::BadDescriptor => self.fail_chain(key, Errno::EBADF),
        }
    }

    fn hold_chain(&mut self, key: usize, first: u32, len: u32) {
        let one_shots = self.slots.live() - self.multishots - len;
        if !self.barriers.raise(first, one_shots) {
            return self.start_chain_of(first);
        }
        self.decide_path();
        let epoch = self.barriers.epoch();
        for member in self.members(key) {
            let slot = self.slots.at_mut(member);
            slot.state |= state::BARRIER;
            self.cold.of(slot).epoch = epoch;
        }
    }

    /// The members that have not completed, in order.
    fn members(&mut self, key: usize) -> Vec<u32> {
        let mut members = Vec::new();
        let mut next = self.chains.chains[key].first;
        while next != 0 {
            members.push(next - 1);
            next = self.cold.of(self.slots.at(next - 1)).chain_next;
        }
        members
    }

    /// Ends every member of a chain that was not handed over, with its own reason where it has one.
    fn fail_chain(&mut self, key: usize, errno: Errno) {
        for member in self.members(key) {
            let slot = self.slots.at_mut(member);
            slot.state &= !state::BARRIER;
            if slot.has(state::ENDED) {
                self.make_ended_ready(member);
            } else if errno == Errno::ECANCELED {
                slot.state |= state::ABORTED;
                self.make_ended_ready(member);
            } else {
                self.make_ready(member, errno.status(), 0);
            }
        }
    }

    /// Hands over the chain of its first member `first`.
    pub(crate) fn start_chain_of(&mut self, first: u32) {
        let key = self.cold.of(self.slots.at(first)).chain;
        let members = self.members(key);
        let mut entries = Vec::with_capacity(members.len());
        for &member in &members {
            let slot = self.slots.at_mut(member);
            slot.state &= !state::BARRIER;
            slot.set_phase(phase::BACKEND);
            self.local -= 1;
            let slot = self.slots.at(member);
            let (closes, fd) = (slot.has(traits::CLOSES), slot.fd);
            let has_room =
                entries.len() + members.len() < self.backend.granted().sq_entries as usize;
            if closes && has_room {
                entries.extend(self.before_close(fd));
            }
            entries.push(self.cold.of(self.slots.at(member)).entry);
        }
        // A close inside a chain does not wait, or the chain would wait for itself; it still
        // cancels what others have armed on its descriptor.
        for &member in &members {
            let slot = self.slots.at(member);
            if slot.has(traits::CLOSES) {
                let fd = slot.fd;
                for other in self.descriptors.listed(&mut self.slots, &mut self.cold, fd) {
                    if !members.contains(&other) {
                        let _ = self.request_end(other, Why::Cancelled);
                    }
                }
            }
        }
        self.backend.stage_chain(&entries);
    }

    /// Cancels a member: held, the chain ends whole; running, it is the kernel's to cancel; not yet
    /// started, the head is cancelled in its stead.
    pub(crate) fn end_member(&mut self, index: u32) {
        let slot = self.slots.at(index);
        let is_held = slot.phase() == phase::HELD;
        let behind_barrier = slot.has(state::BARRIER);
        let key = self.cold.of(slot).chain;
        if key == NO_CHAIN {
            return;
        }
        if is_held && behind_barrier {
            let first = self.chains.chains[key].first - 1;
            self.barriers.cancel(first);
            return self.fail_chain(key, Errno::ECANCELED);
        }
        if is_held {
            return self.chains.spoil(key, Spoiled::Cancelled);
        }
        let chain = &mut self.chains.chains[key];
        let head = chain.first - 1;
        if head == index {
            return self.cancel_in_backend(head);
        }
        chain.broken = true;
        self.cancel_head(head);
    }

    /// Cancels the running head for another member's sake. One of several steps must know it, or it
    /// would go on with the next.
    fn cancel_head(&mut self, head: u32) {
        if self.cold.of(self.slots.at(head)).steps.is_some() {
            self.slots.at_mut(head).state |= state::ABORTED;
        }
        self.cancel_in_backend(head);
    }

    /// A member has completed: what follows it is the head now.
    pub(crate) fn member_ended(&mut self, index: u32) {
        let cold = self.cold.of(self.slots.at(index));
        let (key, next) = (std::mem::replace(&mut cold.chain, NO_CHAIN), cold.chain_next);
        if key == NO_CHAIN {
            return; // Its completion was seen before it is delivered.
        }
        let mut before = self.chains.chains[key].first;
        if before == index + 1 {
            self.chains.chains[key].first = next;
            before = 0;
        } else {
            loop {
                let cold = self.cold.of(self.slots.at(before - 1));
                if cold.chain_next == index + 1 {
                    cold.chain_next = next;
                    break;
                }
                before = cold.chain_next;
            }
        }
        let chain = &mut self.chains.chains[key];
        if chain.last == index + 1 {
            chain.last = before;
        }
        if self.chains.open == key + 1 {
            return; // More members may come.
        }
        let chain = &self.chains.chains[key];
        if chain.first == 0 {
            self.chains.chains.remove(key);
        } else if chain.broken {
            let head = chain.first - 1;
            if self.slots.at(head).phase() == phase::BACKEND {
                self.cancel_head(head);
            }
        }
    }
}
