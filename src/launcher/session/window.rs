//! One window of a session.

use std::time::{Duration, Instant};

use crate::control_socket::ClientHandle;
use crate::launcher::process::ChildProcess;
use crate::launcher::session::Place;
use crate::protocol::request::Identity;

/// A window, from its start to its end.
pub(crate) struct Window {
    /// What its client says hello with. No two windows of a session have the same, while a number in a title may come again when an emulator fails.
    pub(crate) id: usize,
    pub(crate) title: String,
    pub(crate) place: Option<Place>,
    pub(crate) member: Option<Identity>,
    pub(crate) state: State,
    /// The emulator, while it runs.
    pub(crate) shower: Option<ChildProcess>,
    /// The client, while it runs.
    pub(crate) client: Option<ClientHandle>,
}

pub(crate) enum State {
    /// Waits for the client's hello until `deadline`; `retry` says when the emulator is to be started again, `may_fail` whether it will
    /// be even if it fails.
    Opening {
        deadline: Instant,
        retry: Option<Instant>,
        may_fail: bool,
    },
    /// The client has said hello.
    Opened,
    /// There was no hello, and why.
    Failed(String),
}

impl Window {
    pub(crate) fn is_decided(&self) -> bool {
        match self.state {
            State::Opening { .. } => false,
            State::Opened | State::Failed(_) => true,
        }
    }

    /// Lets it have this time from now on, where it is still opening.
    pub(crate) fn give_time(&mut self, time: Duration) {
        if let State::Opening { deadline, .. } = &mut self.state {
            *deadline = Instant::now() + time;
        }
    }

    /// When it has to be looked at, should nothing happen.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        match self.state {
            State::Opening {
                deadline, retry, ..
            } => Some(retry.unwrap_or(deadline)),
            State::Opened | State::Failed(_) => None,
        }
    }
}
