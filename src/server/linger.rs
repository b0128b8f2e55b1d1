//! Closes connections so that their last line arrives.
//!
//! Closing a socket that holds unread input makes the kernel send RST, and RST throws away what the peer has
//! not read yet, such as the reason why it was cut (RFC 1122, 4.2.2.13). So writing is shut down first, the
//! client's own thread reads on (for one that has none, the thread `accept` does), and only a peer that does not close within [`LINGER`] is shut out. nginx calls
//! this a lingering close.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a peer has to read its last line and to close.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Wakes the client's thread, which may be blocked in a read.
fn shut(socket: &TcpStream) {
    // Where it fails, the peer has closed.
    let _ = socket.shutdown(Shutdown::Both);
}

/// The connections that are about to end.
#[derive(Default)]
pub(crate) struct Linger {
    /// Guards the queue, in order of deadline. No other lock is taken while it is held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Instant, Weak<TcpStream>)>,
    stopping: bool,
}

impl Linger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `socket`, to which the last line was written, its time. Called by the threads that send.
    pub(crate) fn add(&self, socket: Arc<TcpStream>) {
        let mut state = self.lock();
        let lingering = Arc::downgrade(&socket);
        drop(socket);
        if lingering.strong_count() > 0 {
            let deadline = Instant::now() + LINGER;
            state.queue.push_back((deadline, lingering));
            self.changed.notify_one();
        }
    }

    /// Ends the connection that has had its time for longest.
    pub(crate) fn hurry(&self) {
        let mut state = self.lock();
        while let Some((_, socket)) = state.queue.pop_front() {
            if let Some(socket) = socket.upgrade() {
                shut(&socket);
                return;
            }
        }
    }

    /// Called by a client's thread once it holds its socket no more, so that nobody waits for that one.
    pub(crate) fn closed(&self) {
        // Under the lock, or it could come between looking and waiting.
        let _state = self.lock();
        self.changed.notify_one();
    }

    /// Ends [`Linger::run`] once the sockets that it has are closed.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_one();
    }

    /// The body of the thread `linger`.
    pub(crate) fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            while let Some((deadline, socket)) = state.queue.front() {
                match socket.upgrade() {
                    Some(_) if *deadline > now => break,
                    Some(socket) => shut(&socket),
                    None => {}
                }
                state.queue.pop_front();
            }
            state = match state.queue.front() {
                Some((deadline, _)) => {
                    let left = deadline.saturating_duration_since(now);
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None if state.stopping => return,
                None => self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
