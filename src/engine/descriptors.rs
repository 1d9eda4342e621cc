//! The list of operations per descriptor number, threaded through the slots: what close and
//! cancel_fd act on (contract, line 7). An operation between two descriptors is in two lists; the
//! second pair of links is in its cold part. Direct descriptors, the slots of the context's own
//! table, have numbers and lists beside those of the process.

use crate::engine::cold::ColdTable;
use crate::engine::pages::Pages;
use crate::engine::slots::{Slot, Slots};
use crate::op::NO_DESCRIPTOR;
use crate::sys::errno::Errno;

/// Numbers from here on are those of direct descriptors: table slot plus this. The kernel's limit
/// of a process's descriptors is 2^30 and less.
pub(crate) const DIRECT: i32 = 1 << 30;

/// A link: slot index plus one, and whether the second pair of links of that slot is meant.
const SECOND: u32 = 1 << 31;
/// In a head: a close waits until the list is empty.
const CLOSING: u32 = 1 << 30;

#[derive(Default)]
pub(crate) struct Descriptors {
    heads: Pages<u32, 1024>,
    /// By slot of the table of direct descriptors; none without one.
    direct_heads: Box<[u32]>,
}

/// What an unlink left behind.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// Nothing to do.
    Nothing,
    /// The list of a number whose close waits is now empty.
    CloseCanStart,
}

/// What a listed number means: a descriptor, or a slot of the table and true.
pub(crate) fn target(number: i32) -> (i32, bool) {
    let is_slot = number >= 0 && number & DIRECT != 0;
    (if is_slot { number & !DIRECT } else { number }, is_slot)
}

impl Descriptors {
    /// The head of a list whose number is not being closed and that is empty or begins with an
    /// operation's only descriptor; very high numbers have none.
    #[inline(always)]
    pub(crate) fn plain_head(&mut self, fd: i32) -> Option<&mut u32> {
        // No page has numbers of direct descriptors.
        self.heads.get_near(fd).filter(|head| **head & (SECOND | CLOSING) == 0)
    }

    /// The same of a slot of the table.
    #[inline(always)]
    pub(crate) fn plain_direct_head(&mut self, slot: i32) -> Option<&mut u32> {
        let head = self.direct_heads.get_mut(slot as u32 as usize);
        head.filter(|head| **head & (SECOND | CLOSING) == 0)
    }

    #[inline(always)]
    fn head(&mut self, fd: i32) -> Option<&mut u32> {
        if fd & DIRECT != 0 { self.direct_head(fd) } else { self.heads.get(fd) }
    }

    #[cold]
    fn direct_head(&mut self, fd: i32) -> Option<&mut u32> {
        self.direct_heads.get_mut((fd & !DIRECT) as usize)
    }

    #[inline(always)]
    fn head_or_make(&mut self, fd: i32) -> &mut u32 {
        if fd & DIRECT != 0 {
            return self.direct_head(fd).expect("`number` gives numbers inside the table");
        }
        self.heads.get_or_make(fd)
    }

    /// Makes room for the lists of a table of `count` direct descriptors.
    pub(crate) fn open_table(&mut self, count: u32) -> Result<(), Errno> {
        let mut heads = Vec::new();
        heads.try_reserve_exact(count as usize).map_err(|_| Errno::ENOMEM)?;
        heads.resize(count as usize, 0);
        self.direct_heads = heads.into_boxed_slice();
        Ok(())
    }

    /// The table is gone; no operation is listed under its slots.
    pub(crate) fn close_table(&mut self) {
        self.direct_heads = Box::default();
    }

    /// How many slots the table of direct descriptors has.
    pub(crate) fn table_len(&self) -> u32 {
        self.direct_heads.len() as u32
    }

    /// The number under which operations on `fd` are listed, or on slot `fd`; negative: none.
    pub(crate) fn number(&self, fd: i32, is_slot: bool) -> i32 {
        if is_slot && (fd as u32) < self.table_len() {
            fd | DIRECT
        } else if !is_slot && fd < DIRECT {
            fd
        } else {
            NO_DESCRIPTOR
        }
    }

    /// Puts slot `index` at the front of the list of its `fd`, which is not negative. False, and
    /// nothing is done, if a close of that number waits.
    #[inline(always)]
    pub(crate) fn link(&mut self, slots: &mut Slots, cold: &mut ColdTable, index: u32) -> bool {
        let fd = slots.at(index).fd;
        let head = self.head_or_make(fd);
        let first = *head;
        if first == 0 {
            *head = index + 1;
            let slot = slots.at_mut(index);
            (slot.fd_next, slot.fd_prev) = (0, 0);
            return true;
        }
        self.link_more(slots, cold, index + 1, fd)
    }

    /// Links the second descriptor `fd` of slot `index`, as `link`.
    pub(crate) fn link_second(
        &mut self, slots: &mut Slots, cold: &mut ColdTable, index: u32, fd: i32,
    ) -> bool {
        self.link_more(slots, cold, (index + 1) | SECOND, fd)
    }

    fn link_more(&mut self, slots: &mut Slots, cold: &mut ColdTable, link: u32, fd: i32) -> bool {
        let head = self.head_or_make(fd);
        let first = *head;
        if first & CLOSING != 0 {
            return false;
        }
        *head = link;
        if first != 0 {
            *Self::prev(slots, cold, first) = link;
        }
        *Self::next(slots, cold, link) = first;
        *Self::prev(slots, cold, link) = 0;
        true
    }

    fn next<'a>(slots: &'a mut Slots, cold: &'a mut ColdTable, link: u32) -> &'a mut u32 {
        let slot = slots.at_mut((link & !(SECOND | CLOSING)) - 1);
        if link & SECOND == 0 { &mut slot.fd_next } else { &mut cold.of(slot).second_next }
    }

    fn prev<'a>(slots: &'a mut Slots, cold: &'a mut ColdTable, link: u32) -> &'a mut u32 {
        let slot = slots.at_mut((link & !(SECOND | CLOSING)) - 1);
        if link & SECOND == 0 { &mut slot.fd_prev } else { &mut cold.of(slot).second_prev }
    }

    /// Takes slot `index` out of the list of its `fd` if it is alone in it, as most are, and its
    /// number is not a very high one.
    #[inline(always)]
    pub(crate) fn unlink_only(&mut self, slot: &Slot, index: u32) -> bool {
        match self.heads.get_near(slot.fd) {
            Some(head) if *head == index + 1 && slot.fd_next == 0 => {
                *head = 0;
                true
            }
            _ => false,
        }
    }

    /// Takes slot `index` out of the list of its `fd`.
    #[inline(always)]
    pub(crate) fn unlink(&mut self, slots: &mut Slots, cold: &mut ColdTable, index: u32) -> Left {
        let slot = slots.at(index);
        let (fd, link) = (slot.fd, index + 1);
        // No page has numbers of direct descriptors.
        if fd < DIRECT && self.unlink_only(slot, index) {
            return Left::Nothing;
        }
        let (next, prev) = (slot.fd_next, slot.fd_prev);
        // Of several on one descriptor the oldest, which is the last, ends first as a rule.
        if (next | prev) & SECOND == 0 && prev != 0 {
            slots.at_mut(prev - 1).fd_next = next;
            if next != 0 {
                slots.at_mut(next - 1).fd_prev = prev;
            }
            return Left::Nothing;
        }
        self.unlink_one(slots, cold, link, fd)
    }

    /// Takes slot `index` out of the list of its second descriptor `fd`.
    pub(crate) fn unlink_second(
        &mut self, slots: &mut Slots, cold: &mut ColdTable, index: u32, fd: i32,
    ) -> Left {
        self.unlink_one(slots, cold, (index + 1) | SECOND, fd)
    }

    fn unlink_one(&mut self, slots: &mut Slots, cold: &mut ColdTable, link: u32, fd: i32) -> Left {
        let next = *Self::next(slots, cold, link);
        let prev = *Self::prev(slots, cold, link);
        if next != 0 {
            *Self::prev(slots, cold, next) = prev;
        }
        if prev != 0 {
            *Self::next(slots, cold, prev) = next;
            return Left::Nothing;
        }
        let Some(head) = self.head(fd) else { return Left::Nothing };
        *head = *head & CLOSING | next;
        if *head == CLOSING { Left::CloseCanStart } else { Left::Nothing }
    }

    /// Whether no operation is listed under `fd` and no close of it waits.
    #[inline(always)]
    pub(crate) fn is_empty(&mut self, fd: i32) -> bool {
        fd < 0 || self.head(fd).is_none_or(|head| *head == 0)
    }

    /// Whether a close of `fd` waits.
    pub(crate) fn is_closing(&mut self, fd: i32) -> bool {
        fd >= 0 && self.head(fd).is_some_and(|head| *head & CLOSING != 0)
    }

    /// Whether a close of `fd` waits for nothing any more.
    pub(crate) fn can_close(&mut self, fd: i32) -> bool {
        self.head(fd).is_some_and(|head| *head == CLOSING)
    }

    /// Marks `fd` as about to be closed; false if it is already.
    pub(crate) fn begin_close(&mut self, fd: i32) -> bool {
        let head = self.head_or_make(fd);
        let begins = *head & CLOSING == 0;
        *head |= CLOSING;
        begins
    }

    pub(crate) fn end_close(&mut self, fd: i32) {
        if let Some(head) = self.head(fd) {
            *head &= !CLOSING;
        }
    }

    /// The slots listed under `fd`, newest first.
    pub(crate) fn listed(&mut self, slots: &mut Slots, cold: &mut ColdTable, fd: i32) -> Vec<u32> {
        let mut found = Vec::new();
        if fd < 0 {
            return found;
        }
        let mut link = self.head(fd).map_or(0, |head| *head & !CLOSING);
        while link != 0 {
            found.push((link & !SECOND) - 1);
            link = *Self::next(slots, cold, link);
        }
        found
    }
}
