//! The one place that decides whose locks and threads the pools use: the standard library's, or
//! shuttle's when this crate's tests are built with `--cfg shuttle` to explore interleavings.

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{Builder, JoinHandle},
};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{Builder, JoinHandle},
};
