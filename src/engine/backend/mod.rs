//! The seam to whatever carries operations out: submission entries go in, completions come out, and
//! the context waits in it. Everything above is the same on every backend. Here are the two queues
//! and what happens when the submission queue is full (contract, line 8: backpressure is not an
//! error): entries that find no place wait in a backlog, in order, and a chain is never split over
//! two submissions. A `Driver` takes what is staged and completes it.

mod completions;
pub(crate) mod epoll;
mod interface_queue;
mod registered;
pub(crate) mod tuned;
pub(crate) mod uring;

use crate::engine::Choice;
use crate::sys::buffer_ring::BufferRing;
use crate::sys::descriptor::kernel_version;
use crate::sys::entry::{Opcode, Sqe, WideSqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::facility::Opcodes;
use crate::sys::queues::Queues;
use crate::sys::ring::{
    Address, Config, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_IOPOLL, IORING_SETUP_SQPOLL, Wait,
};
use epoll::Epoll;
use std::collections::VecDeque;
use std::ops::Range;
use tuned::{Tuned, Tuning};
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
    /// The kernel's opcodes, a bit each.
    pub opcodes: [u64; 4],
    /// The ring's descriptor.
    pub ring_fd: Option<i32>,
    /// Reads may go on by themselves.
    pub has_multishot_reads: bool,
    /// What may be submitted, if not everything.
    pub allowed: Option<Opcodes>,
    /// The signal that ends a pool thread's call.
    pub interrupt_signal: u32,
}

impl Granted {
    /// The descriptor of a ring that a kernel thread polls.
    pub(crate) fn polled_ring(&self) -> Option<i32> {
        self.ring_fd.filter(|_| self.polls())
    }

    /// A kernel thread takes entries, whatever the context's own does.
    pub(crate) fn polls(&self) -> bool {
        self.setup_flags & IORING_SETUP_SQPOLL != 0
    }

    /// Either queue of the ring is polled: that of submissions, or that of devices.
    pub(crate) fn is_polled(&self) -> bool {
        self.setup_flags & (IORING_SETUP_SQPOLL | IORING_SETUP_IOPOLL) != 0
    }
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
    /// One word tells the usual ring, of entries of whatever size, from all else.
    Other(Other),
}

enum Other {
    Tuned(Box<Tuned>),
    Epoll(Box<Epoll>),
}

/// What a driver drives, for calls that no tuning concerns.
enum Carrier<'a> {
    Ring(&'a mut Uring),
    Epoll(&'a mut Epoll),
}

impl Driver {
    fn carrier(&mut self) -> Carrier<'_> {
        match self {
            Driver::Uring(uring) => Carrier::Ring(uring),
            Driver::Other(Other::Tuned(tuned)) => Carrier::Ring(&mut tuned.uring),
            Driver::Other(Other::Epoll(epoll)) => Carrier::Epoll(epoll),
        }
    }
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
    /// No fallback has what `tuning` asks of a ring.
    pub(crate) fn create(
        choice: Choice, config: Config, wake_fd: i32, tuning: &Tuning,
    ) -> Result<Backend, Errno> {
        let mut fallback = None;
        let wanted = tuning.configure(config);
        let apply = |(uring, queues)| tuning.apply(uring, queues, wake_fd);
        let (driver, queues) = match choice {
            Choice::Epoll if tuning.needs_ring() => Err(Errno::EOPNOTSUPP),
            Choice::Epoll => Epoll::create(config, wake_fd),
            Choice::Uring if tuning.needs_ring() => {
                Uring::create(wanted).map_err(|errno| tuning.explain(errno)).and_then(apply)
            }
            Choice::Uring => Uring::create(wanted).and_then(apply),
            Choice::Auto => match Uring::create_of_the_floor(wanted) {
                // No descriptors, no fallback: it needs more of them.
                Err(errno) if matches!(errno, Errno::EMFILE | Errno::ENFILE) => Err(errno),
                Err(Errno::ENOSYS) if tuning.needs_ring() => Err(tuning.explain(Errno::EINVAL)),
                Err(_) if tuning.needs_ring() => Err(Errno::EOPNOTSUPP),
                Err(errno) => {
                    fallback = Some(errno);
                    Epoll::create(config, wake_fd)
                }
                Ok(made) => apply(made),
            },
        }?;
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
            Driver::Other(Other::Tuned(tuned)) => tuned.enable(),
            Driver::Other(Other::Epoll(_)) => Ok(()),
        }
    }

    pub(crate) fn granted(&self) -> Granted {
        let granted = Granted {
            fallback: self.fallback,
            sq_entries: self.queues.sq_entries(),
            cq_entries: self.queues.cq_entries,
            sqe_size: self.queues.sqe_size(),
            cqe_size: self.queues.cqe_size(),
            has_multishot_reads: self.supports(Opcode::IORING_OP_READ_MULTISHOT as u8),
            ..Granted::default()
        };
        let uring = match &self.driver {
            Driver::Uring(uring) => uring,
            Driver::Other(Other::Tuned(tuned)) => &tuned.uring,
            Driver::Other(Other::Epoll(epoll)) => {
                let interrupt_signal = epoll.interrupt_signal();
                return Granted { emulated: true, interrupt_signal, ..granted };
            }
        };
        Granted {
            setup_flags: uring.setup_flags(),
            features: uring.features(),
            opcodes: uring.opcodes,
            ring_fd: Some(uring.ring.raw()),
            ..granted
        }
    }

    /// Where other rings can send messages to: a ring that takes completions in on its owner's
    /// thread alone, and whose wait they end.
    pub(crate) fn address(&self) -> Option<Address> {
        let uring = match &self.driver {
            Driver::Uring(uring) => uring,
            Driver::Other(Other::Tuned(tuned)) => &tuned.uring,
            Driver::Other(Other::Epoll(_)) => return None,
        };
        let defers = uring.setup_flags() & IORING_SETUP_DEFER_TASKRUN != 0;
        (defers && !self.wakes_itself()).then(|| uring.ring.address())
    }

    /// Whether the context is woken without the backend's polling its descriptor.
    pub(crate) fn wakes_itself(&self) -> bool {
        matches!(&self.driver, Driver::Other(Other::Tuned(tuned)) if tuned.wakes_itself())
    }

    /// Whether the backend carries out `opcode` itself.
    pub(crate) fn supports(&self, opcode: u8) -> bool {
        match &self.driver {
            Driver::Uring(uring) => uring.supports(opcode),
            Driver::Other(Other::Tuned(tuned)) => tuned.uring.supports(opcode),
            Driver::Other(Other::Epoll(_)) => Epoll::supports(opcode),
        }
    }

    /// Whether the plain path may `claim` an entry.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.queues.has_room()
    }

    /// Where `has_room` says no: whether it says yes now. It does at the end of the queue's memory,
    /// and where more was taken since it was full.
    pub(crate) fn make_room(&mut self) -> bool {
        self.queues.make_room()
    }

    /// Whether the plain path may `claim` an entry, wherever it has come to.
    pub(crate) fn finds_room(&mut self) -> bool {
        self.has_room() || self.make_room()
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
            if let Driver::Other(Other::Tuned(tuned)) = &mut self.driver {
                tuned.grow_submissions(&mut self.queues);
            }
        }
        if self.backlog.is_empty() && self.queues.space() < needed {
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

    /// Whether this is the usual ring with the usual entries, and with nothing left over from its
    /// last turn: a call hands all over that is staged, no completion is there before it, and
    /// `peek` will see them all.
    pub(crate) fn is_plain(&mut self) -> bool {
        self.is_usual() && self.ready() == 0 && !self.overflown()
    }

    /// What of it stays as it is until the engine changes it: the kernel may add completions at any
    /// time (messages of other rings), which end a wait before it begins.
    pub(crate) fn is_usual(&self) -> bool {
        matches!(self.driver, Driver::Uring(_))
            && self.queues.are_narrow()
            && !self.queues.is_concealed()
            && self.backlog.is_empty()
    }

    /// Completions have 32 bytes.
    pub(crate) fn has_wide_completions(&self) -> bool {
        self.queues.cqe_size() == 32
    }

    /// Whether entries wait to be handed over.
    #[inline(always)]
    pub(crate) fn has_staged(&self) -> bool {
        self.queues.staged() != 0 || !self.backlog.is_empty()
    }

    /// The same where there is no backlog.
    #[inline(always)]
    pub(crate) fn has_staged_plainly(&self) -> bool {
        self.queues.has_staged_plainly()
    }

    /// The ids of the entries that do.
    pub(crate) fn staged_ids(&self) -> impl Iterator<Item = u64> {
        self.queues.staged_ids().chain(self.backlog.iter().map(|entry| entry.sqe.user_data))
    }

    /// Whether another enter would bring something at once, apart from what is staged.
    pub(crate) fn has_more(&self) -> bool {
        let driven = match &self.driver {
            Driver::Uring(_) => false,
            Driver::Other(Other::Tuned(tuned)) => tuned.has_more(&self.queues),
            Driver::Other(Other::Epoll(epoll)) => epoll.has_more(),
        };
        driven || self.overflown()
    }

    /// Whether even a turn with nothing in flight must enter: for completions that wait for room,
    /// which may all be the engine's own, or to look at the descriptors.
    #[inline(always)]
    pub(crate) fn must_look(&self) -> bool {
        let looks = match &self.driver {
            Driver::Uring(_) | Driver::Other(Other::Tuned(_)) => false,
            Driver::Other(Other::Epoll(epoll)) => epoll.is_foreign(),
        };
        looks || self.overflown()
    }

    /// How long the context may sleep before the backend wants to look after something; None: for
    /// ever.
    pub(crate) fn patience_ns(&mut self) -> Option<u64> {
        match &mut self.driver {
            Driver::Uring(_) | Driver::Other(Other::Tuned(_)) => None,
            Driver::Other(Other::Epoll(epoll)) => epoll.patience_ns(),
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

    /// Hands all over that is staged, sleeps for a completion, and says how many entries that were,
    /// where `is_plain` has held since the last turn. None: it came otherwise, call `enter`.
    #[inline(always)]
    pub(crate) fn enter_plainly(&mut self) -> Option<u32> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.enter_plainly(&mut self.queues),
            Driver::Other(_) => None,
        }
    }

    #[inline(always)]
    fn drive(&mut self, wait: Option<Wait>) -> Result<u32, Errno> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.enter(&mut self.queues, wait),
            Driver::Other(Other::Epoll(epoll)) => epoll.enter(&mut self.queues, wait),
            Driver::Other(Other::Tuned(tuned)) => tuned.enter(&mut self.queues, wait),
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

    /// Makes a descriptor tell of completions, and of signals to `event_fd`; returns which.
    pub(crate) fn register_event_fd(&mut self, event_fd: i32) -> Result<i32, Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.register_event_fd(event_fd).map(|()| event_fd),
            Carrier::Epoll(epoll) => epoll.register_event_fd(event_fd),
        }
    }

    /// Makes a table of `count` empty slots, of which `range` is what is allocated from.
    pub(crate) fn register_files(&mut self, count: u32, range: Range<u32>) -> Result<(), Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.register_files(count, range),
            Carrier::Epoll(epoll) => epoll.register_files(count, range),
        }
    }

    /// Puts descriptors into slots from `first` on, -1 for none; returns how many were dealt with.
    pub(crate) fn update_files(&mut self, first: u32, fds: &[i32]) -> Result<u32, Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.update_files(first, fds),
            Carrier::Epoll(epoll) => epoll.update_files(first, fds),
        }
    }

    /// Puts a descriptor into a free slot; None: a ring has an operation for that.
    pub(crate) fn allocate_slot(&mut self, fd: i32) -> Option<Result<u32, Errno>> {
        match self.driver.carrier() {
            Carrier::Ring(_) => None,
            Carrier::Epoll(epoll) => Some(epoll.allocate_slot(fd)),
        }
    }

    pub(crate) fn unregister_files(&mut self) -> Result<(), Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.unregister_files(),
            Carrier::Epoll(epoll) => epoll.unregister_files(),
        }
    }

    /// Whether the kernel may close what a slot held long after the slot was closed.
    pub(crate) fn closes_late(&self) -> bool {
        !self.emulates_files() && kernel_version() < (6, 13)
    }

    /// Whether slots hold descriptors of the process.
    pub(crate) fn emulates_files(&self) -> bool {
        matches!(self.driver, Driver::Other(Other::Epoll(_)))
    }

    /// Whether a receive may take several buffers at once.
    pub(crate) fn has_bundles(&self) -> bool {
        match &self.driver {
            Driver::Uring(uring) => uring.has_bundles(),
            Driver::Other(Other::Tuned(tuned)) => tuned.uring.has_bundles(),
            Driver::Other(Other::Epoll(_)) => false,
        }
    }

    /// Lets receives take buffers from `ring` as `group`; it must stay until they are unregistered
    /// or the backend is gone. Returns whether they are used up piece by piece, if that was wanted.
    pub(crate) fn register_buffers(
        &mut self, group: u16, ring: &BufferRing, incremental: bool,
    ) -> Result<bool, Errno> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.register_buffers(group, ring, incremental),
            Carrier::Epoll(epoll) => {
                epoll.register_buffers(group, ring);
                Ok(false)
            }
        }
    }

    /// How far the kernel has taken the buffers of `group`; None: nobody knows.
    pub(crate) fn buffers_head(&mut self, group: u16) -> Option<u16> {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.buffers_head(group),
            Carrier::Epoll(_) => None,
        }
    }

    /// No operation takes buffers from `group` any more.
    pub(crate) fn unregister_buffers(&mut self, group: u16) {
        match self.driver.carrier() {
            Carrier::Ring(uring) => uring.unregister_buffers(group),
            Carrier::Epoll(epoll) => epoll.unregister_buffers(group),
        }
    }

    /// Full queues met.
    pub(crate) fn full_queues(&self) -> u64 {
        self.full_queues
    }

    /// System calls made since this was asked, but for those of `enter_plainly`.
    #[inline(always)]
    pub(crate) fn take_system_calls(&mut self) -> u64 {
        match &mut self.driver {
            Driver::Uring(uring) => std::mem::take(&mut uring.system_calls),
            Driver::Other(Other::Tuned(tuned)) => std::mem::take(&mut tuned.uring.system_calls),
            Driver::Other(Other::Epoll(epoll)) => epoll.take_system_calls(),
        }
    }

    /// The last act on the owner's thread. The table is emptied here: closing a ring that a forked
    /// child has too would leave its sockets open.
    pub(crate) fn retire(&mut self) {
        let _ = self.unregister_files();
        if let Carrier::Ring(uring) = self.driver.carrier() {
            uring.retire();
        }
    }

    /// The owner has ended: afterwards nothing of the backend's touches memory of operations, as
    /// far as that can be had.
    pub(crate) fn orphan(&mut self) {
        if let Driver::Other(Other::Epoll(epoll)) = &mut self.driver {
            epoll.stop(&mut self.queues);
        }
    }

    /// In a forked child: lets go without touching what the parent uses.
    pub(crate) fn abandon(&mut self) {
        self.queues.abandon();
        if let Driver::Other(Other::Epoll(epoll)) = &mut self.driver {
            epoll.abandon();
        }
    }
}
