//! The context's table of registered buffers. The backend has the buffers; here is which of them
//! the caller wants to be told of when nothing uses them any more. Such a buffer has a key, and the
//! key is the user_data of the completion by which the backend says so.
//!
//! Before Linux 6.13 giving up a table waits for all operations that use it: there every buffer has
//! a key, the table is emptied, and is given up when the last key has come back.

use crate::engine::completion::{ABORTED, Brings, Delivery, REAP, Ready};
use crate::engine::{Engine, cancel::INTERNAL};
use crate::op::registered::{BUFFERS_MAX, LENGTH_MAX};
use crate::sys::entry::Opcode;
use crate::sys::errno::Errno;
use crate::sys::message::iovec;
use crate::sys::registered::{Area, vectors_are_inside};
use slab::Slab;

/// The user_data of a release: no id has generation 0, so that the bits above are free.
const RELEASED: u64 = INTERNAL | 1 << 22;
const KEYS_MAX: usize = 1 << 22;
const KEY_MASK: u64 = KEYS_MAX as u64 - 1;
/// Stands for a slot's index among completions that the engine made.
pub(crate) const RELEASE: u32 = u32::MAX;

/// What a caller registers.
pub(crate) struct Table<'a> {
    pub areas: Vec<Area>,
    /// By buffer; 0, or an end of the list: not to be told of.
    pub tags: &'a [u64],
    pub callback: usize,
}

#[derive(Clone, Copy)]
struct Release {
    /// 0: for the engine alone.
    tag: u64,
    callback: usize,
    /// The buffer is not in the table any more: its key is due.
    promised: bool,
    /// The key has come back, and the callback is due.
    queued: bool,
}

#[derive(Default)]
pub(crate) struct Registered {
    /// None: there is no table.
    areas: Option<Vec<Area>>,
    /// By buffer: its key plus one; 0: it has none.
    keys: Vec<u32>,
    releases: Slab<Release>,
    callback: usize,
    /// Callbacks that are certain to come.
    promised: u32,
    /// The table is empty and waits for its operations to end.
    draining: bool,
}

/// The key in the user_data of one of the engine's own completions.
pub(crate) fn key_of(user_data: u64) -> Option<u32> {
    let is_release = user_data & !KEY_MASK == RELEASED;
    is_release.then_some((user_data & KEY_MASK) as u32)
}

impl Registered {
    /// Callbacks will come that no operation stands for.
    pub(crate) fn is_expected(&self) -> bool {
        self.promised != 0
    }

    fn add(&mut self, area: Area, tag: u64, tracks: bool) -> u32 {
        if tag == 0 && (!tracks || area.is_none()) {
            return 0;
        }
        self.releases.insert(Release {
            tag,
            callback: self.callback,
            promised: false,
            queued: false,
        }) as u32
            + 1
    }

    /// The keys of new buffers, or -ENOMEM when all are waited for.
    fn add_all(&mut self, areas: &[Area], tags: &[u64], tracks: bool) -> Result<Vec<u32>, Errno> {
        if self.releases.len() + areas.len() > KEYS_MAX {
            return Err(Errno::ENOMEM);
        }
        let tags = tags.iter().copied().chain(std::iter::repeat(0));
        Ok(areas.iter().zip(tags).map(|(&area, tag)| self.add(area, tag, tracks)).collect())
    }

    fn drop_keys(&mut self, keys: &[u32]) {
        for key in keys.iter().filter(|&&key| key != 0) {
            self.releases.try_remove(*key as usize - 1);
        }
    }

    /// A buffer is not in the table any more.
    fn promise(&mut self, key: u32) {
        if let Some(release) =
            key.checked_sub(1).and_then(|key| self.releases.get_mut(key as usize))
            && !release.promised
        {
            release.promised = true;
            self.promised += u32::from(release.tag != 0);
        }
    }
}

/// What the backend is told of keys.
fn tags_of(keys: &[u32]) -> Vec<u64> {
    let tag = |&key: &u32| if key == 0 { 0 } else { RELEASED | u64::from(key - 1) };
    keys.iter().map(tag).collect()
}

/// Refuses what no ring takes.
fn check(areas: &[Area], tags: &[u64]) -> Result<(), Errno> {
    for (index, area) in areas.iter().enumerate() {
        let is_tagged = tags.get(index).is_some_and(|&tag| tag != 0);
        if *area == Area::default() {
            if is_tagged {
                return Err(Errno::EINVAL);
            }
        } else if area.is_none()
            || area.addr == 0
            || area.len > LENGTH_MAX
            || area.addr.checked_add(area.len).is_none()
        {
            return Err(Errno::EFAULT);
        }
    }
    Ok(())
}

impl Engine {
    pub(crate) fn register_buffers(&mut self, table: &Table) -> Result<(), Errno> {
        let count = table.areas.len() as u32;
        if count == 0 || count > BUFFERS_MAX {
            return Err(Errno::EINVAL);
        }
        check(&table.areas, table.tags)?;
        self.make_room_for_table()?;
        let tracks = !self.backend.gives_up_areas_at_once();
        self.registered.callback = table.callback;
        let keys = self.registered.add_all(&table.areas, table.tags, tracks)?;
        if let Err(errno) = self.backend.register_areas(&table.areas, &tags_of(&keys)) {
            self.registered.drop_keys(&keys);
            return Err(errno);
        }
        self.registered.areas = Some(table.areas.clone());
        self.registered.keys = keys;
        Ok(())
    }

    /// There is one table at a time, and its operations may outlive it.
    fn make_room_for_table(&mut self) -> Result<(), Errno> {
        if self.registered.draining {
            self.take_to_stash(0);
        }
        let is_taken = self.registered.areas.is_some() || self.registered.draining;
        if is_taken { Err(Errno::EBUSY) } else { Ok(()) }
    }

    /// Replaces buffers from `first` on; returns how many.
    pub(crate) fn update_buffers(
        &mut self, first: u32, areas: &[Area], tags: &[u64],
    ) -> Result<u32, Errno> {
        let count = self.registered.areas.as_ref().ok_or(Errno::ENXIO)?.len() as u64;
        if areas.is_empty() || u64::from(first) + areas.len() as u64 > count {
            return Err(Errno::EINVAL);
        }
        if self.registered.callback == 0 && tags.iter().any(|&tag| tag != 0) {
            return Err(Errno::EINVAL);
        }
        check(areas, tags)?;
        self.hand_over()?;
        let tracks = !self.backend.gives_up_areas_at_once();
        let keys = self.registered.add_all(areas, tags, tracks)?;
        let done = match self.backend.update_areas(first, areas, &tags_of(&keys)) {
            Ok(done) => done as usize,
            Err(errno) => {
                self.registered.drop_keys(&keys);
                return Err(errno);
            }
        };
        self.registered.drop_keys(&keys[done..]);
        for (index, &key) in keys[..done].iter().enumerate() {
            let at = first as usize + index;
            let old = std::mem::replace(&mut self.registered.keys[at], key);
            self.registered.promise(old);
            if let Some(table) = &mut self.registered.areas {
                table[at] = areas[index];
            }
        }
        Ok(done as u32)
    }

    pub(crate) fn unregister_buffers(&mut self) -> Result<(), Errno> {
        let count = self.registered.areas.as_ref().ok_or(Errno::ENXIO)?.len();
        self.hand_over()?;
        if self.backend.gives_up_areas_at_once() {
            self.backend.unregister_areas()?;
        } else {
            let done = self.backend.update_areas(0, &vec![Area::default(); count], &vec![0; count]);
            if done? as usize != count {
                return Err(Errno::ENOMEM);
            }
            self.registered.draining = true;
        }
        for key in std::mem::take(&mut self.registered.keys) {
            self.registered.promise(key);
        }
        self.registered.areas = None;
        self.end_draining();
        Ok(())
    }

    /// Shares the buffers of another context of this thread.
    pub(crate) fn clone_buffers(&mut self, source: &mut Engine) -> Result<(), Errno> {
        let areas = source.registered.areas.clone().ok_or(Errno::ENXIO)?;
        self.make_room_for_table()?;
        self.backend.clone_areas(&mut source.backend)?;
        self.registered.keys = vec![0; areas.len()];
        self.registered.areas = Some(areas);
        self.registered.callback = source.registered.callback;
        Ok(())
    }

    /// Whether vectors of registered buffer `index` must be transferred as if it were none, by a
    /// ring before Linux 6.15; the error if they are not inside.
    pub(crate) fn must_transfer_plainly(
        &self, opcode: Opcode, index: u32, vectors: &[iovec],
    ) -> Result<bool, Errno> {
        if self.backend.supports(opcode as u8) {
            return Ok(false);
        }
        let area = self.registered.areas.as_ref().and_then(|areas| areas.get(index as usize));
        let area = *area.ok_or(Errno::EFAULT)?;
        let inside = vectors_are_inside(vectors, |addr, len| area.holds(addr, len));
        if inside && !area.is_none() { Ok(true) } else { Err(Errno::EFAULT) }
    }

    /// A key has come back: nothing uses its buffer any more.
    pub(crate) fn released(&mut self, key: u32) {
        let Some(release) = self.registered.releases.get_mut(key as usize) else { return };
        if release.tag == 0 {
            self.registered.releases.remove(key as usize);
            self.end_draining();
        } else if !release.queued {
            release.queued = true;
            self.ready.push_back(Ready { index: RELEASE, result: key as i32, flags: 0 });
        }
    }

    /// Gives the emptied table up when no operation uses it.
    fn end_draining(&mut self) {
        let waits = self.registered.releases.iter().any(|(_, release)| !release.queued);
        if self.registered.draining && !waits {
            self.registered.draining = false;
            // Nothing uses it, so that this does not wait, and there is one.
            let _ = self.backend.unregister_areas();
        }
    }

    /// The call by which a caller is told.
    pub(crate) fn end_release(&mut self, ready: Ready) -> Option<Delivery> {
        let release = self.registered.releases.try_remove(ready.result as usize)?;
        self.registered.promised -= u32::from(release.promised);
        self.end_draining();
        let callback = release.callback;
        if self.mute || (self.destroying && callback == REAP) {
            return None;
        }
        let result = if ready.flags & ABORTED != 0 { Errno::ECANCELED.status() } else { 0 };
        Some(Delivery {
            callback,
            user_data: release.tag as usize,
            id: 0,
            result,
            flags: ready.flags,
            extra: 0,
            moved: None,
            brings: Brings::Nothing,
            arrival: None,
        })
    }

    /// The context is being destroyed: every caller is told.
    pub(crate) fn give_up_buffers(&mut self) {
        if self.registered.areas.is_some() && self.unregister_buffers().is_err() {
            self.give_up_releases();
        }
    }

    /// What the backend will never say.
    pub(crate) fn give_up_releases(&mut self) {
        self.registered.areas = None;
        self.registered.keys.clear();
        for (key, release) in &mut self.registered.releases {
            if release.tag != 0 && !release.queued {
                release.queued = true;
                self.registered.promised += u32::from(!release.promised);
                release.promised = true;
                let flags = ABORTED;
                self.ready.push_back(Ready { index: RELEASE, result: key as i32, flags });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cancel::WAKE;

    #[test]
    fn keys_are_told_from_everything_else() {
        assert_eq!(key_of(tags_of(&[8])[0]), Some(7));
        assert_eq!(key_of(tags_of(&[KEYS_MAX as u32])[0]), Some(KEYS_MAX as u32 - 1));
        for other in [0, WAKE, INTERNAL, INTERNAL | 1, INTERNAL | 2, INTERNAL | 1 << 24 | 1 << 22] {
            assert_eq!(key_of(other), None);
        }
        assert_eq!(tags_of(&[0]), [0]);
    }

    #[test]
    fn an_area_holds_what_is_inside_and_no_more() {
        let area = Area { addr: 4096, len: 100 };
        assert!(area.holds(4096, 100) && area.holds(4196, 0) && area.holds(4100, 3));
        assert!(!area.holds(4095, 2) && !area.holds(4196, 1) && !area.holds(4097, u64::MAX));
        assert!(!Area::default().holds(0, 0));
    }
}
