//! The trace callback: what a context tells of every operation and every turn while it happens.
//! Hides how a function of the program is called while the engine is in the middle of something.

use crate::engine::Engine;
use crate::engine::handle::Handle;
use crate::engine::slots::Slot;
use crate::op::NO_DESCRIPTOR;
use crate::sys::clock;
use crate::sys::function::NoUnwind;
use std::ffi::c_void;
use std::ptr::NonNull;

/// `AIO_TRACE_*`.
pub(crate) mod kind {
    pub(crate) const SUBMIT: u32 = 1;
    pub(crate) const COMPLETE: u32 = 2;
    pub(crate) const TURN_BEGIN: u32 = 3;
    pub(crate) const TURN_END: u32 = 4;
}

/// `aio_trace_event`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub size: u32,
    pub kind: u32,
    pub at_ns: u64,
    pub id: i64,
    pub opcode: u32,
    pub fd: i32,
    pub result: i32,
    pub flags: u32,
    pub user_data: usize,
    pub correlation: u64,
    pub submitted_ns: u64,
    pub waited_ns: u64,
    pub submitted: u32,
    pub delivered: u32,
}

impl Event {
    const fn new(kind: u32) -> Event {
        Event {
            size: size_of::<Event>() as u32,
            kind,
            at_ns: 0,
            id: 0,
            opcode: 0,
            fd: NO_DESCRIPTOR,
            result: 0,
            flags: 0,
            user_data: 0,
            correlation: 0,
            submitted_ns: 0,
            waited_ns: 0,
            submitted: 0,
            delivered: 0,
        }
    }

    /// An event of an operation; its time and what is not in the slot are the caller's to fill.
    pub(crate) fn of(kind: u32, slot: &Slot) -> Event {
        Event {
            id: slot.id() as i64,
            opcode: slot.opcode().into(),
            fd: slot.descriptor(),
            user_data: slot.user_data,
            submitted_ns: slot.submitted_ns,
            ..Event::new(kind)
        }
    }
}

pub(crate) type Function = unsafe extern "C-unwind" fn(*mut c_void, *const Handle, *const Event);

/// Whom to tell, and what the last turn event has said.
pub(crate) struct Tracer {
    function: Function,
    arg: *mut c_void,
    handle: NonNull<Handle>,
    /// Operations submitted until then.
    submitted: u64,
    /// The turn that is under way, if its beginning was told.
    turn: Option<Turn>,
}

#[derive(Clone, Copy)]
struct Turn {
    begun_ns: u64,
    waited_ns: u64,
    /// Callbacks until then.
    callbacks: u64,
}

impl Engine {
    /// Traces from now on, or no more.
    ///
    /// # Safety
    /// This engine is the handle's, and `function` may be called with `arg` for as long as it is
    /// not replaced.
    pub(crate) unsafe fn set_trace(
        &mut self, handle: &Handle, function: Option<Function>, arg: *mut c_void,
    ) {
        if !self.observer.is_on() {
            self.forget_times();
        }
        let submitted = self.slots.submitted();
        let handle = NonNull::from(handle);
        self.observer.tracer =
            function.map(|function| Tracer { function, arg, handle, submitted, turn: None });
        self.decide_path();
    }

    /// Tells the program, which cannot come back meanwhile.
    pub(crate) fn trace(&mut self, event: Event) {
        let Some(tracer) = &self.observer.tracer else { return };
        if self.mute {
            return;
        }
        let (function, arg, handle) = (tracer.function, tracer.arg, tracer.handle);
        // SAFETY: the promise of `set_trace`. Of the handle nothing is borrowed but the engine,
        // which the function cannot reach.
        let handle = unsafe { handle.as_ref() };
        handle.shut_out(|| {
            let guard = NoUnwind;
            // SAFETY: as above.
            unsafe { function(arg, handle, &event) };
            std::mem::forget(guard);
        });
    }

    /// A turn begins: it hands over what was submitted since the last one.
    #[inline(always)]
    pub(super) fn trace_turn_begin(&mut self) {
        if self.observer.tracer.is_some() {
            self.trace_turn(kind::TURN_BEGIN);
        }
    }

    /// It has handed over and waited.
    #[inline(always)]
    pub(super) fn trace_waited(&mut self) {
        if let Some(tracer) = &mut self.observer.tracer
            && let Some(turn) = &mut tracer.turn
        {
            turn.waited_ns = clock::now_ns() - turn.begun_ns;
        }
    }

    /// It has delivered.
    #[inline(always)]
    pub(super) fn trace_turn_end(&mut self) {
        if self.observer.tracer.as_ref().is_some_and(|tracer| tracer.turn.is_some()) {
            self.trace_turn(kind::TURN_END);
        }
    }

    #[cold]
    fn trace_turn(&mut self, kind: u32) {
        let (total, callbacks, now_ns) =
            (self.slots.submitted(), self.callbacks(), clock::now_ns());
        let Some(tracer) = &mut self.observer.tracer else { return };
        let submitted = total.wrapping_sub(tracer.submitted) as u32;
        tracer.submitted = total;
        let mut event = Event { at_ns: now_ns, submitted, ..Event::new(kind) };
        match tracer.turn.take() {
            Some(turn) if kind == kind::TURN_END => {
                event.waited_ns = turn.waited_ns;
                event.delivered = callbacks.wrapping_sub(turn.callbacks) as u32;
            }
            _ => tracer.turn = Some(Turn { begun_ns: now_ns, waited_ns: 0, callbacks }),
        }
        self.trace(event);
    }
}
