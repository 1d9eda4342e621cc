//! Inner operations: what a hook submits on its own context. They are hidden from the program, and
//! their completions go to the hook inside the turn.

use crate::engine::completion::{Delivery, INNER};
use crate::engine::external::{Completer, End, External, Payload};
use crate::engine::handle::Handle;
use crate::engine::mailbox::{Batch, Mailbox, Message};
use crate::engine::registered::RELEASE;
use crate::engine::slots::phase;
use crate::engine::submission::{Done, SubmitOptions, submit_flags};
use crate::engine::{Engine, Fires};
use crate::op::any::AnyOperation;
use crate::op::traits;
use crate::sys::entry::Cqe;
use crate::sys::errno::Errno;
use crate::sys::function::Function;

/// A completion of an inner operation. A descriptor that it brings is the hook's.
pub(crate) struct Inner {
    pub id: u64,
    pub result: i32,
    /// With `cqe_flags::MORE`, more will come.
    pub flags: u32,
    pub payload: Option<Box<dyn Payload>>,
}

/// The context as a hook sees it.
pub(crate) struct Scope<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) completer: &'a Completer,
    pub(super) inners: &'a mut Vec<u64>,
}

impl Scope<'_> {
    /// What ends this operation.
    pub(crate) fn completer(&self) -> &Completer {
        self.completer
    }

    /// Submits an inner operation; memory that it uses is the hook's. Not in chains, not with the
    /// buffers of a pool.
    pub(crate) fn submit(
        &mut self, op: &dyn AnyOperation, options: &SubmitOptions,
    ) -> Result<u64, Errno> {
        if op.facts().pool != 0 || options.flags & submit_flags::LINKS != 0 {
            return Err(Errno::EINVAL);
        }
        self.add(|engine, _, done| engine.submit_carefully(op, options, done))
    }

    /// Submits an inner timer. A hook that was asked to end must not wait for one: while the
    /// program waits in aio_ctx_cancel_wait none fires.
    pub(crate) fn timer(&mut self, fires: Fires) -> Result<u64, Errno> {
        let options = SubmitOptions::default();
        self.add(|engine, _, done| engine.submit_timer_carefully(fires, &options, done))
    }

    /// Begins another external operation as an inner one.
    pub(crate) fn begin<H: External>(&mut self, hook: H) -> Result<u64, Errno> {
        let options = SubmitOptions::default();
        self.add(|engine, handle, done| engine.begin_external(handle, hook, &options, done))
    }

    /// Has the hook's `question` called, as a callback is, with nothing of the engine borrowed;
    /// `answered` gets what it says. Only in `completed`.
    pub(crate) fn ask(&mut self) {
        self.engine.externals.asking = Some(self.completer.id);
    }

    /// Begins an operation that is nobody's and not in flight to the program, for what a service
    /// has for as long as the context lives, or until it ends it.
    pub(crate) fn host<H: External>(&mut self, hook: H) -> Result<u64, Errno> {
        if self.engine.destroying {
            return Err(Errno::ECANCELED);
        }
        self.engine.begin_host(&self.completer.handle, hook)
    }

    fn add(
        &mut self, submit: impl FnOnce(&mut Engine, &Handle, Done) -> Result<u64, Errno>,
    ) -> Result<u64, Errno> {
        if self.engine.destroying {
            return Err(Errno::ECANCELED);
        }
        // A chain that the program is putting together is none of ours.
        let aside = self.engine.put_chain_aside();
        let done = Done { callback: INNER, user_data: self.completer.id as usize };
        let outcome = submit(self.engine, &self.completer.handle, done);
        self.engine.take_chain_up(aside);
        let id = outcome?;
        self.inners.push(id);
        self.engine.count_inner(id);
        Ok(id)
    }
}

impl Engine {
    /// An operation of a service's is in flight; no barrier waits for it.
    pub(super) fn count_inner(&mut self, id: u64) {
        self.externals.inner += 1;
        self.slots.hide();
        let index = self.slots.find(id);
        if index.is_some_and(|index| self.slots.at(index).has(traits::MULTISHOT)) {
            self.multishots -= 1;
        }
    }

    /// An operation of a service's has ended.
    pub(crate) fn inner_ended(&mut self, owner: u64, id: u64) {
        self.externals.inner -= 1;
        self.unhide();
        let Some(index) = self.slots.find(owner) else { return };
        let Some(hooked) = self.hooked(index) else { return };
        hooked.0.inners.retain(|&inner| inner != id);
        if hooked.0.inners.is_empty()
            && let Some(end) = hooked.0.waiting.take()
        {
            hooked.0.completer.handle.send_end(Box::new(end));
        }
    }

    pub(crate) fn is_inner(&self, id: u64) -> bool {
        self.slots.find(id).is_some_and(|index| self.slots.at(index).callback == INNER)
    }

    /// Tells the hook of an inner completion; what nobody wants is released.
    pub(crate) fn deliver_inner(&mut self, delivery: Delivery) {
        let payload = self.externals.payload.take();
        let Some(index) = self.listener(delivery.user_data as u64) else {
            delivery.brings.close();
            return;
        };
        let Delivery { id, result, flags, .. } = delivery;
        let inner = Inner { id, result, flags, payload };
        self.with_hook(index, |hook, scope| hook.completed(scope, inner));
    }

    /// The operation whose hook was just told and wants to know something.
    pub(crate) fn take_asking(&mut self) -> Option<u64> {
        self.externals.asking.take()
    }

    /// What an operation wants to know. None: it has ended since, or was asked to; and nobody is
    /// asked after a panic.
    pub(crate) fn question(&mut self, id: u64) -> Option<Function> {
        let index = self.listener(id).filter(|_| !self.mute)?;
        self.hooked(index)?.0.hook.question()
    }

    /// Brings an operation, if it is still there, the answer to its question.
    pub(crate) fn answer(&mut self, id: u64, answer: i32) {
        if let Some(index) = self.listener(id) {
            self.with_hook(index, |hook, scope| hook.answered(scope, answer));
        }
    }

    /// Where an operation is whose hook is to be told of what happens.
    fn listener(&mut self, id: u64) -> Option<u32> {
        self.slots.find(id).filter(|&index| {
            self.slots.at(index).phase() == phase::EXTERNAL
                && self.hooked(index).is_some_and(|hooked| hooked.listens())
        })
    }

    /// The same while the program waits for one operation and nothing of its own is called: the
    /// hook's question comes with the mail.
    fn deliver_inner_in_wait(&mut self, delivery: Delivery) {
        self.deliver_inner(delivery);
        if let Some(id) = self.take_asking() {
            self.inbox.append(Batch::of(Message::Asks(id)));
        }
    }

    /// The same for a completion that was just taken from the backend.
    pub(crate) fn complete_inner(&mut self, cqe: Cqe) {
        if let Some(delivery) = self.complete(cqe) {
            self.deliver_inner_in_wait(delivery);
        }
    }

    /// While the program waits for `id` alone: takes what has come for it, and for services, on
    /// which it may depend.
    pub(crate) fn take_ends(&mut self, mailbox: &Mailbox, id: u64) {
        self.inbox.append(mailbox.take());
        let slots = &self.slots;
        let is_due = |end: &End| {
            let inner = slots.find(end.id).is_some_and(|index| slots.at(index).callback == INNER);
            inner || end.id == id
        };
        for end in self.inbox.take_ends(is_due) {
            if let Some(delivery) = self.take_end(end) {
                self.deliver_inner_in_wait(delivery);
            }
        }
        let is_due = |engine: &Engine, index: u32| {
            let slot = engine.slots.at(index);
            slot.callback == INNER || slot.id() == id
        };
        while let Some(position) =
            self.ready.iter().position(|ready| ready.index != RELEASE && is_due(self, ready.index))
            && let Some(ready) = self.ready.remove(position)
        {
            if let Some(delivery) = self.end_locally(ready) {
                self.deliver_inner_in_wait(delivery);
            }
        }
    }

    /// The backend may still write to what the hook of an inner operation owns.
    pub(crate) fn keep_for_kernel(&mut self, index: u32) {
        let slot = self.slots.at(index);
        if slot.phase() == phase::BACKEND
            && slot.has(traits::CALLER_MEMORY)
            && let Some(owner) = self.slots.find(slot.user_data as u64)
            && let Some(hooked) = self.hooked(owner)
        {
            hooked.0.leaks = true;
        }
    }
}
