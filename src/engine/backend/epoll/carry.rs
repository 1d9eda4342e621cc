//! Carrying operations out without a ring: which are tried at once, what they wait for when they
//! would sleep, and who is tried again when a descriptor is ready.

use crate::engine::backend::epoll::waiters::{Place, Side};
use crate::engine::backend::epoll::watches::Served;
use crate::engine::backend::epoll::{Epoll, LINKS};
use crate::engine::pool::{Cancel, Job};
use crate::op::{self, Fallback, Outcome};
use crate::sys::entry::{Opcode, Sqe, cqe_flags, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::poller::{events, poll_now};
use crate::sys::queues::Queues;

/// Completions of one multishot accept, per look at its listener.
const ACCEPTS_MAX: u32 = 64;

/// What is to be done with an operation.
pub(super) enum Next {
    End(i32),
    /// `renews`: what is ready now must be reported, whatever was reported before.
    Wait {
        side: Side,
        wanted: u32,
        sleeps: bool,
        renews: bool,
    },
    /// A call for the pool; `brief`: it sleeps for the disk at most.
    Sleep {
        call: fn(&Sqe) -> i32,
        brief: bool,
    },
}

impl Epoll {
    /// Carries out a send or receive that is nothing else; false: there is more to it. What lies
    /// between two system calls here runs from caches that the kernel has just used up.
    #[inline(always)]
    pub(super) fn start_quickly(&mut self, queues: &mut Queues, entry: &mut Sqe) -> bool {
        if !op::net::is_quick(entry) {
            if op::fs::is_quick(entry) && self.watches.is_known_file(entry.fd) {
                self.system_calls += 1;
                if let Some(result) = op::fs::quick(entry) {
                    self.post(queues, entry.user_data, result, 0);
                    return true;
                }
            }
            return false;
        }
        let side = if op::side(entry.opcode) == events::IN { Side::Readers } else { Side::Writers };
        if let Some(watch) = self.watches.get(entry.fd)
            && !watch.is_worth_trying(side)
            && op::may_wait(entry)
        {
            return watch.is_socket() && self.watches.wait_kept(entry, side);
        }
        let Some(result) = op::net::quick(entry) else { return false };
        self.system_calls += 1;
        if result == Errno::EAGAIN.status() {
            self.found_unready(queues, entry, side);
            return true;
        }
        if op::net::drains(entry, result)
            && let Some(watch) = self.watches.get(entry.fd)
        {
            watch.found_drained();
        }
        self.post(queues, entry.user_data, result, 0);
        true
    }

    #[cold]
    #[inline(never)]
    fn found_unready(&mut self, queues: &mut Queues, entry: &Sqe, side: Side) {
        if let Some(watch) = self.watches.get(entry.fd) {
            watch.found_unready(side);
        }
        let key = self.watches.waiters.add(entry, Place::Due);
        self.put_off(queues, key, Next::Wait { side, wanted: 0, sleeps: false, renews: false });
    }

    #[inline(never)]
    pub(super) fn start(&mut self, queues: &mut Queues, entry: &mut Sqe) {
        let (holds, buffer) = match self.look_up(entry) {
            Ok(found) => found,
            Err(errno) => return self.end(queues, entry, errno.status(), 0),
        };
        match self.try_now(queues, entry) {
            Next::End(result) => self.end(queues, entry, result, 0),
            next => {
                let key = self.watches.waiters.add(entry, Place::Due);
                self.hold(key, holds);
                self.hold_buffer(key, buffer);
                self.put_off(queues, key, next);
            }
        }
    }

    /// Lets an operation wait for its descriptor, or for the pool.
    pub(super) fn put_off(&mut self, queues: &mut Queues, key: u32, next: Next) {
        let outcome = match next {
            Next::End(result) => return self.finish(queues, key, result),
            Next::Sleep { call, brief } => return self.hand_to_pool(queues, key, call, brief),
            Next::Wait { side, wanted, sleeps, renews } => {
                let entry = &self.watches.waiters.at(key).entry;
                let multishot = is_multishot(entry) || op::buffers::selects(entry);
                // A call that must not sleep in vain wants to know what is ready now; so does a
                // multishot poll, which reports it.
                let renews = renews || sleeps || (side == Side::Pollers && multishot);
                self.watches.waiters.at(key).sleeps = sleeps;
                match self.watches.wait(key, side, wanted, renews) {
                    // As a ring says it: ready for ever, or never.
                    Err(Errno::EPERM) if side == Side::Pollers => {
                        let fd = self.watches.waiters.at(key).entry.fd;
                        return match poll_now(fd, wanted) {
                            Ok(ready) if ready != 0 => self.finish(queues, key, ready as i32),
                            _ => self.finish(queues, key, Errno::EINVAL.status()),
                        };
                    }
                    Err(Errno::EPERM) => return self.sleep_for(queues, key, true),
                    Ok(()) if side == Side::Readers && multishot => {
                        let fd = self.watches.waiters.at(key).entry.fd;
                        return self.serve(queues, fd, side);
                    }
                    waits => waits,
                }
            }
        };
        if let Err(errno) = outcome {
            self.finish(queues, key, errno.status());
        }
    }

    /// Hands what is waited for to a call that sleeps; `brief`: of a file that cannot be watched,
    /// which never keeps a caller waiting but for its disk.
    fn sleep_for(&mut self, queues: &mut Queues, key: u32, brief: bool) {
        let entry = &mut self.watches.waiters.at(key).entry;
        if op::buffers::selects(entry) {
            return self.refuse_selected(queues, key);
        }
        let result = match op::fallback(entry.opcode) {
            Some(Fallback::Either { sleep, .. }) => {
                return self.hand_to_pool(queues, key, sleep, brief);
            }
            // It is no socket, as the call will say.
            Some(Fallback::Trying(attempt)) => match attempt(entry) {
                Outcome::Done(result) => result,
                _ => Errno::EPERM.status(),
            },
            _ => Errno::EPERM.status(),
        };
        self.finish(queues, key, result);
    }

    fn hand_to_pool(&mut self, queues: &mut Queues, key: u32, call: fn(&Sqe) -> i32, brief: bool) {
        let waiter = self.watches.waiters.at(key);
        waiter.place = Place::Pool;
        let (entry, id) = (waiter.entry, waiter.entry.user_data);
        let priority = if op::has_priority(entry.opcode) { entry.ioprio } else { 0 };
        let has_thread = self.pool.submit(Job { id, call, entry, priority });
        if !has_thread
            && (brief || op::is_brief_open(&entry))
            && self.pool.cancel(id) == Cancel::Removed
        {
            let result = call(&entry);
            self.finish(queues, key, result);
        }
    }

    /// Carries an operation out as far as that goes without sleeping.
    #[inline(always)]
    pub(super) fn try_now(&mut self, queues: &mut Queues, entry: &mut Sqe) -> Next {
        if let Err(errno) = check(entry) {
            return Next::End(errno.status());
        }
        if op::buffers::selects(entry) {
            return self.begin_selected(entry);
        }
        match op::fallback(entry.opcode) {
            Some(Fallback::Trying(attempt)) => self.attempt(entry, attempt, None),
            Some(Fallback::Either { attempt, sleep }) => self.attempt(entry, attempt, Some(sleep)),
            Some(Fallback::Prompt(call)) => {
                let result = self.call(entry, call);
                if result == 0 && op::net::ends_sending(entry) {
                    // No event tells those who wait to send.
                    self.serve(queues, entry.fd, Side::Writers);
                }
                Next::End(result)
            }
            Some(Fallback::Sleeping(call)) => Next::Sleep { call, brief: false },
            Some(Fallback::Brief(call)) => Next::Sleep { call, brief: true },
            Some(Fallback::Readiness) => self.poll(entry),
            None => Next::End(self.answer(queues, entry)),
        }
    }

    fn call(&mut self, entry: &Sqe, call: fn(&Sqe) -> i32) -> i32 {
        if let Some(slot) = op::files::closed_slot(entry).checked_sub(1) {
            return self.close_slot(slot);
        }
        if entry.opcode == Opcode::IORING_OP_CLOSE as u8 {
            self.watches.forget(entry.fd, true);
        }
        self.system_calls += 1;
        call(entry)
    }

    #[inline(always)]
    fn attempt(
        &mut self, entry: &mut Sqe, attempt: fn(&mut Sqe) -> Outcome,
        sleep: Option<fn(&Sqe) -> i32>,
    ) -> Next {
        let side = op::side(entry.opcode);
        let side = if side == events::IN { Side::Readers } else { Side::Writers };
        let wait =
            |wanted: u32, sleeps: bool, renews: bool| Next::Wait { side, wanted, sleeps, renews };
        let may_wait = op::may_wait(entry);
        let is_connect = entry.opcode == Opcode::IORING_OP_CONNECT as u8;
        let is_plain = op::is_file_transfer(entry.opcode) && entry.op_flags == 0;
        if is_plain && let Some(call) = sleep {
            // Asked not to run here, or with a priority; a socket's call never sleeps anywhere.
            let is_asked = entry.flags & sqe_flags::ASYNC != 0 || entry.ioprio != 0;
            if is_asked && op::is_storage_transfer(entry) {
                return Next::Sleep { call, brief: true };
            }
        }
        if may_wait
            && !is_connect
            && let Some(watch) = self.watches.get(entry.fd)
            && !watch.is_worth_trying(side)
            && (watch.is_socket() || !op::is_misplaced(entry))
        {
            return wait(0, false, false);
        }
        if is_multishot(entry) {
            return wait(0, false, false);
        }
        if is_plain && self.watches.is_buffered(entry.fd) {
            op::mark_started(entry);
        }
        self.system_calls += 1;
        match attempt(entry) {
            Outcome::Done(result) => {
                if op::net::drains(entry, result)
                    && let Some(watch) = self.watches.get(entry.fd)
                {
                    watch.found_drained();
                }
                Next::End(result)
            }
            Outcome::Unready(events::ERR | events::PRI) => {
                Next::Wait { side: Side::Exceptions, wanted: 0, sleeps: false, renews: false }
            }
            Outcome::Unready(wanted) => {
                if op::net::is_transfer(entry.opcode)
                    && let Some(watch) = self.watches.get(entry.fd)
                {
                    watch.found_unready(side);
                }
                // A connect is a socket's first wait: a number that was another's must not delay
                // it.
                wait(wanted, false, is_connect)
            }
            Outcome::Sleeps(0) => match sleep {
                Some(call) => Next::Sleep { call, brief: false },
                None => Next::End(Errno::EOPNOTSUPP.status()),
            },
            Outcome::Sleeps(wanted) => wait(wanted, true, false),
        }
    }

    fn poll(&mut self, entry: &Sqe) -> Next {
        let Some(wanted) = op::poll::wanted(entry) else {
            return Next::End(Errno::EINVAL.status());
        };
        // Where neither is asked for, a file that cannot be watched looks like one to wait for.
        let renews = wanted & (events::IN | events::OUT) == 0;
        let wait = Next::Wait { side: Side::Pollers, wanted, sleeps: false, renews };
        if is_multishot(entry) {
            return wait;
        }
        self.system_calls += 1;
        match poll_now(entry.fd, wanted) {
            Err(errno) => Next::End(errno.status()),
            Ok(0) if entry.fd >= 0 => wait,
            Ok(0 | events::NVAL) => Next::End(Errno::EBADF.status()),
            Ok(ready) => Next::End(ready as i32),
        }
    }

    pub(super) fn serve_again(&mut self, queues: &mut Queues) {
        for _ in 0..self.again.len() {
            if let Some(fd) = self.again.pop_front() {
                self.serve(queues, fd, Side::Readers);
            }
        }
    }

    #[inline(always)]
    pub(super) fn serve_event(&mut self, queues: &mut Queues, token: u64, seen: u32) {
        match self.watches.serve_only_reader(token, seen) {
            Some(Served::Ended(id, result)) => {
                self.system_calls += 1;
                self.post(queues, id, result, 0);
            }
            Some(Served::Nothing) => self.system_calls += 1,
            None => self.serve_all(queues, token, seen),
        }
    }

    #[inline(never)]
    fn serve_all(&mut self, queues: &mut Queues, token: u64, seen: u32) {
        let Some(fd) = self.watches.note_event(token, seen) else { return };
        let ends = seen & (events::HUP | events::ERR) != 0;
        if ends || seen & (events::IN | events::RDHUP | events::PRI) != 0 {
            self.serve(queues, fd, Side::Readers);
        }
        if ends || seen & events::OUT != 0 {
            self.serve(queues, fd, Side::Writers);
        }
        if ends || seen & events::PRI != 0 {
            self.serve(queues, fd, Side::Exceptions);
        }
        self.tell_pollers(queues, fd, seen);
    }

    fn first(&mut self, fd: i32, side: Side) -> Option<u32> {
        self.watches.get(fd)?.list(side).first()
    }

    /// Tries the operations that wait on one side of a descriptor, until one finds nothing.
    fn serve(&mut self, queues: &mut Queues, fd: i32, side: Side) {
        let mut next = self.first(fd, side);
        while let Some(key) = next {
            next = self.watches.waiters.next(key);
            let waiter = self.watches.waiters.at(key);
            if waiter.sleeps {
                self.watches.unlist(key);
                self.sleep_for(queues, key, false);
                continue;
            }
            if op::buffers::selects(&waiter.entry) {
                if self.serve_selected(queues, key) {
                    continue;
                }
                break;
            }
            let attempt = match op::fallback(waiter.entry.opcode) {
                Some(Fallback::Trying(attempt) | Fallback::Either { attempt, .. }) => attempt,
                _ => continue,
            };
            if is_multishot(&waiter.entry) {
                self.accept_many(queues, key, attempt);
                continue;
            }
            self.system_calls += 1;
            match attempt(&mut waiter.entry) {
                Outcome::Done(result) => {
                    let drains = op::net::drains(&waiter.entry, result);
                    self.watches.unlist(key);
                    self.finish(queues, key, result);
                    if drains && let Some(watch) = self.watches.get(fd) {
                        watch.found_drained();
                        if watch.is_dry() {
                            break;
                        }
                    }
                }
                Outcome::Unready(_) => {
                    let transfers = op::net::is_transfer(waiter.entry.opcode);
                    let Some(watch) = self.watches.get(fd) else { break };
                    if transfers {
                        watch.found_unready(side);
                    }
                    // A datagram socket, or a unix listener, that was shut down says "not now" for
                    // ever to a call that does not wait.
                    if side == Side::Readers && watch.is_odd() && is_shut_down(fd) {
                        let result = op::result_at_end(&self.watches.waiters.at(key).entry);
                        self.watches.unlist(key);
                        self.finish(queues, key, result);
                        continue;
                    }
                    break;
                }
                Outcome::Sleeps(_) => {
                    self.watches.unlist(key);
                    self.sleep_for(queues, key, false);
                }
            }
        }
    }

    /// Takes connections until there are no more, or the others' turn has come.
    fn accept_many(&mut self, queues: &mut Queues, key: u32, attempt: fn(&mut Sqe) -> Outcome) {
        let fd = self.watches.waiters.at(key).entry.fd;
        for _ in 0..ACCEPTS_MAX {
            let entry = &mut self.watches.waiters.at(key).entry;
            let id = entry.user_data;
            self.system_calls += 1;
            match attempt(entry) {
                Outcome::Done(accepted) => {
                    let entry = *entry;
                    let placed =
                        if accepted >= 0 { self.place(&entry, accepted) } else { accepted };
                    if placed < 0 {
                        self.watches.unlist(key);
                        return self.finish(queues, key, placed);
                    }
                    self.post(queues, id, placed, cqe_flags::MORE);
                }
                _ => return,
            }
        }
        self.again.push_back(fd);
    }

    fn tell_pollers(&mut self, queues: &mut Queues, fd: i32, seen: u32) {
        // Unproven, the event may be of the file that the number named before.
        let doubtful = self.watches.get(fd).is_some_and(|watch| watch.is_unproven());
        let mut next = self.first(fd, Side::Pollers);
        while let Some(key) = next {
            next = self.watches.waiters.next(key);
            let entry = &self.watches.waiters.at(key).entry;
            let wanted = op::poll::wanted(entry).unwrap_or_default();
            let seen = if doubtful { poll_now(fd, wanted).unwrap_or(seen) } else { seen };
            let ready = (seen & (wanted | events::ERR | events::HUP)) as i32;
            if ready == 0 {
                continue;
            }
            let id = entry.user_data;
            if is_multishot(entry) {
                self.post(queues, id, ready, cqe_flags::MORE);
            } else {
                self.watches.unlist(key);
                self.finish(queues, key, ready);
            }
        }
    }
}

pub(super) fn is_shut_down(fd: i32) -> bool {
    poll_now(fd, events::RDHUP).is_ok_and(|ready| ready & events::RDHUP != 0)
}

fn is_multishot(entry: &Sqe) -> bool {
    op::net::is_multishot_accept(entry)
        || (entry.opcode == Opcode::IORING_OP_POLL_ADD as u8 && op::poll::is_multishot(entry))
}

/// Refuses what cannot be carried out here, before anything is done.
pub(super) fn check(entry: &Sqe) -> Result<(), Errno> {
    check_flags(entry)?;
    op::check_plain(entry)
}

/// Entry flags that only a ring understands fail as there without what they refer to.
fn check_flags(entry: &Sqe) -> Result<(), Errno> {
    let known = LINKS | sqe_flags::ASYNC | sqe_flags::FIXED_FILE | sqe_flags::BUFFER_SELECT;
    if entry.flags & !known != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}
