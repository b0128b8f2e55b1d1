//! A limited set of absent members, which is shared fairly among networks.
//!
//! Each entry has a time. If an entry is added to a full set, the network with the most entries
//! loses its entry with the earliest time. So the clients of one network cannot displace the
//! members of another. If several networks have equally many entries, the earliest entry of these
//! networks is lost. So clients at many addresses displace one another first if their times are the
//! earliest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::protocol::event::MemberId;
use crate::sync::Instant;

/// A set of at most `limit` members.
pub(crate) struct FairSet {
    limit: usize,
    len: usize,
    networks: HashMap<IpAddr, BTreeSet<(Instant, MemberId)>>,
    /// The networks in `networks`. The last one loses an entry first.
    ranks: BTreeSet<Rank>,
}

/// The number of entries of a network, the earliest of their times, and the network.
type Rank = (usize, Reverse<Instant>, IpAddr);

/// An entry of the set: an absent member, its network and a time. If a network has to lose an
/// entry, it loses its entry with the earliest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) network: IpAddr,
    pub(crate) time: Instant,
    pub(crate) member: MemberId,
}

impl FairSet {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            len: 0,
            networks: HashMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    /// Adds an entry. Returns the member whose entry was removed because the set was full, which
    /// may be the new member itself.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<MemberId> {
        self.change(entry.network, |members| {
            members.insert((entry.time, entry.member));
        });
        if self.len <= self.limit {
            return None;
        }
        let &(_, _, network) = self.ranks.last()?;
        let mut displaced = None;
        self.change(network, |members| displaced = members.pop_first());
        displaced.map(|(_, member)| member)
    }

    /// Removes an entry, if the set contains it.
    pub(crate) fn remove(&mut self, entry: Entry) {
        self.change(entry.network, |members| {
            members.remove(&(entry.time, entry.member));
        });
    }

    /// Changes the set of a network's members, and updates `ranks` and `len`.
    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut BTreeSet<(Instant, MemberId)>)) {
        let rank = |members: &BTreeSet<(Instant, MemberId)>| {
            let (earliest, _) = members.first()?;
            Some((members.len(), Reverse(*earliest), network))
        };
        let members = self.networks.entry(network).or_default();
        let (before, len) = (rank(members), members.len());
        change(members);
        let after = rank(members);
        self.len = self.len + members.len() - len;
        if after.is_none() {
            self.networks.remove(&network);
        }
        if let Some(before) = before {
            self.ranks.remove(&before);
        }
        self.ranks.extend(after);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_set_displaces_the_earliest_entry_of_the_network_with_most_entries() {
        let start = Instant::now();
        let entry = |network, second, member| Entry {
            network: Ipv4Addr::from_bits(network).into(),
            time: start + Duration::from_secs(second),
            member: MemberId(member),
        };
        let mut set = FairSet::new(3);
        assert_eq!(set.insert(entry(1, 0, 10)), None);
        assert_eq!(set.insert(entry(2, 5, 20)), None);
        assert_eq!(set.insert(entry(2, 9, 21)), None);
        assert_eq!(set.insert(entry(2, 7, 22)), Some(MemberId(20)));
        // The new entry itself is the earliest, so it is removed.
        assert_eq!(set.insert(entry(2, 6, 23)), Some(MemberId(23)));
        set.remove(entry(2, 7, 22));
        set.remove(entry(2, 7, 22));
        assert_eq!(set.insert(entry(2, 1, 24)), None);
        assert_eq!(set.insert(entry(1, 1, 11)), Some(MemberId(10)));
        for member in [(1, 1, 11), (2, 1, 24), (2, 9, 21)] {
            set.remove(entry(member.0, member.1, member.2));
        }
        assert!(set.networks.is_empty() && set.ranks.is_empty() && set.len == 0);
    }

    #[test]
    fn of_networks_with_equally_many_entries_the_one_with_the_earliest_time_loses_its_entry() {
        let start = Instant::now();
        let entry = |network, second| Entry {
            network: Ipv4Addr::from_bits(network).into(),
            time: start + Duration::from_secs(second),
            member: MemberId(u64::from(network)),
        };
        let mut set = FairSet::new(3);
        for (network, second) in [(9, 60), (1, 1), (2, 2)] {
            assert_eq!(set.insert(entry(network, second)), None);
        }
        assert_eq!(set.insert(entry(3, 3)), Some(MemberId(1)));
        assert_eq!(set.insert(entry(4, 4)), Some(MemberId(2)));
    }
}
