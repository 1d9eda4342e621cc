//! The handlers of signals that contexts wait for, one per signal and process: installed with the
//! first who waits for it, taken back with the last. What the program had there before is called
//! too. Hides the only code of this library that runs inside signal handlers.
//!
//! A handler runs at any time on any thread, so that it takes no lock and meets no memory that
//! could go: deliveries are kept in static rings, a ring per signal, and those who wait read them
//! at their own pace, each from its own position. One event counter for all, the *bell*, wakes
//! them. It is closed when nobody waits any more and no handler is between its look at the number
//! and its write (`inside`). A handler that nobody waits for puts back what was there before; it is
//! counted there too, so that it does not take away what the next who waits has installed.
//!
//! A forked child has the handler, but nobody there waits: the first signal there puts back what
//! was there before, and is sent again.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize};
use crate::sys::calls::call;
use crate::sys::descriptor::EventFd;
use crate::sys::errno::Errno;
use crate::sys::sync::{Mutex, MutexGuard};
use crate::sys::thread::PerProcess;
use crate::sys::{clock, signal};
use libc::{c_int, c_void, siginfo_t};
use std::sync::atomic::fence;
use std::sync::{Arc, PoisonError};

/// Signals have the numbers 1 to 64.
const SIGNALS: usize = 65;
/// Deliveries of a signal whose details are kept; of older ones only the number is known.
const KEPT: usize = 32;
/// Those of a siginfo_t that say something of a signal that is not synchronous.
pub(crate) const WORDS: usize = 6;
/// In `state`: the delivery is being written.
const WRITING: u64 = 1 << 63;

/// A delivery: its number plus one, when it is complete, and its details.
struct Kept {
    state: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// What handlers know of a signal.
struct Station {
    waiters: AtomicU32,
    /// Handlers that may be about to keep a delivery, to ring the bell, or to put back what was
    /// there before ours.
    inside: AtomicU32,
    /// The program has put its handler over ours, which that may call.
    buried: AtomicU32,
    /// The number of the next delivery.
    next: AtomicU64,
    /// Deliveries that found no place, behind one that stands still.
    lost: AtomicU64,
    kept: [Kept; KEPT],
    /// What was there before: a handler, its SA_* flags, its mask.
    handler: AtomicUsize,
    flags: AtomicI32,
    mask: AtomicU64,
}

#[allow(clippy::declare_interior_mutable_const, reason = "the initial value of each")]
const EMPTY: Kept = Kept { state: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] };

static STATIONS: [Station; SIGNALS] = [const {
    Station {
        waiters: AtomicU32::new(0),
        inside: AtomicU32::new(0),
        buried: AtomicU32::new(0),
        next: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        kept: [EMPTY; KEPT],
        handler: AtomicUsize::new(libc::SIG_DFL),
        flags: AtomicI32::new(0),
        mask: AtomicU64::new(0),
    }
}; SIGNALS];

/// The number of the bell, or -1.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// The process that the stations are about; 0: nobody has waited yet.
static PROCESS: AtomicI32 = AtomicI32::new(0);

// --- inside a handler ----------------------------------------------------------------------------

/// All signals are held back while it runs, so that no other handler jumps out of it.
unsafe extern "C" fn on_signal(signo: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: valid for the thread that runs.
    let errno = unsafe { *libc::__errno_location() };
    let station = &STATIONS[signo as usize];
    let is_forked = PROCESS.load(Ordering::Acquire) != process();
    // In a forked child it counts threads that are not there.
    if !is_forked {
        // SeqCst: before the looks at `waiters` and BELL; pairs with the one in
        // `wait_for_handlers`.
        station.inside.fetch_add(1, Ordering::SeqCst);
    }
    let is_waited_for = !is_forked && station.waiters.load(Ordering::SeqCst) != 0;
    if is_waited_for {
        // SAFETY: a handler's siginfo_t is complete, and longer than what is read.
        station.keep(unsafe { &*info.cast::<[u64; WORDS]>() });
        ring();
    }
    // Still inside: it may put back what was there before, and whoever begins to wait must not
    // install ours until it has.
    let is_passed_on = is_waited_for || station.is_called_by_another(signo);
    if !is_forked {
        // Release: pairs with the look in `wait_for_handlers`.
        station.inside.fetch_sub(1, Ordering::Release);
    }
    // SAFETY: what the kernel passed is passed on; errno as above.
    unsafe {
        if !is_passed_on {
            send_again(signo, info);
        }
        *libc::__errno_location() = errno;
        if is_passed_on {
            station.pass_on(signo, info, context);
        }
    }
}

fn process() -> i32 {
    // SAFETY: no arguments, no failure; a plain system call.
    unsafe { libc::getpid() }
}

/// By the plain system call: write(3) is where a thread can be cancelled.
fn ring() {
    let fd = BELL.load(Ordering::SeqCst);
    let one = 1u64;
    if fd >= 0 {
        // SAFETY: eight valid bytes; the descriptor is open while `inside` counts us. A full
        // counter is a wake-up as well.
        unsafe { call(libc::SYS_write, [fd as usize, &raw const one as usize, 8, 0, 0, 0]) };
    }
}

/// Sends the running thread the signal that it is handling; it comes when the handler has returned.
///
/// # Safety
/// `info` is a signal's.
unsafe fn send_again(signo: c_int, info: *mut siginfo_t) {
    // SAFETY: a thread may send itself any information.
    unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, process(), libc::gettid(), signo, info);
    }
}

impl Station {
    fn place(&self, number: u64) -> &Kept {
        &self.kept[(number % KEPT as u64) as usize]
    }

    /// Notes a delivery. Handlers on several threads take a number each, and none waits for
    /// another: one that meets a place of which a delivery long past is still being written counts
    /// as lost.
    fn keep(&self, words: &[u64; WORDS]) {
        let mut number = self.next.load(Ordering::Acquire);
        loop {
            let kept = self.place(number);
            let before = (number + 1).saturating_sub(KEPT as u64);
            let writing = WRITING | (number + 1);
            let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
            match kept.state.compare_exchange(before, writing, success, failure) {
                Ok(_) => {
                    let _ = self.next.compare_exchange(number, number + 1, success, failure);
                    // Who sees one of the new words sees that they are being written; pairs with
                    // the fence in `read`.
                    fence(Ordering::Release);
                    for (word, &value) in kept.words.iter().zip(words) {
                        word.store(value, Ordering::Relaxed);
                    }
                    // Release: pairs with the acquire in `read`.
                    kept.state.store(number + 1, Ordering::Release);
                    return;
                }
                // Somebody else's number: on to the next.
                Err(found) if found & !WRITING > number => {
                    let _ = self.next.compare_exchange(number, number + 1, success, failure);
                    number = self.next.load(Ordering::Acquire);
                }
                Err(_) => {
                    self.lost.fetch_add(1, Ordering::Release);
                    return;
                }
            }
        }
    }

    /// Calls what was there before, as the kernel would have.
    ///
    /// # Safety
    /// Inside a handler, with its arguments.
    unsafe fn pass_on(&self, signo: c_int, info: *mut siginfo_t, context: *mut c_void) {
        let handler = self.handler.load(Ordering::Acquire);
        let flags = self.flags.load(Ordering::Relaxed);
        if matches!(handler, libc::SIG_DFL | libc::SIG_IGN) {
            return;
        }
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        if flags & libc::SA_RESETHAND != 0
            && self.handler.compare_exchange(handler, libc::SIG_DFL, success, failure).is_err()
        {
            return;
        }
        let own = if flags & libc::SA_NODEFER != 0 { 0 } else { 1 << (signo - 1) };
        // SAFETY: the kernel's mask is the first word of the set; the handler is the program's,
        // with the arguments that its flags ask for; the mask is put back when we return.
        unsafe {
            let interrupted: u64 =
                *(&raw const (*context.cast::<libc::ucontext_t>()).uc_sigmask).cast();
            let mask = self.mask.load(Ordering::Relaxed) | own | interrupted;
            let set = &raw const mask as usize;
            let args = [libc::SIG_SETMASK as usize, set, 0, size_of::<u64>(), 0, 0];
            call(libc::SYS_rt_sigprocmask, args);
            if flags & libc::SA_SIGINFO != 0 {
                let handler: unsafe extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                    std::mem::transmute(handler);
                handler(signo, info, context);
            } else {
                let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(handler);
                handler(signo);
            }
        }
    }

    /// Nobody waits. Either our handler is there all the same, in a forked child or because the
    /// program has put it back, and goes now; or it went while this one was about to begin; or the
    /// program's handler, which is over ours, has called it.
    fn is_called_by_another(&self, signo: c_int) -> bool {
        let is_gone =
            |present: libc::sigaction| present.sa_sigaction == self.handler.load(Ordering::Acquire);
        !self.restore(signo) && !action(signo, None).is_ok_and(is_gone)
    }

    /// Puts back what was there before; whether ours was there.
    fn restore(&self, signo: c_int) -> bool {
        let Ok(present) = action(signo, None) else { return false };
        let is_ours = present.sa_sigaction == on_signal as *const () as usize;
        if is_ours {
            let handler = self.handler.load(Ordering::Acquire);
            let (flags, mask) =
                (self.flags.load(Ordering::Relaxed), self.mask.load(Ordering::Relaxed));
            let _ = action(signo, Some((handler, flags, mask)));
        }
        is_ours
    }

    // --- outside of handlers ---------------------------------------------------------------------

    /// Until no handler is inside. They do not wait for anything there; the thread of one may wait
    /// for a processor.
    fn wait_for_handlers(&self) {
        const SPINS: u32 = 100;
        const PAUSE_NS: u64 = 50_000;
        let mut spins = 0;
        // SeqCst: after BELL and `waiters` were stored; pairs with the handler's increment. One
        // that comes later sees what was stored.
        while self.inside.load(Ordering::SeqCst) != 0 {
            spins += 1;
            if spins > SPINS {
                clock::sleep_ns(PAUSE_NS);
            }
            std::hint::spin_loop();
        }
    }

    fn install(&self, signo: c_int) -> Result<(), Errno> {
        let present = action(signo, None)?;
        if present.sa_sigaction == on_signal as *const () as usize {
            // The program has taken its own away that was over ours.
            self.buried.store(0, Ordering::Release);
            return Ok(());
        }
        if self.buried.load(Ordering::Acquire) != 0 {
            // It may call ours: put over it, ours would call it, and so on.
            return Err(Errno::EBUSY);
        }
        let is_function = !matches!(present.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
        // Calls that it interrupts go on or not as before, and children are kept or not.
        let kept_flags = libc::SA_NOCLDSTOP
            | libc::SA_NOCLDWAIT
            | if is_function { libc::SA_RESTART | libc::SA_ONSTACK } else { 0 };
        let mut flags = libc::SA_SIGINFO | present.sa_flags & kept_flags;
        if !is_function {
            flags |= libc::SA_RESTART | libc::SA_ONSTACK;
        }
        if signo == libc::SIGCHLD && present.sa_sigaction == libc::SIG_IGN {
            flags |= libc::SA_NOCLDWAIT;
        }
        self.handler.store(present.sa_sigaction, Ordering::Release);
        self.flags.store(present.sa_flags, Ordering::Relaxed);
        self.mask.store(first_word(&present.sa_mask), Ordering::Relaxed);
        action(signo, Some((on_signal as *const () as usize, flags, u64::MAX))).map(drop)
    }
}

/// The mask as the kernel knows it.
fn first_word(set: &libc::sigset_t) -> u64 {
    // SAFETY: a set is longer than a word and has its alignment.
    unsafe { *std::ptr::from_ref(set).cast() }
}

/// Looks at a signal's action, or sets one: handler, flags, mask. Also inside handlers.
fn action(signo: c_int, new: Option<(usize, c_int, u64)>) -> Result<libc::sigaction, Errno> {
    // SAFETY: valid structures; a set begins with the word that the kernel reads.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        let mut set: libc::sigaction = std::mem::zeroed();
        let given = match new {
            None => std::ptr::null(),
            Some((handler, flags, mask)) => {
                set.sa_sigaction = handler;
                set.sa_flags = flags;
                (&raw mut set.sa_mask).cast::<u64>().write(mask);
                &raw const set
            }
        };
        if libc::sigaction(signo, given, &mut old) != 0 {
            return Err(Errno::last());
        }
        Ok(old)
    }
}

/// What those who begin or end to wait agree on.
#[derive(Default)]
struct Desk {
    bell: Option<Arc<EventFd>>,
    /// Of all signals.
    waiters: u32,
    is_adopted: bool,
}

static DESK: PerProcess<Mutex<Desk>> = PerProcess::new();

fn desk() -> Result<MutexGuard<'static, Desk>, Errno> {
    let mut desk = DESK.get(Mutex::default)?.lock().unwrap_or_else(PoisonError::into_inner);
    if !desk.is_adopted {
        desk.is_adopted = true;
        adopt();
    }
    Ok(desk)
}

/// Makes the stations this process's: those who waited in a parent do not wait here.
fn adopt() {
    BELL.store(-1, Ordering::SeqCst);
    for (signo, station) in (0..).zip(&STATIONS) {
        station.inside.store(0, Ordering::SeqCst);
        if station.waiters.swap(0, Ordering::SeqCst) != 0 && !station.restore(signo) {
            station.buried.store(1, Ordering::Release);
        }
    }
    PROCESS.store(process(), Ordering::Release);
}

/// Whether a program may wait for the signal: not for those that cannot be handled, for those by
/// which a thread is told of its own fault, nor for the C library's or the engine's own.
fn may_be_waited_for(signo: c_int) -> bool {
    let never = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
        libc::SIGSYS,
    ];
    let is_plain = (1..32).contains(&signo) && !never.contains(&signo);
    let is_real_time = (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&signo);
    (is_plain || is_real_time) && !signal::is_interrupt(signo)
}

/// What somebody who waits has of a signal.
pub(crate) struct Subscription {
    signo: c_int,
    bell: Arc<EventFd>,
    /// The next delivery to be told of, and how many of the lost ones have been.
    next: u64,
    lost: u64,
    has_left: bool,
}

/// What has come: how many deliveries since the last ones, and the details of the newest of them.
pub(crate) struct Delivered {
    pub count: u64,
    pub details: Option<[u64; WORDS]>,
}

impl Subscription {
    /// Begins to wait; deliveries from now on count.
    pub(crate) fn begin(signo: c_int) -> Result<Subscription, Errno> {
        if !may_be_waited_for(signo) {
            return Err(Errno::EINVAL);
        }
        let station = &STATIONS[signo as usize];
        let mut desk = desk()?;
        let bell = match &desk.bell {
            Some(bell) => bell.clone(),
            None => Arc::new(EventFd::create()?),
        };
        let (next, lost) =
            (station.next.load(Ordering::Acquire), station.lost.load(Ordering::Acquire));
        // Before the handler is: what it finds is complete.
        BELL.store(bell.raw(), Ordering::SeqCst);
        let is_first = station.waiters.fetch_add(1, Ordering::SeqCst) == 0;
        if is_first {
            // Those that have found nobody.
            station.wait_for_handlers();
        }
        if is_first && let Err(errno) = station.install(signo) {
            station.waiters.store(0, Ordering::SeqCst);
            if desk.bell.is_none() {
                silence();
            }
            return Err(errno);
        }
        desk.waiters += 1;
        desk.bell = Some(bell.clone());
        Ok(Subscription { signo, bell, next, lost, has_left: false })
    }

    /// Becomes readable, edge by edge, when something has come; for whom the reader finds out.
    pub(crate) fn bell(&self) -> i32 {
        self.bell.raw()
    }

    /// What has come; None: nothing more. What a handler is still writing comes with the bell.
    pub(crate) fn take(&mut self) -> Option<Delivered> {
        let station = &STATIONS[self.signo as usize];
        let lost = station.lost.load(Ordering::Acquire);
        let mut count = lost - std::mem::replace(&mut self.lost, lost);
        loop {
            let number = self.next;
            let read = station.place(number).read(number);
            if read != Read::NotYet {
                (self.next, count) = (number + 1, count + 1);
            }
            match read {
                Read::Details(words) => return Some(Delivered { count, details: Some(words) }),
                // The oldest that may still be there.
                Read::Overwritten => {
                    let oldest = station.next.load(Ordering::Acquire).saturating_sub(KEPT as u64);
                    if oldest > self.next {
                        count += oldest - self.next;
                        self.next = oldest;
                    }
                }
                Read::NotYet if count != 0 => return Some(Delivered { count, details: None }),
                Read::NotYet => return None,
            }
        }
    }

    /// Waits no longer: when it returns, every delivery that was for those who waited can be taken,
    /// and later ones are not.
    pub(crate) fn leave(&mut self) {
        let Ok(mut desk) = desk() else { return };
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let station = &STATIONS[self.signo as usize];
        desk.waiters -= 1;
        if station.waiters.load(Ordering::SeqCst) == 1 {
            let was_there = station.restore(self.signo);
            station.buried.store(u32::from(!was_there), Ordering::Release);
        }
        let left = station.waiters.fetch_sub(1, Ordering::SeqCst) - 1;
        if desk.waiters == 0 {
            desk.bell = None;
            silence();
        } else if left == 0 {
            station.wait_for_handlers();
        }
    }
}

/// The bell is not rung any more.
fn silence() {
    BELL.store(-1, Ordering::SeqCst);
    STATIONS.iter().for_each(Station::wait_for_handlers);
}

#[derive(PartialEq, Eq)]
enum Read {
    Details([u64; WORDS]),
    /// By a later delivery.
    Overwritten,
    NotYet,
}

impl Kept {
    fn read(&self, number: u64) -> Read {
        // Acquire: pairs with the release that ends the writing.
        let state = self.state.load(Ordering::Acquire);
        if state & !WRITING > number + 1 {
            return Read::Overwritten;
        }
        if state != number + 1 {
            return Read::NotYet;
        }
        let words = std::array::from_fn(|index| self.words[index].load(Ordering::Relaxed));
        // Pairs with the fence in `keep`.
        fence(Ordering::Acquire);
        if self.state.load(Ordering::Relaxed) == state {
            Read::Details(words)
        } else {
            Read::Overwritten
        }
    }
}
