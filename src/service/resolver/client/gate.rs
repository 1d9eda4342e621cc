//! How many lookups have sockets at a time, in all contexts together. A lookup that wants some
//! begins a `Turn`, whose end brings a permit; the permit's end lets the next one in.

use crate::engine::external::{self, Completer, External, Kind, Payload, Scope};
use crate::op::service;
use crate::sys::errno::Errno;
use crate::sys::sync::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

pub(crate) struct Gate {
    state: Mutex<State>,
}

struct State {
    free: u32,
    /// By number, so in their order.
    waiting: BTreeMap<u64, Completer>,
    next: u64,
}

/// Leave to have sockets.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    process: u32,
}

impl Gate {
    pub(crate) fn new(permits: u32) -> Arc<Gate> {
        let state = State { free: permits, waiting: BTreeMap::new(), next: 0 };
        Arc::new(Gate { state: Mutex::new(state) })
    }

    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payload for Permit {}

impl Drop for Permit {
    fn drop(&mut self) {
        // In a forked child the lock may be held by a thread that is not there.
        if std::process::id() != self.process {
            return;
        }
        let next = {
            let mut state = self.gate.lock();
            let next = state.waiting.pop_first();
            state.free += u32::from(next.is_none());
            next
        };
        if let Some((_, completer)) = next {
            let permit = Permit { gate: Arc::clone(&self.gate), process: self.process };
            completer.end(0, 0, Some(Box::new(permit)));
        }
    }
}

/// The wait for a permit, as an operation.
pub(crate) struct Turn {
    gate: Arc<Gate>,
    number: u64,
}

impl Turn {
    pub(crate) fn new(gate: &Arc<Gate>) -> Turn {
        Turn { gate: Arc::clone(gate), number: 0 }
    }
}

impl External for Turn {
    fn kind(&self) -> Kind {
        Kind { opcode: service::RESOLVE, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let completer = scope.completer().clone();
        let mut state = self.gate.lock();
        state.next += 1;
        self.number = state.next;
        if state.free == 0 {
            state.waiting.insert(self.number, completer);
            return Ok(());
        }
        state.free -= 1;
        drop(state);
        let permit = Permit { gate: Arc::clone(&self.gate), process: std::process::id() };
        completer.end(0, 0, Some(Box::new(permit)));
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> external::Answer {
        match self.gate.lock().waiting.remove(&self.number) {
            Some(_) => external::Answer::Removed,
            // The permit is on its way.
            None => external::Answer::Ended,
        }
    }

    fn place(&self) -> &'static str {
        "waiting for its turn"
    }
}
