//! Converts a host, as typed by a user, to socket addresses. A link-local address includes its
//! interface.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use nix::net::if_::{InterfaceFlags, if_nameindex};

/// Resolves `host`: a name, an IP address, or a link-local IPv6 address with its interface, such as
/// `fe80::1%eth0` or `fe80::1%2` (RFC 4007, section 11). Returns each address once, in the
/// resolver's order. An IPv4-mapped address (`::ffff:127.0.0.1`) is returned as the IPv4 address.
///
/// # Errors
/// The name cannot be resolved, a link-local address has no interface or an unknown one, an address
/// of another kind has an interface, or the address is a multicast or broadcast address. The
/// message says what to try. If `host` is a name, the message contains `advice`.
pub fn resolve(host: &str, port: u16, advice: &str) -> Result<Vec<SocketAddr>> {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    if let Ok(ip) = address.parse::<IpAddr>() {
        return Ok(vec![scoped(ip, zone, port)?]);
    }
    let mut found = Vec::new();
    let addresses = (host, port)
        .to_socket_addrs()
        .with_context(|| format!("cannot find the address of `{host}`: {advice}"))?;
    for address in addresses {
        let address = canonical(address);
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        bail!("`{host}` has no address: {advice}");
    }
    Ok(found)
}

/// Combines an address, a port, and the interface `zone` of a link-local address. Fails for a
/// multicast or broadcast address, for a link-local address without a known interface, and for any
/// other address with an interface.
fn scoped(ip: IpAddr, zone: Option<&str>, port: u16) -> Result<SocketAddr> {
    let ip = ip.to_canonical();
    // Refuse a multicast or broadcast address: Linux listens on it, but no client can connect to
    // it.
    if ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
        bail!("`{ip}` is the address of a group: try the address of one machine");
    }
    match (ip, zone) {
        (IpAddr::V6(v6), None) if v6.is_unicast_link_local() => bail!(
            "`{v6}` is a link-local address and needs an interface: {}",
            suggestion(v6)
        ),
        (IpAddr::V6(v6), Some(zone)) if v6.is_unicast_link_local() => match index(zone) {
            Some(index) => Ok(SocketAddrV6::new(v6, port, 0, index).into()),
            None => bail!("there is no interface `{zone}`: {}", suggestion(v6)),
        },
        (ip, None) => Ok(SocketAddr::new(ip, port)),
        (ip, Some(zone)) => {
            bail!("only link-local addresses (fe80::…) have an interface: try {ip} without %{zone}")
        }
    }
}

/// Converts the name or the index of an interface to the index. Returns `None` if this machine has
/// no such interface.
fn index(zone: &str) -> Option<u32> {
    let number = zone.parse().ok();
    let interfaces = interfaces();
    let named = interfaces.iter().find(|(_, name)| name == zone);
    let found = named.or_else(|| interfaces.iter().find(|(index, _)| Some(*index) == number));
    found.map(|(index, _)| *index)
}

/// The index and name of each interface. Callers search this list for the name of an index, because
/// `if_indextoname` of nix 0.31 returns an empty name if the index is unknown.
fn interfaces() -> Vec<(u32, String)> {
    let interfaces = if_nameindex().ok();
    let interfaces = interfaces.iter().flat_map(|interfaces| interfaces.iter());
    interfaces
        .map(|interface| {
            (
                interface.index(),
                interface.name().to_string_lossy().into_owned(),
            )
        })
        .collect()
}

/// Advice for a link-local address without a known interface. Suggests the interface of this
/// machine that has the address or, if there is none, one that has another link-local address.
fn suggestion(address: Ipv6Addr) -> String {
    let mut interfaces: Vec<(Ipv6Addr, String)> = nix::ifaddrs::getifaddrs()
        .into_iter()
        .flatten()
        .filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            Some((
                interface.address?.as_sockaddr_in6()?.ip(),
                interface.interface_name,
            ))
        })
        .filter(|(ip, _)| ip.is_unicast_link_local())
        .collect();
    interfaces.sort_by_key(|(ip, _)| *ip != address);
    match interfaces.first() {
        Some((_, name)) => format!("try {address}%{name}"),
        None => "this machine has no interface with such an address".into(),
    }
}

/// Converts an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) to IPv4. Returns any other
/// address unchanged.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        // Return `address` itself, because an address made from the IP and the port would lack the
        // interface.
        IpAddr::V6(_) => address,
    }
}

/// Shows an address without its port, in a form that [`resolve`] accepts: a link-local address is
/// followed by its interface.
pub struct Host(pub SocketAddr);

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.ip().fmt(f)?;
        match self.0 {
            SocketAddr::V6(address) if address.scope_id() != 0 => {
                let index = address.scope_id();
                let interfaces = interfaces();
                match interfaces.iter().find(|(other, _)| *other == index) {
                    Some((_, name)) => write!(f, "%{name}"),
                    None => write!(f, "%{index}"),
                }
            }
            SocketAddr::V6(_) | SocketAddr::V4(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loopback interface, which Linux always has.
    fn loopback() -> (String, u32) {
        let interfaces = nix::ifaddrs::getifaddrs().unwrap();
        let mut loopback =
            interfaces.filter(|each| each.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        let name = loopback.next().unwrap().interface_name;
        let index = index(&name).unwrap();
        (name, index)
    }

    #[test]
    fn a_link_local_address_keeps_its_interface() {
        let (name, index) = loopback();
        for zone in [name.clone(), index.to_string()] {
            let found = resolve(&format!("fe80::1%{zone}"), 80, "").unwrap();
            let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, index);
            assert_eq!(found, [SocketAddr::from(expected)]);
            assert_eq!(Host(found[0]).to_string(), format!("fe80::1%{name}"));
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_an_ipv4_address() {
        let found = resolve("::ffff:127.0.0.1", 80, "").unwrap();
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(Host(found[0]).to_string(), "127.0.0.1");
    }

    #[test]
    fn an_unusable_address_is_an_error_that_says_what_to_try() {
        for (host, reason) in [
            (
                "fe80::1",
                "`fe80::1` is a link-local address and needs an interface: ",
            ),
            ("fe80::1%", "there is no interface ``: "),
            ("fe80::1%no-such0", "there is no interface `no-such0`: "),
            ("fe80::1%77777", "there is no interface `77777`: "),
            ("fe80::1%0", "there is no interface `0`: "),
            ("::1%lo", "have an interface: try ::1 without %lo"),
            ("::1%1", "have an interface: try ::1 without %1"),
            ("2001:db8::1%lo", "try 2001:db8::1 without %lo"),
            ("127.0.0.1%lo", "try 127.0.0.1 without %lo"),
            ("224.0.0.1", "`224.0.0.1` is the address of a group: "),
            ("255.255.255.255", "`255.255.255.255` is the address of a"),
            (
                "::ffff:224.0.0.1",
                "`224.0.0.1` is the address of a group: ",
            ),
            ("ff02::1%lo", "`ff02::1` is the address of a group: "),
        ] {
            let error = resolve(host, 80, "").unwrap_err().to_string();
            assert!(error.contains(reason), "{host}: {error}");
        }
    }

    #[test]
    fn the_error_for_an_unknown_host_contains_the_callers_advice() {
        let error = resolve("no-such-host.invalid", 80, "try another").unwrap_err();
        let expected = "cannot find the address of `no-such-host.invalid`: try another";
        assert_eq!(error.to_string(), expected);
    }
}
