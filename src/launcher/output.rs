//! The launcher's output, on its own terminal or in the server's pane.
//!
//! Only one thread writes to the terminal, so a terminal that blocks or is gone delays no other
//! thread.

use std::collections::VecDeque;
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

/// Limit on the number of messages that wait for the output thread while the terminal accepts no
/// output. When the limit is reached, the thread that copies the server's log waits, and lines from
/// the launcher and from the server's stderr are dropped.
const MAX_WAITING: usize = 256;

/// Maximum number of lines of the server's log that are shown on the terminal once the panes are
/// gone.
const LAST_LOG_LINES: usize = 20;

/// A piece of output for stdout or stderr: one line from the launcher, or up to 8 KiB of the
/// server's log.
#[derive(Clone)]
enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
}

/// Whether output that is shown in a pane is shown again on the terminal once the panes are gone.
#[derive(Clone, Copy)]
enum Repeat {
    Never,
    /// The output is shown again if it is among the last [`LAST_LOG_LINES`] lines of the log.
    AsLog,
    /// The output, a single line, is shown again below the lines of the log. Only the first
    /// [`LAST_LOG_LINES`] lines of this kind are shown again.
    AsConclusion,
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
    Show(Piece, Repeat),
    /// The panes are gone: show output on the terminal from now on.
    MoveToTerminal,
    /// Remove the console, and then drop this sender to tell the caller.
    Detach(mpsc::Sender<()>),
    /// Draw the console, because it was attached or has changed.
    Redraw,
}

/// The current destination of the output.
enum Destination {
    Terminal,
    /// No destination yet, because panes are about to use the terminal. Holds the output until the
    /// panes are open or have failed to open.
    Held(Vec<(Piece, Repeat)>),
    /// The server's pane. Also holds the output to show again on the terminal once the panes are
    /// gone.
    Pane(Log, Repeated),
}

/// Output to show again on the terminal once the panes are gone.
#[derive(Default)]
struct Repeated {
    /// The last lines of the log, one line per item.
    log: VecDeque<Piece>,
    /// The lines to show below `log`, one per item: the line with which the server closed the log,
    /// and the lines of the server's stderr.
    conclusion: Vec<Piece>,
}

impl Repeated {
    fn add(&mut self, piece: Piece, repeat: Repeat) {
        match repeat {
            Repeat::Never => {}
            Repeat::AsLog => {
                let lines: Vec<&[u8]> = piece.bytes().split_inclusive(|b| *b == b'\n').collect();
                let first = lines.len().saturating_sub(LAST_LOG_LINES);
                for line in &lines[first..] {
                    let line = line.to_vec();
                    self.log.push_back(match piece {
                        Piece::Out(_) => Piece::Out(line),
                        Piece::Err(_) => Piece::Err(line),
                    });
                }
                let too_many = self.log.len().saturating_sub(LAST_LOG_LINES);
                self.log.drain(..too_many);
            }
            Repeat::AsConclusion if self.conclusion.len() < LAST_LOG_LINES => {
                self.conclusion.push(piece);
            }
            Repeat::AsConclusion => {}
        }
    }
}

/// Handle that sends output to the output thread.
#[derive(Clone)]
pub(crate) struct Output {
    messages: SyncSender<Message>,
    /// The current destination. Its lock is never held during a write to the terminal.
    destination: Arc<Mutex<Destination>>,
    /// The console to show below the log, until the output thread takes it.
    attaching: Arc<Mutex<Option<Arc<Console>>>>,
}

/// Handle that waits for the output thread to finish.
pub(crate) struct Shown {
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread `output`. The thread ends when every [`Output`] is dropped and everything
    /// is shown. If the terminal accepts no output, the thread ends only with the process. If
    /// `held` is true, nothing is shown until [`Output::move_to_pane`] or
    /// [`Output::move_to_terminal`] is called.
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
        let attaching = Arc::new(Mutex::new(None));
        let to_attach = Arc::clone(&attaching);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let _finished = finished;
                let mut terminal = LogOutput::new();
                // Ignore errors of a terminal that is gone, because another thread decides when the
                // session stops.
                while handle_next(&waiting, &shared, &to_attach, &mut terminal) {
                    let _ = terminal.flush();
                }
                let _ = terminal.detach();
            })?;
        Ok((
            Self {
                messages,
                destination,
                attaching,
            },
            Shown { done },
        ))
    }

    /// Shows a line on stdout. Never blocks: if too many messages are waiting, drops the line.
    pub(crate) fn say(&self, line: &str) {
        let piece = Piece::Out(format!("{line}\n").into_bytes());
        let _ = self.messages.try_send(Message::Show(piece, Repeat::Never));
    }

    /// Shows a line on stderr, or in the server's pane if there are panes. Once the panes are gone,
    /// the line is shown again on the terminal if it is among the last lines of the log. Never
    /// blocks: if too many messages are waiting, drops the line.
    pub(crate) fn warn(&self, line: &str) {
        let piece = Piece::Err(format!("{line}\n").into_bytes());
        let _ = self.messages.try_send(Message::Show(piece, Repeat::AsLog));
    }

    /// Shows the line with which the server closes its log, on stdout. Blocks while too many
    /// messages are waiting. If the line goes to a pane, it is shown again on the terminal once the
    /// panes are gone.
    pub(crate) fn conclude(&self, line: &str) {
        let piece = Piece::Out(format!("{line}\n").into_bytes());
        let _ = self
            .messages
            .send(Message::Show(piece, Repeat::AsConclusion));
    }

    /// Shows a line of the server's stderr on stderr. Never blocks: if too many messages are
    /// waiting, drops the line. If the line goes to a pane, it is also shown on the terminal once
    /// the panes are gone, because it says why the server fails.
    pub(crate) fn fail(&self, line: &str) {
        let piece = Piece::Err(format!("{line}\n").into_bytes());
        let _ = self
            .messages
            .try_send(Message::Show(piece, Repeat::AsConclusion));
    }

    /// Shows lines of the server's log on stdout. Blocks while too many messages are waiting.
    pub(crate) fn pass_on(&self, bytes: Vec<u8>) {
        let piece = Piece::Out(bytes);
        let _ = self.messages.send(Message::Show(piece, Repeat::AsLog));
    }

    /// Shows a console below the log. Never blocks.
    pub(crate) fn attach(&self, console: Arc<Console>) {
        *self.attaching.lock() = Some(console);
        self.redraw();
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
        // Ignore an error: if the queue is full, the thread `output` redraws the console anyway
        // when it handles the waiting messages.
        let _ = self.messages.try_send(Message::Redraw);
    }

    /// Shows the output that has been held so far, and all later output, in the server's pane.
    pub(crate) fn move_to_pane(&self, log: Log) {
        let mut destination = self.destination.lock();
        let mut repeated = Repeated::default();
        if let Destination::Held(pieces) = &mut *destination {
            for (piece, repeat) in pieces.drain(..) {
                log.show(piece.bytes());
                repeated.add(piece, repeat);
            }
        }
        *destination = Destination::Pane(log, repeated);
    }

    /// Shows all later output on the terminal. First shows the output that has been held so far or,
    /// if there was a pane, the output that is to be shown again. The panes must be gone.
    pub(crate) fn move_to_terminal(&self) {
        if matches!(*self.destination.lock(), Destination::Terminal) {
            return;
        }
        // If the queue is full, this waits only briefly: the thread `output` does not write to the
        // terminal before it handles this message.
        let _ = self.messages.send(Message::MoveToTerminal);
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
    attaching: &Mutex<Option<Arc<Console>>>,
    terminal: &mut LogOutput,
) -> bool {
    let next = match terminal.wait() {
        None => messages.recv().map_err(RecvTimeoutError::from),
        Some(time) => messages.recv_timeout(time),
    };
    // Ignore errors of a terminal that is gone, because another thread decides when the session
    // stops.
    match next {
        Ok(Message::Show(piece, repeat)) => {
            // Call `deliver` in a statement of its own, so that the lock on `destination` is
            // released before the write to the terminal.
            let piece = deliver(&mut destination.lock(), piece, repeat);
            if let Some(piece) = piece {
                let _ = terminal.update();
                let _ = show(terminal, &piece);
            }
        }
        Ok(Message::MoveToTerminal) => {
            let before = std::mem::replace(&mut *destination.lock(), Destination::Terminal);
            let pieces = match before {
                Destination::Terminal => Vec::new(),
                Destination::Held(pieces) => pieces.into_iter().map(|(piece, _)| piece).collect(),
                Destination::Pane(_, Repeated { log, conclusion }) => {
                    log.into_iter().chain(conclusion).collect()
                }
            };
            for piece in pieces {
                let _ = show(terminal, &piece);
            }
        }
        Ok(Message::Detach(_detached)) => {
            attaching.lock().take();
            let _ = terminal.detach();
        }
        Ok(Message::Redraw) => {
            let _ = terminal.update();
        }
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return false,
    }
    // Attach a new console only after handling the message, because the message may be older than
    // the console. So a program that runs `chat-run` on a pseudo-terminal gets the very first line
    // before any escape sequence. Take the console in a statement of its own, so that the lock on
    // `attaching` is released before the write to the terminal.
    let console = attaching.lock().take();
    if let Some(console) = console {
        terminal.attach(console);
        let _ = terminal.update();
    }
    true
}

/// Sends a piece of output to its destination. If the destination is the terminal, returns the
/// piece, so that the caller can write it.
fn deliver(destination: &mut Destination, piece: Piece, repeat: Repeat) -> Option<Piece> {
    match destination {
        Destination::Terminal => return Some(piece),
        // Drop held output beyond a limit, so that it cannot fill the memory. In practice, the
        // panes open before the limit is reached.
        Destination::Held(pieces) if pieces.len() < MAX_WAITING => pieces.push((piece, repeat)),
        Destination::Held(_) => {}
        Destination::Pane(log, repeated) => {
            log.show(piece.bytes());
            repeated.add(piece, repeat);
        }
    }
    None
}

fn show(terminal: &mut LogOutput, piece: &Piece) -> io::Result<()> {
    let mut stderr = io::stderr();
    match piece {
        Piece::Out(lines) => terminal.write(lines),
        Piece::Err(lines) if terminal.is_raw() && stderr.is_terminal() => terminal.write(lines),
        Piece::Err(lines) => {
            // Flush stdout before writing to stderr, because both streams may lead to the same
            // terminal, which must show the lines in order.
            let _ = terminal.flush();
            let columns = tty::columns(&stderr);
            stderr.write_all(&log_wrap::fitting(lines, columns))
        }
    }
}
