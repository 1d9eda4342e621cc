//! What a ring can be told beside submitting and waiting: busy polling, another clock, limits of
//! its workers, what it may do at all, other sizes, and waits whose argument the kernel knows by
//! heart. A call per facility; which of them a context wants is `engine/backend/tuned.rs`.

use crate::sys::clock::timespec;
use crate::sys::errno::Errno;
use crate::sys::interface_queue;
use crate::sys::memory::Region;
use crate::sys::queues::Queues;
use crate::sys::ring::Ring;
use linux_raw_sys::io_uring as abi;
use linux_raw_sys::io_uring::io_uring_register_op as Register;

/// Processors, a bit each.
pub(crate) type Cpus = [u64; 16];

/// Whether the machine can have all of these processors; yes where it cannot be known.
pub(crate) fn exist(cpus: &Cpus) -> bool {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok());
    last.is_none_or(|last| {
        let numbers =
            (0..size_of::<Cpus>() * 8).filter(|cpu| cpus[cpu / 64] >> (cpu % 64) & 1 != 0);
        numbers.max().is_some_and(|highest| highest <= last)
    })
}

/// What may be submitted, a bit per opcode.
pub(crate) type Opcodes = [u64; 4];

pub(crate) fn contains(opcodes: &Opcodes, opcode: u8) -> bool {
    opcodes[usize::from(opcode >> 6)] >> (opcode & 63) & 1 != 0
}

/// Memory for a new mapping is waited for so often, a millisecond each time.
const MAPPING_TRIES: u32 = 1000;
const REGION_LEN: usize = 4096;

impl Ring {
    /// Polls the network device for so long before a wait sleeps. Linux 6.9.
    pub(crate) fn set_napi(&mut self, usec: u32, prefer: bool) -> Result<(), Errno> {
        let mut napi = abi::io_uring_napi {
            busy_poll_to: usec,
            prefer_busy_poll: u8::from(prefer),
            opcode: 0,
            pad: [0; 2],
            op_param: 0,
            resv: 0,
        };
        self.register(Register::IORING_REGISTER_NAPI as u32, &raw mut napi as usize, 1).map(drop)
    }

    /// The clock that waits are measured with. Linux 6.12.
    pub(crate) fn set_clock(&mut self, clock: u32) -> Result<(), Errno> {
        let clock = abi::io_uring_clock_register { clockid: clock, __resv: [0; 3] };
        self.register(Register::IORING_REGISTER_CLOCK as u32, &raw const clock as usize, 0)
            .map(drop)
    }

    /// Most workers of the calling thread for calls that end by themselves, and for others; 0: as
    /// it is. Linux 5.15.
    pub(crate) fn limit_workers(&mut self, mut most: [u32; 2]) -> Result<(), Errno> {
        let opcode = Register::IORING_REGISTER_IOWQ_MAX_WORKERS as u32;
        self.register(opcode, &raw mut most as usize, 2).map(drop)
    }

    /// Where the calling thread's workers run. Linux 5.14.
    pub(crate) fn place_workers(&mut self, cpus: &Cpus) -> Result<(), Errno> {
        let opcode = Register::IORING_REGISTER_IOWQ_AFF as u32;
        let len = size_of_val(cpus) as u32;
        self.register(opcode, std::ptr::from_ref(cpus) as usize, len).map(drop)
    }

    /// Lets a disabled ring do what is `allowed` and nothing else, from its enabling on. Register
    /// calls stay, but for those that would change who the caller is. Linux 5.10.
    pub(crate) fn restrict(&mut self, allowed: &Opcodes) -> Result<(), Errno> {
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Restriction {
            what: u16,
            value: u8,
            reserved: u8,
            reserved2: [u32; 3],
        }
        let restriction = |what: u32, value: u8| Restriction {
            what: what as u16,
            value,
            reserved: 0,
            reserved2: [0; 3],
        };
        const FLAGS: u8 = 0x7f;
        const REGISTER_OP: u32 = 0;
        const SQE_OP: u32 = 1;
        const SQE_FLAGS_ALLOWED: u32 = 2;
        let personality = Register::IORING_REGISTER_PERSONALITY as u8;
        let restrictions = Register::IORING_REGISTER_RESTRICTIONS as u8;
        let opcodes = (0..=u8::MAX).filter(|&opcode| contains(allowed, opcode));
        let mut list: Vec<_> = opcodes.map(|opcode| restriction(SQE_OP, opcode)).collect();
        list.push(restriction(SQE_FLAGS_ALLOWED, FLAGS));
        let registers = 0..=interface_queue::REGISTER_CTRL as u8;
        let registers = registers.filter(|&call| call != personality && call != restrictions);
        list.extend(registers.map(|call| restriction(REGISTER_OP, call)));
        // An older kernel refuses calls that it does not know; they are the last of the list.
        loop {
            let (arg, count) = (list.as_ptr() as usize, list.len() as u32);
            let result = self.register(restrictions.into(), arg, count);
            match (result, list.last()) {
                (Err(Errno::EINVAL), Some(last))
                    if last.what == REGISTER_OP as u16
                        && last.value > Register::IORING_REGISTER_IOWQ_MAX_WORKERS as u8 =>
                {
                    list.pop();
                }
                (result, _) => return result.map(drop),
            }
        }
    }

    /// Whether the ring can be resized. Linux 6.13.
    pub(crate) fn can_resize(&mut self) -> bool {
        const NOWHERE: usize = 8;
        let opcode = Register::IORING_REGISTER_RESIZE_RINGS as u32;
        self.register(opcode, NOWHERE, 1) == Err(Errno::EFAULT)
    }

    /// Gives the ring larger queues; what is in them stays.
    pub(crate) fn resize(&mut self, queues: &mut Queues, sq: u32, cq: u32) -> Result<(), Errno> {
        queues.publish();
        // SAFETY: zeroes are a valid io_uring_params.
        let mut params: abi::io_uring_params = unsafe { std::mem::zeroed() };
        params.sq_entries = sq;
        params.cq_entries = cq;
        params.flags = abi::IORING_SETUP_CQSIZE | abi::IORING_SETUP_CLAMP;
        let opcode = Register::IORING_REGISTER_RESIZE_RINGS as u32;
        self.register(opcode, &raw mut params as usize, 1)?;
        for _ in 0..MAPPING_TRIES {
            if queues.map_anew(self.raw(), &params).is_ok() {
                return Ok(());
            }
            crate::sys::clock::sleep_ns(1_000_000);
        }
        panic!("no address space for the queues of a ring that was resized");
    }
}

/// How waits are asked for beside their length.
pub(crate) struct Waiting {
    /// Flags of every wait.
    pub flags: u32,
    /// Completions that a wait is for, as long as `min_usec` has not passed.
    pub count: u32,
    pub min_usec: u32,
    region: Option<Region>,
}

impl Waiting {
    pub(crate) fn new(flags: u32, count: u32, min_usec: u32) -> Waiting {
        Waiting { flags, count, min_usec, region: None }
    }

    /// Whether `register` was called.
    pub(crate) fn is_registered(&self) -> bool {
        self.region.is_some()
    }

    /// Makes the kernel know the place of the wait's argument; the ring is disabled. Linux 6.13.
    pub(crate) fn register(&mut self, ring: &mut Ring) -> Result<(), Errno> {
        let region = Region::create(REGION_LEN, false)?;
        let description = abi::io_uring_region_desc {
            user_addr: region.base::<u8>().as_ptr() as u64,
            size: REGION_LEN as u64,
            flags: abi::IORING_MEM_REGION_TYPE_USER as u32,
            id: 0,
            mmap_offset: 0,
            __resv: [0; 4],
        };
        let request = abi::io_uring_mem_region_reg {
            region_uptr: &raw const description as u64,
            flags: abi::IORING_MEM_REGION_REG_WAIT_ARG as u64,
            __resv: [0; 2],
        };
        let opcode = Register::IORING_REGISTER_MEM_REGION as u32;
        ring.register(opcode, &raw const request as usize, 1)?;
        self.region = Some(region);
        Ok(())
    }

    /// Hands over what is staged and waits, at most for `ns` nanoseconds; how many were taken.
    #[cold]
    pub(crate) fn enter_for(
        &self, ring: &Ring, queues: &mut Queues, ns: u64,
    ) -> Result<u32, Errno> {
        let staged = queues.staged();
        queues.publish();
        let taken = self.enter(ring, staged, 0, Some(ns))?;
        queues.taken(taken);
        Ok(taken)
    }

    /// Hands `staged` entries over and waits, at most for `limit` nanoseconds.
    pub(crate) fn enter(
        &self, ring: &Ring, staged: u32, flags: u32, limit: Option<u64>,
    ) -> Result<u32, Errno> {
        let flags = flags | self.flags | abi::IORING_ENTER_GETEVENTS;
        let time = limit.map(timespec);
        if let Some(region) = &self.region {
            // SAFETY: zeroes are a valid io_uring_reg_wait.
            let mut wait: abi::io_uring_reg_wait = unsafe { std::mem::zeroed() };
            wait.min_wait_usec = self.min_usec;
            if let Some(time) = time {
                wait.ts = time;
                wait.flags = abi::IORING_REG_WAIT_TS as u32;
            }
            // SAFETY: the region is our memory; the kernel reads it during the call alone.
            unsafe { region.base::<abi::io_uring_reg_wait>().as_ptr().write(wait) };
            let flags = flags | abi::IORING_ENTER_EXT_ARG | abi::IORING_ENTER_EXT_ARG_REG;
            return ring.call_enter(staged, self.count, flags, 0, size_of_val(&wait));
        }
        if time.is_none() && self.min_usec == 0 {
            return ring.call_enter(staged, self.count, flags, 0, 0);
        }
        let arg = abi::io_uring_getevents_arg {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: self.min_usec,
            ts: time.as_ref().map_or(0, |time| std::ptr::from_ref(time) as u64),
        };
        let flags = flags | abi::IORING_ENTER_EXT_ARG;
        ring.call_enter(staged, self.count, flags, &raw const arg as usize, size_of_val(&arg))
    }
}
