//! Threads for work that computes: as many as there are processors, by `rayon-core`, which knows
//! when to wake one and when to let it sleep. In front of them is a queue of our own, with a limit,
//! from which work can be taken back. What the threads are given is *tokens*: whoever comes to one
//! takes the oldest task, and the next, until there is none. There are as many as there are tasks,
//! and no more than threads.

use crate::engine::crew::{Cancel, Head, Limits, Own, Task};
use crate::sys::errno::Errno;
use crate::sys::signal;
use crate::sys::sync::{Arc, Condvar, Mutex, MutexGuard};
use crate::sys::thread;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::PoisonError;
use std::thread::{Builder, JoinHandle};

struct State<T> {
    queue: VecDeque<T>,
    running: Vec<u64>,
    /// With the threads.
    tokens: usize,
    submitted: u64,
    closing: bool,
}

/// The queue in front of the threads.
pub(super) struct Front<T> {
    state: Mutex<State<T>>,
    /// Nothing runs any more.
    calm: Condvar,
    /// Tasks that may wait or run.
    room: usize,
    threads: usize,
}

impl<T: Task<Sink = ()>> Front<T> {
    fn new(threads: usize, queue_max: usize) -> Front<T> {
        let (queue, running) = (VecDeque::new(), Vec::new());
        let state = State { queue, running, tokens: 0, submitted: 0, closing: false };
        let room = threads.saturating_add(queue_max);
        Front { state: Mutex::new(state), calm: Condvar::new(), room, threads }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a task that was taken, and whether it needs a token.
    fn push(&self, make: impl FnOnce(u64) -> T) -> Option<(u64, bool)> {
        let mut state = self.lock();
        if state.closing || state.queue.len() + state.running.len() >= self.room {
            return None;
        }
        state.submitted += 1;
        let task = make(state.submitted);
        let name = task.name();
        state.queue.push_back(task);
        let tasks = state.queue.len() + state.running.len();
        let needs_token = state.tokens < tasks.min(self.threads);
        state.tokens += usize::from(needs_token);
        Some((name, needs_token))
    }

    /// A thread has come to a token.
    fn serve(&self) {
        let mut state = self.lock();
        while let Some(task) = state.queue.pop_front() {
            let name = task.name();
            state.running.push(name);
            drop(state);
            let result = task.perform(&mut Own::default(), &|| false);
            state = self.lock();
            state.running.retain(|&running| running != name);
            if state.running.is_empty() && state.closing {
                self.calm.notify_all();
            }
            drop(state);
            task.end(result, &());
            state = self.lock();
        }
        state.tokens -= 1;
    }

    fn cancel(&self, name: u64) -> Cancel {
        let mut state = self.lock();
        if let Ok(position) = state.queue.binary_search_by_key(&name, Task::name) {
            let task = state.queue.remove(position);
            drop(state);
            drop(task);
            return Cancel::Removed;
        }
        if state.running.contains(&name) { Cancel::Running } else { Cancel::Unknown }
    }

    /// Waits until nothing runs any more, though ends may be on their way; gives back what had not
    /// begun.
    fn close(&self) -> VecDeque<T> {
        let mut state = self.lock();
        state.closing = true;
        let left = std::mem::take(&mut state.queue);
        while !state.running.is_empty() {
            state = self.calm.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        left
    }
}

/// The threads, until they are joined. A forked child drops none of them.
struct Threads {
    rayon: ManuallyDrop<rayon_core::ThreadPool>,
    handles: Vec<JoinHandle<()>>,
}

pub(super) struct Compute<T> {
    front: Arc<Front<T>>,
    threads: std::sync::Mutex<Option<Threads>>,
    count: usize,
}

impl<T: Task<Sink = ()>> Compute<T> {
    pub(super) fn create(limits: &Limits) -> Result<Compute<T>, Errno> {
        let mut handles = Vec::new();
        let count = limits.threads_max;
        let spawn = |worker: rayon_core::ThreadBuilder| {
            let builder = Builder::new().name(limits.name.clone()).stack_size(limits.stack_bytes);
            let cpus = limits.cpus.clone();
            let body = move || {
                if let Some(cpus) = &cpus {
                    thread::run_on(cpus);
                }
                worker.run();
            };
            // The program's signals are for the program's threads.
            handles.push(signal::with_all_blocked(|| builder.spawn(body))?);
            Ok(())
        };
        let built =
            rayon_core::ThreadPoolBuilder::new().num_threads(count).spawn_handler(spawn).build();
        let Ok(rayon) = built else {
            // Those that were started end by themselves.
            handles.into_iter().for_each(|handle| drop(handle.join()));
            return Err(Errno::EAGAIN);
        };
        let front = Arc::new(Front::new(count, limits.queue_max));
        let threads = Threads { rayon: ManuallyDrop::new(rayon), handles };
        Ok(Compute { front, threads: std::sync::Mutex::new(Some(threads)), count })
    }

    pub(super) fn submit(&self, make: impl FnOnce(u64) -> T) -> Option<u64> {
        let (name, needs_token) = self.front.push(make)?;
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if needs_token && let Some(threads) = &*threads {
            let front = self.front.clone();
            threads.rayon.spawn(move || front.serve());
        }
        Some(name)
    }

    pub(super) fn cancel(&self, name: u64) -> Cancel {
        self.front.cancel(name)
    }

    /// Whether a task has not begun.
    pub(super) fn is_waiting(&self, name: u64) -> bool {
        self.front.lock().queue.binary_search_by_key(&name, Task::name).is_ok()
    }

    pub(super) fn head(&self) -> Head {
        let state = self.front.lock();
        Head {
            threads: self.count,
            queued: state.queue.len(),
            running: state.running.len(),
            submitted: state.submitted,
        }
    }

    pub(super) fn stop(&self) -> Vec<T> {
        let left = self.front.close();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(threads) = threads {
            drop(ManuallyDrop::into_inner(threads.rayon));
            threads.handles.into_iter().for_each(|handle| drop(handle.join()));
        }
        left.into()
    }
}

#[cfg(all(test, shuttle))]
mod tests {
    use super::*;
    use crate::engine::crew::tests::{Log, Toy, check_fates};
    use shuttle::thread;

    #[test]
    fn shuttle_each_task_behind_a_token_runs_or_is_given_back() {
        explore(true);
    }

    #[test]
    fn shuttle_no_task_is_left_without_a_token() {
        explore(false);
    }

    fn explore(closes_early: bool) {
        let schedule = move || {
            let log = Arc::new(Log::default());
            let front = Arc::new(Front::<Toy>::new(2, 8));
            let (mut names, mut threads) = (Vec::new(), Vec::new());
            let mut submit = |names: &mut Vec<u64>| {
                let log = log.clone();
                let pushed = front.push(|name| Toy { name, log, gate: None });
                let (name, needs_token) = pushed.expect("there is room");
                names.push(name);
                if needs_token {
                    let front = front.clone();
                    threads.push(thread::spawn(move || front.serve()));
                }
            };
            (0..2).for_each(|_| submit(&mut names));
            let canceller = {
                let (front, names) = (front.clone(), names.clone());
                thread::spawn(move || {
                    let removed = |name: &u64| front.cancel(*name) == Cancel::Removed;
                    names.into_iter().rev().filter(removed).collect::<Vec<_>>()
                })
            };
            // One of these may have no token of its own.
            (0..2).for_each(|_| submit(&mut names));
            let close = || front.close().iter().map(Task::name).collect();
            let mut left: Vec<u64> = if closes_early { close() } else { Vec::new() };
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let removed = canceller.join().unwrap();
            if !closes_early {
                left = close();
                assert_eq!(left, [], "nobody came to it");
            }
            check_fates(&log, &names, &removed, &left);
        };
        shuttle::check_random(schedule, 100_000);
    }
}
