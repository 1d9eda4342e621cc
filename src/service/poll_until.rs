//! Polling a predicate until it holds: for what has no descriptor, as the streams of a GPU. On the
//! context's thread between its other work, or on a thread of a pool. The interval begins short and
//! doubles up to a limit; nothing spins but for as long as it was told to.

use crate::engine::external::{self, Answer, External, Inner, Kind, Scope};
use crate::engine::handle::Handle;
use crate::engine::{Done, Fires, Refusal, SubmitOptions};
use crate::op::misc::Nop;
use crate::op::{service, traits};
use crate::service::threads::{self, ThreadPool};
use crate::sys::clock;
use crate::sys::errno::Errno;
use crate::sys::function::Function;
use crate::sys::sync::{Condvar, Mutex};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How often to ask.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub min_ns: u64,
    pub max_ns: u64,
    /// For so long after the begin there is no pause at all.
    pub spin_ns: u64,
}

/// What is to be waited before the next question; None: nothing.
struct Pauses {
    pace: Pace,
    next_ns: u64,
    spins_until_ns: u64,
}

impl Pauses {
    fn begin(pace: Pace) -> Pauses {
        let spins_until_ns = match pace.spin_ns {
            0 => 0,
            ns => clock::now_ns().saturating_add(ns),
        };
        Pauses { pace, next_ns: pace.min_ns, spins_until_ns }
    }

    fn next_ns(&mut self) -> Option<u64> {
        if self.spins_until_ns != 0 {
            if clock::now_ns() < self.spins_until_ns {
                return None;
            }
            self.spins_until_ns = 0;
        }
        let ns = self.next_ns;
        self.next_ns = ns.saturating_mul(2).min(self.pace.max_ns);
        Some(ns)
    }
}

/// A predicate on a thread of a pool.
pub(super) struct Predicate {
    function: Function,
    pace: Pace,
    given_up: Mutex<bool>,
    changed: Condvar,
}

impl Predicate {
    /// Asks until the answer is not 0, or nobody wants it any more.
    pub(super) fn poll(&self) -> i32 {
        let mut pauses = Pauses::begin(self.pace);
        let mut pause = Duration::ZERO;
        loop {
            let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
            if !*given_up && !pause.is_zero() {
                let waited = self.changed.wait_timeout(given_up, pause);
                given_up = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if *given_up {
                return Errno::ECANCELED.status();
            }
            drop(given_up);
            let result = self.function.call();
            if result != 0 {
                return result;
            }
            pause = Duration::from_nanos(pauses.next_ns().unwrap_or_default());
        }
    }

    pub(super) fn give_up(&self) {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

/// A predicate on the context's thread.
struct OnContext {
    function: Function,
    pace: Pace,
    pauses: Pauses,
}

impl OnContext {
    /// Asks again in a while; without a pause in the next turn, in which others have theirs.
    fn ask_later(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let submitted = match self.pauses.next_ns() {
            Some(ns) => scope.timer(Fires::After(ns)),
            None => scope.submit(&Nop, &SubmitOptions::default()),
        };
        submitted.map(|_| ())
    }
}

impl External for OnContext {
    fn kind(&self) -> Kind {
        Kind { opcode: service::POLL_UNTIL, traits: traits::CALLER_MEMORY, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.pauses = Pauses::begin(self.pace);
        scope.timer(Fires::After(0)).map(|_| ())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        Answer::Removed
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        if inner.result >= 0 {
            return scope.ask();
        }
        scope.completer().end(inner.result, 0, None);
    }

    fn question(&self) -> Option<Function> {
        Some(self.function)
    }

    fn answered(&mut self, scope: &mut Scope<'_>, answer: i32) {
        if answer != 0 {
            return scope.completer().end(answer, answer.max(0) as u64, None);
        }
        if let Err(errno) = self.ask_later(scope) {
            scope.completer().end(errno.status(), 0, None);
        }
    }

    fn place(&self) -> &'static str {
        "polled on the context"
    }
}

/// Polls a predicate, on a thread of `pool` or on the context's own.
pub(crate) fn submit(
    handle: &Handle, function: Function, pace: Pace, pool: Option<&Arc<ThreadPool>>,
    options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal> {
    match pool {
        Some(pool) => {
            let (given_up, changed) = (Mutex::new(false), Condvar::new());
            let predicate = Predicate { function, pace, given_up, changed };
            threads::submit_predicate(handle, pool, predicate, options, done)
        }
        None => {
            let hook = OnContext { function, pace, pauses: Pauses::begin(pace) };
            external::begin(handle, hook, options, done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predicate_that_was_given_up_before_its_begin_is_not_asked() {
        let function = Function::that_nobody_calls();
        let pace = Pace { min_ns: 1, max_ns: 1, spin_ns: 0 };
        let (given_up, changed) = (Mutex::new(false), Condvar::new());
        let predicate = Predicate { function, pace, given_up, changed };
        predicate.give_up();
        assert_eq!(predicate.poll(), Errno::ECANCELED.status());
    }
}
