//! Thread pools: functions of the program run on threads of their own, and end an operation of the
//! context that submitted them. Hides of which kind a pool is: a crew that grows while work sleeps,
//! or as many threads as there are processors.

use crate::engine::crew::{Cancel, Crew, Head, Limits, Own, Submitted, Task};
use crate::engine::external::{self, Answer, Completer, External, Kind, Scope};
use crate::engine::handle::Handle;
use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::{service, traits};
use crate::service::compute::Compute;
use crate::service::poll_until::Predicate;
use crate::sys::errno::Errno;
use crate::sys::function::Function;
use crate::sys::sync::{Mutex, MutexGuard};
use crate::sys::thread::{Credentials, Gate};
use std::cell::Cell;
use std::sync::{Arc, PoisonError, Weak};

thread_local! {
    /// The address of the pool that this thread works for.
    static SERVING: Cell<usize> = const { Cell::new(0) };
}

/// What runs on a thread.
#[derive(Clone)]
pub(super) enum Body {
    Call(Function),
    Poll(Arc<Predicate>),
}

/// A function that waits for a thread, or runs on one.
pub(super) struct Work {
    name: u64,
    pool: usize,
    body: Body,
    completer: Completer,
}

impl Task for Work {
    type Sink = ();
    // A function of the program's does not expect its system calls to be interrupted.
    const INTERRUPTIBLE: bool = false;

    fn name(&self) -> u64 {
        self.name
    }

    fn perform(&self, _: &mut Own, _: &dyn Fn() -> bool) -> i32 {
        SERVING.set(self.pool);
        match &self.body {
            Body::Call(function) => function.call(),
            Body::Poll(predicate) => predicate.poll(),
        }
    }

    fn end(self, result: i32, _: &()) {
        self.completer.end(result, result.max(0) as u64, None);
    }
}

enum Threads {
    Blocking(Crew<Work>),
    Compute(Compute<Work>),
}

/// A pool, for as long as it or an operation on it lives. Dropping it touches no thread: `destroy`
/// does.
pub(crate) struct ThreadPool {
    threads: Threads,
    limits: Limits,
    /// What may never hold by itself: given up when the pool is destroyed.
    predicates: Mutex<Vec<Weak<Predicate>>>,
    /// Whose credentials its threads have.
    who: Credentials,
    /// Told from a forked child's copy.
    gate: Gate,
}

impl ThreadPool {
    pub(crate) fn create(limits: Limits, computes: bool) -> Result<Arc<ThreadPool>, Errno> {
        let gate = Gate::create()?;
        let threads = if computes {
            Threads::Compute(Compute::create(&limits)?)
        } else {
            Threads::Blocking(Crew::new(limits.clone(), ()))
        };
        let who = Credentials::of_caller();
        Ok(Arc::new(ThreadPool { threads, limits, predicates: Mutex::default(), who, gate }))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn computes(&self) -> bool {
        matches!(self.threads, Threads::Compute(_))
    }

    pub(crate) fn head(&self) -> Result<Head, Refusal> {
        self.check()?;
        Ok(match &self.threads {
            Threads::Blocking(crew) => crew.head(),
            Threads::Compute(compute) => compute.head(),
        })
    }

    /// A forked child has the memory of a pool, and none of its threads.
    fn check(&self) -> Result<(), Refusal> {
        if self.gate.same_process() { Ok(()) } else { Err(Refusal::Forked) }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Hands a function in; its name, by which it is cancelled.
    fn submit(&self, body: Body, completer: Completer) -> Result<u64, Errno> {
        let pool = self.address();
        let make = |name| Work { name, pool, body, completer };
        match &self.threads {
            Threads::Compute(compute) => compute.submit(make).ok_or(Errno::EAGAIN),
            Threads::Blocking(crew) => match crew.submit(self.who, make) {
                Submitted::Taken(name) => Ok(name),
                Submitted::Threadless(name) if crew.cancel(name) != Cancel::Removed => Ok(name),
                Submitted::Threadless(_) | Submitted::Full => Err(Errno::EAGAIN),
            },
        }
    }

    /// Whether a function has not begun.
    fn is_waiting(&self, name: u64) -> bool {
        match &self.threads {
            Threads::Blocking(crew) => crew.is_waiting(name),
            Threads::Compute(compute) => compute.is_waiting(name),
        }
    }

    fn cancel(&self, name: u64) -> Cancel {
        match &self.threads {
            Threads::Blocking(crew) => crew.cancel(name),
            Threads::Compute(compute) => compute.cancel(name),
        }
    }

    fn predicates(&self) -> MutexGuard<'_, Vec<Weak<Predicate>>> {
        self.predicates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a predicate in mind; those that have ended are forgotten when there are many.
    fn remember(&self, predicate: &Arc<Predicate>) {
        let mut predicates = self.predicates();
        if predicates.len() == predicates.capacity() {
            predicates.retain(|other| other.strong_count() != 0);
        }
        predicates.push(Arc::downgrade(predicate));
    }

    /// Cancels what has not begun, waits for what runs, and ends the threads. Nothing, and it is
    /// said, on one of the pool's own threads, which would wait for itself; nothing in a forked
    /// child either, where there are none.
    pub(crate) fn destroy(&self) -> Result<(), Refusal> {
        self.check()?;
        if SERVING.get() == self.address() {
            return Err(Errno::EDEADLK.into());
        }
        let predicates = std::mem::take(&mut *self.predicates());
        // Those that wait for a thread first, so that no thread that becomes free asks them.
        let newest_first = predicates.iter().rev().filter_map(Weak::upgrade);
        newest_first.for_each(|predicate| predicate.give_up());
        let left = match &self.threads {
            Threads::Blocking(crew) => crew.stop(),
            Threads::Compute(compute) => compute.stop(),
        };
        left.into_iter().for_each(|work| work.end(Errno::ECANCELED.status(), &()));
        Ok(())
    }
}

/// An operation that is a function on a pool's thread.
struct OnThread {
    pool: Arc<ThreadPool>,
    opcode: u8,
    body: Body,
    name: u64,
}

impl External for OnThread {
    fn kind(&self) -> Kind {
        Kind {
            opcode: self.opcode,
            traits: traits::CALLER_MEMORY,
            may_keep_result: matches!(self.body, Body::Call(_)),
            ..Kind::default()
        }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        self.name = self.pool.submit(self.body.clone(), scope.completer().clone())?;
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        match self.pool.cancel(self.name) {
            Cancel::Removed => Answer::Removed,
            Cancel::Unknown => Answer::Ended,
            Cancel::Running => {
                if let Body::Poll(predicate) = &self.body {
                    predicate.give_up();
                }
                Answer::Coming
            }
        }
    }

    fn place(&self) -> &'static str {
        if self.pool.is_waiting(self.name) { "waiting for a thread" } else { "with a thread" }
    }
}

fn submit(
    handle: &Handle, pool: &Arc<ThreadPool>, opcode: u8, body: Body, options: &SubmitOptions,
    done: Done,
) -> Result<u64, Refusal> {
    pool.check()?;
    let hook = OnThread { pool: pool.clone(), opcode, body, name: 0 };
    external::begin(handle, hook, options, done)
}

/// Runs a function on a thread of the pool; what it returns is the result.
pub(crate) fn submit_work(
    handle: &Handle, pool: &Arc<ThreadPool>, function: Function, options: &SubmitOptions,
    done: Done,
) -> Result<u64, Refusal> {
    submit(handle, pool, service::WORK, Body::Call(function), options, done)
}

/// Polls a predicate on a thread of the pool, which has nothing else to do meanwhile.
pub(super) fn submit_predicate(
    handle: &Handle, pool: &Arc<ThreadPool>, predicate: Predicate, options: &SubmitOptions,
    done: Done,
) -> Result<u64, Refusal> {
    if pool.computes() {
        return Err(Errno::EINVAL.into());
    }
    let predicate = Arc::new(predicate);
    pool.remember(&predicate);
    let body = Body::Poll(predicate);
    submit(handle, pool, service::POLL_UNTIL, body, options, done)
}
