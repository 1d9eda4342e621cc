//! Notifiers: any thread signals, an operation on any context waits. Signals that nobody has been
//! told of yet are counted and told together.

use crate::engine::bell::{Bell, Claim, Occurrences};
use crate::engine::external::{self, Answer, External, Kind, Scope, Told};
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::{service, traits};
use crate::sys::errno::Errno;
use std::sync::Arc;

/// The result where there will be no more to tell (`AIO_ECLOSED`).
pub(crate) const CLOSED: i32 = -5009;

pub(crate) struct Notifier {
    signals: Occurrences,
    bell: Bell,
}

impl Notifier {
    pub(crate) fn new() -> Notifier {
        Notifier { signals: Occurrences::new(), bell: Bell::new() }
    }

    /// False once it is closed. Also from signal handlers.
    pub(crate) fn signal(&self) -> bool {
        let counted = self.signals.add();
        if counted {
            self.bell.ring();
        }
        counted
    }

    pub(crate) fn close(&self) {
        self.signals.close();
        self.bell.ring();
    }
}

/// Waits for a signal, or with `multishot` for one after the other.
pub(crate) fn wait(
    handle: &Handle, notifier: Arc<Notifier>, multishot: bool, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal> {
    external::begin(handle, Wait { notifier, multishot, claim: None }, options, done)
}

struct Wait {
    notifier: Arc<Notifier>,
    multishot: bool,
    /// From its start to its end.
    claim: Option<Claim>,
}

impl Wait {
    fn listen(&self, scope: &Scope<'_>) {
        let Notifier { signals, bell } = &*self.notifier;
        if let Some(claim) = &self.claim {
            bell.listen_for(claim, scope.completer(), || signals.is_due());
        }
    }
}

impl External for Wait {
    fn kind(&self) -> Kind {
        let traits = if self.multishot { traits::MULTISHOT } else { 0 };
        Kind { opcode: service::NOTIFIER_WAIT, traits, brings: true, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.claim = Some(self.notifier.bell.claim().ok_or(Errno::EBUSY)?);
        self.listen(scope);
        Ok(())
    }

    fn cancel(&mut self, _scope: &mut Scope<'_>) -> Answer {
        Answer::Removed
    }

    fn rung(&mut self, scope: &mut Scope<'_>) -> Option<Told> {
        match self.notifier.signals.take() {
            None => Some(Told { result: CLOSED, is_last: true, extra: 0 }),
            Some(count) => {
                if self.multishot || count == 0 {
                    self.listen(scope);
                }
                let result = i32::try_from(count).unwrap_or(i32::MAX);
                (count != 0).then_some(Told { result, is_last: !self.multishot, extra: count })
            }
        }
    }

    fn place(&self) -> &'static str {
        "waiting for a signal"
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.notifier.bell.stop_listening(&claim);
            self.notifier.bell.release(claim);
        }
    }
}
