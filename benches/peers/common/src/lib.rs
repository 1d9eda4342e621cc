//! What the peers' programs have in common: how the benchmarks in C call them, and the reads, whose
//! blocks are chosen and compared as `benches/reads.c` does it.
//!
//! A program is started with the name of a workload and numbers. It inherits the descriptors that
//! are among these and the CPU that it shall run on, does the work, and exits with 0 when all of it
//! was right. Where only a part is measured it stops before and after that part.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::process::exit;

pub const BLOCK: usize = 4096;

/// The name of the workload, and its numbers; ends the program unless there are `count` of them.
pub fn arguments() -> (String, Vec<u64>) {
    let mut arguments = env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let numbers = arguments.map(|number| number.parse().expect("a number")).collect();
    (name, numbers)
}

/// For a workload that this peer does not have.
pub fn unknown(workload: &str) -> ! {
    eprintln!("this peer has no workload {workload:?}");
    exit(2)
}

/// The line to the benchmark that measures this process.
pub struct Channel(File);

impl Channel {
    /// The descriptor is inherited and has no other owner.
    pub fn new(fd: u64) -> Self {
        // SAFETY: the caller was given the descriptor to own.
        Self(unsafe { File::from_raw_fd(fd as i32) })
    }

    /// Says that this process is ready, and sleeps until it may go on.
    pub fn stop(&mut self) {
        let mut byte = [0];
        self.0.write_all(&byte).expect("the benchmark is there");
        self.0.read_exact(&mut byte).expect("the benchmark is there");
    }
}

/// splitmix64
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Below `range`, which fits 32 bits.
pub fn random_below(state: &mut u64, range: u64) -> u64 {
    ((random(state) >> 32) * range) >> 32
}

/// What the file has at a position, a multiple of 8.
fn word_at(mut position: u64) -> u64 {
    random(&mut position)
}

/// The reads of one process: which block comes next, and whether what came is right.
pub struct Reads {
    blocks: u64,
    count: u64,
    started: u64,
    completed: u64,
    seed: u64,
    whole: bool,
}

impl Reads {
    pub fn new(blocks: u64) -> Self {
        Self { blocks, count: 0, started: 0, completed: 0, seed: 1, whole: false }
    }

    /// So many more; `whole` compares every byte, otherwise the two ends of a block.
    pub fn begin(&mut self, count: u64, whole: bool) {
        *self = Self { count, whole, started: 0, completed: 0, ..*self };
    }

    /// The offset of a random block, and the buffer without what an earlier read left.
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<u64> {
        if self.started == self.count {
            return None;
        }
        self.started += 1;
        if self.whole {
            buffer.fill(0);
        } else {
            buffer[..8].fill(0);
            buffer[BLOCK - 8..].fill(0);
        }
        Some(random(&mut self.seed) % self.blocks * BLOCK as u64)
    }

    /// Counts a read, and compares what it brought.
    pub fn done(&mut self, offset: u64, result: usize, buffer: &[u8]) {
        assert_eq!(result, BLOCK, "a read ended early");
        let step = if self.whole { 8 } else { BLOCK - 8 };
        for at in (0..BLOCK).step_by(step) {
            let word = u64::from_ne_bytes(buffer[at..at + 8].try_into().expect("8 bytes"));
            assert_eq!(word, word_at(offset + at as u64), "wrong contents at {offset}");
        }
        self.completed += 1;
    }

    pub fn end(&self) {
        assert_eq!(self.completed, self.count, "reads that did not complete");
    }
}

/// Buffers of a block, aligned for direct reads, which live as long as the process.
pub fn buffers(count: u64) -> Vec<&'static mut [u8]> {
    let mut memory = std::ptr::null_mut();
    // SAFETY: the memory is new and as large as was asked for; it is never freed.
    let all: &'static mut [u8] = unsafe {
        assert_eq!(libc::posix_memalign(&mut memory, BLOCK, count as usize * BLOCK), 0);
        std::ptr::write_bytes(memory.cast::<u8>(), 0, count as usize * BLOCK);
        std::slice::from_raw_parts_mut(memory.cast(), count as usize * BLOCK)
    };
    all.chunks_exact_mut(BLOCK).collect()
}

/// Counts the connections that were closed; the last one ends the program.
pub struct Closed {
    left: u64,
}

impl Closed {
    pub fn new(connections: u64) -> Self {
        Self { left: connections }
    }

    pub fn one(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            exit(0);
        }
    }
}
