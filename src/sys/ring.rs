//! One io_uring instance: set-up, and the calls on it; its two queues are `queues.rs`. Only
//! `engine/backend/uring.rs` drives it. It decides nothing about what to submit or when.

use crate::sys::calls::Calls;
use crate::sys::clock::timespec;
use crate::sys::entry::GROUP_FIRST;
use crate::sys::errno::Errno;
use crate::sys::queues::Queues;
use linux_raw_sys::io_uring as abi;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Weak};

pub(crate) use abi::{
    IORING_ENTER_EXT_ARG, IORING_ENTER_GETEVENTS, IORING_ENTER_NO_IOWAIT, IORING_ENTER_SQ_WAIT,
    IORING_ENTER_SQ_WAKEUP, IORING_FEAT_RECVSEND_BUNDLE, IORING_SETUP_ATTACH_WQ,
    IORING_SETUP_CQE32, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_HYBRID_IOPOLL,
    IORING_SETUP_IOPOLL, IORING_SETUP_NO_SQARRAY, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_SQ_AFF,
    IORING_SETUP_SQE128, IORING_SETUP_SQPOLL, IORING_SETUP_SUBMIT_ALL,
};

/// What a ring is made with; `required` flags are never dropped, `excluded` ones never asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Config {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub required: u32,
    pub excluded: u32,
    /// Of a polling thread.
    pub thread_cpu: u32,
    pub thread_idle_ms: u32,
    /// The ring whose thread is shared.
    pub shared_fd: u32,
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
    enabled: bool,
    pub(crate) setup_flags: u32,
    pub(crate) features: u32,
    fd: Arc<OwnedFd>,
}

/// A ring as other threads know it: there as long as its owner has not closed it.
#[derive(Clone)]
pub(crate) struct Address(Weak<OwnedFd>);

impl Address {
    pub(crate) fn open(&self) -> Option<OpenRing> {
        self.0.upgrade().map(OpenRing)
    }
}

/// A ring whose descriptor keeps its number, also when the owner closes it meanwhile: entries that
/// name it never reach another file.
pub(crate) struct OpenRing(Arc<OwnedFd>);

impl OpenRing {
    pub(crate) fn raw(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

const IOU_PBUF_RING_INC: u16 = abi::io_uring_register_pbuf_ring_flags::IOU_PBUF_RING_INC as u16;

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
            let optional = optional & !config.excluded;
            // SAFETY: zeroes are a valid io_uring_params.
            let mut params: abi::io_uring_params = unsafe { std::mem::zeroed() };
            params.flags = config.required
                | optional
                | abi::IORING_SETUP_R_DISABLED
                | abi::IORING_SETUP_CLAMP
                | abi::IORING_SETUP_CQSIZE;
            params.cq_entries = config.cq_entries;
            params.sq_thread_cpu = config.thread_cpu;
            params.sq_thread_idle = config.thread_idle_ms;
            params.wq_fd = config.shared_fd;
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
            enabled: false,
            setup_flags: params.flags,
            features: params.features,
            fd: Arc::new(fd),
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
        if self.enabled {
            return Ok(());
        }
        self.register(abi::io_uring_register_op::IORING_REGISTER_ENABLE_RINGS as u32, 0, 0)?;
        self.enabled = true;
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

    /// Makes a table of `count` empty slots for direct descriptors, of which `range` is what the
    /// kernel gives out by itself. Linux 5.19; a range that is not all of it: 6.0.
    pub(crate) fn register_files(&mut self, count: u32, range: Range<u32>) -> Result<(), Errno> {
        let table = abi::io_uring_rsrc_register {
            nr: count,
            flags: abi::IORING_RSRC_REGISTER_SPARSE,
            resv2: 0,
            data: 0,
            tags: 0,
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_FILES2 as u32;
        self.register(opcode, &raw const table as usize, size_of_val(&table) as u32)?;
        if range == (0..count) {
            return Ok(());
        }
        let own = abi::io_uring_file_index_range {
            off: range.start,
            len: range.end - range.start,
            resv: 0,
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_FILE_ALLOC_RANGE as u32;
        self.register(opcode, &raw const own as usize, 0).map(drop).inspect_err(|_| {
            let _ = self.unregister_files();
        })
    }

    /// Puts descriptors into slots from `first` on, -1 for none; returns how many slots it got to.
    pub(crate) fn update_files(&mut self, first: u32, fds: &[i32]) -> Result<u32, Errno> {
        let update =
            abi::io_uring_files_update { offset: first, resv: 0, fds: fds.as_ptr() as u64 };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_FILES_UPDATE as u32;
        let updated = self.register(opcode, &raw const update as usize, fds.len() as u32)?;
        Ok(updated as u32)
    }

    pub(crate) fn unregister_files(&mut self) -> Result<(), Errno> {
        let opcode = abi::io_uring_register_op::IORING_UNREGISTER_FILES as u32;
        self.register(opcode, 0, 0).map(drop)
    }

    /// Lets receives take their buffers from the ring at `address`, under the name `group`.
    /// `incremental`: a buffer is used up piece by piece (Linux 6.12). The memory must stay until
    /// the group is unregistered or the ring gone.
    pub(crate) fn register_buffers(
        &mut self, group: u16, address: u64, entries: u32, incremental: bool,
    ) -> Result<(), Errno> {
        let reg = abi::io_uring_buf_reg {
            ring_addr: address,
            ring_entries: entries,
            bgid: GROUP_FIRST + group,
            flags: if incremental { IOU_PBUF_RING_INC } else { 0 },
            resv: [0; 3],
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_PBUF_RING as u32;
        self.register(opcode, &raw const reg as usize, 1).map(drop)
    }

    /// How far the buffers of a group were taken. Linux 6.8.
    pub(crate) fn buffers_head(&mut self, group: u16) -> Result<u16, Errno> {
        let mut status = abi::io_uring_buf_status {
            buf_group: u32::from(GROUP_FIRST + group),
            head: 0,
            resv: [0; 8],
        };
        let opcode = abi::io_uring_register_op::IORING_REGISTER_PBUF_STATUS as u32;
        self.register(opcode, &raw mut status as usize, 1)?;
        Ok(status.head as u16)
    }

    pub(crate) fn unregister_buffers(&mut self, group: u16) -> Result<(), Errno> {
        // SAFETY: zeroes are a valid io_uring_buf_reg.
        let mut reg: abi::io_uring_buf_reg = unsafe { std::mem::zeroed() };
        reg.bgid = GROUP_FIRST + group;
        let opcode = abi::io_uring_register_op::IORING_UNREGISTER_PBUF_RING as u32;
        self.register(opcode, &raw const reg as usize, 1).map(drop)
    }

    /// Whether a filter lets `probe` ask.
    pub(crate) fn may_probe(&mut self) -> Result<(), Errno> {
        // Written to, although no opcode is asked for.
        let mut head = [0u64; 2];
        let opcode = abi::io_uring_register_op::IORING_REGISTER_PROBE as u32;
        self.register(opcode, &raw mut head as usize, 0).map(drop)
    }

    /// Nobody stands between the ring and the kernel.
    pub(crate) fn is_the_kernels(&self) -> bool {
        self.calls.are_the_kernels()
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

    /// Another descriptor of the ring, close-on-exec.
    pub(super) fn duplicate(&self) -> Result<OwnedFd, Errno> {
        self.fd.try_clone().map_err(|error| Errno(error.raw_os_error().unwrap_or(Errno::EMFILE.0)))
    }

    pub(crate) fn address(&self) -> Address {
        Address(Arc::downgrade(&self.fd))
    }

    /// The ring's own descriptor.
    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    pub(super) fn register(&mut self, opcode: u32, arg: usize, count: u32) -> Result<i32, Errno> {
        // SAFETY: every caller, here, in facility.rs, interface_queue.rs and registered.rs, passes
        // an argument that fits its opcode and lives during the call.
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
                let time = timespec(ns);
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

    /// The same for a sleep without a limit, in the fewest steps. None: not everything was taken,
    /// or nothing, and another enter will say why.
    #[inline(always)]
    pub(crate) fn enter_plainly(&mut self, queues: &mut Queues) -> Option<u32> {
        let staged = queues.publish_plainly();
        let taken = self.call(staged, 1, IORING_ENTER_GETEVENTS, 0, 0);
        if taken != staged as i32 {
            queues.taken(taken.max(0) as u32);
            return None;
        }
        queues.taken_plainly(staged);
        Some(staged)
    }

    #[inline(always)]
    pub(crate) fn call_enter(
        &self, staged: u32, complete: u32, flags: u32, arg: usize, size: usize,
    ) -> Result<u32, Errno> {
        Errno::check(self.call(staged, complete, flags, arg, size)).map(|taken| taken as u32)
    }

    #[inline(always)]
    fn call(&self, staged: u32, complete: u32, flags: u32, arg: usize, size: usize) -> i32 {
        let fd = self.enter_fd as u32 as usize;
        let flags = (flags | self.enter_flags) as usize;
        // SAFETY: our descriptor (or its registration); `arg` lives on the caller's frame.
        unsafe { (self.calls.enter)(fd, staged as usize, complete as usize, flags, arg, size) }
    }
}
