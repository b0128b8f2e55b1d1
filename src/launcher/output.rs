//! The launcher's output, on its own terminal or in the server's pane.
//!
//! Only one thread writes to the terminal, so a terminal that blocks or is gone delays no other
//! thread.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use crate::launcher::display::panes::Log;
use crate::sync::Mutex;
use crate::tty;
use crate::tty::console::{Console, LogOutput};
use crate::tty::log_wrap;

/// Limit on the messages that wait for the terminal.
const MAX_WAITING: usize = 256;

/// A piece of output for stdout or stderr: one line from the launcher, or up to 8 KiB of the
/// server's log.
#[derive(Clone)]
enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Out(bytes) | Self::Err(bytes) => bytes,
        }
    }
}

/// A message to the output thread.
enum Message {
    Show(Piece),
    /// Show a console below the log.
    Attach(Arc<Console>),
    /// Remove the console, and then drop this sender to tell the caller.
    Detach(mpsc::Sender<()>),
    /// Draw the console, because it has changed.
    Redraw,
}

/// The destination of pieces of output.
enum Destination {
    Terminal,
    /// No destination yet, because panes are about to use the terminal. Holds the pieces until
    /// then.
    Held(Vec<Piece>),
    /// The server's pane. Also holds the pieces that must be shown on the terminal once the panes
    /// are gone.
    Pane(Log, Vec<Piece>),
}

/// Handle that sends output to the output thread.
#[derive(Clone)]
pub(crate) struct Output {
    messages: SyncSender<Message>,
    /// The current destination. Its lock is never held during a write to the terminal.
    destination: Arc<Mutex<Destination>>,
}

/// Handle that waits for the output thread to finish.
pub(crate) struct Shown {
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread `output`. The thread ends when every [`Output`] is dropped and everything
    /// is shown; if the terminal accepts no output, the thread ends with the process. If `held`,
    /// shows nothing before [`Output::move_to_pane`] or [`Output::move_to_terminal`] is called.
    ///
    /// # Errors
    /// The thread can't be started.
    pub(crate) fn start(held: bool) -> io::Result<(Self, Shown)> {
        let (messages, waiting) = mpsc::sync_channel(MAX_WAITING);
        let (finished, done) = mpsc::channel::<()>();
        let destination = Arc::new(Mutex::new(if held {
            Destination::Held(Vec::new())
        } else {
            Destination::Terminal
        }));
        let shared = Arc::clone(&destination);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let _finished = finished;
                let mut terminal = LogOutput::new();
                // Ignore errors of a terminal that is gone, because another thread decides when the
                // session stops.
                while handle_next(&waiting, &shared, &mut terminal) {
                    let _ = terminal.flush();
                }
                let _ = terminal.detach();
            })?;
        Ok((
            Self {
                messages,
                destination,
            },
            Shown { done },
        ))
    }

    /// Shows a line on stdout. Never blocks: if too many messages are waiting, drops the line.
    pub(crate) fn say(&self, line: &str) {
        self.post(Piece::Out(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stderr. Never blocks, like [`Output::say`].
    pub(crate) fn warn(&self, line: &str) {
        self.post(Piece::Err(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stdout like [`Output::say`]. If panes are open, shows the line again on the
    /// terminal once the panes are gone.
    pub(crate) fn conclude(&self, line: &str) {
        if let Destination::Pane(_, kept) = &mut *self.destination.lock() {
            kept.push(Piece::Out(format!("{line}\n").into_bytes()));
        }
        self.say(line);
    }

    /// Shows bytes on stdout. Blocks while too many messages are waiting.
    pub(crate) fn pass_on(&self, bytes: Vec<u8>) {
        let _ = self.messages.send(Message::Show(Piece::Out(bytes)));
    }

    /// Shows a console below the log. Blocks like [`Output::pass_on`].
    pub(crate) fn attach(&self, console: Arc<Console>) {
        let _ = self.messages.send(Message::Attach(console));
    }

    /// Removes the console and restores the terminal. Waits until that is done, but no longer than
    /// `limit`.
    pub(crate) fn detach(&self, limit: Duration) {
        let (detached, done) = mpsc::channel();
        if self.messages.try_send(Message::Detach(detached)).is_ok() {
            let _ = done.recv_timeout(limit);
        }
    }

    /// Draws the console again. Never blocks.
    pub(crate) fn redraw(&self) {
        // Ignore an error: if the queue is full, its messages redraw the console anyway.
        let _ = self.messages.try_send(Message::Redraw);
    }

    /// Shows the held pieces and all later ones in the server's pane.
    pub(crate) fn move_to_pane(&self, log: Log) {
        let mut destination = self.destination.lock();
        if let Destination::Held(pieces) = &*destination {
            for piece in pieces {
                log.show(piece.bytes());
            }
        }
        *destination = Destination::Pane(log, Vec::new());
    }

    /// Shows the held pieces and all later ones on the terminal, and repeats the lines that were
    /// passed to [`Output::conclude`]. The panes must be gone.
    pub(crate) fn move_to_terminal(&self) {
        let kept = match std::mem::replace(&mut *self.destination.lock(), Destination::Terminal) {
            Destination::Terminal => Vec::new(),
            Destination::Held(pieces) | Destination::Pane(_, pieces) => pieces,
        };
        for piece in kept {
            self.post(piece);
        }
    }

    fn post(&self, piece: Piece) {
        let _ = self.messages.try_send(Message::Show(piece));
    }
}

impl Shown {
    /// Waits until everything is shown, but no longer than `limit`. The caller must have dropped
    /// its own [`Output`].
    pub(crate) fn wait(self, limit: Duration) {
        match self.done.recv_timeout(limit) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Waits for the next message and handles it. Returns earlier if it's time to draw the console.
/// Returns false once every [`Output`] is dropped.
fn handle_next(
    messages: &Receiver<Message>,
    destination: &Mutex<Destination>,
    terminal: &mut LogOutput,
) -> bool {
    let next = match terminal.wait() {
        None => messages.recv().map_err(RecvTimeoutError::from),
        Some(time) => messages.recv_timeout(time),
    };
    // Ignore errors of the terminal, as in the caller.
    match next {
        Ok(Message::Show(piece)) => {
            // Call `deliver` in a statement of its own, to release the lock before writing to the
            // terminal.
            let piece = deliver(&mut destination.lock(), piece);
            if let Some(piece) = piece {
                let _ = terminal.update();
                let _ = show(terminal, &piece);
            }
        }
        Ok(Message::Attach(console)) => {
            terminal.attach(console);
            let _ = terminal.update();
        }
        Ok(Message::Detach(_detached)) => {
            let _ = terminal.detach();
        }
        Ok(Message::Redraw) => {
            let _ = terminal.update();
        }
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return false,
    }
    true
}

/// Sends a piece of output to its destination. If the destination is the terminal, returns the
/// piece, so that the caller can write it.
fn deliver(destination: &mut Destination, piece: Piece) -> Option<Piece> {
    match destination {
        Destination::Terminal => return Some(piece),
        // Drop pieces beyond a limit, which is not reached before the panes open.
        Destination::Held(pieces) if pieces.len() < MAX_WAITING => pieces.push(piece),
        Destination::Held(_) => {}
        Destination::Pane(log, _) => log.show(piece.bytes()),
    }
    None
}

fn show(terminal: &mut LogOutput, piece: &Piece) -> io::Result<()> {
    let mut stderr = io::stderr();
    match piece {
        Piece::Out(lines) => terminal.write(lines),
        Piece::Err(lines) if terminal.is_raw() && stderr.is_terminal() => terminal.write(lines),
        Piece::Err(lines) => {
            let columns = tty::columns(&stderr);
            stderr.write_all(&log_wrap::fitting(lines, columns))
        }
    }
}
