//! The part of a buffer pool that any thread may hold: who has leased which piece of which buffer,
//! and the pieces that came back. The context's thread issues leases and takes back; any thread
//! releases, also when the context is gone, because each lease keeps the pool's memory alive.
//!
//! A lease has an id as operations have, `0 | generation 39 | index 24`, generations starting at a
//! random value per pool: a lease that was released, or is another pool's, names nothing. Released
//! ones are pushed to a stack that the owner takes whole. An owner that waits for buffers says so
//! in `thirsty` before its last look at the stack, and a releaser looks at `thirsty` after its
//! push; both are sequentially consistent, so that one of the two sees the other.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::mailbox::Message;
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sys::clock;
use crate::sys::errno::Errno;
use crate::sys::interface_queue::KeptRing;
use crate::sys::memory::Region;
use crate::sys::message;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// In the id of a lease that nobody has.
const FREE: u64 = 1 << 63;

/// Leases in the first table; each next one is as large as all before it, and as the first.
const FIRST: u32 = 256;
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

/// What a pool has to do with a network interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interface {
    /// Nothing.
    Unasked,
    /// It was to have an interface queue, and got none: an ordinary pool serves.
    Refused,
    /// The number of its interface queue.
    Queue(u32),
}

pub(crate) struct Shared {
    handle: NonNull<Handle>,
    /// Names the pool inside its context.
    pub(crate) group: u16,
    /// A completion may bring several buffers.
    pub(crate) bundles: bool,
    /// Buffers are to be used up piece by piece.
    pub(crate) incremental: bool,
    /// Buffers are filled by the caller and sent.
    pub(crate) sends: bool,
    pub(crate) interface: Interface,
    /// An interface queue goes with its ring, and what is leased must not be written over before.
    _ring: Option<KeptRing>,
    tables: [OnceLock<Box<[Lease]>>; TABLES],
    first_generation: u64,
    /// The newest of the stack of released leases, plus one.
    released: AtomicU32,
    /// 1: the owner wants to be told of the next release.
    thirsty: AtomicU32,
    /// 1: the pool was destroyed, or its context was.
    closed: AtomicU32,
    /// 1: the caller's reference was given up.
    given_up: AtomicU32,
    /// The buffers. Locked when the pool grows, at no other time.
    memory: Mutex<Vec<Region>>,
}

// SAFETY: `handle` is a counted reference to what any thread may hold; the rest is atomic, locked
// or written once. What leases point to is the caller's to share.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn create(
        handle: &Handle, group: u16, bundles: bool, incremental: bool, sends: bool,
    ) -> Shared {
        handle.add_ref();
        Shared {
            handle: NonNull::from(handle),
            group,
            bundles,
            incremental,
            sends,
            interface: Interface::Unasked,
            _ring: None,
            tables: [const { OnceLock::new() }; TABLES],
            // Below half of the range, and not 0: as for operations.
            first_generation: (clock::random_bits() >> (64 - 38)).max(1),
            released: AtomicU32::new(0),
            thirsty: AtomicU32::new(0),
            closed: AtomicU32::new(0),
            given_up: AtomicU32::new(0),
            memory: Mutex::new(Vec::new()),
        }
    }

    /// Says that the pool was to have an interface queue; `ring`: the one that it has one on.
    pub(crate) fn set_interface(&mut self, interface: Interface, ring: Option<KeptRing>) {
        self.interface = interface;
        self._ring = ring;
    }

    /// The context, which may be closed by now.
    pub(crate) fn handle(&self) -> &Handle {
        // SAFETY: the pool holds a reference.
        unsafe { self.handle.as_ref() }
    }

    /// Nothing but leases is left of the pool.
    pub(crate) fn close(&self) {
        self.closed.store(1, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != 0
    }

    /// The caller gives its reference up; false: it did so before.
    pub(crate) fn give_up(&self) -> bool {
        self.given_up.swap(1, Ordering::Relaxed) == 0
    }

    pub(crate) fn keep(&self, region: Region) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(region);
    }

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
    pub(crate) fn issue(self: &Arc<Shared>, index: u32, piece: Piece) -> Option<i64> {
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
        // SAFETY: `self` is in an Arc; `release` gives this reference back.
        unsafe { Arc::increment_strong_count(Arc::as_ptr(self)) };
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

    fn named(&self, id: i64) -> Option<&Lease> {
        if id <= 0 { None } else { self.lease((id as u64 & INDEX_MASK) as u32) }
    }

    /// Ends a lease; the caller, on any thread, then gives its number and reference back by
    /// `give_back`, or by `forget` after taking the number back itself.
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

    /// Pushes an ended lease for the owner to take, and wakes it if it waits.
    fn push(&self, index: u32) {
        let Some(lease) = self.lease(index) else { return };
        let mut head = self.released.load(Ordering::Relaxed);
        loop {
            lease.next.store(head, Ordering::Relaxed);
            // SeqCst: releases the link to the owner's swap, and orders the push before the look
            // at `thirsty`. The owner takes all or nothing, so that no number can come back to the
            // head in between.
            match self.released.compare_exchange_weak(
                head,
                index + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if self.thirsty.load(Ordering::SeqCst) != 0 && self.thirsty.swap(0, Ordering::SeqCst) != 0 {
            // A closed context wants no buffers.
            let _: Result<(), Refusal> = self.handle().send(Message::Refill(self.group));
        }
    }

    /// Gives an ended lease back from any thread.
    ///
    /// # Safety
    /// `pool` is a live pool, and `index` came from its `end`. The pool may be gone afterwards.
    pub(crate) unsafe fn give_back(pool: *const Shared, index: u32) {
        // SAFETY: the lease's reference keeps it alive during the push.
        unsafe {
            (*pool).push(index);
            Shared::forget(pool);
        }
    }

    /// Gives the reference of an ended lease back.
    ///
    /// # Safety
    /// As for `give_back`.
    pub(crate) unsafe fn forget(pool: *const Shared) {
        // SAFETY: `issue` made the reference.
        unsafe { Arc::decrement_strong_count(pool) };
    }

    /// Says that the owner waits for buffers, or does not any more.
    pub(crate) fn set_thirsty(&self, thirsty: bool) {
        self.thirsty.store(u32::from(thirsty), Ordering::SeqCst);
    }

    #[inline(always)]
    pub(crate) fn has_released(&self) -> bool {
        self.released.load(Ordering::SeqCst) != 0
    }

    /// Takes every released lease: calls `take` with its number and what it named. Owner only.
    pub(crate) fn take_released(&self, mut take: impl FnMut(u32, Piece)) {
        // Acquire pairs with the pushes: links are written, and the buffers' users are done.
        let mut next = self.released.swap(0, Ordering::SeqCst);
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

/// Ends a lease that nobody was told of; `control_at`: where the control data of a message begins,
/// which may bring descriptors, or 0.
pub(crate) fn release(pool: *const Shared, id: i64, control_at: u32) {
    // SAFETY: the lease, which nobody else knows, keeps its pool alive; the kernel wrote a message
    // to it if there is control data.
    unsafe {
        if control_at != 0
            && let Ok(piece) = (*pool).find(id)
        {
            message::close_passed_in_buffer(piece.data, control_at);
        }
        if let Ok(index) = (*pool).end(id) {
            Shared::give_back(pool, index);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the reference taken in `create`.
        unsafe { Handle::unref(self.handle.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Choice, ContextOptions};

    /// The handle of a context that is never used, nor freed.
    fn any_handle() -> &'static Handle {
        let options = ContextOptions { backend: Choice::Epoll, ..ContextOptions::default() };
        Box::leak(Handle::create(&options).unwrap())
    }

    fn piece(buffer: u32) -> Piece {
        Piece { data: NonNull::dangling(), len: buffer, buffer }
    }

    #[test]
    fn a_lease_ends_once_and_its_number_has_another_id_next() {
        let shared = Arc::new(Shared::create(any_handle(), 0, false, false, false));
        let numbers = shared.grow().unwrap();
        let first = shared.issue(numbers.start, piece(7)).unwrap();
        assert!(first > 0);
        assert_eq!(shared.find(first).unwrap().len, 7);
        assert_eq!(shared.end(first), Ok(numbers.start));
        assert_eq!(shared.end(first), Err(Errno::ENOENT));
        assert!(shared.find(first).is_err());
        let second = shared.issue(numbers.start, piece(8)).unwrap();
        assert_ne!(first, second);
        assert_eq!(shared.end(first), Err(Errno::ENOENT));
    }

    #[test]
    fn every_number_of_every_table_is_another_lease() {
        let shared = Arc::new(Shared::create(any_handle(), 0, false, false, false));
        for _ in 0..4 {
            for index in shared.grow().unwrap() {
                let id = shared.issue(index, piece(index)).unwrap();
                assert_eq!(id as u64 & INDEX_MASK, u64::from(index));
            }
        }
        for index in 0..FIRST * 15 {
            assert_eq!(shared.piece_of(index).unwrap().buffer, index);
        }
        assert!(shared.lease(FIRST * 15).is_none());
    }

    #[test]
    fn what_is_no_lease_names_nothing() {
        let shared = Arc::new(Shared::create(any_handle(), 0, false, false, false));
        shared.grow().unwrap();
        for id in [0, -1, i64::MIN, i64::MAX, 1, 0xff_ffff] {
            assert_eq!(shared.end(id), Err(Errno::ENOENT));
        }
    }
}
