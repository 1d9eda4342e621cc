//! Finding out what the running kernel offers, by asking it: rings that are made for one question
//! and closed again, and what /proc and /sys say about why something is refused. Changes nothing
//! for anybody else. Who asks, and what the answers mean, is `engine/probe.rs`.

use crate::sys::calls::Calls;
use crate::sys::errno::Errno;
use crate::sys::interface_queue;
use linux_raw_sys::io_uring as abi;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

pub(crate) use abi::io_uring_register_op as Register;
pub(crate) use abi::{
    IORING_FEAT_MIN_TIMEOUT, IORING_FEAT_NO_IOWAIT, IORING_FEAT_RECVSEND_BUNDLE,
    IORING_SETUP_ATTACH_WQ, IORING_SETUP_HYBRID_IOPOLL, IORING_SETUP_IOPOLL, IORING_SETUP_SQPOLL,
};

/// A disabled ring of the smallest size.
pub(crate) struct Scratch {
    calls: &'static Calls,
    fd: OwnedFd,
    pub(crate) features: u32,
}

impl Scratch {
    pub(crate) fn create(flags: u32) -> Result<Scratch, Errno> {
        Self::create_attached(flags, 0)
    }

    /// One that shares the threads of another.
    pub(crate) fn attach(&self, flags: u32) -> Result<Scratch, Errno> {
        Self::create_attached(flags | IORING_SETUP_ATTACH_WQ, self.fd.as_raw_fd() as u32)
    }

    fn create_attached(flags: u32, other: u32) -> Result<Scratch, Errno> {
        let calls = Calls::installed();
        // SAFETY: zeroes are a valid io_uring_params.
        let mut params: abi::io_uring_params = unsafe { std::mem::zeroed() };
        params.flags = flags | abi::IORING_SETUP_R_DISABLED;
        params.wq_fd = other;
        // SAFETY: `params` is valid for the call.
        let fd = Errno::check(unsafe { (calls.setup)(1, &mut params) })?;
        // SAFETY: a new descriptor, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Scratch { calls, fd, features: params.features })
    }

    /// Whether the kernel knows a register call, which gets a pointer to nothing: one that is known
    /// says EFAULT. `count`: what the call wants there.
    pub(crate) fn knows(&self, what: Register, count: u32) -> Result<(), Errno> {
        const NOWHERE: usize = 8;
        match self.register(what, NOWHERE, count) {
            Err(Errno::EFAULT) | Ok(_) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// A table of one empty slot, of files or of buffers.
    pub(crate) fn make_table(&self, what: Register) -> Result<(), Errno> {
        let table = abi::io_uring_rsrc_register {
            nr: 1,
            flags: abi::IORING_RSRC_REGISTER_SPARSE,
            resv2: 0,
            data: 0,
            tags: 0,
        };
        self.register(what, &raw const table as usize, size_of_val(&table) as u32).map(drop)
    }

    /// A ring of one buffer, of the kernel's memory, that is used up piece by piece.
    pub(crate) fn make_incremental_buffers(&self) -> Result<(), Errno> {
        const MMAP: u16 = 1;
        const INCREMENTAL: u16 = 2;
        let ring = abi::io_uring_buf_reg {
            ring_addr: 0,
            ring_entries: 1,
            bgid: 0,
            flags: MMAP | INCREMENTAL,
            resv: [0; 3],
        };
        self.register(Register::IORING_REGISTER_PBUF_RING, &raw const ring as usize, 1).map(drop)
    }

    pub(crate) fn set_napi(&self) -> Result<(), Errno> {
        let mut napi = abi::io_uring_napi {
            busy_poll_to: 1,
            prefer_busy_poll: 0,
            opcode: 0,
            pad: [0; 2],
            op_param: 0,
            resv: 0,
        };
        self.register(Register::IORING_REGISTER_NAPI, &raw mut napi as usize, 1).map(drop)
    }

    pub(crate) fn set_clock(&self) -> Result<(), Errno> {
        let clock =
            abi::io_uring_clock_register { clockid: libc::CLOCK_BOOTTIME as u32, __resv: [0; 3] };
        self.register(Register::IORING_REGISTER_CLOCK, &raw const clock as usize, 0).map(drop)
    }

    /// Whether a network interface could bring receives without a copy. Each is asked for a queue
    /// that none has: a driver that knows of such queues looks for it (ERANGE), and no other does.
    pub(crate) fn has_capable_interface(&self) -> Result<bool, Errno> {
        let mut refused = Err(Errno::EOPNOTSUPP);
        for interface in interface_queue::interfaces() {
            refused = interface_queue::ask(interface, |reg| {
                self.register(Register::IORING_REGISTER_ZCRX_IFQ, reg, 1).map(drop)
            });
            if refused == Err(Errno::ERANGE) {
                return Ok(true);
            }
        }
        if refused == Err(Errno::EPERM) { Err(Errno::EPERM) } else { Ok(false) }
    }

    fn register(&self, what: Register, arg: usize, count: u32) -> Result<i32, Errno> {
        // SAFETY: every caller above passes an argument that fits the call and lives on its frame,
        // or an address at which nothing is.
        let result = unsafe { (self.calls.register)(self.fd.as_raw_fd(), what as u32, arg, count) };
        Errno::check(result)
    }
}

/// `kernel.io_uring_disabled` (Linux 6.6); None where there is no such sysctl.
pub(crate) fn disabled_by_sysctl() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

/// Whether the calling thread's system calls are filtered.
pub(crate) fn is_filtered() -> bool {
    const FILTER: &str = "2";
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == FILTER)
}

/// Whether any block device has queues that can be polled.
pub(crate) fn has_polled_device() -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/block") else { return false };
    devices.flatten().any(|device| {
        let text = std::fs::read_to_string(device.path().join("queue/io_poll"));
        text.is_ok_and(|text| text.trim() == "1")
    })
}
