//! What a resolver goes by: servers, names to append, patience. Hides where that comes from: the
//! file `resolv.conf`, in the grammar of the C library's, and what the program says instead.

use crate::service::resolver::client::message::FullName;
use crate::sys::names;
use resolv_conf::{Config, ScopedIp};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

const PORT: u16 = 53;
/// As many as the C library takes from the file, and as high.
const FILE_SERVERS_MAX: usize = 3;
const NDOTS_MAX: u32 = 15;
const TIMEOUT_MAX_S: u32 = 30;
const ATTEMPTS_MAX: u32 = 5;

pub(crate) struct Settings {
    /// One at least.
    pub servers: Vec<SocketAddr>,
    pub search: Vec<FullName>,
    /// A name with as many dots is first tried as it is.
    pub ndots: u32,
    /// How long a server may take, doubled in each round.
    pub timeout_ns: u64,
    /// Rounds over all servers.
    pub attempts: u32,
    pub rotate: bool,
    pub tcp: bool,
    pub no_aaaa: bool,
    /// The size of datagrams that servers are told; 512: they are told nothing.
    pub datagram_max: u16,
}

impl Settings {
    /// Reads the text of a `resolv.conf`. What it does not understand it leaves out, as the C
    /// library does.
    pub(crate) fn parse(text: &[u8]) -> Settings {
        let (config, _) = Config::parse_with_errors(text);
        let servers: Vec<SocketAddr> =
            config.nameservers.iter().take(FILE_SERVERS_MAX).filter_map(address).collect();
        let mut search: Vec<String> = config.get_last_search_or_domain().cloned().collect();
        if search.is_empty() {
            search.extend(config.get_system_domain());
        }
        Settings {
            servers: if servers.is_empty() { vec![local()] } else { servers },
            search: search.iter().filter_map(|name| FullName::from_str(name).ok()).collect(),
            ndots: config.ndots.min(NDOTS_MAX),
            timeout_ns: u64::from(config.timeout.clamp(1, TIMEOUT_MAX_S)) * 1_000_000_000,
            attempts: config.attempts.clamp(1, ATTEMPTS_MAX),
            rotate: config.rotate,
            tcp: config.use_vc,
            no_aaaa: config.no_aaaa,
            datagram_max: 0,
        }
    }
}

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

fn address(ip: &ScopedIp) -> Option<SocketAddr> {
    Some(match ip {
        ScopedIp::V4(ip) => (*ip, PORT).into(),
        ScopedIp::V6(ip, None) => (*ip, PORT).into(),
        ScopedIp::V6(ip, Some(scope)) => {
            let scope = scope.parse().ok().or_else(|| names::interface_index(scope))?;
            SocketAddrV6::new(*ip, PORT, 0, scope).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(settings: &Settings) -> Vec<String> {
        settings.search.iter().map(FullName::to_string).collect()
    }

    #[test]
    fn a_file_says_all_that_it_can_say() {
        let settings = Settings::parse(
            b"# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n; another\n\
              domain one.example\nsearch two.example three.example.\n\
              options ndots:2 timeout:3 attempts:4 rotate use-vc no-aaaa\n",
        );
        let servers = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(settings.servers, servers);
        assert_eq!(search(&settings), ["two.example", "three.example"]);
        assert_eq!((settings.ndots, settings.attempts), (2, 4));
        assert_eq!(settings.timeout_ns, 3_000_000_000);
        assert!(settings.rotate && settings.tcp && settings.no_aaaa);
    }

    #[test]
    fn an_empty_file_means_the_local_server_and_the_usual_patience() {
        let settings = Settings::parse(b"");
        assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((settings.ndots, settings.attempts), (1, 2));
        assert_eq!(settings.timeout_ns, 5_000_000_000);
        assert!(!settings.rotate && !settings.tcp && !settings.no_aaaa);
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let settings = Settings::parse(
            b"nameserver nonsense\nnonsense 1\nnameserver 192.0.2.7\noptions ndots:x whatever\n\
              \xff\xfe\nnameserver 192.0.2.8 trailing\nsearch a..b good.example\n",
        );
        let servers = ["192.0.2.7:53", "192.0.2.8:53"].map(|text| text.parse().unwrap());
        assert_eq!(settings.servers, servers);
        assert_eq!(search(&settings), ["good.example"]);
        assert_eq!(settings.ndots, 1);
    }

    #[test]
    fn what_is_too_much_is_cut() {
        let settings = Settings::parse(
            b"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n\
              nameserver 192.0.2.4\noptions ndots:99 timeout:0 attempts:99\n",
        );
        assert_eq!(settings.servers.len(), 3);
        assert_eq!((settings.ndots, settings.attempts), (15, 5));
        assert_eq!(settings.timeout_ns, 1_000_000_000);
    }

    #[test]
    fn an_interface_is_a_number_or_a_name() {
        let settings = Settings::parse(b"nameserver fe80::1%7\nnameserver fe80::2%lo\n");
        let scopes: Vec<u32> = settings
            .servers
            .iter()
            .map(|server| match server {
                SocketAddr::V6(addr) => addr.scope_id(),
                SocketAddr::V4(_) => 0,
            })
            .collect();
        assert_eq!(scopes, [7, 1]);
    }
}
