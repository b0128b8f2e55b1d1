//! The events that the main thread waits for, and the reasons why the client stops.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, Builder};

use anyhow::Error;
use rustix::io::Errno;

use crate::client::net::connection::Connection;
use crate::client::ui::terminal::{EXIT_TIMEOUT, TerminalInput};
use crate::os;
use crate::protocol::event::Welcome;
use crate::protocol::json::Received;
use crate::protocol::line::LineError;
use crate::protocol::text::Text;
use crate::tty::{self, raw_mode};

/// An event for the main thread. All events except [`ClientEvent::Entered`] are posted by other
/// threads.
pub(crate) enum ClientEvent {
    Stdin(StdinEvent),
    /// A key, paste, resize or change of focus in the terminal UI.
    Terminal(TerminalInput),
    /// The user pressed Enter in the terminal UI.
    Entered,
    /// The terminal is gone, so no more input follows.
    TerminalGone,
    /// A login attempt is over.
    Login(LoginReply),
    Received(Received),
    Disconnected(Disconnect),
    /// The launcher lets this client log in.
    Turn,
    /// Wakes the main thread, which then checks its [`LeaveRequest`].
    Leave,
}

/// The result of reading stdin.
pub(crate) enum StdinEvent {
    /// A line that the main thread has requested.
    Line(String),
    /// A line that cannot be sent: its number, counted from 1, and the reason.
    Unsendable(u64, LineError),
    /// Stdin has ended, or a line asks to leave. If the client is in a room, all earlier lines have
    /// been sent.
    Over,
    Failed(io::Error),
}

/// The result of one login attempt.
pub(crate) enum LoginReply {
    Joined(Box<Welcome>, Connection),
    /// The server rejected this login, but would accept another attempt.
    Rejected(Rejection),
    /// There is no server, or it rejects every login.
    Failed(Error),
}

/// The part of a rejected login that must change for the next attempt.
pub(crate) enum Rejection {
    /// The name must change, for the reason that the server gave.
    Name(Text),
    PasswordMissing,
    PasswordWrong,
    /// The client must join as a newcomer, because the server cannot resume the session.
    Resume,
}

/// How a connection ended.
pub(crate) enum Disconnect {
    /// The server closed the connection.
    Closed,
    Lost(io::Error),
    /// The server sent a line that exceeds the limit, so the client closed the connection.
    LineTooLong,
}

/// Reason why the client stops.
pub(crate) enum Stop {
    /// The user asked to leave, the terminal is gone, or no one reads stdout.
    Leave,
    /// The connection is lost. Reconnecting may succeed.
    Lost(Lost),
    /// The operator kicked the user, so the client does not reconnect by itself.
    Kicked(Lost),
    /// The server announced that it was shutting down, and then closed the connection.
    ShutDown,
    /// An error that would occur again on another connection.
    Failed(Error),
}

/// A description of a lost connection, for the user.
pub(crate) struct Lost {
    pub(crate) reason: String,
    /// Advice on what the user can try next.
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
            // EPIPE: the reader of the pipe wants no more output, as in `chat-client | head`.
            io::ErrorKind::BrokenPipe => Self::Leave,
            // EIO: the terminal is gone. Leave without an error, even if the thread that reads the
            // terminal has not noticed yet.
            _ if error.raw_os_error() == Some(Errno::IO.raw_os_error()) && tty::is_gone() => {
                Self::Leave
            }
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

    /// Asks the main thread to leave, without blocking. If the process is still running after
    /// [`EXIT_TIMEOUT`], it exits anyway. A second request makes the process exit at once.
    pub(crate) fn make(&self) {
        if self.is_made.swap(true, Ordering::SeqCst) {
            raw_mode::exit(0);
        }
        // Ignore an error: if the queue is full, the main thread has events to handle, and it
        // checks for a request after each of them.
        let _ = self.post.try_send(ClientEvent::Leave);
        // The thread that enforces the time limit ends with the process, so it is never joined. If
        // the thread cannot be started, a second request still ends the process.
        let _ = Builder::new().name("exit-timeout".into()).spawn(|| {
            thread::sleep(EXIT_TIMEOUT);
            raw_mode::exit(0)
        });
    }

    pub(crate) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::SeqCst)
    }
}
