//! Buffer pools: memory that receives take a buffer of only when data is there, so that thousands
//! of idle connections share a few. Free buffers are offered to the backend in a ring; a completion
//! says which it has used, in whole or in part, and the caller leases what it wants to keep
//! (`leases.rs`). A buffer is offered again when nobody holds a piece of it.
//!
//! An operation that finds the ring empty is paused: to its caller it goes on. It is armed again
//! when buffers have come back, no more operations in a turn than there are buffers, so that an
//! empty pool costs nothing while it is empty.

use crate::engine::Engine;
use crate::engine::handle::Handle;
use crate::engine::leases::{Piece, Shared};
use crate::engine::mailbox::{Batch, Message};
use crate::engine::slots::{phase, state};
use crate::sys::buffer_ring::{BufferRing, ENTRIES_MAX};
use crate::sys::entry::{Cqe, Opcode, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::memory::Region;
use crate::sys::message;
use slab::Slab;
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
}

pub(crate) type Callee = (unsafe extern "C-unwind" fn(*mut c_void), *mut c_void);

/// What a pool says of itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct PoolInfo {
    pub count: u32,
    pub count_max: u32,
    pub buffer_size: u32,
    pub free: u32,
    pub leased: u32,
    pub paused: u32,
    pub operations: u32,
    pub incremental: bool,
    pub bundles: bool,
    pub huge: bool,
    pub pauses: u64,
    pub low_waters: u64,
}

/// Buffers begin at multiples of this, or of their size if that is smaller.
const ALIGNMENT: u32 = 64;

struct Buffer {
    address: NonNull<u8>,
    /// How much of it was used.
    filled: u32,
    /// Pieces that are held.
    holds: u32,
    /// Where in the ring it is, or was.
    position: u16,
    /// The next one of the same completion.
    next: u16,
    offered: bool,
}

struct Pool {
    shared: Arc<Shared>,
    options: PoolOptions,
    ring: BufferRing,
    buffers: Vec<Buffer>,
    /// Which buffer is at a position of the ring.
    order: Vec<u16>,
    tail: u16,
    /// Offered, and not known to be used up.
    free: u32,
    /// How many of them were offered in the current period, or in the one that is named.
    fresh: u32,
    period: u32,
    /// Numbers of leases that nobody has.
    spare: Vec<u32>,
    leased: u32,
    /// Operations that wait for a buffer, by id; some may have ended.
    paused: VecDeque<u64>,
    /// Operations in flight that take buffers here.
    users: u32,
    /// Some of its memory may be in huge pages.
    is_huge: bool,
    /// Below its low-water mark.
    low: bool,
    /// A call of `on_low_water` is under way.
    low_is_told: bool,
    pauses: u64,
    low_waters: u64,
}

/// Pieces that the current completion has brought and nobody has leased yet.
#[derive(Default)]
pub(crate) struct Pending {
    group: u16,
    control_at: u32,
    pieces: VecDeque<Piece>,
}

impl Pending {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Data that a completion has brought, in the buffers of its pool.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub group: u16,
    first: u16,
    offset: u32,
    len: u32,
    /// Of a message: where its control data begins, which may bring descriptors. 0: no message.
    pub control_at: u32,
}

#[derive(Default)]
pub(crate) struct Pools {
    pools: Slab<Pool>,
    /// Groups with paused operations.
    hungry: Vec<u16>,
    /// Counts the moments at which no completion waited to be taken in. What is taken in now was
    /// made after the last of them, when the backend knew of every buffer offered before it.
    period: u32,
    /// Room for the pieces of what nobody waits for.
    unwanted: VecDeque<Piece>,
}

impl Pools {
    #[inline(always)]
    pub(crate) fn are_quiet(&self) -> bool {
        self.hungry.is_empty()
    }

    /// The pool, which then knows the current period.
    fn get(&mut self, group: u16) -> Option<&mut Pool> {
        let pool = self.pools.get_mut(usize::from(group))?;
        if pool.period != self.period {
            (pool.period, pool.fresh) = (self.period, 0);
        }
        Some(pool)
    }

    /// No completion waits to be taken in.
    #[inline(always)]
    pub(crate) fn begin_period(&mut self) {
        self.period = self.period.wrapping_add(1);
    }

    /// Whether paused operations could be armed.
    pub(crate) fn can_resume(&self) -> bool {
        self.hungry.iter().any(|&group| self.pools[usize::from(group)].free != 0)
    }

    pub(crate) fn takes_bundles(&self, group: u16) -> bool {
        self.pools.get(usize::from(group)).is_some_and(|pool| pool.options.bundles)
    }

    /// Whether an armed operation would find a buffer.
    pub(crate) fn has_free(&self, group: u16) -> bool {
        self.pools.get(usize::from(group)).is_some_and(|pool| pool.free != 0)
    }

    pub(crate) fn add_user(&mut self, group: u16) {
        if let Some(pool) = self.get(group) {
            pool.users += 1;
        }
    }

    pub(crate) fn remove_user(&mut self, group: u16) {
        if let Some(pool) = self.get(group) {
            pool.users -= 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Pool {
    /// Adds buffers of fresh memory.
    fn grow(&mut self, count: u32) -> Result<(), Errno> {
        let room = self.options.count_max - self.buffers.len() as u32;
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
    fn offer(&mut self, index: usize) {
        let buffer = &mut self.buffers[index];
        buffer.filled = 0;
        buffer.offered = true;
        buffer.position = self.tail;
        let mask = self.order.len() - 1;
        self.order[usize::from(self.tail) & mask] = index as u16;
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
        self.fresh += 1;
        self.low &= self.free < self.options.low_water;
        self.ring.push(crate::sys::buffer_ring::Offer {
            addr: buffer.address.as_ptr() as u64,
            len: self.options.buffer_size,
            id: index as u16,
        });
    }

    /// Gives up a piece of a buffer.
    fn let_go(&mut self, index: u32) {
        let Some(buffer) = self.buffers.get_mut(index as usize) else { return };
        buffer.holds -= 1;
        if buffer.holds == 0 && !buffer.offered {
            self.offer(index as usize);
        }
    }

    /// Takes back what other threads have released.
    fn take_released(&mut self) {
        if !self.shared.has_released() {
            return;
        }
        let shared = self.shared.clone();
        shared.take_released(|lease, buffer| self.take_back(lease, buffer));
    }

    fn take_back(&mut self, lease: u32, buffer: u32) {
        self.spare.push(lease);
        self.leased -= 1;
        self.let_go(buffer);
    }

    /// Leases a held piece; its hold goes with it.
    fn lease(&mut self, piece: Piece) -> Result<i64, Errno> {
        loop {
            if self.spare.is_empty() {
                self.spare.extend(self.shared.grow()?.rev());
            }
            let index = self.spare.pop().ok_or(Errno::ENOMEM)?;
            if let Some(id) = self.shared.issue(index, piece) {
                self.leased += 1;
                return Ok(id);
            }
        }
    }

    /// Accounts for the buffers of a completion, in the order in which they were used. Returns where
    /// in the first one the data begins.
    fn note(&mut self, cqe: &Cqe) -> u32 {
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
    fn pieces(&self, arrival: Arrival, mut found: impl FnMut(Piece)) {
        let Arrival { first, mut offset, len: mut left, .. } = arrival;
        let mut index = usize::from(first);
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

    /// Gives up pieces that nobody wants, and the descriptors that a message brings.
    fn drop_pieces(&mut self, control_at: u32, pieces: &mut VecDeque<Piece>) {
        while let Some(piece) = pieces.pop_front() {
            if control_at != 0 {
                // SAFETY: the kernel wrote a message into the buffer, which is held.
                unsafe { message::close_passed_in_buffer(piece.data, control_at) };
            }
            self.let_go(piece.buffer);
        }
    }

    /// Whether many of the paused operations may have ended since.
    fn is_crowded(&self) -> bool {
        self.paused.len() > 2 * self.users as usize + 16
    }
}

impl Engine {
    /// Makes a pool and its first buffers.
    pub(crate) fn create_pool(
        &mut self, handle: &Handle, mut options: PoolOptions,
    ) -> Result<Arc<Shared>, Errno> {
        let group = u16::try_from(self.pools.pools.vacant_key()).map_err(|_| Errno::ENOSPC)?;
        if options.count == 0 || options.count > options.count_max {
            return Err(Errno::EINVAL);
        }
        if options.count_max > ENTRIES_MAX || options.buffer_size > i32::MAX as u32 {
            return Err(Errno::EINVAL);
        }
        let entries = options.count_max.next_power_of_two();
        options.bundles &= self.backend.has_bundles();
        let ring = BufferRing::create(entries)?;
        let shared = Shared::create(handle, group, options.bundles, options.incremental);
        let shared = Arc::new(shared);
        options.incremental = self.backend.register_buffers(group, &ring, options.incremental)?;
        let count = options.count;
        let mut pool = Pool {
            shared: shared.clone(),
            options,
            order: vec![0; ring.entries() as usize],
            ring,
            buffers: Vec::new(),
            tail: 0,
            free: 0,
            fresh: 0,
            period: self.pools.period,
            spare: Vec::new(),
            leased: 0,
            paused: VecDeque::new(),
            users: 0,
            is_huge: false,
            low: false,
            low_is_told: false,
            pauses: 0,
            low_waters: 0,
        };
        if let Err(errno) = pool.grow(count) {
            self.backend.unregister_buffers(group);
            return Err(errno);
        }
        self.pools.pools.insert(pool);
        Ok(shared)
    }

    fn own_pool(&mut self, shared: &Shared) -> Result<&mut Pool, Errno> {
        let pool = self.pools.get(shared.group).ok_or(Errno::EINVAL)?;
        if std::ptr::eq(Arc::as_ptr(&pool.shared), shared) { Ok(pool) } else { Err(Errno::EINVAL) }
    }

    pub(crate) fn grow_pool(&mut self, shared: &Shared, count: u32) -> Result<(), Errno> {
        self.own_pool(shared)?.grow(count)
    }

    pub(crate) fn pool_info(&mut self, shared: &Shared) -> Result<PoolInfo, Errno> {
        let slots = &self.slots;
        let pool = self.pools.get(shared.group).ok_or(Errno::EINVAL)?;
        pool.take_released();
        let paused = pool.paused.iter().filter(|&&id| slots.find(id).is_some()).count();
        Ok(PoolInfo {
            count: pool.buffers.len() as u32,
            count_max: pool.options.count_max,
            buffer_size: pool.options.buffer_size,
            free: pool.free,
            leased: pool.leased,
            paused: paused as u32,
            operations: pool.users,
            incremental: pool.options.incremental,
            bundles: pool.options.bundles,
            huge: pool.is_huge,
            pauses: pool.pauses,
            low_waters: pool.low_waters,
        })
    }

    /// Ends a pool; its memory stays while there are leases.
    pub(crate) fn remove_pool(&mut self, shared: &Shared) -> Result<(), Errno> {
        let pool = self.own_pool(shared)?;
        if pool.users != 0 || (!self.pending.is_empty() && self.pending.group == shared.group) {
            return Err(Errno::EBUSY);
        }
        self.backend.unregister_buffers(shared.group);
        self.pools.hungry.retain(|&group| group != shared.group);
        self.pools.pools.remove(usize::from(shared.group));
        Ok(())
    }

    /// Takes an ended lease back at once; false if the pool is not, or not any more, ours.
    pub(crate) fn take_back(&mut self, shared: &Shared, lease: u32) -> bool {
        let buffer = shared.buffer_of(lease);
        let Ok(pool) = self.own_pool(shared) else { return false };
        pool.take_back(lease, buffer);
        true
    }

    // --- completions -------------------------------------------------------------------------

    /// The pool that an operation takes its buffers from.
    #[inline(always)]
    pub(crate) fn group(&self, index: u32) -> Option<u16> {
        let slot = self.slots.at(index);
        let pool = if slot.has(state::COLD) {
            self.cold.get(slot).map_or(0, |cold| cold.pool)
        } else {
            slot.cold
        };
        pool.checked_sub(1).map(|group| group as u16)
    }

    /// Accounts for what a completion has brought, once, before any later one.
    pub(crate) fn note_buffers(&mut self, index: u32, cqe: &mut Cqe) {
        if cqe.flags & (cqe_flags::BUFFER | cqe_flags::NOTED) != cqe_flags::BUFFER {
            return;
        }
        let Some(group) = self.group(index) else { return };
        let Some(pool) = self.pools.get(group) else { return };
        cqe.extra = pool.note(cqe).into();
        cqe.flags |= cqe_flags::NOTED;
        pool.take_released();
        if pool.free < pool.options.low_water && !pool.low {
            pool.low = true;
            pool.low_waters += 1;
            if pool.options.on_low_water.is_some() && !pool.low_is_told {
                pool.low_is_told = true;
                self.inbox.append(Batch::of(Message::LowWater(group)));
            }
        }
    }

    /// What is to be called, now that a pool has run low: nothing if it was destroyed since.
    pub(crate) fn low_water(&mut self, group: u16) -> Option<Callee> {
        let pool = self.pools.get(group)?;
        if std::mem::take(&mut pool.low_is_told) { pool.options.on_low_water } else { None }
    }

    /// What a noted completion has brought.
    pub(crate) fn arrival(&self, index: u32, cqe: &Cqe) -> Option<Arrival> {
        let group = self.group(index)?;
        if cqe.flags & cqe_flags::NOTED == 0 {
            return None;
        }
        let slot = self.slots.at(index);
        let is_message = slot.opcode() == Opcode::IORING_OP_RECVMSG as u8;
        let header = if is_message { self.cold.get(slot)?.copy.as_deref() } else { None };
        Some(Arrival {
            group,
            first: (cqe.flags >> cqe_flags::BUFFER_SHIFT) as u16,
            offset: cqe.extra as u32,
            len: cqe.result.max(0) as u32,
            control_at: header.map_or(0, message::control_at),
        })
    }

    /// Whether an arrival is a message of no bytes.
    pub(crate) fn is_empty_message(&mut self, arrival: Arrival) -> bool {
        let mut empty = false;
        if arrival.control_at != 0
            && let Some(pool) = self.pools.get(arrival.group)
        {
            // SAFETY: the kernel wrote a message into the buffer, which is held.
            pool.pieces(arrival, |piece| unsafe {
                empty = message::message_out(piece.data).payload_len == 0;
            });
        }
        empty
    }

    /// Gives the buffers of an arrival back that nobody is told of.
    pub(crate) fn drop_arrival(&mut self, arrival: Arrival) {
        let mut pieces = std::mem::take(&mut self.pools.unwanted);
        if let Some(pool) = self.pools.get(arrival.group) {
            pool.pieces(arrival, |piece| pieces.push_back(piece));
            pool.drop_pieces(arrival.control_at, &mut pieces);
        }
        self.pools.unwanted = pieces;
    }

    /// Lets the callback that is about to run lease what has arrived.
    pub(crate) fn open_arrival(&mut self, arrival: Arrival) {
        self.pending.group = arrival.group;
        self.pending.control_at = arrival.control_at;
        let pieces = &mut self.pending.pieces;
        if let Some(pool) = self.pools.get(arrival.group) {
            pool.pieces(arrival, |piece| pieces.push_back(piece));
        }
    }

    /// Leases the next piece of what has arrived; None: there is no more.
    pub(crate) fn take_piece(&mut self) -> Result<Option<(i64, Piece)>, Errno> {
        let Some(&piece) = self.pending.pieces.front() else { return Ok(None) };
        let pool = self.pools.get(self.pending.group).ok_or(Errno::ENOENT)?;
        let id = pool.lease(piece)?;
        self.pending.pieces.pop_front();
        Ok(Some((id, piece)))
    }

    /// The pool of what has arrived.
    pub(crate) fn pending_pool(&mut self) -> Option<Arc<Shared>> {
        self.pools.get(self.pending.group).map(|pool| pool.shared.clone())
    }

    /// The callback has returned: what it has not leased goes back.
    #[inline(always)]
    pub(crate) fn close_arrival(&mut self) {
        if !self.pending.is_empty() {
            self.give_pending_back();
        }
    }

    #[inline(never)]
    fn give_pending_back(&mut self) {
        let Some(pool) = self.pools.get(self.pending.group) else { return };
        pool.drop_pieces(self.pending.control_at, &mut self.pending.pieces);
    }

    // --- pauses ------------------------------------------------------------------------------

    /// An operation found no buffer. False, and nothing is done: the refusal is its file's own.
    pub(crate) fn pause_if_dry(&mut self, index: u32, group: u16) -> bool {
        let Some(pool) = self.pools.get(group) else { return false };
        // All that was used before is accounted for: had the ring been empty, nothing would be left
        // but what was offered since.
        if pool.free > pool.fresh {
            return false;
        }
        pool.take_released();
        // Also with buffers that have come back since: others may wait, and all would be refused
        // but a few.
        self.pause(index, group);
        true
    }

    /// Arms an operation again, as soon as there is a buffer.
    pub(crate) fn start_again(&mut self, index: u32, group: u16) {
        if self.pools.has_free(group) {
            self.start(index);
        } else {
            self.pause(index, group);
        }
    }

    /// Keeps an operation until there are buffers.
    pub(crate) fn pause(&mut self, index: u32, group: u16) {
        let id = self.slots.id(index);
        self.slots.at_mut(index).set_phase(phase::HELD);
        self.local += 1;
        let slots = &self.slots;
        let Some(pool) = self.pools.get(group) else { return };
        if pool.is_crowded() {
            pool.paused.retain(|&id| slots.find(id).is_some());
        }
        pool.pauses += 1;
        pool.paused.push_back(id);
        if !self.pools.hungry.contains(&group) {
            self.pools.hungry.push(group);
        }
        self.look_for_buffers(group);
    }

    /// Takes back what was released; if that is nothing, asks to be told of the next release.
    fn look_for_buffers(&mut self, group: u16) {
        let Some(pool) = self.pools.get(group) else { return };
        pool.take_released();
        if pool.free == 0 && !pool.paused.is_empty() {
            pool.shared.set_thirsty(true);
            pool.take_released();
        }
    }

    /// A thread has released a buffer of a thirsty pool.
    pub(crate) fn refill(&mut self, group: u16) {
        self.look_for_buffers(group);
    }

    /// Arms paused operations, as many as there are buffers.
    pub(crate) fn feed_pools(&mut self) {
        let mut position = 0;
        while let Some(&group) = self.pools.hungry.get(position) {
            self.look_for_buffers(group);
            let most = self.pools.pools[usize::from(group)].free;
            let mut armed = 0;
            while armed < most
                && let Some(id) = self.pools.pools[usize::from(group)].paused.pop_front()
            {
                let Some(index) = self.slots.find(id) else { continue };
                if self.slots.at(index).phase() == phase::HELD {
                    armed += 1;
                    self.start(index);
                }
            }
            if self.pools.pools[usize::from(group)].paused.is_empty() {
                self.pools.pools[usize::from(group)].shared.set_thirsty(false);
                self.pools.hungry.swap_remove(position);
            } else {
                position += 1;
            }
        }
    }
}
