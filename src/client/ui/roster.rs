//! Who is here, who spoke last, and who is not to be heard.

use std::collections::HashMap;

use crate::client::identity::OwnIdentity;
use crate::protocol::event::{Event, Listed, MemberId, Welcome};
use crate::protocol::limits::MAX_NAME_BYTES;
use crate::protocol::text::Text;

/// Members that are known, at most: no room has more. A hostile server tells of as many as it likes.
const MAX_MEMBERS: usize = 20_000;

/// Names that are not to be heard, at most. Each new name of somebody ignored is one more.
const MAX_IGNORED: usize = 1000;

/// The members that this client knows of.
#[derive(Default)]
pub(crate) struct Roster {
    /// Names, with the number of the last message; 0 for none.
    members: HashMap<MemberId, (String, u64)>,
    /// All who are here are known. A welcome tells of the first in a large room alone.
    is_whole: bool,
    messages: u64,
    /// Who wrote in private last, of those who are heard.
    correspondent: Option<MemberId>,
    /// Names in lower case, as somebody may leave and come again, each with the one that the same person was ignored by.
    ignored: Vec<(String, String)>,
}

impl Roster {
    /// Learns who is here, and forgets who was.
    pub(crate) fn enter(&mut self, welcome: &Welcome) {
        let before = std::mem::take(&mut self.members);
        self.is_whole = welcome.count <= welcome.online.len();
        for Listed { id, name, .. } in &welcome.online {
            let spoke = before.get(id).map_or(0, |(_, spoke)| *spoke);
            self.learn(*id, name, spoke);
        }
        // In another room the id is somebody else's.
        self.correspondent = self.correspondent.filter(|id| {
            let name_before = before.get(id).map(|(name, _)| name);
            name_before.is_some() && name_before == self.members.get(id).map(|(name, _)| name)
        });
    }

    /// Keeps a name, if it can be one.
    fn learn(&mut self, id: MemberId, name: &Text, spoke: u64) {
        let has_room = self.members.len() < MAX_MEMBERS || self.members.contains_key(&id);
        if has_room && name.as_str().len() <= MAX_NAME_BYTES {
            self.members.insert(id, (name.as_str().to_owned(), spoke));
        }
    }

    /// Learns from what happens now, not in the past.
    pub(crate) fn follow(&mut self, event: &Event) {
        match event {
            Event::Message { id, from, .. } => self.heard(*id, from),
            Event::Joined(Listed { id, name, .. }) => self.learn(*id, name, 0),
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
                    let ignored = (to.as_str().to_lowercase(), first.to_owned());
                    self.ignored.push(ignored);
                }
                let spoke = self.members.get(id).map_or(0, |(_, spoke)| *spoke);
                self.learn(*id, to, spoke);
            }
            Event::Server { .. } | Event::Shutdown => {}
        }
    }

    /// Somebody said something, in public or in private.
    pub(crate) fn heard(&mut self, id: MemberId, name: &Text) {
        self.messages += 1;
        self.learn(id, name, self.messages);
    }

    /// Somebody who is heard wrote in private.
    pub(crate) fn heard_privately(&mut self, id: MemberId, name: &Text) {
        self.heard(id, name);
        self.correspondent = Some(id);
    }

    /// The name that who wrote in private last has now.
    ///
    /// # Errors
    /// There is nobody to answer: why.
    pub(crate) fn correspondent(&self) -> Result<&str, &'static str> {
        let id = self
            .correspondent
            .ok_or("nobody has written to you in private yet: use /msg NAME TEXT")?;
        let (name, _) = self
            .members
            .get(&id)
            .ok_or("who wrote to you in private last is not here: use /msg NAME TEXT")?;
        Ok(name)
    }

    /// The names of all but `own`, those who spoke last first, then in the order of the alphabet.
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

    /// Whether somebody of this name is here; `None` where that is not known.
    pub(crate) fn has(&self, name: &str) -> Option<bool> {
        let name = name.to_lowercase();
        let mut names = self.members.values();
        let is_known = names.any(|(other, _)| other.to_lowercase() == name);
        (is_known || self.is_whole).then_some(is_known)
    }

    pub(crate) fn is_ignored(&self, name: &str) -> bool {
        self.ignored_by(name).is_some()
    }

    /// The name by which who has, or had, this one was ignored.
    fn ignored_by(&self, name: &str) -> Option<&str> {
        let name = name.to_lowercase();
        let mut ignored = self.ignored.iter();
        ignored
            .find(|(other, _)| *other == name)
            .map(|(_, first)| first.as_str())
    }

    /// Ignores a name, or hears it again where it was ignored, and all others of the same person; tells which.
    pub(crate) fn ignore(&mut self, name: &str) -> bool {
        match self.ignored_by(name).map(str::to_owned) {
            Some(first) => self.ignored.retain(|(_, other)| *other != first),
            None => self
                .ignored
                .push((name.to_lowercase(), name.to_lowercase())),
        }
        self.is_ignored(name)
    }

    pub(crate) fn ignored(&self) -> Vec<&str> {
        self.ignored.iter().map(|(name, _)| name.as_str()).collect()
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
    fn who_is_ignored_is_so_by_a_thousand_names_and_no_more_are_kept() {
        let mut roster = Roster::default();
        roster.ignore("ola");
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
    fn a_name_that_is_longer_than_any_is_not_kept() {
        let mut roster = Roster::default();
        roster.ignore("ola");
        let long = "o".repeat(MAX_NAME_BYTES + 1);
        roster.follow(&renamed("ola", &long));
        assert_eq!(roster.ignored(), ["ola"]);
        assert_ne!(roster.has(&long), Some(true));
    }
}
