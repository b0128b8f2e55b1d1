//! One window of a session.

use std::time::{Duration, Instant};

use crate::control_socket::ClientHandle;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;

/// A window, from its start to its end.
pub(crate) struct Window {
    pub(crate) spec: WindowSpec,
    pub(crate) state: WindowState,
    /// The process that shows the window, while it runs; none if tmux shows it.
    pub(crate) process: Option<ChildProcess>,
    /// The client, while it runs.
    pub(crate) client: Option<ClientHandle>,
}

pub(crate) enum WindowState {
    /// Waiting for the client's hello.
    Opening {
        deadline: Instant,
        /// When to start the process again, if a retry is due.
        retry_at: Option<Instant>,
        /// Whether to retry if the process fails. False after the first failure.
        may_retry: bool,
    },
    /// The client has said hello.
    Opened,
    /// The client did not say hello, for this reason.
    Failed(String),
}

impl Window {
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, WindowState::Opening { .. })
    }

    /// If the window is still opening, resets its deadline to `time` from now.
    pub(crate) fn extend_deadline(&mut self, time: Duration) {
        if let WindowState::Opening { deadline, .. } = &mut self.state {
            *deadline = Instant::now() + time;
        }
    }

    /// The time at which to check the window even if no event arrives.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        match self.state {
            WindowState::Opening {
                deadline, retry_at, ..
            } => Some(retry_at.unwrap_or(deadline)),
            WindowState::Opened | WindowState::Failed(_) => None,
        }
    }
}
