//! Requests for frames to the thread that draws, which sleeps while there are none.

use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex};

/// Minimum time between two frames. Urgent frames are drawn earlier.
const FRAME: Duration = Duration::from_millis(16);

/// Time after a key is sent to the focused client in which the client's output counts as the
/// response to the key, and is drawn at once.
const ECHO_TIME: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(crate) struct Redraw {
    /// The pending requests for frames. No other lock is taken while this one is held.
    state: Mutex<RedrawState>,
    changed: Condvar,
}

#[derive(Default)]
struct RedrawState {
    is_requested: bool,
    is_urgent: bool,
    /// The time for which a frame was requested in advance, with [`Redraw::request_at`].
    due: Option<Instant>,
    /// Time until which output of the focused client counts as its response to a key, and is
    /// urgent.
    echo_until: Option<Instant>,
    has_ended: bool,
}

impl Redraw {
    fn update(&self, set: impl FnOnce(&mut RedrawState)) {
        set(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Requests a frame.
    pub(crate) fn request(&self) {
        self.update(|state| state.is_requested = true);
    }

    /// Requests an urgent frame, because the user is waiting for it.
    pub(crate) fn request_now(&self) {
        self.update(|state| (state.is_requested, state.is_urgent) = (true, true));
    }

    /// Requests a frame at `time`, in addition to frames requested by other functions. Replaces the
    /// time of an earlier call.
    pub(crate) fn request_at(&self, time: Instant) {
        self.update(|state| state.due = Some(time));
    }

    /// Makes output of the focused client urgent for [`ECHO_TIME`]. Called after a key was sent to
    /// the client.
    pub(crate) fn expect_echo(&self) {
        self.state.lock().echo_until = Some(Instant::now() + ECHO_TIME);
    }

    /// Requests a frame for output of the focused client. The frame is urgent if a key was just
    /// sent to the client.
    pub(crate) fn request_in_focus(&self) {
        self.update(|state| {
            state.is_requested = true;
            state.is_urgent |= state.echo_until.is_some_and(|until| Instant::now() < until);
        });
    }

    /// Makes [`Redraw::wait`] return false, which ends the thread `draw`.
    pub(crate) fn end(&self) {
        self.update(|state| state.has_ended = true);
    }

    /// Waits until the next frame is due. `last` is the time at which the previous frame began.
    /// Returns false after [`Redraw::end`].
    pub(crate) fn wait(&self, last: Instant) -> bool {
        let mut state = self.state.lock();
        loop {
            if state.has_ended {
                return false;
            }
            let now = Instant::now();
            state.is_requested |= state.due.take_if(|due| *due <= now).is_some();
            let pause = FRAME.saturating_sub(last.elapsed());
            if state.is_requested && (state.is_urgent || pause.is_zero()) {
                (state.is_requested, state.is_urgent) = (false, false);
                return true;
            }
            let until_due = state.due.map(|due| due.saturating_duration_since(now));
            state = match until_due {
                _ if state.is_requested => self.changed.wait_timeout(state, pause),
                Some(time) => self.changed.wait_timeout(state, time),
                None => self.changed.wait(state),
            };
        }
    }
}
