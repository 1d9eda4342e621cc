//! Keeps a handle valid, on any thread.

use crate::engine::handle::Handle;
use std::ops::Deref;
use std::ptr::NonNull;

/// One reference, given back when it is dropped.
pub(crate) struct Reference(NonNull<Handle>);

// SAFETY: a handle may be used by any thread, and counts its references atomically.
unsafe impl Send for Reference {}
// SAFETY: as above.
unsafe impl Sync for Reference {}

impl Reference {
    pub(crate) fn to(handle: &Handle) -> Reference {
        handle.add_ref();
        Reference(NonNull::from(handle))
    }
}

impl Clone for Reference {
    fn clone(&self) -> Reference {
        Reference::to(self)
    }
}

impl Deref for Reference {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        // SAFETY: counted since `to`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: the reference that `to` has counted.
        unsafe { Handle::unref(self.0.as_ptr()) };
    }
}
