//! Who is here, under which names, and who may come back.
//!
//! A JSON client is welcomed with a token. When its connection breaks, `/resume TOKEN SEQ` on a new one makes it the same
//! member again: with its id, so that it knows its earlier messages and replies to it find it, and with its group, the
//! name that it had last and whom it would reply to.
//!
//! - Where the server holds the old connection still, that one is ended, and the others are told nothing: the member was
//!   here all the time. Where it was gone, they have seen it leave, and see it join.
//! - What was read from the old connection and not handled by then is never handled. So what a client sent, and does not
//!   find among the events that it is given, was not said, and can be sent again without saying it twice.
//! - A token is good until its member leaves by `/quit` or is sent away, until [`MIN_ABSENT`] others are remembered in its
//!   place, or until the server ends. It is good any number of times, since the answer to the first may not arrive.
//! - It stands for the password that was given before it.
//! - A name that another has taken meanwhile is not given back, and in a full room only who is in it can come back.

use std::collections::{BTreeMap, HashMap};

use crate::protocol::event::{Listed, MemberId, listed};
use crate::protocol::name::{Group, Name};
use crate::protocol::request::Identity;
use crate::protocol::text::Text;

/// How many of those who left can come back, in a room with fewer seats; in another, as many as there are seats. Of more,
/// who left first is forgotten first. Each takes some hundred bytes.
const MIN_ABSENT: usize = 1000;

/// The members, present and absent. The lock of the room guards it.
pub(crate) struct Members {
    max: usize,
    /// Ids rise, so this is the order of joining.
    here: BTreeMap<MemberId, Member>,
    /// Who has which key; a name has both of its keys in here as long as its member is here.
    names: [HashMap<Box<str>, MemberId>; 2],
    /// Who left and may come back.
    absent: BTreeMap<MemberId, Member>,
    /// Them again, in the order of leaving.
    departures: BTreeMap<u64, MemberId>,
    next_departure: u64,
    /// Whose each token is, of all who are here or absent.
    tokens: HashMap<Text, MemberId>,
    next_id: u64,
}

/// A member.
pub(crate) struct Member {
    /// Which of its connections is the one that counts.
    connection: ConnectionId,
    pub(crate) name: Name,
    group: Option<Group>,
    /// Who last wrote to it in private, with the name it had then.
    pub(crate) correspondent: Option<(MemberId, Text)>,
    /// What takes it back; JSON clients have one.
    token: Option<Text>,
    /// The last event before its first joining.
    since: u64,
    /// Key in `departures` while the member is absent.
    departed: u64,
}

/// A member on one of its connections: who comes back keeps its id, and what its earlier connection still does is
/// nothing to the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(crate) member: MemberId,
    /// Number of earlier connections of this member.
    generation: u64,
}

impl ConnectionId {
    /// Whether the member has never come back.
    pub(crate) fn is_first(self) -> bool {
        self.generation == 0
    }
}

/// Whether a member that leaves can resume.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The connection was lost or dropped: the member is remembered with its token.
    MayResume,
    /// The member left by itself or was removed: its token is forgotten.
    Final,
}

/// A member that joined or resumed.
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionId,
    pub(crate) who: Listed,
    /// What takes it back the next time.
    pub(crate) token: Option<Text>,
    /// The last event before its first joining.
    pub(crate) since: u64,
    /// It was here all the time, on another connection.
    pub(crate) was_here: bool,
}

/// Why somebody cannot join.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The name is taken; one that is free.
    Taken(Name, Option<Name>),
    /// The token takes nobody back, now or ever.
    Unknown,
    /// So many members are here already.
    Full(usize),
    /// The server is shutting down.
    Closed,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken(name, Some(free)) => write!(f, "the name {name} is taken: try {free}"),
            Self::Taken(name, None) => write!(f, "the name {name} is taken: try another"),
            Self::Unknown => {
                f.write_str("nobody can come back by that token: log in with /json NAME")
            }
            Self::Full(max) => write!(f, "the room is full ({max})"),
            Self::Closed => f.write_str("the server is shutting down"),
        }
    }
}

impl Members {
    /// Seats for `max`; ids go on after `last_id`.
    pub(crate) fn new(max: usize, last_id: u64) -> Self {
        Self {
            max,
            here: BTreeMap::new(),
            names: Default::default(),
            absent: BTreeMap::new(),
            departures: BTreeMap::new(),
            next_departure: 0,
            tokens: HashMap::new(),
            next_id: last_id + 1,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.here.len()
    }

    pub(crate) fn get(&self, id: MemberId) -> Option<&Member> {
        self.here.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.here.get_mut(&id)
    }

    /// The member of this connection, as long as it is here and on no other one.
    pub(crate) fn on(&self, connection: ConnectionId) -> Option<&Member> {
        self.get(connection.member)
            .filter(|member| member.connection == connection)
    }

    /// Makes a member, whom `token` is to take back. `since` is the last event before.
    pub(crate) fn enter(
        &mut self,
        identity: &Identity,
        token: Option<Text>,
        since: u64,
    ) -> Result<Arrival, Refusal> {
        self.check_seat(&identity.name)?;
        let id = MemberId(self.next_id);
        self.next_id += 1;
        let connection = ConnectionId {
            member: id,
            generation: 0,
        };
        if let Some(token) = &token {
            self.tokens.insert(token.clone(), id);
        }
        Ok(self.insert(Member {
            connection,
            name: identity.name.clone(),
            group: identity.group.clone(),
            correspondent: None,
            token,
            since,
            departed: 0,
        }))
    }

    /// Takes a member back that has this token. Where it is here, it leaves the connection it has; where it left, it
    /// needs a seat and its name.
    pub(crate) fn come_back(&mut self, token: &str) -> Result<Arrival, Refusal> {
        let id = *self.tokens.get(&Text::new(token)).ok_or(Refusal::Unknown)?;
        if let Some(member) = self.here.get_mut(&id) {
            member.connection.generation += 1;
            return Ok(member.arrival(true));
        }
        let member = self.absent.get(&id).ok_or(Refusal::Unknown)?;
        self.check_seat(&member.name)?;
        let mut member = self.absent.remove(&id).ok_or(Refusal::Unknown)?;
        self.departures.remove(&member.departed);
        member.connection.generation += 1;
        Ok(self.insert(member))
    }

    fn check_seat(&self, name: &Name) -> Result<(), Refusal> {
        if self.here.len() >= self.max {
            return Err(Refusal::Full(self.max));
        }
        match self.holder(name) {
            Some(_) => Err(Refusal::Taken(name.clone(), self.free_name(name))),
            None => Ok(()),
        }
    }

    fn insert(&mut self, member: Member) -> Arrival {
        let (id, arrival) = (member.connection.member, member.arrival(false));
        self.take_name(id, &member.name);
        self.here.insert(id, member);
        arrival
    }

    /// Removes a member and returns its name, which is free now.
    pub(crate) fn remove(&mut self, id: MemberId, departure: Departure) -> Option<Name> {
        let mut member = self.here.remove(&id)?;
        let name = member.name.clone();
        self.release_name(&name);
        match &member.token {
            Some(_) if departure == Departure::MayResume => {
                member.departed = self.next_departure;
                self.next_departure += 1;
                self.departures.insert(member.departed, id);
                self.absent.insert(id, member);
                if self.absent.len() > self.max.max(MIN_ABSENT)
                    && let Some((_, first)) = self.departures.pop_first()
                    && let Some(forgotten) = self.absent.remove(&first)
                    && let Some(token) = &forgotten.token
                {
                    self.tokens.remove(token);
                }
            }
            Some(token) => drop(self.tokens.remove(token)),
            None => {}
        }
        Some(name)
    }

    /// Gives a member another name, where that is free or its own in another spelling.
    pub(crate) fn rename(&mut self, id: MemberId, new: &Name) -> Result<(), Refusal> {
        if self.holders(new).any(|holder| holder != id) {
            return Err(Refusal::Taken(new.clone(), self.free_name(new)));
        }
        let member = self.here.get_mut(&id);
        let old = member.map(|member| std::mem::replace(&mut member.name, new.clone()));
        if let Some(old) = old {
            self.release_name(&old);
            self.take_name(id, new);
        }
        Ok(())
    }

    /// Who has this name, or one that looks the same.
    pub(crate) fn holder(&self, name: &Name) -> Option<MemberId> {
        self.holders(name).next()
    }

    /// As [`Members::holder`], all of them: a name may look like one member's in capitals and like another's in small
    /// letters.
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

    fn free_name(&self, name: &Name) -> Option<Name> {
        let mut numbered = (2..100).filter_map(|number| name.with_number(number));
        numbered.find(|name| self.holder(name).is_none())
    }

    /// The first of those who are here, as lists show them.
    pub(crate) fn list(&self) -> Vec<Listed> {
        listed(self.here.values().map(Member::listed))
    }
}

impl Member {
    fn listed(&self) -> Listed {
        Listed {
            id: self.connection.member,
            name: self.name.text().clone(),
            group: self.group.as_ref().map(|group| group.text().clone()),
        }
    }

    fn arrival(&self, was_here: bool) -> Arrival {
        Arrival {
            connection: self.connection,
            who: self.listed(),
            token: self.token.clone(),
            since: self.since,
            was_here,
        }
    }
}

/// A token: 128 random bits, in hexadecimal, which nobody guesses. None where the system has no random numbers.
pub(crate) fn token() -> Option<Text> {
    let (high, low) = (getrandom::u64().ok()?, getrandom::u64().ok()?);
    Some(Text::new(&format!("{high:016x}{low:016x}")))
}
