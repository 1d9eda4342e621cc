//! The trace callback.

use crate::engine::trace::{Event, Function};
use crate::ffi::{aio_ctx, aio_op_id, aio_trace_fn, guard};
use std::ffi::c_void;
use std::mem::offset_of;

/// An event's kind: an operation was submitted. Its id will be the submit call's result.
pub const AIO_TRACE_SUBMIT: u32 = 1;
/// An event's kind: an operation has a result; without AIO_CQE_MORE among `flags` it has ended.
/// Its callback comes next, unless it has none.
pub const AIO_TRACE_COMPLETE: u32 = 2;
/// An event's kind: a turn begins to hand over what was submitted, and to wait.
pub const AIO_TRACE_TURN_BEGIN: u32 = 3;
/// An event's kind: a turn has delivered what there was.
pub const AIO_TRACE_TURN_END: u32 = 4;

/// What a trace callback is told; fields of other kinds of events are 0, and `fd` -1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct aio_trace_event {
    /// Its size to the library: what lies behind is not there
    pub size: u32,
    /// AIO_TRACE_*; others may be added
    pub kind: u32,
    /// When, by CLOCK_MONOTONIC
    pub at_ns: u64,
    /// The operation, like all of the next but the last three
    pub id: aio_op_id,
    /// As for aio_ctx_operation_stats
    pub opcode: u32,
    /// Its descriptor; -1: none, or a slot of the context's table
    pub fd: i32,
    /// What its callback is told
    pub result: i32,
    /// The same: AIO_CQE_*
    pub flags: u32,
    /// The submit call's
    pub user_data: *mut c_void,
    /// That of aio_submit_options
    pub correlation: u64,
    /// When it was submitted; 0: before the context was traced
    pub submitted_ns: u64,
    /// Of the end of a turn: how long that has handed over and waited, before it delivered
    pub waited_ns: u64,
    /// Of a turn's events: operations submitted since the one before
    pub submitted: u32,
    /// Of the end of a turn: callbacks, posted functions and records
    pub delivered: u32,
}

const _: () = {
    assert!(size_of::<aio_trace_event>() == size_of::<Event>());
    assert!(offset_of!(aio_trace_event, fd) == offset_of!(Event, fd));
    assert!(offset_of!(aio_trace_event, user_data) == offset_of!(Event, user_data));
    assert!(offset_of!(aio_trace_event, submitted_ns) == offset_of!(Event, submitted_ns));
    assert!(offset_of!(aio_trace_event, delivered) == offset_of!(Event, delivered));
};

/// Has `trace` called with every event of the context from now on, in their order, on its thread;
/// NULL: no more. A context that was never traced pays nothing for it; a traced one a look at the
/// clock per event, and the longer way through submit and turn.
///
/// What a submit call has refused is no event, nor what services do inside themselves. What
/// aio_ctx_cancel_wait, aio_ctx_detach and AIO_SUBMIT_QUIET keep from a callback is one. Destroying
/// goes on in turns and is traced to the end; what destroys the context of a thread that has ended
/// (AIO_EORPHANED) traces completions alone. A context that has failed (AIO_EPANIC) traces nothing.
///
/// The engine is in the middle of a submit or a turn when it calls `trace`, which must be short. It
/// may call what any thread may call, of this context too (post, stop, stats, take and give back a
/// reference), and everything of other contexts; all else of this one is AIO_EREENTRANT, also
/// aio_ctx_cancel and aio_ctx_destroy, or does nothing. It must not longjmp, and a child that is
/// forked in it must not return.
/// `trace`: called with `arg` and the context until it is replaced or the context is gone; the
/// event is the engine's and good during the call. Setting it inside a callback is allowed: a turn
/// whose beginning was not traced has no end.
/// Context thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aio_ctx_set_trace(
    ctx: *mut aio_ctx, trace: aio_trace_fn, arg: *mut c_void,
) -> i32 {
    guard!(ctx, handle => {
        let engine = handle.enter()?;
        // SAFETY: a context is its handle to the engine, and events are laid out alike (asserted
        // above), so that to the machine it is a function of this type; good for as long as the
        // caller promises.
        unsafe {
            let trace = std::mem::transmute::<aio_trace_fn, Option<Function>>(trace);
            engine.set_trace(handle, trace, arg);
        }
        Ok(0)
    })
}
