//! What the kernel is: the ring's memory and its three system calls, epoll and the plain calls
//! that stand in for a ring, clocks, the thread's identity, event descriptors and error numbers.
//! The only layer that says `libc::`. Everything above sees safe types; the `unsafe` of system
//! calls and of shared memory ends here.

pub(crate) mod atomic;
pub(crate) mod buffer_ring;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod descriptor;
pub(crate) mod entry;
pub(crate) mod errno;
pub(crate) mod facility;
pub(crate) mod interface_queue;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod plain;
pub(crate) mod poller;
pub(crate) mod probe;
pub(crate) mod queues;
pub(crate) mod registered;
pub(crate) mod ring;
pub(crate) mod signal;
pub(crate) mod thread;
