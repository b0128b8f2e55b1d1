//! What a pipe has sent and the room does not have yet: counted by the thread that sends it, and by the one that hears of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::event::{Answer, Event, MemberId, Received, Record};
use crate::protocol::request::{Format, Request};

/// The lines of one connection that are to come back, in the order in which they were sent. A clone has the same.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<VecDeque<Kind>>>);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Public,
    Private,
}

impl UnderWay {
    /// Counts a line that is to be sent, where something comes back of it.
    pub(super) fn add(&self, line: &str) {
        let kind = match Request::parse(line, Format::Json) {
            Ok(Request::Say(_)) => Kind::Public,
            Ok(Request::Msg(..) | Request::Reply(_)) => Kind::Private,
            Ok(
                Request::Nothing
                | Request::Rename(_)
                | Request::Online
                | Request::Help(_)
                | Request::Quit,
            )
            | Err(_) => return,
        };
        self.lock().push_back(kind);
    }

    /// Learns what has arrived: the server answers in the order in which it was sent. `own` is this client.
    pub(super) fn hear(&self, received: &Received, own: MemberId) {
        let mut waiting = self.lock();
        let at = match received {
            Received::Record(Record { event, .. }, false) => match event {
                Event::Message { id, .. } if *id == own => {
                    waiting.iter().position(|kind| *kind == Kind::Public)
                }
                Event::Message { .. }
                | Event::Joined(_)
                | Event::Left { .. }
                | Event::Renamed { .. }
                | Event::Server { .. }
                | Event::Shutdown => None,
            },
            Received::Answer(Answer::PrivateTo { .. }) => {
                waiting.iter().position(|kind| *kind == Kind::Private)
            }
            // A private message that did not go is answered so; nothing said in public is.
            Received::Answer(Answer::Error(_)) => {
                (waiting.front() == Some(&Kind::Private)).then_some(0)
            }
            Received::Record(_, true) | Received::Answer(_) | Received::Unknown => None,
        };
        if let Some(at) = at {
            waiting.drain(..=at);
        }
    }

    /// How many lines have not arrived.
    pub(super) fn left(&self) -> u64 {
        self.lock().len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kind>> {
        // No thread panics while it holds it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
