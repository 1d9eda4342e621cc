//! Rings that somebody wants to be different: polled by a kernel thread, polling devices, growing,
//! waiting in batches. A driver of its own, so that the usual ring pays nothing for any of it; it
//! knows which facility forbids which, and what a kernel without one answers: -EOPNOTSUPP, because
//! an option that is accepted is never ignored.

use crate::engine::backend::uring::Uring;
use crate::engine::backend::{Driver, Other};
use crate::sys::clock::Clock;
use crate::sys::descriptor;
use crate::sys::entry::Opcode;
use crate::sys::errno::Errno;
use crate::sys::facility::{Cpus, Opcodes, Waiting};
use crate::sys::poller;
use crate::sys::probe::{IORING_FEAT_MIN_TIMEOUT, IORING_FEAT_NO_IOWAIT, Scratch};
use crate::sys::queues::Queues;
use crate::sys::ring::{
    Config, IORING_ENTER_GETEVENTS, IORING_ENTER_NO_IOWAIT, IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP, IORING_SETUP_ATTACH_WQ, IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_HYBRID_IOPOLL, IORING_SETUP_IOPOLL, IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SQ_AFF, IORING_SETUP_SQPOLL, Wait,
};

/// What is asked of a ring beside the usual; zeroes ask for nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tuning {
    pub sqpoll: Option<Sqpoll>,
    pub iopoll: bool,
    pub hybrid_iopoll: bool,
    /// Microseconds of busy polling.
    pub napi_usec: u32,
    pub napi_prefer: bool,
    /// How far the queues may grow.
    pub sq_entries_max: u32,
    pub cq_entries_max: u32,
    pub registered_wait: bool,
    pub min_wait_usec: u32,
    pub min_wait_count: u32,
    /// Most workers, bounded and unbounded.
    pub workers: [u32; 2],
    pub worker_cpus: Option<Cpus>,
    pub no_iowait: bool,
    pub clock: Option<Clock>,
    /// The only opcodes that may be submitted.
    pub allowed: Option<Opcodes>,
}

/// A kernel thread that takes submissions.
#[derive(Clone, Copy)]
pub(crate) struct Sqpoll {
    pub cpu: Option<u32>,
    pub idle_ms: u32,
    /// The ring whose thread is shared.
    pub shared_fd: Option<i32>,
}

impl Tuning {
    /// Whether only a ring will do. What may be submitted, the engine looks after everywhere.
    pub(crate) fn needs_ring(&self) -> bool {
        self.drives()
            || self.napi_usec != 0
            || self.clock.is_some()
            || self.registered_wait
            || self.workers != [0; 2]
            || self.worker_cpus.is_some()
    }

    /// Whether the usual driver will not do.
    fn drives(&self) -> bool {
        self.sqpoll.is_some()
            || self.iopoll
            || self.grows()
            || self.min_wait_usec != 0
            || self.no_iowait
    }

    fn grows(&self) -> bool {
        self.sq_entries_max != 0 || self.cq_entries_max != 0
    }

    /// What the ring is made with.
    pub(super) fn configure(&self, config: Config) -> Config {
        let mut config = config;
        if self.iopoll {
            config.required |= IORING_SETUP_IOPOLL;
        }
        if self.hybrid_iopoll {
            config.required |= IORING_SETUP_HYBRID_IOPOLL;
        }
        if let Some(sqpoll) = self.sqpoll {
            config.required |= IORING_SETUP_SQPOLL;
            config.excluded |= IORING_SETUP_DEFER_TASKRUN;
            config.thread_idle_ms = sqpoll.idle_ms;
            if let Some(cpu) = sqpoll.cpu {
                config.required |= IORING_SETUP_SQ_AFF;
                config.thread_cpu = cpu;
            }
            if let Some(fd) = sqpoll.shared_fd {
                config.required |= IORING_SETUP_ATTACH_WQ;
                config.shared_fd = fd as u32;
            }
        }
        config
    }

    /// What a refusal of the configured ring means.
    pub(super) fn explain(&self, errno: Errno) -> Errno {
        let cpu = self.sqpoll.and_then(|sqpoll| sqpoll.cpu);
        let floor = IORING_SETUP_SQPOLL | IORING_SETUP_SINGLE_ISSUER;
        match errno {
            // The thread can be had, but not there.
            Errno::EINVAL if cpu.is_some() && Scratch::create(floor).is_ok() => errno,
            errno => missing(errno),
        }
    }

    /// Tells the new ring, still disabled, what it shall be.
    pub(super) fn apply(
        &self, mut uring: Uring, queues: Queues, wake_fd: i32,
    ) -> Result<(Driver, Queues), Errno> {
        let need = |has: bool| if has { Ok(()) } else { Err(Errno::EOPNOTSUPP) };
        let features = uring.features();
        need(self.min_wait_usec == 0 || features & IORING_FEAT_MIN_TIMEOUT != 0)?;
        need(!self.no_iowait || features & IORING_FEAT_NO_IOWAIT != 0)?;
        need(!self.grows() || uring.ring.can_resize())?;
        if self.napi_usec != 0 {
            uring.ring.set_napi(self.napi_usec, self.napi_prefer).map_err(missing)?;
        }
        if let Some(clock) = self.clock {
            uring.ring.set_clock(clock.id()).map_err(missing)?;
        }
        let flags = if self.no_iowait { IORING_ENTER_NO_IOWAIT } else { 0 };
        let count = if self.min_wait_usec != 0 { self.min_wait_count } else { 1 };
        let mut waiting = Waiting::new(flags, count, self.min_wait_usec);
        if self.registered_wait {
            waiting.register(&mut uring.ring).map_err(missing)?;
        }
        if let Some(allowed) = self.allowed {
            let opcodes = with_the_engines(&allowed, &uring.opcodes);
            uring.ring.restrict(&opcodes).map_err(missing)?;
        }
        uring.limit_workers(self.workers, self.worker_cpus);
        if !self.drives() {
            uring.wait_by(waiting);
            return Ok((Driver::Uring(uring), queues));
        }
        let kind = match (self.sqpoll, self.iopoll) {
            (Some(_), _) => Kind::Thread,
            (None, true) => Kind::Polling,
            (None, false) => Kind::Plain,
        };
        let largest = self.sq_entries_max.max(queues.cq_entries);
        let tuned = Tuned {
            uring,
            kind,
            waiting,
            wake_fd,
            grows: self.grows(),
            sq_entries_max: self.sq_entries_max,
            cq_entries_max: self.cq_entries_max.max(largest),
        };
        Ok((Driver::Other(Other::Tuned(Box::new(tuned))), queues))
    }
}

/// A kernel that lacks what it is asked for calls it invalid.
fn missing(errno: Errno) -> Errno {
    if matches!(errno, Errno::EINVAL | Errno::ENOSYS) { Errno::EOPNOTSUPP } else { errno }
}

/// What is allowed, of what the kernel has, and what the engine cannot do without.
fn with_the_engines(allowed: &Opcodes, kernels: &Opcodes) -> Opcodes {
    let own = 1 << Opcode::IORING_OP_POLL_ADD as u8 | 1 << Opcode::IORING_OP_ASYNC_CANCEL as u8;
    let mut opcodes = *allowed;
    opcodes[0] |= own;
    std::array::from_fn(|word| opcodes[word] & kernels[word])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Like the usual ring.
    Plain,
    /// A kernel thread takes what is staged.
    Thread,
    /// Devices are polled for completions, in enter; nothing else can be waited for there.
    Polling,
}

pub(super) struct Tuned {
    pub(super) uring: Uring,
    kind: Kind,
    waiting: Waiting,
    /// What other threads wake the context by.
    wake_fd: i32,
    grows: bool,
    sq_entries_max: u32,
    cq_entries_max: u32,
}

impl Tuned {
    pub(super) fn enable(&mut self) -> Result<(), Errno> {
        self.uring.enable()
    }

    /// Whether the context is woken without the ring's polling its descriptor.
    pub(super) fn wakes_itself(&self) -> bool {
        self.kind == Kind::Polling
    }

    /// Whether completions come only if somebody polls for them.
    pub(super) fn has_more(&self, queues: &Queues) -> bool {
        self.kind == Kind::Polling && queues.outstanding() != 0
    }

    pub(super) fn enter(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        if self.grows {
            self.make_room(queues);
        }
        let taken = match self.kind {
            Kind::Plain => self.enter_plainly(queues, wait),
            Kind::Thread => self.enter_beside_thread(queues, wait),
            Kind::Polling => self.enter_polling(queues, wait),
        }?;
        if self.grows && (queues.overflown() || queues.ready() >= queues.cq_entries / 2) {
            self.grow(queues, queues.sq_entries(), queues.cq_entries * 2);
        }
        Ok(taken)
    }

    fn enter_plainly(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        let staged = queues.staged();
        queues.publish();
        let taken = self.call(staged, 0, wait)?;
        queues.taken(taken);
        Ok(taken)
    }

    fn call(&mut self, staged: u32, flags: u32, wait: Option<Wait>) -> Result<u32, Errno> {
        self.uring.system_calls += 1;
        let ring = &self.uring.ring;
        match wait {
            None => ring.call_enter(staged, 0, flags, 0, 0),
            Some(Wait::Poll) => ring.call_enter(staged, 0, flags | IORING_ENTER_GETEVENTS, 0, 0),
            Some(Wait::Forever) => self.waiting.enter(ring, staged, flags, None),
            Some(Wait::For(ns)) => self.waiting.enter(ring, staged, flags, Some(ns)),
        }
    }

    /// Everything staged counts as handed over: the thread sees it. A call is made to wake that
    /// thread, to wait for room, or to sleep.
    fn enter_beside_thread(
        &mut self, queues: &mut Queues, wait: Option<Wait>,
    ) -> Result<u32, Errno> {
        let staged = queues.staged();
        queues.publish();
        queues.taken(staged);
        let mut flags = 0;
        if staged != 0 && queues.thread_sleeps() {
            flags |= IORING_ENTER_SQ_WAKEUP;
        }
        queues.look_at_head();
        if queues.space() == 0 {
            flags |= IORING_ENTER_SQ_WAIT;
        }
        let sleeps = matches!(wait, Some(Wait::For(_) | Wait::Forever));
        if sleeps || flags != 0 || (wait.is_some() && queues.overflown()) {
            self.call(0, flags, wait)?;
            queues.look_at_head();
        }
        Ok(staged)
    }

    /// With something in the kernel this polls, without sleeping; without, it sleeps until another
    /// thread has something to say.
    fn enter_polling(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        let has_completions = queues.ready() != 0;
        let staged = queues.staged();
        if staged == 0 && queues.outstanding() == 0 {
            let limit = match wait {
                _ if has_completions => Some(0),
                None | Some(Wait::Poll) => Some(0),
                Some(Wait::For(ns)) => Some(ns),
                Some(Wait::Forever) => None,
            };
            if limit != Some(0) && poller::wait_readable(self.wake_fd, limit) {
                descriptor::drain(self.wake_fd);
            }
            return Ok(0);
        }
        queues.publish();
        self.uring.system_calls += 1;
        let count = u32::from(!has_completions && wait.is_some_and(|wait| wait != Wait::Poll));
        let flags = if wait.is_some() { IORING_ENTER_GETEVENTS } else { 0 };
        let taken = self.uring.ring.call_enter(staged, count, flags, 0, 0)?;
        queues.taken(taken);
        Ok(taken)
    }

    /// Room for a completion of everything that is staged, beside those that wait to be taken.
    fn make_room(&mut self, queues: &mut Queues) {
        let expected = queues.ready() + queues.staged();
        if expected > queues.cq_entries {
            self.grow(queues, queues.sq_entries(), expected);
        }
    }

    /// The submission queue is full: from now on it is larger, if it may be.
    pub(super) fn grow_submissions(&mut self, queues: &mut Queues) {
        if self.grows && queues.sq_entries() < self.sq_entries_max {
            let sq_entries = (queues.sq_entries() * 2).min(self.sq_entries_max);
            self.grow(queues, sq_entries, queues.cq_entries);
        }
    }

    /// Grows the queues to what is asked for, or as far as they may.
    fn grow(&mut self, queues: &mut Queues, sq_entries: u32, cq_entries: u32) {
        let cq_entries = cq_entries.next_power_of_two().min(self.cq_entries_max).max(sq_entries);
        let larger = sq_entries > queues.sq_entries() || cq_entries > queues.cq_entries;
        if larger && self.uring.ring.resize(queues, sq_entries, cq_entries).is_err() {
            // No memory for it: the queues stay as they are, which is slower and loses nothing.
            self.grows = false;
        }
    }
}
