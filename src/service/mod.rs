//! What is built from contexts and operations, and completes on a context like an operation of its
//! own: from external operations (`engine::external`) and, below them, ordinary ones. A file per
//! noun, as in every layer; how one is added is in docs/abi.md.

pub(crate) mod channel;
mod compute;
mod expiring;
pub(crate) mod names;
pub(crate) mod notifier;
pub(crate) mod poll_until;
pub(crate) mod processes;
pub(crate) mod resolver;
pub(crate) mod signals;
pub(crate) mod threads;
pub(crate) mod watches;
pub(crate) mod workers;
