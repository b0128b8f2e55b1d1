//! State of the room that outlives a connection.

use std::collections::VecDeque;

use crate::client::net::in_flight::Unacked;
use crate::client::net::receive::ResumePoint;
use crate::protocol::event::{Record, Welcome};
use crate::protocol::text::Text;

#[derive(Default)]
pub(crate) struct RoomState {
    /// The room's ID. `None` before the first welcome.
    id: Option<Text>,
    token: Option<Text>,
    /// The number of the last event shown.
    last_shown: u64,
    /// The value of `last_shown` at the last welcome. Replayed events up to this number were shown
    /// over an earlier connection.
    known: u64,
    /// Whether the client has rejoined as a newcomer, in which case it may have missed events
    /// before the next one that it receives.
    expects_gap: bool,
    /// Messages sent over an earlier connection and not echoed yet.
    pub(crate) unacked: VecDeque<Unacked>,
    /// Whether a part of the piped input may not have been sent.
    pub(crate) has_unsent: bool,
}

impl RoomState {
    /// Records a welcome. For a client that rejoins, returns the number of the last event shown.
    /// Also returns a notice for the user if this is a different room or events are missing.
    pub(crate) fn enter(
        &mut self,
        welcome: &Welcome,
        has_resumed: bool,
    ) -> (Option<u64>, Option<String>) {
        let is_back = self.id.is_some();
        let has_changed = self.id.as_ref().is_some_and(|id| *id != welcome.room);
        // After an older copy of the history was restored, the server reuses event numbers.
        let went_back = welcome.seq < self.last_shown;
        let is_other = has_changed || went_back;
        self.expects_gap = is_back && !is_other && !has_resumed;
        self.id = Some(welcome.room.clone());
        self.token.clone_from(&welcome.token);
        if is_other {
            self.last_shown = 0;
        }
        self.known = self.last_shown;
        let notice = if has_changed {
            Some("this is a different room than before".into())
        } else if went_back {
            Some("the server has lost a part of the room's history: what it still has is shown again".into())
        } else {
            missing_notice(welcome.missing)
        };
        (is_back.then_some(self.known), notice)
    }

    /// Returns a notice to show before `record` if it begins a newcomer's replay and events between
    /// it and the last event shown are missing.
    ///
    /// If the replay begins before the last event shown, no messages are missing. Joins and leaves
    /// are never replayed to a newcomer.
    pub(crate) fn gap_before(&mut self, record: &Record) -> Option<String> {
        if !std::mem::take(&mut self.expects_gap) {
            return None;
        }
        missing_notice(record.seq.saturating_sub(self.known).saturating_sub(1))
    }

    /// Records an event. Returns whether it is new: not shown over an earlier connection.
    pub(crate) fn is_new(&mut self, record: &Record) -> bool {
        self.last_shown = self.last_shown.max(record.seq);
        record.seq > self.known
    }

    /// Point at which to resume after the connection is lost, if the server supports that.
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
