//! What may be wrong with an argument, in words for the log: the one list. `-EINVAL` alone names
//! none of the thirty things. A fault travels inside its error number (`errno.rs`), so that a check
//! costs what it did, and nobody need clear anything.

use crate::sys::errno::Errno;

macro_rules! reasons {
    ($($name:ident = $text:literal;)*) => {
        /// What is wrong with an argument.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub(crate) enum Fault { $($name),* }

        const TEXTS: &[&str] = &[$($text),*];
    };
}

reasons! {
    NoCallback = "the callback is NULL";
    NoPointer = "a pointer is NULL that must not be";
    NoSize = "the size of a structure is 0: set it to sizeof";
    WrongSize = "the size of a structure is none that a version of the library had";
    UnknownFlag = "flags of the options has a bit that no AIO_SUBMIT_ constant has";
    Reserved = "a reserved field of the options is not 0";
    PriorityRange = "ioprio of the options is above 65,535";
    Priority = "ioprio of the options is for operations on files";
    BufIndex = "buf_index of the options is for zero-copy sends";
    FileSlot = "file_slot of the options is for AIO_SUBMIT_DIRECT";
    Idle = "AIO_SUBMIT_TIMEOUT_IDLE is for multishots, with a timeout_ns";
    KeepResult = "AIO_SUBMIT_KEEP_RESULT means nothing to this operation";
    Quiet = "AIO_SUBMIT_QUIET: nobody would be told of what this operation brings";
    AsyncPooled = "AIO_SUBMIT_ASYNC: a worker would hold a buffer of the pool while it waits";
    BothLinks = "AIO_SUBMIT_LINK and AIO_SUBMIT_HARDLINK exclude each other";
    Inherit = "AIO_SUBMIT_INHERIT is for operations that make a descriptor";
    SigPipe = "AIO_SUBMIT_SIGPIPE is for sends";
    FixedFile = "AIO_SUBMIT_FIXED_FILE means nothing to this operation";
    Chained = "a multishot, or a receive into a pool, cannot be in a chain";
    BarrierInside = "AIO_SUBMIT_BARRIER is for the first member of a chain";
    Steps = "this operation is several steps, and a link would not wait for the last";
    ChainOpen = "a chain is open, and this operation cannot be in one: end it first";
    OutsideKernel = "links, _ASYNC, _FIXED_FILE, _DIRECT, _INHERIT and _SIGPIPE are for others";
    OfTimer = "a timer takes no flag of the options but AIO_SUBMIT_QUIET, no file_slot, no ioprio";
    NoPeriod = "the period is 0";
    Raw = "this entry is not one that aio_submit_raw takes";
    Vectors = "more than 1024 vectors, or none where some are said to be";
    Address = "the address is NULL, empty, or longer than 128 bytes";
    Buffer = "the buffer is NULL, and its length is not 0";
    Negative = "a count is negative";
    Header = "a message header names a part that is NULL or too long";
    Pair = "one of address and length is NULL, the other is not";
    OperationFlag = "the operation's own flags have a bit that it does not know";
    OffsetRange = "the offset is beyond what a file can have";
    Pool = "the pool is another context's, destroyed or of the wrong kind, or a flag is not for it";
}

impl Fault {
    /// The first that a list of checks finds, as an error.
    pub(crate) fn first<const N: usize>(checks: [(bool, Fault); N]) -> Result<(), Errno> {
        match checks.into_iter().find(|&(is_wrong, _)| is_wrong) {
            Some((_, why)) => Err(Errno::invalid(why)),
            None => Ok(()),
        }
    }

    /// The number that an error carries.
    pub(super) const fn number(self) -> i32 {
        self as i32 + 1
    }

    /// The text of such a number; None: there is no reason.
    pub(super) fn text_of(number: i32) -> Option<&'static str> {
        TEXTS.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }
}
