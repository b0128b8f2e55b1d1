//! The unsent bytes of a slow member, and the writer thread that sends them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Duration;

use crate::net;
use crate::probe::gauge;
use crate::probe::sample::BacklogSample;
use crate::protocol::text::Text;
use crate::server::delivery::hold::Hold;
use crate::sync::{Instant, Mutex};

/// Limit on the unsent bytes of a member that does not read. A member that exceeds the limit when
/// a batch is to be appended is disconnected. The new bytes do not count, so that a single batch
/// never disconnects a member. The welcome, the replay and lists of members do not count either,
/// because their sizes are limited elsewhere.
pub(crate) const MAX_BACKLOG: usize = if cfg!(shuttle) { 3000 } else { 512 * 1024 };

/// Limit on the unsent bytes of a member that reads, but more slowly than the others send. On a
/// busy machine, a client may get a processor later and less often than the clients that send to
/// it.
pub(crate) const MAX_BACKLOG_OF_READER: usize = if cfg!(shuttle) {
    MAX_BACKLOG
} else {
    4 * 1024 * 1024
};

/// Limit on the number of members that may have more unsent bytes than [`MAX_BACKLOG`], to save
/// memory: together, they take up to 64 MiB. For all others, [`MAX_BACKLOG`] is the limit even if
/// they read.
pub(crate) const MAX_LONG_BACKLOGS: usize = 16;

/// How long a member counts as reading after its connection has accepted bytes.
const RECENTLY: Duration = Duration::from_secs(2);

/// Number of unsent bytes above which a member is far behind: the delivery thread then waits for
/// the member, for a limited time, before it sends the next batch. The value is well below
/// [`MAX_BACKLOG`], because a batch may be sent in several parts, without a wait between them.
const FAR_BEHIND: usize = MAX_BACKLOG / 4;

/// How long the delivery thread delays its sends for a member that accepts no bytes, so that a
/// member that does not read hardly slows the room down.
const MAX_HELD: Duration = Duration::from_millis(500);

/// How long a slow member may accept no bytes before it is disconnected.
const MAX_STALL: Duration = Duration::from_secs(10);

/// How long a member that has left may take to receive the rest of its backlog.
pub(crate) const FAREWELL: Duration = Duration::from_secs(30);

/// How long a writer thread waits before it tries to send although the socket is not reported as
/// writable. The kernel reports a socket only when a third of its buffer is free, which may be
/// megabytes. The wait doubles with each attempt that sends nothing, up to [`MAX_TRY`].
const MIN_TRY: Duration = Duration::from_millis(5);
const MAX_TRY: Duration = Duration::from_secs(1);

/// A queue of unsent bytes. Each round of delivery appends to the queue, and a writer thread sends
/// it.
pub(crate) struct Backlog {
    /// The queue and its flags. The lock is held during sends, which do not block. While it is
    /// held, no other lock is taken.
    state: Mutex<State>,
    gauge: Gauge,
}

/// Values that are readable without the lock. Written under the lock.
#[derive(Default)]
struct Gauge {
    /// Number of unsent bytes. 0 if the writer thread has ended.
    bytes: AtomicUsize,
    exempt: AtomicUsize,
    /// Value of `max` in the last call of [`Backlog::append`]: the limit if the member reads.
    max: AtomicUsize,
    is_closing: AtomicBool,
    /// Time of the last send that sent at least one byte; see [`gauge::now`].
    progress: AtomicU64,
}

struct State {
    queue: VecDeque<u8>,
    /// Number of queued bytes that do not count towards [`MAX_BACKLOG`].
    exempt: usize,
    /// Time of the last send that sent at least one byte.
    progress: Instant,
    /// Deadline for sending the rest of the queue. Set once nothing more will be appended.
    closing: Option<Instant>,
    /// Whether the writer thread has ended.
    over: bool,
}

/// Result of appending bytes to a backlog.
pub(crate) enum Append {
    /// The bytes were queued for the writer thread, or discarded because that thread has given up.
    Taken,
    /// Nothing was queued, because the writer thread has sent everything and ended. The caller must
    /// send the bytes itself.
    CaughtUp,
    /// Nothing was queued, because too many bytes were unsent already.
    TooFar,
}

/// Result of replacing a backlog with an error line, which tells the member why it is disconnected.
pub(crate) enum Cutting {
    /// The error line is queued, and the writer thread will send it.
    Later,
    /// Nothing was queued, because the writer thread has sent everything and ended. The caller must
    /// send the error line itself.
    CaughtUp,
    /// Nothing was queued, because the writer thread has given up with bytes unsent. The member
    /// gets nothing more.
    GivenUp,
}

/// How a writer thread ended.
pub(crate) enum Written {
    /// Everything was sent. The thread that delivers sends any later bytes itself.
    CaughtUp,
    /// Everything was sent to a member that has left, so nothing follows.
    Closed,
    /// The peer did not receive the queued bytes in time.
    Stalled,
    /// The connection broke.
    Lost,
}

impl Backlog {
    /// Creates a backlog from the `parts` that did not fit into a socket. `exempt` is the number of
    /// their bytes that do not count towards [`MAX_BACKLOG`].
    ///
    /// The parts may be longer than that limit, so that a single batch never disconnects a member.
    /// A batch is not endless, because the room's pending queue is limited.
    pub(crate) fn new(parts: &[IoSlice<'_>], exempt: usize) -> Self {
        let queue = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let state = State {
            queue,
            exempt,
            progress: Instant::now(),
            closing: None,
            over: false,
        };
        let gauge = Gauge::default();
        gauge.progress.store(gauge::now(), Relaxed);
        gauge.max.store(MAX_BACKLOG_OF_READER, Relaxed);
        gauge.show(&state);
        Self {
            state: Mutex::new(state),
            gauge,
        }
    }

    /// Number of unsent bytes. 0 if the writer thread has ended. Takes no lock.
    pub(crate) fn len(&self) -> usize {
        self.gauge.bytes.load(Relaxed)
    }

    /// The state of the backlog of the member `name`. Takes no lock.
    pub(crate) fn sample(&self, name: &Text) -> BacklogSample {
        let gauge = &self.gauge;
        let progress = gauge.progress.load(Relaxed);
        let stalled = gauge::now().saturating_sub(progress);
        BacklogSample {
            name: name.as_str().into(),
            bytes: self.len(),
            limit: limit(Duration::from_nanos(stalled), gauge.max.load(Relaxed))
                + gauge.exempt.load(Relaxed),
            stalled,
            max_stall: MAX_STALL.as_nanos() as u64,
            closing: gauge.is_closing.load(Relaxed),
            lock: self.state.gauge().sample("backlog"),
        }
    }

    /// Appends `parts`, of which `exempt` bytes do not count towards the limit. `max` is the limit
    /// if the member counts as reading. Called by the thread that delivers.
    pub(crate) fn append(&self, parts: &[IoSlice<'_>], exempt: usize, max: usize) -> Append {
        let mut state = self.state.lock();
        self.gauge.max.store(max, Relaxed);
        if state.over {
            // If the queue is not empty, the writer thread has given up and is about to remove the
            // member from the room. Discard `parts`, because the member would receive them without
            // the unsent bytes that belong before them.
            return if state.queue.is_empty() {
                Append::CaughtUp
            } else {
                Append::Taken
            };
        }
        // Exempt bytes do not count towards the limit. Some of them may have been sent, so at most
        // as many bytes are exempt as are queued. New bytes are exempt only if no exempt bytes are
        // queued. Otherwise a member could request lists without limit.
        state.exempt = state.exempt.min(state.queue.len());
        let exempt = if state.exempt == 0 { exempt } else { 0 };
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes > exempt && state.queue.len() > limit(state.progress.elapsed(), max) + state.exempt
        {
            return Append::TooFar;
        }
        state.exempt += exempt;
        for part in parts {
            state.queue.extend(part.iter());
        }
        self.gauge.show(&state);
        Append::Taken
    }

    /// Whether the delivery thread should delay its next sends until more of the queue is sent.
    /// False for a member that gets no further bytes, or that has accepted none for [`MAX_HELD`].
    pub(crate) fn is_far_behind(&self) -> bool {
        let state = self.state.lock();
        state.is_far_behind() && state.progress.elapsed() < MAX_HELD
    }

    /// Makes the writer thread end when everything is sent, or after [`FAREWELL`]. Returns false if
    /// the thread has ended already.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closing = Some(Instant::now() + FAREWELL);
        self.gauge.show(&state);
        !state.over
    }

    /// Discards all queued lines except the first, which may be half sent, and appends `reason`,
    /// the error line.
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
        state.queue.shrink_to_fit();
        state.closing = Some(Instant::now() + FAREWELL);
        self.gauge.show(&state);
        Cutting::Later
    }

    /// Sends the queue. Runs in a writer thread. Returns when the queue is empty, when the peer has
    /// not taken the bytes in time, or when the connection breaks. Tells `hold` when the member is
    /// no longer far behind.
    pub(crate) fn write(&self, socket: &TcpStream, hold: &Hold) -> Written {
        let mut patience = MIN_TRY;
        loop {
            // Ignore errors here, because the send below reports any error of the socket.
            let _ = net::wait_writable(socket, patience);
            let mut state = self.state.lock();
            let was_far_behind = state.is_far_behind();
            let sent = state.send(socket);
            if let Ok(1..) = sent {
                state.progress = Instant::now();
                patience = MIN_TRY;
                self.gauge.progress.store(gauge::now(), Relaxed);
            } else {
                patience = (patience * 2).min(MAX_TRY);
            }
            let written = state.written(&sent);
            state.over = written.is_some();
            self.gauge.show(&state);
            let has_caught_up = was_far_behind && !state.is_far_behind();
            drop(state);
            if has_caught_up {
                hold.caught_up();
            }
            if let Some(written) = written {
                return written;
            }
        }
    }
}

impl Gauge {
    /// Copies the values from `state`.
    fn show(&self, state: &State) {
        let bytes = if state.over { 0 } else { state.queue.len() };
        self.bytes.store(bytes, Relaxed);
        self.exempt.store(state.exempt, Relaxed);
        self.is_closing.store(state.closing.is_some(), Relaxed);
    }
}

impl State {
    fn is_far_behind(&self) -> bool {
        self.queue.len() > FAR_BEHIND + self.exempt && self.closing.is_none() && !self.over
    }

    /// Returns how the writer thread ends after a send with the result `sent`, or `None` if it
    /// continues.
    fn written(&self, sent: &io::Result<usize>) -> Option<Written> {
        if sent.is_err() {
            return Some(Written::Lost);
        }
        let is_late = self.closing.is_some_and(|end| end < Instant::now());
        if is_late || self.progress.elapsed() > MAX_STALL {
            return Some(Written::Stalled);
        }
        match self.closing {
            _ if !self.queue.is_empty() => None,
            Some(_) => Some(Written::Closed),
            None => Some(Written::CaughtUp),
        }
    }

    /// Sends as many bytes as fit into the socket's buffer, without blocking. Returns the number of
    /// bytes sent, which may be 0.
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

/// Limit on the unsent bytes that are not exempt, for a member that last accepted bytes `stalled`
/// ago. `max` is the limit if the member counts as reading.
fn limit(stalled: Duration, max: usize) -> usize {
    if stalled < RECENTLY { max } else { MAX_BACKLOG }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpListener};

    use super::*;

    #[test]
    fn repeatedly_requested_member_lists_count_towards_the_backlog_limit() {
        let list = [b'x'; 64 * 1024];
        let backlog = Backlog::new(&[IoSlice::new(&list)], list.len());
        backlog.state.lock().progress = Instant::now() - RECENTLY;
        let taken = (0..100)
            .take_while(|_| {
                let append =
                    backlog.append(&[IoSlice::new(&list)], list.len(), MAX_BACKLOG_OF_READER);
                matches!(append, Append::Taken)
            })
            .count();
        // The last accepted list makes the queue longer than the limit, so the next list is
        // refused.
        assert_eq!(taken, MAX_BACKLOG / list.len() + 1);
    }

    #[test]
    fn senders_do_not_wait_for_a_member_that_has_not_read_for_half_a_second() {
        let backlog = Backlog::new(&[IoSlice::new(&[b'x'; FAR_BEHIND + 1])], 0);
        backlog.state.lock().progress = Instant::now() + Duration::from_secs(3600);
        assert!(backlog.is_far_behind());
        backlog.state.lock().progress = Instant::now() - MAX_HELD;
        assert!(!backlog.is_far_behind());
    }

    #[test]
    fn a_member_that_has_not_read_recently_may_have_fewer_unsent_bytes() {
        let parts = [IoSlice::new(&[b'x'; MAX_BACKLOG + 1])];
        let backlog = Backlog::new(&parts, 0);
        backlog.state.lock().progress = Instant::now() + Duration::from_secs(3600);
        assert!(matches!(
            backlog.append(&parts, 0, MAX_BACKLOG_OF_READER),
            Append::Taken
        ));
        backlog.state.lock().progress = Instant::now() - RECENTLY;
        assert!(matches!(
            backlog.append(&parts, 0, MAX_BACKLOG_OF_READER),
            Append::TooFar
        ));
    }

    #[test]
    fn a_sample_shows_the_limit_that_holds_for_the_member() {
        let backlog = Backlog::new(&[IoSlice::new(b"one\n")], 0);
        for max in [MAX_BACKLOG_OF_READER, MAX_BACKLOG] {
            backlog.append(&[IoSlice::new(b"two\n")], 0, max);
            let sample = backlog.sample(&Text::new("ola"));
            assert!(
                sample.limit == max || sample.stalled > RECENTLY.as_nanos() as u64,
                "{sample:?}"
            );
        }
    }

    /// Returns a socket and its peer, which does not read.
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
        // Let the deadline pass, although the socket still accepts some bytes.
        backlog.state.lock().closing = Some(Instant::now());
        assert!(matches!(
            backlog.write(&socket, &Hold::default()),
            Written::Stalled
        ));
        assert!(!backlog.state.lock().queue.is_empty());
    }

    #[test]
    fn a_disconnect_reason_is_queued_only_if_the_writer_thread_will_send_it() {
        let (socket, _peer) = unread();
        let backlog = Backlog::new(&[IoSlice::new(b"one\ntwo\n")], 0);
        assert!(matches!(backlog.cut(b"why\n"), Cutting::Later));
        assert_eq!(backlog.state.lock().queue, b"one\nwhy\n");
        assert!(matches!(
            backlog.write(&socket, &Hold::default()),
            Written::Closed
        ));
        assert!(matches!(backlog.cut(b"why\n"), Cutting::CaughtUp));
    }

    #[test]
    fn after_the_writer_thread_failed_to_send_lines_no_later_lines_are_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let backlog = Backlog::new(&[IoSlice::new(b"one\n")], 0);
        socket.shutdown(Shutdown::Write).unwrap();
        assert!(matches!(
            backlog.write(&socket, &Hold::default()),
            Written::Lost
        ));
        // The result must not be `CaughtUp`, after which the delivery thread would send the line
        // itself.
        let next = backlog.append(&[IoSlice::new(b"two\n")], 0, MAX_BACKLOG);
        assert!(!matches!(next, Append::CaughtUp));
    }
}
