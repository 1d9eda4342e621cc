//! How long the context turns: until something was delivered, until there are records, until there
//! is nothing left to wait for.

use crate::engine::Refusal;
use crate::engine::handle::Handle;
use crate::engine::turn::{borrow, turn};
use crate::sys::clock;
use crate::sys::ring::Wait;

/// Turns until something was delivered or `timeout_ns` has passed (negative: no limit). Also ends
/// when there is nothing that could be waited for, and on a stop.
pub(crate) fn run_once(handle: &Handle, timeout_ns: i64) -> Result<u32, Refusal> {
    let limit_ns = u64::try_from(timeout_ns).ok();
    let mut until_ns = None;
    loop {
        let engine = borrow(handle);
        if handle.mailbox.consume_stop() || engine.is_clogged() {
            return Ok(0);
        }
        if limit_ns.is_none() && engine.is_idle(&handle.mailbox) && !handle.mailbox.is_held() {
            return Ok(0);
        }
        let wait = match limit_ns {
            None => Wait::Forever,
            Some(0) => Wait::Poll,
            Some(limit) => {
                let now_ns = clock::now_ns();
                let until_ns = *until_ns.get_or_insert(now_ns.saturating_add(limit));
                if until_ns <= now_ns { Wait::Poll } else { Wait::For(until_ns - now_ns) }
            }
        };
        let was_empty = borrow(handle).in_flight() == 0;
        let delivered = turn(handle, wait)?;
        let engine = borrow(handle);
        // The last one may have ended without a word: quietly, or detached.
        let is_emptied = !was_empty && engine.in_flight() == 0;
        if delivered != 0 || is_emptied || engine.is_ending() || wait == Wait::Poll {
            return Ok(delivered);
        }
    }
}

/// Turns until there are records, as `run_once` turns until there is a delivery.
pub(crate) fn wait_for_records(handle: &Handle, timeout_ns: i64) -> Result<(), Refusal> {
    let until_ns = u64::try_from(timeout_ns).ok().map(|ns| clock::now_ns().saturating_add(ns));
    loop {
        if borrow(handle).has_records() {
            return Ok(());
        }
        let left_ns = until_ns.map_or(-1, |until_ns| {
            i64::try_from(until_ns.saturating_sub(clock::now_ns())).unwrap_or(i64::MAX)
        });
        let delivered = run_once(handle, left_ns)?;
        let engine = borrow(handle);
        if delivered == 0 || left_ns == 0 || engine.is_ending() {
            return Ok(());
        }
    }
}

/// Turns until stopped, or nothing is in flight, posted or held.
pub(crate) fn run(handle: &Handle) -> Result<(), Refusal> {
    loop {
        let engine = borrow(handle);
        let idle = engine.is_idle(&handle.mailbox) && !handle.mailbox.is_held();
        if handle.mailbox.consume_stop() || idle || engine.is_clogged() || engine.is_ending() {
            return Ok(());
        }
        turn(handle, Wait::Forever)?;
    }
}
