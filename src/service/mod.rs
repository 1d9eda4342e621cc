//! What completes on a context without being an operation of the kernel's: built from external
//! operations (`engine::external`) and, below them, ordinary ones. A file per noun, with the same
//! name in `ffi`.

pub(crate) mod processes;
pub(crate) mod signals;
pub(crate) mod watches;
