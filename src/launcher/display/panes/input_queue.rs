//! What is typed for the program in a pane and waits until that reads it: all of it and in order, or refused where it is too much.

use crate::sync::{Condvar, Mutex};

/// Bytes that may wait for a program that does not read.
pub(crate) const MAX_WAITING: usize = 1024 * 1024;

/// The bytes that wait, between who types and the thread that writes.
#[derive(Default)]
pub(crate) struct InputQueue {
    /// No other lock is taken while this one is held.
    waiting: Mutex<Waiting>,
    told: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// What came last was refused.
    refuses: bool,
    ended: bool,
}

impl InputQueue {
    /// Takes all of `bytes`, or nothing where they are too much with what waits already; then nothing else either until that is gone, since what follows
    /// would be joined to what came before. Never waits.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.ended {
            return;
        }
        let is_behind = waiting.refuses && !waiting.bytes.is_empty();
        waiting.refuses = is_behind || waiting.bytes.len() + bytes.len() > MAX_WAITING;
        if !waiting.refuses {
            waiting.bytes.extend_from_slice(bytes);
            self.told.notify_one();
        }
    }

    /// Whether what was typed last was refused.
    pub(crate) fn refuses(&self) -> bool {
        self.waiting.lock().refuses
    }

    /// All that waits, as soon as there is something; `None` at the end.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        while waiting.bytes.is_empty() && !waiting.ended {
            waiting = self.told.wait(waiting);
        }
        (!waiting.ended).then(|| std::mem::take(&mut waiting.bytes))
    }

    /// Nothing is written any more, and nothing taken.
    pub(crate) fn end(&self) {
        *self.waiting.lock() = Waiting {
            ended: true,
            ..Waiting::default()
        };
        self.told.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_whole_with_all_that_follows_until_there_is_room() {
        let typed = InputQueue::default();
        typed.push(b"one ");
        typed.push(&vec![b'x'; MAX_WAITING]);
        assert!(typed.refuses());
        typed.push(b"two ");
        assert_eq!(typed.take().unwrap(), b"one ");
        assert!(typed.refuses());
        typed.push(b"three ");
        typed.push(b"four");
        assert!(!typed.refuses());
        assert_eq!(typed.take().unwrap(), b"three four");
        typed.end();
        assert_eq!(typed.take(), None);
    }
}
