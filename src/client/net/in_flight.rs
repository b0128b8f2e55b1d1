//! What a pipe has sent and the room does not have yet: counted by the thread that sends it, and by the one that hears of it.
//!
//! All of it comes back, and a server cuts a client that takes that more slowly than it sends. So no more is sent while much is under way.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::client::net::outgoing::comes_back;
use crate::protocol::event::{Answer, MemberId, Record};
use crate::protocol::json::Received;
use crate::sync::{Condvar, Mutex};

/// Bytes that may come back of what is under way. Half of what `chat-server` lets a client be behind, as others speak too; no less, since each round
/// trip brings so much at most.
const MAX_BYTES: usize = 256 * 1024;

/// Most bytes that come back besides the text: names of at most 64 bytes, numbers, the time.
const AROUND: usize = 200;

/// The lines of one connection that are to come back. A clone has the same.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// In the order in which they were sent.
    waiting: VecDeque<Said>,
    /// What comes back of them, at most.
    bytes: usize,
    is_over: bool,
}

struct Said {
    is_private: bool,
    bytes: usize,
}

impl InFlight {
    /// Counts a line that is to be sent, where something comes back of it, and waits until it may be; `false` where the connection is over.
    pub(crate) fn add(&self, line: &str) -> bool {
        let Some((_, is_private)) = comes_back(line) else {
            return true;
        };
        // A quotation mark or a backslash is two.
        let bytes = 2 * line.len() + AROUND;
        let mut state = self.0.0.lock();
        state.waiting.push_back(Said { is_private, bytes });
        state.bytes += bytes;
        let (_, changed) = &*self.0;
        let state = changed.wait_while(state, |state| state.bytes > MAX_BYTES && !state.is_over);
        !state.is_over
    }

    /// Learns what has arrived: the server answers in the order in which it was sent. `own` is this client.
    pub(crate) fn hear(&self, received: &Received, own: MemberId) {
        let mut state = self.0.0.lock();
        let waiting = &state.waiting;
        let at = match received {
            Received::Record(Record { event, .. }, false)
                if event.author().is_some_and(|(id, _)| id == own) =>
            {
                waiting.iter().position(|said| !said.is_private)
            }
            Received::Answer(Answer::PrivateTo { .. }) => {
                waiting.iter().position(|said| said.is_private)
            }
            // A private message that did not go is answered so; nothing said in public is.
            Received::Answer(Answer::Error(_)) => waiting
                .front()
                .is_some_and(|said| said.is_private)
                .then_some(0),
            Received::Record(..) | Received::Answer(_) | Received::Unknown => None,
        };
        if let Some(at) = at {
            let bytes: usize = state.waiting.drain(..=at).map(|said| said.bytes).sum();
            state.bytes -= bytes;
            self.0.1.notify_one();
        }
    }

    /// How many lines have not arrived.
    pub(crate) fn left(&self) -> u64 {
        self.0.0.lock().waiting.len() as u64
    }

    /// The connection is over, and nothing more is sent. What was not is still counted.
    pub(crate) fn close(&self) {
        self.0.0.lock().is_over = true;
        self.0.1.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const OWN: MemberId = MemberId(7);

    /// As many lines as are under way at most.
    const MOST: u64 = (MAX_BYTES / (2 * "hello".len() + AROUND) + 1) as u64;

    fn hear(in_flight: &InFlight, event: &str) {
        in_flight.hear(&Received::decode(event).unwrap(), OWN);
    }

    fn hear_hello(in_flight: &InFlight) {
        let hello = r#"{"type":"message","seq":1,"time":"2026-01-31T10:00:00Z","id":7,"from":"ala","text":"hello"}"#;
        hear(in_flight, hello);
    }

    #[test]
    fn no_more_is_sent_while_much_is_under_way() {
        const LINES: u64 = 5000;
        let in_flight = InFlight::default();
        let pipe = in_flight.clone();
        let sending = thread::spawn(move || (0..LINES).all(|_| pipe.add("hello")));
        let mut heard = 0;
        while heard < LINES {
            let left = in_flight.left();
            assert!(left <= MOST, "{left} are under way");
            if left == MOST || sending.is_finished() {
                hear_hello(&in_flight);
                heard += 1;
            }
            thread::yield_now();
        }
        assert!(sending.join().unwrap());
        assert_eq!(in_flight.left(), 0);
    }

    #[test]
    fn what_waits_to_be_sent_ends_with_the_connection_and_counts() {
        let in_flight = InFlight::default();
        let pipe = in_flight.clone();
        let (over, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            let _over = over;
            while pipe.add("hello") {}
        });
        while in_flight.left() < MOST {
            thread::yield_now();
        }
        in_flight.close();
        let ended = ended.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
        assert_eq!(in_flight.left(), MOST);
    }

    #[test]
    fn each_answer_is_for_what_it_answers() {
        let in_flight = InFlight::default();
        for line in ["/msg ola hi", "/online", "hello", "/reply hi", "", "hello"] {
            assert!(in_flight.add(line));
        }
        assert_eq!(in_flight.left(), 4);
        hear(&in_flight, r#"{"type":"error","text":"ola is not here"}"#);
        assert_eq!(in_flight.left(), 3);
        hear(&in_flight, r#"{"type":"error","text":"nothing private"}"#);
        assert_eq!(in_flight.left(), 3);
        hear_hello(&in_flight);
        assert_eq!(in_flight.left(), 2);
        hear(
            &in_flight,
            r#"{"type":"private","time":"2026-01-31T10:00:00Z","id":3,"to":"ola","text":"hi"}"#,
        );
        assert_eq!(in_flight.left(), 1);
        hear_hello(&in_flight);
        assert_eq!(in_flight.left(), 0);
        // Another server may leave something unanswered.
        assert!(in_flight.add("/msg ola hi") && in_flight.add("hello"));
        hear_hello(&in_flight);
        assert_eq!(in_flight.left(), 0);
    }
}
