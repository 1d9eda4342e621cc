//! What is noted of each operation of a context that keeps latencies or is traced. All its submits
//! and completions then take the careful path, where they meet here; the plain one has nothing to
//! ask. The times are in the slots.

use crate::engine::Engine;
use crate::engine::completion::{INNER, NOBODY};
use crate::engine::latency::Latencies;
use crate::engine::submission::{Done, SubmitOptions};
use crate::engine::trace::{Event, Tracer, kind};
use crate::sys::clock;
use crate::sys::errno::Errno;

#[derive(Default)]
pub(crate) struct Observer {
    pub latencies: Option<Box<Latencies>>,
    pub tracer: Option<Tracer>,
}

impl Observer {
    pub(crate) fn new(keeps_latencies: bool) -> Observer {
        let latencies = keeps_latencies.then(|| Box::new(Latencies::new()));
        Observer { latencies, tracer: None }
    }

    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.latencies.is_some() || self.tracer.is_some()
    }
}

impl Engine {
    /// A slot for an operation that will not be refused.
    pub(crate) fn take_slot(
        &mut self, opcode: u8, fd: i32, done: Done, options: &SubmitOptions,
    ) -> Result<u32, Errno> {
        let index = self.try_slot(opcode, fd, done, options)?;
        self.observe_submit(index, options.correlation);
        Ok(index)
    }

    /// An operation has got its slot: its time begins.
    pub(crate) fn observe_begin(&mut self, index: u32) {
        if !self.observer.is_on() {
            return;
        }
        let slot = self.slots.at_mut(index);
        (slot.submitted_ns, slot.is_answered) = (clock::now_ns(), false);
        if let Some(latencies) = &mut self.observer.latencies
            && slot.callback != INNER
        {
            latencies.expect(slot.opcode());
        }
    }

    /// It is submitted: nothing can refuse it any more.
    pub(crate) fn observe_submit(&mut self, index: u32, correlation: u64) {
        let slot = self.slots.at(index);
        if self.observer.tracer.is_none() || slot.callback == INNER {
            return;
        }
        let event =
            Event { at_ns: slot.submitted_ns, correlation, ..Event::of(kind::SUBMIT, slot) };
        self.trace(event);
    }

    /// A result is known; its callback, if it has one, is next. The latency of an operation is the
    /// time to its first result, unless that came of a cancel.
    pub(crate) fn observe_result(&mut self, index: u32, result: i32, flags: u32) {
        let slot = self.slots.at(index);
        if !self.observer.is_on() || matches!(slot.callback, INNER | NOBODY) {
            return;
        }
        let now_ns = clock::now_ns();
        let (begun_ns, is_first) = (slot.submitted_ns, !slot.is_answered);
        if let Some(latencies) = &mut self.observer.latencies
            && is_first
            && result != Errno::ECANCELED.status()
        {
            latencies.record(slot.opcode(), now_ns.saturating_sub(begun_ns));
        }
        if self.observer.tracer.is_some() {
            let correlation = self.cold.get(slot).map_or(0, |cold| cold.correlation);
            let event = Event {
                at_ns: now_ns,
                correlation,
                result,
                flags,
                ..Event::of(kind::COMPLETE, slot)
            };
            self.trace(event);
        }
        self.slots.at_mut(index).is_answered = true;
    }

    /// What the context was asked to keep, if it was.
    pub(crate) fn latencies(&mut self) -> Option<&mut Latencies> {
        self.observer.latencies.as_deref_mut()
    }

    /// Operations in flight whose beginning was not seen have none.
    pub(crate) fn forget_times(&mut self) {
        for index in 0..self.slots.end() {
            let slot = self.slots.at_mut(index);
            (slot.submitted_ns, slot.is_answered) = (0, false);
        }
    }
}
