//! Facts about the machine that come out the same whoever looks: looked up once in a process, and
//! without a lock, which a forked child would find held by a thread that it has not got.

use crate::sys::atomic::Ordering;
use crate::sys::atomic::fixed::AtomicU64;

/// The words of the fact. The first, which is written last, is 0: not yet known.
pub(crate) struct Known<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Known<WORDS> {
    pub(crate) const fn new() -> Self {
        Known([const { AtomicU64::new(0) }; WORDS])
    }

    /// The fact, if somebody has looked.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<[u64; WORDS]> {
        // Acquire pairs with the release in `set`: the other words were written before.
        let first = self.0[0].load(Ordering::Acquire);
        let mut words = [first; WORDS];
        for (word, known) in words.iter_mut().zip(&self.0).skip(1) {
            *word = known.load(Ordering::Relaxed);
        }
        (first != 0).then_some(words)
    }

    /// What somebody has found: the same, whoever it was. Forgotten if its first word is 0.
    pub(crate) fn set(&self, found: [u64; WORDS]) {
        for (known, word) in self.0.iter().zip(found).rev() {
            known.store(word, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_known() {
        let known = Known::new();
        assert_eq!(known.get(), None);
        known.set([u64::MAX, 0, 7]);
        assert_eq!(known.get(), Some([u64::MAX, 0, 7]));
    }
}
