//! The client's knowledge of the room, which it keeps from one connection to the next.

use std::collections::VecDeque;

use crate::client::net::in_flight::Unacked;
use crate::client::net::receive::ResumePoint;
use crate::protocol::event::{Record, Welcome};
use crate::protocol::tally::Tally;
use crate::protocol::text::Text;

#[derive(Default)]
pub(crate) struct RoomState {
    /// The room's ID. `None` before the first welcome.
    id: Option<Text>,
    token: Option<Text>,
    /// The number of the last event shown.
    last_shown: u64,
    /// The number of the last event that was shown before the last welcome. Replayed events up to
    /// this number are not shown again.
    known: u64,
    /// Whether the client has rejoined as a newcomer, instead of resuming its session, and has
    /// received no event since. If so, the number of the next event tells whether events are
    /// missing.
    expects_gap: bool,
    /// Whether the last welcome came from a different room than the welcome before it.
    pub(crate) has_changed: bool,
    /// Messages sent over an earlier connection and not echoed yet.
    pub(crate) unacked: VecDeque<Unacked>,
    /// Whether some lines of the piped input may not have been sent.
    pub(crate) has_unsent: bool,
    /// The ID of the first room. Events of other rooms are not in the tally.
    first_id: Option<Text>,
    /// The events received since the client became a member, for the launcher.
    tally: Option<Tally>,
}

impl RoomState {
    /// Begins to count the events of a new connection; call this before [`RoomState::enter`]. If
    /// the client has resumed and no event is missing, continues the tally of the connection
    /// before. Otherwise, returns that tally and begins the next one.
    pub(crate) fn begin_tally(&mut self, welcome: &Welcome, has_resumed: bool) -> Option<Tally> {
        let first_id = self.first_id.get_or_insert_with(|| welcome.room.clone());
        let is_first = *first_id == welcome.room;
        if is_first && has_resumed && welcome.missing == 0 && self.tally.is_some() {
            return None;
        }
        let missing = if has_resumed { welcome.missing } else { 0 };
        let next = is_first.then(|| Tally::after(welcome.seq, missing));
        std::mem::replace(&mut self.tally, next)
    }

    /// Adds an event to the tally, unless it is part of a replay from before the tally.
    pub(crate) fn count(&mut self, record: &Record, is_replay: bool) {
        if let Some(tally) = &mut self.tally
            && !(is_replay && record.seq < tally.first)
        {
            tally.add(record);
        }
    }

    /// Ends the tally.
    pub(crate) fn end_tally(&mut self) -> Option<Tally> {
        self.tally.take()
    }

    /// Records a welcome. If the client has been in a room before, returns the number of the last
    /// event shown. Also returns a notice for the user if this is a different room, or if events
    /// are missing.
    pub(crate) fn enter(
        &mut self,
        welcome: &Welcome,
        has_resumed: bool,
    ) -> (Option<u64>, Option<String>) {
        let is_back = self.id.is_some();
        self.has_changed = self.id.as_ref().is_some_and(|id| *id != welcome.room);
        // The number of the last event goes back if an older copy of the server's history was
        // restored. New events then get numbers that the client has already seen, so the client
        // must not skip replayed events by their numbers.
        let went_back = welcome.seq < self.last_shown;
        let is_other = self.has_changed || went_back;
        self.expects_gap = is_back && !is_other && !has_resumed;
        self.id = Some(welcome.room.clone());
        self.token.clone_from(&welcome.token);
        if is_other {
            self.last_shown = 0;
        }
        self.known = self.last_shown;
        let notice = if self.has_changed {
            Some("this is a different room than before".into())
        } else if went_back {
            Some("the server has lost a part of the room's history: what it still has is shown again".into())
        } else {
            missing_notice(welcome.missing)
        };
        (is_back.then_some(self.known), notice)
    }

    /// Returns a notice to show before `record` if messages between the last event shown and
    /// `record` may be missing. Only the first event after rejoining as a newcomer can have such a
    /// gap.
    ///
    /// Returns `None` if the replay begins before the last event shown: then no message is missing.
    /// Missing joins and leaves do not count, because they are never replayed to a newcomer.
    pub(crate) fn gap_before(&mut self, record: &Record) -> Option<String> {
        if !std::mem::take(&mut self.expects_gap) {
            return None;
        }
        missing_notice(record.seq.saturating_sub(self.known).saturating_sub(1))
    }

    /// Records an event. Returns false if the event was already shown over an earlier connection.
    pub(crate) fn is_new(&mut self, record: &Record) -> bool {
        self.last_shown = self.last_shown.max(record.seq);
        record.seq > self.known
    }

    /// Whether the last connection brought a new event, such as the client's own join.
    pub(crate) fn has_news(&self) -> bool {
        self.last_shown > self.known
    }

    /// The point at which to resume after the connection is lost. `None` if the server cannot
    /// resume.
    pub(crate) fn resume_point(&self) -> Option<ResumePoint> {
        let token = self.token.clone()?;
        Some(ResumePoint {
            token,
            seq: self.last_shown,
        })
    }
}

fn missing_notice(missing: u64) -> Option<String> {
    match missing {
        0 => None,
        1 => Some("1 line is missing here: the server no longer has it".into()),
        missing => Some(format!(
            "{missing} lines are missing here: the server no longer has them"
        )),
    }
}
