//! What works here, and why the rest does not: per operation and facility, for a context or for one
//! that AIO_BACKEND_AUTO would make now. The kernel is asked (`sys/probe.rs`); this file knows what
//! its answers mean, and tells a refusal by a filter from one by the sysctl, by limits or by age.

use crate::engine::Choice;
use crate::engine::backend::{Granted, uring::Uring};
use crate::op::table::{FACILITIES, Facility, FacilityRow, OPERATIONS, Row, Version};
use crate::sys::descriptor::kernel_version;
use crate::sys::errno::Errno;
use crate::sys::facility::{self, Opcodes};
use crate::sys::probe::{self, Register, Scratch};
use crate::sys::ring;

/// The names of all exported functions, a line each.
const EXPORTED: &str = include_str!("../../tests/abi/aio.syms");

/// IORING_OP_RECV_ZC.
const RECV_ZC: usize = 58;

/// Linux 6.1: what AIO_BACKEND_AUTO wants of a kernel.
const FLOOR: Version = (6, 1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    No,
    Yes,
    Emulated,
    Superseded,
}

/// Why something is not as it could be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    None,
    /// Too old, or built without it.
    Kernel,
    /// A filter for system calls.
    Seccomp,
    /// kernel.io_uring_disabled.
    Sysctl,
    /// Locked memory, or memory.
    Memlock,
    /// Descriptors.
    Limit,
    /// No device that can do it.
    Hardware,
    /// The caller, or the environment, wants the epoll backend.
    Asked,
    /// This version of the library has no function for it.
    Library,
    /// A security module or missing privileges.
    Permission,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::None => "",
            Reason::Kernel => "kernel",
            Reason::Seccomp => "seccomp",
            Reason::Sysctl => "sysctl",
            Reason::Memlock => "memlock",
            Reason::Limit => "limit",
            Reason::Hardware => "hardware",
            Reason::Asked => "asked",
            Reason::Library => "library",
            Reason::Permission => "permission",
        }
    }

    /// Why the kernel has refused a ring, or something of it, with `errno`.
    fn of(errno: Errno) -> Reason {
        match errno {
            Errno::ENOMEM => Reason::Memlock,
            Errno::EMFILE | Errno::ENFILE => Reason::Limit,
            Errno::EPERM | Errno::EACCES if probe::disabled_by_sysctl().is_some_and(|v| v != 0) => {
                Reason::Sysctl
            }
            Errno::EPERM | Errno::EACCES if probe::is_filtered() => Reason::Seccomp,
            Errno::EPERM | Errno::EACCES => Reason::Permission,
            // Filters like to say that there is no such call.
            Errno::ENOSYS if kernel_version() >= FLOOR && probe::is_filtered() => Reason::Seccomp,
            _ => Reason::Kernel,
        }
    }
}

/// Why a pool has no interface queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub reason: Reason,
    /// What the kernel said.
    pub errno: Option<Errno>,
}

impl Refused {
    /// For a caller that will have nothing else.
    pub(crate) fn status(self) -> Errno {
        match (self.reason, self.errno) {
            (Reason::Kernel, _) | (_, None) => Errno::EOPNOTSUPP,
            (_, Some(errno)) => errno,
        }
    }
}

/// Whether a context has what zero-copy receives need, beside an interface queue.
pub(crate) fn check_zero_copy_receive(granted: &Granted) -> Result<(), Refused> {
    let ground = Ground::of(granted);
    if ground.ring.is_none() {
        let (reason, errno, _) = ground.why_not();
        return Err(Refused { reason, errno });
    }
    if ground.has(RECV_ZC) { Ok(()) } else { Err(Refused { reason: Reason::Kernel, errno: None }) }
}

/// What a refused interface queue means; `of_card`: it was to be one of an interface.
pub(crate) fn why_no_interface_queue(of_card: bool, errno: Errno) -> Refused {
    let reason = match errno {
        Errno::EPERM => Reason::Permission,
        Errno::ENOMEM => Reason::Memlock,
        Errno::EMFILE | Errno::ENFILE => Reason::Limit,
        Errno::EINVAL if !of_card => Reason::Kernel,
        _ => Reason::Hardware,
    };
    Refused { reason, errno: Some(errno) }
}

/// What is said of one thing.
pub(crate) struct Answer {
    pub status: Status,
    pub reason: Reason,
    /// What the kernel said.
    pub errno: Option<Errno>,
    pub name: &'static str,
    pub since: Version,
    pub text: String,
}

/// What a context has under it, or would have.
pub(crate) struct Ground {
    /// The opcodes of its ring, a bit each.
    ring: Option<[u64; 4]>,
    /// What the context may submit, if not everything.
    allowed: Option<Opcodes>,
    /// Why there is none.
    refused: Option<Errno>,
}

impl Ground {
    /// Under a context that there is.
    pub(crate) fn of(granted: &Granted) -> Ground {
        let ring = (!granted.emulated).then_some(granted.opcodes);
        Ground { ring, allowed: granted.allowed, refused: granted.fallback }
    }

    /// Under one that AIO_BACKEND_AUTO would make.
    pub(crate) fn here() -> Result<Ground, Errno> {
        let smallest = ring::Config { sq_entries: 1, cq_entries: 2, ..ring::Config::default() };
        let made = match Choice::Auto.settled()? {
            Choice::Epoll => return Ok(Ground { ring: None, allowed: None, refused: None }),
            Choice::Uring => Uring::create(smallest),
            Choice::Auto => Uring::create_of_the_floor(smallest),
        };
        Ok(match made {
            Ok((uring, _)) => Ground { ring: Some(uring.opcodes), allowed: None, refused: None },
            Err(errno) => Ground { ring: None, allowed: None, refused: Some(errno) },
        })
    }

    fn has(&self, opcode: usize) -> bool {
        self.ring.is_some_and(|bits| bits[opcode >> 6] >> (opcode & 63) & 1 != 0)
    }

    /// Why there is no ring.
    fn why_not(&self) -> (Reason, Option<Errno>, String) {
        let Some(errno) = self.refused else {
            let text = "asked: the epoll backend was asked for";
            return (Reason::Asked, None, text.to_string());
        };
        let reason = Reason::of(errno);
        let says = match reason {
            Reason::Kernel if kernel_version() < FLOOR => "a ring needs Linux 6.1".to_string(),
            Reason::Sysctl => format!("kernel.io_uring_disabled; {errno}"),
            _ => format!("io_uring is refused; {errno}"),
        };
        (reason, Some(errno), format!("{}: {says}", reason.name()))
    }

    /// The backend, as an answer: yes is a ring.
    pub(crate) fn backend(&self) -> Answer {
        let (name, since) = ("io_uring", FLOOR);
        if self.ring.is_some() {
            return yes(name, since);
        }
        let (reason, errno, text) = self.why_not();
        Answer { status: Status::Emulated, reason, errno, name, since, text }
    }

    /// None: there is no such opcode in the table.
    pub(crate) fn operation(&self, opcode: u32) -> Option<Answer> {
        let row = OPERATIONS.get(opcode as usize)?;
        let answer = |status, reason, errno, text| Answer {
            status,
            reason,
            errno,
            name: row.name,
            since: row.since,
            text,
        };
        let is_allowed = |allowed: Opcodes| facility::contains(&allowed, opcode as u8);
        if !self.allowed.is_none_or(is_allowed) {
            let text = "asked: allowed_ops of the context leaves it out; -EACCES".to_string();
            return Some(answer(Status::No, Reason::Asked, None, text));
        }
        if row.is_superseded() {
            let text = format!("{}; aio_submit_raw takes it on a ring", row.instead);
            return Some(answer(Status::Superseded, Reason::None, None, text));
        }
        if row.typed(EXPORTED).next().is_none() {
            let text = "library: no function yet; aio_submit_raw takes it on a ring".to_string();
            return Some(answer(Status::No, Reason::Library, None, text));
        }
        if self.has(opcode as usize) {
            return Some(yes(row.name, row.since));
        }
        let (reason, errno, why, how) = self.missing(row);
        let status = if how == "-EOPNOTSUPP" { Status::No } else { Status::Emulated };
        Some(answer(status, reason, errno, format!("{why}; {how}")))
    }

    /// Why an operation is not the ring's, and what is done instead.
    fn missing(&self, row: &Row) -> (Reason, Option<Errno>, String, &'static str) {
        if self.ring.is_some() {
            let why = format!("kernel: needs Linux {}.{}", row.since.0, row.since.1);
            return (Reason::Kernel, None, why, row.on_old_ring);
        }
        let (reason, errno, why) = self.why_not();
        (reason, errno, why, row.without.text())
    }

    /// None: there is no such facility.
    pub(crate) fn facility(&self, number: u32) -> Option<Answer> {
        let row = FACILITIES.get(number as usize)?;
        let answer = |status, reason, errno, text| Answer {
            status,
            reason,
            errno,
            name: row.name,
            since: row.since,
            text,
        };
        let is_exported = |name: &&str| EXPORTED.lines().any(|line| line == *name);
        if !row.functions.is_empty() && !row.functions.iter().any(is_exported) {
            let text = "library: no function yet".to_string();
            return Some(answer(Status::No, Reason::Library, None, text));
        }
        let (reason, errno, why) = if self.ring.is_some() {
            match self.try_facility(row) {
                Ok(None) => {
                    let text = row.purpose.to_string();
                    return Some(answer(Status::Yes, Reason::None, None, text));
                }
                Ok(Some((reason, lack))) => (reason, None, format!("{}: {lack}", reason.name())),
                Err(errno) => {
                    let reason = Reason::of(errno);
                    let (major, minor) = row.since;
                    let why = match reason {
                        Reason::Kernel => format!("kernel: needs Linux {major}.{minor}"),
                        _ => format!("{}: {errno}", reason.name()),
                    };
                    (reason, Some(errno), why)
                }
            }
        } else {
            self.why_not()
        };
        // A pool without an interface queue is one all the same.
        let falls_back = row.facility == Facility::ZeroCopyReceive;
        let is_lacking = self.ring.is_none() || reason == Reason::Hardware || falls_back;
        let emulated = row.emulated && is_lacking;
        let (status, how) =
            if emulated { (Status::Emulated, "emulated") } else { (Status::No, "-EOPNOTSUPP") };
        Some(answer(status, reason, errno, format!("{why}; {how}")))
    }

    /// Asks the kernel for a facility; the text is what it lacks beside the kernel.
    fn try_facility(&self, row: &FacilityRow) -> Result<Option<(Reason, &'static str)>, Errno> {
        const SOCKET: usize = 45;
        const SEND_ZC: usize = 47;
        let plain = || Scratch::create(0);
        let setup = |flags: u32| Scratch::create(flags).map(drop);
        let if_opcode = |opcode| if self.has(opcode) { Ok(()) } else { Err(Errno::EINVAL) };
        let if_feature = |bit: u32| match plain()?.features & bit {
            0 => Err(Errno::EINVAL),
            _ => Ok(()),
        };
        let deferred = ring::IORING_SETUP_SINGLE_ISSUER | ring::IORING_SETUP_DEFER_TASKRUN;
        match row.facility {
            // Of the same kernels as these opcodes.
            Facility::MultishotAccept => if_opcode(SOCKET),
            Facility::MultishotReceive | Facility::ZeroCopySend => if_opcode(SEND_ZC),
            Facility::ZeroCopyReceive => {
                if_opcode(RECV_ZC)?;
                let ring = Scratch::create(deferred | ring::IORING_SETUP_CQE32)?;
                return match ring.has_capable_interface() {
                    Ok(true) => Ok(None),
                    Ok(false) => {
                        let lack = "no network card here can split headers from data";
                        Ok(Some((Reason::Hardware, lack)))
                    }
                    Err(Errno::EPERM) => {
                        Ok(Some((Reason::Permission, "interface queues take CAP_NET_ADMIN")))
                    }
                    Err(errno) => Err(errno),
                };
            }
            Facility::BufferRings => plain()?.knows(Register::IORING_REGISTER_PBUF_RING, 1),
            Facility::IncrementalBuffers => plain()?.make_incremental_buffers(),
            Facility::Bundles => if_feature(probe::IORING_FEAT_RECVSEND_BUNDLE),
            Facility::DirectDescriptors => plain()?.make_table(Register::IORING_REGISTER_FILES2),
            Facility::RegisteredBuffers => plain()?.make_table(Register::IORING_REGISTER_BUFFERS2),
            Facility::WideSubmissions => setup(ring::IORING_SETUP_SQE128),
            Facility::WideCompletions => setup(ring::IORING_SETUP_CQE32),
            Facility::Sqpoll => setup(probe::IORING_SETUP_SQPOLL),
            Facility::SharedSqpoll => {
                let first = Scratch::create(probe::IORING_SETUP_SQPOLL)?;
                first.attach(probe::IORING_SETUP_SQPOLL).map(drop)
            }
            Facility::Iopoll | Facility::HybridIopoll => {
                let hybrid = match row.facility {
                    Facility::HybridIopoll => probe::IORING_SETUP_HYBRID_IOPOLL,
                    _ => 0,
                };
                setup(probe::IORING_SETUP_IOPOLL | hybrid)?;
                if !probe::has_polled_device() {
                    let lack = "no block device has poll queues (queue/io_poll)";
                    return Ok(Some((Reason::Hardware, lack)));
                }
                Ok(())
            }
            Facility::Napi => plain()?.set_napi(),
            Facility::Resize => {
                Scratch::create(deferred)?.knows(Register::IORING_REGISTER_RESIZE_RINGS, 1)
            }
            Facility::RegisteredWait => plain()?.knows(Register::IORING_REGISTER_MEM_REGION, 1),
            Facility::MinimumWait => if_feature(probe::IORING_FEAT_MIN_TIMEOUT),
            Facility::WorkerLimits => plain()?.knows(Register::IORING_REGISTER_IOWQ_MAX_WORKERS, 2),
            Facility::WorkerAffinity => plain()?.knows(Register::IORING_REGISTER_IOWQ_AFF, 1),
            Facility::Restrictions => plain()?.knows(Register::IORING_REGISTER_RESTRICTIONS, 1),
            Facility::NoIowait => if_feature(probe::IORING_FEAT_NO_IOWAIT),
            Facility::Clock => plain()?.set_clock(),
        }?;
        Ok(None)
    }
}

fn yes(name: &'static str, since: Version) -> Answer {
    let (status, reason) = (Status::Yes, Reason::None);
    Answer { status, reason, errno: None, name, since, text: String::new() }
}

/// How many there are of either.
pub(crate) fn counts() -> (u32, u32) {
    (OPERATIONS.len() as u32, FACILITIES.len() as u32)
}

/// The functions that stand for an operation or offer a facility, separated by commas.
pub(crate) fn functions(opcode: u32) -> String {
    let Some(row) = OPERATIONS.get(opcode as usize) else { return String::new() };
    row.typed(EXPORTED).collect::<Vec<_>>().join(", ")
}

pub(crate) fn facility_by(number: u32) -> String {
    let Some(row) = FACILITIES.get(number as usize) else { return String::new() };
    if row.functions.is_empty() { row.option.to_string() } else { row.functions.join(", ") }
}
