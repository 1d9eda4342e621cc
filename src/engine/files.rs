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
use crate::sys::entry::{Opcode, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::Outputs;
use crate::sys::ring::Wait;
use std::ops::Range;

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
        self.check_not_closing(slots)
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
        self.backend.stage(&sqe.into());
        loop {
            self.enter_backend(Wait::Forever)?;
            self.take_to_stash(0);
            if let Some(result) = self.installed.take() {
                return Ok(Errno::check(result)?);
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
                return Err(Errno::EINVAL);
            }
            prepared.entry.sqe.flags |= sqe_flags::FIXED_FILE;
        }
        if asked(submit_flags::DIRECT) {
            self.direct_result_to(prepared, options)?;
        } else if options.file_slot != 0 {
            return Err(Errno::EINVAL);
        }
        let sqe = &mut prepared.entry.sqe;
        let is_slot = sqe.flags & sqe_flags::FIXED_FILE != 0;
        prepared.fd = self.descriptors.number(prepared.fd, is_slot);
        if is_slot && prepared.traits & traits::CLOSES != 0 {
            let flags = sqe.flags & !sqe_flags::FIXED_FILE;
            *sqe = match prepared.fd {
                0.. => Sqe { flags, ..files::close((prepared.fd & !DIRECT) as u32 + 1) },
                // The answer is that of any number that is none.
                _ => Sqe { opcode: sqe.opcode, flags, fd: NO_DESCRIPTOR, ..Sqe::default() },
            };
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
    pub(crate) fn direct_result(&self, index: u32, result: i32) -> i32 {
        let slot = self.slots.at(index);
        match self.file_index(slot) {
            0 | files::ALLOCATE => result,
            file_index if result >= 0 && slot.has(traits::GIVES_DESCRIPTOR) => {
                file_index as i32 - 1
            }
            _ => result,
        }
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
        if !discarded {
            return outputs.write_back(copy);
        }
        pair.into_iter().for_each(|slot| self.release_direct(index, slot));
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
        if self.backend.update_files(slot as u32, &[-1]).is_err() {
            let sqe = Sqe { user_data: RELEASE, ..files::close(slot as u32 + 1) };
            self.backend.stage(&sqe.into());
        }
    }
}
