//! What is built from contexts and operations, and completes on a context like an operation of its
//! own. A file per noun, as in every layer; how one is added is in docs/abi.md.

pub(crate) mod channel;
pub(crate) mod notifier;
pub(crate) mod workers;
