//! Which leases a pool has: who leased which piece of which buffer, and the leases that came back.
//! Hides how an id is made, and how any thread gives back what one thread issued. Knows no context
//! and no memory, so that its interleavings can be explored alone (`models` below).
//!
//! A lease has an id as operations have, `0 | generation 39 | index 24`, generations starting at a
//! random value: a lease that was released, or is another pool's, names nothing. Released ones are
//! pushed to a stack that the owner takes whole. An owner that waits for buffers says so in
//! `thirsty` before its last look at the stack, and a releaser looks at `thirsty` after its push.
//! Both look at, and push to, the stack by an exchange, so that one of the two comes after the
//! other there and sees what that did before.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sys::errno::Errno;
use crate::sys::sync::OnceLock;
use std::ptr::NonNull;

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// In the id of a lease that nobody has.
const FREE: u64 = 1 << 63;

/// Leases in the first table; each next one is as large as all before it, and as the first.
const FIRST: u32 = if cfg!(loom) { 4 } else { 256 };
const TABLES: usize = (INDEX_BITS - FIRST.ilog2() + 1) as usize;

/// A piece of a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub data: NonNull<u8>,
    pub len: u32,
    /// The buffer's number.
    pub buffer: u32,
}

struct Lease {
    /// Its id, with `FREE` while nobody has it.
    id: AtomicU64,
    data: AtomicPtr<u8>,
    len: AtomicU32,
    buffer: AtomicU32,
    /// The next in the stack of released ones, plus one.
    next: AtomicU32,
}

impl Lease {
    /// What it names, or named last.
    fn piece(&self) -> Piece {
        let data = NonNull::new(self.data.load(Ordering::Relaxed));
        Piece {
            data: data.unwrap_or(NonNull::dangling()),
            len: self.len.load(Ordering::Relaxed),
            buffer: self.buffer.load(Ordering::Relaxed),
        }
    }
}

pub(crate) struct LeaseTable {
    tables: [OnceLock<Box<[Lease]>>; TABLES],
    first_generation: u64,
    /// The newest of the stack of released leases, plus one.
    released: AtomicU32,
    /// 1: the owner wants to be told of the next release.
    thirsty: AtomicU32,
}

impl LeaseTable {
    /// `random` decides where the generations begin.
    pub(crate) fn new(random: u64) -> LeaseTable {
        LeaseTable {
            tables: [const { OnceLock::new() }; TABLES],
            // Below half of the range, and not 0: as for operations.
            first_generation: (random >> (64 - 38)).max(1),
            released: AtomicU32::new(0),
            thirsty: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    fn lease(&self, index: u32) -> Option<&Lease> {
        let table = (index / FIRST + 1).ilog2();
        let first = FIRST * ((1 << table) - 1);
        self.tables.get(table as usize)?.get()?.get((index - first) as usize)
    }

    /// Makes leases of the next table; returns the numbers of the new ones. Owner only.
    pub(crate) fn grow(&self) -> Result<std::ops::Range<u32>, Errno> {
        let table = self.tables.iter().position(|table| table.get().is_none());
        let table = table.ok_or(Errno::ENOMEM)? as u32;
        let (first, count) = (FIRST * ((1 << table) - 1), FIRST << table);
        let mut leases = Vec::new();
        leases.try_reserve_exact(count as usize).map_err(|_| Errno::ENOMEM)?;
        for index in first..first + count {
            let id = self.first_generation << INDEX_BITS | u64::from(index);
            leases.push(Lease {
                id: AtomicU64::new(id | FREE),
                data: AtomicPtr::new(std::ptr::null_mut()),
                len: AtomicU32::new(0),
                buffer: AtomicU32::new(0),
                next: AtomicU32::new(0),
            });
        }
        self.tables[table as usize].get_or_init(|| leases.into_boxed_slice());
        Ok(first..first + count)
    }

    /// For tests: nothing can grow any more.
    #[cfg(test)]
    pub(crate) fn run_out(&self) {
        for table in &self.tables {
            table.get_or_init(Box::default);
        }
    }

    /// Leases a piece under a free number. None: the number's generations are used up; it is not to
    /// be used again. Owner only.
    pub(crate) fn issue(&self, index: u32, piece: Piece) -> Option<i64> {
        let lease = self.lease(index)?;
        // Relaxed: nobody else changes a free one.
        let id = (lease.id.load(Ordering::Relaxed) & !FREE).wrapping_add(1 << INDEX_BITS);
        if id & FREE != 0 {
            return None;
        }
        lease.data.store(piece.data.as_ptr(), Ordering::Relaxed);
        lease.len.store(piece.len, Ordering::Relaxed);
        lease.buffer.store(piece.buffer, Ordering::Relaxed);
        // Release pairs with the acquire in `find`: what the id names is written before it.
        lease.id.store(id, Ordering::Release);
        Some(id as i64)
    }

    /// What a lease names.
    pub(crate) fn find(&self, id: i64) -> Result<Piece, Errno> {
        let lease = self.named(id).ok_or(Errno::ENOENT)?;
        if lease.id.load(Ordering::Acquire) != id as u64 {
            return Err(Errno::ENOENT);
        }
        Ok(lease.piece())
    }

    #[inline(always)]
    fn named(&self, id: i64) -> Option<&Lease> {
        if id <= 0 { None } else { self.lease((id as u64 & INDEX_MASK) as u32) }
    }

    /// Ends a lease; the caller, on any thread, then gives its number back by `push`, or is the
    /// owner and keeps it.
    #[inline(always)]
    pub(crate) fn end(&self, id: i64) -> Result<u32, Errno> {
        let lease = self.named(id).ok_or(Errno::ENOENT)?;
        let id = id as u64;
        // One of two that release it sees it leased. Release: what the caller did with the buffer
        // happens before the owner's `take` and its next use.
        lease
            .id
            .compare_exchange(id, id | FREE, Ordering::AcqRel, Ordering::Relaxed)
            .map(|_| (id & INDEX_MASK) as u32)
            .map_err(|_| Errno::ENOENT)
    }

    /// Pushes an ended lease for the owner to take. True: it waits, and is to be told; one of those
    /// who push learns of it.
    #[must_use]
    pub(crate) fn push(&self, index: u32) -> bool {
        let Some(lease) = self.lease(index) else { return false };
        let mut head = self.released.load(Ordering::Relaxed);
        loop {
            lease.next.store(head, Ordering::Relaxed);
            // AcqRel: releases the link to the owner's swap, and acquires that swap if it came
            // before, and with it what the owner has said in `thirsty`. The owner takes all or
            // nothing, so that no number can come back to the head in between.
            match self.released.compare_exchange_weak(
                head,
                index + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.thirsty.load(Ordering::Relaxed) != 0 && self.thirsty.swap(0, Ordering::Relaxed) != 0
    }

    /// The owner waits for buffers, or does not any more. Relaxed: a `take_released` follows where
    /// it does, and releases it.
    pub(crate) fn set_thirsty(&self, thirsty: bool) {
        self.thirsty.store(u32::from(thirsty), Ordering::Relaxed);
    }

    /// A hint: what is missed now is seen by a later look.
    #[inline(always)]
    pub(crate) fn has_released(&self) -> bool {
        self.released.load(Ordering::Relaxed) != 0
    }

    /// Takes every released lease: calls `take` with its number and what it named. Owner only.
    pub(crate) fn take_released(&self, mut take: impl FnMut(u32, Piece)) {
        // AcqRel pairs with the pushes: links are written, and the buffers' users are done; and a
        // later push sees what `thirsty` is now.
        let mut next = self.released.swap(0, Ordering::AcqRel);
        while let Some(index) = next.checked_sub(1) {
            let Some(lease) = self.lease(index) else { return };
            next = lease.next.load(Ordering::Relaxed);
            take(index, lease.piece());
        }
    }

    /// What an ended lease named. Owner only.
    pub(crate) fn piece_of(&self, index: u32) -> Option<Piece> {
        self.lease(index).map(Lease::piece)
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn piece(buffer: u32) -> Piece {
        Piece { data: NonNull::dangling(), len: buffer, buffer }
    }

    #[test]
    fn a_lease_ends_once_and_its_number_has_another_id_next() {
        let leases = LeaseTable::new(7 << 40);
        let numbers = leases.grow().unwrap();
        let first = leases.issue(numbers.start, piece(7)).unwrap();
        assert!(first > 0);
        assert_eq!(leases.find(first).unwrap().len, 7);
        assert_eq!(leases.end(first), Ok(numbers.start));
        assert_eq!(leases.end(first), Err(Errno::ENOENT));
        assert!(leases.find(first).is_err());
        let second = leases.issue(numbers.start, piece(8)).unwrap();
        assert_ne!(first, second);
        assert_eq!(leases.end(first), Err(Errno::ENOENT));
    }

    #[test]
    fn a_number_is_used_no_more_when_its_generations_are_used_up() {
        let leases = LeaseTable::new(1);
        let number = leases.grow().unwrap().start;
        let last = i64::MAX as u64 & !INDEX_MASK | u64::from(number);
        leases.lease(number).unwrap().id.store(last | FREE, Ordering::Relaxed);
        assert_eq!(leases.issue(number, piece(1)), None);
    }

    #[test]
    fn every_number_of_every_table_is_another_lease() {
        let leases = LeaseTable::new(1);
        for _ in 0..4 {
            for index in leases.grow().unwrap() {
                let id = leases.issue(index, piece(index)).unwrap();
                assert_eq!(id as u64 & INDEX_MASK, u64::from(index));
            }
        }
        for index in 0..FIRST * 15 {
            assert_eq!(leases.piece_of(index).unwrap().buffer, index);
        }
        assert!(leases.lease(FIRST * 15).is_none());
    }

    #[test]
    fn what_is_no_lease_names_nothing() {
        let leases = LeaseTable::new(1);
        leases.grow().unwrap();
        for id in [0, -1, i64::MIN, i64::MAX, 1, 0xff_ffff] {
            assert_eq!(leases.end(id), Err(Errno::ENOENT));
        }
    }
}
