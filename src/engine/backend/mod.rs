//! The seam to whatever carries operations out: submission entries go in, completions come out, and
//! the context waits in it. Everything above is the same on every backend.

pub(crate) mod uring;

use crate::sys::entry::{Cqe, Sqe, WideSqe};
use crate::sys::errno::Errno;
use crate::sys::ring::Wait;
use uring::Uring;

/// What a backend was granted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Granted {
    pub setup_flags: u32,
    pub features: u32,
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub sqe_size: u32,
    pub cqe_size: u32,
}

/// What became of handing entries over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handed {
    /// Everything staged is with the kernel.
    All,
    /// The kernel is short of memory: some entries wait for the next turn.
    Some,
}

pub(crate) enum Backend {
    Uring(Uring),
}

impl Backend {
    fn uring(&self) -> &Uring {
        let Backend::Uring(uring) = self;
        uring
    }

    #[inline(always)]
    fn uring_mut(&mut self) -> &mut Uring {
        let Backend::Uring(uring) = self;
        uring
    }

    pub(crate) fn enable(&mut self) -> Result<(), Errno> {
        self.uring_mut().enable()
    }

    pub(crate) fn granted(&self) -> Granted {
        self.uring().granted()
    }

    /// Whether the backend carries out `opcode` itself.
    pub(crate) fn supports(&self, opcode: u8) -> bool {
        self.uring().supports(opcode)
    }

    /// Whether the plain path may `claim` an entry.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.uring().has_room()
    }

    /// A zeroed entry to fill in place; only after `has_room`.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> &mut Sqe {
        self.uring_mut().claim()
    }

    /// While held there is no room for the plain path; `stage` takes everything.
    pub(crate) fn hold(&mut self, held: bool) {
        self.uring_mut().hold(held);
    }

    /// Takes an entry, now or later, in order.
    pub(crate) fn stage(&mut self, entry: &WideSqe) {
        self.uring_mut().stage(entry);
    }

    /// Takes the linked entries of a chain, no more than `granted().sq_entries`, to be submitted
    /// together.
    pub(crate) fn stage_chain(&mut self, entries: &[WideSqe]) {
        self.uring_mut().stage_chain(entries);
    }

    /// Whether entries wait to be handed over.
    #[inline(always)]
    pub(crate) fn has_staged(&self) -> bool {
        self.uring().has_staged()
    }

    /// Hands over what is staged and waits; `None`: neither waits nor collects.
    #[inline(always)]
    pub(crate) fn enter(&mut self, wait: Option<Wait>) -> Result<Handed, Errno> {
        self.uring_mut().enter(wait)
    }

    /// How many completions can be popped.
    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        self.uring_mut().ready()
    }

    /// Lets `peek` and `pop_offered` see as many as `count` of those that `ready` counted.
    pub(crate) fn offer(&mut self, count: u32) {
        self.uring_mut().offer(count);
    }

    /// The oldest completion that was offered, without its `extra`; `advance` takes it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<Cqe> {
        self.uring().peek()
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.uring_mut().advance();
    }

    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        self.uring_mut().pop_offered()
    }

    /// Takes the oldest completion, offered or not, of those that `ready` counted.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        self.uring_mut().pop()
    }

    /// Whether completions wait in the kernel for lack of room.
    #[inline(always)]
    pub(crate) fn overflown(&self) -> bool {
        self.uring().overflown()
    }

    /// Makes `event_fd` tell of completions.
    pub(crate) fn register_event_fd(&mut self, event_fd: i32) -> Result<(), Errno> {
        self.uring_mut().register_event_fd(event_fd)
    }

    /// System calls made and full queues met.
    #[inline(always)]
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.uring().counts()
    }

    /// The last act on the owner's thread.
    pub(crate) fn retire(&mut self) {
        self.uring_mut().retire();
    }

    /// In a forked child: lets go without touching what the parent uses.
    pub(crate) fn abandon(&mut self) {
        self.uring_mut().abandon();
    }
}
