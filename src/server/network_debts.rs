//! A debt for each network, for limits that a client must not evade by connecting again. A debt is
//! a time: it grows when clients of the network use up what is limited, and shrinks as time passes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::sync::Instant;

/// Limit on the networks to remember. Beyond the limit, the network that owes the least time is
/// forgotten.
const MAX_NETWORKS: usize = 1024;

/// For each network, a debt: a time that grows when clients of the network use up what is limited,
/// and shrinks as time passes.
#[derive(Default)]
pub(crate) struct NetworkDebts {
    /// The time at which each network's debt will have shrunk to zero.
    paid_at: HashMap<IpAddr, Instant>,
}

impl NetworkDebts {
    /// Returns the debt of the network of `peer`.
    pub(crate) fn get(&self, peer: IpAddr, now: Instant) -> Duration {
        let paid_at = self.paid_at.get(&network(peer));
        paid_at.map_or(Duration::ZERO, |paid_at| {
            paid_at.saturating_duration_since(now)
        })
    }

    /// Adds `time` to the debt of the network of `peer`.
    pub(crate) fn add(&mut self, peer: IpAddr, time: Duration, now: Instant) {
        let network = network(peer);
        if !self.paid_at.contains_key(&network) && self.paid_at.len() >= MAX_NETWORKS {
            self.paid_at.retain(|_, paid_at| *paid_at > now);
            if self.paid_at.len() >= MAX_NETWORKS {
                let least = self.paid_at.iter().min_by_key(|(_, paid_at)| **paid_at);
                let least = least.map(|(network, _)| *network);
                least.map(|network| self.paid_at.remove(&network));
            }
        }
        let paid_at = self.paid_at.entry(network).or_insert(now);
        *paid_at = (*paid_at).max(now) + time;
    }

    /// Subtracts `time` from the debt of the network of `peer`. The same `time` must have been
    /// added earlier.
    pub(crate) fn subtract(&mut self, peer: IpAddr, time: Duration) {
        if let Some(paid_at) = self.paid_at.get_mut(&network(peer)) {
            *paid_at -= time;
        }
    }
}

/// Returns the address that stands for the whole network of `peer`, whose clients share a debt: the
/// IPv4 address itself, or the first 64 bits of an IPv6 address, because a machine can take any
/// address with the same first 64 bits (RFC 4291, section 2.5.1).
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ipv6_addresses_of_one_network_share_a_debt_and_ipv4_addresses_do_not() {
        let now = Instant::now();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut debts = NetworkDebts::default();
        debts.add(address("10.0.0.1"), SECOND, now);
        debts.add(address("2001:db8:0:1::1"), SECOND, now);
        for same in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8:0:1:a:b:c:d"] {
            assert_eq!(debts.get(address(same), now), SECOND, "{same}");
        }
        for other in ["10.0.0.2", "2001:db8:0:2::1", "::1"] {
            assert_eq!(debts.get(address(other), now), Duration::ZERO, "{other}");
        }
    }

    #[test]
    fn the_debt_of_a_network_shrinks_as_time_passes() {
        let now = Instant::now();
        let peer = Ipv4Addr::LOCALHOST.into();
        let mut debts = NetworkDebts::default();
        debts.add(peer, SECOND, now);
        debts.add(peer, SECOND, now);
        assert_eq!(debts.get(peer, now + SECOND), SECOND);
        debts.add(peer, SECOND, now + 5 * SECOND);
        assert_eq!(debts.get(peer, now + 5 * SECOND), SECOND);
    }

    #[test]
    fn beyond_the_limit_the_network_with_the_smallest_debt_is_forgotten() {
        let now = Instant::now();
        let peer = Ipv4Addr::LOCALHOST.into();
        let mut debts = NetworkDebts::default();
        debts.add(peer, 2 * SECOND, now);
        for number in 0..2000 {
            debts.add(
                Ipv4Addr::from_bits(0x0a00_0000 + number).into(),
                SECOND,
                now,
            );
        }
        assert_eq!(debts.paid_at.len(), MAX_NETWORKS);
        assert_eq!(debts.get(peer, now), 2 * SECOND);
    }
}
