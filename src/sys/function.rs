//! Functions of the program that say something by what they return: work for a pool's thread, and
//! predicates. Nothing unwinds out of a function of the program: the process is aborted instead,
//! because frames that know of no exceptions are below.

use std::ffi::c_void;

/// Aborts if a user function unwinds: an exception must not cross frames that do not know it.
/// Forgotten when the function has returned.
pub(crate) struct NoUnwind;

impl Drop for NoUnwind {
    fn drop(&mut self) {
        eprintln!("aio_rs: an exception or panic left a callback; aborting");
        std::process::abort();
    }
}

/// A function with its argument.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    function: unsafe extern "C-unwind" fn(*mut c_void) -> i32,
    arg: *mut c_void,
}

// SAFETY: whoever made it hands function and argument to another thread on purpose.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// # Safety
    /// `function` may be called with `arg` until the operation that it is for has ended, on any
    /// thread that the operation may use.
    pub(crate) unsafe fn new(
        function: unsafe extern "C-unwind" fn(*mut c_void) -> i32, arg: *mut c_void,
    ) -> Function {
        Function { function, arg }
    }

    pub(crate) fn call(&self) -> i32 {
        let guard = NoUnwind;
        // SAFETY: promised to `new`.
        let result = unsafe { (self.function)(self.arg) };
        std::mem::forget(guard);
        result
    }

    /// Aborts the test that calls it.
    #[cfg(test)]
    pub(crate) fn that_nobody_calls() -> Function {
        unsafe extern "C-unwind" fn called(_: *mut c_void) -> i32 {
            panic!("a function was called that was not to be")
        }
        Function { function: called, arg: std::ptr::null_mut() }
    }
}
