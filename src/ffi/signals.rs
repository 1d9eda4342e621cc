//! Signals.

use crate::ffi::submit::{aio_submit_options, done};
use crate::ffi::{aio_callback, aio_ctx, aio_op_id, arguments, guard};
use crate::service::signals::{self, Details};
use crate::sys::errno::Errno;
use std::ffi::{c_int, c_void};

/// Bytes of a siginfo_t.
const SIGINFO_BYTES: usize = 128;

/// Waits for a signal, again and again: a callback with AIO_CQE_MORE for each delivery, until
/// cancelled. The result is the number of deliveries since the last callback: 1, or more when the
/// context was so late that only the newest 32 were kept one by one.
///
/// `signo`: a signal that is sent from outside, to the process or to any thread of it. Several
/// operations, of one context or of several, may wait for the same one: each is told.
/// The signal's action is the library's from the first such operation to the last one's end: the
/// default action is not taken. A handler that the program has installed before is called as well,
/// on the thread and with the mask as if alone; afterwards its action is there again. A delivery
/// that came before a cancel is told before the end.
/// `extra` of a record: si_pid, with si_code in the upper half.
/// Context thread.
/// Errors: -EINVAL, not a signal, or one that cannot be waited for: SIGKILL, SIGSTOP, those of a
/// thread's own fault (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS), the C library's, and
/// interrupt_signal of aio_info; -EBUSY, a handler that the program has put over the library's
/// during an earlier wait is still there; -EMFILE, -ENFILE. Not for AIO_SUBMIT_QUIET.
/// Surprise: a signal that every thread blocks waits until one does not. A handler that is
/// installed during the wait takes the signal away, unless it calls what sigaction(2) said was
/// there. In a forked child the earlier action is there again when the first signal comes; what it
/// executes before gets the default action, also for a signal that was ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_submit_signal(
    ctx: *mut aio_ctx, signo: c_int, options: *const aio_submit_options, callback: aio_callback,
    user_data: *mut c_void,
) -> aio_op_id {
    guard!(ctx, handle => {
        let done = done(callback, user_data)?;
        // SAFETY: sized options or NULL.
        let options = unsafe { arguments::submit_options_or_default(options) }?;
        Ok(signals::submit(handle, signo, &options, done)? as aio_op_id)
    })
}

/// Tells of the delivery that the running callback of aio_submit_signal is about; of several, the
/// newest.
///
/// `info`: a siginfo_t, as a handler with SA_SIGINFO gets it.
/// Context thread, inside a callback.
/// Errors: -EINVAL, `info` is NULL; -ENOENT, the callback is about nothing of the kind, or no more
/// than the number is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_current_signal(ctx: *mut aio_ctx, info: *mut c_void) -> i32 {
    guard!(ctx, handle => {
        let out = arguments::output(info)?;
        let details = handle.enter_used()?.payload::<Details>().ok_or(Errno::ENOENT)?;
        let from = (&raw const details.0).cast::<u8>();
        // SAFETY: the caller's siginfo_t, longer than what is known.
        unsafe {
            out.write_bytes(0, SIGINFO_BYTES);
            out.cast::<u8>().copy_from_nonoverlapping(from, size_of_val(&details.0));
        }
        Ok(0)
    })
}
