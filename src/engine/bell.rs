//! How something outside of a context tells an operation that there is something to take, from any
//! thread and from signal handlers: it rings, and nothing is locked, allocated or freed by that.
//! Hides when a message is sent for it: once per listening, so that a burst wakes the context once.
//!
//! The operation that listens leaves a prepared message with the bell. The first who rings takes
//! it, sends it, and puts what is left of it aside, for the next who listens to free. Listening is
//! announced before the look at whether something is there already, and who rings looks for a
//! listener after having put something there; both are sequentially consistent, so that one of the
//! two sees the other.

use crate::engine::external::Completer;
use crate::engine::handle::Reference;
use crate::engine::mailbox::{Message, Prepared};
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, total_order};

/// Whose messages a bell sends.
pub(crate) trait Listener {
    /// From any thread; what is not taken comes back.
    fn call(&self, message: Prepared) -> Result<(), Prepared>;

    /// From the listener's own thread.
    fn call_here(&self, message: Prepared) -> Result<(), Prepared>;
}

impl Listener for Reference {
    fn call(&self, message: Prepared) -> Result<(), Prepared> {
        self.send_prepared(message)
    }

    fn call_here(&self, message: Prepared) -> Result<(), Prepared> {
        self.send_prepared_here(message)
    }
}

struct Call<L> {
    listener: L,
    /// None once it was sent.
    message: Option<Prepared>,
    next: *mut Call<L>,
}

/// The right to listen, and to take what is there.
pub(crate) struct Claim(());

pub(crate) struct Bell<L: Listener = Reference> {
    /// What the listener has left.
    armed: AtomicPtr<Call<L>>,
    /// What remains of earlier ones.
    spent: AtomicPtr<Call<L>>,
    claimed: AtomicU32,
}

// SAFETY: a call belongs to whoever has swapped it out; listeners are Send and Sync.
unsafe impl<L: Listener + Send + Sync> Send for Bell<L> {}
// SAFETY: as above; all fields are atomics.
unsafe impl<L: Listener + Send + Sync> Sync for Bell<L> {}

impl<L: Listener> Bell<L> {
    pub(crate) fn new() -> Bell<L> {
        Bell {
            armed: AtomicPtr::new(std::ptr::null_mut()),
            spent: AtomicPtr::new(std::ptr::null_mut()),
            claimed: AtomicU32::new(0),
        }
    }

    /// Nobody else listens, or takes, until it is released.
    pub(crate) fn claim(&self) -> Option<Claim> {
        // Acquire pairs with the release of the last claim.
        (self.claimed.swap(1, Ordering::Acquire) == 0).then_some(Claim(()))
    }

    pub(crate) fn release(&self, _: Claim) {
        self.claimed.store(0, Ordering::Release);
    }

    /// Has `message` sent when somebody rings, or now if something is there already. On the
    /// listener's thread; not while it listens.
    pub(crate) fn listen(
        &self, _: &Claim, listener: L, message: Message, is_due: impl FnOnce() -> bool,
    ) {
        self.free_spent();
        let message = Some(Prepared::new(message));
        let call = Box::new(Call { listener, message, next: std::ptr::null_mut() });
        // SeqCst: releases the call to who rings, and comes before the look that follows (pairs
        // with the look at `armed` in `ring`).
        self.armed.swap(Box::into_raw(call), Ordering::SeqCst);
        total_order();
        if is_due() {
            self.ring_for(L::call_here);
        }
    }

    /// Does not listen any more; a message may be on its way.
    pub(crate) fn stop_listening(&self, _: &Claim) {
        let call = self.armed.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !call.is_null() {
            // SAFETY: the swap made it ours.
            drop(unsafe { Box::from_raw(call) });
        }
    }

    /// Tells who listens that something is there. After it was put there, sequentially consistent.
    pub(crate) fn ring(&self) {
        total_order();
        // SeqCst: pairs with `listen`. Nobody listening costs no exclusive access.
        if !self.armed.load(Ordering::SeqCst).is_null() {
            self.ring_for(L::call);
        }
    }

    fn ring_for(&self, send: impl FnOnce(&L, Prepared) -> Result<(), Prepared>) {
        // AcqRel: acquires the call from `listen`.
        let call = self.armed.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if call.is_null() {
            return;
        }
        // SAFETY: the swap made it ours, until it is pushed below.
        unsafe {
            if let Some(message) = (*call).message.take() {
                // One that is not taken is freed with the rest.
                (*call).message = send(&(*call).listener, message).err();
            }
            let mut head = self.spent.load(Ordering::Relaxed);
            loop {
                (*call).next = head;
                // Release pairs with the acquire in `free_spent`.
                match self.spent.compare_exchange_weak(
                    head,
                    call,
                    Ordering::Release,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return,
                    Err(now) => head = now,
                }
            }
        }
    }

    fn free_spent(&self) {
        let mut call = self.spent.swap(std::ptr::null_mut(), Ordering::Acquire);
        while !call.is_null() {
            // SAFETY: the swap made the whole list ours.
            call = unsafe { Box::from_raw(call) }.next;
        }
    }
}

impl Bell {
    /// Has the operation of a completer told (`External::rung`) when somebody rings.
    pub(crate) fn listen_for(
        &self, claim: &Claim, whom: &Completer, is_due: impl FnOnce() -> bool,
    ) {
        self.listen(claim, whom.handle().clone(), Message::Rung(whom.id()), is_due);
    }
}

impl<L: Listener> Drop for Bell<L> {
    fn drop(&mut self) {
        self.stop_listening(&Claim(()));
        self.free_spent();
    }
}

/// How often something has happened; closed at some time.
pub(crate) struct Occurrences(AtomicU64);

const CLOSED: u64 = 1 << 63;

impl Occurrences {
    pub(crate) fn new() -> Occurrences {
        Occurrences(AtomicU64::new(0))
    }

    /// Counts one; false once they are closed.
    pub(crate) fn add(&self) -> bool {
        let mut count = self.0.load(Ordering::Relaxed);
        while count & CLOSED == 0 {
            // SeqCst: before the look at `armed` in `Bell::ring`; what the caller did before is
            // released to who takes.
            match self.0.compare_exchange_weak(
                count,
                count + 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    pub(crate) fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Whether there is something to tell. SeqCst: after `Bell::listen` has announced it.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::SeqCst) != 0
    }

    /// All that were counted. None: there are none, nor will there be.
    pub(crate) fn take(&self) -> Option<u64> {
        // Acquire pairs with `add`.
        let count = self.0.fetch_and(CLOSED, Ordering::AcqRel);
        if count == CLOSED { None } else { Some(count & !CLOSED) }
    }
}
