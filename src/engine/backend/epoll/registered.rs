//! Registered buffers where no ring has them: which memory each is, and which operations use it, so
//! that a tag is given back when nothing does any more. The transfers themselves are ordinary ones.

use crate::engine::backend::epoll::Epoll;
use crate::engine::backend::epoll::files::Holds;
use crate::op::registered;
use crate::sys::entry::{Cqe, Sqe, sqe_flags};
use crate::sys::errno::Errno;
use crate::sys::queues::Queues;
use crate::sys::registered::{Area, can_be_mapped};
use slab::Slab;

struct Buffer {
    area: Area,
    /// The user_data of the completion that comes at its end; 0: none.
    tag: u64,
    /// Its place in the table, and the operations that wait with it.
    uses: u32,
}

#[derive(Default)]
pub(super) struct Buffers {
    /// By number: the buffer's key plus one; 0: none.
    table: Vec<u32>,
    buffers: Slab<Buffer>,
}

impl Buffers {
    fn add(&mut self, area: Area, tag: u64) -> u32 {
        if area.is_none() {
            return 0;
        }
        self.buffers.insert(Buffer { area, tag, uses: 1 }) as u32 + 1
    }

    /// The key plus one, and the memory, of buffer `index`.
    fn look_up(&self, index: u16) -> Option<(u32, Area)> {
        let key = *self.table.get(usize::from(index))?;
        Some((key, self.buffers.get(key.checked_sub(1)? as usize)?.area))
    }

    fn hold(&mut self, key: u32) {
        if let Some(buffer) = key.checked_sub(1).and_then(|key| self.buffers.get_mut(key as usize))
        {
            buffer.uses += 1;
        }
    }

    /// One use less; the tag to be given back.
    fn let_go(&mut self, key: u32) -> Option<u64> {
        let key = key.checked_sub(1)? as usize;
        let buffer = self.buffers.get_mut(key)?;
        buffer.uses -= 1;
        if buffer.uses != 0 {
            return None;
        }
        let tag = self.buffers.remove(key).tag;
        (tag != 0).then_some(tag)
    }
}

impl Epoll {
    pub(in crate::engine::backend) fn register_areas(
        &mut self, areas: &[Area], tags: &[u64],
    ) -> Result<(), Errno> {
        for area in areas.iter().filter(|area| !area.is_none()) {
            can_be_mapped(*area)?;
        }
        let buffers = &mut self.registered;
        buffers.table =
            areas.iter().zip(tags).map(|(&area, &tag)| buffers.add(area, tag)).collect();
        Ok(())
    }

    pub(in crate::engine::backend) fn update_areas(
        &mut self, queues: &mut Queues, first: u32, areas: &[Area], tags: &[u64],
    ) -> Result<u32, Errno> {
        for (index, (&area, &tag)) in areas.iter().zip(tags).enumerate() {
            if !area.is_none()
                && let Err(errno) = can_be_mapped(area)
            {
                return if index == 0 { Err(errno) } else { Ok(index as u32) };
            }
            let new = self.registered.add(area, tag);
            let old = std::mem::replace(&mut self.registered.table[first as usize + index], new);
            self.let_buffer_go(queues, old);
        }
        Ok(areas.len() as u32)
    }

    pub(in crate::engine::backend) fn unregister_areas(&mut self, queues: &mut Queues) {
        for key in std::mem::take(&mut self.registered.table) {
            self.let_buffer_go(queues, key);
        }
    }

    /// The same memory, without tags.
    pub(in crate::engine::backend) fn clone_areas(&mut self, source: &Epoll) {
        let from = &source.registered;
        let area = |key: &u32| {
            let buffer = key.checked_sub(1).and_then(|key| from.buffers.get(key as usize));
            buffer.map_or(Area::default(), |buffer| buffer.area)
        };
        let buffers = &mut self.registered;
        buffers.table = from.table.iter().map(|key| buffers.add(area(key), 0)).collect();
    }

    /// Puts an entry's file and memory in the place of its slots and its registered buffer, whose
    /// keys it returns.
    #[inline(always)]
    pub(super) fn look_up(&mut self, entry: &mut Sqe) -> Result<(Holds, u32), Errno> {
        let holds = self.translate(entry)?;
        let names = registered::names_buffer(entry);
        Ok((holds, if names { self.look_buffer_up(entry)? } else { 0 }))
    }

    /// Makes an ordinary transfer of one with a registered buffer; the key of the buffer plus one.
    /// What is outside of its buffer fails as on a ring.
    #[cold]
    fn look_buffer_up(&mut self, entry: &mut Sqe) -> Result<u32, Errno> {
        if entry.flags & sqe_flags::BUFFER_SELECT != 0 {
            return Err(Errno::EINVAL);
        }
        let (key, area) = self.registered.look_up(entry.buf_index).ok_or(Errno::EFAULT)?;
        if !registered::all_inside(entry, |addr, len| area.holds(addr, len)) {
            return Err(Errno::EFAULT);
        }
        registered::make_plain(entry);
        Ok(key)
    }

    /// An operation waits with its buffer.
    #[inline(always)]
    pub(super) fn hold_buffer(&mut self, key: u32, buffer: u32) {
        if buffer != 0 {
            self.watches.waiters.at(key).buffer = buffer;
            self.registered.hold(buffer);
        }
    }

    /// It has ended, or the buffer has left the table.
    pub(super) fn let_buffer_go(&mut self, queues: &mut Queues, buffer: u32) {
        if let Some(user_data) = self.registered.let_go(buffer) {
            self.queue(queues, Cqe { user_data, result: 0, flags: 0, extra: 0 });
        }
    }
}
