//! Sockets: listening, and operations that std's sockets lack.

pub mod listen;
pub mod resolve;
mod sendfile;
mod socket;

pub use sendfile::SharedPayload;
pub use socket::*;

use std::net::IpAddr;

/// The addresses at which other machines may reach this one: those of all interfaces that are up,
/// except loopback addresses and link-local IPv6 addresses, which users would have to type with an
/// interface. Empty if the interfaces cannot be listed.
pub fn addresses() -> Vec<IpAddr> {
    use nix::net::if_::InterfaceFlags;

    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for interface in interfaces {
        if !interface.flags.contains(InterfaceFlags::IFF_UP)
            || interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
        {
            continue;
        }
        let Some(address) = interface.address else {
            continue;
        };
        let ip = if let Some(v4) = address.as_sockaddr_in() {
            IpAddr::V4(v4.ip())
        } else if let Some(v6) = address.as_sockaddr_in6() {
            IpAddr::V6(v6.ip())
        } else {
            continue;
        };
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if !link_local && !found.contains(&ip) {
            found.push(ip);
        }
    }
    // List IPv4 addresses first, because they are easier to type.
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_offered_to_other_machines_are_neither_loopback_nor_unspecified() {
        for ip in addresses() {
            assert!(!ip.is_loopback(), "{ip}");
            assert!(!ip.is_unspecified(), "{ip}");
        }
    }
}
