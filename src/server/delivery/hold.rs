//! While a recipient is far behind, delays the delivery thread before its next round of sends.
//! Otherwise, if many members send at once, even a recipient that reads could get so much that it
//! is disconnected.
//!
//! During such a delay, the queue of events for the delivery thread fills up, and senders wait for
//! space in it. A recipient that reads slowly, or not at all, must not slow the room down like this
//! for long. So the delays are limited to a time that grows with the bytes delivered: however slow
//! the recipients are, the room delivers at least 400 KiB of text per second.

use std::time::Duration;

use crate::sync::{Condvar, Instant, Mutex};

/// Time that each delivered KiB adds to the time for which rounds of sends may be delayed. While
/// senders wait for space in the queue, a round delivers 128 KiB, which adds 320 ms. With a third
/// of this time, a debug build of chat-client that had to share two processors with fifteen other
/// threads was too slow for a burst of 40 members.
const EARNED_PER_KIB: Duration = Duration::from_micros(2500);

/// Limit on the time that can be saved up for later delays, and so on a single delay of the room.
/// It is long enough for a recipient on a busy machine, which may have to wait this long for a
/// processor, and short enough that a conversation does not seem to stop.
const MAX_SAVED: Duration = Duration::from_millis(400);

/// Wakes the delivery thread, which waits for slow recipients, when one of them has caught up.
/// Shared by the delivery thread and the writer threads.
#[derive(Default)]
pub(crate) struct Hold {
    /// The counter and the flag. No other lock is taken while this one is held.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of times that a recipient has caught up, or that its writer thread has ended.
    caught_up: u64,
    /// Whether the room was closed, so that the delivery thread no longer waits for slow
    /// recipients.
    closed: bool,
}

impl Hold {
    /// Reports that a recipient that was far behind has caught up, or that its writer thread has
    /// ended. Called by writer threads.
    pub(crate) fn caught_up(&self) {
        self.state.lock().caught_up += 1;
        self.changed.notify_one();
    }

    /// Ends the delivery thread's current wait, and makes its later waits return at once. Called
    /// when the room is closed.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits until `is_behind` returns false or the room is closed, at most for `patience`. Called
    /// by the delivery thread only.
    fn wait(&self, patience: Duration, mut is_behind: impl FnMut() -> bool) {
        let deadline = Instant::now() + patience;
        loop {
            // Read the counter before calling `is_behind`, so that the wait below ends at once if a
            // recipient catches up after the call.
            let seen = self.state.lock().caught_up;
            if !is_behind() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let unchanged = |state: &mut State| state.caught_up == seen && !state.closed;
            let mut state = self
                .changed
                .wait_timeout_while(self.state.lock(), left, unchanged);
            if state.closed || unchanged(&mut state) {
                return;
            }
        }
    }
}

/// The time for which the delivery thread may still wait for slow recipients. Part of the
/// delivery's state.
pub(crate) struct Allowance(Duration);

impl Default for Allowance {
    fn default() -> Self {
        Self(MAX_SAVED)
    }
}

impl Allowance {
    /// Extends the allowance in proportion to `bytes`, the number of bytes delivered, up to
    /// [`MAX_SAVED`].
    pub(crate) fn earn(&mut self, bytes: usize) {
        // The conversion does not fail, because a round is far smaller than 4 GiB. A larger round
        // would extend the allowance to its maximum anyway.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.0 = (self.0 + EARNED_PER_KIB * bytes / 1024).min(MAX_SAVED);
    }

    /// Waits until `is_behind` returns false, but no longer than this allowance. Subtracts the time
    /// waited from the allowance.
    pub(crate) fn spend(&mut self, hold: &Hold, is_behind: impl FnMut() -> bool) {
        let start = Instant::now();
        hold.wait(self.0, is_behind);
        self.0 = self.0.saturating_sub(start.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Calls [`Hold::wait`] in a thread, and calls `end` once that thread has called `is_behind`.
    /// Returns when the thread has ended, so `end` or `is_behind` must end the wait.
    fn wait_until(end: impl FnOnce(&Hold), mut is_behind: impl FnMut() -> bool + Send) {
        let hold = Hold::default();
        let (checked, checks) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                hold.wait(Duration::from_secs(3600), || {
                    let _ = checked.send(());
                    is_behind()
                });
            });
            checks.recv().unwrap();
            end(&hold);
        });
    }

    #[test]
    fn delivery_waits_until_a_slow_recipient_has_caught_up() {
        let mut checks = 0;
        wait_until(Hold::caught_up, || {
            checks += 1;
            checks == 1
        });
        assert_eq!(checks, 2);
    }

    #[test]
    fn closing_the_room_ends_the_wait_for_a_slow_recipient() {
        wait_until(Hold::close, || true);
    }

    #[test]
    fn waiting_for_a_recipient_uses_up_an_allowance_that_delivered_bytes_restore() {
        let hold = Hold::default();
        let mut allowance = Allowance::default();
        allowance.spend(&hold, || true);
        assert_eq!(allowance.0, Duration::ZERO);
        allowance.earn(128 * 1024);
        assert!(allowance.0 > Duration::from_millis(300));
        allowance.earn(usize::MAX);
        assert_eq!(allowance.0, MAX_SAVED);
    }
}
