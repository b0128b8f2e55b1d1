//! Parses the address of a server in all forms that users type.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;

use crate::protocol::limits::DEFAULT_PORT;

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port, which is never 0.
    pub port: u16,
}

/// The form that a user may type: `HOST:PORT`, with an IPv6 address in brackets.
impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl Address {
    /// Parses `place`, which is `HOST`, `HOST:PORT`, `[::1]`, `[::1]:PORT`, `::1` or a port alone.
    /// `argument` is a port given as a separate argument, and `option` is a port given with `-p`.
    ///
    /// # Errors
    /// Two ports, an invalid port, or no host. The message is for the user.
    pub fn parse(
        place: Option<&str>,
        argument: Option<u16>,
        option: Option<u16>,
    ) -> Result<Self, String> {
        let (host, inner) = match place {
            None => ("localhost", None),
            Some(place) => split(place)?,
        };
        let port = match (option, inner, argument) {
            // Show `-p` before its port in the message, so that the user can tell the two ports
            // apart: their order on the command line is unknown here.
            (Some(option), Some(other), _) | (Some(option), None, Some(other)) => {
                return Err(format!(
                    "two ports, -p {option} and {other}: leave one of them out"
                ));
            }
            (None, Some(inner), Some(argument)) => {
                return Err(format!(
                    "two ports, {inner} and {argument}: leave one of them out"
                ));
            }
            (option, inner, argument) => option.or(inner).or(argument).unwrap_or(DEFAULT_PORT),
        };
        if port == 0 {
            return Err("cannot connect to port 0: give the server's port".into());
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

/// Splits `place` into host and port.
fn split(place: &str) -> Result<(&str, Option<u16>), String> {
    if !place.is_empty() && place.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(("localhost", Some(parse_port(place)?)));
    }
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) if after.starts_with(':') => (host, Some(&after[1..])),
            Some(_) | None => {
                return Err(format!(
                    "`{place}` is not an address: IPv6 with a port looks like [::1]:9999"
                ));
            }
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

/// Whether `place` is an IPv6 address, possibly with an interface, as in `fe80::1%eth0` (RFC 4007,
/// section 11).
fn is_ipv6(place: &str) -> bool {
    let address = place.split_once('%').map_or(place, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

fn parse_port(port: &str) -> Result<u16, String> {
    port.parse()
        .map_err(|_| format!("`{port}` is not a port: a port is a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn host_and_port_are_optional_and_may_be_joined_by_a_colon() {
        for (place, port, expected) in [
            (None, None, address("localhost", 9999)),
            (None, Some(80), address("localhost", 80)),
            (Some("8080"), None, address("localhost", 8080)),
            (Some("host"), None, address("host", 9999)),
            (Some("host"), Some(80), address("host", 80)),
            (Some("host:80"), None, address("host", 80)),
            (Some("10.0.0.1:80"), None, address("10.0.0.1", 80)),
            (Some("::1"), None, address("::1", 9999)),
            (Some("::1"), Some(80), address("::1", 80)),
            (Some("[::1]"), Some(80), address("::1", 80)),
            (Some("[::1]:80"), None, address("::1", 80)),
            (Some("fe80::1%eth0"), None, address("fe80::1%eth0", 9999)),
            (Some("[fe80::1%eth0]:80"), None, address("fe80::1%eth0", 80)),
        ] {
            assert_eq!(
                Address::parse(place, port, None).as_ref(),
                Ok(&expected),
                "{place:?} {port:?}"
            );
            assert_eq!(
                Address::parse(place, None, port).as_ref(),
                Ok(&expected),
                "{place:?} -p {port:?}"
            );
        }
    }

    #[test]
    fn an_address_is_shown_in_a_form_that_can_be_typed() {
        for shown in ["host:80", "10.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80"] {
            let address = Address::parse(Some(shown), None, None).unwrap();
            assert_eq!(address.to_string(), shown);
        }
    }

    #[test]
    fn an_invalid_address_is_rejected_with_the_reason() {
        for (place, port, reason) in [
            (Some("8080"), Some(80), "two ports"),
            (Some("host:80"), Some(80), "two ports"),
            (Some("[::1]:80"), Some(81), "two ports"),
            (Some("0"), None, "port 0"),
            (None, Some(0), "port 0"),
            (Some("99999"), None, "`99999` is not a port"),
            (Some("host:"), None, "`` is not a port"),
            (Some("host:x"), None, "`x` is not a port"),
            (Some("host:1:2"), None, "`1:2` is not a port"),
            (Some("[::1"), None, "looks like"),
            (Some("[::1]80"), None, "looks like"),
            (Some(""), None, "no host"),
            (Some(":80"), None, "no host"),
            (Some("[]:80"), None, "no host"),
        ] {
            let error = Address::parse(place, port, None).unwrap_err();
            assert!(error.contains(reason), "{place:?} {port:?}: {error}");
        }
    }
}
