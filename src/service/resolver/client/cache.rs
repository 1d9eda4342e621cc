//! Answers that are kept for as long as who gave them says, and how long something is known not to
//! exist. Off unless it has a size.

use crate::service::expiring::Expiring;
use crate::service::resolver::client::exchange::Verdict;
use crate::service::resolver::client::message::FullName;
use crate::service::resolver::data::Kind;

type Key = (Box<[u8]>, Kind);

pub(crate) struct Cache {
    /// Seconds at most.
    ttl_max: u32,
    negative_ttl_max: u32,
    entries: Expiring<Key, Verdict>,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Cache {
    pub(crate) fn new(entries_max: u32, ttl_max: u32, negative_ttl_max: u32) -> Cache {
        Cache { ttl_max, negative_ttl_max, entries: Expiring::new(entries_max as usize) }
    }

    /// What is known, with the time that it is still good for.
    pub(crate) fn find(&self, name: &FullName, kind: Kind, now_ns: u64) -> Option<Verdict> {
        let (verdict, age_ns) = self.entries.find(&key(name, kind), now_ns)?;
        let age = (age_ns / SECOND_NS) as u32;
        Some(match verdict.clone() {
            Verdict::Records { name, mut records } => {
                records.iter_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
                Verdict::Records { name, records }
            }
            other => other,
        })
    }

    /// Keeps an answer, if it may be kept.
    pub(crate) fn store(&mut self, name: &FullName, kind: Kind, verdict: &Verdict, now_ns: u64) {
        let ttl = match verdict {
            _ if self.entries.is_off() => return,
            Verdict::Records { records, .. } => {
                let least = records.iter().map(|record| record.ttl).min();
                least.unwrap_or(0).min(self.ttl_max)
            }
            Verdict::NoData { ttl } | Verdict::NoName { ttl } => (*ttl).min(self.negative_ttl_max),
            Verdict::Failure(_) => 0,
        };
        let ttl_ns = u64::from(ttl) * SECOND_NS;
        self.entries.store(key(name, kind), verdict.clone(), ttl_ns, now_ns);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

fn key(name: &FullName, kind: Kind) -> Key {
    // The lengths of labels are below the letters.
    (name.as_slice().to_ascii_lowercase().into(), kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::resolver::client::exchange::Failure;
    use crate::service::resolver::client::message::{Data, Record};
    use std::net::{IpAddr, Ipv4Addr};
    use std::str::FromStr;

    fn name(text: &str) -> FullName {
        FullName::from_str(text).unwrap()
    }

    fn records(ttls: &[u32]) -> Verdict {
        let data = Data::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let records = ttls.iter().map(|&ttl| Record { ttl, data: data.clone() }).collect();
        Verdict::Records { name: name("host.example"), records }
    }

    #[test]
    fn records_grow_old_together() {
        let mut cache = Cache::new(4, 86_400, 300);
        cache.store(&name("Host.Example"), Kind::A, &records(&[10, 60]), 5 * SECOND_NS);
        let find = |at: u64| cache.find(&name("hOST.eXAMPLE"), Kind::A, at * SECOND_NS);
        assert_eq!(find(5), Some(records(&[10, 60])));
        assert_eq!(find(14), Some(records(&[1, 51])));
        assert_eq!(find(15), None);
        assert_eq!(cache.find(&name("host.example"), Kind::Aaaa, 5 * SECOND_NS), None);
        assert_eq!(cache.find(&name("example"), Kind::A, 5 * SECOND_NS), None);
    }

    #[test]
    fn limits_shorten_what_is_kept() {
        let mut cache = Cache::new(4, 20, 5);
        cache.store(&name("a"), Kind::A, &records(&[60]), 0);
        cache.store(&name("b"), Kind::A, &Verdict::NoName { ttl: 60 }, 0);
        cache.store(&name("c"), Kind::A, &Verdict::NoData { ttl: 3 }, 0);
        let found = |text: &str, at: u64| cache.find(&name(text), Kind::A, at * SECOND_NS);
        assert_eq!(found("a", 19), Some(records(&[41])));
        assert_eq!(found("a", 20), None);
        assert_eq!(found("b", 4), Some(Verdict::NoName { ttl: 60 }));
        assert_eq!(found("b", 5), None);
        assert_eq!(found("c", 2), Some(Verdict::NoData { ttl: 3 }));
        assert_eq!(found("c", 3), None);
    }

    #[test]
    fn what_may_not_be_kept_is_not() {
        let mut cache = Cache::new(2, 86_400, 300);
        cache.store(&name("a"), Kind::A, &records(&[0, 60]), 0);
        cache.store(&name("a"), Kind::A, &Verdict::NoName { ttl: 0 }, 0);
        cache.store(&name("a"), Kind::A, &Verdict::Failure(Failure::Failed), 0);
        assert_eq!(cache.find(&name("a"), Kind::A, 0), None);
        let mut off = Cache::new(0, 86_400, 300);
        off.store(&name("a"), Kind::A, &records(&[60]), 0);
        assert_eq!(off.find(&name("a"), Kind::A, 0), None);
        cache.store(&name("a"), Kind::A, &records(&[60]), 0);
        cache.clear();
        assert_eq!(cache.find(&name("a"), Kind::A, 0), None);
    }
}
