//! What the launcher shows: on its own terminal, written to by one thread, so that one that blocks or is gone holds up nothing else; or in a pane.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use crate::launcher::display::panes::Log;
use crate::sync::Mutex;
use crate::tty;
use crate::tty::log_wrap;

/// Pieces that may wait for the terminal. A piece is a line of the launcher's, or up to 8 KiB of the server's log.
const WAITING: usize = 256;

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

/// Where pieces go.
enum Place {
    Terminal,
    /// Nowhere yet: panes are about to take the terminal.
    Held(Vec<Piece>),
    /// The server's pane; beside it, what is to stand on the terminal when the panes are gone.
    Pane(Log, Vec<Piece>),
}

/// Where to put what is to be shown.
#[derive(Clone)]
pub(crate) struct Output {
    pieces: SyncSender<Piece>,
    /// Never held while something is written to the terminal.
    place: Arc<Mutex<Place>>,
}

/// Tells when all was shown.
pub(crate) struct Shown {
    done: Receiver<()>,
}

impl Output {
    /// Starts the thread, called `output`. It ends when every [`Output`] is dropped and all was shown; where the terminal blocks it ends with the
    /// process. With `held`, nothing is shown before [`Output::move_to_pane`] or [`Output::move_to_terminal`].
    ///
    /// # Errors
    /// No thread is to be had.
    pub(crate) fn start(held: bool) -> io::Result<(Self, Shown)> {
        let (pieces, waiting) = mpsc::sync_channel(WAITING);
        let (finished, done) = mpsc::channel::<()>();
        let place = Arc::new(Mutex::new(match held {
            true => Place::Held(Vec::new()),
            false => Place::Terminal,
        }));
        let places = Arc::clone(&place);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                let _finished = finished;
                for piece in waiting {
                    let Some(piece) = put(&mut places.lock(), piece) else {
                        continue;
                    };
                    // A terminal that is gone is no reason to end: the session has its own.
                    let _ = match &piece {
                        Piece::Out(bytes) => show(&mut io::stdout().lock(), bytes),
                        Piece::Err(bytes) => show(&mut io::stderr().lock(), bytes),
                    };
                }
            })?;
        Ok((Self { pieces, place }, Shown { done }))
    }

    /// Shows a line on stdout. Never blocks: it is lost where the terminal does, and too much is waiting already.
    pub(crate) fn say(&self, line: &str) {
        self.post(Piece::Out(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stderr, as [`Output::say`].
    pub(crate) fn warn(&self, line: &str) {
        self.post(Piece::Err(format!("{line}\n").into_bytes()));
    }

    /// Shows a line on stdout, as [`Output::say`], that is to stay when panes are gone.
    pub(crate) fn conclude(&self, line: &str) {
        if let Place::Pane(_, kept) = &mut *self.place.lock() {
            kept.push(Piece::Out(format!("{line}\n").into_bytes()));
        }
        self.say(line);
    }

    /// Shows bytes on stdout. Blocks while too much is waiting.
    pub(crate) fn pass_on(&self, bytes: Vec<u8>) {
        let _ = self.pieces.send(Piece::Out(bytes));
    }

    /// Shows everything in the server's pane from now on, and what was held.
    pub(crate) fn move_to_pane(&self, log: Log) {
        let mut place = self.place.lock();
        if let Place::Held(pieces) = &*place {
            for piece in pieces {
                log.show(piece.bytes());
            }
        }
        *place = Place::Pane(log, Vec::new());
    }

    /// Shows everything on the terminal from now on, and what was held or is to stay there. The panes must be gone.
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
        let _ = self.pieces.try_send(piece);
    }
}

impl Shown {
    /// Waits until all was shown, but no longer than `at_most`. The caller must have dropped its own [`Output`].
    pub(crate) fn wait(self, at_most: Duration) {
        match self.done.recv_timeout(at_most) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Puts a piece where it goes; gives it back where that is the terminal.
fn put(place: &mut Place, piece: Piece) -> Option<Piece> {
    match place {
        Place::Terminal => return Some(piece),
        // As many as the terminal might have waiting; more does not come before the panes do.
        Place::Held(pieces) if pieces.len() < WAITING => pieces.push(piece),
        Place::Held(_) => {}
        Place::Pane(log, _) => log.show(piece.bytes()),
    }
    None
}

fn show(stream: &mut (impl Write + AsFd), lines: &[u8]) -> io::Result<()> {
    let columns = tty::columns(stream);
    stream.write_all(&log_wrap::fitting(lines, columns))?;
    stream.flush()
}
