//! The members, their names, and the absent members that can resume.
//!
//! The welcome of a JSON client contains a token. After its connection breaks, the client sends
//! `/resume TOKEN SEQ` on a new connection and becomes the same member again, with the same ID (so
//! that it recognizes its own messages, and replies reach it), group, name (after any renames) and
//! `/reply` target.
//!
//! - If the old connection is still open, the server closes it, and the other members see nothing,
//!   because the member never left. Otherwise the other members have seen the member leave, and now
//!   see it join.
//! - Lines that were read from the old connection but not yet handled are dropped. So a line that
//!   the client sent and does not find in the replay was not delivered, and the client can send the
//!   line again without duplicating it.
//! - A token is valid until its member leaves with `/quit` or is removed, until the member is
//!   forgotten because more than [`MIN_ABSENT`] are absent, or until the server ends. The longer a
//!   member was present, the later it is forgotten, so clients that leave right after joining
//!   displace only each other. A token works more than once, because the answer to the first
//!   attempt may get lost.
//! - If the connection of a member with a token was lost or cut, its name is kept for [`KEPT`], so
//!   that no one can pose as a member that is about to return. `/quit`, the end of input and a kick
//!   make the name free at once.
//! - Resuming needs no password: the client gave it before it got the token.
//! - If another member has taken the member's color in the meantime, the member gets another color,
//!   if one is free.
//! - If another member has taken the name in the meantime, resuming fails. In a full room, only a
//!   member that is still present can resume.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::protocol::color::ColorSlot;
use crate::protocol::event::{Listed, MemberId, listed};
use crate::protocol::name::{Group, Name};
use crate::protocol::request::Identity;
use crate::protocol::text::Text;
use crate::server::fair_set::{Entry, FairSet};
use crate::server::network_debts::network;
use crate::sync::Instant;

/// Limit on the absent members that can resume. If the room has more seats than this, the limit is
/// the number of seats. An absent member takes a few hundred bytes.
const MIN_ABSENT: usize = 1000;

/// When a member leaves, the time for which it was present is multiplied by this factor and added
/// to the current time. If too many members are absent, the server forgets a member of the network
/// with the most absent members: the one with the earliest result. So a member that was present for
/// longer is remembered for longer.
const ABSENCE_FACTOR: u32 = 600;

/// Limit on the time that is added when a member leaves (see [`ABSENCE_FACTOR`]), so that a member
/// that was present for days does not displace later ones for months.
const MAX_ABSENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the name of a member whose connection was lost is kept for it. A client reconnects
/// within this time unless the network or the server is down for longer.
const KEPT: Duration = Duration::from_secs(30);

/// The members, present and absent. Guarded by the room's lock.
pub(crate) struct Members {
    max: usize,
    /// The present members. The order of IDs is the order of joining.
    present: BTreeMap<MemberId, Member>,
    /// IDs of the members whose names are not free: the present members, and the absent ones whose
    /// names are kept. A name has two keys, and two names count as the same if their first or their
    /// second keys are equal. The first map has the first keys, and the second map has the second
    /// keys.
    names: [HashMap<Box<str>, MemberId>; 2],
    /// The number of present members with each color slot.
    colors: [usize; ColorSlot::COUNT],
    /// Members that left and can resume.
    absent: HashMap<MemberId, Absent>,
    /// All absent members. If there are too many, this set selects the one to forget.
    remembered: FairSet,
    /// The absent members whose names are kept. There are at most as many as seats, so clients that
    /// leave cannot keep more names than clients that stay.
    kept: FairSet,
    /// The times at which the kept names become free.
    kept_until: BTreeSet<(Instant, MemberId)>,
    /// IDs of members, present and absent, by token.
    tokens: HashMap<Text, MemberId>,
    next_id: u64,
}

/// A member of the room, present or absent.
pub(crate) struct Member {
    /// The connection that the member uses now.
    connection: ConnectionId,
    pub(crate) name: Name,
    group: Option<Group>,
    color: ColorSlot,
    /// The last member that sent a private message to this member. `/reply` goes there.
    pub(crate) correspondent: Option<MemberId>,
    /// The resume token. Only JSON clients have one.
    token: Option<Text>,
    /// Sequence number of the last event before the member first joined.
    since: u64,
    /// The network that the member last connected from.
    network: IpAddr,
    /// The time since which the member has been present.
    arrived: Instant,
    /// How long the member was present before it last arrived.
    present_before: Duration,
}

/// A member that left and can resume.
struct Absent {
    member: Member,
    /// The member's entry in the set `remembered`, and also in the set `kept` if its name is kept.
    entry: Entry,
    /// The time until which the member's name is kept, or `None` if it is not kept.
    kept_until: Option<Instant>,
}

/// Identifies one connection of a member. A member that resumes keeps its ID and gets a new
/// generation, so that the room can ignore requests from the member's earlier connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(crate) member: MemberId,
    /// Number of earlier connections of this member.
    generation: u64,
}

impl ConnectionId {
    /// Whether this is the member's first connection: it has never resumed.
    pub(crate) fn is_first(self) -> bool {
        self.generation == 0
    }
}

/// Whether a member that leaves can resume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The connection was lost or cut: the member is remembered with its token, and its name is
    /// kept for a while.
    Lost,
    /// The input ended: the member is remembered with its token, and its name is free.
    InputOver,
    /// The member left with `/quit` or was removed: its token is forgotten.
    Final,
}

/// The result of joining or resuming.
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionId,
    pub(crate) who: Listed,
    /// Token with which the member can resume next time.
    pub(crate) token: Option<Text>,
    /// Sequence number of the last event before the member first joined.
    pub(crate) since: u64,
    /// Whether the member resumed while its earlier connection was open, so that it never left.
    pub(crate) was_present: bool,
}

/// Reason why a client cannot join or resume.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// The name, or one that looks the same, is taken.
    Taken {
        name: Name,
        /// If the name is kept for an absent member, how much longer it is kept.
        kept: Option<Duration>,
        /// A free name to try. [`Members`] does not set it, because checking a name takes too long
        /// to do it under the room's lock.
        free: Option<Name>,
    },
    /// No member has this token.
    UnknownToken,
    /// The room is full, with this many members.
    Full(usize),
    /// The server is shutting down.
    Closed,
}

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken { name, kept, free } => {
                let free = free.as_ref().map_or("another", Name::as_str);
                match kept.map(|left| left.as_millis().div_ceil(1000)) {
                    None => write!(f, "the name {name} is taken: try {free}"),
                    Some(seconds) => write!(
                        f,
                        "the name {name} is kept for its owner for {seconds} s: try {free}"
                    ),
                }
            }
            Self::UnknownToken => {
                f.write_str("that token is unknown or has expired: log in with /json NAME")
            }
            Self::Full(max) => write!(f, "the room is full ({max})"),
            Self::Closed => f.write_str("the server is shutting down"),
        }
    }
}

impl Members {
    /// Creates an empty room with `max` seats. New IDs are greater than `last_id`.
    pub(crate) fn new(max: usize, last_id: u64) -> Self {
        Self {
            max,
            present: BTreeMap::new(),
            names: Default::default(),
            colors: [0; ColorSlot::COUNT],
            absent: HashMap::new(),
            remembered: FairSet::new(max.max(MIN_ABSENT)),
            kept: FairSet::new(max),
            kept_until: BTreeSet::new(),
            tokens: HashMap::new(),
            next_id: last_id + 1,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.present.len()
    }

    pub(crate) fn get(&self, id: MemberId) -> Option<&Member> {
        self.present.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.present.get_mut(&id)
    }

    /// The member on this connection. `None` if it has left or has resumed on another connection.
    pub(crate) fn on(&self, connection: ConnectionId) -> Option<&Member> {
        self.get(connection.member)
            .filter(|member| member.connection == connection)
    }

    /// Adds a member that connects from `peer` and can resume with `token`. `since` is the sequence
    /// number of the room's last event.
    pub(crate) fn join(
        &mut self,
        identity: &Identity,
        peer: IpAddr,
        token: Option<Text>,
        since: u64,
        now: Instant,
    ) -> Result<Arrival, JoinError> {
        self.check_seat(&identity.name, None, now)?;
        let id = MemberId(self.next_id);
        self.next_id += 1;
        let connection = ConnectionId {
            member: id,
            generation: 0,
        };
        if let Some(token) = &token {
            self.tokens.insert(token.clone(), id);
        }
        let color = self.least_used_color(None);
        Ok(self.insert(Member {
            connection,
            name: identity.name.clone(),
            group: identity.group.clone(),
            color,
            correspondent: None,
            token,
            since,
            network: network(peer),
            arrived: now,
            present_before: Duration::ZERO,
        }))
    }

    /// Moves the member with this token to a new connection from `peer`. An absent member cannot
    /// resume if the room is full, or if its name is now taken by, or kept for, another member.
    pub(crate) fn resume(
        &mut self,
        token: &str,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Arrival, JoinError> {
        let id = *self
            .tokens
            .get(&Text::new(token))
            .ok_or(JoinError::UnknownToken)?;
        if let Some(member) = self.present.get_mut(&id) {
            member.connection.generation += 1;
            member.network = network(peer);
            return Ok(member.arrival(true));
        }
        let absent = self.absent.get(&id).ok_or(JoinError::UnknownToken)?;
        let name = absent.member.name.clone();
        self.check_seat(&name, Some(id), now)?;
        let mut member = self.take_absent(id).ok_or(JoinError::UnknownToken)?;
        member.network = network(peer);
        member.arrived = now;
        member.connection.generation += 1;
        member.color = self.least_used_color(Some(member.color));
        Ok(self.insert(member))
    }

    /// Returns the color slot that the fewest present members have. If several slots have equally
    /// few, prefers `last`, then the lowest slot. So two members share a slot only if all slots
    /// were taken when the second member joined.
    fn least_used_color(&self, last: Option<ColorSlot>) -> ColorSlot {
        let slots = last.into_iter().chain(ColorSlot::all());
        // `min_by_key` returns the first of several minima, so `last` is preferred.
        let least = slots.min_by_key(|slot| self.colors[slot.index()]);
        least.unwrap_or_default()
    }

    /// Checks that the room has a free seat, and that `name` is free for the absent member `id`, or
    /// for a new member if `id` is `None`.
    fn check_seat(
        &mut self,
        name: &Name,
        id: Option<MemberId>,
        now: Instant,
    ) -> Result<(), JoinError> {
        if self.present.len() >= self.max {
            return Err(JoinError::Full(self.max));
        }
        self.check_name(name, id, now)
    }

    /// Checks that `name`, and every name that looks the same, is free or is the name of the member
    /// `id`.
    fn check_name(
        &mut self,
        name: &Name,
        id: Option<MemberId>,
        now: Instant,
    ) -> Result<(), JoinError> {
        self.release_kept_names(now);
        let others = self.holders(name).filter(|holder| Some(*holder) != id);
        let kept_until = others.map(|holder| self.absent.get(&holder)?.kept_until);
        // The minimum is `None` if a present member has the name. The error then does not say that
        // the name will soon be free, even if it is also kept for an absent member.
        match kept_until.min() {
            None => Ok(()),
            Some(until) => Err(JoinError::Taken {
                name: name.clone(),
                kept: until.map(|until| until.saturating_duration_since(now)),
                free: None,
            }),
        }
    }

    fn insert(&mut self, member: Member) -> Arrival {
        let (id, arrival) = (member.connection.member, member.arrival(false));
        self.take_name(id, &member.name);
        self.colors[member.color.index()] += 1;
        self.present.insert(id, member);
        arrival
    }

    /// Removes a present member. The member can resume later if it has a token and `departure` is
    /// not final. Returns its name, or `None` if the member is not present.
    pub(crate) fn remove(
        &mut self,
        id: MemberId,
        departure: Departure,
        now: Instant,
    ) -> Option<Name> {
        let mut member = self.present.remove(&id)?;
        let name = member.name.clone();
        self.release_name(&name);
        self.colors[member.color.index()] -= 1;
        match &member.token {
            Some(_) if departure != Departure::Final => {
                member.present_before += now.saturating_duration_since(member.arrived);
                let absence = member.present_before.saturating_mul(ABSENCE_FACTOR);
                let entry = Entry {
                    network: member.network,
                    time: now + absence.min(MAX_ABSENCE),
                    member: id,
                };
                let kept_until = (departure == Departure::Lost).then(|| now + KEPT);
                let absent = Absent {
                    member,
                    entry,
                    kept_until,
                };
                self.absent.insert(id, absent);
                if let Some(until) = kept_until {
                    self.take_name(id, &name);
                    self.kept_until.insert((until, id));
                    if let Some(displaced) = self.kept.insert(entry) {
                        self.release_kept_name(displaced);
                    }
                }
                if let Some(displaced) = self.remembered.insert(entry) {
                    self.forget(displaced);
                }
            }
            Some(token) => drop(self.tokens.remove(token)),
            None => {}
        }
        Some(name)
    }

    /// Forgets an absent member, so that it can no longer resume.
    fn forget(&mut self, id: MemberId) {
        let member = self.take_absent(id);
        if let Some(token) = member.and_then(|member| member.token) {
            self.tokens.remove(&token);
        }
    }

    /// Forgets the absent member for which `name`, or a name that looks the same, is kept. Returns
    /// the kept name.
    pub(crate) fn forget_kept(&mut self, name: &Name, now: Instant) -> Option<Name> {
        self.release_kept_names(now);
        let id = self.holders(name).find(|id| self.absent.contains_key(id))?;
        let kept = self.absent.get(&id)?.member.name.clone();
        self.forget(id);
        Some(kept)
    }

    /// Removes a member from the absent ones, and makes its name free.
    fn take_absent(&mut self, id: MemberId) -> Option<Member> {
        self.release_kept_name(id);
        let absent = self.absent.remove(&id)?;
        self.remembered.remove(absent.entry);
        Some(absent.member)
    }

    /// Makes all names free whose members have been absent for [`KEPT`].
    fn release_kept_names(&mut self, now: Instant) {
        while let Some(&(until, id)) = self.kept_until.first()
            && until <= now
        {
            self.release_kept_name(id);
        }
    }

    /// Makes the name of an absent member free, if it is kept.
    fn release_kept_name(&mut self, id: MemberId) {
        if let Some(absent) = self.absent.get_mut(&id)
            && let Some(until) = absent.kept_until.take()
        {
            let (name, entry) = (absent.member.name.clone(), absent.entry);
            self.kept.remove(entry);
            self.kept_until.remove(&(until, id));
            self.release_name(&name);
        }
    }

    /// Renames a member. Fails if this name, or one that looks the same, is taken or kept. Another
    /// spelling of the member's own name is allowed.
    pub(crate) fn rename(
        &mut self,
        id: MemberId,
        new: &Name,
        now: Instant,
    ) -> Result<(), JoinError> {
        self.check_name(new, Some(id), now)?;
        let member = self.present.get_mut(&id);
        let old = member.map(|member| std::mem::replace(&mut member.name, new.clone()));
        if let Some(old) = old {
            self.release_name(&old);
            self.take_name(id, new);
        }
        Ok(())
    }

    /// The present member whose name is `name` or looks the same.
    pub(crate) fn holder(&self, name: &Name) -> Option<MemberId> {
        self.holders(name)
            .find(|holder| self.present.contains_key(holder))
    }

    /// Returns false if this name, or one that looks the same, belongs to a present member or is
    /// kept for an absent one.
    pub(crate) fn is_free(&self, name: &Name) -> bool {
        self.holders(name).next().is_none()
    }

    /// The members in `names` whose name is `name` or looks the same. There may be two: `ALICE`
    /// looks the same as `alice` and as `ALlCE`, but these two do not look the same.
    fn holders(&self, name: &Name) -> impl Iterator<Item = MemberId> {
        let keys = name.keys();
        let each = self.names.iter().zip(keys);
        each.filter_map(|(names, key)| names.get(key).copied())
    }

    fn take_name(&mut self, id: MemberId, name: &Name) {
        for (names, key) in self.names.iter_mut().zip(name.keys()) {
            names.insert(key.into(), id);
        }
    }

    fn release_name(&mut self, name: &Name) {
        for (names, key) in self.names.iter_mut().zip(name.keys()) {
            names.remove(key);
        }
    }

    /// The present members in order of joining, up to `MAX_LISTED`.
    pub(crate) fn list(&self) -> Vec<Listed> {
        listed(self.present.values().map(Member::listed))
    }
}

impl Member {
    fn listed(&self) -> Listed {
        Listed {
            id: self.connection.member,
            name: self.name.text().clone(),
            group: self.group.as_ref().map(|group| group.text().clone()),
            color: Some(self.color),
        }
    }

    fn arrival(&self, was_present: bool) -> Arrival {
        Arrival {
            connection: self.connection,
            who: self.listed(),
            token: self.token.clone(),
            since: self.since,
            was_present,
        }
    }
}

/// Generates a resume token: 128 random bits in hexadecimal. Returns `None` if the system provides
/// no random numbers.
pub(crate) fn token() -> Option<Text> {
    let (high, low) = (getrandom::u64().ok()?, getrandom::u64().ok()?);
    Some(Text::new(&format!("{high:016x}{low:016x}")))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn members() -> Members {
        Members::new(100, 0)
    }

    /// Adds a member whose token is its name. Returns its ID and the number of its color slot.
    fn join(members: &mut Members, name: &str) -> (MemberId, usize) {
        let identity = Identity {
            name: Name::new(name).unwrap(),
            group: None,
        };
        let token = Some(Text::new(name));
        slot(
            members
                .join(&identity, PEER, token, 0, Instant::now())
                .unwrap(),
        )
    }

    fn resume(members: &mut Members, token: &str) -> Result<Arrival, JoinError> {
        members.resume(token, PEER, Instant::now())
    }

    fn slot(arrival: Arrival) -> (MemberId, usize) {
        (arrival.who.id, arrival.who.color.unwrap().index())
    }

    #[test]
    fn two_members_share_a_color_only_when_all_twelve_are_taken() {
        let mut members = members();
        let (mut ids, mut slots) = (Vec::new(), Vec::new());
        for number in 0..26 {
            let (id, slot) = join(&mut members, &format!("m{number}"));
            ids.push(id);
            slots.push(slot);
        }
        let in_order: Vec<usize> = (0..12).chain(0..12).chain(0..2).collect();
        assert_eq!(slots, in_order);
        // Color slots 0 and 1 have three members each, the other slots two. After this removal,
        // slot 5 has one.
        members.remove(ids[5], Departure::Final, Instant::now());
        assert_eq!(join(&mut members, "late").1, 5);
        assert_eq!(join(&mut members, "later").1, 2);
    }

    #[test]
    fn the_name_of_a_member_whose_connection_was_lost_is_kept_for_30_seconds() {
        let mut members = members();
        let now = Instant::now();
        let (ala, _) = join(&mut members, "ala");
        let (ola, _) = join(&mut members, "ola");
        members.remove(ala, Departure::Lost, now);
        let rename = |members: &mut Members, seconds| {
            let now = now + Duration::from_secs(seconds);
            members.rename(ola, &Name::new("Ala").unwrap(), now)
        };
        let refusal = |result: Result<(), JoinError>| result.unwrap_err().to_string();
        for (seconds, left) in [(0, 30), (29, 1)] {
            let text = format!("the name Ala is kept for its owner for {left} s: try another");
            assert_eq!(refusal(rename(&mut members, seconds)), text);
        }
        rename(&mut members, 30).unwrap();
        // The owner can still resume, once its name is free.
        assert!(members.resume("ala", PEER, now).is_err());
        members.remove(ola, Departure::Final, now);
        assert_eq!(resume(&mut members, "ala").unwrap().who.id, ala);
        assert!(members.kept_until.is_empty());
    }

    #[test]
    fn beyond_1000_absent_members_those_present_for_longer_can_resume_for_longer() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut members = members();
        let mut visit = |name: &str, peer: IpAddr, from: Instant, to: Instant| {
            let identity = Identity {
                name: Name::new(name).unwrap(),
                group: None,
            };
            let token = Some(Text::new(name));
            let arrival = members.join(&identity, peer, token, 0, from).unwrap();
            members.remove(arrival.who.id, Departure::InputOver, to);
        };
        // One member joins from an address of its own. Two join from the address that 2000 clients
        // then use to join and leave at once.
        let other = Ipv4Addr::new(10, 0, 0, 1).into();
        visit("other", other, start, start);
        visit("brief", PEER, start, start + second);
        visit("long", PEER, start, start + second * 60);
        for number in 0..2000 {
            let at = start + second * 3600 + Duration::from_millis(number);
            visit(&format!("m{number}"), PEER, at, at);
        }
        assert_eq!(members.absent.len(), MIN_ABSENT);
        assert_eq!(members.tokens.len(), MIN_ABSENT);
        let now = start + second * 3603;
        let resumes = |name: &str| members.resume(name, PEER, now).is_ok();
        let known = ["other", "brief", "long", "m1001", "m1002", "m1999"].map(resumes);
        assert_eq!(known, [true, false, true, false, true, true]);
    }

    #[test]
    fn a_member_keeps_its_color_across_renames_and_reconnects() {
        let mut members = members();
        join(&mut members, "ala");
        let (ola, color) = join(&mut members, "ola");
        join(&mut members, "jan");
        members
            .rename(ola, &Name::new("ela").unwrap(), Instant::now())
            .unwrap();
        assert_eq!(slot(resume(&mut members, "ola").unwrap()), (ola, color));
        members.remove(ola, Departure::InputOver, Instant::now());
        assert_eq!(slot(resume(&mut members, "ola").unwrap()), (ola, color));
        let listed: Vec<_> = members.list().iter().map(|member| member.color).collect();
        assert_eq!(listed, [0, 1, 2].map(ColorSlot::new));
    }

    #[test]
    fn a_member_that_returns_gets_another_color_if_its_own_was_taken() {
        let mut members = members();
        let (ala, color) = join(&mut members, "ala");
        members.remove(ala, Departure::InputOver, Instant::now());
        assert_eq!(join(&mut members, "ola").1, color);
        assert_eq!(slot(resume(&mut members, "ala").unwrap()), (ala, 1));
        // When the member leaves, its new color slot becomes free.
        members.remove(ala, Departure::Final, Instant::now());
        assert_eq!(join(&mut members, "jan").1, 1);
    }
}
