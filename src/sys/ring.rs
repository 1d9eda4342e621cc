//! One io_uring instance: set-up, its two queues in shared memory, and the calls on it. Hides where
//! the queues lie, how wide their entries are, and which memory order pairs with the kernel's.
//! Only `engine/backend/uring.rs` drives it. It decides nothing about what to submit or when.

use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::calls::Calls;
use crate::sys::entry::{Cqe, Sqe, WideSqe};
use crate::sys::errno::Errno;
use crate::sys::memory::Mapping;
use linux_raw_sys::io_uring as abi;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(crate) use abi::{
    IORING_ENTER_EXT_ARG, IORING_ENTER_GETEVENTS, IORING_SETUP_CQE32, IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_NO_SQARRAY, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_SQE128,
    IORING_SETUP_SUBMIT_ALL,
};

/// What a ring is made with; `required` flags are never dropped.
#[derive(Clone, Copy)]
pub(crate) struct Config {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub required: u32,
}

/// Flags that make a ring faster and can be done without, newest first: NO_SQARRAY is of Linux 6.6,
/// DEFER_TASKRUN of 6.1, SINGLE_ISSUER of 6.0, SUBMIT_ALL of 5.18.
pub(crate) const OPTIONAL: [u32; 4] = [
    IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_DEFER_TASKRUN,
    IORING_SETUP_SINGLE_ISSUER,
    IORING_SETUP_SUBMIT_ALL,
];

pub(crate) struct Ring {
    calls: &'static Calls,
    /// Sum of the submission entries handed out; published by `publish`.
    sq_tail: u32,
    /// The tail at which the plain path must stop: the queue is full, or `blocked`.
    sq_limit: u32,
    /// What of it the kernel has taken.
    sq_taken: u32,
    blocked: bool,
    sq_mask: u32,
    sq_entries: u32,
    sqe_shift: u32,
    sqes: *mut u8,
    sq_tail_shared: *const AtomicU32,
    sq_flags: *const AtomicU32,
    cq_head: u32,
    /// The kernel's tail as last seen.
    cq_tail: u32,
    /// Where `peek` stops.
    cq_limit: u32,
    cq_mask: u32,
    cqe_shift: u32,
    cqes: *const u8,
    cq_head_shared: *const AtomicU32,
    cq_tail_shared: *const AtomicU32,
    enter_fd: i32,
    enter_flags: u32,
    pub(crate) setup_flags: u32,
    pub(crate) features: u32,
    pub(crate) cq_entries: u32,
    fd: OwnedFd,
    maps: Option<(Mapping, Mapping)>,
}

/// How long a wait may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Do not sleep; run what the kernel has deferred to us.
    Poll,
    /// Until one completion is there, at most this long.
    For(u64),
    /// Until one completion is there.
    Forever,
}

impl Ring {
    /// Makes a disabled ring. The kernel's refusal comes back as it was.
    pub(crate) fn create(config: Config) -> Result<Ring, Errno> {
        let calls = Calls::installed();
        let mut dropped = 0;
        let (fd, params) = loop {
            let optional: u32 = OPTIONAL[dropped..].iter().sum();
            // SAFETY: zeroes are a valid io_uring_params.
            let mut params: abi::io_uring_params = unsafe { std::mem::zeroed() };
            params.flags = config.required
                | optional
                | abi::IORING_SETUP_R_DISABLED
                | abi::IORING_SETUP_CLAMP
                | abi::IORING_SETUP_CQSIZE;
            params.cq_entries = config.cq_entries;
            // SAFETY: `params` is valid for the call.
            match Errno::check(unsafe { (calls.setup)(config.sq_entries, &mut params) }) {
                // SAFETY: a new descriptor, owned by nobody else.
                Ok(fd) => break (unsafe { OwnedFd::from_raw_fd(fd) }, params),
                Err(Errno::EINVAL) if dropped < OPTIONAL.len() => dropped += 1,
                Err(errno) => return Err(errno),
            }
        };
        Ring::map(calls, fd, &params)
    }

    fn map(
        calls: &'static Calls, fd: OwnedFd, params: &abi::io_uring_params,
    ) -> Result<Ring, Errno> {
        if params.features & abi::IORING_FEAT_SINGLE_MMAP == 0
            || params.features & abi::IORING_FEAT_NODROP == 0
            || params.features & abi::IORING_FEAT_EXT_ARG == 0
        {
            return Err(Errno::ENOSYS); // Before Linux 5.11: the fallback serves.
        }
        let sqe_shift = if params.flags & IORING_SETUP_SQE128 != 0 { 7 } else { 6 };
        let cqe_shift = if params.flags & IORING_SETUP_CQE32 != 0 { 5 } else { 4 };
        let (sq, cq) = (&params.sq_off, &params.cq_off);
        let cq_end = cq.cqes as usize + ((params.cq_entries as usize) << cqe_shift);
        let sq_end = if params.flags & IORING_SETUP_NO_SQARRAY == 0 {
            sq.array as usize + params.sq_entries as usize * size_of::<u32>()
        } else {
            0
        };
        let raw = fd.as_raw_fd();
        let queues = Mapping::of_ring(raw, cq_end.max(sq_end), abi::IORING_OFF_SQ_RING.into())?;
        let entries_len = (params.sq_entries as usize) << sqe_shift;
        let entries = Mapping::of_ring(raw, entries_len, abi::IORING_OFF_SQES.into())?;
        if params.flags & IORING_SETUP_NO_SQARRAY == 0 {
            for index in 0..params.sq_entries {
                // SAFETY: inside the mapping (`at` asserts); the kernel reads it only in enter.
                unsafe { queues.at::<u32>(sq.array + index * 4).write(index) };
            }
        }
        Ok(Ring {
            calls,
            sq_tail: 0,
            sq_limit: params.sq_entries,
            sq_taken: 0,
            blocked: false,
            sq_mask: params.sq_entries - 1,
            sq_entries: params.sq_entries,
            sqe_shift,
            sqes: entries.at(0),
            sq_tail_shared: queues.at(sq.tail),
            sq_flags: queues.at(sq.flags),
            cq_head: 0,
            cq_tail: 0,
            cq_limit: 0,
            cq_mask: params.cq_entries - 1,
            cqe_shift,
            cqes: queues.at(cq.cqes),
            cq_head_shared: queues.at(cq.head),
            cq_tail_shared: queues.at(cq.tail),
            enter_fd: raw,
            enter_flags: 0,
            setup_flags: params.flags,
            features: params.features,
            cq_entries: params.cq_entries,
            fd,
            maps: Some((queues, entries)),
        })
    }

    /// Enables the ring for the calling thread, which alone may submit to it from now on.
    pub(crate) fn enable(&mut self) -> Result<(), Errno> {
        self.register(abi::io_uring_register_op::IORING_REGISTER_ENABLE_RINGS as u32, 0, 0)?;
        // A registered descriptor saves the file look-up in every enter; it is per thread, and a
        // thread has 16 of them, so that going without is normal. Linux 5.18.
        let mut update = abi::io_uring_rsrc_update {
            offset: u32::MAX,
            resv: 0,
            data: self.fd.as_raw_fd() as u64,
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_RING_FDS as u32;
        if self.register(opcode, &raw mut update as usize, 1) == Ok(1) {
            self.enter_fd = update.offset as i32;
            self.enter_flags = abi::IORING_ENTER_REGISTERED_RING;
        }
        Ok(())
    }

    /// Gives the registered descriptor back; the ring stays usable through its own.
    pub(crate) fn release_registration(&mut self) {
        if self.enter_flags == 0 {
            return;
        }
        let mut update =
            abi::io_uring_rsrc_update { offset: self.enter_fd as u32, resv: 0, data: 0 };
        let opcode = abi::io_uring_register_op::IORING_UNREGISTER_RING_FDS as u32;
        let _ = self.register(opcode, &raw mut update as usize, 1);
        self.enter_fd = self.fd.as_raw_fd();
        self.enter_flags = 0;
    }

    /// Makes the kernel signal `event_fd` whenever there is something to reap.
    pub(crate) fn register_event_fd(&mut self, event_fd: i32) -> Result<(), Errno> {
        let opcode = abi::io_uring_register_op::IORING_REGISTER_EVENTFD as u32;
        self.register(opcode, &raw const event_fd as usize, 1).map(drop)
    }

    /// Which opcodes the kernel has, a bit each.
    pub(crate) fn probe(&mut self) -> Result<[u64; 4], Errno> {
        #[repr(C)]
        struct Probe {
            head: [u8; 16],
            ops: [[u8; 8]; 256],
        }
        let mut probe = Probe { head: [0; 16], ops: [[0; 8]; 256] };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_PROBE as u32;
        self.register(opcode, &raw mut probe as usize, 256)?;
        let mut bits = [0; 4];
        for op in &probe.ops[..usize::from(probe.head[1])] {
            let supported = op[2] & 1 != 0; // IO_URING_OP_SUPPORTED in `flags`, a u16 at offset 2.
            bits[usize::from(op[0] >> 6)] |= u64::from(supported) << (op[0] & 63);
        }
        Ok(bits)
    }

    fn register(&mut self, opcode: u32, arg: usize, count: u32) -> Result<i32, Errno> {
        // SAFETY: every caller above passes an argument that fits its opcode and lives on its
        // frame.
        Errno::check(unsafe { (self.calls.register)(self.fd.as_raw_fd(), opcode, arg, count) })
    }

    pub(crate) fn sq_entries(&self) -> u32 {
        self.sq_entries
    }

    pub(crate) fn sqe_size(&self) -> u32 {
        1 << self.sqe_shift
    }

    pub(crate) fn cqe_size(&self) -> u32 {
        1 << self.cqe_shift
    }

    /// Entries handed out that the kernel has not taken.
    #[inline(always)]
    pub(crate) fn staged(&self) -> u32 {
        self.sq_tail.wrapping_sub(self.sq_taken)
    }

    #[inline(always)]
    pub(crate) fn space(&self) -> u32 {
        self.sq_entries - self.staged()
    }

    /// Whether the plain path may `claim` an entry.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.sq_tail != self.sq_limit
    }

    /// Makes `has_room` say no, whatever there is.
    pub(crate) fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
        self.set_limit();
    }

    #[inline(always)]
    fn set_limit(&mut self) {
        let full = self.sq_taken.wrapping_add(self.sq_entries);
        self.sq_limit = if self.blocked { self.sq_tail } else { full };
    }

    /// The next submission entry, zeroed; there must be space. It counts as staged at once; the
    /// kernel does not look before `enter`.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> &mut Sqe {
        debug_assert!(self.space() > 0);
        let offset = ((self.sq_tail & self.sq_mask) as usize) << self.sqe_shift;
        self.sq_tail = self.sq_tail.wrapping_add(1);
        // SAFETY: the masked offset is inside the mapping of entries, which lives as long as self;
        // between `staged` entries nobody else reads or writes this one.
        unsafe {
            let entry = self.sqes.add(offset).cast::<Sqe>();
            entry.write(Sqe::default());
            &mut *entry
        }
    }

    /// Stages a copy of `wide`, with its second half where entries have one; there must be space.
    pub(crate) fn push(&mut self, wide: &WideSqe) {
        let is_wide = self.sqe_shift == 7;
        let entry = self.claim();
        *entry = wide.sqe;
        if is_wide {
            // SAFETY: with a shift of 7 the entry is followed by its other 64 bytes.
            unsafe { std::ptr::from_mut(entry).add(1).cast::<[u64; 8]>().write(wide.tail) };
        }
        self.set_limit();
    }

    /// Hands staged entries over and, with `wait`, sleeps for a completion. Returns how many were
    /// taken; fewer than staged if the kernel could not take all.
    #[inline(always)]
    pub(crate) fn enter(&mut self, wait: Option<Wait>) -> Result<u32, Errno> {
        let staged = self.staged();
        // SAFETY: both words are in the mapping. Release pairs with the kernel's acquire of the
        // tail (the entries are written before it) and of the head (our reads are done).
        unsafe {
            (*self.sq_tail_shared).store(self.sq_tail, Ordering::Release);
            (*self.cq_head_shared).store(self.cq_head, Ordering::Release);
        }
        let taken = match wait {
            None => self.call_enter(staged, 0, 0, 0, 0),
            Some(Wait::Poll) => self.call_enter(staged, 0, IORING_ENTER_GETEVENTS, 0, 0),
            Some(Wait::Forever) => self.call_enter(staged, 1, IORING_ENTER_GETEVENTS, 0, 0),
            Some(Wait::For(ns)) => {
                let time = abi::__kernel_timespec {
                    tv_sec: (ns / 1_000_000_000) as i64,
                    tv_nsec: (ns % 1_000_000_000) as i64,
                };
                let arg = abi::io_uring_getevents_arg {
                    sigmask: 0,
                    sigmask_sz: 0,
                    min_wait_usec: 0,
                    ts: &raw const time as u64,
                };
                let flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
                self.call_enter(staged, 1, flags, &raw const arg as usize, size_of_val(&arg))
            }
        }?;
        self.sq_taken = self.sq_taken.wrapping_add(taken);
        self.set_limit();
        Ok(taken)
    }

    #[inline(always)]
    fn call_enter(
        &mut self, staged: u32, complete: u32, flags: u32, arg: usize, size: usize,
    ) -> Result<u32, Errno> {
        let flags = flags | self.enter_flags;
        // SAFETY: our descriptor (or its registration); `arg` lives on the caller's frame.
        let taken =
            unsafe { (self.calls.enter)(self.enter_fd, staged, complete, flags, arg, size) };
        Errno::check(taken).map(|taken| taken as u32)
    }

    /// Completions that are there; looks at the kernel's tail.
    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        // SAFETY: in the mapping. Acquire pairs with the kernel's release of the tail, so that the
        // entries before it are complete.
        self.cq_tail = unsafe { (*self.cq_tail_shared).load(Ordering::Acquire) };
        self.cq_tail.wrapping_sub(self.cq_head)
    }

    /// Lets `peek` see as many as `count` of those that `ready` counted.
    pub(crate) fn offer(&mut self, count: u32) {
        self.cq_limit = self.cq_head.wrapping_add(count);
    }

    /// The oldest completion that was offered; `advance` takes it. Its `extra` is not read.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<Cqe> {
        (self.cq_head != self.cq_limit).then(|| self.read(false))
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.cq_head = self.cq_head.wrapping_add(1);
    }

    /// Takes the oldest completion that was offered.
    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        if self.cq_head == self.cq_limit { None } else { self.pop() }
    }

    /// Takes the oldest completion of those that the last `ready` counted.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        if self.cq_head == self.cq_tail {
            return None;
        }
        let cqe = self.read(self.cqe_shift == 5);
        self.advance();
        Some(cqe)
    }

    #[inline(always)]
    fn read(&self, with_extra: bool) -> Cqe {
        let offset = ((self.cq_head & self.cq_mask) as usize) << self.cqe_shift;
        // SAFETY: the masked offset is inside the mapping, and the entry is before the tail that
        // was read with acquire; the kernel does not reuse it before the head is stored.
        unsafe {
            let entry = self.cqes.add(offset).cast::<u64>();
            let word = entry.add(1).read();
            let extra = if with_extra { entry.add(2).read() } else { 0 };
            Cqe {
                user_data: entry.read(),
                result: word as u32 as i32,
                flags: (word >> 32) as u32,
                extra,
            }
        }
    }

    /// Whether completions wait outside the queue for the next enter with get-events.
    #[inline(always)]
    pub(crate) fn overflown(&self) -> bool {
        // SAFETY: in the mapping. Relaxed: a hint; the enter that it leads to synchronises.
        let flags = unsafe { (*self.sq_flags).load(Ordering::Relaxed) };
        flags & abi::IORING_SQ_CQ_OVERFLOW != 0
    }

    /// For a forked child's copy: the mappings do not exist here, only the descriptor is closed.
    pub(crate) fn abandon_maps(&mut self) {
        if let Some((queues, entries)) = self.maps.take() {
            queues.forget();
            entries.forget();
        }
    }
}
