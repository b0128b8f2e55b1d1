//! Limit on the rate of wrong passwords, so that guessing a password takes too long.
//!
//! A class may share one address, and a member's mistakes must not lock the others out. So an
//! address is never blocked. Once an address has sent too many wrong passwords, the server checks
//! one password from it per second, in the order of arrival. The right password waits as well:
//! otherwise, an answer without delay would show that a guess is right.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::sync::Instant;

/// Number of wrong passwords from a network that are answered without delay.
const FREE: u32 = 5;

/// Time between two checks of a network's passwords, once it has sent [`FREE`] wrong ones.
const INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of networks to remember. If there are more, the network with the shortest delay
/// is forgotten.
const MAX_NETWORKS: usize = 1024;

/// The networks that have sent wrong passwords lately. Used by the thread `accept` only.
#[derive(Default)]
pub(crate) struct GuessLimit {
    /// For each network, the time at which it may be forgotten. Each wrong password and each
    /// reserved turn of the network moves this time [`INTERVAL`] later.
    paid_at: HashMap<IpAddr, Instant>,
}

impl GuessLimit {
    /// Returns the time at which the next password from `peer` may be checked, and reserves this
    /// turn. Returns `None` if the password may be checked now. If it turns out to be wrong, the
    /// caller must then call [`GuessLimit::count`].
    pub(crate) fn reserve(&mut self, peer: IpAddr, now: Instant) -> Option<Instant> {
        let paid_at = *self.paid_at.get(&network(peer))?;
        let debt = paid_at.saturating_duration_since(now) + INTERVAL;
        let wait = debt.checked_sub(INTERVAL * FREE)?;
        if wait.is_zero() {
            return None;
        }
        self.count(peer, now);
        Some(now + wait)
    }

    /// Counts a wrong password from `peer` that did not wait for a turn.
    pub(crate) fn count(&mut self, peer: IpAddr, now: Instant) {
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
        *paid_at = (*paid_at).max(now) + INTERVAL;
    }

    /// Gives a reserved turn back, because the connection ended before it.
    pub(crate) fn release(&mut self, peer: IpAddr) {
        if let Some(paid_at) = self.paid_at.get_mut(&network(peer)) {
            *paid_at -= INTERVAL;
        }
    }
}

/// Returns the address of the network that counts as one client: an IPv4 address, or the first 64
/// bits of an IPv6 address, since a machine can take any address with the same first 64 bits (RFC
/// 4291, section 2.5.1).
fn network(peer: IpAddr) -> IpAddr {
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

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn five_wrong_passwords_are_checked_at_once_and_then_one_per_second() {
        let mut now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..5 {
            assert_eq!(limit.reserve(PEER, now), None);
            limit.count(PEER, now);
        }
        for second in 1..=100 {
            assert_eq!(limit.reserve(PEER, now), Some(now + INTERVAL * second));
        }
        now += INTERVAL * 100;
        assert_eq!(limit.reserve(PEER, now), Some(now + INTERVAL));
        now += INTERVAL * 2;
        assert_eq!(limit.reserve(PEER, now), None);
    }

    #[test]
    fn a_turn_that_is_given_back_can_be_taken_by_another_connection() {
        let now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..5 {
            limit.count(PEER, now);
        }
        let first = limit.reserve(PEER, now);
        assert_eq!(first, Some(now + INTERVAL));
        limit.release(PEER);
        assert_eq!(limit.reserve(PEER, now), first);
    }

    #[test]
    fn right_passwords_do_not_use_up_the_free_tries() {
        let now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..100 {
            assert_eq!(limit.reserve(PEER, now), None);
        }
    }

    #[test]
    fn addresses_share_a_limit_only_within_an_ipv6_network() {
        let now = Instant::now();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut limit = GuessLimit::default();
        for _ in 0..5 {
            limit.count(address("10.0.0.1"), now);
            limit.count(address("2001:db8:0:1::1"), now);
        }
        for same in ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8:0:1:a:b:c:d"] {
            assert!(limit.reserve(address(same), now).is_some(), "{same}");
        }
        for other in ["10.0.0.2", "2001:db8:0:2::1", "::1"] {
            assert_eq!(limit.reserve(address(other), now), None, "{other}");
        }
    }

    #[test]
    fn at_most_a_thousand_networks_are_remembered() {
        let now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..5 {
            limit.count(PEER, now);
        }
        for number in 0..2000 {
            limit.count(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), now);
        }
        assert_eq!(limit.paid_at.len(), MAX_NETWORKS);
        assert!(limit.reserve(PEER, now).is_some());
    }
}
