//! The context's table of registered buffers, and transfers by it.

use crate::engine::handle::Handle;
use crate::engine::registered::Table;
use crate::ffi::submit::{aio_submit_options, done, frequent};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::op::Operation;
use crate::op::fs::Vectored;
use crate::op::registered::{BUFFERS_MAX, Fixed, VectoredFixed};
use crate::sys::errno::Errno;
use crate::sys::message::iovec;
use crate::sys::registered::Area;
use std::ffi::{c_int, c_void};

/// A table of registered buffers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_buffers_options {
    /// sizeof(aio_buffers_options)
    pub size: u32,
    /// Buffers, at most 16,384.
    pub count: u32,
    /// `count` buffers; one of base NULL and length 0 is none. NULL: none yet.
    pub iov: *const iovec,
    /// `count` values for `on_release`, 0 where it need not be called; NULL: all 0.
    pub tags: *const u64,
    /// Told when nothing uses a tagged buffer any more that was replaced or given up: the tag is
    /// its user_data, result and flags are 0 (-ECANCELED and AIO_CQE_ABORTED where the context's
    /// thread has ended, and nobody knows). NULL: there are no tags. AIO_CALLBACK_REAP: records.
    pub on_release: aio_callback,
    /// 0
    pub reserved: [u64; 4],
}

/// # Safety
/// `iov` and `tags` point to `count` elements, or are NULL.
unsafe fn read_table<'a>(
    iov: *const iovec, tags: *const u64, count: u32,
) -> Result<(Vec<Area>, &'a [u64]), Errno> {
    if count == 0 || count > BUFFERS_MAX {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    // SAFETY: the caller's arrays.
    unsafe {
        let areas = if iov.is_null() {
            vec![Area::default(); count]
        } else {
            arguments::array(iov, count)?.iter().map(|&vector| Area::from(vector)).collect()
        };
        let tags = if tags.is_null() { &[][..] } else { arguments::array(tags, count)? };
        Ok((areas, tags))
    }
}

/// Registers buffers: the kernel maps them once, and transfers that name them (read_fixed and the
/// like, zero-copy sends) save that work.
///
/// `options`: `count` at least 1. The arrays are copied; the memory must stay until the buffer is
/// released: replaced or given up, and used by no operation in flight. `on_release` says when. What
/// is left is given up by aio_ctx_destroy, which calls `on_release` for all that is tagged.
/// Context thread.
/// Errors: -EINVAL, a bad `count`, a tag without `on_release` or without a buffer; -EBUSY, there is
/// a table, or, before Linux 6.13, operations use the one before; -EFAULT, a buffer is not writable
/// memory, is empty or longer than 1 GiB; -ENOMEM, more would be locked than RLIMIT_MEMLOCK allows
/// (without CAP_IPC_LOCK); -EOPNOTSUPP, memory of a kind that cannot be mapped, as of some files.
/// Kernel: 5.19. Before 6.13 a release also waits for operations on other registered buffers that
/// began before it, and may be a second late. Without io_uring nothing is locked and nothing saved.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffers_register(
    ctx: *mut aio_ctx, options: *const aio_buffers_options,
) -> i32 {
    guard!(ctx, handle => {
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::sized(options) }?;
        if options.reserved != [0; 4] {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the caller's arrays.
        let (areas, tags) = unsafe { read_table(options.iov, options.tags, options.count) }?;
        let callback = options.on_release.map_or(0, |callback| callback as usize);
        if callback == 0 && tags.iter().any(|&tag| tag != 0) {
            return Err(Errno::EINVAL.into());
        }
        handle.enter()?.register_buffers(&Table { areas, tags, callback })?;
        Ok(0)
    })
}

/// Replaces registered buffers; returns how many. Fewer than `count`: the one behind them failed.
///
/// `first`: the number of the first. `iov`, `tags`: `count` of each, as in aio_buffers_options, and
/// copied. Operations that have begun go on with the buffer that they began with; its tag comes
/// when they have ended.
/// Context thread. What was submitted before is handed over first.
/// Errors: -EINVAL, a bad `count` or `first`, a tag without `on_release` or without a buffer;
/// -ENXIO, there is no table; -EAGAIN, the kernel is short of memory; of the first buffer, as of
/// aio_buffers_register.
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffers_update(
    ctx: *mut aio_ctx, first: u32, iov: *const iovec, tags: *const u64, count: u32,
) -> i32 {
    guard!(ctx, handle => {
        // SAFETY: the caller's arrays.
        let (areas, tags) = unsafe { read_table(iov, tags, count) }?;
        Ok(handle.enter()?.update_buffers(first, &areas, tags)? as i32)
    })
}

/// Gives the table up. Operations that have begun go on; tags come when they have ended, and run
/// calls wait for them.
///
/// Context thread. What was submitted before is handed over first.
/// Errors: -ENXIO, there is none; -EAGAIN, the kernel is short of memory.
/// Kernel: 5.19.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffers_unregister(ctx: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        handle.enter()?.unregister_buffers()?;
        Ok(0)
    })
}

/// Registers the buffers of another context of this thread, under the same numbers and without
/// mapping or locking them again. Tags are not shared: they come from `source`, whatever the clone
/// still does.
///
/// `ctx`: has no table. `source`: has one. The two go their own ways from then on.
/// Context thread of both.
/// Errors: -EINVAL, they are the same; -ENXIO, `source` has no table; -EBUSY, `ctx` has one;
/// -EOPNOTSUPP, the kernel cannot, or one of them is without io_uring.
/// Kernel: 6.13; before, -EOPNOTSUPP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_buffers_clone(ctx: *mut aio_ctx, source: *mut aio_ctx) -> i32 {
    guard!(ctx, handle => {
        // SAFETY: NULL or a live context.
        let source = unsafe { source.cast::<Handle>().as_ref() }.ok_or(Errno::EINVAL)?;
        if std::ptr::eq(handle, source) {
            return Err(Errno::EINVAL.into());
        }
        let source = source.enter()?;
        handle.enter()?.clone_buffers(source)?;
        Ok(0)
    })
}

/// As aio_submit_read, into registered memory.
///
/// `buf`: inside registered buffer `buf_index`, which counts from 0.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; -EFAULT, there is no such buffer, or `buf` is not inside it;
/// those of pread(2).
/// Kernel: 5.1.
/// Surprise: an operation looks its buffer up when it begins: a member of a chain when its turn
/// comes, and with AIO_SUBMIT_ASYNC when the worker takes it. Before Linux 6.13 that is when it is
/// handed over, and a member with -EFAULT takes those before it with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_read_fixed(
    ctx: *mut aio_ctx, fd: c_int, buf: *mut c_void, len: usize, offset: u64, buf_index: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_read_fixed: ctx, options, callback, user_data;
        fd: c_int, buf: *mut c_void, len: usize, offset: u64, buf_index: u32;
        of(buf, len) =>
        Ok(Fixed::<false> { fd, buf, len, offset, index: buf_index })
    }
}

/// As aio_submit_write, from registered memory.
///
/// `buf`: inside registered buffer `buf_index`, which counts from 0.
/// Context thread.
/// Errors: -EINVAL, `buf` is NULL; -EFAULT, there is no such buffer, or `buf` is not inside it;
/// those of pwrite(2).
/// Kernel: 5.1.
/// Surprise: as of aio_submit_read_fixed; and a socket or pipe without a reader raises SIGPIPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_write_fixed(
    ctx: *mut aio_ctx, fd: c_int, buf: *const c_void, len: usize, offset: u64, buf_index: u32,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    frequent! {
        aio_submit_write_fixed: ctx, options, callback, user_data;
        fd: c_int, buf: *const c_void, len: usize, offset: u64, buf_index: u32;
        of(buf, len) =>
        Ok(Fixed::<true> { fd, buf, len, offset, index: buf_index })
    }
}

/// Submits a vectored transfer of registered memory, in the form that the backend has.
///
/// # Safety
/// The pointers are as the ABI wants them.
unsafe fn submit_vectored<const WRITE: bool>(
    ctx: *mut aio_ctx, transfer: impl Fn() -> Result<VectoredFixed<'static, WRITE>, Errno>,
    options: *const aio_submit_options, callback: aio_callback, user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle, if WRITE { "writev_fixed" } else { "readv_fixed" } => {
        let done = done(callback, user_data)?;
        let op = transfer()?;
        let engine = handle.enter()?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        let (opcode, index) = (VectoredFixed::<WRITE>::OPCODE, op.index);
        let id = if engine.must_transfer_plainly(opcode, index, op.vectored.vectors)? {
            engine.submit_carefully(&op.vectored, &options, done)?
        } else {
            engine.submit_carefully(&op, &options, done)?
        };
        Ok(id as aio_op_id)
    })
}

/// As aio_submit_readv, into registered memory.
///
/// `iov`: an array of `iovcnt` vectors, at most 1,024, copied, all inside registered buffer
/// `buf_index`, which counts from 0; none of length 0. `flags`: RWF_*.
/// Context thread.
/// Errors: -EINVAL, a bad `iov` or `iovcnt`; -EFAULT, there is no such buffer, or a vector is empty
/// or not inside it; those of preadv2(2).
/// Kernel: 6.15; before, an ordinary aio_submit_readv, whose -EFAULT comes from the submit, and
/// which the release of its buffer does not wait for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_readv_fixed(
    ctx: *mut aio_ctx, fd: c_int, iov: *const iovec, iovcnt: c_int, offset: u64, flags: c_int,
    buf_index: u32, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit_vectored::<false>(
            ctx,
            move || {
                let vectors = arguments::vectors(iov, arguments::count(iovcnt)?)?;
                let vectored = Vectored { fd, vectors, offset, flags };
                Ok(VectoredFixed { vectored, index: buf_index })
            },
            options,
            callback,
            user_data,
        )
    }
}

/// As aio_submit_writev, from registered memory.
///
/// Arguments, errors and kernels as of aio_submit_readv_fixed.
/// Context thread.
/// Surprise: to a socket or pipe without a reader it raises SIGPIPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_writev_fixed(
    ctx: *mut aio_ctx, fd: c_int, iov: *const iovec, iovcnt: c_int, offset: u64, flags: c_int,
    buf_index: u32, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    // SAFETY: the ABI's pointers.
    unsafe {
        submit_vectored::<true>(
            ctx,
            move || {
                let vectors = arguments::vectors(iov, arguments::count(iovcnt)?)?;
                let vectored = Vectored { fd, vectors, offset, flags };
                Ok(VectoredFixed { vectored, index: buf_index })
            },
            options,
            callback,
            user_data,
        )
    }
}
