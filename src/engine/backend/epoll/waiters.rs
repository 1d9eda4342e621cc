//! Operations that the epoll backend has begun and not ended: waiting for a descriptor, with a
//! thread of the pool, or behind another of their chain. Each has the place of its slot's index;
//! those of a descriptor are in lists, first come, first served.

use crate::engine::backend::epoll::files::Holds;
use crate::engine::slots::index_of;
use crate::sys::entry::Sqe;

/// Where an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Place {
    /// It has ended, or not begun.
    #[default]
    Nowhere,
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
    /// Those who wait for the error queue or for urgent data.
    Exceptions,
}

/// First and last of a list, as keys plus one.
#[derive(Clone, Copy, Default)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        self.first == 0
    }

    #[inline(always)]
    pub(super) fn first(self) -> Option<u32> {
        self.first.checked_sub(1)
    }

    /// The only one in it.
    #[inline(always)]
    pub(super) fn only(self) -> Option<u32> {
        if self.first == self.last { self.first.checked_sub(1) } else { None }
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Waiter {
    pub entry: Sqe,
    /// How often its descriptor's number had been checked when it came.
    pub checks: u32,
    /// The next of its chain, as key plus one.
    pub follower: u32,
    /// The registered buffer that it uses, as key plus one.
    pub buffer: u32,
    next: u32,
    prev: u32,
    pub place: Place,
    pub holds: Holds,
    /// Ends with a call that sleeps, on the pool, once its descriptor is ready.
    pub sleeps: bool,
}

/// By key: 0 is the engine's own poll of its wake-up descriptor, the others are slot indices plus
/// one.
#[derive(Default)]
pub(super) struct Waiters(Vec<Waiter>);

/// Ids of the engine's own entries are negative as numbers.
#[inline(always)]
fn key_of(id: u64) -> u32 {
    if id as i64 > 0 { index_of(id) + 1 } else { 0 }
}

impl Waiters {
    #[inline(always)]
    pub(super) fn add(&mut self, entry: &Sqe, place: Place) -> u32 {
        let key = key_of(entry.user_data);
        if self.0.len() <= key as usize {
            self.grow(key);
        }
        let waiter = &mut self.0[key as usize];
        waiter.entry = *entry;
        waiter.place = place;
        waiter.follower = 0;
        waiter.buffer = 0;
        waiter.holds = [0; 2];
        waiter.sleeps = false;
        key
    }

    #[cold]
    fn grow(&mut self, key: u32) {
        let len = (key as usize + 1).next_power_of_two().max(64);
        self.0.resize(len, Waiter::default());
    }

    #[inline(always)]
    pub(super) fn at(&mut self, key: u32) -> &mut Waiter {
        &mut self.0[key as usize]
    }

    /// The operation that `id` names.
    pub(super) fn find(&self, id: u64) -> Option<u32> {
        let key = key_of(id);
        let waiter = self.0.get(key as usize)?;
        (waiter.place != Place::Nowhere && waiter.entry.user_data == id).then_some(key)
    }

    /// Puts an operation at the end of a list.
    #[inline(always)]
    pub(super) fn push(&mut self, list: &mut List, key: u32) {
        let last = list.last;
        if last == 0 {
            list.first = key + 1;
        } else {
            self.0[last as usize - 1].next = key + 1;
        }
        list.last = key + 1;
        let waiter = &mut self.0[key as usize];
        waiter.next = 0;
        waiter.prev = last;
    }

    /// Takes an operation out of its list.
    pub(super) fn unlink(&mut self, list: &mut List, key: u32) {
        let Waiter { next, prev, .. } = self.0[key as usize];
        match prev {
            0 => list.first = next,
            prev => self.0[prev as usize - 1].next = next,
        }
        match next {
            0 => list.last = prev,
            next => self.0[next as usize - 1].prev = prev,
        }
    }

    /// The key behind `key` in its list.
    #[inline(always)]
    pub(super) fn next(&self, key: u32) -> Option<u32> {
        self.0[key as usize].next.checked_sub(1)
    }
}
