//! Buffer pools: memory that receives take a buffer of only when data is there, so that thousands
//! of idle connections share a few. Free buffers are offered to the backend in a ring; a completion
//! says which it has used, in whole or in part, and the caller leases what it wants to keep
//! (`leases.rs`). A buffer is offered again when nobody holds a piece of it.
//!
//! An operation that finds the ring empty is paused (`pauses.rs`): to its caller it goes on.

use crate::engine::Engine;
use crate::engine::buffer_pool::{Arrival, Callee, Pool, PoolOptions};
use crate::engine::bundles::Outbox;
use crate::engine::completion::{Brings, Current, Plain, Record};
use crate::engine::handle::Handle;
use crate::engine::lease_table::Piece;
use crate::engine::leases::{Interface, Shared};
use crate::engine::mailbox::{Batch, Message};
use crate::engine::probe::Refused;
use crate::engine::slots::state;
use crate::op::traits;
use crate::sys::buffer_ring::BufferRing;
use crate::sys::entry::{Cqe, GROUP_FIRST, Opcode, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message;
use slab::Slab;
use std::collections::VecDeque;
use std::ptr::null;
use std::sync::Arc;

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
    pub queued: u32,
    pub sends: bool,
    pub incremental: bool,
    pub bundles: bool,
    pub huge: bool,
    /// Its buffers are a card's.
    pub zero_copy: bool,
    /// Why they are not, though asked for.
    pub unserved: Option<Refused>,
    pub pauses: u64,
    pub low_waters: u64,
}

/// Pieces that the current completion has brought and nobody has leased yet.
#[derive(Default)]
pub(crate) struct Pending {
    group: u16,
    control_at: u32,
    first: Option<Piece>,
    rest: VecDeque<Piece>,
}

impl Pending {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

#[derive(Default)]
pub(crate) struct Pools {
    pub(super) pools: Slab<Pool>,
    /// Groups with paused or refused operations.
    pub(super) hungry: Vec<u16>,
    /// Counts the moments at which no completion waited to be taken in. What is taken in now was
    /// made after the last of them, when the backend knew of every buffer offered before it.
    period: u32,
    /// What is added to `period`; 0 where the backend completes things at any time, so that nothing
    /// can be said.
    step: u32,
    /// Room for the pieces of what nobody waits for.
    unwanted: VecDeque<Piece>,
}

impl Pools {
    /// `polls`: the backend takes entries and completes them while the context's thread is
    /// elsewhere.
    pub(crate) fn new(polls: bool) -> Pools {
        Pools { step: u32::from(!polls), ..Pools::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    #[inline(always)]
    pub(crate) fn are_quiet(&self) -> bool {
        self.hungry.is_empty()
    }

    /// The group that the next pool gets.
    pub(super) fn next_group(&self) -> Result<u16, Errno> {
        let group = u16::try_from(self.pools.vacant_key()).map_err(|_| Errno::ENOSPC)?;
        group.checked_add(GROUP_FIRST).ok_or(Errno::ENOSPC)?;
        Ok(group)
    }

    pub(super) fn insert(&mut self, pool: Pool) {
        self.pools.insert(pool);
    }

    /// The pool, which then knows the current period.
    pub(super) fn get(&mut self, group: u16) -> Option<&mut Pool> {
        let pool = self.pools.get_mut(usize::from(group))?;
        if pool.period != self.period {
            (pool.period, pool.fresh) = (self.period, 0);
        }
        Some(pool)
    }

    pub(super) fn add_hungry(&mut self, group: u16) {
        if !self.hungry.contains(&group) {
            self.hungry.push(group);
        }
    }

    /// No completion waits to be taken in.
    #[inline(always)]
    pub(crate) fn begin_period(&mut self) {
        self.period = self.period.wrapping_add(self.step);
    }

    /// Whether paused operations could be armed.
    pub(crate) fn can_resume(&self) -> bool {
        self.hungry.iter().any(|&group| self.pools[usize::from(group)].usable() != 0)
    }

    pub(crate) fn takes_bundles(&self, group: u16) -> bool {
        self.pools.get(usize::from(group)).is_some_and(|pool| pool.options.bundles)
    }

    /// Whether an armed operation would find a buffer.
    pub(crate) fn has_free(&self, group: u16) -> bool {
        self.pools.get(usize::from(group)).is_some_and(|pool| pool.usable() != 0)
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

impl Engine {
    /// Makes a pool and its first buffers.
    pub(crate) fn create_pool(
        &mut self, handle: &Handle, options: PoolOptions,
    ) -> Result<Arc<Shared>, Errno> {
        self.create_pool_of(handle, options, Interface::Unasked)
    }

    pub(super) fn create_pool_of(
        &mut self, handle: &Handle, mut options: PoolOptions, interface: Interface,
    ) -> Result<Arc<Shared>, Errno> {
        let group = self.pools.next_group()?;
        options.check()?;
        let entries = options.count_max.next_power_of_two();
        options.bundles &= self.backend.has_bundles();
        let ring = BufferRing::create(entries)?;
        let (bundles, incremental) = (options.bundles, options.incremental);
        let mut shared = Shared::create(handle, group, bundles, incremental, options.sends);
        shared.set_interface(interface, None);
        let shared = Arc::new(shared);
        if !options.sends || self.backend.has_bundles() {
            options.incremental = self.backend.register_buffers(group, &ring, incremental)?;
        }
        let count = options.count;
        let mut pool = Pool::create(shared.clone(), options, ring);
        if let Err(errno) = pool.grow(count) {
            self.unregister_pool(group, options.sends);
            return Err(errno);
        }
        self.pools.insert(pool);
        Ok(shared)
    }

    /// Lets the backend forget a pool, if it knows it.
    fn unregister_pool(&mut self, group: u16, sends: bool) {
        if !sends || self.backend.has_bundles() {
            self.backend.unregister_buffers(group);
        }
    }

    pub(super) fn own_pool(&mut self, shared: &Shared) -> Result<&mut Pool, Errno> {
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
        let waiting = pool.paused.iter().chain(&pool.refused);
        let paused = waiting.filter(|&&id| slots.find(id).is_some()).count();
        Ok(PoolInfo {
            count: pool.count(),
            count_max: pool.options.count_max,
            buffer_size: pool.options.buffer_size,
            free: pool.free,
            leased: pool.leased,
            paused: paused as u32,
            operations: pool.users,
            queued: pool.outbox.as_ref().map_or(0, Outbox::len),
            sends: pool.outbox.is_some(),
            incremental: pool.options.incremental,
            bundles: pool.options.bundles,
            huge: pool.is_huge,
            zero_copy: pool.area.is_some(),
            unserved: pool.unserved,
            pauses: pool.pauses,
            low_waters: pool.low_waters,
        })
    }

    /// Ends a pool; its memory stays while there are leases.
    pub(crate) fn remove_pool(&mut self, shared: &Shared) -> Result<(), Errno> {
        let pool = self.own_pool(shared)?;
        let (users, is_offered) = (pool.users, pool.area.is_none());
        if users != 0 || (!self.pending.is_empty() && self.pending.group == shared.group) {
            return Err(Errno::EBUSY);
        }
        if is_offered {
            self.unregister_pool(shared.group, shared.sends);
        }
        self.pools.hungry.retain(|&group| group != shared.group);
        self.pools.pools.remove(usize::from(shared.group));
        Ok(())
    }

    /// Takes an ended lease back at once; false if the pool is not, or not any more, ours.
    pub(crate) fn take_back(&mut self, shared: &Shared, lease: u32) -> bool {
        let (Some(piece), Ok(pool)) = (shared.leases.piece_of(lease), self.own_pool(shared)) else {
            return false;
        };
        pool.take_back(lease, piece);
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

    /// Takes in what nearly all completions of pools are, of a usual multishot receive that goes
    /// on with a buffer of its own, as `next_plain` takes those of others, after `can_peek`.
    #[inline(always)]
    pub(crate) fn next_pooled(&mut self) -> Option<Plain> {
        const GOES_ON: u32 = cqe_flags::BUFFER | cqe_flags::MORE;
        let cqe = self.backend.peek();
        let candidate = self.slots.candidate(cqe.user_data)?;
        let slot = candidate.slot(&self.slots);
        let is_odd = slot.has(state::SPECIAL & !traits::MULTISHOT)
            || cqe.flags() & (GOES_ON | cqe_flags::BUFFER_MORE) != GOES_ON
            || cqe.result() <= 0
            || slot.cold == 0;
        if is_odd {
            return None;
        }
        let (callback, user_data, group) = (slot.callback, slot.user_data, slot.cold as u16);
        let group = group.wrapping_sub(1);
        let pool = self.pools.get(group)?;
        let piece = pool.use_one(cqe)?;
        self.backend.advance();
        (self.pending.group, self.pending.control_at) = (group, 0);
        self.pending.first = Some(piece);
        self.current = Current { id: cqe.user_data, result: cqe.result() };
        self.count_call();
        let flags = cqe.flags() & cqe_flags::PUBLIC;
        Some(Plain { callback, user_data, result: cqe.result(), flags })
    }

    /// Accounts for what a completion has brought, once, before any later one.
    pub(crate) fn note_buffers(&mut self, index: u32, cqe: &mut Cqe) {
        if cqe.flags & cqe_flags::NOTED != 0 {
            return;
        }
        let Some(group) = self.group(index) else { return };
        let Some(pool) = self.pools.get(group) else { return };
        if cqe.flags & cqe_flags::BUFFER != 0 {
            cqe.extra = pool.note(cqe).into();
            cqe.flags |= cqe_flags::NOTED;
        } else {
            Engine::note_area(pool, cqe);
        }
        if cqe.flags & cqe_flags::NOTED == 0 {
            return;
        }
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

    /// Of an arrival that is a message of no bytes: whether it has a sender's name.
    pub(crate) fn empty_message(&mut self, arrival: Arrival) -> Option<bool> {
        self.pools.get(arrival.group)?.empty_message(arrival)
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
        let Pending { first, rest, .. } = &mut self.pending;
        if let Some(pool) = self.pools.get(arrival.group) {
            pool.pieces(arrival, |piece| match first {
                None => *first = Some(piece),
                Some(_) => rest.push_back(piece),
            });
        }
    }

    /// Leases the next piece of what has arrived; None: there is no more.
    #[inline(always)]
    pub(crate) fn take_piece(&mut self) -> Result<Option<(i64, Piece)>, Errno> {
        let Some(piece) = self.pending.first else { return Ok(None) };
        let pool = self.pools.get(self.pending.group).ok_or(Errno::ENOENT)?;
        let id = pool.lease(piece)?;
        self.pending.first = self.pending.rest.pop_front();
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
        let Pending { first, rest, control_at, .. } = &mut self.pending;
        if let Some(piece) = first.take() {
            pool.drop_piece(*control_at, piece);
        }
        if !rest.is_empty() {
            pool.drop_pieces(*control_at, rest);
        }
    }

    /// A record per buffer: what a bundle brings is told in pieces, the last with the flags of all.
    pub(crate) fn push_leased(&mut self, record: Record, arrival: Arrival) {
        self.open_arrival(arrival);
        let pool = self.pending_pool();
        let mut piece = self.take_piece();
        while let Ok(Some((lease, taken))) = piece {
            piece = self.take_piece();
            let is_last = matches!(piece, Ok(None));
            self.records.push_back(Record {
                result: taken.len as i32,
                extra: taken.len.into(),
                flags: if is_last { record.flags } else { record.flags | cqe_flags::MORE },
                brings: Brings::Lease {
                    pool: pool.as_ref().map_or(null(), Arc::as_ptr),
                    id: lease,
                    control_at: arrival.control_at,
                },
                ..record
            });
        }
        if piece.is_err() {
            // No memory for another lease: the data is lost, and the caller learns of it.
            let result = Errno::ENOMEM.status();
            self.records.push_back(Record { result, extra: 0, ..record });
        }
        self.close_arrival();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Choice, ContextOptions};

    #[test]
    fn a_record_says_enomem_where_there_is_no_lease_and_the_data_goes_back() {
        let options = ContextOptions { backend: Choice::Epoll, ..ContextOptions::default() };
        // Of a context that is never run, nor freed.
        let handle = Box::leak(Handle::create(&options).unwrap());
        let engine = handle.enter().unwrap();
        let options = PoolOptions {
            count: 4,
            buffer_size: 16,
            count_max: 4,
            low_water: 0,
            on_low_water: None,
            incremental: false,
            bundles: false,
            huge: false,
            sends: false,
        };
        let shared = engine.create_pool(handle, options).unwrap();
        let pool = engine.pools.get(shared.group).unwrap();
        // A bundle of three buffers, and one lease left.
        pool.options.bundles = true;
        pool.leave_leases(1);
        let cqe = Cqe { user_data: 1, result: 40, flags: cqe_flags::BUFFER, extra: 0 };
        let offset = pool.note(&cqe);
        assert_eq!((offset, pool.free), (0, 1));
        let (user_data, id, brings) = (7, 1, Brings::Nothing);
        let (result, flags, extra) = (cqe.result, cqe.flags, 40);
        let arrival = Arrival { group: shared.group, first: 0, offset, len: 40, control_at: 0 };
        engine.push_leased(Record { user_data, id, result, flags, extra, brings }, arrival);
        let records: Vec<_> = engine.take_records(8).collect();
        let told: Vec<_> =
            records.iter().map(|record| (record.result, record.flags, record.extra)).collect();
        const MORE: u32 = cqe_flags::BUFFER | cqe_flags::MORE;
        let enomem = Errno::ENOMEM.status();
        assert_eq!(told, [(16, MORE, 16), (enomem, cqe_flags::BUFFER, 0)]);
        assert!(records[0].brings.lease() > 0 && records[1].brings.lease() == 0);
        let info = engine.pool_info(&shared).unwrap();
        assert_eq!((info.free, info.leased), (3, 1), "what was lost has gone back");
        records[0].brings.close();
        let info = engine.pool_info(&shared).unwrap();
        assert_eq!((info.free, info.leased), (4, 0));
    }
}
