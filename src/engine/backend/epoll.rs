//! The epoll driver: carries entries out with plain system calls, where rings are forbidden. An
//! operation is tried at once; one that would sleep waits for its descriptor (`watches.rs`) or goes
//! to the pool (`engine/pool.rs`). Chains are run here, as the kernel runs them on a ring.
//!
//! Nothing is completed inside a submit: completions are queued for the next turn, like a ring's.

mod carry;
mod files;
mod select;
mod registered;
mod waiters;
mod watches;

use crate::engine::backend::epoll::carry::Next;
use crate::engine::backend::epoll::files::Files;
use crate::engine::backend::epoll::registered::Buffers;
use crate::engine::backend::epoll::select::BufferQueues;
use crate::engine::backend::epoll::waiters::Place;
use crate::engine::backend::epoll::watches::Watches;
use crate::engine::backend::{Driver, Other};
use crate::engine::pool::{Cancel, Ended, Pool};
use crate::op::{self, zero_copy};
use crate::sys::clock;
use crate::sys::entry::{Cqe, Opcode, Sqe, cqe_flags, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::poller::{BATCH, Event, Limit, events};
use crate::sys::queues::{Queues, Shifts};
use crate::sys::ring::{Config, Wait};
use crate::sys::signal;
use crate::sys::thread;
use std::collections::VecDeque;

/// Turns with something to deliver that may pass without a look at the descriptors.
const SKIPS_MAX: u32 = 3;
/// How long a context idles, or goes on when it is busy, before it checks suspects. Longer than a
/// scheduler tick, as a rule: a wait that is limited to less makes the kernel program the timer.
const SUSPICION_NS: u64 = 5_000_000;

/// Tokens of the driver's own descriptors: no generation and number give them.
const POOL: u64 = u64::MAX;
const FOREIGN: u64 = u64::MAX - 1;

const LINKS: u8 = sqe_flags::IO_LINK | sqe_flags::IO_HARDLINK;

pub(super) struct Epoll {
    watches: Watches,
    pool: Pool,
    files: Files,
    buffers: BufferQueues,
    registered: Buffers,
    /// Completions that found no place in the queue.
    overflow: VecDeque<Cqe>,
    /// Descriptors that were not served to the end.
    again: VecDeque<i32>,
    /// The chain that is being taken in.
    chain: Option<Gathered>,
    ended: Vec<Ended>,
    events: Box<[Event; BATCH]>,
    /// The last wait brought as many events as it could: there may be more.
    full: bool,
    /// A check of suspects goes on in the next turn, so that it delays nothing.
    checking: bool,
    skipped: u32,
    checked_ms: u32,
    /// A foreign loop waits on the epoll instance's own descriptor.
    foreign: bool,
    system_calls: u64,
}

/// The members of a chain that have been taken in.
struct Gathered {
    first: u32,
    last: u32,
    /// The first that is refused, and why.
    bad: Option<(u32, Errno)>,
}

impl Epoll {
    /// `wake_fd` is watched from the start: later there may be no room for it.
    pub(super) fn create(config: Config, wake_fd: i32) -> Result<(Driver, Queues), Errno> {
        let queues =
            Queues::own(config.sq_entries, config.cq_entries, Shifts::of(config.required))?;
        let mut watches = Watches::create()?;
        watches.reserve(wake_fd)?;
        let pool = Pool::create()?;
        watches.poller.add(pool.descriptor(), events::IN, POOL)?;
        let epoll = Epoll {
            watches,
            pool,
            files: Files::default(),
            buffers: BufferQueues::default(),
            registered: Buffers::default(),
            overflow: VecDeque::new(),
            again: VecDeque::new(),
            chain: None,
            ended: Vec::new(),
            events: Box::new([Event { events: 0, u64: 0 }; BATCH]),
            full: false,
            checking: false,
            skipped: 0,
            checked_ms: 0,
            foreign: false,
            system_calls: 0,
        };
        Ok((Driver::Other(Other::Epoll(Box::new(epoll))), queues))
    }

    pub(super) fn interrupt_signal(&self) -> u32 {
        signal::interrupt_number().map_or(0, |number| number as u32)
    }

    pub(super) fn supports(opcode: u8) -> bool {
        op::fallback(opcode).is_some()
            || opcode == Opcode::IORING_OP_ASYNC_CANCEL as u8
            || op::files::is_of_table(opcode)
    }

    pub(super) fn take_system_calls(&mut self) -> u64 {
        std::mem::take(&mut self.system_calls) + std::mem::take(&mut self.watches.system_calls)
    }

    pub(super) fn has_more(&self) -> bool {
        self.full || self.checking || !self.watches.due.is_empty() || !self.again.is_empty()
    }

    /// Whether a foreign loop waits on the instance's own descriptor, which is ready until all
    /// events are taken.
    pub(super) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// How long the pool can do without another thread.
    pub(super) fn patience_ns(&mut self) -> Option<u64> {
        self.pool.relieve()
    }

    fn is_suspicious(&self) -> bool {
        self.watches.has_suspects()
    }

    /// The instance's own descriptor tells of everything, also of signals to `event_fd`.
    pub(super) fn register_event_fd(&mut self, event_fd: i32) -> Result<i32, Errno> {
        self.watches.poller.add(event_fd, events::IN, FOREIGN)?;
        self.foreign = true;
        Ok(self.watches.poller.raw())
    }

    /// Ends the pool's calls; their results are completions.
    pub(super) fn stop(&mut self, queues: &mut Queues) {
        self.pool.stop();
        self.take_ended(queues);
    }

    pub(super) fn abandon(&mut self) {
        self.pool.abandon();
    }

    /// Takes what is staged and waits for completions; `None`: does not collect.
    pub(super) fn enter(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        self.make_room(queues);
        let mut taken = 0;
        while let Some(entry) = queues.take_staged() {
            taken += 1;
            self.begin(queues, entry);
        }
        self.go_on(queues);
        let Some(wait) = wait else { return Ok(taken) };
        self.serve_again(queues);
        let is_busy = queues.ready() != 0 || self.has_more();
        if is_busy && self.skipped < SKIPS_MAX && !self.foreign {
            self.skipped += 1;
            return Ok(taken);
        }
        self.skipped = 0;
        let limit = match wait {
            _ if is_busy => Some(0),
            Wait::Poll => Some(0),
            Wait::For(ns) => Some(ns),
            Wait::Forever => None,
        };
        match self.collect(queues, limit) {
            // What was taken was taken: a signal only ends the wait.
            Err(errno) if errno != Errno::EINTR => Err(errno),
            _ => Ok(taken),
        }
    }

    /// Waits for descriptors and the pool.
    fn collect(&mut self, queues: &mut Queues, limit: Limit) -> Result<(), Errno> {
        // A foreign loop may sleep as long as it likes.
        if self.checking || (self.foreign && self.is_suspicious()) {
            self.check(queues, true);
        }
        let mut left = limit;
        if let Some(ns) = self.pool.relieve() {
            left = Some(left.map_or(ns, |left| left.min(ns)));
        }
        if self.is_suspicious() && left.is_none_or(|ns| ns > SUSPICION_NS) {
            let waited = self.wait(queues, Some(SUSPICION_NS));
            if waited == Ok(0) {
                self.check(queues, true);
            } else {
                self.check_now_and_then(queues);
            }
            // The time that the check has taken is the caller's to look at.
            return waited.map(drop);
        }
        let waited = self.wait(queues, left);
        self.check_now_and_then(queues);
        waited.map(drop)
    }

    /// Checks, on a busy context, those who have been suspects for a while.
    #[inline(always)]
    fn check_now_and_then(&mut self, queues: &mut Queues) {
        if !self.is_suspicious() {
            return;
        }
        let now_ms = clock::coarse_ms();
        if now_ms.wrapping_sub(self.checked_ms) >= (SUSPICION_NS / 1_000_000) as u32 {
            self.check(queues, false);
            if !std::mem::take(&mut self.checking) {
                self.checked_ms = now_ms;
            }
        }
    }

    /// One wait; serves the descriptors that have events. Returns how many.
    fn wait(&mut self, queues: &mut Queues, limit: Limit) -> Result<usize, Errno> {
        self.system_calls += 1;
        let count = self.watches.poller.wait(&mut self.events, limit)?;
        self.full = count == BATCH;
        for index in 0..count {
            let event = self.events[index];
            match event.u64 {
                POOL => self.take_ended(queues),
                FOREIGN => {}
                token => self.serve_event(queues, token, event.events),
            }
        }
        self.go_on(queues);
        Ok(count)
    }

    fn check(&mut self, queues: &mut Queues, all: bool) {
        self.checking = self.watches.check(all);
        self.go_on(queues);
    }

    // --- completions -------------------------------------------------------------------------

    #[inline(always)]
    fn post(&mut self, queues: &mut Queues, id: u64, result: i32, flags: u32) {
        self.queue(queues, Cqe { user_data: id, result, flags, extra: 0 });
    }

    #[inline(always)]
    fn queue(&mut self, queues: &mut Queues, cqe: Cqe) {
        if !self.overflow.is_empty() || !queues.complete(cqe) {
            self.keep(queues, cqe);
        }
    }

    #[cold]
    fn keep(&mut self, queues: &mut Queues, cqe: Cqe) {
        self.overflow.push_back(cqe);
        queues.set_overflown(true);
    }

    /// Moves completions that found no place to where there is one now.
    fn make_room(&mut self, queues: &mut Queues) {
        if self.overflow.is_empty() {
            return;
        }
        while let Some(&cqe) = self.overflow.front() {
            if !queues.complete(cqe) {
                return;
            }
            self.overflow.pop_front();
        }
        queues.set_overflown(false);
    }

    /// An operation has ended.
    fn end(&mut self, queues: &mut Queues, entry: &Sqe, result: i32, follower: u32) {
        let result = if result >= 0 { self.place_result(entry, result) } else { result };
        self.report(queues, entry, result);
        if follower != 0 {
            self.go_on_with_chain(queues, entry, result, follower - 1);
        }
    }

    /// The completions of an operation's end: a send that shall notify does so at once, because it
    /// has copied.
    #[inline(always)]
    fn report(&mut self, queues: &mut Queues, entry: &Sqe, result: i32) {
        if result < 0 || !zero_copy::notifies(entry.opcode) {
            return self.post(queues, entry.user_data, result, 0);
        }
        self.post(queues, entry.user_data, result, cqe_flags::MORE);
        let usage = zero_copy::copied_usage(entry);
        self.post(queues, entry.user_data, usage, cqe_flags::NOTIFY);
    }

    /// A waiting operation, in no list, has ended.
    fn finish(&mut self, queues: &mut Queues, key: u32, result: i32) {
        let waiter = self.watches.waiters.at(key);
        waiter.place = Place::Nowhere;
        let interrupted = Errno::is_interruption(result);
        let result = if interrupted { Errno::ECANCELED.status() } else { result };
        let (entry, follower, buffer) = (waiter.entry, waiter.follower, waiter.buffer);
        if waiter.holds != [0; 2] {
            self.let_go(key);
        }
        self.end(queues, &entry, result, follower);
        if buffer != 0 {
            self.let_buffer_go(queues, buffer);
        }
    }

    /// New descriptors are known, and go where they were asked to.
    #[inline(always)]
    fn place_result(&mut self, entry: &Sqe, result: i32) -> i32 {
        if makes_descriptor(entry.opcode) {
            self.place(entry, result)
        } else if entry.opcode == Opcode::IORING_OP_PIPE as u8 {
            self.place_pair(entry)
        } else {
            result
        }
    }

    // --- chains ------------------------------------------------------------------------------

    /// Takes an entry in; members of a chain are gathered until the last is there.
    #[inline(always)]
    fn begin(&mut self, queues: &mut Queues, mut entry: Sqe) {
        entry.pad = 0;
        if entry.flags & LINKS != 0 || self.chain.is_some() {
            self.join_chain(queues, &entry);
        } else if entry.flags != 0
            || entry.personality != 0
            || !self.start_quickly(queues, &mut entry)
        {
            self.start(queues, &mut entry);
        }
    }

    #[cold]
    fn join_chain(&mut self, queues: &mut Queues, entry: &Sqe) {
        let links = entry.flags & LINKS != 0;
        let key = self.watches.waiters.add(entry, Place::Behind);
        let mut chain = self.chain.take().unwrap_or(Gathered { first: key, last: key, bad: None });
        if chain.last != key {
            self.watches.waiters.at(chain.last).follower = key + 1;
            chain.last = key;
        }
        if chain.bad.is_none() {
            chain.bad = carry::check(entry).err().map(|errno| (key, errno));
        }
        match chain.bad {
            _ if links => self.chain = Some(chain),
            None => self.make_due(chain.first),
            Some((bad, errno)) => self.refuse_chain(queues, chain.first, bad, errno),
        }
    }

    /// As on a ring, a member that is refused before it begins takes all with it, also those
    /// before.
    fn refuse_chain(&mut self, queues: &mut Queues, first: u32, bad: u32, errno: Errno) {
        let mut next = Some(first);
        while let Some(key) = next {
            let waiter = self.watches.waiters.at(key);
            waiter.place = Place::Nowhere;
            let (id, follower) = (waiter.entry.user_data, waiter.follower);
            let result = if key == bad { errno } else { Errno::ECANCELED };
            self.post(queues, id, result.status(), 0);
            next = follower.checked_sub(1);
        }
    }

    fn make_due(&mut self, key: u32) {
        self.watches.waiters.at(key).place = Place::Due;
        self.watches.due.push_back(key);
    }

    /// The member before `next` has ended.
    #[cold]
    fn go_on_with_chain(&mut self, queues: &mut Queues, entry: &Sqe, result: i32, next: u32) {
        if entry.flags & sqe_flags::IO_HARDLINK != 0 || !op::breaks_chain(entry, result) {
            return self.make_due(next);
        }
        let mut next = Some(next);
        while let Some(key) = next {
            let waiter = self.watches.waiters.at(key);
            waiter.place = Place::Nowhere;
            let (id, follower) = (waiter.entry.user_data, waiter.follower);
            self.post(queues, id, Errno::ECANCELED.status(), 0);
            next = follower.checked_sub(1);
        }
    }

    /// Starts what is due, and what becomes due by it.
    #[inline(always)]
    fn go_on(&mut self, queues: &mut Queues) {
        while let Some(key) = self.watches.due.pop_front() {
            self.start_due(queues, key);
        }
    }

    #[cold]
    fn start_due(&mut self, queues: &mut Queues, key: u32) {
        let mut entry = self.watches.waiters.at(key).entry;
        let next = match self.look_up(&mut entry) {
            Ok((holds, buffer)) => {
                self.hold(key, holds);
                self.hold_buffer(key, buffer);
                self.try_now(queues, &mut entry)
            }
            Err(errno) => Next::End(errno.status()),
        };
        self.watches.waiters.at(key).entry = entry;
        match next {
            Next::End(result) => self.finish(queues, key, result),
            next => self.put_off(queues, key, next),
        }
    }

    // --- ends ------------------------------------------------------------------------------

    /// What is left: a cancel request, and what works on the table of direct descriptors.
    #[cold]
    fn answer(&mut self, queues: &mut Queues, entry: &Sqe) -> i32 {
        if op::files::is_of_table(entry.opcode) {
            return self.change_table(entry);
        }
        if entry.opcode != Opcode::IORING_OP_ASYNC_CANCEL as u8 {
            return Errno::EOPNOTSUPP.status();
        }
        if entry.op_flags != 0 {
            return Errno::EINVAL.status();
        }
        self.cancel(queues, entry.addr)
    }

    fn cancel(&mut self, queues: &mut Queues, id: u64) -> i32 {
        let Some(key) = self.watches.waiters.find(id) else { return Errno::ENOENT.status() };
        match self.watches.waiters.at(key).place {
            // As on a ring: what has not started is not found; its head is.
            Place::Nowhere | Place::Behind | Place::Due => return Errno::ENOENT.status(),
            Place::Listed(_) => {
                let fd = self.watches.waiters.at(key).entry.fd;
                self.watches.unlist(key);
                self.watches.doubt(fd);
            }
            Place::Lost => {}
            Place::Pool => match self.pool.cancel(id) {
                Cancel::Removed => {}
                Cancel::Running => return Errno::EALREADY.status(),
                Cancel::Unknown => return Errno::ENOENT.status(),
            },
        }
        // What an earlier attempt has moved is its result.
        let result = op::total(&self.watches.waiters.at(key).entry, Errno::ECANCELED.status());
        self.finish(queues, key, result);
        0
    }

    fn take_ended(&mut self, queues: &mut Queues) {
        let mut ended = std::mem::take(&mut self.ended);
        self.pool.take_ended(&mut ended);
        for Ended { id, result } in ended.drain(..) {
            if let Some(key) = self.watches.waiters.find(id) {
                let opcode = self.watches.waiters.at(key).entry.opcode;
                if result == Errno::EPIPE.status() && op::is_write(opcode) {
                    // The pool's threads hold back what write(2) would have raised.
                    thread::raise_sigpipe();
                }
                self.finish(queues, key, result);
            }
        }
        self.ended = ended;
    }
}

fn makes_descriptor(opcode: u8) -> bool {
    const MAKERS: u64 = 1 << Opcode::IORING_OP_ACCEPT as u8
        | 1 << Opcode::IORING_OP_OPENAT as u8
        | 1 << Opcode::IORING_OP_OPENAT2 as u8
        | 1 << Opcode::IORING_OP_SOCKET as u8
        | 1 << Opcode::IORING_OP_FIXED_FD_INSTALL as u8;
    opcode < 64 && MAKERS >> opcode & 1 != 0
}
