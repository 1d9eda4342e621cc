//! How workers accept connections: each on a socket of its own that shares the address with those
//! of the others. Hides what becomes of an accept that ends: it is begun again, after a pause where
//! descriptors or memory are short, because a connection that waits would end it at once.

use crate::engine::handle::Handle;
use crate::engine::{Done, Fires, Refusal, SubmitOptions};
use crate::op::net::AcceptMultishot;
use crate::service::workers::{Taker, Worker, current};
use crate::sys::descriptor;
use crate::sys::entry::cqe_flags;
use crate::sys::errno::Errno;
use crate::sys::sync::Mutex;
use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, PoisonError};

/// Between two tries where something is short.
const PAUSE_NS: u64 = 50_000_000;

/// An address that all workers serve.
pub(crate) struct Served {
    /// Of each worker, until it takes it.
    sockets: Mutex<Vec<Option<OwnedFd>>>,
    on_connection: Taker,
}

impl Served {
    pub(super) fn new(sockets: Vec<OwnedFd>, on_connection: Taker) -> Served {
        Served { sockets: Mutex::new(sockets.into_iter().map(Some).collect()), on_connection }
    }

    /// The socket of a worker, once.
    pub(super) fn take(&self, worker: usize) -> Option<OwnedFd> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.get_mut(worker).and_then(Option::take)
    }
}

/// What one worker accepts on, by the number of the address.
#[derive(Default)]
pub(crate) struct Accepting {
    accepts: Vec<Option<Accept>>,
    has_ended: bool,
}

struct Accept {
    socket: OwnedFd,
    /// The accept, or the pause before the next.
    id: u64,
    served: Arc<Served>,
}

fn done(callback: unsafe extern "C-unwind" fn(*mut c_void, i32, u32), number: usize) -> Done {
    Done { callback: callback as usize, user_data: number }
}

fn submit(context: &Handle, fd: i32, number: usize) -> Result<u64, Refusal> {
    let op = AcceptMultishot { fd, flags: 0 };
    let options = SubmitOptions::default();
    Ok(context.enter()?.submit_carefully(&op, &options, done(on_accepted, number))?)
}

fn pause(context: &Handle, number: usize) -> Result<u64, Refusal> {
    let (fires, options) = (Fires::After(PAUSE_NS), SubmitOptions::default());
    Ok(context.enter()?.submit_timer_carefully(fires, &options, done(on_pause_over, number))?)
}

/// Posted: this worker is to serve another address.
pub(super) extern "C-unwind" fn begin_here(number: *mut c_void) {
    let (Some(worker), number) = (current(), number.addr()) else { return };
    let served = worker.shared.lock().served.get(number).cloned();
    let Some(served) = served else { return };
    let socket = served.take(worker.index as usize);
    let accepting = &mut *worker.accepting.borrow_mut();
    if let Some(socket) = socket
        && !accepting.has_ended
    {
        if accepting.accepts.len() <= number {
            accepting.accepts.resize_with(number + 1, || None);
        }
        accepting.accepts[number] = Some(Accept { socket, id: 0, served });
        again(&worker, accepting, number, false);
    }
}

/// Accepts on, or pauses first. Where neither can be had the worker is at its end.
fn again(worker: &Worker, accepting: &mut Accepting, number: usize, after_pause: bool) {
    let Some(Some(accept)) = accepting.accepts.get_mut(number) else { return };
    let begun = if after_pause {
        pause(&worker.context, number)
    } else {
        submit(&worker.context, accept.socket.as_raw_fd(), number)
            .or_else(|_| pause(&worker.context, number))
    };
    accept.id = begun.unwrap_or(0);
}

/// Accepts no more: what is not accepted yet is refused with the socket.
pub(super) fn end_here(worker: &Worker) {
    let accepting = &mut *worker.accepting.borrow_mut();
    accepting.has_ended = true;
    for accept in accepting.accepts.iter().flatten() {
        if let Ok(engine) = worker.context.enter() {
            let _ = engine.cancel(accept.id);
        }
    }
}

extern "C-unwind" fn on_accepted(number: *mut c_void, result: i32, flags: u32) {
    let (worker, number) = (current(), number.addr());
    let served = worker.as_ref().and_then(|worker| {
        Some(worker.accepting.borrow().accepts.get(number)?.as_ref()?.served.clone())
    });
    let (Some(worker), Some(served)) = (worker, served) else {
        if result >= 0 {
            descriptor::close(result);
        }
        return;
    };
    if flags & cqe_flags::MORE == 0 {
        let accepting = &mut *worker.accepting.borrow_mut();
        if accepting.has_ended {
            accepting.accepts[number] = None;
        } else {
            let is_short = result < 0 && result != Errno::ECONNABORTED.status();
            again(&worker, accepting, number, is_short);
        }
    }
    if result >= 0 {
        (served.on_connection)(&worker.context, result);
    }
}

extern "C-unwind" fn on_pause_over(number: *mut c_void, _: i32, _: u32) {
    let (Some(worker), number) = (current(), number.addr()) else { return };
    let accepting = &mut *worker.accepting.borrow_mut();
    if accepting.has_ended {
        if let Some(accept) = accepting.accepts.get_mut(number) {
            *accept = None;
        }
    } else {
        again(&worker, accepting, number, false);
    }
}
