//! The io_uring backend: which rings are asked for, and what happens when the submission queue is
//! full or the kernel short of memory (contract, line 8: backpressure is not an error). Entries
//! that find no place wait in a backlog, in order; a chain is never split over two submissions.

use crate::engine::backend::{Granted, Handed};
use crate::sys::clock;
use crate::sys::entry::{Cqe, Sqe, WideSqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::ring::{Config, Ring, Wait};
use std::collections::VecDeque;

/// Closing rings frees their memory late: ENOMEM is waited for, 1 to 64 ms.
const RETRIES: u32 = 7;
/// Smaller rings are tried down to this size.
const ENTRIES_MIN: u32 = 8;

pub(crate) struct Uring {
    ring: Ring,
    backlog: VecDeque<WideSqe>,
    /// The engine wants every entry to be staged, not claimed.
    held: bool,
    opcodes: [u64; 4],
    system_calls: u64,
    full_queues: u64,
}

impl Uring {
    /// A disabled ring; see `enable`.
    pub(crate) fn create(config: Config) -> Result<Uring, Errno> {
        let mut ring = Self::create_ring(config)?;
        let opcodes = ring.probe()?;
        Ok(Uring {
            ring,
            backlog: VecDeque::new(),
            held: false,
            opcodes,
            system_calls: 0,
            full_queues: 0,
        })
    }

    fn create_ring(mut config: Config) -> Result<Ring, Errno> {
        loop {
            for retry in 0..RETRIES {
                match Ring::create(config) {
                    Err(Errno::ENOMEM) => clock::sleep_ns(1_000_000 << retry),
                    made => return made,
                }
            }
            if config.sq_entries <= ENTRIES_MIN {
                return Err(Errno::ENOMEM);
            }
            config.sq_entries /= 2;
            config.cq_entries = (config.cq_entries / 2).max(config.sq_entries);
        }
    }

    pub(crate) fn enable(&mut self) -> Result<(), Errno> {
        self.ring.enable()
    }

    pub(crate) fn granted(&self) -> Granted {
        Granted {
            setup_flags: self.ring.setup_flags,
            features: self.ring.features,
            sq_entries: self.ring.sq_entries(),
            cq_entries: self.ring.cq_entries,
            sqe_size: self.ring.sqe_size(),
            cqe_size: self.ring.cqe_size(),
        }
    }

    pub(crate) fn supports(&self, opcode: u8) -> bool {
        self.opcodes[usize::from(opcode >> 6)] >> (opcode & 63) & 1 != 0
    }

    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.ring.has_room()
    }

    #[inline(always)]
    pub(crate) fn claim(&mut self) -> &mut Sqe {
        self.ring.claim()
    }

    pub(crate) fn hold(&mut self, held: bool) {
        self.held = held;
        self.decide_room();
    }

    /// Entries that are claimed must not overtake the backlog.
    fn decide_room(&mut self) {
        self.ring.block(self.held || !self.backlog.is_empty());
    }

    #[cold]
    pub(crate) fn stage(&mut self, entry: &WideSqe) {
        self.stage_chain(std::slice::from_ref(entry));
    }

    #[cold]
    pub(crate) fn stage_chain(&mut self, entries: &[WideSqe]) {
        let needed = entries.len() as u32;
        debug_assert!(needed <= self.ring.sq_entries());
        if self.backlog.is_empty() && self.ring.space() < needed {
            self.full_queues += 1;
            // What cannot be handed over now is handed over in the next turn.
            let _ = self.enter(None);
        }
        if self.backlog.is_empty() && self.ring.space() >= needed {
            for entry in entries {
                self.ring.push(entry);
            }
        } else {
            self.backlog.extend(entries);
            self.decide_room();
        }
    }

    #[inline(always)]
    pub(crate) fn has_staged(&self) -> bool {
        self.ring.staged() != 0 || !self.backlog.is_empty()
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
            if self.backlog.is_empty() || (self.ring.space() as usize) < group {
                return;
            }
            for entry in self.backlog.drain(..group) {
                self.ring.push(&entry);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn enter(&mut self, wait: Option<Wait>) -> Result<Handed, Errno> {
        if self.backlog.is_empty() {
            self.system_calls += 1;
            let staged = self.ring.staged();
            match self.ring.enter(wait) {
                Ok(taken) if taken == staged => return Ok(Handed::All),
                Ok(_) => {}
                Err(errno) => return self.not_entered(errno),
            }
        }
        self.enter_again(wait)
    }

    /// The kernel took less than was staged, or the backlog waits: goes on in the same turn.
    #[cold]
    #[inline(never)]
    fn enter_again(&mut self, wait: Option<Wait>) -> Result<Handed, Errno> {
        loop {
            self.refill();
            let staged = self.ring.staged();
            let wait = if self.backlog.is_empty() { wait } else { wait.map(|_| Wait::Poll) };
            self.system_calls += 1;
            match self.ring.enter(wait) {
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

    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        self.ring.ready()
    }

    pub(crate) fn offer(&mut self, count: u32) {
        self.ring.offer(count);
    }

    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<Cqe> {
        self.ring.peek()
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.ring.advance();
    }

    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        self.ring.pop_offered()
    }

    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        self.ring.pop()
    }

    #[inline(always)]
    pub(crate) fn overflown(&self) -> bool {
        self.ring.overflown()
    }

    pub(crate) fn register_event_fd(&mut self, event_fd: i32) -> Result<(), Errno> {
        self.ring.register_event_fd(event_fd)
    }

    #[inline(always)]
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.system_calls, self.full_queues)
    }

    pub(crate) fn retire(&mut self) {
        self.ring.release_registration();
    }

    pub(crate) fn abandon(&mut self) {
        self.ring.abandon_maps();
    }
}
