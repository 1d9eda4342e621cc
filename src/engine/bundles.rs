//! Pools whose buffers the caller fills and queues, and the operation that sends what is queued.
//! Hides how the backend is told of it: where a ring takes buffers from the pool itself, they are
//! offered to it when the operation is staged, and what it has not sent is taken back when it has
//! ended. There is one such operation per pool at a time, so that nobody reads the ring of buffers
//! in between; what was sent is known by its bytes alone, and the queue has the rest in order.

use crate::engine::Engine;
use crate::engine::buffer_pool::Pool;
use crate::engine::buffers::Pools;
use crate::engine::completion::{Delivery, ended};
use crate::engine::lease_table::Piece;
use crate::engine::leases::Shared;
use crate::engine::slots::state;
use crate::engine::submission::{Done, Prepared, SubmitOptions, submit_flags};
use crate::op::steps::END_OF_FILE;
use crate::op::{NO_DESCRIPTOR, bundles, traits};
use crate::sys::buffer_ring::Offer;
use crate::sys::entry::{Cqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::message::iovec;
use std::collections::VecDeque;

/// Buffers that a ring is offered at a time. It takes no more at once, and goes on by itself with
/// completions in between, which kernels before 6.15 cannot do from their workers.
const OFFERS_MAX: usize = 256;
/// Bytes that are offered at a time: the result of sending them is an `i32`.
const BYTES_MAX: u64 = 1 << 30;

/// What of a buffer is to be sent.
struct Queued {
    buffer: u16,
    offset: u32,
    len: u32,
}

/// Of a pool whose buffers are sent.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Buffers that nobody has.
    empty: Vec<u16>,
    queue: VecDeque<Queued>,
    /// An operation sends them.
    is_busy: bool,
    /// How far the kernel has taken what it was offered.
    head: u16,
    /// The kernel would not say: it is offered nothing any more.
    is_head_lost: bool,
}

impl Outbox {
    pub(crate) fn add_empty(&mut self, buffer: u16) {
        self.empty.push(buffer);
    }

    /// Buffers that wait to be sent.
    pub(crate) fn len(&self) -> u32 {
        self.queue.len() as u32
    }
}

/// An operation that sends the buffers of a pool.
#[derive(Clone, Copy)]
pub(crate) struct Bundle {
    pub group: u16,
    /// Bytes sent.
    pub moved: u64,
}

impl Pools {
    pub(crate) fn begin_bundle(&mut self, group: u16) {
        self.set_busy(group, true);
        self.add_user(group);
    }

    pub(crate) fn end_bundle(&mut self, group: u16) {
        self.set_busy(group, false);
        self.remove_user(group);
    }

    fn set_busy(&mut self, group: u16, is_busy: bool) {
        if let Some(outbox) = self.get(group).and_then(|pool| pool.outbox.as_mut()) {
            outbox.is_busy = is_busy;
        }
    }
}

impl Pool {
    fn outbox(&mut self) -> Result<&mut Outbox, Errno> {
        self.outbox.as_mut().ok_or(Errno::EINVAL)
    }

    /// What is sent next, as far as one step goes.
    fn next_pieces(&self, count: usize) -> impl Iterator<Item = (u64, u32, u16)> {
        let queue = self.outbox.iter().flat_map(|outbox| &outbox.queue);
        let mut left = BYTES_MAX;
        queue.take(count).map_while(move |queued| {
            left = left.checked_sub(queued.len.into())?;
            let buffer = &self.buffers[usize::from(queued.buffer)];
            let address = buffer.address.as_ptr() as u64 + u64::from(queued.offset);
            Some((address, queued.len, queued.buffer))
        })
    }

    /// Offers the ring what it shall send; nobody reads it now.
    fn offer_queued(&mut self) {
        let offers: Vec<Offer> =
            self.next_pieces(OFFERS_MAX).map(|(addr, len, id)| Offer { addr, len, id }).collect();
        let head = self.outbox.as_ref().map_or(0, |outbox| outbox.head);
        self.ring.rewind(head);
        offers.into_iter().for_each(|offer| self.ring.push(offer));
    }

    /// So many bytes were sent: what they were in is empty again.
    fn sent(&mut self, bytes: u32) {
        let mut left = bytes;
        while left != 0 {
            let Some(outbox) = &mut self.outbox else { return };
            let Some(queued) = outbox.queue.front_mut() else { return };
            let part = left.min(queued.len);
            left -= part;
            queued.offset += part;
            queued.len -= part;
            if queued.len == 0 {
                let buffer = queued.buffer;
                outbox.queue.pop_front();
                self.let_go(buffer.into());
            }
        }
    }
}

impl Engine {
    /// Leases an empty buffer to be filled.
    pub(crate) fn take_empty(&mut self, shared: &Shared) -> Result<(i64, Piece), Errno> {
        let pool = self.own_pool(shared)?;
        pool.take_released();
        let number = pool.outbox()?.empty.pop().ok_or(Errno::ENOBUFS)?;
        let len = pool.options.buffer_size;
        let buffer = &mut pool.buffers[usize::from(number)];
        buffer.holds = 1;
        buffer.offered = false;
        pool.free -= 1;
        let piece = Piece { data: buffer.address, len, buffer: number.into() };
        match pool.lease(piece) {
            Ok(id) => Ok((id, piece)),
            Err(errno) => {
                pool.let_go(number.into());
                Err(errno)
            }
        }
    }

    /// Queues a leased buffer, of which `len` bytes were filled; the lease ends, and its reference
    /// of the pool is the caller's to give back.
    pub(crate) fn queue_filled(
        &mut self, shared: &Shared, lease: i64, len: usize,
    ) -> Result<(), Errno> {
        let pool = self.own_pool(shared)?;
        pool.outbox()?;
        let piece = shared.leases.find(lease)?;
        if len == 0 || len > piece.len as usize {
            return Err(Errno::EINVAL);
        }
        let index = shared.leases.end(lease)?;
        pool.spare.push(index);
        pool.leased -= 1;
        let (buffer, len) = (piece.buffer as u16, len as u32);
        pool.outbox()?.queue.push_back(Queued { buffer, offset: 0, len });
        Ok(())
    }

    /// Gives what is queued back unsent; returns how many buffers.
    pub(crate) fn discard_queued(&mut self, shared: &Shared) -> Result<u32, Errno> {
        let pool = self.own_pool(shared)?;
        let outbox = pool.outbox()?;
        if outbox.is_busy {
            return Err(Errno::EBUSY);
        }
        let queue = std::mem::take(&mut outbox.queue);
        queue.iter().for_each(|queued| pool.let_go(queued.buffer.into()));
        Ok(queue.len() as u32)
    }

    /// Submits the send of what is queued, and of what is queued until it ends.
    pub(crate) fn submit_bundle(
        &mut self, shared: &Shared, fd: i32, flags: i32, options: &SubmitOptions, done: Done,
    ) -> Result<u64, Errno> {
        const REFUSED: u32 = submit_flags::LINKS | submit_flags::ASYNC;
        let outbox = self.own_pool(shared)?.outbox()?;
        if options.flags & REFUSED != 0 {
            return Err(Errno::EINVAL);
        }
        if outbox.is_busy {
            return Err(Errno::EBUSY);
        }
        if outbox.queue.is_empty() {
            return Err(Errno::ENOBUFS);
        }
        let group = shared.group;
        let takes_buffers = !outbox.is_head_lost && self.backend.has_bundles();
        let (entry, copy) = if takes_buffers {
            (bundles::selected(fd, group, flags), None)
        } else {
            let copy = self.arena.take(bundles::copied())?;
            (bundles::gathered(fd, flags, &copy), Some(copy))
        };
        let mut prepared = Prepared {
            entry: entry.into(),
            traits: traits::SENDS,
            needs: entry.opcode,
            fd,
            second_fd: NO_DESCRIPTOR,
            direct: 0,
            copy,
            outputs: None,
            steps: None,
            bundle: Some(Bundle { group, moved: 0 }),
            outgoing: None,
            pool: 0,
            prompt: false,
        };
        self.show_queued(group, prepared.copy.as_deref_mut());
        self.submit_prepared(prepared, options, done)
    }

    /// Makes an entry that is about to be staged find what is queued.
    fn show_queued(&mut self, group: u16, copy: Option<&mut [u64]>) {
        let Some(pool) = self.pools.get(group) else { return };
        let Some(copy) = copy else { return pool.offer_queued() };
        let vector = |(addr, len, _)| iovec { iov_base: addr as *mut _, iov_len: len as usize };
        let vectors: Vec<iovec> = pool.next_pieces(bundles::VECTORS_MAX).map(vector).collect();
        bundles::gather(copy, &vectors);
    }

    /// A step has ended: goes on with the rest, or ends the operation.
    pub(crate) fn complete_bundle(&mut self, index: u32, cqe: Cqe) -> Option<Delivery> {
        let slot = self.slots.at(index);
        let bits = slot.state;
        let bundle = self.cold.of(slot).bundle.as_mut()?;
        bundle.moved += cqe.result.max(0) as u64;
        let group = bundle.group;
        let is_last = cqe.flags & cqe_flags::MORE == 0;
        // Buffers that it has begun with are taken from the ring, sent or not.
        let taken = if cqe.result > 0 { None } else { self.backend.buffers_head(group) };
        let pool = self.pools.get(group)?;
        pool.sent(cqe.result.max(0) as u32);
        let tail = pool.ring.tail();
        let outbox = pool.outbox.as_mut()?;
        outbox.is_head_lost |= cqe.result <= 0 && taken.is_none();
        outbox.head = taken.unwrap_or(tail);
        if !is_last {
            return None;
        }
        let is_asked_to_end = bits & (state::ENDED | state::DISCARD) != 0;
        let (result, flags) = match cqe.result {
            0.. if outbox.queue.is_empty() => (0, 0),
            0 => (END_OF_FILE, 0),
            1.. if is_asked_to_end => ended(bits),
            failure if failure < 0 => self.spell(index, failure),
            _ => {
                self.leave_chain(index);
                let mut copy = self.cold.of(self.slots.at(index)).copy.take();
                self.show_queued(group, copy.as_deref_mut());
                self.cold.of(self.slots.at(index)).copy = copy;
                self.start(index);
                return None;
            }
        };
        self.end(index, result, flags, 0)
    }
}
