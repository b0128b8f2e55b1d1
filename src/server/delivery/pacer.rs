//! Lets busy reader threads post at the same time, so that the delivery thread sends their messages
//! in a few large rounds.
//!
//! In a round, the delivery thread takes all posted messages, and sends them to each member in one
//! send. Without pacing, the first of several busy readers starts a round that contains only its
//! own messages, and the delivery thread wakes again for each line that arrives during that round.
//! How many rounds the same load takes then depends on how the kernel schedules the threads.

use std::time::Duration;

use crate::probe::gauge::LockGauge;
use crate::sync::{Condvar, Mutex};

/// How long the delivery thread waits after a round of sends, so that the readers that waited for
/// the end of the round can post their next messages. If a reader takes longer, as on a busy
/// machine, its messages go out with a later round.
const GATHER: Duration = Duration::from_micros(200);

/// Makes busy reader threads wait for the end of a round of sends, and makes the delivery thread
/// wait for these readers to post before the next round.
#[derive(Default)]
pub(crate) struct Pacer {
    /// The counters of rounds and readers. No other lock is taken while this one is held.
    state: Mutex<State>,
    /// Signals the waiting readers: a round of sends has ended.
    ended: Condvar,
    /// Signals the delivery thread: all readers that waited for the last round of sends have posted
    /// new messages.
    gathered: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of rounds of sends that have ended.
    round: u64,
    /// Number of reader threads that wait for the end of the current round of sends.
    waiting: usize,
    /// Number of reader threads that waited for the end of the last round of sends and have not
    /// posted since.
    gathering: usize,
    /// Whether the last round of sends has ended.
    closed: bool,
}

/// While a reader holds its turn, the delivery thread waits up to [`GATHER`] for the reader to
/// post. The reader drops the turn when it has posted or has nothing to post.
pub(crate) struct Turn<'a> {
    pacer: &'a Pacer,
    round: u64,
}

impl Pacer {
    /// Returns the number of rounds of sends that have ended. A reader can later pass this number
    /// to [`Pacer::wait`]. Events posted after this call go out with the current round or a later
    /// one.
    pub(crate) fn round(&self) -> u64 {
        self.state.lock().round
    }

    /// Waits until more than `round` rounds of sends have ended. Called by a reader that has posted
    /// since [`Pacer::round`] returned `round`. Returns `None` if the reader did not have to wait.
    pub(crate) fn wait(&self, round: u64) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        if state.round != round || state.closed {
            return None;
        }
        state.waiting += 1;
        let waited = self
            .ended
            .wait_while(state, |state| state.round == round && !state.closed);
        drop(waited);
        Some(Turn {
            pacer: self,
            round: round + 1,
        })
    }

    pub(crate) fn lock_gauge(&self) -> &LockGauge {
        self.state.gauge()
    }

    /// Ends a round of sends, and wakes the readers that wait for this. Returns whether there were
    /// any.
    pub(crate) fn end_round(&self) -> bool {
        let mut state = self.state.lock();
        state.round += 1;
        state.gathering = std::mem::take(&mut state.waiting);
        let any = state.gathering > 0;
        // Unlock before notifying, because the readers that wake need the lock.
        drop(state);
        if any {
            self.ended.notify_all();
        }
        any
    }

    /// Waits up to [`GATHER`] for the readers that waited for the round's end to post again. Called
    /// by the delivery thread only.
    pub(crate) fn gather(&self) {
        let are_missing = |state: &mut State| state.gathering > 0;
        let waited = self
            .gathered
            .wait_timeout_while(self.state.lock(), GATHER, are_missing);
        drop(waited);
    }

    /// Wakes all waiting readers, and makes later waits return without waiting. Called by the
    /// delivery thread after its last round of sends.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ended.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pacer.state.lock();
        // If another round has ended, this reader took longer than `GATHER`, and `gathering` no
        // longer counts it.
        if state.round == self.round {
            state.gathering = state.gathering.saturating_sub(1);
            if state.gathering == 0 {
                self.pacer.gathered.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_reader_waits_for_a_delivery_round_to_end_unless_the_round_is_already_over() {
        let pacer = Pacer::default();
        let round = pacer.round();
        thread::scope(|scope| {
            let reader = scope.spawn(|| pacer.wait(round).is_some());
            while pacer.state.lock().waiting == 0 {
                thread::yield_now();
            }
            pacer.end_round();
            assert!(reader.join().unwrap());
        });
        assert!(pacer.wait(round).is_none());
    }

    #[test]
    fn the_next_delivery_round_waits_for_the_messages_of_all_paced_readers() {
        let pacer = Pacer::default();
        let round = pacer.round();
        let (posted, rounds) = mpsc::channel();
        thread::scope(|scope| {
            for reader in 0..3 {
                let (pacer, posted) = (&pacer, posted.clone());
                scope.spawn(move || {
                    let turn = pacer.wait(round);
                    posted.send(reader).unwrap();
                    drop(turn);
                });
            }
            while pacer.state.lock().waiting < 3 {
                thread::yield_now();
            }
            assert!(pacer.end_round());
            pacer.gather();
            // Each reader has posted or, on a busy machine, may still hold its turn.
            let left = pacer.state.lock().gathering;
            assert!(left + rounds.try_iter().count() >= 3);
        });
    }

    #[test]
    fn closing_the_pacer_releases_waiting_readers_and_no_reader_waits_afterwards() {
        let pacer = Pacer::default();
        thread::scope(|scope| {
            let reader = scope.spawn(|| drop(pacer.wait(pacer.round())));
            pacer.close();
            reader.join().unwrap();
        });
        assert!(pacer.wait(pacer.round()).is_none());
    }
}
