//! One pool of buffers: which are offered to the backend, which are held, and how much of each is
//! used. Hides how pieces of buffers are counted, and that a completion names its first buffer
//! only. What a pool means to operations is in `buffers.rs`.

use crate::engine::bundles::Outbox;
use crate::engine::interface_queue::Area;
use crate::engine::lease_table::Piece;
use crate::engine::leases::Shared;
use crate::engine::probe::Refused;
use crate::sys::buffer_ring::{BufferRing, ENTRIES_MAX, Offer};
use crate::sys::entry::{Cqe, Peeked, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::memory::Region;
use crate::sys::message;
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a pool is made with; all are set.
#[derive(Clone, Copy)]
pub(crate) struct PoolOptions {
    pub count: u32,
    pub buffer_size: u32,
    pub count_max: u32,
    pub low_water: u32,
    pub on_low_water: Option<Callee>,
    pub incremental: bool,
    pub bundles: bool,
    pub huge: bool,
    /// Buffers are filled by the caller and sent.
    pub sends: bool,
}

impl PoolOptions {
    pub(super) fn check(&self) -> Result<(), Errno> {
        let is_counted = self.count != 0 && self.count <= self.count_max;
        if is_counted && self.count_max <= ENTRIES_MAX && self.buffer_size <= i32::MAX as u32 {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }
}

pub(crate) type Callee = (unsafe extern "C-unwind" fn(*mut c_void), *mut c_void);

/// Buffers begin at multiples of this, or of their size if that is smaller.
const ALIGNMENT: u32 = 64;

pub(super) struct Buffer {
    pub(super) address: NonNull<u8>,
    /// How much of it was used.
    filled: u32,
    /// Pieces that are held.
    pub(super) holds: u32,
    /// Where in the ring it is, or was.
    position: u16,
    /// The next one of the same completion.
    next: u16,
    pub(super) offered: bool,
}

pub(super) struct Pool {
    pub(super) shared: Arc<Shared>,
    pub(super) options: PoolOptions,
    pub(super) ring: BufferRing,
    /// Its buffers are a card's: the ring and what follows lie idle.
    pub(super) area: Option<Box<Area>>,
    /// Why they are not, though asked for.
    pub(super) unserved: Option<Refused>,
    pub(super) buffers: Vec<Buffer>,
    /// Which buffer is at a position of the ring.
    order: Vec<u16>,
    tail: u16,
    /// Offered, and not known to be used up.
    pub(super) free: u32,
    /// How many of them were offered in the current period, or in the one that is named; of a
    /// card's, how many the kernel may have got in it.
    pub(super) fresh: u32,
    pub(super) period: u32,
    /// Numbers of leases that nobody has.
    pub(super) spare: Vec<u32>,
    pub(super) leased: u32,
    /// Operations that wait for a buffer, by id; some may have ended.
    pub(super) paused: VecDeque<u64>,
    /// The same for those that were refused one, before it is known what that meant.
    pub(super) refused: Vec<u64>,
    /// Operations in flight that take buffers here.
    pub(super) users: u32,
    /// Some of its memory may be in huge pages.
    pub(super) is_huge: bool,
    /// Below its low-water mark.
    pub(super) low: bool,
    /// A call of `on_low_water` is under way.
    pub(super) low_is_told: bool,
    pub(super) pauses: u64,
    pub(super) low_waters: u64,
    /// Of a pool whose buffers are sent.
    pub(super) outbox: Option<Outbox>,
}

/// Data that a completion has brought, in the buffers of its pool.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub group: u16,
    pub first: u16,
    pub offset: u32,
    pub len: u32,
    /// Of a message: where its control data begins, which may bring descriptors. 0: no message.
    pub control_at: u32,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Pool {
    /// A pool without buffers.
    pub(super) fn create(shared: Arc<Shared>, options: PoolOptions, ring: BufferRing) -> Pool {
        Pool {
            shared,
            outbox: options.sends.then(Outbox::default),
            options,
            order: vec![0; ring.entries() as usize],
            ring,
            area: None,
            unserved: None,
            buffers: Vec::new(),
            tail: 0,
            free: 0,
            fresh: 0,
            period: 0,
            spare: Vec::new(),
            leased: 0,
            paused: VecDeque::new(),
            refused: Vec::new(),
            users: 0,
            is_huge: false,
            low: false,
            low_is_told: false,
            pauses: 0,
            low_waters: 0,
        }
    }

    /// A pool of what a card puts into `region`.
    pub(super) fn of_area(
        shared: Arc<Shared>, options: PoolOptions, area: Area, region: Region,
    ) -> Result<Pool, Errno> {
        let mut pool = Pool::create(shared, options, BufferRing::create(1)?);
        pool.is_huge = region.is_huge();
        pool.shared.keep(region);
        pool.free = area.free();
        pool.area = Some(Box::new(area));
        Ok(pool)
    }

    pub(super) fn count(&self) -> u32 {
        self.area.as_ref().map_or(self.buffers.len() as u32, |area| area.chunks())
    }

    /// How many operations would find a buffer.
    #[inline(always)]
    pub(super) fn usable(&self) -> u32 {
        self.area.as_ref().map_or(self.free, |area| area.usable())
    }

    /// Adds buffers of fresh memory.
    pub(super) fn grow(&mut self, count: u32) -> Result<(), Errno> {
        let room = self.options.count_max - self.count();
        if count == 0 || count > room {
            return Err(if count == 0 { Errno::EINVAL } else { Errno::ENOSPC });
        }
        let alignment = self.options.buffer_size.next_power_of_two().min(ALIGNMENT);
        let stride = self.options.buffer_size.next_multiple_of(alignment) as usize;
        let len = stride.checked_mul(count as usize).and_then(usize::checked_next_power_of_two);
        let len = len.ok_or(Errno::ENOMEM)?.max(4096);
        self.buffers.try_reserve(count as usize).map_err(|_| Errno::ENOMEM)?;
        let region = Region::create(len, self.options.huge)?;
        for index in 0..count as usize {
            // SAFETY: inside the region, which is `stride * count` bytes at least.
            let address = unsafe { region.base::<u8>().add(index * stride) };
            let buffer =
                Buffer { address, filled: 0, holds: 0, position: 0, next: 0, offered: false };
            self.buffers.push(buffer);
            self.offer(self.buffers.len() - 1);
        }
        self.is_huge |= region.is_huge();
        self.shared.keep(region);
        Ok(())
    }

    /// Offers a buffer that nobody holds.
    pub(super) fn offer(&mut self, index: usize) {
        if self.outbox.is_some() {
            return self.keep_empty(index);
        }
        let buffer = &mut self.buffers[index];
        buffer.filled = 0;
        buffer.offered = true;
        buffer.position = self.tail;
        let mask = self.order.len() - 1;
        self.order[usize::from(self.tail) & mask] = index as u16;
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
        self.fresh = self.fresh.saturating_add(1);
        self.low &= self.free < self.options.low_water;
        self.ring.push(Offer {
            addr: buffer.address.as_ptr() as u64,
            len: self.options.buffer_size,
            id: index as u16,
        });
    }

    /// The same where buffers are sent.
    #[cold]
    #[inline(never)]
    fn keep_empty(&mut self, index: usize) {
        self.free += 1;
        if let Some(outbox) = &mut self.outbox {
            outbox.add_empty(index as u16);
        }
    }

    /// Gives up a piece of a buffer.
    #[inline(always)]
    pub(super) fn let_go(&mut self, index: u32) {
        let Some(buffer) = self.buffers.get_mut(index as usize) else { return };
        buffer.holds -= 1;
        if buffer.holds == 0 && !buffer.offered {
            self.offer(index as usize);
        }
    }

    /// Takes back what other threads have released.
    pub(super) fn take_released(&mut self) {
        if self.shared.leases.has_released() {
            self.take_all_released();
        }
    }

    /// The same in the way that a pool which waits for buffers must look.
    pub(super) fn take_all_released(&mut self) {
        let shared = self.shared.clone();
        shared.leases.take_released(|lease, piece| self.take_back(lease, piece));
    }

    pub(super) fn take_back(&mut self, lease: u32, piece: Piece) {
        self.spare.push(lease);
        self.leased -= 1;
        self.give_back(piece);
    }

    /// Gives up a piece that was held.
    #[inline(always)]
    fn give_back(&mut self, piece: Piece) {
        let Some(area) = &mut self.area else { return self.let_go(piece.buffer) };
        if area.give_back(piece) {
            self.free = area.free();
            self.fresh = self.fresh.saturating_add(u32::from(area.takes_when_it_likes()));
            self.low &= self.free < self.options.low_water;
        }
    }

    /// Leases a held piece; its hold goes with it.
    #[inline(always)]
    pub(super) fn lease(&mut self, piece: Piece) -> Result<i64, Errno> {
        loop {
            if self.spare.is_empty() {
                self.spare.extend(self.shared.leases.grow()?.rev());
            }
            let index = self.spare.pop().ok_or(Errno::ENOMEM)?;
            if let Some(id) = self.shared.issue(index, piece) {
                self.leased += 1;
                return Ok(id);
            }
        }
    }

    /// For tests: so many leases can still be had, and no memory for more.
    #[cfg(test)]
    pub(super) fn leave_leases(&mut self, count: usize) {
        self.spare = self.shared.leases.grow().map(Iterator::collect).unwrap_or_default();
        self.spare.truncate(count);
        self.shared.leases.run_out();
    }

    /// The same as `note` and `pieces` for a completion that has used one buffer up. None, and
    /// nothing is done: there is more to it.
    #[inline(always)]
    pub(super) fn use_one(&mut self, cqe: Peeked) -> Option<Piece> {
        let index = cqe.flags() >> cqe_flags::BUFFER_SHIFT;
        let is_odd = self.options.incremental
            | self.options.bundles
            | (self.free <= self.options.low_water)
            | self.shared.leases.has_released();
        let buffer = self.buffers.get_mut(index as usize)?;
        let len = cqe.result() as u32;
        if is_odd || len > self.options.buffer_size {
            return None;
        }
        buffer.filled = len;
        buffer.holds = 1;
        buffer.offered = false;
        self.free -= 1;
        Some(Piece { data: buffer.address, len, buffer: index })
    }

    /// Accounts for the buffers of a completion, in the order in which they were used. Returns
    /// where in the first one the data begins.
    pub(super) fn note(&mut self, cqe: &Cqe) -> u32 {
        let mut index = (cqe.flags >> cqe_flags::BUFFER_SHIFT) as u16;
        let mut left = cqe.result.max(0) as u32;
        let stays = self.options.incremental && cqe.flags & cqe_flags::BUFFER_MORE != 0;
        let offset = self.buffers.get(usize::from(index)).map_or(0, |buffer| buffer.filled);
        if !self.options.bundles {
            left = left.min(self.options.buffer_size - offset);
        }
        while let Some(buffer) = self.buffers.get_mut(usize::from(index)) {
            let part = left.min(self.options.buffer_size - buffer.filled);
            left -= part;
            buffer.filled += part;
            buffer.holds += 1;
            if left == 0 && stays {
                break;
            }
            buffer.offered = false;
            self.free -= 1;
            if left == 0 || part == 0 {
                break;
            }
            let next = usize::from(buffer.position.wrapping_add(1)) & (self.order.len() - 1);
            buffer.next = self.order[next];
            index = buffer.next;
        }
        offset
    }

    /// The pieces of an arrival, in order.
    pub(super) fn pieces(&self, arrival: Arrival, mut found: impl FnMut(Piece)) {
        let Arrival { first, mut offset, len: mut left, .. } = arrival;
        if let Some(area) = &self.area {
            return found(area.piece(offset, left));
        }
        let mut index = usize::from(first);
        if !self.options.bundles {
            left = left.min(self.options.buffer_size - offset);
        }
        loop {
            let Some(buffer) = self.buffers.get(index) else { return };
            let len = left.min(self.options.buffer_size - offset);
            // SAFETY: `offset` is inside the buffer.
            let data = unsafe { buffer.address.add(offset as usize) };
            found(Piece { data, len, buffer: index as u32 });
            left -= len;
            if left == 0 || len == 0 {
                return;
            }
            offset = 0;
            index = usize::from(buffer.next);
        }
    }

    /// Gives up pieces that nobody wants.
    pub(super) fn drop_pieces(&mut self, control_at: u32, pieces: &mut VecDeque<Piece>) {
        while let Some(piece) = pieces.pop_front() {
            self.drop_piece(control_at, piece);
        }
    }

    /// Gives up a piece, and the descriptors that a message brings in it.
    #[inline(always)]
    pub(super) fn drop_piece(&mut self, control_at: u32, piece: Piece) {
        if control_at != 0 {
            // SAFETY: the kernel wrote a message into the buffer, which is held.
            unsafe { message::close_passed_in_buffer(piece.data, control_at) };
        }
        self.give_back(piece);
    }

    /// With every completion taken in that was made before now: whether the backend found no buffer
    /// since the last such moment. Else some are left of those that were offered before. Asked once
    /// for all operations that were refused one.
    pub(super) fn was_dry(&mut self) -> bool {
        let fresh = self.fresh;
        self.area.as_mut().map_or(self.free <= fresh, |area| area.was_dry(fresh))
    }

    /// What the backend says when it finds no buffer.
    pub(super) fn refusal(&self) -> Errno {
        if self.area.is_none() { Errno::ENOBUFS } else { Errno::ENOMEM }
    }

    /// Whether many of the paused operations may have ended since.
    pub(super) fn is_crowded(&self) -> bool {
        self.paused.len() > 2 * self.users as usize + 16
    }

    /// Of an arrival that is a message of no bytes: whether it has a sender's name.
    pub(super) fn empty_message(&self, arrival: Arrival) -> Option<bool> {
        let mut is_named = None;
        if arrival.control_at != 0 {
            self.pieces(arrival, |piece| {
                // SAFETY: the kernel wrote a message into the buffer, which is held.
                let head = unsafe { message::message_out(piece.data) };
                is_named = (head.payload_len == 0).then_some(head.name_len != 0);
            });
        }
        is_named
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::handle::Handle;
    use crate::engine::{Choice, ContextOptions};

    fn pool(count: u32, buffer_size: u32, incremental: bool, bundles: bool) -> Pool {
        let options = ContextOptions { backend: Choice::Epoll, ..ContextOptions::default() };
        // Of a context that is never used, nor freed.
        let handle = Box::leak(Handle::create(&options).unwrap());
        let shared = Arc::new(Shared::create(handle, 0, bundles, incremental, false));
        let options = PoolOptions {
            count,
            buffer_size,
            count_max: 8,
            low_water: 0,
            on_low_water: None,
            incremental,
            bundles,
            huge: false,
            sends: false,
        };
        let mut pool = Pool::create(shared, options, BufferRing::create(8).unwrap());
        pool.grow(count).unwrap();
        pool
    }

    fn completion(buffer: u32, result: i32, more: u32) -> Cqe {
        let flags = cqe_flags::BUFFER | more | buffer << cqe_flags::BUFFER_SHIFT;
        Cqe { user_data: 1, result, flags, extra: 0 }
    }

    /// Notes a completion; its pieces as buffer, offset in it, length.
    fn arrive(pool: &mut Pool, cqe: &Cqe) -> Vec<(u32, usize, u32)> {
        let offset = pool.note(cqe);
        let first = (cqe.flags >> cqe_flags::BUFFER_SHIFT) as u16;
        let len = cqe.result.max(0) as u32;
        let mut pieces = Vec::new();
        pool.pieces(Arrival { group: 0, first, offset, len, control_at: 0 }, |piece| {
            let buffer = &pool.buffers[piece.buffer as usize];
            let at = piece.data.as_ptr() as usize - buffer.address.as_ptr() as usize;
            pieces.push((piece.buffer, at, piece.len));
        });
        pieces
    }

    #[test]
    fn a_bundle_goes_on_in_the_buffers_that_were_offered_next() {
        let mut pool = pool(4, 16, false, true);
        assert_eq!(arrive(&mut pool, &completion(0, 40, 0)), [(0, 0, 16), (1, 0, 16), (2, 0, 8)]);
        assert_eq!(pool.free, 1);
        // They come back in another order, and are used in that.
        [2, 0, 1].into_iter().for_each(|buffer| pool.let_go(buffer));
        assert_eq!(arrive(&mut pool, &completion(3, 20, 0)), [(3, 0, 16), (2, 0, 4)]);
        assert_eq!(arrive(&mut pool, &completion(0, 32, 0)), [(0, 0, 16), (1, 0, 16)]);
        assert_eq!(pool.free, 0);
    }

    #[test]
    fn a_buffer_that_is_used_piece_by_piece_is_free_when_no_piece_is_held() {
        const MORE: u32 = cqe_flags::BUFFER_MORE;
        let mut pool = pool(2, 16, true, false);
        assert_eq!(arrive(&mut pool, &completion(0, 5, MORE)), [(0, 0, 5)]);
        pool.let_go(0);
        assert_eq!(arrive(&mut pool, &completion(0, 5, MORE)), [(0, 5, 5)]);
        assert_eq!(pool.free, 2);
        assert_eq!(arrive(&mut pool, &completion(0, 6, 0)), [(0, 10, 6)]);
        assert_eq!(pool.free, 1);
        pool.let_go(0);
        assert_eq!(pool.free, 1);
        pool.let_go(0);
        assert_eq!(pool.free, 2);
        assert_eq!(arrive(&mut pool, &completion(1, 16, 0)), [(1, 0, 16)]);
        assert_eq!(arrive(&mut pool, &completion(0, 1, MORE)), [(0, 0, 1)]);
    }

    #[test]
    fn a_buffer_that_a_failure_brings_is_held_until_it_is_let_go() {
        let mut pool = pool(2, 16, false, false);
        assert_eq!(arrive(&mut pool, &completion(1, Errno::ECANCELED.status(), 0)), [(1, 0, 0)]);
        assert_eq!(pool.free, 1);
        pool.let_go(1);
        assert_eq!(pool.free, 2);
    }

    #[test]
    fn a_result_longer_than_its_buffer_is_cut_where_there_are_no_bundles() {
        let mut pool = pool(2, 16, false, false);
        assert_eq!(arrive(&mut pool, &completion(0, 40, 0)), [(0, 0, 16)]);
        assert_eq!(pool.free, 1);
    }
}
