//! The connections that have not logged in: so many at once, and no more.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Strangers at once where descriptors are not scarce. Beside the members, so that a class of latecomers finds
/// a seat even in a full room.
pub(super) const MAX_STRANGERS: usize = 512;

/// The strangers, in the order in which they came.
pub(super) struct Strangers {
    max: usize,
    /// Guards who waits; no other lock is taken while it is held.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, Arc<TcpStream>>,
    next: u64,
    closed: bool,
}

/// A stranger's place; it is given back when this is dropped.
pub(super) struct Seat<'a> {
    strangers: &'a Strangers,
    number: u64,
}

impl Strangers {
    /// Seats for `max`.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `socket` a seat. Where there is none left, the stranger that has waited longest loses its own.
    pub(super) fn seat(&self, socket: &Arc<TcpStream>) -> Seat<'_> {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        if state.closed {
            wake(socket);
        } else {
            if state.waiting.len() >= self.max
                && let Some((_, longest)) = state.waiting.pop_first()
            {
                wake(&longest);
            }
            state.waiting.insert(number, Arc::clone(socket));
        }
        Seat {
            strangers: self,
            number,
        }
    }

    /// Takes all seats away, at the server's end.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for socket in std::mem::take(&mut state.waiting).values() {
            wake(socket);
        }
    }

    /// Whether the server is at its end.
    pub(super) fn are_closed(&self) -> bool {
        self.lock().closed
    }
}

/// The stranger's own thread finds its input ended, and tells it why.
fn wake(socket: &TcpStream) {
    // Where it fails, the connection has ended.
    let _ = socket.shutdown(Shutdown::Read);
}

impl Seat<'_> {
    /// Gives the seat up for a place in the room; false where it was taken away before.
    pub(super) fn leave(&self) -> bool {
        self.strangers.lock().waiting.remove(&self.number).is_some()
    }

    /// Takes the same seat again, where the room had no place.
    pub(super) fn take_again(&self, socket: &Arc<TcpStream>) {
        let mut state = self.strangers.lock();
        if state.closed {
            wake(socket);
        } else {
            state.waiting.insert(self.number, Arc::clone(socket));
        }
    }

    /// Whether this is a stranger's seat still.
    pub(super) fn is_held(&self) -> bool {
        self.strangers.lock().waiting.contains_key(&self.number)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
