//! Futexes: waiting for a word of memory to change, and waking those who wait. Flags are those of
//! futex2 (`FUTEX2_SIZE_U32`, `FUTEX2_PRIVATE`). Linux 6.7.

use crate::op::{Fallback, Operation, traits};
use crate::sys::entry::{Opcode, Sqe};
use crate::sys::message::{copy_into, futex_waitv};
use crate::sys::plain;
use std::ffi::c_void;

#[derive(Clone, Copy)]
pub(crate) struct Futex {
    pub word: *mut u32,
    /// The value that is waited on, or how many to wake.
    pub value: u64,
    pub mask: u64,
    pub flags: u32,
}

impl Futex {
    fn prepare(&self, sqe: &mut Sqe) {
        sqe.fd = self.flags as i32;
        sqe.addr = self.word as u64;
        sqe.off = self.value;
        sqe.addr3 = self.mask;
    }
}

/// Waits while the word has the value.
#[derive(Clone, Copy)]
pub(crate) struct FutexWait(pub Futex);

impl Operation for FutexWait {
    const OPCODE: Opcode = Opcode::IORING_OP_FUTEX_WAIT;
    const FALLBACK: Fallback =
        Fallback::Sleeping(|sqe| plain::futex_wait(sqe.addr, sqe.off, sqe.addr3, sqe.fd as u32));

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        self.0.prepare(sqe);
    }
}

/// Wakes some who wait on the word.
#[derive(Clone, Copy)]
pub(crate) struct FutexWake(pub Futex);

impl Operation for FutexWake {
    const OPCODE: Opcode = Opcode::IORING_OP_FUTEX_WAKE;
    const FALLBACK: Fallback =
        Fallback::Prompt(|sqe| plain::futex_wake(sqe.addr, sqe.off, sqe.addr3, sqe.fd as u32));

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn prepare(&self, sqe: &mut Sqe, _: &mut [u64]) {
        // The kernel reads the count as a signed number of 32 bits.
        Futex { value: self.0.value.min(i32::MAX as u64), ..self.0 }.prepare(sqe);
    }
}

/// Waits on several words; the result is the index of one that was woken.
#[derive(Clone, Copy)]
pub(crate) struct FutexWaitv<'a> {
    pub futexes: &'a [futex_waitv],
}

impl Operation for FutexWaitv<'_> {
    const OPCODE: Opcode = Opcode::IORING_OP_FUTEX_WAITV;
    const FALLBACK: Fallback = Fallback::Sleeping(|sqe| plain::futex_waitv(sqe.addr, sqe.len));

    fn traits(&self) -> u32 {
        traits::CALLER_MEMORY
    }

    fn copied(&self) -> usize {
        size_of_val(self.futexes)
    }

    fn prepare(&self, sqe: &mut Sqe, copy: &mut [u64]) {
        let bytes: *const c_void = self.futexes.as_ptr().cast();
        sqe.addr = copy_into(copy, 0, bytes, size_of_val(self.futexes)) as u64;
        sqe.len = self.futexes.len() as u32;
    }
}
