//! Waiting for signals. What runs inside handlers is in `sys::sigaction`; here is how a delivery
//! that a handler has noted becomes a result of each operation that waits for it: they poll the
//! bell that handlers ring, and each looks for itself what is new to it.

use crate::engine::external::{Answer, External, Inner, Kind, Payload, Scope, begin};
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::poll::Poll;
use crate::op::{service, traits};
use crate::sys::entry::cqe_flags;
use crate::sys::errno::Errno;
use crate::sys::poller::events;
use crate::sys::sigaction::{Delivered, Subscription, WORDS};

/// The first words of the siginfo_t of the delivery that a callback is about.
pub(crate) struct Details(pub(crate) [u64; WORDS]);

impl Payload for Details {}

impl Details {
    /// What records carry: si_pid, and si_code above it.
    fn summary(&self) -> u64 {
        // The third and the fifth of its integers.
        let low_first = |word: u64| if cfg!(target_endian = "big") { word >> 32 } else { word };
        let (code, sender) = (low_first(self.0[1]) as u32, low_first(self.0[2]) as u32);
        u64::from(code) << 32 | u64::from(sender)
    }
}

struct Wait {
    signo: i32,
    subscription: Option<Subscription>,
}

impl Wait {
    fn watch(&self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let Some(subscription) = &self.subscription else { return Ok(()) };
        // Edge by edge: the bell's counter is never read.
        let poll = Poll::<true> { fd: subscription.bell(), events: events::IN | events::ET };
        scope.submit(&poll, &SubmitOptions::default()).map(drop)
    }

    fn tell(&mut self, scope: &Scope<'_>) {
        while let Some(Delivered { count, details }) =
            self.subscription.as_mut().and_then(Subscription::take)
        {
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            let details = details.map(Details);
            let summary = details.as_ref().map_or(0, Details::summary);
            let payload = details.map(|details| -> Box<dyn Payload> { Box::new(details) });
            scope.completer().more(count, summary, payload);
        }
    }

    fn leave(&mut self) {
        if let Some(subscription) = &mut self.subscription {
            subscription.leave();
        }
    }
}

impl External for Wait {
    fn kind(&self) -> Kind {
        let (opcode, traits) = (service::SIGNAL, traits::MULTISHOT);
        Kind { opcode, traits, brings: true, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.subscription = Some(Subscription::begin(self.signo)?);
        self.watch(scope).inspect_err(|_| self.leave())
    }

    /// What came before the request is told before the end.
    fn cancel(&mut self, scope: &mut Scope<'_>) -> Answer {
        self.leave();
        self.tell(scope);
        Answer::Removed
    }

    fn completed(&mut self, scope: &mut Scope<'_>, inner: Inner) {
        self.tell(scope);
        let is_watched = inner.flags & cqe_flags::MORE != 0;
        let watched = if inner.result < 0 {
            Err(Errno(-inner.result))
        } else if is_watched {
            Ok(())
        } else {
            self.watch(scope)
        };
        if let Err(errno) = watched {
            self.leave();
            self.tell(scope);
            scope.completer().end(errno.status(), 0, None);
        }
    }

    fn place(&self) -> &'static str {
        "waiting for a signal"
    }
}

/// Submits a wait for a signal.
pub(crate) fn submit(
    handle: &Handle, signo: i32, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal> {
    begin(handle, Wait { signo, subscription: None }, options, done)
}
