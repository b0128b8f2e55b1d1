//! The events that the main thread waits for, and the reasons why the client stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, Builder};

use anyhow::Error;

use crate::client::net::connection::Connection;
use crate::client::ui::terminal::{EXIT_TIMEOUT, TerminalInput};
use crate::os;
use crate::protocol::event::Welcome;
use crate::protocol::json::Received;
use crate::protocol::line::LineError;
use crate::protocol::text::Text;
use crate::tty::raw_mode;

/// An event for the main thread. All but [`ClientEvent::Entered`] are posted by other threads.
pub(crate) enum ClientEvent {
    Stdin(StdinEvent),
    /// A key, paste, resize or change of focus, in the full-screen UI.
    Terminal(TerminalInput),
    /// The user pressed Enter in the full-screen UI.
    Entered,
    /// The terminal sends nothing more.
    TerminalGone,
    /// A login attempt is over.
    Login(LoginReply),
    Received(Received),
    Disconnected(Disconnect),
    /// Wakes the main thread, which then finds a [`LeaveRequest`].
    Leave,
}

/// The result of reading stdin.
pub(crate) enum StdinEvent {
    /// The line that was asked for.
    Line(String),
    /// The line with this number cannot be sent.
    Unsendable(u64, LineError),
    /// Stdin ended, or a line asked to leave. In a chat, everything before has been sent.
    Over,
    Failed(io::Error),
}

/// The result of one login attempt.
pub(crate) enum LoginReply {
    Joined(Box<Welcome>, Connection),
    /// The server rejects the login, and would accept another one.
    Rejected(Rejection),
    /// There is no server, or it rejects every login.
    Failed(Error),
}

/// The part of a login that has to change.
pub(crate) enum Rejection {
    /// The name, with the server's reason.
    Name(Text),
    PasswordMissing,
    PasswordWrong,
    /// The place to resume no longer exists.
    Resume,
}

/// How a connection ended.
pub(crate) enum Disconnect {
    /// The server closed it.
    Closed,
    Lost(io::Error),
    /// The server sent a line that exceeds the limit.
    LineTooLong,
}

/// Why the client stops.
pub(crate) enum Stop {
    /// The user asked to leave, or the terminal or the reader of stdout is gone.
    Leave,
    /// The connection is lost, and a new one may succeed.
    Lost(Lost),
    /// The operator kicked the user. Only the user decides whether to come back.
    Kicked(Lost),
    /// The server announced that it shuts down, and did.
    ShutDown,
    /// An error that another connection would not fix.
    Failed(Error),
}

/// How a connection was lost.
pub(crate) struct Lost {
    pub(crate) reason: String,
    /// A suggestion for the user.
    pub(crate) advice: &'static str,
}

impl Stop {
    pub(crate) fn cannot_start_thread(error: io::Error) -> Self {
        Self::Failed(Error::new(error).context(os::NO_THREAD))
    }

    pub(crate) fn cannot_read_stdin(error: io::Error) -> Self {
        Self::Failed(Error::new(error).context("cannot read stdin"))
    }

    pub(crate) fn cannot_write_stdout(error: io::Error) -> Self {
        match error.kind() {
            // As in `chat-client | head`: the reader has seen enough.
            io::ErrorKind::BrokenPipe => Self::Leave,
            _ => Self::Failed(Error::new(error).context("cannot write to stdout")),
        }
    }
}

/// A request to leave, made by a signal or by the launcher.
#[derive(Clone)]
pub(crate) struct LeaveRequest {
    is_made: Arc<AtomicBool>,
    post: SyncSender<ClientEvent>,
}

impl LeaveRequest {
    pub(crate) fn new(post: SyncSender<ClientEvent>) -> Self {
        Self {
            is_made: Arc::default(),
            post,
        }
    }

    /// Asks the main thread to leave, without blocking. The process exits after [`EXIT_TIMEOUT`] in
    /// any case, and at once on a second request.
    pub(crate) fn make(&self) {
        if self.is_made.swap(true, Ordering::SeqCst) {
            raw_mode::exit(0);
        }
        // If the queue is full, the main thread is awake and sees the flag.
        let _ = self.post.try_send(ClientEvent::Leave);
        // Never joined: it ends with the process. If it cannot start, a second signal still works.
        let _ = Builder::new().name("exit-timeout".into()).spawn(|| {
            thread::sleep(EXIT_TIMEOUT);
            raw_mode::exit(0)
        });
    }

    pub(crate) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::SeqCst)
    }
}
