//! What a caller's options may ask of an operation of the backend, and what they write into its
//! entry. Every refusal has its reason.

use crate::engine::submission::{Prepared, SubmitOptions, submit_flags};
use crate::op::{self, traits};
use crate::sys::entry::sqe_flags;
use crate::sys::errno::Errno;
use crate::sys::refused::Fault;

/// Writes what the options say about the entry itself; refuses what the operation cannot do.
pub(crate) fn apply_options(prepared: &mut Prepared, options: &SubmitOptions) -> Result<(), Errno> {
    check(prepared, options)?;
    let sqe = &mut prepared.entry.sqe;
    let has = |flag: u32| options.flags & flag != 0;
    if has(submit_flags::ASYNC) {
        sqe.flags |= sqe_flags::ASYNC;
    }
    if options.ioprio != 0 {
        sqe.ioprio = options.ioprio;
    }
    if let Some(index) = options.buf_index.checked_sub(1) {
        op::zero_copy::use_buffer(sqe, op::registered::number(index));
    }
    if has(submit_flags::INHERIT) && !op::inherit(sqe) {
        return Err(Errno::invalid(Fault::Inherit));
    }
    Ok(())
}

fn check(prepared: &Prepared, options: &SubmitOptions) -> Result<(), Errno> {
    let traits = prepared.traits;
    let has = |flag: u32| options.flags & flag != 0;
    // Success would bring a descriptor that nobody is told of, unless the caller has said where it
    // goes; or data.
    let brings = traits & traits::GIVES_DESCRIPTOR != 0
        || prepared.outputs.is_some_and(|outputs| outputs.are_descriptors());
    // And nobody would be told when the memory of a zero-copy send is free.
    let notifies = traits & traits::NOTIFIES != 0;
    let brings_unseen = (brings && options.file_slot == 0) || prepared.pool != 0 || notifies;
    let is_idle = traits & traits::MULTISHOT != 0 && options.timeout_ns != 0;
    Fault::first([
        // Elsewhere the field has other meanings: multishot, poll first.
        (options.ioprio != 0 && !op::has_priority(prepared.entry.sqe.opcode), Fault::Priority),
        (options.buf_index != 0 && !notifies, Fault::BufIndex),
        (has(submit_flags::TIMEOUT_IDLE) && !is_idle, Fault::Idle),
        (has(submit_flags::KEEP_RESULT), Fault::KeepResult),
        (has(submit_flags::QUIET) && brings_unseen, Fault::Quiet),
        // A kernel worker would hold a buffer for as long as it waits.
        (has(submit_flags::ASYNC) && prepared.pool != 0, Fault::AsyncPooled),
        (has(submit_flags::LINK) && has(submit_flags::HARDLINK), Fault::BothLinks),
        (has(submit_flags::SIGPIPE) && traits & traits::SENDS == 0, Fault::SigPipe),
    ])
}
