//! An interface queue: a receive queue of a network card that puts what comes into memory of ours,
//! its area, chunk by chunk. A completion says where in the area its bytes are, in the second half
//! of a 32-byte entry; whoever has done with them says so in the refill ring, once per completion.
//! Which chunk is free when is the kernel's affair. Hides the registration, the layout of the
//! refill ring and the memory order of its two words. Linux 6.15.
//!
//! No call gives a queue up: it goes when its ring is closed. Memory that is unmapped before stays
//! pinned until then.

use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::errno::Errno;
use crate::sys::memory::{Region, page_size};
use crate::sys::ring::Ring;
use linux_raw_sys::io_uring as abi;
use std::collections::VecDeque;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

/// As many as the kernel takes in one refill ring.
pub(crate) const REFILLS_MAX: u32 = 32_768;

/// Offsets below, the area's number above.
const AREA_SHIFT: u32 = abi::IORING_ZCRX_AREA_SHIFT;
/// Registers a queue of no card, to which everything is copied. Linux 7.1.
const REG_NODEV: u32 = 2;
/// A register call for what is asked of a queue later, and its first order: take back what is in
/// the refill ring. Linux 6.19.
pub(super) const REGISTER_CTRL: u32 = 36;
const FLUSH: u32 = 0;

/// The argument of that call.
#[repr(C)]
#[derive(Default)]
struct Control {
    queue: u32,
    order: u32,
    zeroes: [u64; 8],
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The interface's number; None: no card.
    pub interface: Option<u32>,
    /// Which of its receive queues.
    pub queue: u32,
    /// Entries of the refill ring, [`REFILLS_MAX`] at the most.
    pub refills: u32,
}

/// The number of the interface of that name.
pub(crate) fn interface_named(name: &CStr) -> Result<u32, Errno> {
    // SAFETY: a terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(Errno::ENODEV),
        index => Ok(index),
    }
}

/// Fails if there is no interface of that number.
pub(crate) fn check_interface(index: u32) -> Result<(), Errno> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: room for the longest name.
    let named = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if named.is_null() { Err(Errno::ENODEV) } else { Ok(()) }
}

/// The numbers of all interfaces.
pub(super) fn interfaces() -> Vec<u32> {
    let mut found = Vec::new();
    // SAFETY: a list that ends with a zero index, given back below.
    unsafe {
        let list = libc::if_nameindex();
        let mut next = list;
        while !next.is_null() && (*next).if_index != 0 {
            found.push((*next).if_index);
            next = next.add(1);
        }
        if !list.is_null() {
            libc::if_freenameindex(list);
        }
    }
    found
}

/// The three structures that a registration passes, which name each other.
struct Registration {
    place: abi::io_uring_zcrx_area_reg,
    ring: abi::io_uring_region_desc,
    reg: abi::io_uring_zcrx_ifq_reg,
}

impl Registration {
    fn new(request: &Request, (area, len): (&Region, u64), ring: &Region) -> Box<Registration> {
        // SAFETY: zeroes are valid structures.
        let mut made: Box<Registration> = Box::new(unsafe { std::mem::zeroed() });
        made.place.addr = area.base::<u8>().as_ptr() as u64;
        made.place.len = len;
        made.ring.user_addr = ring.base::<u8>().as_ptr() as u64;
        made.ring.size = ring.len() as u64;
        made.ring.flags = abi::IORING_MEM_REGION_TYPE_USER as u32;
        made.reg.if_idx = request.interface.unwrap_or(0);
        made.reg.if_rxq = request.queue;
        made.reg.rq_entries = request.refills;
        made.reg.flags = if request.interface.is_none() { REG_NODEV } else { 0 };
        made.reg.area_ptr = &raw mut made.place as u64;
        made.reg.region_ptr = &raw mut made.ring as u64;
        made
    }
}

/// Asks for a queue of an interface that it cannot have, by `register`.
pub(super) fn ask(
    interface: u32, register: impl FnOnce(usize) -> Result<(), Errno>,
) -> Result<(), Errno> {
    const NO_QUEUE: u32 = i32::MAX as u32; // Drivers take it for a signed number.
    let page = page_size();
    let (area, ring) = (Region::create(page, false)?, Region::create(page, false)?);
    let request = Request { interface: Some(interface), queue: NO_QUEUE, refills: 1 };
    let mut made = Registration::new(&request, (&area, page as u64), &ring);
    register(&raw mut made.reg as usize)
}

/// A place in an area that somebody has done with; laid out as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refill {
    /// With the area's number.
    pub offset: u64,
    pub len: u32,
    pub zero: u32,
}

const _: () = assert!(size_of::<Refill>() == size_of::<abi::io_uring_zcrx_rqe>());

/// The producer's end of a refill ring.
struct RefillRing {
    head: NonNull<AtomicU32>,
    tail: NonNull<AtomicU32>,
    entries: NonNull<Refill>,
    mask: u32,
    /// The next entry to be written.
    position: u32,
    /// What has found no place.
    waiting: VecDeque<Refill>,
    _memory: Region,
}

impl RefillRing {
    /// `offsets`: where in the memory the kernel has put it. Panics if that is outside.
    fn new(memory: Region, count: u32, offsets: &abi::io_uring_zcrx_offsets) -> RefillRing {
        let end = offsets.rqes as usize + count as usize * size_of::<Refill>();
        let words = offsets.head.max(offsets.tail) as usize + size_of::<u32>();
        assert!(count.is_power_of_two() && end <= memory.len() && words <= memory.len());
        assert!((offsets.head | offsets.tail).is_multiple_of(4) && offsets.rqes.is_multiple_of(8));
        let base = memory.base::<u8>();
        // SAFETY: all three are inside the region and aligned, by the assertions; it lives as long
        // as the ring.
        unsafe {
            RefillRing {
                head: base.add(offsets.head as usize).cast(),
                tail: base.add(offsets.tail as usize).cast(),
                entries: base.add(offsets.rqes as usize).cast(),
                mask: count - 1,
                position: 0,
                waiting: VecDeque::new(),
                _memory: memory,
            }
        }
    }

    /// Entries that the kernel has not taken.
    fn in_ring(&self) -> u32 {
        // SAFETY: a word of the ring. Acquire pairs with the kernel's release of the head: it has
        // read the entries before it, which may be written again.
        let head = unsafe { self.head.as_ref() }.load(Ordering::Acquire);
        self.position.wrapping_sub(head)
    }

    fn push(&mut self, refill: Refill) {
        self.waiting.push_back(refill);
        self.settle();
    }

    /// Moves what waits into the ring, as far as there is room.
    fn settle(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let room = (self.mask + 1).saturating_sub(self.in_ring());
        for _ in 0..room {
            let Some(refill) = self.waiting.pop_front() else { break };
            let index = (self.position & self.mask) as usize;
            // SAFETY: the masked index is inside the ring, and the kernel is past this entry.
            unsafe { self.entries.add(index).write(refill) };
            self.position = self.position.wrapping_add(1);
        }
        // SAFETY: a word of the ring. Release pairs with the kernel's acquire of the tail: the
        // entries are written before it.
        unsafe { self.tail.as_ref() }.store(self.position, Ordering::Release);
    }
}

/// A queue that was had, with its area.
pub(crate) struct InterfaceQueue {
    id: u32,
    area: NonNull<u8>,
    area_len: u64,
    chunk_shift: u32,
    /// The area's number, where offsets have it.
    token: u64,
    can_flush: bool,
    refills: RefillRing,
}

impl InterfaceQueue {
    /// What entries call it.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn chunk_size(&self) -> u32 {
        1 << self.chunk_shift
    }

    pub(crate) fn chunks(&self) -> u32 {
        (self.area_len >> self.chunk_shift) as u32
    }

    /// Whether the kernel can be told to look into the refill ring; a card does so by itself.
    pub(crate) fn can_flush(&self) -> bool {
        self.can_flush
    }

    /// Where in the area the `len` bytes of a completion are, of which `extra` is the first word of
    /// the second half. Panics if they are not inside.
    pub(crate) fn offset(&self, extra: u64, len: u32) -> u32 {
        let offset = extra & ((1 << AREA_SHIFT) - 1);
        let is_inside = offset < self.area_len && u64::from(len) <= self.area_len - offset;
        assert!(extra - offset == self.token && is_inside, "a completion outside of its area");
        offset as u32
    }

    /// The chunk of an offset.
    pub(crate) fn chunk(&self, offset: u32) -> u32 {
        offset >> self.chunk_shift
    }

    /// The bytes at an offset that `offset` has given.
    pub(crate) fn data(&self, offset: u32) -> NonNull<u8> {
        // SAFETY: inside the area.
        unsafe { self.area.add(offset as usize) }
    }

    /// Says that nobody needs the bytes of a completion any more.
    pub(crate) fn give_back(&mut self, data: NonNull<u8>, len: u32) {
        let offset = data.as_ptr() as u64 - self.area.as_ptr() as u64;
        debug_assert!(offset < self.area_len);
        self.refills.push(Refill { offset: self.token | offset, len, zero: 0 });
    }

    /// How often that was said and the kernel has not heard it.
    pub(crate) fn unheard(&self) -> u32 {
        self.refills.in_ring() + self.refills.waiting.len() as u32
    }

    /// Tells the kernel what there was no room for.
    pub(crate) fn settle(&mut self) {
        self.refills.settle();
    }
}

/// A ring's descriptor, which keeps the ring and its interface queues.
pub(crate) struct KeptRing(#[allow(dead_code)] OwnedFd);

impl Ring {
    /// Another descriptor of the ring.
    pub(crate) fn keep(&self) -> Result<KeptRing, Errno> {
        self.duplicate().map(KeptRing)
    }

    /// Makes a queue put what comes into `area`, of which `len` bytes, whole pages, are pinned.
    /// The ring has DEFER_TASKRUN and 32-byte completions. The kernel's refusals: EPERM, it takes
    /// CAP_NET_ADMIN; ENODEV, no such interface; EOPNOTSUPP, its driver cannot; ERANGE, no such
    /// queue; EINVAL, headers are not split from data, or without an interface the kernel is too
    /// old; EEXIST and EBUSY, the queue is taken; ENOMEM, also for locked memory.
    pub(crate) fn register_interface_queue(
        &mut self, request: &Request, area: &Region, len: u64,
    ) -> Result<InterfaceQueue, Errno> {
        let page = page_size();
        debug_assert!(len.is_multiple_of(page as u64) && len <= area.len() as u64);
        let count = request.refills.clamp(1, REFILLS_MAX).next_power_of_two();
        let ring_len = (page + count as usize * size_of::<Refill>()).next_power_of_two();
        let memory = Region::create(ring_len, false)?;
        memory.wipe_on_fork();
        let request = Request { refills: count, ..*request };
        let mut made = Registration::new(&request, (area, len), &memory);
        let opcode = abi::io_uring_register_op::IORING_REGISTER_ZCRX_IFQ as u32;
        self.register(opcode, &raw mut made.reg as usize, 1)?;
        let Registration { place, reg, .. } = *made;
        // Newer kernels write the size of a chunk into this word.
        let chunk_size = if reg.__resv2 == 0 { page as u32 } else { reg.__resv2 };
        assert!(chunk_size.is_power_of_two() && u64::from(chunk_size) <= len);
        Ok(InterfaceQueue {
            id: reg.zcrx_id,
            area: area.base(),
            area_len: len,
            chunk_shift: chunk_size.ilog2(),
            token: place.rq_area_token,
            can_flush: self.knows_flush(),
            refills: RefillRing::new(memory, reg.rq_entries, &reg.offsets),
        })
    }

    fn knows_flush(&mut self) -> bool {
        const NOWHERE: usize = 8;
        self.register(REGISTER_CTRL, NOWHERE, 0) == Err(Errno::EFAULT)
    }

    /// Makes the kernel hear everything that was given back.
    pub(crate) fn flush_refills(&mut self, queue: &mut InterfaceQueue) -> Result<(), Errno> {
        while queue.unheard() != 0 {
            let before = queue.unheard();
            let mut control = Control { queue: queue.id, order: FLUSH, ..Control::default() };
            self.register(REGISTER_CTRL, &raw mut control as usize, 0)?;
            queue.settle();
            if queue.unheard() == before {
                break;
            }
        }
        Ok(())
    }
}

/// The other side of an interface queue, for tests: a card and the kernel, which put bytes into
/// chunks, several pieces to a chunk, count who uses each, and look into the refill ring.
#[cfg(test)]
pub(crate) mod card {
    use super::*;

    pub(crate) struct Card {
        area: Region,
        chunk_size: u32,
        token: u64,
        ring: NonNull<u8>,
        mask: u32,
        head: u32,
        /// Of each chunk: the pieces that were handed out, by offset and length.
        handed_out: Vec<Vec<(u64, u32)>>,
        free: Vec<u32>,
        /// The chunk that is being filled, and how far.
        current: Option<(u32, u32)>,
    }

    /// What the card has put where `data` points.
    pub(crate) fn written(data: NonNull<u8>, len: u32) -> Vec<u8> {
        // SAFETY: a piece that a card has handed out and that is held.
        unsafe { std::slice::from_raw_parts(data.as_ptr(), len as usize).to_vec() }
    }

    const RINGS_AT: [u32; 3] = [0, 4, 64];

    /// A queue with `chunks` chunks, and its card.
    pub(crate) fn plug_in(chunks: u32, chunk_size: u32, refills: u32) -> (InterfaceQueue, Card) {
        let len = u64::from(chunks) * u64::from(chunk_size);
        let area = Region::create((len as usize).next_power_of_two().max(4096), false).unwrap();
        let ring_len = (64 + refills as usize * 16).next_power_of_two().max(4096);
        let memory = Region::create(ring_len, false).unwrap();
        let ring = memory.base();
        // SAFETY: zeroes are valid offsets.
        let mut offsets: abi::io_uring_zcrx_offsets = unsafe { std::mem::zeroed() };
        [offsets.head, offsets.tail, offsets.rqes] = RINGS_AT;
        let token = 3 << AREA_SHIFT;
        let queue = InterfaceQueue {
            id: 7,
            area: area.base(),
            area_len: len,
            chunk_shift: chunk_size.ilog2(),
            token,
            can_flush: true,
            refills: RefillRing::new(memory, refills, &offsets),
        };
        let card = Card {
            area,
            chunk_size,
            token,
            ring,
            mask: refills - 1,
            head: 0,
            handed_out: vec![Vec::new(); chunks as usize],
            free: (0..chunks).rev().collect(),
            current: None,
        };
        (queue, card)
    }

    impl Card {
        fn word(&self, at: u32) -> &AtomicU32 {
            // SAFETY: a word of the ring, which the queue keeps.
            unsafe { self.ring.add(at as usize).cast().as_ref() }
        }

        /// Puts bytes into the area; what the completion says. None: no chunk is free.
        pub(crate) fn receive(&mut self, bytes: &[u8]) -> Option<(u64, u32)> {
            let len = bytes.len() as u32;
            assert!(len <= self.chunk_size);
            if self.current.is_none_or(|(_, filled)| filled + len > self.chunk_size) {
                self.finish_chunk();
                self.current = Some((self.free.pop()?, 0));
            }
            let (chunk, filled) = self.current.as_mut()?;
            let offset = u64::from(*chunk * self.chunk_size + *filled);
            *filled += len;
            self.handed_out[*chunk as usize].push((offset, len));
            // SAFETY: inside the area, in a piece that nobody has.
            unsafe {
                let to = self.area.base::<u8>().add(offset as usize);
                to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
            }
            Some((self.token | offset, len))
        }

        /// The card begins another chunk next time.
        pub(crate) fn finish_chunk(&mut self) {
            if let Some((chunk, _)) = self.current.take() {
                self.recycle(chunk);
            }
        }

        fn recycle(&mut self, chunk: u32) {
            let is_current = self.current.is_some_and(|(current, _)| current == chunk);
            if self.handed_out[chunk as usize].is_empty() && !is_current {
                assert!(!self.free.contains(&chunk));
                self.free.push(chunk);
            }
        }

        /// Takes `most` entries out of the refill ring; each names a piece that was handed out.
        pub(crate) fn look(&mut self, most: u32) -> u32 {
            let tail = self.word(RINGS_AT[1]).load(Ordering::Acquire);
            let count = most.min(tail.wrapping_sub(self.head));
            for _ in 0..count {
                let at = RINGS_AT[2] as usize + 16 * (self.head & self.mask) as usize;
                // SAFETY: an entry before the tail.
                let refill = unsafe { self.ring.add(at).cast::<Refill>().read() };
                self.head = self.head.wrapping_add(1);
                assert_eq!((refill.zero, refill.offset >> AREA_SHIFT), (0, 3));
                let offset = refill.offset & ((1 << AREA_SHIFT) - 1);
                let chunk = (offset / u64::from(self.chunk_size)) as u32;
                let pieces = &mut self.handed_out[chunk as usize];
                let piece = pieces.iter().position(|&piece| piece == (offset, refill.len));
                pieces.swap_remove(piece.expect("what was given back was not handed out"));
                self.recycle(chunk);
            }
            self.word(RINGS_AT[0]).store(self.head, Ordering::Release);
            count
        }

        /// Pieces that were handed out and have not come back.
        pub(crate) fn out(&self) -> usize {
            self.handed_out.iter().map(Vec::len).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_heard_once_also_around_the_end_of_the_ring() {
        let (mut queue, mut card) = card::plug_in(4, 4096, 4);
        for round in 0..100_000_u32 {
            let (extra, len) = card.receive(&round.to_ne_bytes()).unwrap();
            let offset = queue.offset(extra, len);
            // SAFETY: four bytes that the card has written.
            let bytes = unsafe { queue.data(offset).cast::<[u8; 4]>().read() };
            assert_eq!(u32::from_ne_bytes(bytes), round);
            queue.give_back(queue.data(offset), len);
            assert_eq!(queue.unheard(), 1);
            assert_eq!(card.look(8), 1);
        }
        assert_eq!((queue.unheard(), card.out()), (0, 0));
    }

    #[test]
    fn what_finds_no_room_is_told_later_in_order() {
        let (mut queue, mut card) = card::plug_in(16, 4096, 2);
        for number in 0..16_u8 {
            let (extra, len) = card.receive(&[number; 4000]).unwrap();
            queue.give_back(queue.data(queue.offset(extra, len)), len);
        }
        assert_eq!(card.receive(&[0; 4000]), None);
        assert_eq!(queue.unheard(), 16);
        let mut heard = 0;
        while queue.unheard() != 0 {
            heard += card.look(1);
            queue.settle();
        }
        assert_eq!((heard, card.out()), (16, 0));
    }

    #[test]
    fn a_chunk_has_many_pieces_and_each_is_given_back() {
        let (mut queue, mut card) = card::plug_in(1, 4096, 8);
        let pieces: Vec<_> = (0..4).map(|_| card.receive(&[1; 1000]).unwrap()).collect();
        assert_eq!(card.receive(&[1; 1000]), None);
        assert!(pieces.iter().all(|&(extra, len)| queue.chunk(queue.offset(extra, len)) == 0));
        for &(extra, len) in &pieces[1..] {
            queue.give_back(queue.data(queue.offset(extra, len)), len);
        }
        card.look(8);
        assert_eq!(card.receive(&[1; 1000]), None);
        queue.give_back(queue.data(queue.offset(pieces[0].0, pieces[0].1)), 1000);
        card.look(8);
        assert!(card.receive(&[1; 1000]).is_some());
    }

    #[test]
    #[should_panic(expected = "outside of its area")]
    fn a_completion_behind_the_area_is_no_completion_of_the_queue() {
        let (queue, _card) = card::plug_in(2, 4096, 2);
        queue.offset(3 << AREA_SHIFT | 8000, 200);
    }

    #[test]
    #[should_panic(expected = "outside of its area")]
    fn a_completion_of_another_area_is_no_completion_of_the_queue() {
        let (queue, _card) = card::plug_in(2, 4096, 2);
        queue.offset(0, 200);
    }

    #[test]
    fn interfaces_are_known_by_name_and_number() {
        let lo = interface_named(c"lo").unwrap();
        assert_eq!(check_interface(lo), Ok(()));
        assert_eq!(interface_named(c"no such name"), Err(Errno::ENODEV));
        assert_eq!(interface_named(c"a name that no interface can have"), Err(Errno::ENODEV));
        assert_eq!(check_interface(u32::MAX), Err(Errno::ENODEV));
    }
}
