//! The two queues between the engine and what carries its operations out: submission entries go in,
//! completion entries come out. A ring shares them with the kernel; the epoll backend has them in
//! memory of its own and stands where the kernel stands, so that everything above, and every
//! instruction of the common path, is the same. Hides where the queues lie, how wide their entries
//! are, and which memory order pairs with the kernel's.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU32;
use crate::sys::entry::{Cqe, Peeked, Sqe, WideSqe};
use crate::sys::errno::Errno;
use crate::sys::memory::{Region, RingMemory};
use linux_raw_sys::io_uring as abi;

pub(crate) struct Queues {
    /// Sum of the submission entries handed out; published by `publish`.
    sq_tail: u32,
    /// The tail at which the plain path must stop: the queue is full, or `blocked`.
    sq_limit: u32,
    /// How far from what is taken that is; 0 while blocked.
    sq_room: u32,
    /// What of it the consumer has taken.
    sq_taken: u32,
    /// What of that a polling thread has yet to read; 0 without one.
    sq_behind: u32,
    blocked: bool,
    sq_mask: u32,
    sq_entries: u32,
    sqe_shift: u32,
    sqes: *mut u8,
    sq_tail_shared: *const AtomicU32,
    sq_flags: *const AtomicU32,
    /// The consumer's head; None in queues of our own.
    sq_head_shared: Option<*const AtomicU32>,
    cq_head: u32,
    /// The producer's tail as last seen.
    cq_tail: u32,
    /// Where `pop_offered` stops, and `peek`, which stops at once while `conceal` wants it.
    cq_limit: u32,
    cq_peek_limit: u32,
    concealed: bool,
    cq_mask: u32,
    cqe_shift: u32,
    cqes: *mut u8,
    cq_head_shared: *const AtomicU32,
    cq_tail_shared: *const AtomicU32,
    pub(crate) cq_entries: u32,
    memory: Option<Memory>,
}

/// What the queues lie in.
enum Memory {
    /// Shared with the kernel.
    Shared(RingMemory),
    /// Our own.
    Own(Region),
}

/// The words that a ring's mapping begins with, for queues of our own.
#[repr(C)]
struct Words {
    sq_tail: AtomicU32,
    sq_flags: AtomicU32,
    cq_head: AtomicU32,
    cq_tail: AtomicU32,
}

/// Sizes as io_uring_setup clamps them.
const SQ_ENTRIES_MAX: u32 = 32_768;
/// Where the entries begin in memory of our own.
const ENTRIES_AT: usize = 128;

/// How many bytes entries have, as powers of two.
#[derive(Clone, Copy)]
pub(crate) struct Shifts {
    pub sqe: u32,
    pub cqe: u32,
}

/// The usual entries; the plain path knows no others.
const NARROW: Shifts = Shifts { sqe: 6, cqe: 4 };

impl Shifts {
    pub(crate) fn of(setup_flags: u32) -> Shifts {
        Shifts {
            sqe: NARROW.sqe + u32::from(setup_flags & abi::IORING_SETUP_SQE128 != 0),
            cqe: NARROW.cqe + u32::from(setup_flags & abi::IORING_SETUP_CQE32 != 0),
        }
    }
}

impl Queues {
    /// Those of a ring.
    pub(crate) fn of_ring(fd: i32, params: &abi::io_uring_params) -> Result<Queues, Errno> {
        let shifts = Shifts::of(params.flags);
        let (sq, cq) = (&params.sq_off, &params.cq_off);
        let cq_end = cq.cqes as usize + ((params.cq_entries as usize) << shifts.cqe);
        let sq_end = if params.flags & abi::IORING_SETUP_NO_SQARRAY == 0 {
            sq.array as usize + params.sq_entries as usize * size_of::<u32>()
        } else {
            0
        };
        let entries_len = (params.sq_entries as usize) << shifts.sqe;
        let memory = RingMemory::map(fd, cq_end.max(sq_end), entries_len)?;
        let RingMemory { queues, entries } = &memory;
        if params.flags & abi::IORING_SETUP_NO_SQARRAY == 0 {
            for index in 0..params.sq_entries {
                // SAFETY: inside the mapping (`at` asserts); the kernel reads it only in enter.
                unsafe { queues.at::<u32>(sq.array + index * 4).write(index) };
            }
        }
        let mut queues = Queues {
            sq_tail: 0,
            sq_limit: 0,
            sq_room: 0,
            sq_taken: 0,
            sq_behind: 0,
            blocked: false,
            sq_mask: params.sq_entries - 1,
            sq_entries: params.sq_entries,
            sqe_shift: shifts.sqe,
            sqes: entries.at(0),
            sq_tail_shared: queues.at(sq.tail),
            sq_flags: queues.at(sq.flags),
            sq_head_shared: Some(queues.at(sq.head)),
            cq_head: 0,
            cq_tail: 0,
            cq_limit: 0,
            cq_peek_limit: 0,
            concealed: false,
            cq_mask: params.cq_entries - 1,
            cqe_shift: shifts.cqe,
            cqes: queues.at(cq.cqes),
            cq_head_shared: queues.at(cq.head),
            cq_tail_shared: queues.at(cq.tail),
            cq_entries: params.cq_entries,
            memory: Some(Memory::Shared(memory)),
        };
        queues.block(false);
        queues.conceal(false);
        Ok(queues)
    }

    /// Queues without a ring. Sizes are rounded and clamped as a ring's are.
    pub(crate) fn own(sq: u32, cq: u32, shifts: Shifts) -> Result<Queues, Errno> {
        let sq_entries = sq.clamp(1, SQ_ENTRIES_MAX).next_power_of_two();
        let cq_entries = cq.clamp(sq_entries, 2 * SQ_ENTRIES_MAX).next_power_of_two();
        let sqes_len = (sq_entries as usize) << shifts.sqe;
        let len = ENTRIES_AT + sqes_len + ((cq_entries as usize) << shifts.cqe);
        let region = Region::create(len.next_power_of_two().max(4096), false)?;
        let base = region.base::<u8>().as_ptr();
        // SAFETY: the region holds the words, then the entries of both queues; it is aligned to its
        // size, so that all of them are aligned.
        let (words, sqes, cqes) = unsafe {
            (&*base.cast::<Words>(), base.add(ENTRIES_AT), base.add(ENTRIES_AT + sqes_len))
        };
        let mut queues = Queues {
            sq_tail: 0,
            sq_limit: 0,
            sq_room: 0,
            sq_taken: 0,
            sq_behind: 0,
            blocked: false,
            sq_mask: sq_entries - 1,
            sq_entries,
            sqe_shift: shifts.sqe,
            sqes,
            sq_tail_shared: &raw const words.sq_tail,
            sq_flags: &raw const words.sq_flags,
            sq_head_shared: None,
            cq_head: 0,
            cq_tail: 0,
            cq_limit: 0,
            cq_peek_limit: 0,
            concealed: false,
            cq_mask: cq_entries - 1,
            cqe_shift: shifts.cqe,
            cqes,
            cq_head_shared: &raw const words.cq_head,
            cq_tail_shared: &raw const words.cq_tail,
            cq_entries,
            memory: Some(Memory::Own(region)),
        };
        queues.block(false);
        queues.conceal(false);
        Ok(queues)
    }

    pub(crate) fn sq_entries(&self) -> u32 {
        self.sq_entries
    }

    pub(crate) fn sqe_size(&self) -> u32 {
        1 << self.sqe_shift
    }

    pub(crate) fn cqe_size(&self) -> u32 {
        1 << self.cqe_shift
    }

    /// Entries handed out that the kernel has not taken.
    #[inline(always)]
    pub(crate) fn staged(&self) -> u32 {
        self.sq_tail.wrapping_sub(self.sq_taken)
    }

    #[inline(always)]
    pub(crate) fn space(&self) -> u32 {
        self.sq_entries - self.staged() - self.sq_behind
    }

    /// Whether the plain path may `claim` an entry.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.sq_tail != self.sq_limit
    }

    /// Makes `has_room` say no, whatever there is, as it always does of wide entries.
    pub(crate) fn block(&mut self, blocked: bool) {
        self.blocked = blocked || self.sqe_shift != NARROW.sqe;
        self.set_limit();
    }

    fn set_limit(&mut self) {
        self.sq_room = if self.blocked { 0 } else { self.sq_entries - self.sq_behind };
        let from = if self.blocked { self.sq_tail } else { self.sq_taken };
        self.sq_limit = from.wrapping_add(self.sq_room);
    }

    /// The next submission entry, zeroed; only after `has_room`. It counts as staged at once; the
    /// kernel does not look before `enter`.
    #[inline(always)]
    pub(crate) fn claim(&mut self) -> &mut Sqe {
        debug_assert!(self.space() > 0 && self.sqe_shift == NARROW.sqe);
        let entry = self.next_entry(NARROW.sqe);
        // SAFETY: as `next_entry` says.
        unsafe {
            entry.write(Sqe::default());
            &mut *entry
        }
    }

    /// Stages a copy of `wide`, with its second half where entries have one; there must be space.
    pub(crate) fn push(&mut self, wide: &WideSqe) {
        debug_assert!(self.space() > 0);
        let entry = self.next_entry(self.sqe_shift);
        // SAFETY: as `next_entry` says; a wide entry is followed by its other 64 bytes.
        unsafe {
            entry.write(wide.sqe);
            if self.sqe_shift != NARROW.sqe {
                entry.add(1).cast::<[u64; 8]>().write(wide.tail);
            }
        }
        self.set_limit();
    }

    /// Counts an entry as staged. What it points to is inside the mapping of entries, which lives
    /// as long as self, and nobody else reads or writes it before it is handed over.
    #[inline(always)]
    fn next_entry(&mut self, shift: u32) -> *mut Sqe {
        let offset = ((self.sq_tail & self.sq_mask) as usize) << shift;
        self.sq_tail = self.sq_tail.wrapping_add(1);
        // SAFETY: the masked offset is inside the mapping.
        unsafe { self.sqes.add(offset).cast() }
    }

    /// Shows the other side what was staged and what was taken.
    #[inline(always)]
    pub(crate) fn publish(&self) {
        // SAFETY: both words are in the mapping. Release pairs with the kernel's acquire of the
        // tail (the entries are written before it) and of the head (our reads are done).
        unsafe {
            (*self.sq_tail_shared).store(self.sq_tail, Ordering::Release);
            (*self.cq_head_shared).store(self.cq_head, Ordering::Release);
        }
    }

    /// The other side has taken `count` of the staged entries.
    #[inline(always)]
    pub(crate) fn taken(&mut self, count: u32) {
        self.sq_taken = self.sq_taken.wrapping_add(count);
        self.set_limit();
    }

    /// The other side has taken all staged entries.
    #[inline(always)]
    pub(crate) fn taken_all(&mut self) {
        self.sq_taken = self.sq_tail;
        self.sq_limit = self.sq_tail.wrapping_add(self.sq_room);
    }

    /// Takes other memory of the ring, after the kernel has moved both queues there.
    pub(crate) fn map_anew(&mut self, fd: i32, params: &abi::io_uring_params) -> Result<(), Errno> {
        let queues = Queues::of_ring(fd, params)?;
        *self = Queues {
            sq_tail: self.sq_tail,
            sq_taken: self.sq_taken,
            sq_behind: self.sq_behind,
            blocked: self.blocked,
            cq_head: self.cq_head,
            cq_tail: self.cq_tail,
            cq_limit: self.cq_limit,
            cq_peek_limit: self.cq_peek_limit,
            concealed: self.concealed,
            ..queues
        };
        self.set_limit();
        Ok(())
    }

    /// Looks how far a polling thread has read.
    pub(crate) fn look_at_head(&mut self) {
        let Some(head) = self.sq_head_shared else { return };
        // SAFETY: in the mapping. Acquire pairs with the thread's release: it has read the entries
        // before its head, which may be written again.
        let head = unsafe { (*head).load(Ordering::Acquire) };
        self.sq_behind = self.sq_taken.wrapping_sub(head);
        self.set_limit();
    }

    /// After `publish`: whether the polling thread sleeps and must be woken.
    pub(crate) fn thread_sleeps(&self) -> bool {
        // The tail's store before the flags' load, as the thread has its store of the flag before
        // its load of the tail: one of the two sees the other.
        std::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: in the mapping.
        let flags = unsafe { (*self.sq_flags).load(Ordering::Relaxed) };
        flags & abi::IORING_SQ_NEED_WAKEUP != 0
    }

    /// Entries handed over whose completions have not been seen, where each has exactly one.
    pub(crate) fn outstanding(&self) -> u32 {
        self.sq_taken.wrapping_sub(self.cq_tail)
    }

    /// Completions that are there; looks at the producer's tail.
    #[inline(always)]
    pub(crate) fn ready(&mut self) -> u32 {
        // SAFETY: in the mapping. Acquire pairs with the kernel's release of the tail, so that the
        // entries before it are complete.
        self.cq_tail = unsafe { (*self.cq_tail_shared).load(Ordering::Acquire) };
        self.cq_tail.wrapping_sub(self.cq_head)
    }

    /// Lets `peek` and `pop_offered` see as many as `count` of those that `ready` counted.
    #[inline(always)]
    pub(crate) fn offer(&mut self, count: u32) {
        self.cq_limit = self.cq_head.wrapping_add(count);
        self.set_peek_limit();
    }

    /// The same where `is_concealed` says no.
    #[inline(always)]
    pub(crate) fn offer_openly(&mut self, count: u32) {
        debug_assert!(!self.concealed);
        self.cq_limit = self.cq_head.wrapping_add(count);
        self.cq_peek_limit = self.cq_limit;
    }

    /// Whether `peek` sees nothing.
    pub(crate) fn is_concealed(&self) -> bool {
        self.concealed
    }

    /// Makes `peek` see nothing, whatever is offered, as it always does of wide entries.
    pub(crate) fn conceal(&mut self, concealed: bool) {
        self.concealed = concealed || self.cqe_shift != NARROW.cqe;
        self.set_peek_limit();
    }

    #[inline(always)]
    fn set_peek_limit(&mut self) {
        self.cq_peek_limit = if self.concealed { self.cq_head } else { self.cq_limit };
    }

    /// Whether everything that was offered was taken.
    #[inline(always)]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.cq_head == self.cq_limit
    }

    /// Whether there is one that `peek` may see.
    #[inline(always)]
    pub(crate) fn can_peek(&self) -> bool {
        self.cq_head != self.cq_peek_limit
    }

    /// The oldest completion that was offered, after `can_peek`; `advance` takes it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Peeked {
        debug_assert!(self.can_peek());
        let entry = self.oldest(NARROW.cqe);
        // SAFETY: as `oldest` says.
        unsafe { Peeked { user_data: entry.read(), word: entry.add(1).read() } }
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.cq_head = self.cq_head.wrapping_add(1);
    }

    /// Takes the oldest completion that was offered.
    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        let popped = if self.is_exhausted() { None } else { self.pop() };
        self.set_peek_limit();
        popped
    }

    /// Takes the oldest completion of those that the last `ready` counted.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        if self.cq_head == self.cq_tail {
            return None;
        }
        let entry = self.oldest(self.cqe_shift);
        // SAFETY: as `oldest` says; wide entries are as long.
        let (peeked, extra) = unsafe {
            let is_wide = self.cqe_shift != NARROW.cqe;
            let extra = if is_wide { entry.add(2).read() } else { 0 };
            (Peeked { user_data: entry.read(), word: entry.add(1).read() }, extra)
        };
        self.advance();
        let (user_data, result, flags) = (peeked.user_data, peeked.result(), peeked.flags());
        Some(Cqe { user_data, result, flags, extra })
    }

    /// Where the oldest completion is, which must be one of those that `ready` counted: before the
    /// tail that was read with acquire, and not reused by the kernel before the head is stored.
    #[inline(always)]
    fn oldest(&self, shift: u32) -> *const u64 {
        let offset = ((self.cq_head & self.cq_mask) as usize) << shift;
        // SAFETY: the masked offset is inside the mapping.
        unsafe { self.cqes.add(offset).cast::<u64>() }
    }

    /// Whether completions wait outside the queue for the next enter with get-events.
    #[inline(always)]
    pub(crate) fn overflown(&self) -> bool {
        // SAFETY: in the mapping. Relaxed: a hint; the enter that it leads to synchronises.
        let flags = unsafe { (*self.sq_flags).load(Ordering::Relaxed) };
        flags & abi::IORING_SQ_CQ_OVERFLOW != 0
    }

    /// The ids of what is staged.
    pub(crate) fn staged_ids(&self) -> impl Iterator<Item = u64> {
        (0..self.staged()).map(|nth| {
            let at = self.sq_taken.wrapping_add(nth) & self.sq_mask;
            let offset = (at as usize) << self.sqe_shift;
            // SAFETY: the masked offset is inside the memory of entries; this entry was staged, and
            // the other side only reads it.
            unsafe { (*self.sqes.add(offset).cast::<Sqe>()).user_data }
        })
    }

    /// For queues of our own: takes the oldest staged entry.
    #[inline(always)]
    pub(crate) fn take_staged(&mut self) -> Option<Sqe> {
        if self.staged() == 0 {
            return None;
        }
        let offset = ((self.sq_taken & self.sq_mask) as usize) << self.sqe_shift;
        // SAFETY: the masked offset is inside the memory of entries, and this entry was staged.
        let entry = unsafe { self.sqes.add(offset).cast::<Sqe>().read() };
        self.taken(1);
        Some(entry)
    }

    /// For queues of our own: adds a completion; false if there is no room.
    #[inline(always)]
    pub(crate) fn complete(&mut self, cqe: Cqe) -> bool {
        // SAFETY: in our memory, which only this thread uses.
        let tail = unsafe { (*self.cq_tail_shared).load(Ordering::Relaxed) };
        if tail.wrapping_sub(self.cq_head) == self.cq_entries {
            return false;
        }
        let offset = ((tail & self.cq_mask) as usize) << self.cqe_shift;
        // SAFETY: the masked offset is inside the memory of entries, and this one is free.
        unsafe {
            let entry = self.cqes.add(offset).cast::<u64>();
            entry.write(cqe.user_data);
            entry.add(1).write(u64::from(cqe.flags) << 32 | u64::from(cqe.result as u32));
            if self.cqe_shift != NARROW.cqe {
                entry.add(2).write(cqe.extra);
                entry.add(3).write(0);
            }
            (*self.cq_tail_shared).store(tail.wrapping_add(1), Ordering::Relaxed);
        }
        true
    }

    /// For queues of our own: says whether completions wait for room.
    pub(crate) fn set_overflown(&mut self, overflown: bool) {
        let flags = if overflown { abi::IORING_SQ_CQ_OVERFLOW } else { 0 };
        // SAFETY: in our memory.
        unsafe { (*self.sq_flags).store(flags, Ordering::Relaxed) };
    }

    /// For a forked child's copy: the mappings do not exist here.
    pub(crate) fn abandon(&mut self) {
        match self.memory.take() {
            Some(Memory::Shared(memory)) => memory.forget(),
            Some(Memory::Own(region)) => drop(region),
            None => {}
        }
    }
}
