//! What is built from contexts and operations, and completes on a context like an operation of its
//! own: thread pools and what runs on them. A file per noun, as in every layer; how one is added is
//! in docs/abi.md.

mod compute;
pub(crate) mod poll_until;
pub(crate) mod threads;
