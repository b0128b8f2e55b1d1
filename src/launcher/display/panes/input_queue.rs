//! A bounded queue of input for a pane's client.

use crate::sync::{Condvar, Mutex};

/// Limit on the bytes in the queue, which grows while the client does not read.
pub(crate) const MAX_QUEUED: usize = 1024 * 1024;

/// Queue of input from the thread that reads keys to the thread that writes to the client.
#[derive(Default)]
pub(crate) struct InputQueue {
    /// The queued bytes and flags. No other lock is taken while this one is held.
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    bytes: Vec<u8>,
    /// Whether the last input was rejected. If so, all input is rejected until the queue is empty.
    is_rejecting: bool,
    has_ended: bool,
}

impl InputQueue {
    /// Queues all of `bytes`. If they do not fit, rejects them and all further input until the
    /// queue is empty: with input missing in between, the client would misunderstand the rest.
    /// Never blocks.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        if state.has_ended {
            return;
        }
        let was_rejecting = state.is_rejecting && !state.bytes.is_empty();
        state.is_rejecting = was_rejecting || state.bytes.len() + bytes.len() > MAX_QUEUED;
        if !state.is_rejecting {
            state.bytes.extend_from_slice(bytes);
            self.changed.notify_one();
        }
    }

    /// Whether the last input was rejected.
    pub(crate) fn is_rejecting(&self) -> bool {
        self.state.lock().is_rejecting
    }

    /// Waits for input, and removes and returns all of it. Returns `None` after
    /// [`InputQueue::end`].
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        while state.bytes.is_empty() && !state.has_ended {
            state = self.changed.wait(state);
        }
        (!state.has_ended).then(|| std::mem::take(&mut state.bytes))
    }

    /// Discards the queued input and all later input.
    pub(crate) fn end(&self) {
        *self.state.lock() = QueueState {
            has_ended: true,
            ..QueueState::default()
        };
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_does_not_fit_is_rejected_until_the_queue_is_empty() {
        let queue = InputQueue::default();
        queue.push(b"one ");
        queue.push(&vec![b'x'; MAX_QUEUED]);
        assert!(queue.is_rejecting());
        queue.push(b"two ");
        assert_eq!(queue.take().unwrap(), b"one ");
        assert!(queue.is_rejecting());
        queue.push(b"three ");
        queue.push(b"four");
        assert!(!queue.is_rejecting());
        assert_eq!(queue.take().unwrap(), b"three four");
        queue.end();
        assert_eq!(queue.take(), None);
    }
}
