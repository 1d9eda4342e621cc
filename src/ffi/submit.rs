//! What every submit function shares: the options, the flags, and the way down.

use crate::engine::handle::Handle;
use crate::engine::{Done, Engine, REAP};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::any::AnyOperation;
use crate::op::{self, Operation};
use crate::sys::errno::Errno;
use crate::sys::refused::Fault;
use std::ffi::c_void;

/// The next operation submitted starts when this one has succeeded. Surprise: fsync,
/// sync_file_range, fallocate, ftruncate, madvise, statx, unlinkat, mkdirat, renameat, linkat,
/// symlinkat and those of extended attributes do not break a chain when they fail: the kernel
/// (6.18) runs the next one all the same.
pub const AIO_SUBMIT_LINK: u32 = 1;
/// The next operation submitted starts when this one has completed, whatever its result.
pub const AIO_SUBMIT_HARDLINK: u32 = 2;
/// This operation starts when all one-shot operations submitted before it have completed.
pub const AIO_SUBMIT_BARRIER: u32 = 4;
/// Do not try inline: run on a kernel worker from the start.
pub const AIO_SUBMIT_ASYNC: u32 = 8;
/// The descriptor is a slot of the context's table, see aio_files_register: for every operation on
/// a descriptor and for close. Not for the directory of a path, nor for epoll_ctl: -EINVAL. Of
/// splice and tee it is the one written to; SPLICE_F_FD_IN_FIXED among their flags says the same of
/// the one read from. A slot that is empty or not in the table is -EBADF, in the callback. Where
/// the kernel lacks an operation and a plain call does it instead: -EOPNOTSUPP.
pub const AIO_SUBMIT_FIXED_FILE: u32 = 16;
/// What accept, openat, openat2, socket and pipe make goes into the context's table instead: into
/// slot `file_slot` - 1, whose file it replaces, or, where `file_slot` is 0, into a free one. The
/// result is the slot's number; pipe writes two, which follow each other where a slot is given.
/// Multishot accepts take free slots only. At once: -ENXIO, the context has no table; -EINVAL, the
/// slot is not in it, or AIO_SUBMIT_INHERIT; -EBUSY, a close of the slot waits. In the callback:
/// -ENFILE, no slot is free; a connection is then closed, and a multishot accept ends.
/// Kernel: 5.19 (pipe: 6.16; before, -EOPNOTSUPP).
pub const AIO_SUBMIT_DIRECT: u32 = 32;
/// No callback on success; not for operations whose result is a descriptor, but for those with
/// AIO_SUBMIT_DIRECT and a slot of your choice.
pub const AIO_SUBMIT_QUIET: u32 = 64;
/// The descriptor made survives exec.
pub const AIO_SUBMIT_INHERIT: u32 = 128;
/// A send to a closed peer raises SIGPIPE.
pub const AIO_SUBMIT_SIGPIPE: u32 = 256;
/// `timeout_ns` starts anew at each completion of a multishot operation, and does not count while
/// it waits for a buffer of its pool: then nobody would hear of what the peer has sent.
pub const AIO_SUBMIT_TIMEOUT_IDLE: u32 = 512;
/// What was asked to end and can only be waited for ends with its own result, not with -ECANCELED
/// or -ETIMEDOUT; AIO_CQE_DEADLINE or AIO_CQE_ABORTED beside it say that it was asked by its
/// deadline or by destroy. For operations whose comment names it, else -EINVAL.
pub const AIO_SUBMIT_KEEP_RESULT: u32 = 1024;

/// A callback's flag: a pool buffer carries the data.
pub const AIO_CQE_BUFFER: u32 = 1;
/// A callback's flag: more callbacks of this operation follow.
pub const AIO_CQE_MORE: u32 = 2;
/// A callback's flag: the socket had more to read. Rings alone tell.
pub const AIO_CQE_SOCK_NONEMPTY: u32 = 4;
/// A callback's flag: the notification of a zero-copy send.
pub const AIO_CQE_NOTIFY: u32 = 8;
/// A callback's flag: the pool buffer will carry more.
pub const AIO_CQE_BUFFER_MORE: u32 = 16;
/// A callback's flag: our deadline ended the operation, not the network's; beside a result that
/// AIO_SUBMIT_KEEP_RESULT has kept: had it passed.
pub const AIO_CQE_DEADLINE: u32 = 65536;
/// A callback's flag: destroy or a broken chain ended the operation, not the caller.
pub const AIO_CQE_ABORTED: u32 = 131072;

/// Options of a submit call; NULL stands for all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_submit_options {
    /// sizeof(aio_submit_options)
    pub size: u32,
    /// AIO_SUBMIT_*
    pub flags: u32,
    /// Nanoseconds from the submit to the deadline; 0: none.
    pub timeout_ns: u64,
    /// What aio_ctx_cancel_group can name; 0: none.
    pub group: u64,
    /// With AIO_SUBMIT_DIRECT: the slot plus one, or 0 for a free one. Else 0.
    pub file_slot: u32,
    /// Registered buffer plus one, for zero-copy sends; 0: none.
    pub buf_index: u32,
    /// As for ioprio_set(2), for file operations.
    pub ioprio: u32,
    /// 0
    pub reserved0: u32,
    /// Yours; shown by aio_ctx_dump.
    pub correlation: u64,
    /// 0
    pub reserved: [u64; 2],
}

/// The engine, for a call that has a callback, where nothing has to be decided first.
///
/// # Safety
/// `ctx` is NULL or a live context.
#[inline(always)]
pub(super) unsafe fn enter_plainly<'a>(
    ctx: *mut aio_ctx, callback: aio_callback, user_data: *mut c_void,
) -> Option<(&'a Handle, &'a mut Engine, Done)> {
    // SAFETY: the caller's promise.
    let handle = unsafe { ctx.cast::<Handle>().as_ref() }?;
    let engine = handle.enter_open()?;
    let callback = callback.map_or(0, |callback| callback as usize);
    if callback <= REAP {
        return None;
    }
    Some((handle, engine, Done { callback, user_data: user_data as usize }))
}

/// Submits what `make` checks and makes.
///
/// # Safety
/// The pointers are as the ABI wants them: a live context, sized options or NULL.
#[inline(always)]
pub(super) unsafe fn submit<O: Operation>(
    ctx: *mut aio_ctx, make: impl FnOnce() -> Result<O, Errno>, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: passed on.
    unsafe { submit_out_of_line(ctx, options, callback, user_data, make()) }
}

/// The body of a submit function that is called often: the plain case, which calls nothing, so that
/// it needs neither a frame nor saved registers, and for all else a jump to a function with the
/// same arguments. That one begins again if room was all that lacked, and could be made. `of` names
/// a buffer and its length: NULL is not plain, for it may be an error.
macro_rules! frequent {
    (
        $function:ident: $ctx:ident, $options:ident, $callback:ident, $user_data:ident;
        $($name:ident: $type:ty),* $(; of($buf:ident, $len:ident))? => $($make:tt)*
    ) => {{
        #[inline(always)]
        fn make($($name: $type),*) -> Result<
            impl $crate::op::Operation,
            $crate::sys::errno::Errno,
        > {
            $($crate::ffi::arguments::buffer($buf, $len)?;)?
            $($make)*
        }

        #[inline(never)]
        unsafe extern "C" fn otherwise(
            ctx: *mut $crate::ffi::aio_ctx, $($name: $type,)*
            options: *const $crate::ffi::submit::aio_submit_options,
            callback: $crate::ffi::aio_callback, user_data: *mut std::ffi::c_void,
        ) -> $crate::ffi::aio_op_id {
            let op = make($($name),*);
            // SAFETY: passed on.
            unsafe {
                if let Some(id) =
                    $crate::ffi::submit::submit_quickly(ctx, &op, options, callback, user_data)
                {
                    return id;
                }
                at_last(ctx, $($name,)* options, callback, user_data)
            }
        }

        #[cold]
        #[inline(never)]
        unsafe extern "C" fn at_last(
            ctx: *mut $crate::ffi::aio_ctx, $($name: $type,)*
            options: *const $crate::ffi::submit::aio_submit_options,
            callback: $crate::ffi::aio_callback, user_data: *mut std::ffi::c_void,
        ) -> $crate::ffi::aio_op_id {
            // SAFETY: passed on.
            unsafe {
                if $crate::ffi::submit::make_room(ctx) {
                    return $function(ctx, $($name,)* options, callback, user_data);
                }
                let op = make($($name),*);
                $crate::ffi::submit::submit_out_of_line(ctx, options, callback, user_data, op)
            }
        }

        // SAFETY: the ABI's pointers.
        unsafe {
            // Without a buffer the options come second: else the compiler would test them and the
            // context at once, which takes longer.
            if $($options.is_null() && !$buf.is_null() &&)?
                let Some((handle, engine, done)) =
                    $crate::ffi::submit::enter_plainly($ctx, $callback, $user_data)
                && $options.is_null()
                && let Ok(op) = make($($name),*)
                && let Some(id) = engine.submit_at_once(&op, done, &handle.counts)
            {
                return id;
            }
            otherwise($ctx, $($name,)* $options, $callback, $user_data)
        }
    }};
}
pub(super) use frequent;

/// Where the plain case has found no room: whether it would now. True only once without a submit
/// between, so that who begins again does so once.
///
/// # Safety
/// `ctx` is NULL or a live context.
#[inline(never)]
pub(super) unsafe fn make_room(ctx: *mut aio_ctx) -> bool {
    // SAFETY: the caller's promise.
    let handle = unsafe { ctx.cast::<Handle>().as_ref() };
    handle.and_then(Handle::enter_open).is_some_and(Engine::make_room)
}

/// A submit whose plain case was not the case: options that are asked for often, and records, have
/// a quick way. None: nothing was done.
///
/// # Safety
/// As `submit`.
#[inline(always)]
pub(super) unsafe fn submit_quickly<O: Operation>(
    ctx: *mut aio_ctx, op: &Result<O, Errno>, options: *const aio_submit_options,
    callback: aio_callback, user_data: *mut c_void,
) -> Option<aio_op_id> {
    if O::IS_FREQUENT
        && !options.is_null()
        // SAFETY: sized options.
        && let Some(quick) = unsafe { arguments::quick_options(options) }
        // SAFETY: passed on.
        && let Some((handle, engine, done)) = unsafe { enter_plainly(ctx, callback, user_data) }
        && let Ok(op) = op
    {
        return engine.submit_quickly(op, quick, done, &handle.counts);
    }
    if options.is_null()
        && callback.is_some_and(|callback| callback as usize == REAP)
        && let Ok(op) = op
        // SAFETY: the caller's promise.
        && let Some(handle) = unsafe { ctx.cast::<Handle>().as_ref() }
        && let Some(engine) = handle.enter_open()
    {
        return engine.submit_recorded(op, user_data as usize, &handle.counts);
    }
    None
}

/// A place for the operation; all else is the same for each. The arguments are in the order of the
/// exported functions, where most already are where they have to be.
///
/// # Safety
/// As `submit`.
#[cold]
#[inline(never)]
#[allow(improper_ctypes_definitions)] // Not C's: that ABI does not unwind, and is jumped to.
pub(super) unsafe extern "C" fn submit_out_of_line<O: Operation>(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void, op: Result<O, Errno>,
) -> aio_op_id {
    let op = op.as_ref().map(|op| op as &dyn AnyOperation).map_err(|errno| *errno);
    // SAFETY: passed on.
    unsafe { submit_any(ctx, options, callback, user_data, op, O::OPCODE as u8) }
}

/// # Safety
/// As `submit`.
#[cold]
#[inline(never)]
unsafe fn submit_any(
    ctx: *mut aio_ctx, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void, op: Result<&dyn AnyOperation, Errno>, opcode: u8,
) -> aio_op_id {
    guard!(ctx, handle, op::name(opcode) => {
        let done = done(callback, user_data)?;
        let op = op?;
        let engine = handle.enter()?;
        if options.is_null() {
            return Ok(engine.submit(op, done)? as aio_op_id);
        }
        // SAFETY: passed on.
        let options = unsafe { arguments::submit_options(options) }?;
        Ok(engine.submit_carefully(op, &options, done)? as aio_op_id)
    })
}

/// The callback is not optional: nobody would learn of the end.
#[inline(always)]
pub(super) fn done(callback: aio_callback, user_data: *mut c_void) -> Result<Done, Errno> {
    let callback = callback.ok_or(Errno::invalid(Fault::NoCallback))? as usize;
    Ok(Done { callback, user_data: user_data as usize })
}
