//! Lingering close: closes connections in a way that lets the peer read the last line.
//!
//! If a socket is closed while it holds unread input, the kernel sends RST, which discards what the
//! peer has not read yet, such as the reason why it was disconnected (RFC 1122, 4.2.2.13). So
//! only writing is shut down at first, and the client's reader thread (before login, the thread
//! `accept`) keeps reading and discards the input. If the peer does not close the connection within
//! [`LINGER`], reading is shut down too. nginx calls this a lingering close.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::sync::{Condvar, Instant, Mutex};

/// Time limit for a peer to read its last line and close the connection.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Shuts the socket down, which wakes a reader thread that is blocked in a read.
fn shut_down(socket: &TcpStream) {
    // An error means that the peer has closed the connection.
    let _ = socket.shutdown(Shutdown::Both);
}

/// The connections that linger.
#[derive(Default)]
pub(crate) struct Linger {
    /// Guards the queue, which is in order of deadline. No other lock is taken while it is held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Instant, Weak<TcpStream>)>,
    stopping: bool,
}

impl Linger {
    /// Starts the linger time of `socket`, whose last line has been sent. Called by the threads
    /// that send.
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

    /// Called by a reader thread after it has dropped its socket, so that [`Linger::run`] does not
    /// wait for that socket's deadline.
    pub(crate) fn closed(&self) {
        // Lock, so that the notification cannot fall between `run`'s check and its wait.
        let _state = self.state.lock();
        self.changed.notify_one();
    }

    /// Makes [`Linger::run`] return once no connection lingers.
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
