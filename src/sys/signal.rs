//! The signal that ends a sleeping call on a thread of the engine's own. Which one is settled once
//! per process: the highest real-time signal below SIGRTMAX - 1 that nobody handles, one with the
//! default action if there is any. Its handler does nothing and has no SA_RESTART, so that the call
//! returns -EINTR. Threads of the program never get it: it is sent to the engine's threads by name.
//! Where the program handles every signal there is none, and sleeping calls are waited for.

use crate::sys::sync::OnceLock;

/// The highest real-time signals are left to debuggers and valgrind.
const LEFT_ALONE: i32 = 2;

static CHOSEN: OnceLock<Option<i32>> = OnceLock::new();

/// The signal's number; installs its handler when first called.
pub(crate) fn interrupt_number() -> Option<i32> {
    *CHOSEN.get_or_init(|| choose(libc::SIG_DFL).or_else(|| choose(libc::SIG_IGN)))
}

/// Whether that is the signal; false while none is settled, which then will not be this one if
/// somebody handles it.
pub(crate) fn is_interrupt(number: i32) -> bool {
    CHOSEN.get() == Some(&Some(number))
}

/// Takes the highest signal with the action `free`.
fn choose(free: libc::sighandler_t) -> Option<i32> {
    let mut numbers = (libc::SIGRTMIN()..=libc::SIGRTMAX() - LEFT_ALONE).rev();
    // SAFETY: valid structures; only a signal that nobody handles gets our handler.
    numbers.find(|&number| unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = on_interrupt as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(number, std::ptr::null(), &mut present) == 0
            && present.sa_sigaction == free
            && libc::sigaction(number, &ours, std::ptr::null_mut()) == 0
    })
}

extern "C" fn on_interrupt(_: libc::c_int) {}

/// Runs `body` with every signal held back; threads that it starts hold them back for good.
pub(crate) fn with_all_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: valid sets; the mask is put back as it was.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let value = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        value
    }
}

/// Lets the calling thread, which holds every signal back, be interrupted.
pub(crate) fn accept_interrupts() {
    let Some(number) = interrupt_number() else { return };
    // SAFETY: a valid set.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, number);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// A thread that can be interrupted. Only while the thread is known to live.
#[derive(Clone, Copy)]
pub(crate) struct Target(libc::pid_t);

impl Target {
    pub(crate) fn current() -> Target {
        // SAFETY: no arguments, no failure.
        Target(unsafe { libc::gettid() })
    }

    /// Ends the call that the thread sleeps in; nothing if it sleeps in none.
    pub(crate) fn interrupt(self) {
        let Some(number) = interrupt_number() else { return };
        // SAFETY: a signal to a thread of this process, which ignores it but for the -EINTR.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0, number) };
    }
}
