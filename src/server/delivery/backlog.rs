//! The unsent bytes of a slow member, and the writer thread that sends them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::time::Duration;

use crate::net;
use crate::sync::{Instant, Mutex};

/// Most unsent bytes of a member, not counting its welcome, the replay and lists, which have their
/// own limits.
pub(crate) const MAX_BACKLOG: usize = if cfg!(shuttle) { 3000 } else { 512 * 1024 };

/// Time without progress after which a member is given up.
const MAX_STALL: Duration = Duration::from_secs(10);

/// Time for a member that has left to receive the rest of its backlog.
const FAREWELL: Duration = Duration::from_secs(30);

/// How often to try a socket that is not reported as writable. The kernel reports it once half of
/// its buffer is free (tcp(7)), which may take a slow peer longer than [`MAX_STALL`].
const TRY: Duration = Duration::from_secs(1);

/// A queue of bytes. The delivery thread appends, and a writer thread sends.
pub(crate) struct Backlog {
    /// Held during sends, which do not block. No other lock is taken while this one is held.
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<u8>,
    /// Appended bytes that do not count towards the limit.
    exempt: usize,
    /// Nothing more will be appended. Writing ends when the queue is empty, and at this time at the
    /// latest.
    closing: Option<Instant>,
    /// The writer thread has ended.
    over: bool,
}

/// The result of [`Backlog::append`].
pub(crate) enum Append {
    /// The writer thread will send the bytes, or it has given up and no more bytes are sent.
    Taken,
    /// The writer thread has sent everything and ended. Nothing was appended.
    CaughtUp,
    /// The member is too far behind. Nothing was appended.
    TooFar,
}

/// The result of [`Backlog::cut`].
pub(crate) enum Cutting {
    /// The writer thread will send the reason.
    Later,
    /// The writer thread has sent everything and ended. The reason is not in the queue.
    CaughtUp,
    /// The writer thread has given up. No more bytes are sent.
    GivenUp,
}

/// How a writer thread ended.
pub(crate) enum Written {
    /// Everything was sent, and more may follow.
    CaughtUp,
    /// Everything was sent, and nothing follows.
    Closed,
    /// The peer received nothing for too long.
    Stalled,
    /// The connection broke.
    Lost,
}

impl Backlog {
    /// Creates a backlog of the `parts` that did not fit into a socket. `exempt` of their bytes do
    /// not count towards the limit.
    ///
    /// Has no limit itself: the room's pending queue is bounded, so a single batch cuts no member.
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

    /// Appends `parts`. `exempt` of their bytes do not count towards the limit. Called by the
    /// delivery thread.
    pub(crate) fn append(&self, parts: &[IoSlice<'_>], exempt: usize) -> Append {
        let mut state = self.state.lock();
        if state.over {
            // The writer thread has given up the bytes that are left, and is about to remove the
            // member from the room. Until then, whatever else was sent would follow a gap.
            return if state.queue.is_empty() {
                Append::CaughtUp
            } else {
                Append::Taken
            };
        }
        // Of the exempt bytes, at most as many are left as the queue has. More are exempt only when
        // none is left; otherwise, a member could ask for lists without limit.
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

    /// Ends writing once everything is sent. False if the writer thread has ended already.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closing = Some(Instant::now() + FAREWELL);
        !state.over
    }

    /// Discards the queue, except for a line that may be half sent, and ends it with `reason`.
    pub(crate) fn cut(&self, reason: &[u8]) -> Cutting {
        let mut state = self.state.lock();
        if state.over {
            return if state.queue.is_empty() {
                Cutting::CaughtUp
            } else {
                Cutting::GivenUp
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

    /// Runs a writer thread. Returns when the queue is empty, or the member is given up or lost.
    pub(crate) fn write(&self, socket: &TcpStream) -> Written {
        let mut progress = Instant::now();
        loop {
            // The send reports any error of the socket.
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
    /// Sends what fits into the socket, without blocking. 0 if nothing fits.
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
    fn lists_requested_again_and_again_count_towards_the_limit() {
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

    /// A socket, and a peer that does not read.
    fn unread() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn a_member_that_has_left_and_does_not_receive_the_rest_in_time_is_given_up() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(&vec![b'x'; 64 * 1024 * 1024])], 0);
        assert!(backlog.close());
        assert!(backlog.state.lock().closing.unwrap() <= Instant::now() + FAREWELL);
        // Its time is over, although the socket takes some bytes now.
        backlog.state.lock().closing = Some(Instant::now());
        assert!(matches!(backlog.write(&socket), Written::Stalled));
        assert!(!backlog.state.lock().queue.is_empty());
    }

    #[test]
    fn a_reason_is_left_to_the_writer_thread_only_if_that_will_send_it() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(b"one\ntwo\n")], 0);
        assert!(matches!(backlog.cut(b"why\n"), Cutting::Later));
        assert_eq!(backlog.state.lock().queue, b"one\nwhy\n");
        assert!(matches!(backlog.write(&socket), Written::Closed));
        assert!(matches!(backlog.cut(b"why\n"), Cutting::CaughtUp));
    }

    #[test]
    fn nothing_is_sent_after_lines_that_were_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let backlog = Backlog::new(&[IoSlice::new(b"one\n")], 0);
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(backlog.write(&socket), Written::Lost));
        // After `CaughtUp`, the delivery thread would send to the socket itself.
        let next = backlog.append(&[IoSlice::new(b"two\n")], 0);
        assert!(!matches!(next, Append::CaughtUp));
    }
}
