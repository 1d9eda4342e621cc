//! What a resolver is made of: its options, the two files and the cache. Hides when the files are
//! read: when the resolver is made, and again when they have changed, which is looked at once a
//! second at most.

use crate::service::resolver::client::cache::Cache;
use crate::service::resolver::client::config::Settings;
use crate::service::resolver::client::exchange::DATAGRAM_LEAST;
use crate::service::resolver::client::hosts::Hosts;
use crate::service::resolver::client::lookup::{Lookup, Missing};
use crate::service::resolver::data::{Answer, Entry, Kind, Options, Question, Want, text};
use crate::sys::clock;
use crate::sys::sync::{Mutex, MutexGuard};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

/// How long files are believed to be as they were.
const BELIEF_NS: u64 = 1_000_000_000;
/// As recommended since 2020: it passes any path without being taken apart.
const DATAGRAM_DEFAULT: u16 = 1232;
const TTL_MAX_DEFAULT: u32 = 86_400;
const NEGATIVE_TTL_MAX_DEFAULT: u32 = 300;

/// What is to be done about a question.
pub(crate) enum Begun {
    /// Nothing: this is the answer.
    Ended(Result<Answer, Missing>),
    Lookup(Box<Lookup>),
    /// It is no name.
    Invalid,
}

pub(crate) struct Source {
    options: Options,
    cache: Arc<Mutex<Cache>>,
    state: Mutex<State>,
}

struct State {
    settings: Arc<Settings>,
    hosts: Arc<Hosts>,
    conf_stamp: Stamp,
    hosts_stamp: Stamp,
    checked_ns: u64,
    /// Lookups so far, for `rotate`.
    lookups: usize,
}

/// What a file is known by: when it was written, its length and its number, because one that is put
/// in its place can have all else in common with it.
#[derive(PartialEq, Eq, Default)]
struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    fn of(path: Option<&Path>) -> Stamp {
        let about = path.and_then(|path| fs::metadata(path).ok());
        Stamp(about.and_then(|about| Some((about.modified().ok()?, about.len(), about.ino()))))
    }
}

fn read(path: Option<&Path>) -> Vec<u8> {
    path.and_then(|path| fs::read(path).ok()).unwrap_or_default()
}

impl Source {
    pub(crate) fn new(options: Options) -> Source {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        let cache = Cache::new(
            options.cache_entries,
            or(options.cache_ttl_max, TTL_MAX_DEFAULT),
            or(options.cache_negative_ttl_max, NEGATIVE_TTL_MAX_DEFAULT),
        );
        // Before they are read: what changes meanwhile is seen later.
        let conf_stamp = Stamp::of(options.conf.as_deref());
        let hosts_stamp = Stamp::of(options.hosts.as_deref());
        let state = State {
            settings: Arc::new(settings(&options)),
            hosts: Arc::new(Hosts::parse(&read(options.hosts.as_deref()))),
            conf_stamp,
            hosts_stamp,
            checked_ns: clock::now_ns(),
            lookups: 0,
        };
        Source { options, cache: Arc::new(Mutex::new(cache)), state: Mutex::new(state) }
    }

    /// Answers what needs no server, or begins to ask.
    pub(crate) fn begin(&self, question: &Question) -> Begun {
        let (settings, hosts, turn) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            self.look_at_files(&mut state);
            state.lookups = state.lookups.wrapping_add(1);
            (Arc::clone(&state.settings), Arc::clone(&state.hosts), state.lookups)
        };
        if let Some(ended) = local(question, &hosts) {
            return Begun::Ended(ended);
        }
        let first = if settings.rotate { turn % settings.servers.len() } else { 0 };
        let Question { name, want, fresh } = question;
        let lookup = Lookup::new(settings, Arc::clone(&self.cache), !fresh, name, *want, first);
        lookup.map_or(Begun::Invalid, |lookup| Begun::Lookup(Box::new(lookup)))
    }

    /// Forgets the answers that are kept.
    pub(crate) fn forget(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn look_at_files(&self, state: &mut MutexGuard<'_, State>) {
        let now_ns = clock::now_ns();
        if now_ns.saturating_sub(state.checked_ns) < BELIEF_NS {
            return;
        }
        state.checked_ns = now_ns;
        let (conf, hosts) = (self.options.conf.as_deref(), self.options.hosts.as_deref());
        let stamp = Stamp::of(conf);
        if stamp != state.conf_stamp {
            state.conf_stamp = stamp;
            state.settings = Arc::new(settings(&self.options));
            // Other servers may know other answers.
            self.forget();
        }
        let stamp = Stamp::of(hosts);
        if stamp != state.hosts_stamp {
            state.hosts_stamp = stamp;
            state.hosts = Arc::new(Hosts::parse(&read(hosts)));
        }
    }
}

/// The file's, and what was asked for instead.
fn settings(options: &Options) -> Settings {
    let mut settings = Settings::parse(&read(options.conf.as_deref()));
    if let Some(servers) = &options.servers {
        settings.servers.clone_from(servers);
    }
    if options.timeout_ns != 0 {
        settings.timeout_ns = options.timeout_ns;
    }
    if options.attempts != 0 {
        settings.attempts = options.attempts;
    }
    settings.tcp |= options.tcp;
    settings.rotate |= options.rotate;
    settings.datagram_max = match options.datagram_max {
        0 => DATAGRAM_DEFAULT,
        size => size.max(DATAGRAM_LEAST),
    };
    settings
}

/// What is known without asking: addresses that are written as such, of the file, or of this
/// machine (RFC 6761).
fn local(question: &Question, hosts: &Hosts) -> Option<Result<Answer, Missing>> {
    let wants = |ip: &IpAddr| match question.want {
        Want::Addresses => true,
        Want::One(Kind::A) => ip.is_ipv4(),
        Want::One(Kind::Aaaa) => ip.is_ipv6(),
        Want::One(Kind::Srv | Kind::Txt) => false,
    };
    let name = question.name.as_str();
    if let Ok(literal) = name.parse::<IpAddr>() {
        let ip = Some(literal).filter(wants).ok_or(Missing::NoData);
        return Some(ip.map(|ip| at(name, &[ip])));
    }
    let mut known: Vec<IpAddr> = hosts.find(name).iter().copied().filter(wants).collect();
    if known.is_empty() && is_this_machine(name) {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        known.extend(loopback.iter().filter(|ip| wants(ip)));
    }
    (!known.is_empty()).then(|| Ok(at(name, &known)))
}

fn at(name: &str, addresses: &[IpAddr]) -> Answer {
    let entries = addresses.iter().map(|&ip| Entry::of_address(ip, 0)).collect();
    Answer { name: text(name), entries }
}

fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, want: Want) -> Question {
        Question { name: name.into(), want, fresh: false }
    }

    fn known(name: &str, want: Want) -> Option<Result<Vec<String>, Missing>> {
        let hosts = Hosts::parse(b"192.0.2.1 host\n2001:db8::1 host\n192.0.2.9 localhost\n");
        let ended = local(&question(name, want), &hosts)?;
        let address = |entry: &Entry| {
            assert_eq!(entry.ttl, 0);
            entry.address.unwrap().to_string()
        };
        Some(ended.map(|answer| answer.entries.iter().map(address).collect()))
    }

    #[test]
    fn some_names_need_no_server() {
        let one = |text: &str| Some(Ok(vec![text.to_string()]));
        let both = |a: &str, b: &str| Some(Ok(vec![a.to_string(), b.to_string()]));
        let (a, aaaa) = (Want::One(Kind::A), Want::One(Kind::Aaaa));
        assert_eq!(known("host", a), one("192.0.2.1"));
        assert_eq!(known("HOST.", aaaa), one("2001:db8::1"));
        assert_eq!(known("host", Want::Addresses), both("192.0.2.1", "2001:db8::1"));
        assert_eq!(known("host", Want::One(Kind::Txt)), None);
        assert_eq!(known("other", a), None);
        assert_eq!(known("198.51.100.7", a), one("198.51.100.7"));
        assert_eq!(known("198.51.100.7", aaaa), Some(Err(Missing::NoData)));
        assert_eq!(known("::1", Want::Addresses), one("::1"));
        assert_eq!(known("localhost", a), one("192.0.2.9"), "the file comes first");
        assert_eq!(known("localhost", aaaa), one("::1"));
        assert_eq!(known("a.localhost.", Want::Addresses), both("127.0.0.1", "::1"));
        assert_eq!(known("localhost.example", a), None);
    }

    #[test]
    fn files_are_read_again_when_they_have_changed() {
        let folder = std::env::temp_dir().join(format!("aio_rs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (conf, hosts) = (folder.join("resolv.conf"), folder.join("hosts"));
        fs::write(&conf, "nameserver 192.0.2.1\n").unwrap();
        fs::write(&hosts, "192.0.2.2 host\n").unwrap();
        let options =
            Options { conf: Some(conf.clone()), hosts: Some(hosts.clone()), ..Options::default() };
        let source = Source::new(options);
        let servers = || source.state.lock().unwrap().settings.servers[0].to_string();
        let is_known = |name: &str| {
            matches!(source.begin(&question(name, Want::Addresses)), Begun::Ended(Ok(_)))
        };
        assert!(is_known("host") && !is_known("other-host"));
        fs::write(&conf, "nameserver 192.0.2.99\n").unwrap();
        fs::write(&hosts, "192.0.2.2 other-host\n").unwrap();
        assert!(is_known("host"), "files are believed for a while");
        source.state.lock().unwrap().checked_ns = 0;
        assert!(!is_known("host") && is_known("other-host"));
        assert_eq!(servers(), "192.0.2.99:53");
        // Another one in its place, of the same length and time.
        let (other, time) =
            (folder.join("other"), fs::metadata(&hosts).unwrap().modified().unwrap());
        fs::write(&other, "192.0.2.2 third-host\n").unwrap();
        fs::write(&hosts, "192.0.2.2 other-host\n").unwrap();
        for path in [&other, &hosts] {
            fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        fs::rename(&other, &hosts).unwrap();
        source.state.lock().unwrap().checked_ns = 0;
        assert!(!is_known("other-host") && is_known("third-host"));
        fs::remove_dir_all(&folder).unwrap();
        source.state.lock().unwrap().checked_ns = 0;
        assert!(!is_known("third-host"));
        assert_eq!(servers(), "127.0.0.1:53");
    }
}
