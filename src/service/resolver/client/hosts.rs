//! The names and addresses of a file `hosts`: an address in each line, then its names.

use std::collections::HashMap;
use std::net::IpAddr;

#[derive(Default)]
pub(crate) struct Hosts {
    /// By name in lower case.
    addresses: HashMap<String, Vec<IpAddr>>,
}

impl Hosts {
    /// Lines that it does not understand it leaves out.
    pub(crate) fn parse(text: &[u8]) -> Hosts {
        let mut addresses: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                let known = addresses.entry(plain(name)).or_default();
                if !known.contains(&address) {
                    known.push(address);
                }
            }
        }
        Hosts { addresses }
    }

    /// The addresses of a name, in the file's order.
    pub(crate) fn find(&self, name: &str) -> &[IpAddr] {
        self.addresses.get(&plain(name)).map_or(&[], Vec::as_slice)
    }
}

/// A name as it is compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hosts: &Hosts, name: &str) -> Vec<String> {
        hosts.find(name).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn a_name_has_the_addresses_of_all_its_lines() {
        let hosts = Hosts::parse(
            b"127.0.0.1\tlocalhost\n::1 localhost ip6-localhost # loopback\n\
              192.0.2.1 Host.Example host\n192.0.2.2 host\n192.0.2.1 host\n",
        );
        assert_eq!(found(&hosts, "localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(found(&hosts, "host"), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(found(&hosts, "HOST.example."), ["192.0.2.1"]);
        assert_eq!(found(&hosts, "loopback"), [""; 0]);
    }

    #[test]
    fn lines_that_are_none_are_left_out() {
        let hosts = Hosts::parse(
            b"# all\n\nnonsense host\n192.0.2.1\n\xff\xff host\n300.0.0.1 host\n192.0.2.9 host",
        );
        assert_eq!(found(&hosts, "host"), ["192.0.2.9"]);
    }
}
