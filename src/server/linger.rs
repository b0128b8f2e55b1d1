//! Lingering close: closes connections in a way that lets the peer read the last line.
//!
//! If a socket is closed while it holds unread input, the kernel sends RST, which discards what the
//! peer has not read yet, such as the reason why it was disconnected (RFC 1122, 4.2.2.13). So the
//! server shuts down only the sending side at first. The client's reader thread (or, before login,
//! the thread `accept`) keeps reading and discards the input. If the peer does not close the
//! connection within [`LINGER`], the receiving side is shut down too. The term "lingering close" is
//! from nginx.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::{Condvar, Instant, Mutex};

/// Time limit for a peer to read its last line and close the connection.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

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
    stopping: bool,
}

impl Linger {
    /// Adds a connection whose last line has been sent. Called by the threads that send.
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

    /// Tells [`Linger::run`] that a reader thread has dropped its socket, so that it does not wait
    /// for that socket's deadline. Called by reader threads.
    pub(crate) fn closed(&self) {
        // Notify under the lock, so that the notification cannot arrive between the check and the
        // wait in `run`.
        let _state = self.state.lock();
        self.changed.notify_one();
    }

    /// Makes [`Linger::run`] return as soon as no connection lingers.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify_one();
    }

    /// Runs the thread `linger`.
    pub(crate) fn run(&self) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            while let Some((deadline, socket)) = state.queue.front() {
                match socket.upgrade() {
                    Some(_) if *deadline > now => break,
                    Some(socket) => shut_down(&socket),
                    None => {}
                }
                state.queue.pop_front();
            }
            state = match state.queue.front() {
                Some((deadline, _)) => {
                    let left = deadline.saturating_duration_since(now);
                    self.changed.wait_timeout(state, left)
                }
                None if state.stopping => return,
                None => self.changed.wait(state),
            };
        }
    }
}
