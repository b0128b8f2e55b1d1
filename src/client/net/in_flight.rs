//! Messages in flight: sent or about to be sent, but not yet echoed by the server.
//!
//! The server echoes messages in the order in which they were sent. If a client sends faster than
//! it reads the echoes, the server disconnects the client. So piped input waits while too much is
//! in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::protocol::event::{Answer, MemberId};
use crate::protocol::json::Received;
use crate::protocol::request::{Format, Request};
use crate::protocol::text::Text;
use crate::sync::{Condvar, Mutex};

/// Limit on the size of all echoes in flight for piped input, in bytes. It is half of the backlog
/// that `chat-server` allows a client, because other members' messages need space too. A lower
/// limit would reduce throughput, because one round trip carries at most this many bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Limit on the size of an echo without its text, in bytes: names of at most 64 bytes, numbers and
/// the time.
const MAX_OVERHEAD: usize = 200;

/// The messages in flight on one connection. Clones share the messages.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<(Mutex<State>, Condvar)>);

struct State {
    /// This client's member ID, which is the author in its echoes.
    author: MemberId,
    /// The messages, in the order in which they were sent.
    messages: VecDeque<Unacked>,
    /// Number of messages, at the front of `messages`, that were sent over an earlier connection.
    old: usize,
    /// Upper bound on the size of all echoes in flight, in bytes.
    bytes: usize,
    /// The time since which the server has been silent: when it last sent something, or when
    /// `messages` was last empty, whichever is later.
    active_at: Instant,
    is_closed: bool,
}

/// A message that the server has not echoed yet.
pub(crate) struct Unacked {
    pub(crate) text: Text,
    pub(crate) is_private: bool,
    /// This client's member ID when it sent the message.
    author: MemberId,
    sent_at: Instant,
    echo_bytes: usize,
}

impl InFlight {
    /// Creates the list of messages in flight for a new connection. `old` contains the messages
    /// that were still in flight when an earlier connection ended; the replay may still echo them.
    pub(crate) fn new(author: MemberId, old: VecDeque<Unacked>) -> Self {
        let state = State {
            author,
            old: old.len(),
            bytes: old.iter().map(|message| message.echo_bytes).sum(),
            messages: old,
            active_at: Instant::now(),
            is_closed: false,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Adds a line that is about to be sent. Ignores a command that has no echo.
    pub(crate) fn push(&self, line: &str) {
        let request = Request::parse(line, Format::Json);
        let Some((text, is_private)) = request.ok().and_then(Request::echo) else {
            return;
        };
        let mut state = self.0.0.lock();
        let sent_at = Instant::now();
        if state.messages.is_empty() {
            state.active_at = sent_at;
        }
        // The text of an echo is at most twice as long as the line: JSON escapes a quotation mark
        // or a backslash with a second byte.
        let echo_bytes = 2 * line.len() + MAX_OVERHEAD;
        state.bytes += echo_bytes;
        let author = state.author;
        state.messages.push_back(Unacked {
            text,
            is_private,
            author,
            sent_at,
            echo_bytes,
        });
    }

    /// Adds a line that is about to be sent, and blocks while too much is in flight. Returns
    /// whether the connection is still up. If the connection has ended, the line still counts as in
    /// flight.
    pub(crate) fn push_and_wait(&self, line: &str) -> bool {
        self.push(line);
        let (_, changed) = &*self.0;
        let state = changed.wait_while(self.0.0.lock(), |state| {
            state.bytes > MAX_BYTES && !state.is_closed
        });
        !state.is_closed
    }

    /// Removes the messages that `received` acknowledges: the message that it echoes, and all
    /// earlier messages.
    pub(crate) fn acknowledge(&self, received: &Received) {
        let mut state = self.0.0.lock();
        state.active_at = Instant::now();
        if let Some(index) = state.acknowledged_by(received) {
            let bytes: usize = state
                .messages
                .drain(..=index)
                .map(|message| message.echo_bytes)
                .sum();
            state.bytes -= bytes;
            state.old = state.old.saturating_sub(index + 1);
            self.0.1.notify_one();
        }
    }

    /// Returns the number of messages in flight that were sent over this connection, and the time
    /// at which the first of them was sent. Returns `None` if there are none.
    pub(crate) fn pending(&self) -> Option<(u64, Instant)> {
        let state = self.0.0.lock();
        let first = state.messages.get(state.old)?;
        Some(((state.messages.len() - state.old) as u64, first.sent_at))
    }

    /// Returns the time since which the server has been silent, or `None` if no echo is due.
    /// Anything that the server sends ends the silence, so a slow server does not count as silent.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let state = self.0.0.lock();
        (!state.messages.is_empty()).then_some(state.active_at)
    }

    /// Removes and returns the messages that were sent over an earlier connection and lost with it.
    /// Called after the replay: if the replay did not echo such a message, the message never
    /// reached the server.
    pub(crate) fn take_lost(&self) -> VecDeque<Unacked> {
        let mut state = self.0.0.lock();
        let old = std::mem::take(&mut state.old);
        let lost: VecDeque<Unacked> = state.messages.drain(..old).collect();
        state.bytes -= lost.iter().map(|message| message.echo_bytes).sum::<usize>();
        lost
    }

    /// Removes and returns all messages. Called after the connection has ended.
    pub(crate) fn take_all(&self) -> VecDeque<Unacked> {
        let mut state = self.0.0.lock();
        (state.old, state.bytes) = (0, 0);
        std::mem::take(&mut state.messages)
    }

    /// Unblocks the thread in [`InFlight::push_and_wait`] when the connection is over. Keeps the
    /// messages, because the replay after a reconnection may still echo them.
    pub(crate) fn close(&self) {
        self.0.0.lock().is_closed = true;
        self.0.1.notify_one();
    }
}

impl State {
    /// Returns the index of the last message that `received` acknowledges.
    fn acknowledged_by(&self, received: &Received) -> Option<usize> {
        match received {
            Received::Record(record, replay) => {
                let (author, _) = record.event.author()?;
                let is_own = |message: &Unacked| !message.is_private && message.author == author;
                let echoed = self.echoed(record.event.text()?, is_own);
                if *replay {
                    // Consider only messages that were sent over an earlier connection, because a
                    // replay contains no messages that were sent over this connection.
                    echoed.filter(|index| *index < self.old)
                } else {
                    echoed.or_else(|| self.first(is_own))
                }
            }
            Received::Answer(Answer::PrivateTo { text, .. }) => {
                let is_private = |message: &Unacked| message.is_private;
                let echoed = self.echoed(text, is_private);
                echoed.or_else(|| self.first(is_private))
            }
            // An error may answer a private message that the server cannot deliver, but never a
            // public message. So an error acknowledges the first message in flight if that message
            // is private.
            Received::Answer(Answer::Error(_)) => {
                let first = self.messages.front().filter(|_| self.old == 0);
                first.is_some_and(|first| first.is_private).then_some(0)
            }
            Received::Answer(_) | Received::Unknown => None,
        }
    }

    fn echoed(&self, text: &Text, matches: impl Fn(&Unacked) -> bool) -> Option<usize> {
        let mut messages = self.messages.iter();
        messages.position(|message| matches(message) && message.text == *text)
    }

    /// Returns the index of the first message sent over this connection for which `matches` is
    /// true. Does not compare texts: the echo from a server of another version may have a different
    /// text, but the echoes still arrive in order.
    fn first(&self, matches: impl Fn(&Unacked) -> bool) -> Option<usize> {
        let mut new = self.messages.iter().skip(self.old);
        new.position(matches).map(|index| index + self.old)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const OWN: MemberId = MemberId(7);

    /// Maximum number of `hello` messages that can be in flight at once.
    const MAX_HELLOS: u64 = (MAX_BYTES / (2 * "hello".len() + MAX_OVERHEAD) + 1) as u64;

    fn empty() -> InFlight {
        InFlight::new(OWN, VecDeque::new())
    }

    fn count(in_flight: &InFlight) -> u64 {
        in_flight.pending().map_or(0, |(count, _)| count)
    }

    fn receive(in_flight: &InFlight, event: &str) {
        in_flight.acknowledge(&Received::decode(event).unwrap());
    }

    fn receive_message(in_flight: &InFlight, text: &str, rest: &str) {
        let message = format!(
            r#"{{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":7,"from":"ala","text":"{text}"{rest}}}"#
        );
        receive(in_flight, &message);
    }

    fn receive_hello(in_flight: &InFlight) {
        receive_message(in_flight, "hello", "");
    }

    #[test]
    fn piped_lines_wait_while_the_unacknowledged_lines_reach_the_limit() {
        const LINES: u64 = 5000;
        let in_flight = empty();
        let pipe = in_flight.clone();
        let sending = thread::spawn(move || (0..LINES).all(|_| pipe.push_and_wait("hello")));
        let mut echoed = 0;
        while echoed < LINES {
            let left = count(&in_flight);
            assert!(left <= MAX_HELLOS, "{left} are in flight");
            if left == MAX_HELLOS || sending.is_finished() {
                receive_hello(&in_flight);
                echoed += 1;
            }
            thread::yield_now();
        }
        assert!(sending.join().unwrap());
        assert_eq!(count(&in_flight), 0);
    }

    #[test]
    fn when_the_connection_ends_the_sender_wakes_and_its_lines_stay_unacknowledged() {
        let in_flight = empty();
        let pipe = in_flight.clone();
        let (over, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            let _over = over;
            while pipe.push_and_wait("hello") {}
        });
        while count(&in_flight) < MAX_HELLOS {
            thread::yield_now();
        }
        in_flight.close();
        let ended = ended.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
        assert_eq!(count(&in_flight), MAX_HELLOS);
    }

    #[test]
    fn a_message_is_acknowledged_by_its_own_answer_or_by_that_to_a_later_message() {
        let in_flight = empty();
        for line in ["/msg ola hi", "/online", "hello", "/reply hi", "", "hello"] {
            assert!(in_flight.push_and_wait(line));
        }
        assert_eq!(count(&in_flight), 4);
        receive(
            &in_flight,
            r#"{"type":"error","text":"there is no member called ola"}"#,
        );
        assert_eq!(count(&in_flight), 3);
        receive(&in_flight, r#"{"type":"error","text":"nothing private"}"#);
        assert_eq!(count(&in_flight), 3);
        receive_hello(&in_flight);
        assert_eq!(count(&in_flight), 2);
        receive(
            &in_flight,
            r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"to":"ola","text":"hi"}"#,
        );
        assert_eq!(count(&in_flight), 1);
        receive_hello(&in_flight);
        assert_eq!(count(&in_flight), 0);
        // A server other than `chat-server` may leave a private message unanswered. The echo of the
        // next message then acknowledges both.
        assert!(in_flight.push_and_wait("/msg ola hi") && in_flight.push_and_wait("hello"));
        receive_hello(&in_flight);
        assert_eq!(count(&in_flight), 0);
    }

    #[test]
    fn a_replay_acknowledges_only_messages_sent_over_an_earlier_connection() {
        let before = empty();
        for line in ["one", "two", "/msg ola hi"] {
            before.push(line);
        }
        let in_flight = InFlight::new(MemberId(8), before.take_all());
        in_flight.push("three");
        receive_message(&in_flight, "three", r#","replay":true"#);
        receive_message(&in_flight, "one", r#","replay":true"#);
        assert_eq!(count(&in_flight), 1);
        let lost = in_flight.take_lost();
        let lost: Vec<&str> = lost.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(lost, ["two", "hi"]);
        assert_eq!(count(&in_flight), 1);
    }

    #[test]
    fn an_echo_whose_text_differs_acknowledges_the_oldest_message_in_flight() {
        let in_flight = empty();
        in_flight.push("one");
        in_flight.push("two");
        receive_message(&in_flight, "One", "");
        assert_eq!(count(&in_flight), 1);
    }
}
