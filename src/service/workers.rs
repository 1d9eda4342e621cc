//! Workers: threads with a context each. Hides how they begin together or not at all, how they are
//! told to stop, and how connections come to them. What runs on a worker's thread finds its worker
//! by a thread-local; what is shared is behind one lock, which nobody holds while the program's
//! functions run.

mod accepting;

pub(crate) use accepting::Served;

use crate::engine::handle::{Handle, Reference};
use crate::engine::mailbox::{Message, Posted};
use crate::engine::{Refusal, drop_spare, run, run_once};
use crate::sys::errno::Errno;
use crate::sys::sync::{Condvar, Mutex, MutexGuard};
use crate::sys::{clock, listener, signal, thread};
use accepting::Accepting;
use std::cell::RefCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Room for the program's functions.
const STACK_BYTES: usize = 8 << 20;

/// A function of the program's that a worker calls with its context and its number.
pub(crate) type Function<R> = Box<dyn Fn(&Handle, u32) -> R + Send + Sync>;
/// The same with a descriptor that is the function's from then on.
pub(crate) type Taker = Box<dyn Fn(&Handle, i32) + Send + Sync>;

/// What workers are made with.
pub(crate) struct Plan {
    pub count: u32,
    /// Worker i is kept on the processor i modulo their number; none: anywhere.
    pub cpus: Vec<u32>,
    pub create: Box<dyn Fn() -> Result<Box<Handle>, Errno> + Send + Sync>,
    /// A negative value is why the workers cannot begin.
    pub on_start: Option<Function<i32>>,
    pub on_stop: Option<Function<()>>,
    pub on_descriptor: Option<Taker>,
}

/// Why workers did not begin, or how one of them has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Refused(Refusal),
    /// What the program's own function said.
    Said(i32),
}

impl<R: Into<Refusal>> From<R> for Failure {
    fn from(refusal: R) -> Failure {
        Failure::Refused(refusal.into())
    }
}

struct State {
    /// When workers stop waiting for what is in flight, once they were asked to stop.
    stop_ns: Option<u64>,
    /// The first failure.
    outcome: Result<(), Failure>,
    alive: u32,
    /// How many have begun or failed to, and whether all may go on.
    answered: u32,
    may_go_on: bool,
    contexts: Vec<Option<Reference>>,
    /// Who gets what is for anybody.
    next: u32,
    served: Vec<Arc<Served>>,
}

struct Shared {
    plan: Plan,
    state: Mutex<State>,
    /// One has answered or ended, or all may go on.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self, mut state: MutexGuard<'a, State>, condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        while condition(&state) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn fail(&self, failure: Failure) {
        let mut state = self.lock();
        if state.outcome.is_ok() {
            state.outcome = Err(failure);
        }
    }
}

pub(crate) struct Workers {
    shared: Arc<Shared>,
    contexts: Vec<Reference>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What belongs to the thread of a worker.
struct Worker {
    shared: Arc<Shared>,
    index: u32,
    context: Reference,
    accepting: RefCell<Accepting>,
}

thread_local! {
    static WORKER: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// The worker that the calling thread is.
fn current() -> Option<Rc<Worker>> {
    WORKER.with_borrow(Clone::clone)
}

impl Workers {
    /// Begins all of them. When one cannot, those that have begun are ended again.
    pub(crate) fn create(plan: Plan) -> Result<Workers, Failure> {
        let count = plan.count;
        let state = State {
            stop_ns: None,
            outcome: Ok(()),
            alive: 0,
            answered: 0,
            may_go_on: false,
            contexts: vec![None; count as usize],
            next: 0,
            served: Vec::new(),
        };
        let shared = Arc::new(Shared { plan, state: Mutex::new(state), changed: Condvar::new() });
        let mut threads = Vec::new();
        for index in 0..count {
            let shared_too = shared.clone();
            let builder = Builder::new().name(format!("aio_rs-w{index}")).stack_size(STACK_BYTES);
            // The program's signals are for the program's threads.
            let spawned =
                signal::with_all_blocked(|| builder.spawn(move || live(&shared_too, index)));
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(_) => {
                    shared.fail(Errno::EAGAIN.into());
                    break;
                }
            }
        }
        let begun = threads.len() as u32;
        let mut state = shared.wait_while(shared.lock(), |state| state.answered != begun);
        state.alive = begun;
        state.may_go_on = true;
        let outcome = state.outcome;
        if outcome.is_err() {
            state.stop_ns = Some(0);
        }
        let contexts = state.contexts.drain(..).flatten().collect();
        drop(state);
        shared.changed.notify_all();
        let workers = Workers { shared, contexts, threads: Mutex::new(threads) };
        if let Err(failure) = outcome {
            let _ = workers.join();
            return Err(failure);
        }
        Ok(workers)
    }

    pub(crate) fn count(&self) -> u32 {
        self.shared.plan.count
    }

    /// None: there is no such worker.
    pub(crate) fn context(&self, index: u32) -> Option<&Handle> {
        self.contexts.get(index as usize).map(|context| &**context)
    }

    /// That of a worker, or, without one, of each in turn that has not ended.
    fn chosen(&self, index: Option<u32>) -> Result<&Handle, Errno> {
        let index = index.unwrap_or_else(|| {
            let next = &mut self.shared.lock().next;
            let in_turn = (1..=self.count()).map(|step| (*next + step) % self.count());
            let is_there = |&index: &u32| {
                self.context(index).is_some_and(|context| context.check_any_thread().is_ok())
            };
            *next = in_turn.clone().find(is_there).unwrap_or(*next);
            *next
        });
        self.context(index).ok_or(Errno::EINVAL)
    }

    /// Sends to one, or to each in turn.
    pub(crate) fn send(&self, index: Option<u32>, message: Message) -> Result<(), Refusal> {
        self.chosen(index)?.send(message)
    }

    /// Hands a descriptor over; on failure it stays the caller's.
    pub(crate) fn send_descriptor(&self, index: Option<u32>, fd: i32) -> Result<(), Refusal> {
        if fd < 0 {
            return Err(Errno::EBADF.into());
        }
        if self.shared.plan.on_descriptor.is_none() {
            return Err(Errno::EINVAL.into());
        }
        self.send(index, Message::Run(Posted(take_descriptor, as_argument(fd as usize))))
    }

    /// Has every worker accept connections on an address of all of them; the port.
    pub(crate) fn listen(
        &self, address: &[u8], backlog: i32, on_connection: Taker,
    ) -> Result<u16, Refusal> {
        let (sockets, port) = listener::open_shared(address, backlog, self.count() as usize)?;
        let served = Arc::new(Served::new(sockets, on_connection));
        let number = {
            let mut state = self.shared.lock();
            if state.stop_ns.is_some() {
                return Err(Refusal::Closed);
            }
            state.served.push(served.clone());
            state.served.len() - 1
        };
        let mut outcome = Err(Refusal::Closed);
        for (index, context) in self.contexts.iter().enumerate() {
            let message = Message::Run(Posted(accepting::begin_here, as_argument(number)));
            match context.send(message) {
                Ok(()) => outcome = Ok(port),
                // Else the kernel would give connections to a socket that nobody looks at.
                Err(_) => drop(served.take(index)),
            }
        }
        outcome
    }

    /// Asks all to stop: they accept no more, and wait for what is in flight, until then at most.
    pub(crate) fn stop(&self, until_ns: u64) {
        {
            let mut state = self.shared.lock();
            state.stop_ns = Some(state.stop_ns.map_or(until_ns, |before| before.min(until_ns)));
        }
        for context in &self.contexts {
            context.mailbox.request_stop();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.lock().stop_ns.is_some()
    }

    /// In a forked child, where none of the threads is.
    pub(crate) fn are_forked(&self) -> bool {
        self.contexts.iter().any(|context| context.is_forked())
    }

    /// In a forked child: lets go of its copies of the contexts. The rest is left alone, because a
    /// thread may have been changing it when another forked.
    pub(crate) fn abandon_copies(&self) {
        for context in &self.contexts {
            let _ = context.destroy();
        }
    }

    /// Whether the caller is one of them.
    pub(crate) fn include_caller(&self) -> bool {
        current().is_some_and(|worker| Arc::ptr_eq(&worker.shared, &self.shared))
    }

    /// Waits until all have ended; how.
    pub(crate) fn join(&self) -> Result<(), Failure> {
        let shared = &self.shared;
        let outcome = shared.wait_while(shared.lock(), |state| state.alive != 0).outcome;
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
        outcome
    }
}

/// A number that travels as a pointer.
fn as_argument(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

/// A worker's thread.
fn live(shared: &Arc<Shared>, index: u32) {
    let worker = begin(shared, index);
    {
        let mut state = shared.lock();
        state.answered += 1;
        state.contexts[index as usize] = worker.as_ref().map(|worker| worker.context.clone());
        shared.changed.notify_all();
        // Goes on when all have begun, or have not.
        drop(shared.wait_while(state, |state| !state.may_go_on));
    }
    if let Some(worker) = worker {
        worker.live();
    }
    shared.lock().alive -= 1;
    shared.changed.notify_all();
}

/// Begins a worker on its thread. None: it could not, and has said why.
fn begin(shared: &Arc<Shared>, index: u32) -> Option<Rc<Worker>> {
    let plan = &shared.plan;
    let make = || -> Result<Reference, Failure> {
        if !plan.cpus.is_empty() {
            thread::pin_to(plan.cpus[index as usize % plan.cpus.len()])?;
            // So that its memory is near: new, and not what another thread has left.
            drop_spare();
        }
        // After that, for the same reason.
        let handle: &'static Handle = Box::leak((plan.create)()?);
        let context = Reference::to(handle);
        let adopted = context.enter().map(drop);
        let started = adopted.map_err(Failure::from).and_then(|()| {
            match plan.on_start.as_ref().map_or(0, |on_start| on_start(&context, index)) {
                said @ ..0 => Err(Failure::Said(said)),
                _ => Ok(()),
            }
        });
        if let Err(failure) = started {
            let _ = context.destroy();
            return Err(failure);
        }
        Ok(context)
    };
    match make() {
        Ok(context) => {
            let accepting = RefCell::default();
            Some(Rc::new(Worker { shared: shared.clone(), index, context, accepting }))
        }
        Err(failure) => {
            shared.fail(failure);
            None
        }
    }
}

impl Worker {
    /// From its beginning to its end.
    fn live(self: Rc<Worker>) {
        WORKER.set(Some(self.clone()));
        let outcome = self.run_to_the_end();
        // Only now: last callbacks need it.
        WORKER.set(None);
        if let Err(refusal) = outcome {
            self.shared.fail(refusal.into());
        }
    }

    fn run_to_the_end(&self) -> Result<(), Refusal> {
        self.context.mailbox.hold();
        let ran = self.run_until_asked();
        if matches!(ran, Err(Refusal::Destroyed)) {
            return ran;
        }
        if let Some(on_stop) = &self.shared.plan.on_stop {
            on_stop(&self.context, self.index);
        }
        let drained = ran.and_then(|()| {
            accepting::end_here(self);
            self.context.mailbox.release();
            self.drain()
        });
        drained.and(self.context.destroy())
    }

    fn stop_ns(&self) -> Option<u64> {
        self.shared.lock().stop_ns
    }

    /// Another stop of this context is nothing to a worker.
    fn run_until_asked(&self) -> Result<(), Refusal> {
        while self.stop_ns().is_none() {
            self.guarded(run)?;
            if self.context.enter()?.is_clogged() {
                return Err(Errno::ENOBUFS.into()); // Records that nobody reaps here.
            }
        }
        Ok(())
    }

    /// Runs until nothing is left, or the time is up; it may have become shorter meanwhile.
    fn drain(&self) -> Result<(), Refusal> {
        loop {
            let mailbox = &self.context.mailbox;
            let is_done = self.context.enter()?.is_idle(mailbox) && !mailbox.is_held();
            let now_ns = clock::now_ns();
            let left_ns = self.stop_ns().unwrap_or_default().saturating_sub(now_ns);
            if is_done || left_ns == 0 {
                return Ok(());
            }
            let left_ns = i64::try_from(left_ns).unwrap_or(i64::MAX);
            self.guarded(|handle| run_once(handle, left_ns).map(drop))?;
        }
    }

    /// A run call: a panic in the engine poisons the context, and the worker ends.
    fn guarded(&self, body: impl FnOnce(&Handle) -> Result<(), Refusal>) -> Result<(), Refusal> {
        catch_unwind(AssertUnwindSafe(|| self.context.run_with(body))).unwrap_or_else(|_| {
            self.context.poison();
            Err(Refusal::Panicked)
        })
    }
}

/// Posted: a descriptor for this worker.
extern "C-unwind" fn take_descriptor(fd: *mut c_void) {
    if let Some(worker) = current()
        && let Some(on_descriptor) = &worker.shared.plan.on_descriptor
    {
        on_descriptor(&worker.context, fd.addr() as i32);
    }
}
