//! Reconnecting after the connection is lost.

use std::time::{Duration, Instant};

use crate::client::event::Stop;
use crate::client::event_loop::EventLoop;
use crate::client::session::login::{Joined, LoginDialog};

/// Pause before the first attempt. The pause doubles with each failed attempt.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between attempts. A connection that lasts this long resets the pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Exponential backoff between attempts.
#[derive(Default)]
pub(crate) struct Backoff {
    connected_at: Option<Instant>,
    /// Attempts since the last connection that stayed up for [`MAX_PAUSE`].
    attempts: u32,
}

impl Backoff {
    pub(crate) fn on_connected(&mut self) {
        self.connected_at = Some(Instant::now());
    }

    fn next_pause(&mut self) -> Duration {
        let connected_at = self.connected_at.take();
        if connected_at.is_some_and(|at| at.elapsed() >= MAX_PAUSE) {
            self.attempts = 0;
        }
        let pause = MIN_PAUSE.saturating_mul(2_u32.saturating_pow(self.attempts));
        self.attempts += 1;
        pause.min(MAX_PAUSE)
    }
}

/// Tries to reconnect until an attempt succeeds or the user gives up.
pub(crate) fn reconnect(
    events: &mut EventLoop,
    login: &mut LoginDialog,
    backoff: &mut Backoff,
) -> Result<Joined, Stop> {
    loop {
        let pause = backoff.next_pause();
        let seconds = pause.as_secs();
        let status = format!("not connected: trying again in {seconds} s");
        events.ui.set_status(Some(status));
        events.pause(pause)?;
        if let Ok(joined) = login.log_in(events, Some("not connected: trying"))? {
            events.ui.set_status(None);
            return Ok(joined);
        }
    }
}
