//! Operations of several steps: whole transfers, which go on after a short result, and sendfile. An
//! operation's steps keep what was moved and say, at the end of each step, whether there is another
//! one. The entry that the engine keeps for the operation is changed for it in place, so that it is
//! still one operation with one id. What may come between two steps is the engine's concern.

use crate::op::{LENGTH_MAX, clamp_length};
use crate::sys::descriptor::Pipe;
use crate::sys::entry::{Opcode, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::plain::CURRENT;
use crate::sys::poller::events;

/// The result where a file or stream ended before the whole was moved (`AIO_EEOF`).
pub(crate) const END_OF_FILE: i32 = -5010;

/// What follows a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// The entry was changed: it is to be carried out.
    Again,
    /// The operation's result: 0, or an error.
    End(i32),
}

pub(crate) enum Steps {
    Whole(Whole),
    Sendfile(Sendfile),
}

impl Steps {
    /// `waits_for_all`: the kernel goes on by itself, and tells a chain when it could not.
    pub(crate) fn whole(name: &'static str, len: usize, waits_for_all: bool) -> Steps {
        Steps::Whole(Whole { name, left: len as u64, moved: 0, waits_for_all })
    }

    pub(crate) fn sendfile(out_fd: i32, in_fd: i32, offset: u64, count: usize) -> Steps {
        let left = count as u64;
        Steps::Sendfile(Sendfile {
            in_fd,
            out_fd,
            out_flags: 0,
            offset,
            left,
            moved: 0,
            in_pipe: 0,
            pipe: None,
        })
    }

    /// Judges the end of a step.
    pub(crate) fn next(&mut self, sqe: &mut Sqe, result: i32) -> Step {
        // Nothing was done, and the arguments are still here. A worker was interrupted.
        if Errno::is_interruption(result) {
            return Step::Again;
        }
        match self {
            Steps::Whole(whole) => whole.next(sqe, result),
            Steps::Sendfile(sendfile) => sendfile.next(sqe, result),
        }
    }

    /// Bytes that have arrived where they should.
    pub(crate) fn moved(&self) -> u64 {
        match self {
            Steps::Whole(whole) => whole.moved,
            Steps::Sendfile(sendfile) => sendfile.moved,
        }
    }

    /// The name in dumps.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Steps::Whole(whole) => whole.name,
            Steps::Sendfile(_) => "sendfile",
        }
    }

    /// Whether a soft link behind the operation holds if, and only if, its first step does it all.
    pub(crate) fn keeps_links(&self) -> bool {
        match self {
            Steps::Whole(whole) => whole.waits_for_all && whole.left <= LENGTH_MAX as u64,
            Steps::Sendfile(_) => false,
        }
    }

    /// Makes the entry of the first step where it needs a pipe.
    pub(crate) fn begin(
        &mut self, sqe: &mut Sqe, pipe: impl FnOnce() -> Result<Pipe, Errno>,
    ) -> Result<(), Errno> {
        if let Steps::Sendfile(sendfile) = self {
            sendfile.pipe = Some(pipe()?);
            // The steps that read have another descriptor there.
            sendfile.out_flags = sqe.flags & sqe_flags::FIXED_FILE;
            sendfile.fill(sqe);
        }
        Ok(())
    }

    /// The pipe, for another operation, if it is certain that nothing is in it.
    pub(crate) fn take_clean_pipe(&mut self, result: i32) -> Option<Pipe> {
        match self {
            Steps::Sendfile(sendfile) if result == 0 && sendfile.in_pipe == 0 => {
                sendfile.pipe.take()
            }
            _ => None,
        }
    }
}

/// A transfer that goes on until all of it was moved.
pub(crate) struct Whole {
    name: &'static str,
    left: u64,
    moved: u64,
    waits_for_all: bool,
}

impl Whole {
    fn next(&mut self, sqe: &mut Sqe, result: i32) -> Step {
        let moved = match Errno::check(result) {
            Ok(0) if self.left > 0 => return Step::End(END_OF_FILE),
            Ok(moved) => u64::from(moved as u32),
            // A stream that was given an offset, which has grown.
            Err(Errno::ESPIPE) if self.moved > 0 && sqe.off != CURRENT => {
                sqe.off = CURRENT;
                return Step::Again;
            }
            Err(_) => return Step::End(result),
        };
        self.moved += moved;
        self.left = self.left.saturating_sub(moved);
        if self.left == 0 {
            return Step::End(0);
        }
        sqe.addr += moved;
        sqe.len = clamp_length(self.left as usize);
        let has_offset = sqe.opcode == Opcode::IORING_OP_READ as u8
            || sqe.opcode == Opcode::IORING_OP_WRITE as u8;
        if has_offset && sqe.off != CURRENT {
            sqe.off += moved;
        }
        Step::Again
    }
}

/// From a descriptor into a pipe, and from the pipe into another descriptor, again and again.
pub(crate) struct Sendfile {
    in_fd: i32,
    out_fd: i32,
    /// FIXED_FILE if that is a slot.
    out_flags: u8,
    offset: u64,
    left: u64,
    moved: u64,
    /// Bytes that have left `in_fd` and not arrived.
    in_pipe: u64,
    pipe: Option<Pipe>,
}

impl Sendfile {
    fn next(&mut self, sqe: &mut Sqe, result: i32) -> Step {
        let polled = sqe.opcode == Opcode::IORING_OP_POLL_ADD as u8;
        let fills = self.in_pipe == 0;
        let moved = match Errno::check(result) {
            Ok(_) if polled => 0,
            // The end of the file: short, and said to be.
            Ok(0) if fills => return Step::End(0),
            Ok(0) => return Step::End(Errno::EIO.status()),
            Ok(moved) => u64::from(moved as u32),
            // A non-blocking descriptor, which is waited for all the same.
            Err(Errno::EAGAIN) if !polled => {
                self.wait(sqe);
                return Step::Again;
            }
            Err(_) => return Step::End(result),
        };
        if fills {
            self.in_pipe = moved;
            self.left -= moved;
            if self.offset != CURRENT {
                self.offset += moved;
            }
        } else {
            self.in_pipe -= moved;
            self.moved += moved;
        }
        match (self.in_pipe, self.left) {
            (0, 0) => return Step::End(0),
            (0, _) => self.fill(sqe),
            _ => self.drain(sqe),
        }
        Step::Again
    }

    fn pipe(&self) -> &Pipe {
        self.pipe.as_ref().expect("a sendfile that has begun has a pipe")
    }

    fn fill(&self, sqe: &mut Sqe) {
        let (pipe_fd, room) = (self.pipe().write_end(), self.pipe().capacity());
        splice(sqe, (self.in_fd, self.offset), pipe_fd, self.left.min(room));
    }

    fn drain(&self, sqe: &mut Sqe) {
        splice(sqe, (self.pipe().read_end(), CURRENT), self.out_fd, self.in_pipe);
        sqe.flags |= self.out_flags;
    }

    /// Until the descriptor is ready that was not.
    fn wait(&self, sqe: &mut Sqe) {
        let fills = self.in_pipe == 0;
        set(sqe, Opcode::IORING_OP_POLL_ADD);
        sqe.fd = if fills { self.in_fd } else { self.out_fd };
        sqe.flags |= if fills { 0 } else { self.out_flags };
        sqe.op_flags = if fills { events::IN } else { events::OUT };
    }
}

/// Clears an entry of what belongs to the step before.
fn set(sqe: &mut Sqe, opcode: Opcode) {
    // A splice is always for a worker, a poll never.
    let flags = sqe.flags & !(sqe_flags::ASYNC | sqe_flags::FIXED_FILE);
    *sqe = Sqe { opcode: opcode as u8, flags, user_data: sqe.user_data, ..Sqe::default() };
}

fn splice(sqe: &mut Sqe, from: (i32, u64), to_fd: i32, len: u64) {
    set(sqe, Opcode::IORING_OP_SPLICE);
    (sqe.splice_fd_in, sqe.addr) = from;
    (sqe.fd, sqe.off) = (to_fd, CURRENT);
    sqe.len = clamp_length(len as usize);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(opcode: Opcode) -> Sqe {
        Sqe { opcode: opcode as u8, addr: 1000, len: 100, ..Sqe::default() }
    }

    #[test]
    fn a_short_transfer_goes_on_behind_what_was_moved() {
        let mut steps = Steps::whole("write_all", 100, false);
        let mut sqe = entry(Opcode::IORING_OP_WRITE);
        sqe.off = 7;
        assert_eq!(steps.next(&mut sqe, 30), Step::Again);
        assert_eq!((sqe.addr, sqe.len, sqe.off, steps.moved()), (1030, 70, 37, 30));
        assert_eq!(steps.next(&mut sqe, Errno::EINTR.status()), Step::Again);
        assert_eq!(steps.next(&mut sqe, Errno::EPIPE.status()), Step::End(Errno::EPIPE.status()));
        assert_eq!(steps.moved(), 30);
        assert_eq!(steps.next(&mut sqe, 70), Step::End(0));
        assert_eq!(steps.moved(), 100);
    }

    #[test]
    fn the_end_before_the_whole_is_an_error_of_our_own() {
        let mut steps = Steps::whole("recv_exact", 100, true);
        let mut sqe = entry(Opcode::IORING_OP_RECV);
        assert_eq!(steps.next(&mut sqe, 99), Step::Again);
        assert_eq!(steps.next(&mut sqe, 0), Step::End(END_OF_FILE));
        let mut nothing = Steps::whole("recv_exact", 0, true);
        assert_eq!(nothing.next(&mut sqe, 0), Step::End(0));
    }

    #[test]
    fn more_than_one_call_takes_is_asked_for_in_pieces() {
        let mut steps = Steps::whole("read_exact", LENGTH_MAX + 5, true);
        let mut sqe = entry(Opcode::IORING_OP_READ);
        assert!(!steps.keeps_links());
        assert_eq!(steps.next(&mut sqe, LENGTH_MAX as i32), Step::Again);
        assert_eq!((sqe.len, sqe.off), (5, LENGTH_MAX as u64));
    }

    #[test]
    fn a_pipe_with_something_in_it_is_not_used_again() {
        let mut steps = Steps::sendfile(4, 3, 0, 100);
        let mut sqe = Sqe::default();
        steps.begin(&mut sqe, Pipe::create).unwrap();
        assert_eq!((sqe.splice_fd_in, sqe.len), (3, 100));
        assert_eq!(steps.next(&mut sqe, 60), Step::Again);
        assert_eq!((sqe.fd, sqe.len), (4, 60));
        assert_eq!(steps.next(&mut sqe, 20), Step::Again);
        assert_eq!((sqe.fd, sqe.len, steps.moved()), (4, 40, 20));
        assert!(steps.take_clean_pipe(0).is_none());
        assert_eq!(steps.next(&mut sqe, 40), Step::Again);
        assert_eq!((sqe.splice_fd_in, sqe.addr, sqe.len), (3, 60, 40));
        assert!(steps.take_clean_pipe(Errno::EPIPE.status()).is_none());
        assert_eq!(steps.next(&mut sqe, 0), Step::End(0));
        assert!(steps.take_clean_pipe(0).is_some());
    }
}
