//! The unsent bytes of a slow member, and the writer thread that sends them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::time::Duration;

use crate::net;
use crate::sync::{Instant, Mutex};

/// Maximum number of unsent bytes per member, not counting its welcome, the replay and lists of
/// members, which have their own limits.
pub(crate) const MAX_BACKLOG: usize = if cfg!(shuttle) { 3000 } else { 512 * 1024 };

/// Time without progress after which a slow member is disconnected.
const MAX_STALL: Duration = Duration::from_secs(10);

/// Time limit for a member that has left to receive the rest of its backlog.
const FAREWELL: Duration = Duration::from_secs(30);

/// How often to try a socket even if it is not reported as writable. The kernel reports it only
/// once half of its buffer is free (tcp(7)), which may take longer than [`MAX_STALL`] if the peer
/// is slow.
const TRY: Duration = Duration::from_secs(1);

/// A queue of bytes. The delivery thread appends, and a writer thread sends.
pub(crate) struct Backlog {
    /// The lock is held during sends, which do not block. No other lock is taken while it is held.
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<u8>,
    /// Appended bytes that do not count towards the limit.
    exempt: usize,
    /// Set when nothing more will be appended. Writing ends when the queue is empty, and at this
    /// time at the latest.
    closing: Option<Instant>,
    /// The writer thread has ended.
    over: bool,
}

/// The result of [`Backlog::append`].
pub(crate) enum Append {
    /// The writer thread will send the bytes, unless it has given up; then no more bytes are sent.
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
    /// The initial size is not limited here: the room's pending queue is bounded, so that a single
    /// batch does not disconnect a member.
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
            // If bytes are left, the writer thread has given up and is about to remove the member
            // from the room. Until then, nothing may be sent, as it would follow a gap.
            return if state.queue.is_empty() {
                Append::CaughtUp
            } else {
                Append::Taken
            };
        }
        // At most as many exempt bytes are left as the queue has bytes. New bytes are exempt only
        // if none are left; otherwise, a member could request lists without limit.
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

    /// Ends writing once everything is sent. Returns false if the writer thread has ended already.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closing = Some(Instant::now() + FAREWELL);
        !state.over
    }

    /// Discards the queue, except for its first line, which may be half sent, and appends
    /// `reason`.
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

    /// Runs a writer thread. Returns when the queue is empty, the peer has stalled, or the
    /// connection breaks.
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
    /// Sends as many bytes as fit into the socket's buffer, without blocking. Returns their number,
    /// which may be 0.
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
    fn lists_that_a_member_requests_repeatedly_count_towards_the_limit() {
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

    /// A socket whose peer does not read, and the peer.
    fn unread() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn a_member_that_has_left_is_disconnected_if_it_does_not_read_its_backlog_in_time() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(&vec![b'x'; 64 * 1024 * 1024])], 0);
        assert!(backlog.close());
        assert!(backlog.state.lock().closing.unwrap() <= Instant::now() + FAREWELL);
        // The time is over, although the socket still takes some bytes.
        backlog.state.lock().closing = Some(Instant::now());
        assert!(matches!(backlog.write(&socket), Written::Stalled));
        assert!(!backlog.state.lock().queue.is_empty());
    }

    #[test]
    fn a_reason_is_queued_only_if_the_writer_thread_will_send_it() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(b"one\ntwo\n")], 0);
        assert!(matches!(backlog.cut(b"why\n"), Cutting::Later));
        assert_eq!(backlog.state.lock().queue, b"one\nwhy\n");
        assert!(matches!(backlog.write(&socket), Written::Closed));
        assert!(matches!(backlog.cut(b"why\n"), Cutting::CaughtUp));
    }

    #[test]
    fn nothing_is_sent_after_lines_that_were_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let backlog = Backlog::new(&[IoSlice::new(b"one\n")], 0);
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(backlog.write(&socket), Written::Lost));
        // After `CaughtUp`, the delivery thread would send the line to the socket itself.
        let next = backlog.append(&[IoSlice::new(b"two\n")], 0);
        assert!(!matches!(next, Append::CaughtUp));
    }
}
