//! The blocking pool of a context: threads for calls that sleep in the kernel. It grows while calls
//! wait and no thread is free, up to a ceiling, and shrinks when threads idle; an idle thread costs
//! no CPU. A call that has not started can be taken back; one that sleeps is interrupted by a
//! signal and then ends with what it has, so that the memory it uses is the caller's again only
//! when its result is here. Belongs to one thread, which alone submits, cancels and takes results.
//!
//! A call is made with its submitter's credentials (setfsuid and the like are per thread): calls
//! and threads are sorted into *classes* by who they are, as a rule one.

use crate::sys::clock;
use crate::sys::descriptor::EventFd;
use crate::sys::entry::Sqe;
use crate::sys::errno::Errno;
use crate::sys::sync::{Condvar, Mutex, MutexGuard};
use crate::sys::thread::Credentials;
use crate::sys::{descriptor, plain, signal};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Threads at most. Calls behind that many sleeping ones wait for one of them.
const THREADS_MAX: usize = 64;
/// Threads that are started as soon as a call waits; more only if none has ended for `STALL_NS`:
/// calls that compute are not helped by more threads than there are cores.
const THREADS_EAGER: usize = 4;
const STALL_NS: u64 = 1_000_000;
/// A thread that finds nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 128 * 1024;
/// How long between two signals to calls that must end.
const NUDGE_NS: u64 = 1_000_000;
/// The longest pause between two attempts to start a thread where the system refuses more.
const REFUSED_MAX_NS: u64 = 128_000_000;

/// A call to be made: what it is, and the entry that says with what.
pub(crate) struct Job {
    pub id: u64,
    pub call: fn(&Sqe) -> i32,
    pub entry: Sqe,
    pub priority: u16,
}

/// Calls and threads of the same credentials.
struct Class {
    who: Credentials,
    queue: VecDeque<Job>,
    /// Threads that wait for a call, and those that were started and have not looked yet.
    idle: usize,
    starting: usize,
    threads: usize,
    /// A new thread could not act as these: only one that is started by a thread that does will.
    refused: bool,
    work: Arc<Condvar>,
}

impl Class {
    fn new(who: Credentials) -> Class {
        Class {
            who,
            queue: VecDeque::new(),
            idle: 0,
            starting: 0,
            threads: 0,
            refused: false,
            work: Arc::default(),
        }
    }

    /// More calls wait than threads are about to look for one.
    fn is_short(&self) -> bool {
        self.queue.len() > self.idle + self.starting
    }
}

/// The result of a call.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub id: u64,
    pub result: i32,
}

/// What became of a request to end a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancel {
    /// It had not started and never will.
    Removed,
    /// It was told; its result comes. Ask again: the signal may have come too early.
    Interrupted,
    /// Its result is there, or it never was.
    Unknown,
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// Calls that were submitted and whose results were not taken.
    outstanding: u32,
    /// When the pool last made progress, as far as its owner saw.
    progress_ns: u64,
    /// How long calls may be stalled before another thread is started.
    stall_ns: u64,
    /// In a forked child: the threads are the parent's.
    abandoned: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Tells the owner that there are results.
    ended: EventFd,
}

#[derive(Default)]
struct State {
    classes: Vec<Class>,
    running: Vec<Running>,
    ended: Vec<Ended>,
    /// Threads of all classes.
    threads: usize,
    /// Which class is looked at first when another thread is to be started.
    turn: usize,
    closing: bool,
}

impl State {
    /// The class of `who`, made if need be.
    fn class(&mut self, who: Credentials) -> &mut Class {
        let position = match self.classes.iter().position(|class| class.who == who) {
            Some(position) => position,
            None => {
                self.classes.retain(|class| class.threads != 0 || !class.queue.is_empty());
                self.classes.push(Class::new(who));
                self.classes.len() - 1
            }
        };
        &mut self.classes[position]
    }
}

struct Running {
    id: u64,
    target: signal::Target,
    cancelled: bool,
}

impl Shared {
    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// A pool without threads; `descriptor` tells of results.
    pub(crate) fn create() -> Result<Pool, Errno> {
        let shared = Shared { state: Mutex::default(), ended: EventFd::create()? };
        Ok(Pool {
            shared: Arc::new(shared),
            handles: Vec::new(),
            outstanding: 0,
            progress_ns: 0,
            stall_ns: STALL_NS,
            abandoned: false,
        })
    }

    /// Signalled, edge by edge, when results have come.
    pub(crate) fn descriptor(&self) -> i32 {
        self.shared.ended.raw()
    }

    /// Submits a call; it waits for a thread. False where there is none and none can be had.
    pub(crate) fn submit(&mut self, job: Job) -> bool {
        let who = Credentials::of_caller();
        let threads = {
            let mut state = self.shared.lock();
            let class = state.class(who);
            class.refused = false;
            class.queue.push_back(job);
            if !class.is_short() {
                class.work.notify_one();
            }
            if class.is_short() { class.threads } else { usize::MAX }
        };
        self.outstanding += 1;
        threads >= THREADS_EAGER || self.grow(who).is_ok() || threads != 0
    }

    /// Takes results out.
    pub(crate) fn take_ended(&mut self, out: &mut Vec<Ended>) {
        out.append(&mut self.shared.lock().ended);
        if !out.is_empty() {
            self.outstanding -= out.len() as u32;
            self.progress_ns = 0;
            self.stall_ns = STALL_NS;
        }
    }

    /// Starts another thread if calls have waited for too long; returns how long the owner may
    /// sleep before it asks again.
    pub(crate) fn relieve(&mut self) -> Option<u64> {
        if self.outstanding == 0 {
            return None;
        }
        let (who, threads) = {
            let mut state = self.shared.lock();
            // In turn, so that a class that can have no thread does not keep one from another.
            let count = state.classes.len();
            let turn = state.turn;
            state.turn = turn.wrapping_add(1);
            let mut classes = (0..count).map(|nth| &state.classes[(turn + nth) % count]);
            let short = classes.find(|class| class.is_short() && !class.refused);
            (short.map(|class| class.who), state.threads)
        };
        let who = who?;
        if threads >= THREADS_MAX {
            return Some(REFUSED_MAX_NS);
        }
        let now_ns = clock::now_ns();
        if self.progress_ns == 0 {
            self.progress_ns = now_ns;
        }
        let stalled_ns = now_ns - self.progress_ns;
        if stalled_ns < self.stall_ns {
            return Some(self.stall_ns - stalled_ns);
        }
        // Doubling: many calls that sleep for ever must not hold up the one that does not.
        for _ in 0..threads.max(1).min(THREADS_MAX - threads) {
            if self.grow(who).is_err() {
                // Those that there are, or one that can be had later, will come to it.
                self.stall_ns = (2 * self.stall_ns).min(REFUSED_MAX_NS);
                break;
            }
        }
        self.progress_ns = now_ns;
        Some(self.stall_ns)
    }

    /// Starts a thread for the calls of `who`.
    fn grow(&mut self, who: Credentials) -> Result<(), Errno> {
        self.join_finished();
        // Settled before a thread is there to be interrupted.
        let _ = signal::interrupt_number();
        let shared = Arc::clone(&self.shared);
        let work = {
            let mut state = self.shared.lock();
            if state.threads >= THREADS_MAX {
                return Err(Errno::EAGAIN);
            }
            state.threads += 1;
            let class = state.class(who);
            class.threads += 1;
            class.starting += 1;
            Arc::clone(&class.work)
        };
        let builder = Builder::new().name("aio_rs-pool".into()).stack_size(STACK_BYTES);
        // The program's signals are for the program's threads.
        match signal::with_all_blocked(|| builder.spawn(move || live(&shared, who, &work))) {
            Ok(handle) => {
                self.handles.push(handle);
                Ok(())
            }
            Err(_) => {
                let mut state = self.shared.lock();
                state.threads -= 1;
                let class = state.class(who);
                class.threads -= 1;
                class.starting -= 1;
                Err(Errno::EAGAIN)
            }
        }
    }

    fn join_finished(&mut self) {
        let mut index = 0;
        while index < self.handles.len() {
            if self.handles[index].is_finished() {
                let _ = self.handles.swap_remove(index).join();
            } else {
                index += 1;
            }
        }
    }

    /// Asks a call to end.
    pub(crate) fn cancel(&mut self, id: u64) -> Cancel {
        let mut state = self.shared.lock();
        for class in &mut state.classes {
            if let Some(position) = class.queue.iter().position(|job| job.id == id) {
                class.queue.remove(position);
                self.outstanding -= 1;
                return Cancel::Removed;
            }
        }
        // The lock keeps the thread in its call, or on its way into or out of it.
        match state.running.iter_mut().find(|running| running.id == id) {
            Some(running) => {
                running.cancelled = true;
                running.target.interrupt();
                Cancel::Interrupted
            }
            None => Cancel::Unknown,
        }
    }

    /// Ends every call and every thread, and waits for them.
    pub(crate) fn stop(&mut self) {
        loop {
            let mut state = self.shared.lock();
            state.closing = true;
            for class in &mut state.classes {
                class.queue.clear();
                class.work.notify_all();
            }
            for running in &mut state.running {
                running.cancelled = true;
                running.target.interrupt();
            }
            if state.running.is_empty() {
                break;
            }
            drop(state);
            clock::sleep_ns(NUDGE_NS);
        }
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }

    /// In a forked child, where the threads do not exist and the lock may be held by one of them,
    /// and where the owner may have been in the middle of a change.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.abandoned {
            return self.stop();
        }
        // The handles and the threads' shares are of threads that this process has not.
        self.handles.drain(..).for_each(std::mem::forget);
        if Arc::get_mut(&mut self.shared).is_none() {
            descriptor::close(self.shared.ended.raw());
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

/// The life of a thread of the pool.
fn live(shared: &Shared, who: Credentials, work: &Condvar) {
    signal::accept_interrupts();
    let acts_as_who = who.assume();
    let mut state = shared.lock();
    state.class(who).starting -= 1;
    if acts_as_who {
        state = serve(shared, who, work, state);
    } else {
        state.class(who).refused = true;
    }
    state.class(who).threads -= 1;
    state.threads -= 1;
}

/// Makes the calls of a class until there have been none for a while, or the pool closes.
fn serve<'a>(
    shared: &'a Shared, who: Credentials, work: &Condvar, mut state: MutexGuard<'a, State>,
) -> MutexGuard<'a, State> {
    let target = signal::Target::current();
    let mut priority = 0;
    loop {
        if let Some(job) = state.class(who).queue.pop_front() {
            state.running.push(Running { id: job.id, target, cancelled: false });
            drop(state);
            let result = perform(shared, &job, &mut priority);
            state = shared.lock();
            state.running.retain(|running| running.id != job.id);
            let was_empty = state.ended.is_empty();
            state.ended.push(Ended { id: job.id, result });
            if was_empty {
                shared.ended.signal();
            }
            continue;
        }
        let others_wait = state.threads >= THREADS_MAX
            && state.classes.iter().any(|class| class.who != who && class.is_short());
        if state.closing || others_wait {
            return state;
        }
        state.class(who).idle += 1;
        let waited = work.wait_timeout(state, IDLE);
        let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state = again;
        let class = state.class(who);
        class.idle -= 1;
        if timeout.timed_out() && class.queue.is_empty() {
            return state;
        }
    }
}

/// Makes the call, again when a signal was meant for an earlier one.
fn perform(shared: &Shared, job: &Job, priority: &mut u16) -> i32 {
    if *priority != job.priority {
        match plain::set_priority(job.priority) {
            Ok(()) => *priority = job.priority,
            Err(errno) => return errno.status(),
        }
    }
    loop {
        let result = (job.call)(&job.entry);
        let is_cancelled = || {
            let state = shared.lock();
            state.running.iter().any(|running| running.id == job.id && running.cancelled)
        };
        if !Errno::is_interruption(result) || is_cancelled() {
            return result;
        }
    }
}
