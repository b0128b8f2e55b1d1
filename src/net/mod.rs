//! Sockets: listening, and what std's sockets lack.

pub mod listen;
mod sendfile;
mod socket;

pub use sendfile::SharedPayload;
pub use socket::*;

use std::net::IpAddr;

/// The addresses by which other machines may reach this one: of every interface that is up, without loopback, and without
/// link-local IPv6 ones, which nobody can type without naming an interface. Empty where they cannot be had.
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
    // IPv4 first: it is what people can type.
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_ones_that_others_can_type() {
        for ip in addresses() {
            assert!(!ip.is_loopback(), "{ip}");
            assert!(!ip.is_unspecified(), "{ip}");
        }
    }
}
