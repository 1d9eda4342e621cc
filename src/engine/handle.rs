//! What `aio_ctx *` points to: the part of a context that any thread may hold, around the engine
//! that one thread owns. Decides who may call what, and when the memory goes. The owner check of
//! the common path is one comparison (`Gate`); everything else is worked out in `refusal`.

pub(crate) mod life;
mod reference;
mod shut;

pub(crate) use reference::Reference;

use crate::engine::backend::Granted;
use crate::engine::counts::{Counted, Counts};
use crate::engine::destroy;
use crate::engine::dump;
use crate::engine::external::End;
use crate::engine::mailbox::{Mailbox, Message, Prepared};
use crate::engine::stats::Stats;
use crate::engine::{ContextOptions, Engine, Log, Refusal, log_level};
use crate::sys::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sys::errno::Errno;
use crate::sys::memory::boxed;
use crate::sys::ring::{Address, OpenRing};
use crate::sys::thread::{self, Gate};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::c_void;
use std::mem::ManuallyDrop;

pub(crate) struct Handle {
    gate: Gate,
    engine: UnsafeCell<ManuallyDrop<Engine>>,
    pub(crate) mailbox: Mailbox,
    pub(crate) stats: Stats,
    pub(crate) counts: Counts,
    life: AtomicU32,
    /// The thread pointer of the adopting thread; stays when the gate closes.
    owner: AtomicUsize,
    /// The adopting thread's number in the kernel.
    owner_number: AtomicI32,
    /// Its thread is in a function that must not come back (`shut.rs`).
    shut: AtomicU32,
    references: AtomicUsize,
    user_data: AtomicPtr<c_void>,
    /// What the backend was granted at creation, for any thread to read.
    pub(crate) granted: Granted,
    pub(crate) tick_ns: u64,
    /// Who is told of calls that are refused as invalid.
    pub(super) refusals: Option<Log>,
    /// Whether the context keeps latencies.
    pub(crate) keeps_latencies: bool,
    /// Where messages can be sent to directly, once the context was adopted.
    ring: Option<Address>,
}

// SAFETY: the engine is only reached on the thread that the gate admits, or, when that thread is
// gone, by the one destroyer; everything else is atomic or immutable.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// Contexts that this thread has adopted: a thread's exit orphans them.
struct Adopted(Vec<*const Handle>);

thread_local! {
    static ADOPTED: RefCell<Adopted> = const { RefCell::new(Adopted(Vec::new())) };
    static CURRENT: Cell<*const Handle> = const { Cell::new(std::ptr::null()) };
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // The initial thread runs this inside `exit`, before static destructors, which may still
        // destroy their contexts: it is not gone.
        let orphan = !thread::is_initial(thread::number());
        for &handle in &self.0 {
            // SAFETY: the list holds a reference to each handle in it.
            let handle = unsafe { &*handle };
            if orphan && handle.gate.same_process() {
                handle.orphan();
            }
            // SAFETY: gives back the list's reference.
            unsafe { Handle::unref(handle) };
        }
    }
}

/// Makes a context the current one of this thread for a while.
struct Current(*const Handle);

impl Current {
    fn enter(handle: &Handle) -> Current {
        Current(CURRENT.replace(handle))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// The running of a context; ends also when the engine panics.
struct Running<'a> {
    handle: &'a Handle,
    _current: Current,
}

impl Running<'_> {
    fn begin(handle: &Handle) -> Running<'_> {
        Running { handle, _current: Current::enter(handle) }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: on the context's thread, its body has been left, and the engine is still there.
        unsafe { self.handle.engine() }.end_running();
    }
}

impl Handle {
    pub(crate) fn create(options: &ContextOptions) -> Result<Box<Handle>, Errno> {
        let mailbox = Mailbox::create()?;
        let engine = Engine::create(options, mailbox.wake_descriptor()).inspect_err(|errno| {
            let message = match options.backend.settled() {
                Ok(_) => format!("no backend can be had: {errno}"),
                Err(unknown) => unknown.to_string(),
            };
            dump::log_to(options.log, log_level::ERROR, &message);
        })?;
        engine.log_grants(options);
        let gate = Gate::create()?;
        Ok(boxed!(Handle {
            gate: gate,
            mailbox: mailbox,
            stats: Stats::default(),
            counts: Counts::new(),
            life: AtomicU32::new(life::NEW),
            owner: AtomicUsize::new(0),
            owner_number: AtomicI32::new(0),
            shut: AtomicU32::new(0),
            references: AtomicUsize::new(1),
            user_data: AtomicPtr::new(std::ptr::null_mut()),
            granted: engine.granted(),
            tick_ns: engine.tick_ns(),
            refusals: options.log.filter(|_| options.logs_refusals),
            keeps_latencies: options.histograms,
            ring: engine.backend.address(),
            engine: UnsafeCell::new(ManuallyDrop::new(engine)),
        }))
    }

    /// The engine.
    ///
    /// # Safety
    /// On the thread that may use it (`enter`, `enter_any_life`, or the destroyer of an orphan),
    /// and with no other such borrow alive: never across a user function.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) unsafe fn engine(&self) -> &mut Engine {
        // SAFETY: passed on to the caller.
        unsafe { &mut *self.engine.get() }
    }

    /// The engine, if the context is open and this is its thread.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) fn enter_open(&self) -> Option<&mut Engine> {
        // SAFETY: as in `enter`.
        self.gate.admits_caller().then(|| unsafe { self.engine() })
    }

    /// The engine, for a call that needs an open context: one comparison when all is well.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) fn enter(&self) -> Result<&mut Engine, Refusal> {
        if !self.gate.admits_caller() {
            self.adopt()?;
        }
        // SAFETY: the gate admits only the context's thread; every caller's borrow ends before a
        // user function runs, and user functions are the only way back in.
        let engine = unsafe { self.engine() };
        engine.leave_plain_turns();
        Ok(engine)
    }

    /// The engine, for the context's thread also while it is being destroyed: cancels and look-ups.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn enter_while_destroying(&self) -> Result<&mut Engine, Refusal> {
        match self.enter() {
            Err(refusal) if refusal != Refusal::Reentrant && self.is_being_destroyed_here() => {
                // SAFETY: this thread owns it, and is inside a callback: nothing is borrowed.
                Ok(unsafe { self.engine() })
            }
            entered => entered,
        }
    }

    fn is_being_destroyed_here(&self) -> bool {
        self.life() == life::DESTROYING && self.is_owner() && !self.is_forked()
    }

    /// The same without adopting a new context, in which nothing can be in flight.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub(crate) fn enter_used(&self) -> Result<&mut Engine, Refusal> {
        if self.gate.admits_caller() { self.enter() } else { self.enter_used_otherwise() }
    }

    #[allow(clippy::mut_from_ref)]
    #[cold]
    #[inline(never)]
    fn enter_used_otherwise(&self) -> Result<&mut Engine, Refusal> {
        if self.life() == life::NEW && !self.is_forked() {
            return Err(Errno::ENOENT.into());
        }
        self.enter_while_destroying()
    }

    /// The engine to look at, on its thread and in any life that still has one; None before it was
    /// adopted, when there is nothing to see.
    #[allow(clippy::mut_from_ref)]
    pub(crate) fn inspect(&self) -> Result<Option<&mut Engine>, Refusal> {
        match self.life() {
            life::NEW if !self.is_forked() => Ok(None),
            _ if self.is_shut_here() => Err(self.refusal()),
            life::OPEN | life::DESTROYING | life::STUCK | life::POISONED
                if self.is_owner() && !self.is_forked() =>
            {
                // SAFETY: this thread owns it, and no borrow outlives a call into the library.
                Ok(Some(unsafe { self.engine() }))
            }
            _ => Err(self.refusal()),
        }
    }

    /// The owner ends with the context open or failed; in any other life there is nothing to do.
    fn orphan(&self) {
        for life in [life::OPEN, life::POISONED] {
            // Release: pairs with the acquire of `life` by whoever destroys it.
            let _ = self.life.compare_exchange(
                life,
                life::ORPHANED,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
        self.gate.close();
    }

    /// Makes the calling thread the owner of a new context; says why not otherwise.
    #[cold]
    #[inline(never)]
    fn adopt(&self) -> Result<(), Refusal> {
        if !self.gate.same_process() {
            return Err(Refusal::Forked);
        }
        // Not the gate decides, which is shut also while others destroy, or have destroyed. Acquire
        // pairs with the release of an adoption that failed.
        let (new, begun) = (life::NEW, life::ADOPTING);
        if self.life.compare_exchange(new, begun, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(self.refusal());
        }
        self.owner.store(thread::pointer(), Ordering::Relaxed);
        self.gate.open_for_caller();
        // SAFETY: the gate has just admitted this thread alone.
        let engine = unsafe { self.engine() };
        if let Err(errno) = engine.backend.enable() {
            self.gate.close();
            self.owner.store(0, Ordering::Relaxed);
            self.life.store(life::NEW, Ordering::Release);
            return Err(errno.into());
        }
        // SAFETY: both are parts of this handle, which is where its users have it.
        engine.counted = unsafe { Counted::new(&self.counts) };
        engine.watch_wake();
        self.owner_number.store(thread::number(), Ordering::Relaxed);
        self.life.store(life::OPEN, Ordering::Release);
        engine.keep_letters(self.mailbox.close_early());
        // After the thread's destructors have run nobody can tell of its end; it is not far.
        let _ = ADOPTED.try_with(|adopted| {
            self.add_ref();
            adopted.borrow_mut().0.push(self);
        });
        Ok(())
    }

    /// Why the calling thread may not use the context.
    pub(crate) fn refusal(&self) -> Refusal {
        if !self.gate.same_process() {
            return Refusal::Forked;
        }
        match self.life() {
            _ if self.is_shut_here() => Refusal::Reentrant,
            life::CLOSED | life::STUCK => Refusal::Closed,
            life::ORPHANED => Refusal::Orphaned,
            life::POISONED => Refusal::Panicked,
            life::DESTROYING if self.is_owner() => Refusal::Kernel(Errno::ECANCELED),
            _ => Refusal::WrongThread,
        }
    }

    /// The initial thread leaves no trace when it ends by pthread_exit: the kernel is asked, when
    /// it matters.
    fn owner_has_ended(&self) -> bool {
        thread::is_initial(self.owner_number.load(Ordering::Relaxed))
            && !self.is_owner()
            && thread::initial_has_ended()
    }

    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    pub(crate) fn set_life(&self, life: u32) {
        self.life.store(life, Ordering::Release);
        self.gate.close();
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == thread::pointer()
    }

    pub(crate) fn is_forked(&self) -> bool {
        !self.gate.same_process()
    }

    /// What a call from any thread finds: an error once the context cannot act on it.
    pub(crate) fn check_any_thread(&self) -> Result<(), Refusal> {
        if self.is_forked() {
            return Err(Refusal::Forked);
        }
        match self.life() {
            life::NEW | life::ADOPTING | life::OPEN => Ok(()),
            life::DESTROYING | life::CLOSED | life::STUCK => Err(Refusal::Closed),
            life::ORPHANED => Err(Refusal::Orphaned),
            _ => Err(Refusal::Panicked),
        }
    }

    /// Sends to the mailbox from any thread.
    pub(crate) fn send(&self, message: Message) -> Result<(), Refusal> {
        self.check_any_thread()?;
        if !self.mailbox.send(message) {
            return Err(Refusal::Closed);
        }
        // The owner is awake, it is here; but it may have told a foreign loop to sleep.
        if !self.is_owner() || self.mailbox.sleep_is_announced() {
            self.mailbox.wake();
        }
        Ok(())
    }

    /// Whether there is a ring that messages can be sent to directly, now or once it was adopted.
    pub(crate) fn has_address(&self) -> bool {
        self.ring.is_some()
    }

    /// That ring, if it is open and was adopted.
    pub(crate) fn open_ring(&self) -> Option<OpenRing> {
        if self.mailbox.is_early() { None } else { self.ring.as_ref()?.open() }
    }

    /// Brings the context a result of an external operation, unless the context is gone. Any
    /// thread, also while the context is being destroyed, which waits for it.
    pub(crate) fn send_end(&self, end: Box<End>) {
        if self.is_forked() || !self.mailbox.send(Message::End(end)) {
            return;
        }
        if !self.is_owner() || self.mailbox.sleep_is_announced() {
            self.mailbox.wake();
        }
    }

    /// Sends what was prepared, from any thread and from signal handlers: nothing is locked or
    /// freed, no memory taken, and the owner is woken also if it is the caller, whom a signal may
    /// have interrupted on its way to sleep. What the context takes no more comes back.
    pub(crate) fn send_prepared(&self, prepared: Prepared) -> Result<(), Prepared> {
        if self.is_forked() {
            return Err(prepared);
        }
        self.mailbox.send_prepared(prepared)?;
        self.mailbox.wake();
        Ok(())
    }

    /// Sends what was prepared from the context's own thread, which looks before it sleeps.
    pub(crate) fn send_prepared_here(&self, prepared: Prepared) -> Result<(), Prepared> {
        self.mailbox.send_prepared(prepared)?;
        if self.mailbox.sleep_is_announced() {
            self.mailbox.wake();
        }
        Ok(())
    }

    /// Runs `body` as the running context of this thread, once at a time.
    pub(crate) fn run_with<T>(
        &self, body: impl FnOnce(&Handle) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        // Not by `enter`: what is done here takes no plain turn away.
        let engine = match self.enter_open() {
            Some(engine) => engine,
            None => match self.enter() {
                // Destroy runs callbacks: a run call inside them is still a run inside a run.
                Err(Refusal::Kernel(Errno::ECANCELED)) => return Err(Refusal::Reentrant),
                entered => entered?,
            },
        };
        if engine.running {
            return Err(Refusal::Reentrant);
        }
        engine.running = true;
        // Also where the run returns at once.
        engine.fail_open_chain();
        let outcome = {
            let _running = Running::begin(self);
            body(self)
        };
        // SAFETY: still on the context's thread, no other borrow.
        if unsafe { self.engine() }.destroy_requested {
            self.destroy_now()?;
            // SAFETY: the reference that the creator gave up by destroying.
            unsafe { Handle::unref(self) };
            return Err(Refusal::Destroyed);
        }
        if self.life() == life::POISONED { self.panicked() } else { outcome }
    }

    /// A function of its own, so that no value is chosen where none has to be.
    #[cold]
    #[inline(never)]
    fn panicked<T>(&self) -> Result<T, Refusal> {
        Err(Refusal::Panicked)
    }

    /// The context whose callback is running on this thread, or null.
    pub(crate) fn current() -> *const Handle {
        CURRENT.get()
    }

    /// Destroys the context and gives up the creator's reference.
    pub(crate) fn destroy(&self) -> Result<(), Refusal> {
        if self.is_forked() {
            self.abandon_copy();
            return Ok(());
        }
        match self.enter() {
            Ok(engine) if engine.running => {
                engine.destroy_requested = true;
                self.set_life(life::DESTROYING);
                return Err(Refusal::Pending);
            }
            Ok(_) => self.destroy_now()?,
            Err(Refusal::Panicked) if self.is_owner() => {
                // SAFETY: the owner, and the failed call has been left.
                let engine = unsafe { self.engine() };
                if engine.running {
                    engine.destroy_requested = true;
                    return Err(Refusal::Pending);
                }
                self.destroy_now()?;
            }
            Err(Refusal::Kernel(Errno::ECANCELED)) => return Err(Refusal::Pending),
            Err(Refusal::Orphaned) => return Err(self.destroy_orphan()),
            Err(Refusal::WrongThread) if self.owner_has_ended() => {
                return Err(self.destroy_orphan());
            }
            Err(refusal) => return Err(refusal),
        }
        // SAFETY: the creator's reference.
        unsafe { Handle::unref(self) };
        Ok(())
    }

    /// Destroys a context whose thread is gone, on the calling thread, which owns it for that time:
    /// one of several that try.
    fn destroy_orphan(&self) -> Refusal {
        let life = self.life();
        // AcqRel: acquires what the owner did before it ended, and what another destroyer did.
        let claimed =
            self.life.compare_exchange(life, life::DESTROYING, Ordering::AcqRel, Ordering::Acquire);
        if !matches!(life, life::OPEN | life::ORPHANED) || claimed.is_err() {
            return Refusal::Closed;
        }
        self.owner.store(thread::pointer(), Ordering::Relaxed);
        self.gate.close();
        let current = Current::enter(self);
        destroy::destroy_orphan(self);
        drop(current);
        // SAFETY: the creator's reference.
        unsafe { Handle::unref(self) };
        Refusal::Orphaned
    }

    fn destroy_now(&self) -> Result<(), Refusal> {
        let _current = Current::enter(self);
        destroy::destroy(self)
    }

    /// Frees the engine at the end of a destroy.
    pub(crate) fn finish(&self) {
        self.set_life(life::CLOSED);
        let me: *const Handle = self;
        let listed = ADOPTED
            .try_with(|adopted| {
                let list = &mut adopted.borrow_mut().0;
                let found = list.iter().position(|&handle| handle == me);
                found.map(|position| list.swap_remove(position)).is_some()
            })
            .unwrap_or(false);
        // SAFETY: the last use of the engine: the life is CLOSED, the gate shut, nothing borrowed.
        unsafe { ManuallyDrop::drop(&mut *self.engine.get()) };
        if listed {
            // SAFETY: the list's reference.
            unsafe { Handle::unref(self) };
        }
    }

    /// In a forked child: lets go of the copy, running nothing. The parent's ring is not touched.
    /// Memory is freed if the owner itself has forked; another thread's fork may have caught the
    /// owner in the middle of a change, so that the copy is left alone.
    fn abandon_copy(&self) {
        // SAFETY: the child has one thread, and no call on this copy gets past the gate.
        unsafe { self.engine() }.backend.abandon();
        if self.is_owner() || self.life() == life::NEW {
            self.finish();
            // SAFETY: the creator's reference, copied by fork.
            unsafe { Handle::unref(self) };
        }
    }

    /// After a panic inside the engine: nothing but destroy works from now on.
    pub(crate) fn poison(&self) {
        let has_begun = matches!(self.life(), life::ADOPTING | life::OPEN | life::DESTROYING);
        if has_begun && self.is_owner() {
            self.set_life(life::POISONED);
            // SAFETY: the owner, and the failed call has been left.
            unsafe { self.engine() }.silence();
        }
    }

    pub(crate) fn user_data(&self) -> *mut c_void {
        self.user_data.load(Ordering::Acquire)
    }

    /// Release pairs with the acquire above: what the pointer leads to is seen with it.
    pub(crate) fn set_user_data(&self, user_data: *mut c_void) {
        self.user_data.store(user_data, Ordering::Release);
    }

    pub(crate) fn add_ref(&self) {
        // Relaxed: the caller holds a reference already.
        self.references.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a reference back; the last one frees the handle.
    ///
    /// # Safety
    /// `handle` came from `Box::into_raw`, and the caller holds a reference that it will not use
    /// again.
    pub(crate) unsafe fn unref(handle: *const Handle) {
        // SAFETY: a reference is held until the decrement.
        let before = unsafe { (*handle).references.fetch_sub(1, Ordering::Release) };
        if before == 1 {
            // SAFETY: the last reference.
            unsafe {
                // Acquire pairs with the releases above: all uses happen before the free. Not a
                // fence, which ThreadSanitizer does not see.
                (*handle).references.load(Ordering::Acquire);
                drop(Box::from_raw(handle.cast_mut()));
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // An engine that was never destroyed is leaked on purpose: its operations may be running.
        if self.life() == life::NEW {
            // SAFETY: never adopted, so nothing was ever submitted.
            unsafe { ManuallyDrop::drop(self.engine.get_mut()) };
        }
    }
}
