//! The C library's calls about names, getaddrinfo and getnameinfo. They sleep for as long as name
//! servers let them, and nothing interrupts them: they are made by threads of their own, so that
//! nothing else waits for a slow server. An operation that is cancelled or late ends at once; its
//! call, which owns all that it uses, ends when it likes, and nobody is told.
//!
//! The threads belong to the process: as many for all contexts, and none of them to be waited for
//! when a context is destroyed. A call is made in its submitter's namespaces, which a thread has
//! from the one that started it. Hides that, and the cache.

use crate::engine::external::{Answer, Completer, External, Kind, Payload, Scope, begin};
use crate::engine::handle::Handle;

use crate::engine::{Done, Refusal, SubmitOptions};
use crate::op::{service, traits};
use crate::service::expiring::Expiring;
use crate::sys::errno::Errno;
use crate::sys::names::{self, AddressList, AddressQuestion, NameAnswer, NameQuestion};
use crate::sys::sync::{Condvar, Mutex, MutexGuard};
use crate::sys::thread::{Namespaces, PerProcess};
use crate::sys::{clock, signal};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::Builder;
use std::time::Duration;

/// Threads at most, of calls in the same namespaces as others; calls behind that many sleeping
/// ones wait for one of them.
const THREADS_MAX: usize = 32;
/// A thread that finds nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(2);
/// Modules of the C library's name service need some.
const STACK_BYTES: usize = 1024 * 1024;

/// What a call gives: a status, and what it brings.
type Outcome = (i32, Option<Box<dyn Payload>>);
type Job = Box<dyn FnOnce() + Send>;

static DESK: PerProcess<Desk> = PerProcess::new();

/// Where the process's calls wait for a thread.
struct Desk {
    state: Mutex<State>,
}

struct State {
    rooms: Vec<Room>,
    threads: usize,
    /// The number of the next call.
    next: u64,
    cache: Expiring<Key, Result<AddressList, i32>>,
    limits: CacheLimits,
}

/// Calls and threads of the same namespaces.
struct Room {
    place: Namespaces,
    /// In the order of their numbers.
    queue: BTreeMap<u64, Job>,
    threads: usize,
    /// Threads that wait for a call, and those that were started and have not looked yet.
    free: usize,
    work: Arc<Condvar>,
}

type Key = (Namespaces, AddressQuestion);

/// How much of getaddrinfo's answers is kept, and for how long; 0 entries: nothing.
#[derive(Clone, Copy, Default)]
pub(crate) struct CacheLimits {
    pub entries: u32,
    pub ttl_ns: u64,
    /// For names that are not there.
    pub negative_ttl_ns: u64,
}

fn desk() -> Result<&'static Desk, Errno> {
    DESK.get(|| Desk {
        state: Mutex::new(State {
            rooms: Vec::new(),
            threads: 0,
            next: 0,
            cache: Expiring::new(0),
            limits: CacheLimits::default(),
        }),
    })
}

/// Sets the cache of getaddrinfo up for the whole process, and empties it.
pub(crate) fn set_cache(limits: CacheLimits) -> Result<(), Errno> {
    let mut state = desk()?.lock();
    state.limits = limits;
    state.cache.clear();
    state.cache.limit(limits.entries as usize);
    Ok(())
}

impl State {
    /// The room of `place`, made if need be.
    fn room(&mut self, place: Namespaces) -> &mut Room {
        let known = self.rooms.iter().position(|room| room.place == place);
        let position = known.unwrap_or_else(|| {
            self.rooms.retain(|room| room.threads != 0 || !room.queue.is_empty());
            let (queue, work) = (BTreeMap::new(), Arc::default());
            self.rooms.push(Room { place, queue, threads: 0, free: 0, work });
            self.rooms.len() - 1
        });
        &mut self.rooms[position]
    }
}

impl Desk {
    /// Nothing that holds the lock panics, so that a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a call in; its number. An error: there is no thread, and none can be had.
    fn submit(&'static self, place: Namespaces, job: Job) -> Result<u64, Errno> {
        let mut state = self.lock();
        state.next += 1;
        let (number, threads) = (state.next, state.threads);
        let room = state.room(place);
        room.queue.insert(number, job);
        if room.queue.len() <= room.free {
            room.work.notify_one();
            return Ok(number);
        }
        // A room has one thread at least: those of others cannot help it.
        if threads >= THREADS_MAX && room.threads != 0 {
            return Ok(number);
        }
        let work = Arc::clone(&room.work);
        let builder = Builder::new().name("aio_rs-names".into()).stack_size(STACK_BYTES);
        // The program's signals are for the program's threads.
        let started = signal::with_all_blocked(|| builder.spawn(move || self.serve(place, &work)));
        if started.is_ok() {
            (room.threads, room.free) = (room.threads + 1, room.free + 1);
            state.threads += 1;
        } else if room.threads == 0 {
            room.queue.remove(&number);
            return Err(Errno::EAGAIN);
        }
        Ok(number)
    }

    /// Whether no thread has begun a call.
    fn is_waiting(&self, place: Namespaces, number: u64) -> bool {
        let state = self.lock();
        let mut rooms = state.rooms.iter().filter(|room| room.place == place);
        rooms.any(|room| room.queue.contains_key(&number))
    }

    /// Takes a call back that no thread has begun.
    fn remove(&self, place: Namespaces, number: u64) {
        let job = self.lock().room(place).queue.remove(&number);
        drop(job);
    }

    /// The life of a thread: makes calls until there have been none for a while.
    fn serve(&'static self, place: Namespaces, work: &Condvar) {
        let mut state = self.lock();
        loop {
            let room = state.room(place);
            if let Some((_, job)) = room.queue.pop_first() {
                room.free -= 1;
                drop(state);
                job();
                state = self.lock();
                state.room(place).free += 1;
                continue;
            }
            let waited = work.wait_timeout(state, IDLE);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = again;
            let room = state.room(place);
            if timeout.timed_out() && room.queue.is_empty() {
                (room.threads, room.free) = (room.threads - 1, room.free - 1);
                state.threads -= 1;
                return;
            }
        }
    }

    /// What is known of a question without asking.
    fn recall(&self, key: &Key) -> Option<Result<AddressList, i32>> {
        let state = self.lock();
        state.cache.find(key, clock::now_ns()).map(|(answer, _)| answer.clone())
    }

    /// Keeps an answer, if it is one.
    fn remember(&self, key: Key, answer: &Result<AddressList, i32>) {
        let mut state = self.lock();
        if state.cache.is_off() {
            return;
        }
        let ttl_ns = match answer {
            Ok(_) => state.limits.ttl_ns,
            Err(names::NO_NAME | names::NO_DATA) => state.limits.negative_ttl_ns,
            Err(_) => 0,
        };
        state.cache.store(key, answer.clone(), ttl_ns, clock::now_ns());
    }
}

/// An operation: a call that a thread makes, or an answer that is known.
struct Call {
    opcode: u8,
    place: Namespaces,
    known: Option<Outcome>,
    ask: Option<Box<dyn FnOnce() -> Outcome + Send>>,
    /// The call's number at the desk; 0: it is not there.
    number: u64,
    line: Line,
}

/// Where the thread that makes a call finds whom to tell. It is emptied when nobody is to be told
/// any more: a call that goes on must keep nothing of the context.
type Line = Arc<Mutex<Option<Completer>>>;

fn take(line: &Line) -> Option<Completer> {
    line.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Call {
    fn new(opcode: u8, place: Namespaces) -> Call {
        Call { opcode, place, known: None, ask: None, number: 0, line: Line::default() }
    }
}

impl External for Call {
    fn kind(&self) -> Kind {
        Kind { opcode: self.opcode, traits: traits::CALLER_MEMORY, brings: true, ..Kind::default() }
    }

    fn start(&mut self, scope: &mut Scope<'_>) -> Result<(), Errno> {
        let completer = scope.completer().clone();
        if let Some((status, payload)) = self.known.take() {
            completer.end(status, 0, payload);
            return Ok(());
        }
        let Some(ask) = self.ask.take() else { return Ok(()) };
        self.line = Arc::new(Mutex::new(Some(completer)));
        let line = Arc::clone(&self.line);
        let job = Box::new(move || {
            let (status, payload) = ask();
            if let Some(completer) = take(&line) {
                completer.end(status, 0, payload);
            }
        });
        self.number = desk()?.submit(self.place, job)?;
        Ok(())
    }

    fn cancel(&mut self, _: &mut Scope<'_>) -> Answer {
        if self.number != 0
            && let Ok(desk) = desk()
        {
            desk.remove(self.place, self.number);
        }
        // A call that has begun uses nothing but its own.
        take(&self.line);
        Answer::Removed
    }

    fn place(&self) -> &'static str {
        match desk() {
            Ok(desk) if desk.is_waiting(self.place, self.number) => "waiting for a thread",
            _ => "with the C library",
        }
    }
}

/// Submits a getaddrinfo. `wrap` makes of a list what is delivered.
pub(crate) fn submit_getaddrinfo<W>(
    handle: &Handle, question: AddressQuestion, wrap: W, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal>
where
    W: FnOnce(AddressList) -> Box<dyn Payload> + Send + 'static,
{
    let desk = desk()?;
    let place = Namespaces::of_caller();
    let key = (place, question);
    let wrapped = |answer: Result<AddressList, i32>, wrap: W| match answer {
        Ok(list) => (0, Some(wrap(list))),
        Err(status) => (status, None),
    };
    let mut call = Call::new(service::GETADDRINFO, place);
    match desk.recall(&key) {
        Some(answer) => call.known = Some(wrapped(answer, wrap)),
        None => {
            call.ask = Some(Box::new(move || {
                let answer = key.1.ask();
                desk.remember(key, &answer);
                wrapped(answer, wrap)
            }));
        }
    }
    begin(handle, call, options, done)
}

/// Submits a getnameinfo.
pub(crate) fn submit_getnameinfo<W>(
    handle: &Handle, question: NameQuestion, wrap: W, options: &SubmitOptions, done: Done,
) -> Result<u64, Refusal>
where
    W: FnOnce(NameAnswer) -> Box<dyn Payload> + Send + 'static,
{
    let place = Namespaces::of_caller();
    let ask = move || match question.ask() {
        Ok(answer) => (0, Some(wrap(answer))),
        Err(status) => (status, None),
    };
    let mut call = Call::new(service::GETNAMEINFO, place);
    call.ask = Some(Box::new(ask));
    begin(handle, call, options, done)
}
