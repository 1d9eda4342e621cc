//! Operations that the epoll backend has begun and not ended: waiting for a descriptor, with a
//! thread of the pool, or behind another of their chain. Found by id through their slot's index;
//! those of a descriptor are in lists, first come, first served.

use crate::engine::slots::index_of;
use crate::sys::entry::Sqe;
use slab::Slab;

/// Where an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the list of its descriptor.
    Listed(Side),
    /// With the pool.
    Pool,
    /// Behind another of its chain.
    Behind,
    /// Its turn in its chain has come, or will at the next look.
    Due,
    /// Its descriptor was closed under it; only a cancel request ends it.
    Lost,
}

/// The lists of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Readers,
    Writers,
    Pollers,
}

/// First and last of a list, as keys plus one.
#[derive(Clone, Copy, Default)]
pub(super) struct List {
    pub first: u32,
    last: u32,
}

impl List {
    pub(super) fn is_empty(self) -> bool {
        self.first == 0
    }
}

pub(super) struct Waiter {
    pub entry: Sqe,
    pub place: Place,
    /// Ends with a call that sleeps, on the pool, once its descriptor is ready.
    pub sleeps: bool,
    /// How often its descriptor's number had been checked when it came.
    pub checks: u32,
    /// The next of its chain, as key plus one.
    pub follower: u32,
    next: u32,
    prev: u32,
}

#[derive(Default)]
pub(super) struct Waiters {
    waiters: Slab<Waiter>,
    /// By slot index: key plus one.
    by_slot: Vec<u32>,
}

/// Ids of the engine's own entries are negative as numbers; one of them waits at a time.
fn has_slot(id: u64) -> bool {
    id as i64 > 0
}

impl Waiters {
    pub(super) fn add(&mut self, entry: Sqe, place: Place) -> u32 {
        let id = entry.user_data;
        let waiter =
            Waiter { entry, place, sleeps: false, checks: 0, follower: 0, next: 0, prev: 0 };
        let key = self.waiters.insert(waiter) as u32;
        if has_slot(id) {
            let index = index_of(id) as usize;
            if self.by_slot.len() <= index {
                self.by_slot.resize((index + 1).next_power_of_two(), 0);
            }
            self.by_slot[index] = key + 1;
        }
        key
    }

    pub(super) fn at(&mut self, key: u32) -> &mut Waiter {
        &mut self.waiters[key as usize]
    }

    /// The operation that `id` names.
    pub(super) fn find(&self, id: u64) -> Option<u32> {
        let key = self.by_slot.get(index_of(id) as usize)?.checked_sub(1)?;
        let waiter = self.waiters.get(key as usize)?;
        (waiter.entry.user_data == id).then_some(key)
    }

    /// Forgets an operation that is in no list.
    pub(super) fn remove(&mut self, key: u32) -> Waiter {
        let waiter = self.waiters.remove(key as usize);
        let id = waiter.entry.user_data;
        if has_slot(id) {
            self.by_slot[index_of(id) as usize] = 0;
        }
        waiter
    }

    /// Puts an operation at the end of a list.
    pub(super) fn push(&mut self, list: &mut List, key: u32) {
        let waiter = &mut self.waiters[key as usize];
        waiter.next = 0;
        waiter.prev = list.last;
        match list.last {
            0 => list.first = key + 1,
            last => self.waiters[last as usize - 1].next = key + 1,
        }
        list.last = key + 1;
    }

    /// Takes an operation out of its list.
    pub(super) fn unlink(&mut self, list: &mut List, key: u32) {
        let (next, prev) = {
            let waiter = &self.waiters[key as usize];
            (waiter.next, waiter.prev)
        };
        match prev {
            0 => list.first = next,
            prev => self.waiters[prev as usize - 1].next = next,
        }
        match next {
            0 => list.last = prev,
            next => self.waiters[next as usize - 1].prev = prev,
        }
    }

    /// The key behind `key` in its list.
    pub(super) fn next(&self, key: u32) -> Option<u32> {
        self.waiters[key as usize].next.checked_sub(1)
    }
}
