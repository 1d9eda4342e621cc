//! What the kernel is: the ring's memory and its three system calls, epoll and the plain calls
//! that stand in for a ring, clocks, the thread's identity, event descriptors and error numbers.
//! The only layer that says `libc::`. Everything above sees safe types; the `unsafe` of system
//! calls and of shared memory ends here.

#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) mod address;
pub(crate) mod atomic;
pub(crate) mod buffer_ring;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod facility;
pub(crate) mod function;
pub(crate) mod inotify;
pub(crate) mod interface_queue;
pub(crate) mod known;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod message;
#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) mod names;
#[cfg(aio_panics)]
mod panics;
pub(crate) mod plain;
pub(crate) mod poller;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod queues;
pub(crate) mod refused;
pub(crate) mod registered;
pub(crate) mod ring;
pub(crate) mod sigaction;
pub(crate) mod signal;
pub(crate) mod spare;
pub(crate) mod sync;
pub(crate) mod thread;
