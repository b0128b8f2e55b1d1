//! What is said from a window: a thread that sends it, and what of it has not come back yet.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::client::net::connection::Connection;
use crate::protocol::event::{Answer, MemberId, Record};
use crate::protocol::json::Received;
use crate::protocol::request::{Format, Request};
use crate::protocol::text::Text;

/// Lines that may wait for a server that slows this client down. A paste of so many takes it a quarter of an hour.
const MAX_WAITING: usize = 10_000;

/// The sending side of a member's time in the room.
pub(crate) struct Outgoing {
    /// None where no more will be said.
    lines: Option<SyncSender<String>>,
    thread: JoinHandle<()>,
    unacked: VecDeque<Said>,
    /// How many of them were said over an earlier connection.
    old: usize,
    /// When the server was last heard, or something said to which it was to answer.
    last: Instant,
}

/// Something said that the server has not answered yet.
pub(crate) struct Said {
    pub(crate) text: Text,
    pub(crate) is_private: bool,
    at: Instant,
}

impl Outgoing {
    /// Starts the thread called `send`, so that a server that takes nothing holds up that thread alone. `unacked` was said over an earlier
    /// connection.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(crate) fn start(connection: Connection, unacked: VecDeque<Said>) -> io::Result<Self> {
        let (lines, waiting) = mpsc::sync_channel::<String>(MAX_WAITING);
        let thread = thread::Builder::new().name("send".into()).spawn(move || {
            for line in waiting {
                if connection.say(&line).is_err() {
                    // Why, the thread that receives tells.
                    return;
                }
            }
            connection.end();
        })?;
        Ok(Self {
            lines: Some(lines),
            thread,
            old: unacked.len(),
            unacked,
            last: Instant::now(),
        })
    }

    /// Sends a line. `false` where too many wait already, or the connection is over.
    pub(crate) fn say(&mut self, line: String) -> bool {
        let said = comes_back(&line);
        let lines = self.lines.as_ref();
        if lines.is_none_or(|lines| lines.try_send(line).is_err()) {
            return false;
        }
        let at = Instant::now();
        if self.unacked.is_empty() {
            self.last = at;
        }
        let said = said.map(|(text, is_private)| Said {
            text,
            is_private,
            at,
        });
        self.unacked.extend(said);
        true
    }

    /// Learns what has arrived: the server answers in the order in which it was sent. `is_own` tells who this client is, or was.
    pub(crate) fn hear(&mut self, received: &Received, is_own: impl Fn(MemberId) -> bool) {
        self.last = Instant::now();
        let is_it: &dyn Fn(&Said) -> bool = match received {
            Received::Record(Record { event, .. }, _)
                if event.author().is_some_and(|(id, _)| is_own(id)) =>
            {
                &move |said: &Said| !said.is_private && Some(&said.text) == event.text()
            }
            Received::Answer(Answer::PrivateTo { text, .. }) => {
                &move |said: &Said| said.is_private && said.text == *text
            }
            // A private message that did not go is answered so; nothing said in public is.
            Received::Answer(Answer::Error(_)) => {
                if self.old == 0 && self.unacked.front().is_some_and(|said| said.is_private) {
                    self.unacked.pop_front();
                }
                return;
            }
            Received::Record(..) | Received::Answer(_) | Received::Unknown => return,
        };
        if let Some(at) = self.unacked.iter().position(is_it) {
            self.unacked.drain(..=at);
            self.old = self.old.saturating_sub(at + 1);
        }
    }

    /// Since when the server has been silent, although it has to answer something that was said. One that slows this client down is
    /// not silent: it answers line by line.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        (!self.unacked.is_empty()).then_some(self.last)
    }

    /// How many lines that were said over this connection have not come back, and when the first of them was said.
    pub(crate) fn left(&self) -> Option<(u64, Instant)> {
        let first = self.unacked.get(self.old)?;
        Some(((self.unacked.len() - self.old) as u64, first.at))
    }

    /// What was said over an earlier connection and has not come back, now that it would have.
    pub(crate) fn lost(&mut self) -> impl Iterator<Item = Said> {
        self.unacked.drain(..std::mem::take(&mut self.old))
    }

    /// Has the thread send the end behind what is still waiting.
    pub(crate) fn close(&mut self) {
        self.lines = None;
    }

    /// Gives what has not come back. To be called when the connection is over, as that ends the thread.
    pub(crate) fn finish(self) -> VecDeque<Said> {
        drop(self.lines);
        // One that has panicked has ended the client.
        let _ = self.thread.join();
        self.unacked
    }
}

/// What a server that has taken `line` sends back of it, and whether that is private; none where the line is no message.
pub(crate) fn comes_back(line: &str) -> Option<(Text, bool)> {
    Request::parse(line, Format::Json).ok()?.echo()
}
