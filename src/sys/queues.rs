//! The two queues between the engine and what carries its operations out: submission entries go in,
//! completion entries come out. A ring shares them with the kernel; the epoll backend has them in
//! memory of its own and stands where the kernel stands, so that everything above, and every
//! instruction of the common path, is the same. Hides where the queues lie, how wide their entries
//! are, and which memory order pairs with the kernel's.

mod own;
#[cfg(test)]
mod tests;

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU32;
use crate::sys::entry::{Cqe, Peeked, Sqe, WideSqe};
use crate::sys::errno::Errno;
use crate::sys::memory::{Region, RingMemory};
use linux_raw_sys::io_uring as abi;

/// Both queues are walked by pointers, from the first entry to the last and again: the common path
/// takes what is in one piece, and whoever comes to its end turns over.
pub(crate) struct Queues {
    /// The submission entry to be handed out next; at the end until it is turned over.
    sqe_next: *mut u8,
    /// Where the plain path must stop: at the end, where the queue is full, or at once while
    /// `blocked`; or earlier, where it was full before more was taken (`make_room`).
    sqe_stop: *mut u8,
    sqe_end: *mut u8,
    /// The bytes of all entries that were ever handed out, less the address that `sqe_next` is: one
    /// addition gives the tail.
    sq_bias: usize,
    /// What of the sum of all the consumer has taken.
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
    /// The oldest completion; at the end until it is turned over.
    cqe_next: *mut u8,
    /// Where `peek` must stop: the end, all that was offered was taken, or `concealed`.
    cqe_stop: *mut u8,
    cqe_end: *mut u8,
    /// Sum of the completions that had been taken when `cqe_next` was last at the first entry.
    cq_lap: u32,
    /// The producer's tail as last seen.
    cq_tail: u32,
    /// What was offered behind `cqe_stop`.
    cq_left: u32,
    concealed: bool,
    cq_mask: u32,
    cqe_shift: u32,
    cqes: *mut u8,
    cq_head_shared: *const AtomicU32,
    cq_tail_shared: *const AtomicU32,
    pub(crate) cq_entries: u32,
    memory: Option<Memory>,
}

/// Where both queues are, and how large.
struct Place {
    sqes: *mut u8,
    cqes: *mut u8,
    sq_entries: u32,
    cq_entries: u32,
    shifts: Shifts,
    sq_tail: *const AtomicU32,
    sq_flags: *const AtomicU32,
    sq_head: Option<*const AtomicU32>,
    cq_head: *const AtomicU32,
    cq_tail: *const AtomicU32,
    memory: Memory,
}

/// What the queues lie in.
enum Memory {
    /// Shared with the kernel.
    Shared(RingMemory),
    /// Our own.
    Own(Region),
}

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
        Ok(Queues::over(Place {
            sqes: entries.at(0),
            cqes: queues.at(cq.cqes),
            sq_entries: params.sq_entries,
            cq_entries: params.cq_entries,
            shifts,
            sq_tail: queues.at(sq.tail),
            sq_flags: queues.at(sq.flags),
            sq_head: Some(queues.at(sq.head)),
            cq_head: queues.at(cq.head),
            cq_tail: queues.at(cq.tail),
            memory: Memory::Shared(memory),
        }))
    }

    fn over(place: Place) -> Queues {
        let mut queues = Queues {
            sqe_next: place.sqes,
            sqe_stop: place.sqes,
            sqe_end: place.sqes,
            sq_bias: 0,
            sq_taken: 0,
            sq_behind: 0,
            blocked: false,
            sq_mask: place.sq_entries - 1,
            sq_entries: place.sq_entries,
            sqe_shift: place.shifts.sqe,
            sqes: place.sqes,
            sq_tail_shared: place.sq_tail,
            sq_flags: place.sq_flags,
            sq_head_shared: place.sq_head,
            cqe_next: place.cqes,
            cqe_stop: place.cqes,
            cqe_end: place.cqes,
            cq_lap: 0,
            cq_left: 0,
            cq_tail: 0,
            concealed: false,
            cq_mask: place.cq_entries - 1,
            cqe_shift: place.shifts.cqe,
            cqes: place.cqes,
            cq_head_shared: place.cq_head,
            cq_tail_shared: place.cq_tail,
            cq_entries: place.cq_entries,
            memory: Some(place.memory),
        };
        queues.walk_from(0, 0);
        queues.block(false);
        queues.conceal(false);
        queues
    }

    /// Finds the next entries of both, where so many were handed out and taken.
    fn walk_from(&mut self, sq_tail: u32, cq_head: u32) {
        let (sqe, cqe) = (sq_tail & self.sq_mask, cq_head & self.cq_mask);
        // SAFETY: masked positions and the ends are inside the memory of entries, or one behind.
        unsafe {
            self.sqe_next = self.sqes.add((sqe as usize) << self.sqe_shift);
            self.sqe_end = self.sqes.add((self.sq_entries as usize) << self.sqe_shift);
            self.cqe_next = self.cqes.add((cqe as usize) << self.cqe_shift);
            self.cqe_end = self.cqes.add((self.cq_entries as usize) << self.cqe_shift);
        }
        let first = (sq_tail.wrapping_sub(sqe) as usize) << self.sqe_shift;
        self.sq_bias = first.wrapping_sub(self.sqes.addr());
        self.cq_lap = cq_head.wrapping_sub(cqe);
    }

    /// Sum of the submission entries handed out; published by `publish`.
    #[inline(always)]
    fn sq_tail(&self, shift: u32) -> u32 {
        (self.sqe_next.addr().wrapping_add(self.sq_bias) >> shift) as u32
    }

    /// Sum of the completions taken; published by `publish`.
    #[inline(always)]
    fn cq_head(&self, shift: u32) -> u32 {
        let bytes = self.cqe_next.addr() - self.cqes.addr();
        self.cq_lap.wrapping_add((bytes >> shift) as u32)
    }

    pub(crate) fn sq_entries(&self) -> u32 {
        self.sq_entries
    }

    /// Whether both kinds of entries have their usual size.
    pub(crate) fn are_narrow(&self) -> bool {
        self.sqe_shift == NARROW.sqe && self.cqe_shift == NARROW.cqe
    }

    pub(crate) fn sqe_size(&self) -> u32 {
        1 << self.sqe_shift
    }

    pub(crate) fn cqe_size(&self) -> u32 {
        1 << self.cqe_shift
    }

    /// Whether there are entries that the kernel has not taken; of the usual entries.
    #[inline(always)]
    pub(crate) fn has_staged_plainly(&self) -> bool {
        self.sq_tail(NARROW.sqe) != self.sq_taken
    }

    /// Entries handed out that the kernel has not taken.
    #[inline(always)]
    pub(crate) fn staged(&self) -> u32 {
        self.sq_tail(self.sqe_shift).wrapping_sub(self.sq_taken)
    }

    #[inline(always)]
    pub(crate) fn space(&self) -> u32 {
        self.sq_entries - self.staged() - self.sq_behind
    }

    /// Whether the plain path may `claim` an entry. If not, `make_room` may help.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.sqe_next != self.sqe_stop
    }

    /// Where `has_room` says no: whether it says yes now, from the first entry, or because more was
    /// taken since. False where it says yes already, so that who begins again after this ends.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.has_room() {
            return false;
        }
        self.set_limit();
        self.has_room()
    }

    /// Makes `has_room` say no, whatever there is, as it always does of wide entries.
    pub(crate) fn block(&mut self, blocked: bool) {
        self.blocked = blocked || self.sqe_shift != NARROW.sqe;
        self.set_limit();
    }

    fn set_limit(&mut self) {
        self.turn_entries_over();
        let room = if self.blocked { 0 } else { (self.space() as usize) << NARROW.sqe };
        let room = room.min(self.sqe_end.addr() - self.sqe_next.addr());
        self.sqe_stop = self.sqe_next.wrapping_add(room);
    }

    #[inline(always)]
    fn turn_entries_over(&mut self) {
        if self.sqe_next == self.sqe_end {
            self.sqe_next = self.sqes;
            let size = (self.sq_entries as usize) << self.sqe_shift;
            self.sq_bias = self.sq_bias.wrapping_add(size);
        }
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
        self.turn_entries_over();
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

    /// Counts an entry as staged, where there is one before the end. What it points to is inside
    /// the mapping of entries, which lives as long as self, and nobody else reads or writes it
    /// before it is handed over.
    #[inline(always)]
    fn next_entry(&mut self, shift: u32) -> *mut Sqe {
        let entry = self.sqe_next;
        // SAFETY: the end at the most.
        self.sqe_next = unsafe { entry.add(1 << shift) };
        entry.cast()
    }

    /// Shows the other side what was staged and what was taken.
    #[inline(always)]
    pub(crate) fn publish(&self) {
        self.publish_of(Shifts { sqe: self.sqe_shift, cqe: self.cqe_shift });
    }

    /// The same of the usual entries; how many are staged.
    #[inline(always)]
    pub(crate) fn publish_plainly(&self) -> u32 {
        debug_assert!(self.are_narrow());
        self.publish_of(NARROW).wrapping_sub(self.sq_taken)
    }

    /// The new tail.
    #[inline(always)]
    fn publish_of(&self, shifts: Shifts) -> u32 {
        let (tail, head) = (self.sq_tail(shifts.sqe), self.cq_head(shifts.cqe));
        // SAFETY: both words are in the mapping. Release pairs with the kernel's acquire of the
        // tail (the entries are written before it) and of the head (our reads are done).
        unsafe {
            (*self.sq_tail_shared).store(tail, Ordering::Release);
            (*self.cq_head_shared).store(head, Ordering::Release);
        }
        tail
    }

    /// The other side has taken `count` of the staged entries.
    #[inline(always)]
    pub(crate) fn taken(&mut self, count: u32) {
        self.sq_taken = self.sq_taken.wrapping_add(count);
        self.set_limit();
    }

    /// The same, which `make_room` sees when it is needed.
    #[inline(always)]
    pub(crate) fn taken_plainly(&mut self, count: u32) {
        self.sq_taken = self.sq_taken.wrapping_add(count);
    }

    /// Takes other memory of the ring, after the kernel has moved both queues there.
    pub(crate) fn map_anew(&mut self, fd: i32, params: &abi::io_uring_params) -> Result<(), Errno> {
        let queues = Queues::of_ring(fd, params)?;
        let (sq_tail, cq_head) = (self.sq_tail(self.sqe_shift), self.cq_head(self.cqe_shift));
        let offered = self.offered();
        *self = Queues {
            sq_taken: self.sq_taken,
            sq_behind: self.sq_behind,
            blocked: self.blocked,
            cq_tail: self.cq_tail,
            concealed: self.concealed,
            ..queues
        };
        self.walk_from(sq_tail, cq_head);
        self.set_limit();
        self.offer(offered);
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
        self.look_at_tail();
        self.cq_tail.wrapping_sub(self.cq_head(self.cqe_shift))
    }

    #[inline(always)]
    fn look_at_tail(&mut self) {
        // SAFETY: in the mapping. Acquire pairs with the kernel's release of the tail, so that the
        // entries before it are complete.
        self.cq_tail = unsafe { (*self.cq_tail_shared).load(Ordering::Acquire) };
    }

    /// Offers all that are there, `most` at most, where `is_concealed` says no and nothing is
    /// offered. None, and nothing is done, if they are more; else whether they are in one piece.
    #[inline(always)]
    pub(crate) fn offer_plainly(&mut self, most: u32) -> Option<bool> {
        debug_assert!(!self.concealed && self.is_exhausted());
        self.look_at_tail();
        let from_first = self.cq_tail.wrapping_sub(self.cq_lap) as usize;
        let stop = self.cqes.wrapping_add(from_first << NARROW.cqe);
        if (stop.addr() - self.cqe_next.addr()) >> NARROW.cqe > most as usize {
            return None;
        }
        self.cqe_stop = stop;
        // Also where the next one is the first again.
        if stop > self.cqe_end {
            self.offer_in_pieces();
            return Some(self.cq_left == 0);
        }
        Some(true)
    }

    /// Lets `peek` and `pop_offered` see as many as `count` of those that `ready` counted.
    #[inline(always)]
    pub(crate) fn offer(&mut self, count: u32) {
        if self.concealed {
            (self.cqe_stop, self.cq_left) = (self.cqe_next, count);
        } else {
            self.offer_openly(count);
        }
    }

    /// The same where `is_concealed` says no.
    #[inline(always)]
    pub(crate) fn offer_openly(&mut self, count: u32) {
        debug_assert!(!self.concealed);
        self.turn_completions_over();
        let stop = self.cqe_next.wrapping_add((count as usize) << NARROW.cqe);
        (self.cqe_stop, self.cq_left) = (stop, 0);
        if stop > self.cqe_end {
            self.offer_in_pieces();
        }
    }

    #[cold]
    #[inline(never)]
    fn offer_in_pieces(&mut self) {
        self.cq_left = ((self.cqe_stop.addr() - self.cqe_end.addr()) >> NARROW.cqe) as u32;
        self.cqe_stop = self.cqe_end;
        if self.cqe_next == self.cqe_end {
            self.offer_openly(self.cq_left);
        }
    }

    #[inline(always)]
    fn turn_completions_over(&mut self) {
        if self.cqe_next == self.cqe_end {
            self.cqe_next = self.cqes;
            self.cq_lap = self.cq_lap.wrapping_add(self.cq_entries);
        }
    }

    /// What was offered and is yet to be taken.
    fn offered(&self) -> u32 {
        let here = self.cqe_stop.addr().wrapping_sub(self.cqe_next.addr());
        (here >> NARROW.cqe) as u32 + self.cq_left
    }

    /// Whether `peek` sees nothing.
    pub(crate) fn is_concealed(&self) -> bool {
        self.concealed
    }

    /// Makes `peek` see nothing, whatever is offered, as it always does of wide entries.
    pub(crate) fn conceal(&mut self, concealed: bool) {
        let offered = self.offered();
        self.concealed = concealed || self.cqe_shift != NARROW.cqe;
        self.offer(offered);
    }

    /// Whether everything that was offered was taken.
    #[inline(always)]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_at_stop() && self.cq_left == 0
    }

    /// Whether `peek` may see nothing more of this piece, or nothing at all while concealed.
    #[inline(always)]
    pub(crate) fn is_at_stop(&self) -> bool {
        self.cqe_next == self.cqe_stop
    }

    /// Whether there is one that `peek` may see; goes on to the next piece.
    #[inline(always)]
    pub(crate) fn can_peek(&mut self) -> bool {
        !self.is_at_stop() || self.cq_left != 0 && self.can_peek_again()
    }

    #[cold]
    #[inline(never)]
    fn can_peek_again(&mut self) -> bool {
        self.offer(self.cq_left);
        !self.is_at_stop()
    }

    /// The oldest completion that was offered, after `can_peek`; `advance` takes it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Peeked {
        debug_assert!(!self.is_at_stop() && self.cqe_shift == NARROW.cqe);
        let entry = self.cqe_next.cast::<u64>();
        // SAFETY: one of those that `ready` counted: before the tail that was read with acquire,
        // and not reused by the kernel before the head is stored.
        unsafe { Peeked { user_data: entry.read(), word: entry.add(1).read() } }
    }

    /// Takes what `peek` has seen.
    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        // SAFETY: the end at the most.
        self.cqe_next = unsafe { self.cqe_next.add(1 << NARROW.cqe) };
    }

    /// Takes the oldest completion that was offered.
    pub(crate) fn pop_offered(&mut self) -> Option<Cqe> {
        if self.is_exhausted() { None } else { self.pop() }
    }

    /// Takes the oldest completion, offered or not, of those that the last `ready` counted.
    pub(crate) fn pop(&mut self) -> Option<Cqe> {
        if self.cq_head(self.cqe_shift) == self.cq_tail {
            return None;
        }
        let offered = self.offered();
        self.turn_completions_over();
        let entry = self.cqe_next.cast::<u64>();
        // SAFETY: as in `peek`; wide entries are as long. The end at the most.
        let (peeked, extra) = unsafe {
            self.cqe_next = self.cqe_next.add(1 << self.cqe_shift);
            let is_wide = self.cqe_shift != NARROW.cqe;
            let extra = if is_wide { entry.add(2).read() } else { 0 };
            (Peeked { user_data: entry.read(), word: entry.add(1).read() }, extra)
        };
        self.offer(offered.saturating_sub(1));
        let (user_data, result, flags) = (peeked.user_data, peeked.result(), peeked.flags());
        Some(Cqe { user_data, result, flags, extra })
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

    /// For a forked child's copy: the mappings do not exist here.
    pub(crate) fn abandon(&mut self) {
        match self.memory.take() {
            Some(Memory::Shared(memory)) => memory.forget(),
            Some(Memory::Own(region)) => drop(region),
            None => {}
        }
    }
}
