//! Coming back to a room whose connection was lost: when to try, and what of the room is known already.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::client::net::connection::{Login, Resume};
use crate::client::net::outgoing::Said;
use crate::client::session::login::{Joined, LoginOutcome};
use crate::client::{Client, Happening, Stop};
use crate::protocol::event::{MemberId, Record, Welcome};
use crate::protocol::text::Text;

/// Time before the first attempt; it doubles with each one that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Time between two attempts, at most. A connection that has lasted for as long is no attempt any more.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What a client knows of the room that it is in, over all its connections.
#[derive(Default)]
pub(crate) struct Room {
    id: Option<Text>,
    token: Option<Text>,
    /// Who this client was in it.
    own: Vec<MemberId>,
    /// The last event that was shown.
    last: u64,
    /// The last one that was shown when the connection was lost.
    before: u64,
    /// What comes next is the first that a newcomer gets who was a member before.
    is_new_again: bool,
    /// The last one that is the past to a client that has just come.
    present: Option<u64>,
    /// When the client came, or came back.
    entered: Option<Instant>,
    /// Attempts since a connection has lasted.
    attempts: u32,
    /// What was said and has not come back.
    pub(crate) unacked: VecDeque<Said>,
}

impl Room {
    /// Whether this client was in a room before.
    pub(crate) fn is_known(&self) -> bool {
        self.id.is_some()
    }

    /// Whether `id` is this client, or was.
    pub(crate) fn is_own(&self, id: MemberId) -> bool {
        self.own.contains(&id)
    }

    /// Learns that the client is a member; what a user has to know of that who was one before.
    pub(crate) fn enter(&mut self, welcome: &Welcome, has_resumed: bool) -> Option<String> {
        let has_changed = self.id.as_ref().is_some_and(|id| *id != welcome.room);
        // A room whose numbers went back gives them again to other events, as where a copy of its history was put in its place.
        let went_back = welcome.seq < self.last;
        let is_other = has_changed || went_back;
        self.is_new_again = self.is_known() && !is_other && !has_resumed;
        self.id = Some(welcome.room.clone());
        self.token = welcome.token.clone();
        self.present = Some(welcome.seq);
        self.entered = Some(Instant::now());
        if is_other {
            (self.own, self.last) = (Vec::new(), 0);
        }
        self.before = self.last;
        self.own.push(welcome.id);
        match welcome.missing {
            _ if has_changed => Some("this is another room than before".into()),
            _ if went_back => Some("the server does not know all of the room any more: what it still knows comes again".into()),
            missing => in_words(missing),
        }
    }

    /// What a user has to know before this event: what is missing between the last one that they saw and the first that a newcomer
    /// gets. Where that is one that they saw, all that was said since comes, and who came and went no newcomer learns.
    pub(crate) fn hole_before(&mut self, record: &Record) -> Option<String> {
        if !std::mem::take(&mut self.is_new_again) {
            return None;
        }
        in_words(record.seq.saturating_sub(self.before).saturating_sub(1))
    }

    /// Whether an event was not shown over an earlier connection.
    pub(crate) fn is_new(&mut self, record: &Record) -> bool {
        self.last = self.last.max(record.seq);
        record.seq > self.before
    }

    /// Whether all of the past has come; tells it once.
    pub(crate) fn has_caught_up(&mut self) -> bool {
        self.present
            .take_if(|present| *present <= self.last)
            .is_some()
    }

    /// How long to wait before the next attempt.
    fn pause(&mut self) -> Duration {
        let entered = self.entered.take();
        if entered.is_some_and(|at| at.elapsed() >= LAST_PAUSE) {
            self.attempts = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.attempts));
        self.attempts += 1;
        pause.min(LAST_PAUSE)
    }

    fn resume(&self) -> Option<Resume> {
        let token = self.token.clone()?;
        Some(Resume {
            token,
            seq: self.last,
        })
    }
}

fn in_words(missing: u64) -> Option<String> {
    match missing {
        0 => None,
        1 => Some("1 line is missing here: the server has forgotten it".into()),
        missing => Some(format!(
            "{missing} lines are missing here: the server has forgotten them"
        )),
    }
}

impl Client {
    /// Tries to come back until that succeeds, or the user gives up.
    pub(crate) fn come_back(
        &mut self,
        lost: &str,
        login: &mut Login,
        room: &mut Room,
    ) -> Result<Joined, Stop> {
        self.ui
            .refuse(&format!("{lost}: trying again, Ctrl+C gives up"));
        login.resume = room.resume();
        loop {
            let pause = room.pause();
            let seconds = pause.as_secs();
            self.ui
                .status(Some(format!("not connected: trying again in {seconds} s")));
            self.pause(pause)?;
            if let Some(joined) = self.try_again(login)? {
                self.ui.status(None);
                return Ok(joined);
            }
        }
    }

    /// Tries once more, and again at once where something else has to be asked for.
    fn try_again(&mut self, login: &mut Login) -> Result<Option<Joined>, Stop> {
        loop {
            self.ui.status(Some("not connected: trying".into()));
            match self.try_to_join(login)? {
                LoginOutcome::In(joined) => return Ok(Some(*joined)),
                LoginOutcome::Refused => {}
                LoginOutcome::Failed(_) => return Ok(None),
            }
        }
    }

    fn pause(&mut self, pause: Duration) -> Result<(), Stop> {
        let until = Instant::now() + pause;
        while let Some(happening) = self.next_until(Some(until))? {
            match happening {
                Happening::Entered => self.entered_alone()?,
                // What was typed for the connection before, and the end of that.
                Happening::Typed(_)
                | Happening::Terminal(_)
                | Happening::NoKeys
                | Happening::Attempt(_)
                | Happening::Received(_)
                | Happening::Ended(_)
                | Happening::Leave => {}
            }
        }
        Ok(())
    }
}
