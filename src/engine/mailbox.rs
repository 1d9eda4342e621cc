//! What other threads may touch of a context: a queue of messages, the sleep protocol, the stop
//! request and the count of holds. Hides the only atomics of the engine outside the ring's memory.
//! Any thread sends; the context's thread alone takes.
//!
//! The queue is a stack that senders push to and the owner takes whole and reverses: first in,
//! first out. A mark in its head closes it to everything but the ends of operations, for which a
//! context that is being destroyed still waits. Sleeping is announced before the last look at the
//! queue, and a sender looks for sleepers after its push; both are sequentially consistent, so that
//! one of the two sees the other.
//!
//! A context that no other thread has ever woken does not announce its sleep, which would cost it
//! an exclusive access per turn. The first wake-up signals whether the owner sleeps or not: that
//! ends the sleep that was not announced, and the owner, which learns of the signal from the kernel
//! after
//! `shared` was stored, announces every later one.

use crate::engine::external::End;
#[cfg(all(test, loom))]
use crate::engine::models::EventFd as Waker;
use crate::engine::msg_ring::{Kind, Letter, Parcel};
use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, put, total_order};
use crate::sys::descriptor::EventFd;
#[cfg(not(all(test, loom)))]
use crate::sys::descriptor::EventFd as Waker;
use crate::sys::errno::Errno;
use crate::sys::sync::OnceLock;
use std::ffi::c_void;

/// A posted function and its argument.
#[derive(Clone, Copy)]
pub(crate) struct Posted(pub unsafe extern "C-unwind" fn(*mut c_void), pub *mut c_void);

/// A posted function, or what another thread has to say about an operation.
pub(crate) enum Message {
    Run(Posted),
    Cancel(u64),
    /// An external operation has a result.
    End(Box<End>),
    /// A buffer of this pool's was released.
    Refill(u16),
    /// This pool has run low.
    LowWater(u16),
    /// The bell of this external operation has rung.
    Rung(u64),
    /// Of the engine to itself: this operation wants a function of the program called.
    Asks(u64),
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

/// In `signals`: somebody else has woken, or tried to wake, the owner.
const SHARED: u32 = 1;
/// A stop is asked for.
const STOP: u32 = 2;

/// The mark in the head of a queue that takes nothing but ends, and that head when it is empty.
const ENDS_ONLY: usize = 1;
/// The head of a queue that takes nothing any more.
const CLOSED: *mut Node = std::ptr::without_provenance_mut(2);

const _: () = assert!(align_of::<Node>() > 2);

/// Nothing is queued.
#[inline(always)]
fn is_bare(head: *mut Node) -> bool {
    head.addr() <= CLOSED.addr()
}

/// What senders push to and the owner takes whole.
struct Queue(AtomicPtr<Node>);

pub(crate) struct Mailbox {
    queue: Queue,
    /// Letters to a context that nobody has adopted, from senders that reach its ring directly from
    /// then on. It is closed by the adoption, so that none of them can be overtaken.
    early: Queue,
    /// The memory of a message that was taken, for the next: who wakes a sleeping context finds it.
    spare: AtomicPtr<Node>,
    sleep: AtomicU32,
    /// `SHARED` and `STOP`.
    signals: AtomicU32,
    holds: AtomicUsize,
    /// Polled by the backend.
    wake: Waker,
    /// Polled by a foreign loop, once it has asked for it.
    foreign: OnceLock<EventFd>,
}

/// A message with its place in the queue: sending it takes no memory.
pub(crate) struct Prepared(Box<Node>);

impl Prepared {
    pub(crate) fn new(message: Message) -> Prepared {
        Prepared(Box::new(Node { next: std::ptr::null_mut(), message }))
    }
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
    fn new() -> Queue {
        Queue(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The message comes back once the queue is closed to it.
    #[inline]
    fn push(&self, prepared: Prepared) -> Result<(), Prepared> {
        let is_end = matches!(prepared.0.message, Message::End(_));
        let refusing = if is_end { 0 } else { ENDS_ONLY };
        let node = Box::into_raw(prepared.0);
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            if head == CLOSED || head.addr() & refusing != 0 {
                // SAFETY: never published, so still ours.
                return Err(Prepared(unsafe { Box::from_raw(node) }));
            }
            let mark = head.addr() & ENDS_ONLY;
            // SAFETY: as above; published by the exchange below.
            unsafe { (*node).next = head.map_addr(|address| address & !ENDS_ONLY) };
            let new = node.map_addr(|address| address | mark);
            // SeqCst: releases the node to the owner's swap in `take`, and orders the push before
            // the look at `sleep` in `wake` (pairs with `prepare_sleep`).
            match self.0.compare_exchange_weak(head, new, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    #[cold]
    fn take_replacing(&self, replacement: *mut Node) -> Batch {
        // Acquire pairs with the release of the push: the nodes are complete.
        let head = self.0.swap(replacement, Ordering::AcqRel);
        let mut node = if is_bare(head) {
            std::ptr::null_mut()
        } else {
            head.map_addr(|address| address & !ENDS_ONLY)
        };
        let mut first = std::ptr::null_mut();
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
            spare: AtomicPtr::new(std::ptr::null_mut()),
            sleep: AtomicU32::new(AWAKE),
            signals: AtomicU32::new(0),
            holds: AtomicUsize::new(0),
            wake: Waker::create()?,
            foreign: OnceLock::new(),
        })
    }

    /// Queues a message. False once the queue is closed to it. A sender that is not the owner calls
    /// `wake` afterwards.
    #[inline]
    pub(crate) fn send(&self, message: Message) -> bool {
        self.queue.push(self.prepare(message)).is_ok()
    }

    #[inline(always)]
    fn prepare(&self, message: Message) -> Prepared {
        // Relaxed: a hint, by which a burst is spared the exchange.
        if !self.spare.load(Ordering::Relaxed).is_null() {
            // Acquire pairs with the release in `next_posted`: the owner has read the node.
            let node = self.spare.swap(std::ptr::null_mut(), Ordering::Acquire);
            if !node.is_null() {
                // SAFETY: the exchange made it ours; nothing in it has to be dropped.
                unsafe {
                    node.write(Node { next: std::ptr::null_mut(), message });
                    return Prepared(Box::from_raw(node));
                }
            }
        }
        Prepared::new(message)
    }

    /// The function that comes next in what the owner has taken, if the next message is one.
    #[inline(always)]
    pub(crate) fn next_posted(&self, taken: &mut Batch) -> Option<Posted> {
        let node = taken.first;
        // SAFETY: a batch owns its nodes. This one leaves it, with nothing in it to be dropped: it
        // is the spare one if there is none, which nobody else makes of one.
        unsafe {
            let Message::Run(posted) = node.as_ref()?.message else { return None };
            taken.first = (*node).next;
            if self.spare.load(Ordering::Relaxed).is_null() {
                self.spare.store(node, Ordering::Release);
            } else {
                drop(Box::from_raw(node));
            }
            Some(posted)
        }
    }

    /// The same without taking or freeing memory; a message that is refused comes back.
    pub(crate) fn send_prepared(&self, prepared: Prepared) -> Result<(), Prepared> {
        self.queue.push(prepared)
    }

    /// Queues a letter to a context that nobody has adopted; false if somebody has.
    pub(crate) fn send_early(&self, letter: Letter) -> bool {
        self.is_early() && self.early.push(Prepared::new(Message::Letter(letter))).is_ok()
    }

    /// Whether nobody has adopted the context, which may have changed since.
    pub(crate) fn is_early(&self) -> bool {
        // Acquire pairs with the swap in `close_early`: the ring was enabled before it.
        self.early.0.load(Ordering::Acquire) != CLOSED
    }

    /// The context was adopted: what came before.
    pub(crate) fn close_early(&self) -> Batch {
        self.early.take_replacing(CLOSED)
    }

    /// Wakes the owner if it sleeps; one system call per sleep (two who look at the same moment may
    /// both make one), none when it is awake.
    #[inline]
    pub(crate) fn wake(&self) {
        if self.signals.load(Ordering::Relaxed) & SHARED == 0
            && self.signals.fetch_or(SHARED, Ordering::SeqCst) & SHARED == 0
        {
            put(&self.sleep, AWAKE);
            self.foreign.get().into_iter().for_each(EventFd::signal);
            return self.wake.signal();
        }
        // SeqCst: after the push or flag that the caller made, before the owner's announcement or
        // after it (pairs with `prepare_sleep`).
        total_order();
        match self.sleep.load(Ordering::SeqCst) {
            AWAKE => {}
            // Two who look at the same time both signal, which costs less than an exchange in every
            // wake-up. A later announcement may be lost here, but its sleep ends by this signal,
            // whichever kind it is.
            ASLEEP => {
                put(&self.sleep, AWAKE);
                self.wake.signal();
            }
            // The signal of a foreign loop ends no other sleep.
            _ => match self.sleep.swap(AWAKE, Ordering::SeqCst) {
                ASLEEP => self.wake.signal(),
                ASLEEP_FOREIGN => self.foreign.get().into_iter().for_each(EventFd::signal),
                _ => {}
            },
        }
    }

    /// Takes everything that was sent.
    #[inline(always)]
    pub(crate) fn take(&self) -> Batch {
        // Relaxed: an empty look costs no exclusive access; a message that is missed now is seen
        // by `prepare_sleep`.
        let head = self.queue.0.load(Ordering::Relaxed);
        if is_bare(head) {
            return Batch::EMPTY;
        }
        // The mark is the owner's to set, and stays.
        self.queue.take_replacing(std::ptr::without_provenance_mut(head.addr() & ENDS_ONLY))
    }

    /// Takes everything and refuses what comes later but ends of operations.
    pub(crate) fn close_to_posts(&self) -> Batch {
        self.queue.take_replacing(std::ptr::without_provenance_mut(ENDS_ONLY))
    }

    /// Takes everything and refuses what comes later.
    pub(crate) fn close(&self) -> Batch {
        self.queue.take_replacing(CLOSED)
    }

    pub(crate) fn has_mail(&self) -> bool {
        !is_bare(self.queue.0.load(Ordering::SeqCst))
    }

    /// Announces that the owner goes to sleep in its backend, or in a foreign loop. False, and the
    /// owner stays awake, if there is mail or a stop request.
    #[inline(always)]
    pub(crate) fn prepare_sleep(&self, foreign: bool) -> bool {
        self.announce_sleep(foreign);
        if self.has_mail() || self.stop_requested() {
            self.awake();
            return false;
        }
        true
    }

    /// The same for an owner that waits for nothing but mail: false if nothing holds it. Not
    /// announced where nobody has ever woken the owner.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare_held_sleep(&self) -> bool {
        if !self.is_held() || !(self.is_calm() || self.prepare_sleep(false)) {
            return false;
        }
        // Once more: who has given the last hold back before the announcement wakes nobody.
        let sleeps = self.is_held();
        if !sleeps {
            self.awake();
        }
        sleeps
    }

    /// The same for a wait that a stop does not end.
    pub(crate) fn prepare_wait(&self) -> bool {
        self.announce_sleep(false);
        let sleeps = !self.has_mail();
        if !sleeps {
            self.awake();
        }
        sleeps
    }

    #[inline(always)]
    fn announce_sleep(&self, foreign: bool) {
        // SeqCst, before the caller's looks: pairs with the look at `sleep` in `wake`.
        if foreign || self.signals.load(Ordering::Relaxed) & SHARED != 0 {
            let state = if foreign { ASLEEP_FOREIGN } else { ASLEEP };
            self.sleep.swap(state, Ordering::SeqCst);
            total_order();
        }
    }

    /// On the owner's thread: there is no mail and no stop request, and nobody has ever woken the
    /// owner, so that it need not announce its sleep. Relaxed: what is missed now is the first
    /// thing to wake it, which ends that sleep.
    #[inline(always)]
    pub(crate) fn is_calm(&self) -> bool {
        self.signals.load(Ordering::Relaxed) == 0 && self.queue.0.load(Ordering::Relaxed).is_null()
    }

    /// On the owner's thread: it has announced its sleep and not come back since.
    pub(crate) fn sleep_is_announced(&self) -> bool {
        self.sleep.load(Ordering::Relaxed) != AWAKE
    }

    /// Relaxed: a sender that still sees the sleeper signals once too often, which is harmless.
    #[inline(always)]
    pub(crate) fn awake(&self) {
        put(&self.sleep, AWAKE);
    }

    pub(crate) fn request_stop(&self) {
        self.signals.fetch_or(STOP, Ordering::SeqCst);
        self.wake();
    }

    #[inline(always)]
    pub(crate) fn stop_requested(&self) -> bool {
        self.signals.load(Ordering::SeqCst) & STOP != 0
    }

    /// Uses the stop request up.
    pub(crate) fn consume_stop(&self) -> bool {
        self.stop_requested() && self.signals.fetch_and(!STOP, Ordering::SeqCst) & STOP != 0
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

impl Drop for Mailbox {
    fn drop(&mut self) {
        // Acquire: as in `prepare`.
        let node = self.spare.swap(std::ptr::null_mut(), Ordering::Acquire);
        if !node.is_null() {
            // SAFETY: it was the mailbox's, and has nothing in it to be dropped.
            drop(unsafe { Box::from_raw(node) });
        }
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

    /// Takes the ends out that `wanted` picks, in their order.
    pub(crate) fn take_ends(&mut self, wanted: impl Fn(&End) -> bool) -> Vec<End> {
        let mut taken = Vec::new();
        let mut link = &raw mut self.first;
        // SAFETY: a batch owns its nodes; `link` is its own first pointer or one of theirs, and a
        // node that is made a box has been unlinked.
        unsafe {
            while let Some(node) = (*link).as_mut() {
                if !matches!(&node.message, Message::End(end) if wanted(end)) {
                    link = &raw mut node.next;
                    continue;
                }
                let node = Box::from_raw(*link);
                *link = node.next;
                if let Message::End(end) = node.message {
                    taken.push(*end);
                }
            }
        }
        taken
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
        let node = unsafe { Box::from_raw(self.first) };
        self.first = node.next;
        Some(node.message)
    }
}

impl Drop for Batch {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.first.is_null() {
            self.drop_nodes();
        }
    }
}

impl Batch {
    #[cold]
    #[inline(never)]
    fn drop_nodes(&mut self) {
        self.by_ref().for_each(drop);
    }
}

#[cfg(all(test, loom))]
impl Mailbox {
    /// The owner's wait in the kernel.
    pub(crate) fn sleep_in_model(&self, sleep: impl FnOnce(&Waker)) {
        sleep(&self.wake);
    }
}
