//! The members online, who spoke last, and whom the user ignores.

use std::collections::HashMap;

use crate::client::identity::OwnIdentity;
use crate::protocol::event::{Event, Listed, MemberId, Welcome};
use crate::protocol::limits::MAX_NAME_BYTES;
use crate::protocol::name::NameKeys;
use crate::protocol::request::RequestError;
use crate::protocol::text::Text;

/// Limit on the members to track. No room has more, but a hostile server may announce any number.
const MAX_MEMBERS: usize = 20_000;

/// Limit on the number of ignored names. Each rename of an ignored member adds a name, and a
/// hostile server may announce any number of renames.
const MAX_IGNORED: usize = 1000;

#[derive(Default)]
pub(crate) struct Roster {
    /// The name of each member, and the value of `messages` after the member's last message, or 0
    /// if the member has sent none.
    members: HashMap<MemberId, (String, u64)>,
    /// Whether `members` contains all members online. In a large room, the welcome lists only the
    /// first members.
    is_complete: bool,
    /// Number of messages received so far.
    messages: u64,
    /// The sender of the last private message from a member who is not ignored.
    correspondent: Option<MemberId>,
    ignored: Vec<Ignored>,
}

/// A name that the user ignores. Names are ignored rather than member IDs, because a member who
/// leaves and rejoins gets a new ID.
struct Ignored {
    /// The ignored name in lower case.
    name: String,
    keys: NameKeys,
    /// The name that the user originally ignored. It differs from `name` if the member was renamed
    /// since.
    first: String,
}

impl Ignored {
    fn new(name: &str, first: &str) -> Self {
        Self {
            name: name.to_lowercase(),
            keys: NameKeys::of(name),
            first: first.to_lowercase(),
        }
    }
}

impl Roster {
    /// Replaces the members with the members in a welcome.
    pub(crate) fn enter(&mut self, welcome: &Welcome) {
        let before = std::mem::take(&mut self.members);
        self.is_complete = welcome.count <= welcome.online.len();
        for Listed { id, name, .. } in &welcome.online {
            let spoke = before.get(id).map_or(0, |(_, spoke)| *spoke);
            self.insert(*id, name, spoke);
        }
        // Keep the sender of the last private message only if the member with this ID still has the
        // same name: in a different room, the same ID may belong to a different member.
        self.correspondent = self.correspondent.filter(|id| {
            let name_before = before.get(id).map(|(name, _)| name);
            name_before.is_some() && name_before == self.members.get(id).map(|(name, _)| name)
        });
    }

    /// Adds a member or changes its name. Does nothing if the roster has no space for a new member,
    /// or if the name is too long.
    fn insert(&mut self, id: MemberId, name: &Text, spoke: u64) {
        let has_room = self.members.len() < MAX_MEMBERS || self.members.contains_key(&id);
        if has_room && name.as_str().len() <= MAX_NAME_BYTES {
            self.members.insert(id, (name.as_str().to_owned(), spoke));
        }
    }

    /// Updates the roster after a live event. Must not be called for replayed events, because the
    /// list of members in the welcome is newer.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Message { id, from, .. } => self.spoke(*id, from),
            Event::Joined(Listed { id, name, .. }) => self.insert(*id, name, 0),
            Event::Left { id, .. } => {
                self.members.remove(id);
            }
            Event::Renamed { id, from, to } => {
                let has_room =
                    self.ignored.len() < MAX_IGNORED && to.as_str().len() <= MAX_NAME_BYTES;
                if has_room
                    && let Some(first) = self.ignored_by(from.as_str())
                    && !self.is_ignored(to.as_str())
                {
                    let ignored = Ignored::new(to.as_str(), first);
                    self.ignored.push(ignored);
                }
                let spoke = self.members.get(id).map_or(0, |(_, spoke)| *spoke);
                self.insert(*id, to, spoke);
            }
            Event::Server { .. } | Event::Shutdown => {}
        }
    }

    /// Records that a member sent a message, public or private.
    pub(crate) fn spoke(&mut self, id: MemberId, name: &Text) {
        self.messages += 1;
        self.insert(id, name, self.messages);
    }

    /// Records that a member sent a private message. Must not be called for ignored members.
    pub(crate) fn spoke_privately(&mut self, id: MemberId, name: &Text) {
        self.spoke(id, name);
        self.correspondent = Some(id);
    }

    /// The current name of the sender of the last private message.
    ///
    /// # Errors
    /// There is no one to reply to.
    pub(crate) fn correspondent(&self) -> Result<&str, RequestError> {
        let id = self.correspondent.ok_or(RequestError::NoCorrespondent)?;
        let (name, _) = self
            .members
            .get(&id)
            .ok_or(RequestError::CorrespondentLeft)?;
        Ok(name)
    }

    /// The names of all members except `own`. Members who have spoken come first, beginning with
    /// the latest speaker; the others follow in alphabetical order.
    pub(crate) fn names(&self, own: Option<&OwnIdentity>) -> Vec<&str> {
        let mut members: Vec<(u64, &str)> = self
            .members
            .iter()
            .filter(|(id, _)| own.is_none_or(|own| own.id != **id))
            .map(|(_, (name, spoke))| (u64::MAX - spoke, name.as_str()))
            .collect();
        members.sort_unstable();
        members.into_iter().map(|(_, name)| name).collect()
    }

    /// Whether a member with this name is online. `None` if the name is not in the list of members
    /// and the list is incomplete.
    pub(crate) fn has(&self, name: &str) -> Option<bool> {
        let keys = NameKeys::of(name);
        let mut names = self.members.values();
        let is_known = names.any(|(other, _)| NameKeys::of(other).is_same(&keys));
        (is_known || self.is_complete).then_some(is_known)
    }

    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        self.ignored_by(name).is_some()
    }

    /// Returns the name that the user originally ignored, if `name` is that name or a later name of
    /// the same member.
    fn ignored_by(&self, name: &str) -> Option<&str> {
        // Most users ignore no one, so avoid computing the keys with which names are compared.
        if self.ignored.is_empty() {
            return None;
        }
        let keys = NameKeys::of(name);
        let mut ignored = self.ignored.iter();
        ignored
            .find(|ignored| ignored.keys.is_same(&keys))
            .map(|ignored| ignored.first.as_str())
    }

    /// Ignores a name. If the name is ignored already, stops ignoring it, together with the other
    /// names of the same member. Returns whether the name is ignored now.
    pub(crate) fn toggle_ignored(&mut self, name: &str) -> bool {
        match self.ignored_by(name).map(str::to_owned) {
            Some(first) => self.ignored.retain(|ignored| ignored.first != first),
            None => self.ignored.push(Ignored::new(name, name)),
        }
        self.is_ignored(name)
    }

    pub(crate) fn ignored(&self) -> Vec<&str> {
        let ignored = self.ignored.iter();
        ignored.map(|ignored| ignored.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(from: &str, to: &str) -> Event {
        Event::Renamed {
            id: MemberId(3),
            from: Text::new(from),
            to: Text::new(to),
        }
    }

    #[test]
    fn an_ignored_member_stays_ignored_across_renames_up_to_1000_names() {
        let mut roster = Roster::default();
        roster.toggle_ignored("ola");
        let names: Vec<String> = (1..=MAX_IGNORED).map(|n| format!("Ola{n}")).collect();
        let mut from = "ola";
        for to in &names {
            roster.follow(&renamed(from, to));
            from = to;
        }
        assert!(roster.is_ignored("ola") && roster.is_ignored("ola999"));
        assert!(!roster.is_ignored("ola1000"));
        assert_eq!(roster.ignored().len(), 1000);
    }

    #[test]
    fn a_name_is_ignored_in_every_form_that_the_server_counts_as_the_same_name() {
        for (typed, shown) in [
            ("Jose\u{301}", "José"),
            ("ＯＬＡ", "ola"),
            ("WEISS", "Weiß"),
            ("o\u{200b}la", "ola"),
            ("\u{43e}la", "Ola"),
        ] {
            let mut roster = Roster::default();
            roster.spoke(MemberId(3), &Text::new(shown));
            assert!(roster.toggle_ignored(typed), "{typed}");
            assert!(roster.is_ignored(shown), "{typed}");
            assert_eq!(roster.has(typed), Some(true), "{typed}");
            assert!(!roster.toggle_ignored(shown), "{typed}");
        }
    }

    #[test]
    fn the_roster_does_not_store_a_name_over_the_length_limit() {
        let mut roster = Roster::default();
        roster.toggle_ignored("ola");
        let long = "o".repeat(MAX_NAME_BYTES + 1);
        roster.follow(&renamed("ola", &long));
        assert_eq!(roster.ignored(), ["ola"]);
        assert_ne!(roster.has(&long), Some(true));
    }
}
