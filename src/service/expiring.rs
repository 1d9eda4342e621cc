//! A map whose entries have an end. It holds a limited number of them: when it is full, the one
//! that would end first goes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

pub(crate) struct Expiring<K, V> {
    entries_max: usize,
    entries: HashMap<K, Entry<V>>,
    /// By end, and by number, because ends may be equal.
    order: BTreeMap<(u64, u64), K>,
    numbers: u64,
}

struct Entry<V> {
    value: V,
    stored_ns: u64,
    place: (u64, u64),
}

impl<K: Hash + Eq + Clone, V> Expiring<K, V> {
    /// 0: it holds nothing.
    pub(crate) fn new(entries_max: usize) -> Expiring<K, V> {
        Expiring { entries_max, entries: HashMap::new(), order: BTreeMap::new(), numbers: 0 }
    }

    /// Whether it holds anything, or may.
    pub(crate) fn is_off(&self) -> bool {
        self.entries_max == 0
    }

    /// What has not ended, and how old it is.
    pub(crate) fn find(&self, key: &K, now_ns: u64) -> Option<(&V, u64)> {
        let entry = self.entries.get(key)?;
        let is_good = now_ns < entry.place.0;
        is_good.then(|| (&entry.value, now_ns.saturating_sub(entry.stored_ns)))
    }

    /// Holds a value for so long, in the place of an earlier one.
    pub(crate) fn store(&mut self, key: K, value: V, ttl_ns: u64, now_ns: u64) {
        if ttl_ns == 0 || self.is_off() {
            return;
        }
        self.numbers += 1;
        let place = (now_ns.saturating_add(ttl_ns), self.numbers);
        let entry = Entry { value, stored_ns: now_ns, place };
        if let Some(before) = self.entries.insert(key.clone(), entry) {
            self.order.remove(&before.place);
        }
        self.order.insert(place, key);
        self.shrink();
    }

    /// Holds no more than so many from now on.
    pub(crate) fn limit(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.entries_max
            && let Some((_, first)) = self.order.pop_first()
        {
            self.entries.remove(&first);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_there_until_its_end() {
        let mut map = Expiring::new(4);
        map.store("a", 1, 10, 5);
        assert_eq!(map.find(&"a", 5), Some((&1, 0)));
        assert_eq!(map.find(&"a", 14), Some((&1, 9)));
        assert_eq!(map.find(&"a", 15), None);
        map.store("a", 2, 10, 14);
        assert_eq!(map.find(&"a", 23), Some((&2, 9)));
        map.store("b", 3, 0, 14);
        assert_eq!(map.find(&"b", 14), None);
        map.clear();
        assert_eq!(map.find(&"a", 23), None);
    }

    #[test]
    fn what_ends_first_makes_room() {
        let mut map = Expiring::new(2);
        for (key, ttl) in [("a", 30), ("b", 10), ("a", 40), ("c", 20)] {
            map.store(key, ttl, ttl, 0);
        }
        let known = |map: &Expiring<&str, u64>, key| map.find(&key, 0).is_some();
        assert!(known(&map, "a") && !known(&map, "b") && known(&map, "c"));
        assert_eq!((map.entries.len(), map.order.len()), (2, 2));
        map.limit(1);
        assert!(known(&map, "a") && !known(&map, "c"));
        map.limit(0);
        assert!(map.is_off() && !known(&map, "a"));
        map.store("a", 1, 1, 0);
        assert_eq!((map.entries.len(), map.order.len()), (0, 0));
    }
}
