//! Limit on the rate of wrong passwords, so that guessing a password takes too long.
//!
//! A class may share one address, and a member's mistakes must not lock the others out. So an
//! address is never blocked. Once an address has sent too many wrong passwords, the server checks
//! one password from it per second, in the order of arrival. The time at which a password is
//! checked is called its turn. The right password waits as well: otherwise, an answer without delay
//! would show that a guess is right.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use crate::server::network_debts::{NetworkDebts, network};
use crate::sync::Instant;

/// Number of wrong passwords from a network that are answered without delay.
const FREE: u32 = 5;

/// Minimum time between two checks of passwords from the same network, once [`FREE`] wrong
/// passwords have come from it.
const INTERVAL: Duration = Duration::from_secs(1);

/// The networks that have sent wrong passwords lately. Used by the thread `accept` only.
#[derive(Default)]
pub(crate) struct GuessLimit {
    /// Each wrong password, and each password that waits to be checked, adds [`INTERVAL`] to the
    /// debt of its network.
    debts: NetworkDebts,
    /// Turns (times of password checks) that connections gave back since the last call of
    /// [`GuessLimit::take_released`].
    released: Vec<Released>,
}

/// A turn (the time of a password check) that is free, because its connection has ended. All later
/// turns of the same network then come one [`INTERVAL`] earlier.
pub(crate) struct Released {
    network: IpAddr,
    turn: Instant,
}

impl Released {
    /// Makes `turn`, at which a password from `peer` is to be checked, one [`INTERVAL`] earlier if
    /// `turn` is later than this free turn and belongs to the same network.
    pub(crate) fn move_forward(&self, peer: IpAddr, turn: &mut Instant) {
        if network(peer) == self.network && *turn > self.turn {
            *turn -= INTERVAL;
        }
    }
}

impl GuessLimit {
    /// If the next password from `peer` must wait, reserves a turn for the password, and returns
    /// the time of the turn. Returns `None` if the password may be checked now. If it is then
    /// wrong, the caller must call [`GuessLimit::count`].
    pub(crate) fn reserve(&mut self, peer: IpAddr, now: Instant) -> Option<Instant> {
        let debt = self.debts.get(peer, now) + INTERVAL;
        let wait = debt.checked_sub(INTERVAL * FREE)?;
        if wait.is_zero() {
            return None;
        }
        self.count(peer, now);
        Some(now + wait)
    }

    /// Counts a wrong password from `peer` that was checked without waiting.
    pub(crate) fn count(&mut self, peer: IpAddr, now: Instant) {
        self.debts.add(peer, INTERVAL, now);
    }

    /// Gives back the turn (the time of a password check) of a connection that ended before its
    /// password was checked. The caller must then make the later turns earlier; see
    /// [`GuessLimit::take_released`].
    pub(crate) fn release(&mut self, peer: IpAddr, turn: Instant) {
        self.debts.subtract(peer, INTERVAL);
        let network = network(peer);
        self.released.push(Released { network, turn });
    }

    /// Returns the turns that were given back since the last call, the latest first. For each of
    /// these free turns, in this order, the caller must call [`Released::move_forward`] with every
    /// waiting turn. If the earliest free turn came first, a waiting turn could move to the time of
    /// the next free turn. The waiting turn would then not be later than the free one, and would
    /// not move again.
    pub(crate) fn take_released(&mut self) -> Vec<Released> {
        let mut released = std::mem::take(&mut self.released);
        released.sort_unstable_by_key(|released| Reverse(released.turn));
        released
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
    fn released_turns_for_password_checks_are_taken_by_the_next_connections() {
        let now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..5 {
            limit.count(PEER, now);
        }
        let [first, second, mut third] = [(); 3].map(|()| limit.reserve(PEER, now).unwrap());
        assert_eq!(third, now + INTERVAL * 3);
        limit.release(PEER, first);
        limit.release(PEER, second);
        for released in limit.take_released() {
            let mut other = third;
            released.move_forward("10.0.0.9".parse().unwrap(), &mut other);
            assert_eq!(other, third);
            released.move_forward(PEER, &mut third);
        }
        assert_eq!(third, now + INTERVAL);
        assert_eq!(limit.reserve(PEER, now), Some(now + INTERVAL * 2));
    }

    #[test]
    fn correct_passwords_do_not_count_towards_the_limit_on_wrong_passwords() {
        let now = Instant::now();
        let mut limit = GuessLimit::default();
        for _ in 0..100 {
            assert_eq!(limit.reserve(PEER, now), None);
        }
    }
}
