//! External operations: those that no entry of the backend carries. Something else ends them (a
//! thread of a pool, another context, a signal, a service made of several inner operations), by a
//! `Completer`: a message that any thread may send. To the program they are operations like any
//! other: an id, a deadline, cancellation, groups, barriers, destroy. Hides how the two meet.
//!
//! A service implements `External` for what it keeps per operation and calls `begin`. The engine
//! keeps that object, its *hook*, until the operation has ended, and calls it on the context's
//! thread. A hook may have *inner* operations on the same context: ordinary ones whose completions
//! come to the hook and to no callback. The end of an operation waits for its inner ones, so that
//! a hook owns the memory that they use.

mod inner;
#[cfg(test)]
mod tests;

pub(crate) use inner::{Inner, Scope};

use crate::engine::cancel::Why;
use crate::engine::cold::Cold;
use crate::engine::completion::{Delivery, INNER, NOBODY, ended};
use crate::engine::handle::{Handle, Reference};
use crate::engine::slots::{phase, state};
use crate::engine::submission::{Done, SubmitOptions, submit_flags};
use crate::engine::{Engine, Refusal};
use crate::op::{NO_DESCRIPTOR, traits};
use crate::sys::descriptor;
use crate::sys::entry::cqe_flags;
use crate::sys::errno::Errno;
use crate::sys::function::Function;
use crate::sys::refused::Fault;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// What a service keeps of one operation. All calls come on the context's thread (an orphan's from
/// its destroyer's), and must not wait. It is dropped when the operation has ended, also in a
/// forked child, where no other thread lives: dropping must not lock, signal or join.
pub(crate) trait External: 'static {
    fn kind(&self) -> Kind;

    /// Begins: inside the submit call, or when the barrier opens that holds the operation. An error
    /// is the submit's, or, behind a barrier, the callback's; the hook is then dropped.
    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno>;

    /// Asks it to end; once at most.
    fn cancel(&mut self, scope: &mut Scope<'_>) -> Answer;

    /// An inner operation has completed. Not called any more when the end is settled.
    fn completed(&mut self, _scope: &mut Scope<'_>, _inner: Inner) {}

    /// The function of the program that is to be called for the hook (`Scope::ask`).
    fn question(&self) -> Option<Function> {
        None
    }

    /// What that function has said.
    fn answered(&mut self, _scope: &mut Scope<'_>, _answer: i32) {}

    /// Its bell has rung (`engine::bell`). What this gives is told as a message of the completer's
    /// would be. Not called any more once the operation was asked to end.
    fn rung(&mut self, _scope: &mut Scope<'_>) -> Option<Told> {
        None
    }

    /// Where it is, for dumps.
    fn place(&self) -> &'static str {
        "with its service"
    }
}

/// What the engine must know of an external operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kind {
    /// Of `op::service`.
    pub opcode: u8,
    /// `MULTISHOT`, `CALLER_MEMORY`, `GIVES_DESCRIPTOR` of `op::traits`.
    pub traits: u32,
    /// Success brings something that the caller must be told of: not for AIO_SUBMIT_QUIET.
    pub brings: bool,
    /// AIO_SUBMIT_KEEP_RESULT means something: the result of what was cancelled too late.
    pub may_keep_result: bool,
    /// As if that was always asked for.
    pub keeps_result: bool,
}

/// What becomes of an operation that is asked to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Nothing outside the engine works on it any more: it ends now. Its inner operations are
    /// cancelled and waited for by the engine.
    Removed,
    /// Its end will come from the completer, and says -ECANCELED unless the result is kept.
    Coming,
    /// The request is too late: the end has been sent, with the result that it has.
    Ended,
}

/// What a result brings beside its numbers; dropped when nobody wants it.
pub(crate) trait Payload: Any + Send {
    /// The caller is about to be told: writes what belongs into memory of the caller's.
    fn deliver(&mut self) {}
}

/// A result that a hook tells itself.
pub(crate) struct Told {
    pub result: i32,
    pub is_last: bool,
    /// As of `Completer::end`.
    pub extra: u64,
}

/// A result of an external operation, as a message.
pub(crate) struct End {
    id: u64,
    result: i32,
    is_last: bool,
    /// `extra` of a record, and what aio_ctx_current_bytes tells.
    extra: u64,
    payload: Option<Box<dyn Payload>>,
}

/// Ends an operation, from any thread, or from the context's own: the callback comes in a later
/// turn, never inside this call. Cheap to clone. Good for nothing once the operation has ended.
#[derive(Clone)]
pub(crate) struct Completer {
    handle: Reference,
    id: u64,
}

impl Completer {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whose operation it is.
    pub(crate) fn handle(&self) -> &Reference {
        &self.handle
    }

    /// The last result.
    pub(crate) fn end(&self, result: i32, extra: u64, payload: Option<Box<dyn Payload>>) {
        self.send(result, true, extra, payload);
    }

    /// One of several, of a multishot.
    pub(crate) fn more(&self, result: i32, extra: u64, payload: Option<Box<dyn Payload>>) {
        self.send(result, false, extra, payload);
    }

    fn send(&self, result: i32, is_last: bool, extra: u64, payload: Option<Box<dyn Payload>>) {
        self.handle.send_end(Box::new(End { id: self.id, result, is_last, extra, payload }));
    }
}

/// A hook with what the engine keeps beside it.
pub(crate) struct Hooked(Box<Outer<dyn External>>);

struct Outer<H: ?Sized> {
    completer: Completer,
    keeps_result: bool,
    /// Inner operations in flight.
    inners: Vec<u64>,
    /// How it ends is settled, and the end that waits for its inner operations.
    is_settled: bool,
    waiting: Option<End>,
    /// The hook has panicked: it is not called any more.
    broken: bool,
    /// The kernel may still write to what the hook owns.
    leaks: bool,
    hook: H,
}

impl Hooked {
    pub(crate) fn place(&self) -> &'static str {
        if self.0.is_settled { "ending" } else { self.0.hook.place() }
    }

    /// Its operation has ended.
    pub(crate) fn let_go(self) {
        if self.0.leaks {
            std::mem::forget(self);
        }
    }

    /// Whether the hook is to be told of what happens.
    fn listens(&self) -> bool {
        !self.0.broken && !self.0.is_settled
    }
}

/// What the engine keeps of external operations beside their hooks.
#[derive(Default)]
pub(crate) struct Externals {
    /// Operations in flight that belong to services.
    inner: u32,
    /// What the result has brought whose callback is running.
    payload: Option<Box<dyn Payload>>,
    /// The operation whose hook wants to know something of the program.
    asking: Option<u64>,
    /// What services keep for the context, one of a type.
    kept: Vec<Rc<dyn Any>>,
}

impl Externals {
    pub(crate) fn inner(&self) -> u32 {
        self.inner
    }
}

/// Begins an external operation.
pub(crate) fn begin<H: External>(
    handle: &Handle, hook: H, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal> {
    Ok(handle.enter()?.begin_external(handle, hook, options, done)?)
}

/// What an external operation cannot be combined with: it is not in the kernel's order of things.
const REFUSED: u32 = submit_flags::LINKS
    | submit_flags::ASYNC
    | submit_flags::FIXED_FILE
    | submit_flags::DIRECT
    | submit_flags::INHERIT
    | submit_flags::SIGPIPE;

fn check(kind: &Kind, options: &SubmitOptions) -> Result<(), Errno> {
    let has = |flag: u32| options.flags & flag != 0;
    let brings = kind.brings || kind.traits & traits::GIVES_DESCRIPTOR != 0;
    let is_idle = kind.traits & traits::MULTISHOT != 0 && options.timeout_ns != 0;
    Fault::first([
        (has(REFUSED), Fault::OutsideKernel),
        (options.file_slot != 0, Fault::FileSlot),
        (options.ioprio != 0, Fault::Priority),
        (options.buf_index != 0, Fault::BufIndex),
        (has(submit_flags::TIMEOUT_IDLE) && !is_idle, Fault::Idle),
        (has(submit_flags::QUIET) && brings, Fault::Quiet),
        (has(submit_flags::KEEP_RESULT) && !kind.may_keep_result, Fault::KeepResult),
    ])
}

impl Engine {
    fn begin_host<H: External>(&mut self, handle: &Handle, hook: H) -> Result<u64, Errno> {
        let aside = self.put_chain_aside();
        let done = Done { callback: INNER, user_data: 0 };
        let outcome = self.begin_external(handle, hook, &SubmitOptions::default(), done);
        self.take_chain_up(aside);
        self.count_inner(outcome?);
        outcome
    }

    fn begin_external<H: External>(
        &mut self, handle: &Handle, hook: H, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        let kind = hook.kind();
        check(&kind, options)?;
        if self.chains.is_open() {
            return Err(Errno::invalid(Fault::ChainOpen));
        }
        let is_most = self.counted.is_at_most(kind.opcode);
        let index = self.try_slot(kind.opcode, NO_DESCRIPTOR, done, options)?;
        let id = self.slots.id(index);
        let outer = Outer {
            completer: Completer { handle: Reference::to(handle), id },
            keeps_result: kind.keeps_result || options.flags & submit_flags::KEEP_RESULT != 0,
            inners: Vec::new(),
            is_settled: false,
            waiting: None,
            broken: false,
            leaks: false,
            hook,
        };
        let idle = options.flags & submit_flags::TIMEOUT_IDLE != 0;
        let cold = Cold {
            external: Some(Hooked(Box::new(outer))),
            group: options.group,
            correlation: options.correlation,
            period_ns: if idle { options.timeout_ns } else { 0 },
            epoch: self.barriers.note(),
            ..Cold::new()
        };
        let key = self.cold.add(cold);
        let slot = self.slots.at_mut(index);
        slot.cold = key;
        slot.state |= state::COLD | phase::BACKEND | kind.traits & traits::KEPT;
        self.multishots += u32::from(kind.traits & traits::MULTISHOT != 0);
        if options.timeout_ns != 0 {
            self.arm_after(index, options.timeout_ns);
        }
        if options.flags & submit_flags::BARRIER != 0 {
            self.hold_behind_barrier(index);
            self.observe_submit(index, options.correlation);
            return Ok(id);
        }
        match self.start_external(index) {
            // Nothing was begun, so that nothing was submitted.
            Err(errno) if self.is_alone(index) => {
                self.local -= 1;
                self.slots.hide();
                if done.callback != INNER {
                    self.counted.forget(kind.opcode, is_most);
                }
                self.slots.at_mut(index).callback = NOBODY;
                self.free(index);
                self.unhide();
                Err(errno)
            }
            started => {
                self.observe_submit(index, options.correlation);
                if let Err(errno) = started {
                    self.settle_external(index, errno.status());
                }
                Ok(id)
            }
        }
    }

    fn start_external(&mut self, index: u32) -> Result<(), Errno> {
        let slot = self.slots.at_mut(index);
        if slot.phase() != phase::HELD {
            self.local += 1;
        }
        slot.set_phase(phase::EXTERNAL);
        let started = self.with_hook(index, |hook, scope| hook.start(scope));
        started.unwrap_or(Err(Errno::ECANCELED))
    }

    /// Starts what a barrier held.
    pub(crate) fn start_external_late(&mut self, index: u32) {
        if let Err(errno) = self.start_external(index) {
            self.settle_external(index, errno.status());
        }
    }

    pub(crate) fn is_external(&self, index: u32) -> bool {
        self.cold.get(self.slots.at(index)).is_some_and(|cold| cold.external.is_some())
    }

    fn hooked(&mut self, index: u32) -> Option<&mut Hooked> {
        self.cold.of(self.slots.at(index)).external.as_mut()
    }

    /// Whether no inner operation of it is in flight.
    fn is_alone(&mut self, index: u32) -> bool {
        self.hooked(index).is_none_or(|hooked| hooked.0.inners.is_empty())
    }

    /// Lets the hook of an operation look at the context; None if it has panicked before. A hook
    /// that panics now keeps what it owns until its inner operations have ended.
    fn with_hook<T>(
        &mut self, index: u32, body: impl FnOnce(&mut dyn External, &mut Scope<'_>) -> T,
    ) -> Option<T> {
        let cold = self.cold.of(self.slots.at(index));
        let mut hooked = cold.external.take_if(|hooked| !hooked.0.broken)?;
        let Outer { completer, inners, hook, .. } = &mut *hooked.0;
        let mut scope = Scope { engine: self, completer, inners };
        let outcome = catch_unwind(AssertUnwindSafe(|| body(hook, &mut scope)));
        hooked.0.broken = outcome.is_err();
        self.cold.of(self.slots.at(index)).external = Some(hooked);
        Some(outcome.unwrap_or_else(|panic| {
            self.settle_external(index, Errno::ECANCELED.status());
            resume_unwind(panic)
        }))
    }

    /// Ends an operation that nothing outside works on: at once, or when its inner operations have
    /// ended, which are asked to.
    fn settle_external(&mut self, index: u32, result: i32) {
        if !self.is_alone(index) {
            let id = self.slots.id(index);
            let end = End { id, result, is_last: true, extra: 0, payload: None };
            self.settle_later(index, end);
        } else if self.slots.at(index).has(state::ENDED) {
            self.make_ended_ready(index);
        } else {
            self.make_ready(index, result, 0);
        }
    }

    /// Keeps an end until the inner operations have ended.
    fn settle_later(&mut self, index: u32, end: End) {
        let Some(hooked) = self.hooked(index) else { return };
        if !hooked.0.is_settled {
            hooked.0.is_settled = true;
            hooked.0.waiting = Some(end);
            for inner in hooked.0.inners.clone() {
                if let Some(index) = self.slots.find(inner) {
                    let _ = self.request_end(index, Why::Aborted);
                }
            }
        }
    }

    /// Asks an operation to end whose state says why.
    pub(crate) fn end_external(&mut self, index: u32) -> Result<(), Errno> {
        let is_settled = self.hooked(index).is_some_and(|hooked| hooked.0.is_settled);
        let answer = if is_settled {
            Answer::Ended
        } else {
            self.with_hook(index, |hook, scope| hook.cancel(scope)).unwrap_or(Answer::Removed)
        };
        match answer {
            Answer::Removed => self.settle_external(index, Errno::ECANCELED.status()),
            Answer::Coming => {}
            Answer::Ended => {
                self.slots.at_mut(index).state &= !state::ENDED;
                return Err(Errno::EALREADY);
            }
        }
        Ok(())
    }

    /// A result has come. None: there is nobody to tell, or the operation has ended before.
    pub(crate) fn take_end(&mut self, mut end: End) -> Option<Delivery> {
        let index = self.slots.find(end.id)?;
        if self.slots.at(index).phase() != phase::EXTERNAL {
            return None;
        }
        if !end.is_last {
            self.restart_idle_deadline(index);
            let delivery = self.tell(index, end.result, cqe_flags::MORE, end.extra)?;
            return Some(self.bring(delivery, end));
        }
        if !self.is_alone(index) {
            self.settle_later(index, end);
            return None;
        }
        let keeps = self.hooked(index).is_some_and(|hooked| hooked.0.keeps_result);
        let slot = self.slots.at(index);
        let overruled = slot.has(state::ENDED) && !keeps;
        if overruled && slot.has(traits::GIVES_DESCRIPTOR) && end.result >= 0 {
            descriptor::close(end.result);
        }
        let (result, flags) = if overruled {
            (end.extra, end.payload) = (0, None);
            ended(slot.state)
        } else if end.result == Errno::ECANCELED.status() {
            self.spell(index, end.result)
        } else if slot.has(state::ENDED) {
            (end.result, ended(slot.state).1)
        } else {
            (end.result, 0)
        };
        self.local -= 1;
        let delivery = self.end(index, result, flags, end.extra)?;
        Some(self.bring(delivery, end))
    }

    /// A bell has rung: its hook says what there is to tell.
    pub(crate) fn rung(&mut self, id: u64) -> Option<Delivery> {
        let index = self.slots.find(id)?;
        if self.mute || self.slots.at(index).phase() != phase::EXTERNAL {
            return None;
        }
        if !self.hooked(index)?.listens() {
            return None;
        }
        let told = self.with_hook(index, |hook, scope| hook.rung(scope))??;
        let Told { result, is_last, extra } = told;
        self.take_end(End { id, result, is_last, extra, payload: None })
    }

    /// Makes what a result has brought ready for whoever is told.
    fn bring(&mut self, delivery: Delivery, end: End) -> Delivery {
        self.externals.payload = end.payload;
        if let Some(payload) = &mut self.externals.payload {
            payload.deliver();
        }
        Delivery { moved: Some(end.extra), ..delivery }
    }

    /// What a service keeps for this context, made when it is first asked for.
    pub(crate) fn kept<T: Default + 'static>(&mut self) -> Rc<T> {
        let mut kept = self.externals.kept.iter();
        if let Some(found) = kept.find_map(|any| any.clone().downcast().ok()) {
            return found;
        }
        let made = Rc::new(T::default());
        self.externals.kept.push(made.clone());
        made
    }

    /// The callback has returned, or there was none.
    pub(crate) fn drop_payload(&mut self) {
        self.externals.payload = None;
    }

    /// What the result has brought whose callback is running, if it is of this type.
    pub(crate) fn payload<P: Payload>(&mut self) -> Option<&mut P> {
        let payload: &mut dyn Any = &mut **self.externals.payload.as_mut()?;
        payload.downcast_mut()
    }
}
