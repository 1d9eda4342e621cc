//! Questions, answers and options as plain data, for whoever asks and is told: nothing in them
//! knows of messages or sockets.

use std::ffi::CString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

const PORT: u16 = 53;
/// As many as a program may name.
pub(crate) const SERVERS_MAX: usize = 16;

/// Kinds of records that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    A,
    Txt,
    Aaaa,
    Srv,
}

impl Kind {
    /// Its number in messages.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Kind::A => 1,
            Kind::Txt => 16,
            Kind::Aaaa => 28,
            Kind::Srv => 33,
        }
    }
}

/// What is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    One(Kind),
    /// A and AAAA.
    Addresses,
}

/// What is looked up, and how.
pub(crate) struct Question {
    pub name: String,
    pub want: Want,
    /// Answers are not taken from the cache.
    pub fresh: bool,
}

/// What a resolver is made with; zeroes and None are the defaults.
#[derive(Default)]
pub(crate) struct Options {
    /// None: no such file.
    pub conf: Option<PathBuf>,
    pub hosts: Option<PathBuf>,
    /// In the place of those of the file.
    pub servers: Option<Vec<SocketAddr>>,
    pub timeout_ns: u64,
    pub attempts: u32,
    pub tcp: bool,
    pub rotate: bool,
    pub datagram_max: u16,
    pub lookups_max: u32,
    pub cache_entries: u32,
    pub cache_ttl_max: u32,
    pub cache_negative_ttl_max: u32,
}

/// What a program gets of a lookup.
pub(crate) struct Answer {
    /// Behind all aliases.
    pub name: CString,
    pub entries: Vec<Entry>,
}

/// A record.
pub(crate) struct Entry {
    pub kind: Kind,
    /// Seconds.
    pub ttl: u32,
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: Option<CString>,
    pub address: Option<IpAddr>,
    /// The bytes of an address, or of all strings of a text.
    pub data: Vec<u8>,
    /// Where in `data` each string ends.
    pub ends: Vec<usize>,
}

impl Entry {
    pub(crate) fn new(kind: Kind, ttl: u32) -> Entry {
        Entry {
            kind,
            ttl,
            priority: 0,
            weight: 0,
            port: 0,
            target: None,
            address: None,
            data: Vec::new(),
            ends: Vec::new(),
        }
    }

    pub(crate) fn of_address(address: IpAddr, ttl: u32) -> Entry {
        let (kind, data) = match address {
            IpAddr::V4(ip) => (Kind::A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (Kind::Aaaa, ip.octets().to_vec()),
        };
        Entry { address: Some(address), data, ..Entry::new(kind, ttl) }
    }
}

/// A name as C takes it. In those of messages, what is no printable character is written `\DDD`.
pub(crate) fn text(name: &str) -> CString {
    CString::new(name.strip_suffix('.').unwrap_or(name)).unwrap_or_default()
}

/// Reads servers as a program writes them: addresses with or without a port, between white space.
/// None: one of them is none, or there are none or too many.
pub(crate) fn servers(text: &str) -> Option<Vec<SocketAddr>> {
    let with_port = |word: &str| SocketAddr::from_str(word).ok().filter(|addr| addr.port() != 0);
    let without = |word: &str| word.parse::<IpAddr>().ok().map(|ip| (ip, PORT).into());
    let found: Option<Vec<SocketAddr>> =
        text.split_whitespace().map(|word| with_port(word).or_else(|| without(word))).collect();
    found.filter(|servers| (1..=SERVERS_MAX).contains(&servers.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_servers_with_and_without_ports() {
        let text = " 192.0.2.1 192.0.2.2:5353\n[2001:db8::1]:54 2001:db8::2 ";
        let expected = ["192.0.2.1:53", "192.0.2.2:5353", "[2001:db8::1]:54", "[2001:db8::2]:53"];
        assert_eq!(servers(text).unwrap(), expected.map(|text| text.parse().unwrap()));
        assert!(servers("").is_none());
        assert!(servers("192.0.2.1 example.org").is_none());
        assert!(servers("192.0.2.1:0").is_none());
        assert!(servers(&"192.0.2.1 ".repeat(SERVERS_MAX + 1)).is_none());
    }
}
