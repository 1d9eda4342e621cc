//! The io_uring driver: which rings are asked for, and how long memory for one is waited for.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU64;
use crate::sys::buffer_ring::BufferRing;
use crate::sys::clock;
use crate::sys::descriptor::kernel_version;
use crate::sys::entry::Opcode;
use crate::sys::errno::Errno;
use crate::sys::facility::{Cpus, Waiting};
use crate::sys::known::Known;
use crate::sys::queues::Queues;
use crate::sys::ring::{
    Config, IORING_FEAT_RECVSEND_BUNDLE, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
    Ring, Wait,
};
use std::ops::Range;

/// Closing rings frees their memory late: ENOMEM is waited for, 1 to 64 ms.
const RETRIES: u32 = 7;
/// The kernel has freed a closed ring after this long, as a rule.
const LATE_NS: u64 = 500_000_000;
/// After waiting in vain it is not waited again for so long, unless a ring was closed.
const PATIENCE_NS: u64 = 10_000_000_000;
/// Smaller rings are tried down to this size.
const ENTRIES_MIN: u32 = 8;

/// The newest operation that every ring must have: a program that asks for a ring on an older
/// kernel is told so, and does not meet what rings lacked then one by one.
const OF_LINUX_5_19: u8 = Opcode::IORING_OP_SOCKET as u8;

/// When this process last closed a ring, and last waited for memory in vain; 0: never. Relaxed:
/// hints of when, no more.
static CLOSED_NS: AtomicU64 = AtomicU64::new(0);
static IN_VAIN_NS: AtomicU64 = AtomicU64::new(0);

/// What a process was once told of the kernel's opcodes, a bit each.
static OPCODES: Known<4> = Known::new();

pub(crate) struct Uring {
    pub(super) ring: Ring,
    pub(crate) opcodes: [u64; 4],
    has_files: bool,
    pub(super) system_calls: u64,
    asked: Option<Box<Asked>>,
}

/// What somebody has asked of a ring that is the usual one in all else.
#[derive(Default)]
struct Asked {
    /// Most workers, bounded and unbounded; 0: as it is.
    workers: [u32; 2],
    worker_cpus: Option<Cpus>,
    /// Of waits with a limit.
    waiting: Option<Waiting>,
}

impl Uring {
    /// A disabled ring; see `enable`.
    pub(crate) fn create(config: Config) -> Result<(Uring, Queues), Errno> {
        let (mut ring, queues) = Self::create_ring(config)?;
        let opcodes = Self::opcodes(&mut ring)?;
        ring.check_enter()?;
        let uring = Uring { ring, opcodes, has_files: false, system_calls: 0, asked: None };
        if !uring.supports(OF_LINUX_5_19) {
            return Err(Errno::ENOSYS);
        }
        Ok((uring, queues))
    }

    /// The kernel is asked once in a process, and later whether it may be.
    fn opcodes(ring: &mut Ring) -> Result<[u64; 4], Errno> {
        if !ring.is_the_kernels() {
            return ring.probe();
        }
        if let Some(opcodes) = OPCODES.get() {
            ring.may_probe()?;
            return Ok(opcodes);
        }
        let opcodes = ring.probe()?;
        OPCODES.set(opcodes);
        Ok(opcodes)
    }

    /// A ring as Linux 6.1 has it; on older kernels the epoll backend serves better. None is made
    /// there to be looked at: the kernel interrupts the thread that had a ring in one of its later
    /// calls (EINTR in the host's own epoll_wait), some milliseconds after the ring was closed.
    pub(crate) fn create_of_the_floor(config: Config) -> Result<(Uring, Queues), Errno> {
        let floor = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        let floor = floor & !config.excluded;
        match Self::create(Config { required: config.required | floor, ..config }) {
            Err(Errno::EINVAL) => Err(Errno::ENOSYS),
            made => made,
        }
    }

    fn create_ring(mut config: Config) -> Result<(Ring, Queues), Errno> {
        let mut retry = 0;
        loop {
            match Ring::create(config) {
                Err(Errno::ENOMEM) if retry < RETRIES && memory_may_come_back() => {
                    clock::sleep_ns(1_000_000 << retry);
                    retry += 1;
                }
                Err(Errno::ENOMEM) if config.sq_entries <= ENTRIES_MIN => {
                    IN_VAIN_NS.store(clock::now_ns(), Ordering::Relaxed);
                    return Err(Errno::ENOMEM);
                }
                Err(Errno::ENOMEM) => {
                    // Rings that this process has just closed will come: a little more patience.
                    if happened(&CLOSED_NS, LATE_NS) {
                        clock::sleep_ns(1_000_000 << (RETRIES - 1));
                    }
                    config.sq_entries /= 2;
                    config.cq_entries = (config.cq_entries / 2).max(config.sq_entries);
                }
                made => return made,
            }
        }
    }

    /// Workers are the calling thread's: they are limited when it is known which thread that is.
    pub(super) fn enable(&mut self) -> Result<(), Errno> {
        self.ring.enable()?;
        let Some(asked) = &self.asked else { return Ok(()) };
        if asked.workers != [0; 2] {
            self.ring.limit_workers(asked.workers)?;
        }
        match &asked.worker_cpus {
            Some(cpus) => self.ring.place_workers(cpus),
            None => Ok(()),
        }
    }

    /// For `enable`.
    pub(super) fn limit_workers(&mut self, workers: [u32; 2], cpus: Option<Cpus>) {
        if workers != [0; 2] || cpus.is_some() {
            let asked = self.asked.get_or_insert_default();
            (asked.workers, asked.worker_cpus) = (workers, cpus);
        }
    }

    /// Waits with a limit are to be registered ones, if these are.
    pub(super) fn wait_by(&mut self, waiting: Waiting) {
        if waiting.is_registered() {
            self.asked.get_or_insert_default().waiting = Some(waiting);
        }
    }

    pub(super) fn setup_flags(&self) -> u32 {
        self.ring.setup_flags
    }

    pub(super) fn features(&self) -> u32 {
        self.ring.features
    }

    pub(super) fn supports(&self, opcode: u8) -> bool {
        self.opcodes[usize::from(opcode >> 6)] >> (opcode & 63) & 1 != 0
    }

    #[inline(always)]
    pub(super) fn enter(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        self.system_calls += 1;
        if let (Some(Wait::For(ns)), Some(asked)) = (wait, &self.asked)
            && let Some(waiting) = &asked.waiting
        {
            return waiting.enter_for(&self.ring, queues, ns);
        }
        self.ring.enter(queues, wait)
    }

    #[inline(always)]
    pub(super) fn enter_plainly(&mut self, queues: &mut Queues) -> Option<u32> {
        self.ring.enter_plainly(queues)
    }

    pub(super) fn register_event_fd(&mut self, event_fd: i32) -> Result<(), Errno> {
        self.ring.register_event_fd(event_fd)
    }

    /// Before Linux 6.13 giving registered buffers up waits for the operations that use them.
    pub(super) fn gives_up_areas_at_once(&self) -> bool {
        kernel_version() >= (6, 13)
    }

    /// Clones have no tags, by which one would know when an older kernel can give them up.
    pub(super) fn clone_areas(&mut self, source: &Uring) -> Result<(), Errno> {
        if !self.gives_up_areas_at_once() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.ring.clone_areas(&source.ring)
    }

    pub(super) fn register_files(&mut self, count: u32, range: Range<u32>) -> Result<(), Errno> {
        self.ring.register_files(count, range)?;
        self.has_files = true;
        Ok(())
    }

    pub(super) fn update_files(&mut self, first: u32, fds: &[i32]) -> Result<u32, Errno> {
        self.ring.update_files(first, fds)
    }

    /// A table that is not there costs no call.
    pub(super) fn unregister_files(&mut self) -> Result<(), Errno> {
        if !self.has_files {
            return Err(Errno::ENXIO);
        }
        self.ring.unregister_files()?;
        self.has_files = false;
        Ok(())
    }

    pub(super) fn has_bundles(&self) -> bool {
        self.ring.features & IORING_FEAT_RECVSEND_BUNDLE != 0
    }

    /// Kernels without incremental buffers (before 6.12) take them whole.
    pub(super) fn register_buffers(
        &mut self, group: u16, ring: &BufferRing, incremental: bool,
    ) -> Result<bool, Errno> {
        let (address, entries) = (ring.address(), ring.entries());
        if incremental && self.ring.register_buffers(group, address, entries, true).is_ok() {
            return Ok(true);
        }
        match self.ring.register_buffers(group, address, entries, false) {
            Ok(()) => Ok(false),
            Err(Errno::EINVAL) => Err(Errno::EOPNOTSUPP), // Before Linux 5.19.
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn buffers_head(&mut self, group: u16) -> Option<u16> {
        self.ring.buffers_head(group).ok()
    }

    pub(super) fn unregister_buffers(&mut self, group: u16) {
        // It was registered, so that this cannot fail.
        let _ = self.ring.unregister_buffers(group);
    }

    pub(super) fn retire(&mut self) {
        self.ring.release_registration();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        CLOSED_NS.store(clock::now_ns(), Ordering::Relaxed);
    }
}

/// Whether waiting is worth it: a ring was closed a moment ago, here or, for all one knows, by
/// another process of the same user.
fn memory_may_come_back() -> bool {
    happened(&CLOSED_NS, LATE_NS) || !happened(&IN_VAIN_NS, PATIENCE_NS)
}

fn happened(at: &AtomicU64, within_ns: u64) -> bool {
    let at_ns = at.load(Ordering::Relaxed);
    at_ns != 0 && clock::now_ns().saturating_sub(at_ns) < within_ns
}
