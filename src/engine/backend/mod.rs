//! The seam to whatever carries operations out: submission entries go in, completions come out, and
//! the context waits in it. Everything above is the same on every backend. Here are the two queues
//! and what happens when the submission queue is full (contract, line 8: backpressure is not an
//! error): entries that find no place wait in a backlog, in order, and a chain is never split over
//! two submissions. A `Driver` takes what is staged and completes it.

pub(crate) mod epoll;
pub(crate) mod uring;

use crate::engine::Choice;
use crate::sys::entry::{Cqe, Sqe, WideSqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::queues::Queues;
use crate::sys::registered::Area;
use crate::sys::ring::{Config, Wait};
use epoll::Epoll;
use std::collections::VecDeque;
use uring::Uring;

/// What a backend was granted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Granted {
    /// No ring: the epoll backend.
    pub emulated: bool,
    /// Why AUTO had to do without a ring.
    pub fallback: Option<Errno>,
    pub setup_flags: u32,
    pub features: u32,
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub sqe_size: u32,
    pub cqe_size: u32,
    /// The signal that ends a pool thread's call.
    pub interrupt_signal: u32,
}

/// What became of handing entries over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handed {
    /// Everything staged is with the kernel.
    All,
    /// The kernel is short of memory: some entries wait for the next turn.
    Some,
}

enum Driver {
    Uring(Uring),
    Epoll(Box<Epoll>),
}

pub(crate) struct Backend {
    queues: Queues,
    driver: Driver,
    backlog: VecDeque<WideSqe>,
    /// The engine wants every entry to be staged, not claimed.
    held: bool,
    full_queues: u64,
    fallback: Option<Errno>,
}

impl Backend {
    /// The backend that was chosen; for AUTO a ring, or epoll where a ring is refused.
    /// `wake_fd` is what other threads wake it by.
    pub(crate) fn create(choice: Choice, config: Config, wake_fd: i32) -> Result<Backend, Errno> {
        let mut fallback = None;
        let made = match choice {
            Choice::Epoll => Epoll::create(config, wake_fd),
            Choice::Uring => Uring::create(config),
            Choice::Auto => match Uring::create_of_the_floor(config) {
                // No descriptors, no fallback: it needs more of them.
                Err(errno) if !matches!(errno, Errno::EMFILE | Errno::ENFILE) => {
                    fallback = Some(errno);
                    Epoll::create(config, wake_fd)
                }
                made => made,
            },
        };
        let (driver, queues) = made?;
        Ok(Backend {
            queues,
            driver,
            backlog: VecDeque::new(),
            held: false,
            full_queues: 0,
            fallback,
        })
    }

    /// Makes the calling thread the one that uses the backend.
    pub(crate) fn enable(&mut self) -> Result<(), Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.enable(),
            Driver::Epoll(_) => Ok(()),
        }
    }

    pub(crate) fn granted(&self) -> Granted {
        let granted = Granted {
            fallback: self.fallback,
            sq_entries: self.queues.sq_entries(),
            cq_entries: self.queues.cq_entries,
            sqe_size: self.queues.sqe_size(),
            cqe_size: self.queues.cqe_size(),
            ..Granted::default()
        };
        match &self.driver {
            Driver::Uring(uring) => {
                Granted { setup_flags: uring.setup_flags(), features: uring.features(), ..granted }
            }
            Driver::Epoll(epoll) => {
                Granted { emulated: true, interrupt_signal: epoll.interrupt_signal(), ..granted }
            }
        }
    }

    /// Whether the backend carries out `opcode` itself.
    pub(crate) fn supports(&self, opcode: u8) -> bool {
        match &self.driver {
            Driver::Uring(uring) => uring.supports(opcode),
            Driver::Epoll(_) => Epoll::supports(opcode),
        }
    }

    /// Whether the plain path may `claim` an entry.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.queues.has_room()
    }

    /// A zeroed entry to fill in place; only after `has_room`.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> &mut Sqe {
        self.queues.claim()
    }

    /// While held there is no room for the plain path; `stage` takes everything.
    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
        self.decide_room();
    }

    /// Entries that are claimed must not overtake the backlog.
    fn decide_room(&mut self) {
        self.queues.block(self.held || !self.backlog.is_empty());
    }

    /// Takes an entry, now or later, in order.
    #[cold]
    pub(crate) fn stage(&mut self, entry: &WideSqe) {
        self.stage_chain(std::slice::from_ref(entry));
    }

    /// Takes the linked entries of a chain, no more than `granted().sq_entries`, to be submitted
    /// together.
    #[cold]
    pub(crate) fn stage_chain(&mut self, entries: &[WideSqe]) {
        let needed = entries.len() as u32;
        debug_assert!(needed <= self.queues.sq_entries());
        if self.backlog.is_empty() && self.queues.space() < needed {
            self.full_queues += 1;
            // What cannot be handed over now is handed over in the next turn.
            let _ = self.enter(None);
        }
        if self.backlog.is_empty() && self.queues.space() >= needed {
            for entry in entries {
                self.queues.push(entry);
            }
        } else {
            self.backlog.extend(entries);
            self.decide_room();
        }
    }

    /// Whether entries wait to be handed over.
    #[inline(always)]
    pub(crate) fn has_staged(&self) -> bool {
        self.queues.staged() != 0 || !self.backlog.is_empty()
    }

    /// Whether another enter would bring something at once, apart from what is staged.
    pub(crate) fn has_more(&self) -> bool {
        let driven = match &self.driver {
            Driver::Uring(_) => false,
            Driver::Epoll(epoll) => epoll.has_more(),
        };
        driven || self.overflown()
    }

    /// Whether even a turn with nothing in flight must look at the descriptors.
    #[inline(always)]
    pub(crate) fn must_look(&self) -> bool {
        match &self.driver {
            Driver::Uring(_) => false,
            Driver::Epoll(epoll) => epoll.is_foreign(),
        }
    }

    /// How long the context may sleep before the backend wants to look after something; None: for
    /// ever.
    pub(crate) fn patience_ns(&mut self) -> Option<u64> {
        match &mut self.driver {
            Driver::Uring(_) => None,
            Driver::Epoll(epoll) => epoll.patience_ns(),
        }
    }

    /// Moves what fits from the backlog to the queue.
    fn refill(&mut self) {
        self.move_backlog();
        self.decide_room();
    }

    fn move_backlog(&mut self) {
        loop {
            let linked = |entry: &&WideSqe| {
                entry.sqe.flags & (sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK) != 0
            };
            let group = self.backlog.iter().take_while(linked).count() + 1;
            if self.backlog.is_empty() || (self.queues.space() as usize) < group {
                return;
            }
            for entry in self.backlog.drain(..group) {
                self.queues.push(&entry);
            }
        }
    }

    /// Hands over what is staged and waits; `None`: neither waits nor collects.
    #[inline(always)]
    pub(crate) fn enter(&mut self, wait: Option<Wait>) -> Result<Handed, Errno> {
        if self.backlog.is_empty() {
            let staged = self.queues.staged();
            match self.drive(wait) {
                Ok(taken) if taken == staged => return Ok(Handed::All),
                Ok(_) => {}
                Err(errno) => return self.not_entered(errno),
            }
        }
        self.enter_again(wait)
    }

    #[inline(always)]
    fn drive(&mut self, wait: Option<Wait>) -> Result<u32, Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.enter(&mut self.queues, wait),
            Driver::Epoll(epoll) => epoll.enter(&mut self.queues, wait),
        }
    }

    /// The kernel took less than was staged, or the backlog waits: goes on in the same turn.
    #[cold]
    #[inline(never)]
    fn enter_again(&mut self, wait: Option<Wait>) -> Result<Handed, Errno> {
        loop {
            self.refill();
            let staged = self.queues.staged();
            let wait = if self.backlog.is_empty() { wait } else { wait.map(|_| Wait::Poll) };
            match self.drive(wait) {
                Ok(taken) if taken == staged && self.backlog.is_empty() => return Ok(Handed::All),
                Ok(0) => return Ok(Handed::Some),
                Ok(_) => {}
                Err(errno) => return self.not_entered(errno),
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn not_entered(&self, errno: Errno) -> Result<Handed, Errno> {
        match errno {
            // The wait ended: time is up, or a signal handler ran.
            Errno::ETIME | Errno::EINTR => {
                Ok(if self.has_staged() { Handed::Some } else { Handed::All })
            }
            // The completion queue is full, or memory is short.
            Errno::EBUSY | Errno::EAGAIN | Errno::ENOMEM => Ok(Handed::Some),
            errno => Err(errno),
        }
    }

    /// How many completions can be popped.
    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        self.queues.ready()
    }

    /// Lets `peek` and `pop_offered` see as many as `count` of those that `ready` counted.
    pub(crate) fn offer(&mut self, count: u32) {
        self.queues.offer(count);
    }

    /// The oldest completion that was offered, without its `extra`; `advance` takes it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<Cqe> {
        self.queues.peek()
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

    /// Makes a descriptor tell of completions, and of signals to `event_fd`; returns which.
    pub(crate) fn register_event_fd(&mut self, event_fd: i32) -> Result<i32, Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.register_event_fd(event_fd).map(|()| event_fd),
            Driver::Epoll(epoll) => epoll.register_event_fd(event_fd),
        }
    }

    /// Makes a table of registered buffers. A tag other than 0 is the user_data of the completion
    /// by which the backend says that nothing uses a buffer that has left the table.
    pub(crate) fn register_areas(&mut self, areas: &[Area], tags: &[u64]) -> Result<(), Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ring.register_areas(areas, tags),
            Driver::Epoll(epoll) => epoll.register_areas(areas, tags),
        }
    }

    /// Replaces buffers from `first` on; returns how many.
    pub(crate) fn update_areas(
        &mut self, first: u32, areas: &[Area], tags: &[u64],
    ) -> Result<u32, Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ring.update_areas(first, areas, tags),
            Driver::Epoll(epoll) => epoll.update_areas(&mut self.queues, first, areas, tags),
        }
    }

    pub(crate) fn unregister_areas(&mut self) -> Result<(), Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ring.unregister_areas(),
            Driver::Epoll(epoll) => {
                epoll.unregister_areas(&mut self.queues);
                Ok(())
            }
        }
    }

    /// Whether that does not wait for the operations that use them.
    pub(crate) fn gives_up_areas_at_once(&self) -> bool {
        match &self.driver {
            Driver::Uring(uring) => uring.gives_up_areas_at_once(),
            Driver::Epoll(_) => true,
        }
    }

    /// Shares the registered buffers of another backend of this thread.
    pub(crate) fn clone_areas(&mut self, source: &Backend) -> Result<(), Errno> {
        match (&mut self.driver, &source.driver) {
            (Driver::Uring(uring), Driver::Uring(source)) => uring.clone_areas(source),
            (Driver::Epoll(epoll), Driver::Epoll(source)) => {
                epoll.clone_areas(source);
                Ok(())
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// System calls made and full queues met.
    #[inline(always)]
    pub(crate) fn counts(&self) -> (u64, u64) {
        let system_calls = match &self.driver {
            Driver::Uring(uring) => uring.system_calls,
            Driver::Epoll(epoll) => epoll.system_calls(),
        };
        (system_calls, self.full_queues)
    }

    /// The last act on the owner's thread.
    pub(crate) fn retire(&mut self) {
        if let Driver::Uring(uring) = &mut self.driver {
            uring.retire();
        }
    }

    /// The owner has ended: afterwards nothing of the backend's touches memory of operations, as
    /// far as that can be had.
    pub(crate) fn orphan(&mut self) {
        if let Driver::Epoll(epoll) = &mut self.driver {
            epoll.stop(&mut self.queues);
        }
    }

    /// In a forked child: lets go without touching what the parent uses.
    pub(crate) fn abandon(&mut self) {
        self.queues.abandon();
        if let Driver::Epoll(epoll) = &mut self.driver {
            epoll.abandon();
        }
    }
}
