//! One io_uring instance: set-up, and the calls on it; its two queues are `queues.rs`. Only
//! `engine/backend/uring.rs` drives it. It decides nothing about what to submit or when.

use crate::sys::calls::Calls;
use crate::sys::errno::Errno;
use crate::sys::queues::Queues;
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
    enter_fd: i32,
    enter_flags: u32,
    pub(crate) setup_flags: u32,
    pub(crate) features: u32,
    fd: OwnedFd,
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
    pub(crate) fn create(config: Config) -> Result<(Ring, Queues), Errno> {
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
    ) -> Result<(Ring, Queues), Errno> {
        if params.features & abi::IORING_FEAT_SINGLE_MMAP == 0
            || params.features & abi::IORING_FEAT_NODROP == 0
            || params.features & abi::IORING_FEAT_EXT_ARG == 0
        {
            return Err(Errno::ENOSYS); // Before Linux 5.11: the fallback serves.
        }
        let raw = fd.as_raw_fd();
        let queues = Queues::of_ring(raw, params)?;
        let ring = Ring {
            calls,
            enter_fd: raw,
            enter_flags: 0,
            setup_flags: params.flags,
            features: params.features,
            fd,
        };
        Ok((ring, queues))
    }

    /// Whether the ring may be entered at all: a filter can allow setting it up and nothing else.
    pub(crate) fn check_enter(&self) -> Result<(), Errno> {
        match self.call_enter(0, 0, 0, 0, 0) {
            // The good answer: the ring is still disabled.
            Err(Errno::EBADFD) => Ok(()),
            Err(errno @ (Errno::EPERM | Errno::EACCES | Errno::ENOSYS)) => Err(errno),
            _ => Ok(()),
        }
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

    pub(super) fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    pub(super) fn register(&mut self, opcode: u32, arg: usize, count: u32) -> Result<i32, Errno> {
        // SAFETY: every caller, here and in `registered.rs`, passes an argument that fits its
        // opcode and lives on its frame.
        Errno::check(unsafe { (self.calls.register)(self.fd.as_raw_fd(), opcode, arg, count) })
    }

    /// Hands staged entries over and, with `wait`, sleeps for a completion. Returns how many were
    /// taken; fewer than staged if the kernel could not take all.
    #[inline(always)]
    pub(crate) fn enter(&mut self, queues: &mut Queues, wait: Option<Wait>) -> Result<u32, Errno> {
        let staged = queues.staged();
        queues.publish();
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
        queues.taken(taken);
        Ok(taken)
    }

    #[inline(always)]
    fn call_enter(
        &self, staged: u32, complete: u32, flags: u32, arg: usize, size: usize,
    ) -> Result<u32, Errno> {
        let flags = flags | self.enter_flags;
        // SAFETY: our descriptor (or its registration); `arg` lives on the caller's frame.
        let taken =
            unsafe { (self.calls.enter)(self.enter_fd, staged, complete, flags, arg, size) };
        Errno::check(taken).map(|taken| taken as u32)
    }
}
