//! A bounded queue of records of one size, from any thread to one at a time. Hides the memory that
//! the records are copied into and out of. Nothing waits and nothing is allocated after creation: a
//! full queue says so, and a sender that is interrupted between taking a place and filling it, by a
//! signal's handler that sends too, holds up those behind it and nobody else.
//!
//! Each place has a number that says whose turn it is: that of the record to come, then one more
//! when it is there, then that of the record a round later. Records are counted in twos, because
//! the two latter would be the same where there is one place. The mark of a closed queue is in the
//! senders' position, so that each send is before the close or refused.

use crate::engine::bell::Claim;
use crate::sys::atomic::{AtomicUsize, Ordering, Turns};
use crate::sys::errno::Errno;
use std::alloc::{Layout, alloc_zeroed};
use std::cell::UnsafeCell;
use std::ptr::NonNull;

/// From one record to the next.
const STEP: usize = 2;
/// Added to a place's number: its record is there.
const FILLED: usize = 1;
/// In `tail`, beside the position.
const CLOSED: usize = 1;

struct Place {
    number: AtomicUsize,
    turns: Turns,
}

pub(crate) struct RecordQueue {
    places: Box<[Place]>,
    words: Box<[UnsafeCell<u64>]>,
    record_size: usize,
    /// The next record to be sent.
    tail: AtomicUsize,
    /// The next record to be taken; changed by the claim's owner alone.
    head: AtomicUsize,
}

// SAFETY: records are bytes; who may touch a place is said by its number.
unsafe impl Send for RecordQueue {}
// SAFETY: as above.
unsafe impl Sync for RecordQueue {}

/// Why a record is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// Memory of the caller's for records.
pub(crate) struct Room {
    records: NonNull<u8>,
    count: u32,
}

impl Room {
    /// # Safety
    /// There is room for `count` records of the queue that it is used with, which nobody else uses
    /// as long as it is used.
    pub(crate) unsafe fn new(records: NonNull<u8>, count: u32) -> Room {
        Room { records, count }
    }
}

impl RecordQueue {
    /// `capacity` is a power of two.
    pub(crate) fn create(capacity: usize, record_size: usize) -> Result<RecordQueue, Errno> {
        debug_assert!(capacity.is_power_of_two() && record_size != 0);
        let words = capacity * record_size.div_ceil(8);
        Ok(RecordQueue {
            places: boxed(capacity, |number| Place {
                number: AtomicUsize::new(number * STEP),
                turns: Turns::new(),
            })?,
            words: zeroed(words)?,
            record_size,
            tail: AtomicUsize::new(0),
            head: AtomicUsize::new(0),
        })
    }

    pub(crate) fn record_size(&self) -> usize {
        self.record_size
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Records in it, roughly while others send or take.
    pub(crate) fn len(&self) -> usize {
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed) & !CLOSED;
        (tail.wrapping_sub(head) / STEP).min(self.capacity())
    }

    fn place(&self, position: usize) -> (&Place, *mut u8) {
        let index = (position / STEP) & (self.capacity() - 1);
        let word = &self.words[index * self.record_size.div_ceil(8)];
        (&self.places[index], word.get().cast())
    }

    /// Sends a record, of the queue's size, from any thread.
    pub(crate) fn push(&self, record: &[u8]) -> Result<(), Refused> {
        assert_eq!(record.len(), self.record_size);
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            let (place, bytes) = self.place(tail);
            // Acquire pairs with the release in `pop`: the record before was copied out.
            let number = place.number.load(Ordering::Acquire);
            if number < tail {
                // It is full, unless others were faster and the look at it is an old one.
                let now = self.tail.load(Ordering::Relaxed);
                if now == tail {
                    return Err(Refused::Full);
                }
                tail = now;
            } else if number > tail {
                tail = self.tail.load(Ordering::Relaxed);
            } else {
                // SeqCst: a send is before the close, or fails here.
                match self.tail.compare_exchange_weak(
                    tail,
                    tail + STEP,
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: the place is ours from the exchange to the store below, and has
                        // room for a record.
                        place.turns.take(|| unsafe {
                            bytes.copy_from_nonoverlapping(record.as_ptr(), record.len());
                        });
                        // SeqCst: releases the record to `pop`, and is before the look for a
                        // listener (`Bell::ring`).
                        place.number.store(tail + FILLED, Ordering::SeqCst);
                        return Ok(());
                    }
                    Err(now) => tail = now,
                }
            }
        }
    }

    /// Takes as many records as are there and have room; how many.
    pub(crate) fn pop(&self, _: &Claim, room: &Room) -> u32 {
        let mut position = self.head.load(Ordering::Relaxed);
        let mut taken = 0;
        while taken < room.count {
            let (place, bytes) = self.place(position);
            // Acquire pairs with the store in `push`.
            if place.number.load(Ordering::Acquire) != position + FILLED {
                break;
            }
            // SAFETY: the place is the claim's until the store below; the room was promised.
            place.turns.take(|| unsafe {
                let to = room.records.as_ptr().add(taken as usize * self.record_size);
                to.copy_from_nonoverlapping(bytes, self.record_size);
            });
            place.number.store(position + self.capacity() * STEP, Ordering::Release);
            position += STEP;
            taken += 1;
        }
        self.head.store(position, Ordering::Relaxed);
        taken
    }

    /// Refuses records from now on.
    pub(crate) fn close(&self) {
        self.tail.fetch_or(CLOSED, Ordering::SeqCst);
    }

    /// Closed, and every record taken.
    pub(crate) fn has_ended(&self) -> bool {
        let tail = self.tail.load(Ordering::SeqCst);
        tail == self.head.load(Ordering::Relaxed) | CLOSED
    }

    /// Whether there is something to tell who takes. SeqCst: after `Bell::listen` has announced it.
    pub(crate) fn is_due(&self) -> bool {
        let position = self.head.load(Ordering::Relaxed);
        self.place(position).0.number.load(Ordering::SeqCst) == position + FILLED
            || self.has_ended()
    }
}

fn boxed<T>(count: usize, make: impl FnMut(usize) -> T) -> Result<Box<[T]>, Errno> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    all.extend((0..count).map(make));
    Ok(all.into_boxed_slice())
}

/// Untouched: what no record was ever copied to takes no memory. `count` is not 0.
fn zeroed(count: usize) -> Result<Box<[UnsafeCell<u64>]>, Errno> {
    let layout = Layout::array::<UnsafeCell<u64>>(count).map_err(|_| Errno::ENOMEM)?;
    // SAFETY: the layout is not empty.
    let words = unsafe { alloc_zeroed(layout) }.cast::<UnsafeCell<u64>>();
    if words.is_null() {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: as many words as the layout has, all of them zero, by the allocator that boxes use.
    Ok(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(words, count)) })
}
