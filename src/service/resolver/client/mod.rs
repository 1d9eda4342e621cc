//! Lookups over sockets of their own, whose messages come as inner operations of the context
//! (`query`). What is asked and believed is decided without I/O: a `Lookup` tries names, an
//! `Exchange` asks servers, `message` reads what they say. The number of lookups that have sockets
//! is limited (`gate`); others wait for their turn.

mod cache;
mod config;
mod exchange;
mod gate;
mod hosts;
mod lookup;
mod message;
mod query;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use query::{Resolver, submit};
