//! Close is close (contract, line 7): what is listed under a number ends first, its last callbacks
//! run, then the number is closed. Meanwhile it is as good as closed for what is submitted.

use crate::engine::Engine;
use crate::engine::cancel::Why;
use crate::engine::slots::{phase, state};
use crate::sys::errno::Errno;

impl Engine {
    /// Starts a close: at once if nothing is listed under its number, else when the last callback
    /// of what is listed has run (contract, line 7).
    pub(crate) fn begin_close(&mut self, index: u32) {
        let fd = self.slots.at(index).fd;
        if self.closes.get(&fd) == Some(&index) {
            if self.descriptors.can_close(fd) {
                self.unmark_closing(index);
                return self.start(index);
            }
        } else if self.descriptors.is_empty(fd) {
            return self.start(index);
        } else if !self.mark_closing(index) {
            return;
        }
        let slot = self.slots.at_mut(index);
        slot.state |= state::CLOSE_WAITS;
        slot.set_phase(phase::HELD);
        self.local += 1;
        for other in self.descriptors.listed(&mut self.slots, &mut self.cold, fd) {
            let _ = self.request_end(other, Why::Cancelled);
        }
    }

    /// Makes the number as good as closed for what is submitted from now on; false, and the close
    /// has failed, if another close of it is under way.
    pub(crate) fn mark_closing(&mut self, index: u32) -> bool {
        let fd = self.slots.at(index).fd;
        if fd < 0 {
            return true; // Nothing to hold: the kernel will say so.
        }
        if !self.descriptors.begin_close(fd) {
            self.make_ready(index, Errno::EBADF.status(), 0);
            return false;
        }
        self.closes.insert(fd, index);
        true
    }

    /// The close at `index` does not hold its number any more.
    pub(crate) fn unmark_closing(&mut self, index: u32) {
        let fd = self.slots.at(index).fd;
        if self.closes.get(&fd) == Some(&index) {
            self.closes.remove(&fd);
            self.descriptors.end_close(fd);
        }
    }

    /// Starts the closes whose descriptors are idle now.
    pub(crate) fn start_closes(&mut self) {
        while let Some(fd) = self.closable.pop() {
            // The close may have been cancelled and others be listed since, or a barrier hold it.
            let Some(&index) = self.closes.get(&fd) else { continue };
            if self.slots.at(index).has(state::CLOSE_WAITS) && self.descriptors.can_close(fd) {
                self.unmark_closing(index);
                self.slots.at_mut(index).state &= !state::CLOSE_WAITS;
                self.start(index);
            }
        }
    }
}
