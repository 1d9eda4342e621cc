//! The one place that decides whose atomics are used: the standard library's, or loom's when the
//! crate is built with `--cfg loom` to explore interleavings. Those in `fixed` are always the
//! standard library's: for statics, and for memory that is shared with the kernel or a child.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

pub(crate) use std::sync::atomic::Ordering;

pub(crate) mod fixed {
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize};
}
