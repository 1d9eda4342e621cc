//! What works here, and why the rest does not.

use crate::engine::handle::Handle;
use crate::engine::probe::{self, Answer, Ground, Reason, Status};
use crate::ffi::arguments::text;
use crate::ffi::ctx::{AIO_BACKEND_EPOLL, AIO_BACKEND_URING};
use crate::ffi::{aio_ctx, arguments, status};
use crate::sys::descriptor::kernel_version;
use crate::sys::errno::Errno;
use std::ffi::c_char;

/// A probe's answer: submitting gives -EOPNOTSUPP, or -EACCES where the context restricts itself.
pub const AIO_PROBE_NO: u32 = 0;
/// A probe's answer: the kernel's ring does it.
pub const AIO_PROBE_YES: u32 = 1;
/// A probe's answer: the engine does it by other means.
pub const AIO_PROBE_EMULATED: u32 = 2;
/// A probe's answer: something else serves better, and aio_submit_raw takes it on a ring.
pub const AIO_PROBE_SUPERSEDED: u32 = 3;

/// A probe's reason: none is needed.
pub const AIO_REASON_NONE: u32 = 0;
/// A probe's reason: the kernel is too old, or was built without it.
pub const AIO_REASON_KERNEL: u32 = 1;
/// A probe's reason: a filter for system calls (containers).
pub const AIO_REASON_SECCOMP: u32 = 2;
/// A probe's reason: the sysctl kernel.io_uring_disabled.
pub const AIO_REASON_SYSCTL: u32 = 3;
/// A probe's reason: locked memory (RLIMIT_MEMLOCK), or memory.
pub const AIO_REASON_MEMLOCK: u32 = 4;
/// A probe's reason: no descriptors are left.
pub const AIO_REASON_LIMIT: u32 = 5;
/// A probe's reason: no device here can do it.
pub const AIO_REASON_HARDWARE: u32 = 6;
/// A probe's reason: the caller wants it so: the epoll backend was asked for, by the context's
/// options or AIO_RS_BACKEND, or allowed_ops leaves the operation out.
pub const AIO_REASON_ASKED: u32 = 7;
/// A probe's reason: this version of the library has no function for it.
pub const AIO_REASON_LIBRARY: u32 = 8;
/// A probe's reason: a security module, or missing privileges.
pub const AIO_REASON_PERMISSION: u32 = 9;

/// accept_multishot. Facilities are for aio_probe_facility.
pub const AIO_FACILITY_MULTISHOT_ACCEPT: u32 = 0;
pub const AIO_FACILITY_MULTISHOT_RECV: u32 = 1;
pub const AIO_FACILITY_BUFFER_RINGS: u32 = 2;
pub const AIO_FACILITY_INCREMENTAL_BUFFERS: u32 = 3;
pub const AIO_FACILITY_BUNDLES: u32 = 4;
pub const AIO_FACILITY_DIRECT_DESCRIPTORS: u32 = 5;
pub const AIO_FACILITY_REGISTERED_BUFFERS: u32 = 6;
pub const AIO_FACILITY_ZERO_COPY_SEND: u32 = 7;
pub const AIO_FACILITY_ZERO_COPY_RECV: u32 = 8;
pub const AIO_FACILITY_SQE128: u32 = 9;
pub const AIO_FACILITY_CQE32: u32 = 10;
pub const AIO_FACILITY_SQPOLL: u32 = 11;
pub const AIO_FACILITY_SQPOLL_SHARE: u32 = 12;
pub const AIO_FACILITY_IOPOLL: u32 = 13;
pub const AIO_FACILITY_HYBRID_IOPOLL: u32 = 14;
pub const AIO_FACILITY_NAPI: u32 = 15;
pub const AIO_FACILITY_RESIZE: u32 = 16;
pub const AIO_FACILITY_REGISTERED_WAIT: u32 = 17;
pub const AIO_FACILITY_MIN_WAIT: u32 = 18;
pub const AIO_FACILITY_WORKER_LIMITS: u32 = 19;
pub const AIO_FACILITY_WORKER_AFFINITY: u32 = 20;
pub const AIO_FACILITY_RESTRICTIONS: u32 = 21;
pub const AIO_FACILITY_NO_IOWAIT: u32 = 22;
pub const AIO_FACILITY_CLOCK: u32 = 23;

/// What aio_probe tells.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_probe_info {
    /// sizeof(aio_probe_info)
    pub size: u32,
    /// AIO_BACKEND_*, the one in use
    pub backend: u32,
    /// AIO_REASON_*, why it is not io_uring
    pub reason: u32,
    /// What the kernel refused a ring with; 0: it did not, or was not asked
    pub error: i32,
    /// The running kernel's, `major << 16 | minor`
    pub kernel_version: u32,
    /// Opcodes are the numbers below this
    pub operations: u32,
    /// Facilities are the numbers below this
    pub facilities: u32,
    /// 0
    pub reserved0: u32,
    /// The reason in words
    pub text: [c_char; 208],
}

/// What aio_probe_op and aio_probe_facility tell.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_probe_result {
    /// sizeof(aio_probe_result)
    pub size: u32,
    /// AIO_PROBE_*
    pub status: u32,
    /// AIO_REASON_*, for anything but a plain yes
    pub reason: u32,
    /// What the kernel said to it; 0: nothing
    pub error: i32,
    /// The Linux that brought it, `major << 16 | minor`
    pub since: u32,
    /// 0
    pub reserved0: u32,
    /// As in aio_ctx_dump
    pub name: [c_char; 32],
    /// The functions or options that stand for it
    pub functions: [c_char; 192],
    /// The reason in words, and what is done instead; of a facility that works, what it is for
    pub text: [c_char; 208],
}

/// Which backend a context has, or would have, and why it is not io_uring.
///
/// `ctx`: NULL for what AIO_BACKEND_AUTO gives now, AIO_RS_BACKEND in the environment included; a
/// ring is made for the question and closed again. `out`: its `size` set by the caller; as much is
/// written.
/// Any thread.
/// Errors: -EINVAL, `out` is NULL or its size below 4, or AIO_RS_BACKEND is none; AIO_EFORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_probe(ctx: *const aio_ctx, out: *mut aio_probe_info) -> i32 {
    answer(ctx, |ground| {
        let (major, minor) = kernel_version();
        let (operations, facilities) = probe::counts();
        let backend = ground.backend();
        let has_ring = backend.status == Status::Yes;
        let info = aio_probe_info {
            size: 0,
            backend: if has_ring { AIO_BACKEND_URING } else { AIO_BACKEND_EPOLL },
            reason: reason_number(backend.reason),
            error: backend.errno.map_or(0, Errno::status),
            kernel_version: major << 16 | minor,
            operations,
            facilities,
            reserved0: 0,
            text: text(&backend.text),
        };
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, info) }
    })
}

/// Whether and how an operation works, and why not.
///
/// `ctx`: as for aio_probe. `opcode`: IORING_OP_*, below `operations` of aio_probe_info. `out`: as
/// for aio_probe.
/// Any thread.
/// Errors: -ENOENT, no such opcode; as aio_probe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_probe_op(
    ctx: *const aio_ctx, opcode: u32, out: *mut aio_probe_result,
) -> i32 {
    answer(ctx, |ground| {
        let answer = ground.operation(opcode).ok_or(Errno::ENOENT)?;
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, result(&answer, &probe::functions(opcode))) }
    })
}

/// Whether something that a ring has beside its operations works, and why not. Rings are made for
/// the question and closed again.
///
/// `ctx`: as for aio_probe. `facility`: AIO_FACILITY_*. `out`: as for aio_probe.
/// Any thread.
/// Errors: -ENOENT, no such facility; as aio_probe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_probe_facility(
    ctx: *const aio_ctx, facility: u32, out: *mut aio_probe_result,
) -> i32 {
    answer(ctx, |ground| {
        let answer = ground.facility(facility).ok_or(Errno::ENOENT)?;
        // SAFETY: the caller's sized structure, or NULL.
        unsafe { arguments::write_sized(out, result(&answer, &probe::facility_by(facility))) }
    })
}

/// Looks at the ground that a question is about.
fn answer(ctx: *const aio_ctx, write: impl FnOnce(&Ground) -> Result<(), Errno>) -> i32 {
    let ask = || -> Result<(), i32> {
        // SAFETY: NULL or a live context by the ABI's contract.
        let ground = match unsafe { ctx.cast::<Handle>().as_ref() } {
            Some(handle) if handle.is_forked() => return Err(status::AIO_EFORKED),
            Some(handle) => Ground::of(&handle.granted),
            None => Ground::here().map_err(Errno::status)?,
        };
        write(&ground).map_err(Errno::status)
    };
    // A panic leaves nothing behind: no context is changed here.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)) {
        Ok(Ok(())) => 0,
        Ok(Err(status)) => status,
        Err(_) => status::AIO_EPANIC,
    }
}

fn result(answer: &Answer, functions: &str) -> aio_probe_result {
    aio_probe_result {
        size: 0,
        status: match answer.status {
            Status::No => AIO_PROBE_NO,
            Status::Yes => AIO_PROBE_YES,
            Status::Emulated => AIO_PROBE_EMULATED,
            Status::Superseded => AIO_PROBE_SUPERSEDED,
        },
        reason: reason_number(answer.reason),
        error: answer.errno.map_or(0, Errno::status),
        since: answer.since.0 << 16 | answer.since.1,
        reserved0: 0,
        name: text(answer.name),
        functions: text(functions),
        text: text(&answer.text),
    }
}

pub(super) fn reason_number(reason: Reason) -> u32 {
    match reason {
        Reason::None => AIO_REASON_NONE,
        Reason::Kernel => AIO_REASON_KERNEL,
        Reason::Seccomp => AIO_REASON_SECCOMP,
        Reason::Sysctl => AIO_REASON_SYSCTL,
        Reason::Memlock => AIO_REASON_MEMLOCK,
        Reason::Limit => AIO_REASON_LIMIT,
        Reason::Hardware => AIO_REASON_HARDWARE,
        Reason::Asked => AIO_REASON_ASKED,
        Reason::Library => AIO_REASON_LIBRARY,
        Reason::Permission => AIO_REASON_PERMISSION,
    }
}
