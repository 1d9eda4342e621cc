//! The part of a buffer pool that any thread may hold: its leases (`lease_table.rs`), its memory,
//! and the way to its context. The context's thread issues leases and takes back; any thread
//! releases, also when the context is gone, because each lease keeps the pool's memory alive.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::lease_table::{LeaseTable, Piece};
use crate::engine::mailbox::Message;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::clock;
use crate::sys::interface_queue::KeptRing;
use crate::sys::memory::Region;
use crate::sys::message;
use crate::sys::sync::Mutex;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};

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
    pub(crate) leases: LeaseTable,
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
            leases: LeaseTable::new(clock::distinct_bits()),
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

    /// Leases a piece under a free number, with a reference of the pool's own. None: the number is
    /// not to be used again. Owner only.
    pub(crate) fn issue(self: &Arc<Shared>, index: u32, piece: Piece) -> Option<i64> {
        let id = self.leases.issue(index, piece)?;
        // SAFETY: `self` is in an Arc; `forget` gives this reference back.
        unsafe { Arc::increment_strong_count(Arc::as_ptr(self)) };
        Some(id)
    }

    /// Gives an ended lease back from any thread.
    ///
    /// # Safety
    /// `pool` is a live pool, and `index` came from its `end`. The pool may be gone afterwards.
    pub(crate) unsafe fn give_back(pool: *const Shared, index: u32) {
        // SAFETY: the lease's reference keeps it alive during the push.
        unsafe {
            if (*pool).leases.push(index) {
                // A closed context wants no buffers.
                let _: Result<(), Refusal> = (*pool).handle().send(Message::Refill((*pool).group));
            }
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
}

/// Ends a lease that nobody was told of; `control_at`: where the control data of a message begins,
/// which may bring descriptors, or 0.
pub(crate) fn release(pool: *const Shared, id: i64, control_at: u32) {
    // SAFETY: the lease, which nobody else knows, keeps its pool alive; the kernel wrote a message
    // to it if there is control data.
    unsafe {
        if control_at != 0
            && let Ok(piece) = (*pool).leases.find(id)
        {
            message::close_passed_in_buffer(piece.data, control_at);
        }
        if let Ok(index) = (*pool).leases.end(id) {
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
