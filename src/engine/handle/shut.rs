//! Functions of the program that are called while the engine is borrowed, in the middle of a submit
//! or a turn: they must not come back to their context, and are told so (`AIO_EREENTRANT`) instead
//! of being trusted. What any thread may do goes on: it does not touch the engine.

use crate::engine::handle::Handle;
use crate::sys::atomic::Ordering;

impl Handle {
    /// Calls `function` on the context's thread with the context shut to it.
    pub(crate) fn shut_out(&self, function: impl FnOnce()) {
        // Relaxed everywhere: this thread alone asks (`is_shut_here`).
        let was_open = self.gate.admits_caller();
        self.gate.close();
        self.shut.store(1, Ordering::Relaxed);
        function();
        self.shut.store(0, Ordering::Relaxed);
        // A forked child stays out.
        if was_open && self.gate.same_process() {
            self.gate.open_for_caller();
        }
    }

    /// The caller is such a function.
    pub(super) fn is_shut_here(&self) -> bool {
        self.shut.load(Ordering::Relaxed) != 0 && self.is_owner()
    }
}
