//! The completions that are there: `ready` counts them, `offer` says how many of them a turn is to
//! see, and the others take them one by one.

use crate::engine::backend::Backend;
use crate::sys::entry::{Cqe, Peeked};

impl Backend {
    /// How many completions can be popped.
    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        self.queues.ready()
    }

    /// Lets `peek` and `pop_offered` see as many as `count` of those that `ready` counted.
    #[inline(always)]
    pub(crate) fn offer(&mut self, count: u32) {
        self.queues.offer(count);
    }

    /// Offers all of them where `is_plain` has held since the last turn: whether they are in one
    /// piece. None, and nothing is done, if they are more than `most`.
    #[inline(always)]
    pub(crate) fn offer_plainly(&mut self, most: u32) -> Option<bool> {
        self.queues.offer_plainly(most)
    }

    /// Makes `peek` see nothing, so that every completion is popped.
    pub(crate) fn conceal(&mut self, concealed: bool) {
        self.queues.conceal(concealed);
    }

    /// Whether `peek` has seen what is in one piece.
    #[inline(always)]
    pub(crate) fn is_at_stop(&self) -> bool {
        self.queues.is_at_stop()
    }

    /// Whether there is one that `peek` may see.
    #[inline(always)]
    pub(crate) fn can_peek(&mut self) -> bool {
        self.queues.can_peek()
    }

    /// The oldest completion that was offered, after `can_peek`; `advance` takes it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Peeked {
        self.queues.peek()
    }

    /// Whether everything that was offered was taken.
    #[inline(always)]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.queues.is_exhausted()
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.queues.advance();
    }

    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        self.queues.pop_offered()
    }

    /// Takes the oldest completion, offered or not, of those that `ready` counted.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        self.queues.pop()
    }

    /// Whether completions wait for lack of room.
    #[inline(always)]
    pub(crate) fn overflown(&self) -> bool {
        self.queues.overflown()
    }
}
