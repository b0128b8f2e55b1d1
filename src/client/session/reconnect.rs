//! Reconnecting after the connection is lost.

use std::time::{Duration, Instant};

use crate::client::event::{ClientEvent, Stop};
use crate::client::event_loop::EventLoop;
use crate::client::session::login::{Joined, LoginDialog, LoginOutcome};

/// Pause before the first attempt. It doubles with each one that fails.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between attempts. A connection that lasts this long resets the pause.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Exponential backoff between attempts.
#[derive(Default)]
pub(crate) struct Backoff {
    connected_at: Option<Instant>,
    /// Attempts since a connection lasted.
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

/// Tries to connect until that succeeds or the user gives up.
pub(crate) fn reconnect(
    events: &mut EventLoop,
    login: &mut LoginDialog,
    backoff: &mut Backoff,
) -> Result<Joined, Stop> {
    loop {
        let pause = backoff.next_pause();
        let seconds = pause.as_secs();
        events
            .ui
            .set_status(Some(format!("not connected: trying again in {seconds} s")));
        wait(events, pause)?;
        if let Some(joined) = try_once(events, login)? {
            events.ui.set_status(None);
            return Ok(joined);
        }
    }
}

/// Tries once, or more often while the server only rejects the login and the user answers.
fn try_once(events: &mut EventLoop, login: &mut LoginDialog) -> Result<Option<Joined>, Stop> {
    loop {
        events.ui.set_status(Some("not connected: trying".into()));
        match login.attempt(events)? {
            LoginOutcome::Joined(joined) => return Ok(Some(*joined)),
            LoginOutcome::Rejected => {}
            LoginOutcome::Failed(_) => return Ok(None),
        }
    }
}

fn wait(events: &mut EventLoop, pause: Duration) -> Result<(), Stop> {
    let deadline = Instant::now() + pause;
    while let Some(event) = events.next_until(Some(deadline))? {
        match event {
            ClientEvent::Entered => events.submit_offline()?,
            // Events of the lost connection.
            ClientEvent::Stdin(_)
            | ClientEvent::Terminal(_)
            | ClientEvent::TerminalGone
            | ClientEvent::Login(_)
            | ClientEvent::Received(_)
            | ClientEvent::Disconnected(_)
            | ClientEvent::Leave => {}
        }
    }
    Ok(())
}
