//! The DNS client. A resolver is no part of a context: any thread may submit with it, and lookups
//! in flight keep it. `data` is what is asked and answered, `client` finds the answers; `absent`
//! stands for it in a library that was built without the feature `resolver`.

#[cfg(not(feature = "resolver"))]
mod absent;
#[cfg(feature = "resolver")]
mod client;
#[cfg_attr(not(feature = "resolver"), allow(dead_code))]
pub(crate) mod data;

#[cfg(not(feature = "resolver"))]
pub(crate) use absent::{Resolver, submit};
#[cfg(feature = "resolver")]
pub(crate) use client::{Resolver, submit};
