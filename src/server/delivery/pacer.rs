//! Keeps those who send much in step with the delivery, so that what they send goes out in few large rounds.
//!
//! A round costs one send a member, whatever is in it. Without this, the first of several busy readers begins the
//! next round with what it alone has brought, and each wakes for every line that comes while the others are being
//! delivered: the same load then makes many small rounds or few large ones, as the scheduler happens to order the threads.

use std::time::Duration;

use crate::sync::{Condvar, Mutex};

/// Time that those in step have to bring more, once a round has ended. One that is not there by then, since a processor
/// has other things to do, comes with the next round.
const GATHER: Duration = Duration::from_micros(200);

/// Where readers and the delivery thread meet between two rounds.
#[derive(Default)]
pub(crate) struct Pacer {
    /// No other lock is taken while this one is held.
    state: Mutex<State>,
    /// A round has ended.
    ended: Condvar,
    /// All who are in step have brought what they had.
    gathered: Condvar,
}

#[derive(Default)]
struct State {
    /// Rounds that have ended.
    round: u64,
    /// Readers that wait for the end of this round.
    waiting: usize,
    /// Readers that waited for the end of the last one, and still have to bring what has come since.
    gathering: usize,
    /// There is no next round.
    closed: bool,
}

/// A reader's place in the round that is being gathered, which ends with it.
pub(crate) struct Turn<'a> {
    pacer: &'a Pacer,
    round: u64,
}

impl Pacer {
    /// How many rounds have ended. What is posted after this call goes out with a later one.
    pub(crate) fn round(&self) -> u64 {
        self.state.lock().round
    }

    /// For a reader that has posted since [`Pacer::round`] told `round`: waits until one more has ended. There is no turn
    /// where that was so already.
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

    /// For the delivery thread: a round has ended. Waits a moment for what those in step have to say next.
    pub(crate) fn end_round(&self) {
        let mut state = self.state.lock();
        state.round += 1;
        state.gathering = std::mem::take(&mut state.waiting);
        if state.gathering > 0 {
            // Those who wake need the lock.
            drop(state);
            self.ended.notify_all();
            let are_missing = |state: &mut State| state.gathering > 0;
            let waited = self
                .gathered
                .wait_timeout_while(self.state.lock(), GATHER, are_missing);
            drop(waited);
        }
    }

    /// For the delivery thread: nobody waits any more.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ended.notify_all();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pacer.state.lock();
        // One that comes too late has no part in the round that is being gathered by then.
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
    fn a_reader_waits_for_the_end_of_the_round_and_not_for_one_that_has_ended() {
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
    fn a_round_begins_when_all_in_step_have_brought_what_they_had() {
        let pacer = Pacer::default();
        let round = pacer.round();
        let (brought, rounds) = mpsc::channel();
        thread::scope(|scope| {
            for reader in 0..3 {
                let (pacer, brought) = (&pacer, brought.clone());
                scope.spawn(move || {
                    let step = pacer.wait(round);
                    brought.send(reader).unwrap();
                    drop(step);
                });
            }
            while pacer.state.lock().waiting < 3 {
                thread::yield_now();
            }
            pacer.end_round();
            // On a busy machine one may come too late; then it counts as missing.
            let missing = pacer.state.lock().gathering;
            assert!(missing + rounds.try_iter().count() >= 3);
        });
    }

    #[test]
    fn nobody_waits_once_there_are_no_more_rounds() {
        let pacer = Pacer::default();
        thread::scope(|scope| {
            let reader = scope.spawn(|| drop(pacer.wait(pacer.round())));
            pacer.close();
            reader.join().unwrap();
        });
        assert!(pacer.wait(pacer.round()).is_none());
    }
}
