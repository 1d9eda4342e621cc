//! Child processes. Each is watched and reaped by one thread of the process, the *reaper*, which
//! lives while there are children: so that a child whose operation or context has gone leaves no
//! zombie, and one that is to be killed is killed in time whatever its context does.
//!
//! A child is the reaper's from the moment at which it runs. Signals are sent under the reaper's
//! lock, so that they never meet a number that is somebody else's by then.

use crate::engine::external::{Answer, Completer, External, Kind, Payload, Scope, begin};
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions, submit_flags};
use crate::op::service;
use crate::sys::clock;
use crate::sys::descriptor::EventFd;
use crate::sys::errno::Errno;
use crate::sys::poller::{BATCH, Event, Poller, events};
use crate::sys::process::{Child, Command, Exit, Started};
use crate::sys::signal;
use crate::sys::sync::{Mutex, MutexGuard};
use crate::sys::thread::PerProcess;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::PoisonError;
use std::thread::Builder;

/// Added to the signal in the result of a child that a signal has ended.
pub(crate) const SIGNALED: i32 = 256;
/// A child that cannot be watched is looked at so often.
const LOOK_NS: u64 = 10_000_000;
const STACK_BYTES: usize = 128 * 1024;
/// The event counter's, among the numbers of children.
const BELL: u64 = 0;

static REAPER: PerProcess<Reaper> = PerProcess::new();

#[derive(Default)]
struct Reaper {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    children: BTreeMap<u64, Watched>,
    /// The number of the newest child.
    newest: u64,
    /// Children that are being started.
    coming: u32,
    /// Wakes the thread; None: there is none.
    bell: Option<EventFd>,
}

struct Watched {
    child: Child,
    /// Who is told; None: nobody any more.
    completer: Option<Completer>,
    kill_at_ns: Option<u64>,
    how: Watch,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    NotYet,
    ByEvents,
    /// The kernel has no room for it: looked at now and then.
    ByLooking,
}

/// What a callback is told of a child's end.
pub(crate) struct Ended(pub(crate) Exit);

impl Payload for Ended {}

/// Ends an operation.
type Report = (Completer, Result<Exit, Errno>);

fn report((completer, outcome): Report) {
    match outcome {
        Ok(exit) => {
            let signaled = if exit.is_of_its_own() { 0 } else { SIGNALED };
            let used_ns = exit.user_ns + exit.system_ns;
            completer.end(exit.status + signaled, used_ns, Some(Box::new(Ended(exit))));
        }
        Err(errno) => completer.end(errno.status(), 0, None),
    }
}

impl Reaper {
    /// This process's.
    fn get() -> Result<&'static Reaper, Errno> {
        REAPER.get(Reaper::default)
    }

    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A child is going to be started: there is a thread for it from now on.
    fn expect(&'static self) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.bell.is_none() {
            let (bell, poller) = (EventFd::create()?, Poller::create()?);
            poller.add(bell.raw(), events::IN, BELL)?;
            let builder = Builder::new().name("aio_rs-reaper".into()).stack_size(STACK_BYTES);
            let started = signal::with_all_blocked(|| builder.spawn(|| self.serve(poller)));
            started.map_err(|_| Errno::EAGAIN)?;
            state.bell = Some(bell);
        }
        state.coming += 1;
        Ok(())
    }

    /// The child that was expected, or none.
    fn take(&self, child: Option<(Child, Completer)>) -> u64 {
        let mut state = self.lock();
        state.coming -= 1;
        state.newest += 1;
        let number = state.newest;
        if let Some((child, completer)) = child {
            let completer = Some(completer);
            let watched = Watched { child, completer, kill_at_ns: None, how: Watch::NotYet };
            state.children.insert(number, watched);
        }
        state.ring();
        number
    }

    /// The operation of a child is asked to end: the child gets the signal, and SIGKILL later; or
    /// it goes on, and nobody is told.
    fn cancel(&self, number: u64, ending: Ending) -> Answer {
        let mut state = self.lock();
        let Some(watched) = state.children.get_mut(&number) else { return Answer::Ended };
        // One that may not be signalled goes on as well.
        if ending.signal == 0 || watched.child.signal(ending.signal).is_err() {
            watched.completer = None;
            return Answer::Removed;
        }
        watched.kill_at_ns = clock::now_ns().checked_add(ending.grace_ns);
        state.ring();
        Answer::Coming
    }

    /// The thread. Its descriptors are gone before the last end is told.
    fn serve(&self, mut poller: Poller) {
        let mut happened = Box::new([Event { events: 0, u64: 0 }; BATCH]);
        loop {
            let mut reports = Vec::new();
            let limit = self.lock().attend(&poller, &mut reports);
            reports.into_iter().for_each(report);
            // A failure is looked into at once: children that have ended are seen all the same.
            let count = poller.wait(&mut happened, limit).unwrap_or(0);
            let mut reports = Vec::new();
            let mut state = self.lock();
            for event in &happened[..count] {
                let number = event.u64;
                if number == BELL {
                    state.bell.iter().for_each(EventFd::drain);
                } else {
                    state.look_at(number, &poller, &mut reports);
                }
            }
            let is_last = state.coming == 0 && state.children.is_empty();
            if is_last {
                state.bell = None;
                drop(poller);
                drop(state);
                return reports.into_iter().for_each(report);
            }
            drop(state);
            reports.into_iter().for_each(report);
        }
    }
}

impl State {
    fn ring(&self) {
        self.bell.iter().for_each(EventFd::signal);
    }

    /// Watches new children, kills those whose time is up, looks at those that cannot be watched;
    /// how long there is nothing else to do.
    fn attend(&mut self, poller: &Poller, reports: &mut Vec<Report>) -> Option<u64> {
        let now_ns = clock::now_ns();
        let mut next_ns = u64::MAX;
        let mut unwatched = Vec::new();
        for (&number, watched) in &mut self.children {
            if watched.how == Watch::NotYet {
                let added = poller.add(watched.child.descriptor(), events::IN, number);
                watched.how = if added.is_ok() { Watch::ByEvents } else { Watch::ByLooking };
            }
            if watched.how == Watch::ByLooking {
                next_ns = next_ns.min(now_ns + LOOK_NS);
                unwatched.push(number);
            }
            if watched.kill_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
                watched.kill_at_ns = None;
                // One that may not be killed is not waited for.
                if watched.child.kill().is_err()
                    && let Some(completer) = watched.completer.take()
                {
                    reports.push((completer, Err(Errno::ECANCELED)));
                }
            }
            next_ns = next_ns.min(watched.kill_at_ns.unwrap_or(u64::MAX));
        }
        unwatched.into_iter().for_each(|number| self.look_at(number, poller, reports));
        (next_ns != u64::MAX).then(|| next_ns.saturating_sub(now_ns))
    }

    /// Reaps a child that has ended.
    fn look_at(&mut self, number: u64, poller: &Poller, reports: &mut Vec<Report>) {
        let Some(watched) = self.children.get(&number) else { return };
        let outcome = match watched.child.reap() {
            Ok(None) => return,
            Ok(Some(exit)) => Ok(exit),
            Err(errno) => Err(errno),
        };
        poller.remove(watched.child.descriptor());
        let watched = self.children.remove(&number);
        reports.extend(watched.and_then(|gone| gone.completer).map(|told| (told, outcome)));
    }
}

/// What a cancel, or the deadline, does to a child.
#[derive(Clone, Copy)]
pub(crate) struct Ending {
    /// 0: nothing.
    pub signal: i32,
    /// How long after it SIGKILL comes; u64::MAX: never.
    pub grace_ns: u64,
}

struct Spawn {
    command: Command,
    ending: Ending,
    /// For the submit function.
    started: Rc<RefCell<Option<Started>>>,
    /// The reaper's.
    number: u64,
}

impl External for Spawn {
    fn kind(&self) -> Kind {
        Kind { opcode: service::SPAWN, may_keep_result: true, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let reaper = Reaper::get()?;
        reaper.expect()?;
        match self.command.start() {
            Ok((child, started)) => {
                self.started.replace(Some(started));
                let completer = scope.completer().clone();
                if child.is_none() {
                    completer.end(Errno::ECHILD.status(), 0, None);
                }
                self.number = reaper.take(child.map(|child| (child, completer)));
                Ok(())
            }
            Err(errno) => {
                reaper.take(None);
                Err(errno)
            }
        }
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        // It was there when the operation began.
        Reaper::get().map_or(Answer::Removed, |reaper| reaper.cancel(self.number, self.ending))
    }

    fn place(&self) -> &'static str {
        "in a child process"
    }
}

/// Starts a child, and submits the wait for its end.
pub(crate) fn submit(
    handle: &Handle, command: Command, ending: Ending, options: &SubmitOptions, done: Done,
) -> Result<(u64, Option<Started>), Refusal> {
    // Its number and its pipes are told at once, or the caller could do nothing with it.
    if options.flags & submit_flags::BARRIER != 0 {
        return Err(Errno::EINVAL.into());
    }
    let started = Rc::new(RefCell::new(None));
    let spawn = Spawn { command, ending, started: started.clone(), number: 0 };
    let id = begin(handle, spawn, options, done)?;
    let started = started.borrow_mut().take();
    Ok((id, started))
}
