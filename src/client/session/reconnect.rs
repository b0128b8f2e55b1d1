//! Reconnecting after the connection is lost.

use std::time::Duration;

use crate::client::event::Stop;
use crate::client::event_loop::EventLoop;
use crate::client::session::login::{Joined, LoginDialog};

/// Pause before the first attempt to reconnect. The pause doubles with each attempt.
pub(crate) const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts to reconnect.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Tries to reconnect until an attempt succeeds or the user gives up. `pause` is the pause before
/// the next attempt. If the user asks for an attempt during a pause, the pauses start again at
/// [`MIN_PAUSE`].
pub(crate) fn reconnect(
    events: &mut EventLoop,
    login: &mut LoginDialog,
    pause: &mut Duration,
) -> Result<Joined, Stop> {
    loop {
        let seconds = pause.as_secs();
        let status = format!("not connected: trying again in {seconds} s");
        events.ui.set_status(Some(status));
        *pause = if events.pause(*pause)? {
            MIN_PAUSE
        } else {
            MAX_PAUSE.min(2 * *pause)
        };
        if let Ok(joined) = login.log_in(events, Some("not connected: trying"))? {
            events.ui.set_status(None);
            return Ok(joined);
        }
    }
}
