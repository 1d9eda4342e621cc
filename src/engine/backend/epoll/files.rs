//! The table of direct descriptors where no ring has one: a slot holds a descriptor of the process.
//! As in a ring's table, an operation keeps the file that it began with, whatever becomes of its
//! slot: a descriptor is closed when its slot has let go of it and no operation waits with it.

use crate::engine::backend::epoll::Epoll;
use crate::op::{self, files};
use crate::sys::descriptor;
use crate::sys::entry::{Opcode, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::{descriptors_at, pair_at, set_pair_at};
use crate::sys::plain;
use slab::Slab;
use std::ops::Range;

/// What an operation holds while it waits, for each of its descriptors that is a slot's: a key of
/// `Files::held` plus one.
pub(super) type Holds = [u32; 2];

struct Held {
    fd: i32,
    /// Its slot, and the operations that hold it.
    uses: u32,
}

/// Slot numbers count from 0. Outside of a table there are none.
#[derive(Default)]
pub(super) struct Files {
    /// By slot: the key of what it holds plus one; 0: it is empty.
    slots: Box<[u32]>,
    held: Slab<Held>,
    /// What is allocated from, and where the search begins, as in a ring's table.
    own: Range<u32>,
    next: u32,
}

impl Files {
    fn open(&mut self, count: u32, own: Range<u32>) -> Result<(), Errno> {
        if u64::from(count) > plain::descriptors_max() {
            return Err(Errno::EMFILE);
        }
        self.slots = vec![0; count as usize].into_boxed_slice();
        self.next = own.start;
        self.own = own;
        Ok(())
    }

    /// What slot `slot` holds: its key plus one, and the descriptor.
    fn look_up(&self, slot: u32) -> Result<(u32, i32), Errno> {
        let key = self.slots.get(slot as usize).copied().unwrap_or_default();
        let held = key.checked_sub(1).and_then(|key| self.held.get(key as usize));
        Ok((key, held.ok_or(Errno::EBADF)?.fd))
    }

    fn has_table(&self) -> Result<(), Errno> {
        if self.slots.is_empty() { Err(Errno::ENXIO) } else { Ok(()) }
    }

    /// The slot that `file_index` asks for.
    fn slot_for(&mut self, file_index: u32) -> Result<u32, Errno> {
        self.has_table()?;
        if file_index != files::ALLOCATE {
            let slot = file_index - 1;
            return if (slot as usize) < self.slots.len() { Ok(slot) } else { Err(Errno::EINVAL) };
        }
        let is_free = |slot: &u32| self.slots[*slot as usize] == 0;
        let free = (self.next..self.own.end).find(is_free);
        free.or_else(|| (self.own.start..self.next).find(is_free)).ok_or(Errno::ENFILE)
    }

    /// Fills an empty slot.
    fn put(&mut self, slot: u32, fd: i32) {
        debug_assert!(self.slots[slot as usize] == 0);
        self.slots[slot as usize] = self.held.insert(Held { fd, uses: 1 }) as u32 + 1;
        if self.own.contains(&slot) {
            self.next = slot + 1;
        }
    }

    /// Empties a slot; returns the descriptor if it is to be closed now. EBADF: it was empty.
    fn take(&mut self, slot: u32) -> Result<Option<i32>, Errno> {
        let (key, _) = self.look_up(slot)?;
        self.slots[slot as usize] = 0;
        if self.own.contains(&slot) {
            self.next = slot;
        }
        Ok(self.let_go(key))
    }

    fn let_go(&mut self, key: u32) -> Option<i32> {
        let key = key.checked_sub(1)? as usize;
        self.held[key].uses -= 1;
        (self.held[key].uses == 0).then(|| self.held.remove(key).fd)
    }

    /// Takes one of the descriptors that are left, of whatever use.
    fn pop(&mut self) -> Option<i32> {
        let key = self.held.iter().next()?.0;
        Some(self.held.remove(key).fd)
    }
}

impl Drop for Files {
    /// What a forked child or a context without its thread has left.
    fn drop(&mut self) {
        while let Some(fd) = self.pop() {
            descriptor::close(fd);
        }
    }
}

impl Epoll {
    pub(in crate::engine::backend) fn register_files(
        &mut self, count: u32, own: Range<u32>,
    ) -> Result<(), Errno> {
        self.files.open(count, own)
    }

    pub(in crate::engine::backend) fn unregister_files(&mut self) -> Result<(), Errno> {
        self.files.has_table()?;
        while let Some(fd) = self.files.pop() {
            self.close(fd);
        }
        self.files.slots = Box::default();
        Ok(())
    }

    /// Slots get descriptors of their own. What was done before an error counts.
    pub(in crate::engine::backend) fn update_files(
        &mut self, first: u32, fds: &[i32],
    ) -> Result<u32, Errno> {
        self.files.has_table()?;
        if u64::from(first) + fds.len() as u64 > self.files.slots.len() as u64 {
            return Err(Errno::EINVAL);
        }
        for (done, &fd) in fds.iter().enumerate() {
            let slot = first + done as u32;
            if let Ok(Some(fd)) = self.files.take(slot) {
                self.close(fd);
            }
            if fd != -1 {
                match Errno::check(plain::duplicate(fd, true)) {
                    Ok(fd) => self.put(slot, fd),
                    Err(errno) if done == 0 => return Err(errno),
                    Err(_) => return Ok(done as u32),
                }
            }
        }
        Ok(fds.len() as u32)
    }

    /// Puts a descriptor of its own into a free slot.
    pub(in crate::engine::backend) fn allocate_slot(&mut self, fd: i32) -> Result<u32, Errno> {
        let slot = self.files.slot_for(files::ALLOCATE)?;
        let fd = Errno::check(plain::duplicate(fd, true))?;
        self.put(slot, fd);
        Ok(slot)
    }

    /// Carries an update out, or an install.
    pub(super) fn change_table(&mut self, entry: &Sqe) -> i32 {
        if entry.opcode == Opcode::IORING_OP_FIXED_FD_INSTALL as u8 {
            return files::install(entry);
        }
        let fds = descriptors_at(entry.addr, entry.len);
        let first = u32::try_from(entry.off).unwrap_or(u32::MAX);
        self.update_files(first, &fds).map_or_else(Errno::status, |count| count as i32)
    }

    fn put(&mut self, slot: u32, fd: i32) {
        self.watches.forget(fd, false);
        self.files.put(slot, fd);
    }

    fn close(&mut self, fd: i32) {
        self.watches.forget(fd, true);
        self.system_calls += 1;
        descriptor::close(fd);
    }

    /// Puts the descriptors that stand for an entry's slots in their place.
    #[inline(always)]
    pub(super) fn translate(&mut self, entry: &mut Sqe) -> Result<Holds, Errno> {
        let is_fixed = entry.flags & sqe_flags::FIXED_FILE != 0;
        if !is_fixed && entry.opcode == Opcode::IORING_OP_FIXED_FD_INSTALL as u8 {
            return Err(Errno::EBADF);
        }
        if !is_fixed && !files::reads_from_slot(entry) {
            return Ok([0; 2]);
        }
        self.translate_slots(entry)
    }

    #[cold]
    fn translate_slots(&mut self, entry: &mut Sqe) -> Result<Holds, Errno> {
        let mut holds = [0; 2];
        if entry.flags & sqe_flags::FIXED_FILE != 0 {
            entry.flags &= !sqe_flags::FIXED_FILE;
            // An entry without its file has failed, as the look at its number will say.
            let slot = std::mem::replace(&mut entry.fd, -1) as u32;
            if !files::takes_slot(entry.opcode) {
                return Err(Errno::EBADF);
            }
            (holds[0], entry.fd) = self.files.look_up(slot)?;
        }
        if files::reads_from_slot(entry) {
            let (hold, fd) = self.files.look_up(entry.splice_fd_in as u32)?;
            holds[1] = hold;
            files::read_from(entry, fd);
        }
        Ok(holds)
    }

    /// An operation waits with its descriptors.
    pub(super) fn hold(&mut self, key: u32, holds: Holds) {
        if holds == [0; 2] {
            return;
        }
        self.watches.waiters.at(key).holds = holds;
        for hold in holds.into_iter().filter(|&hold| hold != 0) {
            self.files.held[hold as usize - 1].uses += 1;
        }
    }

    /// It has ended.
    pub(super) fn let_go(&mut self, key: u32) {
        let holds = std::mem::take(&mut self.watches.waiters.at(key).holds);
        for hold in holds {
            if let Some(fd) = self.files.let_go(hold) {
                self.close(fd);
            }
        }
    }

    /// Puts the new descriptor `fd` where its entry wants it; the result of the operation.
    pub(super) fn place(&mut self, entry: &Sqe, fd: i32) -> i32 {
        self.watches.forget(fd, false);
        match files::file_index(entry) {
            0 => fd,
            file_index => self.place_in_slot(entry, file_index, fd),
        }
    }

    /// The slot's number if it was allocated, 0 if it was asked for, as a ring has it.
    #[cold]
    fn place_in_slot(&mut self, entry: &Sqe, file_index: u32, fd: i32) -> i32 {
        let slot = match self.files.slot_for(file_index) {
            Ok(slot) => slot,
            Err(errno) => {
                self.close(fd);
                return errno.status();
            }
        };
        if let Ok(Some(old)) = self.files.take(slot) {
            self.close(old);
        }
        if !op::closes_on_exec(entry) {
            plain::set_close_on_exec(fd);
        }
        self.files.put(slot, fd);
        if file_index == files::ALLOCATE { slot as i32 } else { 0 }
    }

    /// Puts the two ends of a new pipe where the entry wants them.
    pub(super) fn place_pair(&mut self, entry: &Sqe) -> i32 {
        let pair = pair_at(entry.addr);
        pair.into_iter().for_each(|fd| self.watches.forget(fd, false));
        let file_index = files::file_index(entry);
        if file_index == 0 {
            return 0;
        }
        let first = self.place_in_slot(entry, file_index, pair[0]);
        if first < 0 {
            self.close(pair[1]);
            return first;
        }
        let next = if file_index == files::ALLOCATE { file_index } else { file_index + 1 };
        let second = self.place_in_slot(entry, next, pair[1]);
        if second < 0 {
            let slot = if file_index == files::ALLOCATE { first as u32 } else { file_index - 1 };
            self.close_slot(slot);
            return second;
        }
        set_pair_at(entry.addr, [first, second]);
        0
    }

    pub(super) fn close_slot(&mut self, slot: u32) -> i32 {
        if let Err(errno) = self.files.has_table() {
            return errno.status();
        }
        match self.files.take(slot) {
            Ok(fd) => {
                fd.into_iter().for_each(|fd| self.close(fd));
                0
            }
            Err(errno) => errno.status(),
        }
    }
}
