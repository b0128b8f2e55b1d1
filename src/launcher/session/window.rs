//! One window of a session.

use std::time::{Duration, Instant};

use crate::control_socket::ClientHandle;
use crate::launcher::display::window_spec::WindowSpec;
use crate::launcher::frozen_client::FrozenClient;
use crate::launcher::process::ChildProcess;
use crate::protocol::name::Name;

/// State of a window of the session.
pub(crate) struct Window {
    pub(crate) spec: WindowSpec,
    pub(crate) state: WindowState,
    pub(crate) turn: Turn,
    /// The process that shows the window. `None` if it has ended, or if tmux shows the window.
    pub(crate) process: Option<ChildProcess>,
    /// The client, from its hello (the first message on its control connection) until its exit.
    pub(crate) client: Option<ClientHandle>,
    /// Whether the client is in the room or is logging in.
    pub(crate) is_member: bool,
    /// The client's latest name in the room. `None` before its first login.
    pub(crate) member_name: Option<Name>,
    /// Set while the client is frozen.
    pub(crate) frozen: Option<FrozenClient>,
}

pub(crate) enum WindowState {
    /// The session is waiting for the client's first message (hello) on the control socket.
    Opening {
        deadline: Instant,
        /// The time at which to start the window's process again, after it has failed. `None` while
        /// no new start is planned.
        retry_at: Option<Instant>,
        /// Whether to start the window's process again if it fails. False after the first failure.
        may_retry: bool,
    },
    /// The client has sent its first message (hello).
    Opened,
    /// The window did not open, for this reason.
    Failed(String),
}

/// State of a client's turn to log in. The clients that have a name from the start log in one after
/// another, in the order of their windows.
pub(crate) enum Turn {
    /// The client waits until the clients of earlier windows have logged in.
    Waiting,
    /// The client was told at this time to log in.
    Given(Instant),
    /// The client no longer needs a turn: it has logged in, has failed to, or asks the user for a
    /// name.
    Over,
}

impl Turn {
    pub(crate) fn new(spec: &WindowSpec) -> Self {
        match spec.name {
            Some(_) => Self::Waiting,
            None => Self::Over,
        }
    }
}

impl Window {
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.state, WindowState::Opening { .. })
    }

    /// Whether the program in the window is a member of the room, or might be one: its client has
    /// reported that it is, or the program runs and has not connected to the control socket yet.
    pub(crate) fn may_be_member(&self) -> bool {
        match self.client {
            Some(_) => self.is_member,
            None => self.process.is_some(),
        }
    }

    /// Whether the window is open or still opening.
    pub(crate) fn is_open(&self) -> bool {
        match self.state {
            WindowState::Opening { .. } => true,
            WindowState::Opened => self.process.is_some() || self.client.is_some(),
            WindowState::Failed(_) => false,
        }
    }

    /// Thaws the client. Returns false if it was not frozen.
    pub(crate) fn thaw(&mut self) -> bool {
        match (self.frozen.take(), &self.client) {
            (Some(frozen), Some(client)) => {
                frozen.thaw(client);
                true
            }
            (Some(_), None) | (None, _) => false,
        }
    }

    /// Gives a window that is still opening a new deadline: `time` from now.
    pub(crate) fn extend_deadline(&mut self, time: Duration) {
        if let WindowState::Opening { deadline, .. } = &mut self.state {
            *deadline = Instant::now() + time;
        }
    }

    /// The time at which to check the window even if no event arrives. `None` unless the window is
    /// still opening.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        match self.state {
            WindowState::Opening {
                deadline, retry_at, ..
            } => Some(retry_at.unwrap_or(deadline)),
            WindowState::Opened | WindowState::Failed(_) => None,
        }
    }
}
