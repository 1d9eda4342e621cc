//! What a context is. `Handle` is what the C pointer points to and any thread may hold; `Engine`,
//! inside it, belongs to the context's thread alone.
//!
//! The life of a context (`handle::life`):
//!
//! ```text
//!   create       first submit, run, flush          destroy              last unref
//!  ───────▶ NEW ─────────────────────────▶ OPEN ───────────▶ DESTROYING ──▶ CLOSED ─────▶ freed
//!                                           │ │ panic              │ grace over
//!                           thread exits ───┘ └──▶ POISONED        └──▶ STUCK (leaked)
//!                                           ▼
//!                                       ORPHANED
//! ```
//!
//! The life of an operation (`slots::phase`): taken FREE, it goes to the BACKEND as a submission
//! entry, or first waits HELD (an open chain, a barrier, a close), or lives in the WHEEL (a timer).
//! Completions of the backend end it; what the engine itself ends is put on the READY queue; what
//! is EXTERNAL is ended by a message. They meet in `completion.rs`, and user functions are called
//! from one place, `run.rs`.

mod alarm;
mod arena;
mod asked;
pub(crate) mod backend;
mod barrier;
pub(crate) mod bell;
pub(crate) mod buffer_pool;
pub(crate) mod buffers;
pub(crate) mod bundles;
mod cancel;
mod chain;
mod closing;
mod cold;
mod completion;
pub(crate) mod counts;
pub(crate) mod crew;
mod descriptors;
mod destroy;
mod dump;
#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) mod external;
mod files;
pub(crate) mod handle;
mod interface_queue;
pub(crate) mod latency;
pub(crate) mod lease_table;
pub(crate) mod leases;
mod mail;
pub(crate) mod mailbox;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod msg_ring;
mod observer;
mod pages;
mod pauses;
mod plain;
mod pool;
pub(crate) mod probe;
mod prompt;
mod quick;
pub(crate) mod record_queue;
pub(crate) mod registered;
mod run;
mod slots;
mod stats;
mod steps;
mod submission;
mod timer;
pub(crate) mod trace;
mod turn;
mod wheel;
mod zero_copy;

use crate::sys::clock::{self, Clock};
use crate::sys::descriptor::{EventFd, Pipe};
use crate::sys::errno::Errno;
use crate::sys::facility::Opcodes;
use crate::sys::ring::{Config, IORING_SETUP_CQE32, IORING_SETUP_SQE128};
use arena::Arena;
use backend::Backend;
use backend::tuned::Tuning;
use barrier::Barriers;
use buffers::{Pending, Pools};
use chain::Chains;
use cold::ColdTable;
use completion::{Current, Ready, Record};
use counts::Counted;
use descriptors::Descriptors;
use external::Externals;
use mailbox::Batch;
use observer::Observer;
use registered::Registered;
use slots::Slots;
use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use wheel::Wheel;

pub(crate) use completion::REAP;
pub(crate) use quick::Quick;
pub(crate) use run::{run, run_once, wait_for_records};
pub(crate) use slots::drop_spare;
pub(crate) use submission::{Done, SubmitOptions, submit_flags};
pub(crate) use timer::Fires;

/// Status codes of our own, on the ABI below -5000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the context belongs to another thread")]
    WrongThread,
    #[error("the context is running: call again after the callback")]
    Reentrant,
    #[error("the context will be destroyed when its run call ends")]
    Pending,
    #[error("the context was destroyed")]
    Destroyed,
    #[error("operations did not end within the grace period")]
    Stuck,
    #[error("the context's thread has ended")]
    Orphaned,
    #[error("the engine has failed, the context only takes destroy")]
    Panicked,
    #[error("the context is a forked copy")]
    Forked,
    #[error("the context is closed")]
    Closed,
    #[error(transparent)]
    Kernel(#[from] Errno),
}

/// What a context is made with; zeroes are the defaults.
#[derive(Clone, Copy, Default)]
pub(crate) struct ContextOptions {
    pub backend: Choice,
    pub wide_submissions: bool,
    pub wide_completions: bool,
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub max_ops: u32,
    pub destroy_grace_ns: u64,
    pub timer_resolution_ns: u64,
    pub reap_backlog_max: u32,
    /// Keep latencies by opcode.
    pub histograms: bool,
    pub log: Option<Log>,
    /// Also of every call that is refused as invalid.
    pub logs_refusals: bool,
    pub tuning: Tuning,
}

/// Which backend a caller asks for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Choice {
    #[default]
    /// What `AIO_RS_BACKEND` in the environment says, or the best that is allowed.
    Auto,
    Uring,
    Epoll,
}

impl Choice {
    /// Lets the environment speak for Auto.
    pub(crate) fn settled(self) -> Result<Choice, UnknownBackend> {
        let value = std::env::var_os("AIO_RS_BACKEND").unwrap_or_default();
        match (self, value.to_string_lossy().as_ref()) {
            (Choice::Auto, "epoll") => Ok(Choice::Epoll),
            (Choice::Auto, "uring" | "io_uring") => Ok(Choice::Uring),
            (Choice::Auto, "") => Ok(Choice::Auto),
            (Choice::Auto, value) => Err(UnknownBackend(value.to_string())),
            (choice, _) => Ok(choice),
        }
    }
}

/// What `AIO_RS_BACKEND` is if it names no backend.
#[derive(Debug, thiserror::Error)]
#[error("AIO_RS_BACKEND is {0:?}: it names a backend, uring or epoll")]
pub(crate) struct UnknownBackend(String);

impl From<UnknownBackend> for Errno {
    fn from(_: UnknownBackend) -> Errno {
        Errno::EINVAL
    }
}

/// Where the engine's few messages go.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub function: unsafe extern "C-unwind" fn(*mut c_void, i32, *const std::ffi::c_char),
    pub arg: *mut c_void,
}

pub(crate) mod log_level {
    pub(crate) const ERROR: i32 = 1;
    pub(crate) const WARN: i32 = 2;
    pub(crate) const INFO: i32 = 3;
    pub(crate) const REFUSED: i32 = 4;
}

/// Small rings by default: locked memory counts them, and a full queue costs one call per 128.
const SQ_ENTRIES_DEFAULT: u32 = 128;
/// Completions per submission entry: multishot operations complete without submissions.
const CQ_PER_SQ_DEFAULT: u32 = 4;
const TIMER_RESOLUTION_DEFAULT_NS: u64 = 200_000;
const REAP_BACKLOG_DEFAULT: u32 = 65_536;

pub(crate) struct Engine {
    slots: Slots,
    backend: Backend,
    /// Bits of `turn::odd`; 0: the next turn is a plain one.
    odd: u8,
    /// The last turn in which a send was the only thing submitted, and the only thing to be done.
    lone_turn: u64,
    sent: prompt::Sent,
    /// More completions than this are not for one plain turn, or filled their queue.
    plain_max: u32,
    /// Coarse time of the current turn, for ages.
    now_ms: u32,
    descriptors: Descriptors,
    cold: ColdTable,
    externals: Externals,
    current: Current,
    /// Of the newest operation of several steps that was delivered: its id and what it moved.
    moved: (u64, u64),
    wheel: Wheel,
    alarm: alarm::Alarm,
    /// When the clock was last read for the wheel.
    looked_ns: u64,
    /// What time is measured with.
    clock: Clock,
    /// Timers are submitted carefully, as `decide_path` has decided.
    holds_timers: bool,
    /// The only operations that may be submitted.
    allowed: Option<Opcodes>,
    /// Completions that the engine made itself.
    ready: VecDeque<Ready>,
    /// Completions that were taken out of order while waiting for one of them.
    stash: VecDeque<crate::sys::entry::Cqe>,
    /// Records for `reap`.
    records: VecDeque<Record>,
    records_max: usize,
    /// Posted functions taken from the mailbox and not yet run.
    inbox: Batch,
    arena: Arena,
    pools: Pools,
    /// What the completion whose callback is running has brought.
    pending: Pending,
    registered: Registered,
    chains: Chains,
    barriers: Barriers,
    sockets: files::Sockets,
    messages: msg_ring::Messages,
    /// What an install of the engine's own has brought.
    installed: Option<i32>,
    /// The close that waits, by descriptor number.
    closes: HashMap<i32, u32>,
    /// Descriptor numbers whose waiting close can start.
    closable: Vec<i32>,
    retries: VecDeque<cancel::Retry>,
    /// Operations that are not in the backend: timers, held and ready ones.
    local: u32,
    multishots: u32,
    /// Empty ones, for operations that move bytes through a pipe.
    pipes: Vec<Pipe>,
    budget: turn::Budget,
    tally: stats::Tally,
    counted: Counted,
    observer: Observer,
    /// Callbacks, posts and records beyond one for each operation that has ended; wraps.
    calls_beyond: u64,
    /// The mailbox's descriptor, polled by the backend.
    wake_fd: i32,
    /// The descriptor that a foreign loop has asked for.
    foreign_fd: Option<i32>,
    /// Inside a run, reap or destroy call.
    running: bool,
    /// A callback has asked for destruction.
    destroy_requested: bool,
    destroying: bool,
    /// After a panic: no user function is called.
    mute: bool,
    destroy_grace_ns: u64,
    log: Option<Log>,
    logs_refusals: bool,
}

impl Engine {
    /// `wake_fd` is signalled by other threads.
    pub(crate) fn create(options: &ContextOptions, wake_fd: i32) -> Result<Engine, Errno> {
        let sq = match options.sq_entries {
            0 => SQ_ENTRIES_DEFAULT,
            entries => entries,
        };
        let cq = match options.cq_entries {
            0 => sq.saturating_mul(CQ_PER_SQ_DEFAULT),
            entries => entries,
        };
        let wide = |wanted: bool, flag: u32| if wanted { flag } else { 0 };
        let config = Config {
            sq_entries: sq,
            cq_entries: cq.max(sq),
            required: wide(options.wide_submissions, IORING_SETUP_SQE128)
                | wide(options.wide_completions, IORING_SETUP_CQE32),
            ..Config::default()
        };
        let tuning = &options.tuning;
        let backend = Backend::create(options.backend.settled()?, config, wake_fd, tuning)?;
        let pools = Pools::new(backend.granted().polls());
        let cq_entries = backend.granted().cq_entries;
        let clock = tuning.clock.unwrap_or(Clock::Monotonic);
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        let resolution = match options.timer_resolution_ns {
            0 => TIMER_RESOLUTION_DEFAULT_NS,
            ns => ns,
        };
        let slots = Slots::new(or(options.max_ops, u32::MAX), clock::distinct_bits())?;
        let mut engine = Engine {
            sent: prompt::Sent::none(&slots),
            slots,
            backend,
            odd: turn::odd::CAREFUL,
            lone_turn: 0,
            plain_max: turn::COMPLETIONS_MAX.min(cq_entries - 1),
            now_ms: clock::coarse_ms(),
            descriptors: Descriptors::default(),
            cold: ColdTable::default(),
            externals: Externals::default(),
            current: Current::NONE,
            moved: (0, 0),
            wheel: Wheel::new(resolution, clock.now_ns()),
            alarm: alarm::Alarm::new(),
            looked_ns: 0,
            clock,
            holds_timers: false,
            allowed: tuning.allowed,
            ready: VecDeque::new(),
            stash: VecDeque::new(),
            records: VecDeque::new(),
            records_max: or(options.reap_backlog_max, REAP_BACKLOG_DEFAULT) as usize,
            inbox: Batch::EMPTY,
            arena: Arena::default(),
            pools,
            pending: Pending::default(),
            registered: Registered::default(),
            chains: Chains::default(),
            barriers: Barriers::default(),
            sockets: files::Sockets::default(),
            messages: msg_ring::Messages::default(),
            installed: None,
            closes: HashMap::new(),
            closable: Vec::new(),
            retries: VecDeque::new(),
            local: 0,
            multishots: 0,
            pipes: Vec::new(),
            budget: turn::Budget::default(),
            tally: stats::Tally::default(),
            counted: Counted::NOWHERE,
            observer: Observer::new(options.histograms),
            calls_beyond: 0,
            wake_fd,
            foreign_fd: None,
            running: false,
            destroy_requested: false,
            destroying: false,
            mute: false,
            destroy_grace_ns: options.destroy_grace_ns,
            log: options.log,
            logs_refusals: options.logs_refusals,
        };
        engine.decide_path();
        Ok(engine)
    }

    /// The time, by the context's clock.
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The same for the wheel, and for ages.
    #[inline(always)]
    fn look_at_clock(&mut self) -> u64 {
        self.looked_ns = self.now_ns();
        if self.clock == Clock::Monotonic {
            self.now_ms = (self.looked_ns / 1_000_000) as u32;
        }
        self.looked_ns
    }

    /// Operations in flight, as the program sees it.
    #[inline(always)]
    pub(crate) fn in_flight(&self) -> u32 {
        self.slots.live()
    }

    /// Also those of services.
    fn total(&self) -> u32 {
        self.slots.live() + self.externals.inner()
    }

    pub(crate) fn granted(&self) -> backend::Granted {
        backend::Granted { allowed: self.allowed, ..self.backend.granted() }
    }

    pub(crate) fn tick_ns(&self) -> u64 {
        self.wheel.tick_ns()
    }

    /// The descriptor for a foreign loop, registered with the backend when it is first asked for.
    pub(crate) fn foreign_descriptor(&mut self, mailbox: &mailbox::Mailbox) -> Result<i32, Errno> {
        if let Some(fd) = self.foreign_fd {
            return Ok(fd);
        }
        let event_fd = EventFd::create()?;
        let fd = self.backend.register_event_fd(event_fd.raw())?;
        mailbox.set_foreign(event_fd);
        self.foreign_fd = Some(fd);
        Ok(fd)
    }

    /// The run is over: no callback is running.
    pub(crate) fn end_running(&mut self) {
        self.running = false;
        self.current = Current::NONE;
    }

    pub(crate) fn current(&self) -> &Current {
        &self.current
    }

    /// How much the operation whose callback is running has transferred.
    pub(crate) fn current_bytes(&self) -> u64 {
        if self.current.id == self.moved.0 { self.moved.1 } else { self.current.bytes() }
    }
}
