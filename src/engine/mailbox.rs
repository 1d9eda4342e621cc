//! What other threads may touch of a context: a queue of messages, the sleep protocol, the stop
//! request and the count of holds. Hides the only atomics of the engine outside the ring's memory.
//! Any thread sends; the context's thread alone takes.
//!
//! The queue is a stack that senders push to and the owner takes whole and reverses: first in,
//! first out. Sleeping is announced before the last look at the queue, and a sender looks for
//! sleepers after its push; both are sequentially consistent, so that one of the two sees the
//! other.
//!
//! A context that no other thread has ever woken does not announce its sleep, which would cost it
//! an exclusive access per turn. The first wake-up signals whether the owner sleeps or not: that
//! ends the sleep that was not announced, and the owner, which learns of the signal from the kernel
//! after
//! `shared` was stored, announces every later one.

use crate::engine::msg_ring::{Kind, Letter, Parcel};
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sys::descriptor::EventFd;
use crate::sys::errno::Errno;
use std::ffi::c_void;
use std::sync::OnceLock;

/// A posted function, or a request that another thread made.
pub(crate) enum Message {
    Run(unsafe extern "C-unwind" fn(*mut c_void), *mut c_void),
    Cancel(u64),
    /// A buffer of this pool's was released.
    Refill(u16),
    /// This pool has run low.
    LowWater(u16),
    /// For who receives messages here.
    Letter(Letter),
    /// A descriptor for the table of direct ones.
    Parcel(Box<Parcel>),
    /// What became of the parcel that this operation has sent.
    Answer(u64),
    /// Of the engine to itself: what was kept can be delivered.
    Kept(Kind),
}

struct Node {
    next: *mut Node,
    message: Message,
}

/// Values of `sleep`.
const AWAKE: u32 = 0;
/// In the backend's wait.
const ASLEEP: u32 = 1;
/// In somebody else's event loop.
const ASLEEP_FOREIGN: u32 = 2;

/// The head of a queue that takes nothing any more.
const CLOSED: *mut Node = std::ptr::dangling_mut();

/// What senders push to and the owner takes whole.
struct Queue(AtomicPtr<Node>);

pub(crate) struct Mailbox {
    queue: Queue,
    /// Letters to a context that nobody has adopted, from senders that reach its ring directly from
    /// then on. It is closed by the adoption, so that none of them can be overtaken.
    early: Queue,
    sleep: AtomicU32,
    /// 1 once somebody else has woken, or tried to wake, the owner.
    shared: AtomicU32,
    stop: AtomicU32,
    holds: AtomicUsize,
    /// Polled by the backend.
    wake: EventFd,
    /// Polled by a foreign loop, once it has asked for it.
    foreign: OnceLock<EventFd>,
}

/// Messages taken, oldest first.
pub(crate) struct Batch {
    first: *mut Node,
}

// SAFETY: nodes are owned by exactly one queue or batch; what `Message` points to is the caller's,
// who sends it to another thread on purpose.
unsafe impl Send for Mailbox {}
// SAFETY: all shared fields are atomics or written once.
unsafe impl Sync for Mailbox {}

impl Queue {
    const fn new() -> Queue {
        Queue(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// False, and the message is dropped, once the queue is closed.
    fn push(&self, message: Message) -> bool {
        let node = Box::into_raw(Box::new(Node { next: std::ptr::null_mut(), message }));
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            if head == CLOSED {
                // SAFETY: never published, so still ours.
                drop(unsafe { Box::from_raw(node) });
                return false;
            }
            // SAFETY: as above; published by the exchange below.
            unsafe { (*node).next = head };
            // SeqCst: releases the node to the owner's swap in `take`, and orders the push before
            // the look at `sleep` in `wake` (pairs with `prepare_sleep`).
            match self.0.compare_exchange_weak(head, node, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        true
    }

    #[cold]
    fn take_replacing(&self, replacement: *mut Node) -> Batch {
        // Acquire pairs with the release of the push: the nodes are complete.
        let mut node = self.0.swap(replacement, Ordering::AcqRel);
        let mut first = std::ptr::null_mut();
        if node == CLOSED {
            // Only `close` comes here, which the owner calls, so that the queue was never open.
            return Batch::EMPTY;
        }
        while !node.is_null() {
            // SAFETY: the swap made the whole list ours.
            let next = unsafe { std::mem::replace(&mut (*node).next, first) };
            first = node;
            node = next;
        }
        Batch { first }
    }
}

impl Mailbox {
    pub(crate) fn create() -> Result<Mailbox, Errno> {
        Ok(Mailbox {
            queue: Queue::new(),
            early: Queue::new(),
            sleep: AtomicU32::new(AWAKE),
            shared: AtomicU32::new(0),
            stop: AtomicU32::new(0),
            holds: AtomicUsize::new(0),
            wake: EventFd::create()?,
            foreign: OnceLock::new(),
        })
    }

    /// Queues a message. False once the queue is closed. A sender that is not the owner calls
    /// `wake` afterwards.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.queue.push(message)
    }

    /// Queues a letter to a context that nobody has adopted; false if somebody has.
    pub(crate) fn send_early(&self, letter: Letter) -> bool {
        self.queue_is_early() && self.early.push(Message::Letter(letter))
    }

    /// Whether nobody has adopted the context, which may have changed since.
    pub(crate) fn queue_is_early(&self) -> bool {
        self.early.0.load(Ordering::Acquire) != CLOSED
    }

    /// The context was adopted: what came before.
    pub(crate) fn close_early(&self) -> Batch {
        self.early.take_replacing(CLOSED)
    }

    /// Wakes the owner if it sleeps; one system call per sleep, none when it is awake.
    pub(crate) fn wake(&self) {
        if self.shared.load(Ordering::Relaxed) == 0 && self.shared.swap(1, Ordering::SeqCst) == 0 {
            self.sleep.store(AWAKE, Ordering::Relaxed);
            self.foreign.get().into_iter().for_each(EventFd::signal);
            return self.wake.signal();
        }
        // SeqCst: after the push or flag that the caller made, before the owner's announcement or
        // after it (pairs with `prepare_sleep`).
        if self.sleep.load(Ordering::SeqCst) == AWAKE {
            return;
        }
        match self.sleep.swap(AWAKE, Ordering::SeqCst) {
            ASLEEP => self.wake.signal(),
            ASLEEP_FOREIGN => self.foreign.get().into_iter().for_each(EventFd::signal),
            _ => {}
        }
    }

    /// Takes everything that was sent.
    #[inline(always)]
    pub(crate) fn take(&self) -> Batch {
        // Relaxed: an empty look costs no exclusive access; a message that is missed now is seen
        // by `prepare_sleep`.
        let head = self.queue.0.load(Ordering::Relaxed);
        if head.is_null() || head == CLOSED {
            return Batch::EMPTY;
        }
        self.queue.take_replacing(std::ptr::null_mut())
    }

    /// Takes everything and refuses what comes later.
    pub(crate) fn close(&self) -> Batch {
        self.queue.take_replacing(CLOSED)
    }

    pub(crate) fn has_mail(&self) -> bool {
        let head = self.queue.0.load(Ordering::SeqCst);
        !head.is_null() && head != CLOSED
    }

    /// Announces that the owner goes to sleep in its backend, or in a foreign loop. False, and the
    /// owner stays awake, if there is mail or a stop request.
    #[inline(always)]
    pub(crate) fn prepare_sleep(&self, foreign: bool) -> bool {
        // SeqCst, before the looks below: pairs with the look at `sleep` in `wake`.
        if foreign || self.shared.load(Ordering::Relaxed) != 0 {
            let state = if foreign { ASLEEP_FOREIGN } else { ASLEEP };
            self.sleep.swap(state, Ordering::SeqCst);
        }
        if self.has_mail() || self.stop_requested() {
            self.awake();
            return false;
        }
        true
    }

    /// On the owner's thread: it has announced its sleep and not come back since.
    pub(crate) fn sleep_is_announced(&self) -> bool {
        self.sleep.load(Ordering::Relaxed) != AWAKE
    }

    /// Relaxed: a sender that still sees the sleeper signals once too often, which is harmless.
    #[inline(always)]
    pub(crate) fn awake(&self) {
        self.sleep.store(AWAKE, Ordering::Relaxed);
    }

    pub(crate) fn request_stop(&self) {
        self.stop.store(1, Ordering::SeqCst);
        self.wake();
    }

    #[inline(always)]
    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::SeqCst) != 0
    }

    /// Uses the stop request up.
    pub(crate) fn consume_stop(&self) -> bool {
        self.stop_requested() && self.stop.swap(0, Ordering::SeqCst) != 0
    }

    pub(crate) fn hold(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a hold back; the owner is woken when it was the last, so that its run can end.
    /// A release without its hold is ignored.
    pub(crate) fn release(&self) {
        let mut holds = self.holds.load(Ordering::Relaxed);
        while holds != 0 {
            // SeqCst: before the look at `sleep` in `wake`, as a push.
            match self.holds.compare_exchange_weak(
                holds,
                holds - 1,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(1) => return self.wake(),
                Ok(_) => return,
                Err(now) => holds = now,
            }
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) != 0
    }

    pub(crate) fn wake_descriptor(&self) -> i32 {
        self.wake.raw()
    }

    /// The descriptor for a foreign loop, if it was asked for.
    pub(crate) fn foreign(&self) -> Option<&EventFd> {
        self.foreign.get()
    }

    /// Called once, on the owner's thread.
    pub(crate) fn set_foreign(&self, event_fd: EventFd) {
        self.foreign.get_or_init(|| event_fd);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        drop(self.take_replacing(CLOSED));
    }
}

impl Batch {
    pub(crate) const EMPTY: Batch = Batch { first: std::ptr::null_mut() };

    /// A message of the owner's to itself.
    pub(crate) fn of(message: Message) -> Batch {
        Batch { first: Box::into_raw(Box::new(Node { next: std::ptr::null_mut(), message })) }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Puts a message of the owner's to itself before all others.
    pub(crate) fn push_front(&mut self, message: Message) {
        self.first = Box::into_raw(Box::new(Node { next: self.first, message }));
    }

    /// Puts `later` behind what is left.
    pub(crate) fn append(&mut self, mut later: Batch) {
        let mut end = &mut self.first;
        // SAFETY: a batch owns its nodes.
        while let Some(node) = unsafe { end.as_mut() } {
            end = &mut node.next;
        }
        *end = std::mem::replace(&mut later.first, std::ptr::null_mut());
    }
}

impl Iterator for Batch {
    type Item = Message;

    #[inline(always)]
    fn next(&mut self) -> Option<Message> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: a batch owns its nodes; this one leaves it.
        let node = *unsafe { Box::from_raw(self.first) };
        self.first = node.next;
        Some(node.message)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.by_ref().for_each(drop);
    }
}
