//! Limit on the bursts from one network, so that a client cannot get a new burst by joining again.
//!
//! A member may send a burst of lines faster than the rate limit, and the burst becomes available
//! again as time passes. A class may share one address, so each present member has its own burst.
//! If members leave soon after a burst, the parts that have not become available again are added up
//! for their network. Beyond a limit, new members from the network get a smaller burst or none.

use std::net::IpAddr;
use std::time::Duration;

use crate::server::network_debts::NetworkDebts;
use crate::server::rate_limit::BURST;
use crate::sync::{Instant, Mutex};

/// Number of whole bursts that members of one network may send right before they leave. Beyond this
/// number, new members from the network get a smaller burst or none. The number is enough for a
/// class in which each member runs a script.
const FREE: u32 = 64;

/// The networks whose members left soon after a burst. Used by the thread `accept` and by reader
/// threads.
#[derive(Default)]
pub(crate) struct BurstLimit {
    /// For each network, the sum of what its members had used of their bursts when they left. Each
    /// part is a time (see [`BURST`]). No other lock is taken while this one is held.
    debts: Mutex<NetworkDebts>,
}

impl BurstLimit {
    /// Returns how much of the burst is not available to a new member from `peer`, as a time of at
    /// most [`BURST`].
    pub(crate) fn used(&self, peer: IpAddr, now: Instant) -> Duration {
        let debt = self.debts.lock().get(peer, now);
        debt.saturating_sub(BURST * FREE).min(BURST)
    }

    /// Adds `used` to the debt of the network of `peer`. `used` is the part of the burst that a
    /// member from `peer` had used when it left.
    pub(crate) fn count(&self, peer: IpAddr, used: Duration, now: Instant) {
        if used.is_zero() {
            return;
        }
        let mut debts = self.debts.lock();
        // Limit the debt to `FREE` + 1 bursts. This already leaves no burst to a new member, and a
        // higher debt would only take longer to shrink.
        let most = (BURST * (FREE + 1)).saturating_sub(debts.get(peer, now));
        debts.add(peer, used.min(most), now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_network_may_use_64_bursts_and_then_gets_one_every_ten_seconds() {
        let mut now = Instant::now();
        let limit = BurstLimit::default();
        for _ in 0..FREE {
            assert_eq!(limit.used(PEER, now), Duration::ZERO);
            limit.count(PEER, BURST, now);
        }
        for _ in 0..100 {
            limit.count(PEER, BURST, now);
            assert_eq!(limit.used(PEER, now), BURST);
        }
        now += BURST / 2;
        assert_eq!(limit.used(PEER, now), BURST / 2);
        now += BURST / 2;
        assert_eq!(limit.used(PEER, now), Duration::ZERO);
    }
}
