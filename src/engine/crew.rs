//! A crew: threads for work that sleeps in the kernel or elsewhere, behind one queue. It grows
//! while work waits and no thread is free, up to a ceiling, and shrinks when threads idle; an idle
//! thread costs no CPU. What has not begun can be taken back; what runs is waited for, or
//! interrupted by a signal if it is of a kind that can be. A context's own calls (`pool.rs`) and
//! the program's thread pools (`service/threads.rs`) are such work.
//!
//! Work is done with its submitter's credentials (setfsuid and the like are per thread): work and
//! threads are sorted into *classes* by who they are, as a rule one.

#[cfg(test)]
pub(crate) mod tests;

use crate::sys::errno::Errno;
use crate::sys::facility::Cpus;
use crate::sys::signal;
use crate::sys::sync::{Arc, Builder, Condvar, JoinHandle, Mutex, MutexGuard};
use crate::sys::thread::{self, Credentials};
use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

/// How long between two signals to work that must end.
const NUDGE: Duration = Duration::from_millis(1);

/// Work for a thread.
pub(crate) trait Task: Send + 'static {
    /// What the threads share with whoever wants the results.
    type Sink: Send + Sync + 'static;

    /// A signal ends what it sleeps in.
    const INTERRUPTIBLE: bool;

    /// Names it in its crew while it is there. Searching is quick where later ones are higher.
    fn name(&self) -> u64;

    /// `is_cancelled`: somebody has asked for its end since it began.
    fn perform(&self, own: &mut Own, is_cancelled: &dyn Fn() -> bool) -> i32;

    /// Its result; no lock is held.
    fn end(self, result: i32, sink: &Self::Sink);
}

/// What a thread keeps between two tasks.
#[derive(Default)]
pub(crate) struct Own {
    pub priority: u16,
}

/// How many threads, and what they are like.
#[derive(Clone)]
pub(crate) struct Limits {
    pub name: String,
    /// So many stay, once they were started.
    pub threads_min: usize,
    pub threads_max: usize,
    /// So many are started as soon as work waits; more by `relieve`.
    pub threads_eager: usize,
    /// Work that may wait while all threads are busy.
    pub queue_max: usize,
    /// A thread that finds nothing to do for so long ends.
    pub idle: Duration,
    pub stack_bytes: usize,
    pub cpus: Option<Box<Cpus>>,
}

/// What became of a request to end a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cancel {
    /// It had not begun and never will.
    Removed,
    /// It runs, and was interrupted if it can be: its result comes. The signal may have come too
    /// early: ask again.
    Running,
    /// It has ended, or it never was.
    Unknown,
}

/// What a submission met; a task that was taken is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Submitted {
    Taken(u64),
    /// It waits, but there is no thread and none can be had.
    Threadless(u64),
    /// No room: it was not taken.
    Full,
}

/// Tasks and threads of the same credentials.
struct Class<T: Task> {
    who: Credentials,
    queue: VecDeque<T>,
    /// Threads that wait for a task, and those that were started and have not looked yet.
    idle: usize,
    starting: usize,
    threads: usize,
    /// A new thread could not act as these: only one that is started by a thread that does will.
    refused: bool,
    work: Arc<Condvar>,
}

impl<T: Task> Class<T> {
    fn new(who: Credentials) -> Class<T> {
        Class {
            who,
            queue: VecDeque::new(),
            idle: 0,
            starting: 0,
            threads: 0,
            refused: false,
            work: Arc::new(Condvar::new()),
        }
    }

    /// Where a task waits. They come nearly always in the order of their names.
    fn position(&self, name: u64) -> Option<usize> {
        let sorted = self.queue.binary_search_by_key(&name, Task::name).ok();
        sorted.or_else(|| self.queue.iter().position(|task| task.name() == name))
    }

    /// More tasks wait than threads are about to look for one.
    fn is_short(&self) -> bool {
        self.queue.len() > self.idle + self.starting
    }
}

struct State<T: Task> {
    classes: Vec<Class<T>>,
    running: Vec<Running>,
    handles: Vec<JoinHandle<()>>,
    /// Tasks that wait, of all classes, and that ever were handed in.
    queued: usize,
    submitted: u64,
    /// Threads of all classes.
    threads: usize,
    /// Which class is looked at first when another thread is to be started.
    turn: usize,
    closing: bool,
}

impl<T: Task> State<T> {
    /// The class of `who`, made if need be.
    fn class(&mut self, who: Credentials) -> &mut Class<T> {
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
    name: u64,
    target: signal::Target,
    cancelled: bool,
}

struct Shared<T: Task> {
    state: Mutex<State<T>>,
    /// Nothing runs any more.
    calm: Condvar,
    limits: Limits,
    sink: T::Sink,
}

impl<T: Task> Shared<T> {
    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The crew itself, for any thread. Dropping it leaves the threads behind: `stop` ends them.
pub(crate) struct Crew<T: Task> {
    shared: Arc<Shared<T>>,
}

/// What there is at a moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Head {
    pub threads: usize,
    pub queued: usize,
    pub running: usize,
    pub submitted: u64,
}

impl<T: Task> Crew<T> {
    /// A crew without threads.
    pub(crate) fn new(limits: Limits, sink: T::Sink) -> Crew<T> {
        let state = State {
            classes: Vec::new(),
            running: Vec::new(),
            handles: Vec::new(),
            queued: 0,
            submitted: 0,
            threads: 0,
            turn: 0,
            closing: false,
        };
        let shared = Shared { state: Mutex::new(state), calm: Condvar::new(), limits, sink };
        Crew { shared: Arc::new(shared) }
    }

    pub(crate) fn sink(&self) -> &T::Sink {
        &self.shared.sink
    }

    pub(crate) fn head(&self) -> Head {
        let state = self.shared.lock();
        Head {
            threads: state.threads,
            queued: state.queued,
            running: state.running.len(),
            submitted: state.submitted,
        }
    }

    /// Hands in the task that `make` makes, who may use the number that it gets as a name; it waits
    /// for a thread.
    pub(crate) fn submit(&self, who: Credentials, make: impl FnOnce(u64) -> T) -> Submitted {
        let limits = &self.shared.limits;
        let (threads, name) = {
            let mut state = self.shared.lock();
            let room = limits.threads_max.saturating_add(limits.queue_max);
            if state.closing || state.queued + state.running.len() >= room {
                return Submitted::Full;
            }
            state.queued += 1;
            state.submitted += 1;
            let task = make(state.submitted);
            let name = task.name();
            let class = state.class(who);
            class.refused = false;
            class.queue.push_back(task);
            if !class.is_short() {
                class.work.notify_one();
                return Submitted::Taken(name);
            }
            (class.threads, name)
        };
        if threads >= limits.threads_eager || self.grow(who).is_ok() || self.has_threads(who) {
            return Submitted::Taken(name);
        }
        Submitted::Threadless(name)
    }

    /// Looked at when no thread can be had: others may have started the last ones meanwhile.
    fn has_threads(&self, who: Credentials) -> bool {
        self.shared.lock().classes.iter().any(|class| class.who == who && class.threads != 0)
    }

    /// Who waits for a thread, and how many threads there are.
    pub(crate) fn short(&self) -> Option<(Credentials, usize)> {
        let mut state = self.shared.lock();
        // In turn, so that a class that can have no thread does not keep one from another.
        let count = state.classes.len();
        let turn = state.turn;
        state.turn = turn.wrapping_add(1);
        let mut classes = (0..count).map(|nth| &state.classes[(turn + nth) % count]);
        let short = classes.find(|class| class.is_short() && !class.refused)?;
        Some((short.who, state.threads))
    }

    /// Starts a thread for the tasks of `who`.
    pub(crate) fn grow(&self, who: Credentials) -> Result<(), Errno> {
        // Settled before a thread is there to be interrupted.
        let _ = signal::interrupt_number();
        let limits = &self.shared.limits;
        let (work, finished) = {
            let mut state = self.shared.lock();
            if state.threads >= limits.threads_max || state.closing {
                return Err(Errno::EAGAIN);
            }
            state.threads += 1;
            let finished = take_finished(&mut state.handles);
            let class = state.class(who);
            class.threads += 1;
            class.starting += 1;
            (Arc::clone(&class.work), finished)
        };
        join(finished);
        let shared = Arc::clone(&self.shared);
        let builder = Builder::new().name(limits.name.clone()).stack_size(limits.stack_bytes);
        // The program's signals are for the program's threads.
        let spawned = signal::with_all_blocked(|| builder.spawn(move || live(&shared, who, &work)));
        let mut state = self.shared.lock();
        match spawned {
            Ok(handle) => {
                state.handles.push(handle);
                Ok(())
            }
            Err(_) => {
                state.threads -= 1;
                let class = state.class(who);
                class.threads -= 1;
                class.starting -= 1;
                Err(Errno::EAGAIN)
            }
        }
    }

    /// Whether a task has not begun.
    pub(crate) fn is_waiting(&self, name: u64) -> bool {
        self.shared.lock().classes.iter().any(|class| class.position(name).is_some())
    }

    /// Asks a task to end.
    pub(crate) fn cancel(&self, name: u64) -> Cancel {
        let mut state = self.shared.lock();
        for class in &mut state.classes {
            if let Some(position) = class.position(name) {
                let task = class.queue.remove(position);
                state.queued -= 1;
                drop(state);
                drop(task);
                return Cancel::Removed;
            }
        }
        // The lock keeps the thread in its task, or on its way into or out of it.
        match state.running.iter_mut().find(|running| running.name == name) {
            Some(running) => {
                running.cancelled = true;
                if T::INTERRUPTIBLE {
                    running.target.interrupt();
                }
                Cancel::Running
            }
            None => Cancel::Unknown,
        }
    }

    /// Ends every thread, and waits for them and for what runs. Gives back what had not begun.
    pub(crate) fn stop(&self) -> Vec<T> {
        let mut left = Vec::new();
        let mut state = self.shared.lock();
        loop {
            state.closing = true;
            state.queued = 0;
            for class in &mut state.classes {
                left.extend(class.queue.drain(..));
                class.work.notify_all();
            }
            if state.running.is_empty() {
                break;
            }
            if !T::INTERRUPTIBLE {
                let calm = self.shared.calm.wait(state);
                state = calm.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            for running in &mut state.running {
                running.cancelled = true;
                running.target.interrupt();
            }
            let calm = self.shared.calm.wait_timeout(state, NUDGE);
            state = calm.unwrap_or_else(PoisonError::into_inner).0;
        }
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        join(handles);
        left
    }

    /// In a forked child, where the threads do not exist and the lock may be held by one of them:
    /// lets go of the memory if there never was a thread.
    pub(crate) fn abandon(self, close: impl FnOnce(&T::Sink)) {
        let Crew { mut shared } = self;
        if Arc::get_mut(&mut shared).is_none() {
            close(&shared.sink);
            std::mem::forget(shared);
        }
    }
}

/// Those of the threads that have ended.
fn take_finished(handles: &mut Vec<JoinHandle<()>>) -> Vec<JoinHandle<()>> {
    #[cfg(all(test, shuttle))]
    return Vec::new().into_iter().chain(handles.drain(..0)).collect();
    #[cfg(not(all(test, shuttle)))]
    handles.extract_if(.., |handle| handle.is_finished()).collect()
}

fn join(handles: Vec<JoinHandle<()>>) {
    for handle in handles {
        let _ = handle.join();
    }
}

/// The life of a thread of the crew.
fn live<T: Task>(shared: &Shared<T>, who: Credentials, work: &Condvar) {
    if T::INTERRUPTIBLE {
        signal::accept_interrupts();
    }
    if let Some(cpus) = &shared.limits.cpus {
        thread::run_on(cpus);
    }
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

/// Does the tasks of a class until there have been none for a while, or the crew is stopped.
fn serve<'a, T: Task>(
    shared: &'a Shared<T>, who: Credentials, work: &Condvar, mut state: MutexGuard<'a, State<T>>,
) -> MutexGuard<'a, State<T>> {
    let target = signal::Target::current();
    let mut own = Own::default();
    loop {
        if let Some(task) = state.class(who).queue.pop_front() {
            let name = task.name();
            state.queued -= 1;
            state.running.push(Running { name, target, cancelled: false });
            drop(state);
            let result = task.perform(&mut own, &|| {
                let state = shared.lock();
                state.running.iter().any(|running| running.name == name && running.cancelled)
            });
            state = shared.lock();
            state.running.retain(|running| running.name != name);
            if state.running.is_empty() && state.closing {
                shared.calm.notify_all();
            }
            drop(state);
            // Last: whoever learns of the end may use the name again.
            task.end(result, &shared.sink);
            state = shared.lock();
            continue;
        }
        let limits = &shared.limits;
        let others_wait = state.threads >= limits.threads_max
            && state.classes.iter().any(|class| class.who != who && class.is_short());
        if state.closing || others_wait {
            return state;
        }
        let stays = state.threads <= limits.threads_min;
        state.class(who).idle += 1;
        let timed_out;
        (state, timed_out) = if stays {
            (work.wait(state).unwrap_or_else(PoisonError::into_inner), false)
        } else {
            let waited = work.wait_timeout(state, limits.idle);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            (again, timeout.timed_out())
        };
        let is_spare = state.threads > limits.threads_min;
        let class = state.class(who);
        class.idle -= 1;
        if timed_out && is_spare && class.queue.is_empty() {
            return state;
        }
    }
}
