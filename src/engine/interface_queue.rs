//! Pools whose buffers are a network card's: the card puts what comes into their area, the kernel
//! says where, and each piece is given back to it when nobody holds it any more. To operations such
//! a pool is like others (`buffers.rs`), with one difference: which chunks are free only the kernel
//! knows. An operation that meets none ends with -ENOMEM and is paused until something has come
//! back; with nothing held there is nothing to wait for, and the caller learns of it.

use crate::engine::Engine;
use crate::engine::backend::Granted;
use crate::engine::buffer_pool::{Pool, PoolOptions};
use crate::engine::handle::Handle;
use crate::engine::leases::{Interface, Piece, Shared};
use crate::engine::probe::{self, Refused};
use crate::sys::entry::{Cqe, cqe_flags};
use crate::sys::errno::Errno;
use crate::sys::interface_queue::{InterfaceQueue, KeptRing, REFILLS_MAX, Request};
use crate::sys::memory::{Region, page_size};
use std::sync::Arc;

/// Bytes of an area, at the most.
const AREA_MAX: u64 = 1 << 32;
/// Bytes of a completion that says where its data is.
const WIDE: u32 = 32;

/// What a pool of a card knows of its area.
pub(super) struct Area {
    queue: InterfaceQueue,
    /// Of each chunk: its pieces that are held.
    holds: Vec<u32>,
    /// Chunks with such pieces.
    held: u32,
    /// Operations worth arming, since the kernel last said that it has no chunk.
    credit: u32,
}

impl Area {
    pub(super) fn new(queue: InterfaceQueue) -> Area {
        let chunks = queue.chunks();
        Area { queue, holds: vec![0; chunks as usize], held: 0, credit: chunks }
    }

    pub(super) fn chunks(&self) -> u32 {
        self.queue.chunks()
    }

    /// Chunks of which nobody holds anything.
    pub(super) fn free(&self) -> u32 {
        self.chunks() - self.held
    }

    /// How many operations may find a chunk. With nothing held all are the kernel's.
    pub(super) fn usable(&self) -> u32 {
        if self.held == 0 { self.chunks() } else { self.credit }
    }

    /// Holds the piece that a completion has brought; returns where it begins.
    pub(super) fn note(&mut self, cqe: &Cqe) -> u32 {
        let offset = self.queue.offset(cqe.extra, cqe.result as u32);
        let holds = &mut self.holds[self.queue.chunk(offset) as usize];
        *holds += 1;
        if *holds == 1 {
            self.held += 1;
            self.credit = self.credit.saturating_sub(1);
        }
        self.queue.settle();
        offset
    }

    pub(super) fn piece(&self, offset: u32, len: u32) -> Piece {
        Piece { data: self.queue.data(offset), len, buffer: self.queue.chunk(offset) }
    }

    /// Gives a piece back; true: it was the last that was held of its chunk.
    pub(super) fn give_back(&mut self, piece: Piece) -> bool {
        self.queue.give_back(piece.data, piece.len);
        let holds = &mut self.holds[piece.buffer as usize];
        *holds -= 1;
        if *holds != 0 {
            return false;
        }
        self.held -= 1;
        self.credit = (self.credit + 1).min(self.chunks());
        true
    }

    /// Whether the kernel takes back when it likes, and cannot be told to.
    pub(super) fn takes_when_it_likes(&self) -> bool {
        !self.queue.can_flush()
    }

    /// The kernel had no chunk, but may have got `fresh` ones since. Whether more can come.
    pub(super) fn was_dry(&mut self, fresh: u32) -> bool {
        let told_later = if self.queue.can_flush() { self.queue.unheard() } else { 0 };
        self.credit = told_later.saturating_add(fresh).min(self.chunks());
        self.held != 0 || self.credit != 0
    }
}

impl Engine {
    /// Makes a pool of what comes in through an interface queue; where none can be had, and it is
    /// not `required`, an ordinary one.
    pub(crate) fn create_interface_pool(
        &mut self, handle: &Handle, options: PoolOptions, request: &Request, required: bool,
    ) -> Result<Arc<Shared>, Errno> {
        let granted = handle.granted;
        if granted.cqe_size != WIDE {
            return Err(Errno::EMSGSIZE);
        }
        if granted.is_polled() {
            return Err(Errno::EOPNOTSUPP);
        }
        options.check()?;
        let len = u64::from(options.count) * u64::from(options.buffer_size);
        let page = page_size() as u64;
        if len > AREA_MAX - page {
            return Err(Errno::EINVAL);
        }
        match self.open_interface_queue(&granted, request, len.next_multiple_of(page), &options) {
            Ok((area, region, ring)) => self.insert_area(handle, options, area, region, ring),
            // What only the caller can put right.
            Err(Refused { errno: Some(errno @ (Errno::ENODEV | Errno::ERANGE)), .. }) => Err(errno),
            Err(refused) if required => Err(refused.status()),
            Err(refused) => {
                let shared = self.create_pool_of(handle, options, Interface::Refused)?;
                if let Some(pool) = self.pools.get(shared.group) {
                    pool.unserved = Some(refused);
                }
                Ok(shared)
            }
        }
    }

    fn open_interface_queue(
        &mut self, granted: &Granted, request: &Request, len: u64, options: &PoolOptions,
    ) -> Result<(Area, Region, KeptRing), Refused> {
        probe::check_zero_copy_receive(granted)?;
        let why = |errno| probe::why_no_interface_queue(request.interface.is_some(), errno);
        let region = Region::create((len as usize).next_power_of_two(), options.huge);
        let region = region.map_err(why)?;
        region.wipe_on_fork();
        let chunks = (len / page_size() as u64).min(u64::from(REFILLS_MAX)) as u32;
        // A chunk comes in two pieces where packets are not larger than usual.
        let refills = if request.refills == 0 { 2 * chunks } else { request.refills };
        let request = Request { refills: refills.min(REFILLS_MAX), ..*request };
        let made = self.backend.register_interface_queue(&request, &region, len);
        let (queue, ring) = made.map_err(why)?;
        Ok((Area::new(queue), region, ring))
    }

    fn insert_area(
        &mut self, handle: &Handle, mut options: PoolOptions, area: Area, region: Region,
        ring: KeptRing,
    ) -> Result<Arc<Shared>, Errno> {
        let group = self.pools.next_group()?;
        let mut shared = Shared::create(handle, group, false, false, false);
        shared.set_interface(Interface::Queue(area.queue.id()), Some(ring));
        options.count = area.chunks();
        options.count_max = options.count;
        options.buffer_size = area.queue.chunk_size();
        let shared = Arc::new(shared);
        self.pools.insert(Pool::of_area(shared.clone(), options, area, region)?);
        Ok(shared)
    }

    /// Whether an operation that the kernel has ended with `result` goes on, to its caller.
    pub(crate) fn outlasts(&mut self, index: u32, group: u16, result: i32) -> bool {
        if !self.is_want(group, result) {
            return false;
        }
        if result == Errno::ENOSPC.status() {
            // There was no room for its completions, and now there is.
            self.tally.rearms();
            self.start_again(index, group);
        } else {
            self.hold_refused(index, group);
        }
        true
    }

    /// Whether a result says no more than that there was no buffer, or no room to tell of one.
    pub(crate) fn is_want(&mut self, group: u16, result: i32) -> bool {
        let Some(pool) = self.pools.get(group) else { return false };
        let no_room = pool.area.is_some() && result == Errno::ENOSPC.status();
        no_room || result == pool.refusal().status()
    }

    /// Takes the completion of a card's pool into the books, as one that brings a buffer.
    pub(super) fn note_area(pool: &mut Pool, cqe: &mut Cqe) {
        let Some(area) = &mut pool.area else { return };
        if cqe.result > 0 && cqe.flags & cqe_flags::MORE != 0 {
            cqe.extra = area.note(cqe).into();
            cqe.flags |= cqe_flags::BUFFER | cqe_flags::NOTED;
            pool.free = area.free();
        }
    }

    /// Before operations are armed that found no chunk: makes the kernel take what came back.
    pub(super) fn flush_area(&mut self, group: u16) {
        let Some(pool) = self.pools.get(group) else { return };
        let Some(area) = &mut pool.area else { return };
        let before = area.queue.unheard();
        if area.queue.can_flush() && before != 0 {
            self.backend.flush_refills(&mut area.queue);
            let heard = before.saturating_sub(area.queue.unheard());
            pool.fresh = pool.fresh.saturating_add(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::leases::release;
    use crate::engine::{Choice, ContextOptions};
    use crate::sys::clock;
    use crate::sys::interface_queue::card::{Card, plug_in, written};
    use std::sync::mpsc;

    const CHUNK: u32 = 4096;

    /// A pool of a card's, without a context around it.
    fn pool(chunks: u32, refills: u32) -> (Pool, Card) {
        let options = ContextOptions { backend: Choice::Epoll, ..ContextOptions::default() };
        // Of a context that is never used, nor freed.
        let handle = Box::leak(Handle::create(&options).unwrap());
        let (queue, card) = plug_in(chunks, CHUNK, refills);
        let mut shared = Shared::create(handle, 0, false, false, false);
        shared.set_interface(Interface::Queue(queue.id()), None);
        let options = PoolOptions {
            count: chunks,
            buffer_size: CHUNK,
            count_max: chunks,
            low_water: 1,
            on_low_water: None,
            incremental: false,
            bundles: false,
            huge: false,
            sends: false,
        };
        let unused = Region::create(CHUNK as usize, false).unwrap();
        (Pool::of_area(Arc::new(shared), options, Area::new(queue), unused).unwrap(), card)
    }

    /// The kernel's completion of a piece, as it is noted; None: the card has no chunk.
    fn arrive(pool: &mut Pool, card: &mut Card, bytes: &[u8]) -> Option<Piece> {
        let (extra, len) = card.receive(bytes)?;
        let mut cqe = Cqe { user_data: 1, result: len as i32, flags: cqe_flags::MORE, extra };
        Engine::note_area(pool, &mut cqe);
        let noted = cqe_flags::MORE | cqe_flags::BUFFER | cqe_flags::NOTED;
        assert_eq!(cqe.flags, noted);
        Some(pool.area.as_ref().unwrap().piece(cqe.extra as u32, len))
    }

    fn bytes(piece: &Piece) -> Vec<u8> {
        written(piece.data, piece.len)
    }

    fn area(pool: &mut Pool) -> &mut Area {
        pool.area.as_mut().unwrap()
    }

    #[test]
    fn a_chunk_is_free_when_none_of_its_pieces_is_held() {
        let (mut pool, mut card) = pool(2, 8);
        let first = arrive(&mut pool, &mut card, b"first").unwrap();
        let second = arrive(&mut pool, &mut card, b"second").unwrap();
        assert_eq!((first.buffer, pool.free, pool.count()), (second.buffer, 1, 2));
        assert_eq!((bytes(&first), bytes(&second)), (b"first".to_vec(), b"second".to_vec()));
        pool.drop_piece(0, first);
        assert_eq!(pool.free, 1);
        pool.drop_piece(0, second);
        assert_eq!((pool.free, card.look(8), card.out()), (2, 2, 0));
    }

    #[test]
    fn a_final_completion_holds_nothing() {
        let (mut pool, _card) = pool(2, 8);
        for result in [0, Errno::ENOMEM.status(), Errno::ECANCELED.status()] {
            let mut cqe = Cqe { user_data: 1, result, flags: 0, extra: 0 };
            Engine::note_area(&mut pool, &mut cqe);
            assert_eq!((cqe.flags, pool.free), (0, 2));
        }
    }

    #[test]
    fn a_dry_card_is_waited_for_while_something_is_held_or_not_heard() {
        let (mut pool, mut card) = pool(2, 8);
        let held: Vec<_> =
            (0..2).map(|_| arrive(&mut pool, &mut card, &[1; CHUNK as usize]).unwrap()).collect();
        assert!(arrive(&mut pool, &mut card, b"x").is_none());
        assert!(area(&mut pool).was_dry(0));
        assert_eq!(pool.usable(), 0);
        pool.drop_piece(0, held[0]);
        assert_eq!(pool.usable(), 1);
        // Not heard of yet: worth a try, as soon as the kernel was told.
        assert!(area(&mut pool).was_dry(0));
        assert_eq!(pool.usable(), 1);
        card.look(8);
        assert!(area(&mut pool).was_dry(0));
        assert_eq!(pool.usable(), 0);
        pool.drop_piece(0, held[1]);
        card.look(8);
        // All is the kernel's, and it has none left: nobody would wake who waits.
        assert!(!area(&mut pool).was_dry(0));
        assert_eq!(pool.usable(), 2);
    }

    #[test]
    fn a_refusal_that_may_be_older_than_what_came_back_does_not_end_the_wait() {
        let (mut pool, mut card) = pool(3, 8);
        let held: Vec<_> =
            (0..3).map(|_| arrive(&mut pool, &mut card, &[1; CHUNK as usize]).unwrap()).collect();
        assert!(area(&mut pool).was_dry(0));
        held[1..].iter().for_each(|&piece| pool.drop_piece(0, piece));
        // The kernel has heard of both, and the refusal of another operation was under way.
        assert_eq!(card.look(8), 2);
        assert!(area(&mut pool).was_dry(2));
        assert_eq!(pool.usable(), 2);
    }

    #[test]
    fn operations_are_armed_for_what_came_back_and_not_for_what_was_used_since() {
        let (mut pool, mut card) = pool(4, 8);
        let mut held: Vec<_> =
            (0..4).map(|_| arrive(&mut pool, &mut card, &[1; CHUNK as usize]).unwrap()).collect();
        assert!(area(&mut pool).was_dry(0));
        for back in 1..=2 {
            pool.drop_piece(0, held.pop().unwrap());
            assert_eq!(pool.usable(), back);
        }
        card.look(8);
        held.push(arrive(&mut pool, &mut card, &[1; CHUNK as usize]).unwrap());
        assert_eq!(pool.usable(), 1);
        held.into_iter().for_each(|piece| pool.drop_piece(0, piece));
        card.look(8);
        assert_eq!((pool.usable(), pool.free, card.out()), (4, 4, 0));
    }

    /// Everything that leases go through, with a card that keeps its own books: pieces of all
    /// sizes, kept, dropped, released here and by another thread, a refill ring that is too small.
    #[test]
    fn every_piece_is_given_back_once_whoever_releases_it() {
        let given = std::env::var("AIO_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = given.unwrap_or_else(clock::random_bits);
        println!("AIO_TEST_SEED={seed}");
        let mut state = seed | 1;
        let mut below = move |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let (mut pool, mut card) = pool(16, 8);
        let shared = pool.shared.clone();
        let (to_other, released) = mpsc::channel::<i64>();
        let other = std::thread::spawn(move || {
            for id in released {
                release(Arc::as_ptr(&shared), id, 0);
                assert_eq!(shared.end(id), Err(Errno::ENOENT));
            }
        });
        let mut kept: Vec<(i64, u8)> = Vec::new();
        for round in 0..20_000_u32 {
            let fill = round as u8;
            let size = 1 + below(u64::from(CHUNK)) as usize;
            match arrive(&mut pool, &mut card, &vec![fill; size]) {
                Some(piece) if below(4) == 0 => pool.drop_piece(0, piece),
                Some(piece) => {
                    assert!(bytes(&piece).iter().all(|&byte| byte == fill));
                    kept.push((pool.lease(piece).unwrap(), fill));
                }
                None => {
                    card.finish_chunk();
                    area(&mut pool).was_dry(0);
                }
            }
            while kept.len() > 40 || (!kept.is_empty() && below(3) == 0) {
                let (id, fill) = kept.swap_remove(below(kept.len() as u64) as usize);
                let piece = pool.shared.find(id).unwrap();
                assert!(bytes(&piece).iter().all(|&byte| byte == fill), "written over: {round}");
                if below(2) == 0 {
                    to_other.send(id).unwrap();
                } else {
                    release(Arc::as_ptr(&pool.shared), id, 0);
                }
            }
            pool.take_released();
            if below(3) == 0 {
                card.look(below(9) as u32);
                area(&mut pool).queue.settle();
            }
            assert!(card.out() >= kept.len());
        }
        drop(to_other);
        other.join().unwrap();
        for (id, _) in kept {
            release(Arc::as_ptr(&pool.shared), id, 0);
        }
        pool.take_released();
        while card.look(8) != 0 {
            area(&mut pool).queue.settle();
        }
        assert_eq!((card.out(), pool.free, pool.leased), (0, 16, 0));
        assert_eq!(Arc::strong_count(&pool.shared), 1);
    }
}
