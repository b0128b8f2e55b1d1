//! Lingering close: closes connections in a way that lets the peer read the last line.
//!
//! If a socket is closed while it holds unread input, the kernel sends RST, which discards what the
//! peer has not read yet, such as the reason why it was disconnected (RFC 1122, 4.2.2.13). So the
//! server shuts down only the sending side at first. The client's reader thread (or, before login,
//! the thread `accept`) keeps reading and discards the input. If the peer does not close the
//! connection within [`LINGER`], the receiving side is shut down too. The term "lingering close" is
//! from nginx.
//!
//! A peer that does not read leaves the last bytes in the kernel's memory. If the connection were
//! closed, the bytes would stay there until the kernel gives up, after [`GIVEN_UP_AFTER`]. So a
//! connection with unsent bytes stays open for a limited time, and is then reset, which discards
//! the bytes. At most [`MAX_UNSENT`] such connections are open at once.
//!
//! [`GIVEN_UP_AFTER`]: crate::net::GIVEN_UP_AFTER
//!
//! When the whole server shuts down, it does not wait for peers that have received everything. Some
//! of them, such as netcat, close their connections only when their own input ends.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::net;
use crate::os;
use crate::sync::{Condvar, Instant, Mutex};

/// Time limit for a peer to read its last line and close the connection.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Limit on the lingering connections with unsent bytes. Beyond the limit, the connection that was
/// added first is reset. Each connection takes up to 330 KB of the kernel's memory.
const MAX_UNSENT: usize = 64;

/// Time from the start of the server's shutdown to the first check for connections that can be
/// closed early (see [`Checks`]). Most peers close their connections sooner. The model checker
/// makes no check before [`LINGER`], because the simulated sockets are not in the system's list of
/// TCP sockets.
const FIRST_CHECK: Duration = if cfg!(shuttle) {
    LINGER
} else {
    Duration::from_millis(10)
};

/// Tells when, during shutdown, to look for connections whose peers have received everything, so
/// that they can be closed early. Each check reads the system's list of TCP sockets, which takes
/// time, so the pause doubles from check to check.
pub(crate) struct Checks {
    due: Instant,
    pause: Duration,
}

impl Checks {
    /// Starts the schedule. The first check is due after [`FIRST_CHECK`].
    pub(crate) fn start() -> Self {
        Self {
            due: Instant::now() + FIRST_CHECK,
            pause: FIRST_CHECK,
        }
    }

    /// Time until the next check is due.
    pub(crate) fn patience(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// If a check is due, returns a function that tells whether a connection can be closed. It can
    /// be closed if the peer has acknowledged all bytes and no input is unread.
    pub(crate) fn check(&mut self) -> Option<impl Fn(&TcpStream) -> bool + use<>> {
        if !self.patience().is_zero() {
            return None;
        }
        let is_acknowledged = os::acknowledged();
        self.pause *= 2;
        self.due = Instant::now() + self.pause;
        Some(is_acknowledged)
    }
}

/// Shuts the socket down. This wakes a reader thread that is blocked in a read.
fn shut_down(socket: &TcpStream) {
    // Ignore errors, which mean that the peer has closed the connection.
    let _ = socket.shutdown(Shutdown::Both);
}

/// The connections that linger.
#[derive(Default)]
pub(crate) struct Linger {
    /// The queue of connections, in order of deadline. No other lock is taken while this one is
    /// held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Instant, Weak<TcpStream>)>,
    /// The connections that had unsent bytes, in the order in which they were added, each with the
    /// time at which it is reset. This list keeps them open after their threads have ended.
    unsent: VecDeque<(Instant, Arc<TcpStream>)>,
    /// Whether the server is shutting down, so that connections with unsent bytes are not reset:
    /// the kernel sends the bytes even after the server has ended.
    without_resets: bool,
    stopping: bool,
}

impl State {
    /// Shuts down the connections for which `is_done` returns true.
    fn close_if(&mut self, is_done: impl Fn(&TcpStream) -> bool) {
        self.queue.retain(|(_, socket)| {
            let socket = socket.upgrade().filter(|socket| is_done(socket));
            socket.is_none_or(|socket| {
                shut_down(&socket);
                false
            })
        });
    }

    /// Drops the connections in `unsent` that have ended, and resets those whose time is up.
    fn close_unsent(&mut self, now: Instant) {
        self.unsent.retain(|(deadline, socket)| {
            if *deadline <= now {
                net::abort(socket);
            }
            // A connection that has ended has no peer (getpeername(2), `ENOTCONN`).
            let is_over = |error: io::Error| error.kind() == ErrorKind::NotConnected;
            *deadline > now && !socket.peer_addr().is_err_and(is_over)
        });
    }
}

impl Linger {
    /// Shuts down the sending side of a connection whose last line was passed to the kernel, and
    /// lets the connection linger. If it has unsent bytes, the peer has the time `patience` to read
    /// them. Called by the threads that send.
    pub(crate) fn finish(&self, socket: Arc<TcpStream>, patience: Duration) {
        let has_unsent = net::has_unsent(&socket);
        // Ignore errors, which mean that the peer has closed the connection.
        let _ = socket.shutdown(Shutdown::Write);
        if has_unsent {
            self.reset_after(patience, &socket);
        }
        self.add(socket);
    }

    /// Resets a connection with unsent bytes after the time `patience`, unless it has ended by
    /// then. Another call for the same connection changes nothing.
    pub(crate) fn reset_after(&self, patience: Duration, socket: &Arc<TcpStream>) {
        let mut state = self.state.lock();
        if state.without_resets {
            drop(state);
            return self.add(Arc::clone(socket));
        }
        let mut known = state.unsent.iter();
        if known.any(|(_, known)| Arc::ptr_eq(known, socket)) {
            return;
        }
        let deadline = Instant::now() + patience;
        state.unsent.push_back((deadline, Arc::clone(socket)));
        if state.unsent.len() > MAX_UNSENT
            && let Some((_, first)) = state.unsent.pop_front()
        {
            net::abort(&first);
        }
        self.changed.notify_one();
    }

    /// Resets a connection at once.
    pub(crate) fn reset(&self, socket: &Arc<TcpStream>) {
        net::abort(socket);
        let is_other = |(_, other): &(Instant, Arc<TcpStream>)| !Arc::ptr_eq(other, socket);
        self.state.lock().unsent.retain(is_other);
    }

    /// Adds a connection whose last line has been sent.
    pub(crate) fn add(&self, socket: Arc<TcpStream>) {
        let mut state = self.state.lock();
        let lingering = Arc::downgrade(&socket);
        drop(socket);
        if lingering.strong_count() > 0 {
            let deadline = Instant::now() + LINGER;
            state.queue.push_back((deadline, lingering));
            self.changed.notify_one();
        }
    }

    /// Shuts down the connection that has lingered longest.
    pub(crate) fn close_oldest(&self) {
        let mut state = self.state.lock();
        while let Some((_, socket)) = state.queue.pop_front() {
            if let Some(socket) = socket.upgrade() {
                shut_down(&socket);
                return;
            }
        }
    }

    /// Wakes the thread `linger` after a socket was dropped, so that the thread does not wait until
    /// that socket's deadline.
    pub(crate) fn closed(&self) {
        // Notify under the lock. Otherwise `run` could miss the notification between looking at the
        // queue and starting to wait.
        let _state = self.state.lock();
        self.changed.notify_one();
    }

    /// From now on, lets connections with unsent bytes end without a reset, because the server is
    /// shutting down.
    pub(crate) fn stop_resets(&self) {
        let mut state = self.state.lock();
        state.without_resets = true;
        let deadline = Instant::now() + LINGER;
        for (_, socket) in std::mem::take(&mut state.unsent) {
            state.queue.push_back((deadline, Arc::downgrade(&socket)));
        }
        self.changed.notify_one();
    }

    /// Makes [`Linger::run`] return as soon as no connection lingers.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    /// Runs the thread `linger`.
    pub(crate) fn run(&self) {
        let mut checks = None;
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                let checks = checks.get_or_insert_with(Checks::start);
                drop(state);
                let is_acknowledged = checks.check();
                state = self.state.lock();
                if let Some(is_acknowledged) = is_acknowledged {
                    state.close_if(is_acknowledged);
                }
            }
            let now = Instant::now();
            state.close_unsent(now);
            while let Some((deadline, socket)) = state.queue.front() {
                match socket.upgrade() {
                    Some(_) if *deadline > now => break,
                    Some(socket) => shut_down(&socket),
                    None => {}
                }
                state.queue.pop_front();
            }
            let due = state.queue.front().map(|(deadline, _)| *deadline);
            // Check once per `LINGER` whether connections with unsent bytes have ended.
            let due = due.or_else(|| (!state.unsent.is_empty()).then(|| now + LINGER));
            state = match due {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    let left = checks
                        .as_ref()
                        .map_or(left, |checks| checks.patience().min(left));
                    self.changed.wait_timeout(state, left)
                }
                None if state.stopping => return,
                None => self.changed.wait(state),
            };
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::net;

    /// A connection over loopback: the server's end, which never blocks, and the peer's.
    fn connection() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        (Arc::new(socket), peer)
    }

    fn wait_until(is_true: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_true() {
            assert!(Instant::now() < end, "waited too long");
            thread::yield_now();
        }
    }

    #[test]
    fn the_shutdown_does_not_wait_for_a_peer_that_has_received_everything() {
        let (socket, mut peer) = connection();
        (&*socket).write_all(b"bye\n").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let linger = Linger::default();
        let much_later = Instant::now() + Duration::from_secs(3600);
        let entry = (much_later, Arc::downgrade(&socket));
        linger.state.lock().queue.push_back(entry);
        linger.stop();
        linger.run();
        assert_eq!(net::receive(&socket, &mut [0]).unwrap(), 0, "it is closed");
        drop(socket);
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        assert_eq!(received, "bye\n");
    }

    /// Fills the send buffer of a connection, lets the connection linger, and returns what the peer
    /// reads after `Linger` has run.
    fn read_after_linger(change: impl FnOnce(&Linger)) -> io::Result<usize> {
        let (socket, mut peer) = connection();
        while (&*socket).write(&[0; 64 * 1024]).is_ok() {}
        let linger = Linger::default();
        linger.finish(socket, Duration::ZERO);
        change(&linger);
        linger.stop();
        linger.run();
        peer.read_to_end(&mut Vec::new())
    }

    #[test]
    fn a_connection_with_unsent_bytes_is_reset_unless_the_server_shuts_down() {
        let error = read_after_linger(|_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        read_after_linger(Linger::stop_resets).unwrap();
    }

    #[test]
    fn a_connection_with_unread_input_or_unsent_output_lingers() {
        let (unread, mut peer) = connection();
        peer.write_all(b"hi\n").unwrap();
        assert!(net::wait_readable(&unread, Duration::MAX).unwrap());
        unread.shutdown(Shutdown::Write).unwrap();
        let (unsent, mut slow_peer) = connection();
        while (&*unsent).write(&[0; 64 * 1024]).is_ok() {}
        unsent.shutdown(Shutdown::Write).unwrap();
        // Wait until another connection counts as acknowledged. By then, the two connections above
        // would count as acknowledged too if nothing were unread or unsent.
        let (other, _other_peer) = connection();
        other.shutdown(Shutdown::Write).unwrap();
        wait_until(|| os::acknowledged()(&other));
        let is_acknowledged = os::acknowledged();
        assert!(!is_acknowledged(&unread) && !is_acknowledged(&unsent));
        assert_eq!(net::receive(&unread, &mut [0; 8]).unwrap(), 3);
        wait_until(|| os::acknowledged()(&unread));
        slow_peer.read_to_end(&mut Vec::new()).unwrap();
        wait_until(|| os::acknowledged()(&unsent));
    }
}
