//! One window of a session.

use std::time::{Duration, Instant};

use crate::control_socket::ClientHandle;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::process::ChildProcess;

/// A window, from its start to its end.
pub(crate) struct Window {
    pub(crate) spec: WindowSpec,
    pub(crate) state: WindowState,
    /// The process that shows the window, while it runs; none in tmux.
    pub(crate) process: Option<ChildProcess>,
    /// The client, while it runs.
    pub(crate) client: Option<ClientHandle>,
}

pub(crate) enum WindowState {
    /// Waiting for the client's hello.
    Opening {
        deadline: Instant,
        /// When to start the process again, if that is to be done.
        retry: Option<Instant>,
        /// Whether the process may fail once more.
        may_fail: bool,
    },
    /// The client has said hello.
    Opened,
    /// There was no hello, for this reason.
    Failed(String),
}

impl Window {
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, WindowState::Opening { .. })
    }

    /// Lets a window that is opening have `time` from now on.
    pub(crate) fn extend_deadline(&mut self, time: Duration) {
        if let WindowState::Opening { deadline, .. } = &mut self.state {
            *deadline = Instant::now() + time;
        }
    }

    /// When to check the window even if nothing happens.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        match self.state {
            WindowState::Opening {
                deadline, retry, ..
            } => Some(retry.unwrap_or(deadline)),
            WindowState::Opened | WindowState::Failed(_) => None,
        }
    }
}
