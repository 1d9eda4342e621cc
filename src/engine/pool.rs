//! The blocking pool of a context: a crew of threads for its calls that sleep in the kernel. A call
//! that sleeps is interrupted by a signal when it is cancelled and then ends with what it has, so
//! that the memory it uses is the caller's again only when its result is here. Belongs to one
//! thread, which alone submits, cancels and takes results.

use crate::engine::crew::{Crew, Limits, Own, Submitted, Task};
use crate::sys::clock;
use crate::sys::descriptor::{self, EventFd};
use crate::sys::entry::Sqe;
use crate::sys::errno::Errno;
use crate::sys::plain;
use crate::sys::sync::Mutex;
use crate::sys::thread::Credentials;
use std::sync::PoisonError;
use std::time::Duration;

pub(crate) use crate::engine::crew::Cancel;

/// Threads at most. Calls behind that many sleeping ones wait for one of them.
const THREADS_MAX: usize = 64;
/// Threads that are started as soon as a call waits; more only if none has ended for `STALL_NS`:
/// calls that compute are not helped by more threads than there are cores.
const THREADS_EAGER: usize = 4;
const STALL_NS: u64 = 1_000_000;
/// A thread that finds nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 128 * 1024;
/// The longest pause between two attempts to start a thread where the system refuses more.
const REFUSED_MAX_NS: u64 = 128_000_000;

/// A call to be made: what it is, and the entry that says with what.
pub(crate) struct Job {
    pub id: u64,
    pub call: fn(&Sqe) -> i32,
    pub entry: Sqe,
    pub priority: u16,
}

/// The result of a call.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub id: u64,
    pub result: i32,
}

/// Results on their way to the owner.
pub(crate) struct Results {
    ended: Mutex<Vec<Ended>>,
    /// Tells the owner that there are some.
    event: EventFd,
}

impl Task for Job {
    type Sink = Results;
    const INTERRUPTIBLE: bool = true;

    fn name(&self) -> u64 {
        self.id
    }

    /// Makes the call, again when a signal was meant for an earlier one.
    fn perform(&self, own: &mut Own, is_cancelled: &dyn Fn() -> bool) -> i32 {
        if own.priority != self.priority {
            match plain::set_priority(self.priority) {
                Ok(()) => own.priority = self.priority,
                Err(errno) => return errno.status(),
            }
        }
        loop {
            let result = (self.call)(&self.entry);
            if !Errno::is_interruption(result) || is_cancelled() {
                return result;
            }
        }
    }

    fn end(self, result: i32, results: &Results) {
        let mut ended = results.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push(Ended { id: self.id, result });
        if ended.len() == 1 {
            results.event.signal();
        }
    }
}

pub(crate) struct Pool {
    /// None once it was let go of in a forked child.
    crew: Option<Crew<Job>>,
    /// Signalled, edge by edge, when results have come.
    descriptor: i32,
    /// Calls that were submitted and whose results were not taken.
    outstanding: u32,
    /// When the pool last made progress, as far as its owner saw.
    progress_ns: u64,
    /// How long calls may be stalled before another thread is started.
    stall_ns: u64,
    /// In a forked child: the threads are the parent's.
    abandoned: bool,
}

impl Pool {
    /// A pool without threads; `descriptor` tells of results.
    pub(crate) fn create() -> Result<Pool, Errno> {
        let limits = Limits {
            name: "aio_rs-pool".into(),
            threads_min: 0,
            threads_max: THREADS_MAX,
            threads_eager: THREADS_EAGER,
            queue_max: usize::MAX,
            idle: IDLE,
            stack_bytes: STACK_BYTES,
            cpus: None,
        };
        let results = Results { ended: Mutex::default(), event: EventFd::create()? };
        Ok(Pool {
            descriptor: results.event.raw(),
            crew: Some(Crew::new(limits, results)),
            outstanding: 0,
            progress_ns: 0,
            stall_ns: STALL_NS,
            abandoned: false,
        })
    }

    pub(crate) fn descriptor(&self) -> i32 {
        self.descriptor
    }

    fn crew(&self) -> &Crew<Job> {
        self.crew.as_ref().expect("only dropping takes it")
    }

    /// Submits a call; it waits for a thread. False where there is none and none can be had.
    pub(crate) fn submit(&mut self, job: Job) -> bool {
        self.outstanding += 1;
        matches!(self.crew().submit(Credentials::of_caller(), |_| job), Submitted::Taken(_))
    }

    /// Takes results out.
    pub(crate) fn take_ended(&mut self, out: &mut Vec<Ended>) {
        let ended = &self.crew().sink().ended;
        out.append(&mut ended.lock().unwrap_or_else(PoisonError::into_inner));
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
        let (who, threads) = self.crew().short()?;
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
            if self.crew().grow(who).is_err() {
                // Those that there are, or one that can be had later, will come to it.
                self.stall_ns = (2 * self.stall_ns).min(REFUSED_MAX_NS);
                break;
            }
        }
        self.progress_ns = now_ns;
        Some(self.stall_ns)
    }

    /// Asks a call to end.
    pub(crate) fn cancel(&mut self, id: u64) -> Cancel {
        let outcome = self.crew().cancel(id);
        self.outstanding -= u32::from(outcome == Cancel::Removed);
        outcome
    }

    /// Ends every call and every thread, and waits for them.
    pub(crate) fn stop(&mut self) {
        drop(self.crew().stop());
    }

    /// In a forked child, where the threads do not exist, and where the owner may have been in the
    /// middle of a change.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.abandoned {
            return self.stop();
        }
        if let Some(crew) = self.crew.take() {
            crew.abandon(|results| descriptor::close(results.event.raw()));
        }
    }
}
