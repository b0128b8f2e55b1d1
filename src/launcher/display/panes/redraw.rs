//! How the thread that draws learns that there is something new to draw, and sleeps while there is not.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

/// Least time between two frames, unless somebody has typed.
const FRAME: Duration = Duration::from_millis(16);

/// How long after a key a program may show what it makes of it, and have that drawn at once.
const ANSWER: Duration = Duration::from_millis(50);

/// What there is to do for who draws.
#[derive(Default)]
pub(crate) struct Redraw {
    /// No other lock is taken while this one is held.
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    changed: bool,
    urgent: bool,
    /// Until when a program that has got a key may answer.
    answer_until: Option<Instant>,
    ended: bool,
}

impl Redraw {
    fn tell(&self, set: impl FnOnce(&mut State)) {
        set(&mut self.state.lock());
        self.told.notify_all();
    }

    /// There is something new to see.
    pub(crate) fn changed(&self) {
        self.tell(|state| state.changed = true);
    }

    /// There is something new to see, for somebody who waits for it.
    pub(crate) fn at_once(&self) {
        self.tell(|state| (state.changed, state.urgent) = (true, true));
    }

    /// The focused program has got a key, and is about to show it.
    pub(crate) fn expect(&self) {
        self.state.lock().answer_until = Some(Instant::now() + ANSWER);
    }

    /// The focused program has something new to see, for somebody who waits for it if it has just got a key.
    pub(crate) fn changed_in_focus(&self) {
        self.tell(|state| {
            state.changed = true;
            state.urgent |= state
                .answer_until
                .is_some_and(|until| Instant::now() < until);
        });
    }

    /// Nothing is to be drawn any more.
    pub(crate) fn end(&self) {
        self.tell(|state| state.ended = true);
    }

    /// Waits until there is something to draw, where the last frame was begun at `last`. `false` at the end.
    pub(crate) fn wait(&self, last: Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return false;
            }
            let pause = FRAME.saturating_sub(last.elapsed());
            if state.changed && (state.urgent || pause.is_zero()) {
                (state.changed, state.urgent) = (false, false);
                return true;
            }
            state = if state.changed {
                self.told.wait_timeout(state, pause)
            } else {
                self.told.wait(state)
            };
        }
    }
}
