//! Where to connect: what a user may write for a host and a port.

use std::net::Ipv6Addr;

use crate::protocol::limits::DEFAULT_PORT;

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Address {
    /// Reads `HOST`, `HOST:PORT`, `[::1]`, `[::1]:PORT`, `::1` or a lone port from `place`; `apart` is a port that was
    /// given after it, `option` one that was given with `-p`.
    ///
    /// # Errors
    /// What is wrong, as a user is told it: a port twice, a port that cannot be, no host.
    pub fn parse(
        place: Option<&str>,
        apart: Option<u16>,
        option: Option<u16>,
    ) -> Result<Self, String> {
        let (host, inner) = match place {
            None => ("localhost", None),
            Some(place) => split(place)?,
        };
        let port = match (option, inner, apart) {
            // Which was typed first is not known, so the option has its name.
            (Some(option), Some(other), _) | (Some(option), None, Some(other)) => {
                return Err(format!(
                    "two ports, -p {option} and {other}: leave one of them out"
                ));
            }
            (None, Some(inner), Some(apart)) => {
                return Err(format!(
                    "two ports, {inner} and {apart}: leave one of them out"
                ));
            }
            (option, inner, apart) => option.or(inner).or(apart).unwrap_or(DEFAULT_PORT),
        };
        if port == 0 {
            return Err("nobody can be reached at port 0: give the server's port".into());
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

/// The host and the port in `place`.
fn split(place: &str) -> Result<(&str, Option<u16>), String> {
    if !place.is_empty() && place.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(("localhost", Some(parse_port(place)?)));
    }
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) if after.starts_with(':') => (host, Some(&after[1..])),
            Some(_) | None => return Err(format!("`{place}` is not like [::1]:9999")),
        }
    } else if is_ipv6(place) {
        (place, None)
    } else {
        match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    if host.is_empty() {
        return Err(format!(
            "there is no host in `{place}`: give a name or an address"
        ));
    }
    Ok((host, port.map(parse_port).transpose()?))
}

/// Also with the interface of a link-local address, as in `fe80::1%eth0` (RFC 4007, section 11).
fn is_ipv6(place: &str) -> bool {
    let address = place.split_once('%').map_or(place, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn parse_port(port: &str) -> Result<u16, String> {
    port.parse()
        .map_err(|_| format!("`{port}` is no port: a port is a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> Result<Address, String> {
        Ok(Address {
            host: host.into(),
            port,
        })
    }

    #[test]
    fn a_place_can_be_written_in_all_usual_ways() {
        for (place, port, expected) in [
            (None, None, target("localhost", 9999)),
            (None, Some(80), target("localhost", 80)),
            (Some("8080"), None, target("localhost", 8080)),
            (Some("host"), None, target("host", 9999)),
            (Some("host"), Some(80), target("host", 80)),
            (Some("host:80"), None, target("host", 80)),
            (Some("10.0.0.1:80"), None, target("10.0.0.1", 80)),
            (Some("::1"), None, target("::1", 9999)),
            (Some("::1"), Some(80), target("::1", 80)),
            (Some("[::1]"), Some(80), target("::1", 80)),
            (Some("[::1]:80"), None, target("::1", 80)),
            (Some("fe80::1%eth0"), None, target("fe80::1%eth0", 9999)),
        ] {
            assert_eq!(
                Address::parse(place, port, None),
                expected,
                "{place:?} {port:?}"
            );
            assert_eq!(
                Address::parse(place, None, port),
                expected,
                "{place:?} -p {port:?}"
            );
        }
    }

    #[test]
    fn a_place_that_cannot_be_is_refused_with_the_reason() {
        for (place, port, reason) in [
            (Some("8080"), Some(80), "two ports"),
            (Some("host:80"), Some(80), "two ports"),
            (Some("[::1]:80"), Some(81), "two ports"),
            (Some("0"), None, "port 0"),
            (None, Some(0), "port 0"),
            (Some("99999"), None, "`99999` is no port"),
            (Some("host:"), None, "`` is no port"),
            (Some("host:x"), None, "`x` is no port"),
            (Some("host:1:2"), None, "`1:2` is no port"),
            (Some("[::1"), None, "not like"),
            (Some("[::1]80"), None, "not like"),
            (Some(""), None, "no host"),
            (Some(":80"), None, "no host"),
            (Some("[]:80"), None, "no host"),
        ] {
            let error = Address::parse(place, port, None).unwrap_err();
            assert!(error.contains(reason), "{place:?} {port:?}: {error}");
        }
    }
}
