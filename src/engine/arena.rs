//! Copies of small arguments: blocks of a few sizes, kept and used again, so that a path or a
//! message header costs no allocation in the long run. A block's address is stable until it is
//! given back, which is at its operation's last completion.

use crate::sys::errno::Errno;
use crate::sys::spare::KEEPS_SPARE;

/// Eight-byte words, so that C structures in it are aligned.
pub(crate) type Block = Box<[u64]>;

const CLASS_MIN_BYTES: usize = 64;
const CLASSES: usize = 12;
/// Spare blocks kept per size.
const SPARE_MAX: usize = 1024;
/// Bytes kept in spare blocks of one size.
const SPARE_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct Arena {
    spare: [Vec<Block>; CLASSES],
}

impl Arena {
    fn class(bytes: usize) -> usize {
        (bytes.max(CLASS_MIN_BYTES).next_power_of_two() / CLASS_MIN_BYTES).ilog2() as usize
    }

    /// A block of at least `bytes`, its contents unspecified.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<Block, Errno> {
        let class = Self::class(bytes);
        if let Some(block) = self.spare.get_mut(class).and_then(Vec::pop) {
            return Ok(block);
        }
        let words = bytes.max(CLASS_MIN_BYTES).next_power_of_two() / size_of::<u64>();
        let mut block = Vec::new();
        block.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
        block.resize(words, 0);
        Ok(block.into_boxed_slice())
    }

    pub(crate) fn give_back(&mut self, block: Block) {
        let bytes = size_of_val(&*block);
        if KEEPS_SPARE
            && let Some(spare) = self.spare.get_mut(Self::class(bytes))
            && spare.len() < SPARE_MAX.min(SPARE_BYTES_MAX / bytes)
        {
            spare.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_and_large_ones_are_not_hoarded() {
        let mut arena = Arena::default();
        let block = arena.take(100).unwrap();
        assert_eq!(size_of_val(&*block), 128);
        let address = block.as_ptr();
        arena.give_back(block);
        let again = arena.take(128).unwrap();
        assert_eq!(again.as_ptr(), address);
        let large = arena.take(1 << 22).unwrap();
        arena.give_back(large);
        assert!(arena.spare.iter().all(Vec::is_empty));
    }
}
