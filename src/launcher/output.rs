//! The launcher's output: on its own terminal, or in the server's pane.
//!
//! One thread writes to the terminal, so that a terminal that blocks or is gone delays nothing
//! else.

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

/// Messages that may wait for the terminal. A piece is one line of the launcher's, or up to 8 KiB
/// of the server's log.
const MAX_WAITING: usize = 256;

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

/// A message to the thread.
enum Message {
    Show(Piece),
    /// Show a console below the log.
    Attach(Arc<Console>),
    /// Remove the console, and then drop the sender.
    Detach(mpsc::Sender<()>),
    /// The console changed.
    Redraw,
}

/// The destination of pieces.
enum Place {
    Terminal,
    /// Nowhere yet: panes are about to take the terminal.
    Held(Vec<Piece>),
    /// The server's pane, and the pieces to show on the terminal once the panes are gone.
    Pane(Log, Vec<Piece>),
}

/// Sends output to the thread.
#[derive(Clone)]
pub(crate) struct Output {
    messages: SyncSender<Message>,
    /// Never held during a write to the terminal.
    place: Arc<Mutex<Place>>,
}

/// Waits for the thread to end.
pub(crate) struct Shown {
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread `output`. It ends when every [`Output`] is dropped and everything is
    /// shown; if the terminal blocks, it ends with the process. With `held`, nothing is shown
    /// before [`Output::move_to_pane`] or [`Output::move_to_terminal`].
    ///
    /// # Errors
    /// The thread can't be started.
    pub(crate) fn start(held: bool) -> io::Result<(Self, Shown)> {
        let (messages, waiting) = mpsc::sync_channel(MAX_WAITING);
        let (finished, done) = mpsc::channel::<()>();
        let place = Arc::new(Mutex::new(if held {
            Place::Held(Vec::new())
        } else {
            Place::Terminal
        }));
        let places = Arc::clone(&place);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let _finished = finished;
                let mut terminal = LogOutput::new();
                // A terminal that is gone doesn't end the session, which has a lifeline of its own.
                while handle_next(&waiting, &places, &mut terminal) {
                    let _ = terminal.flush();
                }
                let _ = terminal.detach();
            })?;
        Ok((Self { messages, place }, Shown { done }))
    }

    /// Shows a line on stdout. Never blocks: if too many are waiting already, it's dropped.
    pub(crate) fn say(&self, line: &str) {
        self.post(Piece::Out(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stderr, as [`Output::say`].
    pub(crate) fn warn(&self, line: &str) {
        self.post(Piece::Err(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stdout, as [`Output::say`], and again on the terminal once the panes are
    /// gone.
    pub(crate) fn conclude(&self, line: &str) {
        if let Place::Pane(_, kept) = &mut *self.place.lock() {
            kept.push(Piece::Out(format!("{line}\n").into_bytes()));
        }
        self.say(line);
    }

    /// Shows bytes on stdout. Blocks while too many pieces are waiting.
    pub(crate) fn pass_on(&self, bytes: Vec<u8>) {
        let _ = self.messages.send(Message::Show(Piece::Out(bytes)));
    }

    /// Shows a console below the log. Blocks as [`Output::pass_on`].
    pub(crate) fn attach(&self, console: Arc<Console>) {
        let _ = self.messages.send(Message::Attach(console));
    }

    /// Removes the console and restores the terminal. Waits for that, but no longer than `limit`.
    pub(crate) fn detach(&self, limit: Duration) {
        let (detached, done) = mpsc::channel();
        if self.messages.try_send(Message::Detach(detached)).is_ok() {
            let _ = done.recv_timeout(limit);
        }
    }

    /// Draws the console again. Never blocks.
    pub(crate) fn redraw(&self) {
        // With any message, the thread draws it.
        let _ = self.messages.try_send(Message::Redraw);
    }

    /// Shows everything in the server's pane from now on, including the held pieces.
    pub(crate) fn move_to_pane(&self, log: Log) {
        let mut place = self.place.lock();
        if let Place::Held(pieces) = &*place {
            for piece in pieces {
                log.show(piece.bytes());
            }
        }
        *place = Place::Pane(log, Vec::new());
    }

    /// Shows everything on the terminal from now on, including the held and the concluding pieces.
    /// The panes must be gone.
    pub(crate) fn move_to_terminal(&self) {
        let kept = match std::mem::replace(&mut *self.place.lock(), Place::Terminal) {
            Place::Terminal => Vec::new(),
            Place::Held(pieces) | Place::Pane(_, pieces) => pieces,
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
    /// Waits until everything is shown, but no longer than `at_most`. The caller must have dropped
    /// its own [`Output`].
    pub(crate) fn wait(self, at_most: Duration) {
        match self.done.recv_timeout(at_most) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Handles the next message, or the end of the time until the console is to be drawn. Returns false
/// at the end.
fn handle_next(
    messages: &Receiver<Message>,
    place: &Mutex<Place>,
    terminal: &mut LogOutput,
) -> bool {
    let next = match terminal.wait() {
        None => messages.recv().map_err(RecvTimeoutError::from),
        Some(time) => messages.recv_timeout(time),
    };
    // As above, errors of the terminal are ignored.
    match next {
        Ok(Message::Show(piece)) => {
            if let Some(piece) = put(&mut place.lock(), piece) {
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

/// Puts a piece in its place; returns it if that is the terminal.
fn put(place: &mut Place, piece: Piece) -> Option<Piece> {
    match place {
        Place::Terminal => return Some(piece),
        // As many as may wait for the terminal. No more come before the panes do.
        Place::Held(pieces) if pieces.len() < MAX_WAITING => pieces.push(piece),
        Place::Held(_) => {}
        Place::Pane(log, _) => log.show(piece.bytes()),
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
