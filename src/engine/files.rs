//! The context's table of direct descriptors, which belongs to the backend: here is what the engine
//! must see to. Options become fields of entries; operations on a slot and those that fill one are
//! listed under it; a slot that is filled for nobody is emptied again (contract, line 6); and what
//! the caller does to the table at once comes behind what was submitted before.

use crate::engine::backend::Handed;
use crate::engine::cancel::{INSTALL, RELEASE};
use crate::engine::descriptors::DIRECT;
use crate::engine::slots::{Slot, phase, state};
use crate::engine::submission::{Prepared, SubmitOptions, submit_flags};
use crate::engine::{Engine, Refusal};
use crate::op::{self, NO_DESCRIPTOR, Operation, files, traits};
use crate::sys::entry::{Opcode, Sqe, WideSqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::{Outputs, pair_at};
use crate::sys::refused::Fault;
use crate::sys::ring::Wait;
use std::ops::Range;

/// Slots whose sockets have no descriptor beside them, a bit each. Kept where the kernel closes
/// late: before Linux 6.13 what a slot held lives on until every operation on any slot that began
/// earlier has ended. There such sockets are shut down before their slot is closed, so that the
/// peer sees the end; others might be in use under another number.
#[derive(Default)]
pub(crate) struct Sockets(Vec<u64>);

impl Sockets {
    fn open(&mut self, count: u32) {
        self.0 = vec![0; count.div_ceil(u64::BITS) as usize];
    }

    fn note(&mut self, slot: u32, is_socket: bool) {
        if let Some(word) = self.0.get_mut((slot / u64::BITS) as usize) {
            let bit = 1 << (slot % u64::BITS);
            *word = if is_socket { *word | bit } else { *word & !bit };
        }
    }

    fn has(&self, slot: u32) -> bool {
        let word = self.0.get((slot / u64::BITS) as usize).copied().unwrap_or_default();
        word >> (slot % u64::BITS) & 1 != 0
    }
}

impl Prepared {
    /// Whether it takes or fills slots.
    pub(crate) fn uses_table(&self) -> bool {
        let sqe = &self.entry.sqe;
        sqe.flags & sqe_flags::FIXED_FILE != 0 || self.direct != 0 || files::closed_slot(sqe) != 0
    }
}

impl Engine {
    // --- the table itself ----------------------------------------------------------------------

    /// Makes a table of `count` empty slots; the backend allocates from `range`.
    pub(crate) fn register_files(&mut self, count: u32, range: Range<u32>) -> Result<(), Errno> {
        if self.descriptors.table_len() != 0 {
            return Err(Errno::EBUSY);
        }
        self.descriptors.open_table(count)?;
        let made = self.backend.register_files(count, range);
        if made.is_err() {
            self.descriptors.close_table();
        } else if self.backend.closes_late() {
            self.sockets.open(count);
        }
        made
    }

    /// Empties the table and gives it up.
    pub(crate) fn unregister_files(&mut self) -> Result<(), Errno> {
        self.check_slots(0, 0)?;
        let updates = Opcode::IORING_OP_FILES_UPDATE as u8;
        let is_used = self
            .slots
            .iter()
            .any(|(_, slot)| slot.fd >= DIRECT || slot.opcode() == updates || self.is_direct(slot));
        if is_used {
            return Err(Errno::EBUSY);
        }
        self.hand_over()?;
        self.backend.unregister_files()?;
        self.descriptors.close_table();
        self.sockets = Sockets::default();
        self.forget_sent_slots();
        Ok(())
    }

    /// Puts descriptors into slots from `first` on, -1 for none. Returns how many were dealt with.
    pub(crate) fn update_files(&mut self, first: u32, fds: &[i32]) -> Result<u32, Errno> {
        self.check_update(first, fds)?;
        self.hand_over()?;
        self.backend.update_files(first, fds)
    }

    /// Refuses what cannot be put into slots from `first` on.
    pub(crate) fn check_update(&mut self, first: u32, fds: &[i32]) -> Result<(), Errno> {
        self.check_slots(first, fds.len() as u64)?;
        let slots = first..first + fds.len() as u32;
        if fds.iter().any(|&fd| fd < -1) {
            return Err(Errno::EINVAL);
        }
        self.check_not_closing(slots.clone())?;
        slots.for_each(|slot| self.sockets.note(slot, false));
        Ok(())
    }

    /// Makes an ordinary descriptor of a slot's file at once. The kernel has this as an operation
    /// alone, which it completes while it takes it.
    pub(crate) fn install_file(&mut self, slot: u32, inherit: bool) -> Result<i32, Refusal> {
        self.check_slots(0, 0)?;
        let opcode = Opcode::IORING_OP_FIXED_FD_INSTALL as u8;
        if !self.backend.supports(opcode) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if slot >= self.descriptors.table_len() {
            return Err(Errno::EBADF.into());
        }
        let mut sqe = Sqe { opcode, user_data: INSTALL, ..Sqe::default() };
        files::FilesInstall { slot: slot as i32 }.prepare(&mut sqe, &mut []);
        if inherit {
            files::FilesInstall::inherit(&mut sqe);
        }
        self.sockets.note(slot, false);
        self.backend.stage(&sqe.into());
        loop {
            self.enter_backend(Wait::Forever)?;
            self.take_to_stash(0);
            if let Some(result) = self.installed.take() {
                return Ok(Errno::check(result)?);
            }
        }
    }

    /// Puts a descriptor that another context has sent into slot `file_index - 1`, or a free one;
    /// returns which.
    pub(crate) fn place_file(&mut self, fd: i32, file_index: u32) -> Result<u32, Errno> {
        if file_index != files::ALLOCATE {
            let slot = file_index - 1;
            self.check_update(slot, &[fd])?;
            self.hand_over()?;
            return self.backend.update_files(slot, &[fd]).map(|_| slot);
        }
        if self.descriptors.table_len() == 0 {
            return Err(Errno::ENFILE); // As a ring says it.
        }
        let placed = match self.backend.allocate_slot(fd) {
            Some(placed) => placed?,
            None => self.allocate_slot(fd)?,
        };
        self.sockets.note(placed, false);
        Ok(placed)
    }

    /// The ring picks a slot in an operation alone, which it completes while it takes it.
    fn allocate_slot(&mut self, fd: i32) -> Result<u32, Errno> {
        let mut number = self.arena.take(size_of::<i32>())?;
        Outputs::set_pair(&mut number, [fd, 0]);
        let addr = number.as_ptr() as u64;
        self.backend.stage(&Sqe { user_data: INSTALL, ..files::allocate(addr) }.into());
        loop {
            if self.enter_backend(Wait::Forever).is_err() {
                std::mem::forget(number); // The kernel may still write there.
                return Err(Errno::ECANCELED);
            }
            self.take_to_stash(0);
            if let Some(result) = self.installed.take() {
                let [slot, _] = pair_at(addr);
                self.arena.give_back(number);
                return Errno::check(result).map(|_| slot as u32);
            }
        }
    }

    /// There is a table, and it has these slots.
    fn check_slots(&self, first: u32, count: u64) -> Result<(), Errno> {
        match u64::from(self.descriptors.table_len()) {
            0 => Err(Errno::ENXIO),
            len if u64::from(first) + count > len => Err(Errno::EINVAL),
            _ => Ok(()),
        }
    }

    /// What is put into a slot whose close waits would be closed by it.
    fn check_not_closing(&mut self, slots: Range<u32>) -> Result<(), Errno> {
        let mut numbers = slots.map(|slot| slot as i32 | DIRECT);
        if numbers.any(|number| self.descriptors.is_closing(number)) {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    /// Lets the backend have what was submitted before.
    pub(crate) fn hand_over(&mut self) -> Result<(), Errno> {
        if self.backend.has_staged() && self.backend.enter(None)? == Handed::Some {
            return Err(Errno::EAGAIN);
        }
        Ok(())
    }

    // --- submission ----------------------------------------------------------------------------

    /// Writes into an entry what options say of the table, and under which numbers it is listed.
    pub(crate) fn apply_files(
        &mut self, prepared: &mut Prepared, options: &SubmitOptions,
    ) -> Result<(), Errno> {
        let asked = |flag: u32| options.flags & flag != 0;
        if asked(submit_flags::FIXED_FILE) {
            if !files::takes_slot(prepared.entry.sqe.opcode) {
                return Err(Errno::invalid(Fault::FixedFile));
            }
            prepared.entry.sqe.flags |= sqe_flags::FIXED_FILE;
        }
        if asked(submit_flags::DIRECT) {
            self.direct_result_to(prepared, options)?;
        } else if options.file_slot != 0 {
            return Err(Errno::invalid(Fault::FileSlot));
        }
        let sqe = &mut prepared.entry.sqe;
        let sends = op::msg_ring::sends_slot(sqe);
        let is_slot = sqe.flags & sqe_flags::FIXED_FILE != 0 || sends;
        prepared.fd = self.descriptors.number(prepared.fd, is_slot);
        if is_slot && prepared.traits & traits::CLOSES != 0 {
            let flags = sqe.flags & !sqe_flags::FIXED_FILE;
            *sqe = match prepared.fd {
                0.. => Sqe { flags, ..files::close((prepared.fd & !DIRECT) as u32 + 1) },
                // The answer is that of any number that is none.
                _ => Sqe { opcode: sqe.opcode, flags, fd: NO_DESCRIPTOR, ..Sqe::default() },
            };
        }
        if prepared.fd >= DIRECT && (sends || files::is_of_table(sqe.opcode)) {
            self.sockets.note((prepared.fd & !DIRECT) as u32, false); // It has another descriptor.
        }
        let from_slot = files::reads_from_slot(sqe);
        prepared.second_fd = self.descriptors.number(prepared.second_fd, from_slot);
        prepared.direct = files::file_index(sqe);
        if prepared.direct != 0 && prepared.direct != files::ALLOCATE {
            let slot = prepared.direct.wrapping_sub(1) as i32;
            prepared.second_fd = self.descriptors.number(slot, true);
        }
        Ok(())
    }

    /// Makes the result of an entry go into the table.
    fn direct_result_to(
        &mut self, prepared: &mut Prepared, options: &SubmitOptions,
    ) -> Result<(), Errno> {
        let sqe = &mut prepared.entry.sqe;
        let slots = files::slots_filled(sqe.opcode);
        if slots == 0 || options.flags & submit_flags::INHERIT != 0 {
            return Err(Errno::EINVAL);
        }
        // Nothing that exec could close is made; rings insist. The emulated table has ordinary
        // descriptors.
        if !self.backend.emulates_files() {
            op::inherit(sqe);
        }
        let Some(first) = options.file_slot.checked_sub(1) else {
            sqe.splice_fd_in = files::ALLOCATE as i32;
            return self.check_slots(0, 0);
        };
        sqe.splice_fd_in = options.file_slot as i32;
        self.check_slots(first, slots.into())?;
        if prepared.traits & traits::MULTISHOT != 0 {
            return Err(Errno::EINVAL);
        }
        self.check_not_closing(first..first + slots)
    }

    /// What must be handed over before the close of slot number `fd`, linked to it.
    pub(crate) fn before_close(&mut self, fd: i32) -> Option<WideSqe> {
        let slot = (fd & !DIRECT) as u32;
        if fd < DIRECT || !self.sockets.has(slot) || self.backend.granted().sq_entries < 2 {
            return None;
        }
        self.sockets.note(slot, false);
        let mut sqe = Sqe {
            opcode: Opcode::IORING_OP_SHUTDOWN as u8,
            flags: sqe_flags::FIXED_FILE | sqe_flags::IO_HARDLINK,
            user_data: RELEASE,
            ..Sqe::default()
        };
        op::net::Shutdown::both(slot as i32).prepare(&mut sqe, &mut []);
        Some(sqe.into())
    }

    // --- completion ----------------------------------------------------------------------------

    /// Where the result of an operation goes; 0: to the caller.
    fn file_index(&self, slot: &Slot) -> u32 {
        if slot.has(state::COLD) { self.cold.get(slot).map_or(0, |cold| cold.direct) } else { 0 }
    }

    pub(crate) fn is_direct(&self, slot: &Slot) -> bool {
        self.file_index(slot) != 0
    }

    /// The result of an operation of which the kernel says no more than that its slot is filled:
    /// which slot that is.
    pub(crate) fn direct_result(&mut self, index: u32, result: i32) -> i32 {
        let slot = self.slots.at(index);
        let file_index = self.file_index(slot);
        if file_index == 0 || result < 0 || !slot.has(traits::GIVES_DESCRIPTOR) {
            return result;
        }
        let filled = if file_index == files::ALLOCATE { result as u32 } else { file_index - 1 };
        self.sockets.note(filled, files::makes_socket(slot.opcode()));
        filled as i32
    }

    /// Tells the caller of the two slots of a pipe, or empties them.
    pub(crate) fn write_direct_pair(&mut self, index: u32, discarded: bool) {
        let cold = self.cold.of(self.slots.at(index));
        let (Some(outputs), Some(copy)) = (cold.outputs, cold.copy.as_deref_mut()) else { return };
        if cold.direct != files::ALLOCATE {
            let first = cold.direct as i32 - 1;
            Outputs::set_pair(copy, [first, first + 1]);
        }
        let Some(pair) = outputs.pair(copy) else { return };
        pair.into_iter().for_each(|slot| self.sockets.note(slot as u32, false));
        if !discarded {
            return outputs.write_back(copy);
        }
        pair.into_iter().for_each(|slot| self.release_direct(index, slot));
    }

    /// Another context has filled a slot. Its file may have a descriptor there.
    pub(crate) fn note_sent_slot(&mut self, slot: i32) {
        self.sockets.note(slot as u32, false);
    }

    /// Empties a slot that the operation at `index` has filled for nobody. Where another one is
    /// under way to fill the same slot, that one replaces the file, and must find it replaced.
    pub(crate) fn release_direct(&mut self, index: u32, slot: i32) {
        let number = self.descriptors.number(slot, true);
        let listed = self.descriptors.listed(&mut self.slots, &mut self.cold, number);
        let is_refilled = listed.into_iter().any(|other| {
            let slot = self.slots.at(other);
            other != index && self.is_direct(slot) && slot.phase() != phase::READY
        });
        if number < 0 || is_refilled {
            return;
        }
        // At once, so that a peer sees the end also where no turn follows.
        let close = Sqe { user_data: RELEASE, ..files::close(slot as u32 + 1) };
        if let Some(first) = self.before_close(number) {
            self.backend.stage_chain(&[first, close.into()]);
            let _ = self.backend.enter(None);
        } else if self.backend.update_files(slot as u32, &[-1]).is_err() {
            self.backend.stage(&close.into());
        }
    }
}
