//! What a slow member has not taken yet, and the thread that sends it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::time::Duration;

use crate::net;
use crate::sync::{Instant, Mutex};

/// Bytes that a member may be behind, beside its welcome, the past and lists, which have bounds of their own.
pub(crate) const MAX_BACKLOG: usize = if cfg!(shuttle) { 3000 } else { 512 * 1024 };

/// Time without progress after which a member is taken for stuck.
const MAX_STALL: Duration = Duration::from_secs(10);

/// Time that a member has, after it has left, to take what came before.
const FAREWELL: Duration = Duration::from_secs(30);

/// How often a socket that is not reported as writable is tried all the same: the kernel reports it when half
/// of its buffer is free, which for a slow peer may be later than [`MAX_STALL`] (tcp(7)).
const TRY: Duration = Duration::from_secs(1);

/// The bytes between the delivery thread, which appends, and the writer thread, which sends.
pub(crate) struct Backlog {
    /// Guards the queue. Sends under it never wait, and no other lock is taken while it is held.
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<u8>,
    /// How much of what was appended does not count as being behind.
    exempt: usize,
    /// Nothing more will be appended: when the queue is empty, writing ends, and at this time at the latest.
    closing: Option<Instant>,
    /// The writer thread has ended.
    over: bool,
}

/// What became of bytes that were appended.
pub(crate) enum Append {
    /// The writer thread will send them, or has given up, and nothing more is sent.
    Taken,
    /// The writer thread has sent all and ended; nothing was appended.
    CaughtUp,
    /// The member is too far behind; nothing was appended.
    TooFar,
}

/// What becomes of the last line of a member that is cut.
pub(crate) enum Cutting {
    /// The writer thread sends it.
    Later,
    /// The writer thread has sent all before it, and ended; the line is not in the queue.
    CaughtUp,
    /// The writer thread has given up, and nothing more is sent.
    GivenUp,
}

/// How a writer thread ended.
pub(crate) enum Written {
    /// All was sent, and more may come.
    CaughtUp,
    /// All was sent, and that was the end.
    Closed,
    /// The peer took nothing for too long.
    Stalled,
    /// The connection broke.
    Lost,
}

impl Backlog {
    /// What a full socket left of `parts`, `exempt` bytes of which do not count as being behind.
    ///
    /// Takes all of it: what is pending in the room is bounded, so one round alone cuts nobody.
    pub(crate) fn new(parts: &[IoSlice<'_>], exempt: usize) -> Self {
        let queue = parts.iter().flat_map(|part| part.iter().copied()).collect();
        Self {
            state: Mutex::new(State {
                queue,
                exempt,
                closing: None,
                over: false,
            }),
        }
    }

    /// Appends `parts`, `exempt` bytes of which do not count as being behind. Called by the delivery thread.
    pub(crate) fn append(&self, parts: &[IoSlice<'_>], exempt: usize) -> Append {
        let mut state = self.state.lock();
        if state.over {
            // Lines that are left were given up: what follows would stand after a gap, for as long as it takes until
            // the writer thread has taken this member out of the room.
            return if state.queue.is_empty() {
                Append::CaughtUp
            } else {
                Append::Taken
            };
        }
        // What was exempt is sent first or last; at most so much of it still waits. More is exempt only after that, or
        // a member could ask for lists for ever.
        state.exempt = state.exempt.min(state.queue.len());
        let exempt = if state.exempt == 0 { exempt } else { 0 };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if state.queue.len() + bytes > MAX_BACKLOG + state.exempt + exempt {
            return Append::TooFar;
        }
        state.exempt += exempt;
        for part in parts {
            state.queue.extend(part.iter());
        }
        Append::Taken
    }

    /// Ends writing when all is sent; false where the writer thread has ended already.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closing = Some(Instant::now() + FAREWELL);
        !state.over
    }

    /// Throws away what waits, but for the line that may be half sent, and ends with `reason`.
    pub(crate) fn cut(&self, reason: &[u8]) -> Cutting {
        let mut state = self.state.lock();
        if state.over {
            return match state.queue.is_empty() {
                true => Cutting::CaughtUp,
                false => Cutting::GivenUp,
            };
        }
        let line = state
            .queue
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        state.queue.truncate(line);
        state.queue.extend(reason);
        state.closing = Some(Instant::now() + FAREWELL);
        Cutting::Later
    }

    /// The body of a writer thread: sends until the queue is empty.
    pub(crate) fn write(&self, socket: &TcpStream) -> Written {
        let mut progress = Instant::now();
        loop {
            // What happened is seen by the send, so an error here is of no use.
            let _ = net::wait_writable(socket, TRY);
            let mut state = self.state.lock();
            match state.send(socket) {
                Ok(0) => {}
                Ok(_) => progress = Instant::now(),
                Err(_) => {
                    state.over = true;
                    return Written::Lost;
                }
            }
            let is_late = state.closing.is_some_and(|end| end < Instant::now());
            if is_late || progress.elapsed() > MAX_STALL {
                state.over = true;
                return Written::Stalled;
            }
            if state.queue.is_empty() {
                state.over = true;
                return if state.closing.is_some() {
                    Written::Closed
                } else {
                    Written::CaughtUp
                };
            }
        }
    }
}

impl State {
    /// Sends what the kernel takes at once; 0 where it takes nothing now.
    fn send(&mut self, socket: &TcpStream) -> io::Result<usize> {
        let (front, back) = self.queue.as_slices();
        let sent = match net::send_now(socket, &[IoSlice::new(front), IoSlice::new(back)]) {
            Ok(sent) => sent,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        self.queue.drain(..sent);
        Ok(sent)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn lists_that_are_asked_for_again_and_again_are_not_exempt_from_the_limit() {
        let list = [b'x'; 64 * 1024];
        let backlog = Backlog::new(&[IoSlice::new(&list)], list.len());
        let taken = (0..100)
            .take_while(|_| {
                let append = backlog.append(&[IoSlice::new(&list)], list.len());
                matches!(append, Append::Taken)
            })
            .count();
        assert_eq!(taken, MAX_BACKLOG / list.len());
    }

    /// A socket, and its peer that reads nothing.
    fn unread() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn a_member_that_has_left_and_does_not_take_the_rest_in_time_is_given_up() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(&vec![b'x'; 64 * 1024 * 1024])], 0);
        assert!(backlog.close());
        assert!(backlog.state.lock().closing.unwrap() <= Instant::now() + FAREWELL);
        // Its time is over although it takes something now.
        backlog.state.lock().closing = Some(Instant::now());
        assert!(matches!(backlog.write(&socket), Written::Stalled));
        assert!(!backlog.state.lock().queue.is_empty());
    }

    #[test]
    fn a_last_line_is_left_to_the_writer_thread_only_where_that_will_send_it() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(b"one\ntwo\n")], 0);
        assert!(matches!(backlog.cut(b"why\n"), Cutting::Later));
        assert_eq!(backlog.state.lock().queue, b"one\nwhy\n");
        assert!(matches!(backlog.write(&socket), Written::Closed));
        assert!(matches!(backlog.cut(b"why\n"), Cutting::CaughtUp));
    }

    #[test]
    fn nothing_is_sent_after_lines_that_the_writer_thread_gave_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let backlog = Backlog::new(&[IoSlice::new(b"one\n")], 0);
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(backlog.write(&socket), Written::Lost));
        // What has caught up is sent at once, beside the backlog.
        let next = backlog.append(&[IoSlice::new(b"two\n")], 0);
        assert!(!matches!(next, Append::CaughtUp));
    }
}
