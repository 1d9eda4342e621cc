//! The loops: turns until there is nothing to wait for, or somebody says stop. The only place that
//! calls user functions, with nothing of the engine borrowed: a callback may submit, cancel, post,
//! stop and destroy (contract, line 12).
//!
//! Most turns are plain ones: of a context whose operations are all in the usual ring, with no
//! chains, barriers, pools, or mail, and with no deadline that the kernel would not wake us for
//! (`alarm.rs`). Such a turn tests no facility one by one; `odd` says that none has come into use.

use crate::engine::completion::Plain;
use crate::engine::handle::Handle;
use crate::engine::mailbox::Posted;
use crate::engine::turn::Call;
use crate::engine::{Engine, Refusal};
use crate::sys::clock;
use crate::sys::function::NoUnwind;
use crate::sys::ring::Wait;
use std::ffi::c_void;

/// The engine for a moment. Every function below, and those of `destroy.rs`, run on the thread that
/// may use it (`Handle::run_with`, `Handle::destroy`), and drop the borrow before a user function
/// runs.
#[allow(clippy::mut_from_ref)]
#[inline(always)]
pub(super) fn borrow(handle: &Handle) -> &mut Engine {
    // SAFETY: as said above.
    unsafe { handle.engine() }
}

/// One turn of a context that may have anything to look after.
pub(crate) fn turn(handle: &Handle, wait: Wait) -> Result<(), Refusal> {
    borrow(handle).trace_turn_begin();
    let begun = borrow(handle).begin_turn(handle, wait);
    borrow(handle).trace_waited();
    if begun.is_ok() {
        deliver(handle);
        borrow(handle).end_turn(handle);
    }
    borrow(handle).trace_turn_end();
    begun
}

/// The turn of a context that has nothing but operations in the usual ring.
#[inline(always)]
fn plain_turn(handle: &Handle) -> Result<(), Refusal> {
    borrow(handle).begin_plain_turn(handle)?;
    // Asked at the end of each round: a jump less than at the beginning.
    if borrow(handle).can_peek_on() {
        loop {
            let Some(plain) = borrow(handle).next_plain(&handle.counts) else {
                return end_plain_turn(handle);
            };
            perform(plain);
            if !borrow(handle).can_peek_on() {
                break;
            }
        }
    }
    if borrow(handle).has_left_plain_ways() {
        deliver_sent(handle);
        if borrow(handle).has_left_plain_ways() {
            return end_plain_turn(handle);
        }
    }
    debug_assert!(borrow(handle).is_plainly_exhausted());
    borrow(handle).count_turn(handle);
    Ok(())
}

/// Ends a turn that began as a plain one.
#[inline(never)]
fn end_plain_turn(handle: &Handle) -> Result<(), Refusal> {
    deliver_rest(handle);
    borrow(handle).end_begun_plain_turn(handle);
    Ok(())
}

/// Delivers what a plain turn has left. Where that is completions of operations with deadlines, or
/// mail with functions in it, the turn stays a plain one.
fn deliver_rest(handle: &Handle) {
    borrow(handle).join_pieces();
    deliver_timed(handle);
    if borrow(handle).take_plain_mail(&handle.mailbox) {
        deliver_timed(handle);
        while let Some(posted) = borrow(handle).next_plain_post(&handle.mailbox) {
            perform_post(posted);
            deliver_sent(handle);
        }
        if borrow(handle).ends_plain_mail(&handle.stats) {
            return;
        }
    } else if borrow(handle).is_plainly_exhausted() {
        return;
    }
    deliver(handle);
}

#[inline(always)]
fn deliver_timed(handle: &Handle) {
    while borrow(handle).can_peek()
        && let Some(plain) = borrow(handle).next_timed(&handle.counts)
    {
        perform(plain);
    }
    deliver_sent(handle);
}

/// Delivers the end of a send that was made at once, if there is one.
#[inline(always)]
fn deliver_sent(handle: &Handle) {
    if let Some(plain) = borrow(handle).next_sent(&handle.counts) {
        perform(plain);
    }
}

/// Delivers what is there, as far as the turn's budget goes.
#[inline(never)]
fn deliver(handle: &Handle) {
    loop {
        if borrow(handle).can_peek() {
            if let Some(plain) = borrow(handle).next_timed(&handle.counts) {
                perform(plain);
                continue;
            }
            if let Some(plain) = borrow(handle).next_pooled() {
                perform(plain);
                borrow(handle).close_arrival();
                continue;
            }
            if let Some(plain) = borrow(handle).next_repeated() {
                perform(plain);
                continue;
            }
            if borrow(handle).record_plains(&handle.counts) {
                continue;
            }
        }
        while let Some(plain) = borrow(handle).next_timer(&handle.counts) {
            perform(plain);
        }
        if let Some(plain) = borrow(handle).next_sent(&handle.counts) {
            perform(plain);
        } else if borrow(handle).is_exhausted() {
            return;
        } else if let Some(call) = borrow(handle).next_call() {
            perform_any(handle, call);
            borrow(handle).close_arrival();
        } else {
            return;
        }
    }
}

/// Delivers what is there without entering the backend: for a context whose thread has ended.
pub(crate) fn deliver_local(handle: &Handle) {
    borrow(handle).take_mail(&handle.mailbox);
    borrow(handle).set_local_budget();
    while let Some(call) = borrow(handle).next_call() {
        perform_any(handle, call);
        borrow(handle).close_arrival();
    }
    borrow(handle).publish(handle);
}

/// Calls the user's callback: the one place where this happens. Counted by whoever has freed the
/// operation's slot, or by `perform_any`.
#[inline(always)]
fn perform(plain: Plain) {
    let guard = NoUnwind;
    // SAFETY: the caller of submit promised a function of this type; the engine holds no borrow.
    // `callback` is a function's address: the value for records was sorted out before.
    unsafe {
        let callback: unsafe extern "C-unwind" fn(*mut c_void, i32, u32) =
            std::mem::transmute(plain.callback);
        callback(plain.user_data as *mut c_void, plain.result, plain.flags);
    }
    std::mem::forget(guard);
}

/// Calls a posted function.
#[inline(always)]
fn perform_post(Posted(function, arg): Posted) {
    let guard = NoUnwind;
    // SAFETY: the caller of post promised a function of this type; nothing is borrowed.
    unsafe { function(arg) };
    std::mem::forget(guard);
}

/// Calls whatever is due.
fn perform_any(handle: &Handle, call: Call) {
    if !matches!(call, Call::Ask(..)) {
        borrow(handle).count_call();
    }
    match call {
        Call::Callback(plain) => perform(plain),
        Call::Brought(plain) => {
            perform(plain);
            borrow(handle).drop_payload();
        }
        Call::Post(posted) => perform_post(posted),
        Call::Record => {}
        Call::Ask(function, id) => {
            let answer = function.call();
            borrow(handle).answer(id, answer);
        }
    }
}

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
        let before = borrow(handle).callbacks();
        if wait == Wait::Forever
            && (borrow(handle).prepare_plain_turn(&handle.mailbox)
                || borrow(handle).prepare_timed_turn(&handle.mailbox))
        {
            plain_turn(handle)?;
        } else {
            turn(handle, wait)?;
        }
        let delivered = (borrow(handle).callbacks() - before) as u32;
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
        let mailbox = &handle.mailbox;
        while borrow(handle).prepare_plain_turn(mailbox)
            || borrow(handle).prepare_timed_turn(mailbox)
            || borrow(handle).prepare_held_turn(mailbox)
        {
            plain_turn(handle)?;
        }
        let engine = borrow(handle);
        let idle = engine.is_idle(&handle.mailbox) && !handle.mailbox.is_held();
        if handle.mailbox.consume_stop() || idle || engine.is_clogged() || engine.is_ending() {
            return Ok(());
        }
        turn(handle, Wait::Forever)?;
    }
}
